"""The best coefficient of a rule of one term: what a baseline is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scipy import optimize

from rulesearch.selection.setting import FitFunction, Measure, Setting, common_seeds, one_term

WIDENINGS = 6
"""Octaves by which the search for a rate may leave its first bracket, in all."""
OCTAVES = 6
"""Width of the first bracket where nothing but the sign of the coefficient is known."""


@dataclass(frozen=True)
class Rate:
    """The best coefficient of a one-term rule on the mean loss.

    Attributes:
        term: name of the term.
        rate: its raw coefficient.
        theta: raw coefficients of the rule, [terms].
        loss: mean query loss on the tasks of the search.
        curve: (coefficient, mean loss) of everything tried, in the order of the coefficients.
        bracketed: whether the best one lies between two worse ones.
        lifetimes: run for it, the fit's included.
    """

    term: str
    rate: float
    theta: tuple[float, ...]
    loss: float
    curve: tuple[tuple[float, float], ...]
    bracketed: bool
    lifetimes: int


def best_rate(setting: Setting, label: str, measure: Measure, term: int | None = None) -> Rate:
    """The best rule of one term whose coefficient is known to be positive, as a baseline's is.

    A baseline must not be handicapped, so the true mean loss is searched, and no gradient is
    needed: first at the protocol's start times powers of two, see `_search`.

    Args:
        setting: see `Setting`.
        label: for instance `backprop`; the calls are named after it.
        measure: runs lifetimes forward.
        term: index of the term, the reference if None.
    """
    term = setting.reference if term is None else term
    first = setting.protocol.start * setting.scales[term]
    return _search(setting, label, measure, term, first, (0, OCTAVES))


def fit_rate(
    setting: Setting, label: str, fit: FitFunction, measure: Measure, term: int | None = None
) -> Rate:
    """The best rule of one term of any sign: meta-learned, then searched on the true mean loss.

    Directions of gradients may balance beside the minimum of the mean loss, hence the search.

    Args:
        setting: see `Setting`.
        label: for instance `reference`; the calls are named after it.
        fit: runs plans.
        measure: runs lifetimes forward.
        term: index of the term, the reference if None.
    """
    term = setting.reference if term is None else term
    start = one_term(setting, term, setting.start[term] or setting.protocol.start)
    plan = setting.plan(f"{label}/fit", (term,), start, setting.effort.baseline_steps)
    (fitted,) = fit([plan])
    centre = fitted.theta[term]
    if fitted.failed is not None or centre == 0:
        centre = setting.protocol.start * setting.scales[term]
    found = _search(setting, label, measure, term, centre, (-2, 2))
    return replace(found, lifetimes=found.lifetimes + fitted.lifetimes)


def _search(
    setting: Setting,
    label: str,
    measure: Measure,
    term: int,
    centre: float,
    bracket: tuple[int, int],
) -> Rate:
    """The least mean loss along one coefficient.

    It is evaluated at the centre times powers of two, further out while the best is at the edge,
    then minimised between the neighbours of the best (`scipy.optimize.minimize_scalar`, to 3 % of
    the coefficient). A rate at which most lifetimes diverge is worse than any at which they do not,
    and of two such the smaller is the better: beyond the cliff the loss is level but for the few
    that are left, and says nothing of where the best rate is.
    """
    seeds = common_seeds(setting)[: setting.effort.baseline_tasks]
    curve: dict[float, float] = {}  # octaves from the centre: mean loss
    beyond: set[float] = set()  # octaves at which most lifetimes diverge

    def loss_at(octaves: float) -> float:
        if octaves not in curve:
            theta = one_term(setting, term, centre * 2.0**octaves)
            outcomes = measure(f"{label}/rate {theta[term]!r}", theta, seeds)
            curve[octaves] = outcomes.mean_loss
            if 2 * sum(outcomes.diverged) > len(seeds):
                beyond.add(octaves)
        return curve[octaves]

    def order(octaves: float) -> tuple[bool, float]:
        loss = loss_at(octaves)
        return (True, octaves) if octaves in beyond else (False, loss)

    low, high = bracket
    best = min(range(low, high + 1), key=order)
    for _ in range(WIDENINGS):
        if best not in (low, high):
            break
        low, high = (low - 1, high) if best == low else (low, high + 1)
        best = min(range(low, high + 1), key=order)
    optimize.minimize_scalar(
        lambda octaves: loss_at(float(octaves)),
        bounds=(best - 1, best + 1),
        method="bounded",
        options={"xatol": math.log2(1.03)},
    )
    found = min(curve, key=order)
    rate = centre * 2.0**found
    return Rate(
        term=setting.names[term],
        rate=rate,
        theta=one_term(setting, term, rate),
        loss=curve[found],
        curve=tuple((centre * 2.0**octaves, curve[octaves]) for octaves in sorted(curve)),
        bracketed=low < best < high,
        lifetimes=len(seeds) * len(curve),
    )
