"""One step in batched torch, and its adjoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rulesearch.kernels.batch import Batch, Key
from rulesearch.kernels.einsum.forms import (
    Applied,
    Coefficients,
    Form,
    apply,
    forms_of,
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
from rulesearch.kernels.einsum.state import State
from rulesearch.lowering import Plan
from rulesearch.lowering.in_torch import InTorch, Values, in_torch
from rulesearch.network import (
    targets_of,
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
class Step:
    """One step of a plan, for one network and pathway.

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
            # As a value is: 1e39 is infinite in float32.
            low, high = layers[0].new_tensor([low, high]).tolist()
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

    def pull_idle(self, record: Record, Lambda: list[Tensor], bar_idle: Adjoints) -> None:
        """Add the products of Λ after the step to the adjoints of idle terms' coefficients."""
        if self.idle is None:
            return
        for layer, weight in enumerate(record.state.W):
            values = record.values[0][layer]
            v = self.idle.values.values({name: values[name] for name in self.idle.plan.quantities})
            for form, bar_k in zip(self.idle.forms, bar_idle[layer], strict=True):
                pull_idle(form, v, weight, Lambda[layer], bar_k)


def _with_pairs(Lambda: Tensor, full: Tensor | None, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    if full is not None:
        Lambda = Lambda + full
    if not pairs:
        return Lambda
    post = torch.cat([p for p, _ in pairs], dim=1)
    pre = torch.cat([p for _, p in pairs], dim=1)
    return torch.baddbmm(Lambda, post.mT, pre)
