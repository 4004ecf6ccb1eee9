"""The command as tests run it: in a process of its own, or with a search that takes a moment."""

import subprocess
import sys
from pathlib import Path

from rulesearch.search import Config, config
from rulesearch.selection import Effort

ROOT = Path(__file__).parents[1]
PAPER = str(ROOT / "grammar" / "paper_pool.py")

TINY = Effort(
    common_tasks=4,
    ranking_tasks=2,
    full_steps=2,
    full_rounds=2,
    refit_steps=2,
    final_refits=2,
    final_steps=1,
    mean_steps=1,
    baseline_steps=2,
    baseline_tasks=2,
    evaluation_tasks=4,
)
SMALL = Config(
    layers=(6,),
    ways=2,
    shots=3,
    queries=2,
    meta_steps=3,
    meta_batch=2,
    trials=2,
    kernel="einsum",
    effort=TINY,
)
SMALL_FLAGS = [
    *("--layers", "6", "--ways", "2", "--shots", "3", "--queries", "2"),
    *("--meta-steps", "3", "--meta-batch", "2", "--kernel", "einsum"),
]


def small_defaults(patch, effort, dataset="digits"):
    """What a search of a data set runs unless more is asked for, whatever its protocol, made small.

    Args:
        patch: pytest's `monkeypatch`.
        effort: in place of the defaults.
        dataset: whose.
    """
    patch.setitem(config.EASIER, dataset, (3, effort))
    patch.setattr(config, "QUICKER", effort)


def python(*arguments, cwd=ROOT, **variables):
    """A Python of its own, with the package importable."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
