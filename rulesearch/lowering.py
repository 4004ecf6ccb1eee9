"""Pool to plan: what a step computes, shared across terms, and placed by index set.

A plan knows no shapes, no coefficients and no tensors (design, section 5). It turns the rule into

    ΔW = Σ_g  matrix_g ⊙ (post_g ⊗ v_g),      v_g = Σ θ_term · coefficient · scalar · pre

with one group for each distinct post-side factor. `matrix_g` is absent for what separates into
post times pre, so that a pool of any number of terms over the same factors costs hardly more than
a few outer products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache

import networkx as nx
import sympy
from sympy import Expr, Mul, Symbol

from rulesearch.notation import Pool, Term, canonical
from rulesearch.operators import (
    NEURONS,
    POST,
    PRE,
    QUANTITIES,
    SCALAR,
    SYNAPSE,
    Axis,
    Index,
    Interval,
    NeuronSum,
    derivative,
    index_of,
    range_of,
    without_definitions,
)

_LETTER: Mapping[Index, str] = {SCALAR: "s", PRE: "p", POST: "q", SYNAPSE: "m"}


@dataclass(frozen=True)
class Elementwise:
    """A value computed from others at every neuron, synapse, or once for a layer.

    Attributes:
        name: its symbol in other expressions.
        index: its index set, and so the loop that it stands in.
        expression: over quantities and earlier nodes.
    """

    name: str
    index: Index
    expression: Expr

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Names of the quantities and nodes it is computed from."""
        return tuple(sorted(s.name for s in self.expression.free_symbols))

    @cached_property
    def partials(self) -> Mapping[str, Expr]:
        """For each name read, the derivative with respect to it; may use the node's own value."""
        own = {self.expression: Symbol(self.name, real=True)}
        return {
            name: derivative(self.expression, Symbol(name, real=True)).xreplace(own)
            for name in self.reads
        }

    def __str__(self) -> str:
        return f"{self.name} = {self.expression}"


