"""What must not change what a lifetime gives, for every kernel."""

import itertools
from dataclasses import replace

import batches
import torch
import unrolled
from batches import (
    PAPER,
    assert_close,
    kernels,
    paper_theta,
    pathways,
    scaled,
)
from batches import given as lifetimes_of

from rulesearch.notation import Pool


@kernels
def test_lifetimes_do_not_know_of_each_other(kernel):
    start = lifetimes_of(10, lifetimes=3)
    theta = paper_theta(start)
    together = batches.run(PAPER, theta, start, kernel=kernel, gradient=True)
    for order in ([0], [1], [2], [2, 0, 1]):
        apart = batches.run(PAPER, theta, start.at(order), kernel=kernel, gradient=True)
        assert_close(apart.loss, together.loss[order])
        assert_close(scaled(apart.gradient, theta), scaled(together.gradient[order], theta))
        for a, b in zip(apart.weights, together.weights, strict=True):
            assert_close(a, b[order])


@kernels
@pathways
def test_permuting_hidden_neurons_permutes_the_weights(kernel, path):
    start = lifetimes_of(11, pathway=path)
    sizes = [start.weights[0].shape[2], *(w.shape[1] for w in start.weights)]
    generator = torch.Generator().manual_seed(2)
    order = [torch.randperm(n, generator=generator) for n in sizes[:-1]] + [torch.arange(sizes[-1])]
    order[0] = torch.arange(sizes[0]).flip(0)

    def permuted(weights):
        return [
            w[:, post][:, :, pre]
            for w, (pre, post) in zip(weights, itertools.pairwise(order), strict=True)
        ]

    feedback = start.feedback and [
        b[:, order[i]][:, :, order[-1] if path == "direct" else order[i + 1]]
        for i, b in enumerate(start.feedback)
    ]
    other = replace(
        start,
        weights=permuted(start.weights),
        feedback=feedback,
        train=(start.train[0][..., order[0]], start.train[1]),
        query=(start.query[0][..., order[0]], start.query[1]),
    )
    theta = paper_theta(start)
    before = batches.run(PAPER, theta, start, kernel=kernel, gradient=True)
    after = batches.run(PAPER, theta, other, kernel=kernel, gradient=True)
    assert_close(after.loss, before.loss)
    assert_close(scaled(after.gradient, theta), scaled(before.gradient, theta))
    for a, b in zip(after.weights, permuted(before.weights), strict=True):
        assert_close(a, b)


def test_scaling_terms_and_theta_inversely_changes_nothing():
    start = lifetimes_of(12)
    theta = paper_theta(start)
    # Powers of two, so that scaling rounds nothing; sums may still run in another order.
    factors = torch.tensor([2.0 ** (i - 4) for i in range(len(PAPER))], dtype=torch.float64)
    larger = Pool(**{t.name: t.expression * 2 ** (i - 4) for i, t in enumerate(PAPER.terms)})
    plain = batches.run(PAPER, theta, start, kernel="einsum", gradient=True)
    other = batches.run(larger, theta / factors, start, kernel="einsum", gradient=True)
    assert_close(other.loss, plain.loss)
    assert_close(scaled(other.gradient, theta / factors), scaled(plain.gradient, theta))


def test_the_same_rule_as_one_term_or_as_many():
    start = lifetimes_of(13)
    theta = paper_theta(start)
    as_one = Pool(A=sum(float(c) * t.expression for c, t in zip(theta, PAPER.terms, strict=True)))
    many = batches.run(PAPER, theta, start, kernel="einsum", gradient=True)
    one = batches.run(
        as_one, torch.ones(1, dtype=torch.float64), start, kernel="einsum", gradient=True
    )
    assert_close(one.loss, many.loss)
    # Euler: the derivative by a common factor of all coefficients.
    assert_close(one.gradient[:, 0], (many.gradient * theta).sum(1))


@kernels
def test_pseudo_gradient_by_a_symmetric_pathway_is_gradient_descent(kernel):
    start = lifetimes_of(14, pathway="symmetric", steps=1)
    rate = 0.1
    weights = [w.clone().requires_grad_() for w in start.weights]
    x, labels = start.train
    loss = unrolled.query_loss(weights, x, labels).sum()
    gradients = torch.autograd.grad(loss, weights)
    theta = torch.zeros(len(PAPER), dtype=torch.float64)
    theta[0] = rate
    out = batches.run(PAPER, theta, start, kernel=kernel, gradient=True)
    for got, weight, slope in zip(out.weights, start.weights, gradients, strict=True):
        assert_close(got, weight - rate * slope)


@kernels
def test_nothing_given_is_changed(kernel):
    start = lifetimes_of(15)
    theta = paper_theta(start)
    before = [t.clone() for t in [theta, *start.tensors]]
    out = batches.run(PAPER, theta, start, kernel=kernel, gradient=True)
    assert all(torch.equal(a, b) for a, b in zip(before, [theta, *start.tensors], strict=True))
    for got, given_ in zip(out.weights, start.weights, strict=True):
        assert got.data_ptr() != given_.data_ptr()


@kernels
def test_threads_change_no_bit(kernel):
    start = lifetimes_of(20, lifetimes=5)
    theta = paper_theta(start)
    outcomes = []
    threads = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            outcomes.append(batches.run(PAPER, theta, start, kernel=kernel, gradient=True))
        finally:
            torch.set_num_threads(threads)
    one, three = outcomes
    assert torch.equal(one.loss, three.loss)
    assert torch.equal(one.gradient, three.gradient)
