"""Images for trying a rule elsewhere: none that its search used, whatever the size of the tasks.

`load_data` divides by the size of the tasks, and larger ones may set aside images of the training
split that a search with smaller tasks has learned from. So what is set aside here is what was set
aside under the search's own tasks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from rulesearch.data.distinct import told_apart
from rulesearch.data.divide import Part, divide
from rulesearch.data.files import KNOWN_ENDS, look_for
from rulesearch.data.load import Data
from rulesearch.data.read import read_source
from rulesearch.data.scale import Range, mapped, range_of
from rulesearch.data.source import Source
from rulesearch.data.tasks import ImageSet, TaskShape, class_starts
from rulesearch.errors import RuleSearchError

Divided = tuple[tuple[Part, Part], tuple[str, ...]]
Divide = Callable[[Source, TaskShape, int], Divided]


@dataclass(frozen=True)
class Searched:
    """What a search saw: its data sets, and what says which of their images.

    Attributes:
        datasets: names or files.
        shape: of its tasks.
        held_out_classes: so many classes it had no image of.
        scales: of each data set the values that were mapped to 0 and 1, or `()` where inputs were
            as they are; none where all were.
    """

    datasets: tuple[str, ...]
    shape: TaskShape
    held_out_classes: int = 0
    scales: tuple[tuple[float, ...], ...] = ()

    @property
    def ends(self) -> tuple[tuple[float, ...], ...]:
        """The values of each data set."""
        return self.scales or ((),) * len(self.datasets)


def by_tasks(source: Source, shape: TaskShape, held_out_classes: int) -> Divided:
    """`divide`, images told apart as they are stored."""
    return divide(source, shape, held_out_classes=held_out_classes)


def load_apart(
    name: str,
    root: str | Path | None,
    shape: TaskShape,
    searches: Sequence[Searched] = (),
    *,
    scale: bool = False,
    division: Divide = by_tasks,
) -> Data:
    """A data set whose images set aside no search has used, for tasks of any size.

    Where a search was on this data set, `held_out` is what was set aside from it, and from all the
    others; `search` is what any of them used. Elsewhere the set is divided as for tasks of one
    training image, so that tasks of all sizes are drawn from the same images: its test split where
    there is one. A file is also compared with the searches' other data sets image by image.
    Tasks that are larger than what is there are drawn by `sampling="again"`.

    Args:
        name: see `load_data`,
        root: likewise.
        shape: of the tasks that are to be drawn.
        searches: that are to have seen none of it.
        scale: whether inputs are mapped to [0, 1] by the range of the search's images; where a
            search was on this data set, by its own map, whatever this says.
        division: what says which images a search used.

    Raises:
        RuleSearchError: the data cannot be read; nothing is left for these tasks.
    """
    own = [s for s in searches if _is_of(s, name)]
    own_map = _map_of(own, name)
    scale = scale and not own
    try:
        source = read_source(name, root, exact=scale or own_map is not None)
    except RuleSearchError as error:
        raise error.located(f"--dataset {name}") from error.__cause__
    least = [Searched((name,), TaskShape(shape.ways, 1, shape.queries))]
    divided = [division(source, s.shape, s.held_out_classes) for s in own or least]
    used = [parts[0] for parts, _ in divided]
    aside = [parts[1] for parts, _ in divided]
    notes = tuple(dict.fromkeys(note for _, said in divided for note in said))
    whose = " and ".join(dict.fromkeys(part.which for part in aside))
    span = own_map or (_range(used) if scale else None)
    kept, more = _unseen_elsewhere(name, root, _without(aside, used), searches, span)
    notes += more
    if span is not None:
        used, kept, more = _told_apart(_without(used, ()), kept, span)
        notes += more
    data = Data(
        name,
        _image_set(source, used, span, " and ".join(dict.fromkeys(p.which for p in used))),
        _image_set(source, kept, span, whose),
        span,
        notes,
    )
    _refuse_small(data, shape)
    if shared := _shared(data):
        raise RuleSearchError(
            f"--dataset {name}: {shared:,} images set aside are among those of a search; "
            "they cannot tell how good its rule is"
        )
    return data


def repeated(data: Data, shape: TaskShape) -> str:
    """The note on tasks that are larger than a class of the images set aside, or "".

    Example:
        >>> digits = load_apart("digits", None, TaskShape(5, 75, 10))
        >>> repeated(digits, TaskShape(5, 75, 10))
        'digits: training images come again, since the smallest class set aside has 58, a task 85'
    """
    fewest = int(np.diff(data.held_out.starts).min())
    if shape.per_class <= fewest:
        return ""
    return (
        f"{data.name}: training images come again, since the smallest class set aside has "
        f"{fewest}, a task {shape.per_class}"
    )


def _is_of(search: Searched, name: str) -> bool:
    """Whether a data set is one of a search's, by its name or its file."""
    return any(same_set(name, other) for other in search.datasets)


