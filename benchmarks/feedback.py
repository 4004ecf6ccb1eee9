"""Feedback that learns, beside feedback that does not: accuracy, and angles to backprop's errors.

    python -m benchmarks.feedback --data-root DIR [--quick] [--json FILE] [--rules RULE ...]

Kolen-Pollack, the mirror form and the alignments of `grammar/feedback.py` stand beside feedback
alignment, backprop by SGD, the paper's rule, and the last layer learning alone. All coefficients
of a rule, its pseudo-gradient's too, are found in the same way, on lifetimes of 250 examples of
EMNIST that are common to all rules, images of the search: the mean loss at points spread over a box
of the coefficients' logarithms, then Nelder and Mead's method from each of the best six. What is
reported is of images set aside: lifetimes of 250 examples, and the ten-way stream of MNIST of
`benchmarks.paper.online`, with the coefficients as they are and with their best multiple for the
stream, found on other streams and images.

FILE grows row by row; rows that it holds are not measured again. `--quick` only sees that all
works: digits, and few lifetimes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import optimize
from scipy.stats import qmc

from benchmarks.ending import end_with
from benchmarks.machine import cores, machine
from benchmarks.paper import online
from benchmarks.paper.online import BIO, BP, FA, Learner
from rulesearch import Config, Pool, load_data
from rulesearch.data import Data
from rulesearch.errors import RuleSearchError
from rulesearch.meta import lifetime_seeds
from rulesearch.notation import load_pool, together
from rulesearch.notation.term import PSEUDO_GRADIENT
from rulesearch.population import Population
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.scoring import diverged, scored
from rulesearch.statistics import bootstrap_interval, measure, t_interval

GRAMMAR = Path(__file__).parents[1] / "grammar" / "feedback.py"
SEED = 20_000  # of the lifetimes: no search has it
#: Multiples beyond those of the list that are tried at most.
WIDENINGS = 4
#: Width of Nelder and Mead's first simplex, in powers of ten.
SIMPLEX = 0.3
#: And of the last: coefficients to 2 %.
CLOSE = 0.01

Values = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Rule:
    """A rule, and where its coefficients are looked for.

    Attributes:
        learner: the terms and the way its errors travel.
        box: of each coefficient, in the order of the pool: the lowest and highest power of ten.
        negative: names of the terms whose coefficients are negative.
    """

    learner: Learner
    box: tuple[Interval, ...]
    negative: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        return self.learner.label

    def theta(self, powers: Sequence[float]) -> tuple[float, ...]:
        """Raw coefficients for powers of ten.

        Example:
            >>> Rule(BIO, ((-3, -1),) * 3, negative=("F2",)).theta((-2, -1, -3))
            (0.01, -0.1, 0.001)
        """
        return tuple(
            (-1 if name in self.negative else 1) * float(10.0**power)
            for name, power in zip(self.learner.pool.names, powers, strict=True)
        )


@dataclass(frozen=True)
class Size:
    """How much is run.

    Attributes:
        points: spread over the box, each on
        few: lifetimes of the fit; from the best
        starts: of them begin
        refining: evaluations by Nelder and Mead's method, each on
        fitting: lifetimes.
        lifetimes: of the report.
        steps: of a stream.
        trials: streams of the report.
        rate_trials: streams on which a multiple is chosen.
        factors: multiples that are tried.
    """

    points: int = 128
    few: int = 8
    starts: int = 6
    refining: int = 80
    fitting: int = 32
    lifetimes: int = 100
    steps: int = 2000
    trials: int = 20
    rate_trials: int = online.SEARCH_TRIALS
    factors: tuple[float, ...] = online.FACTORS


QUICK = Size(2, 2, 1, 2, 2, 4, 20, 2, 1, (0.5, 1.0))


@dataclass(frozen=True)
class Measured:
    """What networks are like at the end of lifetimes or streams, images set aside.

    Attributes:
        factor: all coefficients are multiplied by.
        accuracy: mean,
        low: lower end of its 95 % interval over lifetimes,
        high: and upper end.
        diverged: lifetimes that ended worse than untrained, or not finite,
        lifetimes: of so many.
        angles: degrees between the mean errors of the pathway and of backprop, hidden layers
            1 … L-1, means over the lifetimes where there is one.
        angle_each: of each lifetime, the mean over hidden layers; NaN where there is none.
    """

    factor: float
    accuracy: float
    low: float
    high: float
    diverged: int
    lifetimes: int
    angles: tuple[float, ...]
    angle_each: tuple[float, ...]

    @property
    def angle(self) -> float:
        """Mean over the hidden layers and lifetimes; NaN where there is none."""
        there = [angle for angle in self.angle_each if np.isfinite(angle)]
        return float(np.mean(there)) if there else float("nan")


@dataclass(frozen=True)
class Row:
    """A rule.

    Attributes:
        name: of the rule.
        terms: coefficients found, by term.
        loss: the mean, on the lifetimes of the fit.
        lifetimes: run to find them.
        short: after 250 examples.
        stream: after the stream, coefficients as they are,
        best: and at their best multiple.
        at_edge: whether that is the smallest or largest that was tried.
    """

    name: str
    terms: dict[str, float]
    loss: float
    lifetimes: int
    short: Measured
    stream: Measured
    best: Measured
    at_edge: bool


# --- rules ---------------------------------------------------------------------------------------

RATE = (-2.7, -1.3)
#: What plastic feedback must beat: hidden layers stay as they are drawn, and need no errors.
LAST = Learner(
    "last", "last layer alone", Pool(F0=PSEUDO_GRADIENT, where={"F0": (-1,)}), "symmetric"
)


@lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """The rules; what changes feedback is the grammar file's.

    Boxes hold what was known of each coefficient: rates of feedback alignment and backprop, how
    strong a decay may be in 250 steps, and from where on a term of second order in B diverges.
    """
    whole = load_pool(GRAMMAR)
    primitives = {term.name: change for term in whole for of, change in term.updates if of == "B"}

    def plastic(label: str, **box: Interval) -> Rule:
        changes: dict[str, Any] = {name: primitives[name] for name in box}
        pool = together(FA.pool, Pool(of="B", **changes))
        return Rule(Learner(label, label, pool, "random"), (RATE, *box.values()))

    shared = whole.only("kp", "decay")
    undecayed = Learner("KP, no decay", "Kolen-Pollack, no decay", whole.only("kp"), "random")
    return (
        Rule(BP, (RATE,)),
        Rule(FA, (RATE,)),
        Rule(LAST, ((-2.7, -0.3),)),
        Rule(BIO, (RATE, (-2.5, -0.8), (-3.7, -2.0)), negative=("F2",)),
        Rule(Learner("KP", "Kolen-Pollack", shared, "random"), (RATE, (-5.0, -2.0))),
        Rule(undecayed, (RATE,)),
        plastic("mirror form", decay=(-4.0, -0.5), mirror=(-6.0, -2.5)),
        plastic("symmetric alignment", decay=(-2.5, -0.3), self=(-2.5, -0.3)),
        plastic("activation alignment", amp=(-6.0, -2.5), sparse=(-4.0, -2.0)),
        plastic("information alignment", decay=(-4.0, -0.5), amp=(-6.0, -2.5), null=(-4.0, -1.5)),
    )


# --- coefficients --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """Coefficients found for a rule.

    Attributes:
        theta: raw, in the order of the pool.
        loss: the mean, on the lifetimes of the fit.
        lifetimes: run for it.
    """

    theta: tuple[float, ...]
    loss: float
    lifetimes: int


def found(rule: Rule, networks: Population, size: Size) -> Found:
    """The coefficients of the least mean loss.

    What diverged counts as in `rulesearch.scoring`. The search may leave the box.
    """
    seeds = lifetime_seeds(SEED, "fit", 0, size.fitting)
    run = 0

    def loss(powers: Sequence[float], some: Sequence[int] = seeds) -> float:
        nonlocal run
        run += len(some)
        return measure(networks, rule.theta(powers), some, networks.outputs).mean_loss

    low, high = zip(*rule.box, strict=True)
    spread = qmc.Sobol(len(rule.box), scramble=False).random(size.points)
    points = qmc.scale(spread, low, high).tolist()
    points.sort(key=lambda powers: loss(powers, seeds[: size.few]))
    ends = [
        optimize.minimize(
            loss,
            first,
            method="Nelder-Mead",
            options={
                "initial_simplex": np.vstack([first, first + SIMPLEX * np.eye(len(first))]),
                "maxfev": size.refining,
                "xatol": CLOSE,
                "fatol": np.inf,
            },
        )
        for first in points[: size.starts]
    ]
    least = min(ends, key=lambda end: float(end.fun))
    return Found(rule.theta(least.x.tolist()), float(least.fun), run)


# --- what they do --------------------------------------------------------------------------------


def summed_up(
    factor: float,
    accuracy: torch.Tensor,
    bad: torch.Tensor,
    angle: torch.Tensor,
) -> Measured:
    """Lifetimes summed up; `angle` is [lifetimes, layers], the last of which is left out."""
    hidden = angle[:, :-1].double()
    return Measured(
        factor,
        float(accuracy.mean()),
        *bootstrap_interval(accuracy.tolist()),
        int(bad.sum()),
        len(bad),
        tuple(hidden.nanmean(0).tolist()),
        tuple(hidden.mean(1).tolist()),
    )


def after_lifetimes(networks: Population, theta: Sequence[float], count: int) -> Measured:
    """Networks at the end of lifetimes; the accuracy of one that diverged is chance."""
    seeds = lifetime_seeds(SEED, "report", 0, count)
    coefficients = torch.tensor(tuple(theta), dtype=torch.float64)
    lived = networks(coefficients, seeds, observe=("angle",))
    bad = diverged(lived.loss, lived.initial_loss)
    _, right = scored(lived.loss, lived.accuracy, lived.initial_loss, networks.outputs)
    return summed_up(1.0, right, bad, lived.observed["angle"])


def after_stream(
    learner: Learner, theta: Sequence[float], factor: float, data: Data, size: Size
) -> Measured:
    """Networks at the end of streams; where one is not finite, its accuracy is chance."""
    seeds = lifetime_seeds(SEED, "online", 0, size.trials)
    seen = online.curves(
        learner,
        [factor * value for value in theta],
        data.search,
        data.held_out,
        seeds,
        (0, size.steps),
        observe=("loss", "accuracy", "angle"),
        **_of_streams(data),
    )
    loss, accuracy, angle = (torch.from_numpy(seen[n]) for n in ("loss", "accuracy", "angle"))
    bad = diverged(loss[:, -1], loss[:, 0])
    right = torch.where(loss[:, -1].isfinite(), accuracy[:, -1], online.CHANCE)
    return summed_up(factor, right, bad, angle[:, -1])


def best_multiple(
    learner: Learner, theta: Sequence[float], data: Data, size: Size
) -> online.RateSearch:
    """Multiples of the coefficients on other streams and images than those of the report.

    Where the last one tried is the best, further ones are tried.
    """
    seeds = lifetime_seeds(SEED, "online, rates", 0, size.rate_trials)
    points = online.shortened(online.SEARCH_POINTS, size.steps)

    def tried(*factors: float) -> dict[float, float]:
        scores = online.rate_scores(
            learner, theta, data.search, seeds, points, factors, **_of_streams(data)
        )
        return dict(zip(factors, scores["score"].tolist(), strict=True))

    scores = tried(*size.factors)
    for _ in range(WIDENINGS):
        best = max(scores, key=lambda factor: scores[factor])
        if best == max(scores):
            scores |= tried(2 * best)
        elif best == min(scores):
            scores |= tried(best / 2)
        else:
            break
    factors = tuple(sorted(scores))
    return online.RateSearch(factors, np.array([scores[factor] for factor in factors]))


def _of_streams(data: Data) -> Mapping[str, Any]:
    validation = min(online.VALIDATION, len(data.search.labels) // 4)
    return {"sizes": (data.inputs, *online.SIZES[1:]), "validation": validation}


def row_of(rule: Rule, worlds: tuple[Data, Data], size: Size) -> Row:
    """All of a rule.

    Args:
        rule: the rule.
        worlds: images of the lifetimes of 250 examples, and those of the streams.
        size: how much is run.
    """
    tasks, streams = worlds
    config, learner = Config(), rule.learner
    networks, set_aside = (
        Population(
            learner.pool,
            images,
            config.shape,
            (tasks.inputs, *online.SIZES[1:-1], tasks.classes),
            learner.pathway,
        )
        for images in (tasks.search, tasks.held_out)
    )
    coefficients = found(rule, networks, size)
    theta = coefficients.theta
    multiples = best_multiple(learner, theta, streams, size)
    return Row(
        rule.name,
        dict(zip(learner.pool.names, theta, strict=True)),
        coefficients.loss,
        coefficients.lifetimes,
        after_lifetimes(set_aside, theta, size.lifetimes),
        after_stream(learner, theta, 1.0, streams, size),
        after_stream(learner, theta, multiples.best, streams, size),
        multiples.at_edge,
    )


# --- command -------------------------------------------------------------------------------------


def show(rows: Sequence[Row], console: Console) -> None:
    """A line for each rule."""
    tied = {rule.name for rule in rules() if rule.learner.pathway == "symmetric"}
    kinds = ("250 examples", "stream", "best multiple")
    heads = [f"{of} {what}" for what in kinds for of in ("accuracy,", "angle,")]
    table = Table("rule", "coefficients", "multiple", *heads, box=box.MARKDOWN)
    for row in rows:
        cells = []
        for part in (row.short, row.stream, row.best):
            bad = f", {part.diverged} of {part.lifetimes} diverged" if part.diverged else ""
            cells.append(f"{part.accuracy:.3f} [{part.low:.3f}, {part.high:.3f}]{bad}")
            cells.append("" if row.name in tied or np.isnan(part.angle) else f"{part.angle:.0f}°")
        found = ", ".join(f"{name} {value:.3g}" for name, value in row.terms.items())
        multiple = f"{row.best.factor:g}" + (" (last tried)" if row.at_edge else "")
        table.add_row(row.name, found, multiple, *cells)
    console.print(table)
    for line in below_feedback_alignment(rows):
        console.print(line)


def below_feedback_alignment(rows: Sequence[Row]) -> list[str]:
    """How far below feedback alignment's the angles of the others are after the same streams."""
    named = {row.name: row for row in rows}
    lines = []
    for row in rows:
        if FA.label not in named or row.name in (FA.label, LAST.label, BP.label):
            continue
        parts = []
        for what, of in (("", "stream"), ("at the best multiple ", "best")):
            pairs = zip(
                getattr(named[FA.label], of).angle_each, getattr(row, of).angle_each, strict=True
            )
            less = [a - b for a, b in pairs if np.isfinite(a - b)]
            if len(less) > 1:
                low, high = t_interval(less)
                parts.append(f"{what}{np.mean(less):.1f}° [{low:.1f}, {high:.1f}]")
        lines.append(f"{row.name}: angles below feedback alignment's by " + ", ".join(parts))
    return lines


