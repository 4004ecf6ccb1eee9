"""The table of operators for a vector at a time, and what the activations of kernels need.

LLVM has these functions for vectors in name only: it calls the C library once for every lane, and
a fifth of a forward lifetime went there. Those here are a reduction of the argument and a Taylor
series as long as the working dtype needs: the first term left out is below a quarter of a unit in
the last place. NaN stays NaN. What is rare in a rule (sin, cos, erf, powers that are no halves)
goes lane by lane.
"""

# Numba resolves the annotations of intrinsics itself, so theirs stay out of this module.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,type-arg"
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
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


def series_lengths(bits: int) -> tuple[int, int, int]:
    """Terms of the series of exp, atanh(s)/s and atan(q)/q on the intervals that are left of them.

    These are [-log(2)/2, log(2)/2], |s| ≤ 3 - √8 and |q| ≤ √2 - 1.

    Args:
        bits: of the working dtype, 32 or 64.

    Example:
        >>> series_lengths(32), series_lengths(64)
        ((8, 5, 9), (14, 10, 20))
    """
    least = _info(bits).eps / 4
    half, s, q = math.log(2) / 2, 3 - math.sqrt(8), math.sqrt(2) - 1
    exp = takewhile(lambda n: half**n / math.factorial(n) > least, range(30))
    atanh = takewhile(lambda n: s ** (2 * n) / (2 * n + 1) > least, range(30))
    atan = takewhile(lambda n: q ** (2 * n) / (2 * n + 1) > least, range(30))
    return len(list(exp)), len(list(atanh)), len(list(atan))


def _info(bits: int) -> Any:
    return np.finfo(np.float32 if bits == 32 else np.float64)


@intrinsic
def exponential(typingctx, a):
    """Lane by lane, exp(a) of a ≤ 0; 0 where the result would be below the normal numbers."""

    def codegen(context, builder, signature, arguments):
        x = arguments[0]
        bits, info = a.element.bitwidth, _info(a.element.bitwidth)
        whole, r = _reduced(a, builder, x)
        terms = [1 / math.factorial(n) for n in range(series_lengths(bits)[0])]
        series = _polynomial(a, builder, r, terms)
        # What has no such power of two is not converted, but becomes 0 or NaN below.
        least = math.log(float(info.tiny))
        normal = builder.fcmp_ordered(">=", x, constant(a, least))
        scale = _power_of_two(a, builder, builder.select(normal, whole, constant(a, 0)))
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


# --- rows of the table of operators ---------------------------------------------------------------


def _of_one(build: Callable[[Vector, Any, Any], Any]) -> Any:
    """The intrinsic of a function that builds code for a vector x."""

    @intrinsic
    def operation(typingctx, a):
        def codegen(context, builder, signature, arguments):
            return build(a, builder, arguments[0])

        return a(a), codegen

    return operation


def _exp(a: Vector, builder: Any, x: Any) -> Any:
    """exp(x); 0 where the result would be below the normal numbers."""
    bits, info = a.element.bitwidth, _info(a.element.bitwidth)
    whole, r = _reduced(a, builder, x)
    terms = [1 / math.factorial(n) for n in range(series_lengths(bits)[0])]
    series = _polynomial(a, builder, r, terms)
    small = builder.fcmp_ordered("<", x, constant(a, math.log(float(info.tiny))))
    large = builder.fcmp_ordered(">", x, constant(a, math.log(float(info.max))))
    normal = builder.not_(builder.or_(small, builder.fcmp_unordered("uno", x, x)))
    normal = builder.and_(normal, builder.not_(large))
    # By the exponent's bits: 2ⁿ itself may be too large where the result is not.
    n = builder.fptosi(builder.select(normal, whole, constant(a, 0)), _integers(a))
    shift = builder.shl(n, _whole(a, info.nmant))
    value = builder.bitcast(builder.add(builder.bitcast(series, _integers(a)), shift), a.llvm)
    value = builder.select(large, constant(a, math.inf), value)
    return builder.select(small, constant(a, 0), value)


#: Up to there tanh is a series of its own, in a vector in which no lane is beyond.
_SMALL = 0.5


@cache
def tanh_series(bits: int) -> list[float]:
    """Coefficients of tanh(x)/x in powers of x², as many as |x| ≤ 1/2 needs.

    Example:
        >>> tanh_series(32)[:3], len(tanh_series(32)), len(tanh_series(64))
        ([1.0, -0.3333333333333333, 0.13333333333333333], 8, 17)
    """
    found: list[float] = []
    while not found or abs(found[-1]) * _SMALL ** (2 * len(found) - 2) > _info(bits).eps / 4:
        n = len(found) + 1
        fours = sympy.Integer(4) ** n
        found.append(float(fours * (fours - 1) * sympy.bernoulli(2 * n) / sympy.factorial(2 * n)))
    return found[:-1]


