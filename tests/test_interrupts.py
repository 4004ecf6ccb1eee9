"""A run that is stopped at any moment, by any signal, ends as if nothing had been."""

import os
import random
import signal
import time

import pytest
from small_runs import began, changes_of, content, ended, said_in

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
CODES = {signal.SIGKILL: (-9,), signal.SIGTERM: (-15, 143), signal.SIGINT: (130,)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupts: its content, its changes of the folder, its seconds."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    counted = folder.with_name("changes")
    counted.touch()

    def count():
        with open(counted, "a") as file:  # noqa: PTH123, not a change in the folder
            file.write("x")

    start = time.monotonic()
    assert ended(began(folder, changes_of(folder, count))) == 0, said_in(folder).read_text()
    return content(folder), counted.stat().st_size, time.monotonic() - start


def stopped_at(folder, number, by):
    """Begin or go on, and get a signal before change `number`, from 0; the exit code."""
    left = [number]

    def count():
        left[0] -= 1
        if left[0] == -1:
            os.kill(os.getpid(), by)

    return ended(began(folder, changes_of(folder, count)))


def stopped_after(folder, seconds, by):
    """Begin or go on, and get a signal after some seconds; the exit code."""
    pid = began(folder)
    time.sleep(seconds)
    os.kill(pid, by)
    return ended(pid)


def finished(folder):
    """Go on to the end, without a signal; then the content."""
    code = ended(began(folder))
    said = said_in(folder).read_text()
    assert code == 0 or ": is finished; " in said, said
    assert "Traceback" not in said
    return content(folder)


def test_a_run_killed_in_the_middle_ends_as_if_nothing_had_been(tmp_path, whole):
    before, changes, _ = whole
    assert stopped_at(tmp_path / "run", changes // 2, signal.SIGKILL) == -9
    assert finished(tmp_path / "run") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "every"),
    [(signal.SIGKILL, 1), (signal.SIGTERM, 5), (signal.SIGINT, 5)],
    ids=["SIGKILL", "SIGTERM", "SIGINT"],
)
def test_a_run_stopped_before_any_change(tmp_path, whole, by, every):
    before, changes, _ = whole
    for number in range(0, changes, every):
        folder = tmp_path / str(number)
        assert stopped_at(folder, number, by) in (*CODES[by], 0), said_in(folder).read_text()
        assert finished(folder) == before, number


@pytest.mark.slow
@pytest.mark.parametrize("by", SIGNALS, ids=lambda s: s.name)
def test_a_run_stopped_at_random_moments(tmp_path, whole, by):
    before, _, seconds = whole
    draw = random.Random(int(by))
    for number in range(25):
        folder = tmp_path / str(number)
        code = stopped_after(folder, draw.uniform(0, seconds), by)
        assert code in (*CODES[by], 0), said_in(folder).read_text()
        assert finished(folder) == before, number


@pytest.mark.slow
def test_a_run_killed_twice_in_a_row(tmp_path, whole):
    before, changes, _ = whole
    draw = random.Random(0)
    for number in range(60):
        folder = tmp_path / str(number)
        first, second = draw.randrange(changes), draw.randrange(changes)
        stopped_at(folder, first, draw.choice(SIGNALS))
        stopped_at(folder, min(second, changes - 1), draw.choice(SIGNALS))
        assert finished(folder) == before, (first, second)
