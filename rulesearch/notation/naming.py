"""What a product of named factors is called: it hangs on the expression alone."""

from __future__ import annotations

from sympy import Abs, Expr, Heaviside, Max, Min, Mul, Pow, Rational, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.notation.printing import place_of
from rulesearch.operators import SYNAPSE, NeuronSum, index_of, operator_of

#: What a function is called where SymPy's class has a capital.
_CALLED = {Abs: "abs", Max: "max", Min: "min", Heaviside: "heaviside"}


def name_of(product: Expr) -> str:
    """The name of a product: its factors as they are printed, the letters of each run together.

    A power is a digit, a function stands before what it is of, and a sum is `sum` before what is
    summed. So the name is an identifier, says the term but for its constant factor, and does not
    hang on what else is in a pool.

    Raises:
        RuleSearchError: a factor has no such name; the end of a message.

    Example:
        >>> from rulesearch.notation import Abs, W, e_post, e_pre, sum_post, tanh, y_post
        >>> name_of(-e_pre * y_post**2), name_of(tanh(e_post) * Abs(W) * sum_post(y_post * W))
        ('ypost2_epre', 'tanhepost_absW_sumWypost')
    """
    factors = [factor for factor in Mul.make_args(product) if not factor.is_number]
    return "_".join(map(_letters, sorted(factors, key=place_of)))


def _letters(factor: Expr) -> str:
    if isinstance(factor, Symbol):
        return str(factor.name).replace("_", "")
    if isinstance(factor, NeuronSum):
        return _letters_of_sum(factor)
    if isinstance(factor, Pow) and factor.exp == Rational(1, 2):
        return f"sqrt{_letters(factor.base)}"
    if isinstance(factor, Pow) and factor.exp.is_Integer and factor.exp > 0:
        return f"{_letters(factor.base)}{factor.exp}"
    if factor.is_Mul:
        return "".join(map(_letters, sorted(factor.args, key=place_of)))
    row = operator_of(factor.func)
    if row is None:
        way_out = "make a function of it with operator(...)"
        if factor.is_Add:
            raise RuleSearchError(f"is a sum of parts; give them apart, or {way_out}")
        raise RuleSearchError(f"is no quantity and no function of one; {way_out}")
    return _CALLED.get(factor.func, row.name) + "".join(map(_letters, row.arguments(factor)))


def _letters_of_sum(total: NeuronSum) -> str:
    summand = Mul.make_args(total.args[0])
    weights = [factor for factor in summand if index_of(factor) == SYNAPSE]
    cells = [factor for factor in summand if index_of(factor) != SYNAPSE]
    # Over which side, the quantities of a cell say; W lies on both.
    side = "" if cells else total.axis
    parts = [_letters(f) for group in (weights, cells) for f in sorted(group, key=place_of)]
    return f"sum{side}{''.join(parts)}"
