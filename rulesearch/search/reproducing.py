"""A search run again from its result alone, to see what comes out differently."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rulesearch.data.files import names_in
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool
from rulesearch.records.plain import from_plain
from rulesearch.report.reproduced import Differing, differences
from rulesearch.result import Result
from rulesearch.rule.recorded import pool_of
from rulesearch.search.config import Config, called
from rulesearch.search.record import checksums
from rulesearch.search.request import Request
from rulesearch.search.whole import search
from rulesearch.search.worlds import data_of


def asked_again(result: Result, given: Mapping[str, Any]) -> tuple[Pool, Config]:
    """The request that led to a result.

    Args:
        result: of a search.
        given: options that numbers do not hang on (`rulesearch.search.config.FREE`), as they are to
            be now.

    Raises:
        RuleSearchError: records that this version cannot read.
    """
    if result.stopped:
        raise RuleSearchError(
            "a time limit has stopped its search; go on with that first, by --resume"
        )
    pool = pool_of(result.pool, result.definitions)
    return pool, replace(from_plain(Config, result.config), **given)


def other_checksums(result: Result, request: Request) -> tuple[str, ...]:
    """What is said of pool and data that are not those that the result came from, a line each."""
    now, then = checksums(request.pool, request.data), dict(result.checksums)
    if not then:
        return ("the result is of before checksums were kept: pool and data may be others",)
    # Data that have moved may be called otherwise: they are those in the same place.
    names = [f"data {called(name)}" for name in names_in(result.config["dataset"])]
    if len(names) == len(request.data):
        to = dict(zip(names, (f"data {called(data.name)}" for data in request.data), strict=True))
        then = {to.get(name, name): digest for name, digest in then.items()}
    return tuple(
        f"{name}: not what it was (checksum {then.get(name, 'none')[:12]} then, "
        f"{now.get(name, 'none')[:12]} now), so the numbers will differ"
        for name in {**then, **now}
        if then.get(name) != now.get(name)
    )


def reproduce(
    given: str | os.PathLike[str],
    *,
    run: str | os.PathLike[str] | None = None,
    **options: Any,
) -> tuple[Result, tuple[Differing, ...]]:
    """Run a search again, and say what differs.

    Args:
        given: a finished run's directory, or its `result.json`.
        run: a new run directory; None keeps nothing.
        options: where the data lie now, and how to compute: dataset, data_root, workers, kernel.

    Returns:
        The result now, and each value in which it differs from the one given; only the time may,
        where machine, versions and data are the same.

    Raises:
        RuleSearchError: as of `Result.load` and `search`.
    """
    then = Result.load(given)
    pool, config = asked_again(then, options)
    now = search(pool, data_of(config), config, run=run)
    return now, differences(then, now)
