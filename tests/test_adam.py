"""Backprop by Adam: the lifetimes that `torch.optim.Adam` makes, whoever runs them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import strategies
import torch
from test_population import SEEDS, images, population, same

from rulesearch.baselines import by_adam
from rulesearch.executors import started
from rulesearch.kernels import Batch, Unsupported
from rulesearch.kernels.einsum import build
from rulesearch.kernels.fused.adam import AdamKernel
from rulesearch.lowering import lower
from rulesearch.notation import Pool
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


def outputs(weights, y):
    for w in weights[:-1]:
        y = torch.nn.functional.softplus(y @ w.T, beta=10, threshold=700)
    return y @ weights[-1].T


def by_torch(batch, b):
    """Loss, accuracy and weights of one lifetime, with autograd and torch's own Adam."""
    weights = [w[b].clone().requires_grad_() for w in batch.weights]
    optimiser = torch.optim.Adam(weights, float(batch.theta[b, 0, 0]), betas=(0.9, 0.99), eps=1e-8)
    for x, label in zip(batch.x[b], batch.labels[b], strict=True):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(outputs(weights, x[None]), label[None]).backward()
        optimiser.step()
    with torch.no_grad():
        logits = outputs(weights, batch.query_x[b])
        right = (logits.argmax(1) == batch.query_labels[b]).double().mean()
        return torch.nn.functional.cross_entropy(logits, batch.query_labels[b]), right, weights


@pytest.mark.parametrize("sizes", [SIZES, (5, 3), (33, 16, 8, 40, 2, 7)])
def test_lifetimes_are_those_of_torch(sizes):
    batch = batch_of((1e-3, 1e-2, 0.1), sizes)
    found = AdamKernel(sizes)(batch, keep_weights=True)
    for b in range(3):
        loss, accuracy, weights = by_torch(batch, b)
        assert found.loss[b].item() == pytest.approx(loss.item(), rel=1e-10)
        assert found.accuracy[b].item() == pytest.approx(accuracy.item())
        for layer, expected in zip(found.weights, weights, strict=True):
            torch.testing.assert_close(layer[b], expected.detach(), rtol=1e-10, atol=1e-10)


def test_without_memory_and_with_a_large_epsilon_it_is_backprop_by_sgd():
    """The step is then rate·g/(|g| + ε), and g/ε to a share of |g|/ε."""
    huge, rate = 1e10, 0.05
    batch = batch_of((rate * huge,) * 2)
    found = AdamKernel(SIZES, first=0.0, second=0.0, epsilon=huge)(batch, keep_weights=True)
    sgd = build(lower(Pool(F="-e_post*y_pre")), SIZES, pathway("symmetric", len(SIZES) - 1))
    expected = sgd(replace(batch, theta=batch.theta / huge), keep_weights=True)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-8, atol=0)
    torch.testing.assert_close(found.initial_loss, expected.initial_loss, rtol=1e-12, atol=0)
    for one, other in zip(found.weights, expected.weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_single_precision_follows_double():
    """Every step rounds to 6e-8 of the weights; a hundredfold is left for what that does later."""
    double, single = (batch_of((1e-3, 1e-2), dtype=d) for d in (torch.float64, torch.float32))
    expected, found = (AdamKernel(SIZES)(b, keep_weights=True) for b in (double, single))
    for one, other in zip(found.weights, expected.weights, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=30 * 6e-8 * 100)


def test_a_lifetime_hangs_on_nothing_else_in_the_batch_nor_on_threads():
    batch = batch_of((1e-3, 1e-2, 0.1, 1e-2), dtype=torch.float32)
    batch.x[1, :, :15] = 0  # other pixels are dark throughout
    batch.query_x[1, :, :15] = 0
    whole = AdamKernel(SIZES)(batch)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        shared = AdamKernel(SIZES)(batch)
    finally:
        torch.set_num_threads(before)
    for name in ("loss", "accuracy", "initial_loss"):
        together = getattr(whole, name)
        assert torch.equal(together, getattr(shared, name))
        for b in range(4):
            one = slice(b, b + 1)
            alone = AdamKernel(SIZES)(
                Batch(
                    batch.theta[one],
                    [w[one] for w in batch.weights],
                    None,
                    *(getattr(batch, n)[one] for n in ("x", "labels", "query_x", "query_labels")),
                )
            )
            assert torch.equal(getattr(alone, name), together[one])


def test_the_weights_of_dark_pixels_stay():
    batch = batch_of((1e-2,))
    batch.x[:, :, 3:9] = 0
    batch.query_x[:, :, 3:9] = 0
    found = AdamKernel(SIZES)(batch, keep_weights=True)
    before, after = batch.weights[0][..., 3:9], found.weights[0][..., 3:9]
    assert torch.equal(before, after)
    assert not torch.equal(batch.weights[0], found.weights[0])
    # Left out, which they are where nobody asks for them, they change nothing but the order of
    # sums that they add zeros to.
    torch.testing.assert_close(AdamKernel(SIZES)(batch).loss, found.loss, rtol=1e-13, atol=0)


def test_without_a_step_nothing_is_learned():
    found = AdamKernel(SIZES)(batch_of((1e-2,), steps=0))
    assert torch.equal(found.loss, found.initial_loss)


def test_what_is_not_finite_says_so():
    found = AdamKernel(SIZES)(batch_of((1e-3, 1e38), dtype=torch.float32))
    assert found.loss.isfinite().tolist() == [True, False]
    assert found.accuracy[1] == 0


def test_tensors_elsewhere_are_refused():
    batch = batch_of((1e-3,), dtype=torch.float16)
    with pytest.raises(Unsupported, match=r"dtype torch\.float16"):
        AdamKernel(SIZES)(batch)


# --- as a population ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours():
    """Backprop by SGD, and beside it by Adam."""
    some = population(pool=Pool(F="-e_post*y_pre"), pathway="symmetric", kernel="fused")
    return some, by_adam(some)


def test_it_learns_the_same_tasks_from_the_same_weights(ours):
    rate = torch.tensor([0.01], dtype=torch.float64)
    sgd, adam = (some(rate, SEEDS) for some in ours)
    assert torch.equal(sgd.initial_loss, adam.initial_loss)
    assert not torch.equal(sgd.loss, adam.loss)
    at_rest = ours[1](0 * rate, SEEDS)
    assert torch.equal(at_rest.loss, adam.initial_loss)


@pytest.mark.parametrize("like", [{"kernel": "einsum"}, {"pathway": "random"}])
def test_neither_kernel_nor_pathway_of_the_search_counts(ours, like):
    rate = torch.tensor([0.01], dtype=torch.float64)
    assert same(by_adam(replace(ours[0], **like))(rate, SEEDS), ours[1](rate, SEEDS))


def test_a_lifetime_that_diverges_is_scored_as_everywhere(ours):
    outcomes = measure(ours[1], (1e38,), SEEDS, 3)
    assert all(outcomes.diverged)
    worst = [max(before, math.log(3)) for before in outcomes.initial_loss]
    assert outcomes.loss == pytest.approx(worst)
    assert outcomes.accuracy == pytest.approx([1 / 3] * len(SEEDS))


@pytest.mark.slow
def test_workers_change_no_bit(ours):
    rate = torch.tensor([0.01], dtype=torch.float64)
    other = replace(ours[1], images=images(per_class=9))
    alone = [some(rate, SEEDS) for some in (ours[1], other)]
    with started("processes", 2, [ours[1].images, other.images]) as executor:
        shared = [some(rate, SEEDS, executor=executor) for some in (ours[1], other)]
    assert all(map(same, shared, alone))
