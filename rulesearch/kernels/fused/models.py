"""Source of what a model has that the paper's has not: its activation, loss, biases and noise.

The paper's own pieces are in `steps`, compiled as they stand; what is made here has their names,
and is found in the module before them. An activation is computed a vector at a time, a loss by
loops over the output neurons, from the rows of the tables and their derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr

from rulesearch.kernels.fused.names import adjoint, indented, read, unpack
from rulesearch.kernels.fused.schedule import Schedule, schedule
from rulesearch.kernels.fused.spelling import spell, spell_vector
from rulesearch.kernels.fused.values import adjoint_lines, value_lines
from rulesearch.lowering import Elementwise
from rulesearch.lowering.output import Output, output_of
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
            if l < depth - 1:
                slope = pointer(slopes, q * width if keep else 0)
                {activate}
'''

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

_SCORE = '''\
@compiled
def score_answers(s, at, targets):
    """Mean loss and accuracy from the potentials of a query; leaves the errors there."""
    last = len(at) - 1
    loss, correct, count = F(0.0), F(0.0), F(len(targets))
    n = at[last, SIZE]
    for q in range(len(targets)):
        z_post = pointer(s, at[last, Q_Y] + q * at[last, WIDTH])
        best, meant, finite = 0, 0, True
        for j in range(n):
            if z_post[j] > z_post[best]:
                best = j
            if targets[q, j] > targets[q, meant]:
                meant = j
            finite = finite and math.isfinite(z_post[j])
        if finite and best == meant:
            correct += F(1.0)
        judge(s, at, z_post, targets, q)
{places}
        loss += {loss}
        for j in range(n):
            z_post[j] = {error}
    if not all_finite(pointer(s, at[0, W]), at[0, WEIGHTS], s):
        return F(math.nan), F(0.0)
    return loss / count, correct / count
'''

_OUTPUT = '''\
@compiled
def output(s, at, f, answers, t):
    """Activity, loss and error of the output layer."""
    last = len(at) - 1
    z_post, y = pointer(s, f + at[last, Z]), pointer(s, f + at[last, Y])
    e = pointer(s, f + at[last, E])
    judge(s, at, z_post, answers, t)
{places}
    s[f + at[0, L]] = {loss}
    for j in range(at[last, SIZE]):
        y[j] = {activity}
        e[j] = {error}
'''


def has_softmax(model: Model) -> bool:
    """Whether the loss is the paper's, with the softmax of its output."""
    return model.loss == PAPER.loss


def has_softplus(model: Model) -> bool:
    """Whether the activation is the paper's."""
    return model.activation == PAPER.activation


def plain_query(model: Model) -> bool:
    """Whether the query is the paper's, but perhaps for its loss."""
    return has_softplus(model) and has_softmax(model)


def with_beta(here: bool) -> str:
    """The last argument of the paper's own functions that compute activities."""
    return ", BETA" if here else ""


def output_call(model: Model, *, numbers: bool) -> str:
    """The call of a step that computes the output layer."""
    if not has_softmax(model):
        return "output(s, at, f, answers, t)"
    return "output_answers(s, at, f, answers, t)" if numbers else "output(s, at, f, labels[t])"


def functions(model: Model, *, steep: bool) -> list[str]:
    """The text of the functions that a model has of its own.

    Args:
        model: the model.
        steep: whether adjoints that arrive at the output may be infinite.
    """
    found = []
    if not has_softplus(model):
        found.append(_ACTIVATION.format(lines="\n".join(indented(_activity(model.activation), 2))))
    if not has_softmax(model):
        found += _output(output_of(model, steep=steep))
    if not plain_query(model):
        activate = "softplus(size, one, one, slope, BETA, s)"
        if not has_softplus(model):
            activate = "activation(size, one, one, slope)"
        ways = [_POTENTIALS.format(activate=activate), *([_QUERY] if has_softmax(model) else [])]
        found += [*ways, _QUERY_ANSWERS]
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
    return lambda x: np.ascontiguousarray(np.broadcast_to(slope(x), x.shape), dtype=x.dtype)


# --- losses --------------------------------------------------------------------------------------


def _output(output: Output) -> list[str]:
    """The text of the functions of the output layer, for a step and for a query."""
    order = schedule(output.plan)
    names = [output.activity, output.error, output.loss]
    activity, error, loss = (read(name, order.plan.index[name]) for name in names)
    if not order.plan.index[output.loss]:
        loss = f"{output.loss}[0]"
    used = {"activity": activity, "error": error, "loss": loss}
    texts = [_judge(order)]
    for template, fields, levels in (
        (_SCORE, ("error", "loss"), 2),
        (_OUTPUT, ("activity", "error", "loss"), 1),
    ):
        places = unpack([used[field] for field in fields], _places(order, "last"))
        texts.append(template.format(places="\n".join(indented(places, levels)), **used))
    return [*texts, _output_adjoint(order, output)]


def _places(order: Schedule, last: str) -> dict[str, str]:
    """Name of a value of the output layer, or of its adjoint -> the source of its offset."""
    names = [node.name for node in order.plan.nodes]
    every = ["top", *names, *map(adjoint, names)]
    return {name: f"at[0, OUT] + {i} * at[{last}, WIDTH]" for i, name in enumerate(every)}


def _judge(order: Schedule) -> str:
    """The function `judge`: all values of the output layer."""
    body = [line for node in order.plan.nodes for line in value_lines(order, node)]
    top = []
    if "top" in order.plan.quantities:
        top = [
            "best = 0",
            "for j in range(size_post):",
            "    if z_post[j] > z_post[best]:",
            "        best = j",
            "top[0] = z_post[best]",
        ]
    body = [*top, *body]
    if "t_post" in order.plan.quantities:
        body = ["t_post = pointer(targets, t * size_post)", *body]
    body = [*unpack([*body, "size_post"], _places(order, "l + 1")), *body]
    head = ["@compiled", "def judge(s, at, z_post, targets, t):"]
    doc = '    """The values of the output layer, from its potentials and what it should answer."""'
    return "\n".join([*head, doc, "    l = len(at) - 2", *indented(body)]) + "\n"


def _output_adjoint(order: Schedule, output: Output) -> str:
    """The function `output_adjoint`: from the adjoints of activity, error and loss."""
    count = len(order.plan.nodes)
    arriving = [(output.activity, "a_y[j]"), (output.error, "a_e[j]")]
    body = [
        "judge(s, at, z_post, answers, t)",
        f"clear(pointer(s, at[0, OUT] + {count + 1} * width), {count} * width)",
        "for j in range(size_post):",
        *(f"    {adjoint(name)}[j] += {share}" for name, share in arriving),
        f"{adjoint(output.loss)}[0] += s[b + at[0, A_L]]",
        *(line for node in reversed(order.plan.nodes) for line in adjoint_lines(order, node)),
    ]
    where = {
        **_places(order, "l + 1"),
        "z_post": "f + at[l + 1, Z]",
        "a_z_post": "b + at[l + 1, A_Z]",
        "a_y": "b + at[l + 1, A_Y]",
        "a_e": "b + at[l + 1, A_E]",
    }
    if "t_post" in order.plan.quantities:
        body = ["t_post = pointer(answers, t * size_post)", *body]
    head = ["@compiled", "def output_adjoint(s, at, f, b, answers, t):"]
    doc = '    """From the adjoints of the output\'s activity, error and loss to that of its potential."""'
    lines = [*unpack(body, where), *body]
    return "\n".join([*head, doc, "    l = len(at) - 2", *indented(lines)]) + "\n"
