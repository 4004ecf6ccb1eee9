"""Squares and fractions of sums, multiplied out in canonical forms, are such in kernels."""

import pytest
import sympy
import torch
from batches import given
from hypothesis import HealthCheck, assume, example, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.lifetime import run_lifetimes
from rulesearch.lowering import lower
from rulesearch.notation import (
    Abs,
    B,
    L,
    Pool,
    W,
    canonical,
    e_post,
    e_pre,
    exp,
    n_pre,
    parse,
    quantity,
    seen_from_pre,
    sqrt,
    sum_post,
    sum_pre,
    tanh,
    text_of,
    trace,
    y_post,
    y_pre,
    z_post,
)
from rulesearch.notation.compact import compact, gathered

MEAN = trace("mean_post", y_post, decay=0.95, initial="first")
VARIANCE = trace("variance_post", (y_post - MEAN) ** 2, decay=0.95)
POST = (y_post, e_post, z_post, MEAN)


@drawn(
    st.lists(st.sampled_from([-3, -1, sympy.Rational(1, 2), 1, 2]), min_size=2, max_size=4),
    st.permutations(POST),
    st.sampled_from([1, e_pre, e_post, W, 7 * y_pre**2, 1 / (1 + y_pre**2)]),
    st.sampled_from([0, 1, y_pre, -e_post * y_pre, 3 * W]),
)
@settings(deadline=None, max_examples=60)
def test_a_square_is_found_and_the_same_number(numbers, symbols, front, beside):
    whole = sum(n * s for n, s in zip(numbers, symbols, strict=False))
    form = canonical(front * whole**2 + beside)
    found = gathered(form)
    assert canonical(found) == form
    squares = [p for p in found.atoms(sympy.Pow) if p.exp == 2 and p.base.is_Add]
    # What stands beside it may be one of its parts, but of one at most.
    assert squares
    assert max(len(p.base.args) for p in squares) >= len(numbers) - 1


@pytest.mark.parametrize(
    "form",
    [
        (y_post - y_pre) ** 2,  # separates, which it does not as a square
        y_post**2 + y_post * e_post + e_post**2,
        y_post**2 - e_post**2 - 2 * y_post * e_post,
        y_post**2 + 2 * e_post**2 + y_post * e_post,
        y_post * y_pre - y_post**2 * W,
        W + y_pre,
    ],
)
def test_what_is_none_stays(form):
    form = canonical(form)
    assert gathered(form) == form


LEAVES = st.sampled_from([*POST, y_pre, e_pre, W, B, L, sympy.Rational(3, 10), sympy.Integer(2)])


def grown(parts):
    """Larger expressions: sums, differences, products, powers, fractions, roots, sizes, sums."""
    two = st.tuples(parts, parts)
    return st.one_of(
        two.map(lambda p: p[0] + p[1]),
        two.map(lambda p: p[0] - 2 * p[1]),
        two.map(lambda p: p[0] * p[1]),
        st.tuples(parts, st.sampled_from([2, 3])).map(lambda p: p[0] ** p[1]),
        two.map(lambda p: p[0] / (p[1] ** 2 + sympy.Rational(1, 100))),
        parts.map(lambda p: sqrt(p**2)),
        parts.map(Abs),
        parts.map(sum_pre),
        parts.map(exp),
    )


@drawn(st.recursive(LEAVES, grown, max_leaves=7))
@example((y_post + e_post + z_post) ** 2 - 4 * e_post * z_post)  # three squares, and no signs do it
@settings(deadline=None, max_examples=300, suppress_health_check=[*HealthCheck])
def test_a_compact_form_is_the_same_expression(expression):
    try:
        form = canonical(expression)
        assume(len(sympy.Add.make_args(form)) <= 40)
    except RuleSearchError:
        assume(False)
    for apart in (False, True):
        assert canonical(compact(form, apart=apart)) == form
    assert canonical(parse(text_of(compact(form)), quantities={"mean_post": MEAN})) == form


def test_squares_are_found_in_roots_in_sums_and_at_synapses():
    inside = gathered(canonical(sqrt((y_post - y_pre) ** 2 + 1)))
    assert inside in (sqrt((y_post - y_pre) ** 2 + 1), sqrt((y_pre - y_post) ** 2 + 1))
    assert gathered(canonical((W - B) ** 2)) == (B - W) ** 2
    summed = gathered(canonical(y_post * sum_pre((y_pre - e_pre) ** 2) + e_post))
    assert summed == y_post * sum_pre((e_pre - y_pre) ** 2) + e_post


def spread(x):
    return sum_pre((x - sum_pre(x) / n_pre) ** 2)


