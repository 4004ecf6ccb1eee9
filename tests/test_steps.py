"""Whole steps by the kernels: any model, traces, plastic feedback, biases, noise, bounds."""

from dataclasses import replace
from unittest import mock

import batches
import numpy as np
import pytest
import steps
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from steps import apart, distance, distances, run
from test_population import SEEDS, SHAPE, images, only, same

from rulesearch.errors import RuleSearchError
from rulesearch.kernels.einsum import build
from rulesearch.kernels.einsum import kernel as einsum_kernel
from rulesearch.kernels.einsum import step as einsum_step
from rulesearch.kernels.einsum.state import State
from rulesearch.lifetime import run_lifetimes
from rulesearch.model import Model
from rulesearch.notation import (
    B,
    L,
    Pool,
    W,
    b_post,
    e_post,
    n_pre,
    sum_post,
    sum_pre,
    tanh,
    together,
    trace,
    xi_post,
    y_post,
    y_pre,
    z_post,
)
from rulesearch.notation.own import seen_from_pre
from rulesearch.observables import OBSERVABLES, Stand
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.operators.losses import LOSSES
from rulesearch.pathways import pathway
from rulesearch.population import Population

TOLERANCE = batches.TOLERANCE

drawn = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

# --- the same as the references -------------------------------------------------------------------


@drawn
@given(steps.cases())
def test_drawn_steps_are_the_references(case):
    assert distance(case) <= TOLERANCE


@pytest.mark.slow
@settings(drawn, max_examples=10)
@given(steps.cases(steps=7, lifetimes=1))
def test_drawn_lifetimes_are_replayed(case):
    """Several checkpoints, the last stretch a short one."""
    assert distance(case) <= TOLERANCE


@settings(drawn, max_examples=15)
@given(steps.cases(lifetimes=1))
def test_drawn_steps_are_the_oracles(case):
    found = run(case)
    lived, loss = steps.literally(case, 0)
    assert float(found.loss[0]) == pytest.approx(loss, rel=TOLERANCE, abs=TOLERANCE)
    for mine, theirs in (
        (found.weights, lived.weights),
        (found.feedback, lived.feedback),
        (found.biases, lived.biases),
    ):
        for a, b in zip(mine or [], theirs or [] if mine else [], strict=True):
            assert apart(a[0], torch.from_numpy(b)) <= TOLERANCE


# --- one case with everything ---------------------------------------------------------------------

SLOW = trace("slow_post", y_post**2, decay=0.75)
DEEP = trace("deep_post", (y_post - SLOW) * e_post, decay=0.5, initial="first")
EXPECTED = trace("expected", L, decay=0.75, initial="first")
ELIGIBLE = trace("eligible", y_post * y_pre, decay=0.5, initial=0.1)
BACK = seen_from_pre(SLOW)

POOL = together(
    Pool(
        kp=-e_post * y_pre,
        bcm=y_post * (y_post - SLOW) * y_pre,
        deep=DEEP * BACK,
        third=(EXPECTED - L) * (y_post + xi_post) * y_pre,
        sums=y_pre * sum_post(SLOW * W) + tanh(b_post) * sum_pre(BACK * W),
    ),
    Pool(
        kp=-e_post * y_pre, decay=-B, seen=BACK * DEEP, null=-z_post * sum_post(B * z_post), of="B"
    ),
    Pool(b0=-e_post, kept=SLOW - b_post, of="b"),
)
#: What `fused` does not take.
SYNAPSES = together(POOL, Pool(elig=-L * ELIGIBLE * tanh(e_post)))
LIMITS = (("W", -0.8, 0.9), ("B", -0.7, 0.8), ("b", -0.04, 0.05))
MODEL = Model(ACTIVATIONS["tanh"], LOSSES["squared"], bias=True, noise=0.2)
BOUNDED = replace(MODEL, bounds=LIMITS)


def whole(pool=SYNAPSES, model=BOUNDED, path="random", **more):
    """A case of a pool, some steps long."""
    given = {"sizes": (4, 3, 3, 3), "steps": 5, "seed": 3, **more}
    return steps.case(pool.terms, model, batches.given(pathway=path, **given), given["seed"])


@pytest.mark.parametrize("path", ["random", "direct"])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 10])
def test_everything_at_every_length(count, path):
    # Enough of a gradient for each term to be told from none; one that remembers may need a step.
    case = whole(path=path, steps=count)
    assert distance(case) <= TOLERANCE
    if count > 1:
        gradient = batches.scaled(run(case).gradient, case.theta)
        assert float(gradient.abs().amax((0, 1)).min()) > 1e3 * TOLERANCE


