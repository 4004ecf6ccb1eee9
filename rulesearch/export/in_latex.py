"""A rule as LaTeX: its equations, what they read, and a table of the coefficients."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from rulesearch.export.written import Written
from rulesearch.letters import spelled
from rulesearch.notation.printing import latex_of
from rulesearch.operators import PARAMETERS
from rulesearch.report.latex import definitions_latex, layers_latex, value_latex

_OF_SYNAPSE = {"W": "W_{jk}", "B": "B_{kj}", "b": "b_j"}


def in_latex(step: Written) -> str:
    r"""A text to be read by `\input` where amsmath is loaded: `align*`, and a `tabular`.

    Of the synapse from neuron k to neuron j; a sum binds the index with a prime. Where a term acts
    in some layers only, it has an Iverson bracket of the layer l; the last one is D.
    """
    rule = step.rule
    lines = [f"% The learning rule {_plain(rule.name)}; needs amsmath.", r"\begin{align*}"]
    equations = [*_equations(step), *definitions_latex(rule.pool, _OF_SYNAPSE)]
    lines += [" \\\\\n".join(f"  {equation}" for equation in equations), r"\end{align*}"]
    lines += ["", r"\begin{tabular}{lrl}", r"  \hline"]
    lines += [r"  term & coefficient & 95\,\% interval \\", r"  \hline"]
    for name, value in rule.coefficients.items():
        ends = rule.intervals.get(name)
        interval = f"$[{value_latex(ends[0])},\\ {value_latex(ends[1])}]$" if ends else "--"
        lines.append(rf"  {_plain(name)} & ${value_latex(value)}$ & {interval} \\")
    lines.append(r"  \hline")
    if rule.intervals:
        lines.append(
            r"  \multicolumn{3}{l}{\footnotesize Intervals: over lifetimes drawn anew, for these "
            r"terms; they may be too narrow.} \\"
        )
    return "\n".join([*lines, r"\end{tabular}", ""])


def _equations(step: Written) -> Iterator[str]:
    rule = step.rule
    for parameter in PARAMETERS:
        lead = rf"\Delta {_OF_SYNAPSE[parameter]} ={{}}& "
        for term, value in zip(rule.pool, rule.theta, strict=True):
            layers = rule.pool.where.get(term.name, ())
            for changed, expression in term.updates:
                if changed == parameter:
                    sign = "- " if value < 0 else "" if lead.startswith("\\") else "+ "
                    size = value_latex(abs(value)) + layers_latex(layers)
                    yield rf"{lead}{sign}{size} \left({latex_of(expression)}\right)"
                    lead = "& "


def _plain(text: str) -> str:
    """Text for LaTeX outside of mathematics, in letters that every engine has."""
    plain = unicodedata.normalize("NFKD", text)  # an umlaut is a letter and its dots
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    letters = "".join(
        c if c.isascii() and c.isprintable() else spelled(c).strip("\\") for c in plain
    )
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in letters)
