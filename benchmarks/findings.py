"""Found rules, unchanged, in worlds where they were not sought.

    python -m benchmarks.findings RULE ... --json FILE [--data-root DIR] [--worlds W ...]
        [--tasks N]

A RULE is a run directory, RUN:N for the entry of N terms of its hall of fame, RUN:NAME,NAME for
that of these terms, or what else every command takes: a `rule.toml`, the name of a rule that comes
along. Coefficients are as found, nothing is fitted again. Beside the rules stand backprop by SGD
and by Adam and feedback alignment, each at its own best rate in each world, found on images of its
search. All are measured on the same tasks of images set aside. On the world `emnist` each rule is
also run on other pathways, all of its coefficients times 0.12, 0.25, 0.5, 0.7 or 1, whichever does
best on images of the search.

With `--without` each rule also runs on `emnist` without each of its terms in turn, the others as
they are, and what networks are like at the end stands beside the accuracy: the norm of the weights,
how far the rows of each matrix are from orthonormal, and the angle between errors and backprop's.

With `--backprops` Adam is there in three more ways on the symmetric pathway: with biases that
learn, with gradients by activities about their running mean, and with what `whitened` would do in
place of the gradient, each at its own best rate.

FILE grows row by row; rows that it holds are not measured again, and a FILE with rows of other
tasks or coefficients is refused. Rules are for networks of the paper's kind; others are refused.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.ending import end_with
from benchmarks.machine import cores, machine
from rulesearch import Config, Pool, load_data
from rulesearch.baselines import adam, by_adam
from rulesearch.errors import RuleSearchError
from rulesearch.given_rule import known_rule, load_rule
from rulesearch.meta import lifetime_seeds
from rulesearch.notation import e_post, seen_from_pre, trace, y_post, y_pre
from rulesearch.population import Population
from rulesearch.rule import Network, Rule
from rulesearch.scoring import diverged, scored
from rulesearch.search import compared
from rulesearch.search.request import Request, prepare
from rulesearch.search.stages import Stages
from rulesearch.statistics import Scores, measure, summarise, t_interval
from rulesearch.words import EVALUATED

SEED = 20_000  # of the lifetimes: no search has it
#: Data set and hidden layers of each world.
WORLDS: dict[str, tuple[str, tuple[int, ...]]] = {
    "emnist": ("emnist", (170, 130, 100, 70)),
    "mnist": ("mnist", (170, 130, 100, 70)),
    "fashion-mnist": ("fashion-mnist", (170, 130, 100, 70)),
    "three layers": ("emnist", (130, 70)),
    "eight layers": ("emnist", (170, 150, 130, 115, 100, 85, 70)),
    "digits": ("digits", (170, 130, 100, 70)),
}
Key = tuple[str, str, str]
"""World, rule or rival, pathway."""

#: By the names of `Result.evaluation`; the first two are compared with pair by pair.
RIVALS = ("backprop_sgd", "backprop_adam", "feedback_alignment")
#: Adam in other ways, with `--backprops`.
BACKPROPS = ("Adam, biases", "Adam, centred", "Adam of whitened")
PATHWAYS = ("symmetric", "direct", "sign-symmetric")
FACTORS = (0.12, 0.25, 0.5, 0.7, 1.0)
FACTOR_TASKS = 60
WITHOUT_TASKS = 100
OBSERVED = ("weight_norm", "orthonormality", "angle_each")


@dataclass(frozen=True)
class Row:
    """A rule or a rival in a world.

    Attributes:
        world: see `WORLDS`.
        name: of the rule or rival.
        pathway: its errors travel on.
        factor: all coefficients are multiplied by; of a rival, its rate.
        accuracy: mean, on images set aside,
        low: lower end of its 95 % interval over tasks,
        high: and upper end.
        loss: mean query loss, nats.
        diverged: lifetimes that did,
        lifetimes: of so many.
        losses: of each lifetime, the same for all in a world, so that differences are paired.
        theta: raw coefficients of the rule; of a rival none.
    """

    world: str
    name: str
    pathway: str
    factor: float
    accuracy: float
    low: float
    high: float
    loss: float
    diverged: int
    lifetimes: int
    losses: tuple[float, ...] = ()
    theta: tuple[float, ...] = ()


def rule_of(text: str) -> Rule:
    """The rule that RUN, RUN:N or RUN:NAME,NAME names."""
    path, _, wanted = text.partition(":")
    entry = int(wanted) if wanted.isdigit() else wanted.split(",") if wanted else None
    rule = replace(load_rule(path, entry), name=text)
    if replace(rule.network, pathway="random") != Network():
        raise RuleSearchError(f"{text}: is for other networks; try it by rulesearch evaluate")
    return rule


def measured(population: Population, rule: Rule, seeds: tuple[int, ...], factor: float) -> Scores:
    """The rule, all coefficients times the factor, on these lifetimes."""
    theta = tuple(factor * x for x in rule.theta)
    return measure(population, theta, seeds, population.outputs)


def _short(name: str) -> str:
    """A run without the folders that it lies in: columns of a table are narrow."""
    return name.rpartition("/")[2]


def row_of(world: str, name: str, pathway: str, factor: float, outcomes: Scores) -> Row:
    """Scores summed up."""
    summary = summarise(outcomes)
    low, high = summary.accuracy_interval
    accuracy, loss = summary.accuracy, summary.loss
    counts = (summary.diverged, summary.lifetimes)
    each = tuple(round(x, 6) for x in outcomes.loss)
    return Row(world, name, pathway, factor, accuracy, low, high, loss, *counts, each)


def backprops(request: Request) -> dict[str, compared.Baseline]:
    """Adam with biases, and with something else for the gradient, which one term has."""
    mean = trace("mean_post", y_post, decay=0.95, initial="first")
    whitened = known_rule("whitened")
    change = sum(x * term.expression for x, term in zip(whitened.theta, whitened.pool, strict=True))
    pools = (
        by_adam(bias=True),
        Pool(F=adam(e_post * (y_pre - seen_from_pre(mean)))),
        Pool(F=adam(-change)),
    )
    world = request.worlds[0]
    found = {}
    for name, pool in zip(BACKPROPS, pools, strict=True):
        model = replace(world.config.model(pool), bias=name == "Adam, biases")
        found[name] = compared.baseline(world, model, "symmetric", pool, compared.ADAM_START)
    return found


def rivals(
    request: Request, world: str, seeds: tuple[int, ...], of: dict[str, compared.Baseline]
) -> Iterator[Row]:
    """Each at its best rate here."""
    stages = Stages(None, lambda record: None, lambda label: None)
    rates = compared.best_rates(request, stages, of)
    for name, outcomes in compared.evaluated(stages, of, rates, seeds).items():
        pathway = "random" if name == "feedback_alignment" else "symmetric"
        yield row_of(world, name, pathway, rates[name].rate, outcomes)


def on_pathway(request: Request, rule: Rule, pathway: str) -> tuple[Population, float]:
    """Networks on images set aside, and the factor that does best on images of the search."""
    world = request.worlds[0]
    here, aside = (
        world.population(request.pool, pathway=pathway, held_out=held_out)
        for held_out in (False, True)
    )
    if pathway == world.config.pathway:
        return aside, 1.0
    seeds = lifetime_seeds(SEED, "factors", 0, FACTOR_TASKS)
    losses = {factor: measured(here, rule, seeds, factor).mean_loss for factor in FACTORS}
    return aside, min(losses, key=lambda factor: losses[factor])


def _has(known: set[Key], world: str, name: str) -> bool:
    return any(key[:2] == (world, name) for key in known)


def rows_of(
    rules: Sequence[Rule],
    world: str,
    root: str | None,
    tasks: int,
    known: set[Key],
    more: bool,
) -> Iterator[Row]:
    """All that is not known yet of a world; with more, also `BACKPROPS`."""
    dataset, layers = WORLDS[world]
    config = Config(dataset=dataset, data_root=root, layers=layers, seed=SEED)
    data = load_data(dataset, root, shape=config.shape)
    seeds = lifetime_seeds(SEED, world, 0, tasks)
    request = prepare(rules[0].pool, data, config)
    of = compared.baselines(request, request.worlds[0]) | (backprops(request) if more else {})
    of = {name: each for name, each in of.items() if not _has(known, world, name)}
    yield from rivals(request, world, seeds, of)
    pathways = ("random", *PATHWAYS) if world == "emnist" else ("random",)
    for rule in rules:
        request = prepare(rule.pool, data, config)
        for pathway in pathways:
            if (world, rule.name, pathway) in known:
                continue
            population, factor = on_pathway(request, rule, pathway)
            covered = tuple(range(len(rule.theta)))
            population = replace(population, compile_for=covered)
            outcomes = measured(population, rule, seeds, factor)
            yield replace(
                row_of(world, rule.name, pathway, factor, outcomes), theta=tuple(rule.theta)
            )


@dataclass(frozen=True)
class Without:
    """What a rule's networks are like after a lifetime without one of its terms.

    Attributes:
        name: of the rule.
        term: left out, the others as they are; "" for the whole rule.
        accuracy: mean, on images set aside.
        diverged: lifetimes that did,
        lifetimes: of so many.
        norm: of the weights of a layer, mean over layers and the lifetimes that ended.
        orthonormality: likewise, see `rulesearch.observables.orthonormality`.
        angle: likewise, degrees between the errors of single examples and backprop's, over the
            hidden layers.
        theta: raw coefficients of the whole rule.
    """

    name: str
    term: str
    accuracy: float
    diverged: int
    lifetimes: int
    norm: float
    orthonormality: float
    angle: float
    theta: tuple[float, ...] = ()


def without_each(rules: Sequence[Rule], root: str | None, tasks: int) -> Iterator[Without]:
    """Each rule whole, then without each of its terms, on `emnist`."""
    dataset, layers = WORLDS["emnist"]
    config = Config(dataset=dataset, data_root=root, layers=layers, seed=SEED)
    data = load_data(dataset, root, shape=config.shape)
    seeds = lifetime_seeds(SEED, "without", 0, tasks)
    for rule in rules:
        networks = prepare(rule.pool, data, config).worlds[0].population(rule.pool, held_out=True)
        networks = replace(networks, compile_for=tuple(range(len(rule.theta))))
        for gone in (None, *range(len(rule.theta))):
            theta = [0.0 if term == gone else x for term, x in enumerate(rule.theta)]
            yield _left(networks, rule, gone, torch.tensor(theta, dtype=torch.float64), seeds)


def _left(
    networks: Population, rule: Rule, gone: int | None, theta: torch.Tensor, seeds: Sequence[int]
) -> Without:
    lived = networks(theta, seeds, observe=OBSERVED)
    bad = diverged(lived.loss, lived.initial_loss)
    _, accuracy = scored(lived.loss, lived.accuracy, lived.initial_loss, networks.outputs)
    norm, rows, angle = (lived.observed[name][~bad] for name in OBSERVED)
    return Without(
        name=rule.name,
        term="" if gone is None else rule.pool.names[gone],
        accuracy=float(accuracy.mean()),
        diverged=int(bad.sum()),
        lifetimes=len(seeds),
        norm=float(norm.nanmean()),
        orthonormality=float(rows.nanmean()),
        angle=float(angle[..., :-1].nanmean()),
        theta=tuple(rule.theta),
    )


def show_without(rows: Sequence[Without], console: Console) -> None:
    """A line for each rule and each of its terms."""
    names = ("rule", "without", "accuracy", "diverged", "norm", "orthonormality", "angle")
    table = Table(*names, box=box.SIMPLE)
    for row in rows:
        table.add_row(
            _short(row.name),
            row.term,
            f"{row.accuracy:.3f}",
            f"{row.diverged} of {row.lifetimes}",
            *(f"{value:.3g}" for value in (row.norm, row.orthonormality, row.angle)),
        )
    console.print(table)


def show(rows: Sequence[Row], console: Console) -> None:
    """A line for each rule on each pathway, a column for each world."""
    worlds = [*dict.fromkeys(row.world for row in rows)]
    table = Table("rule", "pathway", *worlds, box=box.SIMPLE)
    lines = dict.fromkeys((row.name, row.pathway) for row in rows)
    at = {(row.name, row.pathway, row.world): row for row in rows}
    for name, pathway in lines:
        cells = []
        for world in worlds:
            row = at.get((name, pathway, world))
            bad = f" ({row.diverged})" if row and row.diverged else ""
            cells.append(f"{row.accuracy:.3f}{bad}" if row else "")
        table.add_row(_short(name), pathway, *cells)
    console.print(table)
    console.print("Accuracy on images set aside, lifetimes that diverged in brackets.")
    lines = dict.fromkeys(
        (row.name, row.pathway) for row in rows if row.name not in {*RIVALS, *BACKPROPS}
    )
    for rival in RIVALS[:2]:
        table = Table("rule", "pathway", *worlds, box=box.SIMPLE)
        for name, pathway in lines:
            found = [at.get((name, pathway, world)) for world in worlds]
            than = [at.get((rival, "symmetric", world)) for world in worlds]
            table.add_row(_short(name), pathway, *map(_less, found, than))
        console.print(table)
        console.print(f"Loss minus that of {EVALUATED[rival]}, paired, with its 95 % interval.")


def _less(row: Row | None, than: Row | None) -> str:
    """The paired difference of losses."""
    if row is None or than is None or not len(row.losses) == len(than.losses) > 1:
        return ""
    differences = [a - b for a, b in zip(row.losses, than.losses, strict=True)]
    low, high = t_interval(differences)
    return f"{sum(differences) / len(differences):+.3f} [{low:+.3f}, {high:+.3f}]"


def write(file: Path, rows: Sequence[Row], left: Sequence[Without]) -> None:
    """Write all that was measured so far."""
    parts = {"rows": [*map(asdict, rows)], "without": [*map(asdict, left)]}
    text = json.dumps({"machine": machine()} | parts, indent=2)
    file.write_text(text + "\n", encoding="utf-8")


def refuse_others(
    file: Path, rules: Sequence[Rule], rows: Sequence[Row], left: Sequence[Without], tasks: int
) -> None:
    """Refuse to put rows beside those of other tasks, or of rules of other coefficients.

    Raises:
        RuleSearchError: there are such.
    """
    theta = {rule.name: tuple(rule.theta) for rule in rules}
    held = [(row.name, row.theta) for row in rows] + [(row.name, row.theta) for row in left]
    others = any(theta.get(name, own) != own for name, own in held)
    if others or any(row.lifetimes != tasks for row in rows):
        raise RuleSearchError(
            f"--json {file}: has rows of other --tasks or other coefficients; give another file"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rules", nargs="+", metavar="RULE", help="RUN, or RUN:N for N terms")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the rows")
    parser.add_argument("--data-root", help="of data sets in torchvision's layout")
    parser.add_argument("--worlds", nargs="+", choices=[*WORLDS], default=[*WORLDS])
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--backprops", action="store_true", help="also Adam in three more ways")
    parser.add_argument("--without", action="store_true", help="also without each term")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(cores())
    rules = [rule_of(text) for text in asked.rules]
    rows: list[Row] = []
    left: list[Without] = []
    if asked.json.exists():
        kept = json.loads(asked.json.read_text("utf-8"))
        rows = [Row(**{**row, "theta": tuple(row.get("theta", ()))}) for row in kept["rows"]]
        left = [Without(**{**r, "theta": tuple(r.get("theta", ()))}) for r in kept["without"]]
        refuse_others(asked.json, rules, rows, left, asked.tasks)
    console = Console()
    console.width = max(console.width, 150)
    for world in asked.worlds:
        known = {(row.world, row.name, row.pathway) for row in rows}
        for row in rows_of(rules, world, asked.data_root, asked.tasks, known, asked.backprops):
            rows.append(row)
            write(asked.json, rows, left)
        show(rows, console)
    if asked.without:
        measured_of = Counter(row.name for row in left)
        others = [rule for rule in rules if measured_of[rule.name] != len(rule.theta) + 1]
        left = [row for row in left if row.name not in {rule.name for rule in others}]
        for found in without_each(others, asked.data_root, WITHOUT_TASKS):
            left.append(found)
            write(asked.json, rows, left)
        show_without(left, console)


if __name__ == "__main__":
    end_with(main)
