"""A rule that is tried: what it does on the lifetimes of tries, and after accepted steps."""

from __future__ import annotations

from dataclasses import dataclass

from rulesearch.pursuit.place import Means, Place
from rulesearch.statistics import Scores


@dataclass(frozen=True)
class Way:
    """A rule that may be gone on with.

    Attributes:
        changed: indices of the terms that left for it, or joined.
        place: the rule.
        outcomes: on the lifetimes of tries.
    """

    changed: tuple[int, ...]
    place: Place
    outcomes: Scores

    @property
    def loss(self) -> float:
        """Its mean loss there."""
        return self.outcomes.mean_loss


def descended(means: Means, label: str, way: Way, steps: int) -> Way:
    """After accepted steps, if the lifetimes of tries say that these made it better.

    So few lifetimes decide on each step that what one in a hundred does is not seen. Of the
    reference alone the best coefficient is known already.
    """
    alone = len(way.place.support) == 1 and abs(way.place.phi[way.place.support[0]]) == means.pace
    if alone:
        return way
    better = means.better(label, way.place, steps)
    seen = means.tried(f"{label}, tried", better) if better.support else way.outcomes
    there = Way(way.changed, better, seen)
    return there if there.loss < way.loss or not better.support else way
