"""Random terms, pools, layers and networks for the property tests.

Terms are built bottom up from the table of operators, so that a failing one shrinks to something
short; what a step may not make is filtered at that step. A new row of the table is drawn without
a change here.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import oracle
import sympy
from hypothesis import assume
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool, Term
from rulesearch.operators import COMMON, OPERATORS, QUANTITIES, operator_of

#: What a term of W may read in the paper's network; plastic feedback, biases and noise have tests
#: of their own.
SYMBOLS = {
    name: row.symbol for name, row in QUANTITIES.items() if name not in ("B", "b_post", "xi_post")
}
#: What every term may call: the table, and what is given as expressions of it.
ROWS = {**OPERATORS, **{name: operator_of(function) for name, function in COMMON.items()}}
#: Quantities that a layer has an entry of its own for.

#: Larger than what float64 still compares to twelve digits after a few sums.
LARGEST = 1e6

numbers = st.sampled_from([-3, -2, -1, 1, 2, 3]).map(sympy.Integer)
fractions = st.sampled_from(["1/2", "-1/3", "3/2"]).map(sympy.Rational)


def _usable(expression):
    """Not a constant, and made of real, finite parts: SymPy may have worked something out."""
    strange = (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo, sympy.I)
    return bool(expression.free_symbols) and not expression.has(*strange)


_HALF = sympy.Rational(1, 2)
#: Functions with something at 0 or 1/2, where data may be exactly.
SINGULAR = (
    lambda a: sympy.sqrt(sympy.Abs(a)),
    lambda a: sympy.sqrt(sympy.Max(a, 0)),
    lambda a: sympy.Max(a, 0) ** sympy.Rational(3, 2),
    lambda a: sympy.Abs(a) ** sympy.Rational(-1, 3),
    lambda a: 1 / a,
    lambda a: sympy.exp(-1 / a**2),
    lambda a: sympy.exp(9 * a**4),
    lambda a: a**32,
    lambda a: sympy.log(sympy.Abs(a)),
    lambda a: sympy.Heaviside(a - _HALF),
    lambda a: sympy.sqrt(sympy.Max(a - _HALF, 0)),
    lambda a: sympy.tanh(sympy.sqrt(1 - sympy.Abs(a))),
    lambda a: sympy.tanh(1 / a),
)


def _calls(rows, children):
    def called(row):
        fewest, most = row.arity
        arguments = st.lists(children, min_size=fewest, max_size=most or fewest + 1)
        return arguments.map(lambda args: row.function(*(row.within(a) for a in args)))

    return st.sampled_from(rows).flatmap(called)


def expressions(
    *,
    operators=tuple(ROWS),
    smooth=False,
    polynomial=False,
    symbols=tuple(SYMBOLS),
    leaves=6,
    own=(),
    singular=False,
):
    """SymPy expressions in the notation of a term, as written: not canonical.

    Args:
        operators: names of rows that may be called.
        smooth: only rows whose value does not jump.
        polynomial: only + - * whole powers and sums, whole coefficients.
        symbols: names of quantities that may be read.
        leaves: at most this many symbols and numbers.
        own: further operator rows, such as those of `rulesearch.operators.operator`.
        singular: also what is infinite, has an infinite derivative, or jumps at 0 or 1/2: roots,
            poles, exponentials of powers, thresholds.
    """
    rows = [*(ROWS[name] for name in operators), *own]
    rows = [row for row in rows if row.smooth or not smooth]
    if polynomial:
        rows = [row for row in rows if row.drops]
    sums = [row for row in rows if row.drops]
    coefficient = numbers if polynomial else numbers | fractions
    leaf = st.sampled_from([SYMBOLS[name] for name in symbols])

    def grown(children):
        mixed = children | coefficient
        choices = [
            st.builds(lambda a, b: a * b, children, mixed),
            st.builds(lambda a, b: a + b, children, mixed),
            st.builds(lambda a, b: a - b, children, mixed),
            st.builds(lambda a, n: a**n, children, st.sampled_from([2, 3])),
        ]
        if rows:
            choices.append(_calls(rows, children))
        if sums:
            # A choice of their own, and of products: most of what can go wrong is about them.
            total = st.sampled_from(sums)
            choices.append(st.builds(lambda s, a, b: s.function(a * b), total, children, mixed))
        if not polynomial:
            # Bounded away from 0, as a denominator must be.
            choices.append(st.builds(lambda a, b: a / (1 + b**2), mixed, children))
            choices.append(st.builds(lambda a: 2**a, children))
        if singular:
            choices.append(st.builds(lambda f, a: f(a), st.sampled_from(SINGULAR), children))
        choice = st.one_of(choices)

        @st.composite
        def usable(draw):  # as a filter, but one that does not print all its children
            expression = draw(choice)
            assume(_usable(expression))
            return expression

        return usable()

    return st.recursive(leaf, grown, max_leaves=leaves)


def polynomials(**more):
    """Expressions of + - * whole powers and sums, with whole coefficients."""
    return expressions(polynomial=True, **more)


def smooth_expressions(**more):
    """Expressions whose value does not jump."""
    return expressions(smooth=True, **more)


def _term(expression):
    try:
        return Term.of("F", expression)
    except RuleSearchError:
        return None  # zero once it is canonical, or too many parts


def terms(**more):
    """Terms that a pool takes; arguments as of `expressions`."""
    return expressions(**more).map(_term).filter(lambda term: term is not None)


@st.composite
def pools(draw, most=4, **more):
    """Pools of 1 to `most` independent terms, G0, G1, …; arguments as of `expressions`."""
    drawn = draw(st.lists(terms(**more), min_size=1, max_size=most))
    try:
        return Pool(**{f"G{i}": term.expression for i, term in enumerate(drawn)})
    except RuleSearchError:
        assume(False)  # two are the same, or one adds nothing


def calls(expression, name):
    """Whether an expression calls the operator of this name."""
    if name == "sqrt":
        return any(power.exp == sympy.Rational(1, 2) for power in expression.atoms(sympy.Pow))
    return expression.has(OPERATORS[name].function)


# --- values -----------------------------------------------------------------------------------

seeds = st.integers(0, 2**32 - 1)


def free_layer(seed, post, pre):
    """All quantities of one layer, free of each other, float64, of order one; y above 0."""
    rng = np.random.default_rng(seed)

    def signed(*shape):
        return rng.uniform(0.2, 1.3, shape) * rng.choice([-1.0, 1.0], shape)

    return {
        "W": signed(post, pre),
        "y_pre": rng.uniform(0.1, 1.3, pre),
        "e_pre": signed(pre),
        "z_pre": signed(pre),
        "y_post": rng.uniform(0.1, 1.3, post),
        "e_post": signed(post),
        "z_post": signed(post),
        "L": float(rng.uniform(0.5, 2.0)),
        "B": signed(post, pre),
        "b_post": signed(post),
        "xi_post": signed(post),
    }


def layer(seed, post, pre):
    """As `free_layer`, with the potential that W and y_pre give."""
    free = free_layer(seed, post, pre)
    return {**free, "z_post": free["W"] @ free["y_pre"]}


sizes = st.integers(1, 3)
free_layers = st.builds(free_layer, seeds, sizes, sizes)
layers = st.builds(layer, seeds, sizes, sizes)


def broadcastable(values):
    """A layer of the oracle as `values_of` takes it."""

    def shaped(name, value):
        if np.ndim(value) != 1:
            return np.asarray(value)
        return value[None, :] if name.endswith("_pre") else value[:, None]

    return {name: shaped(name, value) for name, value in values.items()}


def counts(values):
    """The sizes of a layer, as quantities that a term may read."""
    post, pre = values["W"].shape
    return {"n_pre": float(pre), "n_post": float(post)}


def matrix_or_reject(expression, values):
    """The oracle's update matrix; rejects what is outside a domain, or too large to compare."""
    try:
        matrix = oracle.update_matrix(expression, values)
    except (OverflowError, ValueError):
        assume(False)
    assume(np.abs(matrix).max() < LARGEST)
    return matrix


