"""Lifetimes in plain torch, so that autograd gives what the kernels' adjoints must.

The equations once more, with nothing of the package: an expression is walked as it is written, in
whole arrays, and every operator is torch's own, whose derivative autograd knows.

What a step does is said in `oracle`. Here the errors are autograd's derivative of the loss, and the
slopes of hidden neurons autograd's of σ, so that the meta-gradient goes through both once more.

Autograd takes 0 times an infinite derivative for NaN, where kernels state 0. So what is compared
with it has none: operators' arguments are drawn within their domains, away from the ends. Where
derivatives are infinite, `test_zeros` has finite differences instead.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

BETA = 10.0

_OF_ONE = {
    "tanh": torch.tanh,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "atan": torch.atan,
    "exp": torch.exp,
    "log": torch.log,
    "Abs": torch.abs,
    "sign": torch.sign,
    "Heaviside": lambda x: (1 + torch.sign(x)) / 2,
    "sigmoid": torch.sigmoid,
    "relu": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "softsign": lambda x: x / (1 + torch.abs(x)),
}
_OF_MANY = {
    "Add": torch.add,
    "Mul": torch.mul,
    # Where two are equal, torch gives each half of the derivative.
    "Max": torch.maximum,
    "Min": torch.minimum,
}


def value(expression, at: dict[str, Tensor]):
    """The value of an expression, broadcastable to [..., post, pre].

    Args:
        expression: SymPy, over the names of `at`, and quantities that have a definition.
        at: name -> value, [..., post or 1, pre or 1]; W, B or z_post tells the sizes.
    """
    kind = type(expression).__name__
    if kind == "OwnSymbol" and expression.name not in at:
        if expression.row.memory is not None:
            raise KeyError(f"no value of the trace {expression}")
        return value(expression.row.definition, at)
    if kind in ("Symbol", "OwnSymbol"):
        return at[expression.name]
    if not expression.args:
        return next(iter(at.values())).new_tensor(float(expression)).reshape(1, 1)
    values = [value(a, at) for a in expression.args]
    if kind in ("sum_pre", "sum_post"):
        axis = -1 if kind == "sum_pre" else -2
        shape = list(values[0].shape)
        sized = next(at[name] for name in ("W", "B", "z_post") if name in at)
        shape[axis] = sized.shape[axis]
        return values[0].expand(shape).sum(axis, keepdim=True)
    if kind == "Pow":
        exponent = expression.exp
        # A number as a number: torch would differentiate with respect to a tensor, by a log.
        return values[0] ** (float(exponent) if exponent.is_number else values[1])
    if kind in _OF_MANY:
        total = values[0]
        for other in values[1:]:
            total = _OF_MANY[kind](total, other)
        return total
    return _OF_ONE[kind](values[0])


def softplus(z):
    """σ(z), Eq. 11 of the paper."""
    return torch.logaddexp(BETA * z, torch.zeros_like(z)) / BETA


def _activated(model, z):
    """σ(z) of hidden neurons, elementwise."""
    name = "softplus" if model is None else model.activation.name
    if name == "softplus":
        return softplus(z)
    if name == "relu":
        return torch.relu(z)  # its derivative at 0 is 0, as is stated
    return value(model.activation.value, {"z": z})


def _slope(model, y, z):
    """σ' of hidden neurons."""
    if model is None or model.activation.name == "softplus":
        return 1 - torch.exp(-BETA * y)
    return torch.func.grad(lambda moved: _activated(model, moved).sum())(z)


def _gate(model, pixels):
    """What stands for σ' at the input."""
    if model is None:
        return 1 - torch.exp(-BETA * pixels)
    return value(model.activation.slope, {"y": pixels, "z": pixels})


def _loss(model, z, target):
    """The loss of every example; z and target [..., outputs]."""
    if model is None:
        return -(target * torch.log_softmax(z, -1)).sum(-1)
    return value(model.loss.value, _at_output(z, target))[..., 0, 0]


