"""Fits and measurements under labels: what an interrupted search has done is read back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch

from rulesearch.executors import Executor
from rulesearch.meta import (
    Descended,
    Descent,
    DescentState,
    Fit,
    FitPlan,
    MetaState,
    StepRecord,
    descend,
    fit_together,
    lifetime_seeds,
)
from rulesearch.mixture import SideBySide, Worlds, untrained_loss, worlds_of
from rulesearch.population import Population
from rulesearch.pursuit.place import Descend, Differentiate
from rulesearch.records.plain import Number
from rulesearch.report import hall_csv, history_row
from rulesearch.result import HallRecord, PoolEntry
from rulesearch.runs import write_hall
from rulesearch.runs.kept import (
    HistoryRow,
    Run,
    append_history,
    read_checkpoint,
    read_stage,
    write_checkpoint,
    write_stage,
)
from rulesearch.selection import FitFunction, Measure, Overlaps
from rulesearch.statistics import Scores, measure_each
from rulesearch.updates import norms, overlaps

#: Points of a lifetime at which the updates of terms are compared.
OVERLAP_POINTS = 8
#: Meta-steps between two checkpoints of a fit under way.
CHECKPOINT_EVERY = 10

Kind = TypeVar("Kind")
Row = tuple[float, ...]
Matrix = tuple[Row, ...]

Sizes = Callable[[str, tuple[float, ...]], tuple[float, ...]]
"""How large each term's update is along lifetimes of a rule: label, raw coefficients [terms]."""

Slopes = tuple[tuple[Number, ...], ...]

OnStep = Callable[[StepRecord], None]
OnHall = Callable[[Sequence[HallRecord]], None]


class TimeIsUpError(Exception):
    """The time limit has passed, at a moment from which the search can go on."""


