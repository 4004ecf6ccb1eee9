"""The benchmark of planted rules: its teachers, its scorer, and that a run says what it found."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.ending import end_with
from benchmarks.planted import nulls, recorded, table
from benchmarks.planted.__main__ import main
from benchmarks.planted.lessons import Student, others
from benchmarks.planted.runs import OURS, Run, blank, file_of, kept
from benchmarks.planted.scorer import rule_of, score, share_interval, share_limit
from benchmarks.planted.teachers import LEAST, TEACHERS, mattering, read_pools, read_teachers
from benchmarks.planted.world import ASKED, SIZES, STEPS, images, population
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool, W, e_post, y_post, y_pre

POOLS = read_pools()
FILE = read_teachers()
HEBB, DECAY, ERROR = y_post * y_pre, -W, -e_post * y_pre
CELL, LOSS = y_post * y_pre - y_post**2 * W, y_post**2 * W


def in_torch(pool):
    """The world without a compiler."""
    return replace(population(pool), kernel="einsum")


# --- the scorer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "planted", "expected"),
    [
        # exact, precision, recall, F1
        ({HEBB: 1, DECAY: 2}, {HEBB: 3, DECAY: 1}, (True, 1, 1, 1)),
        ({HEBB: 1}, {HEBB: 1, DECAY: 1}, (False, 1, 1 / 2, 2 / 3)),
        ({HEBB: 1, DECAY: 1, ERROR: 1}, {HEBB: 1}, (False, 1 / 3, 1, 1 / 2)),
        ({ERROR: 1}, {HEBB: 1}, (False, 0, 0, 0)),
        ({}, {HEBB: 1}, (False, 1, 0, 0)),
        # The same function, written otherwise.
        ({CELL: 1}, {HEBB: 1, LOSS: -1}, (True, 1, 1, 1)),
        ({HEBB: 2, CELL: -1}, {HEBB: 1, LOSS: 1}, (True, 1, 1, 1)),
        # The products cancel, and the terms say more than is there.
        ({CELL: 1, LOSS: 1}, {HEBB: 1}, (True, 1, 1, 1)),
        ({CELL: 1}, {HEBB: 1}, (False, 0, 0, 0)),
    ],
)
def test_scores(found, planted, expected):
    got = score(found, planted)
    assert got.exact is expected[0]
    assert (got.precision, got.recall, got.f1) == pytest.approx(expected[1:])


def test_error_of_coefficients_is_in_units_of_their_terms():
    units = {HEBB: 1.0, DECAY: 0.01}
    planted = {HEBB: 0.3, DECAY: 0.004}
    assert score(planted, planted, units).error == 0
    assert score({}, planted, units).error == pytest.approx(1)
    off = {HEBB: 0.3, DECAY: 0.003}
    assert score(off, planted, units).error == pytest.approx(0.1 / 0.5)
    # Another pool: by products, the numbers before them.
    assert score({CELL: 0.3}, {HEBB: 0.3, LOSS: -0.3}).error == pytest.approx(0)


def test_rules_have_the_terms_that_are_not_zero():
    pool = Pool(a="y_pre*y_post", b="-W")
    assert rule_of(pool, (0.0, 2.0)) == {pool.terms[1].expression: 2.0}


def test_limits_of_shares():
    assert share_interval(10, 10)[1] == 1
    assert share_limit(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))


# --- the teachers --------------------------------------------------------------------------------


def test_teachers_are_those_promised():
    assert len(FILE.teachers) * len(FILE.seeds) == 50
    assert {len(t.theta) for t in FILE.teachers} == {2, 3, 4, 5}
    assert {t.pool for t in FILE.teachers} == set(POOLS)
    for teacher in FILE.teachers:
        assert min(teacher.matters.values()) >= LEAST
        assert len(POOLS[teacher.pool]) >= 2 * len(teacher.theta)  # there are distractors


@pytest.mark.slow
@pytest.mark.parametrize("teacher", FILE.teachers, ids=lambda t: t.name)
def test_each_term_matters_as_much_as_the_file_says(teacher):
    measured = mattering(POOLS[teacher.pool], teacher.theta)
    assert measured == pytest.approx(dict(teacher.matters), rel=0.01)  # three digits are written


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            'pool = "paper"',
            'pool = "papers"',
            "teacher paper-2: no pool papers; add it, or mend this",
        ),
        (
            "theta = { F0 = 0.0835, F1 = 0.164 }",
            "theta = { F0 = 0.0835, F11 = 0.164 }",
            "teacher paper-2: no term F11 in pool paper",
        ),
        (
            "matters = { F0 = 0.869, F1 = 0.14 }",
            "matters = { F0 = 0.869, F1 = 0.014 }",
            "teacher paper-2: F1 changes 1.4% of what is learned; plant terms that change 5% at "
            "least",
        ),
    ],
)
def test_a_file_of_teachers_that_does_not_fit(tmp_path, old, new, line):
    text = TEACHERS.read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(RuleSearchError) as caught:
        read_teachers(tmp_path / "mine.toml")
    assert line in caught.value.lines


def test_images_are_small_digits():
    found = images()
    assert found.x.shape[1] == SIZES[0]
    assert 0 <= found.x.min() < found.x.max() <= 1
    assert {*found.labels.tolist()} == {*range(SIZES[-1])}


# --- students ------------------------------------------------------------------------------------


def a_student(**more):
    teacher = FILE.teachers[0]
    pool = POOLS[teacher.pool]
    return Student(in_torch(pool), teacher.raw(pool), **more)


def test_the_teachers_rule_has_no_loss_and_any_other_has():
    student = a_student()
    truth = torch.tensor(student.truth, dtype=torch.float64)
    lived = student(truth, (1, 2, 3), gradient=range(len(student.names)))
    # Rounding of some 10^5 operations on values of order one; squared in a distance of answers.
    assert float(lived.loss.abs().max()) < 1e-10
    assert float(lived.gradient.abs().max()) < 1e-6
    assert float(lived.accuracy.min()) == 1
    assert float(student(0.5 * truth, (1, 2, 3)).loss.min()) > 1e-6
    untrained = student(0 * truth, (1, 2, 3))
    assert torch.allclose(untrained.loss, untrained.initial_loss, atol=1e-12)
    assert (student.spent.forward, student.spent.gradient, student.spent.cost) == (6, 3, 15)


def test_a_student_that_does_not_know_has_networks_of_its_own():
    knowing, not_knowing = a_student(), a_student(known=False)
    one, other = knowing.lesson((5,)), not_knowing.lesson((5,))
    assert torch.equal(one.answers, other.answers)
    assert torch.equal(one.train[0], other.train[0])
    assert not torch.equal(one.weights[0], other.weights[0])
    assert not torch.equal(one.feedback[0], other.feedback[0])
    assert others((5, 6)) == [others((5,))[0], others((6,))[0]]


def test_lessons_do_not_hang_on_company():
    alone, together = a_student().lesson((7,)), a_student().lesson((3, 7, 9))
    assert torch.equal(alone.answers[0], together.answers[1])
    assert torch.equal(alone.weights[1][0], together.weights[1][1])


def test_answers_that_are_drawn():
    student = nulls.Misled(a_student().population, a_student().truth, shuffled=True)
    answers = student.lesson((1, 2)).answers
    assert answers.shape == (2, len(ASKED), 20, SIZES[-1])
    assert (answers.sum(2) == 4).all()  # every class as often as it is asked for
    drawn = nulls.Misled(student.population, student.truth)
    seen = drawn.lesson(range(40)).answers
    told = a_student().lesson(range(40)).answers
    # 4,000 draws in a step: a standard error of 0.008 at most.
    assert float((seen.mean((0, 2)) - told.mean((0, 2))).abs().max()) < 0.035
    assert torch.equal(seen, drawn.lesson(range(40)).answers)


# --- weights along the way -----------------------------------------------------------------------


def made_up(noise, lifetimes=20, terms=6, rows=200):
    """Changes that terms 0 and 3 explain; 4 is all but 3."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(lifetimes, rows, terms))
    X[:, :, 4] = 0.9 * X[:, :, 3] + 0.44 * X[:, :, 4]
    y = X[:, :, 0] - 0.5 * X[:, :, 3] + noise * draw.normal(size=(lifetimes, rows))
    return recorded.Recording(
        np.einsum("lns,lnt->lst", X, X),
        np.einsum("lns,ln->ls", X, y),
        np.square(y).sum(1),
        np.full(terms, 2.0),
    )


