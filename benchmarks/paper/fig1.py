"""Figures 1 and S1: online learning of MNIST, from the first example to some thousands.

The paper does not say how long its stream is or which rates it uses. The stream here is long enough
for all that the text says of it, and each learner is shown twice: see `benchmarks.paper.online`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.integrate import trapezoid

from benchmarks.paper import style
from benchmarks.paper.claims import (
    Claim,
    Finding,
    Values,
    above,
    all_of,
    below,
    bootstrap,
    judged,
    mean,
    near,
)
from benchmarks.paper.experiments import Experiment, records
from benchmarks.paper.measures import late
from benchmarks.paper.online import (
    BEST,
    BIO,
    BP,
    COLUMNS,
    DFA,
    FA,
    LEARNERS,
    META,
    PROBE,
    SHAPE,
    SIGNS,
    VALIDATION,
    Courses,
    Learner,
    at,
    courses,
    onset,
)
from benchmarks.paper.rules import experiment
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.data import Data, load_data

#: Meta-steps at the end of an experiment whose mean coefficients are taken.
LAST = 100

SHOWN: Mapping[str, Sequence[Learner]] = {"fig1": (BP, FA, BIO), "figS1": LEARNERS}


# --- claims --------------------------------------------------------------------------------------

#: Examples in what the paper calls the low data regime: 50 of each class.
FEW = 500
#: After so many, by the paper, feedback alignment and direct feedback alignment begin to learn.
LATE, LESS_LATE = 2000, 1000
#: Between errors that have less in common than a cosine of one half.
APART = 60.0

_Judge = Callable[[Mapping[str, Values], Sequence[int]], Finding]


def _both(statistic: str, judge: _Judge) -> Callable[[Courses], Finding]:
    """A judgement of accuracies, [trials, points] by learner, for both kinds of coefficients."""
    return lambda seen: all_of(
        statistic, {column: judge(seen.accuracy[column], seen.points) for column in COLUMNS}
    )


def throughout(values: Values, points: Sequence[int]) -> Values:
    """Of [trials, points], the mean over the stream, [trials]."""
    return np.asarray(trapezoid(values, points, axis=1) / points[-1])


def after_onset(accuracy: Values, points: Sequence[int], examples: int) -> Values:
    """Accuracy so many examples after a trial began to learn, or at the end, [trials]."""
    begun = onset(accuracy, points)
    return np.array([
        at(row[None], points, int(first) + examples)[0]
        for row, first in zip(accuracy, begun, strict=True)
    ])  # fmt: skip


def gap_closed(values: Mapping[str, Values], points: Sequence[int], learner: str) -> Values:
    """Where a learner stands from feedback alignment, 0, to backprop, 1, [trials].

    By the mean accuracy over the stream; not finite where those two are equal.
    """
    low, high, own = (throughout(values[key], points) for key in (FA.key, BP.key, learner))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((own - low) / (high - low))


def _angles(seen: Courses) -> Finding:
    parts = {
        f"{column}, layer {layer}": above(
            "", at(angle, seen.points, LATE)[:, layer - 1], APART, "°"
        )
        for column, angle in seen.angle.items()
        for layer in range(1, angle.shape[-1])  # in the last layer it is 0 by construction
    }
    return all_of(f"angle after {LATE} examples, above {APART:g}° in each layer", parts)


_ONSET = "training examples until two points in a row are at twice chance or above"

CLAIMS: Mapping[str, Sequence[Claim[Courses]]] = {
    "fig1": (
        Claim(
            "fig1-fa-begins",
            "2.1, Fig. 1a",
            "Feedback alignment only begins to learn after about 2000 examples",
            _both(
                f"{_ONSET}, within 500 of {LATE}",
                lambda a, points: near("", onset(a["FA"], points), LATE, 500, "examples"),
            ),
        ),
        Claim(
            "fig1-bp-begins",
            "Supplement, Performance of DFA",
            "Backprop begins to learn at the very start",
            _both(
                f"{_ONSET}, fewer than 250",
                lambda a, points: below("", onset(a["BP"], points), 250, "examples"),
            ),
        ),
        Claim(
            "fig1-bp-sooner",
            "2.1, Fig. 1a",
            "Backprop learns much more quickly than feedback alignment",
            _both(
                f"accuracy after {LATE} examples, backprop minus feedback alignment, above 0.2",
                lambda a, points: above("", at(a["BP"] - a["FA"], points, LATE), 0.2),
            ),
        ),
        Claim(
            "fig1-fa-slower",
            "Supplement, Performance of DFA",
            "Once it has begun, feedback alignment learns more slowly than backprop",
            _both(
                "accuracy 1000 examples after a trial began to learn, backprop minus feedback "
                "alignment, above 0",
                lambda a, points: above(
                    "", after_onset(a["BP"], points, 1000) - after_onset(a["FA"], points, 1000), 0
                ),
            ),
        ),
        Claim(
            "fig1-angles",
            "2.1, Fig. 1b",
            "The errors of feedback alignment are not aligned with backprop's at this stage",
            _angles,
        ),
        Claim(
            "fig1-bio",
            "2.2.2, Fig. 1a",
            "The bio rule does significantly better than feedback alignment in the low data regime",
            _both(
                f"accuracy after {FEW} examples, bio minus feedback alignment, above 0",
                lambda a, points: above("", at(a["bio"] - a["FA"], points, FEW), 0),
            ),
        ),
    ),
    "figS1": (
        Claim(
            "figS1-dfa-above-fa",
            "2.1, Fig. S1",
            "Direct feedback alignment learns faster and better than feedback alignment",
            _both(
                "mean accuracy over the stream, direct minus layer by layer, above 0",
                lambda a, points: above("", throughout(a["DFA"] - a["FA"], points), 0),
            ),
        ),
        Claim(
            "figS1-dfa-begins",
            "Supplement, Performance of DFA",
            "Direct feedback alignment improves after about 1000 examples",
            _both(
                f"{_ONSET}, within 250 of {LESS_LATE}",
                lambda a, points: near("", onset(a["DFA"], points), LESS_LATE, 250, "examples"),
            ),
        ),
        Claim(
            "figS1-dfa-below-bp",
            "2.1, Fig. S1",
            "Direct feedback alignment falls short of backprop",
            _both(
                "accuracy at the end of the stream, direct minus backprop, below 0",
                lambda a, points: below("", (a["DFA"] - a["BP"])[:, -1], 0),
            ),
        ),
        Claim(
            "figS1-bio-above-dfa",
            "Supplement, Performance of DFA",
            "The bio rule outperforms direct feedback alignment",
            _both(
                "mean accuracy over the stream, bio minus direct, above 0",
                lambda a, points: above("", throughout(a["bio"] - a["DFA"], points), 0),
            ),
        ),
        Claim(
            "figS1-signs",
            "1",
            "Feedback that shares only the signs of the weights is inadequate for an online stream",
            _both(
                "share of the gap from feedback alignment to backprop that it closes, by the mean "
                "accuracy over the stream, below one half",
                lambda a, points: below("", gap_closed(a, points, "sign-symmetric"), 0.5),
            ),
        ),
    ),
}


# --- figure, tables, targets ---------------------------------------------------------------------


@style.look()
def draw(name: str, seen: Courses) -> Figure:
    """Accuracy with both kinds of coefficients; in Fig. 1 the angles of feedback alignment too."""
    angles = name == "fig1"
    figure, axes = style.figure(1, 3 if angles else 2, height=2.3)
    first, second, *third = axes.ravel()
    for panel, title, column in (
        (first, "(a) meta-learned coefficients", META),
        (second, "(b) their best multiple for this stream", BEST),
    ):
        for learner in SHOWN[name]:
            values = seen.accuracy[column][learner.key]
            style.band(panel, values, learner.label, x=seen.points)
        panel.set(title=title, xlabel="training examples", ylabel="accuracy (share correct)")
        panel.set_ylim(0, 1)
    for panel in third:
        for layer in range(1, seen.angle[META].shape[-1]):
            values = seen.angle[META][:, :, layer - 1]
            style.band(panel, values, f"layer {layer}", x=seen.points)
        panel.axhline(90, color="black", linestyle=":", linewidth=0.6)
        panel.set(title="(c) feedback alignment, as in (a)", xlabel="training examples")
        panel.set_ylabel("angle to backprop (degrees)")
    lines = [line for panel in (first, *third) for line in panel.get_legend_handles_labels()[0]]
    figure.legend(
        handles=lines,
        loc="outside upper center",
        ncols=len(lines),
        columnspacing=1.2,
        handlelength=1.6,
    )
    return figure


def accuracy_columns(learners: Sequence[Learner], seen: Courses) -> dict[str, list[object]]:
    """A row for each kind of coefficients, learner and point: mean and 98 % interval."""
    rows: list[tuple[object, ...]] = []
    for column in COLUMNS:
        for learner in learners:
            values = seen.accuracy[column][learner.key]
            low, high = bootstrap(values)
            for row in zip(seen.points, mean(values), low, high, strict=True):
                rows.append((column, learner.label, *row))
    return _columns(("coefficients", "learner", "examples", "accuracy", "low", "high"), rows)


def angle_columns(seen: Courses) -> dict[str, list[object]]:
    """A row for each kind of coefficients, point and layer of feedback alignment."""
    rows: list[tuple[object, ...]] = []
    for column, angle in seen.angle.items():
        low, high = bootstrap(angle)
        of_means, of_each = mean(angle), mean(seen.angle_each[column])
        for place, point in enumerate(seen.points):
            for layer in range(angle.shape[-1] - 1):
                numbers = [x[place, layer] for x in (of_means, low, high, of_each)]
                rows.append((column, point, layer + 1, *numbers))
    names = ("coefficients", "examples", "layer", "angle", "low", "high", "mean of single angles")
    return _columns(names, rows)


def rate_columns(
    learners: Sequence[Learner], theta: Mapping[str, Sequence[float]], seen: Courses
) -> dict[str, list[object]]:
    """A row for each coefficient: what meta-learning found, and the best multiple of it."""
    rows: list[tuple[object, ...]] = [
        (learner.label, term, value, seen.factor[learner.key], learner.key in seen.at_edge)
        for learner in learners
        for term, value in zip(learner.pool.names, theta[learner.key], strict=True)
    ]
    names = ("learner", "term", "meta-learned", "best multiple", "last multiple tried")
    return _columns(names, rows)


def _columns(names: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, list[object]]:
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def experiment_of(learner: Learner, setting: Setting) -> Experiment:
    """The meta-learning that gives a learner's coefficients: the paper's, by its own pathway."""
    if learner in (DFA, SIGNS):
        return experiment(FA.label, setting, name=learner.label, pathway=learner.pathway)
    return experiment(learner.label, setting)


def meta_learned(setting: Setting, learners: Sequence[Learner]) -> dict[str, tuple[float, ...]]:
    """Each learner's coefficients: their mean over trials and the last meta-steps on EMNIST."""
    found = {}
    for learner in learners:
        theta = late(records(experiment_of(learner, setting), setting).theta)
        found[learner.key] = tuple(float(value) for value in mean(theta))
    return found


