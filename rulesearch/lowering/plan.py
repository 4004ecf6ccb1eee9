"""What a step computes, as data: nodes in order, groups of the update, and what is carried over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
from sympy import Expr, Symbol

from rulesearch.model import PAPER, Model
from rulesearch.notation import Term
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
    LocalQuantity,
    Parameter,
    derivative,
    range_of,
)
from rulesearch.operators.losses import TARGET, TOP

#: 1 in the first step of a lifetime, and 0 after it; what a trace that begins there reads.
FIRST = LocalQuantity("first", SCALAR, "whether it is the first step", "", range=Interval(0.0, 1.0))

#: What a plan may read: the table, and what only plans do.
_READ: Mapping[str, LocalQuantity] = {
    **QUANTITIES,
    **{row.name: row for row in (TARGET, TOP, FIRST)},
}
#: Of these, what nothing is differentiated by.
NUMBERS = frozenset({"n_pre", "n_post", "t_post", "top", "first"})


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
class Carried:
    """A trace: what it was before the step is read like a quantity, and made anew.

    Attributes:
        name: of the trace.
        number: among those that the terms read: names in generated code hang on it, and not on
            what a person has called it.
        index: its index set.
        value: name of its new value, a node or a quantity.
        initial: what it is before the first step; None where nothing reads that.
        range: between which numbers it stays.
    """

    name: str
    number: int
    index: Index
    value: str
    initial: float | None
    range: Interval

    @property
    def before(self) -> str:
        """The name of what it was before the step."""
        return before(self.number)


def before(trace: int) -> str:
    """The name of what a trace was before the step, by its number."""
    return f"t{trace}_before"


@dataclass(frozen=True)
class Plan:
    """What a step of a pool computes in each layer; see the package's docstring.

    Attributes:
        terms: the pool's terms, in order, whatever they change.
        nodes: in topological order.
        groups: the grouped update.
        changes: the parameter that is updated.
        carried: the traces that are read.
        model: what the step does besides.
        beside: the plans of other parameters that terms change.
        zeros: whether a derivative may meet 0·∞, where that is known; None: as ranges tell.
    """

    terms: tuple[Term, ...]
    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]
    changes: Parameter = "W"
    carried: tuple[Carried, ...] = ()
    model: Model = PAPER
    beside: tuple[Plan, ...] = ()
    zeros: bool | None = None

    @cached_property
    def index(self) -> Mapping[str, Index]:
        """Name of a quantity or node -> its index set."""
        known = {q.name: q.index for q in _READ.values()}
        memories = {c.before: c.index for c in self.carried}
        return {**known, **memories, **{n.name: n.index for n in self.nodes}}

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
        found = known_ranges(self.model)
        found.update((c.before, c.range) for c in self.carried)
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
        return self.zeros is not None or all(self.ranges[name].bounded for name in names if name)

    @property
    def spelled_by(self) -> Mapping[str, Interval] | None:
        """The ranges by which divisors that may be zero are looked after; None where none may."""
        return self.ranges if self.zeros is None else None

    @cached_property
    def steep(self) -> frozenset[str]:
        """Names of the values by which a derivative may be infinite though all values are numbers.

        So is that by `e_pre` of `sqrt(Abs(e_pre))` at 0, and whatever `e_pre` was computed from.

        Example:
            >>> from rulesearch.lowering import lower
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
        return self._unbounded(node, factor, self.steep) if self.zeros is None else self.zeros

    def _unbounded(self, node: Node, factor: Expr | str | None, steep: Set[str]) -> bool:
        if node.name in steep:
            return True
        if isinstance(factor, Expr):
            return not range_of(factor, self.ranges).bounded
        return not self.bounded(factor)

    @cached_property
    def quantities(self) -> frozenset[str]:
        """Names of what the plan reads and does not compute."""
        made = {node.name for node in self.nodes}
        read = {name for node in self.nodes for name in node.reads}
        for group in self.groups:
            read |= {group.matrix or "", group.post or ""}
            read |= {name or "" for part in group.parts for name in (part.scalar, part.pre)}
        read |= {trace.value for trace in self.carried}
        return frozenset(read - made - {""})

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
        return total + sum(plan.multiply_adds(post, pre) for plan in self.beside)

    def how(self, term: int) -> str:
        """How one term lowers, in a few words."""
        texts = []
        for group in self.groups:
            for part in group.parts:
                if part.term == term:
                    outer = f"{group.post or 1} ⊗ {part}"
                    texts.append(f"{group.matrix} ⊙ ({outer})" if group.matrix else outer)
        lead = "" if self.changes == "W" else f"Δ{self.changes} = "
        own = [lead + " + ".join(texts)] if texts else []
        return "; ".join([*own, *(how for p in self.beside if (how := p.how(term)))])

    def __str__(self) -> str:
        lines = [self._said(str(node)) for node in self.nodes]
        lines += [f"{trace.name} = {trace.value}" for trace in self.carried]
        for i, group in enumerate(self.groups):
            names = [self.terms[p.term].name for p in group.parts]
            inner = " + ".join(f"{n}·({p})" for n, p in zip(names, group.parts, strict=True))
            outer = self._said(f"{group.post or 1} ⊗ [{inner}]")
            lead = f"Δ{self.changes} = " if i == 0 else "   + "
            lines.append(lead + (f"{group.matrix} ⊙ ({outer})" if group.matrix else outer))
        return "\n".join([*lines, *map(str, self.beside)])

    def _said(self, line: str) -> str:
        """With traces by their names, as people read it."""
        names = {trace.before: f"{trace.name}_before" for trace in self.carried}
        return re.sub(r"\bt\d+_before\b", lambda found: names[found[0]], line)


def known_ranges(model: Model) -> dict[str, Interval]:
    """Name of a quantity -> between which numbers it stays, in a network of this model."""
    found = {q.name: q.range for q in _READ.values()}
    found["y_post"] = model.activities
    return found
