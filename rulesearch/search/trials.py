"""A search by trials: fits with a penalty screen the terms, dropping them one by one judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rulesearch.meta import Fit, FitPlan, MetaProtocol
from rulesearch.mixture import Worlds, each_world
from rulesearch.result import EliminationRecord, TrialRecord
from rulesearch.search.compiling import compiled_meanwhile
from rulesearch.search.failing import fails_of
from rulesearch.search.record import Found
from rulesearch.search.reference import best_reference
from rulesearch.search.request import Request
from rulesearch.search.stages import Stages
from rulesearch.selection import (
    Coefficients,
    Elimination,
    FitFunction,
    Rate,
    Screen,
    common_seeds,
    eliminate,
    refit_coefficients,
    screen,
    trial_plan,
)

#: Meta-steps between two looks at the angles of a trial.
OBSERVE_EVERY = 5
#: Lifetimes along which the updates of terms are compared.
OVERLAP_TASKS = 4


def by_trials(
    request: Request, stages: Stages, main: Worlds, final: Worlds, alignment: Rate | None
) -> Found:
    """What the trials keep, and what elimination leaves of it.

    Args:
        request: of the search.
        stages: run what is expensive.
        main: networks that learn the search's images,
        final: and those set aside, whose kernel is compiled meanwhile.
        alignment: feedback alignment at its best rate; None where there is one in each world.
    """
    pool, config, protocol = request.pool, request.config, request.setting.protocol
    assert isinstance(protocol, MetaProtocol)
    assert config.trials is not None  # resolved
    trials = stages.fitter(main)([_trial(request, number) for number in range(config.trials)])
    screened = screen(request.setting, trials)
    lost = [lost for trial in trials for lost in trial.lost]
    fails = fails_of(request, stages, main, lost)
    covered = _covered(screened.support, len(pool))
    main = each_world(main, lambda world: replace(world, compile_for=covered))
    elimination = None
    if protocol.eliminates:
        reference = best_reference(request, stages, main, alignment)
        elimination = _eliminated(request, stages, main, screened, reference)
        # The rule is evaluated alone, by a kernel that has no other term.
        left = [pool.names.index(name) for name in elimination.support]
        beside = compiled_meanwhile(stages, final, left)
        coefficients = refit_coefficients(
            request.setting, elimination, _watched(beside.fitter(main))
        )
    else:
        coefficients = _as_published(screened, trials, request)
    setting = request.setting
    return Found(
        support=elimination.support if elimination else setting.tell(screened.support),
        theta=coefficients.theta,
        intervals=coefficients.intervals,
        trials=tuple(
            TrialRecord(
                seed=t.seed,
                support=() if t.failed else setting.tell(t.support),
                theta=dict(zip(pool.names, t.theta, strict=True)),
                diverged_lifetimes=t.diverged,
                meta_steps=t.meta_steps,
                retreats=t.retreats,
                failed=t.failed or "",
            )
            for t in trials
        ),
        frequencies=screened.frequencies,
        elimination=tuple(
            EliminationRecord(
                dropped=s.dropped,
                support=s.support,
                loss=s.loss,
                cost=s.cost,
                cost_interval=s.cost_interval,
                share_of_gain=s.share_of_gain,
                kept=s.kept,
                refitted=s.refitted,
                arrived=s.arrived,
            )
            for s in (elimination.steps if elimination else ())
        ),
        fails=fails,
        messages=_messages(trials, screened, elimination, coefficients),
    )


def _messages(
    trials: Sequence[Fit],
    screened: Screen,
    elimination: Elimination | None,
    coefficients: Coefficients,
) -> tuple[str, ...]:
    messages = [f"{t.label} was given up: {t.failed}" for t in trials if t.failed]
    messages.append(screened.message)
    if elimination and elimination.verdict != "eliminated":
        messages.append(elimination.message)
    if elimination and elimination.unknown:
        terms = ", ".join(elimination.unknown)
        messages.append(f"whether {terms} can go is not known: no refit without has arrived")
    if coefficients.failed:
        messages.append(f"{coefficients.failed} final refits did not end, and are left out")
    return tuple(messages)


def _trial(request: Request, number: int) -> FitPlan:
    """One of the searches that screen the terms, watched."""
    config = request.config
    plan = trial_plan(
        request.setting,
        number,
        meta_steps=config.meta_steps or 0,
        l1=config.l1 or 0.0,
        l2=config.l2,
    )
    return _observed(plan)


def _observed(plan: FitPlan) -> FitPlan:
    """The same plan, with a look at the angles now and then, which changes no number."""
    return replace(plan, observe=("angle",), observe_every=OBSERVE_EVERY)


def _watched(fit: FitFunction) -> FitFunction:
    """The same fits, watched."""
    return lambda plans: fit([_observed(plan) for plan in plans])


def _covered(support: tuple[int, ...], terms: int) -> tuple[int, ...]:
    """The terms that kernels cover from here on: one kernel serves every support.

    Compiling takes seconds. The one that the trials had is there already, and its terms without a
    coefficient cost a few percent; a smaller one pays where most of the pool has gone.
    """
    return support if 2 * len(support) < terms else tuple(range(terms))


def _eliminated(
    request: Request,
    stages: Stages,
    main: Worlds,
    screened: Screen,
    reference: Rate | None,
) -> Elimination:
    return eliminate(
        request.setting,
        screened,
        stages.fitter(main),
        stages.measurer(main),
        stages.overlapper(main, common_seeds(request.setting)[:OVERLAP_TASKS]),
        reference=reference,
        parsimony=request.config.parsimony,
    )


def _as_published(screened: Screen, trials: Sequence[Fit], request: Request) -> Coefficients:
    """The paper's protocol selects by the penalty alone: the kept terms as the trials left them."""
    theta = tuple(s * x for s, x in zip(request.setting.scales, screened.phi, strict=True))
    return Coefficients(theta, None, tuple(trials), screened.failed, 0)
