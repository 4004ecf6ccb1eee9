"""Vectors of one cache line, spelled out, for the row passes of generated kernels.

Every vector of a lifetime lies in one array, so a compiler cannot know that two of them do not
overlap, and gives up vectorising just where it matters. These few operations say what is meant:
64 bytes at a time, 16 values of float32 or 8 of float64. They exist only inside compiled code:

    for j in range(0, width, LANES):
        store(w, j, fma(scale, load(u, j), load(w, j)))

LLVM splits a vector where registers are narrower. Sums run in a fixed order, and nothing assumes
that values are finite.
"""

# Numba resolves the annotations of intrinsics itself, so theirs stay out of this module.
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,type-arg"
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _untyped
from numba.extending import models, register_model

#: Bytes of a vector: a cache line.
BYTES = 64

# Numba gives an intrinsic the arguments of the function that builds it, less the first.
intrinsic: Any = _untyped


def lanes(itemsize: int) -> int:
    """Values in a vector, from the bytes of one.

    Example:
        >>> lanes(4), lanes(8)
        (16, 8)
    """
    return BYTES // itemsize


class Vector(types.Type):
    """Numba's type of a vector of float32 or float64."""

    def __init__(self, element: types.Float) -> None:
        self.element = element
        super().__init__(name=f"Vector({element})")

    @property
    def llvm(self) -> ir.VectorType:
        """The type in LLVM."""
        scalar = ir.FloatType() if self.element.bitwidth == 32 else ir.DoubleType()
        return ir.VectorType(scalar, lanes(self.element.bitwidth // 8))

    def call(self, builder: Any, stem: str, result: Any, arguments: Any, **flags: Any) -> Any:
        """Call one of LLVM's vector intrinsics."""
        name = f"llvm.{stem}.v{self.llvm.count}f{self.element.bitwidth}"
        kind = ir.FunctionType(result, [a.type for a in arguments])
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, arguments, **flags)


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.llvm)


def constant(vector: Vector, value: float) -> Any:
    """A number in every lane, where source is made."""
    return ir.Constant(vector.llvm, [value] * vector.llvm.count)


@intrinsic
def pointer(typingctx, base, offset):
    """The address of `base[offset]`, of an array or of another pointer.

    Python's negative indices cost a comparison at every access of an array, and keep loops from
    being vectorised; a pointer has none.
    """

    def codegen(context, builder, signature, arguments):
        start, index = arguments
        if isinstance(base, types.Array):
            start = context.make_array(base)(context, builder, start).data
        return builder.gep(start, [index])

    return types.CPointer(base.dtype)(base, offset), codegen


def _address(builder, start, index, vector):
    return builder.bitcast(builder.gep(start, [index]), vector.llvm.as_pointer())


