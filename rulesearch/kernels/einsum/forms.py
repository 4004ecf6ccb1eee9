"""The grouped update as bilinear forms, one for each matrix: matrix ⊙ (Uᵀ K P)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rulesearch.lowering import Group, Plan
from rulesearch.lowering.in_torch import Values


@dataclass(frozen=True)
class Form:
    """All groups with the same matrix: matrix ⊙ (Uᵀ K P).

    Attributes:
        matrix: name of a value on synapses, or None.
        post: names of the rows of U; None for ones.
        pre: names of the rows of P; None for ones.
        scalars: names of the layer-wide values that scale coefficients; None for 1.
        weight: [scalars, terms, post, pre]: how theta makes K.
        delicate: whether a value of it may be infinite or no number where the quantities are
            numbers, so that what no coefficient asks for has to be left out, and not multiplied
            by zero.
    """

    matrix: str | None
    post: tuple[str | None, ...]
    pre: tuple[str | None, ...]
    scalars: tuple[str | None, ...]
    weight: Tensor
    delicate: bool

    def coefficients(self, theta: Tensor) -> Coefficients:
        """K for each scalar, and what of it is at work, from theta [lifetimes, terms]."""
        weight = self.weight.to(theta)
        K = [torch.einsum("nt,tgp->ngp", theta, w) for w in weight]
        if not self.delicate:
            return Coefficients(K, None)
        pairs = torch.einsum("nt,stgp->nsgp", (theta != 0).to(weight), (weight != 0).to(weight))
        return Coefficients(K, pairs != 0)


@dataclass(frozen=True)
class Coefficients:
    """How a form's rows are combined.

    Attributes:
        K: for each scalar, [lifetimes, post, pre].
        works: whether a coefficient that is not zero has a part there, [lifetimes, scalars, post,
            pre]; None where nothing hangs on it.
    """

    K: list[Tensor]
    works: Tensor | None

    @property
    def post(self) -> Tensor | None:
        """Which rows of U are at work, [lifetimes, post, 1]."""
        return None if self.works is None else self.works.any(1).any(2)[..., None]

    @property
    def pre(self) -> Tensor | None:
        """Which rows of P are at work, [lifetimes, pre, 1]."""
        return None if self.works is None else self.works.any(1).any(1)[..., None]

    @property
    def any(self) -> Tensor | None:
        """Whether anything is, [lifetimes, 1, 1]."""
        return None if self.works is None else self.works.flatten(1).any(1)[:, None, None]

    def of(self, scalar: int) -> Tensor | None:
        """Which pairs of rows are at work with this scalar, [lifetimes, post, pre]."""
        return None if self.works is None else self.works[:, scalar]


def where(works: Tensor | None, values: Tensor) -> Tensor:
    """The values at work, and zero for the others; all of them where nothing hangs on it."""
    return values if works is None else torch.where(works, values, torch.zeros_like(values))


def _distinct(names: list[str | None]) -> tuple[str | None, ...]:
    return tuple(dict.fromkeys(names))


def _form(plan: Plan, matrix: str | None, groups: list[Group]) -> Form:
    parts = [(group.post, part) for group in groups for part in group.parts]
    post = _distinct([p for p, _ in parts])
    pre = _distinct([part.pre for _, part in parts])
    scalars = _distinct([None, *(part.scalar for _, part in parts)])
    # The form is kept for later calls: on the CPU, whatever torch's default is at this one.
    shape = len(scalars), len(plan.terms), len(post), len(pre)
    weight = torch.zeros(shape, dtype=torch.float64, device="cpu")
    for p, part in parts:
        at = scalars.index(part.scalar), part.term, post.index(p), pre.index(part.pre)
        weight[at] += float(part.coefficient)
    delicate = not plan.bounded(matrix, *post, *pre, *scalars)
    return Form(matrix, post, pre, scalars, weight, delicate)


def forms_of(plan: Plan) -> tuple[Form, ...]:
    """The plan's groups as one bilinear form for each matrix."""
    by_matrix: dict[str | None, list[Group]] = {}
    for group in plan.groups:
        by_matrix.setdefault(group.matrix, []).append(group)
    return tuple(_form(plan, m, groups) for m, groups in by_matrix.items())


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
    """A form with its values at one step.

    Attributes:
        form: the form.
        by: its coefficients.
        U: distinct post-side rows.
        P: distinct pre-side rows.
        U_works: U, with zeros where no coefficient asks for a row.
        K: coefficients between those.
        V: K P, as far as it is at work.
    """

    form: Form
    by: Coefficients
    U: Tensor
    P: Tensor
    U_works: Tensor
    K: Tensor
    V: Tensor


