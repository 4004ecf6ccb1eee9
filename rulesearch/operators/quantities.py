"""The table of local quantities: what a synapse could know, each with its index set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sympy import Symbol

from rulesearch.operators.intervals import MODERATE, NEURONS, Interval

Axis = Literal["pre", "post"]
Index = frozenset[Axis]

SCALAR: Index = frozenset()
PRE: Index = frozenset({"pre"})
POST: Index = frozenset({"post"})
SYNAPSE: Index = frozenset({"pre", "post"})

#: The ranges of quantities: of either sign, at least 0, and sizes of a layer.
SIGNED, POSITIVE = Interval(-MODERATE, MODERATE), Interval(0.0, MODERATE)
COUNT = Interval(1.0, NEURONS)


@dataclass(frozen=True)
class LocalQuantity:
    """One row of the table of local quantities.

    Attributes:
        name: as written in a term.
        index: which of {pre, post} it depends on.
        meaning: for tables and documentation.
        latex: with the fields `{pre}` and `{post}` for the indices.
        need: what having it asks of a synapse beyond its own two cells ("" or "global").
        error: whether it belongs to the error populations (`foreign` under separate neurons).
        range: between which numbers it is taken to stay; see `intervals`.
    """

    name: str
    index: Index
    meaning: str
    latex: str
    need: Literal["", "global"] = ""
    error: bool = False
    range: Interval = SIGNED

    @property
    def symbol(self) -> Symbol:
        """The real SymPy symbol of this name."""
        return Symbol(self.name, real=True)


QUANTITIES: Mapping[str, LocalQuantity] = {
    row.name: row
    for row in (
        LocalQuantity(
            "y_pre", PRE, "activity of the pre-neuron (a pixel in layer 0)", "y_{{{pre}}}"
        ),
        LocalQuantity("e_pre", PRE, "error of the pre-neuron", "e_{{{pre}}}", error=True),
        LocalQuantity(
            "y_post",
            POST,
            "activity of the post-neuron",
            "y_{{{post}}}",
            range=POSITIVE,
        ),
        LocalQuantity("e_post", POST, "error of the post-neuron", "e_{{{post}}}", error=True),
        LocalQuantity("W", SYNAPSE, "weight of the synapse", "W_{{{post}{pre}}}"),
        LocalQuantity(
            "z_pre", PRE, "potential of the pre-neuron (a pixel in layer 0)", "z_{{{pre}}}"
        ),
        LocalQuantity("z_post", POST, "potential of the post-neuron, W y", "z_{{{post}}}"),
        LocalQuantity(
            "n_pre",
            SCALAR,
            "fan-in, the number of pre-neurons",
            "n_{{\\mathrm{{pre}}}}",
            range=COUNT,
        ),
        LocalQuantity(
            "n_post",
            SCALAR,
            "fan-out, the number of post-neurons",
            "n_{{\\mathrm{{post}}}}",
            range=COUNT,
        ),
        LocalQuantity(
            "L",
            SCALAR,
            "loss of the step, a third factor",
            "L",
            need="global",
            range=POSITIVE,
        ),
    )
}