def test_bounds_hold_something_back():
    case = whole()
    ended = run(case)
    for values, (_, low, high) in zip(
        (ended.weights, ended.feedback, ended.biases), LIMITS, strict=True
    ):
        every = torch.cat([v.flatten() for v in values])
        held = (every == low) | (every == high)
        assert held.any()
        assert not held.all()
        assert bool(((every >= low) & (every <= high)).all())


def test_a_trace_of_a_number_is_kept_for_every_lifetime():
    still = trace("still", tanh(n_pre), decay=0.5)
    case = steps.case(Pool(A=-e_post * still * y_pre).terms)
    assert distance(case) <= TOLERANCE
    assert {tuple(value.shape) for value in run(case).memories.values()} == {(2, 1, 1)}


# --- along the way --------------------------------------------------------------------------------

EVERY = [name for name in OBSERVABLES if not name.startswith("angle_each")]


def lifetimes(case, pool, begin=0, end=None, **more):
    """`run_lifetimes` on some of the steps of a case."""
    start = case.start
    given = {
        "weights": start.weights,
        "feedback": start.feedback,
        "query": start.query,
        "kernel": "einsum",
        **more,
    }
    return run_lifetimes(
        pool,
        case.theta,
        given.pop("weights"),
        given.pop("feedback"),
        train=tuple(t[:, begin:end] for t in start.train),
        pathway=start.pathway,
        model=case.model,
        noise=[xi[:, begin:end] for xi in case.xi],
        **given,
    )


@pytest.mark.parametrize("path", ["random", "direct"])
def test_points_along_the_way_are_those_of_lifetimes_that_end_there(path):
    case, points = whole(path=path, steps=6), (0, 1, 4, 6)
    along = lifetimes(case, SYNAPSES, observe=EVERY, observe_at=points)
    for place, point in enumerate(points):
        ended = lifetimes(case, SYNAPSES, end=point, observe=EVERY)
        networks = Stand(ended.weights, ended.carried.feedback, ended.carried.biases, case.model)
        for name in EVERY:
            assert torch.equal(along.observed[name][:, place], ended.observed[name])
            seen = OBSERVABLES[name](networks, pathway(path, 3), case.start.query)
            assert torch.equal(seen, ended.observed[name])


def test_observed_networks_are_the_references():
    case = whole(steps=4)
    points = range(5)
    observed = lifetimes(case, SYNAPSES, observe=EVERY, observe_at=points).observed
    path, query = pathway("random", 3), case.start.query
    for point, (carried, _) in enumerate(steps._stages(case)):
        stand = Stand(carried.weights, carried.feedback, carried.biases, case.model)
        for name in EVERY:
            expected = OBSERVABLES[name](stand, path, query)
            # Angles in degrees: of errors of order one, whose rounding a division magnifies.
            torch.testing.assert_close(observed[name][:, point], expected, rtol=1e-9, atol=1e-9)


def in_stretches(case, pool, ends, **more):
    """The lifetimes of a case, those of each stretch going on from where the last ended."""
    carried, found = None, None
    for begin, end in zip((0, *ends), (*ends, None), strict=True):
        on = {"carried": carried, **more}
        if found is not None:
            on |= {"weights": found.weights, "feedback": carried.feedback or case.start.feedback}
        found = lifetimes(case, pool, begin, end, **on)
        carried = found.carried
    return found


@pytest.mark.parametrize("ends", [(1,), (3,), (2, 3, 5), (0, 4)])
def test_stretches_give_what_one_pass_gives(ends):
    case = whole(steps=6)
    once, stretched = lifetimes(case, SYNAPSES), in_stretches(case, SYNAPSES, ends)
    assert stretched.carried.steps == 6
    assert torch.equal(stretched.loss, once.loss)
    for name in ("weights", "feedback", "biases"):
        one, other = (
            life.weights if name == "weights" else getattr(life.carried, name)
            for life in (once, stretched)
        )
        assert all(map(torch.equal, one, other))
    assert once.carried.memories.keys() == stretched.carried.memories.keys()
    for key, value in once.carried.memories.items():
        assert torch.equal(value, stretched.carried.memories[key])