def write(file: Path, rows: Sequence[Row], size: Size) -> None:
    """Write all that was measured so far."""
    told = {"machine": machine(), "size": to_plain(size), "rows": [*map(to_plain, rows)]}
    text = json.dumps(told, indent=2)
    file.write_text(text + "\n", encoding="utf-8")


def read(file: Path, size: Size) -> list[Row]:
    """What was measured before.

    Raises:
        RuleSearchError: that was with other numbers of tasks.
    """
    kept = json.loads(file.read_text("utf-8"))
    if kept.get("size") != json.loads(json.dumps(to_plain(size))):
        raise RuleSearchError(f"--json {file}: rows of other numbers of tasks; give another file")
    return [from_plain(Row, row) for row in kept["rows"]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the rules asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data-root", help="of data sets in torchvision's layout")
    parser.add_argument("--quick", action="store_true", help="only see that all works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the rows")
    every = [rule.name for rule in rules()]
    parser.add_argument("--rules", nargs="+", choices=every, default=every, metavar="RULE")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(cores())
    size = QUICK if asked.quick else Size()
    names = ("digits", "digits") if asked.quick else ("emnist", "mnist")
    shapes = (Config().shape, online.SHAPE)
    tasks, streams = (
        load_data(name, asked.data_root, shape=shape)
        for name, shape in zip(names, shapes, strict=True)
    )
    rows = read(asked.json, size) if asked.json and asked.json.exists() else []
    console = Console()
    console.width = max(console.width, 200)
    for rule in rules():
        if rule.name in asked.rules and rule.name not in {row.name for row in rows}:
            rows.append(row_of(rule, (tasks, streams), size))
            if asked.json:
                write(asked.json, rows, size)
    show(rows, console)


if __name__ == "__main__":
    end_with(main)
