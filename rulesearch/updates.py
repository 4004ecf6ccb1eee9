"""What each term does, alone, at points of a lifetime: how large, how like others, where it fails.

The update of a term is what one step changes with that term alone and coefficient 1, in float64, at
the weights that a rule has brought a network to. Bounds do not hold it back: they would as soon as
its constant factor is large enough, and a factor changes a coefficient and nothing else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.choices import KernelName
from rulesearch.kernels import Batch
from rulesearch.kernels.einsum import build
from rulesearch.kernels.einsum.sizes import update_sizes
from rulesearch.lifetime import Carried, run_lifetimes
from rulesearch.lowering import lower_terms
from rulesearch.mixture import Mixture, Worlds, worlds_of
from rulesearch.model import bounded
from rulesearch.notation import Pool
from rulesearch.notation.own import names_read
from rulesearch.pathways import pathway
from rulesearch.population import Population


@dataclass(frozen=True, eq=False)
class Living:
    """Networks on their way through a lifetime.

    Attributes:
        weights: list over layers of [lifetimes, post, pre].
        feedback: as `run_lifetimes` takes it.
        carried: what else earlier steps have left.
    """

    weights: list[Float[Tensor, "lifetimes _post _pre"]]
    feedback: list[Tensor] | str
    carried: Carried = field(default_factory=Carried)

    def map(self, change: Callable[[Tensor], Tensor]) -> Living:
        """The same with every tensor changed."""
        feedback, carried = self.feedback, self.carried

        def each(layers: list[Tensor] | None) -> list[Tensor] | None:
            return None if layers is None else [change(t) for t in layers]

        return Living(
            [change(w) for w in self.weights],
            feedback if isinstance(feedback, str) else [change(b) for b in feedback],
            replace(
                carried,
                feedback=each(carried.feedback),
                biases=each(carried.biases),
                memories={key: change(value) for key, value in carried.memories.items()},
            ),
        )


@dataclass(frozen=True)
class Point:
    """Networks between two steps, and the example that comes next; all of one dtype.

    Attributes:
        population: what they belong to.
        living: the networks.
        example: x [lifetimes, 1, inputs] and labels [lifetimes, 1].
        noise: of that step, list over layers of [lifetimes, 1, post]; None without.
    """

    population: Population
    living: Living
    example: tuple[Tensor, Tensor]
    noise: list[Tensor] | None = None

    @property
    def weights(self) -> list[Tensor]:
        """Of the networks."""
        return self.living.weights

    def sizes(self) -> Float[Tensor, "lifetimes terms"]:
        """Frobenius norm of the update of each term, summed over the layers that it acts in."""
        population, pool, living = self.population, self.population.pool, self.living
        depth = len(living.weights)
        path = pathway(population.pathway, depth)
        plan = lower_terms(pool.distinct, bounded(population.model, pool, tied=path.tied))
        kernel = build(plan, population.sizes, path)
        (x, labels), lifetimes = self.example, len(living.weights[0])
        nothing = torch.zeros(lifetimes, depth, len(pool.distinct), dtype=torch.float64)
        batch = Batch(
            nothing,
            living.weights,
            None if isinstance(living.feedback, str) else living.feedback,
            x,
            labels,
            x,
            labels,
            biases=living.carried.biases,
            noise=self.noise,
            memories=living.carried.memories,
            begun=living.carried.steps,
        )
        found = update_sizes(kernel, batch)[:, :, list(pool.columns)]
        # Where a term does not act, what its expression is there counts for nothing.
        return torch.where(torch.tensor(pool.mask(depth)), found, 0.0).sum(1)

    def biased(self, seeds: Sequence[int]) -> Point:
        """The same with biases as large as weights are drawn, from these seeds."""
        generator = torch.Generator().manual_seed(seeds[0])
        before = self.living.carried.biases or [torch.zeros(())] * len(self.weights)
        biases = []
        for weights, own in zip(self.weights, before, strict=True):
            lifetimes, post, pre = weights.shape
            drawn = 2 * torch.rand(lifetimes, post, generator=generator, dtype=torch.float64) - 1
            biases.append(own + drawn * math.sqrt(6 / (post + pre)))
        carried = replace(self.living.carried, biases=biases)
        return replace(self, living=replace(self.living, carried=carried))

    def update(self, term: int) -> list[Float[Tensor, "lifetimes ..."]]:
        """The update of a term, by its index, list over layers; zero where it does not act.

        Those of feedback and biases, where terms change them, come after those of the weights.
        """
        free = _unbounded(self.population)
        one_hot = torch.zeros(len(free.pool), dtype=torch.float64)
        one_hot[term] = 1.0
        # Whatever a term changes, its list is as long as that of one that changes all.
        wide = [term.name for term in free.pool if {p for p, _ in term.updates} != {"W"}]
        after = lived_on(
            free,
            one_hot,
            self.living,
            self.example,
            wide,
            kernel="einsum",
            noise=self.noise,
        )
        before = _parameters(self.living, after)
        return [b - a for a, b in zip(before, _parameters(after, after), strict=True)]


def _unbounded(population: Population) -> Population:
    model = replace(population.model, bounds=())
    return replace(population, pool=population.pool.unbounded(), model=model)


def _parameters(living: Living, like: Living) -> list[Tensor]:
    """Weights, and what else steps change: feedback where another has it changed, and biases."""
    found = list(living.weights)
    if like.carried.feedback is not None and not isinstance(living.feedback, str):
        found += living.feedback
    if like.carried.biases is not None:
        zeros = [torch.zeros_like(w[:, :, 0]) for w in living.weights]
        found += living.carried.biases or zeros
    return found


def lived_on(
    population: Population,
    theta: Tensor,
    living: Living,
    examples: tuple[Tensor, Tensor],
    compile_for: Sequence[str] = (),
    *,
    kernel: KernelName | None = None,
    noise: list[Tensor] | None = None,
) -> Living:
    """Networks of a population after these examples.

    Args:
        population: its pool, kernel, pathway and model.
        theta: raw coefficients, [terms].
        living: the networks before.
        examples: inputs and labels, one a step, [lifetimes, steps, ...].
        compile_for: names of terms that the kernel covers besides those at work.
        kernel: another than the population's.
        noise: where the model has it, list over layers of [lifetimes, steps, post].
    """
    x, labels = examples
    lived = run_lifetimes(
        population.pool,
        theta,
        living.weights,
        living.feedback,
        train=examples,
        query=(x[:, :1], labels[:, :1]),
        kernel=kernel or population.kernel,
        pathway=population.pathway,
        compile_for=compile_for,
        model=population.model,
        carried=living.carried,
        noise=noise,
    )
    assert lived.weights is not None
    assert lived.carried is not None
    feedback = lived.carried.feedback or living.feedback
    return Living(list(lived.weights), feedback, lived.carried)


def points_along(
    population: Population,
    theta: Tensor,
    seeds: Sequence[int],
    points: Sequence[int],
    dtype: torch.dtype = torch.float64,
) -> Iterator[Point]:
    """The networks of some lifetimes after each of these numbers of steps by a rule.

    Those that are no longer finite are left out, and where none is left it ends.

    Args:
        population: of the networks; its kernel and dtype run the rule.
        theta: raw coefficients, [terms].
        seeds: one integer a lifetime.
        points: ascending from 0, each below the number of steps.
        dtype: of the points.
    """
    exact = partial(_exact, dtype=dtype)
    tasks = population.tasks(seeds)
    living = Living(*population.networks(seeds))
    x, labels = tasks.x.to(living.weights[0]), tasks.labels.to(living.weights[0].device)
    noise = population.noise(seeds, x.shape[1])
    # Traces move whether or not a term that reads them is at work.
    remembering = remembering_terms(population.pool)
    for begin, end in itertools.pairwise((0, *points)):
        if end > begin:
            part = (x[:, begin:end], labels[:, begin:end])
            now = _steps(noise, begin, end)
            living = lived_on(population, theta, living, part, remembering, noise=now)
            alive = torch.stack([w.isfinite().all((1, 2)) for w in living.weights]).all(0)
            if not alive.all():
                living, x, labels = living.map(partial(_only, alive)), x[alive], labels[alive]
                noise = None if noise is None else [xi[alive] for xi in noise]
            if not len(x):
                return
        next_noise = _steps(noise, end, end + 1)
        yield Point(
            population,
            living.map(exact),
            (exact(x[:, end : end + 1]), labels[:, end : end + 1].cpu()),
            None if next_noise is None else [exact(xi) for xi in next_noise],
        )


def remembering_terms(pool: Pool) -> list[str]:
    """Names of the terms that read a trace.

    Example:
        >>> from rulesearch.notation import trace, y_post, y_pre
        >>> mean = trace("mean_post", y_post, decay=0.9)
        >>> remembering_terms(Pool(hebb=y_post * y_pre, slow=mean * y_pre))
        ['slow']
    """
    plans = [(term, lower_terms((term,))) for term in pool.terms]
    return [t.name for t, plan in plans if any(p.carried for p in (plan, *plan.beside))]


def _steps(noise: list[Tensor] | None, begin: int, end: int) -> list[Tensor] | None:
    return None if noise is None else [xi[:, begin:end] for xi in noise]


def _only(alive: Tensor, values: Tensor) -> Tensor:
    return values[alive]


def _exact(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to("cpu", dtype)


def norms(
    population: Worlds,
    seeds: Sequence[int],
    theta: Sequence[float] | None = None,
    points: Sequence[int] = (0,),
) -> tuple[float, ...]:
    """Mean Frobenius norm of each term's update along lifetimes, summed over layers, [terms].

    What is not finite at the first point is so in the mean; later it says that a lifetime diverges,
    and is left out.

    Args:
        population: of the networks; of several worlds the mean is taken.
        seeds: one integer a lifetime, in each world.
        theta: raw coefficients of the rule that they learn by, [terms]; None for no rule.
        points: numbers of steps after which the next step's update is looked at, ascending from 0.
    """
    terms, worlds = len(population.names), worlds_of(population)
    rule = torch.tensor([0.0] * terms if theta is None else theta, dtype=torch.float64)
    total = torch.zeros(terms, dtype=torch.float64)
    reads_bias = torch.tensor(
        [any("b_post" in names_read(e) for _, e in term.updates) for term in worlds[0].pool]
    )
    count = torch.zeros_like(total)
    for world in worlds:
        for number, point in enumerate(points_along(world, rule, seeds, points)):
            sizes = point.sizes()
            if reads_bias.any():  # biases begin at 0, and what reads them is more than that later
                sizes = torch.where(reads_bias, point.biased(seeds).sizes(), sizes)
            counts = sizes.isfinite() if number else torch.ones_like(sizes, dtype=torch.bool)
            if not counts.all():
                mean = torch.where(counts, sizes, 0.0).sum(0) / counts.sum(0).clamp(min=1)
            else:
                mean = sizes.mean(0)
            total += mean
            count += counts.any(0)
    return tuple((total / count).tolist())


def _in_all(
    worlds: Sequence[Population], theta: Tensor, seeds: Sequence[int], points: Sequence[int]
) -> Iterator[Point]:
    """The points of each world, one world after the other."""
    return itertools.chain.from_iterable(
        points_along(world, theta, seeds, points) for world in worlds
    )


def overlaps(
    population: Worlds, theta: Sequence[float], seeds: Sequence[int], points: Sequence[int]
) -> tuple[tuple[float, ...], ...]:
    """Inner products of the updates of every two terms along the lifetimes of a rule.

    Two terms that do the same have a row in common, but for their sizes; see `taken_over`.

    Args:
        population: of the networks.
        theta: raw coefficients of the rule, [terms].
        seeds: one integer a lifetime, in each world.
        points: numbers of steps after which updates are looked at, ascending from 0.

    Returns:
        [terms, terms]: the sum over all synapses, its mean over lifetimes, points and worlds.
        Where a term's update is not finite its products are zero.
    """
    terms, worlds = len(population.names), worlds_of(population)
    total = torch.zeros(terms, terms, dtype=torch.float64)
    for point in _in_all(worlds, torch.tensor(theta, dtype=torch.float64), seeds, points):
        updates = [point.update(term) for term in range(terms)]
        for layer in range(len(updates[0])):
            flat = torch.stack([update[layer].flatten() for update in updates])
            flat = torch.where(flat.isfinite(), flat, 0.0)
            total += flat @ flat.T
    mean = total / (len(seeds) * len(points) * len(worlds))
    return tuple(tuple(row) for row in mean.tolist())


def first_failure(
    population: Worlds, theta: Sequence[float], seed: int, term: int
) -> tuple[int, int] | None:
    """Where a term's update is not finite for the first time in the lifetime of a rule.

    Args:
        population: of the networks.
        theta: raw coefficients of the rule, [terms].
        seed: of the lifetime.
        term: by its index.

    Returns:
        Layer and step, both from 1; None where it is finite throughout.
    """
    world = population.world_of(seed) if isinstance(population, Mixture) else population
    steps = world.shape.ways * world.shape.shots
    rule = torch.tensor(theta, dtype=torch.float64)
    # Where lifetimes have diverged that would not in float64, this is to be seen.
    points = points_along(world, rule, (seed,), range(steps), world.dtype)
    for step, point in enumerate(points, start=1):
        for layer, change in enumerate(point.update(term)):
            if not change.isfinite().all():
                return layer % len(point.weights) + 1, step
    return None
