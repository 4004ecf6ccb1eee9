"""Spaces: what they enumerate, in which order and by which names, and what they refuse."""

import itertools
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.locality import classify, parse_needs, terms_allowed, terms_by_needs, within
from rulesearch.lowering import lower
from rulesearch.notation import (
    Abs,
    Heaviside,
    L,
    Pool,
    Term,
    W,
    e_post,
    e_pre,
    exp,
    load_pool,
    operator,
    relu,
    sigmoid,
    sign,
    sqrt,
    sum_post,
    sum_pre,
    tanh,
    values_of,
    y_post,
    y_pre,
    z_post,
    z_pre,
)
from rulesearch.notation.naming import name_of
from rulesearch.notation.needs import needs_of
from rulesearch.notation.space import MOST_TERMS
from rulesearch.operators import without_definitions
from rulesearch.search.__main__ import main

GRAMMAR = Path(__file__).parent.parent / "grammar"
OJA_CELL = y_post * y_pre - y_post**2 * W
OJA_LAYER = y_post * y_pre - y_post * sum_post(y_post * W)
CELLS = {"post": (y_post, e_post), "pre": (y_pre, e_pre)}

NEEDS = ("synaptic", "dendritic", "retrograde", "dendritic,retrograde", "all")


def some(*choices, least=0):
    return st.lists(st.sampled_from(choices), min_size=least, max_size=3, unique=True)


#: Descriptions of spaces that can be, most of them small.
descriptions = st.fixed_dictionaries(
    {
        "post": some(y_post, e_post, z_post, tanh(e_post), L, least=1),
        "pre": some(y_pre, e_pre, z_pre, sign(y_pre), L),
        "synapse": some(1, W, W**2, Abs(W), tanh(W), least=1),
        "functions": some(Abs, tanh, sigmoid),
        "degree": st.integers(1, 3),
        "power": st.integers(1, 3),
        "sums": st.integers(0, 2),
        "needs": st.sampled_from(NEEDS),
    }
).filter(lambda description: 0 < Pool.count(**description) <= 80)


def refusal(call, *arguments, **more):
    with pytest.raises(RuleSearchError) as caught:
        call(*arguments, **more)
    return str(caught.value).splitlines()


def rank(pool):
    """The numerical rank of a pool's terms at synapses of random layers."""
    rng = np.random.default_rng(0)
    draws, post, pre = 4 * len(pool), 3, 4
    layer = {name: rng.normal(size=(draws, 1, pre)) for name in ("y_pre", "e_pre", "z_pre")}
    layer |= {name: rng.normal(size=(draws, post, 1)) for name in ("y_post", "e_post")}
    layer |= {"W": rng.normal(size=(draws, post, pre)), "L": rng.normal(size=(draws, 1, 1))}
    layer["z_post"] = layer["W"] @ layer["y_pre"].swapaxes(1, 2)
    shape = (draws, post, pre)
    columns = [np.broadcast_to(values_of(t.expression, layer), shape).ravel() for t in pool]
    matrix = np.array([column / np.linalg.norm(column) for column in columns])
    return np.linalg.matrix_rank(matrix)


# --- what is enumerated ---------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(descriptions)
def test_the_terms_of_a_space_are_as_many_as_are_counted_and_independent(description):
    pool = Pool.generate(**description)
    assert len(pool) == Pool.count(**description)
    assert len({term.key for term in pool}) == len(pool)
    assert rank(pool) == len(pool)
    assert pool.notes == ()


