"""The sweep from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rulesearch.errors import RuleSearchError
from rulesearch.executors.processes import end_if_imported_again
from rulesearch.notation import Pool, load_pool
from rulesearch.sweep.engine import Watch, carry_out, unwatched
from rulesearch.sweep.planned import planned
from rulesearch.sweep.table import Swept

Given: TypeAlias = Pool | str | os.PathLike[str]
"""A pool, or its grammar file."""


def sweep(
    pools: Given | Sequence[Given] | Mapping[str, Given],
    *,
    worlds: Sequence[str | Mapping[str, Any]] = (),
    seeds: Sequence[int] = (0,),
    out: str | os.PathLike[str] | None = None,
    executor: str = "processes",
    workers: int = 1,
    watch: Watch = unwatched,
    **options: Any,
) -> Swept:
    """Search every pool in every world with every seed, so many searches at a time.

    Args:
        pools: grammar files, called as these are, or pools with names; a pool alone is `pool`.
        worlds: each a data set, or options of a search (`dataset`, `layers`, ...) and perhaps a
            `name`; empty for the one that the options say.
        seeds: of each search.
        out: a folder for the run directories, POOL-WORLD-SEED of each. What is finished there is
            read and not run again, what was begun goes on; None keeps nothing.
        executor: `processes`, `dask`, `dask:ADDRESS`, `slurm` or `slurm:FILE.toml`.
        workers: searches at a time; they share the cores. One of `processes` is this process.
        watch: told of every search that has ended: its row, how many have, and of how many.
        **options: the fields of `rulesearch.Config`, of all searches, where a world does not say
            otherwise; of several worlds at once, see `Config.dataset`.

    Returns:
        A table that prints, with `rows`, `lines`, `to_csv` and `to_pandas`. A search that failed
        has a row that says why.

    Raises:
        RuleSearchError: pools, worlds or options that do not fit; a line each.
    """
    end_if_imported_again()
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise RuleSearchError(f"workers {workers}: give a whole number, at least 1")
    given = _named(pools)
    worlds = [worlds] if isinstance(worlds, str | Mapping) else worlds
    seeds = [seeds] if isinstance(seeds, int) else seeds
    plan = planned([name for name, _ in given], worlds, tuple(seeds), options)
    known = {
        name: each if isinstance(each, Pool) else load_pool(os.fspath(each)) for name, each in given
    }
    return carry_out(known, plan, None if out is None else Path(out), executor, workers, watch)


def _named(pools: Given | Sequence[Given] | Mapping[str, Given]) -> list[tuple[str, Given]]:
    """Names and pools; two may be called so, which is refused later."""
    if isinstance(pools, Mapping):
        return list(pools.items())
    each = [pools] if isinstance(pools, Pool | str | os.PathLike) else list(pools)
    return [("pool" if isinstance(one, Pool) else Path(one).stem, one) for one in each]
