"""What a search found, as a `Result`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rulesearch.locality import classify
from rulesearch.notation import Pool
from rulesearch.records.plain import to_plain
from rulesearch.result import (
    EliminationRecord,
    EvaluationRecord,
    HallRecord,
    PoolEntry,
    Result,
    TrialRecord,
    in_words,
    significant,
)
from rulesearch.runs import versions
from rulesearch.search.config import Config
from rulesearch.search.request import Request
from rulesearch.selection import Measure
from rulesearch.statistics import Interval, Outcomes, learns, summarise


@dataclass(frozen=True)
class Found:
    """What a search by whatever protocol found, before it is evaluated.

    Attributes:
        support: terms of the rule.
        theta: its raw coefficients, [terms].
        intervals: of these, [terms], or None.
        trials: that screened the terms,
        frequencies: and the share of them that kept each, by name.
        elimination: tries to do without terms.
        hall: the best rules of each size, not yet evaluated.
        fails: terms that could not be differentiated at zero, see `Result`.
        messages: what a reader must know.
    """

    support: tuple[str, ...]
    theta: tuple[float, ...]
    intervals: tuple[Interval, ...] | None
    trials: tuple[TrialRecord, ...]
    frequencies: Mapping[str, float]
    elimination: tuple[EliminationRecord, ...] = ()
    hall: tuple[HallRecord, ...] = ()
    fails: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    messages: tuple[str, ...] = ()


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


def result_of(
    request: Request, found: Found, evaluation: dict[str, EvaluationRecord], seconds: float
) -> Result:
    """Everything that a search found, in one record.

    Args:
        request: what was asked.
        found: by its protocol.
        evaluation: on images set aside, by the names of `Result.evaluation`.
        seconds: that it took.
    """
    pool, config = request.pool, request.config
    names = pool.names
    messages = [*request.messages, *map(_fails, found.fails.items()), *found.messages]
    messages += _unlearned(evaluation)
    return Result(
        pool=pool_entries(pool, config),
        support=found.support,
        theta=dict(zip(names, found.theta, strict=True)),
        theta_interval={
            name: interval
            for name, interval in zip(names, found.intervals or (), strict=False)
            if name in found.support
        },
        frequency=dict(found.frequencies),
        trials=found.trials,
        elimination=found.elimination,
        hall=found.hall,
        evaluation=evaluation,
        fails=dict(found.fails),
        message="; ".join(m for m in messages if m),
        images={
            "search": request.data.search.source,
            "evaluation": request.data.held_out.source,
        },
        config=to_plain(config),
        versions=versions(),
        seconds=seconds,
    )


def evaluated(
    hall: Sequence[HallRecord],
    names: Sequence[str],
    measure: Measure,
    seeds: tuple[int, ...],
    rule: Outcomes,
    outputs: int,
) -> tuple[HallRecord, ...]:
    """The hall of fame with what its rules do on images set aside, all on the same lifetimes.

    Args:
        hall: the rules.
        names: of all terms, in the pool's order.
        measure: runs lifetimes on images set aside.
        seeds: of these.
        rule: what the chosen one did there already.
        outputs: units of the output layer.
    """
    found = []
    for number, each in enumerate(hall):
        theta = tuple(each.theta.get(name) or 0.0 for name in names)
        outcomes = rule if each.chosen else measure(f"evaluation/hall {number}", theta, seeds)
        found.append(replace(each, evaluation=evaluation_of(outcomes, None, outputs, len(hall))))
    return tuple(found)


def _fails(fails: tuple[str, tuple[int, int]]) -> str:
    """What is said of a term that could not be differentiated at zero."""
    name, (layer, step) = fails
    where = f"its update is not finite, in layer {layer} at step {step} of a lifetime of the search"
    return f"term {name}: stays at zero, as {where if layer else 'its derivative is not finite'}"


def _unlearned(evaluation: Mapping[str, EvaluationRecord]) -> list[str]:
    """What is said of those that do not learn."""
    return [
        f"{in_words(name)} does not learn: accuracy {significant(entry.accuracy)}, "
        f"{entry.diverged} of {entry.lifetimes} lifetimes diverged"
        for name, entry in evaluation.items()
        if not entry.learns
    ]


def evaluation_of(
    outcomes: Outcomes, rate: float | None, outputs: int, looks: int = 1
) -> EvaluationRecord:
    """Outcomes on images set aside, summed up.

    Args:
        outcomes: of a rule or a baseline.
        rate: a baseline's.
        outputs: units of the output layer.
        looks: rules looked at on the same images: intervals hold for all of them together.
    """
    summary = summarise(outcomes, looks)
    return EvaluationRecord(
        accuracy=summary.accuracy,
        accuracy_interval=summary.accuracy_interval,
        loss=summary.loss,
        loss_interval=summary.loss_interval,
        lifetimes=summary.lifetimes,
        diverged=summary.diverged,
        rate=rate,
        learns=learns(outcomes, outputs),
    )
