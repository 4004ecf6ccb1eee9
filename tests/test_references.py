"""The references agree with each other, and with what a person works out."""

import math
from dataclasses import replace

import batches
import numpy as np
import oracle
import pytest
import steps
import strategies
import sympy
import torch
import unrolled
from hypothesis import given, settings

from rulesearch.model import Model
from rulesearch.notation import (
    B,
    L,
    Term,
    W,
    b_post,
    e_post,
    e_pre,
    exp,
    n_post,
    quantity,
    sum_post,
    sum_pre,
    tanh,
    trace,
    xi_post,
    y_post,
    y_pre,
    z_post,
    z_pre,
)
from rulesearch.notation.own import seen_from_pre
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.operators.losses import LOSSES

# Some 1e4 operations on values of order one: 2e-16 * 1e4 = 2e-12, and as much again for the rest.
AGREE = 1e-10
# Central differences with h = 1e-5 of their coefficient: 1e-10 of a third derivative of order one,
# as steps are small, and 2e-16 / h of rounding; ten times both.
DIFFER = 1e-9

F0 = Term("F0", -e_post * y_pre)


def distance(case):
    """The largest difference between the references, of losses and of all that is carried."""
    loss, _, ended = steps.reference(case)
    worst = 0.0
    for i in range(len(loss)):
        lived, expected = steps.literally(case, i)
        worst = max(worst, abs(float(loss[i]) - expected))
        pairs = [
            *zip(ended.weights, lived.weights, strict=True),
            *zip(ended.biases, lived.biases, strict=True),
            *zip(ended.feedback or [], lived.feedback or [], strict=True),
        ]
        worst = max(worst, *(float(np.abs(got[i].numpy() - own).max()) for got, own in pairs))
    return worst


def gradient_distance(case, h=1e-5):
    """Autograd's gradient beside central differences of the oracle's loss, in one direction."""
    first = case.at([0])
    _, gradient, _ = steps.reference(first)
    generator = torch.Generator().manual_seed(0)
    way = first.theta[0] * torch.randn(first.theta[0].shape, generator=generator).double()
    ends = [steps.literally(first, 0, first.theta[0] + sign * h * way)[1] for sign in (1, -1)]
    return abs(float((gradient[0] * way).sum()) - (ends[0] - ends[1]) / (2 * h))


def assert_agree(case):
    """The references give the same, and a gradient of an order that tells something."""
    assert distance(case) < AGREE
    assert gradient_distance(case) < DIFFER
    _, gradient, _ = steps.reference(case)
    assert float(batches.scaled(gradient, case.theta).abs().amax((0, 1)).min()) > 1000 * DIFFER


# --- drawn ----------------------------------------------------------------------------------------


@given(steps.cases())
@settings(max_examples=40)
def test_drawn_steps_agree(case):
    assert distance(case) < AGREE


@given(steps.cases(smooth=True))
@settings(max_examples=25)
def test_drawn_gradients_are_central_differences(case):
    assert gradient_distance(case) < DIFFER


# --- each kind of thing ---------------------------------------------------------------------------

SQUARE = trace("square_post", y_post**2, decay=0.9)
TRACES = {
    "post": SQUARE,
    "pre": trace("mean_pre", y_pre * tanh(z_pre), decay=0.5, initial=0.2),
    "view": seen_from_pre(trace("error_post", e_post**2, decay=0.9, initial="first")),
    "synapse": trace("elig", y_post * y_pre, decay=0.9),
    "synapse-first": trace("elig", W * e_pre, decay=0.5, initial="first"),
    "layer": trace("Lbar", L, decay=0.9, initial="first"),
    "sum": trace("arriving_post", sum_pre(W**2 * tanh(e_pre)), decay=0.5),
    "of-a-trace": trace("slow_post", (y_post - SQUARE) ** 2, decay=0.9),
    "of-own": trace("gated_post", quantity("gate_post", tanh(z_post)) * SQUARE, decay=0.9),
    "two-first": trace(
        "slower", trace("Lbar", L, decay=0.5, initial="first") * W, decay=0.5, initial="first"
    ),
}


