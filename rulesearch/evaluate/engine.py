"""The evaluation: rules and scenarios in, what each contestant does out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rulesearch.data import Data, TaskShape
from rulesearch.data.apart import load_apart, repeated
from rulesearch.errors import RuleSearchError
from rulesearch.evaluate.kept import Kept, keeping
from rulesearch.evaluate.options import Asked, Scenario, own_scenario, scenarios, varied
from rulesearch.evaluate.rivals import (
    CALLED,
    Contestant,
    Site,
    of_rule,
    random_rules_of,
    rivals,
)
from rulesearch.evaluate.table import Entry, Evaluated, situation_text
from rulesearch.lifetime.modes import plain
from rulesearch.meta import lifetime_seeds
from rulesearch.pathways import pathway
from rulesearch.population import Population
from rulesearch.records.plain import to_plain
from rulesearch.rule import Rule
from rulesearch.rule.seen import searches_of
from rulesearch.search.config import called
from rulesearch.selection import Near, rate_near
from rulesearch.statistics import Scores, measure

#: Octaves that a rate may be away from where its search begins, beyond the first; of random rules.
WIDENINGS, FEW = 12, 4
#: Told what is under way, and the share of all that is done.
Watch = Callable[[str, float], None]


def unwatched(doing: str, share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Images:
    """Data sets as they are needed, none with an image that a rule's search used.

    Attributes:
        rules: what is evaluated.
        asked: where the data are.
        known: those read so far.
    """

    rules: Sequence[Rule]
    asked: Asked
    known: dict[tuple[str, int, int], Data] = field(default_factory=dict)

    def of(self, scenario: Scenario) -> Data:
        """Those of a scenario, divided; the same object every time."""
        key = (scenario.dataset, scenario.ways, scenario.queries)
        if key not in self.known:
            shape = TaskShape(scenario.ways, 1, scenario.queries)
            searches = [each for rule in self.rules for each in searches_of(rule)]
            root, scale = self.asked.data_root, self.asked.scale
            self.known[key] = load_apart(key[0], root, shape, searches, scale=scale)
        return self.known[key]


@plain()
def carry_out(
    rules: Sequence[Rule],
    asked: Asked,
    out: Path | None = None,
    watch: Watch = unwatched,
) -> Evaluated:
    """Try rules in every scenario that is asked for, beside the rivals.

    Args:
        rules: what is tried, as they are; all on the same tasks.
        asked: the options.
        out: a folder that keeps what is measured, so that a stopped evaluation can go on.
        watch: told of the progress.

    Raises:
        RuleSearchError: nothing like that can be done, a line for each reason.
    """
    refuse_names(rules, asked.rivals)
    _refuse_rates(rules, asked)
    refuse_device(asked)
    _refuse_files(asked)
    grid = scenarios(asked, own_scenario(rules[0]))
    images = Images(rules, asked)
    sites = [Site(scenario, images.of(scenario), asked) for scenario in grid]
    notes = dict.fromkeys(note for site in sites for note in _notes(site, rules))
    entries: list[Entry] = []
    with keeping(out) as kept:
        done, total = 0.0, sum(_cost(site.scenario) for site in sites)
        for number, site in enumerate(sites, start=1):
            contestants, more = _contestants(site, rules)
            notes |= dict.fromkeys(more)
            share = _cost(site.scenario) / len(contestants)
            for contestant in contestants:
                doing = f"{number}/{len(sites)} {contestant.name}"
                watch(doing, done / total)
                entries += _entries(site, contestant, rules, images, kept)
                done += share
        watch("", 1.0)
    return Evaluated(
        rules=tuple(rules),
        asked=asked,
        varied=varied(asked),
        entries=tuple(entries),
        notes=tuple(notes),
    )


def refuse_names(rules: Sequence[Rule], beside: Sequence[str] = ()) -> None:
    """Refuse rules that tables could not tell apart, from each other or from the rivals.

    Raises:
        RuleSearchError: none, two with one name, or one with that of a rival.
    """
    names = [rule.name for rule in rules]
    if not names:
        raise RuleSearchError("no rule; give a run directory, a rule.toml, or a known rule's name")
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            raise RuleSearchError(
                f"rule {name}: two have this name; give each a name of its own, in a rule.toml"
            )
    taken = [CALLED[rival] for rival in beside]
    if "random-rules" in beside:
        taken += [random_rules_of(name) for name in names]
    for name in names:
        if name in taken:
            raise RuleSearchError(
                f"rule {name}: a rival is called that; give the rule another name, in a rule.toml"
            )


def refuse_device(asked: Asked) -> None:
    """Refuse a GPU that is not there.

    Raises:
        RuleSearchError: torch finds none.
    """
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise RuleSearchError("--device cuda: torch finds none here; use cpu")


def _refuse_files(asked: Asked) -> None:
    """Refuse data sets that tables could not tell apart.

    Raises:
        RuleSearchError: two are called the same.
    """
    names = [called(dataset) for dataset in asked.dataset]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            raise RuleSearchError(
                f"--dataset: two are called {name}; give each once, and files names of their own"
            )


def _refuse_rates(rules: Sequence[Rule], asked: Asked) -> None:
    """Refuse rates of where rules were sought, where none was."""
    if asked.rates == "own" and asked.rivals and not any(rule.sought for rule in rules):
        raise RuleSearchError(
            f"--rates own: no search has found {rules[0].name}, so that rivals have no rates of "
            "its own world; give --rates here"
        )


def _notes(site: Site, rules: Sequence[Rule]) -> Iterator[str]:
    """What a reader must know of the data, and of each rule on them."""
    scenario = site.scenario
    shape = TaskShape(scenario.ways, scenario.shots, scenario.queries)
    yield f"{scenario.dataset}: evaluated on {site.data.held_out.source}"
    if site.asked.rivals:
        yield f"{scenario.dataset}: rates found on {site.data.search.source}"
    if note := repeated(site.data, shape):
        yield note
    for rule in rules:
        yield from _without_matrices(scenario, rule)
        try:
            yield from site.notes(rule)
        except RuleSearchError as error:
            raise error.located(f"rule {rule.name}") from None


def _without_matrices(scenario: Scenario, rule: Rule) -> Iterator[str]:
    """What is asked of feedback matrices that a rule's networks do not have."""
    name = scenario.network(rule.network).pathway
    asked = scenario.feedback_noise or scenario.feedback_init == "transposed"
    if asked and pathway(name, len(scenario.layers) + 1).tied:
        yield (
            f"rule {rule.name}: the {name} pathway has no matrices of its own, so feedback noise "
            "and what feedback begins as change nothing there"
        )


