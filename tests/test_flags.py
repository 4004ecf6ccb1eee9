"""Flags, and a file in their place: one way to read them, whichever command."""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path

import pytest

from docs.tables import parser_of
from rulesearch.__main__ import SUBCOMMANDS, main
from rulesearch.errors import RuleSearchError
from rulesearch.flags import Parser
from rulesearch.search.arguments import read
from tests.commands import PAPER


@pytest.fixture
def parser():
    made = Parser("tried", "A command.")
    made.add_argument("files", nargs="*")
    made.add_argument("--term", action="append")
    made.add_named("--where", int, "a term and layers, as in A=1,2")
    made.add_argument("--from", dest="begin")
    made.add_argument("--layers", type=lambda text: [*map(int, text.replace("/", ",").split(","))])
    made.add_argument("--ways", type=int)
    made.add_argument("--quiet", action="store_true")
    made.add_config()
    return made


@pytest.fixture
def file(tmp_path):
    return tmp_path / "asked.toml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('files = ["a", "b"]', ["a", "b"]),
        ('term = ["-W", "-e_pre"]', ["--term", "-W", "--term", "-e_pre"]),
        ('term = "-W"', ["--term", "-W"]),
        ('where = {A = [1, 2], B = -1, C = "3"}', ["--where=A=1,2", "--where=B=-1", "--where=C=3"]),
        ('from = "x"', ["--from", "x"]),
        ("layers = [[17, 13], [5]]", ["--layers", "17,13/5"]),
        ("ways = 3\nquiet = true", ["--ways", "3", "--quiet"]),
        ("quiet = false", []),
        ("", []),
    ],
)
def test_a_file_says_what_its_flags_would(parser, file, text, words):
    file.write_text(text)
    assert parser.given(["--config", str(file)]).values == parser.given(words).values


def test_the_command_line_stands_before_the_file(parser, file):
    file.write_text('ways = 3\nterm = ["a", "b"]\nfiles = ["c"]\nfrom = "d"')
    given = parser.given(["--term", "-W", "e", "--config", str(file), "--from", "f"])
    assert given.values == {"ways": 3, "term": ["-W"], "files": ["e"], "begin": "f"}
    assert given.in_file == {"ways"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("way = 3", "way: no option; did you mean ways?"),
        ("help = true", "help: no option; give files, from, layers, quiet, term, ways, where"),
        ('ways = "x"', "ways: invalid int value: 'x'"),
        ('quiet = "no"', "quiet: 'no'; give true or false"),
        ("ways = true", "ways: True; give text, a number, or a list of them"),
        ("term = [{a = 1}]", "term: {'a': 1}; give text, a number, or a list of them"),
        ("ways = {}", "ways: {}; give text, a number, or a list of them"),
        ("where = {}", "where: {}; give text, a number, or a list of them"),
        ('term = {a = "-W"}', "term: {'a': '-W'}; give text, a number, or a list of them"),
        ("a-b = 1\na_b = 2", "a_b: given with - and with _; give it once"),
        ("ways = 2026-01-01", "ways: datetime.date(2026, 1, 1); give text, a number, or a list"),
        ("ways = ", "not TOML, Invalid value (at end of document)"),
    ],
)
def test_what_a_file_cannot_say_is_told_with_its_name(parser, file, text, told):
    file.write_text(text)
    with pytest.raises(RuleSearchError) as refusal:
        parser.given(["--config", str(file)])
    (line,) = refusal.value.lines
    assert line.startswith(f"--config {file}: {told}")


def test_all_that_is_wrong_is_told_at_once(parser, file):
    file.write_text('way = 3\nquiet = 1\nways = "x"')
    with pytest.raises(RuleSearchError) as refusal:
        parser.given(["--config", str(file)])
    assert len(refusal.value.lines) == 3


