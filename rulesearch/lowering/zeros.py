"""Products and quotients at exact zeros, as `rulesearch.operators.spelling` states them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def product(a: Tensor | float, b: Tensor | float) -> Tensor:
    """a·b in a derivative: zero where either is, whatever the other is; one may be a number.

    Example:
        >>> product(torch.tensor([0.0, 2.0]), torch.tensor([math.inf, math.inf]))
        tensor([0., inf])
    """
    whole = torch.as_tensor(a * b)
    return torch.where(torch.as_tensor((a == 0) | (b == 0)), torch.zeros_like(whole), whole)


def reciprocal(x: Tensor) -> Tensor:
    """1/x, and infinity where x is a zero of either sign.

    Example:
        >>> reciprocal(torch.tensor([-0.0, -4.0]))
        tensor([    inf, -0.2500])
    """
    return torch.where(x == 0, math.inf, 1 / x)