@settings(max_examples=12, deadline=None)
@given(descriptions, st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_decides_nothing(description, random):
    mixed = {
        option: random.sample(value, len(value)) if isinstance(value, list) else value
        for option, value in description.items()
    }
    assert list(Pool.generate(**mixed)) == list(Pool.generate(**description))


@settings(max_examples=12, deadline=None)
@given(descriptions, st.data())
def test_names_stay_when_a_space_grows(description, data):
    larger = data.draw(
        st.sampled_from(
            [
                {"degree": description["degree"] + 1},
                {"power": description["power"] + 1},
                {"sums": description["sums"] + 1},
                {"needs": "all"},
                {"functions": [*description["functions"], exp]},
                {"synapse": [*description["synapse"], sigmoid(W)]},
                {"post": list(dict.fromkeys([*description["post"], y_post, e_post]))},
            ]
        )
    )
    if Pool.count(**{**description, **larger}) > MOST_TERMS:
        return
    grown = {t.name: t.expression for t in Pool.generate(**{**description, **larger})}
    assert {t.name: t.expression for t in Pool.generate(**description)}.items() <= grown.items()


@settings(max_examples=6, deadline=None)
@given(descriptions)
def test_needs_leave_just_the_terms_that_need_no_more(description):
    every = Pool.generate(**{**description, "needs": "all"})
    allowed = parse_needs(description["needs"])
    left = [term for term in every if classify(term).needs <= allowed]
    assert list(Pool.generate(**description)) == left


@given(strategies.terms())
def test_the_needs_of_an_expression_are_those_of_the_verdict(term):
    form = Term.of("F", without_definitions(term.expression)).expression
    assert needs_of(form) == classify(term).needs


def test_the_products_are_those_that_one_would_write_by_hand():
    quantities = (y_post, e_post, y_pre, e_pre)
    powers = [p for p in itertools.product(range(3), repeat=4) if 0 < sum(p) <= 3]
    by_hand = {-math.prod(q**n for q, n in zip(quantities, p, strict=True)) for p in powers}
    pool = Pool.generate(**CELLS, degree=3, power=2)
    assert {term.expression for term in pool} == by_hand
    assert len(by_hand) == 30


def test_one_sum_is_a_factor_of_each_kind():
    pool = Pool.generate(post=y_post, pre=y_pre, synapse=(1, Abs(W)), degree=1, sums=1)
    made = {term.name: term.text for term in pool}
    assert made == {
        "absW": "-Abs(W)",
        "ypost": "-y_post",
        "ypre": "-y_pre",
        "absW_ypre": "-Abs(W)*y_pre",
        "ypost_absW": "-y_post*Abs(W)",
        "sumypost": "-sum_post(y_post)",
        "sumWypost": "-sum_post(y_post*W)",
        "sumabsWypost": "-sum_post(y_post*Abs(W))",
        "sumypre": "-sum_pre(y_pre)",
        "zpost": "-z_post",  # sum_pre(W*y_pre)
        "sumabsWypre": "-sum_pre(Abs(W)*y_pre)",
        "absW_sumypost": "-Abs(W)*sum_post(y_post)",
        "absW_sumWypost": "-Abs(W)*sum_post(y_post*W)",
        "absW_sumabsWypost": "-Abs(W)*sum_post(y_post*Abs(W))",
        "absW_sumypre": "-Abs(W)*sum_pre(y_pre)",
        "zpost_absW": "-z_post*Abs(W)",
        "absW_sumabsWypre": "-Abs(W)*sum_pre(Abs(W)*y_pre)",
    }


def test_the_sums_may_be_given():
    nested = sum_post(y_post * sum_pre(W * e_pre))
    pool = Pool.generate(post=e_post, degree=2, power=1, sums=1, layer=(nested, z_post))
    assert {t.name: t.text for t in pool} == {
        "epost": "-e_post",
        "zpost": "-z_post",
        "epost_zpost": "-e_post*z_post",
        "sumypostsumWepre": "-sum_post(y_post*sum_pre(W*e_pre))",
        "epost_sumypostsumWepre": "-e_post*sum_post(y_post*sum_pre(W*e_pre))",
    }


def test_a_potential_is_one_quantity_whether_given_or_summed():
    given_alone = Pool.generate(post=(y_post, z_post), pre=y_pre, degree=2)
    with_sums = Pool.generate(post=(y_post, z_post), pre=y_pre, degree=2, sums=1)
    assert {t.expression for t in given_alone} < {t.expression for t in with_sums}
    assert len({t.key for t in with_sums}) == len(with_sums)


@pytest.mark.parametrize("most", [1, 2])
def test_sums_of_a_product_are_counted_together(most):
    space = {"post": (y_post, e_post), "degree": 3, "sums": most}
    pool = Pool.generate(**space)
    sums = {sum(f.has(sum_post) for f in t.expression.as_ordered_factors()) for t in pool}
    assert sums == set(range(most + 1))
    assert len(pool) == Pool.count(**space)


def test_a_function_and_a_power_of_a_quantity_do_not_meet():
    names = Pool.generate(post=y_post, functions=(Abs, tanh), degree=3, power=3).names
    assert names == ("absypost", "tanhypost", "ypost", "ypost2", "ypost3")


# --- counting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 5, 12, 40])
def test_a_space_of_any_size_is_counted(degree):
    # Monomials up to a degree in four quantities, without the constant.
    expected = math.comb(min(degree, 1_000) + 4, 4) - 1
    assert Pool.count(**CELLS, degree=degree, power=min(degree, 32)) == expected - sum(
        # Those in which a power is above 32, the highest that a term may have.
        4 * math.comb(n - 33 + 3, 3)
        for n in range(33, degree + 1)
    )


def test_a_space_too_large_is_refused_with_its_count_and_the_way_out():
    space = {**CELLS, "synapse": (1, W, Abs(W)), "degree": 5, "sums": 2}
    number = Pool.count(**space)
    assert number > MOST_TERMS
    three, one = Pool.count(**{**space, "degree": 3}), Pool.count(**{**space, "sums": 1})
    assert refusal(Pool.generate, **space) == [
        f"space: {number:,} terms, at most 3,000; degree=3 gives {three:,}, sums=1 gives {one:,}, "
        "or give fewer quantities, functions or factors of the synapse"
    ]


def test_a_space_far_too_large_is_refused_at_once():
    (line,) = refusal(Pool.generate, **CELLS, degree=10**9, power=32, sums=3, synapse=(1, W))
    assert re.match(r"space: \d+,\d{3},\d{3} terms, at most 3,000; ", line)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "name"),
    [
        (-e_post * y_pre, "epost_ypre"),
        (-2 * y_post**2 * e_pre, "ypost2_epre"),
        (W * y_pre * e_post * y_post, "epost_ypost_W_ypre"),
        (Abs(W) * tanh(e_pre), "absW_tanhepre"),
        (y_post * sum_post(y_post * W), "ypost_sumWypost"),
        (sum_post(W) * y_pre, "ypre_sumpostW"),
        (sum_pre(W) * y_pre, "ypre_sumpreW"),
        (sum_post(y_post * sum_pre(W * e_pre)), "sumypostsumWepre"),
        (sqrt(Abs(e_post)), "sqrtabsepost"),
        (Heaviside(z_post) * L, "heavisidezpost_L"),
        (sum_pre(W * y_pre * e_pre) ** 2, "sumWepreypre2"),
    ],
)
def test_a_name_says_the_term(product, name):
    assert name_of(product) == name


