"""The compiled pieces of a lifetime that no plan changes: activations, output, query.

All work on one flat array `s` and offsets into it, in its dtype. Vectors are padded with zeros to
whole cache lines, and matrices to rows of whole lines; the padding stays zero.
"""

# Numba infers the types of these functions.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN201

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba import njit

from rulesearch.kernels.fused.layout import *  # noqa: F403, a column for every name
from rulesearch.kernels.fused.vectors import fma, load, splat, store, total, zero

#: Never `nnan` or `ninf`: they let the compiler assume that nothing diverges.
FLAGS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}

compiled: Callable[[Any], Any] = njit(**FLAGS)


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
    return x if x > y or x != x else y


@compiled
def minimum(x, y):
    """The smaller; NaN if either is."""
    return x if x < y or x != x else y


@compiled
def clear(s, start, length):
    """Set a stretch to zero."""
    for i in range(start, start + length):
        s[i] = s.dtype.type(0)


@compiled
def copy(s, source, target, length):
    """Copy a stretch."""
    for i in range(length):
        s[target + i] = s[source + i]


@compiled
def softplus(s, n, z, y, slope, beta):
    """Y = log(1 + exp(βz))/β and its derivative 1/(1 + exp(-βz)), without overflow."""
    one = s.dtype.type(1)
    zero_ = s.dtype.type(0)
    for j in range(n):
        scaled = beta * s[z + j]
        small = math.exp(-abs(scaled))
        positive = scaled if scaled > zero_ else zero_
        s[y + j] = (positive + math.log1p(small)) / beta
        s[slope + j] = (one if scaled >= zero_ else small) / (one + small)


@compiled
def softmax(s, n, z, y):
    """Y = softmax(z).

    Returns:
        log Σ exp(z).
    """
    top = s[z]
    for j in range(1, n):
        if s[z + j] > top:
            top = s[z + j]
    mass = s.dtype.type(0)
    for j in range(n):
        s[y + j] = math.exp(s[z + j] - top)
        mass += s[y + j]
    for j in range(n):
        s[y + j] /= mass
    return top + math.log(mass)


@compiled
def softmax_adjoint(s, n, y, a_y, a_z):
    """Add to a_z what a_y says through y = softmax(z)."""
    inner = s.dtype.type(0)
    for j in range(n):
        inner += s[y + j] * s[a_y + j]
    for j in range(n):
        s[a_z + j] += s[y + j] * (s[a_y + j] - inner)


@compiled
def query_layer(s, queries, rows, row_stride, width, w, x, z):
    """z[q, :] = Σ_k x[q, k]·w[k, :], eight queries at a time; `queries` is a multiple of 8."""
    lanes = 64 // s.itemsize
    for q in range(0, queries, 8):
        for j in range(0, width, lanes):
            t0, t1, t2, t3 = zero(s), zero(s), zero(s), zero(s)
            t4, t5, t6, t7 = zero(s), zero(s), zero(s), zero(s)
            for k in range(rows):
                row = load(s, w + k * width + j)
                i = x + q * row_stride + k
                t0 = fma(splat(s[i]), row, t0)
                t1 = fma(splat(s[i + row_stride]), row, t1)
                t2 = fma(splat(s[i + 2 * row_stride]), row, t2)
                t3 = fma(splat(s[i + 3 * row_stride]), row, t3)
                t4 = fma(splat(s[i + 4 * row_stride]), row, t4)
                t5 = fma(splat(s[i + 5 * row_stride]), row, t5)
                t6 = fma(splat(s[i + 6 * row_stride]), row, t6)
                t7 = fma(splat(s[i + 7 * row_stride]), row, t7)
            i = z + q * width + j
            store(s, i, t0)
            store(s, i + width, t1)
            store(s, i + 2 * width, t2)
            store(s, i + 3 * width, t3)
            store(s, i + 4 * width, t4)
            store(s, i + 5 * width, t5)
            store(s, i + 6 * width, t6)
            store(s, i + 7 * width, t7)


@compiled
def query_weights(s, queries, rows, row_stride, width, a_z, x, a_w):
    """The adjoint of the weights: a_w[k, :] = Σ_q x[q, k]·a_z[q, :]."""
    lanes = 64 // s.itemsize
    for k in range(rows):
        for j in range(0, width, lanes):
            row = zero(s)
            for q in range(queries):
                row = fma(splat(s[x + q * row_stride + k]), load(s, a_z + q * width + j), row)
            store(s, a_w + k * width + j, row)


@compiled
def query_activities(s, queries, rows, row_stride, width, w, a_z, slope, a_x):
    """The adjoint of the potentials below: a_x[q, k] = slope[q, k]·(w[k, :]·a_z[q, :])."""
    lanes = 64 // s.itemsize
    for k in range(rows):
        for q in range(queries):
            inner = zero(s)
            for j in range(0, width, lanes):
                inner = fma(load(s, w + k * width + j), load(s, a_z + q * width + j), inner)
            i = q * row_stride + k
            s[a_x + i] = s[slope + i] * total(inner)


# --- one step, by the table of offsets -----------------------------------------------------------


@compiled
def frame(at, t, keep):
    """Where the frame of step t begins; two are used in turn where no tape is kept."""
    return at[0, FRAMES] + ((t + 1) if keep else (t + 1) & 1) * at[0, FRAME]


