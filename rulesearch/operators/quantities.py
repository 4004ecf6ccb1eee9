"""The table of local quantities: what a synapse could know, each with its index set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sympy import Expr, Symbol

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


#: What is carried from one step to the next, and changed by terms: the weights of a layer, the
#: matrix of its own that a feedback edge has, the biases of a layer.
Parameter = Literal["W", "B", "b"]
PARAMETERS: tuple[Parameter, ...] = ("W", "B", "b")


@dataclass(frozen=True)
class Memory:
    """How a trace moves: x̄ ← decay·x̄ + (1 - decay)·x.

    Attributes:
        decay: at least 0 and less than 1.
        initial: the value before the first step; None: the first x.
    """

    decay: float
    initial: float | None = 0.0


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
        definition: of a quantity of one's own, what it is, or what a trace follows.
        memory: of a trace.
    """

    name: str
    index: Index
    meaning: str
    latex: str
    need: Literal["", "global"] = ""
    error: bool = False
    range: Interval = SIGNED
    definition: Expr | None = None
    memory: Memory | None = None

    @property
    def symbol(self) -> Symbol:
        """The real SymPy symbol of this name; one of one's own knows its row."""
        return Symbol(self.name, real=True) if self.definition is None else OwnSymbol(self)


class OwnSymbol(Symbol):  # type: ignore[misc]
    """The symbol of a quantity of one's own; two are the same if name and definition are."""

    __slots__ = ("row",)
    row: LocalQuantity

    def __new__(cls, row: LocalQuantity) -> OwnSymbol:
        """The symbol of a row."""
        made = Symbol.__xnew__(cls, row.name, real=True)
        made.row = row
        return made  # type: ignore[no-any-return]

    def _hashable_content(self) -> tuple[object, ...]:
        return (*super()._hashable_content(), self.row.definition, repr(self.row.memory))

    def __getnewargs_ex__(self) -> tuple[tuple[LocalQuantity], dict[str, object]]:
        return (self.row,), {}

    def __reduce__(self) -> tuple[type[OwnSymbol], tuple[LocalQuantity]]:
        return OwnSymbol, (self.row,)


def definition_of(symbol: OwnSymbol) -> Expr:
    """What a quantity of one's own is, or what a trace follows."""
    assert symbol.row.definition is not None
    return symbol.row.definition


def row_of(symbol: Symbol) -> LocalQuantity | None:
    """The row of a symbol, the table's or its own; None for any other symbol."""
    return symbol.row if isinstance(symbol, OwnSymbol) else QUANTITIES.get(symbol.name)


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
            "B", SYNAPSE, "weight of the feedback synapse from post to pre", "B_{{{pre}{post}}}"
        ),
        LocalQuantity("b_post", POST, "bias of the post-neuron", "b_{{{post}}}"),
        LocalQuantity(
            "xi_post", POST, "noise in the potential of the post-neuron", "\\xi_{{{post}}}"
        ),
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
