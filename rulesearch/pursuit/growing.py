"""Rules of few terms grow from smaller ones, beside those that are left of larger ones.

What left while terms were many is never asked again, and the best rule of three terms need not lie
within the best of five. So each small rule is asked in turn which term it misses most, and the rule
of one term more is a rival of what elimination left, as in floating search (Pudil, Novovičová &
Kittler 1994). Nothing is claimed here of a term: which of two rules of a size is better is decided
where all rules are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rulesearch.pursuit.hall import Entry, compared
from rulesearch.pursuit.joining import LEVEL, Promise, Tested, judge, promises
from rulesearch.pursuit.leaving import leave
from rulesearch.pursuit.place import Means, Place
from rulesearch.pursuit.ways import Way, descended
from rulesearch.statistics import compare

#: Terms at most of a rule that has grown: of larger ones nearly as good rules are left otherwise.
GROWN = 5
#: Candidates of each rule that are tested, the most promising,
TESTED = 6
#: and those of them that take their steps, if a first one gains as large a share of what the best
#: gains: it does not tell which of two leads further.
RIVALS, SHARE = 2, 0.5
#: After as many steps as where a term has left, those that have not fallen behind go on for so many
#: times as many, as they may have far to go.
FURTHER = 7


@dataclass(frozen=True)
class Grown:
    """A rule, and what it grew to.

    Attributes:
        base: the smaller rule.
        tested: its candidates.
        entries: rules of one term more, as far as they went, on the common lifetimes; and of as
            many as the smaller rule has, that another term has left again.
    """

    base: Entry
    tested: tuple[Tested, ...]
    entries: tuple[Entry, ...]


def grow(
    means: Means,
    entries: Sequence[Entry],
    reference: Place,
    terms: Sequence[int],
    most: int,
    steps: int,
) -> Iterator[Grown]:
    """From the best rule of each size up to fewer than `most` terms, rules of one term more.

    Of one that is the best of its size another term may leave again, which the one that joined has
    made needless.

    Args:
        means: what is worked with.
        entries: all rules that were compared, in the units of `means`.
        reference: a rule that learns for certain.
        terms: those that may join.
        most: terms of a rule at most.
        steps: where a term has left, at most.
    """
    known = list(entries)
    for size in range(1, most):
        of_size = [entry for entry in known if entry.terms == size]
        if not of_size:
            continue
        base = min(of_size, key=lambda entry: entry.loss)
        here = f"growing/{size} terms"
        grown = _one_more(means, here, base, known, terms, steps)
        best = min(grown.entries, key=lambda entry: entry.loss, default=None)
        others = [entry.loss for entry in known if entry.terms == size + 1]
        if best and size > 1 and best.loss < min(others, default=math.inf):
            back = _one_less(means, here, best, reference, steps)
            grown = replace(grown, entries=(*grown.entries, *back))
        known += grown.entries
        yield grown


def _one_less(
    means: Means, label: str, entry: Entry, reference: Place, steps: int
) -> Iterator[Entry]:
    """What is left of a rule without the term that can best be spared, and without others."""
    for left in leave(means, f"{label}/leaving", entry.place, reference, steps):
        for number, place in enumerate((left.place, *left.others)):
            yield compared(left.means, f"{label}/common, left {number}", place)
        return


def _one_more(
    means: Means,
    label: str,
    base: Entry,
    known: Sequence[Entry],
    terms: Sequence[int],
    steps: int,
) -> Grown:
    """The rules of one term more that a rule grows to.

    Where the one that gains most is known, what elimination left has been there.
    """
    place = base.place
    others = means.in_order(term for term in terms if term not in place.support)
    gradients = means.differentiate(f"{label}/screening", means.theta(place.phi))
    learned = np.array(gradients, dtype=np.float64) * means.setting.scales
    found = promises(place, others, learned, TESTED)
    if not found:
        return Grown(base, (), ())
    narrow = means.over([*place.support, *(each.term for each in found)])
    tested = judge(narrow, label, place, found, LEVEL)
    ahead = sorted(zip(tested, found, strict=True), key=lambda pair: -pair[0].gain)[:RIVALS]
    least = SHARE * ahead[0][0].gain
    met = {frozenset(entry.place.support) for entry in known}
    entries: list[Entry] = []
    for number, (test, promise) in enumerate(ahead):
        bigger = _with(means, place, test, promise)
        if not test.gain >= least > 0 or frozenset(bigger.support) in met:
            break
        here = f"{label}, way {number}"  # seeds hang on it, and must not on names
        begun = Way((test.term,), bigger, narrow.tried(f"{here}, begun", bigger))
        entries += _stepped(narrow, here, begun, known, steps)
    return Grown(base, tuple(tested), tuple(entries))


def _stepped(
    means: Means, label: str, way: Way, known: Sequence[Entry], steps: int
) -> Iterator[Entry]:
    """A rule after some steps, and, if no other of its size is clearly better, after many."""
    way = descended(means, label, way, steps)
    if not way.place.support:
        return
    entry = compared(means, f"{label}/common", way.place)
    yield entry
    others = [each for each in known if each.terms == entry.terms]
    best = min(others, key=lambda each: each.loss, default=entry)
    if compare(entry.outcomes, best.outcomes).interval[0] > 0:
        return
    further = descended(means, f"{label}, on", way, FURTHER * steps)
    if further is not way and further.place.support:
        yield compared(means, f"{label}/common, on", further.place)


def _with(means: Means, place: Place, test: Tested, promise: Promise) -> Place:
    """The rule after the step by which a term was tested."""
    phi = np.array(place.phi) + test.size * means.pace * np.array(promise.direction)
    return Place(means.in_order([*place.support, test.term]), tuple(phi.tolist()))
