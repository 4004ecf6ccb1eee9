"""Observables of lifetimes, after the last step or on the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rulesearch.kernels import Batch, KernelOutput
from rulesearch.lifetime.carried import left
from rulesearch.observables import OBSERVABLES, Stand
from rulesearch.pathways import Pathway


def stands_at(
    observe_at: Sequence[int],
    batch: Batch,
    run: Callable[..., tuple[KernelOutput, str]],
) -> Iterator[Batch]:
    """What is carried after each of these numbers of steps.

    A forward pass in stretches. Nothing else goes from one step to the next, and a kernel's
    stretches give what its one pass does to the bit.
    """
    reached = batch
    for begin, end in itertools.pairwise((0, *observe_at)):
        if end > begin:
            here = batch.between(begin, end)
            stretch = replace(
                reached,
                x=here.x,
                labels=here.labels,
                noise=here.noise,
                # Nobody reads its loss, so the least that there is.
                query_x=batch.query_x[:, :1],
                query_labels=batch.query_labels[:, :1],
                targets=None,
                asked=(),
            )
            outcome, _ = run(stretch, (), True)
            reached = left(stretch, outcome)
        yield reached


def observed(
    names: Sequence[str],
    stands: Iterable[Stand],
    path: Pathway,
    examples: tuple[Tensor, Tensor],
) -> dict[str, Tensor]:
    """Observables by name, [lifetimes, points, ...], where the networks stand at each point."""
    values: dict[str, list[Tensor]] = {name: [] for name in names}
    for stand in stands:
        for name, seen in values.items():
            seen.append(OBSERVABLES[name](stand, path, examples))
    return {name: torch.stack(seen, dim=1) for name, seen in values.items()}
