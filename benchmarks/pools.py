"""What other pools cost beside the paper's ten terms: functions at every synapse, and spaces.

    python -m benchmarks.pools [--data-root DIR] [--threads N] [--lifetimes N] [--json FILE]

The work is that of `benchmarks.speed`, all by `fused` in float32, in one process and in turn:

- *ten terms*: the paper's pool, with the gradient of all, and forward only.
- *two functions*: the paper's pool and two functions at every synapse, `tanh(W*y_pre)` and
  `x/(1 + Abs(x))` of `W*y_pre`.
- *hebbian*: `grammar/hebbian.py`.
- *screening*: the paper's pool at work, and all terms of `grammar/space.py` beside it, which are
  zero and only differentiated.

Beside a screening stand the factors that its terms have on either side, how many of them the
products of Λ need, and the bound: the multiply-adds of these products, and of the pairs that are
left for each term, at the rate of a product of matrices that was measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.ending import end_with
from benchmarks.machine import cores, machine
from benchmarks.speed import QUICK, milliseconds, say, timed, times
from benchmarks.work import GRAMMAR, Setting, Work, work
from rulesearch import Pool, load_pool, run_lifetimes
from rulesearch.kernels import Batch
from rulesearch.kernels.fused import build
from rulesearch.kernels.fused.idle import idle_products
from rulesearch.kernels.fused.products import Products, factors
from rulesearch.lowering import Plan, lower_terms
from rulesearch.pathways import pathway

ROUNDS = 5
TWO_FUNCTIONS = {"T": "-tanh(W*y_pre)", "S": "W*y_pre/(1 + Abs(W*y_pre))"}
#: Coefficients: of the pseudo-gradient, and of all other terms.
LEADING, SMALL = 1e-3, 1e-7


@dataclass(frozen=True)
class Bound:
    """What the products of a screening are, for one lifetime.

    Attributes:
        terms: that are zero and differentiated.
        post: distinct factors on the post side.
        pre: distinct factors on the pre side.
        taken: factors of both sides that the products of Λ need, for each matrix.
        multiply_adds: of all products.
        seconds: of these at the measured rate.
    """

    terms: int
    post: int
    pre: int
    taken: tuple[int, ...]
    multiply_adds: float
    seconds: float


@dataclass(frozen=True)
class Report:
    """Everything of a run; seconds are of one lifetime, one number a round."""

    setting: str
    lifetimes: int
    prepared: Mapping[str, float]
    seconds: Mapping[str, tuple[float, ...]]
    bound: Bound


def theta_of(pool: Pool) -> Tensor:
    """Coefficients that let nothing explode."""
    theta = torch.full((len(pool),), SMALL)
    theta[list(pool.names).index(str(pool.pseudo_gradient))] = LEADING
    return theta


def bound_of(products: Products, given: Work, threads: int) -> Bound:
    """The bound of a screening of these lifetimes."""
    lit = float((given.train[0] != 0).sum(2, dtype=torch.float64).mean())
    kept = (given.train[0] != 0).any(1) | (given.query[0] != 0).any(1)
    ever = float(kept.sum(1, dtype=torch.float64).mean())
    total = 0.0
    for layer, weights in enumerate(given.weights):
        post, pre = weights.shape[1:]
        for one in products.passes:
            rows = pre if layer else lit if one.lit else ever
            total += rows * post * (len(one.dots) + len(one.gathers))
        for pair in products.pairs:
            total += post if pair.side == "post" else (pre if layer else ever)
    total *= given.train[0].shape[1]
    plan = products.schedule.plan
    taken = tuple(len(p.dots) + len(p.gathers) for p in products.passes if p.by_lambda)
    return Bound(
        len(plan.terms), *factors(plan), taken, total, total / multiply_adds_a_second(threads)
    )


def multiply_adds_a_second(threads: int) -> float:
    """Of a product of matrices in float32, the best of five."""
    a = torch.rand(1024, 1024)
    return 1024**3 / min(timed(lambda: a @ a, threads) for _ in range(5))


def run(setting: Setting, lifetimes: int, threads: int, rounds: int) -> Report:
    """Measure everything."""
    given = work(setting, 10, lifetimes)
    paper = {term.name: term.expression for term in given.pool.terms}
    say("loading grammar/space.py")
    space = load_pool(GRAMMAR.with_name("space.py"))

    def call(pool: Pool, theta: Tensor, gradient: bool = True) -> Callable[[], Tensor]:
        def once() -> Tensor:
            return run_lifetimes(
                pool,
                theta,
                given.weights,
                given.feedback,
                train=given.train,
                query=given.query,
                kernel="fused",
                gradient=gradient,
                keep_weights=False,
            ).loss

        return once

    every: dict[str, Any] = paper | TWO_FUNCTIONS
    two, hebbian = Pool(**every), load_pool(GRAMMAR.with_name("hebbian.py"))
    idle = lower_terms(space.terms)
    calls = {
        "ten terms": call(given.pool, given.theta),
        "ten terms, forward": call(given.pool, given.theta, False),
        "two functions": call(two, theta_of(two)),
        "hebbian": call(hebbian, theta_of(hebbian)),
        "screening": _screening(given, setting, idle),
    }
    prepared = {}
    for name, once in calls.items():
        say(f"compiling: {name}")
        begin = time.perf_counter()
        assert once().isfinite().all(), name
        prepared[name] = time.perf_counter() - begin
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for name, once in calls.items():
            seconds[name].append(timed(once, threads) / lifetimes)
    bound = bound_of(idle_products(idle), given, threads)
    return Report(
        str(setting), lifetimes, prepared, {n: tuple(s) for n, s in seconds.items()}, bound
    )


def _screening(given: Work, setting: Setting, idle: Plan) -> Callable[[], Tensor]:
    """The meta-gradient of a rule, and the derivatives by further terms."""
    path = pathway("random", len(setting.sizes) - 1)
    kernel = build(lower_terms(given.pool.terms), setting.sizes, path)
    shape = len(given), len(given.weights), len(given.pool)
    theta = given.theta.expand(shape).contiguous()
    batch = Batch(theta, given.weights, given.feedback, *given.train, *given.query)

    def once() -> Tensor:
        found = kernel(batch, gradient=range(len(given.pool)), idle=idle).idle
        assert found is not None
        return found

    return once


def show(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print("  ".join(f"{name} {value}" for name, value in machine().items()))
    console.print(f"{report.setting}; {report.lifetimes} lifetimes a call")
    made = Table("pool", box=box.MARKDOWN)
    for title in ("ms a lifetime", "times ten terms", "first call, s"):
        made.add_column(title, justify="right")
    base = report.seconds["ten terms"]
    for name, seconds in report.seconds.items():
        made.add_row(
            name,
            milliseconds(statistics.median(seconds)),
            times(seconds, base),
            f"{report.prepared[name]:.1f}",
        )
    console.print(made)
    bound = report.bound
    console.print(
        f"Screening: {bound.terms} terms of {bound.post} factors on the post side and {bound.pre} "
        f"on the pre side; the products of Λ need {', '.join(map(str, bound.taken))} of them for "
        f"each matrix. Bound: {bound.multiply_adds / 1e9:.2f} billion multiply-adds a lifetime, "
        f"{milliseconds(bound.seconds)} ms."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-root", type=Path, help="EMNIST, in torchvision's layout")
    parser.add_argument("--threads", type=int, default=cores(), help="(all cores)")
    parser.add_argument("--lifetimes", type=int, default=64, help="of a call (64)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    parser.add_argument("--quick", action="store_true", help="a small network, to see it run")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    setting = QUICK if asked.quick else Setting(asked.data_root)
    lifetimes, rounds = (2, 2) if asked.quick else (asked.lifetimes, ROUNDS)
    report = run(setting, lifetimes, asked.threads, rounds)
    show(report)
    if asked.json:
        text = json.dumps({"machine": machine()} | asdict(report), indent=2)
        asked.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    end_with(main)
