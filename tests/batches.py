"""Small batches of lifetimes as `run_lifetimes` takes them, and how far kernels may be apart.

Tolerances. A lifetime of these tests is some 10^4 operations on values kept below 100, each with a
relative error of epsilon, so 2e-16 * 1e4 * 100 = 2e-10 bounds what rounding does to values of
order one; a factor of ten is left for what the steps after it make of an error.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import strategies
import sympy
import torch
import unrolled
from golden import GRAMMAR
from torch import Tensor

from rulesearch.kernels import KERNELS
from rulesearch.lifetime import run_lifetimes
from rulesearch.notation import Pool, load_pool

TOLERANCE = 2e-9

PAPER = load_pool(GRAMMAR / "paper_pool.py")
HEBBIAN = load_pool(GRAMMAR / "hebbian.py")

# Operators that make kernels work: a matrix that does not separate, sums of it over either side,
# over both, and inside one another; layer-wide values; numbers.
WILD = Pool(
    a="tanh(W*y_pre + tanh(z_post)**2*n_pre*L)*tanh(z_post)",
    b="Max(W, y_post*2, e_post)*sum_pre(tanh(W*y_pre)*tanh(e_pre))",
    c="sqrt(2)*W*sum_post(W*sum_pre(W*tanh(e_pre)))",
    d="sum_pre(tanh(sum_post(W*sum_pre(y_pre))))",
    e="3",
    f="y_pre*sum_pre(e_pre**2)*sum_post(e_post**2)",
    g="z_pre*n_post*W",
    h="sum_post(W)*sum_pre(W)",
    i="e_pre*L",
    j="sum_pre(exp(-W**2))*y_post",
)

kernels = pytest.mark.parametrize("kernel", KERNELS)
pathways = pytest.mark.parametrize("path", strategies.PATHWAYS)


@dataclass(frozen=True, eq=False)
class Given:
    """What some lifetimes start from; tensors as `run_lifetimes` takes them."""

    pathway: str
    weights: list[Tensor]
    feedback: list[Tensor] | None
    train: tuple[Tensor, Tensor]
    query: tuple[Tensor, Tensor]

    @property
    def tensors(self):
        return [*self.weights, *(self.feedback or []), *self.train, *self.query]

    def to(self, dtype):
        """The same in another dtype."""

        def cast(tensors):
            return [t.to(dtype) if t.is_floating_point() else t for t in tensors]

        return Given(
            self.pathway,
            cast(self.weights),
            self.feedback and cast(self.feedback),
            tuple(cast(self.train)),
            tuple(cast(self.query)),
        )

    def at(self, lifetimes):
        """These lifetimes alone, in this order."""
        return Given(
            self.pathway,
            [w[lifetimes] for w in self.weights],
            self.feedback and [b[lifetimes] for b in self.feedback],
            tuple(t[lifetimes] for t in self.train),
            tuple(t[lifetimes] for t in self.query),
        )


def stacked(networks):
    """Networks of `strategies.network`, equal in sizes and pathway, as one batch."""

    def tensor(arrays):
        return torch.from_numpy(np.stack(arrays))

    def by_layer(lists):
        return [tensor(layer) for layer in zip(*lists, strict=True)]

    first = networks[0]
    return Given(
        first.pathway,
        by_layer([n.weights for n in networks]),
        None if first.feedback is None else by_layer([n.feedback for n in networks]),
        (tensor([n.x for n in networks]), tensor([n.labels for n in networks])),
        (tensor([n.query_x for n in networks]), tensor([n.query_labels for n in networks])),
    )


def given(seed=0, sizes=(5, 4, 3, 3), pathway="random", lifetimes=2, steps=3, queries=2):
    """A batch of lifetimes of random networks, float64."""
    return stacked(
        [
            strategies.network(seed + i, sizes, pathway, steps=steps, queries=queries)
            for i in range(lifetimes)
        ]
    )


def run(pool, theta, start, **more):
    """`run_lifetimes` on a batch."""
    tied = start.pathway == "symmetric"
    return run_lifetimes(
        pool,
        theta,
        start.weights,
        start.pathway if tied else start.feedback,
        pathway=start.pathway,
        train=start.train,
        query=start.query,
        **more,
    )


def spread(theta, start):
    """Theta as [lifetimes, layers, terms]."""
    shape = len(start.weights[0]), len(start.weights), theta.shape[-1]
    return theta.expand(shape).clone()


def reference(expressions, theta, start):
    """Loss, gradient [lifetimes, layers, terms] and final weights, by autograd."""
    return unrolled.meta_gradient(
        expressions,
        spread(theta, start),
        start.weights,
        start.feedback,
        start.train,
        start.query,
        start.pathway,
    )


def first_updates(expressions, start):
    """The largest entry of each term's update at the first step, [terms]."""
    layers = unrolled.states(
        start.weights, start.feedback, start.train[0][:, 0], start.train[1][:, 0], start.pathway
    )
    sizes = [
        max(float(unrolled.value(e, at).expand_as(at["W"]).abs().max()) for at in layers)
        for e in expressions
    ]
    return torch.tensor(sizes, dtype=torch.float64)


