"""exp and log1p of a vector at a time, for the activations of generated kernels.

LLVM has these functions for vectors in name only: it calls the C library once for every lane, and
a fifth of a forward lifetime went there. Both here are a reduction of the argument and a Taylor
series as long as the working dtype needs: the first term left out is below a quarter of a unit in
the last place. NaN stays NaN.
"""

# Numba resolves the annotations of intrinsics itself, so theirs stay out of this module.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,type-arg"
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import math
from itertools import takewhile
from typing import Any

import numpy as np
import sympy
from llvmlite import ir

from rulesearch.kernels.fused.vectors import Vector, constant, intrinsic

#: log 2 in two parts: few bits, so that small multiples are exact, and what is left.
_LOG2 = 355 / 512
_LOG2_REST = float((sympy.log(2) - sympy.Rational(355, 512)).evalf(30))
#: Above it, log1p works from (u - 1)/2.
_FAR = math.sqrt(2) - 1


def series_lengths(bits: int) -> tuple[int, int]:
    """Terms of the series of exp on [-log(2)/2, log(2)/2] and of atanh(s)/s on |s| ≤ 3 - √8.

    Args:
        bits: of the working dtype, 32 or 64.

    Example:
        >>> series_lengths(32), series_lengths(64)
        ((8, 5), (14, 10))
    """
    least = _info(bits).eps / 4
    half, s = math.log(2) / 2, 3 - math.sqrt(8)
    exp = takewhile(lambda n: half**n / math.factorial(n) > least, range(30))
    atanh = takewhile(lambda n: s ** (2 * n) / (2 * n + 1) > least, range(30))
    return len(list(exp)), len(list(atanh))


def _info(bits: int) -> Any:
    return np.finfo(np.float32 if bits == 32 else np.float64)


@intrinsic
def exponential(typingctx, a):
    """Lane by lane, exp(a) of a ≤ 0; 0 where the result would be below the normal numbers."""

    def codegen(context, builder, signature, arguments):
        x = arguments[0]
        bits, info = a.element.bitwidth, _info(a.element.bitwidth)
        whole = a.call(builder, "rint", a.llvm, [builder.fmul(x, constant(a, 1 / math.log(2)))])
        # exp(x) = 2ⁿ·exp(r), r = x - n·log 2
        r = _fma(a, builder, whole, constant(a, -_LOG2), x)
        r = _fma(a, builder, whole, constant(a, -_LOG2_REST), r)
        terms = [1 / math.factorial(n) for n in range(series_lengths(bits)[0])]
        series = _polynomial(a, builder, r, terms)
        # 2ⁿ from its bits. What has no such number is not converted, but becomes 0 or NaN below.
        least = math.log(float(info.tiny))
        normal = builder.fcmp_ordered(">=", x, constant(a, least))
        integers = ir.VectorType(ir.IntType(bits), a.llvm.count)
        n = builder.fptosi(builder.select(normal, whole, constant(a, 0)), integers)
        bias = ir.Constant(integers, [info.maxexp - 1] * a.llvm.count)
        places = ir.Constant(integers, [info.nmant] * a.llvm.count)
        scale = builder.bitcast(builder.shl(builder.add(n, bias), places), a.llvm)
        small = builder.fcmp_ordered("<", x, constant(a, least))
        return builder.select(small, constant(a, 0), builder.fmul(series, scale))

    return a(a), codegen


@intrinsic
def log1p(typingctx, a):
    """Lane by lane, log(1 + a) of 0 ≤ a ≤ 1."""

    def codegen(context, builder, signature, arguments):
        u = arguments[0]
        # log(1 + u) = 2·atanh(u/(u + 2)) = log 2 + 2·atanh((u - 1)/(u + 3))
        far = builder.fcmp_ordered(">", u, constant(a, _FAR))
        above = builder.select(far, builder.fsub(u, constant(a, 1)), u)
        below = builder.fadd(u, builder.select(far, constant(a, 3), constant(a, 2)))
        s = builder.fdiv(above, below)
        terms = [2 / (2 * n + 1) for n in range(series_lengths(a.element.bitwidth)[1])]
        series = _polynomial(a, builder, builder.fmul(s, s), terms)
        return _fma(
            a, builder, s, series, builder.select(far, constant(a, math.log(2)), constant(a, 0))
        )

    return a(a), codegen


def _fma(kind: Vector, builder: Any, a: Any, b: Any, c: Any) -> Any:
    return kind.call(builder, "fmuladd", kind.llvm, [a, b, c])


def _polynomial(kind: Vector, builder: Any, x: Any, coefficients: list[float]) -> Any:
    """Σ coefficients[n]·xⁿ by Horner's rule."""
    value = constant(kind, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = _fma(kind, builder, value, x, constant(kind, coefficient))
    return value
