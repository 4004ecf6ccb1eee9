"""Frozen records as strict JSON data, and back; what a field may hold is said by its type alone.

A field's type is its schema: `int` is a whole number, `tuple[str, ...]` a list of text, `Literal`
one of its choices, `Annotated[int, Within(1, 9)]` a number in a range. Reading checks all of it,
of flags and of files alike, and finds every fault at once. A plain `float` may be anything that a
float can be; what is not finite is the text `nan`, `inf` or `-inf`, because strict JSON has no
other form for it. `Number` is the same for people: null where it is not finite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from rulesearch.errors import RuleSearchError, closest

if TYPE_CHECKING:  # imported where it is used: an option's range is needed long before
    from cattrs import Converter

Json: TypeAlias = Any  # None, bool, int, float, str, or lists and string-keyed dicts of these
Number: TypeAlias = float | None  # None: not finite
Interval: TypeAlias = tuple[Number, Number]
RecordType = TypeVar("RecordType")

SCHEMA_VERSION = 4
"""Of the layout of run directories; those of another are refused by its number."""

SHOWN = 40  # characters of a wrong value in a message
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class Within:
    """The range of a number, for `Annotated`; NaN is never within.

    Attributes:
        least: the smallest value.
        most: the largest one.
        least_too: whether the smallest value itself is allowed.
        most_too: whether the largest one is.

    Example:
        >>> Within(0, 1, most_too=False).problem(1.0)
        'must be below 1'
    """

    least: float
    most: float = math.inf
    least_too: bool = True
    most_too: bool = True

    def problem(self, value: float) -> str:
        """What is wrong with a value, or ""."""
        above = value >= self.least if self.least_too else value > self.least
        below = value <= self.most if self.most_too else value < self.most
        parts = []
        if not above and self.least > -math.inf:
            parts.append(f"{'at least' if self.least_too else 'above'} {_number(self.least)}")
        if not below and self.most < math.inf:
            parts.append(f"{'at most' if self.most_too else 'below'} {_number(self.most)}")
        if not (above and below) and not math.isfinite(value):
            parts.append("finite")
        return f"must be {' and '.join(parts)}" if parts else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


LARGEST = 2**63 - 1
Count: TypeAlias = Annotated[int, Within(0, LARGEST)]
Finite: TypeAlias = Annotated[float, Within(-math.inf, math.inf, least_too=False, most_too=False)]


# There and back ----------------------------------------------------------------------------------


def to_plain(value: object) -> Json:
    """A record, or any value of one, as strict JSON holds it.

    Raises:
        TypeError: something that JSON has no form for (a caller's bug).

    Example:
        >>> to_plain({"layers": (170, 130), "loss": float("inf")})
        {'layers': [170, 130], 'loss': 'inf'}
    """
    match value:
        case None | bool() | str():
            return value
        case Integral():
            return int(value)
        case Real():
            return float(value) if math.isfinite(value) else f"{float(value)}"
        case Path():
            return str(value)
        case Mapping():
            return {str(key): to_plain(item) for key, item in value.items()}
        case list() | tuple():
            return [to_plain(item) for item in value]
    if is_dataclass(value):
        return {entry.name: to_plain(getattr(value, entry.name)) for entry in fields(value)}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def from_plain(kind: type[RecordType], value: Json, *, by_value: bool = False) -> RecordType:
    """The record of type `kind` that plain data say; `from_plain(K, to_plain(k)) == k`.

    Args:
        kind: of the record.
        value: the plain data.
        by_value: tell a fault by the field and the value that is wrong, as whoever gave it knows
            it, and not by its place.

    Raises:
        RuleSearchError: a line for each fault, with the path of its field.

    Example:
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     layers: tuple[Annotated[int, Within(1)], ...]
        >>> from_plain(Size, {"layers": [3, 0.5]})
        Traceback (most recent call last):
        rulesearch.errors.RuleSearchError: layers[1]: a whole number is needed, not 0.5
    """
    record: RecordType
    record, faults = _read(kind, value)
    if faults:
        places = (_by_value(value, path) if by_value else path for path, _ in faults)
        told = zip(places, faults, strict=True)
        raise RuleSearchError(*(f"{place}: {text}" if place else text for place, (_, text) in told))
    return record


def _by_value(value: Json, path: str) -> str:
    """The field that a path begins with, and the value that stands at its end."""
    names = re.findall(r"[^.\[\]]+", path)
    for name in names:
        place = int(name) if isinstance(value, list) else name
        try:
            value = value[place]
        except (LookupError, TypeError):
            return path  # what is missing
    return path if isinstance(value, list | dict) else f"{names[0]} {value}"


def problems(record: object) -> list[tuple[str, str]]:
    """What does not fit the types of a record's own fields: path and problem of each fault.

    A dataclass is made without looking at its types; this looks.

    Example:
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     layers: tuple[Annotated[int, Within(1)], ...]
        >>> problems(Size((3, 0)))
        [('layers[1]', 'must be at least 1')]
    """
    found = []
    for name in get_type_hints(type(record)):
        try:
            to_plain(getattr(record, name))
        except TypeError as error:
            found.append((name, str(error)))
    return found or _read(type(record), to_plain(record))[1]


def outside(record: object) -> list[tuple[str, str]]:
    """Numbers of a record that are out of their ranges: name and problem of each field.

    Cheaper than `problems`, and for a record that is still being made.
    """
    faults = []
    for name, hint in get_type_hints(type(record), include_extras=True).items():
        value = getattr(record, name)
        if get_origin(hint) is Annotated and isinstance(value, Real):
            faults.append((name, hint.__metadata__[0].problem(value)))
    return [fault for fault in faults if fault[1]]


def _read(kind: Any, value: object, name: str = "") -> tuple[Any, list[tuple[str, str]]]:
    """A value as its type wants it, or paths and problems; the paths begin with `name`."""
    from cattrs import BaseValidationError, transform_error

    try:
        return _converter().structure(value, kind), []
    except (BaseValidationError, _WrongError) as error:
        lines = transform_error(error, name, format_exception=_problem)
        found = (line.rpartition(" @ ") for line in lines)
        return None, [(path.removeprefix("."), text) for text, _, path in found]


def _problem(error: BaseException, _: object) -> str:
    """What cattrs met, in words."""
    from cattrs import ForbiddenExtraKeysError

    match error:
        case ForbiddenExtraKeysError():
            known = [entry.name for entry in fields(error.cl)]
            strange = sorted(map(str, error.extra_fields))
            return f"unknown field {', '.join(f'{n}{closest(n, known)}' for n in strange)}"
        case KeyError():
            return "is missing"
        case RuleSearchError():  # a record that looks at its fields together
            return "; ".join(error.lines)
    return str(error)


class _WrongError(ValueError):
    """A value that does not have the type of its field."""


def _expect(kind: Any, value: object, wanted: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        shown = repr(value)
        shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 3]}..."
        raise _WrongError(f"{wanted} is needed, not {shown}")
    return value


# What cattrs is taught ---------------------------------------------------------------------------


@cache
def _converter() -> Converter:
    """Strict: nothing is turned into another type, no field is passed over."""
    from cattrs import Converter
    from cattrs.cols import homogenous_tuple_structure_factory, mapping_structure_factory
    from cattrs.gen import make_dict_structure_fn, override

    made = Converter(forbid_extra_keys=True, detailed_validation=True)
    made.register_structure_hook(bool, lambda value, _: _expect(bool, value, "true or false"))
    made.register_structure_hook(str, lambda value, _: _text(value))
    made.register_structure_hook(int, lambda value, _: _whole(value))
    made.register_structure_hook(float, lambda value, _: _real(value))
    made.register_structure_hook_func(lambda kind: kind is Any, lambda value, _: to_plain(value))

    def record(kind: Any, into: Converter) -> Callable[[Any, Any], Any]:
        # cattrs resolves annotations that are text without their ranges; so each is given whole.
        hints = get_type_hints(kind, include_extras=True).items()
        hooks: dict[str, Any] = {
            name: override(struct_hook=into.get_structure_hook(hint)) for name, hint in hints
        }
        read = make_dict_structure_fn(kind, into, _cattrs_forbid_extra_keys=True, **hooks)

        def structure(value: Any, _: Any) -> Any:
            if isinstance(value, kind):
                return value
            return read(_expect(Mapping, value, "an object"), kind)

        return structure

    def mapping(kind: Any, into: Converter) -> Callable[[Any, Any], Any]:
        like: Any = dict
        read: Any = mapping_structure_factory(like[get_args(kind)], into)
        return lambda value, _: read(_expect(Mapping, value, "an object"), kind)

    def sequence(kind: Any, into: Converter) -> Callable[[Any, Any], Any]:
        first, *others = get_args(kind)
        like: Any = tuple
        read = homogenous_tuple_structure_factory(like[first, ...], into)
        wanted = None if others == [Ellipsis] else 1 + len(others)

        def structure(value: Any, _: Any) -> Any:
            items = _expect((list, tuple), value, "a list")
            if wanted is not None and len(items) != wanted:
                raise _WrongError(f"{wanted} values are needed, not {len(items)}")
            return read(items, kind)

        return structure

    def choice(kind: Any) -> Callable[[Any, Any], Any]:
        def structure(value: Any, _: Any) -> Any:
            if not any(value == known and type(value) is type(known) for known in get_args(kind)):
                known = ", ".join(map(str, get_args(kind)))
                raise _WrongError(f"unknown; give one of {known}")
            return value

        return structure

    def ranged(kind: Any, into: Converter) -> Callable[[Any, Any], Any]:
        inner, (limits,) = kind.__origin__, kind.__metadata__
        read = into.get_structure_hook(inner)

        def structure(value: Any, _: Any) -> Any:
            found = read(value, inner)
            if problem := limits.problem(found):
                raise _WrongError(problem)
            return found

        return structure

    def optional(kind: Any, into: Converter) -> Callable[[Any, Any], Any]:
        # Of two kinds the second is that of a text, as in Effort | Literal["quick", "normal"], or
        # of a list, as in int | tuple[int, ...].
        inner, *words = (part for part in get_args(kind) if part is not NoneType)
        second = (list, tuple) if words and get_origin(words[0]) is tuple else str
        absent = NoneType in get_args(kind)

        def structure(value: Any, _: Any) -> Any:
            if value is None and absent:
                return None
            chosen = words[0] if words and isinstance(value, second) else inner
            return into.get_structure_hook(chosen)(value, chosen)

        return structure

    made.register_structure_hook_factory(is_dataclass)(record)
    made.register_structure_hook_factory(_of(dict, Mapping))(mapping)
    made.register_structure_hook_factory(_of(tuple))(sequence)
    made.register_structure_hook_factory(_of(Literal))(choice)
    made.register_structure_hook_factory(_of(Annotated))(ranged)
    made.register_structure_hook_factory(_of(Union, UnionType))(optional)
    made.register_structure_hook_func(lambda kind: kind == Number, lambda value, _: _shown(value))
    return made


def _of(*origins: Any) -> Callable[[Any], bool]:
    """Whether a type is made from one of these, as `tuple[int, ...]` is from `tuple`."""
    return lambda kind: get_origin(kind) in origins


def _text(value: object) -> str:
    text: str = _expect(str, value, "text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # JSON can spell half of a surrogate pair; no file can hold it
            raise _WrongError("text is needed, not half of a surrogate pair") from None
    return text


def _whole(value: object) -> int:
    return int(_expect(Integral, value, "a whole number"))


def _real(value: object) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    number = _expect(Real, value, "a number")
    try:
        return float(number)
    except OverflowError:
        raise _WrongError("a number is needed that a float can hold") from None


def _shown(value: object) -> Number:
    number = None if value is None else _real(value)
    return number if number is not None and math.isfinite(number) else None


@dataclass(frozen=True, kw_only=True)
class Record:
    """A frozen record that holds exactly what its JSON reads back as.

    Whatever a field is given (lists, NumPy numbers, a loss that is not finite) becomes the plain
    value of the field's type, so that a record equals its own copy from disk.

    Raises:
        RuleSearchError: a field that does not have its type, with its name.
    """

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value, faults = _read(hint, getattr(self, name), name)
            if faults:
                raise RuleSearchError(*(f"{path}: {text}" for path, text in faults))
            object.__setattr__(self, name, value)
