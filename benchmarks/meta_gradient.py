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
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from rulesearch import Pool, TaskShape, draw_tasks, load_data, load_pool, run_lifetimes
from rulesearch.data import ImageSet
from rulesearch.lifetime import KernelName
from rulesearch.population import Population

GRAMMAR = Path(__file__).parents[1] / "grammar" / "paper_pool.py"
SIZES = (784, 170, 130, 100, 70, 47)
SHAPE = TaskShape(ways=5, shots=50, queries=10)
SEEDS = tuple(range(8))
ROUNDS = 5
#: Autograd is slow: it gets fewer lifetimes, and fewer rounds.
AUTOGRAD_LIFETIMES = 2
AUTOGRAD_ROUNDS = 3
BETA = 10.0
STATUS = Path("/proc/self/status")


@dataclass(frozen=True, eq=False)
class Work:
    """What all rivals are given; tensors as `run_lifetimes` takes them."""

    pool: Pool
    theta: Tensor
    weights: list[Tensor]
    feedback: list[Tensor]
    train: tuple[Tensor, Tensor]
    query: tuple[Tensor, Tensor]


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


# --- the work -------------------------------------------------------------------------------------


def made_up_images() -> ImageSet:
    """Random images as sparse as EMNIST's: 664 pixels are ever lit, 260 of them in one image."""
    rng = np.random.default_rng(0)
    classes, each = SIZES[-1], SHAPE.per_class
    ever = rng.permutation(SIZES[0])[:664]
    x = np.zeros((classes * each, SIZES[0]), dtype=np.float32)
    for image in x:
        image[rng.choice(ever, 260, replace=False)] = rng.uniform(0, 1, 260)
    labels = np.repeat(np.arange(classes), each)
    starts = np.arange(classes + 1) * each
    return ImageSet("random", "random", classes, x, labels, np.arange(len(x)), starts)


def work(root: Path | None) -> Work:
    """Tasks, weights and feedback from fixed seeds; coefficients that let nothing explode."""
    images = load_data("emnist", root, shape=SHAPE).search if root else made_up_images()
    pool = load_pool(GRAMMAR)
    theta = torch.full((len(pool),), 1e-5)
    theta[0] = 1e-3
    weights, feedback = Population(pool, images, SHAPE, SIZES).networks(SEEDS)
    assert not isinstance(feedback, str)
    tasks = draw_tasks(images, SHAPE, SEEDS)
    train, query = (tasks.x, tasks.labels), (tasks.query_x, tasks.query_labels)
    return Work(pool, theta, weights, feedback, train, query)


# --- the rivals -----------------------------------------------------------------------------------


def with_kernel(kernel: KernelName) -> Callable[[Work], Tensor]:
    """All lifetimes by one of the project's kernels."""

    def gradients(given: Work) -> Tensor:
        out = run_lifetimes(
            given.pool,
            given.theta,
            given.weights,
            given.feedback,
            train=given.train,
            query=given.query,
            kernel=kernel,
            gradient=True,
            keep_weights=False,
        )
        assert out.gradient is not None
        return out.gradient

    return gradients


def softplus(z: Tensor) -> Tensor:
    return torch.logaddexp(BETA * z, torch.zeros_like(z)) / BETA


def terms_by_hand(
    W: Tensor, y_pre: Tensor, e_pre: Tensor, y_post: Tensor, e_post: Tensor
) -> tuple[Tensor, ...]:
    """The ten terms of the paper's section 4.2, a matrix [post, pre] each."""
    feedback = y_post @ (W @ e_pre)
    return (
        -torch.outer(e_post, y_pre),
        -torch.outer(y_post, e_pre),
        -torch.outer(e_post, e_pre),
        -W,
        -torch.outer(torch.ones_like(e_post), e_pre),
        -torch.outer(e_post * y_post.sum(), y_pre),
        -torch.outer(y_post * feedback, e_pre),
        -torch.outer(e_post * feedback, y_pre),
        -torch.outer(y_post * (y_pre @ (W.T @ e_post)), e_pre),
        torch.outer(y_post, y_pre) - torch.outer(y_post, y_post @ W),
    )


