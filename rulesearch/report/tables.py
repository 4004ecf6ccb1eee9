"""Tables for a terminal of any width: what is too wide is wrapped, never cropped."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

Kind: TypeAlias = Literal["text", "name", "number", "interval"]


@dataclass(frozen=True)
class Expression:
    """An expression that rich breaks where a reader would.

    That is after an operator, a comma, or an opening parenthesis; without the line breaks the
    expression is whole again.
    """

    text: str

    def __str__(self) -> str:
        return self.text

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
        return Measurement(max(len(piece.rstrip()) for piece in self.pieces), len(self.text))


Cell: TypeAlias = str | Expression

#: The style of a row beside what counts.
DIM = "dim"

#: What may be wrapped, in the order in which a table that is too wide does so.
WRAPPED: tuple[frozenset[Kind], ...] = (frozenset({"text"}), frozenset({"text", "interval"}))


@dataclass
class Sheet:
    """A table of the house: rich's where it fits, and below that a block of lines for each row.

    No word is broken, and no row loses its name, as long as the longest word fits.

    Attributes:
        title: above it.
        columns: heading -> kind: `text` wraps, `name` and `number` stay whole, and `interval` does
            where there is room.
        caption: below it.
        rows: the cells of each, and its style.
    """

    title: str
    columns: Mapping[str, Kind]
    caption: str = ""
    rows: list[tuple[tuple[Cell, ...], str]] = field(default_factory=list)

    def add(self, *cells: Cell, style: str = "") -> None:
        """Add a row."""
        self.rows.append((cells, style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for wrapped in WRAPPED:
            if widths := self._widths(wrapped, options.max_width):
                yield Trimmed(self._table(widths))
                return
        yield from self._blocks(options.max_width)

    def _widths(self, wrapped: Collection[Kind], most: int) -> list[int]:
        """The widths of the columns in a table of at most so many characters; empty if none fit."""
        columns = zip(self.columns.items(), *(cells for cells, _ in self.rows), strict=True)
        least, widths = [], []
        for (heading, kind), *cells in columns:
            widths.append(max(map(_length, (heading, *cells))))
            least.append(max(map(_longest, (heading, *cells))) if kind in wrapped else widths[-1])
        # Between two columns, and behind the last, rich leaves a space on either side.
        room = most - (2 * len(widths) - 1)
        if sum(least) > room:
            return []
        while sum(widths) > room:
            widest = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
            widths[widest] -= 1
        return widths

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(
            # As they are, like the cells: what looks like markup in a name is none.
            title=Text(self.title, "bold"),
            caption=Text(self.caption) if self.caption else None,
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=(0, 1, 0, 0),
            title_justify="left",
            caption_justify="left",
            caption_style="",
        )
        for (heading, kind), width in zip(self.columns.items(), widths, strict=True):
            justify: Literal["right", "left"] = "right" if kind == "number" else "left"
            table.add_column(
                Text(heading, overflow="fold"), justify=justify, width=width, overflow="fold"
            )
        for cells, style in self.rows:
            table.add_row(*map(_shown, cells), style=style)
        return table

    def _blocks(self, width: int) -> RenderResult:
        yield Text(self.title, style="bold")
        for (name, *cells), style in self.rows:
            lines = ["", str(name).strip()]
            for heading, cell in zip([*self.columns][1:], cells, strict=True):
                lines += _behind(heading, cell, width) if str(cell) else []
            yield Text("\n".join(lines), style)
        if self.caption:
            yield Trimmed(Text(f"\n{self.caption}"))


def _behind(heading: str, cell: Cell, width: int) -> list[str]:
    """A cell of a block behind its heading, in lines."""
    if isinstance(cell, Expression):
        return [f"  {heading}:", *(f"    {line.rstrip()}" for line in cell.lines(width - 4))]
    return textwrap.wrap(
        f"{heading}: {cell}",
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _length(cell: Cell) -> int:
    return len(str(cell))


def _longest(cell: Cell) -> int:
    """The length of the longest word."""
    words = cell.pieces if isinstance(cell, Expression) else cell.split()
    return max((len(word.rstrip()) for word in words), default=0)


def _shown(cell: Cell) -> RenderableType:
    # As it is: what looks like markup in an expression or an interval is none.
    return Text(cell, overflow="fold") if isinstance(cell, str) else cell


@dataclass(frozen=True)
class Trimmed:
    """What it holds, without spaces at the ends of lines."""

    inside: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self.inside, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                last = line.pop()
                line.append(Segment(last.text.rstrip(), last.style))
            yield from line
            yield Segment.line()
