"""Terms join and leave: what takes over from what, what promises a gain, what is tested how."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_descent import Otherwise
from test_meta import Bowl

from rulesearch.meta import ACCEPTED, descend, lifetime_seeds
from rulesearch.pursuit import Aims, Means, Opening, Place, course, joint, pursue
from rulesearch.pursuit.growing import grow
from rulesearch.pursuit.hall import compared
from rulesearch.pursuit.joining import Promise, judge, promises
from rulesearch.pursuit.joint import descend_together
from rulesearch.pursuit.place import plainly_without, saliences, turned, without
from rulesearch.pursuit.settling import settle, within_ball
from rulesearch.pursuit.spans import in_spans
from rulesearch.selection import Effort, Setting
from rulesearch.statistics import Scores, measure_each


def place_of(phi, second):
    second = np.asarray(second, dtype=float)
    support = tuple(range(len(second)))
    return Place(support, tuple(phi), tuple(map(tuple, second.tolist())))


def positive(draw, terms):
    """A second moment of votes that cast many directions."""
    rows = np.random.default_rng(draw).normal(size=(8 * terms, terms))
    return rows.T @ rows / len(rows)


def means_of(population, *, effort, gain=0.0, start=0.01, seed=0, keys=(), scales=()):
    """Everything a pursuit works with, nothing kept."""
    terms = len(population.names)
    setting = Setting(
        population.names,
        scales or (1.0,) * terms,
        (start,) + (0.0,) * (terms - 1),
        0,
        ACCEPTED,
        seed,
        effort,
        keys,
    )

    def differentiate(label, theta):
        lived = population(
            np_tensor(theta), lifetime_seeds(seed, label, 0, 64), gradient=range(terms)
        )
        return lived.gradient.tolist()

    return Means(
        setting=setting,
        protocol=ACCEPTED,
        pace=start,
        gain=gain,
        descend=lambda plan: descend(population, plan),
        measure=lambda rules, seeds: measure_each(
            population, [*rules.values()], seeds, population.outputs
        ),
        differentiate=differentiate,
        covering=lambda means, terms: means,
        tests=lifetime_seeds(seed, "tries", 0, effort.ranking_tasks),
        common=lifetime_seeds(seed, "common", 0, effort.common_tasks),
    )


def np_tensor(values):
    import torch

    return torch.tensor(values, dtype=torch.float64)


# --- leaving -------------------------------------------------------------------------------------


def test_of_two_terms_that_do_the_same_the_other_takes_over_all():
    second = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    left = without(place_of((0.3, 0.1, 0.5), second), [1])
    # One unit of the second is two of the first; the ridge keeps a little of it back.
    assert left.phi == pytest.approx((0.5, 0.0, 0.5), rel=0.02)
    assert left.support == (0, 2)
    assert left.second == ((1.0, 0.0), (0.0, 1.0))


@given(seed=st.integers(0, 50), terms=st.integers(2, 6), gone=st.integers(1, 3))
def test_what_is_left_is_the_least_of_the_model_without_those_terms(seed, terms, gone):
    """Of (phi - x)·H·(phi - x), over x that are zero there."""
    gone = list(range(min(gone, terms - 1)))
    place = place_of(np.random.default_rng(seed).normal(size=terms), positive(seed, terms))
    left = np.array(without(place, gone).phi)
    assert not left[gone].any()
    second = np.array(place.second)
    ridge = 1e-3 * np.trace(second) / terms * np.eye(terms)
    pull = (second + ridge) @ (np.array(place.phi) - left)
    kept = [term for term in range(terms) if term not in gone]
    assert pull[kept] == pytest.approx(np.zeros(len(kept)), abs=1e-9)


@given(seed=st.integers(0, 50), terms=st.integers(2, 6))
def test_a_salience_is_what_the_model_loses_without_a_term(seed, terms):
    place = place_of(np.random.default_rng(seed).normal(size=terms), positive(seed, terms))
    second = np.array(place.second)
    ridge = 1e-3 * np.trace(second) / terms * np.eye(terms)
    for term, salience in enumerate(saliences(place)):
        lost = np.array(place.phi) - np.array(without(place, [term]).phi)
        assert lost @ (second + ridge) @ lost == pytest.approx(salience)


def test_plainly_without_leaves_the_others_as_they_are():
    left = plainly_without(place_of((0.3, 0.1, 0.5), positive(0, 3)), [1])
    assert (left.phi, left.support) == ((0.3, 0.0, 0.5), (0, 2))


def test_where_no_votes_were_cast_nothing_is_taken_over():
    """As of a rule that took no step: terms leave plainly, and the largest stays longest."""
    place = Place((0, 1, 2), (0.3, 0.1, 0.5))
    assert without(place, [1]) == plainly_without(place, [1]) == Place((0, 2), (0.3, 0.0, 0.5))
    assert np.argsort(saliences(place)).tolist() == [1, 0, 2]


# --- joining -------------------------------------------------------------------------------------


def test_what_the_rule_can_do_itself_promises_nothing_and_what_is_alike_counts_once():
    draw = np.random.default_rng(0)
    own, new, useless = (draw.normal(size=64) for _ in range(3))
    new += 0.8
    gradients = np.stack([own, 3 * own, new, new + 0.01 * useless, useless], axis=1)
    rule = Place((0,), (0.01, 0.0, 0.0, 0.0, 0.0))
    first, *others = promises(rule, [1, 2, 3, 4], gradients)
    assert first.term in (2, 3)
    assert not {2, 3} & {each.term for each in others}
    agreement = {each.term: abs(each.agreement) for each in (first, *others)}
    assert agreement[first.term] > 3 * max(agreement.get(4, 0.0), agreement.get(1, 0.0))


def test_a_rule_that_moves_next_to_nothing_takes_over_no_more():
    """Its own terms' part in a step is a share of a derivative, which was 1e12 of one that is 0."""
    draw = np.random.default_rng(0)
    gradients = np.stack([1e-12 * draw.normal(size=64), 1 + draw.normal(size=64)], axis=1)
    (found,) = promises(Place((0,), (0.01, 0.0)), [1], gradients)
    assert abs(found.direction[0]) < 1e-3 * abs(found.direction[1])


