"""Divisors with the numbers that were written, as far as they can be told.

Canonical forms have whole numbers: 1/(x + 1e-12)**3 is 1e36/(1e12*x + 1)**3 there, and 1e36 times
what stands beside it may be beyond float32, where nothing of what was written is. And a person who
has written (x - m)/(v + 0.01) does not look for 100 times anything.
"""

from __future__ import annotations

from sympy import Add, Expr, Mul, Pow
from sympy import log as logarithm

#: Numbers that are larger than this leave divisors whatever else they stand with.
LARGE = 10**6


def evened(form: Expr) -> Expr:
    """The same with numbers out of powers of sums, where they cancel what stands in front.

    Example:
        >>> from rulesearch.notation import canonical, y_post
        >>> evened(canonical(1 / (y_post**2 + 1e-8)))
        1/(y_post**2 + 1/100000000)
        >>> evened(canonical(1 / (y_post**2 + 1e-3))), evened(canonical(1 / (y_post + 1e7)))
        (1/(y_post**2 + 1/1000), 1/(y_post + 10000000))
        >>> evened(canonical(3 / (2 * y_post + 5)))
        3/(2*y_post + 5)
    """
    found: Expr = form.replace(lambda part: part.is_Mul, _divided)
    return found


def _divided(product: Expr) -> Expr:
    factors = list(Mul.make_args(product))
    front = Mul(*(factor for factor in factors if factor.is_number))
    others = [factor for factor in factors if not factor.is_number]
    for number, factor in enumerate(others):
        if not (isinstance(factor, Pow) and factor.base.is_Add and factor.exp.is_number):
            continue
        size, most = factor.base.as_coeff_Add()[0], _largest(factor.base)
        moved = front * most**factor.exp
        # Numbers that come of a decimal, 0.01 beside x, cancel whole, or are powers of ten.
        whole = most > abs(size) and (moved.is_Integer or most % 10 == 0)
        if (most > LARGE or whole) and _far(moved) < _far(front):
            front = moved
            even = Add(*(part / most for part in factor.base.args))
            others[number] = even**factor.exp
    return Mul(front, *others)


def _largest(total: Expr) -> Expr:
    """The largest number that a part of a sum is multiplied by."""
    return max(abs(part.as_coeff_Mul()[0]) for part in total.args)


def _far(number: Expr) -> float:
    """How far a number is from 1, by its size."""
    return float(abs(logarithm(abs(number)).evalf()))
