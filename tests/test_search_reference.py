"""What a search is measured against, and what is told of the terms that left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_runs import CONFIG, make_small

from rulesearch import search
from rulesearch.data import load_data
from rulesearch.notation import Pool
from rulesearch.report.text import elimination_table

SMALL = replace(CONFIG, meta_steps=1, meta_batch=2)
POOL = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", F3="-W", F5="-y_post*e_pre")


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", shape=SMALL.shape)


@pytest.mark.parametrize("bias", [False, True])
def test_feedback_alignment_is_the_reference_where_it_is_the_same_rule(bias, monkeypatch, digits):
    """With biases it is not: those of the baseline learn, by the same rate."""
    make_small(monkeypatch.setattr)
    told: list[str] = []
    search(POOL, digits, replace(SMALL, bias=bias), on_stage=told.append)
    assert any(label.startswith("reference/as it starts") for label in told) == bias


@pytest.mark.parametrize("seed", range(4))
def test_a_term_that_the_rule_has_is_not_said_to_have_been_dropped(seed, monkeypatch, digits):
    make_small(monkeypatch.setattr)
    result = search(POOL, digits, replace(SMALL, seed=seed))
    for step in result.elimination:
        gone = set(step.dropped.split(", "))
        assert step.kept == gone.isdisjoint(result.support)
    table = elimination_table(result)
    marked = [cells for cells, _ in table.rows if str(cells[0]).startswith(">")]
    assert len(marked) <= 1
    assert ("> marks the rule chosen" in table.caption) == bool(marked)
    for cells in marked:
        assert {*str(cells[2]).split(", ")} == {*result.support}
