"""Exact zeros: of coefficients, of pixels and of errors, beside what is infinite there."""

import math
import re
from dataclasses import replace

import batches
import oracle
import pytest
import strategies
import torch
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from rulesearch.data import TaskShape, load_data
from rulesearch.kernels import KERNELS
from rulesearch.kernels.einsum import build, forms, passes
from rulesearch.kernels.einsum import kernel as einsum_kernel
from rulesearch.kernels.fused import build as build_fused
from rulesearch.kernels.fused import kernel as fused_kernel
from rulesearch.kernels.fused import layers as fused_layers
from rulesearch.kernels.fused import savings
from rulesearch.lowering import lower, zeros
from rulesearch.lowering.in_torch import InTorch, compiled_source
from rulesearch.notation import Pool, Term
from rulesearch.operators import QUANTITIES, range_of, spell
from rulesearch.pathways import pathway
from rulesearch.population import Population
from rulesearch.statistics import measure

SIZES = (6, 4, 3, 3)

# Terms that are infinite, or no numbers, or have infinite derivatives at zeros: in every factor
# that a group, a sum or a node can have. All of a kernel's, while one or two are at work.
SEPARATE = Pool(
    A="-e_post*y_pre",
    root="-e_post*sqrt(Abs(e_pre))",
    gated="-e_post*sqrt(Max(e_pre, 0))",
    rectified="-y_pre*sqrt(Max(e_post, 0))",
    threshold="-e_post*sqrt(Max(y_pre - 1/2, 0))",
    silent="e_post*exp(-1/y_pre**2)",
    saturated="e_post*tanh(1/e_pre)",
    summed="-e_post*tanh(sum_post(log(Abs(e_post))*W))*y_pre",
    explosive="exp(900*y_post**4)*y_pre",
    power="Max(z_post, 40)**32*e_pre",
    pole="e_post/y_pre",
    scaling="W*exp(800*y_post**4)",
    scalar="-e_post*y_pre*exp(9000*sum_post(e_post**2)/n_post)",
    root_of_loss="sqrt(L - 5)*e_post*y_pre",
)
SYNAPSES = Pool(
    A="-e_post*y_pre",
    root="-e_post*sqrt(Abs(W*e_pre))",
    silent="e_post*exp(-1/(W*y_pre)**2)",
    step="-Max(W*y_pre, 0)**(3/2)*e_post",
    nested="e_post*y_pre*tanh(sum_pre(log(Abs(W*y_pre))))",
    bound="sqrt(1/2 - Abs(W))*y_post*y_pre",
    pole="y_post/W*y_pre",
    sharp="exp(9000*W**2)*log(Abs(e_post))*y_pre",
    plain="-tanh(W)*y_pre",
    **{
        term.name: term.expression
        for term in SEPARATE
        if term.name in ("rectified", "summed", "explosive", "scalar")
    },
)
#: Whose updates the fused kernel can undo.
UNDONE = SEPARATE.only(*(name for name in SEPARATE.names if name != "scaling"))
POOLS = {"separate": SEPARATE, "undone": UNDONE, "synapses": SYNAPSES}
_WORKING = ("root", "gated", "rectified", "threshold", "silent", "saturated", "summed")
#: Those whose values are numbers on the data of these tests, so that they can be at work.
AT_WORK = {
    "separate": _WORKING,
    "undone": _WORKING,
    "synapses": ("root", "silent", "step", "nested", "plain", "rectified", "summed"),
}


def _marks(kernel, which, dtype=torch.float64):
    """Slow is what compiles: but for one pool, which has values and sums of every kind."""
    compiles = kernel == "fused" and (which, dtype) != ("synapses", torch.float64)
    return [pytest.mark.slow] if compiles else []


every_pool = pytest.mark.parametrize(
    ("kernel", "which"),
    [pytest.param(k, w, marks=_marks(k, w)) for k in KERNELS for w in POOLS],
)


