"""Every kernel gives what the oracle, autograd and differences say."""

from dataclasses import replace

import batches
import networkx as nx
import numpy as np
import oracle
import pytest
import strategies
import torch
import unrolled
from batches import (
    HEBBIAN,
    PAPER,
    TOLERANCE,
    WILD,
    as_written,
    assert_close,
    gradient_error,
    kernels,
    paper_theta,
    pathways,
    scaled,
)
from batches import given as lifetimes_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rulesearch.kernels import Batch, Kernel
from rulesearch.kernels.einsum import build
from rulesearch.kernels.einsum import kernel as einsum_kernel
from rulesearch.lifetime import compiled
from rulesearch.lowering import lower
from rulesearch.notation import Pool
from rulesearch.operators import OPERATORS
from rulesearch.pathways import PATHWAYS, pathway

# --- against the oracle ---------------------------------------------------------------------------


def oracle_weights(expressions, theta, start, lifetime):
    return oracle.lifetime(
        expressions,
        theta.numpy(),
        [w[lifetime].numpy() for w in start.weights],
        start.feedback and [b[lifetime].numpy() for b in start.feedback],
        start.train[0][lifetime].numpy(),
        start.train[1][lifetime].numpy(),
        start.pathway,
    )


def assert_gives_the_oracles_weights(out, expressions, theta, start):
    for i in range(len(start.weights[0])):
        expected = oracle_weights(expressions, theta, start, i)
        for got, weight in zip(out.weights, expected, strict=True):
            assert_close(got[i], torch.from_numpy(weight))
        query = start.query[0][i].numpy(), start.query[1][i].numpy()
        assert float(out.loss[i]) == pytest.approx(
            oracle.query_loss(expected, *query), abs=TOLERANCE
        )


@kernels
@pathways
def test_lifetimes_of_the_papers_pool_are_the_oracles(kernel, path):
    start = lifetimes_of(1, (4, 3, 3, 2), path, steps=3)
    theta = paper_theta(start)
    out = batches.run(PAPER, theta, start, kernel=kernel, gradient=True)
    assert_gives_the_oracles_weights(out, as_written(PAPER), theta, start)


@kernels
def test_a_weight_of_zero_has_no_sign_to_carry_errors(kernel):
    start = lifetimes_of(1, (4, 3, 3, 2), "sign-symmetric", steps=1)
    start.weights[1][:, 1, 2] = 0.0
    start.weights[2][0] = 0.0
    pool = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre")
    theta = torch.tensor([0.1, 0.2], dtype=torch.float64)
    out = batches.run(pool, theta, start, kernel=kernel)
    assert_gives_the_oracles_weights(out, as_written(pool), theta, start)


@pathways
def test_lifetimes_of_the_hebbian_pool_are_the_oracles(path):
    y, e = "y_pre", "e_pre"  # the file's own operator, written out
    pool = Pool(
        oja_cell="y_post*y_pre - y_post**2*W",
        saturating="tanh(y_post)*y_pre - W",
        magnitude="-Abs(W)*y_pre",
        gated="-W*y_pre/(1 + Abs(W*y_pre))",
        potential=f"-z_post/(1 + Abs(z_post))*{y}",
        third_factor=f"L*z_post/(1 + Abs(z_post))*{y}",
        hebb_error=f"-e_post*{e}",
    )
    start = lifetimes_of(2, (4, 3, 3, 2), path, steps=3)
    theta = paper_theta(start, pool)
    every = torch.zeros(len(HEBBIAN), dtype=torch.float64)
    for name, value in zip(pool.names, theta, strict=True):
        every[HEBBIAN.names.index(name)] = value
    out = batches.run(HEBBIAN, every, start, kernel="einsum")
    assert_gives_the_oracles_weights(out, as_written(pool), theta, start)


@given(strategies.terms(), strategies.networks)
@settings(max_examples=60)
def test_a_step_of_a_random_term_is_the_oracles(term, network):
    start = batches.stacked([network])
    expressions = [term.expression]
    theta = batches.moderate(expressions, start)
    assume(theta.isfinite().all() and batches.is_well_posed(expressions, theta, start))
    out = batches.run(Pool(A=term.expression), theta, start, kernel="einsum")
    assert_gives_the_oracles_weights(out, expressions, theta, start)


# --- the meta-gradient ----------------------------------------------------------------------------


