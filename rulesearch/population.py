"""Lifetimes as a function of the coefficients: seeds become tasks, weights and feedback.

What meta-learning and selection see of the whole engine is `Population.__call__`. A lifetime's
seed alone determines its task, its initial weights and its feedback, so the same seeds make two
rules comparable, and a run can be repeated anywhere.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from rulesearch.choices import KernelName, Law
from rulesearch.data import ImageSet, TaskShape, draw_tasks
from rulesearch.data.tasks import Sampling
from rulesearch.lifetime import Lifetimes, compiling, run_lifetimes
from rulesearch.network import as_matrices, draw_xavier, empty_rows, weight_shapes
from rulesearch.notation import Pool
from rulesearch.pathways import feedback_shapes
from rulesearch.pathways import pathway as pathway_of

#: Lifetimes handed to a worker at once. Fixed, so that results do not depend on their number.
CHUNK = 4


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Some of the lifetimes of a call, as they are handed to a worker."""

    theta: Tensor
    seeds: tuple[int, ...]
    gradient: tuple[int, ...]
    observe: tuple[str, ...]
    at: tuple[int, ...]
    compile_for: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Population:
    """Networks of one kind that learn tasks from one set of images by rules of one pool.

    Attributes:
        pool: the terms; coefficients come in their order.
        images: where tasks are drawn from.
        shape: of a task.
        sizes: of the layers, input first.
        pathway: name of the feedback graph.
        kernel: see `run_lifetimes`.
        device: `cpu` or `cuda`.
        dtype: of the lifetimes; coefficients and gradients are float64 outside.
        compile_for: indices of terms that every kernel covers, see `run_lifetimes`.
        feedback_init: of the entries of the feedback's own matrices, see `draw_xavier`.
        sampling: how tasks are drawn, see `draw_task`.
        executor: processes that share the work, or None.
        place: its position among the populations that those processes have.
    """

    pool: Pool
    images: ImageSet
    shape: TaskShape
    sizes: tuple[int, ...]
    pathway: str = "random"
    kernel: KernelName = "auto"
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    compile_for: tuple[int, ...] = ()
    feedback_init: Law = "uniform"
    sampling: Sampling = "afresh"
    executor: ProcessPoolExecutor | None = None
    place: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The terms, in the order of the coefficients."""
        return self.pool.names

    @property
    def outputs(self) -> int:
        """Units of the output layer."""
        return self.sizes[-1]

    def __call__(
        self,
        theta: Tensor,
        seeds: Sequence[int],
        *,
        gradient: Sequence[int] = (),
        observe: Sequence[str] = (),
        at: Sequence[int] = (),
    ) -> Lifetimes:
        """One lifetime for each seed.

        Args:
            theta: raw coefficients, float64, [terms] or [lifetimes, terms].
            seeds: one integer a lifetime, at least one.
            gradient: indices of the terms to differentiate.
            observe: names of the observables wanted.
            at: numbers of steps after which they are, see `run_lifetimes`.
        """
        rows = theta.expand(len(seeds), theta.shape[-1])
        # Torch rounds a batch by its size. In chunks here as well, workers change no result.
        chunked = self.executor or (self.kernel == "einsum" and self.device == "cpu")
        size = CHUNK if chunked else len(seeds)
        chunks = [
            _Chunk(
                rows[i : i + size],
                tuple(seeds[i : i + size]),
                tuple(gradient),
                tuple(observe),
                tuple(at),
                self.compile_for,
            )
            for i in range(0, len(seeds), size)
        ]
        if self.executor is None:
            return _joined([self._run(chunk) for chunk in chunks])
        places = [self.place] * len(chunks)
        return _joined(list(self.executor.map(_run_in_worker, places, chunks)))

    def _run(self, chunk: _Chunk) -> Lifetimes:
        tasks = draw_tasks(self.images, self.shape, chunk.seeds, self.sampling)
        weights, feedback = self.networks(chunk.seeds)
        x, query_x = (t.to(self.device, self.dtype) for t in (tasks.x, tasks.query_x))
        labels, query_labels = (t.to(self.device) for t in (tasks.labels, tasks.query_labels))
        lived = run_lifetimes(
            self.pool,
            chunk.theta[:, None, :].expand(-1, len(weights), -1).to(self.device),
            weights,
            feedback,
            train=(x, labels),
            query=(query_x, query_labels),
            kernel=self.kernel,
            gradient=[self.names[i] for i in chunk.gradient],
            pathway=self.pathway,
            observe=chunk.observe,
            at=chunk.at,
            keep_weights=False,
            compile_for=[self.names[i] for i in chunk.compile_for],
        )
        if lived.gradient is None:
            return lived
        # One coefficient for all layers: the derivatives of the layers add up.
        return replace(lived, gradient=lived.gradient.sum(1))

    def compiling(self, gradient: Sequence[int]) -> AbstractContextManager[bool]:
        """A context in which the kernel of calls with this gradient is compiled."""
        return compiling(
            self.pool,
            self.sizes,
            gradient=[self.names[i] for i in gradient],
            kernel=self.kernel,
            pathway=self.pathway,
            dtype=self.dtype,
            on_cpu=self.device == "cpu",
        )

    def networks(self, seeds: Sequence[int]) -> tuple[list[Tensor], list[Tensor] | str]:
        """Initial weights and feedback of the lifetimes, lists over layers; or the pathway.

        Valid until the next call: the memory is used again.
        """
        path = pathway_of(self.pathway, len(self.sizes) - 1)
        shapes = weight_shapes(self.sizes)
        own = () if path.tied else tuple(feedback_shapes(path, self.sizes))
        weights = _memory("weights", len(seeds), shapes, self.dtype)
        feedback = _memory("feedback", len(seeds), own, self.dtype)

        def draw(share: slice) -> None:
            words = [np.random.SeedSequence(s).generate_state(2, np.uint64) for s in seeds[share]]
            first, second = ([int(pair[i]) >> 1 for pair in words] for i in (0, 1))
            draw_xavier(weights[share], shapes, first)
            draw_xavier(feedback[share], own, second, self.feedback_init)

        _in_threads(draw, len(seeds))
        drawn = [t.to(self.device) for t in as_matrices(weights, shapes)]
        back = [t.to(self.device) for t in as_matrices(feedback, own)]
        return drawn, self.pathway if path.tied else back


def norms(population: Population, seeds: Sequence[int]) -> tuple[float, ...]:
    """Mean Frobenius norm of each term at initialisation, summed over layers, [terms].

    The update of a term is what one step changes with that term alone and coefficient 1, on
    the first example of each lifetime (design, section 8: the units).
    """
    tasks = draw_tasks(population.images, population.shape, seeds, population.sampling)
    exact = replace(population, dtype=torch.float64, device="cpu")
    weights, feedback = exact.networks(seeds)
    first = tasks.x[:, :1].double(), tasks.labels[:, :1]
    found = []
    for term in range(len(population.pool)):
        one_hot = torch.zeros(len(population.pool), dtype=torch.float64)
        one_hot[term] = 1.0
        lived = run_lifetimes(
            population.pool,
            one_hot,
            weights,
            feedback,
            train=first,
            query=first,
            kernel="einsum",
            pathway=population.pathway,
        )
        assert lived.weights is not None
        changes = [
            torch.linalg.matrix_norm(after - before)
            for after, before in zip(lived.weights, weights, strict=True)
        ]
        found.append(float(torch.stack(changes).sum(0).mean()))
    return tuple(found)


@lru_cache(maxsize=4)
def _memory(
    use: str, lifetimes: int, shapes: tuple[tuple[int, int], ...], dtype: torch.dtype
) -> Tensor:
    """[lifetimes, entries], the same memory at every call: fresh pages are slow.

    `use` keeps apart what is needed at the same time.
    """
    return empty_rows(lifetimes, shapes, dtype)


def _in_threads(work: Callable[[slice], None], count: int) -> None:
    """Do so many pieces of work that do not hold Python's lock, a share in each thread."""
    threads = max(1, min(torch.get_num_threads(), count))
    shares = [slice(count * i // threads, count * (i + 1) // threads) for i in range(threads)]
    with ThreadPoolExecutor(threads) as executor:
        # The first share is this thread's own.
        others = [executor.submit(work, share) for share in shares[1:]]
        work(shares[0])
        for other in others:
            other.result()


def _joined(parts: list[Lifetimes]) -> Lifetimes:
    gradients = [p.gradient for p in parts if p.gradient is not None]
    return Lifetimes(
        loss=torch.cat([p.loss for p in parts]),
        accuracy=torch.cat([p.accuracy for p in parts]),
        initial_loss=torch.cat([p.initial_loss for p in parts]),
        gradient=torch.cat(gradients) if gradients else None,
        observed={name: torch.cat([p.observed[name] for p in parts]) for name in parts[0].observed},
        note=parts[0].note,
    )


# --- worker processes ----------------------------------------------------------------------------

#: What this process was started with; empty but in workers.
_populations: list[Population] = []


def _start_worker(populations: Sequence[Population]) -> None:
    torch.set_num_threads(1)
    _populations.extend(populations)


def _run_in_worker(place: int, chunk: _Chunk) -> Lifetimes:
    return _populations[place]._run(chunk)


@contextmanager
def shared_by_workers(
    populations: Sequence[Population], workers: int
) -> Iterator[list[Population]]:
    """The populations, run by this many processes; with 1, by this one."""
    if workers == 1:
        yield list(populations)
        return
    with ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(list(populations),),
    ) as executor:
        yield [replace(p, executor=executor, place=i) for i, p in enumerate(populations)]
