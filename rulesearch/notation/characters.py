"""Characters that look like those of a term and are others: what to type in their place."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

from rulesearch.letters import as_read

#: What Unicode's own compatibility table does not say: it makes a 2 of a superscript 2.
_TYPED = {
    **dict.fromkeys("−–—‒―‐‑⁻➖", "-"),
    **dict.fromkeys("×·⋅∙•∗✕✖⨯", "*"),
    **dict.fromkeys("÷∕⁄⧸➗", "/"),
    **dict.fromkeys("＾ˆ↑", "**"),
    **dict.fromkeys("‘’‚‛′´", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **{character: f"**{power}" for power, character in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{character: str(digit) for digit, character in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **dict.fromkeys("π", "pi"),
    **dict.fromkeys("∑Σ", "sum_pre or sum_post"),
    **dict.fromkeys("√", "sqrt"),
    # letters of other alphabets
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγεικνορτυωϲ", "ABEZHIKMNOPTYXayeikvoptuwc", strict=True)),
    **dict(zip("АВЕКМНОРСТУХЅІЈаеорсухѕіјԛԝ", "ABEKMHOPCTYXSIJaeopcyxsijqw", strict=True)),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
}


def strange_character(text: str, known: Collection[str] = ()) -> str | None:
    """What is said of the first character that a term is not written with; None if there is none.

    Args:
        text: as a person wrote it.
        known: names that may be in it whatever they are written with.

    Example:
        >>> strange_character("−e_post*y_pre")
        'U+2212 MINUS SIGN at column 1; type -'
    """
    for column, character in enumerate(text, start=1):
        letter = as_read(character) if f"a{character}".isidentifier() else character
        if character.isascii() or any(character in name or letter in name for name in known):
            continue
        name = unicodedata.name(character, "which has no name")
        return f"U+{ord(character):04X} {name} at column {column}; {_advice(character)}"
    return None


def _advice(character: str) -> str:
    typed = _TYPED.get(character)
    if typed is None:
        plain = unicodedata.normalize("NFKC", character)
        typed = plain if plain.isascii() and plain.isprintable() else None
    if typed is None:
        return "a term is written with plain letters, digits and + - * / ** ( ) ,"
    return {"": "take it out", " ": "type a plain space"}.get(typed, f"type {typed}")
