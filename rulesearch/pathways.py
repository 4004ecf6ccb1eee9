"""How errors travel backward: directed graphs of layers.

Layer 0 is the input, layer L the output. An edge carries errors from one layer to another through
a matrix B, its *carrier*: `e_target = (B e_source) ⊙ σ'(z_target)` (Eq. 3). The carrier of an edge
is the transposed forward weights (backprop), a fixed random matrix (feedback alignment, Lillicrap
et al. 2016; direct, Nøkland 2016), or that matrix's magnitudes with the signs of the transposed
forward weights (sign-symmetry, Liao et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import networkx as nx
import sympy
import torch
from jaxtyping import Float
from sympy import Expr
from torch import Tensor

from rulesearch.choices import Law
from rulesearch.errors import RuleSearchError, closest
from rulesearch.network import as_matrices, draw_xavier, empty_rows
from rulesearch.operators import QUANTITIES

#: What carries errors along an edge: Wᵀ, the edge's own matrix B, or |B| ⊙ sign(Wᵀ).
Carrier = Literal["transpose", "fixed", "signs"]

_W, _B = QUANTITIES["W"].symbol, QUANTITIES["B"].symbol
#: As expressions of the synapse's weights, forward and back.
CARRIERS: Mapping[Carrier, Expr] = {
    "transpose": _W,
    "fixed": _B,
    "signs": sympy.Abs(_B) * sympy.sign(_W),
}


@dataclass(frozen=True)
class Edge:
    """Errors of layer `source` reach layer `target` through a carrier."""

    source: int
    target: int
    carrier: Carrier

    @property
    def tied(self) -> bool:
        """Whether the carrier is Wᵀ, so that the edge needs no matrix of its own."""
        return self.carrier == "transpose"


@dataclass(frozen=True)
class Pathway:
    """A feedback graph for a network of some depth, its edges in order of propagation."""

    name: str
    edges: tuple[Edge, ...]

    @property
    def tied(self) -> bool:
        """Whether no edge needs a matrix of its own."""
        return all(edge.tied for edge in self.edges)


def _chain(depth: int, carrier: Carrier) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_edges_from(((i + 1, i) for i in range(depth)), carrier=carrier)
    return graph


def random_graph(depth: int) -> nx.DiGraph:
    """Layer by layer through fixed random matrices: feedback alignment."""
    return _chain(depth, "fixed")


def symmetric_graph(depth: int) -> nx.DiGraph:
    """Layer by layer through the transposed forward weights: backprop."""
    return _chain(depth, "transpose")


def direct_graph(depth: int) -> nx.DiGraph:
    """From the output layer straight to every other: direct feedback alignment."""
    graph = nx.DiGraph()
    graph.add_edges_from(((depth, i) for i in range(depth)), carrier="fixed")
    return graph


def sign_symmetric_graph(depth: int) -> nx.DiGraph:
    """Layer by layer through the signs of the weights, with fixed magnitudes of their own."""
    return _chain(depth, "signs")


#: Name -> graph of a network with this many weight layers.
PATHWAYS: Mapping[str, Callable[[int], nx.DiGraph]] = {
    "random": random_graph,
    "symmetric": symmetric_graph,
    "direct": direct_graph,
    "sign-symmetric": sign_symmetric_graph,
}


def pathway(name: str, depth: int) -> Pathway:
    """The pathway of this name for a network with `depth` weight layers.

    Raises:
        RuleSearchError: an unknown name.

    Example:
        >>> [(e.source, e.target) for e in pathway("direct", 3).edges]
        [(3, 2), (3, 1), (3, 0)]
    """
    if name not in PATHWAYS:
        hint = closest(name, PATHWAYS) or ";"
        raise RuleSearchError(
            f"pathway {name}: unknown pathway{hint} give one of {', '.join(PATHWAYS)}"
        )
    graph = PATHWAYS[name](depth)
    edges = [
        Edge(source, target, graph.edges[source, target]["carrier"])
        for target in nx.lexicographical_topological_sort(graph, key=lambda layer: -layer)
        for source in graph.predecessors(target)
    ]
    assert sorted(e.target for e in edges) == list(range(depth)), "one edge into each layer"
    beside_weights = [e for e in edges if e.carrier != "fixed"]
    assert all(e.source == e.target + 1 for e in beside_weights), "weights to take it from"
    return Pathway(name, tuple(edges))


def carrier(
    edge: Edge,
    weights: Sequence[Float[Tensor, "lifetimes _post _pre"]],
    feedback: Sequence[Float[Tensor, "lifetimes _pre _source"]] | None,
) -> Float[Tensor, "lifetimes target source"]:
    """The matrix B of an edge at these weights.

    With `signs` it is |R| ⊙ sign(Wᵀ), R the edge's own matrix: it changes only where a weight
    changes its sign, and sign(0) = 0. In a meta-gradient the derivative of the sign is 0, as in the
    table of operators, so nothing goes back from B to W.

    Args:
        edge: of a pathway.
        weights: list over layers of [lifetimes, post, pre].
        feedback: list over target layers of [lifetimes, pre, source]; not read for a tied edge.

    Example:
        >>> W, R = torch.tensor([[[-3.0, 0.0]]]), torch.tensor([[[0.5], [0.7]]])
        >>> carrier(Edge(1, 0, "signs"), [W], [R]).tolist()
        [[[-0.5], [0.0]]]
    """
    transposed = weights[edge.target].mT
    if edge.carrier == "transpose":
        return transposed
    assert feedback is not None, "an edge that is not tied has a matrix of its own"
    own = feedback[edge.target]
    return own.abs() * transposed.sign() if edge.carrier == "signs" else own


def feedback_shapes(path: Pathway, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Shapes [target, source] of the matrices, by target layer; for a tied edge those of Wᵀ."""
    shapes = {edge.target: (sizes[edge.target], sizes[edge.source]) for edge in path.edges}
    return [shapes[layer] for layer in range(len(sizes) - 1)]


def initial_feedback(
    path: Pathway,
    sizes: Sequence[int],
    seed: int,
    dtype: torch.dtype = torch.float32,
    law: Law = "uniform",
) -> list[Float[Tensor, "_pre _source"]] | None:
    """Xavier feedback of one network, list over target layers; None where all is tied."""
    if path.tied:
        return None
    shapes = feedback_shapes(path, sizes)
    rows = empty_rows(1, shapes, dtype)
    draw_xavier(rows, shapes, (seed,), law)
    return [matrices[0] for matrices in as_matrices(rows, shapes)]
