"""What a search found, as a `Result`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rulesearch.locality import classify
from rulesearch.meta import Fit
from rulesearch.notation import Pool
from rulesearch.records.plain import to_plain
from rulesearch.result import (
    EliminationRecord,
    EvaluationRecord,
    PoolEntry,
    Result,
    TrialRecord,
    in_words,
    significant,
)
from rulesearch.runs import versions
from rulesearch.search.config import Config
from rulesearch.search.request import Request
from rulesearch.selection import Coefficients, Elimination, Screen
from rulesearch.statistics import Outcomes, learns, summarise


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
    request: Request,
    trials: Sequence[Fit],
    screened: Screen,
    elimination: Elimination | None,
    coefficients: Coefficients,
    evaluation: dict[str, EvaluationRecord],
    fails: dict[str, tuple[int, int]],
    seconds: float,
) -> Result:
    """Everything that a search found, in one record.

    Args:
        request: what was asked.
        trials: that screened the terms.
        screened: what they have in common.
        elimination: None where the penalty alone selects.
        coefficients: of the rule.
        evaluation: on images set aside, by the names of `Result.evaluation`.
        fails: terms that could not be differentiated at zero, see `Result`.
        seconds: that it took.
    """
    pool, config = request.pool, request.config
    names = pool.names
    support = elimination.support if elimination else request.setting.tell(screened.support)
    intervals = coefficients.intervals or ()
    given_up = [f"{t.label} was given up: {t.failed}" for t in trials if t.failed]
    messages = [*request.messages, *given_up, *map(_fails, fails.items()), screened.message]
    messages += _unlearned(evaluation)
    if elimination and elimination.verdict != "eliminated":
        messages.append(elimination.message)
    if elimination and elimination.unknown:
        terms = ", ".join(elimination.unknown)
        messages.append(f"whether {terms} can go is not known: no refit without has arrived")
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
                support=() if t.failed else request.setting.tell(t.support),
                theta=dict(zip(names, t.theta, strict=True)),
                diverged_lifetimes=t.diverged,
                meta_steps=t.meta_steps,
                retreats=t.retreats,
                failed=t.failed or "",
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
                arrived=s.arrived,
            )
            for s in (elimination.steps if elimination else ())
        ),
        evaluation=evaluation,
        fails=fails,
        message="; ".join(m for m in messages if m),
        images={
            "search": request.data.search.source,
            "evaluation": request.data.held_out.source,
        },
        config=to_plain(config),
        versions=versions(),
        seconds=seconds,
    )


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


def evaluation_of(outcomes: Outcomes, rate: float | None, outputs: int) -> EvaluationRecord:
    """Outcomes on images set aside, summed up.

    Args:
        outcomes: of a rule or a baseline.
        rate: a baseline's.
        outputs: units of the output layer.
    """
    summary = summarise(outcomes)
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
