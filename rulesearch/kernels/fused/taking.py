"""The compiled pieces for idle terms that no plan changes: products of rows, and of vectors.

What they work on is listed in a table `t` of numbers, which `idle.placed` makes, so that this code
does not grow with the number of terms.
"""

# Numba infers the types of these functions.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN201, E741

from __future__ import annotations

from typing import Any

from numba import types

from rulesearch.kernels.fused.layout import ROW_BLOCK, SIZE, WIDTH
from rulesearch.kernels.fused.steps import clear, compiled
from rulesearch.kernels.fused.vectors import (
    BYTES,
    add,
    fma,
    intrinsic,
    load,
    pointer,
    splat,
    store,
    store_totals,
    total,
    zero,
)

#: Places in a table: how many operands there are, and where it has what.
OPERANDS, OFFSETS, LISTS, PASSES, PAIRS, PAIRS_END, GRADIENT, HEAD = range(8)
#: Of a pass: its first list, the numbers of its dots and gathers, and whether only lit rows count.
FIRST, DOTS, GATHERS, LIT_ONLY, PASS = range(5)


@compiled
def operand(s, t, l, i):
    """The vector of an operand in layer l."""
    return pointer(s, t[t[OFFSETS] + l * t[OPERANDS] + i])


@compiled
def begin_pass(s, t, at, l, first, dots, gathers):
    """Clear what a pass adds to, or leaves out."""
    for i in range(first, first + dots):
        clear(operand(s, t, l, t[t[LISTS] + 2 * i + 1]), at[l, WIDTH])
    for i in range(first + dots, first + dots + gathers):
        clear(operand(s, t, l, t[t[LISTS] + 2 * i + 1]), at[l + 1, WIDTH])


@compiled
def take(s, t, at, l, order, row, rows, first, dots, gathers):
    """The products of a block of rows, which lie one after the other, with the pass's vectors.

    Dots and gathers come three at a time; what lacks is filled up with vectors that nobody reads.
    """
    width, lanes = at[l + 1, WIDTH], BYTES // s.itemsize
    k0, k1, k2, k3 = order[row], order[row + 1], order[row + 2], order[row + 3]
    r0, r1, r2 = rows, pointer(rows, width), pointer(rows, 2 * width)
    r3 = pointer(rows, 3 * width)
    listed = t[LISTS]
    for i in range(first, first + dots, 3):
        at_i = listed + 2 * i
        u0, u1 = operand(s, t, l, t[at_i]), operand(s, t, l, t[at_i + 2])
        u2 = operand(s, t, l, t[at_i + 4])
        a00, a01, a02, a03 = zero(rows), zero(rows), zero(rows), zero(rows)
        a10, a11, a12, a13 = zero(rows), zero(rows), zero(rows), zero(rows)
        a20, a21, a22, a23 = zero(rows), zero(rows), zero(rows), zero(rows)
        for j in range(0, width, lanes):
            x0, x1, x2, x3 = load(r0, j), load(r1, j), load(r2, j), load(r3, j)
            u = load(u0, j)
            a00, a01, a02, a03 = fma(x0, u, a00), fma(x1, u, a01), fma(x2, u, a02), fma(x3, u, a03)
            u = load(u1, j)
            a10, a11, a12, a13 = fma(x0, u, a10), fma(x1, u, a11), fma(x2, u, a12), fma(x3, u, a13)
            u = load(u2, j)
            a20, a21, a22, a23 = fma(x0, u, a20), fma(x1, u, a21), fma(x2, u, a22), fma(x3, u, a23)
        o = operand(s, t, l, t[at_i + 1])
        store_totals(o, k0, k1, k2, k3, a00, a01, a02, a03)
        o = operand(s, t, l, t[at_i + 3])
        store_totals(o, k0, k1, k2, k3, a10, a11, a12, a13)
        o = operand(s, t, l, t[at_i + 5])
        store_totals(o, k0, k1, k2, k3, a20, a21, a22, a23)
    for i in range(first + dots, first + dots + gathers, 3):
        at_i = listed + 2 * i
        p = operand(s, t, l, t[at_i])
        p00, p01, p02, p03 = splat(p[k0]), splat(p[k1]), splat(p[k2]), splat(p[k3])
        p = operand(s, t, l, t[at_i + 2])
        p10, p11, p12, p13 = splat(p[k0]), splat(p[k1]), splat(p[k2]), splat(p[k3])
        p = operand(s, t, l, t[at_i + 4])
        p20, p21, p22, p23 = splat(p[k0]), splat(p[k1]), splat(p[k2]), splat(p[k3])
        o0, o1 = operand(s, t, l, t[at_i + 1]), operand(s, t, l, t[at_i + 3])
        o2 = operand(s, t, l, t[at_i + 5])
        for j in range(0, width, lanes):
            x0, x1, x2, x3 = load(r0, j), load(r1, j), load(r2, j), load(r3, j)
            y = fma(p01, x1, fma(p00, x0, load(o0, j)))
            store(o0, j, fma(p03, x3, fma(p02, x2, y)))
            y = fma(p11, x1, fma(p10, x0, load(o1, j)))
            store(o1, j, fma(p13, x3, fma(p12, x2, y)))
            y = fma(p21, x1, fma(p20, x0, load(o2, j)))
            store(o2, j, fma(p23, x3, fma(p22, x2, y)))


@compiled
def pair_up(s, t, at, l):
    """Add every pair's product of two vectors, times its scalar, to the gradient."""
    lanes = BYTES // s.itemsize
    gradient = pointer(s, t[t[GRADIENT] + l])
    for pair in range((t[PAIRS_END] - t[PAIRS]) // 4):
        i = t[PAIRS] + 4 * pair
        left, right = operand(s, t, l, t[i]), operand(s, t, l, t[i + 1])
        length = at[l + 1, WIDTH] if t[i + 3] else at[l, SIZE]
        a, b, c, d = zero(left), zero(left), zero(left), zero(left)
        j = 0
        while j + 3 * lanes < length:  # four sums at once: each waits for its last addition
            a = fma(load(left, j), load(right, j), a)
            b = fma(load(left, j + lanes), load(right, j + lanes), b)
            c = fma(load(left, j + 2 * lanes), load(right, j + 2 * lanes), c)
            d = fma(load(left, j + 3 * lanes), load(right, j + 3 * lanes), d)
            j += 4 * lanes
        while j < length:
            a = fma(load(left, j), load(right, j), a)
            j += lanes
        inner = add(add(a, b), add(c, d))
        gradient[pair] += operand(s, t, l, t[i + 2])[0] * total(inner)


@intrinsic
def call_idle(typingctx, address, s, at, order, t, l, f):
    """Call the compiled function at an address, as Numba calls its own."""
    signature = types.void(address, s, at, order, t, l, f)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args[1:]
        convention = context.call_conv
        function = convention.get_function_type(types.none, kinds).as_pointer()
        callee = builder.inttoptr(arguments[0], function)
        convention.call_function(builder, callee, types.none, kinds, arguments[1:])
        return context.get_dummy_value()

    return signature, codegen


assert ROW_BLOCK == 4, "as many rows as `take` spells out"
