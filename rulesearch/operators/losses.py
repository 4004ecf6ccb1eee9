"""The table of losses: the output's activity, the loss of a step, and its error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sympy import Add, Dummy, Expr, Symbol, exp, log

from rulesearch.operators.calculus import derivative
from rulesearch.operators.intervals import MODERATE, Interval
from rulesearch.operators.quantities import POST, QUANTITIES, SCALAR, LocalQuantity
from rulesearch.operators.table import NeuronSum, sum_post

#: What a loss is written in beside the potentials: what the output should be, and the largest
#: potential, which is taken off where it changes nothing, and is a constant in a derivative.
TARGET = LocalQuantity("t_post", POST, "what the output neuron should answer", "t_{{{post}}}")
TOP = LocalQuantity("top", SCALAR, "the largest potential of the output layer", "\\max z")

_z, _t, _top = QUANTITIES["z_post"].symbol, TARGET.symbol, TOP.symbol


@dataclass(frozen=True)
class Loss:
    """One row.

    Attributes:
        name: as an option has it.
        value: the loss of one example, over z_post, t_post and top.
        output: the activity of an output neuron, over z_post and top.
        range: of that activity.
        chance: number of classes -> the loss of the best answer that knows nothing.
        real: whether targets may be any numbers, and not probabilities alone.
    """

    name: str
    value: Expr
    output: Expr
    range: Interval
    chance: Callable[[int], float]
    real: bool = False

    @property
    def error(self) -> Expr:
        """The error e of an output neuron: the derivative of the loss by its potential."""
        return by_one(self.value, _z)


def by_one(expression: Expr, symbol: Symbol) -> Expr:
    """The derivative of a value of the layer by what one of its post-neurons has.

    Args:
        expression: without an index of its own: the symbol stands within sums.
        symbol: of the post-neurons.

    Example:
        >>> by_one(sum_post(_z**2)/2, _z)
        z_post
    """
    names = {total: Dummy(real=True) for total in _outermost(expression)}
    plain = expression.xreplace(names)
    return Add(
        *(
            derivative(plain, name).xreplace({n: t for t, n in names.items()})
            * (derivative(total.args[0], symbol) + 0)
            for total, name in names.items()
        )
    )


def _outermost(expression: Expr) -> list[Expr]:
    if isinstance(expression, NeuronSum):
        return [expression]
    return list(dict.fromkeys(s for a in expression.args for s in _outermost(a)))


def _no_better_than_chance(ways: int) -> float:
    return (1.0 - 1.0 / ways) / 2.0


LOSSES: Mapping[str, Loss] = {
    row.name: row
    for row in (
        # Targets add up to 1, so that the largest potential leaves.
        Loss(
            "cross-entropy",
            log(sum_post(exp(_z - _top))) - sum_post(_t * (_z - _top)),
            exp(_z - _top) / sum_post(exp(_z - _top)),
            Interval(0.0, 1.0),
            math.log,
        ),
        Loss(
            "squared",
            sum_post((_z - _t) ** 2) / 2,
            _z,
            Interval(-MODERATE, MODERATE),
            _no_better_than_chance,
            real=True,
        ),
    )
}
