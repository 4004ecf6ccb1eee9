"""Terms, their canonical form, text and LaTeX; pools and where they are read from."""

import dataclasses
import itertools
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import oracle
import pytest
import strategies
import sympy
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.notation import (
    Abs,
    Heaviside,
    L,
    Max,
    Pool,
    Term,
    W,
    canonical,
    degree,
    e_post,
    e_pre,
    exp,
    latex_of,
    load_pool,
    n_post,
    n_pre,
    operator,
    parse,
    pool_from_plain,
    pool_from_text,
    pool_to_plain,
    sum_post,
    sum_pre,
    tanh,
    text_of,
    together,
    values_of,
    y_post,
    y_pre,
    z_post,
    z_pre,
)
from rulesearch.notation.own import own_symbols, quantity, trace
from rulesearch.notation.vocabulary import named
from rulesearch.operators import OPERATORS, NeuronSum, operator_of, without_definitions

GRAMMAR = Path(__file__).parent.parent / "grammar"

softsign = operator("softsign", lambda x: x / (1 + Abs(x)))
gate = operator("gate", lambda x, y: x * Heaviside(y))
OWN = {"softsign": softsign, "gate": gate}
OWN_ROWS = tuple(operator_of(f) for f in OWN.values())

VOCABULARY = (
    "(a term may use y_pre, e_pre, y_post, e_post, W, B, b_post, xi_post, z_pre, z_post, n_pre, "
    "n_post, L, and what quantity(...) or trace(...) makes)"
)
CALLS = (
    "(a term may call tanh, sin, cos, erf, atan, exp, log, sqrt, Abs, sign, Heaviside, Max, Min, "
    "sum_pre, sum_post, sigmoid, relu, softplus)"
)


def making(name):
    return (
        f'make it with {name} = operator("{name}", lambda x: ...) in a Python file, or in a TOML '
        f'file with {name} = {{arguments = ["x"], definition = "..."}} under [operators]'
    )


def message_of(call, *arguments, **more):
    with pytest.raises(RuleSearchError) as caught:
        call(*arguments, **more)
    return str(caught.value)


def falsified(claim, *drawn):
    """Whether hypothesis finds a counterexample: what each claim must do to a broken version."""

    @settings(
        max_examples=2_000,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate],  # there is nobody to shrink it for
    )
    @given(st.tuples(*drawn))
    def attempt(values):
        claim(*values)

    with pytest.raises(AssertionError):
        attempt()


# --- the strategies themselves ----------------------------------------------------------------


def test_every_row_is_reachable():
    unseen = set(OPERATORS)

    @settings(max_examples=1_000, database=None, derandomize=True)
    @given(strategies.expressions())
    def walk(expression):
        unseen.difference_update([n for n in unseen if strategies.calls(expression, n)])

    walk()
    assert not unseen


@given(strategies.polynomials())
def test_polynomials_are_polynomials(expression):
    assert degree(expression) is not None


@given(strategies.smooth_expressions())
def test_smooth_expressions_do_not_jump(expression):
    assert not expression.has(sympy.sign, Heaviside)


# --- text to expression -----------------------------------------------------------------------

POINT = {"y_pre": Fraction(3, 7), "W": Fraction(-5, 3), "e_post": Fraction(2, 5)}

FORMS = (
    "{} + {}",
    "{} - {}",
    "{}*{}",
    "{}/{}",
    "-{}",
    "({})",
    "({})**2",
    "({})**-1",
    "-({})**2",
    "({})**-1**2",
    "({})**+3",
)

#: Text as a person may write it, with # before each number.
written = st.recursive(
    st.sampled_from([*POINT, "#1", "#2", "#0.5"]),
    lambda inner: st.sampled_from(FORMS).flatmap(
        lambda form: st.tuples(*form.count("{}") * [inner]).map(lambda parts: form.format(*parts))
    ),
    max_leaves=8,
)


def as_python_has_it(text, parsed):
    """Exactly the value that Python's own grammar and rational arithmetic give."""
    try:
        exact = re.sub(r"#([\d.]+)", r'F("\1")', text)
        expected = eval(exact, {"F": Fraction, **POINT})
    except ZeroDivisionError:
        assume(False)
    values = {
        sympy.Symbol(name, real=True): sympy.Rational(v.numerator, v.denominator)
        for name, v in POINT.items()
    }
    value = parsed(text.replace("#", "")).xreplace(values)
    assert value == sympy.Rational(expected.numerator, expected.denominator)


@given(written)
def test_text_means_what_python_means(text):
    as_python_has_it(text, parse)


def test_a_parser_that_ignores_parentheses_is_caught():
    falsified(lambda text: as_python_has_it(text, lambda t: parse(re.sub(r"[()]", "", t))), written)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-e_post*y_pre", -e_post * y_pre),
        ("-y_pre**2", -(y_pre**2)),
        ("2**-y_pre", 2**-y_pre),
        ("W/2/3", W / 6),
        ("W - y_pre - 1", W - y_pre - 1),
        ("  + W ", W),
        ("Max(W, 0, y_pre)", Max(0, W, y_pre)),
        ("sum_post(y_post*sum_pre(W*e_pre))", sum_post(y_post * sum_pre(W * e_pre))),
        ("sqrt(W)", W ** sympy.Rational(1, 2)),
        ("E*pi*W", sympy.E * sympy.pi * W),
        ("0.1*W", W / 10),
        ("1e-3*W", W / 1000),
        ("0.1 + 0.2", sympy.Rational(3, 10)),
        ("Heaviside(n_pre)*L*z_pre", Heaviside(n_pre) * L * z_pre),
    ],
)
def test_parse(text, expected):
    assert parse(text) == expected


