"""Lifetimes by compiled functions: data into the one flat array, results out of it, threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import signature
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from rulesearch.kernels.batch import Key
from rulesearch.kernels.fused.cache import FUNCTIONS
from rulesearch.kernels.fused.idle import Placed
from rulesearch.kernels.fused.layout import (
    A_THETA,
    BEGUN,
    BLOCK,
    FRAME,
    FRAMES,
    ONES,
    Q_Y,
    ROW_BLOCK,
    ROWS,
    SCRATCH,
    SIZE,
    SKIPS,
    SOURCE,
    THETA,
    WIDTH,
    B,
    Layout,
    W,
)
from rulesearch.kernels.fused.models import pixel_slopes
from rulesearch.kernels.fused.vectors import BYTES
from rulesearch.model import PAPER

Array = NDArray[Any]

#: σ' of pixels in the paper's network.
_SOFTPLUS = pixel_slopes(PAPER.activation)

#: Largest weight at the end over that at the start from which on undoing updates is not exact
#: enough: what rounding has left in the large ones stays when they are brought back to small ones.
GROWTH = 8.0

#: A thread keeps its array for the next call up to this size, in bytes: fresh pages are slow.
KEPT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Arrays:
    """A batch as NumPy arrays, with names and shapes of `rulesearch.kernels.Batch`.

    Labels are int64, or numbers in the working dtype. Noise of all layers lies side by side.
    """

    theta: Array
    weights: tuple[Array, ...]
    feedback: tuple[Array, ...]
    x: Array
    labels: Array
    query_x: Array
    query_labels: NDArray[np.int64]
    targets: Array | None = None
    biases: tuple[Array, ...] = ()
    noise: Array | None = None
    memories: Mapping[Key, Array] = field(default_factory=dict)
    begun: int = 0


@dataclass(frozen=True)
class Results:
    """What the lifetimes write, each into its own place.

    Attributes:
        numbers: loss, accuracy, loss before the first step; [lifetimes, 3].
        gradient: [lifetimes, layers, terms], or None.
        weights: list over layers of [lifetimes, post, pre], or None.
        idle: derivatives by idle terms, [lifetimes, layers, idle terms], or None.
        biases: list over layers of [lifetimes, post], or None.
        memories: [lifetimes, neurons or 1]; none are wanted without weights.
        feedback: list over layers of [lifetimes, pre, source], or None.
        grown: whether a lifetime that is differentiated has ended worse than it began and its
            weights are more than `GROWTH` times as large, [lifetimes].
    """

    numbers: Array
    gradient: Array | None
    weights: list[Array] | None
    idle: Array | None = None
    biases: list[Array] | None = None
    memories: Mapping[Key, Array] = field(default_factory=dict)
    feedback: list[Array] | None = None
    grown: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))


@dataclass(frozen=True)
class Job:
    """Lifetimes to run.

    Attributes:
        module: the generated one.
        data: what they start from.
        kept: for each lifetime, the pixels that are not left out throughout.
        skips: for each lifetime, whether pixels are left out at steps where they are dark.
        layout: of the arrays.
        lowest: the lowest layer whose error something reads.
        starts: for each lifetime, steps before which the weights are kept, ascending from 0.
        results: where the answers go.
        idle: idle terms, and the address of their compiled function; or None.
        asked: a row for each time that the query is asked: the number of steps, and the block of
            weights that is for Λ of it; None where it is asked after the last, with labels.
        slopes: pixels -> σ' there.
    """

    module: ModuleType
    data: Arrays
    kept: list[NDArray[np.intp]]
    skips: NDArray[np.bool_]
    layout: Layout
    lowest: int
    starts: list[NDArray[np.int64]]
    results: Results
    idle: tuple[Placed, int] | None = None
    asked: NDArray[np.int64] | None = None
    slopes: Callable[[Array], Array] = _SOFTPLUS

    @property
    def length(self) -> int:
        """Values in a lifetime's array."""
        return self.idle[0].length if self.idle else self.layout.length


@lru_cache(maxsize=256)
def signatures(module: ModuleType) -> Mapping[str, tuple[types.Type, ...]]:
    """The types with which `_lifetime` calls the functions of a generated module, by name."""
    real, whole = types.float32 if np.float32 == module.F else types.float64, types.int64
    matrix, indices, table = real[:, ::1], whole[::1], whole[:, ::1]
    kinds = {
        **dict.fromkeys(("s", "out"), real[::1]),
        **dict.fromkeys(("x", "slopes", "answers", "noise"), matrix),
        "targets": real[:, :, ::1],
        **dict.fromkeys(("order", "labels", "query_labels", "starts", "table", "t"), indices),
        **dict.fromkeys(("at", "asked"), table),
        **dict.fromkeys(("lowest", "idle", "l", "f"), whole),
        "keep": types.boolean,
        "queries": types.intp,
    }
    functions = {name: getattr(module, name, None) for name in FUNCTIONS}
    return {
        name: tuple(kinds[argument] for argument in signature(function.py_func).parameters)
        for name, function in functions.items()
        if function is not None
    }


