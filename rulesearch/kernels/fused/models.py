"""Source of what a model has that the paper's has not: its activation, loss, biases and noise.

The paper's own pieces are in `steps`, compiled as they stand; what is made here has their names,
and is found in the module before them. An activation is computed a vector at a time, a loss by
loops over the output neurons, from the rows of the tables and their derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import math

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Symbol

from rulesearch.kernels.fused.names import adjoint, indented, read, unpack
from rulesearch.kernels.fused.schedule import Schedule, schedule
from rulesearch.kernels.fused.spelling import spell, spell_vector
from rulesearch.kernels.fused.values import adjoint_lines, value_lines
from rulesearch.lowering import Elementwise
from rulesearch.lowering.output import Output, output_of
from rulesearch.model import PAPER, Model
from rulesearch.network import BETA
from rulesearch.operators import POST
from rulesearch.operators import spell as spell_for
from rulesearch.operators.activations import Activation

_ACTIVATION = '''\
@compiled
def activation(n, z, y, slope):
    """σ(z) and its slope, z and y in one place or two; the padding of both becomes zero."""
    for j in range(0, n, LANES):
        z_ = load(z, j)
{lines}
        store(y, j, y_)
        store(slope, j, slope_)
    for j in range(n, -(-n // LANES) * LANES):
        y[j] = 0
        slope[j] = 0


@compiled
def hidden(s, at, l, f):
    """Activity and σ' of a hidden layer."""
    z, y = pointer(s, f + at[l, Z]), pointer(s, f + at[l, Y])
    activation(at[l, SIZE], z, y, pointer(s, f + at[l, SLOPE]))
'''

_POTENTIALS = '''\
@compiled
def potentials(s, at, queries, keep):
    """Potentials and activities of a query; σ' of hidden layers is written where it is kept."""
    depth = len(at) - 1
    for l in range(depth):
        query_layer(s, at, l, queries)
        size, width = at[l + 1, SIZE], at[l + 1, WIDTH]
        y, slopes = pointer(s, at[l + 1, Q_Y]), pointer(s, at[l + 1, Q_SLOPE])
        for q in range(queries):
            one = pointer(y, q * width)
            if l < depth - 1:
                slope = pointer(slopes, q * width if keep else 0)
                {activate}


@compiled
def query(s, at, labels, keep):
    """Mean loss and accuracy over the query."""
    potentials(s, at, len(labels), keep)
    return score(s, at, labels)


@compiled
def query_answers(s, at, targets, keep):
    """Likewise with what the outputs should answer in the place of labels, [queries, outputs]."""
    potentials(s, at, len(targets), keep)
    return score_answers(s, at, targets)
'''


def has_softplus(model: Model) -> bool:
    """Whether the activation is the paper's."""
    return model.activation == PAPER.activation


def plain_query(model: Model) -> bool:
    """Whether the query is the paper's, but perhaps for its loss."""
    return has_softplus(model)


def with_beta(here: bool) -> str:
    """The last argument of the paper's own functions that compute activities."""
    return ", BETA" if here else ""


def functions(model: Model) -> list[str]:
    """The text of the functions that a model has of its own."""
    found = []
    if not has_softplus(model):
        found.append(_ACTIVATION.format(lines="\n".join(indented(_activity(model.activation), 2))))
    if not plain_query(model):
        activate = "softplus(size, one, one, slope, BETA, s)"
        if not has_softplus(model):
            activate = "activation(size, one, one, slope)"
        found.append(_POTENTIALS.format(activate=activate))
    return found


def expressions(model: Model) -> Iterator[Expr]:
    """What of a model is spelled by the table of operators."""
    if not has_softplus(model):
        yield from (model.activation.value, model.activation.slope, *model.activation.curvature)


# --- activations ---------------------------------------------------------------------------------


def _activity(activation: Activation) -> list[str]:
    """Lines from the vector z_ to y_ and slope_."""
    calls: dict[str, str] = {}
    rename = {"y": "y_", "z": "z_"}
    before, value = spell_vector(activation.value, rename, calls=calls)
    after, slope = spell_vector(activation.slope, rename, calls=calls)
    return [*before, f"y_ = {value}", *after, f"slope_ = {slope}"]


def curvature(activation: Activation) -> Mapping[str, str]:
    """The source of the slope's derivatives at pre-neuron k, by the names of y and z; not of 0."""
    if activation == PAPER.activation:
        return {"y_pre": "BETA * (one - slope[k])"}
    rename = {"y": "y_pre[k]", "z": "z_pre[k]"}
    return {
        name: f"({spell(slope, rename, slope=True)})"
        for name, slope in zip(("y_pre", "z_pre"), activation.curvature, strict=True)
        if slope != 0
    }


@lru_cache(maxsize=64)
def pixel_slopes(activation: Activation) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The function of pixels that gives σ' there (section 4.2): a pixel is activity and potential.

    Example:
        >>> from rulesearch.operators.activations import ACTIVATIONS
        >>> pixel_slopes(ACTIVATIONS["tanh"])(np.array([0.0, 0.5]))
        array([1.  , 0.75])
    """
    if activation == PAPER.activation:
        return lambda x: -np.expm1(-BETA * x)
    names: dict[str, Any] = {"numpy": np, "math": math}
    text = spell_for(activation.slope, "numpy", {"y": "x", "z": "x"})
    exec(compile(f"def slope(x):\n    return {text}\n", "<slope>", "exec"), names)  # our own text
    slope = names["slope"]
    return lambda x: np.ascontiguousarray(np.broadcast_to(slope(x), x.shape), dtype=x.dtype)
