import math

import batches
import jaxtyping
import numpy as np
import oracle
import pytest
import strategies
import torch
from hypothesis import given
from hypothesis import strategies as st

from rulesearch import network

EPS = float(np.finfo(float).eps)

potentials = st.floats(-50, 50)


@given(potentials)
def test_softplus_is_the_papers(z):
    y = float(network.softplus(torch.tensor(z, dtype=torch.float64)))
    # By hand: log(1 + exp(βz))/β, in the form that does not overflow.
    expected = max(z, 0.0) + math.log1p(math.exp(-10 * abs(z))) / 10
    # exp(-10|z|) has the relative error of its argument, up to 500 roundings.
    assert y == pytest.approx(expected, rel=500 * EPS)


def test_softplus_has_no_threshold():
    """torch's own is the identity from βz = 20 on, which a central difference would see."""
    z = torch.tensor([2.0], dtype=torch.float64)
    assert float(network.softplus(z) - z) == pytest.approx(math.exp(-20) / 10, rel=1e-6)


@given(st.floats(-5, 5))
def test_slope_and_its_derivative_are_softplus_s(z):
    point = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    literal = torch.logaddexp(10 * point, torch.zeros_like(point)) / 10
    (first,) = torch.autograd.grad(literal, point, create_graph=True)
    (second,) = torch.autograd.grad(first, point)
    y = network.softplus(point.detach())
    gate = network.slope(y)
    assert float(gate) == pytest.approx(
        float(first.detach()), rel=1e-12
    )  # 50 roundings, times β|z|
    # σ'' = dσ'/dy σ'
    by_chain = float(network.slope_derivative(y) * gate)
    assert by_chain == pytest.approx(float(second), rel=1e-11, abs=1e-15)


def test_slope_of_a_dark_pixel_is_exactly_zero():
    assert float(network.slope(torch.zeros(1))) == 0.0


@given(strategies.networks)
def test_forward_and_query_loss_are_the_oracles(drawn):
    start = batches.stacked([drawn])
    loss, accuracy = network.query_loss(start.weights, *start.query)
    expected = oracle.query_loss(drawn.weights, drawn.query_x, drawn.query_labels)
    # A thousand roundings of values of order one to ten.
    assert float(loss) == pytest.approx(expected, abs=1e4 * EPS)
    logits = network.forward(start.weights, start.query[0])
    assert [tuple(z.shape[1:]) for z in logits] == [(2, n) for n in drawn.sizes[1:]]
    right = logits[-1][0].argmax(-1).numpy() == drawn.query_labels
    assert float(accuracy) == right.mean()


def test_what_is_not_finite_is_not_correct():
    weights = [torch.tensor([[[math.nan], [1.0]], [[1.0], [0.0]]])]
    x, labels = torch.ones(2, 3, 1), torch.zeros(2, 3, dtype=torch.int64)
    loss, accuracy = network.query_loss(weights, x, labels)
    assert loss.isnan().tolist() == [True, False]
    assert accuracy.tolist() == [0.0, 1.0]


def test_chance_of_an_untrained_network_without_weights():
    weights = [torch.zeros(1, 47, 3)]
    loss, _ = network.query_loss(weights, torch.rand(1, 5, 3), torch.arange(5)[None])
    assert float(loss) == pytest.approx(math.log(47), rel=1e-6)


def test_initial_weights_are_xavier_uniform():
    weights = network.initial_weights((200, 100, 50), seed=3, dtype=torch.float64)
    assert [tuple(w.shape) for w in weights] == [(100, 200), (50, 100)]
    for w, fan in zip(weights, (300, 150), strict=True):
        bound = math.sqrt(6 / fan)
        # Drawn in float32, which may round the bound itself up.
        assert bound / 2 < float(w.abs().max()) <= bound * (1 + 2**-23)
        # Uniform in ±b: variance b²/3, that of the square 4b⁴/45; five standard errors.
        error = 5 * math.sqrt(4 / 45 / w.numel()) * bound**2
        assert float(w.square().mean()) == pytest.approx(bound**2 / 3, abs=error)
        assert abs(float(w.mean())) <= 5 * bound / math.sqrt(3 * w.numel())


def test_uniform_draws_stay_the_same_to_the_bit():
    # Recorded: seeds of runs that are kept stand for these numbers.
    shapes = [(2, 3), (3, 1)]
    recorded = [
        [
            *("0x1.0bf9f80000000p+0", "-0x1.ffab000000000p-1", "-0x1.13d4fe0000000p+0"),
            *("0x1.8798500000000p-3", "-0x1.1e45d40000000p-1", "-0x1.257c580000000p-2"),
        ],
        ["-0x1.2cd6920000000p+0", "0x1.7d95780000000p-2", "-0x1.65dcfc0000000p-1"],
    ]
    for dtype in (torch.float32, torch.float64):
        rows = network.empty_rows(2, shapes, dtype)
        network.draw_xavier(rows, shapes, (8, 7))
        matrices = network.as_matrices(rows, shapes)
        assert [[v.hex() for v in m[1].flatten().tolist()] for m in matrices] == recorded


def test_normal_draws_have_the_moments_of_the_law():
    matrix = torch.empty(1, 400 * 600, dtype=torch.float64)
    network.draw_xavier(matrix, [(400, 600)], (3,), law="normal")
    n, variance = matrix.numel(), 2 / 1000  # Eq. S.5
    # Five standard errors: of the mean, of the variance (kurtosis 3), of the fourth moment
    # (E z^8 - 9 = 96).
    assert abs(float(matrix.mean())) <= 5 * math.sqrt(variance / n)
    assert float(matrix.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / n))
    fourth = float((matrix**4).mean()) / variance**2
    assert fourth == pytest.approx(3, abs=5 * math.sqrt(96 / n))


def test_normal_draws_depend_on_the_seed_alone():
    shapes = [(6, 5)]
    double, single = (network.empty_rows(2, shapes, d) for d in (torch.float64, torch.float32))
    network.draw_xavier(double, shapes, (2, 1), "normal")
    network.draw_xavier(single, shapes, (1, 2), "normal")
    assert torch.equal(double[[1, 0]].float(), single)
    assert not torch.equal(single[0], single[1])


def test_initial_weights_depend_on_the_seed_alone():
    double = network.initial_weights((6, 5, 4), seed=1, dtype=torch.float64)
    single = network.initial_weights((6, 5, 4), seed=1)
    other = network.initial_weights((6, 5, 4), seed=2)
    for d, s, o in zip(double, single, other, strict=True):
        assert torch.equal(d.float(), s)
        assert not torch.equal(s, o)


def test_shapes_are_checked_while_tests_run():
    """`conftest` promises it; a test that it does."""
    with pytest.raises(jaxtyping.TypeCheckError):
        network.forward([torch.zeros(4, 3)], torch.zeros(1, 2, 3))
    with pytest.raises(jaxtyping.TypeCheckError):
        network.query_loss([torch.zeros(2, 4, 3)], torch.zeros(2, 5, 3), torch.zeros(2, 6).long())


@given(
    st.integers(1, 200),
    st.integers(0, 3),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 2**31),
)
def test_softplus_rounds_alike_wherever_a_value_stands(count, before, dtype, seed):
    z = torch.randn(4, 1, count, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    together = network.softplus(z)
    alone = network.softplus(z[before : before + 1].clone())
    assert torch.equal(together[before : before + 1], alone)
