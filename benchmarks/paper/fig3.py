"""Figure 3: meta-learned rates of backprop and feedback alignment."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from benchmarks.paper.claims import Finding, above, all_of, below, judged, near
from benchmarks.paper.measures import accuracy, angles, late, loss, more_accurate, settled
from benchmarks.paper.protocols import (
    PROTOCOLS,
    TITLES,
    Both,
    Runs,
    Statement,
    benchmarks_of,
    caption_of,
    course_columns,
    seconds_of,
    under_both,
)
from benchmarks.paper.rules import BP, FA, HIDDEN_LAYERS
from benchmarks.paper.style import band, figure, save
from benchmarks.paper.tables import over_meta_steps, write_csv
from benchmarks.paper.targets import Produced, Setting, Target

#: Section 2.2.1, "about": accuracies after convergence, and how close ours must be.
PUBLISHED: Mapping[str, float] = {BP: 0.70, FA: 0.25}
ABOUT = 0.05
#: A loss lower by more, in nats, is considerably lower.
CONSIDERABLY = 0.5
#: Meta-steps that "about 100" does not exceed.
ABOUT_100 = 125
#: Errors at a larger angle are closer to orthogonal than to parallel: poorly aligned, in degrees.
POOR = 45.0
#: Of an angle that is zero by construction, in degrees: float32's rounding of the mean errors.
ROUNDING = 0.1


# --- claims --------------------------------------------------------------------------------------


def _accuracy(rule: str, runs: Runs) -> Finding:
    return near(
        f"query accuracy of {rule}, last 100 meta-steps, within {ABOUT:g} of {PUBLISHED[rule]:g}",
        late(accuracy(runs[rule])),
        PUBLISHED[rule],
        ABOUT,
    )


def _considerably_lower(runs: Runs) -> Finding:
    difference = late(loss(runs[FA])) - late(loss(runs[BP]))
    statistic = f"query loss of {FA} minus that of {BP}, last 100 meta-steps"
    return above(f"{statistic}, above {CONSIDERABLY:g}", difference, CONSIDERABLY, "nats")


def _settle(runs: Runs) -> Finding:
    statistic = f"meta-steps until the rate stays within 25 % of its last value, below {ABOUT_100}"
    return all_of(
        statistic,
        {
            rule: below(statistic, settled(runs[rule].theta[:, :, 0]), ABOUT_100, "meta-steps")
            for rule in (BP, FA)
        },
    )


def _poorly_aligned(runs: Runs) -> Finding:
    statistic = f"angle of {FA} to {BP}, last 100 meta-steps, above {POOR:g}°"
    found = angles(runs[FA])
    return all_of(
        statistic,
        {
            f"layer {layer}": above(statistic, found[:, layer - 1], POOR, "°")
            for layer in HIDDEN_LAYERS
        },
    )


def _same_output_error(runs: Runs) -> Finding:
    largest = angles(runs[FA])[:, -1]
    return near("angle of the output errors, last 100 meta-steps", largest, 0.0, ROUNDING, "°")


CLAIMS = under_both(
    Statement(
        "fig3-accuracy-backprop",
        "2.2.1",
        "After convergence, backprop classifies about 70 % correctly",
        lambda runs, _: _accuracy(BP, runs),
    ),
    Statement(
        "fig3-accuracy-feedback-alignment",
        "2.2.1",
        "After convergence, feedback alignment classifies about 25 % correctly",
        lambda runs, _: _accuracy(FA, runs),
    ),
    Statement(
        "fig3-gap",
        "2.2.1, 2.2.2",
        "Backprop is the more accurate early in learning, by far",
        lambda runs, _: more_accurate(runs, BP, FA, 0.2),
    ),
    Statement(
        "fig3-loss",
        "2.2.1",
        "Backprop reaches a considerably lower loss",
        lambda runs, _: _considerably_lower(runs),
    ),
    Statement(
        "fig3-settled",
        "2.2.1",
        "The rates converge after about 100 meta-steps",
        lambda runs, _: _settle(runs),
    ),
    Statement(
        "fig3-angles",
        "2.2.1, Fig. 3d",
        "Errors of feedback alignment are poorly aligned with those of backprop",
        lambda runs, _: _poorly_aligned(runs),
    ),
    Statement(
        "fig3-output-error",
        "Fig. 3d",
        "The error of the output layer is the same by both ways",
        lambda runs, _: _same_output_error(runs),
    ),
)


# --- output --------------------------------------------------------------------------------------


def draw(runs: Both) -> Figure:
    """Rows: accuracy, loss, rate, angles; a column for each protocol."""
    made, axes = figure(4, len(PROTOCOLS), sharey="row", height=1.75)
    for column, protocol in zip(axes.T, PROTOCOLS, strict=True):
        shown = runs[protocol]
        for rule in (BP, FA):
            band(column[0], accuracy(shown[rule]), rule)
            band(column[1], loss(shown[rule]), rule)
            band(column[2], 1e3 * shown[rule].theta[:, :, 0], rule)
        for layer in HIDDEN_LAYERS:
            values = shown[FA].observed["angle"][:, :, layer - 1]
            band(column[3], values, f"α{layer}", f"layer {layer}")
        column[0].set_title(TITLES[protocol])
        column[3].set_xlabel("meta-steps")
    labels = ("query accuracy", "query loss (nats)", "rate θ (10⁻³)", "angle (degrees)")
    for letter, row, label in zip("abcd", axes, labels, strict=True):
        row[0].set_ylabel(f"({letter}) {label}")
        row[0].legend(ncols=2)
    axes[0, 0].set_ylim(0, 1)
    axes[1, 0].set_ylim(0, None)
    axes[3, 0].set_ylim(0, 120)
    axes[3, 0].set_yticks((0, 30, 60, 90, 120))
    return made


def run(setting: Setting) -> Produced:
    """Meta-learn the rates under both protocols."""
    runs = benchmarks_of(setting)
    caption = caption_of(
        "Fig. 3. Meta-learned rates of feedback alignment and backprop; (d) angles between the "
        "errors of feedback alignment and of backprop, layers 1 to 4.",
        runs,
        setting,
    )
    return Produced(
        caption,
        figures=save(draw(runs), setting, "fig3", caption),
        tables=tuple(
            write_csv(setting, f"fig3-{protocol}", over_meta_steps(course_columns(runs[protocol])))
            for protocol in PROTOCOLS
        ),
        judged=judged(CLAIMS, runs),
        seconds=seconds_of(runs),
    )


TARGETS = {
    "fig3": Target("fig3", "Meta-learned rates for feedback alignment and backprop", run),
}
