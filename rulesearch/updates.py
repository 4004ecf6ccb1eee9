"""What each term does, alone, at points of a lifetime: how large, how like others, where it fails.

The update of a term is what one step changes with that term alone and coefficient 1, in float64, at
the weights that a rule has brought a network to.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.data import draw_tasks
from rulesearch.kernels import Batch
from rulesearch.kernels.einsum import build
from rulesearch.kernels.einsum.sizes import update_sizes
from rulesearch.lifetime import run_lifetimes
from rulesearch.lowering import lower_terms
from rulesearch.mixture import Mixture, Worlds, worlds_of
from rulesearch.pathways import pathway
from rulesearch.population import Population


@dataclass(frozen=True, eq=False)
class Stand:
    """Networks between two steps, and the example that comes next; all in float64.

    Attributes:
        population: what they belong to.
        weights: list over layers of [lifetimes, post, pre].
        feedback: as `run_lifetimes` takes it.
        example: x [lifetimes, 1, inputs] and labels [lifetimes, 1].
    """

    population: Population
    weights: list[Float[Tensor, "lifetimes _post _pre"]]
    feedback: list[Tensor] | str
    example: tuple[Tensor, Tensor]

    def sizes(self) -> Float[Tensor, "lifetimes terms"]:
        """Frobenius norm of the update of each term, summed over the layers that it acts in."""
        pool, depth = self.population.pool, len(self.weights)
        plan = lower_terms(pool.distinct)
        kernel = build(plan, self.population.sizes, pathway(self.population.pathway, depth))
        (x, labels), lifetimes = self.example, len(self.weights[0])
        nothing = torch.zeros(lifetimes, depth, len(pool.distinct), dtype=torch.float64)
        feedback = None if isinstance(self.feedback, str) else self.feedback
        batch = Batch(nothing, self.weights, feedback, x, labels, x, labels)
        found = update_sizes(kernel, batch)[:, :, list(pool.places)]
        # Where a term does not act, what its expression is there counts for nothing.
        return torch.where(torch.tensor(pool.mask(depth)), found, 0.0).sum(1)

    def update(self, term: int) -> list[Float[Tensor, "lifetimes _post _pre"]]:
        """The update of a term, by its index, list over layers; zero where it does not act."""
        pool = self.population.pool
        one_hot = torch.zeros(len(pool), dtype=torch.float64)
        one_hot[term] = 1.0
        lived = run_lifetimes(
            pool,
            one_hot,
            self.weights,
            self.feedback,
            train=self.example,
            query=self.example,
            kernel="einsum",
            pathway=self.population.pathway,
        )
        assert lived.weights is not None
        return [after - before for after, before in zip(lived.weights, self.weights, strict=True)]


def learned(
    population: Population,
    theta: Tensor,
    weights: Sequence[Tensor],
    feedback: Sequence[Tensor] | str,
    examples: tuple[Tensor, Tensor],
    compile_for: Sequence[str] = (),
) -> list[Tensor]:
    """The weights of networks of a population after these examples, list over layers.

    Args:
        population: its pool, kernel and pathway.
        theta: raw coefficients, [terms].
        weights: before, list over layers of [lifetimes, post, pre].
        feedback: of the networks.
        examples: inputs and labels, one a step, [lifetimes, steps, ...].
        compile_for: names of terms that the kernel covers besides those at work.
    """
    x, labels = examples
    lived = run_lifetimes(
        population.pool,
        theta,
        weights,
        feedback,
        train=examples,
        query=(x[:, :1], labels[:, :1]),
        kernel=population.kernel,
        pathway=population.pathway,
        compile_for=compile_for,
    )
    assert lived.weights is not None
    return list(lived.weights)


def stands(
    population: Population, theta: Tensor, seeds: Sequence[int], points: Sequence[int]
) -> Iterator[Stand]:
    """The networks of some lifetimes after each of these numbers of steps by a rule.

    Those that are no longer finite are left out, and where none is left it ends.

    Args:
        population: of the networks; its kernel and dtype run the rule.
        theta: raw coefficients, [terms].
        seeds: one integer a lifetime.
        points: ascending from 0, each below the number of steps.
    """
    tasks = draw_tasks(population.images, population.shape, seeds, population.sampling)
    weights, feedback = population.networks(seeds)
    x, labels = tasks.x.to(weights[0]), tasks.labels.to(weights[0].device)
    for begin, end in itertools.pairwise((0, *points)):
        if end > begin:
            part = (x[:, begin:end], labels[:, begin:end])
            weights = learned(population, theta, weights, feedback, part)
            alive = torch.stack([w.isfinite().all((1, 2)) for w in weights]).all(0)
            if not alive.all():
                weights, x, labels = [w[alive] for w in weights], x[alive], labels[alive]
                feedback = feedback if isinstance(feedback, str) else [b[alive] for b in feedback]
            if not len(x):
                return
        yield Stand(
            population,
            [_exact(w) for w in weights],
            feedback if isinstance(feedback, str) else [_exact(b) for b in feedback],
            (_exact(x[:, end : end + 1]), labels[:, end : end + 1].cpu()),
        )


def _exact(values: Tensor) -> Tensor:
    return values.to("cpu", torch.float64)


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
    count = torch.zeros_like(total)
    for world in worlds:
        for point, stand in enumerate(stands(world, rule, seeds, points)):
            sizes = stand.sizes()
            counts = sizes.isfinite() if point else torch.ones_like(sizes, dtype=torch.bool)
            if not counts.all():
                mean = torch.where(counts, sizes, 0.0).sum(0) / counts.sum(0).clamp(min=1)
            else:
                mean = sizes.mean(0)
            total += mean
            count += counts.any(0)
    return tuple((total / count).tolist())


def _in_all(
    worlds: Sequence[Population], theta: Tensor, seeds: Sequence[int], points: Sequence[int]
) -> Iterator[Stand]:
    """The stands of each world, one world after the other."""
    return itertools.chain.from_iterable(stands(world, theta, seeds, points) for world in worlds)


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
    for stand in _in_all(worlds, torch.tensor(theta, dtype=torch.float64), seeds, points):
        updates = [stand.update(term) for term in range(terms)]
        for layer in range(len(stand.weights)):
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
    for step, stand in enumerate(stands(world, rule, (seed,), range(steps)), start=1):
        for layer, change in enumerate(stand.update(term), start=1):
            if not change.isfinite().all():
                return layer, step
    return None
