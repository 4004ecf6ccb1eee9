"""What a rule reads and calls of the grammar's own, as lines below its equation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_NAME = re.compile(r"[^\W\d]\w*")


def definition_lines(definitions: Mapping[str, Any], texts: Iterable[str]) -> list[str]:
    """Definitions of one's own that expressions need, a line each; and what values are kept in.

    Each stands before those that it reads or calls.

    Args:
        definitions: the tables `operators`, `quantities`, `traces`, `bounds` of `pool_to_plain`.
        texts: the expressions.

    Example:
        >>> tables = {"traces": {"theta_post": {"of": "y_post**2", "decay": 0.95, "initial": 0.0}}}
        >>> definition_lines(tables, ["y_post*theta_pre"])
        ['theta_post: mean of y_post**2 that fades by 0.95 a step, from 0']
    """
    known = {
        _neuron(name): (name, table)
        for table in ("operators", "quantities", "traces")
        # Of two views of a neuron the post-neuron's is told, which comes last here.
        for name in sorted(definitions.get(table, {}), key=lambda name: not name.endswith("_pre"))
    }
    waiting, lines = list(texts), []
    while waiting:
        for read in _NAME.findall(waiting.pop(0)):
            name, table = known.pop(_neuron(read), ("", ""))
            if name:
                line, text = _line(name, table, definitions[table][name])
                lines.append(line)
                waiting.append(text)
    bounds = definitions.get("bounds", {})
    return [*lines, *(f"{p}: kept in [{low:g}, {high:g}]" for p, (low, high) in bounds.items())]


def _neuron(name: str) -> str:
    """What a quantity is called from either side."""
    return re.sub("_(pre|post)$", "_", name)


def _line(name: str, table: str, row: Any) -> tuple[str, str]:
    """A definition as a line, and the text that it consists of."""
    if table == "operators":
        return f"{name}({', '.join(row['arguments'])}) = {row['definition']}", row["definition"]
    if table == "quantities":
        return f"{name} = {row}", row
    initial = row["initial"]
    first = "the first of these" if initial == "first" else f"{initial:g}"
    text: str = row["of"]
    return f"{name}: mean of {text} that fades by {row['decay']} a step, from {first}", text
