"""A search as a whole: in a run directory, begun there or gone on with, or in none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rulesearch.data import Data
from rulesearch.data.files import names_in
from rulesearch.errors import RuleSearchError
from rulesearch.executors import started
from rulesearch.executors.processes import end_if_imported_again
from rulesearch.given_rule import Given, load_rule
from rulesearch.notation import Pool, pool_to_plain
from rulesearch.records.documents import writing
from rulesearch.records.plain import to_plain
from rulesearch.result import Result
from rulesearch.rule import rule_to_plain
from rulesearch.runs import (
    RunConfig,
    at_work,
    create_run,
    holds_run,
    is_finished,
    open_run,
    versions,
    write_hall,
    write_report,
    write_result,
    write_rule,
)
from rulesearch.runs.kept import Run, go_on, history, makers, write_history
from rulesearch.search.config import FREE, Config, flag, layers_shown
from rulesearch.search.engine import carry_out
from rulesearch.search.request import Request, prepare
from rulesearch.search.stages import OnHall, OnStep, Stages


def search(
    pool: Pool,
    data: Data | Sequence[Data],
    config: Config | None = None,
    *,
    begin: Given | None = None,
    run: str | os.PathLike[str] | None = None,
    on_step: OnStep | None = None,
    on_stage: Callable[[str], None] | None = None,
    time_limit: float | None = None,
) -> Result:
    """Search a pool for a short rule.

    Args:
        pool: the candidate terms.
        data: the images, see `load_data`; of several data sets, in the order of the options.
        config: the options.
        begin: a rule to begin at, as `load_rule` takes it, whose terms are all in the pool; as
            `Config.begin`.
        run: a run directory, filled as the command's `--out` is, figures too. One that is new or
            empty is begun. One that holds the same request goes on from where it is, or, if it is
            finished, gives its result. None keeps nothing.
        on_step: told of every meta-step; None prints nothing.
        on_stage: told the label of every stage as it begins.
        time_limit: seconds, above 0, after which it stops with the best rule so far
            (`Result.stopped`), evaluated as any; the run can go on as if it had not. Baselines and
            the reference are found in any case.

    Raises:
        RuleSearchError: the request cannot be met, or the run directory cannot be written, or
            holds another request.
    """
    end_if_imported_again()
    config = config or Config()
    if begin is not None:
        config = replace(config, begin=rule_to_plain(load_rule(begin)))
    request = prepare(pool, data, config)
    refuse_limit(request, time_limit, "time_limit")
    watch = Watch(on_step or _silent, on_stage or _silent, seconds=time_limit)
    if run is None:
        return _carried_out(request, watch.stages(None))
    directory = Path(run)
    if not holds_run(directory):
        work = beginning(request, directory, "run")
    else:
        label = f"run {directory}"
        request = compared(request, open_run(directory), label)
        if is_finished(directory):
            return Result.load(directory)
        work = at_work(directory, made_with(request), label)
    with work as opened:
        return keep(request, opened, watch)


def _carried_out(request: Request, stages: Stages) -> Result:
    """By the executor that the options name, whose workers have the images."""
    images = [part for data in request.data for part in (data.search, data.held_out)]
    config = request.config
    with started(config.executor, config.workers, images, config.threads) as executor:
        return carry_out(request, stages, executor)


def _silent(_: object) -> None:
    return None


@dataclass(frozen=True)
class Watch:
    """Who is told how a search goes, and when it is to stop.

    Attributes:
        on_step: told of every meta-step.
        on_stage: told the label of every stage as it begins.
        on_hall: told the hall of fame each time that a rule has been compared.
        seconds: from `began` on, after which it stops; None for never.
        began: on the monotonic clock.
    """

    on_step: OnStep = _silent
    on_stage: Callable[[str], None] = _silent
    on_hall: OnHall = _silent
    seconds: float | None = None
    began: float = field(default_factory=time.monotonic)

    def stages(self, run: Run | None) -> Stages:
        """The stages of a search that is watched so."""
        deadline = None if self.seconds is None else self.began + self.seconds
        return Stages(run, self.on_step, self.on_stage, self.on_hall, deadline)


def refuse_limit(request: Request, seconds: float | None, option: str) -> None:
    """Refuse a time limit that no search can keep.

    Raises:
        RuleSearchError: it is not above zero, or the protocol compares rules at its end alone.
    """
    protocol = request.config.protocol
    if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
        raise RuleSearchError(f"{option} {seconds}: must be above 0; give seconds")
    if seconds is not None and protocol != "accepted":
        raise RuleSearchError(
            f"{option}: --protocol {protocol} has no rule to stop with before its end; leave it "
            "out, or take accepted"
        )


def record(request: Request, command: Sequence[str] = ()) -> RunConfig:
    """What `config.json` keeps of a request: all that it takes to go on, wherever one stands.

    Args:
        request: to be kept.
        command: the words of the command line.
    """
    asked = asked_of(request.pool, request.config, request.data)
    return replace(asked, versions=made_with(request), command=tuple(command))


def asked_of(pool: Pool, config: Config, data: Sequence[Data]) -> RunConfig:
    """The same, of what `settled` gives, without what only a process at work on it knows."""
    options = to_plain(config)
    options["dataset"] = ",".join(
        str(Path(name).absolute()) if name.lower().endswith(".npz") else name
        for name in config.datasets
    )
    if config.data_root is not None:
        options["data_root"] = str(Path(config.data_root).absolute())
    return RunConfig(
        pool=pool_to_plain(pool),
        options=options,
        data=",".join(each.digest for each in data),
        versions={},
    )


def made_with(request: Request) -> dict[str, str]:
    """By what the numbers of this process come about: versions, and the kernel."""
    return {**versions(), "kernel": request.kernel}


@contextmanager
def beginning(
    request: Request, directory: Path, option: str = "--out", command: Sequence[str] = ()
) -> Iterator[Run]:
    """A new run directory, which this process has to itself.

    Args:
        request: to be kept there.
        directory: new or empty.
        option: by which it was asked for.
        command: the words of the command line.

    Raises:
        RuleSearchError: it holds a run or other files, or cannot be written.
    """
    create_run(directory, record(request, command), option)
    with at_work(directory, made_with(request), f"{option} {directory}") as run:
        yield run


def compared(request: Request, kept: RunConfig, label: str) -> Request:
    """A request that is to go on with a kept one; what is now otherwise is said in its messages.

    Args:
        request: as it is now.
        kept: as it began.
        label: what the run is called, in the words of whoever asked.

    Raises:
        RuleSearchError: its numbers would be those of another search.
    """
    now = record(request)
    refuse_other(now, kept, label)
    return replace(request, messages=(*request.messages, *_changed(now.versions, kept.versions)))


def refuse_other(now: RunConfig, kept: RunConfig, label: str) -> None:
    """Refuse to take a kept request for what is asked for now.

    Args:
        now: what is asked for.
        kept: as it began.
        label: what the run is called, in the words of whoever asked.

    Raises:
        RuleSearchError: its numbers would be those of another search.
    """
    faults = []
    if now.pool != kept.pool:
        faults.append(f"{label}: began with another pool; go on with that, or choose another run")
    if now.options["begin"] != kept.options.get("begin"):
        faults.append(f"{label}: began at another rule; go on with that, or choose another run")
    for name, value in now.options.items():
        if name not in (*FREE, "begin") and kept.options.get(name) != value:
            faults.append(
                f"{label}: began with {flag(name)} {_shown(kept.options.get(name))}, not "
                f"{_shown(value)}; go on with that, or choose another run"
            )
    faults += [
        f"{label}: {name} holds other data than it began with ({before} then); name those by "
        "--dataset or --data-root"
        for name, before in _other_data(now, kept)
    ]
    if faults:
        raise RuleSearchError(*faults)


def _other_data(now: RunConfig, kept: RunConfig) -> list[tuple[str, str]]:
    """Data sets that hold other data than they did, by their names now and then."""
    names = [of.options["dataset"] for of in (now, kept)]
    digests = [of.data.split(",") for of in (now, kept)]
    if len(digests[0]) != len(digests[1]):
        return [(names[0], names[1])]
    pairs = zip(*map(names_in, names), *digests, strict=True)
    return [(here, before) for here, before, mine, theirs in pairs if mine != theirs]


def _changed(now: dict[str, str], then: dict[str, str]) -> tuple[str, ...]:
    """What computes is now otherwise, as a line, or none."""
    names = [name for name in {**then, **now} if now.get(name) != then.get(name)]
    if not names:
        return ()
    old, new = (
        ", ".join(f"{name} {made.get(name, 'none')}" for name in names) for made in (then, now)
    )
    return (f"begun with {old}, gone on with {new}: last digits may differ from an unbroken run's",)


def _shown(value: Any) -> str:
    return layers_shown(value)


def keep(request: Request, run: Run, watch: Watch) -> Result:
    """Carry a search out, and fill its run directory.

    Raises:
        RuleSearchError: the search cannot go on, or the directory cannot be written.
    """
    result = _carried_out(request, watch.stages(run))
    own = dict(run.made_with)
    result = replace(
        result,
        versions=own,
        earlier=tuple(made for made in makers(run) if made != own),
        config=record(request).options,
        command=open_run(run.path).command,
        seconds=run.seconds,
    )
    from rulesearch import figures  # matplotlib, wanted at the end alone
    from rulesearch.report import hall_csv, latex
    from rulesearch.report.page import page
    from rulesearch.search.again import again

    write_history(run)
    if result.stopped:
        write_result(run.path, result)
        return result
    drawn = figures.drawn(history(run), result)
    with writing(run.path, go_on(run.path)):
        figures.write(drawn, run.path)
    write_report(run.path, page(result, drawn, again(record(request))))
    if result.hall:
        write_hall(run.path, hall_csv(result.pool, result.hall))
    write_rule(run.path, latex(result))
    write_result(run.path, result)  # last: where it is, the run is complete
    return result