def test_parse_with_own_operators():
    assert parse("softsign(W) + gate(W, y_pre)", OWN) == softsign(W) + gate(W, y_pre)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty; write an expression such as -e_post*y_pre"),
        ("  ", "the text is empty; write an expression such as -e_post*y_pre"),
        (
            "-e_post*y_psot",
            f"unknown symbol y_psot in -e_post*y_psot; did you mean y_post? {VOCABULARY}",
        ),
        ("q*y_pre", f"unknown symbol q in q*y_pre {VOCABULARY}"),
        ("sumpost(W)", f"unknown operator sumpost in sumpost(W); did you mean sum_post? {CALLS}"),
        ("swish(W)*y_pre", f"unknown operator swish in swish(W)*y_pre; {making('swish')} {CALLS}"),
        (
            "Piecewise((W, W > 0), (0, True))",
            "Piecewise in Piecewise((W, W > 0), (0, True)) is no operator; write a where x > 0 and "
            "b elsewhere as a*Heaviside(x) + b*Heaviside(-x), or with Max and Min",
        ),
        ("−e_post*y_pre", "U+2212 MINUS SIGN at column 1 of −e_post*y_pre; type -"),
        ("W×y_pre", "U+00D7 MULTIPLICATION SIGN at column 2 of W×y_pre; type *"),
        ("W²", "U+00B2 SUPERSCRIPT TWO at column 2 of W²; type **2"),
        ("W\u00a0+ 1", "U+00A0 NO-BREAK SPACE at column 2 of W\u00a0+ 1; type a plain space"),
        ("ｙ_pre", "U+FF59 FULLWIDTH LATIN SMALL LETTER Y at column 1 of ｙ_pre; type y"),
        ("е_post", "U+0435 CYRILLIC SMALL LETTER IE at column 1 of е_post; type e"),
        (
            "W\ud800",
            "U+D800 which has no name at column 2 of W\\ud800; a term is written with plain "
            "letters, digits and + - * / ** ( ) ,",
        ),
        (
            f"{'tanh(' * 9}sqrt(W){')' * 9}",
            f"{'tanh(' * 9}sqrt(W){')' * 9} has more than 4 tanh around what may not be real; "
            "keep roots and logarithms within their domain by Max or Abs",
        ),
        ("y_pre(2)", "y_pre is no operator in y_pre(2); write y_pre*(...) for a product"),
        ("tanh*W", "operator tanh without arguments in tanh*W; write tanh(...)"),
        ("tanh(W, W)", "tanh takes 1 argument, not 2, in tanh(W, W)"),
        ("Max(W)", "Max takes at least 2 arguments, not 1, in Max(W)"),
        ("sum_post()", "sum_post takes 1 argument, not 0, in sum_post()"),
        ("W^2", "^ in W^2 is not a power; write **"),
        (
            "W +* 2",
            "syntax error at column 4 in W +* 2; write one expression, such as -e_post*y_pre",
        ),
        ("(W", "syntax error at column 1 in (W; write one expression, such as -e_post*y_pre"),
        ("W = 2", "syntax error at column 3 in W = 2; write one expression, such as -e_post*y_pre"),
        ("W\ny_pre", "W... goes on; write it on one line"),
        (
            "W if y_pre else 1",
            "W if y_pre else 1 is not something a term can say; use + - * / ** and calls",
        ),
        (
            "W*(y_pre > 0)",
            "y_pre > 0 in W*(y_pre > 0) is not something a term can say; use + - * / ** and calls",
        ),
        ("'W'", "'W' is not something a term can say; use + - * / ** and calls"),
        ("True*W", "True in True*W is not something a term can say; use + - * / ** and calls"),
        ("2j*W", "2j in 2j*W is not something a term can say; use + - * / ** and calls"),
        ("W.T", "W.T is not something a term can say; use + - * / ** and calls"),
        ("W[0]", "W[0] is not something a term can say; use + - * / ** and calls"),
        ("W//2", "W//2 is not something a term can say; use + - * / ** and calls"),
        ("tanh(x=W)", "tanh(x=W) is not something a term can say; use + - * / ** and calls"),
        ("Max(*W)", "*W in Max(*W) is not something a term can say; use + - * / ** and calls"),
        (
            "__import__('os').system('true')",
            "__import__('os').system('true') is not something a term can say; "
            "use + - * / ** and calls",
        ),
        (
            "Max(sqrt(-1 - W**2), 0)",
            "Max(sqrt(-1 - W**2), 0) is not real; use only what is real for real quantities",
        ),
        (
            "Heaviside(log(-2))*W",
            "Heaviside(log(-2))*W is not real; use only what is real for real quantities",
        ),
        (
            "exp(999*log(2*W/y_pre))",
            "a power of 999 in exp(999*log(2*W/y_pre)); at most 32",
        ),
        (
            "W*Heaviside(tanh(1e30) - 1)",
            f"Heaviside(-1 + tanh(1{'0' * 30})) in W*Heaviside(tanh(1e30) - 1) cannot be told; "
            "write a number",
        ),
        (
            "Abs((2 - (-1)**(1/3))**3)",
            "Abs((2 - (-1)**(1/3))**3) is not real; use only what is real for real quantities",
        ),
        ("sin(exp(1e30))*W", "a number too long in sin(exp(1e30))*W; at most 300 digits"),
        (
            "W**Heaviside(1/0)",
            "W**Heaviside(1/0) is not finite; take the division by zero out of it",
        ),
        ("1e999*W", "a number too large in 1e999*W; use a smaller one"),
        ("1e-301*W", "a number too long in 1e-301*W; at most 300 digits"),
        ("W**64", "a power of 64 in W**64; at most 32"),
        ("W**9**9", "a power of 387420489 in W**9**9; at most 32"),
        ("W**9**9**9", "a power of 387420489 in W**9**9**9; at most 32"),
        ("(9**32)**32", "a number too long in (9**32)**32; at most 300 digits"),
        (
            "W**y_pre",
            "y_pre is an exponent in W**y_pre; an exponent must be a number, or its base one "
            "above 0; exp(a*log(b)) is b**a",
        ),
        (
            "y_pre**sum_pre(2)",
            "sum_pre(2) is an exponent in y_pre**sum_pre(2); an exponent must be a number, or "
            "its base one above 0; exp(a*log(b)) is b**a",
        ),
        (f"{'-' * 61}W", f"{'-' * 61}W is nested too deep; at most 60 levels"),
        (
            f"{'(' * 90}W{')' * 90} + 1 + y",
            f"unknown symbol y in {'(' * 90}W{')' * 66}... {VOCABULARY}",
        ),
        (f"{'W+' * 9_999}W", f"{'W+' * 78}W... has too many parts; make it shorter"),
        (f"{'W' * 20_001}", f"20001 characters in {'W' * 157}...; at most 20000"),
    ],
)
def test_bad_text(text, message):
    assert message_of(parse, text) == message


def test_an_own_operator_is_among_the_choices():
    assert message_of(parse, "softsgn(W)", OWN) == (
        "unknown operator softsgn in softsgn(W); did you mean softsign? "
        f"{CALLS[:-1]}, softsign, gate)"
    )


def test_a_power_below_the_minus_sign_is_no_power_of_a_negative():
    assert parse("-2**2") == -4


def test_long_sums_are_not_deep():
    assert parse("+".join(["W"] * 450)) == 450 * W


# --- expression to text and back --------------------------------------------------------------


def text_comes_back(term, printed=text_of):
    text = printed(term.expression)
    again = Term.of(term.name, text, OWN)
    assert again == term
    assert printed(again.expression) == text


own_terms = strategies.terms(own=OWN_ROWS)


