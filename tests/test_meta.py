import json
import math
from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rulesearch.data import ImageSet, TaskShape
from rulesearch.errors import RuleSearchError
from rulesearch.lifetime import Lifetimes
from rulesearch.meta import (
    FITTED,
    PAPER,
    PATIENCE,
    ROBUST,
    FitPlan,
    MetaState,
    adam,
    fit,
    fit_together,
    initial_state,
    lifetime_seeds,
    meta_step,
    rate_at,
    soft_threshold,
    unit_votes,
    units,
)
from rulesearch.notation import Pool
from rulesearch.population import CHUNK, Population
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.search.arguments import read
from rulesearch.search.config import check
from rulesearch.selection import Setting, trial_plan

NAN, INF = math.nan, math.inf
EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Bowl:
    """Quadratic mean loss; each lifetime has a minimum of its own beside the common one."""

    best: tuple[float, ...]
    curvature: tuple[float, ...]
    jitter: float = 0.0

    outputs = 10

    @property
    def names(self):
        return tuple(f"F{term}" for term in range(len(self.best)))

    def minima(self, seeds):
        noise = [
            torch.randn(
                len(self.best), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
            )
            for seed in seeds
        ]
        return torch.tensor(self.best, dtype=torch.float64) + self.jitter * torch.stack(noise)

    def __call__(self, theta, seeds, *, gradient=(), observe=()):
        h = torch.tensor(self.curvature, dtype=torch.float64)
        minima = self.minima(seeds)
        mask = torch.zeros(len(h), dtype=torch.float64)
        mask[list(gradient)] = 1
        loss = (h * (theta - minima) ** 2).sum(-1) / 2
        return Lifetimes(
            loss=loss,
            accuracy=torch.exp(-loss),
            initial_loss=(h * minima**2).sum(-1) / 2,
            gradient=h * (theta - minima) * mask if gradient else None,
            observed={name: torch.arange(2.0).expand(len(seeds), 2) for name in observe},
        )


@dataclass(frozen=True)
class Scripted:
    """Gives the same lifetimes whatever is asked."""

    loss: tuple[float, ...]
    gradient: tuple[tuple[float, ...], ...]
    initial: float = 2.0

    outputs = 10

    @property
    def names(self):
        return tuple(f"F{term}" for term in range(len(self.gradient[0])))

    def __call__(self, theta, seeds, *, gradient=(), observe=()):
        assert len(seeds) == len(self.loss)
        return Lifetimes(
            loss=torch.tensor(self.loss),
            accuracy=torch.full((len(seeds),), 0.5),
            initial_loss=torch.full((len(seeds),), self.initial),
            gradient=torch.tensor(self.gradient),
        )


BOWL = Bowl(best=(0.03, -0.02, 0.0), curvature=(900.0, 500.0, 300.0), jitter=0.005)


def plan_of(population, **changes):
    terms = len(population.names)
    plan = FitPlan(
        label="test",
        support=tuple(range(terms)),
        scales=(1.0,) * terms,
        start=(1e-3,) + (0.0,) * (terms - 1),
        seed=0,
        protocol=ROBUST,
        meta_steps=10,
    )
    return replace(plan, **changes)


