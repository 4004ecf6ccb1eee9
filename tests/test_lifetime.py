from dataclasses import replace

import batches
import numpy as np
import pytest
import torch
from golden import GRAMMAR

from rulesearch.errors import RuleSearchError
from rulesearch.kernels import KERNELS, Unsupported
from rulesearch.lifetime import run_lifetimes
from rulesearch.notation import Pool, load_pool

PAPER = load_pool(GRAMMAR / "paper_pool.py")
#: Some thousand roundings of values of order one.
TOLERANCE = 5e3 * float(np.finfo(float).eps)


def start_of(**more):
    return batches.given(1, (5, 4, 3, 3), lifetimes=2, **more)


START = start_of()
LIFETIMES, LAYERS, TERMS = 2, 3, 10
THETA = torch.full((TERMS,), 0.01, dtype=torch.float64)


# --- what the contract promises -------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(TERMS,), (LAYERS, TERMS), (LIFETIMES, LAYERS, TERMS)], ids=lambda s: f"{len(s)}d"
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(shape, dtype):
    theta = torch.full(shape, 0.01, dtype=torch.float64)
    start = START.to(dtype)
    out = batches.run(PAPER, theta, start, kernel="einsum", gradient=True)
    assert out.loss.shape == out.accuracy.shape == out.initial_loss.shape == (LIFETIMES,)
    # A theta that has the lifetimes itself has each lifetime's own derivative in its place.
    expected = shape if len(shape) == 3 else (LIFETIMES, *shape)
    assert out.gradient.shape == expected
    assert [w.shape for w in out.weights] == [w.shape for w in start.weights]
    for tensor in (out.loss, out.accuracy, out.gradient, *out.weights):
        assert tensor.dtype == dtype
    assert (out.accuracy >= 0).all()
    assert (out.accuracy <= 1).all()
    assert out.note == ""
    assert not out.observed


def test_equal_rules_for_every_layer_are_the_shared_rule():
    shared = batches.run(PAPER, THETA, START, kernel="einsum", gradient=True)
    layers = batches.run(PAPER, THETA.expand(LAYERS, -1), START, kernel="einsum", gradient=True)
    assert torch.equal(shared.loss, layers.loss)
    assert torch.allclose(shared.gradient, layers.gradient.sum(1), rtol=TOLERANCE, atol=0)


def test_gradient_is_off_unless_asked_for():
    assert batches.run(PAPER, THETA, START, kernel="einsum").gradient is None
    assert batches.run(PAPER, THETA, START, kernel="einsum", gradient=False).gradient is None


def test_gradient_of_named_terms():
    out = batches.run(PAPER, THETA, START, kernel="einsum", gradient=["F2"])
    asked = torch.zeros(TERMS, dtype=torch.bool)
    asked[2] = True
    assert (out.gradient != 0).all(0).tolist() == asked.tolist()
    assert not out.gradient[:, ~asked].any()


def test_a_term_without_coefficient_costs_nothing_and_harms_nothing():
    """log(y_pre) is not finite where a pixel is 0; with a coefficient of 0 it is not there."""
    assert (START.train[0] == 0).any()
    pool = Pool(A="-e_post*y_pre", B="log(y_pre)")
    out = batches.run(pool, torch.tensor([0.1, 0.0]), START, kernel="einsum", gradient=["A"])
    alone = batches.run(Pool(A="-e_post*y_pre"), torch.tensor([0.1]), START, kernel="einsum")
    assert torch.equal(out.loss, alone.loss)
    assert out.gradient.isfinite().all()


def test_without_coefficients_nothing_is_learned():
    out = batches.run(PAPER, torch.zeros(TERMS), START, kernel="einsum")
    assert torch.equal(out.loss, out.initial_loss)
    assert all(torch.equal(a, b) for a, b in zip(out.weights, START.weights, strict=True))


def test_feedback_by_the_name_of_a_pathway():
    symmetric = replace(START, pathway="symmetric", feedback=None)
    by_name = batches.run(PAPER, THETA, symmetric, kernel="einsum", gradient=True)
    _, expected, _ = batches.reference([t.expression for t in PAPER], THETA, symmetric)
    assert torch.allclose(by_name.gradient, expected.sum(1), rtol=1e-9, atol=1e-9)


def test_matrices_alone_mean_the_random_pathway():
    given = {"train": START.train, "query": START.query, "kernel": "einsum"}
    unnamed = run_lifetimes(PAPER, THETA, START.weights, START.feedback, **given)
    named = run_lifetimes(PAPER, THETA, START.weights, START.feedback, pathway="random", **given)
    assert torch.equal(unnamed.loss, named.loss)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_labels_are_integers_of_any_kind(dtype):
    other = replace(
        START,
        train=(START.train[0], START.train[1].to(dtype)),
        query=(START.query[0], START.query[1].to(dtype)),
    )
    out = batches.run(PAPER, THETA, other, kernel="einsum")
    assert torch.equal(out.loss, batches.run(PAPER, THETA, START, kernel="einsum").loss)