def caption(seen: Courses, data: Data, setting: Setting) -> str:
    """What was run, in words."""
    distinct = len(data.search.labels) - min(VALIDATION, len(data.search.labels) // 4)
    looked_at = min(PROBE, len(data.held_out.labels))
    again = "none comes twice"
    if seen.points[-1] > distinct:
        again = "passed over again in a new order where the stream is longer"
    multiples = ", ".join(f"{key} {factor:.3g}" for key, factor in seen.factor.items())
    edge = f" (the last one tried for {', '.join(seen.at_edge)})" if seen.at_edge else ""
    return (
        f"Online learning, one example at a time, of a stream of {seen.points[-1]} images from "
        f"{data.name} ({data.search.source}; {distinct} in a trial's stream, {again}), 10 classes, "
        f"47 output units. Accuracy and angles on {looked_at:,} of {data.held_out.source}. Mean "
        f"over {setting.trials} trials, the same streams, weights and feedback for all; bands: "
        f"98 % bootstrap intervals. Meta-learned: mean coefficients of the last {LAST} of "
        f"{setting.meta_steps} meta-steps on EMNIST, 5 classes. Best multiple: these times the "
        "factor with the highest mean accuracy on other images and other trials of this stream: "
        f"{multiples}{edge}. Seed {setting.seed}."
    )


def _make(name: str, setting: Setting) -> Produced:
    begun = time.perf_counter()
    learners = SHOWN[name]
    data = load_data("mnist", setting.data_root, shape=SHAPE)
    theta = meta_learned(setting, learners)
    seen = courses(setting, learners, theta, data)
    told = caption(seen, data, setting)
    tables = [
        write_csv(setting, f"{name}_accuracy", accuracy_columns(learners, seen)),
        write_csv(setting, f"{name}_rates", rate_columns(learners, theta, seen)),
    ]
    if name == "fig1":
        tables.append(write_csv(setting, f"{name}_angles", angle_columns(seen)))
    return Produced(
        caption=told,
        figures=tuple(style.save(draw(name, seen), setting, name, told)),
        tables=tuple(tables),
        judged=judged(CLAIMS[name], seen),
        seconds=time.perf_counter() - begun,
    )


TARGETS: Mapping[str, Target] = {
    "fig1": Target(
        "fig1",
        "Online learning of MNIST: backprop, feedback alignment, and the bio rule",
        lambda setting: _make("fig1", setting),
    ),
    "figS1": Target(
        "figS1",
        "Online learning of MNIST: other feedback pathways beside them",
        lambda setting: _make("figS1", setting),
    ),
}
