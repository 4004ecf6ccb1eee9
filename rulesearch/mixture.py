"""Several worlds at once: lifetimes of several populations as if they were of one.

A world is a data set and a network. Which one a lifetime belongs to is said by its seed alone, and
its loss is measured against what an untrained network of its world has, so that none rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from rulesearch.data import TaskShape
from rulesearch.executors import Executor
from rulesearch.lifetime import Lifetimes, run_lifetimes
from rulesearch.lifetime.modes import plain
from rulesearch.population import BY_WORKERS, Population
from rulesearch.scoring import diverged, scored

#: Lifetimes drawn at once where only the loss before the first step is asked for.
BATCH = 16


@dataclass(frozen=True, eq=False)
class Mixture:
    """Populations of one pool, each a world, that share the lifetimes asked for.

    Losses and gradients are shares of the world's untrained loss. A lifetime that diverged has in
    the place of its untrained loss what it counts as (the worse of that and the chance of its
    world), and likewise the accuracy of chance: outside nobody knows the world.

    Attributes:
        worlds: with the same terms, and tasks of one shape.
        untrained: the mean loss of untrained networks of each world, nats, above 0.
    """

    worlds: tuple[Population, ...]
    untrained: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.worlds or len(self.worlds) != len(self.untrained):
            raise ValueError("a mixture needs worlds, and the untrained loss of each")
        if len({(world.names, world.shape) for world in self.worlds}) > 1:
            raise ValueError("the worlds of a mixture have the same terms, and tasks of one shape")
        if min(self.untrained) <= 0:
            raise ValueError("untrained losses are above 0")

    @property
    def names(self) -> tuple[str, ...]:
        """The terms, in the order of the coefficients."""
        return self.worlds[0].names

    @property
    def shape(self) -> TaskShape:
        """Of a task."""
        return self.worlds[0].shape

    @property
    def outputs(self) -> None:
        """Of no one network: a lifetime that diverged says itself what it counts as."""

    @property
    def at_once(self) -> int:
        """Lifetimes that are best asked for at once: as many as a world takes in each."""
        return self.worlds[0].at_once

    def world_of(self, seed: int) -> Population:
        """The world that a lifetime belongs to: they take turns by the seed."""
        return self.worlds[seed % len(self.worlds)]

    def compile_ahead(self, gradient: Sequence[int], *, forward: bool = True) -> bool:
        """See `Population.compile_ahead`.

        Compiled code knows no sizes and no depth, so one serves all worlds.
        """
        return self.worlds[0].compile_ahead(gradient, forward=forward)

    @plain()
    def __call__(
        self,
        theta: Tensor,
        seeds: Sequence[int],
        *,
        gradient: Sequence[int] = (),
        observe: Sequence[str] = (),
        executor: Executor | None = None,
    ) -> Lifetimes:
        """One lifetime for each seed, in its world; see `Population.__call__`.

        Losses, accuracies and gradients are float64, on the CPU. An observable by layer is given
        where all worlds have the same layers.
        """
        count, terms = len(seeds), theta.shape[-1]
        rows = theta.expand(count, terms)
        parts: list[tuple[list[int], Lifetimes]] = []
        for number, (world, untrained) in enumerate(zip(self.worlds, self.untrained, strict=True)):
            own = [i for i, seed in enumerate(seeds) if seed % len(self.worlds) == number]
            if own:
                lived = world(
                    rows[own],
                    [seeds[i] for i in own],
                    gradient=gradient,
                    observe=observe,
                    executor=executor,
                )
                parts.append((own, _relative(lived, untrained, world.outputs)))
        deep = {len(world.sizes) for world in self.worlds}
        return Lifetimes(
            loss=_in_order([(own, lived.loss) for own, lived in parts]),
            accuracy=_in_order([(own, lived.accuracy) for own, lived in parts]),
            initial_loss=_in_order([(own, lived.initial_loss) for own, lived in parts]),
            gradient=_in_order(
                [(own, lived.gradient) for own, lived in parts if lived.gradient is not None]
            )
            if gradient
            else None,
            observed={
                name: _in_order([(own, lived.observed[name]) for own, lived in parts])
                for name in (observe if len(deep) == 1 else ())
            },
            note=next((lived.note for _, lived in parts if lived.note), ""),
        )


Worlds: TypeAlias = Population | Mixture
"""What a search runs on: one world, in nats, or several, in shares of their untrained losses."""


@dataclass(frozen=True, eq=False)
class SideBySide:
    """A population as meta-learning sees it, whose lifetimes an executor carries out.

    Attributes:
        population: one world, or several.
        executor: see `Population.__call__`.
    """

    population: Worlds
    executor: Executor

    @property
    def names(self) -> tuple[str, ...]:
        """The terms, in the order of the coefficients."""
        return self.population.names

    @property
    def outputs(self) -> int | None:
        """Units of the output layer; of several worlds None."""
        return self.population.outputs

    @property
    def at_once(self) -> int:
        """Lifetimes that are best asked for at once."""
        return max(self.population.at_once, BY_WORKERS)

    def __call__(
        self,
        theta: Tensor,
        seeds: Sequence[int],
        *,
        gradient: Sequence[int] = (),
        observe: Sequence[str] = (),
    ) -> Lifetimes:
        """As the population's own, to the same bits."""
        return self.population(
            theta, seeds, gradient=gradient, observe=observe, executor=self.executor
        )


