"""Tasks, and drawing them from a set of images.

A task is a random choice of classes with a few images of each, some to train on and others to be
asked for: Shervani-Tabar & Rosenbaum, Meta-learning biologically plausible plasticity rules with
random feedback pathways (2023), where it has M ways and K shots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from rulesearch.errors import RuleSearchError

#: How tasks are drawn: `afresh`, distinct classes with random images of each; `published`, as in
#: the code that the paper's authors have made public; or `again`, as afresh, but that training
#: images come again where a class has too few.
Sampling = Literal["afresh", "published", "again"]


@dataclass(frozen=True)
class TaskShape:
    """The size of a task: how many classes, and how many images of each.

    Args:
        ways: classes of a task, at least 1.
        shots: training images of each class, at least 1.
        queries: query images of each class, at least 1.

    Raises:
        RuleSearchError: for each size below 1, a line that names its option.

    Example:
        >>> TaskShape(ways=5, shots=50, queries=10).per_class
        60
    """

    ways: int = 5
    shots: int = 50
    queries: int = 10

    def __post_init__(self) -> None:
        sizes = {"ways": self.ways, "shots": self.shots, "queries": self.queries}
        faults = [f"--{k} {n}: a task needs at least 1" for k, n in sizes.items() if n < 1]
        if faults:
            raise RuleSearchError(*faults)

    @property
    def per_class(self) -> int:
        """Images that a task takes of each of its classes: shots + queries."""
        return self.shots + self.queries


@dataclass(frozen=True, eq=False)
class Task:
    """One task, or several with the leading dimension `lifetimes`; steps = ways * shots.

    Attributes:
        x: [steps, inputs] or [lifetimes, steps, inputs], training images in the order of training.
        labels: [..., steps], the data set's own class numbers, not 0 ... ways-1.
        query_x: [..., ways * queries, inputs], other images of the same classes, class by class.
        query_labels: [..., ways * queries].
    """

    x: Float32[Tensor, "*lifetimes steps inputs"]
    labels: Int64[Tensor, "*lifetimes steps"]
    query_x: Float32[Tensor, "*lifetimes queries inputs"]
    query_labels: Int64[Tensor, "*lifetimes queries"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images that serve one purpose, sorted by class.

    Attributes:
        name: the data set, as it was asked for.
        source: which images of it these are, for the record of a run.
        classes: output units that the data set asks for: its number of classes; for a user's file
            the largest label + 1, over training and test examples.
        x: [examples, inputs], in [0, 1]; a user's own values may be any finite numbers.
        labels: [examples], class numbers in ascending order.
        rows: [examples], where each image stands in the split that `source` names, from 0.
        starts: [classes present + 1], where each class begins, and the end: the images of the
            i-th class present are starts[i] ... starts[i+1] - 1. Class numbers that no image
            has take no place here, so no task asks for them.

    Raises:
        RuleSearchError: arrays that do not fit together, a line for each fault.
    """

    name: str
    source: str
    classes: int
    x: Float32[np.ndarray, "examples inputs"] = field(repr=False)
    labels: Int64[np.ndarray, " examples"] = field(repr=False)
    rows: Int64[np.ndarray, " examples"] = field(repr=False)
    starts: Int64[np.ndarray, " starts"] = field(repr=False)

    def __post_init__(self) -> None:
        if faults := [*_faults(self)]:
            raise RuleSearchError(*(f"images {self.name}: {fault}" for fault in faults))


def _faults(images: ImageSet) -> Iterator[str]:
    """What is wrong with images that somebody put together by hand."""
    x, labels, starts = images.x, images.labels, images.starts
    if x.ndim != 2 or x.size == 0:
        yield f"x has shape {list(x.shape)}; give [examples, inputs], at least one of each"
    elif not np.isfinite(x).all():
        yield f"x[{(~np.isfinite(x).all(axis=1)).argmax()}] is not finite; mend or drop it"
    for name, array in (("labels", labels), ("rows", images.rows)):
        if array.shape != x.shape[:1]:
            yield f"{name} has shape {list(array.shape)}, x {list(x.shape)}; give one an example"
    if len(labels) == 0 or labels.ndim != 1:
        return
    if labels.min() < 0 or labels.max() >= images.classes:
        yield (
            f"labels go from {labels.min()} to {labels.max()}, with {images.classes} classes; "
            "number classes from 0"
        )
    if (np.diff(labels) < 0).any():
        yield "labels are not in ascending order; sort the images by class"
    elif not np.array_equal(starts, class_starts(labels)):
        yield f"starts are not where the classes begin; give {class_starts(labels).tolist()}"


