"""The coefficients of a rule on the mean loss, with their intervals.

Votes are not the gradient of the mean loss, and near its minimum no step is taken any more. There
the mean loss is measured at points around the rule and taken for quadratic (Box & Wilson 1951); its
least within the region looked at is the answer, if it holds on fresh lifetimes. The same lifetimes
are run at all points, so what they differ in is told apart from what their coefficients do, and
drawing lifetimes again and again tells how well the least is known (Efron 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rulesearch.meta import lifetime_seeds
from rulesearch.meta.metric import Matrix, Vector, one_thread, root_of
from rulesearch.pursuit.place import Means, Place
from rulesearch.statistics import LEVEL, Interval, compare

#: How far the points lie, as lifetimes see it, in shares of the pace.
REACH = 0.2
#: Points for each number that a quadratic has.
POINTS = 2.0
#: Draws of the lifetimes, for the intervals.
DRAWS = 400
#: Regions looked at, each around the least of the last, as long as that lies at its edge.
REGIONS = 3


@dataclass(frozen=True)
class Settled:
    """The coefficients of a rule.

    Attributes:
        theta: raw, [terms].
        intervals: of these, 95 %, [terms]; they end at the edge of the region looked at, and are
            too narrow where the least is known no better than that.
    """

    theta: tuple[float, ...]
    intervals: tuple[Interval, ...]


def settle(means: Means, label: str, place: Place) -> Settled:
    """The coefficients with which a rule has the least mean loss, near a place.

    Args:
        means: what is worked with.
        label: of this.
        place: where accepted steps have led; its second moment shapes the region.
    """
    seed, worlds = means.setting.seed, means.setting.worlds
    seeds = lifetime_seeds(seed, label, 0, len(means.tests), worlds)
    fresh = lifetime_seeds(seed, label, 1, len(means.common), worlds)
    support, phi = list(place.support), np.array(place.phi)
    with one_thread():
        shape = REACH * means.pace * np.linalg.inv(root_of(place.moment))
    points = _points(len(support), means.setting.seed)
    draws = np.empty((0, len(support)))
    for region in range(REGIONS):
        here, rules = f"{label}/region {region}", {}
        for number, point in enumerate(points):
            tried = phi.copy()
            tried[support] += shape @ point
            rules[f"{here}/point {number}"] = means.theta(tried.tolist())
        losses = [outcomes.loss for outcomes in means.measure(rules, seeds)]
        least, draws = _least(points, np.array(losses), means.setting.seed)
        moved = phi.copy()
        moved[support] += shape @ least
        ends = {f"{here}/centre": phi, f"{here}/least": moved}
        now, then = means.measure({n: means.theta(x.tolist()) for n, x in ends.items()}, fresh)
        centre = phi
        if compare(then, now).mean >= 0:
            break
        phi = moved
        if np.linalg.norm(least) < 0.99:
            break
    at = centre[support] + draws @ shape.T
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.zeros(len(phi)), np.zeros(len(phi))
    # What was not taken still says how well the coefficients are known.
    low[support] = np.minimum(np.percentile(at, tail, axis=0), phi[support])
    high[support] = np.maximum(np.percentile(at, 100 - tail, axis=0), phi[support])
    return Settled(
        means.theta(phi.tolist()),
        tuple(zip(means.theta(low.tolist()), means.theta(high.tolist()), strict=True)),
    )


def _points(terms: int, seed: int) -> Float[np.ndarray, "points terms"]:
    """The centre, and points within the unit ball, opposite ones in pairs; the same for a seed."""
    numbers = 1 + terms + terms * (terms + 1) // 2
    pairs = int(np.ceil(POINTS * numbers / 2))
    draw = np.random.default_rng(np.random.SeedSequence([seed, terms]))
    way = draw.normal(size=(pairs, terms))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    way *= draw.uniform(0.4, 1.0, size=(pairs, 1))
    return np.concatenate([np.zeros((1, terms)), way, -way])


def _least(
    points: Float[np.ndarray, "points terms"],
    losses: Float[np.ndarray, "points lifetimes"],
    seed: int,
) -> tuple[Vector, Float[np.ndarray, "draws terms"]]:
    """The least of the quadratic through the mean losses, and those of lifetimes drawn anew."""
    terms = points.shape[1]
    upper = np.triu_indices(terms)
    squares = points[:, upper[0]] * points[:, upper[1]]
    with one_thread():
        solve = np.linalg.pinv(np.column_stack([points, squares])[1:])
    gains = losses[1:] - losses[0]

    def least(mean: Float[np.ndarray, " points"]) -> Vector:
        found = np.einsum("np,p->n", solve, mean)
        curvature = np.zeros((terms, terms))
        curvature[upper] = found[terms:]
        return within_ball(found[:terms], curvature + curvature.T)

    draw = np.random.default_rng(np.random.SeedSequence([seed, *points.shape]))
    count = losses.shape[1]
    drawn = [least(gains[:, draw.integers(count, size=count)].mean(1)) for _ in range(DRAWS)]
    return least(gains.mean(1)), np.array(drawn)


def within_ball(slope: Vector, curvature: Matrix) -> Vector:
    """The least of slope·x + x·curvature·x / 2 in the unit ball, whatever the curvature's signs.

    Example:
        >>> within_ball(np.array([-1.0, 0.0]), np.diag([4.0, -1.0])).round(3).tolist()[0]
        0.2
    """
    with one_thread():
        values, vectors = np.linalg.eigh(curvature)
    along = np.einsum("ti,t->i", vectors, slope)
    lowest = float(values.min())

    def at(shift: float) -> Vector:
        least: Vector = np.einsum("ti,i->t", vectors, -along / np.maximum(values + shift, 1e-12))
        return least

    if lowest > 0 and np.linalg.norm(at(0.0)) <= 1:
        return at(0.0)
    low, high = max(0.0, -lowest), max(0.0, -lowest) + float(np.linalg.norm(slope)) + 1e-12
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.linalg.norm(at(middle)) > 1 else (low, middle)
    return at(high)
