"""What each exact saving of the fused kernel is worth, and whether forward mode would be a saving.

    python -m benchmarks.savings [--data-root DIR] [--threads N] [--rounds 7] [--json FILE]

The work: eight lifetimes at a time of the paper's network, float32, on EMNIST's tasks and on those
of scikit-learn's digits. Every saving is a pair of ways to compute the same numbers, which are
compared before anything is timed; ways alternate within a round, and ratios are taken within a
round. The savings:

- *Dark pixels of a step skipped*: rows of the first layer's matrices whose pixel is zero in the
  image at hand.
- *Dark columns left out*: pixels that are zero throughout a task. They are kept in by a query
  image that has 1e-12 there: too little to change a float32, and every other saving stays on.
- *Terms without a coefficient not computed*: a rule of three terms by the kernel of its own three,
  or by that of all ten (`compile_for`).
- *Derivatives not asked for not computed*: of ten terms with a coefficient, three or all of them.
- *No gradient*: nothing kept for the adjoint, and no adjoint.

Forward mode would carry, for each coefficient θ_r of k, a tangent W' = dW/dθ_r of the size of W
through the same two passes: W' is read and written as W is, and its step has every product that the
step of W has (W'y for Wy, Be' for Be, the outer products with u' for those with u) and further ones
(Wy', those with v'). It needs no tape. So it costs (1 + k) forward lifetimes at least, less what W
and W' share: reading B, and the exponentials. An estimate is measured: `widened` is the time of
the forward pass through a network with every other layer 1 + k times as wide, so that each matrix,
B too, has 1 + k times the entries, in one core's cache at once. Forward mode hardly wins where the
gradient by the adjoint takes less, and need not win there: with 260 of 784 pixels lit, a tangent
of F0 has 1.4 times the products of its forward pass. Long lifetimes repeat the steps of a task;
there are as many at once as threads. Memory is that of one lifetime's first call in a process of
its own, once compiled, above what it held before.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.ending import end_with
from benchmarks.machine import cores, machine, peak_mb_of, ratios
from benchmarks.speed import AGREES, QUICK, disagreement, milliseconds, say, timed, times
from benchmarks.work import Setting, Work, pool_of, work
from rulesearch.kernels import Batch, KernelOutput
from rulesearch.kernels.fused import FusedKernel, build
from rulesearch.lowering import lower_terms
from rulesearch.network import initial_weights
from rulesearch.pathways import initial_feedback, pathway

ROUNDS = 7
LIFETIMES = 8
TEN, THREE = pool_of(10).names, pool_of(3).names
#: Rules of one and two terms that the paper has: the pseudo-gradient, eHebb, Oja.
SMALL_RULES = (("F0",), ("F0", "F2"), ("F0", "F9"))
STEPS = (250, 5000)
DIGITS = Setting(sizes=(64, 170, 130, 100, 70, 10), dataset="digits")
#: A check that everything runs, not a measurement.
QUICK_DIGITS = replace(QUICK, dataset="digits")
QUICK_STEPS = (20, 60)
#: What makes a pixel count as lit, and adds to no sum: far below a rounding error of float32, far
#: above its smallest number, near which arithmetic is slow.
GLIMMER = 1e-12

Run = Callable[[], KernelOutput]
Key = TypeVar("Key")


@dataclass(frozen=True)
class Way:
    """A way to run lifetimes by the fused kernel.

    Attributes:
        plan: terms that the kernel is made for.
        rule: those of them that have a coefficient.
        asked: those of them to differentiate; none: forward only.
        pixels: which are computed with: `all`; in each step those that are `lit`, of all; or
            `fewest`, the same of those that are lit in any image of the task.
    """

    plan: tuple[str, ...]
    rule: tuple[str, ...]
    asked: tuple[str, ...]
    pixels: Literal["all", "lit", "fewest"] = "fewest"


@dataclass(frozen=True)
class Saving:
    """A pair of ways that differ by one saving."""

    name: str
    off: Way
    on: Way


def _savings() -> Iterator[Saving]:
    for rule in (TEN, THREE):
        for asked in (rule, ()):
            everything, lit = Way(rule, rule, asked, "all"), Way(rule, rule, asked, "lit")
            fewest = Way(rule, rule, asked)
            yield Saving("dark pixels of a step skipped", everything, lit)
            yield Saving("dark columns left out", lit, fewest)
            yield Saving("both", everything, fewest)
    for asked in (THREE, ()):
        by_ten, by_three = Way(TEN, THREE, asked), Way(THREE, THREE, asked)
        yield Saving("terms without a coefficient not computed", by_ten, by_three)
    of_all, of_three = Way(TEN, TEN, TEN), Way(TEN, TEN, THREE)
    yield Saving("derivatives not asked for not computed", of_all, of_three)
    for rule in (TEN, THREE):
        yield Saving("no gradient", Way(rule, rule, rule), Way(rule, rule, ()))


SAVINGS = tuple(_savings())
WAYS = tuple(dict.fromkeys(way for s in SAVINGS for way in (s.off, s.on)))


@dataclass(frozen=True)
class Paired:
    """A saving as it was measured.

    Attributes:
        saving: the pair.
        off: seconds a lifetime without it, one number a round.
        on: with it.
    """

    saving: Saving
    off: tuple[float, ...]
    on: tuple[float, ...]


@dataclass(frozen=True)
class Modes:
    """What decides between forward mode and the adjoint for one rule; seconds a lifetime by round.

    Attributes:
        rule: its terms, all of them differentiated.
        steps: of a lifetime.
        forward: forward only.
        adjoint: with the gradient, as the kernel gets it.
        widened: forward only, every matrix 1 + len(rule) times as large.
    """

    rule: tuple[str, ...]
    steps: int
    forward: tuple[float, ...]
    adjoint: tuple[float, ...]
    widened: tuple[float, ...]

    @property
    def bound(self) -> tuple[float, float, float]:
        """What forward mode takes at least over the adjoint: median, least and largest."""
        return ratios(self.widened, self.adjoint)


@dataclass(frozen=True)
class Report:
    """Everything of a run.

    Attributes:
        savings: by what lifetimes come from.
        apart: largest difference between ways, in units of each term's largest derivative, or of
            the largest loss.
        modes: of the first setting.
        peaks: megabytes of a lifetime of F0 by its steps, forward only and with the gradient.
    """

    savings: Mapping[Setting, tuple[Paired, ...]]
    apart: Mapping[Setting, float]
    modes: tuple[Modes, ...]
    peaks: Mapping[int, tuple[float, float]]


# --- ways to run lifetimes ------------------------------------------------------------------------


@lru_cache
def _kernel(plan: tuple[str, ...], sizes: tuple[int, ...]) -> FusedKernel:
    terms = tuple(term for term in pool_of(10).terms if term.name in plan)
    return build(lower_terms(terms), sizes, pathway("random", len(sizes) - 1))


def _batch(way: Way, given: Work) -> Batch:
    """What the kernel of a way is given."""
    coefficient = dict(zip(given.pool.names, given.theta, strict=True))
    theta = torch.stack([coefficient[name] * (name in way.rule) for name in way.plan])
    query_x = given.query[0]
    if way.pixels == "lit":
        dark = ~((given.train[0] != 0).any(1) | (query_x != 0).any(1))
        query_x = query_x.clone()
        query_x[:, 0] += GLIMMER * dark
    return Batch(
        theta.expand(len(given), len(given.weights), -1),
        given.weights,
        given.feedback,
        *given.train,
        query_x,
        given.query[1],
    )


def prepared(way: Way, given: Work) -> Run:
    """Lifetimes in one way, compiled."""
    sizes = (given.train[0].shape[2], *(w.shape[1] for w in given.weights))
    kernel = replace(_kernel(way.plan, sizes), skips=way.pixels != "all")
    asked = tuple(way.plan.index(name) for name in way.asked)

    def run(batch: Batch) -> KernelOutput:
        return kernel(batch, gradient=asked)

    run(_batch(way, given.lifetimes(slice(1)).steps(2)))
    batch = _batch(way, given)
    return lambda: run(batch)


def difference(saving: Saving, off: KernelOutput, on: KernelOutput) -> float:
    """How far the two ways are apart: in the loss, and in the derivatives that both give."""
    found = disagreement(on.loss, off.loss)
    both = [name for name in saving.off.asked if name in saving.on.asked]
    if both and off.gradient is not None and on.gradient is not None:
        one, other = (
            out.sum(1)[:, [way.plan.index(name) for name in both]]
            for way, out in ((saving.off, off.gradient), (saving.on, on.gradient))
        )
        # Not max(found, ...): NaN must not get lost.
        found = float(torch.tensor([found, disagreement(other, one)]).max())
    return found


def widened_sizes(sizes: Sequence[int], factor: int) -> tuple[int, ...]:
    """Every other layer so many times as wide: each matrix has as many times the entries.

    Example:
        >>> widened_sizes((784, 170, 130, 47), 2)
        (784, 340, 130, 94)
    """
    return tuple(size * factor if layer % 2 else size for layer, size in enumerate(sizes))


def widened(given: Work, factor: int) -> Work:
    """The same tasks for networks whose matrices have `factor` times the entries."""
    sizes = (given.train[0].shape[2], *(w.shape[1] for w in given.weights))
    wide = widened_sizes(sizes, factor)
    path = pathway("random", len(given.weights))
    weights = [initial_weights(wide, 2 * seed) for seed in range(len(given))]
    feedback = [initial_feedback(path, wide, 2 * seed + 1) or [] for seed in range(len(given))]
    return replace(
        given,
        weights=[torch.stack(layer) for layer in zip(*weights, strict=True)],
        feedback=[torch.stack(layer) for layer in zip(*feedback, strict=True)],
    )


def lengthened(given: Work, steps: int) -> Work:
    """Lifetimes of so many steps: those of the task again and again."""
    x, labels = given.train
    which = torch.arange(steps) % x.shape[1]
    return replace(given, train=(x[:, which], labels[:, which]))


# --- measuring ------------------------------------------------------------------------------------


def measure(
    runs: Mapping[Key, Run], lifetimes: int, rounds: int, threads: int
) -> dict[Key, tuple[float, ...]]:
    """Seconds a lifetime, one number a round; runs alternate within a round.

    Each is called twice and timed once: the kernel keeps a thread's memory while calls are alike,
    and what stands before a call here is another way, whose memory would be given back first.
    """
    gc.collect()
    gc.freeze()  # what compilers keep need not be looked through before every call
    seconds: dict[Key, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            timed(lambda run=run: run().loss, threads)  # type: ignore[misc]
            seconds[key].append(timed(lambda run=run: run().loss, threads) / lifetimes)  # type: ignore[misc]
    return {key: tuple(numbers) for key, numbers in seconds.items()}


def measure_savings(
    setting: Setting, rounds: int, threads: int
) -> tuple[tuple[Paired, ...], float]:
    """Every saving, and the largest difference between two ways.

    Raises:
        SystemExit: a saving changes the numbers.
    """
    say(f"savings: compiling and comparing, {setting}")
    given = work(setting, len(TEN), LIFETIMES)
    runs = {way: prepared(way, given) for way in WAYS}
    outcomes = {way: run() for way, run in runs.items()}
    apart = 0.0
    for saving in SAVINGS:
        found = difference(saving, outcomes[saving.off], outcomes[saving.on])
        if not found < AGREES:
            raise SystemExit(f"{saving.name}: changes numbers by {found:.1e}, {saving.on}")
        apart = max(apart, found)
    seconds = measure(runs, LIFETIMES, rounds, threads)
    return tuple(Paired(s, seconds[s.off], seconds[s.on]) for s in SAVINGS), apart


def measure_modes(
    setting: Setting, lengths: Sequence[int], rounds: int, threads: int
) -> tuple[Modes, ...]:
    """Forward passes and gradients for each small rule and length."""
    say(f"forward mode: {setting}")
    given = work(setting, len(TEN), LIFETIMES).lifetimes(slice(threads))
    runs: dict[tuple[tuple[str, ...], int, str], Run] = {}
    for rule in SMALL_RULES:
        wide = widened(given, 1 + len(rule))
        for steps in lengths:
            long, long_wide = lengthened(given, steps), lengthened(wide, steps)
            runs[rule, steps, "forward"] = prepared(Way(rule, rule, ()), long)
            runs[rule, steps, "adjoint"] = prepared(Way(rule, rule, rule), long)
            runs[rule, steps, "widened"] = prepared(Way(rule, rule, ()), long_wide)
    seconds = measure(runs, len(given), rounds, threads)
    return tuple(
        Modes(
            rule,
            steps,
            seconds[rule, steps, "forward"],
            seconds[rule, steps, "adjoint"],
            seconds[rule, steps, "widened"],
        )
        for rule in SMALL_RULES
        for steps in lengths
    )


def peak_mb(setting: Setting, steps: int, gradient: bool) -> float:
    """Megabytes of one lifetime of F0, in this process, which must be fresh."""
    rule = SMALL_RULES[0]
    way = Way(rule, rule, rule if gradient else ())
    given = lengthened(work(setting, len(TEN), 1), steps)
    run = prepared(way, given)
    return peak_mb_of(run)


def peaks_of(
    setting: Setting, lengths: Iterable[int], quick: bool
) -> dict[int, tuple[float, float]]:
    """Megabytes by steps, forward only and with the gradient; each in a fresh process."""

    def peak(steps: int, gradient: bool) -> float:
        command = [sys.executable, "-m", "benchmarks.savings", *(["--quick"] if quick else [])]
        command += ["--memory-of", json.dumps([steps, gradient])]
        command += ["--data-root", str(setting.root)] if setting.root else []
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    say("memory")
    return {steps: (peak(steps, False), peak(steps, True)) for steps in lengths}


# --- saying it ------------------------------------------------------------------------------------


def _coefficients(way: Way) -> str:
    return ", ".join(way.rule) if len(way.rule) < len(TEN) else "all ten"


def _pass(saving: Saving) -> str:
    if bool(saving.off.asked) != bool(saving.on.asked):
        return "with, without"
    return "with gradient" if saving.on.asked else "forward only"


def savings_table(paired: Sequence[Paired]) -> Table:
    """Each saving: milliseconds a lifetime without and with it, and their ratio."""
    made = Table("saving", "rule", "pass", box=box.MARKDOWN)
    for heading in ("ms without", "ms with", "without over with"):
        made.add_column(heading, justify="right")
    for p in paired:
        made.add_row(
            p.saving.name,
            _coefficients(p.saving.on),
            _pass(p.saving),
            milliseconds(statistics.median(p.off)),
            milliseconds(statistics.median(p.on)),
            times(p.off, p.on),
        )
    return made


def modes_table(modes: Sequence[Modes], peaks: Mapping[int, tuple[float, float]]) -> Table:
    """What decides between forward mode and the adjoint."""
    made = Table("rule", box=box.MARKDOWN)
    for heading in (
        *("steps", "T_f, ms forward", "T_g, ms with gradient", "T_g over T_f"),
        *("widened over T_f", "forward mode over T_g, at least", "MB forward", "MB with gradient"),
    ):
        made.add_column(heading, justify="right")
    for m in modes:
        memory = peaks.get(m.steps, ()) if m.rule == SMALL_RULES[0] else ()
        made.add_row(
            ", ".join(m.rule),
            str(m.steps),
            milliseconds(statistics.median(m.forward)),
            milliseconds(statistics.median(m.adjoint)),
            times(m.adjoint, m.forward),
            times(m.widened, m.forward),
            times(m.widened, m.adjoint),
            *(f"{mb:.0f}" for mb in memory),
        )
    return made


def verdict(modes: Sequence[Modes]) -> str:
    """Where the measured bound leaves room for forward mode, and how much."""
    room = [
        f"{', '.join(m.rule)} at {m.steps} steps ({m.bound[0]:.2f} of the adjoint's time)"
        for m in modes
        if m.bound[0] < 1
    ]
    if not room:
        return "Forward mode: slower than the adjoint in every case, by its lower bound."
    return f"Forward mode: its lower bound is below the adjoint's time for {'; '.join(room)}."


def show(report: Report) -> None:
    # Where there is no terminal, rich assumes 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print("  ".join(f"{name} {value}" for name, value in machine().items()))
    for setting, paired in report.savings.items():
        console.print(f"\n{setting}")
        console.print(savings_table(paired))
        console.print(f"Largest difference between two ways: {report.apart[setting]:.1e}")
    console.print(f"\nForward mode, {next(iter(report.savings)).images}")
    console.print(modes_table(report.modes, report.peaks))
    console.print(verdict(report.modes))


def record(report: Report) -> dict[str, object]:
    """The report as JSON has it."""
    return {
        "machine": machine(),
        "savings": {str(s): [asdict(p) for p in paired] for s, paired in report.savings.items()},
        "disagreement": {str(s): apart for s, apart in report.apart.items()},
        "modes": [asdict(m) for m in report.modes],
        "peak_mb": report.peaks,
        "verdict": verdict(report.modes),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-root", type=Path, help="EMNIST, in torchvision's layout")
    parser.add_argument("--threads", type=int, default=cores(), help="all cores")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"{ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    parser.add_argument("--quick", action="store_true", help="small networks, to see it run")
    parser.add_argument("--memory-of", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    settings = (QUICK, QUICK_DIGITS) if asked.quick else (Setting(asked.data_root), DIGITS)
    lengths = QUICK_STEPS if asked.quick else STEPS
    torch.set_num_threads(asked.threads)
    if asked.memory_of:
        print(peak_mb(settings[0], *asked.memory_of))
        return
    found = {s: measure_savings(s, asked.rounds, asked.threads) for s in settings}
    report = Report(
        {setting: paired for setting, (paired, _) in found.items()},
        {setting: apart for setting, (_, apart) in found.items()},
        measure_modes(settings[0], lengths, asked.rounds, asked.threads),
        peaks_of(settings[0], lengths, asked.quick),
    )
    show(report)
    if asked.json:
        asked.json.write_text(json.dumps(record(report), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    end_with(main)
