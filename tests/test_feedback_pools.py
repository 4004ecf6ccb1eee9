"""Pools of feedback and of biases: joined to that of the weights, kept, read, and asked for."""

import io
import json
import pickle
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import strategies
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.console import Console

from rulesearch.choices import ActivationName, LossName
from rulesearch.errors import RuleSearchError
from rulesearch.locality import classify
from rulesearch.model import Model, model_of
from rulesearch.notation import (
    Abs,
    B,
    Pool,
    Term,
    W,
    b_post,
    e_post,
    e_pre,
    load_pool,
    operator,
    pool_from_plain,
    pool_from_text,
    pool_to_plain,
    quantity,
    seen_from_pre,
    sum_pre,
    together,
    trace,
    values_of,
    with_biases,
    y_post,
    y_pre,
    z_post,
)
from rulesearch.notation.dependence import sums_of_others
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.operators.losses import LOSSES
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.report import latex, result_text
from rulesearch.result import Result, definition_lines, equation
from rulesearch.rule.recorded import pool_of
from rulesearch.search.arguments import read
from rulesearch.search.command import asked
from rulesearch.search.config import Config
from rulesearch.search.record import definitions, pool_entries

GRAMMAR = Path(__file__).parent.parent / "grammar"

POOL = Pool(hebb=y_post * y_pre, kp=-e_post * y_pre, start={"kp": 0.1}, where={"hebb": (1,)})
FEEDBACK = Pool(decay=-B, kp=-2 * e_post * y_pre, of="B")
BIAS = Pool(b0=-e_post, of="b")
JOINT = together(POOL, FEEDBACK, BIAS)


def message_of(call, *arguments, **more):
    with pytest.raises(RuleSearchError) as caught:
        call(*arguments, **more)
    return str(caught.value)


def there_and_back(pool):
    return pool_from_plain(json.loads(json.dumps(pool_to_plain(pool))))


# --- joining --------------------------------------------------------------------------------------


def is_joined(joint):
    """What `together` must make of POOL, FEEDBACK and BIAS."""
    assert joint.names == ("hebb", "kp", "decay", "b0")
    assert [term.updates for term in joint] == [
        (("W", y_post * y_pre),),
        (("W", -e_post * y_pre), ("B", -2 * e_post * y_pre)),
        (("B", -B),),
        (("b", -e_post),),
    ]
    assert (joint.start, joint.where, joint.reference) == ({"kp": 0.1}, {"hebb": (1,)}, "kp")


def test_a_name_in_two_pools_is_one_coefficient():
    is_joined(JOINT)
    is_joined(together(POOL, BIAS, FEEDBACK))  # in whatever order
    is_joined(together(together(POOL, FEEDBACK), BIAS))


def forgets_what_is_beside(*pools):
    return together(*(pool.only(*(n for n in pool.names if n != "kp")) for pool in pools[1:]), POOL)


def puts_the_feedback_first(*pools):
    joint = together(*pools)
    return Pool.checked(joint.terms[::-1], joint.start, joint.where)


def begins_with_the_feedback(*pools):
    joint = together(*pools)
    return Pool.checked(joint.terms, {"kp": 0.1, "decay": 1e-3}, joint.where)