@settings(max_examples=12, deadline=None)
@given(descriptions)
def test_names_are_identifiers_and_hang_on_the_expression(description):
    for term in Pool.generate(**description):
        assert term.name.isidentifier()
        assert term.name == name_of(term.expression)


def test_two_terms_of_one_name_are_refused():
    called = operator("sumW", lambda x: x / (2 + Abs(x)))
    lines = refusal(Pool.generate, post=(y_post, called(y_post)), degree=1, sums=1)
    assert lines == [
        "space: -sumW(y_post) and -sum_post(y_post*W) are both called sumWypost; give the operator "
        "in them another name"
    ]


# --- terms beside a space -------------------------------------------------------------------------


def test_a_term_that_is_given_takes_the_place_of_the_longest_part_of_it():
    space = {**CELLS, "synapse": (1, W), "degree": 2, "sums": 1}
    pool = Pool.generate(**space, terms={"cell": OJA_CELL, "layer": OJA_LAYER})
    assert pool.names[:2] == ("cell", "layer")
    assert len(pool) == Pool.count(**space)
    assert {"ypost_ypre", "cell", "layer"} <= {*pool.names}
    assert not {"ypost2_W", "ypost_sumWypost"} & {*pool.names}
    assert pool.remarks == (
        "ypost2_W of the space is left out: it is cell + ypost_ypre",
        "ypost_sumWypost of the space is left out: it is layer + ypost_ypre",
    )
    assert pool.notes == pool.in_network(5).notes == pool.acting({"cell": (1,)}).remarks
    assert pool.notes == pool.remarks
    assert rank(pool) == len(pool)


