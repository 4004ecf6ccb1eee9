"""Compiled kernels on disk: what Numba made of a generated module, found again by a later process.

One file for each compiled function, written by this package and not by Numba, which would keep code
beside a source file, in a `__pycache__`, and trust whatever lies there. A file's name is a digest
of the module's source, of the source of this package (whose functions are compiled into it), and of
what else decides the machine code. It begins with a digest of the rest, and is read only if it and
its folder are the user's own and closed to others: code is a pickle, and runs.

Whatever is wrong here costs time and never the run. What cannot be read is compiled again, and
what cannot be written is said once.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import pickle
import re
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from rulesearch.errors import RuleSearchError

#: Functions of a generated module that are kept; a module may lack some.
FUNCTIONS = ("forward", "adjoint", "idle")
#: Bytes that the folder may hold; what was used longest ago goes first.
LARGEST = 512 * 2**20
#: Seconds after which what nobody has used goes.
OLDEST = 90 * 86400.0
#: Seconds after which a file that was never finished goes: its process was killed.
UNFINISHED = 3600.0

# Numba has types, but not of these.
_Result: Any = CompileResult
_dumps: Any = dumps

_log = logging.getLogger(__name__)


# --- the folder ----------------------------------------------------------------------------------


def cache_folder() -> Path:
    """The user's own cache folder, made if need be.

    `RULESEARCH_CACHE` names it; without it, the platform's convention is followed
    (`XDG_CACHE_HOME`, or `~/.cache`), with a temporary folder where that one is unusable.

    Raises:
        RuleSearchError: the folder that `RULESEARCH_CACHE` names cannot be written, or others
            could put code into it.
    """
    if chosen := os.environ.get("RULESEARCH_CACHE"):
        if fault := _fault(Path(chosen)):
            raise RuleSearchError(
                f"RULESEARCH_CACHE {chosen}: {fault}; name a folder that you alone can write to, "
                "or leave the variable unset"
            )
        return Path(chosen)
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return _temporary()
    folder = base / "rulesearch" / "kernels"
    return _temporary() if _fault(folder) else folder


def _fault(folder: Path) -> str:
    """Why code cannot be kept in the folder, or may not be run from it; "" if it can.

    A full disk is none: it may be full no more when there is something to keep.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "" if full else f"cannot be written ({error.strerror})"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "cannot be written (Permission denied)"
    return _open_to_others(status)


def _open_to_others(status: os.stat_result) -> str:
    """Why code from a file or folder may not be run; "" if it may."""
    if not hasattr(os, "getuid"):
        return ""
    if status.st_uid != os.getuid():
        return "belongs to another user"
    return "others can write to it" if status.st_mode & 0o022 else ""


@cache
def _temporary() -> Path:
    try:
        # It is made 0700. It outlives the process, as another one may be compiling into it.
        return Path(tempfile.mkdtemp(prefix="rulesearch-kernels-"))
    except OSError:
        return Path(os.devnull)  # nothing can be kept, and nothing is found


@lru_cache(maxsize=16)
def _folder(chosen: str | None, base: str | None) -> Path:
    """The folder at these values of the variables that name it.

    Once it was usable it is not refused any more: if it becomes read-only, or is deleted, while a
    search goes on, that costs time.
    """
    return cache_folder().absolute()


def folder_in_use() -> Path:
    """The folder that this process keeps code in; see `cache_folder`."""
    return _folder(os.environ.get("RULESEARCH_CACHE"), os.environ.get("XDG_CACHE_HOME"))


# --- modules -------------------------------------------------------------------------------------


@cache
def _surroundings() -> bytes:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    target = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    versions = (sys.version, numba.__version__, llvmlite.__version__)
    digest.update(repr((*target, *versions)).encode())
    return digest.digest()


def _name(source: str) -> str:
    return "kernel_" + hashlib.sha256(_surroundings() + source.encode()).hexdigest()[:24]


#: Two threads must not both run a module, nor one see it half run.
_loading = threading.Lock()


