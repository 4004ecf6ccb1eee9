"""Pool and rule of a search from its records alone, which hold the grammar's own definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool, pool_from_plain
from rulesearch.records.plain import from_plain
from rulesearch.rule.rule import Network, Rule, Sought, made

_TABLES = {"W": "terms", "B": "feedback", "b": "bias"}


class Entry(Protocol):
    """What the record of a term says, see `rulesearch.result.PoolEntry`."""

    @property
    def name(self) -> str:
        """Of the term."""

    @property
    def updates(self) -> Mapping[str, str]:
        """Parameter -> the text of its change."""

    @property
    def layers(self) -> Sequence[int]:
        """Those that it acts in; empty for all."""


def pool_of(entries: Sequence[Entry], definitions: Mapping[str, Any]) -> Pool:
    """The pool of these records.

    Args:
        entries: of the terms.
        definitions: the tables `operators`, `quantities`, `traces`, `bounds`, `start` of
            `pool_to_plain`; without the last it starts as any pool does.

    Raises:
        RuleSearchError: records that no pool has.
    """
    plain: dict[str, Any] = {name: {} for name in _TABLES.values()}
    for entry in entries:
        for parameter, text in entry.updates.items():
            plain[_TABLES[parameter]][entry.name] = text
    where = {entry.name: list(entry.layers) for entry in entries if entry.layers}
    return pool_from_plain({**plain, "where": where, **definitions})


def rule_of(
    pool: Pool,
    theta: Mapping[str, float | None],
    intervals: Mapping[str, tuple[float | None, float | None]],
    options: Mapping[str, Any],
    name: str,
    source: str,
) -> Rule:
    """The rule that a search in this pool found.

    Args:
        pool: the terms.
        theta: name -> raw coefficient.
        intervals: name -> its interval.
        options: of the search, as its result keeps them.
        name: what the rule is called.
        source: where it comes from.

    Raises:
        RuleSearchError: no coefficient that is not zero, or one that is not finite.
    """
    known = {
        term: (low, high)
        for term, (low, high) in intervals.items()
        if low is not None and high is not None and theta.get(term)
    }
    if lost := [term for term, value in theta.items() if value is None]:
        raise RuleSearchError(f"rule {name}: the coefficient of {lost[0]} is not finite")
    own = {f.name: options[f.name] for f in fields(Network) if f.name in options}
    return made(
        pool,
        {term: value for term, value in theta.items() if value is not None},
        name=name,
        network=from_plain(Network, own),
        intervals=known,
        sought=_sought(options),
        source=source,
    )


def _sought(options: Mapping[str, Any]) -> Sought:
    layers = options["layers"]
    networks = layers if layers and isinstance(layers[0], list | tuple) else [layers]
    own = {f.name: options[f.name] for f in fields(Sought) if f.name in options}
    begun = (options.get("begin") or {}).get("sought")
    return from_plain(Sought, {**own, "layers": networks, "begun": begun})
