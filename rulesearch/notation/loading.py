"""A pool from a file: a Python grammar file, or a TOML table of text terms."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rulesearch.errors import RuleSearchError
from rulesearch.notation.pool import Pool
from rulesearch.notation.printing import text_of
from rulesearch.notation.vocabulary import unknown_symbol
from rulesearch.operators import OPERATORS, QUANTITIES, without_definitions


def load_pool(path: str | Path) -> Pool:
    """The pool that a grammar file defines.

    Args:
        path: a `.py` file with a module-level `pool`, or a `.toml` file with a table `[terms]`
            (name = "expression") and an optional table `[start]`.

    Raises:
        RuleSearchError: a missing or broken file or pool; each line starts with the path.

    Example:
        >>> load_pool("grammar/paper_pool.py").names
        ('F0', 'F1', 'F2', 'F3', 'F4', 'F5', 'F6', 'F7', 'F8', 'F9')
    """
    file = Path(path)
    loader = {".py": _from_python, ".toml": _from_toml}.get(file.suffix)
    if loader is None:
        raise RuleSearchError(f"{path}: not a grammar file; give a .py or a .toml file")
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RuleSearchError(
            f"{path}: no such file; give a grammar file such as grammar/paper_pool.py"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RuleSearchError(f"{path}: cannot be read ({reason}); give a text file") from None
    return loader(str(path), text)


def pool_from_text(terms: Sequence[str]) -> Pool:
    """The pool of text terms, named T0, T1, … in order (`--term`)."""
    named: dict[str, Any] = {f"T{i}": text for i, text in enumerate(terms)}
    return Pool(**named)


def _in_file(path: str, error: RuleSearchError) -> RuleSearchError:
    return RuleSearchError(
        *(
            f"{path}, {s}" if s.startswith(("term ", "start")) else f"{path}: {s}"
            for s in error.lines
        )
    )


def _from_python(path: str, text: str) -> Pool:
    namespace: dict[str, Any] = {"__name__": "grammar", "__file__": path}
    try:
        exec(compile(text, path, "exec"), namespace)  # a grammar file is ordinary Python
    except RuleSearchError as error:
        raise _in_file(path, error) from None
    except SyntaxError as error:
        raise RuleSearchError(
            f"{path}, line {error.lineno}: syntax error, {error.msg}; mend the line"
        ) from None
    except NameError as error:
        raise RuleSearchError(
            f"{path}, line {_line(error.__traceback__, path)}: {_unknown(error.name or '')}"
        ) from None
    except Exception as error:  # whatever a user's file raises is the file's fault
        line = _line(error.__traceback__, path)
        fault = str(error).splitlines()[0] if str(error) else "no message"
        if isinstance(error, ImportError):
            fault = fault.partition(" (")[0]  # where the package lies helps nobody
        raise RuleSearchError(
            f"{path}, line {line}: {type(error).__name__}, {fault}; mend the line"
        ) from None
    pool = namespace.get("pool")
    if not isinstance(pool, Pool):
        raise RuleSearchError(
            f"{path}: defines no pool; add pool = Pool(F0=-e_post*y_pre, ...) at module level"
        )
    return pool


def _unknown(name: str) -> str:
    if name in QUANTITIES or name in OPERATORS or name in ("Pool", "operator"):
        return f"{name} is not imported; write from rulesearch.notation import {name}"
    return unknown_symbol(name)


def _line(traceback: TracebackType | None, path: str) -> int:
    line = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == path:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _from_toml(path: str, text: str) -> Pool:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleSearchError(f"{path}: not TOML, {error}; mend the line") from None
    faults = [
        f"{path}: unknown table [{name}]; a pool has [terms] and [start]"
        for name in content
        if name not in ("terms", "start")
    ]
    terms, start = content.get("terms"), content.get("start", {})
    if not isinstance(terms, Mapping) or not terms:
        faults.append(
            f'{path}: no table [terms]; write [terms] and lines such as F0 = "-e_post*y_pre"'
        )
        raise RuleSearchError(*faults)
    faults.extend(
        f'{path}, term {name}: {value!r} is not text; write {name} = "expression"'
        for name, value in terms.items()
        if not isinstance(value, str)
    )
    faults.extend(
        f"{path}, term {name}: the name is taken; choose another"
        for name in terms
        if name in ("start", "operators")
    )
    if not isinstance(start, Mapping):
        faults.append(f"{path}: start is not a table; write [start] and lines such as F0 = 1e-3")
    if faults:
        raise RuleSearchError(*faults)
    try:
        return Pool(start=start or None, **terms)
    except RuleSearchError as error:
        raise _in_file(path, error) from None


def pool_to_plain(pool: Pool) -> dict[str, Any]:
    """The pool as text, for a run directory."""
    return {
        "terms": {t.name: text_of(without_definitions(t.expression)) for t in pool},
        "start": dict(pool.start),
    }


def pool_from_plain(plain: Mapping[str, Any]) -> Pool:
    """The pool that `pool_to_plain` wrote."""
    return Pool(start=plain["start"], **plain["terms"])
