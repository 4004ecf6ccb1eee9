"""The query asked after several steps, and answers that are probabilities."""

from dataclasses import replace

import batches
import pytest
import torch
import unrolled
from batches import HEBBIAN, PAPER, TOLERANCE, WILD, assert_close, kernels, pathways

from rulesearch.errors import RuleSearchError
from rulesearch.kernels.fused import build
from rulesearch.lowering import lower_terms
from rulesearch.model import LOSSES, Model
from rulesearch.notation import Pool
from rulesearch.pathways import pathway

STEPS, QUERIES, OUTPUTS = 7, 3, 3
AT = (0, 2, 3, 7)


def start_of(path="random", lifetimes=2, **more):
    return batches.given(
        1, (5, 4, 3, 3), path, lifetimes=lifetimes, steps=STEPS, queries=QUERIES, **more
    )


def answers(start, at, seed=0):
    """Probabilities, [lifetimes, len(at), queries, outputs]; some of them exactly zero."""
    drawn = torch.Generator().manual_seed(seed)
    shape = (len(start.weights[0]), len(at), QUERIES, OUTPUTS)
    found = torch.rand(shape, generator=drawn, dtype=torch.float64)
    found[:, :, 0, 1] = 0.0
    return found / found.sum(-1, keepdim=True)


def run(pool, theta, start, targets, at, **more):
    asked = replace(start, query=(start.query[0], targets))
    return batches.run(pool, theta, asked, ask_at=at, **more)


def expected(pool, theta, start, targets, at):
    """Loss and gradient by autograd through the unrolled loop."""
    theta = batches.spread(theta, start).requires_grad_()
    loss = unrolled.asked_loss(
        batches.as_written(pool),
        theta,
        start.weights,
        start.feedback,
        start.train,
        start.query[0],
        targets,
        at,
        start.pathway,
    )
    (gradient,) = torch.autograd.grad(loss.sum(), theta)
    return loss.detach(), gradient


@pytest.mark.parametrize("at", [(7,), (3,), (2, 5), AT], ids=str)
@kernels
def test_loss_and_gradient_are_those_of_the_unrolled_loop(kernel, at):
    start = start_of()
    theta, targets = batches.paper_theta(start), answers(start, at)
    out = run(PAPER, batches.spread(theta, start), start, targets, at, kernel=kernel, gradient=True)
    loss, gradient = expected(PAPER, theta, start, targets, at)
    assert_close(out.loss, loss)
    assert_close(batches.scaled(out.gradient, theta), batches.scaled(gradient, theta))
    # It is of order one, or nothing would be compared.
    assert float(batches.scaled(gradient, theta).abs().max()) > 1e-3


@pytest.mark.slow
@pathways
@pytest.mark.parametrize("pool", [HEBBIAN, WILD], ids=["hebbian", "wild"])
@kernels
def test_every_way_to_recover_weights_and_every_pathway(kernel, pool, path):
    start = start_of(path)
    theta, targets = batches.moderate(batches.as_written(pool), start, 0.01), answers(start, AT)
    out = run(pool, batches.spread(theta, start), start, targets, AT, kernel=kernel, gradient=True)
    loss, gradient = expected(pool, theta, start, targets, AT)
    assert out.note == ""
    assert_close(out.loss, loss)
    assert_close(batches.scaled(out.gradient, theta), batches.scaled(gradient, theta))


@pytest.mark.parametrize(
    "pool",
    [
        Pool(A="-e_post*y_pre", B="-e_post*sum_post(W*e_post)"),  # undone in a pass of its own
        Pool(A="-e_post*y_pre", B="-W"),  # in that of the groups
        Pool(A="-e_post*y_pre", B="-W*y_post**2"),  # not undone but repeated
    ],
    ids=["alone", "scaled", "repeated"],
)
@pytest.mark.slow
def test_fused_is_einsum_however_its_weights_come_back(pool):
    start = start_of("sign-symmetric")
    theta = batches.moderate(batches.as_written(pool), start)
    both = [
        run(pool, theta, start, answers(start, AT), AT, kernel=kernel, gradient=True)
        for kernel in ("einsum", "fused")
    ]
    assert both[1].note == ""
    for name in ("loss", "accuracy", "initial_loss", "gradient"):
        assert_close(getattr(both[1], name), getattr(both[0], name), 1e-10)
    for one, other in zip(both[0].weights, both[1].weights, strict=True):
        assert_close(other, one, 1e-10)


