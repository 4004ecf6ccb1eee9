"""What is computed is what was written: whatever it is called, and in which form it is kept."""

import batches
import pytest
import steps
import torch
from test_step_rows import kernels

from rulesearch.errors import RuleSearchError
from rulesearch.export import export
from rulesearch.lifetime import Carried, run_lifetimes
from rulesearch.model import Model
from rulesearch.notation import (
    L,
    Pool,
    W,
    e_post,
    e_pre,
    n_post,
    operator,
    pool_from_plain,
    pool_to_plain,
    quantity,
    seen_from_pre,
    sum_pre,
    tanh,
    together,
    trace,
    y_post,
    y_pre,
    z_post,
)
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.rule import Network, Rule, made

SIZES = (4, 3, 3, 2)


def case_of(pool, **model):
    start = batches.given(4, SIZES, "random", steps=5)
    return steps.case(pool.terms, Model(**model), start, seed=4)


def answer(pool, kernel, theta, **more):
    """Losses and gradients of `run_lifetimes`."""
    found = lived(pool, kernel, theta, **more)
    return found.loss, found.gradient


def lived(pool, kernel, theta, **more):
    start = batches.given(4, SIZES, "random", steps=5)
    return run_lifetimes(
        pool,
        theta,
        start.weights,
        start.feedback,
        train=start.train,
        query=start.query,
        gradient=True,
        kernel=kernel,
        **more,
    )


# --- sums over a cell's inputs --------------------------------------------------------------------


@kernels
@pytest.mark.parametrize("model", [{"bias": True}, {"noise": 0.3}, {"bias": True, "noise": 0.3}])
def test_a_sum_over_inputs_has_no_bias_and_no_noise(kernel, model):
    written = Pool(F0="-e_post*y_pre", A="sum_pre(W*y_pre)*e_pre", B="e_post*z_post**2")
    if "bias" in model:
        written = together(written, Pool(of="b", b0="-e_post"))
    case = case_of(written, **model)
    assert steps.distance(case, kernel) <= batches.TOLERANCE


def test_without_either_it_is_the_potential():
    """In a plan, that is, in what makes two terms the same, and in what a term needs."""
    with pytest.raises(RuleSearchError, match="term B: the same as A"):
        Pool(A="z_post*e_post", B="2*sum_pre(W*y_pre)*e_post")
    with pytest.raises(RuleSearchError, match="is zero but for biases and noise"):
        Pool(A="z_post*y_pre - sum_pre(W*y_pre)*y_pre")
    one, other = (Pool(A=f"{text}*e_post").terms[0] for text in ("z_post", "sum_pre(W*y_pre)"))
    assert one.key == other.key


# --- exponentials and high powers -----------------------------------------------------------------


@kernels
def test_a_bounded_term_is_finite(kernel):
    """exp(-x**2) is at most 1, and the parts that it multiplies out to are not."""
    pool = Pool(F0="-e_post*y_pre", G="e_post*exp(-(3*y_post - 3*y_pre)**2)")
    start = batches.given(4, SIZES, "random", steps=5)
    weights = [8 * w.abs().float() for w in start.weights]
    for dtype in (torch.float32, torch.float64):
        found = run_lifetimes(
            pool,
            [0.01, 0.001],
            [w.to(dtype) for w in weights],
            [b.to(dtype) for b in start.feedback],
            train=(start.train[0].to(dtype), start.train[1]),
            query=(start.query[0].to(dtype), start.query[1]),
            gradient=True,
            kernel=kernel,
        )
        assert found.loss.isfinite().all()
        assert found.gradient.isfinite().all()


def test_a_high_power_is_no_sum_of_large_parts():
    pool = Pool(F0="-e_post*y_pre", P="e_post*(1 - W)**20")
    start = batches.given(4, SIZES, "random", steps=1)
    near = [torch.full_like(w, 0.52) for w in start.weights]

    def moved(dtype):
        found = run_lifetimes(
            pool,
            [0.0, 1.0],
            [w.to(dtype) for w in near],
            [b.to(dtype) for b in start.feedback],
            train=(start.train[0].to(dtype), start.train[1]),
            query=(start.query[0].to(dtype), start.query[1]),
            kernel="einsum",
        )
        return found.weights[-1].double() - torch.tensor(0.52, dtype=dtype).double()

    # Rounded to the weights' last digit, and not a thousand times as far.
    assert float((moved(torch.float32) - moved(torch.float64)).abs().max()) < 1e-7