def worlds_of(population: Worlds) -> tuple[Population, ...]:
    """The worlds of a population: itself, or those of a mixture."""
    return population.worlds if isinstance(population, Mixture) else (population,)


def each_world(population: Worlds, change: Callable[[Population], Population]) -> Worlds:
    """The same with every world changed."""
    if isinstance(population, Mixture):
        return replace(population, worlds=tuple(map(change, population.worlds)))
    return change(population)


def mixed(worlds: Sequence[Population], untrained: Sequence[float]) -> Worlds:
    """Several worlds as one population; one world as it is, in nats."""
    return worlds[0] if len(worlds) == 1 else Mixture(tuple(worlds), tuple(untrained))


@plain()
def untrained_loss(world: Population, seeds: Sequence[int]) -> float:
    """The mean query loss of untrained networks, nats, to four figures.

    It is a constant of a world, rounded so that it hangs on no machine's last bit.
    """
    total = 0.0
    for first in range(0, len(seeds), BATCH):
        some = seeds[first : first + BATCH]
        tasks = world.tasks(some)
        weights, feedback = world.networks(some)
        lived = run_lifetimes(
            world.pool,
            torch.zeros(len(world.pool), dtype=torch.float64),
            weights,
            feedback,
            train=(tasks.x[:, :0].to(weights[0]), tasks.labels[:, :0].to(weights[0].device)),
            query=(tasks.query_x.to(weights[0]), tasks.query_labels.to(weights[0].device)),
            kernel="einsum",
            pathway=world.pathway,
            model=world.model,
            noise=world.noise(some, steps=0),
            keep_weights=False,
        )
        total += float(lived.initial_loss.double().sum())
    return float(f"{total / len(seeds):.4g}")


def _relative(lived: Lifetimes, untrained: float, outputs: int) -> Lifetimes:
    """Lifetimes of a world as shares of its untrained loss; those that diverged as they count."""
    loss, accuracy, initial = (
        values.detach().to("cpu", torch.float64)
        for values in (lived.loss, lived.accuracy, lived.initial_loss)
    )
    bad = diverged(loss, initial)
    counts, accuracy = scored(loss, accuracy, initial, outputs, lived.chance)
    loss, initial = loss / untrained, torch.where(bad, counts, initial) / untrained
    # What ends between its untrained loss and chance is beyond either.
    beyond = torch.nextafter(initial, torch.full_like(initial, torch.inf))
    return replace(
        lived,
        loss=torch.where(bad, torch.maximum(loss, beyond), loss),
        accuracy=accuracy,
        initial_loss=initial,
        gradient=None
        if lived.gradient is None
        else lived.gradient.detach().to("cpu", torch.float64) / untrained,
    )


def _in_order(parts: Sequence[tuple[list[int], Tensor]]) -> Tensor:
    """The values of all parts, [lifetimes, ...], each at its own."""
    values = torch.cat([values for _, values in parts])
    order = torch.tensor([i for own, _ in parts for i in own])
    return torch.empty_like(values).index_copy_(0, order.to(values.device), values)
