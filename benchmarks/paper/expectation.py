"""Whether E[e_l e_{l-1}ᵀ | B_{l,l-1}] is proportional to B_{l,l-1}ᵀ, Eq. S.2, and when it is not.

First under the assumptions of the Supplementary Notes: a linear network, errors e_{l+1} that are
independent of everything, and a matrix B_{l+1,l} above that is drawn anew for every sample, because
the expectation is conditional on B_{l,l-1} alone. Then the assumptions are given up, one at a time
and one after the other, on networks that learned EMNIST tasks: the matrix above is fixed, as it is
in any one network; the output errors are correlated; their mean is not zero; the gates σ' are on.
With all of them given up, the mean is that of the network itself, which is what the term F2 of
eHebb (Eq. 8) writes into the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from rulesearch.data import ImageSet, TaskShape, draw_tasks
from rulesearch.lifetime import run_lifetimes
from rulesearch.network import forward, slope, softplus
from rulesearch.notation import Pool
from rulesearch.population import Population

#: Numbers of samples at which the ideal case is looked at.
SAMPLES = (16, 64, 256, 1024, 4096)
#: Samples for each departure from the ideal case.
DEPARTURE_SAMPLES = 1024
#: Networks in which they are looked at, of all: matrices drawn anew take their time.
DEPARTURE_NETWORKS = 10
#: Samples drawn at once, which bounds the memory: matrices are drawn anew for each of them.
CHUNK = 256

Values = NDArray[np.float64]


def cosine(a: Tensor, b: Tensor) -> float:
    """Of the angle between two matrices as vectors, -1 to 1."""
    return float((a * b).sum() / (a.norm() * b.norm()))


def predicted_cosine(samples: int, post: int, source: int) -> float:
    """What sampling alone leaves of a cosine of 1, to first order.

    The mean of e_l e_lᵀ over N samples is σ²(I + E), and E[|E Bᵀ|²] = |B|² ((n - 1)κ + 3κ - 1)/N,
    with n the neurons of layer l and κ = 1 + 2/m the spread of |e_{l+1}|² for m normal errors. So
    the cosine is (1 + ((n + 2)κ - 1)/N)^(-1/2).

    Args:
        samples: N.
        post: n, size of layer l.
        source: m, size of layer l + 1.

    Example:
        >>> round(predicted_cosine(171, 170, 10**9), 3)  # as many samples as neurons: cos 45°
        0.707
    """
    spread = 1 + 2 / source
    return float((1 + ((post + 2) * spread - 1) / samples) ** -0.5)


# --- networks that learned -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Backward:
    """All that sends errors backward in one network, over a set of images.

    Attributes:
        output: the errors e_L, [images, outputs].
        gates: σ' of layers 0 … L-1, list of [images, neurons].
        feedback: B_{l+1,l} by target layer l = 0 … L-1, list of [pre, post].
    """

    output: Float[Tensor, "images outputs"]
    gates: Sequence[Float[Tensor, "images _neurons"]]
    feedback: Sequence[Float[Tensor, "_pre _post"]]


def backward_of(
    weights: Sequence[Float[Tensor, "lifetimes _post _pre"]],
    feedback: Sequence[Float[Tensor, "lifetimes _pre _post"]],
    x: Float[Tensor, "lifetimes images inputs"],
    labels: Tensor,
) -> list[Backward]:
    """The errors and gates of networks at these weights, one entry a lifetime."""
    potentials = forward(weights, x)
    output = torch.softmax(potentials[-1], dim=-1)
    output = output - torch.nn.functional.one_hot(labels, output.shape[-1]).to(output)
    gates = [slope(x), *(slope(softplus(z)) for z in potentials[:-1])]
    return [
        Backward(output[i], [g[i] for g in gates], [b[i] for b in feedback])
        for i in range(x.shape[0])
    ]


def network_cosines(network: Backward) -> list[float]:
    """Cosine between the mean of e_l e_{l-1}ᵀ over the images and Bᵀ, for l = 1 … L."""
    errors = [network.output]
    for gate, matrix in zip(reversed(network.gates), reversed(network.feedback), strict=True):
        errors.append((errors[-1] @ matrix.mT) * gate)
    errors.reverse()
    return [
        cosine(post.mT @ pre, matrix.mT)
        for pre, post, matrix in zip(errors, errors[1:], network.feedback, strict=False)
    ]


# --- the assumptions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Departure:
    """Which of the assumptions of Eq. S.2 are given up.

    Attributes:
        fixed: the matrix B_{l+1,l} above is the network's, not drawn anew for every sample.
        correlated: output errors have the network's covariance, not that of white noise.
        biased: output errors have the network's mean, not zero.
        gated: errors are multiplied by the network's gates σ'.
    """

    fixed: bool = False
    correlated: bool = False
    biased: bool = False
    gated: bool = False


IDEAL = "none"
ALONE: Mapping[str, Departure] = {
    IDEAL: Departure(),
    "fixed B above": Departure(fixed=True),
    "correlated errors": Departure(correlated=True),
    "mean error": Departure(biased=True),
    "gates": Departure(gated=True),
    "all but fixed B": Departure(correlated=True, biased=True, gated=True),
}
TOGETHER: Mapping[str, Departure] = {
    IDEAL: Departure(),
    "fixed B above": Departure(fixed=True),
    "+ correlated errors": Departure(fixed=True, correlated=True),
    "+ mean error": Departure(fixed=True, correlated=True, biased=True),
    "+ gates": Departure(fixed=True, correlated=True, biased=True, gated=True),
}


def departure_cosine(
    network: Backward, layer: int, departure: Departure, samples: int, seed: int
) -> float:
    """Cosine between the sample mean of e_l e_{l-1}ᵀ and Bᵀ with some assumptions given up.

    Args:
        network: where matrices, gates, and the statistics of the output errors come from.
        layer: l, 1 … L-1; Eq. S.2 does not speak of the output layer.
        departure: which assumptions are given up.
        samples: of which the mean is taken; the images are used in turn.
        seed: of whatever is random.
    """
    generator = torch.Generator().manual_seed(seed)
    carrier = network.feedback[layer - 1]
    total = torch.zeros(carrier.shape[1], carrier.shape[0], dtype=torch.float64)
    for first in range(0, samples, CHUNK):
        rows = torch.arange(first, min(first + CHUNK, samples)) % len(network.output)
        errors = _output_errors(network, departure, rows, generator)
        for above in range(len(network.feedback) - 1, layer, -1):
            errors = errors @ network.feedback[above].mT
            if departure.gated:
                errors = errors * network.gates[above][rows]
        if departure.fixed:
            post = errors @ network.feedback[layer].mT
        else:
            post = through_fresh_feedback(errors, network.feedback[layer].shape[0], generator)
        if departure.gated:
            post = post * network.gates[layer][rows]
        pre = post @ carrier.mT
        if departure.gated:
            pre = pre * network.gates[layer - 1][rows]
        total += (post.mT @ pre).double()
    return cosine(total, carrier.mT.double())


def _output_errors(
    network: Backward, departure: Departure, rows: Tensor, generator: torch.Generator
) -> Tensor:
    """Errors e_L of these images, or noise in their place, [samples, outputs]."""
    mean = network.output.mean(0)
    if departure.correlated:
        errors = network.output[rows] - mean
    else:
        spread = network.output.var(0, correction=0).mean().sqrt()
        noise = torch.randn(len(rows), len(mean), generator=generator, dtype=mean.dtype)
        errors = spread * noise
    return errors + mean if departure.biased else errors


def through_fresh_feedback(
    errors: Float[Tensor, "samples source"], target: int, generator: torch.Generator
) -> Float[Tensor, "samples target"]:
    """Each error through a matrix of its own, with independent entries uniform in ±1.

    The size of the entries is left out, because it does not change a cosine.
    """
    samples, source = errors.shape
    matrices = torch.rand(samples, source, target, generator=generator, dtype=errors.dtype)
    return (errors[:, None, :] @ (2 * matrices - 1))[:, 0]


def ideal_cosines(
    sizes: Sequence[int], layer: int, samples: Sequence[int], seed: int
) -> list[float]:
    """The ideal case of Eq. S.2 after these numbers of samples, for normal errors e_{l+1}.

    Args:
        sizes: of the layers, input first.
        layer: l, 1 … L-1.
        samples: ascending.
        seed: of B_{l,l-1} and of the samples.
    """
    generator = torch.Generator().manual_seed(seed)
    pre, post, source = sizes[layer - 1 : layer + 2]
    carrier = 2 * torch.rand(pre, post, generator=generator) - 1
    total, done, found = torch.zeros(post, post, dtype=torch.float64), 0, []
    for number in samples:
        for count in _chunks(number - done):
            errors = torch.randn(count, source, generator=generator)
            sent = through_fresh_feedback(errors, post, generator)
            # e_{l-1} = B e_l, so that the mean of e_l e_{l-1}ᵀ is the mean of e_l e_lᵀ, times Bᵀ.
            total += (sent.mT @ sent).double()
        done = number
        found.append(cosine(total @ carrier.mT.double(), carrier.mT.double()))
    return found


def _chunks(count: int) -> Iterator[int]:
    while count > 0:
        yield min(count, CHUNK)
        count -= CHUNK


# --- over trials ---------------------------------------------------------------------------------


def ideal_of(
    sizes: Sequence[int], samples: Sequence[int], seeds: Sequence[int]
) -> dict[str, Values]:
    """`ideal`: the ideal case for layers 1 … L-1, [trials, layers, samples]; a seed a trial."""
    layers = range(1, len(sizes) - 1)
    found = [[ideal_cosines(sizes, layer, samples, seed) for layer in layers] for seed in seeds]
    return {"ideal": np.array(found)}


@dataclass(frozen=True, eq=False)
class Learned:
    """Networks that learned a task each, with the task's images, training and query.

    Attributes:
        before: initial weights, list over layers of [lifetimes, post, pre].
        after: weights after the last step, likewise.
        feedback: list over layers of [lifetimes, pre, post].
        x: [lifetimes, images, inputs].
        labels: [lifetimes, images].
    """

    before: Sequence[Tensor]
    after: Sequence[Tensor]
    feedback: Sequence[Tensor]
    x: Tensor
    labels: Tensor


def learned(
    pool: Pool,
    theta: Sequence[float],
    images: ImageSet,
    shape: TaskShape,
    sizes: Sequence[int],
    seeds: Sequence[int],
) -> Learned:
    """Networks with random feedback that learn by a rule, one for each seed."""
    tasks = draw_tasks(images, shape, seeds)
    before, feedback = Population(pool, images, shape, tuple(sizes)).networks(seeds)
    assert not isinstance(feedback, str), "feedback of its own"
    before, feedback = ([m.clone() for m in matrices] for matrices in (before, feedback))
    lived = run_lifetimes(
        pool,
        torch.tensor(tuple(theta), dtype=torch.float64),
        before,
        feedback,
        train=(tasks.x, tasks.labels),
        query=(tasks.query_x, tasks.query_labels),
    )
    assert lived.weights is not None, "they are kept unless told otherwise"
    return Learned(
        before,
        lived.weights,
        feedback,
        torch.cat([tasks.x, tasks.query_x], dim=1),
        torch.cat([tasks.labels, tasks.query_labels], dim=1),
    )


def networks_of(
    pool: Pool,
    theta: Sequence[float],
    images: ImageSet,
    shape: TaskShape,
    sizes: Sequence[int],
    seeds: Sequence[int],
) -> dict[str, Values]:
    """Cosines with Bᵀ in networks that learn by a rule, see `learned` for the arguments.

    Returns:
        `errors` and `errors before`, of the mean of e_l e_{l-1}ᵀ over a task's images, after and
        before learning; `weights` and `weights before`, of W_{l-1,l}; [trials, layers 1 … L] each.
    """
    networks = learned(pool, theta, images, shape, sizes, seeds)
    found: dict[str, Values] = {}
    for name, weights in (("", networks.after), (" before", networks.before)):
        errors = backward_of(weights, networks.feedback, networks.x, networks.labels)
        found[f"errors{name}"] = np.array([network_cosines(one) for one in errors])
        found[f"weights{name}"] = np.array([
            [cosine(w[i], b[i].mT) for w, b in zip(weights, networks.feedback, strict=True)]
            for i in range(len(seeds))
        ])  # fmt: skip
    return found


def departures_of(
    pool: Pool,
    theta: Sequence[float],
    images: ImageSet,
    shape: TaskShape,
    sizes: Sequence[int],
    seeds: Sequence[int],
) -> dict[str, Values]:
    """`departure_cosine` by the names of `ALONE` and `TOGETHER`, [trials, layers 1 … L-1].

    The networks have learned by a rule, see `learned` for the arguments.
    """
    networks = learned(pool, theta, images, shape, sizes, seeds)
    errors = backward_of(networks.after, networks.feedback, networks.x, networks.labels)
    # Whole passes over the images, so that each of them counts as often as any other.
    count = networks.x.shape[1] * -(-DEPARTURE_SAMPLES // networks.x.shape[1])
    return {
        name: np.array([
            [departure_cosine(one, layer, departure, count, seed) for layer in range(1, depth)]
            for one, seed in zip(errors, seeds, strict=True)
        ])
        for depth in [len(sizes) - 1]
        for name, departure in {**ALONE, **TOGETHER}.items()
    }  # fmt: skip