@pytest.mark.parametrize("loss", ["cross-entropy", "squared"])
@kernels
def test_what_learns_nothing_ends_as_it_began_whatever_the_answers(kernel, loss):
    """Also where they differ with the steps, and the loss is not linear in them."""
    start, model = start_of(), Model(loss=LOSSES[loss])
    theta, targets = torch.zeros(len(PAPER), dtype=torch.float64), answers(start, AT)
    out = run(PAPER, theta, start, targets, AT, kernel=kernel, model=model)
    assert out.note == ""
    assert torch.equal(out.loss, out.initial_loss)


@kernels
def test_gradient_is_that_of_central_differences(kernel):
    start = start_of()
    theta, targets = batches.paper_theta(start), answers(start, AT)
    way = torch.linspace(-1, 1, len(PAPER), dtype=torch.float64) * theta.abs()
    size = 1e-5

    def loss(shift):
        return run(PAPER, theta + shift * way, start, targets, AT, kernel=kernel).loss

    out = run(PAPER, theta, start, targets, AT, kernel=kernel, gradient=True)
    slope = (loss(size) - loss(-size)) / (2 * size)
    # The error of the difference: size² times a third derivative of order one, and rounding
    # 2e-16 / size.
    assert_close(out.gradient @ way, slope, 1e-8)


@kernels
def test_terms_that_are_zero_have_their_derivative_too(kernel):
    start = start_of()
    theta, targets = batches.paper_theta(start), answers(start, AT)
    theta[5:] = 0.0
    out = run(PAPER, batches.spread(theta, start), start, targets, AT, kernel=kernel, gradient=True)
    _, gradient = expected(PAPER, theta, start, targets, AT)
    unit = batches.paper_theta(start)
    assert_close(batches.scaled(out.gradient, unit), batches.scaled(gradient, unit))


