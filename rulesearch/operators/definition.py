"""Operators of one's own, given as expressions of those in the table."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable
from functools import cache
from typing import Any

import sympy
from sympy import Expr, Function, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.operators.calculus import derivative, stranger
from rulesearch.operators.quantities import QUANTITIES
from rulesearch.operators.table import OPERATORS, NeuronSum, Operator

_CONSTANTS = ("pi", "E")


def operator(name: str, definition: Callable[..., Expr]) -> Any:
    """A new operator, given as an expression of others; nothing else is needed.

    Args:
        name: as it will be printed; an identifier that is not in the tables.
        definition: arguments -> expression, for one neuron or synapse.

    Returns:
        A SymPy function class to be used in terms; the same one for the same name and definition.

    Raises:
        RuleSearchError: the name is taken or not an identifier, the definition takes no argument
            or any number of them, calls what is not in the table, reads more than its arguments,
            or sums over neurons.

    Example:
        >>> from rulesearch.notation import Abs, operator, y_pre
        >>> softsign = operator("softsign", lambda x: x / (1 + Abs(x)))
        >>> softsign(y_pre)
        softsign(y_pre)
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise RuleSearchError(f"operator {name!r}: not a name; use letters, digits and _")
    if name in OPERATORS or name in QUANTITIES or name in _CONSTANTS:
        raise RuleSearchError(f"operator {name}: the name is taken; choose another")
    parameters = inspect.signature(definition).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or any(p.kind not in positional for p in parameters):
        raise RuleSearchError(
            f"operator {name}: the definition must take a fixed number of arguments, as in "
            f"operator({name!r}, lambda x: x/(1 + Abs(x)))"
        )
    arguments = tuple(Symbol(p.name, real=True) for p in parameters)
    body = sympy.sympify(definition(*arguments))
    if not isinstance(body, Expr):
        raise RuleSearchError(
            f"operator {name}: the definition gives {body}, not an expression; write one such as "
            f"operator({name!r}, lambda x: x/(1 + Abs(x)))"
        )
    if strange := sorted(s.name for s in body.free_symbols - set(arguments)):
        raise RuleSearchError(
            f"operator {name}: {strange[0]} in {body} is not an argument; make it one"
        )
    if body.has(NeuronSum):
        raise RuleSearchError(
            f"operator {name}: {body} sums over neurons; an operator acts on one value, so write "
            "the sum in the term"
        )
    if (call := stranger(body)) is not None:
        raise RuleSearchError(
            f"operator {name}: unknown operator {call.func.__name__} in {body}; use "
            f"{', '.join(n for n, row in OPERATORS.items() if not row.drops)}"
        )
    return _class_of(name, arguments, body)


@cache
def _class_of(name: str, arguments: tuple[Symbol, ...], body: Expr) -> Any:
    # Cached, so that terms of a grammar file read twice are equal.
    def definition(*values: Expr) -> Expr:
        return body.xreplace(dict(zip(arguments, values, strict=True)))

    def partials(*values: Expr) -> tuple[Expr, ...]:
        replaced = dict(zip(arguments, values, strict=True))
        return tuple(derivative(body, a).xreplace(replaced) for a in arguments)

    def evaluated(call: Expr, precision: int) -> Expr:
        # Without it SymPy looks for a function of this name in mpmath.
        return definition(*call.args)._eval_evalf(precision)

    count = len(arguments)
    members = {"nargs": (count,), "is_real": True, "_eval_evalf": evaluated}
    cls = type(name, (Function,), members)
    cls.row = Operator(  # type: ignore[attr-defined]
        name, cls, (count, count), partials, {}, definition=definition
    )
    return cls
