"""Whole lifetimes of backprop by Adam, one example a step: what a rule is compared with.

Kingma and Ba 2015, with both means corrected for their beginning at zero. It is no rule of a pool:
a synapse keeps two running means of its own, of the gradient and of its square. They lie in the
places of checkpoints, and everything but the change of the weights is the fused kernel's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from rulesearch.kernels.batch import Batch, KernelOutput
from rulesearch.kernels.fused import ahead
from rulesearch.kernels.fused.exchange import arrays, empty_results, outcome
from rulesearch.kernels.fused.layers import drive_source, error_source
from rulesearch.kernels.fused.layout import layout_of
from rulesearch.kernels.fused.lifetimes import Job, run
from rulesearch.kernels.fused.program import module, texts
from rulesearch.kernels.fused.rows import RowPass
from rulesearch.kernels.fused.schedule import Schedule, schedule_of
from rulesearch.kernels.fused.vectors import lanes
from rulesearch.lowering import lower_terms

#: Blocks of weights beside those in use: the two means.
_MEANS = 2

_LEARN = '''\
@compiled
def learn(s, at, l, f, t):
    """One step of Adam in a layer; the gradient is made where it is used, post times pre."""
    width = at[l + 1, WIDTH]
    w = pointer(s, at[l, W])
    first = pointer(s, at[0, CHECKPOINTS] + at[l, W] - at[0, W])
    second = pointer(first, at[0, WEIGHTS])
    y_pre, e_post = pointer(s, f + at[l, Y]), pointer(s, f + at[l + 1, E])
    # What corrects the means for their beginning stands outside the loop, in double precision.
    rate = splat(F(-s[at[l, THETA]] / (1.0 - {first!r} ** (t + 1))))
    spread = splat(F(1.0 / math.sqrt(1.0 - {second!r} ** (t + 1))))
    keep_first, keep_second = splat(F({first!r})), splat(F({second!r}))
    add_first, add_second = splat(F(1.0 - {first!r})), splat(F(1.0 - {second!r}))
    least = splat(F({epsilon!r}))
    for k in range(at[l, SIZE]):
        y = splat(y_pre[k])
        for j in range(0, width, LANES):
            i = k * width + j
            gradient = mul(y, load(e_post, j))
            mean = fma(add_first, gradient, mul(keep_first, load(first, i)))
            square = fma(add_second, mul(gradient, gradient), mul(keep_second, load(second, i)))
            store(first, i, mean)
            store(second, i, square)
            step = div(mean, fma(root(square), spread, least))
            store(w, i, fma(rate, step, load(w, i)))
'''

_FORWARD = '''\
@njit(**FLAGS)
def forward(s, at, order, x, slopes, labels, query_labels, keep, lowest, starts, out):
    """The online pass and the query loss; out[:] = loss, accuracy, loss before the first step."""
    depth = len(at) - 1
    b = at[0, SCRATCH]
    clear(pointer(s, at[0, CHECKPOINTS]), {means} * at[0, WEIGHTS])
    for steps in (0, len(x)):
        for t in range(steps):
            f = frame(at, t, False)
            pixels(s, at, f, x, slopes, t)
            list_rows(s, at, order, f, f)
            for l in range(depth):
                drive(s, at, l, f, b, f, order)
                if l < depth - 1:
                    hidden(s, at, l + 1, f, BETA)
            output(s, at, f, labels[t])
            for l in range(depth - 1, lowest - 1, -1):
                error(s, at, l, f, b, order)
            for l in range(depth):
                learn(s, at, l, f, t)
        loss, accuracy = query(s, at, query_labels, BETA, False)
        if steps == 0:
            out[2] = loss
    out[0] = loss
    out[1] = accuracy
'''


@dataclass(frozen=True)
class AdamKernel:
    """Backprop by Adam in one network; see `rulesearch.kernels.Kernel`.

    The coefficient of a layer, theta [lifetimes, layers, 1], is its rate. Feedback is not read:
    errors travel by the weights.

    Attributes:
        sizes: neurons of each layer, input to output.
        first: share of the mean of the gradients that a step leaves.
        second: share of the mean of their squares that it leaves.
        epsilon: what is added to the root of that, against a division by zero.
    """

    sizes: tuple[int, ...]
    first: float = 0.9
    second: float = 0.99
    epsilon: float = 1e-8

    @property
    def source(self) -> str:
        """The generated module, for float32."""
        return _source(self.first, self.second, self.epsilon, "float32")

    def __call__(
        self, batch: Batch, *, gradient: tuple[()] = (), keep_weights: bool = False
    ) -> KernelOutput:
        """Run lifetimes, forward only.

        Raises:
            Unsupported: tensors that are not on the CPU, or neither float32 nor float64.
        """
        data = arrays(batch)
        # The gradient by the weights of a pixel that is always dark is zero, and so are its means.
        lit = (data.x != 0).any(1) | (data.query_x != 0).any(1) | keep_weights
        kept = [np.flatnonzero(row) for row in lit]
        layout = layout_of(
            _without_terms(),
            (max(map(len, kept), default=0), *self.sizes[1:]),
            range(1, len(self.sizes)),
            fans=self.sizes,
            itemsize=data.theta.itemsize,
            steps=1,  # two frames: nothing is taped
            queries=data.query_x.shape[1],
            slots=_MEANS,
        )
        results = empty_results(data, False, keep_weights)
        text = _source(self.first, self.second, self.epsilon, str(data.theta.dtype))
        skips, starts = np.ones(len(kept), np.bool_), [np.zeros(0, np.int64)] * len(kept)
        run(
            Job(ahead.ready(text, ("forward",)), data, kept, skips, layout, 1, starts, results),
            torch.get_num_threads(),
        )
        return outcome(results, ())


@lru_cache(maxsize=1)
def _without_terms() -> Schedule:
    """A step of which nothing but activities and errors is wanted."""
    return schedule_of(lower_terms(()))


@lru_cache(maxsize=16)
def _source(first: float, second: float, epsilon: float, dtype: str) -> str:
    order, passes = _without_terms(), list[RowPass]()
    functions = [drive_source(order, passes), error_source(order, "transpose", passes)]
    learn = _LEARN.format(first=first, second=second, epsilon=epsilon)
    body = [*texts(functions, passes), learn, _FORWARD.format(means=_MEANS)]
    return module("Backprop by Adam.", body, {}, dtype=dtype, lanes=lanes(np.dtype(dtype).itemsize))
