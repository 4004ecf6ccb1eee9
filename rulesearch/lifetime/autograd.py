"""Losses as autograd sees them: functions of theta, whose way back is a kernel's adjoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.errors import RuleSearchError

#: From theta, the losses [lifetimes] and the derivative of each, [lifetimes, *theta.shape], or
#: [lifetimes, layers, terms] where theta has the lifetimes itself. Plain numbers, all three.
Losses = Callable[[Tensor], tuple[Tensor, Tensor]]


def watched(theta: Tensor, losses: Losses) -> Float[Tensor, " lifetimes"]:
    """The losses, with their derivatives as the way back to theta.

    Raises:
        RuleSearchError: on the way back, where a second derivative is asked for.

    Example:
        >>> theta = torch.tensor([3.0], requires_grad=True)
        >>> watched(theta, lambda t: (t**2, (2 * t)[None])).sum().backward()
        >>> theta.grad
        tensor([6.])
    """
    loss: Tensor = _Losses.apply(theta, losses)[0]  # type: ignore[no-untyped-call]
    return loss


class _Losses(torch.autograd.Function):
    """Derivatives are an output as well, so that whoever goes back through them is told."""

    @staticmethod
    def forward(theta: Tensor, losses: Losses) -> tuple[Tensor, Tensor]:
        """Both answers of `losses`."""
        return losses(theta)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the way back needs."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: Any, bar: Tensor | None, second: Tensor | None) -> tuple[Tensor | None, None]:
        """The adjoint of theta from that of the losses, [lifetimes]."""
        if second is not None:
            raise RuleSearchError(
                "theta: losses have first derivatives only; do not differentiate their gradient"
            )
        if bar is None:
            return None, None
        theta, slopes = ctx.saved_tensors
        each = bar.reshape(-1, *[1] * (slopes.ndim - 1))
        # A loss that does not count has no share, be its derivative finite or not.
        shares = torch.where(each == 0, 0.0, each * slopes)
        return (shares if theta.ndim == 3 else shares.sum(0)).to(theta), None
