"""What a person gives in a notebook, in whatever kind of numbers, is what is computed with."""

from __future__ import annotations

import inspect
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_given_rightly import DELTA, LABELS, WEIGHTS, X, lived
from test_hall import HALL
from test_report import a_result

import rulesearch
from rulesearch import Config, classify, load_data
from rulesearch.ablate import ablate
from rulesearch.compare import compare
from rulesearch.data import TaskShape
from rulesearch.errors import RuleSearchError
from rulesearch.export import export
from rulesearch.given_rule import load_rule
from rulesearch.model import model_of
from rulesearch.notation import Pool, operator, trace, y_post
from rulesearch.rule import Rule, made
from rulesearch.run_report import report_html
from rulesearch.search.config import check
from rulesearch.search.worlds import worlds_for

# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers", [(np.int64(6), 5), np.array([6, 5]), [6, np.int32(5)], (6, 5), [[6, 5]]]
)
def test_sizes_may_be_numpy_s(layers):
    config = Config(layers=layers)
    assert config.layers == (6, 5)
    assert config.networks == ((6, 5),)
    check(config)


def test_a_path_is_a_data_set():
    assert Config(dataset=Path("x.npz")).datasets == ("x.npz",)


@pytest.mark.parametrize(("option", "value"), [("dtype", torch.float64), ("protocol", object())])
def test_what_is_no_plain_value_is_refused_by_its_name(option, value):
    with pytest.raises(RuleSearchError, match=f"--{option} "):
        check(Config(**{option: value}))


@pytest.mark.parametrize("scale", [3, "yes", (0, 1, 2), None])
def test_what_is_no_scale_is_refused(scale):
    with pytest.raises(RuleSearchError, match="give True or False, or the two values"):
        load_data("digits", shape=TaskShape(2, 2, 2), scale=scale)


def test_a_scale_may_be_an_array():
    shape = TaskShape(2, 2, 2)
    one, other = (load_data("digits", shape=shape, scale=s) for s in ((0, 2), np.array([0, 2])))
    assert one.digest == other.digest


def test_two_data_sets_of_one_name_are_refused_from_python_too():
    data = load_data("digits", shape=TaskShape(2, 2, 2))
    with pytest.raises(RuleSearchError, match="two worlds have one name"):
        worlds_for(Config(ways=2, shots=2, queries=2), [data, data])


# --- rules ----------------------------------------------------------------------------------------

POOL = Pool(F0="-e_post*y_pre", d="-W")


@pytest.mark.parametrize(
    "theta", [[0.1, 0.2], np.array([0.1, 0.2]), torch.tensor([0.1, 0.2], dtype=torch.float64)]
)
def test_coefficients_are_numbers_however_they_are_given(theta):
    rule = Rule("x", POOL, theta)
    assert rule == Rule("x", POOL, (0.1, 0.2))
    assert hash(rule)
    assert all(type(x) is float for x in rule.theta)
    assert "np." not in export(rule.times(np.float32(2)), "numpy")


@pytest.mark.parametrize("theta", [(None, 0.2), ("a", 0.1), 3, "12", ("1", "2")])
def test_what_are_no_coefficients_is_refused(theta):
    with pytest.raises(RuleSearchError, match=r"rule x: theta .*; give a number for each term"):
        Rule("x", POOL, theta)


def test_what_is_no_network_and_no_term_is_refused():
    with pytest.raises(RuleSearchError, match="give a Network"):
        made(POOL, (0.1, 0.2), network={"activation": "tanh"})
    for intervals in ({"F0": None}, 3):
        with pytest.raises(RuleSearchError, match=r"rule x: intervals .*; give two numbers"):
            Rule("x", POOL, (0.1, 0.2), intervals=intervals)
    with pytest.raises(RuleSearchError, match="rule paper: no term F3; it has F0, F2, F9"):
        load_rule("paper").only("F3")
    with pytest.raises(RuleSearchError, match="none of its terms; give some of F0"):
        load_rule("paper").only()


def code(target):
    names: dict[str, object] = {}
    exec(export("paper", target), names)
    return names


@pytest.mark.parametrize("label", [-1, 3, 1.5, np.array([1])])
def test_numpy_code_refuses_what_is_no_label(label):
    names, draw = code("numpy"), np.random.default_rng(0)
    weights, feedback = [draw.normal(size=(3, 4))], [draw.normal(size=(4, 3))]
    state = names["begin"](weights, feedback)
    with pytest.raises(ValueError, match="label"):
        names["step"](weights, feedback, draw.random(4), label, state)


