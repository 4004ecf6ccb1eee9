"""The values of terms in random layers: which are finite nowhere, and which seem to be no use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.linalg
import sympy
from numpy.typing import NDArray
from sympy import Expr

from rulesearch.notation.dependence import MOST_NAMED, equation, named
from rulesearch.operators import NeuronSum, spell, without_definitions

#: Post- and pre-neurons of the layers tried: more than one, or a factor n_pre would be a number.
LAYERS = ((5, 4), (4, 7), (3, 5), (6, 3), (2, 6), (7, 2))
#: The layers in which a term must be finite somewhere, and how often each is drawn: as wide as a
#: small network's, so that what is drawn with both signs has both in every layer.
WIDE, DRAWS = ((12, 13), (13, 12)), 16
#: Numerical rank: what is left of a column is zero below this share of the largest.
RANK = 1e-9
#: What stands in front of a term in a dependence is zero below this share of the largest.
WEIGHT = 1e-7


def values_of(expression: Expr, quantities: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The value of an expression in one layer, in NumPy.

    Args:
        expression: over local quantities.
        quantities: by name, each broadcastable to [..., post, pre]: `y_pre` [..., 1, pre],
            `y_post` [..., post, 1], `W` [..., post, pre], `L` [..., 1, 1]; `n_pre` and `n_post`
            follow from W.

    Returns:
        An array that broadcasts to [..., post, pre]; not finite outside an operator's domain.
    """
    post, pre = quantities["W"].shape[-2:]
    names: dict[str, Any] = {"n_pre": float(pre), "n_post": float(post), **quantities}

    def sums_named(part: Expr) -> Expr:
        if not part.args:
            return part
        inner = [sums_named(a) for a in part.args]
        if not isinstance(part, NeuronSum):
            return part.func(*inner)
        spread, axis = (np.empty((1, pre)), -1) if part.axis == "pre" else (np.empty((post, 1)), -2)
        summand = np.broadcast_arrays(evaluated(inner[0]), spread)[0]
        name = f"sum_{len(names)}"
        names[name] = summand.sum(axis=axis, keepdims=True)
        return sympy.Symbol(name, real=True)

    def evaluated(flat: Expr) -> NDArray[np.float64]:
        source = spell(flat, "numpy")
        with np.errstate(all="ignore"):
            value = eval(source, {"numpy": np, "math": math}, names)  # our own printer's text
        return np.asarray(value, dtype=np.float64)

    return evaluated(sums_named(without_definitions(expression)))


@lru_cache(maxsize=4_096)
def finite_somewhere(expression: Expr) -> bool:
    """Whether an expression has a finite value at any synapse of the layers tried.

    Quantities are drawn zero, small, of order one and up to 6, of both signs.
    """
    rng = np.random.default_rng(20230208)
    for post, pre in WIDE:
        layer = {**_usual(rng, DRAWS, post, pre), **_unusual(rng, DRAWS, post, pre)}
        for values in (_usual(rng, DRAWS, post, pre), layer):
            if np.isfinite(_value(expression, values)).any():
                return True
    return False


def notes(groups: Mapping[str, Mapping[str, Expr]]) -> Iterator[str]:
    """What the values of terms that meet say of those that may add nothing, a line each.

    One pivoted QR finds all dependences at once. Layers are drawn as a network has them, and with
    exact zeros, small, large and negative values; where the terms of a dependence are finite at
    more points than all terms are, it must hold there as well.

    Args:
        groups: where terms meet, as in " in layer 2" ("" for everywhere) -> name -> expression.
    """
    said: set[str | frozenset[str]] = set()
    for place, group in groups.items():
        names = list(group)
        columns = _columns(list(group.values()))
        largest = np.nanmax(np.where(np.isfinite(columns), np.abs(columns), 0.0), axis=0)
        for i in np.flatnonzero(largest == 0):
            if (line := f"term {names[i]}: was zero wherever tried") not in said:
                said.add(line)
                yield line
        live = np.flatnonzero(largest > 0)
        for weights in _null_vectors(columns[:, live]):
            used = {names[live[i]]: w for i, w in weights.items()}
            line = _note(used, place)
            if (key := frozenset(used)) not in said:
                said.add(key)
                yield line


