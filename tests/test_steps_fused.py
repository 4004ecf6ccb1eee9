"""Whole steps by the fused kernel: what the readable one gives, and its bits are its own.

Compiling a module takes many seconds, so that few cases are run; each covers much.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import batches
import pytest
import steps
import test_fused_precision as precision
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from sympy import Rational
from test_steps import BOUNDED, MODEL, POOL, SYNAPSES, lifetimes, whole

from rulesearch.kernels import Unsupported
from rulesearch.kernels.fused import build
from rulesearch.model import Model
from rulesearch.notation import Pool
from rulesearch.notation.joint import together

EXACT = 1e-10


def named(case, found):
    """What an outcome has, by name: every layer and every term by itself."""
    values = {"loss": found.loss}
    values |= {f"gradient {t.name}": found.gradient[..., i] for i, t in enumerate(case.terms)}
    for name in ("weights", "feedback", "biases"):
        values |= {f"{name} {i}": v for i, v in enumerate(getattr(found, name) or ())}
    values |= {" ".join(map(str, key)): value for key, value in found.memories.items()}
    return values


def _by_side(values):
    """Where W and b remember the same, kernels may say so under either name."""
    return {f"W{name[1:]}" if name[:2] == "b " else name: v for name, v in values.items()}


def from_einsum(case, kernel="fused"):
    """How far an outcome is from the readable kernel's, at most."""
    found, expected = (_by_side(named(case, steps.run(case, k))) for k in (kernel, "einsum"))
    assert found.keys() == expected.keys()
    return max(steps.apart(value, expected[name]) for name, value in found.items())


def long(pool, model, path="random", **more):
    """A case of a few dozen neurons, and more steps than lie between two checkpoints."""
    given = {"sizes": (11, 9, 6, 4), "steps": 57, "lifetimes": 3, "queries": 3, **more}
    case = steps.case(pool.terms, model, batches.given(5, pathway=path, **given), 5)
    case = replace(case, theta=case.theta / 100)
    # Where something explodes, undoing updates loses the digits of what was small.
    assert steps.is_well_posed(case)
    return case


#: Bounds that the kernel takes: of matrices that outer products and a decay change.
KEPT = together(
    Pool(F0="-e_post*y_pre", F9="y_post*y_pre - y_post*sum_post(y_post*W)", decay="-W"),
    Pool(F0="-e_post*y_pre", shrink="-B", of="B"),
)
BETWEEN = (("W", -0.3, 0.25), ("B", -0.4, 0.5))

CASES = {
    "bounds of matrices": (KEPT, Model(bounds=BETWEEN), "random"),
    "everything": (SYNAPSES, MODEL, "random"),
    "direct": (POOL, Model(bias=True, noise=0.1), "direct"),
    "bounds": (SYNAPSES, BOUNDED, "random"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_was_no_number_before_changes_no_bit(name):
    case = long(*CASES[name])
    batch = steps.batch_of(case)
    try:
        steps.kernel_of(case, "fused")
    except Unsupported as reason:
        pytest.skip(str(reason))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
            alone = first.submit(steps.run, case, "fused").result()
            names = named(case, alone)
            assert len(names) == len(_by_side(names))  # nothing is there that was not written
            for huge in (1e30, 1e200):
                wild = replace(batch, theta=batch.theta * huge)
                second.submit(steps.run, case, "fused", wild).result()
                after = second.submit(steps.run, case, "fused").result()
                for name, value in named(case, after).items():
                    assert torch.equal(value, named(case, alone)[name]), name
    finally:
        torch.set_num_threads(threads)


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
        assert from_einsum(case) <= EXACT
    except Unsupported:
        # Bounds, for one: the rest of the case then.
        case = replace(case, model=replace(case.model, bounds=()))
        assume(steps.is_well_posed(case))
        try:
            assert from_einsum(case) <= EXACT
        except Unsupported:
            assume(False)


# --- in float32 -----------------------------------------------------------------------------------


def in_single(case):
    """The case, and its numbers in float32."""
    return replace(
        case,
        start=case.start.to(torch.float32),
        xi=[xi.float() for xi in case.xi],
        theta=case.theta.float(),
    )


def in_double(case):
    """The case with numbers that float32 has exactly."""
    single = in_single(case)
    return replace(
        single,
        start=single.start.to(torch.float64),
        xi=[xi.double() for xi in single.xi],
        theta=single.theta.double(),
    )


def disturbed(case, generator):
    """Every weight, feedback, pixel, coefficient and noise times 1 + u or 1 - u."""

    def moved(tensor):
        sign = 2 * torch.randint(2, tensor.shape, generator=generator) - 1
        return tensor * (1 + precision.UNIT * sign)

    start = replace(
        case.start,
        weights=[moved(w) for w in case.start.weights],
        feedback=case.start.feedback and [moved(b) for b in case.start.feedback],
        train=(moved(case.start.train[0]), case.start.train[1]),
        query=(moved(case.start.query[0]), case.start.query[1]),
    )
    return replace(case, start=start, xi=[moved(xi) for xi in case.xi], theta=moved(case.theta))


def exact_and_bounds(case):
    """What `einsum` gives in float64, and how far float32 may be; see `test_fused_precision`."""
    exact = _by_side(named(case, steps.run(case)))
    generator = torch.Generator().manual_seed(0)
    squares = dict.fromkeys(exact, 0.0)
    for _ in range(precision.DRAWS):
        other = disturbed(case, generator)
        for name, value in _by_side(named(other, steps.run(other))).items():
            squares[name] += float((value - exact[name]).norm()) ** 2 / precision.DRAWS
    count = case.start.train[0].shape[1]
    widest = max(max(w.shape[1:]) for w in case.start.weights) ** 0.5
    rounding = 4 * torch.finfo(torch.float32).eps
    return exact, {
        name: max(count * widest * square**0.5, rounding * float(exact[name].norm()))
        for name, square in squares.items()
    }


@pytest.mark.slow
def test_float32_errs_as_float32_must():
    case = in_double(long(SYNAPSES, MODEL, steps=20))
    exact, bounds = exact_and_bounds(case)

    def beyond(kernel):
        found = _by_side(named(case, steps.run(in_single(case), kernel)))
        return precision.beyond({n: v.double() for n, v in found.items()}, exact, bounds)

    assert beyond("fused") == []
    assert beyond(_one_part_too_large)


# --- one kernel after the other -------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("order", [("fused", "einsum"), ("einsum", "fused")], ids="-".join)
def test_a_kernel_goes_on_where_another_ended(order):
    case = whole(SYNAPSES, MODEL, steps=6)
    once = lifetimes(case, SYNAPSES)
    first = lifetimes(case, SYNAPSES, end=3, kernel=order[0])
    on = {"weights": first.weights, "feedback": first.carried.feedback, "carried": first.carried}
    then = lifetimes(case, SYNAPSES, 3, kernel=order[1], **on)
    assert (first.note, then.note) == ("", "")
    assert steps.apart(then.loss, once.loss) <= EXACT
    for a, b in zip(then.weights, once.weights, strict=True):
        assert steps.apart(a, b) <= EXACT


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