def moderate(expressions, start, change=0.05):
    """Coefficients with which no term changes a weight by more than `change` at first, [terms].

    Signs alternate. Not finite, or huge, where a term is not finite or zero.
    """
    signs = torch.tensor([(-1.0) ** i for i in range(len(expressions))], dtype=torch.float64)
    return change * signs / first_updates(expressions, start).clamp(min=change)


def delicate(expression):
    """Arguments at whose zeros an expression jumps or bends."""
    for call in expression.atoms(sympy.sign, sympy.Heaviside, sympy.Abs):
        yield call.args[0]
    for call in expression.atoms(sympy.Max, sympy.Min):
        yield from (a - b for i, a in enumerate(call.args) for b in call.args[:i])


def is_well_posed(expressions, theta, start, largest=100.0):
    """Whether rounding cannot decide the answer: no value is large, none nearly at a jump or kink.

    Exactly there it may be, as y_pre and e_pre are where a pixel is 0.
    """
    parts = {p for e in expressions for p in sympy.preorder_traversal(e)}
    kinks = {a for e in expressions for a in delicate(e)}
    weights = start.weights
    theta = spread(theta, start)
    for x, labels in zip(start.train[0].unbind(1), start.train[1].unbind(1), strict=True):
        layers = unrolled.states(weights, start.feedback, x, labels, start.pathway)
        for at in layers:
            if any(not (unrolled.value(p, at).abs() < largest).all() for p in parts):
                return False
            sizes = [unrolled.value(a, at).abs() for a in kinks]
            if any(((s > 0) & (s < 1e-9)).any() for s in sizes):
                return False
        weights = unrolled.step(
            expressions, theta, weights, start.feedback, x, labels, start.pathway
        )
    return all(bool((w.abs() < largest).all()) for w in weights)


def as_written(pool):
    """The expressions without what the pool defines itself: the reference knows those by name."""
    return [t.expression for t in pool]


def paper_theta(start, pool=PAPER):
    return moderate(as_written(pool), start)


def assert_close(got, expected, tolerance=TOLERANCE):
    """Equal to so many digits of the largest entry, or of one."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    scale = max(1.0, float(expected.abs().max()))
    assert float((got - expected).abs().max()) <= tolerance * scale


def scaled(gradient, theta):
    """Derivatives with respect to the coefficients in units of their own."""
    return gradient * theta.abs()


def gradient_error(pool, theta, start, kernel, **more):
    """The largest difference from autograd, of loss, gradient and weights; units of order one."""
    loss, gradient, weights = reference(as_written(pool), theta, start)
    out = run(pool, spread(theta, start), start, kernel=kernel, gradient=True, **more)
    pairs = [(out.loss, loss), (scaled(out.gradient, theta), scaled(gradient, theta))]
    pairs += zip(out.weights, weights, strict=True)
    return max(float((a - b).abs().max()) / max(1.0, float(b.abs().max())) for a, b in pairs)
