"""How much of a search's answer hangs on its seed, its constants and its images.

    python -m benchmarks.stability --data-root DIR [--seeds 10] [--variants 2] [--out DIR]

Ten seeds of the EMNIST search of the paper's pool, as they come out; then, for the first seeds,
the same search with one constant of the protocol changed (parsimony, l1, the cap of the units),
and on MNIST and FashionMNIST, where nothing was tuned. Every run is kept under `--out` and read
back, so that an interrupted benchmark goes on where it was. Prints Markdown tables.

A changed search begins with what the plain one of the same seed has done and the change leaves as
it is (its baselines; with another parsimony also trials and the refit of the whole support). Its
final refits are two short ones: what is asked is which terms it selects.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ending import end_with
from rulesearch.data import load_data
from rulesearch.notation import load_pool
from rulesearch.result import Result
from rulesearch.runs import create_run, holds_run, is_finished, open_run, reading
from rulesearch.runs.kept import read_stage, stage_labels, write_stage
from rulesearch.search import Config, prepare, search
from rulesearch.search.request import settled
from rulesearch.search.whole import asked_of, record, refuse_other
from rulesearch.selection import Effort

PLAIN = "as it is"
#: What is changed -> the options that say so.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    "parsimony 1 %": {"parsimony": 0.01},
    "parsimony 2 %": {"parsimony": 0.02},
    "parsimony 10 %": {"parsimony": 0.10},
    "l1 0.03": {"l1": 0.03},
    "l1 0.1": {"l1": 0.1},
    "units not capped": {"largest_scale": 1e9},
    "MNIST": {"dataset": "mnist"},
    "FashionMNIST": {"dataset": "fashion-mnist"},
}
#: What selects is the same as in the plain search; coefficients are not asked for.
SELECTION_ONLY = Effort(final_refits=2, final_steps=20, mean_steps=0)
#: Stages, by the beginning of their labels, that do not depend on what is changed.
BASELINES = (
    *("backprop by ", "feedback alignment/"),
    *("evaluation/backprop by ", "evaluation/feedback alignment"),
)
SHARED: Mapping[str, tuple[str, ...]] = {
    "parsimony": (*BASELINES, "trial ", "elimination/full", "elimination/reference"),
    "l1": BASELINES,
    "largest_scale": BASELINES,
}


def found(out: Path, variant: str, seed: int, grammar: Path, **options: Any) -> Result:
    """The result of one search: read back where it is there, else run and kept."""
    run = out / f"{variant.replace(' ', '-').replace('%', 'percent')}-seed{seed}"
    changed = VARIANTS[variant]
    pool = load_pool(grammar)
    # What is varied are constants of this protocol.
    given = {"dataset": "emnist", "protocol": "robust", **options, **changed, "seed": seed}
    if changed:
        given.setdefault("effort", SELECTION_ONLY)
    config = Config(**given)
    data = load_data(config.dataset, config.data_root, shape=config.shape)
    if holds_run(run):
        asked, resolved, worlds = settled(pool, data, config)
        now = asked_of(asked, resolved, [world.data for world in worlds])
        refuse_other(now, open_run(run), str(run))
        if is_finished(run):
            return Result.load(run)
    else:
        create_run(run, record(prepare(pool, data, config)))
        plain = out / f"{PLAIN.replace(' ', '-')}-seed{seed}"
        for option in set(changed) & set(SHARED):
            _share_stages(plain, run, SHARED[option])
    return search(pool, data, config, run=run)


def _share_stages(plain: Path, run: Path, labels: tuple[str, ...]) -> None:
    """Copy what the plain search of the same seed has done and the change leaves as it is."""
    if not (plain / "config.json").exists():
        return
    begun, changed = reading(plain), reading(run)
    for label in stage_labels(begun):
        if label.startswith(labels):
            write_stage(changed, label, read_stage(begun, label, dict[str, Any]))


def row(result: Result) -> str:
    """One search as a row of a Markdown table; nan where a number was not finite."""
    rule = result.evaluation["rule"]
    low, high = rule.accuracy_interval
    dropped = [s for s in result.elimination if s.kept]
    ahead = [_number(s.share_of_gain) for s in result.elimination[-2:] if not s.kept]
    diverged = rule.diverged + sum(trial.diverged_lifetimes for trial in result.trials)
    cells = [
        ", ".join(result.support),
        f"{_number(rule.accuracy):.3f} [{_number(low):.3f}, {_number(high):.3f}]",
        f"{_number(result.evaluation['backprop_sgd'].accuracy):.3f}",
        f"{_number(result.evaluation['backprop_adam'].accuracy):.3f}",
        f"{_number(result.evaluation['feedback_alignment'].accuracy):.3f}",
        ", ".join(f"{s.dropped} {_number(s.share_of_gain):.1%}" for s in dropped) or "none",
        f"{min(ahead, default=math.nan):.1%}",
        str(diverged),
        f"{_number(result.seconds):.0f}",
    ]
    return " | ".join(cells)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


COLUMNS = (
    "rule | accuracy (95 %) | backprop by SGD | by Adam | feedback alignment | "
    "dropped, cumulative cost | next drop | diverged | seconds"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing and print the tables; where it was interrupted, exit code 130."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--grammar", type=Path, default=Path("grammar/paper_pool.py"))
    parser.add_argument("--seeds", type=int, default=10, help="of the plain search (10)")
    parser.add_argument("--variants", type=int, default=2, help="seeds of every variant (2)")
    parser.add_argument("--out", type=Path, default=Path("runs/stability"))
    parser.add_argument("--meta-steps", type=int, help="of a trial, for a quick look")
    given = parser.parse_args(arguments)
    options: dict[str, Any] = {"data_root": given.data_root}
    if given.meta_steps:
        options["meta_steps"] = given.meta_steps
    asked = [
        *((PLAIN, seed) for seed in range(given.seeds)),
        *((v, seed) for v in VARIANTS if v != PLAIN for seed in range(given.variants)),
    ]
    print(f"| search | seed | {COLUMNS} |\n|{'---|' * 11}")
    try:
        for variant, seed in asked:
            result = found(given.out, variant, seed, given.grammar, **options)
            print(f"| {variant} | {seed} | {row(result)} |", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on from {given.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    end_with(main)
