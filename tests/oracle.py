"""What every term and every lifetime must give: literal, per synapse, in float64, slow on purpose.

Nothing here is shared with the package. An expression is walked as it is written, sums are loops
over their bound index, and every operator has its meaning spelled out once more.

Outside the domain of an operator there is an error, or in a lifetime what IEEE says: 0 times
infinity is no number, though a coefficient of zero takes its term away, and 1/0 is infinity, as a
zero has no sign.

A lifetime carries W_l [post, pre], B_l [pre, source] (the own matrix of the feedback edge into
layer l), b_l [post] and traces. One step with the image x and what the output should answer, t:

1. y_0 = z_0 = x. For l = 1..depth: z_l = W_l y_{l-1}, plus b_l where the model has biases, plus
   noise·ξ_l in training. y_l = σ(z_l) in hidden layers; at the output what the loss says.
2. The loss of the step; e at the output is its derivative by z. e_target = σ'·(C e_source), C the
   carrier of the edge. At the input, where nothing has a potential, σ' is the slope as a function
   of the activity, with the pixel for it.
3. Traces: new = decay·old + (1 - decay)·x, with what x reads at this step, before a term reads it;
   one that reads another reads the new value of that. old is at first a number, or the first x.
   Each is one of a layer and a side: `_pre` is of the layer's pre-neurons, `_post` of its
   post-neurons; without a suffix it is of the synapses, or one number a layer.
4. All at once: W_l += Σ θ·term, and so B_l and b_l. θ is [layers, terms] over all terms; those of
   an edge's B have the row of the weight layer with the number of the edge's target. For B, _pre
   is the edge's target and _post its source, and B is seen as [post, pre]. All expressions of one
   term have its coefficient.
5. Bounds: what a term may have changed is brought back between its limits.

Derivatives of activation and loss are those of the expression's operators, carried along with its
value; where a Max or Min is tied each has its share, but that of ReLU at 0 is stated to be 0.
"""

