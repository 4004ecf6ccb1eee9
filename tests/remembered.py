"""What quantities of one's own are after some steps, by the oracle: nothing of the package's rules.

A trace is what it was times its decay, and for the rest what it follows; its first value is stated.
"""

import itertools

import numpy as np
import oracle
import sympy

from rulesearch.operators import OwnSymbol


def plain(expression):
    """Own symbols as symbols of the same name, which the oracle looks up in a layer."""
    own = expression.atoms(OwnSymbol)
    return expression.xreplace({s: sympy.Symbol(s.name, real=True) for s in own})


def after(expression, layers):
    """The last of some layers, one a step, with what an expression reads of one's own."""
    values = {}
    for layer in layers:
        seen = dict(layer)
        for symbol in in_order(expression):
            seen[symbol.name] = _moved(symbol, seen, values.get(symbol.name))
            values[symbol.name] = seen[symbol.name]
    return seen


def in_order(expression):
    """The own symbols of an expression, those that others read before them."""
    found = []
    for symbol in sorted(expression.atoms(OwnSymbol), key=str):
        found += [s for s in in_order(symbol.row.definition) if s not in found]
        found += [symbol] if symbol not in found else []
    return found


def _moved(symbol, layer, before):
    row = symbol.row
    now = _value(plain(row.definition), row.index, layer)
    if row.memory is None:
        return now
    if before is None:
        before = now if row.memory.initial is None else np.full_like(now, row.memory.initial)
    return row.memory.decay * before + (1 - row.memory.decay) * now


def _value(definition, index, layer):
    """[post, pre], [post], [pre] or a number, by the index set."""
    post, pre = layer["W"].shape
    size = {"j": range(post if "post" in index else 1), "k": range(pre if "pre" in index else 1)}
    values = [oracle.update(definition, layer, j, k) for j, k in itertools.product(*size.values())]
    return np.array(values).reshape(
        [len(size[i]) for i, side in (("j", "post"), ("k", "pre")) if side in index]
    )
