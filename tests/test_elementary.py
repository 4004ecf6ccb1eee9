"""The vector functions of generated kernels against NumPy in more digits than they have."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numba import njit

from rulesearch.kernels.fused import elementary, steps
from rulesearch.kernels.fused.elementary import exponential, log1p
from rulesearch.kernels.fused.steps import FLAGS, softplus
from rulesearch.kernels.fused.vectors import BYTES, load, pointer, store, store_totals

DTYPES = (np.float32, np.float64)
#: Function of a vector -> its reference, and where it is compared.
FUNCTIONS = {
    "exp": (np.exp, (-87, 88)),
    "tanh": (np.tanh, (-30, 30)),
    "log": (np.log, (1e-30, 1e9)),
    "atan": (np.arctan, (-1e4, 1e4)),
    "sin": (np.sin, (-50, 50)),
    "cos": (np.cos, (-50, 50)),
}


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
@example(z=[-71.0], beta=10.0)  # just below the least normal number
@example(z=[-8.75], beta=10.0)
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
    # An exponential below the least normal number is 0: the slope, and β times the activity.
    for got, expected, lost in (
        (y[: len(z)], np.logaddexp(0, scaled) / beta, tiny / beta),
        (slope[: len(z)], 1 / (1 + np.exp(-scaled)), tiny),
    ):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(z))
        close = np.abs(got - expected) <= bound * expected + lost
        assert np.all(close | np.isnan(z))
    assert not y[len(z) :].any()
    assert not slope[len(z) :].any()


def of_vectors(name):
    """A compiled function of arrays of whole vectors, from one of a vector."""
    function = getattr(elementary, f"vector_{name}")

    @njit(**FLAGS)  # as generated kernels are compiled
    def called_for_all(x, out):
        for j in range(0, len(x), BYTES // x.itemsize):
            store(pointer(out, 0), j, function(load(pointer(x, 0), j)))

    return called_for_all


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_two_units_in_the_last_place(name, dtype):
    expected, (low, high) = FUNCTIONS[name]
    small = np.geomspace(1e-30, 4, 4_001)
    values = np.concatenate([np.linspace(low, high, 40_001), small, -small])
    values = values[(values >= low) & (values <= high)]
    found, x = called(of_vectors(name), values, dtype)
    right = expected(x)
    tiny = float(np.finfo(dtype).tiny)
    assert np.all(np.abs(found - right) <= 2 * np.finfo(dtype).eps * np.abs(right) + tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*FUNCTIONS, "erf", "sign", "heaviside", "reciprocal"])
def test_functions_at_their_ends_are_torch_s(name, dtype):
    ends = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e4, -1e4]
    found, _ = called(of_vectors(name), ends, dtype)
    x = torch.tensor(np.asarray(ends, dtype))
    mine = {
        "heaviside": lambda x: 0.5 * (1 + torch.sign(x)),
        # A zero has no sign, in a divisor too.
        "reciprocal": lambda x: torch.where(x == 0, np.inf, 1 / x),
    }
    expected = mine.get(name, getattr(torch, name, None))(x).numpy()
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps, atol=1e-37)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("large", [0.49, 0.51, 3.0])
def test_tanh_does_not_hang_on_how_large_its_neighbours_are_by_more_than_rounding(large, dtype):
    # A vector with one large argument takes another way than one of small arguments alone.
    values = np.linspace(-0.5, 0.5, 16)
    alone, _ = called(of_vectors("tanh"), values, dtype)
    beside, _ = called(of_vectors("tanh"), np.where(np.arange(16) == 3, large, values), dtype)
    others = np.arange(16) != 3
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(beside[others], alone[others], rtol=4 * eps)


@pytest.mark.parametrize("name", ["maximum", "minimum", "product", "power"])
def test_functions_of_two_are_those_of_numbers(name):
    function = getattr(elementary, f"vector_{name}")

    @njit(**FLAGS)
    def of_two(x, y, out):
        for j in range(0, len(x), BYTES // x.itemsize):
            first, second = load(pointer(x, 0), j), load(pointer(y, 0), j)
            store(pointer(out, 0), j, function(first, second))

    numbers = {
        "maximum": steps.maximum,
        "minimum": steps.minimum,
        "product": steps.product,
        "power": njit(lambda a, b: a**b),
    }
    values = [-2.0, -0.0, 0.0, 0.5, 3.0, np.nan, np.inf, -np.inf]
    x, y = (np.array(v) for v in np.meshgrid(values, values))
    x, y = x.ravel(), y.ravel()
    out = np.empty_like(x)
    of_two(x, y, out)
    one = njit(lambda a, b: numbers_of(a, b))
    numbers_of = numbers[name]
    np.testing.assert_array_equal(out, [one(a, b) for a, b in zip(x, y, strict=True)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_four_totals_go_to_their_places(dtype):
    lanes = BYTES // np.dtype(dtype).itemsize

    @njit(**FLAGS)
    def totals(x, out):
        rows = load(pointer(x, 0), 0), load(pointer(x, lanes), 0)
        more = load(pointer(x, 2 * lanes), 0), load(pointer(x, 3 * lanes), 0)
        store_totals(pointer(out, 0), 3, 0, 5, 2, rows[0], rows[1], more[0], more[1])

    x = np.arange(4 * lanes).astype(dtype)  # whole numbers, whose sums are exact
    out = np.full(6, -1, dtype)
    totals(x, out)
    first, second, third, fourth = x.reshape(4, lanes).sum(1)
    np.testing.assert_array_equal(out, np.array([second, -1, fourth, first, -1, third], dtype))
