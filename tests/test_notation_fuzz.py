"""Random texts, well formed and not: a line that says what is wrong, or a pool that reads back."""

import faulthandler
import random
import signal
from collections import Counter
from contextlib import contextmanager

import pytest

from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool, pool_from_text
from rulesearch.operators import COMMON, OPERATORS, QUANTITIES, operator_of

SECONDS = 2.0
ROWS = [*OPERATORS.values(), *(operator_of(f) for f in COMMON.values())]
NUMBERS = ("0", "1", "2", "3", "7", "32", "33", "0.5", "1e-3", "1e9", "1e30", "1e300", "1e999")
NUMBERS += ("9" * 40, "9" * 400, "1/3", "-1", "pi", "E", "0.1", "00", "1_000", "0x10", "1j")
STRANGE = (
    "−",
    "×",
    "·",
    "÷",
    "–",
    "＊",
    "’",
    "“",
    "ｙ",
    "π",
    "ε",
    "\u00a0",
    "\u200b",
    "²",
    "∑",
    "é",
)
STRANGE += ("\ud800", "\udfff", "\U0001f600", "\0", "\n", "\r", "\t", "\x0b", "\u2028", "\\", "#")
STRANGE += ("'", '"', "`", "$", "?", "!", "@", "%", "&", "|", "~", "^", "<", ">", "=", ":=", ";")
PIECES = ("(", ")", ",", "*", "**", "/", "//", "+", "-", ".", "[", "]", "{", "}", " ", "lambda x: ")
PIECES += ("if", "for", "None", "True", "__import__", "y_psot", "relu", "Piecewise", "f", "x", "_")


def expression(rng, depth):
    """A text by the grammar of a term, mostly well formed."""
    if depth <= 0 or rng.random() < 0.15:
        return rng.choice([*QUANTITIES, *QUANTITIES, rng.choice(NUMBERS)])
    inner = lambda: expression(rng, depth - 1)  # noqa: E731
    kind = rng.random()
    if kind < 0.4:
        return f"{inner()}{rng.choice(['+', '-', '*', '/', ' * ', ' - '])}{inner()}"
    if kind < 0.5:
        exponent = rng.choice([*NUMBERS[:8], "-1", "-2", "(1/3)", "0.5", f"({inner()})"])
        return f"({inner()})**{exponent}"
    if kind < 0.6:
        return rng.choice(["-", "+", "--", "0+"]) + inner()
    if kind < 0.7:
        return f"({inner()})"
    row = rng.choice(ROWS)
    count = row.arity[0] + (rng.randrange(3) if row.arity[1] is None else rng.random() < 0.02)
    return f"{row.name}({', '.join(inner() for _ in range(count))})"


def nested(rng):
    """Deep or long."""
    depth = rng.choice([5, 30, 59, 60, 61, 90, 300, 3000])
    opening, closing = rng.choice([("(", ")"), ("-", ""), ("tanh(", ")"), ("sum_pre(W*", ")")])
    if rng.random() < 0.3:
        return rng.choice(["+", "*", "-", "/", "**"]).join([expression(rng, 1)] * depth)
    return opening * depth + expression(rng, 1) + closing * depth


def mutated(rng, text):
    """The text with pieces put in, taken out or doubled."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(text))
        kind = rng.random()
        if kind < 0.5:
            text = text[:at] + rng.choice(STRANGE + PIECES + NUMBERS) + text[at:]
        elif kind < 0.8:
            text = text[:at] + text[at + rng.randint(1, 3) :]
        else:
            text = text[:at] + text[at : at + 5] * 2 + text[at + 5 :]
    return text


def text_of_seed(seed):
    """One text for each seed."""
    rng = random.Random(seed)
    kind = rng.random()
    if kind < 0.1:
        return nested(rng)
    text = expression(rng, rng.choice([1, 2, 3, 3, 4, 5, 6]))
    if kind < 0.45:
        return mutated(rng, text)
    if kind < 0.5:
        return "".join(rng.choice(STRANGE + PIECES + NUMBERS) for _ in range(rng.randint(0, 12)))
    return text


class TooLong(BaseException):
    """No Exception: nothing on the way may take it for a fault of the text."""


@contextmanager
def within(seconds):
    """Stops what takes longer, of the processor's time: others may be using it as well.

    A power of huge numbers lets nobody stop it: it ends the whole run, with a traceback.
    """

    def stop(*_):
        raise TooLong(f"over {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    faulthandler.dump_traceback_later(60 * seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(text):
    """What became of a text: "refused" or "read"; asserts what holds for both."""
    # What has no bound takes minutes or does not come back.
    with within(SECONDS):
        return _outcome(text)


def _outcome(text):
    try:
        pool = pool_from_text([text])
    except RuleSearchError as error:
        lines = str(error).splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("term T0: ")
        assert lines[0].encode()  # no half characters
        kept = "refused"
    else:
        again = Pool(T0=pool.terms[0].text)
        assert again == pool
        assert again.terms[0].text == pool.terms[0].text
        kept = "read"
    return kept


def outcomes(seeds):
    """How many were read and refused; fails with all texts that went wrong."""
    kept, wrong = Counter(), []
    for seed in seeds:
        text = text_of_seed(seed)
        try:
            kept[outcome(text)] += 1
        except (Exception, TooLong) as error:
            wrong.append(f"{seed}, {text[:500]!r}: {type(error).__name__}, {str(error)[:200]}")
    assert not wrong, "\n".join(wrong)
    return kept


def test_a_text_that_hangs_fails():
    def forever():
        while True:
            pass

    with pytest.raises(TooLong), within(0.05):
        forever()


def test_a_tower_of_numbers_is_refused_at_once():
    tower = "**".join(["erf(pi)"] * 59)
    with within(SECONDS), pytest.raises(RuleSearchError) as caught:
        Pool(A=f"{tower}*W")
    assert "more than 4 powers in an exponent in erf(pi)**erf(pi)" in str(caught.value)


@pytest.mark.parametrize("first", range(0, 500, 100))
def test_random_texts(first):
    assert set(outcomes(range(first, first + 100))) == {"read", "refused"}


@pytest.mark.slow
@pytest.mark.parametrize("first", range(500, 30_500, 1_000))
def test_more_random_texts(first):
    assert set(outcomes(range(first, first + 1_000))) == {"read", "refused"}