def start_of(seed=0, lifetimes=3, steps=6, pathway="random"):
    """Lifetimes with pixels of exactly 0 and 1/2, one of them 0 throughout, and W of exactly 0."""
    nets = [
        strategies.network(seed + i, SIZES, pathway, steps, queries=3, halves=0.3)
        for i in range(lifetimes)
    ]
    start = batches.stacked(nets)
    start.train[0][:, :, 2] = start.query[0][:, :, 2] = 0.0
    start.weights[0][:, 1, 3] = 0.0
    start.weights[1][:, 0, 1] = 0.0
    return start


def oracles_losses(pool, theta, start):
    """Of each lifetime; theta [lifetimes, layers, terms]."""
    losses = []
    for i in range(len(theta)):
        final = oracle.lifetime(
            [t.expression for t in pool],
            theta[i].numpy(),
            [w[i].numpy() for w in start.weights],
            start.feedback and [b[i].numpy() for b in start.feedback],
            start.train[0][i].numpy(),
            start.train[1][i].numpy(),
            start.pathway,
        )
        losses.append(
            oracle.query_loss(final, start.query[0][i].numpy(), start.query[1][i].numpy())
        )
    return torch.tensor(losses, dtype=torch.float64)


def assert_same(found, expected, tolerance):
    """Not finite in the same places, and the same numbers elsewhere."""
    assert torch.equal(found.isfinite(), expected.isfinite())
    there = expected.isfinite()
    scale = expected[there].abs().clamp(min=1.0)
    assert bool(((found[there] - expected[there]).abs() <= tolerance * scale).all())


@pytest.mark.parametrize("a", [2.0, 0.0, torch.tensor([2.0, 0.0])])
@pytest.mark.parametrize("b", [torch.tensor([math.inf, -3.0]), 0.0])
def test_a_product_may_have_a_number_in_it(a, b):
    """As of a function of the fan-in, which is a number and no tensor."""
    lifted = [torch.as_tensor(x).expand(2) for x in (a, b)]
    assert torch.equal(zeros.product(a, b).expand(2), zeros.product(*lifted))


# --- a coefficient of zero ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "which", "dtype"),
    [
        pytest.param(k, w, d, marks=_marks(k, w, d))
        for k in KERNELS
        for w in POOLS
        for d in (torch.float64, torch.float32)
    ],
)
def test_a_term_at_zero_changes_nothing(kernel, which, dtype):
    pool, alone = POOLS[which], Pool(A="-e_post*y_pre")
    start = start_of(1).to(dtype)
    rule = torch.tensor([0.1], dtype=dtype)
    expected = batches.run(alone, rule, start, kernel=kernel, gradient=True)
    assert expected.gradient.isfinite().all()
    theta = torch.zeros(len(pool), dtype=dtype)
    theta[0] = 0.1
    # The same sums in another order, of some hundred values of order one.
    tolerance = 1e3 * torch.finfo(dtype).eps
    layers, lifetimes = len(start.weights), len(start.weights[0])
    for shape in ((), (lifetimes, layers)):
        for how in (
            {"gradient": True},
            {"gradient": ["A"], "compile_for": pool.names},
            {"compile_for": pool.names},
        ):
            out = batches.run(pool, theta.expand(*shape, -1), start, kernel=kernel, **how)
            assert_same(out.loss, expected.loss, tolerance)
            assert torch.equal(out.accuracy, expected.accuracy)
            if out.gradient is not None:
                found = out.gradient[..., 0]
                found = found.sum(-1) if shape else found
                assert_same(found, expected.gradient[:, 0], 100 * tolerance)


@every_pool
def test_a_term_at_zero_in_a_layer_or_a_lifetime_changes_nothing_there(kernel, which):
    pool = POOLS[which]
    start = start_of(2)
    theta = torch.zeros(3, 3, len(pool), dtype=torch.float64)
    theta[..., 0] = 0.1
    extra = pool.names.index(AT_WORK[which][0])
    theta[1, 1, extra] = 0.02  # of one lifetime, in one layer
    every = {"kernel": kernel, "gradient": True, "compile_for": pool.names}
    out = batches.run(pool, theta, start, **every)
    assert_same(out.loss, oracles_losses(pool, theta, start), batches.TOLERANCE)
    theta[2, 0, pool.names.index("pole")] = 1e-3  # diverges, at pixels or weights of 0
    other = batches.run(pool, theta, start, **every)
    assert not other.loss[2].isfinite()
    assert other.gradient[2].isnan().all()
    assert other.accuracy[2] == 0
    assert torch.equal(other.loss[:2], out.loss[:2])
    assert torch.equal(other.gradient[:2].nan_to_num(), out.gradient[:2].nan_to_num())


