"""How far each term may go alone from the reference: the unit that its coefficient is learned in.

The size of an update says little of how much of it a network bears. One that is spread over
synapses that do not matter, as that of normalised errors is, may be a hundred times as large as
another, and steps of one length in all directions then reach only those that bear least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean

from rulesearch.meta import lifetime_seeds
from rulesearch.pursuit.place import Means, Place
from rulesearch.selection import Setting
from rulesearch.statistics import Scores

#: From one size that is tried to the next, and how many of them, up or down, at most.
FACTOR, MOST = 4.0, 5
#: Lifetimes that say so.
TASKS = 12
#: Share of what the reference gains that may be lost.
LOST = 0.1
#: Share of the loss that a reference takes away where it is good enough to measure others from. Of
#: 22 searches for planted rules (`benchmarks.planted`) where it takes less, spans lost 13 and sizes
#: of updates none; on EMNIST, where it takes 0.53, sizes leave normalised terms out.
TELLING = 0.4
#: As far as that is too far for a step; at the reference's pace a step goes so much of it.
PART = 0.5


def in_spans(means: Means, place: Place, terms: Sequence[int]) -> tuple[Setting, bool]:
    """The setting with units by which each term goes as far as it can alone.

    Terms that the rule has keep theirs. A size is tolerated if, with it or its negative, no more
    than a share of the reference's gain is lost on common lifetimes.

    Args:
        means: of the search; units of their setting are where it begins.
        place: the reference.
        terms: that are measured, each by itself.

    Returns:
        The setting, and whether it is to be relied on: where the reference takes away no more than
        `TELLING` of the loss, how far a term can go from there says little of how far it may go
        beside others, which hold it.
    """
    setting = means.setting
    seeds = lifetime_seeds(setting.seed, "spans", 0, TASKS, setting.worlds)

    def live(label: str, phi: Sequence[float]) -> Scores:
        return means.measure(f"spans/{label}", means.theta(phi), seeds)

    base = live("reference", place.phi)
    untrained = fmean(base.initial_loss)
    limit = base.mean_loss + LOST * max(untrained - base.mean_loss, 0.0)

    def tolerated(term: int, factor: float) -> bool:
        for sign in (1.0, -1.0):
            phi = list(place.phi)
            phi[term] = sign * factor * means.pace
            if live(f"{setting.names[term]} by {sign * factor:g}", phi).mean_loss <= limit:
                return True
        return False

    scales = list(setting.scales)
    for term in means.in_order(terms):
        if scales[term] and not place.phi[term]:
            scales[term] *= PART * span(partial(tolerated, term))
    telling = untrained - base.mean_loss > TELLING * untrained
    return replace(setting, scales=tuple(scales)), telling


def span(tolerated: Callable[[float], bool]) -> float:
    """The largest power of the factor that is tolerated, among those next to one that is not.

    Example:
        >>> span(lambda size: size <= 20), span(lambda size: size <= 0.1), span(lambda size: False)
        (16.0, 0.0625, 0.0009765625)
    """
    powers = range(1, MOST + 1)
    if tolerated(1.0):
        reached = 1.0
        for power in powers:
            if not tolerated(FACTOR**power):
                break
            reached = FACTOR**power
        return reached
    smaller = (FACTOR**-power for power in powers)
    return next((size for size in smaller if tolerated(size)), FACTOR**-MOST)