@given(own_terms)
def test_term_to_text_to_term_is_the_identity(term):
    text_comes_back(term)


def test_a_printer_that_drops_a_sign_is_caught():
    falsified(
        lambda term: text_comes_back(term, lambda form: text_of(form).removeprefix("-")), own_terms
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (y_pre * -e_post, "-e_post*y_pre"),
        (-W + y_post * y_pre, "y_post*y_pre - W"),
        (sum_post(W * y_post) * e_pre * y_post / 2, "y_post*e_pre*sum_post(y_post*W)/2"),
        (exp(1) * W, "E*W"),
        (sympy.pi * sympy.sqrt(2) * W, "pi*sqrt(2)*W"),
        (1 / (1 + y_pre) ** 2, "(y_pre + 1)**(-2)"),
        (W * tanh(y_pre + y_post), "W*tanh(y_post + y_pre)"),
        (tanh(y_pre + y_post), "tanh(y_post + y_pre)"),
        (Heaviside(W), "Heaviside(W)"),
        (gate(W, y_pre), "gate(W, y_pre)"),
    ],
)
def test_text(expression, expected):
    assert text_of(expression) == expected


def test_an_own_operator_with_a_name_of_sympys_own_is_printed_by_its_name():
    gamma = operator("gamma", lambda x: x / 2)
    term = Term.of("F", gamma(W))
    assert term.text == "gamma(W)"
    assert term.latex == r"\operatorname{gamma}\left(W_{jk}\right)"
    assert Term.of("F", term.text, term.operators) == term


# --- the canonical form -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # numbers
        ("0.5*y_pre", "y_pre/2"),
        ("0.1*W + 0.2*W", "3*W/10"),
        ("y_pre**0.5", "sqrt(y_pre)"),
        # distribution
        ("y_post*(y_pre - W)", "y_post*y_pre - y_post*W"),
        ("(W + 1)**2", "W**2 + 2*W + 1"),
        ("(W + 1)**2*(W - 1)", "W**3 + W**2 - W - 1"),
        ("tanh(W*(y_pre + 1))", "tanh(W*y_pre + W)"),
        # denominators stay apart, so that they separate
        ("1/((1 + Abs(y_pre))*(1 + Abs(e_post)))", "1/((Abs(e_post) + 1)*(Abs(y_pre) + 1))"),
        ("1/(2*y_pre + 2)", "1/(2*(y_pre + 1))"),
        ("1/(-y_pre - 1)", "-1/(y_pre + 1)"),
        ("(y_pre + 1)**-2", "(y_pre + 1)**(-2)"),
        # sums
        ("sum_post(y_post + W)", "sum_post(W) + sum_post(y_post)"),
        ("sum_post(2*y_post)", "2*sum_post(y_post)"),
        ("sum_post(y_pre*W)", "y_pre*sum_post(W)"),
        ("sum_post(y_pre/(1 + y_pre))", "n_post*y_pre/(y_pre + 1)"),
        ("sum_pre(3)", "3*n_pre"),
        ("sum_pre(W*y_pre)", "sum_pre(W*y_pre)"),
        ("sum_pre(2*W*(y_pre + 1))", "2*sum_pre(W) + 2*sum_pre(W*y_pre)"),
        ("sum_pre(y_post*W*y_pre)", "y_post*sum_pre(W*y_pre)"),
        ("tanh(sum_pre(2*W*y_pre))", "tanh(2*sum_pre(W*y_pre))"),
        ("sum_post(sum_post(W)*y_post)", "sum_post(W)*sum_post(y_post)"),
        ("sum_post(L*y_post*n_pre)", "L*n_pre*sum_post(y_post)"),
        ("sum_post(W)**2*sum_post(y_post)", "sum_post(W)**2*sum_post(y_post)"),
        # sums of both kinds: sum_post outside, unless an index would be captured
        ("sum_pre(sum_post(W))", "sum_post(sum_pre(W))"),
        ("sum_pre(e_pre*sum_post(W*y_post))", "sum_post(y_post*sum_pre(W*e_pre))"),
        ("sum_pre(y_pre*sum_post(W*y_post))", "sum_post(y_post*sum_pre(W*y_pre))"),
        ("sum_pre(W*sum_post(W*y_post))", "sum_pre(W*sum_post(y_post*W))"),
        ("sum_pre(y_pre*tanh(sum_post(W)))", "sum_pre(y_pre*tanh(sum_post(W)))"),
        # exponentials come apart where neither part may be infinite while the other is 0
        ("exp(y_post + y_pre)", "exp(y_post + y_pre)"),  # with tanh either may be below 0
        ("exp(W - 1)", "exp(-1)*exp(W)"),
        ("exp(2*y_post)*exp(-y_post + y_pre)", "exp(y_post + y_pre)"),
        ("exp(-y_post**2 - W**2)", "exp(-y_post**2)*exp(-W**2)"),
        ("exp(y_post)*exp(-y_pre)", "exp(y_post - y_pre)"),
        ("exp(2*W)*exp(-W + y_pre)", "exp(W + y_pre)"),
        (
            "exp(-(y_post - y_pre)**2/2)",
            "exp(y_post*y_pre - y_post**2/2 - y_pre**2/2)",
        ),
        ("2**(y_pre + 1)", "2*2**y_pre"),
        ("2**(W + y_pre)/4", "2**(W + y_pre)/4"),
        ("(y_pre**2 + 1)**(W**2 + y_post)", "(y_pre**2 + 1)**(W**2 + y_post)"),
        ("2**(W**2 + Abs(y_post))", "2**Abs(y_post)*2**(W**2)"),
        ("sum_pre(exp(y_pre)*exp(y_post))", "sum_pre(exp(y_post + y_pre))"),
        ("sum_pre(exp(y_pre**2)*exp(y_post**2))", "exp(y_post**2)*sum_pre(exp(y_pre**2))"),
        ("sum_pre(2**(y_pre + z_post + 1))", "2*sum_pre(2**(y_pre + z_post))"),
        # high powers of sums, whose parts would cancel, stay
        ("(W - 1)**20", "(W - 1)**20"),
        ("(1 - W)**10*(W - 1)**10", "(W - 1)**20"),
        ("(1 - W)**9*(W - 1)**11", "-(W - 1)**20"),
        # the sign of a difference
        ("sign(y_pre - W)", "-sign(W - y_pre)"),
        ("Abs(y_pre - W)*sign(W - y_pre)", "Abs(W - y_pre)*sign(W - y_pre)"),
        ("(1 - W)**19*y_pre", "-(W - 1)**19*y_pre"),
        # magnitude and sign of products
        ("Abs(-2*W*y_pre)", "2*Abs(W)*Abs(y_pre)"),
        ("sum_pre(Abs(W*e_post))", "Abs(e_post)*sum_pre(Abs(W))"),
        ("sign(-2*W*y_pre)", "-sign(W)*sign(y_pre)"),
        ("Abs(2*W + 2)", "2*Abs(W + 1)"),
        ("Abs((y_pre**2 + 1)*W)", "Abs(W)*y_pre**2 + Abs(W)"),
        ("sqrt(y_pre**2)", "Abs(y_pre)"),
        ("sqrt(W*y_pre)", "sqrt(W*y_pre)"),
        # the rest
        ("Max(1, y_pre, 2)", "Max(2, y_pre)"),
        ("Max(Max(W, y_pre), y_post)", "Max(W, y_post, y_pre)"),
        ("log(exp(y_pre))", "y_pre"),
        ("softsign(2*(W + 1))", "softsign(2*W + 2)"),
    ],
)
def test_canonical(text, expected):
    form = canonical(parse(text, OWN))
    assert form == canonical(parse(expected, OWN))
    assert text_of(form) == expected


