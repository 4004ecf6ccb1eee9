"""The notation of a term: symbols, sums, terms, pools, and how they are read from files.

from rulesearch.notation import Pool, e_post, sum_post, W, y_post, y_pre
pool = Pool(F0=-e_post*y_pre, F9=y_post*y_pre - y_post*sum_post(y_post*W))
"""

from sympy import Abs, Heaviside, Max, Min, atan, cos, erf, exp, log, sign, sin, sqrt, tanh

from rulesearch.notation.canonical import by_potential as by_potential
from rulesearch.notation.canonical import canonical as canonical
from rulesearch.notation.canonical import degree as degree
from rulesearch.notation.canonical import factors_of as factors_of
from rulesearch.notation.joint import together as together
from rulesearch.notation.joint import with_biases as with_biases
from rulesearch.notation.loading import beside_text as beside_text
from rulesearch.notation.loading import load_pool as load_pool
from rulesearch.notation.loading import pool_from_text as pool_from_text
from rulesearch.notation.measured import values_of as values_of
from rulesearch.notation.own import quantity as quantity
from rulesearch.notation.own import trace as trace
from rulesearch.notation.parsing import parse as parse
from rulesearch.notation.plain import pool_from_plain as pool_from_plain
from rulesearch.notation.plain import pool_to_plain as pool_to_plain
from rulesearch.notation.pool import Pool as Pool
from rulesearch.notation.printing import latex_of as latex_of
from rulesearch.notation.printing import text_of as text_of
from rulesearch.notation.term import Term as Term
from rulesearch.notation.views import seen_from_pre as seen_from_pre
from rulesearch.operators import COMMON, QUANTITIES
from rulesearch.operators import operator as operator
from rulesearch.operators import sum_post as sum_post
from rulesearch.operators import sum_pre as sum_pre

y_pre, e_pre, y_post, e_post, W, B, z_pre, z_post, b_post, xi_post, n_pre, n_post, L = (
    QUANTITIES[name].symbol
    for name in (
        "y_pre",
        "e_pre",
        "y_post",
        "e_post",
        "W",
        "B",
        "z_pre",
        "z_post",
        "b_post",
        "xi_post",
        "n_pre",
        "n_post",
        "L",
    )
)

sigmoid, relu, softplus = (COMMON[name] for name in ("sigmoid", "relu", "softplus"))

__all__ = [
    "Abs",
    "B",
    "Heaviside",
    "L",
    "Max",
    "Min",
    "Pool",
    "Term",
    "W",
    "atan",
    "b_post",
    "by_potential",
    "canonical",
    "cos",
    "degree",
    "e_post",
    "e_pre",
    "erf",
    "exp",
    "factors_of",
    "latex_of",
    "load_pool",
    "log",
    "n_post",
    "n_pre",
    "operator",
    "parse",
    "pool_from_plain",
    "pool_from_text",
    "pool_to_plain",
    "quantity",
    "relu",
    "seen_from_pre",
    "sigmoid",
    "sign",
    "sin",
    "softplus",
    "sqrt",
    "sum_post",
    "sum_pre",
    "tanh",
    "text_of",
    "together",
    "trace",
    "values_of",
    "xi_post",
    "y_post",
    "y_pre",
    "z_post",
    "z_pre",
]
