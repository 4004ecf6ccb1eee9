"""The evaluation from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rulesearch.evaluate.engine import Watch, carry_out, unwatched
from rulesearch.evaluate.options import asked_for
from rulesearch.evaluate.table import Evaluated
from rulesearch.given_rule import Given, load_rule
from rulesearch.result import Result
from rulesearch.rule import Rule


def evaluate(
    rules: Given | Sequence[Given],
    *,
    out: str | os.PathLike[str] | None = None,
    watch: Watch = unwatched,
    **options: Any,
) -> Evaluated:
    """Try rules, unchanged, beside rivals, in every scenario that the options say.

    No image is asked for or learned from that the search of one of the rules used, whatever the
    size of the tasks (`rulesearch.data.apart`).

    Args:
        rules: one or several, each what `load_rule` takes.
        out: a folder that keeps what is measured; a stopped evaluation goes on there.
        watch: told what is under way, and the share that is done.
        **options: the fields of `rulesearch.evaluate.Asked`; several values of an axis make a
            grid. What is not given is as where the first rule was searched for.

    Returns:
        A table that prints, with `lines`, `to_csv` and `to_pandas`.

    Raises:
        RuleSearchError: options, data or terms that do not fit; a line each.
    """
    given = [rules] if isinstance(rules, Rule | Result | str | os.PathLike) else list(rules)
    found = [load_rule(each) for each in given]
    return carry_out(found, asked_for(options), Path(out) if out is not None else None, watch)