# --- names ----------------------------------------------------------------------------------------

NAMES = [
    ("p_post", "q_post"),
    ("a_u_post", "u_post"),
    ("u_post", "a_u_post"),
    ("m_post", "M_post"),
    ("straße_post", "STRASSE_post"),
    ("_h0_post", "_v6_post"),
]
MATRICES = ["c", "a_before", "first", "_sum0", "lam_a", "A", "t0_before", "_t0"]


@kernels
def test_a_trace_may_have_any_name(kernel):
    """Names in generated code hang on none."""

    def neurons(one, other):
        traces = trace(one, e_post, decay=0.5), trace(other, y_post, decay=0.8)
        return Pool(F0=traces[0] * e_pre, F1=traces[1] * y_pre)

    first, *others = (answer(neurons(*names), kernel, [0.3, 0.2]) for names in NAMES)
    for other in others:
        assert all(map(torch.allclose, first, other))

    def synapses(name):
        beside = trace(name, W * e_post, decay=0.5, initial=0.2)
        return Pool(A=trace("a", y_post * y_pre, decay=0.8) * e_post, B=beside * e_pre)

    first, *others = (answer(synapses(name), kernel, [0.3, 0.2]) for name in MATRICES)
    for other in others:
        assert all(map(torch.allclose, first, other))


@pytest.mark.parametrize("name", ["first", "_sum0", "_h0", "_v6", "_c0"])
def test_a_trace_of_the_loss_too(name):
    begins = trace("ex", e_post * y_pre, decay=0.5, initial="first")

    def pool(called):
        return Pool(A=trace(called, L, decay=0.8) * e_post * y_pre, B=begins)

    expected = answer(pool("other"), "einsum", [0.3, 0.2])
    assert all(map(torch.allclose, answer(pool(name), "einsum", [0.3, 0.2]), expected))


@kernels
def test_traces_of_feedback_and_of_weights_are_told_apart(kernel):
    weights = Pool(F0="-e_post*y_pre", A=trace("back_m", y_post * y_pre, decay=0.8) * e_post)
    feedback = Pool(of="B", Z=trace("m", y_pre * e_post, decay=0.7) * e_post)
    case = case_of(together(weights, feedback))
    assert steps.distance(case, kernel) <= batches.TOLERANCE


# --- bounds ---------------------------------------------------------------------------------------


@kernels
def test_bounds_hold_what_no_term_changes(kernel):
    """As where a term does, with a coefficient of zero: what a rule does not have is not seen."""
    alone = Pool(A="-e_post*y_pre", C="-e_post*e_pre", bounds={"B": (-0.1, 0.1)})
    beside = together(alone, Pool(of="B", z="-B"))
    loss, gradient = answer(alone, kernel, [0.3, 0.0])
    expected, slopes = answer(beside, kernel, [0.3, 0.0, 0.0])
    assert torch.allclose(loss, expected)
    assert torch.allclose(gradient, slopes[..., :2])
    free, _ = answer(Pool(A="-e_post*y_pre"), kernel, [0.3])
    assert not torch.allclose(loss, free)


