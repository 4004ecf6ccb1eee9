"""What two results of one search differ in: numbers by their sizes, all else word by word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rulesearch.records.plain import to_plain
from rulesearch.result import Result
from rulesearch.words import percent

#: What differs between two runs of one request: how long they took, and how they were asked for.
OF_THE_RUN = ("seconds", "command")
#: Letters of a text that are shown.
SHOWN = 60


@dataclass(frozen=True)
class Differing:
    """A value that two results do not have in common.

    Attributes:
        path: where it stands, `theta.F0`, `hall[2].loss`.
        then: in the first, as plain data; `...` where it has none there.
        now: in the second.
    """

    path: str
    then: Any
    now: Any

    @property
    def size(self) -> float | None:
        """Of two numbers, how far apart they are as a share of the larger; None of all else."""
        if not (_number(self.then) and _number(self.now)):
            return None
        apart: float = abs(self.now - self.then) / max(abs(self.then), abs(self.now))
        return apart

    def __str__(self) -> str:
        then, now = (_said(value) for value in (self.then, self.now))
        by = "" if self.size is None else f", by {percent(self.size)}"
        return f"{self.path}: {then} then, {now} now{by}"


def differences(then: Result, now: Result) -> tuple[Differing, ...]:
    """Everything that differs, in the order of the record, but for time and command line.

    Args:
        then: a result,
        now: and another.
    """
    first, second = to_plain(then), to_plain(now)
    return tuple(
        each
        for name in first
        if name not in OF_THE_RUN
        for each in _differing(name, first[name], second[name])
    )


def _differing(path: str, then: Any, now: Any) -> Iterator[Differing]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in {**then, **now}:
            yield from _differing(f"{path}.{name}", then.get(name, ...), now.get(name, ...))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, pair in enumerate(zip(then, now, strict=True)):
            yield from _differing(f"{path}[{number}]", *pair)
    elif then != now or not ((_number(then) and _number(now)) or type(then) is type(now)):
        yield Differing(path, then, now)


def reproduced_text(name: str, then: Result, now: Result) -> str:
    """What two results differ in, in lines: of many numbers in one table those that do most.

    Args:
        name: of the first, as it was given.
        then: the first,
        now: and the second.
    """
    found = differences(then, now)
    if not found:
        return f"the same as {name} to the last digit; only the time differs{_seconds(then, now)}"
    lines = [f"differs from {name}{_seconds(then, now)}:"]
    for table in dict.fromkeys(each.path.split(".")[0].split("[")[0] for each in found):
        here = [e for e in found if e.path.split(".")[0].split("[")[0] == table]
        numbers = [each for each in here if each.size is not None]
        lines += [f"  {each}" for each in here if each.size is None]
        if numbers:
            most = max(numbers, key=lambda each: each.size or 0.0)
            several = f"{len(numbers)} numbers, most " if len(numbers) > 1 else ""
            lines.append(f"  {several}{most}")
    return "\n".join(lines)


def _seconds(then: Result, now: Result) -> str:
    if then.seconds is None or now.seconds is None:
        return ""
    return f" ({then.seconds:.0f} s then, {now.seconds:.0f} s now)"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _said(value: Any) -> str:
    if value is ... or value == []:
        return "none"
    if isinstance(value, list) and isinstance(value[0], dict):
        return f"{len(value)} entr{'ies' if len(value) > 1 else 'y'}"
    return _short(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