@compiled
def pixels(s, at, order, f, before, x, t, beta):
    """Put the image of step t into its frame: pixels, their σ' = 1 - exp(-βx), lists of rows."""
    y, slope = f + at[0, Y], f + at[0, SLOPE]
    for k in range(at[0, SIZE]):
        s[y + k] = x[t, k]
    list_rows(s, at, order, f, before)
    clear(s, slope, at[0, ROWS])
    for i in range(at[0, LIT], at[0, LIT_END]):
        k = order[i]
        s[slope + k] = -math.expm1(-beta * s[y + k])


@compiled
def list_rows(s, at, order, f, other):
    """List the rows of pixels that are lit in a frame, and of those lit in it or the other."""
    dark = s.dtype.type(0)
    y, y_other = f + at[0, Y], other + at[0, Y]
    size, every = at[0, SIZE], at[0, SKIPS] == 0
    lit, touched = at[0, LIT], at[0, TOUCHED]
    for k in range(size):
        # Written always and kept by counting: which pixels are lit cannot be predicted.
        now = (s[y + k] != dark) | every
        order[lit] = k
        order[touched] = k
        lit += now
        touched += now | (s[y_other + k] != dark)
    # Filled up to whole blocks with the row of zeros after the last.
    while (lit - at[0, LIT]) % ROW_BLOCK:
        order[lit] = size
        lit += 1
    while (touched - at[0, TOUCHED]) % ROW_BLOCK:
        order[touched] = size
        touched += 1
    at[0, LIT_END], at[0, TOUCHED_END] = lit, touched


@compiled
def hidden(s, at, l, f, beta):
    """Activity and σ' of a hidden layer."""
    softplus(s, at[l, SIZE], f + at[l, Z], f + at[l, Y], f + at[l, SLOPE], beta)


@compiled
def hidden_adjoint(s, at, l, f, b):
    """From the adjoint of a hidden layer's activity to that of its potential."""
    for j in range(at[l, SIZE]):
        s[b + at[l, A_Z] + j] += s[b + at[l, A_Y] + j] * s[f + at[l, SLOPE] + j]


@compiled
def output(s, at, f, label):
    """Softmax, loss and error of the output layer."""
    last = len(at) - 1
    z, y, e = f + at[last, Z], f + at[last, Y], f + at[last, E]
    s[f + at[0, L]] = softmax(s, at[last, SIZE], z, y) - s[z + label]
    for j in range(at[last, SIZE]):
        s[e + j] = s[y + j]
    s[e + label] -= s.dtype.type(1)


@compiled
def output_adjoint(s, at, f, b, label):
    """From the adjoints of the output's activity, error and loss to that of its potential."""
    last = len(at) - 1
    n = at[last, SIZE]
    y, a_y, a_z = f + at[last, Y], b + at[last, A_Y], b + at[last, A_Z]
    a_loss = s[b + at[0, A_L]]
    for j in range(n):
        s[a_y + j] += s[b + at[last, A_E] + j]
        s[a_z + j] += a_loss * s[f + at[last, E] + j]
    softmax_adjoint(s, n, y, a_y, a_z)


# --- the query -----------------------------------------------------------------------------------


@compiled
def query(s, at, labels, beta, keep):
    """Mean loss and accuracy over the query; σ' of hidden layers is written where it is kept."""
    depth = len(at) - 1
    queries = len(labels)
    padded = -(-queries // QUERY_BLOCK) * QUERY_BLOCK
    for l in range(depth):
        stride, width = at[l, WIDTH], at[l + 1, WIDTH]
        y = at[l + 1, Q_Y]
        query_layer(s, padded, at[l, SIZE], stride, width, at[l, W], at[l, Q_Y], y)
        if l < depth - 1:
            for q in range(queries):
                slope = at[l + 1, Q_SLOPE] + (q * width if keep else 0)
                softplus(s, at[l + 1, SIZE], y + q * width, y + q * width, slope, beta)
    one = s.dtype.type(1)
    loss = s.dtype.type(0)
    correct = s.dtype.type(0)
    n = at[depth, SIZE]
    for q in range(queries):
        z = at[depth, Q_Y] + q * at[depth, WIDTH]
        best = 0
        finite = True
        for j in range(n):
            if s[z + j] > s[z + best]:
                best = j
            finite = finite and math.isfinite(s[z + j])
        if finite and best == labels[q]:
            correct += one
        picked = s[z + labels[q]]
        loss += softmax(s, n, z, z) - picked
        s[z + labels[q]] -= one
    count = s.dtype.type(queries)
    return loss / count, correct / count


@compiled
def query_adjoint(s, at, queries):
    """Λ after the last step, from a `query` that kept its slopes."""
    depth = len(at) - 1
    padded = -(-queries // QUERY_BLOCK) * QUERY_BLOCK
    count = s.dtype.type(queries)
    for i in range(queries * at[depth, WIDTH]):
        s[at[depth, Q_A] + i] = s[at[depth, Q_Y] + i] / count
    for l in range(depth - 1, -1, -1):
        stride, width = at[l, WIDTH], at[l + 1, WIDTH]
        a_z, x = at[l + 1, Q_A], at[l, Q_Y]
        query_weights(s, queries, at[l, SIZE], stride, width, a_z, x, at[l, LAMBDA])
        clear(s, at[l, LAMBDA] + at[l, SIZE] * width, (at[l, ROWS] - at[l, SIZE]) * width)
        if l > 0:
            a_x, slope = at[l, Q_A], at[l, Q_SLOPE]
            query_activities(s, padded, at[l, SIZE], stride, width, at[l, W], a_z, slope, a_x)


@compiled
def use_weights(at, start):
    """Let the weights of all layers be those that begin at `start`."""
    shift = start - at[0, W]
    for l in range(len(at) - 1):
        at[l, W] += shift
