import itertools
from dataclasses import replace

import golden
import networkx as nx
import numpy as np
import oracle
import pytest
import strategies
import sympy
import torch
import unrolled
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rulesearch.lowering import Elementwise, Sum, lower
from rulesearch.notation import Pool, Term, load_pool
from rulesearch.operators import POST, PRE, QUANTITIES, SCALAR, SYNAPSE, index_of

PAPER = load_pool(golden.GRAMMAR / "paper_pool.py")
HEBBIAN = load_pool(golden.GRAMMAR / "hebbian.py")

# --- pools and the plans they must give -----------------------------------------------------------

PLANS = {
    "three terms, two post-side factors": (
        {"A": "-e_post*y_pre", "B": "-e_post*e_pre", "C": "y_post*y_pre"},
        """
        ΔW = e_post ⊗ [A·(-y_pre) + B·(-e_pre)]
           + y_post ⊗ [C·(y_pre)]
        """,
    ),
    "numbers stay exact": (
        {"A": "3", "B": "-sqrt(2)*W/2", "C": "0.5*y_pre"},
        """
        ΔW = 1 ⊗ [A·(3) + C·(1/2*y_pre)]
           + W ⊙ (1 ⊗ [B·(-sqrt(2)/2)])
        """,
    ),
    "a sum that two terms share": (
        {"A": "y_post*sum_pre(W*e_pre)", "B": "y_pre*sum_post(y_post*sum_pre(W*e_pre))"},
        """
        q0 = sum_pre(W*e_pre)
        q1 = q0*y_post
        s0 = sum_post(q1)
        ΔW = q1 ⊗ [A·(1)]
           + 1 ⊗ [B·(s0*y_pre)]
        """,
    ),
    "a function shared within a term": (
        {"A": "tanh(y_post)*y_pre + tanh(y_post)**2*e_pre"},
        """
        q0 = tanh(y_post)
        q1 = q0**2
        ΔW = q1 ⊗ [A·(e_pre)]
           + q0 ⊗ [A·(y_pre)]
        """,
    ),
    "a function of one side leaves the synapse-loop": (
        {"A": "tanh(W*tanh(y_post))*y_pre"},
        """
        q0 = tanh(y_post)
        m0 = tanh(W*q0)
        ΔW = m0 ⊙ (1 ⊗ [A·(y_pre)])
        """,
    ),
    "sums without a matrix": (
        {"A": "sum_post(y_post)*sum_pre(y_pre)"},
        """
        s0 = sum_post(y_post)
        s1 = sum_pre(y_pre)
        s2 = s0*s1
        ΔW = 1 ⊗ [A·(s2)]
        """,
    ),
    "the cell's own potential": (
        {"A": "sum_pre(W*y_pre)*y_pre"},
        """
        ΔW = z_post ⊗ [A·(y_pre)]
        """,
    ),
    "what does not separate, shared by a sum and an update": (
        {"A": "sum_pre(tanh(W*y_pre)*e_pre)*y_pre", "B": "tanh(W*y_pre)*e_post"},
        """
        m0 = tanh(W*y_pre)
        q0 = sum_pre(m0*e_pre)
        ΔW = q0 ⊗ [A·(y_pre)]
           + m0 ⊙ (e_post ⊗ [B·(1)])
        """,
    ),
    "a sum of the matrix alone": (
        {"A": "W*sum_post(W)"},
        """
        p0 = sum_post(W)
        ΔW = W ⊙ (1 ⊗ [A·(p0)])
        """,
    ),
    "a sum over both sides": (
        {"A": "sum_pre(sum_post(W**2))*y_pre"},
        """
        m0 = W**2
        q0 = sum_pre(m0)
        s0 = sum_post(q0)
        ΔW = 1 ⊗ [A·(s0*y_pre)]
        """,
    ),
    "a sum inside a function inside a sum": (
        {"A": "e_pre*sum_post(y_post*tanh(sum_pre(W*e_pre)))", "B": "tanh(sum_pre(W*e_pre))"},
        """
        q0 = sum_pre(W*e_pre)
        q1 = tanh(q0)
        q2 = q1*y_post
        s0 = sum_post(q2)
        ΔW = 1 ⊗ [A·(s0*e_pre)]
           + q1 ⊗ [B·(1)]
        """,
    ),
    "layer-wide quantities": (
        {"A": "L*e_post*y_pre/n_pre - n_post*W*L"},
        """
        s0 = L*n_post
        s1 = L/n_pre
        ΔW = e_post ⊗ [A·(s1*y_pre)]
           + W ⊙ (1 ⊗ [A·(-s0)])
        """,
    ),
    "sums of constants": (
        {"A": "sum_pre(1)*sum_post(2)*W"},
        """
        s0 = n_post*n_pre
        ΔW = W ⊙ (1 ⊗ [A·(2*s0)])
        """,
    ),
    "W times both sides": (
        {"A": "y_post**2*W*y_pre"},
        """
        q0 = y_post**2
        ΔW = W ⊙ (q0 ⊗ [A·(y_pre)])
        """,
    ),
    "an exponential of a sum of one sign separates": (
        {"A": "exp(y_post**2 + y_pre**2)"},
        """
        q0 = exp(y_post**2)
        p0 = exp(y_pre**2)
        ΔW = q0 ⊗ [A·(p0)]
        """,
    ),
    "another does not": (
        {"A": "exp(y_post + y_pre)"},
        """
        m0 = exp(y_post + y_pre)
        ΔW = m0 ⊙ (1 ⊗ [A·(1)])
        """,
    ),
    "a mean, and a part for each post-side factor": (
        {"A": "(y_post - sum_post(y_post)/n_post)*y_pre"},
        """
        s0 = sum_post(y_post)
        s1 = s0/n_post
        ΔW = y_post ⊗ [A·(y_pre)]
           + 1 ⊗ [A·(-s1*y_pre)]
        """,
    ),
    "a denominator of one number a layer": (
        {"A": "y_pre/(1 + sum_pre(y_pre**2))"},
        """
        p0 = y_pre**2
        s0 = sum_pre(p0)
        s1 = 1/(s0 + 1)
        ΔW = 1 ⊗ [A·(s1*y_pre)]
        """,
    ),
}


