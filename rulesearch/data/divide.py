"""Dividing a data set between the search and the final evaluation, which share no image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from rulesearch.data.distinct import Counted, distinct
from rulesearch.data.read import read_source
from rulesearch.data.source import Examples, Source
from rulesearch.data.tasks import ImageSet, TaskShape
from rulesearch.errors import RuleSearchError


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in its two parts, which have no image in common.

    Attributes:
        name: the data set, as it was asked for.
        search: the images for meta-learning, refits, elimination.
        held_out: the images for the final evaluation alone.
        notes: what was done to the images that a reader must know, a line each.
    """

    name: str
    search: ImageSet
    held_out: ImageSet
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """The number of output units."""
        return self.search.classes

    @property
    def inputs(self) -> int:
        """The number of input units: pixels of an image."""
        return int(self.search.x.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that lifetimes see of the data, in hexadecimal; read once.

        Inputs, labels and classes of both parts; neither the name nor the place of a file.
        """
        found = hashlib.sha256()
        for part in (self.search, self.held_out):
            found.update(repr((part.classes, part.x.shape)).encode())
            for array in (part.x, part.labels):
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def load_data(name: str, root: str | Path | None = None, *, shape: TaskShape) -> Data:
    """Read a data set and divide it between the search and the final evaluation.

    The evaluation gets the data set's own test split if that has `shape.ways` classes or more and
    enough images for a task in each of its classes; the search then has the whole training split.
    Otherwise a third of each class's training images, and never fewer than one task needs, is set
    aside, by a permutation that depends on the class number and the number of its images alone:
    runs with other seeds, trials, or terms set aside the same images.

    An image counts once, see `rulesearch.data.distinct`; every class that occurs must have images
    enough for a task in both parts. Class numbers without any image are passed over.

    Args:
        name: `digits` (scikit-learn's), `emnist` (balanced), `mnist`, `fashion-mnist`, or a file
            `FILE.npz` with `x` [examples, inputs], finite numbers that are taken as they are, and
            `y` [examples], integers from 0; optionally `x_test` and `y_test`.
        root: a folder in torchvision's layout, both splits unpacked. Without it the set is
            downloaded once (EMNIST: 0.5 GB) to `rulesearch` in the user's cache folder. `digits`
            and files have no use for it.
        shape: the size of the tasks that both parts must be large enough for.

    Raises:
        RuleSearchError: unknown name, files missing or damaged, or tasks larger than the data.

    Example:
        >>> digits = load_data("digits", shape=TaskShape())
        >>> digits.classes, digits.inputs, digits.held_out.source
        (10, 64, '601 of the 1,797 images, set aside at random within each class')
    """
    try:
        source = read_source(name, root)
    except RuleSearchError as error:
        raise error.located(f"--dataset {name}") from error.__cause__
    return _divide(source, shape)


def _divide(source: Source, shape: TaskShape) -> Data:
    """The images for the search and for the evaluation; see `load_data`."""
    train, test = distinct(source)
    _refuse_sizes(source.name, train, test, shape)
    of_split = " of the training split" if test else ""
    train_all = _described(train, of_split)
    notes = _left_out(train, of_split)
    if test is not None and _test_limit(train, test, shape) >= shape.per_class:
        of_test = " of the test split"
        return Data(
            source.name,
            _image_set(source, train.split, train.rows, f"all {train_all}"),
            _image_set(source, test.split, test.rows, f"all {_described(test, of_test)}"),
            notes + _left_out(test, of_test),
        )
    aside = _set_aside(train, shape.per_class)
    rest = np.setdiff1d(train.rows, aside)
    unused = "; the test split is too small for these tasks, and unused" if test else ""
    if test and test.left_out:
        unused += f" (left out: {test.left_out})"
    return Data(
        source.name,
        _image_set(source, train.split, rest, f"{len(rest):,} of the {train_all}{unused}"),
        _image_set(
            source,
            train.split,
            aside,
            f"{len(aside):,} of the {train_all}, set aside at random within each class{unused}",
        ),
        notes,
    )


def _described(counted: Counted, of_split: str) -> str:
    """The images that count, in words."""
    if not counted.left_out:
        return f"{len(counted.rows):,} images{of_split}"
    return f"{len(counted.rows):,} distinct images{of_split} (left out: {counted.left_out})"


def _left_out(counted: Counted, of_split: str) -> tuple[str, ...]:
    """The note on images that do not count, if there are any."""
    if not counted.left_out:
        return ()
    return (f"left out of the {len(counted.split.y):,} images{of_split}: {counted.left_out}",)


def _set_aside(counted: Counted, at_least: int) -> Int64[np.ndarray, " images"]:
    """Rows of a random third of each class, and of `at_least` images where a third is fewer."""
    aside = []
    labels = counted.labels
    for number in np.unique(labels):
        members = counted.rows[labels == number]
        # RandomState, because NumPy promises that its streams never change between versions.
        shuffled = np.random.RandomState(number).permutation(members)
        aside.append(shuffled[: max(len(members) // 3, at_least)])
    return np.concatenate(aside)


def _image_set(
    source: Source, split: Examples, rows: Int64[np.ndarray, " images"], which: str
) -> ImageSet:
    rows = rows[np.lexsort((rows, split.y[rows]))]
    labels = split.y[rows]
    starts = np.flatnonzero(np.diff(labels, prepend=-1, append=source.classes))
    x = np.divide(split.x[rows], split.unit, dtype=np.float32)
    for array in (x, labels, rows, starts):
        array.flags.writeable = False
    return ImageSet(source.name, which, source.classes, x, labels, rows, starts)


def _smallest_class(counted: Counted) -> tuple[int, int]:
    """The class number with the fewest images that count, and how many it has."""
    numbers, counts = np.unique(counted.labels, return_counts=True)
    fewest = counts.argmin()
    return int(numbers[fewest]), int(counts[fewest])


def _test_limit(train: Counted, test: Counted | None, shape: TaskShape) -> int:
    """The images of each class that a task may take if the test split serves the evaluation."""
    if test is None or len(np.unique(test.labels)) < shape.ways:
        return 0
    return min(_smallest_class(train)[1], _smallest_class(test)[1])


def _refuse_sizes(name: str, train: Counted, test: Counted | None, shape: TaskShape) -> None:
    """Raise for tasks larger than the data, with the largest size that works."""
    present = len(np.unique(train.labels))
    if present == 0:
        raise RuleSearchError(
            f"--dataset {name}: every image is there with several labels; give each image one"
        )
    if shape.ways > present:
        raise RuleSearchError(
            f"--ways {shape.ways}: {name} has {present} classes; at most {present}"
        )
    number, images = _smallest_class(train)
    limit, of_split, limiting = images // 2, "", train
    test_limit = _test_limit(train, test, shape)
    if test is not None and test_limit > limit:
        limit, of_split = test_limit, " of the training split"
        if test_limit < images:
            (number, images), of_split, limiting = _smallest_class(test), " of the test split", test
    if shape.per_class <= limit:
        return
    reason = (
        f"a task takes {shape.per_class} images of each class, others for the evaluation than for "
        f"the search, and {name} has {images} of class {number}{of_split}"
    )
    if limiting.left_out:
        reason += f" (left out: {limiting.left_out})"
    shots, queries = f"--shots {shape.shots}", f"--queries {shape.queries}"
    if limit > shape.queries:
        raise RuleSearchError(f"{shots}: {reason}; at most {limit - shape.queries} with {queries}")
    if limit > shape.shots:
        raise RuleSearchError(f"{queries}: {reason}; at most {limit - shape.shots} with {shots}")
    if limit >= 2:
        raise RuleSearchError(f"{shots} {queries}: {reason}; at most {limit} together")
    raise RuleSearchError(
        f"--dataset {name}: {reason}; give every class at least 4, or leave it out"
    )
