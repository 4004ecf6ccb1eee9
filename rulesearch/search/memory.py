"""What a search needs of the machine's memory, before anything of it is drawn."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace

from rulesearch.errors import RuleSearchError
from rulesearch.network import weight_shapes
from rulesearch.pathways import feedback_shapes, pathway
from rulesearch.population import CHUNK
from rulesearch.search.config import Config, layers_shown

GB = 10**9
#: Values that a step leaves for the way back, for each neuron: activity, slope, error, potential.
TAPED = 4


def enough_memory(config: Config, sizes: Sequence[int], measured: int) -> None:
    """Refuse networks that cannot fit.

    Args:
        config: resolved.
        sizes: of all layers.
        measured: lifetimes that are drawn at once to measure the terms, in float64.

    Raises:
        RuleSearchError: they need more than the machine has.
    """
    needed, there = memory_needed(config, sizes, measured), memory_there()
    if needed > there:
        fewer = "--meta-batch" if config.protocol == "accepted" else "--meta-batch or --trials"
        least = memory_needed(replace(config, meta_batch=1, trials=1), sizes, measured)
        also = f", or fewer {fewer}" if least < needed else ""
        raise RuleSearchError(
            f"--layers {layers_shown(config.layers)}: needs about {needed / GB:,.0f} GB, "
            f"this machine has {there / GB:,.0f}; give smaller layers{also}"
        )


def memory_needed(config: Config, sizes: Sequence[int], measured: int) -> int:
    """Bytes that the largest call of a search holds at once, about.

    All its lifetimes have weights and feedback. Those under way at the same time have beside them
    the weights that change, their adjoint, a copy of them at every checkpoint (as many as the root
    of the steps), and what each step leaves for the way back.
    """
    weights = sum(math.prod(shape) for shape in weight_shapes(tuple(sizes)))
    path = pathway(config.pathway, len(sizes) - 1)
    feedback = 0 if path.tied else sum(math.prod(s) for s in feedback_shapes(path, sizes))
    steps = config.ways * config.shots
    # Accepted steps make one trial after the other.
    trials = 1 if config.protocol == "accepted" else config.trials or 1
    together = trials * (config.meta_batch or 1)
    lifetimes = min(CHUNK, together) if config.kernel == "einsum" else together
    if config.device == "cpu":
        at_once = min(lifetimes, CHUNK if config.kernel == "einsum" else os.cpu_count() or 1)
    else:
        at_once = lifetimes
    size = 8 if config.dtype == "float64" else 4
    working = weights * (2 + math.isqrt(steps)) + steps * sum(sizes) * TAPED
    searching = size * (lifetimes * (weights + feedback) + at_once * working)
    measuring = 8 * measured * (2 * weights + feedback)
    return max(searching, measuring)


def memory_there() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
