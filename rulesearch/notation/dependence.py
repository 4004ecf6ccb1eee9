"""Terms that are sums of others: by exact arithmetic on what their canonical forms multiply out to.

Only this refuses a pool; what values in random layers say is a note (`measured`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from sympy import ZZ, Expr
from sympy.polys.matrices import DomainMatrix

from rulesearch.notation.comparison import (
    CANCELLED,
    DIGITS,
    coefficients,
    compared,
    quotient,
)
from rulesearch.operators import Parameter

#: Below 2**31, so that the product of two remainders is a 64-bit integer.
PRIME = 2**31 - 1
#: No more names than this stand in one message.
MOST_NAMED = 5

#: What one coefficient multiplies: parameters, and the expression of each one's change.
Updates = tuple[tuple[Parameter, Expr], ...]
#: A product in the change of a parameter.
Product = tuple[Parameter, Expr]
Row = dict[Product, Any]
Weights = dict[str, Any]


def updates_of(change: Expr | Updates) -> Updates:
    """The changes that one coefficient multiplies; an expression alone is a change of W."""
    return change if isinstance(change, tuple) else (("W", change),)


def dependences(
    groups: Mapping[str, Mapping[str, Expr | Updates]],
    known: Iterable[Mapping[str, Expr | Updates]] = (),
) -> Iterator[str]:
    """What is to be said of terms that are sums of others where they meet, a line each.

    Args:
        groups: where terms meet, as in " in layer 2" ("" for everywhere) -> name -> expression, or
            all that its coefficient multiplies.
        known: groups that are independent, so that what lies within one of them is too.
    """
    independent = [frozenset(group.items()) for group in known]
    said = set()
    for place, group in groups.items():
        terms = frozenset(group.items())
        if any(terms <= larger for larger in independent):
            continue
        for name, weights in sums_of_others(group):
            if (pair := (name, frozenset(weights))) not in said:
                said.add(pair)
                yield _line(name, weights, place)
        independent.append(terms)


def sums_of_others(group: Mapping[str, Expr | Updates]) -> Iterator[tuple[str, dict[str, float]]]:
    """The terms that are sums of those before them, each with the others' coefficients.

    Exact: linear dependence over the distinct products of the canonical forms, in fractions, or
    to fifty digits where a coefficient is irrational. Changes of different parameters have no
    product in common.

    Example:
        >>> from rulesearch.notation import W, e_pre, y_pre
        >>> list(sums_of_others({"A": W, "B": y_pre, "C": e_pre, "D": 2 * W - y_pre}))
        [('D', {'A': 2.0, 'B': -1.0})]
    """
    changes = {name: updates_of(change) for name, change in group.items()}
    forms = {name: compared(updates[0][1]) for name, updates in changes.items()}
    rows = _entangled({name: _products(updates) for name, updates in changes.items()})
    if all(n.is_Rational for row in rows.values() for n in row.values()):
        exact = {name: _row(row, lambda n: Fraction(n.p, n.q)) for name, row in rows.items()}
        reduced = _dependent(exact)
    else:
        digits = {name: _row(row, lambda n: n.evalf(DIGITS)) for name, row in rows.items()}
        reduced = _reduced(digits)
    for name, weights in reduced:
        ours = forms[name].factor
        yield name, {n: float(w) * float(ours / forms[n].factor) for n, w in weights.items()}


def _products(updates: Updates) -> Row:
    """The products of all changes, each with its number over the factor of the first change."""
    (parameter, first), *others = updates
    form = compared(first)
    row: Row = {(parameter, p): n for p, n in coefficients(form.form).items()}
    for parameter, expression in others:
        other = compared(expression)
        by = quotient(other.factor, form.factor)
        row |= {(parameter, p): n * by for p, n in coefficients(other.form).items()}
    return row


def _row(row: Row, number: Any) -> Row:
    return {product: number(n) for product, n in row.items()}


def _entangled(rows: Mapping[str, Row]) -> dict[str, Row]:
    """The terms that may be in a dependence: a product that one term alone has leaves it out."""
    left = dict(rows)
    count = Counter(product for row in left.values() for product in row)
    while alone := [name for name, row in left.items() if any(count[p] == 1 for p in row)]:
        for name in alone:
            count.subtract(left.pop(name).keys())
    return left


def _dependent(rows: Mapping[str, Row]) -> list[tuple[str, Weights]]:
    """The rows of fractions that are sums of those before them, each with their weights.

    Modulo a prime first, where numbers stay small. There rows may depend on each other that do
    not, but none are independent that do: what is found must be as many when made exact.
    """
    suspects, expected = _suspects(rows)
    found = _exact({name: rows[name] for name in rows if name in suspects})
    return found if len(found) == expected else _exact(rows)


def _exact(rows: Mapping[str, Row]) -> list[tuple[str, Weights]]:
    """The rows of fractions that are sums of those before them, by elimination in whole numbers."""
    names = list(rows)
    products = {p: i for i, p in enumerate(dict.fromkeys(p for r in rows.values() for p in r))}
    whole = [math.lcm(*(n.denominator for n in row.values())) for row in rows.values()]
    entries: dict[int, dict[int, Any]] = {}
    for column, row in enumerate(rows.values()):
        for product, n in row.items():
            entries.setdefault(products[product], {})[column] = ZZ(int(n * whole[column]))
    matrix = DomainMatrix(entries, (len(products), len(names)), ZZ)
    reduced, by, pivots = matrix.rref_den(method="FF")
    rest = reduced.to_dok() if len(pivots) < len(names) else {}
    found: dict[int, Weights] = {j: {} for j in range(len(names)) if j not in set(pivots)}
    for (i, j), n in sorted(rest.items()):
        if j in found:
            share = Fraction(int(n), int(by)) * Fraction(whole[pivots[i]], whole[j])
            found[j][names[pivots[i]]] = share
    return [(names[j], weights) for j, weights in found.items()]


def _suspects(rows: Mapping[str, Row]) -> tuple[set[str], int]:
    """The rows that are in a dependence modulo PRIME, and how many are sums of those before."""
    products = {
        product: i for i, product in enumerate(dict.fromkeys(p for r in rows.values() for p in r))
    }
    names = list(rows)
    matrix = np.zeros((len(products), len(rows)), dtype=np.int64)
    for column, row in enumerate(rows.values()):
        whole = math.lcm(*(n.denominator for n in row.values()))
        for product, n in row.items():
            matrix[products[product], column] = int(n * whole) % PRIME
    pivots: list[int] = []
    dependent: list[int] = []
    for column in range(len(names)):
        rank = len(pivots)
        below = np.flatnonzero(matrix[rank:, column])
        if not below.size:
            dependent.append(column)
            continue
        matrix[[rank, rank + below[0]]] = matrix[[rank + below[0], rank]]
        inverse = pow(int(matrix[rank, column]), -1, PRIME)
        matrix[rank] = matrix[rank] * inverse % PRIME
        others = np.flatnonzero(matrix[:, column])
        at = np.ix_(others[others != rank], np.flatnonzero(matrix[rank]))
        matrix[at] = (matrix[at] - matrix[at[0], column] * matrix[rank, at[1]]) % PRIME
        pivots.append(column)
    used = np.flatnonzero((matrix[: len(pivots), dependent] != 0).sum(axis=1))
    columns = [*dependent, *(pivots[i] for i in used)]
    return {names[i] for i in columns}, len(dependent)


def _reduced(rows: Mapping[str, Row]) -> list[tuple[str, Weights]]:
    """Gauss' elimination to many digits: the rows of which nothing is left, as sums of others."""
    pivots: dict[Product, tuple[Row, Weights]] = {}
    found = []
    for name, row in rows.items():
        left, weights = dict(row), {name: 1}
        for product, (other, made_of) in pivots.items():
            if product in left:
                times = left[product] / other[product]
                _subtract(left, other, times)
                _subtract(weights, made_of, times)
                left.pop(product, None)
        if left:
            pivot = max(left, key=lambda product: abs(left[product]))
            pivots[pivot] = (left, weights)
        else:
            found.append((name, {n: -w for n, w in weights.items() if n != name and w}))
    return found


