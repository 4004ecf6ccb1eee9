"""A pool as plain data, text and numbers: what a run directory keeps, and what a TOML file says."""

from __future__ import annotations

import copyreg
import re
from collections.abc import Callable, Mapping
from typing import Any

from sympy import Expr, Symbol

from rulesearch.errors import RuleSearchError, closest
from rulesearch.letters import as_read
from rulesearch.notation.canonical import canonical
from rulesearch.notation.compact import compact
from rulesearch.notation.joint import together
from rulesearch.notation.options import OPTIONS, bounds_faults, in_their_order
from rulesearch.notation.own import own_symbols, quantity, trace
from rulesearch.notation.parsing import parse
from rulesearch.notation.pool import Pool
from rulesearch.notation.printing import text_of
from rulesearch.notation.term import Term
from rulesearch.operators import (
    OwnSymbol,
    Parameter,
    check_name,
    defined,
    definition_of,
    definitions_of,
)

_TABLES = (
    *("terms", "start", "where", "operators", "space"),
    *("feedback", "bias", "traces", "quantities", "bounds"),
)
_DEFINITION = '{arguments = ["x"], definition = "x/(1 + Abs(x))"}'
_TRACE = '{of = "y_post**2", decay = 0.95}'
#: What each table beside [terms] is written like.
_LINES = {
    "start": "F0 = 1e-3",
    "where": "F2 = [2, 3]",
    "space": 'post = ["y_post"]',
    "operators": f"softsign = {_DEFINITION}",
    "feedback": 'decay = "-B"',
    "bias": 'b0 = "-e_post"',
    "traces": f"theta_post = {_TRACE}",
    "quantities": 'gate_post = "tanh(z_post)"',
    "bounds": "W = [-1, 1]",
}
#: The tables of terms, by the parameter that they change.
_OF: Mapping[Parameter, str] = {"W": "terms", "B": "feedback", "b": "bias"}


def pool_to_plain(pool: Pool) -> dict[str, Any]:
    """The pool as text and numbers: what a run directory keeps, and what a TOML file says.

    Returns:
        `terms`, name -> expression; `start`, name -> number; `operators`, the pool's own, name ->
        `{"arguments": [name, ...], "definition": expression}`, each after those it calls; and,
        for a pool that has it, `where`, name -> `[layer, ...]`, `feedback` and `bias`, as `terms`,
        `quantities`, name -> expression, `traces`, name -> `{"of": expression, "decay": number,
        "initial": number or "first"}`, and `bounds`, parameter -> `[lowest, highest]`.

    Example:
        >>> from rulesearch.notation import Pool
        >>> pool_to_plain(Pool(F0="-e_post*y_pre"))
        {'terms': {'F0': '-e_post*y_pre'}, 'start': {'F0': 0.001}, 'operators': {}}
    """
    expressions = [e for term in pool for _, e in term.updates]
    operators, own = definitions_of(expressions), own_symbols(expressions)
    said: dict[str, Any] = {
        "where": {n: list(layers) for n, layers in pool.where.items()},
        "feedback": _texts(pool, "B"),
        "bias": _texts(pool, "b"),
        "quantities": {
            n: text_of(compact(definition_of(s))) for n, s in own.items() if s.row.memory is None
        },
        "traces": {
            name: {
                "of": text_of(compact(definition_of(symbol))),
                "decay": memory.decay,
                "initial": "first" if memory.initial is None else memory.initial,
            }
            for name, symbol in own.items()
            if (memory := symbol.row.memory) is not None
        },
        "bounds": {parameter: [low, high] for parameter, low, high in pool.bounds},
    }
    return {
        "terms": _texts(pool, "W"),
        "start": dict(pool.start),
        "operators": {
            name: {"arguments": [a.name for a in arguments], "definition": text_of(body)}
            for name, (arguments, body) in operators.items()
        },
        # Left out where they say nothing: records from before there were any compare equal.
        **{table: rows for table, rows in said.items() if rows},
    }


def _texts(pool: Pool, of: Parameter) -> dict[str, str]:
    """The changes of a parameter, name -> text."""
    return {t.name: text_of(compact(e)) for t in pool for changed, e in t.updates if changed == of}


def pool_from_plain(plain: Mapping[str, Any]) -> Pool:
    """The pool that plain data says; `pool_from_plain(pool_to_plain(pool)) == pool`.

    Args:
        plain: as `pool_to_plain` gives it; all but `terms` may be left out, that too where there
            is a `space`, and an operator may call those before it.

    Raises:
        RuleSearchError: a missing or unknown table, a wrong kind of value, a bad operator, trace
            or quantity, or what `Pool` refuses; one line each.
    """
    faults = [
        f"unknown table [{name}]{closest(name, _TABLES)} (a pool has [terms] or [space], "
        f"{', '.join(f'[{table}]' for table in _TABLES if table not in ('terms', 'space'))})"
        for name in plain
        if name not in _TABLES
    ]
    space: Any = plain.get("space")
    changes: Any = "W"
    if isinstance(space, Mapping):
        changes = space.get("of", "W")
        space = {name: value for name, value in space.items() if name != "of"}
        if not isinstance(changes, str) or changes not in _OF:
            faults.append(f"of in [space]: {changes!r}; give one of {', '.join(_OF)}")
        faults += [
            f"{name} in [space]: write it as a table, [{name}]" for name in space if name in _TABLES
        ]
    tables = {of: plain.get(table, {}) for of, table in _OF.items()}
    if not (any(tables.values()) or space is not None) or not isinstance(tables["W"], Mapping):
        faults.append('no table [terms]; write [terms] and lines such as F0 = "-e_post*y_pre"')
        raise RuleSearchError(*faults)
    for rows in tables.values():
        for name, value in rows.items() if isinstance(rows, Mapping) else ():
            if not isinstance(value, str):
                faults.append(f'term {name}: {value!r} is not text; write {name} = "expression"')
            elif name in OPTIONS:
                faults.append(f"term {name}: the name is taken; choose another")
    for table, line in _LINES.items():
        if not isinstance(plain.get(table, {}), Mapping):
            faults.append(f"{table} is not a table; write [{table}] and lines such as {line}")
    if faults:
        raise RuleSearchError(*faults)
    operators = _operators(plain.get("operators", {}))
    own = quantities_from_plain(plain.get("quantities", {}), plain.get("traces", {}), operators)
    known: Any = {"operators": operators, "quantities": tuple(own.values())}
    made: list[Pool] = []
    for of, rows in tables.items():
        options = {
            name: _of_pool(plain.get(name, {}), of, tables, changes if space is not None else None)
            for name in ("start", "where")
        }
        more: Any = {
            **known,
            "of": of,
            "start": options["start"] or None,
            "where": options["where"],
        }
        try:
            if of == changes and space is not None:
                made.append(Pool.generate(**more, **space, terms=rows))
            elif rows:
                made.append(Pool(**more, **rows))
        except RuleSearchError as error:
            faults.extend(error.lines)
    faults.extend(bounds_faults(plain.get("bounds", {})))
    if faults:
        raise RuleSearchError(*faults)
    return together(*made).bounded(plain.get("bounds", {}))


