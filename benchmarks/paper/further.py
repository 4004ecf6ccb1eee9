"""Claims of the text without a figure: pure Hebb, poor initial weights, Oja in the last layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.paper.claims import (
    LEVEL,
    RESAMPLES,
    Claim,
    Finding,
    Values,
    above,
    all_of,
    below,
    bootstrap,
    judged,
    mean,
    near,
)
from benchmarks.paper.experiments import Experiment, Records, data_of, population_of, records
from benchmarks.paper.measures import accuracy, late, more_accurate
from benchmarks.paper.protocols import PROTOCOLS, TITLES, Protocol, pool_experiment
from benchmarks.paper.rules import (
    BIO,
    BP,
    EMNIST,
    F9,
    FA,
    HIDDEN_LAYERS,
    OJA,
    SIMILAR,
    TERMS,
    experiment,
)
from benchmarks.paper.style import band, colour_of, figure, save, smooth
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.meta import lifetime_seeds
from rulesearch.population import Population

# --- pure Hebb (4.2) -----------------------------------------------------------------------------

HEBB = "Hebb"
PURE: Mapping[str, tuple[str, str]] = {HEBB: (HEBB, "y_post*y_pre"), OJA: F9}
#: Coefficients of the one term; the middle one is about what meta-learning gives Oja's.
RATES = (1e-4, 1e-3, 1e-2)
#: Examples seen when the networks are looked at.
POINTS = (0, 1, 2, 5, 10, 20, 50, 100, 150, 200, 250)
#: Growth of the weights' norm by more is a blow-up, at any rate.
BLOWN_UP = 10.0

#: (rule, rate) -> norm of all weights over the norm before learning, [trials, points]; inf where
#: it is not finite.
Growth = Mapping[tuple[str, float], Values]


def growth_under(
    population: Population, rate: float, seeds: Sequence[int], points: Sequence[int] = POINTS
) -> Values:
    """How the weights grow when a lone term rules them.

    Args:
        population: of networks whose pool is that term.
        rate: its coefficient.
        seeds: of the lifetimes.
        points: examples seen when the networks are looked at; the first is 0.

    Returns:
        Norm of all weights over that at the first point, [lifetimes, points]; inf where it is not
        finite.
    """
    theta = torch.full((len(seeds), 1), rate, dtype=torch.float64)
    lived = population(theta, seeds, observe=("weight_norm",), observe_at=tuple(points))
    norms = np.linalg.norm(lived.observed["weight_norm"].double().numpy(), axis=-1)
    ratio = norms / norms[:, :1]
    return np.where(np.isfinite(ratio), ratio, math.inf)


def growth(setting: Setting) -> Growth:
    """The growth under each lone term at each rate, on the same tasks for all."""
    seeds = lifetime_seeds(setting.seed, "a lone term", 0, setting.trials)
    found: dict[tuple[str, float], Values] = {}
    for rule, term in PURE.items():
        alone = experiment(FA, setting, name=rule, terms=(term,), start=())
        population = population_of(alone, data_of(alone, setting.data_root))
        found |= {(rule, rate): growth_under(population, rate, seeds) for rate in RATES}
    return found


def _logs(growth: Values) -> Values:
    """Decimal logarithm; what overflowed counts as the largest float32, 38.5."""
    return np.asarray(np.log10(np.minimum(growth, np.finfo(np.float32).max)))


def _largest(growth: Values) -> Values:
    """Of each trial, as a decimal logarithm, [trials]."""
    return _logs(growth.max(1))


def _hebb_blows_up(found: Growth) -> Finding:
    statistic = "log10 of the largest growth of the weights' norm in 250 examples"
    limit = math.log10(BLOWN_UP)
    return all_of(
        statistic,
        {
            f"{rule}, rate {rate:g}": judge(statistic, _largest(found[rule, rate]), limit)
            for rule, judge in ((HEBB, above), (OJA, below))
            for rate in RATES
        },
    )


# --- poor initial weights, and the last layer ----------------------------------------------------

#: Initial weights are this times Xavier's.
GAINS = (0.3, 3.0)
#: Meta-steps of the runs with poor initial weights: one or two coefficients are learned.
GAIN_STEPS = 200
BOTH = "backprop with Oja"
HIDDEN_ONLY = "Oja in the hidden layers only"
#: Whose colour they have, none of which is in the same panel.
LOOKS = {BOTH: "bio", HIDDEN_ONLY: "eHebb"}
#: A loss of accuracy by less does no harm.
HARMLESS = 0.02


def gain_experiment(rule: str, gain: float, setting: Setting) -> Experiment:
    """Backprop alone or with Oja's term, from weights of this gain."""
    return experiment(
        BP,
        setting,
        name=f"{rule}, initial weights × {gain:g}",
        terms=TERMS[OJA if rule == BOTH else BP],
        weight_gain=gain,
        meta_steps=setting.steps(GAIN_STEPS),
        observe=("angle",),
    )


