"""Coefficients again, for a rule without a term or with another: by accepted steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from rulesearch.meta import ACCEPTED, Descent, descend, lifetime_seeds
from rulesearch.population import Population
from rulesearch.pursuit.spans import PART, spans
from rulesearch.selection.taking_over import taken_over
from rulesearch.statistics import Scores, measure
from rulesearch.updates import overlaps

#: Parts of the coefficients that a refit may begin with: what is left may be too much.
PARTS = (1.0, 0.5, 0.25)
#: Lifetimes and points of each along which updates of terms are compared.
OVERLAP_TASKS, OVERLAP_POINTS = 4, 8
#: Share of the rule's gain that a new term may lose at its unit, see `rulesearch.pursuit.spans`.
LOST = 0.1


@dataclass(frozen=True, eq=False)
class Refits:
    """Refits of rules of one pool.

    Attributes:
        networks: on images for the search; their pool has all terms.
        theta: of the whole rule, [terms]; zero for candidates.
        seeds: of the lifetimes on which starts are compared.
        steps: of a refit at most.
        seed: of all that is drawn.
    """

    networks: Population
    theta: tuple[float, ...]
    seeds: tuple[int, ...]
    steps: int
    seed: int

    def scores(self, theta: Sequence[float]) -> Scores:
        """Of a rule, on the common lifetimes."""
        return measure(self.networks, theta, self.seeds, self.networks.outputs)

    def without(self, term: int) -> list[tuple[float, ...]]:
        """Where a rule without a term may begin: as it is, or with its work taken over."""
        plainly = tuple(0.0 if n == term else x for n, x in enumerate(self.theta))
        rest = [n for n, x in enumerate(plainly) if x]
        if not rest:
            return [plainly]
        return [plainly, taken_over(self.overlaps, self.theta, term, rest)]

    @cached_property
    def overlaps(self) -> Sequence[Sequence[float]]:
        """How alike updates are along lifetimes of the whole rule; measured when asked for."""
        shape = self.networks.shape
        steps = self.networks.conditions.steps or shape.ways * shape.shots
        points = range(0, steps, -(-steps // OVERLAP_POINTS))
        seeds = self.seeds[:OVERLAP_TASKS]
        return overlaps(self.networks, self.theta, seeds, points)

    def unit(self, term: int, first: float) -> float:
        """How far a new term may go beside the whole rule, with either sign; see `spans`.

        Args:
            term: its index.
            first: the coefficient to begin with, above 0.
        """
        base = self.scores(self.theta)
        limit = base.mean_loss + LOST * max(0.0, fmean(base.initial_loss) - base.mean_loss)

        def tolerated(size: float) -> bool:
            return any(
                self.scores(_with(self.theta, term, sign * size * first)).mean_loss <= limit
                for sign in (1.0, -1.0)
            )

        found = spans(lambda asked: [tolerated(size) for _, size in asked], [term])
        return PART * found[term] * first

    def refitted(
        self,
        label: str,
        starts: Sequence[Sequence[float]],
        candidates: dict[int, float] | None = None,
    ) -> tuple[float, ...]:
        """The coefficients after accepted steps from the best of some starts.

        Each starts whole and in parts. Units are the coefficients' own sizes there, and for
        candidates what is given.

        Args:
            label: of this refit; what is drawn hangs on it.
            starts: raw coefficients, [terms].
            candidates: unit of each term that begins at zero and may join.
        """
        scaled = [tuple(part * x for x in start) for start in starts for part in PARTS]
        distinct = list(dict.fromkeys(scaled))
        begin = min(distinct, key=lambda theta: self.scores(theta).mean_loss)
        more = candidates or {}
        scales = tuple(abs(x) or more.get(n, 0.0) for n, x in enumerate(begin))
        support = tuple(n for n, scale in enumerate(scales) if scale)
        if not support:
            return begin
        plan = Descent(
            label=label,
            support=support,
            scales=scales,
            start=tuple(x / s if s else 0.0 for x, s in zip(begin, scales, strict=True)),
            seed=self.seed,
            protocol=ACCEPTED,
            pace=1.0,
            steps=self.steps,
        )
        return descend(self.networks, plan).theta


def _with(theta: Sequence[float], term: int, value: float) -> tuple[float, ...]:
    return tuple(value if n == term else x for n, x in enumerate(theta))


def seeds_for(seed: int, tasks: int) -> tuple[int, ...]:
    """Of the lifetimes on which starts and units are compared."""
    return lifetime_seeds(seed, "ablate/common", 0, tasks)
