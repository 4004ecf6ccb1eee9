"""The model as `docs/model.md` defines it: the page's own loop gives what the kernels give."""

import re
from pathlib import Path

import batches
import pytest
import torch

from rulesearch.notation import Pool

PAGE = Path(__file__).parents[1] / "docs" / "model.md"

#: Lifetimes of a few steps on values of order one, float64: rounding stays far below.
TOLERANCE = 1e-10

#: Name -> a term as a pool takes it, and as the page has it. Every local quantity is read, on
#: either side of a synapse and in a sum over either side; what could grow without bound
#: stands in a tanh.
TERMS = {
    "F0": ("-e_post*y_pre", lambda e_post, y_pre, **_: -e_post * y_pre),
    "F2": ("-e_post*e_pre", lambda e_post, e_pre, **_: -e_post * e_pre),
    "F9": (
        "y_post*y_pre - y_post*sum_post(y_post*W)",
        lambda y_post, y_pre, W, **_: y_post * y_pre - y_post * (y_post * W).sum(0, keepdim=True),
    ),
    "wide": (
        "-e_post*tanh(z_pre)*tanh(z_post)*tanh(L)*n_pre/n_post",
        lambda e_post, z_pre, z_post, L, n_pre, n_post, **_: (
            -e_post * torch.tanh(z_pre) * torch.tanh(z_post) * torch.tanh(L) * n_pre / n_post
        ),
    ),
    "nested": (
        "y_pre*tanh(sum_pre(W*e_pre))*tanh(sum_post(y_post))",
        lambda y_pre, W, e_pre, y_post, **_: (
            y_pre
            * torch.tanh((W * e_pre).sum(1, keepdim=True))
            * torch.tanh(y_post.sum(0, keepdim=True))
        ),
    ),
}
POOL = Pool(**{name: text for name, (text, _) in TERMS.items()})


def code():
    """The page's block of Python, as it stands there."""
    (block,) = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return block


def defined(text):
    """The names that some code defines."""
    names = {}
    exec(compile(text, str(PAGE), "exec"), names)
    return names


@pytest.fixture(scope="module")
def page():
    return defined(code())


def by_the_page(page, theta, start, lifetime):
    """Final weights, loss and accuracy of one lifetime of a batch."""
    own = start.feedback or [None] * len(start.weights)
    final = page["learn"](
        [w[lifetime] for w in start.weights],
        [None if b is None else b[lifetime] for b in own],
        start.pathway,
        theta,
        [function for _, function in TERMS.values()],
        *(t[lifetime] for t in start.train),
    )
    return final, *page["ask"](final, *(t[lifetime] for t in start.query))


@batches.kernels
@batches.pathways
def test_the_loop_on_the_page_is_what_the_kernels_run(page, kernel, path):
    start = batches.given(3, (6, 5, 4, 5, 3), path, lifetimes=2, steps=12, queries=9)
    theta = batches.moderate(batches.as_written(POOL), start, change=0.01)
    out = batches.run(POOL, theta, start, kernel=kernel)
    assert out.note == ""
    for lifetime in range(2):
        final, loss, accuracy = by_the_page(page, theta, start, lifetime)
        for got, expected, begun in zip(out.weights, final, start.weights, strict=True):
            assert float((got[lifetime] - expected).abs().max()) < TOLERANCE
            assert float((expected - begun[lifetime]).abs().max()) > 0.01
        assert float((out.loss[lifetime] - loss).abs()) < TOLERANCE
        assert float(out.accuracy[lifetime]) == float(accuracy)


@batches.pathways
def test_autograd_through_the_page_is_the_gradient(page, path):
    start = batches.given(4, (6, 5, 4, 3), path, lifetimes=1, steps=8, queries=9)
    theta = batches.moderate(batches.as_written(POOL), start, change=0.01).requires_grad_()
    _, loss, _ = by_the_page(page, theta, start, 0)
    (expected,) = torch.autograd.grad(loss, theta)
    theta = theta.detach()
    out = batches.run(POOL, theta, start, kernel="einsum", gradient=True)
    assert float(((out.gradient[0] - expected) * theta).abs().max()) < TOLERANCE


#: What the page says -> what somebody might take it for.
MISREADINGS = {
    "the input's gate is a softplus' slope": (
        "(1 - torch.exp(-10 * y[l]))",
        "torch.sigmoid(10 * z[l])",
    ),
    "the input has no error": ("(1 - torch.exp(-10 * y[l]))", "(l > 0) * torch.sigmoid(10 * z[l])"),
    "the output is an activity like others": ("[*y[:-1], torch.softmax(z[-1], 0)]", "y"),
    "an error of the output is gated": ("[y[-1] - ", "[y[-1] * (1 - y[-1]) * y[-1] - "),
    "the loss is in bits": ("-torch.log_softmax(z[-1], 0)[label]", "-torch.log2(y[-1][label])"),
}


@pytest.mark.parametrize("misread", MISREADINGS)
def test_another_reading_of_the_page_gives_other_weights(misread):
    """So the comparison above would notice."""
    says, taken_for = MISREADINGS[misread]
    assert code().count(says) == 1
    start = batches.given(3, (6, 5, 4, 3), "random", lifetimes=1, steps=12)
    theta = batches.moderate(batches.as_written(POOL), start, change=0.01)
    right, other = (
        by_the_page(defined(text), theta, start, 0)[0][0]
        for text in (code(), code().replace(says, taken_for))
    )
    assert float((right - other).abs().max()) > 1e-4
