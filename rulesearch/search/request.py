"""A search that has been found possible, before anything of it is run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rulesearch.choices import KernelName
from rulesearch.data import Data
from rulesearch.errors import RuleSearchError
from rulesearch.kernels.fused.cache import cache_folder
from rulesearch.lifetime import choose_kernel
from rulesearch.lifetime.modes import plain
from rulesearch.lifetime.reads import check_reads, refuse_other_than_pool
from rulesearch.locality import parse_needs, within
from rulesearch.lowering import lower_terms
from rulesearch.meta import lifetime_seeds, units
from rulesearch.model import bounded
from rulesearch.notation import Pool, with_biases
from rulesearch.pathways import pathway
from rulesearch.search.beginning import Begun, begun_at, differences, without_unit
from rulesearch.search.config import Config, check, field_name
from rulesearch.search.memory import enough_memory
from rulesearch.search.premises import premises
from rulesearch.search.worlds import World, in_each, worlds_for
from rulesearch.selection import Effort, Setting
from rulesearch.updates import norms, remembering_terms

NORM_TASKS = 32
#: Steps after which terms that remember are looked at once more.
LATER = 5
"""Lifetimes whose first step measures the size of every term."""


@dataclass(frozen=True)
class Request:
    """A search that has been found possible: everything it needs, nothing written yet.

    Attributes:
        pool: the terms.
        worlds: data sets and networks.
        config: resolved.
        setting: numbers of the pool on these data.
        messages: what a reader must know first, such as a term left out.
        kernel: that will run it.
        begun: the rule that it begins at; None for the reference alone.
        told: what is said before it begins, and is no part of its result.
    """

    pool: Pool
    worlds: tuple[World, ...]
    config: Config
    setting: Setting
    messages: tuple[str, ...]
    kernel: KernelName
    begun: Begun | None = None
    told: tuple[str, ...] = ()

    @property
    def data(self) -> tuple[Data, ...]:
        """Each data set once, in their order."""
        return tuple(dict.fromkeys(world.data for world in self.worlds))

    @property
    def depth(self) -> int:
        """Layers with weights of a network; where networks differ, no term says its layers."""
        return self.worlds[0].depth

    def label(self, world: World) -> str:
        """What labels and messages have in front in this world: nothing where it is the only one.

        Example: `mnist/`.
        """
        return f"{world.name}/" if len(self.worlds) > 1 else ""


def _refuse_other_kinds(pool: Any, data: Any, config: Any) -> None:
    refuse_other_than_pool(pool)
    for each in data if isinstance(data, list | tuple) and data else [data]:
        if not isinstance(each, Data):
            raise RuleSearchError(
                f"data: a {type(each).__name__}; give Data, as "
                'load_data("digits", shape=config.shape)'
            )
    if not isinstance(config, Config):
        raise RuleSearchError(
            f"config: a {type(config).__name__}; give a Config, as Config(trials=2)"
        )


def settled(
    pool: Pool, data: Data | Sequence[Data], config: Config
) -> tuple[Pool, Config, tuple[World, ...]]:
    """Pool and options as a search of these data has them; of `prepare`, all that measures nothing.

    Raises:
        RuleSearchError: options that do not fit the data or the pool, or an argument of another
            kind.
    """
    data = (data,) if isinstance(data, Data) else data
    _refuse_other_kinds(pool, data, config)
    check(config, field_name)
    config, worlds = worlds_for(config, data)
    if config.bias:
        pool = with_biases(pool)
    within(pool, parse_needs(config.locality), config.neurons)
    refuse_layers_of_some(pool, [world.depth for world in worlds])
    return pool.for_network(worlds[0].depth), config, worlds


@plain()
def prepare(pool: Pool, data: Data | Sequence[Data], config: Config) -> Request:
    """Check that a search can be met, and measure its units.

    Args:
        pool: the terms.
        data: the images; of several data sets, in the order of the options.
        config: the options.

    Raises:
        RuleSearchError: options, locality, terms that are not finite on the data; or an argument
            of another kind.
    """
    pool, config, worlds = settled(pool, data, config)
    begun = begun_at(config, pool, {world.depth for world in worlds})
    for depth in {world.depth for world in worlds}:
        check_reads(pool, pathway(config.pathway, depth), config.model(pool))
    notes = (*_premises(pool, worlds), *pool.measured)
    in_each(worlds, _called, lambda w: enough_memory(w.config, w.sizes, NORM_TASKS))
    protocol = config.meta_protocol()
    reference = pool.names.index(pool.reference)
    seeds = lifetime_seeds(config.seed, "units", 0, NORM_TASKS)
    labels = [f"{t.name}, {t}" for t in pool]
    factors = [float(t.factor) for t in pool]

    def scaled(measured: Sequence[float]) -> tuple[tuple[float, ...], tuple[str, ...]]:
        return units(measured, reference, labels, protocol.largest_scale, factors)

    def measured_in(world: World) -> tuple[float, ...]:
        # What a trace is compared with it is itself in the first step, where it may begin.
        last = config.ways * config.shots - 1
        points = (0, min(LATER, last)) if remembering_terms(pool) and last else (0,)
        measured = norms(world.population(pool), seeds, points=points)
        if beyond := [*_beyond(labels, measured, config)]:
            raise RuleSearchError(*beyond)
        scaled(measured)  # so that what cannot be measured is told of this world
        return measured

    sizes = in_each(worlds, _called, measured_in)
    scales, messages = scaled([sum(column) / len(sizes) for column in zip(*sizes, strict=True)])
    if begun is not None:
        if faults := [*without_unit(begun, pool.names, scales)]:
            raise RuleSearchError(*faults)
        messages += (
            *differences(begun, pool, config, tuple(dict.fromkeys(w.data for w in worlds))),
        )
    if not protocol.in_units:
        scales = tuple(1.0 if s else 0.0 for s in scales)
    start = tuple(
        pool.start.get(name, 0.0) / scale if scale else 0.0
        for name, scale in zip(pool.names, scales, strict=True)
    )
    shared = pool.throughout(pool.terms[reference].expression, worlds[0].depth)
    if len(shared) > 1:
        messages += (f"the reference is {', '.join(shared)} with one coefficient",)
    on_cpu = config.device == "cpu"
    cache_folder()  # refused now rather than in the middle of the run
    chosen: KernelName = "fused" if config.kernel == "auto" else config.kernel
    paths = [(world.sizes, pathway(config.pathway, world.depth)) for world in worlds]
    model = bounded(config.model(pool), pool, tied=paths[0][1].tied)
    plan = lower_terms(pool.distinct, model)
    told = [choose_kernel(config.kernel, plan, *each, on_cpu=on_cpu)[1] for each in paths]
    notes_on_kernels = tuple(dict.fromkeys(note for note in told if note))
    messages += notes_on_kernels
    assert isinstance(config.effort, Effort)  # resolved
    keys = tuple(f"{t.key} {pool.where.get(t.name, '')}".rstrip() for t in pool)
    setting = Setting(
        *(pool.names, scales, start, reference, protocol, config.seed, config.effort, keys),
        worlds=len(worlds),
    )
    kernel: KernelName = "einsum" if notes_on_kernels else chosen
    messages = (*notes, *messages)
    return Request(pool, worlds, config, setting, messages, kernel, begun, pool.said)


def _beyond(terms: Sequence[str], sizes: Sequence[float], config: Config) -> Iterator[str]:
    """Terms that lifetimes cannot hold, a line each."""
    for term, size in zip(terms, sizes, strict=True):
        if torch.finfo(config.torch_dtype()).max < size < math.inf:
            way = ", or give --dtype float64" if config.dtype == "float32" else ""
            yield (
                f"term {term}: its update is {size:.1g} large at initialisation, and "
                f"{config.dtype} cannot hold that; rewrite it{way}"
            )


def _called(world: World) -> str:
    return world.name


def _premises(pool: Pool, worlds: Sequence[World]) -> tuple[str, ...]:
    """What a reader must know of the terms in each world; what holds in all is said once."""
    of_each = in_each(worlds, _called, lambda w: premises(pool, w.data, w.config))
    common = set.intersection(*map(set, of_each))
    said = {line: "" for line in of_each[0] if line in common}
    for world, lines in zip(worlds, of_each, strict=True):
        said |= {f"{world.name}: {line}": "" for line in lines if line not in common}
    return tuple(said)


def refuse_layers_of_some(pool: Pool, depths: Sequence[int]) -> None:
    """Refuse terms in layers of their own where networks have not all the same number.

    Raises:
        RuleSearchError: for the first such term.
    """
    if min(depths) < max(depths) and pool.where:
        raise RuleSearchError(
            f"term {next(iter(pool.where))}: acts in layers of its own, and networks have "
            f"{min(depths)} to {max(depths)}; give networks of one depth, or let it act everywhere"
        )
