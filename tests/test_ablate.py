"""Rules beside each other, and without each of their terms: what differs, and what it is worth."""

from dataclasses import replace

import pytest
import torch

import rulesearch.ablate.refitting as refitting
from rulesearch.ablate import ablate
from rulesearch.ablate import whole as whole_module
from rulesearch.ablate.__main__ import main as ablate_main
from rulesearch.ablate.refitting import Refits
from rulesearch.ablate.whole import with_candidates
from rulesearch.compare import compare
from rulesearch.compare.__main__ import main as compare_main
from rulesearch.compare.table import networks_of, terms_of
from rulesearch.errors import RuleSearchError
from rulesearch.given_rule import load_rule, rule_from_text
from rulesearch.notation import Pool
from rulesearch.rule import Network, Rule
from rulesearch.statistics import Scores

TINY = {"layers": (6,), "ways": 2, "shots": 4, "queries": 4, "kernel": "einsum"}
FEW = {**TINY, "dataset": "digits", "lifetimes": 6, "tuning_tasks": 4}
FLAGS = ["--layers", "6", "--ways", "2", "--shots", "3", "--queries", "2", "--kernel", "einsum"]
FLAGS += ["--dataset", "digits", "--lifetimes", "2", "--tuning-tasks", "2", "--quiet"]
#: Learns by its first term; the second unlearns, so that the rule is better without it.
BAD = rule_from_text(["-e_post*y_pre", "-W"], [0.05, 0.3], name="bad")
DELTA = rule_from_text(["-e_post*y_pre"], [0.05], name="delta")


