"""Conditions of an evaluation: what they change, and what they leave as it is."""

from itertools import pairwise

import pytest
import torch
from test_evaluate import DELTA, FEW

from rulesearch.conditions import Conditions
from rulesearch.data import Task
from rulesearch.evaluate.engine import carry_out
from rulesearch.evaluate.options import asked_for
from rulesearch.pathways import feedback_shapes, pathway

SIZES = (5, 4, 3, 3)


@pytest.mark.parametrize("largest", [1.0, 255.0])
def test_noise_in_images_keeps_them_within_their_own_range(largest):
    x = largest * torch.rand(2, 6, 5)
    labels = torch.zeros(2, 6, dtype=torch.int64)
    task = Task(x, labels, x, labels)
    hardly = Conditions(image_noise=1e-6).of_task(task, (1, 2)).x
    assert torch.allclose(hardly, x, atol=1e-4)
    much = Conditions(image_noise=10 * largest).of_task(task, (1, 2)).x
    assert float(much.min()) >= 0
    assert float(much.max()) == pytest.approx(largest, rel=0.2)
    alone = Conditions(image_noise=10 * largest).of_task(
        Task(*(t[1:] for t in (x, labels) * 2)), (2,)
    )
    assert torch.equal(alone.x[0], much[1])  # whatever else is in the batch


@pytest.mark.parametrize(
    ("name", "transposed"), [("random", [True] * 3), ("direct", [False, False, True])]
)
def test_only_an_edge_to_the_layer_below_has_weights_to_be_transposed(name, transposed):
    """Sizes may agree by chance: the last two layers have three neurons each."""
    path = pathway(name, 3)
    weights = [torch.rand(2, post, pre) for pre, post in pairwise(SIZES)]
    feedback = [torch.rand(2, *shape) for shape in feedback_shapes(path, SIZES)]
    Conditions(transposed=True).of_feedback(feedback, weights, (1, 2), path)
    same = [torch.equal(b, w.mT) for b, w in zip(feedback, weights, strict=True)]
    assert same == transposed


def test_what_is_asked_of_matrices_that_are_not_there_is_said():
    options = {**FEW, "rivals": ()}
    noisy = asked_for({**options, "pathway": "symmetric", "feedback_noise": 0.5})
    (said,) = (n for n in carry_out([DELTA], noisy).notes if "matrices" in n)
    assert said.startswith("rule delta: the symmetric pathway has no matrices of its own")
    usual = carry_out([DELTA], asked_for({**options, "feedback_noise": 0.5}))
    assert not any("matrices" in note for note in usual.notes)
