"""The benchmark of feedback that learns: its rules, its search, and a quick run of it all."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import feedback
from benchmarks.paper.online import BIO
from rulesearch.errors import RuleSearchError
from rulesearch.statistics import Scores

RULES = {rule.name: rule for rule in feedback.rules()}


def measured(angles, factor=1.0):
    return feedback.Measured(factor, 0.5, 0.4, 0.6, 0, len(angles), (80.0,), tuple(angles))


def row(name, angles):
    ends = (measured([90.0, 90.0]), measured(angles), measured(angles, 2.0))
    return feedback.Row(name, {"F0": 0.01}, 1.0, 10, *ends, False)


def test_each_rule_has_a_box_for_each_coefficient():
    for rule in feedback.rules():
        assert len(rule.box) == len(rule.learner.pool)
        assert set(rule.negative) <= set(rule.learner.pool.names)


def test_all_rules_change_weights_and_only_the_plastic_ones_feedback():
    fixed = {name for name, rule in RULES.items() if not changes(rule, "B")}
    assert fixed == {"backprop", "feedback alignment", "last layer alone", "bio"}
    assert all(changes(rule, "W") for rule in RULES.values())


def changes(rule, parameter):
    return any(parameter == of for term in rule.learner.pool for of, _ in term.updates)


def test_kolen_pollack_changes_both_matrices_by_one_coefficient():
    terms = RULES["Kolen-Pollack"].learner.pool.terms
    assert [[of for of, _ in term.updates] for term in terms] == [["W", "B"], ["W", "B"]]


def test_the_search_finds_the_least_loss(monkeypatch):
    rule = RULES["Kolen-Pollack"]
    least = (-2.0, -3.5)

    def bowl(networks, theta, seeds, outputs):
        powers = [math.log10(x) for x in theta]
        loss = 1.0 + sum((a - b) ** 2 for a, b in zip(powers, least, strict=True))
        many = len(seeds)
        return Scores(tuple(seeds), *[(x,) * many for x in (loss, 0.5, 3.0)], (False,) * many)

    monkeypatch.setattr(feedback, "measure", bowl)

    class Networks:
        outputs = 10

    best = feedback.found(rule, Networks(), feedback.Size(refining=60))
    assert best.theta == pytest.approx([10.0**power for power in least], rel=0.02)
    assert best.loss == pytest.approx(1.0, abs=1e-3)
    assert 128 * 8 < best.lifetimes <= 128 * 8 + 3 * 60 * 32


def test_angles_are_those_of_hidden_layers_where_there_is_one():
    angle = torch.tensor([[80.0, 60.0, 0.0], [math.nan, math.nan, 0.0]])
    bad = torch.tensor([False, True])
    seen = feedback.summed_up(1.0, torch.tensor([0.9, 0.1]), bad, angle)
    assert (seen.diverged, seen.lifetimes) == (1, 2)
    assert seen.accuracy == pytest.approx(0.5)
    assert seen.angles == pytest.approx((80.0, 60.0))
    assert seen.angle == pytest.approx(70.0)


@pytest.mark.parametrize("best", [0.03125, 2.0, 64.0])
def test_multiples_are_tried_until_the_best_lies_between_two(monkeypatch, best):
    def peak(learner, theta, images, seeds, points, factors, **options):
        return {"score": np.array([-abs(math.log2(factor / best)) for factor in factors])}

    monkeypatch.setattr(feedback.online, "rate_scores", peak)
    data = SimpleNamespace(search=SimpleNamespace(labels=[0] * 8), inputs=64)
    found = feedback.best_multiple(BIO, (1.0, 1.0, 1.0), data, feedback.Size())
    assert found.best == best
    assert not found.at_edge


def test_angles_are_compared_stream_by_stream():
    rows = [
        row("feedback alignment", [90.0, 80.0, 85.0]),
        row("Kolen-Pollack", [60.0, 51.0, math.nan]),
    ]
    (line,) = feedback.below_feedback_alignment(rows)
    assert "Kolen-Pollack" in line
    assert "29.5°" in line  # of 30 and 29, where both have one


def test_rows_are_read_back_as_they_were(tmp_path):
    rows = [row("feedback alignment", [90.0, 80.0])]
    feedback.write(tmp_path / "rows.json", rows, feedback.QUICK)
    assert feedback.read(tmp_path / "rows.json", feedback.QUICK) == rows
    with pytest.raises(RuleSearchError, match="rows of other numbers of tasks"):
        feedback.read(tmp_path / "rows.json", feedback.Size())


def test_signs_are_those_said():
    rule = feedback.Rule(BIO, ((-3, -1),) * 3, negative=("F2",))
    assert [theta < 0 for theta in rule.theta((-2, -2, -2))] == [False, True, False]


@pytest.mark.slow
def test_a_quick_run(tmp_path, capsys):
    file = tmp_path / "rows.json"
    names = ["feedback alignment", "symmetric alignment"]
    feedback.main(["--quick", "--json", str(file), "--rules", *names])
    assert [each.name for each in feedback.read(file, feedback.QUICK)] == names
    again = file.read_bytes()
    feedback.main(["--quick", "--json", str(file), "--rules", *names])
    assert file.read_bytes() == again
    assert "symmetric alignment" in capsys.readouterr().out
