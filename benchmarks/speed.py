"""Speed of whole lifetimes beside rivals, and beside what this machine's memory allows.

    python -m benchmarks.speed [--data-root DIR] [--threads N] [--json FILE] [--quick]
        [--terms N ...] [--rivals NAME ...]

The work: lifetimes of the paper's network (784-170-130-100-70-47, 250 steps of batch size one,
random feedback), with the gradient of each one's query loss with respect to every coefficient, or
forward only; for pools of 1, 3 (F0, F2, F9), 10 (the paper's), 30 and 100 terms (more products of
the same factors), one lifetime at once or eight; all in float32.

- `fused` and `einsum` are the project's kernels.
- `torch.compile` is one step by hand for one lifetime, batched by vmap and compiled, under
  autograd.
- `JAX` is the same step by hand: jit, scan, checkpoint of every step, grad; batched by vmap.
  `careful JAX` sums what multiplies the same factor before its outer product, and checkpoints
  stretches of about √steps. With `, processes` either has one lifetime at a time in a process on
  each core instead.
- `autograd` is the loop that one would write: the same step, one lifetime at a time, eager.
  `autograd, processes` likewise runs one on each core.
- `floor` is the time of the memory traffic that no scheme with one pass over the weights in each
  direction can leave out, at the bandwidth measured here in the same run; see `bytes_moved`.

Rivals alternate within a round, and ratios are taken within a round, because a shared machine
changes its speed by a fifth and more. With batch 8 all have every core (`--threads`); with batch 1
torch and Numba have one thread, because for matrices this small torch's threads only wait for one
another, and JAX as many as it likes. A dash is a cell where
a rival would take more than a few seconds a call, or minutes to compile. Before anything is timed,
all rivals at a cell must agree. Peak memory is that of a first call at ten terms, in a process of
its own and once compiled, above what it held before.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.ending import end_with
from benchmarks.machine import bandwidth, cores, machine, peak_mb_of, ratios
from benchmarks.rivals import RIVALS, Cell
from benchmarks.work import Setting, Work, work
from rulesearch import TaskShape
from rulesearch.kernels.fused.savings import drops_columns, group_is_dark
from rulesearch.lowering import lower

ROUNDS = 5
TERMS = (1, 3, 10, 30, 100)
CELLS = tuple(Cell(n, b, g) for g in (True, False) for b in (1, 8) for n in TERMS)
#: A check that everything runs, not a measurement.
QUICK = Setting(sizes=(64, 30, 20, 10), shape=TaskShape(ways=2, shots=10, queries=5))
QUICK_CELLS = tuple(Cell(n, b, g) for g in (True, False) for b in (1, 2) for n in (1, 3, 10))
QUICK_ROUNDS = 2
#: The rival that others must agree with; against float64 it is the most accurate in float32.
REFERENCE = "einsum"
#: What float32 costs over 250 steps where a term's derivative nearly cancels: 3e-4 in einsum, 4e-3
#: in fused, which undoes updates. A term left out, or of another sign, is off by one or more.
AGREES = 1e-2
FLOAT = 4


@dataclass(frozen=True)
class Measured:
    """One rival at one cell.

    Attributes:
        rival: its name.
        cell: the work.
        lifetimes: of one call.
        prepared: seconds of compiling, or of loading what was compiled, before the first call.
        seconds: a lifetime, one number a round.
    """

    rival: str
    cell: Cell
    lifetimes: int
    prepared: float
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Report:
    """Everything of a run.

    Attributes:
        setting: where lifetimes come from.
        measured: by rival and cell.
        apart: by rival, its largest difference from `REFERENCE` at any cell, in units of each
            term's largest derivative.
        bytes_a_second: cache bandwidth by number of threads; medians of those of all rounds.
        floors: seconds a lifetime by cell.
        peaks: megabytes by rival and cell.
        notes: what was left out, and why.
    """

    setting: Setting
    measured: Mapping[tuple[str, Cell], Measured]
    apart: Mapping[str, float]
    bytes_a_second: Mapping[int, float]
    floors: Mapping[Cell, float]
    peaks: Mapping[tuple[str, Cell], float]
    notes: tuple[str, ...]


# --- the floor ------------------------------------------------------------------------------------


def bytes_moved(given: Work, gradient: bool) -> float:
    """Bytes a lifetime that one pass over the weights in each direction must move.

    Forward, every weight is read and written once a step, and every feedback weight that some term
    hangs on is read. Going back, the weights and their adjoints are read and written once, the
    feedback is read. Rows of dark pixels are left out where `fused` may leave them out, and
    neither second passes (a sum over the pre-neurons of what the errors give needs one), nor
    arithmetic, nor the query are counted.
    """
    plan = lower(given.pool)
    x = given.train[0] != 0
    lit = float(x.sum(2, dtype=torch.float64).mean())
    ever = float((x.any(1) | (given.query[0] != 0).any(1)).sum(1, dtype=torch.float64).mean())
    updated = float(x.shape[2])
    if drops_columns(plan):
        updated = lit if all(group_is_dark(plan, g) for g in plan.groups) else ever
    moved = 0.0
    for layer, (w, b) in enumerate(zip(given.weights, given.feedback, strict=True)):
        post, pre = w.shape[1:]
        moved += post * (pre if layer else updated) * (6 if gradient else 2)
        read = "e_pre" in plan.quantities or (layer > 0 and "e_post" in plan.quantities)
        moved += b.shape[2] * (pre if layer else lit) * read * (2 if gradient else 1)
    return FLOAT * moved * x.shape[1]


# --- measuring ------------------------------------------------------------------------------------


def disagreement(answer: Tensor, expected: Tensor) -> float:
    """The largest difference, in units of each column's largest value in `expected`.

    Args:
        answer: [lifetimes] or [lifetimes, terms].
        expected: likewise; lifetimes that one of them lacks are not compared.

    Returns:
        A share; NaN where an answer is not finite.
    """
    both = min(len(answer), len(expected))
    return float(((answer[:both] - expected[:both]).abs() / expected.abs().amax(0)).max())


def timed(call: Callable[[], Tensor], threads: int) -> float:
    """Seconds of a call with so many of torch's threads; another's garbage is collected before."""
    gc.collect()
    with threads_of_torch(threads):
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin


@contextmanager
def threads_of_torch(threads: int) -> Iterator[None]:
    """So many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(
    setting: Setting, cells: Sequence[Cell], names: Sequence[str], rounds: int
) -> tuple[dict[tuple[str, Cell], Measured], dict[str, float], dict[int, float]]:
    """All rivals at all their cells: numbers, disagreement by rival, and bandwidth by threads.

    Raises:
        SystemExit: a rival does not agree with the reference.
    """
    calls: dict[tuple[str, Cell], Callable[[], Tensor]] = {}
    prepared: dict[tuple[str, Cell], float] = {}
    apart = dict.fromkeys(names, 0.0)
    for cell in cells:
        here = [name for name in names if RIVALS[name].takes(cell)]
        say(f"compiling and comparing at {cell}: {', '.join(here)}")
        answers = {}
        for name in here:
            begin = time.perf_counter()
            rival = RIVALS[name]
            calls[name, cell] = rival.prepare(setting, cell, rival.lifetimes(cell))
            prepared[name, cell] = time.perf_counter() - begin
            with threads_of_torch(_threads(cell)):
                answers[name] = calls[name, cell]()
        for name in here:
            found = disagreement(answers[name], answers[REFERENCE])
            if not found < AGREES:
                raise SystemExit(
                    f"{name} and {REFERENCE} differ by {found:.1e} at {cell}: nothing is timed"
                )
            apart[name] = max(apart[name], found)

    gc.collect()
    gc.freeze()  # what compilers keep need not be looked through before every call
    seconds: dict[tuple[str, Cell], list[float]] = {key: [] for key in calls}
    widths = sorted({_threads(cell) for cell in cells})
    rates: dict[int, list[float]] = {threads: [] for threads in widths}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for threads in widths:
            rates[threads].append(bandwidth(threads))
        for (name, cell), call in calls.items():
            seconds[name, cell].append(timed(call, _threads(cell)) / RIVALS[name].lifetimes(cell))
    measured = {
        (name, cell): Measured(
            name, cell, RIVALS[name].lifetimes(cell), prepared[name, cell], tuple(times)
        )
        for (name, cell), times in seconds.items()
    }
    return measured, apart, {threads: statistics.median(r) for threads, r in rates.items()}


