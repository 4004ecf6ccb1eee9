"""Executors: what reaches workers, the same bits by any, what is said where they cannot go on."""

import importlib.util
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from commands import SMALL
from small_runs import content

from rulesearch.data import TaskShape, load_data
from rulesearch.errors import RuleSearchError
from rulesearch.executors import GivenUp, Piece, named, started, unpacked
from rulesearch.executors.processes import in_processes
from rulesearch.machine import cores
from rulesearch.notation import Abs, Pool, e_post, load_pool, operator, y_post, y_pre
from rulesearch.population import Population
from rulesearch.search import search
from rulesearch.search.__main__ import main

ROOT = Path(__file__).parents[1]
SHAPE = TaskShape(ways=2, shots=3, queries=2)
NEEDS_DASK = pytest.mark.skipif(
    find_spec("distributed") is None, reason="dask is not installed: '.[cluster]'"
)
NEEDS_JOBQUEUE = pytest.mark.skipif(
    find_spec("dask_jobqueue") is None, reason="dask-jobqueue is not installed: '.[cluster]'"
)
BY = ["processes", pytest.param("dask", marks=NEEDS_DASK)]

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
@pytest.mark.parametrize("by", BY)
def test_workers_know_the_pools_own_operators(by):
    images = load_data("digits", shape=SHAPE).search
    alone = Population(OWN, images, SHAPE, (64, 6, 10), kernel="einsum")
    theta, seeds = torch.tensor([1e-2, 1e-3], dtype=torch.float64), range(9)
    with started(by, 2, [images]) as executor:
        by_workers = alone(theta, seeds, gradient=(0, 1), executor=executor)
    here = alone(theta, seeds, gradient=(0, 1))
    assert torch.equal(by_workers.loss, here.loss)
    assert torch.equal(by_workers.gradient, here.gradient)


def test_a_search_has_as_many_threads_as_it_was_told():
    before = torch.get_num_threads()
    with started("processes", 1, threads=before + 1) as executor:
        assert executor is None
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with started("processes", 1):
        assert torch.get_num_threads() == before


@pytest.mark.slow
@pytest.mark.parametrize("by", BY)
def test_workers_share_the_threads(by):
    with started(by, 2, threads=6) as executor:
        pieces = [Piece(f"threads {number}", None) for number in range(4)]
        assert executor.map(_threads, pieces) == [3] * 4


def _threads(_):
    return torch.get_num_threads()


# --- a script that cannot be imported again ------------------------------------------------------

