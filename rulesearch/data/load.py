"""A data set by its name: read, divided, and mapped to [0, 1] where that is wanted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from rulesearch.data.distinct import told_apart
from rulesearch.data.divide import Part, divide
from rulesearch.data.read import read_source
from rulesearch.data.scale import Range, mapped, range_of, refuse_range
from rulesearch.data.source import Source
from rulesearch.data.tasks import ImageSet, TaskShape, class_starts
from rulesearch.errors import RuleSearchError


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in its two parts, which have no image in common.

    Attributes:
        name: the data set, as it was asked for.
        search: the images for meta-learning, refits, elimination.
        held_out: the images for the final evaluation alone.
        scale: the values that were mapped to 0 and 1, or None where all are as they were.
        notes: what was done to the images that a reader must know, a line each.
        held_out_classes: how many classes the search has no image of; the evaluation has no
            others. 0: both have all.

    Raises:
        RuleSearchError: parts that no network serves together.
    """

    name: str
    search: ImageSet
    held_out: ImageSet
    scale: Range | None = None
    notes: tuple[str, ...] = ()
    held_out_classes: int = 0

    def __post_init__(self) -> None:
        ends = [(part.x.shape[1], part.classes) for part in (self.search, self.held_out)]
        if ends[0] != ends[1]:
            (inputs, classes), (others, other_classes) = ends
            raise RuleSearchError(
                f"data {self.name}: {inputs} inputs and {classes} classes for the search, "
                f"{others} and {other_classes} set aside; both must be for one network"
            )

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


def load_data(
    name: str,
    root: str | Path | None = None,
    *,
    shape: TaskShape,
    scale: Any = False,
    held_out_classes: int = 0,
) -> Data:
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
        scale: whether inputs are mapped to [0, 1] by the range of the search's images, one line
            for all; or the two values to be mapped to 0 and 1. What lies beyond them, among the
            images set aside, becomes 0 or 1.
        held_out_classes: so many classes are kept from the search, by a fixed draw
            (`rulesearch.data.divide.classes_for_evaluation`), and the tasks of the evaluation are
            of these alone: what is found there holds for classes that no meta-training saw. The
            output units stay those of all classes.

    Raises:
        RuleSearchError: unknown name, files missing or damaged, tasks larger than the data, or no
            range.

    Example:
        >>> digits = load_data("digits", shape=TaskShape())
        >>> digits.classes, digits.inputs, digits.held_out.source
        (10, 64, '601 of the 1,797 images, set aside at random within each class')
    """
    if not isinstance(scale, bool):
        try:
            low, high = map(float, scale)
        except (TypeError, ValueError):
            raise RuleSearchError(
                f"scale {scale!r}: give True or False, or the two values that become 0 and 1"
            ) from None
        scale = (low, high)
        refuse_range(scale)
    if not isinstance(held_out_classes, int):
        raise RuleSearchError(f"held_out_classes {held_out_classes!r}: give a whole number")
    try:
        source = read_source(name, root, exact=bool(scale))
    except RuleSearchError as error:
        raise error.located(f"--dataset {name}") from error.__cause__
    if not scale:
        (search, held_out), notes = divide(source, shape, held_out_classes=held_out_classes)
        return Data(
            name,
            _image_set(source, search, search.split.inputs(search.rows)),
            _image_set(source, held_out, held_out.split.inputs(held_out.rows)),
            notes=notes,
            held_out_classes=held_out_classes,
        )
    given = scale if isinstance(scale, tuple) else None
    return _load_scaled(source, shape, given, held_out_classes)


def _load_scaled(
    source: Source, shape: TaskShape, given: Range | None, held_out_classes: int
) -> Data:
    """A data set mapped to [0, 1] before it is rounded to float32."""
    # Divided as they are stored, like without a map, so that it is known later what was set aside.
    divided, notes = divide(source, shape, held_out_classes=held_out_classes)
    least, most = given or range_of(divided[0].split.exact_inputs(divided[0].rows))
    scaled = [mapped(part.split.exact_inputs(part.rows), (least, most)) for part in divided]
    kept = told_apart(
        [(x, part.split.y[part.rows]) for part, (x, _) in zip(divided, scaled, strict=True)]
    )
    if gone := sum(int((~rows).sum()) for rows in kept):
        notes += (f"left out: {gone:,} images that are others' once they are mapped",)
    if not all(rows.any() for rows in kept):
        raise RuleSearchError(
            f"--dataset {source.name}: mapped from [{least:g}, {most:g}], the images set aside are "
            "those of the search; give a wider range, --scale, or leave it out"
        )
    parts = [replace(p, rows=p.rows[rows]) for p, rows in zip(divided, kept, strict=True)]
    scaled = [(x[rows], beyond) for (x, beyond), rows in zip(scaled, kept, strict=True)]
    said = f"inputs mapped from [{least:g}, {most:g}] to [0, 1]"
    search, held_out = (
        _image_set(source, part, x, f"; {said}") for part, (x, _) in zip(parts, scaled, strict=True)
    )
    beyond = [
        f"{count:,} inputs of the images {whose} lay beyond, and became 0 or 1"
        for whose, (_, count) in zip(("for the search", "set aside"), scaled, strict=True)
        if count
    ]
    notes = (*notes, "; ".join([said, *beyond]))
    span = (float(least), float(most))
    return Data(source.name, search, held_out, span, notes, held_out_classes)


def _image_set(
    source: Source, part: Part, x: Float32[np.ndarray, "images inputs"], done: str = ""
) -> ImageSet:
    """The images of a part, with what was done to their inputs."""
    rows, labels = part.rows, part.split.y[part.rows]
    starts = class_starts(labels)
    for array in (x, labels, rows, starts):
        array.flags.writeable = False
    return ImageSet(source.name, part.which + done, source.classes, x, labels, rows, starts)
