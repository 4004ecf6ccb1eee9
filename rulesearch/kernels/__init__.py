"""Kernels: plan × network × pathway -> lifetimes. Same results, one target each.

A kernel runs whole lifetimes: the online pass over the training examples, the query loss after
the last step, and, where asked for, the gradient of that loss with respect to every coefficient
of every layer, through every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rulesearch.kernels.batch import Batch, Kernel, KernelOutput, Memories, Unsupported
from rulesearch.lowering import Plan
from rulesearch.pathways import Pathway

__all__ = ["KERNELS", "Batch", "Kernel", "KernelOutput", "Memories", "Unsupported"]


def _einsum(plan: Plan, sizes: tuple[int, ...], path: Pathway) -> Kernel:
    from rulesearch.kernels.einsum import build

    return build(plan, sizes, path)


def _fused(plan: Plan, sizes: tuple[int, ...], path: Pathway) -> Kernel:
    from rulesearch.kernels.fused import build

    return build(plan, sizes, path)


#: Name -> builder. Imported when asked for: a command that runs nothing needs neither torch's
#: nor Numba's code.
KERNELS: Mapping[str, Callable[[Plan, tuple[int, ...], Pathway], Kernel]] = {
    "einsum": _einsum,
    "fused": _fused,
}
