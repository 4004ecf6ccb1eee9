"""Pools as plain data: what a run directory keeps, and what TOML says of operators."""

import json
import sys

import pytest
import strategies
from hypothesis import given, settings

from rulesearch.errors import RuleSearchError
from rulesearch.notation import (
    Abs,
    Heaviside,
    Pool,
    W,
    e_post,
    load_pool,
    operator,
    pool_from_plain,
    pool_to_plain,
    tanh,
    y_post,
    y_pre,
)
from rulesearch.operators import operator_of

softsign = operator("softsign", lambda x: x / (1 + Abs(x)))
gate = operator("gate", lambda x, y: 0.5 * softsign(x) * Heaviside(y))
swapped = operator("swapped", lambda x1, x0: x1 - 2 * x0)
OWN_ROWS = tuple(operator_of(f) for f in (softsign, gate, swapped))


def message_of(call, *arguments):
    with pytest.raises(RuleSearchError) as caught:
        call(*arguments)
    return str(caught.value)


def there_and_back(pool):
    return pool_from_plain(json.loads(json.dumps(pool_to_plain(pool))))


# --- to plain data and back -------------------------------------------------------------------


def test_plain_data_says_all_of_a_pool():
    pool = Pool(A=-e_post * y_pre, B=gate(W, y_pre) + y_post, start={"A": 0.1, "B": -2})
    assert pool_to_plain(pool) == {
        "terms": {"A": "-e_post*y_pre", "B": "y_post + gate(W, y_pre)"},
        "start": {"A": 0.1, "B": -2.0},
        # softsign first: gate calls it
        "operators": {
            "softsign": {"arguments": ["x0"], "definition": "x0/(Abs(x0) + 1)"},
            "gate": {
                "arguments": ["x0", "x1"],
                "definition": "Heaviside(x1)*softsign(x0)/2",
            },
        },
    }


@settings(max_examples=30)
@given(strategies.pools(own=OWN_ROWS))
def test_a_pool_comes_back_from_plain_data(pool):
    again = there_and_back(pool)
    assert again == pool
    assert again.start == pool.start
    assert [t.operators for t in again] == [t.operators for t in pool]


@pytest.mark.parametrize(
    "definition",
    [
        lambda x: 0.1 * x + 1e-3,
        lambda x: -(x**2) / 3 + tanh(x - 1),
        lambda x: (x + 1) ** -2,
        lambda x: 2 * (x + 1),
        lambda x: 2**x,
        lambda W: W * Abs(W),
        lambda pi: pi + 1,
        lambda x, unused: x,
        lambda x: softsign(softsign(x)),
    ],
)
def test_a_definition_comes_back_from_plain_data(definition):
    own = operator("own", definition)
    call = own(*[W, y_pre][: definition.__code__.co_argcount])
    pool = Pool(A=call)
    assert there_and_back(pool) == pool


@pytest.mark.parametrize("start", [0.1, 1 / 3, -1e-300, 5e-324, 1.7976931348623157e308])
def test_start_comes_back_to_the_last_digit(start):
    assert there_and_back(Pool(A=W, start={"A": start})).start == {"A": start}


def test_names_of_arguments_do_not_matter():
    again = operator("swapped", lambda first, second: first - 2 * second)
    assert again is swapped
    assert operator("swapped", lambda first, second: second - 2 * first) is not swapped


def test_one_name_for_two_operators_is_refused():
    other = operator("softsign", lambda x: x / (2 + Abs(x)))
    lines = (
        "operator softsign: has two definitions, x0/(Abs(x0) + 1) and x0/(Abs(x0) + 2); "
        "give each a name of its own"
    )
    assert message_of(lambda: Pool(A=softsign(W), B=other(W))) == lines
    assert message_of(lambda: Pool(A=gate(W, y_pre), B=other(W))) == lines


# --- operators in TOML ------------------------------------------------------------------------

