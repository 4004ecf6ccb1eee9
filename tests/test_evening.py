"""A term means the same in single precision, wherever it stands and whatever things are called."""

from __future__ import annotations

import itertools

import pytest
import torch

from rulesearch import run_lifetimes
from rulesearch.errors import RuleSearchError
from rulesearch.export import export
from rulesearch.given_rule import rule_from_text
from rulesearch.notation import (
    Abs,
    Pool,
    e_post,
    seen_from_pre,
    sqrt,
    tanh,
    trace,
    y_post,
    y_pre,
    z_post,
)
from rulesearch.notation.evening import evened

SIZES, COUNT = (13, 11, 7), 5
G = torch.Generator().manual_seed(0)


def drawn(*shape):
    return torch.rand(*shape, generator=G)


WEIGHTS = [drawn(COUNT, b, a) - 0.5 for a, b in itertools.pairwise(SIZES)]
FEEDBACK = [drawn(COUNT, a, b) - 0.5 for a, b in itertools.pairwise(SIZES)]
TRAIN = drawn(COUNT, 30, 13), torch.randint(7, (COUNT, 30), generator=G)
QUERY = drawn(COUNT, 8, 13), torch.randint(7, (COUNT, 8), generator=G)


def lived(pool, theta, which=slice(None), dtype=torch.float32, kernel="einsum"):
    def some(values):
        values = values[which]
        return values.to(dtype) if values.is_floating_point() else values

    return run_lifetimes(
        pool,
        torch.tensor(theta, dtype=dtype),
        [some(w) for w in WEIGHTS],
        [some(b) for b in FEEDBACK],
        train=tuple(map(some, TRAIN)),
        query=tuple(map(some, QUERY)),
        gradient=True,
        kernel=kernel,
    )


@pytest.mark.parametrize(
    ("term", "kernels"),
    [
        ("e_post*y_pre/(sum_pre(y_pre**2) + 1e-12)**3", ["einsum", "fused"]),
        ("e_post*y_pre/(sum_pre(y_pre)**2 + 1e-15)**2", ["einsum"]),
        ("e_post/sqrt(sum_pre(y_pre**2) + 1e-20)*y_pre", ["einsum"]),
        ("tanh(e_post/(y_post**2 + 1e-12)**2)*y_pre", ["einsum"]),
        ("tanh(1e20*e_post)*y_pre", ["einsum"]),
    ],
)
def test_a_small_number_in_a_denominator_is_as_good_in_single_precision(term, kernels):
    pool = Pool(F0="-e_post*y_pre", A=term)
    exact = lived(pool, (0.05, -1e-3), dtype=torch.float64)
    for kernel in kernels:
        found = lived(pool, (0.05, -1e-3), kernel=kernel)
        torch.testing.assert_close(found.loss.double(), exact.loss, rtol=1e-4, atol=1e-5)
        size = float(exact.gradient.abs().max())
        assert float((found.gradient - exact.gradient).abs().max()) < 2e-3 * size


@pytest.mark.parametrize(
    "term",
    [
        "e_post*y_pre**4/(y_pre + 1e-12)**4",
        "e_post*y_pre**3/(y_pre + 1e-13)**3",
        "e_post*y_pre**4/(y_pre**2 + 1e-20)**2",
    ],
)
def test_a_power_that_single_precision_has_not_is_refused(term):
    with pytest.raises(RuleSearchError, match=r"pool, term A: 1e\+(48|39|40) is beyond float32"):
        lived(Pool(F0="-e_post*y_pre", A=term), (0.05, -1e-3))


@pytest.mark.parametrize("term", ["y_post/(1e10*y_post + 1)**4", "y_pre/(W + 1e7)**2"])
def test_numbers_that_cancel_nothing_stay_where_they_are(term):
    (expression,) = (term.expression for term in Pool(A=term))
    assert evened(expression) == expression


def test_an_export_is_as_good_in_single_precision():
    bounded = "e_post**3*y_pre/(e_post**2 + 1e-12)"
    text = export(rule_from_text([bounded], [0.1]), "torch")
    assert "outer(e_post**3/(e_post**2 + 1e-12), y_pre)" in text


@pytest.mark.parametrize("to", ["torch", "numpy"])
def test_whole_numbers_of_any_length_leave_in_code(to):
    rule = rule_from_text(["-e_post*y_pre", "e_post/(Abs(e_post) + 1e-20)*y_pre"], [0.1, 0.01])
    assert "1e+20" in export(rule, to) or "1e-20" in export(rule, to)


@pytest.mark.parametrize(
    "term",
    ["Abs(W)**pi*sign(W)*y_pre", "Abs(W)**sqrt(2)*y_pre", "2**y_post*y_pre", "(1 + W**2)**y_post"],
)
def test_a_power_has_the_same_bits_wherever_a_lifetime_stands(term):
    pool = Pool(F0="-e_post*y_pre", A=term)
    whole = lived(pool, (0.01, 1e-4))
    assert whole.gradient.isfinite().all()
    for number in range(COUNT):
        alone = lived(pool, (0.01, 1e-4), slice(number, number + 1))
        assert torch.equal(alone.loss[0], whole.loss[number])
        assert torch.equal(alone.gradient[0], whole.gradient[number])


def named(first, second, third):
    a = trace(f"{first}_post", y_post**2, decay=0.9)
    b = trace(f"{second}_post", e_post**2, decay=0.95, initial="first")
    c = trace(f"{third}_post", z_post, decay=0.5)
    return Pool(
        F0=-e_post * y_pre,
        G=tanh(y_post * a - b * e_post + c * sqrt(b)) * y_pre,
        H=(a + b + c) * e_post / (1 + Abs(a + 3 * b + z_post)) * y_pre,
        K=-e_post * y_pre * seen_from_pre(c),
    )


@pytest.mark.parametrize("names", [("cc", "bb", "aa"), ("m", "o", "q"), ("bb", "cc", "aa")])
def test_names_of_traces_change_no_bit(names):
    theta = (0.02, 0.02, 0.02, 0.02)
    one, other = lived(named("aa", "bb", "cc"), theta), lived(named(*names), theta)
    assert torch.equal(one.loss, other.loss)
    assert torch.equal(one.gradient, other.gradient)
