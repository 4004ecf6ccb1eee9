"""What an evaluation gives: entries as they were measured, and the tables made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rulesearch.evaluate.options import AXES, Asked, Scenario
from rulesearch.records.plain import Number
from rulesearch.rule import Rule
from rulesearch.search.config import called, layers_shown
from rulesearch.statistics import (
    Difference,
    Scores,
    Summary,
    chance,
    compare,
    holm,
    summarise,
)
from rulesearch.tabular import Line, Tabular, Value
from rulesearch.words import interval_text, significant

if TYPE_CHECKING:
    from rich.console import RenderableType

#: What is below it holds for all differences of a table together.
LEVEL = 0.05
#: Of so many scenarios each has a table of its own.
FEW = 4


@dataclass(frozen=True)
class Entry:
    """A contestant in a scenario.

    Attributes:
        scenario: it.
        name: of the contestant.
        tuned: where its rate was found: `here`, `on` a data set, or "" for one that has none.
        rate: it; of Kolen-Pollack and random rules what all coefficients are multiplied by.
        bracketed: whether it lies between two worse ones.
        steps: after which the query was asked.
        scores: of its lifetimes.
    """

    scenario: Scenario
    name: str
    tuned: str
    rate: float | None
    bracketed: bool
    steps: int
    scores: Scores

    @property
    def shown(self) -> str:
        """Its name, and where its rate was found, if not here."""
        return f"{self.name}, rate {self.tuned}" if self.tuned not in ("", "here") else self.name

    @property
    def situation(self) -> tuple[Scenario, int]:
        """Where its lifetimes are comparable task by task."""
        return self.scenario, self.steps


@dataclass(frozen=True)
class Against:
    """A rule minus another contestant, on the same lifetimes.

    Attributes:
        loss: its mean loss minus the other's, with its own 95 % interval.
        accuracy: likewise.
        chance: of so large a difference of losses where there is none,
        holds: and the same made to hold for all differences of the table (Holm 1979).
    """

    loss: Difference
    accuracy: Difference
    chance: float
    holds: float

    @property
    def mark(self) -> str:
        """`*` where the difference of losses holds for all of the table together."""
        return "*" if self.holds < LEVEL else ""

    def __str__(self) -> str:
        low, high = self.loss.interval
        return f"{self.loss.mean:+.3f} [{low:+.3f}, {high:+.3f}]{self.mark}"


def against_each(pairs: Sequence[tuple[Scores, Scores]]) -> list[Against]:
    """The first of each pair minus the second; what holds, holds for all pairs together."""
    chances = [chance(first, second) for first, second in pairs]
    return [
        Against(compare(first, second), compare(first, second, "accuracy"), by_chance, holds)
        for (first, second), by_chance, holds in zip(pairs, chances, holm(chances), strict=True)
    ]


@dataclass(frozen=True)
class Evaluated(Tabular):
    """Rules beside rivals, in each scenario on the same tasks.

    Attributes:
        rules: what was tried.
        asked: the options.
        varied: the axes that have several values.
        entries: what was measured.
        notes: what a reader must know of data and terms, a line each.
    """

    rules: tuple[Rule, ...]
    asked: Asked
    varied: tuple[str, ...]
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def situations(self) -> tuple[tuple[Scenario, int], ...]:
        """Scenarios and points, in their order."""
        return tuple(dict.fromkeys(entry.situation for entry in self.entries))

    def at(self, situation: tuple[Scenario, int]) -> tuple[Entry, ...]:
        """The entries of a scenario at a point."""
        return tuple(entry for entry in self.entries if entry.situation == situation)

    @cached_property
    def summaries(self) -> dict[Entry, Summary]:
        """Means and intervals of each entry."""
        return {entry: summarise(entry.scores) for entry in self.entries}

    @cached_property
    def against(self) -> dict[tuple[str, Entry], Against]:
        """Each rule minus each other entry on the same lifetimes, by the rule's name."""
        names = [rule.name for rule in self.rules]
        pairs = []
        for situation in self.situations:
            entries = self.at(situation)
            own = {entry.name: entry for entry in entries if entry.name in names}
            for number, name in enumerate(names):
                earlier = names[: number + 1]  # a pair of rules is one difference
                pairs += [(own[name], e) for e in entries if e.name not in earlier]
        found = against_each([(a.scores, b.scores) for a, b in pairs])
        return {(a.name, b): each for (a, b), each in zip(pairs, found, strict=True)}

    @property
    def lines(self) -> tuple[Line, ...]:
        """A line for each entry: scenario, contestant, what it does, and the differences."""
        return tuple(self._line(entry) for entry in self.entries)

    def _line(self, entry: Entry) -> Line:
        found = self.summaries[entry]
        # The axis of that name says which loss it is; the loss itself is a column too.
        titles = {name: "loss function" if name == "loss" else name for name in AXES}
        line: dict[str, Value] = {
            title: axis_value(entry.scenario, name) for name, title in titles.items()
        }
        line |= {
            "steps": entry.steps,
            "contestant": entry.name,
            "rate found": entry.tuned,
            "rate": entry.rate,
            "rate bracketed": entry.bracketed,
            "accuracy": found.accuracy,
            "accuracy low": found.accuracy_interval[0],
            "accuracy high": found.accuracy_interval[1],
            "loss": found.loss,
            "loss low": found.loss_interval[0],
            "loss high": found.loss_interval[1],
            "diverged": found.diverged,
            "lifetimes": found.lifetimes,
            "tuning tasks": self.asked.tuning_tasks if entry.rate is not None else None,
            "seed": self.asked.seed,
        }
        for rule in self.rules:
            line |= _differences(rule.name, self.against.get((rule.name, entry)))
        return line

    @property
    def head(self) -> str:
        """What was done, in a paragraph."""
        asked = self.asked
        count = len(self.against)
        parts = [
            f"{asked.lifetimes} lifetimes of each (seed {asked.seed}), on the same tasks of images "
            "that no search used."
        ]
        if any(entry.rate is not None for entry in self.entries):
            where = {"here": "in the same scenario", "own": "where the rule was searched for"}
            found = where.get(
                asked.rates, "in the same scenario, and where the rule was searched for"
            )
            parts.append(
                f"Rates found on {asked.tuning_tasks} tasks of images for the search, {found}."
            )
        if count:
            parts.append(differences_text("a rule's minus the other's", count, "evaluation"))
        parts.append(
            "A lifetime that diverged, which is to end worse than untrained, counts as the worse "
            "of chance and untrained."
        )
        return " ".join(parts)

    def renderables(self) -> Iterator[RenderableType]:
        """The head, a table for each scenario or one for all, and the notes."""
        from rich.text import Text

        for rule in self.rules:
            yield Text(str(rule))
        yield Text("")
        yield Text(self.head)
        yield Text("")
        if len(self.situations) <= FEW:
            for situation in self.situations:
                yield self._table(situation)
                yield Text("")
        else:
            yield self._grid("Accuracy", None)
            yield Text("")
            for rule in self.rules:
                if any(name == rule.name for name, _ in self.against):
                    yield self._grid(f"Loss of {rule.name} minus that of", rule.name)
                    yield Text("")
        for note in self.notes:
            yield Text(note)

    def _table(self, situation: tuple[Scenario, int]) -> RenderableType:
        from rulesearch.report.tables import Kind, Sheet

        entries = self.at(situation)
        others = [r.name for r in self.rules if any((r.name, e) in self.against for e in entries)]
        rates = any(entry.rate is not None for entry in entries)
        columns: dict[str, Kind] = {
            "": "text",
            "accuracy": "number",
            "95 % interval": "interval",
            "loss": "number",
            "diverged": "number",
            **({"rate": "number"} if rates else {}),
            **{f"{name} minus it": "interval" for name in others},
        }
        sheet = Sheet(situation_text(*situation), columns)
        for entry in entries:
            found = self.summaries[entry]
            edge = "" if entry.bracketed else " (edge)"
            sheet.add(
                entry.shown,
                significant(found.accuracy),
                interval_text(found.accuracy_interval),
                significant(found.loss),
                str(found.diverged) if found.diverged else "",
                *(["" if entry.rate is None else significant(entry.rate) + edge] if rates else ()),
                *(str(self.against.get((name, entry), "")) for name in others),
            )
        return sheet

    def _grid(self, title: str, rule: str | None) -> RenderableType:
        """A line for each scenario, a column for each contestant."""
        from rulesearch.report.tables import Kind, Sheet

        shown = dict.fromkeys(
            e.shown for e in self.entries if rule is None or (rule, e) in self.against
        )
        columns: dict[str, Kind] = dict.fromkeys(self.varied, "name")
        columns |= dict.fromkeys(shown, "number")
        caption = "In brackets: lifetimes that diverged." if rule is None else ""
        sheet = Sheet(title, columns, caption)
        for situation in self.situations:
            at = {entry.shown: entry for entry in self.at(situation)}
            cells = [self._cell(at[name], rule) if name in at else "" for name in shown]
            sheet.add(*(str(_value(situation, axis)) for axis in self.varied), *cells)
        return sheet

    def _cell(self, entry: Entry, rule: str | None) -> str:
        if rule is None:
            found = self.summaries[entry]
            bad = f" ({found.diverged})" if found.diverged else ""
            return f"{found.accuracy:.3f}{bad}"
        than = self.against.get((rule, entry))
        return "" if than is None else f"{than.loss.mean:+.3f}{than.mark}"


