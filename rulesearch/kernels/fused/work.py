"""What a fused kernel is to do, whoever does it: what follows from a plan, a network, a pathway."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rulesearch.kernels.fused import models
from rulesearch.kernels.fused.lifetimes import Array
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.lowering import Plan
from rulesearch.pathways import Carrier, Pathway

#: Most steps from one checkpoint of the weights to the next where updates are undone.
SEGMENT = 50
#: How much undoing a decay may magnify rounding errors before a checkpoint ends that.
MAGNIFICATION = 8.0
#: For checkpoints of one lifetime where its updates are not to be undone: 250 steps of the paper's
#: network need 179 MB.
CLOSE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Work:
    """A plan, a network and a pathway.

    Attributes:
        schedule: the plan's schedule.
        sizes: neurons of each layer, input to output.
        path: how errors travel.
        skips: whether pixels that are zero are left out where that is exact; False only to
            compare.
    """

    schedule: Schedule
    sizes: tuple[int, ...]
    path: Pathway
    skips: bool = True

    @property
    def carrier(self) -> Carrier:
        """What carries errors back, along every edge."""
        return self.path.edges[0].carrier

    @property
    def numbers(self) -> bool:
        """Whether the loss takes numbers alone, in the place of labels."""
        return not models.has_softmax(self.schedule.plan.model)

    @property
    def sources(self) -> list[int]:
        """For each target of a feedback edge, the layer where it comes from."""
        return [edge.source for edge in sorted(self.path.edges, key=lambda e: e.target)]

    def lowest(self, plans: Sequence[Plan]) -> int:
        """The lowest layer whose error something reads: no term may read that of the pixels."""
        read = self.schedule.quantities.union(*(plan.quantities for plan in plans))
        return 0 if "e_pre" in read else 1 if "e_post" in read else len(self.sizes) - 1

    def checkpoints(
        self, theta: Array, steps: int, *, undone: bool = True
    ) -> tuple[list[NDArray[np.int64]], int]:
        """Steps before which the weights are kept, and blocks of weights that the adjoint needs.

        Each lifetime has its own, from its own coefficients, so that its bits hang on no other's;
        the blocks are as many as any of them needs.

        Where updates are repeated, a segment's weights lie behind its checkpoint, in the place of
        later ones, which have been used. With m blocks the first segment may have m steps, the
        next m - 1, and so on: m(m + 1)/2 steps in all, 22 blocks for 250.

        Args:
            theta: [lifetimes, layers, terms].
            steps: of a lifetime.
            undone: whether updates that can be are undone; else the weights are kept before every
                step, or as often as `CLOSE_BYTES` allow.
        """
        last = max(steps, 1)
        if self.schedule.undoes:
            segments = (
                self._segments(theta) if undone else [self._closest(theta, last)] * len(theta)
            )
            starts = [np.arange(0, last, segment) for segment in segments]
            return starts, max(map(len, starts))
        slots = 1
        while slots * (slots + 1) < 2 * steps:
            slots += 1
        common = np.cumsum([0, *range(slots, 0, -1)])
        return [common[common < last]] * len(theta), slots

    def _closest(self, theta: Array, steps: int) -> int:
        """Steps from one checkpoint to the next where they are as close as memory allows."""
        entries = sum(pre * post for pre, post in pairwise(self.sizes))
        entries *= 2 if self.schedule.back else 1
        return -(-steps // max(1, CLOSE_BYTES // (entries * theta.itemsize)))

    def _segments(self, theta: Array) -> list[int]:
        """Steps between checkpoints where updates are undone, for each lifetime.

        Undoing costs no accuracy that can be measured: in float32, over 250 steps of the paper's
        network, gradients are off by 2e-5 with a checkpoint at every step, and with one at the
        beginning alone. But a decay by 1 - θ is undone by dividing, and so are the rounding errors
        made since: with θ = 0.05 the error rises from 2e-6 to 2e-3. Hence more checkpoints there.
        """
        smallest = np.ones(len(theta))
        for schedule in self.schedule.all:
            factor = np.ones(theta.shape[:2])
            for group in schedule.scalings:
                for part in group.parts:
                    factor += theta[:, :, part.term] * float(part.coefficient)
            smallest = np.minimum(smallest, np.abs(factor).min(1, initial=1.0))
        return [_segment(factor) for factor in smallest.tolist()]


def _segment(factor: float) -> int:
    """Steps that may be undone in one go where each divides by a factor as small as this."""
    if factor >= 1:
        return SEGMENT
    if not factor > 0:
        return 1
    return max(1, min(SEGMENT, int(math.log(MAGNIFICATION) / -math.log(factor))))


def bounded_beside_pixels(plan: Plan) -> bool:
    """Whether what groups take from the post side, and their scalars, are numbers."""
    scalars = (part.scalar for group in plan.groups for part in group.parts)
    return plan.bounded(*(group.post for group in plan.groups), *scalars)
