"""The look of all figures: one width, one set of colours, vector files with the caption below."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.paper.claims import Values, bootstrap, mean
from benchmarks.paper.targets import Setting
from rulesearch.figures.look import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LAYERS,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    YELLOW,
)

#: Inches: two columns of a journal page, and a row of panels.
WIDTH, ROW = 7.0, 2.1
#: Inches: a line of the caption.
CAPTION_LINE = 0.135
CAPTION_CHARACTERS = 118

#: Rules look the same in every figure: colour, dashes.
RULES: Mapping[str, tuple[str, str]] = {
    "backprop": (VERMILLION, "--"),
    "feedback alignment": (GREEN, ":"),
    "pool": (BLACK, "-"),
    "eHebb": (BLUE, "-"),
    "Oja": (PURPLE, "-"),
    "bio": (ORANGE, "-"),
    "direct feedback alignment": (SKY, "-."),
    "sign-symmetric": (GREY, "-."),
}
#: Other names in the literature, and in this package, of the same rules.
SAME = {
    "BP": "backprop",
    "FA": "feedback alignment",
    "DFA": "direct feedback alignment",
    "bio rule": "bio",
    "backprop (BP)": "backprop",
    "feedback alignment (FA)": "feedback alignment",
}
#: For what has no colour of its own, such as the terms of a pool.
SERIES = (BLACK, VERMILLION, BLUE, GREEN, ORANGE, SKY, PURPLE, GREY, YELLOW)
DASHES = ("-", "--", ":", "-.")
#: Of the paper's pool; they look the same in every figure.
TERMS = tuple(f"F{number}" for number in range(10))

_SETTINGS: Any = {
    **STYLE,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.labelsize": 8,
    "svg.fonttype": "none",  # text stays text here too
    "svg.hashsalt": "rulesearch",  # names of elements that are the same at every run
}


@contextmanager
def look() -> Iterator[None]:
    """The settings of matplotlib for as long as a target is drawn, whatever a user's own are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def figure(
    rows: int, cols: int, *, height: float = ROW, **options: Any
) -> tuple[Figure, NDArray[np.object_]]:
    """A figure of panels; axes come as an array [rows, cols].

    Args:
        rows: of panels.
        cols: of panels.
        height: of a row, in inches.
        options: of `Figure.subplots`.
    """
    with look():
        made = Figure(figsize=(WIDTH, height * rows))
        axes: NDArray[np.object_] = made.subplots(rows, cols, squeeze=False, **options)
    return made, axes


def colour_of(name: str) -> str:
    """The colour of a rule, of `layer N`, of a term `F0` to `F9`, or one that the name chooses.

    A colour, such as #009E73, is its own.

    Example:
        >>> colour_of("BP") == colour_of("backprop"), colour_of("layer 1") == LAYERS[0]
        (True, True)
    """
    name = SAME.get(name, name)
    if name in RULES:
        return RULES[name][0]
    if name.startswith("#"):
        return name
    if name in TERMS:
        return series(TERMS.index(name))[0]
    kind, _, number = name.partition(" ")
    if kind == "layer" and number.isdigit():
        return LAYERS[(int(number) - 1) % len(LAYERS)]
    return SERIES[sum(map(ord, name)) % len(SERIES)]


def dashes_of(name: str) -> str:
    """The dashes of a rule or a term; those of anything else are solid."""
    if name in TERMS:
        return series(TERMS.index(name))[1]
    return RULES.get(SAME.get(name, name), ("", "-"))[1]


def series(place: int) -> tuple[str, str]:
    """Colour and dashes of the line at a place, from 0: no two of the first 36 are alike."""
    return SERIES[place % len(SERIES)], DASHES[place // len(SERIES) % len(DASHES)]


def band(
    axes: Axes,
    values: Values,
    label: str,
    colour: str | None = None,
    x: Sequence[float] | NDArray[np.generic] | None = None,
    *,
    dashes: str | None = None,
) -> None:
    """The mean over trials as a line, and its 98 % bootstrap interval as a band.

    Values that are not finite are left out of both; whoever draws them shows how many there are.

    Args:
        axes: where to.
        values: [trials, points].
        label: in the legend.
        colour: or a name that has one, see `colour_of`; that of the label if none is given.
        x: of the points; meta-steps from 1 if none are given.
        dashes: those of the name if none are given.
    """
    name = colour or label
    shade, line = colour_of(name), dashes or dashes_of(name)
    places = np.arange(1, values.shape[1] + 1) if x is None else np.asarray(x)
    axes.plot(places, mean(values), color=shade, linestyle=line, label=label)
    if len(values) > 1:
        low, high = bootstrap(values)
        axes.fill_between(places, low, high, color=shade, alpha=0.2, linewidth=0)


def smooth(values: Values, width: int = 10) -> Values:
    """Running mean over meta-steps, `width` of them and fewer at the ends, of finite values.

    A meta-step of the paper's protocol is one task a trial; 20 of them leave an accuracy that jumps
    by several percent from step to step.

    Args:
        values: [trials, meta-steps, ...].
        width: meta-steps.
    """
    steps = values.shape[1]
    finite = np.isfinite(values)
    total = np.cumsum(np.where(finite, values, 0.0), axis=1)
    count = np.cumsum(finite, axis=1)
    ends = np.minimum(np.arange(steps) + (width + 1) // 2, steps) - 1
    starts = np.arange(steps) - width // 2

    def within(sums: Values | NDArray[np.int64]) -> Values:
        before = np.where(
            (starts > 0).reshape(1, -1, *[1] * (values.ndim - 2)),
            sums[:, np.maximum(starts - 1, 0)],
            0,
        )
        return np.asarray(sums[:, ends] - before, dtype=np.float64)

    number = within(count)
    return np.where(number > 0, within(total) / np.maximum(number, 1), np.nan)


def save(
    made: Figure, setting: Setting, name: str, caption: str, *, below: str = ""
) -> tuple[Path, ...]:
    """Write `figures/NAME.svg` and `.pdf`, with the caption printed below; returns the files.

    The files have no date in them: the same numbers give the same file.

    Args:
        made: by `figure`.
        setting: says where to.
        name: of the files.
        caption: what was run.
        below: more of the caption.
    """
    setting.figures.mkdir(parents=True, exist_ok=True)
    lines = textwrap.wrap(f"{caption} {below}".strip(), CAPTION_CHARACTERS)
    with look():
        width, height = made.get_size_inches()
        room = CAPTION_LINE * len(lines) + 0.1
        made.set_size_inches(width, height + room)
        share = room / (height + room)
        layout: Any = made.get_layout_engine()
        layout.set(rect=(0, share, 1, 1 - share))
        made.text(0.01, share - 0.06 / (height + room), "\n".join(lines), va="top", fontsize=7)
        files = []
        for kind, metadata in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
            path = setting.figures / f"{name}.{kind}"
            made.savefig(path, metadata=metadata)
            files.append(path)
    return tuple(files)