@pytest.fixture(scope="module", autouse=True)
def short():
    """Steps of few lifetimes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refitting, "ACCEPTED", replace(refitting.ACCEPTED, meta_batch=4))
        patch.setattr(refitting, "OVERLAP_TASKS", 2)
        patch.setattr(refitting, "OVERLAP_POINTS", 2)
        yield


# --- compare --------------------------------------------------------------------------------------


def test_terms_are_the_same_up_to_a_factor_and_by_layers():
    one = Rule("one", Pool(a="-e_post*y_pre", b="-W", where={"b": (-1,)}), (0.1, 0.2))
    other = Rule("other", Pool(x="2*e_post*y_pre", y="-W"), (-0.3, 0.4))
    rows = terms_of([one, other]).rows
    assert [(row.layers, row.coefficients) for row in rows] == [
        ((), (0.1, pytest.approx(0.6))),
        ((-1,), (0.2, None)),
        ((), (None, 0.4)),
    ]
    assert [row.common for row in rows] == [True, False, False]


def test_traces_of_one_name_that_differ_are_two_terms():
    slow, fast = (
        rule_from_text(["m_post*y_pre"], [1.0], traces=[f"m_post = y_post @ {d}"], name=f"d{d}")
        for d in (0.9, 0.5)
    )
    assert len(terms_of([slow, fast]).rows) == 2


def test_networks_that_differ_are_said():
    direct = Rule("direct", DELTA.pool, DELTA.theta, network=Network(pathway="direct"))
    assert networks_of([DELTA, direct]) == ("pathway: delta random, direct direct",)


def test_rules_are_paired_on_common_tasks():
    twice = Rule("twice", DELTA.pool, (0.1,))
    found = compare([DELTA, BAD, twice], **FEW)
    pairs = [(name, entry.name) for name, entry in found.evaluated.against]
    assert pairs == [("delta", "bad"), ("delta", "twice"), ("bad", "twice")]
    assert len({entry.scores.seeds for entry in found.evaluated.entries}) == 1
    assert "Terms and coefficients" in str(found)
    assert "rate" not in str(found)  # nothing has one


def test_the_same_rule_twice_differs_by_nothing():
    twin = Rule("twin", DELTA.pool, DELTA.theta)
    (less,) = compare([DELTA, twin], **FEW).evaluated.against.values()
    assert less.loss.interval == (0.0, 0.0)
    assert less.chance == 1.0
    assert not less.mark


def test_one_rule_cannot_be_compared(tmp_path, capsys):
    assert compare_main(["paper", *FLAGS]) == 2
    assert "give two or more" in capsys.readouterr().err
    assert compare_main(["paper", "kolen-pollack", *FLAGS, "--out", str(tmp_path)]) == 0
    assert {"comparison.csv", "terms.csv", "map.png"} <= {p.name for p in tmp_path.iterdir()}


# --- ablate ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain():
    return ablate(BAD, refit_steps=0, **FEW)


def test_every_term_is_left_out_in_turn(plain):
    assert [(row.change, row.term) for row in plain.rows] == [
        ("whole", ""),
        ("without", "T0"),
        ("without", "T1"),
    ]
    assert plain.rows[2].theta == {"T0": 0.05}


def test_without_a_term_it_is_the_rule_without_it(plain):
    """The same as the shorter rule tried by itself, task by task."""
    alone = compare([DELTA, BAD], **FEW).evaluated.entries
    assert plain.rows[2].scores.loss == pytest.approx(alone[0].scores.loss, rel=1e-6)
    assert plain.rows[0].scores == alone[1].scores


@pytest.mark.parametrize(
    ("rule", "told"), [(DELTA, "Differences"), (BAD, "* holds for all 2 of this table together")]
)
def test_as_many_differences_are_told_of_as_there_are(rule, told):
    text = " ".join(str(ablate(rule, refit_steps=0, **FEW)).split())
    assert (told in text) is (rule is BAD)


def test_a_term_that_unlearns_is_told(plain):
    less = plain.against[2]
    assert less.loss.mean < 0
    assert plain.against[0] is None


def test_a_refit_is_no_worse_on_its_tasks_and_keeps_the_support():
    found = ablate(BAD, refit_steps=1, **FEW)
    rows = {row.label: row for row in found.rows}
    assert set(rows["whole, refitted"].theta) <= {"T0", "T1"}
    assert set(rows["without T1, refitted"].theta) == {"T0"}
    # Weights that decay by a third a step let nothing be learned: half of that is what is begun at.
    assert rows["whole, refitted"].scores.mean_loss < rows["whole"].scores.mean_loss
    assert str(found).count("refitted") >= 3


def test_the_work_of_a_term_is_taken_over():
    """Of two terms that do the same, the one that stays begins with both coefficients."""
    from rulesearch.evaluate.engine import Images
    from rulesearch.evaluate.options import asked_for, own_scenario, scenarios
    from rulesearch.evaluate.rivals import Site, of_rule

    rule = rule_from_text(["-e_post*y_pre", "-e_post*y_pre**2"], [0.05, 0.03], name="double")
    asked = asked_for(FEW)
    (scenario,) = scenarios(asked, own_scenario(rule))
    networks = of_rule(Site(scenario, Images([rule], asked).of(scenario), asked), rule).searching
    plainly, over = Refits(networks, rule.theta, (1, 2), 1, 0).without(1)
    assert plainly == (0.05, 0.0)
    assert over[0] > 0.06  # the squares of pixels are mostly what the pixels are


def test_a_pool_is_added_term_by_term():
    pool = Pool(same="2*e_post*y_pre", decay="-W", hebb="y_post*y_pre")
    found = ablate(DELTA, pool=pool, refit_steps=1, **FEW)
    added = [row for row in found.rows if row.change == "with"]
    assert [row.term for row in added] == ["decay", "hebb"]  # the rule's own is no candidate
    assert all(set(row.theta) <= {"T0", row.term} for row in added)
    assert all(row.refitted for row in added)


def test_a_candidate_that_adds_nothing_is_left_out_and_said():
    rule = rule_from_text(["-e_post*y_pre", "-W"], [0.05, 1e-3], name="two")
    pool = Pool(sum="e_post*y_pre + W", hebb="y_post*y_pre")
    both, theta, names, notes = whole_module.with_candidates(rule.pool, rule, pool)
    assert (both.names, theta, names) == (("T0", "T1", "hebb"), (0.05, 1e-3, 0.0), ("hebb",))
    assert "sum of the pool is left out" in notes[0]


def test_an_ablation_goes_on(tmp_path, monkeypatch):
    whole = ablate(DELTA, refit_steps=1, out=tmp_path, **FEW)
    monkeypatch.setattr(whole_module._Study, "_refit", lambda *_: pytest.fail("it is known"))
    monkeypatch.setattr(whole_module._Study, "_scores", lambda *_: pytest.fail("it is known"))
    assert ablate(DELTA, refit_steps=1, out=tmp_path, **FEW).rows == whole.rows


def test_refits_see_no_image_that_tells_what_they_are_worth():
    from rulesearch.evaluate.engine import Images
    from rulesearch.evaluate.options import asked_for, own_scenario, scenarios
    from rulesearch.evaluate.rivals import Site, of_rule

    asked = asked_for(FEW)
    (scenario,) = scenarios(asked, own_scenario(BAD))
    of = of_rule(Site(scenario, Images([BAD], asked).of(scenario), asked), BAD)
    sides = [{x.tobytes() for x in side.images.x} for side in (of.searching, of.set_aside)]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["paper", *FLAGS, "--refit-steps", "-1"], "--refit-steps -1: must be at least 0"),
        (["paper", *FLAGS, "--shots", "2,3"], "shots: several values"),
        (["paper", "kolen-pollack", *FLAGS], "kolen-pollack: a second rule"),
        (["paper", *FLAGS, "--pool", "nowhere.py"], "nowhere.py: no such file"),
        (["paper", *FLAGS, "--pool", "grammar/bcm.py", "--refit-steps", "0"], "leave the pool out"),
        (["paper", "--rivals", "none"], "unrecognized arguments"),
    ],
)
def test_what_cannot_be_ablated_is_told_in_a_line(arguments, said, capsys):
    assert ablate_main(arguments) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_the_command_writes_the_table(tmp_path, capsys):
    assert ablate_main(["paper", *FLAGS, "--refit-steps", "0", "--out", str(tmp_path)]) == 0
    assert "without F9" in capsys.readouterr().out
    assert (tmp_path / "ablation.csv").read_text().count("\n") == 5


@pytest.mark.slow
def test_feedback_that_learns_is_ablated_too():
    """Its terms stand behind those of W, whatever is added."""
    rule = load_rule("kolen-pollack")
    found = ablate(rule, pool=Pool(hebb="y_post*y_pre"), refit_steps=1, **FEW)
    labels = [row.label for row in found.rows]
    assert labels[2:] == [
        *("without kp", "without kp, refitted", "without decay", "without decay, refitted"),
        "with hebb, refitted",
    ]
    assert torch.isfinite(torch.tensor(found.rows[-1].scores.loss)).all()
    assert isinstance(found.rows[0].scores, Scores)


def test_an_added_term_without_a_refit_is_refused():
    with pytest.raises(RuleSearchError, match="leave the pool out"):
        ablate(DELTA, pool=Pool(hebb="y_post*y_pre"), refit_steps=0, **FEW)


def test_candidates_that_are_left_out_are_told():
    rule = Rule("first", Pool(F0="-e_post*y_pre", where={"F0": (1,)}), (0.05,))
    pool = Pool(
        low="-e_post*e_pre",
        high="-e_post*e_pre",
        again="-e_post*y_pre",
        bias="-b_post*y_pre",
        where={"low": (1,), "high": (2,), "again": (2,), "bias": (1,)},
    )

    def look(alone):
        if "b_post" in str(alone.pool.terms[0].expression):
            raise RuleSearchError("no biases here")

    _, _, names, said = with_candidates(rule.pool, rule, pool, look)
    assert names == ("low",)
    assert said == (
        "high of the pool is left out: low is the same in other layers",
        "again of the pool is left out: F0 is the same in other layers",
        "bias of the pool is left out: no biases here",
    )


def test_a_rule_may_be_called_as_a_column():
    found = terms_of([replace(DELTA, name="term"), replace(DELTA, name="layers")])
    assert {*found.lines[0]} == {"term", "layers", "rule term", "rule layers"}
    assert str(found)
