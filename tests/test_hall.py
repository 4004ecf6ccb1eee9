"""The hall of fame: which rules are in it, which one is chosen, and how it is told and kept."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from test_report import POOL, a_result, evaluation, printed, row_of, texts

from rulesearch.data import load_data
from rulesearch.errors import RuleSearchError
from rulesearch.figures import figures
from rulesearch.figures.run import hall_figure
from rulesearch.given_rule import load_rule
from rulesearch.notation import Pool
from rulesearch.pursuit import Entry, Place, hall_of_fame
from rulesearch.pursuit.hall import choice, front, gain_of
from rulesearch.records.plain import to_plain
from rulesearch.report import hall_csv, latex, result_text
from rulesearch.report.hall import COLUMNS, choice_text
from rulesearch.result import HallRecord, Result
from rulesearch.search import search
from rulesearch.search.__main__ import main
from rulesearch.statistics import Scores, compare

# --- who is in it, and who is chosen -------------------------------------------------------------

TASKS = 12


def entry_of(support, losses):
    outcomes = Scores(
        tuple(range(TASKS)), tuple(losses), (0.5,) * TASKS, (3.0,) * TASKS, (False,) * TASKS
    )
    phi = tuple(float(term in support) for term in range(6))
    return Entry(Place(tuple(support), phi), phi, outcomes)


@st.composite
def halls(draw):
    """Rules of some of six terms, on the same lifetimes; the first one has one term."""
    supports = draw(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=12))
    noise = np.random.default_rng(draw(st.integers(0, 10**6)))
    tasks = noise.normal(scale=0.5, size=TASKS)
    own = draw(st.sampled_from([0.01, 0.1, 0.5]))
    found = []
    for support in [{0}, *supports]:
        level = draw(st.floats(0.5, 2.0))
        found.append(entry_of(sorted(support), level + tasks + own * noise.normal(size=TASKS) + 2))
    return found


@settings(deadline=None)
@given(halls())
def test_the_best_of_each_size_stands_first_and_near_ones_behind_it(entries):
    hall = hall_of_fame(entries)
    assert [r.entry.terms for r in hall] == sorted(r.entry.terms for r in hall)
    for size in {entry.terms for entry in entries}:
        there = [ranked for ranked in hall if ranked.entry.terms == size]
        of_size = [entry for entry in entries if entry.terms == size]
        assert there[0].entry.loss == min(entry.loss for entry in of_size)
        assert there[0].behind.mean == 0
        assert [r.entry.loss for r in there] == sorted(r.entry.loss for r in there)
        supports = [frozenset(r.entry.place.support) for r in there]
        assert len(set(supports)) == len(supports)
        # In it are those, and only those, of which one cannot say that they are worse.
        for support in {frozenset(entry.place.support) for entry in of_size}:
            best = min(
                (e for e in of_size if set(e.place.support) == support), key=lambda e: e.loss
            )
            worse = compare(best.outcomes, there[0].entry.outcomes).interval[0] > 0
            assert (support in supports) == (not worse)


@settings(deadline=None)
@given(halls(), st.randoms(use_true_random=False))
def test_the_order_in_which_rules_are_found_does_not_matter(entries, draw):
    mixed = draw.sample(entries, len(entries))
    assert hall_of_fame(mixed) == hall_of_fame(entries)


@settings(deadline=None)
@given(halls(), st.floats(0, 0.9), st.booleans())
def test_the_choice_has_the_fewest_terms_that_give_away_no_more_than_allowed(
    entries, parsimony, rival
):
    reference = entries[0] if rival else None
    best_of_sizes = front(hall_of_fame(entries))
    best = min(best_of_sizes, key=lambda entry: entry.loss)
    gain = gain_of(best, reference)
    chosen = choice(best_of_sizes, reference, parsimony)
    if rival and gain.interval[0] <= 0:
        assert chosen is reference
        return
    allowed = best.loss + parsimony * max(gain.mean, 0.0)
    assert chosen.loss <= allowed
    assert all(entry.loss > allowed for entry in best_of_sizes if entry.terms < chosen.terms)


# --- how it is told ------------------------------------------------------------------------------


def in_hall(theta, loss, given_away, chosen=False, needs=(), behind=0.0, shown=None):
    return HallRecord(
        support=tuple(theta),
        theta=theta,
        needs=needs,
        loss=loss,
        loss_interval=(loss - 0.02, loss + 0.02),
        lifetimes=200,
        diverged=0,
        behind=behind,
        behind_interval=(behind - 0.01, behind + 0.01) if behind else (0.0, 0.0),
        given_away=given_away,
        chosen=chosen,
        evaluation=shown
        or replace(evaluation(0.7, 0.69, 0.71, loss), loss_interval=(loss - 0.03, loss + 0.03)),
    )


HALL = (
    in_hall({"F0": 0.03}, 1.8, 1.0),
    in_hall({"F0": 0.02, "F9": 0.005}, 0.95, 0.101, needs=("dendritic", "retrograde")),
    in_hall({"F0": 0.025, "F2": -0.05}, 0.96, 0.111, behind=0.01),
    in_hall({"F0": 0.01123, "F2": -0.05134, "F9": 1.2345e-5}, 0.86, 0.012, chosen=True),
    in_hall({"F0": 0.01, "F2": -0.05, "F7": 0.2, "F9": 0.002}, 0.85, 0.0, needs=("global",)),
)


def a_found(**changes):
    return a_result(hall=HALL, config={"parsimony": 0.05, "l1": 0.0}, **changes)


def rows(text, after):
    """The words of each line of a table, joined."""
    part = text[text.index(after) :].splitlines()[3:]
    return [" ".join(line.split()) for line in part[: part.index("")]]


def test_the_table_has_each_size_with_those_as_good_and_marks_the_choice():
    text = printed(result_text(a_found(), Path("r")), 140)
    first, second, near, chosen, last, *caption = rows(text, "Hall of fame")
    assert first == "1 F0 - 1.80 100 % 0.700 [0.690, 0.710] 1.80 [1.77, 1.83] 0"
    assert second.startswith("2 F0, F9 dendritic, retrograde 0.950 10 %")
    assert near.startswith("= 2 F0, F2 - 0.960 11 %")
    assert chosen.startswith("> 3 F0, F2, F9 - 0.860 1.2 %")
    assert last.startswith("4 F0, F2, F7, F9 global 0.850 0 %")
    told = " ".join(caption)
    assert "of each column 95 % intervals hold for all 5 of them." in told
    assert "=: not told apart from the best of its size by the paired 95 % interval" in told
    assert told.endswith(
        "Chosen: F0, F2, F9, which gives away 1.2 %: the fewest terms within 5 % (--parsimony) of "
        "the gain of the best rule; the best of 2 gives away 10 %."
    )
    assert "Elimination" not in text


def test_the_coefficients_say_which_rules_have_the_terms_that_this_one_has_not():
    text = printed(result_text(a_found(), Path("r")), 120)
    assert row_of(text, "F7", "Coefficients")[-5:] == ["0", "from", "4", "terms", "on"]
    assert row_of(text, "F3", "Coefficients")[-3:] == ["in", "no", "rule"]
    table = text[text.index("Coefficients") : text.index("Hall of fame")]
    assert "trials" not in table
    assert "L1" not in table


def test_a_reference_that_nothing_beats_is_said_to_be_that():
    alone = [replace(entry, chosen=len(entry.support) == 1) for entry in HALL]
    assert choice_text(replace(a_found(), hall=tuple(alone))) == (
        "Chosen: F0, as no rule of the hall of fame clearly gains anything over it."
    )
    nothing = [replace(entry, given_away=None) for entry in alone]
    assert "as no rule" in choice_text(replace(a_found(), hall=tuple(nothing)))


def test_of_many_as_good_ones_some_are_shown_and_the_rest_counted():
    more = [in_hall({"F0": 1.0, f"Z{i}": 1.0}, 0.95, 0.1, behind=0.001) for i in range(9)]
    result = replace(a_found(), hall=(*HALL[:2], *more, *HALL[3:]))
    text = printed(result_text(result, Path("r")), 140)
    table = text[text.index("Hall of fame") :]
    assert table.count("\n  = ") == 3
    assert "6 more of these are in hall_of_fame.csv." in " ".join(table.split())


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_it_fits_any_width(width):
    text = printed(result_text(a_found(), Path("r")), width)
    assert max(map(len, text.splitlines())) <= width
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_file_has_all_of_it_in_columns():
    table = list(csv.DictReader(io.StringIO(hall_csv(POOL, HALL))))
    assert len(table) == len(HALL)
    assert tuple(table[0]) == COLUMNS
    for row, entry in zip(table, HALL, strict=True):
        assert int(row["terms"]) == len(entry.support)
        assert row["support"] == ",".join(entry.support)
        read = (pair.split("=") for pair in row["coefficients"].split())
        assert {name: float(value) for name, value in read} == entry.theta
        assert float(row["loss"]) == entry.loss
        assert (row["chosen"] == "yes") == entry.chosen
        assert float(row["set_aside_loss_high"]) == entry.evaluation.loss_interval[1]
    assert table[0]["rule"] == "dW = 0.0300*(-e_post*y_pre)"
    running = [replace(entry, evaluation=None) for entry in HALL]
    first, *_ = csv.DictReader(io.StringIO(hall_csv(POOL, running)))
    assert {first[name] for name in COLUMNS if name.startswith("set_aside")} == {""}


def test_the_figure_shows_losses_by_size_with_the_choice_and_what_else_there_is(tmp_path):
    figure = hall_figure(a_found())
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["best of its size, on the search's images"].get_xydata().tolist() == [
        *([1, 1.8], [2, 0.95], [3, 0.86], [4, 0.85])
    ]
    others = lines["not told apart from it, or with other needs"]
    assert others.get_xydata().tolist() == [[2, 0.96]]
    assert lines["chosen: F0, F2, F9"].get_xydata().tolist() == [[3, 0.86]]
    (bars,) = axes.containers
    assert bars.has_yerr
    assert {"number of terms", "query loss (nats)", "backprop by SGD 0.851"} <= set(texts(figure))
    written = {path.name for path in figures([], a_found(), tmp_path)}
    assert {"hall_of_fame.pdf", "hall_of_fame.png"} <= written


# --- any entry, named later ----------------------------------------------------------------------


def test_another_rule_takes_the_place_of_the_one_chosen(tmp_path):
    result = a_found(elimination=())
    two = result.with_terms(2)
    assert two.support == ("F0", "F9")
    assert two.theta == {"F0": 0.02, "F2": 0.0, "F3": 0.0, "F7": 0.0, "F9": 0.005}
    assert two.theta_interval == {}
    assert two.evaluation["rule"] == HALL[1].evaluation
    assert two.evaluation["backprop_sgd"] == result.evaluation["backprop_sgd"]
    assert two.message == (
        "F0, F9 out of the hall of fame; the search chose F0, F2, F9; the rule's intervals are "
        "wider, for they hold at 95 % for all 5 rules looked at"
    )
    assert two.with_terms(4).message == (
        "F0, F2, F7, F9 out of the hall of fame; the search chose F0, F2, F9; the rule's intervals "
        "are wider, for they hold at 95 % for all 5 rules looked at"
    )
    searched = replace(result, config=to_plain(SMALL.resolved()))
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "result.json").write_text(searched.to_json())
    names = [load_rule(tmp_path / "found", wanted).name for wanted in (None, 3, 2, ["F0"])]
    assert names == ["found", "found", "found of 2 terms", "found of 1 term"]
    assert searched.rule(2).source.endswith(", 2 terms of its hall of fame, not settled")
    assert "hall" not in searched.rule().source
    assert str(two).startswith("dW = 0.0200*(-e_post*y_pre) + 0.00500*(")
    assert "F_9" in latex(two)
    assert "e_{\\mathrm{pre}}" not in latex(two)
    text = printed(result_text(two, Path("r")), 120)
    assert row_of(text, "F0", "Coefficients")[-3:] == ["0.0200", "not", "settled"]
    for names in (("F2", "F0"), "F0,F2", ["F0", "F2"]):
        assert result.with_terms(names).support == ("F0", "F2")
    assert result.with_terms(3) is result
    with pytest.raises(RuleSearchError, match=r"2\.0: give a number of terms, or their names"):
        result.with_terms(2.0)
    assert Result.from_json(two.to_json()) == two


def test_what_was_paired_with_the_rule_chosen_says_nothing_of_another():
    result = a_found(elimination=())
    paired = replace(result.evaluation["backprop_sgd"], gained=0.2, gained_interval=(0.1, 0.3))
    result = replace(result, evaluation={**result.evaluation, "backprop_sgd": paired})
    beside = result.with_terms(2).evaluation["backprop_sgd"]
    assert beside == replace(paired, gained=None, gained_interval=(None, None))
    said = "Its loss minus a rival's"
    assert said in printed(result_text(result, Path("r")), 120)
    assert said not in printed(result_text(result.with_terms(2), Path("r")), 120)


def test_a_rule_that_is_not_there_is_one_line():
    with pytest.raises(RuleSearchError) as refusal:
        a_found().with_terms(7)
    assert refusal.value.lines == (
        "no rule of that size in the hall of fame; there are rules of 1, 2, 3, 4 terms",
    )
    for names, line in {
        "F0,F3": "no rule of the hall of fame has F3; give a number of terms (1, 2, 3, 4), or "
        "names of terms with commas",
        "-1": "no rule of the hall of fame has -1; give a number of terms (1, 2, 3, 4), or names "
        "of terms with commas",
        "F2,F9": "no such rule in the hall of fame; of as many terms there are F0,F9; F0,F2",
        "F0,F2,F7": "no such rule in the hall of fame; of as many terms there are F0,F2,F9",
    }.items():
        with pytest.raises(RuleSearchError) as refusal:
            a_found().with_terms(names)
        assert refusal.value.lines == (line,)
    with pytest.raises(RuleSearchError, match="no hall of fame in this run; only a search by"):
        a_result().with_terms(1)


def test_the_command_shows_any_rule_of_a_finished_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/result.json").write_text(a_found().to_json())
    assert main(["--show", "run", "--terms", "2"]) == 0
    assert capsys.readouterr().out.startswith("dW = 0.0200*(-e_post*y_pre) + 0.00500*(")
    assert main(["--show", "run", "--terms", "F2,F0", "--latex"]) == 0
    assert capsys.readouterr().out == latex(a_found().with_terms(["F0", "F2"]))
    assert main(["--show", "run", "--terms", "9"]) == 2
    assert capsys.readouterr().err == (
        "--show run --terms 9: no rule of that size in the hall of fame; there are rules of "
        "1, 2, 3, 4 terms\n"
    )
    assert main(["grammar.py", "--terms", "2"]) == 2
    assert (
        capsys.readouterr().err == "--terms: beside --show RUN or --from RUN, of a finished run\n"
    )


# --- of a search ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", shape=SMALL.shape)


@pytest.mark.slow
def test_a_search_keeps_its_hall_of_fame_as_it_grows(tmp_path, digits):
    pool = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", F3="-W")
    kept, path = [], tmp_path / "run" / "hall_of_fame.csv"

    def look(_):
        text = path.read_text() if path.exists() else ""
        if not kept or kept[-1] != text:
            kept.append(text)

    result = search(pool, digits, SMALL, run=tmp_path / "run", on_stage=look, on_step=look)
    growing = [list(csv.DictReader(io.StringIO(text))) for text in kept if text]
    assert [row["support"] for row in growing[0]] == ["F0"]
    assert len(growing) > 2
    seen = [{row["support"] for row in table} for table in growing]
    assert {",".join(entry.support) for entry in result.hall} <= set.union(*seen)
    assert all(row["chosen"] == "no" for table in growing for row in table)
    assert path.read_text() == hall_csv(result.pool, result.hall)
    (chosen,) = [entry for entry in result.hall if entry.chosen]
    assert chosen.support == result.support
    assert chosen.evaluation is not None
    assert chosen.evaluation.accuracy == result.evaluation["rule"].accuracy
    for entry in result.hall:
        assert result.with_terms(entry.support).support == entry.support


def test_other_protocols_have_none(tmp_path, digits):
    pool = Pool(F0="-e_post*y_pre", F3="-W")
    config = replace(SMALL, protocol="paper", meta_batch=None)
    result = search(pool, digits, config, run=tmp_path / "run")
    assert result.hall == ()
    assert not list((tmp_path / "run").glob("hall*"))
    assert json.loads((tmp_path / "run" / "result.json").read_text())["hall"] == []
    console = Console(file=io.StringIO(), width=100)
    console.print(result_text(result, tmp_path))
    assert "Hall of fame" not in console.file.getvalue()