def same_set(name: str, other: str) -> bool:
    """Whether two are one data set, by its name or its file."""
    if name in KNOWN_ENDS or other in KNOWN_ENDS:
        return name == other
    return Path(name).absolute() == Path(other).absolute()


def _map_of(searches: Sequence[Searched], name: str) -> Range | None:
    """What the searches on a data set mapped its inputs by; None where they took them as they are.

    Raises:
        RuleSearchError: they do not agree, so no images are right for all of their rules.
    """
    maps = {
        ends
        for search in searches
        for other, ends in zip(search.datasets, search.ends, strict=True)
        if same_set(name, other)
    }
    if len(maps) > 1:
        found = " and ".join(
            f"mapped from [{ends[0]:g}, {ends[1]:g}]" if ends else "as they are"
            for ends in sorted(maps)
        )
        raise RuleSearchError(
            f"--dataset {name}: rules were sought with its inputs {found}; try them one at a time"
        )
    return next(((ends[0], ends[1]) for ends in maps if ends), None)


Rows = list[tuple[Part, np.ndarray]]


def _without(aside: Sequence[Part], used: Sequence[Part]) -> list[Part]:
    """What is set aside by any division, without what is used under any; each image once."""
    kept: list[Part] = []
    for part in aside:
        rows = part.rows
        for other in (*used, *kept):
            if other.split is part.split:
                rows = rows[~np.isin(rows, other.rows)]
        if len(rows):
            kept.append(Part(part.split, rows, part.which))
    return kept


def _told_apart(
    used: Sequence[Part], kept: Sequence[Part], span: Range
) -> tuple[list[Part], list[Part], tuple[str, ...]]:
    """The parts with what is another's once it is mapped left out, and notes on the map."""
    kept = [part for part in kept if len(part.rows)]
    exact = [part.split.exact_inputs(part.rows) for part in (*used, *kept)]
    scaled = [mapped(x, span) for x in exact]
    labels = [part.split.y[part.rows] for part in (*used, *kept)]
    counts = told_apart([(x, y) for (x, _), y in zip(scaled, labels, strict=True)])
    parts = [
        replace(part, rows=part.rows[those])
        for part, those in zip((*used, *kept), counts, strict=True)
    ]
    said = f"inputs mapped from [{span[0]:g}, {span[1]:g}] to [0, 1]"
    if beyond := sum(count for _, count in scaled[len(used) :]):
        said += f"; {beyond:,} inputs of the images set aside lay beyond, and became 0 or 1"
    gone = sum(int((~those).sum()) for those in counts)
    left_out = (f"left out: {gone:,} images that are others' once they are mapped",) if gone else ()
    return parts[: len(used)], parts[len(used) :], (*left_out, said)


def _unseen_elsewhere(
    name: str,
    root: str | Path | None,
    kept: Sequence[Part],
    searches: Sequence[Searched],
    span: Range | None,
) -> tuple[list[Part], tuple[str, ...]]:
    """The parts without images that the searches' other data sets have too.

    As they are stored, or as networks see them on either side, for a map may lie between the two.
    Sets with names of their own have no image in common, so only files are compared.
    """
    others = {
        (other, ends)
        for s in searches
        for other, ends in zip(s.datasets, s.ends, strict=True)
        if not _is_of(Searched((other,), s.shape), name)
        and not (name in KNOWN_ENDS and other in KNOWN_ENDS)
    }
    seen: set[bytes] = set()
    notes: list[str] = []
    for other, ends in sorted(others):
        try:
            look_for(other, root)
            source = read_source(other, root, exact=bool(ends))
        except RuleSearchError:
            notes.append(f"{other}, which a search was on, is not here to be compared with {name}")
            continue
        for split in (source.train, source.test):
            if split is not None:
                seen |= _views(Part(split, np.arange(len(split.y)), ""), ends)
    if not seen:
        return list(kept), tuple(dict.fromkeys(notes))
    left = [_unseen(_unseen(part, seen), seen, span) for part in kept]
    if known := sum(len(a.rows) - len(b.rows) for a, b in zip(kept, left, strict=True)):
        notes.append(f"{name}: {known:,} images left out that a search's data have too")
    return left, tuple(notes)


def _views(part: Part, *maps: Sequence[float] | None) -> set[bytes]:
    """Digests of the images of a part as they are stored, and by each of these maps."""
    spans = dict.fromkeys([None, *((ends[0], ends[1]) for ends in maps if ends)])
    return {digest for span in spans for digest in _digests(_inputs(part, span))}


