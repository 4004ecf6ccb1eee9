"""The search: pool, data and configuration in, result out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rulesearch.executors import Executor
from rulesearch.lifetime.modes import plain
from rulesearch.meta import Accepted, lifetime_seeds
from rulesearch.mixture import each_world, mixed
from rulesearch.pursuit.course import ROOM
from rulesearch.result import Result
from rulesearch.search import compared
from rulesearch.search.beginning import became
from rulesearch.search.compiling import compile_now, compiled_meanwhile
from rulesearch.search.evaluating import Scene, evaluated, not_undercut
from rulesearch.search.pursuing import by_pursuit
from rulesearch.search.record import result_of
from rulesearch.search.request import Request
from rulesearch.search.stages import Stages
from rulesearch.search.trials import by_trials
from rulesearch.words import in_words, significant

UNTRAINED_TASKS = 256
"""Lifetimes whose first loss says what losses in a world are shares of."""


@plain()
def carry_out(request: Request, stages: Stages, executor: Executor | None = None) -> Result:
    """The search that `prepare` found possible: baselines, the protocol's course, evaluation.

    Args:
        request: of the search.
        stages: run what is expensive.
        executor: what carries lifetimes out, so many at a time; None for this process. It changes
            no bit.
    """
    began = time.monotonic()
    pool, config, worlds = request.pool, request.config, request.worlds
    stages = replace(stages, executor=executor)
    scenes = _scenes(request, stages)
    untrained = [scene.untrained for scene in scenes]
    searching, aside = [s.searching for s in scenes], [s.set_aside for s in scenes]
    terms = [term for term, scale in enumerate(request.setting.scales) if scale]
    first = _covered_at_first(request, terms)
    main = each_world(mixed(searching, untrained), lambda w: replace(w, compile_for=first))
    beside = compiled_meanwhile(stages, main, terms)
    scenes = [
        replace(s, rates=compared.best_rates(request, beside, s.rivals, s.label)) for s in scenes
    ]
    compile_now(request, stages, main, terms)
    course = by_pursuit if isinstance(request.setting.protocol, Accepted) else by_trials
    alignment = scenes[0].rates["feedback_alignment"] if len(worlds) == 1 else None
    found = course(request, stages, main, mixed(aside, untrained), alignment)
    if found.stopped:  # what a search that goes on finds is evaluated under the same labels
        stages = replace(stages, run=None)
    tasks = request.setting.effort.evaluation_tasks
    seeds = lifetime_seeds(config.seed, "evaluation", 0, tasks)
    ranked = {name for each in not_undercut(found.hall) for name in each.support}
    begun = request.begun
    places = {*map(pool.names.index, ranked), *(begun.support if begun else ())}
    covered = tuple(sorted(places))
    scenes = [replace(s, set_aside=replace(s.set_aside, compile_for=covered)) for s in scenes]
    theta = begun.theta if begun else None
    evaluation = evaluated(found, pool.names, stages, scenes, seeds, theta)
    found = replace(found, hall=evaluation.hall)
    if begun is not None:
        line = became(begun, found.support, pool.names, evaluation.together)
        found = replace(found, messages=(line, *found.messages))
    found = replace(found, messages=(*found.messages, *_at_edges(scenes)))
    seconds = time.monotonic() - began
    return result_of(
        request, found, evaluation.together, evaluation.worlds, stages.lifetimes(), seconds
    )


def _at_edges(scenes: Sequence[Scene]) -> Iterator[str]:
    """The rivals whose best rate may lie beyond those that were tried."""
    for scene in scenes:
        for name, rate in scene.rates.items():
            if not rate.bracketed:
                yield (
                    f"{scene.label}{in_words(name)} is best at an edge of the rates tried, "
                    f"{significant(rate.rate)}: another may be better"
                )


def _scenes(request: Request, stages: Stages) -> list[Scene]:
    """What is measured in each world: networks and rivals, rates not yet known."""
    scenes, worlds = [], request.worlds
    seeds = lifetime_seeds(request.config.seed, "untrained", 0, UNTRAINED_TASKS)
    for world in worlds:
        label, searching = f"untrained/{world.name}", world.population(request.pool)
        scenes.append(
            Scene(
                world=world,
                label=request.label(world),
                searching=searching,
                set_aside=world.population(request.pool, held_out=True),
                rivals=compared.baselines(request, world),
                rates={},
                untrained=stages.untrained(label, searching, seeds) if len(worlds) > 1 else 1.0,
            )
        )
    return scenes


def _covered_at_first(request: Request, terms: Sequence[int]) -> tuple[int, ...]:
    """The terms that kernels cover: one serves the whole course, whatever comes to be zero on it.

    Of a large pool few terms are ever in use, and a course begins with the reference alone.
    """
    if isinstance(request.setting.protocol, Accepted) and len(terms) > ROOM:
        return (request.setting.reference,)
    return tuple(terms)
