"""What can be watched while a network lives: functions of where it stands and labelled examples.

An observable takes a network as it stands, its pathway and examples, and gives one row for each
lifetime, [lifetimes, ...]. It changes nothing and knows nothing of terms, coefficients or time:
`run_lifetimes` decides at which steps it is asked. A new one is a function here and a row of
`OBSERVABLES`.

The examples are x [lifetimes, examples, inputs] and labels [lifetimes, examples], int64, or what
the outputs should answer, [lifetimes, examples, outputs]; the query set, unless a probe is given.
Where a lifetime has diverged its loss is not finite, and nothing else means anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.lowering import output_of
from rulesearch.model import PAPER, Model
from rulesearch.network import forward, gate, outputs_of, query_loss, targets_of
from rulesearch.pathways import Pathway, carrier, pathway

Weights = Sequence[Float[Tensor, "lifetimes _post _pre"]]
Feedback = Sequence[Float[Tensor, "lifetimes _pre _source"]]
Examples = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Stand:
    """Networks as they stand at some point of their lifetimes.

    Attributes:
        weights: list over layers of [lifetimes, post, pre].
        feedback: list over target layers of [lifetimes, pre, source]; None where all is tied.
        biases: list over layers of [lifetimes, post]; None for zeros.
        model: activation and loss.
    """

    weights: Weights
    feedback: Feedback | None = None
    biases: Sequence[Float[Tensor, "lifetimes _post"]] | None = None
    model: Model = PAPER

    def potentials(self, x: Tensor) -> list[Tensor]:
        """Of layers 1 … L, [lifetimes, examples, neurons]."""
        return forward(self.weights, x, self.biases, self.model)


Observable = Callable[[Stand, Pathway, Examples], Tensor]


# --- alignment -----------------------------------------------------------------------------------


def alignment_angles(
    stand: Stand, path: Pathway, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """Angle in degrees between the mean errors e_post of pathway and backprop, layers 1 … L.

    Means over the examples, as the authors' code has it: 0 to 180, 0 by construction in layer L,
    and NaN where a mean is zero, so that there is no angle. The paper's Figs. 1b and 3d show
    layers 1 … L-1.
    """
    return _angles_of_means(*_both(stand, path, examples))[:, 1:]


def alignment_angles_pre(
    stand: Stand, path: Pathway, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """As `alignment_angles`, of the errors e_pre: layers 0 … L-1, as in the paper's Table 1.

    The first is that of the synthetic error e_0 of the input layer, which only a term with e_pre
    in the first layer uses. Where an angle is in both, it is the same.
    """
    return _angles_of_means(*_both(stand, path, examples))[:, :-1]


def alignment_angles_each(
    stand: Stand, path: Pathway, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """Mean of the angles in degrees between the errors e_post of single examples, layers 1 … L.

    Errors of examples that cancel each other in the mean of `alignment_angles` do not here. In a
    layer where an error of an example is zero, by either way, there is no angle, and the example is
    left out of the mean of that layer; NaN where none is left.
    """
    return _mean_angles(*_both(stand, path, examples))[:, 1:]


def alignment_angles_each_pre(
    stand: Stand, path: Pathway, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """As `alignment_angles_each`, of the errors e_pre: layers 0 … L-1."""
    return _mean_angles(*_both(stand, path, examples))[:, :-1]


def _both(stand: Stand, path: Pathway, examples: Examples) -> tuple[list[Tensor], list[Tensor]]:
    """Errors of layers 0 … L, [lifetimes, examples, neurons], by the pathway and by backprop."""
    x, labels = examples
    weights, model = stand.weights, stand.model
    potentials, sigma = stand.potentials(x), gate(model.activation)
    activities = [x, *(sigma.value(z) for z in potentials[:-1])]
    gates = [sigma.slope(y, z) for y, z in zip(activities, [x, *potentials[:-1]], strict=True)]
    targets = targets_of(labels, potentials[-1])
    output = outputs_of(potentials[-1], targets, model)[output_of(model).error]

    def errors(along: Pathway) -> list[Tensor]:
        found = {len(weights): output}
        for edge in along.edges:
            B = carrier(edge, weights, stand.feedback)
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
    stand: Stand, path: Pathway, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """Orthonormality error E_W of layers 1 … L, Eq. 10: zero at a stable solution of Oja's rule.

    For each layer, ‖z - W Wᵀ y‖² with z = W y_pre and y = σ(z): squared differences summed over
    its neurons and over the examples. A sum over the examples and not their mean, as in the
    authors' code, so compare only what was measured on equally many. In layer L, which the
    paper's Fig. 8 leaves out, y is the output's activity.
    """
    x, labels = examples
    model, sigma = stand.model, gate(stand.model.activation)
    potentials = stand.potentials(x)
    output = outputs_of(potentials[-1], targets_of(labels, potentials[-1]), model)
    activities = [*(sigma.value(z) for z in potentials[:-1]), output[output_of(model).activity]]
    inputs = [x, *activities[:-1]]
    errors = [
        (below @ weight.mT - (y @ weight) @ weight.mT).square().sum((1, 2))
        for weight, below, y in zip(stand.weights, inputs, activities, strict=True)
    ]
    return torch.stack(errors, dim=-1)


def weight_norms(
    stand: Stand, path: Pathway, examples: Examples
) -> Float[Tensor, "lifetimes layers"]:
    """Frobenius norm of the weights of layers 1 … L: what blows up under pure Hebb, section 4.2.

    Example:
        >>> W = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
        >>> nothing = torch.zeros(1, 0, 2), torch.zeros(1, 0)
        >>> weight_norms(Stand([W, 2 * W]), pathway("symmetric", 2), nothing)
        tensor([[ 5., 10.]])
    """
    return torch.stack([torch.linalg.matrix_norm(w) for w in stand.weights], dim=-1)


def loss(stand: Stand, path: Pathway, examples: Examples) -> Float[Tensor, " lifetimes"]:
    """Mean loss over the examples."""
    return query_loss(stand.weights, *examples, stand.biases, stand.model)[0]


def accuracy(stand: Stand, path: Pathway, examples: Examples) -> Float[Tensor, " lifetimes"]:
    """Share of the examples that are classified correctly, 0 to 1."""
    return query_loss(stand.weights, *examples, stand.biases, stand.model)[1]


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