def test_adam_is_torchs():
    generator = torch.Generator().manual_seed(1)
    steps, rate = 50, 1e-3
    gradients = torch.randn(steps, 4, generator=generator, dtype=torch.float64)
    gradients[:, 3] = 0
    mine = m = v = torch.zeros(4, dtype=torch.float64)
    theirs = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([theirs], lr=rate, betas=(0.9, 0.99), eps=1e-8)
    for step, gradient in enumerate(gradients):
        m, v, direction, _ = adam(m, v, step, gradient, (0.9, 0.99), 1e-8)
        mine = mine - rate * direction
        theirs.grad = gradient
        optimiser.step()
    # A step of about `rate` has some 20 rounded operations; no coordinate leaves steps * rate.
    assert torch.allclose(mine, theirs.detach(), rtol=0, atol=20 * steps * steps * rate * EPSILON)
    assert mine[3] == 0


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.3, 0.0), (0.0, 70.0), (0.3, 70.0)])
def test_the_paper_protocol_is_adam_on_the_penalised_loss_of_one_task(l1, l2):
    plan = plan_of(BOWL, protocol=PAPER, meta_steps=40, l1=l1, l2=l2)
    theta = torch.tensor(plan.start, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=1e-3)
    for step in range(40):
        (minimum,) = BOWL.minima(lifetime_seeds(0, "test", step, 1))
        h = torch.tensor(BOWL.curvature, dtype=torch.float64)
        optimiser.zero_grad()
        penalty = l1 * theta.abs().sum() + l2 * (theta**2).sum()
        ((h * (theta - minimum) ** 2).sum() / 2 + penalty).backward()
        optimiser.step()
    # Gradients up to 30 are rounded at 1e-14, which Adam divides by their size before the rate;
    # 40 steps stay below 1e-15. The bound is far below one step of 1e-3 all the same.
    assert fit(BOWL, plan).theta == pytest.approx(theta.tolist(), abs=1e-12)


@pytest.mark.parametrize(
    ("value", "threshold", "result"),
    [(3, 1, 2), (-3, 1, -2), (0.5, 1, 0), (1, 1, 0), (-0.25, 0, -0.25), (0, 1, 0)],
)
def test_soft_threshold(value, threshold, result):
    assert soft_threshold(torch.tensor(float(value)), torch.tensor(float(threshold))) == result


@given(st.floats(-10, 10), st.floats(0, 10), st.floats(-20, 20))
def test_soft_threshold_minimises(value, threshold, other):
    x = float(soft_threshold(torch.tensor(value).double(), torch.tensor(threshold).double()))

    def objective(at):
        return (at - value) ** 2 / 2 + threshold * abs(at)

    assert objective(x) <= objective(other) + 1e3 * EPSILON  # values stay below 1,000


def test_one_proximal_step_in_closed_form():
    # In one dimension a vote is -1 or 1, so v_hat = 1: a step of the rate, then a threshold.
    uphill = Scripted(loss=(1.0,) * 8, gradient=((7.0,),) * 8)
    state = initial_state(plan_of(uphill, start=(0.5,)))
    _, state = meta_step(uphill, plan_of(uphill, start=(0.5,), meta_steps=300, l1=2.0), state)
    size = 1e-3 / (1 + 1e-8)
    assert state.phi[0] == pytest.approx(0.5 - size - 2 * size, abs=4 * EPSILON)


def test_without_penalty_nothing_is_exactly_zero():
    for protocol in FITTED.values():
        done = fit(BOWL, plan_of(BOWL, protocol=protocol, meta_steps=60))
        assert all(done.phi)


def test_a_large_penalty_makes_everything_exactly_zero():
    done = fit(BOWL, plan_of(BOWL, meta_steps=60, l1=50.0))
    assert done.phi == (0.0, 0.0, 0.0)
    assert done.support == ()


def test_a_moderate_penalty_leaves_out_what_is_useless():
    done = fit(BOWL, plan_of(BOWL, meta_steps=300, l1=0.2))
    assert done.support == (0, 1)


def test_l2_ends_at_the_penalised_minimum():
    scales, l2 = (1.0, 0.5, 0.1), 200.0
    exact = replace(BOWL, jitter=0.0)
    done = fit(exact, plan_of(exact, protocol=PAPER, meta_steps=600, scales=scales, l2=l2))
    # h (s phi - b)**2 / 2 + l2 phi**2 is least at s h b / (s**2 h + 2 l2): a third of the way off.
    least = [
        s * h * b / (s**2 * h + 2 * l2)
        for s, h, b in zip(scales, exact.curvature, exact.best, strict=True)
    ]
    assert done.phi == pytest.approx(least, abs=PAPER.rate)


