"""The factors that the products of a space are made of: what may be one, and what it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Abs, Expr, Function, Heaviside, Max, Min, Mul, Pow, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.notation.canonical import canonical
from rulesearch.notation.measured import measured_sums
from rulesearch.notation.dependence import equation
from rulesearch.notation.needs import Need, needs_of
from rulesearch.notation.parsing import parse
from rulesearch.notation.printing import place_of, text_of
from rulesearch.notation.vocabulary import closest, echo
from rulesearch.operators import (
    COMMON,
    OPERATORS,
    POST,
    PRE,
    SYNAPSE,
    Index,
    NeuronSum,
    index_of,
    operator_of,
)

Side = str
"""A parameter of a space that holds factors."""

_SIDES: Mapping[Side, tuple[Index, str]] = {
    "post": (POST, "post-cell"),
    "pre": (PRE, "pre-cell"),
    "synapse": (SYNAPSE, "synapse"),
}

#: What SymPy's classes are called in a name.
_CALLED = {Abs: "abs", Max: "max", Min: "min", Heaviside: "heaviside"}


class Unnamed(Exception):
    """An expression that no name can be made for; it holds the reason."""


def name_of(form: Expr) -> str:
    """What a product, or one factor of it, is called: it hangs on the expression alone.

    The factors stand in the order in which a term is printed, each as it is written but for the
    signs between letters; a power is a digit, and a sum is `sum` before what is summed.

    Raises:
        Unnamed: a factor is a sum of parts, or a power that is not whole.

    Example:
        >>> from rulesearch.notation import Abs, W, e_pre, sum_post, tanh, y_post
        >>> name_of(-(y_post**2) * e_pre), name_of(tanh(e_pre) * Abs(W) * sum_post(y_post * W))
        ('ypost2_epre', 'absW_tanhepre_sumWypost')
    """
    factors = [f for f in Mul.make_args(form) if not f.is_number]
    return "_".join(map(_named, sorted(factors, key=place_of)))


def _named(factor: Expr) -> str:
    if isinstance(factor, Symbol):
        return factor.name.replace("_", "")
    if isinstance(factor, NeuronSum):
        summand = Mul.make_args(factor.args[0])
        parts = "".join(map(_named, sorted(summand, key=lambda f: (index_of(f) != SYNAPSE, str(f)))))
        # W lies on both sides: which one is summed over, a cell's quantity says.
        cells = any(index_of(f) != SYNAPSE for f in summand)
        return f"sum{'' if cells else factor.axis}{parts}"
    if isinstance(factor, Pow) and factor.exp.is_Integer and factor.exp > 0:
        return f"{_named(factor.base)}{factor.exp}"
    row = operator_of(factor.func)
    if row and isinstance(factor, Function | Max | Min):
        return _CALLED.get(factor.func, row.name) + "".join(map(_named, row.arguments(factor)))
    raise Unnamed(_how_to_write(factor))


def _how_to_write(factor: Expr) -> str:
    if factor.is_Add:
        return "is a sum of parts; give the parts, and the search finds how much of each"
    if factor.is_number:
        return "is a number in a call; make a function of it with operator(...)"
    return "has no name; make a function of it with operator(...)"
