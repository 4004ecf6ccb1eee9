"""Pieces carried out by dask.distributed: a cluster on this machine, one of Slurm jobs, or another.

dask runs a piece again whose worker died, and begins workers anew. Whatever workers read comes from
this process: each that joins is handed the shared objects first (a plugin of dask's).
"""

from __future__ import annotations

import logging
import pickle
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlparse

import dask
import torch
from dask.distributed import (
    CancelledError,
    Client,
    KilledWorker,
    LocalCluster,
    WorkerPlugin,
    as_completed,
)

from rulesearch.errors import RuleSearchError
from rulesearch.executors.pieces import (
    MOST_DEATHS,
    Executor,
    GivenUp,
    Piece,
    Shared,
    give,
    take_back,
)
from rulesearch.executors.processes import ended_as_they_began, not_interrupted, refuse_no_file
from rulesearch.machine import cores

Answer = TypeVar("Answer")

#: What is said where a worker's version of this package is missing or another one.
NOT_THERE = "install the same rulesearch where the workers run"


@dataclass(frozen=True, eq=False)
class InDask(Executor):
    """dask's workers, see the functions below.

    Attributes:
        client: of their scheduler.
        threads: of a piece.
    """

    client: Client
    threads: int

    def answers(
        self, work: Callable[[Any], Answer], pieces: Sequence[Piece]
    ) -> Iterator[tuple[int, Answer | GivenUp]]:
        """See `Executor.answers`.

        Raises:
            RuleSearchError: the workers have no such package, or the scheduler has gone.
        """
        numbers = {
            # Bytes, because dask would look into anything else.
            self.client.submit(
                _carried_out, pickle.dumps((work, piece.task)), self.threads, pure=False
            ): number
            for number, piece in enumerate(pieces)
        }
        for future in as_completed(list(numbers), loop=self.client.loop):
            number = numbers.pop(future)
            try:
                answer: Answer | GivenUp = future.result()
            except KilledWorker as killed:
                answer = GivenUp(pieces[number].label, killed.allowed_failures + 1)
            except CancelledError:
                raise RuleSearchError(
                    "dask: the scheduler has gone; start it again, and give the same command"
                ) from None
            except ModuleNotFoundError as error:
                raise RuleSearchError(f"a worker of dask says: {error}; {NOT_THERE}") from None
            yield number, answer


@contextmanager
def on_this_machine(workers: int, threads: int, objects: Sequence[object]) -> Iterator[InDask]:
    """A cluster of so many workers here, which ends with this.

    Raises:
        RuleSearchError: it cannot begin, as from a script without a main guard.
    """
    refuse_no_file(workers)
    with _deaths_counted(), not_interrupted():
        try:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                memory_limit=0,  # as of processes: nobody ends them for the memory that they take
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError:  # "Nanny failed to start", and no more
            raise ended_as_they_began(workers) from None
    with cluster, Client(cluster, set_as_default=False) as client:
        yield _with_objects(client, threads, objects)


@contextmanager
def on_slurm(file: str, workers: int, objects: Sequence[object]) -> Iterator[InDask]:
    """Jobs of Slurm, submitted here, as many as it takes for so many workers.

    Args:
        file: a TOML file with options of `dask_jobqueue.SLURMCluster`, in place of what dask's own
            configuration has under `jobqueue.slurm`; "" for that alone.
        workers: how many; a job has one, unless `processes` says otherwise.
        objects: that each is to have.

    Raises:
        RuleSearchError: no Slurm here, or options that it cannot have.
    """
    from dask_jobqueue import SLURMCluster

    label = f"slurm:{file}" if file else "slurm"
    if shutil.which("sbatch") is None:
        raise RuleSearchError(f"{label}: no sbatch here; run it where jobs are submitted from")
    known = dask.config.get("jobqueue.slurm", {})
    asked = {"cores": known.get("cores"), "processes": known.get("processes") or 1}
    asked |= _options(file) if file else {}
    further = asked.pop("worker_extra_args", None) or known.get("worker-extra-args") or []
    try:
        # A worker takes one piece at a time, with all its cores; of an option given twice the last
        # counts.
        with _deaths_counted(), not_interrupted():
            cluster = SLURMCluster(worker_extra_args=[*further, "--nthreads", "1"], **asked)
    except (TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise RuleSearchError(f"{label}: {said}") from None
    with cluster, Client(cluster, set_as_default=False) as client:
        # Of a fixed size, by the way that begins jobs anew whose time was up.
        cluster.adapt(minimum=workers, maximum=workers)
        yield _with_objects(client, max(1, asked["cores"] // asked["processes"]), objects)


@contextmanager
def at_scheduler(address: str, objects: Sequence[object]) -> Iterator[InDask]:
    """The workers of a scheduler that is there already, and that stays.

    Raises:
        RuleSearchError: none there, no worker, or one that takes several pieces at once.
    """
    try:
        client = Client(address, set_as_default=False, timeout="10s")
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise RuleSearchError(
            f"dask:{address}: no scheduler answers ({said}); start one by `dask scheduler`, and "
            "give the address that it prints"
        ) from None
    with client:
        took = client.nthreads()
        if not took:
            raise RuleSearchError(
                f"dask:{address}: has no workers; start some by `dask worker {address} "
                "--nthreads 1`"
            )
        if several := [worker for worker, count in took.items() if count > 1]:
            raise RuleSearchError(
                f"dask:{address}: {several[0]} takes {took[several[0]]} pieces at once; start it "
                "with --nthreads 1"
            )
        most = max(Counter(urlparse(worker).hostname for worker in took).values())
        fewest = min(client.run(cores).values())
        yield _with_objects(client, max(1, fewest // most), objects)


def _options(file: str) -> dict[str, Any]:
    path = Path(file)
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RuleSearchError(f"slurm:{file}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RuleSearchError(f"slurm:{file}: not TOML, {error}") from None
    return {name.replace("-", "_"): value for name, value in plain.items()}


def _deaths_counted() -> Any:
    """A context in which a scheduler begins that gives a piece up as all executors do."""
    return dask.config.set({"distributed.scheduler.allowed-failures": MOST_DEATHS - 1})


def _with_objects(client: Client, threads: int, objects: Sequence[object]) -> InDask:
    shared = Shared(objects)
    content = pickle.dumps(list(objects), protocol=pickle.HIGHEST_PROTOCOL)
    client.register_plugin(Giving(shared.token, content), name=shared.token)
    return InDask(shared, client, threads)


# --- in a worker ---------------------------------------------------------------------------------


class Giving(WorkerPlugin):  # type: ignore[misc]  # dask has no types here
    """Gives a worker the shared objects, before it gets its first piece."""

    def __init__(self, token: str, content: bytes) -> None:
        self.token, self.content = token, content

    def setup(self, worker: object) -> None:
        """As the worker joins."""
        give(self.token, self.content)

    def teardown(self, worker: object) -> None:
        """When they are needed no more."""
        take_back(self.token)


def _carried_out(packed: bytes, threads: int) -> Any:
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    work, task = pickle.loads(packed)
    return work(task)
