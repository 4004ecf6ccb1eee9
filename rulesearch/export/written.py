"""What a step of a rule computes, in the order in which exported code says it.

The expressions are those that kernels are lowered from. Where a kernel shares parts
and groups them, here every term, quantity and trace keeps its name, so that code can be read beside
the equation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sympy import Expr, Rational

from rulesearch.errors import RuleSearchError
from rulesearch.export.spelling import without_sums
from rulesearch.lifetime.reads import check_reads
from rulesearch.lowering.plan import known_ranges
from rulesearch.model import Model
from rulesearch.notation.compact import compact
from rulesearch.notation.layers import Layers
from rulesearch.notation.own import own_symbols
from rulesearch.operators import (
    Index,
    Interval,
    OwnSymbol,
    Parameter,
    definition_of,
    range_of,
)
from rulesearch.pathways import Edge, Pathway, pathway
from rulesearch.rule import Rule

#: Depth of the network that a pathway's edges are looked at in.
_DEPTH = 3


@dataclass(frozen=True)
class Value:
    """A quantity of one's own, or a trace.

    Attributes:
        name: of it.
        index: its index set.
        expression: what it is, or what it follows.
        decay: of a trace, as it is multiplied by; None for what has no memory.
        gain: 1 - decay.
        initial: of a trace, before the first step; None: the first value it follows.
    """

    name: str
    index: Index
    expression: Expr
    decay: float | None = None
    gain: float | None = None
    initial: float | None = None


@dataclass(frozen=True)
class Part:
    """A term's change of one parameter.

    Attributes:
        term: its name.
        coefficient: raw.
        expression: of the change.
        layers: that it acts in, from 1 or from -1 at the last; none for all.
    """

    term: str
    coefficient: float
    expression: Expr
    layers: Layers


@dataclass(frozen=True)
class View:
    """The changes of the parameters that see a layer alike, and what these read.

    Attributes:
        values: quantities and traces, those that others read first.
        changes: parameter -> its parts.
        at_output: whether `_post` is the output layer, and not the layer's own.
    """

    values: tuple[Value, ...]
    changes: Mapping[Parameter, tuple[Part, ...]] = field(hash=False)
    at_output: bool = False

    @cached_property
    def reads(self) -> frozenset[str]:
        """Names of the table's quantities that are read."""
        found = [value.expression for value in self.values]
        found += [part.expression for parts in self.changes.values() for part in parts]
        own = {value.name for value in self.values}
        return frozenset(s.name for e in found for s in e.free_symbols) - own

    @property
    def traces(self) -> tuple[Value, ...]:
        """The values that remember."""
        return tuple(value for value in self.values if value.decay is not None)


@dataclass(frozen=True)
class Written:
    """A step of a rule.

    Attributes:
        rule: without the terms whose coefficient is zero.
        model: what a step does beside the terms.
        path: of the errors, in a network of some depth.
        views: that of W and b, where B sees the same cells that of B too; else that of B first.
    """

    rule: Rule
    model: Model
    path: Pathway
    views: tuple[View, ...]

    @property
    def edge(self) -> Edge:
        """Of the pathway, into the first layer: what all others are like."""
        return self.path.edges[-1]

    @property
    def direct(self) -> bool:
        """Whether errors come from the output straight to every layer."""
        return self.edge.source == _DEPTH

    @property
    def reads(self) -> frozenset[str]:
        """Names of the table's quantities that any change reads."""
        return frozenset().union(*(view.reads for view in self.views))

    @property
    def changes(self) -> frozenset[Parameter]:
        """The parameters that terms change."""
        return frozenset(p for view in self.views for p in view.changes)

    @property
    def errors(self) -> bool:
        """Whether the errors of hidden layers are read."""
        return bool(self.reads & {"e_pre", "e_post"})

    @property
    def deepest(self) -> int:
        """The fewest layers of weights that a network must have for every term to have a place."""
        return max((abs(n) for layers in self.rule.pool.where.values() for n in layers), default=1)

    @property
    def ranges(self) -> dict[str, Interval]:
        """Name -> between which numbers it stays, of the table's quantities and the rule's own."""
        found = known_ranges(self.model)
        for view in self.views:
            for value in view.values:
                followed = range_of(*without_sums(value.expression, found))
                if value.decay is not None:
                    first = 0.0 if value.initial is None else value.initial
                    followed = Interval(min(first, followed.low), max(first, followed.high))
                found[value.name] = followed
        return found

    def after_an_example(self, expression: Expr) -> bool:
        """Whether an expression hangs on the example, and not on parameters and sizes alone."""
        own = {value.name: value for view in self.views for value in view.values}
        fixed = {"W", "B", "b_post", "n_pre", "n_post"}
        return any(
            self.after_an_example(own[s.name].expression) if s.name in own else s.name not in fixed
            for s in expression.free_symbols
        )


