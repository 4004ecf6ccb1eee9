"""Claims of the paper, and verdicts that code makes from numbers.

A `Claim` holds what is claimed, in our own words, and a pure function from numbers to a
`Finding`. Verdicts follow one rule: *holds* where the interval, not only the mean, is on the
claimed side; *holds in part* where only the mean is; *does not hold* otherwise. For a number that
the paper prints, the mean must be within a tolerance, and *holds in part* means that the interval
reaches into it.

Intervals are those of the paper's Methods: 98 %, bootstrap over trials with 500 samples.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]
Interval = tuple[float, float]
Verdict = Literal["holds", "holds in part", "does not hold"]

#: Section 4.1: level and number of samples of every interval.
LEVEL = 0.98
RESAMPLES = 500

_Numbers = TypeVar("_Numbers")


@dataclass(frozen=True)
class Finding:
    """What was measured of a claim.

    Attributes:
        statistic: what the value is, in words.
        verdict: made from value and interval.
        value: mean over trials; NaN for a claim of several parts, which have values of their own.
        interval: of the mean, 98 %; NaN where there is none.
        unit: of both.
        parts: name -> finding of each part.
    """

    statistic: str
    verdict: Verdict
    value: float = math.nan
    interval: Interval = (math.nan, math.nan)
    unit: str = ""
    parts: tuple[tuple[str, Finding], ...] = ()

    @property
    def measurement(self) -> str:
        """Value and interval as text; of a claim with parts, one after the other.

        Example:
            >>> above("accuracy", np.array([0.71, 0.71]), 0.5).measurement
            '0.710 [0.710, 0.710]'
        """
        if self.parts:
            return "; ".join(f"{name}: {part.measurement}" for name, part in self.parts)
        if math.isnan(self.value):
            return "no value"
        texts = [_figures(x, self.value) for x in (self.value, *self.interval)]
        unit = f" {self.unit}" if self.unit else ""
        interval = "" if math.isnan(self.interval[0]) else f" [{texts[1]}, {texts[2]}]"
        return f"{texts[0]}{interval}{unit}"


@dataclass(frozen=True)
class Claim(Generic[_Numbers]):
    """A statement of the paper that numbers can decide.

    Attributes:
        key: unique, such as fig3-accuracy-backprop.
        section: of the paper, or its figure or table.
        text: the statement, in our own words.
        judge: numbers -> finding; pure.
    """

    key: str
    section: str
    text: str
    judge: Callable[[_Numbers], Finding]


@dataclass(frozen=True)
class Judged:
    """A claim with what was found, as data.

    Attributes:
        key: of the claim.
        section: of the paper.
        text: of the claim.
        finding: what was found.
    """

    key: str
    section: str
    text: str
    finding: Finding


def judged(claims: Sequence[Claim[_Numbers]], numbers: _Numbers) -> tuple[Judged, ...]:
    """Each claim with its finding on these numbers."""
    return tuple(Judged(c.key, c.section, c.text, c.judge(numbers)) for c in claims)


# --- intervals -----------------------------------------------------------------------------------


def bootstrap(values: Values) -> tuple[Values, Values]:
    """Percentile interval of the mean over trials, for each of the other axes.

    Values that are not finite are left out: the mean is over the trials that have one. The samples
    are drawn from a fixed seed, so that the same values give the same interval.

    Args:
        values: [trials, ...], two trials or more.

    Returns:
        Lower and upper ends, [...]; NaN where no trial has a value, or so few that a sample may
        have none: what little is left then has no interval to speak of.

    Example:
        >>> low, high = bootstrap(np.array([[1.0, 3.0], [1.0, 5.0]]))
        >>> low.tolist(), high.tolist()
        ([1.0, 3.0], [1.0, 5.0])
    """
    finite = np.where(np.isfinite(values), values, np.nan)
    with warnings.catch_warnings():
        # All-NaN columns and resamples, and columns without spread: the answer there is plain.
        warnings.simplefilter("ignore")
        interval = stats.bootstrap(
            (finite,),
            np.nanmean,
            axis=0,
            confidence_level=LEVEL,
            n_resamples=RESAMPLES,
            method="percentile",
            vectorized=True,
            batch=50,
            rng=np.random.default_rng(0),
        ).confidence_interval
    return np.asarray(interval.low), np.asarray(interval.high)


def mean(values: Values) -> Values:
    """The mean over trials, axis 0, of the values that are finite; NaN where there is none."""
    finite = np.where(np.isfinite(values), values, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(np.nanmean(finite, axis=0))


def _mean_and_interval(values: Values) -> tuple[float, Interval]:
    low, high = bootstrap(values)
    return float(mean(values)), (float(low), float(high))


# --- verdicts ------------------------------------------------------------------------------------


def above(statistic: str, values: Values, limit: float, unit: str = "") -> Finding:
    """Whether the mean over trials is above a limit.

    Example:
        >>> above("difference", np.array([-1.0, 2.0]), 0.0).verdict
        'holds in part'
    """
    value, interval = _mean_and_interval(values)
    verdict: Verdict = "holds" if interval[0] > limit else "does not hold"
    if verdict != "holds" and value > limit:
        verdict = "holds in part"
    return Finding(statistic, verdict, value, interval, unit)


def below(statistic: str, values: Values, limit: float, unit: str = "") -> Finding:
    """Whether the mean over trials is below a limit."""
    value, interval = _mean_and_interval(values)
    verdict: Verdict = "holds" if interval[1] < limit else "does not hold"
    if verdict != "holds" and value < limit:
        verdict = "holds in part"
    return Finding(statistic, verdict, value, interval, unit)


def near(
    statistic: str, values: Values, published: float, tolerance: float, unit: str = ""
) -> Finding:
    """Whether the mean over trials is within a tolerance of a published number.

    Example:
        >>> near("accuracy", np.array([0.69, 0.70]), 0.70, 0.05).verdict
        'holds'
    """
    value, interval = _mean_and_interval(values)
    verdict: Verdict = "does not hold"
    if abs(value - published) <= tolerance:
        verdict = "holds"
    elif interval[0] <= published + tolerance and interval[1] >= published - tolerance:
        verdict = "holds in part"
    return Finding(statistic, verdict, value, interval, unit)


def count(
    statistic: str, number: int, of: int, needed: int, some: int = 1, unit: str = ""
) -> Finding:
    """Whether at least `needed` of `of` cases show something; in part where at least `some` do.

    Example:
        >>> count("trials that do", 3, of=5, needed=5).verdict
        'holds in part'
    """
    verdict: Verdict = "does not hold"
    if number >= needed:
        verdict = "holds"
    elif number >= some:
        verdict = "holds in part"
    return Finding(statistic, verdict, number, unit=unit or f"of {of}")


def all_of(statistic: str, parts: Mapping[str, Finding]) -> Finding:
    """A claim of several parts: it holds where all do, and in part where any does, even in part."""
    verdicts = {part.verdict for part in parts.values()}
    verdict: Verdict = "holds in part"
    if verdicts == {"holds"}:
        verdict = "holds"
    elif verdicts == {"does not hold"}:
        verdict = "does not hold"
    return Finding(statistic, verdict, parts=tuple(parts.items()))


def _figures(number: float, like: float) -> str:
    """Three significant figures of `like`, so that value and interval have equally many decimals.

    Example:
        >>> _figures(87.654, 87.6), _figures(-0.00123, 0.0112)
        ('87.7', '-0.0012')
    """
    if not math.isfinite(number) or not math.isfinite(like) or abs(like) >= 1e5:
        return f"{number:.3g}"
    if like == int(like) and number == int(number):
        return f"{number:.0f}"
    decimals = 2 - math.floor(math.log10(abs(like))) if like else 3
    return f"{number:.{max(0, min(decimals, 6))}f}"
