"""A user's own data set: an .npz file, of which nothing is read before its headers were judged.

An .npz file is a zip archive whose members are arrays in NumPy's own format: a header that says
type and shape, and then the bytes. Whoever believes a header allocates what it says; so it must
first agree with what the archive holds, and that must have a bound.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from rulesearch.data.source import Examples, Source
from rulesearch.errors import RuleSearchError

LARGEST = 2**30
"""Bytes that compressed arrays may have when unpacked, together: three times EMNIST in float32. The
others have a bound in the file itself."""

_INPUTS, _LABELS = ("x", "x_test"), ("y", "y_test")
_WRITTEN_BY = "write it by numpy.savez"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

# What a damaged archive, member, or header breaks with, in zipfile, in zlib, or in NumPy.
_UNREADABLE = (
    EOFError,
    LookupError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class _Header:
    """What a member says of its array, and where in the archive it is."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    member: zipfile.ZipInfo


def read_npz(name: str, *, exact: bool = False) -> Source:
    """Read a user's file; see `rulesearch.data.load_data` for what it holds.

    Args:
        name: of the file, which exists.
        exact: inputs in float64, for a map that is applied before they are rounded to float32.

    Raises:
        RuleSearchError: the file is damaged, too large, or not of this form.
    """
    stored = _arrays(name)
    train = _examples(stored, "x", "y", exact)
    test = _examples(stored, "x_test", "y_test", exact) if "x_test" in stored else None
    splits = [train] if test is None else [train, test]
    largest = max(int(split.y.max()) for split in splits)
    examples = sum(len(split.y) for split in splits)
    if largest >= examples:
        # One output unit for each class number: a number this large is a mistake, and costly.
        raise RuleSearchError(
            f"a label is {largest}, of {examples} examples; number classes from 0"
        )
    return Source(name, largest + 1, train, test)


def _examples(stored: Mapping[str, np.ndarray], x_key: str, y_key: str, exact: bool) -> Examples:
    x, y = stored[x_key], stored[y_key]
    labels = y.astype(np.int64)
    if labels.min() < 0:  # or too large for int64, and wrapped
        raise RuleSearchError(f"{y_key} has a label {y[labels.argmin()]}; number classes from 0")
    with np.errstate(over="ignore"):  # what the type cannot hold is reported just below
        inputs = x.astype(np.float64 if exact else np.float32, order="C")
    inputs[inputs == 0] = 0  # -0.0 too: the same pixel has the same bits
    faulty = np.flatnonzero(~np.isfinite(inputs).all(axis=1))
    if len(faulty):
        row = faulty[0]
        too_large = not exact and bool(np.isfinite(x[row]).all())
        way_out = "mend it, or give --scale" if too_large else "mend or drop it"
        raise RuleSearchError(f"{x_key}[{row}] is not finite in {inputs.dtype}; {way_out}")
    return Examples(inputs, labels, 1.0)


# The archive -------------------------------------------------------------------------------------


