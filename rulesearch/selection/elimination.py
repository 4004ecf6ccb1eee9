"""From what the trials kept to a short rule, with the price of every term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rulesearch.errors import RuleSearchError
from rulesearch.meta import Fit
from rulesearch.selection.baseline import Rate
from rulesearch.selection.dropping import EliminationStep, Judge, Place, tried
from rulesearch.selection.setting import (
    FitFunction,
    Measure,
    Overlaps,
    Setting,
    common_seeds,
    learned,
)
from rulesearch.statistics import Interval, Scores, compare


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
class Elimination:
    """The elimination path and where it ended.

    Attributes:
        steps: tries in the order made.
        reference_loss: mean loss of the reference alone, or of the untrained network.
        full_loss: mean loss of the whole support, refitted.
        full_rounds: its loss before that refit, and after each round of it.
        gain: reference_loss - full_loss.
        gain_interval: 95 %, from the paired differences.
        support: names of the terms left.
        loss: their mean loss on the common tasks (of the full support if nothing was dropped).
        theta: their raw coefficients, [terms].
        phi: the same in the coefficients learned.
        verdict: `eliminated` (dropping was tried), `single` (one term, nothing to drop), or
            `reference` (the support does not beat it, so it is the answer).
        message: the verdict in words.
        unknown: terms left of which nobody knows whether they can go: no refit without them has
            arrived.
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
    unknown: tuple[str, ...] = ()


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
        support = (setting.reference,)
        phi = tuple(x if term in support else 0.0 for term, x in enumerate(setting.start))
    return Screen(
        support=support,
        frequencies=dict(zip(setting.names, share, strict=True)),
        phi=phi,
        failed=len(trials) - len(ended),
        message=message,
    )


