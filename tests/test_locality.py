"""Needs, evidence and messages; and the verdict against what an update really reads."""

import dataclasses
from pathlib import Path

import numpy as np
import oracle
import pytest
import strategies
import sympy
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.locality import NEEDS, Evidence, Read, classify, parse_needs, within
from rulesearch.notation import Abs, Pool, Term, load_pool, operator
from rulesearch.operators import QUANTITIES

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
        measured = entries_measured(term.expression, layer, *position)
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


def test_the_verdict_of_needs_follows_from_what_is_read():
    # Nothing is read beyond the own synapse and cells just where nothing is needed.
    for term in PAPER:
        verdict = classify(term)
        assert bool(verdict.needs) == any(read.every for read in verdict.reads)
