"""Equation S.2: is the mean of e_l e_{l-1}ᵀ proportional to B_{l,l-1}ᵀ, and does W go there?

Simulated under the assumptions of the Supplementary Notes; measured in networks before and after
they learned EMNIST tasks by feedback alignment, eHebb and bio; and, in networks of bio, with the
assumptions given up one at a time. See `benchmarks.paper.expectation`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.paper import style
from benchmarks.paper.claims import (
    Claim,
    Finding,
    Values,
    above,
    all_of,
    bootstrap,
    judged,
    mean,
    near,
)
from benchmarks.paper.expectation import (
    ALONE,
    DEPARTURE_NETWORKS,
    DEPARTURE_SAMPLES,
    IDEAL,
    SAMPLES,
    TOGETHER,
    departures_of,
    ideal_of,
    networks_of,
    predicted_cosine,
)
from benchmarks.paper.experiments import Experiment, data_of, records
from benchmarks.paper.measures import late
from benchmarks.paper.rules import experiment
from benchmarks.paper.store import fingerprint, kept
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.data import Data
from rulesearch.figures.look import BLACK
from rulesearch.meta import lifetime_seeds

#: Rules by which the networks learn; the Hebbian-like term is in the last two.
RULES = ("feedback alignment", "eHebb", "bio")
#: Networks that have not learned yet.
START = "before learning"
#: The networks in which the assumptions are given up one at a time.
LOOKED_AT = "bio"
#: Below this cosine, 26 degrees, two matrices are not called proportional.
PROPORTIONAL = 0.9


@dataclass(frozen=True, eq=False)
class Cosines:
    """All that is measured, as cosines, with trials first.

    Attributes:
        sizes: of the layers, input first.
        ideal: of the mean of e_l e_{l-1}ᵀ with B_{l,l-1}ᵀ under all assumptions, layers 1 … L-1,
            [trials, layers, samples], at `SAMPLES`.
        errors: the same in networks, by rule, layers 1 … L, [trials, layers]; of the output layer
            Eq. S.2 does not speak.
        weights: of the weights themselves with B_{l,l-1}ᵀ, likewise.
        departures: with assumptions given up, by name, layers 1 … L-1, [networks, layers].
    """

    sizes: tuple[int, ...]
    ideal: Values
    errors: Mapping[str, Values]
    weights: Mapping[str, Values]
    departures: Mapping[str, Values]

    @property
    def layers(self) -> range:
        """Those of which Eq. S.2 speaks, 1 … L-1."""
        return range(1, len(self.sizes) - 1)


def cosines(setting: Setting) -> Cosines:
    """All of it, each part read back where it was made before."""
    asked = {rule: experiment(rule, setting) for rule in RULES}
    one = asked[LOOKED_AT]
    data = data_of(one, setting.data_root)
    sizes = (data.inputs, *one.hidden, data.classes)
    seeds = lifetime_seeds(setting.seed, "equation S.2", 0, setting.trials)
    few = seeds[:DEPARTURE_NETWORKS]
    key = (sizes, seeds)
    ideal = kept(
        setting,
        "Eq. S.2 under its assumptions",
        ("ideal", *key, SAMPLES),
        partial(ideal_of, sizes, SAMPLES, seeds),
    )["ideal"]
    errors: dict[str, Values] = {}
    weights: dict[str, Values] = {}
    departures: dict[str, Values] = {}
    known = (fingerprint(data.search), one.shape, *key)
    for rule, asked_for in asked.items():
        pool = asked_for.pool
        theta = coefficients(asked_for, setting)
        run = partial(networks_of, pool, theta, data.search, one.shape, sizes, seeds)
        doing = f"Eq. S.2 in networks that learn by {rule}"
        seen = kept(setting, doing, ("networks", rule, theta, *known), run)
        errors.setdefault(START, seen["errors before"])
        weights.setdefault(START, seen["weights before"])
        errors[rule], weights[rule] = seen["errors"], seen["weights"]
        if rule == LOOKED_AT:
            give_up = partial(departures_of, pool, theta, data.search, one.shape, sizes, few)
            doing = "Eq. S.2 without its assumptions"
            departures = kept(
                setting, doing, ("departures", rule, theta, *known, few, DEPARTURE_SAMPLES), give_up
            )
    return Cosines(sizes, ideal, errors, weights, departures)


def coefficients(asked: Experiment, setting: Setting) -> tuple[float, ...]:
    """Meta-learned coefficients: the mean over trials and the last meta-steps."""
    return tuple(float(value) for value in mean(late(records(asked, setting).theta)))


# --- claims --------------------------------------------------------------------------------------


def expected(seen: Cosines) -> Values:
    """What sampling alone leaves of a cosine of 1, [layers, samples]."""
    return np.array([
        [predicted_cosine(n, *seen.sizes[layer : layer + 2]) for n in SAMPLES]
        for layer in seen.layers
    ])  # fmt: skip


def _ideal(seen: Cosines) -> Finding:
    ratio = seen.ideal[:, :, -1] / expected(seen)[:, -1]
    return all_of(
        f"cosine of the mean of {SAMPLES[-1]} samples with Bᵀ, as a share of what sampling alone "
        "leaves of 1 (within 0.02 of 1)",
        {f"layer {layer}": near("", ratio[:, i], 1, 0.02) for i, layer in enumerate(seen.layers)},
    )


def slopes(ideal: Values) -> Values:
    """Slope of log tan² of the angle against the logarithm of the samples, [trials, layers]."""
    tangents = np.log(1 / ideal**2 - 1)
    numbers = np.log(SAMPLES) - np.log(SAMPLES).mean()
    return np.asarray((tangents * numbers).sum(-1) / (numbers**2).sum())


def _scaling(seen: Cosines) -> Finding:
    found = slopes(seen.ideal)
    return all_of(
        "slope of log tan² of the angle to Bᵀ against log samples (within 0.1 of -1: the angle "
        "goes to zero as samples are added)",
        {f"layer {layer}": near("", found[:, i], -1, 0.1) for i, layer in enumerate(seen.layers)},
    )


def _in_networks(limit: float, seen: Cosines) -> Finding:
    return all_of(
        f"cosine of the mean of e_l e_(l-1)ᵀ with Bᵀ, after learning by eHebb, above {limit:g}",
        {
            f"layer {layer}": above("", seen.errors["eHebb"][:, layer - 1], limit)
            for layer in seen.layers
        },
    )


def _weights_go_there(seen: Cosines) -> Finding:
    difference = seen.weights["eHebb"] - seen.weights["feedback alignment"]
    return all_of(
        "cosine of W with Bᵀ after learning, eHebb minus feedback alignment, above 0",
        {
            f"layer {layer}": above("", difference[:, layer - 1], 0.0)
            for layer in seen.layers
        },
    )  # fmt: skip


CLAIMS: tuple[Claim[Cosines], ...] = (
    Claim(
        "eqS2-ideal",
        "Supplement, Eq. S.2",
        "In a linear network with independent errors, the mean of e_l e_(l-1)ᵀ given B_(l,l-1) is "
        "proportional to its transpose",
        _ideal,
    ),
    Claim(
        "eqS2-samples",
        "Supplement, Eq. S.2",
        "It is so in the limit: what is missing at a number of samples is sampling error",
        _scaling,
    ),
    Claim(
        "eqS2-networks",
        "2.2.2, Hebbian-style error term",
        "In networks that learn, the term e_l e_(l-1)ᵀ points to the side of B_(l,l-1)ᵀ",
        partial(_in_networks, 0.0),
    ),
    Claim(
        "eqS2-reasonable",
        "2.2.2, Hebbian-style error term",
        "The assumptions are reasonable: in networks that learn, its mean is about proportional "
        "to B_(l,l-1)ᵀ",
        partial(_in_networks, PROPORTIONAL),
    ),
    Claim(
        "eqS2-weights",
        "2.2.2, Hebbian-style error term",
        "The term pushes W_(l-1,l) towards the transpose of B_(l,l-1)",
        _weights_go_there,
    ),
)


# --- figure, tables, target ----------------------------------------------------------------------


@style.look()
def draw(seen: Cosines) -> Figure:
    """The ideal case by samples; networks by layer; the assumptions given up, alone, together."""
    figure, axes = style.figure(2, 2, height=2.5)
    ideal, networks, alone, together = axes.ravel()
    sampling = expected(seen)
    for place, layer in enumerate(seen.layers):
        colour = style.colour_of(f"layer {layer}")
        _points(ideal, SAMPLES, seen.ideal[:, place], f"layer {layer}", colour)
        ideal.plot(SAMPLES, sampling[place], color=colour, linestyle=":", linewidth=0.8)
        for panel, names in ((alone, ALONE), (together, TOGETHER)):
            values = np.stack([seen.departures[name] for name in names], axis=1)[:, :, place]
            _points(panel, range(len(names)), values, f"layer {layer}", colour, line="")
    ideal.set(
        title="(a) all assumptions hold (dotted: by theory)",
        xscale="log",
        xlabel="samples",
        ylabel="cosine of the mean with Bᵀ",
    )
    ideal.legend()
    for rule, values in seen.errors.items():
        inner = values[:, : len(seen.layers)]
        colour = BLACK if rule == START else style.colour_of(rule)
        _points(networks, seen.layers, inner, rule, colour)
    networks.set(
        title="(b) in networks",
        xlabel="layer l",
        ylabel="cosine of the mean with Bᵀ",
        xticks=list(seen.layers),
    )
    networks.legend()
    for panel, names, title in (
        (alone, ALONE, "(c) without one assumption"),
        (together, TOGETHER, "(d) without one after the other"),
    ):
        panel.set(title=title, ylabel="cosine of the mean with Bᵀ", xmargin=0.1)
        panel.set_xticks(range(len(names)), names, rotation=25, ha="right")
    for panel in axes.ravel():
        panel.axhline(0, color="black", linewidth=0.5)
        panel.set_ylim(-0.15, 1.05)
    return figure


def _points(
    axes: Axes,
    x: Sequence[float],
    values: Values,
    label: str,
    colour: str,
    line: Literal["-", ""] = "-",
) -> None:
    """Means over trials, values [trials, points], with 98 % intervals as bars."""
    middle, (low, high) = mean(values), bootstrap(values)
    axes.errorbar(
        x,
        middle,
        yerr=np.maximum(0, [middle - low, high - middle]),
        marker="o",
        linestyle=line,
        markersize=2.5,
        capsize=1.5,
        linewidth=0.9,
        elinewidth=0.7,
        color=colour,
        label=label,
    )


def rows(seen: Cosines) -> list[tuple[str, str, int, int | None, Values]]:
    """All of the cosines: what, in which case, layer, samples; and the values, [trials]."""
    found: list[tuple[str, str, int, int | None, Values]] = []
    for i, layer in enumerate(seen.layers):
        for j, number in enumerate(SAMPLES):
            found.append(("mean of errors", "ideal", layer, number, seen.ideal[:, i, j]))
        for name, values in seen.departures.items():
            found.append(("mean of errors", f"without: {name}", layer, None, values[:, i]))
    for what, cases in (("mean of errors", seen.errors), ("weights", seen.weights)):
        for case, values in cases.items():
            for i in range(values.shape[1]):
                found.append((what, case, i + 1, None, values[:, i]))
    return found


def columns(seen: Cosines) -> dict[str, list[object]]:
    """A row for each of them: mean and 98 % interval."""
    table: list[tuple[object, ...]] = []
    for *case, values in rows(seen):
        low, high = bootstrap(values)
        table.append((*case, float(mean(values)), float(low), float(high)))
    names = ("matrix", "case", "layer", "samples", "cosine with B transposed", "low", "high")
    return {name: [row[i] for row in table] for i, name in enumerate(names)}


def caption(seen: Cosines, data: Data, setting: Setting) -> str:
    """What was run, in words."""
    shape = experiment(LOOKED_AT, setting).shape
    few = len(seen.departures[IDEAL])
    return (
        "Cosine between the mean of e_l e_(l-1)ᵀ and the transpose of B_(l,l-1). (a) Simulated "
        "under the assumptions of Eq. S.2. (b) Over the "
        f"{shape.ways * shape.per_class} images of a {shape.ways}-way task ({data.name}, "
        f"{data.search.source}), in networks {'-'.join(map(str, seen.sizes))} before and after "
        "they learned it online, by the mean coefficients of the last meta-steps of "
        f"{setting.meta_steps}. (c) Networks of {LOOKED_AT} with one assumption given up, (d) with "
        f"one after the other, in {few} networks, about {DEPARTURE_SAMPLES} samples; with the last "
        f"one it is the network. Means over {setting.trials} networks otherwise, with 98 % "
        f"bootstrap intervals. Seed {setting.seed}."
    )


def _make(setting: Setting) -> Produced:
    begun = time.perf_counter()
    seen = cosines(setting)
    told = caption(seen, data_of(experiment(LOOKED_AT, setting), setting.data_root), setting)
    return Produced(
        caption=told,
        figures=tuple(style.save(draw(seen), setting, "eqS2", told)),
        tables=(write_csv(setting, "eqS2", columns(seen)),),
        judged=judged(CLAIMS, seen),
        seconds=time.perf_counter() - begun,
    )


TARGETS: Mapping[str, Target] = {
    "eqS2": Target("eqS2", "The mean of e_l e_(l-1)ᵀ, and the feedback matrix", _make),
}
