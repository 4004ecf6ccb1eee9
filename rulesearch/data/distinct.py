"""Which images count: each distinct one once, so that what was learned from is never asked for.

Images are the same where all their inputs are. Of those with one label the first counts. Those
with several labels do not count at all: nobody knows which label is right, and they would have to
stand in the search or in the evaluation together, across classes. What the training split has, the
test split cannot test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Num

from rulesearch.data.source import Examples, Source


@dataclass(frozen=True, eq=False)
class Counted:
    """The images of a split that count, and how many do not, by why.

    Attributes:
        split: all of them.
        rows: [images], where those that count stand in it, ascending.
        known: those that the training split has too.
        disputed: those that are there with several labels.
        repeated: those equal to an earlier one.
    """

    split: Examples
    rows: Int64[np.ndarray, " images"]
    known: int
    disputed: int
    repeated: int

    @property
    def labels(self) -> Int64[np.ndarray, " images"]:
        """Of the images that count."""
        labels: Int64[np.ndarray, " images"] = self.split.y[self.rows]
        return labels

    @property
    def left_out(self) -> str:
        """How many do not count, in words; or ""."""
        reasons = {
            "in the training split too": self.known,
            "there with several labels": self.disputed,
            "equal to another": self.repeated,
        }
        return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)


def distinct(source: Source) -> tuple[Counted, Counted | None]:
    """The images that count, of the training split and of the test split if there is one.

    As they are stored: what is not the same there is not the same.

    Takes about 0.2 s for 60,000 images of 784 inputs.

    Args:
        source: the data set.
    """
    numbers: dict[bytes, int] = {}
    train = _numbered(source.train.x, numbers)
    counted = _count(source.train, train, np.zeros(len(train), np.bool_))
    if source.test is None:
        return counted, None
    test = _numbered(source.test.x, numbers)
    return counted, _count(source.test, test, np.isin(test, train))


def told_apart(
    parts: Sequence[tuple[Num[np.ndarray, "_images _inputs"], Int64[np.ndarray, " _images"]]],
) -> list[np.ndarray]:
    """Which images of each part, [images] of bool, count: inputs and labels in, as in `distinct`.

    Example:
        >>> one, other = np.array([[0.0], [1.0], [1.0]]), np.array([[2.0], [1.0], [0.0]])
        >>> told_apart([(one, np.array([0, 1, 1])), (other, np.array([0, 1, 0]))])
        [array([ True,  True, False]), array([ True, False, False])]
    """
    numbers: dict[bytes, int] = {}
    found: list[np.ndarray] = []
    before = np.zeros(0, np.int64)
    for x, labels in parts:
        images = _numbered(x, numbers)
        count = _count(Examples(x, labels, 1.0), images, np.isin(images, before))
        found.append(np.isin(np.arange(len(x)), count.rows))
        before = np.concatenate([before, images])
    return found


def _numbered(
    x: Num[np.ndarray, "examples inputs"], numbers: dict[bytes, int]
) -> Int64[np.ndarray, " examples"]:
    """A number for each image, the same for equal ones; `numbers` has those given so far."""
    # Digests, not the images: the dictionary would otherwise be another copy of them.
    images = (hashlib.sha256(image.data).digest() for image in np.ascontiguousarray(x))
    return np.array([numbers.setdefault(image, len(numbers)) for image in images], np.int64)


def _count(split: Examples, images: np.ndarray, known: np.ndarray) -> Counted:
    """Count a split whose images have these numbers, some of them known."""
    lowest = np.full(images.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(images.max() + 1, -1)
    np.minimum.at(lowest, images, split.y)
    np.maximum.at(highest, images, split.y)
    disputed = ~known & (lowest < highest)[images]
    first = np.zeros(len(images), np.bool_)
    first[np.unique(images, return_index=True)[1]] = True
    counts = first & ~known & ~disputed
    return Counted(
        split,
        np.flatnonzero(counts),
        int(known.sum()),
        int(disputed.sum()),
        int((~counts & ~known & ~disputed).sum()),
    )