SCRIPT = """
from rulesearch import Config, Pool, load_data, search
config = Config(layers=(6,), ways=2, shots=3, queries=2, meta_steps=1, trials=1, workers=2,
                kernel="einsum", executor="{by}")
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
@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("run", ["", ", run='run'"])
def test_a_script_without_a_main_guard_is_told_so(tmp_path, run, by):
    (tmp_path / "script.py").write_text(SCRIPT.format(run=run, by=by))
    code, line = said(["script.py"], cwd=tmp_path)
    assert code == 1
    assert line == (
        "rulesearch.errors.RuleSearchError: workers=2: the worker processes ended as they began; a "
        'script that searches with workers does so below if __name__ == "__main__":, because '
        "they import it again; or give workers=1"
    )


@pytest.mark.slow
@pytest.mark.parametrize("by", BY)
def test_a_program_from_standard_input_is_told_so(tmp_path, by):
    code, line = said(["-"], input=SCRIPT.format(run="", by=by), cwd=tmp_path)
    assert code == 1
    assert line.startswith("rulesearch.errors.RuleSearchError: workers=2: worker processes import")
    assert "<stdin> is no file" in line


# --- pieces --------------------------------------------------------------------------------------


def doubled(number):
    time.sleep(0.05)
    return 2 * number


def second(packed):
    heavy, number = unpacked(packed)
    return number * len(heavy)


def deadly(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def process_of(number):
    return os.getpid()


def pieces(tasks):
    return [Piece(f"piece {number}", task) for number, task in enumerate(tasks)]


@pytest.mark.slow
@pytest.mark.parametrize(("renewed", "expected"), [(2, [0, 0, 1, 1, 2]), (0, [0] * 5)])
def test_a_process_is_begun_anew_after_so_many_pieces(renewed, expected):
    with in_processes([], 1, renewed=renewed) as executor:
        found = executor.map(process_of, pieces(range(5)))
        assert len(executor.all) == len(executor.idle) == 1
    assert [[*dict.fromkeys(found)].index(process) for process in found] == expected


@pytest.mark.slow
@pytest.mark.parametrize("by", BY)
def test_pieces_are_carried_out_whoever_dies(by):
    heavy = ["heavy"] * 1000
    with started(by, 2, [heavy]) as executor:
        assert executor.map(doubled, pieces(range(5))) == [0, 2, 4, 6, 8]
        value = [heavy, 2]
        packed = executor.packed(value)
        assert executor.packed(value) is packed
        assert len(packed.content) < 50  # what is shared stays where it is
        assert executor.map(second, pieces([packed, packed])) == [2000, 2000]
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)  # without a piece
        assert executor.map(doubled, pieces(range(5))) == [0, 2, 4, 6, 8]
        answers = dict(executor.answers(deadly, pieces(range(4))))
        assert answers == {0: 0, 1: GivenUp("piece 1", 4), 2: 2, 3: 3}
        assert executor.map(second, pieces([packed])) == [2000]  # those who came later have it too
        with pytest.raises(RuleSearchError, match=r"^piece 0: 4 workers have died of it, [^\n]*$"):
            executor.map(deadly, pieces([1]))


@pytest.mark.slow
@pytest.mark.parametrize("by", BY)
def test_a_worker_killed_at_its_piece_is_replaced(by):
    found, killed = {}, False
    with started(by, 2) as executor:
        for number, answer in executor.answers(doubled, pieces(range(20))):
            found[number] = answer
            if not killed:
                os.kill(multiprocessing.active_children()[-1].pid, signal.SIGKILL)
                killed = True
    assert [found[number] for number in range(20)] == [*range(0, 40, 2)]


@pytest.mark.slow
@NEEDS_DASK
def test_a_search_by_dask_has_the_bits_of_processes(tmp_path):
    """A whole search by this process alone, by two processes, and by two workers of dask."""
    pool = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre")
    data = load_data("digits", shape=SMALL.shape)
    results, stages = [], []
    for by, workers in (("processes", 1), ("processes", 2), ("dask", 2)):
        run, config = tmp_path / f"{by} {workers}", replace(SMALL, executor=by, workers=workers)
        results.append(search(pool, data, config, run=run))
        kept = content(run)
        stages.append({n: each["value"] for n, each in kept.items() if n.startswith("stages/")})
    assert results[2].config["executor"] == "dask"
    plain = [replace(each, seconds=0.0, config={}, machine={}) for each in results]
    assert plain[0] == plain[1] == plain[2]
    assert len(stages[0]) > 10
    assert stages[0] == stages[1] == stages[2]


# --- clusters ------------------------------------------------------------------------------------


@pytest.mark.slow
@NEEDS_DASK
def test_workers_of_a_scheduler_that_is_there(tmp_path):
    """dask's own commands, as on several machines; and what is said where they are not right."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli"]
    workers = [*dask[:2], "distributed.cli.dask_worker", "--scheduler-file", str(file)]
    scheduler = [*dask[:2], "distributed.cli.dask_scheduler", "--scheduler-file", str(file)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    quiet["env"] = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    begun = [subprocess.Popen([*scheduler, "--port", "0", "--host", "127.0.0.1"], **quiet)]
    try:
        wait_for(lambda: file.exists() and file.read_text().endswith("}"))
        address = json.loads(file.read_text())["address"]
        with pytest.raises(RuleSearchError, match="has no workers; start some by `dask worker"):
            reached(address)
        begun += [subprocess.Popen([*workers, "--nthreads", "1"], **quiet) for _ in range(2)]
        wait_for(lambda: has_workers(address, 2))
        heavy = ["heavy"] * 5
        with started(f"dask:{address}", 1, [heavy]) as executor:
            assert executor.threads == max(1, cores() // 2)
            packed = executor.packed([heavy, 2])
            assert executor.map(second, pieces([packed] * 3)) == [10] * 3
        begun.append(subprocess.Popen([*workers, "--nthreads", "3"], **quiet))
        wait_for(lambda: has_workers(address, 3))
        with pytest.raises(RuleSearchError, match="takes 3 pieces at once; start it with --nthr"):
            reached(address)
    finally:
        for process in reversed(begun):
            process.terminate()
            process.wait()
    with pytest.raises(RuleSearchError, match=r"no scheduler answers \(.*\); start one by"):
        reached(address)


def reached(address):
    with started(f"dask:{address}", 1):
        pass


def has_workers(address, count):
    from dask.distributed import Client

    with Client(address, set_as_default=False) as client:
        return len(client.nthreads()) == count


def wait_for(happened, seconds=60):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.2)


SBATCH = """#!/bin/bash
bash "$1" >job-$$.out 2>&1 &
echo "Submitted batch job $!"
cat "$1" >>script.txt
"""


@pytest.mark.slow
@NEEDS_JOBQUEUE
def test_jobs_of_slurm_are_submitted_and_carry_out_pieces(tmp_path, monkeypatch):
    """With commands in the place of Slurm's that run a job at once, in the background."""
    for name, text in (("sbatch", SBATCH), ("scancel", "#!/bin/bash\npkill -P $1\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    (tmp_path / "jobs.toml").write_text('cores = 4\nmemory = "2GB"\nqueue = "short"\n')
    heavy = ["heavy"] * 5
    with started("slurm:jobs.toml", 2, [heavy]) as executor:
        assert executor.threads == 4
        packed = executor.packed([heavy, 2])
        assert executor.map(second, pieces([packed] * 3)) == [10] * 3
    script = (tmp_path / "script.txt").read_text()
    assert "#SBATCH -p short" in script
    assert "--cpus-per-task=4" in script
    for text, said in (("coars = 4", "coars"), ("memory = 3 =", "not TOML, "), ("", "cores")):
        (tmp_path / "jobs.toml").write_text(text)
        with (
            pytest.raises(RuleSearchError, match=rf"^slurm:jobs.toml: [^\n]*{said}[^\n]*$"),
            started("slurm:jobs.toml", 2),
        ):
            pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dusk", "dusk: unknown; did you mean dask?"),
        ("threads:2", "threads:2: unknown; give processes, dask, dask:tcp://HOST:PORT, slurm, or "),
        ("processes:4", "processes:4: unknown; give processes, dask, "),
        ("dask:", "dask:: unknown; give processes, "),
        ("slurm:nowhere.toml", "slurm:nowhere.toml: no such file; give one with dask-jobqueue's"),
    ],
)
@NEEDS_JOBQUEUE
def test_what_is_no_executor(text, said):
    with pytest.raises(RuleSearchError) as raised:
        named(text)
    (line,) = raised.value.lines
    assert line.startswith(said)


def test_a_package_that_is_missing_is_one_line(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "rulesearch.executors.by_name.find_spec",
        lambda name: None if name == "distributed" else found(name),
    )
    assert main(["--term", "-e_post*y_pre", "--executor", "dask", "--quiet"]) == 2
    assert capsys.readouterr().err == (
        "--executor dask: dask.distributed is not installed; pip install 'rulesearch[cluster]', "
        "or take processes\n"
    )


@NEEDS_JOBQUEUE
def test_where_no_jobs_can_be_submitted(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(RuleSearchError, match=r"^slurm: no sbatch here; run it where "),
        started("slurm", 2),
    ):
        pass


# --- a parent that is killed ---------------------------------------------------------------------

PARENT = """
import multiprocessing, sys, time
from rulesearch.executors import started
if __name__ == "__main__":
    with started("{by}", 2):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(100)
"""


@pytest.mark.slow
@pytest.mark.parametrize("by", BY)
def test_workers_end_with_a_parent_that_is_killed(tmp_path, by):
    (tmp_path / "parent.py").write_text(PARENT.format(by=by))
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