def _answered(model, z, target):
    """Of the output layer: its activities, the loss of every example, and its errors."""
    loss = _loss(model, z, target)
    if model is None:
        y = torch.softmax(z, -1)
        return y, loss, y - target
    y = value(model.loss.output, _at_output(z, target)).expand(*z.shape, 1)[..., 0]
    return y, loss, torch.func.grad(lambda moved: _loss(model, moved, target).sum())(z)


def _at_output(z, target):
    """What a loss is written in; the largest potential is a constant in derivatives."""
    top = z.detach().amax(-1)[..., None, None]
    return {"z_post": z[..., None], "t_post": target[..., None], "top": top}


def _targets(answers, like):
    """What the outputs should answer, where labels are given or numbers."""
    if answers.is_floating_point():
        return answers
    return torch.nn.functional.one_hot(answers, like.shape[-2]).to(like.dtype)


@dataclass(frozen=True)
class Carried:
    """What goes from one step of some lifetimes to the next.

    Attributes:
        weights: list over layers of [lifetimes, post, pre].
        feedback: list over target layers of [lifetimes, pre, source]; not read if symmetric.
        biases: list over layers of [lifetimes, post].
        traces: (W or B, layer) -> name -> value, [lifetimes or 1, post or 1, pre or 1].
    """

    weights: list[Tensor]
    feedback: list[Tensor] | None
    biases: list[Tensor]
    traces: dict[tuple[str, int], dict[str, Tensor]] = field(default_factory=dict)


def _begun(weights, feedback, biases):
    nothing = [torch.zeros_like(weight[..., 0]) for weight in weights]
    return Carried(list(weights), feedback, nothing if biases is None else list(biases))


def _layers(carried, x, target, pathway, model, xi):
    """Quantities at one example, as of W and as of B: two lists over layers."""
    weights, feedback = carried.weights, carried.feedback
    depth, tied = len(weights), pathway == "symmetric"
    noise = [torch.zeros_like(b) for b in carried.biases] if xi is None else xi
    y, z = [x], [x]
    for weight, bias, random in zip(weights, carried.biases, noise, strict=True):
        arriving = (weight * y[-1][:, None, :]).sum(-1)
        if model is not None and model.bias:
            arriving = arriving + bias
        if model is not None:
            arriving = arriving + model.noise * random
        z.append(arriving)
        y.append(_activated(model, arriving))
    y[-1], loss, error = _answered(model, z[-1], target)
    e = [None] * depth + [error]
    sources = [depth if pathway == "direct" else i + 1 for i in range(depth)]
    for i in reversed(range(depth)):
        matrix = weights[i].mT if tied else feedback[i]
        if pathway == "sign-symmetric":
            # Autograd takes the derivative of sign for 0, as is stated.
            matrix = matrix.abs() * torch.sign(weights[i]).mT
        slope = _slope(model, y[i], z[i]) if i else _gate(model, x)
        e[i] = (matrix * e[sources[i]][:, None, :]).sum(-1) * slope

    def between(pre, post, matrices):
        some = next(iter(matrices.values()))
        neurons = (("y", y), ("z", z), ("e", e))
        return {
            **matrices,
            **{f"{name}_pre": v[pre][:, None, :] for name, v in neurons},
            **{f"{name}_post": v[post][:, :, None] for name, v in neurons},
            "b_post": carried.biases[post - 1][:, :, None],
            "xi_post": noise[post - 1][:, :, None],
            "n_pre": some.new_tensor(float(some.shape[2])).reshape(1, 1),
            "n_post": some.new_tensor(float(some.shape[1])).reshape(1, 1),
            "L": loss[:, None, None],
        }

    forth, back = [], []
    for i, source in enumerate(sources):
        own = {} if tied else {"B": feedback[i].mT}
        beside = source == i + 1
        forth.append(between(i, i + 1, {"W": weights[i], **(own if beside else {})}))
        if not tied:
            back.append(between(i, source, {**({"W": weights[i]} if beside else {}), **own}))
    return forth, back


