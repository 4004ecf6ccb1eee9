"""What a rule is compared with: backprop by SGD and by Adam, each a pool of one term.

The coefficient of the term is the rate. On the symmetric pathway the pseudo-gradient is the
gradient; on a random one the same term is feedback alignment.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, sqrt

from rulesearch.notation import Pool, e_post, trace, y_pre
from rulesearch.notation.term import PSEUDO_GRADIENT

#: What biases follow by backprop, as weights follow the pseudo-gradient.
BIAS_GRADIENT = -e_post
#: Shares of Adam's two running means that a step leaves, and what is added to the root.
MEAN, SQUARE, LEAST = 0.9, 0.99, 1e-8


def by_gradient(*, bias: bool) -> Pool:
    """The pseudo-gradient; biases, where there are any, have theirs with its rate.

    Example:
        >>> by_gradient(bias=False).names
        ('F',)
    """
    return _of(PSEUDO_GRADIENT, BIAS_GRADIENT, bias)


def by_adam(*, bias: bool) -> Pool:
    """Adam's step (Kingma and Ba 2015, Algorithm 1), one example a step.

    Both means begin at zero. What corrects them for that, 1 - MEAN**t at step t, is the running
    mean of 1, which begins there too.
    """
    return _of(adam(e_post * y_pre), adam(e_post, "_post"), bias)


def adam(gradient: Expr, of: str = "") -> Expr:
    """Adam's step against what is given for the gradient.

    Args:
        gradient: at a synapse, or at a neuron.
        of: `_post` if it is a neuron's, as names of traces have it.
    """
    mean = trace(f"adam_mean{of}", gradient, decay=MEAN)
    square = trace(f"adam_square{of}", gradient**2, decay=SQUARE)
    mean_of_one = trace("adam_mean_of_one", 1, decay=MEAN)
    square_of_one = trace("adam_square_of_one", 1, decay=SQUARE)
    return -(mean / mean_of_one) / (sqrt(square / square_of_one) + LEAST)


def _of(weights: Expr, biases: Expr, bias: bool) -> Pool:
    pool = Pool(F=weights)
    if not bias:
        return pool
    (term,) = pool.terms
    return Pool.checked((replace(term, beside=(("b", biases),)),), pool.start, pool.where)