@pytest.mark.parametrize("loss", [*LOSSES.values(), strategies.HUBER], ids=lambda row: row.name)
@pytest.mark.parametrize(
    "activation",
    [*ACTIVATIONS.values(), strategies.ARCTAN, strategies.BENT],
    ids=lambda row: row.name,
)
@pytest.mark.parametrize("answers", ["labels", "given"])
def test_activations_and_losses(activation, loss, answers):
    terms = F0, Term("F2", -e_post * e_pre), Term("third", L * W * tanh(z_post))
    case = steps.case(terms, Model(activation, loss), seed=1, answers=answers)
    assert_agree(case)


@pytest.mark.parametrize("path", strategies.PATHWAYS)
@pytest.mark.parametrize("name", TRACES)
def test_traces(name, path):
    terms = F0, Term("remembered", y_post * TRACES[name] * y_pre)
    case = steps.case(terms, start=batches.given(2, pathway=path, steps=4))
    assert_agree(case)


FEEDBACK = {
    "plain": (F0, Term("H", y_pre * z_post, "B"), Term("decay", -B, "B")),
    "sums": (
        F0,
        Term("sparse", -y_pre * sum_pre(y_pre * B), "B"),
        Term("null", -z_post * sum_post(B * z_post), "B"),
    ),
    "traces": (
        F0,
        Term("H", trace("elig", y_post * e_pre, decay=0.5), "B"),
        Term("M", SQUARE * seen_from_pre(SQUARE), "B"),
        Term("N", trace("layer", sum_pre(sum_post(B**2)), decay=0.5, initial=0.5) * B, "B"),
    ),
    "kolen-pollack": (
        Term("kp", -e_post * y_pre, "W", (("B", -e_post * y_pre),)),
        Term("decay", -W, "W", (("B", -B),)),
    ),
}


@pytest.mark.parametrize("path", ["random", "direct", "sign-symmetric"])
@pytest.mark.parametrize("name", FEEDBACK)
def test_plastic_feedback(name, path):
    case = steps.case(FEEDBACK[name], start=batches.given(3, pathway=path, steps=4))
    _, _, ended = steps.reference(case)
    for after, before in zip(ended.feedback, case.start.feedback, strict=True):
        assert float((after - before).abs().max()) > 0.01
    assert_agree(case)


@pytest.mark.parametrize("path", ["random", "sign-symmetric"])
def test_terms_that_read_the_synapse_of_the_other_way(path):
    terms = F0, Term("to", B * y_pre), Term("self", W, "B")
    case = steps.case(terms, start=batches.given(4, pathway=path))
    assert_agree(case)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("path", strategies.PATHWAYS)
def test_biases_noise_and_bounds(path, noise):
    slow = trace("slow_post", e_post * xi_post, decay=0.5)
    terms = (
        F0,
        Term("perturbed", -L * xi_post * y_pre),
        Term("b", -e_post, "b", (("W", -e_post * y_pre),)),
        Term("c", (slow - b_post) / n_post + tanh(sum_pre(W)), "b"),
    )
    bounds = {"W": (-0.5, 0.6), "b": (-0.04, 0.05)}
    limits = tuple((p, *ends) for p, ends in bounds.items())
    model = Model(ACTIVATIONS["tanh"], bias=True, noise=noise, bounds=limits)
    case = steps.case(terms, model, batches.given(5, pathway=path, steps=4))
    assert_agree(case)
    _, _, ended = steps.reference(case)
    for values, parameter in ((ended.weights, "W"), (ended.biases, "b")):
        every = torch.cat([v.flatten() for v in values])
        low, high = bounds[parameter]
        held = (every == low) | (every == high)
        assert every.min() >= low
        assert every.max() <= high
        assert held.any()
        assert not held.all()


