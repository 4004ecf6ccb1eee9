"""Generated modules on disk: one real module for each source, so that Numba can cache its code.

Numba keeps compiled code beside the file that a function came from, and makes no cache for what
came from `exec`. A module's name is a digest of its source, of the source of this package (whose
functions are compiled into it), and of what else decides the machine code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

import llvmlite
import llvmlite.binding as llvm
import numba

from rulesearch.errors import RuleSearchError


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
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "rulesearch" / "kernels"
    return _temporary() if _fault(folder) else folder


def _fault(folder: Path) -> str:
    """Why code cannot be kept in the folder, or may not be run from it; "" if it can."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        status = folder.stat()
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    if not hasattr(os, "getuid"):
        return ""
    if status.st_uid != os.getuid():
        return "belongs to another user"
    return "others can write to it" if status.st_mode & 0o022 else ""


@cache
def _temporary() -> Path:
    # `mkdtemp` makes it 0700. It outlives the process: Numba may write into it at exit.
    return Path(tempfile.mkdtemp(prefix="rulesearch-kernels-"))


@cache
def _surroundings() -> bytes:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    target = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    versions = (sys.version, numba.__version__, llvmlite.__version__)
    digest.update(repr((*target, *versions)).encode())
    return digest.digest()


def load(source: str) -> ModuleType:
    """The module of this source, written to the cache folder if it is not there yet."""
    name = "kernel_" + hashlib.sha256(_surroundings() + source.encode()).hexdigest()[:24]
    if name in sys.modules:
        return sys.modules[name]
    path = cache_folder() / f"{name}.py"
    # The name is a digest of the content, but a disk may have been full.
    if not path.exists() or path.read_text(encoding="utf-8") != source:
        _write(path, source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a path ending in .py has a specification"
    assert spec.loader is not None, "and that a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _write(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads a part of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)