@pytest.mark.parametrize("which", [pytest.param(w, marks=_marks("fused", w)) for w in POOLS])
def test_the_derivative_by_a_coefficient_of_zero_takes_its_terms_value(which):
    """Where that is not finite neither is it, the same in both kernels, and all others stand."""
    pool = POOLS[which]
    start = start_of(1)
    theta = torch.zeros(len(pool), dtype=torch.float64)
    theta[0] = 0.1
    found = [
        batches.run(pool, theta, start, kernel=k, gradient=True, keep_weights=False)
        for k in KERNELS
    ]
    for out in found:
        assert out.loss.isfinite().all()
        assert not out.gradient[:, pool.names.index("pole")].isfinite().any()
        for name in ("A", *AT_WORK[which]):
            assert out.gradient[:, pool.names.index(name)].isfinite().all(), name
    assert_same(found[0].gradient, found[1].gradient, batches.TOLERANCE)


def test_an_evaluation_is_that_of_the_rule_alone():
    """Of a rule that a search found, by a kernel that covers what it has dropped."""
    shape = TaskShape(ways=5, shots=6, queries=5)
    data = load_data("digits", shape=shape)
    rule = Pool(T0="-e_post*y_pre")
    pool = Pool(T0="-e_post*y_pre", T1="exp(10*y_post**4)*y_pre")
    alone, whole = (
        Population(
            terms,
            data.held_out,
            shape,
            (64, 20, 10, data.classes),
            kernel="einsum",
            dtype=torch.float64,
            compile_for=tuple(range(len(terms))),
        )
        for terms in (rule, pool)
    )
    seeds = tuple(range(8))
    at_work = measure(whole, (0.0412, 1e-9), seeds, data.classes)
    expected = measure(alone, (0.0412,), seeds, data.classes)
    assert sum(at_work.diverged) > sum(expected.diverged)  # so it matters that it is not
    found = measure(whole, (0.0412, 0.0), seeds, data.classes)
    assert found.accuracy == expected.accuracy
    assert found.diverged == expected.diverged
    assert found.loss == pytest.approx(expected.loss, rel=1e-9)
    both = whole(torch.tensor([0.0412, 0.0], dtype=torch.float64), seeds, gradient=(0, 1))
    assert both.loss.tolist() == pytest.approx(expected.loss, rel=1e-9)


# --- terms at work --------------------------------------------------------------------------------


@every_pool
def test_terms_with_infinite_derivatives_at_zeros(kernel, which):
    """Loss as of the oracle; the derivatives as differences have them."""
    pool, names = POOLS[which], AT_WORK[which]
    start = start_of(3, lifetimes=len(names))
    theta = torch.zeros(len(names), 3, len(pool), dtype=torch.float64)
    theta[..., 0] = 0.05
    for i, name in enumerate(names):
        theta[i, :, pool.names.index(name)] = 0.03
    out = batches.run(pool, theta, start, kernel=kernel, gradient=True)
    assert_same(out.loss, oracles_losses(pool, theta, start), batches.TOLERANCE)
    assert out.loss.isfinite().all()
    h = 1e-6
    for i, name in enumerate(names):
        for term in (0, pool.names.index(name)):
            shift = torch.zeros_like(theta)
            shift[..., term] = h
            up, down = (
                batches.run(pool, theta + sign * shift, start, kernel="einsum").loss[i]
                for sign in (1, -1)
            )
            # The differences err by h² times a third derivative, and by epsilon/h.
            expected = float(up - down) / (2 * h)
            assert float(out.gradient[i, :, term].sum()) == pytest.approx(
                expected, abs=1e-6, rel=1e-5
            )