def test_torch_code_takes_the_labels_of_any_data_set():
    def after(label):
        names = code("torch")
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False)).double()
        names["Rule"](names["initialised"](model)).step(torch.ones(4).double(), label)
        return model[0].weight.detach()

    want = after(torch.tensor(1))
    for label in (
        1,
        np.int64(1),
        torch.tensor(1, dtype=torch.int32),
        torch.tensor([0.0, 1, 0]),
        np.eye(3)[1],
    ):
        torch.testing.assert_close(after(label), want)
    with pytest.raises(ValueError, match="label: give a class number"):
        after(torch.tensor(1.0))


# --- results --------------------------------------------------------------------------------------


def test_another_rule_of_the_hall_is_the_same_from_wherever_it_is_asked():
    result = a_result(hall=HALL)
    sizes = sorted({len(entry.support) for entry in HALL})
    for first in sizes:
        for then in sizes:
            there = result.with_terms(first).with_terms(then)
            assert there.support == result.with_terms(then).support
            assert there.message.count("out of the hall of fame") <= 1
    entry = next(entry for entry in HALL if not entry.chosen)
    for spelled in (", ".join(entry.support), entry.support):
        assert set(result.with_terms(spelled).support) == set(entry.support)
    size = len(entry.support)
    assert result.with_terms(np.int64(size)) == result.with_terms(size)
    with pytest.raises(RuleSearchError, match="True: give a number of terms"):
        result.with_terms(True)


def test_what_is_said_of_the_rule_chosen_is_not_said_of_another():
    said = "rule does not learn: accuracy 0.451, 6 of 75 lifetimes diverged; one more thing"
    result = a_result(hall=HALL, message=said)
    entry = next(entry for entry in HALL if not entry.chosen)
    other = result.with_terms(entry.support)
    assert "accuracy 0.451" not in other.message
    assert "one more thing" in other.message
    record = replace(a_result().evaluation["rule"], learns=False)
    failing = replace(entry, worlds={"mnist": record}, evaluation=record)
    hall = tuple(failing if each is entry else each for each in HALL)
    text = a_result(hall=hall, message=said).with_terms(entry.support).message
    assert "rule does not learn on mnist: accuracy" in text


# --- functions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["search", "evaluate", "compare", "ablate", "export", "sweep"])
def test_functions_that_are_packages_are_functions(name):
    function = getattr(rulesearch, name)
    parameters = inspect.signature(function).parameters
    assert parameters
    assert "arguments" not in parameters
    assert pickle.loads(pickle.dumps(function)) is function


def test_coefficients_in_a_list_keep_their_gradient():
    one = torch.tensor(0.05, requires_grad=True)
    out = lived(POOL, [one, 0.01])
    out.loss.sum().backward()
    two = torch.tensor(0.05, requires_grad=True)
    lived(POOL, [[two, 0.01], [0.05, 0.01]]).loss.sum().backward()
    assert two.grad is not None
    whole = lived(POOL, [0.05, 0.01], gradient=True)
    assert float(one.grad) == pytest.approx(float(whole.gradient[:, 0].sum()), rel=1e-6)


def test_without_a_step_nothing_that_was_given_comes_back():
    none = lived(DELTA, train=(X[:, :0], LABELS[:, :0]))
    assert none != lived(DELTA, train=(X[:, :0], LABELS[:, :0]))
    none.weights[0].zero_()
    assert WEIGHTS[0].abs().max() > 0


@pytest.mark.parametrize("steps", [-1, 1.5, True])
def test_steps_of_a_refit_are_a_whole_number(steps):
    with pytest.raises(RuleSearchError, match=r"refit_steps .*: give a whole number, at least 0"):
        ablate("paper", dataset="digits", layers=(6,), lifetimes=4, refit_steps=steps)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: compare("paper"), "one rule; give two or more"),
        (lambda: compare(load_rule("paper")), "one rule; give two or more"),
        (lambda: classify(POOL), "classify: a Pool; give a term, as pool.terms\\[0\\]"),
        (lambda: model_of(POOL, "tanhh"), "model: 'tanhh' is unknown; give one of softplus"),
        (lambda: operator("g", math.tanh), "operator g: TypeError, .*; write it by what"),
        (lambda: operator("g", lambda x: min(x, 6)), "operator g: TypeError, .*; write it by"),
    ],
)
def test_what_is_of_another_kind_is_refused_in_a_line(call, told):
    with pytest.raises(RuleSearchError, match=told):
        call()


def test_numbers_of_a_trace_may_be_numpy_s():
    mean = trace("m_post", y_post, decay=np.float64(0.95), initial=np.float32(0.5))
    assert mean == trace("m_post", y_post, decay=0.95, initial=0.5)


def test_a_page_is_of_a_run_or_of_its_result(tmp_path):
    for given in (tmp_path, tmp_path / "result.json"):
        with pytest.raises(RuleSearchError) as refusal:
            report_html(given)
        assert "result.json/" not in str(refusal.value)
    assert replace(Config(), seed=1) != Config()