def test_bounds_that_nothing_runs_against_cost_no_kernel():
    """`fused` takes no bounds of what no term changes; where all lies within there are none."""
    pool = Pool(A="-e_post*y_pre", C="-e_post*e_pre")
    free, wide, narrow = (
        lived(each, "fused", [0.3, 0.1])
        for each in (pool, pool.bounded({"B": (-9, 9)}), pool.bounded({"B": (-0.01, 0.01)}))
    )
    assert free.note == wide.note == ""
    assert torch.equal(free.loss, wide.loss)
    assert torch.equal(free.gradient, wide.gradient)
    assert narrow.note == "fused cannot take bounds of B, which no term changes; using einsum"
    # Where a term changes B, or is asked whether it should, they hold.
    plastic = together(pool, Pool(of="B", z="-B")).bounded({"B": (-0.3, 0.3)})
    for theta in ([0.3, 0.1, 0.0], [0.3, 0.1, -0.9]):
        found, expected = (lived(plastic, kernel, theta) for kernel in ("fused", "einsum"))
        assert found.note == ""
        assert torch.allclose(found.loss, expected.loss, rtol=1e-10)
        assert torch.allclose(found.gradient, expected.gradient, rtol=1e-8)


@kernels
def test_biases_begin_at_zero_which_bounds_may_leave_out(kernel):
    pool = Pool(A="-e_post*y_pre", bounds={"b": (0.01, 0.1)})
    model = Model(bias=True)
    zeros = Carried(biases=[torch.zeros(2, n, dtype=torch.float64) for n in SIZES[1:]])
    found = lived(pool, kernel, [0.1], model=model)
    given = lived(pool, kernel, [0.1], model=model, carried=zeros)
    assert all(bool((b == 0.01).all()) for b in found.carried.biases)
    assert torch.equal(found.loss, given.loss)


@kernels
def test_bounds_hold_what_is_infinite(kernel):
    """Where an error is not above 0 the change is -∞, and the weight is at its bound after it."""
    pool = Pool(A="-e_post*y_pre", N="log(Max(e_post, 0))", bounds={"W": (-1, 1)})
    found = lived(pool, kernel, [0.1, 0.01])
    assert bool(found.loss.isfinite().all())
    assert min(float(w.min()) for w in found.weights) == -1


@pytest.mark.parametrize("to", ["numpy", "torch"])
def test_exports_hold_what_no_term_changes(to):
    """The proof begins with values beyond the bounds, so what does not hold them is refused."""
    network = Network(bias=True)
    for ends in ({"B": (-2, 2)}, {"B": (-0.05, 0.05), "W": (-0.3, 0.3)}, {"b": (0.01, 0.1)}):
        rule = made(Pool(A="-e_post*y_pre").bounded(ends), (0.1,), name="r", network=network)
        assert "clip(" in (text := export(rule, to)) or "clamp(" in text


@pytest.mark.parametrize(
    ("bounds", "more", "line"),
    [
        ("b", {}, "bounds b: the network has no biases; give it some, --bias"),
        (
            "B",
            {"pathway": "symmetric"},
            "bounds B: the symmetric pathway has no matrices of its own; choose another",
        ),
    ],
)
def test_bounds_of_what_a_network_has_not(bounds, more, line):
    pool = Pool(A="-e_post*y_pre", bounds={bounds: (-1, 1)})
    start = batches.given(4, SIZES, "random", steps=5)
    with pytest.raises(RuleSearchError) as caught:
        run_lifetimes(
            pool,
            [0.3],
            start.weights,
            None if more else start.feedback,
            train=start.train,
            query=start.query,
            **more,
        )
    assert caught.value.lines == (line,)


# --- what is no model -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bounds": (("W", 1.0, -1.0),)}, "bounds W: 1 is not below -1"),
        ({"bounds": (("X", -1.0, 1.0),)}, "bounds X: no such parameter"),
        ({"bounds": {"W": (-1, 1)}}, "give rows"),
        ({"noise": -1.0}, "noise -1.0; give its size, at least 0"),
        ({"noise": float("nan")}, "noise nan"),
        ({"activation": "tanh"}, 'give a row, as ACTIVATIONS["tanh"]'),
        ({"loss": "squared"}, 'give a row, as LOSSES["squared"]'),
    ],
)
def test_a_model_is_checked(wrong, said):
    with pytest.raises(RuleSearchError, match=r"^model: ") as caught:
        Model(**wrong)
    assert said in str(caught.value)


