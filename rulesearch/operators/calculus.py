"""What follows from the tables for any expression: its vocabulary, index set, derivative, range."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache, reduce

import sympy
from sympy import Expr, Integer, Pow, Symbol

from rulesearch.operators.intervals import ANYTHING, Interval, rising
from rulesearch.operators.quantities import SCALAR, Index, OwnSymbol, row_of
from rulesearch.operators.table import operator_of


def stranger(expression: Expr) -> Expr | None:
    """The first part that is neither arithmetic, nor a symbol or number, nor a call in the table.

    Example:
        >>> from sympy import gamma
        >>> from rulesearch.notation import tanh, y_pre
        >>> stranger(tanh(y_pre) + gamma(y_pre))
        gamma(y_pre)
    """
    if expression.is_Symbol or expression in (sympy.pi, sympy.E):
        return None
    if expression.is_Atom and expression.is_number and not expression.is_NumberSymbol:
        return None  # infinities and I as well; `canonical` says what is wrong with them
    row = operator_of(expression.func)
    known = row or expression.is_Add or expression.is_Mul or isinstance(expression, Pow)
    if not known:
        return expression
    if row and not row.plain(expression):
        return expression
    return next((found for a in expression.args if (found := stranger(a)) is not None), None)


def index_of(expression: Expr, known: Mapping[str, Index] | None = None) -> Index:
    """The index set of an expression: indices unite, and a sum drops its own.

    Args:
        expression: over local quantities, and the symbols of `known`.
        known: further symbols, such as the nodes of a plan, and their index sets.

    Example:
        >>> from rulesearch.notation import W, sum_post, y_post
        >>> sorted(index_of(sum_post(y_post * W)))
        ['pre']
    """
    if isinstance(expression, Symbol):
        if known and expression.name in known:
            return known[expression.name]
        quantity = row_of(expression)
        return quantity.index if quantity else SCALAR
    united: Index = frozenset().union(*(index_of(a, known) for a in expression.args))
    row = operator_of(expression.func)
    return united - row.drops if row else united


def without_definitions(expression: Expr) -> Expr:
    """The expression with what is given by others replaced by its definition.

    Operators and quantities of one's own, that is; a trace is what it was before too, and stays.
    """
    if isinstance(expression, OwnSymbol) and expression.row.memory is None:
        assert expression.row.definition is not None
        return without_definitions(expression.row.definition)
    if not expression.args:
        return expression
    arguments = [without_definitions(a) for a in expression.args]
    row = operator_of(expression.func)
    if row and row.definition:
        return without_definitions(row.definition(*arguments))
    return expression.func(*arguments)


@lru_cache(maxsize=65_536)
def written_size(expression: Expr) -> int:
    """How many operations and quantities `without_definitions` gives, without making it.

    Example:
        >>> from rulesearch.notation import softplus, y_pre
        >>> written_size(y_pre), written_size(softplus(softplus(y_pre)))
        (1, 34)
    """
    if isinstance(expression, OwnSymbol) and expression.row.memory is None:
        assert expression.row.definition is not None
        return written_size(expression.row.definition)
    sizes = [written_size(a) for a in expression.args]
    row = operator_of(expression.func)
    if not (row and row.definition):
        return 1 + sum(sizes)
    places = [Symbol(f"x{number}", real=True) for number in range(len(sizes))]
    body = row.definition(*places)
    read = Counter(part for part in sympy.preorder_traversal(body) if part in places)
    inner = sum(read[place] * (size - 1) for place, size in zip(places, sizes, strict=True))
    return written_size(body) + inner


def derivative(expression: Expr, symbol: Symbol) -> Expr:
    """The derivative of an elementwise expression, by the chain rule over the table.

    Raises:
        TypeError: a sum stands in the way; it must have been given a symbol before.

    Example:
        >>> from rulesearch.notation import Abs, y_pre
        >>> derivative(y_pre * Abs(y_pre), y_pre)
        y_pre*sign(y_pre) + Abs(y_pre)
    """
    if expression == symbol:
        return Integer(1)
    if symbol not in expression.free_symbols:
        return Integer(0)
    arguments = expression.args
    inner = [derivative(a, symbol) for a in arguments]
    if expression.is_Add:
        return sympy.Add(*inner)
    if expression.is_Mul:
        return sympy.Add(
            *(
                sympy.Mul(*arguments[:i], d, *arguments[i + 1 :])
                for i, d in enumerate(inner)
                if d != 0
            )
        )
    if isinstance(expression, Pow):
        base, exponent = arguments
        by_base = exponent * base ** (exponent - 1) * inner[0]
        if inner[1] == 0:
            return by_base
        return by_base + sympy.log(base) * expression * inner[1]
    row = operator_of(expression.func)
    if row is None:
        raise TypeError(f"{expression.func} is not in the table of operators")
    # Past its arguments a call may hold numbers of SymPy's own, which nothing differentiates.
    partials = row.partials(*row.arguments(expression))
    return sympy.Add(*(p * d for p, d in zip(partials, inner, strict=False)))


def range_of(expression: Expr, known: Mapping[str, Interval]) -> Interval:
    """Between which numbers the value of an elementwise expression stays.

    Args:
        expression: over symbols.
        known: name of a symbol -> its range.

    Returns:
        An interval that may be wider than need be, and is without bound where the value may be
        infinite or no number.

    Example:
        >>> from rulesearch.notation import Abs, sqrt, y_pre
        >>> known = {"y_pre": Interval(-10.0, 10.0)}
        >>> range_of(y_pre / (1 + Abs(y_pre)), known).bounded, range_of(1 / y_pre, known).bounded
        (True, False)
    """
    if expression.is_number:
        return Interval(float(expression), float(expression))
    if isinstance(expression, Symbol):
        return known[expression.name]
    if isinstance(expression, Pow):
        base, exponent = expression.args
        if exponent.is_number:
            return range_of(base, known) ** float(exponent)
        log = rising(math.log)(range_of(base, known))
        return rising(math.exp)(range_of(exponent, known) * log)
    ranges = [range_of(a, known) for a in expression.args]
    if expression.is_Add:
        return reduce(operator.add, ranges)
    if expression.is_Mul:
        return reduce(operator.mul, ranges)
    row = operator_of(expression.func)
    return row.image(*ranges[: row.arity[1]]) if row else ANYTHING
