"""Hebbian candidates around the pseudo-gradient: a pool to start your own from.

Each line is the change of one synapse. Copy the file, change the lines, run the search on it.
"""

from rulesearch.notation import (
    Abs,
    L,
    Pool,
    W,
    e_post,
    e_pre,
    operator,
    sum_post,
    tanh,
    y_post,
    y_pre,
    z_post,
)

# An operator of one's own, given as an expression of others: nothing else is needed.
softsign = operator("softsign", lambda x: x / (1 + Abs(x)))

pool = Pool(
    error=-e_post * y_pre,  # the pseudo-gradient, where the search starts
    hebb_error=-e_post * e_pre,  # Hebb's rule between errors
    oja_cell=y_post * y_pre - y_post**2 * W,  # Oja (1982): this synapse's own weight alone
    oja_layer=y_post * y_pre - y_post * sum_post(y_post * W),  # Oja's subspace rule
    saturating=tanh(y_post) * y_pre - W,  # Hebb that saturates, with decay
    magnitude=-Abs(W) * y_pre,  # does not separate into post times pre
    gated=-softsign(W * y_pre),  # nor does this
    potential=-softsign(z_post) * y_pre,  # reads the potential of the post-cell
    third_factor=L * softsign(z_post) * y_pre,  # Hebb, gated by the step's loss
    start={"error": 1e-3},
)
