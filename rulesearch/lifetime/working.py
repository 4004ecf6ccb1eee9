"""Which expressions of a pool are at work in a call, and the kernel that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from rulesearch.choices import KernelName
from rulesearch.errors import RuleSearchError
from rulesearch.kernels import KERNELS, Batch, Kernel, KernelOutput, Unsupported
from rulesearch.lowering import Plan, lower_terms
from rulesearch.model import Model
from rulesearch.notation import Pool
from rulesearch.operators import Parameter
from rulesearch.pathways import Pathway

#: On a GPU so many terms that are differentiated are all at work, the ones that are zero too: its
#: kernel has no second plan for these.
AT_WORK = 40


@dataclass(frozen=True)
class Working:
    """The expressions that a call computes, by their columns in the pool.

    Attributes:
        active: those at work, one at least.
        idle: those that are zero everywhere and only differentiated.
    """

    active: tuple[int, ...]
    idle: tuple[int, ...]


def working(
    pool: Pool,
    wanted: Sequence[int],
    needed: Iterable[int],
    kernel: KernelName,
    *,
    on_cpu: bool,
) -> Working:
    """What is at work, and what is idle.

    Args:
        pool: the terms.
        wanted: indices of terms that have a derivative.
        needed: of terms that are not zero, or may not be.
        kernel: that is asked for.
        on_cpu: whether it runs there.
    """
    differentiated = {pool.columns[i] for i in wanted}
    together = not on_cpu and kernel != "einsum" and len(differentiated) <= AT_WORK
    active = {pool.columns[i] for i in needed}
    active |= {c for c in differentiated if together or not _may_idle(pool, c)}
    active = active or {0}
    return Working(tuple(sorted(active)), tuple(sorted(differentiated - active)))


def holding(
    model: Model,
    pool: Pool,
    work: Working,
    values: Mapping[Parameter, Sequence[Tensor]] | None = None,
) -> Model:
    """The model without bounds that nothing runs against: `fused` does not take them.

    They are those of parameters that no term at work changes, and that lie within.

    Args:
        model: with the bounds of the pool.
        pool: the terms.
        work: of a call.
        values: parameter -> what it begins with, by layer; without it all will lie within, but for
            biases, which begin at zero.
    """
    begin: dict[Parameter, Sequence[Tensor]] = {"b": [torch.zeros(1)], **(values or {})}
    columns = (*work.active, *work.idle)
    changed = {changes for column in columns for changes, _ in pool.distinct[column].updates}
    kept = tuple(
        (parameter, low, high)
        for parameter, low, high in model.bounds
        if parameter in changed or not _within(begin.get(parameter, ()), low, high)
    )
    return model if kept == model.bounds else replace(model, bounds=kept)


def _within(values: Sequence[Tensor], low: float, high: float) -> bool:
    return all(bool(((low <= each) & (each <= high)).all()) for each in values)


def plan_of(pool: Pool, columns: Sequence[int], model: Model) -> Plan:
    """The plan of some expressions of a pool."""
    return lower_terms(tuple(pool.distinct[column] for column in columns), model)


def _may_idle(pool: Pool, column: int) -> bool:
    """Whether an expression can be differentiated at zero without being at work.

    It can where it changes weights alone, remembers nothing, and reads no feedback.
    """
    plan = lower_terms((pool.distinct[column],))
    return not plan.beside and not plan.carried and "B" not in plan.quantities


def choose_kernel(
    name: KernelName, plan: Plan, sizes: tuple[int, ...], path: Pathway, *, on_cpu: bool
) -> tuple[Kernel, str]:
    """The kernel that will run a plan, not yet compiled, and what to say where it is another.

    Raises:
        RuleSearchError: an unknown name.
    """
    if name not in ("auto", *KERNELS):
        raise RuleSearchError(
            f"kernel {name}: unknown kernel; give auto or one of {', '.join(KERNELS)}"
        )
    first = "fused" if name == "auto" else name
    try:
        if first == "fused" and not on_cpu:
            from rulesearch.kernels.fused import gpu_code

            gpu_code()
        return compiled(first, plan, sizes, path), ""
    except Unsupported as reason:
        return compiled("einsum", plan, sizes, path), _instead_of(first, reason)


def _instead_of(name: str, reason: Unsupported) -> str:
    return f"{name} cannot take {reason}; using einsum"


def run_by(
    name: KernelName,
    plan: Plan,
    sizes: tuple[int, ...],
    path: Pathway,
    batch: Batch,
    gradient: Sequence[int],
    keep_weights: bool,
    idle: Plan | None = None,
) -> tuple[KernelOutput, str]:
    """What a kernel gives, and what to say where it is not the one asked for.

    Args:
        name: of the kernel.
        plan: of the expressions at work,
        sizes: of the layers,
        path: and the feedback graph.
        batch: of lifetimes.
        gradient: indices of the plan's coefficients that have a derivative.
        keep_weights: whether the final weights are wanted.
        idle: plan of the expressions that are zero and only differentiated.
    """
    on_cpu = batch.x.device.type == "cpu"
    kernel, note = choose_kernel(name, plan, sizes, path, on_cpu=on_cpu)
    try:
        return kernel(batch, gradient=gradient, idle=idle, keep_weights=keep_weights), note
    except Unsupported as reason:
        # The plan would do, but not these tensors.
        kernel = compiled("einsum", plan, sizes, path)
        outcome = kernel(batch, gradient=gradient, idle=idle, keep_weights=keep_weights)
        return outcome, _instead_of("fused" if name == "auto" else name, reason)


@lru_cache(maxsize=256)
def compiled(name: str, plan: Plan, sizes: tuple[int, ...], path: Pathway) -> Kernel:
    """A kernel for a plan, made once a process."""
    return KERNELS[name](plan, sizes, path)
