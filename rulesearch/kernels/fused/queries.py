"""The compiled pieces of a query that no plan changes: potentials, score, Λ after the last step.

Tables and vectors are those of `fused.steps`; the potentials of a query lie one after the other.
"""

# Numba infers the types of these functions.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# ruff: noqa: ANN001, ANN201, ANN202, E741

from __future__ import annotations

import math

from rulesearch.kernels.fused.layout import (
    LAMBDA,
    LEARNED,
    Q_A,
    Q_SLOPE,
    Q_Y,
    QUERY_BLOCK,
    ROWS,
    SIZE,
    WIDTH,
    W,
)
from rulesearch.kernels.fused.steps import all_finite, clear, compiled, shift, softmax, softplus
from rulesearch.kernels.fused.vectors import BYTES, fma, load, pointer, splat, store, total, zero


@compiled
def query(s, at, labels, beta, keep):
    """Mean loss and accuracy over the query; σ' of hidden layers is written where it is kept.

    NaN and 0 where a weight is not finite, see `rulesearch.network.query_loss`.
    """
    _query_potentials(s, at, len(labels), beta, keep)
    return score(s, at, labels)


@compiled
def score(s, at, labels):
    """Mean loss and accuracy from the potentials of a query; leaves softmax − onehot there."""
    depth = len(at) - 1
    number = s.dtype.type
    loss, correct, count = number(0), number(0), number(len(labels))
    n = at[depth, SIZE]
    for q in range(len(labels)):
        z = pointer(s, at[depth, Q_Y] + q * at[depth, WIDTH])
        best, finite = 0, True
        for j in range(n):
            if z[j] > z[best]:
                best = j
            finite = finite and math.isfinite(z[j])
        if finite and best == labels[q]:
            correct += number(1)
        shift(n, z, z)
        picked = z[labels[q]]
        loss += softmax(n, z) - picked
        z[labels[q]] -= 1
    if not all_finite(pointer(s, at[0, W]), at[0, LEARNED], s):
        return number(math.nan), number(0)
    return loss / count, correct / count


@compiled
def query_answers(s, at, targets, beta, keep):
    """Likewise with probabilities in the place of labels, [queries, outputs], each of sum 1."""
    _query_potentials(s, at, len(targets), beta, keep)
    return score_answers(s, at, targets)


@compiled
def score_answers(s, at, targets):
    """As `score` with probabilities."""
    depth = len(at) - 1
    number = s.dtype.type
    loss, correct, count = number(0), number(0), number(len(targets))
    n = at[depth, SIZE]
    for q in range(len(targets)):
        z = pointer(s, at[depth, Q_Y] + q * at[depth, WIDTH])
        best, likeliest, finite, meant = 0, 0, True, number(0)
        for j in range(n):
            if z[j] > z[best]:
                best = j
            if targets[q, j] > targets[q, likeliest]:
                likeliest = j
            finite = finite and math.isfinite(z[j])
        if finite and best == likeliest:
            correct += number(1)
        shift(n, z, z)
        for j in range(n):
            meant += targets[q, j] * z[j]
        loss += softmax(n, z) - meant
        for j in range(n):
            z[j] -= targets[q, j]
    if not all_finite(pointer(s, at[0, W]), at[0, LEARNED], s):
        return number(math.nan), number(0)
    return loss / count, correct / count


@compiled
def add_share(source, target, length, parts):
    """Add one of so many parts of a stretch to another."""
    for i in range(length):
        target[i] += source[i] / parts


@compiled
def _query_potentials(s, at, queries, beta, keep):
    depth = len(at) - 1
    for l in range(depth):
        query_layer(s, at, l, queries)
        if l < depth - 1:
            size, width = at[l + 1, SIZE], at[l + 1, WIDTH]
            y, slopes = pointer(s, at[l + 1, Q_Y]), pointer(s, at[l + 1, Q_SLOPE])
            for q in range(queries):
                one = pointer(y, q * width)
                softplus(size, one, one, pointer(slopes, q * width if keep else 0), beta, s)