def test_bounds_of_feedback_that_changes():
    model = Model(bounds=(("B", -0.3, 0.4),))
    case = steps.case(FEEDBACK["plain"], model, batches.given(6))
    assert_agree(case)
    _, _, ended = steps.reference(case)
    assert all(b.min() >= -0.3 and b.max() <= 0.4 for b in ended.feedback)
    unchanged = steps.case([F0], model, batches.given(6))
    _, _, ended = steps.reference(unchanged)
    for after, before in zip(ended.feedback, unchanged.start.feedback, strict=True):
        assert torch.equal(after, before)


@pytest.mark.parametrize("path", strategies.PATHWAYS)
def test_the_papers_rows_are_the_papers_equations(path):
    """Softplus and cross-entropy as expressions, beside the closed forms."""
    terms = F0, Term("F2", -e_post * e_pre), Term("third", L * W)
    case = steps.case(terms, start=batches.given(7, pathway=path))
    without = replace(case, model=None)
    for i in range(2):
        (rows, loss), (closed, other) = steps.literally(case, i), steps.literally(without, i)
        assert loss == pytest.approx(other, abs=AGREE)
        for a, b in zip(rows.weights, closed.weights, strict=True):
            np.testing.assert_allclose(a, b, atol=AGREE)
    (loss, gradient, _), (other, closed, _) = steps.reference(case), steps.reference(without)
    torch.testing.assert_close(loss, other, rtol=0, atol=AGREE)
    torch.testing.assert_close(gradient, closed, rtol=0, atol=AGREE)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=lambda row: row.name)
def test_errors_of_the_symmetric_pathway_are_the_gradient(activation):
    """-e_post*y_pre is then autograd's gradient by the weights, and -e_post that by the biases."""
    start = batches.given(8, (5, 4, 3, 3), "symmetric", steps=1)
    terms = Term("W", -e_post * y_pre), Term("b", -e_post, "b")
    model = Model(activation, bias=True)
    case = steps.case(terms, model, start)
    case = replace(case, theta=torch.ones_like(case.theta))
    weights = [w.clone().requires_grad_() for w in start.weights]
    biases = [torch.zeros_like(w[..., 0]).requires_grad_() for w in weights]
    loss = unrolled.query_loss(weights, *start.train, model, biases)
    gradients = torch.autograd.grad(loss.sum(), [*weights, *biases])
    _, _, ended = steps.reference(case)
    for after, before, gradient in zip(
        [*ended.weights, *ended.biases], [*weights, *biases], gradients, strict=True
    ):
        torch.testing.assert_close(after, before - gradient, rtol=0, atol=AGREE)


# --- by hand --------------------------------------------------------------------------------------


def chain(terms, theta, x, targets, model, **more):
    """The oracle and the unrolled loop on input - neuron - output, one neuron each."""
    weights, feedback = [[[0.5]], [[-0.4]]], [[[0.3]], [[0.7]]]
    path = more.pop("path", "random")
    lived = oracle.live(
        terms,
        theta,
        [np.array(w) for w in weights],
        [np.array(b) for b in feedback],
        np.array(x)[:, None],
        np.array(targets)[:, None],
        path,
        model,
        **more,
    )
    ended = unrolled.live(
        terms,
        torch.tensor(theta, dtype=torch.float64).expand(1, 2, len(terms)),
        [torch.tensor([w], dtype=torch.float64) for w in weights],
        [torch.tensor([b], dtype=torch.float64) for b in feedback],
        torch.tensor(x, dtype=torch.float64)[None, :, None],
        torch.tensor(targets, dtype=torch.float64)[None, :, None],
        path,
        model,
        **{k: [torch.tensor(v)[None] for v in values] for k, values in more.items()},
    )
    for name in ("weights", "feedback", "biases"):
        for a, b in zip(getattr(lived, name), getattr(ended, name), strict=True):
            np.testing.assert_allclose(a, b[0].numpy(), rtol=0, atol=1e-15)
    return lived


LINEAR = Model(ACTIVATIONS["identity"], LOSSES["squared"])


