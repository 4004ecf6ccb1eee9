import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rulesearch.data import TaskShape, load_data
from rulesearch.lifetime import Lifetimes
from rulesearch.model import Model
from rulesearch.notation import Pool
from rulesearch.operators.losses import LOSSES
from rulesearch.population import Population
from rulesearch.scoring import diverged, scored
from rulesearch.statistics import learns, measure

NAN, INF = math.nan, math.inf
ANY = st.floats(width=32)


def test_diverged():
    loss = torch.tensor([1.0, 2.0, 2.1, NAN, INF])
    assert diverged(loss, torch.full((5,), 2.0)).tolist() == [False, False, True, True, True]


def test_chance_is_that_of_the_loss():
    """Ten classes, one-hot: half the squared distance from a tenth each is 0.45, not ln 10."""
    shape, images = TaskShape(3, 2, 2), load_data("digits", shape=TaskShape(3, 2, 2)).search
    pool = Pool(F="-e_post*y_pre")
    networks = Population(pool, images, shape, (64, 5, 10), model=Model(loss=LOSSES["squared"]))
    found = measure(networks, (-1.0,), [0, 1, 2], networks.outputs)
    failures = [i for i, bad in enumerate(found.diverged) if bad]
    assert failures
    for i in failures:
        assert found.loss[i] == pytest.approx(max(0.45, found.initial_loss[i]))
    assert LOSSES["squared"].chance(10) == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("loss", "initial", "outputs", "score", "chance"),
    [
        (0.7, 2.0, 10, 0.7, False),
        (9.0, 182.0, 10, 9.0, False),  # far above chance, and yet learned
        (200.0, 182.0, 10, 182.0, True),  # unscaled pixels: chance would flatter it
        (NAN, 182.0, 10, 182.0, True),
        (3.0, 2.0, 10, math.log(10), True),
        (INF, 3.9, 47, 3.9, True),
        (NAN, NAN, 47, math.log(47), True),
        (NAN, INF, 47, math.log(47), True),
    ],
)
def test_what_a_lifetime_counts_as(loss, initial, outputs, score, chance):
    values = (torch.tensor([x], dtype=torch.float64) for x in (loss, 0.6, initial))
    found = scored(*values, outputs)
    assert found[0].item() == pytest.approx(score)
    assert found[1].item() == pytest.approx(1 / outputs if chance else 0.6)


@given(loss=ANY, initial=ANY.filter(math.isfinite), outputs=st.integers(2, 50))
def test_no_failure_scores_better_than_learning_nothing(loss, initial, outputs):
    loss, initial = torch.tensor([loss]), torch.tensor([initial])
    score, accuracy = scored(loss, torch.tensor([1.0]), initial, outputs)
    assert score.isfinite().all()
    failed = bool(diverged(loss, initial))
    assert bool(score <= initial) or score.item() == pytest.approx(math.log(outputs))
    assert not failed or (score >= initial and accuracy.item() == pytest.approx(1 / outputs))


def outcomes(loss, accuracy, initial=2.4, lifetimes=40):
    def population(theta, seeds, *, gradient=(), observe=()):
        noise = torch.linspace(-0.01, 0.01, len(seeds), dtype=torch.float64)
        return Lifetimes(
            loss=loss + noise, accuracy=accuracy + noise, initial_loss=initial + 0 * noise
        )

    return measure(population, (0.0,), tuple(range(lifetimes)), 10, batch=lifetimes)


@pytest.mark.parametrize(
    ("loss", "accuracy", "answer"),
    [
        (1.0, 0.6, True),
        (2.3, 0.1, False),  # answers alike whatever it sees, better than random weights do
        (2.4, 0.2, False),  # no better a loss than the untrained network's
        (9.0, 0.9, False),  # diverged
        (NAN, 0.9, False),
    ],
)
def test_what_learning_is(loss, accuracy, answer):
    assert learns(outcomes(loss, accuracy), 10) is answer


def test_to_know_which_classes_there_are_is_not_to_learn():
    """Of five classes a network that answers one of them is right in a fifth, whatever it sees."""
    assert not learns(outcomes(1.6, 0.2), 5)
    assert learns(outcomes(1.6, 0.22), 5)
    assert not learns(outcomes(0.1, 0.98), 1)  # nothing to tell apart