def _tanh(a: Vector, builder: Any, x: Any) -> Any:
    """Most arguments are small; a vector with one that is not takes the longer way."""
    size = a.call(builder, "fabs", a.llvm, [x])
    near = _polynomial(a, builder, builder.fmul(x, x), tanh_series(a.element.bitwidth))
    near = builder.fmul(x, near)
    beyond = builder.fcmp_ordered(">", size, constant(a, _SMALL))
    mask = ir.IntType(a.llvm.count)
    some = builder.icmp_unsigned("!=", builder.bitcast(beyond, mask), ir.Constant(mask, 0))
    begin = builder.block
    with builder.if_then(some, likely=False):
        far, end = _far_tanh(a, builder, x, size), builder.block
    value = builder.phi(a.llvm)
    value.add_incoming(near, begin)
    value.add_incoming(far, end)
    return value


def _far_tanh(a: Vector, builder: Any, x: Any, size: Any) -> Any:
    """tanh|x| = E/(E + 2), E = exp(2|x|) - 1, which keeps every digit where x is small."""
    bits = a.element.bitwidth
    double = builder.fmul(constant(a, 2), size)
    # From there on tanh is 1 to the last place.
    most = constant(a, -math.log(float(_info(bits).eps)) + 4)
    double = builder.select(builder.fcmp_ordered(">", double, most), most, double)
    whole, r = _reduced(a, builder, double)
    terms = [1 / math.factorial(n + 1) for n in range(series_lengths(bits)[0])]
    little = builder.fmul(r, _polynomial(a, builder, r, terms))  # exp(r) - 1
    number = builder.fcmp_ordered("ord", x, x)
    scale = _power_of_two(a, builder, builder.select(number, whole, constant(a, 0)))
    E = _fma(a, builder, scale, little, builder.fsub(scale, constant(a, 1)))
    value = builder.fdiv(E, builder.fadd(E, constant(a, 2)))
    return a.call(builder, "copysign", a.llvm, [value, x])


def _log(a: Vector, builder: Any, x: Any) -> Any:
    """log(x) = e·log 2 + 2·atanh((m - 1)/(m + 1)), m between √½ and √2."""
    bits, info = a.element.bitwidth, _info(a.element.bitwidth)
    tiny = builder.fcmp_ordered("<", x, constant(a, float(info.tiny)))
    raised = builder.fmul(x, constant(a, 2.0 ** (info.nmant + 1)))
    read = builder.bitcast(builder.select(tiny, raised, x), _integers(a))
    root = int(np.asarray(math.sqrt(0.5), info.dtype).view(f"i{bits // 8}"))
    places = _whole(a, info.nmant)
    e = builder.ashr(builder.sub(read, _whole(a, root)), places)
    m = builder.bitcast(builder.sub(read, builder.shl(e, places)), a.llvm)
    lowered = builder.select(tiny, _whole(a, -(info.nmant + 1)), _whole(a, 0))
    exponent = builder.sitofp(builder.add(e, lowered), a.llvm)
    s = builder.fdiv(builder.fsub(m, constant(a, 1)), builder.fadd(m, constant(a, 1)))
    terms = [2 / (2 * n + 1) for n in range(series_lengths(bits)[1])]
    series = _polynomial(a, builder, builder.fmul(s, s), terms)
    low = _fma(a, builder, s, series, builder.fmul(exponent, constant(a, _LOG2_REST)))
    value = _fma(a, builder, exponent, constant(a, _LOG2), low)
    infinite = builder.fcmp_ordered("==", x, constant(a, math.inf))
    value = builder.select(infinite, x, value)
    nothing = builder.fcmp_ordered("==", x, constant(a, 0))
    value = builder.select(nothing, constant(a, -math.inf), value)
    legal = builder.fcmp_ordered(">=", x, constant(a, 0))
    return builder.select(legal, value, constant(a, math.nan))


def _atan(a: Vector, builder: Any, x: Any) -> Any:
    """atan|x| = atan(q) + 0, π/4 or π/2, with q = |x|, (|x| - 1)/(|x| + 1) or -1/|x|."""
    size, one = a.call(builder, "fabs", a.llvm, [x]), constant(a, 1)
    middle = builder.fcmp_ordered(">", size, constant(a, math.sqrt(2) - 1))
    far = builder.fcmp_ordered(">", size, constant(a, math.sqrt(2) + 1))

    def chosen(near: Any, between: Any, beyond: Any) -> Any:
        return builder.select(far, beyond, builder.select(middle, between, near))

    above = chosen(size, builder.fsub(size, one), constant(a, -1))
    q = builder.fdiv(above, chosen(one, builder.fadd(size, one), size))
    terms = [(-1) ** n / (2 * n + 1) for n in range(series_lengths(a.element.bitwidth)[2])]
    series = _polynomial(a, builder, builder.fmul(q, q), terms)
    base = chosen(constant(a, 0), constant(a, math.pi / 4), constant(a, math.pi / 2))
    value = _fma(a, builder, q, series, base)
    return a.call(builder, "copysign", a.llvm, [value, x])


def _sign(a: Vector, builder: Any, x: Any) -> Any:
    """-1, 0 or 1; 0 for NaN."""
    negative = builder.fcmp_ordered("<", x, constant(a, 0))
    positive = builder.fcmp_ordered(">", x, constant(a, 0))
    value = builder.select(positive, constant(a, 1), constant(a, 0))
    return builder.select(negative, constant(a, -1), value)


