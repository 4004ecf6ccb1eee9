"""What a rule is compared with: backprop by SGD and by Adam, and feedback alignment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rulesearch.baselines import by_adam, by_gradient
from rulesearch.choices import PathwayName
from rulesearch.meta import ROBUST
from rulesearch.mixture import Worlds, worlds_of
from rulesearch.model import Model
from rulesearch.notation import Pool
from rulesearch.population import Population
from rulesearch.search.request import Request
from rulesearch.search.stages import Stages
from rulesearch.search.worlds import World
from rulesearch.selection import Rate, Setting, best_rate
from rulesearch.statistics import Scores
from rulesearch.words import EVALUATED

#: Where the search for Adam's rate begins: its steps are about as large as the rate, whatever the
#: gradient.
ADAM_START = 1e-4
#: One in so many tasks is enough for it: from task to task, its losses at two rates differ by half
#: as much as those of SGD do, or less.
ADAM_SHARE = 2


@dataclass(frozen=True)
class Baseline:
    """A rival with one number, its rate.

    Attributes:
        searching: its networks, on the images of the search.
        set_aside: the same on the images set aside.
        start: where the search for its rate begins.
        share: one in so many of the baselines' tasks is enough for it.
    """

    searching: Population
    set_aside: Population
    start: float
    share: int = 1


def baselines(request: Request, world: World) -> dict[str, Baseline]:
    """Those of a search in a world, by the names of `Result.evaluation`.

    Their networks are those of the search, biases included, which learn at the same rate.
    """
    model, start = world.config.model(request.pool), request.setting.protocol.start
    sgd, adam = by_gradient(bias=model.bias), by_adam(bias=model.bias)
    return {
        "backprop_sgd": baseline(world, model, "symmetric", sgd, start),
        "backprop_adam": baseline(world, model, "symmetric", adam, ADAM_START, ADAM_SHARE),
        "feedback_alignment": baseline(world, model, "random", sgd, start),
    }


def baseline(
    world: World, model: Model, pathway: PathwayName, pool: Pool, start: float, share: int = 1
) -> Baseline:
    """What learns in a world by the one term of a pool; see `Baseline` for the rest."""
    searching, set_aside = (
        replace(world.population(pool, pathway=pathway, held_out=held_out), model=model)
        for held_out in (False, True)
    )
    return Baseline(searching, set_aside, start, share)


def best_rates(
    request: Request, stages: Stages, of: Mapping[str, Baseline], label: str = ""
) -> dict[str, Rate]:
    """Each with its own best rate, on the images of the search; labels begin with the world."""
    return {
        key: best_rate(
            _setting(request, baseline),
            f"{label}{EVALUATED.get(key, key)}",
            stages.measurer(baseline.searching),
        )
        for key, baseline in of.items()
    }


def evaluated(
    stages: Stages,
    of: Mapping[str, Baseline],
    rates: Mapping[str, Rate],
    seeds: tuple[int, ...],
    label: str = "",
) -> dict[str, Scores]:
    """What they do on the images set aside, on these lifetimes."""
    found = {}
    for key, baseline in of.items():
        rule = {f"evaluation/{label}{EVALUATED.get(key, key)}": rates[key].theta}
        (found[key],) = stages.measurer(baseline.set_aside)(rule, seeds)
    return found


def one_term(request: Request, population: Worlds, start: float) -> Setting:
    """The setting of a pool of one term, in raw coefficients."""
    return replace(
        request.setting,
        names=population.names,
        scales=(1.0,),
        start=(start,),
        reference=0,
        # Robust whatever the protocol: a baseline must not be handicapped.
        protocol=replace(ROBUST, meta_batch=request.setting.protocol.meta_batch),
        worlds=len(worlds_of(population)),
    )


def _setting(request: Request, baseline: Baseline) -> Setting:
    setting = one_term(request, baseline.searching, baseline.start)
    tasks = math.ceil(setting.effort.baseline_tasks / baseline.share)
    return replace(setting, effort=replace(setting.effort, baseline_tasks=tasks))
