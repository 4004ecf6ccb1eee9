"""Terms leave: from many to one, with the best rule of each size on the way.

The others take over the work of a term that leaves, and take a few steps. While terms are many,
those of least salience leave together, as long as that costs little. Where few are left each
counts: what a rule costs before its steps says too little of what it costs after them, so the best
two ways to do without a term both take their steps before one of them is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rulesearch.pursuit.place import Means, Place, plainly_without, saliences, without
from rulesearch.pursuit.ways import Way, descended
from rulesearch.statistics import Scores, compare

#: Above so many terms a third of them is tried to leave at once.
MANY = 8
#: Share of the gain that a group may cost before its steps.
CHEAP = 0.03
#: Single terms tried without, those of least salience,
CANDIDATES = 4
#: and of these, the ones that take their steps before one is chosen.
RIVALS = 2
#: Rules of at most so many terms begin anew at the reference too: few terms descend fast, and where
#: many have led into another valley all of their descendants are in it. They have so many times the
#: steps.
ANEW, AFRESH = 4, 2
#: Rules of at most so many terms are what is wanted: the one chosen goes on for as many steps.
FEW = 6


@dataclass(frozen=True)
class Left:
    """Terms that left.

    Attributes:
        gone: their indices.
        place: what is left, after its accepted steps.
        means: that it was reached by, whose kernels cover it.
        others: what would have been left without another term, after as many steps at first.
    """

    gone: tuple[int, ...]
    place: Place
    means: Means
    others: tuple[Place, ...] = ()


def leave(means: Means, label: str, place: Place, reference: Place, steps: int) -> Iterator[Left]:
    """Let terms leave until one is left.

    Args:
        means: what is worked with.
        label: of this course of departures.
        place: the rule with all terms.
        reference: a rule that learns for certain, from which others begin anew where what left had
            held the network.
        steps: of each rule at most.
    """
    safe = means.tried(f"{label}/reference", reference)
    best = Way((), place, means.tried(f"{label}/begun", place))
    while len(place.support) > 1:
        means = means.narrowed([*place.support, *reference.support])
        here = f"{label}/{len(place.support)} terms"
        kept = reference.support
        ways = [_safer(way, reference, safe) for way in _ways(means, here, best, kept)]
        left_over = len(place.support) - 1
        few = left_over <= FEW
        with_it = [way for way in ways if set(kept) <= set(way.place.support)]
        if 2 < left_over <= ANEW and with_it:
            gone, first = with_it[0].changed, with_it[0].place
            ways.append(Way(gone, Place(first.support, reference.phi, first.second), safe))
        reached = []
        for number, way in enumerate(ways):
            left = f"{label}/{len(way.place.support)} terms" + f", way {number}" * (len(ways) > 1)
            anew = way.place.phi == reference.phi
            better = descended(means, left, way, (AFRESH if anew else 1) * steps)
            if better.place.support:
                reached.append(better)
        if not reached:
            return
        best, *others = sorted(reached, key=lambda way: way.loss)
        if few:
            on = f"{label}/{len(best.place.support)} terms, on"
            best = descended(means, on, best, steps)
        place = best.place
        yield Left(best.changed, place, means, tuple(way.place for way in others))


def _safer(way: Way, reference: Place, safe: Scores) -> Way:
    """The way, or one that begins at the reference where that is better and has its terms."""
    place = way.place
    if safe.mean_loss < way.loss and set(reference.support) <= set(place.support):
        return Way(way.changed, Place(place.support, reference.phi, place.second), safe)
    return way


def _ways(means: Means, here: str, now: Way, reference: Sequence[int]) -> list[Way]:
    """The cheapest group that may leave, or the cheapest single terms.

    Where the cheapest is a term of the reference, the cheapest other one is its rival in any case:
    with the reference there is a way to begin anew.
    """
    place = now.place
    order = [place.support[i] for i in np.argsort(saliences(place), kind="stable")]
    group = len(order) // 3 if len(order) > MANY else 1
    while group > 1:
        gone, left = tuple(order[:group]), without(place, order[:group])
        outcomes = means.tried(f"{here}/without {group}", left)
        if compare(outcomes, now.outcomes).mean < CHEAP * means.gain:
            return [Way(gone, left, outcomes)]
        group //= 2
    ways = _without_each(means, here, place, order[:CANDIDATES], now.outcomes)
    first, *others = sorted(ways, key=lambda way: way.loss)
    # What is clearly dearer before its steps is not tried further.
    close = [way for way in others if compare(way.outcomes, first.outcomes).interval[0] <= 0]
    if len(order) <= FEW and set(first.changed) & set(reference):
        return [first, *others[: RIVALS - 1]]
    return [first, *close[: RIVALS - 1 if len(order) <= MANY + 1 else 0]]


def _without_each(
    means: Means, here: str, place: Place, terms: Sequence[int], now: Scores
) -> list[Way]:
    """Without one term each: the others take over its work, or stay as they are if better so."""
    labels = [f"{here}/without {means.setting.names[term]}" for term in terms]

    def tried(places: Mapping[str, Place], gone: Sequence[int]) -> list[Way]:
        found = zip(gone, places.values(), means.all_tried(places), strict=True)
        return [Way((term,), each, outcomes) for term, each, outcomes in found]

    taken_over = [without(place, [term]) for term in terms]
    ways = tried(dict(zip(labels, taken_over, strict=True)), terms)
    dear = [i for i, w in enumerate(ways) if compare(w.outcomes, now).mean >= CHEAP * means.gain]
    plain = {f"{labels[i]} plainly": plainly_without(place, [terms[i]]) for i in dear}
    for i, other in zip(dear, tried(plain, [terms[i] for i in dear]), strict=True):
        ways[i] = min(ways[i], other, key=lambda way: way.loss)
    return ways