def _contestants(site: Site, rules: Sequence[Rule]) -> tuple[list[Contestant], tuple[str, ...]]:
    others, notes = rivals(site, rules)
    return [*(of_rule(site, rule) for rule in rules), *others], notes


def _cost(scenario: Scenario) -> float:
    """How long a scenario takes, but for a factor."""
    return float(sum(scenario.asked_at) + 5 * scenario.asked_at[-1])


def _entries(
    site: Site, contestant: Contestant, rules: Sequence[Rule], images: Images, kept: Kept
) -> Iterator[Entry]:
    """What a contestant does in a scenario, at each of its rates and points."""
    for tuned, near in _rates(site, contestant, rules, images, kept):
        for steps in site.scenario.asked_at:
            scores = _measured(site, contestant, near, steps, kept)
            yield Entry(
                scenario=site.scenario,
                name=contestant.name,
                tuned=tuned,
                rate=near.rate if near else None,
                bracketed=near is None or near.bracketed,
                steps=steps,
                scores=scores,
            )


def _rates(
    site: Site, contestant: Contestant, rules: Sequence[Rule], images: Images, kept: Kept
) -> Iterator[tuple[str, Near | None]]:
    """Where a contestant's rate was found, and the rate."""
    if contestant.start is None:
        yield "", None
        return
    asked = site.asked
    if asked.rates in ("here", "both"):
        yield "here", _rate(site, contestant, kept)
    if asked.rates == "here":
        return
    owns = [*dict.fromkeys(own_scenario(rule) for rule in rules if rule.sought)]
    for own in owns:
        if asked.rates == "both" and own == replace(site.scenario, points=()):
            continue  # it is here
        there = Site(own, images.of(own), asked)
        others, _ = rivals(there, rules)
        (twin,) = (each for each in others if each.name == contestant.name)
        alike = sum(other.dataset == own.dataset for other in owns) > 1
        where = situation_text(own, own.asked_at[-1]) if alike else own.dataset
        yield f"on {where}", _rate(there, twin, kept)


def _rate(site: Site, contestant: Contestant, kept: Kept) -> Near:
    """The best rate in a scenario, on images for the search."""
    asked = site.asked
    assert contestant.start is not None
    seeds = lifetime_seeds(asked.seed, "evaluate/rates", 0, asked.tuning_tasks)
    question = {**_question(site, contestant), "rate on": seeds}
    if (known := kept.get(question, Near)) is not None:
        return known
    networks = contestant.searching

    def at(rate: float) -> Scores:
        return _live(networks, contestant.theta(rate, seeds), seeds)

    # Random rules may have no good rate at all, which is not worth a long way.
    most = WIDENINGS if contestant.cliff else FEW
    found = rate_near(at, contestant.start, widenings=most, cliff=contestant.cliff)
    kept.put(question, found)
    return found


def _measured(
    site: Site, contestant: Contestant, near: Near | None, steps: int, kept: Kept
) -> Scores:
    """What it does after so many steps, on images set aside."""
    asked = site.asked
    seeds = lifetime_seeds(asked.seed, "evaluate", 0, asked.lifetimes)
    rate = near.rate if near else 1.0
    question = {**_question(site, contestant), "at": rate, "steps": steps, "lifetimes": seeds}
    if (known := kept.get(question, Scores)) is not None:
        return known
    networks = contestant.after(site.scenario, steps).set_aside
    found = _live(networks, contestant.theta(rate, seeds), seeds)
    kept.put(question, found)
    return found


def _live(networks: Population, theta: Sequence[float] | Tensor, seeds: Sequence[int]) -> Scores:
    return measure(networks, theta, seeds, networks.outputs, batch=networks.at_once)


def _question(site: Site, contestant: Contestant) -> dict[str, Any]:
    """All that a measurement hangs on, but for rates and seeds."""
    return {
        "scenario": to_plain(replace(site.scenario, dataset="", points=())),
        "stream": site.scenario.asked_at[-1],
        "data": site.data.digest,
        "contestant": contestant.says,
        "dtype": site.asked.dtype,
    }
