"""The canonical form of an expression, made once; two terms are the same if theirs agree."""

from __future__ import annotations

import sympy
from sympy import Expr, Float, Integer, Pow, Rational, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.operators import QUANTITIES, NeuronSum, index_of, operator_of, sum_pre

#: A product may not expand to more parts than this, nor a power be higher.
MOST_PARTS = 2_000
HIGHEST_POWER = 32

_POTENTIAL = QUANTITIES["W"].symbol * QUANTITIES["y_pre"].symbol
_Z_POST = QUANTITIES["z_post"].symbol


def canonical(expression: Expr) -> Expr:
    """The canonical form (design, section 3).

    Floats become rational; sums are distributed over `+`; factors without the bound index leave
    a sum; the sum of a constant is `n_pre` or `n_post` times it; `sum_pre(W*y_pre)` is `z_post`.

    Raises:
        RuleSearchError: an unknown symbol or operator, a power too high, an expression that would
            expand to too many parts, one that is zero, not finite or not real.

    Example:
        >>> from rulesearch.notation import W, sum_pre, y_post, y_pre
        >>> canonical(0.5 * sum_pre(y_post * (W * y_pre + 2)))
        n_pre*y_post + y_post*z_post/2
    """
    expression = sympy.sympify(expression)
    _check_vocabulary(expression)
    form = _canonical(expression)
    if form == 0:
        raise RuleSearchError("is zero; leave it out, or mend it")
    if form.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        raise RuleSearchError("is not finite; take the division by zero out of it")
    if form.has(sympy.I) or form.is_real is False:
        raise RuleSearchError("is not real; use only what is real for real quantities")
    return form


def _check_vocabulary(expression: Expr) -> None:
    for symbol in sorted(expression.free_symbols, key=str):
        if symbol != getattr(QUANTITIES.get(symbol.name), "symbol", None):
            raise RuleSearchError(unknown_symbol(symbol.name))
    for part in sympy.preorder_traversal(expression):
        if isinstance(part, (sympy.Add, sympy.Mul, sympy.Symbol)) or part.is_number:
            continue
        if isinstance(part, Pow):
            _check_power(part)
        elif operator_of(part.func) is None:
            raise RuleSearchError(unknown_operator(part.func.__name__))


def _check_power(power: Pow) -> None:
    base, exponent = power.args
    if not exponent.is_number and not base.is_positive:
        raise RuleSearchError(f"{power}: an exponent must be a number; exp(a*log(b)) is b**a")
    if exponent.is_number and not (exponent.is_real and abs(exponent) <= HIGHEST_POWER):
        raise RuleSearchError(f"a power of {exponent}; at most {HIGHEST_POWER}")


def unknown_symbol(name: str) -> str:
    """What is said of a symbol that is not a local quantity."""
    return (
        f"unknown symbol {name}{_closest(name, list(QUANTITIES))} "
        f"(a term may use {', '.join(QUANTITIES)})"
    )


def unknown_operator(name: str, more: tuple[str, ...] = ()) -> str:
    """What is said of a call outside the table of operators."""
    from rulesearch.operators import OPERATORS

    names = [*OPERATORS, *more]
    return f"unknown operator {name}{_closest(name, names)} (a term may call {', '.join(names)})"


def _closest(name: str, choices: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, choices, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _canonical(expression: Expr) -> Expr:
    if isinstance(expression, Float):
        return Rational(repr(float(expression)))
    if not expression.args:
        return expression
    form = expression.func(*(_canonical(a) for a in expression.args))
    if form.has(sympy.nan, sympy.zoo):
        return form
    form = _expanded(form)
    if isinstance(form, NeuronSum):
        return sympy.Add(*(_sum_of(form, part) for part in sympy.Add.make_args(form.args[0])))
    return form


def _parts(expression: Expr) -> int:
    """How many parts the expanded expression has at most."""
    if expression.is_Add:
        return sum(_parts(a) for a in expression.args)
    if expression.is_Mul:
        product = 1
        for a in expression.args:
            product *= _parts(a)
        return product
    if isinstance(expression, Pow) and expression.exp.is_Integer and expression.base.is_Add:
        terms, power = len(expression.base.args), abs(int(expression.exp))
        return int(sympy.binomial(terms + power - 1, power))
    return 1


def _expanded(form: Expr) -> Expr:
    if _parts(form) > MOST_PARTS:
        raise RuleSearchError(f"would expand to more than {MOST_PARTS} parts; make it shorter")
    while True:
        # deep=False: the arguments are expanded already, and those of a sum stay inside it.
        wider = sympy.expand(form, deep=False, power_base=False, power_exp=False, log=False)
        if wider == form:
            return form
        form = sympy.Add(*(_flat(part) for part in sympy.Add.make_args(wider)))


def _flat(part: Expr) -> Expr:
    return sympy.expand(part, deep=False, power_base=False, power_exp=False, log=False)


def _sum_of(total: NeuronSum, part: Expr) -> Expr:
    """One part of a sum: what does not carry the bound index stands in front."""
    inner, outer = [], []
    for factor in sympy.Mul.make_args(part):
        (inner if total.axis in index_of(factor) else outer).append(factor)
    front, summand = sympy.Mul(*outer), sympy.Mul(*inner)
    if not inner:
        return front * QUANTITIES[f"n_{total.axis}"].symbol
    if total.func is sum_pre and summand == _POTENTIAL:
        return front * _Z_POST
    return front * total.func(summand)


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