import itertools
import math
from dataclasses import dataclass

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
        layer: W [post, pre]; y_pre, e_pre, z_pre [pre]; y_post, e_post, z_post [post]; L; where it
            has them B, traces of synapses [post, pre], b_post, xi_post and other traces. A quantity
            that it has no entry for is what its definition says.
        j: post-neuron.
        k: pre-neuron.
        strict: whether to raise where there is no value that is a number.

    Raises:
        ValueError: outside the domain of an operator.
        OverflowError: too large for a float.
    """
    kind = type(expression).__name__
    if kind == "OwnSymbol" and expression.name not in layer:
        if expression.row.memory is not None:
            raise KeyError(f"no value of the trace {expression}")
        return update(expression.row.definition, layer, j, k, strict)
    if kind in ("Symbol", "OwnSymbol"):
        return float(_quantity(expression.name, layer, j, k))
    post, pre = _size(layer)
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


def _size(layer):
    """How many neurons a layer has on its sides, post and pre."""
    return layer["W" if "W" in layer else "B"].shape


def _quantity(name, layer, j, k):
    if name in ("n_pre", "n_post"):
        return _size(layer)[name == "n_pre"]
    if name.endswith("_pre"):
        return layer[name][k]
    if name.endswith("_post"):
        return layer[name][j]
    value = layer[name]
    return value[j, k] if np.ndim(value) == 2 else value


def update_matrix(expression, layer, strict=True):
    """The update of every synapse, [post, pre]."""
    post, pre = _size(layer)
    return np.array(
        [[update(expression, layer, j, k, strict) for k in range(pre)] for j in range(post)]
    )


# --- derivatives: a value and, beside it, how fast it moves ---------------------------------------

_SLOPE_OF_ONE = {
    "tanh": lambda x: 1.0 - math.tanh(x) ** 2,
    "sin": math.cos,
    "cos": lambda x: -math.sin(x),
    "erf": lambda x: 2.0 / math.sqrt(math.pi) * math.exp(-x * x),
    "atan": lambda x: 1.0 / (1.0 + x * x),
    "exp": math.exp,
    "log": lambda x: 1.0 / x,
    "Abs": lambda x: (x > 0) - (x < 0),
    "sign": lambda _: 0.0,
    "Heaviside": lambda _: 0.0,
    "sigmoid": lambda x: _OF_ONE["sigmoid"](x) * _OF_ONE["sigmoid"](-x),
    "relu": lambda x: _OF_ONE["Heaviside"](x),
    "softplus": lambda x: _OF_ONE["sigmoid"](x),
}


def moved(expression, layer, name, place, j=0):
    """The value at post-neuron j, and its derivative by what the post-neuron `place` has.

    Args:
        expression: over the names of `layer`, in which nothing is of pre-neurons.
        layer: name -> a number, or a list over the post-neurons.
        name: of the quantity that moves.
        place: which post-neuron's it is; 0 for a number.
        j: post-neuron.
    """
    kind = type(expression).__name__
    if kind == "Symbol":
        value = layer[expression.name]
        same = expression.name == name and (np.ndim(value) == 0 or j == place)
        return float(value[j] if np.ndim(value) else value), float(same)
    if kind == "sum_post":
        size = max(len(v) for v in layer.values() if np.ndim(v))
        parts = [moved(expression.args[0], layer, name, place, other) for other in range(size)]
        return math.fsum(v for v, _ in parts), math.fsum(d for _, d in parts)
    if not expression.args:
        return float(expression), 0.0
    parts = [moved(a, layer, name, place, j) for a in expression.args]
    values, slopes = [v for v, _ in parts], [d for _, d in parts]
    if kind == "Add":
        return math.fsum(values), math.fsum(slopes)
    if kind == "Mul":
        shares = (d * math.prod(values[:i] + values[i + 1 :]) for i, d in enumerate(slopes))
        return math.prod(values), math.fsum(shares)
    if kind == "Pow":
        return _called(kind, values), _slope_of_power(*values, *slopes)
    if kind in ("Max", "Min"):
        return _folded(kind, parts)
    x = values[0]
    return float(_OF_ONE[kind](x)), slopes[0] and _SLOPE_OF_ONE[kind](x) * slopes[0]


def _slope_of_power(base, exponent, base_slope, exponent_slope):
    total = 0.0
    if base_slope:
        total += exponent * _called("Pow", [base, exponent - 1.0]) * base_slope
    if exponent_slope:
        total += math.pow(base, exponent) * math.log(base) * exponent_slope
    return total


def _folded(kind, parts):
    (best, slope), *others = parts
    for value, other in others:
        if value == best:
            slope = (slope + other) / 2.0
        elif (value > best) == (kind == "Max"):
            best, slope = value, other
    return best, slope


# --- a lifetime -------------------------------------------------------------------------------


def _softplus(z):
    return max(z, 0.0) + math.log1p(math.exp(-abs(BETA * z))) / BETA


def _activated(model, z):
    return _softplus(z) if model is None else update(model.activation.value, _alone(z), 0, 0, False)


def _slope(model, y, z):
    """σ' of a hidden neuron."""
    if model is None:
        return 1.0 - math.exp(-BETA * y)
    if model.activation.name == "relu":
        return float(z > 0)
    return moved(model.activation.value, {"z": z}, "z", 0)[1]


def _gate(model, pixel):
    """What stands for σ' at the input."""
    if model is None:
        return 1.0 - math.exp(-BETA * pixel)
    return update(model.activation.slope, {**_alone(pixel), "y": pixel}, 0, 0)


def _alone(z):
    return {"W": np.zeros((1, 1)), "z": z}


def _potentials(weight, activity):
    post, pre = weight.shape
    return np.array([sum(weight[j, k] * activity[k] for k in range(pre)) for j in range(post)])


def _log_softmax(logits):
    highest = max(logits)
    total = sum(math.exp(z - highest) for z in logits)
    return np.array([z - highest - math.log(total) for z in logits])


def _answered(model, z, target):
    """Of the output layer: its activities, the loss, and its errors."""
    if model is None:
        logs = _log_softmax(z)
        y = np.exp(logs)
        return y, -sum(t * p for t, p in zip(target, logs, strict=True) if t), y - target
    here = {"W": np.zeros((len(z), 1)), "z_post": z, "t_post": target, "top": max(z)}
    y = np.array([update(model.loss.output, here, j, 0) for j in range(len(z))])
    del here["W"]
    slopes = [moved(model.loss.value, here, "z_post", j) for j in range(len(z))]
    return y, slopes[0][0], np.array([slope for _, slope in slopes])


def _targets(answers, outputs):
    """What the outputs should answer, [examples, outputs], where labels are given or numbers."""
    if np.ndim(answers) == 2:
        return np.array(answers, dtype=float)
    return np.array([[float(c == label) for c in range(outputs)] for label in answers])


