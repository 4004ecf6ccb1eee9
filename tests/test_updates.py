from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from test_population import PAPER, SEEDS, SHAPE, population

from rulesearch.data import draw_tasks
from rulesearch.model import Model
from rulesearch.notation import Pool, together
from rulesearch.pathways import PATHWAYS
from rulesearch.updates import first_failure, norms, overlaps, points_along

WEIGHTED = Pool(
    A="-e_post*y_pre",
    B="-tanh(W)*e_post**2",
    C="y_post*y_pre - Abs(W)*y_post**2 + W*sum_post(y_post*W)",
    D="-W**2*y_pre*sum_pre(y_pre)",
    E="-1",
)
RULE = torch.zeros(len(PAPER), dtype=torch.float64)
RULE[0], RULE[2], RULE[9] = 0.2, -0.3, 0.05


@pytest.mark.parametrize("pathway", PATHWAYS)
def test_updates_along_a_lifetime_are_the_oracles(pathway):
    some = population(pathway=pathway, dtype=torch.float64)
    seeds, points = SEEDS[:2], (0, 2, 5)
    weights, feedback = some.networks(seeds)
    tasks = draw_tasks(some.images, SHAPE, seeds)

    def after(i, before, term, theta, begin, end):
        return oracle.lifetime(
            term,
            theta,
            before,
            None if pathway == "symmetric" else [b[i].numpy() for b in feedback],
            tasks.x[i, begin:end].double().numpy(),
            tasks.labels[i, begin:end].numpy(),
            pathway,
        )

    expected = np.zeros((len(PAPER), len(PAPER)))
    found = list(points_along(some, RULE, seeds, points))
    for i in range(len(seeds)):
        for point, stand in zip(points, found, strict=True):
            begun = [w[i].numpy() for w in weights]
            rule = [term.expression for term in PAPER]
            now = after(i, begun, rule, RULE.tolist(), 0, point) if point else begun
            changes = []
            for r, term in enumerate(PAPER):
                alone = after(i, now, [term.expression], [1.0], point, point + 1)
                change = [b - a for a, b in zip(now, alone, strict=True)]
                for ours, theirs in zip(stand.update(r), change, strict=True):
                    np.testing.assert_allclose(ours[i], theirs, rtol=1e-9, atol=1e-12)
                changes.append(np.concatenate([c.ravel() for c in change]))
            expected += np.array(changes) @ np.array(changes).T / (len(seeds) * len(points))
    found = np.array(overlaps(some, RULE.tolist(), seeds, points))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("pathway", PATHWAYS)
@pytest.mark.parametrize("pool", [PAPER, WEIGHTED], ids=["paper", "with functions of weights"])
def test_norms_are_those_of_the_updates(pool, pathway):
    """Of terms with one product and with several, with a factor of the synapse and without."""
    some = population(pool=pool, pathway=pathway, dtype=torch.float64)
    rule, points = torch.zeros(len(pool), dtype=torch.float64), (0, 2, 5)
    rule[0] = 0.1
    expected = torch.zeros(len(pool), dtype=torch.float64)
    for stand in points_along(some, rule, SEEDS, points):
        for term in range(len(pool)):
            sizes = [torch.linalg.matrix_norm(change) for change in stand.update(term)]
            expected[term] += torch.stack(sizes).sum(0).mean() / len(points)
    found = norms(some, SEEDS, rule.tolist(), points)
    assert found == pytest.approx(expected.tolist(), rel=1e-12)


def test_a_norm_is_finite_where_its_update_is():
    """What is infinite of one term counts in no other's."""
    pool = Pool(A="-e_post*y_pre", B="-log(relu(y_post - 3))*y_pre", C="-W")
    found = norms(population(pool=pool, dtype=torch.float64), SEEDS)
    assert np.isfinite([found[0], found[2]]).all()
    assert not np.isfinite(found[1])


