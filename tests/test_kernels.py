"""Every kernel gives what the oracle, autograd, differences, and the symmetries of the task say.

Tolerances. A lifetime of these tests is some 10^4 operations on values kept below 100, each with a
relative error of epsilon, so 2e-16 * 1e4 * 100 = 2e-10 bounds what rounding does to values of
order one; a factor of ten is left for what the steps after it make of an error.
"""

import itertools
from dataclasses import replace

import batches
import numpy as np
import oracle
import pytest
import strategies
import torch
import unrolled
from batches import given as lifetimes_of
from golden import GRAMMAR
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rulesearch.kernels import KERNELS, Batch, Kernel
from rulesearch.kernels.einsum import build
from rulesearch.kernels.einsum import kernel as einsum_kernel
from rulesearch.lifetime import compiled
from rulesearch.lowering import lower
from rulesearch.notation import Pool, load_pool
from rulesearch.operators import OPERATORS
from rulesearch.pathways import pathway

TOLERANCE = 2e-9

PAPER = load_pool(GRAMMAR / "paper_pool.py")
HEBBIAN = load_pool(GRAMMAR / "hebbian.py")
POOLS = {"paper": PAPER, "hebbian": HEBBIAN}

# Operators that make kernels work: a matrix that does not separate, sums of it over either side,
# over both, and inside one another; layer-wide values; numbers.
WILD = Pool(
    a="tanh(W*y_pre + tanh(z_post)**2*n_pre*L)*tanh(z_post)",
    b="Max(W, y_post*2, e_post)*sum_pre(tanh(W*y_pre)*tanh(e_pre))",
    c="sqrt(2)*W*sum_post(W*sum_pre(W*tanh(e_pre)))",
    d="sum_pre(tanh(sum_post(W*sum_pre(y_pre))))",
    e="3",
    f="y_pre*sum_pre(e_pre**2)*sum_post(e_post**2)",
    g="z_pre*n_post*W",
    h="sum_post(W)*sum_pre(W)",
    i="e_pre*L",
    j="sum_pre(exp(-W**2))*y_post",
)

kernels = pytest.mark.parametrize("kernel", KERNELS)
pathways = pytest.mark.parametrize("path", strategies.PATHWAYS)


def as_written(pool):
    """The expressions without what the pool defines itself: the reference knows those by name."""
    return [t.expression for t in pool]


def paper_theta(start, pool=PAPER):
    return batches.moderate(as_written(pool), start)


