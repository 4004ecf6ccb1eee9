"""What is tried: rules as they are, and rivals with one number, a rate, on the same tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from rulesearch.baselines import by_adam, by_gradient
from rulesearch.choices import PathwayName, RivalName
from rulesearch.data import Data
from rulesearch.evaluate.options import Asked, Scenario
from rulesearch.given_rule import known_rule
from rulesearch.lifetime.reads import check_reads
from rulesearch.meta import ACCEPTED, lifetime_seeds, units
from rulesearch.notation import Pool, with_biases
from rulesearch.notation.term import PSEUDO_GRADIENT
from rulesearch.pathways import pathway as pathway_of
from rulesearch.population import Population
from rulesearch.rule import Network, Rule, rule_to_plain
from rulesearch.search.compared import ADAM_START
from rulesearch.search.premises import premises
from rulesearch.search.worlds import World
from rulesearch.updates import norms, remembering_terms

#: Lifetimes that measure the size of each term, and steps after which terms that remember are
#: looked at once more, as a search does.
UNIT_TASKS = 32
LATER = 5
#: Where the search for a rate begins: near what it is for networks like the paper's.
STARTS = {
    "random-rules": 0.5,
    "feedback-alignment": 0.01,
    "direct-feedback-alignment": 0.02,
    "sign-symmetric": 0.02,
    "backprop-sgd": 0.02,
    "backprop-adam": 8 * ADAM_START,
    "last-layer": 0.2,
}
#: What each rival's errors travel on.
PATHWAYS: dict[str, PathwayName] = {
    "last-layer": "symmetric",
    "feedback-alignment": "random",
    "direct-feedback-alignment": "direct",
    "sign-symmetric": "sign-symmetric",
    "kolen-pollack": "random",
    "backprop-sgd": "symmetric",
    "backprop-adam": "symmetric",
}
#: What they are called in tables.
CALLED: dict[str, str] = {
    "untrained": "untrained",
    "last-layer": "last layer alone",
    "random-rules": "random rules",
    "feedback-alignment": "feedback alignment",
    "direct-feedback-alignment": "direct feedback alignment",
    "sign-symmetric": "sign-symmetric feedback",
    "kolen-pollack": "Kolen-Pollack",
    "backprop-sgd": "backprop by SGD",
    "backprop-adam": "backprop by Adam",
}
assert [*CALLED] == [*get_args(RivalName)]

Coefficients = Callable[[float, Sequence[int]], Sequence[float] | Tensor]


@dataclass(frozen=True, eq=False)
class Contestant:
    """A rule, or a rival with one number.

    Attributes:
        name: in tables.
        says: what it is, as plain data that decide its numbers.
        searching: its networks, on images for the search,
        set_aside: and on images that no search used.
        theta: raw coefficients at a rate, [terms], or those of each lifetime, [lifetimes, terms].
        start: where the search for its rate begins; None for one that has none.
        cliff: whether a rate at which most lifetimes diverge is beyond the good ones; of random
            rules it is not, some of which unlearn at any rate.
    """

    name: str
    says: dict[str, Any]
    searching: Population
    set_aside: Population
    theta: Coefficients
    start: float | None = None
    cliff: bool = True

    def after(self, scenario: Scenario, steps: int) -> Contestant:
        """The same, learning from so many examples of its stream."""
        now = scenario.conditions(steps)
        return replace(
            self,
            searching=replace(self.searching, conditions=now),
            set_aside=replace(self.set_aside, conditions=now),
        )


@dataclass(frozen=True, eq=False)
class Site:
    """A scenario with its images.

    Attributes:
        scenario: it.
        data: the images.
        asked: what is said of how to compute.
    """

    scenario: Scenario
    data: Data
    asked: Asked

    def networks(self, pool: Pool, network: Network, **more: Any) -> tuple[Population, Population]:
        """Networks that learn by rules of a pool, on images for the search and set aside."""
        config = self.scenario.config(
            network,
            data_root=self.asked.data_root,
            scale=self.data.scale is not None,
            scale_ranges=(self.data.scale,) if self.data.scale else (),
            kernel=self.asked.kernel,
            device=self.asked.device,
            dtype=self.asked.dtype,
        )
        world = World(self.scenario.dataset, self.data, config)
        last = self.scenario.asked_at[-1]
        searching, aside = (
            replace(
                world.population(pool, held_out=held_out),
                sampling="again",
                conditions=self.scenario.conditions(last),
                **more,
            )
            for held_out in (False, True)
        )
        return searching, aside

    def notes(self, rule: Rule) -> tuple[str, ...]:
        """What a reader must know of a rule's terms here.

        Raises:
            RuleSearchError: terms that these networks or data cannot have.
        """
        network = self.scenario.network(rule.network)
        config = self.scenario.config(network)
        world = World(self.scenario.dataset, self.data, config)
        pool = rule.pool.in_network(world.depth)
        check_reads(pool, pathway_of(config.pathway, world.depth), config.model(pool))
        return (*still_layers(rule, world.depth), *premises(pool, self.data, config))


def still_layers(rule: Rule, depth: int) -> tuple[str, ...]:
    """The note on layers in which no term of a rule changes weights, or none.

    Example:
        >>> first = Rule("first", Pool(F0="-e_post*y_pre", where={"F0": (1, 2)}), (0.1,))
        >>> still_layers(first, 2), still_layers(first, 4)
        ((), ('rule first: of 4 layers 3, 4 stay as they are drawn, for no term acts there',))
    """
    changes = [any(parameter == "W" for parameter, _ in term.updates) for term in rule.pool]
    still = [
        str(layer)
        for layer, row in enumerate(rule.pool.in_network(depth).mask(depth), start=1)
        if not any(acts and moves for acts, moves in zip(row, changes, strict=True))
    ]
    if not still:
        return ()
    stay = "stay as they are drawn" if len(still) > 1 else "stays as it is drawn"
    return (
        f"rule {rule.name}: of {depth} layers {', '.join(still)} {stay}, for no term acts there",
    )


def of_rule(site: Site, rule: Rule) -> Contestant:
    """A rule, its coefficients as they are.

    Raises:
        RuleSearchError: with the rule's name, what `Site.notes` refuses.
    """
    network = site.scenario.network(rule.network)
    pool = rule.pool.in_network(World("", site.data, site.scenario.config(network)).depth)
    searching, aside = site.networks(pool, network)
    beside = ("name", "source", "sought", "intervals")
    said = {n: x for n, x in rule_to_plain(rule).items() if n not in beside}
    return Contestant(rule.name, {"rule": said}, searching, aside, lambda rate, seeds: rule.theta)


def rivals(site: Site, rules: Sequence[Rule]) -> tuple[list[Contestant], tuple[str, ...]]:
    """The rivals that are asked for, and notes on them.

    Their networks are those of the first rule, biases included, which learn at the same rate.
    """
    network = _network(site, rules[0])
    found: list[Contestant] = []
    notes: list[str] = []
    others = [rule.name for rule in rules[1:] if _network(site, rule) != network]
    if others and site.asked.rivals:
        notes.append(f"rivals are in networks as {rules[0].name} has them, and not as {others[0]}")
    for name in site.asked.rivals:
        if name == "random-rules":
            made = [_random(site, rule, len(rules) > 1) for rule in rules]
            found += [each for each in made if each]
            notes += [
                f"rule {rule.name}: no random rules, for it has one term"
                for rule, each in zip(rules, made, strict=True)
                if not each
            ]
        else:
            found.append(_rival(site, name, network))
    return found, tuple(notes)


def _network(site: Site, rule: Rule) -> Network:
    """A rule's network there, with biases where its terms change them."""
    network = site.scenario.network(rule.network)
    return replace(network, bias=replace(rule, network=network).model.bias)


