"""The coefficients of the support that is left, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rulesearch.meta import Fit
from rulesearch.selection.elimination import Elimination
from rulesearch.selection.setting import FitFunction, Setting
from rulesearch.statistics import Interval, t_interval


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of a rule.

    Attributes:
        theta: raw, the mean over the refits, [terms], zero outside the support.
        intervals: 95 % Student interval of each mean over refits, or None with fewer than two.
            It tells how well coefficients are known for THIS support; that another support might
            have been chosen is not in it.
        refits: those that ended.
        failed: how many were given up.
        lifetimes: run for all of them.
    """

    theta: tuple[float, ...]
    intervals: tuple[Interval, ...] | None
    refits: tuple[Fit, ...]
    failed: int
    lifetimes: int


def refit_coefficients(
    setting: Setting, elimination: Elimination, fit: FitFunction
) -> Coefficients:
    """Coefficients with intervals: refits of what is left, each with tasks of its own.

    Each begins where the elimination ended and closes with a stage on the mean loss. Refits that
    are given up are counted; if all are, the coefficients are those of the elimination.
    """
    effort = setting.effort
    support = tuple(setting.names.index(name) for name in elimination.support)
    plans = [
        replace(
            setting.plan(f"final refit {number}", support, elimination.phi, effort.final_steps),
            seed=setting.seed + number,
            mean_steps=effort.mean_steps,
        )
        for number in range(effort.final_refits)
    ]
    fits = fit(plans)
    ended = tuple(each for each in fits if each.failed is None)
    columns = list(zip(*(each.theta for each in ended), strict=True))
    return Coefficients(
        theta=tuple(float(np.mean(column)) for column in columns) or elimination.theta,
        intervals=tuple(map(t_interval, columns)) if len(ended) > 1 else None,
        refits=ended,
        failed=len(fits) - len(ended),
        lifetimes=sum(each.lifetimes for each in fits),
    )
