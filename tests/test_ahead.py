"""Kernels compiled by another process: once, waited for, and never in the way."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress

import pytest
import torch

from rulesearch import Pool
from rulesearch.kernels.fused import ahead, cache
from rulesearch.kernels.fused.kernel import _source
from rulesearch.kernels.fused.schedule import schedule_of
from rulesearch.lowering import lower_terms

SOURCE = _source(schedule_of(lower_terms(Pool(F0="-e_post*y_pre").distinct)), "fixed", "float64")
BOTH = ("forward", "adjoint")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own, two threads, and no process or module from before."""
    monkeypatch.setenv("RULESEARCH_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(ahead, "_others", {})
    sys.modules.pop(cache._name(SOURCE), None)
    yield tmp_path / "kernels"
    for other in ahead._others.values():
        other.process.kill()
        other.process.communicate()


def found(module):
    """How much of a module was found on disk."""
    return [sum(getattr(module, name).stats.cache_hits.values()) for name in BOTH]


@pytest.mark.slow
def test_what_is_asked_for_is_waited_for_and_compiled_once(folder):
    assert ahead.compile_ahead(SOURCE, BOTH)
    assert ahead.compile_ahead(SOURCE, BOTH)  # they are under way
    assert found(ahead.ready(SOURCE, BOTH)) == [1, 1]
    assert not ahead.compile_ahead(SOURCE, BOTH)
    assert len(ahead._others) == 1


@pytest.mark.slow
def test_what_was_not_asked_for_is_compiled_here_meanwhile(folder):
    assert ahead.compile_ahead(SOURCE, ("adjoint",))
    assert found(ahead.ready(SOURCE, ("forward",))) == [0, 0]
    assert found(ahead.ready(SOURCE, BOTH)) == [0, 1]


@pytest.mark.parametrize("when", ["before", "after"])
def test_where_the_other_process_is_killed_all_is_compiled_here(folder, when):
    assert ahead.compile_ahead(SOURCE, ("adjoint",))
    (other,) = ahead._others.values()
    other.process.kill()
    if when == "before":
        other.process.wait()
        assert not ahead.compile_ahead(SOURCE, ("forward",))
    assert found(ahead.ready(SOURCE, BOTH)) == [0, 0]
    assert not other.asked


@pytest.mark.parametrize("executable", ["false", "no such program"])
def test_where_it_cannot_begin_all_is_compiled_here(folder, executable, monkeypatch):
    monkeypatch.setattr(sys, "executable", executable)
    ahead.compile_ahead(SOURCE, BOTH)
    assert found(ahead.ready(SOURCE, BOTH)) == [0, 0]


def test_with_one_thread_there_is_no_other_process(folder, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert not ahead.compile_ahead(SOURCE, BOTH)
    assert not ahead._others


@pytest.mark.parametrize("before", [True, False])
def test_garbage_is_collected_again_after_compiling(before):
    (gc.enable if before else gc.disable)()
    try:
        with suppress(ZeroDivisionError), ahead._uncollected():
            assert not gc.isenabled()
            raise ZeroDivisionError
        assert gc.isenabled() is before
    finally:
        gc.enable()


@pytest.mark.slow
def test_nothing_is_left_to_complain_of():
    script = "import torch, test_ahead as t; torch.set_num_threads(2); t.ahead.compile_ahead"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{script}(t.SOURCE + '#', t.BOTH)"],
        env=os.environ | {"PYTHONPATH": "tests:."},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are looked for as POSIX has them")
def test_the_other_process_ends_with_this_one_however_that_ends(folder):
    script = textwrap.dedent("""
        import time, torch
        import test_ahead as t
        torch.set_num_threads(2)
        assert t.ahead.compile_ahead(t.SOURCE, t.BOTH)
        (other,) = t.ahead._others.values()
        print(other.process.pid, flush=True)
        time.sleep(60)
    """)
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": "tests:."}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as begun:
        assert begun.stdout is not None
        other = int(begun.stdout.readline())
        os.kill(other, 0)
        begun.send_signal(signal.SIGKILL)
    for _ in range(100):
        try:
            os.kill(other, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("it goes on")
