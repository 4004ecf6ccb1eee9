"""A run that is stopped at any moment, by any signal, ends as if nothing had been."""

import os
import random
import signal
import time
from collections import Counter

import pytest
from small_runs import began, content, ended, said_in

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
CODES = {signal.SIGKILL: (-9,), signal.SIGTERM: (-15, 143), signal.SIGINT: (130,)}


def watched(folder, **how):
    """A run that nothing interrupts: its content, the names of its moments, its seconds."""
    names = os.open(folder.with_name(f"{folder.name}.moments"), os.O_RDWR | os.O_CREAT)

    def note(name):
        os.write(names, f"{name}\n".encode())

    start = time.monotonic()
    assert ended(began(folder, note, **how)) == 0, said_in(folder).read_text()
    seconds = time.monotonic() - start
    moments = os.pread(names, 10**6, 0).decode().splitlines()
    os.close(names)
    return content(folder), moments, seconds


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return watched(tmp_path_factory.mktemp("whole") / "run")


def stopped_at(folder, number, by, **how):
    """Begin or go on, and get a signal at moment `number`, from 0; the exit code."""
    left = [number]

    def count(_):
        left[0] -= 1
        if left[0] == -1:
            os.kill(os.getpid(), by)

    return ended(began(folder, count, **how))


def stopped_after(folder, seconds, by):
    """Begin or go on, and get a signal after some seconds; the exit code."""
    pid = began(folder)
    time.sleep(seconds)
    os.kill(pid, by)
    return ended(pid)


def finished(folder, **how):
    """Go on to the end, without a signal; then the content."""
    code = ended(began(folder, **how))
    said = said_in(folder).read_text()
    assert code == 0 or ": is finished; " in said, said
    assert "Traceback" not in said
    return content(folder)


def test_a_run_killed_in_the_middle_ends_as_if_nothing_had_been(tmp_path, whole):
    before, moments, _ = whole
    halves = [n for n, name in enumerate(moments) if name == "half written"]
    assert stopped_at(tmp_path / "run", halves[len(halves) // 2], signal.SIGKILL) == -9
    assert finished(tmp_path / "run") == before


def test_the_small_run_makes_every_kind_of_change(whole):
    before, moments, _ = whole
    assert {"config.json", "result.json", "history.jsonl", "rule.tex"} <= {*before}
    assert {"accuracy.png", "report.html"} <= {*before}
    assert not any(name.startswith((".", "checkpoints/")) for name in before)
    kinds = Counter(moments)
    for change in ("open", "rename", "remove", "mkdir"):
        assert kinds[f"before {change}"] == kinds[f"after {change}"] > 2
    assert kinds["half written"] == kinds["before open"] > kinds["before fsync"] > 20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("before rename", "interrupted before anything was written\n"),
        ("after rename", "interrupted; go on with --resume {}\n"),
    ],
)
def test_an_interrupt_says_whether_there_is_a_run_to_go_on_with(tmp_path, whole, change, said):
    _, moments, _ = whole
    folder = tmp_path / "run"
    assert stopped_at(folder, moments.index(change), signal.SIGINT) == 130  # of config.json
    assert said_in(folder).read_text() == said.format(folder)


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_exit_code_is_the_signals_to_the_last_moment(tmp_path, whole, by, code):
    before, moments, _ = whole
    assert stopped_at(tmp_path / "run", len(moments) - 1, by) == code
    assert content(tmp_path / "run") == before


@pytest.mark.slow
@pytest.mark.parametrize("by", SIGNALS, ids=lambda s: s.name)
def test_a_run_stopped_before_within_and_after_every_change(tmp_path, whole, by):
    before, moments, _ = whole
    for number, name in enumerate(moments):
        folder = tmp_path / str(number)
        assert stopped_at(folder, number, by) in CODES[by], (number, name)
        assert finished(folder) == before, (number, name)


@pytest.mark.slow
@pytest.mark.parametrize("by", SIGNALS, ids=lambda s: s.name)
def test_a_run_stopped_at_random_moments(tmp_path, whole, by):
    before, _, seconds = whole
    draw, stopped = random.Random(int(by)), 0
    for number in range(100):
        folder = tmp_path / str(number)
        code = stopped_after(folder, draw.uniform(0, seconds), by)
        stopped += code != 0
        assert code in (*CODES[by], 0), said_in(folder).read_text()
        assert finished(folder) == before, number
        if stopped == 25:
            return
    pytest.fail(f"only {stopped} of 100 runs were stopped before they had ended")


@pytest.mark.slow
def test_a_run_stopped_twice_in_a_row(tmp_path, whole):
    before, moments, _ = whole
    draw = random.Random(0)
    for number in range(60):
        folder = tmp_path / str(number)
        first = draw.randrange(len(moments) - 10)
        # The second one comes anywhere in what is left, or while the run goes on from the first.
        second = draw.choice((draw.randrange(8), draw.randrange(len(moments) - first)))
        signals = draw.choice(SIGNALS), draw.choice(SIGNALS)
        for moment, by in zip((first, second), signals, strict=True):
            code = stopped_at(folder, moment, by)
            assert code in (*CODES[by], 0), (first, second, signals)
        assert finished(folder) == before, (first, second, signals)


@pytest.mark.slow
@pytest.mark.parametrize("by", SIGNALS, ids=lambda s: s.name)
def test_a_run_stopped_while_its_figures_are_drawn(tmp_path, by):
    before, moments, _ = watched(tmp_path / "whole", drawn=True)
    assert before["accuracy.pdf"].startswith(b"%PDF")
    openings = [n for n, name in enumerate(moments) if name == "half written"]
    for number in openings[-11:-3]:  # of eight figures; hall of fame, rule and result come after
        folder = tmp_path / str(number)
        assert stopped_at(folder, number, by, drawn=True) in CODES[by]
        assert not (folder / "result.json").exists()
        assert any(folder.glob("*.p*"))
        assert finished(folder, drawn=True) == before, number
