"""Accepted steps: what a step may do, what zeros satisfy, and what nothing depends on."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from test_meta import BOWL, Bowl
from threadpoolctl import threadpool_limits

from rulesearch.lifetime import Lifetimes
from rulesearch.meta import ACCEPTED, Descent, DescentState, descend, lifetime_seeds
from rulesearch.meta.metric import local_model, moment, proximal, votes
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.statistics import measure

EPSILON = np.finfo(np.float64).eps


def plan_of(population, **changes):
    terms = len(population.names)
    plan = Descent(
        label="test",
        support=tuple(range(terms)),
        scales=(1.0,) * terms,
        start=(0.02,) + (0.0,) * (terms - 1),
        seed=0,
        protocol=replace(ACCEPTED, meta_batch=16),
        pace=0.02,
        steps=12,
    )
    return replace(plan, **changes)


def stepped(population, plan):
    """What a descent ends with, and the states before its first step and after each."""
    states = []
    first = descend(population, replace(plan, steps=0))
    found = descend(population, plan, on_step=lambda record, state: states.append((record, state)))
    return first, states, found


@dataclass(frozen=True)
class Otherwise:
    """The terms of another population in another order, each times a factor."""

    inside: Bowl
    order: tuple[int, ...]
    factors: tuple[float, ...]

    outputs = 10

    @property
    def names(self):
        return tuple(self.inside.names[i] for i in self.order)

    def __call__(self, theta, seeds, *, gradient=(), observe=()):
        plain = torch.zeros(len(self.order), dtype=torch.float64)
        factors = torch.tensor(self.factors, dtype=torch.float64)
        plain[list(self.order)] = theta * factors
        lived = self.inside(plain, seeds, gradient=[self.order[i] for i in gradient])
        if lived.gradient is None:
            return lived
        return replace(lived, gradient=lived.gradient[:, list(self.order)] * factors)


# --- steps ---------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    l1=st.sampled_from([0.0, 0.003, 0.03, 0.3]),
    jitter=st.sampled_from([0.0, 0.003, 0.03]),
    start=st.tuples(*[st.floats(-0.05, 0.05)] * 3),
)
def test_a_step_taken_never_raises_the_penalised_loss_of_those_who_decided(seed, l1, jitter, start):
    population = replace(BOWL, jitter=jitter)
    plan = plan_of(population, seed=seed, l1=l1, start=start)
    _, states, found = stepped(population, plan)

    def penalised(phi, step):
        seeds = lifetime_seeds(seed, "test", step, plan.protocol.meta_batch)
        loss = measure(population, phi, seeds, population.outputs).mean_loss
        return loss + l1 / plan.pace * float(np.abs(phi).sum())

    here, visited = start, {start}
    for record, state in states:
        if record.taken:
            before, after = penalised(here, record.step), penalised(state.phi, record.step)
            # Means of 16 losses and a sum of three sizes, each rounded.
            assert after <= before + 32 * EPSILON * abs(before)
            assert state.phi != tuple(here)
        assert record.taken or state.phi in {here, *visited}  # stays, or goes back
        here = state.phi
        visited.add(here)
    assert found.phi == here
    assert found.taken == sum(record.taken for record, _ in states)


def test_a_descent_finds_the_minimum_and_stops_before_its_last_step():
    plan = plan_of(BOWL, steps=200, protocol=ACCEPTED)
    found = descend(BOWL, plan)
    # The mean of so many lifetimes' minima is known to a few standard errors of a batch.
    assert found.theta == pytest.approx(BOWL.best, abs=4 * BOWL.jitter / np.sqrt(32))
    assert found.steps < 200


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), edge=st.floats(0.021, 0.05))
def test_a_cliff_is_never_fallen_over(seed, edge):
    """The minimum lies beyond an edge from which on lifetimes end in what is not finite."""

    class Cliff(Bowl):
        def __call__(self, theta, seeds, *, gradient=(), observe=()):
            lived = super().__call__(theta, seeds, gradient=gradient)
            if float(theta.abs().max()) < edge:
                return lived
            nothing = torch.full_like(lived.loss, torch.nan)
            return replace(
                lived,
                loss=nothing,
                gradient=None if lived.gradient is None else lived.gradient * torch.nan,
            )

    population = Cliff((0.3, -0.2, 0.0), (900.0, 500.0, 300.0), 0.005)
    _, states, found = stepped(population, plan_of(population, seed=seed))
    assert all(max(map(abs, state.phi)) < edge for _, state in states)
    assert max(map(abs, found.theta)) < edge
    assert found.diverged == 0
    first, last = (measure(population, phi, range(50), 10).mean_loss
                   for phi in (plan_of(population).start, found.phi))  # fmt: skip
    assert last < first


def test_a_place_where_others_diverge_later_is_left_for_the_last_where_none_did():
    """Beyond the edge one lifetime in eight diverges, and those who decide do not see it."""
    edge = 0.05

    class Sometimes(Bowl):
        calls = []

        def __call__(self, theta, seeds, *, gradient=(), observe=()):
            lived = super().__call__(theta, seeds, gradient=gradient)
            theta = tuple(theta.tolist())
            known = theta in self.calls[-2:]
            self.calls.append(theta)
            if max(map(abs, theta)) < edge or not known:
                return lived
            bad = torch.arange(len(seeds)) % 8 == 0
            return replace(lived, loss=torch.where(bad, torch.nan, lived.loss))

    population = Sometimes((0.3, -0.2, 0.0), (900.0, 500.0, 300.0), 0.005)
    _, states, _ = stepped(population, plan_of(population, steps=20))
    beyond = [max(map(abs, state.phi)) >= edge for _, state in states]
    went_back = [n for n in range(1, len(states)) if beyond[n - 1] and not beyond[n]]
    assert went_back
    for n in went_back:
        record, state = states[n]
        assert not record.taken
        assert state.phi == state.safe
        assert state.size < states[n - 1][1].size
        assert state.phi in [earlier.phi for _, earlier in states[:n]]


def test_a_start_beyond_a_cliff_stays_where_nobody_votes():
    class Beyond(Bowl):
        def __call__(self, theta, seeds, *, gradient=(), observe=()):
            nothing = torch.full((len(seeds),), torch.nan, dtype=torch.float64)
            return Lifetimes(
                loss=nothing,
                accuracy=nothing,
                initial_loss=torch.ones_like(nothing),
                gradient=torch.full((len(seeds), 3), torch.nan) if gradient else None,
            )

    population = Beyond((0.0,) * 3, (1.0,) * 3)
    plan = plan_of(population)
    found = descend(population, plan)
    assert (found.phi, found.taken) == (plan.start, 0)
    assert found.diverged > 0


# --- zeros ---------------------------------------------------------------------------------------


def model_of(seed, terms, lifetimes):
    draw = np.random.default_rng(seed)
    cast = votes(draw.normal(draw.normal(size=terms), size=(lifetimes, terms)))
    return local_model(cast.sum(0), lifetimes, moment(cast)), draw


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    terms=st.integers(1, 12),
    size=st.floats(1e-3, 1.0),
    l1=st.floats(0.0, 1.0),
)
def test_zeros_are_exact_and_satisfy_the_conditions_of_the_proximal_problem(seed, terms, size, l1):
    model, draw = model_of(seed, terms, 8 * terms)
    phi = np.where(draw.random(terms) < 0.5, 0.0, draw.normal(size=terms))
    found = proximal(model, phi, size, l1, furthest=np.inf)
    # Without a penalty the step has this size, as lifetimes see it.
    slope = np.linalg.norm(model.slope)
    if slope == 0:
        return
    length = size / slope
    change = found - phi
    free = proximal(model, phi, size, 0.0, furthest=np.inf) - phi
    assert free @ model.root @ model.root @ free == pytest.approx(size**2, rel=1e-6)
    pull = model.slope + model.root @ change / length
    # The sweeps end at a change of 1e-12 of the size; the pull is that times 1 / length.
    close = 1e-8 * (1 + slope)
    zero = found == 0
    assert (np.abs(pull[zero]) <= l1 + close).all()
    np.testing.assert_allclose(pull[~zero], -l1 * np.sign(found[~zero]), atol=close)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), l1=st.floats(0.01, 0.5))
def test_the_proximal_step_is_the_minimum_that_a_general_optimiser_finds(seed, l1):
    """Of the same problem with each coefficient as the difference of two that are not negative."""
    model, draw = model_of(seed, 5, 60)
    phi, size = draw.normal(size=5), 0.4
    length = size / np.linalg.norm(model.slope)

    def goal(split):
        there = split[:5] - split[5:]
        change = there - phi
        bent = model.root @ change / length
        slope = model.slope + bent
        value = model.slope @ change + change @ bent / 2 + l1 * split.sum()
        return value, np.concatenate([slope + l1, l1 - slope])

    start = np.concatenate([np.maximum(phi, 0), np.maximum(-phi, 0)])
    best = optimize.minimize(
        goal,
        start,
        jac=True,
        bounds=[(0, None)] * 10,
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000},
    )
    found = proximal(model, phi, size, l1, furthest=np.inf)
    mine = goal(np.concatenate([np.maximum(found, 0), np.maximum(-found, 0)]))[0]
    assert mine <= best.fun + 1e-9
    # The problem is strictly convex; L-BFGS-B ends at a slope of 1e-10 or at its own rounding.
    np.testing.assert_allclose(found, best.x[:5] - best.x[5:], atol=1e-4)


def test_a_penalty_leaves_out_what_is_worth_less():
    useless = Bowl((0.03, 0.0, -0.02, 0.0), (900.0, 500.0, 900.0, 500.0), 0.002)
    found = descend(useless, plan_of(useless, l1=0.02, steps=40))
    assert found.support == (0, 2)
    assert [found.phi[1], found.phi[3]] == [0.0, 0.0]
    assert len(found.second) == 2
    everything = descend(useless, plan_of(useless, steps=40))
    assert everything.support == (0, 1, 2, 3)


# --- what nothing depends on ---------------------------------------------------------------------

WIDE = Bowl((0.03, -0.02, 0.0, 0.01, 0.0), (900.0, 500.0, 300.0, 40.0, 200.0), 0.005)


@settings(deadline=None, max_examples=25)
@given(order=st.permutations(range(5)), seed=st.integers(0, 1000), l1=st.sampled_from([0, 0.01]))
def test_a_permutation_of_terms_permutes_the_answer_to_the_bit(order, seed, l1):
    plain = descend(WIDE, plan_of(WIDE, seed=seed, l1=l1))
    other = Otherwise(WIDE, tuple(order), (1.0,) * 5)
    plan = plan_of(WIDE, seed=seed, l1=l1)
    support = tuple(order.index(term) for term in range(5))  # by what terms are, as before
    found = descend(
        other, replace(plan, support=support, start=tuple(plan.start[i] for i in order))
    )
    assert found.theta == tuple(plain.theta[i] for i in order)
    assert tuple(order[i] for i in found.support) == plain.support
    assert replace(found, theta=(), phi=(), support=()) == replace(
        plain, theta=(), phi=(), support=()
    )


@settings(deadline=None, max_examples=25)
@given(
    powers=st.lists(st.integers(-12, 12), min_size=5, max_size=5),
    seed=st.integers(0, 1000),
    l1=st.sampled_from([0, 0.01]),
)
def test_a_term_times_a_power_of_two_has_a_coefficient_divided_by_it_to_the_bit(powers, seed, l1):
    factors = tuple(2.0**power for power in powers)
    plain = descend(WIDE, plan_of(WIDE, seed=seed, l1=l1))
    other = Otherwise(WIDE, tuple(range(5)), factors)
    scales = tuple(1 / factor for factor in factors)
    found = descend(other, plan_of(WIDE, seed=seed, l1=l1, scales=scales))
    assert found.theta == tuple(x / f for x, f in zip(plain.theta, factors, strict=True))
    assert replace(found, theta=()) == replace(plain, theta=())


@settings(deadline=None, max_examples=25)
@given(factors=st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=5), seed=st.integers(0, 1000))
def test_a_term_times_any_factor_has_a_coefficient_divided_by_it_but_for_rounding(factors, seed):
    # Few steps: each multiplies a difference in the last bit by the model's condition.
    plain = descend(WIDE, plan_of(WIDE, seed=seed, steps=3))
    other = Otherwise(WIDE, tuple(range(5)), tuple(factors))
    scales = tuple(1 / factor for factor in factors)
    found = descend(other, plan_of(WIDE, seed=seed, steps=3, scales=scales))
    assert np.array(found.theta) * factors == pytest.approx(plain.theta, rel=1e-6, abs=1e-9)


def test_threads_change_no_bit():
    many = Bowl(tuple(np.linspace(0.03, -0.03, 60)), (500.0,) * 60, 0.01)
    found = []
    for threads in (1, 4):
        with threadpool_limits(threads):
            found.append(descend(many, plan_of(many, l1=0.001, steps=5)))
    assert found[0] == found[1]


def test_what_a_lifetime_says_does_not_hang_on_who_lives_beside_it():
    """A population that runs lifetimes one by one and puts them together again."""

    class OneByOne(Bowl):
        def __call__(self, theta, seeds, *, gradient=(), observe=()):
            each = [super(OneByOne, self).__call__(theta, [s], gradient=gradient) for s in seeds]
            return Lifetimes(
                loss=torch.cat([one.loss for one in each]),
                accuracy=torch.cat([one.accuracy for one in each]),
                initial_loss=torch.cat([one.initial_loss for one in each]),
                gradient=torch.cat([one.gradient for one in each]) if gradient else None,
            )

    alone = OneByOne(WIDE.best, WIDE.curvature, WIDE.jitter)
    assert descend(alone, plan_of(alone)) == descend(WIDE, plan_of(WIDE))


@pytest.mark.parametrize("l1", [0.0, 0.01])
def test_a_descent_goes_on_from_any_of_its_steps_to_the_same_bits(l1):
    plan = plan_of(WIDE, l1=l1)
    _, states, whole = stepped(WIDE, plan)
    assert len(states) > 5
    for _, state in states:
        kept = from_plain(DescentState, json.loads(json.dumps(to_plain(state))))
        assert descend(WIDE, plan, kept) == whole


def test_labels_and_not_plans_say_which_lifetimes_are_lived():
    asked = []

    class Watched(Bowl):
        def __call__(self, theta, seeds, *, gradient=(), observe=()):
            asked.append(tuple(seeds))
            return super().__call__(theta, seeds, gradient=gradient)

    watched = Watched(WIDE.best, WIDE.curvature, WIDE.jitter)
    descend(watched, plan_of(watched, steps=2))
    one = set(asked)
    asked.clear()
    descend(watched, plan_of(watched, steps=2, l1=0.1, support=(0, 3)))
    assert set(asked) == one
    asked.clear()
    descend(watched, plan_of(watched, steps=2, label="another"))
    assert not set(asked) & one


@pytest.mark.parametrize("batch", [16, 127, 128, 300])
def test_a_step_is_tried_however_many_lifetimes_it_has(batch):
    """As many as end a descent may vote at once; they have not seen a step refused."""
    found = descend(BOWL, plan_of(BOWL, protocol=replace(ACCEPTED, meta_batch=batch), steps=3))
    assert found.steps == 3
    assert found.taken
