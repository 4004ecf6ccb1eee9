"""Terms leave: from many to one, with the best rule of each size on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rulesearch.pursuit.place import Means, Place, plainly_without, saliences, without
from rulesearch.statistics import Outcomes, compare

#: Rules of at most so many terms are what is wanted: they take up to `FINE` times as many steps.
FEW, FINE = 6, 3
#: Above so many terms a third of them is tried to leave at once.
MANY = 8
#: Share of the gain that a group may cost before the refit.
CHEAP = 0.03
#: Single terms tried without, those of least salience.
CANDIDATES = 4


@dataclass(frozen=True)
class Left:
    """Terms that left.

    Attributes:
        gone: their indices.
        place: what is left, after its accepted steps.
        cost: nats on the lifetimes of tries, before those steps.
    """

    gone: tuple[int, ...]
    place: Place
    cost: float


def leave(
    means: Means, label: str, place: Place, reference: Place | None, steps: int
) -> Iterator[Left]:
    """Let terms leave until one is left; each time the others take over and take a few steps."""
    safe = None if reference is None else means.tried(f"{label}/reference", reference)
    while len(place.support) > 1:
        here = f"{label}/{len(place.support)} terms"
        now = means.tried(f"{here}, tried", place)
        gone, start, cost, outcomes = _cheapest(means, here, place, now)
        if (
            safe is not None
            and reference is not None
            and set(reference.support) <= set(start.support)
            and safe.mean_loss < outcomes.mean_loss
        ):
            # What left had held the network: the others begin anew where it learns for certain.
            start = Place(start.support, reference.phi, start.second)
        place = means.better(
            f"{label}/{len(start.support)} terms",
            start,
            steps if len(start.support) > FEW else FINE * steps,
        )
        if not place.support:
            return
        yield Left(gone, place, cost)


def _cheapest(
    means: Means, here: str, place: Place, now: Outcomes
) -> tuple[tuple[int, ...], Place, float, Outcomes]:
    order = [place.support[i] for i in np.argsort(saliences(place), kind="stable")]
    group = len(order) // 3 if len(order) > MANY else 1
    while group > 1:
        gone = tuple(order[:group])
        start = without(place, gone)
        outcomes = means.tried(f"{here}/without {group}", start)
        cost = compare(outcomes, now).mean
        if cost < CHEAP * means.gain:
            return gone, start, cost, outcomes
        group //= 2
    tries = []
    for term in order[:CANDIDATES]:
        name = means.setting.names[term]
        for how, start in (
            ("", without(place, [term])),
            (" plainly", plainly_without(place, [term])),
        ):
            outcomes = means.tried(f"{here}/without {name}{how}", start)
            tries.append(((term,), start, compare(outcomes, now).mean, outcomes))
    return min(tries, key=lambda each: each[2])
