"""Layers, activation and initialisation: fully connected.

The paper's are without biases, softplus, and a softmax at the output (Eqs. 1, 2, 11; section 4.1).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from sympy import Expr
from torch import Tensor

from rulesearch.choices import Law
from rulesearch.lowering import output_of
from rulesearch.lowering.in_torch import Values, compiled_source, in_torch
from rulesearch.model import PAPER, Model
from rulesearch.operators import spell
from rulesearch.operators.activations import BETA as BETA
from rulesearch.operators.activations import Activation


def softplus(z: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """σ(z) = log(1 + exp(βz))/β, Eq. 11.

    torch's own switches to the identity above a threshold, which breaks finite differences. Its
    `logaddexp` and `log1p` round the last few values of a tensor otherwise than the rest, so that
    a lifetime's bits would hang on its place in a batch; `exp` and `log` do not.
    """
    scaled = BETA * z
    small = torch.exp(-scaled.abs())
    above = 1.0 + small
    # log(1 + small): what the rounding of 1 + small has lost is made up for to first order.
    tail = torch.log(above) - (above - 1.0 - small) / above
    return (torch.relu(scaled) + tail) / BETA


def slope(y: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """σ'(z) = 1 - exp(-βy), from the activity y = σ(z); also of the pixels, section 4.2."""
    return -torch.expm1(-BETA * y)


def slope_derivative(y: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """dσ'/dy = β exp(-βy): how the gate of an error changes with the activity."""
    return BETA * torch.exp(-BETA * y)


@dataclass(frozen=True)
class Gate:
    """An activation in torch.

    Attributes:
        value: z -> σ(z).
        slope: (y, z) -> σ'(z).
        by_y: (y, z) -> the derivative of the slope by the activity; None where that is 0.
        by_z: likewise by the potential.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    by_y: Callable[[Tensor, Tensor], Tensor] | None
    by_z: Callable[[Tensor, Tensor], Tensor] | None


@lru_cache(maxsize=64)
def gate(activation: Activation) -> Gate:
    """The functions of an activation's row.

    Example:
        >>> from rulesearch.operators.activations import ACTIVATIONS
        >>> gate(ACTIVATIONS["relu"]).slope(torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 2.0]))
        tensor([0., 1.])
    """
    by_y, by_z = activation.curvature
    value = _function(activation, "value", activation.value, "z")
    slope_of = _function(activation, "slope", activation.slope, "y, z")
    return Gate(
        value,
        slope_of,
        _function(activation, "by_y", by_y, "y, z") if by_y != 0 else None,
        _function(activation, "by_z", by_z, "y, z") if by_z != 0 else None,
    )


def _function(activation: Activation, name: str, expression: Expr, arguments: str) -> Any:
    text = spell(expression, "torch")
    if name in activation.safe:
        text = activation.safe[name].format(y="y", z="z")
    elif expression.is_number:
        text = f"torch.full_like({arguments[0]}, {text})"
    names = {"softplus": softplus, "slope": slope, "slope_derivative": slope_derivative}
    return compiled_source(f"def function({arguments}):\n    return {text}\n", names)["function"]


def forward(
    weights: Sequence[Float[Tensor, "lifetimes _post _pre"]],
    x: Float[Tensor, "lifetimes examples inputs"],
    biases: Sequence[Float[Tensor, "lifetimes _post"]] | None = None,
    model: Model = PAPER,
) -> list[Float[Tensor, "lifetimes examples _neurons"]]:
    """Potentials of all layers, the last are the logits: z_l = W y_{l-1} + b_l (Eq. 1).

    Args:
        weights: list over layers of [lifetimes, post, pre].
        x: [lifetimes, examples, inputs].
        biases: list over layers of [lifetimes, post]; none are zero.
        model: whose activation the hidden layers have.
    """
    potentials = []
    activity, sigma = x, gate(model.activation).value
    for layer, weight in enumerate(weights):
        potential = activity @ weight.mT
        if biases is not None:
            potential = potential + biases[layer][:, None]
        potentials.append(potential)
        if layer + 1 < len(weights):
            activity = sigma(potential)
    return potentials


def targets_of(
    labels: Int[Tensor, "*axes"] | Float[Tensor, "*axes outputs"], like: Float[Tensor, ...]
) -> Float[Tensor, "*axes outputs"]:
    """What the outputs should answer: of class numbers, a 1 at the class.

    Example:
        >>> targets_of(torch.tensor([1]), torch.zeros(1, 3))
        tensor([[0., 1., 0.]])
    """
    if labels.is_floating_point():
        return labels.to(like)
    return torch.nn.functional.one_hot(labels, like.shape[-1]).to(like)


def outputs_of(
    potentials: Float[Tensor, "*axes outputs"],
    targets: Float[Tensor, "*axes outputs"],
    model: Model = PAPER,
    *,
    steep: bool = False,
) -> Values:
    """The values of a model's output layer by name, see `rulesearch.lowering.output_of`."""
    output = in_torch(output_of(model, steep=steep).plan)
    top = potentials.amax(-1, keepdim=True)
    return output.values({"z_post": potentials, "t_post": targets, "top": top})


