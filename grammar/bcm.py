"""Hebbian rules with a sliding threshold beside the pseudo-gradient: what a neuron's memory can do.

A trace moves in every step, before any term reads it; `theta_post` is the mean of the last twenty
or so squared activities of the post-neuron.
"""

from rulesearch.notation import Pool, W, e_post, seen_from_pre, sum_post, trace, y_post, y_pre

theta = trace("theta_post", y_post**2, decay=0.95)  # Intrator and Cooper (1992), θ = E[c²]
mean = trace("mean_post", y_post, decay=0.95)  # Bienenstock, Cooper and Munro (1982), c̄
mean_pre = seen_from_pre(mean)  # the same of the pre-neuron

pool = Pool(
    error=-e_post * y_pre,  # the pseudo-gradient, where the search starts
    # Intrator and Cooper (1992): dm/dt = c(c - θ)d with θ = E[c²].
    bcm=y_post * (y_post - theta) * y_pre,
    # Bienenstock, Cooper and Munro (1982): dm/dt = φ(c, c̄)d - εm, here φ = c(c - c̄²).
    bcm_1982=y_post * (y_post - mean**2) * y_pre,
    decay=-W,
    # Law and Cooper (1994): dm/dt = c(c - θ)d/θ; a little is added, as θ begins at 0.
    bcm_over_threshold=y_post * (y_post - theta) * y_pre / (theta + 0.01),
    # Sejnowski (1977): the covariance, dm/dt = (c - c̄)(d - d̄).
    covariance=(y_post - mean) * (y_pre - mean_pre),
    # van Rossum, Bi and Turrigiano (2000): dm/dt = βm(a - c̄); βa·m is the decay turned around.
    scaling=-mean * W,
    # Oja (1982) and Oja's subspace rule, without memory.
    oja_cell=y_post * y_pre - y_post**2 * W,
    oja_layer=y_post * y_pre - y_post * sum_post(y_post * W),
    # The threshold as a gate of the error.
    gated_error=-e_post * (y_post - theta) * y_pre,
    start={"error": 1e-3},
)
