"""Meta-steps in TensorBoard's event files: what is there, after an interrupt as without one."""

import json
from pathlib import Path

import pytest
from commands import small_defaults
from small_runs import ARGUMENTS, EFFORT, make_small
from test_going_on import stopping

from rulesearch.errors import RuleSearchError
from rulesearch.meta import StepRecord
from rulesearch.report.events import events, scalars
from rulesearch.runs.kept import file_stem
from rulesearch.search import paths
from rulesearch.search.__main__ import main

LOGGED = [*ARGUMENTS, "--quiet", "--log", "tensorboard", "--out", "run"]


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    make_small(monkeypatch.setattr)
    small_defaults(monkeypatch, EFFORT)
    monkeypatch.chdir(tmp_path)


def shown(run):
    """Stage -> tag -> step -> value, as TensorBoard reads them."""
    multiplexer = pytest.importorskip("tensorboard.backend.event_processing.event_multiplexer")
    read = multiplexer.EventMultiplexer()
    read.AddRunsFromDirectory(str(run / "tensorboard"))
    read.Reload()
    return {
        stage: {
            tag: [(event.step, event.value) for event in read.Scalars(stage, tag)]
            for tag in tags["scalars"]
        }
        for stage, tags in read.Runs().items()
    }


def test_every_meta_step_is_there_with_its_coefficients(monkeypatch):
    """Of a search that was interrupted, has gone on, and was interrupted again."""
    pytest.importorskip("tensorboard")
    for rows, arguments in ((3, LOGGED), (2, ["--resume", "run", *LOGGED[-5:-2]])):
        with pytest.MonkeyPatch.context() as patch:
            stopping(patch, rows)
            assert main(arguments) == 130
    (stage, drawn), *others = shown(Path("run")).items()
    assert (stage, others) == ("trial+0", [])
    *told, last = map(json.loads, Path("run", "history.jsonl").read_text().splitlines())
    assert [row["step"] for row in (*told, last)] == [1, 2, 3, 4]
    for tag, of_row in {
        "loss": lambda row: row["loss"],
        "theta/T0": lambda row: row["theta"]["T0"],
        "accepted": lambda row: float(row["taken"]),
    }.items():
        expected = [(row["step"], pytest.approx(of_row(row), rel=1e-6)) for row in told]
        assert drawn[tag] == expected
    assert all(value > 0 for _, value in drawn["size"])


def test_of_a_step_that_is_made_again_the_later_one_is_shown(tmp_path):
    pytest.importorskip("tensorboard")

    def step(number, loss):
        return StepRecord("round 1/trial 0", number, 9, loss, 0.5, {"F0": 0.25}, 1, 0)

    with events(tmp_path) as take:
        for number in (1, 2, 3):
            take(step(number, 1.0))
        take("what comes next")
    with events(tmp_path) as take:
        take(step(2, 0.5))
    tags = shown(tmp_path)[f"round+1/{file_stem('trial 0')}"]
    assert tags["loss"] == [(1, 1.0), (2, 0.5)]
    assert tags["theta/F0"] == [(1, 0.25), (2, 0.25)]
    assert {*tags} == {"loss", "accuracy", "diverged", "theta/F0"}


def test_a_descent_has_the_size_of_its_steps():
    record = StepRecord("a", 1, 9, 1.0, 0.5, {}, 0, 0, taken=False, voted=3, size=0.125)
    assert scalars(record) == {
        "loss": 1.0,
        "accuracy": 0.5,
        "diverged": 0.0,
        "size": 0.125,
        "accepted": 0.0,
    }


def test_without_tensorboard_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(paths, "find_spec", lambda name: None)
    assert main(LOGGED) == 2
    assert capsys.readouterr().err == (
        "--log tensorboard: tensorboard is not installed; pip install tensorboard, or leave --log "
        "out\n"
    )
    assert not Path("run").exists()


def test_a_folder_that_cannot_be_made_is_said_and_the_run_can_go_on(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(RuleSearchError, match="then go on by --resume"), events(tmp_path) as take:
        take(StepRecord("a", 1, 9, 1.0, 0.5, {}, 0, 0))