@pytest.mark.parametrize("subcommand", [name for name in SUBCOMMANDS if name != "sweep"])
def test_every_command_reads_a_file(subcommand, file, capsys):
    """A sweep is one."""
    file.write_text("colour = 'red'")
    assert main([subcommand, "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"--config {file}: colour: no option; ")
    assert any("--config" in a.option_strings for a in parser_of(subcommand)._actions)


def test_a_search_by_a_file_is_that_by_its_flags(file):
    file.write_text(
        f'grammar = "{PAPER}"\ndataset = ["digits", "emnist"]\nlayers = [[12, 10], [8]]\n'
        "where = {F2 = [2, 3]}\nbounds = {W = [-1, 1]}\nmeta-steps = 3\nl1 = 1e-3\nbias = true\n"
        'feedback_term = "-B"\ntime-limit = "10m"\nseed = 4\n'
    )
    words = (
        f"{PAPER} --dataset digits,emnist --layers 12,10/8 --where F2=2,3 --bounds W=-1,1 "
        "--meta-steps 3 --l1 1e-3 --bias --feedback-term=-B --time-limit 10m --seed 4"
    )
    by_file, by_flags = read(["--config", str(file)]), read(words.split())
    assert by_file.config == by_flags.config
    for name in ("grammar", "feedback", "bounds", "where", "seconds", "given", "per_layer"):
        assert getattr(by_file, name) == getattr(by_flags, name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ways = 1", "--ways 1: must be at least 2"),
        ('dataset = "mnst"', "--dataset mnst: unknown data set; did you mean mnist?"),
        ('terms = "3"', "--terms: beside --show RUN or --from RUN, of a finished run"),
    ],
)
def test_what_a_search_refuses_later_names_the_file_too(file, text, told, capsys):
    file.write_text(text)
    assert main(["search", PAPER, "--quiet", "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"--config {file}: {told}")


@pytest.mark.parametrize("words", [["--quiet"], ["--quiet", "--ways", "3"]])
def test_a_term_or_a_run_that_stands_in_a_file_is_named_with_it(file, words, tmp_path, capsys):
    file.write_text('term = ["-e_post*y_pre", "e_post*foo"]')
    assert main(["search", *words, "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"--config {file}: term T1: unknown symbol foo")
    file.write_text(f'resume = "{tmp_path / "nowhere"}"')
    assert main(["search", "--quiet", "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"--config {file}: ")


@pytest.mark.parametrize("words", [["--from", ""], ["--out", ""], ["--config", ""], [""]])
@pytest.mark.parametrize("subcommand", ["search", "evaluate", "export", "report", "sweep"])
def test_an_empty_argument_is_refused(subcommand, words, capsys):
    assert main([subcommand, *words]) == 2
    before = f"{words[0]}: " if words[0] else ""
    told = capsys.readouterr().err
    assert told == f"{before}an empty argument; leave it out, or say what it is\n"


def test_a_time_below_zero_is_told_as_a_time(capsys):
    assert main(["search", PAPER, "--time-limit", "-5m"]) == 2
    assert "--time-limit: -5m: give a time above 0" in capsys.readouterr().err


def test_what_the_command_line_says_is_not_put_on_the_file(file, capsys):
    file.write_text("shots = 2")
    assert main(["search", PAPER, "--quiet", "--config", str(file), "--ways", "1"]) == 2
    assert capsys.readouterr().err.startswith("--ways 1: must be at least 2")


def test_no_command_has_a_default_where_nothing_is_given():
    for subcommand in SUBCOMMANDS:
        made = parser_of(subcommand)
        assert all(
            a.default in (argparse.SUPPRESS, None)
            for a in made._actions
            if a.dest not in ("help", "version")
        )


def test_the_page_says_what_its_file_is(file):
    page = Path(__file__).parents[1] / "docs" / "options.md"
    (block,) = re.findall(r"\n    grammar = (?:.+\n    )+quiet = true\n", page.read_text())
    file.write_text(textwrap.dedent(block))
    words = " ".join(re.findall(r"# (--.+)", block))
    flags = f"grammar/paper_pool.py {words} --time-limit 30m --quiet".split()
    by_file, by_flags = read(["--config", str(file)]), read(flags)
    assert (by_file.asked.values, by_file.quiet) == (by_flags.asked.values, True)


def test_a_rule_and_rules_are_one_thing_to_a_file(file):
    file.write_text("rule = ['paper']")
    made = parser_of("evaluate")
    assert made.given(["--config", str(file)]).values == made.given(["paper"]).values


@pytest.mark.parametrize(
    ("subcommand", "text", "told"),
    [
        (
            "evaluate",
            "rules = 'paper'\ntheta = 1",
            "--theta: beside --term only; a RULE has its own",
        ),
        (
            "export",
            "rule='paper'\nto='toml'\nout='nowhere/a'",
            "--out nowhere/a: its folder is not",
        ),
        (
            "report",
            "run = 'r'\nout = 'nowhere/a'",
            "--out nowhere/a: no directory nowhere; make it",
        ),
        ("search", "layers = []", "layers: []; give at least one, or leave it out"),
    ],
)
def test_what_any_command_refuses_later_names_the_file(subcommand, text, told, file, capsys):
    file.write_text(text)
    assert main([subcommand, "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"--config {file}: {told}")


def test_a_file_with_no_name_for_a_file_is_a_line(capsys):
    assert main(["sweep", "x" * 300 + ".toml"]) == 2
    assert "cannot be read (File name too long)" in capsys.readouterr().err
