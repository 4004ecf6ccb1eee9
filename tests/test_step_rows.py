"""A user's own rows, of every kind, in one file: no other is touched, and both kernels run them.

A grammar file has quantities, traces of every kind and bounds; this one an activation and a loss.
Gradients are autograd's through the unrolled loop, and central differences of the oracle's loss,
both of which know a row by its expression alone.
"""

from dataclasses import replace

import batches
import numpy as np
import oracle
import pytest
import steps
import torch
from sympy import Float, atan, exp, log, tanh

from rulesearch.kernels import Unsupported
from rulesearch.kernels.einsum import build
from rulesearch.lifetime import run_lifetimes
from rulesearch.model import Model, bounded
from rulesearch.notation import load_pool, z_post
from rulesearch.operators import Interval, sum_post
from rulesearch.operators.activations import Y, Z, activation
from rulesearch.operators.losses import TARGET, Loss

t_post = TARGET.symbol

#: A slope that is told by the activity, and one that is not.
LEANING = activation("leaning", lambda z: 2 * tanh(z / 2) / 3, lambda y: (1 - 9 * y**2 / 4) / 3)
CURVED = activation("curved", lambda z: atan(z) + z / 4)
#: The output is no potential, and the error no difference.
LOGISTIC = Loss(
    "logistic",
    sum_post(log(1 + exp(z_post)) - t_post * z_post),
    1 / (1 + exp(-z_post)),
    Interval(0.0, 1.0),
    lambda ways: ways * float(np.log(2.0)),
)
CALM = Loss(
    "calm",
    log(1 + sum_post((z_post - t_post) ** 2)),
    z_post,
    Interval(-1e3, 1e3),
    lambda ways: 1.0,
    real=True,
)

ROWS = """
[terms]
F0 = "-e_post*y_pre"
gated = "-e_post*gate_post*y_pre"
slid = "y_post*(y_post - slid_post)*y_pre"
seen = "slid_pre*e_post"
layered = "(level - L)*y_post*y_pre"
tagged = "-L*tag*tanh(e_post)"

[feedback]
F0 = "-e_post*y_pre"
both_ends = "slid_post*slid_pre - B"

[bias]
b0 = "-e_post"
calm = "slow_post - b_post"

[quantities]
gate_post = "tanh(z_post)*(1 - b_post)"

[traces]
slid_post = {of = "y_post**2", decay = 0.75}
slow_post = {of = "gate_post*slid_post", decay = 0.5, initial = 0.25}
level = {of = "L", decay = 0.5, initial = "first"}
tag = {of = "y_post*y_pre - W", decay = 0.5, initial = "first"}
"""
BOUNDS = """
[bounds]
W = [-0.75, 0.75]
B = [-0.5, 0.75]
b = [-0.0625, 0.0625]
"""
MORE = ROWS + BOUNDS
MODELS = {
    "by the activity": Model(LEANING, LOGISTIC, bias=True, noise=0.1),
    "by the potential": Model(CURVED, CALM, bias=True),
}
# Compiling takes long.
kernels = pytest.mark.parametrize(
    "kernel", ["einsum", pytest.param("fused", marks=pytest.mark.slow)]
)
models = pytest.mark.parametrize("model", MODELS)


@pytest.fixture
def pool_in(tmp_path):
    """The pool of a grammar file with this text."""

    def load(text):
        path = tmp_path / "rows.toml"
        path.write_text(text)
        return load_pool(path)

    return load


def case_of(pool, model, path="random"):
    start = batches.given(4, (4, 3, 3, 2), path, steps=5)
    return steps.case(pool.terms, bounded(MODELS[model], pool, tied=False), start, seed=4)


def slope(case, lifetime, way, h):
    """The derivative of a lifetime's loss along a way, by differences of the oracle's loss."""
    theta = case.theta[lifetime]
    ends = [steps.literally(case, lifetime, theta + sign * h * way)[1] for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * h)


def differences(case, gradient):
    """How far a gradient is from central differences, term by term, and what they may be off by.

    The error of the smaller step is a third of the difference from the larger, twice it, up to the
    next order; and what rounding does to the losses, over the step.
    """
    found = []
    for term in range(len(case.terms)):
        way = torch.zeros_like(case.theta[0])
        way[:, term] = case.theta[0, :, term]
        small, large = (slope(case, 0, way, h) for h in (1e-4, 2e-4))
        got = float((gradient[0] * way).sum())
        found.append((abs(got - small), abs(large - small) + 1e-14 / 1e-4))
    return found