@pytest.mark.parametrize("method", recorded.METHODS)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_regressions_find_what_is_there(method, noise):
    found = recorded.METHODS[method](made_up(noise))
    assert np.flatnonzero(found).tolist() == [0, 3]
    # 4,000 rows: a standard error of 0.3 / 63 at most, times the scale of 2.
    assert found[[0, 3]] == pytest.approx([2.0, -1.0], abs=0.04 if noise else 1e-9)


def test_a_small_term_is_found_by_tests_and_lost_by_a_threshold():
    recording = made_up(0.1)
    small = 0.05
    square, product = recording.square, recording.product
    size = recording.size + 2 * small * product[:, 1] + small**2 * square[:, 1, 1]
    more = replace(recording, product=product + small * square[:, 1], size=size)
    assert np.flatnonzero(recorded.eliminated(more)).tolist() == [0, 1, 3]
    assert np.flatnonzero(recorded.stlsq(more)).tolist() == [0, 3]


def test_a_record_without_noise_gives_the_teacher_back():
    teacher = FILE.teachers[-1]
    pool = POOLS[teacher.pool]
    seen = recorded.record(in_torch(pool), teacher.raw(pool), range(16), noise=0.0, known=True)
    for method in recorded.METHODS:
        found = recorded.answer(method, lambda lag: seen)
        assert found == pytest.approx(np.array(teacher.raw(pool)), abs=1e-9)