@pytest.mark.parametrize(("terms", "expected"), PLANS.values(), ids=PLANS)
def test_plan_as_text(terms, expected):
    lines = [line[8:] for line in expected.strip("\n").splitlines()[:-1]]
    assert str(lower(Pool(**terms))) == "\n".join(lines)


@pytest.mark.parametrize("name", golden.TEXTS)
def test_golden_file(name):
    assert golden.TEXTS[name]() == (golden.FOLDER / name).read_text(encoding="utf-8"), (
        "rewrite with python -m tests.golden, and read the diff"
    )


def test_no_golden_file_is_left_over():
    assert {p.name for p in golden.FOLDER.glob("plan_*.txt")} <= set(golden.TEXTS)


def test_groups_are_as_many_as_distinct_post_side_factors():
    y, e = QUANTITIES["y_pre"].symbol, QUANTITIES["e_pre"].symbol
    post_side = [sympy.Integer(1), *(QUANTITIES[n].symbol for n in ("y_post", "e_post", "z_post"))]
    powers = itertools.product(post_side, range(5), range(5))
    terms = {f"G{i}": post * y**a * e**b for i, (post, a, b) in enumerate(powers)}
    plan = lower(Pool(**terms))
    assert len(terms) == 100
    assert [g.post for g in plan.groups] == [None, "y_post", "e_post", "z_post"]
    assert [g.matrix for g in plan.groups] == [None] * 4
    assert sum(len(g.parts) for g in plan.groups) == 100


def test_multiply_adds_counted_by_hand():
    plan = lower(Pool(A="y_post*sum_pre(W*e_pre)", B="W*y_pre*sum_post(y_post)"))
    # In a layer of 5 x 7: q0 = W e_pre takes 35, q1 = q0*y_post 5, the sum of y_post 5; the outer
    # product takes 35, the one that is scaled by W 70, and each of the two parts 7.
    assert plan.multiply_adds(post=5, pre=7) == 35 + 5 + 5 + 35 + 70 + 7 + 7


# --- what holds for every plan --------------------------------------------------------------------


def plans(**more):
    return strategies.pools(**more).map(lower)


@given(plans())
@settings(max_examples=60)
def test_nodes_read_only_what_is_before_them(plan):
    before = set(QUANTITIES)
    for node in plan.nodes:
        assert set(node.reads) <= before
        assert node.name not in before
        before.add(node.name)
    assert nx.is_directed_acyclic_graph(plan.graph)


@given(plans())
@settings(max_examples=60)
def test_nodes_stand_in_the_outermost_loop(plan):
    sides = {"pre": PRE, "post": POST}
    for node in plan.nodes:
        if isinstance(node, Sum):
            assert node.matrix is None or plan.index[node.matrix] == SYNAPSE
            assert node.vector is None or plan.index[node.vector] == sides[node.axis]
            assert node.reads
            continue
        assert node.index == frozenset().union(*(plan.index[r] for r in node.reads))
        for part in sympy.preorder_traversal(node.expression):
            if part.args and not part.is_number:
                assert index_of(part, plan.index) == node.index, f"{part} in {node}"


