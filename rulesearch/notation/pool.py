"""Terms and pools: plain data that checks itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

from sympy import Expr, Function

from rulesearch.errors import RuleSearchError
from rulesearch.notation.canonical import canonical, degree
from rulesearch.notation.dependence import dependence
from rulesearch.notation.parsing import MOST_CHARACTERS, parse
from rulesearch.notation.printing import latex_of, text_of
from rulesearch.notation.vocabulary import closest, echo
from rulesearch.operators import (
    OPERATORS,
    QUANTITIES,
    Index,
    definitions_of,
    index_of,
    without_definitions,
)

PSEUDO_GRADIENT: Expr = -QUANTITIES["e_post"].symbol * QUANTITIES["y_pre"].symbol
START = 1e-3


@dataclass(frozen=True)
class Term:
    """One candidate update: the change of the synapse from pre-neuron k to post-neuron j.

    Attributes:
        name: what the pool calls it.
        expression: its canonical SymPy expression.

    Example:
        >>> term = Term.of("F8", "-y_post*sum_post(e_post*sum_pre(W*y_pre))*e_pre")
        >>> print(term, term.degree)
        -y_post*e_pre*sum_post(e_post*z_post) 4
    """

    name: str
    expression: Expr

    @staticmethod
    def of(name: str, source: Expr | str, operators: Mapping[str, Any] | None = None) -> Term:
        """A term from an expression or from text.

        Raises:
            RuleSearchError: see `parse` and `canonical`; "term NAME" is put in front.
        """
        try:
            if isinstance(source, str):
                form = canonical(parse(source, operators), source.strip())
            else:
                form = canonical(source)
            if len(text := text_of(form)) > MOST_CHARACTERS:
                raise RuleSearchError(
                    f"{echo(text)} is {len(text)} characters when expanded; "
                    f"at most {MOST_CHARACTERS}; make it shorter"
                )
        except RuleSearchError as error:
            raise error.located(f"term {name}") from None
        return Term(name, form)

    def __str__(self) -> str:
        return text_of(self.expression)

    @property
    def text(self) -> str:
        """The canonical expression in the notation of a term; `parse` reads it back."""
        return text_of(self.expression)

    @property
    def latex(self) -> str:
        """The expression as LaTeX."""
        return latex_of(self.expression)

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
        calls = {call.func for call in self.expression.atoms(Function)}
        return {f.__name__: f for f in sorted(calls, key=str) if f.__name__ not in OPERATORS}


@dataclass(frozen=True, init=False)
class Pool:
    """An ordered set of terms; what a grammar file defines.

    Attributes:
        terms: in the order given.
        start: coefficients that do not begin at zero, by name; at least one.

    Raises:
        RuleSearchError: a bad term, two that are the same, one that adds nothing to the others,
            or a start that names no term; one line each, all at once.

    Example:
        >>> from rulesearch.notation import e_post, e_pre, y_pre
        >>> pool = Pool(F0=-e_post * y_pre, F2=-e_post * e_pre)
        >>> pool.names, pool.reference
        (('F0', 'F2'), 'F0')
    """

    terms: tuple[Term, ...]
    start: Mapping[str, float] = field(hash=False)

    def __init__(
        self,
        /,
        *,
        start: Mapping[str, float] | None = None,
        operators: Mapping[str, Any] | None = None,
        **terms: Expr | str,
    ) -> None:
        if not terms:
            raise RuleSearchError("the pool has no terms; give at least one")
        made: list[Term] = []
        faults: list[str] = []
        for name, source in terms.items():
            try:
                made.append(Term.of(_checked(name), source, operators))
            except RuleSearchError as error:
                faults.extend(error.lines)
        faults.extend(_start_faults(start or {}, list(terms)))
        faults.extend(_repeated(made))
        faults.extend(_ambiguous(made))
        if not faults and (fault := dependence(list(terms), [t.expression for t in made])):
            faults.append(fault)
        if faults:
            raise RuleSearchError(*faults)
        object.__setattr__(self, "terms", tuple(made))
        object.__setattr__(self, "start", _start(start or {}, made))

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The terms' names, in order."""
        return tuple(term.name for term in self.terms)

    @property
    def reference(self) -> str:
        """The term with the largest start; units and the gain are measured against it."""
        return max(self.start, key=lambda name: abs(self.start[name]))

    @property
    def pseudo_gradient(self) -> str | None:
        """The term equal to -e_post*y_pre, or None."""
        return next((t.name for t in self.terms if t.expression == PSEUDO_GRADIENT), None)

    def only(self, *names: str) -> Pool:
        """The pool of these terms alone, in the pool's order; starts of the others are dropped.

        Raises:
            KeyError: a name that is not in the pool.
        """
        if strange := [name for name in names if name not in self.names]:
            raise KeyError(*strange)
        kept = tuple(t for t in self.terms if t.name in names)
        # Terms of an independent pool are independent: nothing to check again.
        pool = object.__new__(Pool)
        object.__setattr__(pool, "terms", kept)
        start = {n: v for n, v in self.start.items() if n in names}
        object.__setattr__(pool, "start", _start(start, kept))
        return pool


def _checked(name: str) -> str:
    if not name.isidentifier():
        raise RuleSearchError(f"term {name}: not a name; use letters, digits and _")
    return name


def _start(given: Mapping[str, float], terms: Sequence[Term]) -> dict[str, float]:
    """The start as given, or where that moves nothing the pool's default."""
    if any(given.values()):
        return {name: float(value) for name, value in given.items()}
    first = next((t for t in terms if t.expression == PSEUDO_GRADIENT), terms[0])
    return {first.name: START}


def _start_faults(start: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    for name, value in start.items():
        if name not in names:
            hint = closest(name, names) or f"; the terms are {', '.join(names)}"
            yield f"start {name}: no such term{hint}"
        elif isinstance(value, bool) or not isinstance(value, Real):
            yield f"start {name}: {value!r} is not a number; write one such as 1e-3"
        elif not math.isfinite(value):
            yield f"start {name}: {value} is not finite; write a number such as 1e-3"
    if start and not any(isinstance(v, Real) and v for v in start.values()):
        yield "start: every coefficient is zero; give at least one, such as 1e-3"


def _ambiguous(terms: list[Term]) -> tuple[str, ...]:
    """One name for two operators would be one operator in a run's record."""
    try:
        definitions_of(term.expression for term in terms)
    except RuleSearchError as error:
        return error.lines
    return ()


def _repeated(terms: list[Term]) -> Iterator[str]:
    seen: dict[Expr, Term] = {}
    for term in terms:
        try:
            # A name is not a difference: softsign(x) is x/(1 + Abs(x)).
            form = canonical(without_definitions(term.expression))
        except RuleSearchError as error:
            yield from error.located(f"term {term.name}").lines
            continue
        if first := seen.get(form):
            yield (
                f"term {term.name}: the same as {first.name}, {first}; leave out one of "
                f"{first.name}, {term.name}"
            )
        seen.setdefault(form, term)