def test_noise_is_told_from_none():
    teacher = FILE.teachers[0]
    pool = POOLS[teacher.pool]
    for noise, noisy in ((0.01, False), (1.0, True)):
        seen = recorded.record(in_torch(pool), teacher.raw(pool), (1, 2), noise=noise, known=True)
        assert recorded.noisy(seen) is noisy


# --- the tables ----------------------------------------------------------------------------------


def test_tables_of_made_up_runs():
    ours = [replace(blank("answers", True, OURS, "t", s), exact=True, f1=1.0) for s in range(4)]
    other = [
        replace(blank("answers", True, "CMA-ES", "t", s), exact=s == 0, f1=0.5) for s in range(2)
    ]
    lines = table.of_answers([*ours, *other])
    assert lines[2].startswith(f"| {OURS} | 4 | 4 of 4 (40 to 100 %) | 4 of 4 |  | 0.00 |")
    assert lines[3].startswith(
        "| CMA-ES | 2 | 1 of 2 (1 to 99 %) | 2 of 2 | 0.50 (0.50 to 0.50) | 0.00 |"
    )
    assert table.by_teacher([*ours, *other])[2] == "| t | 4 of 4 | 1 of 2 |"
    none = [nulls.Null("useless terms", "paper", s, {"F0": 1.0}, False, 10) for s in range(100)]
    assert table.of_nulls(none)[2] == "| useless terms | 100 | 0 | 3.0 % | 5 % | 1.0 |"


def test_what_is_done_is_not_done_again(tmp_path):
    run = blank("weights", True, "STLSQ", "t", 0, 0.1)
    path = tmp_path / file_of(run)
    assert kept(path, Run, lambda: run) == run
    assert json.loads(path.read_text())["noise"] == 0.1

    def not_again():
        raise AssertionError

    assert kept(path, Run, not_again) == run
    with pytest.raises(RuleSearchError, match="of another teacher, pool or budget"):
        kept(path, Run, not_again, {"budget": 1})


def test_an_unknown_part_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        end_with(lambda: main(["--only", "nulls,dreams", "--out", str(tmp_path)]))
    assert left.value.code == 2
    assert capsys.readouterr().err == "--only dreams: give any of answers, weights, nulls\n"


@pytest.mark.slow
def test_a_small_run(tmp_path, capsys):
    assert main(["--small", "--only", "weights", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "RESULTS.md").read_text()
    assert "| 0 | paired elimination | 2 | 2 of 2 (16 to 100 %) | 1.00 | 1.00 | 1.00 |" in printed


def test_steps_are_asked_within_a_lifetime():
    assert 0 < min(ASKED) < max(ASKED) == STEPS
