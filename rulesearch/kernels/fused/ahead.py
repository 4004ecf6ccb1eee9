"""Compiling in another process, while this one has something else to do.

Numba compiles under a lock and mostly under Python's, so a thread would not do. What the other
process has compiled lies on disk, where this one finds it (see `cache`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from rulesearch.kernels.fused.cache import folder_in_use, is_kept, load
from rulesearch.kernels.fused.lifetimes import signatures

_PROGRAM = """
import json
import sys
from rulesearch.kernels.fused.ahead import compile_source
for source in json.load(sys.stdin):
    compile_source(source)
"""


@contextmanager
def compiling(sources: Sequence[str]) -> Iterator[bool]:
    """Compile generated modules in another process until the context ends, which waits for it.

    Nothing is compiled where it is on disk already, or where there is one thread only. If the
    other process fails, nothing is lost: a function without code is compiled when it is called.

    Yields:
        Whether another process compiles.

    Raises:
        RuleSearchError: see `cache_folder`.
    """
    waiting = [source for source in sources if not is_kept(source)]
    process = None if torch.get_num_threads() == 1 or not waiting else _begun(waiting)
    try:
        yield process is not None
        if process:
            process.wait()
    finally:
        if process and process.poll() is None:
            process.kill()
            process.wait()


def _begun(sources: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """The other process; None where there can be none."""
    environment = os.environ | {
        "RULESEARCH_CACHE": str(folder_in_use()),
        "PYTHONIOENCODING": "utf-8",
    }
    try:
        # A file and not a pipe, which would hold this process up until the other one reads.
        with tempfile.TemporaryFile() as text:
            text.write(json.dumps(sources).encode())
            text.seek(0)
            return subprocess.Popen(
                [sys.executable, "-c", _PROGRAM],
                env=environment,
                stdin=text,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    except OSError:
        return None


def compile_source(source: str) -> None:
    """Compile the functions of a module, for the cache folder."""
    module = load(source)
    for name, types in signatures(module).items():
        getattr(module, name).compile(types)
