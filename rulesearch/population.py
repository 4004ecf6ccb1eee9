"""Lifetimes as a function of the coefficients: seeds become tasks, weights and feedback.

What meta-learning and selection see of the whole engine is `Population.__call__`. A lifetime's
seed alone determines its task, its initial weights and its feedback, so the same seeds make two
rules comparable, and a run can be repeated anywhere.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rulesearch.choices import KernelName, Law
from rulesearch.conditions import AS_SEARCHED, Conditions
from rulesearch.data import ImageSet, Task, TaskShape, draw_tasks
from rulesearch.data.tasks import Sampling
from rulesearch.executors import Executor, Packed, Piece, unpacked
from rulesearch.lifetime import Lifetimes, choose_kernel, compile_ahead, run_lifetimes
from rulesearch.lifetime.modes import plain
from rulesearch.lowering import lower_terms
from rulesearch.model import PAPER, Model, bounded
from rulesearch.network import as_matrices, draw_xavier, empty_rows, weight_shapes
from rulesearch.notation import Pool
from rulesearch.pathways import feedback_shapes
from rulesearch.pathways import pathway as pathway_of

#: Lifetimes handed to a worker at once. Fixed, so that results do not depend on their number.
CHUNK = 4

#: Lifetimes that are best asked for at once, at least;
AT_ONCE = 16
#: at most as many here, so that cores seldom wait for the last one, and on a GPU, which has
#: hundreds under way, as long as their networks are no more than so many bytes;
ON_CPU, ON_CPU_BYTES = 64, 2**27
ON_GPU, ON_GPU_BYTES = 512, 2**30
#: and of workers, however many they are, which take a chunk each.
BY_WORKERS = 256

#: Gives [lifetimes, entries] for a use, a number of lifetimes, shapes of matrices and a dtype.
Memory = Callable[[str, int, Sequence[tuple[int, int]], torch.dtype], Tensor]


def _fresh(
    use: str, lifetimes: int, shapes: Sequence[tuple[int, int]], dtype: torch.dtype
) -> Tensor:
    return empty_rows(lifetimes, shapes, dtype)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some of the lifetimes of a call, as they are handed to a worker."""

    theta: Tensor
    seeds: tuple[int, ...]
    gradient: tuple[int, ...]
    observe: tuple[str, ...]
    observe_at: tuple[int, ...]
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
        model: what a step does beside its terms: activation, loss, biases, noise, bounds.
        sampling: how tasks are drawn, see `draw_task`.
        conditions: what is otherwise than in a search, of tasks, weights and feedback.
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
    model: Model = PAPER
    sampling: Sampling = "afresh"
    conditions: Conditions = AS_SEARCHED

    @property
    def names(self) -> tuple[str, ...]:
        """The terms, in the order of the coefficients."""
        return self.pool.names

    @property
    def outputs(self) -> int:
        """Units of the output layer."""
        return self.sizes[-1]

    @property
    def at_once(self) -> int:
        """Lifetimes that are best asked for at once."""
        most, size = (ON_CPU, ON_CPU_BYTES) if self.device == "cpu" else (ON_GPU, ON_GPU_BYTES)
        weights = sum(math.prod(shape) for shape in weight_shapes(self.sizes))
        with_feedback = 2 * weights * self.dtype.itemsize
        return max(AT_ONCE, min(most, size // with_feedback))

    @plain()
    def __call__(
        self,
        theta: Tensor,
        seeds: Sequence[int],
        *,
        gradient: Sequence[int] = (),
        observe: Sequence[str] = (),
        observe_at: Sequence[int] = (),
        executor: Executor | None = None,
    ) -> Lifetimes:
        """One lifetime for each seed.

        Args:
            theta: raw coefficients, float64, [terms] or [lifetimes, terms].
            seeds: one integer a lifetime, at least one.
            gradient: indices of the terms to differentiate.
            observe: names of the observables wanted.
            observe_at: numbers of steps after which they are, see `run_lifetimes`.
            executor: what carries them out, so many at a time; None for this process. It changes
                no bit.

        Raises:
            RuleSearchError: a worker has died of it again and again.
        """
        count = len(seeds)
        chosen = list(range(count))
        whole = self.device == "cpu" and self._in_torch
        if whole:
            # Torch rounds a batch by its size, so that here there is one size only. What the
            # last chunk lacks is its last lifetime again, of which nothing is kept.
            chosen += [count - 1] * (-count % CHUNK)
        size = CHUNK if whole or executor else count
        rows = theta.expand(count, theta.shape[-1])[chosen]
        lives = [seeds[i] for i in chosen]
        # What is at work anywhere in the call, so that no lifetime hangs on its chunk.
        working = (theta != 0).reshape(-1, theta.shape[-1]).any(0).nonzero()[:, 0].tolist()
        covered = tuple(sorted({*self.compile_for, *working}))
        chunks = [
            Chunk(
                rows[i : i + size],
                tuple(lives[i : i + size]),
                tuple(gradient),
                tuple(observe),
                tuple(observe_at),
                covered,
            )
            for i in range(0, len(lives), size)
        ]
        if executor is None:
            parts = [self._run(chunk) for chunk in chunks]
        else:
            packed = executor.packed(self)
            label = f"lifetimes of {', '.join(self.names[i] for i in working) or 'no term'}"
            pieces = [Piece(f"{label}, from {c.seeds[0]}", (packed, c)) for c in chunks]
            parts = executor.map(_carried_out, pieces)
        return _joined(parts, count)

    @property
    def _in_torch(self) -> bool:
        """Whether torch's kernel may run lifetimes: the one asked for, or another's substitute."""
        path = pathway_of(self.pathway, len(self.sizes) - 1)
        plan = lower_terms(self.pool.distinct, bounded(self.model, self.pool, tied=path.tied))
        _, note = choose_kernel(self.kernel, plan, self.sizes, path, on_cpu=self.device == "cpu")
        return self.kernel == "einsum" or bool(note)

    def _run(self, chunk: Chunk) -> Lifetimes:
        tasks = self.tasks(chunk.seeds, _own_memory)
        weights, feedback = self.networks(chunk.seeds, _own_memory)
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
            observe_at=chunk.observe_at,
            keep_weights=False,
            compile_for=[self.names[i] for i in chunk.compile_for],
            model=self.model,
            noise=self.noise(chunk.seeds, x.shape[1]),
        )
        if lived.gradient is None:
            return lived
        # One coefficient for all layers: the derivatives of the layers add up.
        return replace(lived, gradient=lived.gradient.sum(1))

    def tasks(self, seeds: Sequence[int], memory: Memory = _fresh) -> Task:
        """The tasks of the lifetimes, stacked along a leading dimension.

        Args:
            seeds: one integer a lifetime.
            memory: what their images are drawn into, see `networks`.
        """
        shape, count, inputs = self.shape, len(seeds), self.images.x.shape[1]
        sizes = {"x": shape.ways * shape.shots, "query_x": shape.ways * shape.queries}
        into = [
            memory(use, count, ((images, inputs),), torch.float32).view(count, images, inputs)
            for use, images in sizes.items()
        ]
        drawn = draw_tasks(self.images, shape, seeds, self.sampling, (into[0], into[1]))
        return self.conditions.of_task(drawn, seeds)

    def compile_ahead(self, gradient: Sequence[int], *, forward: bool = True) -> bool:
        """Have another process compile the kernel of calls with this gradient.

        Returns:
            Whether there was anything to compile; see `rulesearch.lifetime.compile_ahead`.
        """
        return compile_ahead(
            self.pool,
            self.sizes,
            gradient=[self.names[i] for i in gradient],
            compile_for=[self.names[i] for i in self.compile_for],
            kernel=self.kernel,
            pathway=self.pathway,
            dtype=self.dtype,
            on_cpu=self.device == "cpu",
            model=self.model,
            forward=forward,
        )

    def noise(self, seeds: Sequence[int], steps: int) -> list[Tensor] | None:
        """Standard normal numbers for each step and neuron, list over layers; None without noise.

        Drawn in float32 whatever the dtype, from a lifetime's seed and nothing else.
        """
        if not self.model.noise:
            return None
        drawn = [
            np.random.Generator(
                np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(1,)))
            ).standard_normal((steps, sum(self.sizes[1:])), np.float32)
            for seed in seeds
        ]
        whole = torch.from_numpy(np.stack(drawn)).to(self.device, self.dtype)
        return [layer.contiguous() for layer in torch.split(whole, list(self.sizes[1:]), dim=-1)]

    def networks(
        self, seeds: Sequence[int], memory: Memory = _fresh
    ) -> tuple[list[Tensor], list[Tensor] | str]:
        """Initial weights and feedback of the lifetimes, lists over layers; or the pathway.

        Args:
            seeds: one integer a lifetime.
            memory: what they are drawn into; new, unless the caller has some to be used again.
        """
        path = pathway_of(self.pathway, len(self.sizes) - 1)
        shapes = weight_shapes(self.sizes)
        own = () if path.tied else tuple(feedback_shapes(path, self.sizes))
        weights = memory("weights", len(seeds), shapes, self.dtype)
        feedback = memory("feedback", len(seeds), own, self.dtype)

        def draw(share: slice) -> None:
            words = [np.random.SeedSequence(s).generate_state(2, np.uint64) for s in seeds[share]]
            first, second = ([int(pair[i]) >> 1 for pair in words] for i in (0, 1))
            draw_xavier(weights[share], shapes, first, self.conditions.weights_init)
            draw_xavier(feedback[share], own, second, self.feedback_init)

        _in_threads(draw, len(seeds))
        drawn, back = as_matrices(weights, shapes), as_matrices(feedback, own)
        self.conditions.of_feedback(back, drawn, seeds, path)
        drawn = [t.to(self.device) for t in drawn]
        back = [t.to(self.device) for t in back]
        return drawn, self.pathway if path.tied else back


