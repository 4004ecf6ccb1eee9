"""Needs, evidence and messages; and the verdict against what an update really reads."""

import dataclasses
from pathlib import Path

import numpy as np
import oracle
import pytest
import remembered
import strategies
import sympy
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.locality import (
    NEEDS,
    Evidence,
    Read,
    classify,
    parse_needs,
    terms_allowed,
    within,
)
from rulesearch.notation import (
    Abs,
    B,
    L,
    Pool,
    Term,
    W,
    by_potential,
    canonical,
    e_post,
    e_pre,
    load_pool,
    operator,
    quantity,
    sign,
    sum_post,
    sum_pre,
    together,
    trace,
    y_post,
    y_pre,
)
from rulesearch.notation.needs import needs_of
from rulesearch.operators import QUANTITIES, NeuronSum, index_of, without_definitions

GRAMMAR = Path(__file__).parent.parent / "grammar"
PAPER = load_pool(GRAMMAR / "paper_pool.py")

IN = "every incoming synapse of the post-cell"
OUT = "every outgoing synapse of the pre-cell"
LAYER = "every synapse of the layer"
EVERYWHERE = "a signal that is the same everywhere"
OTHER = "a cell of another population"


def verdict_of(text, neurons="shared", **own):
    return classify(Term.of("F", text, own), neurons)


def message_of(call, *arguments):
    with pytest.raises(RuleSearchError) as caught:
        call(*arguments)
    return str(caught.value)


# --- the table of the design ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "needs", "evidence"),
    [
        ("F0", "synaptic", ()),
        ("F1", "synaptic", ()),
        ("F2", "synaptic", ()),
        ("F3", "synaptic", ()),
        ("F4", "synaptic", ()),
        ("F5", "retrograde", (f"sum_post(y_post) reads {OUT}",)),
        ("F6", "global", (f"sum_post(y_post*sum_pre(W*e_pre)) reads {LAYER}",)),
        ("F7", "global", (f"sum_post(y_post*sum_pre(W*e_pre)) reads {LAYER}",)),
        ("F8", "retrograde", (f"sum_post(e_post*z_post) reads {OUT}",)),
        ("F9", "retrograde", (f"sum_post(y_post*W) reads {OUT}",)),
    ],
)
def test_the_papers_pool(name, needs, evidence):
    term = next(t for t in PAPER if t.name == name)
    verdict = classify(term)
    assert str(verdict) == needs
    assert tuple(map(str, verdict.evidence)) == evidence


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("W*y_pre*y_post*z_pre*z_post*e_pre*e_post", []),
        ("n_pre*W", []),
        ("sum_pre(W*y_pre)", []),  # the cell's own potential
        ("sum_post(y_pre)", []),  # n_post times what the synapse has
        ("sum_pre(W*e_pre)", [Evidence("dendritic", "sum_pre(W*e_pre)", IN)]),
        ("y_pre*sum_pre(W)", [Evidence("dendritic", "sum_pre(W)", IN)]),
        ("e_post*sum_pre(tanh(W))", [Evidence("dendritic", "sum_pre(tanh(W))", IN)]),
        ("sum_post(z_post)", [Evidence("retrograde", "sum_post(z_post)", OUT)]),
        # a sum over a sum of the same kind gathers nothing more
        ("sum_post(tanh(W + sum_post(W)))", [
            Evidence("retrograde", "sum_post(tanh(W + sum_post(W)))", OUT)
        ]),
        # of several the smallest
        ("sum_post(y_post*W) + sum_post(W)", [Evidence("retrograde", "sum_post(W)", OUT)]),
        ("tanh(sum_pre(W)) - sum_post(y_post)", [
            Evidence("dendritic", "sum_pre(W)", IN),
            Evidence("retrograde", "sum_post(y_post)", OUT),
        ]),
        ("sum_pre(sum_post(W))", [Evidence("global", "sum_post(sum_pre(W))", LAYER)]),
        # in either order, a cell's own potential is its own
        ("sum_pre(y_pre*sum_post(W*y_post))", [
            Evidence("retrograde", "sum_post(y_post*z_post)", OUT)
        ]),
        ("sum_pre(W*sum_post(W))", [Evidence("global", "sum_pre(W*sum_post(W))", LAYER)]),
        # the smallest part that is global, not all that contains it
        ("sum_pre(tanh(W + sum_post(tanh(W*sum_pre(W)))))", [
            Evidence("global", "sum_post(tanh(W*sum_pre(W)))", LAYER)
        ]),
        ("L*y_pre", [Evidence("global", "L", EVERYWHERE)]),
        ("L*y_pre*sum_post(y_post)", [
            Evidence("retrograde", "sum_post(y_post)", OUT),
            Evidence("global", "L", EVERYWHERE),
        ]),
    ],
)  # fmt: skip
def test_needs_and_evidence(text, evidence):
    verdict = verdict_of(text)
    assert list(verdict.evidence) == evidence
    assert verdict.needs == {e.need for e in evidence}


