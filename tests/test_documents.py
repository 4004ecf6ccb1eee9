"""Files that are replaced whole, and records that are read back."""

from __future__ import annotations

import json
import os
import threading

import pytest
from test_report import a_result

from rulesearch.errors import RuleSearchError
from rulesearch.given_rule import load_rule
from rulesearch.records.documents import replace_file, sealed, unsealed
from rulesearch.result import Result
from rulesearch.search.config import Config


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    replace_file(pipe, "rule", "choose another")
    reader.join(10)
    assert read == ["rule"]
    assert pipe.is_fifo()


def test_what_a_link_leads_to_is_replaced_and_not_the_link(tmp_path):
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("old")
    link.symlink_to(there)
    replace_file(link, "new", "choose another")
    assert link.is_symlink()
    assert there.read_text() == "new"
    assert {*tmp_path.iterdir()} == {there, link}


def test_a_number_without_end_in_a_rule_is_a_line(tmp_path):
    file = tmp_path / "rule.toml"
    file.write_text("[terms]\nA = '-W'\n[theta]\nA = " + "1" * 5000)
    with pytest.raises(RuleSearchError, match="a number too long"):
        load_rule(file)


def test_infinity_in_a_record_does_not_fit_its_digest():
    known = a_result(config={"free": 1.5})
    text = json.dumps(sealed(known))
    assert unsealed(Result, text).config == known.config
    with pytest.raises(RuleSearchError, match="does not fit its digest"):
        unsealed(Result, text.replace("1.5}", "1e999}"))


def test_paths_are_names_of_data_sets(tmp_path):
    assert Config(dataset=[tmp_path / "a.npz", "digits"]).dataset == f"{tmp_path}/a.npz,digits"


def test_a_link_to_itself_is_a_line(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(link)
    with pytest.raises(RuleSearchError, match="cannot be written"):
        replace_file(link, "new", "choose another")
