"""Whole lifetimes in batched torch, and their adjoint by checkpointed replay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.kernels.batch import Batch, KernelOutput, asked_for
from rulesearch.kernels.einsum.forms import (
    Applied,
    Coefficients,
    Form,
    apply,
    forms_of,
    no_adjoints,
    pull_coefficients,
    pull_form,
    pull_idle,
    updated,
)
from rulesearch.kernels.einsum.passes import (
    Arriving,
    Passed,
    backward_pass,
    forward_pass,
    known,
    plus,
)
from rulesearch.kernels.einsum.state import (
    Key,
    State,
    added,
    biases_of,
    feedback_of,
    share_of,
    state_of,
)
from rulesearch.lowering import Plan
from rulesearch.lowering.in_torch import InTorch, Values, in_torch
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

#: Adjoints of K, [lifetimes, post rows, pre rows], for every layer, form and scalar of the form.
Adjoints = list[list[list[Tensor]]]


@dataclass(frozen=True)
class Compiled:
    """The plan of a parameter in torch.

    Attributes:
        plan: the plan.
        forms: its update.
        values: of its nodes, and their adjoint.
    """

    plan: Plan
    forms: tuple[Form, ...]
    values: InTorch

    @staticmethod
    def of(plan: Plan) -> Compiled:
        """A plan compiled."""
        return Compiled(plan, forms_of(plan), in_torch(plan))


@dataclass(frozen=True)
class Record:
    """What one step computed: enough for its adjoint.

    Attributes:
        state: before the step.
        passed: in the network.
        values: quantities and nodes, for each compiled plan and layer.
        applied: the update's forms, likewise.
        held: where a bound held a parameter back, by parameter and layer; empty without bounds.
    """

    state: State
    passed: Passed
    values: list[list[Values]]
    applied: list[list[list[Applied]]]
    held: dict[Parameter, list[Tensor]]


@dataclass(frozen=True)
class EinsumKernel:
    """A plan for one network and pathway, in torch.

    Attributes:
        plan: of W, those of other parameters beside it.
        sizes: of the layers.
        path: of the errors.
        parts: the plans compiled, that of W first.
        idle: terms of W that are zero and only differentiated.
    """

    plan: Plan
    sizes: tuple[int, ...]
    path: Pathway
    parts: tuple[Compiled, ...]
    idle: Compiled | None = None

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
        before = batch.query_labels if batch.targets is None else batch.targets.mean(1)
        initial_loss, _ = query_loss(state.W, batch.query_x, before, biases_of(state), model)
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

    def compiling(
        self, dtype: torch.dtype, idle: Plan | None = None
    ) -> AbstractContextManager[bool]:
        """See `rulesearch.kernels.Kernel`; there is nothing to compile."""
        return nullcontext(False)

    def start(self, batch: Batch) -> State:
        """What the lifetimes of a batch begin with."""
        state = state_of(batch, bias=self.plan.model.bias)
        begun = dict(self._begun(batch))
        for (changes, layer, name), value in state.memories.items():
            begun[changes, layer, name] = value
            if changes == "W" and ("b", layer, name) not in state.memories:
                # A kernel may have the plans of weights and biases in one.
                begun["b", layer, name] = value
        return replace(state, memories=begun)

    def _begun(self, batch: Batch) -> Iterable[tuple[Key, Tensor]]:
        """What traces are before the first step."""
        for part in self.parts:
            for layer in range(self._depth):
                pre, post = self._sides(part, layer)
                for trace in part.plan.carried:
                    size = [self.sizes[post] if "post" in trace.index else 1]
                    size += [self.sizes[pre] if "pre" in trace.index else 1]
                    size = size if len(trace.index) == 2 else [1, max(size)]
                    shape = len(batch.x), *size
                    value = 0.0 if trace.initial is None else trace.initial
                    yield (
                        (part.plan.changes, layer, trace.name),
                        torch.full(shape, value, dtype=batch.x.dtype, device=batch.x.device),
                    )

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

    @property
    def _depth(self) -> int:
        return len(self.sizes) - 1

    @property
    def _layers(self) -> range:
        return range(self._depth)

    def _sides(self, part: Compiled, layer: int) -> tuple[int, int]:
        """The layers of the pre- and the post-neurons that a parameter of a layer lies between."""
        if part.plan.changes == "B":
            return layer, next(e.source for e in self.path.edges if e.target == layer)
        return layer, layer + 1

    @property
    def _read(self) -> frozenset[str]:
        """Names of the quantities that terms read, idle ones included."""
        parts = (*self.parts, *([self.idle] if self.idle else []))
        return frozenset().union(*(part.plan.quantities for part in parts))

    @cached_property
    def _needed_errors(self) -> set[int]:
        """Layers whose error some term reads, or which pass one on."""
        read = self._read
        needed = set()
        if "e_pre" in read:
            needed |= set(self._layers)
        if "e_post" in read:
            needed |= set(range(1, self._depth + 1))
        for edge in reversed(self.path.edges):
            if edge.target in needed:
                needed.add(edge.source)
        return needed

    def step(
        self, batch: Batch, K: list[list[list[Coefficients]]], state: State, t: int
    ) -> tuple[State, Record]:
        """What is carried after step `t` from that before it, and what the adjoint needs of it."""
        model = self.plan.model
        x, label = batch.x[:, t : t + 1], batch.labels[:, t : t + 1]
        noise = None
        if batch.noise is not None and model.noise:
            noise = [xi[:, t : t + 1] for xi in batch.noise]
        target = targets_of(label, x.new_empty(1, self.sizes[-1]))
        passed = forward_pass(model, self.path, state, x, target, noise, self._needed_errors)
        first = x.new_full((1, 1, 1), float(batch.begun + t == 0))
        parameters = {name: list(layers) for name, layers in state.parameters.items()}
        memories: dict[Key, Tensor] = {}
        values: list[list[Values]] = []
        applied: list[list[list[Applied]]] = []
        for part, coefficients in zip(self.parts, K, strict=True):
            changes = part.plan.changes
            values.append([])
            applied.append([])
            for layer in self._layers:
                v = self._quantities(part, layer, state, passed, noise, first)
                v = part.values.values(v)
                matrix = state.parameters[changes][layer]
                forms = [
                    apply(form, k, v, matrix)
                    for form, k in zip(part.forms, coefficients[layer], strict=True)
                ]
                parameters[changes][layer] = updated(matrix, forms, v)
                for trace in part.plan.carried:
                    value = v[trace.value]
                    # That of a number of the layer alone is one for all lifetimes.
                    whole = value if value.ndim else value.expand(len(x), 1, 1)
                    memories[changes, layer, trace.name] = whole
                values[-1].append(v)
                applied[-1].append(forms)
        held = self._hold_back(parameters)
        return State(parameters, memories), Record(state, passed, values, applied, held)

    def _hold_back(
        self, parameters: dict[Parameter, list[Tensor]]
    ) -> dict[Parameter, list[Tensor]]:
        """Keep what was changed within its bounds; where it was not."""
        held = {}
        changed = {part.plan.changes for part in self.parts}
        for name, low, high in self.plan.model.bounds:
            if name not in changed:
                continue
            layers = parameters[name]
            held[name] = [(value < low) | (value > high) for value in layers]
            parameters[name] = [value.clamp(low, high) for value in layers]
        return held

    def _quantities(
        self,
        part: Compiled,
        layer: int,
        state: State,
        passed: Passed,
        noise: list[Tensor] | None,
        first: Tensor,
    ) -> Values:
        plan = part.plan
        pre, post = self._sides(part, layer)
        read = self._read if plan is self.plan else plan.quantities
        biases, back = state.parameters.get("b"), state.parameters.get("B")
        every: dict[str, Tensor | int | None] = {
            "W": state.W[layer],
            "B": None if back is None else back[layer],
            "y_pre": passed.y[pre],
            "y_post": passed.y[post],
            "z_pre": passed.z[pre],
            "z_post": passed.z[post],
            "e_pre": passed.e[pre],
            "e_post": passed.e[post],
            "b_post": None if biases is None else biases[post - 1].mT,
            "xi_post": None if noise is None else noise[post - 1],
            "n_pre": self.sizes[pre],
            "n_post": self.sizes[post],
            "L": passed.loss,
            "first": first,
        }
        for trace in plan.carried:
            every[trace.before] = state.memories[plan.changes, layer, trace.name]
        return {
            name: value if isinstance(value, Tensor) else state.W[layer].new_tensor(value)
            for name, value in every.items()
            if name in read and value is not None
        }

    def adjoint(self, record: Record, Lambda: State, bar_k: list[Adjoints]) -> State:
        """Λ before the step, from Λ after it; adds to the adjoints of the coefficients."""
        depth = self._depth
        none: list[Tensor | None] = [None] * (depth + 1)
        bars = Arriving(
            y=list(none),
            z=list(none),
            e=list(none),
            b=list(none),
            loss=[None],
            full={"W": list(none), "B": list(none), "b": list(none)},
            pairs=[{"W": [], "B": []} for _ in range(depth)],
        )
        after = self._not_held(record, Lambda)
        memories: dict[Key, Tensor] = {}
        for number, part in enumerate(self.parts):
            changes = part.plan.changes
            for layer in range(depth):
                v, bar = record.values[number][layer], dict[str, Tensor]()
                if changes in after:
                    for a, bk in zip(
                        record.applied[number][layer], bar_k[number][layer], strict=True
                    ):
                        pull_form(a, v, after[changes][layer], bar, bk)
                for trace in part.plan.carried:
                    later = Lambda.memories.get((changes, layer, trace.name))
                    if later is not None:
                        bar[trace.value] = known(plus(bar.get(trace.value), later))
                bar = part.values.pull(v, bar, bars.pairs[layer])
                for trace in part.plan.carried:
                    if trace.before in bar:
                        memories[changes, layer, trace.name] = bar[trace.before]
                self._arrive(part, layer, bar, bars)
        backward_pass(
            self.plan.model,
            self.path,
            record.state,
            record.passed,
            bars,
            steep=any(part.plan.steep for part in self.parts),
            plastic=self._plastic,
        )
        return State(self._before(record, after, bars), memories)

    @property
    def _plastic(self) -> bool:
        return any(part.plan.changes == "B" for part in self.parts)

    def _not_held(self, record: Record, Lambda: State) -> dict[Parameter, list[Tensor]]:
        """Λ of parameters, without that of what a bound held back."""
        found = dict(Lambda.parameters)
        for name, held in record.held.items():
            if name in found:
                found[name] = [
                    torch.where(h, 0.0, value) for h, value in zip(held, found[name], strict=True)
                ]
        return found

    def _arrive(self, part: Compiled, layer: int, bar: Values, bars: Arriving) -> None:
        """Put the adjoints of a layer's quantities where they belong in the network."""
        pre, post = self._sides(part, layer)
        for rows, letter in ((bars.y, "y"), (bars.z, "z"), (bars.e, "e"), (bars.b, "b")):
            for side, place in (("pre", pre), ("post", post)):
                rows[place] = plus(rows[place], bar.get(f"{letter}_{side}"))
        names: tuple[Parameter, ...] = ("W", "B")
        for name in names:
            bars.full[name][layer] = plus(bars.full[name][layer], bar.get(name))
        bars.loss[0] = plus(bars.loss[0], bar.get("L"))

    def _before(
        self, record: Record, after: dict[Parameter, list[Tensor]], bars: Arriving
    ) -> dict[Parameter, list[Tensor]]:
        """Λ of the parameters before the step."""
        found: dict[Parameter, list[Tensor]] = {}
        names: list[Parameter] = ["W", "B"] if self._plastic else ["W"]
        for name in names:
            matrices = record.state.parameters[name]
            layers = after.get(name) or [torch.zeros_like(m) for m in matrices]
            found[name] = [
                _with_pairs(value, bars.full[name][layer], bars.pairs[layer][name])
                for layer, value in enumerate(layers)
            ]
        if self.plan.model.bias:
            found["b"] = [
                known(plus(value, None if row is None else row.mT))
                for value, row in zip(after["b"], bars.b[1:], strict=True)
            ]
        return found

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

    def pull_idle(self, record: Record, Lambda: list[Tensor], bar_idle: Adjoints) -> None:
        """Add the products of Λ after the step to the adjoints of idle terms' coefficients."""
        if self.idle is None:
            return
        for layer, weight in enumerate(record.state.W):
            values = record.values[0][layer]
            v = self.idle.values.values({name: values[name] for name in self.idle.plan.quantities})
            for form, bar_k in zip(self.idle.forms, bar_idle[layer], strict=True):
                pull_idle(form, v, weight, Lambda[layer], bar_k)


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


def _with_pairs(Lambda: Tensor, full: Tensor | None, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    if full is not None:
        Lambda = Lambda + full
    if not pairs:
        return Lambda
    post = torch.cat([p for p, _ in pairs], dim=1)
    pre = torch.cat([p for _, p in pairs], dim=1)
    return torch.baddbmm(Lambda, post.mT, pre)


def _answers(batch: Batch) -> dict[int, Tensor]:
    """What the query's answers should be, by the number of steps after which it is asked."""
    if batch.targets is None:
        return {batch.x.shape[1]: batch.query_labels}
    return dict(zip(batch.asked, batch.targets.unbind(1), strict=True))


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack([*values]).mean(0)
