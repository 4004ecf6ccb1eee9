"""What terms were tested for: to join all others of a large pool, or small rules, in words."""

from __future__ import annotations

from rulesearch.report.tables import DIM, Sheet
from rulesearch.result import Result
from rulesearch.words import significant

#: Candidates shown that did not join, of each round, by chance.
NEAREST = 3


def joining_table(result: Result) -> Sheet:
    """Those that joined, round by round, and of the others those that came nearest."""
    table = Sheet(
        "Joining",
        {
            "": "name",
            "round": "number",
            "term": "text",
            "agreement": "number",
            "gain": "number",
            "by chance": "number",
        },
    )
    hidden = 0
    for number in sorted({each.round for each in result.joining}):
        tested = [each for each in result.joining if each.round == number]
        tested.sort(key=lambda each: (not each.joins, each.chance or 0.0))
        joined = sum(each.joins for each in tested)
        for each in tested[: joined + NEAREST]:
            table.add(
                "joins" if each.joins else "tested",
                str(number),
                each.term,
                significant(each.agreement),
                significant(each.gain),
                significant(each.chance),
                style="" if each.joins else DIM,
            )
        hidden += max(0, len(tested) - joined - NEAREST)
    more = f"; {hidden} more that did not join are in result.json" if hidden else ""
    table.caption = (
        "Agreement: of lifetimes in the sign of what only that term can do, in standard errors. "
        f"Gain: of a step on fresh lifetimes{_in(result)}, and the probability of as much by chance"
        f"{more}. By these tests what is useless joins in at most 5 of 100 searches; the simplest "
        "terms join without one, and so do those by which small rules grow."
    )
    return table


def _in(result: Result) -> str:
    return f", {result.unit}" if result.unit else ""


def grew(result: Result) -> bool:
    """Whether any small rule was tried with a term more."""
    return any(each.loss is not None for each in result.growing)


def growing_table(result: Result) -> Sheet:
    """Small rules and what they grew to, beside the best that was found of that size otherwise."""
    table = Sheet(
        "Growing",
        {
            "terms": "name",
            "of": "text",
            "and": "text",
            "gain": "number",
            "loss": "number",
            "best of that size": "number",
        },
    )
    tried = [each for each in result.growing if each.loss is not None]
    for each in tried:
        size = len(each.base) + 1
        of_size = [one.loss for one in result.hall if len(one.support) == size]
        table.add(
            str(size),
            ", ".join(each.base),
            each.term,
            significant(each.gain),
            significant(each.loss),
            significant(min((x for x in of_size if x is not None), default=None)),
            style="" if each.loss in of_size else DIM,
        )
    left = len(result.growing) - len(tried)
    more = f" {left} more terms were tested, and took no steps." if left else ""
    table.caption = (
        "The best rules of each size, with the terms that they missed most. Gain: of a step on "
        f"fresh lifetimes{_in(result)}. Loss: of the rule with it, after steps of its own, on the "
        "search's images; it is in the hall of fame where it does as well as the best of its size."
        f"{more}"
    )
    return table
