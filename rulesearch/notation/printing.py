"""A term as a person writes it, and as LaTeX, through SymPy's printers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy
from sympy import Add, Expr, Mul, Symbol
from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter

from rulesearch.letters import spelled
from rulesearch.operators import POST, PRE, NeuronSum, index_of, operator_of, row_of


def place_of(factor: Expr) -> tuple[int, str]:
    """Numbers, the post side, the weight, the pre side, sums: y_post*e_pre*sum_pre(...)."""
    if factor.is_number:
        return 0, ""
    if factor.has(NeuronSum):
        return 4, str(factor)
    return {POST: 1, PRE: 3}.get(index_of(factor), 2), str(factor)


class _TermPrinter(StrPrinter):  # type: ignore[misc]
    def _print(self, expr: Any, **kwargs: Any) -> str:
        row = operator_of(getattr(expr, "func", None))
        if row and row.definition:
            # SymPy would look for a method of this name, and has one for gamma.
            return f"{row.name}({self.stringify(expr.args, ', ')})"
        return str(super()._print(expr, **kwargs))

    def _as_ordered_terms(self, expr: Expr, order: Any = None) -> list[Expr]:
        # Positive parts first, so that no term starts with a minus without need.
        parts = expr.as_ordered_terms()
        return sorted(parts, key=lambda part: bool(part.could_extract_minus_sign()))

    def _print_Mul(self, expr: Expr) -> str:
        factors = sorted(Mul.make_args(expr), key=place_of)
        before = self._settings["order"]
        self._settings["order"] = "none"  # keep the factors as they come
        text = str(super()._print_Mul(Mul(*factors, evaluate=False)))
        self._settings["order"] = before
        return text

    def _print_Exp1(self, expr: Expr) -> str:
        return "E"


@lru_cache(maxsize=16_384)
def text_of(expression: Expr) -> str:
    """The expression in the notation of a term; `parse` reads it back.

    Example:
        >>> from rulesearch.notation import e_pre, sum_post, y_post
        >>> text_of(sum_post(y_post) * e_pre * y_post / 2 - e_pre)
        'y_post*e_pre*sum_post(y_post)/2 - e_pre'
    """
    return str(_TermPrinter().doprint(expression))


class _SynapseLatex(LatexPrinter):  # type: ignore[misc]
    """Synapse from k to j; a sum binds the index with a prime."""

    def __init__(self) -> None:
        super().__init__()
        self._index = {"pre": "k", "post": "j"}

    def _print(self, expr: Any, **kwargs: Any) -> str:
        row = operator_of(getattr(expr, "func", None))
        if row and row.definition:
            return self._call(row.name, *expr.args, exp=kwargs.get("exp"))
        return str(super()._print(expr, **kwargs))

    def _call(self, name: str, *arguments: Expr, exp: str | None) -> str:
        inside = ", ".join(self._print(a) for a in arguments)
        power = f"^{{{exp}}}" if exp else ""
        # pdflatex has letters of its own only: what spells others out begins with a backslash.
        plain = "".join(spelled(letter).strip("\\") for letter in name).replace("_", r"\_")
        return rf"\operatorname{{{plain}}}{power}\left({inside}\right)"

    def _print_Symbol(self, expr: Symbol, style: str = "plain") -> str:
        row = row_of(expr)
        return row.latex.format(**self._index) if row else str(super()._print_Symbol(expr))

    def _print_Heaviside(self, expr: Expr, exp: str | None = None) -> str:
        # SymPy's \\theta is what the coefficients are called here.
        return self._call("H", expr.args[0], exp=exp)

    def _sum(self, expr: NeuronSum, exp: str | None) -> str:
        outer = dict(self._index)
        bound = self._index[expr.axis] = self._index[expr.axis] + "'"
        body = self._print(expr.args[0])
        self._index = outer
        if isinstance(expr.args[0], Add):
            body = rf"\left({body}\right)"
        text = rf"\sum_{{{bound}}} {body}"
        return rf"\left({text}\right)^{{{exp}}}" if exp else rf"\left({text}\right)"

    def _print_sum_pre(self, expr: NeuronSum, exp: str | None = None) -> str:
        return self._sum(expr, exp)

    def _print_sum_post(self, expr: NeuronSum, exp: str | None = None) -> str:
        return self._sum(expr, exp)


def latex_of(expression: Expr) -> str:
    r"""The expression as LaTeX, for the synapse from pre-neuron k to post-neuron j.

    Example:
        >>> from rulesearch.notation import W, sum_post, y_post
        >>> print(latex_of(-y_post * sum_post(W * y_post)))
        - y_{j} \left(\sum_{j'} W_{j'k} y_{j'}\right)
    """
    return str(_SynapseLatex().doprint(sympy.sympify(expression)))
