"""The project's own search, as a student of what it sees of a teacher: accepted steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks.planted.lessons import Student
from benchmarks.planted.world import STEPS
from rulesearch.meta import ACCEPTED, descend, lifetime_seeds, units
from rulesearch.pursuit import Aims, Means, Opening, Place, pursue
from rulesearch.selection import Effort, Measure, Setting, best_rate, common_seeds
from rulesearch.statistics import Scores, measure_each
from rulesearch.updates import norms

#: Where the search for the reference's best coefficient begins, raw.
START = 0.01
#: Share of what is learned that the choice may give away.
PARSIMONY = 0.01
#: Lifetimes with gradient at once.
BATCH = 16
PROTOCOL = replace(ACCEPTED, meta_batch=BATCH)
EFFORT = Effort(common_tasks=48, ranking_tasks=24, refit_steps=4, baseline_tasks=32)
STEPS_AT_MOST = 30
#: Lifetimes along which candidates of small rules are differentiated.
SCREENING_TASKS = 32


@dataclass(frozen=True)
class Found:
    """A student's answer.

    Attributes:
        theta: raw coefficients, [terms]; zero for what is not in the rule.
        cost: lifetimes run for it, in forward ones.
        message: what is to be known of it; or "".
    """

    theta: tuple[float, ...]
    cost: int
    message: str = ""


@dataclass(frozen=True)
class Known:
    """What every student is given before it searches.

    Attributes:
        setting: names, units, start and seed.
        reference: raw coefficients of the pool's first term alone, at its best, [terms].
        pace: the size of that in units.
    """

    setting: Setting
    reference: tuple[float, ...]
    pace: float


def known_of(student: Student, seed: int) -> Known:
    """The reference at its best coefficient, of either sign, and units along its lifetimes.

    The first term of the pool, the pseudo-gradient, is what the search of the product begins with
    as well. It need not be a term of the teacher's.
    """
    pool = student.population.pool
    names, factors = pool.names, [float(term.factor) for term in pool]
    start = tuple(START if not term else 0.0 for term in range(len(names)))
    keys = tuple(term.key for term in pool)
    setting = Setting(names, (1.0,) * len(names), start, 0, PROTOCOL, seed, EFFORT, keys)
    measured = measurer(student)
    rates = [
        best_rate(
            replace(setting, start=tuple(sign * x for x in start)), f"reference {sign:g}", measured
        )
        for sign in (1.0, -1.0)
    ]
    best = min(rates, key=lambda rate: rate.loss)
    seeds = lifetime_seeds(seed, "units", 0, 4)
    sizes = norms(student.population, seeds, best.theta, range(0, STEPS, STEPS // 8))
    scales, _ = units(sizes, 0, names, PROTOCOL.largest_scale, factors)
    return Known(replace(setting, scales=scales), best.theta, abs(best.theta[0] / scales[0]))


def measurer(student: Student) -> Measure:
    """`measure_each` on a student."""

    def run(rules: Mapping[str, tuple[float, ...]], seeds: tuple[int, ...]) -> list[Scores]:
        return measure_each(student, [*rules.values()], seeds, None, batch=64)

    return run


def search(student: Student, known: Known, parsimony: float = PARSIMONY) -> Found:
    """The rule that a pursuit finds."""
    setting = known.setting
    terms = tuple(term for term, scale in enumerate(setting.scales) if scale)

    def differentiate(label: str, theta: tuple[float, ...]) -> Sequence[Sequence[float | None]]:
        seeds = lifetime_seeds(setting.seed, label, 0, SCREENING_TASKS)
        rule = torch.tensor(theta, dtype=torch.float64)
        lived = student(rule, seeds, gradient=range(len(setting.names)))
        assert lived.gradient is not None
        slopes: list[list[float]] = lived.gradient.to(torch.float64).tolist()
        return slopes  # what is not finite promises nothing

    means = Means(
        setting=setting,
        protocol=PROTOCOL,
        pace=known.pace,
        gain=0.0,
        descend=lambda plan: descend(student, plan),
        measure=measurer(student),
        differentiate=differentiate,
        covering=lambda means, terms: means,  # one kernel serves every rule of the pool
        tests=lifetime_seeds(setting.seed, "tries", 0, setting.effort.ranking_tasks),
        common=common_seeds(setting),
    )
    phi = tuple(x / s for x, s in zip(known.reference, setting.scales, strict=True))
    begin = Place((setting.reference,), phi)
    opening = Opening(begin, terms)
    aims = Aims(starts=1, steps=STEPS_AT_MOST, l1=0.0, parsimony=parsimony, against_reference=False)
    found = pursue(means, aims, opening)
    return Found(found.coefficients.theta, student.spent.cost, found.message)


def loss(student: Student, theta: Sequence[float], seeds: Sequence[int]) -> float:
    """The mean loss of a rule on some lifetimes."""
    return float(student(torch.tensor(theta, dtype=torch.float64), seeds).loss.mean())
