"""Expressions as source code of a target, every operator as the table spells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy import Expr, Pow, Rational, Symbol
from sympy.printing.pycode import PythonCodePrinter

from rulesearch.operators.calculus import without_definitions
from rulesearch.operators.table import OPERATORS, Operator, Target, operator_of


class TargetPrinter(PythonCodePrinter):  # type: ignore[misc]
    """SymPy's Python printer, with every operator spelled by the table; always strict.

    Args:
        target: the column of the table.
        rename: symbol name -> text, e.g. a transposed view; others print as their name.
    """

    def __init__(self, target: Target, rename: Mapping[str, str] | None = None) -> None:
        super().__init__({"strict": True})
        self._target = target
        self._rename = rename or {}

    def _print(self, expr: Expr, **kwargs: Any) -> str:
        if expr.is_number and not expr.is_Rational:
            # sqrt(2), pi: no target's functions take a plain number
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

    def _print_Pow(self, expr: Pow, rational: bool = False) -> str:
        base, exponent = expr.args
        if exponent == Rational(1, 2):
            return OPERATORS["sqrt"].spelling[self._target].format(self._print(base))
        if exponent == -1:
            return f"(1.0/({self._print(base)}))"
        return f"(({self._print(base)})**({self._print(exponent)}))"


def spell(expression: Expr, target: Target, rename: Mapping[str, str] | None = None) -> str:
    """The expression as source code of a target.

    Example:
        >>> from sympy import Max
        >>> from rulesearch.notation import y_pre, z_post
        >>> spell(2 * Max(y_pre, z_post) ** 2, "numpy")
        '2*((numpy.maximum(y_pre, z_post))**(2))'
    """
    return str(TargetPrinter(target, rename).doprint(expression))
