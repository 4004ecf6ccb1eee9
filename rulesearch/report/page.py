"""A finished run as one page: `report.html`, which needs nothing beside itself.

What it shows are the tables of `rulesearch.report.text` and the figures of the run; the template
lays them out and escapes every text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.figure import Figure

from rulesearch.data.files import names_in
from rulesearch.report.described import described
from rulesearch.report.hall import choice_text, hall_table
from rulesearch.report.joining import grew, growing_table, joining_table
from rulesearch.report.latex import latex, layers_latex, number_latex
from rulesearch.report.mathml import mathml
from rulesearch.report.svg import svg_text
from rulesearch.report.tables import DIM, Sheet
from rulesearch.report.text import (
    SMALLEST,
    coefficient_table,
    elimination_table,
    evaluation_tables,
    gap_closed,
    paired_tables,
)
from rulesearch.result import NO_RULE, PARAMETERS, Result, equation, signed_terms
from rulesearch.words import in_words, interval_text, percent, significant

#: A figure that takes more characters is left to its PDF: a page is to be sent by mail.
LARGEST_FIGURE = 300_000

#: What each figure shows, for those who do not see it: its heading, and a sentence.
FIGURES: Mapping[str, tuple[str, str]] = {
    "accuracy": (
        "Accuracy and loss while searching",
        "Query accuracy and query loss of the trials over meta-steps; horizontal lines are the "
        "final evaluation's values.",
    ),
    "hall_of_fame": (
        "Loss by number of terms",
        "Query loss of the best rule of each number of terms, on the search's images and, with "
        "intervals, on images set aside, beside the baselines.",
    ),
    "coefficients": (
        "Coefficient paths",
        "The coefficient of each term of the rule over meta-steps, with its final value and "
        "95 % interval.",
    ),
    "alignment": (
        "Angles between feedback and backprop",
        "The angle in degrees between the errors that the feedback brings and those of backprop, "
        "in each layer, over meta-steps; 90 degrees is no alignment.",
    ),
}


@dataclass(frozen=True)
class Again:
    """How a search is run again.

    Attributes:
        command: the command line.
        files: those that it names, name -> text.
        note: what the command line does not say; or "".
    """

    command: str
    files: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True)
class _Part:
    """A term in an equation: its sign, and what follows."""

    sign: str
    formula: Markup


@dataclass(frozen=True)
class _Bar:
    """An accuracy as a picture, in per cent of the width."""

    name: str
    text: str
    value: float
    low: float
    high: float


def page(result: Result, figures: Mapping[str, Figure], again: Again | None = None) -> str:
    """The text of `report.html`; the same run gives the same text.

    Where the data lay on the machine of the search is not in it.

    Args:
        result: of the run.
        figures: by name, see `rulesearch.figures.drawn`.
        again: how it is run again, where that is known.
    """
    result = without_paths(result)
    pictures, too_large = _pictures(figures)
    told, (coefficients, left) = described(result), _parted(coefficient_table(result))
    return _template().render(
        result=result,
        title=_title(result),
        lead=_lead(result),
        NO_RULE=NO_RULE,
        equations=_equations(result),
        text=equation(result.pool, result.theta, break_with="\n   "),
        latex=latex(result),
        notices=_notices(result),
        facts=_facts(result),
        bars=_bars(result),
        ways=result.config.get("ways"),
        coefficients=coefficients,
        left=left,
        described=told,
        evaluations=evaluation_tables(result) if result.evaluation else [],
        paired=paired_tables(result) if result.learns else [],
        closed=_closed(result),
        hall=hall_table(result) if result.hall else None,
        choice=choice_text(result),
        joining=joining_table(result) if result.joining else None,
        growing=growing_table(result) if grew(result) else None,
        elimination=elimination_table(result) if result.elimination else None,
        figures=pictures,
        too_large=too_large,
        options=_options(result.config),
        again=again,
    )


def _parted(table: Sheet) -> tuple[Sheet, Sheet | None]:
    """The terms of the rule, and those that it left, which a page of many need not begin with."""
    inside = [row for row in table.rows if row[1] != DIM]
    outside = [row for row in table.rows if row[1] == DIM]
    if not (inside and outside):
        return table, None
    before, smallest, after = table.caption.partition(SMALLEST)
    return (
        replace(table, caption=before.strip(), rows=inside),
        replace(table, title="Not in the rule", caption=f"{smallest}{after}", rows=outside),
    )


def without_paths(result: Result) -> Result:
    """The same, with files by their names alone and the folder of the data as DATA."""
    config = dict(result.config)
    if config.get("data_root"):
        config["data_root"] = "DATA"
    if config.get("begin"):
        # Where the rule that it began at comes from has paths too, and nothing hangs on it.
        config["begin"] = without_source(config["begin"])
    if "dataset" in config:
        config["dataset"] = ",".join(PurePath(n).name for n in names_in(str(config["dataset"])))
    return replace(result, config=config)


def without_source(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as plain data without where it comes from, which no number hangs on.

    What it was sought on is said, for that tells which images it has seen; of files the names.
    """
    said = {name: value for name, value in rule.items() if name != "source"}
    if said.get("sought"):
        said["sought"] = _by_names(said["sought"])
    return said


