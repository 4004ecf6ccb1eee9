"""Arrays that take long to compute, kept between calls beside the experiments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.paper.claims import Values
from benchmarks.paper.targets import Setting
from rulesearch.data import ImageSet


def kept(
    setting: Setting, doing: str, key: Sequence[object], make: Callable[[], Mapping[str, Values]]
) -> dict[str, Values]:
    """Arrays by name, read back where they were made before.

    Args:
        setting: where they are kept, and where progress goes.
        doing: said when they are made.
        key: all that the arrays depend on, beside the code, as values with a `repr` of their own.
        make: computes them.
    """
    path = setting.runs / f"{hashlib.sha256(repr(tuple(key)).encode()).hexdigest()[:16]}.npz"
    if not path.is_file():
        setting.console.print(doing)
        setting.runs.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        arrays: dict[str, Any] = dict(make())
        np.savez_compressed(part, **arrays)
        part.replace(path)  # whole or not at all
    with np.load(path) as stored:
        return dict(stored)


def fingerprint(*sets: ImageSet) -> str:
    """A name for the images of these sets and their labels, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for images in sets:
        found.update(np.ascontiguousarray(images.x).data)
        found.update(np.ascontiguousarray(images.labels).data)
    return found.hexdigest()[:16]