@pytest.mark.parametrize("beside", [{}, {"R": "-W*y_post**2"}], ids=["undone", "repeated"])
@pytest.mark.parametrize("strength", [0.3, 5.0], ids=["grown", "no numbers"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@kernels
def test_what_comes_after_the_last_time_has_no_say(kernel, dtype, strength, beside):
    """Weights that have grown without end by then are no place to come back from."""
    pool, steps, at = Pool(F="-e_post*y_pre", O="y_post*y_pre", **beside), 80, (2, 3)
    start = batches.given(3, (8, 9, 3), steps=steps, queries=QUERIES).to(dtype)
    targets, (x, labels) = answers(start, at).to(dtype), start.train
    short = replace(start, train=(x[:, :3], labels[:, :3]))
    theta = torch.tensor([0.1, strength, *([1e-6] * len(beside))], dtype=dtype)
    whole, bare, part = (
        run(pool, theta, given, targets, at, kernel=kernel, gradient=True, keep_weights=keep)
        for given, keep in ((start, True), (start, False), (short, True))
    )
    for name in ("loss", "accuracy", "initial_loss", "gradient"):
        assert_close(getattr(whole, name), getattr(part, name), 1e-6)
        assert torch.equal(getattr(whole, name), getattr(bare, name))
    end = batches.run(pool, theta, start, kernel=kernel)
    for kept, last in zip(whole.weights, end.weights, strict=True):
        assert torch.equal(kept.nan_to_num(), last.nan_to_num())
    assert not all(w.isfinite().all() and w.abs().max() < 1e3 for w in end.weights)


@kernels
def test_labels_after_the_last_step_are_what_nothing_says(kernel):
    start = start_of()
    theta = batches.paper_theta(start)
    plain = batches.run(PAPER, theta, start, kernel=kernel, gradient=True)
    said = batches.run(PAPER, theta, start, kernel=kernel, gradient=True, ask_at=(STEPS,))
    for name in ("loss", "accuracy", "initial_loss", "gradient"):
        assert torch.equal(getattr(plain, name), getattr(said, name))
    # As probabilities of 0 and 1 they are the same to rounding.
    ones = torch.nn.functional.one_hot(start.query[1], OUTPUTS).double()
    coded = replace(start, query=(start.query[0], ones))
    also = batches.run(PAPER, theta, coded, kernel=kernel, gradient=True)
    for name in ("loss", "accuracy", "initial_loss", "gradient"):
        assert_close(getattr(also, name), getattr(plain, name), 1e-12)


@kernels
def test_labels_asked_several_times_are_the_mean(kernel):
    start = start_of()
    theta = batches.paper_theta(start)
    out = batches.run(PAPER, theta, start, kernel=kernel, gradient=True, ask_at=(2, 7))
    parts = []
    for steps in (2, 7):
        x, labels = start.train
        shorter = replace(start, train=(x[:, :steps], labels[:, :steps]))
        parts.append(batches.run(PAPER, theta, shorter, kernel=kernel, gradient=True))
    for name in ("loss", "accuracy", "gradient"):
        assert_close(
            getattr(out, name), (getattr(parts[0], name) + getattr(parts[1], name)) / 2, TOLERANCE
        )


@kernels
def test_what_else_is_in_the_batch_changes_no_bit(kernel):
    start = start_of(lifetimes=4)
    theta, targets = batches.paper_theta(start), answers(start, AT)
    every = run(PAPER, theta, start, targets, AT, kernel=kernel, gradient=True)
    order = [2, 0, 3, 1]
    turned = run(PAPER, theta, start.at(order), targets[order], AT, kernel=kernel, gradient=True)
    assert torch.equal(turned.loss, every.loss[order])
    assert torch.equal(turned.gradient, every.gradient[order])
    if kernel == "fused":  # torch rounds a batch by its size
        alone = run(PAPER, theta, start.at([2]), targets[[2]], AT, kernel=kernel, gradient=True)
        assert torch.equal(alone.gradient[0], every.gradient[2])


def test_asking_is_compiled_apart():
    """Who asks with labels after the last step has the code that there was."""
    made = build(lower_terms(PAPER.distinct), (5, 4, 3), pathway("random", 2))
    assert "asked" not in made.source


@kernels
def test_a_lifetime_that_is_not_finite_has_no_loss(kernel):
    start = start_of()
    theta = torch.tensor([1e200], dtype=torch.float64)
    out = run(
        Pool(A="-W**3*y_post"), theta, start, answers(start, (1, 7)), (1, 7), kernel=kernel,
        gradient=True,
    )  # fmt: skip
    assert out.loss.isnan().all()
    assert out.gradient.isnan().all()
    assert out.initial_loss.isfinite().all()


START = start_of()
GOOD = answers(START, AT)
ERRORS = {
    "another number of outputs": (
        (GOOD[..., :2], AT),
        "query probabilities: shape [2, 4, 3, 2]; give [2, 3, 3], or [2, 4, 3, 3], for each time "
        "it is asked",
    ),
    "other steps": (
        (GOOD, (2, 7)),
        "query probabilities: shape [2, 4, 3, 3]; give [2, 3, 3], or [2, 2, 3, 3], for each time "
        "it is asked",
    ),
    "fewer queries": (
        (GOOD[:, 0, :2], ()),
        "query probabilities: shape [2, 2, 3]; give [2, 3, 3]",
    ),
    "negative": (
        (GOOD - 0.25, AT),
        "query probabilities: -0.25 is below 0; give probabilities",
    ),
    "sums": (
        (GOOD * 1.5, AT),
        "query probabilities: one sums to 1.5; give probabilities, which sum to 1",
    ),
    "not finite": (
        (GOOD / 0, AT),
        "query probabilities: 72 of 72 numbers not finite, the first inf at [0, 0, 0, 0]; give "
        "finite numbers",
    ),
    "dtype": (
        (GOOD.float(), AT),
        "query probabilities: dtype torch.float32; give torch.float64 throughout",
    ),
    "watched": (
        (GOOD.clone().requires_grad_(), AT),
        "query answers: requires grad, but losses are differentiated with respect to theta "
        "only; give query answers.detach()",
    ),
    "a step outside": (
        (GOOD, (0, 2, 3, 8)),
        "ask_at 8: outside the lifetime; give numbers of steps from 0 to 7, ascending",
    ),
    "not ascending": (
        (GOOD, (0, 3, 2, 7)),
        "ask_at 3, 2: not ascending; give numbers of steps from 0 to 7, ascending",
    ),
    "no list": (
        (GOOD, 7),
        "ask_at: 7; give numbers of steps from 0 to 7, ascending, in a list",
    ),
    "no number": (
        (GOOD, ("end",)),
        "ask_at 'end': not a number of steps; give numbers of steps from 0 to 7, ascending",
    ),
}


@pytest.mark.parametrize(("change", "message"), ERRORS.values(), ids=ERRORS)
def test_bad_input(change, message):
    targets, at = change
    with pytest.raises(RuleSearchError) as caught:
        run(PAPER, batches.paper_theta(START), START, targets, at)
    assert caught.value.lines == (message,)
