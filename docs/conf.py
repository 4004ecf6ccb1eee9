"""How Sphinx builds these pages: `sphinx-build -W docs docs/_build`."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from tables import MARK, filled

project = "rulesearch"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "rulesearch"
html_copy_source = False
html_show_copyright = False
smartquotes_action = "D"  # dashes alone: what is quoted is to be copied
myst_heading_anchors = 3

default_role = "code"  # what `x` is in the docstrings
add_module_names = False
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

#: Pages that lie elsewhere, and the page that takes them in.
TAKEN_IN = {
    "../benchmarks/RESULTS.md": "results.md",
    "../benchmarks/planted/RESULTS.md": "planted_results.md",
}


def read_page(app: Any, page: str, source: list[str]) -> None:
    """Fill a page with what it takes from the code, before it is parsed."""
    source[0] = filled(source[0]).replace("\n\n```\n", "\n```\n")  # what ends a doctest
    for path, name in TAKEN_IN.items():
        source[0] = source[0].replace(f"]({path}", f"]({name}")


def outdated(app: Any, env: Any, added: Any, changed: Any, removed: Any) -> list[str]:
    """The pages to read again in every build: those made from the code."""
    here = Path(__file__).parent
    return [page for page in env.found_docs if MARK.search((here / f"{page}.md").read_text())]


def read_docstring(
    app: Any, kind: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Leave `code` as the only markup of a docstring: elsewhere a star is a star."""
    blocks = "\n".join(lines).split("\n\n")
    if kind in ("property", "attribute"):  # napoleon takes what is before a colon for its type
        blocks[0] = blocks[0].replace(": ", " – ", 1)
    lines[:] = "\n\n".join(map(_plain, blocks)).split("\n")


def _plain(block: str) -> str:
    if block.lstrip().startswith((">>>", "Example:")):
        return block
    parts = re.split(r"(`[^`]*`)", block)
    parts[::2] = [re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def read_types(
    app: Any, kind: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Types of attributes as code, by their last names: docutils reads stars in them as well."""
    for i, line in enumerate(lines):
        if (found := re.match(r"(\s*:vartype \w+: )(.+)", line)) is not None:
            short = re.sub(r"\b(?:[a-z_]+\.)+", "", found[2])
            lines[i] = f"{found[1]}``{short}``"


def sign(
    app: Any, kind: str, name: str, value: Any, options: object, signature: str | None, returns: Any
) -> tuple[str, None] | None:
    """The arguments of a class without their types, which its attributes tell in words."""
    if kind != "class" or not signature:
        return None
    own = inspect.signature(value)
    bare = [
        p.replace(annotation=p.empty, default=... if len(repr(p.default)) > 60 else p.default)
        for p in own.parameters.values()
    ]
    return str(own.replace(parameters=bare, return_annotation=own.empty)), None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read_page)
    app.connect("env-get-outdated", outdated)
    app.connect("autodoc-process-docstring", read_docstring, priority=100)  # before napoleon's
    app.connect("autodoc-process-docstring", read_types, priority=900)  # after them
    app.connect("autodoc-process-signature", sign)
