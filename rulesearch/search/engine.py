"""The search: pool, data and configuration in, result out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rulesearch.data import Data
from rulesearch.kernels.fused.cache import cache_folder
from rulesearch.lifetime import choose_kernel
from rulesearch.locality import classify, parse_needs, within
from rulesearch.lowering import lower_terms
from rulesearch.meta import ROBUST, Fit, FitPlan, lifetime_seeds, units
from rulesearch.notation import Pool
from rulesearch.notation.pool import PSEUDO_GRADIENT
from rulesearch.pathways import pathway
from rulesearch.population import Population, shared_by_workers
from rulesearch.result import (
    EliminationRecord,
    EvaluationRecord,
    PoolEntry,
    Result,
    TrialRecord,
)
from rulesearch.runs import versions
from rulesearch.search.config import Config, check, to_options
from rulesearch.search.stages import OnStep, Stages
from rulesearch.selection import (
    Coefficients,
    Elimination,
    Rate,
    Screen,
    Setting,
    best_rate,
    eliminate,
    fit_rate,
    refit_coefficients,
    screen,
    trial_plan,
)
from rulesearch.statistics import Outcomes, summarise

NORM_TASKS = 32
#: Meta-steps between two looks at the angles of a trial.
OBSERVE_EVERY = 5


@dataclass(frozen=True)
class Request:
    """A search that has been found possible: everything it needs, nothing written yet.

    Attributes:
        pool: the terms.
        data: the images.
        config: resolved.
        setting: numbers of the pool on these data.
        messages: what a reader must know first, such as a term left out.
    """

    pool: Pool
    data: Data
    config: Config
    setting: Setting
    messages: tuple[str, ...]


def prepare(pool: Pool, data: Data, config: Config) -> Request:
    """Check that a search can be met, and measure its units.

    Raises:
        RuleSearchError: options, locality, or terms that are not finite on the data.
    """
    check(config)
    config = config.resolved()
    within(pool, parse_needs(config.locality), config.neurons)
    depth = _depth(data, config)
    pool = pool.in_network(depth)
    population = _population(pool, data, config)
    protocol = config.meta_protocol()
    reference = pool.names.index(pool.reference)
    norms = population.norms(lifetime_seeds(config.seed, "units", 0, NORM_TASKS))
    labels = [f"{t.name}, {t}" for t in pool]
    scales, messages = units(norms, reference, labels, protocol.largest_scale)
    if not protocol.in_units:
        scales = tuple(1.0 if s else 0.0 for s in scales)
    start = tuple(
        pool.start.get(name, 0.0) / scale if scale else 0.0
        for name, scale in zip(pool.names, scales, strict=True)
    )
    shared = pool.throughout(pool.terms[reference].expression, depth)
    if len(shared) > 1:
        messages += (f"the reference is {', '.join(shared)} with one coefficient",)
    path = pathway(config.pathway, depth)
    sizes = population.sizes
    on_cpu = config.device == "cpu"
    if on_cpu and config.kernel != "einsum":
        cache_folder()  # refused now rather than in the middle of the run
    _, note = choose_kernel(config.kernel, lower_terms(pool.distinct), sizes, path, on_cpu=on_cpu)
    messages += (note,) if note else ()
    assert config.effort is not None
    setting = Setting(pool.names, scales, start, reference, protocol, config.seed, config.effort)
    return Request(pool, data, config, setting, messages)


def _depth(data: Data, config: Config) -> int:
    return len(config.sizes(data.inputs, data.classes)) - 1


def _population(
    pool: Pool, data: Data, config: Config, *, pathway: str | None = None, held_out: bool = False
) -> Population:
    return Population(
        pool,
        data.held_out if held_out else data.search,
        config.shape,
        config.sizes(data.inputs, data.classes),
        pathway or config.pathway,
        config.kernel,
        config.device,
        config.torch_dtype(),
        feedback_init=config.feedback_init,
    )


# --- the search ----------------------------------------------------------------------------------


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
        _population(pool, data, config),
        _population(pool, data, config, held_out=True),
        *(
            _population(baseline, data, config, pathway=pathway, held_out=held_out)
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
    evaluation = {name: _evaluation(outcome, rates.get(name)) for name, outcome in outcomes.items()}
    return _result(request, trials, screened, elimination, coefficients, evaluation, began)


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
    depth = _depth(request.data, request.config)
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
        reference=reference,
        parsimony=request.config.parsimony,
    )
    return elimination, refit_coefficients(request.setting, elimination, fitter)


def _as_published(screened: Screen, trials: Sequence[Fit], request: Request) -> Coefficients:
    """The paper's protocol selects by the penalty alone: the kept terms as the trials left them."""
    theta = tuple(s * x for s, x in zip(request.setting.scales, screened.phi, strict=True))
    return Coefficients(theta, None, tuple(trials), screened.failed, 0)


# --- the result ----------------------------------------------------------------------------------


def pool_entries(pool: Pool, config: Config) -> tuple[PoolEntry, ...]:
    """The pool as records: expression, LaTeX, needs and evidence of each term."""
    entries = []
    for term in pool:
        verdict = classify(term, config.neurons)
        entries.append(
            PoolEntry(
                name=term.name,
                expression=term.text,
                latex=term.latex,
                needs=tuple(e.need for e in verdict.evidence),
                evidence={e.need: str(e) for e in verdict.evidence},
                layers=pool.where.get(term.name, ()),
            )
        )
    return tuple(entries)


def _result(
    request: Request,
    trials: Sequence[Fit],
    screened: Screen,
    elimination: Elimination | None,
    coefficients: Coefficients,
    evaluation: dict[str, EvaluationRecord],
    began: float,
) -> Result:
    pool, config = request.pool, request.config
    names = pool.names
    support = elimination.support if elimination else request.setting.tell(screened.support)
    intervals = coefficients.intervals or ()
    given_up = [f"{t.label} was given up: {t.failed}" for t in trials if t.failed]
    messages = [*request.messages, *given_up, screened.message]
    if elimination and elimination.verdict != "eliminated":
        messages.append(elimination.message)
    if coefficients.failed:
        messages.append(f"{coefficients.failed} final refits did not end, and are left out")
    return Result(
        pool=pool_entries(pool, config),
        support=support,
        theta=dict(zip(names, coefficients.theta, strict=True)),
        theta_interval={
            name: interval
            for name, interval in zip(names, intervals, strict=False)
            if name in support
        },
        frequency=dict(screened.frequencies),
        trials=tuple(
            TrialRecord(
                seed=t.seed,
                support=request.setting.tell(t.support),
                theta=dict(zip(names, t.theta, strict=True)),
                diverged_lifetimes=t.diverged,
                meta_steps=t.meta_steps,
                retreats=t.retreats,
            )
            for t in trials
        ),
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
            )
            for s in (elimination.steps if elimination else ())
        ),
        evaluation=evaluation,
        message="; ".join(m for m in messages if m),
        images={
            "search": request.data.search.source,
            "evaluation": request.data.held_out.source,
        },
        config=to_options(config),
        versions=versions(),
        seconds=time.monotonic() - began,
    )


def _evaluation(outcomes: Outcomes, rate: float | None) -> EvaluationRecord:
    summary = summarise(outcomes)
    return EvaluationRecord(
        accuracy=summary.accuracy,
        accuracy_interval=summary.accuracy_interval,
        loss=summary.loss,
        loss_interval=summary.loss_interval,
        lifetimes=summary.lifetimes,
        diverged=summary.diverged,
        rate=rate,
    )