def class_starts(labels: Int64[np.ndarray, " examples"]) -> Int64[np.ndarray, " starts"]:
    """Where each class present begins in labels that ascend, and the end.

    Example:
        >>> class_starts(np.array([0, 0, 2])).tolist()
        [0, 2, 3]
    """
    return np.flatnonzero(np.diff(labels, prepend=labels[0] - 1, append=labels[-1] + 1))


def draw_task(images: ImageSet, shape: TaskShape, seed: int, sampling: Sampling = "afresh") -> Task:
    """Draw one task: [steps, inputs], without a leading dimension.

    Classes are distinct, images too, so that none is both trained on and asked for; the training
    images come in random order. All of it depends on `seed` (0 or more) alone.

    With `published`, classes are drawn with replacement, and a class drawn twice has its images in
    the task twice. Of a class it is always the first `shots` images in file order that are trained
    on, and the next `queries` that are asked for; the order of training is random here too.

    With `again`, a class of fewer images than `shots + queries` has its query images drawn first,
    and the others are trained on in one random order after the other, as often as it takes. A class
    of enough images gives what it gives afresh.

    Raises:
        ValueError: `images` is too small for `shape`, which `load_data` with that shape excludes.

    Example:
        >>> from rulesearch.data import load_data
        >>> images = load_data("digits", shape=TaskShape()).search
        >>> draw_task(images, TaskShape(ways=2, shots=3), seed=0).x.shape
        torch.Size([6, 64])
    """
    train, query = _draw(images, shape, seed, sampling)
    return _gather(images, train, query)


def draw_tasks(
    images: ImageSet,
    shape: TaskShape,
    seeds: Sequence[int],
    sampling: Sampling = "afresh",
    into: tuple[Tensor, Tensor] | None = None,
) -> Task:
    """Draw a task for each seed (one or more), stacked along a leading dimension `lifetimes`.

    Entry i is exactly `draw_task(images, shape, seeds[i], sampling)`.

    Args:
        images: drawn from.
        shape: of a task.
        seeds: one for each.
        sampling: see `draw_task`.
        into: what becomes `x` and `query_x`, overwritten: fresh pages are slow; None for new ones.

    Raises:
        ValueError: as for `draw_task`, or there is no seed.
    """
    drawn = [_draw(images, shape, seed, sampling) for seed in seeds]
    train, query = (np.stack(part) for part in zip(*drawn, strict=True))
    return _gather(images, train, query, into)


def _draw(
    images: ImageSet, shape: TaskShape, seed: int, sampling: Sampling
) -> tuple[np.ndarray, np.ndarray]:
    """The indices of a task's training [steps] and query [ways * queries] images."""
    rng = np.random.default_rng(seed)
    sizes, count = np.diff(images.starts), shape.per_class

    def members(size: int) -> np.ndarray:
        if sampling == "again" and count > size:
            return _again(rng, size, shape)
        if sampling != "published":
            return rng.choice(size, count, replace=False, shuffle=True)
        if count > size:
            # They would be images of the next class.
            raise ValueError(f"a task takes {count} images of each class, and one has {size}")
        return np.arange(count)

    chosen = rng.choice(len(sizes), shape.ways, replace=sampling == "published")
    indices = np.stack([images.starts[c] + members(int(sizes[c])) for c in chosen])
    return rng.permutation(indices[:, : shape.shots].ravel()), indices[:, shape.shots :].ravel()


def _again(rng: np.random.Generator, size: int, shape: TaskShape) -> np.ndarray:
    """Members of a class that has too few: training images in passes, then the query images."""
    if size <= shape.queries:
        raise ValueError(
            f"a task asks for {shape.queries} images of each class, and one has {size}"
        )
    order = rng.permutation(size)
    query, others = order[: shape.queries], order[shape.queries :]
    passes = -(-shape.shots // len(others))
    trained = np.concatenate([rng.permutation(others) for _ in range(passes)])
    return np.concatenate([trained[: shape.shots], query])


def _gather(
    images: ImageSet,
    train: np.ndarray,
    query: np.ndarray,
    into: tuple[Tensor, Tensor] | None = None,
) -> Task:
    inputs = images.x.shape[1:]
    x, query_x = into or [
        torch.empty(which.shape + inputs, dtype=torch.float32, device="cpu")
        for which in (train, query)
    ]
    for which, place in ((train, x), (query, query_x)):
        # Clipped, which nothing needs to be: else NumPy fills a copy first.
        np.take(images.x, which, axis=0, out=place.numpy(), mode="clip")
    return Task(
        x=x,
        labels=torch.from_numpy(images.labels[train]),
        query_x=query_x,
        query_labels=torch.from_numpy(images.labels[query]),
    )
