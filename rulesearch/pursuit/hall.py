"""The hall of fame: the best rule of each number of terms, and those that do as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rulesearch.pursuit.place import Means, Needs, Place, turned
from rulesearch.statistics import Difference, Scores, compare, untrained


@dataclass(frozen=True)
class Entry:
    """A rule, and what it did on the lifetimes on which rules are compared.

    Attributes:
        place: the rule, in the units of its course.
        theta: its raw coefficients, [terms].
        outcomes: on the common lifetimes.
    """

    place: Place
    theta: tuple[float, ...]
    outcomes: Scores

    @property
    def terms(self) -> int:
        """How many it has."""
        return len(self.place.support)

    @property
    def loss(self) -> float:
        """Its mean loss."""
        return self.outcomes.mean_loss

    def in_units(self, old: Sequence[float], new: Sequence[float]) -> Entry:
        """The same entry, its place in other units; itself where that changes nothing."""
        place = turned(self.place, old, new)
        return self if place is self.place else replace(self, place=place)


def compared(means: Means, label: str, place: Place) -> Entry:
    """A rule, on the lifetimes on which rules are compared."""
    return Entry(place, means.theta(place.phi), means.compared(label, place))


@dataclass(frozen=True)
class Ranked:
    """An entry beside the best of its size.

    Attributes:
        entry: the rule.
        behind: its loss minus that of the best rule of its size; all zero for that one.
    """

    entry: Entry
    behind: Difference


def hall_of_fame(
    entries: Sequence[Entry], needs: Needs = lambda terms: frozenset()
) -> tuple[Ranked, ...]:
    """The best entry of each size, and others: as good as it, or without some of its needs.

    Those are as good whose paired difference from it includes zero.

    Rules of the same terms count once, by the better of them.

    Args:
        entries: in the order found; all on the same lifetimes.
        needs: of a rule's terms.

    Returns:
        By size from one term on, within a size the best first.
    """
    found: list[Ranked] = []
    for size in sorted({entry.terms for entry in entries}):
        best: dict[frozenset[int], Entry] = {}
        for entry in entries:
            key = frozenset(entry.place.support)
            if entry.terms == size and (key not in best or entry.loss < best[key].loss):
                best[key] = entry
        first, *others = sorted(best.values(), key=lambda entry: entry.loss)
        found.append(Ranked(first, Difference(0.0, (0.0, 0.0))))
        seen = [needs(first.place.support)]
        for entry in others:
            behind = compare(entry.outcomes, first.outcomes)
            own = needs(entry.place.support)
            less = not any(each <= own for each in seen)
            if behind.interval[0] <= 0 or less:
                seen.append(own)
                found.append(Ranked(entry, behind))
    return tuple(found)


def with_chosen(hall: Sequence[Ranked], chosen: Entry) -> tuple[Ranked, ...]:
    """The hall of fame with the rule chosen, which is the reference where nothing beats it clearly.

    It takes the place of another of the same terms.
    """
    if any(ranked.entry is chosen for ranked in hall):
        return tuple(hall)
    own = set(chosen.place.support)
    entries = [ranked.entry for ranked in hall if set(ranked.entry.place.support) != own]
    entries = sorted([*entries, chosen], key=lambda entry: (entry.terms, entry.loss))
    best = {entry.terms: entry for entry in reversed(entries)}
    return tuple(
        Ranked(entry, compare(entry.outcomes, best[entry.terms].outcomes)) for entry in entries
    )


def front(hall: Sequence[Ranked]) -> tuple[Entry, ...]:
    """The best of each size, by size."""
    sizes: dict[int, Entry] = {}
    for ranked in hall:
        sizes.setdefault(ranked.entry.terms, ranked.entry)
    return tuple(sizes.values())


def choice(entries: Sequence[Entry], reference: Entry | None, parsimony: float) -> Entry:
    """The rule with the fewest terms that gives away little of what the best one gains.

    Args:
        entries: the best of each size.
        reference: the rule that the gain is measured against; None for no training.
        parsimony: share of the gain that may be given away, 0 to below 1.
    """
    best = min(entries, key=lambda entry: entry.loss)
    gain = gain_of(best, reference)
    if reference is not None and gain.interval[0] <= 0:
        return reference
    allowed = best.loss + parsimony * max(gain.mean, 0.0)  # nothing, where nothing learns
    return min((entry for entry in entries if entry.loss <= allowed), key=lambda entry: entry.terms)


def gain_of(entry: Entry, reference: Entry | None) -> Difference:
    """What a rule gains over the reference, or over no training, in nats."""
    outcomes = entry.outcomes
    return compare(untrained(outcomes) if reference is None else reference.outcomes, outcomes)