@pytest.mark.parametrize("forgotten", ["memories", "biases", "feedback", "steps"])
def test_a_stretch_that_forgets_is_caught(forgotten):
    case = whole(steps=6)
    once = lifetimes(case, SYNAPSES)
    first = lifetimes(case, SYNAPSES, end=3)
    kept = first.carried
    # Traces cannot be left out unnoticed (below): here they begin anew instead.
    anew = {key: torch.zeros_like(value) for key, value in kept.memories.items()}
    gone = replace(kept, **{forgotten: {"memories": anew, "steps": 0}.get(forgotten)})
    on = {"weights": first.weights, "feedback": gone.feedback or case.start.feedback}
    assert not torch.equal(lifetimes(case, SYNAPSES, 3, carried=gone, **on).loss, once.loss)
    on["feedback"] = kept.feedback
    assert torch.equal(lifetimes(case, SYNAPSES, 3, carried=kept, **on).loss, once.loss)


# --- bits -----------------------------------------------------------------------------------------


def population(kernel, pool):
    model = replace(MODEL, noise=0.1)
    made = Population(pool, images(), SHAPE, (6, 11, 5, 3), kernel=kernel, model=model)
    return replace(made, dtype=torch.float32)


def lived(some, places):
    """What some of the lifetimes give."""
    every = tuple(range(len(some.pool)))
    shares = np.random.default_rng(0).uniform(0.5, 1.5, (len(SEEDS), len(every)))
    theta = 0.01 * torch.from_numpy(shares)[places]
    return some(
        theta,
        [SEEDS[i] for i in places],
        gradient=every,
        observe=("angle", "loss"),
        observe_at=(1, 4),
    )


@pytest.fixture(scope="module")
def alone():
    """A population of the readable kernel, and what each of its lifetimes gives alone."""
    some = population("einsum", SYNAPSES)
    return some, [lived(some, [i]) for i in range(len(SEEDS))]


