"""The readable kernel: batched torch over lifetimes, on CPU or CUDA, in any float dtype.

Layout of one step: a value on the pre side is a row [lifetimes, 1, pre], on the post side a row
[lifetimes, 1, post], a layer-wide value [lifetimes, 1, 1], a value on synapses
[lifetimes, post, pre]. Rows, because `bmm(y, W.mT)` is an order of magnitude faster on a CPU than
`bmm(W, y.mT)`.

The values of a plan's nodes and their adjoint are generated source; the grouped update is one
bilinear form for each matrix, ΔW = Uᵀ K P, with U the distinct post-side rows, P the distinct
pre-side rows and K the coefficients between them. With Λ the adjoint of W, `U Λ Pᵀ` is then the
gradient of every coefficient at once.

The weights of every step are never recorded: the forward pass keeps them at about √steps
checkpoints, the backward pass replays one stretch after the other from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rulesearch.kernels import Batch, Outcome
from rulesearch.lowering import Elementwise, Group, Plan, Sum
from rulesearch.network import BETA, query_loss, slope, softplus
from rulesearch.operators import POST, PRE, QUANTITIES, SCALAR, SYNAPSE, Index, spell
from rulesearch.pathways import Pathway

Values = dict[str, Tensor]


# --- generated source --------------------------------------------------------------------------


def _read(plan: Plan, name: str, loop: Index) -> str:
    """A value as it is read inside a loop: post-side rows stand as columns beside synapses."""
    return f"{name}.mT" if loop == SYNAPSE and plan.index[name] == POST else name


def _node_source(plan: Plan, node: Elementwise | Sum) -> str:
    if isinstance(node, Elementwise):
        rename = {r: _read(plan, r, node.index) for r in node.reads}
        return spell(node.expression, "torch", rename)
    if node.matrix is None:
        return f"{node.vector}.sum(-1, keepdim=True)"
    if node.axis == "pre":
        if node.vector is None:
            return f"{node.matrix}.sum(-1)[:, None, :]"
        return f"torch.bmm({node.vector}, {node.matrix}.mT)"
    if node.vector is None:
        return f"{node.matrix}.sum(-2, keepdim=True)"
    return f"torch.bmm({node.vector}, {node.matrix})"


def _unpack(names: Sequence[str], source: str) -> list[str]:
    return [f"    {name} = {source}[{name!r}]" for name in names]


def forward_source(plan: Plan) -> str:
    """Source of `values(v)`: adds the value of every node to the quantities `v` of a layer."""
    quantities = sorted(plan.quantities)
    lines = ["def values(v):", *_unpack(quantities, "v")]
    lines += [f"    {node.name} = {_node_source(plan, node)}" for node in plan.nodes]
    lines += [f"    v[{node.name!r}] = {node.name}" for node in plan.nodes]
    return "\n".join([*lines, "    return v"])


_REDUCE: Mapping[tuple[Index, Index], str] = {
    (SYNAPSE, PRE): ".sum(-2, keepdim=True)",
    (SYNAPSE, POST): ".sum(-1)[:, None, :]",
    (SYNAPSE, SCALAR): ".sum((-1, -2), keepdim=True)",
    (PRE, SCALAR): ".sum(-1, keepdim=True)",
    (POST, SCALAR): ".sum(-1, keepdim=True)",
}


def _pull_elementwise(plan: Plan, node: Elementwise) -> Iterator[str]:
    for read, partial in node.partials.items():
        if read in ("n_pre", "n_post") or partial == 0:
            continue
        rename = {s.name: _read(plan, s.name, node.index) for s in partial.free_symbols}
        contribution = f"(bar_{node.name} * ({spell(partial, 'torch', rename)}))"
        contribution += _REDUCE.get((node.index, plan.index[read]), "")
        yield f"    add({read!r}, {contribution})"


def _pull_sum(node: Sum) -> Iterator[str]:
    bar = f"bar_{node.name}"
    if node.matrix is None:
        yield f"    add({node.vector!r}, {bar}.expand_as({node.vector}))"
        return
    side = node.matrix + (".mT" if node.axis == "post" else "")
    vector = node.vector or f"torch.ones_like({side}[:, :1, :])"
    if node.vector:
        yield f"    add({node.vector!r}, torch.bmm({bar}, {side}))"
    pair = f"{bar}, {vector}" if node.axis == "pre" else f"{vector}, {bar}"
    if node.matrix == "W":
        yield f"    pairs.append(({pair}))"
    else:
        yield "    post_row, pre_row = " + pair
        yield f"    add({node.matrix!r}, post_row.mT * pre_row)"


def adjoint_source(plan: Plan) -> str:
    """Source of `pull(v, bar, pairs)`: from the adjoints of nodes to those of quantities.

    `bar` maps names to adjoints and is completed; what reaches W through a matrix-vector product
    is left as an outer product in `pairs`, a (post row, pre row) each.
    """
    names = [*sorted(plan.quantities), *(n.name for n in plan.nodes)]
    lines = [
        "def pull(v, bar, pairs):",
        *_unpack(names, "v"),
        "    def add(name, value):",
        "        bar[name] = bar[name] + value if name in bar else value",
    ]
    for node in reversed(plan.nodes):
        lines.append(f"    bar_{node.name} = bar.get({node.name!r})")
        body = list(_pull_elementwise(plan, node) if isinstance(node, Elementwise) else _pull_sum(node))
        if body:
            lines.append(f"    if bar_{node.name} is not None:")
            lines += ["    " + line for line in body]
    return "\n".join([*lines, "    return bar"])


# --- the grouped update as bilinear forms ------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """All groups with the same matrix: matrix ⊙ (Uᵀ K P).

    Attributes:
        matrix: name of a value on synapses, or None.
        post: names of the rows of U; None for ones.
        pre: names of the rows of P; None for ones.
        scalars: names of the layer-wide values that scale coefficients; None for 1.
        weight: [scalars, terms, post, pre]: how theta makes K.
    """

    matrix: str | None
    post: tuple[str | None, ...]
    pre: tuple[str | None, ...]
    scalars: tuple[str | None, ...]
    weight: Tensor

    def coefficients(self, theta: Tensor) -> list[Tensor]:
        """K for each scalar, [lifetimes, post, pre], from theta [lifetimes, terms]."""
        weight = self.weight.to(theta)
        return [torch.einsum("nt,tgp->ngp", theta, w) for w in weight]


def _distinct(names: list[str | None]) -> tuple[str | None, ...]:
    return tuple(dict.fromkeys(names))


def _form(matrix: str | None, groups: list[Group], terms: int) -> Form:
    parts = [(group.post, part) for group in groups for part in group.parts]
    post = _distinct([p for p, _ in parts])
    pre = _distinct([part.pre for _, part in parts])
    scalars = _distinct([None, *(part.scalar for _, part in parts)])
    weight = torch.zeros(len(scalars), terms, len(post), len(pre), dtype=torch.float64)
    for p, part in parts:
        at = scalars.index(part.scalar), part.term, post.index(p), pre.index(part.pre)
        weight[at] += float(part.coefficient)
    return Form(matrix, post, pre, scalars, weight)


def forms_of(plan: Plan) -> tuple[Form, ...]:
    """The plan's groups as one bilinear form for each matrix."""
    by_matrix: dict[str | None, list[Group]] = {}
    for group in plan.groups:
        by_matrix.setdefault(group.matrix, []).append(group)
    return tuple(_form(m, groups, len(plan.terms)) for m, groups in by_matrix.items())


