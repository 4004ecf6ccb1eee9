"""What a caller asks of lifetimes, by name or number: found, or refused in one line."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable
from typing import Any

from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool
from rulesearch.notation.vocabulary import named
from rulesearch.observables import OBSERVABLES


def terms_named(option: str, pool: Pool, names: Any) -> list[int]:
    """Positions of the terms named, in the order of the pool; all for True, none for False.

    Raises:
        RuleSearchError: no name of a term, in the words of the option.
    """
    if isinstance(names, bool):
        return list(range(len(pool))) if names else []
    asked = _names(option, names)
    for name in asked:
        if name not in pool.names:
            raise RuleSearchError(
                f"{option} {name}: no such term; the terms are {named(pool.names)}"
            )
    return sorted({pool.names.index(name) for name in asked})


def observables_named(names: Any) -> tuple[str, ...]:
    """Names of observables.

    Raises:
        RuleSearchError: the first that is not in `OBSERVABLES`.
    """
    asked = _names("observe", names)
    for name in asked:
        if name not in OBSERVABLES:
            raise RuleSearchError(
                f"observe {name}: unknown observable; give any of {', '.join(OBSERVABLES)}"
            )
    return asked


def _names(option: str, names: Any) -> tuple[Any, ...]:
    if isinstance(names, str):
        raise RuleSearchError(f'{option}: {names!r}; give a list of names, as ["{names}"]')
    if not isinstance(names, Iterable):
        raise RuleSearchError(f"{option}: {names!r}; give a list of names, [] for none")
    return tuple(str(n) if isinstance(n, str) else n for n in names)  # NumPy's text is text


def points_numbered(option: str, numbers: Any, steps: int) -> tuple[int, ...]:
    """Numbers of steps in ascending order.

    Raises:
        RuleSearchError: the first fault, in the words of the option.
    """
    way_out = f"give numbers of steps from 0 to {steps}, ascending"
    if not isinstance(numbers, Iterable):
        raise RuleSearchError(f"{option}: {numbers!r}; {way_out}, in a list")
    points: list[int] = []
    for number in numbers:
        try:
            points.append(operator.index(number))
        except TypeError:
            line = f"{option} {number!r}: not a number of steps; {way_out}"
            raise RuleSearchError(line) from None
        if not 0 <= points[-1] <= steps:
            raise RuleSearchError(f"{option} {points[-1]}: outside the lifetime; {way_out}")
    for before, after in itertools.pairwise(points):
        if before >= after:
            raise RuleSearchError(f"{option} {before}, {after}: not ascending; {way_out}")
    return tuple(points)
