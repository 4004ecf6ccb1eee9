"""Expressions as code of whole arrays: NumPy, JAX, torch; strict, by the table of operators.

What belongs to the pre-neurons is a row [1, pre], to the post-neurons a column [post, 1], to the
synapses a matrix [post, pre], so that products spread by themselves. torch has the examples of a
batch in front of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sympy import Add, Expr, Mul, Rational, Symbol
from sympy.printing.precedence import PRECEDENCE

from rulesearch.operators import (
    NEURONS,
    OPERATORS,
    POST,
    PRE,
    SYNAPSE,
    Index,
    Interval,
    NeuronSum,
    Operator,
    TargetPrinter,
    index_of,
    range_of,
    without_definitions,
)

Library = Literal["numpy", "jax", "torch"]


@dataclass(frozen=True)
class Words:
    """How a library says what all of them can.

    Attributes:
        library: the column of the table of operators.
        of: its module in the code.
        transposed: behind an array, its last two axes exchanged.
        keep: of a sum, that the axis stays.
    """

    library: Library
    of: str
    transposed: str
    keep: str


WORDS: Mapping[Library, Words] = {
    "numpy": Words("numpy", "numpy", ".T", "keepdims=True"),
    "jax": Words("jax", "jnp", ".T", "keepdims=True"),
    "torch": Words("torch", "torch", ".mT", "keepdim=True"),
}


class ArrayPrinter(TargetPrinter):
    """Prints an expression of a layer for a library.

    Args:
        words: of the library.
        rename: name of a symbol -> how it is called in the code.
        ranges: name of a symbol -> its range, where divisors that may be zero are looked after.
        rows: whether neurons stand in rows alone, as at the output.
    """

    def __init__(
        self,
        words: Words,
        rename: Mapping[str, str],
        ranges: Mapping[str, Interval] | None,
        *,
        rows: bool = False,
    ) -> None:
        super().__init__(words.library, rename, ranges)
        self.words = words
        self._rows = rows

    def _print(self, expr: Expr, **kwargs: Any) -> str:
        if isinstance(expr, NeuronSum):
            return self._sum(expr)
        return super()._print(expr, **kwargs)

    def _call(self, row: Operator, arguments: tuple[Expr, ...]) -> str:
        if row.definition:
            name = self._rename.get(row.name, row.name)
            return f"{name}({', '.join(map(self._print, arguments))})"
        return super()._call(row, arguments)

    def _sum(self, total: NeuronSum) -> str:
        factors = Mul.make_args(total.args[0])
        if self._rows:
            return f"{self._called(Mul(*factors))}.sum(-1, {self.words.keep})"
        by_index: dict[Index, list[Expr]] = {}
        for factor in factors:
            by_index.setdefault(index_of(factor), []).append(factor)
        own = frozenset({total.axis})
        vector, matrix = by_index.pop(own, []), by_index.pop(SYNAPSE, [])
        outside = [factor for others in by_index.values() for factor in others]
        text = self._total(total.axis, Mul(*matrix), Mul(*vector), bool(matrix), bool(vector))
        return "*".join([*(self._factor(f) for f in outside), text])

    def _total(self, axis: str, matrix: Expr, vector: Expr, has: bool, along: bool) -> str:
        assert has or along, "a canonical sum has what it is over"
        if has and along:
            turned = f"{self._called(vector)}{self.words.transposed}"
            M = self._called(matrix)
            return f"({M} @ {turned})" if axis == "pre" else f"({turned} @ {M})"
        of = self._called(matrix if has else vector)
        return f"{of}.sum({-1 if axis == 'pre' else -2}, {self.words.keep})"

    def _bounded(self, expr: Expr) -> bool:
        if self._ranges is None:
            return True
        plain, ranges = without_sums(without_definitions(expr), self._ranges)
        return range_of(plain, ranges).bounded

    def _print_Mul(self, expr: Mul) -> str:
        number, rest = expr.as_coeff_Mul()
        if number == -1:
            return f"-{self._factor(rest)}"
        return super()._print_Mul(expr)

    def _called(self, expr: Expr) -> str:
        """As something that a method is called of."""
        text = self._print(expr)
        return text if isinstance(expr, Symbol) else f"({text})"

    def _power(self, base: Expr, exponent: Expr) -> str:
        if exponent == Rational(1, 2):
            return OPERATORS["sqrt"].spelling[self._target].format(self._print(base))
        text = self.parenthesize(base, PRECEDENCE["Pow"], strict=False)
        if exponent == -1:
            return f"(1/{text})"
        if exponent.is_Integer:
            return f"({text}**{self._print(exponent)})" if exponent < 0 else f"{text}**{exponent}"
        return f"{text}**({self._print(exponent)})"

    def _print_Rational(self, expr: Rational) -> str:
        return str(expr.p) if expr.q == 1 else repr(float(expr))


def without_sums(
    expression: Expr, ranges: Mapping[str, Interval]
) -> tuple[Expr, dict[str, Interval]]:
    """The expression with a symbol for each sum in it, and the ranges with those of the symbols."""
    found, plain = dict(ranges), expression
    for number, total in enumerate(_outermost(expression)):
        inner, within = without_sums(total.args[0], ranges)
        name = f"sum {number}"
        found[name] = Interval(-NEURONS, NEURONS) * range_of(inner, within)
        plain = plain.xreplace({total: Symbol(name, real=True)})
    return plain, found


def _outermost(expression: Expr) -> list[Expr]:
    if isinstance(expression, NeuronSum):
        return [expression]
    return list(dict.fromkeys(total for a in expression.args for total in _outermost(a)))


class BatchPrinter(ArrayPrinter):
    """Prints the mean of an expression over a batch, without a matrix for each of its examples.

    A product of a column and a row is one product of matrices, `outer`; what hangs on no example
    stands before it.

    Args:
        words, rename, ranges: as of `ArrayPrinter`.
        moves: whether a factor hangs on the example.
    """

    def __init__(self, *more: Any, moves: Any) -> None:
        super().__init__(*more)
        self._moves = moves

    def mean(self, expression: Expr) -> str:
        """The mean of an expression's value over a batch, to be spread over the parameter."""
        text = ""
        for part in Add.make_args(expression):
            one = self._mean_of_product(part)
            lead = "" if not text else " - " if one.startswith("-") else " + "
            text += lead + (one[1:] if lead == " - " else one)
        return text

    def _mean_of_product(self, part: Expr) -> str:
        number, factors = part.as_coeff_Mul()
        fixed: list[Expr] = []
        moving: list[Expr] = []
        for factor in Mul.make_args(factors):
            (moving if self._moves(factor) else fixed).append(factor)
        texts = [self._factor(f) for f in fixed if f != 1]
        post = [f for f in moving if index_of(f) == POST]
        pre = [f for f in moving if index_of(f) == PRE]
        rest = [f for f in moving if f not in post and f not in pre]
        if post and pre and not any(index_of(f) == SYNAPSE for f in rest):
            texts.append(f"outer({self._print(Mul(*rest, *post))}, {self._print(Mul(*pre))})")
        elif moving:
            texts.append(f"{self._called(Mul(*moving))}.mean(0)")
        sign = "-" if number < 0 else ""
        if abs(number) != 1 or not texts:
            texts.insert(0, self._print(abs(number)))
        return sign + "*".join(texts)
