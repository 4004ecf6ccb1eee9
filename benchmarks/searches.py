"""Searches of several pools, data sets and seeds, each beside its reference.

    python -m benchmarks.searches --runs DIR [--data-root DIR] [--pools P ...] [--datasets D ...]
        [--seeds N ...] [--effort quick] [--executor E] [--workers N] [--read-only] [--json FILE]

A sweep (`rulesearch.sweep`): every search is a run directory POOL-DATASET-SEED under DIR, made
anew, gone on with, or read if it has ended, so the command can be stopped at any time and given
again. A row says what was chosen, and what it and its reference do on images set aside: feedback
alignment at its best rate where the pool begins with that term, else no training. A search fails
where its rule has more loss than the reference by the paired 95 % interval, or diverges in more
lifetimes by Fisher's exact test (one-sided, 2.5 %).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from scipy import stats

from benchmarks.ending import end_with
from benchmarks.machine import machine
from rulesearch import Result, load_pool, sweep
from rulesearch.errors import RuleSearchError
from rulesearch.notation import pool_to_plain
from rulesearch.records.documents import digest_of
from rulesearch.records.plain import from_plain
from rulesearch.runs import holds_run, is_finished
from rulesearch.search.config import LEVELS, Config
from rulesearch.sweep import Row, Swept
from rulesearch.sweep.planned import planned
from rulesearch.sweep.table import row_of

GRAMMAR = Path(__file__).parent.parent / "grammar"
POOLS = ("paper_pool", "hebbian", "monomials", "quadratic")
DATASETS = ("digits", "emnist", "mnist", "fashion-mnist")
SEEDS = (0, 1, 2)
CERTAIN = 0.025
#: Columns at least: a row is a line.
WIDTH = 150


def fails(row: Row) -> bool:
    """Whether a search ends worse than its reference, or diverges more often."""
    others = row.reference_diverged
    counts = [[row.diverged, row.lifetimes - row.diverged], [others, row.lifetimes - others]]
    more = stats.fisher_exact(counts, alternative="greater").pvalue < CERTAIN
    _, high = row.gained_interval
    return high is None or high < 0 or bool(more)


def show(found: Swept, console: Console) -> None:
    """The table of all rows, and which of them fail."""
    console.print(found)
    ended = [row for row in found.rows if not row.failed]
    failing = [row for row in ended if fails(row)]
    for row in failing:
        console.print(f"FAILS: {row.pool} {row.world} {row.seed}")
    console.print(f"{len(failing)} of {len(ended)} searches end worse than their reference.")


def told(row: Row, done: int, of: int) -> None:
    said = row.failed or ", ".join(row.support)
    print(f"{done} of {of}: {row.pool} {row.world} {row.seed}: {said}", file=sys.stderr, flush=True)


def ended(asked: argparse.Namespace) -> Swept:
    """What has ended of the searches that are asked for; nothing is run."""
    pools = {name: load_pool(GRAMMAR / f"{name}.py") for name in asked.pools}
    plan = planned(pools, asked.datasets, asked.seeds, {"effort": asked.effort})
    rows = []
    for each in plan:
        run = asked.runs / each.name
        if not (holds_run(run) and is_finished(run)):
            continue
        result, wanted = Result.load(run), each.config.resolved()
        theirs = from_plain(Config, result.config)
        for what, now, then in (
            ("pool", digest_of(pool_to_plain(pools[each.pool])), result.checksums.get("pool")),
            ("effort", wanted.effort, theirs.effort),
            ("seed", wanted.seed, theirs.seed),
            ("data set", wanted.dataset, theirs.dataset),
        ):
            if now != then:
                raise RuleSearchError(f"{run}: has another {what}; give another --runs")
        rows.append(row_of(each, pools[each.pool], result))
    return Swept(tuple(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, required=True, help="where the run directories are")
    parser.add_argument("--data-root", type=Path, help="of data sets in torchvision's layout")
    parser.add_argument("--pools", nargs="+", default=POOLS, help="names of grammar files")
    parser.add_argument("--datasets", nargs="+", default=DATASETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--effort", choices=[*LEVELS], default="normal")
    parser.add_argument("--executor", default="processes", help="as of rulesearch sweep")
    parser.add_argument("--workers", type=int, default=1, help="searches at a time")
    parser.add_argument("--read-only", action="store_true", help="only searches that have ended")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    asked = parser.parse_args(arguments)
    console = Console()
    console.width = max(console.width, WIDTH)
    if asked.read_only:
        found = ended(asked)
    else:
        found = sweep(
            [GRAMMAR / f"{name}.py" for name in asked.pools],
            worlds=asked.datasets,
            seeds=asked.seeds,
            out=asked.runs,
            executor=asked.executor,
            workers=asked.workers,
            watch=told,
            data_root=asked.data_root,
            effort=asked.effort,
        )
    show(found, console)
    if asked.json:
        rows = [asdict(row) | {"fails": fails(row)} for row in found.rows if not row.failed]
        text = json.dumps({"machine": machine(), "rows": rows}, indent=2)
        asked.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    end_with(main)
