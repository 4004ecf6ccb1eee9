"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rulesearch.errors import RuleSearchError
from rulesearch.records.documents import writing

LOCK = ".lock"
"""Name of the file that is locked; it goes with its owner, unless that was killed."""


@contextmanager
def alone(directory: Path, label: str) -> Iterator[None]:
    """Hold a directory's lock: the system frees it, however this process ends.

    Args:
        directory: that must be there.
        label: what it is called, in the words of whoever asked.

    Raises:
        RuleSearchError: another process holds it, or the file system has no locks.
    """
    path = directory / LOCK
    while True:
        with writing(path, "give permission, or choose another directory"):
            lock = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = f"process {lock.read(20).strip() or 'unknown'}"
            lock.close()
            raise RuleSearchError(
                f"{label}: {owner} works on it; wait for its end, or stop it first"
            ) from None
        except OSError as error:  # some file systems have no locks
            lock.close()
            raise RuleSearchError(f"{label}: cannot be locked ({error.strerror})") from None
        if _is_still(path, lock.fileno()):
            break
        lock.close()  # its last owner has just removed it
    try:
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        lock.close()


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one that stands at a path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
