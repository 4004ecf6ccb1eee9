"""Verdicts of locality against what a plan reads in two steps, for changes of W, B and b.

A quantity of one neuron or synapse is moved at one of two steps, all others are as they were; the
plan, as the readable kernel runs it, then changes nothing beyond what the needs of a term allow.
"""

import dataclasses
import itertools

import numpy as np
import pytest
import strategies
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from rulesearch import locality
from rulesearch.errors import RuleSearchError
from rulesearch.kernels.einsum.forms import apply, forms_of, updated
from rulesearch.locality import classify
from rulesearch.lowering import lower_terms
from rulesearch.lowering.in_torch import in_torch
from rulesearch.model import Model
from rulesearch.notation import (
    B,
    L,
    Term,
    W,
    b_post,
    e_post,
    e_pre,
    needs,
    quantity,
    sum_post,
    sum_pre,
    tanh,
    trace,
    xi_post,
    y_post,
    y_pre,
    z_post,
)
from rulesearch.notation.own import seen_from_pre
from rulesearch.operators import PARAMETERS, QUANTITIES

POST, PRE = 3, 2
SHAPES = {
    frozenset({"pre", "post"}): (POST, PRE),
    frozenset({"post"}): (POST, 1),
    frozenset({"pre"}): (1, PRE),
    frozenset(): (1, 1),
}
NAMES = [name for name in QUANTITIES if name not in ("n_pre", "n_post")]
#: What may be moved: step, name, post-neuron and pre-neuron; 0 where it has none.
ENTRIES = [
    (step, name, *at)
    for step in (0, 1)
    for name in NAMES
    for at in np.ndindex(SHAPES[QUANTITIES[name].index])
]

#: As the readable kernel runs a plan.
compiled_of = in_torch


def moved(seed):
    """Two steps' quantities, [1 + entries, post, pre]: as they are, and each entry moved."""
    steps = []
    for step in (0, 1):
        free = strategies.broadcastable(strategies.free_layer(seed + step, POST, PRE))
        layer = {
            name: torch.from_numpy(free[name].reshape(SHAPES[QUANTITIES[name].index]))
            .expand(1 + len(ENTRIES), -1, -1)
            .clone()
            for name in NAMES
        }
        for place, (when, name, j, k) in enumerate(ENTRIES, start=1):
            if when == step:
                layer[name][place, j, k] += 0.3
        steps.append(layer)
    return steps


def changes_of(plan, steps):
    """What a plan adds to its parameter in the last step, [1 + entries, post, pre]."""
    compiled, memories = compiled_of(plan), {}
    like = steps[0]["W"]
    for number, layer in enumerate(steps):
        v = {
            # On either side of synapses there are rows.
            name: value.mT if value.shape[1:] == (POST, 1) else value
            for name, value in layer.items()
        }
        v |= {name: like.new_tensor(float(n)) for name, n in (("n_pre", PRE), ("n_post", POST))}
        v["first"] = like.new_full((1, 1, 1), float(number == 0))
        for carried in plan.carried:
            start = 0.0 if carried.initial is None else carried.initial
            shape = SHAPES[carried.index]
            shape = shape if len(carried.index) == 2 else (1, max(shape))
            v[carried.before] = memories.get(
                carried.name, like.new_full((len(like), *shape), start)
            )
        v = compiled.values({name: v[name] for name in plan.quantities})
        memories = {carried.name: v[carried.value] for carried in plan.carried}
    size = (len(like), POST, 1 if plan.changes == "b" else PRE)
    zero = like.new_zeros(size)
    theta = like.new_ones(len(like), len(plan.terms))
    return updated(zero, [apply(f, f.coefficients(theta), v, zero) for f in forms_of(plan)], v)


