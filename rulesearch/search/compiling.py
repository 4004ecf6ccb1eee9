"""Kernels are compiled while other stages run, where there are any, and it is said to be so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from rulesearch.meta import lifetime_seeds
from rulesearch.mixture import Worlds
from rulesearch.search.request import Request
from rulesearch.search.stages import Stages

COMPILING = "compiling the kernel"


@contextmanager
def compiled_meanwhile(
    stages: Stages, population: Worlds, terms: Sequence[int]
) -> Iterator[Stages]:
    """Have the kernel of these terms compiled, while other stages run that say so."""
    with population.compiling(terms) as begun:
        said = f", {COMPILING}" if begun else ""
        yield replace(stages, on_stage=lambda label: stages.on_stage(label + said))
        if begun:
            stages.on_stage(COMPILING)


def compile_now(request: Request, stages: Stages, population: Worlds, terms: Sequence[int]) -> None:
    """Whatever another process has not compiled is compiled now, and said to be."""
    setting = request.setting
    stages.on_stage(COMPILING)
    start = torch.tensor(
        [s * phi for s, phi in zip(setting.scales, setting.start, strict=True)], dtype=torch.float64
    )
    live = stages.side_by_side(population)
    live(start, lifetime_seeds(setting.seed, "compiling", 0, 1), gradient=terms)
