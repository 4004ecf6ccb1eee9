"""Text on a stream that lacks some of its letters."""

import io
import sys
from pathlib import Path

import pytest
from commands import PAPER, SMALL_FLAGS, TINY, python, small_defaults

from rulesearch.letters import SIGNS, spell_out, spelled
from rulesearch.notation import W, latex_of, operator, y_pre
from rulesearch.search.__main__ import main


@pytest.fixture
def streams(monkeypatch):
    """Standard output and error of some encoding; gives what makes them, and what was written."""

    def made(encoding, errors="strict"):
        written = []
        for name in ("stdout", "stderr"):
            stream = io.TextIOWrapper(io.BytesIO(), encoding, errors, write_through=True)
            spell_out(stream)
            monkeypatch.setattr(sys, name, stream)
            written.append(stream.buffer)
        return lambda: tuple(stream.getvalue().decode(encoding) for stream in written)

    return made


def test_letters_are_spelled():
    assert "".join(map(spelled, "ΔW = e ⊗ [θ·η_ς ≤ 2°]")) == (
        "DeltaW = e (x) [theta*eta_sigma <= 2 degrees]"
    )
    assert all(spelled(sign).isascii() for sign in SIGNS)
    assert spelled("\u1f00") == "alpha"  # with a breathing, as Greek keyboards give it
    assert spelled("日") == "\\u65e5"  # nothing better is known


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_the_plan_is_shown_in_the_letters_that_there_are(encoding, streams):
    written = streams(encoding)
    assert main([PAPER, "--explain", "--layers", "20"]) == 0
    out, err = written()
    assert err == ""
    assert "DeltaW = " in out
    assert " (x) [" in out
    assert "\\" not in out
    assert "?" not in out
    dot = "*" if encoding == "ascii" else "·"
    assert f"F0{dot}(-y_pre)" in out


def test_a_term_of_any_name_is_searched_and_shown(streams, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_defaults(monkeypatch, TINY)
    text = '[terms]\n"η" = "-e_post*y_pre"\n"größe" = "-W"\n'
    Path("own.toml").write_text(text, encoding="utf-8")
    written = streams("ascii")
    assert main(["own.toml", *SMALL_FLAGS, "--out", "run"]) == 0
    out, err = written()
    assert err == ""
    assert "eta" in out
    assert Path("run/result.json").exists()


def test_messages_are_shown_in_the_letters_that_there_are(streams):
    written = streams("ascii", "backslashreplace")
    assert main(["--term", "ψ*W"]) == 2
    (line,) = written()[1].splitlines()
    assert line.startswith("term T0: ")
    assert " of psi*W; " in line


def test_the_process_of_the_command_does_so():
    done = python("-m", "rulesearch.search", "θ.py", PYTHONIOENCODING="ascii")
    assert done.stderr == (
        "theta.py: no such file; give a grammar file such as grammar/paper_pool.py\n"
    )


def test_whoever_asks_for_another_way_has_it():
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", "replace", write_through=True)
    spell_out(stream)
    stream.write("η")
    assert stream.buffer.getvalue() == b"?"


def test_a_file_name_that_was_no_text_is_the_same_bytes_again(streams):
    written = streams("utf-8")
    print(b"r\xff".decode("utf-8", "surrogateescape"), end="")
    assert sys.stdout.buffer.getvalue() == b"r\xff"
    assert callable(written)


def test_latex_has_the_letters_of_pdflatex():
    softsign = operator("σ_2", lambda x: x / 2)
    assert latex_of(softsign(y_pre) * W).isascii()
    assert r"\operatorname{sigma\_2}" in latex_of(softsign(y_pre) * W)
