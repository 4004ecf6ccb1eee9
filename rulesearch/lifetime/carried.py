"""What lifetimes leave behind beside their weights, and going on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jaxtyping import Float
from torch import Tensor

from rulesearch.errors import RuleSearchError
from rulesearch.kernels import Batch, KernelOutput, Memories
from rulesearch.kernels.batch import remembered, traces_of
from rulesearch.lifetime.given import Given
from rulesearch.lowering import Plan


@dataclass(frozen=True, eq=False)
class Carried:
    """What lifetimes carry on beside their weights, to go on from where they ended.

    Attributes:
        feedback: the edges' own matrices, list over layers of [lifetimes, pre, source]; None where
            terms do not change them.
        biases: list over layers of [lifetimes, post]; None where the model has none.
        memories: what traces are.
        steps: that lie behind.
    """

    feedback: list[Float[Tensor, "lifetimes _pre _source"]] | None = None
    biases: list[Float[Tensor, "lifetimes _post"]] | None = None
    memories: Memories = field(default_factory=dict)
    steps: int = 0


def check_carried(plan: Plan, found: Given, memories: Memories) -> None:
    """Refuse to go on with a trace that earlier steps have not moved, or of other networks.

    Raises:
        RuleSearchError: for the first.
    """
    first = found.weights[0]
    for key, (_, *shape) in traces_of(plan, found.sizes, found.path):
        changes, layer, name = key
        if (value := remembered(memories, key)) is None:
            raise RuleSearchError(
                f"carried: nothing of trace {name} for terms of {changes}, since none that reads "
                "it was at work; name one in compile_for of the earlier steps"
            )
        wanted = [len(first), *shape]
        if not isinstance(value, Tensor) or list(value.shape) != wanted:
            got = list(value.shape) if isinstance(value, Tensor) else repr(value)
            raise RuleSearchError(
                f"carried: trace {name} in layer {layer + 1} has shape {got}; give {wanted}, what "
                "steps of these lifetimes have left"
            )
        if (value.dtype, value.device) != (first.dtype, first.device):
            raise RuleSearchError(
                f"carried: trace {name} is {value.dtype} on {value.device}; give {first.dtype} on "
                f"{first.device}, as the weights are"
            )


def carried_on(behind: Carried, batch: Batch, outcome: KernelOutput) -> Carried:
    """What goes on beside the weights; feedback that no term has moved this time stays changed."""
    feedback = behind.feedback if outcome.feedback is None else outcome.feedback
    begun = left(batch, outcome).begun
    return Carried(feedback, outcome.biases, outcome.memories, begun)


def left(batch: Batch, outcome: KernelOutput) -> Batch:
    """What is carried on from a batch, as the start of another."""
    assert outcome.weights is not None
    return replace(
        batch,
        weights=outcome.weights,
        feedback=batch.feedback if outcome.feedback is None else outcome.feedback,
        biases=batch.biases if outcome.biases is None else outcome.biases,
        memories=outcome.memories,
        begun=batch.begun + batch.x.shape[1],
    )


def of_its_own(outcome: KernelOutput) -> KernelOutput:
    """The same with tensors of its own: without a step what was given comes back."""

    def copied(layers: Sequence[Tensor] | None) -> list[Tensor] | None:
        return None if layers is None else [tensor.clone() for tensor in layers]

    return replace(
        outcome,
        weights=copied(outcome.weights),
        feedback=copied(outcome.feedback),
        biases=copied(outcome.biases),
        memories={key: value.clone() for key, value in outcome.memories.items()},
    )
