"""How much is run for selection, as numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated, TypeAlias

from rulesearch.errors import RuleSearchError
from rulesearch.records.plain import Within, outside

MOST = 10**6
"""Of anything that is counted here; more would not end."""

Some: TypeAlias = Annotated[int, Within(1, MOST)]
Several: TypeAlias = Annotated[int, Within(2, MOST)]  # for an interval


@dataclass(frozen=True)
class Effort:
    """How much is run for selection and baselines; counts of lifetimes, meta-steps, or fits.

    Attributes:
        common_tasks: lifetimes on which supports are compared.
        ranking_tasks: the first of these, on which candidates are ranked before their refit.
        full_steps: meta-steps of one round in the refit of the whole support.
        full_rounds: rounds of it at most.
        flat: the whole support is refitted until a round gains less than this share of the gain.
        candidates: terms whose dropping is tried with a refit, each time.
        clear: a term whose dropping certainly costs less than this share of what parsimony
            allows, before any refit, is dropped without one; 0 to 1, and 0 refits always.
        refit_steps: meta-steps of a warm refit.
        final_refits: refits of the final support, for the intervals of its coefficients.
        final_steps: meta-steps of each of those, before
        mean_steps: meta-steps on the plain mean of the gradients, which end it.
        baseline_steps: meta-steps of a one-term rule whose coefficient is not known to be
            positive, before the search for the best one.
        baseline_tasks: lifetimes for each rate in that search, of the common ones; a quarter of
            them, or 50, says which octave the best one lies in.
        evaluation_tasks: lifetimes of the final evaluation, on images set aside.
    """

    common_tasks: Several = 400
    ranking_tasks: Several = 100
    full_steps: Some = 100
    full_rounds: Some = 6
    flat: Annotated[float, Within(0, 1)] = 0.005
    candidates: Some = 2
    clear: Annotated[float, Within(0, 1)] = 0.5
    refit_steps: Some = 80
    final_refits: Several = 8
    final_steps: Some = 40
    mean_steps: Annotated[int, Within(0, MOST)] = 40
    baseline_steps: Some = 60
    baseline_tasks: Some = 100
    evaluation_tasks: Several = 400

    def times(self, factor: float) -> Effort:
        """So many times as many tasks and meta-steps; rounds, refits and shares stay as they are.

        Example:
            >>> Effort(mean_steps=20).times(0.25).mean_steps
            5
        """
        counts = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name.endswith(("_tasks", "_steps"))
        }
        # An interval needs two lifetimes.
        return replace(self, **{n: max(min(x, 2), round(factor * x)) for n, x in counts.items()})

    def __post_init__(self) -> None:
        faults = [f"{name} {getattr(self, name)}: {text}" for name, text in outside(self)]
        if faults:
            raise RuleSearchError(*faults)