@given(strategies.expressions(own=OWN_ROWS))
def test_canonical_form_is_its_own(expression):
    try:
        form = canonical(expression)
    except RuleSearchError:
        assume(False)
    assert canonical(form) == form


def value_is_kept(expression, layer, form_of=canonical):
    try:
        form = form_of(expression)
    except RuleSearchError:
        assume(False)
    before = strategies.matrix_or_reject(expression, layer)
    # Rounding grows with the parts that cancel, which are below LARGEST.
    tolerance = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(oracle.update_matrix(form, layer), before, **tolerance)
    for written_or_form in (expression, form):
        value = values_of(written_or_form, strategies.broadcastable(layer))
        np.testing.assert_allclose(np.broadcast_to(value, before.shape), before, **tolerance)


@given(strategies.expressions(), strategies.layers)
def test_canonical_form_keeps_the_value(expression, layer):
    value_is_kept(expression, layer)


@given(strategies.polynomials(leaves=8), strategies.layers)
def test_canonical_form_keeps_the_value_of_polynomials(expression, layer):
    value_is_kept(expression, layer)


def everywhere(change):
    """A canonical form with one more step, at every part from the inside out."""

    def broken(expression):
        def walked(part):
            part = part.func(*map(walked, part.args)) if part.args else part
            return change(part)

        return walked(canonical(expression))

    return broken


def pulls_out_a_bound_factor(part):
    if not isinstance(part, NeuronSum):
        return part
    first, *others = sympy.Mul.make_args(part.args[0])
    return first * part.func(sympy.Mul(*others))


def takes_every_weighted_sum_for_the_potential(part):
    return z_post if isinstance(part, sum_pre) and part.has(W) else part


def exchanges_a_sum_that_captures(part):
    if isinstance(part, sum_pre) and part.args[0].has(sum_post):
        factors = sympy.Mul.make_args(part.args[0])
        sums = [f for f in factors if isinstance(f, sum_post)]
        if len(sums) == 1:
            others = sympy.Mul(*(f for f in factors if f not in sums))
            return sum_post(sum_pre(others * sums[0].args[0]))
    return part


def counts_the_other_side(part):
    return {n_pre: n_post, n_post: n_pre}.get(part, part)


@pytest.mark.parametrize(
    ("change", "symbols"),
    [
        (pulls_out_a_bound_factor, ("y_post", "W")),
        (takes_every_weighted_sum_for_the_potential, ("y_pre", "W")),
        (exchanges_a_sum_that_captures, ("W",)),
        (counts_the_other_side, ("y_pre", "W")),
    ],
)
def test_broken_canonical_forms_are_caught(change, symbols):
    sums = strategies.polynomials(symbols=symbols)
    falsified(lambda e, layer: value_is_kept(e, layer, everywhere(change)), sums, strategies.layers)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("y_pre - y_pre", "y_pre - y_pre is zero; leave it out, or mend it"),
        ("(W + 1)*y_pre - W*y_pre - y_pre", "{} is zero; leave it out, or mend it"),
        ("1/(W - W)", "1/(W - W) is not finite; take the division by zero out of it"),
        ("W*log(0)", "W*log(0) is not finite; take the division by zero out of it"),
        ("sqrt(-2)*W", "sqrt(-2)*W is not real; use only what is real for real quantities"),
        ("(-2)**(1/3)*W", "{} is not real; use only what is real for real quantities"),
        ("sqrt(-W**2)", "sqrt(-W**2) is not real; use only what is real for real quantities"),
        ("sqrt(-W**2 - 1)", "{} is not real; use only what is real for real quantities"),
        ("exp(1000)*W", "a number too long in exp(1000)*W; at most 300 digits"),
        ("3**(W + 1e30)", "{} has a power of 1000000000000000000000000000000; at most 32"),
        ("2**((W + 2)**6)", "2**((W + 2)**6) has a power of 64; at most 32"),
        (
            "*".join(f"(y_pre**{n} + {n}*W)" for n in range(1, 10)),
            "{} would expand to 512 parts, at most 500; make it shorter",
        ),
        (
            "(y_pre + W + e_pre + 1)**14",
            "{} would expand to 680 parts, at most 500; make it shorter",
        ),
        (sympy.gamma(W), f"unknown operator gamma in gamma(W); {making('gamma')} {CALLS}"),
        (sympy.zeta(3) * W, f"unknown operator zeta in zeta(3)*W; {making('zeta')} {CALLS}"),
        (
            sympy.Piecewise((W, W > 0), (0, True)),
            "Piecewise in {} is no operator; write a where x > 0 and b elsewhere as "
            "a*Heaviside(x) + b*Heaviside(-x), or with Max and Min",
        ),
        (
            sympy.Heaviside(W, 0) * y_pre,
            "Heaviside(W, 0) in Heaviside(W, 0)*y_pre: Heaviside is 1/2 at 0 here; "
            "write Heaviside(W)",
        ),
        (sympy.Symbol("a", real=True) * W, f"unknown symbol a in W*a {VOCABULARY}"),
        (
            sympy.Symbol("W"),
            "W in W is a symbol of its own; write from rulesearch.notation import W",
        ),
        (
            y_pre > 0,
            "y_pre > 0 is not an expression; write one such as -e_post*y_pre, with Heaviside(x) "
            "for the condition x > 0",
        ),
        (
            [W],
            "[W] is not an expression; write one such as -e_post*y_pre, with Heaviside(x) for the "
            "condition x > 0",
        ),
        (W**40, "a power of 40 in W**40; at most 32"),
    ],
)
def test_what_has_no_canonical_form(expression, message):
    assert message_of(Term.of, "G", expression) == "term G: " + message.replace(
        "{}", str(expression)
    )


