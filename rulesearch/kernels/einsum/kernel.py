"""Whole lifetimes in batched torch, and their adjoint by checkpointed replay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.kernels import Batch, Outcome, asked_for
from rulesearch.kernels.einsum.forms import (
    Applied,
    Coefficients,
    Form,
    Values,
    apply,
    forms_of,
    no_adjoints,
    pull_coefficients,
    pull_form,
    pull_idle,
    updated,
)
from rulesearch.kernels.einsum.source import forward_source
from rulesearch.kernels.einsum.zeros import product, reciprocal
from rulesearch.lowering import Plan
from rulesearch.network import (
    forward,
    query_loss,
    scores,
    slope,
    slope_derivative,
    softplus,
)
from rulesearch.operators import QUANTITIES
from rulesearch.pathways import Pathway, carrier

#: Adjoints of K, [lifetimes, post rows, pre rows], for every layer, form and scalar of the form.
Adjoints = list[list[list[Tensor]]]


@dataclass(frozen=True)
class Step:
    """What one step computed: enough for its adjoint.

    Attributes:
        W: weights before the step, by layer.
        y: activities of layers 0 … L, rows.
        e: errors of layers 0 … L, rows; absent where nothing reads them.
        b: errors before they are gated by σ', by target layer.
        values: quantities and nodes of each weight layer.
        applied: the update's forms of each weight layer.
    """

    W: list[Tensor]
    y: list[Tensor]
    e: list[Tensor | None]
    b: list[Tensor | None]
    values: list[Values]
    applied: list[list[Applied]]


@dataclass(frozen=True)
class Idle:
    """Terms that are zero and only differentiated.

    Attributes:
        quantities: names of those that they read.
        forms: of their plan.
        values: the generated function.
    """

    quantities: frozenset[str]
    forms: tuple[Form, ...]
    values: Callable[[Values], Values]


@dataclass(frozen=True)
class EinsumKernel:
    """A plan for one network and pathway, in torch."""

    plan: Plan
    sizes: tuple[int, ...]
    path: Pathway
    source: str
    forms: tuple[Form, ...]
    values: Callable[[Values], Values]
    pull: Callable[[Values, Values, list[tuple[Tensor, Tensor]]], Values]
    idle: Idle | None = None

    def __call__(
        self,
        batch: Batch,
        *,
        gradient: Sequence[int] = (),
        idle: Plan | None = None,
        keep_weights: bool = False,
    ) -> Outcome:
        """See `rulesearch.kernels.Kernel`."""
        if idle is not None:
            return replace(self, idle=idle_of(idle)).run(batch, gradient, keep_weights)
        return self.run(batch, gradient, keep_weights)

    def run(self, batch: Batch, gradient: Sequence[int], keep_weights: bool) -> Outcome:
        """What a call does, with the idle terms that the kernel has."""
        answers = _answers(batch)
        before = batch.query_labels if batch.targets is None else batch.targets.mean(1)
        initial_loss, _ = query_loss(batch.weights, batch.query_x, before)
        K = self.coefficients(batch.theta)
        steps = batch.x.shape[1]
        stretch = max(1, math.isqrt(steps))
        W = list(batch.weights)
        backward = bool(gradient) or self.idle is not None
        checkpoints = []
        stands = {}  # the weights at which the query is asked
        for t in range(steps):
            if backward and t % stretch == 0:
                checkpoints.append(W)
            if t in answers:
                stands[t] = W
            W, _ = self.step(batch, K, W, t)
        if steps in answers:
            stands[steps] = W
        if not backward:
            scored = [query_loss(w, batch.query_x, answers[t]) for t, w in stands.items()]
            loss, accuracy = map(_mean, zip(*scored, strict=True))
            return Outcome(loss, accuracy, initial_loss, None, W if keep_weights else None)

        asked = {t: _query_adjoint(w, batch.query_x, answers[t]) for t, w in stands.items()}
        loss = _mean([each[0] for each in asked.values()])
        accuracy = _mean([each[1] for each in asked.values()])
        Lambda: list[Tensor] | None = None
        bar_k = zeros_like(K)
        forms = self.idle.forms if self.idle else ()
        bar_idle = [[no_adjoints(form, batch.theta) for form in forms] for _ in self.sizes[1:]]
        for number, begin in reversed(list(enumerate(checkpoints))):
            times = range(number * stretch, min(steps, (number + 1) * stretch))
            records = self.replay(batch, K, begin, times)
            for t, record in reversed([*zip(times, records, strict=True)]):
                if t + 1 in asked:
                    Lambda = _with_share(Lambda, asked[t + 1][2], len(asked))
                if Lambda is not None:
                    self.pull_idle(record, Lambda, bar_idle)
                    Lambda = self.adjoint(batch, record, Lambda, bar_k)
        theta_bar = asked_for(theta_gradient(self.forms, bar_k), gradient, loss)
        beside = None
        if self.idle is not None:
            beside = theta_gradient(forms, bar_idle)
            beside = asked_for(beside, range(beside.shape[-1]), loss)
        weights = W if keep_weights else None
        return Outcome(loss, accuracy, initial_loss, theta_bar, weights, beside)

    def compiling(
        self, dtype: torch.dtype, idle: Plan | None = None
    ) -> AbstractContextManager[bool]:
        """See `rulesearch.kernels.Kernel`; there is nothing to compile."""
        return nullcontext(False)

    def coefficients(
        self, theta: Float[Tensor, "lifetimes layers terms"]
    ) -> list[list[Coefficients]]:
        """Those of every layer and form."""
        return [
            [form.coefficients(theta[:, layer]) for form in self.forms]
            for layer in range(self._depth)
        ]

    def replay(
        self, batch: Batch, K: list[list[Coefficients]], W: list[Tensor], times: Iterable[int]
    ) -> list[Step]:
        """The steps at these times once more, from the weights at a checkpoint."""
        records = []
        for t in times:
            W, record = self.step(batch, K, W, t)
            records.append(record)
        return records

    @property
    def _depth(self) -> int:
        return len(self.sizes) - 1

    @property
    def _read(self) -> frozenset[str]:
        """Names of the quantities that terms read, idle ones included."""
        return self.plan.quantities | (self.idle.quantities if self.idle else frozenset())

    @cached_property
    def _needed_errors(self) -> set[int]:
        """Layers whose error some term reads, or which pass one on."""
        read = self._read
        needed = set()
        if "e_pre" in read:
            needed |= set(range(self._depth))
        if "e_post" in read:
            needed |= set(range(1, self._depth + 1))
        for edge in reversed(self.path.edges):
            if edge.target in needed:
                needed.add(edge.source)
        return needed

    def step(
        self, batch: Batch, K: list[list[Coefficients]], W: list[Tensor], t: int
    ) -> tuple[list[Tensor], Step]:
        """The weights after step `t` from those before it, and what the adjoint needs of it."""
        y = [batch.x[:, t : t + 1]]
        z = [y[0]]  # the potential of a pixel is the pixel
        for weight in W:
            z.append(torch.bmm(y[-1], weight.mT))
            y.append(softplus(z[-1]))
        y[-1] = torch.softmax(z[-1], dim=-1)
        label = batch.labels[:, t, None, None]
        e: list[Tensor | None] = [None] * len(y)
        b: list[Tensor | None] = [None] * len(y)
        e[-1] = y[-1].scatter_add(-1, label, -torch.ones_like(y[-1][..., :1]))
        needed = self._needed_errors
        for edge in self.path.edges:
            source = e[edge.source]
            if edge.target in needed and source is not None:
                b[edge.target] = torch.bmm(source, carrier(edge, W, batch.feedback).mT)
                e[edge.target] = b[edge.target] * slope(y[edge.target])  # type: ignore[operator]
        L = None
        if "L" in self._read:
            L = -torch.log_softmax(z[-1], dim=-1).gather(-1, label)
        new, values, applied = [], [], []
        for layer, weight in enumerate(W):
            v = self._quantities(layer, weight, y, z, e, L)
            v = self.values(v)
            forms = [
                apply(form, k, v, weight) for form, k in zip(self.forms, K[layer], strict=True)
            ]
            new.append(updated(weight, forms, v))
            values.append(v)
            applied.append(forms)
        return new, Step(W, y, e, b, values, applied)

    def _quantities(
        self,
        layer: int,
        weight: Tensor,
        y: list[Tensor],
        z: list[Tensor],
        e: list[Tensor | None],
        L: Tensor | None,
    ) -> Values:
        every: dict[str, Tensor | int | None] = {
            "W": weight,
            "y_pre": y[layer],
            "y_post": y[layer + 1],
            "z_pre": z[layer],
            "z_post": z[layer + 1],
            "e_pre": e[layer],
            "e_post": e[layer + 1],
            "n_pre": self.sizes[layer],
            "n_post": self.sizes[layer + 1],
            "L": L,
        }
        assert every.keys() == QUANTITIES.keys()
        return {
            name: value if isinstance(value, Tensor) else weight.new_tensor(value)
            for name, value in every.items()
            if name in self._read and value is not None
        }

    def adjoint(
        self,
        batch: Batch,
        record: Step,
        Lambda: list[Tensor],
        bar_k: Adjoints,
    ) -> list[Tensor]:
        """Λ before the step, from Λ after it; adds to the adjoints of the coefficients."""
        depth = self._depth
        times = product if self.plan.steep else torch.mul
        zero: list[Tensor | None] = [None] * (depth + 1)
        bar_y, bar_z, bar_e, bar_l = list(zero), list(zero), list(zero), None
        pairs: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(depth)]
        full: list[Tensor | None] = [None] * depth
        for layer in range(depth):
            bar: Values = {}
            v = record.values[layer]
            for a, bk in zip(record.applied[layer], bar_k[layer], strict=True):
                pull_form(a, v, Lambda[layer], bar, bk)
            bar = self.pull(v, bar, pairs[layer])
            full[layer] = bar.get("W")
            bar_l = _plus(bar_l, bar.get("L"))
            for side, at in (("pre", layer), ("post", layer + 1)):
                bar_y[at] = _plus(bar_y[at], bar.get(f"y_{side}"))
                bar_z[at] = _plus(bar_z[at], bar.get(f"z_{side}"))
                bar_e[at] = _plus(bar_e[at], bar.get(f"e_{side}"))

        for edge in reversed(self.path.edges):
            source, target = edge.source, edge.target
            error, back = bar_e[target], record.b[target]
            if error is None or back is None:
                continue
            gate = slope(record.y[target])
            bar_y[target] = _plus(
                bar_y[target], times(error, back * slope_derivative(record.y[target]))
            )
            bar_b = times(error, gate)
            B = carrier(edge, record.W, batch.feedback)
            bar_e[source] = _plus(bar_e[source], torch.bmm(bar_b, B))
            if edge.tied:
                pairs[target].append((_known(record.e[source]), bar_b))

        out = record.y[-1]
        bar_out = _plus(bar_y[-1], bar_e[-1])  # e_L = softmax - onehot
        if bar_out is not None:
            through = times(out, bar_out - times(bar_out, out).sum(-1, keepdim=True))
            bar_z[-1] = _plus(bar_z[-1], through)
        if bar_l is not None:
            bar_z[-1] = _plus(bar_z[-1], times(bar_l, _known(record.e[-1])))
        for layer in reversed(range(depth)):
            potential = bar_z[layer + 1]
            if layer + 1 < depth and bar_y[layer + 1] is not None:
                through = times(_known(bar_y[layer + 1]), slope(record.y[layer + 1]))
                potential = _plus(potential, through)
            if potential is None:
                continue
            pairs[layer].append((potential, record.y[layer]))
            if layer > 0:
                below = torch.bmm(potential, record.W[layer])
                bar_y[layer] = _plus(bar_y[layer], below)
        return [_with_pairs(Lambda[layer], full[layer], pairs[layer]) for layer in range(depth)]

    def pull_idle(self, record: Step, Lambda: list[Tensor], bar_idle: Adjoints) -> None:
        """Add the products of Λ after the step to the adjoints of idle terms' coefficients."""
        if self.idle is None:
            return
        for layer, weight in enumerate(record.W):
            known = record.values[layer]
            v = self.idle.values({name: known[name] for name in self.idle.quantities})
            for form, bar_k in zip(self.idle.forms, bar_idle[layer], strict=True):
                pull_idle(form, v, weight, Lambda[layer], bar_k)


