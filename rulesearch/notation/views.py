"""A quantity of one's own of the post-neuron, seen from the other side of the synapse."""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr

from rulesearch.errors import RuleSearchError
from rulesearch.notation.canonical import canonical
from rulesearch.notation.compact import compact
from rulesearch.notation.printing import text_of
from rulesearch.operators import (
    POST,
    PRE,
    QUANTITIES,
    SCALAR,
    SYNAPSE,
    Index,
    NeuronSum,
    OwnSymbol,
    definition_of,
)

#: Where a quantity is, in words.
PLACES: dict[Index, str] = {
    PRE: "the pre-neuron",
    POST: "the post-neuron",
    SCALAR: "the layer",
    SYNAPSE: "the synapse",
}


def said_of(symbol: OwnSymbol) -> str:
    """What a quantity of one's own is, in words.

    Example:
        >>> from rulesearch.notation import trace, y_post
        >>> said_of(trace("theta_post", y_post**2, decay=0.95))
        'a trace of y_post**2, decay 0.95'
    """
    memory, text = symbol.row.memory, text_of(compact(definition_of(symbol)))
    if memory is None:
        return text
    begins = ", from the first value" if memory.initial is None else f", from {memory.initial:g}"
    begins = begins if memory.initial != 0 else ""
    return f"a trace of {text}, decay {memory.decay:g}{begins}"


def seen_from_pre(symbol: OwnSymbol) -> OwnSymbol:
    """The same quantity of the pre-neuron, where a term reads one of the post-neuron.

    At the input a pixel stands for activity and potential, and the synthetic error for the error.

    Raises:
        RuleSearchError: it is no neuron's, or needs synapses that the other side does not have.

    Example:
        >>> from rulesearch.notation import trace, y_post
        >>> seen_from_pre(trace("theta_post", y_post**2, decay=0.95)).row.definition
        y_pre**2
    """
    if not isinstance(symbol, OwnSymbol):
        raise RuleSearchError(
            f"seen_from_pre: {symbol!r} is no quantity of one's own; give it a name by "
            'quantity("..._post", ...); those of the table end in _pre'
        )
    row = symbol.row
    what = f"{row.name.removesuffix('_post')}_pre"
    if row.index != POST:
        raise RuleSearchError(f"{what}: {row.name} is of {PLACES[row.index]}, not of a post-neuron")
    made = replace(
        row,
        name=what,
        index=PRE,
        latex=row.latex.replace("{post}", "{pre}"),
        definition=_from_pre(definition_of(symbol), what, row.name),
    )
    return OwnSymbol(replace(made, meaning=f"{said_of(OwnSymbol(made))}, of {PLACES[PRE]}"))


def _from_pre(definition: Expr, what: str, name: str) -> Expr:
    """The definition of a quantity of the post-neuron, or of its layer, one layer below."""
    if definition.has(NeuronSum):
        raise RuleSearchError(
            f"{what}: {name} sums over synapses in {definition}, and the input has none that "
            "end there; read it at the post-neuron"
        )
    seen: dict[Expr, Expr] = {}
    for read in sorted(definition.free_symbols, key=str):
        other = read.name.removesuffix("_post") + "_pre"
        if isinstance(read, OwnSymbol):
            seen[read] = seen_from_pre(read) if read.row.index == POST else _below(read, what, name)
        elif read.name.endswith("_post") and other in QUANTITIES:
            seen[read] = QUANTITIES[other].symbol
        elif read.name.endswith(("_post", "_pre")):
            raise RuleSearchError(
                f"{what}: {name} reads {read}, which an input does not have; read it at the "
                "post-neuron"
            )
    return canonical(definition.xreplace(seen))


def _below(read: OwnSymbol, what: str, name: str) -> Expr:
    """What a quantity of the layer is one layer below: the same where it is of the whole network.

    It has no name there, so that it is written out; a trace, which cannot be, is refused.
    """
    definition = definition_of(read)
    below = _from_pre(definition, what, name)
    if below == definition:
        return read
    if read.row.memory is not None:
        raise RuleSearchError(
            f"{what}: {name} reads {read}, a trace of this layer, and there is none of the layer "
            "below; read it at the post-neuron"
        )
    return below