def _forward(weights, image, model=None, biases=None, noise=None):
    """Activities and potentials of every layer, input to output; a pixel's potential is itself.

    The output's activity is left to the loss.
    """
    y, z = [np.array(image, dtype=float)], [np.array(image, dtype=float)]
    for depth, weight in enumerate(weights):
        arriving = _potentials(weight, y[-1])
        if model is not None and model.bias:
            arriving = arriving + biases[depth]
        if model is not None and noise is not None:
            arriving = arriving + model.noise * noise[depth]
        z.append(arriving)
        if depth < len(weights) - 1:
            y.append(np.array([_activated(model, v) for v in z[-1]]))
    return y, z


def _source(pathway, target, depth):
    """From which layer the errors come that reach a layer."""
    return depth if pathway == "direct" else target + 1


def _errors(weights, feedback, pathway, y, z, at_output, model=None):
    """Errors of every layer, input to output."""
    errors = [np.zeros_like(activity) for activity in y] + [at_output]
    for target in reversed(range(len(weights))):
        source = errors[_source(pathway, target, len(weights))]
        matrix = weights[target].T if pathway == "symmetric" else feedback[target]
        for k in range(len(y[target])):
            row = [matrix[k, j] for j in range(len(source))]
            if pathway == "sign-symmetric":
                signs = [(w > 0) - (w < 0) for w in weights[target][:, k].tolist()]
                row = [abs(b) * s for b, s in zip(row, signs, strict=True)]
            arriving = sum(b * e for b, e in zip(row, source, strict=True))
            slope = (
                _gate(model, y[0][k]) if target == 0 else _slope(model, y[target][k], z[target][k])
            )
            errors[target][k] = arriving * slope
    return errors


def _traces_of(expression):
    """The traces that an expression reads, those that others read first."""
    found = {}
    for symbol in sorted(expression.free_symbols, key=str):
        if type(symbol).__name__ == "OwnSymbol":
            found.update(_traces_of(symbol.row.definition))
            if symbol.row.memory is not None:
                found[symbol.name] = symbol
    return found


def _follow(layer, expressions, traces):
    """Put into a layer the traces that expressions read, moved on; `traces` is changed as well."""
    post, pre = _size(layer)
    for expression in expressions:
        for name, symbol in _traces_of(expression).items():
            if name in layer:
                continue
            row = symbol.row
            if name.endswith("_pre"):
                x = np.array([update(row.definition, layer, 0, k, False) for k in range(pre)])
            elif name.endswith("_post"):
                x = np.array([update(row.definition, layer, j, 0, False) for j in range(post)])
            elif row.index:
                x = update_matrix(row.definition, layer, False)
            else:
                x = update(row.definition, layer, 0, 0, False)
            first = x if row.memory.initial is None else row.memory.initial
            decay = row.memory.decay
            layer[name] = traces[name] = decay * traces.get(name, first) + (1.0 - decay) * x


def updates_of(term):
    """What a term changes, as pairs of a parameter and an expression.

    Args:
        term: with `updates`; or its name and these pairs; or the expression of a change of W.
    """
    if hasattr(term, "updates"):
        return term.updates
    return term[1] if isinstance(term, tuple) else (("W", term),)


@dataclass(frozen=True)
class Lived:
    """What a lifetime ends with.

    Attributes:
        weights: list over layers of [post, pre].
        feedback: list over target layers of [pre, source]; None where the pathway is symmetric.
        biases: list over layers of [post].
        losses: of each step, before it changes anything.
    """

    weights: list[np.ndarray]
    feedback: list[np.ndarray] | None
    biases: list[np.ndarray]
    losses: list[float]


