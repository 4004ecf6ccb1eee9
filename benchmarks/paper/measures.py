"""What claims are made of: numbers per trial from the courses that `experiments` gives.

Rules are compared trial by trial, because the trials of all experiments have the same seeds.
Everything here is a pure function of arrays whose first axis is trials.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper.claims import Finding, Values, above, all_of, below
from benchmarks.paper.experiments import Records

#: Of the course, the last meta-steps that stand for its end.
WINDOW = 100
#: Output units of the networks of the paper: what a lifetime that is not finite has is chance.
OUTPUTS = 47
#: What captions say of lifetimes that failed.
SCORED = (
    "A lifetime that diverged counts as the worse of chance (ln 47) and its own untrained loss, "
    "with the accuracy of chance (1/47)."
)
#: A coefficient has settled once it stays within this share of its final value, ...
SETTLED_WITHIN = 0.25
#: ... averaged over so many meta-steps, because a meta-step is one task, and tasks differ.
SMOOTHED_OVER = 20

Runs = Mapping[str, Records]


def accuracy(records: Records) -> Values:
    """Query accuracy, [trials, meta-steps]; that of chance after a trial was given up."""
    return np.where(np.isfinite(records.accuracy), records.accuracy, 1 / OUTPUTS)


def loss(records: Records) -> Values:
    """Query loss, [trials, meta-steps]; that of chance after a trial was given up.

    Lifetimes that diverged are in it as everywhere, see `rulesearch.scoring`; they are counted and
    shown beside it.
    """
    return np.where(np.isfinite(records.loss), records.loss, math.log(OUTPUTS))


def late(values: Values, window: int = WINDOW) -> Values:
    """Mean over the last meta-steps: [trials, meta-steps, ...] -> [trials, ...].

    Values that are not finite are left out; NaN where there is no other.

    Example:
        >>> late(np.array([[5.0, 1.0, np.nan, 3.0]]), window=3)
        array([2.])
    """
    tail = values[:, -window:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a trial without a value: the answer there is NaN
        return np.asarray(np.nanmean(np.where(np.isfinite(tail), tail, np.nan), axis=1))


def angles(records: Records, name: str = "angle") -> Values:
    """Angles at the end in degrees, [trials, layers]."""
    return late(records.observed[name])


def settled(course: Values, window: int = WINDOW) -> Values:
    """Meta-steps until a coefficient has settled, [trials]; their number where it never does.

    Args:
        course: of a coefficient, [trials, meta-steps].
        window: meta-steps at the end whose mean is the final value.

    Example:
        >>> rise = np.minimum(np.arange(200.0), 100.0)[None]
        >>> settled(rise)  # within 25 % once the mean of the 20 values around is
        array([76.])
    """
    width = min(SMOOTHED_OVER, course.shape[1])
    smooth: Values = np.lib.stride_tricks.sliding_window_view(course, width, axis=1).mean(-1)
    final = late(course, window)[:, None]
    outside = ~(np.abs(smooth - final) <= SETTLED_WITHIN * np.abs(final))
    steps = smooth.shape[1]
    last_outside = steps - 1 - outside[:, ::-1].argmax(1)
    at = np.where(outside.any(1), last_outside + 1 + width // 2, 0)
    return np.asarray(np.minimum(at, course.shape[1]), dtype=np.float64)


def learning(records: Records) -> NDArray[np.bool_]:
    """Which trials still learn at the end: their accuracy is above twice that of chance."""
    return np.asarray(late(accuracy(records)) > 2 / OUTPUTS)


def one_sided(records: Records, window: int = WINDOW) -> Values:
    """How many coefficients keep one sign to the end, [trials]; NaN where a trial does not learn.

    This needs no unit: coefficients of terms of different size cannot be compared with one
    threshold. Without a use, a coefficient wanders about zero with the tasks' noise.

    Args:
        records: of a rule.
        window: the last meta-steps, in all of which the sign must be the same.
    """
    tail = records.theta[:, -window:]
    kept = (tail > 0).all(1) | (tail < 0).all(1)
    return np.where(learning(records), kept.sum(1), np.nan)


# --- findings that several figures make ----------------------------------------------------------


def more_accurate(
    runs: Runs, rule: str, other: str, by: float = 0.0, window: int = WINDOW
) -> Finding:
    """Whether a rule is more accurate at the end than another, by more than a margin."""
    difference = late(accuracy(runs[rule]), window) - late(accuracy(runs[other]), window)
    return above(f"accuracy of {rule} minus that of {other}, end of meta-learning", difference, by)


def less_accurate(runs: Runs, rule: str, other: str) -> Finding:
    """Whether a rule is less accurate at the end than another."""
    difference = late(accuracy(runs[rule])) - late(accuracy(runs[other]))
    return below(f"accuracy of {rule} minus that of {other}, end of meta-learning", difference, 0.0)


def lower_loss(runs: Runs, rule: str, other: str) -> Finding:
    """Whether a rule has a lower query loss at the end than another."""
    difference = late(loss(runs[rule])) - late(loss(runs[other]))
    return below(f"query loss of {rule} minus that of {other}, end of meta-learning", difference, 0)


def smaller_angles(
    runs: Runs, rule: str, other: str, layers: Sequence[int], by: float = 0.0
) -> Finding:
    """Whether a rule's errors are closer to backprop's than another's, by more than `by` degrees.

    Args:
        runs: with the observable "angle", whose columns are layers 1 … L.
        rule: the one with smaller angles.
        other: the one with larger angles.
        layers: each of them is a part of the claim.
        by: degrees.
    """
    reduction = angles(runs[other]) - angles(runs[rule])
    statistic = f"angle of {other} minus that of {rule}, end of meta-learning"
    return all_of(
        statistic,
        {f"layer {layer}": above(statistic, reduction[:, layer - 1], by, "°") for layer in layers},
    )
