"""Selection: from what the trials kept to a short rule and the price of every term.

The L1 search screens, and elimination judges: the support is refitted without a penalty, then
terms are dropped one by one for as long as all that has been dropped costs little of the gain.

Whatever is expensive goes through two functions given by the caller: `fit` (a plan in, a `Fit`
out) and `measure` (label, coefficients, seeds in, `Outcomes` out). Every call has a label that is
unique within the search and depends on its arguments alone, so the caller may keep what is done
and answer from there when an interrupted search goes on.
"""

from rulesearch.selection.baseline import Rate as Rate
from rulesearch.selection.baseline import best_rate as best_rate
from rulesearch.selection.baseline import fit_rate as fit_rate
from rulesearch.selection.coefficients import Coefficients as Coefficients
from rulesearch.selection.coefficients import refit_coefficients as refit_coefficients
from rulesearch.selection.dropping import EliminationStep as EliminationStep
from rulesearch.selection.elimination import Elimination as Elimination
from rulesearch.selection.elimination import Screen as Screen
from rulesearch.selection.elimination import eliminate as eliminate
from rulesearch.selection.elimination import screen as screen
from rulesearch.selection.setting import Effort as Effort
from rulesearch.selection.setting import FitFunction as FitFunction
from rulesearch.selection.setting import Measure as Measure
from rulesearch.selection.setting import Setting as Setting
from rulesearch.selection.setting import common_seeds as common_seeds
from rulesearch.selection.setting import trial_plan as trial_plan
