"""What an ablation gives: a rule, without each term, and with others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from rulesearch.evaluate.options import Asked, Scenario
from rulesearch.evaluate.table import Against, against_each, differences_text, situation_text
from rulesearch.rule import Rule
from rulesearch.statistics import Scores, Summary, summarise
from rulesearch.tabular import Line, Tabular
from rulesearch.words import interval_text, significant

if TYPE_CHECKING:
    from rich.console import RenderableType

Change = Literal["whole", "without", "with"]


@dataclass(frozen=True)
class Row:
    """A rule that was changed.

    Attributes:
        change: what was done to it,
        term: to which of its terms, or which was added; "" for the whole rule.
        shown: the term's expression.
        needs: what the term needs beyond its own synapse.
        refitted: whether the coefficients were fitted again.
        theta: name -> raw coefficient, of those that are not zero.
        scores: of its lifetimes.
    """

    change: Change
    term: str
    shown: str
    needs: tuple[str, ...]
    refitted: bool
    theta: dict[str, float]
    scores: Scores

    @property
    def label(self) -> str:
        """In words."""
        return f"{self.change} {self.term}".rstrip() + ", refitted" * self.refitted


@dataclass(frozen=True)
class Ablated(Tabular):
    """A rule, without each of its terms, and with others.

    Attributes:
        rule: it.
        scenario: where.
        asked: the options.
        steps: of a refit at most; 0 for none.
        rows: the whole rule first, as it is and refitted.
        notes: what a reader must know, a line each.
    """

    rule: Rule
    scenario: Scenario
    asked: Asked
    steps: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """Means and intervals of each row."""
        return tuple(summarise(row.scores) for row in self.rows)

    @cached_property
    def against(self) -> tuple[Against | None, ...]:
        """Each row minus the whole rule, as it is or refitted like the row."""
        whole = {row.refitted: row.scores for row in self.rows if row.change == "whole"}
        whole.setdefault(True, whole[False])
        pairs = [(row.scores, whole[row.refitted]) for row in self.rows if row.change != "whole"]
        found = iter(against_each(pairs))
        return tuple(None if row.change == "whole" else next(found) for row in self.rows)

    @property
    def lines(self) -> tuple[Line, ...]:
        """A line for each row."""
        return tuple(
            {
                "change": row.change,
                "term": row.term,
                "expression": row.shown,
                "needs": ",".join(row.needs),
                "refitted": row.refitted,
                "terms": len(row.theta),
                "accuracy": found.accuracy,
                "accuracy low": found.accuracy_interval[0],
                "accuracy high": found.accuracy_interval[1],
                "loss": found.loss,
                "loss low": found.loss_interval[0],
                "loss high": found.loss_interval[1],
                "diverged": found.diverged,
                "lifetimes": found.lifetimes,
                "minus whole: loss": less.loss.mean if less else None,
                "minus whole: loss low": less.loss.interval[0] if less else None,
                "minus whole: loss high": less.loss.interval[1] if less else None,
                "minus whole: accuracy": less.accuracy.mean if less else None,
                "minus whole: chance": less.chance if less else None,
                "minus whole: chance, Holm": less.holds if less else None,
                "theta": "; ".join(f"{name}={value!r}" for name, value in row.theta.items()),
            }
            for row, found, less in zip(self.rows, self.summaries, self.against, strict=True)
        )

    @property
    def head(self) -> str:
        """What was done, in a paragraph."""
        count = sum(each is not None for each in self.against)
        fitted = (
            f"Refitted: at most {self.steps} accepted steps on images for the search, from the "
            f"best of a few starts by {self.asked.tuning_tasks} tasks; minus the whole rule "
            "refitted as well. "
            if self.steps
            else ""
        )
        told = differences_text("minus the whole rule's", count, "table") + " " if count else ""
        return (
            f"{situation_text(self.scenario, self.scenario.asked_at[-1])}. "
            f"{self.asked.lifetimes} lifetimes of each (seed {self.asked.seed}), on the same tasks "
            f"of images that no search used. {fitted}{told}A lifetime that diverged counts as the "
            "worse of chance and untrained."
        )

    def renderables(self) -> Iterator[RenderableType]:
        """The rule, the head and the table."""
        from rich.text import Text

        from rulesearch.report.tables import Expression, Sheet

        yield Text(str(self.rule))
        yield Text("")
        yield Text(self.head)
        yield Text("")
        sheet = Sheet(
            "Ablation",
            {
                "": "name",
                "expression": "text",
                "needs": "text",
                "accuracy": "number",
                "95 % interval": "interval",
                "loss": "number",
                "diverged": "number",
                "minus the whole rule": "interval",
            },
        )
        for row, found, less in zip(self.rows, self.summaries, self.against, strict=True):
            sheet.add(
                row.label,
                Expression(row.shown),
                ", ".join(row.needs),
                significant(found.accuracy),
                interval_text(found.accuracy_interval),
                significant(found.loss),
                str(found.diverged) if found.diverged else "",
                str(less) if less else "",
            )
        yield sheet
        for note in self.notes:
            yield Text(note)
