"""Sweeps: which searches there are, that none runs twice, and the same answer whoever dies."""

import csv
import io
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from commands import TINY, python
from small_runs import content, make_small
from test_executors import NEEDS_DASK

import rulesearch.sweep.engine as engine
from rulesearch import Config, Pool, Result, RuleSearchError, load_data, search, sweep
from rulesearch.records.plain import to_plain
from rulesearch.runs.moved import files_of, write_files
from rulesearch.sweep.__main__ import main
from rulesearch.sweep.arguments import read
from rulesearch.sweep.planned import planned

ROOT = Path(__file__).parents[1]
TWO = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre")
DECAY = Pool(F0="-e_post*y_pre", F3="-W")
OPTIONS = {
    **{"layers": (6,), "ways": 2, "shots": 3, "queries": 2, "meta_steps": 2, "meta_batch": 2},
    **{"trials": 1, "kernel": "einsum", "effort": to_plain(TINY)},
}


# --- which searches ------------------------------------------------------------------------------


def test_every_pool_in_every_world_with_every_seed():
    worlds = ["digits", {"dataset": "mnist", "layers": [[170], [20, 10]], "name": "two depths"}]
    plan = planned(["a", "b"], worlds, [0, 7], {"effort": "quick", "layers": [130, 70]})
    assert [each.name for each in plan] == [
        *("a-digits-0", "a-digits-7", "b-digits-0", "b-digits-7"),
        *(f"{pool}-two depths-{seed}" for pool in "ab" for seed in (0, 7)),
    ]
    assert {each.config.layers for each in plan} == {(130, 70), ((170,), (20, 10))}
    assert [each.config.seed for each in plan] == [0, 7] * 4
    assert {each.config.effort for each in plan} == {"quick"}


def test_worlds_are_called_by_their_data_and_by_layers_where_those_tell_them_apart():
    def names(*worlds):
        return [each.world for each in planned(["a"], worlds, [0], {})]

    several = {"dataset": ["emnist", "mnist"]}
    assert names("digits", several) == ["digits", "emnist+mnist"]
    deep = {"dataset": "digits", "layers": [20, 10]}
    assert names("digits", deep) == ["digits-170-130-100-70", "digits-20-10"]
    assert names() == ["digits"]


def test_seeds_that_are_no_numbers_are_told_and_not_compared():
    with pytest.raises(RuleSearchError) as refusal:
        planned(["a"], [], [[0, 1], {}], {})
    assert refusal.value.lines == (
        "seeds: [0, 1]; give whole numbers, not negative",
        "seeds: {}; give whole numbers, not negative",
    )


def test_a_rule_to_begin_at_is_an_option():
    (one,) = planned(["a"], [], [0], {"from": "paper"})
    assert one.config.begin["name"] == "paper"


