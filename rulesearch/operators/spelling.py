"""Expressions as source code of a target, every operator as the table spells it.

What kernels compute at exact zeros and infinities, and the oracle of the tests with them:

- In a value, as IEEE has it: 0·∞ is NaN, and the lifetime has diverged.
- A zero has no sign: 1/0 is ∞, where the zero came from a negative number too (`reciprocal`).
- A coefficient of exactly zero times anything is zero, whatever the term's value is.
- In a derivative, zero times anything is zero where the factor is exactly zero (`product`): an
  adjoint of zero times an infinite partial, and zero times ∞ within a partial.
- Only the derivative with respect to a coefficient takes the value of its term as it is: where
  that is not finite, neither is the derivative, also where the coefficient is zero.

Targets that keep to it have functions of these names. They are called only where the factor or the
divisor needs it (`intervals`): elsewhere they would give the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sympy import Expr, Mul, Pow, Rational, Symbol
from sympy.printing.pycode import PythonCodePrinter

from rulesearch.operators.calculus import range_of, without_definitions
from rulesearch.operators.intervals import Interval
from rulesearch.operators.table import OPERATORS, Operator, Target, operator_of


class TargetPrinter(PythonCodePrinter):  # type: ignore[misc]
    """SymPy's Python printer, with every operator spelled by the table; always strict.

    Args:
        target: the column of the table.
        rename: symbol name -> text, e.g. a transposed view; others print as their name.
        ranges: symbol name -> its range, where divisors that may be zero are to be looked after.
        slope: whether it is a derivative, so that products need it as well.
    """

    def __init__(
        self,
        target: Target,
        rename: Mapping[str, str] | None = None,
        ranges: Mapping[str, Interval] | None = None,
        *,
        slope: bool = False,
    ) -> None:
        super().__init__({"strict": True})
        self._target = target
        self._rename = rename or {}
        self._ranges = ranges
        self._slope = slope

    def _print(self, expr: Expr, **kwargs: Any) -> str:
        if expr.is_number and not (expr.is_Rational and _held(expr)):
            # sqrt(2), pi: no target's functions take a plain number, nor a whole one of any length
            return repr(float(without_definitions(expr)))
        row = operator_of(getattr(expr, "func", None))
        if row is not None and not isinstance(expr, Pow):
            return self._call(row, row.arguments(expr))
        return str(super()._print(expr, **kwargs))

    def _call(self, row: Operator, arguments: tuple[Expr, ...]) -> str:
        if row.definition:
            return f"({self._print(row.definition(*arguments))})"
        template = row.spelling[self._target]
        if "{1}" not in template:
            return template.format(self._print(arguments[0]))
        # Numbers come last and are lifted: torch.maximum takes no Python number.
        ordered = sorted(arguments, key=lambda a: bool(a.is_number))
        text = self._print(ordered[0])
        for argument in ordered[1:]:
            other = self._print(argument)
            if self._target == "torch" and argument.is_number:
                other = f"torch.full_like({text}, {other})"
            text = template.format(text, other)
        return text

    def _print_Symbol(self, expr: Symbol) -> str:
        return self._rename.get(expr.name, expr.name)

    def _print_Mul(self, expr: Mul) -> str:
        if all(self._bounded(f) for f in expr.args):
            return str(super()._print_Mul(expr))
        # Every factor by itself: SymPy's printer would gather the divisors.
        numbers = [f for f in expr.args if f.is_number]
        safe = [f for f in expr.args if f not in numbers and (not self._slope or self._bounded(f))]
        text = "*".join(map(self._factor, safe))
        for factor in expr.args:
            if factor not in safe and factor not in numbers:
                text = f"product({text}, {self._print(factor)})" if text else self._factor(factor)
        return "*".join([*map(self._factor, numbers), text])

    def _factor(self, expr: Expr) -> str:
        text = self._print(expr)
        return f"({text})" if expr.is_Add or expr.is_negative else text

    def _bounded(self, expr: Expr) -> bool:
        return self._ranges is None or range_of(expr, self._ranges).bounded

    def _print_Pow(self, expr: Pow, rational: bool = False) -> str:
        base, exponent = expr.args
        if exponent.is_number and exponent < 0 and not self._bounded(expr):
            return f"reciprocal({self._print(base**-exponent)})"
        return self._power(base, exponent)

    def _power(self, base: Expr, exponent: Expr) -> str:
        if self._target == "torch" and exponent.is_Rational:
            return _torch_power(self._print(base), exponent)
        if self._target == "torch":
            # As below: torch's own power is rounded by where a value stands.
            log = math.log(float(base)) if base.is_number else f"torch.log({self._print(base)})"
            return f"torch.exp(({self._print(exponent)})*({log}))"
        if exponent == Rational(1, 2):
            return OPERATORS["sqrt"].spelling[self._target].format(self._print(base))
        if exponent == -1:
            return f"(1.0/({self._print(base)}))"
        return f"(({self._print(base)})**({self._print(exponent)}))"


def _held(number: Rational) -> bool:
    """Whether a float64 and a 64-bit integer have it exactly."""
    return bool(max(abs(number.p), number.q) < 2**53)


def _torch_power(base: str, exponent: Rational) -> str:
    """A power by what rounds alike wherever a value stands in a tensor.

    torch's own does for squares and cubes, which it multiplies; elsewhere the last few values of a
    tensor are rounded otherwise, and a lifetime's bits would hang on its place in a batch.
    """
    if exponent == 1:
        return f"({base})"
    if exponent < 0:
        return f"(1.0/{_torch_power(base, -exponent)})"
    if exponent in (2, 3):
        return f"(({base})**({exponent}))"
    if exponent == Rational(1, 2):
        return OPERATORS["sqrt"].spelling["torch"].format(base)
    if exponent.is_Integer and exponent % 2 == 0:
        return f"({_torch_power(base, exponent / 2)}**(2))"
    if exponent.is_Integer:
        return f"(({base})*{_torch_power(base, exponent - 1)})"
    if (2 * exponent).is_Integer:
        return f"(torch.sqrt({base})*{_torch_power(base, exponent - Rational(1, 2))})"
    return f"torch.exp({float(exponent)!r}*torch.log({base}))"


def spell(
    expression: Expr,
    target: Target,
    rename: Mapping[str, str] | None = None,
    ranges: Mapping[str, Interval] | None = None,
    *,
    slope: bool = False,
) -> str:
    """The expression as source code of a target; see `TargetPrinter`.

    Example:
        >>> from sympy import Max
        >>> from rulesearch.notation import y_pre, z_post
        >>> spell(2 * Max(y_pre, z_post) ** 2, "numpy")
        '2*((numpy.maximum(y_pre, z_post))**(2))'
    """
    return str(TargetPrinter(target, rename, ranges, slope=slope).doprint(expression))
