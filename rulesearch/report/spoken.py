"""An expression in words, by the table of quantities."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sympy import Add, Expr, Mul, Pow, Rational, Symbol

from rulesearch.notation import text_of
from rulesearch.notation.printing import place_of
from rulesearch.operators import NeuronSum, OwnSymbol, operator_of, row_of

_OVER = {
    "pre": "all neurons before the layer, each in the place of the pre-neuron,",
    "post": "all neurons of the layer, each in the place of the post-neuron,",
}
_POWERS: Mapping[Expr, str] = {
    Rational(2): "the square of",
    Rational(3): "the cube of",
    Rational(1, 2): "the square root of",
}
_FUNCTIONS: Mapping[str, str] = {
    "Abs": "the size of",
    "sign": "the sign of",
    "Heaviside": "the step (1 above 0, else 0) of",
    "Max": "the largest of",
    "Min": "the smallest of",
    "exp": "the exponential of",
    "log": "the logarithm of",
}


def spoken(form: Expr) -> str:
    """A canonical expression in words.

    Example:
        >>> from rulesearch.notation import W, e_post, sum_post, y_post, y_pre
        >>> spoken(-e_post * y_pre)
        'minus the error of the post-neuron times the activity of the pre-neuron'
        >>> spoken(sum_post(y_post * W))
        'the sum over all neurons of the layer, each in the place of the post-neuron, of (the
        activity of the post-neuron times the weight of the synapse)'
    """
    parts = sorted(
        form.as_ordered_terms() if form.is_Add else [form],
        key=lambda part: bool(part.could_extract_minus_sign()),
    )
    said = []
    for number, part in enumerate(parts):
        minus = part.could_extract_minus_sign()
        sign = "minus " if minus else "plus " if number else ""
        said.append(sign + _product(-part if minus else part))
    return ", ".join(said)


def _product(form: Expr) -> str:
    """A product, whose sign has been said."""
    above, below = [], []
    for factor in sorted(Mul.make_args(form), key=place_of):
        base, exponent = factor.as_base_exp()
        if exponent.is_number and exponent.is_negative:
            below.append(base**-exponent)
        elif factor.is_Rational and factor.q > 1:
            above += [Rational(factor.p)] if factor.p != 1 else []
            below.append(Rational(factor.q))
        else:
            above.append(factor)
    text = " times ".join(map(_factor, above)) or "1"
    return f"{text} divided by {' times '.join(map(_factor, below))}" if below else text


def _factor(form: Expr) -> str:
    if isinstance(form, Add):
        return f"({spoken(form)})"
    if isinstance(form, OwnSymbol):
        return str(form.name)
    if isinstance(form, Symbol):
        known = row_of(form)
        # What the table says in brackets, or after a comma, is for those who look it up.
        return f"the {re.split(r' [(]|, ', known.meaning)[0]}" if known else str(form)
    if isinstance(form, NeuronSum):
        return f"the sum over {_OVER[form.axis]} of {_inside(form.args[0])}"
    if isinstance(form, Pow):
        base, exponent = form.args
        if exponent in _POWERS:
            return f"{_POWERS[exponent]} {_inside(base)}"
        if base.is_number:
            return f"{text_of(base)} to the power {_inside(exponent)}"
        return f"{_inside(base)} to the power {_inside(exponent)}"
    if (row := operator_of(form.func)) is not None:
        return f"{_FUNCTIONS.get(row.name, f'{row.name} of')} {_arguments(row.arguments(form))}"
    return text_of(form)


def _arguments(arguments: tuple[Any, ...]) -> str:
    return " and ".join(map(_inside, arguments))


def _inside(form: Expr) -> str:
    """In brackets, if it is more than one thing."""
    if form.is_Add or form.is_Mul:
        return f"({spoken(form)})"
    return _factor(form)
