"""Ways to better coefficients of a whole pool, from the same place, at the same cost.

    python -m benchmarks.descents RUN [--seeds N ...] [--data-root DIR] [--json FILE]

RUN is a finished search, whose pool, options and reference are taken. From the reference at its
best coefficient all terms move, without a penalty, in units of how far each can go alone:

- *accepted steps*, until they end: what they have cost is what the others may cost, a lifetime
  with gradient counting as three;
- *CMA-ES* (Hansen 2016, `cma`), a generation judged by common lifetimes, each time by others;
- *trust region*: SciPy's `trust-constr` on the mean loss of a sample, drawn anew a few times, with
  a quadratic model by BFGS; and by *SR1*, which may curve downwards;
- *Adam on votes*, the unit gradients of the protocol `robust`; and on *gradients* as they are.

The answers are then compared on lifetimes that none has seen. A diverged one counts as everywhere,
and gives no gradient.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import optimize

from benchmarks.ending import end_with
from benchmarks.machine import machine
from benchmarks.planted.lessons import Spent
from rulesearch import Result
from rulesearch.lifetime import Lifetimes
from rulesearch.meta import ACCEPTED, PAPER, ROBUST, Descent, FitPlan, descend, fit, lifetime_seeds
from rulesearch.population import Population
from rulesearch.pursuit import Means, Place
from rulesearch.pursuit.spans import in_spans
from rulesearch.scoring import diverged, scored
from rulesearch.search import prepare
from rulesearch.search.reproducing import asked_again
from rulesearch.search.worlds import data_of
from rulesearch.selection import Setting
from rulesearch.statistics import Summary, measure, measure_each, summarise
from rulesearch.updates import norms

#: Lifetimes on which the answers are compared, by a seed that no search has.
FRESH, SEED = 300, 30_000
#: Lifetimes of the reference along which terms are measured first, and points of each.
UNIT_TASKS, UNIT_POINTS = 4, 8
#: Lifetimes that judge a generation of CMA-ES, and its first size in shares of the reference.
JUDGES, CMA_SIZE = 32, 0.1
#: Lifetimes of a trust region's sample, samples one after the other, and the first radius.
SAMPLE, SAMPLES, RADIUS = 64, 4, 0.1
#: First rate of Adam, in shares of the reference.
RATE = 0.05
#: Lifetimes with gradient at once.
BATCH = 16

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Counted:
    """A population, and what has been run of it.

    Attributes:
        population: that runs lifetimes.
        spent: on it so far.
    """

    population: Population
    spent: Spent = field(default_factory=Spent)

    @property
    def names(self) -> tuple[str, ...]:
        """The terms."""
        return self.population.names

    @property
    def outputs(self) -> int | None:
        """Units of the output layer."""
        return self.population.outputs

    def __call__(
        self,
        theta: torch.Tensor,
        seeds: Sequence[int],
        *,
        gradient: Sequence[int] = (),
        observe: Sequence[str] = (),
    ) -> Lifetimes:
        """Run lifetimes, as the population does, and count them."""
        if gradient:
            self.spent.gradient += len(seeds)
        else:
            self.spent.forward += len(seeds)
        return self.population(theta, seeds, gradient=gradient, observe=observe)


@dataclass(frozen=True)
class Begin:
    """Where all begin.

    Attributes:
        setting: names, units and seed.
        phi: the reference at its best, [terms], in those units.
        pace: the size of that.
    """

    setting: Setting
    phi: Vector
    pace: float

    @property
    def support(self) -> tuple[int, ...]:
        """The terms that move."""
        return tuple(term for term, scale in enumerate(self.setting.scales) if scale)

    def theta(self, point: np.ndarray) -> Vector:
        """Raw coefficients, [terms], from those of `support` in shares of the reference's."""
        phi = np.zeros(len(self.phi))
        phi[list(self.support)] = point * self.pace
        return tuple((phi * np.array(self.setting.scales)).tolist())

    @property
    def point(self) -> np.ndarray:
        """The reference's, [support]."""
        return np.array(self.phi)[list(self.support)] / self.pace

    def seeds(self, label: str, number: int, count: int) -> tuple[int, ...]:
        """Of a method's lifetimes."""
        return lifetime_seeds(self.setting.seed, label, number, count)


