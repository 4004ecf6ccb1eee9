"""A rule per layer: where terms act, from the notation to the report of a search."""

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import batches
import commands
import numpy as np
import pytest
import torch
from golden import GRAMMAR
from rich.console import Console

from rulesearch.data import load_data
from rulesearch.errors import RuleSearchError
from rulesearch.lowering import lower_terms
from rulesearch.notation import (
    Pool,
    W,
    e_post,
    e_pre,
    load_pool,
    pool_from_plain,
    pool_from_text,
    pool_to_plain,
    y_post,
    y_pre,
)
from rulesearch.population import Population
from rulesearch.report import latex, pool_table, result_text
from rulesearch.result import PoolEntry, Result, equation
from rulesearch.runs import open_run, reading
from rulesearch.runs.kept import read_stage, stage_labels
from rulesearch.search import prepare, search
from rulesearch.search.__main__ import main
from rulesearch.statistics import Scores
from rulesearch.updates import norms

F0, F2, F3 = -e_post * y_pre, -e_post * e_pre, -W
OJA = y_post * y_pre - y_post**2 * W
SHARED = Pool(F0=F0, F2=F2, oja=OJA)
MASKED = Pool(F0=F0, F2=F2, oja=OJA, where={"F2": (2, 3), "oja": (-1,)})
OWN = Pool(
    F0=F0,
    F2_low=F2,
    F2_high=F2,
    oja=OJA,
    where={"F2_low": (1,), "F2_high": (2, 3), "oja": (-1,)},
)
DEPTH = 3
#: A network of this depth, its pathway a random one.
START = batches.given(7, (5, 4, 3, 3), steps=4)


def message_of(call, *arguments, **more):
    with pytest.raises(RuleSearchError) as caught:
        call(*arguments, **more)
    return str(caught.value)


# --- the notation ---------------------------------------------------------------------------------


def test_layers_are_kept_in_order_and_once():
    pool = Pool(A=F0, B=F2, where={"B": [-1, 3, 2, 3, -2]})
    assert pool.where == {"B": (2, 3, -2, -1)}
    assert pool == Pool(A=F0, B=F2, where={"B": (-2, 3, -1, 2)})
    assert pool != Pool(A=F0, B=F2)
    assert hash(pool) == hash(Pool(A=F0, B=F2, where={"B": {2, 3, -2, -1}}))
    assert Pool(A=F0).where == {}
    assert pickle.loads(pickle.dumps(pool)) == pool


@pytest.mark.parametrize(
    ("layers", "depth", "expected"),
    [
        ((1,), 1, [True]),
        ((-1,), 1, [True]),
        ((1, -1), 3, [True, False, True]),
        ((2, -2), 3, [False, True, False]),
        ((-1, -2), 4, [False, False, True, True]),
    ],
)
def test_mask(layers, depth, expected):
    pool = Pool(A=F0, B=F2, where={"B": layers})
    assert pool.mask(depth) == tuple((True, acts) for acts in expected)


def test_only_keeps_where():
    assert OWN.only("F0", "F2_high") == Pool(F0=F0, F2_high=F2, where={"F2_high": (2, 3)})
    assert OWN.only("F0").where == {}


def test_in_a_network_layers_are_counted_from_1():
    pool = Pool(A=F0, B=F2, C=F3, where={"A": (1, -1), "B": (-1,), "C": (2, -1)})
    assert pool.in_network(2) == Pool(A=F0, B=F2, C=F3, where={"B": (2,), "C": (2,)})
    assert pool.in_network(3).where == {"A": (1, 3), "B": (3,), "C": (2, 3)}


def test_names_of_one_expression_are_one_in_the_plan():
    assert [term.name for term in OWN.distinct] == ["F0", "F2_low/F2_high", "oja"]
    assert OWN.columns == (0, 1, 1, 2)
    assert len(lower_terms(OWN.distinct).groups) == len(lower_terms(SHARED.terms).groups)


