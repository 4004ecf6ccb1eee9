"""The figures of a run: accuracy, coefficients and alignment over meta-steps, the hall of fame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rulesearch.figures.look import (
    BLACK,
    BLUE,
    DRAWN,
    GREY,
    LAYERS,
    SKY,
    VERMILLION,
    WIDTH,
    label_right,
    style,
    write,
)
from rulesearch.figures.series import (
    Row,
    as_floats,
    by_stage,
    last_step,
    mean_of,
    observes_angles,
    smoothed,
    steps_of,
    values_of,
)
from rulesearch.result import Result, best_of_each_size, looked_at
from rulesearch.words import in_words, significant

MOST_NAMED = 6  # of a rule's terms in a legend
TRIAL = {"color": SKY, "linewidth": 0.6, "alpha": 0.7}  # one trial's line, behind their mean


def figures(history: Iterable[Row], result: Result, directory: Path) -> list[Path]:
    """Draw the figures of a run, each as PDF and PNG; see `drawn`.

    Returns:
        The files written.
    """
    return write(drawn(history, result), directory)


def drawn(history: Iterable[Row], result: Result) -> dict[str, Figure]:
    """The figures of a run by name.

    They are `accuracy`, `coefficients`, where angles were observed `alignment`, and of a search
    that looks for the best rules of each size `hall_of_fame`.

    Args:
        history: rows of `history.jsonl`: `stage`, `step`, `loss`, `accuracy`, `theta`, `angles`.
        result: what the search ended with.
    """
    rows = list(history)
    trials, refits = by_stage(rows, "trial "), by_stage(rows, "final refit ")
    with style():
        made = {
            "accuracy": accuracy_figure(trials, result),
            "coefficients": coefficient_figure(trials, refits, result),
        }
        if observes_angles(trials) or observes_angles(refits):
            made["alignment"] = alignment_figure(trials, refits)
        if result.hall:
            made["hall_of_fame"] = hall_figure(result)
        for figure in made.values():
            # Laid out once, for all files and the page: a second time would move it a little, and
            # takes longer than drawing.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
    return made


def _loss_in(result: Result) -> str:
    return f"query loss ({result.unit})" if result.unit else "query loss"


def accuracy_figure(trials: Mapping[str, Sequence[Row]], result: Result) -> Figure:
    """Accuracy and loss of the trials over meta-steps, beside the final evaluation's values."""
    figure = Figure(figsize=(WIDTH, 4.6))
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, name, label in (
        (upper, "accuracy", "query accuracy (share correct)"),
        (lower, "loss", _loss_in(result)),
    ):
        lines = [(steps_of(rows), values_of(rows, name)) for rows in trials.values()]
        marks = []
        for key, (color, dashes) in DRAWN.items():
            value = getattr(result.evaluation.get(key), name, None)
            if value is not None:
                axes.axhline(value, color=color, linestyle=dashes, linewidth=1)
                marks.append((value, f"{in_words(key)} {significant(value)}", color))
        # A diverged lifetime's loss can be of any size. It flattens neither the others nor the
        # mean: what lies beyond a trial's start and middle is drawn at the upper edge.
        finite = [v for _, values in lines if (v := values[np.isfinite(values)]).size]
        usual = [max(np.median(values[:5]), np.median(values)) for values in finite]
        top = 1.2 * max([*usual, *(value for value, _, _ in marks), 0.1])
        top = 1.0 if name == "accuracy" else top
        lines = [(steps, np.minimum(values, top)) for steps, values in lines]
        for steps, values in lines:
            axes.plot(steps, values, **TRIAL)
        if lines:
            mean = "mean of the trials, smoothed" if len(lines) > 1 else "the same, smoothed"
            axes.plot([], [], **TRIAL, label="one trial")
            axes.plot(*smoothed(*mean_of(lines)), color=BLUE, label=mean)
        axes.set_ylabel(label)
        axes.set_ylim(0, top)
        label_right(axes, marks)
    lower.set_xlabel("meta-step")
    diverged = sum(row.get("diverged") or 0 for rows in trials.values() for row in rows)
    left_out = sum(row.get("left_out") or 0 for rows in trials.values() for row in rows)
    figure.suptitle(
        f"Trials of the search: {diverged} lifetimes diverged, {left_out} left out. "
        "Horizontal lines: the final evaluation.\n"
        "A loss beyond the axis is drawn at its upper edge, and counts as that in the mean."
    )
    if trials:
        named = lower.get_legend_handles_labels()
        figure.legend(*named, frameon=False, loc="outside lower center", ncols=2)  # over no curve
    return figure


