"""The project's kernels and those they are measured against, each prepared for a cell of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from benchmarks.rivals import in_processes, in_torch
from benchmarks.rivals.in_jax import by_jax, no_jax
from benchmarks.work import Setting, Work, work


@dataclass(frozen=True)
class Cell:
    """A piece of work that rivals are measured at.

    Attributes:
        terms: of the pool, see `benchmarks.work.pool_of`.
        batch: lifetimes that are asked for at once.
        gradient: with the gradient of every term, or forward only.
    """

    terms: int
    batch: int
    gradient: bool


def _always() -> str:
    return ""


@dataclass(frozen=True)
class Rival:
    """A way to run lifetimes.

    Attributes:
        prepare: setting, cell and number of lifetimes -> a function that runs them and returns
            their losses [lifetimes] or gradients [lifetimes, terms]; compiles.
        takes: whether a cell is for it: others would take it too long, in running or compiling.
        at_most: lifetimes of a call; time is reported by the lifetime.
        missing: why it cannot run here, or "".
        one_memory: whether its memory is that of one process.
    """

    prepare: Callable[[Setting, Cell, int], Callable[[], Tensor]]
    takes: Callable[[Cell], bool]
    at_most: int = 8
    missing: Callable[[], str] = _always
    one_memory: bool = True

    def lifetimes(self, cell: Cell) -> int:
        """Lifetimes of one call at a cell."""
        return min(self.at_most, cell.batch)


def _small(cell: Cell) -> bool:
    return cell.terms == 10 or (cell.terms in (1, 3) and cell.gradient)


def _of(setting: Setting, cell: Cell, count: int) -> tuple[Work, bool]:
    return work(setting, cell.terms, count), cell.gradient


#: Name -> rival, in the order of the tables; `fused` is what the ratios are to.
RIVALS: Mapping[str, Rival] = {
    "fused": Rival(
        lambda setting, cell, n: in_torch.by_kernel("fused", *_of(setting, cell, n)),
        lambda cell: True,
    ),
    "einsum": Rival(
        lambda setting, cell, n: in_torch.by_kernel("einsum", *_of(setting, cell, n)),
        lambda cell: True,
    ),
    "torch.compile": Rival(
        lambda setting, cell, n: in_torch.by_compile(*_of(setting, cell, n)),
        lambda cell: cell.terms == 10 and cell.batch > 1,
        missing=in_torch.no_compiler,
    ),
    "JAX": Rival(
        lambda setting, cell, n: by_jax(*_of(setting, cell, n), together=cell.batch > 1),
        lambda cell: cell.terms == 10 or (cell.batch == 1 and cell.terms <= 30 and cell.gradient),
        missing=no_jax,
    ),
    "JAX, processes": Rival(
        lambda setting, cell, n: in_processes.prepare("jax", setting, cell, n),
        lambda cell: cell.batch > 1 and _small(cell),
        at_most=4,
        missing=no_jax,
        one_memory=False,
    ),
    "careful JAX": Rival(
        lambda setting, cell, n: by_jax(
            *_of(setting, cell, n), together=cell.batch > 1, careful=True
        ),
        lambda cell: cell.terms == 10 or (cell.batch == 1 and _small(cell)),
        missing=no_jax,
    ),
    "careful JAX, processes": Rival(
        lambda setting, cell, n: in_processes.prepare("careful jax", setting, cell, n),
        lambda cell: cell.batch > 1 and _small(cell),
        missing=no_jax,
        one_memory=False,
    ),
    "autograd": Rival(
        lambda setting, cell, n: in_torch.by_autograd(*_of(setting, cell, n)),
        lambda cell: cell.batch == 1 and cell.terms in (3, 10),
    ),
    "autograd, processes": Rival(
        lambda setting, cell, n: in_processes.prepare("autograd", setting, cell, n),
        lambda cell: cell.batch > 1 and cell.terms == 3 and cell.gradient,
        at_most=2,
        one_memory=False,
    ),
}