HEBBIAN = """
[terms]
A = "-e_post*y_pre"
B = "gate(W, y_pre) + y_post"

[operators]
softsign = {arguments = ["x"], definition = "x/(1 + Abs(x))"}
gate = {arguments = ["value", "open"], definition = "0.5*softsign(value)*Heaviside(open)"}
"""


def test_toml_and_python_give_the_same_operators(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(HEBBIAN, encoding="utf-8")
    assert load_pool(file) == Pool(A=-e_post * y_pre, B=gate(W, y_pre) + y_post)


WAY_OUT = '{arguments = ["x"], definition = "x/(1 + Abs(x))"}'


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ('f = "x + 1"', f"operator f: write f = {WAY_OUT}"),
        ('f = {arguments = [], definition = "1"}', f"operator f: write f = {WAY_OUT}"),
        ('f = {arguments = ["x"], definition = 1}', f"operator f: write f = {WAY_OUT}"),
        (
            'f = {arguments = ["x"], definition = "x", domain = "W"}',
            f"operator f: write f = {WAY_OUT}",
        ),
        (
            'f = {arguments = ["x y"], definition = "x"}',
            "operator f: argument 'x y' is not a name; use letters, digits and _",
        ),
        (
            'f = {arguments = ["x", "x"], definition = "x"}',
            "operator f: two arguments of one name in x, x; rename one",
        ),
        (
            'f = {arguments = ["rate"], definition = "rte*2"}',
            "operator f: unknown symbol rte in rte*2; did you mean rate? (this definition may use "
            "rate)",
        ),
        (
            'f = {arguments = ["x"], definition = "x*W"}',
            "operator f: unknown symbol W in x*W (this definition may use x)",
        ),
        (
            'f = {arguments = ["x"], definition = "sum_pre(x)"}',
            "operator f: sum_pre(x) sums over neurons; an operator acts on one value, so write "
            "the sum in the term",
        ),
        (
            'f = {arguments = ["x"], definition = "x^2"}',
            "operator f: ^ in x^2 is not a power; write **",
        ),
        (
            'tanh = {arguments = ["x"], definition = "x"}',
            "operator tanh: the name is taken; choose another",
        ),
        (
            '"a b" = {arguments = ["x"], definition = "x"}',
            "operator 'a b': not a name; use letters, digits and _",
        ),
        (
            'f = {arguments = ["x"], definition = "g(x)"}\n'
            'g = {arguments = ["x"], definition = "x"}',
            'operator f: unknown operator g in g(x); make it with g = operator("g", lambda x: ...) '
            'in a Python file, or in a TOML file with g = {arguments = ["x"], definition = "..."} '
            "under [operators] (a term may call tanh, sin, cos, erf, atan, "
            "exp, log, sqrt, Abs, sign, Heaviside, Max, Min, sum_pre, sum_post, sigmoid, relu, "
            "softplus)",
        ),
    ],
)
def test_bad_operators_in_toml(tmp_path, monkeypatch, row, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(f'[terms]\nA = "W"\n[operators]\n{row}\n', encoding="utf-8")
    assert message_of(load_pool, "own.toml") == f"own.toml, {line}"


def test_operators_must_be_a_table():
    assert message_of(pool_from_plain, {"terms": {"A": "W"}, "operators": ["softsign"]}) == (
        f"operators is not a table; write [operators] and lines such as softsign = {WAY_OUT}"
    )


def test_faults_of_all_operators_are_named_at_once():
    rows = {"f": {"arguments": ["x"], "definition": "y"}, "g": 2}
    assert message_of(pool_from_plain, {"terms": {"A": "W"}, "operators": rows}).splitlines() == [
        "operator f: unknown symbol y in y (this definition may use x)",
        f"operator g: write g = {WAY_OUT}",
    ]


# --- a Python file is run as Python runs it ---------------------------------------------------

POOL = """from rulesearch.notation import Pool, W, e_post, y_pre
pool = Pool(F0=-e_post*y_pre, F3=-W)
"""
DATACLASS = """
from dataclasses import dataclass
@dataclass
class Candidate:
    name: str
Candidate("a")
"""


@pytest.mark.parametrize(
    "source",
    [
        (DATACLASS + POOL).encode(),
        b"\xef\xbb\xbf" + POOL.encode(),
        b"# -*- coding: latin-1 -*-\n# caf\xe9\n" + POOL.encode(),
        POOL.replace("\n", "\r\n").encode(),
        ("def f(x: int) -> None: ...\nassert f.__annotations__['x'] is int\n" + POOL).encode(),
        ("import sys\nassert sys.modules[__name__].__file__ == __file__\n" + POOL).encode(),
    ],
    ids=["dataclass", "byte order mark", "coding line", "carriage returns", "no future", "module"],
)
def test_a_python_file_is_run_as_python_runs_it(tmp_path, source):
    (tmp_path / "own.py").write_bytes(source)
    modules, path = set(sys.modules), list(sys.path)
    assert load_pool(tmp_path / "own.py").names == ("F0", "F3")
    assert sys.path == path
    assert not [name for name in set(sys.modules) - modules if "own" in name]


def test_a_toml_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "own.toml").write_bytes(b'\xef\xbb\xbf[terms]\r\nF3 = "-W"\r\n')
    assert load_pool(tmp_path / "own.toml").names == ("F3",)


