"""What lifetimes on a GPU start from: tensors into one array a lifetime, and its table.

The layout is that of the CPU. Rows of pixels that are zero throughout a task are left out, in each
lifetime its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rulesearch.kernels.batch import Batch, begun
from rulesearch.kernels.fused.cuda.program import Module
from rulesearch.kernels.fused.layout import (
    BEGUN,
    DARK,
    DARK_END,
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
    W,
    layout_of,
)
from rulesearch.kernels.fused.savings import drops_columns
from rulesearch.kernels.fused.work import Work, bounded_beside_pixels
from rulesearch.network import gate

#: Bits of `order` that say which rows a pass takes; see `list_rows`.
_LIT, _TOUCHED, _DARK = 1, 2, 4

#: Whether the query is asked after some steps, whether answers are numbers -> the module.
Write = Callable[[bool, bool], Module]


@dataclass(frozen=True)
class Job:
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


def prepared(
    work: Work,
    batch: Batch,
    write: Write,
    *,
    backward: bool,
    keep_weights: bool,
    undone: bool = True,
) -> Job:
    """Lifetimes that are ready to run; `write` gives the module for queries and labels as told."""
    theta, schedule = batch.theta.detach(), work.schedule
    device, dtype = theta.device, theta.dtype
    numbers = work.numbers or batch.labels.is_floating_point()
    times, targets, labels = batch.asked, batch.targets, batch.labels
    ones = torch.eye(work.sizes[-1], dtype=dtype, device=device)
    if work.numbers:
        labels = labels if labels.is_floating_point() else ones[labels]
        targets = ones[batch.query_labels][:, None] if targets is None else targets
        times = times or (batch.x.shape[1],)
    starts, slots = _checkpoints(work, theta, batch.x.shape[1], backward, undone)
    asked = None
    if times:
        rows = [(time, slots + i) for i, time in enumerate(times)]
        asked = torch.tensor(rows, dtype=torch.int64, device=device)
        slots += len(rows) if backward else 0
    plans = [each.plan for each in schedule.all]
    skips = _skips(work, batch)
    kept, there = _kept(work, batch, skips, keep_weights)
    sizes = (kept.shape[1], *work.sizes[1:])
    queries = batch.query_x.shape[1]
    layout = layout_of(
        schedule,
        sizes,
        work.sources,
        fans=work.sizes,
        itemsize=theta.itemsize,
        steps=batch.x.shape[1],
        queries=queries,
        slots=slots,
    )
    tables = _tables(layout, batch, skips, there)
    values = torch.zeros(len(theta), layout.length, dtype=dtype, device=device)
    job = Job(
        write(asked is not None, numbers),
        layout,
        values,
        tables,
        kept,
        there,
        {},
        asked,
        work.lowest(plans),
        torch.empty(len(theta), 3, dtype=dtype, device=device),
    )
    _fill(work, batch, job)
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
        given["noise"] = _noise(work, batch)
    if targets is not None and times:
        given["targets"] = targets.to(dtype).contiguous()
    return replace(job, given=given)


def _checkpoints(
    work: Work, theta: Tensor, steps: int, backward: bool, undone: bool
) -> tuple[list[np.ndarray], int]:
    if not backward:
        return [np.zeros(1, dtype=np.int64)] * len(theta), 0
    return work.checkpoints(theta.cpu().numpy(), steps, undone=undone)


# --- which pixels --------------------------------------------------------------------------------


def _skips(work: Work, batch: Batch) -> Tensor:
    """For each lifetime, whether pixels that are zero are left out; see `FusedKernel`."""
    plans = [each.plan for each in work.schedule.all]
    if not work.skips or all(map(bounded_beside_pixels, plans)):
        return torch.full((len(batch.theta),), work.skips, device=batch.x.device)
    return (batch.x != 0).any(2).all(1)


def _kept(work: Work, batch: Batch, skips: Tensor, keep_weights: bool) -> tuple[Tensor, Tensor]:
    """For each lifetime, the pixels that are not zero throughout, ascending; or all of them.

    They are followed by others, where another lifetime has more; second, which are its own.
    """
    count, pixels = len(batch.theta), work.sizes[0]
    lit = torch.ones(count, pixels, dtype=torch.bool, device=batch.x.device)
    if not keep_weights and all(drops_columns(each.plan) for each in work.schedule.all):
        shown = (batch.x != 0).any(1) | (batch.query_x != 0).any(1)
        lit = torch.where(skips[:, None], shown, lit)
    most = max(1, int(lit.sum(1).max()))
    order = torch.sort((~lit).to(torch.uint8), dim=1, stable=True).indices[:, :most]
    return order, lit.gather(1, order)


def _pixels(images: Tensor, job: Job) -> Tensor:
    """Of images [lifetimes, images, pixels] the pixels that are kept; 0 behind a lifetime's own."""
    where = job.kept[:, None, :].expand(-1, images.shape[1], -1)
    found = images.detach().gather(2, where)
    return torch.where(job.there[:, None, :], found, torch.zeros_like(found)).contiguous()


