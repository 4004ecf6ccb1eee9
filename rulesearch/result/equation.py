"""A rule as text: its terms with signs, and the equation of each parameter that it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rulesearch.records.plain import Number
from rulesearch.result.records import PoolEntry
from rulesearch.words import significant

#: In the order in which a rule says what it changes; as the pool's own, which needs SymPy.
PARAMETERS = ("W", "B", "b")


def signed_terms(
    pool: Iterable[PoolEntry], theta: Mapping[str, Number]
) -> list[tuple[str, str, PoolEntry]]:
    """A rule, term by term: sign ("+" or "-"), size in significant figures, pool entry."""
    terms = []
    for entry in pool:
        value = theta.get(entry.name, 0.0)
        if value != 0:
            text = significant(value)
            terms.append(("-" if text[0] == "-" else "+", text.removeprefix("-"), entry))
    return terms


def equation(pool: Iterable[PoolEntry], theta: Mapping[str, Number], break_with: str = " ") -> str:
    """A rule as one line of the notation; `break_with` stands before each further term.

    For F0 and F2 this reads `dW = 0.0112*(-e_post*y_pre) - 0.0510*(-e_post*e_pre)`; a term that
    acts in some layers only has them behind it, as in `[layers 2, 3]`. Each parameter has an
    equation of its own.

    Args:
        pool: the terms.
        theta: coefficients by name.
        break_with: as said.
    """
    terms = signed_terms(pool, theta)
    changed = [p for p in PARAMETERS if any(p in entry.updates for *_, entry in terms)]
    lines = []
    for parameter in changed or ["W"]:
        parts = [
            (sign, f"{size}*({entry.updates[parameter]}){_layers_behind(entry)}")
            for sign, size, entry in terms
            if parameter in entry.updates
        ]
        line = f"d{parameter} = " + ("0" if not parts else "-" * (parts[0][0] == "-"))
        lines.append(line + f"{break_with}".join(_signed(parts)))
    return ("; " if break_with == " " else "\n").join(lines)


def _signed(parts: Sequence[tuple[str, str]]) -> list[str]:
    """The parts of a sum, all but the first with their sign in front."""
    return [text if i == 0 else f"{sign} {text}" for i, (sign, text) in enumerate(parts)]


def layers_text(layers: Sequence[int]) -> str:
    """Layers as text: `2, 3`, or `all` where none is named.

    Example:
        >>> layers_text((2, 3)), layers_text(())
        ('2, 3', 'all')
    """
    return ", ".join(map(str, layers)) or "all"


def _layers_behind(entry: PoolEntry) -> str:
    if not entry.layers:
        return ""
    return f" [layer{'s' if len(entry.layers) > 1 else ''} {layers_text(entry.layers)}]"
