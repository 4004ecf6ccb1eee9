"""The pages: built without a warning, made from the code, their links, commands and files right."""

import argparse
import contextlib
import io
import re
import shlex
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from docs.tables import MARK, filled, further, options, parser_of
from rulesearch.__main__ import SUBCOMMANDS, Subcommand, main
from rulesearch.notation import load_pool
from rulesearch.search.config import Config, flag

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [ROOT / "README.md", *PAGES]

#: Fields of `Config` that no option of the command gives: what a search finds out by itself.
FOUND_OUT = {"scale_ranges"}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sphinx") is None, reason="Sphinx is not installed: '.[docs]'")
def test_the_pages_build_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    built = (tmp_path / "options.html").read_text()
    assert "--parsimony" in built
    assert "--held-out-classes" in built
    assert "run_lifetimes" in (tmp_path / "python.html").read_text()
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?:", built)


# --- made from the code --------------------------------------------------------------------------


def missing(page):
    wanted = {flag(name) for name in Config.__dataclass_fields__ if name not in FOUND_OUT}
    return sorted(name for name in wanted if not re.search(rf"`{name}[ `]", page))


def test_every_option_is_on_its_page():
    page = filled((DOCS / "options.md").read_text())
    assert not missing(page)
    assert missing(page.replace("`--parsimony ", "`--thrift ")) == ["--parsimony"]
    for name in SUBCOMMANDS:
        assert f"## rulesearch {name}\n" in page


def test_the_options_are_those_of_help():
    """Every word that begins an option in the help text stands on the page."""
    for name, row in SUBCOMMANDS.items():
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
            import_module(row.module).main(["--help"], f"rulesearch {name}")
        listed = re.findall(r"^  (?:-\w, )?(--[\w-]+)", said.getvalue(), re.MULTILINE)
        assert "--help" in listed
        assert [word for word in listed if f"`{word}" not in options()] == ["--help"]


def test_a_command_that_comes_is_on_the_page(monkeypatch):
    def command(words, called):
        made = argparse.ArgumentParser(prog=called)
        made.add_argument("--depth", type=int, metavar="N", help="as --layers; *all* of %(prog)s")
        made.add_argument("--kind", choices=("a", "b"), help="of it")
        made.add_argument("--inside", help=argparse.SUPPRESS)
        made.parse_args(words)

    monkeypatch.setitem(sys.modules, "to_come", SimpleNamespace(main=command))
    monkeypatch.setitem(SUBCOMMANDS, "divine", Subcommand("to_come", "guess a rule"))
    section = options().partition("## rulesearch divine\n")[2]
    assert section.splitlines()[1:] == [
        "Guess a rule.",
        "",
        "| option | what it says | range |",
        "| --- | --- | --- |",
        "| `--depth N` | as `--layers`; \\*all\\* of rulesearch divine |  |",
        "| `--kind KIND` | of it | `a`, `b` |",
    ]


def test_marks_are_known():
    marks = {mark for page in PAGES for mark in MARK.findall(page.read_text())}
    assert {"options", "operators", "quantities", "interface", "protocols"} <= marks
    with pytest.raises(KeyError):
        filled("<!-- generated: nothing -->")


# --- links ---------------------------------------------------------------------------------------


def anchors(text):
    """As GitHub and MyST name headings."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(page, text):
    """The links of a page to files or headings that are not there."""
    for link in re.findall(r"(?<!!)\]\(([^)\s]+)\)", text):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(filled(target.read_text()))):
            yield link


def test_links_lead_somewhere():
    texts = [*TEXTS, ROOT / "CHANGELOG.md", *sorted((ROOT / "benchmarks").rglob("*.md"))]
    assert [(p.name, link) for p in texts for link in broken(p, p.read_text())] == []
    wrong = "[a](nowhere.md) [b](own.md#nothing) [c](own.md#needs)"
    assert [*broken(DOCS / "index.md", wrong)] == ["nowhere.md", "own.md#nothing"]


def listed(index):
    trees = re.findall(r"^```\{toctree\}\n.*?\n\n(.*?)^```", index, re.M | re.S)
    return sorted(name for tree in trees for name in re.findall(r"(\w+)>?$", tree, re.M))


def test_every_page_is_in_the_contents(tmp_path):
    index = (DOCS / "index.md").read_text()
    assert listed(filled(index)) == [page.stem for page in PAGES if page.stem != "index"]
    for page in ("index", "start", "to_come"):
        (tmp_path / f"{page}.md").write_text("# Contents\n\nBegin <start>\n")
    assert further(tmp_path) == "to_come"


# --- commands and files --------------------------------------------------------------------------


def commands(text):
    """The command lines of a page, continued lines joined."""
    joined = text.replace("\\\n", " ")
    return re.findall(r"^ {4}(?:\$ )?(?:python -m )?(rulesearch .+)$", joined, re.MULTILINE)


def parsed(command):
    _, subcommand, *words = shlex.split(command, comments=True)
    module = import_module(SUBCOMMANDS[subcommand].module)
    read = getattr(module, "read", None)
    return read(words) if read else parser_of(subcommand).parse_args(words)


def test_commands_are_understood():
    found = [command for page in TEXTS for command in commands(page.read_text())]
    assert len(found) > 5
    for command in found:
        parsed(command)
        for name in re.findall(r"\bgrammar/\w+\.\w+", command):
            assert (ROOT / name).exists(), command
    with pytest.raises(Exception, match="thrift"):
        parsed("rulesearch search grammar/paper_pool.py --thrift 0.1")


def test_my_own_rule(tmp_path, monkeypatch, capsys):
    """The grammar file of the page loads, and `--explain` prints what the page says."""
    text = (DOCS / "own_rule.md").read_text()
    (tmp_path / "mine.py").write_text(re.search(r"```python\n(\"\"\".*?)```", text, re.S)[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    pool = load_pool("mine.py")
    assert all(f"\n    {name} " in text for name in pool.names)
    assert main(["search", "mine.py", "--explain"]) == 0
    page = " ".join(text.split())
    assert " ".join(capsys.readouterr().out.split()) in page
