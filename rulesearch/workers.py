"""Processes that share work on objects which each of them has; whatever goes wrong is one line.

Processes are spawned, so each imports the main module of this one again. The objects reach them
through a file: what spawn itself hands over goes through a pipe, and a process that dies before it
reads would leave this one writing for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeVar

import torch

from rulesearch.errors import RuleSearchError

Task = TypeVar("Task")
Answer = TypeVar("Answer")

GUARD = 'if __name__ == "__main__":'


@dataclass(frozen=True, eq=False)
class Workers:
    """Processes at work, see `started`."""

    executor: ProcessPoolExecutor

    def map(
        self, work: Callable[[Any, Task], Answer], place: int, tasks: Sequence[Task]
    ) -> list[Answer]:
        """`work(object, task)` of every task, where the object is the one at `place`.

        Raises:
            RuleSearchError: a process has died.
        """
        count = len(tasks)
        try:
            return list(self.executor.map(_carried_out, [work] * count, [place] * count, tasks))
        except BrokenProcessPool:
            raise RuleSearchError(
                "a worker process has died, by a signal or for want of memory; go on with the run "
                "if it is kept, or take fewer workers, which need less"
            ) from None


@contextmanager
def started(objects: Sequence[object], count: int) -> Iterator[Workers]:
    """So many processes, each with the objects.

    Raises:
        RuleSearchError: they cannot begin, as from a script without a main guard.
    """
    _refuse_no_file(count)
    with tempfile.TemporaryDirectory(prefix="rulesearch-workers-") as folder:
        path = Path(folder) / "objects.pickle"
        with path.open("wb") as file:
            pickle.dump(list(objects), file, protocol=pickle.HIGHEST_PROTOCOL)
        executor = ProcessPoolExecutor(
            count, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(str(path),)
        )
        try:
            _wait_for(executor, count)
            yield Workers(executor)
        finally:
            executor.shutdown(cancel_futures=True)


def _wait_for(executor: ProcessPoolExecutor, count: int) -> None:
    # Workers inherit the mask: an interrupt from the keyboard is this process's alone.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        begun = [executor.submit(os.getpid) for _ in range(count)]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        for each in begun:
            each.result()
    except BrokenProcessPool:
        raise RuleSearchError(
            f"workers={count}: the worker processes ended as they began; a script that searches "
            f"with workers does so below {GUARD}, because they import it again; or give workers=1"
        ) from None


def _refuse_no_file(count: int) -> None:
    """Refuse where the main module cannot be imported again, as that of standard input."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is not None and getattr(main, "__spec__", None) is None and not Path(path).is_file():
        raise RuleSearchError(
            f"workers={count}: worker processes import the main program again, and {path} is no "
            f"file; save it as one, with the search below {GUARD}, or give workers=1"
        )


def end_if_imported_again() -> None:
    """End a worker that runs an unguarded script again; who started it says what to mend."""
    # What multiprocessing itself looks at where it refuses to start a process there.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(1)


# --- in a worker ---------------------------------------------------------------------------------

#: What this process was given; empty but in workers.
_objects: list[Any] = []


def _begin(path: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    with Path(path).open("rb") as file:
        _objects.extend(pickle.load(file))


def _end_with_parent() -> None:
    """A parent that was killed tells nobody, and its workers would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _carried_out(work: Callable[[Any, Task], Answer], place: int, task: Task) -> Answer:
    return work(_objects[place], task)
