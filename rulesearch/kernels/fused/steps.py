"""The compiled pieces of a lifetime that no plan changes: activations, output, errors.

Vectors lie in one flat array `s`, at the offsets of the table `at`, padded with zeros to whole
cache lines; matrices have rows of whole lines. The padding stays zero.
"""

# Numba infers the types of these functions.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN201, E741

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba import njit

from rulesearch.kernels.fused.elementary import exponential, log1p
from rulesearch.kernels.fused.layout import (
    A_E,
    A_L,
    A_Y,
    A_Z,
    DARK,
    DARK_END,
    FRAME,
    FRAMES,
    LIT,
    LIT_END,
    ROW_BLOCK,
    SIZE,
    SKIPS,
    SLOPE,
    TOUCHED,
    TOUCHED_END,
    E,
    L,
    W,
    Y,
    Z,
)
from rulesearch.kernels.fused.vectors import (
    BYTES,
    add,
    div,
    fma,
    load,
    magnitude,
    mul,
    pointer,
    splat,
    store,
    sub,
    total,
    where_negative,
    zero,
)

#: Never `nnan` or `ninf`: they let the compiler assume that nothing diverges.
FLAGS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}

#: For what compiled code alone calls. Without Python's ways in, which would take a fifth of the
#: compilation; and inlined, or code just compiled could differ from code kept in the last bit.
INNER: dict[str, Any] = FLAGS | {
    "forceinline": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}

compiled: Callable[[Any], Any] = njit(**INNER)


@compiled
def sign(x):
    """-1, 0 or 1; 0 for NaN, as torch has it."""
    return type(x)((x > 0) - (x < 0))


@compiled
def heaviside(x):
    """0, 1/2 at zero, or 1."""
    one = type(x)(1)
    return (one + sign(x)) / (one + one)


@compiled
def maximum(x, y):
    """The larger; NaN if either is."""
    return x if x > y or math.isnan(x) else y


@compiled
def minimum(x, y):
    """The smaller; NaN if either is."""
    return x if x < y or math.isnan(x) else y


@compiled
def product(x, y):
    """x·y in a derivative: zero where either is, whatever the other is."""
    nothing = type(x)(0)
    return nothing if (x == nothing) | (y == nothing) else x * y


@compiled
def reciprocal(x):
    """1/x, and infinity where x is a zero of either sign."""
    return type(x)(1) / x if x != 0 else type(x)(math.inf)


@compiled
def some(x, n):
    """Whether any of the first n values is not zero."""
    found = False
    for j in range(n):
        found |= x[j] != 0
    return found


