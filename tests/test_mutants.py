"""Mutants: which there are, how they are drawn, and what becomes of one that is tried."""

import json
from importlib.util import find_spec

import pytest

from benchmarks import mutants
from benchmarks.mutants import (
    KILLED,
    OF_MODULE,
    ROOT,
    STOPPED,
    SURVIVED,
    TESTS,
    TOO_LONG,
    Mutant,
    Tried,
    counts,
    difference,
    draw,
    listed,
    modules,
    mutated,
    outcomes,
    passed,
    suite,
    tried,
)

needs_cosmic_ray = pytest.mark.skipif(
    find_spec("cosmic_ray") is None, reason="cosmic-ray is not installed: '.[quality]'"
)

MODULE = "rulesearch/halving.py"
TEXT = '''"""Halves of 2."""

from typing import Annotated


def halves(x: int | None) -> int:
    """How often x can be halved, 1 more or less."""
    count = 0  # of 2
    while x > 1:
        x, count = x // 2, count + 1
    return count


class Limits:
    least: Annotated[int, range(1, 5)] = 3
    most: int | None = None
'''
TEST = """from rulesearch.halving import halves


def test_one():
    assert halves(1) == 0


def test_eight():
    assert halves(8) == 3
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree of one module and its tests."""
    room = tmp_path / "tree" / "rulesearch"
    room.mkdir(parents=True)
    (room / "__init__.py").touch()
    (room / "halving.py").write_text(TEXT)
    tests = tmp_path / "tree" / "tests"
    tests.mkdir()
    (tests / "test_halving.py").write_text(TEST)
    monkeypatch.setattr(mutants, "IMPORTED", ("pytest", "hypothesis"))
    monkeypatch.setattr(mutants, "TESTS", {"halving": ("tests/test_halving.py",)})
    return tmp_path / "tree"


def made(operator, occurrence=0):
    (mutant,) = [
        m for m in listed(MODULE, TEXT) if (m.operator, m.occurrence) == (operator, occurrence)
    ]
    return mutant


# --- which there are -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Halves of 2", "Halves of 3"),
        ("1 more or less", "2 more or less"),
        ("# of 2", "# of 3"),
        ("x: int | None", "x: int + None"),
        ("-> int", "-> float"),
        ("most: int | None", "most: int - None"),
        ("x > 1", "x > > 1"),
    ],
)
def test_what_is_not_run_and_what_is_no_python_is_no_mutant(old, new):
    assert old in TEXT
    assert not counts(TEXT, TEXT.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"), [("x > 1", "x >= 1"), ("range(1, 5)", "range(2, 5)"), ("= None", "= 1")]
)
def test_what_is_run_or_read_is_a_mutant(old, new):
    assert old in TEXT
    assert counts(TEXT, TEXT.replace(old, new))


@needs_cosmic_ray
def test_the_operators_list_what_they_can_make():
    found = listed(MODULE, TEXT)
    assert made("ReplaceComparisonOperator_Gt_GtE") == Mutant(
        MODULE, 9, "ReplaceComparisonOperator_Gt_GtE", 0
    )
    assert [m.line for m in found if m.operator == "NumberReplacer"] == [
        line for line in (8, 9, 10, 10, 15, 15, 15) for _ in range(2)
    ]
    assert not [m for m in found if m.operator in mutants.LEFT_OUT]


@needs_cosmic_ray
def test_a_mutant_changes_its_line_and_no_other():
    mutant = made("ReplaceBinaryOperator_FloorDiv_Mul")
    changed = mutated(TEXT, mutant)
    assert changed == TEXT.replace("x // 2", "x * 2")
    before = "        x, count = x // 2, count + 1"
    assert difference(MODULE, TEXT, changed) == f"-{before}\n+{before.replace('//', '*')}"


# --- drawing -------------------------------------------------------------------------------------


@needs_cosmic_ray
def test_a_draw_hangs_on_its_seed_alone(tree):
    sample = draw(tree, ["halving"], 20, seed=0)
    assert sample == draw(tree, ["halving"], 20, seed=0)
    assert sample.mutants != draw(tree, ["halving"], 20, seed=1).mutants
    assert len(set(sample.mutants)) == 20
    assert all(counts(TEXT, mutated(TEXT, m)) for m in sample.mutants)


@needs_cosmic_ray
def test_a_draw_of_all_takes_each_that_counts(tree):
    everything = listed(MODULE, TEXT)
    sample = draw(tree, ["halving"], len(everything), seed=0)
    assert sample.listed == len(everything)
    assert set(sample.mutants) == {m for m in everything if counts(TEXT, mutated(TEXT, m))}
    assert 0 < len(sample.mutants) < len(everything)


