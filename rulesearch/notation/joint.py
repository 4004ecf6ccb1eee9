"""Pools for several parameters as one: W's terms, then the feedback's, then those of biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rulesearch.errors import RuleSearchError
from rulesearch.notation.layers import Layers
from rulesearch.notation.meeting import ambiguous, dependent
from rulesearch.notation.options import Bounds
from rulesearch.notation.pool import Pool
from rulesearch.notation.term import Term
from rulesearch.operators import PARAMETERS, QUANTITIES

#: What a bias changes by where nothing else is said, and what that term is called.
BIAS = "b0"


def together(pool: Pool, *others: Pool) -> Pool:
    """One pool of the terms of all, so that theta holds the coefficients of one after the other.

    A name in two of them is one coefficient, and what it multiplies in each: Kolen-Pollack's rule
    changes W and B by the same. Otherwise names differ. Where terms begin and where they act is as
    each pool has it; a shared one begins and acts as in the first that has it.

    Args:
        pool: that changes W.
        *others: pools of feedback, `of="B"`, and of biases, `of="b"`.

    Raises:
        RuleSearchError: two pools of one parameter that share a name, or that say different things
            of it; one line each.

    Example:
        >>> pool = Pool(kp="-e_post*y_pre", hebb="y_post*y_pre")
        >>> joint = together(pool, Pool(kp="-e_post*y_pre", decay="-B", of="B"))
        >>> joint.names, joint.terms[0].beside, joint.terms[2].changes
        (('kp', 'hebb', 'decay'), (('B', -e_post*y_pre),), 'B')
    """
    terms = {term.name: term for term in pool}
    start, where, bounds = dict(pool.start), dict(pool.where), pool.bounds
    faults: list[str] = []
    for other in others:
        faults.extend(_clashes(terms, where, other))
        for term in other:
            if (first := terms.get(term.name)) is None:
                terms[term.name] = term
                start |= {n: v for n, v in other.start.items() if n == term.name}
                where |= {n: layers for n, layers in other.where.items() if n == term.name}
            else:
                terms[term.name] = _shared(first, term)
        bounds, disagreements = _both(bounds, other.bounds)
        faults.extend(disagreements)
    made = tuple(sorted(terms.values(), key=lambda term: PARAMETERS.index(term.changes)))
    faults = faults or list(ambiguous(made))
    # What a pool has refused by itself stays refused, and changes of different parameters have
    # nothing in common.
    changed = [{p for term in each for p, _ in term.updates} for each in (pool, *others)]
    if sum(map(len, changed)) > len(set().union(*changed)):
        faults = faults or dependent(made, where)
    if faults:
        raise RuleSearchError(*faults)
    remarks = tuple(line for each in (pool, *others) for line in each.remarks)
    declared = tuple(symbol for each in (pool, *others) for symbol in each.declared)
    return Pool.checked(made, start, where, bounds, remarks, declared)


def _shared(first: Term, second: Term) -> Term:
    """One term of both changes."""
    updates = sorted((*first.updates, *second.updates), key=lambda u: PARAMETERS.index(u[0]))
    (changes, expression), *beside = updates
    return Term(first.name, expression, changes, tuple(beside))


def _clashes(terms: Mapping[str, Term], where: Mapping[str, Layers], other: Pool) -> Iterator[str]:
    """What is wrong with the names that a pool shares with those before it."""
    for term in other:
        first = terms.get(term.name)
        if first is None:
            continue
        twice = {p for p, _ in first.updates} & {p for p, _ in term.updates}
        if twice:
            yield (
                f"term {term.name}: changes {min(twice)} in two pools; give each a name of its own"
            )
        elif term.name in other.where and other.where[term.name] != where.get(term.name):
            yield (
                f"term {term.name}: has one coefficient for {first.changes} and {term.changes}, "
                f"and acts in other layers for {term.changes}; give it the same where in both "
                "pools, or another name in one"
            )


def _both(first: Bounds, second: Bounds) -> tuple[Bounds, list[str]]:
    """The bounds that either pool has, and what is said of those that differ."""
    known = {parameter: (low, high) for parameter, low, high in first}
    differ = [
        f"bounds {parameter}: {known[parameter]} in one pool and {(low, high)} in another; give "
        "them once"
        for parameter, low, high in second
        if known.get(parameter, (low, high)) != (low, high)
    ]
    return (*first, *(row for row in second if row[0] not in known)), differ


def with_biases(pool: Pool) -> Pool:
    """The pool, with -e_post for the biases where no term of it changes them.

    Example:
        >>> print(*with_biases(Pool(F0="-e_post*y_pre")).names)
        F0 b0
    """
    if any(parameter == "b" for term in pool for parameter, _ in term.updates):
        return pool
    name = next(
        n for n in (BIAS, *(f"{BIAS}_{i}" for i in range(len(pool)))) if n not in pool.names
    )
    return together(pool, Pool(of="b", **{name: -QUANTITIES["e_post"].symbol}))
