"""What is found depends on what terms are, not on their names, order or constant factors."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Rational, pi, sqrt

from rulesearch.data import TaskShape, load_data
from rulesearch.meta import fit_together
from rulesearch.notation import Pool, parse
from rulesearch.search import Config, search
from rulesearch.search.request import prepare
from rulesearch.selection import Effort, trial_plan

TERMS = ("-e_post*y_pre", "-e_post*e_pre", "-W", "y_post*y_pre - y_post*sum_post(y_post*W)")
#: Where a search of a few meta-steps begins, so that it has something to find.
START = {0: 0.15}
SHAPE = TaskShape(ways=3, shots=8, queries=6)
EFFORT = Effort(
    common_tasks=24,
    ranking_tasks=12,
    full_steps=30,
    full_rounds=2,
    refit_steps=20,
    final_refits=2,
    final_steps=3,
    mean_steps=3,
    baseline_steps=3,
    baseline_tasks=12,
    evaluation_tasks=12,
)
CONFIG = Config(
    layers=(12,),
    ways=SHAPE.ways,
    shots=SHAPE.shots,
    queries=SHAPE.queries,
    meta_steps=40,
    meta_batch=4,
    trials=1,
    l1=1e-4,
    dtype="float64",
    kernel="einsum",
    effort=EFFORT,
)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", shape=SHAPE)


def found(pool, data):
    """Coefficients of the rule by what its terms are, and the evaluation of the rule."""
    result = search(pool, data, CONFIG)
    rule = {t.key: result.theta[t.name] * float(t.factor) for t in pool if result.theta[t.name]}
    assert {t.key for t in pool if t.name in result.support} == set(rule)
    return rule, [entry.accuracy for entry in result.evaluation.values()]


@pytest.fixture(scope="module")
def plain(digits):
    rule, evaluation = found(respelled("ABCD", range(4), (1, 1, 1, 1)), digits)
    assert len(rule) > 1
    return rule, evaluation


def same(one, other):
    assert one[0].keys() == other[0].keys()
    for key, value in one[0].items():
        assert other[0][key] == pytest.approx(value, rel=1e-3)
    assert other[1] == pytest.approx(one[1], abs=1e-3)


def respelled(names, order, factors):
    terms = {names[i]: factor * parse(TERMS[i]) for i, factor in zip(order, factors, strict=True)}
    return Pool(**terms)


SPELLINGS = pytest.mark.parametrize(
    ("names", "order", "factors"),
    [
        ("ABCD", (0, 1, 2, 3), (1, 1, 1, 1)),
        ("DCBA", (3, 1, 0, 2), (1, 1, 1, 1)),
        ("ABCD", (0, 1, 2, 3), (Rational(1, 1000), -2, 1000, sqrt(2))),
    ],
    ids=["names", "order", "factors"],
)


@SPELLINGS
def test_units_start_and_trials_are_those_of_the_terms(names, order, factors, digits):
    """In the coefficients learned, which a negative factor turns around."""

    def learned(pool):
        request = prepare(pool, digits, replace(CONFIG, protocol="robust"))
        setting = request.setting
        population = request.worlds[0].population(request.pool)
        plan = trial_plan(setting, 0, meta_steps=3, l1=CONFIG.l1)
        (trial,) = fit_together(population, [plan])
        signs = [1 if t.factor > 0 else -1 for t in pool]
        return {
            key: (scale * abs(float(t.factor)), sign * start, sign * phi)
            for key, t, scale, sign, start, phi in zip(
                setting.keys, pool, setting.scales, signs, setting.start, trial.phi, strict=True
            )
        }

    one = learned(respelled("ABCD", range(4), (1, 1, 1, 1)))
    other = learned(respelled(names, order, factors))
    assert one.keys() == other.keys()
    for key, values in one.items():
        assert other[key] == pytest.approx(values, rel=1e-6, abs=1e-12)


@pytest.mark.slow
@SPELLINGS
def test_names_order_and_factors_change_nothing(names, order, factors, plain, digits):
    same(plain, found(respelled(names, order, factors), digits))


FACTORS = st.sampled_from([1, -1, 2, -3, Rational(1, 1000), 1000, Rational(-7, 3), sqrt(2), pi])


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    order=st.permutations(range(4)),
    factors=st.lists(FACTORS, min_size=4, max_size=4),
    names=st.lists(st.sampled_from("uvwxyzαη"), min_size=4, max_size=4, unique=True),
)
def test_any_spelling_finds_the_same(order, factors, names, plain, digits):
    same(plain, found(respelled(names, order, factors), digits))


def test_a_pool_without_a_pseudo_gradient_begins_with_the_same_term_however_it_is_spelled():
    pools = [
        Pool(A="-W", B="-3*y_post*y_pre"),
        Pool(B="y_post*y_pre/7", A="sqrt(2)*W"),
    ]
    starts = {
        tuple(
            (t.key, round(pool.start[t.name] * float(t.factor), 12))
            for t in pool
            if t.name in pool.start
        )
        for pool in pools
    }
    assert len(starts) == 1
    assert len({pool.terms[pool.names.index(pool.reference)].key for pool in pools}) == 1
