"""Lifetimes on a GPU: a launch, a block of threads a lifetime, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from rulesearch.kernels.batch import Batch, KernelOutput, Unsupported, asked_for, traces_of
from rulesearch.kernels.fused.cuda.program import Module, source
from rulesearch.kernels.fused.cuda.rows import Chunks
from rulesearch.kernels.fused.cuda.start import Job, matrix, prepared, width_of
from rulesearch.kernels.fused.cuda.words import SIMULATED, THREADS, WARP, cuda
from rulesearch.kernels.fused.layout import (
    A_THETA,
    FRAME,
    FRAMES,
    ROWS,
    WIDTH,
    B,
    TracePlace,
    W,
)
from rulesearch.kernels.fused.lifetimes import GROWTH
from rulesearch.kernels.fused.vectors import lanes
from rulesearch.kernels.fused.work import Work

#: Lifetimes at once whose updates are not undone: each keeps weights before every step.
UNDONE_NOT = 16
#: Most columns of a row that a lane keeps in registers.
MOST_CHUNKS = 12
#: Bytes of shared memory that a block has without asking, and that it may ask for.
SHARED_BYTES, SHARED_AT_MOST = 48 * 1024, 227 * 1024


def run(work: Work, batch: Batch, *, gradient: Sequence[int], keep_weights: bool) -> KernelOutput:
    """Run lifetimes, as `FusedKernel` does, where the tensors are.

    Raises:
        Unsupported: what is not taken on a GPU.
    """
    if batch.theta.dtype not in (torch.float32, torch.float64):
        raise Unsupported(f"dtype {batch.theta.dtype}")
    if not batch.x.shape[1]:
        raise Unsupported("no training example, on a GPU")
    if gradient and keep_weights:
        # The way back undoes what the way forward has made of the weights.
        found = run(work, batch, gradient=gradient, keep_weights=False)
        kept = run(work, batch, gradient=(), keep_weights=True)
        return replace(kept, loss=found.loss, accuracy=found.accuracy, gradient=found.gradient)
    found = _live(work, batch, gradient, keep_weights)
    if not (gradient and work.schedule.undoes):
        return found
    grown = _grown(work, batch, found)
    number = grown.cumsum(0)
    for last in range(0, int(grown.sum()), UNDONE_NOT):
        which = grown & (number > last) & (number <= last + UNDONE_NOT)
        again = _live(work, batch.only(which), gradient, False, undone=False)
        found = found.with_derivatives(which, again)
    return found


def _live(
    work: Work, batch: Batch, gradient: Sequence[int], keep_weights: bool, *, undone: bool = True
) -> KernelOutput:
    write = partial(module_of, work, batch.theta.dtype)
    backward = bool(gradient)
    with torch.no_grad():
        job = prepared(
            work, batch, write, backward=backward, keep_weights=keep_weights, undone=undone
        )
        _launch(job, backward)
        return _outcome(work, batch, job, gradient, keep_weights)


def _grown(work: Work, batch: Batch, found: KernelOutput) -> Bool[Tensor, " lifetimes"]:
    """Which have grown, so that updates are not to be undone there, as `fused.lifetimes` has it.

    The way back has undone what weights were at the end: those that ended worse live once more.
    """
    worse = (found.initial_loss < found.loss) & found.loss.isfinite()
    if not worse.any():
        return worse
    some = batch.only(worse)
    kept = _live(work, some, (), True)
    pairs = [*zip(kept.weights or (), some.weights, strict=True)]
    pairs += zip(kept.feedback or (), some.feedback or (), strict=False)
    sizes = [[each.abs().flatten(1).amax(1) for each in pair] for pair in pairs]
    grown = torch.stack([now > GROWTH * then for now, then in sizes]).any(0)
    return worse.masked_scatter(worse, grown)


def module_of(work: Work, dtype: torch.dtype, asks: bool = False, numbers: bool = False) -> Module:
    """The module of a kernel; see `fused.program.source`.

    Raises:
        Unsupported: what is not taken on a GPU.
    """
    step = lanes(dtype.itemsize)
    widths = [-(-size // step) * step for size in work.sizes[1:]]
    chunks = Chunks(-(-max(widths) // WARP), min(widths) // WARP)
    if chunks.most > MOST_CHUNKS:
        raise Unsupported(f"layers of more than {MOST_CHUNKS * WARP} neurons, on a GPU")
    made = source(
        work.schedule,
        carrier=work.carrier,
        dtype=str(dtype).removeprefix("torch."),
        lanes=step,
        chunks=chunks,
        asks=asks,
        numbers=numbers,
    )
    if _shared_bytes(made, max(widths), dtype) > SHARED_AT_MOST:
        raise Unsupported("a pool that sums up so many vectors at once, on a GPU")
    return made


def _shared_bytes(module: Module, width: int, dtype: torch.dtype) -> int:
    return module.shared(THREADS // WARP, width) * dtype.itemsize


# --- the launch, and what comes of it ------------------------------------------------------------


def _launch(job: Job, backward: bool) -> None:
    rows = int(job.layout.table[:, ROWS].max())
    order = torch.zeros(len(job.values), rows, dtype=torch.int64, device=job.values.device)
    names = [*job.module.given, "starts", "counts"]
    tensors = [job.values, job.tables, order, *(job.given[name] for name in names)]
    tensors += [job.asked] if job.asked is not None else []
    arrays = [_array(tensor) for tensor in (*tensors, job.out)]
    width = int(job.layout.table[1:, WIDTH].max())
    size = _shared_bytes(job.module, width, job.values.dtype)
    chosen = getattr(loaded(job.module.text), "gradients" if backward else "lifetimes")
    if SIMULATED:
        chosen[len(job.values), THREADS, 0, size](*arrays, job.lowest)
        return
    _allow(chosen, (*arrays, job.lowest), size)
    stream = cuda.external_stream(torch.cuda.current_stream(job.values.device).cuda_stream)
    chosen[len(job.values), THREADS, stream, size](*arrays, job.lowest)


def _array(tensor: Tensor) -> Any:
    return tensor.numpy() if SIMULATED else cuda.as_cuda_array(tensor)


@lru_cache(maxsize=64)
def loaded(text: str) -> ModuleType:
    """A generated module, compiled when its kernels are first called."""
    module = ModuleType("rulesearch_cuda_kernel")
    exec(compile(text, "<cuda kernel>", "exec"), module.__dict__)  # our own text
    return module


def _allow(kernel: Any, arguments: tuple[Any, ...], size: int) -> None:
    """Let a block of a kernel have so many bytes of shared memory: numba has no word for it."""
    if size <= SHARED_BYTES:
        return
    from numba.cuda.cudadrv import driver as _driver

    numba: Any = _driver

    if not kernel.overloads:
        kernel.compile(tuple(kernel.typeof_pyval(argument) for argument in arguments))
    attribute = numba.binding.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    for made in kernel.overloads.values():
        function = made._codelibrary.get_cufunc()
        numba.driver.cuKernelSetAttribute(attribute, size, function.handle, function.device.id)


def _outcome(
    work: Work, batch: Batch, job: Job, gradient: Sequence[int], keep_weights: bool
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
        matrix(job, i, int(table[i, W]), width_of(layout, i, W))
        .transpose(1, 2)[:, : w.shape[1], : w.shape[2]]
        .contiguous()
        for i, w in enumerate(batch.weights)
    ]
    feedback = None
    if work.schedule.back:
        feedback = [
            matrix(job, i, int(table[i, B]), width_of(layout, i, B))[
                :, : f.shape[1], : f.shape[2]
            ].contiguous()
            for i, f in enumerate(batch.feedback or ())
        ]
    biases = None
    if work.schedule.plan.model.bias:
        places = zip(layout.biases, work.sizes[1:], strict=True)
        biases = [job.values[:, place : place + size].clone() for place, size in places]
    traces = dict(traces_of(work.schedule.plan, work.sizes, work.path))
    memories = {p.key: _memory(batch, job, p, traces[p.key][1:]) for p in layout.traces}
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


def _memory(batch: Batch, job: Job, place: TracePlace, shape: tuple[int, int]) -> Tensor:
    """What a trace is after the last step; every pixel is kept here."""
    table = job.layout.table
    if place.width:
        stored = matrix(job, place.layer, place.start, place.width).transpose(1, 2)
        return stored[:, : shape[0], : shape[1]].contiguous()
    frame = batch.x.shape[1] & 1
    begin = int(table[0, FRAMES] + frame * table[0, FRAME]) + place.value
    return job.values[:, None, begin : begin + shape[1]].clone()