def test_an_operator_is_judged_by_its_definition():
    softsign = operator("softsign", lambda x: x / (1 + Abs(x)))
    constant = operator("constant", lambda x: x - x + 2)
    assert str(verdict_of("softsign(sum_pre(W))", softsign=softsign)) == "dendritic"
    assert verdict_of("constant(sum_pre(W))*y_pre", constant=constant).reads == {
        Read("y_pre", frozenset())
    }


ANOTHER = "the weight of another synapse"
INTO = "every feedback synapse that ends at the pre-cell"
OUT_OF = "every feedback synapse that begins at the post-cell"


@pytest.mark.parametrize(
    ("changes", "text", "evidence"),
    [
        # Akrout et al. (2019) and Kunin et al. (2020)
        ("B", "-e_post*y_pre - B", []),
        ("B", "y_pre*z_post", []),
        ("B", "W", [Evidence("transport", "W", ANOTHER)]),
        ("B", "-z_post*sum_post(B*z_post)", [
            Evidence("dendritic", "sum_post(z_post*B)", INTO)
        ]),
        ("B", "-y_pre*sum_pre(y_pre*B)", [Evidence("retrograde", "sum_pre(B*y_pre)", OUT_OF)]),
        ("B", "sum_pre(B*sum_post(B))", [Evidence("global", "sum_pre(B*sum_post(B))", LAYER)]),
        ("B", "sum_post(W*y_post)", [
            Evidence("dendritic", "sum_post(y_post*W)", INTO),
            Evidence("transport", "W", ANOTHER),
        ]),
        ("B", "L*B", [Evidence("global", "L", EVERYWHERE)]),
        ("W", "B*W", [Evidence("transport", "B", ANOTHER)]),
        ("W", "y_pre*b_post*xi_post", []),
        ("b", "-e_post - b_post", []),
        ("b", "sum_pre(W*e_pre)", [Evidence("dendritic", "sum_pre(W*e_pre)", IN)]),
        ("b", "sum_pre(W*B)", [
            Evidence("dendritic", "sum_pre(B*W)", IN),
            Evidence("transport", "B", ANOTHER),
        ]),
        ("b", "sum_post(y_post)", [
            Evidence(
                "global", "sum_post(y_post)", "cells that no synapse of the post-cell comes from"
            )
        ]),
    ],
)  # fmt: skip
def test_needs_of_other_parameters(changes, text, evidence):
    verdict = classify(Term.of("F", text, changes=changes))
    assert list(verdict.evidence) == evidence


def test_a_coefficient_of_two_parameters_needs_what_both_do():
    joint = together(Pool(A="sum_post(W)"), Pool(A="-e_post*y_pre + W", of="B"))
    assert str(classify(joint.terms[0])) == "retrograde, transport"
    assert str(classify(joint.terms[0], "separate")) == "retrograde, transport, foreign"


BACK = trace("back_post", sum_pre(W * e_pre), decay=0.9)
SIZE = trace("size_post", e_post**2, decay=0.9)
HAT = quantity("hat_post", e_post / (1 + SIZE))


