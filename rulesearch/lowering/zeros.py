"""Products and quotients at exact zeros, as `rulesearch.operators.spelling` states them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """a·b in a derivative: zero where either is, whatever the other is.

    Example:
        >>> product(torch.tensor([0.0, 2.0]), torch.tensor([math.inf, math.inf]))
        tensor([0., inf])
    """
    return torch.where((a == 0) | (b == 0), torch.zeros_like(a), a * b)


def reciprocal(x: Tensor) -> Tensor:
    """1/x, and infinity where x is a zero of either sign.

    Example:
        >>> reciprocal(torch.tensor([-0.0, -4.0]))
        tensor([    inf, -0.2500])
    """
    return torch.where(x == 0, math.inf, 1 / x)
