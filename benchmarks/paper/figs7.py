"""Figure S7: is the gain over feedback alignment significant, meta-step by meta-step?

At each meta-step the accuracies of the trials of a rule and of feedback alignment are two samples.
The Mann–Whitney U test asks whether feedback alignment's are the lower ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.paper.claims import (
    LEVEL,
    RESAMPLES,
    Claim,
    Finding,
    Values,
    Verdict,
    all_of,
    judged,
)
from benchmarks.paper.measures import accuracy
from benchmarks.paper.rules import BIO, EHEBB, EMNIST, FA, OJA, runs_of
from benchmarks.paper.style import colour_of, figure, save
from benchmarks.paper.tables import write_csv
from benchmarks.paper.targets import Produced, Setting, Target

RULES = (EHEBB, OJA, BIO)
SIGNIFICANT = 0.05
#: Meta-steps in a row below `SIGNIFICANT` that count as being there: one alone is chance.
LASTING = 10
#: The paper: in fewer meta-steps than this.
PUBLISHED = 100

#: Accuracies, [trials, meta-steps], by rule.
Samples = Mapping[str, Values]


def p_values(rule: Values, baseline: Values) -> Values:
    """Of the one-sided test that the rule is no more accurate, at each meta-step.

    Args:
        rule: accuracies, [trials, meta-steps].
        baseline: accuracies, [trials, meta-steps]; the trials need not be as many.

    Example:
        >>> p_values(np.array([[0.5], [0.6], [0.7]]), np.array([[0.1], [0.2], [0.3]]))
        array([0.05])
    """
    return np.asarray(stats.mannwhitneyu(rule, baseline, alternative="greater", axis=0).pvalue)


def lasting_from(p: Values) -> float:
    """Meta-steps before the first of `LASTING` in a row with p below 5 %; inf where none is.

    Example:
        >>> lasting_from(np.array([0.3] * 7 + [0.01] * 10))
        7.0
    """
    below = np.lib.stride_tricks.sliding_window_view(p < SIGNIFICANT, min(LASTING, len(p)))
    at = np.flatnonzero(below.all(-1))
    return float(at[0]) if len(at) else float("inf")


def onset(rule: Values, baseline: Values) -> Finding:
    """Whether the accuracy is significantly higher within `PUBLISHED` meta-steps.

    The interval is over resampled trials of both.
    """
    statistic = f"meta-steps before {LASTING} in a row with p < {SIGNIFICANT:g}, Mann–Whitney U"

    def of_trials(ours: Values, theirs: Values) -> float:
        return lasting_from(p_values(rule[ours], baseline[theirs]))

    value = lasting_from(p_values(rule, baseline))
    with np.errstate(invalid="ignore"):  # of the standard error, where a resample never gets there
        low, high = stats.bootstrap(
            (np.arange(len(rule)), np.arange(len(baseline))),
            of_trials,
            vectorized=False,
            confidence_level=LEVEL,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
    verdict: Verdict = "does not hold"
    if value < PUBLISHED:
        verdict = "holds" if high < PUBLISHED else "holds in part"
    return Finding(statistic, verdict, value, (float(low), float(high)), "meta-steps")


def _in_every_example(samples: Samples) -> Finding:
    return all_of(
        f"meta-steps before {LASTING} in a row with p < {SIGNIFICANT:g}, Mann–Whitney U",
        {rule: onset(samples[rule], samples[FA]) for rule in samples if rule != FA},
    )


CLAIMS: tuple[Claim[Samples], ...] = (
    Claim(
        "figS7-significance",
        "Supplement, inter-treatment variation",
        "In every example p falls below 5 % in fewer than 100 meta-steps",
        _in_every_example,
    ),
)


def run(setting: Setting) -> Produced:
    """The p-values of each rule over the meta-steps."""
    runs = runs_of((FA, *RULES), setting)
    samples = {rule: accuracy(run) for rule, run in runs.items()}
    tests = {rule: p_values(samples[rule], samples[FA]) for rule in RULES}
    steps = len(tests[BIO])
    caption = (
        f"Mann–Whitney U test, one-sided: at each meta-step, the query accuracies of "
        f"{setting.trials} trials of the rule against those of {FA}. {EMNIST}; {steps} meta-steps, "
        f"seed {setting.seed}. Dashed: 5 %."
    )
    fig, axes = figure(1, len(RULES), sharey=True)
    for letter, ax, rule in zip("abc", np.ravel(axes), RULES, strict=True):
        ax.plot(np.arange(1, steps + 1), tests[rule], color=colour_of(rule), linewidth=0.8)
        ax.axhline(SIGNIFICANT, color="black", linestyle="--", linewidth=0.8)
        ax.set_yscale("log")
        ax.set_title(f"({letter}) {rule}", loc="left")
        ax.set_xlabel("meta-steps")
    np.ravel(axes)[0].set_ylabel("p-value")
    columns: dict[str, list[Any]] = {"meta_step": list(range(1, steps + 1))}
    columns |= {f"{rule}_p": p.tolist() for rule, p in tests.items()}
    return Produced(
        caption,
        figures=save(fig, setting, "figS7", caption),
        tables=(write_csv(setting, "figS7", columns),),
        judged=judged(CLAIMS, samples),
        seconds=sum(r.seconds for r in runs.values()),
    )


TARGETS = {"figS7": Target("figS7", "Mann–Whitney U tests, trial against trial", run)}
