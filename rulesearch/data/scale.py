"""Mapping inputs to [0, 1], for which the error of the input layer is defined."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Float64, Num

from rulesearch.errors import RuleSearchError

#: The values that become 0 and 1.
Range: TypeAlias = tuple[float, float]


def range_of(x: Num[np.ndarray, "examples inputs"]) -> Range:
    """The smallest and the largest input."""
    return float(x.min()), float(x.max())


def refuse_range(given: Range) -> None:
    """Raise for what is no range.

    Raises:
        RuleSearchError: numbers that are not finite, or not in order.
    """
    least, most = given
    if not (math.isfinite(least) and math.isfinite(most) and least < most):
        raise RuleSearchError(
            f"scale ({least:g}, {most:g}): give two finite numbers, the smaller one first"
        )


def mapped(
    x: Float64[np.ndarray, "examples inputs"], to_ends: Range
) -> tuple[Float32[np.ndarray, "examples inputs"], int]:
    """Inputs mapped to [0, 1], and how many lay beyond the range and became 0 or 1.

    One line for all inputs, so that pixels stay comparable.

    Example:
        >>> mapped(np.array([[0.0, 51.0, 300.0]]), (0.0, 255.0))
        (array([[0. , 0.2, 1. ]], dtype=float32), 1)
    """
    least, most = to_ends
    beyond = int(((x < least) | (x > most)).sum())
    # The range of finite numbers may not be finite; that of their halves is.
    part = 2 if most - least == math.inf else 1
    share = (np.clip(x, least, most) / part - least / part) / (most / part - least / part)
    return share.astype(np.float32), beyond
