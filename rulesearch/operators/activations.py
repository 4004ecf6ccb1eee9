"""The table of activations: y = σ(z), its slope, and what may be assumed of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sympy import Abs, Expr, Integer, Max, Rational, Symbol, exp, log, sign, sympify, tanh

from rulesearch.errors import RuleSearchError
from rulesearch.operators.calculus import derivative, stranger
from rulesearch.operators.intervals import MODERATE, Interval
from rulesearch.operators.table import OPERATORS

#: What a slope is written in: the activity, and the potential. At the input both are the pixel.
Y, Z = Symbol("y", real=True), Symbol("z", real=True)

#: Sharpness of the softplus, Eq. 11 of the paper.
BETA = 10.0

_ANY = Interval(-MODERATE, MODERATE)
_RATE = Interval(0.0, MODERATE)


@dataclass(frozen=True)
class Activation:
    """One row.

    Attributes:
        name: as an option has it.
        value: σ(z), over `Z`.
        slope: σ'(z), over `Y` and `Z`. What stands there at the input, with the pixel for both,
            gates the synthetic error (section 4.2).
        range: between which numbers an activity stays.
        safe: for torch, what computes value, slope and the slope's derivative by y without loss of
            digits, templates of `{y}` and `{z}`; where there is none, the expressions are spelled.
        arrays: likewise value and slope by functions that NumPy, JAX and torch have by one name,
            of the module `{of}`.
    """

    name: str
    value: Expr
    slope: Expr
    range: Interval = _ANY
    safe: Mapping[str, str] = field(default_factory=dict, compare=False)
    arrays: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def curvature(self) -> tuple[Expr, Expr]:
        """The derivatives of the slope by y and by z."""
        return derivative(self.slope, Y), derivative(self.slope, Z)

    @property
    def closed_at_zero(self) -> bool:
        """Whether the slope is 0 at a pixel that is 0, so that no error is gated there."""
        return bool(self.slope.xreplace({Y: Integer(0), Z: Integer(0)}) == 0)


def activation(
    name: str,
    value: Callable[[Expr], Expr],
    slope: Callable[[Expr], Expr] | None = None,
    range: tuple[float, float] = (-MODERATE, MODERATE),
) -> Activation:
    """An activation of one's own.

    Args:
        name: as it will be printed.
        value: z ↦ σ(z), of operators in the table.
        slope: y ↦ σ'(z), where it can be told from the activity; the derivative by z otherwise.
        range: of the activity.

    Raises:
        RuleSearchError: what is not in the table of operators, or a slope that is not the
            derivative: the meta-gradient would not be exact.

    Example:
        >>> from sympy import atan
        >>> activation("arctan", atan).slope
        1/(z**2 + 1)
    """
    made = sympify(value(Z))
    if (part := stranger(made)) is not None:
        raise RuleSearchError(
            f"activation {name}: {part} in {made} is not in the table of operators; write it by "
            f"{', '.join(OPERATORS)}"
        )
    exact = derivative(made, Z)
    if slope is None:
        return Activation(name, made, exact, Interval(*range))
    found = sympify(slope(Y))
    for z in _PLACES:
        told, true = (
            complex(e.xreplace({Y: made}).xreplace({Z: z}).evalf()) for e in (found, exact)
        )
        if abs(told - true) > _AS_GOOD * max(1.0, abs(true)):
            raise RuleSearchError(
                f"activation {name}: slope {found} is {told.real:.4g} at z = {float(z):g}, where "
                f"the derivative of {made} is {true.real:.4g}; leave the slope out to have it"
            )
    return Activation(name, made, found, Interval(*range))


#: Where a slope that was given is compared with the derivative, and how well it must agree.
_PLACES, _AS_GOOD = (Rational(-5, 4), Rational(-1, 3), Rational(2, 5), Rational(7, 5)), 1e-9

_SHARP = Integer(int(BETA))

ACTIVATIONS: Mapping[str, Activation] = {
    row.name: row
    for row in (
        # log(1 + exp(10·z))/10, written so that nothing overflows.
        Activation(
            "softplus",
            Max(Z, 0) + log(1 + exp(-Abs(_SHARP * Z))) / _SHARP,
            1 - exp(-_SHARP * Y),
            _RATE,
            {
                "value": "softplus({z})",
                "slope": "slope({y})",
                "by_y": "slope_derivative({y})",
            },
            {
                "value": "{of}.logaddexp(10*{z}, 0.0)/10",
                "slope": "-{of}.expm1(-10*{y})",
            },
        ),
        activation("tanh", tanh, lambda y: 1 - y**2, (-1.0, 1.0)),
        activation(
            "sigmoid",
            lambda z: (1 + tanh(z / 2)) / 2,
            lambda y: y * (1 - y),
            (0.0, 1.0),
        ),
        # At z = 0 the derivative is taken for 0, as it is below.
        activation("relu", lambda z: Max(z, 0), sign, (0.0, MODERATE)),
        activation("identity", lambda z: z, lambda _: Integer(1)),
    )
}