def test_a_term_that_could_not_be_read_back_is_refused():
    factors = " + ".join(["tanh(W + y_post*y_pre*e_pre)", "exp(W*z_post)", "sign(W + 1)", "W"])
    long = Term.of("G", f"({factors})**5*(y_pre + 1)")
    assert 5_000 <= len(long.text) <= 20_000
    others = " + ".join(f"sin(z_pre + {n})" for n in range(8))
    message = message_of(Term.of, "G", f"({factors})**5*({others})")
    assert re.fullmatch(
        r"term G: .{157}\.\.\. is \d{5} characters when expanded; at most 20000; make it shorter",
        message,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("W", 1),
        ("3", 0),
        ("n_pre*W", 1),
        ("L*y_pre*y_post**2", 4),
        ("y_post*y_pre - y_post*sum_post(y_post*W)", 3),
        ("sum_post(y_post*sum_pre(W*e_pre))", 3),
        ("tanh(W)", None),
        ("y_pre/(1 + W**2)", None),
        ("sqrt(W)", None),
        ("y_pre*softsign(W)", None),
        ("square(y_pre + 1)*W", 3),
    ],
)
def test_degree(text, expected):
    own = {**OWN, "square": operator("square", lambda x: x**2)}
    assert Term.of("F", text, own).degree == expected


# --- LaTeX ------------------------------------------------------------------------------------


def test_latex_of_the_papers_pool():
    assert {term.name: term.latex for term in load_pool(GRAMMAR / "paper_pool.py")} == {
        "F0": r"- e_{j} y_{k}",
        "F1": r"- e_{k} y_{j}",
        "F2": r"- e_{j} e_{k}",
        "F3": r"- W_{jk}",
        "F4": r"- e_{k}",
        "F5": r"- e_{j} y_{k} \left(\sum_{j'} y_{j'}\right)",
        "F6": r"- e_{k} y_{j} \left(\sum_{j'} y_{j'} \left(\sum_{k'} W_{j'k'} e_{k'}\right)\right)",
        "F7": r"- e_{j} y_{k} \left(\sum_{j'} y_{j'} \left(\sum_{k'} W_{j'k'} e_{k'}\right)\right)",
        "F8": r"- e_{k} y_{j} \left(\sum_{j'} e_{j'} \left(\sum_{k'} W_{j'k'} y_{k'}\right)\right)",
        "F9": r"y_{j} y_{k} - y_{j} \left(\sum_{j'} W_{j'k} y_{j'}\right)",
    }


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (y_pre * sum_post(W) ** 2, r"y_{k} \left(\sum_{j'} W_{j'k}\right)^{2}"),
        (sum_post(W + 1), r"\left(\sum_{j'} \left(W_{j'k} + 1\right)\right)"),
        # the inner sum binds an index of its own
        (
            sum_post(y_post * sum_post(W)),
            r"\left(\sum_{j'} y_{j'} \left(\sum_{j''} W_{j''k}\right)\right)",
        ),
        (n_pre * W / 2, r"\frac{W_{jk} n_{\mathrm{pre}}}{2}"),
        (Heaviside(W) ** 2, r"\operatorname{H}^{2}\left(W_{jk}\right)"),
        (gate(W, y_pre), r"\operatorname{gate}\left(W_{jk}, y_{k}\right)"),
    ],
)
def test_latex(expression, expected):
    assert latex_of(expression) == expected


# --- pools ------------------------------------------------------------------------------------


def test_a_pool_is_plain_data():
    pool = Pool(F0=-e_post * y_pre, F3="-W")
    assert pool.names == ("F0", "F3")
    assert [t.text for t in pool] == ["-e_post*y_pre", "-W"]
    assert len(pool) == 2
    assert pool == Pool(F0="-e_post*y_pre", F3=-W)
    assert pool != Pool(F3=-W, F0="-e_post*y_pre")
    assert hash(pool) == hash(Pool(F0="-e_post*y_pre", F3=-W))
    with pytest.raises(dataclasses.FrozenInstanceError):
        pool.terms = ()


@pytest.mark.parametrize(
    ("terms", "start", "expected", "reference", "pseudo_gradient"),
    [
        ({"A": -W, "B": -e_post * y_pre}, None, {"B": 1e-3}, "B", "B"),
        ({"A": -W, "B": -e_pre}, None, {"A": -1e-3}, "A", None),
        ({"A": 5 * W, "B": -e_pre}, {}, {"A": 2e-4}, "A", None),
        ({"A": -W, "B": -e_post * y_pre}, {"A": 2}, {"A": 2.0}, "A", "B"),
        ({"A": -W, "B": -e_pre}, {"A": 1e-3, "B": -0.1}, {"A": 1e-3, "B": -0.1}, "B", None),
        ({"A": -W, "B": -e_pre}, {"A": 0, "B": 1e-3}, {"A": 0.0, "B": 1e-3}, "B", None),
        ({"A": -2 * e_post * y_pre, "B": -W}, {"B": 1e-3}, {"B": 1e-3}, "B", "A"),
    ],
)
def test_start_rules(terms, start, expected, reference, pseudo_gradient):
    pool = Pool(start=start, **terms)
    assert pool.start == expected
    assert pool.reference == reference
    assert pool.pseudo_gradient == pseudo_gradient


def test_only():
    pool = Pool(A=-W, B=-e_post * y_pre, C=-e_pre, start={"A": 1e-3, "C": 0.0})
    assert pool.only("C", "A") == Pool(A=-W, C=-e_pre, start={"A": 1e-3, "C": 0.0})
    assert pool.only("B", "C") == Pool(B=-e_post * y_pre, C=-e_pre)
    assert pool.only("C") == Pool(C=-e_pre)
    with pytest.raises(KeyError, match="D"):
        pool.only("A", "D")


def test_a_term_may_have_any_name_but_the_pools_own_words():
    assert Pool(self=-W, terms=-e_pre).names == ("self", "terms")


