"""The teachers: rules that are known, read from files that others can use as well."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.planted.lessons import Student
from benchmarks.planted.world import STEPS, population
from rulesearch.errors import RuleSearchError
from rulesearch.meta import lifetime_seeds, units
from rulesearch.notation import Pool
from rulesearch.records.plain import from_plain
from rulesearch.statistics import measure
from rulesearch.updates import norms

HERE = Path(__file__).parent
POOLS, TEACHERS = HERE / "pools.toml", HERE / "teachers.toml"
#: A good rate of the pseudo-gradient in this world.
RATE = 0.15
#: Least share that leaving a term out has of all that a teacher learns.
LEAST = 0.05
#: Lifetimes on which that is measured.
LIFETIMES = 64


@dataclass(frozen=True)
class Teacher:
    """A rule that students are to find.

    Attributes:
        name: of the teacher.
        pool: name of the pool that students search.
        theta: raw coefficients of its terms, by name; all others are zero.
        matters: by name of term, how far the answers are from the teacher's once it is left out,
            as a share of how far those of untrained networks are (Kullback-Leibler, nats).
        refitted: likewise, once the others have taken over its work as far as a descent finds.
    """

    name: str
    pool: str
    theta: Mapping[str, float]
    matters: Mapping[str, float]
    refitted: Mapping[str, float]

    def raw(self, pool: Pool) -> tuple[float, ...]:
        """Coefficients in the order of the pool, [terms]."""
        return tuple(self.theta.get(name, 0.0) for name in pool.names)


@dataclass(frozen=True)
class TeacherFile:
    """What a file of teachers holds.

    Attributes:
        seeds: of searches, for each of them.
        teachers: in their order.
    """

    seeds: tuple[int, ...]
    teachers: tuple[Teacher, ...]


def read_pools(path: Path = POOLS) -> dict[str, Pool]:
    """Pools by name.

    Raises:
        RuleSearchError: terms that a pool refuses.
    """
    return {name: Pool(**terms) for name, terms in tomllib.loads(path.read_text()).items()}


def read_teachers(path: Path = TEACHERS, pools: Mapping[str, Pool] | None = None) -> TeacherFile:
    """The teachers of a file, found to fit their pools.

    Raises:
        RuleSearchError: what is not a file of teachers, a line for each fault.

    Example:
        >>> {len(teacher.theta) for teacher in read_teachers().teachers} == {2, 3, 4, 5}
        True
    """
    found = from_plain(TeacherFile, tomllib.loads(path.read_text()))
    pools = read_pools() if pools is None else pools
    faults = []
    for teacher in found.teachers:
        names = pools[teacher.pool].names if teacher.pool in pools else ()
        if not names:
            faults.append(f"teacher {teacher.name}: no pool {teacher.pool}; add it, or mend this")
        for name in teacher.theta if names else ():
            if name not in names:
                faults.append(f"teacher {teacher.name}: no term {name} in pool {teacher.pool}")
        if not teacher.theta.keys() == teacher.matters.keys() == teacher.refitted.keys():
            faults.append(f"teacher {teacher.name}: theta, matters and refitted name other terms")
        for name, share in teacher.matters.items():
            if share < LEAST:
                faults.append(
                    f"teacher {teacher.name}: {name} changes {share:.1%} of what is learned; "
                    f"plant terms that change {LEAST:.0%} at least"
                )
    if faults:
        raise RuleSearchError(*faults)
    return found


@lru_cache(maxsize=8)
def scales_of(pool: str) -> tuple[float, ...]:
    """Units of the terms of a pool along lifetimes of its first term at a good rate, [terms]."""
    found = read_pools()[pool]
    theta = (RATE, *(0.0,) * (len(found) - 1))
    seeds = lifetime_seeds(0, "units", 0, 8)
    sizes = norms(population(found), seeds, theta, range(0, STEPS, STEPS // 8))
    return units(sizes, 0, found.names, 1e9, [float(term.factor) for term in found])[0]


def mattering(pool: Pool, teacher: Mapping[str, float]) -> dict[str, float]:
    """What a teacher's file says in `matters`, measured."""
    truth = tuple(teacher.get(name, 0.0) for name in pool.names)
    student = Student(population(pool), truth)
    seeds = lifetime_seeds(0, "does it matter", 0, LIFETIMES)
    found = {}
    for left_out in teacher:
        theta = [0.0 if name == left_out else x for name, x in zip(pool.names, truth, strict=True)]
        found[left_out] = share_of_learned(student, theta, seeds)
    return found


def share_of_learned(student: Student, theta: Sequence[float], seeds: Sequence[int]) -> float:
    """How far a rule's answers are from the teacher's, untrained ones being 1.

    A lifetime that diverges counts as an untrained one.
    """
    lived = measure(student, theta, seeds, None, batch=64)
    return lived.mean_loss / float(np.mean(lived.initial_loss))
