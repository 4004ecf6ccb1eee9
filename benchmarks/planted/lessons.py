"""What a teacher does, and what students see of it: answers on the way, lifetime by lifetime."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmarks.planted.world import ASKED
from rulesearch.data import draw_tasks
from rulesearch.lifetime import Lifetimes, run_lifetimes
from rulesearch.network import forward
from rulesearch.population import Population
from rulesearch.updates import Living, lived_on

#: What the seed of a student's network is made of beside the lifetime's, where it knows no other.
OTHER = 0x5EED


@dataclass(frozen=True, eq=False)
class Lesson:
    """Lifetimes of a teacher, as a student sees them; all are [lifetimes, ...].

    Attributes:
        weights: that the student begins with, list over layers of [lifetimes, post, pre].
        feedback: of the student, list over layers.
        train: x and labels.
        query_x: the query images.
        answers: the teacher's, probabilities, [lifetimes, asked, queries, outputs].
        entropy: the mean entropy of these, [lifetimes], which no student's loss is below.
    """

    weights: list[Tensor]
    feedback: list[Tensor]
    train: tuple[Tensor, Tensor]
    query_x: Tensor
    answers: Tensor
    entropy: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in one order."""
        rest = (*self.train, self.query_x, self.answers, self.entropy)
        return (*self.weights, *self.feedback, *rest)


def weights_along(
    population: Population, theta: Tensor, seeds: Sequence[int], points: Sequence[int]
) -> list[list[Tensor]]:
    """The weights after each of these numbers of steps, ascending, list over layers each."""
    tasks = draw_tasks(population.images, population.shape, seeds)
    living = Living(*population.networks(seeds))
    x, labels = tasks.x.to(population.dtype), tasks.labels
    stands = []
    for begin, end in itertools.pairwise((0, *points)):
        if end > begin:
            part = (x[:, begin:end], labels[:, begin:end])
            living = lived_on(population, theta, living, part, population.names)
        stands.append(living.weights)
    return stands


def others(seeds: Sequence[int]) -> list[int]:
    """Seeds of networks that a student draws by itself, one for each of the teacher's."""
    words = (np.random.SeedSequence([seed, OTHER]).generate_state(1, np.uint64) for seed in seeds)
    return [int(word[0]) >> 1 for word in words]


def draw_lesson(population: Population, theta: Tensor, seeds: Sequence[int], known: bool) -> Lesson:
    """Lifetimes of a teacher.

    Args:
        population: of its networks.
        theta: its raw coefficients, [terms].
        seeds: one a lifetime.
        known: whether the student has the teacher's initial weights and feedback; else it has some
            of its own, from other seeds.
    """
    tasks = draw_tasks(population.images, population.shape, seeds)
    query_x = tasks.query_x.to(population.dtype)
    logits = [forward(w, query_x)[-1] for w in weights_along(population, theta, seeds, ASKED)]
    log = torch.log_softmax(torch.stack(logits, dim=1), dim=-1)
    answers = log.exp()
    weights, feedback = population.networks(seeds if known else others(seeds))
    assert not isinstance(feedback, str)
    entropy = -(answers * log).sum(-1).mean((1, 2))
    train = (tasks.x.to(population.dtype), tasks.labels)
    return Lesson(weights, feedback, train, query_x, answers, entropy)


@dataclass
class Spent:
    """Lifetimes that a student has run: a gradient costs as much as two more."""

    forward: int = 0
    gradient: int = 0

    @property
    def cost(self) -> int:
        """All of them in forward ones."""
        return self.forward + 3 * self.gradient


@dataclass(frozen=True, eq=False)
class Student:
    """Lifetimes of a student, whose loss is how far it is from its teacher's answers.

    That is the query's cross-entropy against these minus their own entropy, in nats, the mean over
    the steps asked. See `rulesearch.meta.RunsLifetimes` for the protocol.

    Attributes:
        population: of the networks.
        truth: raw coefficients of the teacher, [terms of its pool].
        known: whether it has the teacher's initial weights and feedback.
        spent: is added to.
    """

    population: Population
    truth: tuple[float, ...]
    known: bool = True
    spent: Spent = field(default_factory=Spent)
    seen: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The terms of the pool."""
        return self.population.names

    @property
    def outputs(self) -> None:
        """Nothing: a lifetime that diverged counts as an untrained one, whatever that is."""

    def lesson(self, seeds: Sequence[int]) -> Lesson:
        """What is seen of these lifetimes; each is drawn once."""
        new = [seed for seed in dict.fromkeys(seeds) if seed not in self.seen]
        if new:
            truth = torch.tensor(self.truth, dtype=torch.float64)
            drawn = draw_lesson(self.population, truth, new, self.known)
            for place, seed in enumerate(new):
                self.seen[seed] = tuple(t[place] for t in drawn.tensors)
        rows = [torch.stack(column) for column in zip(*map(self.seen.get, seeds), strict=True)]
        depth = len(self.population.sizes) - 1
        x, labels, query_x, answers, entropy = rows[2 * depth :]
        return Lesson(rows[:depth], rows[depth : 2 * depth], (x, labels), query_x, answers, entropy)

    def __call__(
        self,
        theta: Tensor,
        seeds: Sequence[int],
        *,
        gradient: Sequence[int] = (),
        observe: Sequence[str] = (),
    ) -> Lifetimes:
        """One lifetime for each seed; see `RunsLifetimes`."""
        lesson = self.lesson(seeds)
        count, depth = len(seeds), len(lesson.weights)
        self.spent.gradient += count if gradient else 0
        self.spent.forward += 0 if gradient else count
        lived = run_lifetimes(
            self.population.pool,
            theta.expand(count, theta.shape[-1])[:, None, :].expand(-1, depth, -1),
            lesson.weights,
            lesson.feedback,
            train=lesson.train,
            query=(lesson.query_x, lesson.answers),
            ask_at=ASKED,
            kernel=self.population.kernel,
            pathway=self.population.pathway,
            gradient=[self.names[term] for term in gradient],
            observe=observe,
            keep_weights=False,
            compile_for=self.names,
        )
        slopes = None if lived.gradient is None else lived.gradient.sum(1)
        return Lifetimes(
            loss=lived.loss - lesson.entropy,
            accuracy=lived.accuracy,
            initial_loss=lived.initial_loss - lesson.entropy,
            gradient=slopes,
            observed=lived.observed,
        )
