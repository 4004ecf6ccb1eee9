"""Pools of terms: plain data that checks itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import Any, Unpack

from sympy import Expr

from rulesearch.errors import RuleSearchError
from rulesearch.notation.dependence import Updates, dependences
from rulesearch.notation.description import Description, described
from rulesearch.notation.layers import (
    Layers,
    depth_faults,
    in_network,
    in_order,
    where_faults,
)
from rulesearch.notation.measured import notes
from rulesearch.notation.meeting import ambiguous, dependent, finite_nowhere, groups, repeated
from rulesearch.notation.options import (
    OPTIONS,
    Bounds,
    bounds_faults,
    in_their_order,
    option_faults,
    several,
    start_faults,
)
from rulesearch.notation.own import own_symbols, symbols_by_name
from rulesearch.notation.space import joined
from rulesearch.notation.term import PSEUDO_GRADIENT, Term, share_of
from rulesearch.operators import PARAMETERS, OwnSymbol, Parameter

START = 1e-3


@dataclass(frozen=True, init=False)
class Pool:
    """An ordered set of terms; what a grammar file defines.

    Attributes:
        terms: in the order given; of a joint pool those that change W stand first, see `together`.
        start: coefficients that do not begin at zero, by name; at least one. Where none is given
            the pseudo-gradient begins at 1e-3 of itself, however it is scaled; in a pool without
            it, the first term by its key. Terms that do not change W begin at zero.
        where: the layers in which a term acts, by name, counted from 1 or from -1 at the last; a
            term without it acts in all. One expression may stand under several names in layers
            apart: it then has a coefficient for each.
        bounds: between which numbers the values of a parameter are kept, (parameter, lowest,
            highest) each.
        remarks: what is to be said of how the pool came about, a line each.
        declared: quantities and traces of one's own that came with the terms, read or not.

    Args:
        of: the parameter that the terms change: the weights "W", the feedback "B", biases "b".
        start: as above.
        where: as above.
        bounds: parameter -> (lowest, highest), `{"W": (-1, 1)}`.
        operators: those that text may call beside the table's, by name.
        quantities: those of one's own that text may read beside the table's.
        **terms: name -> expression, or its text.

    Raises:
        RuleSearchError: a bad term, two that are the same or one that adds nothing to the others
            in a layer, a start or a where that names no term, what is not a layer, or bounds that
            cannot be; one line each, all at once.

    Example:
        >>> from rulesearch.notation import e_post, e_pre, y_pre
        >>> pool = Pool(F0=-e_post * y_pre, F2=-e_post * e_pre)
        >>> pool.names, pool.reference
        (('F0', 'F2'), 'F0')
        >>> Pool(decay="-B", of="B").terms[0].changes
        'B'
    """

    terms: tuple[Term, ...]
    start: Mapping[str, float] = field(hash=False)
    where: Mapping[str, Layers] = field(hash=False)
    bounds: Bounds = ()
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)
    declared: tuple[OwnSymbol, ...] = field(default=(), compare=False, repr=False)

    def __init__(
        self,
        /,
        *,
        of: Parameter = "W",
        start: Mapping[str, float] | None = None,
        where: Mapping[str, Collection[int]] | None = None,
        bounds: Mapping[str, Sequence[float]] | None = None,
        operators: Mapping[str, Any] | None = None,
        quantities: OwnSymbol | Iterable[OwnSymbol] = (),
        **terms: Expr | str,
    ) -> None:
        if of not in PARAMETERS:
            raise RuleSearchError(f"of: {of!r}; a pool changes {' or '.join(PARAMETERS)}")
        tables = {"start": start, "where": where, "bounds": bounds, "operators": operators}
        own = several(quantities)
        if strange := list(option_faults(own, **tables)):
            raise RuleSearchError(*strange)
        if not terms:
            raise RuleSearchError("the pool has no terms; give at least one")
        known = symbols_by_name(own)
        made: list[Term] = []
        faults: list[str] = []
        for name, source in terms.items():
            try:
                term = Term.of(_checked(name), source, operators, quantities=known, changes=of)
                made.append(term)
            except RuleSearchError as error:
                faults.extend(error.lines)
        faults.extend(start_faults(start or {}, list(terms), of))
        nowhere = list(where_faults(where or {}, list(terms)))
        acting = {} if nowhere else {n: in_order(layers) for n, layers in (where or {}).items()}
        faults.extend(nowhere or repeated(made, acting))
        faults.extend(ambiguous(made))
        faults.extend(finite_nowhere(made))
        faults.extend(bounds_faults(bounds or {}))
        if not faults:
            faults.extend(dependences(groups(made, acting)))
        if faults:
            raise RuleSearchError(*faults)
        object.__setattr__(self, "terms", tuple(made))
        object.__setattr__(self, "start", _start(start or {}, made))
        object.__setattr__(self, "where", acting)
        object.__setattr__(self, "bounds", in_their_order(bounds or {}))
        object.__setattr__(self, "remarks", ())
        object.__setattr__(self, "declared", own)

    @staticmethod
    def generate(
        *,
        of: Parameter = "W",
        terms: Mapping[str, Expr | str] | None = None,
        start: Mapping[str, float] | None = None,
        where: Mapping[str, Collection[int]] | None = None,
        bounds: Mapping[str, Sequence[float]] | None = None,
        operators: Mapping[str, Any] | None = None,
        quantities: OwnSymbol | Iterable[OwnSymbol] = (),
        **space: Unpack[Description],
    ) -> Pool:
        """The pool of all products that a description allows: a space, in place of a list.

        A term is minus a product: of what the cells have, at most one factor of the synapse, and
        sums over the layer. It is called by its factors, -y_post**2*e_pre is `ypost2_epre`.

        The description of a space:

        - `post`: quantities of the post-cell, and functions of them, `(y_post, e_post)`.
        - `pre`: those of the pre-cell.
        - `synapse`: a term has one of these, (1,) by default; `(1, W, Abs(W))` makes three times as
          many terms. It does not count for the degree.
        - `functions`: each is applied to every quantity of the two cells, `(tanh,)`. A quantity
          stands in a term once, as a power or in a function.
        - `degree`: factors of a term at most, a power counted as often as it says; 2 by default.
        - `power`: of a quantity at most; 2 by default.
        - `sums`: over the layer, in a term, at most; 0 by default. One counts as a factor.
        - `layer`: the sums. By default those of each quantity, alone and times W and the other
          factors of the synapse, `sum_post(y_post*W)`, `sum_pre(W*e_pre)`.
        - `needs`: what the terms may need, as for `--locality`, `"dendritic,retrograde"`.

        Args:
            **space: the description.
            of: as for a pool.
            terms: further ones, by names of their own, whatever they need. Of the space, those are
                left out that are then a sum of others; `remarks` says which.
            start: as for a pool.
            where: as for a pool.
            bounds: as for a pool.
            operators: those that text may call beside the table's, by name.
            quantities: those of one's own that text may read beside the table's.

        Raises:
            RuleSearchError: an option that cannot be, a space of too many terms, or what a pool
                refuses; one line each.

        Example:
            >>> from rulesearch.notation import W, e_post, y_post, y_pre
            >>> pool = Pool.generate(post=(y_post, e_post), pre=(y_pre,), terms={"decay": -W})
            >>> pool.names[4:], pool.reference
            (('epost2', 'epost_ypost', 'epost_ypre', 'ypost2', 'ypost_ypre', 'ypre2'), 'epost_ypre')
        """
        if strange := [name for name in terms or {} if name in OPTIONS]:
            raise RuleSearchError(f"term {strange[0]}: the name of an option; choose another")
        own = several(quantities)
        made = described(space, operators, own, of)
        made.refuse_size()
        named, remarks = joined(made, terms or {}, where or {}, operators, own, of)
        pool = Pool(of=of, start=start, where=where, bounds=bounds, operators=operators, **named)
        return pool._with(remarks=remarks, declared=own)

    @staticmethod
    def count(
        *,
        of: Parameter = "W",
        operators: Mapping[str, Any] | None = None,
        quantities: OwnSymbol | Iterable[OwnSymbol] = (),
        **space: Unpack[Description],
    ) -> int:
        """How many terms a space has, see `generate`; none is made, so it may have any number.

        Raises:
            RuleSearchError: an option that cannot be; one line each.

        Example:
            >>> Pool.count(post=("y_post", "e_post"), pre=("y_pre", "e_pre"), degree=3)
            30
        """
        return described(space, operators, several(quantities), of).count

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
        """The term of W with the largest start; units and the gain are measured against it.

        A start counts times the factor of its term, and of equals the first by key is taken: order,
        names and constant factors decide nothing.

        Raises:
            RuleSearchError: a pool of feedback or of biases alone.
        """
        terms = {term.name: term for term in self.terms if term.changes == "W"}
        if not terms:
            raise RuleSearchError(
                f"term {self.names[0]}: changes {self.terms[0].changes}, and no term of the pool "
                "changes the weights; join it to a pool that does by together(pool, feedback)"
            )

        def place(name: str) -> tuple[float, str, Layers]:
            size = abs(self.start[name] * float(terms[name].factor))
            return -float(f"{size:.12g}"), terms[name].key, self.where.get(name, ())

        moved = (name for name, value in self.start.items() if value and name in terms)
        return min(moved, key=place)

    @property
    def pseudo_gradient(self) -> str | None:
        """The term that is -e_post*y_pre in all layers but for a constant factor, or None.

        In some layers alone it is another rule, and so it is where its coefficient moves the
        feedback too; several that share the layers out are seen by `throughout`, which knows a
        depth.
        """
        equal = (t.name for t in self.terms if t.share(PSEUDO_GRADIENT) is not None)
        return next((name for name in equal if name not in self.where), None)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What was merely measured about the terms that meet, a line each; usually nothing.

        At random values, zeros and negative ones among them, a term was zero, or a sum of others.
        Computed when first read: what is exact, `Pool` has refused.

        Example:
            >>> Pool(A="tanh(W)", B="1", C="1/(1 + exp(-2*W))").notes
            ('term C: may add nothing to the pool; wherever tried, C = 0.5*A + 0.5*B',)
        """
        return (*self.said, *self.measured)

    @cached_property
    def measured(self) -> tuple[str, ...]:
        """Of `notes`, what the terms themselves say, whatever the pool was made of."""
        return tuple(notes(groups(self.terms, self.where)))

    @property
    def said(self) -> tuple[str, ...]:
        """Of `notes`, how the pool came about, which no record of it keeps."""
        return (*self.remarks, *self._unread())

    def _unread(self) -> Iterator[str]:
        """A line for each quantity that was declared and that no term reads, from either side."""
        read = own_symbols([e for term in self.terms for _, e in term.updates])
        sides = {n.removesuffix("_pre") + "_post" for n in read if n.endswith("_pre")}
        for symbol in dict.fromkeys(self.declared):
            if symbol.name not in {*read, *sides}:
                kind = "trace" if symbol.row.memory else "quantity"
                yield f"{kind} {symbol.name}: no term reads it"

    @cached_property
    def distinct(self) -> tuple[Term, ...]:
        """One term for each change, in order, with the names of all that have it.

        What a kernel computes: the names of one expression differ by layer only.

        Example:
            >>> pool = Pool(A="-W", B1="-e_pre", B2="-e_pre", where={"B1": (1,), "B2": (2,)})
            >>> [term.name for term in pool.distinct], pool.columns
            (['A', 'B1/B2'], (0, 1, 1))
        """
        named: dict[Updates, list[Term]] = {}
        for term in self.terms:
            named.setdefault(term.updates, []).append(term)
        return tuple(
            replace(terms[0], name="/".join(term.name for term in terms))
            for terms in named.values()
        )

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """For each term, which of `distinct` its expression is, and so which column of them."""
        column = {term.updates: i for i, term in enumerate(self.distinct)}
        return tuple(column[term.updates] for term in self.terms)

    def mask(self, depth: int) -> tuple[tuple[bool, ...], ...]:
        """Which terms act in which layers of a network, [layers][terms].

        Args:
            depth: the number of its layers of weights.

        Raises:
            RuleSearchError: a term acts in a layer that the network does not have, or layers
                counted from both ends meet in one with terms that are the same or dependent.

        Example:
            >>> Pool(A="-W", B="-e_pre", where={"B": (-1,)}).mask(2)
            ((True, False), (True, True))
        """
        return _mask(self, depth)

    def in_network(self, depth: int) -> Pool:
        """The same pool with layers counted from 1, and no `where` for a term that acts in all.

        Raises:
            RuleSearchError: as for `mask`.
        """
        made = self.for_network(depth)
        return made._with(where={n: in_network(layers, depth) for n, layers in made.where.items()})

    def for_network(self, depth: int) -> Pool:
        """The same pool without `where` for a term that acts in all layers; layers as given.

        What is said of the last layer is then said of that in other networks too.

        Raises:
            RuleSearchError: as for `mask`.

        Example:
            >>> pool = Pool(A="-W", B="-e_pre", C="-e_post", where={"A": (1, -1), "B": (-1,)})
            >>> pool.for_network(2).where
            {'B': (-1,)}
        """
        self.mask(depth)
        there = {n: in_network(layers, depth) for n, layers in self.where.items()}
        return self._with(where={n: self.where[n] for n in _parts(there, depth)})

    def acting(self, where: Mapping[str, Collection[int]]) -> Pool:
        """The same pool with these terms in these layers, and the others as they are.

        Raises:
            RuleSearchError: what `Pool` refuses.
        """
        if not where:
            return self
        if faults := list(where_faults(where, self.names)):
            raise RuleSearchError(*faults)
        acting = {**self.where, **{name: in_order(layers) for name, layers in where.items()}}
        made = self._looked_at(self.terms, self.start, acting)
        return made._with(remarks=self.remarks, declared=self.declared)

    def bounded(self, bounds: Mapping[str, Sequence[float]]) -> Pool:
        """The same pool with the values of these parameters kept within bounds.

        Raises:
            RuleSearchError: bounds that cannot be; one line each.

        Example:
            >>> Pool(A="-W").bounded({"W": (-1, 1)}).bounds
            (('W', -1.0, 1.0),)
        """
        if faults := list(bounds_faults(bounds)):
            raise RuleSearchError(*faults)
        before: dict[str, Sequence[float]] = {p: (low, high) for p, low, high in self.bounds}
        return self._with(bounds=in_their_order({**before, **bounds}))

    def unbounded(self) -> Pool:
        """The same pool with values of any size."""
        return self._with(bounds=())

    def per_layer(self, depth: int) -> Pool:
        """The pool with a coefficient of its own for each term in each layer where it acts.

        The copy of F0 in layer 2 is F0_2, and begins where F0 does.

        Raises:
            RuleSearchError: as for `mask`.

        Example:
            >>> Pool(A="-W", B="-e_pre", where={"B": (-1,)}).per_layer(2).where
            {'A_1': (1,), 'A_2': (2,), 'B_2': (2,)}
        """
        copies = [
            (f"{term.name}_{layer}", term, layer)
            for place, term in enumerate(self.terms)
            for layer, acts in enumerate(self.mask(depth), start=1)
            if acts[place]
        ]
        start = {n: self.start[t.name] for n, t, _ in copies if t.name in self.start}
        where = _parts({name: (layer,) for name, _, layer in copies}, depth)
        made = self._looked_at([replace(t, name=n) for n, t, _ in copies], start, where)
        return made._with(remarks=self.remarks, declared=self.declared)

    def throughout(self, expression: Expr, depth: int) -> dict[str, float]:
        """The terms that together have an expression in every layer, in order; or none.

        With these coefficients, times a common one, they are the rule of that expression alone.

        Args:
            expression: canonical, as that of a term.
            depth: the number of layers of weights.

        Raises:
            RuleSearchError: as for `mask`.

        Example:
            >>> pool = Pool(A="-W", B1="-e_pre", B2="2*e_pre", where={"B1": (1,), "B2": (2,)})
            >>> [pool.throughout(pool.terms[1].expression, depth) for depth in (2, 3)]
            [{'B1': 1.0, 'B2': -0.5}, {}]
        """
        shares = [term.share(expression) for term in self.terms]
        same = {i: share for i, share in enumerate(shares) if share is not None}
        everywhere = all(any(acts[i] for i in same) for acts in self.mask(depth))
        return {self.names[i]: share for i, share in same.items()} if everywhere else {}

    def only(self, *names: str) -> Pool:
        """The pool of these terms alone, in the pool's order; what is said of others is dropped.

        Raises:
            KeyError: a name that is not in the pool.
        """
        if strange := [name for name in names if name not in self.names]:
            raise KeyError(*strange)
        kept = tuple(t for t in self.terms if t.name in names)
        start = {n: v for n, v in self.start.items() if n in names}
        where = {n: layers for n, layers in self.where.items() if n in names}
        return self.checked(kept, _start(start, kept), where, self.bounds)

    def declaring(self, own: Iterable[OwnSymbol]) -> Pool:
        """The same pool, with these quantities beside those that came with it."""
        return self._with(declared=tuple(dict.fromkeys((*self.declared, *own))))

    def with_remarks(self, remarks: tuple[str, ...]) -> Pool:
        """The same pool, with this to be said of how it came about."""
        return self._with(remarks=remarks)

    def _with(self, **changed: Any) -> Pool:
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return self.checked(**{**values, **changed})

    def _looked_at(
        self, terms: Sequence[Term], start: Mapping[str, float], where: Mapping[str, Layers]
    ) -> Pool:
        """A pool of terms that are good by themselves, if no two that meet are the same.

        Raises:
            RuleSearchError: two that are, or one that adds nothing to the others.
        """
        if faults := dependent(terms, where):
            raise RuleSearchError(*faults)
        return self.checked(tuple(terms), _start(start, terms), where, self.bounds)

    @staticmethod
    def checked(
        terms: tuple[Term, ...],
        start: Mapping[str, float],
        where: Mapping[str, Layers],
        bounds: Bounds = (),
        remarks: tuple[str, ...] = (),
        declared: tuple[OwnSymbol, ...] = (),
    ) -> Pool:
        """A pool of what another has, or some of it: independent, so nothing is checked again."""
        pool = object.__new__(Pool)
        values = {
            "terms": terms,
            "start": start,
            "where": where,
            "bounds": bounds,
            "remarks": remarks,
            "declared": declared,
        }
        for name, value in values.items():
            object.__setattr__(pool, name, value)
        return pool