def assert_close(got, expected, tolerance=TOLERANCE):
    """Equal to so many digits of the largest entry, or of one."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    scale = max(1.0, float(expected.abs().max()))
    assert float((got - expected).abs().max()) <= tolerance * scale


def scaled(gradient, theta):
    """Derivatives with respect to the coefficients in units of their own."""
    return gradient * theta.abs()


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


@pathways
def test_lifetimes_of_the_hebbian_pool_are_the_oracles(path):
    y, e = "y_pre", "e_pre"  # the file's own operator, written out
    pool = Pool(
        oja_cell="y_post*y_pre - y_post**2*W",
        saturating="tanh(y_post)*y_pre - W",
        magnitude="-Abs(W)*y_pre",
        gated="-tanh(W*y_pre)",
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


def gradient_error(pool, theta, start, kernel, **more):
    """The largest difference from autograd, of loss, gradient and weights; units of order one."""
    loss, gradient, weights = batches.reference(as_written(pool), theta, start)
    out = batches.run(
        pool, batches.spread(theta, start), start, kernel=kernel, gradient=True, **more
    )
    pairs = [(out.loss, loss), (scaled(out.gradient, theta), scaled(gradient, theta))]
    pairs += zip(out.weights, weights, strict=True)
    return max(float((a - b).abs().max()) / max(1.0, float(b.abs().max())) for a, b in pairs)


@kernels
@pathways
def test_meta_gradient_of_the_papers_pool_is_autograds(kernel, path):
    start = lifetimes_of(3, pathway=path, steps=5)
    assert gradient_error(PAPER, paper_theta(start), start, kernel) <= TOLERANCE


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
    path = strategies.PATHWAYS[seed % 3]
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
    bar_k = einsum_kernel.zeros_like(K)
    _, record = kernel.step(batch, K, list(start.weights), 0)
    J_lam = kernel.adjoint(batch, K, record, lam, bar_k)
    theta_bar = kernel.theta_gradient(bar_k, range(len(pool)))

    def dot(a, b):
        return sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))

    left = dot(J_v, lam)
    right = dot(v_weights, J_lam) + dot([v_theta], [theta_bar])
    # Both are sums of fewer than 1e3 products, the largest of them bounded by these norms.
    size = dot(J_v, J_v) ** 0.5 * dot(lam, lam) ** 0.5 + dot([theta_bar], [theta_bar]) ** 0.5
    assert abs(left - right) <= 1e3 * np.finfo(float).eps * max(size, 1.0)


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


# --- symmetries -----------------------------------------------------------------------------------


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


# --- the properties above catch kernels that are wrong --------------------------------------------


def _flipped_group(plan, sizes, path):
    first, *others = plan.groups
    parts = tuple(replace(p, coefficient=-p.coefficient) for p in first.parts)
    return build(replace(plan, groups=(replace(first, parts=parts), *others)), sizes, path)


def _with_source(old, new, count=-1):
    """A builder of kernels in whose source one text stands for another."""

    def make(plan, sizes, path):
        kernel = build(plan, sizes, path)
        source = kernel.source.replace(old, new, count)
        assert source != kernel.source
        names = {"torch": torch}
        exec(source, names)
        return replace(kernel, source=source, values=names["values"], pull=names["pull"])

    return make


class _OffByOne(einsum_kernel.EinsumKernel):
    def replay(self, batch, K, W, times):
        steps = batch.x.shape[1]
        return super().replay(batch, K, W, [min(t + 1, steps - 1) for t in times])


def _replay_off_by_one(plan, sizes, path):
    kernel = build(plan, sizes, path)
    return _OffByOne(**{name: getattr(kernel, name) for name in kernel.__dataclass_fields__})


DEFECTS = {
    "one group with the other sign": _flipped_group,
    "a sum over the wrong vector": _with_source("torch.bmm(e_pre, W.mT)", "torch.bmm(y_pre, W.mT)"),
    "a sum whose weights are taken for constants": _with_source("pairs.append(", "len("),
    "a function's derivative left out": _with_source(
        "add('y_post', (bar_", "add('y_post', 2 * (bar_"
    ),
    "replay one step late": _replay_off_by_one,
}


def gradient_is_wrong(kernel, path="random"):
    start = lifetimes_of(3, pathway=path, steps=5)
    return gradient_error(PAPER, paper_theta(start), start, kernel) > 1e3 * TOLERANCE


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_caught(defect, monkeypatch):
    monkeypatch.setitem(KERNELS, defect, DEFECTS[defect])
    assert gradient_is_wrong(defect)


def test_gate_taken_for_constant_is_caught(monkeypatch):
    monkeypatch.setattr(einsum_kernel, "slope_derivative", torch.zeros_like)
    assert gradient_is_wrong("einsum")


def test_feedback_taken_for_constant_is_caught(monkeypatch):
    """With a symmetric pathway the meta-gradient includes that B is Wᵀ."""
    whole = einsum_kernel.EinsumKernel.adjoint

    def without_ties(self, *arguments):
        untied = replace(self.path, edges=tuple(replace(e, tied=False) for e in self.path.edges))
        return whole(replace(self, path=untied), *arguments)

    def fixed(self, batch, W, target, tied):
        return W[target].mT

    monkeypatch.setattr(einsum_kernel.EinsumKernel, "adjoint", without_ties)
    monkeypatch.setattr(einsum_kernel.EinsumKernel, "_carrier", fixed)
    assert gradient_is_wrong("einsum", "symmetric")


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