def test_l2_holds_votes_within_a_ball():
    # Equal votes g/|g| balance 2 l2 phi where |phi| = 1 / (2 l2); with equal curvatures, straight
    # towards the minimum, which is at 0.05 from zero.
    round_bowl = Bowl(best=(0.03, -0.04), curvature=(500.0, 500.0))
    done = fit(round_bowl, plan_of(round_bowl, meta_steps=300, l2=25.0))
    # The last steps are 5 % of the rate, so it circles within one full step.
    assert done.phi == pytest.approx((0.012, -0.016), abs=ROBUST.rate)


@pytest.mark.parametrize("protocol", FITTED.values(), ids=FITTED)
def test_the_mean_stage_has_no_penalty(protocol):
    free = plan_of(BOWL, protocol=protocol, meta_steps=0, mean_steps=20)
    assert fit(BOWL, replace(free, l1=50.0, l2=1e4)) == fit(BOWL, free)


@pytest.mark.parametrize("option", ["--l1", "--l2"])
@pytest.mark.parametrize("strength", ["-1", "inf", "nan"])
def test_a_strength_that_is_none_is_refused(option, strength):
    with pytest.raises(RuleSearchError) as caught:
        check(read(["--term", "-e_post*y_pre", option, strength]).config)
    wanted = {"-1": "at least 0", "inf": "finite", "nan": "at least 0 and finite"}[strength]
    assert str(caught.value) == f"{option} {strength}: must be {wanted}"


def test_a_trial_has_the_penalties_asked_for():
    asked = ["--term", "-e_post*y_pre", "--protocol", "robust", "--l2", "0.25"]
    config = read(asked).config
    check(config)
    setting = Setting(("F0",), (1.0,), (1e-3,), 0, ROBUST, 3)
    plan = trial_plan(setting, 1, meta_steps=7, l1=0.5, l2=config.l2)
    assert (plan.l1, plan.l2) == (0.5, 0.25)
    assert trial_plan(setting, 1, meta_steps=7, l1=0.5).l2 == 0


def test_papers_support_is_what_rises_above_one_step():
    done = fit(BOWL, plan_of(BOWL, protocol=PAPER, meta_steps=0, start=(2e-3, -2e-3, 1e-3)))
    assert done.support == (0, 1)


def test_fit_finds_the_minimum_in_raw_coefficients():
    exact = replace(BOWL, jitter=0.0)
    done = fit(exact, plan_of(exact, scales=(1.0, 0.5, 0.1), meta_steps=300))
    # The last steps are 5 % of the rate, so it circles within one full step.
    assert done.theta == pytest.approx(BOWL.best, abs=ROBUST.rate)
    assert done.theta == tuple(s * x for s, x in zip((1.0, 0.5, 0.1), done.phi, strict=True))
    assert done.lifetimes == 300 * 8
    assert done.failed is None


def test_terms_outside_the_support_stay_zero():
    done = fit(BOWL, plan_of(BOWL, support=(1,), start=(0.5, 0.0, 0.5), mean_steps=5))
    assert done.phi[0] == done.phi[2] == 0
    assert done.phi[1] != 0


