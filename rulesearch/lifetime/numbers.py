"""Numbers that lifetimes cannot start from: not finite, or beyond their dtype."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch
from sympy import Expr, Number, Pow

from rulesearch.errors import RuleSearchError
from rulesearch.lifetime.given import Given, check_finite, floating
from rulesearch.notation import Term, canonical
from rulesearch.notation.compact import compact
from rulesearch.operators import without_definitions


def check_coefficients(found: Given) -> None:
    """Refuse coefficients that are not finite, or not in the dtype of the weights.

    Raises:
        RuleSearchError: for the first.
    """
    check_finite("theta", found.theta)
    dtype = found.weights[0].dtype
    largest, reached = torch.finfo(dtype).max, float(found.theta.abs().max())
    if reached > largest:
        raise RuleSearchError(
            f"theta: {reached:g} is beyond {_name(dtype)}, which ends at {largest:.3g}; "
            "give float64 throughout"
        )


def check_numbers(found: Given) -> None:
    """Refuse weights, feedback and examples that are not finite.

    Looking at every number of them takes as long as a few steps, so it is done where a loss came
    out not finite: then they may be the reason, and no rule is to blame.

    Raises:
        RuleSearchError: for the first.
    """
    for name, tensor in floating(found):
        check_finite(name, tensor)


def check_constants(terms: Iterable[Term], dtype: torch.dtype) -> None:
    """Refuse terms with numbers that the dtype does not have.

    Raises:
        RuleSearchError: for the first.
    """
    for term in terms:
        if number := _beyond(term, dtype):
            limits = torch.finfo(dtype)
            raise RuleSearchError(
                f"pool, term {term.name}: {number} is beyond {_name(dtype)}, which goes from "
                f"{limits.tiny:.3g} to {limits.max:.3g}; scale the term, or give float64 throughout"
            )


@lru_cache(maxsize=1024)
def _beyond(term: Term, dtype: torch.dtype) -> str:
    """The first number of the term that overflows, or becomes zero; "" if none does."""
    limits = torch.finfo(dtype)
    expressions = [compact(canonical(without_definitions(e)), apart=True) for _, e in term.updates]
    numbers = frozenset[Expr]().union(*(e.atoms(Number) for e in expressions))
    # Where all else in a sum is zero, its power is that of a number.
    powers = frozenset[Expr]().union(*(e.atoms(Pow) for e in expressions))
    numbers |= {
        abs(power.base.as_coeff_Add()[0]) ** power.exp
        for power in powers
        if power.base.is_Add and power.exp.is_number and power.base.as_coeff_Add()[0]
    }
    for number in sorted(numbers, key=str):
        if number != 0 and not limits.tiny <= abs(number) <= limits.max:
            return f"{float(number.n(6)):g}" if abs(number) < 1e300 else str(number.n(3))
    return ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
