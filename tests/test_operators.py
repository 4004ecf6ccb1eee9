"""The table of operators: every row's values, spellings and derivative."""

import inspect
import itertools
import math

import numpy as np
import oracle
import pytest
import strategies
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.notation import W, e_post, e_pre, n_pre, sum_post, sum_pre, y_post, y_pre, z_post
from rulesearch.operators import (
    OPERATORS,
    POST,
    PRE,
    QUANTITIES,
    SCALAR,
    SYNAPSE,
    NeuronSum,
    derivative,
    index_of,
    operator,
    operator_of,
    spell,
    stranger,
    without_definitions,
)

EPSILON = np.finfo(np.float64).eps
A, B, C = sympy.symbols("a b c", real=True)

#: Row -> (arguments, value), worked out by hand or from closed forms.
VALUES = {
    "tanh": [((0.0,), 0.0), ((math.log(2) / 2,), 1 / 3), ((-20.0,), -1.0)],
    "sin": [((0.0,), 0.0), ((math.pi / 6,), 0.5), ((-math.pi / 2,), -1.0)],
    "cos": [((0.0,), 1.0), ((math.pi / 3,), 0.5), ((math.pi,), -1.0)],
    "erf": [((0.0,), 0.0), ((1.0,), 0.8427007929497149), ((-6.0,), -1.0)],
    "atan": [((0.0,), 0.0), ((1.0,), math.pi / 4), ((-math.sqrt(3),), -math.pi / 3)],
    "exp": [((0.0,), 1.0), ((math.log(3),), 3.0), ((-math.log(4),), 0.25)],
    "log": [((1.0,), 0.0), ((math.e,), 1.0), ((0.25,), -2 * math.log(2))],
    "sqrt": [((0.0,), 0.0), ((1.0,), 1.0), ((2.25,), 1.5)],
    "Abs": [((-1.5,), 1.5), ((0.0,), 0.0), ((2.0,), 2.0)],
    "sign": [((-1.5,), -1.0), ((0.0,), 0.0), ((2.0,), 1.0)],
    "Heaviside": [((-1.5,), 0.0), ((0.0,), 0.5), ((2.0,), 1.0)],
    "Max": [((1.0, 2.0), 2.0), ((-1.0, -1.0), -1.0), ((1.0, 3.0, 2.0), 3.0)],
    "Min": [((1.0, 2.0), 1.0), ((-1.0, -1.0), -1.0), ((1.0, 3.0, 0.5), 0.5)],
}

#: Row -> (arguments, partials) where the derivative jumps, as the table states them.
STATED = {
    "Abs": [((-1.5,), (-1.0,)), ((0.0,), (0.0,)), ((1.5,), (1.0,))],
    "sign": [((-1.5,), (0.0,)), ((0.0,), (0.0,)), ((1.5,), (0.0,))],
    "Heaviside": [((-1.5,), (0.0,)), ((0.0,), (0.0,)), ((1.5,), (0.0,))],
    "Max": [
        ((1.0, 2.0), (0.0, 1.0)),
        ((2.0, 2.0), (0.5, 0.5)),
        ((1.0, 2.0, 3.0), (0.0, 0.0, 1.0)),
        ((3.0, 3.0, 1.0), (0.5, 0.5, 0.0)),
    ],
    "Min": [
        ((1.0, 2.0), (1.0, 0.0)),
        ((2.0, 2.0), (0.5, 0.5)),
        ((1.0, 2.0, 3.0), (1.0, 0.0, 0.0)),
        ((3.0, 3.0, 5.0), (0.5, 0.5, 0.0)),
    ],
}

ELEMENTWISE = [row for row in OPERATORS.values() if not row.drops]
SUMS = [row for row in OPERATORS.values() if row.drops]


def heaviside(x):
    return 1.0 if x > 0 else 0.0 if x < 0 else 0.5


#: What generated source finds under the names that the table writes.
NAMES = {
    "numpy": {"numpy": np, "math": math},
    "torch": {"torch": torch},
    "numba": {
        "math": math,
        "sign": lambda x: float(np.sign(x)),
        "heaviside": heaviside,
        "maximum": max,
        "minimum": min,
    },
}
WRAPPED = {
    "numpy": np.float64,
    "torch": lambda x: torch.tensor(x, dtype=torch.float64),
    "numba": float,
}


