"""Reading data sets: scikit-learn's digits, those of torchvision, and a user's own files."""

from __future__ import annotations

import functools
import importlib
import zipfile
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from rulesearch.data.files import (
    KNOWN_ENDS,
    NO_FILES_NEEDED,
    TORCHVISION,
    TorchvisionSet,
    download_folder,
    look_for,
)
from rulesearch.data.npz import read_npz
from rulesearch.data.source import Examples, Source
from rulesearch.errors import RuleSearchError

# What reading breaks with, wherever a file is damaged: torchvision's reader of IDX files asserts,
# looks up, and reshapes unchecked bytes; what was downloaded may be no archive.
_UNREADABLE = (
    AssertionError,
    EOFError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_source(name: str, root: str | Path | None, *, exact: bool = False) -> Source:
    """Read the data set called `name`; see `rulesearch.data.load_data` for name and root.

    Args:
        name: of the data set.
        root: of its files.
        exact: a user's inputs in float64, see `read_npz`.

    Raises:
        RuleSearchError: unknown name, or files that are missing or damaged.
    """
    look_for(name, root)
    if name == "digits":
        return _read_digits()
    return _read_torchvision(name, root) if name in TORCHVISION else read_npz(name, exact=exact)


def input_and_output(name: str) -> tuple[int, int]:
    """Inputs and classes of a data set; of those known by name, without reading a file.

    Raises:
        RuleSearchError: unknown name, or a file that is missing or damaged.

    Example:
        >>> input_and_output("emnist")
        (784, 47)
    """
    if name in KNOWN_ENDS:
        return KNOWN_ENDS[name]
    try:
        source = read_source(name, None)
    except RuleSearchError as error:
        raise error.located(f"--dataset {name}") from None
    return source.train.x.shape[1], source.classes


def _read_digits() -> Source:
    from sklearn.datasets import load_digits  # a second to import, and for this set alone

    pixels, labels = load_digits(return_X_y=True)
    return Source("digits", 10, Examples(pixels, labels.astype(np.int64), 16.0), None)


def _read_torchvision(name: str, root: str | Path | None) -> Source:
    row = TORCHVISION[name]
    folder = download_folder() if root is None else Path(root)
    label = f"in {folder}" if root is None else f"under --data-root {root}"
    train, test = (
        _read_split(row, prefix, folder, label, download=root is None)
        for prefix in (row.train, row.test)
    )
    if train.x.shape[1] != test.x.shape[1]:
        fault = f"hold images of {test.x.shape[1]} pixels, the training images {train.x.shape[1]}"
        raise _damaged(row, row.test, label, fault)
    return Source(name, row.classes, train, test)


def _read_split(
    row: TorchvisionSet, prefix: str, folder: Path, label: str, *, download: bool
) -> Examples:
    try:
        stored = getattr(_torchvision_datasets(), row.dataset)(
            folder, train=prefix == row.train, download=download, **dict(row.options)
        )
    except _UNREADABLE as error:
        if row.first_missing(folder):
            raise RuleSearchError(
                f"could not be downloaded to {folder}; check the network connection, point "
                f"--data-root at a folder in torchvision's layout, or {NO_FILES_NEEDED}"
            ) from error
        raise _damaged(row, prefix, label, "are not whole IDX files") from error
    images, labels = stored.data.numpy(), stored.targets.numpy().astype(np.int64)
    if len(images) != len(labels):
        fault = f"hold {len(images)} images but {len(labels)} labels"
        raise _damaged(row, prefix, label, fault)
    if labels.max() >= row.classes:
        fault = f"hold a label {labels.max()}, but {row.dataset} has classes 0 to {row.classes - 1}"
        raise _damaged(row, prefix, label, fault)
    return Examples(images.reshape(len(images), -1), labels, 255.0)


def _damaged(row: TorchvisionSet, prefix: str, label: str, fault: str) -> RuleSearchError:
    return RuleSearchError(
        f"{row.dataset}/raw/{prefix}-* {label} {fault}; replace them, or {NO_FILES_NEEDED}"
    )


@functools.cache
def _torchvision_datasets() -> ModuleType:
    """`torchvision.datasets`, also where torchvision's compiled operators do not load.

    The data sets need none of them, but beside a CPU-only torch a torchvision from PyPI fails on
    import, where it describes two operators to torch. Those two are then declared, without code.
    """
    try:
        return importlib.import_module("torchvision.datasets")
    except RuntimeError:
        for operator in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, operator):
                torch.library.define(
                    f"torchvision::{operator}",
                    "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
                )
        return importlib.import_module("torchvision.datasets")
