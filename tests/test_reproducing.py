"""What a result says of how it came about, and a search run again from its result alone."""

import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import small_defaults
from small_runs import ARGUMENTS, EFFORT, make_small
from test_going_on import write_data

from rulesearch.data import load_data
from rulesearch.machine import cores, processor
from rulesearch.notation import load_pool, pool_to_plain
from rulesearch.pursuit import settling
from rulesearch.records.documents import digest_of
from rulesearch.report.reproduced import Differing, differences, reproduced_text
from rulesearch.result import Result
from rulesearch.search import command as work
from rulesearch.search.__main__ import main
from rulesearch.search.reproducing import asked_again, other_checksums, reproduce
from rulesearch.search.request import prepare

POOL = """
[terms]
F0 = "-e_post*y_pre"
own = "half(y_post)*y_pre"
[start]
own = 0.01
[operators]
half = {arguments = ["x"], definition = "x/2 + x**3"}
"""
OPTIONS = [*ARGUMENTS[4:-2], "--meta-steps", "1", "--quiet"]


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A folder with a finished run, of a grammar with a start and an operator of its own."""
    folder = tmp_path_factory.mktemp("reproducing")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patched(patch)
        Path("pool.toml").write_text(POOL)
        write_data(folder / "mine.npz", 0)
        begun = ["pool.toml", "--dataset", "mine.npz", *OPTIONS, "--out", "first"]
        assert main(begun, "rulesearch search") == 0
        Path("pool.toml").unlink()
        yield folder


def patched(patch):
    make_small(patch.setattr)
    small_defaults(patch, EFFORT, "mine.npz")
    patch.setattr(settling, "DRAWS", 4)


@pytest.fixture
def first(there, monkeypatch):
    """Its result, where one stands in that folder."""
    monkeypatch.chdir(there)
    patched(monkeypatch)
    return Result.load("first")


def test_a_result_says_how_it_came_about(first, there):
    assert first.command[:4] == ("rulesearch", "search", "pool.toml", "--dataset")
    assert first.command[-2:] == ("--out", "first")
    assert first.machine == {
        "processor": processor(),
        "cores": str(cores()),
        "threads": str(torch.get_num_threads()),
    }
    assert first.versions["numpy"] == np.__version__
    assert first.versions["python"] == platform.python_version()
    pool, config = asked_again(first, {})
    data = load_data(str(there / "mine.npz"), shape=config.shape)
    assert first.checksums == {
        "pool": digest_of(pool_to_plain(pool)),
        "data mine": data.digest,
    }


def test_the_pool_of_a_result_is_the_one_that_was_searched(first, there):
    (there / "again.toml").write_text(POOL)
    pool, _ = asked_again(first, {})
    assert pool_to_plain(pool) == pool_to_plain(load_pool(there / "again.toml"))
    assert pool.reference == "own"


def test_run_again_nothing_but_the_time_differs(first, capsys):
    """From its `result.json` alone, wherever that has gone."""
    Path("elsewhere").mkdir()
    Path("elsewhere/result.json").write_bytes(Path("first/result.json").read_bytes())
    assert main(["--reproduce", "elsewhere/result.json", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "the same as elsewhere/result.json to the last digit; only the time differs" in said
    again = Result.load("runs/again_elsewhere-mine-seed0-1")
    assert again.command == ("python", "-m", "rulesearch.search", "--reproduce", *again.command[4:])
    assert replace(again, seconds=1, command=()) == replace(first, seconds=1, command=())


def changed(result):
    """The same with a coefficient, a version, an entry and a checksum otherwise."""
    name = result.support[0]
    return replace(
        result,
        theta={**result.theta, name: 2 * result.theta[name]},
        versions={**result.versions, "numpy": "1.2.3"},
        hall=2 * result.hall,
        checksums={**result.checksums, "data mine": "0" * 64},
        seconds=99.0,
    )


def test_what_differs_is_said_by_its_size(first, monkeypatch, capsys):
    then, name = changed(first), first.support[0]
    found = {each.path: each for each in differences(then, first)}
    assert set(found) == {f"theta.{name}", "versions.numpy", "hall", "checksums.data mine"}
    assert found[f"theta.{name}"].size == pytest.approx(0.5)
    text = reproduced_text("first", then, first).splitlines()
    assert text[0] == f"differs from first (99 s then, {first.seconds:.0f} s now):"
    assert f"  versions.numpy: 1.2.3 then, {np.__version__} now" in text
    assert "  hall: 2 entries then, 1 entry now" in text
    assert any(line.startswith(f"  theta.{name}: ") and ", by 50 %" in line for line in text)
    Path("changed.json").write_text(then.to_json())
    monkeypatch.setattr(work, "keep", lambda *_: first)
    assert main(["--reproduce", "changed.json", "--out", "second"]) == 3
    said = capsys.readouterr().out
    assert "data mine: not what it was (checksum 000000000000 then, " in said
    assert "differs from changed.json (99 s then" in said


def test_a_number_that_is_none_and_a_sign_are_differences():
    assert str(Differing("evaluation.rule.loss", None, 2.0)) == (
        "evaluation.rule.loss: None then, 2.0 now"
    )
    assert Differing("x", -1.0, 1.0).size == 2
    assert Differing("x", True, 1).size is None


def test_other_data_are_said_before_anything_runs(first, there):
    write_data(there / "noise.npz", 1)
    pool, config = asked_again(first, {"dataset": str(there / "noise.npz")})
    request = prepare(pool, load_data(config.dataset, shape=config.shape), config)
    (line,) = other_checksums(first, request)  # whatever they are called now
    assert line.startswith("data noise: not what it was (checksum ")
    assert "none then" not in line
    (line,) = other_checksums(replace(first, checksums={}), request)
    assert "before checksums were kept" in line


def test_what_cannot_be_run_again_is_one_line(first, there, capsys):
    assert main(["--reproduce", "nothing"]) == 2
    assert capsys.readouterr().err == (
        "--reproduce nothing/result.json: no such file; give the directory of a finished run\n"
    )
    assert main(["--reproduce", "first", "--seed", "3"]) == 2
    assert capsys.readouterr().err == (
        "--reproduce first: runs what was asked for then; leave out --seed\n"
    )
    assert main(["--reproduce", "first", "--out", "first"]) == 2
    assert "--out first: already holds a run" in capsys.readouterr().err
    Path("broken.json").write_text("{}")
    assert main(["--reproduce", "broken.json"]) == 2
    assert capsys.readouterr().err.startswith("--reproduce broken.json: schema_version is null")


def test_from_python_it_gives_what_differs(first, monkeypatch):
    from rulesearch.search import reproducing

    then = changed(first)
    Path("then.json").write_text(then.to_json())
    monkeypatch.setattr(reproducing, "search", lambda *_, **__: first)
    now, found = reproduce("then.json")
    assert (now, found) == (first, differences(then, first))


def test_numbers_of_two_kinds_are_one_number(first):
    """What Python calls 0 is read back as 0.0."""
    as_int = replace(first, config={**first.config, "noise": 0})
    as_float = replace(first, config={**first.config, "noise": 0.0})
    assert differences(as_int, as_float) == ()
    (apart,) = differences(as_int, replace(first, config={**first.config, "noise": 1}))
    assert str(apart) == "config.noise: 0 then, 1 now, by 100 %"