def called(row, values):
    """The row's call on symbols, and values by name."""
    symbols = [sympy.Symbol(f"x{i}", real=True) for i in range(len(values))]
    return row.function(*symbols), dict(zip((s.name for s in symbols), values, strict=True))


def evaluated(expression, values, target):
    wrapped = {name: WRAPPED[target](value) for name, value in values.items()}
    return float(eval(spell(expression, target), NAMES[target], wrapped))


def value_at(expression, values):
    """By the oracle's meaning of the operators, which is none of the table's."""
    layer = {"W": np.zeros((1, 1)), **{f"{name}_pre": [v] for name, v in values.items()}}
    renamed = {sympy.Symbol(n, real=True): sympy.Symbol(f"{n}_pre", real=True) for n in values}
    return oracle.update(sympy.sympify(expression).xreplace(renamed), layer, 0, 0)


# --- the tables have a test for every row -----------------------------------------------------


def test_every_row_has_values():
    assert list(VALUES) == [row.name for row in ELEMENTWISE]


def test_every_row_says_how_it_is_called():
    for name, row in OPERATORS.items():
        assert row.name == name
        fewest, most = row.arity
        assert len(inspect.signature(row.partials).parameters) == 1 or most is None
        assert row.arity_text() == ("1 argument" if most == 1 else f"at least {fewest} arguments")


@pytest.mark.parametrize("row", ELEMENTWISE, ids=lambda row: row.name)
@pytest.mark.parametrize("target", ["numpy", "torch", "numba"])
def test_values(row, target):
    for arguments, expected in VALUES[row.name]:
        expression, values = called(row, arguments)
        # Correct rounding within a few units; the arguments are rounded themselves.
        assert evaluated(expression, values, target) == pytest.approx(
            expected, rel=8 * EPSILON, abs=8 * EPSILON
        )


@pytest.mark.parametrize("row", ELEMENTWISE, ids=lambda row: row.name)
def test_partials_are_central_differences_where_the_row_is_smooth(row):
    points = [-1.1, -0.4, 0.3, 0.9]
    step = 1e-5
    count = row.arity[0]
    for shift in points:
        point = [value_at(row.within(A), {"a": shift + 0.5 * i}) for i in range(count)]
        expression, values = called(row, point)
        partials = row.partials(*sympy.ordered(expression.free_symbols))
        for i, (name, partial) in enumerate(zip(sorted(values), partials, strict=True)):
            up = value_at(expression, {**values, name: point[i] + step})
            down = value_at(expression, {**values, name: point[i] - step})
            difference = (up - down) / (2 * step)
            if not row.smooth:
                assert difference == 0  # away from the jump
            # step**2/6 times a third derivative of at most about 10, and rounding of eps/step.
            bound = 2 * step**2 + 8 * EPSILON / step * (1 + abs(up))
            assert value_at(partial, values) == pytest.approx(difference, abs=bound)


@pytest.mark.parametrize("name", STATED)
def test_partials_are_as_stated_where_the_derivative_jumps(name):
    for arguments, expected in STATED[name]:
        expression, values = called(OPERATORS[name], arguments)
        symbols = sorted(expression.free_symbols, key=str)
        for symbol, stated in zip(symbols, expected, strict=True):
            partial = derivative(expression, symbol)
            assert value_at(partial, values) == stated


@pytest.mark.parametrize(("name", "best"), [("Max", max), ("Min", min)])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_partials_of_max_and_min_are_a_convex_combination_at_any_tie(name, best, count):
    symbols = sympy.symbols(f"x:{count}", real=True)
    partials = OPERATORS[name].partials(*symbols)
    for values in itertools.product([0.0, 1.0], repeat=count):
        by_name = {s.name: v for s, v in zip(symbols, values, strict=True)}
        weights = [value_at(partial, by_name) for partial in partials]
        assert sum(weights) == 1
        assert all(v == best(values) for v, w in zip(values, weights, strict=True) if w)


@pytest.mark.parametrize("row", SUMS, ids=lambda row: row.name)
def test_sums_have_no_elementwise_derivative(row):
    with pytest.raises(TypeError, match=f"the adjoint of {row.name} is a broadcast"):
        row.partials(y_pre)
    with pytest.raises(TypeError, match=f"diff does not cross {row.name}"):
        row.function(W).diff(W)
    with pytest.raises(TypeError, match=f"subs does not cross {row.name}"):
        row.function(W).subs(W, 2)
    assert row.function(W).diff(y_pre) == 0
    assert row.function(W).subs(y_pre, 2) == row.function(W)


