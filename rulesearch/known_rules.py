"""The names of rules, looked at before anything heavy is imported to read them."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from rulesearch.errors import RuleSearchError, closest


def known() -> tuple[str, ...]:
    """The rules that come along.

    Example:
        >>> " ".join(known())
        'centred kolen-pollack mixture normalised paper summed synaptic whitened'
    """
    names = (file.name for file in _folder().iterdir())
    return tuple(sorted(n.removesuffix(".toml") for n in names if n.endswith(".toml")))


def known_file(name: str) -> Traversable:
    """The file of a rule that comes along."""
    return _folder() / f"{name}.toml"


def names_run(given: str | os.PathLike[str]) -> bool:
    """Whether a rule is named by its run: a directory, or a result.json; not by a rule as JSON.

    A directory that is called as a rule that comes along is one only if there is a run in it.
    """
    path, holds = Path(given), ("config.json", "result.json")
    if path.is_dir():
        return str(given) not in known() or any((path / name).exists() for name in holds)
    return path.suffix == ".json" and path.is_file() and not _holds_rule(path)


def _holds_rule(path: Path) -> bool:
    """Whether a JSON file is what `export --to json` writes; a broken one is taken for a run's."""
    try:
        plain = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(plain, dict) and "terms" in plain and "schema_version" not in plain


def look_for_rule(given: str | os.PathLike[str]) -> None:
    """Refuse what is neither a file or directory, nor the name of a rule that comes along.

    Raises:
        RuleSearchError: it is neither.
    """
    path, text = Path(given), str(given)
    if path.is_file() or path.is_dir() or text in known():
        return
    hint = f"{closest(text, known())} ({', '.join(known())})"
    raise RuleSearchError(
        f"{text}: no run directory, no rule.toml, and no rule that comes along{hint}"
    )


def _folder() -> Traversable:
    return files("rulesearch") / "rule" / "known"  # by the package that imports nothing
