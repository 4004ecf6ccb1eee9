"""The history of a run as lines: steps and values of each stage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Row: TypeAlias = Mapping[str, Any]  # one meta-step of history.jsonl
Series: TypeAlias = NDArray[np.float64]


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
        behind = last_step(found)
    return stages


def _counted_on(parts: Mapping[int, Sequence[Row]], behind: int) -> Iterator[Row]:
    for number in sorted(parts):
        rows = sorted(parts[number], key=lambda row: int(row["step"]))
        yield from ({**row, "step": behind + int(row["step"])} for row in rows)
        behind += int(rows[-1]["step"])


def observes_angles(stages: Mapping[str, Sequence[Row]]) -> bool:
    """Whether angles were looked at in any of these."""
    return any(row.get("angles") for rows in stages.values() for row in rows)


def last_step(stages: Mapping[str, Sequence[Row]]) -> int:
    """The last meta-step of any of these."""
    return max((int(row["step"]) for rows in stages.values() for row in rows), default=0)


def as_floats(values: Iterable[float | None]) -> Series:
    """Numbers of the history, where None is one that was not finite."""
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def steps_of(rows: Sequence[Row]) -> Series:
    """Their meta-steps."""
    return as_floats(row["step"] for row in rows)


def values_of(rows: Sequence[Row], name: str) -> Series:
    """Their values of this name, NaN where a row has none."""
    return as_floats(row.get(name) for row in rows)


def mean_of(lines: Sequence[tuple[Series, Series]]) -> tuple[Series, Series]:
    """At each step, the mean over those trials that have a finite value there."""
    steps = np.concatenate([line[0] for line in lines])
    values = np.concatenate([line[1] for line in lines])
    finite = np.isfinite(values)
    unique, where = np.unique(steps[finite], return_inverse=True)
    return unique, np.bincount(where, values[finite]) / np.bincount(where)


def smoothed(steps: Series, values: Series) -> tuple[Series, Series]:
    """A centred running mean over a twentieth of the steps, narrower at the ends."""
    half = len(values) // 40
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(half, np.minimum(index, len(values) - 1 - index))
    return steps, (total[index + reach + 1] - total[index - reach]) / (2 * reach + 1)
