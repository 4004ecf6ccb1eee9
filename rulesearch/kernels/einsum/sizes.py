"""How large each term's update is in one step, of all terms at once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.kernels.batch import Batch
from rulesearch.kernels.einsum.forms import Applied, apply, products, updated
from rulesearch.kernels.einsum.kernel import EinsumKernel
from rulesearch.lowering.in_torch import Values


def update_sizes(kernel: EinsumKernel, batch: Batch) -> Float[Tensor, "lifetimes layers terms"]:
    """Frobenius norms of what each term alone, with coefficient 1, changes in the first step.

    Of all parameters that it changes, together.

    A product has the norm of its factors' squares: those of all products together are one product
    of matrices, U² M² P²ᵀ. Terms of several products are written out one by one.

    Args:
        kernel: of the plan of all terms.
        batch: the networks, and an example for each; its coefficients do not count.
    """
    idle = torch.zeros_like(batch.theta)
    coefficients = kernel.coefficients(idle)
    _, record = kernel.step(batch, coefficients, kernel.start(batch), 0)
    squares = torch.zeros_like(idle)
    for number, part in enumerate(kernel.parts):
        products_of = sum((form.weight != 0).sum((0, 2, 3)) for form in part.forms)
        several = [] if isinstance(products_of, int) else (products_of > 1).nonzero()[:, 0].tolist()
        for layer, matrix in enumerate(record.state.parameters[part.plan.changes]):
            values, own = record.values[number][layer], torch.zeros_like(idle[:, layer])
            for applied in record.applied[number][layer]:
                own += _squares_of_products(applied, values, matrix)
            for term in several:
                alone = torch.zeros_like(own)
                alone[:, term] = 1.0
                forms = [apply(f, f.coefficients(alone), values, matrix) for f in part.forms]
                change = updated(torch.zeros_like(matrix), forms, values)
                own[:, term] = change.square().sum((-1, -2))
            squares[:, layer] += own
    return squares.sqrt()


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
