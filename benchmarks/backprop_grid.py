"""Is the backprop by SGD of a finished run as good as it can be on these images?

    python -m benchmarks.backprop_grid RUN

Runs backprop (the pseudo-gradient with a symmetric pathway) at nine rates on the very tasks of
the run's final evaluation, and sets the run's own rate beside the best of them, with the paired
difference in accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.ending import end_with
from rulesearch.data import load_data
from rulesearch.errors import RuleSearchError
from rulesearch.meta import lifetime_seeds
from rulesearch.notation import Pool
from rulesearch.notation.term import PSEUDO_GRADIENT
from rulesearch.population import Population
from rulesearch.records.plain import from_plain
from rulesearch.result import Result
from rulesearch.runs import open_run
from rulesearch.search.config import Config
from rulesearch.selection import Effort
from rulesearch.statistics import Scores, compare, measure

GRID = tuple(np.geomspace(0.01, 0.045, 9).tolist())


def backprop(config: Config) -> Population:
    """The pseudo-gradient alone on a symmetric pathway, on the images set aside."""
    data = load_data(config.dataset, config.data_root, shape=config.shape)
    return Population(
        Pool(F=PSEUDO_GRADIENT),
        data.held_out,
        config.shape,
        config.sizes(data.inputs, data.classes),
        "symmetric",
        config.kernel,
        config.device,
        config.torch_dtype(),
    )


def grid(run: Path) -> dict[float, Scores]:
    """Scores by rate on the run's evaluation tasks: the run's own rate first, then the grid."""
    config = from_plain(Config, open_run(run).options).resolved()
    rate = Result.load(run).evaluation["backprop_sgd"].rate
    if rate is None or not isinstance(config.effort, Effort):
        raise RuleSearchError(f"{run}: has no rate of backprop by SGD; make the run anew")
    seeds = lifetime_seeds(config.seed, "evaluation", 0, config.effort.evaluation_tasks)
    population = backprop(config)
    return {r: measure(population, (r,), seeds, population.outputs) for r in (rate, *GRID)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the grid.

    Raises:
        RuleSearchError: there is no such run.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args(arguments).run
    found = grid(run)
    own, *others = found
    table = Table("rate", "accuracy", "loss", "diverged")
    for rate, outcomes in found.items():
        table.add_row(
            f"{rate:.5f}{' (the run)' if rate == own else ''}",
            f"{np.mean(outcomes.accuracy):.4f}",
            f"{outcomes.mean_loss:.4f}",
            str(sum(outcomes.diverged)),
        )
    best = max(others, key=lambda r: float(np.mean(found[r].accuracy)))
    difference = compare(found[own], found[best], of="accuracy")
    low, high = difference.interval
    console = Console()
    console.print(table)
    console.print(
        f"the run's rate minus the best of nine ({best:.5f}): accuracy {difference.mean:+.4f} "
        f"(95 % interval {low:+.4f} to {high:+.4f})"
    )
    return 0


if __name__ == "__main__":
    end_with(main)