def _note(weights: Mapping[str, float], place: str) -> str:
    """The dependence, solved for its last term."""
    *others, last = weights
    right = {name: -weights[name] / weights[last] for name in others}
    what = f"{last} = {equation(right)}"
    if len(right) >= MOST_NAMED:
        what = f"it was a sum of {named(others)}"
    return f"term {last}: may add nothing to the pool{place}; wherever tried, {what}"


def _null_vectors(columns: NDArray[np.float64]) -> Iterator[dict[int, float]]:
    """Place -> weight of the terms of each dependence among columns of values."""
    for weights in _spanned(columns):
        used = sorted(weights)
        # Where others are not finite these may be, and differ.
        again = _spanned(columns[:, used])
        if len(again) == 1:
            yield {used[i]: weight for i, weight in sorted(again[0].items())}


def _spanned(columns: NDArray[np.float64]) -> list[dict[int, float]]:
    """For each column that others span at all points where all are finite, the null vector."""
    values = columns[np.isfinite(columns).all(axis=1)]
    # Rows and columns to one size: what differs at small values only differs as much.
    values = values[(values != 0).any(axis=1)]
    values = values / np.abs(values).max(axis=1, keepdims=True, initial=0.0)
    points, terms = values.shape
    if not terms or points < 4 * terms:
        return []
    scale = np.linalg.norm(values, axis=0)
    if not scale.all():
        return []
    triangle, order = scipy.linalg.qr(values / scale, mode="r", pivoting=True)
    sizes = np.abs(np.diagonal(triangle))
    rank = int((sizes > RANK * sizes[0]).sum())
    basis = scipy.linalg.solve_triangular(triangle[:rank, :rank], triangle[:rank, rank:])
    found = []
    for place, right in zip(order[rank:], basis.T, strict=True):
        strong = [(int(i), float(w)) for i, w in zip(order, right, strict=False) if abs(w) > WEIGHT]
        weights = {i: w / float(scale[i]) for i, w in strong}
        found.append({**weights, int(place): -1.0 / float(scale[place])})
    return found


def _columns(expressions: Sequence[Expr]) -> NDArray[np.float64]:
    """Values in all layers, [points, terms].

    A layer-wide sum has one value a draw, so there are more draws than terms, and with them far
    more points than four times the terms.
    """
    rng = np.random.default_rng(20230208)
    draws = math.ceil((len(expressions) + 4) / len(LAYERS)) + 1
    blocks = []
    for post, pre in LAYERS:
        for layer in (_usual(rng, draws, post, pre), _unusual(rng, draws, post, pre)):
            blocks.append(np.stack([_value(e, layer).ravel() for e in expressions], axis=1))
    return np.concatenate(blocks)


def _value(expression: Expr, layer: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    return np.broadcast_to(values_of(expression, layer), layer["W"].shape)


# --- layers -----------------------------------------------------------------------------------


def _shapes(draws: int, post: int, pre: int) -> dict[str, tuple[int, int, int]]:
    shapes = {"W": (draws, post, pre), "L": (draws, 1, 1)}
    for name in ("y", "e", "z"):
        shapes |= {f"{name}_pre": (draws, 1, pre), f"{name}_post": (draws, post, 1)}
    return shapes


def _usual(rng: np.random.Generator, draws: int, post: int, pre: int) -> dict[str, NDArray[Any]]:
    """Free values of order one, activities above 0, and z_post as it must be."""
    layer = {
        name: rng.uniform(0.1, 1.5, shape) if name[0] in "yL" else rng.normal(size=shape)
        for name, shape in _shapes(draws, post, pre).items()
    }
    return _with_potential(layer)


def _unusual(rng: np.random.Generator, draws: int, post: int, pre: int) -> dict[str, NDArray[Any]]:
    """Exact zeros, small values and some up to 6, of both signs, beside each other in a layer."""
    sizes = np.array([0.0, 0.01, 0.3, 1.0, 4.0])
    layer = {
        name: rng.choice(sizes, shape) * rng.uniform(-1.5, 1.5, size=shape)
        for name, shape in _shapes(draws, post, pre).items()
    }
    layer["L"] = np.abs(layer["L"]) * 2
    return _with_potential(layer)


def _with_potential(layer: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {**layer, "z_post": layer["W"] @ layer["y_pre"].swapaxes(-1, -2)}