@intrinsic
def load(typingctx, start, index):
    """The vector that begins at `start[index]`, start a pointer."""
    vector = Vector(start.dtype)

    def codegen(context, builder, signature, arguments):
        address = _address(builder, arguments[0], arguments[1], vector)
        return builder.load(address, align=start.dtype.bitwidth // 8)

    return vector(start, index), codegen


@intrinsic
def store(typingctx, start, index, value):
    """Write a vector from `start[index]` on, start a pointer."""

    def codegen(context, builder, signature, arguments):
        address = _address(builder, arguments[0], arguments[1], value)
        builder.store(arguments[2], address, align=start.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(start, index, value), codegen


@intrinsic
def zero(typingctx, start):
    """A vector of zeros, of the dtype that a pointer points to."""
    vector = Vector(start.dtype)

    def codegen(context, builder, signature, arguments):
        return constant(vector, 0.0)

    return vector(start), codegen


@intrinsic
def splat(typingctx, value):
    """A vector that holds one number in every lane."""
    vector = Vector(value)

    def codegen(context, builder, signature, arguments):
        undefined = ir.Constant(vector.llvm, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.Constant(ir.IntType(32), 0))
        lane = ir.VectorType(ir.IntType(32), vector.llvm.count)
        return builder.shuffle_vector(first, undefined, ir.Constant(lane, [0] * vector.llvm.count))

    return vector(value), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """Lane by lane, a·b + c, in one rounding where the processor can."""

    def codegen(context, builder, signature, arguments):
        return a.call(builder, "fmuladd", a.llvm, arguments)

    return a(a, a, a), codegen


def _lane_by_lane(instruction: str) -> Any:
    """The intrinsic of one of LLVM's instructions on two vectors."""

    @intrinsic
    def operation(typingctx, a, b):
        def codegen(context, builder, signature, arguments):
            return getattr(builder, instruction)(*arguments)

        return a(a, a), codegen

    return operation


#: Lane by lane, a·b, a + b, a - b and a/b.
mul, add, sub, div = map(_lane_by_lane, ("fmul", "fadd", "fsub", "fdiv"))


def _of_one(stem: str) -> Any:
    """The intrinsic of one of LLVM's functions of a vector."""

    @intrinsic
    def operation(typingctx, a):
        def codegen(context, builder, signature, arguments):
            return a.call(builder, stem, a.llvm, arguments)

        return a(a), codegen

    return operation


#: Lane by lane, |a| and the square root of a, rounded correctly.
magnitude, root = map(_of_one, ("fabs", "sqrt"))


@intrinsic
def where_negative(typingctx, a, b, c):
    """Lane by lane, b where a < 0, else c, as for NaN."""

    def codegen(context, builder, signature, arguments):
        test, then, otherwise = arguments
        negative = builder.fcmp_ordered("<", test, constant(a, 0.0))
        return builder.select(negative, then, otherwise)

    return a(a, a, a), codegen


@intrinsic
def clipped(typingctx, a, low, high):
    """Lane by lane, a between low and high; NaN stays."""

    def codegen(context, builder, signature, arguments):
        value, least, most = arguments
        small = builder.fcmp_ordered("<", value, least)
        large = builder.fcmp_ordered(">", value, most)
        return builder.select(small, least, builder.select(large, most, value))

    return a(a, a, a), codegen


@intrinsic
def within(typingctx, a, test, low, high):
    """Lane by lane, 0 where a test is beyond low or high, else a."""

    def codegen(context, builder, signature, arguments):
        value, tested, least, most = arguments
        small = builder.fcmp_ordered("<", tested, least)
        large = builder.fcmp_ordered(">", tested, most)
        nothing = constant(a, 0.0)
        return builder.select(builder.or_(small, large), nothing, value)

    return a(a, a, a, a), codegen


@intrinsic
def kept(typingctx, a, b):
    """Lane by lane, a where b is not 0, else 0, whatever a is."""

    def codegen(context, builder, signature, arguments):
        value, live = arguments
        nothing = constant(a, 0.0)
        return builder.select(builder.fcmp_ordered("!=", live, nothing), value, nothing)

    return a(a, a), codegen


@intrinsic
def signed(typingctx, a, b):
    """Lane by lane, |a|·sign(b); 0 where b is 0 or NaN."""

    def codegen(context, builder, signature, arguments):
        sign = arguments[1]
        nothing = constant(a, 0.0)
        copied = a.call(builder, "copysign", a.llvm, arguments)
        return builder.select(builder.fcmp_ordered("!=", sign, nothing), copied, nothing)

    return a(a, a), codegen


@intrinsic
def total(typingctx, a):
    """The sum of the lanes, as a tree."""

    def codegen(context, builder, signature, arguments):
        scalar = a.llvm.element
        operands = [ir.Constant(scalar, -0.0), arguments[0]]
        return a.call(builder, "vector.reduce.fadd", scalar, operands, fastmath=("reassoc",))

    return a.element(a), codegen


@intrinsic
def store_totals(typingctx, target, k0, k1, k2, k3, a, b, c, d):
    """target[k0] to target[k3] become the sums of the lanes of a to d: trees that share steps."""

    def codegen(context, builder, signature, arguments):
        start, *places = arguments[:5]
        n = a.llvm.count

        def chosen(x, y, lanes):
            wide = ir.VectorType(ir.IntType(32), n)
            return builder.shuffle_vector(x, y, ir.Constant(wide, lanes))

        def folded(pair, size):
            """Sums of neighbouring parts of so many lanes, those of the first vector before."""
            x, y = pair
            every = range(0, 2 * n, 2 * size)
            left = [i + j for i in every for j in range(size)]
            return builder.fadd(chosen(x, y, left), chosen(x, y, [i + size for i in left]))

        halves = folded(arguments[5:7], n // 2), folded(arguments[7:9], n // 2)
        size = n // 4
        sums = folded(halves, size)
        while size > 1:
            size //= 2
            sums = builder.fadd(sums, chosen(sums, sums, [i ^ size for i in range(n)]))
        for i, place in enumerate(places):
            value = builder.extract_element(sums, ir.Constant(ir.IntType(32), i * n // 4))
            builder.store(value, builder.gep(start, [place]))
        return context.get_dummy_value()

    return types.void(target, k0, k1, k2, k3, a, b, c, d), codegen