# --- the index rule ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (sympy.Integer(2), SCALAR),
        (n_pre, SCALAR),
        (y_pre, PRE),
        (z_post, POST),
        (W, SYNAPSE),
        (y_post * y_pre, SYNAPSE),
        (sympy.tanh(y_post) + 1, POST),
        (sympy.Heaviside(y_pre), PRE),
        (sympy.Max(y_post, y_pre), SYNAPSE),
        (sum_post(y_post), SCALAR),
        (sum_post(y_post * W), PRE),
        (sum_pre(W * y_pre), POST),
        (sum_post(y_post * sum_pre(W)), SCALAR),
        (sum_pre(W * sum_post(W)), POST),
        (y_pre * sum_pre(y_pre), PRE),
    ],
)
def test_index_set(expression, expected):
    assert index_of(expression) == expected


def test_index_set_of_further_symbols():
    assert index_of(A * y_pre, {"a": POST}) == SYNAPSE
    assert index_of(A * y_pre) == PRE


@pytest.mark.parametrize("row", QUANTITIES.values(), ids=lambda row: row.name)
def test_quantities(row):
    assert row.symbol.is_real
    assert index_of(row.symbol) == row.index
    side = row.name.partition("_")[2]
    assert row.index == {"": SYNAPSE if row.name in ("W", "B") else SCALAR}.get(
        side, SCALAR if row.name.startswith("n_") else frozenset({side})
    )


# --- derivative and spelling of whole expressions ---------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (A**3, 3 * A**2),
        (A * B + A, B + 1),
        (B, 0),
        (2**A, 2**A * sympy.log(2)),
        ((A**2 + 1) ** B, 2 * A * B * (A**2 + 1) ** (B - 1)),
        (B ** sympy.Rational(1, 2), 0),
        (sympy.sqrt(A), 1 / (2 * sympy.sqrt(A))),
        (sympy.tanh(A * B), B * (1 - sympy.tanh(A * B) ** 2)),
        (A * sympy.Heaviside(A), sympy.Heaviside(A)),
        (sympy.sign(A) * A, sympy.sign(A)),
        (sum_post(y_post) * A, sum_post(y_post)),
    ],
)
def test_derivative(expression, expected):
    assert derivative(expression, A) == expected


def test_derivative_of_a_positive_base_to_a_power_has_both_parts():
    expression = (A**2 + 1) ** (A * B)
    values = {"a": 0.7, "b": -0.4}
    step = 1e-5
    up, down = (value_at(expression, {**values, "a": 0.7 + h}) for h in (step, -step))
    assert value_at(derivative(expression, A), values) == pytest.approx(
        (up - down) / (2 * step),
        abs=1e-9,  # step**2, and 1e-11 of rounding
    )


def test_derivative_does_not_cross_a_sum():
    with pytest.raises(TypeError, match="broadcast"):
        derivative(sum_post(y_post * W), W)


@pytest.mark.parametrize("target", ["numpy", "torch"])
@given(data=st.data())
def test_spelled_expressions_have_the_oracles_value(target, data):
    drawn = strategies.expressions(operators=tuple(r.name for r in ELEMENTWISE))
    expression, layer = data.draw(drawn), data.draw(strategies.free_layers)
    expected = strategies.matrix_or_reject(expression, layer)
    arrays = {**strategies.broadcastable(layer), **strategies.counts(layer)}
    wrap = WRAPPED["torch"] if target == "torch" else np.asarray
    source = spell(expression, target)
    value = eval(source, NAMES[target], {n: wrap(v) for n, v in arrays.items()})
    # At most a few dozen operations on values of at most LARGEST.
    bound = 100 * EPSILON * strategies.LARGEST
    np.testing.assert_allclose(
        np.broadcast_to(np.asarray(value), expected.shape), expected, rtol=1e-9, atol=bound
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (sympy.Max(y_pre, 1), "torch.maximum(y_pre, torch.full_like(y_pre, 1))"),
        (
            sympy.Min(y_pre, z_post, 2),
            "torch.minimum(torch.minimum(y_pre, z_post), "
            "torch.full_like(torch.minimum(y_pre, z_post), 2))",
        ),
        (sympy.sqrt(2) * y_pre, "1.4142135623730951*y_pre"),
        (sympy.pi * y_pre, "3.141592653589793*y_pre"),
        (sympy.exp(1) * y_pre, "2.718281828459045*y_pre"),
        (1 / y_pre, "(1.0/(y_pre))"),
        (sympy.sqrt(y_pre), "torch.sqrt(y_pre)"),
    ],
)
def test_torch_is_given_tensors_where_it_must_be(expression, expected):
    assert spell(expression, "torch") == expected


