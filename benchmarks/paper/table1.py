"""Table 1: a rule per layer. Where eHebb acts, the error below it should align with backprop's.

The coefficients are shared by the layers, and a layer has or has not the second term. Angles are
means over the meta-steps after a burn-in. What the text of the paper leaves open is measured in
more than one way, beside each other: the angle between mean errors (as in the authors' code) and
the mean of the angles of single examples; tasks drawn afresh and as in the authors' code; a longer
burn-in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.paper.claims import (
    LEVEL,
    RESAMPLES,
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
from benchmarks.paper.experiments import Experiment, Records, records
from benchmarks.paper.measures import late
from benchmarks.paper.rules import experiment
from benchmarks.paper.style import figure, save, series
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.data.tasks import Sampling

HIDDEN = (130, 70)
META_STEPS = 500
BURN_IN = 100
#: A later beginning of the mean, to see whether the published one is late enough.
LONG_BURN_IN = 300
#: How close to the paper an angle must be, in degrees.
TOLERANCE = 8.0
SAMPLINGS: tuple[Sampling, ...] = ("afresh", "published")


@dataclass(frozen=True)
class Row:
    """A row of the paper's table.

    Attributes:
        ehebb: layers 1 … 3 whose weights are updated by eHebb, the others by F0.
        published: the paper's angles of e_0, e_1, e_2 in degrees.
    """

    ehebb: tuple[int, ...]
    published: tuple[float, float, float]

    @property
    def name(self) -> str:
        """Which weights have eHebb, in words.

        Example:
            >>> Row((1, 3), (84.86, 74.25, 30.33)).name, Row((), (89.89, 76.69, 82.04)).name
            ('eHebb in W01, W23', 'F0 everywhere')
        """
        matrices = ", ".join(f"W{layer - 1}{layer}" for layer in self.ehebb)
        return f"eHebb in {matrices}" if matrices else "F0 everywhere"

    @property
    def key(self) -> str:
        """The same, for keys of claims and files."""
        return "".join(map(str, self.ehebb)) or "none"


ROWS = (
    Row((), (89.89, 76.69, 82.04)),
    Row((2,), (89.95, 59.95, 72.14)),
    Row((3,), (90.03, 75.18, 29.02)),
    Row((1, 2), (75.29, 61.23, 72.56)),
    Row((2, 3), (90.2, 49.4, 27.9)),
    Row((1, 3), (84.86, 74.25, 30.33)),
    Row((1, 2, 3), (77.93, 49.93, 28.4)),
)
BASE = ROWS[0].name


def experiment_of(row: Row, sampling: Sampling, setting: Setting) -> Experiment:
    """The meta-learning of a row."""
    return experiment(
        "eHebb" if row.ehebb else "feedback alignment",
        setting,
        name=f"table 1, {row.name}, tasks {sampling}",
        hidden=HIDDEN,
        meta_steps=setting.steps(META_STEPS),
        where=(("F2", row.ehebb),) if row.ehebb else (),
        sampling=sampling,
        observe=("angle_pre", "angle_each_pre"),
    )


# --- angles --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A way to measure an angle.

    Attributes:
        name: of the column.
        sampling: how tasks are drawn.
        observable: between mean errors, or the mean over examples.
        burn_in: meta-steps left out, at full length.
    """

    name: str
    sampling: Sampling = "afresh"
    observable: str = "angle_pre"
    burn_in: int = BURN_IN


MAIN = Measure("angle")
EACH = Measure("mean of single examples' angles", observable="angle_each_pre")
PUBLISHED = Measure("tasks as published", sampling="published")
MEASURES = (
    MAIN,
    EACH,
    PUBLISHED,
    Measure(
        "tasks as published, single examples", sampling="published", observable="angle_each_pre"
    ),
    Measure("longer burn-in", burn_in=LONG_BURN_IN),
)

#: (row's name, sampling) -> courses.
Runs = Mapping[tuple[str, Sampling], Records]
#: Row's name -> measure's name -> [trials, 3] in degrees.
Angles = Mapping[str, Mapping[str, Values]]


