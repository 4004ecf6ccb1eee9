"""The sweep: searches in, each as a run directory, and their table out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from rulesearch.data import Data
from rulesearch.errors import RuleSearchError
from rulesearch.executors import Executor, GivenUp, Packed, Piece, named, started, unpacked
from rulesearch.notation import Pool
from rulesearch.records.documents import writing
from rulesearch.result import Result
from rulesearch.runs import RunConfig, holds_run, is_finished, open_run
from rulesearch.runs.lock import alone
from rulesearch.runs.moved import files_of, write_files
from rulesearch.search.config import Config, check
from rulesearch.search.request import settled
from rulesearch.search.whole import asked_of, refuse_other, search
from rulesearch.search.worlds import data_of
from rulesearch.sweep.planned import Planned
from rulesearch.sweep.table import Row, Swept, row_of, row_of_failed

#: Told of a search that has ended: its row, how many have by now, and of how many.
Watch: TypeAlias = Callable[[Row, int, int], None]
ANOTHER = "give another --out"
RESULT = "result.json"
#: Searches after which a worker is begun anew: one that compiles kernels leaves 50 to 120 MB, which
#: Numba keeps for as long as the process lives.
RENEWED = 8


def unwatched(row: Row, done: int, of: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Images:
    """Data sets as searches need them, each read once."""

    known: dict[tuple[object, ...], Data] = field(default_factory=dict)

    def of(self, config: Config) -> tuple[Data, ...]:
        """Those of a search, in the order of its options."""
        return tuple(
            self._one(replace(config, dataset=name, scale_ranges=())) for name in config.datasets
        )

    def _one(self, config: Config) -> Data:
        how = config.dataset, config.data_root, config.shape, config.scale, config.held_out_classes
        if how not in self.known:
            (self.known[how],) = data_of(config)
        return self.known[how]


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
        RuleSearchError: there is no such executor, or one of the searches cannot be met, a line
            for each reason; nothing is written then.
    """
    named(executor)
    images = Images()
    _refuse(pools, plan, images, out)
    rows: dict[int, Row] = {}
    with _alone(out):
        left: list[Left] = []
        for number, each in enumerate(plan):
            run = None if out is None else out / each.name
            if run is not None and holds_run(run) and is_finished(run):
                rows[number] = row_of(each, pools[each.pool], Result.load(run))
            else:
                data = images.of(each.config)
                left.append(Left(number, each, pools[each.pool], data, run))
        for number, ended in _ended(left, executor, workers):
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


@dataclass(frozen=True)
class Left:
    """A search that has not ended.

    Attributes:
        number: in the plan.
        planned: what it is.
        pool: the terms.
        data: the images.
        run: its directory, or None to keep nothing.
    """

    number: int
    planned: Planned
    pool: Pool
    data: tuple[Data, ...]
    run: Path | None


Ended: TypeAlias = Iterator[tuple[int, Result | str]]
"""Number of a search, and its result, or why it has none; as they come."""


def _ended(left: Sequence[Left], executor: str, workers: int) -> Ended:
    """Those that are left, by as many workers as there is work for."""
    if not left:
        return
    # Images, that they come to each worker once.
    sets = dict.fromkeys(data for each in left for data in each.data)
    images = [part for data in sets for part in (data.search, data.held_out)]
    with started(executor, min(workers, len(left)), images, renewed=RENEWED) as by:
        yield from _here(left) if by is None else _by_workers(left, by)


def _here(left: Sequence[Left]) -> Ended:
    for each in left:
        try:
            result = search(each.pool, each.data, each.planned.config, run=each.run)
        except RuleSearchError as error:
            yield each.number, str(error)
        else:
            yield each.number, result


def _by_workers(left: Sequence[Left], executor: Executor) -> Ended:
    pieces = []
    for each in left:
        data = tuple(map(executor.packed, each.data))
        kept = None if each.run is None else files_of(each.run)
        task = Task(each.planned.name, each.pool, data, each.planned.config, kept)
        pieces.append(Piece(each.planned.name, task))
    for place, answer in executor.answers(_searched, pieces):
        number, run = left[place].number, left[place].run
        if isinstance(answer, GivenUp):
            yield number, answer.line
        elif isinstance(answer, str):
            yield number, answer
        else:
            if run is not None:
                write_files(run, answer)
            yield number, Result.from_json(answer[RESULT].decode())


# --- in a worker ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A search that a worker runs.

    Attributes:
        name: of its run directory.
        pool: the terms.
        data: the images.
        config: the options.
        kept: what is there of the run already, by the names of the files; None where its result
            alone is wanted.
    """

    name: str
    pool: Pool
    data: tuple[Packed, ...]
    config: Config
    kept: Mapping[str, bytes] | None


def _searched(task: Task) -> dict[str, bytes] | str:
    """The files of a search's run directory, or why there are none."""
    data = [unpacked(each) for each in task.data]
    with tempfile.TemporaryDirectory(prefix="rulesearch-sweep-") as folder:
        run = Path(folder) / task.name
        try:
            if task.kept is None:
                return {RESULT: search(task.pool, data, task.config).to_json().encode()}
            write_files(run, task.kept)
            search(task.pool, data, task.config, run=run)
            return files_of(run)
        except RuleSearchError as error:
            return str(error).replace(str(run), task.name)