@settings(deadline=None)
@given(seed=st.integers(0, 100), scale=st.floats(1e-3, 1e3), terms=st.integers(2, 6))
def test_a_promise_goes_down_and_the_order_of_candidates_does_not_count(seed, scale, terms):
    draw = np.random.default_rng(seed)
    gradients = scale * (draw.normal(size=(32, terms)) + draw.normal(size=terms))
    rule = Place((0,), (0.01,) + (0.0,) * (terms - 1))
    found = promises(rule, range(1, terms), gradients)
    again = promises(rule, range(terms - 1, 0, -1), gradients)
    assert [each.term for each in found] == [each.term for each in again]
    votes = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    for each in found:
        assert (votes @ np.array(each.direction)).mean() < 0


def test_a_candidate_that_is_not_finite_promises_nothing():
    gradients = np.stack([np.ones(8), np.full(8, np.nan), np.full(8, np.inf)], axis=1)
    assert promises(Place((0,), (0.01, 0.0, 0.0)), [1, 2], gradients) == []


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_useless_terms_join_as_seldom_as_is_said(level):
    """Steps whose gain on any lifetime is chance: in so many rounds does any of five join."""
    effort = Effort(ranking_tasks=16, common_tasks=2)
    means = means_of(Bowl((0.0,) * 6, (1.0,) * 6), effort=effort)
    found = [Promise(term, 1.0, (0.0,) * 6) for term in range(1, 6)]
    joined, rounds = 0, 200

    def chance(number):
        def one(label, seeds):
            draw = np.random.default_rng([number, *map(ord, label)])
            losses = tuple(1 + 0.1 * draw.normal(size=len(seeds)))
            return Scores(seeds, losses, losses, losses, (False,) * len(seeds))

        return lambda rules, seeds: [one(label, seeds) for label in rules]

    for number in range(rounds):
        found_now = judge(
            replace(means, measure=chance(number)),
            "round",
            Place((0,), (0.01,) + (0.0,) * 5),
            found,
            level,
        )
        joined += any(each.joins for each in found_now)
    # Three standard errors of a binomial above the level.
    assert joined / rounds < level + 3 * (level * (1 - level) / rounds) ** 0.5


