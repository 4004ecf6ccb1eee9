"""The course of a pursuit: terms join, descend together, and leave; then a size is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rulesearch.meta.descent import Descended
from rulesearch.meta.metric import TINY
from rulesearch.pursuit.growing import GROWN, Grown, grow
from rulesearch.pursuit.hall import (
    Entry,
    Ranked,
    choice,
    compared,
    front,
    gain_of,
    hall_of_fame,
    with_chosen,
)
from rulesearch.pursuit.joining import LEVEL, Tested, judge, promises
from rulesearch.pursuit.joint import Aims, descend_together
from rulesearch.pursuit.leaving import leave
from rulesearch.pursuit.place import Means, Place
from rulesearch.pursuit.settling import Settled, settle
from rulesearch.statistics import Difference, compare

#: So many terms join at once, without a test: all of a small pool, the simplest of a large one.
ROOM = 40
#: Rounds of tests at most, of pools with more.
ROUNDS = 4
#: Terms at most of the rule that a further round begins with.
MOST = 8
#: A rule that gives away no more than so many times what it may settles before it is passed over.
NARROWLY = 1.1


@dataclass(frozen=True)
class Departure:
    """Terms that left, and what is left of the rule.

    Attributes:
        gone: their indices.
        entry: what is left, on the common lifetimes.
        cost: its loss minus that of the best rule found, nats.
        share: of the gain that this is.
    """

    gone: tuple[int, ...]
    entry: Entry
    cost: Difference
    share: float


@dataclass(frozen=True)
class Round:
    """Terms that joined and left again.

    Attributes:
        tested: those tested before they joined; none where all of a small pool join.
        starts: descents of all terms together.
        departures: in their order.
    """

    tested: tuple[Tested, ...]
    starts: tuple[Descended, ...]
    departures: tuple[Departure, ...]


@dataclass(frozen=True)
class Pursuit:
    """What a pursuit found.

    Attributes:
        rounds: in their order.
        grown: what small rules grew to, from one term on.
        hall: see `hall_of_fame`.
        chosen: the entry that is the answer.
        gain: of the best rule over the reference, nats.
        coefficients: of the answer.
        message: what a reader must know first; or "".
    """

    rounds: tuple[Round, ...]
    grown: tuple[Grown, ...]
    hall: tuple[Ranked, ...]
    chosen: Entry
    gain: Difference
    coefficients: Settled
    message: str = ""


@dataclass(frozen=True)
class Opening:
    """What a pursuit begins with.

    Attributes:
        reference: the rule that others are measured against, at its best coefficient.
        terms: indices of those that may join,
        simplest: and of these, those that join at once; None for all.
        begun: another rule to begin at, as it was given; None for the reference.
    """

    reference: Place
    terms: tuple[int, ...]
    simplest: tuple[int, ...] | None = None
    begun: Place | None = None

    @property
    def all_at_once(self) -> bool:
        """Whether every term joins without a test."""
        return self.simplest is None or {*self.simplest} == {*self.terms}

    @property
    def place(self) -> Place:
        """The rule that the course begins at."""
        return self.begun or self.reference

    @property
    def first(self) -> tuple[int, ...]:
        """The terms that join it at once: at a rule that learns, none of a large pool."""
        if self.all_at_once:
            return self.terms
        return () if self.begun else self.simplest or ()


def pursue(means: Means, aims: Aims, opening: Opening) -> Pursuit:
    """From the reference, or another rule, to a hall of fame and a choice.

    All terms of a small pool join at once. Of a large one the simplest do: most of what can be
    learned needs no more, and at the reference alone few others can be told apart, as nearly all
    of them overthrow a network that hardly learns. Then those that pay join, round by round, until
    none does or what they gain is not worth a round.

    At a rule that learns others can be told apart: its own terms alone descend at first, and those
    of a large pool join by tests from the beginning.

    Args:
        means: what is worked with; its `gain` is filled in here.
        aims: what is wanted.
        opening: what it begins with.
    """
    reference, place, all_at_once = opening.reference, opening.place, opening.all_at_once
    alone = compared(means, "common/reference", reference)
    rival = alone if aims.against_reference else None
    entries, rounds = [alone], []
    if opening.begun:
        means = means if all_at_once else means.over({*place.support, *reference.support})
        entries.append(compared(means, "common/begun with", place))
    for number in range(1 if all_at_once else 1 + ROUNDS):
        if number:
            means = means.over(place.support)
        before = min(entries, key=lambda entry: entry.loss)
        others = means.in_order(term for term in opening.terms if term not in place.support)
        tests = _tests(means, f"round {number}", place, others, number) if number else ()
        if number:
            joining = [each.term for each in tests if each.joins]
        else:
            joining = [term for term in others if term in opening.first]
        if not joining and (number or not opening.begun):
            rounds.append(Round(tests, (), ()))
            if number:
                break
            continue
        label = "" if all_at_once else f"round {number}/"
        support = means.in_order([*place.support, *joining])
        means = means.over({*support, *reference.support})
        wanted = replace(aims, starts=1) if number else aims
        joint = descend_together(means, wanted, label, place, support, alone)
        old, means = means.setting.scales, joint.means
        entries = [each.in_units(old, means.setting.scales) for each in entries]
        earlier = entries if number else []
        found = _thinned(means, label, joint.begun, earlier, alone, rival)
        entries += [*joint.begun, *found.path, *found.others]
        best = min(entries, key=lambda entry: entry.loss)
        means = replace(means, gain=max(0.0, gain_of(best, rival).mean))
        rounds.append(
            Round(tests, joint.starts, _departures(found.gone, found.path, best, means.gain))
        )
        worthless = gain_of(best, before).interval[1] <= means.protocol.worth * means.gain
        if worthless and (number or not opening.begun):  # at a rule no other has had its turn yet
            break
        small = [entry for entry in entries if entry.terms <= MOST]
        place = min(small, key=lambda entry: entry.loss).place
    hall = hall_of_fame(entries, means.needs)
    most = min(GROWN, choice(front(hall), rival, aims.parsimony).terms)
    steps = means.setting.effort.refit_steps
    grown = tuple(grow(means, entries, alone.place, opening.terms, most, steps))
    entries += [entry for each in grown for entry in each.entries]
    known = _settled_before_passed_over(means, entries, rival, aims.parsimony)
    entries += [entry for entry, _ in known]
    hall = hall_of_fame(entries, means.needs)
    best = min(front(hall), key=lambda entry: entry.loss)
    chosen = choice(front(hall), rival, aims.parsimony)
    gain = gain_of(best, rival)
    message = _message(means, chosen, rival, best, gain)
    settled = next((found for entry, found in known if entry is chosen), None)
    if settled is None:
        chosen, settled = _settled(means.narrowed(chosen.place.support), "settling", chosen.place)
    hall = hall_of_fame([*entries, chosen], means.needs)
    return Pursuit(
        rounds=tuple(rounds),
        grown=grown,
        hall=with_chosen(hall, chosen),
        chosen=chosen,
        gain=gain,
        coefficients=settled,
        message=message,
    )


def _settled(means: Means, label: str, place: Place) -> tuple[Entry, Settled]:
    """A rule with its best coefficients, on the lifetimes on which rules are compared."""
    found = settle(means, label, place)
    scales = means.setting.scales
    phi = tuple(x / s if s else 0.0 for x, s in zip(found.theta, scales, strict=True))
    entry = compared(means, f"{label}/common", replace(place, phi=phi))
    return replace(entry, theta=found.theta), found


def _settled_before_passed_over(
    means: Means, entries: Sequence[Entry], rival: Entry | None, parsimony: float
) -> list[tuple[Entry, Settled]]:
    """The next smaller rule with its best coefficients, where it gives away hardly too much.

    Steps end where another would gain little, which may be what it lacks.
    """
    sizes = front(hall_of_fame(entries))
    best = min(sizes, key=lambda entry: entry.loss)
    chosen = choice(sizes, rival, parsimony)
    smaller = [entry for entry in sizes if entry.terms < chosen.terms]
    allowed = NARROWLY * parsimony * gain_of(best, rival).mean
    if not smaller or smaller[-1] is rival or smaller[-1].loss - best.loss > allowed:
        return []
    place = smaller[-1].place
    label = f"settling/{len(place.support)} terms"
    return [_settled(means.narrowed(place.support), label, place)]


def _tests(
    means: Means, label: str, place: Place, others: Sequence[int], number: int
) -> tuple[Tested, ...]:
    """The most promising of the other terms, tested, each round at half the level of the last."""
    gradients = means.differentiate(f"{label}/screening", means.theta(place.phi))
    found = promises(place, others, np.array(gradients, dtype=np.float64) * means.setting.scales)
    means = means.over([*place.support, *(each.term for each in found)])
    return tuple(judge(means, label, place, found, LEVEL / 2**number))


@dataclass(frozen=True)
class _Thinned:
    """What a course of departures left behind.

    Attributes:
        gone: what left each time,
        path: and what was left then.
        others: what would have been left without another term.
    """

    gone: tuple[tuple[int, ...], ...]
    path: tuple[Entry, ...]
    others: tuple[Entry, ...]


def _thinned(
    means: Means,
    label: str,
    begun: Sequence[Entry],
    earlier: Sequence[Entry],
    alone: Entry,
    rival: Entry | None,
) -> _Thinned:
    """The entries of fewer terms that the best of those begun leads to.

    They end where an earlier round has a clearly better rule that is no longer.
    """
    first = min(begun, key=lambda entry: entry.loss)
    means = replace(means, gain=max(means.gain, gain_of(first, rival).mean))
    gone, path, others = [], [], []
    steps = means.setting.effort.refit_steps
    for left in leave(means, f"{label}leaving", first.place, alone.place, steps):
        here = f"{label}common/{len(left.place.support)} terms"
        gone.append(left.gone)
        path.append(compared(left.means, here, left.place))
        others += [
            compared(left.means, f"{here}, other {number}", place)
            for number, place in enumerate(left.others)
        ]
        if _outdone(path[-1], earlier):
            break
    return _Thinned(tuple(gone), tuple(path), tuple(others))


def _outdone(entry: Entry, earlier: Sequence[Entry]) -> bool:
    """Whether a rule of no more terms is clearly better."""
    others = [each for each in earlier if each.terms <= entry.terms]
    best = min(others, key=lambda each: each.loss, default=entry)
    return compare(entry.outcomes, best.outcomes).interval[0] > 0


def _departures(
    gone: Sequence[tuple[int, ...]], path: Sequence[Entry], best: Entry, gain: float
) -> tuple[Departure, ...]:
    departures = []
    for out, entry in zip(gone, path, strict=True):
        cost = gain_of(best, entry)
        departures.append(Departure(out, entry, cost, cost.mean / max(gain, TINY)))
    return tuple(departures)


def _message(
    means: Means, chosen: Entry, rival: Entry | None, best: Entry, gain: Difference
) -> str:
    if rival is None or chosen is not rival or best is rival:
        return ""
    names = ", ".join(means.setting.tell(chosen.place.support))
    low, high = gain.interval
    same = set(best.place.support) == set(chosen.place.support)
    other = "with other coefficients it" if same else "the best other rule"
    return (
        f"nothing beats {names} alone: {other} gains {gain.mean:.3g} "
        f"(95 % interval {low:.3g} to {high:.3g})"
    )
