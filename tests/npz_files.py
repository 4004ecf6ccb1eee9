"""A user's own data sets: files whose images can be recognised, and what is said of them."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest

from rulesearch.data import TaskShape, load_data
from rulesearch.errors import RuleSearchError

TINY = TaskShape(ways=2, shots=2, queries=1)


def message(name, root=None, shape=TINY):
    with pytest.raises(RuleSearchError) as caught:
        load_data(str(name), root, shape=shape)
    return str(caught.value)


def numbered(counts, first_pixel=0):
    """`counts[c]` images of class c, classes mixed; x[i] = first_pixel + i, exact in float32."""
    y = np.random.RandomState(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return np.arange(first_pixel, first_pixel + len(y), dtype=np.float64)[:, None], y


@contextlib.contextmanager
def npz(**arrays):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.npz"
        np.savez(path, **arrays)
        yield str(path)
