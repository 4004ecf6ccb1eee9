"""Every product of activities and errors up to the third degree, with decay and Oja's rules.

No quantity stands in a power above the second: 30 terms, named by their factors, such as
`epost_ypre` for -e_post*y_pre, where the search starts.
"""

from rulesearch.notation import Pool, W, e_post, e_pre, sum_post, y_post, y_pre

pool = Pool.generate(
    post=(y_post, e_post),
    pre=(y_pre, e_pre),
    degree=3,
    power=2,
    terms={
        "decay": -W,
        "oja_cell": y_post * y_pre - y_post**2 * W,
        "oja_layer": y_post * y_pre - y_post * sum_post(y_post * W),
    },
)
