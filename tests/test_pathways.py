import itertools
import math

import networkx as nx
import numpy as np
import pytest
import torch

from rulesearch.errors import RuleSearchError
from rulesearch.pathways import (
    PATHWAYS,
    Edge,
    carrier,
    feedback_shapes,
    initial_feedback,
    pathway,
)

SIZES = (7, 5, 4, 3)

EDGES = {
    "random": [(3, 2, "fixed"), (2, 1, "fixed"), (1, 0, "fixed")],
    "symmetric": [(3, 2, "transpose"), (2, 1, "transpose"), (1, 0, "transpose")],
    "direct": [(3, 2, "fixed"), (3, 1, "fixed"), (3, 0, "fixed")],
    "sign-symmetric": [(3, 2, "signs"), (2, 1, "signs"), (1, 0, "signs")],
}


@pytest.mark.parametrize("name", PATHWAYS)
def test_edges_in_order_of_propagation(name):
    path = pathway(name, 3)
    assert path.name == name
    assert path.edges == tuple(Edge(*edge) for edge in EDGES[name])
    assert path.tied == (name == "symmetric")
    assert {edge.tied for edge in path.edges} == {name == "symmetric"}


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
        ("sign-symmetric", [(7, 5), (5, 4), (4, 3)]),
    ],
)
def test_feedback_shapes_by_target_layer(name, expected):
    assert feedback_shapes(pathway(name, 3), SIZES) == expected


@pytest.mark.parametrize("name", PATHWAYS)
def test_carriers_are_their_definitions(name):
    rng = np.random.default_rng(0)
    path, lifetimes = pathway(name, 3), 2
    weights = [rng.normal(size=(lifetimes, b, a)) for a, b in itertools.pairwise(SIZES)]
    weights[1][0, 2, 3] = 0.0
    own = [rng.normal(size=(lifetimes, *shape)) for shape in feedback_shapes(path, SIZES)]
    given = [[torch.from_numpy(m) for m in matrices] for matrices in (weights, own)]
    for edge in path.edges:
        W, R = weights[edge.target], own[edge.target]
        B = carrier(edge, *given).numpy()
        assert B.shape == (lifetimes, SIZES[edge.target], SIZES[edge.source])
        for i, k, j in np.ndindex(B.shape):
            expected = R[i, k, j]
            if name == "symmetric":
                expected = W[i, j, k]
            elif name == "sign-symmetric":
                w = W[i, j, k]
                expected = abs(expected) if w > 0 else -abs(expected) if w < 0 else 0.0
            assert B[i, k, j] == expected


def test_a_tied_edge_reads_no_matrices():
    W = torch.ones(1, 3, 2)
    assert carrier(Edge(1, 0, "transpose"), [W], None).shape == (1, 2, 3)


@pytest.mark.parametrize("kind", ["transpose", "signs"])
def test_only_the_next_layer_has_weights_to_carry_errors(kind, monkeypatch):
    graph = nx.DiGraph()
    graph.add_edges_from(((3, i) for i in range(3)), carrier=kind)
    monkeypatch.setitem(PATHWAYS, "skipping", lambda depth: graph)
    with pytest.raises(AssertionError, match="weights to take it from"):
        pathway("skipping", 3)


def test_normal_feedback_is_drawn_by_its_law():
    path = pathway("random", 1)
    (b,) = initial_feedback(path, (300, 200), seed=5, law="normal")
    # Of 6e4 normal draws, one beyond three standard deviations is missing with probability 1e-70.
    assert float(b.abs().max()) > 3 * math.sqrt(2 / 500)
    (uniform,) = initial_feedback(path, (300, 200), seed=5)
    assert float(uniform.abs().max()) < 3 * math.sqrt(2 / 500)


@pytest.mark.parametrize("name", ["random", "direct", "sign-symmetric"])
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
            "pathway symetric: unknown pathway; did you mean symmetric? "
            "give one of random, symmetric, direct, sign-symmetric",
        ),
        (
            "xyz",
            "pathway xyz: unknown pathway; give one of random, symmetric, direct, sign-symmetric",
        ),
    ],
)
def test_unknown_pathway(name, message):
    with pytest.raises(RuleSearchError) as caught:
        pathway(name, 3)
    assert caught.value.lines == (message,)
