"""Searches of several pools, data sets and seeds, each beside its reference.

    python -m benchmarks.searches --runs DIR [--data-root DIR] [--pools P ...] [--datasets D ...]
        [--seeds N ...] [--effort quick] [--read-only] [--json FILE]

Every search is a run directory under DIR: made anew, gone on with, or read if it has ended, so the
command can be stopped at any time and given again. A row says what was chosen, and what it and its
reference do on images set aside: feedback alignment at its best rate where the pool begins with
that term, else no training. A search fails where its rule has more loss than the reference by the
paired 95 % interval, or diverges in more lifetimes by Fisher's exact test (one-sided, 2.5 %).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.machine import machine
from rulesearch import Config, Result, load_data, load_pool, search
from rulesearch.notation.term import PSEUDO_GRADIENT
from rulesearch.runs import holds_run, is_finished
from rulesearch.search.config import LEVELS

GRAMMAR = Path(__file__).parent.parent / "grammar"
POOLS = ("paper_pool", "hebbian", "monomials", "quadratic")
DATASETS = ("digits", "emnist", "mnist", "fashion-mnist")
SEEDS = (0, 1, 2)
CERTAIN = 0.025
#: Columns at least: a row is a line.
WIDTH = 150


@dataclass(frozen=True)
class Row:
    """What came out of one search.

    Attributes:
        pool: name of the grammar file,
        dataset: searched on,
        seed: and of the search.
        support: of the rule chosen.
        accuracy: of the rule on images set aside,
        loss: and its query loss, nats.
        reference: what it is compared with.
        gained: how much less loss the rule has than the reference, nats,
        low: lower end of the paired 95 % interval of that,
        high: and upper end.
        lifetimes: of the evaluation.
        diverged: of these with the rule,
        reference_diverged: and with the reference.
        fails: whether the rule is worse than its reference, or diverges more often.
        gradient: lifetimes with derivatives of the whole search,
        forward: and without.
        seconds: that the search took.
    """

    pool: str
    dataset: str
    seed: int
    support: tuple[str, ...]
    accuracy: float
    loss: float
    reference: str
    gained: float
    low: float
    high: float
    lifetimes: int
    diverged: int
    reference_diverged: int
    fails: bool
    gradient: int
    forward: int
    seconds: float


def row_of(pool: str, begins_with_it: bool, result: Result) -> Row:
    """The row of a finished search.

    Args:
        pool: name of the grammar file.
        begins_with_it: whether the pool's reference is the pseudo-gradient.
        result: of the search.
    """
    rule = result.evaluation["rule"]
    reference = "feedback_alignment" if begins_with_it else "untrained"
    rival = result.evaluation[reference] if begins_with_it else None
    gained, interval = (rival or rule).gained, (rival or rule).gained_interval
    others = rival.diverged if rival else 0
    low, high = (float("nan") if end is None else end for end in interval)
    counts = [[rule.diverged, rule.lifetimes - rule.diverged], [others, rule.lifetimes - others]]
    more = stats.fisher_exact(counts, alternative="greater").pvalue < CERTAIN
    return Row(
        pool=pool,
        dataset=result.config["dataset"],
        seed=result.config["seed"],
        support=result.support,
        accuracy=rule.accuracy or 0.0,
        loss=rule.loss if rule.loss is not None else float("inf"),
        reference=reference,
        gained=float("nan") if gained is None else gained,
        low=low,
        high=high,
        lifetimes=rule.lifetimes,
        diverged=rule.diverged,
        reference_diverged=others,
        fails=not high >= 0 or bool(more),
        gradient=result.lifetimes["gradient"],
        forward=result.lifetimes["forward"],
        seconds=result.seconds or 0.0,
    )


def show(rows: Sequence[Row], console: Console) -> None:
    """The table of all rows, as they came out."""
    table = Table("pool", "data", "seed", "rule", "accuracy", "loss", box=box.SIMPLE)
    for name in ("less loss than the reference", "diverged", "lifetimes", "seconds", ""):
        table.add_column(name)
    for row in rows:
        rule = ", ".join(row.support) if len(row.support) < 7 else f"{len(row.support)} terms"
        table.add_row(
            row.pool,
            row.dataset,
            str(row.seed),
            rule,
            f"{row.accuracy:.3f}",
            f"{row.loss:.3f}",
            f"{row.gained:.3f} [{row.low:.3f}, {row.high:.3f}]",
            f"{row.diverged} and {row.reference_diverged} of {row.lifetimes}",
            f"{row.gradient:,} + {row.forward:,}",
            f"{row.seconds:.0f}",
            "FAILS" if row.fails else "",
        )
    console.print(table)
    failing = sum(row.fails for row in rows)
    console.print(f"{failing} of {len(rows)} searches end worse than their reference.")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, required=True, help="where the run directories are")
    parser.add_argument("--data-root", type=Path, help="of data sets in torchvision's layout")
    parser.add_argument("--pools", nargs="+", default=POOLS, help="names of grammar files")
    parser.add_argument("--datasets", nargs="+", default=DATASETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--effort", choices=[*LEVELS], default="normal")
    parser.add_argument("--read-only", action="store_true", help="only searches that have ended")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    asked = parser.parse_args(arguments)
    console, rows = Console(), []
    console.width = max(console.width, WIDTH)
    for dataset, name, seed in product(asked.datasets, asked.pools, asked.seeds):
        run = asked.runs / f"{name}-{dataset}-{seed}"
        if asked.read_only and not (holds_run(run) and is_finished(run)):
            continue
        pool = load_pool(GRAMMAR / f"{name}.py")
        if asked.read_only:
            result = Result.load(run)
        else:
            config = Config(
                dataset=dataset, data_root=asked.data_root, seed=seed, effort=asked.effort
            )
            data = load_data(dataset, asked.data_root, shape=config.shape)
            result = search(pool, data, config, run=run)
        begins_with_it = pool.terms[pool.names.index(pool.reference)].expression == PSEUDO_GRADIENT
        rows.append(row_of(name, begins_with_it, result))
        if not asked.read_only:
            show(rows[-1:], console)
    show(rows, console)
    if asked.json:
        text = json.dumps({"machine": machine(), "rows": [*map(asdict, rows)]}, indent=2)
        asked.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