def _threads(cell: Cell) -> int:
    """Cores that lifetimes can be spread over."""
    return min(torch.get_num_threads(), cell.batch)


def peaks_of(
    keys: Iterable[tuple[str, Cell]], setting: Setting, quick: bool
) -> dict[tuple[str, Cell], float]:
    """Megabytes of rivals, each in a fresh process; at ten terms."""
    found = {}
    for name, cell in keys:
        if cell.terms != 10 or not RIVALS[name].one_memory:
            continue
        say(f"memory of {name} at {cell}")
        command = [sys.executable, "-m", "benchmarks.speed", "--memory-of", name]
        command += ["--cell", json.dumps(asdict(cell))]
        command += ["--threads", str(torch.get_num_threads()), *(["--quick"] if quick else [])]
        command += ["--data-root", str(setting.root)] if setting.root else []
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name, cell] = float(done.stdout)
    return found


def run(
    setting: Setting,
    *,
    quick: bool,
    names: Sequence[str],
    memory: bool = True,
    terms: Sequence[int] = TERMS,
) -> Report:
    """Measure everything.

    Args:
        setting: where lifetimes come from.
        quick: few cells and rounds, only to see that it runs.
        names: of rivals; those that cannot run here are noted.
        memory: whether to measure it, which takes a process for each number.
        terms: of the pools.
    """
    reasons = {name: RIVALS[name].missing() for name in names}
    present = [name for name, reason in reasons.items() if not reason]
    cells, rounds = (QUICK_CELLS, QUICK_ROUNDS) if quick else (CELLS, ROUNDS)
    cells = tuple(cell for cell in cells if cell.terms in terms)
    measured, apart, rates = measure(setting, cells, present, rounds)
    floors = {
        cell: bytes_moved(work(setting, cell.terms, cell.batch), cell.gradient)
        / rates[_threads(cell)]
        for cell in cells
    }
    peaks = peaks_of(measured, setting, quick) if memory else {}
    notes = tuple(dict.fromkeys(reason for reason in reasons.values() if reason))
    return Report(setting, measured, apart, rates, floors, peaks, notes)