def theta_gradient(forms: Sequence[Form], bar_k: Adjoints) -> Tensor:
    """[lifetimes, layers, terms] from the adjoints of the coefficients."""
    layers = []
    for layer in bar_k:
        shares = [pull_coefficients(*of) for of in zip(forms, layer, strict=True)]
        layers.append(torch.stack(shares).sum(0))
    return torch.stack(layers, dim=1)


@lru_cache(maxsize=64)
def idle_of(plan: Plan) -> Idle:
    """The idle terms of a plan, their values' source compiled."""
    values = compiled_source(forward_source(plan))["values"]
    return Idle(plan.quantities, forms_of(plan), values)


def compiled_source(source: str) -> dict[str, Any]:
    """The functions of generated source, by name."""
    namespace: dict[str, Any] = {
        "torch": torch,
        "math": math,
        "product": product,
        "reciprocal": reciprocal,
    }
    exec(compile(source, "<einsum kernel>", "exec"), namespace)  # our own printer's text
    return namespace


def zeros_like(K: list[list[Coefficients]]) -> Adjoints:
    """Adjoints of coefficients to begin with."""
    return [[[torch.zeros_like(k) for k in form.K] for form in layer] for layer in K]


def _known(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


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


def _with_share(Lambda: list[Tensor] | None, more: list[Tensor], asked: int) -> list[Tensor]:
    """Λ with that of one of so many times that the query is asked."""
    if asked > 1:
        more = [each / asked for each in more]
    return more if Lambda is None else [a + b for a, b in zip(Lambda, more, strict=True)]


def _query_adjoint(
    W: list[Tensor], x: Tensor, answers: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Query loss and accuracy, and the derivative of the loss with respect to the weights."""
    potentials = forward(W, x)
    loss, accuracy = scores(W, potentials[-1], answers)
    activities = [x, *(softplus(z) for z in potentials[:-1])]
    out = torch.softmax(potentials[-1], dim=-1)
    if answers.is_floating_point():
        bar_z = (out - answers) / out.shape[1]
    else:
        labels = answers[..., None]
        bar_z = out.scatter_add(-1, labels, -torch.ones_like(out[..., :1])) / out.shape[1]
    Lambda = []
    for weight, y in zip(reversed(W), reversed(activities), strict=True):
        Lambda.append(torch.bmm(bar_z.mT, y))
        if len(Lambda) < len(W):
            bar_z = torch.bmm(bar_z, weight) * slope(y)
    return loss, accuracy, Lambda[::-1]
