"""Runs of students, each kept in a file of its own, so that what is done is not done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.planted import peers, recorded
from benchmarks.planted.lessons import Student
from benchmarks.planted.nulls import KINDS, Null, null
from benchmarks.planted.ours import Found, Known, known_of, loss, search
from benchmarks.planted.scorer import rule_of, score
from benchmarks.planted.teachers import Teacher, read_pools, scales_of
from benchmarks.planted.world import population
from rulesearch.errors import RuleSearchError
from rulesearch.meta import lifetime_seeds
from rulesearch.notation import pool_to_plain
from rulesearch.records.documents import digest_of
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.statistics import compare, measure

#: Lifetimes at new initialisations on which the loss is matched.
FRESH = 128
Kind = TypeVar("Kind", bound="Run | Null")
Method = Callable[[Student, Known, int], Found]
OURS = "accepted steps"
#: Students who see answers alone, by what they do: a student, what is known, lifetimes to spend.
METHODS: Mapping[str, Method] = {
    OURS: lambda student, known, budget: search(student, known),
    **peers.PEERS,
}


@dataclass(frozen=True)
class Run:
    """One student's answer, scored.

    Attributes:
        seen: what the student sees: answers, or weights.
        known: whether it knows the teacher's initial weights and feedback.
        method: what it does.
        teacher: by name.
        seed: of the student.
        noise: of weights, as a share of the rms of their change in a step; 0 of answers.
        theta: raw coefficients that it found, by name.
        exact, precision, recall, f1, error: see `Score`.
        loss: at new initialisations, as a share of what an untrained network's is.
        cost: lifetimes, in forward ones; of weights, those recorded.
        seconds: that it took.
    """

    seen: str
    known: bool
    method: str
    teacher: str
    seed: int
    noise: float
    theta: dict[str, float]
    exact: bool
    precision: float
    recall: float
    f1: float
    error: float
    loss: float
    cost: int
    seconds: float


def kept(path: Path, kind: type[Kind], make: Callable[[], Kind], of: object = None) -> Kind:
    """What a file holds, or is made to hold.

    Args:
        path: of the file.
        kind: of record.
        make: makes it.
        of: what it hangs on, as plain data.

    Raises:
        RuleSearchError: the file's hangs on something else.
    """
    asked = digest_of(of)
    if path.exists():
        known = json.loads(path.read_text())
        if known.pop("of", None) != asked:
            raise RuleSearchError(
                f"{path}: of another teacher, pool or budget; delete it, or give another --out"
            )
        return from_plain(kind, known)
    value = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"of": asked, **to_plain(value)}, indent=1) + "\n")
    return value


def _of(teacher: Teacher, budget: int = 0) -> object:
    """What an answer hangs on beside the student."""
    pool = read_pools()[teacher.pool]
    return {"pool": pool_to_plain(pool), "theta": [*teacher.raw(pool)], "budget": budget}


def scored(
    student: Student, scales: Sequence[float], teacher: Teacher, found: Found, of: Run
) -> Run:
    """A run with its scores."""
    pool = student.population.pool
    units = {t.expression: s for t, s in zip(pool.terms, scales, strict=True)}
    result = score(rule_of(pool, found.theta), rule_of(pool, teacher.raw(pool)), units)
    # At new initialisations, with what the teacher begins with.
    exam = Student(student.population, student.truth)
    fresh = lifetime_seeds(of.seed, "new initialisations", 0, FRESH)
    ends, begins = loss(exam, found.theta, fresh), loss(exam, [0.0] * len(pool), fresh)
    return replace(
        of,
        theta={name: x for name, x in zip(pool.names, found.theta, strict=True) if x},
        exact=result.exact,
        precision=result.precision,
        recall=result.recall,
        f1=result.f1,
        error=result.error,
        loss=ends / begins if np.isfinite(ends) else float("inf"),
        cost=found.cost,
    )


def blank(seen: str, known: bool, method: str, teacher: str, seed: int, noise: float = 0.0) -> Run:
    """A run before it is done."""
    nothing = (False, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0)
    return Run(seen, known, method, teacher, seed, noise, {}, *nothing)


def from_answers(
    out: Path,
    known: bool,
    methods: Sequence[str],
    teachers: Sequence[Teacher],
    seeds: Sequence[int],
) -> Iterator[Run]:
    """Runs of students who see answers alone; ours first, whose cost is every other's budget."""
    for seed in seeds:
        for teacher in teachers:
            budget = 0
            for name in dict.fromkeys([OURS, *methods]):
                of = blank("answers", known, name, teacher.name, seed)
                make = partial(_by_answers, of, teacher, budget)
                run = kept(out / file_of(of), Run, make, _of(teacher, budget))
                budget = budget or run.cost
                yield run


