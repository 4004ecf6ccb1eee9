"""Evaluations on common tasks, and what may be concluded from them.

What a lifetime that diverged counts as is said in `rulesearch.scoring`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from rulesearch.meta import RunsLifetimes
from rulesearch.scoring import diverged
from rulesearch.scoring import scored as scored

Interval = tuple[float, float]
"""Lower and upper end of a 95 % confidence interval."""

LEVEL = 0.95
#: Of one-sided limits that end a comparison early.
CERTAIN = 0.99
RESAMPLES = 9999


@dataclass(frozen=True)
class Scores:
    """What one rule did on given lifetimes; all tuples are [lifetimes].

    Attributes:
        seeds: of the lifetimes.
        loss: query loss, scored: see `scored`.
        accuracy: query accuracy, scored.
        initial_loss: query loss before training.
        diverged: which ones did.
    """

    seeds: tuple[int, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    initial_loss: tuple[float, ...]
    diverged: tuple[bool, ...]

    @property
    def mean_loss(self) -> float:
        """The mean of `loss`."""
        return float(np.mean(self.loss))

    def some(self, first: int, end: int) -> Scores:
        """What the rule did on the lifetimes from `first` on to before `end`."""
        return Scores(**{name: values[first:end] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Summary:
    """A rule's accuracy and loss with intervals over tasks, conditional on the image set.

    Attributes:
        accuracy: mean, 0 to 1.
        accuracy_interval: of the mean.
        loss: mean query cross-entropy, in nats.
        loss_interval: of the mean.
        lifetimes: how many were run.
        diverged: how many of them did.
    """

    accuracy: float
    accuracy_interval: Interval
    loss: float
    loss_interval: Interval
    lifetimes: int
    diverged: int


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences, and its interval."""

    mean: float
    interval: Interval


def measure(
    population: RunsLifetimes,
    theta: Sequence[float] | Tensor,
    seeds: Sequence[int],
    outputs: int | None,
    *,
    batch: int = 16,
) -> Scores:
    """Run lifetimes forward only.

    Args:
        population: what the coefficients do.
        theta: raw coefficients, [terms], or a tensor of those of each lifetime, [lifetimes, terms].
        seeds: one a lifetime; the same seeds make two rules comparable task by task.
        outputs: units of the output layer, which fix what chance is; see `scored`.
        batch: lifetimes handed over at once, which bounds the memory.
    """
    if isinstance(theta, Tensor):
        coefficients = theta.to(torch.float64)
    else:
        coefficients = torch.tensor(tuple(theta), dtype=torch.float64)
    rows = coefficients.expand(len(seeds), coefficients.shape[-1])
    parts = [
        population(
            rows[first : first + batch] if coefficients.ndim > 1 else coefficients,
            seeds[first : first + batch],
        )
        for first in range(0, len(seeds), batch)
    ]
    loss, accuracy, initial = (
        torch.cat([getattr(part, name).detach().to("cpu", torch.float64) for part in parts])
        for name in ("loss", "accuracy", "initial_loss")
    )
    bad = diverged(loss, initial)
    chance = parts[0].chance if parts else None
    loss, accuracy = scored(loss, accuracy, initial, outputs, chance)
    return Scores(
        seeds=tuple(seeds),
        loss=tuple(loss.tolist()),
        accuracy=tuple(accuracy.tolist()),
        initial_loss=tuple(initial.tolist()),
        diverged=tuple(bad.tolist()),
    )


def measure_each(
    population: RunsLifetimes,
    rules: Sequence[Sequence[float]],
    seeds: Sequence[int],
    outputs: int | None,
    *,
    batch: int = 16,
) -> list[Scores]:
    """`measure` of several rules on the same lifetimes, side by side.

    Args:
        population: see `measure`.
        rules: raw coefficients, [terms] each.
        seeds: see `measure`; every rule has all of them.
        outputs: see `measure`.
        batch: lifetimes handed over at once, of any of the rules.
    """
    if not rules:
        return []
    count = len(seeds)
    rows = torch.tensor([tuple(rule) for rule in rules], dtype=torch.float64)
    rows = rows.repeat_interleave(count, dim=0)
    every = measure(population, rows, [*seeds] * len(rules), outputs, batch=batch)
    return [every.some(number * count, (number + 1) * count) for number in range(len(rules))]


def summarise(outcomes: Scores, looks: int = 1) -> Summary:
    """Means over the lifetimes with bootstrap intervals.

    Args:
        outcomes: of a rule.
        looks: rules looked at beside each other: the intervals hold for all together (Bonferroni).
    """
    level = for_all(looks)
    return Summary(
        accuracy=float(np.mean(outcomes.accuracy)),
        accuracy_interval=bootstrap_interval(outcomes.accuracy, level),
        loss=outcomes.mean_loss,
        loss_interval=bootstrap_interval(outcomes.loss, level),
        lifetimes=len(outcomes.seeds),
        diverged=sum(outcomes.diverged),
    )


def for_all(looks: int) -> float:
    """The level of each of so many intervals that holds for all of them together (Bonferroni)."""
    return 1 - (1 - LEVEL) / looks


