"""Worker processes: what reaches them, and what is said where they cannot begin or go on."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rulesearch.data import TaskShape, load_data
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Abs, Pool, e_post, load_pool, operator, y_post, y_pre
from rulesearch.population import Population, shared_by_workers
from rulesearch.workers import started

ROOT = Path(__file__).parents[1]
SHAPE = TaskShape(ways=2, shots=3, queries=2)

squash = operator("squash", lambda u: u / (2 + Abs(u)))
OWN = Pool(grad=-e_post * y_pre, hebb=squash(squash(y_post)) * y_pre, start={"grad": 1e-3})


@pytest.mark.parametrize("pool", [OWN, OWN.acting({"hebb": (-1,)})], ids=["own", "in a layer"])
def test_a_pool_with_operators_of_its_own_is_pickled(pool):
    assert pickle.loads(pickle.dumps(pool)) == pool


def test_the_grammar_files_are_pickled():
    for path in sorted((ROOT / "grammar").glob("*.py")):
        pool = load_pool(path)
        assert pickle.loads(pickle.dumps(pool)) == pool


@pytest.mark.slow
def test_workers_know_the_pools_own_operators():
    images = load_data("digits", shape=SHAPE).search
    alone = Population(OWN, images, SHAPE, (64, 6, 10), kernel="einsum")
    theta, seeds = torch.tensor([1e-2, 1e-3], dtype=torch.float64), range(9)
    with shared_by_workers([alone], 2) as (shared,):
        by_workers = shared(theta, seeds, gradient=(0, 1))
    here = alone(theta, seeds, gradient=(0, 1))
    assert torch.equal(by_workers.loss, here.loss)
    assert torch.equal(by_workers.gradient, here.gradient)


SCRIPT = """
from rulesearch import Config, Pool, load_data, search
config = Config(layers=(6,), ways=2, shots=3, queries=2, meta_steps=1, trials=1, workers=2,
                kernel="einsum")
search(Pool(F0="-e_post*y_pre"), load_data("digits", shape=config.shape), config{run})
"""


def said(arguments, **options):
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        **options,
    )
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["", ", run='run'"])
def test_a_script_without_a_main_guard_is_told_so(tmp_path, run):
    (tmp_path / "script.py").write_text(SCRIPT.format(run=run))
    code, line = said(["script.py"], cwd=tmp_path)
    assert code == 1
    assert line == (
        "rulesearch.errors.RuleSearchError: workers=2: the worker processes ended as they began; a "
        'script that searches with workers does so below if __name__ == "__main__":, because '
        "they import it again; or give workers=1"
    )


@pytest.mark.slow
def test_a_program_from_standard_input_is_told_so(tmp_path):
    code, line = said(["-"], input=SCRIPT.format(run=""), cwd=tmp_path)
    assert code == 1
    assert line.startswith("rulesearch.errors.RuleSearchError: workers=2: worker processes import")
    assert "<stdin> is no file" in line


class Doubler:
    def __call__(self, task):
        return 2 * task

    def slowly(self, task):
        time.sleep(0.5)
        return 2 * task


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line():
    with started([Doubler()], 2) as workers:
        assert workers.map(Doubler.__call__, 0, range(5)) == [0, 2, 4, 6, 8]
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        with pytest.raises(RuleSearchError, match=r"^a worker process has died, [^\n]*$"):
            workers.map(Doubler.slowly, 0, range(8))


PARENT = """
import multiprocessing, sys, time
from rulesearch.workers import started
if __name__ == "__main__":
    with started([1], 2):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(100)
"""


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    until = time.monotonic() + 20
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < until, workers
        time.sleep(0.1)


def alive(pid):
    """Whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
