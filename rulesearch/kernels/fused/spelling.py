"""SymPy expressions as Numba source in which every number has the working dtype.

One spelling is for numbers, and one for the vectors of `vectors`, which have functions in place of
Python's signs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from sympy import Expr, Mul, Pow, Rational, Symbol

from rulesearch.operators import OPERATORS, Interval, Operator, TargetPrinter


class TypedPrinter(TargetPrinter):
    """The table's Numba spelling with numbers as `F(0.5)`, F the working dtype.

    Numba takes float32 times a Python number to float64, and so would the loops.
    """

    def _print(self, expr: Expr, **kwargs: Any) -> str:
        if isinstance(expr, Expr) and expr.is_number:
            return f"F({float(expr)!r})"
        return super()._print(expr, **kwargs)

    def _power(self, base: Expr, exponent: Expr) -> str:
        if exponent.is_Integer:
            power = f"({self._print(base)})"
            if abs(exponent) != 1:
                power += f"**{abs(int(exponent))}"
            return f"({power})" if exponent > 0 else f"(F(1.0)/{power})"
        if exponent == Rational(1, 2):
            return OPERATORS["sqrt"].spelling["numba"].format(self._print(base))
        return f"(({self._print(base)})**({self._print(exponent)}))"


class VectorPrinter(TypedPrinter):
    """The table's spelling for a vector at a time: every operation is a call.

    Args:
        calls: source of each call of the table's functions met so far -> the local that has its
            value; further ones are added.
        more: see `TargetPrinter`.
    """

    def __init__(self, calls: dict[str, str], *more: Any, **named: Any) -> None:
        super().__init__("vector", *more, **named)
        self._calls = calls

    def _call(self, row: Operator, arguments: tuple[Expr, ...]) -> str:
        text = super()._call(row, arguments)
        return text if row.definition else self._calls.setdefault(text, f"call{len(self._calls)}")

    def _print(self, expr: Expr, **kwargs: Any) -> str:
        if isinstance(expr, Expr) and expr.is_number:
            return f"splat({super()._print(expr)})"
        return super()._print(expr, **kwargs)

    def _print_Add(self, expr: Expr) -> str:
        return summed([self._print(a) for a in expr.as_ordered_terms()])

    def _print_Mul(self, expr: Mul) -> str:
        if not all(self._bounded(f) for f in expr.args):
            numbers = [f for f in expr.args if f.is_number]
            others = [f for f in expr.args if not f.is_number]
            # In a value 0·∞ is no number; in a derivative it is 0, so what may be infinite is last.
            safe = [f for f in others if not self._slope or self._bounded(f)]
            text = multiplied_up([self._print(f) for f in safe]) if safe else ""
            for factor in (f for f in others if f not in safe):
                other = self._print(factor)
                text = f"vector_product({text}, {other})" if text else other
            return multiplied_up([*map(self._print, numbers), text])
        return multiplied_up([self._print(f) for f in expr.as_ordered_factors()])

    def _print_Pow(self, expr: Pow, rational: bool = False) -> str:
        base, exponent = expr.args
        if not (exponent.is_number and exponent < 0):
            return self._power(base, exponent)
        if not self._bounded(expr):
            return f"vector_reciprocal({self._print(base**-exponent)})"
        # Values and their derivatives have the same divisors: each is divided by once.
        inverse = f"div(splat(F(1.0)), {self._print(base)})"
        return inverse if exponent == -1 else self._raised(inverse, -exponent)

    def _power(self, base: Expr, exponent: Expr) -> str:
        return self._raised(self._print(base), exponent)

    def _raised(self, text: str, exponent: Expr) -> str:
        if exponent.is_Rational and exponent.q == 2:
            root = OPERATORS["sqrt"].spelling["vector"].format(text)
            whole = int(exponent - Rational(1, 2))
            return f"mul({root}, {_whole_power(text, whole)})" if whole else root
        if exponent.is_Integer:
            return _whole_power(text, int(exponent))
        return f"vector_power({text}, {self._print(exponent)})"


def _whole_power(text: str, exponent: int) -> str:
    """A power by squaring; what is spelled twice is computed once."""
    if exponent == 1:
        return text
    half = _whole_power(text, exponent // 2)
    square = f"mul({half}, {half})"
    return f"mul({square}, {text})" if exponent % 2 else square


def summed(texts: Sequence[str]) -> str:
    """The source of the sum of vectors.

    Example:
        >>> summed(["a", "b", "c"]), multiplied_up(["a", "b"])
        ('add(add(a, b), c)', 'mul(a, b)')
    """
    return reduce(lambda a, b: f"add({a}, {b})", texts)


def multiplied_up(texts: Sequence[str]) -> str:
    """The source of the product of vectors."""
    return reduce(lambda a, b: f"mul({a}, {b})", texts)


def spell_vector(
    expression: Expr,
    rename: Mapping[str, str],
    ranges: Mapping[str, Interval] | None = None,
    *,
    calls: dict[str, str],
    slope: bool = False,
) -> tuple[list[str], str]:
    """As `spell`, for a vector at a time.

    Returns:
        Lines for the calls that were not among `calls`, to which they are added, and the
        expression.

    Example:
        >>> from rulesearch.notation import W, tanh, y_pre
        >>> spell_vector(2 * tanh(W * y_pre) ** 2, {"W": "w", "y_pre": "y"}, calls={})
        (['call0 = vector_tanh(mul(w, y))'], 'mul(splat(F(2.0)), mul(call0, call0))')
    """
    before = len(calls)
    text = str(VectorPrinter(calls, rename, ranges, slope=slope).doprint(expression))
    return [f"{name} = {call}" for call, name in list(calls.items())[before:]], text


def spell(
    expression: Expr,
    rename: Mapping[str, str],
    ranges: Mapping[str, Interval] | None = None,
    *,
    slope: bool = False,
) -> str:
    """An elementwise expression over names as Numba source.

    Args:
        expression: over quantities and nodes.
        rename: name -> text that reads its value.
        ranges: see `TargetPrinter`, as for the next.
        slope: whether it is a derivative.

    Example:
        >>> from rulesearch.notation import exp, y_pre
        >>> spell(y_pre**2 / 3 - exp(y_pre), {"y_pre": "y[k]"})
        '(F(0.3333333333333333))*((y[k])**2) - math.exp(y[k])'
    """
    return str(TypedPrinter("numba", rename, ranges, slope=slope).doprint(expression))


def number(value: Expr) -> str:
    """A number as source in the working dtype."""
    return f"F({float(value)!r})"


def symbol(name: str) -> Symbol:
    """The real symbol of this name, as plans have it."""
    return Symbol(name, real=True)
