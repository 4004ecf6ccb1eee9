"""The query of a lifetime, which no plan changes: its answers, loss and adjoint, as source.

Written as the `pieces` are, whose softmax and sums it calls.
"""

from __future__ import annotations

#: From potentials to Λ after the last step.
QUERY = '''\
@device
def query(s, sh, at, labels, beta, keep):
    """Mean loss and accuracy over the query; NaN and 0 where a weight is not finite."""
    query_potentials(s, sh, at, len(labels), beta, keep)
    return score(s, sh, at, labels)


@device
def query_answers(s, sh, at, targets, beta, keep):
    """Likewise with probabilities in the place of labels, [queries, outputs], each of sum 1."""
    query_potentials(s, sh, at, len(targets), beta, keep)
    return score_answers(s, sh, at, targets)


@device
def query_potentials(s, sh, at, queries, beta, keep):
    """Potentials and activities of a query; σ' of hidden layers is written where it is kept."""
    depth = len(at) - 1
    for l in range(depth):
        query_layer(s, sh, at, l, queries)
        if l < depth - 1:
            size, width = at[l + 1, SIZE], at[l + 1, WIDTH]
            y, slope = at[l + 1, Q_Y], at[l + 1, Q_SLOPE]
            for i in range(thread(), queries * width, block()):
                if i % width < size:
                    y_, slope_ = soft(ld(s, y + i), beta)
                    st(s, y + i, y_)
                    if keep:
                        st(s, slope + i, slope_)
            sync()


@device
def query_layer(s, sh, at, l, queries):
    """The potentials W y of a query above the weights l; a thread has a column, four queries."""
    w, x, y = at[l, W], at[l, Q_Y], at[l + 1, Q_Y]
    rows, stride, width = at[l, SIZE], at[l, WIDTH], at[l + 1, WIDTH]
    for i in range(thread(), (queries + 3) // 4 * width, block()):
        q, j = i // width * 4, i % width
        x0 = x + q * stride
        z0, z1, z2, z3 = F(0.0), F(0.0), F(0.0), F(0.0)
        for k in range(rows):
            row = ld(s, w + k * width + j)
            z0 += ld(s, x0 + k) * row
            z1 += ld(s, x0 + stride + k) * row
            z2 += ld(s, x0 + 2 * stride + k) * row
            z3 += ld(s, x0 + 3 * stride + k) * row
        at_z = y + q * width + j
        st(s, at_z, z0)
        st(s, at_z + width, z1)
        st(s, at_z + 2 * width, z2)
        st(s, at_z + 3 * width, z3)
    sync()


@device
def score(s, sh, at, labels):
    """Mean loss and accuracy from the potentials of a query; leaves softmax − onehot there."""
    last = len(at) - 1
    n, width = at[last, SIZE], at[last, WIDTH]
    loss, correct, count = F(0.0), F(0.0), F(len(labels))
    for q in range(thread() // WARP, len(labels), block() // WARP):
        z, label = at[last, Q_Y] + q * width, labels[q]
        best, finite = 0, True
        for j in range(n):
            if ld(s, z + j) > ld(s, z + best):
                best = j
            finite = finite and math.isfinite(ld(s, z + j))
        shift(s, n, z, z)
        picked = ld(s, z + label)
        found = softmax(s, n, z) - picked
        if thread() % WARP == 0:
            loss += found
            if finite and best == label:
                correct += F(1.0)
        if thread() % WARP == label % WARP:
            st(s, z + label, ld(s, z + label) - F(1.0))
    loss, correct = block_sum(sh, loss), block_sum(sh, correct)
    if not all_finite(s, sh, at[0, W], at[0, LEARNED]):
        return F(math.nan), F(0.0)
    return loss / count, correct / count


@device
def score_answers(s, sh, at, targets):
    """As `score` with probabilities."""
    last = len(at) - 1
    n, width = at[last, SIZE], at[last, WIDTH]
    loss, correct, count = F(0.0), F(0.0), F(len(targets))
    for q in range(thread() // WARP, len(targets), block() // WARP):
        z = at[last, Q_Y] + q * width
        best, likeliest, finite, meant = 0, 0, True, F(0.0)
        for j in range(n):
            if ld(s, z + j) > ld(s, z + best):
                best = j
            if targets[q, j] > targets[q, likeliest]:
                likeliest = j
            finite = finite and math.isfinite(ld(s, z + j))
        shift(s, n, z, z)
        for j in range(n):
            meant += targets[q, j] * ld(s, z + j)
        found = softmax(s, n, z) - meant
        if thread() % WARP == 0:
            loss += found
            if finite and best == likeliest:
                correct += F(1.0)
        for j in range(thread() % WARP, n, WARP):
            st(s, z + j, ld(s, z + j) - targets[q, j])
    loss, correct = block_sum(sh, loss), block_sum(sh, correct)
    if not all_finite(s, sh, at[0, W], at[0, LEARNED]):
        return F(math.nan), F(0.0)
    return loss / count, correct / count


@device
def query_adjoint(s, sh, at, queries):
    """Λ of a query's loss, from a `query` that kept its slopes and left the errors."""
    last = len(at) - 1
    for i in range(thread(), queries * at[last, WIDTH], block()):
        st(s, at[last, Q_A] + i, ld(s, at[last, Q_Y] + i) / F(queries))
    sync()
    for l in range(last - 1, -1, -1):
        size, stride, width = at[l, SIZE], at[l, WIDTH], at[l + 1, WIDTH]
        a_z, x, lam = at[l + 1, Q_A], at[l, Q_Y], at[l, LAMBDA]
        for i in range(thread(), at[l, ROWS] * width, block()):
            k, j = i // width, i % width
            found = F(0.0)
            if k < size:
                for q in range(queries):
                    found += ld(s, x + q * stride + k) * ld(s, a_z + q * width + j)
            st(s, lam + i, found)
        if l > 0:
            query_activities(s, at, l, queries)
        sync()


@device
def query_activities(s, at, l, queries):
    """The adjoints of a query's potentials below the weights l; a warp has one at a time."""
    size, stride, width = at[l, SIZE], at[l, WIDTH], at[l + 1, WIDTH]
    w, a_z, lane = at[l, W], at[l + 1, Q_A], thread() % WARP
    for i in range(thread() // WARP, queries * size, block() // WARP):
        q, k = i // size, i % size
        inner = F(0.0)
        for j in range(lane, width, WARP):
            inner += ld(s, w + k * width + j) * ld(s, a_z + q * width + j)
        inner = lane_sum(inner)
        if lane == 0:
            at_q = q * stride + k
            st(s, at[l, Q_A] + at_q, ld(s, at[l, Q_SLOPE] + at_q) * inner)
'''