# --- the whole course ----------------------------------------------------------------------------

EFFORT = Effort(common_tasks=64, ranking_tasks=32, refit_steps=4, final_refits=3, final_steps=4)
#: Two terms beside the reference matter; the gain is theirs.
WORLD = Bowl((0.03, -0.02, 0.0, 0.015, 0.0), (900.0, 900.0, 500.0, 900.0, 300.0), jitter=0.004)
AIMS = Aims(starts=1, steps=30, l1=0.0, parsimony=0.05, against_reference=True)


def opening(means, terms=5, **other):
    """At the reference, with so many terms."""
    return Opening(Place((0,), means.setting.start), tuple(range(terms)), **other)


def test_a_pursuit_finds_the_terms_that_matter_and_their_coefficients():
    means = means_of(WORLD, effort=EFFORT, start=0.03)
    found = pursue(means, AIMS, opening(means))
    assert sorted(found.chosen.place.support) == [0, 1, 3]
    assert found.coefficients.theta == pytest.approx((0.03, -0.02, 0, 0.015, 0), abs=0.004)
    sizes = [ranked.entry.terms for ranked in found.hall if ranked.behind.mean == 0]
    assert sizes == sorted(sizes)
    assert {1, 2, 3} <= set(sizes)


@pytest.mark.parametrize(("simplest", "tested"), [((), {1, 3}), ((1, 2), {3})])
def test_a_large_pool_gives_the_same_by_rounds(simplest, tested):
    means = means_of(WORLD, effort=EFFORT, start=0.03)
    found = pursue(means, AIMS, opening(means, simplest=simplest))
    assert sorted(found.chosen.place.support) == [0, 1, 3]
    joined = {each.term for one in found.rounds for each in one.tested if each.joins}
    assert joined == tested


def test_departures_of_a_later_round_end_where_an_earlier_one_has_a_better_rule():
    def entry(terms, losses):
        seeds = tuple(range(len(losses)))
        outcomes = Scores(seeds, losses, (0.5,) * 3, (2.0,) * 3, (False,) * 3)
        return course.Entry(Place(tuple(range(terms)), (0.01,) * terms), (0.01,) * terms, outcomes)

    short, long = entry(2, (0.50, 0.61, 0.72)), entry(4, (0.1, 0.2, 0.3))
    worse, near = entry(3, (0.70, 0.80, 0.92)), entry(3, (0.45, 0.70, 0.70))
    assert course._outdone(worse, [short, long])
    assert not course._outdone(near, [short, long])
    assert not course._outdone(worse, [long])  # longer: no rival
    assert not course._outdone(worse, [])


def test_the_best_that_needs_less_is_in_the_hall_though_it_does_worse():
    def entry(terms, loss):
        losses = tuple(loss + 0.01 * n for n in range(4))
        outcomes = Scores(tuple(range(4)), losses, (0.5,) * 4, (2.0,) * 4, (False,) * 4)
        return course.Entry(Place(terms, (0.01,) * 3), (0.01,) * 3, outcomes)

    of = {0: frozenset(), 1: frozenset({"dendritic"}), 2: frozenset({"global"})}
    best, plain, other = entry((0, 1), 0.3), entry((0,), 0.9), entry((1,), 0.5)
    third = entry((2,), 0.8)
    entries = [best, plain, other, third]
    needs = lambda terms: frozenset().union(*(of[t] for t in terms))  # noqa: E731
    found = course.hall_of_fame(entries, needs)
    assert [ranked.entry for ranked in found] == [other, third, plain, best]
    assert [ranked.entry for ranked in course.hall_of_fame(entries)] == [other, best]


