"""Figure S4: Oja's rule on another data set, FashionMNIST, beside feedback alignment and backprop.

As Fig. 1: online learning of one stream, ten classes, with the coefficients that meta-learning
found on EMNIST and with the best multiple of them on this stream.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.paper import fig1
from benchmarks.paper.claims import Claim, Finding, above, all_of, judged
from benchmarks.paper.online import (
    BP,
    COLUMNS,
    FA,
    SHAPE,
    Courses,
    Learner,
    courses,
)
from benchmarks.paper.rules import OJA, TERMS
from benchmarks.paper.style import band, figure, save
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.data import load_data
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool

DATASET = "fashion-mnist"
_TERMS: dict[str, Any] = dict(TERMS[OJA])
OJAS = Learner(OJA, OJA, Pool(**_TERMS), "random")
LEARNERS = (BP, FA, OJAS)


def _enhanced(seen: Courses) -> Finding:
    """Whether Oja's rule is more accurate than feedback alignment, by the mean over the stream."""
    statistic = "mean accuracy over the stream, Oja minus feedback alignment"
    return all_of(
        statistic,
        {
            column: above(
                statistic,
                fig1.throughout(
                    seen.accuracy[column][OJAS.key] - seen.accuracy[column][FA.key], seen.points
                ),
                0.0,
            )
            for column in COLUMNS
        },
    )


CLAIMS: tuple[Claim[Courses], ...] = (
    Claim(
        "figS4-oja",
        "Supplement, Oja on FashionMNIST",
        "Oja's term substantially enhances learning with random feedback on FashionMNIST too",
        _enhanced,
    ),
)


def run(setting: Setting) -> Produced:
    """Accuracy over the stream, with both kinds of coefficients; skipped without the images."""
    begun = time.perf_counter()
    try:
        data = load_data(DATASET, setting.data_root, shape=SHAPE)
    except RuleSearchError as fault:
        return Produced("", skipped=str(fault))
    theta = fig1.meta_learned(setting, LEARNERS)
    seen = courses(setting, LEARNERS, theta, data)
    caption = fig1.caption(seen, data, setting)
    fig, axes = figure(1, 2, sharey=True)
    for ax, letter, column in zip(np.ravel(axes), "ab", COLUMNS, strict=True):
        for learner in LEARNERS:
            values = seen.accuracy[column][learner.key]
            band(ax, values, learner.label, x=seen.points)
        ax.set_title(f"({letter}) {column} coefficients", loc="left")
        ax.set_xlabel("training examples")
    np.ravel(axes)[0].set_ylabel("accuracy (share correct)")
    np.ravel(axes)[0].legend()
    return Produced(
        caption,
        figures=save(fig, setting, "figS4", caption),
        tables=(
            write_csv(setting, "figS4_accuracy", fig1.accuracy_columns(LEARNERS, seen)),
            write_csv(setting, "figS4_rates", fig1.rate_columns(LEARNERS, theta, seen)),
        ),
        judged=judged(CLAIMS, seen),
        seconds=time.perf_counter() - begun,
    )


TARGETS = {"figS4": Target("figS4", "Oja's rule on FashionMNIST", run)}
