"""What a sweep gives: a line for each search, as a table that prints and becomes CSV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rulesearch.notation import Pool
from rulesearch.notation.term import PSEUDO_GRADIENT
from rulesearch.records.plain import Count, Interval, Number, Record
from rulesearch.result import NO_RULE, Result, equation
from rulesearch.sweep.planned import Planned
from rulesearch.tabular import Line, Tabular
from rulesearch.words import in_words, interval_text, significant

if TYPE_CHECKING:
    from rich.console import RenderableType

#: On each pathway the rival that a pool's first term is, where that is the pseudo-gradient.
REFERENCES = {"random": "feedback_alignment", "symmetric": "backprop_sgd"}
#: What a rule is beside where its pool has no such term, or on other pathways.
UNTRAINED = "untrained"
#: Terms of a rule that a table names; of a longer one their number.
NAMED = 6


@dataclass(frozen=True, kw_only=True)
class Row(Record):
    """What came out of one search; losses of several worlds at once are shares, see `Result`.

    Attributes:
        pool: what the pool is called,
        world: and the world.
        seed: of the search.
        support: the terms of the rule chosen.
        rule: as an equation.
        accuracy: of the rule on images set aside, 0 to 1,
        loss: and its query loss, nats.
        reference: what it is beside: `feedback_alignment` or `backprop_sgd` at its best rate, where
            that is the pool's reference, else `untrained`.
        gained: how much less loss the rule has than the reference, nats,
        gained_interval: and the paired 95 % interval of that.
        lifetimes: of the evaluation.
        diverged: of these with the rule,
        reference_diverged: and with the reference.
        gradient: lifetimes with derivatives of the whole search,
        forward: and without.
        seconds: that the search took.
        failed: why there is no result; "" where there is one.
    """

    pool: str
    world: str
    seed: Count
    support: tuple[str, ...] = ()
    rule: str = ""
    accuracy: Number = None
    loss: Number = None
    reference: str = ""
    gained: Number = None
    gained_interval: Interval = (None, None)
    lifetimes: Count = 0
    diverged: Count = 0
    reference_diverged: Count = 0
    gradient: Count = 0
    forward: Count = 0
    seconds: Number = None
    failed: str = ""


def reference_of(pool: Pool, pathway: str) -> str:
    """What a search with a pool is compared with, by the name of its record.

    Example:
        >>> pool = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre")
        >>> reference_of(pool, "random"), reference_of(pool, "direct")
        ('feedback_alignment', 'untrained')
    """
    first = pool.terms[pool.names.index(pool.reference)].expression
    return REFERENCES.get(pathway, UNTRAINED) if first == PSEUDO_GRADIENT else UNTRAINED


def row_of(planned: Planned, pool: Pool, result: Result) -> Row:
    """The row of a finished search."""
    rule = result.evaluation["rule"]
    reference = reference_of(pool, planned.config.pathway)
    rival = result.evaluation.get(reference)
    beside = rule if rival is None else rival
    return Row(
        pool=planned.pool,
        world=planned.world,
        seed=planned.config.seed,
        support=result.support,
        rule=equation(result.pool, result.theta) if result.learns else NO_RULE,
        accuracy=rule.accuracy,
        loss=rule.loss,
        reference=UNTRAINED if rival is None else reference,
        gained=beside.gained,
        gained_interval=beside.gained_interval,
        lifetimes=rule.lifetimes,
        diverged=rule.diverged,
        reference_diverged=0 if rival is None else rival.diverged,
        gradient=result.lifetimes.get("gradient", 0),
        forward=result.lifetimes.get("forward", 0),
        seconds=result.seconds,
    )


def row_of_failed(planned: Planned, why: str) -> Row:
    """The row of a search that has no result."""
    failed = " ".join(why.split())
    return Row(pool=planned.pool, world=planned.world, seed=planned.config.seed, failed=failed)


@dataclass(frozen=True)
class Swept(Tabular):
    """The searches of a sweep.

    Attributes:
        rows: one for each, in the order of the sweep.
    """

    rows: tuple[Row, ...]

    @property
    def failed(self) -> tuple[Row, ...]:
        """Those without a result."""
        return tuple(row for row in self.rows if row.failed)

    @property
    def lines(self) -> tuple[Line, ...]:
        """A line for each search, every field of its row a column."""
        return tuple(_line(row) for row in self.rows)

    def renderables(self) -> Iterator[RenderableType]:
        """A table of what was found, and a line for each that failed."""
        from rich.text import Text

        from rulesearch.report.tables import Kind, Sheet

        columns: dict[str, Kind] = {"search": "name", "rule": "text"}
        columns |= dict.fromkeys(("accuracy", "loss"), "number")
        columns |= {"less than": "text", "by": "interval", "diverged": "text"}
        columns |= {"lifetimes": "text", "seconds": "number"}
        sheet = Sheet(
            f"{len(self.rows) - len(self.failed)} of {len(self.rows)} searches",
            columns,
            "On images set aside. Diverged: with the rule and with what it is beside. Lifetimes: "
            "of the search, with derivatives and without.",
        )
        for row in self.rows:
            if not row.failed:
                few = len(row.support) <= NAMED
                sheet.add(
                    f"{row.pool} {row.world} {row.seed}",
                    ", ".join(row.support) if few else f"{len(row.support)} terms",
                    significant(row.accuracy),
                    significant(row.loss),
                    in_words(row.reference),
                    f"{significant(row.gained)} {interval_text(row.gained_interval)}",
                    f"{row.diverged} and {row.reference_diverged} of {row.lifetimes}",
                    f"{row.gradient:,} and {row.forward:,}",
                    significant(row.seconds),
                )
        if sheet.rows:
            yield sheet
        for row in self.failed:
            yield Text(f"{row.pool} {row.world} {row.seed}: no result: {row.failed}")


def _line(row: Row) -> Line:
    values = asdict(row) | {"support": ", ".join(row.support)}
    low, high = values.pop("gained_interval")
    line: dict[str, str | int | float | bool | None] = {}
    for name, value in values.items():
        line[name] = value
        if name == "gained":
            line |= {"gained low": low, "gained high": high}
    return line
