"""What lifetimes say of a step: a direction, and how far it can be trusted which way.

Each lifetime has a vote, the direction of its gradient without its size: a mean of gradients is
that of the few largest. The full second moment C of the votes says in which directions lifetimes
disagree, and steps are measured in the metric of its root, C^(1/2), as full-matrix AdaGrad does
(Duchi, Hazan & Singer 2011): a narrow valley is walked along and not across. What the mean vote
says in a direction counts by what it is above chance, as a James-Stein estimate does (Efron &
Morris 1973), since steps across the valley that only chance asks for keep those along it short.

Matrices are [terms, terms] of a support and small. Their sums run in one thread, so that their
last bits do not depend on how many there are.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from threadpoolctl import ThreadpoolController

from rulesearch.meta.optimiser import ZERO_NORM

#: Directions in which no lifetime votes are trusted as if so small a share of the largest did.
FLOOR = 1e-4
#: Sweeps of the coordinate descent at most, and the share of the step's size at which it ends.
SWEEPS, SETTLED = 500, 1e-12
TINY = float(np.finfo(np.float64).tiny)

Vector = Float[np.ndarray, " terms"]
Matrix = Float[np.ndarray, "terms terms"]
Gradients = Float[np.ndarray, "lifetimes terms"]


def one_thread() -> AbstractContextManager[object]:
    """Within it, NumPy's linear algebra sums in one thread."""
    limited: AbstractContextManager[object] = _pools().limit(limits=1)
    return limited


@cache
def _pools() -> ThreadpoolController:
    """NumPy's thread pools; to find them takes a millisecond, so it is done once."""
    return ThreadpoolController()


def votes(gradients: Gradients) -> Gradients:
    """Each lifetime's direction without its size; zero where it has none.

    Example:
        >>> votes(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    norm = norms(gradients)[:, None]
    return np.where(norm > ZERO_NORM, gradients / np.maximum(norm, ZERO_NORM), 0.0)


def norms(gradients: Gradients) -> Float[np.ndarray, " lifetimes"]:
    """The size of each lifetime's gradient."""
    found: Float[np.ndarray, " lifetimes"] = np.sqrt(np.einsum("lt,lt->l", gradients, gradients))
    return found


def moment(rows: Gradients) -> Matrix:
    """The second moment of rows."""
    found: Matrix = np.einsum("ls,lt->st", rows, rows) / len(rows)
    return found


@dataclass(frozen=True, eq=False)
class Local:
    """The loss around the coefficients at hand, but for its size.

    Attributes:
        slope: of the loss, [terms], in votes.
        root: the metric, C^(1/2), positive definite.
    """

    slope: Vector
    root: Matrix


def local_model(total: Vector, count: int, second: Matrix) -> Local:
    """The model that votes give.

    In each eigendirection of C the mean vote has the size that chance gives it if its square is
    that direction's share of C over the number of lifetimes; what is not above that is no slope.

    Args:
        total: the sum of the votes at the coefficients at hand.
        count: of the lifetimes that voted.
        second: the second moment of votes, there and around.

    Example:
        >>> both = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> local_model(both.sum(0), 4, moment(both)).slope.round(3).tolist()
        [0.25, 0.0]
    """
    with one_thread():
        spread, vectors = _spread(second)
        mean = np.einsum("ti,t->i", vectors, total) / count
        chance = spread / count
        above = np.maximum(0.0, 1.0 - chance / np.maximum(mean**2, TINY))
        slope = np.einsum("ti,i->t", vectors, mean * above)
        root = np.einsum("si,i,ti->st", vectors, np.sqrt(spread), vectors)
    return Local(slope, root)


def root_of(second: Matrix) -> Matrix:
    """The metric, C^(1/2), of a second moment; positive definite."""
    with one_thread():
        spread, vectors = _spread(second)
        root: Matrix = np.einsum("si,i,ti->st", vectors, np.sqrt(spread), vectors)
    return root


def _spread(second: Matrix) -> tuple[Vector, Matrix]:
    """Eigenvalues of a second moment, none of them next to nothing, and its eigenvectors."""
    values, vectors = np.linalg.eigh(second)
    spread = np.maximum(values, 0.0)
    return spread + max(FLOOR * float(spread.max()), TINY), vectors


def proximal(model: Local, phi: Vector, size: float, l1: float, furthest: float) -> Vector:
    """The coefficients that a step of this size leads to: the least of the model and the penalty.

    Minimises slope·p + p·root·p / (2 s) + l1 Σ|phi + p| by coordinate descent, so that zeros are
    exact; s is such that without a penalty the step has this size, √(p·C·p): as far as lifetimes
    see it, it is like a change of one coefficient by that much.

    Args:
        model: around phi.
        phi: where the step begins, [terms].
        size: of the step, above 0.
        furthest: that a coefficient may change without a penalty, whatever lifetimes see.
        l1: of the penalty, in votes for a unit of a coefficient, 0 or more.

    Example:
        >>> model = Local(np.array([1.0, 0.1]), np.eye(2))
        >>> proximal(model, np.zeros(2), 0.5, 0.2, 1.0).round(3).tolist()
        [-0.398, 0.0]
    """
    with one_thread():
        steepest = np.linalg.solve(model.root, model.slope)
    seen = float(np.sqrt(np.einsum("t,t->", model.slope, model.slope)))
    length = min(size / max(seen, TINY), furthest / max(float(np.abs(steepest).max()), TINY))
    if l1 == 0:
        return phi - length * steepest
    reached, threshold = phi.copy(), l1 * length
    pull = length * model.slope  # gradient of the smooth part times s, kept as coordinates move
    for _ in range(SWEEPS):
        change = 0.0
        for term, row in enumerate(model.root):
            stiff = row[term]
            wanted = stiff * reached[term] - pull[term]
            best = np.sign(wanted) * max(abs(wanted) - threshold, 0.0) / stiff
            moved = best - reached[term]
            if moved:
                pull += row * moved
                reached[term] = best
                change = max(change, abs(moved))
        if change <= SETTLED * size:
            break
    return reached