@dataclass(frozen=True)
class Row:
    """An answer, on lifetimes that no method has seen.

    Attributes:
        method: that gave it.
        seed: of the method.
        found: what the rule does.
        lifetimes: that the method ran with gradient,
        forward: and without.
        theta: raw coefficients, [terms].
    """

    method: str
    seed: int
    found: Summary
    lifetimes: int
    forward: int
    theta: Vector


Method = Callable[[Counted, Begin, int], Vector]
"""Population, where to begin, what it may cost -> raw coefficients, [terms]."""


def accepted(live: Counted, begin: Begin, _: int) -> Vector:
    """The product's, which end by themselves."""
    plan = Descent(
        label="accepted",
        support=begin.support,
        scales=begin.setting.scales,
        start=begin.phi,
        seed=begin.setting.seed,
        protocol=ACCEPTED,
        pace=begin.pace,
        steps=ACCEPTED.meta_steps,
    )
    return descend(live, plan).theta


def evolution(live: Counted, begin: Begin, budget: int) -> Vector:
    """CMA-ES; its mean at the end."""
    import cma  # of the extra `bench`

    options = {"seed": begin.setting.seed + 1, "verbose": -9, "tolx": 0, "tolfun": 0}
    search = cma.CMAEvolutionStrategy(begin.point, CMA_SIZE, options)
    generation = 0
    while live.spent.cost + JUDGES * search.popsize <= budget and not search.stop():
        seeds = begin.seeds("cma", generation, JUDGES)
        points = search.ask()
        rules = [begin.theta(point) for point in points]
        losses = [each.mean_loss for each in measure_each(live, rules, seeds, live.outputs)]
        search.tell(points, losses)
        generation += 1
    return begin.theta(search.mean)


class _SpentError(Exception):
    """What a method may cost is spent."""


def trust_region(
    live: Counted, begin: Begin, budget: int, *, model: Callable[[], object]
) -> Vector:
    """The best place on each of a few samples, one after the other."""
    point, already = begin.point, live.spent.cost
    for number in range(SAMPLES):
        seeds = begin.seeds("trust region", number, SAMPLE)
        until = already + (number + 1) * (budget - already) // SAMPLES
        visited: list[tuple[float, Vector]] = []
        on_sample = partial(_visit, live, begin, seeds, until, visited)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a model that a step has taught nothing
                optimize.minimize(
                    on_sample,
                    point,
                    jac=True,
                    method="trust-constr",
                    hess=model(),
                    options={"initial_tr_radius": RADIUS},
                )
        except _SpentError:
            pass
        point = np.array(min(visited)[1]) if visited else point
    return begin.theta(point)


