"""Layers whose quantities are drawn at random, for terms to be tried in."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[Any]
#: Quantity -> its values in one layer, [draws, posts, pres], with 1 for an axis that it lacks.
Layer: TypeAlias = dict[str, Values]

#: The largest magnitude at which a term may be finite. With inputs in [0, 1] few quantities of a
#: network that learns are larger, and a rule diverges if one neuron alone gives it no number.
LARGEST = 6.0
MOST_NEURONS = 1_000
#: The largest at which terms may differ.
HUGE = 1_000.0


def _shapes(draws: int, post: int, pre: int) -> dict[str, tuple[int, int, int]]:
    shapes = {"W": (draws, post, pre), "L": (draws, 1, 1)}
    for name in ("y", "e", "z"):
        shapes |= {f"{name}_pre": (draws, 1, pre), f"{name}_post": (draws, post, 1)}
    return {
        **shapes,
        "B": (draws, post, pre),
        "b_post": (draws, post, 1),
        "xi_post": (draws, post, 1),
    }


def usual(rng: np.random.Generator, draws: int, post: int, pre: int) -> Layer:
    """Free values of order one, activities above 0, and z_post as it must be."""
    layer = {
        name: rng.uniform(0.1, 1.5, shape) if name[0] in "yL" else rng.normal(size=shape)
        for name, shape in _shapes(draws, post, pre).items()
    }
    return with_potential(layer)


def unusual(rng: np.random.Generator, draws: int, post: int, pre: int) -> Layer:
    """Exact zeros, small values and some up to LARGEST, of both signs, side by side in a layer."""
    return _of_sizes(rng, np.array([0.0, 0.01, 0.3, 1.0, LARGEST / 1.5]), draws, post, pre)


def large(rng: np.random.Generator, draws: int, post: int, pre: int) -> Layer:
    """Values as of order one and up to HUGE, of both signs, side by side in a layer."""
    return _of_sizes(rng, np.geomspace(1.0, HUGE / 1.5, 4), draws, post, pre)


def _of_sizes(rng: np.random.Generator, sizes: Values, draws: int, post: int, pre: int) -> Layer:
    layer = {
        name: rng.choice(sizes, shape) * rng.uniform(-1.5, 1.5, size=shape)
        for name, shape in _shapes(draws, post, pre).items()
    }
    layer["L"] = np.abs(layer["L"]) * 2
    return with_potential(layer)


def sizes_of_layers(rng: np.random.Generator, draws: int) -> Values:
    """Numbers of neurons, [draws, 1, 1], from 2 to MOST_NEURONS."""
    return np.rint(np.exp(rng.uniform(math.log(2), math.log(MOST_NEURONS), (draws, 1, 1))))


def with_potential(layer: Layer) -> Layer:
    """The layer with z_post as its weights and activities have it."""
    return {**layer, "z_post": layer["W"] @ layer["y_pre"].swapaxes(-1, -2)}


#: How values are drawn.
KINDS = (usual, unusual, large)
