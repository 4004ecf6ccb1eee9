"""Dividing a data set between the search and the final evaluation, which share no image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from rulesearch.data.distinct import Counted, distinct
from rulesearch.data.source import Examples, Source
from rulesearch.data.tasks import TaskShape
from rulesearch.errors import RuleSearchError


@dataclass(frozen=True, eq=False)
class Part:
    """Images for one purpose.

    Attributes:
        split: that they are of.
        rows: [images], where they stand in it, by class.
        which: of the data set these are, in words.
    """

    split: Examples
    rows: Int64[np.ndarray, " images"]
    which: str


def divide(
    source: Source,
    shape: TaskShape,
    held_out_classes: int = 0,
) -> tuple[tuple[Part, Part], tuple[str, ...]]:
    """The images for the search and those for the evaluation, and notes on both.

    Args:
        source: the data set.
        shape: of the tasks that both parts must be large enough for; see `load_data`.
        held_out_classes: so many classes are for the evaluation alone, which has no others; with 0
            both parts have all classes.

    Raises:
        RuleSearchError: tasks larger than the data.
    """
    train, test = distinct(source)
    _refuse_sizes(source.name, train, test, shape)
    parts, notes = _divided(train, test, shape)
    if held_out_classes:
        parts = _by_class(source.name, parts, shape, held_out_classes)
    return parts, notes


def classes_for_evaluation(
    present: Int64[np.ndarray, " classes"], count: int
) -> Int64[np.ndarray, " count"]:
    """Which classes no search is to see, in ascending order.

    They are the first of one fixed permutation of the classes, so fewer are among more.

    Example:
        >>> classes_for_evaluation(np.arange(10), 3).tolist()
        [2, 4, 8]
    """
    # RandomState, because NumPy promises that its streams never change between versions.
    return np.sort(np.random.RandomState(0).permutation(present)[:count])


def _by_class(
    name: str, parts: tuple[Part, Part], shape: TaskShape, count: int
) -> tuple[Part, Part]:
    """The parts, of which the second has the classes for the evaluation and the first the others.

    Raises:
        RuleSearchError: too few classes for a task on one side.
    """
    present = np.unique(np.concatenate([part.split.y[part.rows] for part in parts]))
    most = len(present) - shape.ways
    if not shape.ways <= count <= most:
        way_out = (
            (f"give {shape.ways} to {most}" if most > shape.ways else f"give {most}")
            if most >= shape.ways
            else f"at most --ways {len(present) // 2} leaves enough for both"
        )
        raise RuleSearchError(
            f"--held-out-classes {count}: a task has {shape.ways} classes, others for the "
            f"evaluation than for the search, and {name} has {len(present)}; {way_out}"
        )
    apart = classes_for_evaluation(present, count)
    listed = ", ".join(map(str, apart))
    search, aside = parts

    def those(part: Part, wanted: np.ndarray, said: str) -> Part:
        rows = part.rows[wanted]
        return Part(part.split, rows, f"{part.which}; {len(rows):,} of them, {said} {listed}")

    return (
        those(search, ~np.isin(search.split.y[search.rows], apart), "not of the classes"),
        those(aside, np.isin(aside.split.y[aside.rows], apart), "of the classes"),
    )


def _divided(
    train: Counted, test: Counted | None, shape: TaskShape
) -> tuple[tuple[Part, Part], tuple[str, ...]]:
    """The parts with all classes."""
    of_split = " of the training split" if test else ""
    train_all = _described(train, of_split)
    notes = _left_out(train, of_split)
    if test is not None and _test_limit(train, test, shape) >= shape.per_class:
        of_test = " of the test split"
        parts = (
            _part(train.split, train.rows, f"all {train_all}"),
            _part(test.split, test.rows, f"all {_described(test, of_test)}"),
        )
        return parts, notes + _left_out(test, of_test)
    aside = _set_aside(train, shape.per_class)
    rest = np.setdiff1d(train.rows, aside)
    unused = "; the test split is too small for these tasks, and unused" if test else ""
    if test and test.left_out:
        unused += f" (left out: {test.left_out})"
    at_random = f"set aside at random within each class{unused}"
    parts = (
        _part(train.split, rest, f"{len(rest):,} of the {train_all}{unused}"),
        _part(train.split, aside, f"{len(aside):,} of the {train_all}, {at_random}"),
    )
    return parts, notes


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


def _part(split: Examples, rows: Int64[np.ndarray, " images"], which: str) -> Part:
    return Part(split, rows[np.lexsort((rows, split.y[rows]))], which)


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
    if present == 1 < shape.ways:
        raise RuleSearchError(f"--dataset {name}: has one class; a task needs two at least")
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
    if limit < 2:
        raise RuleSearchError(
            f"--dataset {name}: {reason}; give every class at least 4, or leave it out"
        )
    raise RuleSearchError(size_fault(shape, limit, reason, lambda size, n: f"--{size} {n}"))


def size_fault(
    shape: TaskShape, limit: int, reason: str, spelled: Callable[[str, int], str]
) -> str:
    """What to say of tasks that take more images of a class than there are.

    Args:
        shape: of the tasks.
        limit: images of each class that a task may take, at least 2 and fewer than it does.
        reason: why no more.
        spelled: a size's name and value, as whoever gave it wrote them.

    Returns:
        A line with the largest size that works.
    """
    shots, queries = spelled("shots", shape.shots), spelled("queries", shape.queries)
    if limit > shape.queries:
        return f"{shots}: {reason}; at most {limit - shape.queries} with {queries}"
    if limit > shape.shots:
        return f"{queries}: {reason}; at most {limit - shape.shots} with {shots}"
    return f"{shots} {queries}: {reason}; at most {limit} together"
