"""The canonical form of an expression, made once; two terms are the same if theirs agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from functools import lru_cache

import sympy
from sympy import (
    Abs,
    Add,
    Expr,
    Float,
    Integer,
    Mul,
    Pow,
    Rational,
    Symbol,
    sign,
)

from rulesearch.errors import RuleSearchError
from rulesearch.notation.printing import text_of
from rulesearch.notation.refusals import (
    HIGHEST_POWER,
    NOT_FINITE,
    NOT_REAL,
    check_form,
    check_power,
    check_written,
    not_an_expression,
)
from rulesearch.notation.vocabulary import echo
from rulesearch.operators import (
    PRE,
    QUANTITIES,
    NeuronSum,
    index_of,
    sum_post,
    sum_pre,
)

#: An expression may not expand to more parts than this.
MOST_PARTS = 500
#: A power of a sum whose products, were all of one size, would outweigh it so many times is left as
#: it is: (1 - W)**20 multiplied out is no number of single precision where W is near 1.
MOST_CANCELLED = 2**10
#: A form that has not settled after so many rounds is taken as it is.
MOST_ROUNDS = 4

_POTENTIAL = sum_pre(QUANTITIES["W"].symbol * QUANTITIES["y_pre"].symbol)


def canonical(expression: Expr, written: str = "") -> Expr:
    """The canonical form.

    Floats become rational; products and powers are distributed over `+`, but for denominators,
    which would no longer separate into post and pre, and for high powers, whose parts would cancel;
    `exp(a + b)` is `exp(a)*exp(b)` where both are of one sign, and the Abs or sign of a product
    that of its factors, so that they do separate; sums are distributed, and
    factors without the bound index leave them; the sum of a constant is `n_pre` or `n_post` times
    it; where both sides are summed over, `sum_post` stands outside.

    Args:
        expression: over local quantities and the table of operators.
        written: what the messages echo; the expression itself where it is not given.

    Raises:
        RuleSearchError: an unknown symbol or operator, a power too high, an expression that would
            expand to too many parts, one that is zero, not finite or not real.

    Example:
        >>> from rulesearch.notation import W, sum_pre, y_post, y_pre
        >>> canonical(0.5 * sum_pre(y_post * (W * y_pre + 2)))
        n_pre*y_post + y_post*sum_pre(W*y_pre)/2
    """
    try:
        expression = sympy.sympify(expression, strict=True)
    except (sympy.SympifyError, TypeError, ValueError):
        raise RuleSearchError(not_an_expression(expression, written)) from None
    if not isinstance(expression, Expr):
        raise RuleSearchError(not_an_expression(expression, written))
    written = echo(written or text_of(expression))
    check_written(expression, written)
    try:
        form = _settled(expression)
    except RuleSearchError as error:
        raise RuleSearchError(f"{written} {error}") from None
    check_form(form, written)
    for power in form.atoms(Pow):  # products may have made higher ones than were written
        check_power(power.base, power.exp, written)
    return form


def by_potential(form: Expr) -> Expr:
    """A canonical form with `z_post` for `sum_pre(W*y_pre)`: the same but for biases and noise.

    Example:
        >>> from rulesearch.notation import W, e_post, sum_post, sum_pre, y_pre
        >>> by_potential(canonical(sum_post(e_post * sum_pre(W * y_pre))))
        sum_post(e_post*z_post)
    """
    return canonical(potential_at_hand(form)) if form.has(_POTENTIAL) else form


def potential_at_hand(form: Expr) -> Expr:
    """The form with `z_post` for `sum_pre(W*y_pre)`, and nothing else moved."""
    return form.xreplace({_POTENTIAL: QUANTITIES["z_post"].symbol})


def _settled(expression: Expr) -> Expr:
    """The canonical form of the canonical form, until it is its own.

    SymPy rewrites the arguments of what it is given: Abs(1/Max(a - b, 0)) holds -(b - a).
    """
    form = _canonical(expression)
    for _ in range(MOST_ROUNDS):
        if (again := _canonical(form)) == form:
            break
        form = again
    return form


@lru_cache(maxsize=65_536)
def _canonical(expression: Expr) -> Expr:
    # Kept: the terms of a pool share their parts, and a form is looked at again to see it settled.
    if isinstance(expression, Float):
        return Rational(repr(float(expression)))
    if not expression.args:
        return expression
    keep = expression.is_Mul and _cancelled(expression.args) > MOST_CANCELLED
    form = built(expression.func, *(_kept(a) if keep else _canonical(a) for a in expression.args))
    if form.has(*NOT_FINITE):
        return form
    if isinstance(form, Pow) and not form.exp.is_number:
        # 3**(x + 1e9) is 3**x times a number that would not come back.
        power = form.exp.as_coeff_Add()[0]
        if abs(power) > HIGHEST_POWER:
            raise RuleSearchError(f"has a power of {echo(str(power))}; at most {HIGHEST_POWER}")
    if isinstance(form, NeuronSum):
        return _add(summed(form.func, part) for part in Add.make_args(form.args[0]))
    return _expanded(form)


def built(function: Callable[..., Expr], *arguments: Expr) -> Expr:
    """The call or operation, where SymPy may refuse: it has no Max of what is never real.

    Raises:
        RuleSearchError: the end of a message; what was written goes in front.
    """
    try:
        return function(*arguments)
    except ValueError:
        raise RuleSearchError(NOT_REAL) from None


def _add(parts: Iterable[Expr]) -> Expr:
    total = Add(*parts)
    if (count := len(Add.make_args(total))) > MOST_PARTS:
        raise _too_many(count)
    return total


def _too_many(parts: int) -> RuleSearchError:
    return RuleSearchError(f"would expand to {parts} parts, at most {MOST_PARTS}; make it shorter")


def _expanded(form: Expr) -> Expr:
    """Products and whole powers distributed over `+`; the arguments are canonical already."""
    if form.is_Add:
        return _add(_expanded(part) for part in form.args)
    apart = factors_of(form)
    factors = [_factor(f, _cancelled(apart)) for f in apart]
    sums = [f.args for f in factors if f.is_Add]
    count = math.prod(len(s) for s in sums)
    if count > MOST_PARTS:
        raise _too_many(count)
    others = [f for f in factors if not f.is_Add]
    wider = _add(Mul(*others, *chosen) for chosen in itertools.product(*sums))
    # Factors may combine as they meet, sqrt(a + b)*sqrt(a + b): on until nothing moves.
    return form if wider == form else _expanded(wider)


def _is_power_of_sum(form: Expr) -> bool:
    whole = isinstance(form, Pow) and form.exp.is_Integer and form.exp > 0
    return bool(whole and form.base.is_Add)


def _cancelled(factors: Iterable[Expr]) -> int:
    """How many times all powers of sums together could outweigh their product, multiplied out."""
    powers = (factor for factor in factors if _is_power_of_sum(factor))
    return math.prod(len(power.base.args) ** int(power.exp) for power in powers)


def _kept(factor: Expr) -> Expr:
    """The canonical form of a factor, a power of a sum not multiplied out.

    So (1 - W)**10*(W - 1)**10 is (1 - W)**20.
    """
    if not _is_power_of_sum(factor):
        return _canonical(factor)
    base = _canonical(factor.base)
    if factor.exp % 2 == 0 and base.could_extract_minus_sign():
        base = -base
    return base**factor.exp


def _factor(form: Expr, cancelled: int) -> Expr:
    """A factor that is no product, rewritten so that equal ones look alike."""
    if isinstance(form, Pow) and form.base.is_Add:
        base, exponent = form.args
        if exponent.is_Integer and exponent > 0:
            terms, power = len(base.args), int(exponent)
            if (parts := math.comb(terms + power - 1, power)) > MOST_PARTS:
                raise _too_many(parts)
            if cancelled <= MOST_CANCELLED:
                return sympy.expand_multinomial(form, deep=False)
        content, base = base.primitive()  # 1/(2*a + 2) is 1/2*1/(a + 1)
        if exponent.is_Integer and base.could_extract_minus_sign():
            content, base = -content, -base
        return content**exponent * base**exponent
    if isinstance(form, (Abs, sign)):
        return _by_factor(form)
    return form


def _by_factor(form: Expr) -> Expr:
    """Abs and sign of a product, factor by factor, so that they leave sums and separate."""
    content, rest = form.args[0].primitive() if form.args[0].is_Add else (1, form.args[0])
    negative = rest.is_Add and rest.could_extract_minus_sign()  # sign(a - b) is -sign(b - a)
    real: list[Expr] = []
    other: list[Expr] = []
    for factor in Mul.make_args(-rest if negative else rest):
        # Where a factor may be imaginary, sqrt(W), SymPy's Abs of it is finite and ours is not.
        (real if factor.is_real else other).append(factor)
    scale = content if isinstance(form, Abs) else Integer(-1 if negative else 1)
    return Mul(scale, *(form.func(f) for f in real), form.func(Mul(*other)) if other else 1)


def factors_of(product: Expr) -> tuple[Expr, ...]:
    """The factors of a product, those of exp(a + b) and 2**(a + b) apart where that is safe.

    It is where `a` and `b` are of one sign whatever a network's quantities are: otherwise one of
    them may be infinite and the other 0, and the whole is neither. So exp(a)*exp(b) is exp(a + b).

    Example:
        >>> from rulesearch.notation import exp, y_post, y_pre
        >>> factors_of(-exp(y_post**2 + y_pre**2)), factors_of(exp(y_post) * exp(y_pre))
        ((-1, exp(y_post**2), exp(y_pre**2)), (exp(y_post + y_pre),))
    """
    plain: list[Expr] = []
    exponents: dict[Expr, list[Expr]] = {}
    for factor in Mul.make_args(product):
        base, exponent = factor.as_base_exp()
        if exponent.is_number:
            plain.append(factor)
        else:
            exponents.setdefault(base, []).extend(Add.make_args(exponent))
    for base, parts in exponents.items():
        number, rest = Add(*parts).as_coeff_Add()
        apart = Add.make_args(rest)
        plain.append(base**number)
        plain.extend(base**part for part in (apart if _of_one_sign(apart) else [rest]))
    return tuple(factor for factor in plain if factor != 1)


def _of_one_sign(parts: Iterable[Expr]) -> bool:
    seen = [*parts]
    return all(s.is_nonnegative for s in seen) or all(s.is_nonpositive for s in seen)


def summed(total: type[NeuronSum], part: Expr) -> Expr:
    """The sum of one part; what does not carry the bound index stands in front."""
    inner: list[Expr] = []
    outer: list[Expr] = []
    for factor in Mul.make_args(part):
        (inner if total.axis in index_of(factor) else outer).append(factor)
    front, summand = Mul(*outer), Mul(*inner)
    if not inner:
        return front * QUANTITIES[f"n_{total.axis}"].symbol
    if total is sum_pre and (exchanged := _exchanged(inner)) is not None:
        return front * exchanged
    return front * total(summand)


def _exchanged(factors: list[Expr]) -> Expr | None:
    """sum_pre(a*sum_post(b)) as sum_post(sum_pre(a*b)), where `a` has no post index to capture.

    So both orders look alike, and a cell's own inputs are seen in
    sum_pre(y_pre*sum_post(W*y_post)), which is sum_post(y_post*sum_pre(W*y_pre)).
    """
    sums = [f for f in factors if isinstance(f, sum_post)]
    others = [f for f in factors if not isinstance(f, sum_post)]
    if len(sums) != 1 or any(index_of(f) != PRE or f.has(NeuronSum) for f in others):
        return None
    return summed(sum_post, summed(sum_pre, Mul(*others, *sums[0].args)))


def degree(form: Expr) -> int | None:
    """Degree of a canonical form as a polynomial in the local quantities; None where it is none.

    Example:
        >>> from rulesearch.notation import W, sum_post, tanh, y_post
        >>> degree(y_post * sum_post(y_post * W)), degree(tanh(y_post))
        (3, None)
    """
    if form.is_number:
        return 0
    if isinstance(form, Symbol):
        return 0 if form.name in ("n_pre", "n_post") else 1
    if isinstance(form, Pow):
        base = degree(form.base)
        whole = isinstance(form.exp, Integer) and form.exp > 0
        return base * int(form.exp) if whole and base is not None else None
    inner = [degree(a) for a in form.args]
    known = [d for d in inner if d is not None]
    if len(known) < len(inner):
        return None
    if form.is_Add:
        return max(known)
    if form.is_Mul:
        return sum(known)
    return known[0] if isinstance(form, NeuronSum) else None
