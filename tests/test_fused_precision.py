"""How far `fused` in float32 may be from `einsum` in float64, and that the bound can be broken.

Float32 rounds each operation by a relative error of at most u = 2^-24. A sum of n products that is
rounded as it grows is the exact sum of products that are off by n·u at worst, and by √n·u where
roundings are independent of each other (Higham and Mary, 2019, "A new approach to probabilistic
rounding error analysis"). So a step in float32 is an exact step whose weights, feedback, pixels
and coefficients are off by √n·u each, n being the longest sum: the width of the widest layer.
In T steps this happens T times. Some errors are the same in every step, as that of a rounded
coefficient is, so that they add up like T and not like √T.

What an error does to the results is measured, not estimated: D is the root mean square, over
several draws, of what changes in `einsum` in float64 where every one of those inputs is multiplied
by 1 + u or 1 - u. An error in a later step is taken to have no more effect than one in the first,
which has the whole lifetime before it. Together, for every layer's final weights, for the gradient
of every term, and for the loss, in the norm over lifetimes:

    ‖fused in float32 - einsum in float64‖  ≤  T √n D.
"""

import functools
from dataclasses import dataclass, replace
from fractions import Fraction

import batches
import hypothesis
import pytest
import strategies
import torch
from batches import HEBBIAN, PAPER, as_written
from hypothesis import strategies as st
from sympy import Rational

from rulesearch.kernels import KERNELS
from rulesearch.kernels.fused import build, kernel, lifetimes
from rulesearch.lowering import lower
from rulesearch.notation import Pool, together

UNIT = 2.0**-24
DRAWS = 8
SIZES = (21, 9, 17, 4)
STEPS = 20
#: What a wrong constant is off by, in the tests of the bound.
WRONG = Fraction(1001, 1000)

#: Pools, and how much each term of one may change a weight at first: enough for what a lifetime
#: does to its own gradient to be seen. The nine of the second would explode in 20 steps of 0.01.
POOLS = {"paper": (PAPER, 0.01), "hebbian": (HEBBIAN, 0.003)}
# Each compiles a kernel; one of them in the ordinary run.
every_case = pytest.mark.parametrize(
    ("pool", "path"),
    [
        ("paper", "random"),
        pytest.param("paper", "symmetric", marks=pytest.mark.slow),
        pytest.param("hebbian", "random", marks=pytest.mark.slow),
        pytest.param("hebbian", "symmetric", marks=pytest.mark.slow),
    ],
)


@dataclass(frozen=True, eq=False)
class Lifetimes:
    """Some lifetimes whose numbers float32 has exactly; theta is [lifetimes, layers, terms]."""

    pool: Pool
    theta: torch.Tensor
    start: batches.Given


def lifetimes_of(pool, path, *, change=0.01, seed=0, steps=STEPS):
    """Lifetimes in which no term changes a weight by more than this at first."""
    start = batches.given(seed, SIZES, path, lifetimes=4, steps=steps, queries=5)
    theta = batches.moderate(as_written(pool), start, change=change)
    theta = batches.spread(theta, start)
    return Lifetimes(pool, theta.float().double(), start.to(torch.float32).to(torch.float64))


def results(given, kernel, dtype):
    """Loss, final weights and gradient by name, in float64; the first axis is lifetimes."""
    out = batches.run(
        given.pool, given.theta.to(dtype), given.start.to(dtype), kernel=kernel, gradient=True
    )
    assert (out.note, out.loss.dtype) == ("", dtype)
    named = {"loss": out.loss}
    named |= {f"weights {i}": w for i, w in enumerate(out.weights)}
    named |= {f"gradient {n}": out.gradient[..., i] for i, n in enumerate(given.pool.names)}
    return {name: value.double() for name, value in named.items()}


def disturbed(given, generator):
    """Every weight, feedback, pixel and coefficient times 1 + u or 1 - u."""

    def moved(tensor):
        sign = 2 * torch.randint(2, tensor.shape, generator=generator) - 1
        return tensor * (1 + UNIT * sign)

    start = given.start
    start = batches.Given(
        start.pathway,
        [moved(w) for w in start.weights],
        start.feedback and [moved(b) for b in start.feedback],
        (moved(start.train[0]), start.train[1]),
        (moved(start.query[0]), start.query[1]),
    )
    return Lifetimes(given.pool, moved(given.theta), start)


