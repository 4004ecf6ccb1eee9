"""Plain tables: they print, a notebook shows them, and they become pandas' or a CSV file."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rulesearch.errors import RuleSearchError
from rulesearch.records.documents import replace_file
from rulesearch.records.plain import Number

if TYPE_CHECKING:
    from rich.console import RenderableType

Value: TypeAlias = str | int | float | bool | None
Line: TypeAlias = Mapping[str, Value]

WIDTH = 100  # of a table as text, where no terminal says another
WIDE = 180  # in a file, which no terminal wraps


@dataclass(frozen=True)
class Tabular:
    """What has lines of plain values, all with the same columns, and a way to print itself."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """Column -> value, of each line; numbers as they are, None where there is none."""
        raise NotImplementedError

    def renderables(self) -> Iterator[RenderableType]:
        """What is printed, by rich."""
        raise NotImplementedError

    def __rich_console__(self, console: object, options: object) -> Iterator[RenderableType]:
        yield from self.renderables()

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int = WIDTH) -> str:
        """As it prints on a terminal of so many characters."""
        from rich.console import Console

        text = io.StringIO()
        console = Console(file=text, width=width, color_system=None)
        for each in self.renderables():
            console.print(each)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).rstrip()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        columns = [*self.lines[0]] if self.lines else []
        heading = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        rows = (
            "".join(f"<td>{html.escape(shown(line[name]))}</td>" for name in columns)
            for line in self.lines
        )
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table>"

    def to_csv(self, path: str | Path | None = None) -> str:
        """The lines as CSV; numbers read back as they were, and None is nothing.

        Args:
            path: of a file to write as well; it is replaced whole.

        Raises:
            RuleSearchError: it cannot be written.
        """
        text = csv_of(self.lines)
        if path is not None:
            replace_file(Path(path), text, "give another file")
        return text

    def write(self, folder: Path, name: str) -> None:
        """Write the lines as text and as CSV.

        Raises:
            RuleSearchError: a file cannot be written.
        """
        self.to_csv(folder / f"{name}.csv")
        replace_file(folder / f"{name}.txt", f"{self.text(WIDE)}\n", "give --out another folder")

    def to_pandas(self) -> Any:
        """The lines as a pandas `DataFrame`.

        Raises:
            RuleSearchError: pandas is not there.
        """
        try:
            import pandas  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise RuleSearchError(
                "to_pandas: pandas is not installed; pip install pandas, or take .to_csv()"
            ) from None
        return pandas.DataFrame([dict(line) for line in self.lines])


def csv_of(lines: Sequence[Line]) -> str:
    r"""Lines as CSV, with a heading.

    Example:
        >>> csv_of([{"rule": "paper", "loss": 0.25}, {"rule": "a,b", "loss": None}])
        'rule,loss\npaper,0.25\n"a,b",\n'
    """
    text = io.StringIO()
    if lines:
        writer = csv.DictWriter(text, [*lines[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue()


def shown(value: Value) -> str:
    """A value for people: numbers in significant figures.

    Example:
        >>> shown(0.123456), shown(12), shown(None), shown("F0")
        ('0.123', '12', '', 'F0')
    """
    from rulesearch.words import significant

    if isinstance(value, float):
        number: Number = value
        return significant(number)
    return "" if value is None else str(value)
