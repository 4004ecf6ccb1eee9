"""The ten candidate terms of Shervani-Tabar and Rosenbaum (2023), section 4.2."""

from rulesearch.notation import Pool, W, e_post, e_pre, sum_post, sum_pre, y_post, y_pre

pool = Pool(
    F0=-e_post * y_pre,
    F1=-y_post * e_pre,
    F2=-e_post * e_pre,
    F3=-W,
    F4=-e_pre,
    F5=-e_post * sum_post(y_post) * y_pre,
    F6=-y_post * e_pre * sum_post(y_post * sum_pre(W * e_pre)),
    F7=-e_post * y_pre * sum_post(y_post * sum_pre(W * e_pre)),
    F8=-y_post * e_pre * sum_post(e_post * sum_pre(W * y_pre)),
    F9=y_post * y_pre - y_post * sum_post(y_post * W),
    start={"F0": 1e-3},
)
