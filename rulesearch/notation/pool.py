"""Terms and pools: plain data that checks itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sympy import Expr, Function

from rulesearch.errors import RuleSearchError
from rulesearch.notation.canonical import canonical, degree
from rulesearch.notation.parsing import parse
from rulesearch.notation.printing import latex_of, text_of
from rulesearch.operators import (
    OPERATORS,
    QUANTITIES,
    Index,
    NeuronSum,
    index_of,
    operator_of,
    spell,
    without_definitions,
)

PSEUDO_GRADIENT: Expr = -QUANTITIES["e_post"].symbol * QUANTITIES["y_pre"].symbol
START = 1e-3


@dataclass(frozen=True)
class Term:
    """One candidate update: the change of the synapse from pre-neuron k to post-neuron j.

    Attributes:
        name: what the pool calls it.
        expression: its canonical SymPy expression.

    Example:
        >>> term = Term.of("F8", "-y_post*sum_post(e_post*sum_pre(W*y_pre))*e_pre")
        >>> print(term, term.degree)
        -y_post*e_pre*sum_post(e_post*z_post) 4
    """

    name: str
    expression: Expr

    @staticmethod
    def of(name: str, source: Expr | str, operators: Mapping[str, Any] | None = None) -> Term:
        """A term from an expression or from text.

        Raises:
            RuleSearchError: see `parse` and `canonical`; "term NAME" is put in front.
        """
        try:
            expression = parse(source, operators) if isinstance(source, str) else source
            return Term(name, canonical(expression))
        except RuleSearchError as error:
            raise error.located(f"term {name}") from None

    def __str__(self) -> str:
        return text_of(self.expression)

    @property
    def text(self) -> str:
        """The canonical expression in the notation of a term; `parse` reads it back."""
        return text_of(self.expression)

    @property
    def latex(self) -> str:
        """The expression as LaTeX."""
        return latex_of(self.expression)

    @property
    def index(self) -> Index:
        """The index set before the term is broadcast to {pre, post}."""
        return index_of(self.expression)

    @property
    def degree(self) -> int | None:
        """Degree as a polynomial in the local quantities, or None."""
        return degree(without_definitions(self.expression))

    @property
    def operators(self) -> Mapping[str, Any]:
        """The operators of its own that the term calls, by name."""
        calls = {call.func for call in self.expression.atoms(Function)}
        return {f.__name__: f for f in calls if f.__name__ not in OPERATORS}


@dataclass(frozen=True, init=False)
class Pool:
    """An ordered set of terms; what a grammar file defines.

    Attributes:
        terms: in the order given.
        start: coefficients that do not begin at zero, by name; at least one.

    Raises:
        RuleSearchError: a bad term, two that are the same, one that adds nothing to the others,
            or a start that names no term; one line each, all at once.

    Example:
        >>> from rulesearch.notation import e_post, e_pre, y_pre
        >>> pool = Pool(F0=-e_post * y_pre, F2=-e_post * e_pre)
        >>> pool.names, pool.reference
        (('F0', 'F2'), 'F0')
    """

    terms: tuple[Term, ...]
    start: Mapping[str, float]

    def __init__(
        self,
        *,
        start: Mapping[str, float] | None = None,
        operators: Mapping[str, Any] | None = None,
        **terms: Expr | str,
    ) -> None:
        if not terms:
            raise RuleSearchError("the pool has no terms; give at least one")
        made: list[Term] = []
        faults: list[str] = []
        for name, source in terms.items():
            try:
                made.append(Term.of(name, source, operators))
            except RuleSearchError as error:
                faults.extend(error.lines)
        faults.extend(_start_faults(start or {}, list(terms)))
        faults.extend(_same(made))
        if not faults and (fault := _dependence(made)):
            faults.append(fault)
        if faults:
            raise RuleSearchError(*faults)
        object.__setattr__(self, "terms", tuple(made))
        object.__setattr__(self, "start", dict(start) if start else _default_start(made))

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The terms' names, in order."""
        return tuple(term.name for term in self.terms)

    @property
    def reference(self) -> str:
        """The term with the largest start; units and the gain are measured against it."""
        return max(self.start, key=lambda name: abs(self.start[name]))

    @property
    def pseudo_gradient(self) -> str | None:
        """The term equal to -e_post*y_pre, or None."""
        return next((t.name for t in self.terms if t.expression == PSEUDO_GRADIENT), None)

    def only(self, *names: str) -> Pool:
        """The pool of these terms alone, in the pool's order; starts of the others are dropped."""
        kept = [t for t in self.terms if t.name in names]
        start = {n: v for n, v in self.start.items() if n in names}
        return Pool(start=start or None, **{t.name: t.expression for t in kept})


def _default_start(terms: list[Term]) -> dict[str, float]:
    first = next((t for t in terms if t.expression == PSEUDO_GRADIENT), terms[0])
    return {first.name: START}


