"""A search that has been found possible, before anything of it is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rulesearch.choices import KernelName
from rulesearch.data import Data
from rulesearch.errors import RuleSearchError
from rulesearch.kernels.fused.cache import cache_folder
from rulesearch.lifetime import choose_kernel
from rulesearch.lifetime.given import refuse_other_than_pool
from rulesearch.lifetime.modes import plain
from rulesearch.locality import parse_needs, within
from rulesearch.lowering import lower_terms
from rulesearch.meta import lifetime_seeds, units
from rulesearch.notation import Pool
from rulesearch.pathways import pathway
from rulesearch.population import Population
from rulesearch.search.config import Config, check, field_name
from rulesearch.search.memory import enough_memory
from rulesearch.search.premises import for_data, premises
from rulesearch.selection import Effort, Setting
from rulesearch.updates import norms

NORM_TASKS = 32
"""Lifetimes whose first step measures the size of every term."""


@dataclass(frozen=True)
class Request:
    """A search that has been found possible: everything it needs, nothing written yet.

    Attributes:
        pool: the terms.
        data: the images.
        config: resolved.
        setting: numbers of the pool on these data.
        messages: what a reader must know first, such as a term left out.
        kernel: that will run it.
    """

    pool: Pool
    data: Data
    config: Config
    setting: Setting
    messages: tuple[str, ...]
    kernel: KernelName


def _refuse_other_kinds(pool: Any, data: Any, config: Any) -> None:
    refuse_other_than_pool(pool)
    if not isinstance(data, Data):
        raise RuleSearchError(
            f'data: a {type(data).__name__}; give Data, as load_data("digits", shape=config.shape)'
        )
    if not isinstance(config, Config):
        raise RuleSearchError(
            f"config: a {type(config).__name__}; give a Config, as Config(trials=2)"
        )


@plain()
def prepare(pool: Pool, data: Data, config: Config) -> Request:
    """Check that a search can be met, and measure its units.

    Raises:
        RuleSearchError: options, locality, terms that are not finite on the data; or an argument
            of another kind.
    """
    _refuse_other_kinds(pool, data, config)
    check(config, field_name)
    config = for_data(config, data).resolved()
    within(pool, parse_needs(config.locality), config.neurons)
    depth = depth_of(data, config)
    pool = pool.in_network(depth)
    notes = (*premises(pool, data, config), *pool.notes)
    population = population_of(pool, data, config)
    enough_memory(config, population.sizes, NORM_TASKS)
    protocol = config.meta_protocol()
    reference = pool.names.index(pool.reference)
    factors = [float(t.factor) for t in pool]
    measured = norms(population, lifetime_seeds(config.seed, "units", 0, NORM_TASKS))
    labels = [f"{t.name}, {t}" for t in pool]
    scales, messages = units(measured, reference, labels, protocol.largest_scale, factors)
    if not protocol.in_units:
        scales = tuple(1.0 if s else 0.0 for s in scales)
    start = tuple(
        pool.start.get(name, 0.0) / scale if scale else 0.0
        for name, scale in zip(pool.names, scales, strict=True)
    )
    shared = pool.throughout(pool.terms[reference].expression, depth)
    if len(shared) > 1:
        messages += (f"the reference is {', '.join(shared)} with one coefficient",)
    path = pathway(config.pathway, depth)
    sizes = population.sizes
    on_cpu = config.device == "cpu"
    cache_folder()  # refused now rather than in the middle of the run
    chosen: KernelName = "fused" if on_cpu else "einsum"
    chosen = chosen if config.kernel == "auto" else config.kernel
    _, note = choose_kernel(config.kernel, lower_terms(pool.distinct), sizes, path, on_cpu=on_cpu)
    messages += (note,) if note else ()
    assert isinstance(config.effort, Effort)  # resolved
    keys = tuple(f"{t.key} {pool.where.get(t.name, '')}".rstrip() for t in pool)
    setting = Setting(
        pool.names, scales, start, reference, protocol, config.seed, config.effort, keys
    )
    return Request(pool, data, config, setting, (*notes, *messages), "einsum" if note else chosen)


def depth_of(data: Data, config: Config) -> int:
    """Layers with weights of the networks of a search."""
    return len(config.sizes(data.inputs, data.classes)) - 1


def population_of(
    pool: Pool, data: Data, config: Config, *, pathway: str | None = None, held_out: bool = False
) -> Population:
    """Networks that learn by rules of a pool, on the images of the search or those set aside.

    Args:
        pool: the terms.
        data: the images.
        config: of the search.
        pathway: another than the configuration's.
        held_out: whether tasks are drawn from the images set aside.
    """
    return Population(
        pool,
        data.held_out if held_out else data.search,
        config.shape,
        config.sizes(data.inputs, data.classes),
        pathway or config.pathway,
        config.kernel,
        config.device,
        config.torch_dtype(),
        feedback_init=config.feedback_init,
    )