class _Own(threading.local):
    """A thread's memory for the networks of its next call, by use and dtype."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, torch.dtype], Tensor] = {}


_own = _Own()


def _own_memory(
    use: str, lifetimes: int, shapes: Sequence[tuple[int, int]], dtype: torch.dtype
) -> Tensor:
    """[lifetimes, entries], the same memory at every call of a thread: fresh pages are slow.

    `use` keeps apart what is needed at the same time. What a thread draws here is valid until it
    draws again, so no call may end with any of it in its answer.
    """
    entries = sum(math.prod(shape) for shape in shapes)
    kept = _own.kept.get((use, dtype))
    if kept is None or kept.numel() < lifetimes * entries:
        kept = empty_rows(1, ((lifetimes, entries),), dtype)[0]
        _own.kept[use, dtype] = kept
    return kept[: lifetimes * entries].view(lifetimes, entries)


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


def _joined(parts: list[Lifetimes], count: int) -> Lifetimes:
    """The first `count` lifetimes of all parts."""

    def together(of: Callable[[Lifetimes], Tensor | None]) -> Tensor:
        return torch.cat([values for part in parts if (values := of(part)) is not None])[:count]

    return Lifetimes(
        loss=together(lambda p: p.loss),
        accuracy=together(lambda p: p.accuracy),
        initial_loss=together(lambda p: p.initial_loss),
        gradient=None if parts[0].gradient is None else together(lambda p: p.gradient),
        observed={
            name: together(lambda p, name=name: p.observed[name])  # type: ignore[misc]
            for name in parts[0].observed
        },
        note=parts[0].note,
        chance=parts[0].chance,
    )


def _carried_out(task: tuple[Packed, Chunk]) -> Lifetimes:
    """Some lifetimes of a population, in a worker."""
    packed, chunk = task
    population: Population = unpacked(packed)
    return population._run(chunk)