def test_where_nothing_else_pays_the_reference_is_the_answer():
    alone = Bowl((0.03, 0.0, 0.0), (900.0, 500.0, 300.0), jitter=0.004)
    means = means_of(alone, effort=EFFORT, start=0.03)
    found = pursue(means, AIMS, opening(means, 3))
    assert found.chosen.place.support == (0,)


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(
    order=st.permutations(range(5)),
    powers=st.lists(st.integers(-9, 9), min_size=5, max_size=5),
    seed=st.integers(0, 5),
    rounds=st.booleans(),
)
def test_order_and_powers_of_two_permute_and_rescale_the_answer_to_the_bit(
    order, powers, seed, rounds
):
    """The keys say what terms are; their places in the pool and their units say nothing."""
    keys, factors = "abcde", tuple(2.0**power for power in powers)
    plain = means_of(WORLD, effort=EFFORT, start=0.03, seed=seed, keys=tuple(keys))
    simplest = () if rounds else None
    one = pursue(plain, AIMS, opening(plain, simplest=simplest))
    world = Otherwise(WORLD, tuple(order), factors)
    names, scales = tuple(keys[i] for i in order), tuple(1 / factor for factor in factors)
    means = means_of(world, effort=EFFORT, start=0.03, seed=seed, keys=names, scales=scales)
    at = order.index(0)
    means = replace(means, setting=replace(means.setting, reference=at))
    start = tuple(0.03 if place == at else 0.0 for place in range(5))
    other = pursue(means, AIMS, Opening(Place((at,), start), tuple(range(5)), simplest))
    back = [order.index(term) for term in range(5)]
    assert tuple(other.coefficients.theta[i] * factors[i] for i in back) == one.coefficients.theta
    assert [order[t] for t in other.chosen.place.support] == [*one.chosen.place.support]
    assert [ranked.entry.outcomes.loss for ranked in other.hall] == [
        ranked.entry.outcomes.loss for ranked in one.hall
    ]


def test_of_few_terms_the_way_is_chosen_after_its_steps():
    """Both ways are in the hall, so that what does as well is seen."""
    means = means_of(WORLD, effort=EFFORT, start=0.03)
    found = pursue(means, AIMS, opening(means))
    two = [ranked for ranked in found.hall if ranked.entry.terms == 2]
    assert sorted(two[0].entry.place.support) == [0, 1]


# --- growing -------------------------------------------------------------------------------------


def compared_at(means, phi):
    place = Place(tuple(term for term, x in enumerate(phi) if x), phi)
    return compared(means, f"compared {phi}", place)


def test_small_rules_grow_by_what_they_miss_most_whatever_elimination_left():
    means = means_of(WORLD, effort=EFFORT, start=0.03, gain=0.5)
    alone = compared_at(means, (0.03, 0.0, 0.0, 0.0, 0.0))
    left = compared_at(means, (0.03, 0.0, 0.0, 0.015, 0.0))  # without the term that matters more
    first, second = grow(means, [alone, left], alone.place, range(5), 3, EFFORT.refit_steps)
    assert first.base is alone
    assert {entry.place.support for entry in first.entries} == {(0, 1)}
    best = min(first.entries, key=lambda entry: entry.loss)
    assert best.loss < left.loss
    assert second.base is best
    assert {entry.place.support for entry in second.entries if entry.terms == 3} == {(0, 1, 3)}
    best = min(second.entries, key=lambda entry: entry.loss)
    assert best.theta == pytest.approx((0.03, -0.02, 0, 0.015, 0), abs=0.005)


