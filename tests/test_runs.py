"""The result's JSON and the run directory."""

import dataclasses
import json
import math
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesearch.errors import RuleSearchError
from rulesearch.records.documents import digest_of, layout
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.result import EliminationRecord, EvaluationRecord, PoolEntry, Result, TrialRecord
from rulesearch.runs import (
    RunConfig,
    at_work,
    create_run,
    default_directory,
    is_finished,
    open_run,
    read_history,
    reading,
    versions,
    write_result,
)
from rulesearch.runs.kept import (
    HistoryRow,
    append_history,
    makers,
    read_checkpoint,
    read_stage,
    stage_labels,
    write_checkpoint,
    write_history,
    write_stage,
)
from rulesearch.words import significant

# Strategies: bottom up, so that a failing record shrinks to one odd field ------------------------

names = st.text(min_size=1, max_size=6)
numbers = st.floats()  # NaN and infinities too
counts = st.integers(0, 2**63 - 1)
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


def rows(stage, *losses, of=3):
    return tuple(HistoryRow(stage=stage, step=i, of=of, loss=x) for i, x in enumerate(losses, 1))


@pytest.fixture
def directory(tmp_path):
    create_run(tmp_path / "run", a_config())
    return tmp_path / "run"


@pytest.fixture
def run(directory):
    return reading(directory)


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
def test_a_field_of_another_type_is_named(wrong):
    with pytest.raises(RuleSearchError, match=r"^theta\['F0'\]: a number is needed, not "):
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


def test_a_written_result_loads_equal(directory):
    write_result(directory, a_result())
    assert Result.load(directory) == a_result()


def edited(**changes):
    return json.dumps(json.loads(a_result().to_json()) | changes)


def test_a_layout_of_ones_own_is_no_damage():
    assert Result.from_json(json.dumps(json.loads(a_result().to_json()), indent=7)) == a_result()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 3,\n', "not JSON at line 2 (Expecting property name"),
        ("", "not JSON at line 1 (Expecting value)"),
        ("[]", "not a JSON object"),
        ("[" * 10**5, "no JSON of ours (a number or a nesting without end)"),
        ("9" * 10**5, "no JSON of ours (a number or a nesting without end)"),
        ('{"seconds": NaN}', "NaN is not strict JSON"),
        (edited(schema_version=1), "schema_version is 1, and this rulesearch reads 4"),
        (edited(schema_version=True), "schema_version is true, and this rulesearch reads 4"),
        (edited(support="F0"), "support: a list is needed, not 'F0'"),
        (edited(theta={"F0": "big"}), "theta['F0']: a number is needed, not 'big'"),
        (edited(theta_interval={"F0": [1]}), "theta_interval['F0']: 2 values are needed, not 1"),
        (edited(pool=[3]), "pool[0]: an object is needed, not 3"),
        (edited(later=1), "unknown field later"),
        (edited(suport=1), "unknown field suport; did you mean support?"),
        (edited(seconds=2.5), "its content does not fit its digest, so it was changed or damaged"),
    ],
)
def test_a_broken_result_is_named_with_its_field(directory, text, message):
    (directory / "result.json").write_text(text)
    with pytest.raises(RuleSearchError) as refusal:
        Result.load(directory)
    line = str(refusal.value)
    assert line.startswith(f"{directory}/result.json: {message}")
    assert line.endswith(f"; delete it, and write it again by --resume {directory}")
    assert "\n" not in line


def test_all_faults_of_a_file_are_told_at_once(directory):
    text = edited(evaluation={"rule": {}}, support=[1], trials=[{"seed": -1}])
    (directory / "result.json").write_text(text)
    with pytest.raises(RuleSearchError) as refusal:
        Result.load(directory)
    told = [line.removeprefix(f"{directory}/result.json: ") for line in refusal.value.lines]
    told = [line.partition(";")[0] for line in told]
    assert {
        "evaluation['rule'].accuracy: is missing",
        "support[0]: text is needed, not 1",
        "trials[0].seed: must be at least 0",
        "trials[0].support: is missing",
    } <= set(told)


def test_a_run_without_a_result_says_how_to_finish_it(directory):
    with pytest.raises(RuleSearchError) as refusal:
        Result.load(directory)
    assert str(refusal.value) == (
        f"{directory}: has no result.json, the run is not finished; "
        f"go on with it by --resume {directory}"
    )


def test_a_result_is_not_found_where_there_is_no_run(tmp_path):
    with pytest.raises(RuleSearchError) as refusal:
        Result.load(tmp_path / "none")
    assert str(refusal.value) == (
        f"{tmp_path}/none/result.json: no such file; give the directory of a finished run"
    )


# Creating and opening ----------------------------------------------------------------------------


def test_a_run_is_created_with_its_parents_and_opens_equal(tmp_path):
    create_run(tmp_path / "a" / "b", a_config())
    assert open_run(tmp_path / "a" / "b") == a_config()


def test_an_empty_directory_is_taken(tmp_path):
    create_run(tmp_path, a_config())
    assert open_run(tmp_path) == a_config()