@pytest.mark.parametrize(
    "broken", [forgets_what_is_beside, puts_the_feedback_first, begins_with_the_feedback]
)
def test_a_broken_join_is_caught(broken):
    with pytest.raises(AssertionError):
        is_joined(broken(POOL, FEEDBACK, BIAS))


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        (
            lambda: together(POOL, Pool(hebb=W, kp=y_pre)),
            [
                "term hebb: changes W in two pools; give each a name of its own",
                "term kp: changes W in two pools; give each a name of its own",
            ],
        ),
        (
            lambda: together(POOL, Pool(kp=-B, of="B", where={"kp": (1,)})),
            [
                "term kp: has one coefficient for W and B, and acts in other layers for B; give it "
                "the same where in both pools, or another name in one",
            ],
        ),
        (
            lambda: together(POOL.bounded({"W": (-1, 1)}), FEEDBACK.bounded({"W": (0, 1)})),
            ["bounds W: (-1.0, 1.0) in one pool and (0.0, 1.0) in another; give them once"],
        ),
        (
            lambda: together(
                Pool(A=trace("t_post", y_post, decay=0.9) * W),
                Pool(A=trace("t_post", y_post, decay=0.5) * B, of="B"),
            ),
            [
                "quantity t_post: has two definitions, a trace of y_post, decay 0.9 and a trace of "
                "y_post, decay 0.5; give each a name of its own",
            ],
        ),
        (lambda: Pool(A=-B, of="V"), ["of: 'V'; a pool changes W or B or b"]),
        (
            lambda: Pool(A=-e_post * y_pre, C=sum_pre(W), D=b_post * W, of="b"),
            [
                "term A: -e_post*y_pre is of a pre-neuron or a synapse, and a bias has a "
                "post-neuron alone; sum it by sum_pre, or leave the pre-neuron out",
                "term D: b_post*W is of a pre-neuron or a synapse, and a bias has a "
                "post-neuron alone; sum it by sum_pre, or leave the pre-neuron out",
            ],
        ),
    ],
)
def test_what_cannot_be_joined(call, lines):
    assert message_of(call).splitlines() == lines


def test_changes_of_different_parameters_are_never_the_same():
    joint = together(Pool(A=-e_post * y_pre), Pool(A1=-e_post * y_pre, of="B"), BIAS)
    assert [term.key for term in joint] == ["e_post*y_pre", "B: e_post*y_pre", "b: e_post"]
    assert joint.notes == ()
    assert joint.acting({"A1": (1,)}).names == joint.names  # nor when they are looked at again
    assert joint.pseudo_gradient == "A"
    shared = together(Pool(A=-e_post * y_pre), Pool(A=-3 * e_post * y_pre, of="B"))
    assert shared.terms[0].key == "e_post*y_pre | B: 3*(e_post*y_pre)"
    assert shared.pseudo_gradient is None  # for its feedback moves
    assert shared.terms[0].share(-e_post * y_pre) is None
    assert shared.reference == "A"


def test_a_key_that_forgets_the_parameter_is_caught(monkeypatch):
    monkeypatch.setattr(Term, "key", property(lambda term: str(term)))
    with pytest.raises(AssertionError):
        test_changes_of_different_parameters_are_never_the_same()


def test_what_two_parameters_share_may_be_a_sum_of_others():
    group = {
        "F0": (("W", -e_post * y_pre),),
        "B0": (("B", -B),),
        "both": (("W", -2 * e_post * y_pre), ("B", -3 * B)),
        "apart": (("W", -e_post * y_pre), ("B", -e_post * y_pre)),
    }
    assert dict(sums_of_others(group)) == {"both": {"F0": 2.0, "B0": 3.0}}
    del group["B0"]
    assert dict(sums_of_others(group)) == {}


def test_measured_notes_of_several_parameters():
    one = Pool(A="tanh(B)", C="1", D="1/(1 + exp(-2*B))", of="B")
    note = "term D: may add nothing to the pool; wherever tried, D = 0.5*A + 0.5*C"
    assert together(Pool(kp=-e_post * y_pre), one).notes == (note,)
    split = together(Pool(A="tanh(W)", D="1/(1 + exp(-2*W))"), Pool(C="1", of="B"))
    assert split.notes == ()


def test_a_pool_of_feedback_alone_is_data_for_joining():
    assert (FEEDBACK.start, FEEDBACK.pseudo_gradient) == ({}, None)
    assert there_and_back(FEEDBACK) == FEEDBACK == pickle.loads(pickle.dumps(FEEDBACK))
    assert Pool(decay=-B, of="B", start={"decay": 0.1}).start == {"decay": 0.1}
    assert together(POOL, Pool(d=-B, of="B", start={"d": 7})).start == {"kp": 0.1, "d": 7.0}
    assert together(POOL, Pool(d=-B, of="B", start={"d": 7})).reference == "kp"
    assert message_of(lambda: FEEDBACK.reference) == (
        "term decay: changes B, and no term of the pool changes the weights; join it to a pool "
        "that does by together(pool, feedback)"
    )


