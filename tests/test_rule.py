"""A rule by itself: read from wherever it is, written, and read again to the last digit."""

import tomllib
from pathlib import Path

import pytest
from sympy import Abs

from rulesearch import Pool, RuleSearchError
from rulesearch.given_rule import known_rules, load_rule, rule_from_text
from rulesearch.notation import trace, y_post, y_pre
from rulesearch.operators import operator
from rulesearch.rule import Network, Rule, Sought, made, rule_from_plain, rule_to_plain, toml_of

softly = operator("softly", lambda x: x / (1 + Abs(x)))


def rich():
    slow = trace("slow_post", y_post**2, decay=0.95)
    pool = Pool(
        F0="-e_post*y_pre",
        bcm=y_post * (y_post - slow) * y_pre,
        own=softly(y_post) * y_pre,
        where={"F0": (2, 3)},
        bounds={"W": (-1, 1)},
    )
    return Rule(
        "mine",
        pool,
        (0.1 / 3, -1e-17, 3.0),
        Network(activation="tanh", pathway="direct", noise=0.1),
        intervals={"F0": (0.01, 0.2)},
        sought=Sought(dataset="emnist", layers=((170, 130),), ways=5, shots=50, queries=10),
        source="a test",
    )


def test_what_is_written_reads_back():
    rule = rich()
    again = rule_from_plain(tomllib.loads(toml_of(rule)))
    assert rule_to_plain(again) == rule_to_plain(rule)
    assert again.theta == rule.theta
    assert (again.network, again.sought, again.intervals) == (
        rule.network,
        rule.sought,
        rule.intervals,
    )
    assert again.pool.names == rule.pool.names
    assert again.pool.where == rule.pool.where
    assert again.model == rule.model
    assert [t.text for t in again.pool] == [t.text for t in rule.pool]


def test_fewer_terms_and_other_sizes():
    rule = rich()
    assert rule.only("F0").coefficients == {"F0": 0.1 / 3}
    assert rule.times(-2).intervals == {"F0": (-0.4, -0.02)}
    assert rule.times(0.5).theta == tuple(0.5 * x for x in rule.theta)


def broken(**changed):
    plain = rule_to_plain(rich())
    plain.update(changed)
    return {name: value for name, value in plain.items() if value is not None}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"theta": None}, r"no table \[theta\]"),
        ({"theta": {"F0": 1.0, "bcm": 1.0}}, "no coefficient of own"),
        ({"theta": {"F0": 1.0, "bcm": 1.0, "own": 1.0, "bmc": 1.0}}, "theta.* bmc: no term"),
        ({"theta": {"F0": "x", "bcm": 1.0, "own": 1.0}}, "theta.*number"),
        ({"network": {"activation": "sotfplus"}}, "activation: unknown; give one of softplus"),
        ({"network": {"layers": 3}}, "layers"),
        ({"start": {"F0": 0.1}}, r"\[start\]"),
        ({"sought": {"dataset": "emnist"}}, "sought"),
        ({"terms": None}, r"\[terms\]"),
    ],
)
def test_what_is_no_rule_is_refused_by_name(changed, said):
    with pytest.raises(RuleSearchError, match=said):
        rule_from_plain(broken(**changed))


def test_coefficients_that_do_not_fit():
    pool = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre")
    with pytest.raises(RuleSearchError, match="1 coefficients, and 2 terms"):
        Rule("x", pool, (0.1,))
    with pytest.raises(RuleSearchError, match="F2 is nan"):
        Rule("x", pool, (0.1, float("nan")))
    with pytest.raises(RuleSearchError, match="every coefficient is zero"):
        made(pool, (0.0, 0.0))
    with pytest.raises(RuleSearchError, match="theta F3: no term"):
        made(pool, {"F3": 1.0})
    assert made(pool, (0.0, 2.0)).pool.names == ("F2",)


@pytest.mark.parametrize("name", known_rules())
def test_rules_that_come_along(name):
    rule = load_rule(name)
    assert rule.name == name
    assert rule.source == known_rules()[name]
    assert rule.sought is not None


def test_a_file_is_read_and_what_is_none_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + toml_of(rich()).replace("\n", "\r\n").encode())
    assert load_rule(path).theta == rich().theta
    assert load_rule(rich()) == rich()
    for given in (path, rich()):
        with pytest.raises(RuleSearchError, match="no hall of fame"):
            load_rule(given, 3)
    with pytest.raises(RuleSearchError, match="did you mean paper"):
        load_rule("papr")
    grammar = Path(__file__).parent.parent / "grammar" / "paper_pool.toml"
    with pytest.raises(RuleSearchError, match=r"paper_pool.toml: no table \[theta\]"):
        load_rule(grammar)
    with pytest.raises(RuleSearchError, match=r"paper_pool.py: a grammar has terms alone"):
        load_rule(grammar.with_suffix(".py"))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RuleSearchError, match=r"mine.toml: not TOML"):
        load_rule(path)


def test_text(tmp_path):
    rule = rule_from_text(["-e_post*y_pre"], [0.1, 0.2], feedback=["-B"])
    assert rule.coefficients == {"T0": 0.1, "B0": 0.2}
    with pytest.raises(RuleSearchError, match=r"theta: 1 coefficients, and 2 terms \(T0, T1\)"):
        rule_from_text(["-e_post*y_pre", "-W"], [0.1])
