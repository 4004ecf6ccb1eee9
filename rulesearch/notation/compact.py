"""Canonical forms as a person would write them, which is also how they are computed.

Differences are taken before they are squared or divided. In floating point a**2 - 2*a*b + b**2 may
be negative, and is little but rounding where `a` is near `b`: the variance of an activity that
hardly changes had a root that is no number. And a/small - b/small is what rounding leaves of two
large numbers, where (a - b)/small is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sympy import Add, Expr, Mul, Rational, sqrt

from rulesearch.notation.evening import evened
from rulesearch.operators import POST, PRE, SCALAR, SYNAPSE, Index, NeuronSum, index_of

#: Sums of more parts than this stay as they are.
MOST = 60
_Powers = frozenset[tuple[Expr, Expr]]


def compact(form: Expr, *, apart: bool = False) -> Expr:
    """A canonical form as a person would write it, and as it is computed: the same expression.

    Args:
        form: canonical.
        apart: see `gathered`.

    Example:
        >>> from rulesearch.notation import canonical, e_post, y_post
        >>> compact(canonical((y_post - e_post) / (y_post**2 + 0.01)))
        (-e_post + y_post)/(y_post**2 + 1/100)
    """
    found = evened(gathered(form, apart=apart))
    # Brackets with the sign that says most in few signs; kernels have each with one alone.
    return found if apart else found.replace(lambda part: part.is_Mul, _turned)


def _turned(product: Expr) -> Expr:
    """A product without its minus, where a bracket may have it."""
    number, rest = product.as_coeff_Mul()
    factors = Mul.make_args(rest)
    brackets = [factor for factor in factors if factor.is_Add]
    if number >= 0 or len(brackets) != 1 or len(factors) == 1:
        return product
    return Mul(-number, -brackets[0], *(factor for factor in factors if not factor.is_Add))


def gathered(form: Expr, *, apart: bool = True) -> Expr:
    """The same with squares of sums and fractions of sums found again, also in functions and sums.

    Args:
        form: canonical.
        apart: whether its parts are lowered one by one, so that what joins pre and post is left to
            them.

    Example:
        >>> from rulesearch.notation import canonical, e_post, y_post, y_pre
        >>> gathered(canonical(1 / ((y_post - e_post) ** 2 + 2)), apart=False)
        1/((e_post - y_post)**2 + 2)
        >>> gathered(canonical((y_post - y_pre) ** 2))
        y_post**2 - 2*y_post*y_pre + y_pre**2
        >>> gathered(canonical(y_pre * (y_post - e_post) / (y_post**2 + 1)))
        -y_pre*(e_post - y_post)/(y_post**2 + 1)
    """
    if not form.args:
        return form
    inside = apart and (form.is_Add or form.is_Mul)
    form = form.func(*(gathered(argument, apart=inside) for argument in form.args))
    return _in_summands(_in_sum(form, apart)) if form.is_Add else form


def _in_sum(total: Expr, apart: bool) -> Expr:
    return _divided(_squared(total, apart), apart)


def _divided(total: Expr, apart: bool) -> Expr:
    """Parts with one divisor, and all else alike but what is of its index set, as one fraction."""
    parts = [*Add.make_args(total)]
    sides: list[Index | None] = [PRE, POST, SCALAR, SYNAPSE]
    for side in sides if apart else [*sides, None]:
        brackets: dict[Expr, list[Expr]] = {}
        for part in parts:
            front, rest = _front(part, side)
            brackets.setdefault(front, []).append(rest)
        parts = [
            part for front, rests in brackets.items() for part in _fractions(front, rests, side)
        ]
    return Add(*parts)


def _front(part: Expr, side: Index | None) -> tuple[Expr, Expr]:
    """A part as what may stand before a bracket, and the numbers and quantities of a side."""
    front: list[Expr] = []
    rest: list[Expr] = []
    for factor in Mul.make_args(part):
        base, power = factor.as_base_exp()
        plain = base.is_Symbol and power.is_Integer and power > 0
        here = plain and (side is None or index_of(factor) == side)
        (rest if factor.is_number or here else front).append(factor)
    return Mul(*front), Mul(*rest)


def _fractions(front: Expr, rests: Sequence[Expr], side: Index | None) -> Sequence[Expr]:
    divides = any(
        power.is_negative and base.free_symbols and (side is None or index_of(base) == side)
        for base, power in (factor.as_base_exp() for factor in Mul.make_args(front))
    )
    if len(rests) == 1 or not divides:
        return [front * rest for rest in rests]
    number, bracket = Add(*rests).primitive()
    if bracket.could_extract_minus_sign():
        number, bracket = -number, -bracket
    return [number * front * bracket]


def _squared(total: Expr, apart: bool) -> Expr:
    parts = Add.make_args(total)
    if not 3 <= len(parts) <= MOST:
        return total
    left: dict[_Powers, Expr] = {}
    for part in parts:
        coefficient, rest = part.as_coeff_Mul()
        left[_powers(rest)] = coefficient
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


def _powers(product: Expr) -> _Powers:
    """Its factors, each with its power; one that is not whole belongs to the factor."""
    pairs = (factor.as_base_exp() for factor in Mul.make_args(product))
    return frozenset((b, p) if p.is_Integer else (b**p, Rational(1)) for b, p in pairs)


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


def _in_summands(total: Expr) -> Expr:
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
        whole = _in_sum(Add(*each), True)
        for summand in each if whole == Add(*each) else Add.make_args(whole):
            number, rest = summand.as_coeff_Mul()
            kept.append(number * front * function(rest))
    return Add(*kept)
