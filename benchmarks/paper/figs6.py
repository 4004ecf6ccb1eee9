"""Figure S6: the bio rule with feedback matrices from a normal law (Eq. S.5).

(a, b) As in the paper, online learning of MNIST, ten classes, beside feedback alignment with the
same law; coefficients as in Fig. 1. (c) Meta-learning of bio on EMNIST anew, with either law.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.paper import fig1, online
from benchmarks.paper.claims import Claim, Finding, above, all_of, bootstrap, judged, mean, near
from benchmarks.paper.experiments import Records, records
from benchmarks.paper.measures import accuracy, late
from benchmarks.paper.rules import BIO, SIMILAR, experiment
from benchmarks.paper.style import band, colour_of, figure, save, smooth
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.data import load_data

NORMAL, UNIFORM = "normal feedback", "uniform feedback"
#: The learners of Fig. 1 whose feedback is drawn from the other law.
FA, BIO_LEARNER = (
    replace(learner, key=f"{learner.key}, {NORMAL}", feedback_init="normal")
    for learner in (online.FA, online.BIO)
)
LEARNERS = (FA, BIO_LEARNER)


@dataclass(frozen=True, eq=False)
class Found:
    """What the figure shows.

    Attributes:
        online: courses over the stream.
        meta: law -> courses of bio's meta-learning.
    """

    online: online.Courses
    meta: Mapping[str, Records]


def _trains(found: Found) -> Finding:
    """Whether bio is more accurate at the end of the stream than feedback alignment."""
    statistic = "accuracy at the end of the stream, bio minus feedback alignment"
    seen = found.online.accuracy
    return all_of(
        statistic,
        {
            column: above(
                statistic, (seen[column][BIO_LEARNER.key] - seen[column][FA.key])[:, -1], 0.0
            )
            for column in online.COLUMNS
        },
    )


def _whatever_the_law(found: Found) -> Finding:
    normal, uniform = (late(accuracy(found.meta[law])) for law in (NORMAL, UNIFORM))
    statistic = "accuracy of bio with normal minus uniform feedback, end of meta-learning"
    return near(statistic, normal - uniform, 0.0, SIMILAR)


CLAIMS: tuple[Claim[Found], ...] = (
    Claim(
        "figS6-trains",
        "Supplement, backward initialisation",
        "bio trains networks successfully with normal feedback too, unlike feedback alignment",
        _trains,
    ),
    Claim(
        "figS6-law",
        "Supplement, backward initialisation",
        "The findings do not depend on the law of the feedback matrices",
        _whatever_the_law,
    ),
)


def meta_columns(found: Found) -> dict[str, list[object]]:
    """A row for each law and meta-step: mean accuracy and its interval."""
    columns: dict[str, list[object]] = {
        name: [] for name in ("feedback", "meta_step", "accuracy", "low", "high")
    }
    for law, run in found.meta.items():
        values = accuracy(run)
        ends = bootstrap(values)
        rows = zip(range(1, values.shape[1] + 1), mean(values), *ends, strict=True)
        for row in rows:
            for column, entry in zip(columns.values(), (law, *row), strict=True):
                column.append(entry)
    return columns


def run(setting: Setting) -> Produced:
    """Two panels over the stream, one over the meta-steps."""
    begun = time.perf_counter()
    data = load_data("mnist", setting.data_root, shape=online.SHAPE)
    learned = fig1.meta_learned(setting, (online.FA, online.BIO))
    theta = {FA.key: learned[online.FA.key], BIO_LEARNER.key: learned[online.BIO.key]}
    normal = experiment(BIO, setting, name=f"{BIO}, {NORMAL}", feedback_init="normal")
    found = Found(
        online.courses(setting, LEARNERS, theta, data),
        {
            NORMAL: records(normal, setting),
            UNIFORM: records(experiment(BIO, setting), setting),
        },
    )
    caption = (
        "Normal feedback (Eq. S.5), uniform weights (Eq. S.4). "
        + fig1.caption(found.online, data, setting)
        + f" (c) Meta-learning of bio on EMNIST, 5 classes, {setting.steps(600)} meta-steps; "
        "running mean over 10 of them."
    )
    fig, axes = figure(1, 3)
    panels = np.ravel(axes)
    for ax, column in zip(panels, online.COLUMNS, strict=False):
        for learner in LEARNERS:
            values = found.online.accuracy[column][learner.key]
            band(ax, values, learner.label, x=found.online.points)
        ax.set(xlabel="training examples", ylabel="accuracy (share correct)", ylim=(0, 1))
    for (law, run_), name in zip(found.meta.items(), (BIO, "pool"), strict=True):
        band(panels[2], smooth(accuracy(run_)), f"bio, {law}", colour_of(name))
    panels[2].set(xlabel="meta-steps", ylabel="query accuracy", ylim=(0, 1))
    titles = (*(f"{column} coefficients" for column in online.COLUMNS), "meta-learning of bio")
    for letter, title, ax in zip("abc", titles, panels, strict=True):
        ax.set_title(f"({letter}) {title}")
        ax.legend()
    return Produced(
        caption,
        figures=save(fig, setting, "figS6", caption),
        tables=(
            write_csv(setting, "figS6_online", fig1.accuracy_columns(LEARNERS, found.online)),
            write_csv(setting, "figS6_meta", meta_columns(found)),
        ),
        judged=judged(CLAIMS, found),
        seconds=time.perf_counter() - begun + sum(r.seconds for r in found.meta.values()),
    )


TARGETS = {"figS6": Target("figS6", "bio with normal feedback", run)}
