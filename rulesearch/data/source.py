"""A data set as it is stored, before it is divided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Num


@dataclass(frozen=True, eq=False)
class Examples:
    """A split as it is stored: x [examples, inputs], y [examples]; `x / unit` is the input."""

    x: Num[np.ndarray, "examples inputs"]
    y: Int64[np.ndarray, " examples"]
    unit: float


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