def test_per_layer_copies():
    pool = Pool(F0=F0, F2=F2, where={"F2": (2, -1)}, start={"F0": 0.01, "F2": -0.2}).per_layer(3)
    assert pool.names == ("F0_1", "F0_2", "F0_3", "F2_2", "F2_3")
    assert pool.where == {"F0_1": (1,), "F0_2": (2,), "F0_3": (3,), "F2_2": (2,), "F2_3": (3,)}
    assert pool.start == {name: 0.01 if name[1] == "0" else -0.2 for name in pool.names}
    assert Pool(F0=F0).per_layer(1) == Pool(F0_1=F0)


def test_a_default_start_is_that_of_every_layer():
    low_and_high = {"low": (1,), "high": (2, 3)}
    assert Pool(low=F0, high=F0, B=F3, where=low_and_high).start == {"low": 1e-3, "high": 1e-3}
    assert Pool(low=F3, high=F3, B=F2, where=low_and_high).start == {"low": -1e-3, "high": -1e-3}


def test_a_pseudo_gradient_of_some_layers_is_none():
    assert Pool(F0=F0, F2=F2, where={"F2": (1,)}).pseudo_gradient == "F0"
    limited = Pool(F0=F0, F2=F2, where={"F0": (1, 2)})
    assert limited.pseudo_gradient is None
    assert limited.in_network(2).pseudo_gradient == "F0"
    assert [list(limited.throughout(F0, depth)) for depth in (2, 3)] == [["F0"], []]
    copies = Pool(F0=-2 * F0, F2=F2).per_layer(3)
    assert copies.throughout(F0, 3) == {"F0_1": -0.5, "F0_2": -0.5, "F0_3": -0.5}
    assert limited.throughout(F3, 3) == {}


REFUSED = {
    "no such term": (
        {"hebb": F2},
        {"heb": (1,)},
        "where heb: no such term; did you mean hebb?",
    ),
    "a term that is far from all": (
        {"A": F0, "B": F2},
        {"Z9": (1,)},
        "where Z9: no such term; the terms are A, B",
    ),
    "layer 0": (
        {"A": F0},
        {"A": (0, 1)},
        "where A: 0 is not a layer; they are counted from 1, or from -1 at the last",
    ),
    "no number": (
        {"A": F0},
        {"A": ["last"]},
        "where A: 'last' is not a layer; they are counted from 1, or from -1 at the last",
    ),
    "true": (
        {"A": F0},
        {"A": [True]},
        "where A: True is not a layer; they are counted from 1, or from -1 at the last",
    ),
    "no list": (
        {"A": F0},
        {"A": 2},
        "where A: 2 is not a list of layers; write one such as [2, 3]",
    ),
    "text": (
        {"A": F0},
        {"A": "23"},
        "where A: '23' is not a list of layers; write one such as [2, 3]",
    ),
    "nowhere": (
        {"A": F0},
        {"A": ()},
        "where A: names no layer; give at least one, or leave A out",
    ),
    "one layer twice": (
        {"low": F2, "high": F2},
        {"low": (1, 2), "high": (2, 3)},
        "term high: the same as low, -e_post*e_pre, in layer 2; give them layers apart in where, "
        "or leave out one of low, high",
    ),
    "everywhere and somewhere": (
        {"all": F2, "high": F2},
        {"high": (3,)},
        "term high: the same as all, -e_post*e_pre, in layer 3; give them layers apart in where, "
        "or leave out one of all, high",
    ),
    "somewhere and everywhere": (
        {"high": F2, "all": F2},
        {"high": (3,)},
        "term all: the same as high, -e_post*e_pre, in layer 3; give them layers apart in where, "
        "or leave out one of high, all",
    ),
    "the third is the first": (
        {"A": F2, "B": F2, "C": F2},
        {"A": (1,), "B": (2,), "C": (1,)},
        "term C: the same as A, -e_post*e_pre, in layer 1; give them layers apart in where, "
        "or leave out one of A, C",
    ),
    "the last twice": (
        {"A": F2, "B": F2},
        {"A": (1, -1), "B": (2, -1)},
        "term B: the same as A, -e_post*e_pre, in layer -1; give them layers apart in where, "
        "or leave out one of A, B",
    ),
    "dependent in a layer": (
        {"A": F0, "B": F3, "C": F0 - 2 * F3},
        {"B": (1, 2), "C": (2, 3)},
        "term C: adds nothing to the pool in layer 2, C = A - 2*B; leave out one of C, A, B there",
    ),
    "dependent everywhere": (
        {"A": F0, "B": 2 * F0, "C": F2},
        {"C": (2,)},
        "term B: the same as A, -e_post*y_pre, but for a factor; leave out one of A, B",
    ),
}


