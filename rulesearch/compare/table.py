"""What a comparison gives: what differs in terms, and what the rules do on common tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from rulesearch.evaluate.table import Evaluated
from rulesearch.notation import Term
from rulesearch.rule import Network, Rule
from rulesearch.tabular import Line, Tabular
from rulesearch.words import significant

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Row:
    """A term that some of the rules have.

    Attributes:
        expression: as the first rule with it writes it.
        layers: those it acts in, from 1 or -1; empty for all.
        coefficients: of each rule, of that expression; None for a rule without the term.
    """

    expression: str
    layers: tuple[int, ...]
    coefficients: tuple[float | None, ...]

    @property
    def common(self) -> bool:
        """Whether all rules have the term."""
        return None not in self.coefficients


@dataclass(frozen=True)
class Terms(Tabular):
    """The terms of several rules beside each other.

    Attributes:
        names: of the rules.
        rows: their terms, in the order of the rules.
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """A line for each term, a column for each rule."""
        return tuple(
            {
                "term": row.expression,
                "layers": ",".join(map(str, row.layers)),
                **dict(zip(self._columns, row.coefficients, strict=True)),
            }
            for row in self.rows
        )

    @property
    def _columns(self) -> tuple[str, ...]:
        """What the columns of the rules are called, none of them as another one."""
        return tuple(f"rule {name}" if name in ("term", "layers") else name for name in self.names)

    def renderables(self) -> Iterator[RenderableType]:
        """A table; a term that not all have is in another style."""
        from rulesearch.report.tables import Expression, Kind, Sheet

        limited = any(row.layers for row in self.rows)
        columns: dict[str, Kind] = {"term": "text"}
        columns |= {"layers": "text"} if limited else {}
        columns |= dict.fromkeys(self._columns, "number")
        sheet = Sheet("Terms and coefficients", columns, "-: a rule that has no such term.")
        for row in self.rows:
            layers = [",".join(map(str, row.layers)) or "all"] if limited else []
            values = ("-" if x is None else significant(x) for x in row.coefficients)
            sheet.add(Expression(row.expression), *layers, *values)
        yield sheet


@dataclass(frozen=True)
class Compared(Tabular):
    """Rules beside each other.

    Attributes:
        terms: what differs in terms and coefficients.
        networks: what differs in the networks that they are for, a line each.
        evaluated: what they do on common tasks; its lines are those of this table.
    """

    terms: Terms
    networks: tuple[str, ...]
    evaluated: Evaluated

    @property
    def lines(self) -> tuple[Line, ...]:
        """Those of the evaluation."""
        return self.evaluated.lines

    def renderables(self) -> Iterator[RenderableType]:
        """The terms, the networks, and the evaluation."""
        from rich.text import Text

        yield from self.terms.renderables()
        yield Text("")
        for line in self.networks:
            yield Text(line)
        yield from self.evaluated.renderables()


def terms_of(rules: Sequence[Rule]) -> Terms:
    """The terms of several rules, each once: up to a constant factor, whatever they are called.

    Example:
        >>> from rulesearch.notation import Pool
        >>> one = Rule("one", Pool(F0="-e_post*y_pre"), (0.1,))
        >>> other = Rule("other", Pool(A="2*e_post*y_pre", B="-W"), (-0.1, 0.5))
        >>> [row.coefficients for row in terms_of([one, other]).rows]
        [(0.1, 0.2), (None, 0.5)]
    """
    found: list[tuple[Term, tuple[int, ...], dict[int, float]]] = []
    for number, rule in enumerate(rules):
        for term, value in zip(rule.pool, rule.theta, strict=True):
            layers = tuple(rule.pool.where.get(term.name, ()))
            same = (each for each in found if each[1] == layers and each[0].key == term.key)
            known = next(same, None)
            if known is None:
                found.append((term, layers, {number: value}))
            else:
                known[2][number] = value * float(term.factor / known[0].factor)
    rows = (
        Row(term.shown, layers, tuple(values.get(n) for n in range(len(rules))))
        for term, layers, values in found
    )
    return Terms(tuple(rule.name for rule in rules), tuple(rows))


def networks_of(rules: Sequence[Rule]) -> tuple[str, ...]:
    """What differs in the networks that rules are for, a line for each option."""
    lines = []
    for entry in fields(Network):
        values = {rule.name: getattr(rule.network, entry.name) for rule in rules}
        if len(set(values.values())) > 1:
            said = ", ".join(f"{name} {value}" for name, value in values.items())
            lines.append(f"{entry.name.replace('_', ' ')}: {said}")
    return tuple(lines)
