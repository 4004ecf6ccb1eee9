"""The result's JSON and the run directory."""

import dataclasses
import json
import math
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.result import (
    EliminationRecord,
    EvaluationRecord,
    PoolEntry,
    Result,
    TrialRecord,
    layout,
    significant,
)
from rulesearch.runs import (
    RunConfig,
    append_history,
    create_run,
    default_directory,
    open_run,
    read_checkpoint,
    read_history,
    read_stage,
    versions,
    write_checkpoint,
    write_result,
    write_stage,
)

# Strategies: bottom up, so that a failing record shrinks to one odd field ------------------------

names = st.text(min_size=1, max_size=6)
numbers = st.floats()  # NaN and infinities too
counts = st.integers(0, 2**63)
intervals = st.tuples(numbers, numbers)


def maps(values):
    return st.dictionaries(names, values, max_size=3)


def lists(values):
    return st.lists(values, max_size=3)


plain_values = st.recursive(
    st.none() | st.booleans() | counts | numbers | names,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | maps(inner),
    max_leaves=6,
)
entries = st.builds(
    PoolEntry, name=names, expression=names, latex=names, needs=lists(names), evidence=maps(names)
)
trials = st.builds(
    TrialRecord,
    seed=counts,
    support=lists(names),
    theta=maps(numbers),
    diverged_lifetimes=counts,
    meta_steps=counts,
)
eliminations = st.builds(
    EliminationRecord,
    dropped=names,
    support=lists(names),
    loss=numbers,
    cost=numbers,
    cost_interval=intervals,
    share_of_gain=numbers,
    kept=st.booleans(),
)
evaluations = st.builds(
    EvaluationRecord,
    accuracy=numbers,
    accuracy_interval=intervals,
    loss=numbers,
    lifetimes=counts,
    diverged=counts,
)
results = st.builds(
    Result,
    pool=lists(entries),
    support=lists(names),
    theta=maps(numbers),
    theta_interval=maps(intervals),
    frequency=maps(numbers),
    trials=lists(trials),
    elimination=lists(eliminations),
    evaluation=maps(evaluations),
    message=names,
    images=maps(names),
    config=maps(plain_values),
    versions=maps(names),
    seconds=numbers,
)


def refuse(constant):
    raise AssertionError(f"{constant} is not strict JSON")


def a_result(**changes):
    fields = {
        "pool": [
            PoolEntry(name="F0", expression="-e_post*y_pre", latex="- e y", needs=(), evidence={})
        ],
        "support": ["F0"],
        "theta": {"F0": 0.0112},
        "theta_interval": {"F0": (0.0105, 0.0119)},
        "frequency": {"F0": 1},
        "trials": [],
        "elimination": [],
        "evaluation": {
            "rule": EvaluationRecord(
                accuracy=0.7071,
                accuracy_interval=(0.7, 0.7143),
                loss=0.81,
                lifetimes=400,
                diverged=0,
            )
        },
        "images": {},
        "config": {"seed": 0},
        "versions": {},
        "seconds": 1.5,
    }
    return Result(**(fields | changes))


def a_config(**changes):
    fields = {"pool": {"F0": "-e_post*y_pre"}, "options": {"seed": 0}, "versions": versions()}
    return RunConfig(**(fields | changes))


@pytest.fixture
def run(tmp_path):
    create_run(tmp_path / "run", a_config())
    return tmp_path / "run"


# The result --------------------------------------------------------------------------------------


@given(results)
def test_a_result_equals_its_copy_from_strict_json(result):
    text = result.to_json()
    json.loads(text, parse_constant=refuse)
    assert Result.from_json(text) == result


@given(plain_values)
def test_the_layout_holds_the_same_value_in_short_lines(value):
    config = RunConfig(pool={}, options={"value": value}, versions={}).options
    assert json.loads(layout(config)) == config


def test_the_layout_breaks_what_does_not_fit_and_nothing_else():
    value = {"short": [1, 2], "long": ["x" * 60, "y" * 60], "none": []}
    assert layout(value).splitlines() == [
        "{",
        '  "short": [1, 2],',
        '  "long": [',
        f'    "{"x" * 60}",',
        f'    "{"y" * 60}"',
        "  ],",
        '  "none": []',
        "}",
    ]


def test_a_number_that_is_not_finite_is_null():
    result = a_result(theta={"F0": math.nan}, theta_interval={"F0": (-math.inf, 1.0)})
    fields = json.loads(result.to_json(), parse_constant=refuse)
    assert fields["theta"] == {"F0": None}
    assert fields["theta_interval"] == {"F0": [None, 1.0]}