def _unseen(part: Part, seen: Collection[bytes], span: Range | None = None) -> Part:
    """Without the images that are among some others, as the network sees them."""
    known = np.array([digest in seen for digest in _digests(_inputs(part, span))], bool)
    return replace(part, rows=part.rows[~known])


def seen_before(
    data: Data,
    root: str | Path | None,
    searches: Sequence[Searched],
    *,
    division: Divide = by_tasks,
) -> tuple[int, tuple[str, ...]]:
    """How many of the images set aside earlier searches have used, and notes on what is not here.

    Args:
        data: of a search.
        root: of its data sets.
        searches: those before it.
        division: see `load_apart`.
    """
    used: set[bytes] = set()
    notes: list[str] = []
    for search in searches:
        for other, ends in zip(search.datasets, search.ends, strict=True):
            known = KNOWN_ENDS.get(other)
            exact = bool(ends) or data.scale is not None
            if known and data.name != other:
                if data.name in KNOWN_ENDS or known[0] != data.inputs:
                    continue  # these have no image in common
                if root is None and other != "digits":  # nothing is downloaded to be compared
                    notes.append(f"{other}, which it was searched for on, is not compared")
                    continue
            try:
                look_for(other, root)
                source = read_source(other, root, exact=exact)
                (part, _), _ = division(source, search.shape, search.held_out_classes)
            except RuleSearchError:
                notes.append(f"{other}, which it was searched for on, is not here to be compared")
                continue
            used |= _views(part, ends, data.scale)
    seen = sum(digest in used for digest in _digests(data.held_out.x))
    return seen, tuple(dict.fromkeys(notes))


def in_common(data: Sequence[Data]) -> Iterator[str]:
    """A line for each two data sets of a search of which one sets aside what the other learns from.

    Those with names of their own have no image in common.
    """
    for one in data:
        seen = None if one.name in KNOWN_ENDS else set(_digests(one.search.x))
        for other in data:
            if other is one or (one.name in KNOWN_ENDS and other.name in KNOWN_ENDS):
                continue
            seen = set(_digests(one.search.x)) if seen is None else seen
            if both := sum(digest in seen for digest in _digests(other.held_out.x)):
                yield (
                    f"--dataset {other.name}: {both:,} of its images that are set aside are in "
                    f"{one.name} for the search; leave one of the two out, or make one file of them"
                )


def _digests(x: Float32[np.ndarray, "images inputs"]) -> Iterable[bytes]:
    return (hashlib.sha256(image.data).digest() for image in np.ascontiguousarray(x))


def _shared(data: Data) -> int:
    """How many images set aside are among those of the search."""
    seen = set(_digests(data.search.x))
    return sum(digest in seen for digest in _digests(data.held_out.x))


def _range(parts: Sequence[Part]) -> Range:
    ends = [range_of(part.split.exact_inputs(part.rows)) for part in parts]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _image_set(source: Source, parts: Sequence[Part], span: Range | None, which: str) -> ImageSet:
    """The images of some parts, each once, by class."""
    each = _without(parts, ())
    x = np.concatenate([_inputs(part, span) for part in each]) if each else np.zeros((0, 1))
    if not each or not len(x):
        raise RuleSearchError(
            f"--dataset {source.name}: no image is left that no search used; give another set"
        )
    labels = np.concatenate([part.split.y[part.rows] for part in each])
    rows = np.concatenate([part.rows for part in each])
    order = np.argsort(labels, kind="stable")
    arrays = (x[order].astype(np.float32), labels[order], rows[order], class_starts(labels[order]))
    for array in arrays:
        array.flags.writeable = False
    return ImageSet(source.name, which, source.classes, *arrays)


def _inputs(part: Part, span: Range | None) -> Float32[np.ndarray, "images inputs"]:
    if span is None:
        return part.split.inputs(part.rows)
    return mapped(part.split.exact_inputs(part.rows), span)[0]


def _refuse_small(data: Data, shape: TaskShape) -> None:
    """Too few classes, or images of one, for a task whose training images may come again.

    Raises:
        RuleSearchError: a line for each part.
    """
    faults = []
    for part, whose in ((data.held_out, "set aside"), (data.search, "for the search")):
        sizes = np.diff(part.starts)
        if shape.ways > len(sizes):
            faults.append(
                f"--ways {shape.ways}: the images of {data.name} {whose} are of {len(sizes)} "
                f"classes; at most {len(sizes)}"
            )
        if sizes.min() <= shape.queries:
            faults.append(
                f"--queries {shape.queries}: the smallest class of {data.name} {whose} has "
                f"{sizes.min()} images; at most {max(1, sizes.min() - 1)}"
            )
    if faults:
        raise RuleSearchError(*faults)