@pytest.mark.parametrize(
    ("asked", "steps", "finished", "there"),
    [
        (a_config(pool={"G": "-W"}), 180, False, "another pool, 180 of 300 meta-steps"),
        (a_config(options={"seed": 1}), 0, False, "other options, not a meta-step made"),
        (a_config(), 3, True, "the same request, finished"),
    ],
)
def test_a_directory_that_holds_a_run_is_refused(directory, asked, steps, finished, there):
    if steps:
        made = rows("trial 0", *[0.5] * steps, of=300)
        write_checkpoint(reading(directory), "trial 0", {}, made)
    if finished:
        write_result(directory, a_result())
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(RuleSearchError) as refusal:
        create_run(directory, asked)
    assert str(refusal.value) == (
        f"--out {directory}: already holds a run ({there}); go on with it by "
        f"--resume {directory}, or choose another --out; nothing was changed"
    )
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


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
    assert said.count("created") == 1
    lost = [text for text in said if text != "created"]
    assert all("already holds a run (" in text or "works on it" in text for text in lost), lost
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
        f"{tmp_path}/{folder}: {problem}; give the directory that --out named"
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


def test_a_directory_of_one_killed_at_its_beginning_is_new(tmp_path):
    (tmp_path / ".lock").write_text("1")
    (tmp_path / ".config.json.1.tmp").write_text('{"schema')
    create_run(tmp_path, a_config())
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_changed_request_is_found(directory):
    path = directory / "config.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(RuleSearchError) as refusal:
        open_run(directory)
    assert str(refusal.value) == (
        f"{path}: its content does not fit its digest, so it was changed or damaged; "
        "it cannot go on; begin a new run in another directory"
    )


# One process at a time ---------------------------------------------------------------------------


def at_work_until(directory, begun, end):
    with at_work(directory, {}, "here"):
        begun.set()
        end.wait(30)


def test_one_process_works_on_a_run_and_a_dead_one_does_not(directory):
    context = multiprocessing.get_context("fork")
    for killed in (False, True):
        begun, end = context.Event(), context.Event()
        other = context.Process(target=at_work_until, args=(directory, begun, end))
        other.start()
        assert begun.wait(30)
        refused = pytest.raises(RuleSearchError, match=rf"^here: process {other.pid} works on it; ")
        with refused, at_work(directory, {}, "here"):
            pass
        other.kill() if killed else end.set()
        other.join()
        with at_work(directory, {}, "here"):
            assert (directory / ".lock").read_text() == str(os.getpid())
        assert [path.name for path in directory.iterdir()] == ["config.json"]


def test_what_a_killed_process_left_is_tidied(directory):
    run = reading(directory)
    write_checkpoint(run, "trial 0", 1, rows("trial 0", 0.5))
    checkpoint = directory / "checkpoints" / "trial+0.json"
    left = checkpoint.read_bytes()
    write_stage(run, "trial 0", 2, rows("trial 0", 0.5, 0.4))
    checkpoint.write_bytes(left)  # killed before its removal
    for name in (".result.json.7.tmp", "stages/.trial+1.json.7.tmp", "checkpoints/.x.json.7.tmp"):
        (directory / name).write_text("{")
    append_history(run, rows("trial 1", 0.9)[0])  # and after its last checkpoint
    with at_work(directory, {}, "here") as again:
        assert read_checkpoint(again, "trial 0", int) is None
    found = sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())
    assert found == ["config.json", "history.jsonl", "stages/trial+0.json"]
    kept = [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in kept] == [0.5, 0.4]


def test_seconds_go_on_where_the_last_process_left_them(directory):
    run = reading(directory)
    write_stage(dataclasses.replace(run, before=100.0), "trial 0", 1)
    with at_work(directory, {}, "here") as again:
        assert 100 <= again.before < 160
        assert again.seconds >= again.before


# History -----------------------------------------------------------------------------------------


