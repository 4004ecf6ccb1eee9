"""Figures 5, 7 and S2: the rules eHebb, Oja and bio, beside feedback alignment and backprop.

Also the experiments of these rules, which other figures and Table 1 vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.paper.claims import (
    LEVEL,
    RESAMPLES,
    Claim,
    Finding,
    Values,
    above,
    all_of,
    below,
    judged,
)
from benchmarks.paper.experiments import Experiment, Records, records
from benchmarks.paper.measures import (
    SCORED,
    Runs,
    accuracy,
    angles,
    late,
    less_accurate,
    loss,
    lower_loss,
    more_accurate,
    settled,
    smaller_angles,
)
from benchmarks.paper.style import band, colour_of, figure, save, smooth
from benchmarks.paper.tables import over_meta_steps, write_csv
from benchmarks.paper.targets import Produced, Setting, Target

F0 = ("F0", "-e_post*y_pre")
F2 = ("F2", "-e_post*e_pre")
F9 = ("F9", "y_post*y_pre - y_post*sum_post(y_post*W)")

BP, FA, EHEBB, OJA, BIO = "backprop", "feedback alignment", "eHebb", "Oja", "bio"
TERMS: Mapping[str, tuple[tuple[str, str], ...]] = {
    BP: (F0,),
    FA: (F0,),
    EHEBB: (F0, F2),
    OJA: (F0, F9),
    BIO: (F0, F2, F9),
}
#: Layers with an angle of their own: e_L is the same whatever the pathway.
HIDDEN_LAYERS = (1, 2, 3, 4)
#: A reduction of an angle by more is great, by less slight, in degrees.
GREAT_REDUCTION = 10.0
#: Meta-steps that "about 200" does not exceed.
ABOUT_200 = 250
#: Accuracies closer than this are similar.
SIMILAR = 0.03


def experiment(rule: str, setting: Setting, **changes: Any) -> Experiment:
    """The meta-learning of a rule as the paper has it, or with some fields changed.

    Args:
        rule: a name in `TERMS`.
        setting: gives trials, meta-steps and seed.
        **changes: fields of `Experiment` that differ.
    """
    published = Experiment(
        name=rule,
        terms=TERMS[rule],
        start=(("F0", 1e-3),),
        pathway="symmetric" if rule == BP else "random",
        meta_steps=setting.steps(600),
        trials=setting.trials,
        observe=("angle", "orthonormality"),
        seed=setting.seed,
    )
    return replace(published, **changes)


def runs_of(rules: tuple[str, ...], setting: Setting) -> dict[str, Records]:
    """The courses of these rules, each by its name."""
    return {rule: records(experiment(rule, setting), setting) for rule in rules}


# --- claims --------------------------------------------------------------------------------------


def _sign(rule: str, term: str, positive: bool, runs: Runs) -> Finding:
    """Whether the final coefficient of a term has this sign."""
    place = [name for name, _ in TERMS[rule]].index(term)
    values = late(runs[rule].theta[:, :, place])
    return (above if positive else below)(f"theta of {term}, end of meta-learning", values, 0.0)


def _slightly_smaller(runs: Runs) -> Finding:
    """Whether Oja's angles are smaller than feedback alignment's, but no great deal."""
    reduction = (angles(runs[FA]) - angles(runs[OJA]))[:, : len(HIDDEN_LAYERS)]
    statistic = f"angle of {FA} minus that of {OJA}, end of meta-learning"
    smaller = above(statistic, reduction.mean(1), 0.0, "°")
    slight = {
        f"layer {layer}, less than {GREAT_REDUCTION:g}°": below(
            statistic, reduction[:, layer - 1], GREAT_REDUCTION, "°"
        )
        for layer in HIDDEN_LAYERS
    }
    return all_of(statistic, {"mean of the layers, above 0°": smaller, **slight})


def _most_in_deeper_layers(runs: Runs) -> Finding:
    """Whether bio lessens the angle more in each layer than in the one below it."""
    reduction = angles(runs[FA]) - angles(runs[BIO])
    statistic = "reduction of the angle in a layer minus that in the layer below"
    return all_of(
        statistic,
        {
            f"layer {layer}": above(
                statistic, reduction[:, layer - 1] - reduction[:, layer - 2], 0.0, "°"
            )
            for layer in HIDDEN_LAYERS[1:]
        },
    )


def _settle(runs: Runs) -> Finding:
    statistic = "meta-steps until a coefficient stays within 25 % of its final value"
    return all_of(
        statistic,
        {
            name: below(statistic, settled(runs[BIO].theta[:, :, place]), ABOUT_200, "meta-steps")
            for place, (name, _) in enumerate(TERMS[BIO])
        },
    )


def _short_of_bio(runs: Runs) -> Finding:
    return all_of(
        "eHebb against bio, end of meta-learning",
        {"accuracy": less_accurate(runs, EHEBB, BIO), "loss": lower_loss(runs, BIO, EHEBB)},
    )


def _deeper_than_oja(runs: Runs) -> Finding:
    parts = {
        f"{rule}, {name}": part
        for rule in (EHEBB, BIO)
        for name, part in smaller_angles(runs, rule, OJA, HIDDEN_LAYERS[2:], GREAT_REDUCTION).parts
    }
    return all_of(f"angle under {OJA} minus that under the rule, end of meta-learning", parts)


def _boost(rule: str, runs: Runs) -> Finding:
    return all_of(
        f"{rule} against {FA}, end of meta-learning",
        {"accuracy": more_accurate(runs, rule, FA), "loss": lower_loss(runs, rule, FA)},
    )


CLAIMS: Mapping[str, tuple[Claim[Runs], ...]] = {
    "fig5": (
        Claim(
            "fig5-improvement",
            "2.2.2",
            "eHebb learns significantly better than feedback alignment",
            partial(_boost, EHEBB),
        ),
        Claim("fig5-short-of-bio", "2.2.2", "eHebb does not reach bio", _short_of_bio),
        Claim(
            "fig5-alignment-bio",
            "2.2.2",
            "Errors are better aligned with backprop's under eHebb than under bio",
            lambda runs: smaller_angles(runs, EHEBB, BIO, HIDDEN_LAYERS),
        ),
        Claim(
            "fig5-alignment",
            "2.2.2",
            "eHebb aligns errors with backprop's better than feedback alignment does",
            lambda runs: smaller_angles(runs, EHEBB, FA, HIDDEN_LAYERS),
        ),
        Claim(
            "fig5-sign",
            "2.2.2",
            "The term F2 pushes W towards the transpose of B, so its coefficient is negative",
            lambda runs: _sign(EHEBB, "F2", False, runs),
        ),
        Claim(
            "fig5-backprop",
            "3",
            "eHebb imitates backprop and matches it at best",
            lambda runs: less_accurate(runs, EHEBB, BP),
        ),
    ),
    "fig7": (
        Claim(
            "fig7-improvement",
            "2.2.2",
            "Oja's term makes feedback alignment more accurate, with a significantly lower loss",
            partial(_boost, OJA),
        ),
        Claim(
            "fig7-alignment",
            "2.2.2",
            "Under Oja's rule angles are only slightly smaller than under feedback alignment",
            _slightly_smaller,
        ),
        Claim(
            "fig7-deeper",
            "2.2.2",
            "Angles in deeper layers are much smaller under eHebb and bio than under Oja's rule",
            _deeper_than_oja,
        ),
        Claim(
            "fig7-sign",
            "2.2.2",
            "The coefficient of Oja's term is positive: Hebbian growth with a stabilising decay",
            lambda runs: _sign(OJA, "F9", True, runs),
        ),
    ),
    "figS2": (
        Claim(
            "figS2-improvement",
            "Supplement, performance of bio",
            "bio learns significantly better than feedback alignment",
            partial(_boost, BIO),
        ),
        Claim(
            "figS2-alignment",
            "Supplement, performance of bio",
            "bio aligns errors with backprop's better than feedback alignment does",
            lambda runs: smaller_angles(runs, BIO, FA, HIDDEN_LAYERS),
        ),
        Claim(
            "figS2-deeper",
            "Supplement, performance of bio",
            "Angles are lessened most in the deeper layers",
            _most_in_deeper_layers,
        ),
        Claim(
            "figS2-settled",
            "Supplement, performance of bio",
            "The coefficients of bio converge in about 200 meta-steps",
            _settle,
        ),
        Claim(
            "figS2-signs",
            "2.2.2",
            "bio descends (F0 above zero), pushes W to Bᵀ (F2 below) and has Oja's term (F9 above)",
            lambda runs: all_of(
                "final coefficients of bio",
                {
                    "F0": _sign(BIO, "F0", True, runs),
                    "F2": _sign(BIO, "F2", False, runs),
                    "F9": _sign(BIO, "F9", True, runs),
                },
            ),
        ),
        Claim(
            "figS2-backprop",
            "3",
            "Thanks to Oja's term, learning with fixed feedback may outperform the symmetric case",
            lambda runs: more_accurate(runs, BIO, BP),
        ),
    ),
}


# --- output --------------------------------------------------------------------------------------


def courses(runs: Runs) -> dict[str, Values]:
    """What the panels show of each rule, by column of the table: [trials, meta-steps]."""
    columns: dict[str, Values] = {}
    for rule, run in runs.items():
        name = rule.replace(" ", "_")
        columns |= {f"{name}_accuracy": accuracy(run), f"{name}_loss": loss(run)}
        for layer in HIDDEN_LAYERS:
            columns[f"{name}_angle_{layer}"] = run.observed["angle"][:, :, layer - 1]
        for place, (term, _) in enumerate(TERMS[rule]):
            columns[f"{name}_theta_{term}"] = run.theta[:, :, place]
    return columns


def draw(name: str, rule: str, runs: Runs, setting: Setting, caption: str) -> Produced:
    """Four panels as in the paper: accuracy, loss, angles, coefficients."""
    fig, axes = figure(2, 2)
    panels = np.ravel(axes)
    for other in (BP, FA, rule):
        band(panels[0], smooth(accuracy(runs[other])), other)
        band(panels[1], smooth(loss(runs[other])), other)
    for layer in HIDDEN_LAYERS:
        values = smooth(runs[rule].observed["angle"][:, :, layer - 1])
        band(panels[2], values, f"α{layer}", colour_of(f"layer {layer}"))
    for place, (term, _) in enumerate(TERMS[rule]):
        band(panels[3], 1e3 * runs[rule].theta[:, :, place], term)
    labels = ("query accuracy", "query loss (nats)", "angle to backprop (degrees)", "θ (10⁻³)")
    for letter, ax, label in zip("abcd", panels, labels, strict=True):
        ax.set_title(f"({letter})", loc="left")
        ax.set_xlabel("meta-steps")
        ax.set_ylabel(label)
    # Room above the lines for the legends.
    panels[0].set_ylim(0, 1)
    panels[1].set_ylim(0, 5)
    panels[2].set_ylim(0, 120)
    panels[2].set_yticks((0, 30, 60, 90, 120))
    for ax, columns in zip(panels, (2, 2, 4, 1), strict=True):
        ax.legend(ncols=columns)
    return Produced(caption, figures=save(fig, setting, name, caption))


def caption_of(title: str, runs: Runs, setting: Setting, data: str) -> str:
    """What was run, for below the figure."""
    diverged = ", ".join(f"{rule} {int(run.diverged.sum())}" for rule, run in runs.items())
    steps = max(run.loss.shape[1] for run in runs.values())
    return (
        f"{title} {data}; {setting.trials} trials of {steps} meta-steps of one task, seed "
        f"{setting.seed}. Lines: means over trials, (a) to (c) also over 10 "
        f"meta-steps; bands: {LEVEL:.0%} intervals, bootstrap with "
        f"{RESAMPLES} samples. Diverged lifetimes (of {setting.trials * steps:,}): {diverged}. "
        f"{SCORED}"
    )


EMNIST = "EMNIST (balanced), 5 classes of 50 + 10 images a task, 784-170-130-100-70-47"
_RULES = {"fig5": EHEBB, "fig7": OJA, "figS2": BIO}
_TITLES = {
    "fig5": "eHebb (F0, F2)",
    "fig7": "Oja's rule (F0, F9)",
    "figS2": "bio (F0, F2, F9)",
}


def run(name: str, setting: Setting) -> Produced:
    """Meta-learn the rule of a figure and the ones that it is compared with, and draw it."""
    rule = _RULES[name]
    runs = runs_of((BP, FA, EHEBB, OJA, BIO), setting)
    shown = {other: runs[other] for other in (BP, FA, rule)}
    caption = caption_of(f"{_TITLES[name]} beside {FA} and {BP}.", shown, setting, EMNIST)
    return replace(
        draw(name, rule, shown, setting, caption),
        tables=(write_csv(setting, name, over_meta_steps(courses(shown))),),
        judged=judged(CLAIMS[name], runs),
        seconds=sum(r.seconds for r in runs.values()),
    )


TARGETS = {name: Target(name, title, partial(run, name)) for name, title in _TITLES.items()}
