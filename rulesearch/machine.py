"""The machine that numbers come about on, in words."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_LISTING = Path("/proc/cpuinfo")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """What the processor calls itself."""
    lines = _LISTING.read_text().splitlines() if _LISTING.exists() else []
    named = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def machine(device: str = "cpu") -> dict[str, str]:
    """What the numbers of this process hang on beside versions: processor, cores, threads.

    Args:
        device: that computes; of `cuda` its name is there too.
    """
    import torch

    found = {
        "processor": processor(),
        "cores": str(cores()),
        "threads": str(torch.get_num_threads()),
    }
    return found | ({"gpu": torch.cuda.get_device_name()} if device == "cuda" else {})
