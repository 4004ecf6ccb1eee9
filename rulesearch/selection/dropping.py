"""Tries to do without a term, each paired with the full support on the common tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rulesearch.meta import Fit, FitPlan, rate_at
from rulesearch.selection.setting import (
    FitFunction,
    Measure,
    Overlaps,
    Setting,
    common_seeds,
    learned,
)
from rulesearch.selection.taking_over import taken_over
from rulesearch.statistics import Interval, Scores, clearly_below, compare

#: A refit that has used more of its way than this in one direction has not arrived.
MOST_OF_THE_WAY = 0.5
#: Refits that end above their start, after which a try is given up.
MOST_ASTRAY = 2
#: How often the coefficients of a start at which lifetimes diverge are halved.
HALVINGS = 4


@dataclass(frozen=True)
class EliminationStep:
    """One try to drop a term.

    Attributes:
        dropped: the term.
        support: what is left without it.
        loss: mean query loss of what is left, after its refit if there was one.
        cost: that minus the loss of the full support; cumulative, so earlier drops are in it.
        cost_interval: 95 %, from the paired differences over the common tasks.
        share_of_gain: cost divided by the gain.
        kept: whether the term was dropped for good; the other tries show what another parsimony,
            or another order, would have chosen.
        diverged: lifetimes that did, scored as everywhere.
        failed: why the refit was given up, or None.
        refitted: False where the drop was clearly cheap without a refit, which can only make it
            cheaper; see `Effort.clear`.
        arrived: False where no refit ended in a place of its own: the cost is then no more than
            an upper bound, and says nothing of what the term is worth.
    """

    dropped: str
    support: tuple[str, ...]
    loss: float
    cost: float
    cost_interval: Interval
    share_of_gain: float
    kept: bool
    diverged: int
    failed: str | None = None
    refitted: bool = True
    arrived: bool = True


@dataclass(frozen=True)
class Place:
    """Where an elimination has got to.

    Attributes:
        support: indices of the terms left.
        phi: their coefficients as learned, [terms].
        theta: the raw ones, [terms].
        outcomes: on the common tasks, or on the first of them.
    """

    support: tuple[int, ...]
    phi: tuple[float, ...]
    theta: tuple[float, ...]
    outcomes: Scores

    @property
    def diverged(self) -> int:
        """Lifetimes that did."""
        return sum(self.outcomes.diverged)


@dataclass(frozen=True)
class Judge:
    """What every try is held against, and the means to run it.

    Attributes:
        setting: see `Setting`.
        full: the full refitted support on the common tasks.
        gain: what the full support gains, nats.
        parsimony: share of it that all terms dropped may cost together.
        fit: runs plans.
        measure: runs lifetimes forward.
        overlaps: how alike the terms' updates are.
    """

    setting: Setting
    full: Scores
    gain: float
    parsimony: float
    fit: FitFunction
    measure: Measure
    overlaps: Overlaps

    def few(self, label: str, support: Sequence[int], theta: Sequence[float]) -> Place:
        """A place on the first of the common tasks, where candidates are ranked."""
        seeds = common_seeds(self.setting)[: self.setting.effort.ranking_tasks]
        return self._at(label, support, theta, seeds)

    def all(self, label: str, support: Sequence[int], theta: Sequence[float]) -> Place:
        """A place on all common tasks, where costs are measured."""
        return self._at(label, support, theta, self.full.seeds)

    def _at(
        self, label: str, support: Sequence[int], theta: Sequence[float], seeds: tuple[int, ...]
    ) -> Place:
        raw = tuple(theta)
        (outcomes,) = self.measure({label: raw}, seeds)
        return Place(tuple(support), learned(self.setting, raw), raw, outcomes)


@dataclass(frozen=True)
class _Try:
    """A term that may go, and the best place without it so far.

    Attributes:
        term: its index.
        start: where the next refit begins, on the first tasks.
        best: on all common tasks; None before the first refit.
        failed: why the last refit was given up, or None.
        arrived: whether the last refit ended in a place of its own.
        astray: refits that ended above their start.
    """

    term: int
    start: Place
    best: Place | None = None
    failed: str | None = None
    arrived: bool = False
    astray: int = 0


def tried(judge: Judge, place: Place) -> list[tuple[EliminationStep, Place]]:
    """The tries that decide which term goes next, and where each leads.

    They are refits without one of the most promising terms; or a single try without a refit,
    where a term clearly costs little once the others have taken over its work: a refit would only
    make it cheaper.
    """
    effort = judge.setting.effort
    promising = _ranking(judge, place)[: effort.candidates]
    allowed = effort.clear * judge.parsimony * judge.gain
    full = float(np.mean(judge.full.loss[: effort.ranking_tasks]))
    for term, there in promising:
        # Not below on the first tasks, not clearly below on all of them.
        if there.outcomes.mean_loss - full < allowed:
            label = f"{_without(judge, place, term)}, taken over, measured"
            there = judge.all(label, there.support, there.theta)
            if clearly_below(there.outcomes, judge.full, allowed):
                return [
                    (_step(judge, _Try(term, there, there, arrived=True), refitted=False), there)
                ]
    tries = [_Try(term, _safest(judge, place, term, there)) for term, there in promising]
    return [(_step(judge, each), _known(each.best)) for each in _refitted(judge, place, tries)]


def _ranking(judge: Judge, place: Place) -> list[tuple[int, Place]]:
    """Each term of the support with the place where the others take over its work, best first."""
    alike = judge.overlaps(f"{_terms(place)}, overlaps", place.theta)
    places = []
    for term in place.support:
        rest = tuple(other for other in place.support if other != term)
        theta = taken_over(alike, place.theta, term, rest)
        label = f"{_without(judge, place, term)}, taken over"
        places.append((term, judge.few(label, rest, theta)))
    return sorted(places, key=lambda item: _loss(item[1]))


def _safest(judge: Judge, place: Place, term: int, projected: Place) -> Place:
    """Where the refit without a term begins: the best place at hand, and not beyond a cliff.

    That is where the others have taken over its work or, if that is worse, where it is plainly
    left out; and, while lifetimes diverge there, with half the coefficients.
    """
    label = _without(judge, place, term)
    zeroed = tuple(0.0 if other == term else x for other, x in enumerate(place.theta))
    plain = judge.few(f"{label}, left out", projected.support, zeroed)
    best = min(projected, plain, key=_loss)
    for halvings in range(1, HALVINGS + 1):
        if not best.diverged:
            break
        half = _halved(judge, f"{label}, halved {halvings}", best)
        if _loss(half) >= _loss(best):
            break
        best = half
    return best


def _halved(judge: Judge, label: str, place: Place) -> Place:
    return judge.few(label, place.support, tuple(x / 2 for x in place.theta))


def _refitted(judge: Judge, place: Place, tries: Sequence[_Try]) -> list[_Try]:
    """Refits side by side, in rounds, until each has arrived or is known to be cheap enough."""
    done = list(tries)
    for number in range(1, judge.setting.effort.full_rounds + 1):
        going = [i for i, each in enumerate(done) if not _settled(judge, each)]
        if not going:
            break
        labels = [f"{_without(judge, place, done[i].term)}, refit {number}" for i in going]
        plans = [
            _plan(judge, place, done[i], label) for i, label in zip(going, labels, strict=True)
        ]
        for i, plan, fitted in zip(going, plans, judge.fit(plans), strict=True):
            done[i] = _after(judge, done[i], plan, fitted)
    return done


def _settled(judge: Judge, each: _Try) -> bool:
    """Whether another refit is of no use: what is cheap enough already can only become cheaper."""
    if each.best is None:
        return False
    cheap = compare(each.best.outcomes, judge.full).mean < judge.parsimony * judge.gain
    return cheap or each.arrived or each.astray == MOST_ASTRAY


def _plan(judge: Judge, place: Place, each: _Try, label: str) -> FitPlan:
    setting = judge.setting
    plan = setting.plan(label, each.start.support, each.start.phi, setting.effort.refit_steps)
    # Tasks hang on what a term is, not on what it is called.
    rest = label.removeprefix(_without(judge, place, each.term))
    return replace(plan, draws=f"{_terms(place)} without {setting.key(each.term)}{rest}")


def _after(judge: Judge, each: _Try, plan: FitPlan, fitted: Fit) -> _Try:
    """A try after one more refit: it has arrived, goes on, or begins again from a safer place."""
    start = each.start
    end = judge.all(f"{plan.label}, measured", start.support, fitted.theta)
    there = replace(end, outcomes=end.outcomes.some(0, len(start.outcomes.seeds)))
    places = [end] if each.best is None else [each.best, end]
    if there.outcomes.mean_loss > start.outcomes.mean_loss:
        # The start itself may be the better answer.
        places.append(judge.all(f"{plan.label}, its start", start.support, start.theta))
    each = replace(each, best=min(places, key=_loss), failed=fitted.failed)
    if fitted.failed or compare(there.outcomes, start.outcomes).interval[0] > 0:
        safer = _halved(judge, f"{plan.label}, halved", start)
        return replace(each, start=safer, astray=each.astray + 1)
    return replace(each, start=there, arrived=_way(plan, fitted) < MOST_OF_THE_WAY)


def _way(plan: FitPlan, fitted: Fit) -> float:
    """How far a coefficient has come in one direction, as a share of what its steps allow."""
    most = sum(rate_at(plan, step) for step in range(plan.steps))
    return max(abs(fitted.phi[t] - plan.start[t]) for t in plan.support) / most


def _step(judge: Judge, each: _Try, *, refitted: bool = True) -> EliminationStep:
    there = _known(each.best)
    cost = compare(there.outcomes, judge.full)
    return EliminationStep(
        dropped=judge.setting.names[each.term],
        support=judge.setting.tell(there.support),
        loss=there.outcomes.mean_loss,
        cost=cost.mean,
        cost_interval=cost.interval,
        share_of_gain=cost.mean / judge.gain,
        kept=False,
        diverged=there.diverged,
        failed=each.failed,
        refitted=refitted,
        arrived=each.arrived,
    )


def _known(place: Place | None) -> Place:
    assert place is not None, "every try is refitted at least once"
    return place


def _loss(place: Place) -> float:
    return place.outcomes.mean_loss


def _terms(place: Place) -> str:
    return f"elimination/{len(place.support)} terms"


def _without(judge: Judge, place: Place, term: int) -> str:
    return f"{_terms(place)} without {judge.setting.names[term]}"
