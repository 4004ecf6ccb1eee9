"""The figures of a run: accuracy, coefficients and alignment over meta-steps, the hall of fame.

Each is a matplotlib `Figure` made without pyplot, so that no window, backend, or setting of the
caller's is touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from rulesearch.result import Result, best_of_each_size, looked_at
from rulesearch.words import in_words, significant

Row: TypeAlias = Mapping[str, Any]  # one meta-step of history.jsonl
Series: TypeAlias = NDArray[np.float64]

# Okabe & Ito, "Color universal design" (2008): told apart by colour-blind readers and in grey.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#8C8C8C"
LAYERS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)

# How each rule of the final evaluation is drawn: colour, dashes.
DRAWN = {
    "rule": (BLACK, "-"),
    "backprop_sgd": (VERMILLION, "--"),
    "backprop_adam": (PURPLE, "-."),
    "feedback_alignment": (GREEN, ":"),
}

STYLE: Any = {  # matplotlib's own type for the names of settings is private
    "font.size": 8,
    "axes.titlesize": 8,
    "figure.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.xmargin": 0.01,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text
    "figure.constrained_layout.use": True,
}
WIDTH = 6.8  # inches: two columns of a journal page
LABEL_HEIGHT = 0.08  # of a panel: ten points in the 1.7 inches of the lowest panel with labels
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
        if _observed(trials) or _observed(refits):
            made["alignment"] = alignment_figure(trials, refits)
        if result.hall:
            made["hall_of_fame"] = hall_figure(result)
        for figure in made.values():
            # Laid out once, for all files and the page: a second time would move it a little, and
            # takes longer than drawing.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
    return made


def write(made: Mapping[str, Figure], directory: Path) -> list[Path]:
    """Write figures as PDF and PNG into a directory, which is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with style():
        for name, figure in made.items():
            for kind, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
                path = directory / f"{name}.{kind}"
                figure.savefig(path, metadata=metadata)  # without a date: same run, same file
                written.append(path)
    return written


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures, for as long as they are drawn."""
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a user's own matplotlibrc says
        mpl.rcParams.update(STYLE)
        yield


def by_stage(history: Iterable[Row], begins: str) -> dict[str, list[Row]]:
    """The rows of the stages whose names begin so, by stage, each in the order of its steps.

    Steps are counted on where a stage goes on in other units, `trial 0, on 1`, which is the end of
    the first; and from round to round, whose names stand before the stage's, `round 1/trial 0`.
    """
    rounds: dict[str, dict[str, dict[int, list[Row]]]] = {}
    for row in history:
        stage, _, again = row["stage"].partition(", on ")
        whose, _, own = stage.rpartition("/")
        if own.startswith(begins):
            parts = rounds.setdefault(whose, {}).setdefault(stage, {})
            parts.setdefault(int(again or 0), []).append(row)
    behind = 0
    stages: dict[str, list[Row]] = {}
    for each in rounds.values():
        found = {stage: [*_counted_on(parts, behind)] for stage, parts in each.items()}
        stages |= found
        behind = _end(found)
    return stages


def _counted_on(parts: Mapping[int, Sequence[Row]], behind: int) -> Iterator[Row]:
    for number in sorted(parts):
        rows = sorted(parts[number], key=lambda row: int(row["step"]))
        yield from ({**row, "step": behind + int(row["step"])} for row in rows)
        behind += int(rows[-1]["step"])


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
        lines = [(_steps(rows), _values(rows, name)) for rows in trials.values()]
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
            axes.plot(*_smooth(*_mean(lines)), color=BLUE, label=mean)
        axes.set_ylabel(label)
        axes.set_ylim(0, top)
        _label_right(axes, marks)
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
    begin, end = _end(trials), _end(trials) + _end(refits)
    for axes, name in zip(panels, names, strict=False):
        inside = name in result.support
        theta, interval = result.theta.get(name), result.theta_interval.get(name)
        for stages, shift, color in ((trials, 0, SKY), (refits, begin, BLUE)):
            for rows_of in stages.values():
                values = _floats((row.get("theta") or {}).get(name, 0.0) for row in rows_of)
                shown = color if inside else GREY
                axes.plot(_steps(rows_of) + shift, values, color=shown, linewidth=0.8)
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
        if _observed(stages)
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
                lines.append((_steps(observed), _floats(row["angles"][layer] for row in observed)))
            for line in lines:
                axes.plot(*line, color=color, linewidth=0.5, alpha=0.35)
            steps, mean = _smooth(*_mean(lines))
            axes.plot(steps, mean, color=color)
            if mean.size and np.isfinite(mean[-1]):
                marks.append((float(mean[-1]), f"layer {layer + 1}", color))
        axes.axhline(90, color=BLACK, linestyle="--", linewidth=0.8)
        axes.set(xlabel="meta-step", title=title)
        axes.set_ylim(0, max(100.0, axes.get_ylim()[1]))
        _label_right(axes, marks)
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
    sizes = _floats(best)
    axes.plot(
        sizes,
        _floats(entry.loss for entry in best.values()),
        color=SKY,
        marker=".",
        linewidth=0.8,
        label="best of its size, on the search's images",
    )
    if others:
        axes.plot(
            _floats(len(entry.support) for entry in others),
            _floats(entry.loss for entry in others),
            linestyle="",
            marker="_",
            color=SKY,
            label="not told apart from it, or with other needs",
        )
    front = {size: e.evaluation for size, e in best.items() if e.evaluation is not None}
    losses = _floats(entry.loss for entry in front.values())
    ends = [_floats(entry.loss_interval[end] for entry in front.values()) for end in (0, 1)]
    axes.errorbar(
        _floats(front),
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
            _floats([chosen.evaluation.loss]),
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
    _label_right(axes, marks)
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


def _observed(stages: Mapping[str, Sequence[Row]]) -> bool:
    return any(row.get("angles") for rows in stages.values() for row in rows)


def _end(stages: Mapping[str, Sequence[Row]]) -> int:
    """The last meta-step of any of these."""
    return max((int(row["step"]) for rows in stages.values() for row in rows), default=0)


# Series ------------------------------------------------------------------------------------------


def _floats(values: Iterable[float | None]) -> Series:
    """Numbers of the history, where None is one that was not finite."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _steps(rows: Sequence[Row]) -> Series:
    return _floats(row["step"] for row in rows)


