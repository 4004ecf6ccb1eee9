"""A result in words: the equation, and the tables of its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rulesearch.plain import Number
from rulesearch.report.tables import Expression, Kind, add_row, empty_table
from rulesearch.result import (
    EvaluationRecord,
    Result,
    equation,
    interval_text,
    layers_text,
    significant,
)

EQUATION_WIDTH = 80


def _layers_column(wanted: bool) -> dict[str, Kind]:
    return {"layers": "text"} if wanted else {}


def pool_table(
    rows: Iterable[tuple[str, str, str, str]], layers: Mapping[str, Sequence[int]] | None = None
) -> Table:
    """The pool before a search.

    Args:
        rows: name, expression, needs, and how it is lowered, all as text.
        layers: those in which a term acts, by name; one that is not there acts in all. Without
            any there is no such column.
    """
    table = empty_table(
        "Pool",
        {
            "term": "text",
            "expression": "text",
            **_layers_column(bool(layers)),
            "needs": "text",
            "lowers to": "text",
        },
    )
    for name, expression, needs, lowering in rows:
        acts = [layers_text(layers.get(name, ()))] if layers else []
        add_row(table, name, Expression(expression), *acts, needs or "-", Expression(lowering))
    return table


def print_pool(
    console: Console,
    rows: Iterable[tuple[str, str, str, str]],
    layers: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Print `pool_table` of these."""
    console.print(pool_table(rows, layers))


def _percent(share: Number) -> str:
    """Two significant figures, and whole per cents from ten on."""
    if share is None:
        return significant(None)
    return f"{100 * share:.0f} %" if abs(share) >= 0.1 else f"{significant(100 * share, 2)} %"


def _coefficients(result: Result) -> Table:
    limited = any(entry.layers for entry in result.pool)
    table = empty_table(
        "Coefficients",
        {
            "term": "text",
            "expression": "text",
            **_layers_column(limited),
            "needs": "text",
            "theta": "number",
            "95 % interval": "interval",
            "trials": "number",
        },
        "Intervals are over refits, conditional on the support. "
        "Trials: how many of the L1 search kept the term.",
    )
    dropped = {step.dropped for step in result.elimination if step.kept}
    for entry in result.pool:
        inside = entry.name in result.support
        interval = result.theta_interval.get(entry.name)
        if inside:
            fate = interval_text(interval) if interval else "none"
        else:
            fate = "dropped" if entry.name in dropped else "zero in search"
        kept = sum(entry.name in trial.support for trial in result.trials)
        add_row(
            table,
            entry.name,
            Expression(entry.expression),
            *([layers_text(entry.layers)] if limited else []),
            ", ".join(entry.needs) or "-",
            significant(result.theta.get(entry.name, 0.0)),
            fate,
            f"{kept} of {len(result.trials)}",
            style="" if inside else "dim",
        )
    return table


def _elimination(result: Result) -> Table:
    table = empty_table(
        "Elimination",
        {
            "": "text",
            "without": "text",
            "left": "text",
            "loss": "number",
            "cost": "number",
            "95 % interval": "text",
            "of gain": "number",
        },
        "Cost: the loss of what is left minus that of the full support, both refitted; "
        "* clearly cheap, so dropped without a refit. > marks the rule chosen.",
    )
    kept = [step for step in result.elimination if step.kept]
    for step in result.elimination:
        add_row(
            table,
            f"{'>' if kept and step is kept[-1] else ' '} {'dropped' if step.kept else 'tried'}",
            step.dropped,
            ", ".join(step.support),
            significant(step.loss),
            significant(step.cost) + ("" if step.refitted else " *"),
            interval_text(step.cost_interval),
            _percent(step.share_of_gain),
            style="" if step.kept else "dim",
        )
    return table


def _evaluation(result: Result) -> Table:
    table = empty_table(
        "Evaluation",
        {
            "": "text",
            "accuracy": "number",
            "95 % interval": "interval",
            "loss": "number",
            "lifetimes": "number",
            "diverged": "number",
            "rate": "number",
        },
        "Intervals are over tasks, conditional on these images; "
        "a lifetime that diverged, which is to end worse than untrained, counts as the worse of "
        "chance and untrained.",
    )
    for name, entry in result.evaluation.items():
        add_row(
            table,
            name.replace("_", " "),
            significant(entry.accuracy),
            interval_text(entry.accuracy_interval),
            significant(entry.loss),
            str(entry.lifetimes),
            str(entry.diverged),
            "" if entry.rate is None else significant(entry.rate),
        )
    return table


def gap_closed(evaluation: Mapping[str, EvaluationRecord]) -> Number:
    """The share of the gap from feedback alignment to backprop, in accuracy, that a rule closes.

    None where a record is missing, a number is not finite, or backprop is not the better one.
    """
    names = ("rule", "backprop", "feedback_alignment")
    if not all(name in evaluation for name in names):
        return None
    rule, best, worst = (evaluation[name].accuracy for name in names)
    if rule is None or best is None or worst is None or best <= worst:
        return None
    return (rule - worst) / (best - worst)


def _broken_equation(result: Result) -> str:
    """The equation on one line where it fits, else a term a line."""
    line = equation(result)
    if len(line) <= EQUATION_WIDTH:
        return line
    terms = equation(result, break_with="\n   ").split("\n")
    return "\n".join("\n       ".join(Expression(term).lines(EQUATION_WIDTH - 7)) for term in terms)


def result_text(result: Result, run_directory: Path) -> RenderableType:
    """The rule, its coefficients, the elimination path, the evaluation, and where all is kept.

    Fits 80 columns; what is too wide is wrapped, never cropped.
    """
    parts: list[RenderableType] = [Text(_broken_equation(result), style="bold")]
    if result.message:
        parts.append(Text(result.message))
    parts += [Text(), _coefficients(result)]
    if result.elimination:
        parts += [Text(), _elimination(result)]
    if result.evaluation:
        parts += [Text(), _evaluation(result)]
    closed = gap_closed(result.evaluation)
    if closed is not None:
        share = f"{_percent(closed)} of the gap from feedback alignment to backprop"
        parts.append(Text(f"The rule closes {share}."))
    parts.append(Text())
    parts += [Text(f"images for {use}: {which}") for use, which in result.images.items()]
    parts.append(Text(f"kept in {run_directory}", overflow="fold"))
    return Group(*parts)
