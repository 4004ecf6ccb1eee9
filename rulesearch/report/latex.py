"""The rule as LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rulesearch.letters import spelled
from rulesearch.result import (
    NO_RULE,
    PARAMETERS,
    PoolEntry,
    Result,
    signed_terms,
)
from rulesearch.words import significant

if TYPE_CHECKING:
    from rulesearch.notation import Pool


def latex(result: Result) -> str:
    r"""The rule as an `align*` of amsmath, a term a line, three significant figures.

    Without terms it is `\Delta W ={}& 0`. Where a term acts in some layers only, the rule is that
    of W_{l-1,l}, and the term has an Iverson bracket: `[l \in \{2, 3\}]` is 1 in these layers and
    0 in the others. Each parameter that the rule changes has an equation of its own; below them
    stands what the rule reads of the grammar's own. Where what was selected does not learn, a
    comment says so first.
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
    if terms and {*result.definitions} - {"start"}:
        # Here, because most rules are shown without SymPy.
        from rulesearch.rule.recorded import pool_of

        pool = pool_of(result.pool, result.definitions).only(*(entry.name for *_, entry in terms))
        equations += [f"  {line}" for line in definitions_latex(pool, {})]
    comment = "" if result.learns else f"% {NO_RULE}\n"
    both = " \\\\\n".join(equations)
    return f"{comment}\\begin{{align*}}\n{both}\n\\end{{align*}}\n"


def definitions_latex(pool: Pool, parameters: Mapping[str, str]) -> Iterator[str]:
    """What a pool reads and calls of its own, and what its values are kept in, for an `align*`.

    Args:
        pool: the terms.
        parameters: what is written for each parameter, where that is not its name.
    """
    from rulesearch.notation import latex_of
    from rulesearch.notation.compact import compact
    from rulesearch.notation.own import own_symbols
    from rulesearch.operators import definition_of, definitions_of

    expressions = [e for term in pool for _, e in term.updates]
    for symbol in own_symbols(expressions).values():
        name, text = latex_of(symbol), latex_of(compact(definition_of(symbol)))
        memory = symbol.row.memory
        if memory is None:
            yield f"{name} ={{}}& {text}"
            continue
        initial = memory.initial
        first = "the first value" if initial is None else f"${value_latex(initial)}$"
        yield (
            rf"{name} \leftarrow{{}}& {memory.decay:g}\, {name} + {1 - memory.decay:.6g}"
            rf" \left({text}\right) \text{{, from {first}}}"
        )
    for name, (arguments, body) in definitions_of(expressions).items():
        called = ", ".join(latex_of(a) for a in arguments)
        letters = "".join(spelled(c).strip("\\") for c in name).replace("_", r"\_")
        yield rf"\operatorname{{{letters}}}\left({called}\right) ={{}}& {latex_of(body)}"
    for parameter, low, high in pool.bounds:
        ends = f"[{value_latex(low)},\\ {value_latex(high)}]"
        yield rf"{parameters.get(parameter, parameter)} \in{{}}& {ends}"


def value_latex(value: float) -> str:
    """A number in three significant figures, for LaTeX's math mode."""
    return number_latex(significant(value))


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
