"""sigmoid, relu and softplus: values and derivatives in every target against many digits."""

import math
from functools import cache

import mpmath
import numpy as np
import pytest
import sympy
import torch
from numba import njit

from rulesearch.kernels.fused.steps import heaviside, maximum, minimum, sign
from rulesearch.notation import W
from rulesearch.operators import COMMON, derivative, spell

ARGUMENTS = (0.0, 1e-30, -1e-30, 0.5, -0.5, 20.0, -20.0, 100.0, -100.0, 1e4, -1e4)
DTYPES = {"float32": (np.float32, torch.float32), "float64": (np.float64, torch.float64)}


def exact(name, x):
    """Value and derivative, to as many digits as it takes; half a step of relu at 0."""
    with mpmath.workdps(60):
        x = mpmath.mpf(x)
        up, down = 1 / (1 + mpmath.exp(-x)), 1 / (1 + mpmath.exp(x))
        return {
            "sigmoid": (up, up * down),
            "relu": (max(x, 0), (1 + mpmath.sign(x)) / 2),
            "softplus": (mpmath.log1p(mpmath.exp(x)), up),
        }[name]


@cache
def compiled(source):
    names = {"math": math, "sign": sign, "heaviside": heaviside}
    names |= {"maximum": maximum, "minimum": minimum, "njit": njit}
    return eval(f"njit(lambda W: {source})", names)


def computed(expression, x, target, dtype):
    of_numpy, of_torch = DTYPES[dtype]
    source = spell(expression, target)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        if target == "torch":
            value = eval(source, {"torch": torch}, {"W": torch.tensor([x], dtype=of_torch)})
            assert value.dtype == of_torch
            return value.numpy()
        if target == "numpy":
            value = np.asarray(eval(source, {"numpy": np}, {"W": np.array([x], of_numpy)}))
            assert value.dtype == of_numpy
            return value
    return np.array([compiled(source)(of_numpy(x))])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", ["numpy", "torch", "numba"])
@pytest.mark.parametrize("name", COMMON)
def test_values_and_derivatives(name, target, dtype):
    call = COMMON[name](W)
    limits = np.finfo(dtype)
    for x in ARGUMENTS:
        x = float(np.dtype(dtype).type(x))
        for of_what, (expression, true) in enumerate(
            zip((call, derivative(call, W)), exact(name, x), strict=True)
        ):
            got = float(computed(expression, x, target, dtype)[0])
            # Far below 0 softplus is what 1 can be told apart by.
            least = limits.eps if name == "softplus" and not of_what else limits.tiny
            assert abs(got - float(true)) <= 4 * limits.eps * float(true) + float(least), (x, got)


@pytest.mark.parametrize("name", COMMON)
def test_the_derivative_is_that_of_sympy_apart_from_the_step(name):
    x = sympy.Symbol("x", positive=True)
    for sign_of in (1, -1):
        call = COMMON[name](W)
        slope = derivative(call, W).xreplace({W: sign_of * x})
        expected = call.row.definition(sign_of * x).diff(x) * sign_of
        assert sympy.simplify(slope - expected) == 0
