"""One candidate term: plain data that checks itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sympy import Expr, Function

from rulesearch.errors import RuleSearchError
from rulesearch.notation.canonical import canonical, degree
from rulesearch.notation.compact import compact
from rulesearch.notation.comparison import compared, quotient
from rulesearch.notation.dependence import Updates
from rulesearch.notation.own import own_symbols
from rulesearch.notation.parsing import MOST_CHARACTERS, parse
from rulesearch.notation.printing import latex_of, text_of
from rulesearch.notation.vocabulary import echo
from rulesearch.operators import (
    OPERATORS,
    POST,
    QUANTITIES,
    Index,
    OwnSymbol,
    Parameter,
    index_of,
    without_definitions,
)

PSEUDO_GRADIENT: Expr = -QUANTITIES["e_post"].symbol * QUANTITIES["y_pre"].symbol


@dataclass(frozen=True)
class Term:
    """One candidate update: the change of the synapse from pre-neuron k to post-neuron j.

    Attributes:
        name: what the pool calls it.
        expression: its canonical SymPy expression.
        changes: the parameter that it is a change of.
        beside: changes of other parameters with the same coefficient, and their expressions, as
            Kolen-Pollack has it: both matrices get the same.

    Example:
        >>> term = Term.of("F8", "-y_post*sum_post(e_post*sum_pre(W*y_pre))*e_pre")
        >>> print(term, term.degree)
        -y_post*e_pre*sum_post(e_post*sum_pre(W*y_pre)) 5
    """

    name: str
    expression: Expr
    changes: Parameter = "W"
    beside: tuple[tuple[Parameter, Expr], ...] = ()

    @staticmethod
    def of(
        name: str,
        source: Expr | str,
        operators: Mapping[str, Any] | None = None,
        *,
        quantities: Mapping[str, OwnSymbol] | None = None,
        changes: Parameter = "W",
    ) -> Term:
        """A term from an expression or from text.

        Raises:
            RuleSearchError: see `parse` and `canonical`, and a change of a bias that is not of its
                neuron; "term NAME" is put in front.
        """
        try:
            if isinstance(source, str):
                form = canonical(parse(source, operators, quantities=quantities), source.strip())
            else:
                form = canonical(source)
            _check_readable(form)
            compared(form)  # a definition may be zero, or too long when written out
            if changes == "b" and not index_of(form) <= POST:
                raise RuleSearchError(
                    f"{echo(text_of(form))} is of a pre-neuron or a synapse, and a bias has a "
                    "post-neuron alone; sum it by sum_pre, or leave the pre-neuron out"
                )
        except RuleSearchError as error:
            raise error.located(f"term {name}") from None
        return Term(name, form, changes)

    def __str__(self) -> str:
        return self.text

    @property
    def text(self) -> str:
        """The expression in the notation of a term; `parse` reads it back."""
        return text_of(compact(self.expression))

    @property
    def updates(self) -> Updates:
        """All that its coefficient multiplies: each parameter, and the expression of its change."""
        return ((self.changes, self.expression), *self.beside)

    @property
    def shown(self) -> str:
        """The text, with what it changes where that is not W alone.

        Example:
            >>> Term.of("decay", "-B", changes="B").shown
            'dB = -B'
        """
        if self.changes == "W" and not self.beside:
            return self.text
        return ", ".join(f"d{parameter} = {text_of(compact(e))}" for parameter, e in self.updates)

    @property
    def factor(self) -> Expr:
        """The constant, not zero, that `form` is times: `expression` is `factor*form`."""
        return compared(self.expression).factor

    @property
    def form(self) -> Expr:
        """The expression without its constant factor, operators of its own by their definitions.

        Example:
            >>> [str(Term.of("F", text).form) for text in ("-e_post*y_pre", "pi*y_pre*e_post/2")]
            ['e_post*y_pre', 'e_post*y_pre']
        """
        return compared(self.expression).form

    @property
    def key(self) -> str:
        """The text of the form: two terms are the same up to a constant if theirs agree.

        With what it changes in front, where that is not W, and with what it changes beside.

        Example:
            >>> Term.of("decay", "-B", changes="B").key
            'B: B'
        """
        first = compared(self.expression)
        texts = [first.key if self.changes == "W" else f"{self.changes}: {first.key}"]
        for parameter, expression in self.beside:
            other = compared(expression)
            by = quotient(other.factor, first.factor)
            form = other.key if by == 1 else f"{text_of(by)}*({other.key})"
            texts.append(f"{parameter}: {form}")
        return " | ".join(texts)

    def share(self, expression: Expr) -> float | None:
        """What this term's coefficient must be for it to be the expression; None if none is.

        A term that changes something else than W, or beside it, is not the expression.

        Args:
            expression: canonical, as that of a term.

        Example:
            >>> double = Term.of("F", "-2*e_post*y_pre")
            >>> double.share(PSEUDO_GRADIENT), double.share(double.form)
            (0.5, -0.5)
        """
        if self.changes != "W" or self.beside:
            return None
        return share_of(self.expression, expression)

    @property
    def latex(self) -> str:
        """The expression as LaTeX."""
        return latex_of(compact(self.expression))

    @property
    def index(self) -> Index:
        """The index set before the term is broadcast to {pre, post}."""
        return index_of(self.expression)

    @property
    def degree(self) -> int | None:
        """Degree as a polynomial in the local quantities, or None."""
        return degree(without_definitions(self.expression))

    @property
    def operators(self) -> Mapping[str, Any]:
        """The operators of its own that the term calls, by name."""
        return _own_operators(self.expression)


def share_of(expression: Expr, other: Expr) -> float | None:
    """What a canonical expression is to be multiplied by to be another; None if nothing does."""
    ours, theirs = compared(expression), compared(other)
    return float(theirs.factor / ours.factor) if theirs.key == ours.key else None


@lru_cache(maxsize=16_384)
def _check_readable(form: Expr) -> None:
    """Refuse a form whose text cannot be read again, as that of a run is."""
    if len(text := text_of(form)) > MOST_CHARACTERS:
        raise RuleSearchError(
            f"{echo(text)} is {len(text)} characters when expanded; "
            f"at most {MOST_CHARACTERS}; make it shorter"
        )
    parse(text, _own_operators(form), quantities=own_symbols([form]))


def _own_operators(expression: Expr) -> dict[str, Any]:
    calls = {call.func for call in expression.atoms(Function)}
    return {f.__name__: f for f in sorted(calls, key=str) if f.__name__ not in OPERATORS}
