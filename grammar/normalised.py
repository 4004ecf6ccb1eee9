"""Errors and activities over their own size, and activities about their own mean, as traces tell.

A neuron divides what it has by the root of the mean of its square, as Adam (Kingma and Ba 2015,
Algorithm 1: m/(sqrt(v) + ε)) does for every synapse; here each of the two cells does it for itself,
so that a synapse remembers nothing. And a cell's activity is taken from its own mean, over its mean
square: with inputs that are not all of one sign and of one size, descent by the error is faster
(LeCun, Bottou, Orr and Müller 1998, "Efficient BackProp", 4.3). With random feedback, the default:

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
me = trace("me_post", e_post, decay=0.95, initial="first")
my = trace("my_post", y_post, decay=0.95, initial="first")

eh_post = quantity("eh_post", e_post / (sqrt(ve) + 0.001))
yh_post = quantity("yh_post", y_post / (sqrt(vy) + 0.001))
yc_post = quantity("yc_post", (y_post - my) / (sqrt(vy) + 0.001))
yw_post = quantity("yw_post", (y_post - my) / (vy + 0.01))
eh_pre, yh_pre = seen_from_pre(eh_post), seen_from_pre(yh_post)
yc_pre, yw_pre = seen_from_pre(yc_post), seen_from_pre(yw_post)

pool = Pool(
    error=-e_post * y_pre,  # the pseudo-gradient, where the search starts
    # The same of normalised quantities, both or one of them.
    error_both=-eh_post * yh_pre,
    error_post=-eh_post * y_pre,
    error_pre=-e_post * yh_pre,
    # With the pre-cell's activity about its mean, over its root mean square or its mean square.
    centred=-e_post * yc_pre,
    centred_both=-eh_post * yc_pre,
    whitened=-e_post * yw_pre,
    whitened_both=-eh_post * yw_pre,
    # Errors alone, as a bias learns, and their means.
    error_alone=-eh_post,
    error_plain=-e_post,
    error_mean=-me,
    mean_mean=-me * seen_from_pre(my),
    # Errors with the post-cell's own activity, and with the pre-cell's error.
    gain=-eh_post * y_post,
    gain_hat=-e_post * yh_post,
    square=-(y_post**2) * eh_pre,
    errors=-eh_post * eh_pre,
    errors_plain=-e_post * e_pre,
    back=-yh_post * eh_pre,
    back_centred=-yc_post * eh_pre,
    # Activities alone.
    hebb=yh_post * yh_pre,
    hebb_centred=yc_post * yc_pre,
    threshold=-(y_post**2),
    threshold_hat=-yh_post,
    drive=-y_pre,
    decay=-W,
    # Terms of the rules of docs/findings.md.
    oja_layer=y_post * y_pre - y_post * sum_post(y_post * W),
    oja_hat=y_post * yh_pre - y_post * sum_post(y_post * W),
    own=-e_post * y_post,
    own_square=-e_post * y_post**2,
    pre_square=-(e_pre**2),
    three=-e_post * y_post * e_pre,
    squared=-(e_post**2) * y_pre,
    squared_hat=-(eh_post**2) * yh_pre,
    start={"error": 1e-3},
)