def _rows(matrices: Tensor, job: Job, layer: int) -> Tensor:
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


def matrix(job: Job, layer: int, place: int, width: int) -> Tensor:
    """A stored matrix of a layer, [lifetimes, rows, width], as a view."""
    rows = int(job.layout.table[layer, ROWS])
    return job.values[:, place : place + rows * width].view(-1, rows, width)


def width_of(layout: Layout, layer: int, column: int) -> int:
    """Values in a row of a layer's W, or B."""
    table = layout.table
    return int(table[layer + 1 if column == W else table[layer, SOURCE], WIDTH])


def _fill(work: Work, batch: Batch, job: Job) -> None:
    """Write what lifetimes start from; all else is zero."""
    table, values, layout = job.layout.table, job.values, job.layout

    def put(place: int, block: Tensor) -> None:
        values[:, place : place + block.shape[1]] = block

    for i, weights in enumerate(batch.weights):
        block = _rows(weights.detach().transpose(1, 2), job, i)
        stored = matrix(job, i, int(table[i, W]), width_of(layout, i, W))
        stored[:, : block.shape[1], : block.shape[2]] = block
        put(int(table[i, THETA]), batch.theta.detach()[:, i])
    for i, feedback in enumerate(batch.feedback or ()):
        block = _rows(feedback.detach(), job, i)
        stored = matrix(job, i, int(table[i, B]), width_of(layout, i, B))
        stored[:, : block.shape[1], : block.shape[2]] = block
    put(int(table[0, ONES]), job.there.to(values.dtype))
    for i, size in enumerate(work.sizes[1:], 1):
        values[:, table[i, ONES] : table[i, ONES] + size] = 1
    for begin, biases in zip(layout.biases, batch.biases or (), strict=False):
        put(begin, biases.detach())
    query, width = _pixels(batch.query_x, job), int(table[0, WIDTH])
    first = int(table[0, Q_Y])
    stored = values[:, first : first + query.shape[1] * width].view(-1, query.shape[1], width)
    stored[:, :, : query.shape[2]] = query
    traces = begun(batch, work.schedule.plan, work.sizes, work.path)
    for place in layout.traces:
        start = traces[place.key].detach()
        if place.width:
            block = _rows(start.transpose(1, 2), job, place.layer)
            stored = matrix(job, place.layer, place.start, place.width)
            stored[:, : block.shape[1], : block.shape[2]] = block
            continue
        start = start[:, 0]
        if place.neurons == 0:
            start = _pixels(start[:, None], job)[:, 0]
        put(place.start, start)


def _noise(work: Work, batch: Batch) -> Tensor:
    """The noise of all layers side by side, [lifetimes, steps, neurons]."""
    if batch.noise is not None:
        return torch.cat([xi.detach() for xi in batch.noise], dim=-1).contiguous()
    shape = (*batch.x.shape[:2], sum(work.sizes[1:]))
    return torch.zeros(shape, dtype=batch.theta.dtype, device=batch.theta.device)
