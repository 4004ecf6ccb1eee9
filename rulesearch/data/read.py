"""Reading data sets: scikit-learn's digits, those of torchvision, and a user's own files."""

from __future__ import annotations

import functools
import importlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Int64, Num

from rulesearch.data.files import (
    NO_FILES_NEEDED,
    TORCHVISION,
    TorchvisionSet,
    download_folder,
    look_for,
)
from rulesearch.errors import RuleSearchError


@dataclass(frozen=True, eq=False)
class Examples:
    """A split as it is stored: x [examples, inputs], y [examples]; `x / unit` is the input."""

    x: Num[np.ndarray, "examples inputs"]
    y: Int64[np.ndarray, " examples"]
    unit: float


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before it is divided.

    Attributes:
        name: as it was asked for.
        classes: its number of classes; every label is below it.
        train: the training split, or all there is; never empty.
        test: its own test split, never empty and with the same inputs, or None.
    """

    name: str
    classes: int
    train: Examples
    test: Examples | None


# What reading breaks with, wherever a file is damaged: torchvision's reader of IDX files asserts,
# looks up, and reshapes unchecked bytes; archives fail in zipfile, in zlib, or in NumPy's header.
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


def read_source(name: str, root: str | Path | None) -> Source:
    """Read the data set called `name`; see `rulesearch.data.load_data` for both arguments.

    Raises:
        RuleSearchError: unknown name, or files that are missing or damaged.
    """
    look_for(name, root)
    if name == "digits":
        return _read_digits()
    return _read_torchvision(name, root) if name in TORCHVISION else _read_npz(name)


def input_and_output(name: str) -> tuple[int, int]:
    """Inputs and classes of a data set; of those known by name, without reading a file.

    Raises:
        RuleSearchError: unknown name, or a file that is missing or damaged.

    Example:
        >>> input_and_output("emnist")
        (784, 47)
    """
    if row := TORCHVISION.get(name):
        return 28 * 28, row.classes
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
    where = f"in {folder}" if root is None else f"under --data-root {root}"
    train, test = (
        _read_split(row, prefix, folder, where, download=root is None)
        for prefix in (row.train, row.test)
    )
    if train.x.shape[1] != test.x.shape[1]:
        fault = f"hold images of {test.x.shape[1]} pixels, the training images {train.x.shape[1]}"
        raise _damaged(row, row.test, where, fault)
    return Source(name, row.classes, train, test)


def _read_split(
    row: TorchvisionSet, prefix: str, folder: Path, where: str, *, download: bool
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
        raise _damaged(row, prefix, where, "are not whole IDX files") from error
    images, labels = stored.data.numpy(), stored.targets.numpy().astype(np.int64)
    if len(images) != len(labels):
        fault = f"hold {len(images)} images but {len(labels)} labels"
        raise _damaged(row, prefix, where, fault)
    if labels.max() >= row.classes:
        fault = f"hold a label {labels.max()}, but {row.dataset} has classes 0 to {row.classes - 1}"
        raise _damaged(row, prefix, where, fault)
    return Examples(images.reshape(len(images), -1), labels, 255.0)


def _damaged(row: TorchvisionSet, prefix: str, where: str, fault: str) -> RuleSearchError:
    return RuleSearchError(
        f"{row.dataset}/raw/{prefix}-* {where} {fault}; replace them, or {NO_FILES_NEEDED}"
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


def _read_npz(name: str) -> Source:
    keys = {"x", "y", "x_test", "y_test"}
    try:
        # Never pickles: reading a data set must not run code.
        archive = np.load(name, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise RuleSearchError("holds one array without a name; write x and y by numpy.savez")
        with archive:
            stored: dict[str, np.ndarray] = {key: archive[key] for key in keys & {*archive.files}}
            found = ", ".join(archive.files) or "nothing"
    except _UNREADABLE as error:
        raise RuleSearchError(
            "is not a whole .npz file of plain arrays; write it by numpy.savez, without objects"
        ) from error
    lacking = [key for key in ("x", "y") if key not in stored]
    if lacking:
        raise RuleSearchError(f"has no {' and no '.join(lacking)} (it has {found}); name them so")
    if ("x_test" in stored) != ("y_test" in stored):
        has, lacks = ("x_test", "y_test") if "x_test" in stored else ("y_test", "x_test")
        raise RuleSearchError(f"has {has} but no {lacks}; give both or neither")
    train = _user_examples(stored, "x", "y")
    test = _user_examples(stored, "x_test", "y_test") if "x_test" in stored else None
    if test is not None and test.x.shape[1] != train.x.shape[1]:
        raise RuleSearchError(
            f"x_test has {test.x.shape[1]} inputs, x has {train.x.shape[1]}; they must agree"
        )
    splits = [train] if test is None else [train, test]
    largest = max(int(split.y.max()) for split in splits)
    examples = sum(len(split.y) for split in splits)
    if largest >= examples:
        # One output unit for each class number: a number this large is a mistake, and costly.
        raise RuleSearchError(
            f"a label is {largest}, of {examples} examples; number classes from 0"
        )
    return Source(name, largest + 1, train, test)


def _user_examples(stored: dict[str, np.ndarray], x_key: str, y_key: str) -> Examples:
    x, y = stored[x_key], stored[y_key]
    if x.dtype.kind not in "buif":
        raise RuleSearchError(f"{x_key} is of type {x.dtype}; give real numbers")
    if x.ndim != 2:
        raise RuleSearchError(
            f"{x_key} has shape {list(x.shape)}; give [examples, inputs], images flattened"
        )
    if y.dtype.kind not in "ui":
        raise RuleSearchError(f"{y_key} is of type {y.dtype}; give integers from 0")
    if y.shape != x.shape[:1]:
        raise RuleSearchError(
            f"{y_key} has shape {list(y.shape)}, {x_key} {list(x.shape)}; give one label an example"
        )
    if x.size == 0:
        raise RuleSearchError(f"{x_key} has shape {list(x.shape)}; there is nothing to learn from")
    labels = y.astype(np.int64)
    if labels.min() < 0:  # or too large for int64, and wrapped
        raise RuleSearchError(f"{y_key} has a label {y[labels.argmin()]}; number classes from 0")
    with np.errstate(over="ignore"):  # what float32 cannot hold is reported just below
        x = x.astype(np.float32)
    faulty = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(faulty):
        raise RuleSearchError(f"{x_key}[{faulty[0]}] is not finite in float32; mend or drop it")
    return Examples(x, labels, 1.0)