def test_what_a_kernel_cannot_take_goes_to_einsum_and_is_said(monkeypatch):
    def refuse(plan, sizes, path):
        raise Unsupported("term A (digamma)")

    monkeypatch.setitem(KERNELS, "fused", refuse)
    # A network of other sizes, so that no kernel is kept for it.
    start = batches.given(2, (2, 5, 2))
    out = batches.run(PAPER, THETA, start, kernel="fused")
    assert out.note == "fused cannot take term A (digamma); using einsum"
    assert torch.equal(out.loss, batches.run(PAPER, THETA, start, kernel="einsum").loss)


# --- what a person can mend -----------------------------------------------------------------------


X, LABELS = START.train
ERRORS = {
    "kernel": (
        {"kernel": "fussed"},
        "kernel fussed: unknown kernel; give auto or one of einsum, fused",
    ),
    "pathway": (
        {"pathway": "direkt"},
        "pathway direkt: unknown pathway; did you mean direct? "
        "give one of random, symmetric, direct, sign-symmetric",
    ),
    "gradient": (
        {"gradient": ["F0", "F10"]},
        "gradient F10: no such term; the terms are F0, F1, F2, F3, F4, F5, F6, F7, F8, F9",
    ),
    "two pathways": (
        {"feedback": "symmetric", "pathway": "direct"},
        "pathway direct: but feedback names symmetric; give one of them",
    ),
    "a name for what needs matrices": (
        {"feedback": "random"},
        "feedback random: this pathway has matrices of its own; give a list of them, "
        "or use symmetric",
    ),
    "no layers": ({"weights": []}, "weights: empty; give one tensor for each layer"),
    "weights of one network": (
        {"weights": [w[0] for w in START.weights]},
        "weights[0]: shape [4, 5]; give [lifetimes, post, pre]",
    ),
    "weights that do not meet": (
        {"weights": [START.weights[0], START.weights[2], START.weights[2]]},
        "weights[1]: shape [2, 3, 3]; give [2, 3, 4]",
    ),
    "weights of whole numbers": (
        {"weights": [w.long() for w in START.weights]},
        "weights[0]: dtype torch.int64; give float32 or float64",
    ),
    "weights of two dtypes": (
        {"weights": [START.weights[0], START.weights[1].float(), START.weights[2]]},
        "weights[1]: dtype torch.float32; give torch.float64 throughout",
    ),
    "too little feedback": (
        {"feedback": START.feedback[1:]},
        "feedback: 2 matrices; the random pathway has 3",
    ),
    "feedback of another pathway": (
        {"pathway": "direct"},
        "feedback[0]: shape [2, 5, 4]; give [2, 5, 3]",
    ),
    "feedback transposed": (
        {"feedback": [b.mT for b in START.feedback]},
        "feedback[0]: shape [2, 4, 5]; give [2, 5, 4]",
    ),
    "theta of other terms": (
        {"theta": THETA[:4]},
        "theta: shape [4]; give one of [10], [3, 10], [2, 3, 10]",
    ),
    "images without lifetimes": (
        {"train": (X[0], LABELS[0])},
        "train x: shape [3, 5]; give [2, any, 5]",
    ),
    "images of another size": (
        {"query": (START.query[0][..., 1:], START.query[1])},
        "query x: shape [2, 2, 4]; give [2, any, 5]",
    ),
    "fewer labels than images": (
        {"train": (X, LABELS[:, 1:])},
        "train labels: shape [2, 2]; give [2, 3]",
    ),
    "labels that are no integers": (
        {"train": (X, LABELS.double())},
        "train labels: dtype torch.float64; give integers, class numbers",
    ),
    "labels without an output": (
        {"query": (START.query[0], START.query[1] + 3)},
        "query labels: outside 0 to 2, the output units",
    ),
    "images in another dtype": (
        {"train": (X.float(), LABELS)},
        "train x: dtype torch.float32; give torch.float64 throughout",
    ),
    "another device": (
        {"train": (X.to("meta"), LABELS)},
        "train x: on meta; weights[0] is on cpu",
    ),
}


@pytest.mark.parametrize(("change", "message"), ERRORS.values(), ids=ERRORS)
def test_bad_input(change, message):
    given = {
        "theta": THETA,
        "weights": START.weights,
        "feedback": START.feedback,
        "train": START.train,
        "query": START.query,
        **change,
    }
    with pytest.raises(RuleSearchError) as caught:
        run_lifetimes(PAPER, **given)
    assert caught.value.lines == (message,)