@compiled
def all_finite(start, length, s):
    """Whether all values of a stretch of whole vectors are numbers."""
    nothing = zero(start)
    seen = nothing
    for j in range(0, length, BYTES // s.itemsize):
        seen = fma(load(start, j), nothing, seen)
    return total(seen) == 0


@compiled
def clear(target, length):
    """Set a stretch to zero."""
    for i in range(length):
        target[i] = 0


@compiled
def copy(source, target, length):
    """Copy a stretch."""
    for i in range(length):
        target[i] = source[i]


@compiled
def softplus(n, z, y, slope, beta, s):
    """Softplus y = log(1 + exp(βz))/β and its slope 1/(1 + exp(-βz)), without overflow.

    All are padded to whole vectors; the padding of y and slope becomes zero.
    """
    lanes = BYTES // s.itemsize
    by, one, nothing = splat(beta), splat(type(beta)(1)), zero(z)
    for j in range(0, n, lanes):
        scaled = mul(by, load(z, j))
        small = exponential(sub(nothing, magnitude(scaled)))
        positive = where_negative(scaled, nothing, scaled)
        store(y, j, div(add(positive, log1p(small)), by))
        store(slope, j, div(where_negative(scaled, small, one), add(one, small)))
    for j in range(n, -(-n // lanes) * lanes):
        y[j] = 0
        slope[j] = 0


@compiled
def shift(n, z, y):
    """Write to y how far each z is below the largest.

    Losses are told from these: of potentials that are large together, log Σ exp(z) less one of them
    is what rounding has left. They are stored, since a compiler chooses the order of sums.
    """
    top = z[0]
    for j in range(1, n):
        if z[j] > top:
            top = z[j]
    for j in range(n):
        y[j] = z[j] - top


@compiled
def softmax(n, y):
    """The softmax, in the place of what `shift` has written.

    Returns:
        log Σ exp(y).
    """
    mass = y[0] - y[0]
    for j in range(n):
        y[j] = math.exp(y[j])
        mass += y[j]
    for j in range(n):
        y[j] /= mass
    return math.log(mass)


# --- one step ------------------------------------------------------------------------------------


@compiled
def frame(at, t, keep):
    """Where the frame of step t begins; two are used in turn where no tape is kept."""
    return at[0, FRAMES] + ((t + 1) if keep else (t + 1) & 1) * at[0, FRAME]


@compiled
def pixels(s, at, f, x, slopes, t):
    """Put the image of step t into its frame, and σ' of its pixels."""
    y, slope = pointer(s, f + at[0, Y]), pointer(s, f + at[0, SLOPE])
    for k in range(at[0, SIZE]):
        y[k] = x[t, k]
        slope[k] = slopes[t, k]


@compiled
def list_rows(s, at, order, f, other):
    """List the rows of pixels that are lit in a frame, and of those lit in it or the other."""
    y, y_other = pointer(s, f + at[0, Y]), pointer(s, other + at[0, Y])
    size, every = at[0, SIZE], at[0, SKIPS] == 0
    lit, touched = at[0, LIT], at[0, TOUCHED]
    for k in range(size):
        # Written always and kept by counting: which pixels are lit cannot be predicted.
        now = (y[k] != 0) | every
        order[lit] = k
        order[touched] = k
        lit += now
        touched += now | (y_other[k] != 0)
    # Filled up to whole blocks with the row of zeros after the last.
    while (lit - at[0, LIT]) % ROW_BLOCK:
        order[lit] = size
        lit += 1
    while (touched - at[0, TOUCHED]) % ROW_BLOCK:
        order[touched] = size
        touched += 1
    at[0, LIT_END], at[0, TOUCHED_END] = lit, touched


@compiled
def list_dark(s, at, order, f):
    """List the rows of pixels that are not lit in a frame; those that `list_rows` does not."""
    y, every, dark = pointer(s, f + at[0, Y]), at[0, SKIPS] == 0, at[0, DARK]
    for k in range(at[0, SIZE]):
        order[dark] = k
        dark += (y[k] == 0) & (not every)
    at[0, DARK_END] = dark


@compiled
def hidden(s, at, l, f, beta):
    """Activity and σ' of a hidden layer."""
    z, y = pointer(s, f + at[l, Z]), pointer(s, f + at[l, Y])
    softplus(at[l, SIZE], z, y, pointer(s, f + at[l, SLOPE]), beta, s)


@compiled
def hidden_adjoint(s, at, l, f, b):
    """From the adjoint of a hidden layer's activity to that of its potential."""
    a_z, a_y = pointer(s, b + at[l, A_Z]), pointer(s, b + at[l, A_Y])
    slope = pointer(s, f + at[l, SLOPE])
    for j in range(at[l, SIZE]):
        a_z[j] += product(a_y[j], slope[j])


@compiled
def output(s, at, f, label):
    """Softmax, loss and error of the output layer."""
    last = len(at) - 1
    z, y = pointer(s, f + at[last, Z]), pointer(s, f + at[last, Y])
    e = pointer(s, f + at[last, E])
    shift(at[last, SIZE], z, y)
    picked = y[label]
    s[f + at[0, L]] = softmax(at[last, SIZE], y) - picked
    for j in range(at[last, SIZE]):
        e[j] = y[j]
    e[label] -= 1


@compiled
def output_answers(s, at, f, answers, t):
    """As `output` with probabilities in the place of a label, a row of [steps, outputs]."""
    last = len(at) - 1
    z, y = pointer(s, f + at[last, Z]), pointer(s, f + at[last, Y])
    e = pointer(s, f + at[last, E])
    shift(at[last, SIZE], z, y)
    meant = y[0] - y[0]
    for j in range(at[last, SIZE]):
        meant += answers[t, j] * y[j]
    s[f + at[0, L]] = softmax(at[last, SIZE], y) - meant
    for j in range(at[last, SIZE]):
        e[j] = y[j] - answers[t, j]


@compiled
def output_adjoint(s, at, f, b):
    """From the adjoints of the output's activity, error and loss to that of its potential.

    What all outputs have in common has no effect, as activities sum to one. They do to rounding, so
    that of the most active output is taken off before: where one has all activity nothing is left,
    not the last digit of what may be a million times the rest.
    """
    last = len(at) - 1
    y, e = pointer(s, f + at[last, Y]), pointer(s, f + at[last, E])
    a_y, a_e = pointer(s, b + at[last, A_Y]), pointer(s, b + at[last, A_E])
    a_z, a_loss = pointer(s, b + at[last, A_Z]), s[b + at[0, A_L]]
    most = 0
    for j in range(1, at[last, SIZE]):
        if y[j] > y[most]:
            most = j
    common = a_y[most] + a_e[most]
    inner = a_loss - a_loss
    for j in range(at[last, SIZE]):
        if j != most:
            inner += product(y[j], a_y[j] + a_e[j] - common)
    for j in range(at[last, SIZE]):
        apart = a_y[j] + a_e[j] - common if j != most else a_loss - a_loss
        a_z[j] += product(y[j], apart - inner) + product(a_loss, e[j])


@compiled
def use_weights(at, start):
    """Let the weights of all layers be those that begin at `start`."""
    shift = start - at[0, W]
    for l in range(len(at) - 1):
        at[l, W] += shift
