"""The comparison from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rulesearch.compare.table import Compared, networks_of, terms_of
from rulesearch.errors import RuleSearchError
from rulesearch.evaluate.engine import Watch, carry_out, unwatched
from rulesearch.evaluate.options import Asked, asked_for
from rulesearch.given_rule import Given, load_rule
from rulesearch.result import Result
from rulesearch.rule import Rule


def compare(
    rules: Sequence[Given],
    *,
    out: str | os.PathLike[str] | None = None,
    watch: Watch = unwatched,
    **options: Any,
) -> Compared:
    """Rules beside each other on common tasks, pair by pair, and what differs in them.

    Args:
        rules: two or more, each what `load_rule` takes.
        out: see `rulesearch.evaluate`,
        watch: likewise.
        **options: likewise; there are no rivals unless they are asked for.

    Raises:
        RuleSearchError: as of `rulesearch.evaluate`; fewer than two rules.
    """
    alone = isinstance(rules, str | os.PathLike | Rule | Result)
    several: Any = [rules] if alone else rules
    found = [load_rule(each) for each in several]
    asked = asked_for({"rivals": (), **options})
    return compared(found, asked, None if out is None else Path(out), watch)


def compared(
    rules: Sequence[Rule], asked: Asked, out: Path | None = None, watch: Watch = unwatched
) -> Compared:
    """Rules beside each other; see `compare`."""
    if len(rules) < 2:
        raise RuleSearchError("one rule; give two or more to be compared")
    return Compared(terms_of(rules), networks_of(rules), carry_out(rules, asked, out, watch))
