"""Kernels are compiled while other stages run, where there are any, and it is said to be so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from rulesearch.meta import lifetime_seeds
from rulesearch.mixture import Worlds
from rulesearch.search.request import Request
from rulesearch.search.stages import Stages

COMPILING = "compiling the kernel"


def compiled_meanwhile(stages: Stages, population: Worlds, terms: Sequence[int]) -> Stages:
    """Have the kernel of these terms compiled; gives stages that say so, to go on with."""
    said = f", {COMPILING}" if population.compile_ahead(terms) else ""
    return replace(stages, on_stage=lambda label: stages.on_stage(label + said))


def compile_now(request: Request, stages: Stages, population: Worlds, terms: Sequence[int]) -> None:
    """What another process has not compiled is waited for or compiled now, and said to be."""
    setting = request.setting
    stages.on_stage(COMPILING)
    start = torch.tensor(
        [s * phi for s, phi in zip(setting.scales, setting.start, strict=True)], dtype=torch.float64
    )
    live = stages.side_by_side(population)
    live(start, lifetime_seeds(setting.seed, "compiling", 0, 1), gradient=terms)
