"""What every benchmark says of the machine: its name and versions, memory, cache bandwidth."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from rulesearch.machine import cores as cores
from rulesearch.machine import processor

STATUS = Path("/proc/self/status")
#: Bytes of the array whose bandwidth is measured: the weights of the paper's network.
CACHED = 4 * (784 * 170 + 170 * 130 + 130 * 100 + 100 * 70 + 70 * 47)


def machine() -> dict[str, str]:
    """What the numbers depend on besides the code."""
    known = {d.metadata["Name"] for d in metadata.distributions()}
    versions: dict[str, str] = {
        n: metadata.version(n) for n in ("numba", "numpy", "jax") if n in known
    }
    if torch.cuda.is_available():
        versions |= {"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    return {
        "processor": processor(),
        "cores": str(cores()),
        "threads": str(torch.get_num_threads()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        **versions,
    }


# --- memory ---------------------------------------------------------------------------------------


def resident_mb(what: str) -> float:
    """Memory of this process: VmRSS now, or VmHWM at its highest since `forget_highest`."""
    if not STATUS.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    (line,) = (s for s in STATUS.read_text().splitlines() if s.startswith(what))
    return float(line.split()[1]) / 2**10


def forget_highest() -> None:
    """Linux hands ru_maxrss on to child processes, so it is not the one that is read there."""
    if STATUS.exists():
        STATUS.with_name("clear_refs").write_text("5")


def peak_mb_of(call: Callable[[], object]) -> float:
    """Megabytes that a call takes at its highest, above what the process holds before.

    Only in a fresh process: memory that is there already is not counted when it is used again.
    """
    forget_highest()
    before = resident_mb("VmRSS")
    call()
    return resident_mb("VmHWM") - before


# --- time -----------------------------------------------------------------------------------------


def ratios(numbers: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and largest of the ratios within a round.

    Args:
        numbers: one of each round.
        base: likewise, positive; may have more rounds, which are not used.

    Example:
        >>> ratios([2.0, 6.0, 4.0], [1.0, 2.0, 4.0])
        (2.0, 1.0, 3.0)
    """
    paired = [a / b for a, b in zip(numbers, base, strict=False)]
    return statistics.median(paired), min(paired), max(paired)


@njit(nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _sweep(array: NDArray[np.float32], times: int) -> None:
    for _ in range(times):
        for i in range(len(array)):
            array[i] = array[i] * np.float32(0.5) + np.float32(1.0)


def bandwidth(threads: int, times: int = 200) -> float:
    """Bytes a second that `threads` cores together read and write in arrays of `CACHED` bytes.

    Each core sweeps over an array of its own, every value is read and written once in a sweep.
    """
    arrays = [np.ones(CACHED // 4, np.float32) for _ in range(threads)]
    _sweep(arrays[0], 1)

    def sweep(array: NDArray[np.float32]) -> Any:
        return _sweep(array, times)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(sweep, arrays))  # threads started, pages touched
        begin = time.perf_counter()
        list(pool.map(sweep, arrays))
        seconds = time.perf_counter() - begin
    return 2 * CACHED * times * threads / seconds
