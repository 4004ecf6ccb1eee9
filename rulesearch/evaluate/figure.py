"""Figures of an evaluation: curves over what is a number, and a map of all scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rulesearch.evaluate.options import Scenario
from rulesearch.evaluate.table import Entry, Evaluated, axis_value
from rulesearch.figures.look import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDTH,
    style,
    write,
)

#: Axes that curves may run along, the first that varies last.
ALONG = (
    "steps",
    "shots",
    "ways",
    "queries",
    "noise",
    "feedback_noise",
    "label_noise",
    "image_noise",
)
RULES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
#: How rivals are drawn, in their order.
DASHES = (
    "-",
    "--",
    "-.",
    ":",
    (0, (1, 1)),
    (0, (5, 1)),
    (0, (3, 1, 1, 1)),
    (0, (1, 3)),
    (0, (5, 4)),
)


def draw(found: Evaluated, folder: Path) -> list[Path]:
    """Draw `curves`, where an axis that is a number has several values, and `map`; PNG and SVG.

    Returns:
        The files written.
    """
    with style():
        figures = {"map": map_figure(found)}
        if any(axis in found.varied for axis in ALONG):
            figures["curves"] = curves_figure(found)
    return write(figures, folder, kinds=("svg", "png"))


def map_figure(found: Evaluated) -> Figure:
    """Accuracy by contestant and scenario, as colour and number."""
    situations = found.situations
    names = list(dict.fromkeys(entry.shown for entry in found.entries))
    at = {(entry.shown, entry.situation): entry for entry in found.entries}
    figure = Figure(figsize=(3.0 + 0.42 * len(names), 2.6 + 0.17 * len(situations)))
    axes = figure.subplots()
    nan = float("nan")
    rows = [
        [
            found.summaries[entry].accuracy if (entry := at.get((name, situation))) else nan
            for name in names
        ]
        for situation in situations
    ]
    image = axes.imshow(rows, aspect="auto", cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), [*map(_as_is, names)], rotation=45, ha="right")
    axes.set_yticks(
        range(len(situations)), [_row_label(found, situation) for situation in situations]
    )
    for row, situation in enumerate(situations):
        for column, name in enumerate(names):
            if entry := at.get((name, situation)):
                summary = found.summaries[entry]
                text = f"{summary.accuracy:.2f}" + ("·" if summary.diverged else "")
                color = "white" if summary.accuracy < 0.55 else "black"
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=5)
    figure.colorbar(image, ax=axes, label="accuracy", shrink=0.6)
    axes.set_ylabel(", ".join(found.varied))
    axes.set_title(f"Accuracy; · some of {found.asked.lifetimes} lifetimes diverged", loc="left")
    return figure


def curves_figure(found: Evaluated) -> Figure:
    """Accuracy with 95 % intervals along one axis, a panel for each combination of the others."""
    along = next(axis for axis in ALONG if axis in found.varied)
    others = [axis for axis in found.varied if axis != along]
    panels: dict[tuple[str, ...], list[Entry]] = {}
    for entry in found.entries:
        label = tuple(_named(axis, axis_value(entry.scenario, axis)) for axis in others)
        panels.setdefault(label, []).append(entry)
    heads = list(dict.fromkeys(label[:1] for label in panels))
    tails = list(dict.fromkeys(label[1:] for label in panels))
    wide = max(WIDTH, 1.0 + 1.7 * len(heads))
    figure = Figure(figsize=(wide, 1.8 + max(2.2, 1.3 * len(tails))))
    grid = figure.subplots(len(tails), len(heads), squeeze=False, sharex=True, sharey=True)
    for number, tail in enumerate(tails):
        for column, head in enumerate(heads):
            axes = grid[number][column]
            _curves(axes, found, panels.get((*head, *tail), []), along)
            if number == 0:
                axes.set_title(" ".join(head))
            if column == len(heads) - 1 and any(tail):
                axes.annotate(
                    " ".join(tail),
                    (1.02, 0.5),
                    xycoords="axes fraction",
                    rotation=-90,
                    va="center",
                    fontsize=6,
                )
    for axes in grid[-1]:
        axes.set_xlabel(along.replace("_", " "))
    for row in grid:
        row[0].set_ylabel("accuracy")
    handles, labels = grid[0][0].get_legend_handles_labels()
    columns = max(2, int(figure.get_figwidth() / 2.2))
    figure.legend(
        handles, labels, frameon=False, loc="outside lower center", ncols=columns, fontsize=7
    )
    figure.suptitle(
        f"Mean accuracy of {found.asked.lifetimes} lifetimes on images that no search used; of "
        "rules with its 95 % interval",
        fontsize=7,
    )
    return figure


def _curves(axes: Axes, found: Evaluated, entries: Sequence[Entry], along: str) -> None:
    names = list(dict.fromkeys(entry.shown for entry in entries))
    rules = [rule.name for rule in found.rules]
    others = [name for name in names if name not in rules]
    for name in names:
        own = [entry for entry in entries if entry.shown == name]
        points = sorted(
            ((_number(entry, along), found.summaries[entry]) for entry in own),
            key=lambda point: point[0],
        )
        x = [situation for situation, _ in points]
        y = [summary.accuracy for _, summary in points]
        if name in rules:
            color = RULES[rules.index(name) % len(RULES)]
            low = [summary.accuracy_interval[0] for _, summary in points]
            high = [summary.accuracy_interval[1] for _, summary in points]
            axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
            axes.plot(x, y, color=color, marker=".", linewidth=1.4, label=_as_is(name), zorder=3)
        else:
            dashes = DASHES[others.index(name) % len(DASHES)]
            color = BLACK if name.startswith("backprop") else GREY
            axes.plot(x, y, color=color, linestyle=dashes, linewidth=0.8, label=_as_is(name))
    axes.set_ylim(0, 1)
    if along in ("steps", "shots") and entries and min(_number(e, along) for e in entries) > 0:
        axes.set_xscale("log")
        ticks = sorted({_number(entry, along) for entry in entries})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()


def _as_is(name: str) -> str:
    """A name that Matplotlib does not take for mathematics."""
    return name.replace("$", r"\$")


def _named(axis: str, value: object) -> str:
    return str(value) if axis == "dataset" else f"{axis.replace('_', ' ')} {value}"


def _number(entry: Entry, along: str) -> float:
    value = entry.steps if along == "steps" else getattr(entry.scenario, along)
    return float(value or 0)


def _row_label(found: Evaluated, situation: tuple[Scenario, int]) -> str:
    values = [
        str(situation[1] if axis == "steps" else axis_value(situation[0], axis))
        for axis in found.varied
    ]
    return ", ".join(values) or str(axis_value(situation[0], "dataset"))
