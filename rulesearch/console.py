"""The process around a command: its streams, how an interrupt ends it, and its version.

Nothing heavy is imported here, so that the guards stand before anything that takes long.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from rulesearch.letters import spell_out

INTERRUPTED, TERMINATED = 130, 143  # 128 and the number of the signal, as shells have it
UNREAD = 1  # what rich ends with, which writes most of the output
NOTHING_WRITTEN = "interrupted before anything was written"


def process(main: Callable[[], int]) -> NoReturn:
    """Run the main function of a command, and end the process with its exit code.

    Until the command calls `interruptible`, an interrupt ends the process at once: raised in the
    middle of an import, KeyboardInterrupt would be swallowed, or printed, by whatever is imported.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    for stream in (sys.stdout, sys.stderr):
        spell_out(stream)
    with _while_read():
        try:
            code = main()
        except KeyboardInterrupt as stop:  # between the command's own guards
            code = code_of(stop)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # nothing is left to stop
    sys.exit(code)


@contextmanager
def _while_read() -> Iterator[None]:
    """Ends the process without a word if nobody reads its output any more, as before `| head`."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream]
    try:
        try:
            yield
        finally:  # what is left would fail at Python's end, where nothing can be caught
            for stream in streams:
                stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in streams:
            os.dup2(nowhere, stream.fileno())
        sys.exit(UNREAD)


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it before a job's time is up."""


def code_of(stop: KeyboardInterrupt) -> int:
    """The exit code of what was stopped so."""
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


def interruptible() -> None:
    """From here on an interrupt raises KeyboardInterrupt: there is something to leave in order.

    SIGTERM raises its kind `Terminated`.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _end(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, f"{NOTHING_WRITTEN}\n".encode())
    os._exit(INTERRUPTED)


def version() -> str:
    """The version of rulesearch, or `not installed` where it runs from its source folder."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of("rulesearch")
    except PackageNotFoundError:
        return "not installed"