@needs_cosmic_ray
def test_a_sample_is_kept_and_holds_for_its_text_and_its_numbers(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tree)
    sample = mutants.sampled(tmp_path / "out", ["halving"], 3, 0)
    assert mutants.sampled(tmp_path / "out", ["halving"], 3, 0) == sample
    with pytest.raises(SystemExit, match="drawn with --count 3 --seed 0 --rooms halving"):
        mutants.sampled(tmp_path / "out", ["halving"], 3, 1)
    (tree / MODULE).write_text(TEXT + "\n")
    with pytest.raises(SystemExit, match=f"^{MODULE}: has changed since"):
        mutants.sampled(tmp_path / "out", ["halving"], 3, 0)


# --- trying --------------------------------------------------------------------------------------


def test_every_room_has_tests_that_are_there():
    for room, tests in TESTS.items():
        assert all((ROOT / path).exists() for path in (*modules(ROOT, room), *tests))
    assert set(OF_MODULE) <= {m for room in TESTS for m in modules(ROOT, room)}
    for test in [*TOO_LONG, *(test for tests in OF_MODULE.values() for test in tests)]:
        path, _, name = test.partition("::")
        assert not name or f"\ndef {name.partition('[')[0]}(" in (ROOT / path).read_text()


def test_the_tests_of_its_module_come_first():
    own = Mutant("rulesearch/notation/own.py", 1, "", 0)
    first, second, *_ = found = suite(own)
    assert (first, second) == (own.module, "tests/test_own_quantities.py")
    assert set(found) == {own.module, *TESTS["notation"]}
    assert suite(Mutant("rulesearch/locality.py", 1, "", 0)) == TESTS["locality"]


@needs_cosmic_ray
def test_what_becomes_of_a_mutant(tree):
    """One that a test sees, one that none can, one that never ends; the copy is as it was."""
    tests = ("tests/test_halving.py",)
    assert passed(tree, tests, 600)[0] == SURVIVED
    seen = tried(tree, 4, made("ReplaceBinaryOperator_FloorDiv_Sub"), 600)
    assert (seen.number, seen.outcome) == (4, KILLED)
    assert seen.by == "tests/test_halving.py::test_eight"
    assert (tree / MODULE).read_text() == TEXT
    unseen = tried(tree, 5, made("NumberReplacer", 13), 600)
    assert (unseen.outcome, unseen.by) == (SURVIVED, "")
    assert unseen.diff.endswith("+    least: Annotated[int, range(1, 5)] = 2")
    endless = tried(tree, 6, made("ReplaceBinaryOperator_FloorDiv_Mul"), 2)
    assert endless.outcome == STOPPED


@needs_cosmic_ray
def test_the_command_goes_on_and_tries_again_what_it_is_told_to(
    tree, tmp_path, monkeypatch, capsys
):
    drawn = (made("NumberReplacer", 13), made("ReplaceBinaryOperator_FloorDiv_Sub"))
    sample = mutants.Sample(2, 0, ("halving",), 9, {}, drawn)
    monkeypatch.setattr(mutants, "ROOT", tree)
    monkeypatch.setattr(mutants, "draw", lambda *given: sample)
    words = ["--count", "2", "--rooms", "halving", "--out", str(tmp_path / "out")]

    def lines():
        return (tmp_path / "out" / "tried.jsonl").read_text().splitlines()

    mutants.main(words)
    said = capsys.readouterr().out
    assert f"1 {MODULE}:15 survived" in said
    assert "2 of 2 tried, of 9 listed: {'survived': 1, 'killed': 1}" in said
    assert len(lines()) == 2
    mutants.main(words)
    assert len(lines()) == 2
    (tree / "tests" / "test_halving.py").write_text(TEST + "\n\ndef test_none():\n    assert 0\n")
    with pytest.raises(SystemExit, match=r"^halving: its tests fail as it is: .*::test_none$"):
        mutants.main([*words, "--only", "1"])
    (tree / "tests" / "test_halving.py").write_text(
        TEST.replace("import halves", "import Limits, halves")
        + "\n\ndef test_limits():\n"
        + "    assert Limits.__annotations__['least'].__metadata__ == (range(1, 5),)\n"
        + "    assert Limits.least == 3\n"
    )
    mutants.main([*words, "--only", "1"])
    assert len(lines()) == 3
    assert "2 of 2 tried, of 9 listed: {'killed': 2}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        mutants.main([*words, "--only", "3"])


def test_the_last_line_of_a_mutant_counts(tmp_path):
    lines = [
        {"number": n, "module": MODULE, "line": 9, "operator": "AddNot", "diff": "", "by": ""}
        | {"outcome": outcome, "seconds": 1.0}
        for n, outcome in ((1, SURVIVED), (2, KILLED), (1, KILLED))
    ]
    (tmp_path / "tried.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert outcomes(tmp_path) == {1: Tried(**lines[2]), 2: Tried(**lines[1])}
    assert outcomes(tmp_path / "elsewhere") == {}
