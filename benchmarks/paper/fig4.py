"""Figure 4: the pool of ten terms with an L1 penalty, as published and under the robust protocol.

The paper does not print the strength of its penalty. It is 0.1 here under the paper's protocol,
and a few trials each say what other strengths would have done. Trials may diverge for good under
that protocol: nothing is left out, and a panel of the figure counts them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from benchmarks.paper.claims import (
    Claim,
    Finding,
    Values,
    above,
    all_of,
    below,
    bootstrap,
    count,
    judged,
    mean,
    near,
)
from benchmarks.paper.experiments import Records, records
from benchmarks.paper.measures import accuracy, late, loss, settled, smaller_angles
from benchmarks.paper.protocols import (
    L1,
    POOL,
    POOL_TERMS,
    PROTOCOLS,
    TITLES,
    Both,
    Protocol,
    Runs,
    Statement,
    benchmarks_of,
    caption_of,
    course_columns,
    pool_experiment,
    seconds_of,
    under_both,
)
from benchmarks.paper.rules import BP, FA, HIDDEN_LAYERS
from benchmarks.paper.style import band, figure, save
from benchmarks.paper.tables import Column, over_meta_steps, write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.meta import PAPER

NAMES = tuple(name for name, _ in POOL_TERMS)
#: Section 2.2.2: the terms that keep a coefficient, and its sign in Eq. 7 as it is used.
PUBLISHED = {"F0": 1, "F2": -1, "F9": 1}
#: Other strengths of the penalty under the paper's protocol, and the trials of each; Fig. S5 has 0.
STRENGTHS = (0.01, 1.0, 10.0)
STRENGTH_TRIALS = 4
#: The first meta-steps, in which the pool is like feedback alignment, and those after them.
FIRST, AFTER = slice(0, 10), slice(10, 30)
#: Accuracies, and losses in nats, that are closer than this are alike.
ALIKE, ALIKE_NATS = 0.1, 0.5
#: How close an accuracy "approaches" another; how close losses are that "eventually" are similar.
APPROACHED, SIMILAR_NATS = 0.05, 0.25
#: "About 300 meta-steps": the window in which accuracies are compared, as shares of the course,
#: which is 600 meta-steps long under the paper's protocol and 300 under the robust one.
ABOUT_300: Mapping[Protocol, tuple[float, float]] = {
    "paper": (280 / 600, 320 / 600),
    "robust": (260 / 300, 1.0),
}


# --- what the courses say ------------------------------------------------------------------------


def kept(run: Records, protocol: Protocol) -> Values:
    """Which coefficients are not zero at the end, [trials, terms]; NaN for a trial given up.

    Under the robust protocol zero is zero. A subgradient leaves none: there a coefficient is zero
    where its mean over the last 100 meta-steps is within one step of Adam of it, as in a search.
    """
    end = run.theta[:, -1]
    size = np.abs(end) if protocol == "robust" else np.abs(late(run.theta))
    least = 0.0 if protocol == "robust" else PAPER.zero_below
    return np.where(np.isfinite(end), (size > least).astype(float), np.nan)


def published(run: Records, protocol: Protocol) -> Finding:
    """Whether F0, F2 and F9 have a coefficient in most trials, and the other terms have none."""
    found = kept(run, protocol)
    trials, most = len(found), len(found) // 2 + 1
    parts = {}
    for i, name in enumerate(NAMES):
        keeps = name in PUBLISHED
        right = int((found[:, i] == keeps).sum())
        which = "is kept" if keeps else "is zero"
        parts[f"{name} {which}"] = count("", right, trials, most, some=most)
    return all_of(f"trials (of {trials}, those given up count as wrong); more than half", parts)


def three_terms(run: Records, protocol: Protocol) -> Finding:
    """Whether trials end with three terms, whichever they are."""
    statistic = "terms with a coefficient at the end, in trials that were not given up; 2.5 to 3.5"
    numbers = kept(run, protocol).sum(1)
    if not np.isfinite(numbers).any():
        return Finding(statistic, "does not hold")
    return near(statistic, numbers, 3.0, 0.5, "terms")


def signs(run: Records) -> Finding:
    """Whether F0, F2 and F9 have the signs of the published rule."""
    final = late(run.theta)
    parts = {}
    for name, sign in PUBLISHED.items():
        judge = above if sign > 0 else below
        parts[name] = judge("", final[:, NAMES.index(name)], 0.0)
    return all_of("coefficients, last 100 meta-steps: above zero, below, above", parts)


def _first(runs: Runs) -> Finding:
    difference = accuracy(runs[POOL])[:, FIRST].mean(1) - accuracy(runs[FA])[:, FIRST].mean(1)
    statistic = (
        f"accuracy of the pool minus that of {FA}, meta-steps 1 to 10, within {ALIKE:g} of 0"
    )
    return near(statistic, difference, 0.0, ALIKE)


def _improves(runs: Runs) -> Finding:
    course = accuracy(runs[POOL])
    gain = late(course[:, AFTER]) - course[:, FIRST].mean(1)
    return above("accuracy of the pool, meta-steps 11 to 30 minus 1 to 10", gain, 0.0)


def _approaches(runs: Runs, protocol: Protocol) -> Finding:
    steps = runs[POOL].loss.shape[1]
    begin, end = (int(share * steps) for share in ABOUT_300[protocol])
    window = slice(begin, max(end, begin + 1))
    behind = accuracy(runs[BP])[:, window].mean(1) - accuracy(runs[POOL])[:, window].mean(1)
    statistic = f"accuracy of {BP} minus that of the pool at about 300, below {APPROACHED:g}"
    return below(statistic, behind, APPROACHED)


def _loss(runs: Runs) -> Finding:
    pool, fa, bp = (loss(runs[rule]) for rule in (POOL, FA, BP))
    start = f"meta-steps 1 to 10, within {ALIKE_NATS:g} of {FA}'s"
    end = f"last 100 meta-steps, within {SIMILAR_NATS:g} of {BP}'s"
    first = pool[:, FIRST].mean(1) - fa[:, FIRST].mean(1)
    return all_of(
        "difference of query losses",
        {
            start: near(start, first, 0.0, ALIKE_NATS, "nats"),
            end: near(end, late(pool) - late(bp), 0.0, SIMILAR_NATS, "nats"),
        },
    )


def _settle(runs: Runs) -> Finding:
    """Whether the coefficients that the paper keeps settle before the end."""
    course = runs[POOL].theta
    limit = 0.9 * course.shape[1]
    statistic = f"meta-steps until it stays within 25 % of its last value, below {limit:.0f}"
    return all_of(
        statistic,
        {
            name: below(statistic, settled(course[:, :, NAMES.index(name)]), limit, "meta-steps")
            for name in PUBLISHED
        },
    )


CLAIMS: tuple[Claim[Both], ...] = under_both(
    Statement(
        "fig4-first",
        "2.2.2",
        "The accuracy of the pool is at first like that of feedback alignment",
        lambda runs, _: _first(runs),
    ),
    Statement(
        "fig4-improves",
        "2.2.2",
        "From about 10 meta-steps on, the accuracy of the pool improves",
        lambda runs, _: _improves(runs),
    ),
    Statement(
        "fig4-approaches",
        "2.2.2",
        "By about 300 meta-steps, the accuracy of the pool approaches that of backprop",
        _approaches,
    ),
    Statement(
        "fig4-loss",
        "2.2.2",
        "The loss of the pool first follows feedback alignment's, and ends like backprop's",
        lambda runs, _: _loss(runs),
    ),
    Statement(
        "fig4-angles",
        "2.2.2, Fig. 4c",
        "Errors under the pool are better aligned with backprop's than under feedback alignment",
        lambda runs, _: smaller_angles(runs, POOL, FA, HIDDEN_LAYERS),
    ),
    Statement(
        "fig4-three",
        "2.2.2, Fig. 4d",
        "After about 600 meta-steps all but three coefficients are near zero",
        lambda runs, protocol: three_terms(runs[POOL], protocol),
    ),
    Statement(
        "fig4-which",
        "2.2.2, Fig. 4d",
        "Those three are of F0, F2 and F9",
        lambda runs, protocol: published(runs[POOL], protocol),
    ),
    Statement(
        "fig4-signs",
        "2.2.2, Eqs. 7 and S.2",
        "Signs: F0 above zero (descent), F2 below (W towards Bᵀ), F9 above (Oja)",
        lambda runs, _: signs(runs[POOL]),
    ),
    Statement(
        "fig4-settled",
        "Fig. 4d",
        "The coefficients of F0, F2 and F9 converge within the meta-steps shown",
        lambda runs, _: _settle(runs),
    ),
)


# --- output --------------------------------------------------------------------------------------


def draw(runs: Both) -> Figure:
    """Rows: accuracy, loss, angles, coefficients, divergences; a column for each protocol."""
    made, axes = figure(5, len(PROTOCOLS), height=1.65)
    for column, protocol in zip(axes.T, PROTOCOLS, strict=True):
        shown = runs[protocol]
        for rule in (BP, FA, POOL):
            band(column[0], accuracy(shown[rule]), rule)
            band(column[1], loss(shown[rule]), rule)
            diverged = shown[rule].diverged / shown[rule].lifetimes
            band(column[4], diverged, rule)
        for layer in HIDDEN_LAYERS:
            values = shown[POOL].observed["angle"][:, :, layer - 1]
            band(column[2], values, f"α{layer}", f"layer {layer}")
        for i, name in enumerate(NAMES):
            band(column[3], 1e3 * shown[POOL].theta[:, :, i], name)
        column[0].set_title(TITLES[protocol])
        column[0].set_ylim(0, 1)
        column[1].set_ylim(0, 4)
        column[2].set_ylim(0, 130)
        column[2].set_yticks((0, 30, 60, 90, 120))
        column[3].axhline(0, color="black", linewidth=0.4)
        column[4].set_ylim(0, 1)
        column[4].set_xlabel("meta-steps")
    labels = (
        "query accuracy",
        "query loss (nats)",
        "angle (degrees)",
        "θ (10⁻³)",
        "share diverged",
    )
    for letter, row, label in zip("abcde", axes, labels, strict=True):
        row[0].set_ylabel(f"({letter}) {label}")
    axes[0, 0].legend(ncols=3)
    axes[2, 0].legend(ncols=4)
    axes[3, 0].legend(ncols=5, columnspacing=0.8)
    return made


def coefficients(runs: Both) -> dict[str, Column]:
    """A row for each protocol, trial and term: the coefficient at the end, and whether it is kept.

    Empty where the trial was given up.
    """
    rows: list[tuple[object, ...]] = []
    for protocol, of_protocol in runs.items():
        run = of_protocol[POOL]
        final, keeps = late(run.theta), kept(run, protocol)
        for trial, term in np.ndindex(*final.shape):
            ended = np.isfinite(keeps[trial, term])
            value = float(final[trial, term]) if ended else None
            keep = int(keeps[trial, term]) if ended else None
            rows.append((protocol, trial, NAMES[term], value, keep))
    names = ("protocol", "trial", "term", "theta", "kept")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def strength_columns(found: dict[float, Records]) -> dict[str, Column]:
    """A row for each strength of the penalty: accuracy at the end, terms kept, divergences."""
    rows: list[tuple[object, ...]] = []
    for strength, run in sorted(found.items()):
        end = late(accuracy(run))
        low, high = bootstrap(end)
        keeps = kept(run, "paper")
        ended = int(np.isfinite(keeps[:, 0]).sum())
        accuracies = float(mean(end)), float(low), float(high)
        shares = [float(share) for share in mean(keeps)]
        rows.append((strength, len(end), ended, *accuracies, run.share_diverged, *shares))
    names = (
        *("l1", "trials", "trials_that_ended", "accuracy", "accuracy_low", "accuracy_high"),
        *("share_diverged", *(f"share_of_trials_keeping_{name}" for name in NAMES)),
    )
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def run(setting: Setting) -> Produced:
    """Meta-learn the pool under both protocols, and under the paper's with other strengths."""
    runs: Both = {
        protocol: {**found, POOL: records(pool_experiment(setting, protocol), setting)}
        for protocol, found in benchmarks_of(setting).items()
    }
    trials = min(STRENGTH_TRIALS, setting.trials)
    others = {
        l1: records(
            pool_experiment(setting, name=f"pool, l1 {l1:g}", l1=l1, trials=trials), setting
        )
        for l1 in STRENGTHS
    }
    given_up = {p: int(np.isnan(runs[p][POOL].theta[:, -1, 0]).sum()) for p in PROTOCOLS}
    caption = caption_of(
        "Fig. 4. The pool of ten terms with an L1 penalty (strength "
        f"{L1['paper']:g} under the paper's protocol, which prints none; {L1['robust']:g} under "
        f"the robust one), beside {FA} and {BP}. Trials of the pool in which no lifetime was "
        f"finite for 20 meta-steps were given up, {given_up['paper']} and {given_up['robust']}; "
        "they count as diverged and as chance, and have no angle or coefficient from there on.",
        runs,
        setting,
    )
    tables = [
        write_csv(setting, f"fig4-{protocol}", over_meta_steps(course_columns(runs[protocol])))
        for protocol in PROTOCOLS
    ]
    tables.append(write_csv(setting, "fig4-coefficients", coefficients(runs)))
    strengths = {L1["paper"]: runs["paper"][POOL], **others}
    tables.append(write_csv(setting, "fig4-strengths", strength_columns(strengths)))
    return Produced(
        caption,
        figures=save(draw(runs), setting, "fig4", caption),
        tables=tuple(tables),
        judged=judged(CLAIMS, runs),
        seconds=seconds_of(runs) + sum(run.seconds for run in others.values()),
    )


TARGETS = {
    "fig4": Target("fig4", "The pool of ten terms, under the paper's and the robust protocol", run),
}
