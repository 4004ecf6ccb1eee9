"""SymPy expressions as Numba source in which every number has the working dtype."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy import Expr, Rational, Symbol

from rulesearch.operators import OPERATORS, Interval, TargetPrinter


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