WRONG = {
    "no pool": ("seeds = [1]", "no pool; give grammar files, as in pools = "),
    "unknown": ("pools = ['a.py']\nlayer = [3]", "layer: no option; did you mean layers?"),
    "of a world": ("pools = ['a.py']\n[[worlds]]\nlayer = [3]", "world 1: layer: no option of a s"),
    "range": ("pools = ['a.py']\nlayers = [3, 0]", r"layers\[1\]: must be at least 1"),
    "choice": ("pools = ['a.py']\npathway = 'randm'", "pathway: unknown; give one of random, "),
    "the seed": ("pools = ['a.py']\nseed = 3", "seed: no option; did you mean seeds?"),
    "one's seed": ("pools = ['a.py']\n[[worlds]]\nseed = 3", "world 1: seed: of the whole sweep; "),
    "seeds": ("pools = ['a.py']\nseeds = 3", "seeds: 3; give a list of whole numbers"),
    "no number": ("pools = ['a.py']\nseeds = [0.5]", "seeds: 0.5; give whole numbers"),
    "twice": ("pools = ['a.py']\nseeds = [1, 1]", "seeds: one is given twice; give each once"),
    "no seed": ("pools = ['a.py']\nseeds = []", "no seed; give some, as in seeds = "),
    "one name": ("pools = ['a.py', 'b/a.py']", "pool a: two are called so; give each another name"),
    "one world": (
        "pools = ['a.py']\nworlds = ['mnist', 'mnist']",
        "two are called so; give each",
    ),
    "a path": ("[pools]\n'a/b' = 'a.py'", "pool 'a/b': no name for a folder; give one of letters"),
    "not TOML": ("pools = [", "not TOML, "),
    "no list": ("pools = 3", "pools: 3; give a list of grammar files, or a table of names and"),
    "workers": ("pools = ['a.py']\nworkers = true", "workers: True; give a whole number"),
    "world": ("pools = ['a.py']\nworlds = [3]", "world 1: 3; give a data set, or a table of opt"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_told_in_a_line(tmp_path, case):
    text, said = WRONG[case]
    file = tmp_path / "many.toml"
    file.write_text(text)
    with pytest.raises(RuleSearchError) as raised:
        read([str(file)], "rulesearch sweep")
    (line,) = raised.value.lines
    assert re.search(said, line), line
    assert line.startswith(f"{file}: ")


def test_what_is_not_there_is_told_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("many.toml").write_text("pools = ['nowhere.py']\nworlds = ['mnst']")
    assert main(["many.toml", "--executor", "dusk", "--workers", "0", "--out", "file"]) == 2
    assert [line.partition(";")[0] for line in capsys.readouterr().err.splitlines()] == [
        "nowhere.py: no such file",
        "dataset mnst: unknown data set",
        "--executor dusk: unknown",
        "--workers 0: must be at least 1 and at most 1,024",
        "--out file: not a folder",
    ]
    Path("run").mkdir()
    Path("run/config.json").write_text("{}")
    assert main(["many.toml", "--out", "run"]) == 2
    assert "--out run: holds a run; give another folder\n" in capsys.readouterr().err
    assert main(["nowhere.toml"]) == 2
    assert capsys.readouterr().err.startswith("nowhere.toml: no such file; give a TOML file")


def test_help_needs_nothing_heavy():
    code = "from rulesearch.__main__ import main; import sys\ntry: main(['sweep', '--help'])\n"
    code += "except SystemExit: pass\nassert not {'torch', 'sympy', 'dask'} & {*sys.modules}"
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


# --- running them --------------------------------------------------------------------------------


@pytest.fixture
def soon(monkeypatch):
    """Searches that take a moment, in this process."""
    make_small(monkeypatch.setattr)


def counted(monkeypatch):
    """The run directories of searches that this process begins or goes on with."""
    begun = []

    def counting(*given, run=None, **options):
        begun.append(run and run.name)
        return search(*given, run=run, **options)

    monkeypatch.setattr(engine, "search", counting)
    return begun


def test_a_sweep_gives_a_row_for_each_and_runs_none_twice(tmp_path, soon, monkeypatch):
    begun = counted(monkeypatch)
    asked = {"worlds": ["digits"], "out": tmp_path, **OPTIONS}
    first = sweep({"two": TWO}, seeds=[7], **asked)
    assert begun == ["two-digits-7"]
    told = []
    both = sweep(
        {"decay": DECAY, "two": TWO},
        seeds=[7],
        watch=lambda row, done, of: told.append((row.pool, row.seed, done, of)),
        **asked,
    )
    assert begun == ["two-digits-7", "decay-digits-7"]
    assert told == [("decay", 7, 2, 2)]
    assert both.rows[1] == first.rows[0]
    assert [(row.pool, row.seed) for row in both.rows] == [("decay", 7), ("two", 7)]
    for row in both.rows:
        result = Result.load(tmp_path / f"{row.pool}-{row.world}-{row.seed}")
        assert (row.support, row.seconds) == (result.support, result.seconds)
        assert row.gained == result.evaluation["feedback_alignment"].gained
    again = sweep({"decay": DECAY, "two": TWO}, seeds=[7], **asked)
    assert again.rows == both.rows
    assert len(begun) == 2
    lines = [*csv.DictReader(io.StringIO(both.to_csv()))]
    assert [line["support"] for line in lines] == [", ".join(row.support) for row in both.rows]
    assert float(lines[0]["loss"]) == both.rows[0].loss
    assert "2 of 2 searches" in str(both)
    assert "feedback" in str(both)


def test_a_search_is_the_one_that_it_would_be_alone(tmp_path, soon):
    asked = Config(seed=3, **OPTIONS | {"effort": TINY})
    alone = search(TWO, load_data("digits", shape=asked.shape), asked)
    (row,) = sweep(TWO, seeds=[3], **OPTIONS).rows
    assert (row.pool, row.world, row.seed) == ("pool", "digits", 3)
    assert (row.support, row.loss) == (alone.support, alone.evaluation["rule"].loss)


def test_a_search_that_fails_has_a_row_that_says_why(tmp_path, soon):
    pools = {"bad": Pool(F0="-e_post*y_pre", G="1/y_pre"), "two": TWO}
    found = sweep(pools, out=tmp_path, **OPTIONS)
    bad, two = found.rows
    assert bad.failed.startswith("term G, 1/y_pre: not finite at initialisation")
    assert two.support
    assert found.failed == (bad,)
    assert "bad digits 0: no result: term G, 1/y_pre: not finite" in str(found)
    assert [path.name for path in tmp_path.iterdir()] == ["two-digits-0"]


def test_runs_of_others_are_refused_before_any_is_begun(tmp_path, soon, monkeypatch):
    sweep({"two": TWO}, out=tmp_path, **OPTIONS)
    begun = counted(monkeypatch)
    with pytest.raises(RuleSearchError) as raised:
        sweep({"own": TWO, "two": TWO}, out=tmp_path, **OPTIONS | {"shots": 4})
    (line,) = raised.value.lines
    assert line.startswith(f"{tmp_path / 'two-digits-0'}: began with --shots 3, not 4; go on with")
    with pytest.raises(RuleSearchError, match="two-digits-0: began with another pool; go on"):
        sweep({"two": DECAY}, out=tmp_path, **OPTIONS)
    with pytest.raises(RuleSearchError, match="two, digits: --ways 11: digits has 10 classes"):
        sweep({"two": TWO}, **OPTIONS | {"ways": 11, "shots": 1, "queries": 1})
    assert begun == []


def test_files_of_a_run_are_moved_and_the_result_comes_last(tmp_path, monkeypatch):
    there = {"config.json": b"1", "stages/a.json": b"2", "result.json": b"3", "a.png": b"\x00"}
    write_files(tmp_path / "run", {"config.json": b"0", "checkpoints/a.json": b"9"})
    written = []
    real = engine.write_files.__globals__["replace_file"]

    def noting(path, content, way_out):
        written.append(path.name)
        real(path, content, way_out)

    monkeypatch.setitem(engine.write_files.__globals__, "replace_file", noting)
    write_files(tmp_path / "run", there)
    assert (written[0], written[-1]) == ("config.json", "result.json")
    assert files_of(tmp_path / "run") == there
    assert files_of(tmp_path / "none") == {}


FILE = """
seeds = [{seeds}]
layers = [6]
ways = 2
shots = 3
queries = 2
meta-steps = 2
meta_batch = 2
trials = 1
kernel = "einsum"
[pools]
two = "two.toml"
decay = "decay.toml"
[[worlds]]
dataset = "digits"
[[worlds]]
dataset = "digits"
pathway = "symmetric"
name = "tied"
[effort]
{effort}
"""


def write_sweep(folder, seeds):
    """A sweep's file and its pools, in a folder."""
    effort = "\n".join(f"{name} = {value}" for name, value in to_plain(TINY).items())
    (folder / "many.toml").write_text(
        FILE.format(seeds=", ".join(map(str, seeds)), effort=effort.replace("True", "true"))
    )
    (folder / "two.toml").write_text('[terms]\nF0 = "-e_post*y_pre"\nF2 = "-e_post*e_pre"\n')
    (folder / "decay.toml").write_text('[terms]\nF0 = "-e_post*y_pre"\nF3 = "-W"\n')


def test_the_command_writes_a_table(tmp_path, soon, monkeypatch, capsys):
    write_sweep(tmp_path, [0])
    file = tmp_path / "many.toml"
    file.write_text(file.read_text().replace('decay = "decay.toml"', ""))
    monkeypatch.chdir(tmp_path)
    assert main(["many.toml"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("1 of 2: two digits 0: F")
    assert "2 of 2 searches" in said.out
    assert "backprop" in said.out  # the symmetric pathway
    out = Path("runs/many")
    runs = {"two-digits-0", "two-tied-0"}
    assert {path.name for path in out.iterdir()} == {*runs, "sweep.csv", "sweep.txt"}
    assert len((out / "sweep.csv").read_text().splitlines()) == 3
    assert main(["many.toml", "--quiet"]) == 0
    again = capsys.readouterr()
    assert (again.out, again.err) == (said.out, "")


# --- whoever dies --------------------------------------------------------------------------------


def kept(folder):
    """All runs of a sweep, but for what time and machine say."""
    runs = {}
    for run in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = content(run)
        for name, held in files.items():
            if name.endswith(".json"):
                for word in ("machine", "versions"):
                    held.pop(word, None)
        # Of which the page and the figures are made.
        shown = (".json", ".jsonl", ".csv", ".tex")
        runs[run.name] = {name: held for name, held in files.items() if name.endswith(shown)}
        assert not any(b"rulesearch-sweep" in path.read_bytes() for path in run.rglob("*.*"))
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("by", ["processes", pytest.param("dask", marks=NEEDS_DASK)])
def test_a_sweep_ends_with_the_same_answer_whoever_dies(tmp_path, by):
    """By this process; by two workers; by two of which one is killed in the middle."""
    asked = {"worlds": ["digits"], "seeds": [0, 1, 2], **OPTIONS}
    here = sweep({"two": TWO}, out=tmp_path / "here", **asked)
    killed = []

    def kill(row, done, of):
        if not killed:
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    there = sweep({"two": TWO}, out=tmp_path / "there", executor=by, workers=2, watch=kill, **asked)
    assert killed
    assert plain(there) == plain(here)
    assert kept(tmp_path / "there") == kept(tmp_path / "here")


def plain(found):
    return [replace(row, seconds=None) for row in found.rows]


@pytest.mark.slow
def test_what_was_begun_goes_on_at_a_worker(tmp_path):
    """Of one run half of the stages are there, of the other all, and workers do the rest."""
    asked = {"seeds": [0, 1], **OPTIONS}
    whole = sweep({"two": TWO}, out=tmp_path, **asked)
    before = kept(tmp_path)
    for run in tmp_path.iterdir():
        (run / "result.json").unlink()
    stages = sorted((tmp_path / "two-digits-0" / "stages").iterdir(), key=written)
    for path in stages[len(stages) // 2 :]:
        path.unlink()
    first = written(stages[0])
    again = sweep({"two": TWO}, out=tmp_path, workers=2, executor="processes", **asked)
    assert plain(again) == plain(whole)
    assert kept(tmp_path) == before
    assert written(stages[0]) > first  # it has been at a worker


def written(path):
    return path.stat().st_mtime_ns


@pytest.mark.slow
def test_forty_searches_interrupted_twice_run_each_to_its_end_once(tmp_path):
    """By an interrupt, as from the keyboard, and by SIGKILL; then to the end, by two workers."""
    write_sweep(tmp_path, range(10))
    out = tmp_path / "out"
    ended = {}
    for stop, after in ((signal.SIGINT, 8), (signal.SIGKILL, 20)):
        process = begun(tmp_path, out)
        while len(results(out)) < after and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(stop)
        said = process.communicate()[1]
        if stop == signal.SIGINT:
            assert process.returncode == 130, said
            assert said.splitlines()[-1] == f"stopped; the same command goes on with {out}"
        assert results(out).items() >= ended.items()
        ended = results(out)
        assert after <= len(ended) < 40
    process = begun(tmp_path, out)
    shown = process.communicate()
    assert process.returncode == 0, shown[1]
    assert "40 of 40 searches" in shown[0]
    assert len(results(out)) == 40
    assert results(out).items() >= ended.items()  # none of those was written again
    told = [line for line in shown[1].splitlines() if " of 40: " in line]
    assert len(told) == 40 - len(ended)
    assert len((out / "sweep.csv").read_text().splitlines()) == 41


def begun(folder, out):
    """The command, by two workers, in a process of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "rulesearch.sweep", "many.toml"),
            *("--out", str(out), "--workers", "2"),
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        # A shell has what it runs in the background ignore interrupts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def results(out):
    """Run -> when its result was written, of those that are finished."""
    found = {}
    for path in out.glob("*/result.json"):
        found[path.parent.name] = (path.stat().st_mtime_ns, path.stat().st_ino)
    return found