def _rows(names: tuple[str | None, ...], v: Values, like: Tensor) -> Tensor:
    """Rows of these names, [lifetimes, rows, neurons]; width 1 where all are ones."""
    if names == (None,):
        return like.new_ones(like.shape[0], 1, 1)
    ones = like.new_ones(1, 1, 1).expand(like.shape[0], 1, like.shape[-1])
    return torch.cat([v[n] if n else ones for n in names], dim=1)


def _times(rows: Tensor, matrix: Tensor) -> Tensor:
    """Rows @ matrix, where rows of width 1 stand for ones."""
    if rows.shape[-1] != matrix.shape[-2]:
        return matrix.sum(-2, keepdim=True)
    return torch.bmm(rows, matrix)


@dataclass(frozen=True)
class _Applied:
    """A form with its values at one step."""

    form: Form
    U: Tensor
    P: Tensor
    K: Tensor
    V: Tensor


def _apply(form: Form, coefficients: list[Tensor], v: Values, W: Tensor) -> _Applied:
    U = _rows(form.post, v, W[:, :, 0][:, None, :])
    P = _rows(form.pre, v, W[:, :1, :])
    K = coefficients[0]
    for scalar, k in zip(form.scalars[1:], coefficients[1:], strict=True):
        K = K + v[str(scalar)] * k
    return _Applied(form, U, P, K, torch.bmm(K, P))


def _updated(W: Tensor, applied: Sequence[_Applied], v: Values) -> Tensor:
    new = W
    for a in applied:
        if a.form.matrix is None and a.U.shape[-1] == W.shape[1] and a.V.shape[-1] == W.shape[2]:
            new = torch.baddbmm(new, a.U.mT, a.V)
        elif a.form.matrix is None:
            new = new + a.U.mT @ a.V
        else:
            new = torch.addcmul(new, v[a.form.matrix], a.U.mT @ a.V)
    return new


