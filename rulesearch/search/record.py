"""What a search found, as a `Result`."""

from __future__ import annotations

from collections.abc import Sequence

from rulesearch.locality import classify
from rulesearch.meta import Fit
from rulesearch.notation import Pool
from rulesearch.result import (
    EliminationRecord,
    EvaluationRecord,
    PoolEntry,
    Result,
    TrialRecord,
)
from rulesearch.runs import versions
from rulesearch.search.config import Config, to_options
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
        seconds: that it took.
    """
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
                arrived=s.arrived,
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
        seconds=seconds,
    )


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