@pytest.mark.parametrize(("terms", "where", "line"), REFUSED.values(), ids=REFUSED)
def test_refused_pools(terms, where, line):
    assert message_of(Pool, **terms, where=where) == line


def test_dependence_is_judged_where_terms_meet():
    where = {"B": (1,), "C": (2, 3)}
    assert len(Pool(A=F0, B=F3, C=F0 - 2 * F3, where=where)) == 3
    assert len(Pool(A=F0, B=2 * F0, where={"A": (1,), "B": (2,)})) == 2


def test_what_numbers_from_both_ends_do_is_known_with_the_depth():
    same = Pool(A=F2, B=F2, where={"A": (2,), "B": (-1,)})
    assert same.mask(3) == ((False, False), (True, False), (False, True))
    assert message_of(same.mask, 2) == (
        "term B: adds nothing to the pool in layer 2, B = A; leave out one of B, A there"
    )
    dependent = Pool(A=F0, B=F3, C=F0 - F3, where={"B": (1,), "C": (-2,)})
    assert dependent.mask(3)[1] == (True, False, True)
    assert message_of(dependent.mask, 2) == (
        "term C: adds nothing to the pool in layer 1, C = A - B; leave out one of C, A, B there"
    )


def test_layers_that_a_network_does_not_have():
    pool = Pool(A=F0, B=F2, C=F3, where={"B": (1, 4, 6), "C": (-5,)})
    assert message_of(pool.mask, 3).splitlines() == [
        "term B: acts in layer 4, and the network has 3; name layers from 1 to 3, or from -3 to "
        "-1, in its where",
        "term C: acts in layer -5, and the network has 3; name layers from 1 to 3, or from -3 to "
        "-1, in its where",
    ]
    for call in (pool.per_layer, pool.in_network):
        assert message_of(call, 3) == message_of(pool.mask, 3)


# --- plain data -----------------------------------------------------------------------------------


def test_plain_data_says_where():
    plain = pool_to_plain(MASKED)
    assert plain["where"] == {"F2": [2, 3], "oja": [-1]}
    for pool in (MASKED, OWN, SHARED.per_layer(4)):
        assert pool_from_plain(json.loads(json.dumps(pool_to_plain(pool)))) == pool


def test_plain_data_from_before_there_was_a_where():
    plain = pool_to_plain(SHARED)
    assert sorted(plain) == ["operators", "start", "terms"]
    assert pool_from_plain(plain) == SHARED


def test_toml(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('[terms]\nA = "-W"\nB = "-e_pre"\n[where]\nB = [2, -1]\n', encoding="utf-8")
    assert load_pool(file) == Pool(A=-W, B=-e_pre, where={"B": (2, -1)})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[where]\nA = 2", "where A: 2 is not a list of layers; write one such as [2, 3]"),
        ("[where]\nB = [1]", "where B: no such term; the terms are A"),
    ],
)
def test_broken_toml(tmp_path, monkeypatch, text, line):
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text(f'[terms]\nA = "-W"\n{text}\n', encoding="utf-8")
    assert message_of(load_pool, "own.toml") == f"own.toml, {line}"


def test_where_is_a_table_and_no_term():
    assert message_of(pool_from_plain, {"terms": {"A": "W", "where": "W"}, "where": [2]}) == (
        "term where: the name is taken; choose another\n"
        "where is not a table; write [where] and lines such as F2 = [2, 3]"
    )


def test_terms_from_text_act_where_they_are_told():
    assert pool_from_text(["-W", "-W"], {"T0": (1,), "T1": (2,)}) == Pool(
        T0=-W, T1=-W, where={"T0": (1,), "T1": (2,)}
    )


# --- lifetimes ------------------------------------------------------------------------------------


def coefficients(pool, seed=0):
    """Coefficients of both signs for a pool's terms, [terms], float64."""
    sizes = batches.moderate([t.expression for t in pool], START)
    rng = np.random.default_rng(seed)
    return sizes * torch.from_numpy(rng.uniform(0.5, 1.5, len(pool)))


