"""Terms that are zero and only differentiated: the same numbers, for what their products cost."""

import dataclasses
import itertools
import math

import batches
import hypothesis
import pytest
import strategies
import sympy
import torch
from hypothesis import strategies as st
from test_fused import EVERYTHING, PAPER, SCALING, SIZES, batch_of, kernels, only, relative
from test_zeros import assert_same, start_of

from rulesearch.kernels import KERNELS, Unsupported
from rulesearch.kernels.einsum import build as build_einsum
from rulesearch.kernels.fused import kernel as fused_kernel
from rulesearch.kernels.fused import products as products_module
from rulesearch.kernels.fused.idle import idle_products, idle_source
from rulesearch.kernels.fused.schedule import schedule_of
from rulesearch.lifetime.working import compiled
from rulesearch.lowering import lower, lower_terms
from rulesearch.notation import Pool, Term, W, e_post, e_pre, y_post, y_pre
from rulesearch.operators import operator_of
from rulesearch.pathways import pathway

#: Rules whose weights the adjoint gets back in different ways: by undoing them alone, in the pass
#: of groups and in that of sums, and by repeating them.
RULES = {
    "alone": Pool(F0="-e_post*y_pre"),
    "groups": Pool(F0="-e_post*y_pre", F3="-W"),
    "sums": Pool(F0="-e_post*y_pre", F9="y_post*y_pre - y_post*sum_post(y_post*W)"),
    "repeated": SCALING,
    "synapses": Pool(F0="-e_post*y_pre", T="-tanh(W*y_pre)", S="y_post*sum_pre(tanh(W)*e_pre)"),
    "no error": Pool(A="y_post*y_pre"),
}
#: Each rule compiles a kernel.
every_rule = pytest.mark.parametrize(
    "rule",
    [pytest.param(n, marks=() if n in ("alone", "sums") else pytest.mark.slow) for n in RULES],
)
#: Infinite at a pixel of 0 or 1/2, at a weight of 0, at every error, or only on the way there.
INFINITE = Pool(
    at_pixels="-e_post/y_pre",
    at_halves="y_post*log(Abs(y_pre - 1/2))",
    at_weights="y_post*y_pre*log(Abs(W))",
    summed="y_post*sum_post(1/W)*y_pre",
    beyond="exp(901*z_post**4)*e_pre",
    finite="-e_post*e_pre",
    steep="-e_post*sqrt(Abs(e_pre))",
)


def monomials(degree):
    """Terms of all monomials of this degree at most, alone, times W and times its magnitude."""
    powers = itertools.product(range(degree + 1), repeat=4)
    products = [
        y_pre**a * e_pre**b * y_post**c * e_post**d
        for a, b, c, d in powers
        if a + b + c + d <= degree
    ]
    factors = (sympy.Integer(1), W, sympy.Abs(W))
    expressions = [s * product for s in factors for product in products]
    return tuple(Term.of(f"T{i}", e) for i, e in enumerate(expressions))


def as_terms_of_the_rule(rule, idle, batch):
    """What `einsum` gives where idle terms are terms of the rule like all others."""
    plan = lower_terms((*rule.terms, *idle.terms))
    zeros = batch.theta.new_zeros(*batch.theta.shape[:2], len(idle.terms))
    theta = torch.cat([batch.theta, zeros], dim=-1)
    einsum = build_einsum(plan, SIZES, pathway("random", len(SIZES) - 1))
    return einsum(dataclasses.replace(batch, theta=theta), gradient=range(len(plan.terms)))


# --- the same numbers -----------------------------------------------------------------------------


@every_rule
def test_idle_terms_have_the_derivatives_of_terms_of_the_rule(rule):
    pool, idle = RULES[rule], EVERYTHING
    fused, einsum = kernels(pool)
    batch = batch_of(pool, scale=1e-3)
    own = range(len(pool))
    expected = as_terms_of_the_rule(pool, idle, batch).gradient[..., len(pool) :]
    plan = lower(idle)
    for kernel in (einsum, fused):
        found = kernel(batch, gradient=own, idle=plan)
        for term in range(len(idle)):
            assert relative(found.idle[..., term], expected[..., term]) < 1e-10
        alone = kernel(batch, gradient=own)
        assert torch.equal(found.loss, alone.loss)
        assert relative(found.gradient, alone.gradient) < 1e-10
        assert torch.equal(kernel(batch, idle=plan).idle, found.idle)