@drawn(
    strategies.pools(most=3, singular=True, leaves=4),
    strategies.seeds,
    st.sampled_from(strategies.PATHWAYS),
    st.integers(0, 2),
)
@settings(max_examples=30)
def test_lifetimes_of_random_pools_are_the_oracles_at_zeros(pool, seed, path, zero):
    """The same are finite, with the same loss; what is at zero changes nothing of it."""
    start = start_of(seed % 2**31, lifetimes=2, steps=3, pathway=path)
    theta = torch.full((2, 3, len(pool)), 0.01, dtype=torch.float64)
    theta[:, :, zero % len(pool)] = 0.0
    expected = oracles_losses(pool, theta, start)
    assume(all(_is_calm(pool, theta, start)))
    out = batches.run(pool, theta, start, kernel="einsum", gradient=True)
    assert_same(out.loss, expected, 1e-6)


@pytest.mark.parametrize(
    "kernel", [pytest.param(k, marks=[pytest.mark.slow] * (k == "fused")) for k in KERNELS]
)
def test_an_image_without_a_lit_pixel_shows_what_is_infinite(kernel):
    """Its potentials are zero, 1/z is infinite, and times a dark pixel that is no number."""
    pool = Pool(A="-e_post*y_pre", level="y_pre/z_post")
    start = start_of(4)
    start.train[0][1, 2] = 0.0
    theta = torch.zeros(3, 3, 2, dtype=torch.float64)
    theta[..., 0], theta[:, 0, 1] = 0.05, 1e-4
    for blank in (False, True):
        if blank:  # nor is any pixel lit in another image
            start.train[0][1] = start.query[0][1] = 0.0
        out = batches.run(pool, theta, start, kernel=kernel, gradient=True, keep_weights=False)
        assert out.loss.isfinite().tolist() == [True, False, True]
        assert_same(out.loss, oracles_losses(pool, theta, start), batches.TOLERANCE)


#: Of a dtype: a disturbance, the most that a calm lifetime makes of it, and how far two kernels may
#: then be apart. What rounding does to few steps of a small network is of the disturbance's order.
CALM = {torch.float64: (1e-12, 1e-8, 1e-6), torch.float32: (3e-7, 3e-3, 3e-2)}


