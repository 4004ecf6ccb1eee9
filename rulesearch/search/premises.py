"""What a search takes for granted of its pool, data and options together, checked before it runs.

Whoever calls `search` loads the data by themselves, so options and data may say different things;
and a term may ask of the data what they do not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from rulesearch.data import Data, TaskShape
from rulesearch.data.divide import size_fault
from rulesearch.data.files import KNOWN_ENDS
from rulesearch.data.scale import range_of
from rulesearch.errors import RuleSearchError
from rulesearch.locality import classify
from rulesearch.notation import Pool
from rulesearch.operators import QUANTITIES
from rulesearch.search.config import Config

ROUNDING = 1e-6
"""How far outside [0, 1] an input is still in it: rounding when it was scaled. The slope there,
1 - exp(-10 x), is then above -1.1e-5."""

NAMED = 5  # at most so many terms or classes in a message


def for_data(config: Config, data: Data) -> Config:
    """The options for these data, with their name and the map that was applied to them.

    A data set that the options do not name is the data's own: `Config()` serves them all.

    Raises:
        RuleSearchError: a line for each option that says otherwise, in Python's names; on the
            command line the options load the data.
    """
    faults = [*_name_faults(config, data), *_scale_faults(config, data)]
    faults += [*_class_faults(config, data), *_shape_faults(config.shape, data)]
    if faults:
        raise RuleSearchError(*faults)
    return replace(
        config,
        dataset=data.name,
        scale=data.scale is not None,
        scale_ranges=(data.scale,) if data.scale else (),
        held_out_classes=data.held_out_classes,
    )


def premises(pool: Pool, data: Data, config: Config) -> tuple[str, ...]:
    """What a reader must know of these terms on these data, a line each.

    Args:
        pool: the terms, in a network of the depth that `config` has.
        data: the images.
        config: the options, for these data.

    Raises:
        RuleSearchError: a term reads the error of the input layer, where it is not defined.
    """
    return (*data.notes, *_range_notes(pool, data), *_label_notes(pool, data), *_ends(data, config))


# Options and data ---------------------------------------------------------------------------------


def _name_faults(config: Config, data: Data) -> Iterator[str]:
    if config.dataset not in (Config().dataset, data.name) and not _same_file(config, data):
        yield (
            f"dataset={config.dataset!r}: the data are {data.name!r}; load the other by load_data, "
            "or leave dataset out"
        )


def _same_file(config: Config, data: Data) -> bool:
    """Whether two names, one of them perhaps relative, are of one file."""
    return Path(config.dataset).absolute() == Path(data.name).absolute()


def _scale_faults(config: Config, data: Data) -> Iterator[str]:
    if data.scale is None and config.scale:
        yield "scale=True: the data are not mapped; load them by load_data(..., scale=True)"
    elif config.scale_ranges not in ((), (data.scale,)):
        mapped = "not mapped" if data.scale is None else f"mapped from {data.scale}"
        yield (
            f"scale_ranges={config.scale_ranges}: the data are {mapped}; load them by "
            f"load_data(..., scale={config.scale_ranges[0]})"
        )


def _class_faults(config: Config, data: Data) -> Iterator[str]:
    if config.held_out_classes not in (0, data.held_out_classes):
        yield (
            f"held_out_classes={config.held_out_classes}: the data keep {data.held_out_classes} "
            f"from the search; load them by load_data(..., held_out_classes="
            f"{config.held_out_classes})"
        )


def _shape_faults(shape: TaskShape, data: Data) -> Iterator[str]:
    """Tasks larger than one of the parts, which were made for others."""
    parts = {"for the search": data.search, "set aside": data.held_out}
    present, whose = min((len(part.starts) - 1, whose) for whose, part in parts.items())
    if shape.ways > present:
        yield f"ways={shape.ways}: the images {whose} are of {present} classes; at most {present}"
    sizes = {whose: np.diff(part.starts) for whose, part in parts.items()}
    fewest, whose = min((int(of_class.min()), whose) for whose, of_class in sizes.items())
    number = parts[whose].labels[parts[whose].starts[sizes[whose].argmin()]]
    reason = (
        f"a task takes {shape.per_class} images of each class, and the images {whose} have "
        f"{fewest} of class {number}; load the data for these tasks by load_data(..., shape=)"
    )
    if shape.per_class > fewest:
        yield size_fault(shape, fewest, reason, lambda size, n: f"{size}={n}")


# Terms and data -----------------------------------------------------------------------------------


def _range_notes(pool: Pool, data: Data) -> Iterator[str]:
    """Inputs outside [0, 1]: refused where a term reads the error of the input layer."""
    ends = [end for part in (data.search, data.held_out) for end in range_of(part.x)]
    least, most = min(ends), max(ends)
    if least >= -ROUNDING and most <= 1 + ROUNDING:
        return
    found = f"inputs range from {least:g} to {most:g}"
    way_out = "map them to [0, 1] by --scale, in Python load_data(..., scale=True)"
    readers = [
        term.name
        for place, term in enumerate(pool)
        if "e_pre" in _reads(pool, place) and _acts_first(pool, place)
    ]
    if readers:
        raise RuleSearchError(
            f"{data.name}: {found}, and the error of the input layer, which {_some(readers)} "
            f"read{'s' if len(readers) == 1 else ''}, is defined for [0, 1], by the slope "
            f"1 - exp(-10*x); {way_out}"
        )
    yield f"{found}, and the network is made for [0, 1]; {way_out}"


def _reads(pool: Pool, place: int) -> set[str]:
    """The quantities that a term depends on, operators by their definitions."""
    return {read.quantity for read in classify(pool.terms[place]).reads}


def _acts_first(pool: Pool, place: int) -> bool:
    """Whether a term acts in the layer whose pre-neurons are the pixels."""
    return 1 in pool.where.get(pool.names[place], (1,))


def _label_notes(pool: Pool, data: Data) -> Iterator[str]:
    """Labels that nothing reads, and class numbers that no label has."""
    read = set().union(*(_reads(pool, place) for place in range(len(pool))))
    if not any(QUANTITIES[name].error or name == "L" for name in read):
        yield (
            "no term reads an error (e_post, e_pre) or the loss (L): nothing in this pool can "
            "learn what the labels ask"
        )
    present = {*data.search.labels.tolist(), *data.held_out.labels.tolist()}
    if missing := [number for number in range(data.classes) if number not in present]:
        yield (
            f"no image has the label {_some(missing)}: {data.classes} output units for "
            f"{len(present)} classes; number the classes from 0, without a gap"
        )


def _ends(data: Data, config: Config) -> Iterator[str]:
    """Hidden sizes that look as if they were meant for all layers of other data."""
    (given,), ends = config.networks, (data.inputs, data.classes)
    theirs = (given[0], given[-1])
    if len(given) < 2 or theirs == ends:
        return
    if theirs[0] == ends[0] or theirs in KNOWN_ENDS.values():
        sizes = "-".join(map(str, config.sizes(*ends)))
        yield (
            f"--layers {','.join(map(str, given))}: all are hidden sizes, for the data have "
            f"{ends[0]} inputs and {ends[1]} output units; the network is {sizes}"
        )


def _some(items: Iterable[object]) -> str:
    """At most five, and how many more there are.

    Example:
        >>> _some("abc"), _some(range(8))
        ('a, b, c', '0, 1, 2, 3, 4 and 3 more')
    """
    every = [*map(str, items)]
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more
