"""The values of terms in random layers, and what they say of terms that add nothing to others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Expr

from rulesearch.operators import NeuronSum, spell, without_definitions

#: Post- and pre-neurons of the layers tried: more than one, or a factor n_pre would be a number.
LAYERS = ((5, 4), (4, 7), (3, 5), (6, 3), (2, 6), (7, 2))
#: Numerical rank: singular values below this share of the largest are zero.
RANK = 1e-9


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


def first_dependence(
    groups: Mapping[str, Mapping[str, Expr]], known: Iterable[Mapping[str, Expr]] = ()
) -> str | None:
    """The first linear dependence among terms that meet in a layer, as an equation, or None.

    Args:
        groups: where terms meet, as in " in layer 2" ("" for everywhere) -> name -> expression.
        known: groups that are independent, so that what lies within one of them is too.
    """
    independent = [frozenset(group.values()) for group in known]
    for place, group in groups.items():
        expressions = frozenset(group.values())
        twice = len(expressions) < len(group)
        if not twice and any(expressions <= larger for larger in independent):
            continue
        if fault := dependence(list(group), list(group.values()), place):
            return fault
        independent.append(expressions)
    return None


def dependence(names: Sequence[str], expressions: Sequence[Expr], place: str = "") -> str | None:
    """The first linear dependence among the values of terms, as an equation, or None.

    A layer-wide sum has one value a draw, so there are more draws than terms, and with them far
    more points than four times the terms. A term that is finite nowhere at random points is left
    to the data. `place` is for the message, as in " in layer 2".
    """
    columns = _columns(expressions)
    tried = np.flatnonzero(np.isfinite(columns).any(axis=0))
    values = columns[:, tried]
    values = values[np.isfinite(values).all(axis=1)]
    names = [names[int(i)] for i in tried]
    if len(values) < 4 * len(names):
        return None
    largest = np.abs(values).max(axis=0)
    if not largest.all():
        return f"term {names[int(np.argmin(largest))]}: is zero wherever tried; leave it out"
    scale = largest * np.linalg.norm(values / largest, axis=0)  # squares might overflow
    scaled = values / scale
    if _null_vector(scaled) is None:
        return None
    for last in range(1, len(names)):
        null = _null_vector(scaled[:, : last + 1])
        if null is not None:
            return _equation(names[: last + 1], null, scale[: last + 1], place)
    return None


def _columns(expressions: Sequence[Expr]) -> NDArray[np.float64]:
    """Values in all layers, [points, terms]."""
    rng = np.random.default_rng(20230208)
    draws = math.ceil((len(expressions) + 4) / len(LAYERS)) + 1
    blocks = []
    for post, pre in LAYERS:
        layer = _random_layer(rng, draws, post, pre)
        columns = [
            np.broadcast_to(values_of(e, layer), (draws, post, pre)).ravel() for e in expressions
        ]
        blocks.append(np.stack(columns, axis=1))
    return np.concatenate(blocks)


def _random_layer(
    rng: np.random.Generator, draws: int, post: int, pre: int
) -> dict[str, NDArray[Any]]:
    """Free values, activities not below 0, and z_post as it must be."""
    layer: dict[str, NDArray[Any]] = {
        "W": rng.normal(size=(draws, post, pre)),
        "y_pre": rng.uniform(0.1, 1.5, size=(draws, 1, pre)),
        "e_pre": rng.normal(size=(draws, 1, pre)),
        "z_pre": rng.normal(size=(draws, 1, pre)),
        "y_post": rng.uniform(0.1, 1.5, size=(draws, post, 1)),
        "e_post": rng.normal(size=(draws, post, 1)),
        "L": rng.uniform(0.5, 2.0, size=(draws, 1, 1)),
    }
    return {**layer, "z_post": layer["W"] @ layer["y_pre"].swapaxes(-1, -2)}


def _null_vector(columns: NDArray[np.float64]) -> NDArray[np.float64] | None:
    _, singular, right = np.linalg.svd(columns, full_matrices=False)
    return right[-1] if singular[-1] <= RANK * singular[0] else None


def _equation(
    names: Sequence[str], null: NDArray[np.float64], scale: NDArray[np.float64], place: str
) -> str:
    """The null vector of scaled columns, solved for the last name."""
    last = names[-1]
    weights = -(null / scale)[:-1] * scale[-1] / null[-1]
    used = [i for i in range(len(weights)) if abs(null[i]) > 1e-7]
    right = ""
    for i in used:
        size = f"{abs(weights[i]):.6g}"
        factor = names[i] if size == "1" else f"{size}*{names[i]}"
        if right:
            right += f" - {factor}" if weights[i] < 0 else f" + {factor}"
        else:
            right = f"-{factor}" if weights[i] < 0 else factor
    terms = ", ".join([last, *(names[i] for i in used)])
    return (
        f"term {last}: adds nothing to the pool{place}, {last} = {right}; "
        f"leave out one of {terms}{' there' if place else ''}"
    )