@kernels
@pathways
def test_meta_gradient_of_the_papers_pool_is_autograds(kernel, path):
    start = lifetimes_of(3, pathway=path, steps=5)
    assert gradient_error(PAPER, paper_theta(start), start, kernel) <= TOLERANCE


@kernels
def test_signs_that_carry_errors_are_those_of_the_step(kernel):
    start = lifetimes_of(3, pathway="sign-symmetric", steps=8)
    for weight in start.weights:
        weight *= 0.1  # small beside what a step changes
    theta = paper_theta(start)
    final = batches.run(PAPER, theta, start, kernel=kernel).weights
    for before, after in zip(start.weights, final, strict=True):
        assert (before.sign() != after.sign()).any()
    assert gradient_error(PAPER, theta, start, kernel) <= TOLERANCE


@pathways
@pytest.mark.parametrize("pool", [HEBBIAN, WILD], ids=["hebbian", "wild"])
def test_meta_gradient_is_autograds(pool, path):
    start = lifetimes_of(4, pathway=path, steps=5)
    assert gradient_error(pool, paper_theta(start, pool), start, "einsum") <= TOLERANCE


@given(strategies.pools(most=3), strategies.seeds, st.sampled_from(strategies.PATHWAYS))
@settings(max_examples=60)
def test_meta_gradient_of_random_pools_is_autograds(pool, seed, path):
    start = lifetimes_of(seed % 2**31, (4, 3, 2), path, steps=5)
    theta = batches.moderate(as_written(pool), start)
    assume(theta.isfinite().all() and batches.is_well_posed(as_written(pool), theta, start))
    assert gradient_error(pool, theta, start, "einsum") <= TOLERANCE


# Max, Min and Abs bend: where a difference straddles a bend, it is no derivative.
_ANALYTIC = tuple(
    n for n, row in OPERATORS.items() if row.smooth and n not in ("Abs", "Max", "Min")
)


@given(strategies.pools(most=2, operators=_ANALYTIC), strategies.seeds)
@settings(max_examples=25)
def test_meta_gradient_of_random_pools_is_central_differences(pool, seed):
    path = strategies.PATHWAYS[seed % len(strategies.PATHWAYS)]
    start = lifetimes_of(seed % 2**31, (4, 3, 2), path, lifetimes=1, steps=4)
    theta = batches.moderate(as_written(pool), start)
    assume(theta.isfinite().all() and batches.is_well_posed(as_written(pool), theta, start))
    out = batches.run(pool, theta, start, kernel="einsum", gradient=True)
    for r in range(len(pool)):
        got = float(scaled(out.gradient, theta)[0, r])
        small, large = (_central_difference(pool, theta, start, r, h) for h in (1e-4, 2e-4))
        # The error of the smaller is a third of the difference between them, up to its next order,
        # and what rounding does to the losses, over the step.
        bound = abs(large - small) + 1e-12 / 1e-4
        assume(bound < 1e-4)
        assert abs(got - small) <= bound


def _central_difference(pool, theta, start, r, h):
    """Of the loss of the only lifetime, with respect to coefficient r in units of its own."""
    both = torch.stack([theta, theta])
    both[0, r] += h * theta[r].abs()
    both[1, r] -= h * theta[r].abs()
    layers = len(start.weights)
    twice = start.at([0, 0])
    out = batches.run(pool, both[:, None, :].expand(2, layers, -1), twice, kernel="einsum")
    return float(out.loss[0] - out.loss[1]) / (2 * h)


@kernels
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 9, 10, 17, 26, 51])
def test_replay_at_every_length_of_a_lifetime(kernel, steps):
    start = lifetimes_of(5, (4, 3, 3), steps=steps)
    # So little learning in each step that the last still has gradients.
    theta = batches.moderate(as_written(PAPER), start, change=0.2 / steps)
    assert gradient_error(PAPER, theta, start, kernel) <= TOLERANCE


@kernels
def test_a_lifetime_without_steps_learns_nothing(kernel):
    start = lifetimes_of(5, (4, 3, 3), steps=0)
    theta = torch.full((len(PAPER),), 0.1, dtype=torch.float64)
    out = batches.run(PAPER, theta, start, kernel=kernel, gradient=True)
    assert torch.equal(out.loss, out.initial_loss)
    assert not out.gradient.any()
    assert all(torch.equal(a, b) for a, b in zip(out.weights, start.weights, strict=True))