def exact_and_bounds(given):
    """What `einsum` gives in float64, and how far float32 may be from it, by name."""
    exact = results(given, "einsum", torch.float64)
    assert all(value.isfinite().all() for value in exact.values())
    generator = torch.Generator().manual_seed(0)
    squares = dict.fromkeys(exact, 0.0)
    for _ in range(DRAWS):
        after = results(disturbed(given, generator), "einsum", torch.float64)
        for name, value in after.items():
            squares[name] += float((value - exact[name]).norm()) ** 2 / DRAWS
    steps = given.start.train[0].shape[1]
    # Whatever the disturbances do, a result is rounded itself: the largest potential, the sum of
    # exponentials, its logarithm and the mean over the query are four operations of a loss.
    rounding = 4 * torch.finfo(torch.float32).eps
    return exact, {
        n: max(steps * max(SIZES) ** 0.5 * s**0.5, rounding * float(exact[n].norm()))
        for n, s in squares.items()
    }


def beyond(found, exact, bounds):
    """Names of what is further from exact than its bound."""
    return [n for n in exact if not float((found[n] - exact[n]).norm()) <= bounds[n]]


@functools.cache
def reference(pool, path):
    """Lifetimes of a pool, with their exact results and bounds."""
    terms, change = POOLS[pool]
    given = lifetimes_of(terms, path, change=change)
    return given, *exact_and_bounds(given)


# --- the bound holds ------------------------------------------------------------------------------


@every_case
def test_float32_errs_as_float32_must(pool, path):
    given, exact, bounds = reference(pool, path)
    assert beyond(results(given, "fused", torch.float32), exact, bounds) == []


