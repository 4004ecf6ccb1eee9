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
from rulesearch.model import Model
from rulesearch.notation import Pool, Term, quantity, trace
from rulesearch.notation.canonical import canonical
from rulesearch.notation.own import seen_from_pre
from rulesearch.operators import COMMON, OPERATORS, QUANTITIES, Interval, index_of, operator_of
from rulesearch.operators.activations import ACTIVATIONS, activation
from rulesearch.operators.losses import LOSSES, TARGET, Loss

SYMBOLS = {name: row.symbol for name, row in QUANTITIES.items()}
#: What every term may call: the table, and what is given as expressions of it.
ROWS = {**OPERATORS, **{name: operator_of(function) for name, function in COMMON.items()}}
#: Quantities that every network has. Of the others, B is that of an edge with a matrix of its own,
#: b_post that of a network with biases, xi_post that of one with noise.
EVERYWHERE = tuple(name for name in SYMBOLS if name not in ("B", "b_post", "xi_post"))

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
    symbols=EVERYWHERE,
    leaves=6,
    own=(),
    singular=False,
    further=(),
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
        further: symbols of quantities of one's own that may be read.
    """
    rows = [*(ROWS[name] for name in operators), *own]
    rows = [row for row in rows if row.smooth or not smooth]
    if polynomial:
        rows = [row for row in rows if row.drops]
    sums = [row for row in rows if row.drops]
    coefficient = numbers if polynomial else numbers | fractions
    leaf = st.sampled_from([*(SYMBOLS[name] for name in symbols), *further])

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


# --- whole steps ------------------------------------------------------------------------------

_z, _t = SYMBOLS["z_post"], TARGET.symbol
#: Rows of one's own: what is written here is all that the package is told of them.
ARCTAN = activation("arctan", sympy.atan)
BENT = activation("bent", lambda z: z / 2 + sympy.tanh(z) / 2)
HUBER = Loss(
    "huber",
    OPERATORS["sum_post"].function(sympy.sqrt(1 + (_z - _t) ** 2) - 1),
    _z,
    Interval(-1e3, 1e3),
    lambda ways: 1.0,
    real=True,
)
#: Tight enough that something meets them within a few steps.
BOUNDS = {"W": (-0.9, 0.8), "B": (-0.7, 0.9), "b": (-0.04, 0.05)}
_AT = {
    side: tuple(n for n in SYMBOLS if n.endswith(f"_{side}") and not n.startswith("n_"))
    for side in ("pre", "post")
}


@st.composite
def models(draw, parameters=("W", "B", "b")):
    """Choices of a network, of the tables and of one's own; bounds of some of these parameters."""
    bias = draw(st.booleans())
    bounded = draw(st.sets(st.sampled_from([p for p in parameters if bias or p != "b"])))
    return Model(
        draw(st.sampled_from([*ACTIVATIONS.values(), ARCTAN, BENT])),
        draw(st.sampled_from([*LOSSES.values(), HUBER])),
        bias,
        draw(st.sampled_from([0.0, 0.3])),
        tuple((p, *limits) for p, limits in BOUNDS.items() if p in bounded),
    )


@st.composite
def _tame(draw, symbols, further=(), smooth=False):
    """Expressions whose values stay small where those of quantities do."""
    part = expressions(symbols=symbols, further=further, smooth=smooth, leaves=3)
    bounded = part.map(OPERATORS["tanh"].function)
    factor = st.sampled_from([SYMBOLS[name] for name in symbols])
    if further:
        factor = st.sampled_from(further) | factor
    products = st.builds(lambda a, b: a * b, factor, factor)
    sums = st.builds(
        lambda name, a: OPERATORS[name].function(a),
        st.sampled_from(["sum_pre", "sum_post"]),
        products,
    )
    made = draw(factor | bounded | products | sums | st.builds(lambda a, b: a * b, factor, bounded))
    assume(_usable(made))
    try:
        return canonical(made)
    except RuleSearchError:
        assume(False)


