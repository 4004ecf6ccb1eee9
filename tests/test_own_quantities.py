"""Quantities of one's own and traces, through everything that the notation does with a term."""

import json
import pickle

import numpy as np
import pytest
import remembered
import strategies
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.notation import (
    Abs,
    L,
    Pool,
    Term,
    W,
    b_post,
    e_post,
    e_pre,
    latex_of,
    load_pool,
    measured,
    operator,
    parse,
    pool_from_plain,
    pool_from_text,
    pool_to_plain,
    quantity,
    seen_from_pre,
    sqrt,
    sum_post,
    sum_pre,
    tanh,
    trace,
    values_of,
    xi_post,
    y_post,
    y_pre,
    z_post,
)
from rulesearch.notation.own import names_read, own_symbols
from rulesearch.operators import QUANTITIES, index_of

theta = trace("theta_post", y_post**2, decay=0.95)
ve = trace("ve_post", e_post**2, decay=0.95, initial="first")
gate = quantity("gate_post", tanh(z_post))
elig = trace("elig", y_post * y_pre, decay=0.9)
expected = trace("expected", L, decay=0.99, initial=2.3)


def message_of(call, *arguments, **more):
    with pytest.raises(RuleSearchError) as caught:
        call(*arguments, **more)
    return str(caught.value)


def there_and_back(pool):
    return pool_from_plain(json.loads(json.dumps(pool_to_plain(pool))))