@pytest.mark.parametrize(
    ("expression", "evidence"),
    [
        (SIZE * y_pre, []),
        (HAT * y_pre, []),
        (trace("elig", y_post * y_pre, decay=0.9), []),
        (BACK * y_pre, [
            Evidence("dendritic", "back_post (a trace of sum_pre(W*e_pre), decay 0.9)", IN)
        ]),
        (sum_post(SIZE * W), [Evidence("retrograde", "sum_post(size_post*W)", OUT)]),
        # a sum over what itself sums over the other side
        (sum_post(BACK), [Evidence("global", "sum_post(back_post)", LAYER)]),
        # within a sum of its own side, it is part of that
        (sum_pre(sign(W + BACK)), [Evidence("dendritic", "sum_pre(sign(back_post + W))", IN)]),
        (trace("level", L, decay=0.9) * W, [
            Evidence("global", "level (a trace of L, decay 0.9)", EVERYWHERE)
        ]),
        (trace("copied", W * B, decay=0.9), [
            Evidence("transport", "copied (a trace of B*W, decay 0.9)", ANOTHER)
        ]),
        # one that follows another
        (trace("slow_post", BACK**2, decay=0.99) * W, [
            Evidence("dendritic", "slow_post (a trace of back_post**2, decay 0.99)", IN)
        ]),
    ],
)  # fmt: skip
def test_needs_of_a_trace_are_those_of_what_it_follows(expression, evidence):
    term = Term.of("F", expression)
    assert list(classify(term).evidence) == evidence
    assert needs_of(term.expression) == classify(term).needs


def test_a_trace_reads_what_it_follows():
    every = {read.quantity: set(read.every) for read in classify(Term.of("F", BACK * y_pre)).reads}
    assert every == {"W": {"pre"}, "e_pre": {"pre"}, "y_pre": set()}
    foreign = classify(Term.of("F", HAT * y_pre), "separate")
    assert [str(e) for e in foreign.evidence] == [f"e_post reads {OTHER}"]
    traced = classify(Term.of("F", SIZE * y_pre), "separate")
    said = f"size_post (a trace of e_post**2, decay 0.9) reads {OTHER}"
    assert [str(e) for e in traced.evidence] == [said]


def test_feedback_of_separate_neurons_sees_errors_alone():
    def verdict(text):
        return str(classify(Term.of("F", text, changes="B"), "separate"))

    assert verdict("-e_post*e_pre - B") == "synaptic"
    for name in ("y_pre", "y_post", "z_pre", "z_post", "b_post", "xi_post"):
        assert verdict(f"{name}*e_post") == "foreign"
    assert str(classify(Term.of("F", "-e_post", changes="b"), "separate")) == "foreign"


def test_separate_neurons_do_not_see_errors():
    assert verdict_of("-e_post*y_pre", "separate").evidence == (
        Evidence("foreign", "e_post", OTHER),
    )
    assert verdict_of("y_post*y_pre - W", "separate").evidence == ()
    both = verdict_of("e_pre*sum_post(e_post)", "separate")
    assert str(both) == "retrograde, foreign"
    assert [str(classify(t, "separate")) for t in PAPER] == [
        *("foreign", "foreign", "foreign", "synaptic", "foreign"),
        *("retrograde, foreign", "global, foreign", "global, foreign", "retrograde, foreign"),
        "retrograde",
    ]


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("-e_post*y_pre", {"e_post": "", "y_pre": ""}),
        ("y_post*sum_post(y_post*W)", {"y_post": "post", "W": "post"}),
        ("sum_post(y_post*sum_pre(W*e_pre))", {"y_post": "post", "W": "both", "e_pre": "pre"}),
        ("L*n_pre*sum_pre(W)", {"L": "", "n_pre": "", "W": "pre"}),
    ],
)
def test_reads(text, reads):
    sides = {"": set(), "pre": {"pre"}, "post": {"post"}, "both": {"pre", "post"}}
    widest = {}
    for read in verdict_of(text).reads:
        widest[read.quantity] = widest.get(read.quantity, frozenset()) | read.every
    assert widest == {name: sides[every] for name, every in reads.items()}


# --- --locality -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("synaptic", set()),
        ("dendritic", {"dendritic"}),
        ("dendritic, retrograde,", {"dendritic", "retrograde"}),
        ("synaptic,global", {"global"}),
        ("all", set(NEEDS)),
        ("foreign,all", set(NEEDS)),
    ],
)
def test_parse_needs(text, expected):
    assert parse_needs(text) == expected


