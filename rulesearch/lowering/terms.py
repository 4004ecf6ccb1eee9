"""Terms to plans: one for each parameter that they change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy
from sympy import Expr, Integer, Mul, Symbol

from rulesearch.lowering.plan import FIRST, Carried, Group, Part, Plan, before, known_ranges
from rulesearch.lowering.sharing import Sums, by_index, name_sums, share
from rulesearch.model import PAPER, Model
from rulesearch.notation import Pool, Term, canonical, text_of
from rulesearch.notation.canonical import potential_at_hand
from rulesearch.notation.compact import compact
from rulesearch.notation.comparison import unnamed
from rulesearch.operators import (
    NEURONS,
    PARAMETERS,
    POST,
    PRE,
    SCALAR,
    SYNAPSE,
    Index,
    Interval,
    LocalQuantity,
    NeuronSum,
    OwnSymbol,
    Parameter,
    range_of,
    without_definitions,
)


def lower(pool: Pool, model: Model = PAPER) -> Plan:
    """The plan of a pool.

    Example:
        >>> from rulesearch.notation import Pool
        >>> print(lower(Pool(F0="-e_post*y_pre", F9="y_post*y_pre - y_post*sum_post(y_post*W)")))
        p0 = sum_post(W*y_post)
        ΔW = e_post ⊗ [F0·(-y_pre)]
           + y_post ⊗ [F9·(y_pre) + F9·(-p0)]
    """
    return lower_terms(pool.terms, model)


@lru_cache(maxsize=256)
def lower_terms(terms: tuple[Term, ...], model: Model = PAPER) -> Plan:
    """The plan of some terms of a pool, in order; the position in `terms` is `Part.term`.

    That of W comes first, and those of the other parameters that terms change stand beside it.
    """
    changed = {parameter for term in terms for parameter, _ in term.updates}
    # What has bounds is kept within them after every step, whether or not a term moves it.
    changed |= {parameter for parameter, _, _ in model.bounds}
    updates: dict[Parameter, list[tuple[int, Expr]]] = {
        parameter: [
            (position, _written_out(expression, model))
            for position, term in enumerate(terms)
            for changes, expression in term.updates
            if changes == parameter
        ]
        for parameter in PARAMETERS
        if parameter == "W" or parameter in changed
    }
    # One number for a trace in the plans of all parameters, which kernels may join.
    every = _traces((expression for each in updates.values() for _, expression in each), model)
    numbers = {symbol: number for number, symbol in enumerate(every)}
    of_weights, *others = (
        _plan(terms, parameter, each, numbers, model) for parameter, each in updates.items()
    )
    return replace(of_weights, beside=tuple(others))


def _plan(
    terms: tuple[Term, ...],
    parameter: Parameter,
    updates: Sequence[tuple[int, Expr]],
    numbers: Mapping[OwnSymbol, int],
    model: Model,
) -> Plan:
    traces = _traces((expression for _, expression in updates), model)
    plain = {symbol: Symbol(f"_t{numbers[symbol]}", real=True) for symbol in traces}
    known: dict[str, Index] = {}
    for symbol, row in traces.items():
        known |= {plain[symbol].name: row.index, before(numbers[symbol]): row.index}
    sums = Sums({}, known)
    drafts = [
        draft
        for position, expression in updates
        for draft in _drafts(position, expression.xreplace(plain), sums)
    ]
    given = {
        plain[symbol]: name_sums(_moved(row, numbers[symbol], model).xreplace(plain), sums)
        for symbol, row in traces.items()
    }
    nodes, names = share([f for draft in drafts for f in draft.factors()], sums, given)
    grouped: dict[tuple[str | None, str | None], list[Part]] = {}
    for draft in drafts:
        scalar, pre, post, matrix = (names[f] for f in draft.factors())
        part = Part(draft.term, draft.coefficient, scalar, pre)
        grouped.setdefault((matrix, post), []).append(part)
    # What separates first, then what needs a value on synapses, in the order of the terms.
    ordered = sorted(grouped.items(), key=lambda item: item[0][0] is not None)
    groups = tuple(Group(matrix, post, tuple(parts)) for (matrix, post), parts in ordered)
    values = {symbol: names[given[plain[symbol]]] for symbol in traces}
    carried = _carried(values, numbers, model)
    return Plan(terms, nodes, groups, parameter, carried, model)


def _written_out(expression: Expr, model: Model) -> Expr:
    """Without definitions; and by the potential at hand where it has neither biases nor noise."""
    form = canonical(without_definitions(expression))
    form = compact(form, apart=True)
    return form if model.bias or model.noise else potential_at_hand(form)


# --- traces ------------------------------------------------------------------------------------


def _traces(expressions: Iterable[Expr], model: Model) -> dict[OwnSymbol, LocalQuantity]:
    """The traces that canonical expressions read, those that one follows before it."""
    found: dict[OwnSymbol, LocalQuantity] = {}
    for expression in expressions:
        own = (symbol for symbol in expression.free_symbols if isinstance(symbol, OwnSymbol))
        for symbol in sorted(own, key=lambda symbol: text_of(unnamed(symbol))):
            if symbol not in found:
                found |= _traces([_followed(symbol.row, model)], model)
                found[symbol] = symbol.row
    return found


def _followed(row: LocalQuantity, model: Model) -> Expr:
    assert row.definition is not None
    return _written_out(row.definition, model)


def _moved(row: LocalQuantity, number: int, model: Model) -> Expr:
    """A trace's new value, over what it was before: x̄ ← decay·x̄ + (1 - decay)·x."""
    assert row.memory is not None
    decay = sympy.Rational(repr(row.memory.decay))
    old, x = Symbol(before(number), real=True), _followed(row, model)
    if row.memory.initial is None:
        return x + decay * (1 - FIRST.symbol) * (old - x)
    # Part by part, so that sums and what separates are found.
    return decay * old + sympy.Add(*((1 - decay) * part for part in sympy.Add.make_args(x)))


