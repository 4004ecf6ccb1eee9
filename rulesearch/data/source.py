"""A data set as it is stored, before it is divided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Float64, Int64, Num

Rows: TypeAlias = Int64[np.ndarray, " rows"] | slice
EVERY = slice(None)


@dataclass(frozen=True, eq=False)
class Examples:
    """A split as it is stored: x [examples, inputs], y [examples]; `x / unit` is the input."""

    x: Num[np.ndarray, "examples inputs"]
    y: Int64[np.ndarray, " examples"]
    unit: float

    def inputs(self, rows: Rows = EVERY) -> Float32[np.ndarray, "rows inputs"]:
        """As the network sees them, rounded once."""
        rounded: Float32[np.ndarray, "rows inputs"]
        rounded = np.divide(self.x[rows], self.unit, dtype=np.float32)
        return rounded

    def exact_inputs(self, rows: Rows = EVERY) -> Float64[np.ndarray, "rows inputs"]:
        """For a map that comes before they are rounded."""
        exact: Float64[np.ndarray, "rows inputs"]
        exact = np.divide(self.x[rows], self.unit, dtype=np.float64)
        return exact


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before it is divided.

    Attributes:
        name: as it was asked for.
        classes: its number of classes; every label is below it.
        train: the training split, or all there is; never empty.
        test: its own test split, never empty and with the same inputs, or None.
    """

    name: str
    classes: int
    train: Examples
    test: Examples | None
