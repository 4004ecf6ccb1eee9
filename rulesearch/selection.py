"""Selection: from what the trials kept to a short rule and the price of every term.

The L1 search screens, and elimination judges: the support is refitted without a penalty, then
terms are dropped one by one for as long as all that has been dropped costs little of the gain.

Whatever is expensive goes through two functions given by the caller: `fit` (a plan in, a `Fit`
out) and `measure` (label, coefficients, seeds in, `Outcomes` out). Every call has a label that is
unique within the search and depends on its arguments alone, so the caller may keep what is done
and answer from there when an interrupted search goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol

import numpy as np
from scipy import optimize

from rulesearch.errors import RuleSearchError
from rulesearch.meta import Fit, FitPlan, MetaProtocol, lifetime_seeds
from rulesearch.statistics import Interval, Outcomes, compare, t_interval

FitFunction = Callable[[FitPlan], Fit]

WIDENINGS = 6
"""Octaves by which the search for a rate may leave its first bracket, in all."""


class Measure(Protocol):
    """Forward-only lifetimes of one rule; see `rulesearch.statistics.measure`."""

    def __call__(self, label: str, theta: tuple[float, ...], seeds: tuple[int, ...]) -> Outcomes:
        """Outcomes of raw coefficients [terms] on the lifetimes of the seeds."""
        ...


@dataclass(frozen=True)
class Effort:
    """How much is run for selection and baselines; counts of lifetimes, meta-steps, or fits.

    Attributes:
        common_tasks: lifetimes on which supports are compared.
        ranking_tasks: the first of these, on which candidates are ranked before their refit.
        full_steps: meta-steps of one round in the refit of the whole support.
        full_rounds: rounds of it at most.
        flat: the whole support is refitted until a round gains less than this share of the gain.
        candidates: terms whose dropping is tried with a refit, each time.
        refit_steps: meta-steps of a warm refit.
        final_refits: refits of the final support, for the intervals of its coefficients.
        mean_steps: meta-steps on the plain mean of the gradients that end each of those.
        baseline_steps: meta-steps of a one-term rule, before the search for its best rate.
        baseline_tasks: lifetimes for each rate in that search, of the common ones.
    """

    common_tasks: int = 400
    ranking_tasks: int = 100
    full_steps: int = 100
    full_rounds: int = 6
    flat: float = 0.005
    candidates: int = 2
    refit_steps: int = 80
    final_refits: int = 8
    mean_steps: int = 80
    baseline_steps: int = 300
    baseline_tasks: int = 400

    def __post_init__(self) -> None:
        least = {"common_tasks": 2, "final_refits": 2, "flat": 0, "mean_steps": 0}
        for name in (field.name for field in fields(self)):
            if getattr(self, name) < least.get(name, 1):
                raise RuleSearchError(
                    f"{name} {getattr(self, name)}: must be at least {least.get(name, 1)}"
                )


@dataclass(frozen=True)
class Setting:
    """What stays the same through one selection.

    Attributes:
        names: terms of the pool.
        scales: `theta = scales * phi`, [terms]; 0 for a term that is left out.
        start: first phi of a search, [terms].
        reference: index of the term with the largest start.
        protocol: of every fit.
        seed: of the whole search.
        effort: how much is run.
    """

    names: tuple[str, ...]
    scales: tuple[float, ...]
    start: tuple[float, ...]
    reference: int
    protocol: MetaProtocol
    seed: int
    effort: Effort = Effort()

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.scales) == len(self.start):
            raise ValueError("names, scales and start are [terms] each")
        if self.scales[self.reference] <= 0:
            raise ValueError("the reference has no scale")

    def plan(self, label: str, support: Sequence[int], phi: Sequence[float], steps: int) -> FitPlan:
        """A fit of a support without penalty, from phi."""
        return FitPlan(
            label=label,
            support=tuple(support),
            scales=self.scales,
            start=tuple(phi),
            seed=self.seed,
            protocol=self.protocol,
            meta_steps=steps,
        )

    def tell(self, support: Sequence[int]) -> tuple[str, ...]:
        """Names of the terms of a support."""
        return tuple(self.names[term] for term in support)


@dataclass(frozen=True)
class Screen:
    """What the trials of the L1 search have in common.

    Attributes:
        support: indices of the terms that at least half of them keep.
        frequencies: share of the trials that keep a term, by name.
        phi: median coefficients of the trials, [terms], zero outside the support.
        failed: trials given up, which have no say.
        message: what was done instead, where no term is kept by half; else empty.
    """

    support: tuple[int, ...]
    frequencies: Mapping[str, float]
    phi: tuple[float, ...]
    failed: int
    message: str = ""


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


@dataclass(frozen=True)
class EliminationStep:
    """One try to drop a term.

    Attributes:
        dropped: the term.
        support: what is left without it.
        loss: mean query loss of what is left, after its refit.
        cost: that minus the loss of the full support; cumulative, so earlier drops are in it.
        cost_interval: 95 %, from the paired differences over the common tasks.
        share_of_gain: cost divided by the gain.
        kept: whether the term was dropped for good; the other tries show what another parsimony,
            or another order, would have chosen.
        diverged: lifetimes that count as chance in the loss.
        failed: why the refit was given up, or None.
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


