"""Eligibility, and a signal that is the same everywhere: whether the loss was worse than expected.

Noise in the potentials makes these rules follow the gradient in the mean (node perturbation), so
run them with some:

    python -m rulesearch.search grammar/three_factor.py --noise 0.1
"""

from rulesearch.notation import L, Pool, e_post, trace, xi_post, y_post, y_pre, z_post

expected = trace("expected", L, decay=0.99, initial="first")  # the loss to expect
rest = trace("rest_post", z_post, decay=0.95)  # the potential to expect
elig = trace("elig", y_post * y_pre, decay=0.9)  # a synapse's coincidences
perturbed = trace("perturbed", xi_post * y_pre, decay=0.9)  # and what its noise did
cubed = trace("cubed", ((z_post - rest) * y_pre) ** 3, decay=0.9)

pool = Pool(
    error=-e_post * y_pre,  # the pseudo-gradient, where the search starts
    # Williams (1992), REINFORCE: Δw = α(r - b) ∂ln g/∂w; for Gaussian noise, ∂ln g/∂w is ξy/σ.
    reinforce=(expected - L) * xi_post * y_pre,
    # Fiete and Seung (2006): dW = ηR(t) ∫ G(t - t') ξ(t') s(t') dt'.
    node_perturbation=(expected - L) * perturbed,
    # Fremaux and Gerstner (2016): dw/dt = M·e, with the trace e of a Hebbian coincidence.
    three_factor=(expected - L) * elig,
    # The same without a trace: M·pre·post.
    modulated_hebb=(expected - L) * y_post * y_pre,
    # Miconi (2017): Δe = S(x(r - r̄)) with S(x) = x³, and Δw = ηe(R - R̄).
    miconi=(expected - L) * cubed,
    # Without expecting anything: the mean of the loss is then learned from as well.
    unexpected=-L * xi_post * y_pre,
    # The loss as the rate of the error's own rule.
    error_by_loss=-L * e_post * y_pre,
    start={"error": 1e-3},
)