def address_of_idle(module: ModuleType) -> int:
    """Where the compiled function of idle terms is; compiled if need be."""
    types_of_it = signatures(module)["idle"]
    module.idle.compile(types_of_it)
    compiled = module.idle.overloads[types_of_it]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def run(job: Job, threads: int) -> None:
    """Run all lifetimes of a job in some threads.

    Each thread takes the next lifetime when it is free, so that a core which others use as well
    does not keep the rest waiting. A lifetime is computed alone, in a fixed order: nothing hangs
    on who computes it.
    """
    count = len(job.data.theta)
    waiting: SimpleQueue[int] = SimpleQueue()
    for b in range(count):
        waiting.put(b)
    threads = max(1, min(threads, count))
    if threads == 1:
        _work(job, waiting)
        return
    list(_pool(threads, os.getpid()).map(lambda _: _work(job, waiting), range(threads)))


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    # Threads do not survive a fork, hence the process in the key.
    return ThreadPoolExecutor(threads, thread_name_prefix="rulesearch")


_own = threading.local()
_NOTHING = np.zeros(0, dtype=np.int64)


def _space(layout: Layout, length: int, dtype: np.dtype[Any]) -> Array:
    """This thread's array, zero wherever this layout relies on it."""
    before = getattr(_own, "space", None)
    if before is not None:
        known, s = before
        same = s.dtype == dtype and len(s) == length
        if same and np.array_equal(known.table, layout.table):
            return np.asarray(s)
    # A vector that straddles two cache lines costs two accesses.
    spare = BYTES // dtype.itemsize
    whole = np.zeros(length + spare, dtype)
    first = -whole.ctypes.data % BYTES // dtype.itemsize
    s = whole[first : first + length]
    _own.space = (layout, s) if s.nbytes <= KEPT_BYTES else None
    return s


def _work(job: Job, waiting: SimpleQueue[int]) -> None:
    """Take lifetimes until none is left."""
    with np.errstate(all="ignore"):  # a thread of the pool has NumPy's own, not the caller's
        _take(job, waiting)


def _take(job: Job, waiting: SimpleQueue[int]) -> None:
    s = _space(job.layout, job.length, job.data.theta.dtype)
    table = job.layout.table.copy()
    order = np.arange(4 * table[:, ROWS].max(), dtype=np.int64)
    while True:
        try:
            b = waiting.get_nowait()
        except Empty:
            return
        _lifetime(job, b, s, table, order)


def _lifetime(
    job: Job, b: int, s: Array, table: NDArray[np.int64], order: NDArray[np.int64]
) -> None:
    data, results, kept = job.data, job.results, job.kept[b]
    _put(job, b, s, table)
    x = np.ascontiguousarray(data.x[b][:, kept])
    slopes = job.slopes(x)  # σ' of pixels, section 4.2
    labels, query_labels, starts = data.labels[b], data.query_labels[b], job.starts[b]
    out = np.empty(3, s.dtype)
    gradient = results.gradient is not None
    answers: tuple[Array, ...] = (query_labels,)
    if job.asked is not None and data.targets is not None:
        answers = np.ascontiguousarray(data.targets[b]), job.asked
    seen = (x, slopes) if data.noise is None else (x, slopes, data.noise[b])
    forward = job.module.forward
    forward(s, table, order, *seen, labels, *answers, gradient, job.lowest, starts, out)
    results.numbers[b] = out
    if results.weights is not None:
        for weights, stored in zip(results.weights, _matrices(s, table, W), strict=True):
            post, pre = weights.shape[1:]
            weights[b] = stored[:pre, :post].T
    if results.biases is not None:
        for biases, place in zip(results.biases, job.layout.biases, strict=True):
            biases[b] = s[place:][: biases.shape[1]]
    if results.feedback is not None:
        for matrices, stored in zip(results.feedback, _matrices(s, table, B), strict=True):
            pre, source = matrices.shape[1:]
            matrices[b] = stored[:pre, :source]
    _remember(job, b, s, table, last=len(x) - 1, kept_all=gradient)
    if results.gradient is None:
        return
    results.grown[b] = out[2] < out[0] < np.inf and _has_grown(job, b, s, table)
    placed, address = job.idle or (None, 0)
    t = placed.table if placed else _NOTHING
    if placed:
        placed.clear(s, table[:, SIZE].tolist())
    how = len(query_labels) if job.asked is None else job.asked
    job.module.adjoint(s, table, order, labels, how, starts, address, t)
    for i, found in enumerate(results.gradient[b]):
        found[:] = s[table[i, A_THETA] :][: len(found)]
    if placed and results.idle is not None:
        results.idle[b] = placed.gradient(s)