def _arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of the file, by name; types, shapes and sizes are those that are wanted."""
    path = Path(name)
    try:
        with path.open("rb") as file:
            if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                raise RuleSearchError(
                    "holds one array without a name; write x and y by numpy.savez"
                )
            with zipfile.ZipFile(file) as archive:
                headers = _headers(archive)
                faults = [
                    *_size_faults(headers, path.stat().st_size),
                    *_type_faults(headers),
                ]
                if faults:
                    raise RuleSearchError(*faults)
                return {key: _array(archive, header.member) for key, header in headers.items()}
    except MemoryError:
        raise RuleSearchError(
            "does not fit into this machine's memory; give fewer examples"
        ) from None
    except OSError as error:
        raise RuleSearchError(f"cannot be read ({error.strerror or error})") from error
    except _UNREADABLE as error:
        raise RuleSearchError(f"is not a whole .npz file; {_WRITTEN_BY} again") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        # Never pickles: reading a data set must not run code.
        return npy.read_array(stream, allow_pickle=False)


def _headers(archive: zipfile.ZipFile) -> dict[str, _Header]:
    """The headers of the arrays that are wanted; nothing else in the archive is looked at."""
    members: dict[str, list[zipfile.ZipInfo]] = {}
    for member in archive.infolist():
        members.setdefault(member.filename.removesuffix(".npy"), []).append(member)
    wanted = {key: members[key] for key in (*_INPUTS, *_LABELS) if key in members}
    if lacking := [key for key in ("x", "y") if key not in wanted]:
        found = ", ".join(members) or "nothing"
        raise RuleSearchError(f"has no {' and no '.join(lacking)} (it has {found}); name them so")
    if ("x_test" in wanted) != ("y_test" in wanted):
        has, lacks = ("x_test", "y_test") if "x_test" in wanted else ("y_test", "x_test")
        raise RuleSearchError(f"has {has} but no {lacks}; give both or neither")
    if faults := [fault for key in wanted for fault in _member_faults(key, wanted[key])]:
        raise RuleSearchError(*faults)
    return {key: _header(archive, key, member) for key, (member,) in wanted.items()}


def _member_faults(key: str, members: list[zipfile.ZipInfo]) -> Iterator[str]:
    """Why an array is not to be had, as the archive's table of contents has it."""
    if len(members) > 1:
        yield f"has {key} {len(members)} times; {_WRITTEN_BY}, once"
    elif members[0].flag_bits & 1:
        yield f"{key} is encrypted; {_WRITTEN_BY}, without a password"
    elif members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield f"{key} is compressed as NumPy never does; {_WRITTEN_BY}"


def _header(archive: zipfile.ZipFile, key: str, member: zipfile.ZipInfo) -> _Header:
    """What a member says of itself, once that agrees with the number of its bytes."""
    with archive.open(member) as stream:
        if stream.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
            raise RuleSearchError(f"{key} is not an array; {_WRITTEN_BY}")
        version = (stream.read(1)[0], stream.read(1)[0])
        # Versions since then are for types with fields, whose names are not ASCII.
        shape, _, dtype = _HEADERS[version](stream)
        held = member.file_size - stream.tell()
    said = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or (said != held and not dtype.hasobject):
        raise RuleSearchError(
            f"{key} is {list(shape)} of {dtype} by its header, {said:,} bytes, and holds {held:,}; "
            f"{_WRITTEN_BY} again"
        )
    return _Header(shape, dtype, member)


def _size_faults(headers: Mapping[str, _Header], on_disk: int) -> Iterator[str]:
    """What would take more memory than the file can justify."""
    members = [header.member for header in headers.values()]
    packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
    unpacked = sum(m.file_size for m in packed)
    if unpacked > LARGEST:
        yield (
            f"unpacks to {unpacked:,} bytes, at most {LARGEST:,} with compression; "
            f"{_WRITTEN_BY}, which does not compress"
        )
    if sum(m.file_size for m in members if m not in packed) > on_disk:
        yield f"says that it holds more bytes than its {on_disk:,}; {_WRITTEN_BY} again"


def _type_faults(headers: Mapping[str, _Header]) -> Iterator[str]:
    """What is wrong with types and shapes, as the headers have them."""
    for x_key, y_key in zip(_INPUTS, _LABELS, strict=True):
        if x_key not in headers:
            continue
        x, y = headers[x_key], headers[y_key]
        if x.dtype.kind not in "buif":
            yield f"{x_key} is of type {x.dtype}; give real numbers"
        if y.dtype.kind not in "ui":
            yield f"{y_key} is of type {y.dtype}; give integers from 0"
        if len(x.shape) != 2:
            yield f"{x_key} has shape {list(x.shape)}; give [examples, inputs], images flattened"
        elif y.shape != x.shape[:1]:
            yield (
                f"{y_key} has shape {list(y.shape)}, {x_key} {list(x.shape)}; "
                "give one label an example"
            )
        elif 0 in x.shape:
            yield f"{x_key} has shape {list(x.shape)}; there is nothing to learn from"
        elif x_key == "x_test" and x.shape[1:] != headers["x"].shape[1:]:
            inputs = headers["x"].shape[1:]
            yield f"x_test has {x.shape[1]} inputs, x has {inputs[0]}; they must agree"
