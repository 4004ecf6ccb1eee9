"""What a selection is given: the pool's numbers, how much to run, and how to run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rulesearch.meta import Accepted, Fit, FitPlan, MetaProtocol, lifetime_seeds
from rulesearch.selection.effort import Effort
from rulesearch.statistics import Scores

FitFunction = Callable[[Sequence[FitPlan]], list[Fit]]
"""Runs plans side by side; see `rulesearch.meta.fit_together`."""


Measure = Callable[[Mapping[str, tuple[float, ...]], tuple[int, ...]], list[Scores]]
"""Forward-only lifetimes of rules, side by side: raw coefficients [terms] by label, and the seeds
of each -> the outcomes of each; see `rulesearch.statistics.measure_each`."""

Overlaps = Callable[[str, tuple[float, ...]], Sequence[Sequence[float]]]
"""How alike the terms' updates are along lifetimes of a rule: label, raw coefficients [terms] ->
[terms, terms]; see `rulesearch.updates.overlaps`."""


@dataclass(frozen=True)
class Setting:
    """What stays the same through one selection.

    Attributes:
        names: terms of the pool.
        scales: `theta = scales * phi`, [terms]; 0 for a term that is left out.
        start: first phi of a search, [terms].
        reference: index of the term with the largest start.
        protocol: of every fit.
        seed: of the whole search.
        effort: how much is run.
        keys: what the terms are, whatever they are called; the lifetimes of a refit hang on them.
            Empty: the names.
        worlds: in which lifetimes take turns.
    """

    names: tuple[str, ...]
    scales: tuple[float, ...]
    start: tuple[float, ...]
    reference: int
    protocol: MetaProtocol | Accepted
    seed: int
    effort: Effort = Effort()
    keys: tuple[str, ...] = ()
    worlds: int = 1

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.scales) == len(self.start):
            raise ValueError("names, scales and start are [terms] each")
        if self.scales[self.reference] <= 0:
            raise ValueError("the reference has no scale")

    def plan(self, label: str, support: Sequence[int], phi: Sequence[float], steps: int) -> FitPlan:
        """A fit of a support without penalty, from phi."""
        assert isinstance(self.protocol, MetaProtocol), "accepted steps are no fit"
        return FitPlan(
            label=label,
            support=tuple(support),
            scales=self.scales,
            start=tuple(phi),
            seed=self.seed,
            protocol=self.protocol,
            meta_steps=steps,
            worlds=self.worlds,
        )

    def key(self, term: int) -> str:
        """What a term is, whatever it is called."""
        return self.keys[term] if self.keys else self.names[term]

    def tell(self, support: Sequence[int]) -> tuple[str, ...]:
        """Names of the terms of a support."""
        return tuple(self.names[term] for term in support)


def common_seeds(setting: Setting) -> tuple[int, ...]:
    """The lifetimes on which all supports are compared, [common_tasks]."""
    tasks = setting.effort.common_tasks
    return lifetime_seeds(setting.seed, "common tasks", 0, tasks, setting.worlds)


def trial_plan(
    setting: Setting, number: int, *, meta_steps: int, l1: float, l2: float = 0.0
) -> FitPlan:
    """Trial `number` (from 0) of the search: every term, from the start, a seed of its own."""
    usable = tuple(term for term, scale in enumerate(setting.scales) if scale > 0)
    plan = setting.plan(f"trial {number}", usable, setting.start, meta_steps)
    return replace(plan, seed=setting.seed + number, l1=l1, l2=l2)


def one_term(setting: Setting, term: int, rate: float) -> tuple[float, ...]:
    """The coefficients of a rule of one term, [terms]."""
    return tuple(rate if other == term else 0.0 for other in range(len(setting.names)))


def learned(setting: Setting, theta: Sequence[float]) -> tuple[float, ...]:
    """Raw coefficients in the units of the fits, [terms]."""
    return tuple(x / s if s > 0 else 0.0 for s, x in zip(setting.scales, theta, strict=True))
