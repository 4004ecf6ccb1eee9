"""The products of `monomials.py`, each also times the weight and times its square.

So none of the five quantities of a synapse stands in a power above the second.
"""

from rulesearch.notation import Pool, W, e_post, e_pre, sum_post, y_post, y_pre

pool = Pool.generate(
    post=(y_post, e_post),
    pre=(y_pre, e_pre),
    synapse=(1, W, W**2),
    degree=3,
    power=2,
    terms={
        "oja_cell": y_post * y_pre - y_post**2 * W,
        "oja_layer": y_post * y_pre - y_post * sum_post(y_post * W),
    },
)