def test_what_is_known_or_gains_nothing_is_not_grown_to():
    means = means_of(WORLD, effort=EFFORT, start=0.03, gain=0.5)
    known = [
        compared_at(means, (0.03, 0.0, 0.0, 0.0, 0.0)),
        compared_at(means, (0.03, -0.02, 0.0, 0.0, 0.0)),
        compared_at(means, (0.03, -0.02, 0.0, 0.015, 0.0)),
    ]
    grown = [*grow(means, known, known[0].place, range(5), 4, EFFORT.refit_steps)]
    assert [each.base for each in grown] == known
    assert {1, 3} <= {each.term for each in grown[0].tested if each.gain > 0}
    assert not any(each.entries for each in grown)


def test_of_two_that_gain_alike_both_take_steps_and_what_falls_behind_does_not_go_on():
    world = replace(WORLD, best=(0.03, -0.02, 0.0, 0.018, 0.0))
    means = means_of(world, effort=EFFORT, start=0.03, gain=0.5)
    alone = compared_at(means, (0.03, 0.0, 0.0, 0.0, 0.0))
    (found,) = grow(means, [alone], alone.place, range(5), 2, EFFORT.refit_steps)
    assert [entry.place.support for entry in found.entries].count((0, 1)) == 2
    assert {entry.place.support for entry in found.entries} == {(0, 1), (0, 3)}
    whole = compared_at(means, (0.03, -0.02, 0.0, 0.018, 0.0))
    better = replace(whole, place=replace(whole.place, support=(0, 4)))  # no two terms get there
    (found,) = grow(means, [alone, better], alone.place, range(5), 2, EFFORT.refit_steps)
    assert sorted(entry.place.support for entry in found.entries) == [(0, 1), (0, 3)]


def test_what_a_joined_term_makes_needless_leaves_again():
    means = means_of(WORLD, effort=EFFORT, start=0.03, gain=0.5)
    known = [
        compared_at(means, (0.03, 0.0, 0.0, 0.0, 0.0)),
        compared_at(means, (0.03, 0.02, 0.0, 0.0, 0.0)),  # as if elimination had led it astray
        compared_at(means, (0.03, 0.0, 0.0, 0.0, 0.001)),
    ]
    first, second = grow(means, known, known[0].place, range(5), 3, EFFORT.refit_steps)
    assert not first.entries
    assert second.base is known[2]
    sizes = {entry.place.support: entry.loss for entry in second.entries}
    assert sizes[0, 1] < known[2].loss
    assert (0, 1, 4) in sizes


def test_a_rule_that_is_hardly_too_dear_settles_before_it_is_passed_over():
    world = replace(WORLD, best=(0.03, -0.02, 0.0, 0.006, 0.0))
    means = means_of(world, effort=EFFORT, start=0.03, gain=0.5)
    alone = compared_at(means, (0.03, 0.0, 0.0, 0.0, 0.0))
    two = compared_at(means, (0.025, -0.015, 0.0, 0.0, 0.0))
    three = compared_at(means, (0.03, -0.02, 0.0, 0.006, 0.0))
    gives_away = (two.loss - three.loss) / (alone.loss - three.loss)

    def settled(parsimony, rules=(alone, two, three)):
        return course._settled_before_passed_over(means, rules, alone, parsimony)

    ((found, coefficients),) = settled(gives_away / 1.05)
    assert coefficients.theta == found.theta
    assert found.place.support == (0, 1)
    assert found.loss < two.loss
    assert settled(gives_away / 1.2) == []  # by far
    assert settled(gives_away * 1.1) == []  # it is the choice
    assert settled(0.99, (alone, three)) == []  # the reference has its best already


# --- settling ------------------------------------------------------------------------------------


def test_coefficients_settle_at_the_least_mean_loss_from_anywhere_near():
    means = means_of(WORLD, effort=EFFORT, start=0.03)
    place = Place((0, 1, 3), (0.026, -0.016, 0.0, 0.017, 0.0), ((1.0, 0, 0), (0, 1, 0), (0, 0, 1)))
    settled = settle(means, "settling", place)
    assert settled.theta == pytest.approx((0.03, -0.02, 0, 0.015, 0), abs=0.002)
    assert settled.intervals[2] == (0, 0)


