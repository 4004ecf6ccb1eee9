"""The course of a pursuit: all terms together, then fewer and fewer, and the choice among sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rulesearch.meta.descent import Descended, Descent
from rulesearch.pursuit.hall import Entry, Ranked, choice, front, gain_of, hall_of_fame
from rulesearch.pursuit.leaving import leave
from rulesearch.pursuit.place import Means, Place
from rulesearch.statistics import Difference, Interval, t_interval


@dataclass(frozen=True)
class Departure:
    """Terms that left, and what is left of the rule.

    Attributes:
        gone: their indices.
        left: indices of the others.
        entry: what is left, on the common lifetimes.
        cost: its loss minus that of the best rule found, nats.
        share: of the gain that this is.
    """

    gone: tuple[int, ...]
    entry: Entry
    cost: Difference
    share: float


@dataclass(frozen=True)
class Coefficients:
    """The rule chosen.

    Attributes:
        theta: raw coefficients, the mean over its last descents, [terms].
        intervals: 95 % Student interval of each mean, [terms], conditional on the support.
    """

    theta: tuple[float, ...]
    intervals: tuple[Interval, ...] | None


@dataclass(frozen=True)
class Pursuit:
    """What a pursuit found.

    Attributes:
        starts: the descents of all terms together.
        departures: in their order.
        hall: see `hall_of_fame`.
        chosen: the entry that is the answer.
        gain: of the best rule over the reference, nats.
        coefficients: of the answer.
        message: what a reader must know first; or "".
    """

    starts: tuple[Descended, ...]
    departures: tuple[Departure, ...]
    hall: tuple[Ranked, ...]
    chosen: Entry
    gain: Difference
    coefficients: Coefficients
    message: str = ""


def pursue(
    means: Means,
    reference: Place,
    terms: Sequence[int],
    *,
    starts: int,
    steps: int,
    l1: float,
    parsimony: float,
    is_rival: bool,
) -> Pursuit:
    """From the reference to a hall of fame and a choice.

    Args:
        means: what is worked with; `gain` is filled in here.
        reference: the rule to begin with, at its best coefficient.
        terms: indices of those that may join.
        starts: descents of all terms together, each with lifetimes of its own; the best goes on.
        steps: of each of those at most.
        l1: of their penalty.
        parsimony: share of the gain that the choice may give away.
        is_rival: whether the gain is measured against the reference; else against no training.
    """
    every = means.in_order(terms)
    descended, places = [], []
    for number in range(starts):
        found = means.descend(_start(means, reference, every, number, steps, l1))
        descended.append(found)
        places.append(Place(found.support, found.phi, found.second, found.size))
    alone = Entry(reference, means.compared("common/reference", reference))
    rival = alone if is_rival else None
    entries = [
        Entry(place, means.compared(f"common/start {number}", place))
        for number, place in enumerate(places)
        if place.support
    ]
    first = min([*entries, alone], key=lambda entry: entry.loss)
    means = replace(means, gain=max(0.0, gain_of(first, rival).mean))
    entries.append(alone)
    gone, path = [], []
    effort = means.setting.effort
    for left in leave(means, "leaving", first.place, reference, effort.refit_steps):
        label = f"common/{len(left.place.support)} terms"
        entry = Entry(left.place, means.compared(label, left.place))
        entries.append(entry)
        gone.append(left.gone)
        path.append(entry)
    hall = hall_of_fame(entries)
    best = min(front(hall), key=lambda entry: entry.loss)
    chosen = choice(front(hall), rival, parsimony)
    gain = gain_of(best, rival)
    departures = tuple(
        Departure(out, entry, cost := gain_of_less(entry, best), cost.mean / max(gain.mean, 1e-300))
        for out, entry in zip(gone, path, strict=True)
    )
    return Pursuit(
        starts=tuple(descended),
        departures=departures,
        hall=hall,
        chosen=chosen,
        gain=gain,
        coefficients=_coefficients(means, chosen, chosen is alone),
        message=_message(means, chosen, rival, best, gain),
    )


def gain_of_less(entry: Entry, best: Entry) -> Difference:
    """What an entry costs beside the best one."""
    return gain_of(best, entry)


def _start(
    means: Means, reference: Place, every: tuple[int, ...], number: int, steps: int, l1: float
) -> Descent:
    return Descent(
        label=f"trial {number}",
        support=every,
        scales=means.setting.scales,
        start=reference.phi,
        seed=means.setting.seed,
        protocol=means.protocol,
        pace=means.pace,
        steps=steps,
        l1=l1,
    )


def _coefficients(means: Means, chosen: Entry, is_reference: bool) -> Coefficients:
    """The choice after some more steps, several times, each with lifetimes of its own."""
    theta = means.theta(chosen.place.phi)
    if is_reference:
        return Coefficients(theta, None)
    effort = means.setting.effort
    ends = [
        means.theta(means.better(f"final refit {number}", chosen.place, effort.final_steps).phi)
        for number in range(effort.final_refits)
    ]
    columns = list(zip(*ends, strict=True))
    return Coefficients(
        tuple(float(np.mean(column)) for column in columns),
        tuple(map(t_interval, columns)) if len(ends) > 1 else None,
    )


def _message(
    means: Means, chosen: Entry, rival: Entry | None, best: Entry, gain: Difference
) -> str:
    if rival is None or chosen is not rival or best is rival:
        return ""
    names = ", ".join(means.setting.tell(chosen.place.support))
    low, high = gain.interval
    return (
        f"nothing beats {names} alone: the best other rule gains {gain.mean:.3g} "
        f"(95 % interval {low:.3g} to {high:.3g})"
    )