@pytest.mark.parametrize(
    ("terms", "more", "lines"),
    [
        ({}, {}, ["the pool has no terms; give at least one"]),
        (
            {"A": "y_psot", "B": "W**99", "C": -W},
            {"start": {"D": 1}},
            [
                f"term A: unknown symbol y_psot in y_psot; did you mean y_post? {VOCABULARY}",
                "term B: a power of 99 in W**99; at most 32",
                "start D: no such term; the terms are A, B, C",
            ],
        ),
        ({"a b": -W}, {}, ["term a b: not a name; use letters, digits and _"]),
        ({"hebb": -W}, {"start": {"heb": 1}}, ["start heb: no such term; did you mean hebb?"]),
        (
            {"A": -W},
            {"start": {"A": "1"}},
            [
                "start A: '1' is not a number; write one such as 1e-3",
            ],
        ),
        (
            {"A": -W},
            {"start": {"A": float("nan")}},
            ["start A: nan is not finite; write a number such as 1e-3"],
        ),
        (
            {"A": -W},
            {"start": {"A": 0}},
            ["start: every coefficient is zero; give at least one, such as 1e-3"],
        ),
        (
            {"A": -e_post * y_pre, "B": -W, "C": "y_pre*(-e_post)"},
            {},
            ["term C: the same as A, -e_post*y_pre; leave out one of A, C"],
        ),
        (
            {"A": softsign(W), "B": W / (1 + Abs(W))},
            {},
            ["term B: the same as A, softsign(W); leave out one of A, B"],
        ),
        (
            {"A": sum_pre(W * y_pre), "B": z_post},
            {},
            ["term B: the same as A, sum_pre(W*y_pre); leave out one of A, B"],
        ),
        (
            {"A": -W, "B": y_pre, "C": 2 * y_pre - sympy.sqrt(2) * W},
            {},
            ["term C: adds nothing to the pool, C = 1.41421*A + 2*B; leave out one of C, A, B"],
        ),
        (
            {
                **{f"G{i}": W**i * y_pre for i in range(9)},
                "A": sum(W**i for i in range(9)) * y_pre,
                "B": W - e_pre,
                "C": e_pre - 2 * z_pre,
                "D": W - 2 * z_pre,
            },
            {},
            [
                "term A: adds nothing to the pool, A = G0 + G1 + G2 + G3 and 5 more; "
                "leave out one of them",
                "term D: adds nothing to the pool, D = B + C; leave out one of D, B, C",
            ],
        ),
        (
            {"A": "sqrt(y_pre - 7)"},
            {},
            [
                "term A: sqrt(y_pre - 7) is finite nowhere where it was tried (quantities from -6 "
                "to 6, 2 to 1000 neurons); keep roots and logarithms within their "
                "domain by Max or Abs, and powers and exponentials small"
            ],
        ),
        (
            {"A": -W, "B": "sum_pre(z_pre**(1/3))", "C": "exp(n_post**32)"},
            {},
            [
                f"term {name} is finite nowhere where it was tried (quantities from -6 to 6, 2 to "
                "1000 neurons); keep roots and logarithms within their domain by Max or Abs, and "
                "powers and exponentials small"
                for name in ("B: sum_pre(z_pre**(1/3))", "C: exp(n_post**32)")
            ],
        ),
    ],
)
def test_bad_pools(terms, more, lines):
    assert message_of(Pool, **terms, **more).splitlines() == lines


def test_only_what_is_left_out_of_names_is_counted():
    assert named("ABC", 4) == named("ABC", 3) == "A, B, C"
    assert named("ABC", 2) == "A, B and 1 more"


@pytest.mark.parametrize(
    "text",
    [
        "-e_post*Max(y_pre, 0.05)",
        "-e_post*Abs(y_pre)",
        "-e_post*y_pre*Heaviside(3 - L)",
        "y_pre*Max(y_post - 2, 0)",
        "-e_post*Min(y_pre, 2)",
        "-e_post*y_pre*Heaviside(y_post)",
        "-e_post*Min(y_pre, 5)",
        "-e_post*Max(-300, Min(y_pre, 300))",
        "-e_post*Heaviside(y_post + 50)*y_pre",
    ],
)
def test_what_differs_at_some_values_is_another_term(text):
    pool = Pool(A=-e_post * y_pre, B=text)
    assert len(pool) == 2
    assert pool.notes == ()


def test_what_differs_at_small_values_only_is_another_term():
    pool = Pool(A="-e_post*Abs(y_pre)", B="-e_post*Max(Abs(y_pre), 1/1000000)")
    assert pool.notes == ()


@pytest.mark.parametrize(
    ("terms", "notes"),
    [
        ({"A": Max(0, tanh(W) - 2)}, ("term A: was zero wherever tried",)),
        (
            {"A": tanh(W), "B": 1, "C": (1 + exp(-2 * W)) ** -1},
            ("term C: may add nothing to the pool; wherever tried, C = 0.5*A + 0.5*B",),
        ),
        (
            {"B": 1, "S": sympy.sin(W) ** 2, "C": sympy.cos(W) ** 2, "A": sympy.sqrt(y_pre)},
            ("term C: may add nothing to the pool; wherever tried, C = B - S",),
        ),
    ],
)
def test_what_is_merely_measured_is_a_note(terms, notes):
    assert Pool(**terms).notes == notes


@pytest.mark.parametrize(
    "text",
    [
        "sqrt(y_pre - 5)",
        "log(n_pre - 500)*W",
        "exp(n_post**3)*W",
        "sqrt(-W)*exp(1e6*y_pre)",
        "1/erf(Heaviside(y_pre))",
        "sum_post(exp(900*e_post**2))",
        "sum_pre(exp(1e4*W**4))",
    ],
)
def test_a_term_that_is_finite_somewhere_is_taken(text):
    assert len(Pool(A=text)) == 1


PAPER = load_pool(GRAMMAR / "paper_pool.py")


@settings(max_examples=10)
@given(
    st.lists(
        st.tuples(st.sampled_from(PAPER.names), st.sampled_from([-3, -2, -1, 1, 2, 3])),
        min_size=2,
        max_size=4,
        unique_by=lambda pair: pair[0],
    )
)
def test_a_planted_dependence_is_named_with_its_equation(planted):
    terms = {t.name: t.expression for t in PAPER}
    order = [name for name in terms if name in dict(planted)]
    sizes = dict(planted)
    right = " + ".join(f"{sizes[n]}*{n}" for n in order)
    right = right.replace("+ -", "- ").replace("1*", "")
    combined = sum(sizes[n] * terms[n] for n in order)
    assert message_of(Pool, **terms, G=combined) == (
        f"term G: adds nothing to the pool, G = {right}; leave out one of G, {', '.join(order)}"
    )


@pytest.mark.parametrize("small", ["1e-6", "1e-3", "1e3"])
def test_a_planted_dependence_is_found_at_any_scale(small):
    message = message_of(Pool, A=f"{small}*W", B=y_pre, C=-e_pre, D=2 * y_pre - W)
    size = {"1e-6": "1e+06", "1e-3": "1000", "1e3": "0.001"}[small]
    assert message == (
        f"term D: adds nothing to the pool, D = -{size}*A + 2*B; leave out one of D, A, B"
    )