def measured(term, steps):
    """For each synapse, or post-neuron, the entries that change what is added there."""
    plan = lower_terms((term,), Model(bias=True, noise=0.1))
    plan = next(each for each in (plan, *plan.beside) if each.changes == term.changes)
    after = changes_of(plan, steps)
    if not after.isfinite().all() or float(after.abs().max()) > 1e6:
        return {}
    # Far below what a move of 0.3 does, far above the rounding of a few dozen operations.
    differs = (after[1:] - after[0]).abs() > 1e-9 * (1 + after[0].abs())
    return {
        at: {ENTRIES[i] for i in differs[(slice(None), *at)].nonzero()[:, 0].tolist()}
        for at in np.ndindex(tuple(after.shape[1:]))
    }


def allowed(term, needs, at, neurons="shared"):
    """The entries that a change there may read, by its needs and nothing else."""
    j, k = at
    dendritic = "post" if term.changes == "B" else "pre"
    gathered = {dendritic: "dendritic", "post" if dendritic == "pre" else "pre": "retrograde"}
    every = {axis for axis, need in gathered.items() if need in needs}
    another = "W" if term.changes == "B" else "B"
    found = set()
    for entry in ENTRIES:
        _, name, jj, kk = entry
        index = QUANTITIES[name].index
        of_a_cell = len(index) == 1
        elsewhere = of_a_cell and QUANTITIES[name].error != (term.changes == "B")
        if elsewhere and neurons == "separate" and "foreign" not in needs:
            continue
        if name == another and "transport" not in needs:
            continue
        if "global" in needs:
            found.add(entry)
            continue
        if not index:
            continue  # L
        # What a sum gathers has one cell in common with the synapse; a bias has no pre-cell.
        others = set()
        if "post" in index and jj != j:
            others.add("post")
        if "pre" in index and (kk != k or term.changes == "b"):
            others.add("pre")
        if len(others) < 2 and others <= every:
            found.add(entry)
    return found


def needs_of(term, neurons="shared"):
    return classify.__wrapped__(term, neurons).needs


def nothing_is_read_beyond_the_needs(term, seed, neurons="shared"):
    needs = needs_of(term, neurons)
    for at, entries in measured(term, moved(seed)).items():
        beyond = entries - allowed(term, needs, at, neurons)
        assert not beyond, (term, needs, at, beyond)


@st.composite
def terms(draw):
    """Terms of any parameter that read quantities of one's own and traces."""
    own = draw(strategies.own_quantities("own", tuple(NAMES)))
    made = draw(strategies._tame(tuple(NAMES), own))
    parameter = draw(st.sampled_from(PARAMETERS))
    try:
        return Term.of("F", sum_pre(made) if parameter == "b" else made, changes=parameter)
    except RuleSearchError:
        assume(False)


some = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@some
@given(terms(), st.integers(0, 10**6), st.sampled_from(["shared", "separate"]))
def test_what_two_steps_read_lies_within_the_needs(term, seed, neurons):
    nothing_is_read_beyond_the_needs(term, seed, neurons)


# --- each need for itself -------------------------------------------------------------------------

ARRIVED = trace("arrived_post", sum_pre(W * e_pre), decay=0.75)
LEFT = trace("left_pre", sum_post(W * e_post), decay=0.75, initial="first")
SQUARE = trace("square_post", e_post**2, decay=0.75)
ELIGIBLE = trace("eligible", y_post * y_pre, decay=0.75)
COPIED = trace("copied", W * B, decay=0.75)
LEVEL = trace("level", L, decay=0.75)
OTHER = trace("other", sum_pre(sum_post(W**2)), decay=0.75)
GATE = quantity("gate_post", e_post / (1 + SQUARE))

EACH = {
    "none": (-SQUARE * seen_from_pre(SQUARE) + ELIGIBLE * xi_post * b_post, "W", set()),
    "own quantities": (GATE * y_pre, "W", set()),
    "dendritic": (ARRIVED * y_pre, "W", {"dendritic"}),
    "retrograde": (LEFT * y_post, "W", {"retrograde"}),
    "both": (ARRIVED * LEFT, "W", {"dendritic", "retrograde"}),
    "transport": (COPIED, "W", {"transport"}),
    "global": (LEVEL * W, "W", {"global"}),
    "of all synapses": (OTHER * W, "W", {"global"}),
    "feedback": (-SQUARE * y_pre - B * ELIGIBLE, "B", set()),
    "feedback, dendritic": (-z_post * sum_post(B * SQUARE), "B", {"dendritic"}),
    "feedback, retrograde": (-y_pre * sum_pre(ELIGIBLE * B), "B", {"retrograde"}),
    "feedback, transport": (trace("kept", W, decay=0.75) - B, "B", {"transport"}),
    "biases": (SQUARE - b_post, "b", set()),
    "biases, dendritic": (ARRIVED * tanh(z_post), "b", {"dendritic"}),
    "biases, global": (LEVEL * y_post, "b", {"global"}),
}