def _values(rows: Sequence[Row], name: str) -> Series:
    return _floats(row.get(name) for row in rows)


def _mean(lines: Sequence[tuple[Series, Series]]) -> tuple[Series, Series]:
    """At each step, the mean over those trials that have a finite value there."""
    steps = np.concatenate([line[0] for line in lines])
    values = np.concatenate([line[1] for line in lines])
    finite = np.isfinite(values)
    unique, where = np.unique(steps[finite], return_inverse=True)
    return unique, np.bincount(where, values[finite]) / np.bincount(where)


def _smooth(steps: Series, values: Series) -> tuple[Series, Series]:
    """A centred running mean over a twentieth of the steps, narrower at the ends."""
    half = len(values) // 40
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(half, np.minimum(index, len(values) - 1 - index))
    return steps, (total[index + reach + 1] - total[index - reach]) / (2 * reach + 1)


# Labels ------------------------------------------------------------------------------------------


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Move values apart until neighbours are `gap` from each other, and no further than needed.

    Example:
        >>> spread([0.70, 0.69, 0.2], gap=0.1)
        [0.745, 0.645, 0.2]
    """
    order = np.argsort(values, kind="stable")
    groups: list[list[int]] = []
    centres: list[float] = []
    for index in order:
        groups.append([int(index)])
        centres.append(float(values[index]))
        while len(groups) > 1 and centres[-1] - centres[-2] < (
            gap * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            merged = groups.pop()
            centres.pop()
            groups[-1] += merged
            centres[-1] = float(np.mean([values[member] for member in groups[-1]]))
    places = [0.0] * len(values)
    for members, centre in zip(groups, centres, strict=True):
        for rank, member in enumerate(members):
            places[member] = round(centre + gap * (rank - (len(members) - 1) / 2), 12)
    return places


def _label_right(axes: Axes, marks: Sequence[tuple[float, str, str]]) -> None:
    """Name values at the right edge, apart from each other; each is (value, text, colour)."""
    low, high = axes.get_ylim()
    places = spread([value for value, _, _ in marks], gap=(high - low) * LABEL_HEIGHT)
    for (value, text, color), place in zip(marks, places, strict=True):
        axes.annotate(
            text,
            (1, value),
            xytext=(1.01, place),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            color=color,
            verticalalignment="center",
            annotation_clip=False,
        )