def _by_answers(of: Run, teacher: Teacher, budget: int) -> Run:
    begun = time.perf_counter()
    pool = read_pools()[teacher.pool]
    student = Student(population(pool), teacher.raw(pool), known=of.known)
    known = known_of(student, of.seed)
    found = METHODS[of.method](student, known, budget)
    done = scored(student, known.setting.scales, teacher, found, of)
    return replace(done, seconds=time.perf_counter() - begun)


def beats_truth(run: Run, teacher: Teacher) -> bool:
    """Whether, as far as the student can see, its rule is better than the true one.

    That is its own mean loss on fresh lifetimes, by the 95 % interval of the paired difference.
    """
    pool = read_pools()[teacher.pool]
    student = Student(population(pool), teacher.raw(pool), known=run.known)
    fresh = lifetime_seeds(run.seed, "which is better", 0, FRESH)
    found = tuple(run.theta.get(name, 0.0) for name in pool.names)
    one, other = (measure(student, rule, fresh, None) for rule in (found, student.truth))
    return compare(one, other).interval[1] < 0


def from_weights(
    out: Path, known: bool, teachers: Sequence[Teacher], seeds: Sequence[int]
) -> Iterator[Run]:
    """Runs of students who see weights along the way, with noise."""
    for seed in seeds:
        for teacher in teachers:
            for noise in recorded.NOISES:
                for name in recorded.METHODS:
                    of = blank("weights", known, name, teacher.name, seed, noise)
                    make = partial(_by_weights, of, teacher)
                    yield kept(out / file_of(of), Run, make, _of(teacher))


def _by_weights(of: Run, teacher: Teacher) -> Run:
    begun = time.perf_counter()
    pool = read_pools()[teacher.pool]
    student = Student(population(pool), teacher.raw(pool))
    seen = partial(_record, teacher.pool, student.truth, of.seed, of.noise, of.known)
    theta = recorded.answer(of.method, seen)
    found = Found(tuple(theta.tolist()), recorded.LIFETIMES)
    done = scored(student, scales_of(teacher.pool), teacher, found, of)
    return replace(done, seconds=time.perf_counter() - begun)


@lru_cache(maxsize=2)
def _record(
    pool: str, truth: tuple[float, ...], seed: int, noise: float, known: bool, lag: int
) -> recorded.Recording:
    """What several methods see."""
    seeds = lifetime_seeds(seed, "recorded", 0, recorded.LIFETIMES)
    world = population(read_pools()[pool])
    return recorded.record(world, truth, seeds, noise=noise, known=known, lag=lag)


def from_nulls(out: Path, seeds: Sequence[int]) -> Iterator[Null]:
    """Searches where there is nothing to find."""
    for seed in seeds:
        for kind in KINDS:
            for name, pool in read_pools().items():
                path = out / "nulls" / kind.replace(" ", "-") / f"{name}-seed{seed}.json"
                make = partial(null, kind, name, pool, seed)
                yield kept(path, Null, make, {"pool": pool_to_plain(pool)})


def file_of(run: Run) -> Path:
    """Where a run is kept."""
    how = "known" if run.known else "unknown"
    noise = f"-noise{run.noise:g}" if run.seen == "weights" else ""
    name = f"{run.teacher}-seed{run.seed}{noise}.json"
    return Path(run.seen) / how / run.method.replace(" ", "-").replace("'", "") / name