def test_a_term_that_is_never_finite_hides_no_dependence():
    never = "log(-y_pre)"
    assert message_of(Pool, A=never, B="W", C="y_pre", D="W + y_pre") == (
        "term D: adds nothing to the pool, D = B + C; leave out one of D, B, C"
    )
    assert Pool(A=never, B="W", C="y_pre").names == ("A", "B", "C")


@pytest.mark.parametrize("seed", range(10))
def test_independent_pools_are_not_refused(seed):
    # Distinct monomials of free quantities are independent; so are they times the sizes.
    powers = list(itertools.product(range(3), repeat=5))
    rng = np.random.default_rng(seed)
    chosen = [powers[i] for i in rng.choice(np.arange(1, len(powers)), size=11, replace=False)]
    symbols = (W, y_pre, e_pre, y_post, e_post)
    monomials = [
        sympy.Mul(*(s**n for s, n in zip(symbols, exponents, strict=True))) for exponents in chosen
    ]
    sums = [y_pre * sum_post(W**2), n_pre * y_pre, n_post * y_pre, sum_post(e_post) * n_pre * W]
    pool = Pool(**{f"G{i}": e for i, e in enumerate([*monomials, *sums])})
    assert len(pool) == 15


def test_a_pool_of_layer_wide_sums_is_not_refused():
    assert len(Pool(**{f"G{n}": f"y_pre*sum_post(y_post**{n})" for n in range(1, 9)})) == 8


# --- where pools come from --------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(p.name for p in GRAMMAR.glob("*.*")))
def test_grammar_files_load(file):
    pool = load_pool(GRAMMAR / file)
    first = next(term for term in pool if term.name == pool.reference)
    assert first.expression == -e_post * y_pre
    for term in pool:
        own = {"operators": term.operators, "quantities": own_symbols([term.expression])}
        assert canonical(parse(term.text, **own)) == term.expression
    assert load_pool(GRAMMAR / file) == pool
    assert pool_from_plain(pool_to_plain(pool)) == pool


def test_toml_and_python_give_the_same_pool():
    assert load_pool(GRAMMAR / "paper_pool.toml") == load_pool(GRAMMAR / "paper_pool.py")


def test_the_papers_pool_is_the_table_of_the_design():
    assert (
        Pool(
            F0="-e_post*y_pre",
            F1="-y_post*e_pre",
            F2="-e_post*e_pre",
            F3="-W",
            F4="-e_pre",
            F5="-e_post*sum_post(y_post)*y_pre",
            F6="-y_post*e_pre*sum_post(y_post*sum_pre(W*e_pre))",
            F7="-e_post*y_pre*sum_post(y_post*sum_pre(W*e_pre))",
            F8="-y_post*e_pre*sum_post(e_post*sum_pre(W*y_pre))",
            F9="y_post*y_pre - y_post*sum_post(y_post*W)",
        )
        == PAPER
    )


@given(strategies.free_layers)
def test_the_papers_pool_has_the_papers_matrix_form(layer):
    # z_post as it is, Wᵀe_post read through W: the paper writes F8 without the potential.
    W, y, e = layer["W"], layer["y_post"][:, None], layer["e_post"][:, None]
    y0, e0 = layer["y_pre"][:, None], layer["e_pre"][:, None]
    layer = {**layer, "z_post": layer["W"] @ layer["y_pre"]}
    ones = np.ones_like(y)
    matrices = {
        "F0": -e @ y0.T,
        "F1": -y @ e0.T,
        "F2": -e @ e0.T,
        "F3": -W,
        "F4": -ones @ e0.T,
        "F5": -e @ (ones.T @ y) @ y0.T,
        "F6": -y @ y.T @ W @ e0 @ e0.T,
        "F7": -e @ y.T @ W @ e0 @ y0.T,
        "F8": -y @ y0.T @ W.T @ e @ e0.T,
        "F9": y @ y0.T - (y @ y.T) @ W,
    }
    for term in PAPER:
        # A few dozen sums and products of values of order one.
        update = oracle.update_matrix(term.expression, layer)
        np.testing.assert_allclose(update, matrices[term.name], rtol=1e-12, atol=1e-13)


def test_terms_from_the_command_line_are_named_in_order():
    assert pool_from_text(["-W", "-e_post*y_pre"]) == Pool(T0=-W, T1=-e_post * y_pre)
    assert message_of(pool_from_text, ["-W", "y_psot"]) == (
        f"term T1: unknown symbol y_psot in y_psot; did you mean y_post? {VOCABULARY}"
    )


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("pool.txt", "", ["pool.txt: not a grammar file; give a .py or a .toml file"]),
        ("pool", "", ["pool: not a grammar file; give a .py or a .toml file"]),
        (
            "rule.json",
            "",
            [
                "rule.json: not a grammar file; give a .py or a .toml file; "
                "a search begins at a rule by --from"
            ],
        ),
        (
            "rule.toml",
            '[terms]\nF0 = "-W"\n[theta]\nF0 = 0.1\n',
            [
                "rule.toml: a rule, for it has [theta], and no grammar; "
                "evaluate it, or begin at it by --from"
            ],
        ),
        (
            "none.py",
            None,
            ["none.py: no such file; give a grammar file such as grammar/paper_pool.py"],
        ),
        ("bad.py", b"\xff\xfe", ["bad.py: cannot be read (not UTF-8 text); give a text file"]),
        (
            "bad.py",
            "x = 1\npool = (\n",
            ["bad.py, line 2: syntax error, '(' was never closed; mend the line"],
        ),
        (
            "bad.py",
            "x = 1\n",
            [
                "bad.py: defines no pool; add pool = Pool(F0=-e_post*y_pre, ...) at module level",
            ],
        ),
        (
            "bad.py",
            "pool = [1]\n",
            [
                "bad.py: its pool is a list; write pool = Pool(F0=-e_post*y_pre, ...) at module "
                "level",
            ],
        ),
        (
            "bad.py",
            "from rulesearch.notation import Pool, W\n\npool = Pool(A=-W, B=y_psot)\n",
            [f"bad.py, line 3: unknown symbol y_psot; did you mean y_post? {VOCABULARY}"],
        ),
        (
            "bad.py",
            "from rulesearch.notation import Pool, W\npool = Pool(A=-W, B=tanh(W))\n",
            ["bad.py, line 2: tanh is not imported; write from rulesearch.notation import tanh"],
        ),
        (
            "bad.py",
            "from rulesearch.notation import Pool, swish\n",
            [f"bad.py, line 1: swish is not in rulesearch.notation; {making('swish')}"],
        ),
        (
            "bad.py",
            "from rulesearch.notation import Pol\n",
            ["bad.py, line 1: Pol is not in rulesearch.notation; did you mean Pool?"],
        ),
        (
            "bad.py",
            "def half(x):\n    return x / 0\n\nhalf(1)\n",
            ["bad.py, line 2: ZeroDivisionError, division by zero; mend the line"],
        ),
        (
            "bad.py",
            "raise ValueError\n",
            ["bad.py, line 1: ValueError, no message; mend the line"],
        ),
        (
            "bad.py",
            "from rulesearch.notation import Pool, W\n"
            "pool = Pool(A=-W, B='W**99', C=-W, start={'D': 1})\n",
            [
                "bad.py, term B: a power of 99 in W**99; at most 32",
                "bad.py, start D: no such term; the terms are A, B, C",
                "bad.py, term C: the same as A, -W; leave out one of A, C",
            ],
        ),
        (
            "bad.py",
            "from rulesearch.notation import operator\nf = operator('tanh', lambda x: x)\n",
            ["bad.py, operator tanh: the name is taken; choose another"],
        ),
        (
            "bad.toml",
            "[terms\n",
            [
                "bad.toml: not TOML, Expected ']' at the end of a table declaration "
                "(at line 1, column 7); mend the line"
            ],
        ),
        (
            "bad.toml",
            "",
            ['bad.toml: no table [terms]; write [terms] and lines such as F0 = "-e_post*y_pre"'],
        ),
        (
            "bad.toml",
            "terms = 3\n[extra]\n",
            [
                "bad.toml: unknown table [extra] (a pool has [terms] or [space], [start], [where], "
                "[operators], [feedback], [bias], [traces], [quantities], [bounds])",
                'bad.toml: no table [terms]; write [terms] and lines such as F0 = "-e_post*y_pre"',
            ],
        ),
        (
            "bad.toml",
            'start = 2\n[terms]\nA = 1\n"a b" = "W"\nstart = "W"\n',
            [
                'bad.toml, term A: 1 is not text; write A = "expression"',
                "bad.toml, term start: the name is taken; choose another",
                "bad.toml, start is not a table; write [start] and lines such as F0 = 1e-3",
            ],
        ),
        (
            "bad.toml",
            '[terms]\nA = "-W"\n"a b" = "W*y_pre"\n[start]\nA = inf\nB = true\n',
            [
                "bad.toml, term a b: not a name; use letters, digits and _",
                "bad.toml, start A: inf is not finite; write a number such as 1e-3",
                "bad.toml, start B: no such term; the terms are A, a b",
            ],
        ),
    ],
)
def test_bad_files(tmp_path, monkeypatch, name, content, lines):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        Path(name).write_bytes(data)
    assert message_of(load_pool, name).splitlines() == lines