def test_a_step_by_hand():
    """x = 2: z = 1, then -0.4 where 1 is wanted, so e = -1.4, and 0.7·e below, 0.3 of that below.

    B_0 is seen as 1×1 with x before it and the hidden neuron after it.
    """
    terms = F0, Term("H", y_pre * z_post, "B")
    lived = chain(terms, [[0.1, 0.01], [0.2, 0.02]], [2.0], [1.0], LINEAR)
    assert lived.losses == [pytest.approx(1.4**2 / 2)]
    assert lived.weights[0][0, 0] == pytest.approx(0.5 + 0.1 * 0.7 * 1.4 * 2)
    assert lived.weights[1][0, 0] == pytest.approx(-0.4 + 0.2 * 1.4 * 1)
    assert lived.feedback[0][0, 0] == pytest.approx(0.3 + 0.01 * 2 * 1)
    assert lived.feedback[1][0, 0] == pytest.approx(0.7 + 0.02 * 1 * -0.4)


def test_direct_feedback_by_hand():
    """What is after a synapse of B_0 is the output, and its coefficient is that of layer 0."""
    terms = F0, Term("H", y_pre * z_post, "B")
    theta = [[0.1, 0.01], [0.2, 0.02]]
    lived = chain(terms, theta, [2.0], [1.0], LINEAR, path="direct")
    assert lived.weights[0][0, 0] == pytest.approx(0.5 + 0.1 * 0.7 * 1.4 * 2)
    assert lived.feedback[0][0, 0] == pytest.approx(0.3 + 0.01 * 2 * -0.4)


def test_noise_and_biases_by_hand():
    """Noise 0.5·ξ: z = 1 + 0.25 + 0.1, then -0.54 + 0.2 - 0.5; b moves by its terms alone."""
    model = replace(LINEAR, bias=True, noise=0.5)
    terms = Term("b", xi_post, "b"), Term("c", b_post, "b")
    xi = [np.array([[0.2]]), np.array([[-1.0]])]
    lived = chain(
        terms,
        [0.1, 0.5],
        [2.0],
        [1.0],
        model,
        xi=xi,
        biases=[np.array([0.25]), np.array([0.2])],
    )
    assert lived.losses == [pytest.approx((-0.4 * 1.35 + 0.2 - 0.5 - 1.0) ** 2 / 2)]
    assert lived.biases[0][0] == pytest.approx(0.25 * 1.5 + 0.1 * 0.2)
    assert lived.biases[1][0] == pytest.approx(0.2 * 1.5 - 0.1)


@pytest.mark.parametrize(("initial", "first"), [(0.0, 0.1), (2.0, 1.9), ("first", 1.0)])
def test_a_trace_by_hand(initial, first):
    """x = 1, then 3; a term reads the new value, a trace of a trace as well."""
    fast = trace("fast_pre", y_pre, decay=0.9, initial=initial)
    slow = trace("slow_pre", fast, decay=0.5)
    later = 0.9 * first + 0.1 * 3.0
    lived = chain([Term("F", fast)], [1.0], [1.0, 3.0], [0.0, 0.0], LINEAR)
    assert lived.weights[0][0, 0] == pytest.approx(0.5 + first + later)
    lived = chain([Term("F", slow)], [1.0], [1.0, 3.0], [0.0, 0.0], LINEAR)
    slowly = 0.5 * first
    assert lived.weights[0][0, 0] == pytest.approx(0.5 + slowly + 0.5 * slowly + 0.5 * later)


def test_both_sides_of_a_trace_by_hand():
    """At the input the pixel is remembered; before the output what the hidden neuron remembers."""
    after = trace("mean_post", y_post, decay=0.5)
    before = seen_from_pre(after)
    lived = chain([Term("F", before)], [1.0], [2.0], [1.0], LINEAR)
    assert [w[0, 0] for w in lived.weights] == [pytest.approx(0.5 + 1.0), pytest.approx(-0.4 + 0.5)]
    lived = chain([Term("F", after)], [1.0], [2.0], [1.0], LINEAR)
    assert [w[0, 0] for w in lived.weights] == [pytest.approx(0.5 + 0.5), pytest.approx(-0.4 - 0.2)]