@pytest.mark.parametrize("path", strategies.PATHWAYS)
@pytest.mark.parametrize("pool", [PAPER, WILD], ids=["paper", "wild"])
def test_adjoint_of_a_step_by_the_dot_product(pool, path):
    """⟨J v, λ⟩ = ⟨v, Jᵀ λ⟩, J the derivative of one step by weights and coefficients."""
    start = lifetimes_of(6, pathway=path, steps=1)
    theta = batches.spread(paper_theta(start, pool), start)
    sizes = tuple(start.weights[0].shape[-1:]) + tuple(w.shape[1] for w in start.weights)
    kernel = build(lower(pool), sizes, pathway(path, len(start.weights)))
    generator = torch.Generator().manual_seed(0)

    def random(like):
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    v_theta, v_weights = random(theta), [random(w) for w in start.weights]
    lam = [random(w) for w in start.weights]
    x, labels = start.train[0][:, 0], start.train[1][:, 0]

    def step(theta, weights):
        arguments = start.feedback, x, labels, path
        return unrolled.step(as_written(pool), theta, weights, *arguments)

    _, J_v = torch.func.jvp(step, (theta, start.weights), (v_theta, v_weights))
    batch = Batch(theta, start.weights, start.feedback, *start.train, *start.query)
    K = kernel.coefficients(theta)
    bar_k = [einsum_kernel.zeros_like(k) for k in K]
    _, record = kernel.step(batch, K, kernel.start(batch), 0)
    J_lam = kernel.adjoint(record, einsum_kernel.State({"W": lam}), bar_k).W
    theta_bar = einsum_kernel.theta_gradient(kernel.forms, bar_k[0])

    def dot(a, b):
        return sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))

    left = dot(J_v, lam)
    right = dot(v_weights, J_lam) + dot([v_theta], [theta_bar])
    # Both are sums of fewer than 1e3 products, the largest of them bounded by these norms.
    size = dot(J_v, J_v) ** 0.5 * dot(lam, lam) ** 0.5 + dot([theta_bar], [theta_bar]) ** 0.5
    assert abs(left - right) <= 1e3 * np.finfo(float).eps * max(size, 1.0)


def test_a_pathway_of_several_carriers_goes_to_einsum(monkeypatch):
    def mixed_graph(depth):
        graph = nx.DiGraph()
        for target, kind in enumerate(("transpose", "fixed", "signs")):
            graph.add_edge(target + 1, target, carrier=kind)
        return graph

    monkeypatch.setitem(PATHWAYS, "mixed", mixed_graph)
    start = lifetimes_of(10, steps=5)
    theta = paper_theta(start)
    mixed = replace(start, pathway="mixed")
    out = batches.run(PAPER, theta, mixed, kernel="fused", gradient=True)
    assert out.note == (
        "fused cannot take the mixed pathway, whose edges have carriers of several kinds; "
        "using einsum"
    )
    alone = batches.run(PAPER, theta, mixed, kernel="einsum", gradient=True)
    assert alone.note == ""
    assert torch.equal(out.gradient, alone.gradient)


# --- the forms that theta may have ----------------------------------------------------------------


@kernels
def test_theta_of_a_layer_and_of_a_lifetime(kernel):
    start = lifetimes_of(7, lifetimes=3)
    layers = len(start.weights)
    generator = torch.Generator().manual_seed(1)
    factors = torch.rand(3, layers, 1, generator=generator, dtype=torch.float64) + 0.5
    each = paper_theta(start) * factors
    loss, gradient, _ = batches.reference(as_written(PAPER), each, start)
    out = batches.run(PAPER, each, start, kernel=kernel, gradient=True)
    assert out.gradient.shape == (3, layers, len(PAPER))
    assert_close(out.loss, loss)
    assert_close(scaled(out.gradient, each), scaled(gradient, each))

    _, gradient, _ = batches.reference(as_written(PAPER), each[0], start)
    out = batches.run(PAPER, each[0], start, kernel=kernel, gradient=True)
    assert out.gradient.shape == (3, layers, len(PAPER))
    assert_close(scaled(out.gradient, each[0]), scaled(gradient, each[0]))

    _, gradient, _ = batches.reference(as_written(PAPER), each[0, 0], start)
    out = batches.run(PAPER, each[0, 0], start, kernel=kernel, gradient=True)
    assert out.gradient.shape == (3, len(PAPER))
    expected = gradient.sum(1)
    assert_close(scaled(out.gradient, each[0, 0]), scaled(expected, each[0, 0]))


