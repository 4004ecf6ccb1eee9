"""The hall of fame in words: its table, the reason of the choice, and its file."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence

from rulesearch.records.plain import Interval, Number
from rulesearch.report.tables import DIM, Sheet
from rulesearch.result import (
    EvaluationRecord,
    HallRecord,
    PoolEntry,
    Result,
    best_of_each_size,
    equation,
    looked_at,
)
from rulesearch.words import interval_text, percent, significant

#: Of a longer rule, so many terms are named.
NAMED = 8
#: Rules that do as well as the best of their size that are shown under it.
SHOWN = 3

COLUMNS = (
    *("terms", "support", "rule", "coefficients", "needs"),
    *("loss", "loss_low", "loss_high", "lifetimes", "diverged"),
    *("behind", "behind_low", "behind_high", "given_away", "chosen"),
    *("set_aside_loss", "set_aside_loss_low", "set_aside_loss_high"),
    *("set_aside_accuracy", "set_aside_accuracy_low", "set_aside_accuracy_high"),
    *("set_aside_lifetimes", "set_aside_diverged"),
)
"""Of `hall_of_fame.csv`: the rule; what it did on the search's images; beside the best of its size,
and of all; and, once the search has ended, on images set aside. Supports and needs are names with
commas, coefficients `name=value` with spaces, losses nats, or in several worlds shares of the
untrained loss."""


def hall_table(result: Result) -> Sheet:
    """The best rule of each size, and under it those that do as well; the choice is marked."""
    table = Sheet(
        "Hall of fame",
        {
            "terms": "name",
            "rule": "text",
            "needs": "text",
            "loss": "number",
            "of gain": "number",
            "accuracy set aside": "interval",
            "loss set aside": "interval",
            "diverged": "number",
        },
    )
    best = best_of_each_size(result.hall)
    hidden = 0
    for size, first in best.items():
        others = [e for e in result.hall if len(e.support) == size and e is not first]
        less = [entry for entry in others if _mark(entry) == "<"]
        as_good = [entry for entry in others if entry not in less]
        hidden += len(as_good[SHOWN:])
        for entry in (first, *as_good[:SHOWN], *less):
            away = "-" if entry.given_away is None else percent(entry.given_away)
            beside = "" if entry is first else f"{_mark(entry)} "
            table.add(
                f"{'>' if entry.chosen else ' '} {beside}{size}",
                _named(entry.support),
                ", ".join(entry.needs) or "-",
                significant(entry.loss),
                away,
                *_set_aside(entry.evaluation),
                style="" if entry is first else DIM,
            )
    label = "on the search's images"
    if result.worlds:
        label += ", as a share of the untrained loss"
    others = [entry for entry in result.hall if entry not in best.values()]
    marks = {_mark(entry) for entry in others}
    settled = bool(result.theta_interval)
    table.caption = _caption(label, marks, hidden, looked_at(result.hall), settled=settled)
    return table


def _caption(label: str, marks: Collection[str], hidden: int, rules: int, *, settled: bool) -> str:
    parts = [f"Loss: {label}. Of gain: what it gives away of the best rule's."]
    if "=" in marks:
        parts.append(
            "=: not told apart from the best of its size by the paired 95 % interval of the loss."
        )
    if hidden:
        parts.append(f"{hidden:,} more of these are in hall_of_fame.csv.")
    if "<" in marks:
        parts.append("<: not so good, but without something that those above it need.")
    if rules:
        wider = f"; of each column 95 % intervals hold for all {rules} of them" if rules > 1 else ""
        parts.append(
            "Rules were looked at on images set aside if none that asks no more undercuts them"
            f"{wider}."
        )
    alone = ", whose coefficients alone have settled" if settled else ""
    parts.append(f"> marks the rule chosen{alone}.")
    return " ".join(parts)


def _mark(entry: HallRecord) -> str:
    low = entry.behind_interval[0]
    return "<" if low is not None and low > 0 else "="


def _named(support: Sequence[str]) -> str:
    more = len(support) - NAMED
    if more < 2:
        return ", ".join(support)
    return f"{', '.join(support[:NAMED])} and {more} more"


def _set_aside(of: EvaluationRecord | None) -> tuple[str, str, str]:
    if of is None:
        return ("", "", "")
    accuracy, loss = (
        f"{significant(mean)} {interval_text(interval)}"
        for mean, interval in ((of.accuracy, of.accuracy_interval), (of.loss, of.loss_interval))
    )
    return accuracy, loss, str(of.diverged)


def choice_text(result: Result) -> str:
    """Why the rule was chosen, in a sentence; "" where none of the hall was.

    That is the fewest terms that give away less than the parsimony's share of the gain; or the
    reference, where no other rule clearly gains anything.
    """
    chosen = next((entry for entry in result.hall if entry.chosen), None)
    parsimony = result.config.get("parsimony")
    if chosen is None or parsimony is None:
        return ""
    name = ", ".join(chosen.support)
    if chosen.given_away is None or chosen.given_away > parsimony:
        return f"Chosen: {name}, as no rule of the hall of fame clearly gains anything over it."
    sizes = best_of_each_size(result.hall)
    best = min(sizes.values(), key=lambda entry: (entry.given_away or 0.0, len(entry.support)))
    if best is chosen:
        away = "which has the least loss of all"
    else:
        away = f"which gives away {percent(chosen.given_away)}"
    fewer = [size for size in sizes if size < len(chosen.support)]
    least = ""
    if fewer:
        given = percent(sizes[max(fewer)].given_away)
        least = f"; the best of {max(fewer)} gives away {given}"
    return (
        f"Chosen: {name}, {away}: the fewest terms within {100 * parsimony:g} % (--parsimony) "
        f"of the gain of the best rule{least}."
    )


def hall_csv(pool: Iterable[PoolEntry], hall: Iterable[HallRecord]) -> str:
    """The text of `hall_of_fame.csv`; see `COLUMNS`."""
    entries = tuple(pool)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in hall:
        writer.writerow(
            [
                len(entry.support),
                ",".join(entry.support),
                equation(entries, entry.theta),
                " ".join(f"{name}={value!r}" for name, value in entry.theta.items()),
                ",".join(entry.needs),
                *(entry.loss, *entry.loss_interval, entry.lifetimes, entry.diverged),
                *(entry.behind, *entry.behind_interval, entry.given_away),
                "yes" if entry.chosen else "no",
                *_evaluated(entry.evaluation),
            ]
        )
    return text.getvalue()


def _evaluated(of: EvaluationRecord | None) -> tuple[Number | Interval | int, ...]:
    if of is None:
        return (None,) * 8
    loss, accuracy = of.loss_interval, of.accuracy_interval
    return (of.loss, *loss, of.accuracy, *accuracy, of.lifetimes, of.diverged)
