"""Figure S5: the ten-term pool without a penalty and with an L2 penalty.

Under the `paper` protocol as published, where most trials end in dead or exploded networks, and
under the `robust` one, where they do not. The paper prints no strength of its penalty; the ones
here pull as hard as an L1 penalty of about 0.05 where the coefficients learned end, at 0.005 to
0.02. Diverged lifetimes are counted in the caption and, where trials end, in the table.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from benchmarks.paper.claims import (
    LEVEL,
    RESAMPLES,
    Claim,
    Finding,
    Values,
    above,
    all_of,
    bootstrap,
    count,
    judged,
    mean,
    near,
)
from benchmarks.paper.experiments import Experiment, Records, records
from benchmarks.paper.measures import late, learning, one_sided
from benchmarks.paper.protocols import POOL_TERMS, PROTOCOLS, TITLES, Protocol, pool_experiment
from benchmarks.paper.rules import EMNIST
from benchmarks.paper.style import band, figure, save
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target

Penalty = Literal["no penalty", "L2"]
PENALTIES: tuple[Penalty, ...] = ("no penalty", "L2")
#: Of the L2 penalty, in the coefficients learned.
STRENGTH: Mapping[Protocol, float] = {"paper": 1.0, "robust": 5.0}
#: A meta-step of the robust protocol is eight lifetimes.
ROBUST_TRIALS = 4
NAMES = tuple(name for name, _ in POOL_TERMS)
#: Terms that the paper finds without a penalty, and with L1.
PUBLISHED, PUBLISHED_L1 = 7, 3

Pools = Mapping[tuple[Protocol, Penalty], Records]


def experiment(protocol: Protocol, penalty: Penalty, setting: Setting) -> Experiment:
    """The meta-learning of the pool under a protocol, with L2 or without any penalty."""
    return pool_experiment(
        setting,
        protocol,
        name=f"pool, {penalty}, {protocol} protocol",
        trials=setting.trials if protocol == "paper" else min(ROBUST_TRIALS, setting.trials),
        l1=0.0,
        l2=STRENGTH[protocol] if penalty == "L2" else 0.0,
    )


# --- claims --------------------------------------------------------------------------------------

_KEPT = (
    "of 10 terms, those whose coefficient keeps its sign in the last 100 meta-steps, in trials "
    "that learn"
)


def _seven(pools: Pools) -> Finding:
    statistic = f"{_KEPT}, within 1 of {PUBLISHED}"
    return all_of(
        statistic,
        {
            protocol: near(
                statistic, one_sided(pools[protocol, "no penalty"]), PUBLISHED, 1.0, "terms"
            )
            for protocol in PROTOCOLS
        },
    )


def sizes(run: Records) -> Values:
    """Mean size of each coefficient at the end, over the trials that learn, [terms]."""
    return mean(np.abs(late(run.theta[learning(run)])))


def _smaller(pools: Pools) -> Finding:
    statistic = "coefficients whose size is smaller with L2, of 10"

    def part(protocol: Protocol) -> Finding:
        shrunk = sizes(pools[protocol, "L2"]) < sizes(pools[protocol, "no penalty"])
        return count(statistic, int(shrunk.sum()), len(shrunk), len(shrunk), len(shrunk) // 2 + 1)

    return all_of(statistic, {protocol: part(protocol) for protocol in PROTOCOLS})


def _not_sparse(pools: Pools) -> Finding:
    return all_of(
        _KEPT,
        {
            protocol: above(_KEPT, one_sided(pools[protocol, "L2"]), PUBLISHED_L1, "terms")
            for protocol in PROTOCOLS
        },
    )


CLAIMS: tuple[Claim[Pools], ...] = (
    Claim(
        "figS5-seven",
        "Supplement, alternative penalization",
        "Without a penalty seven terms remain",
        _seven,
    ),
    Claim(
        "figS5-smaller",
        "Supplement, alternative penalization",
        "An L2 penalty makes all coefficients smaller",
        _smaller,
    ),
    Claim(
        "figS5-not-sparse",
        "Supplement, alternative penalization",
        "An L2 penalty gives no sparse solution: more than the three terms of L1 remain",
        _not_sparse,
    ),
)


# --- output --------------------------------------------------------------------------------------


def numbers(pools: Pools) -> dict[str, list[Any]]:
    """Columns: a line for each protocol, penalty and term, at the end of meta-learning."""
    names = ("protocol", "penalty", "term", "theta", "low", "high", "size", "learning_trials")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for (protocol, penalty), run in pools.items():
        final = late(run.theta)
        low, high = bootstrap(final)
        learns = int(learning(run).sum())
        values = zip(NAMES, mean(final), low, high, sizes(run), strict=True)
        for term, *rest in values:
            line = (protocol, penalty, term, *rest, learns)
            for column, entry in zip(columns.values(), line, strict=True):
                column.append(entry)
    return columns


def run(setting: Setting) -> Produced:
    """The coefficients over the meta-steps, protocols above each other, penalties side by side."""
    asked = {
        (protocol, penalty): experiment(protocol, penalty, setting)
        for protocol, penalty in itertools.product(PROTOCOLS, PENALTIES)
    }
    pools: Pools = {key: records(wanted, setting) for key, wanted in asked.items()}
    counted = "; ".join(
        f"{protocol}, {penalty}: {wanted.trials} trials of {wanted.meta_steps} meta-steps, "
        f"{pools[protocol, penalty].share_diverged:.0%} of lifetimes diverged"
        for (protocol, penalty), wanted in asked.items()
    )
    caption = (
        f"Coefficients of the ten-term pool without and with an L2 penalty (strength "
        f"{STRENGTH['paper']:g} and {STRENGTH['robust']:g}), paper protocol above, robust protocol "
        f"below. {EMNIST}. {counted}. Seed {setting.seed}. Lines: means over the trials that go "
        f"on; bands: {LEVEL:.0%} intervals, bootstrap with {RESAMPLES} samples."
    )
    fig, axes = figure(len(PROTOCOLS), len(PENALTIES))
    for (key, found), ax, letter in zip(pools.items(), np.ravel(axes), "abcd", strict=True):
        for place, term in enumerate(NAMES):
            band(ax, 1e3 * found.theta[:, :, place], term)
        ax.axhline(0, color="black", linewidth=0.4)
        ax.set_title(f"({letter}) {key[1]}, {TITLES[key[0]]}")
        ax.set(xlabel="meta-steps", ylabel="θ (10⁻³)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=10)
    return Produced(
        caption,
        figures=save(fig, setting, "figS5", caption),
        tables=(write_csv(setting, "figS5", numbers(pools)),),
        judged=judged(CLAIMS, pools),
        seconds=sum(found.seconds for found in pools.values()),
    )


TARGETS = {"figS5": Target("figS5", "The pool without a penalty and with L2", run)}