def after_burn_in(run: Records, measure: Measure) -> Values:
    """Mean angles e_0, e_1, e_2 of each trial after the burn-in, degrees, [trials, 3].

    A course that is shorter than the paper's has a burn-in of the same share.
    """
    course = run.observed[measure.observable]
    burn_in = round(measure.burn_in * course.shape[1] / META_STEPS)
    return late(course, course.shape[1] - burn_in)


def runs_of(setting: Setting) -> Runs:
    """The meta-learning of all rows, with both ways to draw tasks."""
    return {
        (row.name, sampling): records(experiment_of(row, sampling, setting), setting)
        for sampling, row in itertools.product(SAMPLINGS, ROWS)
    }


def all_angles(runs: Runs) -> Angles:
    """The angles of all rows in all ways."""
    return {
        row.name: {m.name: after_burn_in(runs[row.name, m.sampling], m) for m in MEASURES}
        for row in ROWS
    }


# --- claims --------------------------------------------------------------------------------------


def cells(row: Row, angles: Angles, measure: Measure = MAIN) -> Finding:
    """Whether the three angles of a row are within `TOLERANCE` of the paper's."""
    ours = angles[row.name][measure.name]
    statistic = f"mean angle after the burn-in ({measure.name}), within {TOLERANCE:g}° of the paper"
    return all_of(
        statistic,
        {
            f"α{layer} (paper {published:g}°)": near(
                statistic, ours[:, layer], published, TOLERANCE, "°"
            )
            for layer, published in enumerate(row.published)
        },
    )


def row_claims(measure: Measure) -> Iterator[Claim[Angles]]:
    """One claim for each row: its three angles, measured in this way."""
    ending = "" if measure == MAIN else f"-{measure.name.replace(' ', '-')}"
    manner = "" if measure == MAIN else f" ({measure.name})"
    for row in ROWS:
        published = ", ".join(f"{angle:g}" for angle in row.published)

        def judge(angles: Angles, row: Row = row) -> Finding:
            return cells(row, angles, measure)

        text = f"{row.name}: the angles α0, α1, α2 are {published} degrees{manner}"
        yield Claim(f"table1-{row.key}{ending}", "Table 1", text, judge)


def _reductions(angles: Angles) -> Finding:
    """At every layer that has eHebb, the angle of the error below it against F0 everywhere."""
    statistic = "angle of e_pre under F0 everywhere minus that with eHebb at the layer"
    return all_of(
        statistic,
        {
            f"{row.name}, α{layer - 1}": above(
                statistic,
                angles[BASE][MAIN.name][:, layer - 1] - angles[row.name][MAIN.name][:, layer - 1],
                0.0,
                "°",
            )
            for row in ROWS
            for layer in row.ehebb
        },
    )


def _second_layer_alone(angles: Angles, layer: int) -> Finding:
    ours = angles[ROWS[1].name][MAIN.name] - angles[BASE][MAIN.name]
    statistic = f"α{layer} with eHebb in W12 alone minus α{layer} under F0 everywhere"
    return below(statistic, ours[:, layer], 0.0, "°")


def _third_layer_alone(angles: Angles) -> Finding:
    ours = angles[ROWS[2].name][MAIN.name] - angles[BASE][MAIN.name]
    return below("α2 with eHebb in W23 alone minus α2 under F0 everywhere", ours[:, 2], 0.0, "°")


CLAIMS: tuple[Claim[Angles], ...] = (
    *row_claims(MAIN),
    Claim(
        "table1-reduction",
        "2.2.2",
        "Adding the Hebbian error term to a layer lessens the angle of the error below that layer",
        _reductions,
    ),
    Claim(
        "table1-second-alignment",
        "Supplement, data flow",
        "With the term in the second layer alone, e_1 is better aligned",
        lambda angles: _second_layer_alone(angles, 1),
    ),
    Claim(
        "table1-second-downstream",
        "Supplement, data flow",
        "With the term in the second layer alone, alignment downstream of it improves slightly too",
        lambda angles: _second_layer_alone(angles, 2),
    ),
    Claim(
        "table1-third-alignment",
        "Supplement, data flow",
        "With the term in the third layer alone, e_2 is better aligned",
        _third_layer_alone,
    ),
)