def _rival(site: Site, name: str, network: Network) -> Contestant:
    """A rival that does not hang on the terms of a rule."""
    pool, start = by_gradient(bias=network.bias), STARTS.get(name)
    direction: tuple[float, ...] = (1.0,)
    if name == "backprop-adam":
        pool = by_adam(bias=network.bias)
    if name == "last-layer":
        pool = pool.acting({"F": (-1,)})
    if name == "kolen-pollack":
        known = known_rule("kolen-pollack")
        pool, direction = _with_biases(known.pool, known.theta, bias=network.bias)
        start = 1.0
    path = PATHWAYS.get(name, network.pathway)
    # The last layer alone needs no errors from behind; backprop has no feedback to begin with.
    networks = site.networks(pool, replace(network, pathway=path))
    steady = tuple(0.0 if name == "untrained" else x for x in direction)
    said = {"rival": name, "network": _plain_network(network)}
    return Contestant(
        CALLED[name],
        said,
        *networks,
        theta=lambda rate, seeds: tuple(rate * x for x in steady),
        start=start,
    )


def _with_biases(
    pool: Pool, theta: Sequence[float], *, bias: bool
) -> tuple[Pool, tuple[float, ...]]:
    """A pool whose biases, where there are any, learn at the rate of its pseudo-gradient."""
    if not bias:
        return pool, tuple(theta)
    joined = with_biases(pool)
    (rate,) = (x for t, x in zip(pool, theta, strict=True) if t.expression == PSEUDO_GRADIENT)
    own = dict(zip(pool.names, theta, strict=True))
    return joined, tuple(own.get(name, rate) for name in joined.names)


