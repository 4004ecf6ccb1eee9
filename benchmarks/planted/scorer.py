"""How near a rule that was found is to the one that was planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sympy import Add, Expr, Float

from rulesearch.notation import Pool
from rulesearch.notation.comparison import coefficients

Rule = Mapping[Expr, float]
"""Term -> coefficient; none of them zero."""


@dataclass(frozen=True)
class Score:
    """A rule beside the planted one.

    Attributes:
        exact: whether it has the same terms, or is the same function but for its coefficients.
        precision: share of its terms that are planted; 1 where it has none.
        recall: share of the planted terms that it has.
        f1: their harmonic mean.
        error: the distance of the coefficients over the size of the planted ones, each in units of
            its term's update; 1 for no rule at all.
    """

    exact: bool
    precision: float
    recall: float
    f1: float
    error: float


def rule_of(pool: Pool, theta: Sequence[float]) -> dict[Expr, float]:
    """The terms of a pool that are in a rule, with their coefficients."""
    terms = zip(pool.terms, theta, strict=True)
    return {term.expression: x for term, x in terms if x}


def score(found: Rule, planted: Rule, units: Mapping[Expr, float] | None = None) -> Score:
    """A rule beside the planted one.

    Two rules are the same function if they are the same sum of products, once all is written out,
    but for the numbers before these: then every term counts as found.

    Args:
        found: the student's.
        planted: the teacher's, one term at least.
        units: what a coefficient is divided by, by term; 1 where none is given.

    Example:
        >>> from rulesearch.notation import W, y_post, y_pre
        >>> hebb, decay, cell = y_post * y_pre, y_post**2 * W, y_post * y_pre - y_post**2 * W
        >>> score({hebb: 0.1, decay: -0.1}, {cell: 0.1}).exact, score({hebb: 0.1}, {cell: 0.1}).f1
        (True, 0.0)
    """
    same = _parts(found).keys() == _parts(planted).keys()
    right = len(found.keys() & planted.keys())
    precision = 1.0 if same or not found else right / len(found)
    recall = 1.0 if same else right / len(planted)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return Score(same, precision, recall, f1, _error(found, planted, units or {}))


def _parts(rule: Rule) -> dict[Expr, float]:
    """The products of a rule written out -> the number before each."""
    total = Add(*(Float(x) * term for term, x in rule.items())).expand()
    parts = {part: float(number) for part, number in coefficients(total).items()}
    largest = max(map(abs, parts.values()), default=0.0)
    # What cancels leaves rounding.
    return {part: x for part, x in parts.items() if abs(x) > 1e-12 * largest}


def _error(found: Rule, planted: Rule, units: Mapping[Expr, float]) -> float:
    if found.keys() <= planted.keys() | units.keys():
        terms = [*dict.fromkeys([*planted, *found])]
        scale = np.array([units.get(term, 1.0) for term in terms])
        one, other = (np.array([rule.get(t, 0.0) for t in terms]) for rule in (found, planted))
    else:  # another pool: the products are compared
        parts, wanted = _parts(found), _parts(planted)
        every = [*dict.fromkeys([*wanted, *parts])]
        scale = np.ones(len(every))
        one, other = (np.array([rule.get(p, 0.0) for p in every]) for rule in (parts, wanted))
    return float(np.linalg.norm((one - other) / scale) / np.linalg.norm(other / scale))


def share_interval(hits: int, tries: int) -> tuple[float, float]:
    """The 95 % interval of a share (Clopper & Pearson 1934).

    Example:
        >>> low, high = share_interval(0, 100)
        >>> low, round(high, 3)
        (0.0, 0.036)
    """
    found = stats.binomtest(hits, tries).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


def share_limit(hits: int, tries: int) -> float:
    """The upper 95 % limit of a share, one-sided.

    Example:
        >>> round(share_limit(0, 100), 3)
        0.03
    """
    found = stats.binomtest(hits, tries, alternative="less").proportion_ci(0.95, method="exact")
    return float(found.high)