# --- saying it ------------------------------------------------------------------------------------


def three(number: float) -> str:
    """Three figures, large ones without an exponent.

    Example:
        >>> three(2046.8), three(1.2345)
        ('2050', '1.23')
    """
    return f"{float(f'{number:.3g}'):.0f}" if number >= 1000 else f"{number:.3g}"


def milliseconds(seconds: float) -> str:
    """To three figures."""
    return three(1e3 * seconds)


def times(numbers: Sequence[float], base: Sequence[float]) -> str:
    """A ratio with its spread, as `12.1 (11.8 … 12.9)`."""
    middle, low, high = ratios(numbers, base)
    return f"{three(middle)} ({three(low)} … {three(high)})"


def table(report: Report, batch: int, gradient: bool) -> Table:
    """Rivals by number of terms: milliseconds a lifetime, and how many times `fused` that is."""
    cells = [c for c in report.floors if (c.batch, c.gradient) == (batch, gradient)]
    made = Table("ms a lifetime (times fused)", box=box.MARKDOWN)
    for cell in cells:
        made.add_column(f"{cell.terms} term{'s' * (cell.terms > 1)}", justify="right")
    made.add_column("peak MB", justify="right")
    for name in dict.fromkeys(name for name, _ in report.measured):
        row = []
        for cell in cells:
            found = report.measured.get((name, cell))
            if found is None:
                row.append("–")
                continue
            text = milliseconds(statistics.median(found.seconds))
            base = report.measured["fused", cell].seconds
            row.append(text if name == "fused" else f"{text}, × {times(found.seconds, base)}")
        peak = next((p for (n, c), p in report.peaks.items() if n == name and c in cells), None)
        if set(row) != {"–"}:
            made.add_row(name, *row, "–" if peak is None else f"{peak:.0f}")
    made.add_row("floor", *(milliseconds(report.floors[c]) for c in cells), "")
    made.add_row(
        "fraction reached",
        *(
            f"{report.floors[c] / statistics.median(report.measured['fused', c].seconds):.2f}"
            for c in cells
        ),
        "",
    )
    return made