def taken(kernel, pool_in, model):
    """A case that a kernel takes: with all rows, or without the bounds."""
    case = case_of(pool_in(MORE), model)
    try:
        steps.kernel_of(case, kernel)
    except Unsupported:
        case = case_of(pool_in(ROWS), model)
        steps.kernel_of(case, kernel)
    return case


@kernels
@models
def test_rows_of_ones_own_are_run(kernel, model, pool_in):
    case = taken(kernel, pool_in, model)
    assert kernel == "fused" or case.model.bounds
    found = steps.run(case, kernel)
    assert max(steps.distances(case, found).values()) <= batches.TOLERANCE
    for error, bound in differences(case, found.gradient):
        assert bound < 1e-7
        assert error <= bound
    # Every row has its share.
    scaled = batches.scaled(found.gradient, case.theta)
    assert float(scaled.abs().amax((0, 1)).min()) > 1e3 * batches.TOLERANCE


@models
@pytest.mark.parametrize("path", ["direct", "sign-symmetric"])
def test_along_other_pathways(path, model, pool_in):
    case = case_of(pool_in(MORE), model, path)
    assert steps.distance(case) <= batches.TOLERANCE


@models
def test_run_lifetimes_takes_them(model, pool_in):
    """And keeps the bounds of the file."""
    pool = pool_in(MORE)
    case = case_of(pool, model)
    found = run_lifetimes(
        pool,
        case.theta,
        case.start.weights,
        case.start.feedback,
        train=case.start.train,
        query=case.start.query,
        model=MODELS[model],
        noise=case.xi if case.model.noise else None,
        gradient=True,
        kernel="einsum",
    )
    expected = steps.run(case)
    assert steps.apart(found.loss, expected.loss) <= batches.TOLERANCE
    assert steps.apart(found.gradient, expected.gradient) <= batches.TOLERANCE
    every = torch.cat([w.flatten() for w in found.weights])
    assert float(every.abs().max()) == 0.75


# --- rows that are wrong --------------------------------------------------------------------------


def _with_model(**wrong):
    """A builder of kernels for another model than the plan's."""

    def make(plan, sizes, path):
        model = replace(plan.model, **wrong)
        beside = tuple(replace(other, model=model) for other in plan.beside)
        return build(replace(plan, model=model, beside=beside), sizes, path)

    return make


def _other_decays(plan, sizes, path):
    """A trace that keeps a little more of what it was: the last addend of one with it."""
    node = next(n for n in plan.nodes if any(r.endswith("_before") for r in n.reads))
    (old,) = (s for s in node.expression.free_symbols if s.name.endswith("_before"))
    wrong = replace(node, expression=node.expression.subs(old, old * 1.001))
    nodes = tuple(wrong if n is node else n for n in plan.nodes)
    return build(replace(plan, nodes=nodes), sizes, path)


WRONG = {
    "a slope that is not the activation's": _with_model(
        activation=replace(LEANING, slope=(1 - 2 * Y**2) / 3)
    ),
    "another activation": _with_model(activation=CURVED),
    "another loss": _with_model(loss=CALM),
    "other bounds": _with_model(bounds=(("W", -0.7, 0.75),)),
    "other noise": _with_model(noise=0.11),
    "another decay": _other_decays,
}


@pytest.mark.parametrize("defect", WRONG)
def test_a_wrong_row_is_caught(defect, pool_in):
    case = case_of(pool_in(MORE), "by the activity")
    assert steps.distance(case, WRONG[defect]) > 1e3 * batches.TOLERANCE


def test_differences_catch_a_wrong_slope(pool_in):
    """Autograd is not asked: the oracle tells by itself."""
    case = case_of(pool_in(MORE), "by the activity")
    found = steps.run(case, WRONG["a slope that is not the activation's"])
    assert any(error > 1e3 * bound for error, bound in differences(case, found.gradient))


@pytest.mark.parametrize("row", [LEANING, CURVED], ids=lambda row: row.name)
def test_slopes_that_are_written_are_those_of_the_expression(row):
    for z in (0.3, -0.7):
        y, expected = oracle.moved(row.value, {"z": z}, "z", 0)
        assert float(row.slope.xreplace({Y: Float(y), Z: Float(z)})) == pytest.approx(expected)