def masked(pool, theta):
    """Coefficients [terms] as [layers, terms], zero where a term does not act."""
    rows = []
    for layer in range(1, DEPTH + 1):
        acts = [
            t.name not in pool.where or bool({layer, layer - DEPTH - 1} & {*pool.where[t.name]})
            for t in pool
        ]
        rows.append(theta * torch.tensor(acts, dtype=theta.dtype))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("pool", "kernel"),
    [
        pytest.param(MASKED, "einsum", id="mask, einsum"),
        pytest.param(MASKED, "fused", id="mask, fused"),
        pytest.param(OWN, "einsum", id="coefficients of its own, einsum"),
        # Compiles for four seconds; copies in fused are below.
        pytest.param(OWN, "fused", id="coefficients of its own, fused", marks=pytest.mark.slow),
    ],
)
def test_lifetimes_are_those_of_the_unrolled_loop(pool, kernel):
    """Autograd through the plain loop knows no mask, and adds up terms whatever they are called."""
    theta = coefficients(pool)
    by_layer = masked(pool, theta)
    loss, gradient, weights = batches.reference(batches.as_written(pool), by_layer, START)
    acts = by_layer != 0
    out = batches.run(pool, theta, START, kernel=kernel, gradient=True)
    each = batches.run(pool, theta.expand(DEPTH, -1), START, kernel=kernel, gradient=True)
    for got in (out, each):
        batches.assert_close(got.loss, loss)
        for mine, expected in zip(got.weights, weights, strict=True):
            batches.assert_close(mine, expected)
    batches.assert_close(each.gradient * theta.abs(), gradient * acts * theta.abs())
    batches.assert_close(out.gradient * theta.abs(), (gradient * acts).sum(1) * theta.abs())
    assert not each.gradient[:, ~acts].any()
    assert (each.gradient[:, acts] != 0).all()


@batches.kernels
def test_equal_rules_in_every_layer_are_the_shared_rule(kernel):
    theta = coefficients(SHARED)
    copies = SHARED.per_layer(DEPTH)
    shared = batches.run(SHARED, theta, START, kernel=kernel, gradient=True)
    each = batches.run(copies, theta.repeat_interleave(DEPTH), START, kernel=kernel, gradient=True)
    batches.assert_close(each.loss, shared.loss)
    for mine, expected in zip(each.weights, shared.weights, strict=True):
        batches.assert_close(mine, expected)
    summed = each.gradient.unflatten(1, (len(SHARED), DEPTH)).sum(2)
    batches.assert_close(summed * theta.abs(), shared.gradient * theta.abs())


def test_a_mask_is_zeros_in_theta():
    theta = coefficients(MASKED)
    out = batches.run(MASKED, theta, START, kernel="einsum")
    zeros = batches.run(SHARED, masked(MASKED, theta), START, kernel="einsum")
    assert torch.equal(out.loss, zeros.loss)
    assert all(torch.equal(a, b) for a, b in zip(out.weights, zeros.weights, strict=True))
    assert not torch.equal(out.loss, batches.run(SHARED, theta, START, kernel="einsum").loss)


def test_the_gradient_of_a_masked_pool_is_that_of_differences():
    """Central, step h = 1e-4 of a coefficient: error h**2 times a third derivative of order one
    relative to the loss, 1e-8, and rounding, 1e-15 / h = 1e-11; a factor of a hundred is left."""
    theta, h = coefficients(OWN), 1e-4
    gradient = batches.run(OWN, theta, START, kernel="einsum", gradient=True).gradient
    for term in range(len(OWN)):
        step = h * theta[term] * torch.eye(len(OWN), dtype=theta.dtype)[term]
        up, down = (
            batches.run(OWN, theta + sign * step, START, kernel="einsum").loss for sign in (1, -1)
        )
        slope = (up - down) / (2 * h)
        assert torch.allclose(gradient[:, term] * theta[term], slope, rtol=0, atol=1e-6), term
        assert float(slope.abs().max()) > 1e-4, f"{OWN.names[term]} does nothing here"


