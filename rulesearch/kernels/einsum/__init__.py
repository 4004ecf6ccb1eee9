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

`source` writes, `forms` groups, `kernel` runs; `zeros` says what is done at exact zeros.
"""

from __future__ import annotations

from rulesearch.kernels.einsum.forms import forms_of
from rulesearch.kernels.einsum.kernel import EinsumKernel, compiled_source
from rulesearch.kernels.einsum.source import adjoint_source, forward_source
from rulesearch.lowering import Plan
from rulesearch.pathways import Pathway

__all__ = ["EinsumKernel", "build"]


def build(plan: Plan, sizes: tuple[int, ...], path: Pathway) -> EinsumKernel:
    """Compile a plan for a network of these layer sizes and a pathway."""
    source = f"{forward_source(plan)}\n\n\n{adjoint_source(plan)}\n"
    functions = compiled_source(source)
    return EinsumKernel(
        plan, sizes, path, source, forms_of(plan), functions["values"], functions["pull"]
    )