def test_terms_in_some_layers_do_nothing_in_the_others():
    pool = Pool(A="-e_post*y_pre", B="-W", where={"B": (2,)})
    (stand,) = points_along(replace(population(), pool=pool), torch.zeros(2), SEEDS[:2], (0,))
    first, second, third = stand.update(1)
    assert first.abs().max() == third.abs().max() == 0
    assert torch.equal(second, -stand.weights[1])


def test_where_a_term_fails_for_the_first_time():
    """Weights that grow leave the domain of the root, in the layer and step that a loop finds."""
    pool = Pool(A="-e_post*y_pre", B="sqrt(1 - Abs(W))*y_pre")
    some, theta = replace(population(), pool=pool), (3.0, 0.0)
    failed = None
    for step in range(6):
        (stand,) = points_along(some, torch.tensor(theta), SEEDS[:1], (step,))
        large = [layer for layer, w in enumerate(stand.weights, start=1) if (w.abs() > 1).any()]
        if large:
            failed = large[0], step + 1
            break
    assert failed is not None
    assert first_failure(some, theta, SEEDS[0], 1) == failed
    assert first_failure(some, theta, SEEDS[0], 0) is None


def test_updates_that_are_not_finite_overlap_with_nothing():
    pool = Pool(A="-e_post*y_pre", B="sqrt(1 - Abs(W))*y_pre")
    some = replace(population(), pool=pool)
    (a, ab), (ba, _) = overlaps(some, (3.0, 0.0), SEEDS[:2], (0, 5))
    assert a > 0
    assert np.isfinite([ab, ba]).all()


def test_updates_of_terms_that_change_different_matrices_are_compared():
    """A term of the weights alone beside one of both: overlaps are of what both change."""
    pool = together(Pool(kp="-e_post*y_pre", hebb="y_post*y_pre"), Pool(kp="-e_post*y_pre", of="B"))
    networks = replace(population(dtype=torch.float64), pool=pool)
    found = overlaps(networks, (0.05, 0.0), (1,), (0,))
    alone = overlaps(replace(networks, pool=pool.only("hebb")), (0.0,), (1,), (0,))
    assert found[1][1] == pytest.approx(alone[0][0])
    assert found[0][0] > 0


def test_a_term_that_reads_a_bias_has_a_size_where_biases_are_still_zero():
    """Else no search could have it: biases begin at 0, and other terms move them."""
    pool = together(
        Pool(F0="-e_post*y_pre", A="b_post*y_pre"), Pool(of="b", b0="-e_post", b1="-b_post")
    )
    network = replace(population(), pool=pool, model=Model(bias=True))
    without = replace(network, pool=Pool(F0="-e_post*y_pre"), model=Model())
    found = norms(network, (0, 1, 2))
    assert all(size > 0 for size in found)
    assert found[0] == pytest.approx(norms(without, (0, 1, 2))[0])  # as large as it is in fact


BOUNDED = Pool(
    F0="-e_post*y_pre", big="-1000*e_post*y_pre*(1 + e_pre)", wild="-e_post*exp(1000*y_pre)"
)


def test_bounds_hold_no_update_back():
    """Else a constant factor of a term would decide what it is like."""
    free, held = (
        population(pool=pool, dtype=torch.float64)
        for pool in (BOUNDED, BOUNDED.bounded({"W": (-1, 1)}))
    )
    pairs = [overlaps(some, (0.02, 0.0, 0.0), SEEDS[:2], (0,)) for some in (free, held)]
    np.testing.assert_allclose(*pairs, rtol=1e-12)
    fails = [first_failure(some, (0.02, 0.0, 0.0), SEEDS[0], 2) for some in (free, held)]
    assert fails[0] == fails[1] is not None


def test_where_a_term_fails_is_looked_for_in_the_numbers_of_the_lifetimes():
    pool = Pool(F0="-e_post*y_pre", large="-e_post*exp(100*(1 + y_pre))")
    single, double = (population(pool=pool, dtype=d) for d in (torch.float32, torch.float64))
    assert first_failure(single, (0.02, 0.0), SEEDS[0], 1) == (1, 1)
    assert first_failure(double, (0.02, 0.0), SEEDS[0], 1) is None
