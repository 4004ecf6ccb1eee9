"""A rule per layer: which layers learn from the Hebbian error term, as in Table 1 of the paper.

Shervani-Tabar and Rosenbaum (2023) give each layer of a network of three one of two rules, F0 alone
or eHebb, which is F0 and F2 (Eq. 8), and look at the alignment of the errors. The coefficients are
shared by the layers; a layer only has or has not the second term. This is the row in which W_{1,2}
and W_{2,3} have it, for a network such as

    python -m rulesearch.search grammar/per_layer.py --layers 130,70

Another row is another list, here or on the command line, such as `--where F2=1,3`; layer l is
W_{l-1,l}, and -1 is the last. `--per-layer` gives each term a coefficient of its own in each layer.
"""

from rulesearch.notation import Pool, e_post, e_pre, y_pre

pool = Pool(
    F0=-e_post * y_pre,
    F2=-e_post * e_pre,
    where={"F2": (2, 3)},
    start={"F0": 1e-3},
)
