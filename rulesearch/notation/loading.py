"""A pool from a file: a Python grammar file, or a TOML table of text terms."""

from __future__ import annotations

import copyreg
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sympy import Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.grammar_file import grammar_file
from rulesearch.notation.canonical import canonical
from rulesearch.notation.parsing import parse
from rulesearch.notation.pool import Pool
from rulesearch.notation.printing import text_of
from rulesearch.notation.running import pool_of_python
from rulesearch.notation.term import Term
from rulesearch.operators import check_name, defined, definitions_of


def load_pool(path: str | Path) -> Pool:
    """The pool that a grammar file defines.

    Args:
        path: a `.py` file with a module-level `pool`, or a `.toml` file with a table `[terms]`
            (name = "expression") and, if wanted, `[start]` (name = number), `[where]`
            (name = [layer, ...]) and `[operators]`
            (name = {arguments = ["x"], definition = "expression"}); or with a table `[space]`,
            as `Pool.generate` describes it, its expressions as text, and terms beside it.

    Raises:
        RuleSearchError: a missing or broken file or pool; each line starts with the path.

    Example:
        >>> load_pool("grammar/paper_pool.py").names
        ('F0', 'F1', 'F2', 'F3', 'F4', 'F5', 'F6', 'F7', 'F8', 'F9')
    """
    file = grammar_file(path)
    try:
        source = file.read_bytes()
        return (pool_of_python if file.suffix == ".py" else _from_toml)(str(path), source)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RuleSearchError(f"{path}: cannot be read ({reason}); give a text file") from None
    except RuleSearchError as error:
        raise _in_file(str(path), error) from None


def pool_from_text(
    terms: Sequence[str], where: Mapping[str, Collection[int]] | None = None
) -> Pool:
    """The pool of text terms, named T0, T1, … in order (`--term`), and where they act."""
    named: dict[str, Any] = {f"T{i}": text for i, text in enumerate(terms)}
    return Pool(where=where, **named)


#: What a line about one entry of a pool begins with.
_NAMED = ("term ", "start ", "where ", "operator ", "line ", "space ")


def _in_file(path: str, error: RuleSearchError) -> RuleSearchError:
    return RuleSearchError(
        *(f"{path}, {s}" if s.startswith(_NAMED) else f"{path}: {s}" for s in error.lines)
    )