CHOICES = (
    "give synaptic for none, all, or any of dendritic, retrograde, transport, global, foreign, "
    "with commas"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "retrogade",
            f"--locality retrogade: unknown need retrogade; did you mean retrograde? ({CHOICES})",
        ),
        ("global,x", f"--locality global,x: unknown need x ({CHOICES})"),
        (
            "retrogade,x",
            f"--locality retrogade,x: unknown need retrogade; did you mean retrograde? ({CHOICES})",
        ),
        ("", f"--locality: no need given; {CHOICES}"),
        (" ,", f"--locality: no need given; {CHOICES}"),
    ],
)
def test_bad_needs(text, message):
    assert message_of(parse_needs, text) == message


F6_F7 = "sum_post(y_post*sum_pre(W*e_pre)) reads every synapse of the layer"


@pytest.mark.parametrize(
    ("allowed", "neurons", "lines"),
    [
        (
            "dendritic,retrograde",
            "shared",
            [
                f"term F6: needs global, not in --locality dendritic,retrograde: {F6_F7}; allow it "
                "with --locality dendritic,retrograde,global or leave F6 out",
                f"term F7: needs global, not in --locality dendritic,retrograde: {F6_F7}; allow it "
                "with --locality dendritic,retrograde,global or leave F7 out",
            ],
        ),
        (
            "retrograde,global",
            "separate",
            [
                f"term {name}: needs foreign, not in --locality retrograde,global: "
                f"{error} reads a cell of another population; allow it with --locality "
                f"retrograde,global,foreign or leave {name} out"
                for name, error in [
                    *(("F0", "e_post"), ("F1", "e_pre"), ("F2", "e_pre"), ("F4", "e_pre")),
                    *(("F5", "e_post"), ("F6", "e_pre"), ("F7", "e_pre"), ("F8", "e_pre")),
                ]
            ],
        ),
    ],
)
def test_within(allowed, neurons, lines):
    assert message_of(within, PAPER, parse_needs(allowed), neurons).splitlines() == lines


def test_within_names_all_that_a_term_needs_and_says_when_nothing_is_left():
    pool = Pool(A="L*sum_post(y_post)")
    assert message_of(within, pool, parse_needs("synaptic")).splitlines() == [
        "term A: needs retrograde, global, not in --locality synaptic: sum_post(y_post) reads "
        f"{OUT} and L reads {EVERYWHERE}; allow it with --locality retrograde,global or leave "
        "A out",
        "--locality synaptic: excludes all 1 terms; allow more needs",
    ]


def test_within_passes_what_is_allowed():
    within(PAPER, parse_needs("retrograde,global"))
    within(PAPER.only("F0", "F3"), parse_needs("synaptic"))


def test_within_of_feedback():
    pool = together(Pool(A="-W"), Pool(self="W", of="B"))
    assert message_of(within, pool, parse_needs("dendritic")) == (
        f"term self: needs transport, not in --locality dendritic: W reads {ANOTHER}; allow it "
        "with --locality dendritic,transport or leave self out"
    )
    assert terms_allowed(pool) == {"synaptic": 1, "transport": 2}


def test_needs_that_allow_fewer_terms_than_others_are_listed_too():
    pool = Pool(A="-sum_pre(y_pre)", B="-sum_pre(e_pre)", C="-sum_post(y_post)")
    allowed = {"synaptic": 0, "dendritic": 2, "retrograde": 1, "dendritic,retrograde": 3}
    assert terms_allowed(pool) == allowed


# --- the verdict against measurement ----------------------------------------------------------

POST, PRE = 3, 4


def entries_said(verdict, j, k):
    """The inputs that a verdict lets entry (j, k) read, as (quantity, position)."""
    said = set()
    for read in verdict.reads:
        index = QUANTITIES[read.quantity].index
        if read.quantity in ("n_pre", "n_post"):
            continue
        js = range(POST) if "post" in read.every else [j]
        ks = range(PRE) if "pre" in read.every else [k]
        for jj in js if "post" in index else [None]:
            for kk in ks if "pre" in index else [None]:
                said.add((read.quantity, tuple(i for i in (jj, kk) if i is not None)))
    return said


def entries_measured(expression, layer, j, k):
    """The inputs that change entry (j, k) of the oracle's update when they are moved."""
    before = oracle.update(expression, layer, j, k)
    measured = set()
    for name in layer:
        for at in np.ndindex(np.shape(layer[name])):
            moved = np.array(layer[name], dtype=float)
            moved[at] += 0.3
            after = oracle.update(expression, {**layer, name: moved}, j, k)
            # Far below what a move of 0.3 does, far above the rounding of a few dozen operations.
            if abs(after - before) > 1e-9 * (1 + abs(before)):
                measured.add((name, at))
    return measured


