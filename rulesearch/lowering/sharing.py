"""Expressions to nodes: what is computed once, and in which loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx
import sympy
from sympy import Expr, Mul, Symbol

from rulesearch.lowering.plan import Elementwise, Node, Sum
from rulesearch.operators import (
    POST,
    PRE,
    SCALAR,
    SYNAPSE,
    Axis,
    Index,
    NeuronSum,
    index_of,
)

_LETTER: Mapping[Index, str] = {SCALAR: "s", PRE: "p", POST: "q", SYNAPSE: "m"}


@dataclass(frozen=True)
class Sums:
    """The sums met so far, each with a symbol, and the index sets of other symbols.

    Attributes:
        symbols: (axis, matrix, vector) -> symbol.
        known: name of a symbol that is no quantity of the table -> its index set.
    """

    symbols: dict[tuple[Axis, Expr, Expr], Symbol]
    known: Mapping[str, Index]

    def index(self) -> dict[str, Index]:
        """Name of a sum, or of what else is known by a symbol -> its index set."""
        return {
            **self.known,
            **{
                symbol.name: SCALAR if matrix == 1 else POST if axis == "pre" else PRE
                for (axis, matrix, _), symbol in self.symbols.items()
            },
        }


def by_index(product: Expr, sums: Sums) -> dict[Index, Expr]:
    """The factors of a product, multiplied up by index set."""
    known = sums.index()
    gathered: dict[Index, list[Expr]] = {SCALAR: [], PRE: [], POST: [], SYNAPSE: []}
    for factor in Mul.make_args(product):
        gathered[index_of(factor, known)].append(factor)
    return {index: Mul(*factors) for index, factors in gathered.items()}


def name_sums(expression: Expr, sums: Sums) -> Expr:
    """The expression with a symbol for every sum, innermost first."""
    if not expression.args:
        return expression
    inner = [name_sums(a, sums) for a in expression.args]
    if not isinstance(expression, NeuronSum):
        return expression.func(*inner)
    factors = by_index(inner[0], sums)
    vector = factors.pop(frozenset({expression.axis}))
    key = (expression.axis, factors.pop(SYNAPSE), vector)
    symbol = sums.symbols.setdefault(key, Symbol(f"_sum{len(sums.symbols)}", real=True))
    # A canonical summand has no factor without the bound index, but for what came of inner sums.
    return Mul(*factors.values(), symbol)


def share(
    factors: list[Expr], sums: Sums, given: Mapping[Symbol, Expr] | None = None
) -> tuple[tuple[Node, ...], Mapping[Expr, str | None]]:
    """Nodes for these expressions and for the sums, in topological order.

    Args:
        factors: over quantities, and symbols of sums and of what is given.
        sums: those met in them.
        given: symbols that stand for an expression in what else is wanted.

    Returns:
        The nodes, and for each expression the name of its value; None where it is 1.
    """
    known = sums.index()
    given = given or {}
    inner = [e for _, m, v in sums.symbols for e in (m, v)]
    wanted = list(dict.fromkeys([*factors, *inner, *given.values()]))
    hoisted: dict[Expr, Symbol] = {}
    roots = [_hoist(e, known, hoisted) for e in wanted]
    common, reduced = sympy.cse([*roots, *hoisted], symbols=sympy.numbered_symbols("_c", real=True))

    values: dict[Symbol, Expr] = dict(common)
    values.update(zip(hoisted.values(), reduced[len(roots) :], strict=True))
    symbols: dict[Expr, Symbol | None] = {}
    for expression, value in zip(wanted, reduced, strict=False):
        if value == 1 or isinstance(value, Symbol):
            symbols[expression] = None if value == 1 else value
            continue
        same = next((s for s, v in values.items() if v == value), None)
        symbols[expression] = same or Symbol(f"_v{len(values)}", real=True)
        values[symbols[expression]] = value

    for symbol, expression in given.items():
        values[symbol] = symbols[expression] or sympy.Integer(1)

    # A hoisted expression that `cse` found whole elsewhere is only another name for it.
    alias = {s: v for s, v in values.items() if isinstance(v, Symbol)}

    def meant(symbol: Symbol) -> Symbol:
        while symbol in alias:
            symbol = alias[symbol]
        return symbol

    alias_of = {s: meant(s) for s in alias}
    values = {s: v.xreplace(alias_of) for s, v in values.items() if s not in alias}
    symbols = {e: meant(s) if s else None for e, s in symbols.items()}
    return _ordered(values, symbols, sums)


def _hoist(expression: Expr, known: dict[str, Index], hoisted: dict[Expr, Symbol]) -> Expr:
    """The expression with a symbol for each inner value that needs a smaller loop than it."""
    if not expression.args:
        return expression
    whole = index_of(expression, known)
    inner = [_hoist(a, known, hoisted) for a in expression.args]
    gathered: dict[Index, list[Expr]] = {}
    for argument in inner:
        gathered.setdefault(index_of(argument, known), []).append(argument)
    associative = expression.is_Add or expression.is_Mul

    def outside(value: Expr, index: Index) -> Expr:
        if index == whole or not value.args or value.is_number:
            return value
        symbol = hoisted.setdefault(value, Symbol(f"_h{len(hoisted)}", real=True))
        known[symbol.name] = index
        return symbol

    if not associative:
        return expression.func(*(outside(a, index_of(a, known)) for a in inner))
    return expression.func(
        *(
            outside(expression.func(*(a for a in group if not a.is_number)), index)
            if index != whole
            else expression.func(*group)
            for index, group in gathered.items()
        ),
        *(a for a in inner if a.is_number and whole != SCALAR),
    )


def _ordered(
    values: Mapping[Symbol, Expr], symbols: Mapping[Expr, Symbol | None], sums: Sums
) -> tuple[tuple[Node, ...], Mapping[Expr, str | None]]:
    """Nodes in topological order, with names that tell their index set."""
    summed = {symbol: key for key, symbol in sums.symbols.items()}
    graph = nx.DiGraph()
    for symbol, value in values.items():
        graph.add_edges_from((s.name, symbol.name) for s in value.free_symbols)
    for symbol, (_, matrix, vector) in summed.items():
        read = (symbols[matrix], symbols[vector])
        graph.add_edges_from((s.name, symbol.name) for s in read if s)
    by_name: dict[str, Expr] = {s.name: v for s, v in values.items()}
    sum_by_name = {s.name: key for s, key in summed.items()}

    known: dict[str, Index] = dict(sums.known)
    renamed: dict[str, str] = {}
    count = dict.fromkeys(_LETTER.values(), 0)
    nodes: list[Node] = []

    def final(symbol: Symbol | None) -> str | None:
        return None if symbol is None else renamed.get(symbol.name, symbol.name)

    for old in nx.lexicographical_topological_sort(graph, key=_creation):
        if old in by_name:
            expression = by_name[old].xreplace(
                {Symbol(o, real=True): Symbol(n, real=True) for o, n in renamed.items()}
            )
            index = index_of(expression, known)
        elif old in sum_by_name:
            axis, matrix, vector = sum_by_name[old]
            made = Sum("", axis, final(symbols[matrix]), final(symbols[vector]))
            index = made.index
        else:
            continue  # a quantity
        letter = _LETTER[index]
        renamed[old] = name = f"{letter}{count[letter]}"
        count[letter] += 1
        known[name] = index
        nodes.append(
            Elementwise(name, index, expression)
            if old in by_name
            else Sum(name, made.axis, made.matrix, made.vector)
        )
    return tuple(nodes), {e: final(s) for e, s in symbols.items()}


def _creation(name: str) -> tuple[str, int]:
    head = name.rstrip("0123456789")
    return head, int(name[len(head) :] or 0)
