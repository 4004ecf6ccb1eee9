"""Compiling: here, or in another process while this one has something else to do.

Numba compiles under a lock and mostly under Python's, so a thread would not do. The other process
is begun once and stays, as importing and Numba's first function cost more than a kernel. What it
has compiled lies on disk, where this one finds it (see `cache`).
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType

import torch

from rulesearch.kernels.fused.cache import folder_in_use, is_kept, load
from rulesearch.kernels.fused.lifetimes import signatures

_PROGRAM = "from rulesearch.kernels.fused.ahead import serve; serve()"

Asked = tuple[str, str]
"""The source of a module, and the name of a function of it."""


def compile_ahead(source: str, functions: Sequence[str]) -> bool:
    """Have functions of a module compiled by the other process, in this order.

    Not those that are compiled already, and none where there is one thread only. If the other
    process fails nothing is lost: see `ready`.

    Returns:
        Whether it compiles any.

    Raises:
        RuleSearchError: see `cache_folder`.
    """
    missing = [name for name in functions if not is_kept(source, name)]
    if torch.get_num_threads() == 1 or not missing:
        return False
    here = os.getpid(), folder_in_use()
    if here not in _others and (other := _begun(here[1])):
        _others[here] = other
    return here in _others and all(_others[here].ask((source, name)) for name in missing)


def ready(source: str, functions: Sequence[str]) -> ModuleType:
    """The module of this source, with these functions compiled.

    Where the other process is at one it is waited for.

    Raises:
        RuleSearchError: see `cache_folder`.
    """
    module = load(source)
    for name in functions:
        if signatures(module)[name] not in getattr(module, name).overloads:
            if other := _others.get((os.getpid(), folder_in_use())):
                other.wait((source, name))
            _compile(module, name)
    return module


def _compile(module: ModuleType, name: str) -> None:
    """Compile a function, or find it on disk."""
    with _uncollected():
        getattr(module, name).compile(signatures(module)[name])


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage is looked for meanwhile: it takes an eighth of the time to compile."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# --- the other process ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Other:
    """The other process; it ends when its input does, so with this one in any case.

    Attributes:
        process: which answers each request by a line, in their order.
        asked: what it has not answered yet.
        lock: of both.
    """

    process: subprocess.Popen[bytes]
    asked: deque[Asked] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, what: Asked) -> bool:
        """Have it compiled; whether the process takes requests."""
        assert self.process.stdin is not None
        with self.lock:
            if what in self.asked:
                return True
            try:
                self.process.stdin.write(json.dumps(what).encode() + b"\n")
                self.process.stdin.flush()
            except OSError:  # it has ended
                return False
            self.asked.append(what)
            return True

    def wait(self, what: Asked) -> None:
        """Until it has answered this, if it was asked."""
        assert self.process.stdout is not None
        with self.lock:
            while what in self.asked:
                if not self.process.stdout.readline():  # it has ended
                    self.asked.clear()
                    return
                self.asked.popleft()


#: By the number of the process that began it, as a forked one needs its own, and by the folder.
_others: dict[tuple[int, Path], _Other] = {}


@atexit.register
def _end() -> None:
    """End what this process has begun, before Python complains that it goes on."""
    for (process, _), other in _others.items():
        if process == os.getpid():
            other.process.kill()
            other.process.communicate()  # which closes the pipes too


def _begun(folder: Path) -> _Other | None:
    """A process that keeps code in this folder; None where there can be none."""
    environment = {"RULESEARCH_CACHE": str(folder), "PYTHONIOENCODING": "utf-8"}
    try:
        return _Other(
            subprocess.Popen(
                [sys.executable, "-c", _PROGRAM],
                env=os.environ | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        )
    except OSError:
        return None


def serve() -> None:
    """Compile what is asked for until the input ends: what the other process does."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr  # nobody else may answer
    waiting: SimpleQueue[Asked] = SimpleQueue()
    threading.Thread(target=_listen, args=(waiting,), daemon=True).start()
    while True:
        source, name = waiting.get()
        with suppress(Exception):  # whoever asked compiles it then, and says what is wrong
            _compile(load(source), name)
        answers.write(b"\n")
        answers.flush()


def _listen(waiting: SimpleQueue[Asked]) -> None:
    for line in sys.stdin:
        source, name = json.loads(line)
        waiting.put((source, name))
    os._exit(0)  # whatever it is at
