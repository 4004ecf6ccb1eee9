"""Processes of this machine that carry out pieces; whatever goes wrong is one line.

Processes are spawned, so each imports the main module of this one again. The shared objects reach
them through a file: what spawn itself hands over goes through a pipe, and a process that dies
before it reads would leave this one writing for ever. Each has a pool of its own, so that one that
dies takes its own piece along and no other.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeVar

import torch

from rulesearch.errors import RuleSearchError
from rulesearch.executors.pieces import MOST_DEATHS, Executor, GivenUp, Piece, Shared, give

Answer = TypeVar("Answer")

GUARD = 'if __name__ == "__main__":'


@dataclass(frozen=True, eq=False)
class Worker:
    """A process, as a pool of one; its number is known when it has begun."""

    pool: ProcessPoolExecutor
    begun: Future[int]

    def end(self) -> None:
        """End the process, whatever it does."""
        with suppress(BrokenProcessPool, ProcessLookupError):
            self.pool.submit(int)  # refused where it has died: its number may be another's by now
            os.kill(self.begun.result(), signal.SIGKILL)
        self.pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, eq=False)
class Processes(Executor):
    """Processes at work, see `started`.

    Attributes:
        begin: begins so many.
        renewed: after so many pieces a process is ended, and another has its place; 0 for never.
        idle: those without a piece,
        all: and all there are.
    """

    begin: Callable[[int], list[Worker]]
    renewed: int = 0
    idle: list[Worker] = field(default_factory=list)
    all: list[Worker] = field(default_factory=list)

    def answers(
        self, work: Callable[[Any], Answer], pieces: Sequence[Piece]
    ) -> Iterator[tuple[int, Answer | GivenUp]]:
        """See `Executor.answers`.

        Raises:
            RuleSearchError: no process can begin in the place of one that has died.
        """
        waiting, deaths, done = deque(range(len(pieces))), Counter[int](), Counter[Worker]()
        running: dict[Future[Answer], tuple[int, Worker]] = {}
        while waiting or running:
            while waiting and self.idle:
                worker = self.idle.pop()
                try:
                    future = worker.pool.submit(work, pieces[waiting[0]].task)
                except BrokenProcessPool:  # it died without a piece
                    self._replace(worker)
                else:
                    running[future] = waiting.popleft(), worker
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, worker = running.pop(future)
                try:
                    answer: Answer | GivenUp = future.result()
                    done[worker] += 1
                    if waiting and done[worker] == self.renewed:
                        self._replace(worker)
                    else:
                        self.idle.append(worker)
                except BrokenProcessPool:
                    self._replace(worker)
                    deaths[number] += 1
                    if deaths[number] < MOST_DEATHS:
                        waiting.appendleft(number)
                        continue
                    answer = GivenUp(pieces[number].label, deaths[number])
                yield number, answer

    def more(self, count: int) -> None:
        """Begin so many, all at once, and wait for them."""
        begun = self.begin(count)
        self.all.extend(begun)
        try:
            for each in begun:
                each.begun.result()
        except BrokenProcessPool:
            raise ended_as_they_began(len(self.all)) from None
        self.idle.extend(begun)

    def _replace(self, worker: Worker) -> None:
        worker.end()
        self.all.remove(worker)
        self.more(1)


@contextmanager
def in_processes(
    objects: Sequence[object], count: int, threads: int = 1, renewed: int = 0
) -> Iterator[Processes]:
    """So many processes, each with the objects and so many threads; `renewed` as of `Processes`.

    Raises:
        RuleSearchError: they cannot begin, as from a script without a main guard.
    """
    refuse_no_file(count)
    with tempfile.TemporaryDirectory(prefix="rulesearch-workers-") as folder:
        shared, path = Shared(objects), Path(folder) / "objects.pickle"
        with path.open("wb") as file:
            pickle.dump(list(objects), file, protocol=pickle.HIGHEST_PROTOCOL)
        given = str(path), shared.token, threads

        def begin(count: int) -> list[Worker]:
            with not_interrupted():
                return [_begun(*given) for _ in range(count)]

        executor = Processes(shared, begin, renewed)
        try:
            executor.more(count)
            yield executor
        finally:
            for worker in executor.all:
                worker.end()


def _begun(*given: Any) -> Worker:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=given)
    return Worker(pool, pool.submit(os.getpid))


@contextmanager
def not_interrupted() -> Iterator[None]:
    """What begins here inherits the mask: an interrupt from a keyboard is this process's alone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ended_as_they_began(count: int) -> RuleSearchError:
    """What is said where no process can begin, as a rule for want of a guard."""
    return RuleSearchError(
        f"workers={count}: the worker processes ended as they began; a script that searches with "
        f"workers does so below {GUARD}, because they import it again; or give workers=1"
    )


def refuse_no_file(count: int) -> None:
    """Refuse where the main module cannot be imported again, as that of standard input.

    Raises:
        RuleSearchError: it cannot.
    """
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


def _begin(path: str, token: str, threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with Path(path).open("rb") as file:
        give(token, pickle.load(file))


def _end_with_parent() -> None:
    """A parent that was killed tells nobody, and its workers would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