def test_gradient_of_one_name_of_an_expression():
    theta = coefficients(OWN)
    every = batches.run(OWN, theta, START, kernel="einsum", gradient=True).gradient
    one = batches.run(OWN, theta, START, kernel="einsum", gradient=["F2_high"]).gradient
    asked = torch.tensor([name == "F2_high" for name in OWN.names])
    assert torch.equal(one, every * asked)
    assert (one[:, asked] != 0).all()


def test_a_coefficient_counts_only_where_its_term_acts():
    by_layer = masked(OWN, coefficients(OWN))
    strange = torch.where(by_layer == 0, 1e9, by_layer)
    theta = strange.expand(2, -1, -1)
    got = batches.run(OWN, theta, START, kernel="einsum", gradient=True)
    expected = batches.run(OWN, by_layer, START, kernel="einsum", gradient=True)
    assert torch.equal(got.loss, expected.loss)
    assert torch.equal(got.gradient, expected.gradient)


def test_a_network_without_the_layer_is_refused():
    pool = Pool(A=F0, B=F2, where={"B": (4,)})
    theta = torch.tensor([0.01, 0.01], dtype=torch.float64)
    assert message_of(batches.run, pool, theta, START, kernel="einsum") == (
        "term B: acts in layer 4, and the network has 3; name layers from 1 to 3, or from -3 to "
        "-1, in its where"
    )


# --- a search -------------------------------------------------------------------------------------

SMALL = replace(commands.SMALL, layers=(6, 5), trials=1, dtype="float64")
FLAGS = [
    *("--layers", "6,5", "--ways", "2", "--shots", "3", "--queries", "2", "--trials", "1"),
    *("--meta-steps", "3", "--meta-batch", "2", "--kernel", "einsum", "--quiet"),
]
TERMS = ["--term", "-e_post*y_pre", "--term", "-e_post*e_pre"]
PAIR = Pool(F0=F0, F2=F2)


@pytest.fixture
def tiny(monkeypatch):
    """The command's own defaults for digits, made tiny."""
    commands.small_defaults(monkeypatch, commands.TINY)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", shape=SMALL.shape)


def test_norms_of_copies_add_up_to_that_of_their_term(digits):
    def measured(pool):
        sizes = SMALL.sizes(digits.inputs, digits.classes)
        some = Population(pool, digits.search, SMALL.shape, sizes, kernel="einsum")
        return np.array(norms(some, (1, 2, 3)))

    copies = measured(PAIR.per_layer(DEPTH)).reshape(len(PAIR), DEPTH)
    assert (copies > 0).all()
    assert copies.sum(1) == pytest.approx(measured(PAIR), rel=1e-12)


def kept(tmp_path, pool, digits, **options):
    """A run of a tiny search, with its stages on disk."""
    run = tmp_path / "-".join(pool.names)
    return search(pool, digits, replace(SMALL, **options), run=run), reading(run)


@pytest.mark.parametrize(
    ("pathway", "protocol"),
    [
        ("random", "robust"),
        pytest.param("random", "accepted", marks=pytest.mark.slow),
        pytest.param("symmetric", "robust", marks=pytest.mark.slow),
        pytest.param("symmetric", "accepted", marks=pytest.mark.slow),
    ],
)
def test_the_gain_of_a_rule_per_layer_is_over_the_shared_reference(
    tmp_path, digits, pathway, protocol
):
    """With one coefficient for all layers the copies of F0 are F0, so both have one reference."""
    alone = []
    for pool in (PAIR, PAIR.per_layer(DEPTH)):
        _, run = kept(tmp_path, pool, digits, pathway=pathway, protocol=protocol, dtype="float64")
        stage = "elimination/reference" if protocol == "robust" else "common/reference"
        alone.append(read_stage(run, stage, Scores))
        sought = [label for label in stage_labels(run) if label.startswith("reference/")]
        # The reference on a random pathway is a baseline that is there already.
        assert bool(sought) == (pathway == "symmetric")
    assert alone[0].seeds == alone[1].seeds
    assert alone[0].loss == pytest.approx(alone[1].loss, rel=1e-9)


