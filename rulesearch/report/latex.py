"""The rule as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from rulesearch.result import (
    NO_RULE,
    PARAMETERS,
    PoolEntry,
    Result,
    signed_terms,
)


def latex(result: Result) -> str:
    r"""The rule as an `align*` of amsmath, a term a line, three significant figures.

    Without terms it is `\Delta W ={}& 0`. Where a term acts in some layers only, the rule is that
    of W_{l-1,l}, and the term has an Iverson bracket: `[l \in \{2, 3\}]` is 1 in these layers and
    0 in the others. Each parameter that the rule changes has an equation of its own. Where what was
    selected does not learn, a comment says so first.
    """
    terms = signed_terms(result.pool, result.theta)
    limited = any(entry.layers for *_, entry in terms)
    changed = [p for p in PARAMETERS if any(p in entry.updates for *_, entry in terms)]
    equations = []
    for parameter in changed or ["W"]:
        lines = _terms([t for t in terms if parameter in t[2].updates], parameter)
        body = " \\\\\n  & ".join(lines or ["0"])
        matrix = f"{parameter}_{{l-1,l}}" if limited else parameter
        equations.append(f"  \\Delta {matrix} ={{}}& {body}")
    comment = "" if result.learns else f"% {NO_RULE}\n"
    both = " \\\\\n".join(equations)
    return f"{comment}\\begin{{align*}}\n{both}\n\\end{{align*}}\n"


def _terms(terms: list[tuple[str, str, PoolEntry]], parameter: str) -> list[str]:
    """The terms of the equation of one parameter."""
    lines = []
    for index, (sign, size, entry) in enumerate(terms):
        number = number_latex(size)
        shown_sign = f"{sign} " if index or sign == "-" else ""
        form = entry.changes_latex.get(parameter, entry.latex)
        lines.append(rf"{shown_sign}{number}{layers_latex(entry.layers)} \left({form}\right)")
    return lines


def number_latex(text: str) -> str:
    r"""A number as `significant` writes it, for LaTeX's math mode.

    Example:
        >>> print(number_latex("0.0384"), number_latex("-1.23e-05"))
        0.0384 -1.23 \times 10^{-5}
    """
    mantissa, _, exponent = text.partition("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if exponent else mantissa


def layers_latex(layers: Sequence[int]) -> str:
    r"""Layers as an Iverson bracket of the layer l, the last one D; "" for all.

    Example:
        >>> print(layers_latex((-1,)), layers_latex((2, -2)))
        \, [l = D] \, [l \in \{2, D - 1\}]
    """
    if not layers:
        return ""
    named = [str(n) if n > 0 else "D" if n == -1 else f"D - {-n - 1}" for n in layers]
    return rf"\, [l \in \{{{', '.join(named)}\}}]" if named[1:] else rf"\, [l = {named[0]}]"