@pytest.mark.slow
@pytest.mark.parametrize("path", strategies.PATHWAYS)
def test_errors_that_only_idle_terms_read(path):
    pool = RULES["no error"]
    fused, einsum = kernels(pool, path)
    batch = batch_of(pool, path, scale=1e-3)
    for idle in (Pool(A="-e_post*y_pre"), Pool(A="-y_post*e_pre", B="W*e_pre")):
        plan = lower(idle)
        found, expected = (kernel(batch, idle=plan).idle for kernel in (fused, einsum))
        assert relative(found, expected) < 1e-10
        assert float(expected.abs().amax((0, 2)).min()) > 0


@pytest.mark.slow
def test_float32_is_as_near_to_float64_as_that_of_the_rule_s_own_terms():
    fused, _ = kernels(PAPER)
    batch = batch_of(PAPER, steps=60, dtype=torch.float32)
    double = dataclasses.replace(batch_of(PAPER, steps=60), theta=batch.theta.double())
    plan = lower(PAPER)
    expected = fused(double, gradient=range(10), idle=plan)
    found = fused(batch, gradient=range(10), idle=plan)
    for term in range(10):
        own = relative(found.gradient[..., term].double(), expected.gradient[..., term])
        beside = relative(found.idle[..., term].double(), expected.gradient[..., term])
        assert beside < 4 * own + 1e-5


