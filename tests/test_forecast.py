"""How far a search is said to be, and that it says at once what it is about to do."""

import io
import re
from dataclasses import replace

import pytest
from commands import PAPER, SMALL, SMALL_FLAGS, TINY, python, small_defaults
from rich.console import Console

from rulesearch.data import load_data
from rulesearch.meta import StepRecord
from rulesearch.notation import Pool
from rulesearch.report import progress
from rulesearch.search import forecast as forecast_module
from rulesearch.search import prepare, pursuing, search
from rulesearch.search.__main__ import main
from rulesearch.search.forecast import Forecast, Phase, descents, duration, phases

THREE = (
    Phase("first", ("one/",), 0),
    Phase("trials", ("trial ",), 100),
    Phase("elimination", ("elimination/",), 300, with_terms=lambda left: 100 * (left - 1)),
)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def step(label, number, of=50):
    return StepRecord(label, number, of, 1.0, 0.5, {"F0": 0.1}, 0, 0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def forecast(clock):
    return Forecast(THREE, clock)


def test_a_phase_is_named_when_it_begins(forecast):
    told = ["one/rate 1", "one/rate 2", "compiling the kernel", "trial 0 and trial 1"]
    assert [forecast.follow(label) for label in told] == [
        "first",
        "",
        "compiling the kernel",
        "trials",
    ]
    assert forecast.place == "2/3"
    assert forecast.follow(step("trial 0", 1)) == ""


def test_nothing_is_said_of_the_time_left_before_anything_is_known(forecast):
    forecast.follow("one/rate 1")
    assert forecast.left == ""
    forecast.follow(step("trial 0", 1))
    assert forecast.left == ""


def test_the_time_left_is_that_of_the_steps_left_at_the_pace_so_far(forecast, clock):
    for number in range(1, 12):  # ten steps in ten seconds, after the first
        clock.now = float(number)
        forecast.follow(step("trial 0", number))
    # 89 steps of the trials, 300 of the elimination, at a second each
    assert forecast.left == "likely under 7 min left"


def test_an_elimination_that_has_fewer_terms_left_has_fewer_tries_left(forecast, clock):
    for number in range(1, 12):
        clock.now = float(number)
        forecast.follow(step("trial 0", number))
    forecast.follow("elimination/full 1")
    assert forecast.left == "likely under 5 min left"
    forecast.follow("elimination/2 terms without F0, refit 1")
    assert forecast.left == "likely under 2 min left"
    clock.now += 1
    forecast.follow(step("elimination/2 terms without F0, refit 1", 50))
    assert forecast.left == "likely under 50 s left"


def test_a_fit_that_goes_on_after_an_interruption_counts_what_it_had(forecast, clock):
    forecast.follow(step("trial 0", 41))
    clock.now = 1.0
    forecast.follow(step("trial 0", 42))
    left = 100 - 42 + 300
    assert forecast.left == f"likely under {duration(left)} left"


def test_lengths_of_time_are_rounded_up():
    assert [duration(s) for s in (0, 10, 10.1, 90, 91, 120, 121, 5400, 7201)] == (
        ["10 s", "10 s", "20 s", "90 s", "2 min", "2 min", "3 min", "2 h", "3 h"]
    )


def test_what_ends_before_its_last_step_leaves_no_steps_behind(forecast, clock):
    forecast.follow("trial 0")
    for number in (1, 2, 3):
        clock.now = float(number)
        forecast.follow(step("trial 0", number))
    forecast.follow("trial 1")
    clock.now += 1
    forecast.follow(step("trial 1", 1))
    assert forecast.left == f"likely under {duration(49 + 300)} left"


def test_terms_leave_in_groups_while_they_are_many():
    # To 1 two ways, and on as far as one of them; from 8 to 7 two ways alone; 9 to 6 at once; to 8
    # at once and one way only.
    assert [descents(terms) for terms in (1, 2, 8, 9, 12)] == [0, 3, 2 + 6 * 3, 6 * 3, 1 + 20]


PHASES = {
    "robust": ("baselines", "trials", "elimination", "final refits", "evaluation"),
    "paper": ("baselines", "trials", "evaluation"),
    "accepted": ("baselines", "trials", "elimination", "growing", "settling", "evaluation"),
    "accepted, by rounds": (
        "baselines",
        *("round 1", "round 2", "round 3", "round 4", "round 5"),
        *("growing", "settling", "evaluation"),
    ),
}
#: Of accepted steps a later round, growing, and refits, are only where something was found.
MAYBE = {"growing", "round 2", "round 3", "round 4", "round 5", "settling"}


@pytest.mark.parametrize("case", PHASES)
def test_every_stage_of_a_search_belongs_to_a_phase_and_they_come_in_order(case, monkeypatch):
    protocol, _, rounds = case.partition(", ")
    if rounds:
        monkeypatch.setattr(pursuing, "ROOM", 1)
        monkeypatch.setattr(forecast_module, "ROOM", 1)
    data = load_data("digits", shape=SMALL.shape)
    pool = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", F3="-W")
    config = replace(SMALL, protocol=protocol)
    forecast = Forecast(phases(prepare(pool, data, config)))
    begun = []

    def follow(told):
        if begins := forecast.follow(told):
            begun.append((begins, forecast.place))

    search(pool, data, config, on_stage=follow, on_step=follow)
    names = PHASES[case]
    expected = [(name, f"{n + 1}/{len(names)}") for n, name in enumerate(names)]
    found = [each for each in begun if each[0] != "compiling the kernel"]
    needless = MAYBE if protocol == "accepted" else set()
    assert found == [each for each in expected if each in found or each[0] not in needless]


def test_a_file_gets_a_line_where_a_phase_begins(forecast, clock):
    console = Console(file=io.StringIO(), width=80)
    with progress(console, whereabouts=forecast) as update:
        update("one/rate 1")
        update("trial 0")
        for number in range(1, 51):
            clock.now += 1
            update(step("trial 0", number))
    assert console.file.getvalue().splitlines() == [
        "1/3  first",
        "2/3  trials",
        "2/3  trial 0  50/50  12 % done  likely under 6 min left  loss 1.00  accuracy 0.500  "
        "F0 0.100",
    ]


def test_the_command_says_first_what_it_will_do_then_how_much(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small_defaults(monkeypatch, TINY)
    terms = ["--term", "-e_post*y_pre", "--term", "-W"]
    assert main([*terms, *SMALL_FLAGS, "--out", "run", "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "searching 2 terms on digits, pathway random, protocol accepted, seed 3",
        "2 terms (2 synaptic), network 64-6-10, 1 trial of 3 meta-steps; kept in run",
    ]
    places = [line.split()[0] for line in lines if re.match(r"\d/\d ", line)]
    assert places == sorted(places)
    assert {place[0] for place in places} >= set("1235")  # refits only of what beats the reference


def test_the_first_line_is_there_before_anything_heavy_is_imported(tmp_path):
    for name in ("sympy", "torch", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('too late')")
    done = python("-m", "rulesearch.search", PAPER, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (
        f"searching {PAPER} on digits, pathway random, protocol accepted, seed 0\n",
        "too late\n",
    )