def test_history_is_read_in_the_order_of_the_search(run, directory):
    write_checkpoint(run, "trial 1", 0, rows("trial 1", 0.9, math.inf), order=1)
    write_stage(run, "trial 0", 0, rows("trial 0", 0.5), order=0)
    write_stage(run, "another", 0, rows("another", 0.1), order=2)
    history = read_history(directory)
    assert [(row["stage"], row["loss"]) for row in history] == [
        *(("trial 0", 0.5), ("trial 1", 0.9), ("trial 1", None), ("another", 0.1)),
    ]
    write_history(run)
    lines = (directory / "history.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=refuse) for line in lines] == history


def test_no_history_yet_is_an_empty_one(directory):
    assert read_history(directory) == []


def test_a_truncated_history_is_found_where_it_is_read(run, directory):
    write_stage(run, "trial 0", 0, rows("trial 0", 0.5, 0.4, 0.3))
    path = directory / "stages" / "trial+0.json"
    content = json.loads(path.read_text())
    content["history"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(RuleSearchError, match="does not fit its digest"):
        read_history(directory)
    # The lines for people to look at are made from the stages, and decide nothing.
    write_stage(run, "trial 0", 0, rows("trial 0", 0.5, 0.4, 0.3))
    (directory / "history.jsonl").write_text('{"st')
    assert [row["loss"] for row in read_history(directory)] == [0.5, 0.4, 0.3]


# Stages and checkpoints --------------------------------------------------------------------------


@given(label=st.text(max_size=300), value=plain_values)
def test_a_stage_reads_back(tmp_path_factory, label, value):
    directory = tmp_path_factory.mktemp("run") / "run"
    create_run(directory, a_config())
    run = reading(directory)
    assert read_stage(run, label, Any) is None
    write_stage(run, label, value)
    assert read_stage(run, label, Any) == to_plain(value)


@given(st.floats())
def test_a_number_reads_back_to_the_bit(value):
    back = from_plain(Loss, json.loads(json.dumps(to_plain(Loss(value)), allow_nan=False))).value
    assert math.copysign(1, back) == math.copysign(1, value) or math.isnan(value)
    assert back == value or (math.isnan(back) and math.isnan(value))


@dataclass(frozen=True)
class Loss:
    value: float


@given(st.lists(st.text(max_size=130), min_size=2, max_size=4, unique=True))
def test_stages_do_not_share_files(tmp_path_factory, labels):
    directory = tmp_path_factory.mktemp("run") / "run"
    create_run(directory, a_config())
    run = reading(directory)
    for order, label in enumerate(labels):
        write_stage(run, label, label, order=order)
    assert [read_stage(run, label, str) for label in labels] == labels
    assert stage_labels(run) == labels


def test_a_checkpoint_is_overwritten_and_goes_with_the_finished_stage(run):
    for step in (1, 2):
        write_checkpoint(run, "trial 0", step, rows("trial 0", *[0.5] * step))
    assert read_checkpoint(run, "trial 0", int) == (2, rows("trial 0", 0.5, 0.5))
    assert read_checkpoint(run, "trial 1", int) is None
    write_stage(run, "trial 0", 3)
    assert read_checkpoint(run, "trial 0", int) is None
    assert read_stage(run, "trial 0", int) == 3


def test_a_label_is_told_apart_where_the_file_system_does_not(run, directory):
    write_stage(run, "drop F0", 1)
    path = directory / "stages" / "drop+F0.json"
    path.rename(path.with_name("drop+f0.json"))
    assert read_stage(run, "drop f0", int) is None


def test_who_made_the_stages_is_kept(run):
    for label, version in (("a", "1"), ("b", "2"), ("c", "1")):
        write_stage(dataclasses.replace(run, made_with={"numpy": version}), label, 0)
    assert makers(run) == [{"numpy": "1"}, {"numpy": "2"}]


def of_another_run(content):
    content["run"] = "0" * 64
    del content["digest"]
    content["digest"] = digest_of(content)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content.clear(), "schema_version is null, and this rulesearch reads 4"),
        (lambda content: content.pop("value"), "value: is missing"),
        (
            lambda content: content.update(value=2),
            "its content does not fit its digest, so it was changed or damaged",
        ),
        (of_another_run, "belongs to another run"),
    ],
)
def test_a_damaged_stage_is_named(run, directory, change, problem):
    write_stage(run, "trial 0", 1)
    path = directory / "stages" / "trial+0.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    for read in (
        lambda: read_stage(run, "trial 0", int),
        lambda: read_history(directory),
        lambda: at_work(directory, {}, "here").__enter__(),
    ):
        with pytest.raises(RuleSearchError) as refusal:
            read()
        assert str(refusal.value) == f"{path}: {problem}; delete it to make that stage anew"


def test_a_stage_of_another_kind_is_named(run, directory):
    write_stage(run, "trial 0", [1, 2])
    with pytest.raises(RuleSearchError) as refusal:
        read_stage(run, "trial 0", Loss)
    path = directory / "stages" / "trial+0.json"
    assert str(refusal.value) == (
        f"{path}: an object is needed, not [1, 2]; delete it to make that stage anew"
    )


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("moment", ["replace", "fsync"])
def test_a_crash_while_writing_leaves_the_old_content(run, monkeypatch, moment):
    def crash(*_arguments):
        raise Crash

    write_checkpoint(run, "trial 0", "old", rows("trial 0", 0.5))
    monkeypatch.setattr(*((Path, "replace") if moment == "replace" else (os, "fsync")), crash)
    with pytest.raises(Crash):
        write_checkpoint(run, "trial 0", "new")
    assert read_checkpoint(run, "trial 0", str) == ("old", rows("trial 0", 0.5))
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["trial+0.json"]


def test_a_full_disk_is_told_with_the_way_on(directory, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RuleSearchError) as refusal:
        write_result(directory, a_result())
    assert str(refusal.value) == (
        f"{directory}/result.json: cannot be written (No space left on device); "
        f"make room or give permission, then go on by --resume {directory}"
    )
    assert not is_finished(directory)


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_result().message = "another"