def eliminate(
    setting: Setting,
    screened: Screen,
    fit: FitFunction,
    measure: Measure,
    overlaps: Overlaps,
    *,
    reference: Rate | None,
    parsimony: float,
) -> Elimination:
    """Refit the screened support until its loss is flat, then drop what costs little.

    Args:
        setting: see `Setting`.
        screened: the support to begin with.
        fit: runs plans.
        measure: runs lifetimes forward.
        overlaps: how alike the terms' updates are.
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
    alone = None
    if reference is not None:
        (alone,) = measure({"elimination/reference": reference.theta}, seeds)
        if {setting.names[t] for t in screened.support} <= set(_named(setting, reference.theta)):
            return _single_reference(setting, reference, alone)
    whole, rounds = _refit_until_flat(setting, screened, fit, measure, reference, alone)
    full = whole.outcomes
    if alone is None:
        alone = replace(full, loss=full.initial_loss)
    gain = compare(alone, full)
    result = Elimination(
        steps=(),
        reference_loss=alone.mean_loss,
        full_loss=full.mean_loss,
        full_rounds=rounds,
        gain=gain.mean,
        gain_interval=gain.interval,
        support=setting.tell(screened.support),
        loss=full.mean_loss,
        theta=whole.theta,
        phi=whole.phi,
        verdict="single",
        message=f"only {setting.names[screened.support[0]]} is left: nothing to eliminate",
    )
    if gain.interval[0] <= 0:
        return _nothing_beats(setting, reference, result)
    if len(screened.support) == 1:
        return result
    judge = Judge(setting, full, gain.mean, parsimony, fit, measure, overlaps)
    return _drop(judge, whole, result)


def _refit_until_flat(
    setting: Setting,
    screened: Screen,
    fit: FitFunction,
    measure: Measure,
    reference: Rate | None,
    alone: Scores | None,
) -> tuple[Place, tuple[float, ...]]:
    """Rounds of the whole support without penalty, until one gains next to nothing.

    A support that is still getting better would make the terms dropped later look too cheap. So
    would one that a refit has made worse: every round begins at the best place so far. The first
    is what the trials found, or the reference alone where that is better and the support has it:
    trials that ran away must not make a support look worse than a part of it.

    Returns:
        The best place, and the loss before the first round and after each.
    """
    effort, seeds = setting.effort, common_seeds(setting)
    theta = tuple(scale * x for scale, x in zip(setting.scales, screened.phi, strict=True))
    (found,) = measure({"elimination/full 0, measured": theta}, seeds)
    first = best = Place(screened.support, screened.phi, theta, found)
    losses = [found.mean_loss]
    if reference is not None and alone is not None and alone.mean_loss < found.mean_loss:
        terms = {term for term, coefficient in enumerate(reference.theta) if coefficient}
        if terms <= set(screened.support):
            phi = learned(setting, reference.theta)
            first = best = Place(screened.support, phi, reference.theta, alone)
    for number in range(1, effort.full_rounds + 1):
        label = f"elimination/full {number}"
        (fitted,) = fit([setting.plan(label, screened.support, best.phi, effort.full_steps)])
        (found,) = measure({f"{label}, measured": fitted.theta}, seeds)
        losses.append(found.mean_loss)
        start = alone.mean_loss if alone is not None else float(np.mean(found.initial_loss))
        better = best.outcomes.mean_loss - found.mean_loss
        flat = better <= effort.flat * max(0.0, start - found.mean_loss)
        refitted = best is not first
        if better > 0:
            best = Place(screened.support, fitted.phi, fitted.theta, found)
        if flat and refitted:
            break
    return best, tuple(losses)


def _drop(judge: Judge, whole: Place, result: Elimination) -> Elimination:
    """Drop the cheaper of the two most promising terms while the cumulative cost allows it."""
    place, setting = whole, judge.setting
    steps: list[EliminationStep] = []
    unknown: list[str] = []
    while len(place.support) > 1:
        tries = tried(judge, place)
        # A cost is at most what a refit has reached, so what has not arrived may be accepted, but
        # speaks for no term.
        cheapest = min(tries, key=lambda each: each[0].cost)
        accepted = cheapest[0].share_of_gain < judge.parsimony
        steps += [replace(step, kept=accepted and step is cheapest[0]) for step, _ in tries]
        if not accepted:
            unknown = [step.dropped for step, _ in tries if not step.arrived]
            break
        place = cheapest[1]
    steps = _bounded(steps, setting.effort.flat * result.gain)
    dropped = [step.dropped for step in steps if step.kept]
    left = ", ".join(setting.tell(place.support))
    message = (
        f"dropped {', '.join(dropped)}; {left} left"
        if dropped
        else f"no term can be dropped for less than {judge.parsimony:.3g} of the gain; {left} left"
    )
    return replace(
        result,
        steps=tuple(steps),
        support=setting.tell(place.support),
        loss=place.outcomes.mean_loss,
        theta=place.theta,
        phi=place.phi,
        verdict="eliminated",
        message=message,
        unknown=tuple(unknown),
    )


def _bounded(steps: Sequence[EliminationStep], flat: float) -> list[EliminationStep]:
    """The tries, where one with fewer terms that went better shows that an earlier had not arrived.

    What a rule reaches, it reaches with one more term as well: with a coefficient of zero.

    Args:
        steps: in the order made.
        flat: by how much, in nats; less is chance.
    """

    def beaten(step: EliminationStep) -> bool:
        return any(
            set(other.support) < set(step.support) and other.loss < step.loss - flat
            for other in steps
        )

    return [
        replace(step, arrived=step.arrived and not (step.refitted and beaten(step)))
        for step in steps
    ]


def _single_reference(setting: Setting, reference: Rate, alone: Scores) -> Elimination:
    """The support is the reference, whose best coefficient is known already."""
    return Elimination(
        steps=(),
        reference_loss=alone.mean_loss,
        full_loss=alone.mean_loss,
        full_rounds=(),
        gain=0.0,
        gain_interval=(0.0, 0.0),
        support=_named(setting, reference.theta),
        loss=alone.mean_loss,
        theta=reference.theta,
        phi=learned(setting, reference.theta),
        verdict="single",
        message=f"only {', '.join(_named(setting, reference.theta))} is left: nothing to eliminate",
    )


def _nothing_beats(setting: Setting, reference: Rate | None, result: Elimination) -> Elimination:
    """The gain is not above zero: the reference is the answer."""
    alone = tuple(x * (term == setting.reference) for term, x in enumerate(setting.start))
    theta = tuple(s * x for s, x in zip(setting.scales, alone, strict=True))
    theta = theta if reference is None else reference.theta
    support = _named(setting, theta)
    answer = ", ".join(support)
    rival = "the untrained network" if reference is None else f"{answer} alone"
    low, high = result.gain_interval
    return replace(
        result,
        support=support,
        loss=result.reference_loss,
        theta=theta,
        phi=learned(setting, theta),
        verdict="reference",
        message=(
            f"nothing beats {rival}: {', '.join(result.support)} gains {result.gain:.3g} "
            f"(95 % interval {low:.3g} to {high:.3g}); the answer is {answer}"
        ),
    )


def _named(setting: Setting, theta: tuple[float, ...]) -> tuple[str, ...]:
    """The terms with a coefficient: a rule per layer has the reference under several names."""
    return setting.tell([term for term, x in enumerate(theta) if x and setting.scales[term] > 0])