def test_the_module_beside_a_file_is_its_own(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "beside_grammar.py").write_text(f"NAME = '{name}'\n", encoding="utf-8")
        (folder / "own.py").write_text(
            "import beside_grammar\n"
            "from rulesearch.notation import Pool, W\n"
            "pool = Pool(**{beside_grammar.NAME: -W})\n",
            encoding="utf-8",
        )
    assert load_pool(tmp_path / "one" / "own.py").names == ("one",)
    assert load_pool(tmp_path / "two" / "own.py").names == ("two",)


@pytest.mark.parametrize(
    ("source", "beside", "line"),
    [
        (
            "import sys\nsys.exit(3)\n",
            "",
            "own.py, line 2: sys.exit(3), and the file does not come to its end; take the call out",
        ),
        (
            "\nimport beside_grammar\n",
            "x = 1\ny = q\n",
            "own.py, line 2, beside_grammar.py, line 2: unknown symbol q (a term may use y_pre, "
            "e_pre, y_post, e_post, W, B, b_post, xi_post, z_pre, z_post, n_pre, n_post, L, and "
            "what quantity(...) or trace(...) makes)",
        ),
        (
            "\nimport beside_grammar\n",
            "x = (\n",
            "own.py, line 2, beside_grammar.py, line 1: syntax error, '(' was never closed; "
            "mend the line",
        ),
        (
            "pool = −1\n",
            "",
            "own.py, line 1: syntax error, U+2212 MINUS SIGN at column 8; type -",
        ),
        (
            "\nraise ImportError('no luck', name='rulesearch.notation')\n",
            "",
            "own.py, line 2: ImportError, no luck; mend the line",
        ),
    ],
)
def test_what_goes_wrong_in_a_python_file_is_one_line(tmp_path, monkeypatch, source, beside, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(source, encoding="utf-8")
    (tmp_path / "beside_grammar.py").write_text(beside, encoding="utf-8")
    assert message_of(load_pool, "own.py") == line


def test_what_has_no_line_is_said_of_line_0(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_bytes(b"x = 1\0\n")
    line = message_of(load_pool, "own.py")
    assert line.startswith("own.py, line 0: ")
    assert "null bytes" in line


def test_an_interrupt_in_a_file_is_one_of_the_program(tmp_path):
    (tmp_path / "own.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    path = list(sys.path)
    with pytest.raises(KeyboardInterrupt):
        load_pool(tmp_path / "own.py")
    assert sys.path == path


def test_what_a_file_prints_is_printed(tmp_path, capsys):
    (tmp_path / "own.py").write_text("print('here')\n" + POOL, encoding="utf-8")
    load_pool(tmp_path / "own.py")
    assert capsys.readouterr().out == "here\n"