def test_bounds_by_hand():
    """A weight is brought back after each step, also one that began outside."""
    model = replace(LINEAR, bounds=(("W", -0.3, 0.6),))
    lived = chain([Term("F", y_pre / y_pre)], [[0.4], [0.05]], [1.0], [1.0], model)
    assert [w[0, 0] for w in lived.weights] == [0.6, pytest.approx(-0.3)]


def test_the_slope_of_relu_at_zero_is_none():
    """A hidden neuron with the potential 0 passes no error on, nor a pixel that is 0."""
    model = replace(LINEAR, activation=ACTIVATIONS["relu"], bias=True)
    lived = chain([Term("F", e_post), Term("G", e_pre)], [1.0, 0.0], [0.0], [1.0], model)
    assert lived.weights[0][0, 0] == 0.5
    assert lived.weights[1][0, 0] == -1.4
    lived = chain([Term("F", e_pre)], [1.0], [0.0], [1.0], model)
    assert [w[0, 0] for w in lived.weights] == [0.5, -0.4]


def test_a_symmetric_pathway_has_no_feedback_to_change():
    case = steps.case([F0], start=batches.given(9, pathway="symmetric"))
    wrong = replace(case, terms=(Term("H", -B, "B"),))
    for run in (steps.reference, lambda c: steps.literally(c, 0)):
        with pytest.raises(ValueError, match="no B to change"):
            run(wrong)


# --- the oracle's derivatives ---------------------------------------------------------------------

_Z = sympy.Symbol("z", real=True)


@pytest.mark.parametrize("name", [n for n in strategies.ROWS if not n.startswith("sum_")])
def test_a_derivative_of_the_oracle(name):
    row = strategies.ROWS[name]
    arguments = [row.within(_Z * (i + 1) + sympy.Rational(i, 3)) for i in range(row.arity[0])]
    call = tanh(row.function(*arguments)) * _Z + exp(_Z)
    for z in (-1.3, -0.2, 0.45, 1.7):
        value, slope = oracle.moved(call, {"z": z}, "z", 0)
        ends = [oracle.moved(call, {"z": z + h}, "z", 0)[0] for h in (1e-6, -1e-6)]
        assert value == pytest.approx(oracle.update(call, {"W": np.zeros((1, 1)), "z": z}, 0, 0))
        # h**2 of a third derivative of at most some thousand; 2e-16 / h of rounding.
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-7, abs=1e-8)


def test_where_operators_are_tied_each_has_its_share():
    for call, slope in (
        (sympy.Max(_Z, -_Z / 2), 0.25),
        (sympy.Min(_Z, 0), 0.5),
        (sympy.Abs(_Z), 0.0),
        (sympy.Max(_Z, 0) + sympy.log(1 + sympy.exp(-sympy.Abs(10 * _Z))) / 10, 0.5),
    ):
        assert oracle.moved(call, {"z": 0.0}, "z", 0)[1] == slope
    assert math.isclose(oracle.moved(2**_Z, {"z": 0.0}, "z", 0)[1], math.log(2))


# --- what a wrong reference is caught by ----------------------------------------------------------


def _stale_trace(monkeypatch):
    follow = oracle._follow

    def before(layer, expressions, traces):
        old = dict(traces)
        follow(layer, expressions, traces)
        layer.update(old)

    monkeypatch.setattr(oracle, "_follow", before)


def _shared_gate(monkeypatch):
    monkeypatch.setattr(oracle, "_gate", lambda model, pixel: 1.0)


def _free(monkeypatch):
    monkeypatch.setattr(oracle, "_bounded", lambda values, parameter, model: values)


