"""Executors by their names: `processes`, `dask`, `dask:ADDRESS`, `slurm`, `slurm:FILE.toml`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from rulesearch.errors import RuleSearchError
from rulesearch.executors.pieces import Executor
from rulesearch.machine import cores

USUAL = "processes"
CHOICES = "processes, dask, dask:tcp://HOST:PORT, slurm, or slurm:FILE.toml"

#: What each needs beside this package: module -> what it is installed as.
_NEEDS = {
    "dask": {"distributed": "dask.distributed"},
    "slurm": {"distributed": "dask.distributed", "dask_jobqueue": "dask-jobqueue"},
}


def named(text: str) -> tuple[str, str]:
    """The kind of an executor, and where it is: an address, a file, or nothing.

    Raises:
        RuleSearchError: no such executor, a file that is not there, or a package that is missing.

    Example:
        >>> named("processes"), named("slurm")
        (('processes', ''), ('slurm', ''))
    """
    kind, colon, place = text.partition(":")
    if kind not in (USUAL, *_NEEDS) or (colon and (kind == USUAL or not place)):
        near = get_close_matches(kind, (USUAL, *_NEEDS), n=1)
        hint = f"did you mean {near[0]}?" if near and near[0] != kind else f"give {CHOICES}"
        raise RuleSearchError(f"{text}: unknown; {hint}")
    for module, package in _NEEDS.get(kind, {}).items():
        if find_spec(module) is None:
            raise RuleSearchError(
                f"{text}: {package} is not installed; pip install 'rulesearch[cluster]', or take "
                f"{USUAL}"
            )
    if kind == "slurm" and place and not Path(place).is_file():
        raise RuleSearchError(
            f"{text}: no such file; give one with dask-jobqueue's options, such as "
            'cores = 8, memory = "16GB", queue = "short"'
        )
    return kind, place


@contextmanager
def started(
    text: str,
    workers: int,
    objects: Sequence[object] = (),
    threads: int | None = None,
    renewed: int = 0,
) -> Iterator[Executor | None]:
    """The executor of this name with so many workers, each of which has the objects.

    A piece has the cores that its worker has: on one machine they are shared out.

    Args:
        text: see `named`.
        workers: how many pieces run at once; of a scheduler that is there, what it has.
        objects: what many pieces read, see `Executor.packed`.
        threads: of this machine, which its workers share; None for one a core.
        renewed: pieces after which a process of `processes` is begun anew; 0 for never.

    Yields:
        None where it is this process alone: `processes`, one of them. It has so many threads until
        the end, if that was said, and what torch was told otherwise.

    Raises:
        RuleSearchError: it cannot begin, a line for the reason.
    """
    kind, place = named(text)
    if kind == USUAL and workers == 1:
        with _threads(threads):
            yield None
        return
    threads = max(1, (threads or cores()) // workers)
    if kind == USUAL:
        from rulesearch.executors.processes import in_processes

        with in_processes(objects, workers, threads, renewed) as processes:
            yield processes
        return
    from rulesearch.executors.in_dask import at_scheduler, on_slurm, on_this_machine

    if kind == "slurm":
        begun = on_slurm(place, workers, objects)
    else:
        begun = (
            at_scheduler(place, objects) if place else on_this_machine(workers, threads, objects)
        )
    with begun as in_dask:
        yield in_dask


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many threads of this process; None for as many as it has."""
    if count is None:
        yield
        return
    import torch  # after options are looked at: a refusal needs none

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
