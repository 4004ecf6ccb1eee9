"""A grammar file is run as Python runs a file, and what goes wrong in it is one line."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from rulesearch.errors import RuleSearchError, closest
from rulesearch.notation.characters import strange_character
from rulesearch.notation.joint import together
from rulesearch.notation.pool import Pool
from rulesearch.notation.vocabulary import how_to_make, unknown_symbol
from rulesearch.operators import COMMON, OPERATORS, QUANTITIES, Parameter

#: The pools that a file may define beside `pool`, and what their terms change.
_BESIDE: Mapping[str, Parameter] = {"feedback": "B", "bias": "b"}

#: What else a file imports from `rulesearch.notation`.
_MAKERS = ("Pool", "operator", "quantity", "trace", "seen_from_pre", "together")


def pool_of_python(path: str, source: bytes) -> Pool:
    """The module-level `pool` of a Python file, joined with its `feedback` and `bias`, if any.

    The file is a module while it runs, its folder is first on the path, and byte order mark and
    coding line are heeded. What it prints is printed; an interrupt in it is one of the program.

    Args:
        path: of the file, as it was given.
        source: its bytes.

    Raises:
        RuleSearchError: whatever the file raises, sys.exit too, with "line N" in front; or that
            it defines no pool.
        UnicodeDecodeError: it is not text.
    """
    if b"coding" not in b"\n".join(source.splitlines()[:2]):
        source.decode("utf-8")  # Python would call it a syntax error without a line
    file = Path(path).absolute()
    module = ModuleType(f"grammar file {file}")  # a name that no other module can have
    module.__file__ = str(file)
    try:
        with _running(module, file.parent):
            # Compiled by Python's loader: none of this module's own future imports reach it.
            code = SourceFileLoader(module.__name__, str(file)).source_to_code(source, path)
            exec(code, module.__dict__)
    except (RuleSearchError, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise RuleSearchError(
            f"{_place(error, path)}: sys.exit({error.code!r}), and the file does not come to its "
            "end; take the call out"
        ) from None
    except BaseException as error:  # whatever a user's file raises is the file's fault
        raise RuleSearchError(_fault(error, path)) from None
    pool = module.__dict__.get("pool")
    if not isinstance(pool, Pool):
        kind = type(pool).__name__
        what = "defines no pool; add" if pool is None else f"its pool is a {kind}; write"
        raise RuleSearchError(f"{what} pool = Pool(F0=-e_post*y_pre, ...) at module level")
    others = [_beside(module, name, of) for name, of in _BESIDE.items()]
    joint = together(pool, *(other for other in others if other is not None))
    bounds = module.__dict__.get("bounds", {})
    if not isinstance(bounds, Mapping):
        raise RuleSearchError('bounds is not a table; write bounds = {"W": (-1, 1)}')
    return joint.bounded(bounds)


def _beside(module: ModuleType, name: str, of: Parameter) -> Pool | None:
    """The module-level pool of this name, of terms that change this parameter."""
    pool = module.__dict__.get(name)
    if pool is not None and (
        not isinstance(pool, Pool) or any(term.changes != of for term in pool)
    ):
        raise RuleSearchError(
            f'{name}: not a pool of terms that change {of}; write {name} = Pool(..., of="{of}")'
        )
    return pool


@contextmanager
def _running(module: ModuleType, folder: Path) -> Iterator[None]:
    """The module among the modules and its folder on the path; both are gone afterwards.

    So are the modules beside the file that it imported: the next file may have others by the same
    name, or these may have changed.
    """
    before = set(sys.modules)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        sys.modules.pop(module.__name__, None)
        beside = {
            name
            for name in {name.partition(".")[0] for name in set(sys.modules) - before}
            if name not in before and name != "rulesearch" and _lies_in(name, folder)
        }
        for name in [name for name in sys.modules if name.partition(".")[0] in beside]:
            del sys.modules[name]


def _lies_in(name: str, folder: Path) -> bool:
    """Whether a module's file, or a package's folder, lies in a folder itself."""
    module = sys.modules.get(name)
    places = [*getattr(module, "__path__", ()), getattr(module, "__file__", None) or ""]
    return any(Path(place).parent == folder for place in places)


def _place(error: BaseException, path: str) -> str:
    """The line of the file, and where it went on in a file beside it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    line = f"line {lines[-1] if lines else 0}"
    last = Path(frames[-1].filename)
    if frames[-1].filename != path and last.parent == Path(path).absolute().parent:
        return f"{line}, {last.name}, line {frames[-1].lineno}"
    return line


def _fault(error: BaseException, path: str) -> str:
    """One line for what a file raised."""
    place = _place(error, path)
    if isinstance(error, SyntaxError) and error.filename:
        number = f"line {error.lineno or 1}"
        place = (
            number if error.filename == path else f"{place}, {Path(error.filename).name}, {number}"
        )
        strange = strange_character(error.text or "") if "character" in error.msg else None
        return f"{place}: syntax error, {strange or f'{error.msg}; mend the line'}"
    if isinstance(error, NameError) and error.name:  # a local one that is not bound has none
        return f"{place}: {_unknown(error.name)}"
    fault = next(iter(str(error).splitlines()), "no message")
    if isinstance(error, ImportError):
        fault = fault.partition(" (")[0]  # where the package lies helps nobody
        quoted = fault.split("'")
        if error.name == "rulesearch.notation" and len(quoted) > 1 and quoted[1].isidentifier():
            near = closest(quoted[1], _to_import()) or f"; {how_to_make(quoted[1])}"
            return f"{place}: {quoted[1]} is not in {error.name}{near}"
    return f"{place}: {type(error).__name__}, {fault}; mend the line"


def _to_import() -> list[str]:
    return [*QUANTITIES, *OPERATORS, *COMMON, *_MAKERS]


def _unknown(name: str) -> str:
    if name in _to_import():
        return f"{name} is not imported; write from rulesearch.notation import {name}"
    return unknown_symbol(name)