def _of_pool(
    rows: Mapping[str, Any],
    of: Parameter,
    tables: Mapping[Parameter, Mapping[str, Any]],
    space: Parameter | None,
) -> dict[str, Any]:
    """What is said of the terms of one parameter; of a name that no table has, the space's.

    Where there is none, the first's, which will refuse it.
    """
    nobodys = space or next(parameter for parameter in tables if tables[parameter])
    return {
        name: value
        for name, value in rows.items()
        if name in tables[of] or (of == nobodys and all(name not in t for t in tables.values()))
    }


def quantities_from_plain(
    quantities: Mapping[str, Any],
    traces: Mapping[str, Any],
    operators: Mapping[str, Any],
    known: Mapping[str, OwnSymbol] | None = None,
) -> dict[str, OwnSymbol]:
    """Quantities of one's own given as text, by name; one may read others, whatever their order.

    Args:
        quantities: name -> expression.
        traces: name -> row.
        operators: that they may call.
        known: that are made already.

    Raises:
        RuleSearchError: a bad one, or one that reads itself; one line each.
    """
    made = dict(known or {})
    faults: list[str] = []
    waiting: dict[str, Any] = {}
    for table, rows in (("quantity", quantities), ("trace", traces)):
        for name, row in ((as_read(name), row) for name, row in rows.items()):
            if name in waiting or name in made:
                faults.append(f"{table} {name}: the name is given twice; choose another")
            waiting[name] = (table, row)
    while waiting and not faults:
        ready = [n for n, (_, row) in waiting.items() if not _reads(row) & set(waiting)]
        if not ready:
            name, (table, row) = next(iter(waiting.items()))
            chain = ", ".join(sorted(_reads(row) & set(waiting)))
            faults.append(
                f"{table} {name}: reads {chain}, and that reads {name}; take one of them out"
            )
        for name in ready:
            table, row = waiting.pop(name)
            try:
                made[name] = (_quantity if table == "quantity" else _trace)(
                    name, row, made, operators
                )
            except RuleSearchError as error:
                faults.extend(error.lines)
    if faults:
        raise RuleSearchError(*faults)
    return made


def _reads(row: Any) -> set[str]:
    """The names in a definition, those of pre views as of what they are views of."""
    text = row.get("of") if isinstance(row, Mapping) else row
    words = set(re.findall(r"\w+", as_read(text))) if isinstance(text, str) else set()
    return words | {w.removesuffix("_pre") + "_post" for w in words if w.endswith("_pre")}


def _quantity(
    name: str, row: Any, known: Mapping[str, OwnSymbol], operators: Mapping[str, Any]
) -> OwnSymbol:
    if not isinstance(row, str):
        raise RuleSearchError(f'quantity {name}: {row!r} is not text; write {name} = "expression"')
    return quantity(name, row, known, operators)


def _trace(
    name: str, row: Any, known: Mapping[str, OwnSymbol], operators: Mapping[str, Any]
) -> OwnSymbol:
    match row:
        case {"of": str(), "decay": _, **more} if not set(more) - {"initial"}:
            return trace(name, **row, known=known, operators=operators)
    raise RuleSearchError(f"trace {name}: write {name} = {_TRACE}, and initial if not 0")


def _operators(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The classes of operators given as text, by name."""
    made: dict[str, Any] = {}
    faults: list[str] = []
    for name, row in plain.items():
        try:
            check_name(name)
            name = as_read(name)
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
    names = [as_read(argument) for argument in names]
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
    operators = _operators(plain["operators"])
    own = quantities_from_plain(plain.get("quantities", {}), plain.get("traces", {}), operators)
    updates: dict[str, list[tuple[Parameter, Expr]]] = {}
    for of, table in _OF.items():
        for name, text in plain.get(table, {}).items():
            form = canonical(parse(text, operators, quantities=own), text)
            updates.setdefault(name, []).append((of, form))
    terms = tuple(
        Term(name, form, of, tuple(beside)) for name, ((of, form), *beside) in updates.items()
    )
    where = {name: tuple(layers) for name, layers in plain.get("where", {}).items()}
    return Pool.checked(terms, plain["start"], where, in_their_order(plain.get("bounds", {})))


# A pool travels as text: classes of its own operators live in the process that made them.
copyreg.pickle(Pool, _as_text)
