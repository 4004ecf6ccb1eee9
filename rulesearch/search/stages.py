"""Fits and measurements under labels: what an interrupted search has done is read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rulesearch.meta import Fit, FitPlan, MetaState, StepRecord, fit_together, from_json
from rulesearch.population import Population
from rulesearch.report import history_row
from rulesearch.runs import (
    append_history,
    read_checkpoint,
    read_stage,
    write_checkpoint,
    write_stage,
)
from rulesearch.selection import FitFunction, Measure, Overlaps
from rulesearch.statistics import Outcomes, measure
from rulesearch.updates import overlaps

#: Points of a lifetime at which the updates of terms are compared.
OVERLAP_POINTS = 8
#: Meta-steps between two checkpoints of a fit under way.
CHECKPOINT_EVERY = 10

OnStep = Callable[[StepRecord], None]


@dataclass(frozen=True)
class Stages:
    """Runs fits and measurements, each under its label; what is done already is read back.

    Attributes:
        run: the run directory, or None to keep nothing.
        on_step: told of every meta-step.
        on_stage: told the label of every stage as it begins.
    """

    run: Path | None
    on_step: OnStep
    on_stage: Callable[[str], None]

    def fitter(self, population: Population) -> FitFunction:
        """`fit_together` on a population, kept."""

        def run_fits(plans: Sequence[FitPlan]) -> list[Fit]:
            done = {plan.label: self._done(plan) for plan in plans}
            left = [plan for plan in plans if done[plan.label] is None]
            if left:
                self.on_stage(_together([plan.label for plan in left]))
                states = [self._reached(plan) for plan in left]
                for fit in fit_together(population, left, states, self._stepped):
                    if self.run:
                        write_stage(self.run, fit.label, asdict(fit))
                    done[fit.label] = fit
            return [fit for fit in done.values() if fit is not None]

        return run_fits

    def _done(self, plan: FitPlan) -> Fit | None:
        done = read_stage(self.run, plan.label) if self.run else None
        return None if done is None else from_json(Fit, json.dumps(done))

    def _reached(self, plan: FitPlan) -> MetaState | None:
        held = read_checkpoint(self.run, plan.label) if self.run else None
        return None if held is None else from_json(MetaState, json.dumps(held))

    def _stepped(self, record: StepRecord, reached: MetaState) -> None:
        if self.run:
            append_history(self.run, history_row(record))
            if record.step % CHECKPOINT_EVERY == 0:
                write_checkpoint(self.run, record.label, asdict(reached))
        self.on_step(record)

    def measurer(self, population: Population) -> Measure:
        """`measure` on a population, kept."""

        def run_measure(label: str, theta: tuple[float, ...], seeds: tuple[int, ...]) -> Outcomes:
            done = read_stage(self.run, label) if self.run else None
            if done is not None:
                return from_json(Outcomes, json.dumps(done))
            self.on_stage(label)
            outcomes = measure(population, theta, seeds, population.outputs)
            if self.run:
                write_stage(self.run, label, asdict(outcomes))
            return outcomes

        return run_measure

    def overlapper(self, population: Population, seeds: tuple[int, ...]) -> Overlaps:
        """`overlaps` along lifetimes of a population, kept."""
        steps = population.shape.ways * population.shape.shots
        points = range(0, steps, -(-steps // OVERLAP_POINTS))

        def run_overlaps(label: str, theta: tuple[float, ...]) -> Sequence[Sequence[float]]:
            done = read_stage(self.run, label) if self.run else None
            if done is None:
                self.on_stage(label)
                done = overlaps(population, theta, seeds, points)
                if self.run:
                    write_stage(self.run, label, done)
            return done

        return run_overlaps


def _together(labels: Sequence[str]) -> str:
    """Labels of fits that run side by side, in short."""
    return " and ".join(labels) if len(labels) < 3 else f"{labels[0]} to {labels[-1]}"