def test_a_pseudo_gradient_of_some_layers_is_no_feedback_alignment(tmp_path, digits):
    pool = Pool(F0=F0, F2=F2, where={"F0": (1, 2)})
    result, run = kept(tmp_path, pool, digits, protocol="robust")
    assert stage_labels(run)
    assert read_stage(run, "elimination/reference", Scores) is None
    assert result.evaluation["feedback_alignment"].rate > 0


def test_a_reference_of_several_names_is_said(digits):
    assert prepare(PAIR, digits, SMALL).messages == ()
    assert prepare(PAIR.per_layer(DEPTH), digits, SMALL).messages == (
        "the reference is F0_1, F0_2, F0_3 with one coefficient",
    )


def test_where_the_reference_is_the_answer_it_is_so_in_every_layer(digits):
    """A term that only harms leaves nothing that beats the pseudo-gradient."""
    pool = Pool(F0=F0, F4=-e_pre, start={"F0": 1e-3, "F4": -1e-4}).per_layer(DEPTH)
    result = search(pool, digits, replace(SMALL, protocol="robust", meta_steps=1))
    assert "nothing beats F0_1, F0_2, F0_3 alone" in result.message
    assert result.support == ("F0_1", "F0_2", "F0_3")
    assert all(result.theta[name] for name in result.support)


def test_a_search_of_a_mask(tiny, tmp_path, monkeypatch, capsys):
    """A pool of one term has that term for an answer, however little is run."""
    monkeypatch.chdir(tmp_path)
    assert main([*TERMS[:2], *FLAGS, "--where", "T0=2,-1", "--out", "run"]) == 0
    result = Result.load("run")
    assert [entry.layers for entry in result.pool] == [(2, -1)]  # the last, in other networks too
    # Too few images to learn from: the equation is that of the result, and not printed as a rule.
    assert re.fullmatch(
        r"dW = \d.*\*\(-e_post\*y_pre\) \[layers 2, -1\]", equation(result.pool, result.theta)
    )
    rule = Path("run/rule.tex").read_text()
    assert r"\Delta W_{l-1,l} ={}& " in rule
    assert r"\, [l \in \{2, D\}] \left(- e_{j} y_{k}\right)" in rule
    assert open_run(Path("run")).pool["where"] == {"T0": [2, -1]}