def test_smaller_pools_keep_what_they_change():
    bounded = JOINT.bounded({"W": (-1, 1), "B": (0, 2)})
    assert bounded.bounds == (("W", -1.0, 1.0), ("B", 0.0, 2.0))
    some = bounded.only("decay", "kp")
    assert some.terms == (JOINT.terms[1], JOINT.terms[2])
    assert some.bounds == bounded.bounds == bounded.in_network(3).bounds
    apart = bounded.per_layer(2)
    assert apart.names == ("hebb_1", "kp_1", "kp_2", "decay_1", "decay_2", "b0_1", "b0_2")
    assert apart.terms[1].updates == JOINT.terms[1].updates
    assert [t.updates for t in apart.distinct] == [t.updates for t in JOINT]
    assert apart.columns == (0, 1, 1, 2, 2, 3, 3)
    assert apart.bounds == bounded.bounds
    assert there_and_back(apart) == apart == pickle.loads(pickle.dumps(apart))
    acting = bounded.acting({"decay": (-1,)})
    assert (acting.terms, acting.bounds) == (bounded.terms, bounded.bounds)
    assert acting.where == {"hebb": (1,), "decay": (-1,)}


def test_biases_change_by_the_error_where_nothing_is_said():
    assert with_biases(JOINT) is JOINT
    made = with_biases(POOL)
    assert made.terms[-1] == Term("b0", -e_post, "b")
    assert with_biases(Pool(b0=-W)).names == ("b0", "b0_0")


# --- files and text -------------------------------------------------------------------------------

PYTHON = """
from rulesearch.notation import *
pool = Pool(hebb=y_post*y_pre, kp=-e_post*y_pre, start={"kp": 0.1}, where={"hebb": (1,)})
feedback = Pool(decay=-B, kp=-2*e_post*y_pre, of="B")
bias = Pool(b0=-e_post, of="b")
bounds = {"B": (-1, 2)}
"""
TOML = """
[terms]
hebb = "y_post*y_pre"
kp = "-e_post*y_pre"
[start]
kp = 0.1
[where]
hebb = [1]
[feedback]
decay = "-B"
kp = "-2*e_post*y_pre"
[bias]
b0 = "-e_post"
[bounds]
B = [-1, 2]
"""


def test_toml_and_python_and_a_run_say_the_same(tmp_path):
    (tmp_path / "own.py").write_text(PYTHON, encoding="utf-8")
    (tmp_path / "own.toml").write_text(TOML, encoding="utf-8")
    joint = JOINT.bounded({"B": (-1, 2)})
    assert load_pool(tmp_path / "own.py") == load_pool(tmp_path / "own.toml") == joint
    assert there_and_back(joint) == pickle.loads(pickle.dumps(joint)) == joint
    assert there_and_back(joint).start == joint.start


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        (
            "own.py",
            "from rulesearch.notation import *\npool = Pool(A=-B, of='B')\n",
            [
                "own.py, term A: changes B, and no term of the pool changes the weights; join it "
                "to a pool that does by together(pool, feedback)"
            ],
        ),
        (
            "own.py",
            "from rulesearch.notation import *\npool = Pool(A=-W)\nfeedback = Pool(A1=-B)\n",
            [
                "own.py: feedback: not a pool of terms that change B; write feedback = Pool(..., "
                'of="B")'
            ],
        ),
        (
            "own.py",
            "from rulesearch.notation import *\npool = Pool(A=-W)\nbias = 3\n",
            ['own.py: bias: not a pool of terms that change b; write bias = Pool(..., of="b")'],
        ),
        (
            "own.py",
            "from rulesearch.notation import *\npool = Pool(A=-W)\nbounds = 3\n",
            ['own.py, bounds is not a table; write bounds = {"W": (-1, 1)}'],
        ),
        ("own.toml", "[feedback]\nA = '-B'\n", [
            "own.toml, term A: changes B, and no term of the pool changes the weights; join it to "
            "a pool that does by together(pool, feedback)"
        ]),
        ("own.toml", "feedback = 3\n[terms]\nA = '-W'\n", [
            'own.toml: feedback is not a table; write [feedback] and lines such as decay = "-B"'
        ]),
        ("own.toml", "[terms]\nA = '-W'\n[feedback]\nC = '-X'\nD = 1\n", [
            'own.toml, term D: 1 is not text; write D = "expression"'
        ]),
        ("own.toml", "[terms]\nA = '-W'\n[feedback]\nC = '-B'\n[where]\nC = [0]\n[start]\nZ = 1", [
            "own.toml, start Z: no such term; the terms are A",
            "own.toml, where C: 0 is not a layer; they are counted from 1, or from -1 at the last",
        ]),
    ],
)  # fmt: skip
def test_bad_files(tmp_path, monkeypatch, name, content, lines):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(content, encoding="utf-8")
    assert message_of(load_pool, name).splitlines() == lines


