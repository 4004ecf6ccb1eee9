"""What can be watched while a network lives: functions of its weights and some labelled examples.

An observable takes weights, pathway, feedback and examples, and gives one row for each lifetime,
[lifetimes, ...]. It changes nothing and knows nothing of terms, coefficients or time:
`run_lifetimes` decides at which steps it is asked. A new one is a function here and a row of
`OBSERVABLES`.

The examples are x [lifetimes, examples, inputs] and labels [lifetimes, examples], int64; the query
set, unless a probe is given. What a diverged lifetime gives is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.network import forward, query_loss, slope, softplus
from rulesearch.pathways import Pathway, carrier, pathway

Weights = Sequence[Float[Tensor, "lifetimes _post _pre"]]
Feedback = Sequence[Float[Tensor, "lifetimes _pre _source"]]
Examples = tuple[Tensor, Tensor]
Observable = Callable[[Weights, Pathway, Feedback | None, Examples], Tensor]


# --- alignment -----------------------------------------------------------------------------------


def alignment_angles(
    weights: Weights, path: Pathway, feedback: Feedback | None, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """Angle in degrees between the mean errors e_post of pathway and backprop, layers 1 … L.

    Means over the examples, as the authors' code has it: 0 to 180, 0 by construction in layer L,
    and NaN where a mean is zero, so that there is no angle. The paper's Figs. 1b and 3d show
    layers 1 … L-1.
    """
    return _angles_of_means(*_both(weights, path, feedback, examples))[:, 1:]


def alignment_angles_pre(
    weights: Weights, path: Pathway, feedback: Feedback | None, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """As `alignment_angles`, of the errors e_pre: layers 0 … L-1, as in the paper's Table 1.

    The first is that of the synthetic error e_0 of the input layer, which only a term with e_pre
    in the first layer uses. Where an angle is in both, it is the same.
    """
    return _angles_of_means(*_both(weights, path, feedback, examples))[:, :-1]


def alignment_angles_each(
    weights: Weights, path: Pathway, feedback: Feedback | None, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """Mean of the angles in degrees between the errors e_post of single examples, layers 1 … L.

    Errors of examples that cancel each other in the mean of `alignment_angles` do not here. In a
    layer where an error of an example is zero, by either way, there is no angle, and the example is
    left out of the mean of that layer; NaN where none is left.
    """
    return _mean_angles(*_both(weights, path, feedback, examples))[:, 1:]


def alignment_angles_each_pre(
    weights: Weights, path: Pathway, feedback: Feedback | None, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """As `alignment_angles_each`, of the errors e_pre: layers 0 … L-1."""
    return _mean_angles(*_both(weights, path, feedback, examples))[:, :-1]


def _both(
    weights: Weights, path: Pathway, feedback: Feedback | None, examples: Examples
) -> tuple[list[Tensor], list[Tensor]]:
    """Errors of layers 0 … L, [lifetimes, examples, neurons], by the pathway and by backprop."""
    x, labels = examples
    potentials = forward(weights, x)
    gates = [slope(x), *(slope(softplus(z)) for z in potentials[:-1])]
    output = torch.softmax(potentials[-1], dim=-1)
    output = output - torch.nn.functional.one_hot(labels, output.shape[-1]).to(output)

    def errors(along: Pathway) -> list[Tensor]:
        found = {len(weights): output}
        for edge in along.edges:
            B = carrier(edge, weights, feedback)
            found[edge.target] = (found[edge.source] @ B.mT) * gates[edge.target]
        return [found[layer] for layer in range(len(weights) + 1)]

    return errors(path), errors(pathway("symmetric", len(weights)))


def _angles_of_means(ours: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
    pairs = zip(ours, true, strict=True)
    return torch.stack([_angle(a.mean(1), b.mean(1)) for a, b in pairs], dim=-1)


def _mean_angles(ours: Sequence[Tensor], true: Sequence[Tensor]) -> Tensor:
    layers = []
    for a, b in zip(ours, true, strict=True):
        # What is not finite counts as there, and spoils the mean: it is not to be overlooked.
        exists = (_length(a) != 0) & (_length(b) != 0)
        total = torch.where(exists[..., 0], _angle(a, b), 0.0).sum(1)
        layers.append(total / exists.sum((1, 2)))
    return torch.stack(layers, dim=-1)


def _angle(a: Float[Tensor, "*rows neurons"], b: Float[Tensor, "*rows neurons"]) -> Tensor:
    """Degrees between vectors, in float64; NaN where one is zero."""
    a, b = (vector.double() / _length(vector) for vector in (a, b))
    # atan2 rather than acos: exact at 0 and 180 degrees.
    return torch.rad2deg(2.0 * torch.atan2(_length(a - b), _length(a + b)))[..., 0]


def _length(vector: Float[Tensor, "*rows neurons"]) -> Float[Tensor, "*rows 1"]:
    length: Tensor = torch.linalg.vector_norm(vector.double(), dim=-1, keepdim=True)
    return length


# --- weights and performance ---------------------------------------------------------------------


def orthonormality(
    weights: Weights, path: Pathway, feedback: Feedback | None, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """Orthonormality error E_W of layers 1 … L, Eq. 10: zero at a stable solution of Oja's rule.

    For each layer, ‖z - W Wᵀ y‖² with z = W y_pre and y = σ(z): squared differences summed over
    its neurons and over the examples. A sum over the examples and not their mean, as in the
    authors' code, so compare only what was measured on equally many. In layer L, which the
    paper's Fig. 8 leaves out, y is the softmax output.
    """
    potentials = forward(weights, examples[0])
    activities = [*(softplus(z) for z in potentials[:-1]), torch.softmax(potentials[-1], dim=-1)]
    errors = [
        (z - (y @ weight) @ weight.mT).square().sum((1, 2))
        for weight, z, y in zip(weights, potentials, activities, strict=True)
    ]
    return torch.stack(errors, dim=-1)


def weight_norms(
    weights: Weights, path: Pathway, feedback: Feedback | None, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """Frobenius norm of the weights of layers 1 … L: what blows up under pure Hebb, section 4.2.

    Example:
        >>> W = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
        >>> nothing = torch.zeros(1, 0, 2), torch.zeros(1, 0)
        >>> weight_norms([W, 2 * W], pathway("symmetric", 2), None, nothing)
        tensor([[ 5., 10.]])
    """
    return torch.stack([torch.linalg.matrix_norm(w) for w in weights], dim=-1)


def loss(
    weights: Weights, path: Pathway, feedback: Feedback | None, examples: Examples
) -> Float[Tensor, " lifetimes"]:
    """Mean cross-entropy over the examples."""
    return query_loss(weights, *examples)[0]


def accuracy(
    weights: Weights, path: Pathway, feedback: Feedback | None, examples: Examples
) -> Float[Tensor, " lifetimes"]:
    """Share of the examples that are classified correctly, 0 to 1."""
    return query_loss(weights, *examples)[1]


#: Name -> observable. They cost nothing where they are not asked for.
OBSERVABLES: Mapping[str, Observable] = {
    "angle": alignment_angles,
    "angle_pre": alignment_angles_pre,
    "angle_each": alignment_angles_each,
    "angle_each_pre": alignment_angles_each_pre,
    "orthonormality": orthonormality,
    "weight_norm": weight_norms,
    "loss": loss,
    "accuracy": accuracy,
}
