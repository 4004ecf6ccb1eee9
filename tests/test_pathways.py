import math

import networkx as nx
import pytest
import torch

from rulesearch.errors import RuleSearchError
from rulesearch.pathways import PATHWAYS, Edge, feedback_shapes, initial_feedback, pathway

SIZES = (7, 5, 4, 3)

EDGES = {
    "random": [(3, 2, False), (2, 1, False), (1, 0, False)],
    "symmetric": [(3, 2, True), (2, 1, True), (1, 0, True)],
    "direct": [(3, 2, False), (3, 1, False), (3, 0, False)],
}


@pytest.mark.parametrize("name", PATHWAYS)
def test_edges_in_order_of_propagation(name):
    path = pathway(name, 3)
    assert path.name == name
    assert path.edges == tuple(Edge(*edge) for edge in EDGES[name])
    assert path.tied == (name == "symmetric")


@pytest.mark.parametrize("depth", [1, 2, 6])
@pytest.mark.parametrize("name", PATHWAYS)
def test_errors_are_known_before_they_are_passed_on(name, depth):
    known = {depth}
    for edge in pathway(name, depth).edges:
        assert edge.source in known
        known.add(edge.target)
    assert known == set(range(depth + 1))
    assert nx.is_directed_acyclic_graph(PATHWAYS[name](depth))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("random", [(7, 5), (5, 4), (4, 3)]),
        ("symmetric", [(7, 5), (5, 4), (4, 3)]),
        ("direct", [(7, 3), (5, 3), (4, 3)]),
    ],
)
def test_feedback_shapes_by_target_layer(name, expected):
    assert feedback_shapes(pathway(name, 3), SIZES) == expected


@pytest.mark.parametrize("name", ["random", "direct"])
def test_initial_feedback_is_xavier_uniform_and_the_seeds(name):
    path = pathway(name, 3)
    drawn = initial_feedback(path, SIZES, seed=5, dtype=torch.float64)
    assert [tuple(b.shape) for b in drawn] == feedback_shapes(path, SIZES)
    for b in drawn:
        bound = math.sqrt(6 / sum(b.shape))
        # That none of n uniform draws passes half the bound has probability 2^-n, n >= 12.
        # Drawn in float32, which may round the bound itself up.
        assert bound / 2 < float(b.abs().max()) <= bound * (1 + 2**-23)
    again = initial_feedback(path, SIZES, seed=5)
    other = initial_feedback(path, SIZES, seed=6)
    assert all(torch.equal(a, b.float()) for a, b in zip(again, drawn, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(again, other, strict=True))


def test_a_tied_pathway_needs_no_matrices():
    assert initial_feedback(pathway("symmetric", 3), SIZES, seed=0) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "symetric",
            "--pathway symetric: unknown pathway; did you mean symmetric? "
            "give one of random, symmetric, direct",
        ),
        ("xyz", "--pathway xyz: unknown pathway; give one of random, symmetric, direct"),
    ],
)
def test_unknown_pathway(name, message):
    with pytest.raises(RuleSearchError) as caught:
        pathway(name, 3)
    assert caught.value.lines == (message,)
