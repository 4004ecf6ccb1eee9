"""What every term and every lifetime must give: literal, per synapse, in float64, slow on purpose.

Nothing here is shared with the package. An expression is walked as it is written, sums are loops
over their bound index, and every operator has its meaning spelled out once more.

Outside the domain of an operator there is an error, or in a lifetime what IEEE says: 0 times
infinity is no number, though a coefficient of zero takes its term away, and 1/0 is infinity, as a
zero has no sign.
"""

import math

import numpy as np

BETA = 10.0

_OF_ONE = {
    "tanh": math.tanh,
    "sin": math.sin,
    "cos": math.cos,
    "erf": math.erf,
    "atan": math.atan,
    "exp": math.exp,
    "log": math.log,
    "Abs": abs,
    "sign": lambda x: (x > 0) - (x < 0),
    "Heaviside": lambda x: 1.0 if x > 0 else 0.0 if x < 0 else 0.5,
    "sigmoid": lambda x: math.exp(min(x, 0.0) - math.log1p(math.exp(-abs(x)))),
    "relu": lambda x: max(x, 0.0),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
}


def update(expression, layer, j, k, strict=True):
    """The value of an expression at the synapse from pre-neuron k to post-neuron j.

    Args:
        expression: SymPy, as written.
        layer: W and B [post, pre]; y_pre, e_pre, z_pre [pre]; y_post, e_post, z_post, b_post,
            xi_post [post]; L.
        j: post-neuron.
        k: pre-neuron.
        strict: whether to raise where there is no value that is a number.

    Raises:
        ValueError: outside the domain of an operator.
        OverflowError: too large for a float.
    """
    kind = type(expression).__name__
    post, pre = layer["W"].shape
    if kind == "Symbol":
        return float(_quantity(expression.name, layer, j, k))
    if kind == "sum_pre":
        inner = expression.args[0]
        return sum(update(inner, layer, j, other, strict) for other in range(pre))
    if kind == "sum_post":
        inner = expression.args[0]
        return sum(update(inner, layer, other, k, strict) for other in range(post))
    if not expression.args:
        return float(expression)
    values = [update(a, layer, j, k, strict) for a in expression.args]
    return _called(kind, values) if strict else _extended(kind, values)


def _called(kind, values):
    if kind == "Add":
        return math.fsum(values)
    if kind == "Mul":
        return math.prod(values)
    if kind == "Pow":
        base, exponent = values
        if base < 0 and exponent != int(exponent):
            raise ValueError(f"{base} to the power {exponent}")
        return math.pow(base, exponent)
    if kind == "Max":
        return max(values)
    if kind == "Min":
        return min(values)
    return float(_OF_ONE[kind](values[0]))


def _extended(kind, values):
    """The value of a call where it may be infinite or no number."""
    nan = any(math.isnan(v) for v in values)
    if nan and kind in ("sign", "Heaviside"):
        return {"sign": 0.0, "Heaviside": 0.5}[kind]
    if nan:
        return math.nan
    if kind == "Add":
        return sum(values)
    if kind == "Pow" and values[0] == 0 and values[1] < 0:
        return math.inf
    if kind == "log" and values[0] == 0:
        return -math.inf
    try:
        return _called(kind, values)
    except ValueError:
        return math.nan
    except OverflowError:
        odd = kind == "Pow" and values[0] < 0 and values[1] % 2 == 1
        return -math.inf if odd else math.inf


def _quantity(name, layer, j, k):
    post, pre = layer["W"].shape
    if name in ("W", "B"):
        return layer[name][j, k]
    if name in ("n_pre", "n_post"):
        return pre if name == "n_pre" else post
    if name == "L":
        return layer["L"]
    value = np.asarray(layer[name])
    if value.ndim != 1:  # a trace of synapses, or one that is the same everywhere
        return value[j, k] if value.ndim else value
    return value[k if name.endswith("_pre") else j]


