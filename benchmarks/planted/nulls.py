"""Nulls: how often a search claims what is not there.

*Useless terms.* The teacher's rule is the pool's first term alone, and the student is not told its
answers but a class drawn from each, so that there is noise to be fooled by. A claim is any further
term. *Shuffled labels.* No teacher: the classes of the query images in an order drawn anew for each
lifetime, so that nothing can be learned. A claim is a rule that `learns` says does: more lifetimes
end better than they began than not, and the accuracy lies above chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.planted.lessons import Lesson, Student
from benchmarks.planted.ours import known_of, measurer, search
from benchmarks.planted.teachers import RATE
from benchmarks.planted.world import SIZES, population
from rulesearch.meta import lifetime_seeds
from rulesearch.notation import Pool
from rulesearch.statistics import learns

#: Lifetimes of the evaluation.
EVALUATION = 200
KINDS = ("useless terms", "shuffled labels")
#: What share of searches may claim something. Of shuffled labels it is that of one-sided limits,
#: the accuracy's; of useless terms the usual one, which nothing in the search guarantees.
LEVELS = {"useless terms": 0.05, "shuffled labels": 0.025}


@dataclass(frozen=True)
class Null:
    """One search where there is nothing to find.

    Attributes:
        kind: of the null.
        pool: by name.
        seed: of the search.
        theta: what it found, by name of term.
        claims: whether it claims what is not there.
        cost: lifetimes, in forward ones.
    """

    kind: str
    pool: str
    seed: int
    theta: dict[str, float]
    claims: bool
    cost: int


@dataclass(frozen=True, eq=False)
class Misled(Student):
    """A student whose answers are drawn: classes, as probabilities of 0 and 1.

    Attributes:
        shuffled: whether they are the query's own classes in any order; else drawn from what the
            teacher answers.
    """

    shuffled: bool = False

    def lesson(self, seeds: Sequence[int]) -> Lesson:
        """What is seen of these lifetimes."""
        lesson = super().lesson(seeds)
        answers = torch.stack(
            [
                _classes(each, np.random.default_rng([seed, 1]), self.shuffled)
                for each, seed in zip(lesson.answers, seeds, strict=True)
            ]
        )
        return replace(lesson, answers=answers, entropy=torch.zeros_like(lesson.entropy))


def _classes(answers: Tensor, draw: np.random.Generator, shuffled: bool) -> Tensor:
    """[asked, queries, outputs]; every class is right for as many query images."""
    asked, queries, outputs = answers.shape
    if shuffled:
        order = draw.permutation(np.arange(queries) % outputs)
        chosen = np.broadcast_to(order, (asked, queries))
    else:
        edges = answers.cumsum(-1).numpy()
        above = draw.random((asked, queries, 1)) > edges
        chosen = np.minimum(above.sum(-1), outputs - 1)
    return torch.nn.functional.one_hot(torch.tensor(chosen), outputs).to(answers)


def null(kind: str, name: str, pool: Pool, seed: int) -> Null:
    """One search of a null."""
    truth = (RATE, *(0.0,) * (len(pool) - 1))
    student = Misled(population(pool), truth, shuffled=kind == "shuffled labels")
    known = known_of(student, seed)
    found = search(student, known)
    theta = {n: x for n, x in zip(pool.names, found.theta, strict=True) if x}
    if kind == "useless terms":
        claims = theta.keys() != {pool.names[0]}
    else:
        fresh = lifetime_seeds(seed, "evaluation", 0, EVALUATION)
        (outcomes,) = measurer(student)({"evaluation": found.theta}, fresh)
        claims = learns(outcomes, SIZES[-1])
    return Null(kind, name, seed, theta, bool(claims), found.cost)
