"""An expression apart from its constant factor: what terms are compared by.

A constant factor in a term changes its coefficient and nothing else, so it must not decide which
terms are the same, which one the others are measured against, or where a search begins.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy
from sympy import (
    Abs,
    Add,
    Expr,
    Heaviside,
    Integer,
    Max,
    Min,
    Mul,
    Pow,
    preorder_traversal,
    sign,
)

from rulesearch.errors import RuleSearchError
from rulesearch.notation.canonical import MOST_ROUNDS, by_potential, canonical
from rulesearch.notation.printing import text_of
from rulesearch.notation.vocabulary import echo
from rulesearch.operators import (
    OwnSymbol,
    definition_of,
    index_of,
    without_definitions,
    written_size,
)

#: A coefficient this small beside its parts is one whose parts cancel, sqrt(9 + 4*sqrt(5)) - 2 -
#: sqrt(5), where SymPy does not see it. Evaluated to twice as many digits.
CANCELLED = 1e-25
DIGITS = 50
#: So many operations and quantities the definitions in an expression may add to it, written out.
MOST_WRITTEN = 1000
#: Characters of what a trace follows, beyond which its digest stands for it in a key.
LONGEST_TRACE = 80


@dataclass(frozen=True)
class Compared:
    """An expression as a constant times a form.

    Attributes:
        factor: the coefficient of the form's first part, in the order of their texts; never zero.
        form: the expression over its factor, so that the coefficient of its first part is 1;
            operators and quantities of one's own stand by their definitions, traces by what they
            follow, and `sum_pre(W*y_pre)` by `z_post`.
        key: the text of the form.
    """

    factor: Expr
    form: Expr
    key: str


@lru_cache(maxsize=16_384)
def compared(expression: Expr) -> Compared:
    """The factor, form and key of a canonical expression.

    Two expressions are the same up to a constant factor if their keys agree, whatever constant it
    is (irrational or negative), whether an operator is called or its definition written out, and
    whatever a trace is called.

    Raises:
        RuleSearchError: an expression that is zero, or has no canonical form, once definitions
            are written out.

    Example:
        >>> from rulesearch.notation import W, canonical, sqrt, y_pre
        >>> one = compared(canonical(-2 * (W - sqrt(2) * y_pre)))
        >>> one.factor, one.key, one == compared(canonical(W * sqrt(2) - 2 * y_pre))
        (-2, 'W - sqrt(2)*y_pre', False)
        >>> one.key == compared(canonical(sqrt(2) * W - 2 * y_pre)).key
        True
    """
    size = written_size(expression)
    if size > MOST_WRITTEN and size > MOST_WRITTEN + sum(1 for _ in preorder_traversal(expression)):
        raise RuleSearchError(
            f"{echo(text_of(expression))} has {size:,} parts with its definitions written out; "
            f"these may add {MOST_WRITTEN:,}; make it shorter"
        )
    plain = unnamed_in(expression)
    if plain != expression:
        plain = canonical(plain, text_of(expression))
    written = echo(text_of(expression))
    try:
        plain = by_potential(plain)
    except RuleSearchError:  # z_post - sum_pre(W*y_pre)
        raise RuleSearchError(
            f"{written} is zero but for biases and noise; write b_post and xi_post for these"
        ) from None
    parts = coefficients(_unscaled(plain))
    if not parts:
        raise RuleSearchError(f"{written} is zero; leave it out, or mend it")
    first = min(parts, key=text_of)
    factor = parts[first]
    form = Add(*(quotient(c, factor) * part for part, c in parts.items()))
    return Compared(factor, form, text_of(form))


@lru_cache(maxsize=4096)
def unnamed(trace: OwnSymbol) -> Expr:
    """A trace as a sum of traces of products, each called by what it follows and how.

    So two traces are the same if this is, whatever they are called. A trace is linear in what it
    follows, but for a first value that is stated, which is of the whole.

    Example:
        >>> from rulesearch.notation import trace, y_post
        >>> one, other = trace("a_post", y_post, decay=0.9), trace("c_post", 2 * y_post, decay=0.9)
        >>> unnamed(other) == 2 * unnamed(one)
        True
    """
    memory = trace.row.memory
    assert memory is not None
    follows = compared(definition_of(trace))
    parts = coefficients(follows.form) if not memory.initial else {follows.form: Integer(1)}
    total = []
    for part, number in parts.items():
        by = number * follows.factor
        begins = memory.initial and memory.initial / float(by)
        text = f"{text_of(part)}, {memory.decay!r}, {begins!r}"
        if len(text) > LONGEST_TRACE:
            text = hashlib.sha256(text.encode()).hexdigest()
        row = replace(
            trace.row,
            name=f"trace({text})",
            index=index_of(part),
            meaning="",
            latex="",
            definition=part,
            memory=replace(memory, initial=begins),
        )
        total.append(by * OwnSymbol(row))
    return Add(*total)


def unnamed_in(expression: Expr) -> Expr:
    """An expression with its definitions written out and its traces unnamed."""
    plain = without_definitions(expression)
    return plain.xreplace({trace: unnamed(trace) for trace in plain.atoms(OwnSymbol)})


def _unscaled(form: Expr) -> Expr:
    """The form with positive constants taken out of calls that let them through.

    Max(2*W, 2*y_pre) is 2*Max(W, y_pre). The form as it is where a number would grow too long.
    """
    if not form.has(Max, Min, Abs, sign, Heaviside, Pow):
        return form
    try:
        for _ in range(MOST_ROUNDS):  # what comes out of a call may come out of one around it
            before, form = form, canonical(_taken_out(form))
            if form == before:
                break
    except RuleSearchError:
        return form
    return form


def _taken_out(part: Expr) -> Expr:
    if not part.args or part.is_number:
        return part
    arguments = [_taken_out(a) for a in part.args]
    power = isinstance(part, Pow) and arguments[0].is_Add and arguments[1].is_Rational
    if not power and not isinstance(part, (Max, Min, Abs, sign, Heaviside)):
        return part.func(*arguments)
    # Of a power the base alone, and of a Heaviside what SymPy adds is none of ours.
    scaled = arguments if isinstance(part, (Max, Min)) else arguments[:1]
    by = _scale(scaled)
    inside = [Add(*(quotient(n, by) * p for p, n in coefficients(a).items())) for a in scaled]
    call = part.func(*inside, *arguments[len(scaled) :])
    if isinstance(part, (sign, Heaviside)):
        return call
    return call * (by ** arguments[1] if power else by)


def _scale(forms: list[Expr]) -> Expr:
    """The size of the coefficient of their first part; the largest, where several have it."""
    sizes: dict[Expr, list[Expr]] = {}
    for form in forms:
        for part, number in coefficients(form).items():
            sizes.setdefault(part, []).append(abs(number))
    symbols = [part for part in sizes if not part.is_number]
    return max(sizes[min(symbols, key=text_of)], key=float) if symbols else Integer(1)


def coefficients(form: Expr) -> dict[Expr, Expr]:
    """The parts of a canonical form without their numbers -> the number that each is times.

    Example:
        >>> from rulesearch.notation import W, canonical, sqrt, y_pre
        >>> coefficients(canonical((1 + sqrt(2)) * W - 3 * y_pre))
        {W: 1 + sqrt(2), y_pre: -3}
    """
    found: dict[Expr, list[Expr]] = {}
    for part in Add.make_args(form):
        factors = Mul.make_args(part)
        rest = Mul(*(f for f in factors if not f.is_number))
        found.setdefault(rest, []).append(Mul(*(f for f in factors if f.is_number)))
    ordered = sorted(found, key=sympy.default_sort_key)
    return {rest: Add(*found[rest]) for rest in ordered if not _cancel(found[rest])}


def _cancel(numbers: list[Expr]) -> bool:
    """Whether numbers add up to zero."""
    total = Add(*numbers)
    if total.is_Rational or len(numbers) == 1:
        return bool(total == 0)
    size = sum(abs(n.evalf(DIGITS)) for n in numbers)
    return bool(abs(total.evalf(DIGITS)) <= CANCELLED * size)


def quotient(number: Expr, by: Expr) -> Expr:
    """One number over another, looking the same however both were written."""
    ratio = number / by
    if ratio.is_Rational:
        return ratio
    return sympy.expand(sympy.radsimp(sympy.cancel(ratio)))
