"""Denominators by numbers that single precision holds.

Canonical forms have whole numbers: 1/(x + 1e-12)**3 is 1e36/(1e12*x + 1)**3 there, and 1e36 times
what stands beside it may be beyond float32, where nothing of what was written is.
"""

from __future__ import annotations

from sympy import Add, Expr, Mul, Pow
from sympy import log as logarithm

#: Numbers that are no larger than this stay where they are.
LARGE = 10**6


def evened(form: Expr) -> Expr:
    """The same with large numbers out of powers of sums, where they cancel what stands in front.

    Example:
        >>> from rulesearch.notation import canonical, y_post
        >>> evened(canonical(1 / (y_post**2 + 1e-8)))
        1/(y_post**2 + 1/100000000)
        >>> evened(canonical(1 / (y_post**2 + 1e-3))), evened(canonical(1 / (y_post + 1e7)))
        (1000/(1000*y_post**2 + 1), 1/(y_post + 10000000))
    """
    found: Expr = form.replace(lambda part: part.is_Mul, _divided)
    return found


def _divided(product: Expr) -> Expr:
    front, rest = product.as_coeff_Mul()
    factors = list(Mul.make_args(rest))
    for number, factor in enumerate(factors):
        if not (isinstance(factor, Pow) and factor.base.is_Add and factor.exp.is_number):
            continue
        most = _largest(factor.base)
        moved = front * most**factor.exp
        if most > LARGE and _far(moved) < _far(front):
            front = moved
            even = Add(*(part / most for part in factor.base.args))
            factors[number] = even**factor.exp
    return Mul(front, *factors)


def _largest(total: Expr) -> Expr:
    """The largest number that a part of a sum is multiplied by."""
    return max(abs(part.as_coeff_Mul()[0]) for part in total.args)


def _far(number: Expr) -> float:
    """How far a number is from 1, by its size."""
    return float(abs(logarithm(abs(number)).evalf()))
