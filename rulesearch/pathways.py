"""How errors travel backward: directed graphs of layers.

Layer 0 is the input, layer L the output. An edge carries errors from one layer to another through
a matrix B: `e_target = (B e_source) ⊙ σ'(z_target)` (Eq. 3). A tied edge uses the transposed
forward weights (backprop), a free one a fixed random matrix (feedback alignment, Lillicrap et al.
2016; direct, Nøkland 2016).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.errors import RuleSearchError
from rulesearch.network import draw_xavier


@dataclass(frozen=True)
class Edge:
    """Errors of layer `source` reach layer `target`; `tied` where the matrix is Wᵀ."""

    source: int
    target: int
    tied: bool


@dataclass(frozen=True)
class Pathway:
    """A feedback graph for a network of some depth, its edges in order of propagation."""

    name: str
    edges: tuple[Edge, ...]

    @property
    def tied(self) -> bool:
        """Whether no edge needs a matrix of its own."""
        return all(edge.tied for edge in self.edges)


def _chain(depth: int, tied: bool) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_edges_from(((i + 1, i) for i in range(depth)), tied=tied)
    return graph


def random_graph(depth: int) -> nx.DiGraph:
    """Layer by layer through fixed random matrices: feedback alignment."""
    return _chain(depth, tied=False)


def symmetric_graph(depth: int) -> nx.DiGraph:
    """Layer by layer through the transposed forward weights: backprop."""
    return _chain(depth, tied=True)


def direct_graph(depth: int) -> nx.DiGraph:
    """From the output layer straight to every other: direct feedback alignment."""
    graph = nx.DiGraph()
    graph.add_edges_from(((depth, i) for i in range(depth)), tied=False)
    return graph


#: Name -> graph of a network with this many weight layers.
PATHWAYS: Mapping[str, Callable[[int], nx.DiGraph]] = {
    "random": random_graph,
    "symmetric": symmetric_graph,
    "direct": direct_graph,
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
        near = difflib.get_close_matches(name, PATHWAYS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise RuleSearchError(
            f"--pathway {name}: unknown pathway{hint} give one of {', '.join(PATHWAYS)}"
        )
    graph = PATHWAYS[name](depth)
    edges = [
        Edge(source, target, graph.edges[source, target]["tied"])
        for target in nx.lexicographical_topological_sort(graph, key=lambda layer: -layer)
        for source in graph.predecessors(target)
    ]
    assert sorted(e.target for e in edges) == list(range(depth)), "one edge into each layer"
    return Pathway(name, tuple(edges))


def feedback_shapes(path: Pathway, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Shapes [target, source] of the matrices, by target layer; for a tied edge those of Wᵀ."""
    shapes = {edge.target: (sizes[edge.target], sizes[edge.source]) for edge in path.edges}
    return [shapes[layer] for layer in range(len(sizes) - 1)]


def initial_feedback(
    path: Pathway, sizes: Sequence[int], seed: int, dtype: torch.dtype = torch.float32
) -> list[Float[Tensor, "_pre _source"]] | None:
    """Xavier-uniform feedback of one network, list over target layers; None where all is tied."""
    if path.tied:
        return None
    matrices = [torch.empty(shape, dtype=dtype) for shape in feedback_shapes(path, sizes)]
    draw_xavier(matrices, seed)
    return matrices