def _subtract(row: dict[Any, Any], other: Mapping[Any, Any], times: Any) -> None:
    """Row -= times*other, without the entries that cancel."""
    for key, value in other.items():
        before, change = row.get(key, 0), times * value
        after = before - change
        if abs(after) <= CANCELLED * abs(change):
            row.pop(key, None)
        else:
            row[key] = after


def _line(last: str, weights: Mapping[str, float], place: str) -> str:
    there = " there" if place else ""
    names = [last, *weights]
    few = dict(list(weights.items())[: MOST_NAMED - 1])
    more = len(weights) - len(few)
    which = f"leave out one of {', '.join(names)}{there}"
    if more:
        which = f"leave out one of them{there}"
    rest = f" and {more} more" if more else ""
    return f"term {last}: adds nothing to the pool{place}, {last} = {equation(few)}{rest}; {which}"


def equation(weights: Mapping[str, float]) -> str:
    """A sum of terms as text.

    Example:
        >>> equation({"F0": 1.0, "F3": -2.0, "F4": 0.125})
        'F0 - 2*F3 + 0.125*F4'
    """
    right = ""
    for name, weight in weights.items():
        size = f"{abs(weight):.6g}"
        factor = name if size == "1" else f"{size}*{name}"
        if right:
            right += f" - {factor}" if weight < 0 else f" + {factor}"
        else:
            right = f"-{factor}" if weight < 0 else factor
    return right