def _of_the_layer_above(monkeypatch):
    monkeypatch.setattr(oracle, "_source", lambda pathway, target, depth: target + 1)


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        (_stale_trace, "random"),
        (_shared_gate, "random"),
        (_free, "random"),
        (_of_the_layer_above, "direct"),
    ],
)
def test_a_broken_oracle_differs(broken, path, monkeypatch):
    elig = trace("elig", y_post * e_pre, decay=0.5)
    terms = F0, Term("F", elig), Term("H", y_pre * z_post, "B")
    model = Model(ACTIVATIONS["tanh"], bounds=(("W", -0.9, 0.8),))
    sizes = (4, 3, 3, 3)  # so that the layer above fits where the output should be
    start = batches.given(10, sizes, path, steps=4)
    case = steps.case(terms, model, start)
    assert distance(case) < AGREE
    broken(monkeypatch)
    assert distance(case) > 1e-6


def _forgetful(monkeypatch):
    """No derivative goes back through a trace."""
    followed = unrolled._with_traces

    def cut(at, expressions, before):
        return followed(at, expressions, {name: v.detach() for name, v in before.items()})

    monkeypatch.setattr(unrolled, "_with_traces", cut)


def _given_errors(monkeypatch):
    """No derivative goes back through the output's error."""
    answered = unrolled._answered

    def cut(model, z, target):
        y, loss, error = answered(model, z, target)
        return y, loss, error.detach()

    monkeypatch.setattr(unrolled, "_answered", cut)


@pytest.mark.parametrize("broken", [_forgetful, _given_errors])
def test_a_broken_gradient_differs(broken, monkeypatch):
    terms = F0, Term("F", trace("elig", y_post * y_pre, decay=0.9)), Term("H", y_pre * e_post, "B")
    case = steps.case(terms, start=batches.given(11, steps=4))
    assert_agree(case)
    broken(monkeypatch)
    assert gradient_distance(case) > 1000 * DIFFER


# --- what else the unrolled loop is used for ------------------------------------------------------


@pytest.mark.parametrize("activation", ["softplus", "tanh"])
def test_asked_at_the_end_it_is_the_query_loss(activation):
    terms = F0, Term("b", -e_post, "b"), Term("F", trace("m_pre", y_pre, decay=0.5))
    model = Model(ACTIVATIONS[activation], LOSSES["squared"], bias=True, noise=0.1)
    case = steps.case(terms, model, seed=12, answers="given")
    start = case.start
    arguments = case.terms, case.theta, start.weights, start.feedback, start.train
    query_x, targets = start.query
    more = start.pathway, model
    number = start.train[0].shape[1]
    expected, _, _ = steps.reference(case)

    def asked(at):
        each = targets[:, None].expand(-1, len(at), -1, -1)
        return unrolled.asked_loss(*arguments, query_x, each, at, *more, xi=case.xi)

    torch.testing.assert_close(asked((number,)), expected, rtol=0, atol=AGREE)
    both = (asked((1,)) + expected) / 2
    torch.testing.assert_close(asked((1, number)), both, rtol=0, atol=AGREE)


@pytest.mark.parametrize("activation", ["softplus", "relu", "tanh"])
def test_a_step_has_derivatives_forward_as_well(activation):
    """So that a kernel's adjoint can be held against it by a dot product."""
    start = batches.given(13)
    terms = F0, Term("H", y_pre * e_post, "B")
    case = steps.case(terms, Model(ACTIVATIONS[activation]), start)
    x, labels = start.train[0][:, 0], start.train[1][:, 0]

    def stepped(weights):
        carried = unrolled._begun(weights, start.feedback, None)
        after = unrolled.stepped(terms, case.theta, carried, x, labels, start.pathway, case.model)
        return [*after.weights, *after.feedback]

    generator = torch.Generator().manual_seed(0)
    way = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in start.weights]
    _, slopes = torch.func.jvp(stepped, (start.weights,), (way,))
    h = 1e-5
    ends = [
        stepped([w + sign * h * v for w, v in zip(start.weights, way, strict=True)])
        for sign in (1, -1)
    ]
    for slope, up, down in zip(slopes, *ends, strict=True):
        # Softplus is sharp: its third derivative is of order 100.
        torch.testing.assert_close(slope, (up - down) / (2 * h), rtol=0, atol=1e-7)