def live(
    terms,
    theta,
    weights,
    feedback,
    x,
    answers,
    pathway,
    model=None,
    *,
    biases=None,
    xi=None,
):
    """One online pass: one example a step, all parameters updated at once.

    Args:
        terms: as `updates_of` takes them.
        theta: [terms] or [layers, terms].
        weights: list over layers of [post, pre].
        feedback: list over target layers of [pre, source]; source is the layer above (random), for
            its magnitudes alone (sign-symmetric), or the output layer (direct); not used where the
            pathway is symmetric.
        x: [steps, inputs].
        answers: labels [steps], or what the outputs should answer [steps, outputs].
        pathway: random, symmetric, direct or sign-symmetric.
        model: activation, loss, bias, noise and bounds; the paper's, by its equations, where there
            is none.
        biases: list over layers of [post]; 0 where they are not given.
        xi: list over layers of noise [steps, post]; 0 where it is not given.
    """
    depth = len(weights)
    theta = np.broadcast_to(np.asarray(theta, dtype=float), (depth, len(terms)))
    weights = [np.array(w, dtype=float) for w in weights]
    tied = pathway == "symmetric"
    feedback = None if tied else [np.array(b, dtype=float) for b in feedback]
    biases = [np.array(b, dtype=float) for b in biases or (np.zeros(len(w)) for w in weights)]
    noise = xi or [np.zeros((len(x), len(w))) for w in weights]
    changes = {
        parameter: [
            (number, expression)
            for number, term in enumerate(terms)
            for p, expression in updates_of(term)
            if p == parameter
        ]
        for parameter in ("W", "B", "b")
    }
    if tied and changes["B"]:
        raise ValueError("a symmetric pathway has no B to change")
    remembered = {(side, i): {} for side in "WB" for i in range(depth)}
    losses = []
    for s, target in enumerate(_targets(answers, len(weights[-1]))):
        now = [each[s] for each in noise]
        y, z = _forward(weights, x[s], model, biases, now)
        at_output, loss, error = _answered(model, z[-1], target)
        e = _errors(weights, feedback, pathway, y, z, error, model)
        y.append(at_output)
        losses.append(loss)
        of_step = {"y": y, "z": z, "e": e, "b": [None, *biases], "xi": [None, *now], "L": loss}
        new_weights, new_feedback, new_biases = [], [], []
        for i, weight in enumerate(weights):
            source = _source(pathway, i, depth)
            forth, back = _between(of_step, i, i + 1), _between(of_step, i, source)
            forth["W"] = weight
            if not tied:
                back["B"] = feedback[i].T
            if source == i + 1 and not tied:
                forth["B"], back["W"] = back["B"], weight
            _follow(forth, [f for p in "Wb" for _, f in changes[p]], remembered["W", i])
            new_weights.append(weight + _change(changes["W"], theta[i], forth))
            column = _change(changes["b"], theta[i], forth)
            new_biases.append(biases[i] + (column[:, 0] if np.ndim(column) else column))
            if not tied:
                _follow(back, [f for _, f in changes["B"]], remembered["B", i])
                change = _change(changes["B"], theta[i], back)
                new_feedback.append(feedback[i] + np.transpose(change))
        weights = _bounded(new_weights, "W", model)
        biases = _bounded(new_biases, "b", model) if changes["b"] else biases
        feedback = _bounded(new_feedback, "B", model) if changes["B"] else feedback
    return Lived(weights, feedback, biases, losses)


def _between(of_step, pre, post):
    """What is known of two layers of neurons at a step."""
    return {
        **{f"{name}_pre": of_step[name][pre] for name in ("y", "z", "e")},
        **{f"{name}_post": of_step[name][post] for name in ("y", "z", "e", "b", "xi")},
        "L": of_step["L"],
    }


def _change(changes, theta, layer):
    """What the terms of a parameter add to it in a layer, [post, pre]; 0 where none does."""
    return sum(
        theta[number] * update_matrix(expression, layer, strict=False)
        for number, expression in changes
        if theta[number] != 0
    )


def _bounded(values, parameter, model):
    limits = None if model is None else {p: at for p, *at in model.bounds}.get(parameter)
    return values if limits is None else [np.clip(v, *limits) for v in values]


def lifetime(expressions, theta, weights, feedback, x, labels, pathway):
    """The weights after one online pass; arguments as of `live`."""
    return live(expressions, theta, weights, feedback, x, labels, pathway).weights


def query_loss(weights, x, answers, model=None, biases=None):
    """Mean loss over the query examples, without noise; no number where a parameter is none.

    Args:
        weights: list over layers of [post, pre].
        x: [queries, inputs].
        answers: labels [queries], or [queries, outputs].
        model: as of `live`.
        biases: list over layers of [post].
    """
    if not all(np.isfinite(each).all() for each in itertools.chain(weights, biases or ())):
        return math.nan
    losses = [
        _answered(model, _forward(weights, image, model, biases)[1][-1], target)[1]
        for image, target in zip(x, _targets(answers, len(weights[-1])), strict=True)
    ]
    return sum(losses) / len(losses)
