"""How information flows in a network that learns, as a graph that is derived and not drawn.

The graph follows from three things: the terms of the rule (which
quantities each of them reads, `rulesearch.locality`), the layers in which each term acts
(`Pool.where`), and the pathway. Its nodes are activities y_l, errors e_l, forward weights
W_{l-1,l} and feedback matrices B_{k,l}. Within an iteration information runs forward (Eq. 1),
from the output to the error there, and backward (Eq. 3); by the rule it enters a weight, whose
new value is first seen in the next iteration. So a path takes as many iterations as it has edges
of the rule, and the iterations that B needs to reach W are the length of the shortest path.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import networkx as nx
import torch

from rulesearch.lifetime import run_lifetimes
from rulesearch.locality import classify
from rulesearch.network import initial_weights
from rulesearch.notation import Pool
from rulesearch.operators import QUANTITIES
from rulesearch.pathways import initial_feedback, pathway

Letter = Literal["y", "e", "W", "B"]
Kind = Literal["forward", "backward", "gate", "activity", "error"]


class Node(NamedTuple):
    """A quantity of the network: `y` or `e` of a layer, or a matrix, by the layers it joins."""

    letter: Letter
    layers: tuple[int, ...]

    @property
    def latex(self) -> str:
        """As mathematics, for instance $B_{2,1}$."""
        return f"${self.letter}_{{{','.join(map(str, self.layers))}}}$"

    @property
    def text(self) -> str:
        """For tables, for instance B21."""
        return self.letter + "".join(map(str, self.layers))


def y(layer: int) -> Node:
    """The activities of a layer; 0 is the input."""
    return Node("y", (layer,))


def e(layer: int) -> Node:
    """The errors of a layer."""
    return Node("e", (layer,))


def W(layer: int) -> Node:  # noqa: N802, the paper's letter
    """The weights into a layer, from the one before."""
    return Node("W", (layer - 1, layer))


def B(source: int, target: int) -> Node:  # noqa: N802, the paper's letter
    """The matrix that carries errors from one layer to another."""
    return Node("B", (source, target))


def information_flow(pool: Pool, depth: int, pathway_name: str = "random") -> nx.DiGraph:
    """What depends on what, in a network with `depth` layers of weights.

    Args:
        pool: the terms of the rule; `pool.where` says in which layers each of them acts.
        depth: L, the number of weight matrices.
        pathway_name: of the feedback graph.

    Returns:
        A graph of `Node`s. Each edge has its `kind`: `forward` and `backward` propagation, `gate`
        (the slope of the activation in Eq. 3), `activity` and `error` (what the rule reads);
        `iterations`, 1 for what the rule writes and 0 otherwise; and `terms`, the names of the
        terms that read. Only what reaches some weights is in it: e_0 and its matrix are there
        where a term of the first layer reads e_0.

    Raises:
        RuleSearchError: an unknown pathway, or a term that acts in a layer beyond `depth`.

    Example:
        >>> graph = information_flow(Pool(F0="-e_post*y_pre"), 2)
        >>> sorted(node.text for node in graph.predecessors(W(1)))
        ['e1', 'y0']
    """
    graph = nx.DiGraph()
    for layer in range(1, depth + 1):
        graph.add_edge(y(layer - 1), y(layer), kind="forward")
        graph.add_edge(W(layer), y(layer), kind="forward")
    graph.add_edge(y(depth), e(depth), kind="forward")
    for edge in pathway(pathway_name, depth).edges:
        graph.add_edge(e(edge.source), e(edge.target), kind="backward")
        graph.add_edge(y(edge.target), e(edge.target), kind="gate")
        if edge.carrier != "fixed":
            graph.add_edge(W(edge.source), e(edge.target), kind="backward")
        if edge.carrier != "transpose":
            graph.add_edge(B(edge.source, edge.target), e(edge.target), kind="backward")
    nx.set_edge_attributes(graph, 0, "iterations")
    nx.set_edge_attributes(graph, (), "terms")
    for layer, acts in enumerate(pool.mask(depth), start=1):
        for term in itertools.compress(pool, acts):
            for name in sorted({read.quantity for read in classify(term).reads}):
                _add_read(graph, name, layer, depth, term.name)
    weights = [node for node in graph if node.letter == "W"]
    reaching = set(weights).union(*(nx.ancestors(graph, node) for node in weights))
    return graph.subgraph(reaching).copy()


def _add_read(graph: nx.DiGraph, quantity: str, layer: int, depth: int, term: str) -> None:
    """An edge from what a term reads in a layer to the weights of that layer."""
    row = QUANTITIES[quantity]
    if quantity == "L":
        source = y(depth)  # the loss is known where the output is
    elif row.index == {"pre"} or row.index == {"post"}:
        source = (e if row.error else y)(layer - (row.index == {"pre"}))
    else:
        return  # the weights themselves, and the sizes of the layers
    known = graph.get_edge_data(source, W(layer), {"terms": ()})["terms"]
    kind = "error" if row.error else "activity"
    graph.add_edge(source, W(layer), kind=kind, iterations=1, terms=(*known, term))


def iterations(graph: nx.DiGraph, source: Node, target: Node) -> int | None:
    """Iterations until information of `source` is in `target`; None where it never is."""
    try:
        return int(nx.shortest_path_length(graph, source, target, weight="iterations"))
    except nx.NetworkXNoPath:
        return None


def arrivals(graph: nx.DiGraph, source: Node) -> dict[tuple[Node, Node], int]:
    """For each edge of the rule, the iteration in which it first carries information of `source`.

    The first iteration is 1. Edges that never carry any are left out.
    """
    distance = nx.single_source_dijkstra_path_length(graph, source, weight="iterations")
    return {
        (reads, weights): distance[reads] + 1
        for reads, weights, write in graph.edges(data="iterations")
        if write and reads in distance
    }


def shortest_edges(graph: nx.DiGraph, source: Node, target: Node) -> set[tuple[Node, Node]]:
    """The edges of all ways from `source` to `target` that take the fewest iterations.

    Among these only those with the fewest edges, so that detours through gates stay out.
    """
    # Whole numbers, in which all the edges of a path together weigh less than one iteration.
    whole = len(graph.nodes) + 1

    def weight(_: Node, __: Node, data: Mapping[str, Any]) -> int:
        cost: int = data["iterations"] * whole + 1
        return cost

    paths = nx.all_shortest_paths(graph, source, target, weight=weight)
    return {edge for path in paths for edge in itertools.pairwise(path)}


def reach(graph: nx.DiGraph) -> dict[tuple[Node, Node], int | None]:
    """Iterations from each feedback matrix to each matrix of weights, see `iterations`."""
    sources = sorted(node for node in graph if node.letter == "B")
    targets = sorted(node for node in graph if node.letter == "W")
    return {(b, w): iterations(graph, b, w) for b in sources for w in targets}


def measured_reach(pool: Pool, depth: int, seed: int = 0) -> dict[tuple[Node, Node], int | None]:
    """The same as `reach` gives, by experiment and without the graph.

    A small network learns the same few examples twice, with other values in one feedback matrix
    B_{l+1,l} the second time. Information has arrived in a matrix of weights once it is no longer
    the same to the bit.

    Args:
        pool: the terms of the rule; each has the coefficient 0.1.
        depth: L, the number of weight matrices.
        seed: of weights, feedback and examples.

    Returns:
        Iterations from each feedback matrix above the first layer to each matrix of weights; None
        where nothing has arrived after `depth` + 1 of them.
    """
    sizes = (6, *(5,) * (depth - 1), 4)
    generator = torch.Generator().manual_seed(seed)
    weights = [w[None] for w in initial_weights(sizes, seed, torch.float64)]
    drawn = initial_feedback(pathway("random", depth), sizes, seed + 1, torch.float64)
    assert drawn is not None, "feedback of its own"
    feedback = [b[None] for b in drawn]
    x = torch.rand(1, depth + 1, sizes[0], generator=generator, dtype=torch.float64)
    labels = torch.randint(sizes[-1], (1, depth + 1), generator=generator)

    def learned(matrices: list[torch.Tensor], steps: int) -> list[torch.Tensor]:
        train = x[:, :steps], labels[:, :steps]
        theta = torch.full((len(pool),), 0.1, dtype=torch.float64)
        lived = run_lifetimes(
            pool, theta, weights, matrices, train=train, query=(x, labels), kernel="einsum"
        )
        assert lived.weights is not None
        return lived.weights

    found: dict[tuple[Node, Node], int | None] = {}
    for target in range(1, depth):
        other = [b.flip(-1) if layer == target else b for layer, b in enumerate(feedback)]
        for layer in range(1, depth + 1):
            arrived = (
                steps
                for steps in range(1, depth + 2)
                if not torch.equal(
                    learned(feedback, steps)[layer - 1], learned(other, steps)[layer - 1]
                )
            )
            found[B(target + 1, target), W(layer)] = next(arrived, None)
    return found