def test_a_term_of_the_space_may_be_given_another_name():
    pool = Pool.generate(post=e_post, pre=y_pre, terms={"gradient": -3 * e_post * y_pre})
    assert "epost_ypre" not in pool.names
    assert pool.reference == "gradient"
    assert pool.remarks == ("epost_ypre of the space is left out: it is 0.333333*gradient",)


def test_a_term_may_be_given_by_the_name_that_it_has_in_the_space():
    pool = Pool.generate(post=e_post, pre=y_pre, terms={"epost_ypre": -2 * e_post * y_pre})
    assert pool.names[0] == "epost_ypre"
    assert len(pool) == 5
    assert pool.remarks == ()


def test_terms_beside_a_space_are_checked_as_those_of_a_pool():
    twice = {"a": y_post * y_pre, "b": 2 * y_post * y_pre}
    assert refusal(Pool.generate, post=y_post, pre=y_pre, terms=twice) == [
        "term b: the same as a, y_post*y_pre, but for a factor; leave out one of a, b"
    ]
    faults = {"a": "-y_psot", "ypost": -W}
    lines = refusal(Pool.generate, post=y_post, terms=faults)
    assert len(lines) == 2
    assert lines[0].startswith("term a: unknown symbol y_psot in -y_psot; did you mean y_post?")
    assert lines[1] == "term ypost: has the name of -y_post in the space; choose another name"


def test_a_term_that_acts_in_some_layers_takes_no_place():
    lines = refusal(
        Pool.generate, post=e_post, pre=y_pre, terms={"F": -e_post * y_pre}, where={"F": (1,)}
    )
    assert lines == [
        "term epost_ypre: the same as F, -e_post*y_pre, in layer 1; give them layers apart in "
        "where, or leave out one of F, epost_ypre"
    ]


# --- what is refused ------------------------------------------------------------------------------

_LISTED = "post, pre, synapse, functions, degree, power, sums, layer, needs"


def test_all_faults_of_a_description_are_named_at_once():
    assert refusal(
        Pool.generate,
        pots=(y_post,),
        post=(e_pre, y_post * e_post, y_post**2, 1, W, sum_post(y_post), 1 / y_post, 1 - y_post),
        pre=3.5,
        synapse=(y_post, W * y_pre, L),
        functions=(3,),
        degree=0,
        power=33,
        sums=True,
        layer=(y_post, y_pre * sum_post(y_post)),
        needs="retro",
    ) == [
        f"space pots: is no option; did you mean post? (a space has {_LISTED})",
        "space degree: 0; give a whole number, at least 1",
        "space power: 33; give a whole number, at least 1 and at most 32",
        "space sums: True; give a whole number, at least 0",
        "space needs retro: unknown need retro; did you mean retrograde? (give synaptic for none, "
        "all, or any of dendritic, retrograde, transport, global, foreign, with commas)",
        "space post: e_pre is of the pre-cell; give it in pre",
        "space post: e_post*y_post is a product; give its factors apart, or make a function of it "
        "with operator(...)",
        "space post: y_post**2 is a power; give y_post, and power raises it",
        "space post: 1 is a number; products without it are made as well, so leave it out",
        "space post: W is of the synapse; give it in synapse",
        "space post: sum_post(y_post) sums over the layer; give it in layer, with sums=1",
        "space post: 1/y_post is no quantity and no function of one; make a function of it with "
        "operator(...)",
        "space post: 1 - y_post is a sum of parts; give them apart, or make a function of it with "
        "operator(...)",
        "space pre: 3.5 is not a list; write one such as (y_post, e_post)",
        "space synapse: y_post does not read W; give it in post",
        "space synapse: W*y_pre reads y_pre beside W; give it in terms",
        "space synapse: L does not read W; give it in post",
        "space functions: 3 is no function; give one such as tanh",
        "space layer: y_post is no sum over the layer; give it in post, pre or synapse",
        "space layer: y_pre*sum_post(y_post) is a product; give the sums in it",
        "space layer: is given and sums is 0; write sums=1, or leave it out",
    ]


