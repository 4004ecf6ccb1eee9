"""Terms join: of a large pool those that promise something, tested one by one.

All candidates are differentiated at zero, along lifetimes of the rule at hand. What a candidate's
derivative has in common with those of the rule's own terms, these can do as well; what is left
promises a gain if lifetimes agree in its sign. The most promising take a short line search, the
others of the rule moving along as the projection says, and are then tested on fresh lifetimes.
Those that pay after Holm's correction for their number join.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from rulesearch.meta import lifetime_seeds
from rulesearch.meta.metric import TINY, Gradients, Vector, one_thread, votes
from rulesearch.pursuit.place import RIDGE, Means, Place
from rulesearch.statistics import Scores

#: Candidates of a round that are tested, the most promising ones.
TESTED = 24
#: Two candidates whose derivatives are as much alike as this count as one.
ALIKE = 0.95
#: Share of what terms' votes are on the average below which the rule's own count for less.
LEAST = 1e-2
#: Sizes of the line search, as shares of the pace, as lifetimes see a step; where even the smallest
#: is too large, so many smaller ones are tried, each a third of the one before.
SIZES, SMALLER = (0.05, 0.15, 0.45), 3
#: Lifetimes of a line search.
LINE_TASKS = 32
#: Probability that a useless term joins in any of the rounds.
LEVEL = 0.05


@dataclass(frozen=True)
class Promise:
    """A candidate before its test.

    Attributes:
        term: its index.
        agreement: how far the lifetimes agree in the sign of what only it can do, in standard
            errors of their mean.
        direction: change of the coefficients, [terms], of which lifetimes see as much as of a
            unit of the reference's; the rule's own terms move along.
    """

    term: int
    agreement: float
    direction: tuple[float, ...]


@dataclass(frozen=True)
class Tested:
    """A candidate and what its test said.

    Attributes:
        term: its index.
        agreement: see `Promise`.
        size: of the step that was tested, a share of the pace.
        gain: nats on lifetimes that had no say in it.
        chance: the probability that a term without any gain does as well, one-sided.
        joins: whether that is small enough for so many candidates.
    """

    term: int
    agreement: float
    size: float
    gain: float
    chance: float
    joins: bool


def promises(
    place: Place, candidates: Sequence[int], gradients: Gradients, most: int = TESTED
) -> list[Promise]:
    """The candidates that promise most, no two of them alike.

    Args:
        place: the rule.
        candidates: indices of terms that it does not have.
        gradients: by the coefficients learned, of all terms, [lifetimes, terms].
        most: how many are wanted.
    """
    every = [*place.support, *candidates]
    seen = votes(np.where(np.isfinite(gradients), gradients, 0.0)[:, every])
    own, others = seen[:, : len(place.support)], seen[:, len(place.support) :]
    with one_thread():
        square = own.T @ own
        # What the rule's own terms hardly move they cannot take over: beside next to nothing a
        # share of it is next to anything.
        size = max(np.trace(square) / max(len(square), 1), LEAST * float((seen**2).sum(0).mean()))
        square += RIDGE * (size + TINY) * np.eye(len(square))
        share = np.linalg.solve(square, own.T @ others)  # [support, candidates]
        rest = others - own @ share
    count = len(rest)
    spread = np.sqrt(np.einsum("lc,lc->c", rest, rest) / count)
    mean = rest.mean(0)
    error = rest.std(0, ddof=1) / np.sqrt(count)
    agreement = np.where(error > TINY, mean / np.maximum(error, TINY), 0.0)
    found: list[Promise] = []
    taken: list[Vector] = []
    for index in np.argsort(-np.abs(agreement), kind="stable"):
        if len(found) == most or spread[index] <= TINY or not agreement[index]:
            break
        unit = rest[:, index] / (spread[index] * np.sqrt(count))
        if any(abs(float(np.einsum("l,l->", unit, other))) > ALIKE for other in taken):
            continue
        taken.append(unit)
        direction = np.zeros(len(place.phi))
        direction[candidates[index]] = 1.0
        direction[list(place.support)] = -share[:, index]
        direction *= -np.sign(mean[index]) / spread[index]
        term = candidates[index]
        found.append(Promise(term, float(agreement[index]), tuple(direction.tolist())))
    return found


def judge(
    means: Means, label: str, place: Place, found: Sequence[Promise], level: float
) -> list[Tested]:
    """Line searches, and tests on fresh lifetimes.

    Args:
        means: what is worked with.
        label: of the round.
        place: the rule.
        found: the candidates.
        level: probability that any of them joins though it is useless.
    """
    seed, names, worlds = means.setting.seed, means.setting.names, means.setting.worlds
    line = lifetime_seeds(seed, f"{label}/line", 0, LINE_TASKS, worlds)
    fresh = lifetime_seeds(seed, f"{label}/test", 0, len(means.common), worlds)
    theta = means.theta(place.phi)

    def moved(each: Promise, size: float) -> tuple[float, ...]:
        phi = np.array(place.phi) + size * means.pace * np.array(each.direction)
        return means.theta(phi.tolist())

    def tell(each: Promise) -> str:
        return f"{label}/{names[each.term]}"

    (at_rest,) = means.measure({f"{label}/line": theta}, line)
    losses: list[dict[float, float]] = [{} for _ in found]

    def look(which: Sequence[int], sizes: Sequence[float]) -> None:
        asked = [(i, size) for i in which for size in sizes]
        steps = {f"{tell(found[i])} by {size:g}": moved(found[i], size) for i, size in asked}
        for (i, size), outcomes in zip(asked, means.measure(steps, line), strict=True):
            losses[i][size] = outcomes.mean_loss

    look(range(len(found)), SIZES)
    for n in range(1, SMALLER + 1):
        too_far = [i for i, tried in enumerate(losses) if min(tried.values()) >= at_rest.mean_loss]
        look(too_far, [SIZES[0] / 3**n])
    best = [min(tried, key=lambda size: tried[size]) for tried in losses]
    ends = {f"{label}/tested": theta}
    for each, size in zip(found, best, strict=True):
        ends[f"{tell(each)} tested"] = moved(each, size)
    before, *after = means.measure(ends, fresh)
    results = [
        (each, size, *_paid(before, then))
        for each, size, then in zip(found, best, after, strict=True)
    ]
    order = sorted(range(len(results)), key=lambda i: results[i][3])
    joins: set[int] = set()
    for rank, index in enumerate(order):  # Holm (1979)
        if results[index][3] > level / (len(order) - rank):
            break
        joins.add(index)
    return [
        Tested(each.term, each.agreement, size, gain, chance, index in joins)
        for index, (each, size, gain, chance) in enumerate(results)
    ]


def _paid(before: Scores, after: Scores) -> tuple[float, float]:
    """The mean gain of a step, and the probability of one as large by chance, one-sided."""
    gains = np.subtract(before.loss, after.loss)
    if np.ptp(gains) == 0:
        return float(gains.mean()), 0.0 if gains[0] > 0 else 1.0
    return float(gains.mean()), float(stats.ttest_1samp(gains, 0.0, alternative="greater").pvalue)