def states(weights, feedback, x, labels, pathway, model=None, *, biases=None, xi=None):
    """Quantities of every layer at one example of each lifetime, but for traces.

    Args:
        weights: list over layers of [lifetimes, post, pre].
        feedback: list over target layers of [lifetimes, pre, source]; not read if symmetric.
        x: [lifetimes, inputs].
        labels: [lifetimes], or what the outputs should answer [lifetimes, outputs].
        pathway: random, symmetric, direct or sign-symmetric.
        model: activation, loss, bias and noise; the paper's, by its equations, where there is none.
        biases: list over layers of [lifetimes, post]; 0 where they are not given.
        xi: list over layers of noise [lifetimes, post]; 0 where it is not given.

    Returns:
        List over layers of name -> [lifetimes, post or 1, pre or 1].
    """
    begun = _begun(weights, feedback, biases)
    return _layers(begun, x, _targets(labels, weights[-1]), pathway, model, xi)[0]


def _traces_of(expression):
    """The traces that an expression reads, those that others read first."""
    found = []
    for symbol in sorted(expression.free_symbols, key=str):
        if type(symbol).__name__ == "OwnSymbol":
            found += _traces_of(symbol.row.definition)
            found += [symbol] if symbol.row.memory is not None else []
    return found


def _with_traces(at, expressions, before):
    """A layer with the traces that expressions read, moved on."""
    at = dict(at)
    for symbol in (s for e in expressions for s in _traces_of(e)):
        if symbol.name not in at:
            decay, initial = symbol.row.memory.decay, symbol.row.memory.initial
            x = value(symbol.row.definition, at)
            old = before.get(symbol.name, x if initial is None else initial)
            at[symbol.name] = decay * old + (1 - decay) * x
    return at


def updates_of(term):
    """What a term changes, as pairs of a parameter and an expression.

    Args:
        term: with `updates`; or its name and these pairs; or the expression of a change of W.
    """
    if hasattr(term, "updates"):
        return term.updates
    return term[1] if isinstance(term, tuple) else (("W", term),)


def views(terms, carried, x, answers, pathway, model=None, xi=None):
    """Quantities at one example, with the traces that terms read, moved on.

    Returns:
        (W or B, layer) -> name -> value, as terms of W and b and as those of B see the layer.
    """
    target = _targets(answers, carried.weights[-1])
    found = {}
    for sides, layers in zip(
        ("Wb", "B"), _layers(carried, x, target, pathway, model, xi), strict=True
    ):
        read = [f for term in terms for p, f in updates_of(term) if p in sides]
        for i, at in enumerate(layers):
            place = sides[0], i
            found[place] = _with_traces(at, read, carried.traces.get(place, {}))
    return found


def stepped(terms, theta, carried, x, answers, pathway, model=None, xi=None):
    """What is carried after one step; theta [lifetimes, layers, terms], the rest as of `states`."""
    touched = {p for term in terms for p, _ in updates_of(term)}
    if pathway == "symmetric" and "B" in touched:
        raise ValueError("a symmetric pathway has no B to change")
    seen = views(terms, carried, x, answers, pathway, model, xi)

    def changed(i, parameter, name):
        at = seen["B" if parameter == "B" else "W", i]
        new = at[name]
        for number, term in enumerate(terms):
            for p, expression in updates_of(term):
                if p == parameter:
                    new = new + theta[:, i, number, None, None] * value(expression, at)
        limits = None if model is None else {p: at for p, *at in model.bounds}.get(parameter)
        return new if limits is None else new.clamp(*limits)

    layers = range(len(carried.weights))
    feedback, biases = carried.feedback, carried.biases
    if "B" in touched:
        feedback = [changed(i, "B", "B").mT for i in layers]
    if "b" in touched:
        biases = [changed(i, "b", "b_post")[..., 0] for i in layers]
    remembered = {
        place: {s.name: at[s.name] for e in _read(terms) for s in _traces_of(e) if s.name in at}
        for place, at in seen.items()
    }
    return Carried([changed(i, "W", "W") for i in layers], feedback, biases, remembered)


def _read(terms):
    return [expression for term in terms for _, expression in updates_of(term)]


def step(expressions, theta, weights, feedback, x, labels, pathway):
    """The weights after one step, all layers at once; theta [lifetimes, layers, terms]."""
    begun = _begun(weights, feedback, None)
    return stepped(expressions, theta, begun, x, labels, pathway).weights