@st.composite
def own_quantity(draw, name, symbols=EVERYWHERE, further=(), smooth=False, remembers=None):
    """A quantity of one's own or a trace: of a neuron on either side, a synapse, or the layer.

    Args:
        name: the beginning of its name; what it is of follows from what it reads.
        symbols: names of the table's quantities that it may read.
        further: others of one's own that it may read.
        smooth: only operators whose value does not jump.
        remembers: whether it is a trace; either where it is not said.
    """
    side = draw(st.sampled_from(["post", "pre", "layer", "any"]))
    some = [n for n in symbols if side == "any" or n in _AT.get(side, ("L",))]
    beside = [s for s in further if side == "any" or index_of(s) <= {side}]
    definition = draw(_tame(tuple(some), tuple(beside), smooth))
    index = index_of(definition)
    called = name if len(index) != 1 else f"{name}_{next(iter(index))}"
    try:
        if remembers is False or (remembers is None and draw(st.integers(0, 3)) == 0):
            return quantity(called, definition)
        decay = draw(st.sampled_from([0.5, 0.9, 0.0]))
        initial = draw(st.sampled_from([0.0, "first", 0.3]))
        return trace(called, definition, decay=decay, initial=initial)
    except RuleSearchError:
        assume(False)


def traces(name="trace", **more):
    """Traces of all kinds; arguments as of `own_quantity`."""
    return own_quantity(name, remembers=True, **more)


@st.composite
def own_quantities(draw, prefix, symbols=EVERYWHERE, smooth=False, most=3):
    """Up to so many quantities of one's own, that may read those before; with their other views."""
    found = []
    for i in range(draw(st.integers(0, most))):
        made = draw(own_quantity(f"{prefix}{i}", symbols, tuple(found), smooth))
        found.append(made)
        if made.name.endswith("_post"):
            try:
                found.append(seen_from_pre(made))
            except RuleSearchError:
                continue
    return tuple(found)


@st.composite
def step_terms(draw, path="random", model=None, smooth=False, most=2):
    """Terms of W, of B where the pathway has one, of b where the model has biases.

    They read traces and quantities of one's own; one may change W and B with one coefficient.

    Args:
        path: a pathway's name.
        model: of the network; without biases and noise where there is none.
        smooth: only operators whose value does not jump.
        most: terms of each parameter.
    """
    model = model or Model()
    neurons = tuple(
        name
        for name in (*EVERYWHERE, *["b_post"] * model.bias, *["xi_post"] * bool(model.noise))
        if name != "W"
    )
    # Where errors come from the output, no synapse of W has one of B beside it, nor the reverse.
    beside = path in ("random", "sign-symmetric")
    of_both = (*neurons, "W", "B") if beside else neurons
    own = draw(own_quantities("own", of_both, smooth))
    of_w = of_both if beside else (*neurons, "W")
    own_w = own if beside else own + draw(own_quantities("weighted", of_w, smooth, most=1))
    of_b = of_both if beside else (*neurons, "B")

    def change(parameter):
        if parameter == "B":
            return draw(_tame(of_b, own, smooth))
        made = draw(_tame(of_w, own_w, smooth))
        if parameter == "b" and "pre" in index_of(made):
            try:
                return canonical(OPERATORS["sum_pre"].function(made))
            except RuleSearchError:
                assume(False)
        return made

    terms = [Term(f"G{i}", change("W")) for i in range(draw(st.integers(1, most)))]
    if path != "symmetric":
        terms += [Term(f"H{i}", change("B"), "B") for i in range(draw(st.integers(0, most)))]
        if draw(st.booleans()):
            terms.append(Term("both", change("W"), "W", (("B", change("B")),)))
    if model.bias:
        terms += [Term(f"I{i}", change("b"), "b") for i in range(draw(st.integers(0, most)))]
    assume(len({t.updates for t in terms}) == len(terms))
    return tuple(terms)


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