def _visit(
    live: Counted,
    begin: Begin,
    seeds: tuple[int, ...],
    until: int,
    visited: list[tuple[float, Vector]],
    point: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Mean loss of a sample and its slope by the point, [support]."""
    if live.spent.cost + Spent(gradient=len(seeds)).cost > until:
        raise _SpentError
    theta = torch.tensor(begin.theta(point), dtype=torch.float64)
    losses, slopes = [], np.zeros(len(begin.phi))
    for first in range(0, len(seeds), BATCH):
        lived = live(theta, seeds[first : first + BATCH], gradient=begin.support)
        loss, accuracy, initial = (
            getattr(lived, name).double() for name in ("loss", "accuracy", "initial_loss")
        )
        bad = diverged(loss, initial)
        losses += scored(loss, accuracy, initial, live.outputs, lived.chance)[0].tolist()
        assert lived.gradient is not None
        each = lived.gradient.double().masked_fill(bad[:, None], 0.0)
        slopes += each.nan_to_num(0.0, 0.0, 0.0).sum(0).numpy()
    slopes = slopes * np.array(begin.setting.scales) * begin.pace / len(seeds)
    loss_here = float(np.mean(losses))
    visited.append((loss_here, tuple(point.tolist())))
    return loss_here, slopes[list(begin.support)]


def adam(live: Counted, begin: Begin, budget: int, *, votes: bool) -> Vector:
    """Adam, whose rate falls to a twentieth."""
    protocol = replace(
        ROBUST if votes else PAPER,
        in_units=True,
        meta_batch=ROBUST.meta_batch,
        rate=RATE * begin.pace,
        decay_share=0.5,
        decay_to=0.05,
        zero_below=0.0,
    )
    plan = FitPlan(
        label="adam",
        support=begin.support,
        scales=begin.setting.scales,
        start=begin.phi,
        seed=begin.setting.seed,
        protocol=protocol,
        meta_steps=max(1, (budget - live.spent.cost) // Spent(gradient=protocol.meta_batch).cost),
        l1=0.0,
    )
    return fit(live, plan).theta


METHODS: Mapping[str, Method] = {
    "accepted steps": accepted,
    "CMA-ES": evolution,
    "trust region, BFGS": partial(trust_region, model=optimize.BFGS),
    "trust region, SR1": partial(trust_region, model=optimize.SR1),
    "Adam on votes": partial(adam, votes=True),
    "Adam on gradients": partial(adam, votes=False),
}
"""By name; the first says what the others may cost."""


def begun(population: Population, result: Result, setting: Setting) -> Begin:
    """The reference at its best, and units of how far each term can go alone from there."""
    reference = result.with_terms([setting.names[setting.reference]]).theta
    theta = tuple(reference.get(name) or 0.0 for name in setting.names)
    seeds = lifetime_seeds(setting.seed, "units along", 0, UNIT_TASKS)
    steps = population.shape.ways * population.shape.shots
    sizes = norms(population, seeds, theta, range(0, steps, -(-steps // UNIT_POINTS)))
    scales = tuple(sizes[setting.reference] / size if size else 0.0 for size in sizes)
    phi = tuple(x / s if s else 0.0 for x, s in zip(theta, scales, strict=True))
    live = Counted(population)
    means = Means(
        setting=replace(setting, scales=scales),
        protocol=ACCEPTED,
        pace=max(map(abs, phi)),
        gain=0.0,
        descend=partial(descend, live),
        measure=lambda rules, seeds: measure_each(live, [*rules.values()], seeds, live.outputs),
        differentiate=lambda label, theta: [],
        covering=lambda means, terms: means,
        tests=(),
        common=(),
    )
    terms = tuple(term for term, scale in enumerate(scales) if scale)
    units = in_spans(means, "spans", Place((setting.reference,), phi), terms, {setting.reference})
    return Begin(replace(setting, scales=units), phi, means.pace)


def rows(run: Path, seeds: Sequence[int], root: str | None) -> Iterator[Row]:
    """Every method by every seed; first the reference."""
    result = Result.load(run)
    pool, config = asked_again(result, {"data_root": root} if root else {})
    request = prepare(pool, data_of(config), config)
    population = request.worlds[0].population(pool)
    start = begun(population, result, request.setting)
    population = replace(population, compile_for=start.support)
    fresh = lifetime_seeds(SEED, "fresh", 0, FRESH)

    def row(method: str, seed: int, theta: Vector, spent: Spent) -> Row:
        scores = measure(population, theta, fresh, population.outputs)
        return Row(method, seed, summarise(scores), spent.gradient, spent.forward, theta)

    yield row("reference", 0, start.theta(start.point), Spent())
    for seed in seeds:
        begin = replace(start, setting=replace(start.setting, seed=SEED + seed))
        budget = 0
        for name, method in METHODS.items():
            live = Counted(population)
            theta = method(live, begin, budget)
            budget = budget or live.spent.cost
            yield row(name, seed, theta, live.spent)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="a finished search")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--data-root", help="of data sets in torchvision's layout")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    asked = parser.parse_args(arguments)
    columns = ("method", "seed", "loss (95 %)", "accuracy", "diverged", "lifetimes")
    table, found = Table(*columns, box=box.SIMPLE), []
    for row in rows(asked.run, asked.seeds, asked.data_root):
        found.append(row)
        low, high = row.found.loss_interval
        table.add_row(
            row.method,
            str(row.seed),
            f"{row.found.loss:.3f} ({low:.3f} to {high:.3f})",
            f"{row.found.accuracy:.3f}",
            f"{row.found.diverged} of {row.found.lifetimes}",
            f"{row.lifetimes:,} + {row.forward:,}",
        )
        print(row.method, row.seed, f"{row.found.loss:.3f}", flush=True)
    Console(width=120).print(table)
    if asked.json:
        text = json.dumps({"machine": machine(), "rows": [asdict(row) for row in found]}, indent=2)
        asked.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    end_with(main)
