"""What is said of words that a term may not use, and how what was written is echoed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rulesearch.errors import closest
from rulesearch.operators import COMMON, OPERATORS, QUANTITIES

#: An echo in a message is cut here, so that the message stays one line that can be read.
MOST_ECHOED = 160
#: And a list of names here.
MOST_LISTED = 12


def echo(text: str) -> str:
    """What a person wrote, cut where it is long.

    Example:
        >>> echo("-e_post*y_pre")
        '-e_post*y_pre'
    """
    # Half a character, a lone surrogate, has no bytes that a terminal or a file could take.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MOST_ECHOED else text[: MOST_ECHOED - 3] + "..."


def named(names: Sequence[str], most: int = MOST_LISTED) -> str:
    """Names in a row, at most so many of them.

    Example:
        >>> named("ABCDEFG", 5)
        'A, B, C, D, E and 2 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def unknown_symbol(
    name: str,
    written: str = "",
    arguments: Collection[str] = (),
    own: Collection[str] = (),
) -> str:
    """What is said of a symbol that is not a local quantity, or not an argument of a definition."""
    place = f" in {echo(written)}" if written else ""
    if name in OPERATORS:
        return f"operator {name} without arguments{place}; write {name}(...)"
    choices = arguments or (*QUANTITIES, *own)
    listed = ", ".join(choices)
    who = f"this definition may use {listed}"
    if not arguments:
        who = f"a term may use {listed}, and what quantity(...) or trace(...) makes"
    return f"unknown symbol {name}{place}{closest(name, choices)} ({who})"


def unknown_operator(name: str, written: str, own: Collection[str] = ()) -> str:
    """What is said of a call outside the table of operators."""
    place = f" in {echo(written)}"
    if name in QUANTITIES:
        return f"{name} is no operator{place}; write {name}*(...) for a product"
    if name == "Piecewise":
        return (
            f"Piecewise{place} is no operator; write a where x > 0 and b elsewhere as "
            "a*Heaviside(x) + b*Heaviside(-x), or with Max and Min"
        )
    names = [*OPERATORS, *COMMON, *own]
    hint = closest(name, names) or f"; {how_to_make(name)}"
    return f"unknown operator {name}{place}{hint} (a term may call {', '.join(names)})"


def how_to_make(name: str) -> str:
    """How a person gives an operator of this name."""
    return (
        f'make it with {name} = operator("{name}", lambda x: ...) in a Python file, or in a TOML '
        f'file with {name} = {{arguments = ["x"], definition = "..."}} under [operators]'
    )
