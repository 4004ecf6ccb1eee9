"""The pieces of a lifetime that no plan changes, for the threads of a block, as source.

They have the names and meanings of those in `fused.steps`, and of its vectors' words, with numbers
in the place of vectors. Pointers are places in `s`; `sh` is what threads of a block exchange values
by. All threads of a block call a piece together, and when it is left everything that it wrote can
be read.
"""

from __future__ import annotations

#: Of numbers alone.
NUMBERS = '''\
@device
def sign(x):
    """-1, 0 or 1; 0 for NaN."""
    return F(1.0) if x > F(0.0) else F(-1.0) if x < F(0.0) else F(0.0)


@device
def heaviside(x):
    """0, 1/2 at zero, or 1."""
    return (F(1.0) + sign(x)) / F(2.0)


@device
def maximum(x, y):
    """The larger; NaN if either is."""
    return x if x > y or math.isnan(x) else y


@device
def minimum(x, y):
    """The smaller; NaN if either is."""
    return x if x < y or math.isnan(x) else y


@device
def product(x, y):
    """x·y in a derivative: zero where either is, whatever the other is."""
    return F(0.0) if x == F(0.0) or y == F(0.0) else x * y


@device
def reciprocal(x):
    """1/x, and infinity where x is a zero of either sign."""
    return F(1.0) / x if x != F(0.0) else F(math.inf)


@device
def clipped(x, low, high):
    """x between low and high; NaN stays."""
    return low if x < low else high if x > high else x


@device
def within(x, test, low, high):
    """0 where a test is beyond low or high, else x."""
    return F(0.0) if test < low or test > high else x


@device
def kept(x, live):
    """x where `live` is not 0, else 0, whatever x is."""
    return x if live != F(0.0) else F(0.0)


@device
def signed(x, y):
    """|x|·sign(y); 0 where y is 0 or NaN."""
    return abs(x) * sign(y) if y == y and y != F(0.0) else F(0.0)
'''

#: Of stretches of the array, and between threads.
STRETCHES = '''\
@device
def over_warps(sh, i, width, j):
    """The sum, in the order of the warps, of what each has put to place j of its i-th row."""
    found, warps = F(0.0), block() // WARP
    for w in range(warps):
        found += ld(sh, (i * warps + w) * width + j)
    return found


@device
def block_sum(sh, x):
    """The sum over the threads of a block, in a fixed order; every thread gets it."""
    x = lane_sum(x)
    if thread() % WARP == 0:
        st(sh, thread() // WARP, x)
    sync()
    x = over_warps(sh, 0, 1, 0)
    sync()
    return x


@device
def left_out(order, which, k):
    """Whether a row is none of those asked for: any of some bits, or 0 for all rows."""
    return which != 0 and ld(order, k) & which == 0


@device
def some(s, sh, x, n):
    """Whether any of the first n values is not zero."""
    found = False
    for j in range(n):
        found |= ld(s, x + j) != F(0.0)
    return found


@device
def all_finite(s, sh, start, length):
    """Whether all values of a stretch are numbers."""
    seen = F(0.0)
    for i in range(thread(), length, block()):
        seen += ld(s, start + i) * F(0.0)
    return block_sum(sh, seen) == F(0.0)


@device
def clear(s, sh, target, length):
    """Set a stretch to zero."""
    for i in range(thread(), length, block()):
        st(s, target + i, F(0.0))
    sync()


@device
def copy(s, sh, source, target, length):
    """Copy a stretch."""
    for i in range(thread(), length, block()):
        st(s, target + i, ld(s, source + i))
    sync()


@device
def add_share(s, sh, source, target, length, parts):
    """Add one of so many parts of a stretch to another."""
    for i in range(thread(), length, block()):
        st(s, target + i, ld(s, target + i) + ld(s, source + i) / parts)
    sync()


@device
def use_weights(at, start):
    """Let the weights of all layers be those that begin at `start`."""
    shift = start - at[0, W]
    sync()
    if thread() < len(at) - 1:
        at[thread(), W] += shift
    sync()
'''

