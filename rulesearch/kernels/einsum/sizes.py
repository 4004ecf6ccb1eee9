"""How large each term's update is in one step, of all terms at once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.kernels import Batch
from rulesearch.kernels.einsum.forms import Applied, Values, apply, products, updated
from rulesearch.kernels.einsum.kernel import EinsumKernel


def update_sizes(kernel: EinsumKernel, batch: Batch) -> Float[Tensor, "lifetimes layers terms"]:
    """Frobenius norms of what each term alone, with coefficient 1, changes in the first step.

    A product has the norm of its factors' squares: those of all products together are one product
    of matrices, U² M² P²ᵀ. Terms of several products are written out one by one.

    Args:
        kernel: of the plan of all terms.
        batch: the networks, and an example for each; its coefficients do not count.
    """
    idle = torch.zeros_like(batch.theta)
    coefficients = kernel.coefficients(idle)
    _, record = kernel.step(batch, coefficients, list(batch.weights), 0)
    parts = sum((form.weight != 0).sum((0, 2, 3)) for form in kernel.forms)
    assert isinstance(parts, Tensor)
    layers = []
    for layer, weight in enumerate(record.W):
        values = record.values[layer]
        squares = torch.zeros_like(idle[:, layer])
        for applied in record.applied[layer]:
            squares += _squares_of_products(applied, values, weight)
        for term in (parts > 1).nonzero()[:, 0].tolist():
            alone = torch.zeros_like(idle[:, layer])
            alone[:, term] = 1.0
            forms = [apply(f, f.coefficients(alone), values, weight) for f in kernel.forms]
            change = updated(torch.zeros_like(weight), forms, values)
            squares[:, term] = change.square().sum((-1, -2))
        layers.append(squares.sqrt())
    return torch.stack(layers, dim=1)


def _squares_of_products(applied: Applied, values: Values, weight: Tensor) -> Tensor:
    """[lifetimes, terms]: the squared norm of each product, added up by term."""
    form = applied.form
    matrix = torch.ones_like(weight) if form.matrix is None else values[form.matrix] ** 2
    _, M = products(applied.U**2, matrix, applied.P**2)
    scaled = [M if scalar is None else values[scalar] ** 2 * M for scalar in form.scalars]
    s, t, g, p = form.weight.nonzero().unbind(1)
    shares = torch.stack(scaled, dim=1)[:, s, g, p] * form.weight[s, t, g, p].to(M) ** 2
    total = shares.new_zeros(len(shares), form.weight.shape[1])
    return total.index_add(1, t, shares)
