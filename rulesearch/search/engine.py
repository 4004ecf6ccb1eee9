"""The search: pool, data and configuration in, result out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from rulesearch.lifetime.modes import plain
from rulesearch.meta import Accepted, lifetime_seeds
from rulesearch.population import shared_by_workers
from rulesearch.pursuit.course import ROOM
from rulesearch.result import Result
from rulesearch.search import compared
from rulesearch.search.compiling import compile_now, compiled_meanwhile
from rulesearch.search.pursuing import by_pursuit
from rulesearch.search.record import evaluated, evaluation_of, result_of
from rulesearch.search.request import Request, population_of
from rulesearch.search.stages import Stages
from rulesearch.search.trials import by_trials


@plain()
def carry_out(request: Request, stages: Stages) -> Result:
    """The search that `prepare` found possible: baselines, the protocol's course, evaluation."""
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
        main = replace(main, compile_for=_covered_at_first(request, terms))
        with compiled_meanwhile(stages, main, terms) as beside:
            rates = compared.best_rates(request, beside, rivals)
        compile_now(request, stages, main, terms)
        course = by_pursuit if isinstance(request.setting.protocol, Accepted) else by_trials
        found = course(request, stages, main, final, rates["feedback_alignment"])
        seeds = lifetime_seeds(
            config.seed, "evaluation", 0, request.setting.effort.evaluation_tasks
        )
        ranked = {name for each in found.hall for name in each.support}
        final = replace(final, compile_for=tuple(map(pool.names.index, sorted(ranked))))
        measured = stages.measurer(final)
        outcomes = {
            "rule": measured("evaluation/rule", found.theta, seeds),
            **compared.evaluated(stages, rivals, rates, seeds),
        }
        hall = evaluated(found.hall, pool.names, measured, seeds, outcomes["rule"], main.outputs)
    evaluation = {
        name: evaluation_of(outcome, rates[name].rate if name in rates else None, main.outputs)
        for name, outcome in outcomes.items()
    }
    found = replace(found, hall=hall)
    return result_of(request, found, evaluation, time.monotonic() - began)


def _covered_at_first(request: Request, terms: Sequence[int]) -> tuple[int, ...]:
    """The terms that kernels cover: one serves the whole course, whatever comes to be zero on it.

    Of a large pool few terms are ever in use, and a course begins with the reference alone.
    """
    if isinstance(request.setting.protocol, Accepted) and len(terms) > ROOM:
        return (request.setting.reference,)
    return tuple(terms)