positions = st.tuples(st.integers(0, POST - 1), st.integers(0, PRE - 1))
generic_layers = st.builds(strategies.free_layer, strategies.seeds, st.just(POST), st.just(PRE))


def nothing_is_read_beyond_the_verdict(term, layer, position, verdict_on=classify):
    try:
        # A cell has what it sums of its inputs, its potential; the layers here are of any values.
        measured = entries_measured(by_potential(term.expression), layer, *position)
    except (OverflowError, ValueError):
        assume(False)
    assert measured <= entries_said(verdict_on(term), *position)


@given(strategies.terms(), generic_layers, positions)
def test_measured_dependence_lies_within_the_verdict(term, layer, position):
    nothing_is_read_beyond_the_verdict(term, layer, position)


def with_generic_coefficients(form):
    """Each part times a number of its own, so that parts cancel nowhere: sum_post(W) - W does."""
    primes = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)
    parts = sympy.Add.make_args(form)
    assume(len(parts) <= len(primes))
    return sympy.Add(*(sympy.sqrt(p) * part for p, part in zip(primes, parts, strict=False)))


@given(strategies.polynomials(), generic_layers, positions)
def test_measured_dependence_is_the_verdict_for_polynomials(expression, layer, position):
    term = term_or_reject(expression)
    generic = with_generic_coefficients(term.expression)
    term = dataclasses.replace(term, expression=generic)
    assert entries_measured(generic, layer, *position) == entries_said(classify(term), *position)


def term_or_reject(expression):
    try:
        return Term.of("F", expression)
    except RuleSearchError:
        assume(False)


def forgets_sums(term):
    verdict = classify(term)
    own = frozenset(Read(read.quantity, frozenset()) for read in verdict.reads)
    return dataclasses.replace(verdict, reads=own)


def takes_one_side_for_the_other(term):
    verdict = classify(term)
    other = {"pre": "post", "post": "pre"}
    swapped = frozenset(
        Read(r.quantity, frozenset(other[side] for side in r.every)) for r in verdict.reads
    )
    return dataclasses.replace(verdict, reads=swapped)


def forgets_the_weights(term):
    verdict = classify(term)
    return dataclasses.replace(
        verdict, reads=frozenset(r for r in verdict.reads if r.quantity != "W")
    )


@pytest.mark.parametrize(
    "broken", [forgets_sums, takes_one_side_for_the_other, forgets_the_weights]
)
def test_a_broken_verdict_is_caught(broken):
    @settings(max_examples=500, database=None, derandomize=True, phases=[Phase.generate])
    @given(strategies.terms(symbols=("W", "y_pre", "y_post")), generic_layers, positions)
    def attempt(term, layer, position):
        nothing_is_read_beyond_the_verdict(term, layer, position, broken)

    with pytest.raises(AssertionError):
        attempt()


# --- and of what is remembered ----------------------------------------------------------------


def entries_remembered(expression, layers, j, k):
    """The inputs of any step that change entry (j, k) after the last one."""
    form = remembered.plain(expression)
    before = oracle.update(form, remembered.after(expression, layers), j, k)
    measured = set()
    for step, layer in enumerate(layers):
        for name in layer:
            for at in np.ndindex(np.shape(layer[name])):
                moved = np.array(layer[name], dtype=float)
                moved[at] += 0.3
                others = [*layers[:step], {**layer, name: moved}, *layers[step + 1 :]]
                after = oracle.update(form, remembered.after(expression, others), j, k)
                if abs(after - before) > 1e-9 * (1 + abs(before)):
                    measured.add((name, at))
    return measured


@st.composite
def remembering(draw):
    """Terms with one or two traces of any index, one of which may follow the other."""
    own = []
    for number in range(draw(st.integers(1, 2))):
        followed = draw(strategies.polynomials(leaves=3)).xreplace(dict(replaced(draw, own)))
        index = index_of(followed)
        suffix = f"_{next(iter(index))}" if len(index) == 1 else ""
        try:
            own.append(trace(f"q{number}{suffix}", followed, decay=0.5))
        except RuleSearchError:
            assume(False)
    written = draw(strategies.polynomials(leaves=4))
    return term_or_reject(written.xreplace(dict(replaced(draw, own))))