def test_terms_from_the_command_line():
    flags = ["--feedback-term", "-B", "--bias-term", "-e_post", "--where", "B0=1", "--trace"]
    flags += ["t_post = y_post @ 0.9", "--bounds", "W=-1,1", "--bounds", "B=0,2.5", "--bias"]
    words = ["--term", "-e_post*y_pre", "--term", "-t_pre*W", *flags]
    pool, config = asked(read(words))
    assert pool.names == ("T0", "T1", "B0", "b0")
    assert pool.where == {"B0": (1,)}
    assert pool.bounds == (("W", -1.0, 1.0), ("B", 0.0, 2.5))
    assert config.bias
    traced = trace("t_post", y_post, decay=0.9)
    assert pool.terms[1] == Term.of("T1", "-t_pre*W", quantities={"t_post": traced})
    # Beside a file too, whose terms may share nothing with them.
    beside, _ = asked(read([str(GRAMMAR / "paper_pool.py"), *flags[2:4], *flags[6:8]]))
    assert beside.names[-2:] == ("F9", "b0")
    again, _ = asked(read([str(GRAMMAR / "normalised.py"), "--feedback-term", "-B/(ve_pre + 1)"]))
    assert str(again.terms[-1]) == "-B/(ve_pre + 1)"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--bounds", "W"], "argument --bounds: W: give a parameter and two numbers, as in W=-1,1"),
        (["--bounds", "W=1"], "argument --bounds: W=1: give a parameter and two numbers, as in W="),
        (
            ["--bounds", "W=1,x"],
            "argument --bounds: W=1,x: give a parameter and two numbers, as in",
        ),
        (
            ["--bounds", "W=0,1", "--bounds", "W=1,2"],
            "--bounds W: given more than once; give all of it in one",
        ),
        (["--bounds", "V=0,1"], "--bounds V: no such parameter; bound W or B or b"),
        (["--trace", "a"], "--trace a: write NAME = EXPRESSION @ DECAY"),
        (["--feedback-term", "-X"], "term B0: unknown symbol X in -X"),
        (["--where", "b0=1"], "--where b0: no such term"),
        (["--noise", "-1"], "--noise -1: must be at least 0"),
        (["--activation", "tan"], "--activation tan: unknown; give one of softplus, tanh, sigmoid"),
        (["--loss", "l2"], "--loss l2: unknown; give one of cross-entropy, squared"),
        (
            ["--resume", "x", "--feedback-term", "-B", "--bias", "--trace", "a"],
            "--resume x: goes on as it began; leave out --term, --feedback-term, --trace, --bias",
        ),
    ],
)
def test_bad_options(words, line):
    def ask():
        asked(read(["--term", "-W", *words]))

    assert message_of(ask).startswith(line)


def test_options_alone_are_no_pool():
    assert message_of(read, ["--feedback-term", "-B"]).startswith("no pool; give a grammar file")


# --- what a result says of them -------------------------------------------------------------------


def result_of(pool, theta):
    return Result(
        pool=pool_entries(pool, Config()),
        definitions=definitions(pool),
        support=tuple(theta),
        theta={name: theta.get(name, 0.0) for name in pool.names},
        **{name: {} for name in ("theta_interval", "frequency", "evaluation", "images", "config")},
        **dict.fromkeys(("trials", "elimination"), ()),
        versions={},
        seconds=1.0,
    )


