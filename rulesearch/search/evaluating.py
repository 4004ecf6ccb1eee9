"""What was found, on images set aside: in each world by itself, and in all of them together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rulesearch.population import Population
from rulesearch.result import EvaluationRecord, HallRecord, WorldRecord
from rulesearch.search import compared
from rulesearch.search.compared import Baseline
from rulesearch.search.record import Found
from rulesearch.search.stages import Stages
from rulesearch.search.worlds import World
from rulesearch.selection import Rate
from rulesearch.statistics import Scores, compare, for_all, learns, summarise, untrained
from rulesearch.words import BEGUN, in_words


@dataclass(frozen=True, eq=False)
class Scene:
    """A world, and what is measured in it.

    Attributes:
        world: the world.
        label: what labels have in front, see `Request.label`.
        searching: its networks on the images of the search,
        set_aside: and on those set aside.
        rivals: the baselines, by name,
        rates: and the best rate of each.
        untrained: the mean loss of untrained networks, nats; 1 where losses stay in nats.
    """

    world: World
    label: str
    searching: Population
    set_aside: Population
    rivals: Mapping[str, Baseline]
    rates: Mapping[str, Rate]
    untrained: float


@dataclass(frozen=True)
class Evaluated:
    """What a search is judged by.

    Attributes:
        together: over all worlds, in shares of untrained losses; in one world, in nats.
        worlds: each by itself, in nats; empty for one world.
        hall: the hall of fame, its front with evaluations.
    """

    together: dict[str, EvaluationRecord]
    worlds: dict[str, WorldRecord]
    hall: tuple[HallRecord, ...]


def evaluated(
    found: Found,
    names: Sequence[str],
    stages: Stages,
    scenes: Sequence[Scene],
    seeds: tuple[int, ...],
    begun: tuple[float, ...] | None = None,
) -> Evaluated:
    """The rule, its rivals and the hall's front, all on the same lifetimes of each world.

    Args:
        found: by the search.
        names: of all terms, in the pool's order.
        stages: run what is expensive.
        scenes: of all worlds.
        seeds: of the lifetimes.
        begun: raw coefficients of the rule that the search began with, [terms], if it did with one.
    """
    rules = {"rule": found.theta} | ({} if begun is None else {BEGUN: begun})
    outcomes = [_measured(rules, stages, scene, seeds) for scene in scenes]
    worlds = {
        scene.world.name: WorldRecord(
            sizes=scene.world.sizes,
            untrained=scene.untrained,
            evaluation={
                name: evaluation_of([each], [scene], _rate(scene, name), rule=[measured["rule"]])
                for name, each in measured.items()
            },
        )
        for scene, measured in zip(scenes, outcomes, strict=True)
    }
    together = {
        name: evaluation_of(
            [measured[name] for measured in outcomes],
            scenes,
            _rate(scenes[0], name) if len(scenes) == 1 else None,
            rule=[measured["rule"] for measured in outcomes],
        )
        for name in outcomes[0]
    }
    hall = []
    seen = not_undercut(found.hall)
    for number, each in enumerate(found.hall):
        if each not in seen:
            hall.append(each)
            continue
        theta = tuple(each.theta.get(name) or 0.0 for name in names)
        measured = [
            rule["rule"] if each.chosen else _of_hall(number, theta, stages, scene, seeds)
            for scene, rule in zip(scenes, outcomes, strict=True)
        ]
        looks = len(seen)
        hall.append(
            replace(
                each,
                evaluation=evaluation_of(measured, scenes, None, looks),
                worlds={
                    scene.world.name: evaluation_of([own], [scene], None, looks)
                    for scene, own in zip(scenes, measured, strict=True)
                    if len(scenes) > 1
                },
            )
        )
    return Evaluated(together, worlds if len(scenes) > 1 else {}, tuple(hall))


def not_undercut(hall: Sequence[HallRecord]) -> tuple[HallRecord, ...]:
    """The rules to look at on images set aside: those that none undercuts that asks no more.

    That is one with as few terms or fewer, which need nothing more, and less loss. The choice is
    always one of them.
    """

    def undercut(each: HallRecord, other: HallRecord) -> bool:
        asks_no_more = len(other.support) <= len(each.support) and {*other.needs} <= {*each.needs}
        return asks_no_more and _loss(other) < _loss(each)

    return tuple(e for e in hall if e.chosen or not any(undercut(e, other) for other in hall))


def _loss(record: HallRecord) -> float:
    return math.inf if record.loss is None else record.loss


def evaluation_of(
    outcomes: Sequence[Scores],
    scenes: Sequence[Scene],
    rate: float | None,
    looks: int = 1,
    rule: Sequence[Scores] | None = None,
) -> EvaluationRecord:
    """Scores on images set aside, summed up.

    Args:
        outcomes: of a rule or a baseline in each world.
        scenes: of these; several are taken together, in shares of their untrained losses.
        rate: a baseline's.
        looks: rules looked at on the same images: intervals hold for all of them together.
        rule: outcomes of the search's rule, to say what it gains; the rule itself, or one of the
            hall of fame (None), over no training.
    """
    together = _together(outcomes, scenes)
    summary = summarise(together, looks)
    own = rule is None or all(x is y for x, y in zip(rule, outcomes, strict=True))
    if rule is None or own:
        gained = compare(untrained(together), together, level=for_all(looks))
    else:
        gained = compare(together, _together(rule, scenes), level=for_all(looks))
    return EvaluationRecord(
        accuracy=summary.accuracy,
        accuracy_interval=summary.accuracy_interval,
        loss=summary.loss,
        loss_interval=summary.loss_interval,
        lifetimes=sum(len(each.seeds) for each in outcomes),
        diverged=sum(sum(each.diverged) for each in outcomes),
        rate=rate,
        learns=all(
            learns(each, scene.world.config.ways)
            for each, scene in zip(outcomes, scenes, strict=True)
        ),
        gained=gained.mean,
        gained_interval=gained.interval,
    )


def _together(outcomes: Sequence[Scores], scenes: Sequence[Scene]) -> Scores:
    """The mean over all worlds of each seed, losses as shares; of one world as they are.

    A seed has the same task in every world of a data set: its lifetimes tell one thing, not many.
    """
    if len(outcomes) == 1:
        return outcomes[0]
    shares = [1 / scene.untrained for scene in scenes]

    def mean(values: Iterable[Sequence[float]], by: Sequence[float]) -> tuple[float, ...]:
        weighed = np.array([*values]) * np.array(by)[:, None]
        return tuple(map(float, weighed.mean(0)))

    return Scores(
        seeds=outcomes[0].seeds,
        loss=mean((each.loss for each in outcomes), shares),
        accuracy=mean((each.accuracy for each in outcomes), [1.0] * len(outcomes)),
        initial_loss=mean((each.initial_loss for each in outcomes), shares),
        diverged=tuple(any(each) for each in zip(*(o.diverged for o in outcomes), strict=True)),
    )


def _measured(
    rules: Mapping[str, tuple[float, ...]], stages: Stages, scene: Scene, seeds: tuple[int, ...]
) -> dict[str, Scores]:
    """The rule, the one that was begun with, and its rivals in a world."""
    live = stages.measurer(scene.set_aside)
    labels = {f"evaluation/{scene.label}{in_words(name)}": theta for name, theta in rules.items()}
    own = dict(zip(rules, live(labels, seeds), strict=True))
    rivals = compared.evaluated(stages, scene.rivals, scene.rates, seeds, scene.label)
    return {**own, **rivals}


def _of_hall(
    number: int,
    theta: tuple[float, ...],
    stages: Stages,
    scene: Scene,
    seeds: tuple[int, ...],
) -> Scores:
    label = f"evaluation/{scene.label}hall {number}"
    (outcomes,) = stages.measurer(scene.set_aside)({label: theta}, seeds)
    return outcomes


def _rate(scene: Scene, name: str) -> float | None:
    return scene.rates[name].rate if name in scene.rates else None