@compiled
def query_layer(s, at, l, queries):
    """The potentials W y of a query above the weights l, where its activities will be."""
    padded = -(-queries // QUERY_BLOCK) * QUERY_BLOCK
    x, y = pointer(s, at[l, Q_Y]), pointer(s, at[l + 1, Q_Y])
    w = pointer(s, at[l, W])
    _query_layer(padded, at[l, SIZE], at[l, WIDTH], at[l + 1, WIDTH], w, x, y, s)


@compiled
def query_adjoint(s, at, queries):
    """Λ after the last step, from a `query` that kept its slopes and left softmax − onehot.

    After any other where the query was asked there.
    """
    depth = len(at) - 1
    padded = -(-queries // QUERY_BLOCK) * QUERY_BLOCK
    count = s.dtype.type(queries)
    error, above = pointer(s, at[depth, Q_Y]), pointer(s, at[depth, Q_A])
    for i in range(queries * at[depth, WIDTH]):
        above[i] = error[i] / count
    for l in range(depth - 1, -1, -1):
        size, stride, width = at[l, SIZE], at[l, WIDTH], at[l + 1, WIDTH]
        a_z, x = pointer(s, at[l + 1, Q_A]), pointer(s, at[l, Q_Y])
        a_w = pointer(s, at[l, LAMBDA])
        _query_weights(queries, size, stride, width, a_z, x, a_w, s)
        clear(pointer(a_w, size * width), (at[l, ROWS] - size) * width)
        if l > 0:
            a_x, slope = pointer(s, at[l, Q_A]), pointer(s, at[l, Q_SLOPE])
            w = pointer(s, at[l, W])
            _query_activities(padded, size, stride, width, w, a_z, slope, a_x, s)


@compiled
def _query_layer(queries, rows, stride, width, w, x, z, s):
    """z[q, :] = Σ_k x[q, k]·w[k, :], eight queries at a time; `queries` is a multiple of 8."""
    for q in range(0, queries, 8):
        x0 = pointer(x, q * stride)
        x1, x2, x3 = (
            pointer(x0, stride),
            pointer(x0, 2 * stride),
            pointer(x0, 3 * stride),
        )
        x4, x5 = pointer(x0, 4 * stride), pointer(x0, 5 * stride)
        x6, x7 = pointer(x0, 6 * stride), pointer(x0, 7 * stride)
        for j in range(0, width, BYTES // s.itemsize):
            t0, t1, t2, t3 = zero(w), zero(w), zero(w), zero(w)
            t4, t5, t6, t7 = zero(w), zero(w), zero(w), zero(w)
            for k in range(rows):
                row = load(w, k * width + j)
                t0 = fma(splat(x0[k]), row, t0)
                t1 = fma(splat(x1[k]), row, t1)
                t2 = fma(splat(x2[k]), row, t2)
                t3 = fma(splat(x3[k]), row, t3)
                t4 = fma(splat(x4[k]), row, t4)
                t5 = fma(splat(x5[k]), row, t5)
                t6 = fma(splat(x6[k]), row, t6)
                t7 = fma(splat(x7[k]), row, t7)
            i = q * width + j
            store(z, i, t0)
            store(z, i + width, t1)
            store(z, i + 2 * width, t2)
            store(z, i + 3 * width, t3)
            store(z, i + 4 * width, t4)
            store(z, i + 5 * width, t5)
            store(z, i + 6 * width, t6)
            store(z, i + 7 * width, t7)


@compiled
def _query_weights(queries, rows, stride, width, a_z, x, a_w, s):
    """The adjoint of the weights: a_w[k, :] = Σ_q x[q, k]·a_z[q, :]."""
    for k in range(rows):
        for j in range(0, width, BYTES // s.itemsize):
            row = zero(a_w)
            for q in range(queries):
                row = fma(splat(x[q * stride + k]), load(a_z, q * width + j), row)
            store(a_w, k * width + j, row)


@compiled
def _query_activities(queries, rows, stride, width, w, a_z, slope, a_x, s):
    """The adjoint of the potentials below: a_x[q, k] = slope[q, k]·(w[k, :]·a_z[q, :])."""
    for k in range(rows):
        for q in range(queries):
            inner = zero(w)
            for j in range(0, width, BYTES // s.itemsize):
                inner = fma(load(w, k * width + j), load(a_z, q * width + j), inner)
            i = q * stride + k
            a_x[i] = slope[i] * total(inner)