@pytest.mark.slow
def test_a_search_per_layer_goes_on_where_it_was(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [*TERMS, *FLAGS, "--per-layer", "--where", "T1=-1"]
    assert main([*arguments, "--out", "whole"]) == 0
    whole = Result.load("whole")
    assert [e.name for e in whole.pool] == ["T0_1", "T0_2", "T0_3", "T1_3"]
    assert [e.layers for e in whole.pool] == [(1,), (2,), (3,), (3,)]
    assert re.search(r"\\, \[l = \d\] \\left\(", Path("whole/rule.tex").read_text())

    from rulesearch.search import stages

    append, left = stages.append_history, [5]

    def interrupted(run, row):
        append(run, row)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(stages, "append_history", interrupted)
    assert main([*arguments, "--out", "broken"]) == 130
    assert main(["--resume", "broken", "--quiet"]) == 0
    broken = Result.load("broken")
    differ = [n for n in broken.__dataclass_fields__ if getattr(broken, n) != getattr(whole, n)]
    assert {*differ} <= {"seconds", "command"}, differ


BAD = {
    "unknown term": ("--where T9=1", "--where T9: no such term; the terms are T0, T1"),
    "no list": (
        "--where T1=2,x",
        "argument --where: T1=2,x: give a term and layers, as in F2=2,3 or F2=-1; "
        "python -m rulesearch.search --help lists the options",
    ),
    "no term": (
        "--where 2,3",
        "argument --where: 2,3: give a term and layers, as in F2=2,3 or F2=-1; "
        "python -m rulesearch.search --help lists the options",
    ),
    "layer 0": (
        "--where T1=0",
        "--where T1: 0 is not a layer; they are counted from 1, or from -1 at the last",
    ),
    "twice": (
        "--where T1=1 --where T1=3",
        "--where T1: given more than once; give all of it in one",
    ),
    "too deep": (
        "--where T1=4",
        "term T1: acts in layer 4, and the network has 3; name layers from 1 to 3, or from -3 to "
        "-1, in its where",
    ),
    "too deep, per layer": (
        "--where T1=4 --per-layer",
        "term T1: acts in layer 4, and the network has 3; name layers from 1 to 3, or from -3 to "
        "-1, in its where",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options_are_one_line_and_write_nothing(case, tmp_path, monkeypatch, capsys):
    more, line = BAD[case]
    monkeypatch.chdir(tmp_path)
    assert main([*TERMS, *FLAGS, *more.split()]) == 2
    assert capsys.readouterr() == ("", f"{line}\n")
    assert not list(tmp_path.iterdir())


def test_a_run_that_goes_on_takes_no_layers(capsys):
    assert main(["--resume", "nowhere", "--where", "F2=1", "--per-layer"]) == 2
    assert capsys.readouterr().err == (
        "--resume nowhere: goes on as it began; leave out --where, --per-layer\n"
    )


def test_the_option_takes_the_place_of_what_the_file_says(capsys):
    file = str(GRAMMAR / "per_layer.py")
    for more, layers in (((), "2, 3"), (("--where", "F2=1,-1"), "1, 3")):
        assert main([file, "--layers", "130,70", "--explain", *more]) == 0
        rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
        found = {row[0]: [cell.strip() for cell in row if cell.strip()] for row in rows}
        assert found["term"][2] == "layers"
        assert (found["F0"][2], found["F2"][2]) == ("all", layers)


def test_explain_per_layer_computes_every_expression_once(capsys):
    assert main([*TERMS, "--layers", "6,5", "--explain", "--per-layer"]) == 0
    out = capsys.readouterr().out
    assert "ΔW = e_post ⊗ [T0_1/T0_2/T0_3·(-y_pre) + T1_1/T1_2/T1_3·(-e_pre)]" in out
    assert main([*TERMS, "--layers", "6,5", "--explain"]) == 0
    assert out.splitlines()[-1] == capsys.readouterr().out.splitlines()[-1]  # the multiply-adds


# --- the report -----------------------------------------------------------------------------------


def a_result(**layers):
    expressions = {"F0": ("-e_post*y_pre", "a"), "F2": ("-e_post*e_pre", "b"), "F3": ("-W", "c")}
    return Result(
        pool=tuple(
            PoolEntry(
                name=name,
                expression=text,
                latex=letter,
                needs=(),
                evidence={},
                layers=layers.get(name, ()),
            )
            for name, (text, letter) in expressions.items()
        ),
        support=("F0", "F2"),
        theta={"F0": 0.0112, "F2": -0.051, "F3": 0.0},
        theta_interval={},
        frequency={},
        trials=(),
        elimination=(),
        evaluation={},
        images={},
        config={},
        versions={},
        seconds=1.0,
    )


def test_the_rule_says_where_its_terms_act():
    result = a_result(F0=(1,), F2=(2, 3))
    assert str(result).splitlines()[0] == (
        "dW = 0.0112*(-e_post*y_pre) [layer 1] - 0.0510*(-e_post*e_pre) [layers 2, 3]"
    )
    assert latex(result) == (
        "\\begin{align*}\n"
        "  \\Delta W_{l-1,l} ={}& 0.0112\\, [l = 1] \\left(a\\right) \\\\\n"
        "  & - 0.0510\\, [l \\in \\{2, 3\\}] \\left(b\\right)\n"
        "\\end{align*}\n"
    )
    # A term that is not in the rule does not make it one of layers.
    assert latex(a_result(F3=(1,))) == latex(a_result())


def test_tables_have_a_column_of_layers_where_there_are_any(tmp_path):
    def printed(renderable):
        console = Console(width=100)
        with console.capture() as captured:
            console.print(renderable)
        return captured.get()

    assert "layers" not in printed(result_text(a_result(), tmp_path))
    text = printed(result_text(a_result(F2=(2, 3)), tmp_path))
    row = next(line for line in text.splitlines() if line.startswith("F2"))
    assert "layers" in text
    assert "2, 3" in row
    rows = [("F0", "-e_post*y_pre", "", "x"), ("F2", "-e_post*e_pre", "", "y")]
    assert "layers" not in printed(pool_table(rows))
    assert "2, 3" in printed(pool_table(rows, {"F2": (2, 3)}))