def changed_verdicts(angles: Angles, measure: Measure) -> tuple[Claim[Angles], ...]:
    """The claims about rows whose verdict, in a part at least, is another when measured so."""

    def verdicts(finding: Finding) -> list[str]:
        return [part.verdict for _, part in finding.parts]

    claims = zip(ROWS, row_claims(measure), strict=True)
    return tuple(
        claim
        for row, claim in claims
        if verdicts(cells(row, angles)) != verdicts(cells(row, angles, measure))
    )


# --- output --------------------------------------------------------------------------------------


def numbers(angles: Angles) -> dict[str, list[object]]:
    """Columns of the table: one line for each row, angle and measure."""
    columns: dict[str, list[object]] = {
        name: []
        for name in ("rule", "angle", "measure", "paper", "mean", "low", "high", "difference")
    }
    for row, measure in itertools.product(ROWS, MEASURES):
        ours = angles[row.name][measure.name]
        low, high = bootstrap(ours)
        for layer, published in enumerate(row.published):
            value = float(mean(ours)[layer])
            line = (
                *(row.name, f"alpha_{layer}", measure.name, published),
                *(value, float(low[layer]), float(high[layer]), value - published),
            )
            for column, entry in zip(columns.values(), line, strict=True):
                column.append(entry)
    return columns


def coefficients(runs: Runs) -> dict[str, list[object]]:
    """Columns: the coefficients that the angles belong to, mean over the last 100 meta-steps."""
    columns: dict[str, list[object]] = {
        name: [] for name in ("rule", "tasks", "term", "theta", "low", "high")
    }
    for (rule, sampling), run in runs.items():
        final = late(run.theta)
        ends = zip(("F0", "F2"), mean(final), *bootstrap(final), strict=False)
        for line in ends:
            for column, entry in zip(columns.values(), (rule, sampling, *line), strict=True):
                column.append(entry)
    return columns


def draw(angles: Angles, setting: Setting, caption: str) -> Produced:
    """The table as a figure: our angles with intervals beside the paper's, one panel an angle."""
    fig, axes = figure(1, 3)
    places = np.arange(len(ROWS))[::-1]
    for layer, ax in enumerate(np.ravel(axes)):
        published = [row.published[layer] for row in ROWS]
        ax.plot(published, places, "kx", label="paper")
        for i, measure in enumerate((MAIN, EACH, PUBLISHED)):
            ours = [angles[row.name][measure.name][:, layer] for row in ROWS]
            means = np.array([mean(values) for values in ours])
            low, high = np.array([bootstrap(values) for values in ours]).T
            ax.errorbar(
                means,
                places - 0.22 * i,
                xerr=np.abs([means - low, high - means]),
                fmt="o",
                markersize=3,
                color=series(i + 1)[0],
                label=measure.name,
            )
        ax.set_xlabel(f"$\\alpha_{layer}$ (degrees)")
        ax.set_yticks(places, [row.name for row in ROWS] if layer == 0 else [])
        ax.set_xlim(0, 100)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    figures = save(fig, setting, "table1", caption)
    return Produced(caption, figures=figures)


def run(setting: Setting) -> Produced:
    """Meta-learn every row with both ways to draw tasks, and compare the angles."""
    runs = runs_of(setting)
    angles = all_angles(runs)
    diverged = sum(int(found.diverged.sum()) for found in runs.values())
    steps = setting.steps(META_STEPS)
    caption = (
        f"Table 1. EMNIST, 5 classes of 50 + 10 images, 784-130-70-47; {setting.trials} trials of "
        f"{steps} meta-steps, burn-in {round(BURN_IN * steps / META_STEPS)}, seed {setting.seed}. "
        f"Bars: {LEVEL:.0%} intervals of the mean over trials, bootstrap with {RESAMPLES} samples. "
        f"{diverged} lifetimes diverged."
    )
    changed = changed_verdicts(angles, PUBLISHED)
    drawn = draw(angles, setting, caption)
    return Produced(
        caption,
        figures=drawn.figures,
        tables=(
            write_csv(setting, "table1", numbers(angles)),
            write_csv(setting, "table1_theta", coefficients(runs)),
        ),
        judged=judged((*CLAIMS, *changed), angles),
        seconds=sum(found.seconds for found in runs.values()),
    )


TARGETS = {"table1": Target("table1", "A rule per layer: F0 and eHebb in seven assignments", run)}
