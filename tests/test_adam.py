"""Backprop by Adam, a pool of one term: the lifetimes that `torch.optim.Adam` makes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import strategies
import torch
from test_population import SEEDS, population

from rulesearch.baselines import by_adam
from rulesearch.kernels import Batch, einsum
from rulesearch.kernels.fused import kernel as fused
from rulesearch.lowering import lower
from rulesearch.model import PAPER, Model
from rulesearch.notation import Pool
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.operators.losses import LOSSES
from rulesearch.pathways import pathway
from rulesearch.statistics import measure

SIZES = (21, 9, 17, 4)


def batch_of(rates, sizes=SIZES, *, steps=30, dtype=torch.float64, seed=0):
    """A lifetime for each rate, each with a network and a task of its own."""
    nets = [
        strategies.network(seed + i, sizes, "symmetric", steps, queries=5)
        for i in range(len(rates))
    ]

    def stacked(name):
        return np.stack([getattr(net, name) for net in nets])

    return Batch(
        torch.tensor(rates, dtype=dtype)[:, None, None].expand(-1, len(sizes) - 1, 1),
        [
            torch.tensor(np.stack(layer), dtype=dtype)
            for layer in zip(*(n.weights for n in nets), strict=True)
        ],
        None,
        torch.tensor(stacked("x"), dtype=dtype),
        torch.tensor(stacked("labels")),
        torch.tensor(stacked("query_x"), dtype=dtype),
        torch.tensor(stacked("query_labels")),
    )


def outputs(weights, biases, y, activation):
    for w, b in zip(weights[:-1], biases, strict=False):
        y = activation(y @ w.T + b)
    return y @ weights[-1].T + biases[-1]


def softplus(z):
    return torch.nn.functional.softplus(z, beta=10, threshold=700)


def squared(logits, labels):
    target = torch.nn.functional.one_hot(labels, logits.shape[-1])
    return ((logits - target) ** 2).sum(-1).mean() / 2


def by_torch(batch, b, bias, activation, loss):
    """Loss, accuracy and weights of one lifetime, with autograd and torch's own Adam."""
    weights = [w[b].clone().requires_grad_() for w in batch.weights]
    biases = [torch.zeros(len(w), dtype=w.dtype, requires_grad=bias) for w in weights]
    learned = weights + biases * bias
    optimiser = torch.optim.Adam(learned, float(batch.theta[b, 0, 0]), betas=(0.9, 0.99), eps=1e-8)
    for x, label in zip(batch.x[b], batch.labels[b], strict=True):
        optimiser.zero_grad()
        loss(outputs(weights, biases, x[None], activation), label[None]).backward()
        optimiser.step()
    with torch.no_grad():
        logits = outputs(weights, biases, batch.query_x[b], activation)
        right = (logits.argmax(1) == batch.query_labels[b]).double().mean()
        return loss(logits, batch.query_labels[b]), right, weights


def built(of, sizes, model=PAPER):
    """Backprop by Adam in one network, whatever runs it."""
    plan = lower(by_adam(bias=model.bias), model)
    return of.build(plan, sizes, pathway("symmetric", len(sizes) - 1))


CROSS_ENTROPY = torch.nn.functional.cross_entropy


@pytest.mark.parametrize("of", [einsum, fused], ids=["einsum", "fused"])
@pytest.mark.parametrize(
    ("sizes", "model", "activation", "loss"),
    [
        (SIZES, PAPER, softplus, CROSS_ENTROPY),
        ((5, 3), PAPER, softplus, CROSS_ENTROPY),
        ((33, 16, 8, 40, 2, 7), PAPER, softplus, CROSS_ENTROPY),
        (SIZES, Model(bias=True), softplus, CROSS_ENTROPY),
        (SIZES, Model(ACTIVATIONS["tanh"], LOSSES["squared"], bias=True), torch.tanh, squared),
    ],
)
def test_lifetimes_are_those_of_torch(of, sizes, model, activation, loss):
    batch = batch_of((1e-3, 1e-2, 0.1), sizes)
    found = built(of, sizes, model)(batch, keep_weights=True)
    for b in range(3):
        expected, right, weights = by_torch(batch, b, model.bias, activation, loss)
        assert found.loss[b].item() == pytest.approx(expected.item(), rel=1e-10)
        assert found.accuracy[b].item() == pytest.approx(right.item())
        for layer, other in zip(found.weights, weights, strict=True):
            torch.testing.assert_close(layer[b], other.detach(), rtol=1e-10, atol=1e-10)


def test_single_precision_follows_double():
    """Every step rounds to 6e-8 of the weights; a hundredfold is left for what that does later."""
    double, single = (batch_of((1e-3, 1e-2), dtype=d) for d in (torch.float64, torch.float32))
    expected, found = (built(fused, SIZES)(b, keep_weights=True) for b in (double, single))
    for one, other in zip(found.weights, expected.weights, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=30 * 6e-8 * 100)


def test_a_pixel_that_is_dark_throughout_changes_no_bit():
    """The gradient of its weights is zero, and so are both means, which the root bears."""
    batch = batch_of((1e-2,), dtype=torch.float32)
    batch.x[:, :, 3:9] = 0
    batch.query_x[:, :, 3:9] = 0
    found = built(fused, SIZES)(batch, keep_weights=True)
    assert torch.equal(batch.weights[0][..., 3:9], found.weights[0][..., 3:9])
    assert not torch.equal(batch.weights[0], found.weights[0])
    assert found.loss.isfinite().all()


# --- as a population ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours():
    """Backprop by SGD, and beside it by Adam."""
    some = population(pool=Pool(F="-e_post*y_pre"), pathway="symmetric", kernel="fused")
    return some, replace(some, pool=by_adam(bias=False))


def test_it_learns_the_same_tasks_from_the_same_weights(ours):
    rate = torch.tensor([0.01], dtype=torch.float64)
    sgd, adam = (some(rate, SEEDS) for some in ours)
    assert torch.equal(sgd.initial_loss, adam.initial_loss)
    assert not torch.equal(sgd.loss, adam.loss)
    at_rest = ours[1](0 * rate, SEEDS)
    assert torch.equal(at_rest.loss, adam.initial_loss)


def test_a_lifetime_that_diverges_is_scored_as_everywhere(ours):
    outcomes = measure(ours[1], (1e38,), SEEDS, 3)
    assert all(outcomes.diverged)
    worst = [max(before, math.log(3)) for before in outcomes.initial_loss]
    assert outcomes.loss == pytest.approx(worst)
    assert outcomes.accuracy == pytest.approx([1 / 3] * len(SEEDS))