def test_run_lifetimes_takes_a_model_alone():
    assert Model(ACTIVATIONS["tanh"]).activation.name == "tanh"
    for wrong in (None, "tanh"):
        with pytest.raises(RuleSearchError, match=r"model: .*; give a Model"):
            answer(Pool(A="-e_post*y_pre"), "einsum", [0.3], model=wrong)
    with pytest.raises(RuleSearchError, match=r"carried: .*; give what Lifetimes.carried has"):
        answer(Pool(A="-e_post*y_pre"), "einsum", [0.3], carried={"steps": 1})


# --- exponentials ---------------------------------------------------------------------------------


@kernels
def test_an_exponential_of_a_square_is_at_most_1_whatever_the_signs(kernel):
    """Its parts, were they apart, would be infinite and 0 where activities fall below 0."""
    square = "e_post*exp(-(y_post + y_pre)**2/0.001)"
    spelled = "e_post*exp(-Max(y_post + y_pre, -y_post - y_pre)**2/0.001)"
    model = Model(activation=ACTIVATIONS["tanh"])
    found = [
        answer(Pool(F0="-e_post*y_pre", A=text), kernel, [0.1, 0.3], model=model)
        for text in (square, spelled)
    ]
    for one, other in zip(*found, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other)


# --- feedback that terms of W read ----------------------------------------------------------------


@kernels
@pytest.mark.parametrize("pathway", ["random", "sign-symmetric"])
@pytest.mark.parametrize(
    "text",
    ["-e_post*y_pre*B", "-B", "e_post*sum_pre(B*y_pre)", "W*sum_pre(B)", "tanh(B*W)*e_post"],
)
def test_a_term_may_read_feedback_that_nothing_changes(kernel, pathway, text):
    pool = Pool(F0="-e_post*y_pre", A=text)
    start = batches.given(4, SIZES, pathway, steps=5)
    case = steps.case(pool.terms, Model(), start, seed=4)
    assert steps.distance(case, kernel) <= batches.TOLERANCE


@kernels
def test_so_may_one_that_is_zero(kernel):
    pool = Pool(F0="-e_post*y_pre", A="-e_post*y_pre*B")
    zero, small = (answer(pool, kernel, [0.1, a])[1] for a in (0.0, 1e-9))
    torch.testing.assert_close(zero, small, rtol=1e-6, atol=1e-9)


# --- bounds ---------------------------------------------------------------------------------------


@kernels
def test_what_a_bound_holds_back_is_nothing_to_a_term_at_zero(kernel):
    pool = Pool(F0="-e_post*y_pre", decay="-W", bounds={"W": (-0.2, 0.2)})
    zero, small = (answer(pool, kernel, [0.5, a])[1] for a in (0.0, 1e-9))
    torch.testing.assert_close(zero, small, rtol=1e-6, atol=1e-9)


# --- traces by what they are ----------------------------------------------------------------------


def told(pool):
    with pytest.raises(RuleSearchError) as refused:
        pool()
    return str(refused.value)


def test_traces_are_the_same_by_what_they_follow():
    square = quantity("square_post", y_post**2)
    one, same, double, plain, total = (
        trace(f"{name}_post", of, decay=0.9)
        for name, of in (
            ("one", square),
            ("same", y_post**2),
            ("double", 2 * y_post**2),
            ("plain", y_post),
            ("total", y_post + y_post**2),
        )
    )
    assert "trace same_post: the same as one_post" in told(lambda: Pool(A=one * W, B=same * y_pre))
    assert told(lambda: Pool(A=one * W, B=double * W)).startswith(
        "term B: the same as A, one_post*W, but for a factor"
    )
    assert told(lambda: Pool(A=one * W, B=plain * W, C=total * W)).startswith(
        "term C: adds nothing to the pool, C = A + B"
    )
    begins = trace("begins_post", y_post + y_post**2, decay=0.9, initial=1.0)
    assert len(Pool(A=one * W, B=plain * W, C=begins * W)) == 3
    slower = trace("slower_post", y_post**2, decay=0.95)
    assert len(Pool(A=one * W, B=slower * W)) == 2
    assert "the same as" in told(
        lambda: Pool(
            A=trace("z1_post", z_post, decay=0.5) * W,
            B=trace("z2_post", sum_pre(W * y_pre), decay=0.5) * y_pre,
        )
    )


