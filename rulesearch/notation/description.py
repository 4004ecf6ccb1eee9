"""The description of a space, as a grammar file gives it, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypedDict

from sympy import Expr, Integer, Mul, Pow, Symbol

from rulesearch.errors import RuleSearchError, closest
from rulesearch.notation.canonical import by_potential, canonical
from rulesearch.notation.dependence import equation
from rulesearch.notation.measured import vanishing
from rulesearch.notation.naming import name_of
from rulesearch.notation.needs import NEEDS, Need, needs_of, parse_needs
from rulesearch.notation.own import symbols_by_name
from rulesearch.notation.parsing import parse
from rulesearch.notation.printing import text_of
from rulesearch.notation.refusals import HIGHEST_POWER
from rulesearch.notation.space import Choice, Space
from rulesearch.notation.vocabulary import echo
from rulesearch.operators import (
    COMMON,
    OPERATORS,
    POST,
    PRE,
    QUANTITIES,
    SYNAPSE,
    Index,
    NeuronSum,
    OwnSymbol,
    Parameter,
    index_of,
    sum_post,
    sum_pre,
)


class Description(TypedDict, total=False):
    """What a space is described by; `Pool.generate` says what each means, and its default."""

    post: Iterable[Expr | str] | Expr | str
    pre: Iterable[Expr | str] | Expr | str
    synapse: Iterable[Expr | str | int] | Expr | str
    functions: Iterable[Callable[[Expr], Expr] | str]
    degree: int
    power: int
    sums: int
    layer: Iterable[Expr | str] | Expr | str
    needs: str


OPTIONS = tuple(Description.__annotations__)

_CELLS: Mapping[str, Index] = {"post": POST, "pre": PRE}
_OWN = "make a function of it with operator(...)"


def described(
    description: Mapping[str, Any],
    operators: Mapping[str, Any] | None = None,
    quantities: Iterable[Symbol] = (),
    changes: Parameter = "W",
) -> Space:
    """The space of a description; no term of it is made.

    Args:
        description: option -> value, as `Pool.generate` says.
        operators: those that text may call beside the table's, by name.
        quantities: those of one's own that text may read beside the table's.
        changes: the parameter that the terms change.

    Raises:
        RuleSearchError: what no space can be described by; one line each, all at once.

    Example:
        >>> space = described({"post": "e_post", "pre": ["y_pre", "e_pre"], "degree": 2})
        >>> space.count, [name for name, _ in space.terms()][:4]
        (9, ['epost', 'epre', 'ypre', 'epost2'])
    """
    reading = _Reading(description, operators or {}, symbols_by_name(quantities), changes)
    space = reading.space()
    if reading.faults:
        raise RuleSearchError(*(f"space{line}" for line in reading.faults))
    return space


class _Reading:
    """One description being read; faults are gathered, each with its option in front."""

    def __init__(
        self,
        description: Mapping[str, Any],
        operators: Mapping[str, Any],
        quantities: Mapping[str, OwnSymbol],
        changes: Parameter,
    ) -> None:
        self.description = description
        self.operators = operators
        self.quantities = quantities
        self.changes = changes
        self.faults = [
            f" {name}: is no option{closest(name, OPTIONS)} (a space has {', '.join(OPTIONS)})"
            for name in description
            if name not in OPTIONS
        ]

    def space(self) -> Space:
        degree = self._whole("degree", 2, 1)
        power = self._whole("power", 2, 1, HIGHEST_POWER)
        sums = self._whole("sums", 0, 0)
        allowed = self._needs()
        cells = {side: self._cell(side) for side in _CELLS}
        synapse = self._synapse()
        quantities = {
            side: [f for f in factors if f.is_Symbol and index_of(f) == _CELLS[side]]
            for side, factors in cells.items()
        }
        factors = [*cells["post"], *cells["pre"], *self._functions(quantities)]
        families = _families(dict.fromkeys(factors), min(power, degree))
        # Products are independent where the choices for each quantity are, its absence among them.
        self._check_independent([[Integer(1), *(c.factor for c in f)] for f in families])
        self._check_independent([synapse])
        families += [
            [Choice(total**n, n, n) for n in range(1, min(power, degree, sums) + 1)]
            for total in self._layer(quantities, synapse, sums)
            if total not in factors  # as z_post may be
        ]

        def within(factor: Expr) -> bool:
            return needs_of(factor, self.changes) <= allowed

        kept = ([c for c in family if within(c.factor)] for family in families)
        ordered = sorted((tuple(sorted(family, key=str)) for family in kept if family), key=str)
        return Space(tuple(ordered), tuple(filter(within, synapse)), degree, sums)

    # --- the options ------------------------------------------------------------------------------

    def _whole(self, option: str, default: int, least: int, most: int | None = None) -> int:
        value = self.description.get(option, default)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and value >= least and (most is None or value <= most):
            return int(value)
        upper = f" and at most {most}" if most else ""
        self.faults.append(f" {option}: {value!r}; give a whole number, at least {least}{upper}")
        return default

    def _needs(self) -> frozenset[Need]:
        text = self.description.get("needs", "all")
        try:
            if isinstance(text, str):
                return parse_needs(text, " needs")
            self.faults.append(f' needs: {text!r} is not text; write one such as "dendritic"')
        except RuleSearchError as error:
            self.faults.extend(error.lines)
        return frozenset(NEEDS)

    def _cell(self, side: str) -> list[Expr]:
        """The quantities of a cell, and functions of them, that are given."""
        return [factor for factor in self._read(side) if self._passes(side, factor, side)]

    def _synapse(self) -> list[Expr]:
        found = set()
        for factor in self._read("synapse", (1,)):
            if factor == 1 or self._passes("synapse", factor, "synapse"):
                found.add(factor)
        return sorted(found, key=lambda f: (f != 1, text_of(f)))

    def _functions(self, quantities: Mapping[str, list[Expr]]) -> Iterator[Expr]:
        """The functions that are given, of each quantity of a cell."""
        for function in self._given("functions"):
            if (call := self._callable(function)) is None:
                self.faults.append(f" functions: {_how_to_call(function)}")
                continue
            for side, symbols in quantities.items():
                yield from (v for s in symbols if (v := self._value(call, s, side)) is not None)

    def _value(self, call: Callable[[Expr], Expr], quantity: Expr, side: str) -> Expr | None:
        """The function of a quantity; None, and a fault, if it cannot be a factor."""
        try:
            value = _without_number(canonical(call(quantity)))
        except RuleSearchError as error:
            self.faults.extend(f" functions: {line}" for line in error.lines)
            return None
        except TypeError as error:  # another number of arguments
            self.faults.append(f" functions: {error}; give functions of one quantity")
            return None
        if value in (quantity, 1):
            self.faults.append(f" functions: one is {value} for {quantity}; leave it out")
            return None
        return value if self._passes("functions", value, side) else None

    def _layer(
        self, quantities: Mapping[str, list[Expr]], synapse: list[Expr], sums: int
    ) -> list[Expr]:
        """The sums over the layer: those given, or each quantity's alone and times weights."""
        if self.description.get("layer") is not None:
            factors = [f for f in self._read("layer") if self._passes("layer", f, None)]
            if not sums:
                self.faults.append(" layer: is given and sums is 0; write sums=1, or leave it out")
        elif sums:
            own = QUANTITIES["B"].symbol if self.changes == "B" else QUANTITIES["W"].symbol
            weights = dict.fromkeys([Integer(1), own, *synapse])
            factors = [
                by_potential(canonical(total(weight * quantity)))
                for side, total in (("post", sum_post), ("pre", sum_pre))
                for quantity in quantities[side]
                for weight in weights
            ]
            # The change of a bias has a post-neuron alone.
            factors = [f for f in factors if self.changes != "b" or index_of(f) <= POST]
        else:
            factors = []
        return list(dict.fromkeys(factors))

    # --- one factor -------------------------------------------------------------------------------

    def _given(self, option: str, default: Any = ()) -> list[Any]:
        value = self.description.get(option, default)
        if isinstance(value, str | Expr | int | type) or callable(value):
            return [value]  # (y_post) without its comma
        if isinstance(value, Iterable):
            return list(value)
        self.faults.append(
            f" {option}: {value!r} is not a list; write one such as (y_post, e_post)"
        )
        return []

    def _read(self, option: str, default: Any = ()) -> Iterator[Expr]:
        """The expressions of an option, without their constant factors."""
        for source in self._given(option, default):
            try:
                text = isinstance(source, str)
                written = self._parsed(source) if text else source
                form = canonical(written, source.strip() if text else "")
                yield _without_number(by_potential(form))
            except RuleSearchError as error:
                self.faults.extend(f" {option}: {line}" for line in error.lines)

    def _parsed(self, text: str) -> Expr:
        return parse(text, self.operators, quantities=self.quantities)

    def _callable(self, function: Any) -> Callable[[Expr], Expr] | None:
        if isinstance(function, str):
            rows = {n: row.function for n, row in OPERATORS.items() if not row.drops}
            return {**rows, **COMMON, **self.operators}.get(function)
        return function if callable(function) else None

    def _passes(self, option: str, factor: Expr, side: str | None) -> bool:
        """Whether this may be a factor of a product; if not, that is among the faults."""
        fault = _fault(factor, side) or _fault_of_name(factor)
        if fault:
            self.faults.append(f" {option}: {echo(text_of(factor))} {fault}")
        return not fault

    def _check_independent(self, families: Iterable[list[Expr]]) -> None:
        """Look whether one of some expressions is a sum of the others."""
        groups = {str(i): {text_of(f): f for f in family} for i, family in enumerate(families)}
        for _, weights in vanishing(groups):
            *others, last = weights
            right = equation({name: -weights[name] / weights[last] for name in others}) or "0"
            self.faults.append(
                f": wherever tried, {last} = {right}, so it makes no new terms; leave out one of "
                f"{', '.join(name for name in weights if name != '1')}"
            )