def one_lifetime(given: Work, lifetime: int) -> Tensor:
    """The gradient of one lifetime [terms], by autograd through the unrolled loop."""
    theta = given.theta.clone().requires_grad_()
    weights = [w[lifetime] for w in given.weights]
    feedback = [b[lifetime] for b in given.feedback]
    for x, label in zip(given.train[0][lifetime], given.train[1][lifetime], strict=True):
        y = [x]
        for w in weights[:-1]:
            y.append(softplus(w @ y[-1]))
        y.append(torch.softmax(weights[-1] @ y[-1], 0))
        e = [y[-1] - torch.nn.functional.one_hot(label, len(y[-1]))]
        for b, activity in zip(reversed(feedback), reversed(y[:-1]), strict=True):
            e.insert(0, (b @ e[0]) * (1 - torch.exp(-BETA * activity)))
        new = []
        for i, w in enumerate(weights):
            for coefficient, term in zip(
                theta, terms_by_hand(weights[i], y[i], e[i], y[i + 1], e[i + 1]), strict=True
            ):
                w = w + coefficient * term
            new.append(w)
        weights = new
    activity = given.query[0][lifetime]
    for w in weights[:-1]:
        activity = softplus(activity @ w.T)
    loss = torch.nn.functional.cross_entropy(activity @ weights[-1].T, given.query[1][lifetime])
    (gradient,) = torch.autograd.grad(loss, theta)
    return gradient


def with_autograd(given: Work) -> Tensor:
    """The first lifetimes, one after the other."""
    return torch.stack([one_lifetime(given, i) for i in range(AUTOGRAD_LIFETIMES)])


RIVALS: Mapping[str, tuple[Callable[[Work], Tensor], int, int]] = {
    # name: function, lifetimes in a round, rounds
    "fused": (with_kernel("fused"), len(SEEDS), ROUNDS),
    "einsum": (with_kernel("einsum"), len(SEEDS), ROUNDS),
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


def resident_mb(what: str) -> float:
    """Memory of this process: VmRSS now, or VmHWM at its highest since `forget_highest`."""
    if not STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    (line,) = (s for s in STATUS.read_text().splitlines() if s.startswith(what))
    return float(line.split()[1]) / 2**10


def forget_highest() -> None:
    """Linux hands ru_maxrss on to child processes, so it is not the one that is read there."""
    if STATUS.exists():
        STATUS.with_name("clear_refs").write_text("5")


def peak_mb(name: str, root: Path | None, threads: int) -> float:
    """Megabytes that a rival takes, in a fresh process; compiled code is on disk by now."""
    command = [sys.executable, "-m", "benchmarks.meta_gradient", "--memory-of", name]
    command += ["--threads", str(threads)]
    command += ["--data-root", str(root)] if root else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def memory_of(name: str, root: Path | None) -> float:
    """In this process, which must be fresh."""
    given = work(root)
    if name == "fused":
        import rulesearch.kernels.fused  # noqa: F401, Numba is not what the lifetimes take
    forget_highest()
    before = resident_mb("VmRSS")
    RIVALS[name][0](given)
    return resident_mb("VmHWM") - before


def measure(root: Path | None, threads: int) -> tuple[dict[str, Measured], float]:
    """All rivals' numbers, and how far their gradients are apart."""
    given = work(root)
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


def ratios(numbers: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and largest of the ratios within a round."""
    paired = [a / b for a, b in zip(numbers, base, strict=False)]
    return statistics.median(paired), min(paired), max(paired)


def machine() -> dict[str, str]:
    """What the numbers depend on besides the code."""
    import numba

    model = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        named = [line for line in listing.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(": ")[2] if named else model
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
    }


def show(measured: Mapping[str, Measured], apart: float, data: str) -> None:
    # Where there is no terminal, rich assumes 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print("  ".join(f"{name} {value}" for name, value in machine().items()))
    network = "-".join(map(str, SIZES))
    table = Table(
        title=f"Meta-gradient of ten terms, {network}, {SHAPE.ways * SHAPE.shots} steps\n{data}"
    )
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
    data = "EMNIST" if asked.data_root else "random images as sparse as EMNIST's"
    show(measured, apart, data)
    if asked.json:
        numbers = {name: asdict(m) for name, m in measured.items()}
        record = {"machine": machine(), "data": data, "disagreement": apart, "rivals": numbers}
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
