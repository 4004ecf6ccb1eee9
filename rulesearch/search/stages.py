"""Fits and measurements under labels: what an interrupted search has done is read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rulesearch.meta import Fit, FitPlan, MetaState, StepRecord, fit, from_json
from rulesearch.population import Population
from rulesearch.report import history_row
from rulesearch.runs import (
    append_history,
    read_checkpoint,
    read_stage,
    write_checkpoint,
    write_stage,
)
from rulesearch.selection import Measure
from rulesearch.statistics import Outcomes, measure

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

    def fitter(self, population: Population) -> Callable[[FitPlan], Fit]:
        """`fit` on a population, kept."""

        def run_fit(plan: FitPlan) -> Fit:
            done = read_stage(self.run, plan.label) if self.run else None
            if done is not None:
                return from_json(Fit, json.dumps(done))
            self.on_stage(plan.label)
            state = None
            if self.run and (held := read_checkpoint(self.run, plan.label)) is not None:
                state = from_json(MetaState, json.dumps(held))

            def stepped(record: StepRecord, reached: MetaState) -> None:
                if self.run:
                    append_history(self.run, history_row(record))
                    if record.step % CHECKPOINT_EVERY == 0:
                        write_checkpoint(self.run, plan.label, asdict(reached))
                self.on_step(record)

            result = fit(population, plan, state, stepped)
            if self.run:
                write_stage(self.run, plan.label, asdict(result))
            return result

        return run_fit

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