def bits_are_its_own(some, alone, company, threads):
    """Whether lifetimes in this company are what they are alone."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        crowd = lived(some, company)
    finally:
        torch.set_num_threads(before)
    return all(same(only(crowd, [place]), alone[i]) for place, i in enumerate(company))


@settings(max_examples=3)
@given(
    company=st.lists(st.sampled_from(range(len(SEEDS))), min_size=1, max_size=9),
    threads=st.sampled_from([1, 2, 5]),
)
def test_bits_hang_on_nothing_else(alone, company, threads):
    assert bits_are_its_own(*alone, company, threads)


def test_noise_of_a_place_and_not_of_a_seed_is_caught(alone, monkeypatch):
    right = Population.noise

    def of_places(self, seeds, count):
        return right(self, range(len(seeds)), count)

    monkeypatch.setattr(Population, "noise", of_places)
    assert not bits_are_its_own(*alone, [0, 3, 1], 1)


# --- kernels that are wrong on purpose ------------------------------------------------------------


class _Changed(einsum_kernel.EinsumKernel):
    """A kernel to be changed."""

    @classmethod
    def build(cls, plan, sizes, path):
        made = build(plan, sizes, path)
        return cls(**{name: getattr(made, name) for name in made.__dataclass_fields__})


class _ForgetsWhatTracesAreFor(_Changed):
    def adjoint(self, record, Lambda, bar_k):
        found = super().adjoint(record, Lambda, bar_k)
        return State(found.parameters)


class _TurnsFeedbackRound(_Changed):
    def step(self, batch, K, state, t):
        after, record = super().step(batch, K, state, t)
        turned = [
            b + (a - b).mT if a.shape[1] == a.shape[2] else a
            for b, a in zip(state.parameters["B"], after.parameters["B"], strict=True)
        ]
        return replace(after, parameters={**after.parameters, "B": turned}), record


class _LetsThroughWhatIsHeld(_Changed):
    def _not_held(self, record, Lambda):
        return dict(Lambda.parameters)


class _HoldsNothing(_Changed):
    def _hold_back(self, parameters):
        return {}


class _AsksWithoutBiases(_Changed):
    def query_adjoint(self, state, x, answers):
        loss, accuracy, found = super().query_adjoint(state, x, answers)
        none = [torch.zeros_like(b) for b in found.parameters["b"]]
        return loss, accuracy, State({**found.parameters, "b": none})


class _TakesFeedbackForConstant(_Changed):
    @property
    def _plastic(self):
        return False

    def _before(self, record, after, bars):
        found = super()._before(record, after, bars)
        return {**found, **({"B": after["B"]} if "B" in after else {})}


class _BeginsEveryStep(_Changed):
    def step(self, batch, K, state, t):
        return super().step(replace(batch, begun=-t), K, state, t)


class _IsDeafToNoise(_Changed):
    def step(self, batch, K, state, t):
        right = einsum_step.forward_pass

        def quiet(model, path, state, x, target, noise, needed):
            return right(model, path, state, x, target, None, needed)

        with mock.patch.object(einsum_step, "forward_pass", quiet):
            return super().step(batch, K, state, t)


class _UpdatesOneAfterTheOther(_Changed):
    """B and b see the weights after the step."""

    def _quantities(self, part, layer, state, passed, noise, first):
        v = super()._quantities(part, layer, state, passed, noise, first)
        if part.plan.changes != "W" and "y_pre" in v:
            v["y_pre"] = v["y_pre"] * 1.01
        return v


def _with_plan(change):
    """A builder of kernels for a plan that is changed, with all that stand beside it."""

    def make(plan, sizes, path):
        beside = tuple(change(other) for other in plan.beside)
        return build(replace(change(plan), beside=beside), sizes, path)

    return make


def _reads_what_traces_were(plan):
    """Terms read traces before these are moved."""
    old = {trace.value: trace.before for trace in plan.carried}

    def part(each):
        return replace(
            each, scalar=old.get(each.scalar, each.scalar), pre=old.get(each.pre, each.pre)
        )

    groups = tuple(
        replace(
            group,
            matrix=old.get(group.matrix, group.matrix),
            post=old.get(group.post, group.post),
            parts=tuple(map(part, group.parts)),
        )
        for group in plan.groups
    )
    return replace(plan, groups=groups)


def _begins_at_zero(plan):
    carried = tuple(replace(trace, initial=trace.initial and 0.0) for trace in plan.carried)
    return replace(plan, carried=carried)


def _keeps_one_trace_as_it_was(plan):
    first, *others = plan.carried or (None,)
    if first is None:
        return plan
    return replace(plan, carried=(replace(first, value=first.before), *others))


def _drops_what_stands_beside(plan, sizes, path):
    return build(replace(plan, beside=plan.beside[:1]), sizes, path)


WRONG = {
    "Λ of traces": _ForgetsWhatTracesAreFor.build,
    "B's update transposed": _TurnsFeedbackRound.build,
    "the derivative of a bound": _LetsThroughWhatIsHeld.build,
    "bounds": _HoldsNothing.build,
    "the query's share of biases": _AsksWithoutBiases.build,
    "Λ of B by the errors that it carried": _TakesFeedbackForConstant.build,
    "the first value, at every step": _BeginsEveryStep.build,
    "noise in potentials": _IsDeafToNoise.build,
    "what B and b see": _UpdatesOneAfterTheOther.build,
    "traces that move after terms": _with_plan(_reads_what_traces_were),
    "initial values": _with_plan(_begins_at_zero),
    "a trace that stands still": _with_plan(_keeps_one_trace_as_it_was),
    "the changes of biases": _drops_what_stands_beside,
}


@pytest.mark.parametrize("defect", WRONG)
def test_a_wrong_kernel_is_caught(defect):
    case = whole()
    assert distance(case) <= TOLERANCE
    assert distance(case, WRONG[defect]) > 1e3 * TOLERANCE


def test_a_wrong_derivative_alone_is_caught():
    """Of these the values are right."""
    case = whole()
    for name in ("Λ of traces", "the derivative of a bound", "the query's share of biases"):
        found = distances(case, run(case, WRONG[name]))
        assert found.pop("gradient") > 1e3 * TOLERANCE
        assert max(found.values()) <= TOLERANCE


def test_a_trace_that_earlier_steps_have_not_moved_is_refused():
    """It would begin anew in the middle of a lifetime, and nobody would know."""
    mean = trace("mean_post", y_post, decay=0.9, initial="first")
    pool = Pool(F="-e_post*y_pre", slow=-mean * y_pre)
    start = batches.given(1, steps=4)
    half = replace(start, train=tuple(t[:, :2] for t in start.train))
    alone, both = (torch.tensor(x, dtype=torch.float64) for x in ([0.1, 0.0], [0.1, 0.1]))
    first = batches.run(pool, alone, half, kernel="einsum")
    with pytest.raises(RuleSearchError, match="nothing of trace mean_post"):
        batches.run(pool, both, half, kernel="einsum", carried=first.carried)
    covered = batches.run(pool, alone, half, kernel="einsum", compile_for=["slow"])
    batches.run(pool, both, half, kernel="einsum", carried=covered.carried)