@dataclass(frozen=True)
class Elimination:
    """The elimination path and where it ended.

    Attributes:
        steps: tries in the order made.
        reference_loss: mean loss of the reference alone, or of the untrained network.
        full_loss: mean loss of the whole support, refitted.
        full_rounds: its loss after each round of that refit.
        gain: reference_loss - full_loss.
        gain_interval: 95 %, from the paired differences.
        support: names of the terms left.
        loss: their mean loss on the common tasks (of the full support if nothing was dropped).
        theta: their raw coefficients, [terms].
        phi: the same in the coefficients learned.
        verdict: `eliminated` (dropping was tried), `single` (one term, nothing to drop), or
            `reference` (the support does not beat it, so it is the answer).
        message: the verdict in words.
        lifetimes: run by the elimination.
    """

    steps: tuple[EliminationStep, ...]
    reference_loss: float
    full_loss: float
    full_rounds: tuple[float, ...]
    gain: float
    gain_interval: Interval
    support: tuple[str, ...]
    loss: float
    theta: tuple[float, ...]
    phi: tuple[float, ...]
    verdict: Literal["eliminated", "single", "reference"]
    message: str
    lifetimes: int


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of a rule.

    Attributes:
        theta: raw, the mean over the refits, [terms], zero outside the support.
        intervals: 95 % Student interval of each mean over refits, or None with fewer than two.
            It tells how well coefficients are known for THIS support; that another support might
            have been chosen is not in it.
        refits: those that ended.
        failed: how many were given up.
        lifetimes: run for all of them.
    """

    theta: tuple[float, ...]
    intervals: tuple[Interval, ...] | None
    refits: tuple[Fit, ...]
    failed: int
    lifetimes: int


def common_seeds(setting: Setting) -> tuple[int, ...]:
    """The lifetimes on which all supports are compared, [common_tasks]."""
    return lifetime_seeds(setting.seed, "common tasks", 0, setting.effort.common_tasks)


def trial_plan(setting: Setting, number: int, *, meta_steps: int, l1: float) -> FitPlan:
    """Trial `number` (from 0) of the L1 search: every term, from the start, a seed of its own."""
    usable = tuple(term for term, scale in enumerate(setting.scales) if scale > 0)
    plan = setting.plan(f"trial {number}", usable, setting.start, meta_steps)
    return replace(plan, seed=setting.seed + number, l1=l1)


def screen(setting: Setting, trials: Sequence[Fit]) -> Screen:
    """The terms that at least half of the trials keep (of those that were not given up)."""
    ended = [trial for trial in trials if trial.failed is None]
    share = [
        sum(term in trial.support for trial in ended) / max(1, len(ended))
        for term in range(len(setting.names))
    ]
    support = tuple(term for term, kept in enumerate(share) if kept >= 0.5)
    message = ""
    if support:
        # The median, since one trial may have gone far off without being given up.
        middle = np.median([trial.phi for trial in ended], axis=0)
        phi = tuple(float(x) if term in support else 0.0 for term, x in enumerate(middle))
    else:
        name = setting.names[setting.reference]
        message = f"no term was kept by at least half of the trials; going on with {name}"
        support, phi = (setting.reference,), setting.start
    return Screen(
        support=support,
        frequencies=dict(zip(setting.names, share, strict=True)),
        phi=phi,
        failed=len(trials) - len(ended),
        message=message,
    )


def fit_rate(
    setting: Setting, label: str, fit: FitFunction, measure: Measure, term: int | None = None
) -> Rate:
    """The best rule of one term: meta-learned, then searched on the true mean loss.

    A baseline must not be handicapped: directions of gradients may balance beside the minimum of
    the mean loss. So that loss is evaluated at the fitted coefficient times powers of two, further
    out while the best is at the edge, then minimised between the neighbours of the best
    (`scipy.optimize.minimize_scalar`, to 3 % of the coefficient).

    Args:
        setting: see `Setting`.
        label: for instance `backprop`; the calls are named after it.
        fit: runs a plan.
        measure: runs lifetimes forward.
        term: index of the term, the reference if None.
    """
    term = setting.reference if term is None else term
    fitted = fit(
        setting.plan(
            f"{label}/fit",
            (term,),
            tuple(setting.protocol.start * (other == term) for other in range(len(setting.names))),
            setting.effort.baseline_steps,
        )
    )
    seeds = common_seeds(setting)[: setting.effort.baseline_tasks]
    centre = fitted.theta[term]
    if fitted.failed is not None or centre == 0:
        centre = setting.protocol.start * setting.scales[term]

    curve: dict[float, float] = {}  # octaves from the centre: mean loss

    def loss_at(octaves: float) -> float:
        if octaves not in curve:
            theta = _one_term(setting, term, centre * 2.0**octaves)
            curve[octaves] = measure(f"{label}/rate {theta[term]!r}", theta, seeds).mean_loss
        return curve[octaves]

    low, high = -2, 2
    best = min(range(low, high + 1), key=loss_at)
    for _ in range(WIDENINGS):
        if best not in (low, high):
            break
        low, high = (low - 1, high) if best == low else (low, high + 1)
        best = min(range(low, high + 1), key=loss_at)
    optimize.minimize_scalar(
        lambda octaves: loss_at(float(octaves)),
        bounds=(best - 1, best + 1),
        method="bounded",
        options={"xatol": math.log2(1.03)},
    )
    found = min(curve, key=loss_at)
    rate = centre * 2.0**found
    return Rate(
        term=setting.names[term],
        rate=rate,
        theta=_one_term(setting, term, rate),
        loss=curve[found],
        curve=tuple((centre * 2.0**octaves, curve[octaves]) for octaves in sorted(curve)),
        bracketed=low < best < high,
        lifetimes=fitted.lifetimes + len(seeds) * len(curve),
    )


def eliminate(
    setting: Setting,
    screened: Screen,
    fit: FitFunction,
    measure: Measure,
    *,
    reference: Rate | None,
    parsimony: float,
) -> Elimination:
    """Refit the screened support until its loss is flat, then drop what costs little.

    Args:
        setting: see `Setting`.
        screened: the support to begin with.
        fit: runs a plan.
        measure: runs lifetimes forward.
        reference: the reference term alone with its best coefficient, which the gain is measured
            against; None measures it against the untrained network.
        parsimony: share of the gain, 0 to below 1, that all terms dropped may cost together.

    Raises:
        RuleSearchError: a parsimony out of its range.
    """
    if not 0 <= parsimony < 1:
        raise RuleSearchError(
            f"parsimony {parsimony:g}: must be at least 0 and below 1; 0.05 drops terms until "
            "5 % of the gain is spent"
        )
    seeds = common_seeds(setting)
    if reference is not None:
        alone = measure("elimination/reference", reference.theta, seeds)
        if screened.support == (setting.reference,):
            return _single_reference(setting, reference, alone)
    rounds = _refit_until_flat(
        setting, screened, fit, measure, None if reference is None else alone
    )
    # The best round: a later one may have been stopped by explosions.
    full_fit, full = min(rounds, key=lambda done: done[1].mean_loss)
    if reference is None:
        alone = replace(full, loss=full.initial_loss)
    gain = compare(alone, full)
    spent = sum(each.lifetimes + len(seeds) for each, _ in rounds)
    spent += len(seeds) if reference is not None else 0
    result = Elimination(
        steps=(),
        reference_loss=alone.mean_loss,
        full_loss=full.mean_loss,
        full_rounds=tuple(outcomes.mean_loss for _, outcomes in rounds),
        gain=gain.mean,
        gain_interval=gain.interval,
        support=setting.tell(screened.support),
        loss=full.mean_loss,
        theta=full_fit.theta,
        phi=full_fit.phi,
        verdict="single",
        message=f"only {setting.names[screened.support[0]]} is left: nothing to eliminate",
        lifetimes=spent,
    )
    if gain.interval[0] <= 0:
        return _nothing_beats(setting, reference, result)
    if len(screened.support) == 1:
        return result
    return _drop(setting, screened.support, (full_fit, full), result, fit, measure, parsimony)


def refit_coefficients(
    setting: Setting, elimination: Elimination, fit: FitFunction
) -> Coefficients:
    """Coefficients with intervals: refits of what is left, each with tasks of its own.

    Each begins where the elimination ended and closes with a stage on the mean loss. Refits that
    are given up are counted; if all are, the coefficients are those of the elimination.
    """
    effort = setting.effort
    support = tuple(setting.names.index(name) for name in elimination.support)
    plans = [
        replace(
            setting.plan(f"final refit {number}", support, elimination.phi, effort.refit_steps),
            seed=setting.seed + number,
            mean_steps=effort.mean_steps,
        )
        for number in range(effort.final_refits)
    ]
    fits = [fit(plan) for plan in plans]
    ended = tuple(each for each in fits if each.failed is None)
    columns = list(zip(*(each.theta for each in ended), strict=True))
    return Coefficients(
        theta=tuple(float(np.mean(column)) for column in columns) or elimination.theta,
        intervals=tuple(map(t_interval, columns)) if len(ended) > 1 else None,
        refits=ended,
        failed=len(fits) - len(ended),
        lifetimes=sum(each.lifetimes for each in fits),
    )


def _refit_until_flat(
    setting: Setting, screened: Screen, fit: FitFunction, measure: Measure, alone: Outcomes | None
) -> list[tuple[Fit, Outcomes]]:
    """Rounds of the whole support without penalty, until one gains next to nothing.

    A support that is still getting better would make the terms dropped later look too cheap.
    """
    effort, seeds = setting.effort, common_seeds(setting)
    rounds: list[tuple[Fit, Outcomes]] = []
    phi = screened.phi
    for number in range(1, effort.full_rounds + 1):
        label = f"elimination/full {number}"
        fitted = fit(setting.plan(label, screened.support, phi, effort.full_steps))
        outcomes = measure(label, fitted.theta, seeds)
        rounds.append((fitted, outcomes))
        if number > 1:
            start = alone.mean_loss if alone is not None else float(np.mean(outcomes.initial_loss))
            better = rounds[-2][1].mean_loss - outcomes.mean_loss
            if better <= effort.flat * max(0.0, start - outcomes.mean_loss):
                break
        phi = fitted.phi
    return rounds


def _drop(
    setting: Setting,
    support: tuple[int, ...],
    full: tuple[Fit, Outcomes],
    result: Elimination,
    fit: FitFunction,
    measure: Measure,
    parsimony: float,
) -> Elimination:
    """Drop the cheaper of the two most promising terms while the cumulative cost allows it."""
    effort, seeds = setting.effort, common_seeds(setting)
    ranking = seeds[: effort.ranking_tasks]
    steps: list[EliminationStep] = []
    spent = result.lifetimes
    now, outcomes = full
    while len(support) > 1:
        where = f"elimination/{len(support)} terms"
        zeroed = {
            term: measure(
                f"{where}, {setting.names[term]} zero",
                tuple(x if other != term else 0.0 for other, x in enumerate(now.theta)),
                ranking,
            ).mean_loss
            for term in support
        }
        tries: list[tuple[EliminationStep, tuple[int, ...], Fit, Outcomes]] = []
        for term in sorted(support, key=zeroed.__getitem__)[: effort.candidates]:
            rest = tuple(other for other in support if other != term)
            label = f"{where} without {setting.names[term]}"
            fitted = fit(setting.plan(label, rest, now.phi, effort.refit_steps))
            # Measured even if it exploded: then it costs what chance costs, and is not chosen.
            measured = measure(label, fitted.theta, seeds)
            cost = compare(measured, full[1])
            step = EliminationStep(
                dropped=setting.names[term],
                support=setting.tell(rest),
                loss=measured.mean_loss,
                cost=cost.mean,
                cost_interval=cost.interval,
                share_of_gain=cost.mean / result.gain,
                kept=False,
                diverged=sum(measured.diverged),
                failed=fitted.failed,
            )
            tries.append((step, rest, fitted, measured))
            spent += fitted.lifetimes + len(seeds)
        spent += len(zeroed) * len(ranking)
        cheapest = min(tries, key=lambda tried: tried[0].cost)
        accepted = cheapest[0].share_of_gain < parsimony
        steps += [replace(step, kept=accepted and step is cheapest[0]) for step, *_ in tries]
        if not accepted:
            break
        _, support, now, outcomes = cheapest
    dropped = [step.dropped for step in steps if step.kept]
    left = ", ".join(setting.tell(support))
    return replace(
        result,
        steps=tuple(steps),
        support=setting.tell(support),
        loss=outcomes.mean_loss,
        theta=now.theta,
        phi=now.phi,
        verdict="eliminated",
        message=(
            f"dropped {', '.join(dropped)}; {left} left"
            if dropped
            else f"no term can be dropped for less than {parsimony:.3g} of the gain; {left} left"
        ),
        lifetimes=spent,
    )


def _single_reference(setting: Setting, reference: Rate, alone: Outcomes) -> Elimination:
    """The support is the reference, whose best coefficient is known already."""
    return Elimination(
        steps=(),
        reference_loss=alone.mean_loss,
        full_loss=alone.mean_loss,
        full_rounds=(),
        gain=0.0,
        gain_interval=(0.0, 0.0),
        support=(reference.term,),
        loss=alone.mean_loss,
        theta=reference.theta,
        phi=_learned(setting, reference.theta),
        verdict="single",
        message=f"only {reference.term} is left: nothing to eliminate",
        lifetimes=len(alone.seeds),
    )


def _nothing_beats(setting: Setting, reference: Rate | None, result: Elimination) -> Elimination:
    """The gain is not above zero: the reference is the answer."""
    name = setting.names[setting.reference]
    rival = "the untrained network" if reference is None else f"{name} alone"
    low, high = result.gain_interval
    alone = tuple(x * (term == setting.reference) for term, x in enumerate(setting.start))
    theta = tuple(s * x for s, x in zip(setting.scales, alone, strict=True))
    theta = theta if reference is None else reference.theta
    return replace(
        result,
        support=(name,),
        loss=result.reference_loss,
        theta=theta,
        phi=_learned(setting, theta),
        verdict="reference",
        message=(
            f"nothing beats {rival}: {', '.join(result.support)} gains {result.gain:.3g} "
            f"(95 % interval {low:.3g} to {high:.3g}); the answer is {name}"
        ),
    )


def _one_term(setting: Setting, term: int, rate: float) -> tuple[float, ...]:
    """Raw coefficients of a rule of one term, [terms]."""
    return tuple(rate if other == term else 0.0 for other in range(len(setting.names)))


def _learned(setting: Setting, theta: Sequence[float]) -> tuple[float, ...]:
    """Raw coefficients in the units of the fits, [terms]."""
    return tuple(x / s if s > 0 else 0.0 for s, x in zip(setting.scales, theta, strict=True))