# --- names, indices, text -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "index", "text", "latex"),
    [
        (theta, {"post"}, "theta_post", r"\mathrm{theta}_{j}"),
        (seen_from_pre(theta), {"pre"}, "theta_pre", r"\mathrm{theta}_{k}"),
        (gate, {"post"}, "gate_post", r"\mathrm{gate}_{j}"),
        (elig, {"pre", "post"}, "elig", r"\mathrm{elig}_{jk}"),
        (expected, set(), "expected", r"\mathrm{expected}"),
        (
            quantity("two_words_post", y_post**3),
            {"post"},
            "two_words_post",
            r"\mathrm{two\_words}_{j}",
        ),
    ],
)
def test_a_quantity_has_the_index_of_what_it_is(symbol, index, text, latex):
    assert index_of(symbol) == index
    term = Term.of("F", symbol * W)
    assert term.text == f"{W}*{text}" if "pre" in index and len(index) == 1 else text in term.text
    assert latex in term.latex
    assert latex_of(symbol) == latex
    assert parse(term.text, quantities=own_symbols([term.expression])) == term.expression


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: trace("theta", y_post**2, decay=0.9),
            "trace theta: y_post**2 is of the post-neuron; call it theta_post",
        ),
        (
            lambda: quantity("q_pre", y_post * y_pre),
            "quantity q_pre: y_post*y_pre is of the synapse; call it q",
        ),
        (
            lambda: quantity("q_post", L**2),
            "quantity q_post: L**2 is of the layer; call it q",
        ),
        (
            lambda: quantity("y_post", z_post),
            "quantity y_post: the name is taken; choose another",
        ),
        (lambda: quantity("E", L), "quantity E: the name is taken; choose another"),
        (lambda: quantity("softplus", L), "quantity softplus: the name is taken; choose another"),
        (lambda: quantity("a b", L), "quantity a b: not a name; use letters, digits and _"),
        (lambda: quantity("lambda", L), "quantity lambda: not a name; use letters, digits and _"),
        (
            lambda: trace("t_post", y_post, decay=1),
            "trace t_post: decay 1; give at least 0 and less than 1",
        ),
        (
            lambda: trace("t_post", y_post, decay=True),
            "trace t_post: decay True; give at least 0 and less than 1",
        ),
        (
            lambda: trace("t_post", y_post, decay=0.9, initial="last"),
            "trace t_post: initial 'last'; give a number, or \"first\"",
        ),
        (
            lambda: trace("t_post", y_post, decay=0.9, initial=float("nan")),
            "trace t_post: initial nan; give a number, or \"first\"",
        ),
        (
            lambda: quantity("q_post", "y_psot"),
            "quantity q_post: unknown symbol y_psot in y_psot; did you mean y_post? (a term may "
            f"use {', '.join(QUANTITIES)}, and what quantity(...) or trace(...) makes)",
        ),
        (
            lambda: Pool(A="y_post*thta_post", quantities=[theta]),
            "term A: unknown symbol thta_post in y_post*thta_post; did you mean theta_post? (a "
            f"term may use {', '.join(QUANTITIES)}, theta_post, and what quantity(...) or "
            "trace(...) makes)",
        ),
        (
            lambda: seen_from_pre(elig),
            "elig_pre: elig is of the synapse, not of a post-neuron",
        ),
        (
            lambda: seen_from_pre(trace("d_post", sum_pre(W * e_pre), decay=0.9)),
            "d_pre: d_post sums over synapses in sum_pre(W*e_pre), and the input has none that end "
            "there; read it at the post-neuron",
        ),
        (
            lambda: Pool(A="x_pre*y_post", quantities=[trace("x_post", xi_post, decay=0.9)]),
            "term A: x_pre: x_post reads xi_post, which an input does not have; read it at the "
            "post-neuron",
        ),
        (
            lambda: seen_from_pre(quantity("n_of_post", "y_post*n_pre")),
            "n_of_pre: n_of_post reads n_pre, which an input does not have; read it at the "
            "post-neuron",
        ),
        (
            lambda: Pool(A=theta * W, B=theta * y_pre, C=trace("theta_post", y_post, decay=0.95)),
            "quantity theta_post: has two definitions, a trace of y_post**2, decay 0.95 and a "
            "trace of y_post, decay 0.95; give each a name of its own",
        ),
        (
            lambda: Pool(A=theta * W, B=trace("other_post", y_post**2, decay=0.95) * y_pre),
            "trace other_post: the same as theta_post, a trace of y_post**2, decay 0.95; use one "
            "of them",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be(call, line):
    assert message_of(call) == line


def test_the_pre_view_is_of_the_input_too():
    share = quantity("share_post", "y_post/n_post")
    assert seen_from_pre(share).row.definition == y_pre / QUANTITIES["n_pre"].symbol
    nested = quantity("hat_post", y_post / (sqrt(theta) + 1))
    assert seen_from_pre(nested).row.definition == y_pre / (sqrt(seen_from_pre(theta)) + 1)
    assert Pool(A="hat_pre*W", quantities=[nested]) == Pool(A=seen_from_pre(nested) * W)
    with pytest.raises(RuleSearchError):
        seen_from_pre(quantity("c_post", y_post * b_post))


# --- what is the same -----------------------------------------------------------------------------


def test_a_quantity_is_its_definition_and_a_trace_is_not():
    assert Term.of("A", -2 * gate * y_pre).key == Term.of("B", tanh(z_post) * y_pre).key
    assert Term.of("A", theta * y_pre).key != Term.of("B", y_post**2 * y_pre).key
    line = "term B: the same as A, gate_post*y_pre; leave out one of A, B"
    assert message_of(Pool, A=gate * y_pre, B=tanh(z_post) * y_pre) == line
    square = quantity("square_post", y_post**2)
    line = "term C: adds nothing to the pool, C = A + B; leave out one of C, A, B"
    assert message_of(Pool, A=y_post**2, B=theta, C=square + theta) == line


def test_a_zero_behind_a_definition_is_refused():
    assert message_of(Term.of, "A", gate - quantity("other_post", tanh(z_post))) == (
        "term A: gate_post - other_post is zero; leave it out, or mend it"
    )


def test_what_is_read_by_a_quantity_is_read():
    nested = trace("fast", elig * expected, decay=0.5)
    assert names_read(nested * W) == {"W", "L", "y_post", "y_pre"}
    assert list(own_symbols([nested * gate])) == ["elig", "expected", "fast", "gate_post"]


# --- values ---------------------------------------------------------------------------------------


def test_values_of_a_quantity_are_those_of_its_definition():
    layer = strategies.broadcastable(strategies.layer(1, 3, 2))
    assert np.array_equal(values_of(gate * W, layer), values_of(tanh(z_post) * W, layer))
    given = np.full((3, 1), 2.0)
    assert np.array_equal(
        values_of(theta * W, {**layer, "theta_post": given}), 2 * values_of(W, layer)
    )
    with pytest.raises(KeyError, match="theta_post"):
        values_of(theta * W, layer)


def test_a_trace_has_values_of_its_own_that_its_definition_can_have():
    # A root of a mean square is finite everywhere, and a normalised error is a term of its own.
    hat = quantity("hat_post", e_post / (sqrt(ve) + 0.001))
    pool = Pool(
        A=-e_post * y_pre, B=-hat * y_pre, C=sum_post(sqrt(ve)) * W, D=ve * W, E=e_post**2 * W
    )
    assert pool.notes == ()
    assert Pool(A=elig - y_post * y_pre, B=elig).notes == ()
    # Wherever it is read, it is the same, and at least 0.
    note = "term B: may add nothing to the pool; wherever tried, B = 0.5*A"
    assert Pool(A=(Abs(theta) + theta) * W, B=theta * W).notes == (note,)


def test_a_trace_of_free_values_would_be_caught(monkeypatch):
    def free(symbol, known):
        draws = int(known[measured._DRAWS])
        return np.random.default_rng(0).normal(size=(draws, known[W].shape[1], 1))

    monkeypatch.setattr(measured, "_of_ones_own", free)
    measured.finite_somewhere.cache_clear()
    try:
        assert "is finite nowhere" in message_of(Pool, A=sum_post(sqrt(ve) + 1) * W)
    finally:
        measured.finite_somewhere.cache_clear()


def test_the_oracle_of_the_tests_remembers():
    layers = [strategies.layer(seed, 3, 2) for seed in (1, 2, 3)]
    seen = remembered.after(theta * ve * elig, layers)
    expected_theta = expected_ve = np.zeros(3)
    for step, layer in enumerate(layers):
        expected_theta = 0.95 * expected_theta + 0.05 * layer["y_post"] ** 2
        before = expected_ve if step else layer["e_post"] ** 2
        expected_ve = 0.95 * before + 0.05 * layer["e_post"] ** 2
    assert np.allclose(seen["theta_post"], expected_theta)
    assert np.allclose(seen["ve_post"], expected_ve)
    assert seen["elig"].shape == (3, 2)


# --- files ----------------------------------------------------------------------------------------

PYTHON = """
from rulesearch.notation import *
soft = operator("soft", lambda x: x / (1 + Abs(x)))
ve = trace("ve_post", e_post**2, decay=0.95, initial="first")
hat = quantity("hat_post", soft(e_post) / (sqrt(ve) + 0.001))
slow = trace("slow_post", hat, decay=0.99, initial=0.5)
bounds = {"W": (-1, 1)}
pool = Pool(A=-e_post*y_pre, B=-hat*seen_from_pre(slow))
"""
TOML = """
[terms]
A = "-e_post*y_pre"
B = "-hat_post*slow_pre"
[bounds]
W = [-1, 1]
[traces]
slow_post = {of = "hat_post", decay = 0.99, initial = 0.5}
ve_post = {of = "e_post**2", decay = 0.95, initial = "first"}
[quantities]
hat_post = "soft(e_post)/(sqrt(ve_post) + 0.001)"
[operators]
soft = {arguments = ["x"], definition = "x/(1 + Abs(x))"}
"""


def test_toml_and_python_and_a_run_say_the_same(tmp_path):
    (tmp_path / "own.py").write_text(PYTHON, encoding="utf-8")
    (tmp_path / "own.toml").write_text(TOML, encoding="utf-8")
    pool = load_pool(tmp_path / "own.py")
    assert pool == load_pool(tmp_path / "own.toml")
    assert pool == there_and_back(pool) == pickle.loads(pickle.dumps(pool))
    assert pool.bounds == (("W", -1.0, 1.0),)
    assert list(pool_to_plain(pool)) == [
        "terms",
        "start",
        "operators",
        "quantities",
        "traces",
        "bounds",
    ]


WRITE_A = 'trace a_post: write a_post = {of = "y_post**2", decay = 0.95}, and initial if not 0'


@pytest.mark.parametrize(
    ("tables", "lines"),
    [
        (
            "[traces]\na_post = 'y_post'",
            [WRITE_A],
        ),
        (
            "[traces]\na_post = {of = 'y_post', decay = 0.9, begin = 1}",
            [WRITE_A],
        ),
        (
            "[traces]\na_post = {of = 'y_post', decay = '1'}\nb_pre = {of = 'y_post', decay = 0}",
            [
                "trace a_post: decay '1'; give at least 0 and less than 1",
                "trace b_pre: y_post is of the post-neuron; call it b_post",
            ],
        ),
        ("[quantities]\nq = 1", ['quantity q: 1 is not text; write q = "expression"']),
        (
            "[quantities]\nq_post = 'r_post'\n[traces]\nr_post = {of = 'q_post', decay = 0.9}",
            ["quantity q_post: reads r_post, and that reads q_post; take one of them out"],
        ),
        (
            "[quantities]\nq_post = 'y_post'\n[traces]\nq_post = {of = 'y_post', decay = 0.9}",
            ["trace q_post: the name is given twice; choose another"],
        ),
        (
            "[bounds]\nV = [0, 1]\nW = [1, -1]\nB = [0]\nb = ['a', 1]",
            [
                "bounds V: no such parameter; bound W or B or b",
                "bounds W: 1 is not below -1; give the lower first",
                "bounds B: [0]; give two numbers, as in (-1, 1)",
                "bounds b: ['a', 1]; give two numbers, as in (-1, 1)",
            ],
        ),
    ],
)  # fmt: skip
def test_bad_tables(tmp_path, monkeypatch, tables, lines):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(f"[terms]\nA = '-W'\n{tables}\n", encoding="utf-8")
    assert message_of(load_pool, "own.toml").splitlines() == [f"own.toml, {s}" for s in lines]


def test_traces_in_a_line():
    pool = pool_from_text(
        ["-e_post*y_pre", "theta_post*fast_pre"],
        traces=["theta_post = y_post**2 @ 0.95, first", "fast_post=theta_post@.5,2"],
    )
    slow = trace("theta_post", y_post**2, decay=0.95, initial="first")
    fast = trace("fast_post", slow, decay=0.5, initial=2)
    assert pool == Pool(T0=-e_post * y_pre, T1=slow * seen_from_pre(fast))
    for text in ("theta_post = y_post**2", "theta_post @ 0.9", "a = L @ x", "a = L @ 0.9, 1, 2"):
        assert message_of(pool_from_text, ["-W"], traces=[text]) == (
            f'trace {text}: write NAME = EXPRESSION @ DECAY, as in "theta_post = y_post**2 @ 0.95"'
            ', or "... @ 0.95, first" to begin at the first value'
        )
    assert message_of(pool_from_text, ["-W"], traces=["a = L @ 0.9"] * 2) == (
        "trace a: the name is given twice; choose another"
    )


def test_operators_of_a_definition_are_kept():
    soft = operator("soft", lambda x: x / (1 + Abs(x)))
    pool = Pool(A=quantity("s_post", soft(z_post)) * y_pre)
    assert list(pool_to_plain(pool)["operators"]) == ["soft"]
    other = operator("soft", lambda x: x / (2 + Abs(x)))
    assert message_of(Pool, A=quantity("s_post", soft(z_post)) * y_pre, B=other(W)) == (
        "operator soft: has two definitions, x0/(Abs(x0) + 1) and x0/(Abs(x0) + 2); give each a "
        "name of its own"
    )


def test_a_space_of_ones_own_quantities():
    hat = quantity("hat_post", e_post / (sqrt(ve) + 0.001))
    space = {"post": ("hat_post", "e_post"), "pre": ("y_pre", "hat_pre"), "synapse": (1, "elig")}
    pool = Pool.generate(**space, quantities=[hat, elig])
    alike = {"post": (z_post, e_post), "pre": (y_pre, e_pre), "synapse": (1, W)}
    assert len(pool) == Pool.count(**alike)
    assert "hatpost_elig_hatpre" in pool.names
    assert pool == there_and_back(pool)


# --- whatever they are ----------------------------------------------------------------------------


@st.composite
def own_quantities(draw):
    """One to three quantities and traces, of any index; one may read those before it."""
    made = []
    for number in range(draw(st.integers(1, 3))):
        expression = draw(strategies.expressions(leaves=3)).xreplace(dict(replaced(draw, made)))
        index = index_of(expression)
        suffix = {"pre": "_pre", "post": "_post"}[next(iter(index))] if len(index) == 1 else ""
        name = f"q{number}{suffix}"
        try:
            if draw(st.booleans()):
                made.append(quantity(name, expression))
            else:
                initial = draw(st.sampled_from([0, 1.5, "first"]))
                made.append(
                    trace(
                        name, expression, decay=draw(st.sampled_from([0.0, 0.5])), initial=initial
                    )
                )
        except RuleSearchError:
            assume(False)
    return made


def replaced(draw, own):
    """Quantities of the table, each with one of one's own that stands where it does."""
    for symbol in own:
        same = [r.symbol for r in QUANTITIES.values() if r.index == symbol.row.index]
        yield draw(st.sampled_from(same)), symbol


@st.composite
def pools(draw):
    """Pools that read them."""
    own = draw(own_quantities())
    terms = draw(st.lists(strategies.expressions(leaves=4), min_size=1, max_size=3))
    written = [t.xreplace(dict(replaced(draw, own))) for t in terms]
    try:
        return Pool(**{f"G{i}": t for i, t in enumerate(written)})
    except RuleSearchError:
        assume(False)


@settings(max_examples=50)
@given(pools())
def test_a_pool_comes_back_from_text_wherever_it_has_been(pool):
    assert there_and_back(pool) == pool
    assert pickle.loads(pickle.dumps(pool)) == pool
    assert [t.key for t in there_and_back(pool)] == [t.key for t in pool]


@pytest.mark.parametrize("left_out", ["quantities", "traces"])
def test_a_run_that_forgets_a_table_is_caught(left_out):
    pool = Pool(A=gate * W, B=theta * W)
    plain = {name: table for name, table in pool_to_plain(pool).items() if name != left_out}
    assert "unknown symbol" in message_of(pool_from_plain, plain)


def test_an_initial_value_that_is_forgotten_is_caught():
    pool = Pool(B=ve * W)
    plain = pool_to_plain(pool)
    del plain["traces"]["ve_post"]["initial"]
    assert pool_from_plain(plain) != pool


def test_symbols_are_equal_only_with_what_they_are():
    assert theta == trace("theta_post", y_post**2, decay=0.95)
    assert theta != trace("theta_post", y_post**2, decay=0.9)
    assert theta != sympy.Symbol("theta_post", real=True)
    assert pickle.loads(pickle.dumps(theta)) == theta


def test_what_is_of_a_layer_is_of_the_layer_below_from_the_other_side():
    scale = quantity("scale", "1/n_post")
    assert (
        seen_from_pre(quantity("s_post", y_post * scale)).row.definition
        == y_pre / QUANTITIES["n_pre"].symbol
    )
    loss = trace("Lbar", L, decay=0.9)
    assert seen_from_pre(quantity("g_post", y_post * loss)).row.definition == y_pre * loss
    mean = quantity("mean", "sum_pre(y_pre)/n_pre")
    with pytest.raises(RuleSearchError, match="h_pre: h_post sums over synapses"):
        seen_from_pre(quantity("h_post", y_post * mean))
    size = trace("size", "n_post", decay=0.9)
    with pytest.raises(RuleSearchError, match="g_pre: g_post reads size, a trace of this layer"):
        seen_from_pre(quantity("g_post", y_post * size))


@pytest.mark.parametrize("wrong", [y_post, "y_post"])
def test_only_ones_own_is_seen_from_the_other_side(wrong):
    with pytest.raises(RuleSearchError, match="is no quantity of one's own"):
        seen_from_pre(wrong)