# Each example compiles, and shrinking would take a hundred of them.
@pytest.mark.slow
@hypothesis.settings(
    max_examples=12,
    derandomize=True,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=[hypothesis.HealthCheck.filter_too_much, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(strategies.pools(most=4, singular=True, leaves=5), strategies.seeds)
def test_drawn_idle_terms(idle, seed):
    """The same entries are finite in both kernels, and these are the same numbers."""
    pool = RULES["sums"]
    fused, einsum = kernels(pool)
    batch = batch_of(pool, seed=seed % 2**31, steps=3, scale=1e-3)
    plan = lower(idle)
    expected, found = (kernel(batch, gradient=[0, 1], idle=plan) for kernel in (einsum, fused))
    assert torch.equal(found.loss, fused(batch).loss)
    assert torch.equal(found.idle.isfinite(), expected.idle.isfinite())
    there = expected.idle.isfinite()
    size = torch.where(there, expected.idle, 0.0).abs().amax((0, 1)).clamp(min=1e-3)
    apart = torch.where(there, (found.idle - expected.idle).abs(), 0.0) / size
    assert float(apart.max()) < 1e-9


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_infinite_idle_term_spoils_its_own_entry_alone(kernel):
    start = start_of(1)
    pool = Pool(A="-e_post*y_pre", **{t.name: t.expression for t in INFINITE if t.name != "summed"})
    theta = torch.zeros(len(pool), dtype=torch.float64)
    theta[0] = 0.1
    alone = batches.run(Pool(A="-e_post*y_pre"), theta[:1], start, kernel=kernel, gradient=True)
    found = batches.run(pool, theta, start, kernel=kernel, gradient=True)
    assert torch.equal(found.loss, alone.loss)
    torch.testing.assert_close(found.gradient[:, 0], alone.gradient[:, 0], rtol=1e-12, atol=0)
    infinite = [
        n for n, g in zip(pool.names, found.gradient.T, strict=True) if not g.isfinite().all()
    ]
    assert infinite == ["at_pixels", "at_halves", "at_weights", "beyond"]
    same = batches.run(pool, theta, start, kernel="einsum", gradient=True)
    assert_same(found.gradient, same.gradient, 1e-10)


def test_a_diverged_lifetime_has_no_derivatives():
    fused, _ = kernels(RULES["alone"])
    batch = batch_of(RULES["alone"])
    batch.theta[1] = math.inf
    found = fused(batch, gradient=[0], idle=lower(PAPER)).idle
    assert found[1].isnan().all()
    assert found[[0, 2]].isfinite().all()


# --- one lifetime, whoever runs it ----------------------------------------------------------------


def test_derivatives_do_not_hang_on_threads_company_or_what_was_idle_before():
    pool = RULES["sums"]
    fused, _ = kernels(pool)
    batch, plan = batch_of(pool, count=5), lower(EVERYTHING)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = fused(batch, gradient=[0], idle=plan).idle
        fused(batch, gradient=[0], idle=lower(PAPER))
        again = fused(batch, gradient=[0], idle=plan).idle
        torch.set_num_threads(3)
        together = fused(batch, gradient=[0], idle=plan).idle
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(together, alone)
    assert torch.equal(again, alone)
    # Fewer pixels are kept of one lifetime than of all, in another layout.
    for i in range(5):
        assert torch.equal(fused(only(batch, i), gradient=[0], idle=plan).idle, alone[i : i + 1])


def test_a_smaller_lifetime_does_not_read_what_a_larger_one_left():
    pool, idle = RULES["alone"], lower(monomials_pool())
    fused, _ = kernels(pool)
    batch = batch_of(pool, count=3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        batch.theta[0] = math.inf  # leaves numbers that are none in a thread's memory
        found = fused(batch, gradient=[0], idle=idle).idle
    finally:
        torch.set_num_threads(threads)
    for i in (1, 2):
        assert torch.equal(fused(only(batch, i), gradient=[0], idle=idle).idle, found[i : i + 1])


def monomials_pool():
    """A pool of some monomials that does not need every pixel."""
    return Pool(a="-e_post*e_pre", b="W*y_pre*e_pre", c="y_post**2*e_pre", d="-e_pre")


# --- what is idle in a call -----------------------------------------------------------------------


def asked_of(monkeypatch, pool, theta, **more):
    """The terms that the kernel of a call has, and those that are idle beside it."""
    seen = []
    call = KERNELS["einsum"]

    def watching(plan, sizes, path):
        kernel = call(plan, sizes, path)

        @dataclasses.dataclass(frozen=True)
        class Watching:
            source: str = ""

            def __call__(self, batch, *, idle=None, **named):
                seen.append((_names(plan), _names(idle)))
                return kernel(batch, idle=idle, **named)

        return Watching()

    monkeypatch.setitem(KERNELS, "watching", watching)
    compiled.cache_clear()
    start = batches.given()
    out = batches.run(
        pool, torch.tensor(theta, dtype=torch.float64), start, kernel="watching", **more
    )
    return seen[0], out


def _names(plan):
    return [t.name for t in plan.terms] if plan else []


ABC = Pool(A="-e_post*y_pre", B="-e_post*e_pre", C="-e_pre")


def test_terms_that_are_zero_and_differentiated_are_idle(monkeypatch):
    found, out = asked_of(monkeypatch, ABC, [0.1, 0.0, 0.0], gradient=True)
    assert found == (["A"], ["B", "C"])
    full = batches.run(
        ABC,
        torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64),
        batches.given(),
        gradient=True,
        kernel="einsum",
        compile_for=ABC.names,
    )
    torch.testing.assert_close(out.gradient, full.gradient, rtol=1e-12, atol=1e-14)


def test_terms_that_are_zero_and_not_asked_for_are_not_there(monkeypatch):
    assert asked_of(monkeypatch, ABC, [0.1, 0.0, 0.0], gradient=["C"])[0] == (["A"], ["C"])
    assert asked_of(monkeypatch, ABC, [0.1, 0.0, 0.0])[0] == (["A"], [])


def test_a_term_that_works_anywhere_is_not_idle(monkeypatch):
    theta = [[[0.1, 0.0, 0.0]] * 3, [[0.1, 0.0, 0.0]] * 2 + [[0.0, 0.2, 0.0]]]
    assert asked_of(monkeypatch, ABC, theta, gradient=True)[0] == (["A", "B"], ["C"])


def test_what_a_kernel_is_compiled_for_is_not_idle(monkeypatch):
    found, _ = asked_of(monkeypatch, ABC, [0.1, 0.0, 0.0], gradient=True, compile_for=["A", "C"])
    assert found == (["A", "C"], ["B"])


def test_a_rule_of_nothing_has_a_gradient(monkeypatch):
    (own, idle), out = asked_of(monkeypatch, ABC, [0.0, 0.0, 0.0], gradient=True)
    assert (own, idle) == (["A"], ["B", "C"])
    assert (out.gradient != 0).all()


def test_autograd_has_one_kernel_for_all_terms(monkeypatch):
    theta = torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    start = batches.given()
    out = batches.run(ABC, theta, start, kernel="einsum")
    out.loss.sum().backward()
    plain = batches.run(ABC, theta.detach(), start, kernel="einsum", gradient=True)
    torch.testing.assert_close(theta.grad, plain.gradient.sum(0), rtol=1e-12, atol=1e-14)


def test_copies_of_an_idle_term_in_layers_apart():
    pool = Pool(A="-e_post*y_pre", low="-e_pre", high="-e_pre", where={"low": [1], "high": [2, 3]})
    start, theta = batches.given(), torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64)
    found = batches.run(pool, theta, start, kernel="einsum", gradient=True).gradient
    whole = Pool(A="-e_post*y_pre", every="-e_pre")
    per_layer = batches.spread(theta[:2], start)
    expected = batches.run(whole, per_layer, start, kernel="einsum", gradient=True).gradient
    torch.testing.assert_close(found[:, 1], expected[:, 0, 1])
    torch.testing.assert_close(found[:, 2], expected[:, 1:, 1].sum(1))


def test_an_idle_operator_without_a_spelling_is_taken_by_einsum(monkeypatch):
    row = operator_of(sympy.atan)
    without = dataclasses.replace(row, spelling={"torch": row.spelling["torch"]})
    monkeypatch.setattr(
        fused_kernel, "operator_of", lambda f: without if f is sympy.atan else operator_of(f)
    )
    fused_kernel._idle_source.cache_clear()
    fused_kernel.refuse_unspelled.cache_clear()
    fused, _ = kernels(RULES["alone"])
    with pytest.raises(Unsupported, match=r"^operator atan, which has no Numba spelling$"):
        fused(batch_of(RULES["alone"]), idle=lower(Pool(T="atan(y_post)*y_pre*cos(e_pre)")))


# --- which products -------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_monomials_need_the_factors_of_low_degree_alone(degree):
    """Of every pair of factors of degree three together, one is of degree one or none."""
    found = idle_products(lower_terms(monomials(degree)))
    for one in found.passes:
        assert len(one.dots) + len(one.gathers) == {1: 2, 2: 4, 3: 6}[degree]
    assert len(found.pairs) == 3 * math.comb(4 + degree, 4)


@hypothesis.given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_every_pair_has_a_side_that_is_taken_and_no_fewer_will_do(edges):
    posts = [y_post**i for i in range(6)]
    pres = [y_pre**i for i in range(6)]
    edges = sorted(edges)
    terms = tuple(
        Term.of(f"T{i}", sympy.cos(W) * posts[a] * pres[b]) for i, (a, b) in enumerate(edges)
    )
    found = products_module.products_of(schedule_of(lower_terms(terms)))
    (one,) = found.passes
    taken = len(one.dots) + len(one.gathers)
    # The least cover is as large as the largest matching, by brute force.
    best = (
        max(
            (
                n
                for n in range(1, len(edges) + 1)
                for some in itertools.combinations(edges, n)
                if len({a for a, _ in some}) == len({b for _, b in some}) == n
            ),
        )
        if len(edges) <= 8
        else taken
    )
    assert taken == best
    assert len(found.parts) == len(edges)


def test_code_hangs_on_the_factors_and_not_on_how_many_terms_they_make():
    few = (Term.of("A", y_post * y_pre), Term.of("B", e_post * e_pre), Term.of("C", y_post * e_pre))
    many = (*few, Term.of("D", e_post * y_pre))

    def source(terms):
        return idle_source(lower_terms(terms), dtype="float32", lanes=16)

    assert source(few).splitlines()[1:] == source(many).splitlines()[1:]
    assert source(monomials(3)).count("\n") < 500


# --- kernels that are wrong on purpose ------------------------------------------------------------


def _agrees():
    pool, idle = RULES["alone"], Pool(a="-y_post*e_pre", b="W*e_post", c="y_pre*sum_post(W*e_post)")
    fused, einsum = kernels(pool)
    batch, plan = batch_of(pool, steps=3), lower(idle)
    found, expected = (kernel(batch, idle=plan).idle for kernel in (fused, einsum))
    return relative(found, expected) < 1e-10


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mul(lam_, w_)", "mul(lam_, lam_)"),
        ("kept(lam_, ones_post_j)", "kept(w_, ones_post_j)"),
        ("load(at_e_pre, k)", "load(at_y_pre, k)"),
    ],
)
@pytest.mark.slow  # compiles
def test_wrong_products_are_caught(old, new, monkeypatch):
    assert _agrees()
    right = fused_kernel.idle_source

    def wrong(*arguments, **named):
        text = right(*arguments, **named)
        assert old in text
        return text.replace(old, new)

    monkeypatch.setattr(fused_kernel, "idle_source", wrong)
    fused_kernel._idle_source.cache_clear()
    try:
        assert not _agrees()
    finally:
        fused_kernel._idle_source.cache_clear()