@pytest.mark.parametrize(
    ("description", "line"),
    [
        (
            {"post": "y_psot"},
            "space post: unknown symbol y_psot in y_psot; did you mean y_post? (a term may use "
            "y_pre, e_pre, y_post, e_post, W, B, b_post, xi_post, z_pre, z_post, n_pre, n_post, L, "
            "and what quantity(...) or trace(...) makes)",
        ),
        (
            {"post": y_post, "functions": ("tahn",)},
            "space functions: unknown function tahn; did you mean tanh? (tanh, sin, cos, erf, "
            "atan, exp, log, sqrt, Abs, sign, Heaviside, Max, Min, sigmoid, relu, softplus)",
        ),
        (
            {"post": y_post, "functions": lambda x: x**2},
            "space functions: y_post**2 is a power; give y_post, and power raises it",
        ),
        (
            {"post": y_post, "functions": lambda x, y: x},
            "space functions: <lambda>() missing 1 required positional argument: 'y'; give "
            "functions of one quantity",
        ),
        (
            {"post": y_post, "functions": lambda x: 2 * x},
            "space functions: one is y_post for y_post; leave it out",
        ),
        ({"post": y_post, "needs": 3}, 'space needs: 3 is not text; write one such as "dendritic"'),
    ],
)
def test_what_no_space_is_described_by(description, line):
    assert refusal(Pool.count, **description) == [line]
    assert refusal(Pool.generate, **description) == [line]


def test_a_space_without_terms_is_refused():
    assert Pool.count() == Pool.count(layer=sum_post(y_post), sums=1, needs="dendritic") == 0
    assert refusal(Pool.generate) == ["space: has no terms; give quantities in post and pre"]


@pytest.mark.parametrize(
    ("description", "lines"),
    [
        (
            {"post": e_post, "functions": (Abs, relu)},
            [
                "space: wherever tried, relu(e_post) = 0.5*e_post + 0.5*Abs(e_post), so it makes "
                "no new terms; leave out one of e_post, Abs(e_post), relu(e_post)"
            ],
        ),
        (
            {"synapse": (W, Abs(W), relu(W))},
            [
                "space: wherever tried, relu(W) = 0.5*Abs(W) + 0.5*W, so it makes no new terms; "
                "leave out one of Abs(W), W, relu(W)"
            ],
        ),
        (
            {"pre": e_pre, "functions": (sign, Heaviside)},
            [
                "space: wherever tried, Heaviside(e_pre) = 0.5*1 + 0.5*sign(e_pre), so it makes no "
                "new terms; leave out one of sign(e_pre), Heaviside(e_pre)"
            ],
        ),
    ],
)
def test_functions_that_add_nothing_to_each_other_are_refused(description, lines):
    assert refusal(Pool.generate, **description) == lines


# --- in files -------------------------------------------------------------------------------------


def test_a_space_in_toml_is_that_of_python(tmp_path):
    file = tmp_path / "space.toml"
    file.write_text(
        """
        [space]
        post = ["y_post", "e_post"]
        pre = "y_pre"
        synapse = [1, "W", "Abs(W)"]
        functions = ["tanh", "half"]
        degree = 2
        sums = 1
        needs = "retrograde"

        [terms]
        oja = "y_post*y_pre - y_post**2*W"

        [start]
        epost_ypre = 2e-3

        [operators]
        half = {arguments = ["x"], definition = "x/(2 + Abs(x))"}
        """
    )
    half = operator("half", lambda x: x / (2 + Abs(x)))
    expected = Pool.generate(
        post=(y_post, e_post),
        pre=y_pre,
        synapse=(1, W, Abs(W)),
        functions=(tanh, half),
        sums=1,
        needs="retrograde",
        terms={"oja": OJA_CELL},
        start={"epost_ypre": 2e-3},
    )
    assert load_pool(file) == expected
    assert pickle.loads(pickle.dumps(expected)) == expected


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            "space = 3",
            'space is not a table; write [space] and lines such as post = ["y_post"]',
        ),
        ("[space]\npost = ['e_pre']", "space post: e_pre is of the pre-cell; give it in pre"),
        (
            "[space]\npost = ['y_post']\n[terms]\nA = 3",
            'term A: 3 is not text; write A = "expression"',
        ),
    ],
)
def test_bad_spaces_in_toml(tmp_path, monkeypatch, content, line):
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text(content)
    assert refusal(load_pool, "bad.toml") == [f"bad.toml, {line}"]


