"""Is the backprop by SGD of a finished run as good as it can be on these images?

    python -m benchmarks.backprop_grid RUN

Runs backprop (the pseudo-gradient with a symmetric pathway) at eight rates around the run's own on
the very tasks of its final evaluation, and sets the run's own beside the best of them, with the
paired difference in accuracy. Which is the best is decided on other tasks of the same images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.ending import end_with
from rulesearch.errors import RuleSearchError
from rulesearch.meta import lifetime_seeds
from rulesearch.result import Result
from rulesearch.search.compared import baselines
from rulesearch.search.reproducing import asked_again
from rulesearch.search.request import prepare
from rulesearch.search.worlds import data_of
from rulesearch.selection import Effort
from rulesearch.statistics import Scores, compare, measure

#: Rates that are tried, times the run's own; none of them is 1.
FACTORS = tuple(np.geomspace(0.5, 2.0, 8).tolist())


def grid(run: Path) -> tuple[float, dict[float, Scores]]:
    """The best of the grid, and scores by rate on the run's evaluation tasks.

    The run's own rate comes first. The best is chosen on as many other tasks of the same images.

    Raises:
        RuleSearchError: there is no such run, or it is of several worlds.
    """
    result = Result.load(run)
    pool, config = asked_again(result, {})
    rate = result.evaluation["backprop_sgd"].rate
    if rate is None or not isinstance(config.effort, Effort) or len(config.worlds) > 1:
        raise RuleSearchError(f"{run}: has no rate of backprop by SGD in one world")
    request = prepare(pool, data_of(config), config)
    population = baselines(request, request.worlds[0])["backprop_sgd"].set_aside
    tasks = config.effort.evaluation_tasks

    def scores(of: Iterable[float], label: str) -> dict[float, Scores]:
        seeds = lifetime_seeds(config.seed, label, 0, tasks)
        return {r: measure(population, (r,), seeds, population.outputs) for r in of}

    rates = [rate * factor for factor in FACTORS]
    tried = scores(rates, "grid")
    best = max(rates, key=lambda r: float(np.mean(tried[r].accuracy)))
    return best, scores((rate, *rates), "evaluation")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the grid.

    Raises:
        RuleSearchError: there is no such run.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args(arguments).run
    best, found = grid(run)
    own, *others = found
    table = Table("rate", "accuracy", "loss", "diverged")
    for rate, outcomes in found.items():
        table.add_row(
            f"{rate:.5f}{' (the run)' if rate == own else ''}",
            f"{np.mean(outcomes.accuracy):.4f}",
            f"{outcomes.mean_loss:.4f}",
            str(sum(outcomes.diverged)),
        )
    difference = compare(found[own], found[best], of="accuracy")
    low, high = difference.interval
    console = Console()
    console.print(table)
    console.print(
        f"the run's rate minus the best of {len(others)} ({best:.5f}"
        f"{', the edge' * (best in (others[0], others[-1]))}), chosen on other tasks: accuracy "
        f"{difference.mean:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
    )
    return 0


if __name__ == "__main__":
    end_with(main)