def test_each_parameter_has_an_equation():
    result = result_of(JOINT, {"kp": 0.5, "decay": -0.25, "b0": 2.0})
    assert equation(result.pool, result.theta) == (
        "dW = 0.500*(-e_post*y_pre); dB = 0.500*(-2*e_post*y_pre) - 0.250*(-B); db = 2.00*(-e_post)"
    )
    assert [entry.shown for entry in result.pool] == [term.shown for term in JOINT]
    assert latex(result) == (
        "\\begin{align*}\n"
        "  \\Delta W ={}& 0.500 \\left(- e_{j} y_{k}\\right) \\\\\n"
        "  \\Delta B ={}& 0.500 \\left(- 2 e_{j} y_{k}\\right) \\\\\n"
        "  & - 0.250 \\left(- B_{kj}\\right) \\\\\n"
        "  \\Delta b ={}& 2.00 \\left(- e_{j}\\right)\n"
        "\\end{align*}\n"
    )
    alone = result_of(JOINT, {"decay": 1.0})
    assert equation(alone.pool, alone.theta) == "dB = 1.00*(-B)"


def test_what_a_rule_reads_and_calls_of_its_own_stands_below_it():
    soft = operator("soft", lambda x: x / (1 + Abs(x)))
    theta = trace("theta_post", soft(y_post) ** 2, decay=0.95)
    gate = quantity("gate_post", soft(z_post) * theta)
    pool = Pool(F0=-e_post * y_pre, own=gate * seen_from_pre(theta), bounds={"W": (-1, 1)})
    result = result_of(pool, {"own": 0.5})
    with Console(width=79, record=True, file=io.StringIO()) as console:
        console.print(result_text(result, Path("r")))
    assert console.export_text().splitlines()[:5] == [
        "dW = 0.500*(gate_post*theta_pre)",
        "gate_post = soft(z_post)*theta_post",
        "theta_post: mean of soft(y_post)**2 that fades by 0.95 a step, from 0",
        "soft(x0) = x0/(Abs(x0) + 1)",
        "W: kept in [-1, 1]",
    ]
    lines = latex(result).split(" \\\\\n")
    assert [line.split(" ={}& ")[0].split("\\leftarrow")[0].strip() for line in lines[1:]] == [
        r"\mathrm{theta}_{j}",
        r"\mathrm{gate}_{j}",
        r"\mathrm{theta}_{k}",
        r"\operatorname{soft}\left(x_{0}\right)",
        "W \\in{}& [-1.00,\\ 1.00]\n\\end{align*}",
    ]
    alone = result_of(pool, {"F0": 0.5})
    assert definition_lines(alone.definitions, ["-e_post*y_pre"]) == ["W: kept in [-1, 1]"]
    assert "theta" not in latex(alone)


def test_a_result_alone_says_what_its_terms_mean():
    for name in ("bcm.py", "three_factor.py", "normalised.py", "feedback.py", "hebbian.py"):
        pool = load_pool(GRAMMAR / name).bounded({"W": (-1, 1)})
        kept = json.loads(json.dumps(to_plain(result_of(pool, {pool.reference: 1.0}))))
        read = from_plain(Result, kept)
        again = pool_of(read.pool, read.definitions)
        assert (again.terms, again.bounds, again.where) == (pool.terms, pool.bounds, pool.where)


# --- the model ------------------------------------------------------------------------------------


def test_choices_are_the_tables():
    assert get_args(ActivationName) == tuple(ACTIVATIONS)
    assert get_args(LossName) == tuple(LOSSES)


def test_the_model_is_what_options_and_pool_say():
    assert Config().model(POOL) == Model()
    config = Config(activation="tanh", loss="squared", noise=0.1)
    assert config.model(JOINT.bounded({"W": (-1, 1)})) == Model(
        ACTIVATIONS["tanh"], LOSSES["squared"], True, 0.1, (("W", -1.0, 1.0),)
    )
    # To read them is not to have them: biases that nothing changes are zero.
    assert not model_of(Pool(A=trace("t_post", b_post, decay=0.9) * W)).bias


# --- a pool comes back ----------------------------------------------------------------------------


@st.composite
def joints(draw):
    """A pool for each of the parameters, some names shared, joined."""
    made = []
    for of, symbols in (("W", None), ("B", None), ("b", ("y_post", "e_post", "b_post", "L"))):
        more = {"symbols": symbols, "operators": ("tanh",)} if symbols else {}
        terms = draw(st.lists(strategies.expressions(leaves=3, **more), min_size=1, max_size=3))
        names = draw(st.permutations(["A", "C", "D", "E", "F"]))
        try:
            made.append(Pool(of=of, **dict(zip(names, terms, strict=False))))
        except RuleSearchError:
            assume(False)
    return together(*made[: draw(st.integers(1, 3))])


