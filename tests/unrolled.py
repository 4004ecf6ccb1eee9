"""Lifetimes in plain torch, so that autograd gives what the kernels' adjoints must.

The equations once more, with nothing of the package: an expression is walked as it is written, in
whole arrays, and every operator is torch's own, whose derivative autograd knows.

Autograd takes 0 times an infinite derivative for NaN, where kernels state 0. So what is compared
with it has none: operators' arguments are drawn within their domains, away from the ends. Where
derivatives are infinite, `test_zeros` has finite differences instead.
"""

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
        expression: SymPy, over the names of `at`.
        at: name -> value, [..., post or 1, pre or 1]; W, n_pre and n_post tell the sizes.
    """
    kind = type(expression).__name__
    if kind == "Symbol":
        return at[expression.name]
    if not expression.args:
        return at["W"].new_tensor(float(expression)).reshape(1, 1)
    values = [value(a, at) for a in expression.args]
    if kind in ("sum_pre", "sum_post"):
        axis = -1 if kind == "sum_pre" else -2
        shape = list(values[0].shape)
        shape[axis] = at["W"].shape[axis]
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


def states(weights, feedback, x, labels, pathway):
    """Quantities of every layer at one example of each lifetime.

    Args:
        weights: list over layers of [lifetimes, post, pre].
        feedback: list over target layers of [lifetimes, pre, source]; not read if symmetric.
        x: [lifetimes, inputs].
        labels: [lifetimes].
        pathway: random, symmetric, direct or sign-symmetric.

    Returns:
        List over layers of name -> [lifetimes, post or 1, pre or 1].
    """
    y, z = [x], [x]
    for weight in weights:
        z.append((weight * y[-1][:, None, :]).sum(-1))
        y.append(softplus(z[-1]))
    y[-1] = torch.softmax(z[-1], -1)
    loss = torch.nn.functional.cross_entropy(z[-1], labels, reduction="none")
    e = [None] * len(weights) + [y[-1] - torch.nn.functional.one_hot(labels, y[-1].shape[-1])]
    for target in reversed(range(len(weights))):
        source = e[-1] if pathway == "direct" else e[target + 1]
        matrix = weights[target].mT if pathway == "symmetric" else feedback[target]
        if pathway == "sign-symmetric":
            # Autograd takes the derivative of sign for 0, as is stated.
            matrix = matrix.abs() * torch.sign(weights[target]).mT
        e[target] = (matrix * source[:, None, :]).sum(-1) * (1 - torch.exp(-BETA * y[target]))
    return [
        {
            "W": weight,
            **{f"{name}_pre": v[depth][:, None, :] for name, v in (("y", y), ("z", z), ("e", e))},
            **{
                f"{name}_post": v[depth + 1][:, :, None]
                for name, v in (("y", y), ("z", z), ("e", e))
            },
            "n_pre": weight.new_tensor(float(weight.shape[2])).reshape(1, 1),
            "n_post": weight.new_tensor(float(weight.shape[1])).reshape(1, 1),
            "L": loss[:, None, None],
        }
        for depth, weight in enumerate(weights)
    ]


def step(expressions, theta, weights, feedback, x, labels, pathway):
    """The weights after one step, all layers at once; theta [lifetimes, layers, terms]."""
    new = []
    for depth, at in enumerate(states(weights, feedback, x, labels, pathway)):
        changed = at["W"]
        for term, expression in enumerate(expressions):
            changed = changed + theta[:, depth, term, None, None] * value(expression, at)
        new.append(changed)
    return new


def lifetime(expressions, theta, weights, feedback, x, labels, pathway):
    """The weights after one online pass over x [lifetimes, steps, inputs]."""
    for image, label in zip(x.unbind(1), labels.unbind(1), strict=True):
        weights = step(expressions, theta, weights, feedback, image, label, pathway)
    return weights


def query_loss(weights, x, labels):
    """Mean cross-entropy over the query examples of each lifetime, [lifetimes]."""
    activity = x
    for weight in weights:
        logits = activity @ weight.mT
        activity = softplus(logits)
    each = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="none"
    )
    return each.view(labels.shape).mean(1)


def asked_loss(expressions, theta, weights, feedback, train, query_x, targets, at, pathway):
    """Mean over the steps `at` of the cross-entropy against probabilities, [lifetimes].

    Args:
        targets: [lifetimes, len(at), queries, outputs]; the rest as of `meta_gradient`.
    """
    x, labels = train
    losses = []
    for step_number in range(x.shape[1] + 1):
        if step_number in at:
            activity = query_x
            for weight in weights:
                logits = activity @ weight.mT
                activity = softplus(logits)
            wanted = targets[:, list(at).index(step_number)]
            losses.append(-(wanted * torch.log_softmax(logits, -1)).sum(-1).mean(1))
        if step_number < x.shape[1]:
            weights = step(
                expressions,
                theta,
                weights,
                feedback,
                x[:, step_number],
                labels[:, step_number],
                pathway,
            )
    return torch.stack(losses).mean(0)


def meta_gradient(expressions, theta, weights, feedback, train, query, pathway):
    """Loss [lifetimes], its gradient [lifetimes, layers, terms], and the final weights."""
    theta = theta.clone().requires_grad_()
    final = lifetime(expressions, theta, weights, feedback, *train, pathway)
    loss = query_loss(final, *query)
    (gradient,) = torch.autograd.grad(loss.sum(), theta)
    return loss.detach(), gradient, [w.detach() for w in final]
