"""What is said of terms that were tested: to join all others, or small rules."""

import io
from types import SimpleNamespace

from rich.console import Console

from rulesearch.report.joining import NEAREST, grew, growing_table, joining_table
from rulesearch.result import GrowingRecord, JoiningRecord


def candidate(number, term, chance, joins):
    return JoiningRecord(
        round=number, term=term, agreement=3.0, step=0.15, gain=0.02, chance=chance, joins=joins
    )


def printed(table, width=90):
    text = io.StringIO()
    Console(file=text, width=width).print(table)
    return text.getvalue()


def shown(records, width=90):
    return printed(joining_table(SimpleNamespace(unit="nats", joining=records)), width)


def test_all_that_joined_and_the_nearest_of_the_others_are_shown_round_by_round():
    first = [candidate(1, f"a{i}", 10.0**-i, i > 6) for i in range(10)]
    second = [candidate(2, f"b{i}", 0.5, False) for i in range(2)]
    text = shown([*first, *second])
    rows = [line.split() for line in text.splitlines()]
    rows = [row for row in rows if row[:1] in (["joins"], ["tested"]) and row[1].isdigit()]
    assert [row[2] for row in rows if row[0] == "joins"] == ["a9", "a8", "a7"]
    assert [row[2] for row in rows if row[:2] == ["tested", "1"]] == ["a6", "a5", "a4"]
    assert [row[2] for row in rows if row[:2] == ["tested", "2"]] == ["b0", "b1"]
    assert f"{7 - NEAREST} more" in " ".join(text.split())


def test_a_table_of_candidates_fits_a_narrow_terminal():
    text = shown([candidate(1, "epost_ypre_sumWypost", 1e-9, True)], width=40)
    assert max(map(len, text.splitlines())) <= 40
    assert "epost_ypre_sumWypost" in text


def grown(base, term, loss):
    return GrowingRecord(base=base, term=term, agreement=3.0, step=0.15, gain=0.25, loss=loss)


def test_of_what_small_rules_grew_to_the_ones_that_took_steps_are_shown():
    hall = [
        SimpleNamespace(support=("a", "b"), loss=1.5),
        SimpleNamespace(support=("a", "b", "d"), loss=0.75),
        SimpleNamespace(support=("a", "b", "c"), loss=None),
    ]
    growing = [
        grown(("a",), "b", None),
        grown(("a", "b"), "c", 1.0),
        grown(("a", "b"), "d", 0.75),
    ]
    result = SimpleNamespace(unit="nats", growing=growing, hall=hall)
    rows = [line.split() for line in printed(growing_table(result)).splitlines()]
    assert ["3", "a,", "b", "c", "0.250", "1.00", "0.750"] in rows
    assert ["3", "a,", "b", "d", "0.250", "0.750", "0.750"] in rows
    assert not any(row[:2] == ["2", "a"] for row in rows)
    assert grew(result)
    assert not grew(SimpleNamespace(unit="nats", growing=growing[:1], hall=hall))
