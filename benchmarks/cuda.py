"""Lifetimes on a GPU: both kernels beside peers in the same run.

    python -m benchmarks.cuda [--data-root DIR] [--batches 64,256,1024,4096] [--json FILE]
    python -m benchmarks.cuda --device cpu --batches 2

The second form runs a small network on the CPU, only to see that everything works.

The work: lifetimes of the paper's network (784-170-130-100-70-47, 250 steps of batch size one,
random feedback) with the paper's ten terms, in float32 without TF32, with the gradient of every
term or forward only. All data are on the device before a clock starts. At most 64 lifetimes
differ; a larger batch has them again, which changes no time.

- `einsum` and `fused` are the project's kernels, called as anyone would: one waits for launches,
  the other is one launch, where numba-cuda is installed.
- `torch.compile` and `autograd` are one step by hand for one lifetime, batched by vmap, compiled
  or eager, under autograd.
- `JAX` is the same step: jit, scan, checkpoint of every step, grad, batched by vmap.

Where a batch does not fit into memory with a way to run it, as many lifetimes as do are timed,
halving from the whole batch, and the time of the batch is that of so many pieces. Each way has the
whole GPU: they follow one another, memory is given back between them, and `einsum` is timed once
more at the end, to show any drift. A call is timed by the clock between two synchronisations of
the device, and not by CUDA events, which JAX's streams know nothing of; it lasts seconds, so what
a synchronisation takes does not count. Before a way is timed, its answer is compared. Peak memory
is what torch allocates for a way's preparation and first call, above the data.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.ending import end_with
from benchmarks.machine import machine
from benchmarks.rivals.in_jax import by_jax, no_jax
from benchmarks.rivals.in_torch import Answer, by_compile, by_kernel, no_compiler
from benchmarks.speed import AGREES, QUICK, disagreement, milliseconds, say, three, times
from benchmarks.work import Setting, Work, work
from rulesearch.errors import RuleSearchError

BATCHES = (64, 256, 1024, 4096)
ROUNDS = 5
TERMS = 10
DISTINCT = 64
#: What others must agree with, and what the ratios are to.
REFERENCE = "einsum"
AGAIN = "einsum, again"


@dataclass(frozen=True)
class Rival:
    """A way to run lifetimes on a device.

    Attributes:
        prepare: lifetimes, and whether with the gradient -> a function that runs them and returns
            losses [lifetimes] or gradients [lifetimes, terms]; compiles.
        missing: device -> why it cannot run there, or "".
        in_torch: whether torch allocates its memory.
    """

    prepare: Callable[[Work, bool], Answer]
    missing: Callable[[str], str] = lambda device: ""
    in_torch: bool = True


@dataclass(frozen=True)
class Measured:
    """One way at one batch.

    Attributes:
        rival: its name.
        batch: lifetimes asked for.
        gradient: with that of every term, or forward only.
        piece: lifetimes that fit at once, and were timed.
        seconds: of a piece, one number a round.
        peak_mb: of memory, or None where torch does not know.
    """

    rival: str
    batch: int
    gradient: bool
    piece: int
    seconds: tuple[float, ...]
    peak_mb: float | None

    @property
    def a_lifetime(self) -> tuple[float, ...]:
        """Seconds, one number a round."""
        return tuple(s / self.piece for s in self.seconds)

    @property
    def whole(self) -> float:
        """Seconds of the batch: so many pieces, median of the rounds."""
        return statistics.median(self.seconds) * math.ceil(self.batch / self.piece)


# --- ways to run lifetimes ------------------------------------------------------------------------


def by_compile_anew(given: Work, gradient: bool) -> Answer:
    """The batched step by hand, compiled for these shapes alone: of eight it would take no more."""
    torch.compiler.reset()
    return by_compile(given, gradient)


def by_eager(given: Work, gradient: bool) -> Answer:
    """The batched step by hand under autograd, not compiled."""
    with torch.compiler.set_stance("force_eager"):
        compiled = by_compile(given, gradient)

    def answer() -> Tensor:
        with torch.compiler.set_stance("force_eager"):
            return compiled()

    return answer


def by_jax_exactly(given: Work, gradient: bool) -> Answer:
    """JAX with products in float32, as torch has them; its default on a GPU is TF32."""
    import jax

    with jax.default_matmul_precision("highest"):
        return by_jax(given.on("cpu"), gradient, together=True)


def no_jax_on(device: str) -> str:
    """Why JAX cannot run on a device, or nothing."""
    if reason := no_jax():
        return reason
    import jax

    on_gpu = any(d.platform == "gpu" for d in jax.devices())
    missing = device == "cuda" and not on_gpu
    return "JAX: left out, it finds no GPU; pip install 'jax[cuda12]'" if missing else ""


def no_numba_cuda(device: str) -> str:
    """Why the fused kernel cannot run on a device, or nothing."""
    missing = device == "cuda" and not importlib.util.find_spec("numba_cuda")
    return "fused: left out, no numba-cuda; pip install 'rulesearch[cuda]'" if missing else ""


#: Name -> way, in the order of the tables.
RIVALS: Mapping[str, Rival] = {
    REFERENCE: Rival(lambda given, gradient: by_kernel("einsum", given, gradient)),
    "fused": Rival(lambda given, gradient: by_kernel("fused", given, gradient), no_numba_cuda),
    "torch.compile": Rival(by_compile_anew, lambda device: no_compiler()),
    "autograd": Rival(by_eager),
    "JAX": Rival(by_jax_exactly, no_jax_on, in_torch=False),
}


# --- measuring ------------------------------------------------------------------------------------


def synchronise(device: str) -> None:
    """Wait until the device has done all it was asked."""
    if device == "cuda":
        torch.cuda.synchronize()


def give_back(device: str) -> None:
    """What a way held that is no longer referred to; its peak is forgotten."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the device's memory did not suffice, for torch or for JAX."""
    return isinstance(error, torch.OutOfMemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def _tried(
    prepare: Callable[[Work, bool], Answer], given: Work, gradient: bool
) -> tuple[Answer, Tensor] | None:
    """A way prepared, and its first answer; None if memory did not suffice."""
    try:
        answer = prepare(given, gradient)
        return answer, answer()
    except RuntimeError as error:
        if len(given) == 1 or not is_out_of_memory(error):
            raise
        return None


def fitted(
    prepare: Callable[[Work, bool], Answer], given: Work, gradient: bool, device: str
) -> tuple[Answer, Tensor, int]:
    """A way prepared for as many of the lifetimes as fit, its first answer, and their number.

    Raises:
        RuntimeError: not one lifetime fits, or the fault is another.
    """
    piece = len(given)
    while (found := _tried(prepare, given.lifetimes(slice(piece)), gradient)) is None:
        piece //= 2
        say(f"  does not fit; trying {piece}")
        give_back(device)
    return *found, piece


def measure_one(
    name: str, given: Work, gradient: bool, device: str, rounds: int
) -> tuple[Measured, Tensor]:
    """One way at one batch, and its answer on the CPU."""
    rival = RIVALS[name if name != AGAIN else REFERENCE]
    say(f"{name}: {len(given)} lifetimes, {'with gradient' if gradient else 'forward only'}")
    counts = rival.in_torch and device == "cuda"
    give_back(device)
    held = torch.cuda.memory_allocated() if counts else 0
    answer, first, piece = fitted(rival.prepare, given, gradient, device)
    peak = (torch.cuda.max_memory_allocated() - held) / 2**20 if counts else None
    seconds = []
    for _ in range(rounds):
        gc.collect()
        synchronise(device)
        begin = time.perf_counter()
        answer()
        synchronise(device)
        seconds.append(time.perf_counter() - begin)
    return Measured(name, len(given), gradient, piece, tuple(seconds), peak), first.cpu()


def measure(
    setting: Setting, batches: Sequence[int], names: Sequence[str], device: str, rounds: int
) -> tuple[tuple[Measured, ...], dict[str, float]]:
    """All ways at all batches, and the largest disagreement of each.

    Raises:
        SystemExit: a way does not agree with the reference.
    """
    some = work(setting, TERMS, min(DISTINCT, max(batches))).on(device)
    gc.collect()
    gc.freeze()  # what is imported need not be looked through before every call
    measured = []
    apart = dict.fromkeys(names, 0.0)
    for batch in batches:
        given = some.lifetimes(torch.arange(batch, device=device) % len(some))
        for gradient in (True, False):
            answers = {}
            for name in (*names, AGAIN):
                found, answers[name] = measure_one(name, given, gradient, device, rounds)
                off = disagreement(answers[name], answers[REFERENCE])
                if not off < AGREES:
                    raise SystemExit(f"{name} and {REFERENCE} differ by {off:.1e} at {batch}")
                apart[name] = max(apart.get(name, 0.0), off)
                measured.append(found)
        del given  # before the next batch is made
    return tuple(measured), {name: off for name, off in apart.items() if name in names}


# --- saying it ------------------------------------------------------------------------------------


def table(measured: Sequence[Measured]) -> Table:
    """Ways at one batch: absolute times, how many times the reference's, and memory."""
    made = Table("", box=box.MARKDOWN)
    for heading in ("at once", "ms a lifetime", "s a batch", f"times {REFERENCE}", "peak MB"):
        made.add_column(heading, justify="right")
    base = next(m for m in measured if m.rival == REFERENCE)
    for m in measured:
        made.add_row(
            m.rival,
            str(m.piece),
            milliseconds(statistics.median(m.a_lifetime)),
            three(m.whole),
            "1" if m is base else times(m.a_lifetime, base.a_lifetime),
            "–" if m.peak_mb is None else f"{m.peak_mb:.0f}",
        )
    return made


def show(
    setting: Setting,
    measured: Sequence[Measured],
    apart: Mapping[str, float],
    notes: Sequence[str],
) -> None:
    # Where there is no terminal, rich assumes 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print("  ".join(f"{name} {value}" for name, value in machine().items()))
    console.print(f"{setting}, ten terms")
    for batch, gradient in dict.fromkeys((m.batch, m.gradient) for m in measured):
        what = "with gradient" if gradient else "forward only"
        console.print(f"\n{batch} lifetimes, {what}")
        console.print(table([m for m in measured if (m.batch, m.gradient) == (batch, gradient)]))
    for note in notes:
        console.print(note)
    off = ", ".join(f"{name} {a:.1e}" for name, a in apart.items() if name != REFERENCE)
    console.print(f"Largest difference from {REFERENCE}, of each term's derivative: {off}")


def record(
    setting: Setting,
    measured: Sequence[Measured],
    apart: Mapping[str, float],
    notes: Sequence[str],
) -> dict[str, object]:
    """The same as JSON has it."""
    return {
        "machine": machine(),
        "setting": str(setting),
        "disagreement": apart,
        "measured": [asdict(m) for m in measured],
        "notes": notes,
    }


def whole_numbers(text: str) -> tuple[int, ...]:
    """Positive numbers with commas between them.

    Raises:
        ValueError: anything else.

    Example:
        >>> whole_numbers("64,256")
        (64, 256)
    """
    numbers = tuple(int(part) for part in text.split(","))
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def check(device: str) -> None:
    """See that there is such a device.

    Raises:
        RuleSearchError: there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RuleSearchError(
            "--device cuda: torch finds no CUDA GPU here; run this where there is one, or see it "
            "run on a small network with --device cpu --batches 2"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables.

    Raises:
        RuleSearchError: there is no GPU.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-root", type=Path, help="EMNIST, in torchvision's layout")
    parser.add_argument("--batches", type=whole_numbers, default=BATCHES, help="64,256,1024,4096")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"{ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    asked = parser.parse_args(arguments)
    check(asked.device)
    # JAX would take three quarters of the GPU at once, and keep what it ever took. It allocates
    # once a call, so that asking the driver each time costs nothing that shows.
    os.environ.setdefault("XLA_PYTHON_CLIENT_ALLOCATOR", "platform")
    setting = Setting(asked.data_root) if asked.device == "cuda" else QUICK
    reasons = {name: rival.missing(asked.device) for name, rival in RIVALS.items()}
    names = [name for name, reason in reasons.items() if not reason]
    notes = [reason for reason in reasons.values() if reason]
    measured, apart = measure(setting, asked.batches, names, asked.device, asked.rounds)
    show(setting, measured, apart, notes)
    if asked.json:
        found = record(setting, measured, apart, notes)
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    end_with(main)
