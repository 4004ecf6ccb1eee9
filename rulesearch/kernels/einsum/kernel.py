"""Whole lifetimes in batched torch, and their adjoint by checkpointed replay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.kernels.batch import Batch, KernelOutput, asked_for, begun
from rulesearch.kernels.einsum.forms import (
    Coefficients,
    Form,
    no_adjoints,
    pull_coefficients,
)
from rulesearch.kernels.einsum.state import (
    State,
    added,
    biases_of,
    feedback_of,
    share_of,
    state_of,
)
from rulesearch.kernels.einsum.step import Adjoints, Compiled, Record, Step
from rulesearch.lowering import Plan
from rulesearch.network import (
    forward,
    gate,
    output_error,
    query_loss,
    scores,
    targets_of,
    with_biases,
)
from rulesearch.operators import Parameter
from rulesearch.pathways import Pathway


@dataclass(frozen=True)
class EinsumKernel(Step):
    """All steps of lifetimes, and their adjoint; a plan for one network and pathway, in torch."""

    @staticmethod
    def of(plan: Plan, sizes: tuple[int, ...], path: Pathway) -> EinsumKernel:
        """A plan compiled for a network and a pathway."""
        parts = tuple(map(Compiled.of, (plan, *plan.beside)))
        return EinsumKernel(plan, sizes, path, parts)

    @property
    def source(self) -> str:
        """The generated source, for people to read."""
        return "\n\n".join(part.values.source for part in self.parts)

    @property
    def forms(self) -> tuple[Form, ...]:
        """The update of W."""
        return self.parts[0].forms

    def __call__(
        self,
        batch: Batch,
        *,
        gradient: Sequence[int] = (),
        idle: Plan | None = None,
        keep_weights: bool = False,
    ) -> KernelOutput:
        """See `rulesearch.kernels.Kernel`."""
        if idle is not None:
            return replace(self, idle=Compiled.of(idle)).run(batch, gradient, keep_weights)
        return self.run(batch, gradient, keep_weights)

    def run(self, batch: Batch, gradient: Sequence[int], keep_weights: bool) -> KernelOutput:
        """What a call does, with the idle terms that the kernel has."""
        model, answers = self.plan.model, _answers(batch)
        state = self.start(batch)
        before = [
            query_loss(state.W, batch.query_x, answer, biases_of(state), model)[0]
            for answer in answers.values()
        ]
        initial_loss = _mean(before)
        K = self.coefficients(batch.theta)
        steps = batch.x.shape[1]
        stretch = max(1, math.isqrt(steps))
        backward = bool(gradient) or self.idle is not None
        checkpoints = []
        stands = {}  # what the query is asked of
        for t in range(steps):
            if backward and t % stretch == 0:
                checkpoints.append(state)
            if t in answers:
                stands[t] = state
            state, _ = self.step(batch, K, state, t)
        if steps in answers:
            stands[steps] = state
        if not backward:
            scored = [
                query_loss(s.W, batch.query_x, answers[t], biases_of(s), model)
                for t, s in stands.items()
            ]
            loss, accuracy = map(_mean, zip(*scored, strict=True))
            return self._outcome(loss, accuracy, initial_loss, state, keep_weights)

        asked = {t: self.query_adjoint(s, batch.query_x, answers[t]) for t, s in stands.items()}
        loss = _mean([each[0] for each in asked.values()])
        accuracy = _mean([each[1] for each in asked.values()])
        Lambda: State | None = None
        bar_k = [zeros_like(k) for k in K]
        forms = self.idle.forms if self.idle else ()
        bar_idle = [[no_adjoints(form, batch.theta) for form in forms] for _ in self.sizes[1:]]
        for number, begin in reversed(list(enumerate(checkpoints))):
            times = range(number * stretch, min(steps, (number + 1) * stretch))
            records = self.replay(batch, K, begin, times)
            for t, record in reversed([*zip(times, records, strict=True)]):
                if t + 1 in asked:
                    Lambda = added(Lambda, share_of(asked[t + 1][2], len(asked)))
                if Lambda is not None:
                    self.pull_idle(record, self._not_held(record, Lambda)["W"], bar_idle)
                    Lambda = self.adjoint(record, Lambda, bar_k)
        found = sum(
            theta_gradient(part.forms, bars)
            for part, bars in zip(self.parts, bar_k, strict=True)
            if part.forms  # terms may all change biases
        )
        assert isinstance(found, Tensor)
        theta_bar = asked_for(found, gradient, loss)
        beside = None
        if self.idle is not None:
            beside = theta_gradient(forms, bar_idle)
            beside = asked_for(beside, range(beside.shape[-1]), loss)
        outcome = self._outcome(loss, accuracy, initial_loss, state, keep_weights)
        return replace(outcome, gradient=theta_bar, idle=beside)

    def _outcome(
        self, loss: Tensor, accuracy: Tensor, initial: Tensor, state: State, keep: bool
    ) -> KernelOutput:
        if not keep:
            return KernelOutput(loss, accuracy, initial, None, None)
        changed = {part.plan.changes for part in self.parts}
        return KernelOutput(
            loss,
            accuracy,
            initial,
            None,
            state.W,
            feedback=feedback_of(state) if "B" in changed else None,
            biases=biases_of(state),
            memories=state.memories,
        )

    def compile_ahead(
        self, dtype: torch.dtype, idle: Plan | None = None, *, forward: bool = True
    ) -> bool:
        """See `rulesearch.kernels.Kernel`; there is nothing to compile."""
        return False

    def start(self, batch: Batch) -> State:
        """What the lifetimes of a batch begin with."""
        state = state_of(batch, bias=self.plan.model.bias)
        return replace(state, memories=begun(batch, self.plan, self.sizes, self.path))

    def coefficients(
        self, theta: Float[Tensor, "lifetimes layers terms"]
    ) -> list[list[list[Coefficients]]]:
        """Those of every plan, layer and form."""
        return [
            [[form.coefficients(theta[:, layer]) for form in part.forms] for layer in self._layers]
            for part in self.parts
        ]

    def replay(
        self,
        batch: Batch,
        K: list[list[list[Coefficients]]],
        state: State,
        times: Iterable[int],
    ) -> list[Record]:
        """The steps at these times once more, from a checkpoint."""
        records = []
        for t in times:
            state, record = self.step(batch, K, state, t)
            records.append(record)
        return records

    def query_adjoint(
        self, state: State, x: Tensor, answers: Tensor
    ) -> tuple[Tensor, Tensor, State]:
        """Query loss and accuracy, and the derivative of the loss by what is carried."""
        model, W = self.plan.model, state.W
        sigma = gate(model.activation)
        potentials = forward(W, x, biases_of(state), model)
        learned = with_biases(W, biases_of(state))
        loss, accuracy = scores(learned, potentials[-1], answers, model)
        activities = [x, *(sigma.value(z) for z in potentials[:-1])]
        targets = targets_of(answers, potentials[-1])
        bar_z = output_error(potentials[-1], targets, model) / x.shape[1]
        weights, biases = [], []
        for layer in reversed(self._layers):
            y = activities[layer]
            weights.append(torch.bmm(bar_z.mT, y))
            biases.append(bar_z.sum(1)[:, :, None])
            if layer > 0:
                slope = sigma.slope(y, potentials[layer - 1])
                bar_z = torch.bmm(bar_z, W[layer]) * slope
        found: dict[Parameter, list[Tensor]] = {"W": weights[::-1]}
        if model.bias:
            found["b"] = biases[::-1]
        return loss, accuracy, State(found)


def theta_gradient(forms: Sequence[Form], bar_k: Adjoints) -> Tensor:
    """[lifetimes, layers, terms] from the adjoints of the coefficients."""
    layers = []
    for layer in bar_k:
        shares = [pull_coefficients(*of) for of in zip(forms, layer, strict=True)]
        layers.append(torch.stack(shares).sum(0))
    return torch.stack(layers, dim=1)


def zeros_like(K: list[list[Coefficients]]) -> Adjoints:
    """Adjoints of coefficients to begin with."""
    return [[[torch.zeros_like(k) for k in form.K] for form in layer] for layer in K]


def _answers(batch: Batch) -> dict[int, Tensor]:
    """What the query's answers should be, by the number of steps after which it is asked."""
    if batch.targets is None:
        return {batch.x.shape[1]: batch.query_labels}
    return dict(zip(batch.asked, batch.targets.unbind(1), strict=True))


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack([*values]).mean(0)
