"""The fused kernel's public face: plan in, lifetimes out, one lifetime to a thread at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from sympy import Expr, Function, Max, Min
from torch import Tensor

from rulesearch.kernels.batch import (
    Batch,
    KernelOutput,
    Key,
    Unsupported,
    begun,
    traces_of,
)
from rulesearch.kernels.fused import ahead, models
from rulesearch.kernels.fused.exchange import arrays, empty_results, one_hot, outcome
from rulesearch.kernels.fused.idle import idle_products, idle_source, placed
from rulesearch.kernels.fused.layout import layout_of
from rulesearch.kernels.fused.lifetimes import (
    Array,
    Arrays,
    Job,
    address_of_idle,
    run,
)
from rulesearch.kernels.fused.models import pixel_slopes
from rulesearch.kernels.fused.program import source
from rulesearch.kernels.fused.savings import drops_columns
from rulesearch.kernels.fused.schedule import Schedule, schedule_of
from rulesearch.kernels.fused.vectors import lanes
from rulesearch.kernels.fused.work import Work, bounded_beside_pixels
from rulesearch.lowering import Elementwise, Group, Plan
from rulesearch.operators import SYNAPSE, operator_of
from rulesearch.pathways import Carrier, Pathway


@dataclass(frozen=True)
class FusedKernel(Work):
    """Work, carried out; compiled at the first call."""

    @property
    def source(self) -> str:
        """The generated module, for float32."""
        return _source(self.schedule, self.carrier, "float32", self.numbers, self.numbers)

    def __call__(
        self,
        batch: Batch,
        *,
        gradient: Sequence[int] = (),
        idle: Plan | None = None,
        keep_weights: bool = False,
    ) -> KernelOutput:
        """Run lifetimes; see `rulesearch.kernels.Kernel`.

        Raises:
            Unsupported: tensors that are neither on the CPU nor on a GPU, or neither float32 nor
                float64; or what is not taken on a GPU.
        """
        if (gradient or idle) and batch.asked and batch.asked[-1] < batch.x.shape[1]:
            return self._asked_before_the_end(batch, gradient, idle, keep_weights)
        if batch.theta.device.type == "cuda":
            return _on_a_gpu(self, batch, gradient, idle, keep_weights)
        found, grown = self._live(batch, gradient, idle, keep_weights)
        if not (self.schedule.undoes and grown.any()):
            return found
        again, _ = self._live(batch.only(grown), gradient, idle, undone=False)
        return found.with_derivatives(grown, again)

    def _live(
        self,
        batch: Batch,
        gradient: Sequence[int],
        idle: Plan | None,
        keep_weights: bool = False,
        *,
        undone: bool = True,
    ) -> tuple[KernelOutput, Bool[Tensor, " lifetimes"]]:
        """What lifetimes are, and which have grown, so that updates are not to be undone there."""
        data = arrays(batch, self._begun(batch))
        steps = data.x.shape[1]
        data, times = self._with_biases_and_noise(data), batch.asked
        if self.numbers:
            data, times = one_hot(data, self.sizes[-1]), times or (steps,)
        backward = bool(gradient) or idle is not None
        starts, slots = _none(data.theta)
        if backward:
            starts, slots = self.checkpoints(data.theta, steps, undone=undone)
        asked = None
        if times:
            # Λ of each query is kept behind the weights.
            asked = np.array([*enumerate(times, slots)], dtype=np.int64)[:, ::-1].copy()
            slots += len(asked) if backward else 0
        plans = [*(schedule.plan for schedule in self.schedule.all), *([idle] if idle else [])]
        skips = self._skips(data, plans)
        kept = self._kept(data, keep_weights, skips, plans)
        pixels = max(map(len, kept), default=0)
        layout = layout_of(
            self.schedule,
            (pixels, *self.sizes[1:]),
            self.sources,
            fans=self.sizes,
            itemsize=data.theta.itemsize,
            steps=steps,
            queries=data.query_x.shape[1],
            slots=slots,
        )
        dtype = str(data.theta.dtype)
        plastic = self.schedule.back is not None
        traces = {place.key for place in layout.traces} if keep_weights else ()
        results = empty_results(data, backward, keep_weights, idle, traces, plastic=plastic)
        beside = None
        if idle:
            at = placed(idle_products(idle), layout, data.theta.itemsize)
            module = ahead.ready(_idle_source(idle, dtype), ("idle",))
            beside = at, address_of_idle(module)
        numbers = data.labels.ndim > 2
        text = _source(self.schedule, self.carrier, dtype, asked is not None, numbers)
        needed = ("forward", "adjoint") if backward else ("forward",)
        module, lowest = ahead.ready(text, needed), self.lowest(plans)
        slopes = pixel_slopes(self.schedule.plan.model.activation)
        job = Job(module, data, kept, skips, layout, lowest, starts, results, beside, asked, slopes)
        run(job, torch.get_num_threads())
        return outcome(results, gradient), torch.from_numpy(results.grown)

    def _asked_before_the_end(
        self, batch: Batch, gradient: Sequence[int], idle: Plan | None, keep_weights: bool
    ) -> KernelOutput:
        """The way back begins where the query is asked last: what comes later has no say.

        It would begin from weights that have grown meanwhile, from which no update is undone
        exactly, or that are no numbers any more.
        """
        found = self(batch.between(0, batch.asked[-1]), gradient=gradient, idle=idle)
        if not keep_weights:
            return found
        kept = self(batch, keep_weights=True)
        same = {name: getattr(found, name) for name in ("loss", "accuracy", "gradient", "idle")}
        return replace(kept, **same)

    def _with_biases_and_noise(self, data: Arrays) -> Arrays:
        """The batch with zeros for those that the model has and it has not."""
        model, (count, steps) = self.schedule.plan.model, data.x.shape[:2]
        zeros, later = partial(np.zeros, dtype=data.theta.dtype), self.sizes[1:]
        biases, noise = data.biases if model.bias else (), data.noise if model.noise else None
        if model.bias and not biases:
            biases = tuple(zeros((count, size)) for size in later)
        if model.noise and noise is None:  # as large as what is learned from: made only if need be
            noise = zeros((count, steps, sum(later)))
        return replace(data, biases=biases, noise=noise)

    def compile_ahead(
        self, dtype: torch.dtype, idle: Plan | None = None, *, forward: bool = True
    ) -> bool:
        """See `rulesearch.kernels.Kernel`."""
        name = str(dtype).removeprefix("torch.")
        text = _source(self.schedule, self.carrier, name, self.numbers, self.numbers)
        functions = ("forward", "adjoint") if forward else ("adjoint",)
        asked = [ahead.compile_ahead(text, functions)]
        if idle:
            asked.append(ahead.compile_ahead(_idle_source(idle, name), ("idle",)))
        return any(asked)

    def _begun(self, batch: Batch) -> dict[Key, Array]:
        """What traces begin from, [lifetimes, neurons or 1], or [lifetimes, posts, pres]."""
        plan = self.schedule.plan
        traces = dict(traces_of(plan, self.sizes, self.path))
        started = begun(batch, plan, self.sizes, self.path)
        whole = {key: value.detach().numpy() for key, value in started.items()}
        return {k: v if traces[k][0].index == SYNAPSE else v[:, 0] for k, v in whole.items()}

    def _skips(self, data: Arrays, plans: Sequence[Plan]) -> NDArray[np.bool_]:
        """For each lifetime, whether pixels that are zero are left out.

        Where nothing in an image is lit, and a factor on the post side may be infinite, no lit
        pixel would show that such a factor times zero is no number.
        """
        if not self.skips or all(bounded_beside_pixels(plan) for plan in plans):
            return np.full(len(data.theta), self.skips)
        return np.asarray((data.x != 0).any(2).all(1))

    def _kept(
        self,
        data: Arrays,
        keep_weights: bool,
        skips: NDArray[np.bool_],
        plans: Sequence[Plan],
    ) -> list[np.ndarray]:
        """For each lifetime, the pixels that are not zero throughout, or all of them."""
        everything = np.arange(self.sizes[0])
        # The weights of a pixel that is always zero still change where a group lets them.
        if keep_weights or not skips.any() or not all(map(drops_columns, plans)):
            return [everything] * len(data.theta)
        lit = (data.x != 0).any(1) | (data.query_x != 0).any(1)
        return [
            np.flatnonzero(row) if some else everything
            for row, some in zip(lit, skips, strict=True)
        ]


def _on_a_gpu(
    kernel: FusedKernel,
    batch: Batch,
    gradient: Sequence[int],
    idle: Plan | None,
    keep_weights: bool,
) -> KernelOutput:
    """Run lifetimes where the tensors are.

    Raises:
        Unsupported: numba-cuda is missing, or what is not taken on a GPU.
    """
    if idle is not None:
        raise Unsupported("terms that are zero beside those at work, on a GPU")
    found: KernelOutput = gpu_code().run(
        kernel, batch, gradient=gradient, keep_weights=keep_weights
    )
    return found


def gpu_code() -> ModuleType:
    """What runs lifetimes on a GPU.

    Raises:
        Unsupported: numba-cuda is missing, or does not go with what is installed beside it.
    """
    try:
        from rulesearch.kernels.fused.cuda import kernel
    except ImportError as error:
        raise Unsupported(f"tensors on cuda: {error}; pip install 'rulesearch[cuda]'") from None
    return kernel


def _none(theta: Array) -> tuple[list[NDArray[np.int64]], int]:
    """The checkpoints of lifetimes without an adjoint."""
    return [np.zeros(0, dtype=np.int64)] * len(theta), 0


def build(plan: Plan, sizes: tuple[int, ...], path: Pathway) -> FusedKernel:
    """The fused kernel of a plan.

    Raises:
        Unsupported: an operator of the plan, or of its derivatives, has no Numba spelling; or the
            edges of the pathway have carriers of several kinds; or what `refuse_beyond` says.
    """
    refuse_beyond(plan)
    refuse_unspelled(plan)
    assert all(e.source > e.target for e in path.edges), "errors travel backward"
    if len({e.carrier for e in path.edges}) > 1:
        raise Unsupported(f"the {path.name} pathway, whose edges have carriers of several kinds")
    schedule = schedule_of(plan)
    if any(each.limits and each.passes_synapses for each in schedule.all):
        raise Unsupported("bounds where values on synapses change what has them")
    if schedule.back and path.edges[0].carrier != "fixed":
        raise Unsupported(f"the {path.name} pathway with feedback that terms change")
    return FusedKernel(schedule, sizes, path)


def refuse_beyond(plan: Plan) -> None:
    """Refuse what a step does that this kernel does not.

    Raises:
        Unsupported: there is something.
    """
    for part in (plan, *plan.beside):
        limits = plan.model.limits(part.changes)
        if limits and (part.changes == "b" or not limits[0] <= 0 <= limits[1]):
            raise Unsupported("bounds of biases, or such as leave out 0")
        if limits and not all(map(partial(_finite, part), part.groups)):
            # Where a change is infinite bounds would hold it, and what stands beside a row is NaN.
            raise Unsupported("bounds with terms that may be infinite")
        if limits and not part.groups:
            raise Unsupported(f"bounds of {part.changes}, which no term changes")
    if plan.beside and "B" in plan.quantities:
        raise Unsupported("terms of W that read feedback which others may change")


def _finite(plan: Plan, group: Group) -> bool:
    beside = [name for part in group.parts for name in (part.pre, part.scalar)]
    return plan.bounded(group.matrix, group.post, *beside)


@lru_cache(maxsize=256)
def refuse_unspelled(plan: Plan, slopes: bool = True) -> None:
    """Refuse an operator of a plan, or of its derivatives, that has no Numba spelling.

    Raises:
        Unsupported: there is one.
    """
    for node in (node for part in (plan, *plan.beside) for node in part.nodes):
        if isinstance(node, Elementwise):
            for expression in (node.expression, *(node.partials.values() if slopes else ())):
                _refuse_unspelled(expression)
    for expression in models.expressions(plan.model):
        _refuse_unspelled(expression)


def _refuse_unspelled(expression: Expr) -> None:
    for call in expression.atoms(Function, Max, Min):
        row = operator_of(call.func)
        if row is None or not (row.definition or "numba" in row.spelling):
            raise Unsupported(f"operator {call.func.__name__}, which has no Numba spelling")


@lru_cache(maxsize=256)
def _source(
    schedule: Schedule, carrier: Carrier, dtype: str, asks: bool = False, numbers: bool = False
) -> str:
    each = lanes(np.dtype(dtype).itemsize)
    return source(schedule, carrier=carrier, dtype=dtype, lanes=each, asks=asks, numbers=numbers)


@lru_cache(maxsize=64)
def _idle_source(plan: Plan, dtype: str) -> str:
    refuse_unspelled(plan, slopes=False)
    return idle_source(plan, dtype=dtype, lanes=lanes(np.dtype(dtype).itemsize))