def _carried(
    values: Mapping[OwnSymbol, str | None], numbers: Mapping[OwnSymbol, int], model: Model
) -> tuple[Carried, ...]:
    known = known_ranges(model)
    found = []
    for symbol, value in values.items():
        row = symbol.row
        assert row.memory is not None
        initial = row.memory.initial
        assert value is not None, "a trace of a constant has no place in a term"
        followed = _range_of(_followed(row, model), known)
        first = 0.0 if initial is None else initial
        between = Interval(min(first, followed.low), max(first, followed.high))
        known[row.name] = between
        found.append(Carried(row.name, numbers[symbol], row.index, value, initial, between))
    return tuple(found)


def _range_of(expression: Expr, known: Mapping[str, Interval]) -> Interval:
    """As `range_of`, of an expression with sums."""
    ranges, plain = dict(known), expression
    for number, total in enumerate(_outermost(expression)):
        name = f"sum {number}"  # no quantity can be called so
        ranges[name] = Interval(-NEURONS, NEURONS) * _range_of(total.args[0], known)
        plain = plain.xreplace({total: Symbol(name, real=True)})
    return range_of(plain, ranges)


def _outermost(expression: Expr) -> Sequence[Expr]:
    if isinstance(expression, NeuronSum):
        return [expression]
    return list(dict.fromkeys(total for a in expression.args for total in _outermost(a)))


# --- terms to parts ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Draft:
    """A part whose factors are still expressions over quantities and the symbols of sums."""

    term: int
    coefficient: Expr
    by_index: Mapping[Index, Expr]

    def factors(self) -> tuple[Expr, Expr, Expr, Expr]:
        return tuple(self.by_index[i] for i in (SCALAR, PRE, POST, SYNAPSE))


def _drafts(position: int, form: Expr, sums: Sums) -> Iterator[_Draft]:
    for part in sympy.Add.make_args(form):
        named = name_sums(part, sums)
        numbers = [f for f in Mul.make_args(named) if f.is_number]
        rest = Mul(*(f for f in Mul.make_args(named) if not f.is_number))
        yield _Draft(position, Mul(Integer(1), *numbers), by_index(rest, sums))
