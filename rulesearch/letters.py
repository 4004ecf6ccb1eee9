"""Text for a stream that lacks some of its letters, such as a terminal that knows ASCII alone."""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from typing import TextIO

#: What the names of Unicode do not give: the signs of plans, tables and messages.
SIGNS = {
    "⊗": "(x)",
    "⊙": "(.)",
    "·": "*",
    "×": "x",
    "−": "-",
    "–": "-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "→": "->",
    "…": "...",
    "°": " degrees",
    "∞": "inf",
    "Σ": "sum",
    "½": "1/2",
}

_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)(?: WITH .*)?")
_HANDLER = "rulesearch.spelled"


def as_read(name: str) -> str:
    """A name as Python reads it in a program, and as terms are read: the sign µ is the letter μ.

    Example:
        >>> as_read("\u00b5") == "\u03bc"
        True
    """
    return unicodedata.normalize("NFKC", name)


def spelled(letter: str) -> str:
    r"""One letter in ASCII: a sign by its look, a Greek letter by its name, else its number.

    Example:
        >>> [spelled(letter) for letter in "⊗ηΔé"]
        ['(x)', 'eta', 'Delta', '\\xe9']
    """
    if letter.isascii():
        return letter
    if letter in SIGNS:
        return SIGNS[letter]
    if greek := _GREEK.fullmatch(unicodedata.name(letter, "")):
        size, name = greek.groups()
        return name.capitalize() if size == "CAPITAL" else name.lower()
    return letter.encode("ascii", "backslashreplace").decode("ascii")


def spell_out(stream: TextIO) -> None:
    """Have a stream show what its encoding has no letter for by `spelled`, and never refuse it.

    A stream whose user has asked for another way, as in PYTHONIOENCODING=ascii:replace, keeps it.
    """
    codecs.register_error(_HANDLER, _spelled_where_it_fails)
    by_default = ("strict", "backslashreplace", "surrogateescape")
    if isinstance(stream, io.TextIOWrapper) and stream.errors in by_default:
        stream.reconfigure(errors=_HANDLER)


def _spelled_where_it_fails(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    # A byte of a file's name that was no text when it was read is that byte again.
    byte = ord(letter) - 0xDC00
    shown = bytes([byte]) if 0x80 <= byte <= 0xFF else spelled(letter)
    return shown, error.start + 1
