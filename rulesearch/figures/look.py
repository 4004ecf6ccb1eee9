"""The look of all figures: colours, labels, files.

Each is a matplotlib `Figure` made without pyplot, so that no window, backend, or setting of the
caller's is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


#: What a file of each kind says of when and by what it was made: same numbers, same file.
UNDATED: Mapping[str, Any] = {
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
    "svg": {"Date": None},
}


def write(
    made: Mapping[str, Figure], directory: Path, kinds: Sequence[str] = ("pdf", "png")
) -> list[Path]:
    """Write figures into a directory, which is made if it is not there.

    Args:
        made: the figures by name.
        directory: of the files.
        kinds: of these, `pdf`, `png`, `svg`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with style():
        for name, figure in made.items():
            for kind in kinds:
                path = directory / f"{name}.{kind}"
                figure.savefig(path, metadata=UNDATED[kind])
                written.append(path)
    return written


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures, for as long as they are drawn."""
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a user's own matplotlibrc says
        mpl.rcParams.update(STYLE)
        yield


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


def label_right(axes: Axes, marks: Sequence[tuple[float, str, str]]) -> None:
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
