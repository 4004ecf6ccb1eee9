"""A space of a thousand terms: products of the third degree, with the weight and sums over it.

Beside activities and errors there is the sign of an error, which says where to go and not how
far. Each product stands alone, times the weight, and times its magnitude, and may hold one sum over
the synapses of one of its two cells, such as sum_post(y_post*W).

    python -m rulesearch.search grammar/space.py --explain

prints them all, and how many of them each locality allows.
"""

from rulesearch.notation import Abs, Pool, W, e_post, e_pre, sign, sum_post, y_post, y_pre

pool = Pool.generate(
    post=(y_post, e_post, sign(e_post)),
    pre=(y_pre, e_pre, sign(e_pre)),
    synapse=(1, W, Abs(W)),
    degree=3,
    power=2,
    sums=1,
    needs="dendritic,retrograde",
    terms={
        "oja_cell": y_post * y_pre - y_post**2 * W,
        "oja_layer": y_post * y_pre - y_post * sum_post(y_post * W),
    },
)
