"""The readable kernel: batched torch over lifetimes, on CPU or CUDA, in any float dtype.

Layout of one step: a value on the pre side is a row [lifetimes, 1, pre], on the post side a row
[lifetimes, 1, post], a layer-wide value [lifetimes, 1, 1], a value on synapses
[lifetimes, post, pre]. Rows, because `bmm(y, W.mT)` is an order of magnitude faster on a CPU than
`bmm(W, y.mT)`.

The values of a plan's nodes and their adjoint are generated source; the grouped update is one
bilinear form for each matrix, ΔW = Uᵀ K P, with U the distinct post-side rows, P the distinct
pre-side rows and K the coefficients between them. With Λ the adjoint of W, `U Λ Pᵀ` is then the
gradient of every coefficient at once. B and the biases are updated likewise, a bias as a matrix
with one column, and each has a Λ of its own; so has every trace.

What is carried from one step to the next is never recorded at every step: the forward pass keeps it
at about √steps checkpoints, the backward pass replays one stretch after the other from there.

`forms` groups, `state` carries, `passes` goes through the network, `kernel` runs.
"""

from __future__ import annotations

from rulesearch.kernels.einsum.kernel import EinsumKernel
from rulesearch.lowering import Plan
from rulesearch.pathways import Pathway

__all__ = ["EinsumKernel", "build"]


def build(plan: Plan, sizes: tuple[int, ...], path: Pathway) -> EinsumKernel:
    """Compile a plan for a network of these layer sizes and a pathway."""
    return EinsumKernel.of(plan, sizes, path)
