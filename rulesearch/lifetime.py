"""One online pass and its meta-gradient: the kernels' public face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Lifetimes:
    """What a batch of lifetimes gave.

    Attributes:
        loss: mean query cross-entropy after the last step, [lifetimes].
        accuracy: share of the query examples classified correctly, [lifetimes], 0 to 1.
        initial_loss: mean query cross-entropy before the first step, [lifetimes].
        gradient: derivative of each lifetime's loss, [lifetimes, *theta.shape], or None.
        weights: the final weights, list over layers of [lifetimes, post, pre], or None.
        observed: observables by name, e.g. "angle" in degrees, [lifetimes, layers].
    """

    loss: Tensor
    accuracy: Tensor
    initial_loss: Tensor
    gradient: Tensor | None = None
    weights: list[Tensor] | None = None
    observed: Mapping[str, Tensor] = field(default_factory=dict)