def test_a_record_takes_numpy_numbers_and_lists_and_holds_plain_ones():
    result = a_result(theta={"F0": np.float32(0.5)}, seconds=np.int64(3), config={"layers": (1, 2)})
    assert result.theta == {"F0": 0.5}
    assert type(result.theta["F0"]) is float
    assert (type(result.seconds), result.config) == (float, {"layers": [1, 2]})


def test_the_names_of_the_contract_are_in_the_file():
    fields = json.loads(a_result().to_json())
    assert {
        "schema_version",
        "pool",
        "support",
        "theta",
        "theta_interval",
        "trials",
        "elimination",
        "evaluation",
        "config",
        "versions",
        "seconds",
    } <= fields.keys()
    assert {"name", "expression", "needs", "evidence"} <= fields["pool"][0].keys()
    assert {"accuracy", "accuracy_interval", "loss", "lifetimes"} <= fields["evaluation"][
        "rule"
    ].keys()


@pytest.mark.parametrize("wrong", ["0.1", True, [0.1]])
def test_a_field_of_another_type_is_the_callers_bug(wrong):
    with pytest.raises(ValueError, match=r"^theta\.F0: a number is needed"):
        a_result(theta={"F0": wrong})


def test_printing_shows_the_rule_and_its_evidence():
    result = a_result(message="nothing beats F0")
    assert str(result).splitlines() == [
        "dW = 0.0112*(-e_post*y_pre)",
        "accuracy with 95 % interval over tasks: rule 0.707 [0.700, 0.714]",
        "1 of 1 terms, 0 trials",
        "nothing beats F0",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0056789, "0.00568"),
        (-0.051, "-0.0510"),
        (-0.00071, "-0.000710"),
        (1e-9, "1.00e-09"),
        (123.0, "123"),
        (12345.0, "1.23e+04"),
        (0.0, "0"),
        (-0.0, "0"),
        (None, "nan"),
    ],
)
def test_significant_figures(value, text):
    assert significant(value) == text


@given(st.floats(1e-300, 1e300), st.sampled_from([1, -1]))
def test_no_coefficient_vanishes_in_print(size, sign):
    # off by half a unit of the third figure at most, where the first is at least 1; two roundings
    printed = float(significant(sign * size))
    assert abs(printed - sign * size) <= (0.005 + 2 * np.finfo(float).eps) * size


# Reading it back ---------------------------------------------------------------------------------


def test_a_written_result_loads_equal(run):
    write_result(run, a_result())
    assert Result.load(run) == a_result()


def test_an_unknown_field_of_a_later_writer_is_passed_over():
    fields = json.loads(a_result().to_json()) | {"later": 1}
    assert Result.from_json(json.dumps(fields)) == a_result()


def edited(**changes):
    return json.dumps(json.loads(a_result().to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 1,\n', "not JSON at line 2 (Expecting property name"),
        ("", "not JSON at line 1 (Expecting value)"),
        ("[]", "schema_version is None, and this rulesearch reads 1"),
        (edited(schema_version=7), "schema_version is 7, and this rulesearch reads 1"),
        (edited(support="F0"), "support: a list is needed, not 'F0'"),
        (edited(theta={"F0": "big"}), "theta.F0: a number is needed, not 'big'"),
        (edited(theta_interval={"F0": [1]}), "theta_interval.F0: 2 values are needed, not 1"),
        (edited(evaluation={"rule": {}}), "evaluation.rule.accuracy: is missing"),
        (edited(pool=[3]), "pool[0]: an object is needed, not '3'"),
    ],
)
def test_a_broken_result_is_named_with_its_field(run, text, message):
    (run / "result.json").write_text(text)
    with pytest.raises(RuleSearchError) as refusal:
        Result.load(run)
    line = str(refusal.value)
    assert line.startswith(f"{run}/result.json: {message}")
    assert line.endswith(f"; write it again by --resume {run}")
    assert "\n" not in line


def test_a_run_without_a_result_says_how_to_finish_it(run):
    with pytest.raises(RuleSearchError) as refusal:
        Result.load(run)
    assert str(refusal.value) == (
        f"{run}: has no result.json, the run is not finished; go on with it by --resume {run}"
    )


def test_a_result_is_not_found_where_there_is_no_run(tmp_path):
    with pytest.raises(RuleSearchError) as refusal:
        Result.load(tmp_path / "none")
    assert str(refusal.value) == (
        f"{tmp_path}/none/result.json: cannot be read (No such file or directory); "
        "give the directory of a run"
    )


