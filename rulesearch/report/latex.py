"""The rule as LaTeX."""

from __future__ import annotations

from rulesearch.result import (
    NO_RULE,
    PoolEntry,
    Result,
    layers_text,
    signed_terms,
)


def latex(result: Result) -> str:
    r"""The rule as an `align*` of amsmath, a term a line, three significant figures.

    Without terms it is `\Delta W ={}& 0`. Where a term acts in some layers only, the rule is that
    of W_{l-1,l}, and the term has an Iverson bracket: `[l \in \{2, 3\}]` is 1 in these layers and
    0 in the others. Where what was selected does not learn, a comment says so first.
    """
    terms = signed_terms(result.pool, result.theta)
    matrix = r"W_{l-1,l}" if any(entry.layers for *_, entry in terms) else "W"
    lines = []
    for index, (sign, size, entry) in enumerate(terms):
        mantissa, _, exponent = size.partition("e")
        number = rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa
        shown_sign = f"{sign} " if index or sign == "-" else ""
        lines.append(rf"{shown_sign}{number}{_bracket(entry)} \left({entry.latex}\right)")
    body = " \\\\\n  & ".join(lines or ["0"])
    comment = "" if result.learns else f"% {NO_RULE}\n"
    return f"{comment}\\begin{{align*}}\n  \\Delta {matrix} ={{}}& {body}\n\\end{{align*}}\n"


def _bracket(entry: PoolEntry) -> str:
    match entry.layers:
        case ():
            return ""
        case (layer,):
            return rf"\, [l = {layer}]"
        case layers:
            return rf"\, [l \in \{{{layers_text(layers)}\}}]"