def _from_toml(path: str, source: bytes) -> Pool:
    try:
        # Editors put a byte order mark before UTF-8, and a carriage return at the end of lines.
        content = tomllib.loads(source.decode("utf-8-sig").replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise RuleSearchError(f"not TOML, {error}; mend the line") from None
    return pool_from_plain(content)


# --- a pool as plain data -----------------------------------------------------------------------

_TABLES = ("terms", "start", "where", "operators", "space")
_DEFINITION = '{arguments = ["x"], definition = "x/(1 + Abs(x))"}'


def pool_to_plain(pool: Pool) -> dict[str, Any]:
    """The pool as text and numbers: what a run directory keeps, and what a TOML file says.

    Returns:
        `terms`, name -> expression; `start`, name -> number; `operators`, the pool's own, name ->
        `{"arguments": [name, ...], "definition": expression}`, each after those it calls; and,
        for a pool that has it, `where`, name -> `[layer, ...]`.

    Example:
        >>> from rulesearch.notation import Pool
        >>> pool_to_plain(Pool(F0="-e_post*y_pre"))
        {'terms': {'F0': '-e_post*y_pre'}, 'start': {'F0': 0.001}, 'operators': {}}
    """
    own = definitions_of(term.expression for term in pool)
    # Left out where it says nothing, so that records from before there was one compare equal.
    where = {"where": {n: list(layers) for n, layers in pool.where.items()}} if pool.where else {}
    return {
        "terms": {term.name: term.text for term in pool},
        "start": dict(pool.start),
        "operators": {
            name: {"arguments": [a.name for a in arguments], "definition": text_of(body)}
            for name, (arguments, body) in own.items()
        },
        **where,
    }


def pool_from_plain(plain: Mapping[str, Any]) -> Pool:
    """The pool that plain data says; `pool_from_plain(pool_to_plain(pool)) == pool`.

    Args:
        plain: as `pool_to_plain` gives it; all but `terms` may be left out, that too where there
            is a `space`, and an operator may call those before it.

    Raises:
        RuleSearchError: a missing or unknown table, a wrong kind of value, a bad operator, or
            what `Pool` refuses; one line each.
    """
    faults = [
        f"unknown table [{name}]; a pool has [terms] or [space], [start], [where] and [operators]"
        for name in plain
        if name not in _TABLES
    ]
    terms, start, own = plain.get("terms"), plain.get("start", {}), plain.get("operators", {})
    where, space = plain.get("where", {}), plain.get("space")
    if terms is None and space is not None:
        terms = {}
    if not isinstance(terms, Mapping) or not (terms or space is not None):
        faults.append('no table [terms]; write [terms] and lines such as F0 = "-e_post*y_pre"')
        raise RuleSearchError(*faults)
    for name, value in terms.items():
        if not isinstance(value, str):
            faults.append(f'term {name}: {value!r} is not text; write {name} = "expression"')
        elif name in _TABLES[1:]:
            faults.append(f"term {name}: the name is taken; choose another")
    if not isinstance(start, Mapping):
        faults.append("start is not a table; write [start] and lines such as F0 = 1e-3")
    if not isinstance(where, Mapping):
        faults.append("where is not a table; write [where] and lines such as F2 = [2, 3]")
    if not isinstance(space, Mapping | None):
        faults.append('space is not a table; write [space] and lines such as post = ["y_post"]')
    if not isinstance(own, Mapping):
        faults.append(
            "operators is not a table; write [operators] and lines such as "
            f"softsign = {_DEFINITION}"
        )
    if faults:
        raise RuleSearchError(*faults)
    more: Any = {"start": start or None, "where": where, "operators": _operators(own)}
    return Pool(**more, **terms) if space is None else Pool.generate(**more, **space, terms=terms)


def _operators(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The classes of operators given as text, by name."""
    made: dict[str, Any] = {}
    faults: list[str] = []
    for name, row in plain.items():
        try:
            check_name(name)
            made[name] = _operator(name, row, made)
        except RuleSearchError as error:
            faults.extend(error.lines)
    if faults:
        raise RuleSearchError(*faults)
    return made


def _operator(name: str, row: Any, before: Mapping[str, Any]) -> Any:
    match row:
        case {"arguments": [*names], "definition": str(text)} if len(row) == 2 and names:
            pass
        case _:
            raise RuleSearchError(f"operator {name}: write {name} = {_DEFINITION}")
    for argument in names:
        if not isinstance(argument, str) or not argument.isidentifier():
            raise RuleSearchError(
                f"operator {name}: argument {argument!r} is not a name; use letters, digits and _"
            )
    if len(set(names)) < len(names):
        raise RuleSearchError(
            f"operator {name}: two arguments of one name in {', '.join(names)}; rename one"
        )
    arguments = {argument: Symbol(argument, real=True) for argument in names}
    try:
        body = parse(text, before, arguments)
    except RuleSearchError as error:
        raise error.located(f"operator {name}") from None
    return defined(name, list(arguments.values()), body)


def _as_text(pool: Pool) -> tuple[Callable[..., Pool], tuple[dict[str, Any]]]:
    return _from_checked, (pool_to_plain(pool),)


def _from_checked(plain: Mapping[str, Any]) -> Pool:
    """The pool of plain data that a pool was written to, so that nothing need be checked."""
    own = _operators(plain["operators"])
    terms = {name: canonical(parse(text, own), text) for name, text in plain["terms"].items()}
    where = {name: tuple(layers) for name, layers in plain.get("where", {}).items()}
    return Pool.checked(tuple(Term(*row) for row in terms.items()), plain["start"], where)


# A pool travels as text: classes of its own operators live in the process that made them.
copyreg.pickle(Pool, _as_text)