@given(plans())
@settings(max_examples=60)
def test_parts_are_products_of_one_factor_a_loop(plan):
    for group in plan.groups:
        assert group.matrix is None or plan.index[group.matrix] == SYNAPSE
        assert group.post is None or plan.index[group.post] == POST
        for part in group.parts:
            assert part.scalar is None or plan.index[part.scalar] == SCALAR
            assert part.pre is None or plan.index[part.pre] == PRE
            assert part.coefficient.is_number
            assert part.coefficient != 0
    factors = [(group.matrix, group.post) for group in plan.groups]
    assert len(set(factors)) == len(factors)


@given(plans())
@settings(max_examples=60)
def test_nothing_is_computed_twice_or_for_nothing(plan):
    computed = [
        n.expression if isinstance(n, Elementwise) else (*n.reads, n.axis) for n in plan.nodes
    ]
    assert len(set(computed)) == len(computed)
    read = set().union(*(n.reads for n in plan.nodes))
    for group in plan.groups:
        read |= {group.matrix, group.post}
        read |= {name for part in group.parts for name in (part.scalar, part.pre)}
    assert {n.name for n in plan.nodes} <= read


# --- the plan conserves the sum of the terms ------------------------------------------------------

_SHAPES = {SCALAR: (0, 0), PRE: (0, 1), POST: (1, 0), SYNAPSE: (1, 1)}


class MisplacedError(Exception):
    """A value does not fit the loop that its node names."""


def tensors(layer):
    """A layer of the oracle as `unrolled.value` reads it."""
    arrays = {**strategies.broadcastable(layer), **strategies.counts(layer)}
    return {n: torch.as_tensor(np.atleast_2d(v), dtype=torch.float64) for n, v in arrays.items()}


def interpret(plan, layer):
    """What a plan computes in a layer of the oracle: the update of each term, [post, pre]."""
    at = tensors(layer)
    post, pre = layer["W"].shape
    one = torch.ones(1, 1, dtype=torch.float64)
    for node in plan.nodes:
        if isinstance(node, Elementwise):
            result = unrolled.value(node.expression, at)
        else:
            summand = one
            for name in node.reads:
                summand = summand * at[name]
            result = summand.sum(-1 if node.axis == "pre" else -2, keepdim=True)
        wide = _SHAPES[node.index]
        if tuple(result.shape) != (post if wide[0] else 1, pre if wide[1] else 1):
            raise MisplacedError(str(node))
        at[node.name] = result
    updates = np.zeros((len(plan.terms), post, pre))
    for group in plan.groups:
        for part in group.parts:
            product = one * float(part.coefficient)
            for name in (group.matrix, group.post, part.scalar, part.pre):
                product = product * at[name] if name else product
            updates[part.term] += product.numpy()
    return updates


def tolerance(plan, layer):
    """How far rounding may lead two ways of computing the same terms apart.

    A value of size M has an error of at most epsilon * M for each of some thousand operations, and
    may be multiplied by another value of that size afterwards.
    """
    at = tensors(layer)
    met = {p for t in plan.terms for p in sympy.preorder_traversal(t.expression)}
    M = max(1.0, *(float(unrolled.value(p, at).abs().max()) for p in met))
    return 1000 * np.finfo(float).eps * M**2


def error(plan, layer):
    """The largest difference between what a plan computes and what the oracle says."""
    expected = [oracle.update_matrix(t.expression, layer) for t in plan.terms]
    return np.abs(interpret(plan, layer) - expected).max()


def far_from_jumps(expressions, layer):
    """Whether no argument of a function with jumps is so small that rounding gives its sign."""
    calls = {c for e in expressions for c in e.atoms(sympy.sign, sympy.Heaviside)}
    sizes = [unrolled.value(c.args[0], tensors(layer)).abs() for c in calls]
    return all(bool(((s == 0) | (s > 1e-9)).all()) for s in sizes)


def check_conserved(pool, layer):
    expressions = [t.expression for t in pool]
    assume(far_from_jumps(expressions, layer))
    for expression in expressions:
        strategies.matrix_or_reject(expression, layer)
    plan = lower(pool)
    bound = tolerance(plan, layer)
    assume(bound < 1e-6)
    assert error(plan, layer) <= bound