def test_a_folder_is_no_grammar_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pool.py").mkdir()
    assert message_of(load_pool, "pool.py") == (
        "pool.py: cannot be read (Is a directory); give a text file"
    )


def test_own_operators_travel_with_a_term():
    term = Term.of("F", gate(softsign(W), tanh(y_pre)))
    assert term.operators == OWN
    assert Term.of("F", tanh(W)).operators == {}
    assert without_definitions(term.expression) == W * Heaviside(tanh(y_pre)) / (1 + Abs(W))


@pytest.mark.parametrize("x", [-1e3, -3.0, 0.0, 2.0, 1e3])
def test_common_activations_are_right_and_safe_at_any_argument(x):
    layer = {"W": np.full((1, 2, 2), x)}
    with np.errstate(all="ignore"):
        expected = {
            "sigmoid": 1 / (1 + np.exp(-x)),
            "relu": max(x, 0.0),
            "softplus": np.logaddexp(0.0, x),
        }
    for name, value in expected.items():
        term = Term.of("A", f"{name}(W)")
        assert values_of(term.expression, layer) == pytest.approx(value, abs=1e-15)
        assert pool_from_plain(pool_to_plain(Pool(A=term.expression))) == Pool(A=f"{name}(W)")
        (slope,) = operator_of(term.expression.func).partials(W)
        assert values_of(slope, layer) == pytest.approx(
            float(x > 0) + 0.5 * (x == 0)
            if name == "relu"
            else expected["sigmoid"] * (1 - expected["sigmoid"] if name == "sigmoid" else 1),
            abs=1e-15,
        )


@pytest.mark.parametrize("name", ["start", "where", "bounds", "operators", "quantities"])
def test_a_term_that_has_an_options_name(name):
    """As an argument in Python it would be taken for the option."""
    with pytest.raises(RuleSearchError, match=f"^{name}: '-W' .*a term cannot be called {name}$"):
        Pool(F0="-e_post*y_pre", **{name: "-W"})
    with pytest.raises(RuleSearchError, match=f"^term {name}: the name of an option"):
        Pool.generate(post="e_post", pre="y_pre", terms={name: "-W"})


def test_a_quantity_may_stand_alone():
    gate = quantity("gate_post", "tanh(z_post)")
    made = Pool(A="gate_post*y_pre", quantities=[gate])
    assert Pool(A="gate_post*y_pre", quantities=gate) == made
    assert Pool(A="gate_post*y_pre", quantities=iter([gate])) == made  # which can be read once


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pool(A="W", start={"A": 10**400}),
        lambda: Pool(A="W", bounds={"W": (-1, 10**400)}),
        lambda: Pool(A="exp(-1000)*W"),
        lambda: operator("f", "x**2"),
        lambda: operator(3, lambda x: x),
        lambda: quantity(3, "W"),
        lambda: trace("q_post", "e_post", decay=0.9, initial=np.zeros(3)),
    ],
)
def test_what_cannot_be_ends_in_a_line(make):
    with pytest.raises(RuleSearchError):
        make()


def test_layers_may_come_as_an_array():
    assert Pool(A="W", where={"A": np.array([1, 2])}).where == {"A": (1, 2)}


def test_pools_of_one_parameter_are_looked_at_together():
    with pytest.raises(RuleSearchError, match="term B: the same as A"):
        together(Pool(A="-W"), Pool(B="-2*W"))
    with pytest.raises(RuleSearchError, match="term y: the same as x"):
        together(Pool(A="-W"), Pool(of="B", x="-B"), Pool(of="B", y="B"))
    with pytest.raises(RuleSearchError, match="term C: adds nothing"):
        together(Pool(A="-W", B="-y_pre"), Pool(C="y_pre - 2*W"))
    assert together(Pool(A="-W"), Pool(B="-y_pre")).names == ("A", "B")


def test_what_differs_below_any_normal_number_differs_by_rounding():
    for other in ("1/(1 + exp(-W))", "exp(W)/(1 + exp(W))"):
        (note,) = Pool(A=other, B="sigmoid(W)").notes
        assert note == "term B: may add nothing to the pool; wherever tried, B = A"