@pytest.mark.slow
def test_intervals_hold_the_least_as_often_as_they_say():
    """Of 95 % of searches, for each coefficient; each search has lifetimes of its own."""
    best, held = (0.03, -0.02, 0.0, 0.015, 0.0), []
    identity = ((1.0, 0, 0), (0, 1, 0), (0, 0, 1))
    for seed in range(100):
        means = means_of(WORLD, effort=EFFORT, start=0.03, seed=seed)
        place = Place((0, 1, 3), (0.029, -0.019, 0.0, 0.016, 0.0), identity)
        intervals = settle(means, "settling", place).intervals
        held += [intervals[t][0] <= best[t] <= intervals[t][1] for t in (0, 1, 3)]
    # Three standard errors of a binomial below 95 %, were the coefficients independent.
    assert np.mean(held) > 0.95 - 3 * (0.95 * 0.05 / len(held)) ** 0.5


@given(seed=st.integers(0, 200), terms=st.integers(1, 5))
def test_the_least_within_a_ball_is_the_least(seed, terms):
    draw = np.random.default_rng(seed)
    slope, rows = draw.normal(size=terms), draw.normal(size=(terms, terms))
    curvature = rows + rows.T

    def value(x):
        return x @ slope + x @ curvature @ x / 2

    least = within_ball(slope, curvature)
    assert np.linalg.norm(least) <= 1 + 1e-9
    others = draw.normal(size=(200, terms))
    others *= draw.uniform(0, 1, size=(200, 1)) / np.linalg.norm(others, axis=1, keepdims=True)
    assert all(value(least) <= value(other) + 1e-9 for other in others)


# --- units ----------------------------------------------------------------------------------------


def test_units_that_mislead_are_measured_before_they_do():
    """In units a hundred times too small for the terms that matter no descent would reach them."""
    means = means_of(WORLD, effort=EFFORT, start=0.03)
    bad = (1.0, *(1e-2,) * (len(WORLD.names) - 1))
    seen = set()
    misled = replace(
        means.in_units(bad), on_compared=lambda place, theta, outcomes: seen.add(theta)
    )
    found = pursue(misled, AIMS, opening(means))
    assert sorted(found.chosen.place.support) == [0, 1, 3]
    # Whatever the units of its place, an entry has the coefficients that were run.
    assert seen >= {ranked.entry.theta for ranked in found.hall}


@pytest.mark.parametrize("better", [True, False])
def test_a_descent_that_goes_on_is_one_with_its_beginning_or_is_dropped(better):
    means = means_of(WORLD, effort=EFFORT, start=0.03)
    labels = []

    def descended(plan):
        labels.append(plan.label)
        found = descend(WORLD, replace(plan, steps=2))
        if ", on " not in plan.label or better:
            return found
        theta = tuple(5 * x for x in found.theta)
        return replace(found, theta=theta, phi=tuple(5 * x for x in found.phi))

    joint = descend_together(
        replace(means, descend=descended),
        replace(AIMS, starts=2),
        "",
        opening(means).reference,
        tuple(range(5)),
        compared(means, "reference", opening(means).reference),
    )
    assert labels[:2] == ["trial 0", "trial 1"]
    assert labels[2] in ("trial 0, on 1", "trial 1, on 1")
    on = int(labels[2][6])
    assert [start.label for start in joint.starts] == labels[:2]
    assert [start.steps for start in joint.starts] == [2 + 2 * (better and n == on) for n in (0, 1)]
    assert joint.begun[on].loss == min(entry.loss for entry in joint.begun)
    for entry in joint.begun:  # all in the units of the end
        assert entry.theta == pytest.approx(joint.means.theta(entry.place.phi), rel=1e-12)