def _pull_form(
    a: _Applied,
    coefficients: list[Tensor],
    v: Values,
    Lambda: Tensor,
    bar: Values,
    bar_k: list[Tensor],
) -> None:
    """Add what Λ gives to the adjoints of the form's rows, scalars, matrix and coefficients."""

    def add(name: str | None, value: Tensor) -> None:
        if name is not None:
            bar[name] = bar[name] + value if name in bar else value

    matrix = a.form.matrix
    if matrix is not None:
        add(matrix, Lambda * (a.U.mT @ a.V))
        Lambda = Lambda * v[matrix]
    left = _times(a.U, Lambda)  # U Λ, [lifetimes, post rows, pre or 1]
    M = _times(a.P, left.mT).mT  # U Λ Pᵀ
    for i, scalar in enumerate(a.form.scalars):
        bar_k[i] += M if scalar is None else v[scalar] * M
        if scalar is not None:
            add(scalar, (coefficients[i] * M).sum((-1, -2), keepdim=True))
    if a.form.post != (None,):
        wide = a.V.shape[-1] == Lambda.shape[-1]
        bar_u = torch.bmm(a.V, Lambda.mT) if wide else a.V * Lambda.sum(-1)[:, None, :]
        for i, name in enumerate(a.form.post):
            add(name, bar_u[:, i : i + 1])
    if a.form.pre != (None,):
        bar_p = torch.bmm(a.K.mT, left)
        for i, name in enumerate(a.form.pre):
            add(name, bar_p[:, i : i + 1])


