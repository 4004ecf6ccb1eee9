"""Speed and memory of the meta-gradient, against the loop that one would write by hand.

    python -m benchmarks.meta_gradient [--data-root DIR] [--threads N] [--json FILE]

The work: eight lifetimes of the paper's network (784-170-130-100-70-47, 250 steps of batch size
one, random feedback), and the gradient of each one's query loss with respect to the coefficients
of all ten terms, in float32. Rivals alternate in one run, because a shared machine changes its
speed by a fifth and more; what counts is the ratio within a round.

- `fused` and `einsum` are the project's kernels, on all eight lifetimes at once.
- `autograd` is plain PyTorch: the equations as they stand in the paper, one [post, pre] matrix a
  term, one lifetime after the other, the whole graph kept. It does two of the lifetimes in a
  round, in three of the rounds, and is reported by the lifetime like the others.

All have one thread, unless `--threads` gives more: the matrices are small, a search has its own
processes for the other cores, and on a shared machine torch's threads wait for one another (with
two threads on two cores that others used as well, einsum took 20 to 40 times as long).

Before anything is timed, the rivals must agree on the gradient. Peak memory is that of a process
of its own, above what it held before its first lifetime; autograd's is that of one lifetime.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.ending import end_with
from benchmarks.machine import machine, peak_mb_of, ratios
from benchmarks.rivals.in_torch import by_autograd, with_kernel
from benchmarks.work import Setting, Work, work

LIFETIMES = 8
ROUNDS = 5
#: Autograd is slow: it gets fewer lifetimes, and fewer rounds.
AUTOGRAD_LIFETIMES = 2
AUTOGRAD_ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """One rival's numbers.

    Attributes:
        lifetimes: in a round.
        first: seconds of the first round, compilation included.
        seconds: a lifetime, one number a round.
        peak_mb: of a process of its own, above what it held before.
    """

    lifetimes: int
    first: float
    seconds: tuple[float, ...]
    peak_mb: float


# --- the rivals -----------------------------------------------------------------------------------


def with_autograd(given: Work) -> Tensor:
    """The first lifetimes, one after the other."""
    return by_autograd(given.lifetimes(slice(AUTOGRAD_LIFETIMES)), gradient=True)()


RIVALS: Mapping[str, tuple[Callable[[Work], Tensor], int, int]] = {
    # name: function, lifetimes in a round, rounds
    "fused": (partial(with_kernel, "fused", gradient=True), LIFETIMES, ROUNDS),
    "einsum": (partial(with_kernel, "einsum", gradient=True), LIFETIMES, ROUNDS),
    "autograd": (with_autograd, AUTOGRAD_LIFETIMES, AUTOGRAD_ROUNDS),
}


# --- measuring ------------------------------------------------------------------------------------


def disagreement(gradients: Mapping[str, Tensor]) -> float:
    """The largest difference from autograd, in units of each term's largest derivative."""
    expected = gradients["autograd"]
    scale = expected.abs().amax(0)
    return max(
        float(((g[:AUTOGRAD_LIFETIMES] - expected).abs() / scale).max()) for g in gradients.values()
    )


def seconds_of(rival: Callable[[Work], Tensor], given: Work) -> tuple[float, Tensor]:
    begin = time.perf_counter()
    gradient = rival(given)
    return time.perf_counter() - begin, gradient


def peak_mb(name: str, root: Path | None, threads: int) -> float:
    """Megabytes that a rival takes, in a fresh process; compiled code is on disk by now."""
    command = [sys.executable, "-m", "benchmarks.meta_gradient", "--memory-of", name]
    command += ["--threads", str(threads)]
    command += ["--data-root", str(root)] if root else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def memory_of(name: str, root: Path | None) -> float:
    """In this process, which must be fresh."""
    given = work(Setting(root), lifetimes=LIFETIMES)
    if name == "fused":
        import rulesearch.kernels.fused  # noqa: F401, Numba is not what the lifetimes take
    return peak_mb_of(lambda: RIVALS[name][0](given))


def measure(root: Path | None, threads: int) -> tuple[dict[str, Measured], float]:
    """All rivals' numbers, and how far their gradients are apart."""
    given = work(Setting(root), lifetimes=LIFETIMES)
    firsts = {name: seconds_of(rival, given) for name, (rival, _, _) in RIVALS.items()}
    apart = disagreement({name: gradient for name, (_, gradient) in firsts.items()})
    seconds: dict[str, list[float]] = {name: [] for name in RIVALS}
    for round_ in range(ROUNDS):
        for name, (rival, lifetimes, rounds) in RIVALS.items():
            if round_ < rounds:
                seconds[name].append(seconds_of(rival, given)[0] / lifetimes)
    measured = {
        name: Measured(
            lifetimes, firsts[name][0], tuple(seconds[name]), peak_mb(name, root, threads)
        )
        for name, (_, lifetimes, _) in RIVALS.items()
    }
    return measured, apart


def show(measured: Mapping[str, Measured], apart: float, setting: Setting) -> None:
    # Where there is no terminal, rich assumes 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print("  ".join(f"{name} {value}" for name, value in machine().items()))
    table = Table(title=f"Meta-gradient of ten terms\n{setting}")
    for heading in ("", "s a lifetime", "least … largest", "rounds", "times fused", "peak MB"):
        table.add_column(heading, justify="left" if not heading else "right")
    base = measured["fused"].seconds
    for name, m in measured.items():
        middle, low, high = ratios(m.seconds, base)
        table.add_row(
            name,
            f"{statistics.median(m.seconds):.3g}",
            f"{min(m.seconds):.3g} … {max(m.seconds):.3g}",
            f"{len(m.seconds)} x {m.lifetimes}",
            "1" if name == "fused" else f"{middle:.3g} ({low:.3g} … {high:.3g})",
            f"{m.peak_mb:.0f}",
        )
    console.print(table)
    console.print(
        f"First call of fused, compilation or its cache included: {measured['fused'].first:.1f} s. "
        f"The gradients agree to {apart:.1e} of each term's largest."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-root", type=Path, help="EMNIST, in torchvision's layout")
    parser.add_argument("--threads", type=int, default=1, help="for all rivals (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    parser.add_argument("--memory-of", choices=RIVALS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.memory_of:
        print(memory_of(asked.memory_of, asked.data_root))
        return
    measured, apart = measure(asked.data_root, asked.threads)
    # float32 through 250 steps: what undoing and reordering may cost, and far below any mistake.
    if not apart < 1e-2:
        raise SystemExit(f"the gradients differ by {apart:.1e}: nothing here can be compared")
    setting = Setting(asked.data_root)
    show(measured, apart, setting)
    if asked.json:
        numbers = {name: asdict(m) for name, m in measured.items()}
        record = {
            "machine": machine(),
            "setting": str(setting),
            "disagreement": apart,
            "rivals": numbers,
        }
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    end_with(main)
