"""Between which numbers a value stays: what tells where 0·∞ can arise, and where it cannot.

Quantities are taken to be moderate, at most 1e9: a lifetime whose potentials are beyond has no
digit left that means anything. What then stays within the range of float32 is *bounded*; products
with it are never 0·∞, and kernels compute them as they stand.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

#: The largest magnitude of a quantity.
MODERATE = 1e9
#: The most neurons of a layer.
NEURONS = 1e4
#: What float32 holds, less what a sum of some such values may come to.
_LARGEST = 1e38


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`; without bound where it may also be infinite or NaN."""

    low: float
    high: float

    @property
    def bounded(self) -> bool:
        """Whether every value is a number, in float32 too."""
        return self.high < _LARGEST and self.low > -_LARGEST

    @property
    def has_zero(self) -> bool:
        """Whether 0 is among them."""
        return self.low <= 0 <= self.high

    def __add__(self, other: Interval) -> Interval:
        return _within(self.low + other.low, self.high + other.high)

    def __mul__(self, other: Interval) -> Interval:
        ends = itertools.product((self.low, self.high), (other.low, other.high))
        return _within(*(a * b for a, b in ends))

    def __pow__(self, exponent: float) -> Interval:
        if exponent < 0:
            power = self**-exponent
            return ANYTHING if power.has_zero else _within(1 / power.low, 1 / power.high)
        whole = exponent == int(exponent)
        if not self.bounded or (self.low < 0 and not whole):
            return ANYTHING
        ends = [_power(self.low, exponent), _power(self.high, exponent)]
        return _within(*ends, *([0.0] if self.has_zero else []))


ANYTHING = Interval(-math.inf, math.inf)


def _within(*values: float) -> Interval:
    """The smallest interval around some values; no bound where one of them is no number."""
    if not all(math.isfinite(v) for v in values):
        return ANYTHING
    found = Interval(min(values), max(values))
    return found if found.bounded else ANYTHING


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf


def between(low: float, high: float) -> Callable[..., Interval]:
    """The range of a function that gives no other values, whatever its arguments are, NaN too."""
    return lambda *_: Interval(low, high)


def rising(function: Callable[[float], float]) -> Callable[[Interval], Interval]:
    """The range of a function that rises, from that of its argument.

    Example:
        >>> rising(math.exp)(Interval(-math.inf, 0.0)).bounded
        False
        >>> rising(math.atan)(Interval(0.0, 1.0))
        Interval(low=0.0, high=0.7853981633974483)
    """

    def image(x: Interval) -> Interval:
        if not x.bounded:
            return ANYTHING
        try:
            return _within(function(x.low), function(x.high))
        except (OverflowError, ValueError):
            return ANYTHING

    return image


def waving(x: Interval) -> Interval:
    """The range of sine and cosine, which infinity has none of."""
    return Interval(-1.0, 1.0) if x.bounded else ANYTHING


def magnitude(x: Interval) -> Interval:
    """The range of Abs."""
    ends = [abs(x.low), abs(x.high)]
    return _within(*ends, *([0.0] if x.has_zero else []))


def largest(*arguments: Interval) -> Interval:
    """The range of Max."""
    if not all(a.bounded for a in arguments):
        return ANYTHING
    return Interval(max(a.low for a in arguments), max(a.high for a in arguments))


def smallest(*arguments: Interval) -> Interval:
    """The range of Min."""
    if not all(a.bounded for a in arguments):
        return ANYTHING
    return Interval(min(a.low for a in arguments), min(a.high for a in arguments))
