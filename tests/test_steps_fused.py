"""Whole steps by the fused kernel: what the readable one gives, and its bits are its own.

Compiling a module takes many seconds, so that few cases are run; each covers much.
"""

from dataclasses import replace

import batches
import pytest
import steps
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from sympy import Rational
from test_steps import BOUNDED, MODEL, POOL, SYNAPSES

from rulesearch.kernels import Unsupported
from rulesearch.kernels.fused import build
from rulesearch.model import Model
from rulesearch.notation import Pool, e_post, trace, y_post, y_pre

EXACT = 1e-10


def named(case, found):
    """What an outcome has, by name: every layer and every term by itself."""
    values = {"loss": found.loss}
    values |= {f"gradient {t.name}": found.gradient[..., i] for i, t in enumerate(case.terms)}
    for name in ("weights", "feedback", "biases"):
        values |= {f"{name} {i}": v for i, v in enumerate(getattr(found, name) or ())}
    values |= {" ".join(map(str, key)): value for key, value in found.memories.items()}
    return values


def _traces_by_layer(values):
    """Where W and b remember the same, kernels may say so under either name."""
    return {
        name.replace("b ", "W ", 1) if name[:2] == "b " else name: v for name, v in values.items()
    }


def from_einsum(case, kernel="fused"):
    """How far an outcome is from the readable kernel's, at most."""
    found, expected = (
        _traces_by_layer(named(case, steps.run(case, k))) for k in (kernel, "einsum")
    )
    assert found.keys() == expected.keys()
    return max(steps.apart(value, expected[name]) for name, value in found.items())


def long(pool, model, path="random", **more):
    """A case of a few dozen neurons, and more steps than lie between two checkpoints."""
    given = {"sizes": (11, 9, 6, 4), "steps": 57, "lifetimes": 3, "queries": 3, **more}
    case = steps.case(pool.terms, model, batches.given(5, pathway=path, **given), 5)
    return replace(case, theta=case.theta / 20)


SMALL = Pool(
    F0=-e_post * y_pre, bcm=y_post * (y_post - trace("s_post", y_post**2, decay=0.75)) * y_pre
)
CASES = {
    "everything": (SYNAPSES, MODEL, "random"),
    "direct": (POOL, Model(bias=True), "direct"),
    "bounds": (SYNAPSES, BOUNDED, "random"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_equals_einsum(name):
    case = long(*CASES[name])
    try:
        assert from_einsum(case) <= EXACT
    except Unsupported as reason:
        pytest.skip(str(reason))


# --- drawn ----------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(
    max_examples=15,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(steps.cases(steps=4))
def test_drawn_steps_are_einsums(case):
    try:
        steps.kernel_of(case, "fused")
    except Unsupported:
        assume(False)
    assert from_einsum(case) <= EXACT


# --- bits -----------------------------------------------------------------------------------------


def bits_of(case, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        return named(case, steps.run(case, "fused"))
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_bits_hang_on_no_company_and_no_threads(dtype):
    case = long(SYNAPSES, MODEL, lifetimes=5)
    case = replace(
        case,
        start=case.start.to(dtype),
        xi=[xi.to(dtype) for xi in case.xi],
        theta=case.theta.to(dtype),
    )
    alone = [bits_of(case.at([i]), 1) for i in range(5)]
    for company, threads in (([0, 1, 2, 3, 4], 1), ([4, 2, 2, 0], 2), ([3, 1, 0], 5)):
        crowd = bits_of(case.at(company), threads)
        for place, i in enumerate(company):
            for name, value in alone[i].items():
                assert torch.equal(crowd[name][[place]], value), name


# --- kernels that are wrong on purpose ------------------------------------------------------------


def _one_part_too_large(plan, sizes, path):
    """The last part of the update of B."""
    (back, *others) = plan.beside
    *groups, last = back.groups
    *parts, part = last.parts
    part = replace(part, coefficient=part.coefficient * Rational(1001, 1000))
    back = replace(back, groups=(*groups, replace(last, parts=(*parts, part))))
    return build(replace(plan, beside=(back, *others)), sizes, path)


def _other_initial_values(plan, sizes, path):
    carried = tuple(
        replace(c, initial=c.initial if c.initial is None else c.initial + 1e-3)
        for c in plan.carried
    )
    return build(replace(plan, carried=carried), sizes, path)


def _less_noise(plan, sizes, path):
    model = replace(plan.model, noise=0.999 * plan.model.noise)
    return build(
        replace(plan, model=model, beside=tuple(replace(b, model=model) for b in plan.beside)),
        sizes,
        path,
    )


WRONG = {
    "a part of B's update": _one_part_too_large,
    "initial values": _other_initial_values,
    "noise": _less_noise,
}


@pytest.mark.slow
@pytest.mark.parametrize("defect", WRONG)
def test_a_wrong_kernel_is_caught(defect):
    assert from_einsum(long(SYNAPSES, MODEL, steps=12), WRONG[defect]) > 1e3 * EXACT
