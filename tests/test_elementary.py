"""The vector functions of generated kernels against NumPy in more digits than they have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from rulesearch.kernels.fused.elementary import exponential, log1p
from rulesearch.kernels.fused.steps import softplus
from rulesearch.kernels.fused.vectors import BYTES, load, pointer, store

DTYPES = (np.float32, np.float64)


@njit
def exponentials(x, out):
    for j in range(0, len(x), BYTES // x.itemsize):
        store(pointer(out, 0), j, exponential(load(pointer(x, 0), j)))


@njit
def logarithms(x, out):
    for j in range(0, len(x), BYTES // x.itemsize):
        store(pointer(out, 0), j, log1p(load(pointer(x, 0), j)))


@njit
def activities(n, z, y, slope, beta):
    softplus(n, pointer(z, 0), pointer(y, 0), pointer(slope, 0), beta, z)


def padded(values, dtype):
    values = np.asarray(values, dtype)
    lanes = BYTES // values.itemsize
    return np.concatenate([values, np.zeros(-len(values) % lanes, dtype)])


def called(function, values, dtype):
    x = padded(values, dtype)
    out = np.empty_like(x)
    function(x, out)
    return out[: len(values)], x[: len(values)].astype(np.longdouble)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_is_within_two_units_in_the_last_place(dtype):
    least = np.log(float(np.finfo(dtype).tiny))
    values = np.concatenate([np.linspace(least * 0.999, 0, 40_001), -np.geomspace(1e-30, 1, 999)])
    found, x = called(exponentials, values, dtype)
    assert np.max(np.abs(found / np.exp(x) - 1)) <= 2 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_at_its_ends(dtype):
    found, _ = called(exponentials, [0, -0.0, -1e4, -1e30, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(found, np.array([1, 1, 0, 0, 0, np.nan], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_is_within_two_units_in_the_last_place(dtype):
    values = np.concatenate([np.linspace(1e-6, 1, 40_001), np.geomspace(1e-30, 1, 999)])
    found, x = called(logarithms, values, dtype)
    assert np.max(np.abs(found / np.log1p(x) - 1)) <= 2 * np.finfo(dtype).eps
    found, _ = called(logarithms, [0, np.nan], dtype)
    np.testing.assert_array_equal(found, np.array([0, np.nan], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    z=st.lists(st.floats(-100, 100, width=32) | st.just(float("nan")), min_size=1, max_size=40),
    beta=st.sampled_from([0.5, 1.0, 10.0]),
)
def test_softplus_and_its_slope(dtype, z, beta):
    x = padded(z, dtype)
    y, slope = np.full_like(x, 7), np.full_like(x, 7)
    activities(len(z), x, y, slope, dtype(beta))
    scaled = np.asarray(z, np.longdouble) * beta
    scaled[np.isnan(scaled)] = 0  # looked at apart
    eps = np.finfo(dtype).eps
    # βz is rounded once, which the exponential makes a relative error of |βz|/2 units.
    bound = (np.abs(scaled) / 2 + 6) * eps
    tiny = float(np.finfo(dtype).tiny) * 2
    for got, expected in (
        (y[: len(z)], np.logaddexp(0, scaled) / beta),
        (slope[: len(z)], 1 / (1 + np.exp(-scaled))),
    ):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(z))
        close = np.abs(got - expected) <= bound * expected + tiny / beta
        assert np.all(close | np.isnan(z))
    assert not y[len(z) :].any()
    assert not slope[len(z) :].any()
