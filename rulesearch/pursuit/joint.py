"""Descents of many terms together, each in units of what the rule at hand bears of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

from rulesearch.meta.descent import Descended, Descent
from rulesearch.pursuit.hall import Entry, compared, gain_of
from rulesearch.pursuit.place import Means, Place, turned
from rulesearch.pursuit.spans import in_spans

#: So often, at most, a descent of all terms goes on in units of where it has come to.
AGAIN = 1
#: With so much of the penalty: its zeros are found by then, and it holds back the others.
WEAKER = 0.1
#: A descent that leaves more of the untrained loss than this has led nowhere. Those of EMNIST and
#: digits leave a quarter and less; of planted rules those that were lost left 0.65 and more.
NOWHERE = 0.5


@dataclass(frozen=True)
class Aims:
    """What a pursuit is after.

    Attributes:
        starts: descents of all terms together, each with lifetimes of its own; the best goes on.
        steps: of each of those at most.
        l1: of their penalty.
        parsimony: share of the gain that the choice may give away.
        against_reference: whether the gain is measured against it; else against no training.
    """

    starts: int
    steps: int
    l1: float
    parsimony: float
    against_reference: bool


@dataclass(frozen=True)
class Joint:
    """Where descents of all terms of a round together have led.

    Attributes:
        means: in the units that they ended in.
        starts: the descents; one that went on in other units is one.
        begun: their entries.
    """

    means: Means
    starts: tuple[Descended, ...]
    begun: tuple[Entry, ...]


def descend_together(
    means: Means,
    aims: Aims,
    label: str,
    place: Place,
    support: tuple[int, ...],
    alone: Entry,
) -> Joint:
    """So many descents from a place, and the best of them on, in units of where it has come to.

    Units are how far each term can go alone from the place, which says little where that is no good
    rule. Where descents in them lead nowhere, one in the units as they were is a rival.

    Args:
        means: of the pursuit.
        aims: of it.
        label: of the round; "" where there is one.
        place: where all begin.
        support: the terms.
        alone: the reference.
    """
    rival = alone if aims.against_reference else None

    def entry(what: str, found: Descended) -> Entry:
        there = Place(found.support, found.phi, found.second, found.size)
        return compared(means, f"{label}common/{what}", there if there.support else alone.place)

    fixed = {means.setting.reference, *alone.place.support}
    by_size, units = means, in_spans(means, f"{label}spans", place, support, fixed)
    phi = turned(place, means.setting.scales, units).phi
    means = means.in_units(units)
    starts = [
        means.descend(_start(means, aims, f"{label}trial {number}", phi, support))
        for number in range(aims.starts)
    ]
    begun = [entry(f"start {number}", found) for number, found in enumerate(starts)]
    best = min(range(aims.starts), key=lambda number: begun[number].loss)
    if units != by_size.setting.scales and _leads_nowhere(begun[best]):
        means, number = by_size, len(starts)
        starts.append(
            means.descend(_start(means, aims, f"{label}trial {number}", place.phi, support))
        )
        begun = [each.in_units(units, means.setting.scales) for each in begun]
        begun.append(entry(f"start {number}", starts[number]))
        best = min(range(number + 1), key=lambda number: begun[number].loss)
    for again in range(1, AGAIN + 1):
        old, here = means.setting.scales, begun[best]
        means = replace(means, gain=max(means.gain, gain_of(here, rival).mean))
        units = in_spans(means, f"{label}spans {again}", here.place, support, fixed)
        begun = [each.in_units(old, units) for each in begun]
        means = means.in_units(units)
        goes_on = f"{label}trial {best}, on {again}"
        weaker = replace(aims, l1=WEAKER * aims.l1)
        found = means.descend(_start(means, weaker, goes_on, begun[best].place.phi, support))
        there = entry(f"start {best}, on {again}", found)
        gained = gain_of(there, here)
        if gained.mean > 0:
            starts[best], begun[best] = _together(starts[best], found), there
        if gained.interval[1] <= means.protocol.worth * means.gain:
            break
    return Joint(means, tuple(starts), tuple(begun))


def _leads_nowhere(entry: Entry) -> bool:
    return entry.loss > NOWHERE * fmean(entry.outcomes.initial_loss)


def _together(first: Descended, then: Descended) -> Descended:
    """A descent that went on in other units, as one."""
    return replace(
        then,
        label=first.label,
        seed=first.seed,
        gained=first.gained + then.gained,
        steps=first.steps + then.steps,
        taken=first.taken + then.taken,
        lifetimes=first.lifetimes + then.lifetimes,
        forward=first.forward + then.forward,
        left_out=first.left_out + then.left_out,
        diverged=first.diverged + then.diverged,
        lost=(*first.lost, *then.lost),
    )


def _start(
    means: Means,
    aims: Aims,
    label: str,
    phi: tuple[float, ...],
    support: tuple[int, ...],
) -> Descent:
    return Descent(
        label=label,
        support=support,
        scales=means.setting.scales,
        start=phi,
        seed=means.setting.seed,
        protocol=means.protocol,
        pace=means.pace,
        steps=aims.steps,
        l1=aims.l1,
        gain=means.gain,
        worlds=means.setting.worlds,
    )
