"""Tries to do without a term, each paired with the full support on the common tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulesearch.meta import Fit
from rulesearch.selection.setting import FitFunction, Measure, Setting, common_seeds
from rulesearch.statistics import Interval, Outcomes, clearly_below, compare


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


@dataclass(frozen=True)
class Place:
    """Where an elimination has got to.

    Attributes:
        support: indices of the terms left.
        phi: their coefficients as learned, [terms].
        theta: the raw ones, [terms].
        outcomes: on the common tasks.
    """

    support: tuple[int, ...]
    phi: tuple[float, ...]
    theta: tuple[float, ...]
    outcomes: Outcomes


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
    """

    setting: Setting
    full: Outcomes
    gain: float
    parsimony: float
    fit: FitFunction
    measure: Measure


def tried(judge: Judge, place: Place) -> tuple[list[tuple[EliminationStep, Place]], int]:
    """The tries that decide which term goes next, where each leads, and the lifetimes run.

    They are refits without one of the most promising terms; or a single try without a refit,
    where a term clearly costs little as it stands: a refit would only make it cheaper.
    """
    ranking = _ranking(judge, place)
    promising = [term for term, _ in ranking[: judge.setting.effort.candidates]]
    spent = len(ranking) * judge.setting.effort.ranking_tasks
    tasks = len(judge.full.seeds)
    allowed = judge.setting.effort.clear * judge.parsimony * judge.gain
    for term, cost in ranking[: len(promising)]:
        # Not below on the first tasks, not clearly below on all of them.
        if cost < allowed:
            step, there = _as_it_stands(judge, place, term)
            spent += tasks
            if clearly_below(there.outcomes, judge.full, allowed):
                return [(step, there)], spent
    setting = judge.setting
    labels = [f"{_where(place)} without {setting.names[term]}" for term in promising]
    fits = judge.fit(
        [
            setting.plan(label, _without(place, term), place.phi, setting.effort.refit_steps)
            for label, term in zip(labels, promising, strict=True)
        ]
    )
    spent += sum(fitted.lifetimes + tasks for fitted in fits)
    refits = zip(labels, promising, fits, strict=True)
    return [_refitted(judge, place, label, term, fitted) for label, term, fitted in refits], spent


def _ranking(judge: Judge, place: Place) -> list[tuple[int, float]]:
    """Each term of the support with what its absence costs before a refit, cheapest first."""
    count = judge.setting.effort.ranking_tasks
    seeds = common_seeds(judge.setting)[:count]
    full = float(np.mean(judge.full.loss[:count]))
    costs = {}
    for term in place.support:
        label = f"{_where(place)}, {judge.setting.names[term]} zero"
        costs[term] = judge.measure(label, _zeroed(place.theta, term), seeds).mean_loss - full
    return sorted(costs.items(), key=lambda item: item[1])


def _as_it_stands(judge: Judge, place: Place, term: int) -> tuple[EliminationStep, Place]:
    label = f"{_where(place)}, {judge.setting.names[term]} zero, measured"
    theta = _zeroed(place.theta, term)
    outcomes = judge.measure(label, theta, judge.full.seeds)
    there = Place(_without(place, term), _zeroed(place.phi, term), theta, outcomes)
    return _step(judge, term, there, None), there


def _refitted(
    judge: Judge, place: Place, label: str, term: int, fitted: Fit
) -> tuple[EliminationStep, Place]:
    # Measured even if it exploded: then it costs what failing costs, and is not chosen.
    outcomes = judge.measure(f"{label}, measured", fitted.theta, judge.full.seeds)
    there = Place(_without(place, term), fitted.phi, fitted.theta, outcomes)
    return _step(judge, term, there, fitted), there


def _step(judge: Judge, term: int, there: Place, fitted: Fit | None) -> EliminationStep:
    cost = compare(there.outcomes, judge.full)
    return EliminationStep(
        dropped=judge.setting.names[term],
        support=judge.setting.tell(there.support),
        loss=there.outcomes.mean_loss,
        cost=cost.mean,
        cost_interval=cost.interval,
        share_of_gain=cost.mean / judge.gain,
        kept=False,
        diverged=sum(there.outcomes.diverged),
        failed=fitted.failed if fitted else None,
        refitted=fitted is not None,
    )


def _where(place: Place) -> str:
    return f"elimination/{len(place.support)} terms"


def _without(place: Place, term: int) -> tuple[int, ...]:
    return tuple(other for other in place.support if other != term)


def _zeroed(values: tuple[float, ...], term: int) -> tuple[float, ...]:
    return tuple(0.0 if other == term else x for other, x in enumerate(values))