def written(rule: Rule) -> Written:
    """A step of a rule, as exports say it.

    Raises:
        RuleSearchError: every coefficient is zero; terms that read what the rule's networks lack.

    Example:
        >>> from rulesearch.given_rule import load_rule
        >>> step = written(load_rule("kolen-pollack"))
        >>> sorted(step.changes), sorted(step.reads)
        (['B', 'W'], ['B', 'W', 'e_post', 'y_pre'])
    """
    kept = [name for name, value in rule.coefficients.items() if value]
    if not kept:
        raise RuleSearchError(
            f"rule {rule.name}: every coefficient is zero; it needs one that is not"
        )
    rule = rule.only(*kept)
    path, model = pathway(rule.network.pathway, _DEPTH), rule.model
    check_reads(rule.pool, path, model)
    direct = path.edges[-1].source == _DEPTH
    # That of B first: what the code calls a layer's own is then that of W, where they are changed.
    sides: list[tuple[Parameter, ...]] = [("B",), ("W", "b")] if direct else [("W", "B", "b")]
    has: dict[Parameter, bool] = {"W": True, "B": not path.tied, "b": model.bias}
    held = {parameter for parameter, _, _ in model.bounds if has[parameter]}
    views = [_view(rule, side, held, at_output=side == ("B",)) for side in sides]
    return Written(rule, model, path, tuple(view for view in views if view.changes))


def _view(
    rule: Rule, side: tuple[Parameter, ...], held: Collection[Parameter], *, at_output: bool
) -> View:
    """What changes these parameters; those that are held within bounds, by nothing at least."""
    changes: dict[Parameter, tuple[Part, ...]] = {}
    for parameter in side:
        parts = [
            Part(term.name, value, compact(expression), rule.pool.where.get(term.name, ()))
            for term, value in zip(rule.pool, rule.theta, strict=True)
            for changed, expression in term.updates
            if changed == parameter
        ]
        if parts or parameter in held:
            changes[parameter] = tuple(parts)
    expressions = [part.expression for parts in changes.values() for part in parts]
    return View(tuple(_values(expressions)), changes, at_output)


def _values(expressions: Iterable[Expr]) -> Iterator[Value]:
    """The quantities and traces that expressions read, those that they read themselves first."""
    made: set[str] = set()
    for symbol in own_symbols(expressions).values():
        yield from _value(symbol, made)


def _value(symbol: OwnSymbol, made: set[str]) -> Iterator[Value]:
    if symbol.name in made:
        return
    row, expression = symbol.row, compact(definition_of(symbol))
    for inner in own_symbols([expression]).values():
        yield from _value(inner, made)
    made.add(symbol.name)
    if row.memory is None:
        yield Value(symbol.name, row.index, expression)
        return
    decay = Rational(repr(row.memory.decay))
    yield Value(
        symbol.name, row.index, expression, float(decay), float(1 - decay), row.memory.initial
    )