def _families(factors: Iterable[Expr], highest: int) -> list[list[Choice]]:
    """The powers and functions of one quantity together: a product has one of them."""
    families: dict[frozenset[Expr], list[Choice]] = {}
    for factor in factors:
        powers = range(1, highest + 1) if factor.is_Symbol else (1,)
        family = families.setdefault(frozenset(factor.free_symbols), [])
        family += [Choice(factor**n, n, 0) for n in powers]
    return list(families.values())


def _without_number(form: Expr) -> Expr:
    return Mul(*(factor for factor in Mul.make_args(form) if not factor.is_number))


def _fault(factor: Expr, side: str | None) -> str | None:
    """Why this cannot be a factor of a cell or of the synapse, or, where side is None, a sum."""
    if factor == 1:
        return "is a number; products without it are made as well, so leave it out"
    summed = factor.has(NeuronSum)
    if side is None:
        if factor.is_Mul:
            return "is a product; give the sums in it"
        made = summed or factor == QUANTITIES["z_post"].symbol
        return None if made else "is no sum over the layer; give it in post, pre or synapse"
    if summed:
        return "sums over the layer; give it in layer, with sums=1"
    if side == "synapse":
        return _fault_of_weight(factor)
    if not index_of(factor) <= _CELLS[side]:
        other = next((name for name, index in _CELLS.items() if index_of(factor) <= index), None)
        if other:
            return f"is of the {other}-cell; give it in {other}"
        if all(index_of(symbol) == SYNAPSE for symbol in factor.free_symbols):
            return "is of the synapse; give it in synapse"
        return f"is not of the {side}-cell alone; give it in terms"
    if factor.is_Mul:
        return f"is a product; give its factors apart, or {_OWN}"
    if isinstance(factor, Pow) and factor.exp.is_Integer and factor.exp > 0:
        return f"is a power; give {text_of(factor.base)}, and power raises it"
    return None


def _fault_of_weight(factor: Expr) -> str | None:
    weights = sorted(s.name for s in factor.free_symbols if index_of(s) == SYNAPSE)
    beside = sorted(s.name for s in factor.free_symbols if s.name not in weights)
    if not beside:
        return None
    for name, index in _CELLS.items():
        if index_of(factor) <= index:
            return f"does not read W; give it in {name}"
    return f"reads {beside[0]} beside {weights[0] if weights else 'W'}; give it in terms"


def _fault_of_name(factor: Expr) -> str | None:
    try:
        name_of(factor)
    except RuleSearchError as error:
        return str(error)
    return None


def _how_to_call(function: Any) -> str:
    if isinstance(function, str):
        rows = [*(n for n, row in OPERATORS.items() if not row.drops), *COMMON]
        return f"unknown function {function}{closest(function, rows)} ({', '.join(rows)})"
    return f"{function!r} is no function; give one such as tanh"
