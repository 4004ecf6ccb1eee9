"""Meta-learning runs as plain data, and their courses, computed once and kept.

An `Experiment` says all that its numbers depend on; its trials go in lock-step, so that the
lifetimes of a meta-step are one batch. What was computed stays under `Setting.runs`, one file for
each experiment, named by a digest of what it depends on: figures that show the same experiment
share it. A run that is interrupted goes on from its last checkpoint, to the same bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from benchmarks.paper.targets import Setting
from rulesearch.choices import Law
from rulesearch.data import Data, TaskShape, load_data
from rulesearch.data.tasks import Sampling
from rulesearch.errors import RuleSearchError
from rulesearch.meta import (
    FITTED,
    FitPlan,
    MetaState,
    StepRecord,
    fit_together,
    lifetime_seeds,
    units,
)
from rulesearch.notation import Pool
from rulesearch.population import Memory, Population
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.updates import norms

Values = NDArray[np.float64]

#: Meta-steps between checkpoints.
CHECKPOINT_EVERY = 20
#: Tasks on which the units of the terms are measured, as in a search.
NORM_TASKS = 32
#: Part of every digest: to be raised when the same experiment would give other numbers.
EDITION = 1


@dataclass(frozen=True)
class Experiment:
    """One meta-learning experiment: what its numbers depend on, besides the images.

    Attributes:
        name: for progress and captions; the only part that changes no number.
        terms: name and text of each term.
        start: coefficients that do not begin at zero; none named: the reference at 1e-3.
        where: layers 1 … L in which a term acts, for the terms that do not act in all.
        pathway: how errors travel backward.
        dataset: see `load_data`.
        hidden: sizes of the hidden layers.
        protocol: `paper`, one lifetime a meta-step and raw coefficients, or `robust`.
        l1: strength of the penalty on the sizes of the coefficients learned.
        l2: strength of one on their squares.
        meta_steps: of each trial.
        trials: independent ones, whose lifetimes share a batch.
        ways: classes of a task.
        shots: training images of each class.
        queries: query images of each class.
        feedback_init: law of the entries of the feedback matrices.
        sampling: how tasks are drawn, see `draw_task`.
        weight_gain: the initial weights are this times Xavier's.
        observe: observables, on the query set after the last step of each lifetime.
        seed: of the trials. The same seed, trial and meta-step have the same tasks, weights and
            feedback in every experiment of the same protocol.
    """

    name: str
    terms: tuple[tuple[str, str], ...]
    start: tuple[tuple[str, float], ...] = ()
    where: tuple[tuple[str, tuple[int, ...]], ...] = ()
    pathway: str = "random"
    dataset: str = "emnist"
    hidden: tuple[int, ...] = (170, 130, 100, 70)
    protocol: Literal["paper", "robust"] = "paper"
    l1: float = 0.0
    l2: float = 0.0
    meta_steps: int = 600
    trials: int = 20
    ways: int = 5
    shots: int = 50
    queries: int = 10
    feedback_init: Law = "uniform"
    sampling: Sampling = "afresh"
    weight_gain: float = 1.0
    observe: tuple[str, ...] = ("angle",)
    seed: int = 0

    @property
    def shape(self) -> TaskShape:
        """Of a task."""
        return TaskShape(self.ways, self.shots, self.queries)

    @property
    def pool(self) -> Pool:
        """The terms, with where they act and begin."""
        terms: dict[str, Any] = dict(self.terms)
        return Pool(start=dict(self.start), where=dict(self.where), **terms)

    @property
    def lifetimes(self) -> int:
        """Of each trial in a meta-step."""
        return FITTED[self.protocol].meta_batch


@dataclass(frozen=True, eq=False)
class Records:
    """The courses of an experiment's trials.

    After a trial was given up (see `rulesearch.meta.fit`), its values are NaN, and all the
    lifetimes that it would have had count as diverged.

    Attributes:
        loss: mean query loss of the lifetimes with a finite one, [trials, meta-steps]; NaN where
            there is none.
        accuracy: mean query accuracy of the same lifetimes, likewise.
        theta: raw coefficients before the update, [trials, meta-steps, terms].
        diverged: lifetimes worse than no training, or not finite, [trials, meta-steps].
        observed: name -> mean over the lifetimes with a finite loss, [trials, meta-steps, layers].
        seconds: that it took when it was computed.
        lifetimes: of each trial in a meta-step.
    """

    loss: Values
    accuracy: Values
    theta: Values
    diverged: NDArray[np.int64]
    observed: dict[str, Values] = field(default_factory=dict)
    seconds: float = 0.0
    lifetimes: int = 1

    @property
    def share_diverged(self) -> float:
        """Of all lifetimes, 0 to 1."""
        return float(self.diverged.mean() / self.lifetimes)


def sized(experiment: Experiment, setting: Setting) -> Experiment:
    """The experiment as large as the setting asks for: an experiment with 20 trials has its.

    One with fewer trials has no more of them than the setting.
    """
    trials = setting.trials
    if experiment.trials != 20:
        trials = min(experiment.trials, setting.trials)
    steps = setting.steps(experiment.meta_steps)
    return replace(experiment, trials=trials, meta_steps=steps, seed=setting.seed)


def records(experiment: Experiment, setting: Setting) -> Records:
    """The courses of an experiment, read back where they were computed before.

    The experiment is taken as it stands: of `setting` only its folders and its console matter
    here (see `sized`).

    Raises:
        RuleSearchError: the data are not there, a term is refused, or files cannot be written.
        KeyboardInterrupt: after how far it came has been written.
    """
    data = data_of(experiment, setting.data_root)
    stem = setting.runs / digest(experiment, data)
    done, partial = stem.with_suffix(".npz"), stem.with_suffix(".partial.npz")
    if done.exists():
        return _read(done)[0]
    found, states = _read(partial) if partial.exists() else (None, None)
    found = _computed(experiment, data, found, states, partial, setting.console)
    _write(done, found)
    partial.unlink(missing_ok=True)
    return found


def data_of(experiment: Experiment, root: Path | None) -> Data:
    """The images, read once in a process."""
    return _data(experiment.dataset, root, experiment.shape)


@lru_cache(maxsize=4)
def _data(dataset: str, root: Path | None, shape: TaskShape) -> Data:
    return load_data(dataset, root, shape=shape)


def digest(experiment: Experiment, data: Data) -> str:
    """A name for the numbers: of all that they depend on, 20 hexadecimal digits."""
    parts = {**asdict(experiment), "edition": EDITION}
    del parts["name"]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256((text + _fingerprint(data)).encode()).hexdigest()[:20]


@lru_cache(maxsize=4)
def _fingerprint(data: Data) -> str:
    found = hashlib.sha256(np.ascontiguousarray(data.search.x).data)
    found.update(np.ascontiguousarray(data.search.labels).data)
    return found.hexdigest()


# --- populations and plans -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ScaledPopulation(Population):
    """A population whose initial weights are a multiple of Xavier's.

    Attributes:
        weight_gain: the multiple.
    """

    weight_gain: float = 1.0

    def networks(
        self, seeds: Sequence[int], *memory: Memory
    ) -> tuple[list[Tensor], list[Tensor] | str]:
        """Initial weights and feedback of the lifetimes; only the weights are scaled."""
        weights, feedback = super().networks(seeds, *memory)
        if self.weight_gain != 1:
            for weight in weights:
                weight *= self.weight_gain
        return weights, feedback


def population_of(experiment: Experiment, data: Data) -> ScaledPopulation:
    """The networks of an experiment, which learn tasks from the images of the search."""
    sizes = (data.inputs, *experiment.hidden, data.classes)
    return ScaledPopulation(
        experiment.pool.in_network(len(sizes) - 1),
        data.search,
        experiment.shape,
        sizes,
        experiment.pathway,
        feedback_init=experiment.feedback_init,
        sampling=experiment.sampling,
        weight_gain=experiment.weight_gain,
    )


def plans(experiment: Experiment, population: Population) -> list[FitPlan]:
    """A plan for each trial; the robust protocol measures the units of the terms first.

    Raises:
        RuleSearchError: a term has no unit on these data.
    """
    protocol, pool = FITTED[experiment.protocol], population.pool
    scales = (1.0,) * len(pool)
    if protocol.in_units:
        measured = norms(population, lifetime_seeds(experiment.seed, "units", 0, NORM_TASKS))
        reference = pool.names.index(pool.reference)
        scales, _ = units(measured, reference, pool.names, protocol.largest_scale)
    start = tuple(
        pool.start.get(name, 0.0) / scale if scale else 0.0
        for name, scale in zip(pool.names, scales, strict=True)
    )
    return [
        FitPlan(
            label=f"trial {number}",
            support=tuple(term for term, scale in enumerate(scales) if scale),
            scales=scales,
            start=start,
            seed=experiment.seed + number,
            protocol=protocol,
            meta_steps=experiment.meta_steps,
            l1=experiment.l1,
            l2=experiment.l2,
            observe=experiment.observe,
        )
        for number in range(experiment.trials)
    ]


# --- computing -----------------------------------------------------------------------------------


def _computed(
    experiment: Experiment,
    data: Data,
    begun: Records | None,
    states: Sequence[MetaState | None] | None,
    partial: Path,
    console: Console,
) -> Records:
    """All meta-steps; `begun` and `states` say how far an interrupted run came."""
    population = population_of(experiment, data)
    wanted = plans(experiment, population)
    found = begun or _empty(experiment, len(wanted[0].scales), len(population.sizes) - 1)
    # As of the last meta-step that all trials have done, and as of the latest records. Going on
    # from the former, every batch has the company that it had: torch rounds a batch by its size.
    together: list[MetaState | None] = list(states or [None] * len(wanted))
    latest, last_row = list(together), -1
    rows = {plan.label: row for row, plan in enumerate(wanted)}
    start = time.perf_counter()

    def keep() -> None:
        seconds = found.seconds + time.perf_counter() - start
        _write(partial, replace(found, seconds=seconds), together)

    def on_step(record: StepRecord, state: MetaState) -> None:
        nonlocal last_row
        row = rows[record.label]
        if row <= last_row:  # trials report in their order, so that this begins a meta-step
            together[:] = latest
            if (record.step - 1) % CHECKPOINT_EVERY == 0:
                keep()
        last_row = row
        _note(found, row, record)
        latest[row] = state
        advance(record)

    with _progress(experiment, together, console) as advance:
        try:
            fits = fit_together(population, wanted, list(together), on_step)
        except KeyboardInterrupt:
            keep()
            raise
    for row, fit in enumerate(fits):
        found.diverged[row, fit.meta_steps :] = experiment.lifetimes
    return replace(found, seconds=found.seconds + time.perf_counter() - start)


def _empty(experiment: Experiment, terms: int, depth: int) -> Records:
    shape = experiment.trials, experiment.meta_steps
    widths = {name: 1 if name in ("loss", "accuracy") else depth for name in experiment.observe}
    return Records(
        loss=np.full(shape, np.nan),
        accuracy=np.full(shape, np.nan),
        theta=np.full((*shape, terms), np.nan),
        diverged=np.zeros(shape, dtype=np.int64),
        observed={name: np.full((*shape, width), np.nan) for name, width in widths.items()},
        lifetimes=experiment.lifetimes,
    )


def _note(found: Records, row: int, record: StepRecord) -> None:
    """Write one meta-step of a trial into the arrays."""
    at = row, record.step - 1
    found.loss[at] = record.loss
    found.accuracy[at] = record.accuracy
    found.theta[at] = list(record.theta.values())
    found.diverged[at] = record.diverged
    for name, values in record.observed.items():
        found.observed[name][at] = values


@contextmanager
def _progress(
    experiment: Experiment, reached: Sequence[MetaState | None], console: Console
) -> Iterator[Callable[[StepRecord], None]]:
    """One line on the terminal: name, meta-step, loss of the trial that reported last."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        TextColumn("{task.completed:.0f}/{task.total:.0f} meta-steps"),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
    )
    begun = min((state.step if state else 0 for state in reached), default=0)
    with Progress(*columns, console=console) as shown:
        line = shown.add_task(
            experiment.name, total=experiment.meta_steps, completed=begun, loss=""
        )

        def advance(record: StepRecord) -> None:
            shown.update(line, completed=record.step, loss=f"loss {record.loss:.2f}")

        yield advance


