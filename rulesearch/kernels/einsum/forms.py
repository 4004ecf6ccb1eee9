"""The grouped update as bilinear forms, one for each matrix: matrix ⊙ (Uᵀ K P)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rulesearch.lowering import Group, Plan

#: Name of a quantity or node -> its value in one layer, for all lifetimes.
Values = dict[str, Tensor]


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
    # The form is kept for later calls: on the CPU, whatever torch's default is at this one.
    weight = torch.zeros(
        len(scalars), terms, len(post), len(pre), dtype=torch.float64, device="cpu"
    )
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
class Applied:
    """A form with its values at one step."""

    form: Form
    U: Tensor
    P: Tensor
    K: Tensor
    V: Tensor


def apply(form: Form, coefficients: list[Tensor], v: Values, W: Tensor) -> Applied:
    """A form at the values `v` of one layer, with K for each scalar from `Form.coefficients`."""
    U = _rows(form.post, v, W[:, :, 0][:, None, :])
    P = _rows(form.pre, v, W[:, :1, :])
    K = coefficients[0]
    for scalar, k in zip(form.scalars[1:], coefficients[1:], strict=True):
        K = K + v[str(scalar)] * k
    return Applied(form, U, P, K, torch.bmm(K, P))


def updated(W: Tensor, applied: Sequence[Applied], v: Values) -> Tensor:
    """The weights after the step, [lifetimes, post, pre]; a new tensor."""
    new = W
    for a in applied:
        if a.form.matrix is None and a.U.shape[-1] == W.shape[1] and a.V.shape[-1] == W.shape[2]:
            new = torch.baddbmm(new, a.U.mT, a.V)
        elif a.form.matrix is None:
            new = new + a.U.mT @ a.V
        else:
            new = torch.addcmul(new, v[a.form.matrix], a.U.mT @ a.V)
    return new


def pull_form(
    a: Applied,
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
