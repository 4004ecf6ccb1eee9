"""Sums in denominators by numbers that single precision holds.

Canonical forms have whole numbers: 1/(x + 1e-12)**3 is 1e36/(1e12*x + 1)**3 there. As it was
written it is harmless in float32, and so it is computed.
"""

from __future__ import annotations

from sympy import Add, Expr, Mul, Pow

#: Numbers that are no larger than this stay where they are.
LARGE = 10**6


def evened(form: Expr) -> Expr:
    """The same with large numbers out of powers of sums, as far as they cancel or stand in front.

    Example:
        >>> from rulesearch.notation import canonical, y_post
        >>> evened(canonical(1 / (y_post**2 + 1e-8)))
        1/(y_post**2 + 1/100000000)
        >>> evened(canonical(1 / (y_post**2 + 1e-3)))
        1000/(1000*y_post**2 + 1)
    """
    found: Expr = form.replace(_is_large, _divided)
    return found


def _is_large(part: Expr) -> bool:
    return bool(
        isinstance(part, Pow)
        and part.base.is_Add
        and part.exp.is_number
        and _largest(part.base) > LARGE
    )


def _divided(power: Expr) -> Expr:
    base, exponent = power.args
    most = _largest(base)
    return Mul(most**exponent, Add(*(part / most for part in base.args)) ** exponent)


def _largest(total: Expr) -> Expr:
    """The largest number that a part of a sum is multiplied by."""
    return max(abs(part.as_coeff_Mul()[0]) for part in total.args)
