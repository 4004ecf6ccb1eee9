"""Draw teachers, and check that each of their terms matters.

    python -m benchmarks.planted.planting [--seed N] > benchmarks/planted/teachers.toml

A teacher's terms are drawn from its pool, with coefficients of either sign between 0.2 and 1 times
that of the pseudo-gradient at a good rate, in units of the terms' sizes along its lifetimes. Kept
is what never diverges and whose terms all matter, left out plainly and after the others have taken
over their work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from benchmarks.planted.lessons import Student, weights_along
from benchmarks.planted.ours import PROTOCOL
from benchmarks.planted.teachers import (
    LEAST,
    LIFETIMES,
    RATE,
    mattering,
    read_pools,
    scales_of,
    share_of_learned,
)
from benchmarks.planted.world import STEPS, population
from rulesearch.meta import Descent, descend, lifetime_seeds
from rulesearch.notation import Pool

#: Number of terms of each teacher, by pool.
TERMS: Mapping[str, tuple[int, ...]] = {
    "paper": (2, 3, 4),
    "monomials": (2, 3, 4, 5),
    "hebbian": (2, 3, 4),
}
SEEDS = (0, 1, 2, 3, 4)
#: Least share that a term has after the others have taken over its work,
LEAST_REFITTED = 0.02
#: in so many steps.
REFIT_STEPS = 25
#: What no weight of a teacher's reaches in a thousand lifetimes.
LARGEST = 4.0
#: Least that a teacher learns, nats from the answers of untrained networks.
LEARNS = 0.05


def refitting(
    pool: Pool, teacher: Mapping[str, float], scales: Sequence[float]
) -> dict[str, float]:
    """What is left of `mattering` after steps without the term."""
    truth = tuple(teacher.get(name, 0.0) for name in pool.names)
    student = Student(population(pool), truth)
    seeds = lifetime_seeds(0, "does it matter", 0, LIFETIMES)
    found = {}
    for left_out in teacher:
        support = tuple(
            t for t, name in enumerate(pool.names) if name in teacher and name != left_out
        )
        phi = tuple(x / s for x, s in zip(truth, scales, strict=True))
        plan = Descent(
            f"without {left_out}", support, tuple(scales), phi, 0, replace(PROTOCOL, worth=0.0),
            RATE, REFIT_STEPS,
        )  # fmt: skip
        theta = descend(student, plan).theta
        found[left_out] = share_of_learned(student, theta, seeds)
    return found


def drawn(
    pool: Pool, terms: int, draw: np.random.Generator, scales: Sequence[float]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]] | None:
    """A teacher with so many terms: theta, matters, refitted; None where it is not kept."""
    chosen = draw.choice(len(pool), terms, replace=False)
    theta = {}
    for term in sorted(chosen):
        sign = 1.0 if term == 0 else draw.choice([-1.0, 1.0])
        size = RATE * scales[term] * np.exp(draw.uniform(np.log(0.2), 0.0))
        theta[pool.names[term]] = float(f"{sign * size:.3g}")
    truth = torch.tensor([theta.get(n, 0.0) for n in pool.names], dtype=torch.float64)
    world = population(pool)
    (final,) = weights_along(world, truth, lifetime_seeds(0, "does it diverge", 0, 1000), (STEPS,))
    if not max(float(w.abs().max()) for w in final) < LARGEST:  # nor if it is not a number
        return None
    student = Student(world, tuple(truth.tolist()))
    untrained = student(0 * truth, lifetime_seeds(0, "does it matter", 0, LIFETIMES)).loss.mean()
    if float(untrained) < LEARNS:
        return None
    matters = mattering(pool, theta)
    if min(matters.values()) < LEAST:
        return None
    refitted = refitting(pool, theta, scales)
    return (theta, matters, refitted) if min(refitted.values()) >= LEAST_REFITTED else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a file of teachers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    print(f"# Made by python -m benchmarks.planted.planting --seed {given.seed}.")
    print(f"seeds = {list(SEEDS)}")
    for name, pool in read_pools().items():
        scales = scales_of(name)
        for terms in TERMS[name]:
            rng = np.random.default_rng([given.seed, len(name), terms])
            tries, found = 0, None
            while found is None:
                tries, found = tries + 1, drawn(pool, terms, rng, scales)
            theta, matters, refitted = found
            print(f'\n[[teachers]]\nname = "{name}-{terms}"\npool = "{name}"  # draw {tries}')
            for what, values in (("theta", theta), ("matters", matters), ("refitted", refitted)):
                each = ", ".join(f"{key} = {value:.3g}" for key, value in values.items())
                print(f"{what} = {{ {each} }}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
