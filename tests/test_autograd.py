"""theta that autograd watches: its gradient is the kernel's."""

import batches
import pytest
import torch
from torch import nn

from rulesearch.errors import RuleSearchError
from rulesearch.lifetime import run_lifetimes
from rulesearch.lifetime.autograd import watched
from rulesearch.notation import Pool

POOL = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", F3="-W")
START = batches.given(1, (5, 4, 3, 3), lifetimes=2)
SHAPES = [(3,), (3, 3), (2, 3, 3)]


def coefficients(shape, dtype=torch.float64):
    values = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return 0.05 * values


@batches.kernels
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{len(s)}d")
def test_backward_is_the_gradient(kernel, shape):
    theta = coefficients(shape).requires_grad_()
    out = batches.run(POOL, theta, START, kernel=kernel)
    assert out.gradient is None
    assert not out.accuracy.requires_grad
    assert not out.initial_loss.requires_grad
    out.loss.sum().backward()
    plain = batches.run(POOL, theta.detach(), START, kernel=kernel, gradient=True)
    expected = plain.gradient if len(shape) == 3 else plain.gradient.sum(0)
    assert torch.equal(theta.grad, expected)
    assert torch.equal(out.loss.detach(), plain.loss)


def test_each_loss_has_its_share():
    theta, shares = coefficients((3,)).requires_grad_(), torch.tensor([2.0, -0.5])
    out = batches.run(POOL, theta, START, kernel="einsum", gradient=True)
    (found,) = torch.autograd.grad(out.loss, theta, shares.double())
    torch.testing.assert_close(found, shares.double() @ out.gradient, rtol=1e-14, atol=0)


def test_coefficients_that_a_network_makes():
    """The derivative by the chain rule of the whole, against central differences."""
    torch.manual_seed(0)
    maker = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 9)).double()
    seen = torch.tensor([0.3, -0.7], dtype=torch.float64)

    def loss():
        theta = 0.1 * maker(seen).reshape(3, 3)
        return batches.run(POOL, theta, START, kernel="einsum").loss.square().sum()

    loss().backward()
    weight, h = maker[0].weight, 1e-5
    with torch.no_grad():
        for place in ((0, 0), (3, 1)):
            ends = []
            for sign in (1, -1):
                weight[place] += sign * h
                ends.append(float(loss()))
                weight[place] -= sign * h
            # The error is of order h², and rounding over h.
            assert float(weight.grad[place]) == pytest.approx((ends[0] - ends[1]) / (2 * h), 1e-6)


def test_dtypes_and_modes_meet():
    theta = coefficients((3,)).requires_grad_()
    single = START.to(torch.float32)
    batches.run(POOL, theta, single, kernel="einsum").loss.sum().backward()
    assert theta.grad.dtype == torch.float64
    with torch.no_grad():
        assert not batches.run(POOL, theta, START, kernel="einsum").loss.requires_grad
    with torch.inference_mode():
        assert not batches.run(POOL, theta, START, kernel="einsum").loss.requires_grad


def test_named_terms_are_those_of_the_gradient_and_theta_has_all():
    theta = coefficients((3,)).requires_grad_()
    out = batches.run(POOL, theta, START, kernel="einsum", gradient=["F2"])
    assert not out.gradient.requires_grad
    assert (out.gradient != 0).any(0).tolist() == [False, True, False]
    out.loss.sum().backward()
    assert (theta.grad != 0).all()


def test_a_term_that_does_not_act_in_a_layer_has_no_derivative_there():
    pool = Pool(F0="-e_post*y_pre", F3="-W", where={"F3": (1,)})
    theta = coefficients((3, 2)).requires_grad_()
    batches.run(pool, theta, START, kernel="einsum").loss.sum().backward()
    assert (theta.grad != 0).tolist() == [[True, True], [True, False], [True, False]]


def test_what_watches_may_be_a_transform():
    theta = coefficients((3,))

    def loss(theta):
        return batches.run(POOL, theta, START, kernel="fused").loss.sum()

    expected = batches.run(POOL, theta, START, kernel="fused", gradient=True).gradient.sum(0)
    assert torch.equal(torch.func.grad(loss)(theta), expected)


def test_a_loss_left_out_leaves_no_trace():
    """Its derivative is not finite, and 0 times that is 0."""
    theta = torch.ones(2, 1, 1, requires_grad=True)
    slopes = torch.tensor([3.0, float("nan")]).reshape(2, 1, 1)
    losses = watched(theta, lambda _: (torch.tensor([1.0, float("nan")]), slopes))
    torch.where(losses.isfinite(), losses, 0.0).sum().backward()
    assert theta.grad.flatten().tolist() == [3.0, 0.0]


def test_second_derivatives_are_refused():
    theta = coefficients((3,)).requires_grad_()
    loss = batches.run(POOL, theta, START, kernel="einsum").loss.sum()
    (first,) = torch.autograd.grad(loss, theta, create_graph=True)
    with pytest.raises(RuleSearchError) as refused:
        first.sum().backward()
    assert refused.value.lines == (
        "theta: losses have first derivatives only; do not differentiate their gradient",
    )


@pytest.mark.parametrize("name", ["weights[1]", "feedback[0]", "train x"])
def test_other_derivatives_are_refused(name):
    weights, feedback = list(START.weights), list(START.feedback)
    x, labels = START.train
    if name == "weights[1]":
        weights[1] = nn.Parameter(weights[1])
    elif name == "feedback[0]":
        feedback[0] = feedback[0].clone().requires_grad_()
    else:
        x = x.clone().requires_grad_()
    given = {"train": (x, labels), "query": START.query, "kernel": "einsum"}
    with pytest.raises(RuleSearchError) as refused:
        run_lifetimes(POOL, coefficients((3,)), weights, feedback, **given)
    assert refused.value.lines == (
        f"{name}: requires grad, but losses are differentiated with respect to theta only; "
        f"give {name}.detach()",
    )
    with torch.no_grad():
        assert (
            run_lifetimes(POOL, coefficients((3,)), weights, feedback, **given)
            .loss.isfinite()
            .all()
        )
