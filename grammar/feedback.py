"""Feedback that learns: a rule for the weights and one for the matrices that errors return by.

A name in both pools is one coefficient. B is the feedback weight of the synapse, from its post-cell
back to its pre-cell, and moves at the same time as W. Feedback must be matrices of its own: not
with `--pathway symmetric`. `self` reads W, and so needs `transport`, which `--locality` may refuse.
"""

from rulesearch.notation import B, Pool, W, e_post, e_pre, sum_post, sum_pre, y_post, y_pre, z_post

# Kolen and Pollack (1994), as in Akrout et al. (2019): ΔW = -ηey - λW, and ΔB the same transposed,
# so that W and B forget how they began, and what they have learned is the same.
error, decay_of_w, decay = -e_post * y_pre, -W, -B

# Kunin et al. (2020), the primitives: each is -∂R/∂B of its regulariser R.
# `decay` is that of R = ½‖B‖².
amp = y_pre * z_post  # R = -yᵀBz
sparse = -y_pre * sum_pre(y_pre * B)  # R = ½‖yᵀB‖²
null = -z_post * sum_post(B * z_post)  # R = ½‖Bz‖²
self_ = W  # R = -tr(BW), and so weight transport

# Their composites are sums of primitives, which coefficients make; a pool that had these beside
# their parts would be refused. To search one as one term, put it in the feedback pool alone.
symmetric_alignment = decay + self_  # R = ½‖B‖² - tr(BW)
activation_alignment = amp + sparse  # R = -yᵀBz + ½‖yᵀB‖²
information_alignment = amp + null + decay  # R = -yᵀBz + ½‖Bz‖² + ½‖B‖²

# Akrout et al. (2019), the weight mirror: ΔB = ηδδ'ᵀ, activities where data are centred noise, here
# of the data themselves; and decay.
mirror = y_pre * y_post

pool = Pool(
    kp=error,  # the pseudo-gradient, where the search starts
    decay=decay_of_w,
    oja_layer=y_post * y_pre - y_post * sum_post(y_post * W),
    errors=-e_post * e_pre,
    start={"kp": 1e-3},
)

feedback = Pool(
    kp=error,
    decay=decay,
    amp=amp,
    sparse=sparse,
    null=null,
    self=self_,
    mirror=mirror,
    of="B",
)
