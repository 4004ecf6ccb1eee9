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

from rulesearch.kernels.fused.names import (
    adjoint,
    at_work,
    bind_scalars,
    function,
    indented,
    is_number,
    local,
    multiplied,
    offsets,
    read,
    unpack,
)
from rulesearch.kernels.fused.schedule import Schedule, schedule_of
from rulesearch.kernels.fused.spelling import number, spell, spell_vector
from rulesearch.kernels.fused.values import adjoint_lines, part_share, value_lines
from rulesearch.lowering import Elementwise
from rulesearch.lowering.output import Output, output_of
from rulesearch.model import PAPER, Model
from rulesearch.network import BETA
from rulesearch.operators import SCALAR
from rulesearch.operators import spell as spell_for
from rulesearch.operators.activations import Activation

_LOOP = "for j in range(size_post):"

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

_QUERY_BIASES = '''\
@compiled
def query_biases(s, at, queries):
    """Λ of the biases, where `query_adjoint` has left the adjoints of all potentials."""
    for l in range(1, len(at)):
        a_z, a_bias, width = pointer(s, at[l, Q_A]), pointer(s, at[l, A_BIAS]), at[l, WIDTH]
        clear(a_bias, width)
        for q in range(queries):
            for j in range(0, width, LANES):
                store(a_bias, j, add(load(a_bias, j), load(a_z, q * width + j)))
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
    if not all_finite(pointer(s, at[0, W]), at[0, LEARNED], s):
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
        found += _output(output_of(model, steep=bool(schedule.plan.steep)))
    if not plain_query(model):
        activate = "softplus(size, one, one, slope, BETA, s)"
        if not has_softplus(model):
            activate = "activation(size, one, one, slope)"
        biased = _BIASED if model.bias else ""
        found.append(_POTENTIALS.format(activate=activate, biased=biased))
        found += [_QUERY, _QUERY_ANSWERS] if has_softmax(model) else [_QUERY_ANSWERS]
    if model.bias:
        found.append(_QUERY_BIASES)
        found += ["\n".join(lines) + "\n" for lines in _biases(schedule)]
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


def _biases(schedule: Schedule) -> Iterator[list[str]]:
    """The functions that change biases, if any do, and take Λ of them back."""
    if schedule.biases:
        yield _change_biases(schedule)
        yield _change_biases_adjoint(schedule)
    body = ["for j in range(size_post):", "    a_bias[j] += a_z_post[j] + a_b_post[j]"]
    yield function(
        schedule, "biases_adjoint", "Λ of biases before the step.", body, offsets(schedule)
    )


def _shares(schedule: Schedule) -> list[str]:
    """Lines that bind the scalars of the update of biases, and the factor of each group."""
    scalars = [p.scalar for g in schedule.biases for p in g.parts if p.scalar]
    factors = [
        f"c{g} = {' + '.join(part_share(schedule, p) for p in group.parts)}"
        for g, group in enumerate(schedule.biases)
    ]
    return [*bind_scalars(schedule, scalars), *factors]


def _change_biases(schedule: Schedule) -> list[str]:
    body, terms = _shares(schedule), []
    for g, group in enumerate(schedule.biases):
        if not group.post:
            terms.append(f"c{g}")
            continue
        post = local(group.post)
        if not schedule.plan.bounded(group.post):
            body.append(f"u{g} = {post} if {at_work(group.parts)} else zeros")
            post = f"u{g}"
        terms.append(f"c{g} * {post}[j]")
    body += [f"{_LOOP}", f"    bias[j] += {' + '.join(terms)}"]
    doc = "The update of biases; those before the step are in its frame."
    return function(schedule, "change_biases", doc, body, offsets(schedule))


def _change_biases_adjoint(schedule: Schedule) -> list[str]:
    body = _shares(schedule)
    for g, group in enumerate(schedule.biases):
        wild = not schedule.plan.bounded(group.post)
        inside, after = ["d = a_bias[j]"], list[str]()
        body.append(f"i{g} = F(0.0)")
        if group.post:
            inside.append(f"i{g} += d * {local(group.post)}[j]")
            inside.append(f"{adjoint(group.post)}[j] += {multiplied(f'c{g}', 'd', delicate=False)}")
        else:
            inside.append(f"i{g} += d")
        for part in group.parts:
            c = number(part.coefficient)
            factor = f"{c} * {read(part.scalar, SCALAR)}" if part.scalar else c
            name = schedule.plan.terms[part.term].name
            after.append(f"a_theta[{part.term}] += {factor} * i{g}  # {name}")
            if part.scalar and not is_number(part.scalar):
                share = multiplied(f"theta[{part.term}] * {c}", f"i{g}", delicate=wild)
                after.append(f"{adjoint(part.scalar)}[0] += {share}")
        body += [_LOOP, *indented(inside), *after]
    doc = "Adjoint of `change_biases`; adds to the gradient of θ."
    return function(schedule, "change_biases_adjoint", doc, body, offsets(schedule))


# --- losses --------------------------------------------------------------------------------------


def _output(output: Output) -> list[str]:
    """The text of the functions of the output layer, for a step and for a query."""
    schedule = schedule_of(output.plan)
    names = [output.activity, output.error, output.loss]
    activity, error, loss = (read(name, schedule.plan.index[name]) for name in names)
    if not schedule.plan.index[output.loss]:
        loss = f"{output.loss}[0]"
    used = {"activity": activity, "error": error, "loss": loss}
    texts = [_judge(schedule)]
    for template, fields, levels in (
        (_SCORE, ("error", "loss"), 2),
        (_OUTPUT, ("activity", "error", "loss"), 1),
    ):
        places = unpack([used[field] for field in fields], _places(schedule, "last"))
        texts.append(template.format(places="\n".join(indented(places, levels)), **used))
    return [*texts, _output_adjoint(schedule, output)]


def _places(schedule: Schedule, last: str) -> dict[str, str]:
    """Name of a value of the output layer, or of its adjoint -> the source of its offset."""
    names = [node.name for node in schedule.plan.nodes]
    every = ["top", *names, *map(adjoint, names)]
    return {name: f"at[0, OUT] + {i} * at[{last}, WIDTH]" for i, name in enumerate(every)}


def _judge(schedule: Schedule) -> str:
    """The function `judge`: all values of the output layer."""
    body = [line for node in schedule.plan.nodes for line in value_lines(schedule, node)]
    top = []
    if "top" in schedule.plan.quantities:
        top = [
            "best = 0",
            "for j in range(size_post):",
            "    if z_post[j] > z_post[best]:",
            "        best = j",
            "top[0] = z_post[best]",
        ]
    body = [*top, *body]
    if "t_post" in schedule.plan.quantities:
        body = ["t_post = pointer(targets, t * size_post)", *body]
    body = [*unpack([*body, "size_post"], _places(schedule, "l + 1")), *body]
    head = ["@compiled", "def judge(s, at, z_post, targets, t):"]
    doc = '    """The values of the output layer, from its potentials and what it should answer."""'
    return "\n".join([*head, doc, "    l = len(at) - 2", *indented(body)]) + "\n"


def _output_adjoint(schedule: Schedule, output: Output) -> str:
    """The function `output_adjoint`: from the adjoints of activity, error and loss."""
    count = len(schedule.plan.nodes)
    arriving = [(output.activity, "a_y[j]"), (output.error, "a_e[j]")]
    body = [
        "judge(s, at, z_post, answers, t)",
        f"clear(pointer(s, at[0, OUT] + {count + 1} * width), {count} * width)",
        "for j in range(size_post):",
        *(f"    {adjoint(name)}[j] += {share}" for name, share in arriving),
        f"{adjoint(output.loss)}[0] += s[b + at[0, A_L]]",
        *(line for node in reversed(schedule.plan.nodes) for line in adjoint_lines(schedule, node)),
    ]
    where = {
        **_places(schedule, "l + 1"),
        "z_post": "f + at[l + 1, Z]",
        "a_z_post": "b + at[l + 1, A_Z]",
        "a_y": "b + at[l + 1, A_Y]",
        "a_e": "b + at[l + 1, A_E]",
    }
    if "t_post" in schedule.plan.quantities:
        body = ["t_post = pointer(answers, t * size_post)", *body]
    head = ["@compiled", "def output_adjoint(s, at, f, b, answers, t):"]
    doc = '    """From the adjoints of activity, error and loss to that of the potential."""'
    lines = [*unpack(body, where), *body]
    return "\n".join([*head, doc, "    l = len(at) - 2", *indented(lines)]) + "\n"
