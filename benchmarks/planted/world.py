"""The small world of all teachers and students: images, networks, lifetimes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import load_digits

from rulesearch.data import ImageSet, TaskShape
from rulesearch.data.tasks import class_starts
from rulesearch.notation import Pool
from rulesearch.population import Population

SIZES = (16, 12, 5)
SHAPE = TaskShape(ways=5, shots=20, queries=4)
STEPS = SHAPE.ways * SHAPE.shots
#: Steps after which a teacher's answers on the query images are known.
ASKED = (20, 40, 60, 80, 100)
#: Side of the blocks of pixels that become one.
BLOCK = 2


@lru_cache(maxsize=1)
def images() -> ImageSet:
    """The digits 0 to 4 of scikit-learn, 4 by 4 pixels, in [0, 1]."""
    digits = load_digits()
    order = np.argsort(digits.target, kind="stable")
    order = order[digits.target[order] < SIZES[-1]]
    square = digits.images[order] / 16
    count, side = len(order), square.shape[1] // BLOCK
    x = square.reshape(count, side, BLOCK, side, BLOCK).mean((2, 4)).reshape(count, -1)
    labels = digits.target[order].astype(np.int64)
    return ImageSet(
        name="small digits",
        source="digits 0 to 4 of scikit-learn, means of blocks of 2 by 2 pixels",
        classes=SIZES[-1],
        x=x.astype(np.float32),
        labels=labels,
        rows=order.astype(np.int64),
        starts=class_starts(labels),
    )


def population(pool: Pool) -> Population:
    """Networks of the world that learn by rules of a pool, with the pool in one kernel."""
    every = tuple(range(len(pool)))
    return Population(
        pool, images(), SHAPE, SIZES, kernel="fused", dtype=torch.float64, compile_for=every
    )
