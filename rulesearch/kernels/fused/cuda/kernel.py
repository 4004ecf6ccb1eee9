"""Lifetimes on a GPU: tensors into one array a lifetime, one launch, results out of it.

The schedule, the layout and the checkpoints are those of the CPU. Rows of pixels that are zero
throughout a task are left out, in each lifetime its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rulesearch.kernels import Batch, KernelOutput, Unsupported, asked_for
from rulesearch.kernels.fused.cuda.program import Module, source
from rulesearch.kernels.fused.cuda.rows import Chunks
from rulesearch.kernels.fused.cuda.words import SIMULATED, THREADS, WARP, cuda
from rulesearch.kernels.fused.kernel import FusedKernel, bounded_beside_pixels
from rulesearch.kernels.fused.layout import (
    A_THETA,
    BEGUN,
    DARK,
    DARK_END,
    FRAME,
    FRAMES,
    LIT,
    LIT_END,
    ONES,
    Q_Y,
    ROW_BLOCK,
    ROWS,
    SIZE,
    SKIPS,
    SOURCE,
    THETA,
    TOUCHED,
    TOUCHED_END,
    WIDTH,
    B,
    Layout,
    TracePlace,
    W,
    layout_of,
)
from rulesearch.kernels.fused.savings import drops_columns
from rulesearch.kernels.fused.vectors import lanes
from rulesearch.network import gate
from rulesearch.operators import POST, PRE, SCALAR


#: Most columns of a row that a lane keeps in registers.
MOST_CHUNKS = 12
#: Bytes of shared memory that a block has without asking, and that it may ask for.
SHARED_BYTES, SHARED_AT_MOST = 48 * 1024, 227 * 1024
#: Bits of `order` that say which rows a pass takes; see `list_rows`.
_LIT, _TOUCHED, _DARK = 1, 2, 4


def run(
    kernel: FusedKernel, batch: Batch, *, gradient: Sequence[int], keep_weights: bool
) -> KernelOutput:
    """Run lifetimes, as `FusedKernel` does, where the tensors are.

    Raises:
        Unsupported: what is not taken on a GPU.
    """
    if batch.theta.dtype not in (torch.float32, torch.float64):
        raise Unsupported(f"dtype {batch.theta.dtype}")
    if gradient and keep_weights:
        # The way back undoes what the way forward has made of the weights.
        found = run(kernel, batch, gradient=gradient, keep_weights=False)
        kept = run(kernel, batch, gradient=(), keep_weights=True)
        return replace(kept, loss=found.loss, accuracy=found.accuracy, gradient=found.gradient)
    with torch.no_grad():
        job = _prepared(kernel, batch, bool(gradient), keep_weights)
        _launch(job, bool(gradient))
        return _outcome(kernel, batch, job, gradient, keep_weights)


@dataclass(frozen=True)
class _Job:
    """Lifetimes that are ready to run.

    Attributes:
        module: the generated one.
        layout: of a lifetime's values.
        values: [lifetimes, values].
        tables: where they are, [lifetimes, layers of neurons, columns].
        kept: the pixels that are not left out, [lifetimes, pixels], and which of these there are.
        there: the lifetimes' own among them, likewise.
        given: what the kernel takes, by its names.
        asked: see `fused.lifetimes.Job`.
        lowest: likewise.
        out: loss, accuracy, loss before the first step, [lifetimes, 3].
    """

    module: Module
    layout: Layout
    values: Tensor
    tables: Tensor
    kept: Tensor
    there: Tensor
    given: Mapping[str, Tensor]
    asked: Tensor | None
    lowest: int
    out: Tensor


def _prepared(kernel: FusedKernel, batch: Batch, backward: bool, keep_weights: bool) -> _Job:
    theta, schedule = batch.theta.detach(), kernel.schedule
    device, dtype = theta.device, theta.dtype
    numbers = kernel.numbers or batch.labels.is_floating_point()
    times, targets, labels = batch.asked, batch.targets, batch.labels
    ones = torch.eye(kernel.sizes[-1], dtype=dtype, device=device)
    if kernel.numbers:
        labels = labels if labels.is_floating_point() else ones[labels]
        targets = ones[batch.query_labels][:, None] if targets is None else targets
        times = times or (batch.x.shape[1],)
    starts, slots = _checkpoints(kernel, theta, batch.x.shape[1], backward)
    asked = None
    if times:
        rows = [(time, slots + i) for i, time in enumerate(times)]
        asked = torch.tensor(rows, dtype=torch.int64, device=device)
        slots += len(rows) if backward else 0
    plans = [each.plan for each in schedule.all]
    skips = _skips(kernel, batch)
    kept, there = _kept(kernel, batch, skips, keep_weights)
    sizes = (kept.shape[1], *kernel.sizes[1:])
    queries = batch.query_x.shape[1]
    layout = layout_of(
        schedule,
        sizes,
        kernel.sources,
        fans=kernel.sizes,
        itemsize=theta.itemsize,
        steps=batch.x.shape[1],
        queries=queries,
        slots=slots,
    )
    tables = _tables(layout, batch, skips, there)
    values = torch.zeros(len(theta), layout.length, dtype=dtype, device=device)
    job = _Job(
        _module(kernel, layout, theta, asks=asked is not None, numbers=numbers),
        layout,
        values,
        tables,
        kept,
        there,
        {},
        asked,
        kernel.lowest(plans),
        torch.empty(len(theta), 3, dtype=dtype, device=device),
    )
    _fill(kernel, batch, job)
    x = _pixels(batch.x, job)
    most = max(len(each) for each in starts)
    padded = np.stack([np.pad(each, (0, most - len(each))) for each in starts])
    given = {
        "x": x,
        "slopes": gate(schedule.plan.model.activation).slope(x, x).to(dtype).contiguous(),
        "labels": labels.contiguous(),
        "answers": labels.to(dtype).contiguous() if numbers else labels,
        "query_labels": batch.query_labels.contiguous(),
        "starts": torch.from_numpy(padded).to(device),
        "counts": torch.tensor([len(each) for each in starts], device=device),
    }
    if schedule.plan.model.noise:
        given["noise"] = _noise(kernel, batch)
    if targets is not None and times:
        # Their mean says what the loss is before the first step.
        targets = torch.cat([targets.mean(1, keepdim=True), targets], 1)
        given["targets"] = targets.to(dtype).contiguous()
    return replace(job, given=given)


def _module(
    kernel: FusedKernel, layout: Layout, theta: Tensor, *, asks: bool, numbers: bool
) -> Module:
    widths = layout.table[1:, WIDTH].tolist()
    chunks = Chunks(-(-max(widths) // WARP), min(widths) // WARP)
    if chunks.most > MOST_CHUNKS:
        raise Unsupported(f"layers of more than {MOST_CHUNKS * WARP} neurons on a GPU")
    dtype = str(theta.dtype).removeprefix("torch.")
    made = source(
        kernel.schedule,
        carrier=kernel.carrier,
        dtype=dtype,
        lanes=lanes(theta.itemsize),
        chunks=chunks,
        asks=asks,
        numbers=numbers,
    )
    if _shared_bytes(made, layout, theta) > SHARED_AT_MOST:
        raise Unsupported("a pool that sums up so many vectors at once on a GPU")
    return made


def _shared_bytes(module: Module, layout: Layout, theta: Tensor) -> int:
    width = int(layout.table[1:, WIDTH].max())
    return module.shared(THREADS // WARP, width) * theta.itemsize


def _checkpoints(
    kernel: FusedKernel, theta: Tensor, steps: int, backward: bool
) -> tuple[list[np.ndarray], int]:
    if not backward:
        return [np.zeros(1, dtype=np.int64)] * len(theta), 0
    return kernel.checkpoints(theta.cpu().numpy(), steps)


# --- which pixels --------------------------------------------------------------------------------


def _skips(kernel: FusedKernel, batch: Batch) -> Tensor:
    """For each lifetime, whether pixels that are zero are left out; see `FusedKernel`."""
    plans = [each.plan for each in kernel.schedule.all]
    if not kernel.skips or all(map(bounded_beside_pixels, plans)):
        return torch.full((len(batch.theta),), kernel.skips, device=batch.x.device)
    return (batch.x != 0).any(2).all(1)


def _kept(
    kernel: FusedKernel, batch: Batch, skips: Tensor, keep_weights: bool
) -> tuple[Tensor, Tensor]:
    """For each lifetime, the pixels that are not zero throughout, ascending; or all of them.

    They are followed by others, where another lifetime has more; second, which are its own.
    """
    count, pixels = len(batch.theta), kernel.sizes[0]
    lit = torch.ones(count, pixels, dtype=torch.bool, device=batch.x.device)
    if not keep_weights and all(drops_columns(each.plan) for each in kernel.schedule.all):
        shown = (batch.x != 0).any(1) | (batch.query_x != 0).any(1)
        lit = torch.where(skips[:, None], shown, lit)
    most = max(1, int(lit.sum(1).max()))
    order = torch.sort((~lit).to(torch.uint8), dim=1, stable=True).indices[:, :most]
    return order, lit.gather(1, order)


def _pixels(images: Tensor, job: _Job) -> Tensor:
    """The pixels that are kept of images [lifetimes, images, pixels]; 0 where a lifetime has less."""
    where = job.kept[:, None, :].expand(-1, images.shape[1], -1)
    found = images.detach().gather(2, where)
    return torch.where(job.there[:, None, :], found, torch.zeros_like(found)).contiguous()


def _rows(matrices: Tensor, job: _Job, layer: int) -> Tensor:
    """Of matrices [lifetimes, pre, …] of a layer, the rows that are kept."""
    if layer > 0:
        return matrices
    where = job.kept[:, :, None].expand(-1, -1, matrices.shape[2])
    found = matrices.gather(1, where)
    return torch.where(job.there[:, :, None], found, torch.zeros_like(found))


# --- what lifetimes start from -------------------------------------------------------------------


def _tables(layout: Layout, batch: Batch, skips: Tensor, there: Tensor) -> Tensor:
    """A table for each lifetime. Of rows the lists are bits here, and the ends are those of all."""
    table = torch.from_numpy(layout.table.copy())
    table[0, LIT], table[0, TOUCHED], table[0, DARK] = _LIT, _TOUCHED, _DARK
    table[0, BEGUN] = batch.begun
    tables = table.to(there.device).repeat(len(there), 1, 1)
    sizes = there.sum(1)
    rows = (sizes + ROW_BLOCK) // ROW_BLOCK * ROW_BLOCK
    tables[:, 0, SIZE], tables[:, 0, SKIPS] = sizes, skips.to(torch.int64)
    for column in (ROWS, LIT_END, TOUCHED_END, DARK_END):
        tables[:, 0, column] = rows
    return tables


def _matrix(job: _Job, layer: int, place: int, width: int) -> Tensor:
    """A stored matrix of a layer, [lifetimes, rows, width], as a view."""
    rows = int(job.layout.table[layer, ROWS])
    return job.values[:, place : place + rows * width].view(-1, rows, width)


def _width(layout: Layout, layer: int, column: int) -> int:
    table = layout.table
    return int(table[layer + 1 if column == W else table[layer, SOURCE], WIDTH])


def _fill(kernel: FusedKernel, batch: Batch, job: _Job) -> None:
    """Write what lifetimes start from; all else is zero."""
    table, values, layout = job.layout.table, job.values, job.layout

    def put(place: int, block: Tensor) -> None:
        values[:, place : place + block.shape[1]] = block

    for i, weights in enumerate(batch.weights):
        block = _rows(weights.detach().transpose(1, 2), job, i)
        stored = _matrix(job, i, int(table[i, W]), _width(layout, i, W))
        stored[:, : block.shape[1], : block.shape[2]] = block
        put(int(table[i, THETA]), batch.theta.detach()[:, i])
    for i, feedback in enumerate(batch.feedback or ()):
        block = _rows(feedback.detach(), job, i)
        stored = _matrix(job, i, int(table[i, B]), _width(layout, i, B))
        stored[:, : block.shape[1], : block.shape[2]] = block
    put(int(table[0, ONES]), job.there.to(values.dtype))
    for i, size in enumerate(kernel.sizes[1:], 1):
        values[:, table[i, ONES] : table[i, ONES] + size] = 1
    for place, biases in zip(layout.biases, batch.biases or (), strict=False):
        put(place, biases.detach())
    query, width = _pixels(batch.query_x, job), int(table[0, WIDTH])
    begin = int(table[0, Q_Y])
    stored = values[:, begin : begin + query.shape[1] * width].view(-1, query.shape[1], width)
    stored[:, :, : query.shape[2]] = query
    for place in layout.traces:
        start = _begun(kernel, batch, place)
        if place.width:
            block = _rows(start.transpose(1, 2), job, place.layer)
            stored = _matrix(job, place.layer, place.start, place.width)
            stored[:, : block.shape[1], : block.shape[2]] = block
            continue
        start = start[:, 0]
        if place.neurons == 0:
            start = _pixels(start[:, None], job)[:, 0]
        put(place.start, start)


def _begun(kernel: FusedKernel, batch: Batch, place: TracePlace) -> Tensor:
    """What a trace begins from, [lifetimes, post or 1, neurons or pre or 1]."""
    given = batch.memories.get(place.key)
    if given is None and place.changes == "W":
        # Those of a plan of biases, which is one with that of the weights here.
        given = batch.memories.get(("b", place.layer, place.name))
    if given is not None:
        return given.detach()
    schedule = next(each for each in kernel.schedule.all if each.plan.changes == place.changes)
    trace = next(one for one in schedule.plan.carried if one.name == place.name)
    back = place.changes == "B"
    post = kernel.sizes[kernel.sources[place.layer] if back else place.layer + 1]
    pre = kernel.sizes[place.layer]
    shape = {PRE: (1, pre), POST: (1, post), SCALAR: (1, 1)}.get(trace.index, (post, pre))
    initial = 0.0 if trace.initial is None else trace.initial
    return torch.full(
        (len(batch.theta), *shape), initial, dtype=batch.theta.dtype, device=batch.theta.device
    )


def _noise(kernel: FusedKernel, batch: Batch) -> Tensor:
    """The noise of all layers side by side, [lifetimes, steps, neurons]."""
    if batch.noise is not None:
        return torch.cat([xi.detach() for xi in batch.noise], dim=-1).contiguous()
    shape = (*batch.x.shape[:2], sum(kernel.sizes[1:]))
    return torch.zeros(shape, dtype=batch.theta.dtype, device=batch.theta.device)


# --- the launch, and what comes of it ------------------------------------------------------------


def _launch(job: _Job, backward: bool) -> None:
    rows = int(job.layout.table[:, ROWS].max())
    order = torch.zeros(len(job.values), rows, dtype=torch.int64, device=job.values.device)
    names = [*job.module.given, "starts", "counts"]
    tensors = [job.values, job.tables, order, *(job.given[name] for name in names)]
    tensors += [job.asked] if job.asked is not None else []
    arrays = [_array(tensor) for tensor in (*tensors, job.out)]
    size = _shared_bytes(job.module, job.layout, job.values)
    chosen = getattr(_loaded(job.module.text), "gradients" if backward else "lifetimes")
    if SIMULATED:
        chosen[len(job.values), THREADS, 0, size](*arrays, job.lowest)
        return
    _allow(chosen, (*arrays, job.lowest), size)
    stream = cuda.external_stream(torch.cuda.current_stream(job.values.device).cuda_stream)
    chosen[len(job.values), THREADS, stream, size](*arrays, job.lowest)


def _array(tensor: Tensor) -> Any:
    return tensor.numpy() if SIMULATED else cuda.as_cuda_array(tensor)


@lru_cache(maxsize=64)
def _loaded(text: str) -> ModuleType:
    """A generated module, compiled when its kernels are first called."""
    module = ModuleType("rulesearch_cuda_kernel")
    exec(compile(text, "<cuda kernel>", "exec"), module.__dict__)  # our own text
    return module


def _allow(kernel: Any, arguments: tuple[Any, ...], size: int) -> None:
    """Let a block of a kernel have so many bytes of shared memory: numba has no word for it."""
    if size <= SHARED_BYTES:
        return
    from numba.cuda.cudadrv.driver import binding, driver

    if not kernel.overloads:
        kernel.compile(tuple(kernel.typeof_pyval(argument) for argument in arguments))
    attribute = binding.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    for made in kernel.overloads.values():
        function = made._codelibrary.get_cufunc()
        driver.cuKernelSetAttribute(attribute, size, function.handle, function.device.id)


def _outcome(
    kernel: FusedKernel, batch: Batch, job: _Job, gradient: Sequence[int], keep_weights: bool
) -> KernelOutput:
    loss, accuracy, initial = job.out.T.contiguous()
    layout, table = job.layout, job.layout.table
    derivative = None
    if gradient:
        count = batch.theta.shape[2]
        layers = range(batch.theta.shape[1])
        found = [job.values[:, p : p + count] for p in (int(table[i, A_THETA]) for i in layers)]
        derivative = asked_for(torch.stack(found, 1), gradient, loss)
    if not keep_weights:
        return KernelOutput(loss, accuracy, initial, derivative, None)
    weights = [
        _matrix(job, i, int(table[i, W]), _width(layout, i, W))
        .transpose(1, 2)[:, : w.shape[1], : w.shape[2]]
        .contiguous()
        for i, w in enumerate(batch.weights)
    ]
    feedback = None
    if kernel.schedule.back:
        feedback = [
            _matrix(job, i, int(table[i, B]), _width(layout, i, B))[
                :, : f.shape[1], : f.shape[2]
            ].contiguous()
            for i, f in enumerate(batch.feedback or ())
        ]
    biases = None
    if kernel.schedule.plan.model.bias:
        places = zip(layout.biases, kernel.sizes[1:], strict=True)
        biases = [job.values[:, place : place + size].clone() for place, size in places]
    memories = {place.key: _memory(kernel, batch, job, place) for place in layout.traces}
    return KernelOutput(
        loss,
        accuracy,
        initial,
        None,
        weights,
        feedback=feedback,
        biases=biases,
        memories=memories,
    )


def _memory(kernel: FusedKernel, batch: Batch, job: _Job, place: TracePlace) -> Tensor:
    """What a trace is after the last step; every pixel is kept here."""
    table, like = job.layout.table, _begun(kernel, batch, place)
    if place.width:
        stored = _matrix(job, place.layer, place.start, place.width).transpose(1, 2)
        return stored[:, : like.shape[1], : like.shape[2]].contiguous()
    frame = batch.x.shape[1] & 1
    begin = int(table[0, FRAMES] + frame * table[0, FRAME]) + place.value
    return job.values[:, None, begin : begin + like.shape[2]].clone()
