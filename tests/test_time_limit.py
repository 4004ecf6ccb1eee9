"""A search that a time limit stops: its best rule so far, and going on as if it had not been."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import small_defaults
from small_runs import ARGUMENTS, CONFIG, EFFORT, content, make_small
from test_going_on import POOL

from rulesearch import search
from rulesearch.data import load_data
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool
from rulesearch.pursuit import settling
from rulesearch.result import SO_FAR, Result
from rulesearch.runs import is_finished, read_history
from rulesearch.search import stages
from rulesearch.search.__main__ import main
from rulesearch.search.arguments import read
from rulesearch.search.forecast import Forecast, Phase

LIMITED = replace(CONFIG, meta_steps=2, meta_batch=2)
OPTIONS = [*ARGUMENTS[:-4], "--meta-batch", "2", "--meta-steps", "2"]


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    make_small(monkeypatch.setattr)
    monkeypatch.setattr(settling, "DRAWS", 4)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", shape=CONFIG.shape)


def passes(patch, moments):
    """The time passes after so many stages and steps at which a search may stop."""
    left = iter(range(moments))
    clock = SimpleNamespace(monotonic=lambda: 0.0 if next(left, None) is not None else math.inf)
    patch.setattr(stages, "time", clock)


def test_it_stops_with_the_best_rule_so_far_and_says_so(monkeypatch, digits, capsys):
    passes(monkeypatch, 6)
    result = search(POOL, digits, LIMITED, run="run", time_limit=60)
    assert result.stopped
    assert not is_finished(Path("run"))
    assert Result.load("run") == result == Result.from_json(Path("run", SO_FAR).read_text())
    assert "stopped by the time limit when " in result.message
    (chosen,) = (entry for entry in result.hall if entry.chosen)
    assert chosen.support == result.support
    assert {n: x for n, x in result.theta.items() if x} == chosen.theta
    assert result.theta_interval == {}
    assert {"rule", "backprop_sgd", "feedback_alignment"} <= set(result.evaluation)
    assert not [*Path("run", "stages").glob("evaluation*")]
    assert main(["--show", "run"]) == 0
    assert "stopped by the time limit when " in capsys.readouterr().out
    assert result.rule().pool.names == result.support
    assert main(["--reproduce", "run", "--quiet"]) == 2
    assert capsys.readouterr().err == (
        "--reproduce run: a time limit has stopped its search; go on with that first, by --resume\n"
    )


def made_in(run):
    """How many stages and steps are kept."""
    return len([*Path(run, "stages").iterdir()]) + len(read_history(Path(run)))


@pytest.mark.slow
@pytest.mark.parametrize("moments", [0, 25])
def test_it_goes_on_to_the_same_bits(moments, monkeypatch, digits, capsys):
    small_defaults(monkeypatch, EFFORT)
    search(POOL, digits, LIMITED, run="whole")
    with pytest.MonkeyPatch.context() as patch:
        passes(patch, moments)
        assert main([*OPTIONS, "--time-limit", "9h", "--out", "broken"]) == 0
        assert "stopped by --time-limit; go on with --resume broken" in capsys.readouterr().out
    first = made_in("broken")
    with pytest.MonkeyPatch.context() as patch:
        passes(patch, 0)
        assert main(["--resume", "broken", "--time-limit", "1s", "--quiet"]) == 0
    assert made_in("broken") > first  # however little time there is
    assert main(["--resume", "broken", "--quiet"]) == 0
    assert content("broken") == content("whole")


def test_no_limit_stops_what_is_said_of_terms_that_were_lost(monkeypatch):
    """They are looked for when the rule is known: it is stopped before that or not at all."""
    root = "sqrt(0.6 - Abs(W))"  # above all weights that are drawn, and below some that are learned
    config = replace(LIMITED, layers=(12, 8), shots=10, queries=4, meta_batch=4)
    data = load_data("digits", shape=config.shape)
    pool = Pool(F0="-e_post*y_pre", A=f"{root}*y_pre", B=f"{root}*e_post")
    whole = search(pool, data, config, run="run")
    assert len(whole.fails) == 2
    for file in ("result.json", "report.html"):
        Path("run", file).unlink()
    for file in Path("run", "stages").glob("evaluation*"):
        file.unlink()
    passes(monkeypatch, 0)
    again = search(pool, data, config, run="run", time_limit=1)
    assert again.fails == whole.fails


def test_nothing_is_stopped_before_there_is_a_rule_or_without_a_limit():
    told = []
    both = stages.Stages(None, told.append, told.append)
    assert both.limited(lambda: True) is both
    there = []
    limited = replace(both, deadline=-math.inf).limited(lambda: bool(there))
    for label in "abc":
        limited.on_stage(label)
    there.append("a rule")
    with pytest.raises(stages.TimeIsUpError):
        limited.on_stage("d")
    assert told == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400)]
)
def test_lengths_of_time(text, seconds):
    assert read(["grammar.py", "--time-limit", text]).seconds == seconds


@pytest.mark.parametrize("text", ["0", "-1s", "ten", "m", "infh", "nan"])
def test_what_is_no_length_of_time_is_refused(text, capsys):
    assert main(["grammar.py", f"--time-limit={text}"]) == 2
    assert f"{text}: give a time above 0, as in 90s, 10m or 1.5h" in capsys.readouterr().err


def test_a_protocol_that_has_no_rule_on_the_way_cannot_be_stopped(digits, capsys):
    assert main([*OPTIONS, "--protocol", "robust", "--time-limit", "9m", "--quiet"]) == 2
    assert capsys.readouterr().err == (
        "--time-limit: --protocol robust has no rule to stop with before its end; leave it out, or "
        "take accepted\n"
    )
    for limit in (0, "10m", math.nan):
        with pytest.raises(RuleSearchError, match=f"time_limit {limit}: must be above 0; give sec"):
            search(POOL, digits, CONFIG, time_limit=limit)
    assert not [*Path().iterdir()]


# --- watching ------------------------------------------------------------------------------------


def test_the_share_that_is_behind_and_the_best_rule():
    now = [0.0]
    forecast = Forecast(
        (Phase("trials", ("trial ",), 100), Phase("elimination", ("leaving/",), 300)),
        lambda: now[0],
    )
    assert (forecast.done, forecast.best) == ("", "")
    for number in range(1, 51):
        forecast.follow(stages.StepRecord("trial 0", number, 100, 1.0, 0.5, {}, 0, 0))
    assert forecast.done == "12 %"
    forecast.follow("leaving/3 terms")
    assert forecast.done == "25 %"
    hall = [
        SimpleNamespace(support=("F0", "F2"), loss=0.5),
        SimpleNamespace(support=("F0",), loss=None),
        SimpleNamespace(support=("F0", "F3"), loss=0.25),
    ]
    forecast.compared(hall)
    assert forecast.best == "best so far F0, F3, loss 0.250"
