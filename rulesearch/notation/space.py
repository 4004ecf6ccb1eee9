"""Spaces: pools that are described instead of listed.

The terms of a space are products: of what the post-cell has, what the pre-cell has, one factor of
the synapse, and sums over the layer. Each quantity stands in a product once, as a power or in a
function. So all products are different, and none is a sum of others, where that holds of what may
stand for one quantity; and they can be counted without being made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sympy import Expr, Integer, Mul, Symbol

from rulesearch.errors import RuleSearchError
from rulesearch.notation.comparison import compared
from rulesearch.notation.dependence import equation, sums_of_others
from rulesearch.notation.naming import name_of
from rulesearch.notation.own import symbols_by_name
from rulesearch.notation.printing import text_of
from rulesearch.notation.term import Term
from rulesearch.operators import Parameter

#: A space of more is refused: before a search, its terms are compared with each other.
MOST_TERMS = 3_000


class Choice(NamedTuple):
    """One way for a quantity, or for a sum, to stand in a product.

    Attributes:
        factor: a power, a function or a sum.
        degree: what it counts for.
        sums: over the layer, how many it is.
    """

    factor: Expr
    degree: int
    sums: int


@dataclass(frozen=True)
class Space:
    """The products of a space; `described` makes one of a description.

    Attributes:
        families: for each quantity or sum, the ways for it to stand in a product; one at most does.
        synapse: each product has one of these.
        degree: the highest of a product; the factor of the synapse does not count.
        sums: over the layer, the most in a product.
    """

    families: tuple[tuple[Choice, ...], ...]
    synapse: tuple[Expr, ...]
    degree: int
    sums: int

    @property
    def count(self) -> int:
        """How many terms there are; none is made for it."""
        ways = Counter({(0, 0): 1})
        for family in self.families:
            # Without this family, and with each of its choices.
            extended = ways.copy()
            for (degree, sums), number in ways.items():
                for choice in family:
                    place = degree + choice.degree, sums + choice.sums
                    if self._allows(*place):
                        extended[place] += number
            ways = extended
        return ways.total() * len(self.synapse) - (Integer(1) in self.synapse)

    def terms(self) -> Iterator[tuple[str, Expr]]:
        """Name and expression of each term, those without sums and the shortest first.

        All carry a minus: -e_post*y_pre descends with a coefficient above zero, and -W is decay.
        """
        rows = []
        for factors, degree, sums in self._products():
            for weight in self.synapse:
                product = Mul(weight, *factors)
                if product != 1:
                    rows.append((sums, degree + (weight != 1), name_of(product), product))
        yield from ((name, -product) for _, _, name, product in sorted(rows, key=_place))

    def _products(self) -> list[tuple[tuple[Expr, ...], int, int]]:
        """Factors, degree and sums of each product without the synapse; the empty one too."""
        products: list[tuple[tuple[Expr, ...], int, int]] = [((), 0, 0)]
        for family in self.families:
            products += [
                ((*factors, choice.factor), degree + choice.degree, sums + choice.sums)
                for factors, degree, sums in products
                for choice in family
                if self._allows(degree + choice.degree, sums + choice.sums)
            ]
        return products

    def _allows(self, degree: int, sums: int) -> bool:
        return degree <= self.degree and sums <= self.sums

    def refuse_size(self) -> None:
        """Refuse a space of no terms, or of more than a pool may have.

        Raises:
            RuleSearchError: with the count, and what would make it smaller.
        """
        if not self.count:
            raise RuleSearchError("space: has no terms; give quantities in post and pre")
        if self.count <= MOST_TERMS:
            return
        highest = sum(max(choice.degree for choice in family) for family in self.families)
        lower = (replace(self, degree=d) for d in range(min(self.degree, highest) - 1, 0, -1))
        fewer = (replace(self, sums=sums) for sums in range(self.sums - 1, -1, -1))
        ways = "".join(
            f"{option}={getattr(space, option)} gives {space.count:,}, "
            for option, spaces in (("degree", lower), ("sums", fewer))
            if (space := next((s for s in spaces if s.count <= MOST_TERMS), None))
        )
        raise RuleSearchError(
            f"space: {self.count:,} terms, at most {MOST_TERMS:,}; {ways}or give fewer quantities, "
            "functions or factors of the synapse"
        )


def _place(row: tuple[int, int, str, Expr]) -> tuple[int, int, str]:
    return row[:3]


def joined(
    space: Space,
    given: Mapping[str, Expr | str],
    where: Collection[str] = (),
    operators: Mapping[str, Any] | None = None,
    quantities: Iterable[Symbol] = (),
    changes: Parameter = "W",
) -> tuple[dict[str, Expr], tuple[str, ...]]:
    """The terms that are given and those of a space that add something to them.

    Args:
        space: of at most MOST_TERMS terms.
        given: name -> expression.
        where: the names of those that do not act in all layers, and so take no term's place.
        operators: of text terms, by name.
        quantities: of one's own that text terms read.
        changes: the parameter that the terms change.

    Returns:
        name -> expression, those given first; and a line for each term of the space that is left
        out, since it is a sum of others.

    Raises:
        RuleSearchError: a bad term, or one with the name of another; one line each.
    """
    made: dict[str, Expr] = {}
    faults = []
    for name, expression in space.terms():
        if (first := made.setdefault(name, expression)) is not expression:
            faults.append(
                f"space: {text_of(first)} and {text_of(expression)} are both called {name}; give "
                "the operator in them another name"
            )
    known = symbols_by_name(quantities)
    written: dict[str, Expr] = {}
    for name, source in given.items():
        try:
            term = Term.of(name, source, operators, quantities=known, changes=changes)
            written[name] = term.expression
        except RuleSearchError as error:
            faults.extend(error.lines)
            continue
        if name in made and compared(made[name]).key == compared(written[name]).key:
            del made[name]
        elif name in made:
            other = text_of(made[name])
            faults.append(f"term {name}: has the name of {other} in the space; choose another name")
    if faults:
        raise RuleSearchError(*faults)
    everywhere = {name: e for name, e in written.items() if name not in where}
    remarks = []
    for name, weights in sums_of_others({**everywhere, **made}):
        if name in made:
            del made[name]
            remarks.append(f"{name} of the space is left out: it is {equation(weights)}")
    return {**written, **made}, tuple(remarks)