def live(terms, theta, weights, feedback, x, answers, pathway, model=None, *, biases=None, xi=None):
    """What is carried after one online pass.

    Args:
        terms: as `updates_of` takes them.
        theta: [lifetimes, layers, terms].
        weights: list over layers of [lifetimes, post, pre].
        feedback: list over target layers of [lifetimes, pre, source]; not read if symmetric.
        x: [lifetimes, steps, inputs].
        answers: labels [lifetimes, steps], or [lifetimes, steps, outputs].
        pathway: random, symmetric, direct or sign-symmetric.
        model: as of `states`, and bounds.
        biases: list over layers of [lifetimes, post]; 0 where they are not given.
        xi: list over layers of noise [lifetimes, steps, post]; 0 where it is not given.
    """
    carried = _begun(weights, feedback, biases)
    for s in range(x.shape[1]):
        now = None if xi is None else [each[:, s] for each in xi]
        carried = stepped(terms, theta, carried, x[:, s], answers[:, s], pathway, model, now)
    return carried


def lifetime(expressions, theta, weights, feedback, x, labels, pathway):
    """The weights after one online pass over x [lifetimes, steps, inputs]."""
    return live(expressions, theta, weights, feedback, x, labels, pathway).weights


def query_loss(weights, x, answers, model=None, biases=None):
    """Mean loss over the query examples of each lifetime, [lifetimes]; without noise.

    Args:
        weights: list over layers of [lifetimes, post, pre].
        x: [lifetimes, queries, inputs].
        answers: labels [lifetimes, queries], or [lifetimes, queries, outputs].
        model: as of `states`.
        biases: list over layers of [lifetimes, post].
    """
    activity = x
    for i, weight in enumerate(weights):
        z = activity @ weight.mT
        if model is not None and model.bias:
            z = z + biases[i][:, None, :]
        activity = _activated(model, z)
    return _loss(model, z, _targets(answers, weights[-1])).mean(1)


def asked_loss(
    terms,
    theta,
    weights,
    feedback,
    train,
    query_x,
    targets,
    at,
    pathway,
    model=None,
    *,
    biases=None,
    xi=None,
):
    """Mean over the steps `at` of the query loss there, [lifetimes].

    Args:
        targets: [lifetimes, len(at), queries, outputs]; the rest as of `whole_gradient`.
    """
    x, answers = train
    carried = _begun(weights, feedback, biases)
    losses = []
    for s in range(x.shape[1] + 1):
        if s in at:
            wanted = targets[:, list(at).index(s)]
            losses.append(query_loss(carried.weights, query_x, wanted, model, carried.biases))
        if s < x.shape[1]:
            now = None if xi is None else [each[:, s] for each in xi]
            carried = stepped(terms, theta, carried, x[:, s], answers[:, s], pathway, model, now)
    return torch.stack(losses).mean(0)


def meta_gradient(expressions, theta, weights, feedback, train, query, pathway):
    """Loss [lifetimes], its gradient [lifetimes, layers, terms], and the final weights."""
    loss, gradient, final = whole_gradient(
        expressions, theta, weights, feedback, train, query, pathway
    )
    return loss, gradient, final.weights


def whole_gradient(
    terms, theta, weights, feedback, train, query, pathway, model=None, *, biases=None, xi=None
):
    """Loss [lifetimes], its gradient [lifetimes, layers, terms], and what is carried at the end.

    Args:
        train: inputs and answers; these and the rest as of `live`.
        query: inputs and answers, as of `query_loss`.
    """
    theta = theta.clone().requires_grad_()
    final = live(terms, theta, weights, feedback, *train, pathway, model, biases=biases, xi=xi)
    loss = query_loss(final.weights, *query, model, final.biases)
    # Theta has a derivative of 0 even where nothing that it changes is read again.
    (gradient,) = torch.autograd.grad(loss.sum() + 0 * theta.sum(), theta)

    def plain(tensors):
        return tensors and [t.detach() for t in tensors]

    traces = {
        place: {name: value.detach() for name, value in kept.items()}
        for place, kept in final.traces.items()
    }
    ended = Carried(plain(final.weights), plain(final.feedback), plain(final.biases), traces)
    return loss.detach(), gradient, ended