# --- one step ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
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
    applied: list[list[_Applied]]


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

    def __call__(
        self, batch: Batch, *, gradient: Sequence[int] = (), keep_weights: bool = False
    ) -> Outcome:
        """See `rulesearch.kernels.Kernel`."""
        with torch.no_grad():
            initial_loss, _ = query_loss(batch.weights, batch.query_x, batch.query_labels)
            K = [
                [form.coefficients(batch.theta[:, layer]) for form in self.forms]
                for layer in range(self._depth)
            ]
            steps = batch.x.shape[1]
            stretch = max(1, math.isqrt(steps))
            W = list(batch.weights)
            checkpoints = []
            for t in range(steps):
                if gradient and t % stretch == 0:
                    checkpoints.append(W)
                W, _ = self._step(batch, K, W, t)
        if not gradient:
            with torch.no_grad():
                loss, accuracy = query_loss(W, batch.query_x, batch.query_labels)
            return Outcome(loss, accuracy, initial_loss, None, W if keep_weights else None)

        loss, accuracy, Lambda = _query_adjoint(W, batch)
        with torch.no_grad():
            bar_k = [[[torch.zeros_like(k) for k in form] for form in layer] for layer in K]
            for start, begin in reversed(list(enumerate(checkpoints))):
                replayed = []
                V = begin
                for t in range(start * stretch, min(steps, (start + 1) * stretch)):
                    V, record = self._step(batch, K, V, t)
                    replayed.append(record)
                for record in reversed(replayed):
                    Lambda = self._adjoint(batch, K, record, Lambda, bar_k)
            theta_bar = self._gradient(bar_k, gradient)
        return Outcome(loss, accuracy, initial_loss, theta_bar, W if keep_weights else None)

    @property
    def _depth(self) -> int:
        return len(self.sizes) - 1

    @cached_property
    def _needed_errors(self) -> set[int]:
        """Layers whose error some term reads, or which pass one on."""
        read = self.plan.quantities
        needed = set()
        if "e_pre" in read:
            needed |= set(range(self._depth))
        if "e_post" in read:
            needed |= set(range(1, self._depth + 1))
        for edge in reversed(self.path.edges):
            if edge.target in needed:
                needed.add(edge.source)
        return needed

    def _step(
        self, batch: Batch, K: list[list[list[Tensor]]], W: list[Tensor], t: int
    ) -> tuple[list[Tensor], _Step]:
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
                b[edge.target] = torch.bmm(source, self._carrier(batch, W, edge.target, edge.tied).mT)
                e[edge.target] = b[edge.target] * slope(y[edge.target])  # type: ignore[operator]
        L = None
        if "L" in self.plan.quantities:
            L = -torch.log_softmax(z[-1], dim=-1).gather(-1, label)
        new, values, applied = [], [], []
        for layer, weight in enumerate(W):
            v = self._quantities(layer, weight, y, z, e, L)
            v = self.values(v)
            forms = [
                _apply(form, k, v, weight) for form, k in zip(self.forms, K[layer], strict=True)
            ]
            new.append(_updated(weight, forms, v))
            values.append(v)
            applied.append(forms)
        return new, _Step(W, y, e, b, values, applied)

    def _carrier(self, batch: Batch, W: list[Tensor], target: int, tied: bool) -> Tensor:
        """The matrix B [lifetimes, target, source] of the edge into a layer."""
        if tied:
            return W[target].mT
        assert batch.feedback is not None
        return batch.feedback[target]

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
            if name in self.plan.quantities and value is not None
        }

    def _adjoint(
        self,
        batch: Batch,
        K: list[list[list[Tensor]]],
        record: _Step,
        Lambda: list[Tensor],
        bar_k: list[list[list[Tensor]]],
    ) -> list[Tensor]:
        """Λ before the step, from Λ after it; adds to the adjoints of the coefficients."""
        depth = self._depth
        zero: list[Tensor | None] = [None] * (depth + 1)
        bar_y, bar_z, bar_e, bar_l = list(zero), list(zero), list(zero), None
        pairs: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(depth)]
        full: list[Tensor | None] = [None] * depth
        for layer in range(depth):
            bar: Values = {}
            v = record.values[layer]
            for a, k, bk in zip(record.applied[layer], K[layer], bar_k[layer], strict=True):
                _pull_form(a, k, v, Lambda[layer], bar, bk)
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
            bar_y[target] = _plus(bar_y[target], error * back * (BETA * (1.0 - gate)))
            bar_b = error * gate
            carrier = self._carrier(batch, record.W, target, edge.tied)
            bar_e[source] = _plus(bar_e[source], torch.bmm(bar_b, carrier))
            if edge.tied:
                pairs[target].append((_known(record.e[source]), bar_b))

        out = record.y[-1]
        bar_out = _plus(bar_y[-1], bar_e[-1])  # e_L = softmax - onehot
        if bar_out is not None:
            through = out * (bar_out - (bar_out * out).sum(-1, keepdim=True))
            bar_z[-1] = _plus(bar_z[-1], through)
        if bar_l is not None:
            bar_z[-1] = _plus(bar_z[-1], bar_l * _known(record.e[-1]))
        for layer in reversed(range(depth)):
            potential = bar_z[layer + 1]
            if layer + 1 < depth and bar_y[layer + 1] is not None:
                through = _known(bar_y[layer + 1]) * slope(record.y[layer + 1])
                potential = _plus(potential, through)
            if potential is None:
                continue
            pairs[layer].append((potential, record.y[layer]))
            if layer > 0:
                below = torch.bmm(potential, record.W[layer])
                bar_y[layer] = _plus(bar_y[layer], below)
        return [
            _with_pairs(Lambda[layer], full[layer], pairs[layer]) for layer in range(depth)
        ]

    def _gradient(self, bar_k: list[list[list[Tensor]]], wanted: Sequence[int]) -> Tensor:
        """[lifetimes, layers, terms] from the adjoints of the coefficients; zero if not wanted."""
        layers = []
        for layer in bar_k:
            total = torch.zeros((), dtype=layer[0][0].dtype, device=layer[0][0].device)
            for form, bars in zip(self.forms, layer, strict=True):
                stacked = torch.stack(bars, dim=1)
                weight = form.weight.to(stacked)
                total = total + torch.einsum("nsgp,stgp->nt", stacked, weight)
            layers.append(total)
        gradient = torch.stack(layers, dim=1)
        mask = torch.zeros(gradient.shape[-1], dtype=torch.bool, device=gradient.device)
        mask[list(wanted)] = True
        return torch.where(mask, gradient, torch.zeros_like(gradient))


def _known(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _with_pairs(
    Lambda: Tensor, full: Tensor | None, pairs: list[tuple[Tensor, Tensor]]
) -> Tensor:
    if full is not None:
        Lambda = Lambda + full
    if not pairs:
        return Lambda
    post = torch.cat([p for p, _ in pairs], dim=1)
    pre = torch.cat([p for _, p in pairs], dim=1)
    return torch.baddbmm(Lambda, post.mT, pre)


def _query_adjoint(W: list[Tensor], batch: Batch) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Query loss and accuracy, and the derivative of the loss with respect to the weights."""
    with torch.enable_grad():
        final = [w.detach().requires_grad_() for w in W]
        loss, accuracy = query_loss(final, batch.query_x, batch.query_labels)
        Lambda = list(torch.autograd.grad(loss.sum(), final))
    return loss.detach(), accuracy.detach(), Lambda


def build(plan: Plan, sizes: tuple[int, ...], path: Pathway) -> EinsumKernel:
    """Compile a plan for a network of these layer sizes and a pathway."""
    source = f"{forward_source(plan)}\n\n\n{adjoint_source(plan)}\n"
    namespace: dict[str, Any] = {"torch": torch, "math": math}
    exec(compile(source, "<einsum kernel>", "exec"), namespace)  # our own printer's text
    return EinsumKernel(
        plan, sizes, path, source, forms_of(plan), namespace["values"], namespace["pull"]
    )
