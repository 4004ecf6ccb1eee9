"""The best coefficient of a rule of one term: what a baseline is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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
        def outcomes_at(octaves: Sequence[float]) -> list[Scores]:
            rules = (one_term(setting, term, centre * 2.0**octave) for octave in octaves)
            named = {f"{label}/rate {rule[term]!r} on {len(some)} tasks": rule for rule in rules}
            return measure(named, some)

        return _Curve(outcomes_at)

    coarse = along(few)
    fine = along(seeds) if len(few) < len(seeds) else coarse
    low, high = bracket
    coarse.look(range(low, high + 1))
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
        at: gives those at each of some distances from the centre, in octaves.
        tried: octaves -> outcomes so far.
        cliff: whether what lies beyond it is worse than all that does not.
    """

    at: Callable[[Sequence[float]], list[Scores]]
    tried: dict[float, Scores] = field(default_factory=dict)
    cliff: bool = True

    def look(self, places: Iterable[float]) -> None:
        """Measure at several places, side by side."""
        new = [place for place in map(float, places) if place not in self.tried]
        self.tried.update(zip(new, self.at(new) if new else (), strict=True))

    def loss(self, octaves: float) -> float:
        """The mean loss."""
        self.look([octaves])
        return self.tried[float(octaves)].mean_loss

    def order(self, octaves: float) -> tuple[bool, float]:
        """What is less is better: whether it is beyond the cliff; then where, or the loss."""
        loss, bad = self.loss(octaves), self.tried[octaves].diverged
        beyond = self.cliff and 2 * sum(bad) > len(bad)
        return (True, octaves) if beyond else (False, loss)

    @property
    def best(self) -> float:
        """Where it is, of what was tried."""
        return min(self.tried, key=self.order)


@dataclass(frozen=True)
class Near:
    """The best of a few rates, found from one that is known to be near.

    Attributes:
        rate: it.
        curve: (rate, mean loss) of what was tried, in the order of the rates.
        bracketed: whether it lies between two worse ones.
        lifetimes: run for it.
    """

    rate: float
    curve: tuple[tuple[float, float], ...]
    bracketed: bool
    lifetimes: int


def rate_near(
    outcomes_at: Callable[[float], Scores],
    centre: float,
    *,
    widenings: int = WIDENINGS,
    cliff: bool = True,
) -> Near:
    """The least mean loss along a rate, in few measurements where a good one is known.

    Octaves around the centre are tried until the best lies between two worse ones; then the vertex
    of the parabola through these three, and of the one through the best three once more: to about
    5 % of the rate where the mean loss is smooth, as `best_rate` is. Beyond the cliff rates are
    ordered as there.

    Args:
        outcomes_at: of a rate.
        centre: the rate to begin with, above 0.
        widenings: octaves tried beyond the first three at most.
        cliff: whether rates are ordered by it; without, by the mean loss alone.

    Example:
        >>> def at(rate):
        ...     loss = (math.log2(rate / 0.03) ** 2,)
        ...     return Scores((0,), loss, (1.0,), (9.0,), (False,))
        >>> round(rate_near(at, 0.01).rate, 4)
        0.03
    """
    along = _Curve(lambda places: [outcomes_at(centre * 2.0**p) for p in places], cliff=cliff)
    low, high = -1, 1
    for _ in range(widenings):
        best = min(range(low, high + 1), key=along.order)
        if best not in (low, high):
            break
        low, high = (low - 1, high) if best == low else (low, high + 1)
    best = min(range(low, high + 1), key=along.order)
    bracketed = low < best < high
    for _ in range(2 if bracketed else 0):
        vertex = _vertex(along)
        if min(abs(vertex - place) for place in along.tried) < CLOSE:
            break
        along.loss(vertex)
    found = along.best
    losses = [(centre * 2.0**place, o.mean_loss) for place, o in sorted(along.tried.items())]
    lifetimes = sum(len(o.seeds) for o in along.tried.values())
    return Near(centre * 2.0**found, tuple(losses), bracketed, lifetimes)


def _vertex(along: _Curve) -> float:
    """Where the parabola through the best place and its neighbours is least."""
    places = sorted(along.tried)
    middle = min(max(places.index(along.best), 1), len(places) - 2)
    (a, b, c) = places[middle - 1 : middle + 2]
    fa, fb, fc = (along.loss(place) for place in (a, b, c))
    slopes = (fb - fa) / (b - a), (fc - fb) / (c - b)
    bend = slopes[1] - slopes[0]
    if bend <= 0:  # no valley: beyond the cliff losses are level
        return b
    return min(max((a + b) / 2 - slopes[0] * (c - a) / (2 * bend), a), c)