@lru_cache(maxsize=256)
def _mask(pool: Pool, depth: int) -> tuple[tuple[bool, ...], ...]:
    if faults := list(depth_faults(pool.where, depth)):
        raise RuleSearchError(*faults)
    everywhere = range(1, depth + 1)
    where = {name: in_network(layers, depth) for name, layers in pool.where.items()}
    # What meets in a layer only because numbers from both ends do was not known before.
    met = groups(pool.terms, pool.where).values()
    if faults := list(dependences(groups(pool.terms, where), met)):
        raise RuleSearchError(*faults)
    return tuple(
        tuple(layer in where.get(name, everywhere) for name in pool.names) for layer in everywhere
    )


def _parts(where: Mapping[str, Layers], depth: int) -> dict[str, Layers]:
    """Without those that act in every layer."""
    return {name: layers for name, layers in where.items() if len(layers) < depth}


def _checked(name: str) -> str:
    if not name.isidentifier():
        raise RuleSearchError(f"term {name}: not a name; use letters, digits and _")
    return name


def _start(given: Mapping[str, float], terms: Sequence[Term]) -> dict[str, float]:
    """The start as given, or where that moves no weights the pool's default."""
    weights = [term for term in terms if term.changes == "W"]
    if not weights or any(given.get(term.name) for term in weights):
        return {name: float(value) for name, value in given.items()}
    others = {n: float(v) for n, v in given.items() if n not in {t.name for t in weights}}
    # One expression in layers apart begins in all of them.
    shares = {t.name: share_of(t.expression, PSEUDO_GRADIENT) for t in weights}
    if any(share is not None for share in shares.values()):
        return {**{n: START * s for n, s in shares.items() if s is not None}, **others}
    first = min(term.key for term in weights)
    return {**{t.name: START / float(t.factor) for t in weights if t.key == first}, **others}
