"""Experiments of Figs. 3 and 4 under both protocols: the paper's as published, and the robust one.

Both figures make every statement twice. The paper's protocol has 20 trials of 600 meta-steps with
one lifetime each; the robust one 6 trials of 300, its own length, with eight lifetimes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.paper.claims import LEVEL, RESAMPLES, Claim, Finding, Values
from benchmarks.paper.experiments import Experiment, Records, records, sized
from benchmarks.paper.measures import SCORED
from benchmarks.paper.rules import BP, EMNIST, FA, TERMS, experiment
from benchmarks.paper.targets import Setting
from rulesearch.meta import ROBUST
from rulesearch.notation import load_pool

Protocol = Literal["paper", "robust"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "robust")
POOL = "pool"
#: The ten terms of section 4.2: name and text.
POOL_TERMS = tuple(
    (term.name, term.text)
    for term in load_pool(Path(__file__).parents[2] / "grammar" / "paper_pool.py")
)
#: Strength of the L1 penalty on the pool. The paper prints none for its own protocol (see
#: `fig4.STRENGTHS` for what others would do); the robust one has its own.
L1: Mapping[Protocol, float] = {"paper": 0.1, "robust": ROBUST.l1}
TITLES: Mapping[Protocol, str] = {"paper": "protocol of the paper", "robust": "robust protocol"}
ROBUST_TRIALS = 6

#: Rule -> courses.
Runs = Mapping[str, Records]
#: Protocol -> rule -> courses.
Both = Mapping[Protocol, Runs]


def pool_experiment(setting: Setting, protocol: Protocol = "paper", **changes: Any) -> Experiment:
    """The meta-learning of the whole pool, with the L1 penalty or with other fields changed.

    Args:
        setting: gives trials, meta-steps and seed.
        protocol: see the top of this module.
        **changes: fields of `Experiment` that differ.
    """
    published = Experiment(
        POOL, POOL_TERMS, start=(("F0", 1e-3),), l1=L1[protocol], observe=("angle",)
    )
    return replace(_under(protocol, sized(published, setting), setting), **changes)


def benchmark(rule: str, setting: Setting, protocol: Protocol = "paper") -> Experiment:
    """Backprop or feedback alignment: under the paper's protocol, that of all other figures."""
    return _under(protocol, experiment(rule, setting), setting)


def _under(protocol: Protocol, paper: Experiment, setting: Setting) -> Experiment:
    """An experiment of the paper's protocol, under this one."""
    if protocol == "paper":
        return paper
    return replace(
        paper,
        name=f"{paper.name}, robust",
        protocol=protocol,
        trials=min(ROBUST_TRIALS, setting.trials),
        meta_steps=setting.steps(ROBUST.meta_steps),
    )


def benchmarks_of(setting: Setting) -> dict[Protocol, dict[str, Records]]:
    """Backprop and feedback alignment under both protocols."""
    return {
        protocol: {rule: records(benchmark(rule, setting, protocol), setting) for rule in (BP, FA)}
        for protocol in PROTOCOLS
    }


def seconds_of(runs: Both) -> float:
    """What all of these took when they were computed."""
    return sum(run.seconds for of_protocol in runs.values() for run in of_protocol.values())


# --- claims and output under both ----------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """A claim that each protocol decides for itself.

    Attributes:
        key: of the claim; `-robust` is added for the other protocol.
        section: of the paper.
        text: of the claim.
        judge: courses of one protocol -> finding.
    """

    key: str
    section: str
    text: str
    judge: Callable[[Runs, Protocol], Finding]


def under_both(*statements: Statement) -> tuple[Claim[Both], ...]:
    """Each statement as two claims, that of the paper's own protocol first."""
    return tuple(claim for statement in statements for claim in _claims(statement))


def _claims(statement: Statement) -> Iterator[Claim[Both]]:
    for protocol in PROTOCOLS:

        def judge(runs: Both, protocol: Protocol = protocol) -> Finding:
            return statement.judge(runs[protocol], protocol)

        robust = protocol == "robust"
        yield Claim(
            statement.key + ("-robust" if robust else ""),
            statement.section,
            statement.text + (" (robust protocol)" if robust else ""),
            judge,
        )


def course_columns(runs: Runs) -> dict[str, Values]:
    """What the panels show of each rule, by the column's name: [trials, meta-steps]."""
    columns: dict[str, Values] = {}
    for rule, run in runs.items():
        name = rule.replace(" ", "_")
        columns |= {f"{name}_accuracy": run.accuracy, f"{name}_loss": run.loss}
        columns[f"{name}_diverged"] = run.diverged / run.lifetimes
        columns |= {
            f"{name}_angle_{layer + 1}": run.observed["angle"][:, :, layer]
            for layer in range(run.observed["angle"].shape[2])
        }
        terms = [term for term, _ in (POOL_TERMS if rule == POOL else TERMS[rule])]
        columns |= {f"{name}_theta_{t}": run.theta[:, :, i] for i, t in enumerate(terms)}
    return columns


def caption_of(title: str, runs: Both, setting: Setting) -> str:
    """What was run, for below the figure."""
    told = []
    for protocol, of_protocol in runs.items():
        one = next(iter(of_protocol.values()))
        trials, steps = one.loss.shape
        lifetimes = trials * steps * one.lifetimes
        diverged = ", ".join(f"{rule} {int(r.diverged.sum())}" for rule, r in of_protocol.items())
        told.append(
            f"{TITLES[protocol].capitalize()}: {trials} trials of {steps} meta-steps of "
            f"{one.lifetimes} task{'s' if one.lifetimes > 1 else ''}, diverged lifetimes of "
            f"{lifetimes:,}: {diverged}."
        )
    return (
        f"{title} {EMNIST}; seed {setting.seed}. {' '.join(told)} Lines: means over trials; bands: "
        f"{LEVEL:.0%} intervals, bootstrap with {RESAMPLES} samples. {SCORED}"
    )
