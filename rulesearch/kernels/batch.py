"""What a kernel takes and gives back, and what it can be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rulesearch.lowering import Carried, Plan
from rulesearch.operators import POST, PRE, SYNAPSE, Parameter
from rulesearch.pathways import Pathway

#: The plan of a parameter, a layer, and the name of a trace of it.
Key = tuple[Parameter, int, str]
#: What traces are before a step, [lifetimes, posts, pres]; a side's alone [lifetimes, 1, neurons].
Memories = Mapping[Key, Tensor]


@dataclass(frozen=True)
class Batch:
    """Everything that some lifetimes start from; nothing in it is ever changed in place.

    Attributes:
        theta: raw coefficients, [lifetimes, layers, terms].
        weights: list over layers of [lifetimes, post, pre].
        feedback: list over target layers of [lifetimes, pre, source]; None where all edges are
            tied.
        x: [lifetimes, steps, inputs].
        labels: [lifetimes, steps], class numbers; or what the outputs should answer, [lifetimes,
            steps, outputs].
        query_x: [lifetimes, queries, inputs].
        query_labels: [lifetimes, queries].
        targets: probabilities that the query's answers should have, in the place of the labels,
            [lifetimes, asked, queries, outputs]; None where the labels, after the last step, do.
        asked: numbers of steps after which they should, ascending from 0; none without targets.
        biases: list over layers of [lifetimes, post]; None where the model has none, or all are 0.
        noise: list over layers of [lifetimes, steps, post], standard normal; None where the model
            has none.
        memories: what traces are at the start; where they have just begun, an empty one.
        begun: steps that lie before these.
    """

    theta: Float[Tensor, "lifetimes layers terms"]
    weights: Sequence[Float[Tensor, "lifetimes _post _pre"]]
    feedback: Sequence[Float[Tensor, "lifetimes _pre _source"]] | None
    x: Float[Tensor, "lifetimes steps inputs"]
    labels: Int[Tensor, "lifetimes steps"] | Float[Tensor, "lifetimes steps outputs"]
    query_x: Float[Tensor, "lifetimes queries inputs"]
    query_labels: Int[Tensor, "lifetimes queries"]
    targets: Float[Tensor, "lifetimes asked queries outputs"] | None = None
    asked: tuple[int, ...] = ()
    biases: Sequence[Float[Tensor, "lifetimes _post"]] | None = None
    noise: Sequence[Float[Tensor, "lifetimes steps _post"]] | None = None
    memories: Memories = field(default_factory=dict)
    begun: int = 0

    def between(self, begin: int, end: int) -> Batch:
        """With the examples and the noise of these steps alone; nothing else is other."""
        noise = None if self.noise is None else [xi[:, begin:end] for xi in self.noise]
        x, labels = self.x[:, begin:end], self.labels[:, begin:end]
        return replace(self, x=x, labels=labels, noise=noise)

    def only(self, which: Bool[Tensor, " lifetimes"]) -> Batch:
        """Some of the lifetimes."""

        def some(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[which]
            if isinstance(value, Mapping):
                return {key: some(each) for key, each in value.items()}
            return [some(each) for each in value] if isinstance(value, list | tuple) else value

        each = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return replace(self, **{name: some(v) for name, v in each.items() if name != "asked"})


@dataclass(frozen=True)
class KernelOutput:
    """What a kernel gives back.

    Attributes:
        loss: mean query loss after the last step, or the mean of those after the steps asked,
            [lifetimes]; NaN where a weight is not finite there.
        accuracy: [lifetimes], 0 to 1.
        initial_loss: mean query loss before the first step, [lifetimes].
        gradient: of `loss`, [lifetimes, layers, terms], zero for terms not asked for; or None.
        idle: of `loss` by the coefficients of idle terms, [lifetimes, layers, idle terms]; or None.
        weights: final ones, list over layers of [lifetimes, post, pre]; None if not asked for.
        feedback: the edges' own matrices at the end, likewise; None where nothing changes them.
        biases: at the end, list over layers of [lifetimes, post], likewise.
        memories: what traces are at the end.
    """

    loss: Float[Tensor, " lifetimes"]
    accuracy: Float[Tensor, " lifetimes"]
    initial_loss: Float[Tensor, " lifetimes"]
    gradient: Float[Tensor, "lifetimes layers terms"] | None
    weights: list[Float[Tensor, "lifetimes _post _pre"]] | None
    idle: Float[Tensor, "lifetimes layers idle"] | None = None
    feedback: list[Float[Tensor, "lifetimes _pre _source"]] | None = None
    biases: list[Float[Tensor, "lifetimes _post"]] | None = None
    memories: Memories = field(default_factory=dict)

    def with_derivatives(
        self, which: Bool[Tensor, " lifetimes"], others: KernelOutput
    ) -> KernelOutput:
        """With the derivatives of some lifetimes from elsewhere."""
        changed = {}
        for name in ("gradient", "idle"):
            mine, theirs = getattr(self, name), getattr(others, name)
            if mine is not None:
                changed[name] = mine.clone()
                changed[name][which] = theirs
        return replace(self, **changed)


def traces_of(
    plan: Plan, sizes: Sequence[int], path: Pathway
) -> Iterator[tuple[Key, tuple[Carried, int, int]]]:
    """The traces of a plan and those beside it, each with the last two axes of what it is."""
    sources = {edge.target: edge.source for edge in path.edges}
    for part in (plan, *plan.beside):
        for layer in range(len(sizes) - 1):
            post = sources[layer] if part.changes == "B" else layer + 1
            for trace in part.carried:
                posts = sizes[post] if trace.index in (POST, SYNAPSE) else 1
                pres = sizes[layer] if trace.index in (PRE, SYNAPSE) else 1
                shape = (posts, pres) if trace.index == SYNAPSE else (1, posts * pres)
                yield (part.changes, layer, trace.name), (trace, *shape)


def remembered(memories: Memories, key: Key) -> Tensor | None:
    """What a trace was left at: weights and biases of a layer lie between the same neurons.

    A kernel may have their plans in one, or only the other's was at work before.
    """
    changes, layer, name = key
    both: tuple[Parameter, ...] = ("W", "b") if changes in ("W", "b") else (changes,)
    found = (memories.get((other, layer, name)) for other in (changes, *both))
    return next((value for value in found if value is not None), None)


def begun(batch: Batch, plan: Plan, sizes: Sequence[int], path: Pathway) -> dict[Key, Tensor]:
    """What the traces of a plan are before the first step of a batch."""
    found: dict[Key, Tensor] = {}
    for key, (trace, *shape) in traces_of(plan, sizes, path):
        value = remembered(batch.memories, key)
        if value is None:
            initial = 0.0 if trace.initial is None else trace.initial
            value = batch.x.new_full((len(batch.x), *shape), initial)
        found[key] = value
    return found


def asked_for(
    gradient: Float[Tensor, "lifetimes layers terms"],
    terms: Sequence[int],
    loss: Float[Tensor, " lifetimes"],
) -> Float[Tensor, "lifetimes layers terms"]:
    """A gradient as a `KernelOutput` has it: zero for other terms, NaN where a loss is not finite.

    Of a lifetime that has diverged no derivative means anything, and which of them happen to come
    out as numbers would hang on the kernel.
    """
    found = torch.zeros_like(gradient)
    finite = loss.isfinite()[:, None, None]
    found[..., list(terms)] = torch.where(finite, gradient[..., list(terms)], torch.nan)
    return found


class Unsupported(Exception):  # noqa: N818, it is an answer rather than an error
    """A plan or a batch that a kernel cannot take; the text says why. `einsum` takes all."""


@runtime_checkable
class Kernel(Protocol):
    """A compiled plan."""

    @property
    def source(self) -> str:
        """The generated source, for people to read."""

    def __call__(
        self,
        batch: Batch,
        *,
        gradient: Sequence[int] = (),
        idle: Plan | None = None,
        keep_weights: bool = False,
    ) -> KernelOutput:
        """Run lifetimes.

        Args:
            batch: what they start from.
            gradient: positions of the terms to differentiate.
            idle: further terms, whose coefficients are zero and which are all differentiated: they
                cost what their products with the adjoint of the weights cost. Without these, and
                none of the others to differentiate, there is a forward pass only.
            keep_weights: whether the final weights are wanted.
        """

    def compile_ahead(
        self, dtype: torch.dtype, idle: Plan | None = None, *, forward: bool = True
    ) -> bool:
        """Have another process compile what a call of this dtype with a gradient needs.

        Never needed: a call compiles what it lacks, or waits for it.

        Args:
            dtype: of the lifetimes.
            idle: the idle terms of that call.
            forward: whether the forward pass is wanted too. Where it is needed at once it is not:
                this process compiles it meanwhile.

        Returns:
            Whether there was anything to compile.
        """
