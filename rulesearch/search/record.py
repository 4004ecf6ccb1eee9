"""What a search found, as a `Result`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rulesearch.data import Data
from rulesearch.locality import classify
from rulesearch.machine import machine
from rulesearch.notation import Pool, Term, latex_of, pool_to_plain, text_of
from rulesearch.notation.compact import compact
from rulesearch.records.documents import digest_of
from rulesearch.records.plain import to_plain
from rulesearch.result import (
    EliminationRecord,
    EvaluationRecord,
    GrowingRecord,
    HallRecord,
    JoiningRecord,
    PoolEntry,
    Result,
    TrialRecord,
    WorldRecord,
)
from rulesearch.result.whole import unlearned
from rulesearch.runs import versions
from rulesearch.search.config import Config, called
from rulesearch.search.request import Request
from rulesearch.statistics import Interval


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
        joining: candidates that were tested,
        growing: and those that small rules were tried to grow by.
        hall: the best rules of each size, not yet evaluated.
        fails: terms that could not be differentiated at zero, see `Result`.
        messages: what a reader must know.
        stopped: whether the time limit ended it; it is then the best so far.
    """

    support: tuple[str, ...]
    theta: tuple[float, ...]
    intervals: tuple[Interval, ...] | None
    trials: tuple[TrialRecord, ...]
    frequencies: Mapping[str, float]
    elimination: tuple[EliminationRecord, ...] = ()
    joining: tuple[JoiningRecord, ...] = ()
    growing: tuple[GrowingRecord, ...] = ()
    hall: tuple[HallRecord, ...] = ()
    fails: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    stopped: bool = False


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
                **_changes(term),
            )
        )
    return tuple(entries)


def _changes(term: Term) -> dict[str, Any]:
    """What a term changes, where that is not W alone."""
    if term.updates == (("W", term.expression),):
        return {}
    return {
        "changes": {parameter: text_of(compact(e)) for parameter, e in term.updates},
        "changes_latex": {parameter: latex_of(compact(e)) for parameter, e in term.updates},
    }


def definitions(pool: Pool) -> dict[str, Any]:
    """What a pool's terms call and read of its own, what bounds it, and how it starts."""
    tables = ("operators", "quantities", "traces", "bounds", "start")
    return {name: rows for name, rows in pool_to_plain(pool).items() if name in tables and rows}


def checksums(pool: Pool, data: Sequence[Data]) -> dict[str, str]:
    """What the pool and the images are told apart by, see `Result.checksums`."""
    return {"pool": digest_of(pool_to_plain(pool))} | {
        f"data {called(each.name)}": each.digest for each in data
    }


def result_of(
    request: Request,
    found: Found,
    evaluation: dict[str, EvaluationRecord],
    worlds: dict[str, WorldRecord],
    lifetimes: Mapping[str, int],
    seconds: float,
) -> Result:
    """Everything that a search found, in one record.

    Args:
        request: what was asked.
        found: by its protocol.
        evaluation: on images set aside, by the names of `Result.evaluation`.
        worlds: the same in each of several worlds.
        lifetimes: with derivatives and without, see `Result`.
        seconds: that it took.
    """
    pool, config = request.pool, request.config
    names = pool.names
    messages = [*request.messages, *map(_fails, found.fails.items()), *found.messages]
    for label, records in _apart(evaluation, worlds).items():
        messages += _unlearned(records, label)
    return Result(
        pool=pool_entries(pool, config),
        definitions=definitions(pool),
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
        joining=found.joining,
        growing=found.growing,
        hall=found.hall,
        evaluation=evaluation,
        worlds=worlds,
        fails=dict(found.fails),
        message="; ".join(m for m in messages if m),
        images={
            f"{use} on {called(data.name)}" if len(request.data) > 1 else use: images.source
            for data in request.data
            for use, images in (("search", data.search), ("evaluation", data.held_out))
        },
        config=to_plain(config),
        versions=versions(),
        machine=machine(config.device),
        checksums=checksums(pool, request.data),
        stopped=found.stopped,
        lifetimes=dict(lifetimes),
        seconds=seconds,
    )


def _fails(fails: tuple[str, tuple[int, int]]) -> str:
    """What is said of a term that could not be differentiated at zero."""
    name, (layer, step) = fails
    where = f"its update is not finite, in layer {layer} at step {step} of a lifetime of the search"
    return f"term {name}: stays at zero, as {where if layer else 'its derivative is not finite'}"


def _apart(
    evaluation: Mapping[str, EvaluationRecord], worlds: Mapping[str, WorldRecord]
) -> dict[str, Mapping[str, EvaluationRecord]]:
    """The evaluation of each world, by what is said to be there; of one world, nothing."""
    if not worlds:
        return {"": evaluation}
    return {f" on {name}": world.evaluation for name, world in worlds.items()}


def _unlearned(evaluation: Mapping[str, EvaluationRecord], label: str) -> list[str]:
    """What is said of those that do not learn."""
    return [unlearned(name, entry, label) for name, entry in evaluation.items() if not entry.learns]