def output_error(
    potentials: Float[Tensor, "*axes outputs"],
    targets: Float[Tensor, "*axes outputs"],
    model: Model = PAPER,
) -> Float[Tensor, "*axes outputs"]:
    """E of the output layer: the derivative of the loss of each example by its potentials."""
    return outputs_of(potentials, targets, model)[output_of(model).error]


def query_loss(
    weights: Sequence[Float[Tensor, "lifetimes _post _pre"]],
    x: Float[Tensor, "lifetimes queries inputs"],
    labels: Int[Tensor, "lifetimes queries"] | Float[Tensor, "lifetimes queries outputs"],
    biases: Sequence[Float[Tensor, "lifetimes _post"]] | None = None,
    model: Model = PAPER,
) -> tuple[Float[Tensor, " lifetimes"], Float[Tensor, " lifetimes"]]:
    """Mean loss and accuracy over the query examples of each lifetime; see `scores`."""
    logits = forward(weights, x, biases, model)[-1]
    return scores(with_biases(weights, biases), logits, labels, model)


def with_biases(
    weights: Sequence[Float[Tensor, "lifetimes _post _pre"]],
    biases: Sequence[Float[Tensor, "lifetimes _post"]] | None,
) -> list[Float[Tensor, "lifetimes _post _columns"]]:
    """All that must be finite: weights, and biases as matrices of one column."""
    return [*weights, *(b[:, :, None] for b in biases or ())]


def scores(
    weights: Sequence[Float[Tensor, "lifetimes _post _pre"]],
    logits: Float[Tensor, "lifetimes queries outputs"],
    labels: Int[Tensor, "lifetimes queries"] | Float[Tensor, "lifetimes queries outputs"],
    model: Model = PAPER,
) -> tuple[Float[Tensor, " lifetimes"], Float[Tensor, " lifetimes"]]:
    """Mean loss and accuracy of each lifetime, from the potentials of the last layer.

    In the place of class numbers there may be probabilities, or with a loss of real targets any
    numbers; correct is then the likeliest class.

    NaN and 0 where a weight or a bias is not finite: one of -∞ silences its neuron, and may leave
    what looks like a loss, but the lifetime has diverged.
    """
    for weight in weights:
        # 0 times what is not finite is NaN; `isfinite` takes several passes.
        sound = (0.0 * weight).sum((1, 2))[:, None, None] == 0
        logits = torch.where(sound, logits, torch.nan)
    targets = targets_of(labels, logits)
    loss = outputs_of(logits, targets, model)[output_of(model).loss][..., 0]
    correct = (logits.argmax(-1) == targets.argmax(-1)).to(logits.dtype)
    # argmax of NaN is a class like any other: what is not finite is not correct.
    correct = torch.where(logits.isfinite().all(-1), correct, torch.zeros_like(correct))
    return loss.mean(-1), correct.mean(-1)