def load(source: str) -> ModuleType:
    """The module of this source, whose functions are compiled when called, or found on disk.

    Raises:
        RuleSearchError: see `cache_folder`.
    """
    name = _name(source)
    with _loading:
        if name in sys.modules:
            return sys.modules[name]
        folder = folder_in_use()
        module = ModuleType(name, "A generated kernel.")
        sys.modules[name] = module  # where Numba looks for it
        try:
            exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # our own text
        except BaseException:
            del sys.modules[name]
            raise
        for function in FUNCTIONS:
            if function in module.__dict__:
                # As `enable_caching` does, which `cache=True` calls.
                module.__dict__[function]._cache = _Kept(_path(folder, name, function))
        return module


def is_kept(source: str, function: str) -> bool:
    """Whether there is a file of this function of the module, be it whole or not."""
    return _path(folder_in_use(), _name(source), function).is_file()


def _path(folder: Path, name: str, function: str) -> Path:
    return folder / f"{name}.{function}.nbc"


# --- files ---------------------------------------------------------------------------------------


class _Kept(NullCache):
    """Numba's cache of one function, of one signature: one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(self.path.parent)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None where it is not there or not whole."""
        _used.add(self.path)
        target_context.refresh()
        try:
            data = _read(self.path)
            digest, body = data[:32], data[32:]
            if digest != _digest(sig, target_context.codegen(), body):
                return None
            found = _Result._rebuild(target_context, *pickle.loads(body))
            os.utime(self.path)
        except Exception:  # a pickle may raise whatever it likes, and all of it is a miss
            return None
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the compiled function; one that has no file is compiled again by the next run."""
        if data.lifted or data.library.has_dynamic_globals:
            return
        try:
            body: bytes = _dumps(data._reduce())
            _write(self.path, _digest(sig, data.codegen, body) + body)
            _make_room(self.path.parent)
        except OSError as error:
            _say(self.path.parent, error.strerror or str(error))
        except Exception as error:  # nor may Numba's way of making a pickle end the run
            _say(self.path.parent, repr(error))


def _digest(sig: Any, codegen: Any, body: bytes) -> bytes:
    """Of the code and of what Numba's own variables decide about it; 32 bytes."""
    key = repr((str(sig), codegen.magic_tuple(), vars(config).get("OPT")))
    return hashlib.sha256(key.encode() + body).digest()


def _read(path: Path) -> bytes:
    """A file's content.

    Raises:
        OSError: there is none, or somebody else could have written it.
    """
    if fault := _open_to_others(path.parent.stat()):
        raise PermissionError(fault)
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or _open_to_others(status):
            raise PermissionError(f"{path}: not a file of one's own")
        return file.read()


def _write(path: Path, data: bytes) -> None:
    """Write a file, closed to others, so that nobody ever reads a part of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="kernel_", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


@cache
def _say(folder: Path, reason: str) -> None:
    """Say it once: a search compiles a hundred kernels."""
    _log.warning(
        "%s: compiled code could not be kept (%s); it will be compiled again", folder, reason
    )


# --- bounds --------------------------------------------------------------------------------------

#: The names of what is kept, of `tempfile`'s until it is whole, and of what earlier versions left.
_OURS = re.compile(r"kernel_([0-9a-f]{16,64}[-.].*|[a-z0-9_]{8}\.tmp)")

#: What this process has asked for: it never goes.
_used: set[Path] = set()


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What this package keeps there, or kept; nothing else is ever touched."""
    # Earlier versions left sources here, and code below.
    for path in (*folder.glob("kernel_*"), *folder.glob("__pycache__/kernel_*")):
        if not _OURS.fullmatch(path.name):
            continue
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _make_room(folder: Path) -> None:
    """Delete what is too old, and what is too much, the last used first."""
    now, total = time.time(), 0
    for path, status in sorted(_files(folder), key=lambda f: f[1].st_mtime, reverse=True):
        total += status.st_size
        limit = UNFINISHED if path.suffix == ".tmp" else OLDEST
        if path not in _used and (total > LARGEST or now - status.st_mtime > limit):
            with suppress(OSError):
                path.unlink()


def clear() -> int:
    """Delete all that is kept in the cache folder; gives how many bytes that were.

    Raises:
        RuleSearchError: see `cache_folder`; or a file cannot be deleted.
    """
    freed = 0
    for path, status in _files(cache_folder()):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RuleSearchError(f"{path}: cannot be deleted ({error.strerror})") from None
        freed += status.st_size
    return freed
