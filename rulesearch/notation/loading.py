"""A pool from a file: a Python grammar file, or a TOML table of text terms."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rulesearch.errors import RuleSearchError
from rulesearch.grammar_file import grammar_file
from rulesearch.letters import as_read
from rulesearch.notation.joint import together
from rulesearch.notation.own import own_symbols, symbols_by_name
from rulesearch.notation.plain import pool_from_plain, quantities_from_plain
from rulesearch.notation.pool import Pool
from rulesearch.notation.running import pool_of_python
from rulesearch.notation.vocabulary import echo
from rulesearch.operators import (
    Parameter,
)


def load_pool(path: str | Path) -> Pool:
    """The pool that a grammar file defines; one of several parameters is joined, see `together`.

    Args:
        path: a `.py` file with a module-level `pool` and, if wanted, `feedback` and `bias`, pools
            `of="B"` and `of="b"`, and `bounds` (parameter -> (lowest, highest)); or a `.toml` file
            with a table `[terms]` (name = "expression") and, if wanted, `[feedback]` and `[bias]`
            like it, `[start]` (name = number), `[where]` (name = [layer, ...]), `[bounds]`
            (W = [-1, 1]), `[operators]`
            (name = {arguments = ["x"], definition = "expression"}), `[quantities]`
            (name = "expression") and `[traces]`
            (name = {of = "expression", decay = 0.95, initial = 0 or "first"}); or with a table
            `[space]`, as `Pool.generate` describes it, its expressions as text, and terms beside
            it.

    Raises:
        RuleSearchError: a missing or broken file or pool; each line starts with the path.

    Example:
        >>> load_pool("grammar/paper_pool.py").names
        ('F0', 'F1', 'F2', 'F3', 'F4', 'F5', 'F6', 'F7', 'F8', 'F9')
    """
    file = grammar_file(path)
    try:
        source = file.read_bytes()
        pool = (pool_of_python if file.suffix == ".py" else _from_toml)(str(path), source)
        pool.reference  # noqa: B018, refused here: terms of feedback alone are no pool of a search
        return pool
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RuleSearchError(f"{path}: cannot be read ({reason}); give a text file") from None
    except RuleSearchError as error:
        raise _in_file(str(path), error) from None


def pool_from_text(
    terms: Sequence[str],
    where: Mapping[str, Collection[int]] | None = None,
    *,
    feedback: Sequence[str] = (),
    bias: Sequence[str] = (),
    traces: Sequence[str] = (),
    bounds: Mapping[str, Sequence[float]] | None = None,
    reads: Pool | None = None,
) -> Pool:
    """The pool of text terms, named T0, T1, … in order, and where they act.

    Args:
        terms: changes of W (`--term`).
        where: name -> layers.
        feedback: changes of B (`--feedback-term`), named B0, B1, ….
        bias: changes of biases (`--bias-term`), named b0, b1, ….
        traces: that terms may read (`--trace`), each "NAME = EXPRESSION @ DECAY", or with the value
            before the first step, "NAME = EXPRESSION @ DECAY, 0.5", which may be `first`.
        bounds: parameter -> (lowest, highest) (`--bounds`).
        reads: a pool whose own quantities and operators the terms may have.

    Raises:
        RuleSearchError: what a pool refuses, one line each.

    Example:
        >>> pool = pool_from_text(
        ...     ["-e_post*y_pre", "y_post*(y_post - theta_post)*y_pre"],
        ...     feedback=["-B"],
        ...     traces=["theta_post = y_post**2 @ 0.95"],
        ... )
        >>> pool.names
        ('T0', 'T1', 'B0')
    """
    named: dict[str, Any] = {f"T{i}": text for i, text in enumerate(terms)}
    beside: Any = {"feedback": feedback, "bias": bias, "traces": traces, "bounds": bounds}
    return beside_text(None, named, where or {}, reads=reads, **beside)


def beside_text(
    pool: Pool | None,
    terms: Mapping[str, str],
    where: Mapping[str, Collection[int]],
    *,
    feedback: Sequence[str] = (),
    bias: Sequence[str] = (),
    traces: Sequence[str] = (),
    bounds: Mapping[str, Sequence[float]] | None = None,
    reads: Pool | None = None,
) -> Pool:
    """A pool with further terms that are given as text.

    Args:
        pool: what its terms read and call, text may too; None for one of text alone.
        terms: changes of W, name -> text, where there is no pool.
        where: as of `Pool.acting`.
        feedback: as of `pool_from_text`.
        bias: as of `pool_from_text`.
        traces: as of `pool_from_text`.
        bounds: as of `Pool.bounded`.
        reads: as of `pool_from_text`.

    Raises:
        RuleSearchError: what a pool refuses, one line each.
    """
    known_terms = [*(pool or ()), *(reads or ())]
    expressions = [e for term in known_terms for _, e in term.updates]
    operators = {n: f for term in known_terms for n, f in term.operators.items()}
    given = [_trace_of(text) for text in traces]
    if twice := [name for name, number in Counter(n for n, _ in given).items() if number > 1]:
        raise RuleSearchError(f"trace {twice[0]}: the name is given twice; choose another")
    declared = [symbol for each in (pool, reads) if each for symbol in each.declared]
    before = symbols_by_name(declared) | own_symbols(expressions)
    own = quantities_from_plain({}, dict(given), operators, before)
    known: Any = {"operators": operators, "quantities": tuple(own.values())}
    faults: list[str] = []
    made = [] if pool is None else [pool]
    tables: dict[Parameter, Mapping[str, str]] = {
        "W": terms,
        "B": {f"B{i}": text for i, text in enumerate(feedback)},
        "b": {f"b{i}": text for i, text in enumerate(bias)},
    }
    left = dict(where)
    for of, named in tables.items():
        if not named:
            continue
        places = {n: left.pop(n) for n in list(left) if n in named}
        try:
            more: Any = {**known, **named}
            made.append(Pool(of=of, where=places, **more))
        except RuleSearchError as error:
            faults.extend(error.lines)
    if faults:
        raise RuleSearchError(*faults)
    joint = together(*made).acting(left).bounded(bounds or {})
    return joint.declaring(own[name] for name, _ in given)


def _trace_of(text: str) -> tuple[str, dict[str, Any]]:
    """Name and row of a trace that is given in a line."""
    name, equals, rest = (part.strip() for part in text.partition("="))
    of, at, numbers = (part.strip() for part in rest.rpartition("@"))
    words = [word.strip() for word in numbers.split(",")]
    if equals and at and 1 <= len(words) <= 2:
        name = as_read(name)
        try:
            row: dict[str, Any] = {"of": of, "decay": float(words[0])}
            if len(words) == 2:
                row["initial"] = "first" if words[1] == "first" else float(words[1])
            return name, row
        except ValueError:
            pass
    raise RuleSearchError(
        f'trace {echo(text)}: write NAME = EXPRESSION @ DECAY, as in "theta_post = y_post**2 @ '
        '0.95", or "... @ 0.95, first" to begin at the first value'
    )


#: What a line about one entry of a pool begins with.
_NAMED = (
    *("term ", "start ", "where ", "operator ", "line ", "space "),
    *("trace ", "quantity ", "bounds "),
)


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
    except (ValueError, RecursionError):  # digits without end; tables in tables without end
        raise RuleSearchError("a number too long, or tables nested too deep; shorten it") from None
    if "theta" in content:
        raise RuleSearchError(
            "a rule, for it has [theta], and no grammar; evaluate it, or begin at it by --from"
        )
    return pool_from_plain(content)