def _has_grown(job: Job, b: int, s: Array, table: NDArray[np.int64]) -> bool:
    pairs = [*zip(_matrices(s, table, W), job.data.weights, strict=True)]
    pairs += zip(_matrices(s, table, B), job.data.feedback, strict=False)
    return any(np.abs(now).max() > GROWTH * np.abs(then[b]).max() for now, then in pairs)


def _remember(
    job: Job, b: int, s: Array, table: NDArray[np.int64], *, last: int, kept_all: bool
) -> None:
    """Read what traces are after the last step."""
    frame = last + 1 if kept_all else (last + 1) & 1
    for place in job.layout.traces:
        found = job.results.memories.get(place.key)
        if found is not None and place.width:
            pre, post = table[place.layer, SIZE], found.shape[1]
            stored = s[place.start :][: pre * place.width].reshape(pre, place.width)
            found[b] = stored[:, :post].T
        elif found is not None:
            begin = table[0, FRAMES] + frame * table[0, FRAME] + place.value
            found[b] = s[begin:][: found.shape[1]]


def _put(job: Job, b: int, s: Array, table: NDArray[np.int64]) -> None:
    """Write what a lifetime starts from; padding is zero."""
    data, kept = job.data, job.kept[b]
    table[0, SIZE], table[0, ROWS] = (
        len(kept),
        -(-(len(kept) + 1) // ROW_BLOCK) * ROW_BLOCK,
    )
    table[0, SKIPS] = job.skips[b]
    table[0, BEGUN] = data.begun
    for place in job.layout.traces:
        start = data.memories[place.key][b]
        if place.width:
            block, rows = start.T, table[place.layer, ROWS]
            block = block[kept] if place.layer == 0 else block
            stored = s[place.start :][: rows * place.width].reshape(rows, place.width)
            stored[:] = 0
            stored[: len(block), : block.shape[1]] = block
            continue
        start = start[kept] if place.neurons == 0 else start
        s[place.start :][: len(start)] = start
    for i, size in enumerate(table[:, SIZE]):
        s[table[i, ONES] :][: table[i, ROWS]] = 0
        s[table[i, ONES] :][:size] = 1
    columns: tuple[Any, ...] = (kept, *([slice(None)] * (len(table) - 2)))
    for stored, weights, pre in zip(_matrices(s, table, W), data.weights, columns, strict=True):
        block = weights[b][:, pre].T
        stored[: len(block), : block.shape[1]] = block
        stored[len(block) :], stored[:, block.shape[1] :] = 0, 0
    for stored, feedback, pre in zip(_matrices(s, table, B), data.feedback, columns, strict=False):
        block = feedback[b][pre]
        stored[: len(block), : block.shape[1]] = block
        stored[len(block) :], stored[:, block.shape[1] :] = 0, 0
    for i, theta in enumerate(data.theta[b]):
        s[table[i, THETA] :][: len(theta)] = theta
    for biases, begin in zip(data.biases, job.layout.biases, strict=True):
        s[begin:][: biases.shape[1]] = biases[b]
    queries, stride = data.query_x.shape[1], table[0, WIDTH]
    stored = s[table[0, Q_Y] :][: queries * stride].reshape(queries, stride)
    stored[:, : len(kept)] = data.query_x[b][:, kept]
    stored[:, len(kept) :] = 0
    _clear_padding(job.layout, s, len(kept))
    _clear_rows(job.layout, s, table)


def _clear_padding(layout: Layout, s: Array, pixels: int) -> None:
    """Zero what a lifetime of more pixels may have left after the vectors of the input layer."""
    table = layout.table
    for start, end, size, places in (
        (table[0, SCRATCH], table[0, FRAMES], table[0, BLOCK], layout.scratched),
        (table[0, FRAMES], layout.frames_end, table[0, FRAME], layout.taped),
    ):
        blocks = s[start:end].reshape(-1, size)
        for place in places:
            blocks[:, place + pixels : place + pixels + ROW_BLOCK] = 0


def _clear_rows(layout: Layout, s: Array, table: NDArray[np.int64]) -> None:
    """Zero what a lifetime of more pixels may have left behind the rows of the first matrices.

    Whether all weights are numbers is asked of all that is laid out for them.
    """
    begin, end = int(table[0, ROWS]), int(layout.table[0, ROWS])
    matrices = [(int(table[0, W]), int(table[1, WIDTH]))]
    matrices.append((int(table[0, B]), int(table[table[0, SOURCE], WIDTH])))
    matrices += [(p.start, p.width) for p in layout.traces if p.width and p.layer == 0]
    for start, width in matrices:
        s[start + begin * width : start + end * width] = 0


def _matrices(s: Array, table: NDArray[np.int64], column: int) -> Iterator[Array]:
    """The stored matrices of all layers, [rows, width], as views."""
    for i in range(len(table) - 1):
        width = table[i + 1, WIDTH] if column == W else table[table[i, SOURCE], WIDTH]
        rows = table[i, ROWS]
        yield s[table[i, column] :][: rows * width].reshape(rows, width)