def learns(outcomes: Scores, ways: int) -> bool:
    """Whether a rule does better than no training, and than chance.

    More lifetimes end better than they began than not, and the accuracy lies above chance, both by
    95 % intervals. Either alone is not learning: a network whose weights have decayed to nothing
    answers alike whatever it sees, which is a better loss than that of random weights, and one that
    has found out which classes there are answers right as often as there are few of them. Lifetimes
    are counted, since a mean of scored losses falls where half of them rise.

    Args:
        outcomes: of the rule, two lifetimes or more.
        ways: classes of a task, which fix what chance is.
    """
    better = stats.binomtest(
        len(outcomes.diverged) - sum(outcomes.diverged), len(outcomes.diverged)
    )
    share = better.proportion_ci(LEVEL).low
    return bool(share > 0.5 and bootstrap_interval(outcomes.accuracy)[0] > 1 / ways)


def untrained(outcomes: Scores) -> Scores:
    """The same lifetimes without training: losses as they were; no accuracy is known (NaN)."""
    unknown = (float("nan"),) * len(outcomes.seeds)
    learned = (False,) * len(outcomes.seeds)
    return Scores(outcomes.seeds, outcomes.initial_loss, unknown, outcomes.initial_loss, learned)


def compare(
    first: Scores,
    second: Scores,
    of: Literal["loss", "accuracy"] = "loss",
    level: float = LEVEL,
) -> Difference:
    """The mean of first minus second over the lifetimes that both ran, with an interval.

    Raises:
        ValueError: they did not run the same lifetimes.
    """
    if first.seeds != second.seeds:
        raise ValueError("paired differences need the same seeds in the same order")
    differences = np.subtract(getattr(first, of), getattr(second, of))
    return Difference(float(differences.mean()), t_interval(differences.tolist(), level))


def chance(first: Scores, second: Scores, of: Literal["loss", "accuracy"] = "loss") -> float:
    """How likely a mean difference as large as this is where there is none: Student's paired test.

    Raises:
        ValueError: they did not run the same lifetimes, or fewer than two.
    """
    if first.seeds != second.seeds:
        raise ValueError("paired differences need the same seeds in the same order")
    _at_least_two(first.loss)
    differences = np.subtract(getattr(first, of), getattr(second, of))
    error = float(stats.sem(differences))
    if error == 0:  # the same rule twice, or a difference without any spread
        return 1.0 if differences.mean() == 0 else 0.0
    return float(2 * stats.t.sf(abs(differences.mean()) / error, len(differences) - 1))


def holm(chances: Sequence[float]) -> list[float]:
    """Probabilities of single tests made to hold for all of them (Holm 1979).

    What is below a level then is no false alarm with that probability, for all tests together,
    whatever hangs on what.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    found = [0.0] * len(chances)
    before = 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=lambda i: chances[i])):
        before = min(1.0, max(before, (len(chances) - rank) * chances[place]))
        found[place] = before
    return found


def clearly_below(first: Scores, second: Scores, bound: float) -> bool:
    """Whether first costs certainly less than `bound` more than second, by the mean loss.

    One look at the paired differences: the upper Student limit at `CERTAIN` lies below the bound.
    A rule that really costs as much as the bound passes one time in a hundred where differences
    are normal or have a longer tail to the left, as those of real lifetimes do, and three in a
    hundred where they are as skewed to the right as an exponential (from 50 tasks on). What no
    look at a sample can exclude is a rare catastrophe that is not in it: with 2 % of the lifetimes
    3 nats worse, 8 in a hundred pass at 200 tasks.

    Raises:
        ValueError: they did not run the same lifetimes, or fewer than two.
    """
    if first.seeds != second.seeds:
        raise ValueError("paired differences need the same seeds in the same order")
    _at_least_two(first.loss)
    differences = np.subtract(first.loss, second.loss)
    margin = stats.sem(differences) * stats.t.ppf(CERTAIN, len(differences) - 1)
    return bool(differences.mean() + margin < bound)


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's interval of the mean; right for a few refits and for many paired differences.

    Raises:
        ValueError: fewer than two values.

    Example:
        >>> t_interval([1.0, 1.0, 1.0])
        (1.0, 1.0)
    """
    _at_least_two(values)
    mean = float(np.mean(values))
    half = float(stats.sem(values) * stats.t.ppf((1 + level) / 2, len(values) - 1))
    return mean - half, mean + half


def bootstrap_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Bias-corrected and accelerated bootstrap interval of the mean (Efron 1987).

    It stays within the range of the values, as an accuracy must, and follows their skew. The
    resamples are drawn from a fixed seed: the same values give the same interval.

    Raises:
        ValueError: fewer than two values.

    Example:
        >>> bootstrap_interval([0.5, 0.5])
        (0.5, 0.5)
    """
    _at_least_two(values)
    sample = np.asarray(values, dtype=np.float64)
    if np.ptp(sample) == 0:  # nothing to resample: the acceleration would be 0 / 0
        return float(sample[0]), float(sample[0])
    interval = stats.bootstrap(
        (sample,),
        np.mean,
        confidence_level=level,
        n_resamples=RESAMPLES,
        batch=1000,
        method="BCa",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _at_least_two(values: Sequence[float]) -> None:
    if len(values) < 2:
        raise ValueError(f"an interval needs two values or more, not {len(values)}")