# --- files ---------------------------------------------------------------------------------------

_ARRAYS = ("loss", "accuracy", "theta", "diverged", "seconds", "lifetimes")
_OBSERVED = "observed."


def _write(path: Path, found: Records, states: Iterable[MetaState | None] | None = None) -> None:
    """Write courses, and the states of the trials where they are under way, at once or not."""
    arrays: dict[str, Any] = {name: getattr(found, name) for name in _ARRAYS}
    arrays |= {_OBSERVED + name: values for name, values in found.observed.items()}
    if states is not None:
        arrays["states"] = np.array([json.dumps(to_plain(s)) if s else "" for s in states])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # an interrupt too leaves no litter
        with suppress(OSError):
            temporary.unlink()
        raise


def _read(path: Path) -> tuple[Records, list[MetaState | None]]:
    """Courses, and the states of the trials, none where all of them are done.

    Raises:
        RuleSearchError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        states = [
            from_plain(MetaState, json.loads(text)) if text else None
            for text in arrays.get("states", ())
        ]
        found = Records(
            loss=arrays["loss"],
            accuracy=arrays["accuracy"],
            theta=arrays["theta"],
            diverged=arrays["diverged"],
            observed={
                name.removeprefix(_OBSERVED): values
                for name, values in arrays.items()
                if name.startswith(_OBSERVED)
            },
            seconds=float(arrays["seconds"]),
            lifetimes=int(arrays["lifetimes"]),
        )
    except (ValueError, KeyError, EOFError, BadZipFile, RuleSearchError) as fault:
        raise RuleSearchError(
            f"{path}: damaged ({fault}); delete it, and it is run again"
        ) from None
    return found, states
