"""A result in words: equation, tables, LaTeX, and the line that shows progress.

Everything here takes plain data and gives text; nothing runs a lifetime. The figures are in
`rulesearch.figures`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from rulesearch.result import (
    EvaluationRecord,
    Number,
    PoolEntry,
    Result,
    equation,
    interval_text,
    layers_text,
    signed_terms,
    significant,
)

if TYPE_CHECKING:  # so that a pool can be shown without torch
    from rulesearch.meta import StepRecord

EQUATION_WIDTH = 80
Kind: TypeAlias = Literal["text", "number", "interval"]


# Tables ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expression:
    """An expression that rich breaks where a reader would.

    That is after an operator, a comma, or an opening parenthesis; without the line breaks the
    expression is whole again.
    """

    text: str

    @property
    def pieces(self) -> list[str]:
        """What stays in one piece, in order; joined they are the text."""
        return re.split(r"(?<=[*(,\s])(?![*)\s])", self.text)

    def lines(self, width: int) -> list[str]:
        """The text in lines of at most `width` characters, as long as no piece is longer.

        Example:
            >>> Expression("-e_post*sum_post(y_post)*y_pre").lines(20)
            ['-e_post*sum_post(', 'y_post)*y_pre']
        """
        lines = [""]
        for piece in self.pieces:
            if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
        return lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("\n".join(self.lines(options.max_width)), overflow="fold")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(max(map(len, self.pieces)), len(self.text))


def _table(title: str, columns: Mapping[str, Kind], caption: str = "") -> Table:
    """A table of the house, without rows.

    Args:
        title: above it.
        columns: heading -> `text`, which wraps, or `number` or `interval`, which stay whole.
        caption: below it.
    """
    table = Table(
        title=title,
        caption=caption or None,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="",
    )
    for heading, kind in columns.items():
        table.add_column(
            heading,
            justify="right" if kind == "number" else "left",
            no_wrap=kind != "text",
            overflow="fold",
        )
    return table


def _row(table: Table, *cells: str | Expression, style: str = "") -> None:
    """Cells as they are: what looks like markup in an expression or an interval is none."""
    shown = (Text(cell, overflow="fold") if isinstance(cell, str) else cell for cell in cells)
    table.add_row(*shown, style=style)


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
    table = _table(
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
        _row(table, name, Expression(expression), *acts, needs or "-", Expression(lowering))
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
    table = _table(
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
        _row(
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
    table = _table(
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
        _row(
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
    table = _table(
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
        "a diverged lifetime counts as chance.",
    )
    for name, entry in result.evaluation.items():
        _row(
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


# LaTeX -------------------------------------------------------------------------------------------


def latex(result: Result) -> str:
    r"""The rule as an `align*` of amsmath, a term a line, three significant figures.

    Without terms it is `\Delta W ={}& 0`. Where a term acts in some layers only, the rule is that
    of W_{l-1,l}, and the term has an Iverson bracket: `[l \in \{2, 3\}]` is 1 in these layers and
    0 in the others.
    """
    terms = signed_terms(result)
    matrix = r"W_{l-1,l}" if any(entry.layers for *_, entry in terms) else "W"
    lines = []
    for index, (sign, size, entry) in enumerate(terms):
        mantissa, _, exponent = size.partition("e")
        number = rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa
        shown_sign = f"{sign} " if index or sign == "-" else ""
        lines.append(rf"{shown_sign}{number}{_bracket(entry)} \left({entry.latex}\right)")
    body = " \\\\\n  & ".join(lines or ["0"])
    return f"\\begin{{align*}}\n  \\Delta {matrix} ={{}}& {body}\n\\end{{align*}}\n"


def _bracket(entry: PoolEntry) -> str:
    match entry.layers:
        case ():
            return ""
        case (layer,):
            return rf"\, [l = {layer}]"
        case layers:
            return rf"\, [l \in \{{{layers_text(layers)}\}}]"


# Progress ----------------------------------------------------------------------------------------


def history_row(record: StepRecord) -> dict[str, Any]:
    """A meta-step as a row of `history.jsonl`, as the figures read it.

    `angles` are the degrees per layer between the feedback's errors and backprop's, from the
    observable `angle`; without it there are none.
    """
    return {
        "stage": record.label,
        "step": record.step,
        "of": record.steps,
        "loss": record.loss,
        "accuracy": record.accuracy,
        "theta": dict(record.theta),
        "diverged": record.diverged,
        "left_out": record.left_out,
        "angles": list(record.observed.get("angle", ())),
    }


def progress_line(record: StepRecord, names: Sequence[str]) -> str:
    """A meta-step in one line: stage, step, loss, accuracy, the coefficients that are not zero.

    Args:
        record: the meta-step.
        names: terms, in the order in which they are to be shown.
    """
    parts = [
        f"{record.label}  {record.step}/{record.steps}",
        f"loss {significant(record.loss)}",
        f"accuracy {significant(record.accuracy)}",
    ]
    parts += [
        f"{count} {what}"
        for count, what in ((record.diverged, "diverged"), (record.left_out, "left out"))
        if count
    ]
    values = ((name, record.theta.get(name, 0.0)) for name in names)
    parts.append(", ".join(f"{name} {significant(value)}" for name, value in values if value))
    return "  ".join(part for part in parts if part)


@contextmanager
def progress(
    console: Console, quiet: bool = False, every: int = 50
) -> Iterator[Callable[[StepRecord | str], None]]:
    """Show meta-steps as they are made; gives the function that takes each record.

    On a terminal one line stays up to date, and each finished stage leaves its last line. Where
    the output is a file or a pipe, every `every`-th meta-step and each stage's last is a line.
    A text in place of a record says what is under way, and is shown on a terminal alone.

    Args:
        console: where to.
        quiet: show nothing.
        every: meta-steps between two lines of a file.
    """
    if quiet:
        yield lambda record: None
    elif not console.is_terminal:

        def update(record: StepRecord | str) -> None:
            if not isinstance(record, str) and record.step in (
                record.steps,
                *range(0, record.steps, every),
            ):
                line = Text(progress_line(record, tuple(record.theta)))
                console.print(line, soft_wrap=True)

        yield update
    else:
        with Live(console=console, refresh_per_second=4, transient=True) as live:

            def update_live(record: StepRecord | str) -> None:
                if isinstance(record, str):
                    live.update(Text(f"{record} ..."))
                    return
                line = Text(progress_line(record, tuple(record.theta)))
                if record.step == record.steps:
                    live.console.print(line)
                live.update(line)

            yield update_live


def trial_means(history: Iterable[Mapping[str, Any]]) -> str:
    """Accuracy and loss of the trials, averaged over the last third of their meta-steps.

    The paper's figures show these curves; how noisy one meta-step is depends on the meta-batch.
    "" where there is no trial.
    """
    rows = [
        row
        for row in history
        if str(row["stage"]).startswith("trial ") and row["step"] > row["of"] - row["of"] // 3
    ]
    finite = [row for row in rows if row["loss"] is not None]
    if not finite:
        return ""
    accuracy, loss = (
        significant(sum(row[name] for row in finite) / len(finite)) for name in ("accuracy", "loss")
    )
    steps = f"{min(r['step'] for r in rows)} to {max(r['step'] for r in rows)}"
    trials = len({row["stage"] for row in rows})
    return (
        f"trials: accuracy {accuracy}, loss {loss}, mean over meta-steps {steps} of {trials} "
        f"trial{'s' if trials > 1 else ''}, {sum(r['diverged'] for r in rows)} lifetimes diverged"
    )
