"""Errors and activities over their own size, as two running means a neuron tell it.

A neuron divides what it has by the root of the mean of its square, as Adam (Kingma and Ba 2015,
Algorithm 1: m/(sqrt(v) + ε)) does for every synapse; here each of the two cells does it for itself,
so that a synapse remembers nothing. With random feedback, the default:

    python -m rulesearch.search grammar/normalised.py --dataset emnist
"""

from rulesearch.notation import (
    Pool,
    W,
    e_post,
    e_pre,
    quantity,
    seen_from_pre,
    sqrt,
    sum_post,
    trace,
    y_post,
    y_pre,
)

ve = trace("ve_post", e_post**2, decay=0.95, initial="first")
vy = trace("vy_post", y_post**2, decay=0.95, initial="first")

eh_post = quantity("eh_post", e_post / (sqrt(ve) + 0.001))
yh_post = quantity("yh_post", y_post / (sqrt(vy) + 0.001))
eh_pre, yh_pre = seen_from_pre(eh_post), seen_from_pre(yh_post)

pool = Pool(
    error=-e_post * y_pre,  # the pseudo-gradient, where the search starts
    # The same of normalised quantities, both or one of them.
    error_both=-eh_post * yh_pre,
    error_post=-eh_post * y_pre,
    error_pre=-e_post * yh_pre,
    error_alone=-eh_post,
    # Errors with the post-cell's own activity, and with the pre-cell's error.
    gain=-eh_post * y_post,
    square=-(y_post**2) * eh_pre,
    errors=-eh_post * eh_pre,
    back=-yh_post * eh_pre,
    # Activities alone.
    hebb=yh_post * yh_pre,
    threshold=-(y_post**2),
    drive=-y_pre,
    decay=-W,
    # The terms of the six-term rule of docs/findings.md.
    oja_layer=y_post * y_pre - y_post * sum_post(y_post * W),
    own=-e_post * y_post,
    pre_square=-(e_pre**2),
    three=-e_post * y_post * e_pre,
    start={"error": 1e-3},
)
