"""The fused kernel's public face: plan in, lifetimes out, one lifetime to a thread at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from sympy import Expr, Function, Max, Min

from rulesearch.kernels import Batch, Outcome, Unsupported
from rulesearch.kernels.fused import cache
from rulesearch.kernels.fused.layout import (
    A_THETA,
    ONES,
    Q_Y,
    ROWS,
    SOURCE,
    THETA,
    WIDTH,
    B,
    Layout,
    W,
    layout,
)
from rulesearch.kernels.fused.program import source
from rulesearch.kernels.fused.schedule import Schedule, schedule
from rulesearch.kernels.fused.vectors import lanes
from rulesearch.lowering import Elementwise, Plan
from rulesearch.operators import operator_of
from rulesearch.pathways import Pathway

#: Steps from one checkpoint of the weights to the next.
SEGMENT = 25
#: How much undoing a decay may magnify rounding errors before a checkpoint ends that.
MAGNIFICATION = 8.0

Array = NDArray[np.floating]


@dataclass(frozen=True)
class FusedKernel:
    """A plan, a network and a pathway; compiled at the first call.

    Attributes:
        order: the plan's schedule.
        sizes: neurons of each layer, input to output.
        path: how errors travel.
    """

    order: Schedule
    sizes: tuple[int, ...]
    path: Pathway

    @property
    def source(self) -> str:
        """The generated module, for float32."""
        return _source(self.order, self.path.tied, "float32")

    def __call__(
        self, batch: Batch, *, gradient: Sequence[int] = (), keep_weights: bool = False
    ) -> Outcome:
        """Run lifetimes; see `rulesearch.kernels.Kernel`.

        Raises:
            Unsupported: tensors that are not on the CPU, or neither float32 nor float64.
        """
        theta = batch.theta
        if theta.device.type != "cpu":
            raise Unsupported(f"tensors on {theta.device.type}")
        if theta.dtype not in (torch.float32, torch.float64):
            raise Unsupported(f"dtype {theta.dtype}")
        dtype = "float32" if theta.dtype == torch.float32 else "float64"
        module = cache.load(_source(self.order, self.path.tied, dtype))
        data = _arrays(batch)
        results = _results(data, bool(gradient), keep_weights)
        where = self._layout(data, bool(gradient))
        count = len(theta)
        threads = max(1, min(torch.get_num_threads(), count))

        def work(first: int) -> None:
            # Each lifetime is computed alone, so that it does not matter who computes it.
            _lifetimes(self, module, data, results, where, range(first, count, threads))

        if threads == 1:
            work(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))
        return _outcome(results, gradient)

    def _layout(self, data: _Arrays, gradient: bool) -> Layout:
        return layout(
            self.order,
            self.sizes,
            [edge.source for edge in sorted(self.path.edges, key=lambda e: e.target)],
            fans=self.sizes,
            itemsize=data.theta.itemsize,
            steps=data.x.shape[1],
            queries=data.query_x.shape[1],
            segment=self._segment(data.theta) if gradient else 0,
        )

    def _segment(self, theta: Array) -> int:
        """Steps between checkpoints, fewer where undoing a decay would magnify errors.

        A decay by 1 - θ is undone by dividing, and so are the rounding errors made since.
        """
        factor = np.ones(theta.shape[:2])
        for group in self.order.scalings if self.order.undoes else ():
            for part in group.parts:
                factor += theta[:, :, part.term] * float(part.coefficient)
        smallest = float(np.abs(factor).min(initial=1.0))
        if not 0 < smallest < 1:  # also where it is not a number
            return SEGMENT if smallest == 1 else 1
        return max(1, min(SEGMENT, int(math.log(MAGNIFICATION) / -math.log(smallest))))


def build(plan: Plan, sizes: tuple[int, ...], path: Pathway) -> FusedKernel:
    """The fused kernel of a plan.

    Raises:
        Unsupported: an operator of the plan, or of its derivatives, has no Numba spelling.
    """
    for node in plan.nodes:
        if isinstance(node, Elementwise):
            for expression in (node.expression, *node.partials.values()):
                _refuse_unspelled(expression)
    assert all(e.source > e.target for e in path.edges), "errors travel backward"
    return FusedKernel(schedule(plan), sizes, path)


def _refuse_unspelled(expression: Expr) -> None:
    for call in expression.atoms(Function, Max, Min):
        row = operator_of(call.func)
        if row is None or not (row.definition or "numba" in row.spelling):
            raise Unsupported(f"operator {call.func.__name__} has no Numba spelling")


@lru_cache(maxsize=256)
def _source(order: Schedule, tied: bool, dtype: str) -> str:
    return source(order, tied=tied, dtype=dtype, lanes=lanes(np.dtype(dtype).itemsize))


# --- tensors in, tensors out ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Arrays:
    """A batch as NumPy arrays; same names and shapes."""

    theta: Array
    weights: list[Array]
    feedback: list[Array] | None
    x: Array
    labels: NDArray[np.int64]
    query_x: Array
    query_labels: NDArray[np.int64]


@dataclass(frozen=True)
class _Results:
    """What the lifetimes write, each into its own place.

    Attributes:
        numbers: loss, accuracy, loss before the first step; [lifetimes, 3].
        gradient: [lifetimes, layers, terms], or None.
        weights: list over layers of [lifetimes, post, pre], or None.
    """

    numbers: Array
    gradient: Array | None
    weights: list[Array] | None


def _arrays(batch: Batch) -> _Arrays:
    feedback = batch.feedback
    return _Arrays(
        batch.theta.detach().numpy(),
        [w.detach().numpy() for w in batch.weights],
        None if feedback is None else [b.detach().numpy() for b in feedback],
        np.ascontiguousarray(batch.x.detach().numpy()),
        np.ascontiguousarray(batch.labels.numpy(), dtype=np.int64),
        batch.query_x.detach().numpy(),
        np.ascontiguousarray(batch.query_labels.numpy(), dtype=np.int64),
    )


def _results(data: _Arrays, gradient: bool, keep_weights: bool) -> _Results:
    return _Results(
        np.empty((len(data.theta), 3), data.theta.dtype),
        np.empty_like(data.theta, order="C") if gradient else None,
        [np.empty_like(w, order="C") for w in data.weights] if keep_weights else None,
    )


def _outcome(results: _Results, gradient: Sequence[int]) -> Outcome:
    derivative = None
    if results.gradient is not None:
        asked = torch.from_numpy(results.gradient)
        derivative = torch.zeros_like(asked)
        derivative[..., list(gradient)] = asked[..., list(gradient)]
    numbers = torch.from_numpy(results.numbers)
    weights = results.weights
    return Outcome(
        loss=numbers[:, 0].clone(),
        accuracy=numbers[:, 1].clone(),
        initial_loss=numbers[:, 2].clone(),
        gradient=derivative,
        weights=None if weights is None else [torch.from_numpy(w) for w in weights],
    )


# --- lifetimes -----------------------------------------------------------------------------------


def _lifetimes(
    kernel: FusedKernel,
    module: ModuleType,
    data: _Arrays,
    results: _Results,
    where: Layout,
    share: range,
) -> None:
    """Run some lifetimes in one thread, in one array that they use in turn."""
    table = where.table.copy()
    s = np.zeros(where.length, data.theta.dtype)
    segment = kernel._segment(data.theta) if results.gradient is not None else 0
    order = np.arange(table[:, ROWS].max(), dtype=np.int64)
    for i, size in enumerate(kernel.sizes):
        s[table[i, ONES] :][:size] = 1
    for b in share:
        _put(s, table, data, b)
        labels, query_labels = data.labels[b], data.query_labels[b]
        out = np.empty(3, s.dtype)
        keep = results.gradient is not None
        module.forward(s, table, order, data.x[b], labels, query_labels, keep, segment, out)
        results.numbers[b] = out
        if results.weights is not None:
            for weights, stored in zip(results.weights, _matrices(s, table, W), strict=True):
                post, pre = weights.shape[1:]
                weights[b] = stored[:pre, :post].T
        if results.gradient is not None:
            module.adjoint(s, table, order, data.x[b], labels, len(query_labels), segment)
            terms = data.theta.shape[2]
            for i in range(len(table) - 1):
                results.gradient[b, i] = s[table[i, A_THETA] :][:terms]


def _put(s: Array, table: NDArray[np.int64], data: _Arrays, b: int) -> None:
    """Write what a lifetime starts from; padding is zero."""
    for stored, weights in zip(_matrices(s, table, W), data.weights, strict=True):
        post, pre = weights.shape[1:]
        stored[:pre, :post] = weights[b].T
        stored[pre:], stored[:, post:] = 0, 0
    for stored, back in zip(_matrices(s, table, B), data.feedback or [], strict=False):
        target, source_size = back.shape[1:]
        stored[:target, :source_size] = back[b]
    for i, theta in enumerate(data.theta[b]):
        s[table[i, THETA] :][: len(theta)] = theta
    queries, inputs = data.query_x.shape[1:]
    stride = table[0, WIDTH]
    stored = s[table[0, Q_Y] :][: queries * stride].reshape(queries, stride)
    stored[:, :inputs] = data.query_x[b]


def _matrices(s: Array, table: NDArray[np.int64], column: int) -> Iterator[Array]:
    """The stored matrices of all layers, [rows, width], as views."""


    for i in range(len(table) - 1):
        width = table[i + 1, WIDTH] if column == W else table[table[i, SOURCE], WIDTH]
        rows = table[i, ROWS]
        yield s[table[i, column] :][: rows * width].reshape(rows, width)
