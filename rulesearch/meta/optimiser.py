"""The optimiser's pieces, each a pure function of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

ZERO_NORM = 1e-12
"""A gradient whose norm is below this counts as zero."""


def unit_votes(gradients: Tensor) -> Tensor:
    """Each lifetime's direction, without its size: [lifetimes, terms] with rows of norm 1 or 0."""
    norm = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    return torch.where(norm < ZERO_NORM, torch.zeros(()), gradients / norm.clamp(min=ZERO_NORM))


def adam(
    m: Tensor, v: Tensor, updates: int, gradient: Tensor, betas: tuple[float, float], eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step of Adam's running means (Kingma & Ba 2015, Algorithm 1).

    Args:
        m: running mean of the gradient, [terms].
        v: running mean of its square, [terms].
        updates: steps taken before this one.
        gradient: the new one, [terms].
        betas: decay of the two means.
        eps: added to the root of the corrected second mean.

    Returns:
        The new m and v, the direction m_hat / (sqrt(v_hat) + eps), and that denominator.
    """
    m = betas[0] * m + (1 - betas[0]) * gradient
    v = betas[1] * v + (1 - betas[1]) * gradient**2
    metric = (v / (1 - betas[1] ** (updates + 1))).sqrt() + eps
    return m, v, m / (1 - betas[0] ** (updates + 1)) / metric, metric


def soft_threshold(values: Tensor, threshold: Tensor) -> Tensor:
    """The minimiser of (x - value)**2 / 2 + threshold * |x|, per coordinate."""
    return torch.sign(values) * torch.clamp(values.abs() - threshold, min=0)
