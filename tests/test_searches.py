"""Benchmarks of whole searches: what counts as worse than the reference, and rules elsewhere."""

import json
from types import SimpleNamespace

import pytest

from benchmarks import findings, searches
from rulesearch import Config, Pool, load_data, search
from rulesearch.notation import e_post, e_pre, y_pre
from rulesearch.result import EvaluationRecord, HallRecord
from rulesearch.search.evaluating import not_undercut
from rulesearch.selection import Effort
from rulesearch.sweep import Planned
from rulesearch.sweep.table import row_of


def record(gained, interval, diverged=0, lifetimes=300):
    return EvaluationRecord(
        accuracy=0.7,
        accuracy_interval=(0.6, 0.8),
        loss=0.9,
        lifetimes=lifetimes,
        diverged=diverged,
        gained=gained,
        gained_interval=interval,
    )


TWO = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre")


def ended(rule, reference):
    return SimpleNamespace(
        evaluation={"rule": rule, "feedback_alignment": reference},
        learns=False,
        support=("F0",),
        lifetimes={"gradient": 10, "forward": 20},
        seconds=3.0,
    )


@pytest.mark.parametrize(
    ("interval", "diverged", "fails"),
    [
        ((0.1, 0.3), 0, False),
        ((-0.1, 0.1), 0, False),  # no better, no worse
        ((-0.3, -0.1), 0, True),
        ((0.1, 0.3), 3, False),  # of 300; none of the reference: may be chance
        ((0.1, 0.3), 30, True),
    ],
)
def test_a_search_fails_where_its_rule_is_clearly_worse(interval, diverged, fails):
    result = ended(record(1.0, (0.9, 1.1), diverged), record(sum(interval) / 2, interval))
    row = row_of(Planned("two", "digits", Config()), TWO, result)
    assert (row.reference, searches.fails(row)) == ("feedback_alignment", fails)
    assert row.gained_interval == interval


@pytest.mark.parametrize(
    ("pool", "pathway"), [(Pool(F2="-e_post*e_pre"), "random"), (TWO, "direct")]
)
def test_what_does_not_begin_with_feedback_alignment_is_beside_no_training(pool, pathway):
    result = ended(record(1.0, (0.9, 1.1)), record(-0.2, (-0.3, -0.1)))
    row = row_of(Planned("own", "digits", Config(pathway=pathway)), pool, result)
    assert (row.reference, row.gained, searches.fails(row)) == ("untrained", 1.0, False)


def test_on_the_symmetric_pathway_a_rule_is_beside_backprop():
    result = ended(record(1.0, (0.9, 1.1)), record(-0.2, (-0.3, -0.1)))
    result.evaluation["backprop_sgd"] = record(0.4, (0.3, 0.5))
    row = row_of(Planned("two", "digits", Config(pathway="symmetric")), TWO, result)
    assert (row.reference, row.gained) == ("backprop_sgd", 0.4)


@pytest.mark.slow  # compiles
def test_a_rule_is_read_from_its_run_and_measured_in_other_worlds(tmp_path, monkeypatch, capsys):
    few = Effort(
        common_tasks=8, ranking_tasks=8, refit_steps=1, baseline_tasks=8, evaluation_tasks=8
    )
    shape = {"ways": 2, "shots": 5, "queries": 2, "layers": (6,), "effort": few, "meta_batch": 4}
    data = load_data("digits", None, shape=Config(**shape).shape)
    pool = Pool(F0=-e_post * y_pre, F2=-e_post * e_pre)
    run = tmp_path / "own-digits-0"
    result = search(pool, data, Config(meta_steps=2, **shape), run=run)
    rule = findings.rule_of(str(run))
    assert rule.pool.names == result.support
    assert rule.theta == tuple(result.theta[name] for name in rule.pool.names)
    assert findings.rule_of(f"{run}:1").pool.names == ("F0",)
    monkeypatch.setattr(findings, "WORLDS", {"small": ("digits", (6,))})
    kept = tmp_path / "rows.json"
    asked = [str(run), "--json", str(kept), "--tasks", "4", "--worlds", "small", "--backprops"]
    findings.main(asked)
    rows = json.loads(kept.read_text())["rows"]
    assert [row["name"] for row in rows[:6]] == [
        "backprop_sgd",
        "backprop_adam",
        "feedback_alignment",
        *findings.BACKPROPS,
    ]
    assert (rows[6]["name"], rows[6]["lifetimes"]) == (str(run), 4)
    assert "small" in capsys.readouterr().out
    findings.main(asked)  # nothing is measured again
    assert json.loads(kept.read_text())["rows"] == rows


def test_what_has_not_ended_is_left_out_of_a_table(tmp_path, capsys):
    searches.main(["--runs", str(tmp_path), "--read-only", "--pools", "paper_pool"])
    assert "0 of 0 searches end worse" in capsys.readouterr().out


def test_of_a_hall_those_are_looked_at_that_none_undercuts_which_asks_no_more():
    def rule(terms, loss, needs=(), chosen=False):
        return HallRecord(
            support=terms,
            theta={},
            needs=needs,
            loss=loss,
            loss_interval=(0.0, 2.0),
            lifetimes=8,
            diverged=0,
            behind=0.0,
            behind_interval=(0.0, 0.0),
            chosen=chosen,
        )

    one, two = rule(("a",), 0.9), rule(("a", "b"), 0.5, ("dendritic",))
    plain, tied = rule(("a", "c"), 0.8), rule(("b", "c"), 0.55, ("dendritic",))
    worse, chosen = rule(("a", "b", "c"), 0.6, ("dendritic",)), rule(("a", "b", "d"), 0.7, (), True)
    hall = [one, two, tied, plain, worse, chosen]
    assert not_undercut(hall) == (one, two, plain, chosen)