@dataclass(frozen=True)
class Stages:
    """Runs fits and measurements, each under its label; what is done already is read back.

    Attributes:
        run: where they are kept, or None to keep nothing.
        on_step: told of every meta-step.
        on_stage: told the label of every stage as it begins.
        on_hall: told the hall of fame each time that a rule has been compared.
        deadline: when the search is to stop, on the monotonic clock; None for never.
        executor: what carries lifetimes out, so many at a time; None for this process.
        order: label -> stages that the search came to before it.
        rows: label -> meta-steps so far, of the fits under way.
        counts: label -> lifetimes with gradient and without, of the stages that are done.
    """

    run: Run | None
    on_step: OnStep
    on_stage: Callable[[str], None]
    on_hall: OnHall = lambda hall: None
    deadline: float | None = None
    executor: Executor | None = None
    order: dict[str, int] = field(default_factory=dict)
    rows: dict[str, list[HistoryRow]] = field(default_factory=dict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def limited(self, may_stop: Callable[[], bool]) -> Stages:
        """The same, which raise `TimeIsUpError` at the first stage or step after the deadline.

        All that was made until then is kept. One stage or step is made in any case, so that a
        search that goes on again and again comes to its end.

        Args:
            may_stop: whether there is anything to stop with.
        """
        if (deadline := self.deadline) is None:
            return self
        told = 0

        def look() -> None:
            nonlocal told
            told += 1
            if told > 1 and may_stop() and time.monotonic() > deadline:
                raise TimeIsUpError

        def on_step(record: StepRecord) -> None:
            self.on_step(record)
            look()

        def on_stage(label: str) -> None:
            look()
            self.on_stage(label)

        return replace(self, on_step=on_step, on_stage=on_stage)

    def side_by_side(self, population: Worlds) -> Worlds | SideBySide:
        """The population, carried out by the executor if there is one."""
        return SideBySide(population, self.executor) if self.executor else population

    def fitter(self, population: Worlds) -> FitFunction:
        """`fit_together` on a population, kept."""

        def run_fits(plans: Sequence[FitPlan]) -> list[Fit]:
            done = {plan.label: self._done(plan.label, Fit) for plan in plans}
            left = [plan for plan in plans if done[plan.label] is None]
            if left:
                self.on_stage(_together([plan.label for plan in left]))
                states = [self._reached(plan.label, MetaState) for plan in left]
                live = self.side_by_side(population)
                for fit in fit_together(live, left, states, self._stepped):
                    self._keep(fit.label, fit)
                    done[fit.label] = fit
            return [fit for fit in done.values() if fit is not None]

        return run_fits

    def descender(self, population: Worlds) -> Descend:
        """`descend` on a population, kept."""

        def run_descent(plan: Descent) -> Descended:
            done = self._done(plan.label, Descended)
            if done is None:
                self.on_stage(plan.label)
                reached = self._reached(plan.label, DescentState)
                live = self.side_by_side(population)
                done = descend(live, plan, reached, self._descended)
                self._keep(plan.label, done)
            return done

        return run_descent

    def measurer(self, population: Worlds) -> Measure:
        """`measure_each` on a population, kept."""
        covered = worlds_of(population)[0].compile_for
        live = self.side_by_side(population)

        def run_measure(
            rules: Mapping[str, tuple[float, ...]], seeds: tuple[int, ...]
        ) -> list[Scores]:
            done = {label: self._done(label, Scores) for label in rules}
            left = {label: rules[label] for label in rules if done[label] is None}
            for alike in _by_kernel(left, covered):
                self.on_stage(_together(alike))
                thetas = [left[label] for label in alike]
                found = measure_each(live, thetas, seeds, population.outputs, batch=live.at_once)
                for label, outcomes in zip(alike, found, strict=True):
                    self._keep(label, outcomes)
                    done[label] = outcomes
            return [each for each in done.values() if each is not None]

        return run_measure

    def overlapper(self, population: Worlds, seeds: tuple[int, ...]) -> Overlaps:
        """`overlaps` along lifetimes of a population, kept."""
        steps = population.shape.ways * population.shape.shots
        points = range(0, steps, -(-steps // OVERLAP_POINTS))

        def run_overlaps(label: str, theta: tuple[float, ...]) -> Sequence[Sequence[float]]:
            done: Sequence[Sequence[float]] | None = self._done(label, Matrix)
            if done is None:
                self.on_stage(label)
                done = overlaps(population, theta, seeds, points)
                self._keep(label, done)
            return done

        return run_overlaps

    def differentiator(self, population: Worlds, seed: int, tasks: int) -> Differentiate:
        """Derivatives by all terms of a population's pool, kept; None where one is not finite."""
        terms, live = range(len(population.names)), self.side_by_side(population)

        def run_derivatives(label: str, theta: tuple[float, ...]) -> Slopes:
            done = self._done(label, Slopes)
            if done is None:
                self.on_stage(label)
                rule = torch.tensor(theta, dtype=torch.float64)
                seeds = lifetime_seeds(seed, label, 0, tasks, len(worlds_of(population)))
                rows: list[tuple[Number, ...]] = []
                for first in range(0, tasks, live.at_once):
                    lived = live(rule, seeds[first : first + live.at_once], gradient=terms)
                    assert lived.gradient is not None
                    slopes = lived.gradient.to(torch.float64).tolist()
                    rows += [tuple(map(_or_none, row)) for row in slopes]
                done = tuple(rows)
                self._keep(label, done)
            self.counts[label] = (tasks, 0)
            return done

        return run_derivatives

    def sizer(self, population: Worlds, seeds: tuple[int, ...], points: range) -> Sizes:
        """`norms` along lifetimes of a population, kept."""

        def run_norms(label: str, theta: tuple[float, ...]) -> tuple[float, ...]:
            done = self._done(label, Row)
            if done is None:
                self.on_stage(label)
                done = norms(population, seeds, theta, points)
                self._keep(label, done)
            return done

        return run_norms

    def keep_hall(self, pool: Sequence[PoolEntry], hall: Sequence[HallRecord]) -> None:
        """Write the hall of fame as far as it is known, and tell of it, for those who watch."""
        self.on_hall(hall)
        if self.run:
            write_hall(self.run.path, hall_csv(pool, hall))

    def untrained(self, label: str, world: Population, seeds: tuple[int, ...]) -> float:
        """`untrained_loss` of a world, kept."""
        done = self._done(label, float)
        if done is None:
            self.on_stage(label)
            done = untrained_loss(world, seeds)
            self._keep(label, done)
        return done

    def lifetimes(self) -> dict[str, int]:
        """How many were run by all stages: `gradient`, with derivatives, and `forward`."""
        gradient, forward = (sum(each) for each in zip((0, 0), *self.counts.values(), strict=True))
        return {"gradient": gradient, "forward": forward}

    def _done(self, label: str, kind: type[Kind]) -> Kind | None:
        self.order.setdefault(label, len(self.order))
        done = read_stage(self.run, label, kind) if self.run else None
        if done is not None:
            self.counts[label] = _lifetimes(done)
        return done

    def _keep(self, label: str, value: object) -> None:
        self.counts[label] = _lifetimes(value)
        if self.run:
            write_stage(self.run, label, value, self.rows.pop(label, ()), self.order[label])

    def _reached(self, label: str, kind: type[Kind]) -> Kind | None:
        held = read_checkpoint(self.run, label, kind) if self.run else None
        if held is None:
            return None
        state, rows = held
        self.rows[label] = list(rows)
        return state

    def _stepped(self, record: StepRecord, reached: MetaState) -> None:
        self._noted(record, reached, record.step % CHECKPOINT_EVERY == 0)

    def _descended(self, record: StepRecord, reached: DescentState) -> None:
        self._noted(record, reached, True)  # a step costs far more than its checkpoint

    def _noted(self, record: StepRecord, reached: object, keep: bool) -> None:
        if self.run:
            row = HistoryRow(**history_row(record))
            append_history(self.run, row)
            rows = self.rows.setdefault(record.label, [])
            rows.append(row)
            if keep:
                order = self.order[record.label]
                write_checkpoint(self.run, record.label, reached, rows, order)
        self.on_step(record)


def _lifetimes(value: object) -> tuple[int, int]:
    """With gradient and without, of what a stage gave."""
    match value:
        case Descended():
            return value.lifetimes, value.forward
        case Fit():
            return value.lifetimes, 0
        case Scores():
            return 0, len(value.seeds)
        case _:
            return 0, 0


def _or_none(value: float) -> Number:
    return value if math.isfinite(value) else None


def _by_kernel(
    rules: Mapping[str, tuple[float, ...]], covered: Sequence[int]
) -> Iterator[list[str]]:
    """Labels of rules that the same terms are at work in: others in a call change no bit of them.

    Args:
        rules: raw coefficients by label.
        covered: terms that are at work in any case.
    """
    found: dict[frozenset[int], list[str]] = {}
    for label, theta in rules.items():
        working = frozenset(i for i, x in enumerate(theta) if x) - frozenset(covered)
        found.setdefault(working, []).append(label)
    yield from found.values()


def _together(labels: Sequence[str]) -> str:
    """Labels of what runs side by side, in short."""
    return " and ".join(labels) if len(labels) < 3 else f"{labels[0]} to {labels[-1]}"