def apply(form: Form, by: Coefficients, v: Values, W: Tensor) -> Applied:
    """A form at the values `v` of one layer, with `Form.coefficients`."""
    U, P = _sides(form, v, W)
    K = by.K[0]
    for i, scalar in enumerate(form.scalars[1:], start=1):
        K = K + where(by.of(i), v[str(scalar)] * by.K[i])
    return Applied(form, by, U, P, where(by.post, U), K, torch.bmm(K, where(by.pre, P)))


def updated(W: Tensor, applied: Sequence[Applied], v: Values) -> Tensor:
    """The weights after the step, [lifetimes, post, pre]; a new tensor."""
    new = W
    for a in applied:
        U, matrix = a.U_works, a.form.matrix
        if matrix is None and U.shape[-1] == W.shape[1] and a.V.shape[-1] == W.shape[2]:
            new = torch.baddbmm(new, U.mT, a.V)
        elif matrix is None:
            new = new + U.mT @ a.V
        else:
            new = torch.addcmul(new, where(a.by.any, v[matrix]), U.mT @ a.V)
    return new


def pull_form(
    a: Applied,
    v: Values,
    Lambda: Tensor,
    bar: Values,
    bar_k: list[Tensor],
) -> None:
    """Add what Λ gives to the adjoints of the form's rows, scalars, matrix and coefficients.

    The coefficients' own takes every row as it is; all others take those at work.
    """

    def add(name: str | None, value: Tensor) -> None:
        if name is not None:
            bar[name] = bar[name] + value if name in bar else value

    matrix = a.form.matrix
    if matrix is not None:
        add(matrix, Lambda * (a.U_works.mT @ a.V))
        Lambda = Lambda * v[matrix]
    left, M = products(a.U, Lambda, a.P)
    _pull_k(a.form, v, M, bar_k)
    for i, scalar in enumerate(a.form.scalars):
        if scalar is not None:
            add(scalar, where(a.by.of(i), a.by.K[i] * M).sum((-1, -2), keepdim=True))
    if a.form.post != (None,):
        wide = a.V.shape[-1] == Lambda.shape[-1]
        bar_u = torch.bmm(a.V, Lambda.mT) if wide else a.V * Lambda.sum(-1)[:, None, :]
        bar_u = where(a.by.post, bar_u)
        for i, name in enumerate(a.form.post):
            add(name, bar_u[:, i : i + 1])
    if a.form.pre != (None,):
        bar_p = torch.bmm(a.K.mT, where(a.by.post, left))
        for i, name in enumerate(a.form.pre):
            add(name, bar_p[:, i : i + 1])


def products(U: Tensor, Lambda: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
    """U Λ, [lifetimes, post rows, pre or 1], and U Λ Pᵀ, [lifetimes, post rows, pre rows]."""
    left = _times(U, Lambda)
    return left, _times(P, left.mT).mT


def _pull_k(form: Form, v: Values, M: Tensor, bar_k: list[Tensor]) -> None:
    """Add U Λ Pᵀ to the adjoints of the coefficients, for each scalar."""
    for i, scalar in enumerate(form.scalars):
        bar_k[i] += M if scalar is None else v[scalar] * M


def pull_idle(form: Form, v: Values, W: Tensor, Lambda: Tensor, bar_k: list[Tensor]) -> None:
    """Add what Λ gives to the adjoints of coefficients that are all zero, and to nothing else."""
    if form.matrix is not None:
        Lambda = Lambda * v[form.matrix]
    U, P = _sides(form, v, W)
    _, M = products(U, Lambda, P)
    _pull_k(form, v, M, bar_k)


def _sides(form: Form, v: Values, W: Tensor) -> tuple[Tensor, Tensor]:
    """The rows U and P of a form."""
    return _rows(form.post, v, W[:, :, 0][:, None, :]), _rows(form.pre, v, W[:, :1, :])


def no_adjoints(form: Form, like: Tensor) -> list[Tensor]:
    """Adjoints of a form's coefficients to begin with, for each scalar."""
    shape = len(like), len(form.post), len(form.pre)
    return [like.new_zeros(shape) for _ in form.scalars]


def pull_coefficients(form: Form, bar_k: list[Tensor]) -> Tensor:
    """The derivative with respect to theta, [lifetimes, terms], from those of K for each scalar.

    Every part by itself: in a product with `Form.weight`, one that is not finite would reach the
    terms that have no share in it.
    """
    s, t, g, p = form.weight.nonzero().unbind(1)
    shares = torch.stack(bar_k, dim=1)[:, s, g, p] * form.weight[s, t, g, p].to(bar_k[0])
    total = shares.new_zeros(len(shares), form.weight.shape[1])
    return total.index_add(1, t.to(shares.device), shares)
