"""Which terms cannot stand in one pool: by their names, their values, and where they meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sympy import Expr

from rulesearch.errors import RuleSearchError
from rulesearch.notation.comparison import unnamed
from rulesearch.notation.dependence import Updates, dependences
from rulesearch.notation.drawn import LARGEST, MOST_NEURONS
from rulesearch.notation.layers import Layers, meetings
from rulesearch.notation.measured import finite_somewhere
from rulesearch.notation.own import own_symbols
from rulesearch.notation.term import Term
from rulesearch.notation.views import said_of
from rulesearch.notation.vocabulary import echo
from rulesearch.operators import definitions_of


def groups(
    terms: Sequence[Term], where: Mapping[str, Layers]
) -> dict[str, dict[str, Expr | Updates]]:
    """Name -> changes of the terms that meet, by where they do."""
    changes = {term.name: term.updates for term in terms}
    met = meetings(list(changes), where)
    return {place: {name: changes[name] for name in names} for place, names in met.items()}


def finite_nowhere(terms: Sequence[Term]) -> Iterator[str]:
    """Terms that have no value anywhere, a line each."""
    for term in terms:
        if not finite_somewhere(term.expression):
            yield (
                f"term {term.name}: {echo(term.text)} is finite nowhere where it was tried "
                f"(quantities from -{LARGEST:g} to {LARGEST:g}, 2 to {MOST_NEURONS} neurons); keep "
                "roots and logarithms within their domain by Max or Abs, and powers and "
                "exponentials small"
            )


def ambiguous(terms: Sequence[Term]) -> Iterator[str]:
    """What one name would mean twice in a run's record, and what two names would mean."""
    expressions = [e for term in terms for _, e in term.updates]
    called: Mapping[str, object] = {}
    try:
        called = definitions_of(expressions)
    except RuleSearchError as error:
        yield from error.lines
    try:
        own = own_symbols(expressions)
    except RuleSearchError as error:
        yield from error.lines
        return
    for name in sorted({*called} & {*own}):
        yield f"quantity {name}: an operator is called that too; choose another name"
    first: dict[Expr, str] = {}
    for name, symbol in own.items():
        if symbol.row.memory and (same := first.setdefault(unnamed(symbol), name)) != name:
            yield f"trace {name}: the same as {same}, {said_of(symbol)}; use one of them"


def dependent(terms: Sequence[Term], where: Mapping[str, Layers]) -> list[str]:
    """Terms that are the same where they meet; if there are none, those that are sums of others."""
    return list(repeated(terms, where)) or list(dependences(groups(terms, where)))


def repeated(terms: Sequence[Term], where: Mapping[str, Layers]) -> Iterator[str]:
    """Terms that are the same but for a factor, save those in layers apart."""
    seen: dict[str, list[Term]] = {}
    for term in terms:
        for first in seen.setdefault(term.key, []):
            if (fault := _clash(first, term, where)) is not None:
                yield fault
                break
        seen[term.key].append(term)


def _clash(first: Term, term: Term, where: Mapping[str, Layers]) -> str | None:
    """What is wrong with two terms of one form; None if they share no layer."""
    pair = f"{first.name}, {term.name}"
    scaled = "" if first.factor == term.factor else ", but for a factor"
    part = "" if len(first.updates) == len(term.updates) == 1 else f"in d{first.changes} "
    same = f"term {term.name}: {part}the same as {first.name}, {first}{scaled}"
    here, there = where.get(first.name), where.get(term.name)
    if here is None and there is None:
        return f"{same}; leave out one of {pair}"
    shared = [n for n in here or there or () if n in (there or here or ())]
    if not shared:
        return None
    return (
        f"{same}, in layer {shared[0]}; give them layers apart in where, or leave out one of {pair}"
    )