def _by_names(sought: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule was sought on, with files by their names alone; and what that one began at."""
    said = dict(sought)
    said["dataset"] = ",".join(PurePath(n).name for n in names_in(str(said["dataset"])))
    if said.get("begun"):
        said["begun"] = _by_names(said["begun"])
    return said


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["text"] = significant
    source = files("rulesearch.report").joinpath("page.html.jinja")
    return environment.from_string(source.read_text(encoding="utf-8"))


def _title(result: Result) -> str:
    data = ", ".join(PurePath(n).stem for n in names_in(str(result.config.get("dataset", ""))))
    on = f", found on {data}" if data else ""
    if not result.learns or not result.support:
        return f"No rule{on.replace('found', 'searched')}"
    return f"A rule of {len(result.support)} term{'s' * (len(result.support) > 1)}{on}"


def _lead(result: Result) -> str:
    """How good it is and what it asks, in a sentence."""
    entry = result.evaluation.get("rule")
    if entry is None or not result.support:
        return ""
    needs = [n for each in result.pool if each.name in result.support for n in each.needs]
    return (
        f"Accuracy {significant(entry.accuracy)} {interval_text(entry.accuracy_interval)} on "
        f"images set aside, {entry.diverged} of {entry.lifetimes} lifetimes diverged; "
        f"{len(result.support)} of {len(result.pool):,} terms; "
        f"needs {', '.join(dict.fromkeys(needs)) or 'nothing beyond a synapse and its two cells'}."
    )


def _equations(result: Result) -> list[tuple[Markup, list[_Part]]]:
    """For each parameter that the rule changes, its left side and its terms."""
    terms = signed_terms(result.pool, result.theta)
    limited = any(entry.layers for *_, entry in terms)
    lines = []
    for parameter in PARAMETERS:
        parts = []
        for sign, size, entry in terms:
            if parameter not in entry.updates:
                continue
            form = entry.changes_latex.get(parameter, entry.latex)
            number = number_latex(size) + layers_latex(entry.layers)
            formula = mathml(rf"{number} \left({form}\right)")
            plain = f"{size}*({entry.updates[parameter]})"
            parts.append(
                _Part("−" if sign == "-" else "+", Markup(formula) or Markup.escape(plain))
            )
        if parts or (parameter == "W" and not terms):
            matrix = f"{parameter}_{{l-1,l}}" if limited else parameter
            lines.append((Markup(mathml(rf"\Delta {matrix}")), parts))
    return lines


def _notices(result: Result) -> list[str]:
    """Everything that a reader must know first."""
    notices = [] if result.learns else [NO_RULE]
    notices += [result.message] if result.message else []
    notices += [f"trial {t.seed} was given up: {t.failed}" for t in result.trials if t.failed]
    lost = sum(entry.diverged for entry in result.evaluation.values())
    if lost:
        said = ", ".join(
            f"{entry.diverged} of {entry.lifetimes} of {in_words(name)}"
            for name, entry in result.evaluation.items()
            if entry.diverged
        )
        notices.append(f"lifetimes of the final evaluation that diverged: {said}")
    for made in result.earlier:
        other = [f"{n} {v}" for n, v in made.items() if result.versions.get(n) != v]
        notices.append(f"a part of the run was made with {', '.join(other)}")
    return notices


def _facts(result: Result) -> list[tuple[str, str]]:
    """The world of the search and how it was searched, in a word or two each."""
    c = result.config
    if not c:
        return []
    networks = ["-".join(map(str, world.sizes)) for world in result.worlds.values()]
    several = [sizes for sizes in c["layers"] if isinstance(sizes, list | tuple)]
    hidden = ", ".join("-".join(map(str, sizes)) for sizes in several or [c["layers"]])
    found = {
        "data": c["dataset"],
        "layers" if networks else "hidden layers": ", ".join(dict.fromkeys(networks)) or hidden,
        "neurons": f"{c['activation']}{', with biases' if c['bias'] else ''}",
        "loss": c["loss"],
        "pathway": f"{c['pathway']}, feedback {c['feedback_init']}",
        "a task": f"{c['ways']} classes, {c['shots']} examples and {c['queries']} queries of each",
        "protocol": f"{c['protocol']}, {c['trials']} trial{'s' * (c['trials'] != 1)} of up to "
        f"{c['meta_steps']} meta-steps{' in each of its units' if result.hall else ''} of "
        f"{c['meta_batch']} lifetimes",
        "locality allowed": f"{c['locality']}, {c['neurons']} neurons",
        "seed": str(c["seed"]),
    }
    if c["noise"]:
        found["noise in potentials"] = f"{c['noise']:g}"
    if c["held_out_classes"]:
        found["classes kept from the search"] = str(c["held_out_classes"])
    if result.lifetimes:
        found["lifetimes run"] = ", ".join(
            f"{result.lifetimes[which]:,} {said}"
            for which, said in (("gradient", "with derivatives"), ("forward", "without"))
        )
    return list(found.items())


def _bars(result: Result) -> list[_Bar]:
    bars = []
    for name, entry in result.evaluation.items():
        low, high = entry.accuracy_interval
        if entry.accuracy is not None and low is not None and high is not None:
            text = f"{significant(entry.accuracy)} {interval_text((low, high))}"
            ends = (100 * min(1.0, max(0.0, end)) for end in (entry.accuracy, low, high))
            bars.append(_Bar(in_words(name), text, *(round(end, 2) for end in ends)))
    return bars


def _closed(result: Result) -> str:
    share = gap_closed(result.evaluation)
    return "" if share is None or not result.learns else percent(share)


def _pictures(figures: Mapping[str, Figure]) -> tuple[dict[str, Any], list[str]]:
    """The figures as SVG by name, and the names of those that are too large."""
    pictures, too_large = {}, []
    for name, figure in figures.items():
        heading, said = FIGURES.get(name, (in_words(name), in_words(name)))
        drawing = svg_text(name, figure, said)
        if len(drawing) > LARGEST_FIGURE:
            too_large.append(name)
        else:
            pictures[name] = {"heading": heading, "said": said, "svg": Markup(drawing)}
    return pictures, too_large


def _options(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every option with its value, those of the effort too."""
    rows = []
    for name, value in config.items():
        if name == "begin" and value:
            rows.append((name, str(value.get("name", "rule"))))
        elif isinstance(value, Mapping):
            rows += [(f"{name}.{inner}", str(each)) for inner, each in value.items()]
        else:
            rows.append((name, "-" if value in (None, []) else str(value)))
    return rows
