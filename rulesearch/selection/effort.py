"""How much is run for selection, as numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rulesearch.errors import RuleSearchError


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
        baseline_tasks: lifetimes for each rate in that search, of the common ones.
        evaluation_tasks: lifetimes of the final evaluation, on images set aside.
    """

    common_tasks: int = 400
    ranking_tasks: int = 100
    full_steps: int = 100
    full_rounds: int = 6
    flat: float = 0.005
    candidates: int = 2
    clear: float = 0.5
    refit_steps: int = 80
    final_refits: int = 8
    final_steps: int = 40
    mean_steps: int = 40
    baseline_steps: int = 60
    baseline_tasks: int = 200
    evaluation_tasks: int = 400

    def __post_init__(self) -> None:
        least = {
            "common_tasks": 2,
            "ranking_tasks": 2,
            "final_refits": 2,
            "evaluation_tasks": 2,
            "flat": 0,
            "clear": 0,
            "mean_steps": 0,
        }
        for name in (field.name for field in fields(self)):
            if getattr(self, name) < least.get(name, 1):
                raise RuleSearchError(
                    f"{name} {getattr(self, name)}: must be at least {least.get(name, 1)}"
                )
        if self.clear > 1:
            raise RuleSearchError(f"clear {self.clear:g}: must be at most 1")