def random_rules_of(name: str) -> str:
    """What the random rules of one rule of several are called."""
    return f"{CALLED['random-rules']} of {name}'s terms"


def _random(site: Site, rule: Rule, several: bool) -> Contestant | None:
    """Random rules of a rule's terms: a direction in units for each lifetime, one rate for all.

    At a rate of 1 they are as long as the rule. Of a direction and its opposite it is the one in
    which the term that is most of the rule does what it does there.

    None where there is one term, of which every rule is a multiple.
    """
    of = of_rule(site, rule)
    pool = of.searching.pool
    if len(pool) < 2:
        return None
    scales = units_of(of.searching, site.asked.seed)

    # The rule in units: its length, and the term that is most of it.
    own = np.array([x / s if s else 0.0 for x, s in zip(rule.theta, scales, strict=True)])
    length, main = float(np.linalg.norm(own)), int(np.abs(own).argmax())
    # Drawn by what terms are, so that neither their order nor a factor of one says which.
    layers = [pool.where.get(term.name, ()) for term in pool]
    order = sorted(range(len(pool)), key=lambda n: (pool.terms[n].key, layers[n]))
    signs = np.array([math.copysign(1.0, float(term.factor)) for term in pool])

    def directions(rate: float, seeds: Sequence[int]) -> Tensor:
        rows = [np.random.default_rng([seed, 1]).standard_normal(len(scales)) for seed in seeds]
        drawn = np.empty((len(rows), len(scales)))
        drawn[:, order] = np.stack(rows)
        drawn *= signs
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        drawn *= np.sign(drawn[:, [main]] * own[main])
        return torch.from_numpy(rate * length * drawn * np.array(scales))

    name = random_rules_of(rule.name) if several else CALLED["random-rules"]
    said = {**of.says, "rival": "random-rules"}
    start = STARTS["random-rules"]
    return Contestant(name, said, of.searching, of.set_aside, directions, start, cliff=False)


def units_of(searching: Population, seed: int) -> tuple[float, ...]:
    """The unit of each term: with it, it is as large as the reference, as at a search's begin.

    Raises:
        RuleSearchError: a term is not finite on these data, or the reference is zero.
    """
    pool, shape = searching.pool, searching.shape
    last = (searching.conditions.steps or shape.ways * shape.shots) - 1
    points = (0, min(LATER, last)) if remembering_terms(pool) and last else (0,)
    seeds = lifetime_seeds(seed, "units", 0, UNIT_TASKS)
    measured = norms(searching, seeds, points=points)
    labels = [f"{term.name}, {term}" for term in pool]
    factors = [float(term.factor) for term in pool]
    reference = pool.names.index(pool.reference)
    return units(measured, reference, labels, ACCEPTED.largest_scale, factors)[0]


def _plain_network(network: Network) -> dict[str, Any]:
    from rulesearch.records.plain import to_plain

    plain: dict[str, Any] = to_plain(network)
    return plain
