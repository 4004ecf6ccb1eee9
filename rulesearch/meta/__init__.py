"""Meta-learning: from a function of the coefficients to a trial.

What is optimised is seen only as one that `RunsLifetimes`: raw coefficients and seeds in, lifetimes
out. A protocol is a row of numbers, an optimiser a pure function of a frozen state, so that a run
stopped anywhere goes on to the bit from the state it wrote last.
"""

from rulesearch.meta.descent import Descended as Descended
from rulesearch.meta.descent import Descent as Descent
from rulesearch.meta.descent import DescentState as DescentState
from rulesearch.meta.descent import descend as descend
from rulesearch.meta.fitting import PATIENCE as PATIENCE
from rulesearch.meta.fitting import RunsLifetimes as RunsLifetimes
from rulesearch.meta.fitting import fit as fit
from rulesearch.meta.fitting import fit_together as fit_together
from rulesearch.meta.fitting import initial_state as initial_state
from rulesearch.meta.fitting import lifetime_seeds as lifetime_seeds
from rulesearch.meta.fitting import meta_step as meta_step
from rulesearch.meta.fitting import rate_at as rate_at
from rulesearch.meta.optimiser import ZERO_NORM as ZERO_NORM
from rulesearch.meta.optimiser import adam as adam
from rulesearch.meta.optimiser import soft_threshold as soft_threshold
from rulesearch.meta.optimiser import unit_votes as unit_votes
from rulesearch.meta.protocols import ACCEPTED as ACCEPTED
from rulesearch.meta.protocols import FITTED as FITTED
from rulesearch.meta.protocols import PAPER as PAPER
from rulesearch.meta.protocols import PROTOCOLS as PROTOCOLS
from rulesearch.meta.protocols import ROBUST as ROBUST
from rulesearch.meta.protocols import Accepted as Accepted
from rulesearch.meta.protocols import MetaProtocol as MetaProtocol
from rulesearch.meta.protocols import units as units
from rulesearch.meta.records import Fit as Fit
from rulesearch.meta.records import FitPlan as FitPlan
from rulesearch.meta.records import MetaState as MetaState
from rulesearch.meta.records import StepRecord as StepRecord
