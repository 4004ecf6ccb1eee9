"""Compiling in another process, while this one has something else to do.

Numba compiles under a lock and mostly under Python's, so a thread would not do. What the other
process has compiled lies on disk, where this one finds it (see `cache`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rulesearch.kernels.fused.cache import load
from rulesearch.kernels.fused.lifetimes import signatures

_PROGRAM = """
import sys
from rulesearch.kernels.fused.ahead import compile_file
compile_file(sys.argv[1])
"""


@contextmanager
def compiling(source: str) -> Iterator[bool]:
    """Compile a generated module in another process until the context ends, which waits for it.

    Nothing is compiled where it is on disk already, or where there is one thread only. If the
    other process fails, nothing is lost: a function without code is compiled when it is called.

    Yields:
        Whether another process compiles.

    Raises:
        RuleSearchError: see `cache_folder`.
    """
    path = Path(str(load(source).__file__))
    process = None if torch.get_num_threads() == 1 or _on_disk(path) else _begun(path)
    try:
        yield process is not None
        if process:
            process.wait()
    finally:
        if process and process.poll() is None:
            process.kill()
            process.wait()


def _begun(path: Path) -> subprocess.Popen[bytes] | None:
    """The other process; None where there can be none."""
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(path)],
            env=os.environ | {"RULESEARCH_CACHE": str(path.parent)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None


def compile_file(path: str) -> None:
    """Compile both functions of a module in the cache folder, for Numba's cache."""
    module = load(Path(path).read_text(encoding="utf-8"))
    for name, types in signatures(module.F).items():
        getattr(module, name).compile(types)


def _on_disk(path: Path) -> bool:
    """Whether Numba has kept code of both functions beside the module."""
    kept = path.parent / "__pycache__"
    return all(any(kept.glob(f"{path.stem}.{name}-*.nbi")) for name in ("forward", "adjoint"))
