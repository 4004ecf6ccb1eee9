"""A quantity of one's own of the post-neuron, seen from the other side of the synapse."""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr

from rulesearch.errors import RuleSearchError
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
    memory, text = symbol.row.memory, text_of(definition_of(symbol))
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
    row = symbol.row
    definition = definition_of(symbol)
    what = f"{row.name.removesuffix('_post')}_pre"
    if row.index != POST:
        raise RuleSearchError(f"{what}: {row.name} is of {PLACES[row.index]}, not of a post-neuron")
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
        elif read.name.endswith("_post") and other in QUANTITIES:
            seen[read] = QUANTITIES[other].symbol
        elif read.name.endswith(("_post", "_pre")):
            raise RuleSearchError(
                f"{what}: {row.name} reads {read}, which an input does not have; read it at the "
                "post-neuron"
            )
    made = replace(
        row,
        name=what,
        index=PRE,
        latex=row.latex.replace("{post}", "{pre}"),
        definition=definition.xreplace(seen),
    )
    return OwnSymbol(replace(made, meaning=f"{said_of(OwnSymbol(made))}, of {PLACES[PRE]}"))