#: From an image to the error of the output, and back.
STEP = '''\
@device
def frame(at, t, keep):
    """Where the frame of step t begins; two are used in turn where no tape is kept."""
    return at[0, FRAMES] + ((t + 1) if keep else (t + 1) & 1) * at[0, FRAME]


@device
def pixels(s, sh, at, f, x, slopes, t):
    """Put the image of step t into its frame, and σ' of its pixels."""
    for k in range(thread(), at[0, SIZE], block()):
        st(s, f + at[0, Y] + k, x[t, k])
        st(s, f + at[0, SLOPE] + k, slopes[t, k])
    sync()


@device
def list_rows(s, sh, at, order, f, other):
    """Note which pixels are lit in a frame, bit 1, and which in it or the other, bit 2."""
    for k in range(thread(), at[0, SIZE], block()):
        now = ld(s, f + at[0, Y] + k) != F(0.0) or at[0, SKIPS] == 0
        touched = now or ld(s, other + at[0, Y] + k) != F(0.0)
        st(order, k, (1 if now else 0) + (2 if touched else 0))
    sync()


@device
def list_dark(s, sh, at, order, f):
    """Note which pixels `list_rows` does not call lit in a frame, bit 4."""
    for k in range(thread(), at[0, SIZE], block()):
        if ld(order, k) & 1 == 0:
            st(order, k, ld(order, k) + 4)
    sync()


@device
def soft(z, beta):
    """Softplus log(1 + exp(βz))/β and its slope, without overflow."""
    scaled = beta * z
    small = F(math.exp(-abs(scaled)))
    positive = F(0.0) if scaled < F(0.0) else scaled
    y = (positive + F(math.log1p(small))) / beta
    return y, (small if scaled < F(0.0) else F(1.0)) / (F(1.0) + small)


@device
def softplus(s, sh, n, z, y, slope, beta):
    """Softplus and its slope of a stretch."""
    for j in range(thread(), n, block()):
        y_, slope_ = soft(ld(s, z + j), beta)
        st(s, y + j, y_)
        st(s, slope + j, slope_)
    sync()


@device
def hidden(s, sh, at, l, f, beta):
    """Activity and σ' of a hidden layer."""
    softplus(s, sh, at[l, SIZE], f + at[l, Z], f + at[l, Y], f + at[l, SLOPE], beta)


@device
def hidden_adjoint(s, sh, at, l, f, b):
    """From the adjoint of a hidden layer's activity to that of its potential."""
    a_z, a_y, slope = b + at[l, A_Z], b + at[l, A_Y], f + at[l, SLOPE]
    for j in range(thread(), at[l, SIZE], block()):
        st(s, a_z + j, ld(s, a_z + j) + product(ld(s, a_y + j), ld(s, slope + j)))
    sync()


@device
def shift(s, n, z, y):
    """As `shift` of the CPU, by the lanes of one warp."""
    lane, top = thread() % WARP, ld(s, z)
    for j in range(lane, n, WARP):
        if ld(s, z + j) > top:
            top = ld(s, z + j)
    top = lane_max(top)
    sync_lanes()  # y may be where z is
    for j in range(lane, n, WARP):
        st(s, y + j, ld(s, z + j) - top)
    sync_lanes()


@device
def softmax(s, n, y):
    """The softmax in the place of what `shift` has written, by its warp; log Σ exp(y) for each."""
    lane, mass = thread() % WARP, F(0.0)
    sync_lanes()  # others may read what is shifted
    for j in range(lane, n, WARP):
        st(s, y + j, F(math.exp(ld(s, y + j))))
        mass += ld(s, y + j)
    mass = lane_sum(mass)
    for j in range(lane, n, WARP):
        st(s, y + j, ld(s, y + j) / mass)
    return F(math.log(mass))


@device
def output(s, sh, at, f, label):
    """Softmax, loss and error of the output layer."""
    last = len(at) - 1
    z, y, e, n = f + at[last, Z], f + at[last, Y], f + at[last, E], at[last, SIZE]
    if thread() < WARP:
        shift(s, n, z, y)
        picked = ld(s, y + label)
        loss = softmax(s, n, y) - picked
        for j in range(thread(), n, WARP):
            st(s, e + j, ld(s, y + j) - (F(1.0) if j == label else F(0.0)))
        if thread() == 0:
            st(s, f + at[0, L], loss)
    sync()


@device
def output_answers(s, sh, at, f, answers, t):
    """As `output` with probabilities in the place of a label, a row of [steps, outputs]."""
    last = len(at) - 1
    z, y, e, n = f + at[last, Z], f + at[last, Y], f + at[last, E], at[last, SIZE]
    if thread() < WARP:
        shift(s, n, z, y)
        meant = F(0.0)
        for j in range(thread(), n, WARP):
            meant += answers[t, j] * ld(s, y + j)
        loss = softmax(s, n, y) - lane_sum(meant)
        for j in range(thread(), n, WARP):
            st(s, e + j, ld(s, y + j) - answers[t, j])
        if thread() == 0:
            st(s, f + at[0, L], loss)
    sync()


@device
def output_adjoint(s, sh, at, f, b):
    """From the adjoints of the output's activity, error and loss to that of its potential.

    That of the most active output is taken off before; why is said where the CPU does it.
    """
    last = len(at) - 1
    y, e, n = f + at[last, Y], f + at[last, E], at[last, SIZE]
    a_y, a_e, a_z = b + at[last, A_Y], b + at[last, A_E], b + at[last, A_Z]
    a_loss = ld(s, b + at[0, A_L])
    if thread() < WARP:
        top, first, inner = ld(s, y), n, F(0.0)
        for j in range(thread(), n, WARP):
            if ld(s, y + j) > top:
                top = ld(s, y + j)
        top = lane_max(top)
        for j in range(thread(), n, WARP):
            if ld(s, y + j) == top and j < first:
                first = j
        most = int(-lane_max(F(-first)))
        most = most if most < n else 0  # where activities are no numbers
        common = ld(s, a_y + most) + ld(s, a_e + most)
        for j in range(thread(), n, WARP):
            if j != most:
                inner += product(ld(s, y + j), ld(s, a_y + j) + ld(s, a_e + j) - common)
        inner = lane_sum(inner) + (a_loss - a_loss)
        for j in range(thread(), n, WARP):
            apart = ld(s, a_y + j) + ld(s, a_e + j) - common if j != most else F(0.0)
            share = product(ld(s, y + j), apart - inner)
            share += product(a_loss, ld(s, e + j))
            st(s, a_z + j, ld(s, a_z + j) + share)
    sync()
'''

#: All pieces of a step.
PIECES = "\n\n".join((NUMBERS, STRETCHES, STEP))