def hidden_only(setting: Setting) -> Experiment:
    """Oja's rule with its term left out in the output layer."""
    return experiment(OJA, setting, name=HIDDEN_ONLY, where=(("F9", HIDDEN_LAYERS),))


@dataclass(frozen=True, eq=False)
class Found:
    """All that the claims here are about.

    Attributes:
        growth: under a lone term.
        gains: gain of the initial weights -> courses of backprop, alone and with Oja's term.
        last: courses of Oja's rule, with and without its term in the output layer.
        pools: protocol -> courses of the whole pool with L1, as in Fig. 4.
        bio: courses of bio.
    """

    growth: Growth
    gains: Mapping[float, Mapping[str, Records]]
    last: Mapping[str, Records]
    pools: Mapping[Protocol, Records]
    bio: Records

    @property
    def seconds(self) -> float:
        """Of all meta-learning."""
        runs = [self.bio, *self.pools.values(), *self.last.values()]
        runs += [run for both in self.gains.values() for run in both.values()]
        return sum(run.seconds for run in runs)


def find(setting: Setting) -> Found:
    """Run it all."""
    return Found(
        growth(setting),
        {
            gain: {
                rule: records(gain_experiment(rule, gain, setting), setting) for rule in (BP, BOTH)
            }
            for gain in GAINS
        },
        {
            OJA: records(experiment(OJA, setting), setting),
            HIDDEN_ONLY: records(hidden_only(setting), setting),
        },
        {protocol: records(pool_experiment(setting, protocol), setting) for protocol in PROTOCOLS},
        records(experiment(BIO, setting), setting),
    )


def _helps(gain: float, found: Found) -> Finding:
    """Whether backprop is more accurate with Oja's term, from weights of this gain."""
    return more_accurate(found.gains[gain], BOTH, BP)


def _like_the_pool(found: Found) -> Finding:
    """Whether the pool ends as accurate as bio; its trials are others, so there are no pairs."""
    bio = float(mean(late(accuracy(found.bio))))
    statistic = f"accuracy of the pool, last 100 meta-steps, within {SIMILAR:g} of bio's {bio:.3f}"
    return all_of(
        statistic,
        {
            TITLES[protocol]: near(statistic, late(accuracy(pool)), bio, SIMILAR)
            for protocol, pool in found.pools.items()
        },
    )


CLAIMS: tuple[Claim[Found], ...] = (
    Claim(
        "further-pool",
        "2.2.2",
        "With three terms, bio does as well as the whole pool of ten",
        _like_the_pool,
    ),
    Claim(
        "further-hebb",
        "4.2",
        "Pure Hebb, y_post y_preᵀ, blows up; Oja's rule, which has a decay as well, does not",
        lambda found: _hebb_blows_up(found.growth),
    ),
    *(
        Claim(
            f"further-initial-weights-{gain:g}",
            "3",
            f"Oja's term helps backprop too from poor initial weights ({gain:g} times Xavier's)",
            partial(_helps, gain),
        )
        for gain in GAINS
    ),
    Claim(
        "further-last-layer",
        "2.2.2",
        f"Oja's term in the output layer does no harm (costs less than {HARMLESS:g} of accuracy)",
        lambda found: more_accurate(found.last, OJA, HIDDEN_ONLY, -HARMLESS),
    ),
)


