"""The best coefficient of a rule of one term: what a baseline is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import optimize

from rulesearch.selection.setting import FitFunction, Measure, Setting, common_seeds, one_term

WIDENINGS = 6
"""Octaves by which the search for a rate may leave its first bracket, in all."""


@dataclass(frozen=True)
class Rate:
    """The best coefficient of a one-term rule on the mean loss.

    Attributes:
        term: name of the term.
        rate: its raw coefficient.
        theta: raw coefficients of the rule, [terms].
        loss: mean query loss on the tasks of the search.
        curve: (coefficient, mean loss) of everything tried, in the order of the coefficients.
        bracketed: whether the best one lies between two worse ones.
        lifetimes: run for it, the fit's included.
    """

    term: str
    rate: float
    theta: tuple[float, ...]
    loss: float
    curve: tuple[tuple[float, float], ...]
    bracketed: bool
    lifetimes: int


def fit_rate(
    setting: Setting, label: str, fit: FitFunction, measure: Measure, term: int | None = None
) -> Rate:
    """The best rule of one term: meta-learned, then searched on the true mean loss.

    A baseline must not be handicapped: directions of gradients may balance beside the minimum of
    the mean loss. So that loss is evaluated at the fitted coefficient times powers of two, further
    out while the best is at the edge, then minimised between the neighbours of the best
    (`scipy.optimize.minimize_scalar`, to 3 % of the coefficient).

    Args:
        setting: see `Setting`.
        label: for instance `backprop`; the calls are named after it.
        fit: runs a plan.
        measure: runs lifetimes forward.
        term: index of the term, the reference if None.
    """
    term = setting.reference if term is None else term
    fitted = fit(
        setting.plan(
            f"{label}/fit",
            (term,),
            one_term(setting, term, setting.start[term] or setting.protocol.start),
            setting.effort.baseline_steps,
        )
    )
    seeds = common_seeds(setting)[: setting.effort.baseline_tasks]
    centre = fitted.theta[term]
    if fitted.failed is not None or centre == 0:
        centre = setting.protocol.start * setting.scales[term]

    curve: dict[float, float] = {}  # octaves from the centre: mean loss

    def loss_at(octaves: float) -> float:
        if octaves not in curve:
            theta = one_term(setting, term, centre * 2.0**octaves)
            curve[octaves] = measure(f"{label}/rate {theta[term]!r}", theta, seeds).mean_loss
        return curve[octaves]

    low, high = -2, 2
    best = min(range(low, high + 1), key=loss_at)
    for _ in range(WIDENINGS):
        if best not in (low, high):
            break
        low, high = (low - 1, high) if best == low else (low, high + 1)
        best = min(range(low, high + 1), key=loss_at)
    optimize.minimize_scalar(
        lambda octaves: loss_at(float(octaves)),
        bounds=(best - 1, best + 1),
        method="bounded",
        options={"xatol": math.log2(1.03)},
    )
    found = min(curve, key=loss_at)
    rate = centre * 2.0**found
    return Rate(
        term=setting.names[term],
        rate=rate,
        theta=one_term(setting, term, rate),
        loss=curve[found],
        curve=tuple((centre * 2.0**octaves, curve[octaves]) for octaves in sorted(curve)),
        bracketed=low < best < high,
        lifetimes=fitted.lifetimes + len(seeds) * len(curve),
    )