def draw_xavier(
    rows: Float[Tensor, "networks entries"],
    shapes: Sequence[tuple[int, int]],
    seeds: Sequence[int],
    law: Law = "uniform",
) -> None:
    """Fill matrices with entries of variance 2/(rows + columns) (Glorot and Bengio 2010).

    Uniform in ±sqrt(6/(rows + columns)) (Eq. S.4), or normal (Eq. S.5).

    Drawn in float32 whatever the dtype, so that precision does not change the experiment; into
    memory that is there already, and all matrices of a network in one go, because a lifetime's
    random numbers would otherwise cost as much as the lifetime.

    Args:
        rows: float32 or float64, contiguous, on the CPU; overwritten. See `as_matrices`.
        shapes: of the matrices of a network, which lie one after the other in its row.
        seeds: one for each network, 0 or more.
        law: of the entries.
    """
    into = rows.numpy()
    scale, shift = _spread(tuple(shapes), law)
    single = into.dtype == np.float32
    for row, seed in zip(into, seeds, strict=True):
        generator = np.random.Generator(np.random.SFC64(seed))
        sample = generator.random if law == "uniform" else generator.standard_normal
        draw = sample(row.shape, dtype=np.float32, out=row if single else None)
        draw *= scale
        draw -= shift
        if not single:
            row[...] = draw


@lru_cache(maxsize=16)
def _spread(
    shapes: tuple[tuple[int, int], ...], law: Law
) -> tuple[Float32[np.ndarray, " entries"], Float32[np.ndarray, " entries"]]:
    """What standard draws are multiplied by, and what is then subtracted, entry by entry."""
    sizes = [math.prod(shape) for shape in shapes]

    def each(values: Iterable[float]) -> Float32[np.ndarray, " entries"]:
        spread = np.repeat(np.array([*values], np.float32), sizes)
        spread.setflags(write=False)  # every thread reads it
        return spread

    if law == "normal":
        return each(math.sqrt(2.0 / sum(shape)) for shape in shapes), each(0.0 for _ in shapes)
    bounds = [math.sqrt(6.0 / sum(shape)) for shape in shapes]
    return each(2.0 * bound for bound in bounds), each(bounds)


def empty_rows(
    networks: int, shapes: Sequence[tuple[int, int]], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "networks entries"]:
    """Memory for the matrices of so many networks, a row for each."""
    entries = sum(math.prod(shape) for shape in shapes)
    return torch.empty(networks, entries, dtype=dtype, device="cpu")


def as_matrices(
    rows: Float[Tensor, "networks entries"], shapes: Sequence[tuple[int, int]]
) -> list[Float[Tensor, "networks _rows _columns"]]:
    """Rows of networks as their matrices, one after the other; views.

    Example:
        >>> first, second = as_matrices(torch.arange(8.0).expand(5, 8), [(2, 3), (1, 2)])
        >>> first.shape, second[0]
        (torch.Size([5, 2, 3]), tensor([[6., 7.]]))
    """
    sizes = [math.prod(shape) for shape in shapes]
    parts = torch.split(rows, sizes, dim=1) if sizes else ()
    return [part.view(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]


def weight_shapes(sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(post, pre) of every weight matrix of a network with these layer sizes.

    Example:
        >>> weight_shapes((4, 3, 2))
        ((3, 4), (2, 3))
    """
    return tuple((post, pre) for pre, post in itertools.pairwise(sizes))


def initial_weights(
    sizes: Sequence[int], seed: int, dtype: torch.dtype = torch.float32
) -> list[Float[Tensor, "_post _pre"]]:
    """Xavier-uniform weights of one network, list over layers of [post, pre], from a seed."""
    shapes = weight_shapes(sizes)
    rows = empty_rows(1, shapes, dtype)
    draw_xavier(rows, shapes, (seed,))
    return [weights[0] for weights in as_matrices(rows, shapes)]