# --- output --------------------------------------------------------------------------------------


def numbers(found: Found) -> dict[str, list[Any]]:
    """Columns: mean and interval of what the claims compare, one line each."""
    lines: list[tuple[Any, ...]] = []

    def line(claim: str, case: str, quantity: str, values: Values) -> None:
        low, high = bootstrap(values)
        lines.append((claim, case, quantity, float(mean(values)), float(low), float(high)))

    for (rule, rate), values in found.growth.items():
        line("hebb", f"{rule}, rate {rate:g}", "log10 of the largest growth", _largest(values))
    for name, run in ((BIO, found.bio), *found.pools.items()):
        line("pool", name, "accuracy at the end", late(accuracy(run)))
    for gain, both in found.gains.items():
        for rule, run in both.items():
            line("initial weights", f"{rule}, {gain:g}", "accuracy at the end", late(accuracy(run)))
    for rule, run in found.last.items():
        line("last layer", rule, "accuracy at the end", late(accuracy(run)))
    names = ("claim", "case", "quantity", "mean", "low", "high")
    return {
        name: list(column) for name, column in zip(names, zip(*lines, strict=True), strict=True)
    }


def run(setting: Setting) -> Produced:
    """Four panels: growth under lone terms, two gains, the last layer."""
    found = find(setting)
    diverged = ", ".join(
        f"{rule} × {gain:g} {np.mean(course.diverged) / course.lifetimes:.0%}"
        for gain, both in found.gains.items()
        for rule, course in both.items()
    )
    caption = (
        f"(a) Norm of all weights over that before learning, under a lone term: mean of the "
        f"logarithm over trials; 38.5 is overflow. (b, c) Backprop with "
        f"and without Oja's term from initial weights of {GAINS[0]:g} and {GAINS[1]:g} times "
        f"Xavier's, {setting.steps(GAIN_STEPS)} meta-steps; lifetimes that diverged: {diverged}. "
        f"(d) Oja's rule with and without its "
        f"term in the output layer, {setting.steps(600)} meta-steps. {EMNIST}; {setting.trials} "
        f"trials, seed {setting.seed}. Bands: {LEVEL:.0%} intervals of the mean, bootstrap with "
        f"{RESAMPLES} samples."
    )
    fig, axes = figure(2, 2)
    panels = np.ravel(axes)
    for rule, marker in ((HEBB, "o"), (OJA, "s")):
        for rate, line in zip(RATES, (":", "--", "-"), strict=True):
            panels[0].plot(
                POINTS,
                _logs(found.growth[rule, rate]).mean(0),
                linestyle=line,
                marker=marker,
                markersize=2.5,
                color=colour_of(rule),
                label=f"{rule}, {rate:g}",
            )
    panels[0].set_xlabel("examples seen")
    panels[0].set_ylabel("log10 of growth of the weights")
    shown_runs = (found.gains[GAINS[0]], found.gains[GAINS[1]], found.last)
    for ax, runs in zip(panels[1:], shown_runs, strict=True):
        for rule, course in runs.items():
            like = LOOKS.get(rule)
            band(ax, smooth(accuracy(course)), rule, None if like is None else colour_of(like))
        ax.set_xlabel("meta-steps")
        ax.set_ylabel("query accuracy")
    for letter, ax in zip("abcd", panels, strict=True):
        ax.set_title(f"({letter})", loc="left")
        ax.legend()
    return Produced(
        caption,
        figures=save(fig, setting, "further", caption),
        tables=(write_csv(setting, "further", numbers(found)),),
        judged=judged(CLAIMS, found),
        seconds=found.seconds,
    )


TARGETS = {
    "further": Target("further", "Claims without a figure: Hebb, initial weights, last layer", run)
}