@dataclass(frozen=True)
class Sum:
    """Σ over one side of the layer of matrix ⊙ vector: a matrix-vector product, or a plain sum.

    Attributes:
        name: its symbol in other expressions.
        axis: the side summed over.
        matrix: name of a value on synapses, or None.
        vector: name of a value on the side summed over, or None for ones.
    """

    name: str
    axis: Axis
    matrix: str | None
    vector: str | None

    @property
    def index(self) -> Index:
        """{the other side} with a matrix, nothing without."""
        if self.matrix is None:
            return SCALAR
        return POST if self.axis == "pre" else PRE

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the values it is computed from."""
        return tuple(n for n in (self.matrix, self.vector) if n is not None)

    def beside(self, name: str) -> str | None:
        """What an operand is multiplied by: the name of the other, or None for ones."""
        return self.vector if name == self.matrix else self.matrix

    def __str__(self) -> str:
        return f"{self.name} = sum_{self.axis}({'*'.join(self.reads)})"


Node = Elementwise | Sum


@dataclass(frozen=True)
class Part:
    """One addition to a group's pre-side vector: θ[term] · coefficient · scalar · pre.

    Attributes:
        term: position of the term in the pool.
        coefficient: a number.
        scalar: name of a layer-wide value, or None for 1.
        pre: name of a value on the pre side, or None for ones.
    """

    term: int
    coefficient: Expr
    scalar: str | None
    pre: str | None

    def __str__(self) -> str:
        factors = [n for n in (self.scalar, self.pre) if n]
        if not factors or abs(self.coefficient) != 1:
            factors.insert(0, str(abs(self.coefficient)))
        return ("-" if self.coefficient < 0 else "") + "*".join(factors)


@dataclass(frozen=True)
class Group:
    """matrix ⊙ (post ⊗ Σ parts): all parts that share a post-side factor.

    Attributes:
        matrix: name of a value on synapses, or None: the group separates.
        post: name of a value on the post side, or None for ones.
        parts: what is added to the pre-side vector.
    """

    matrix: str | None
    post: str | None
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Plan:
    """What a step of a pool computes in each layer; see the module's docstring.

    Attributes:
        terms: the pool's terms, in order.
        nodes: in topological order.
        groups: the grouped update.
    """

    terms: tuple[Term, ...]
    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]

    @cached_property
    def index(self) -> Mapping[str, Index]:
        """Name of a quantity or node -> its index set."""
        known = {q.name: q.index for q in QUANTITIES.values()}
        return {**known, **{n.name: n.index for n in self.nodes}}

    @cached_property
    def graph(self) -> nx.DiGraph:
        """The DAG: quantities and nodes, terms as sinks; an edge from what is read."""
        graph = nx.DiGraph()
        for node in self.nodes:
            graph.add_node(node.name, node=node)
            graph.add_edges_from((read, node.name) for read in node.reads)
        for group in self.groups:
            for part in group.parts:
                sink = self.terms[part.term].name
                names = (group.matrix, group.post, part.scalar, part.pre)
                graph.add_node(sink, term=self.terms[part.term])
                graph.add_edges_from((name, sink) for name in names if name)
        return graph

    @cached_property
    def ranges(self) -> Mapping[str, Interval]:
        """Name of a quantity or node -> between which numbers it stays."""
        found = {q.name: q.range for q in QUANTITIES.values()}
        for node in self.nodes:
            if isinstance(node, Elementwise):
                found[node.name] = range_of(node.expression, found)
                continue
            found[node.name] = Interval(-NEURONS, NEURONS)
            for read in node.reads:
                found[node.name] *= found[read]
        return found

    def bounded(self, *names: str | None) -> bool:
        """Whether these values are numbers wherever the quantities are; None stands for ones."""
        return all(self.ranges[name].bounded for name in names if name)

    @cached_property
    def steep(self) -> frozenset[str]:
        """Names of the values by which a derivative may be infinite though all values are numbers.

        So is that by `e_pre` of `sqrt(Abs(e_pre))` at 0, and whatever `e_pre` was computed from.

        Example:
            >>> from rulesearch.notation import Pool
            >>> sorted(lower(Pool(A="-e_post*sqrt(Abs(e_pre))", B="-e_post*tanh(y_pre)")).steep)
            ['e_pre']
        """
        found: set[str] = set()
        for node in reversed(self.nodes):
            factors: Mapping[str, Expr | str | None] = (
                {name: node.beside(name) for name in node.reads}
                if isinstance(node, Sum)
                else node.partials
            )
            found.update(
                name
                for name, factor in factors.items()
                if factor != 0 and self._unbounded(node, factor, found)
            )
        return frozenset(found)

    def delicate(self, node: Node, factor: Expr | str | None) -> bool:
        """Whether the adjoint of a node times a factor may be 0·∞, which is 0 in a derivative.

        Args:
            node: a node.
            factor: a partial derivative of it; or the name of a value, None for 1.
        """
        return self._unbounded(node, factor, self.steep)

    def _unbounded(self, node: Node, factor: Expr | str | None, steep: Set[str]) -> bool:
        if node.name in steep:
            return True
        if isinstance(factor, Expr):
            return not range_of(factor, self.ranges).bounded
        return not self.bounded(factor)

    @cached_property
    def quantities(self) -> frozenset[str]:
        """Names of the local quantities that the plan reads."""
        return frozenset(QUANTITIES) & frozenset(self.graph)

    def multiply_adds(self, post: int, pre: int) -> int:
        """Estimated multiply-adds of one step in a layer of this size, forward."""
        size = {SCALAR: 1, PRE: pre, POST: post, SYNAPSE: post * pre}
        total = 0
        for node in self.nodes:
            if isinstance(node, Sum):
                total += post * pre if node.matrix else size[frozenset({node.axis})]
            else:
                total += int(node.expression.count_ops()) * size[node.index]
        for group in self.groups:
            total += post * pre * (2 if group.matrix else 1) + pre * len(group.parts)
        return total

    def how(self, term: int) -> str:
        """How one term lowers, in a few words."""
        texts = []
        for group in self.groups:
            for part in group.parts:
                if part.term == term:
                    outer = f"{group.post or 1} ⊗ {part}"
                    texts.append(f"{group.matrix} ⊙ ({outer})" if group.matrix else outer)
        return " + ".join(texts)

    def __str__(self) -> str:
        lines = [str(node) for node in self.nodes]
        for i, group in enumerate(self.groups):
            names = [self.terms[p.term].name for p in group.parts]
            inner = " + ".join(f"{n}·({p})" for n, p in zip(names, group.parts, strict=True))
            outer = f"{group.post or 1} ⊗ [{inner}]"
            lead = "ΔW = " if i == 0 else "   + "
            lines.append(lead + (f"{group.matrix} ⊙ ({outer})" if group.matrix else outer))
        return "\n".join(lines)


def lower(pool: Pool) -> Plan:
    """The plan of a pool.

    Example:
        >>> from rulesearch.notation import Pool
        >>> print(lower(Pool(F0="-e_post*y_pre", F9="y_post*y_pre - y_post*sum_post(y_post*W)")))
        p0 = sum_post(W*y_post)
        ΔW = e_post ⊗ [F0·(-y_pre)]
           + y_post ⊗ [F9·(y_pre) + F9·(-p0)]
    """
    return lower_terms(pool.terms)


@lru_cache(maxsize=256)
def lower_terms(terms: tuple[Term, ...]) -> Plan:
    """The plan of some terms of a pool, in order; the position in `terms` is `Part.term`."""
    sums = _Sums({})
    drafts = [
        draft for position, term in enumerate(terms) for draft in _drafts(position, term, sums)
    ]
    nodes, names = _share([factor for draft in drafts for factor in draft.factors()], sums)
    grouped: dict[tuple[str | None, str | None], list[Part]] = {}
    for draft in drafts:
        scalar, pre, post, matrix = (names[f] for f in draft.factors())
        part = Part(draft.term, draft.coefficient, scalar, pre)
        grouped.setdefault((matrix, post), []).append(part)
    # What separates first, then what needs a value on synapses, in the order of the terms.
    ordered = sorted(grouped.items(), key=lambda item: item[0][0] is not None)
    groups = tuple(Group(matrix, post, tuple(parts)) for (matrix, post), parts in ordered)
    return Plan(terms, nodes, groups)


# --- terms to parts ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Draft:
    """A part whose factors are still expressions over quantities and the symbols of sums."""

    term: int
    coefficient: Expr
    by_index: Mapping[Index, Expr]

    def factors(self) -> tuple[Expr, Expr, Expr, Expr]:
        return tuple(self.by_index[i] for i in (SCALAR, PRE, POST, SYNAPSE))


@dataclass(frozen=True)
class _Sums:
    """The sums met so far, each with a symbol: (axis, matrix, vector) -> symbol."""

    symbols: dict[tuple[Axis, Expr, Expr], Symbol]

    def index(self) -> dict[str, Index]:
        return {
            symbol.name: SCALAR if matrix == 1 else POST if axis == "pre" else PRE
            for (axis, matrix, _), symbol in self.symbols.items()
        }


def _drafts(position: int, term: Term, sums: _Sums) -> Iterator[_Draft]:
    for part in sympy.Add.make_args(canonical(without_definitions(term.expression))):
        named = _name_sums(part, sums)
        numbers = [f for f in Mul.make_args(named) if f.is_number]
        rest = Mul(*(f for f in Mul.make_args(named) if not f.is_number))
        yield _Draft(position, Mul(*numbers), _by_index(rest, sums))


def _by_index(product: Expr, sums: _Sums) -> dict[Index, Expr]:
    """The factors of a product, multiplied up by index set."""
    known = sums.index()
    gathered: dict[Index, list[Expr]] = {SCALAR: [], PRE: [], POST: [], SYNAPSE: []}
    for factor in Mul.make_args(product):
        gathered[index_of(factor, known)].append(factor)
    return {index: Mul(*factors) for index, factors in gathered.items()}


def _name_sums(expression: Expr, sums: _Sums) -> Expr:
    """The expression with a symbol for every sum, innermost first."""
    if not expression.args:
        return expression
    inner = [_name_sums(a, sums) for a in expression.args]
    if not isinstance(expression, NeuronSum):
        return expression.func(*inner)
    factors = _by_index(inner[0], sums)
    vector = factors.pop(frozenset({expression.axis}))
    key = (expression.axis, factors.pop(SYNAPSE), vector)
    symbol = sums.symbols.setdefault(key, Symbol(f"_sum{len(sums.symbols)}", real=True))
    # A canonical summand has no factor without the bound index, but for what came of inner sums.
    return Mul(*factors.values(), symbol)


# --- sharing and placing -----------------------------------------------------------------------


def _share(factors: list[Expr], sums: _Sums) -> tuple[tuple[Node, ...], Mapping[Expr, str | None]]:
    """Nodes for these expressions and for the sums, in topological order.

    Returns:
        The nodes, and for each expression the name of its value; None where it is 1.
    """
    known = sums.index()
    wanted = list(dict.fromkeys([*factors, *(e for _, m, v in sums.symbols for e in (m, v))]))
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

    # A hoisted expression that `cse` found whole elsewhere is only another name for it.
    alias = {s: v for s, v in values.items() if isinstance(v, Symbol)}
    values = {s: v.xreplace(alias) for s, v in values.items() if s not in alias}
    symbols = {e: alias.get(s, s) if s else None for e, s in symbols.items()}
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
    values: Mapping[Symbol, Expr], symbols: Mapping[Expr, Symbol | None], sums: _Sums
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

    known: dict[str, Index] = {}
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
