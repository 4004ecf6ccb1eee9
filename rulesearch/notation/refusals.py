"""What a term may not be, by its expression as written and by its canonical form."""

from __future__ import annotations

import math
from collections.abc import Iterator

import sympy
from sympy import Expr, Function, Heaviside, Integer, Pow, Rational, Symbol, tanh

from rulesearch.errors import RuleSearchError
from rulesearch.notation.printing import text_of
from rulesearch.notation.vocabulary import echo, unknown_operator, unknown_symbol
from rulesearch.operators import NeuronSum, operator_of, row_of, stranger, written_size

#: An exponent is no larger than this.
HIGHEST_POWER = 32
#: No more tanh than this stand around what may not be real, sqrt(W).
MOST_TANH = 4
#: No more powers stand in an exponent that is a number, pi**(pi**pi).
MOST_TOWER = 4
#: Digits of a numerator or denominator: what a float64 holds.
MOST_DIGITS = 300

NOT_FINITE = (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo)
_WITHOUT_LIMIT = "is not finite; take the division by zero out of it"
NOT_REAL = "is not real; use only what is real for real quantities"


def not_an_expression(value: object, written: str) -> str:
    """What is said of a value that SymPy reads as no expression."""
    return (
        f"{echo(written or str(value))} is not an expression; write one such as -e_post*y_pre, "
        "with Heaviside(x) for the condition x > 0"
    )


def check_written(expression: Expr, written: str) -> None:
    """Refuse an expression for what it is made of, before it is worked out.

    Raises:
        RuleSearchError: an unknown symbol or operator, or as of `check_power`, `check_calls` and
            `check_tanh`.
    """
    if (part := stranger(expression)) is not None:
        name = part.func.__name__
        if name == "Heaviside":
            raise RuleSearchError(
                f"{part} in {written}: Heaviside is 1/2 at 0 here; write Heaviside({part.args[0]})"
            )
        raise RuleSearchError(unknown_operator(name, written))
    for symbol in sorted(expression.free_symbols, key=str):
        quantity = row_of(symbol)
        if quantity is None:
            raise RuleSearchError(unknown_symbol(symbol.name, written))
        if symbol != quantity.symbol:
            raise RuleSearchError(
                f"{symbol} in {written} is a symbol of its own; "
                f"write from rulesearch.notation import {symbol}"
            )
    for power in sorted(expression.atoms(Pow), key=str):
        check_power(power.base, power.exp, written)
    check_calls(expression, written)
    check_tanh(expression, written)


def check_tanh(part: Expr, written: str) -> int:
    """How many tanh stand around what may not be real; -1 where everything in a part is real.

    SymPy takes a tanh of what may be complex apart to see whether it is real, which takes four
    times as long for every tanh around it.

    Raises:
        RuleSearchError: more than MOST_TANH of them.
    """
    levels = max((check_tanh(a, written) for a in part.args), default=-1)
    if isinstance(part, tanh) and levels >= 0:
        levels += 1
        if levels > MOST_TANH:
            raise RuleSearchError(
                f"{written} has more than {MOST_TANH} tanh around what may not be real; "
                "keep roots and logarithms within their domain by Max or Abs"
            )
    real = levels >= 0 or part.is_real or isinstance(part, (NeuronSum, Heaviside))
    return levels if real else 0


def check_calls(expression: Expr, written: str) -> None:
    """Refuse powers of numbers in the definitions of what is called, before SymPy works them out.

    Raises:
        RuleSearchError: as of `check_power`.
    """
    for call in sorted(expression.atoms(Function), key=written_size):
        row = operator_of(call.func)
        if row is None or row.definition is None:
            continue
        places = [Symbol(f"x{number}", real=True) for number in range(len(call.args))]
        body = row.definition(*places)
        if not any(a.is_number for a in call.args):
            check_calls(body, written)
            continue
        given = dict(zip(places, call.args, strict=True))
        for part in sorted(body.atoms(Pow, Function), key=written_size):
            inner = [a.xreplace(given) for a in part.args]  # what is in it has been checked
            if isinstance(part, Pow) and inner[1].is_number:
                check_power(inner[0], inner[1], written)
            elif isinstance(part, Function):
                check_calls(part.func(*inner), written)


def check_power(base: Expr, exponent: Expr, written: str) -> None:
    """Refuse a power that a term cannot have, before SymPy works it out.

    Raises:
        RuleSearchError: an exponent that is no real number of at most HIGHEST_POWER, unless the
            base is positive whatever the quantities; or a number of too many digits.
    """
    if not exponent.is_number:
        if not base.is_positive:
            raise RuleSearchError(
                f"{echo(text_of(exponent))} is an exponent in {written}; an exponent must be a "
                "number, or its base one above 0; exp(a*log(b)) is b**a"
            )
        return
    if len(exponent.atoms(Pow)) > MOST_TOWER:
        # SymPy works a tower of irrational numbers out anew at every storey.
        raise RuleSearchError(
            f"more than {MOST_TOWER} powers in an exponent in {written}; write a number"
        )
    if not (exponent.is_real and abs(exponent) <= HIGHEST_POWER):
        raise RuleSearchError(
            f"a power of {echo(str(exponent))} in {written}; at most {HIGHEST_POWER}"
        )
    if base.is_Rational and _digits(base) * abs(exponent) > MOST_DIGITS:
        raise RuleSearchError(f"a number too long in {written}; at most {MOST_DIGITS} digits")


def _digits(number: Rational) -> float:
    """Digits of numerator or denominator, without writing them out."""
    return int(max(abs(number.p), number.q)).bit_length() * math.log10(2)


def check_form(form: Expr, written: str) -> None:
    """Refuse a canonical form for what it is worth.

    Raises:
        RuleSearchError: zero, not finite, not real, or as of `check_number`.
    """
    if form == 0:
        raise RuleSearchError(f"{written} is zero; leave it out, or mend it")
    if form.has(*NOT_FINITE):
        raise RuleSearchError(f"{written} {_WITHOUT_LIMIT}")
    if form.is_real is False or any(number.is_real is False for number in _numbers(form)):
        raise RuleSearchError(f"{written} {NOT_REAL}")
    for number in _numbers(form):
        check_number(number, written)


def check_number(number: Expr, written: str) -> None:
    """Refuse a number that float64 cannot hold, or that SymPy would not come back from.

    Raises:
        RuleSearchError: not finite, not real, too many digits, or none that SymPy can tell.
    """
    if number.has(*NOT_FINITE):
        raise RuleSearchError(f"{written} {_WITHOUT_LIMIT}")
    if number.is_real is False:
        raise RuleSearchError(f"{written} {NOT_REAL}")
    if number.is_Rational:
        large = _digits(number) > MOST_DIGITS
    else:
        size = abs(number.evalf(5))
        if not size.is_Number:  # Heaviside of what may be 0 or only nearly
            raise RuleSearchError(
                f"{echo(str(number))} in {written} cannot be told; write a number"
            )
        most = Integer(10) ** MOST_DIGITS
        large = bool(size > most or size * most < 1)
    if large:
        raise RuleSearchError(f"a number too long in {written}; at most {MOST_DIGITS} digits")


def _numbers(form: Expr) -> Iterator[Expr]:
    """The largest parts that are numbers."""
    if form.is_number:
        yield form
        return
    for argument in form.args:
        yield from _numbers(argument)
