"""What is carried from one step to the next, and its adjoint Λ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rulesearch.kernels.batch import Batch, Key
from rulesearch.operators import Parameter


@dataclass(frozen=True)
class State:
    """Parameters and traces; or the derivatives of the loss by them.

    Attributes:
        parameters: name -> list over layers of [lifetimes, post, pre]: those of W; those of B as
            the synapse has it, post to pre, source the post side; biases with one column.
        memories: what traces are, [lifetimes, post or 1, pre or 1]; rows on one side.
    """

    parameters: Mapping[Parameter, list[Tensor]]
    memories: Mapping[Key, Tensor] = field(default_factory=dict)

    @property
    def W(self) -> list[Tensor]:  # noqa: N802, its name in the equations
        """The weights."""
        return self.parameters["W"]


def state_of(batch: Batch, *, bias: bool) -> State:
    """What a batch begins with."""
    parameters: dict[Parameter, list[Tensor]] = {"W": list(batch.weights)}
    if batch.feedback is not None:
        parameters["B"] = [matrix.mT for matrix in batch.feedback]
    if bias:
        given = batch.biases or [torch.zeros_like(w[:, :, 0]) for w in batch.weights]
        parameters["b"] = [b[:, :, None] for b in given]
    return State(parameters, batch.memories)


def biases_of(state: State) -> list[Tensor] | None:
    """Biases as [lifetimes, post]."""
    found = state.parameters.get("b")
    return None if found is None else [b[:, :, 0] for b in found]


def feedback_of(state: State) -> list[Tensor] | None:
    """The matrices of the edges as [lifetimes, pre, source]."""
    found = state.parameters.get("B")
    return None if found is None else [matrix.mT for matrix in found]


def added(one: State | None, other: State) -> State:
    """The sum of two adjoints; what only one of them has stays."""
    if one is None:
        return other
    parameters = dict(one.parameters)
    for name, layers in other.parameters.items():
        mine = parameters.get(name)
        parameters[name] = (
            layers if mine is None else [a + b for a, b in zip(mine, layers, strict=True)]
        )
    return State(parameters, one.memories)


def share_of(state: State, parts: int) -> State:
    """One of so many equal parts of an adjoint."""
    if parts == 1:
        return state
    return State({p: [v / parts for v in layers] for p, layers in state.parameters.items()})
