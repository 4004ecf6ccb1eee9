"""Quantities and traces that come with a pool: what is said of them, and who may read them."""

from __future__ import annotations

import numpy as np
import pytest

from rulesearch.errors import RuleSearchError
from rulesearch.notation import (
    Pool,
    load_pool,
    pool_from_plain,
    pool_from_text,
    trace,
    y_post,
)
from rulesearch.notation.loading import beside_text
from rulesearch.notation.measured import values_of

MEAN = {"of": "y_post**2", "decay": 0.9}
UNREAD = "trace m_post: no term reads it"


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (["-e_post*y_pre"], (UNREAD,)),
        (["-e_post*m_post"], ()),
        (["-e_post*m_pre"], ()),
    ],
)
def test_a_trace_that_no_term_reads_from_either_side_is_said(terms, said):
    pool = pool_from_text(terms, traces=["m_post = y_post**2 @ 0.9"])
    assert pool.notes == said
    assert pool.per_layer(2).notes == said
    assert pool.bounded({"W": (-1, 1)}).notes == said
    assert pool.acting({"T0": (1,)}).notes == said


def test_what_a_quantity_reads_is_read_from_the_same_side():
    plain = {
        "terms": {"F0": "-e_post*y_pre", "A": "-e_post*h_pre"},
        "traces": {"m_post": MEAN},
        "quantities": {"h_post": "y_post - m_post"},
    }
    assert pool_from_plain(plain).notes == ()


def test_flags_may_read_what_a_file_declares(tmp_path):
    file = tmp_path / "pool.toml"
    file.write_text(
        '[terms]\nF0 = "-e_post*y_pre"\n[traces.m_post]\nof = "y_post**2"\ndecay = 0.9\n'
    )
    pool = load_pool(file)
    assert pool.notes == (UNREAD,)
    beside = beside_text(pool, {}, {}, bias=["-m_post"])
    assert beside.names == ("F0", "b0")
    assert beside.notes == ()


def test_the_terms_of_a_space_of_feedback_have_where_and_start():
    plain = {
        "terms": {"kp": "-e_post*y_pre"},
        "space": {"of": "B", "post": ["y_post"], "pre": ["y_pre"]},
        "where": {"ypost_ypre": [2]},
        "start": {"ypost_ypre": 0.5, "kp": 1e-3},
    }
    pool = pool_from_plain(plain)
    assert pool.where == {"ypost_ypre": (2,)}
    assert pool.start["ypost_ypre"] == 0.5


def test_what_changes_feedback_may_begin_at_nothing():
    plain = {"terms": {"F0": "-e_post*y_pre"}, "feedback": {"d": "-B"}}
    assert pool_from_plain({**plain, "start": {"F0": 1e-3, "d": 0.0}}).start["d"] == 0
    with pytest.raises(RuleSearchError, match="every coefficient is zero"):
        Pool(A="-W", start={"A": 0.0})
    with pytest.raises(RuleSearchError) as refusal:
        Pool(A="-W", start={"A": "x"})
    assert len(refusal.value.lines) == 1


@pytest.mark.parametrize("mu", ["µ", "μ"])
def test_two_letters_that_look_alike_are_one(mu):
    plain = {
        "terms": {"F0": "-e_post*y_pre", "A": "h_post*y_pre"},
        "traces": {"µ_post": {"of": "y_post", "decay": 0.9}},
        "quantities": {"h_post": f"y_post - {mu}_post"},
    }
    assert pool_from_plain(plain).notes == ()
    text = pool_from_text(["-e_post*y_pre", f"{mu}_post"], traces=["µ_post = y_post @ 0.9"])
    assert text.notes == ()


def test_a_trace_of_a_trace_that_counts_is_one():
    counted = trace("c", 1, decay=0.9)
    assert trace("d", counted, decay=0.9, initial="first").row.memory
    with pytest.raises(RuleSearchError, match="never changes"):
        trace("e", 2, decay=0.9, initial="first")


def test_values_of_traces_that_an_expression_does_not_read_may_be_there():
    mean = trace("m_post", y_post, decay=0.9)
    values = {"W": np.ones((2, 3)), "y_post": np.ones((2, 1)), "other_post": np.ones((2, 1))}
    assert values_of(mean + y_post, {**values, "m_post": np.ones((2, 1))}).max() == 2


def test_an_unbound_local_name_of_a_file_is_python_s_own_fault(tmp_path):
    file = tmp_path / "pool.py"
    file.write_text("def term(some):\n    if some:\n        x = 1\n    return x\nterm(0)\n")
    with pytest.raises(RuleSearchError, match=r"line 4.*UnboundLocalError.*mend the line"):
        load_pool(file)


def test_a_trace_given_beside_a_file_that_no_term_reads_is_said(tmp_path):
    file = tmp_path / "pool.toml"
    file.write_text('[terms]\nF0 = "-e_post*y_pre"\n')
    pool = beside_text(load_pool(file), {}, {}, traces=["m_post = y_post @ 0.9"])
    assert pool.notes == pool.said == (UNREAD,)
    assert pool.measured == ()