# Creating and opening ----------------------------------------------------------------------------


def test_a_run_is_created_with_its_parents_and_opens_equal(tmp_path):
    create_run(tmp_path / "a" / "b", a_config())
    assert open_run(tmp_path / "a" / "b") == a_config()


def test_an_empty_directory_is_taken(tmp_path):
    create_run(tmp_path, a_config())
    assert open_run(tmp_path) == a_config()


@pytest.mark.parametrize(
    ("asked", "rows", "finished", "there"),
    [
        (a_config(pool={"G": "-W"}), 180, False, "another pool, 180 of 300 meta-steps"),
        (a_config(options={"seed": 1}), 0, False, "other options, not a meta-step made"),
        (a_config(), 3, True, "the same request, finished"),
    ],
)
def test_a_directory_that_holds_a_run_is_refused(run, asked, rows, finished, there):
    for step in range(rows):
        append_history(run, {"stage": "trial 0", "step": step + 1, "of": 300})
    if finished:
        write_result(run, a_result())
    before = {path: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(RuleSearchError) as refusal:
        create_run(run, asked)
    assert str(refusal.value) == (
        f"--out {run}: already holds a run ({there}); go on with it by --resume {run}, "
        "or choose another --out; nothing was changed"
    )
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_a_directory_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RuleSearchError) as refusal:
        create_run(tmp_path, a_config())
    assert str(refusal.value) == (
        f"--out {tmp_path}: is not empty and holds no run (thesis.tex is there); "
        "choose another --out; nothing was changed"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("below", [".", "run", "deep/run"])
def test_a_file_in_the_way_is_named(tmp_path, below):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / below
    with pytest.raises(RuleSearchError) as refusal:
        create_run(out, a_config())
    assert str(refusal.value) == (
        f"--out {out}: {tmp_path}/file is not a directory; "
        "choose another --out; nothing was changed"
    )


def test_a_parent_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refused(*_arguments, **_options):  # a mode would not stop a test run by root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(RuleSearchError) as refusal:
        create_run(tmp_path / "run", a_config())
    assert str(refusal.value) == (
        f"--out {tmp_path}/run: cannot be written (Permission denied); choose another --out"
    )


def claim(directory, barrier, outcomes):
    barrier.wait()
    try:
        create_run(directory, a_config())
        outcomes.put("created")
    except RuleSearchError as refusal:
        outcomes.put(str(refusal))


def test_of_processes_that_ask_at_once_one_has_the_directory(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, outcomes = context.Barrier(3), context.Queue()
    racers = [
        context.Process(target=claim, args=(tmp_path / "run", barrier, outcomes)) for _ in range(3)
    ]
    for racer in racers:
        racer.start()
    said = sorted(outcomes.get(timeout=30) for _ in racers)
    for racer in racers:
        racer.join()
    assert [text == "created" for text in said].count(True) == 1
    assert [": already holds a run (" in text for text in said].count(True) == 2
    assert open_run(tmp_path / "run") == a_config()


@pytest.mark.parametrize(
    ("folder", "problem"),
    [("empty", "holds no run (no config.json)"), ("none", "no such directory")],
)
def test_resuming_where_there_is_no_run_is_refused(tmp_path, folder, problem):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuleSearchError) as refusal:
        open_run(tmp_path / folder)
    assert str(refusal.value) == (
        f"--resume {tmp_path}/{folder}: {problem}; give the directory that --out named"
    )


def test_the_default_directory_is_the_first_that_is_free(tmp_path):
    first = default_directory("paper_pool", "digits", 3, parent=tmp_path)
    assert first == tmp_path / "paper_pool-digits-seed3-1"
    create_run(first, a_config())
    assert default_directory("paper_pool", "digits", 3, parent=tmp_path).name.endswith("-seed3-2")
    of_a_file = default_directory("paper_pool", "my/cells.npz", 3, parent=tmp_path)
    assert of_a_file == tmp_path / "paper_pool-cells-seed3-1"


def test_versions_name_all_that_the_numbers_depend_on():
    found = versions()
    assert {"rulesearch", "python", "torch", "sympy", "numpy", "scipy", "platform"} <= found.keys()
    assert found["numpy"] == np.__version__


# History -----------------------------------------------------------------------------------------


def test_history_is_read_in_order_with_null_for_what_is_not_finite(run):
    rows = [{"stage": "trial 0", "step": step, "loss": 0.5} for step in (1, 2)]
    for row in rows:
        append_history(run, row)
    append_history(run, {"stage": "trial 0", "step": 3, "loss": math.inf})
    assert read_history(run) == [*rows, {"stage": "trial 0", "step": 3, "loss": None}]


def test_a_torn_last_line_is_left_out_and_gone_with_the_next(run):
    append_history(run, {"step": 1})
    with (run / "history.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert read_history(run) == [{"step": 1}]
    append_history(run, {"step": 2})
    assert read_history(run) == [{"step": 1}, {"step": 2}]


def test_a_first_line_torn_is_no_history(run):
    (run / "history.jsonl").write_text('{"st')
    assert read_history(run) == []
    append_history(run, {"step": 1})
    assert read_history(run) == [{"step": 1}]


def test_a_meta_step_made_again_counts_once(run):
    for loss in (0.5, 0.4):
        append_history(run, {"stage": "trial 0", "step": 1, "loss": loss})
    append_history(run, {"stage": "trial 1", "step": 1, "loss": 0.9})
    assert [row["loss"] for row in read_history(run)] == [0.4, 0.9]


def test_a_broken_line_in_the_middle_is_named(run):
    (run / "history.jsonl").write_text('{"step": 1}\n[]\n{"step": 3}\n')
    with pytest.raises(RuleSearchError) as refusal:
        read_history(run)
    assert str(refusal.value) == (
        f"{run}/history.jsonl, line 2: not a JSON object; delete that line to go on"
    )


def test_no_history_yet_is_an_empty_one(run):
    assert read_history(run) == []


# Stages and checkpoints --------------------------------------------------------------------------


@given(label=st.text(max_size=300), value=plain_values)
def test_a_stage_reads_back_to_the_bit(tmp_path_factory, label, value):
    # compared as text, because NaN, which a stage keeps, does not equal itself
    run = tmp_path_factory.mktemp("run")
    assert read_stage(run, label) is None
    write_stage(run, label, value)
    assert json.dumps(read_stage(run, label)) == json.dumps(value)


@given(st.lists(st.text(max_size=130), min_size=2, max_size=4, unique=True))
def test_stages_do_not_share_files(tmp_path_factory, labels):
    run = tmp_path_factory.mktemp("run")
    for label in labels:
        write_stage(run, label, label)
    assert [read_stage(run, label) for label in labels] == labels
    assert {path.parent for path in run.rglob("*.json")} == {run / "stages"}


def test_a_checkpoint_is_overwritten_and_goes_with_the_finished_stage(run):
    for step in (1, 2):
        write_checkpoint(run, "trial 0", {"step": step})
    assert read_checkpoint(run, "trial 0") == {"step": 2}
    assert read_checkpoint(run, "trial 1") is None
    write_stage(run, "trial 0", {"step": 3})
    assert read_checkpoint(run, "trial 0") is None
    assert read_stage(run, "trial 0") == {"step": 3}


def test_a_label_is_told_apart_where_the_file_system_does_not(run):
    write_stage(run, "drop F0", 1)
    path = run / "stages" / "drop+F0.json"
    path.rename(path.with_name("drop+f0.json"))
    assert read_stage(run, "drop f0") is None


def test_a_broken_stage_is_named(run):
    write_stage(run, "trial 0", 1)
    path = run / "stages" / "trial+0.json"
    path.write_text('{"label": "trial 0"')
    with pytest.raises(RuleSearchError) as refusal:
        read_stage(run, "trial 0")
    assert str(refusal.value) == f"{path}: cannot be read; delete it to make that stage anew"


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("moment", ["replace", "fsync"])
def test_a_crash_while_writing_leaves_the_old_content(run, monkeypatch, moment):
    def crash(*_arguments):
        raise Crash

    write_checkpoint(run, "trial 0", "old")
    monkeypatch.setattr(*((Path, "replace") if moment == "replace" else (os, "fsync")), crash)
    with pytest.raises(Crash):
        write_checkpoint(run, "trial 0", "new")
    assert read_checkpoint(run, "trial 0") == "old"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["trial+0.json"]


def test_a_full_disk_is_told_with_the_way_on(run, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RuleSearchError) as refusal:
        write_result(run, a_result())
    assert str(refusal.value) == (
        f"{run}/result.json: cannot be written (No space left on device); "
        f"make room or give permission, then go on by --resume {run}"
    )
    assert not (run / "result.json").exists()


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_result().message = "another"
