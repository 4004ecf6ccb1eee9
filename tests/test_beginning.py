"""A search that begins at a rule: which terms it finds, what it says, and what it refuses."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from commands import small_defaults
from small_runs import ARGUMENTS, CONFIG, EFFORT, content, make_small
from test_going_on import stopping
from test_pursuit import AIMS, WORLD, means_of
from test_pursuit import EFFORT as EFFORT_THERE

from rulesearch import search
from rulesearch.data import TaskShape, load_data
from rulesearch.errors import RuleSearchError
from rulesearch.given_rule import load_rule, pool_around
from rulesearch.meta import lifetime_seeds
from rulesearch.notation import Pool, pool_to_plain, trace, y_post, y_pre
from rulesearch.pursuit import Opening, Place, pursue, settling
from rulesearch.result import EvaluationRecord, Result
from rulesearch.rule import Network, Rule, Sought, rule_from_plain, rule_to_plain, toml_of
from rulesearch.rule.seen import searches_of
from rulesearch.search import prepare
from rulesearch.search.__main__ import main
from rulesearch.search.arguments import read
from rulesearch.search.beginning import Begun, became, differences, joined, theta_in
from rulesearch.search.command import asked
from rulesearch.search.paths import directory
from rulesearch.statistics import measure

DELTA, DECAY = "-e_post*y_pre", "-W"
OPTIONS = [*ARGUMENTS[4:-4], "--meta-batch", "2", "--meta-steps", "2"]
FOUND = Rule("found", Pool(mine=DELTA, other="2*W"), (0.05, -0.001))
POOL = Pool(T0="-2*e_post*y_pre", T1="-e_post*e_pre", T2=DECAY)
SMALL = replace(CONFIG, meta_steps=2, meta_batch=2)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch.setattr)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", shape=SMALL.shape)


# --- the rule's terms in the pool ----------------------------------------------------------------


def test_terms_are_found_by_what_they_are_and_not_by_name_or_factor():
    assert theta_in(POOL, FOUND, 2) == (0.025, 0.0, 0.002)
    names = Pool(mine="-e_post*e_pre", other=DELTA, third=DECAY)
    assert theta_in(names, FOUND, 2) == (0.0, 0.05, 0.002)


def test_what_is_of_another_trace_or_lacking_is_refused_by_name():
    def bcm(decay):
        return Pool(bcm=y_post * trace("slow_post", y_post, decay=decay) * y_pre)

    assert theta_in(bcm(0.9), Rule("bcm", bcm(0.9), (1.0,)), 2) == (1.0,)
    with pytest.raises(RuleSearchError, match=r"--from bcm: the pool lacks its term bcm, "):
        theta_in(bcm(0.9), Rule("bcm", bcm(0.95), (1.0,)), 2)
    with pytest.raises(RuleSearchError) as refusal:
        theta_in(Pool(F="y_post*y_pre"), FOUND, 2)
    assert refusal.value.lines == tuple(
        f"--from found: the pool lacks its term {term}; put it into the grammar, or leave the "
        "grammar out"
        for term in (f"mine, {DELTA}", "other, 2*W")
    )


def test_changes_of_feedback_are_no_changes_of_weights():
    rule = load_rule("kolen-pollack")
    assert theta_in(rule.pool, rule, 3) == rule.theta
    weights = Pool(**{t.name: t.text for t in rule.pool if t.changes == "W"})
    with pytest.raises(RuleSearchError, match="the pool lacks its term"):
        theta_in(weights, rule, 3)


def test_layers_apart_get_the_coefficient_of_all_and_others_are_refused():
    rule = Rule("delta", Pool(F0=DELTA), (0.1,))
    apart = Pool(a=DELTA, b=DELTA, where={"a": (1,), "b": (2, 3)})
    assert theta_in(apart, rule, 3) == (0.1, 0.1)
    last = Rule("last", Pool(F0=DELTA, where={"F0": (-1,)}), (0.1,))
    assert theta_in(Pool(a=DELTA, b=DELTA, where={"a": (1,), "b": (2,)}), last, 2) == (0.0, 0.1)
    with pytest.raises(RuleSearchError, match=r"acts in layers 3, and a of the pool, .* in others"):
        theta_in(apart, last, 3)
    with pytest.raises(RuleSearchError, match="acts in layers 1, 2, 3, 4, and a of the pool"):
        theta_in(apart, rule, 4)


def test_a_pool_is_joined_by_what_it_lacks():
    assert joined(POOL, FOUND) is POOL
    both = joined(Pool(mine="y_post*y_pre", x=DECAY), FOUND)
    assert [(t.name, t.text) for t in both] == [
        *(("mine", "y_post*y_pre"), ("x", DECAY), ("begun_mine", DELTA))
    ]
    with pytest.raises(RuleSearchError, match="adds nothing to the pool"):
        joined(Pool(a="y_post*y_pre", b="y_post*y_pre - e_post*y_pre"), FOUND)


def test_a_rule_for_other_networks_or_of_images_set_aside_is_said_to_be(digits):
    own = Sought(dataset="digits,emnist", layers=((6,),), ways=2, shots=3, queries=2)
    begun = Begun(replace(FOUND, network=Network(pathway="direct"), sought=own), (0.1,))
    classes = load_data("digits", shape=SMALL.shape, held_out_classes=3)
    network, seen = differences(begun, FOUND.pool, SMALL, [classes])
    assert network == "begun with found, which is for --pathway direct"
    assert seen == (
        "begun with found, whose search had images of the classes of digits that are held out here"
    )
    assert not [*differences(Begun(FOUND, (0.1,)), FOUND.pool, SMALL, [digits])]


# --- the course ----------------------------------------------------------------------------------


def pursued(begin, simple=None):
    """A pursuit in a world where terms 0, 1 and 3 matter, and the rules that it compared."""
    seen = []
    means = means_of(WORLD, effort=EFFORT_THERE, start=0.03)
    means = replace(means, on_compared=lambda place, theta, outcomes: seen.append(place.phi))
    reference = Place((0,), means.setting.start)
    return pursue(means, AIMS, Opening(reference, tuple(range(5)), simple, begin)), seen


WRONG = Place((1, 2), (0.0, -0.01, 0.02, 0.0, 0.0))
PART = Place((0, 1), (0.02, -0.01, 0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("begin", "simple", "support", "joins"),
    [
        (WRONG, None, {0, 1, 2, 3, 4}, set()),
        # At a rule that learns the simplest terms join by tests, as all others do.
        (PART, (0, 3), {0, 1}, {3}),
        # At one that does not, the reference takes its place.
        (WRONG, (0, 3), {1, 2}, {1, 3}),
    ],
)
def test_a_pursuit_begins_at_a_rule_and_finds_what_matters(begin, simple, support, joins):
    found, seen = pursued(begin, simple)
    assert seen[1] == begin.phi
    assert {*found.rounds[0].starts[0].support} <= support
    assert found.rounds[0].tested == ()
    assert {each.term for one in found.rounds for each in one.tested if each.joins} == joins
    assert sorted(found.chosen.place.support) == [0, 1, 3]
    assert found.coefficients.theta == pytest.approx((0.03, -0.02, 0, 0.015, 0), abs=0.004)


def test_a_rule_that_nothing_beats_is_still_in_the_hall():
    best = Place((0, 1, 3), (0.03, -0.02, 0.0, 0.015, 0.0))
    found, _ = pursued(best)
    least = min(ranked.entry.loss for ranked in found.hall)
    assert least <= pursued(None)[0].chosen.loss
    assert sorted(found.chosen.place.support) == [0, 1, 3]


# --- a search ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory, digits):
    """A run that began at a rule, and the stages that it came to."""
    run, labels = tmp_path_factory.mktemp("runs") / "whole", []
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch.setattr)
        small_defaults(patch, EFFORT)
        patch.setattr(settling, "DRAWS", 8)
        search(POOL, digits, SMALL, begin=FOUND, run=run, on_stage=labels.append)
    return run, labels


def test_a_search_says_what_it_added(whole, digits):
    run, labels = whole
    result = Result.load(run)
    assert "common/begun with" in labels
    assert result.config["begin"]["theta"] == {"mine": 0.05, "other": -0.001}
    before, rule = result.evaluation["begun"], result.evaluation["rule"]
    assert before.gained == pytest.approx(before.loss - rule.loss)
    assert "begun with found (T0, T2): " in result.message
    # What it does by itself, whatever its terms are called there.
    (world,) = prepare(FOUND.pool, digits, SMALL).worlds
    seeds = lifetime_seeds(0, "evaluation", 0, before.lifetimes)
    own = measure(world.population(FOUND.pool, held_out=True), FOUND.theta, seeds, 10)
    assert before.loss == pytest.approx(own.mean_loss, rel=1e-4)
    for other in ({"begin": FOUND.times(2)}, {}):
        with pytest.raises(RuleSearchError, match="began at another rule; go on with that, or"):
            search(POOL, digits, SMALL, **other, run=run)


@pytest.mark.slow
def test_the_command_begins_there_and_goes_on_to_the_same_bits(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settling, "DRAWS", 8)
    small_defaults(monkeypatch, EFFORT)
    Path("found.toml").write_text(toml_of(FOUND))
    Path("pool.toml").write_text(tomli_w.dumps(pool_to_plain(POOL)))
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, 3)
        begin = ["pool.toml", "--from", "found.toml", *OPTIONS, "--out", "broken"]
        assert main([*begin, "--quiet"]) == 130
    Path("found.toml").unlink()
    assert main(["--resume", "broken", "--quiet"]) == 0
    assert content("broken") == content(whole[0])


def an_evaluation(accuracy, gained=0.0):
    return EvaluationRecord(
        accuracy=accuracy,
        accuracy_interval=(0.1, 0.9),
        loss=1.0,
        lifetimes=3,
        diverged=0,
        gained=gained,
        gained_interval=(gained - 0.1, gained + 0.1),
    )


def test_what_became_of_the_rule_is_said_in_a_line():
    begun = Begun(FOUND, (0.1, 0.0, 0.2, 0.0))
    shown = {"rule": an_evaluation(0.8), "begun": an_evaluation(0.75, 0.25)}
    assert became(begun, ("A", "B"), "ABCD", shown) == (
        "begun with found (A, C): B joined; C left; on images set aside that gained 0.250 "
        "[0.150, 0.350] of the loss, paired, and accuracy went from 0.750 to 0.800"
    )
    assert "found (A, C): no term joined or left; on" in became(begun, ("A", "C"), "ABCD", shown)


def test_without_a_grammar_it_is_the_pool_of_the_run_or_the_rule_with_further_terms(
    whole, tmp_path
):
    run, _ = whole
    command = read(["--from", str(run), *OPTIONS])
    rule = load_rule(run)
    pool, config = asked(command)
    assert pool == POOL
    assert rule_to_plain(rule) == config.begin
    assert directory(command).name == "from_whole-digits-seed0-1"
    first = Result.load(run).hall[0]
    _, config = asked(read(["--from", str(run), "--terms", str(len(first.support)), *OPTIONS]))
    assert config.begin["theta"] == first.theta
    mine = tmp_path / "mine.toml"
    mine.write_text(toml_of(FOUND))
    pool, _ = asked(read(["--from", str(mine), *OPTIONS]))
    assert pool_to_plain(pool)["terms"] == {"mine": DELTA, "other": "2*W"}
    pool, _ = asked(read(["--from", str(mine), "--term", "-e_post*e_pre", *OPTIONS]))
    assert pool_to_plain(pool)["terms"] == {"T0": "-e_post*e_pre", "mine": DELTA, "other": "2*W"}


def test_what_cannot_begin_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(toml_of(FOUND))
    Path("pool.toml").write_text('[terms]\nF0 = "-e_post*y_pre"\n')

    def said(*arguments):
        assert main([*arguments, "--quiet"]) == 2
        return capsys.readouterr().err

    assert said("--from", "papr") == (
        "--from papr: no run directory, no rule.toml, and no rule that comes along; did you mean "
        "paper? (centred, kolen-pollack, mixture, normalised, paper, summed, synaptic, whitened)\n"
    )
    assert said("pool.toml", "--from", "mine.toml", *ARGUMENTS[4:]) == (
        "--from found: the pool lacks its term other, 2*W; put it into the grammar, or leave the "
        "grammar out\n"
    )
    assert said("--from", "pool.toml") == (
        '--from pool.toml: no table [theta]; a rule has [terms] with F0 = "-e_post*y_pre" and '
        "[theta] with F0 = 0.01 (a grammar has terms alone: it is what a search is given)\n"
    )
    assert said("--from", "mine.toml", "--terms", "2") == (
        "--from mine.toml: no run directory, so there is no hall of fame to take another rule "
        "from\n"
    )
    assert said("pool.toml", "--from", "mine.toml", "--explain").startswith(
        "--from found: the pool lacks its term other, 2*W; put it into the grammar, or leave the "
    )
    assert said("--from", "mine.toml", "--protocol", "robust") == (
        "--from found: --protocol robust has no use for it; leave it out, or take accepted\n"
    )
    assert said("--resume", "run", "--from", "mine.toml") == (
        "--resume run: goes on as it began; leave out --from\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.toml", "pool.toml"]


def test_from_python_a_rule_is_whatever_names_one(digits):
    with pytest.raises(RuleSearchError, match="rule: a float; give a Rule, a Result, a run dir"):
        search(POOL, digits, SMALL, begin=0.5)
    with pytest.raises(RuleSearchError, match="--from paper: the pool lacks its term F2"):
        search(Pool(F0="-e_post*y_pre"), digits, SMALL, begin="paper")
    with pytest.raises(RuleSearchError, match=r"--from found: the pool lacks its term mine"):
        search(Pool(T2=DECAY), digits, replace(SMALL, begin=FOUND))
    assert pool_around("paper", load_rule("paper")).names == ("F0", "F2", "F9")


def test_bounds_of_a_rule_come_along_whatever_terms_it_brings():
    bounded = replace(FOUND, pool=FOUND.pool.bounded({"W": (-0.5, 0.5)}))
    for terms in (FOUND.pool, Pool(x="y_post*y_pre")):
        assert joined(terms, bounded).bounds == (("W", -0.5, 0.5),)
    with pytest.raises(RuleSearchError, match=r"bounds W: .* in one pool and .* in another"):
        joined(FOUND.pool.bounded({"W": (-1, 1)}), bounded)
    (said,) = differences(Begun(bounded, (0.1,)), FOUND.pool, SMALL, [])
    assert said == "begun with found, which is for --bounds W=-0.5,0.5"


def test_a_rule_sought_with_smaller_tasks_has_seen_what_is_set_aside():
    """With larger ones more images are set aside, and others; whatever a file is called."""
    larger = load_data("digits", shape=TaskShape(2, 70, 10))
    own = Sought(dataset="digits", layers=((6,),), ways=2, shots=1, queries=1)
    (said,) = differences(Begun(replace(FOUND, sought=own), (0.1,)), FOUND.pool, SMALL, [larger])
    before = load_data("digits", shape=TaskShape(2, 1, 1))
    used = len(set(larger.held_out.rows.tolist()) & set(before.search.rows.tolist()))
    assert f"used {used:,} of the {len(larger.held_out.x):,} images of digits" in said
    chain = replace(own, shots=70, queries=10, begun=own)
    (again,) = differences(Begun(replace(FOUND, sought=chain), (0.1,)), FOUND.pool, SMALL, [larger])
    assert again == said
    same = replace(chain, begun=None)
    assert not [
        *differences(Begun(replace(FOUND, sought=same), (0.1,)), FOUND.pool, SMALL, [larger])
    ]


def test_where_a_rule_began_is_read_back():
    own = Sought(dataset="digits", layers=((6,),), ways=2, shots=1, queries=1)
    chain = replace(FOUND, sought=replace(own, shots=3, begun=own))
    assert rule_from_plain(tomllib.loads(toml_of(chain))).sought == chain.sought
    assert [each.shape.shots for each in searches_of(chain)] == [3, 1]
