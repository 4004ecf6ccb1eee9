"""A rule as people name it: a run directory, a file, one that comes along, or terms as text."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from rulesearch.errors import RuleSearchError
from rulesearch.known_rules import known, known_file, look_for_rule, names_run
from rulesearch.notation import Pool, pool_from_text
from rulesearch.result import Result
from rulesearch.rule import Network, Rule, made, rule_from_plain
from rulesearch.rule.recorded import pool_of

Given: TypeAlias = Rule | Result | str | os.PathLike[str]
"""A rule, what a search has found, or what names one."""


def known_rules() -> dict[str, str]:
    """The rules that come along: name -> where it comes from.

    Example:
        >>> known_rules()["whitened"].partition(",")[0]
        'grammar/normalised.py'
    """
    return {name: known_rule(name).source for name in known()}


def known_rule(name: str) -> Rule:
    """A rule that comes along, whatever lies in the folder."""
    return _from_file(name, known_file(name).read_bytes())


def load_rule(given: Given, wanted: int | Collection[str] | None = None) -> Rule:
    """The rule that somebody names.

    Args:
        given: a finished run's directory, its `result.json`, a rule as TOML or JSON (`rule.toml`,
            `export --to json`), or the name of a rule that comes along (`known_rules`), where no
            file has it; or a `Result`. A `Rule` is that itself.
        wanted: of a run, another rule of its hall of fame than the one chosen: a number of terms,
            or their names.

    Raises:
        RuleSearchError: nothing of the kind there, or broken; each line begins with what was given.

    Example:
        >>> load_rule("paper").pool.names
        ('F0', 'F2', 'F9')
    """
    if isinstance(given, Result):
        return given.rule(wanted)
    if isinstance(given, Rule):
        if wanted is not None:
            raise _no_hall(f"rule {given.name}")
        return given
    if not isinstance(given, str | os.PathLike):
        raise RuleSearchError(
            f"rule: a {type(given).__name__}; give a Rule, a Result, a run directory, a rule.toml, "
            f"or a rule that comes along ({', '.join(known())})"
        )
    path, text = Path(given), str(given)
    if names_run(given):
        return _of_result(path, wanted, path.resolve().name if path.is_dir() else path.stem)
    if wanted is not None:
        raise _no_hall(text)
    if path.is_file():
        return _from_file(text, _read(path))
    look_for_rule(given)
    return known_rule(text)


def pool_around(given: str | os.PathLike[str], rule: Rule) -> Pool:
    """The pool that a rule was found in, of a run; else the pool of its own terms.

    Args:
        given: as of `load_rule`, which
        rule: was loaded by.

    Raises:
        RuleSearchError: as of `load_rule`.

    Example:
        >>> pool_around("paper", load_rule("paper")).names
        ('F0', 'F2', 'F9')
    """
    if not names_run(given):
        return rule.pool
    result = Result.load(given)
    return pool_of(result.pool, result.definitions)


def _no_hall(text: str) -> RuleSearchError:
    return RuleSearchError(
        f"{text}: no run directory, so there is no hall of fame to take another rule from"
    )


def _of_result(path: Path, wanted: int | Collection[str] | None, name: str) -> Rule:
    result = Result.load(path)
    try:
        found = result if wanted is None else result.with_terms(wanted)
        if found is not result:
            number = len(found.support)
            name += f" of {number} term{'s' * (number > 1)}"
        return found.rule(name=name)
    except RuleSearchError as error:
        raise error.located(str(path)) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RuleSearchError(f"{path}: cannot be read ({error.strerror})") from None


def _from_file(given: str, source: bytes) -> Rule:
    try:
        # As `load_pool` reads it: with a byte order mark, or carriage returns at ends of lines.
        text = source.decode("utf-8-sig").replace("\r\n", "\n")
        plain = json.loads(text) if given.endswith(".json") else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        if given.endswith(".py"):
            raise RuleSearchError(
                f"{given}: a grammar has terms alone and is what a search is given; give a "
                "rule.toml or a run"
            ) from None
        raise RuleSearchError(f"{given}: not TOML, {error}; give a rule.toml or a run") from None
    except (ValueError, RecursionError):  # digits without end; tables in tables without end
        raise RuleSearchError(f"{given}: a number too long, or tables nested too deep") from None
    try:
        rule = rule_from_plain(plain)
    except RuleSearchError as error:
        raise error.located(given) from None
    return rule if "name" in plain else replace(rule, name=Path(given).stem)


def rule_from_text(
    terms: Sequence[str],
    theta: Sequence[float],
    *,
    network: Network | None = None,
    where: Mapping[str, Collection[int]] | None = None,
    name: str = "rule",
    **beside: Any,
) -> Rule:
    """The rule of text terms (`--term`, `--theta`), named T0, T1, … in their order.

    Args:
        terms: changes of W.
        theta: a coefficient for each term, then for those of feedback, then of biases.
        network: that it is for.
        where: name -> layers.
        name: of the rule.
        beside: feedback, bias, traces, bounds, as of `pool_from_text`.

    Raises:
        RuleSearchError: what a pool or a rule refuses.

    Example:
        >>> print(rule_from_text(["-e_post*y_pre"], [0.05]))
        rule: 0.0500*(-e_post*y_pre)
    """
    pool = pool_from_text(terms, where, **beside)
    return made(pool, tuple(theta), name=name, network=network or Network())