@settings(max_examples=50)
@given(joints())
def test_a_joint_pool_comes_back(pool):
    assert there_and_back(pool) == pool == pickle.loads(pickle.dumps(pool))
    assert there_and_back(pool).start == pool.start
    assert [t.key for t in there_and_back(pool)] == [t.key for t in pool]


@pytest.mark.parametrize("table", ["feedback", "bias", "bounds"])
def test_a_run_that_forgets_a_table_is_caught(table):
    pool = JOINT.bounded({"b": (0, 1)})
    plain = pool_to_plain(pool)
    del plain[table]
    assert pool_from_plain(plain) != pool


# --- what the grammar files say -------------------------------------------------------------------

#: Kunin et al. (2020): of a feedback matrix B [pre, post], with y [pre] and z [post].
REGULARISERS = {
    "decay": lambda B, W, y, z: (B**2).sum() / 2,
    "amp": lambda B, W, y, z: -y @ B @ z,
    "sparse": lambda B, W, y, z: ((y @ B) ** 2).sum() / 2,
    "null": lambda B, W, y, z: ((B @ z) ** 2).sum() / 2,
    "self": lambda B, W, y, z: -np.trace(B @ W),
}


def minus_gradient(regulariser, layer):
    """-∂R/∂B as [post, pre], by central differences."""
    back, found = layer["B"].T.copy(), np.empty_like(layer["B"])
    for k, j in np.ndindex(back.shape):
        values = []
        for step in (1e-5, -1e-5):
            moved = back.copy()
            moved[k, j] += step
            values.append(regulariser(moved, layer["W"], layer["y_pre"], layer["z_post"]))
        found[j, k] = -(values[0] - values[1]) / 2e-5
    return found


@pytest.mark.parametrize("name", REGULARISERS)
def test_primitives_of_feedback_are_gradients_of_their_regularisers(name):
    pool = load_pool(GRAMMAR / "feedback.py")
    term = next(t for t in pool if t.name == name)
    expression = dict(term.updates)["B"]
    layer = strategies.layer(3, 4, 3)
    value = values_of(expression, strategies.broadcastable(layer))
    expected = minus_gradient(REGULARISERS[name], layer)
    assert np.allclose(np.broadcast_to(value, expected.shape), expected, rtol=1e-6, atol=1e-8)
    wrong = np.broadcast_to(-value, expected.shape)
    assert not np.allclose(wrong, expected)  # nor would the other sign pass


def test_kolen_pollack_changes_both_by_the_same():
    kp, decay = load_pool(GRAMMAR / "feedback.py").terms[:2]
    assert kp.updates == (("W", -e_post * y_pre), ("B", -e_post * y_pre))
    assert decay.updates == (("W", -W), ("B", -B))


@pytest.mark.parametrize("name", ["bcm", "three_factor", "normalised", "feedback"])
def test_grammar_files_begin_at_the_pseudo_gradient(name):
    pool = load_pool(GRAMMAR / f"{name}.py")
    first = next(t for t in pool if t.name == pool.reference)
    assert first.expression == -e_post * y_pre
    assert pool.start == {first.name: 1e-3}
    assert pool.notes == ()
    assert there_and_back(pool) == pool


def test_needs_of_the_feedback():
    pool = load_pool(GRAMMAR / "feedback.py")
    assert {t.name: str(classify(t)) for t in pool if t.changes == "B"} == {
        "amp": "synaptic",
        "sparse": "retrograde",
        "null": "dendritic",
        "self": "transport",
        "mirror": "synaptic",
    }
    assert str(classify(pool.terms[0])) == "synaptic"


def test_text_terms_of_all_parameters_are_those_of_a_file():
    pool = pool_from_text(["-e_post*y_pre"], feedback=["-B", "-y_pre*e_post"], bias=["-e_post"])
    assert [t.changes for t in pool] == ["W", "B", "B", "b"]
    assert pool == together(
        Pool(T0=-e_post * y_pre), Pool(B0=-B, B1=-e_post * y_pre, of="B"), Pool(b0=-e_post, of="b")
    )
    assert Pool(A=e_pre * B).terms[0].changes == "W"
