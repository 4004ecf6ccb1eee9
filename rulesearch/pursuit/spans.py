"""How far each term may go alone from a rule: the unit that its coefficient is learned in there.

The size of an update says little of how much of it a network bears. One that is spread over
synapses that do not matter, as that of normalised errors is, may be a hundred times as large as
another, and steps of one length in all directions then reach only those that bear least. Nor does
what the reference bears say what a better rule does: a decay of activities that stops a network
that hardly learns may hold one that learns. So units are measured again where a course has come to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean

from rulesearch.meta import lifetime_seeds
from rulesearch.pursuit.place import Means, Place
from rulesearch.statistics import Scores

#: From one size that is tried to the next, and how many of them, up or down, at most.
FACTOR, MOST = 4.0, 5
#: Lifetimes that say so.
TASKS = 12
#: Share of what the reference gains that may be lost.
LOST = 0.1
#: Share of the loss that a rule takes away where it is good enough to measure others from. From
#: references of planted rules (`benchmarks.planted`) that take a fifth or less, spans led four of
#: six searches astray; of digits the reference takes 0.28, of EMNIST 0.53.
TELLING = 0.25
#: As far as that is too far for a step; a step of the reference's pace goes so much of it.
PART = 0.5


def in_spans(means: Means, label: str, place: Place, terms: Sequence[int]) -> tuple[float, ...]:
    """Units, [terms], by which each term goes as far as it can alone from where a rule is.

    A change of a coefficient is tolerated if, with it or its negative, no more than a share of what
    the rule gains is lost on common lifetimes. From a rule that takes away no more than `TELLING`
    of the loss how far a term can go says little of how far it may go beside others, which hold it,
    and units stay as they are.

    Args:
        means: of the search; units of their setting are where it begins.
        label: of this measurement.
        place: the rule.
        terms: that are measured, each by itself; but the reference, whose unit stays.
    """
    setting = means.setting
    seeds = lifetime_seeds(setting.seed, "spans", 0, TASKS, setting.worlds)

    def live(name: str, phi: Sequence[float]) -> Scores:
        return means.measure(f"{label}/{name}", means.theta(phi), seeds)

    base = live("alone", place.phi)
    untrained = fmean(base.initial_loss)
    gain = untrained - base.mean_loss
    if gain <= TELLING * untrained:
        return setting.scales
    limit = base.mean_loss + LOST * gain

    def tolerated(term: int, factor: float) -> bool:
        for sign in (1.0, -1.0):
            phi = list(place.phi)
            phi[term] += sign * factor * means.pace
            if live(f"{setting.names[term]} by {sign * factor:g}", phi).mean_loss <= limit:
                return True
        return False

    scales = list(setting.scales)
    for term in means.in_order(terms):
        if scales[term] and term != setting.reference:
            scales[term] *= PART * span(partial(tolerated, term))
    return tuple(scales)


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