def _heaviside(a: Vector, builder: Any, x: Any) -> Any:
    """0, 1/2 at zero and for NaN, or 1."""
    return _fma(a, builder, _sign(a, builder, x), constant(a, 0.5), constant(a, 0.5))


def _reciprocal(a: Vector, builder: Any, x: Any) -> Any:
    """1/x, and infinity where x is a zero of either sign."""
    nothing = builder.fcmp_ordered("==", x, constant(a, 0))
    value = builder.fdiv(constant(a, 1), x)
    return builder.select(nothing, constant(a, math.inf), value)


vector_exp, vector_tanh, vector_log, vector_atan = map(_of_one, (_exp, _tanh, _log, _atan))
vector_sign, vector_heaviside, vector_reciprocal = map(_of_one, (_sign, _heaviside, _reciprocal))


def _larger(a: Vector, builder: Any, test: str, x: Any, y: Any) -> Any:
    """X where it passes the test against y or is no number, else y."""
    chosen = builder.or_(builder.fcmp_ordered(test, x, y), builder.fcmp_unordered("uno", x, x))
    return builder.select(chosen, x, y)


@intrinsic
def vector_maximum(typingctx, a, b):
    """Lane by lane, the larger; NaN if either is."""

    def codegen(context, builder, signature, arguments):
        return _larger(a, builder, ">", *arguments)

    return a(a, a), codegen


@intrinsic
def vector_minimum(typingctx, a, b):
    """Lane by lane, the smaller; NaN if either is."""

    def codegen(context, builder, signature, arguments):
        return _larger(a, builder, "<", *arguments)

    return a(a, a), codegen


@intrinsic
def vector_product(typingctx, a, b):
    """Lane by lane, a·b in a derivative: zero where either is, whatever the other is."""

    def codegen(context, builder, signature, arguments):
        x, y = arguments
        nothing = constant(a, 0)
        absent = builder.or_(
            builder.fcmp_ordered("==", x, nothing), builder.fcmp_ordered("==", y, nothing)
        )
        return builder.select(absent, nothing, builder.fmul(x, y))

    return a(a, a), codegen


def _in_each_lane(function: Callable[..., Any], count: int) -> Any:
    """The intrinsic that calls a function of numbers for each lane of so many vectors."""

    def each(context, builder, a, vectors):
        number = a.element
        value = ir.Constant(a.llvm, ir.Undefined)
        for i in range(a.llvm.count):
            lane = ir.Constant(ir.IntType(32), i)
            of = [builder.extract_element(v, lane) for v in vectors]
            found = context.compile_internal(builder, function, number(*[number] * count), of)
            value = builder.insert_element(value, found, lane)
        return value

    if count == 1:

        @intrinsic
        def operation(typingctx, a):
            def codegen(context, builder, signature, arguments):
                return each(context, builder, a, arguments)

            return a(a), codegen

        return operation

    @intrinsic
    def operation_of_two(typingctx, a, b):
        def codegen(context, builder, signature, arguments):
            return each(context, builder, a, arguments)

        return a(a, a), codegen

    return operation_of_two


vector_sin = _in_each_lane(lambda x: math.sin(x), 1)
vector_cos = _in_each_lane(lambda x: math.cos(x), 1)
vector_erf = _in_each_lane(lambda x: math.erf(x), 1)
vector_power = _in_each_lane(lambda x, y: x**y, 2)


# --- parts ----------------------------------------------------------------------------------------


def _reduced(a: Vector, builder: Any, x: Any) -> tuple[Any, Any]:
    """N and r of exp(x) = 2ⁿ·exp(r), r = x - n·log 2."""
    whole = a.call(builder, "rint", a.llvm, [builder.fmul(x, constant(a, 1 / math.log(2)))])
    r = _fma(a, builder, whole, constant(a, -_LOG2), x)
    return whole, _fma(a, builder, whole, constant(a, -_LOG2_REST), r)


def _integers(a: Vector) -> Any:
    return ir.VectorType(ir.IntType(a.element.bitwidth), a.llvm.count)


def _whole(a: Vector, value: int) -> Any:
    """A whole number in every lane."""
    return ir.Constant(_integers(a), [value] * a.llvm.count)


def _power_of_two(a: Vector, builder: Any, whole: Any) -> Any:
    """2ⁿ of whole numbers from its bits."""
    info = _info(a.element.bitwidth)
    biased = builder.add(builder.fptosi(whole, _integers(a)), _whole(a, info.maxexp - 1))
    return builder.bitcast(builder.shl(biased, _whole(a, info.nmant)), a.llvm)


def _fma(kind: Vector, builder: Any, a: Any, b: Any, c: Any) -> Any:
    return kind.call(builder, "fmuladd", kind.llvm, [a, b, c])


def _polynomial(kind: Vector, builder: Any, x: Any, coefficients: list[float]) -> Any:
    """Σ coefficients[n]·xⁿ by Horner's rule."""
    value = constant(kind, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = _fma(kind, builder, value, x, constant(kind, coefficient))
    return value
