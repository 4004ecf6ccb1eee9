"""The tables of the benchmark, in Markdown, from runs that are done."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.planted.nulls import LEVELS, Null
from benchmarks.planted.runs import OURS, Run
from benchmarks.planted.scorer import share_interval, share_limit
from rulesearch.statistics import t_interval

COLUMNS = (
    "runs",
    "exact (95 %)",
    "ours on these",
    "F1 of ours minus this (95 %)",
    "precision",
    "recall",
    "F1",
    "error",
    "loss",
    "lifetimes",
    "seconds",
)


def share(hits: int, tries: int) -> str:
    """So many of so many, with the interval.

    Example:
        >>> share(9, 10)
        '9 of 10 (55 to 100 %)'
    """
    low, high = share_interval(hits, tries)
    return f"{hits} of {tries} ({100 * low:.0f} to {100 * high:.0f} %)"


def cells(runs: Sequence[Run], ours: Sequence[Run]) -> tuple[str, ...]:
    """The row of a method: means over runs, medians of what has long tails.

    Args:
        runs: of the method.
        ours: those of the first method on the same teachers and seeds.
    """

    def mean(name: str) -> str:
        return f"{statistics.fmean(getattr(run, name) for run in runs):.2f}"

    def median(name: str) -> str:
        return f"{statistics.median(getattr(run, name) for run in runs):.2g}"

    return (
        str(len(runs)),
        share(sum(run.exact for run in runs), len(runs)),
        f"{sum(run.exact for run in ours)} of {len(ours)}",
        _ahead(ours, runs),
        *(mean(name) for name in ("precision", "recall", "f1")),
        *(median(name) for name in ("error", "loss")),
        f"{statistics.fmean(run.cost for run in runs):.0f}",
        f"{statistics.fmean(run.seconds for run in runs):.1f}",
    )


def _ahead(ours: Sequence[Run], runs: Sequence[Run]) -> str:
    """The mean of paired differences in F1, with Student's interval."""
    others = {(run.teacher, run.seed): run.f1 for run in runs}
    ahead = [run.f1 - others[run.teacher, run.seed] for run in ours]
    if len(ahead) < 2 or ours[0].method == runs[0].method:
        return ""
    low, high = t_interval(ahead)
    return f"{statistics.fmean(ahead):.2f} ({low:.2f} to {high:.2f})"


def of_answers(runs: Sequence[Run]) -> list[str]:
    """A table of students who see answers alone."""
    methods = list(dict.fromkeys(run.method for run in runs))
    rows = []
    for method in methods:
        own = [run for run in runs if run.method == method]
        where = {(run.teacher, run.seed) for run in own}
        ours = [run for run in runs if run.method == OURS and (run.teacher, run.seed) in where]
        rows.append((method, *cells(own, ours)))
    return _markdown(("method", *COLUMNS), rows)


def of_weights(runs: Sequence[Run]) -> list[str]:
    """A table of students who see weights, by noise."""
    rows = []
    for noise in sorted({run.noise for run in runs}):
        for method in dict.fromkeys(run.method for run in runs):
            own = [run for run in runs if (run.method, run.noise) == (method, noise)]
            each = cells(own, own)
            rows.append((f"{noise:g}", method, *each[:2], *each[4:-2]))
    return _markdown(("noise", "method", *COLUMNS[:2], *COLUMNS[4:-2]), rows)


def of_nulls(found: Sequence[Null]) -> list[str]:
    """A table of the nulls."""
    rows = []
    for kind in dict.fromkeys(null.kind for null in found):
        own = [null for null in found if null.kind == kind]
        claims = sum(null.claims for null in own)
        limit = f"{100 * share_limit(claims, len(own)):.1f} %"
        terms = statistics.fmean(len(null.theta) for null in own)
        level = f"{100 * LEVELS[kind]:g} %"
        rows.append((kind, str(len(own)), str(claims), limit, level, f"{terms:.1f}"))
    return _markdown(
        ("null", "searches", "claims", "upper 95 % limit", "level", "terms, mean"), rows
    )


def by_teacher(runs: Sequence[Run]) -> list[str]:
    """Exact supports of each method, teacher by teacher."""
    methods = list(dict.fromkeys(run.method for run in runs))
    rows = []
    for teacher in dict.fromkeys(run.teacher for run in runs):
        row = [teacher]
        for method in methods:
            own = [run for run in runs if (run.teacher, run.method) == (teacher, method)]
            row.append(f"{sum(run.exact for run in own)} of {len(own)}" if own else "")
        rows.append(tuple(row))
    return _markdown(("teacher", *methods), rows)


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
