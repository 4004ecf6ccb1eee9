"""Which terms are sums of others, exactly, against SymPy's row reduction; and how fast."""

import itertools
import time

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from rulesearch.notation import Pool, W, e_post, e_pre, y_post, y_pre, z_post, z_pre
from rulesearch.notation.dependence import PRIME, sums_of_others

BASIS = (W, y_pre, e_pre, y_post, e_post, z_pre, z_post)
#: Small, of many digits, and zero where one only looks at remainders.
numbers = st.sampled_from(
    [0, 0, 0, 1, -1, 2, sympy.Rational(1, 3), sympy.Rational(-5, 7), 10**12 + 1, PRIME, 2 * PRIME]
)
rows = st.lists(
    st.lists(numbers, min_size=len(BASIS), max_size=len(BASIS)).filter(any),
    min_size=1,
    max_size=9,
)


def expression(row):
    return sympy.Add(*(n * q for n, q in zip(row, BASIS, strict=True)))


@given(rows)
def test_sums_of_others_are_those_of_exact_row_reduction(drawn):
    group = {f"A{i}": expression(row) for i, row in enumerate(drawn)}
    reduced, pivots = sympy.Matrix(drawn).T.rref()
    expected = {
        f"A{i}": {f"A{p}": w for p, w in zip(pivots, reduced[: len(pivots), i], strict=True) if w}
        for i in range(len(drawn))
        if i not in pivots
    }
    found = dict(sums_of_others(group))
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        assert found[name] == pytest.approx({n: float(w) for n, w in weights.items()})


@pytest.mark.parametrize("factor", [PRIME, sympy.Rational(1, PRIME), PRIME**2])
def test_a_weight_that_the_prime_divides(factor):
    group = {"A": W + y_pre, "B": y_pre, "C": W + factor * y_pre, "D": W + (factor + 1) * y_pre}
    assert [name for name, _ in sums_of_others(group)] == ["C", "D"]
    assert list(sums_of_others({"A": W + y_pre, "C": W + (1 + factor) * y_pre})) == []


def test_many_terms_of_few_products_are_told_with_their_weights_in_seconds():
    # More terms than products, each of many: in fractions it takes ten times as long.
    rng = np.random.default_rng(1)
    products = [sympy.Mul(*chosen) for chosen in itertools.combinations_with_replacement(BASIS, 3)]
    group = {
        f"G{i}": sum(
            int(rng.integers(1, 9)) * products[place]
            for place in rng.choice(len(products), 9, replace=False)
        )
        for i in range(len(products) + 20)
    }
    begun = time.process_time()
    found = list(sums_of_others(group))
    assert time.process_time() - begun < 10
    assert [name for name, _ in found] == [f"G{len(products) + i}" for i in range(20)]
    at = dict(zip(BASIS, rng.normal(size=len(BASIS)), strict=True))
    values = {name: float(expression.xreplace(at)) for name, expression in group.items()}
    for name, weights in found:
        parts = [weight * values[other] for other, weight in weights.items()]
        assert sum(parts) == pytest.approx(values[name], abs=1e-12 * sum(map(abs, parts)))


def test_a_pool_of_many_terms_is_checked_in_seconds():
    # They share all their parts: in fractions alone it takes a minute.
    rng = np.random.default_rng(0)
    products = [sympy.Mul(*chosen) for chosen in itertools.combinations_with_replacement(BASIS, 4)]
    terms = {
        f"G{i}": sum(
            int(rng.integers(1, 9)) * products[place]
            for place in rng.choice(len(products), 5, replace=False)
        )
        for i in range(len(products) - 15)
    }
    assert len(terms) == 195
    begun = time.process_time()
    pool = Pool(**terms)
    assert pool.notes == ()
    assert time.process_time() - begun < 10