@pytest.mark.parametrize(
    "form",
    [
        sqrt((1 - y_post) ** 2 + sympy.Rational(1, 10)),
        (sympy.Rational(3, 10) - y_post) ** 2,
        (Abs(e_post) - MEAN) ** 2,
        (y_post - MEAN) ** 4,
        ((y_post - MEAN) * (y_pre - e_pre)) ** 2,
        ((y_post - MEAN) ** 2 - z_post) ** 2,
        (y_post - MEAN) ** 3,
        (exp(y_post) / sum_post(exp(y_post)) - MEAN) ** 2,
        (sqrt(y_post) - MEAN) ** 2,
        (y_post - sqrt(2) * e_post) ** 2,
        sum_pre((y_pre - W) ** 2),
        spread(y_pre),
        e_post * sqrt(spread(W)),
    ],
)
def test_what_rounding_would_leave_little_of_is_kept(form):
    """Of all these the parts, multiplied out, cancel."""
    found = gathered(canonical(form))
    assert canonical(found) == canonical(form)
    assert found.atoms(sympy.Add) & {power.base for power in found.atoms(sympy.Pow)}


def test_a_distance_is_not_by_the_potential():
    """It would be sum(y**2) + sum(W**2) - 2*z, which may be negative where W is y."""
    away = Pool(F=e_post / (sqrt(sum_pre((y_pre - W) ** 2)) + 1))
    assert lower(away).quantities == {"W", "e_post", "y_pre"}


def test_a_fraction_whose_sum_is_a_number_is_as_many():
    below = y_pre + e_pre + 2
    whole = sum_pre(y_pre / below) + sum_pre((e_pre + 2) / below)
    assert gathered(canonical(y_post * whole)) == n_pre * y_post
    assert lower(Pool(F=y_post * whole)).quantities == {"n_pre", "y_post"}


def test_a_square_is_one_group():
    assert len(lower(Pool(F=e_post * (y_post - MEAN) ** 2)).groups) == 1


SCORE = quantity("score_post", (y_post - MEAN) / (sqrt(VARIANCE) + 1e-8))
FRACTIONS = (
    -e_post * seen_from_pre(SCORE),
    SCORE * seen_from_pre(SCORE),
    (y_post - 3 * e_post) * y_pre / (2 + y_post**2),
    y_pre * (2 * y_post - MEAN) * e_post / (1 + z_post**2) ** 3,
)


@pytest.mark.parametrize("form", FRACTIONS)
def test_a_fraction_is_one_product(form):
    plan = lower(Pool(F=form))
    (group,) = plan.groups
    assert len(group.parts) == 1
    assert canonical(gathered(canonical(form))) == canonical(form)


def test_a_fraction_is_found_in_functions_and_sums():
    form = canonical(tanh((y_post - y_pre) / (1 + W**2)))
    assert gathered(form) in (
        tanh((y_post - y_pre) / (1 + W**2)),
        -tanh((y_pre - y_post) / (1 + W**2)),
    )
    form = canonical(sum_pre((y_pre - e_pre) / (1 + y_pre**2)))
    assert gathered(form) == -sum_pre((e_pre - y_pre) / (1 + y_pre**2))
    # What joins pre and post is left apart, and the divisors of pre with it.
    form = canonical(e_post * (y_post - y_pre) / (1 + y_pre**2))
    assert len(sympy.Add.make_args(gathered(form))) == 2


@pytest.mark.parametrize("kernel", ["einsum", "fused"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_variance_of_what_stays_the_same_has_a_root(kernel, dtype):
    """It was a little less than 0: of an image that hardly changes, whatever the network does."""
    start = given(2, (4, 3, 2), "random", steps=300).to(dtype)
    (x, labels), near = start.train, 1e-4 if dtype == torch.float32 else 1e-9
    spread = Pool(F=-y_pre / (sqrt(seen_from_pre(VARIANCE)) + 1))
    found = run_lifetimes(
        spread,
        torch.full((2, 2, 1), 1e-3, dtype=dtype),
        start.weights,
        start.feedback,
        train=(0.7 + near * x, labels),
        query=start.query,
        kernel=kernel,
        keep_weights=True,
    )
    assert found.loss.isfinite().all()
    assert all(w.isfinite().all() for w in found.weights)


@pytest.mark.parametrize("kernel", ["einsum", "fused"])
def test_the_score_of_what_stays_the_same_is_zero(kernel):
    """One image again and again, of which every pixel is its own mean: nothing is learned."""
    start = given(3, (12, 5), "random", steps=60).to(torch.float32)
    x, labels = start.train
    found = run_lifetimes(
        Pool(F=-e_post * seen_from_pre(SCORE)),
        torch.full((2, 1, 1), 1e-2),
        start.weights,
        start.feedback,
        train=(x[:, :1].repeat(1, 60, 1), labels),
        query=start.query,
        kernel=kernel,
    )
    assert torch.equal(found.loss, found.initial_loss)