@given(strategies.pools(), strategies.free_layers)
@settings(max_examples=60)
def test_plan_conserves_the_sum_of_the_terms(pool, layer):
    check_conserved(pool, {**layer, "z_post": layer["W"] @ layer["y_pre"]})


@given(strategies.pools(), strategies.layers, st.randoms())
@settings(max_examples=20)
def test_terms_are_conserved_in_any_order(pool, layer, random):
    terms = random.sample(pool.terms, len(pool))
    check_conserved(Pool(**{t.name: t.expression for t in terms}), layer)


LAYER = strategies.layer(0, post=3, pre=4)


def _without_a_part(plan, at):
    group = plan.groups[at]
    groups = [*plan.groups]
    groups[at] = replace(group, parts=group.parts[1:])
    return replace(plan, groups=tuple(groups))


def _with_another_sign(plan, at):
    group = plan.groups[at]
    part = group.parts[-1]
    groups = [*plan.groups]
    groups[at] = replace(
        group, parts=(*group.parts[:-1], replace(part, coefficient=-part.coefficient))
    )
    return replace(plan, groups=tuple(groups))


def _with_node(plan, name, **change):
    nodes = tuple(replace(n, **change) if n.name == name else n for n in plan.nodes)
    return replace(plan, nodes=nodes)


def test_paper_pool_is_conserved_before_it_is_broken():
    assert error(lower(PAPER), LAYER) <= tolerance(lower(PAPER), LAYER)


@pytest.mark.parametrize("group", range(4))
@pytest.mark.parametrize("broken", [_without_a_part, _with_another_sign])
def test_broken_group_is_caught(broken, group):
    plan = broken(lower(PAPER), group)
    assert error(plan, LAYER) > tolerance(plan, LAYER)


@pytest.mark.parametrize(
    ("name", "change"),
    [("q0", {"vector": "y_pre"}), ("p0", {"axis": "pre"}), ("p0", {"vector": None})],
)
def test_wrong_sum_is_caught(name, change):
    plan = _with_node(lower(PAPER), name, **change)
    assert error(plan, LAYER) > tolerance(plan, LAYER)


@pytest.mark.parametrize(("name", "index"), [("q1", SYNAPSE), ("q2", SCALAR), ("q2", PRE)])
def test_node_in_the_wrong_loop_is_caught(name, index):
    with pytest.raises(MisplacedError):
        interpret(_with_node(lower(PAPER), name, index=index), LAYER)


# --- derivatives ----------------------------------------------------------------------------------


@given(strategies.polynomials(operators=()))
def test_partials_of_polynomials_are_sympys(expression):
    node = Elementwise("v", index_of(expression), expression)
    own = {sympy.Symbol("v", real=True): expression}
    for symbol in expression.free_symbols:
        difference = node.partials[symbol.name].xreplace(own) - sympy.diff(expression, symbol)
        assert sympy.expand(difference) == 0
    assert set(node.partials) == {s.name for s in expression.free_symbols}


def test_a_partial_reads_the_nodes_own_value_where_that_saves_a_function():
    (node,) = lower(Pool(A="exp(3*y_post)*y_pre")).nodes
    assert str(node) == "q0 = exp(3*y_post)"
    assert str(node.partials["y_post"]) == "3*q0"


def test_how_says_where_each_part_of_a_term_went():
    plan = lower(HEBBIAN)
    how = {t.name: plan.how(i) for i, t in enumerate(plan.terms)}
    assert how["oja_layer"] == "y_post ⊗ y_pre + y_post ⊗ -p0"
    assert how["gated"] == "m1 ⊙ (1 ⊗ -y_pre)"


def test_terms_alone_lower_as_in_their_pool():
    assert str(lower(PAPER.only("F3"))) == "ΔW = W ⊙ (1 ⊗ [F3·(-1)])"
    assert lower(PAPER.only("F0", "F3")).terms == (
        Term.of("F0", "-e_post*y_pre"),
        Term.of("F3", "-W"),
    )


def test_the_oracle_and_the_interpreter_read_a_layer_alike():
    expression = Term.of("A", "y_post*W + 2*e_pre*sum_post(z_post)").expression
    j, k = 2, 1
    by_hand = LAYER["y_post"][j] * LAYER["W"][j, k] + 2 * LAYER["e_pre"][k] * LAYER["z_post"].sum()
    # Two roundings of each of six operations.
    exact = pytest.approx(by_hand, rel=12 * np.finfo(float).eps)
    assert oracle.update(expression, LAYER, j, k) == exact
    assert interpret(lower(Pool(A=expression)), LAYER)[0, j, k] == exact
