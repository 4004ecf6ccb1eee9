"""The sweep: searches in, each as a run directory, and their table out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from rulesearch.data import Data, load_data
from rulesearch.errors import RuleSearchError
from rulesearch.executors import Executor, GivenUp, Packed, Piece, started, unpacked
from rulesearch.notation import Pool
from rulesearch.records.documents import writing
from rulesearch.result import Result
from rulesearch.runs import RunConfig, holds_run, is_finished, open_run
from rulesearch.runs.lock import alone
from rulesearch.runs.moved import files_of, write_files
from rulesearch.search.config import Config, check
from rulesearch.search.request import settled
from rulesearch.search.whole import asked_of, refuse_other, search
from rulesearch.sweep.planned import Planned
from rulesearch.sweep.table import Row, Swept, row_of, row_of_failed

#: Told of a search that has ended: its row, how many have by now, and of how many.
Watch: TypeAlias = Callable[[Row, int, int], None]
ANOTHER = "give another --out"


def unwatched(row: Row, done: int, of: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Images:
    """Data sets as searches need them, each read once."""

    known: dict[tuple[object, ...], Data] = field(default_factory=dict)

    def of(self, config: Config) -> tuple[Data, ...]:
        """Those of a search, in the order of its options."""
        return tuple(self._one(name, config) for name in config.datasets)

    def _one(self, name: str, config: Config) -> Data:
        how = config.data_root, config.shape, config.scale, config.held_out_classes
        if (name, *how) not in self.known:
            root, shape, scale, apart = how
            self.known[name, *how] = load_data(
                name, root, shape=shape, scale=scale, held_out_classes=apart
            )
        return self.known[name, *how]


def carry_out(
    pools: Mapping[str, Pool],
    plan: Sequence[Planned],
    out: Path | None = None,
    executor: str = "processes",
    workers: int = 1,
    watch: Watch = unwatched,
) -> Swept:
    """Run every search that has not ended, so many at a time, and sum all of them up.

    Workers return a run directory's files, and this process writes them: they need no folder in
    common. A search that this process runs itself fills its directory as it goes, so that one that
    was interrupted goes on; one that was cut off on a worker begins again.

    Args:
        pools: by their names in the plan.
        plan: the searches.
        out: a folder for their run directories, NAME of each; those that are finished are read.
            None keeps nothing.
        executor: see `rulesearch.executors.started`,
        workers: likewise.
        watch: told of every search that has ended.

    Raises:
        RuleSearchError: one of them cannot be met, a line for each reason; nothing is written then.
    """
    images = Images()
    _refuse(pools, plan, images, out)
    rows: dict[int, Row] = {}
    with _alone(out):
        left = [n for n, each in enumerate(plan) if not _is_done(each, out)]
        for number in set(range(len(plan))) - set(left):
            assert out is not None
            each = plan[number]
            rows[number] = row_of(each, pools[each.pool], Result.load(out / each.name))
        for number, ended in _ended(pools, plan, left, images, out, executor, workers):
            each = plan[number]
            if isinstance(ended, str):
                rows[number] = row_of_failed(each, ended)
            else:
                rows[number] = row_of(each, pools[each.pool], ended)
            watch(rows[number], len(rows), len(plan))
    return Swept(tuple(rows[number] for number in range(len(plan))))


def _refuse(
    pools: Mapping[str, Pool], plan: Sequence[Planned], images: Images, out: Path | None
) -> None:
    """Refuse what no search can meet, and directories of others, before anything is run."""
    faults: list[str] = []
    asked: dict[tuple[str, str], RunConfig | None] = {}  # all but the seed
    for each in plan:
        place = each.pool, each.world
        if place not in asked:
            try:
                check(each.config, str)
                data = images.of(each.config)
                pool, config, _ = settled(pools[each.pool], data, each.config)
                asked[place] = asked_of(pool, config, data)
            except RuleSearchError as error:
                asked[place] = None
                faults += error.located(", ".join(place)).lines
        now, run = asked[place], None if out is None else out / each.name
        if now is None or run is None or not holds_run(run):
            continue
        try:
            options = now.options | {"seed": each.config.seed}
            refuse_other(replace(now, options=options), open_run(run), str(run))
        except RuleSearchError as error:
            faults += error.lines
    if faults:
        raise RuleSearchError(*faults)


def _alone(out: Path | None) -> AbstractContextManager[None]:
    if out is None:
        return nullcontext()
    with writing(out, ANOTHER):
        out.mkdir(parents=True, exist_ok=True)
    return alone(out, f"--out {out}")


def _is_done(each: Planned, out: Path | None) -> bool:
    return out is not None and holds_run(out / each.name) and is_finished(out / each.name)


Ended: TypeAlias = Iterator[tuple[int, Result | str]]
"""Number of a search, and its result, or why it has none; as they come."""


def _ended(
    pools: Mapping[str, Pool],
    plan: Sequence[Planned],
    left: Sequence[int],
    images: Images,
    out: Path | None,
    executor: str,
    workers: int,
) -> Ended:
    """Those that are left, by as many workers as there is work for."""
    if not left:
        return
    # Images, that they come to each worker once.
    parts = [part for data in images.known.values() for part in (data.search, data.held_out)]
    with started(executor, min(workers, len(left)), parts) as by:
        if by is None:
            yield from _here(pools, plan, left, images, out)
        else:
            yield from _by_workers(pools, plan, left, images, out, by)


def _here(
    pools: Mapping[str, Pool],
    plan: Sequence[Planned],
    left: Sequence[int],
    images: Images,
    out: Path | None,
) -> Ended:
    for number in left:
        each = plan[number]
        run = None if out is None else out / each.name
        try:
            yield number, search(pools[each.pool], images.of(each.config), each.config, run=run)
        except RuleSearchError as error:
            yield number, str(error)


def _by_workers(
    pools: Mapping[str, Pool],
    plan: Sequence[Planned],
    left: Sequence[int],
    images: Images,
    out: Path | None,
    executor: Executor,
) -> Ended:
    packed = {data: executor.packed(data) for data in images.known.values()}
    pieces = []
    for number in left:
        each = plan[number]
        data = tuple(packed[one] for one in images.of(each.config))
        kept = {} if out is None else files_of(out / each.name)
        task = Task(each.name, pools[each.pool], data, each.config, out is not None, kept)
        pieces.append(Piece(each.name, task))
    for place, answer in executor.answers(_searched, pieces):
        number = left[place]
        if isinstance(answer, GivenUp):
            yield number, answer.line
        elif isinstance(answer, str):
            yield number, answer
        else:
            if out is not None:
                write_files(out / plan[number].name, answer)
            yield number, Result.from_json(answer["result.json"].decode())


# --- in a worker ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A search that a worker runs.

    Attributes:
        name: of its run directory.
        pool: the terms.
        data: the images.
        config: the options.
        keep: whether all of a run directory is wanted, or its result alone.
        kept: what is there of it already, by the names of the files.
    """

    name: str
    pool: Pool
    data: tuple[Packed, ...]
    config: Config
    keep: bool
    kept: Mapping[str, bytes]


def _searched(task: Task) -> dict[str, bytes] | str:
    """The files of a search's run directory, or why there are none."""
    data = [unpacked(each) for each in task.data]
    with tempfile.TemporaryDirectory(prefix="rulesearch-sweep-") as folder:
        run = Path(folder) / task.name
        try:
            if not task.keep:
                result = search(task.pool, data, task.config)
                return {"result.json": result.to_json().encode()}
            write_files(run, task.kept)
            search(task.pool, data, task.config, run=run)
            return files_of(run)
        except RuleSearchError as error:
            return str(error).replace(str(run), task.name)