@given(st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3))
def test_votes_ignore_magnitudes(sizes):
    directions = torch.tensor([[0.6, 0.8], [-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    votes = unit_votes(directions * torch.tensor(sizes, dtype=torch.float64)[:, None])
    assert torch.allclose(votes, directions, rtol=0, atol=8 * EPSILON)


def test_a_vanishing_gradient_has_no_vote():
    tiny = torch.tensor([[1e-13, 0.0], [1e-11, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert unit_votes(tiny).tolist() == [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]


def test_the_mean_stage_follows_magnitudes():
    # Seven small gradients point up and one large one down: votes and mean disagree.
    rows = ((1.0,),) * 7 + ((-100.0,),)
    torn = Scripted(loss=(1.0,) * 8, gradient=rows)
    votes = fit(torn, plan_of(torn, meta_steps=5))
    mean = fit(torn, plan_of(torn, meta_steps=0, mean_steps=5))
    assert votes.phi[0] < 1e-3 < mean.phi[0]


def test_the_mean_stage_begins_adam_anew():
    plan, states = plan_of(BOWL, meta_steps=3, mean_steps=2), []
    fit(BOWL, plan, on_step=lambda _, state: states.append(state))
    assert [state.updates for state in states] == [1, 2, 3, 1, 2]
    lived = BOWL(
        torch.tensor(states[2].phi, dtype=torch.float64),
        lifetime_seeds(0, "test", 3, 8),
        gradient=(0, 1, 2),
    )
    # Ten rounded operations on gradients of about 10.
    assert states[3].m == pytest.approx((0.1 * lived.gradient.mean(0)).tolist(), abs=1e-14)


def test_gradients_are_taken_in_units():
    slope = Scripted(loss=(1.0,) * 8, gradient=((3.0, 40.0),) * 8)
    plan = plan_of(slope, scales=(1.0, 0.1))
    record, state = meta_step(slope, plan, initial_state(plan))
    # In units the gradient is (3, 4), of norm 5.
    assert state.m == pytest.approx((0.1 * 3 / 5, 0.1 * 4 / 5))
    record, _ = meta_step(slope, plan, replace(state, phi=(0.5, 0.5)))
    assert record.theta == {"F0": 0.5, "F1": 0.05}


def test_lifetimes_left_out_and_diverged_are_counted():
    odd = Scripted(
        loss=(1.0, NAN, 1.0, INF, 3.0, 1.0, 1.0, 2.0),
        gradient=(
            (1.0, 0.0),
            (1.0, 0.0),
            (NAN, 1.0),
            (1.0, 0.0),
            (0.0, 2.0),  # diverged, but usable
            (1e300, 1e300),  # its norm overflows
            (0.0, 0.0),
            (0.0, 3.0),  # no worse than before training
        ),
    )
    record, state = meta_step(odd, plan_of(odd), initial_state(plan_of(odd)))
    assert (record.left_out, record.diverged) == (3 + 1, 3)
    assert (state.left_out, state.diverged, state.lifetimes, state.updates) == (4, 3, 8, 1)
    # Three diverged, and count as chance, which is worse than 2; the others have 1, 1, 1, 1, 2.
    assert record.loss == pytest.approx((3 * math.log(10) + 6) / 8)
    assert record.accuracy == pytest.approx((3 * 0.1 + 5 * 0.5) / 8)
    # Votes of the four usable ones: (1, 0), (0, 1), (0, 0), (0, 1).
    assert state.m == pytest.approx((0.1 * 1 / 4, 0.1 * 2 / 4))
    assert record.theta == {"F0": 1e-3, "F1": 0.0}


def test_a_silent_step_changes_nothing_but_the_counts():
    silent = Scripted(loss=(NAN,) * 8, gradient=((NAN,),) * 8)
    plan = plan_of(silent)
    record, state = meta_step(silent, plan, initial_state(plan))
    assert record.loss == pytest.approx(math.log(10))
    assert state == replace(
        initial_state(plan), step=1, lifetimes=8, left_out=8, diverged=8, silent=1
    )


@pytest.mark.parametrize(("meta_steps", "ends"), [(300, PATIENCE), (7, 7)])
@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (NAN, "no lifetime had a finite loss in {0} meta-steps, up to step {0}"),
        (
            1.0,
            "no lifetime had a finite gradient in {0} meta-steps, up to step {0}, though losses "
            "were finite in {0} of them",
        ),
    ],
)
def test_a_fit_that_explodes_ends_with_the_reason(meta_steps, ends, loss, reason):
    silent = Scripted(loss=(loss,) * 8, gradient=((NAN,),) * 8)
    done = fit(silent, plan_of(silent, meta_steps=meta_steps))
    assert done.failed == reason.format(ends)
    assert done.meta_steps == ends
    assert done.theta == (1e-3,)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_term_at_zero_without_a_derivative_stays_there_and_the_others_have_their_say(bad):
    slopes = Scripted(loss=(1.0,) * 8, gradient=((3.0, bad, 4.0),) * 8)
    plan = plan_of(slopes)
    record, state = meta_step(slopes, plan, initial_state(plan))
    assert (record.left_out, state.silent) == (0, 0)
    assert state.m == pytest.approx((0.1 * 3 / 5, 0.0, 0.1 * 4 / 5))
    assert state.phi[1] == 0
    (lost,) = state.lost
    term, seed, theta = lost.term, lost.seed, lost.theta
    assert (term, theta) == (1, (1e-3, 0.0, 0.0))
    assert seed == lifetime_seeds(plan.seed, plan.label, 0, 8)[0]
    done = fit(slopes, plan)
    assert (done.support, done.lost) == ((0, 2), state.lost)


def test_a_term_is_lost_for_good_and_by_one_lifetime():
    """Even if it had a direction, and momentum, before."""
    fine = Scripted(loss=(1.0,) * 8, gradient=((3.0, 4.0),) * 8)
    odd = replace(fine, gradient=((3.0, 4.0),) * 7 + ((3.0, NAN),))
    plan = plan_of(fine)
    _, state = meta_step(fine, plan, initial_state(plan))
    state = replace(state, phi=(1e-3, 0.0))
    _, state = meta_step(odd, plan, state)
    assert (state.phi[1], state.m[1]) == (0, 0)
    assert state.lost[0].seed == lifetime_seeds(plan.seed, plan.label, 1, 8)[7]
    for _ in range(3):
        _, state = meta_step(fine, plan, state)
        assert state.phi[1] == 0
    assert len(state.lost) == 1


def test_a_term_in_use_without_a_derivative_costs_the_lifetime_and_not_a_term():
    odd = Scripted(loss=(1.0,) * 8, gradient=((NAN, NAN),) + ((3.0, 4.0),) * 7)
    plan = plan_of(odd)
    record, state = meta_step(odd, plan, initial_state(plan))
    assert record.left_out == 1
    assert state.lost == ()
    assert state.phi[1] != 0


def test_single_usable_steps_keep_a_fit_alive():
    calls = []

    class Flickering(Bowl):
        def __call__(self, *args, **options):
            lived = super().__call__(*args, **options)
            calls.append(None)
            return lived if len(calls) % 15 == 0 else replace(lived, loss=lived.loss * NAN)

    flickering = Flickering(BOWL.best, BOWL.curvature)
    done = fit(flickering, plan_of(flickering, meta_steps=60))
    assert done.failed is None
    assert done.left_out == 56 * 8


@dataclass(frozen=True)
class Cliff:
    """A slope that leads down to a cliff: below `edge` no lifetime is finite."""

    edge: float = -0.01

    outputs = 10

    @property
    def names(self):
        return ("F0",)

    def __call__(self, theta, seeds, *, gradient=(), observe=()):
        over = (theta[..., 0] < self.edge).expand(len(seeds))
        loss = torch.where(over, NAN, 1.0)
        return Lifetimes(
            loss=loss,
            accuracy=torch.full((len(seeds),), 0.5),
            initial_loss=torch.full((len(seeds),), 2.0),
            gradient=torch.ones(len(seeds), 1) * loss[:, None],
        )


def test_at_a_cliff_a_fit_goes_back_to_where_nothing_diverged():
    cliff = Cliff()
    states = []
    plan = plan_of(cliff, meta_steps=60)
    found = fit(cliff, plan, on_step=lambda record, state: states.append(state))
    assert found.failed is None
    assert found.retreats > 1
    # On the edge: the last step may have been one over it.
    assert abs(found.theta[0] - cliff.edge) < 2 * ROBUST.rate
    fallen = next(i for i, state in enumerate(states) if state.phi[0] < cliff.edge)
    assert states[fallen + 1].phi == states[fallen].safe == states[fallen - 1].phi
    assert states[fallen + 1].m == (0.0,)


def test_without_retreats_a_fit_ends_at_a_cliff():
    cliff = Cliff()
    stuck = replace(ROBUST, retreats=False)
    assert fit(cliff, plan_of(cliff, meta_steps=60, protocol=stuck)).failed is not None
    assert not PAPER.retreats  # as published


def test_no_retreat_before_anything_was_safe_or_while_most_are_well():
    diverging = Scripted(loss=(3.0,) * 8, gradient=((1.0,),) * 8)
    assert fit(diverging, plan_of(diverging)).retreats == 0
    some = Scripted(loss=(1.0,) * 5 + (3.0,) * 3, gradient=((1.0,),) * 8)
    plan = plan_of(some)
    _, state = meta_step(some, plan, replace(initial_state(plan), safe=(0.5,)))
    assert (state.retreats, state.safe) == (0, (0.5,))


def test_resumed_is_uninterrupted_to_the_bit():
    plan = plan_of(BOWL, meta_steps=12, mean_steps=8, l1=0.1, scales=(1.0, 0.3, 0.7))
    written, records = [], []

    def keep(record, state):
        written.append(to_plain(state))
        records.append(record)

    whole = fit(BOWL, plan, on_step=keep)
    for cut in (1, 11, 12, 13, 19, 20):
        again = []
        state = from_plain(MetaState, written[cut - 1])
        resumed = fit(BOWL, plan, state, on_step=lambda record, _, seen=again: seen.append(record))
        assert resumed == whole
        assert again == records[cut:]
    assert from_plain(type(whole), to_plain(whole)) == whole


@dataclass(frozen=True)
class OneByOne:
    """A bowl with an edge, and each lifetime by a call of its own: the same in any company."""

    bowl: Bowl
    edge: float = INF
    calls: list = field(default_factory=list)

    outputs = 10

    @property
    def names(self):
        return self.bowl.names

    def __call__(self, theta, seeds, *, gradient=(), observe=()):
        self.calls.append((tuple(seeds), tuple(gradient)))
        lives = [
            self.bowl(row, [seed], gradient=gradient, observe=observe)
            for row, seed in zip(theta.expand(len(seeds), -1), seeds, strict=True)
        ]
        over = theta[..., 0] > self.edge
        # Of its own for each seed, so that a share cut in the wrong place shows.
        observed = torch.tensor([[float(seed % 1009), 1.0] for seed in seeds])
        return Lifetimes(
            loss=torch.where(over, NAN, torch.cat([life.loss for life in lives])),
            accuracy=torch.cat([life.accuracy for life in lives]),
            initial_loss=torch.cat([life.initial_loss for life in lives]),
            gradient=torch.cat([life.gradient for life in lives]),
            observed=dict.fromkeys(observe, observed),
        )


def told(collected):
    """An `on_step` that keeps what it is told, as text, under the label."""

    def keep(record, state):
        collected[record.label].append((to_plain(record), to_plain(state)))

    return keep


def mixed_plans():
    base = plan_of(BOWL, observe=("angle",))
    stubborn = replace(ROBUST, retreats=False)
    return [
        replace(base, label="short", support=(0, 2), meta_steps=4, l1=0.1),
        replace(base, label="few terms", support=(1, 2), seed=5, mean_steps=9, l2=3.0),
        # Walks to 0.03 and over the edge at 0.01, a step of 1e-3 at a time.
        replace(base, label="given up", support=(0,), meta_steps=90, protocol=stubborn),
        replace(base, label="paper", meta_steps=35, protocol=PAPER, scales=(0.2, 1.0, 0.5)),
        replace(base, label="retreats", support=(0, 2), meta_steps=25, scales=(1.0, 1.0, 0.3)),
    ]


def test_observables_may_be_seen_less_often_and_change_nothing():
    plan = plan_of(BOWL, observe=("angle",), meta_steps=7)
    records = []
    sparse = fit(BOWL, replace(plan, observe_every=3), None, lambda r, _: records.append(r))
    assert [bool(record.observed) for record in records] == [True, False, False] * 2 + [True]
    assert sparse == fit(BOWL, plan)
    # Beside a plan that is observed at this step, one that is not has nothing in its record.
    both = []
    late = replace(plan, label="late", observe_every=3)
    state = replace(initial_state(late), step=1)
    fit_together(BOWL, [plan, late], [None, state], lambda r, _: both.append(r))
    assert [bool(r.observed) for r in both if r.label == "late"] == [False, False, True] * 2


def test_fits_together_are_fits_alone_to_the_bit():
    population = OneByOne(BOWL, edge=0.01)
    plans, alone, together = mixed_plans(), defaultdict(list), defaultdict(list)
    separate = [fit(population, plan, on_step=told(alone)) for plan in plans]
    population.calls.clear()
    joint = fit_together(population, plans, on_step=told(together))
    assert [to_plain(done) for done in joint] == [to_plain(done) for done in separate]
    assert together == alone
    assert joint[2].failed is not None
    assert 9 + PATIENCE <= joint[2].meta_steps < 50
    assert joint[4].retreats > 0
    # One call a meta-step, for all that still go on, with the terms of all.
    lengths = [done.meta_steps for done in joint]
    batches = [plan.protocol.meta_batch for plan in plans]
    assert [len(seeds) for seeds, _ in population.calls] == [
        sum(batch for batch, length in zip(batches, lengths, strict=True) if step < length)
        for step in range(max(lengths))
    ]
    assert {terms for _, terms in population.calls} == {(0, 1, 2)}


@pytest.mark.parametrize("cuts", [(2, 2, 2, 2, 2), (0, 11, 25, 3, 8), (4, 19, 3, 35, 25)])
def test_fits_together_resumed_are_uninterrupted_to_the_bit(cuts):
    population = OneByOne(BOWL, edge=0.01)
    plans, written, again = mixed_plans(), defaultdict(list), defaultdict(list)
    whole = fit_together(population, plans, on_step=told(written))
    states = [
        from_plain(MetaState, written[plan.label][cut - 1][1]) if cut else None
        for plan, cut in zip(plans, cuts, strict=True)
    ]
    resumed = fit_together(population, plans, states, told(again))
    assert [to_plain(done) for done in resumed] == [to_plain(done) for done in whole]
    for plan, cut in zip(plans, cuts, strict=True):
        assert again[plan.label] == written[plan.label][cut:]


def test_terms_asked_for_by_others_have_no_say():
    broken = Scripted(loss=(1.0,) * 8, gradient=((1.0, NAN),) * 8)
    plan = plan_of(broken, support=(0,))
    record, state = meta_step(broken, plan, initial_state(plan))
    assert record.left_out == 0
    assert state.m == pytest.approx((0.1, 0.0))  # the one vote is all of the first term's


def test_fits_of_other_observables_share_no_batch():
    plans = [plan_of(BOWL), plan_of(BOWL, label="other", observe=("angle",))]
    with pytest.raises(ValueError, match="the same observables"):
        fit_together(BOWL, plans)
    assert fit_together(BOWL, []) == []


@pytest.mark.parametrize("kernel", ["einsum", pytest.param("fused", marks=pytest.mark.slow)])
def test_trials_of_networks_together_are_trials_alone_to_the_bit(kernel):
    generator = np.random.default_rng(0)
    images = ImageSet(
        name="made up",
        source="made up",
        classes=3,
        x=generator.uniform(0, 1, (24, 6)).astype(np.float32),
        labels=np.repeat(np.arange(3), 8),
        rows=np.arange(24),
        starts=np.arange(4) * 8,
    )
    pool = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre")
    population = Population(pool, images, TaskShape(2, 3, 2), (6, 5, 4, 3), kernel=kernel)
    # On the CPU einsum rounds by its batches, which are chunks of this size.
    batch = replace(PAPER, meta_batch=1 if kernel == "fused" else CHUNK)
    plans = [
        plan_of(population, label=f"trial {n}", seed=n, protocol=batch, meta_steps=3 + n)
        for n in range(3)
    ]
    separate = [fit(population, plan) for plan in plans]
    assert fit_together(population, plans) == separate
    assert len({done.theta for done in separate}) == 3


def test_a_damaged_state_is_named_by_its_fields():
    good = to_plain(MetaState(phi=(0.1,), m=(0.0,), v=(1e-300,)))
    assert from_plain(MetaState, json.loads(json.dumps(good))) == MetaState(
        (0.1,), (0.0,), (1e-300,)
    )
    with pytest.raises(RuleSearchError, match=r"^m: is missing$"):
        from_plain(MetaState, {key: value for key, value in good.items() if key != "m"})
    with pytest.raises(RuleSearchError, match=r"^phi\[0\]: must be finite\nstep: must be at least"):
        from_plain(MetaState, good | {"phi": ["nan"], "step": -1})


def test_seeds_differ_by_each_of_their_parts():
    base = lifetime_seeds(3, "trial 0", 7, 4)
    others = [lifetime_seeds(*parts, 4) for parts in [(4, "trial 0", 7), (3, "trial 1", 7)]]
    others.append(lifetime_seeds(3, "trial 0", 8, 4))
    assert all(not set(base) & set(other) for other in others)
    assert all(0 <= seed < 2**63 for seed in base)


def test_the_rate_falls_over_the_last_part():
    plan = plan_of(BOWL, meta_steps=300, mean_steps=100)
    rates = [rate_at(plan, step) / ROBUST.rate for step in (0, 179, 239, 299, 300, 349, 399)]
    assert rates == pytest.approx([1, 1, 0.525, 0.05, 0.9905, 0.525, 0.05])
    assert rate_at(plan_of(BOWL, protocol=PAPER), 9) == PAPER.rate


def test_records_carry_observables():
    plan = plan_of(BOWL, observe=("angle",))
    record, _ = meta_step(BOWL, plan, initial_state(plan))
    assert record.observed == {"angle": (0.0, 1.0)}
    assert (record.label, record.step, record.steps) == ("test", 1, 10)


def test_units_of_the_papers_pool():
    norms = [6.7, 2.2, 1.1, 56, 14, 116, 0.12, 0.30, 0.22, 63]
    scales, messages = units(norms, 0, [f"F{r}" for r in range(10)])
    assert scales == pytest.approx([1, 1, 1, 6.7 / 56, 6.7 / 14, 6.7 / 116, 1, 1, 1, 6.7 / 63])
    assert messages == ()
    uncapped, _ = units(norms, 0, [f"F{r}" for r in range(10)], math.inf)
    assert uncapped == pytest.approx([6.7 / norm for norm in norms])


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        (
            (0.0, 1.0, 1.0),
            "term A: zero on these data at initialisation, so nothing can be measured by it; "
            "begin the search with another term",
        ),
        (
            (1.0, INF, NAN),
            "term B: not finite at initialisation; rewrite it, or leave it out of the pool\n"
            "term C: not finite at initialisation; rewrite it, or leave it out of the pool",
        ),
    ],
)
def test_units_that_cannot_be(norms, message):
    with pytest.raises(RuleSearchError) as caught:
        units(norms, 0, ["A", "B", "C"])
    assert str(caught.value) == message


def test_a_term_without_a_scale_cannot_be_in_a_support():
    with pytest.raises(ValueError, match="scale above zero"):
        plan_of(BOWL, scales=(1.0, 0.0, 1.0))
