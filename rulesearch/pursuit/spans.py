"""How far each term may go alone from a rule: the unit that its coefficient is learned in there.

The size of an update says little of how much of it a network bears. One that is spread over
synapses that do not matter, as that of normalised errors is, may be a hundred times as large as
another, and steps of one length in all directions then reach only those that bear least. Nor does
what the reference bears say what a better rule does: a decay of activities that stops a network
that hardly learns may hold one that learns. So units are measured again where a course has come to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from statistics import fmean

from rulesearch.meta import lifetime_seeds
from rulesearch.pursuit.place import Means, Place

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


def in_spans(
    means: Means, label: str, place: Place, terms: Sequence[int], reference: Collection[int]
) -> tuple[float, ...]:
    """Units, [terms], by which each term goes as far as it can alone from where a rule is.

    A change of a coefficient is tolerated if, with it or its negative, no more than a share of what
    the rule gains is lost on common lifetimes. From a rule that takes away no more than `TELLING`
    of the loss how far a term can go says little of how far it may go beside others, which hold it,
    and units stay as they are.

    Args:
        means: of the search; units of their setting are where it begins.
        label: of this measurement.
        place: the rule.
        terms: that are measured, each by itself.
        reference: those of the reference: their units stay, or it would become another rule.
    """
    setting = means.setting
    seeds = lifetime_seeds(setting.seed, "spans", 0, TASKS, setting.worlds)

    (base,) = means.measure({f"{label}/alone": means.theta(place.phi)}, seeds)
    untrained = fmean(base.initial_loss)
    gain = untrained - base.mean_loss
    if gain <= TELLING * untrained:
        return setting.scales
    limit = base.mean_loss + LOST * gain

    def bearable(changes: Sequence[tuple[int, float]]) -> list[bool]:
        rules = {}
        for term, change in changes:
            phi = list(place.phi)
            phi[term] += change * means.pace
            rules[f"{label}/{setting.names[term]} by {change:g}"] = means.theta(phi)
        return [outcomes.mean_loss <= limit for outcomes in means.measure(rules, seeds)]

    def tolerated(changes: Sequence[tuple[int, float]]) -> list[bool]:
        found = bearable(changes)
        other = [i for i, fine in enumerate(found) if not fine]
        signed = [(term, -size) for term, size in (changes[i] for i in other)]
        for i, fine in zip(other, bearable(signed), strict=True):
            found[i] = fine
        return found

    scales = list(setting.scales)
    asked = [t for t in means.in_order(terms) if scales[t] and t not in reference]
    for term, span in spans(tolerated, asked).items():
        scales[term] *= PART * span
    return tuple(scales)


def spans(
    tolerated: Callable[[Sequence[tuple[int, float]]], Sequence[bool]], terms: Sequence[int]
) -> dict[int, float]:
    """For each term the largest power of the factor that is tolerated, next to one that is not.

    Args:
        tolerated: whether it is, for some pairs of a term and a size.
        terms: that are asked for, side by side.

    Example:
        >>> limits = (20.0, 0.1, 0.0)
        >>> spans(lambda asked: [size <= limits[term] for term, size in asked], [0, 1, 2])
        {0: 16.0, 1: 0.0625, 2: 0.0009765625}
    """
    going_up = dict(zip(terms, tolerated([(term, 1.0) for term in terms]), strict=True))
    found = {term: 1.0 if up else FACTOR**-MOST for term, up in going_up.items()}
    for power in range(1, MOST + 1):
        asked = [(t, FACTOR ** (power if up else -power)) for t, up in going_up.items()]
        for (term, size), fine in zip(asked, tolerated(asked), strict=True):
            if fine:
                found[term] = size
            if fine != going_up[term]:
                del going_up[term]
    return found
