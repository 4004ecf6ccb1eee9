"""Imports of the package point up the list of rooms in `docs/design.md` only."""

import ast
import re
from itertools import count
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rulesearch"
#: What stands around all rooms: the package's face and the command's.
OUTSIDE = {"__init__", "__main__"}


def rooms():
    """Room -> its place in the list, from the top and in a line from the left."""
    page = (ROOT / "docs" / "design.md").read_text()
    (table,) = re.findall(r"^\| room \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    named = (re.findall(r"`(\w+)/?`", line.split("|")[1]) for line in table.splitlines())
    return dict(zip((name for names in named for name in names), count(), strict=False))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source):
    """The rooms that a module imports, at its top or in its functions."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "rulesearch":
            names = [f"rulesearch.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        yield from (name.split(".")[1] for name in names if name.startswith("rulesearch."))


def downward(room, source, places):
    """What a module of a room imports from further down."""
    return [
        other
        for other in imported(source)
        if other != room and places.get(other, -1) > places[room]
    ]


def test_every_room_is_in_the_list():
    there = {room_of(path) for path in PACKAGE.rglob("*.py")} - OUTSIDE
    assert there == set(rooms())


def test_imports_point_up():
    places = rooms()
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in sorted(PACKAGE.rglob("*.py"))
        if (room := room_of(path)) not in OUTSIDE
        and (wrong := downward(room, path.read_text(), places))
    }
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "from rulesearch.search import Config",
        "from rulesearch import search",
        "import rulesearch.search.config",
        "def later():\n    from rulesearch.search.config import Config",
    ],
)
def test_one_that_points_down_is_seen(line):
    assert downward("meta", line, rooms()) == ["search"]
    assert downward("sweep", line, rooms()) == []
