"""Rivals that run one lifetime at a time, in as many processes as there are cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.machine import cores
from benchmarks.rivals.in_jax import by_jax
from benchmarks.rivals.in_torch import by_autograd
from benchmarks.work import Setting, work

if TYPE_CHECKING:
    from benchmarks.rivals import Cell


def prepare(name: str, setting: Setting, cell: Cell, count: int) -> Callable[[], Tensor]:
    """Lifetimes dealt out to the processes, which compile now.

    Args:
        name: `jax`, `careful jax` or `autograd`.
        setting: where lifetimes come from.
        cell: the work.
        count: lifetimes in all.
    """
    workers = _workers()[:count]
    shares = [range(i, count, len(workers)) for i in range(len(workers))]

    def everywhere(function: Callable[..., Any]) -> list[Any]:
        asked = [
            w.submit(function, name, setting, cell, share)
            for w, share in zip(workers, shares, strict=True)
        ]
        return [future.result() for future in asked]

    everywhere(_compile)

    def answer() -> Tensor:
        found = everywhere(_run)
        whole = np.empty((count, *found[0].shape[1:]), np.float32)
        for share, part in zip(shares, found, strict=True):
            whole[share.start :: share.step] = part
        return torch.from_numpy(whole)

    return answer


@lru_cache
def _workers() -> tuple[ProcessPoolExecutor, ...]:
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return tuple(
        ProcessPoolExecutor(1, get_context("spawn"), _stay_on, (available[i : i + 1],))
        for i in range(cores())
    )


def _stay_on(core: list[int]) -> None:
    """One core, one thread: JAX has no other way to say so than the cores that it finds."""
    if core:
        os.sched_setaffinity(0, core)
    torch.set_num_threads(1)


@lru_cache
def _prepared(name: str, setting: Setting, cell: Cell, share: range) -> Callable[[], Tensor]:
    given = work(setting, cell.terms, share.stop).lifetimes(
        slice(share.start, share.stop, share.step)
    )
    if name == "autograd":
        return by_autograd(given, cell.gradient)
    return by_jax(given, cell.gradient, together=False, careful=name == "careful jax")


def _compile(name: str, setting: Setting, cell: Cell, share: range) -> None:
    _prepared(name, setting, cell, share)


def _run(name: str, setting: Setting, cell: Cell, share: range) -> NDArray[np.float32]:
    return np.asarray(_prepared(name, setting, cell, share)().detach().numpy())
