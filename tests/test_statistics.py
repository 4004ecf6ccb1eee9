import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from rulesearch import statistics
from rulesearch.lifetime import Lifetimes
from rulesearch.statistics import (
    Scores,
    bootstrap_interval,
    clearly_below,
    compare,
    measure,
    summarise,
    t_interval,
)

OUTPUTS = 20


def noisy(theta, seeds, *, gradient=(), observe=()):
    """A parabola whose minimum and height differ by lifetime."""
    noise = torch.from_numpy(
        np.stack([np.random.default_rng(seed).normal(size=2) for seed in seeds])
    )
    loss = 1 + 0.3 * noise[:, 0] ** 2 + (theta[0] - 0.02 - 0.003 * noise[:, 1]) ** 2 / 1e-3
    return Lifetimes(loss=loss, accuracy=torch.exp(-loss), initial_loss=loss + 1)


def test_diverged_lifetimes_count_and_are_counted():
    def odd(theta, seeds, *, gradient=(), observe=()):
        loss = torch.tensor([math.nan, math.inf, 9.0, 0.5], dtype=torch.float64)
        return Lifetimes(loss=loss, accuracy=loss, initial_loss=torch.full((4,), 2.5))

    outcomes = measure(odd, (0.0,), (1, 2, 3, 4), outputs=10)
    assert outcomes.loss == (2.5,) * 3 + (0.5,)
    assert outcomes.accuracy == (0.1, 0.1, 0.1, 0.5)
    found = summarise(measure(odd, (0.0,), (1, 2, 3, 4), outputs=10))
    assert (found.lifetimes, found.diverged) == (4, 3)
    assert found.accuracy == pytest.approx(0.2)
    assert found.accuracy_interval[0] >= 0.1


def test_batches_do_not_matter():
    seeds = tuple(range(10))
    whole = measure(noisy, (0.01,), seeds, OUTPUTS)
    assert measure(noisy, (0.01,), seeds, OUTPUTS, batch=3) == whole


def test_differences_are_paired():
    seeds = tuple(range(200))
    first, second = (measure(noisy, (x,), seeds, OUTPUTS) for x in (0.01, 0.0101))
    paired = compare(first, second)
    differences = np.array(first.loss) - np.array(second.loss)
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert paired.mean == pytest.approx(differences.mean())
    assert paired.interval == pytest.approx((low, high))
    assert compare(first, second, "accuracy").mean == pytest.approx(
        np.mean(first.accuracy) - np.mean(second.accuracy)
    )
    with pytest.raises(ValueError, match="same seeds"):
        compare(first, replace(second, seeds=seeds[::-1]))


def test_an_interval_needs_two_values():
    for interval in (t_interval, bootstrap_interval):
        with pytest.raises(ValueError, match="two values or more, not 1"):
            interval([1.0])


def coverage(interval, draw, truth, repeats):
    rng = np.random.default_rng(0)
    ends = [interval(draw(rng).tolist()) for _ in range(repeats)]
    return sum(low <= truth <= high for low, high in ends)


def test_coverage_of_student_intervals():
    hits = coverage(t_interval, lambda rng: rng.normal(3.0, 2.0, 8), 3.0, 1000)
    # Exact for normal values: a binomial count, outside these bounds once in 10,000.
    low, high = stats.binom.ppf([5e-5, 1 - 5e-5], 1000, 0.95)
    assert low <= hits <= high


def test_coverage_of_bootstrap_intervals(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    hits = coverage(bootstrap_interval, lambda rng: rng.exponential(1.0, 80), 1.0, 200)
    # Not exact in a skewed sample of 80: between 0.90 and 0.98, each once in 10,000.
    assert stats.binom.ppf(1e-4, 200, 0.90) <= hits <= stats.binom.ppf(1 - 1e-4, 200, 0.98)


@pytest.mark.parametrize("tasks", [50, 200])
@pytest.mark.parametrize(
    ("draw", "rate"),
    [
        (lambda rng, n: rng.normal(size=n), 0.01),
        (lambda rng, n: 1 - rng.exponential(size=n), 0.01),
        (lambda rng, n: rng.exponential(size=n) - 1, 0.033),
        (lambda rng, n: rng.standard_t(3, size=n), 0.01),
    ],
    ids=["normal", "skewed left", "skewed right", "heavy tails"],
)
def test_what_costs_as_much_as_the_bound_is_seldom_called_below_it(draw, rate, tasks):
    rng = np.random.default_rng(1)
    seeds, repeats = tuple(range(tasks)), 2000
    zero = outcomes_of(seeds, np.zeros(tasks))
    hits = sum(
        clearly_below(outcomes_of(seeds, 0.3 + draw(rng, tasks)), zero, 0.3) for _ in range(repeats)
    )
    # A binomial count, above this once in 10,000 if the rate is the one stated.
    assert hits <= stats.binom.ppf(1 - 1e-4, repeats, rate)


def outcomes_of(seeds, loss):
    count = len(seeds)
    return Scores(seeds, tuple(loss.tolist()), (0.5,) * count, (3.0,) * count, (False,) * count)


def test_what_costs_much_less_than_the_bound_is_mostly_called_below_it():
    rng = np.random.default_rng(2)
    seeds = tuple(range(200))
    zero = outcomes_of(seeds, np.zeros(200))
    hits = sum(
        clearly_below(outcomes_of(seeds, rng.normal(size=200)), zero, 0.3) for _ in range(1000)
    )
    # Power: the limit lies 2.34 standard errors above the mean, the bound 4.24 above zero.
    expected = stats.nct.cdf(-stats.t.ppf(0.99, 199), 199, -0.3 * math.sqrt(200))
    low, high = stats.binom.ppf([5e-5, 1 - 5e-5], 1000, expected)
    assert low <= hits <= high


def test_an_interval_may_hold_for_several():
    values = [1.0, 2.0, 4.0, 3.5, 2.2]
    low, high = t_interval(values, statistics.for_all(9))
    alone = t_interval(values)
    assert low < alone[0] < alone[1] < high
    half = stats.sem(values) * stats.t.ppf(1 - 0.05 / 9 / 2, len(values) - 1)
    assert high - low == pytest.approx(2 * half)
