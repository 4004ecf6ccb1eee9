"""What a term needs beyond its own synapse, decided from the expression alone, with evidence.

A verdict is a set of needs, not a yes or no. The paper calls all ten of its
terms local (section 4.2, and the Discussion on errors and activities in the same neurons); this
says what each of them really asks of a brain.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from sympy import Expr, Symbol

from rulesearch.choices import Neurons
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool, Term, by_potential, canonical, text_of
from rulesearch.notation.needs import NEEDS as NEEDS
from rulesearch.notation.needs import SYNAPTIC, need_of_sum, need_of_symbol
from rulesearch.notation.needs import Need as Need
from rulesearch.notation.needs import parse_needs as parse_needs
from rulesearch.notation.views import said_of
from rulesearch.operators import (
    POST,
    PRE,
    QUANTITIES,
    SCALAR,
    Index,
    NeuronSum,
    OwnSymbol,
    Parameter,
    definition_of,
    without_definitions,
)

#: No more terms are refused by a line of their own.
MOST_SAID = 10

#: What a sum reads that a change of each parameter needs so much for.
_READS_OF_SUM: dict[Parameter, dict[Need, str]] = {
    "W": {
        "dendritic": "every incoming synapse of the post-cell",
        "retrograde": "every outgoing synapse of the pre-cell",
        "global": "every synapse of the layer",
    },
    "B": {
        "dendritic": "every feedback synapse that ends at the pre-cell",
        "retrograde": "every feedback synapse that begins at the post-cell",
        "global": "every synapse of the layer",
    },
    "b": {
        "dendritic": "every incoming synapse of the post-cell",
        "global": "cells that no synapse of the post-cell comes from",
    },
}
_ANOTHER = "the weight of another synapse"
_SCALAR = "a signal that is the same everywhere"
_ELSEWHERE = "a cell of another population"


@dataclass(frozen=True)
class Evidence:
    """Why a term has a need: the smallest sub-expression that has it, and what it reads."""

    need: Need
    expression: str
    reads: str

    def __str__(self) -> str:
        return f"{self.expression} reads {self.reads}"


@dataclass(frozen=True)
class Read:
    """A quantity that the update of synapse (j, k) reads, and over which neurons.

    Attributes:
        quantity: name of the local quantity.
        every: the indices over which it is read at all neurons rather than at the synapse's own.
    """

    quantity: str
    every: Index


@dataclass(frozen=True)
class Verdict:
    """The needs of a term, each with its evidence, and all that its update reads.

    Attributes:
        needs: beyond the synapse and its two cells; empty for a synaptic term.
        evidence: one for each need, in the order of NEEDS.
        reads: the update depends on nothing else, in this step and in those before it that a trace
            remembers. What two reads of a quantity have in common may cancel, as in
            sum_pre(y_pre) - y_pre.
    """

    needs: frozenset[Need]
    evidence: tuple[Evidence, ...]
    reads: frozenset[Read]

    def __str__(self) -> str:
        return ", ".join(n for n in NEEDS if n in self.needs) or SYNAPTIC


@lru_cache(maxsize=16_384)
def classify(term: Term, neurons: Neurons = "shared") -> Verdict:
    """The verdict on a term.

    Args:
        term: its canonical expressions are judged, operators, traces and quantities of one's own
            by their definitions; of several parameters that it changes, all.
        neurons: `shared`, activities and errors live in the same cells; `separate`, a forward
            synapse and a bias do not see errors, a feedback synapse does not see activities, and
            a term that uses one is `foreign`.

    Raises:
        RuleSearchError: what is no term.

    Example:
        >>> from rulesearch.notation import Term
        >>> verdict = classify(Term.of("F9", "y_post*y_pre - y_post*sum_post(y_post*W)"))
        >>> print(verdict, "|", verdict.evidence[0])
        retrograde | sum_post(y_post*W) reads every outgoing synapse of the pre-cell
    """
    if not isinstance(term, Term):
        raise RuleSearchError(f"classify: a {type(term).__name__}; give a term, as pool.terms[0]")
    evidence: list[Evidence] = []
    reads: set[Read] = set()
    for parameter, expression in term.updates:
        form = by_potential(canonical(without_definitions(expression)))
        evidence.extend(_evidence(form, parameter, neurons))
        reads.update(_reads(form))
    first: dict[Need, Evidence] = {}
    for item in sorted(evidence, key=lambda e: len(e.expression)):
        first.setdefault(item.need, item)
    needs = frozenset(first)
    return Verdict(needs, tuple(first[n] for n in NEEDS if n in needs), frozenset(reads))


def _evidence(form: Expr, changes: Parameter, neurons: Neurons) -> Iterator[Evidence]:
    yield from _sums(form, changes)
    for symbol in sorted(form.free_symbols, key=str):
        if isinstance(symbol, OwnSymbol):
            yield from _of_trace(form, symbol, changes, neurons)
            continue
        if (need := need_of_symbol(symbol, changes)) is not None:
            yield Evidence(need, symbol.name, _ANOTHER if need == "transport" else _SCALAR)
        if neurons == "separate" and _is_foreign(symbol.name, changes):
            yield Evidence("foreign", symbol.name, _ELSEWHERE)


def _of_trace(
    form: Expr, symbol: OwnSymbol, changes: Parameter, neurons: Neurons
) -> Iterator[Evidence]:
    """What a trace needs is what it follows; within a sum, its sums are part of that."""
    of_sums = () if symbol in _outside_of_sums(form) else ("dendritic", "retrograde")
    followed = by_potential(canonical(without_definitions(definition_of(symbol))))
    for found in _evidence(followed, changes, neurons):
        if found.need not in of_sums:
            yield Evidence(found.need, f"{symbol} ({said_of(symbol)})", found.reads)


def _outside_of_sums(form: Expr) -> set[Symbol]:
    if isinstance(form, NeuronSum):
        return set()
    return {form} if isinstance(form, Symbol) else set().union(*map(_outside_of_sums, form.args))


def _sums(form: Expr, changes: Parameter) -> Iterable[Evidence]:
    """The need of each outermost sum; what it contains is part of it."""
    if isinstance(form, NeuronSum):
        need = need_of_sum(form, changes)
        if need == "global":
            # Smaller evidence may lie inside, as in a sum over a sum over a sum.
            inner = [e for a in form.args for e in _sums(a, changes) if e.need == "global"]
            yield from inner or [_because(form, need, changes)]
        else:
            yield _because(form, need, changes)
        return
    for argument in form.args:
        yield from _sums(argument, changes)


def _because(form: Expr, need: Need, changes: Parameter) -> Evidence:
    return Evidence(need, text_of(form), _READS_OF_SUM[changes][need])


def _is_foreign(name: str, changes: Parameter) -> bool:
    """Whether a quantity of a cell belongs to the population that the parameter is not of.

    Feedback runs between the cells that hold errors, all else between those of activities.
    """
    row = QUANTITIES[name]
    of_a_cell = row.index in (PRE, POST)
    return of_a_cell and row.error != (changes == "B")


def _reads(form: Expr, every: Index = SCALAR) -> Iterable[Read]:
    if isinstance(form, OwnSymbol):
        yield from _reads(without_definitions(definition_of(form)), every)
        return
    if isinstance(form, Symbol):
        yield Read(form.name, every & QUANTITIES[form.name].index)
        return
    if isinstance(form, NeuronSum):
        every = every | {form.axis}
    for argument in form.args:
        yield from _reads(argument, every)


def within(pool: Pool, allowed: Collection[Need], neurons: Neurons = "shared") -> None:
    """Refuse a pool with terms that need more than is allowed.

    Raises:
        RuleSearchError: one line for each such term: its need, the evidence and the way out; of
            many, the first, and how many more there are.
    """
    shown = ",".join(n for n in NEEDS if n in allowed) or SYNAPTIC
    faults = []
    for term in pool:
        verdict = classify(term, neurons)
        excess = [e for e in verdict.evidence if e.need not in allowed]
        if excess:
            because = " and ".join(map(str, excess))
            wider = ",".join(n for n in NEEDS if n in allowed or n in verdict.needs)
            faults.append(
                f"term {term.name}: needs {', '.join(e.need for e in excess)}, not in --locality "
                f"{shown}: {because}; allow it with --locality {wider} or leave {term.name} out"
            )
    if len(faults) == len(pool):
        way_out = f"--locality {shown}: excludes all {len(pool)} terms; allow more needs"
        raise RuleSearchError(*faults[:MOST_SAID], way_out)
    if (more := len(faults) - MOST_SAID) > 0:
        left = len(pool) - len(faults)
        way_out = (
            f"--locality {shown}: excludes {more:,} terms more and leaves {left:,}; in a space, "
            f'needs="{shown}" makes those alone'
        )
        raise RuleSearchError(*faults[:MOST_SAID], way_out)
    if faults:
        raise RuleSearchError(*faults)


def terms_by_needs(pool: Pool, neurons: Neurons = "shared") -> dict[str, int]:
    """How many terms have just these needs, the fewest needs first.

    Example:
        >>> from rulesearch.notation import Pool
        >>> terms_by_needs(Pool(A="-W", B="-e_post", C="-sum_post(y_post)"))
        {'synaptic': 2, 'retrograde': 1}
    """
    verdicts = [classify(term, neurons) for term in pool]
    ordered = sorted(verdicts, key=lambda v: (len(v.needs), [n not in v.needs for n in NEEDS]))
    return dict(Counter(map(str, ordered)))


def terms_allowed(pool: Pool, neurons: Neurons = "shared") -> dict[str, int]:
    """How many terms `--locality` allows, by what is given there.

    Only what allows more terms than any part of it is listed, the fewest needs first.

    Example:
        >>> from rulesearch.notation import Pool
        >>> terms_allowed(Pool(A="-W", B="-sum_post(y_post)", C="-sum_pre(e_pre)*sum_post(W)"))
        {'synaptic': 1, 'retrograde': 2, 'dendritic,retrograde': 3}
    """
    counts = Counter(classify(term, neurons).needs for term in pool)
    found = {frozenset[Need](): counts[frozenset()]}
    for size in range(1, len(NEEDS) + 1):
        for needs in map(frozenset, itertools.combinations(NEEDS, size)):
            allowed = sum(number for has, number in counts.items() if has <= needs)
            if all(allowed > fewer for part, fewer in found.items() if part < needs):
                found[needs] = allowed
    return {",".join(n for n in NEEDS if n in k) or SYNAPTIC: v for k, v in found.items()}