def test_a_trace_that_forgets_at_once_is_what_it_follows():
    at_once = trace("now_post", y_post**2, decay=0, initial=3.0)
    assert "term B: the same as A" in told(lambda: Pool(A=at_once * W, B=y_post**2 * W))
    for of in (2, n_post):
        with pytest.raises(RuleSearchError, match=r"never changes; write it in place of its trace"):
            trace("c", str(of), decay=0.5, initial="first")


def test_a_key_hangs_on_no_name():
    """Rules are compared, and gone on from, by what their terms are."""
    first = trace("a_post", e_post**2, decay=0.9)
    second = trace("long_name_post", e_post * e_post, decay=0.9)
    gate = quantity("gate_post", tanh(z_post))
    pairs = [
        (-e_post * first * y_pre + W, -e_post * second * y_pre + W),
        (-e_post * gate * y_pre, e_post * tanh(z_post) * y_pre),
    ]
    for one, other in pairs:
        assert Pool(A=one).terms[0].key == Pool(A=other).terms[0].key


def test_what_is_seen_from_the_other_side_is_read_back_as_it_is():
    scaled = quantity("scaled_post", y_post * quantity("s", L + n_post))
    pool = Pool(F0=-e_post * y_pre, A=e_post * seen_from_pre(scaled))
    assert pool_from_plain(pool_to_plain(pool)) == pool


# --- definitions ----------------------------------------------------------------------------------


def test_a_power_in_a_definition_is_looked_at_before_it_is_worked_out():
    power = operator("power", lambda x: 10**x)
    hidden = operator("hidden", lambda x: x * power(10**9))
    for expression in (W * power(10**9), hidden(W), hidden(2) * W):
        assert "a power of 1000000000" in told(lambda e=expression: Pool(A=e))
    assert len(Pool(A=power(2) * W, B=power(W))) == 2


def test_a_definition_is_measured_before_it_is_written_out():
    nested = W
    for _ in range(40):
        nested = operator("twice", lambda x: x**2 + x)(nested)
    assert "parts with its definitions written out; these may add 1,000" in told(
        lambda: Pool(A=nested)
    )


def test_a_name_is_one_things():
    cube = operator("g", lambda x: x**3)
    assert "quantity g: an operator is called that too" in told(
        lambda: Pool(A=cube(W) * quantity("g", W * y_post))
    )


def test_names_are_read_as_python_reads_them():
    sign_of_micro, letter = "\u00b5", "\u03bc"
    mean = trace(f"{sign_of_micro}_post", y_post, decay=0.9)
    assert mean.name == f"{letter}_post"
    assert len(Pool(A=f"{sign_of_micro}_post*W", quantities=mean)) == 1


def test_a_space_of_feedback_in_toml():
    space = {"post": ["e_post"], "pre": ["y_pre"]}
    pool = pool_from_plain({"space": {**space, "of": "B"}})
    assert {term.changes for term in pool} == {"B"}
    assert told(lambda: pool_from_plain({"space": {**space, "of": "Q", "where": {}}})) == (
        "of in [space]: 'Q'; give one of W, B, b\nwhere in [space]: write it as a table, [where]"
    )
    assert told(lambda: pool_from_plain({"space": {**space, "of": ["B"]}})).startswith(
        "of in [space]: ['B']; give one of"
    )
    through = quantity("q_post", sum_pre(W * y_pre))
    every = Pool.generate(post=(e_post, through), pre=(y_pre,))
    assert len(Pool.generate(post=(e_post, through), pre=(y_pre,), needs="synaptic")) == len(every)


def test_a_number_in_a_call_stays_exact_where_code_is_written():
    cubic = operator("cubic", lambda x: x - x**3 / 3)
    rule = Rule("mine", Pool(A=tanh(e_post) * cubic(2)), (0.1,))
    assert "cubic(sympy.Integer(2))" in export(rule, "sympy")
