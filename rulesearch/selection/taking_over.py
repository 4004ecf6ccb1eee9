"""What is left takes over the work of a term that goes: where a refit without it begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Directions whose squared size is below this share of the largest say nothing but rounding.
_RANK = 1e-10


def taken_over(
    overlaps: Sequence[Sequence[float]],
    theta: Sequence[float],
    dropped: int,
    rest: Sequence[int],
) -> tuple[float, ...]:
    """The coefficients with which the rest comes closest to the rule with the dropped term.

    The dropped term's part of the update is projected onto the updates of the others: for two
    terms that do the same, the one that stays has the sum of both coefficients.

    Args:
        overlaps: inner products of the terms' updates along a lifetime, [terms, terms].
        theta: raw coefficients of the rule, [terms].
        dropped: index of the term that goes.
        rest: indices of those that stay.

    Returns:
        Raw coefficients, [terms], zero outside the rest.

    Example:
        >>> taken_over([[4.0, 2.0], [2.0, 1.0]], (0.1, 0.3), dropped=1, rest=[0])
        (0.25, 0.0)
    """
    gram, kept = np.asarray(overlaps, dtype=np.float64), list(rest)
    # In units of each term, so that none counts for more because of the way it is written.
    sizes = np.sqrt(np.diag(gram)[kept])
    sizes = np.where(sizes > 0, sizes, 1.0)
    among = gram[np.ix_(kept, kept)] / np.outer(sizes, sizes)
    work = gram[kept, dropped] * theta[dropped] / sizes
    share = np.linalg.pinv(among, rcond=_RANK, hermitian=True) @ work / sizes
    found = np.zeros(len(theta))
    found[kept] = np.asarray(theta, dtype=np.float64)[kept] + share
    return tuple(found.tolist())