def test_names_can_be_replaced_in_source():
    assert spell(y_pre * z_post, "numpy", {"y_pre": "y.T"}) == "y.T*z_post"


# --- operators of one's own -------------------------------------------------------------------

softsign = operator("softsign", lambda x: x / (1 + sympy.Abs(x)))
gate = operator("gate", lambda x, y: x * sympy.Heaviside(y))


def test_own_operator_is_spelled_and_differentiated_by_its_definition():
    point = {"a": -0.6, "b": 0.5}
    expression = softsign(A) * gate(A, B)
    assert evaluated(expression, point, "numpy") == pytest.approx(0.6**2 / 1.6, rel=4 * EPSILON)
    # softsign' = 1/(1 + |a|)², and gate' by its first argument is 1 where b > 0.
    expected = -0.6 / 1.6**2 + -0.6 / 1.6
    assert value_at(without_definitions(derivative(expression, A)), point) == pytest.approx(
        expected, rel=8 * EPSILON
    )
    assert derivative(gate(A, B), B) == 0


def test_own_operator_may_call_another():
    twice = operator("twice_softsign", lambda x: softsign(softsign(x)))
    assert without_definitions(twice(y_pre)) == y_pre / (
        (1 + sympy.Abs(y_pre)) * (1 + sympy.Abs(y_pre / (1 + sympy.Abs(y_pre))))
    )


def test_own_operator_knows_its_index_and_row():
    assert index_of(gate(y_post, y_pre)) == SYNAPSE
    assert operator_of(softsign).name == "softsign"
    assert operator_of(softsign).arity_text() == "1 argument"
    assert operator_of(gate).arity_text() == "2 arguments"


def test_same_name_and_definition_are_the_same_operator():
    assert operator("softsign", lambda x: x / (1 + sympy.Abs(x)))(y_pre) == softsign(y_pre)
    assert operator("softsign", lambda x: x / (2 + sympy.Abs(x)))(y_pre) != softsign(y_pre)


def test_own_operator_with_a_name_of_sympys_own_keeps_its_meaning():
    gamma = operator("gamma", lambda x: x / 2)
    assert float(gamma(sympy.Integer(5))) == 2.5


@pytest.mark.parametrize(
    ("name", "definition", "message"),
    [
        ("2x", lambda x: x, "operator '2x': not a name; use letters, digits and _"),
        ("lambda", lambda x: x, "operator 'lambda': not a name; use letters, digits and _"),
        ("tanh", lambda x: x, "operator tanh: the name is taken; choose another"),
        ("y_pre", lambda x: x, "operator y_pre: the name is taken; choose another"),
        ("pi", lambda x: x, "operator pi: the name is taken; choose another"),
        (
            "f",
            lambda: 1,
            "operator f: the definition must take a fixed number of arguments, as in "
            "operator('f', lambda x: x/(1 + Abs(x)))",
        ),
        (
            "f",
            lambda *x: x[0],
            "operator f: the definition must take a fixed number of arguments, as in "
            "operator('f', lambda x: x/(1 + Abs(x)))",
        ),
        (
            "f",
            lambda x: None,
            "operator f: the definition gives None, not an expression; write one such as "
            "operator('f', lambda x: x/(1 + Abs(x)))",
        ),
        (
            "f",
            lambda x: x > 0,
            "operator f: the definition gives x > 0, not an expression; write one such as "
            "operator('f', lambda x: x/(1 + Abs(x)))",
        ),
        (
            "f",
            lambda x: x * e_post,
            "operator f: e_post in e_post*x is not an argument; make it one",
        ),
        (
            "f",
            lambda x: sum_pre(x),
            "operator f: sum_pre(x) sums over neurons; an operator acts on one value, so write "
            "the sum in the term",
        ),
        (
            "f",
            lambda x: sympy.gamma(x) + 1,
            "operator f: unknown operator gamma in gamma(x) + 1; use tanh, sin, cos, erf, atan, "
            "exp, log, sqrt, Abs, sign, Heaviside, Max, Min",
        ),
    ],
)
def test_faults_of_own_operators(name, definition, message):
    with pytest.raises(RuleSearchError) as caught:
        operator(name, definition)
    assert str(caught.value) == message