def replaced(draw, own):
    for symbol in own:
        same = [r.symbol for r in QUANTITIES.values() if r.index == symbol.row.index]
        yield draw(st.sampled_from(same)), symbol


def nothing_is_remembered_beyond_the_verdict(term, seed, position, verdict_on=classify):
    layers = [strategies.free_layer(seed, POST, PRE), strategies.free_layer(seed + 1, POST, PRE)]
    try:
        measured = entries_remembered(term.expression, layers, *position)
    except (OverflowError, ValueError):
        assume(False)
    assert measured <= entries_said(verdict_on(term), *position)


@settings(max_examples=30, deadline=None)
@given(remembering(), st.integers(0, 10**6), positions)
def test_what_is_remembered_lies_within_the_verdict(term, seed, position):
    nothing_is_remembered_beyond_the_verdict(term, seed, position)


@given(remembering())
def test_needs_of_a_form_are_those_of_the_verdict(term):
    for changes in ("W", "B"):
        changed = dataclasses.replace(term, changes=changes)
        form = canonical(without_definitions(term.expression))
        assert needs_of(form, changes) == classify(changed).needs


def forgets_what_traces_follow(term):
    verdict = classify(term)
    plain = frozenset(
        Read(s.name, frozenset()) for s in term.expression.free_symbols if s.name in QUANTITIES
    )
    return dataclasses.replace(verdict, reads=plain)


def takes_a_trace_for_its_own_cells(term):
    verdict = classify(term)
    if not term.expression.atoms(NeuronSum):
        own = frozenset(Read(r.quantity, frozenset()) for r in verdict.reads)
        return dataclasses.replace(verdict, reads=own)
    return verdict


@pytest.mark.parametrize("broken", [forgets_what_traces_follow, takes_a_trace_for_its_own_cells])
def test_a_verdict_that_forgets_what_was_is_caught(broken):
    for expression in (BACK * y_pre, trace("copied", W * y_post, decay=0.9)):
        for seed in range(3):
            nothing_is_remembered_beyond_the_verdict(Term.of("F", expression), seed, (1, 2))
    with pytest.raises(AssertionError):
        nothing_is_remembered_beyond_the_verdict(Term.of("F", BACK * y_pre), 0, (1, 2), broken)


# --- feedback runs the other way --------------------------------------------------------------


def the_other_way(needs):
    exchanged = {"dendritic": "retrograde", "retrograde": "dendritic"}
    return {exchanged.get(need, need) for need in needs}


def feedback_is_the_other_way(term, needs=lambda term: classify(term).needs):
    mirrored = term.expression.xreplace({W: B, B: W})
    assume(canonical(mirrored) == mirrored)  # sum_pre(B*y_pre) becomes a potential
    # So does sum_pre(W*y_pre) as a term's whole, and its cell has that; sum_pre(B*y_pre) is none.
    assume(not term.expression.has(sum_pre(W * y_pre)))
    feedback = dataclasses.replace(term, expression=mirrored, changes="B")
    assert needs(feedback) == the_other_way(needs(term))


@given(strategies.terms(polynomial=True))
def test_what_feedback_needs_is_what_weights_need_the_other_way(term):
    feedback_is_the_other_way(term)


def forgets_to_exchange(term):
    return classify(dataclasses.replace(term, changes="W")).needs


def forgets_transport(term):
    return classify(term).needs - {"transport"} if term.changes == "B" else classify(term).needs


@pytest.mark.parametrize("broken", [forgets_to_exchange, forgets_transport])
def test_feedback_that_is_taken_for_weights_is_caught(broken):
    @settings(max_examples=300, database=None, derandomize=True, phases=[Phase.generate])
    @given(strategies.terms(polynomial=True, symbols=("W", "B", "y_pre", "y_post")))
    def attempt(term):
        feedback_is_the_other_way(term, broken)

    with pytest.raises(AssertionError):
        attempt()


def test_the_verdict_of_needs_follows_from_what_is_read():
    # Nothing is read beyond the own synapse and cells just where nothing is needed.
    for term in PAPER:
        verdict = classify(term)
        assert bool(verdict.needs) == any(read.every for read in verdict.reads)