def test_a_bad_space_in_python_names_file_and_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text(
        "from rulesearch.notation import *\npool = Pool.generate(post=e_pre, degree=0)\n"
    )
    assert refusal(load_pool, "bad.py") == [
        "bad.py, space degree: 0; give a whole number, at least 1",
        "bad.py, space post: e_pre is of the pre-cell; give it in pre",
    ]


def test_the_monomials_are_those_of_the_third_degree_and_three_rules():
    pool = load_pool(GRAMMAR / "monomials.py")
    assert len(pool) == 33
    assert pool.notes == ()
    assert (pool.reference, pool.pseudo_gradient, pool.start) == (
        "epost_ypre",
        "epost_ypre",
        {"epost_ypre": 1e-3},
    )
    three = {"decay": -W, "oja_cell": OJA_CELL, "oja_layer": OJA_LAYER}
    named = {term.name: term.expression for term in pool}
    assert three.items() <= named.items()
    assert max(term.degree for term in pool if term.name not in three) == 3


def test_the_quadratic_pool_is_of_the_second_power_in_all_five_quantities():
    pool = load_pool(GRAMMAR / "quadratic.py")
    assert len(pool) == 93
    assert pool.notes == pool.remarks
    powers = {p.exp for term in pool for p in term.expression.atoms(type(W**2))}
    assert powers == {2}


def test_the_space_has_a_thousand_terms_of_few_factors():
    pool = load_pool(GRAMMAR / "space.py")
    assert len(pool) == 1_025
    assert len({term.key for term in pool}) == len(pool)
    assert pool.notes == pool.remarks
    assert terms_by_needs(pool) == {"synaptic": 233, "dendritic": 360, "retrograde": 432}
    assert terms_allowed(pool) == {
        "synaptic": 233,
        "dendritic": 593,
        "retrograde": 665,
        "dendritic,retrograde": 1_025,
    }
    assert max(map(len, pool.names)) <= 40
    # What a kernel needs of each side to differentiate by all terms at once.
    groups = lower(pool).groups
    assert len({group.post for group in groups}) == 43
    assert len({part.pre for group in groups for part in group.parts}) == 43
    assert len({group.matrix for group in groups}) == 3
    assert len({part.scalar for group in groups for part in group.parts}) == 5


# --- how it is shown ------------------------------------------------------------------------------


def test_explain_says_how_many_terms_each_locality_allows(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([str(GRAMMAR / "quadratic.py"), "--explain"]) == 0
    text = capsys.readouterr().out
    table = text[text.index("Locality") :].splitlines()
    assert [line.split() for line in table[1:5]] == [
        ["--locality", "allows"],
        ["─" * len(table[2])],
        ["synaptic", "92", "terms"],
        ["retrograde", "93", "terms"],
    ]
    assert "\nypost2_W of the space is left out: it is oja_cell + ypost_ypre\n" in text
    assert all(f"\n{name} " in text for name in load_pool(GRAMMAR / "quadratic.py").names)


def test_of_many_terms_that_need_too_much_a_few_are_named():
    pool = load_pool(GRAMMAR / "space.py")
    lines = refusal(within, pool, parse_needs("synaptic"))
    assert len(lines) == 11
    assert all(line.startswith("term ") for line in lines[:10])
    assert lines[10] == (
        "--locality synaptic: excludes 782 terms more and leaves 233; in a space, "
        'needs="synaptic" makes those alone'
    )


def test_a_name_that_is_not_there_is_answered_with_a_few():
    pool = load_pool(GRAMMAR / "space.py")
    (line,) = refusal(pool.acting, {"Q": (1,)})
    assert line.startswith("where Q: no such term; the terms are oja_cell, oja_layer, W, ")
    assert line.endswith("W_epre, W_signepre and 1,013 more")


# --- what is measured of many terms ---------------------------------------------------------------


def test_what_is_measured_is_found_among_many_terms():
    hidden = {"A": tanh(W), "B": 1 / (1 + exp(-2 * W)), "C": Abs(y_post) * sign(y_post) * e_pre}
    one = {"one": "1"}
    pool = Pool.generate(**CELLS, degree=4, synapse=(1, W), terms={**hidden, **one})
    assert len(pool) == 103
    assert set(pool.notes) == {
        "term one: may add nothing to the pool; wherever tried, one = -A + 2*B",
        "term ypost_epre: may add nothing to the pool; wherever tried, ypost_epre = -C",
    }