@kernels
def test_gradient_of_some_terms_is_theirs_and_zero_elsewhere(kernel):
    start = lifetimes_of(8)
    theta = paper_theta(start)
    every = batches.run(PAPER, theta, start, kernel=kernel, gradient=True).gradient
    some = batches.run(PAPER, theta, start, kernel=kernel, gradient=["F9", "F0"]).gradient
    asked = [PAPER.names.index(n) for n in ("F0", "F9")]
    assert_close(some[:, asked], every[:, asked])
    rest = [i for i in range(len(PAPER)) if i not in asked]
    assert not some[:, rest].any()
    assert every[:, rest].all()


def test_gradient_at_a_coefficient_of_zero():
    start = lifetimes_of(9)
    theta = paper_theta(start)
    theta[1:] = 0.0
    _, gradient, _ = batches.reference(as_written(PAPER), theta, start)
    out = batches.run(PAPER, theta, start, kernel="einsum", gradient=["F2", "F9"])
    asked = [PAPER.names.index(n) for n in ("F2", "F9")]
    assert_close(out.gradient[:, asked], gradient.sum(1)[:, asked])


# --- numbers at their limits ----------------------------------------------------------------------


@kernels
def test_a_lifetime_that_explodes_says_so_and_harms_no_other(kernel):
    start = lifetimes_of(16, lifetimes=2)
    each = batches.spread(paper_theta(start), start)
    alone = batches.run(PAPER, each[1:], start.at([1]), kernel=kernel, gradient=True)
    each[0] = 1e200
    out = batches.run(PAPER, each, start, kernel=kernel, gradient=True)
    assert not out.loss[0].isfinite()
    assert not out.gradient[0].isfinite().all()
    assert_close(out.loss[1:], alone.loss)
    assert_close(scaled(out.gradient[1:], each[1:]), scaled(alone.gradient, each[1:]))


def test_what_is_not_finite_stays_so():
    start = lifetimes_of(17, steps=2)
    start.train[0][:, 0, 0] = 0.0  # a pixel whose logarithm does not exist
    out = batches.run(
        Pool(A="log(y_pre)"), torch.tensor([0.01]), start, kernel="einsum", gradient=True
    )
    assert not out.loss.isfinite().any()
    assert not out.gradient.isfinite().any()
    assert not out.accuracy.any()


@kernels
def test_single_precision_agrees_with_double(kernel):
    start = lifetimes_of(18, steps=4).to(torch.float32)
    theta = paper_theta(start.to(torch.float64)).float()
    single = batches.run(PAPER, theta, start, kernel=kernel, gradient=True)
    double = batches.run(
        PAPER, theta.double(), start.to(torch.float64), kernel="einsum", gradient=True
    )
    # Rounding to float32 at each of 4 steps x 3 layers x some 30 operations a value, on values of
    # order one; as much again backward, and an order of magnitude for the slope β of the gate.
    bound = 10 * 2 * 4 * 3 * 30 * float(np.finfo(np.float32).eps)
    assert single.loss.dtype == torch.float32
    assert_close(single.loss.double(), double.loss, bound)
    got, expected = (scaled(o.gradient.double(), theta.double()) for o in (single, double))
    assert_close(got, expected, bound)
    for a, b in zip(single.weights, double.weights, strict=True):
        assert_close(a.double(), b, bound)


# --- what a kernel shows of itself ----------------------------------------------------------------


@kernels
def test_a_kernel_shows_its_source(kernel):
    made = compiled(kernel, lower(PAPER), (4, 3, 2), pathway("random", 2))
    assert isinstance(made, Kernel)
    compile(made.source, "<kernel>", "exec")
    assert "e_pre" in made.source


def test_forward_alone_gives_the_same_and_no_gradient():
    start = lifetimes_of(19)
    theta = paper_theta(start)
    with_it = batches.run(PAPER, theta, start, kernel="einsum", gradient=True)
    alone = batches.run(PAPER, theta, start, kernel="einsum", keep_weights=False)
    assert alone.gradient is None
    assert alone.weights is None
    assert torch.equal(alone.loss, with_it.loss)
    assert torch.equal(alone.accuracy, with_it.accuracy)
