"""Squares of sums as squares, which canonical forms have multiplied out.

In floating point a**2 - 2*a*b + b**2 may be negative, and is little but rounding where `a` is near
`b`: the variance of an activity that hardly changes had a root that is no number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sympy import Add, Expr, Mul, Rational, sqrt

from rulesearch.operators import NeuronSum, index_of

#: Sums of more parts than this stay as they are.
MOST = 60
_Powers = frozenset[tuple[Expr, Expr]]


def completed(form: Expr, *, apart: bool = True) -> Expr:
    """The same with squares of sums found again, in arguments of functions and in sums too.

    Args:
        form: canonical.
        apart: whether its parts are lowered one by one, so that a square which joins pre and post
            is left to them.

    Example:
        >>> from rulesearch.notation import canonical, e_post, y_post, y_pre
        >>> completed(canonical(1 / ((y_post - e_post) ** 2 + 2)), apart=False)
        1/((e_post - y_post)**2 + 2)
        >>> completed(canonical((y_post - y_pre) ** 2))
        y_post**2 - 2*y_post*y_pre + y_pre**2
    """
    if not form.args:
        return form
    inside = apart and (form.is_Add or form.is_Mul)
    form = form.func(*(completed(argument, apart=inside) for argument in form.args))
    return _of_sums(_squared(form, apart)) if form.is_Add else form


def _squared(total: Expr, apart: bool) -> Expr:
    parts = Add.make_args(total)
    if not 3 <= len(parts) <= MOST:
        return total
    left: dict[_Powers, Expr] = {}
    for part in parts:
        coefficient, rest = part.as_coeff_Mul()
        left[frozenset(rest.as_powers_dict().items())] = coefficient
    squares: list[Expr] = []
    for first in [*left]:
        members = [first]
        for other in [*left]:
            if all(other != one and _cross(left, one, other, apart) for one in members):
                members.append(other)
        if first not in left or len(members) == 1:
            continue
        squares.append(_square(left, members))
        for number, one in enumerate(members):
            for other in members[number + 1 :]:
                del left[_between(one, other)]
            del left[one]
    rest = (number * _product(powers) for powers, number in left.items())
    return Add(*squares, *rest)


def _cross(left: Mapping[_Powers, Expr], one: _Powers, other: _Powers, apart: bool) -> bool:
    """Whether what stands between two squares in the square of their sum is there."""
    between = _between(one, other)
    if not {one, other, between} <= left.keys():
        return False
    a, b = left[one], left[other]
    fits = a * b > 0 and left[between] ** 2 == 4 * a * b and isinstance(sqrt(b / a), Rational)
    if not (fits and apart):
        return bool(fits)
    sides = [index_of(_product(powers)) for powers in (one, other)]
    return sides[0] | sides[1] in sides


def _between(one: _Powers, other: _Powers) -> _Powers:
    """What is multiplied in the root of the product of both."""
    powers: defaultdict[Expr, Expr] = defaultdict(lambda: Rational(0))
    for base, power in (*one, *other):
        powers[base] += power / 2
    return frozenset(powers.items())


def _square(left: Mapping[_Powers, Expr], members: Sequence[_Powers]) -> Expr:
    """The square of the sum of members whose products are all there, what they share in front."""
    first, *others = members
    each = [dict(powers) for powers in members]
    shared = {b: min(e.get(b, Rational(0)) for e in each) for e in each for b in e}
    number = left[first]

    def root(powers: _Powers) -> Expr:
        own = dict(powers)
        return Mul(*(b ** ((own.get(b, 0) - low) / 2) for b, low in shared.items()))

    base = root(first)
    for other in others:
        size = sqrt(left[other] / number)
        base += (size if left[_between(first, other)] * number > 0 else -size) * root(other)
    if base.could_extract_minus_sign():
        base = -base
    return number * _product(frozenset(shared.items())) * base**2


def _product(powers: _Powers) -> Expr:
    return Mul(*(base**power for base, power in powers))


def _of_sums(total: Expr) -> Expr:
    """The same in summands: sum(a**2) - 2*sum(a*b) + sum(b**2) is sum((a - b)**2)."""
    kept: list[Expr] = []
    summands: defaultdict[tuple[Expr, type[NeuronSum]], list[Expr]] = defaultdict(list)
    for part in Add.make_args(total):
        factors = Mul.make_args(part)
        sums = [factor for factor in factors if isinstance(factor, NeuronSum)]
        if len(sums) != 1:
            kept.append(part)
            continue
        number, front = Mul(*(factor for factor in factors if factor is not sums[0])).as_coeff_Mul()
        summands[front, type(sums[0])].append(number * sums[0].args[0])
    for (front, function), each in summands.items():
        joined = _squared(Add(*each), True)
        whole = each if joined == Add(*each) else Add.make_args(joined)
        for summand in whole:
            number, rest = summand.as_coeff_Mul()
            kept.append(number * front * function(rest))
    return Add(*kept)
