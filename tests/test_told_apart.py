"""What looks alike is told apart: data sets, folders, and lines that were changed."""

import json
from dataclasses import replace

import pytest
from test_evaluate import DELTA, FEW

from rulesearch.errors import RuleSearchError
from rulesearch.evaluate.engine import carry_out
from rulesearch.evaluate.options import asked_for
from rulesearch.rule.rule import Sought

OPTIONS = asked_for(FEW)


def test_a_data_set_may_have_a_comma_in_its_name():
    sought = Sought(dataset="digits,a/c,d/mine.npz", layers=((4,),), ways=2, shots=3, queries=3)
    assert sought.datasets == ("digits", "a/c,d/mine.npz")


def test_rates_of_a_rules_own_world_need_one():
    options = replace(OPTIONS, rates="own", rivals=("backprop-sgd", "untrained"))
    with pytest.raises(RuleSearchError, match="--rates own: no search has found delta"):
        carry_out([DELTA], options)


def test_a_line_that_was_changed_is_refused(tmp_path):
    options = replace(OPTIONS, rivals=())
    carry_out([DELTA], options, tmp_path)
    path = tmp_path / "cells.jsonl"
    whole = path.read_text()
    first = json.loads(whole.splitlines()[0])
    answer = {**first["answer"], "accuracy": [0.99] * len(first["answer"]["accuracy"])}
    for changed in ({**first, "answer": answer}, {**first, "answer": {"x": 1}}, {"key": "a"}, 3):
        path.write_text(json.dumps(changed) + "\n")
        with pytest.raises(RuleSearchError, match=r"cells\.jsonl: line 1 is damaged"):
            carry_out([DELTA], options, tmp_path)
    path.write_text(whole)
    carry_out([DELTA], options, tmp_path)
