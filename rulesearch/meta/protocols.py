"""Protocols of meta-learning as rows of numbers, and the units of the coefficients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rulesearch.errors import RuleSearchError


@dataclass(frozen=True)
class MetaProtocol:
    """How coefficients are meta-learned, as numbers.

    Attributes:
        in_units: whether the coefficients learned are in units of each term (see `units`).
        largest_scale: what the unit of a term is capped at (see `units`).
        meta_batch: lifetimes a meta-step.
        rate: Adam's step, in the coefficients learned.
        betas: decay of Adam's two running means.
        eps: added to the root of the second one, in step and threshold.
        normalise: whether each lifetime's gradient is divided by its own norm.
        penalty: `proximal`, a soft threshold after each step in Adam's own metric, or
            `subgradient`, l1 * sign(coefficient) added to the gradient (zero at zero).
        decay_share: the last share of the meta-steps, over which the rate falls linearly.
        decay_to: what it falls to, as a share of `rate`.
        l1: the penalty when the search asks for no other.
        meta_steps: length of a search.
        start: where the reference term begins, in the coefficients learned.
        zero_below: a coefficient is kept when its size is above this.
        retreats: whether a meta-step in which at least half of the lifetimes diverge goes back to
            the last coefficients at which none did, with Adam's momentum gone.
        eliminates: whether terms are dropped one by one after the trials, or the penalty alone
            selects.
    """

    in_units: bool
    largest_scale: float
    meta_batch: int
    rate: float
    betas: tuple[float, float]
    eps: float
    normalise: bool
    penalty: Literal["proximal", "subgradient"]
    decay_share: float
    decay_to: float
    l1: float
    meta_steps: int
    start: float
    zero_below: float
    retreats: bool
    eliminates: bool


ROBUST = MetaProtocol(
    in_units=True,
    # A term far smaller than the reference would otherwise begin with steps of its own size.
    largest_scale=1.0,
    meta_batch=8,
    rate=1e-3,
    betas=(0.9, 0.99),
    eps=1e-8,
    normalise=True,
    penalty="proximal",
    decay_share=0.4,
    decay_to=0.05,
    l1=0.05,
    meta_steps=300,
    start=1e-3,
    zero_below=0.0,
    # What does not end has no vote, so at the edge of a cliff momentum would decide alone.
    retreats=True,
    eliminates=True,
)
"""Direction votes of eight lifetimes, coefficients in units, coefficients exactly zero."""

PAPER = MetaProtocol(
    in_units=False,
    largest_scale=1.0,
    meta_batch=1,
    rate=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    normalise=False,
    penalty="subgradient",
    decay_share=0.0,
    decay_to=1.0,
    # Shervani-Tabar & Rosenbaum do not print the lambda of Eq. 6; none is invented here.
    l1=0.0,
    meta_steps=600,
    start=1e-3,
    # A subgradient leaves no exact zeros: a penalised coefficient jitters by one step of Adam.
    zero_below=1e-3,
    retreats=False,
    eliminates=False,
)
"""Shervani-Tabar & Rosenbaum (2023), Eq. 6: raw coefficients, one task a meta-step, Adam.

Its penalty is an option without a published value, so `l1` is 0 unless it is given.
"""


@dataclass(frozen=True)
class Accepted:
    """How coefficients are meta-learned by accepted steps (`rulesearch.meta.descent`), as numbers.

    Sizes of steps are shares of the reference's best coefficient, in the coefficients learned; see
    `rulesearch.meta.metric.proximal`.

    Attributes:
        in_units: as of a `MetaProtocol`,
        largest_scale: likewise,
        meta_batch: lifetimes of a step,
        l1: the penalty when the search asks for no other, nats for each reference's coefficient,
        meta_steps: of a descent at most, taken or not,
        start: where the search for the reference's best coefficient begins, in those learned.
        most: lifetimes that have voted at one place after which nothing more is gained there.
        tries: sizes tried along one direction.
        first: size of the first step.
        grow: what a step's size is multiplied by where the step before was taken,
        shrink: and where it was not.
        smallest: of the sizes that a direction begins with.
        largest: of a step.
        furthest: that one coefficient may go in a step.
        memory: share of the votes' second moment that is kept from step to step.
        worth: share of the gain below which the last steps together end a descent,
        over: how many they are.
    """

    in_units: bool = True
    largest_scale: float = 1e9
    meta_batch: int = 32
    l1: float = 0.01
    meta_steps: int = 36
    start: float = 1e-3
    most: int = 128
    tries: int = 3
    first: float = 0.06
    grow: float = 1.5
    shrink: float = 0.4
    smallest: float = 0.03
    largest: float = 1.5
    furthest: float = 4.0
    memory: float = 0.8
    worth: float = 0.01
    over: int = 6


ACCEPTED = Accepted()
"""Steps from the reference's best coefficient, each of which lowers the loss on fresh tasks."""

FITTED: Mapping[str, MetaProtocol] = {"robust": ROBUST, "paper": PAPER}
"""Protocols of fits, of which several share a batch."""

PROTOCOLS: Mapping[str, MetaProtocol | Accepted] = {"accepted": ACCEPTED, **FITTED}


def units(
    norms: Sequence[float],
    reference: int,
    names: Sequence[str],
    largest: float = 1.0,
    factors: Sequence[float] | None = None,
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Scales that give every term the size of the reference: s_r = min(largest, |F_ref| / |F_r|).

    Here F is a term without its constant factor c, and the scale of c·F is s/|c|: a factor changes
    the raw coefficient and nothing else.

    Args:
        norms: mean Frobenius norm of each term at initialisation, summed over layers, [terms].
        reference: index of the term that the others are measured by.
        names: of the terms, for the messages.
        largest: scales of terms without their factors are capped here, so that a term much smaller
            than the reference is not blown up to its size; above 0, inf for no cap.
        factors: the constant factor of each term, [terms], none of them 0; None for 1.

    Returns:
        The scales, [terms], above 0, or 0 for a term to leave out because it is zero on the data at
        hand; and one message for each such term.

    Raises:
        RuleSearchError: a norm is not finite, or the reference itself is zero.

    Example:
        >>> units([6.0, 2.0, 60.0, 0.0], 0, ["F0", "F1", "F2", "F3"])
        ((1.0, 1.0, 0.1, 0.0), ('term F3: zero on these data at initialisation; left out',))
        >>> units([12.0, 60.0], 0, ["2*F0", "F2"], factors=[2.0, 1.0])
        ((0.5, 0.1), ())
    """
    faults = [
        f"term {name}: not finite at initialisation; rewrite it, or leave it out of the pool"
        for name, norm in zip(names, norms, strict=True)
        if not math.isfinite(norm)
    ]
    if norms[reference] == 0:
        faults.append(
            f"term {names[reference]}: zero on these data at initialisation, so nothing can be "
            "measured by it; begin the search with another term"
        )
    if faults:
        raise RuleSearchError(*faults)
    plain = [1.0] * len(norms) if factors is None else [abs(factor) for factor in factors]
    sizes = [norm / factor for norm, factor in zip(norms, plain, strict=True)]
    scales = tuple(
        min(largest, sizes[reference] / size) / factor if size else 0.0
        for size, factor in zip(sizes, plain, strict=True)
    )
    left_out = tuple(
        f"term {name}: zero on these data at initialisation; left out"
        for name, norm in zip(names, norms, strict=True)
        if norm == 0
    )
    return scales, left_out