def differences_text(which: str, count: int, whole: str) -> str:
    """What is said of paired differences of losses.

    Args:
        which: they are.
        count: of them, at least one.
        whole: what all of them are in.
    """
    several = f"for all {count:,} of this {whole} together (Holm, 5 %)"
    return (
        f"Differences are of losses, {which}, on the same lifetimes; each interval is a 95 % one "
        f"by itself, and * holds {several if count > 1 else 'at 5 %'}."
    )


def _value(situation: tuple[Scenario, int], axis: str) -> Value:
    return situation[1] if axis == "steps" else axis_value(situation[0], axis)


def axis_value(scenario: Scenario, axis: str) -> Value:
    """What a scenario has on an axis, as a table has it; `own` for what is each rule's own."""
    value = getattr(scenario, axis)
    if axis == "layers":
        return layers_shown(value)
    if axis == "dataset":
        return called(value)
    if value is None:
        return "own"
    plain: Value = value
    return plain


def situation_text(scenario: Scenario, steps: int) -> str:
    """A scenario in words.

    Example:
        >>> mnist = Scenario(dataset="mnist", layers=(130,), ways=5, shots=10, queries=10)
        >>> situation_text(mnist, 50)
        'mnist, layers 130, 5 ways, 10 shots, 10 queries'
    """
    parts = [called(scenario.dataset), f"layers {layers_shown(scenario.layers)}"]
    usual = Scenario(dataset="", layers=(1,), ways=2, shots=1, queries=1)
    for axis in AXES[2:-3]:
        if (value := getattr(scenario, axis)) != getattr(usual, axis):
            parts.append(f"{axis.replace('_', ' ')} {value}")
    asked = f"{steps} steps" if scenario.points else f"{scenario.shots} shots"
    return ", ".join([*parts, f"{scenario.ways} ways", asked, f"{scenario.queries} queries"])


def _differences(name: str, against: Against | None) -> dict[str, Number]:
    """The columns of a rule minus an entry; None where there is no such pair."""
    titles = [
        f"{name} minus it: {of}{end}"
        for of in ("loss", "accuracy")
        for end in ("", " low", " high")
    ]
    titles += [f"{name} minus it: chance", f"{name} minus it: chance, Holm"]
    if against is None:
        return dict.fromkeys(titles)
    values = []
    for each in (against.loss, against.accuracy):
        values += [each.mean, *each.interval]
    return dict(zip(titles, [*values, against.chance, against.holds], strict=True))