def coefficient_figure(
    trials: Mapping[str, Sequence[Row]], refits: Mapping[str, Sequence[Row]], result: Result
) -> Figure:
    """The raw coefficient of each term over meta-steps, a panel for each that trials keep.

    On the left the trials, where a penalty may shrink coefficients, on the right the final refits,
    whose mean the rule's are, if there were any. A panel has its own scale, because coefficients of
    one rule differ by orders of magnitude.
    """
    kept = set(result.support)
    if not result.hall:  # whose trials keep nearly all
        kept |= {name for trial in result.trials for name in trial.support}
    names = [entry.name for entry in result.pool if entry.name in kept]
    columns = min(3, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    figure = Figure(figsize=(WIDTH, 0.6 + 1.6 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    begin, end = last_step(trials), last_step(trials) + last_step(refits)
    for axes, name in zip(panels, names, strict=False):
        inside = name in result.support
        theta, interval = result.theta.get(name), result.theta_interval.get(name)
        for stages, shift, color in ((trials, 0, SKY), (refits, begin, BLUE)):
            for rows_of in stages.values():
                values = as_floats((row.get("theta") or {}).get(name, 0.0) for row in rows_of)
                shown = color if inside else GREY
                axes.plot(steps_of(rows_of) + shift, values, color=shown, linewidth=0.8)
        axes.axhline(0, color=BLACK, linewidth=0.5)
        if begin and refits:
            axes.axvline(begin, color=GREY, linestyle=":", linewidth=0.8)
        if inside and theta is not None:
            if interval and None not in interval:
                axes.axhspan(*interval, color=VERMILLION, alpha=0.25, linewidth=0)
            axes.axhline(theta, color=VERMILLION, linestyle="--", linewidth=1)
            axes.plot([end], [theta], "o", color=VERMILLION, markersize=3, clip_on=False)
        final = f"final {significant(result.theta.get(name, 0.0))}" if inside else "not in the rule"
        axes.set_title(f"{name}: {final}", color=BLACK if inside else GREY, loc="left", pad=12)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
        # Above the axis, where the title has left a line for it.
        axes.yaxis.get_offset_text().set_fontsize(7)
    figure.supxlabel("meta-step", fontsize=8)
    figure.supylabel("coefficient theta (raw)", fontsize=8)
    shrunk = "shrunk by the penalty" if result.config.get("l1", 1.0) else "with all terms"
    light = f"Light: the trials, {shrunk}."
    if refits:
        figure.suptitle(
            f"{light} Dark, after the dotted line: the final refits.\n"
            "Dashed, and the dot at their end: the rule, their mean, with its 95 % interval.\n"
            "Terms that no trial keeps are left out."
        )
    else:
        figure.suptitle(
            f"{light} Dashed, and the dot: the rule, with its 95 % interval.\n"
            "Terms that are not in the rule are left out."
        )
    return figure


def alignment_figure(
    trials: Mapping[str, Sequence[Row]], refits: Mapping[str, Sequence[Row]]
) -> Figure:
    """The angle between the feedback's errors and backprop's, per layer, over meta-steps.

    On the left in the trials, on the right in the final refits, so for the rule's own terms.
    """
    sides = [
        (stages, title)
        for stages, title in ((trials, "trials"), (refits, "final refits"))
        if observes_angles(stages)
    ]
    figure = Figure(figsize=(WIDTH * (1 if len(sides) > 1 else 0.7), 2.8))
    panels = figure.subplots(1, max(1, len(sides)), sharey=True, squeeze=False).ravel()
    for axes, (stages, title) in zip(panels, sides, strict=False):
        layers = max(len(row.get("angles") or ()) for rows in stages.values() for row in rows)
        marks = []
        for layer in range(layers):
            color = LAYERS[layer % len(LAYERS)]
            lines = []
            for rows in stages.values():
                observed = [row for row in rows if len(row.get("angles") or ()) > layer]
                lines.append(
                    (steps_of(observed), as_floats(row["angles"][layer] for row in observed))
                )
            for line in lines:
                axes.plot(*line, color=color, linewidth=0.5, alpha=0.35)
            steps, mean = smoothed(*mean_of(lines))
            axes.plot(steps, mean, color=color)
            if mean.size and np.isfinite(mean[-1]):
                marks.append((float(mean[-1]), f"layer {layer + 1}", color))
        axes.axhline(90, color=BLACK, linestyle="--", linewidth=0.8)
        axes.set(xlabel="meta-step", title=title)
        axes.set_ylim(0, max(100.0, axes.get_ylim()[1]))
        label_right(axes, marks)
    panels[0].set_ylabel("alignment angle (degrees)")
    several = any(len(stages) > 1 for stages, _ in sides)
    lines_said = (
        "one of them. Thick: their mean" if several else "the one there is. Thick: the same"
    )
    figure.suptitle(f"Thin: {lines_said}, smoothed. Dashed: 90°, no alignment.")
    return figure


def hall_figure(result: Result) -> Figure:
    """Loss against the number of terms: the hall of fame on images set aside.

    With intervals that hold for all of its rules together, and the loss on the search's images, by
    which they were compared. Lines are what else was evaluated.
    """
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.subplots()
    best = best_of_each_size(result.hall)
    others = [entry for entry in result.hall if entry not in best.values()]
    marks = []
    for key, (color, dashes) in DRAWN.items():
        entry = result.evaluation.get(key)
        if key != "rule" and entry is not None and entry.loss is not None:
            axes.axhline(entry.loss, color=color, linestyle=dashes, linewidth=1)
            marks.append((entry.loss, f"{in_words(key)} {significant(entry.loss)}", color))
    sizes = as_floats(best)
    axes.plot(
        sizes,
        as_floats(entry.loss for entry in best.values()),
        color=SKY,
        marker=".",
        linewidth=0.8,
        label="best of its size, on the search's images",
    )
    if others:
        axes.plot(
            as_floats(len(entry.support) for entry in others),
            as_floats(entry.loss for entry in others),
            linestyle="",
            marker="_",
            color=SKY,
            label="not told apart from it, or with other needs",
        )
    front = {size: e.evaluation for size, e in best.items() if e.evaluation is not None}
    losses = as_floats(entry.loss for entry in front.values())
    ends = [as_floats(entry.loss_interval[end] for entry in front.values()) for end in (0, 1)]
    axes.errorbar(
        as_floats(front),
        losses,
        yerr=(losses - ends[0], ends[1] - losses),
        color=BLUE,
        marker="o",
        markersize=3.5,
        capsize=2,
        label="best of its size, on images set aside",
    )
    chosen = next((entry for entry in result.hall if entry.chosen), None)
    if chosen is not None and chosen.evaluation is not None:
        axes.plot(
            [len(chosen.support)],
            as_floats([chosen.evaluation.loss]),
            linestyle="",
            marker="o",
            markersize=9,
            markerfacecolor="none",
            color=BLACK,
            label=f"chosen: {_named(chosen.support)}",
        )
    axes.set(xlabel="number of terms", ylabel=_loss_in(result))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.03)
    label_right(axes, marks)
    diverged = sum(entry.evaluation.diverged for entry in result.hall if entry.evaluation)
    lifetimes = sum(entry.evaluation.lifetimes for entry in result.hall if entry.evaluation)
    figure.suptitle(
        f"Hall of fame: 95 % intervals hold for all {looked_at(result.hall)} rules looked at; "
        f"{diverged:,} of {lifetimes:,} lifetimes set aside diverged."
    )
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    return figure


def _named(support: Sequence[str]) -> str:
    """A rule by its terms; a long one by their number."""
    return ", ".join(support) if len(support) <= MOST_NAMED else f"{len(support)} terms"
