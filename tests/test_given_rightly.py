"""What `run_lifetimes` is given, in whatever form, is what it computes with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sympy import exp

from rulesearch import run_lifetimes
from rulesearch.errors import RuleSearchError
from rulesearch.lifetime import Carried
from rulesearch.model import Model, model_of
from rulesearch.notation import B, Pool, e_post, together, trace, y_post, y_pre
from rulesearch.operators.losses import LOSSES

G = torch.Generator().manual_seed(0)
COUNT, STEPS = 2, 6
WEIGHTS = [torch.rand(COUNT, *shape, generator=G) - 0.5 for shape in ((5, 4), (3, 5))]
X = torch.rand(COUNT, STEPS, 4, generator=G)
LABELS = torch.randint(3, (COUNT, STEPS), generator=G)
DELTA = Pool(F0=-e_post * y_pre)


def lived(pool=DELTA, theta=(0.1,), weights=WEIGHTS, feedback="symmetric", **more):
    given = {"train": (X, LABELS), "query": (X, LABELS), "kernel": "einsum", **more}
    return run_lifetimes(pool, [*theta], weights, feedback, **given)


# --- a zero takes part in nothing -----------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["einsum", "fused"])
def test_a_term_that_is_zero_spoils_no_lifetime_by_its_trace(kernel):
    wild = trace("elig", exp(1000 * y_post * y_pre), decay=0.9)
    pool = Pool(A=-e_post * y_pre, T=-wild * y_pre)
    alone = lived(kernel=kernel)
    beside = lived(pool, (0.1, 0.0), kernel=kernel, compile_for=("T",), gradient=["A"])
    torch.testing.assert_close(beside.loss, alone.loss)
    assert beside.gradient[:, 0].isfinite().all()


# --- forms of what is given -----------------------------------------------------------------------


@pytest.mark.parametrize("answers", ["probabilities", "numbers"])
def test_what_is_observed_on_the_query_is_asked_what_the_query_is(answers):
    targets = torch.rand(COUNT, STEPS, 3, generator=torch.Generator().manual_seed(1))
    model = Model(loss=LOSSES["squared"]) if answers == "numbers" else Model()
    targets = 5 * targets if answers == "numbers" else targets.softmax(-1)
    out = lived(query=(X, targets), observe=("loss", "accuracy"), model=model)
    torch.testing.assert_close(out.observed["loss"], out.loss)
    torch.testing.assert_close(out.observed["accuracy"], out.accuracy)
    early = lived(query=(X, targets), model=model, observe=("loss",), observe_at=(0,))
    torch.testing.assert_close(early.observed["loss"][:, 0], out.initial_loss)


@pytest.mark.parametrize("form", [list, tuple, np.array, torch.tensor, iter])
def test_numbers_of_steps_may_be_given_in_any_form(form):
    want = lived(observe=("loss",), observe_at=(0, 3), ask_at=(2, 6))
    got = lived(observe=("loss",), observe_at=form([0, 3]), ask_at=form([2, 6]))
    assert torch.equal(got.observed["loss"], want.observed["loss"])
    assert torch.equal(got.loss, want.loss)


def test_no_number_of_steps_but_zero_is_none_at_all():
    got = lived(observe=("loss",), observe_at=np.array([0]))
    torch.testing.assert_close(got.observed["loss"][:, 0], got.initial_loss)


@pytest.mark.parametrize("form", [list, set, np.array, iter])
def test_names_may_be_given_in_any_form(form):
    got = lived(observe=form(["loss"]), gradient=form(["F0"]))
    assert {*got.observed} == {"loss"}
    assert torch.equal(got.gradient, lived(gradient=True).gradient)


@pytest.mark.parametrize("option", ["observe", "gradient", "compile_for"])
def test_nothing_in_place_of_names_is_told_what_to_give(option):
    with pytest.raises(RuleSearchError, match=rf"{option}: None; give a list of names, \[\] for"):
        lived(**{option: None})


@pytest.mark.parametrize("kind", [">i4", "<i8", "uint16", "uint32", "uint64", "int8"])
def test_class_numbers_may_be_of_any_kind_of_integer(kind):
    got = lived(train=(X.numpy().astype(">f4"), LABELS.numpy().astype(kind)))
    assert torch.equal(got.loss, lived().loss)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"train": (X[0, 0], LABELS)}, "train x: shape [4]; give [2, any, 4]"),
        (
            {"weights": [np.array(1.0, "f")]},
            "weights[0]: shape []; give [lifetimes, post, pre]",
        ),
    ],
)
def test_what_lacks_axes_is_told_in_a_line(given, line):
    with pytest.raises(RuleSearchError) as refusal:
        lived(**given)
    assert str(refusal.value) == line


# --- numbers of a model ---------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["einsum", "fused"])
def test_numbers_of_a_model_may_be_numpys(kernel):
    noise = [torch.zeros(COUNT, STEPS, size) for size in (5, 3)]
    bounds = (("W", np.float64(-0.4), np.float32(0.5)),)
    got = lived(kernel=kernel, noise=noise, model=Model(noise=np.float64(0.1), bounds=bounds))
    want = lived(kernel=kernel, noise=noise, model=Model(noise=0.1, bounds=(("W", -0.4, 0.5),)))
    assert torch.equal(got.loss, want.loss)


@pytest.mark.parametrize("kernel", ["einsum", "fused"])
def test_a_bound_beyond_single_precision_is_none(kernel):
    pool = Pool(F0=-e_post * y_pre, bounds={"W": (-1e39, 1e300)})
    torch.testing.assert_close(lived(pool, kernel=kernel).loss, lived(kernel=kernel).loss)


# --- going on -------------------------------------------------------------------------------------

MEAN = trace("mean_post", y_post, decay=0.9)
JOINT = together(
    Pool(kp=-e_post * y_pre, slow=-MEAN * y_pre),
    Pool(back=-MEAN * y_pre, bd=-B, of="B"),
    Pool(b0=-MEAN, of="b"),
)
FEEDBACK = [torch.rand(COUNT, *shape, generator=G) - 0.5 for shape in ((4, 5), (5, 3))]


def rule(**coefficients):
    return [coefficients.get(name, 0.0) for name in JOINT.names]


def part(begin, end, theta, weights=WEIGHTS, feedback=FEEDBACK, kernel="einsum", **more):
    train = X[:, begin:end], LABELS[:, begin:end]
    model = model_of(JOINT)
    return lived(JOINT, theta, weights, feedback, train=train, model=model, kernel=kernel, **more)


@pytest.mark.parametrize("kernel", ["einsum", "fused"])
@pytest.mark.parametrize(("first", "then"), [("b0", "slow"), ("slow", "b0")])
def test_weights_and_biases_go_on_with_each_others_traces(first, then, kernel):
    begin, after = rule(kp=0.1, **{first: 0.05}), rule(kp=0.1, **{then: 0.5})
    went = part(0, 3, begin, kernel=kernel)
    both = part(0, 3, begin, kernel=kernel, compile_for=(then,))
    got, want = (
        part(3, 6, after, weights=one.weights, carried=one.carried, kernel=kernel)
        for one in (went, both)
    )
    assert torch.equal(got.loss, want.loss)


def test_feedback_does_not_go_on_with_a_trace_that_only_weights_had():
    went = part(0, 3, rule(kp=0.1, slow=0.05))
    with pytest.raises(RuleSearchError, match="nothing of trace mean_post for terms of B"):
        part(3, 6, rule(kp=0.1, back=0.5), weights=went.weights, carried=went.carried)


@pytest.mark.parametrize("feedback", ["as at first", "none"])
def test_feedback_that_changed_goes_on_with_what_is_carried(feedback):
    theta = rule(kp=0.1, back=0.5)
    whole, went = part(0, 6, theta), part(0, 3, theta)
    given = FEEDBACK if feedback == "as at first" else None
    got = part(3, 6, theta, weights=went.weights, feedback=given, carried=went.carried)
    torch.testing.assert_close(got.loss, whole.loss)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v[:1], r"has shape \[1, 1, 5\]; give \[2, 1, 5\]"),
        (lambda v: v.double(), r"is torch.float64 on cpu; give torch.float32"),
        (lambda v: v.numpy(), r"has shape array"),
    ],
)
def test_what_is_carried_is_looked_at(change, told):
    pool = Pool(A=-e_post * y_pre, T=-MEAN * y_pre)
    carried = lived(pool, (0.1, 0.01)).carried
    memories = {key: change(value) for key, value in carried.memories.items()}
    with pytest.raises(RuleSearchError, match="carried: trace mean_post .*" + told):
        lived(pool, (0.1, 0.01), carried=replace(carried, memories=memories))
    assert isinstance(carried, Carried)


def test_feedback_that_changed_once_stays_so_through_steps_that_do_not_move_it():
    first, still = rule(kp=0.1, back=0.5), rule(kp=0.1)
    one = part(0, 2, first)
    two = part(2, 4, still, weights=one.weights, carried=one.carried)
    three = part(4, 6, still, weights=two.weights, carried=two.carried)
    given = part(4, 6, still, weights=two.weights, feedback=one.carried.feedback)
    assert torch.equal(three.loss, given.loss)