@dataclass(frozen=True)
class Network:
    """A small network with the data of one lifetime, float64.

    Attributes:
        sizes: neurons of each layer, input to output.
        pathway: random, symmetric, direct or sign-symmetric.
        weights: list over layers of [post, pre].
        feedback: list over target layers of [pre, source]; None for a symmetric pathway.
        x: [steps, inputs], some of them 0, as pixels are.
        labels: [steps].
        query_x: [queries, inputs].
        query_labels: [queries].
    """

    sizes: tuple[int, ...]
    pathway: str
    weights: list[np.ndarray]
    feedback: list[np.ndarray] | None
    x: np.ndarray
    labels: np.ndarray
    query_x: np.ndarray
    query_labels: np.ndarray


def network(seed, sizes, pathway, steps=3, queries=2, halves=0.0):
    """A network of these sizes, weights of order one over the root of the fan-in.

    A share `halves` of the pixels is exactly 1/2.
    """
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(sizes))
    feedback = None
    if pathway != "symmetric":
        sources = [sizes[-1] if pathway == "direct" else post for _, post in pairs]
        feedback = [
            rng.normal(size=(pre, source)) / np.sqrt(source)
            for (pre, _), source in zip(pairs, sources, strict=True)
        ]

    def images(count):
        values = rng.uniform(0, 1, (count, sizes[0]))
        chance = rng.uniform(size=values.shape)
        return np.where(chance < 0.3, 0.0, np.where(chance > 1 - halves, 0.5, values))

    return Network(
        sizes=tuple(sizes),
        pathway=pathway,
        weights=[rng.normal(size=(post, pre)) / np.sqrt(pre) for pre, post in pairs],
        feedback=feedback,
        x=images(steps),
        labels=rng.integers(0, sizes[-1], steps),
        query_x=images(queries),
        query_labels=rng.integers(0, sizes[-1], queries),
    )


PATHWAYS = ("random", "symmetric", "direct", "sign-symmetric")
networks = st.builds(
    network,
    seeds,
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.sampled_from(PATHWAYS),
)
