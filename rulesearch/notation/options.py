"""What a pool is given beside its terms: found good, or refused in a line.

In Python an option is an argument like a term is, so a term that has an option's name ends here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

from rulesearch.errors import closest
from rulesearch.notation.vocabulary import named
from rulesearch.operators import PARAMETERS, OwnSymbol, Parameter

#: Parameters, and between which numbers their values are kept.
Bounds = tuple[tuple[Parameter, float, float], ...]


#: What options are called, beside terms, which therefore are not.
OPTIONS = ("start", "where", "operators", "space", "bounds", "quantities", "of")
#: Said of what may have been meant for a term.
_NO_TERM = "a term cannot be called {}"


def option_faults(quantities: Sequence[object], **tables: object) -> Iterator[str]:
    """What is no option's value at all, a line each.

    Args:
        quantities: those of one's own, see `several`.
        **tables: the options that are dictionaries, by name.
    """
    for name, table in tables.items():
        if table is not None and not isinstance(table, Mapping):
            yield f"{name}: {table!r} is no dictionary; {_NO_TERM.format(name)}"
    for each in quantities:
        if not isinstance(each, OwnSymbol):
            name = "quantities"
            yield f"{name}: {each!r} is no quantity or trace of one's own; {_NO_TERM.format(name)}"


def several(quantities: object) -> tuple[Any, ...]:
    """Quantities of one's own, of which one may stand alone; read once, as they may be a stream."""
    if isinstance(quantities, str) or not isinstance(quantities, Iterable):
        return (quantities,)
    return tuple(quantities)


def start_faults(
    start: Mapping[str, Any], names: Sequence[str], of: Parameter = "W"
) -> Iterator[str]:
    """What is wrong with the coefficients that terms of these names begin at, a line each.

    Some weights must move; what changes feedback and biases may begin at nothing.
    """
    numbers = True
    for name, value in start.items():
        if name not in names:
            hint = closest(name, names) or f"; the terms are {named(names)}"
            yield f"start {name}: no such term{hint}"
        elif isinstance(value, bool) or not isinstance(value, Real):
            numbers = False
            yield f"start {name}: {value!r} is not a number; write one such as 1e-3"
        elif not _finite(value):
            yield f"start {name}: {value} is not finite; write a number such as 1e-3"
    if of == "W" and start and numbers and not any(start.values()):
        yield "start: every coefficient is zero; give at least one, such as 1e-3"


def bounds_faults(bounds: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with bounds, a line each."""
    for parameter, ends in bounds.items():
        if parameter not in PARAMETERS:
            yield f"bounds {parameter}: no such parameter; bound {' or '.join(PARAMETERS)}"
        elif not isinstance(ends, Sequence) or len(ends) != 2 or not all(map(_finite, ends)):
            yield f"bounds {parameter}: {ends!r}; give two numbers, as in (-1, 1)"
        elif not ends[0] < ends[1]:
            yield f"bounds {parameter}: {ends[0]:g} is not below {ends[1]:g}; give the lower first"


def in_their_order(bounds: Mapping[str, Sequence[float]]) -> Bounds:
    """Bounds that have been found good, in the order of PARAMETERS."""
    return tuple(
        (parameter, float(bounds[parameter][0]), float(bounds[parameter][1]))
        for parameter in PARAMETERS
        if parameter in bounds
    )


def _finite(value: object) -> bool:
    """Whether it is a number that float64 holds."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
