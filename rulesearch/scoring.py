"""What a lifetime that failed counts as: one rule for every mean, cost, baseline and figure."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def diverged(
    loss: Float[Tensor, " lifetimes"], initial_loss: Float[Tensor, " lifetimes"]
) -> Bool[Tensor, " lifetimes"]:
    """Which lifetimes are worse than no training, or not finite."""
    return ~torch.isfinite(loss) | (loss > initial_loss)


def scored(
    loss: Float[Tensor, " lifetimes"],
    accuracy: Float[Tensor, " lifetimes"],
    initial_loss: Float[Tensor, " lifetimes"],
    outputs: int | None,
    chance: float | None = None,
) -> tuple[Float[Tensor, " lifetimes"], Float[Tensor, " lifetimes"]]:
    """Loss and accuracy with what diverged in its place; all finite.

    The loss of a lifetime that diverged is the worse of chance and its own untrained loss, its
    accuracy that of chance. So no failure scores better than learning nothing, not even where an
    untrained network is worse than chance, and none of them is dropped, which would make an
    unstable rule look better than it is.

    Args:
        loss: query loss after training, as it came out.
        accuracy: query accuracy, likewise.
        initial_loss: query loss before training.
        outputs: units of the output layer, which fix what chance is; None where lifetimes are of
            several networks, and those that diverged say what they count as by their initial loss
            and accuracy (`rulesearch.mixture`).
        chance: the loss of the best answer that knows nothing; None: ln of the outputs, that of the
            cross-entropy.

    Example:
        >>> loss, initial = torch.tensor([0.5, 9.0, torch.inf]), torch.tensor([5.0, 5.0, 1.0])
        >>> scored(loss, torch.tensor([0.9, 0.3, 0.3]), initial, outputs=10)
        (tensor([0.5000, 5.0000, 2.3026]), tensor([0.9000, 0.1000, 0.1000]))
    """
    bad = diverged(loss, initial_loss)
    if outputs is None:
        return torch.where(bad, initial_loss, loss), accuracy
    ignorant = torch.full_like(loss, math.log(outputs) if chance is None else chance)
    worst = torch.where(initial_loss > ignorant, initial_loss, ignorant)  # that where it is NaN
    worst = torch.where(worst.isfinite(), worst, ignorant)
    return torch.where(bad, worst, loss), accuracy.masked_fill(bad, 1 / outputs)
