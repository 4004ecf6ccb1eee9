"""Quantities of one's own: expressions of the others, and traces, which remember.

A quantity of the post-neuron is called `…_post`, and the same of the pre-neuron `…_pre`: two views
of one neuron. One of the synapse, and one that is the same for the whole layer, have no suffix.
"""

from __future__ import annotations

import keyword
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Real
from typing import Any, Literal, TypeGuard

from sympy import Expr, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.letters import as_read, spelled
from rulesearch.notation.canonical import canonical
from rulesearch.notation.compact import compact
from rulesearch.notation.parsing import CONSTANTS, parse
from rulesearch.notation.printing import text_of
from rulesearch.notation.views import PLACES, said_of
from rulesearch.notation.views import seen_from_pre as seen_from_pre
from rulesearch.operators import (
    COMMON,
    OPERATORS,
    POST,
    PRE,
    QUANTITIES,
    SCALAR,
    SYNAPSE,
    Index,
    LocalQuantity,
    Memory,
    OwnSymbol,
    definition_of,
    index_of,
)

#: What a name says of where a quantity is.
_SUFFIX: Mapping[Index, str] = {PRE: "_pre", POST: "_post", SCALAR: "", SYNAPSE: ""}


def quantity(
    name: str,
    definition: Expr | str,
    known: Mapping[str, OwnSymbol] | None = None,
    operators: Mapping[str, Any] | None = None,
) -> OwnSymbol:
    """A quantity given as an expression of others.

    Args:
        name: ending in `_post` or `_pre` where it is a neuron's.
        definition: the expression, or its text.
        known: others of one's own that the text may read, by name.
        operators: those that the text may call beside the table's, by name.

    Raises:
        RuleSearchError: a name that is taken or does not fit, or what a term may not say.

    Example:
        >>> from rulesearch.notation import Pool, e_post, tanh, y_pre, z_post
        >>> gate = quantity("gate_post", tanh(z_post))
        >>> Pool(gated=-e_post * gate * y_pre).names
        ('gated',)
    """
    return _made(f"quantity {name}", name, definition, None, known, operators)


def trace(
    name: str,
    of: Expr | str,
    *,
    decay: float,
    initial: float | Literal["first"] = 0.0,
    known: Mapping[str, OwnSymbol] | None = None,
    operators: Mapping[str, Any] | None = None,
) -> OwnSymbol:
    """A trace: x̄ ← decay·x̄ + (1 - decay)·x in every step, before any term reads it.

    Args:
        name: ending in `_post` or `_pre` where it is a neuron's.
        of: x, an expression or its text; it may read other traces.
        decay: at least 0 and less than 1, a step; with 0 it is the quantity x.
        initial: x̄ before the first step, or "first" for the first x.
        known: others of one's own that the text may read, by name.
        operators: those that the text may call beside the table's, by name.

    Raises:
        RuleSearchError: a name that is taken or does not fit, a number that cannot be, or what a
            term may not say.

    Example:
        >>> from rulesearch.notation import y_post, y_pre
        >>> theta = trace("theta_post", y_post**2, decay=0.95)  # BCM's sliding threshold
        >>> y_post * (y_post - theta) * y_pre
        y_post*y_pre*(-theta_post + y_post)
    """
    what = f"trace {name}"
    if not _is_number(decay) or not 0 <= decay < 1:
        raise RuleSearchError(f"{what}: decay {decay!r}; give at least 0 and less than 1")
    if isinstance(initial, str) and initial == "first":
        begins = None
    elif _is_number(initial) and abs(float(initial)) <= sys.float_info.max:
        begins = float(initial)
    else:
        raise RuleSearchError(f'{what}: initial {initial!r}; give a number, or "first"')
    # What forgets at once is what it follows.
    memory = Memory(float(decay), begins) if decay else None
    made = _made(what, name, of, memory, known, operators)
    inner = own_symbols([definition_of(made)]).values()
    moves = any(symbol.row.memory for symbol in inner)  # from where it begins, at the least
    reads = names_read(definition_of(made)) - {"n_pre", "n_post"}
    if memory and begins is None and not (reads or moves):
        text = text_of(compact(definition_of(made)))
        raise RuleSearchError(f"{what}: {text} never changes; write it in place of its trace")
    return made


def own_symbols(expressions: Iterable[Expr]) -> dict[str, OwnSymbol]:
    """The quantities of one's own that expressions read, by name; those they read stand before.

    Raises:
        RuleSearchError: two of the same name.
    """
    found: dict[str, OwnSymbol] = {}
    for expression in expressions:
        for symbol in sorted(expression.free_symbols, key=str):
            if not isinstance(symbol, OwnSymbol):
                continue
            inner = own_symbols([definition_of(symbol)])
            for name, each in (*inner.items(), (symbol.name, symbol)):
                if found.setdefault(name, each) != each:
                    raise RuleSearchError(
                        f"quantity {name}: has two definitions, {said_of(found[name])} and "
                        f"{said_of(each)}; give each a name of its own"
                    )
    return found


def names_read(expression: Expr) -> frozenset[str]:
    """The table's quantities that an expression reads, itself or by what it reads of one's own.

    Example:
        >>> from rulesearch.notation import W, y_post, y_pre
        >>> sorted(names_read(W * trace("elig", y_post * y_pre, decay=0.9)))
        ['W', 'y_post', 'y_pre']
    """
    read: set[str] = set()
    for symbol in expression.free_symbols:
        own = isinstance(symbol, OwnSymbol)
        read |= names_read(definition_of(symbol)) if own else {symbol.name}
    return frozenset(read)


def _made(
    what: str,
    name: str,
    source: Expr | str,
    memory: Memory | None,
    known: Mapping[str, OwnSymbol] | None,
    operators: Mapping[str, Any] | None,
) -> OwnSymbol:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise RuleSearchError(f"{what}: not a name; use letters, digits and _")
    name = as_read(name)
    if name in OPERATORS or name in QUANTITIES or name in CONSTANTS or name in COMMON:
        raise RuleSearchError(f"{what}: the name is taken; choose another")
    try:
        definition = canonical(
            parse(source, operators, quantities=known) if isinstance(source, str) else source
        )
    except RuleSearchError as error:
        raise error.located(what) from None
    index = index_of(definition)
    suffix = next((s for s in ("_pre", "_post") if name.endswith(s)), "")
    if suffix != _SUFFIX[index]:
        stem = name.removesuffix("_pre").removesuffix("_post")
        raise RuleSearchError(
            f"{what}: {text_of(definition)} is of {PLACES[index]}; call it {stem}{_SUFFIX[index]}"
        )
    letters = _letters(name.removesuffix(suffix), index)
    row = LocalQuantity(name, index, "", letters, definition=definition, memory=memory)
    return OwnSymbol(replace(row, meaning=f"{said_of(OwnSymbol(row))}, of {PLACES[index]}"))


def _letters(stem: str, index: Index) -> str:
    """A name as LaTeX, with fields for its indices."""
    plain = "".join(spelled(letter).strip("\\") for letter in stem).replace("_", r"\_")
    indices = "".join("{" + side + "}" for side in ("post", "pre") if side in index)
    return rf"\mathrm{{{{{plain}}}}}" + ("_{{" + indices + "}}" if indices else "")


def symbols_by_name(own: Iterable[Symbol]) -> dict[str, OwnSymbol]:
    """What text may read beside the table, by name; `parse` knows the pre view of each as well."""
    return {s.name: s for s in own if isinstance(s, OwnSymbol)}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)