# --- the vocabulary ---------------------------------------------------------------------------


@given(strategies.expressions())
def test_nothing_in_a_drawn_expression_is_a_stranger(expression):
    assert stranger(expression) is None


@pytest.mark.parametrize(
    "call", [sympy.gamma(A), sympy.Heaviside(A, 0), sympy.Piecewise((A, A > 0), (0, True))]
)
def test_strangers(call):
    assert stranger(sympy.tanh(call) + B) == call


def test_the_sum_of_a_number_is_no_number():
    assert not sum_pre(sympy.Integer(2)).is_number
    assert isinstance(sum_pre(sympy.Integer(2)), NeuronSum)


# --- the oracle itself ------------------------------------------------------------------------


@given(strategies.networks.filter(lambda n: n.pathway == "symmetric"))
def test_the_oracles_pseudo_gradient_is_the_gradient_where_the_pathway_is_symmetric(network):
    image, label = network.x[:1], network.labels[:1]
    rate = 1.0
    after = oracle.lifetime(
        [-e_post * y_pre], [rate], network.weights, None, image, label, "symmetric"
    )
    step = 1e-5
    for depth, weight in enumerate(network.weights):
        for at in np.ndindex(weight.shape):
            losses = []
            for shift in (step, -step):
                moved = [w.copy() for w in network.weights]
                moved[depth][at] += shift
                losses.append(oracle.query_loss(moved, image, label))
            slope = (losses[0] - losses[1]) / (2 * step)
            # A softplus of sharpness 10 has third derivatives of order 100, times step**2.
            assert after[depth][at] - weight[at] == pytest.approx(-rate * slope, abs=1e-6)


def test_the_oracles_pathways_differ_by_their_matrices_alone():
    network = strategies.network(7, (3, 4, 2), "random")
    rule = ([-e_post * y_pre, y_post * e_pre], [[0.1, 0.2], [0.3, -0.1]])
    step = (network.x[:1], network.labels[:1])
    transposed = [w.T for w in network.weights]
    symmetric = oracle.lifetime(*rule, network.weights, None, *step, "symmetric")
    random = oracle.lifetime(*rule, network.weights, transposed, *step, "random")
    jumped = [transposed[0] @ np.diag(slope_of(network)) @ transposed[1], transposed[1]]
    direct = oracle.lifetime(*rule, network.weights, jumped, *step, "direct")
    for s, r, d in zip(symmetric, random, direct, strict=True):
        np.testing.assert_array_equal(s, r)
        np.testing.assert_allclose(s, d, rtol=1e-12)


def slope_of(network):
    """Derivative of the hidden layer's softplus of sharpness 10, at the first image."""
    return 1 / (1 + np.exp(-10 * network.weights[0] @ network.x[0]))


@given(
    exponent=st.sampled_from(
        [
            sympy.Rational(*p)
            for p in [(4, 1), (5, 1), (7, 1), (-3, 1), (3, 2), (-5, 2), (1, 3), (-2, 7)]
        ]
    ),
    count=st.integers(1, 100),
    before=st.integers(0, 3),
)
def test_powers_are_torch_s_and_round_alike_wherever_a_value_stands(exponent, count, before):
    x = sympy.Symbol("x", real=True)
    text = spell(x**exponent, "torch")
    values = torch.rand(4, 1, count, dtype=torch.float64) + 0.01
    together = eval(text, {"torch": torch, "x": values})
    alone = eval(text, {"torch": torch, "x": values[before : before + 1].clone()})
    assert torch.equal(together[before : before + 1], alone)
    # A few multiplications, or twice the rounding of a logarithm below 5.
    torch.testing.assert_close(together, values ** float(exponent), rtol=1e-14, atol=0)
    ends = torch.tensor([0.0, float("inf")], dtype=torch.float64)
    got = eval(text, {"torch": torch, "x": ends})
    assert torch.equal(got, ends ** float(exponent))