def _start_faults(start: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    for name, value in start.items():
        if name not in names:
            yield f"start {name}: no such term; the terms are {', '.join(names)}"
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"start {name}: {value!r} is not a number; write one such as 1e-3"
        elif not np.isfinite(value):
            yield f"start {name}: {value} is not finite; write a number such as 1e-3"
    if start and not any(isinstance(v, (int, float)) and v for v in start.values()):
        yield "start: every coefficient is zero; give at least one, such as 1e-3"


def _same(terms: list[Term]) -> Iterator[str]:
    seen: dict[Expr, Term] = {}
    for term in terms:
        # A name is not a difference: softsign(x) is x/(1 + Abs(x)).
        form = canonical(without_definitions(term.expression))
        if first := seen.get(form):
            yield (
                f"term {term.name}: the same as {first.name}, {first}; leave out one of "
                f"{first.name}, {term.name}"
            )
        seen.setdefault(form, term)


# --- values, for the check of dependence ------------------------------------------------------


def values_of(expression: Expr, quantities: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The value of an expression in one layer, in NumPy.

    Args:
        expression: over local quantities.
        quantities: by name, each broadcastable to [..., post, pre]: `y_pre` [..., 1, pre],
            `y_post` [..., post, 1], `W` [..., post, pre], `L` [..., 1, 1].

    Returns:
        An array that broadcasts to [..., post, pre].
    """
    names: dict[str, NDArray[Any]] = dict(quantities)
    post, pre = quantities["W"].shape[-2:]

    def sums_named(part: Expr) -> Expr:
        if not part.args:
            return part
        inner = [sums_named(a) for a in part.args]
        if not isinstance(part, NeuronSum):
            return part.func(*inner)
        spread, axis = (np.empty((1, pre)), -1) if part.axis == "pre" else (np.empty((post, 1)), -2)
        summand = np.broadcast_arrays(evaluate(inner[0]), spread)[0]
        name = f"sum_{len(names)}"
        names[name] = summand.sum(axis=axis, keepdims=True)
        return sympy.Symbol(name, real=True)

    def evaluate(flat: Expr) -> NDArray[np.float64]:
        source = spell(flat, "numpy")
        with np.errstate(all="ignore"):
            value = eval(source, {"numpy": np, "math": np}, names)  # our own printer's text
        return np.asarray(value, dtype=np.float64)

    return evaluate(sums_named(without_definitions(expression)))


def _random_layers(
    rng: np.random.Generator, draws: int, post: int, pre: int
) -> dict[str, NDArray[Any]]:
    layer: dict[str, NDArray[Any]] = {
        "W": rng.normal(size=(draws, post, pre)),
        "y_pre": rng.uniform(0.1, 1.5, size=(draws, 1, pre)),
        "e_pre": rng.normal(size=(draws, 1, pre)),
        "z_pre": rng.normal(size=(draws, 1, pre)),
        "y_post": rng.uniform(0.1, 1.5, size=(draws, post, 1)),
        "e_post": rng.normal(size=(draws, post, 1)),
        "n_pre": np.full((draws, 1, 1), float(pre)),
        "n_post": np.full((draws, 1, 1), float(post)),
        "L": rng.uniform(0.5, 2.0, size=(draws, 1, 1)),
    }
    return {**layer, "z_post": layer["W"] @ layer["y_pre"].swapaxes(-1, -2)}


def _dependence(terms: list[Term]) -> str | None:
    """The first linear dependence among the terms' values, as an equation, or None.

    A layer-wide sum has one value a draw, so there are more draws than terms, and with them far
    more points than four times the terms.
    """
    rng = np.random.default_rng(20230208)
    draws = len(terms) + 4
    blocks = []
    for post, pre in ((5, 4), (4, 7)):
        layer = _random_layers(rng, draws, post, pre)
        columns = [
            np.broadcast_to(values_of(t.expression, layer), (draws, post, pre)).ravel()
            for t in terms
        ]
        blocks.append(np.stack(columns, axis=1))
    values = np.concatenate(blocks)
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < len(terms):
        return None  # not finite at random points; the data decide
    scale = np.linalg.norm(values, axis=0)
    if not scale.all():
        name = terms[int(np.argmin(scale))].name
        return f"term {name}: is zero at every point tried; leave it out, or mend it"
    if _null_vector(values / scale) is None:
        return None
    for last in range(1, len(terms)):
        null = _null_vector(values[:, : last + 1] / scale[: last + 1])
        if null is not None:
            return _equation(terms[: last + 1], null / scale[: last + 1])
    return None


def _null_vector(columns: NDArray[np.float64]) -> NDArray[np.float64] | None:
    _, singular, right = np.linalg.svd(columns, full_matrices=False)
    return right[-1] if singular[-1] <= 1e-9 * singular[0] else None


def _equation(terms: list[Term], null: NDArray[np.float64]) -> str:
    last = terms[-1].name
    weights = [(float(-w / null[-1]), t.name) for w, t in zip(null[:-1], terms[:-1], strict=True)]
    right = ""
    used = [last]
    for weight, name in weights:
        if abs(weight) < 1e-7:
            continue
        used.append(name)
        size = f"{abs(weight):.6g}"
        factor = name if size == "1" else f"{size}*{name}"
        sign = "-" if weight < 0 else "+"
        right += f" {sign} {factor}" if right else (f"-{factor}" if weight < 0 else factor)
    return (
        f"term {last}: adds nothing to the pool, {last} = {right}; "
        f"leave out one of {', '.join(used)}"
    )
