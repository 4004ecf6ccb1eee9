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
    for name in _names(option, names):
        if name not in pool.names:
            raise RuleSearchError(
                f"{option} {name}: no such term; the terms are {named(pool.names)}"
            )
    return sorted({pool.names.index(name) for name in names})


def check_observables(names: Any) -> None:
    """Refuse what is not in `OBSERVABLES`.

    Raises:
        RuleSearchError: for the first.
    """
    for name in _names("observe", names):
        if name not in OBSERVABLES:
            raise RuleSearchError(
                f"observe {name}: unknown observable; give any of {', '.join(OBSERVABLES)}"
            )


def _names(option: str, names: Any) -> Iterable[Any]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise RuleSearchError(f'{option}: {names!r}; give a list of names, as ["{names}"]')
    return names


def check_points(option: str, numbers: Any, steps: int) -> None:
    """Refuse what is not an ascending list of numbers of steps, in the words of the option.

    Raises:
        RuleSearchError: for the first fault.
    """
    way_out = f"give numbers of steps from 0 to {steps}, ascending"
    if not isinstance(numbers, Iterable):
        raise RuleSearchError(f"{option}: {numbers!r}; {way_out}, in a list")
    points = list(numbers)
    for point in points:
        try:
            inside = 0 <= operator.index(point) <= steps
        except TypeError:
            raise RuleSearchError(f"{option} {point!r}: not a number of steps; {way_out}") from None
        if not inside:
            raise RuleSearchError(f"{option} {point}: outside the lifetime; {way_out}")
    for before, after in itertools.pairwise(points):
        if before >= after:
            raise RuleSearchError(f"{option} {before}, {after}: not ascending; {way_out}")
