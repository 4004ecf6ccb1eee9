"""Selection: from what the trials kept to a short rule and the price of every term.

The L1 search screens, and elimination judges: the support is refitted without a penalty, then
terms are dropped one by one for as long as all that has been dropped costs little of the gain.

Whatever is expensive goes through functions given by the caller: `fit` (a plan in, a `Fit` out),
`measure` (label, coefficients, seeds in, `Scores` out) and `overlaps` (label, coefficients in, a
matrix out). Every call has a label that is unique within the search and depends on its arguments
alone, so the caller may keep what is done and answer from there when an interrupted search goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rulesearch.lazily import lazily

if TYPE_CHECKING:
    from rulesearch.selection.baseline import Near as Near
    from rulesearch.selection.baseline import Rate as Rate
    from rulesearch.selection.baseline import best_rate as best_rate
    from rulesearch.selection.baseline import fit_rate as fit_rate
    from rulesearch.selection.baseline import rate_near as rate_near
    from rulesearch.selection.coefficients import Coefficients as Coefficients
    from rulesearch.selection.coefficients import refit_coefficients as refit_coefficients
    from rulesearch.selection.dropping import EliminationStep as EliminationStep
    from rulesearch.selection.effort import Effort as Effort
    from rulesearch.selection.elimination import Elimination as Elimination
    from rulesearch.selection.elimination import Screen as Screen
    from rulesearch.selection.elimination import eliminate as eliminate
    from rulesearch.selection.elimination import screen as screen
    from rulesearch.selection.setting import FitFunction as FitFunction
    from rulesearch.selection.setting import Measure as Measure
    from rulesearch.selection.setting import Overlaps as Overlaps
    from rulesearch.selection.setting import Setting as Setting
    from rulesearch.selection.setting import common_seeds as common_seeds
    from rulesearch.selection.setting import trial_plan as trial_plan

_HOMES = {
    "Coefficients": "rulesearch.selection.coefficients",
    "Effort": "rulesearch.selection.effort",
    "Elimination": "rulesearch.selection.elimination",
    "EliminationStep": "rulesearch.selection.dropping",
    "FitFunction": "rulesearch.selection.setting",
    "Measure": "rulesearch.selection.setting",
    "Near": "rulesearch.selection.baseline",
    "Overlaps": "rulesearch.selection.setting",
    "Rate": "rulesearch.selection.baseline",
    "Screen": "rulesearch.selection.elimination",
    "Setting": "rulesearch.selection.setting",
    "best_rate": "rulesearch.selection.baseline",
    "common_seeds": "rulesearch.selection.setting",
    "eliminate": "rulesearch.selection.elimination",
    "fit_rate": "rulesearch.selection.baseline",
    "rate_near": "rulesearch.selection.baseline",
    "refit_coefficients": "rulesearch.selection.coefficients",
    "screen": "rulesearch.selection.elimination",
    "trial_plan": "rulesearch.selection.setting",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
