"""What others do with the same answers and the same number of lifetimes.

Each is given what ours is: the pool, the best coefficient of its first term, and units. Their
constants are the best of a few tried on the teachers of `tuning.toml`, which are in no table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.planted.lessons import Student
from benchmarks.planted.ours import Found, Known
from rulesearch.meta import PAPER, FitPlan, fit, lifetime_seeds
from rulesearch.statistics import measure

#: Share of the reference's best coefficient below which a coefficient, in units, is taken for zero.
THRESHOLD = 0.05
#: Lessons drawn at once, which saves time where a step takes one.
AHEAD = 64
#: Lifetimes on which CMA-ES ranks the points of a generation.
RANKING = 8
#: How often it thresholds and goes on with the terms that are left.
ROUNDS = 3
#: First size of its steps, in shares of the reference's best coefficient.
CMA_SIZE = 0.3
#: Terms at most of a rule that random search draws.
MOST = 5
#: Penalties, nats for a unit of the coefficients learned.
PAPER_L1, ADAM_L1 = 1e-3, 1e-2
#: Rate of Adam in shares of the reference's best coefficient, and lifetimes of a batch.
ADAM_RATE, ADAM_BATCH = 0.1, 8

Peer = Callable[[Student, Known, int], Found]


def paper(student: Student, known: Known, budget: int) -> Found:
    """Shervani-Tabar & Rosenbaum 2023: one task a step, Adam on raw coefficients from 1e-3."""
    setting = known.setting
    start = tuple(
        PAPER.start if term == setting.reference else 0.0 for term in range(_terms(known))
    )
    plan = FitPlan(
        label="paper",
        support=tuple(range(_terms(known))),
        scales=(1.0,) * _terms(known),
        start=start,
        seed=setting.seed,
        protocol=PAPER,
        meta_steps=max(1, (budget - student.spent.cost) // 3),
        l1=PAPER_L1,
    )
    for first in range(0, plan.meta_steps, AHEAD):
        steps = range(first, min(first + AHEAD, plan.meta_steps))
        student.lesson([lifetime_seeds(plan.seed, plan.label, step, 1)[0] for step in steps])
    found = fit(student, plan)
    kept = [x if term in found.support else 0.0 for term, x in enumerate(found.theta)]
    return Found(tuple(kept), student.spent.cost, found.failed or "")


def adam(student: Student, known: Known, budget: int) -> Found:
    """Mehta et al. 2024: Adam on the mean gradient of a batch, with an L1 penalty.

    In units, from the reference at its best; what ends below the threshold is zero.
    """
    protocol = replace(
        PAPER,
        in_units=True,
        meta_batch=ADAM_BATCH,
        rate=ADAM_RATE * known.pace,
        decay_share=0.5,
        decay_to=0.05,
        zero_below=THRESHOLD * known.pace,
    )
    setting = known.setting
    plan = FitPlan(
        label="adam",
        support=tuple(term for term, scale in enumerate(setting.scales) if scale),
        scales=setting.scales,
        start=_phi(known),
        seed=setting.seed,
        protocol=protocol,
        meta_steps=max(1, (budget - student.spent.cost) // (3 * ADAM_BATCH)),
        l1=ADAM_L1,
    )
    found = fit(student, plan)
    kept = [x if term in found.support else 0.0 for term, x in enumerate(found.theta)]
    return Found(tuple(kept), student.spent.cost, found.failed or "")


def evolution(student: Student, known: Known, budget: int) -> Found:
    """CMA-ES (Hansen 2016) on the mean loss of common lifetimes, thresholded in rounds."""
    import cma  # of the extra `bench`; all else goes without

    phi, terms = np.array(_phi(known)) / known.pace, list(range(_terms(known)))
    begun, size, step = student.spent.cost, CMA_SIZE, 0
    for part in range(1, ROUNDS + 1):
        until = begun + part * (budget - begun) // ROUNDS
        # It is not made for one coefficient alone; a second one that nothing hangs on is no harm.
        spare = [0.0] if len(terms) == 1 else []
        options = {"seed": known.setting.seed + 1, "verbose": -9, "tolx": 0, "tolfun": 0}
        search = cma.CMAEvolutionStrategy([*phi[terms], *spare], size, options)
        while student.spent.cost + RANKING * search.popsize <= until and not search.stop():
            seeds = lifetime_seeds(known.setting.seed, "cma", step, RANKING)
            points = search.ask()
            losses = [_loss(student, known, terms, point[: len(terms)], seeds) for point in points]
            search.tell(points, losses)
            step += 1
        phi = np.zeros(len(phi))
        phi[terms] = search.mean[: len(terms)]
        terms = [term for term in terms if abs(phi[term]) > THRESHOLD]
        phi[[term for term in range(len(phi)) if term not in terms]] = 0.0
        size = max(0.02, 0.3 * size)
        if not terms:
            break
    return Found(_theta(known, phi), student.spent.cost)


def random(student: Student, known: Known, budget: int) -> Found:
    """Random sparse rules, the better half of them run on twice as many lifetimes, and so on."""
    draw = np.random.default_rng([known.setting.seed, 2])
    per_round, lifetimes, count = 6, 4, _terms(known)
    rules = []
    for _ in range(max(2, (budget - student.spent.cost) // (per_round * lifetimes))):
        phi = np.zeros(count)
        chosen = draw.choice(count, draw.integers(1, MOST + 1), replace=False)
        phi[chosen] = draw.choice([-1.0, 1.0], len(chosen)) * draw.uniform(0.1, 1.2, len(chosen))
        rules.append(phi)
    while len(rules) > 1 and student.spent.cost + lifetimes * len(rules) <= budget:
        seeds = lifetime_seeds(known.setting.seed, "random", lifetimes, lifetimes)
        every = list(range(count))
        losses = [_loss(student, known, every, phi, seeds) for phi in rules]
        rules = [rules[i] for i in np.argsort(losses, kind="stable")[: max(1, len(rules) // 2)]]
        lifetimes *= 2
    return Found(_theta(known, rules[0]), student.spent.cost)


PEERS: Mapping[str, Peer] = {
    "paper's protocol": paper,
    "Adam with L1": adam,
    "CMA-ES": evolution,
    "random search": random,
}
"""By name."""


def _terms(known: Known) -> int:
    return len(known.setting.names)


def _phi(known: Known) -> tuple[float, ...]:
    return tuple(
        x / s if s else 0.0 for x, s in zip(known.reference, known.setting.scales, strict=True)
    )


def _theta(known: Known, phi: np.ndarray) -> tuple[float, ...]:
    """Raw coefficients from those in shares of the reference's."""
    return tuple((known.pace * phi * np.array(known.setting.scales)).tolist())


def _loss(
    student: Student, known: Known, terms: Sequence[int], phi: np.ndarray, seeds: Sequence[int]
) -> float:
    every = np.zeros(_terms(known))
    every[list(terms)] = phi
    return measure(student, _theta(known, every), seeds, None, batch=64).mean_loss
