"""Quantities of one's own: expressions of the others, and traces, which remember.

A quantity of the post-neuron is called `…_post`, and the same of the pre-neuron `…_pre`: two views
of one neuron. One of the synapse, and one that is the same for the whole layer, have no suffix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from sympy import Expr, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.notation.canonical import canonical
from rulesearch.notation.parsing import parse
from rulesearch.operators import (
    OPERATORS,
    POST,
    PRE,
    QUANTITIES,
    SCALAR,
    SYNAPSE,
    Index,
    LocalQuantity,
    Memory,
    NeuronSum,
    OwnSymbol,
    index_of,
)

#: What a name says of where a quantity is.
_SUFFIX: Mapping[Index, str] = {PRE: "_pre", POST: "_post", SCALAR: "", SYNAPSE: ""}
_WHERE: Mapping[Index, str] = {
    PRE: "the pre-neuron",
    POST: "the post-neuron",
    SCALAR: "the layer",
    SYNAPSE: "the synapse",
}


def quantity(
    name: str, definition: Expr | str, known: Mapping[str, OwnSymbol] | None = None
) -> OwnSymbol:
    """A quantity given as an expression of others.

    Args:
        name: ending in `_post` or `_pre` where it is a neuron's.
        definition: the expression, or its text.
        known: others of one's own that the text may read, by name.

    Raises:
        RuleSearchError: a name that is taken or does not fit, or what a term may not say.

    Example:
        >>> from rulesearch.notation import Pool, e_post, tanh, y_pre, z_post
        >>> gate = quantity("gate_post", tanh(z_post))
        >>> Pool(gated=-e_post * gate * y_pre).names
        ('gated',)
    """
    return _made(f"quantity {name}", name, definition, None, known)


def trace(
    name: str,
    of: Expr | str,
    *,
    decay: float,
    initial: float | Literal["first"] = 0.0,
    known: Mapping[str, OwnSymbol] | None = None,
) -> OwnSymbol:
    """A trace: x̄ ← decay·x̄ + (1 - decay)·x in every step, before any term reads it.

    Args:
        name: ending in `_post` or `_pre` where it is a neuron's.
        of: x, an expression or its text; it may read other traces.
        decay: at least 0 and less than 1, a step.
        initial: x̄ before the first step, or "first" for the first x.
        known: others of one's own that the text may read, by name.

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
    if not isinstance(decay, int | float) or not 0 <= decay < 1:
        raise RuleSearchError(f"{what}: decay {decay!r}; give at least 0 and less than 1")
    if initial != "first" and not (isinstance(initial, int | float) and math.isfinite(initial)):
        raise RuleSearchError(f'{what}: initial {initial!r}; give a number, or "first"')
    memory = Memory(float(decay), None if initial == "first" else float(initial))
    return _made(what, name, of, memory, known)


def seen_from_pre(symbol: OwnSymbol) -> OwnSymbol:
    """The same quantity of the pre-neuron, where a term reads one of the post-neuron.

    At the input a pixel stands for activity and potential, and the synthetic error for the error.

    Raises:
        RuleSearchError: it is no neuron's, or needs synapses that the other side does not have.

    Example:
        >>> from rulesearch.notation import y_post
        >>> seen_from_pre(trace("theta_post", y_post**2, decay=0.95)).row.definition
        y_pre**2
    """
    row = symbol.row
    definition = _definition(row)
    what = f"{row.name.removesuffix('_post')}_pre"
    if row.index != POST:
        raise RuleSearchError(f"{what}: {row.name} is of {_WHERE[row.index]}, not of a post-neuron")
    if definition.has(NeuronSum):
        raise RuleSearchError(
            f"{what}: {row.name} sums over synapses in {definition}, and the input has none that "
            "end there; read it at the post-neuron"
        )
    seen: dict[Expr, Expr] = {}
    for read in sorted(definition.free_symbols, key=str):
        other = read.name.removesuffix("_post") + "_pre"
        if isinstance(read, OwnSymbol):
            seen[read] = seen_from_pre(read) if read.row.index == POST else read
        elif other in QUANTITIES and read.name.endswith("_post"):
            seen[read] = QUANTITIES[other].symbol
        elif read.name.endswith("_post"):
            raise RuleSearchError(f"{what}: {row.name} reads {read}, which an input does not have")
    made = replace(
        row,
        name=what,
        index=PRE,
        latex=row.latex.replace("{post}", "{pre}"),
        definition=definition.xreplace(seen),
    )
    return OwnSymbol(made)


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
            inner = own_symbols([_definition(symbol.row)])
            for name, each in (*inner.items(), (symbol.name, symbol)):
                if found.setdefault(name, each) != each:
                    raise RuleSearchError(
                        f"quantity {name}: has two definitions, {found[name].row.definition} and "
                        f"{each.row.definition}; give each a name of its own"
                    )
    return found


def _definition(row: LocalQuantity) -> Expr:
    assert row.definition is not None
    return row.definition


def _made(
    what: str,
    name: str,
    source: Expr | str,
    memory: Memory | None,
    known: Mapping[str, OwnSymbol] | None,
) -> OwnSymbol:
    if not name.isidentifier():
        raise RuleSearchError(f"{what}: not a name; use letters, digits and _")
    if name in OPERATORS or name in QUANTITIES:
        raise RuleSearchError(f"{what}: the name is taken; choose another")
    try:
        definition = canonical(
            parse(source, quantities=known) if isinstance(source, str) else source
        )
    except RuleSearchError as error:
        raise error.located(what) from None
    index = index_of(definition)
    suffix = next((s for s in ("_pre", "_post") if name.endswith(s)), "")
    if suffix != _SUFFIX[index]:
        stem = name.removesuffix("_pre").removesuffix("_post")
        raise RuleSearchError(
            f"{what}: {definition} is of {_WHERE[index]}; call it {stem}{_SUFFIX[index]}"
        )
    stem = name.removesuffix(suffix)
    side = suffix.removeprefix("_")
    where = f"_{{{{{side}}}}}" if side else "_{{{post}{pre}}}" if index == SYNAPSE else ""
    letters = f"\\mathrm{{{{{stem.replace('_', ' ')}}}}}"
    meaning = f"of {_WHERE[index]}: {definition}"
    if memory is not None:
        meaning = f"trace of {definition}, decay {memory.decay:g} a step"
    row = LocalQuantity(name, index, meaning, letters + where, definition=definition, memory=memory)
    return OwnSymbol(row)


def symbols_by_name(own: Iterable[Symbol]) -> dict[str, OwnSymbol]:
    """What text may read beside the table, by name: one's own quantities, and their other view."""
    found = {s.name: s for s in own if isinstance(s, OwnSymbol)}
    for symbol in list(found.values()):
        if symbol.row.index == POST:
            try:
                view = seen_from_pre(symbol)
            except RuleSearchError:
                continue
            found.setdefault(view.name, view)
    return found