# Each example compiles twice, for ten seconds, and shrinking would take a hundred of them.
@pytest.mark.slow
@settings(
    max_examples=25,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@drawn(
    strategies.pools(most=3, singular=True, leaves=4),
    strategies.seeds,
    st.sampled_from(strategies.PATHWAYS),
)
def test_kernels_agree_on_random_pools_at_zeros(pool, seed, path):
    """einsum = fused = oracle: the same lifetimes diverge, and the others have the same numbers.

    A lifetime with a weight that is not finite has no loss, NaN in both kernels whatever it was
    that grew; infinite is a loss only where weights are numbers and potentials overflow. In the
    gradient the same entries are not finite: NaN or infinite hangs on the order of a sum.
    Every lifetime has another term at zero, in some layers or in all.
    """
    plan = lower(pool)
    assume(plan.steep or not plan.bounded(*plan.index))
    start = start_of(seed % 2**31, lifetimes=4, steps=3, pathway=path)
    theta = torch.full((4, 3, len(pool)), 0.01, dtype=torch.float64)
    theta[0, :, 0] = theta[1, 1, -1] = theta[2, 0] = theta[3, 1:, 0] = 0.0
    assume(all(_is_calm(pool, theta, start)))
    for dtype, (shake, most, apart) in CALM.items():
        given, rule = start.to(dtype), theta.to(dtype)
        shaken = replace(given, weights=[w * (1 + shake) for w in given.weights])
        plain, moved = (
            batches.run(pool, rule, g, kernel="einsum", gradient=True) for g in (given, shaken)
        )
        calm = _alike(moved.loss, plain.loss, most) and _alike(moved.gradient, plain.gradient, most)
        if dtype == torch.float64:
            assume(calm)  # nor does chaos in the gradient alone say anything
            expected = oracles_losses(pool, theta, start)
            assert torch.equal(plain.loss.isnan(), expected.isnan())
            assert_same(plain.loss, expected, apart)
        elif not calm:
            return
        fused = batches.run(pool, rule, given, kernel="fused", gradient=True)
        assert fused.note == ""
        assert torch.equal(fused.loss.isnan(), plain.loss.isnan())
        assert_same(fused.loss, plain.loss, apart)
        assert _alike(fused.gradient, plain.gradient, apart)
        forward = batches.run(pool, rule, given, kernel="fused", compile_for=pool.names)
        assert torch.equal(forward.loss.nan_to_num(), fused.loss.nan_to_num())


def _alike(found, expected, tolerance):
    """Whether the same entries are finite, and others equal relative to the largest, or to one."""
    if not torch.equal(found.isfinite(), expected.isfinite()):
        return False
    found, expected = (t.nan_to_num(0.0, 0.0, 0.0).reshape(len(t), -1) for t in (found, expected))
    scale = expected.abs().amax(1, keepdim=True).clamp(min=1.0)
    return bool(((found - expected).abs() <= tolerance * scale).all())


def _is_calm(pool, theta, start):
    """Whether each lifetime is no chaos: a change in the tenth digit is not magnified."""
    shaken = [w * (1 + 1e-12) for w in start.weights]
    moved = batches.Given(start.pathway, shaken, start.feedback, start.train, start.query)
    for a, b in zip(
        oracles_losses(pool, theta, start), oracles_losses(pool, theta, moved), strict=True
    ):
        yield bool(a.isfinite() == b.isfinite()) and not float((a - b).abs().nan_to_num()) > 1e-9


# --- what kernels call, by hand -------------------------------------------------------------------


def test_products_and_reciprocals_at_zeros():
    infinity, nan = math.inf, math.nan
    a = torch.tensor([0.0, -0.0, infinity, nan, 2.0, infinity])
    b = torch.tensor([infinity, nan, 0.0, 0.0, 3.0, -1.0])
    assert zeros.product(a, b).tolist() == [0.0, 0.0, 0.0, 0.0, 6.0, -infinity]
    x = torch.tensor([0.0, -0.0, -2.0, infinity])
    assert zeros.reciprocal(x).tolist() == [infinity, infinity, -0.5, 0.0]


RANGES = {name: row.range for name, row in QUANTITIES.items()}
#: Expression -> whether it is a number wherever the quantities are.
BOUNDED = {
    "W*y_pre/(1 + Abs(W*y_pre))": True,
    "exp(-W**2)*tanh(z_post)": True,
    "sqrt(Abs(e_pre))": True,
    "sqrt(y_post)": True,
    "y_pre/n_pre": True,
    "W*sin(W)*Heaviside(L)": True,
    "2**tanh(W)": True,
    "1/Max(W, 1/2)": True,
    "Min(W, y_pre)**3": True,
    "sqrt(y_pre)": False,
    "1/y_post": False,
    "1/L": False,
    "log(y_post)": False,
    "exp(y_post)": False,
    "y_post**32": False,
    "2**W": False,
    "sqrt(1 - Abs(W))": False,
    "tanh(1/W)": False,
    "cos(exp(W))": False,
    "Max(1/W, 0)": False,
    "1/exp(-W**2)": False,
}


@pytest.mark.parametrize("text", BOUNDED)
def test_where_a_value_is_a_number(text):
    assert range_of(Term.of("A", text).expression, RANGES).bounded is BOUNDED[text]


def test_a_divisor_that_cannot_be_zero_is_left_alone():
    def spelled(text):
        return spell(Term.of("A", text).expression, "torch", None, RANGES)

    assert spelled("e_pre/y_pre") == "e_pre*reciprocal(y_pre)"
    assert "reciprocal" not in spelled("e_pre/(1 + y_pre**2)")


def test_dark_pixels_are_left_out_only_where_nothing_of_them_is_infinite():
    drops = {
        "e_post*y_pre*exp(y_post)": True,  # a lit pixel shows it
        "e_post*tanh(y_pre)": True,
        "e_post*cos(y_pre)": True,  # changes weights that nothing reads, to numbers
        "e_post*log(Abs(y_pre))": False,
        "W*exp(y_post)": False,
        "e_post*y_pre*sum_pre(y_pre*log(Abs(W)))": False,
        "e_post*y_pre*sum_pre(W*y_pre)": True,
    }
    for text, expected in drops.items():
        assert savings.drops_columns(lower(Pool(A=text))) is expected, text


def _source(pool):
    return build_fused(lower(pool), SIZES, pathway("random", 3)).source


@pytest.mark.parametrize("pool", [batches.PAPER, batches.HEBBIAN], ids=["paper", "hebbian"])
def test_pools_of_moderate_terms_have_no_guards(pool):
    source = _source(pool)
    guards = ("product(", "reciprocal(", "some(", "theta[0] !=")
    assert not [word for word in guards if word in source]
    assert not lower(pool).steep


def test_row_passes_have_no_guards():
    passes = re.findall(r"def (rows_\w+)\(.*?\):\n(.*?)\n\n", _source(SEPARATE), re.S)
    assert len(passes) > 3
    for name, body in passes:
        assert not re.search(r"product|reciprocal| if ", body), name


# --- kernels that are wrong on purpose ------------------------------------------------------------


def _stands_beside_idle_terms():
    """Whether a rule's loss and gradient in `einsum` are as without the terms at zero."""
    start, theta = start_of(1), torch.zeros(len(SEPARATE), dtype=torch.float64)
    theta[0] = 0.1
    every = {"gradient": True, "compile_for": SEPARATE.names}
    out = batches.run(SEPARATE, theta, start, kernel="einsum", **every)
    alone = Pool(A="-e_post*y_pre")
    alone = batches.run(alone, theta[:1], start, kernel="einsum", gradient=True)
    return torch.allclose(out.loss, alone.loss) and torch.allclose(
        out.gradient[:, 0], alone.gradient[:, 0]
    )


def test_idle_rows_multiplied_by_zero_are_caught(monkeypatch):
    assert _stands_beside_idle_terms()
    monkeypatch.setattr(forms, "where", lambda works, values: values)
    assert not _stands_beside_idle_terms()


def test_a_gradient_gathered_by_weights_of_zero_is_caught(monkeypatch):
    def gathered(form, bar_k):
        return torch.einsum("nsgp,stgp->nt", torch.stack(bar_k, 1), form.weight.to(bar_k[0]))

    monkeypatch.setattr(einsum_kernel, "pull_coefficients", gathered)
    assert not _stands_beside_idle_terms()


def _gradient_is_finite(term, kernel="einsum"):
    """Whether that of one lifetime with this term at work is, where differences are."""
    pool = Pool(A="-e_post*y_pre", B=SEPARATE.terms[SEPARATE.names.index(term)].expression)
    theta = torch.tensor([0.05, 0.03], dtype=torch.float64)
    start = start_of(3, lifetimes=1)
    return bool(
        batches.run(pool, theta, start, kernel=kernel, gradient=True).gradient.isfinite().all()
    )


def test_zero_times_infinity_within_a_derivative_is_caught(monkeypatch):
    def wrong(plan, sizes, path):
        kernel = build(plan, sizes, path)
        source = kernel.source.replace("product(", "torch.mul(")
        assert source != kernel.source
        names = compiled_source(source)
        values = InTorch(source, names["values"], names["pull"])
        return replace(kernel, parts=(replace(kernel.parts[0], values=values),))

    monkeypatch.setitem(KERNELS, "wrong", wrong)
    assert _gradient_is_finite("rectified")
    assert not _gradient_is_finite("rectified", "wrong")


def test_infinity_times_the_gate_of_a_dark_pixel_is_caught(monkeypatch):
    assert _gradient_is_finite("gated")
    monkeypatch.setattr(passes, "product", torch.mul)
    assert not _gradient_is_finite("gated")


@pytest.mark.slow  # compiles a kernel
def test_idle_rows_in_the_fused_kernels_updates_are_caught(monkeypatch):
    monkeypatch.setattr(fused_layers, "at_work", lambda parts: "True")
    start, theta = start_of(1), torch.zeros(2, dtype=torch.float64)
    theta[0] = 0.1
    pool = Pool(A="-e_post*y_pre", B="exp(901*z_post**4)*y_pre")
    fused_kernel._source.cache_clear()
    out = batches.run(pool, theta, start, kernel="fused", compile_for=pool.names)
    fused_kernel._source.cache_clear()
    assert not out.loss.isfinite().all()
