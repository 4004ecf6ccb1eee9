"""A rule as plain data and as the text of a `rule.toml`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import tomli_w

from rulesearch.errors import RuleSearchError, closest
from rulesearch.notation import pool_from_plain, pool_to_plain
from rulesearch.records.plain import Finite, Record, from_plain, to_plain
from rulesearch.rule.rule import Network, Rule, Sought

#: A rule has no start: its coefficients are known.
_OF_POOLS = ("start", "space")


@dataclass(frozen=True, kw_only=True)
class _Beside(Record):
    """What a rule has beside the tables of its pool."""

    theta: dict[str, Finite]
    intervals: dict[str, tuple[Finite, Finite]] = field(default_factory=dict)
    network: Network = field(default_factory=Network)
    sought: Sought | None = None
    name: str = "rule"
    source: str = ""


def rule_to_plain(rule: Rule) -> dict[str, Any]:
    """The rule as text and numbers: the tables of `pool_to_plain`, and what it has beside.

    Returns:
        `name`, `source`; the pool's tables without `start`; `theta`, name -> coefficient;
        `intervals`, name -> [low, high]; `network`, option -> value; `sought`, see `Sought`. What
        says nothing is left out.

    Example:
        >>> from rulesearch.notation import Pool
        >>> rule_to_plain(Rule("delta", Pool(F0="-e_post*y_pre"), (0.01,)))["theta"]
        {'F0': 0.01}
    """
    pool = {n: rows for n, rows in pool_to_plain(rule.pool).items() if n not in _OF_POOLS}
    sought = None if rule.sought is None else to_plain(rule.sought)
    said = {
        "name": rule.name,
        "source": rule.source,
        **{name: rows for name, rows in pool.items() if rows or name == "terms"},
        "theta": rule.coefficients,
        "intervals": {name: list(ends) for name, ends in rule.intervals.items()},
        "network": to_plain(rule.network),
        "sought": _said(sought or {}),
    }
    return {name: value for name, value in said.items() if value != "" and value != {}}


def _said(record: Mapping[str, Any]) -> dict[str, Any]:
    """A `Sought` without what it leaves open: TOML has no word for None."""
    open_ = {entry.name for entry in fields(Sought) if entry.default is not MISSING}
    return {
        name: _said(value) if isinstance(value, Mapping) else value
        for name, value in record.items()
        if name not in open_ or value not in (None, [])
    }


def rule_from_plain(plain: Mapping[str, Any]) -> Rule:
    """The rule that plain data says; `rule_from_plain(rule_to_plain(rule))` says the same.

    Raises:
        RuleSearchError: tables that are missing, unknown or do not fit together; a line each.
    """
    if not isinstance(plain.get("theta"), Mapping):
        raise RuleSearchError(
            'no table [theta]; a rule has [terms] with F0 = "-e_post*y_pre" and [theta] with '
            "F0 = 0.01 (a grammar has terms alone: it is what a search is given)"
        )
    if start := [name for name in _OF_POOLS if name in plain]:
        raise RuleSearchError(f"[{start[0]}]: a rule has none, its coefficients are in [theta]")
    own = [entry.name for entry in fields(_Beside)]
    pool = pool_from_plain({name: rows for name, rows in plain.items() if name not in own})
    read = from_plain(_Beside, {n: plain[n] for n in own if n in plain})
    theta, names = read.theta, pool.names
    missing = [name for name in names if name not in theta]
    strange = [name for name in (*theta, *read.intervals) if name not in names]
    if missing or strange:
        faults = [f"[theta]: no coefficient of {name}; give one" for name in missing]
        faults += [f"[theta] {n}: no term{closest(n, names)} ({', '.join(names)})" for n in strange]
        raise RuleSearchError(*faults)
    return Rule(
        name=read.name,
        pool=pool,
        theta=tuple(theta[name] for name in names),
        intervals=dict(read.intervals),
        sought=read.sought,
        source=read.source,
        network=read.network,
    )


#: What intervals are worth.
_INTERVALS = "95 %, over lifetimes drawn anew, for these terms; they may be too narrow"


def toml_of(rule: Rule) -> str:
    """The text of its `rule.toml`; every number reads back as it was."""
    head = "\n[intervals]\n"
    text = tomli_w.dumps(rule_to_plain(rule))
    return text.replace(head, f"\n# {_INTERVALS}{head}", 1)
