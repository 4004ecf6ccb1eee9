"""Tables for a terminal of 80 columns: what is too wide is wrapped, never cropped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Kind: TypeAlias = Literal["text", "number", "interval"]


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


def empty_table(title: str, columns: Mapping[str, Kind], caption: str = "") -> Table:
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


def add_row(table: Table, *cells: str | Expression, style: str = "") -> None:
    """Cells as they are: what looks like markup in an expression or an interval is none."""
    shown = (Text(cell, overflow="fold") if isinstance(cell, str) else cell for cell in cells)
    table.add_row(*shown, style=style)