def test_a_place_in_other_units_is_the_same_rule():
    place = Place((0, 2), (0.5, 0.0, -3.0), ((1.0, 0.0), (0.0, 1.0)), 0.1)
    old, new = (1.0, 0.0, 2.0), (1.0, 0.0, 0.25)
    other = turned(place, old, new)
    assert [x * s for x, s in zip(other.phi, new, strict=True)] == [0.5, 0.0, -6.0]
    assert (other.support, other.size) == (place.support, None)
    # Of a gradient by the second, an eighth: so is its share of a vote, and squares of 1/64.
    assert other.second == ((pytest.approx(64 / 65), 0.0), (0.0, pytest.approx(1 / 65)))
    assert turned(place, old, old) is place


def losing(limits):
    """Means of a world in which each term alone is tolerated up to a limit, in raw coefficients."""

    def measured(theta, seeds):
        bad = any(abs(x) > limit for x, limit in zip(theta[1:], limits, strict=True))
        loss = (3.0 if bad else 1.0,) * len(seeds)
        return Scores(
            tuple(seeds), loss, (0.5,) * len(seeds), (2.0,) * len(seeds), (bad,) * len(seeds)
        )

    means = means_of(WORLD, effort=EFFORT, start=0.03)
    return replace(
        means, measure=lambda rules, seeds: [measured(theta, seeds) for theta in rules.values()]
    )


def test_a_span_is_how_far_a_term_goes_alone():
    means = losing((0.03, 2.0, 0.001, *(1.0,) * (len(WORLD.names) - 4)))
    scales = in_spans(means, "spans", opening(means).reference, range(len(WORLD.names)), {0})
    assert scales[0] == 1.0  # the reference's own
    spans = [scale / 0.5 for scale in scales[1:4]]
    assert spans == [1.0, 64.0, 1 / 64]


def test_every_term_of_the_reference_keeps_its_unit():
    """Else it would be another rule, and could be taken for the answer."""
    means = losing((0.03, 2.0, 0.001, *(1.0,) * (len(WORLD.names) - 4)))
    terms = range(len(WORLD.names))
    scales = in_spans(means, "spans", opening(means).reference, terms, {0, 1})
    assert scales[:2] == means.setting.scales[:2]
    assert scales[2] == means.setting.scales[2] * 32


@pytest.mark.parametrize(("nowhere", "starts"), [(0.0, 2), (np.inf, 1)])
def test_where_units_by_spans_lead_nowhere_a_descent_has_those_by_size(
    nowhere, starts, monkeypatch
):
    means = means_of(WORLD, effort=EFFORT, start=0.03)
    small = tuple(s if term == 0 else 1e-7 * s for term, s in enumerate(means.setting.scales))

    def spans(means, label, place, terms, reference):
        return small if label == "spans" else means.setting.scales

    monkeypatch.setattr(joint, "in_spans", spans)
    monkeypatch.setattr(joint, "NOWHERE", nowhere)
    place = opening(means).reference
    found = joint.descend_together(
        means, AIMS, "", place, tuple(range(5)), compared(means, "alone", place)
    )
    assert len(found.starts) == len(found.begun) == starts
    best = min(found.begun, key=lambda entry: entry.loss)
    # In units that are as good as nothing, coefficients of the others stay what they were.
    close = best.theta == pytest.approx((0.03, -0.02, 0, 0.015, 0), abs=0.004)
    assert close == (starts == 2)


def test_a_weak_rule_tells_nothing_of_units():
    means = losing((0.03,) * (len(WORLD.names) - 1))
    weak = lambda rules, seeds: [  # noqa: E731
        replace(each, initial_loss=(1.3,) * len(seeds)) for each in means.measure(rules, seeds)
    ]
    terms = range(len(WORLD.names))
    at = opening(means).reference
    assert in_spans(replace(means, measure=weak), "spans", at, terms, {0}) == means.setting.scales
    assert in_spans(means, "spans", at, terms, {0}) != means.setting.scales
