"""Numbers as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper.claims import Values, bootstrap, mean
from benchmarks.paper.targets import Setting

Column = Sequence[object] | NDArray[np.generic]


def write_csv(setting: Setting, name: str, columns: Mapping[str, Column]) -> Path:
    """Write `tables/NAME.csv`, a column for each entry; returns the file.

    Floats are written in full, so that the file holds what the arrays do. What is None is empty.

    Raises:
        ValueError: columns of different length.
    """
    path = setting.tables / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(*(_plain(column) for column in columns.values()), strict=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def _plain(column: Column) -> list[object]:
    """As Python's own numbers, whose text reads back to the same number."""
    if isinstance(column, np.ndarray):
        return list(column.tolist())
    return [value.item() if isinstance(value, np.generic) else value for value in column]


def over_meta_steps(courses: Mapping[str, Values]) -> dict[str, Column]:
    """Columns of a table over meta-steps: mean over trials and ends of its interval.

    Args:
        courses: name -> [trials, meta-steps], all of the same length.
    """
    steps = next(iter(courses.values())).shape[1]
    columns: dict[str, Column] = {"meta_step": np.arange(1, steps + 1)}
    for name, values in courses.items():
        low, high = bootstrap(values)
        columns |= {name: mean(values), f"{name}_low": low, f"{name}_high": high}
    return columns
