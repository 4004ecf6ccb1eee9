"""Figure 8: the orthonormality error (Eq. 10) for F0, eHebb, Oja's rule and backprop.

Over the meta-steps, after each lifetime, and within a lifetime at the coefficients that
meta-learning ends with. Layer 5 is left out, as in the paper. The error is summed over the query
images and not their mean, as in the authors' code, so only its course and its ratios say something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.paper.claims import (
    LEVEL,
    RESAMPLES,
    Claim,
    Finding,
    Values,
    all_of,
    below,
    bootstrap,
    judged,
    mean,
)
from benchmarks.paper.experiments import data_of, population_of
from benchmarks.paper.measures import late
from benchmarks.paper.rules import BP, EHEBB, EMNIST, FA, HIDDEN_LAYERS, OJA, experiment, runs_of
from benchmarks.paper.style import band, figure, save, smooth
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.meta import lifetime_seeds

RULES = (FA, EHEBB, OJA, BP)
#: Examples seen when a lifetime is looked at.
POINTS = tuple(range(0, 251, 10))
#: Meta-steps at the beginning, when coefficients are still near their start.
EARLY = 10


@dataclass(frozen=True, eq=False)
class Courses:
    """The errors of one rule, layers 1 … 4.

    Attributes:
        meta: after the lifetime of each meta-step, [trials, meta-steps, layers].
        life: within one lifetime, at the final coefficients of each trial,
            [trials, points, layers].
    """

    meta: Values
    life: Values


def courses(setting: Setting) -> tuple[Mapping[str, Courses], float]:
    """The errors of each rule, and the seconds that meta-learning took."""
    runs = runs_of(RULES, setting)
    found = {}
    for rule, run in runs.items():
        theta = torch.from_numpy(late(run.theta))
        wanted = experiment(rule, setting)
        lived = population_of(wanted, data_of(wanted, setting.data_root))(
            theta,
            # The same for all rules: tasks and initial weights are common to the panels.
            lifetime_seeds(setting.seed, "within a lifetime", 0, len(theta)),
            observe=("orthonormality",),
            observe_at=POINTS,
        )
        layers = len(HIDDEN_LAYERS)
        found[rule] = Courses(
            run.observed["orthonormality"][:, :, :layers],
            lived.observed["orthonormality"].double().numpy()[:, :, :layers],
        )
    return found, sum(run.seconds for run in runs.values())


# --- claims --------------------------------------------------------------------------------------


def _log_ratio(numerator: Values, denominator: Values) -> Values:
    """Decimal logarithm of a ratio of errors, which are above zero and span decades."""
    return np.asarray(np.log10(numerator / denominator))


def _falls_in_a_lifetime(found: Mapping[str, Courses]) -> Finding:
    statistic = "log10 of the error after the lifetime over that before, Oja"
    life = found[OJA].life
    change = _log_ratio(life[:, -1], life[:, 0])
    return all_of(
        statistic,
        {f"layer {layer}": below(statistic, change[:, layer - 1], 0.0) for layer in HIDDEN_LAYERS},
    )


def _falls_over_meta_steps(found: Mapping[str, Courses]) -> Finding:
    statistic = f"log10 of the error at the end over that of the first {EARLY} meta-steps, Oja"
    meta = found[OJA].meta
    change = _log_ratio(late(meta), late(meta[:, :EARLY]))
    return all_of(
        statistic,
        {f"layer {layer}": below(statistic, change[:, layer - 1], 0.0) for layer in HIDDEN_LAYERS},
    )


def _below_the_others(found: Mapping[str, Courses]) -> Finding:
    statistic = "log10 of the error under Oja over that under the other, end of meta-learning"
    ours = late(found[OJA].meta)
    return all_of(
        statistic,
        {
            f"{other}, layer {layer}": below(
                statistic, _log_ratio(ours, late(found[other].meta))[:, layer - 1], 0.0
            )
            for other in RULES
            if other != OJA
            for layer in HIDDEN_LAYERS
        },
    )


CLAIMS: tuple[Claim[Mapping[str, Courses]], ...] = (
    Claim(
        "fig8-lifetime",
        "2.2.2",
        "Under Oja's rule the weights become more and more orthonormal while the network learns",
        _falls_in_a_lifetime,
    ),
    Claim(
        "fig8-meta-steps",
        "2.2.2",
        "As Oja's coefficient is meta-learned, the orthonormality error of a trained network falls",
        _falls_over_meta_steps,
    ),
    Claim(
        "fig8-others",
        "Fig. 8",
        "The error is smaller under Oja's rule than under F0, eHebb and backprop, in every layer",
        _below_the_others,
    ),
)


# --- output --------------------------------------------------------------------------------------


def numbers(found: Mapping[str, Courses]) -> dict[str, list[Any]]:
    """Columns: one line for each rule, course and place in it; mean and interval by layer."""
    lines: list[dict[str, Any]] = []
    for rule, both in found.items():
        for course, places, values in (
            ("meta-steps", range(1, both.meta.shape[1] + 1), both.meta),
            ("examples", POINTS, both.life),
        ):
            low, high = bootstrap(values)
            middle = mean(values)
            for i, place in enumerate(places):
                line: dict[str, Any] = {"rule": rule, "course": course, "place": place}
                for layer in HIDDEN_LAYERS:
                    line[f"layer_{layer}"] = middle[i, layer - 1]
                    line[f"layer_{layer}_low"] = low[i, layer - 1]
                    line[f"layer_{layer}_high"] = high[i, layer - 1]
                lines.append(line)
    return {name: [line[name] for line in lines] for name in lines[0]}


def run(setting: Setting) -> Produced:
    """Eight panels: the rules side by side, meta-steps above, a lifetime below."""
    found, seconds = courses(setting)
    steps = next(iter(found.values())).meta.shape[1]
    caption = (
        f"Orthonormality error (Eq. 10) of layers 1 to 4, summed over the query images: above, "
        f"after the lifetime of each meta-step; below, within a lifetime at the final "
        f"coefficients. {EMNIST}; {setting.trials} trials of {steps} meta-steps, seed "
        f"{setting.seed}. Bands: {LEVEL:.0%} intervals of the mean, bootstrap with {RESAMPLES} "
        f"samples."
    )
    fig, axes = figure(2, len(RULES), sharey="row")
    for column, (rule, both) in enumerate(found.items()):
        for row, values in enumerate((both.meta, both.life)):
            ax = axes[row, column]
            for layer in HIDDEN_LAYERS:
                places = None if row == 0 else POINTS
                shown = smooth(values[:, :, layer - 1]) if row == 0 else values[:, :, layer - 1]
                band(ax, shown, f"layer {layer}", x=places)
            ax.set_yscale("log")
            ax.set_xlabel("meta-steps" if row == 0 else "examples seen")
        axes[0, column].set_title(f"({'abcd'[column]}) {rule}", loc="left")
    for row in range(2):
        axes[row, 0].set_ylabel("orthonormality error")
    axes[0, 0].legend()
    return Produced(
        caption,
        figures=save(fig, setting, "fig8", caption),
        tables=(write_csv(setting, "fig8", numbers(found)),),
        judged=judged(CLAIMS, found),
        seconds=seconds,
    )


TARGETS = {"fig8": Target("fig8", "The orthonormality error of Eq. 10", run)}