def headlines(report: Report) -> list[str]:
    """The ratios that the kernel was built for, across cells, within rounds."""
    batch = max(cell.batch for cell in report.floors)

    def seconds(name: str, terms: int) -> tuple[float, ...] | None:
        found = report.measured.get((name, Cell(terms, batch, gradient=True)))
        return None if found is None else found.seconds

    fused = seconds("fused", 10)
    if fused is None:
        return []
    said = []
    jax = {name: s for name in RIVALS if "JAX" in name and (s := seconds(name, 10))}
    if jax:
        best = min(jax, key=lambda name: statistics.median(jax[name]))
        said.append(f"{best}, the fastest of its kind, ten terms each: × {times(jax[best], fused)}")
    if loop := seconds("autograd, processes", 3):
        said.append(f"autograd over three terms, fused over ten: × {times(loop, fused)}")
    if many := seconds("fused", 100):
        said.append(f"fused, 100 terms over ten: × {times(many, fused)}")
    return [f"Meta-gradient, batch {batch}. {line}." for line in said]


def show(report: Report) -> None:
    # Where there is no terminal, rich assumes 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False)
    console.print("  ".join(f"{name} {value}" for name, value in machine().items()))
    console.print(str(report.setting))
    rates = ", ".join(f"{n}: {r / 1e9:.0f} GB/s" for n, r in report.bytes_a_second.items())
    console.print(f"Cache bandwidth by threads, reading and writing: {rates}")
    batches = sorted({c.batch for c in report.floors})
    for gradient, batch in itertools.product((True, False), batches):
        what = "With meta-gradient" if gradient else "Forward only"
        console.print(f"\n{what}, batch {batch}")
        console.print(table(report, batch, gradient))
    for line in (*headlines(report), *report.notes):
        console.print(line)
    apart = ", ".join(f"{n} {a:.1e}" for n, a in report.apart.items() if n != REFERENCE)
    console.print(f"Largest difference from {REFERENCE}, of each term's derivative: {apart}")


def record(report: Report) -> dict[str, object]:
    """The report as JSON has it."""
    return {
        "machine": machine(),
        "setting": str(report.setting),
        "disagreement": report.apart,
        "bytes_a_second": report.bytes_a_second,
        "floors": [asdict(c) | {"seconds": s} for c, s in report.floors.items()],
        "measured": [
            asdict(m) | {"peak_mb": report.peaks.get(key)} for key, m in report.measured.items()
        ],
        "notes": report.notes,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-root", type=Path, help="EMNIST, in torchvision's layout")
    parser.add_argument("--threads", type=int, default=cores(), help="for all rivals (all cores)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    parser.add_argument("--quick", action="store_true", help="a small network, to see it run")
    parser.add_argument("--terms", nargs="+", type=int, choices=TERMS, default=list(TERMS))
    parser.add_argument("--rivals", nargs="+", choices=RIVALS, default=list(RIVALS), metavar="NAME")
    parser.add_argument("--memory-of", choices=RIVALS, help=argparse.SUPPRESS)
    parser.add_argument("--cell", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    setting = QUICK if asked.quick else Setting(asked.data_root)
    if asked.memory_of:
        rival, cell = RIVALS[asked.memory_of], Cell(**asked.cell)
        with threads_of_torch(_threads(cell)):
            # In a thread that ends: fused keeps a thread's array, which would not be counted again.
            with ThreadPoolExecutor(1) as once:
                call = once.submit(rival.prepare, setting, cell, rival.lifetimes(cell)).result()
            print(peak_mb_of(call))
        return
    names = tuple(name for name in RIVALS if name in {"fused", REFERENCE, *asked.rivals})
    report = run(setting, quick=asked.quick, names=names, terms=asked.terms)
    show(report)
    if asked.json:
        asked.json.write_text(json.dumps(record(report), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    end_with(main)