# Each example compiles for some seconds, and shrinking would take a hundred of them.
@pytest.mark.slow
@hypothesis.settings(
    max_examples=8,
    derandomize=True,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=[hypothesis.HealthCheck.filter_too_much, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(
    strategies.pools(most=3, smooth=True),
    strategies.seeds,
    st.sampled_from(["random", "symmetric"]),
)
def test_float32_errs_as_float32_must_for_random_pools(pool, seed, path):
    given = lifetimes_of(pool, path, seed=seed % 2**31, steps=5)
    # A pool of bare quantities says little.
    hypothesis.assume(lower(pool).nodes and given.theta.isfinite().all())
    hypothesis.assume(batches.is_well_posed(as_written(pool), given.theta, given.start))
    exact, bounds = exact_and_bounds(given)
    assert beyond(results(given, "fused", torch.float32), exact, bounds) == []


# --- and it can be broken -------------------------------------------------------------------------


@every_case
def test_a_wrong_constant_in_any_term_is_caught(pool, path):
    """A kernel whose term is too large is the right one with a coefficient that is too large."""
    given, exact, bounds = reference(pool, path)
    for i, name in enumerate(given.pool.names):
        theta = given.theta.clone()
        theta[..., i] *= float(WRONG)
        found = results(replace(given, theta=theta), "fused", torch.float32)
        found[f"gradient {name}"] *= float(WRONG)
        assert f"gradient {name}" in beyond(found, exact, bounds)


OJA = Pool(F0="-e_post*y_pre", F9="y_post*y_pre - y_post*sum_post(y_post*W)")


def one_part(plan, sizes, path):
    """The last part of the last group, half of Oja's term, is too large."""
    *groups, last = plan.groups
    *parts, part = last.parts
    part = replace(part, coefficient=part.coefficient * Rational(WRONG))
    groups = (*groups, replace(last, parts=(*parts, part)))
    return build(replace(plan, groups=groups), sizes, path)


@pytest.mark.slow
def test_a_wrong_constant_in_a_part_of_a_term_is_caught(monkeypatch):
    given = lifetimes_of(OJA, "random")
    exact, bounds = exact_and_bounds(given)
    assert beyond(results(given, "fused", torch.float32), exact, bounds) == []
    monkeypatch.setitem(KERNELS, "wrong", one_part)
    caught = beyond(results(given, "wrong", torch.float32), exact, bounds)
    assert {"weights 0", "weights 1", "weights 2", "gradient F9"} <= set(caught)


# What is wrong, its text, and the gradients that it spoils. Through the curvature of the
# activation flows a few per cent of these gradients, so that it must be wrong by more to be seen.
ADJOINTS = {
    "sum over steps": ("a_theta[0] += ", 1.001, {"gradient F0"}),
    "curvature of the activation": ("a_e_pre[k] * (r[k] * ", 1.01, {"gradient F0", "gradient F9"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("part", ADJOINTS)
def test_a_wrong_constant_in_the_adjoint_is_caught(part, monkeypatch):
    given = lifetimes_of(OJA, "random")
    exact, bounds = exact_and_bounds(given)
    right, (old, factor, spoilt) = kernel.source, ADJOINTS[part]

    def wrong(*arguments, **named):
        text = right(*arguments, **named)
        assert text.count(old) == 1
        return text.replace(old, f"{old}F({factor}) * ")

    monkeypatch.setattr(kernel, "source", wrong)
    kernel._source.cache_clear()
    try:
        found = results(given, "fused", torch.float32)
    finally:
        kernel._source.cache_clear()
    assert set(beyond(found, exact, bounds)) == spoilt


# --- potentials that are large together -----------------------------------------------------------

#: What all outputs have in common in these potentials; the next numbers are 0.5 away.
COMMON = 2.0**22


def large_potentials(dtype, kernel, answers):
    """A layer of weights of which pixels pick one each: the potentials are exact in float32 too."""
    start = batches.given(0, (4, 3), lifetimes=2, steps=4, queries=4)
    pixels = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    weights = COMMON + 2 * torch.arange(12, dtype=torch.float64).reshape(1, 3, 4) % 7
    start = replace(start, weights=[weights.expand(2, 3, 4)], train=(pixels, start.train[1]))
    labels = start.train[1]
    if answers == "probabilities":
        labels = torch.eye(3, dtype=torch.float64)[labels] * 0.75 + 0.125 / 1.5
        labels = labels / labels.sum(-1, keepdim=True)
        start = replace(start, train=(pixels, labels))
    start = replace(start, query=(pixels, labels)).to(dtype)
    at = (1, 4) if answers == "asked" else ()
    theta = torch.tensor([COMMON], dtype=dtype)
    # A pixel is seen once, so that each update shows the loss of its step.
    lived = batches.run(Pool(A="L*y_pre"), theta, start, kernel=kernel, ask_at=at)
    steps = (lived.weights[0].double() - start.weights[0].double()) / COMMON
    return lived, steps


@pytest.mark.parametrize("answers", ["labels", "probabilities", "asked"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_loss_is_what_large_potentials_differ_by(kernel, answers):
    """Not what is left of a large number: the log of their sum less the one of the label."""
    exact, steps = large_potentials(torch.float64, "einsum", answers)
    assert exact.initial_loss.min() > 0.1
    found, own = large_potentials(torch.float32, kernel, answers)
    assert found.note == ""
    torch.testing.assert_close(found.initial_loss.double(), exact.initial_loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(own, steps, rtol=0, atol=1e-6)


# --- lifetimes that diverge -----------------------------------------------------------------------

#: A pool, its coefficients, and how many steps.
DIVERGING = {
    # The output has one active neuron from the third step on, and what comes back there is large.
    "one output": (Pool(F="-e_post*y_pre", O="y_post*y_pre"), (0.1, 1.0), 12),
    "growth": (Pool(F="-e_post*y_pre", O="y_post*y_pre"), (0.1, 0.3), 49),
    "growth with both": (Pool(F="-e_post*y_pre", O="y_post*y_pre"), (0.1, 1.0), 30),
    "feedback that grows": (
        together(Pool(F="-e_post*y_pre", O="y_post*y_pre"), Pool(F="-e_post*y_pre", of="B")),
        (0.1, 0.3),
        49,
    ),
}


def diverging(name, dtype, kernel, *, which=slice(None), spare=()):
    """Lifetimes of a small network that end with weights of up to 1e8, all of them finite."""
    pool, theta, steps = DIVERGING[name]
    start = batches.given(0, (8, 9, 3), lifetimes=6, steps=steps, queries=6).to(dtype)
    start = start.at(which)
    given = torch.tensor([*theta, *([0.0] * len(spare))], dtype=dtype)
    pool = together(pool, Pool(**dict(spare))) if spare else pool
    lived = batches.run(pool, given, start, gradient=True, kernel=kernel)
    assert (lived.loss > 10 * lived.initial_loss).all()
    assert lived.loss.isfinite().all()
    return lived.gradient.double()


def far(found, exact):
    """How far each lifetime's gradient is, as a share of its own size."""
    return float(((found - exact).norm(dim=1) / exact.norm(dim=1)).max())


@pytest.mark.parametrize("spare", [(), (("S", "-W"), ("T", "-e_pre*y_post"))], ids=["", "idle"])
@pytest.mark.parametrize("name", DIVERGING)
def test_what_diverges_has_its_gradient_too(name, spare):
    exact = diverging(name, torch.float64, "einsum", spare=spare)
    found = diverging(name, torch.float32, "fused", spare=spare)
    assert far(found, exact) < 2e-5
    alone = diverging(name, torch.float32, "fused", which=slice(1, 2), spare=spare)
    assert torch.equal(alone[0], found[1])


@pytest.mark.parametrize("name", [name for name in DIVERGING if name != "one output"])
def test_updates_are_not_undone_where_weights_have_grown(name, monkeypatch):
    """They would come back with what rounding has left in the large ones."""
    exact = diverging(name, torch.float64, "einsum")
    monkeypatch.setattr(lifetimes, "GROWTH", torch.inf)
    assert far(diverging(name, torch.float32, "fused"), exact) > 5e-4