@pytest.mark.parametrize("name", EACH)
def test_needs_are_those_that_are_measured(name):
    """No need is missing, and without any of them something that is read would be refused."""
    expression, parameter, expected = EACH[name]
    term = Term.of("F", expression, changes=parameter)
    assert needs_of(term) == expected
    for seed in range(3):
        nothing_is_read_beyond_the_needs(term, seed)
    for fewer in itertools.combinations(expected, len(expected) - 1) if expected else ():
        beyond = [
            entry
            for at, entries in measured(term, moved(0)).items()
            for entry in entries - allowed(term, set(fewer), at)
        ]
        assert {step for step, *_ in beyond} == {0, 1}  # a trace reaches back


# --- verdicts and plans that are wrong ------------------------------------------------------------


def caught():
    """Whether the property fails for some of the cases above."""
    for expression, parameter, _ in EACH.values():
        term = Term.of("F", expression, changes=parameter)
        for neurons in ("shared", "separate"):
            try:
                nothing_is_read_beyond_the_needs(term, 0, neurons)
            except AssertionError:
                return True
    return False


def _judges_no_trace(monkeypatch):
    monkeypatch.setattr(locality, "_of_trace", lambda *arguments: iter(()))


def _takes_feedback_for_weights(monkeypatch):
    monkeypatch.setitem(needs._OF_SUM, "B", needs._OF_SUM["W"])


def _forgets_transport(monkeypatch):
    monkeypatch.setattr(needs, "_ANOTHERS", dict.fromkeys(PARAMETERS))


def _sees_no_sum_in_a_trace(monkeypatch):
    right = locality._of_trace

    def without_sums(*arguments):
        sums = ("dendritic", "retrograde")
        return (found for found in right(*arguments) if found.need not in sums)

    monkeypatch.setattr(locality, "_of_trace", without_sums)


def _takes_errors_for_no_others(monkeypatch):
    monkeypatch.setattr(locality, "_is_foreign", lambda name, changes: False)


@pytest.mark.parametrize(
    "wrong",
    [
        _judges_no_trace,
        _takes_feedback_for_weights,
        _forgets_transport,
        _sees_no_sum_in_a_trace,
        _takes_errors_for_no_others,
    ],
)
def test_a_wrong_verdict_is_caught(wrong, monkeypatch):
    assert not caught()
    wrong(monkeypatch)
    assert caught()


def test_a_plan_that_reads_more_is_caught(monkeypatch):
    """A trace of the other neuron is none of this synapse's."""
    term = Term.of("F", SQUARE * y_pre)
    nothing_is_read_beyond_the_needs(term, 0)

    def turned(plan):
        right, kept = in_torch(plan), plan.carried[0].value

        def values(v):
            found = right.values(v)
            return {**found, kept: found[kept].roll(1, -1)}

        return dataclasses.replace(right, values=values)

    monkeypatch.setitem(globals(), "compiled_of", turned)
    with pytest.raises(AssertionError):
        nothing_is_read_beyond_the_needs(term, 0)


def test_drawn_terms_catch_it_too(monkeypatch):
    _judges_no_trace(monkeypatch)

    @settings(some, max_examples=400, database=None, derandomize=True, phases=[Phase.generate])
    @given(terms(), st.integers(0, 10**6))
    def attempt(term, seed):
        nothing_is_read_beyond_the_needs(term, seed)

    with pytest.raises(AssertionError):
        attempt()
