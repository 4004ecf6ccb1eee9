"""Damaged run directories: a line that names the file, or exactly the same result; never else."""

import json
import random
import shutil

import pytest
from commands import small_defaults
from small_runs import ARGUMENTS, EFFORT, content

from rulesearch.errors import RuleSearchError
from rulesearch.result import Result
from rulesearch.search import stages
from rulesearch.search.__main__ import main

#: What a value may become; none of it is what any field held.
OTHERS = [None, True, -1, 10**30, 1e308, 1.5, "ab", "", [], [1], {}, {"a": 1}, -1e-9, "nan", [[]]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run, and one that was stopped in the middle of a trial."""
    folder = tmp_path_factory.mktemp("runs")
    whole, half = folder / "whole", folder / "half"
    with pytest.MonkeyPatch.context() as patch:
        small_defaults(patch, EFFORT)
        patch.setattr(stages, "CHECKPOINT_EVERY", 2)
        assert main([*ARGUMENTS, "--quiet", "--out", str(whole)]) == 0
        append, left = stages.append_history, [3]

        def stopped(run, row):
            append(run, row)
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        patch.setattr(stages, "append_history", stopped)
        assert main([*ARGUMENTS, "--quiet", "--out", str(half)]) == 130
    assert list((half / "checkpoints").iterdir())
    return whole, half


def places(value, path=()):
    """The path of every value inside plain data."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inside:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def damaged(text, draw):
    """A document with one change: of a value, a field, or the bytes."""
    kind = draw.choice(["value", "value", "value", "missing", "extra", "cut", "byte", "empty"])
    if kind == "empty":
        return b""
    if kind == "cut":
        return text[: draw.randrange(len(text))]
    if kind == "byte":
        place = draw.randrange(len(text))
        return text[:place] + bytes([draw.randrange(256)]) + text[place + 1 :]
    value = json.loads(text)
    *path, last = draw.choice(list(places(value)))
    holder = value
    for key in path:
        holder = holder[key]
    if kind == "extra" and isinstance(holder, dict):
        holder["extra"] = draw.choice(OTHERS)
    elif kind == "missing":
        del holder[last]
    elif isinstance(holder[last], int | float) and draw.random() < 0.5:
        holder[last] = holder[last] * (1 + 1e-9) + draw.choice([0, 1])
    else:
        holder[last] = draw.choice(OTHERS)
    return json.dumps(value).encode()


def try_damage(seed, runs, folder, capfd):
    """Damage a file of a run; what happens then is checked. Gives a word for what it was."""
    draw = random.Random(seed)
    whole, half = runs
    before = content(whole)
    run = folder / str(seed)
    capfd.readouterr()
    if draw.random() < 0.2:
        shutil.copytree(whole, run)
        path = run / "result.json"
        path.write_bytes(damaged(path.read_bytes(), draw))
        lines: tuple[str, ...] = ()
        try:
            same = Result.load(run) == Result.load(whole)
        except RuleSearchError as error:
            same, lines = False, error.lines
        assert same or lines, seed
        assert all(str(path) in line for line in lines), (seed, lines)
        return "same" if same else "refused"
    shutil.copytree(half, run)
    folders = draw.choice([".", "stages", "checkpoints"])
    path = draw.choice(sorted(p for p in (run / folders).iterdir() if p.is_file()))
    if path.name in ("history.jsonl", "hall_of_fame.csv"):  # made anew, for people to look at
        text = path.read_bytes()
        path.write_bytes(text[: draw.randrange(len(text))])
    else:
        path.write_bytes(damaged(path.read_bytes(), draw))
    code = main(["--resume", str(run), "--quiet"])
    said = capfd.readouterr().err
    if code == 0:
        assert said == "", seed
        assert content(run) == before, (seed, path)
        return "same"
    assert code in (1, 2), (seed, code, said)
    assert "Traceback" not in said, seed
    assert said.splitlines(), seed
    assert all(str(path) in line for line in said.splitlines()), (seed, said)
    return "refused"


@pytest.mark.parametrize("number", [8, pytest.param(500, marks=pytest.mark.slow)])
def test_damage_is_a_line_or_the_same_result(number, runs, tmp_path, monkeypatch, capfd):
    small_defaults(monkeypatch, EFFORT)
    monkeypatch.setattr(stages, "CHECKPOINT_EVERY", 2)
    happened = [try_damage(seed, runs, tmp_path, capfd) for seed in range(number)]
    assert happened.count("refused") > 0
