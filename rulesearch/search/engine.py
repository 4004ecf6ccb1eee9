"""The search: pool, data and configuration in, result out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from rulesearch.lifetime.modes import plain
from rulesearch.meta import Fit, FitPlan, lifetime_seeds
from rulesearch.notation import Pool
from rulesearch.notation.term import PSEUDO_GRADIENT
from rulesearch.population import Population, shared_by_workers
from rulesearch.result import Result
from rulesearch.search import compared
from rulesearch.search.record import evaluation_of, result_of
from rulesearch.search.request import Request, depth_of, population_of
from rulesearch.search.stages import Stages
from rulesearch.selection import (
    Coefficients,
    Elimination,
    FitFunction,
    Rate,
    Screen,
    common_seeds,
    eliminate,
    fit_rate,
    refit_coefficients,
    screen,
    trial_plan,
)
from rulesearch.updates import first_failure

#: Meta-steps between two looks at the angles of a trial.
OBSERVE_EVERY = 5
#: Lifetimes along which the updates of terms are compared.
OVERLAP_TASKS = 4
COMPILING = "compiling the kernel"


@plain()
def carry_out(request: Request, stages: Stages) -> Result:
    """The search that `prepare` found possible: trials, elimination, refits, evaluation."""
    began = time.monotonic()
    pool, data, config = request.pool, request.data, request.config
    rivals = compared.baselines(request)
    populations = [
        population_of(pool, data, config),
        population_of(pool, data, config, held_out=True),
        *compared.populations(rivals),
    ]
    with shared_by_workers(populations, config.workers) as (main, final, *others):
        rivals = compared.shared(rivals, others)
        terms = [term for term, scale in enumerate(request.setting.scales) if scale]
        with _compiled_meanwhile(stages, main, terms) as beside:
            rates = compared.best_rates(request, beside, rivals)
        _compile(request, stages, main, terms)
        trials = stages.fitter(main)([_trial(request, number) for number in range(config.trials)])
        screened = screen(request.setting, trials)
        fails = _fails(request, stages, main, trials)
        main = replace(main, compile_for=_covered(screened.support, len(pool)))
        if request.setting.protocol.eliminates:
            reference = _reference(request, stages, main, rates["feedback_alignment"])
            elimination = _eliminated(request, stages, main, screened, reference)
            # The rule is evaluated alone, by a kernel that has no other term.
            left = [pool.names.index(name) for name in elimination.support]
            with _compiled_meanwhile(stages, final, left) as beside:
                coefficients = refit_coefficients(
                    request.setting, elimination, _watched(beside.fitter(main))
                )
        else:
            elimination, coefficients = None, _as_published(screened, trials, request)
        seeds = lifetime_seeds(
            config.seed, "evaluation", 0, request.setting.effort.evaluation_tasks
        )
        outcomes = {
            "rule": stages.measurer(final)("evaluation/rule", coefficients.theta, seeds),
            **compared.evaluated(stages, rivals, rates, seeds),
        }
    evaluation = {
        name: evaluation_of(outcome, rates[name].rate if name in rates else None, main.outputs)
        for name, outcome in outcomes.items()
    }
    return result_of(
        request,
        trials,
        screened,
        elimination,
        coefficients,
        evaluation,
        fails,
        time.monotonic() - began,
    )


@contextmanager
def _compiled_meanwhile(
    stages: Stages, population: Population, terms: Sequence[int]
) -> Iterator[Stages]:
    """Have the kernel of these terms compiled, while other stages run that say so."""
    with population.compiling(terms) as begun:
        said = f", {COMPILING}" if begun else ""
        yield replace(stages, on_stage=lambda label: stages.on_stage(label + said))
        if begun:
            stages.on_stage(COMPILING)


def _compile(
    request: Request, stages: Stages, population: Population, terms: Sequence[int]
) -> None:
    """Whatever another process has not compiled is compiled now, and said to be."""
    setting = request.setting
    stages.on_stage(COMPILING)
    start = torch.tensor(
        [s * phi for s, phi in zip(setting.scales, setting.start, strict=True)], dtype=torch.float64
    )
    population(start, lifetime_seeds(setting.seed, "compiling", 0, 1), gradient=terms)


def _fails(
    request: Request, stages: Stages, main: Population, trials: Sequence[Fit]
) -> dict[str, tuple[int, int]]:
    """Terms that could not be differentiated at zero: name -> layer and step, from 1.

    Zeros where the update itself is finite throughout, and only its derivative is not.
    """
    found: dict[str, tuple[int, int]] = {}
    for trial in trials:
        for lost in trial.lost:
            name = request.pool.names[lost.term]
            if name not in found:
                stages.on_stage(f"looking for where {name} is not finite")
                where = first_failure(main, lost.theta, lost.seed, lost.term)
                found[name] = where or (0, 0)
    return found


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


def _reference(request: Request, stages: Stages, main: Population, alignment: Rate) -> Rate | None:
    """The reference alone, at its best; None where the gain is measured against no training."""
    pool, setting = request.pool, request.setting
    depth = depth_of(request.data, request.config)
    expression = pool.terms[setting.reference].expression
    # In some layers only it is not feedback alignment; by several names in all of them it is.
    pseudo_gradient = pool.throughout(PSEUDO_GRADIENT, depth)
    shared = pool.throughout(expression, depth)
    if not pseudo_gradient:
        return None
    if request.config.pathway == "random" and list(shared) == list(pseudo_gradient):
        # Feedback alignment is the same rule on the same tasks, but for a factor: known already.
        rate, shared = alignment, pseudo_gradient
    elif len(shared) > 1:
        # In this process: workers have the search's populations only.
        alone = replace(main, pool=Pool(F=expression), compile_for=(), executor=None)
        alone_setting = compared.one_term(request, alone, setting.protocol.start)
        rate = fit_rate(alone_setting, "reference", stages.fitter(alone), stages.measurer(alone))
    else:
        return fit_rate(setting, "reference", stages.fitter(main), stages.measurer(main))
    theta = tuple(rate.rate * shared.get(name, 0.0) for name in pool.names)
    return replace(rate, term=pool.reference, theta=theta)


def _eliminated(
    request: Request,
    stages: Stages,
    main: Population,
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