def update_matrix(expression, layer, strict=True):
    """The update of every synapse, [post, pre]."""
    post, pre = layer["W"].shape
    return np.array(
        [[update(expression, layer, j, k, strict) for k in range(pre)] for j in range(post)]
    )


# --- a lifetime -------------------------------------------------------------------------------


def _softplus(z):
    return max(z, 0.0) + math.log1p(math.exp(-abs(BETA * z))) / BETA


def _potentials(weight, activity):
    post, pre = weight.shape
    return np.array([sum(weight[j, k] * activity[k] for k in range(pre)) for j in range(post)])


def _log_softmax(logits):
    highest = max(logits)
    total = sum(math.exp(z - highest) for z in logits)
    return np.array([z - highest - math.log(total) for z in logits])


def _forward(weights, image):
    """Activities and potentials of every layer, input to output; a pixel's potential is itself."""
    y, z = [np.array(image, dtype=float)], [np.array(image, dtype=float)]
    for depth, weight in enumerate(weights):
        z.append(_potentials(weight, y[-1]))
        last = depth == len(weights) - 1
        y.append(np.exp(_log_softmax(z[-1])) if last else np.array([_softplus(v) for v in z[-1]]))
    return y, z


def _errors(weights, feedback, pathway, y, label):
    """Errors of every layer, input to output."""
    errors = [np.zeros_like(activity) for activity in y]
    errors[-1] = np.array([p - (c == label) for c, p in enumerate(y[-1])])
    for target in reversed(range(len(weights))):
        source = errors[-1] if pathway == "direct" else errors[target + 1]
        matrix = weights[target].T if pathway == "symmetric" else feedback[target]
        for k in range(len(y[target])):
            row = [matrix[k, j] for j in range(len(source))]
            if pathway == "sign-symmetric":
                signs = [(w > 0) - (w < 0) for w in weights[target][:, k].tolist()]
                row = [abs(b) * s for b, s in zip(row, signs, strict=True)]
            arriving = sum(b * e for b, e in zip(row, source, strict=True))
            errors[target][k] = arriving * (1.0 - math.exp(-BETA * y[target][k]))
    return errors


def lifetime(expressions, theta, weights, feedback, x, labels, pathway):
    """The weights after one online pass: one example a step, all layers updated at once.

    Args:
        expressions: one SymPy expression a term, as written.
        theta: [terms] or [layers, terms].
        weights: list over layers of [post, pre].
        feedback: list over target layers of [pre, source]; source is the layer above (random), for
            its magnitudes alone (sign-symmetric), or the output layer (direct); not used where the
            pathway is symmetric.
        x: [steps, inputs].
        labels: [steps].
        pathway: random, symmetric, direct or sign-symmetric.
    """
    theta = np.broadcast_to(np.asarray(theta, dtype=float), (len(weights), len(expressions)))
    weights = [np.array(w, dtype=float) for w in weights]
    for image, label in zip(x, labels, strict=True):
        y, z = _forward(weights, image)
        e = _errors(weights, feedback, pathway, y, label)
        loss = -_log_softmax(z[-1])[label]
        changed = []
        for depth, weight in enumerate(weights):
            layer = {
                "W": weight,
                "y_pre": y[depth],
                "z_pre": z[depth],
                "e_pre": e[depth],
                "y_post": y[depth + 1],
                "z_post": z[depth + 1],
                "e_post": e[depth + 1],
                "L": loss,
            }
            change = sum(
                coefficient * update_matrix(expression, layer, strict=False)
                for coefficient, expression in zip(theta[depth], expressions, strict=True)
                if coefficient != 0
            )
            changed.append(weight + change)
        weights = changed
    return weights


def query_loss(weights, x, labels):
    """Mean cross-entropy over the query examples; no number where a weight is none."""
    if not all(np.isfinite(weight).all() for weight in weights):
        return math.nan
    losses = [
        -_log_softmax(_forward(weights, image)[1][-1])[label]
        for image, label in zip(x, labels, strict=True)
    ]
    return sum(losses) / len(losses)
