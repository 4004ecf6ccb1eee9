"""The search: pool, data and configuration in, result out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from rulesearch.data import Data
from rulesearch.meta import ROBUST, Fit, FitPlan, lifetime_seeds
from rulesearch.notation import Pool
from rulesearch.notation.pool import PSEUDO_GRADIENT
from rulesearch.population import Population, shared_by_workers
from rulesearch.result import Result
from rulesearch.search.config import Config
from rulesearch.search.record import evaluation_of, result_of
from rulesearch.search.request import Request, depth_of, population_of, prepare
from rulesearch.search.stages import OnStep, Stages
from rulesearch.selection import (
    Coefficients,
    Elimination,
    Rate,
    Screen,
    Setting,
    best_rate,
    common_seeds,
    eliminate,
    fit_rate,
    refit_coefficients,
    screen,
    trial_plan,
)

#: Meta-steps between two looks at the angles of a trial.
OBSERVE_EVERY = 5
#: Lifetimes along which the updates of terms are compared.
OVERLAP_TASKS = 4


def search(
    pool: Pool,
    data: Data,
    config: Config | None = None,
    *,
    run: Path | None = None,
    on_step: OnStep | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Result:
    """Search a pool for a short rule.

    Args:
        pool: the candidate terms.
        data: the images, see `load_data`.
        config: the options.
        run: a run directory to keep stages and history in, made before; None keeps nothing.
        on_step: told of every meta-step; None prints nothing.
        on_stage: told the label of every stage as it begins.

    Raises:
        RuleSearchError: the request cannot be met, or the run directory cannot be written.
    """
    request = prepare(pool, data, config or Config())
    stages = Stages(run, on_step or _silent, on_stage or _silent)
    return carry_out(request, stages)


def _silent(_: object) -> None:
    return None


def carry_out(request: Request, stages: Stages) -> Result:
    """The search that `prepare` found possible: trials, elimination, refits, evaluation."""
    began = time.monotonic()
    pool, data, config = request.pool, request.data, request.config
    baseline = Pool(F=PSEUDO_GRADIENT)
    populations = [
        population_of(pool, data, config),
        population_of(pool, data, config, held_out=True),
        *(
            population_of(baseline, data, config, pathway=pathway, held_out=held_out)
            for pathway in ("symmetric", "random")
            for held_out in (False, True)
        ),
    ]
    with shared_by_workers(populations, config.workers) as (main, final, *others):
        with _compiled_meanwhile(request, stages, main) as beside:
            backprop, alignment = (
                _baseline(request, beside, others[2 * i], label)
                for i, label in enumerate(("backprop", "feedback alignment"))
            )
        trials = stages.fitter(main)([_trial(request, number) for number in range(config.trials)])
        screened = screen(request.setting, trials)
        covered = _covered(screened.support, len(pool))
        main, final = (replace(p, compile_for=covered) for p in (main, final))
        if request.setting.protocol.eliminates:
            reference = _reference(request, stages, main, alignment)
            elimination, coefficients = _select(request, stages, main, screened, reference)
        else:
            elimination, coefficients = None, _as_published(screened, trials, request)
        seeds = lifetime_seeds(
            config.seed, "evaluation", 0, request.setting.effort.evaluation_tasks
        )
        outcomes = {
            "rule": stages.measurer(final)("evaluation/rule", coefficients.theta, seeds),
            "backprop": stages.measurer(others[1])("evaluation/backprop", backprop.theta, seeds),
            "feedback_alignment": stages.measurer(others[3])(
                "evaluation/feedback alignment", alignment.theta, seeds
            ),
        }
    rates = {"backprop": backprop.rate, "feedback_alignment": alignment.rate}
    evaluation = {
        name: evaluation_of(outcome, rates.get(name), main.outputs)
        for name, outcome in outcomes.items()
    }
    return result_of(
        request, trials, screened, elimination, coefficients, evaluation, time.monotonic() - began
    )


@contextmanager
def _compiled_meanwhile(request: Request, stages: Stages, main: Population) -> Iterator[Stages]:
    """Have the pool's kernel compiled, while other stages run that say so."""
    setting, compiling = request.setting, "compiling the kernel"
    terms = [term for term, scale in enumerate(setting.scales) if scale > 0]
    with main.compiling(terms) as begun:
        said = f", {compiling}" if begun else ""
        yield replace(stages, on_stage=lambda label: stages.on_stage(label + said))
        stages.on_stage(compiling)
    # Whatever the other process has not compiled is compiled now, and said to be.
    start = torch.tensor(setting.start, dtype=torch.float64) * torch.tensor(setting.scales)
    main(start, lifetime_seeds(setting.seed, "compiling", 0, 1), gradient=terms)


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
    return replace(plan, observe=("angle",), observe_every=OBSERVE_EVERY)


def _covered(support: tuple[int, ...], terms: int) -> tuple[int, ...]:
    """The terms that kernels cover from here on: one kernel serves every support.

    Compiling takes seconds. The one that the trials had is there already, and its terms without a
    coefficient cost a few percent; a smaller one pays where most of the pool has gone.
    """
    return support if 2 * len(support) < terms else tuple(range(terms))


def _baseline(request: Request, stages: Stages, population: Population, label: str) -> Rate:
    """The pseudo-gradient alone on a pathway, with its own best rate."""
    return best_rate(_one_term(request, population), label, stages.measurer(population))


def _one_term(request: Request, population: Population) -> Setting:
    """The setting of a pool of one term."""
    return replace(
        request.setting,
        names=population.names,
        scales=(1.0,),
        start=(request.setting.protocol.start,),
        reference=0,
        # Robust whatever the protocol: a baseline must not be handicapped.
        protocol=replace(ROBUST, meta_batch=request.setting.protocol.meta_batch),
    )


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
    if request.config.pathway == "random" and shared == pseudo_gradient:
        # Feedback alignment is the same rule on the same tasks: known already.
        rate = alignment
    elif len(shared) > 1:
        # In this process: workers have the search's populations only.
        alone = replace(main, pool=Pool(F=expression), compile_for=(), executor=None)
        rate = fit_rate(
            _one_term(request, alone), "reference", stages.fitter(alone), stages.measurer(alone)
        )
    else:
        return fit_rate(setting, "reference", stages.fitter(main), stages.measurer(main))
    theta = tuple(rate.rate * (name in shared) for name in pool.names)
    return replace(rate, term=pool.reference, theta=theta)


def _select(
    request: Request,
    stages: Stages,
    main: Population,
    screened: Screen,
    reference: Rate | None,
) -> tuple[Elimination, Coefficients]:
    fitter, measurer = stages.fitter(main), stages.measurer(main)
    elimination = eliminate(
        request.setting,
        screened,
        fitter,
        measurer,
        stages.overlapper(main, common_seeds(request.setting)[:OVERLAP_TASKS]),
        reference=reference,
        parsimony=request.config.parsimony,
    )
    return elimination, refit_coefficients(request.setting, elimination, fitter)


def _as_published(screened: Screen, trials: Sequence[Fit], request: Request) -> Coefficients:
    """The paper's protocol selects by the penalty alone: the kept terms as the trials left them."""
    theta = tuple(s * x for s, x in zip(request.setting.scales, screened.phi, strict=True))
    return Coefficients(theta, None, tuple(trials), screened.failed, 0)
