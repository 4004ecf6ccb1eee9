"""Source of what a model has that the paper's has not: its activation, loss, biases and noise.

The paper's own pieces are in `steps`, compiled as they stand; what is made here, and in `outputs`
and `biases`, has their names, and is found in the module before them. An activation is computed a
vector at a time, from its row of the table and its derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr

from rulesearch.kernels.fused import biases, outputs
from rulesearch.kernels.fused.names import indented
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.kernels.fused.spelling import spell, spell_vector
from rulesearch.lowering import Elementwise
from rulesearch.lowering.output import output_of
from rulesearch.model import PAPER, Model
from rulesearch.network import BETA
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
{biased}            if l < depth - 1:
                slope = pointer(slopes, q * width if keep else 0)
                {activate}
'''

_BIASED = """\
            bias = pointer(s, at[l + 1, BIAS])
            for j in range(0, width, LANES):
                store(one, j, add(load(one, j), load(bias, j)))
"""

_QUERY = '''\
@compiled
def query(s, at, labels, keep):
    """Mean loss and accuracy over the query."""
    potentials(s, at, len(labels), keep)
    return score(s, at, labels)
'''

_QUERY_ANSWERS = '''\
@compiled
def query_answers(s, at, targets, keep):
    """Mean loss and accuracy with what the outputs should answer, [queries, outputs]."""
    potentials(s, at, len(targets), keep)
    return score_answers(s, at, targets)
'''

_PUT_NOISE = '''\
@compiled
def put_noise(s, at, f, noise, t):
    """Put the noise of step t into its frame; a row has that of all layers."""
    begin = 0
    for l in range(1, len(at)):
        xi = pointer(s, f + at[l, XI_POST])
        for j in range(at[l, SIZE]):
            xi[j] = noise[t, begin + j]
        begin += at[l, SIZE]
'''


def has_softmax(model: Model) -> bool:
    """Whether the loss is the paper's, with the softmax of its output."""
    return model.loss == PAPER.loss


def has_softplus(model: Model) -> bool:
    """Whether the activation is the paper's."""
    return model.activation == PAPER.activation


def plain_query(model: Model) -> bool:
    """Whether the functions of the query are the paper's."""
    return has_softplus(model) and has_softmax(model) and not model.bias


def with_beta(here: bool) -> str:
    """The last argument of the paper's own functions that compute activities."""
    return ", BETA" if here else ""


def output_call(model: Model, *, numbers: bool) -> str:
    """The call of a step that computes the output layer."""
    if not has_softmax(model):
        return "output(s, at, f, answers, t)"
    return "output_answers(s, at, f, answers, t)" if numbers else "output(s, at, f, labels[t])"


def functions(schedule: Schedule) -> list[str]:
    """The text of the functions that the model of a schedule has of its own."""
    model, found = schedule.plan.model, list[str]()
    if not has_softplus(model):
        found.append(_ACTIVATION.format(lines="\n".join(indented(_activity(model.activation), 2))))
    if not has_softmax(model):
        found += outputs.source(output_of(model, steep=bool(schedule.plan.steep)))
    if not plain_query(model):
        activate = "softplus(size, one, one, slope, BETA, s)"
        if not has_softplus(model):
            activate = "activation(size, one, one, slope)"
        biased = _BIASED if model.bias else ""
        found.append(_POTENTIALS.format(activate=activate, biased=biased))
        found += [_QUERY, _QUERY_ANSWERS] if has_softmax(model) else [_QUERY_ANSWERS]
    if model.bias:
        found += biases.source(schedule)
    if model.noise:
        found.append(_PUT_NOISE)
    return found


def expressions(model: Model) -> Iterator[Expr]:
    """What of a model is spelled by the table of operators."""
    if not has_softplus(model):
        yield from (model.activation.value, model.activation.slope, *model.activation.curvature)
    if not has_softmax(model):
        for node in output_of(model).plan.nodes:
            if isinstance(node, Elementwise):
                yield from (node.expression, *node.partials.values())


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
    return lambda x: np.array(np.broadcast_to(slope(x), x.shape), dtype=x.dtype, order="C")


# --- biases and noise ----------------------------------------------------------------------------


def before_potentials(model: Model) -> tuple[list[str], dict[str, str]]:
    """Lines that write what potentials begin with to z_now, and where their locals are."""
    if not (model.bias or model.noise):
        return ["clear(z_now, width)"], {}
    lines, value = [], ""
    if model.bias:
        lines, value = ["bias_ = load(bias, j)", "store(b_now, j, bias_)"], "bias_"
    if model.noise:
        size, xi = f"splat(F({model.noise!r}))", "load(xi_now, j)"
        value = f"fma({size}, {xi}, {value})" if value else f"mul({size}, {xi})"
    lines.append(f"store(z_now, j, {value})")
    where = {"b_now": "f_now + at[l + 1, B_POST]", "xi_now": "f_now + at[l + 1, XI_POST]"}
    return ["for j in range(0, width, LANES):", *indented(lines)], where
