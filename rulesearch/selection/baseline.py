"""The best coefficient of a rule of one term: what a baseline is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from scipy import optimize

from rulesearch.selection.setting import FitFunction, Measure, Setting, common_seeds, one_term
from rulesearch.statistics import Scores

WIDENINGS = 6
"""Octaves by which the search for a rate may leave its first bracket, in all."""
OCTAVES = 6
"""Width of the first bracket where nothing but the sign of the coefficient is known."""
COARSE = 4
"""The octave of the best rate is found on one in so many of the tasks,"""
FEW = 50
"""or on so many of them if that is more: on 13 it was an octave beside the best."""
CLOSE = math.log2(1.05)
"""Octaves within which a rate is as good as the best: losses there differ by 0.003 at most."""


@dataclass(frozen=True)
class Rate:
    """The best coefficient of a one-term rule on the mean loss.

    Attributes:
        term: name of the term.
        rate: its raw coefficient.
        theta: raw coefficients of the rule, [terms].
        loss: mean query loss on the tasks of the search.
        curve: (coefficient, mean loss) of what was tried on all tasks, in the order of the
            coefficients.
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
    needed: first at the start times powers of two, see `_search`. What the coefficient means is
    the caller's: a rule's, or the rate of whatever else `measure` runs.

    Args:
        setting: see `Setting`.
        label: for instance `backprop by SGD`; the calls are named after it.
        measure: runs lifetimes forward.
        term: index of the term, the reference if None.
    """
    term = setting.reference if term is None else term
    first = (setting.start[term] or setting.protocol.start) * setting.scales[term]
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

    It is evaluated at the centre times powers of two on some of the tasks, further out while the
    best is at the edge, then on all of them minimised between the neighbours of the best
    (`scipy.optimize.minimize_scalar`, to 5 % of the coefficient), and further on where that ends
    at the edge.

    A rate at which most lifetimes diverge is worse than any at which they do not, and of two such
    the smaller is the better: beyond the cliff the loss is level but for the few that are left, and
    says nothing of where the best rate is.
    """
    seeds = common_seeds(setting)[: setting.effort.baseline_tasks]
    few = seeds[: max(FEW, -(-len(seeds) // COARSE))]

    def along(some: tuple[int, ...]) -> _Curve:
        def outcomes_at(octaves: float) -> Scores:
            theta = one_term(setting, term, centre * 2.0**octaves)
            return measure(f"{label}/rate {theta[term]!r} on {len(some)} tasks", theta, some)

        return _Curve(outcomes_at)

    coarse = along(few)
    fine = along(seeds) if len(few) < len(seeds) else coarse
    low, high = bracket
    octave: float = min(range(low, high + 1), key=coarse.order)
    for _ in range(WIDENINGS):
        if octave not in (low, high):
            break
        low, high = (low - 1, high) if octave == low else (low, high + 1)
        octave = min(range(low, high + 1), key=coarse.order)
    inside = low < octave < high
    fine.loss(octave)  # what is found is no worse, whatever the curve is like
    for _ in range(WIDENINGS + 1):
        optimize.minimize_scalar(
            fine.loss,
            bounds=(octave - 1, octave + 1),
            method="bounded",
            options={"xatol": CLOSE},
        )
        before, octave = octave, fine.best
        if abs(octave - before) < 1 - 2 * CLOSE:
            break
    else:
        inside = False
    rate = centre * 2.0**octave
    curves = (fine,) if fine is coarse else (coarse, fine)
    losses = {place: outcomes.mean_loss for place, outcomes in sorted(fine.tried.items())}
    return Rate(
        term=setting.names[term],
        rate=rate,
        theta=one_term(setting, term, rate),
        loss=losses[octave],
        curve=tuple((centre * 2.0**place, loss) for place, loss in losses.items()),
        bracketed=inside,
        lifetimes=sum(len(o.seeds) for curve in curves for o in curve.tried.values()),
    )


@dataclass(frozen=True)
class _Curve:
    """Scores along one coefficient, each measured once.

    Attributes:
        at: gives those at so many octaves from the centre.
        tried: octaves -> outcomes so far.
    """

    at: Callable[[float], Scores]
    tried: dict[float, Scores] = field(default_factory=dict)

    def loss(self, octaves: float) -> float:
        """The mean loss."""
        octaves = float(octaves)
        if octaves not in self.tried:
            self.tried[octaves] = self.at(octaves)
        return self.tried[octaves].mean_loss

    def order(self, octaves: float) -> tuple[bool, float]:
        """What is less is better: whether it is beyond the cliff; then where, or the loss."""
        loss, bad = self.loss(octaves), self.tried[octaves].diverged
        return (True, octaves) if 2 * sum(bad) > len(bad) else (False, loss)

    @property
    def best(self) -> float:
        """Where it is, of what was tried."""
        return min(self.tried, key=self.order)
