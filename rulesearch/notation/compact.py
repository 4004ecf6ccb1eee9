"""Canonical forms as a person would write them, which is also how they are computed.

Differences are taken before they are squared or divided. In floating point a**2 - 2*a*b + b**2 may
be negative, and is little but rounding where `a` is near `b`: the variance of an activity that
hardly changes had a root that is no number. And a/small - b/small is what rounding leaves of two
large numbers, where (a - b)/small is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import sympy
from sympy import Abs, Add, Dummy, Expr, Mul, Rational, sqrt

from rulesearch.notation.canonical import summed
from rulesearch.notation.evening import evened
from rulesearch.operators import (
    POST,
    PRE,
    QUANTITIES,
    SCALAR,
    SYNAPSE,
    Index,
    NeuronSum,
    OwnSymbol,
    index_of,
)

#: In sums of more parts than this no squares are looked for,
MOST = 60
#: and no products in those of more.
FEW = 24
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
    """A product without its minus where a bracket may have it, and traces taken from the new."""
    number, rest = product.as_coeff_Mul()
    factors = list(Mul.make_args(rest))
    brackets = [n for n, factor in enumerate(factors) if factor.is_Add]
    if not brackets or len(factors) == 1:
        return product
    turned = [n for n in brackets if _begins_with_own(factors[n])]
    if (len(turned) % 2 == 1) != (number < 0):
        turned = brackets[:1] if number < 0 else []
    if len(turned) % 2:
        number = -number
    for n in turned:
        factors[n] = -factors[n]
    return Mul(number, *factors)


def _begins_with_own(bracket: Expr) -> bool:
    """Whether one's own quantities stand in it with a plus, and those of the table with a minus."""
    return all(
        part.has(OwnSymbol) != bool(part.could_extract_minus_sign()) for part in bracket.args
    )


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
    product = _factored(total, apart)
    if product != total:
        return product
    return _divided(_spread(_squared(total, apart)), apart)


def _factored(total: Expr, apart: bool) -> Expr:
    """The sum as a product, where that has a power of a bracket, or two of them."""
    parts = Add.make_args(total)
    if not 3 <= len(parts) <= FEW:
        return total
    # What is no quantity to a whole power is one of its own to SymPy's polynomials.
    names: dict[Expr, Expr] = {}
    plain: list[Expr] = []
    for part in parts:
        number, rest = part.as_coeff_Mul()
        whole = [(b, p) if p > 0 else (1 / b, -p) for b, p in _powers(rest)]
        whole = [(b, p) if p.is_Integer else (b**p, Rational(1)) for b, p in whole]
        plain.append(number * Mul(*(names.setdefault(b, Dummy()) ** p for b, p in whole)))
    number, found = sympy.factor_list(Add(*plain))
    meant = {name: base for base, name in names.items()}
    factors = [(factor.xreplace(meant), power) for factor, power in found]
    brackets = [(factor, power) for factor, power in factors if factor.is_Add]
    if sum(power for _, power in brackets) < 2:
        return total
    if apart and not all(_of_one_side(bracket) for bracket, _ in brackets):
        return total
    result = [number]
    for factor, power in factors:
        turned = factor.is_Add and factor.could_extract_minus_sign()
        one = -factor if turned else factor
        result += [
            (-1 if turned else 1) ** power,
            (_in_sum(one, apart) if one.is_Add else one) ** power,
        ]
    return Mul(*result)


def _of_one_side(bracket: Expr) -> bool:
    return len({index_of(part) for part in bracket.args if not part.is_number}) == 1


def _spread(total: Expr) -> Expr:
    """The spread of a layer: sum(x**2) - sum(x)**2/n is sum((x - sum(x)/n)**2)."""
    parts = [*Add.make_args(total)]
    for part in [*parts]:
        for factor in Mul.make_args(part):
            if not isinstance(factor, NeuronSum) or part not in parts:
                continue
            count = QUANTITIES[f"n_{factor.axis}"].symbol
            root = Mul(*(base ** (power / 2) for base, power in _powers(factor.args[0])))
            whole = factor.func(root)
            other = -part / factor * whole**2 / count
            if _powers(root) and root**2 == factor.args[0] and other in parts:
                parts.remove(part)
                parts.remove(other)
                parts.append(part / factor * factor.func((root - whole / count) ** 2))
    return Add(*parts)


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
    sizes = frozenset(size.args[0] for size in total.atoms(Abs))
    left: dict[_Powers, Expr] = {}
    for part in parts:
        number = Mul(*(factor for factor in Mul.make_args(part) if factor.is_number))
        left[_powers(part / number, sizes)] = number
    squares: list[Expr] = []
    for first in [*left]:
        signs, used = {first: 1}, {first}
        for other in [*left]:
            sign = _sign(left, first, other, apart)
            new = {other, *(_between(one, other) for one in signs)}
            if new & used or len(new) <= len(signs):
                continue
            if all(_sign(left, one, other, apart) == sign * own != 0 for one, own in signs.items()):
                signs[other] = sign
                used |= new
        if first not in left or len(signs) == 1:
            continue
        squares.append(_square(left, signs))
        for one in used:
            del left[one]
    rest = (number * _product(powers) for powers, number in left.items())
    return Add(*squares, *rest)


def _powers(product: Expr, sizes: Collection[Expr] = ()) -> _Powers:
    """Its factors, each with its power, a number; what else is in a power belongs to the factor.

    A square is one of the size, Abs, where that is among those given.
    """
    found: set[tuple[Expr, Expr]] = set()
    for factor in Mul.make_args(product):
        base, power = factor.as_base_exp()
        number, rest = power.as_coeff_Mul()
        if rest != 1:
            base, power = base**rest, number  # exp(2*x) is the square of exp(x)
        elif base in sizes and power % 2 == 0:
            base = Abs(base)
        if factor != 1:
            found.add((base, power))
    return frozenset(found)


def _sign(left: Mapping[_Powers, Expr], one: _Powers, other: _Powers, apart: bool) -> int:
    """The sign of what stands between two squares in that of their sum; 0 if it is not there."""
    between = _between(one, other)
    if len({one, other, between}) < 3 or not {one, other, between} <= left.keys():
        return 0
    a, b, ab = left[one], left[other], left[between]
    if a * b < 0 or ab**2 != 4 * a * b:
        return 0
    sides = [index_of(_product(powers)) for powers in (one, other)]
    if apart and sides[0] | sides[1] not in sides:
        return 0
    return 1 if ab * a > 0 else -1


def _between(one: _Powers, other: _Powers) -> _Powers:
    """What is multiplied in the root of the product of both."""
    powers: defaultdict[Expr, Expr] = defaultdict(lambda: Rational(0))
    for base, power in (*one, *other):
        powers[base] += power / 2
    return frozenset(powers.items())


def _square(left: Mapping[_Powers, Expr], signs: Mapping[_Powers, int]) -> Expr:
    """The square of the sum of members whose products are all there, what they share in front."""
    each = [dict(powers) for powers in signs]
    shared = {b: min(e.get(b, Rational(0)) for e in each) for e in each for b in e}
    number = left[next(iter(signs))]
    base = Add(
        *(
            sign
            * sqrt(left[powers] / number)
            * Mul(*(b ** ((own.get(b, 0) - low) / 2) for b, low in shared.items()))
            for (powers, sign), own in zip(signs.items(), each, strict=True)
        )
    )
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
            kept.append(number * front * summed(function, rest))
    return Add(*kept)
