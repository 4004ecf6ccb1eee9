"""A run that goes on, by the command and from Python: with what it began with, or a line."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import small_defaults
from small_runs import ARGUMENTS, CONFIG, EFFORT, content, make_small

from rulesearch import search
from rulesearch.data import load_data
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool
from rulesearch.records.documents import digest_of, layout
from rulesearch.result import Result
from rulesearch.runs import reading
from rulesearch.runs.kept import stage_labels
from rulesearch.search import Config, pursuing, stages
from rulesearch.search.__main__ import main
from rulesearch.search.compiling import COMPILING
from rulesearch.search.memory import enough_memory, memory_needed, memory_there

POOL = Pool(T0="-e_post*y_pre", T1="-e_post*e_pre")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch.setattr)


def write_data(path, seed):
    draw = np.random.default_rng(seed)
    path.parent.mkdir(exist_ok=True)
    np.savez(path, x=draw.random((60, 9)).astype("f"), y=np.arange(60) % 3)


def stopping(patch, rows):
    """Every search stops after so many meta-steps, until the patch is undone."""
    append, left = stages.append_history, [rows]

    def stopped(run, row):
        append(run, row)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    patch.setattr(stages, "append_history", stopped)


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A run on a file of one's own, named by a relative path and stopped in a trial."""
    monkeypatch.chdir(tmp_path)
    small_defaults(monkeypatch, EFFORT, "mine.npz")
    write_data(tmp_path / "mine.npz", 0)
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, 2)
        assert main([*ARGUMENTS, "--quiet", "--dataset", "mine.npz", "--out", "run"]) == 130
    return tmp_path / "run"


def changed_config(run, change):
    """Rewrite config.json with its digest, and the stages that belong to it, as if begun so."""
    path = run / "config.json"
    value = json.loads(path.read_text())
    del value["digest"]
    change(value)
    path.write_text(layout({**value, "digest": digest_of(value)}))
    for stage in run.glob("*/*.json"):
        held = json.loads(stage.read_text())
        del held["digest"]
        held["run"] = digest_of({n: v for n, v in value.items() if n != "command"})
        stage.write_text(json.dumps({**held, "digest": digest_of(held)}))


def test_a_run_goes_on_from_any_folder(begun, monkeypatch):
    (begun.parent / "other").mkdir()
    write_data(begun.parent / "other" / "mine.npz", 1)
    monkeypatch.chdir(begun.parent / "other")
    assert main(["--resume", "../run", "--quiet"]) == 0
    assert Result.load(begun).config["dataset"] == str(begun.parent / "mine.npz")


def test_other_data_are_refused_and_moved_ones_named_anew(begun, capsys):
    write_data(begun.parent / "noise.npz", 1)
    assert main(["--resume", "run", "--dataset", "noise.npz"]) == 2
    folder = begun.parent
    assert capsys.readouterr().err == (
        f"--resume run: {folder}/noise.npz holds other data than it began with "
        f"({folder}/mine.npz then); name those by --dataset or --data-root\n"
    )
    (folder / "mine.npz").rename(folder / "moved.npz")
    assert main(["--resume", "run"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"--dataset {folder}/mine.npz: no such file")
    assert line.endswith("--dataset or --data-root beside --resume may say\n")
    assert main(["--resume", "run", "--dataset", "moved.npz", "--quiet"]) == 0
    assert Result.load("run").config["dataset"] == str(folder / "moved.npz")


def test_other_versions_are_said_and_kept(begun, capsys):
    changed_config(begun, lambda value: value["versions"].update(numpy="1.2.3"))
    assert main(["--resume", "run"]) == 0
    out = capsys.readouterr().out
    line = f"begun with numpy 1.2.3, gone on with numpy {np.__version__}: last digits may differ"
    assert line in out.replace("\n", " ")
    assert line in Result.load("run").message
    assert Result.load("run").earlier == ()  # no stage was made by the other


@pytest.mark.slow
def test_another_kernel_is_said_and_kept(begun, capsys):
    assert main(["--resume", "run", "--kernel", "fused"]) == 0
    assert "begun with kernel einsum, gone on with kernel fused" in capsys.readouterr().out
    result = Result.load("run")
    assert result.versions["kernel"] == "fused"
    assert [made["kernel"] for made in result.earlier] == ["einsum"]


def test_seconds_are_those_of_all_sessions(begun):
    def earlier(path):
        held = json.loads(path.read_text())
        del held["digest"]
        held["seconds"] = 1000.0
        path.write_text(json.dumps({**held, "digest": digest_of(held)}))

    earlier(next((begun / "stages").iterdir()))
    assert main(["--resume", "run", "--quiet"]) == 0
    assert Result.load("run").seconds > 1000


# From Python --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", shape=CONFIG.shape)


@pytest.mark.parametrize("kind", [Path, str])
def test_a_run_directory_from_python_is_that_of_the_command(tmp_path, monkeypatch, digits, kind):
    monkeypatch.chdir(tmp_path)
    small_defaults(monkeypatch, EFFORT)
    empty = kind is Path
    if empty:
        (tmp_path / "python").mkdir()
    result = search(POOL, digits, CONFIG, run=kind(tmp_path / "python"))
    assert Result.load(tmp_path / "python") == result
    assert main([*ARGUMENTS, "--quiet", "--out", "command"]) == 0
    assert content("python") == content("command")


def test_a_stopped_search_goes_on_from_python_and_is_read_back(tmp_path, digits):
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            search(POOL, digits, CONFIG, run=tmp_path / "run")
    with pytest.raises(RuleSearchError) as refusal:
        search(POOL, digits, replace(CONFIG, seed=3, shots=3), run=tmp_path / "run")
    where = f"run {tmp_path}/run"
    assert refusal.value.lines == (
        f"{where}: began with --shots 2, not 3; go on with that, or choose another run",
        f"{where}: began with --seed 0, not 3; go on with that, or choose another run",
    )
    with pytest.raises(RuleSearchError, match="began with another pool"):
        search(Pool(T0="-e_post*y_pre"), digits, CONFIG, run=tmp_path / "run")
    done = search(POOL, digits, CONFIG, run=tmp_path / "run")
    whole = search(POOL, digits, CONFIG, run=tmp_path / "whole")
    assert content(tmp_path / "run") == content(tmp_path / "whole")
    steps = []
    again = search(POOL, digits, CONFIG, run=tmp_path / "run", on_step=steps.append)
    assert (again, steps) == (done, [])
    assert replace(done, seconds=0) == replace(whole, seconds=0)


def test_a_folder_that_can_be_no_run_is_refused_by_the_name_of_the_argument(tmp_path, digits):
    (tmp_path / "thesis.tex").touch()
    where = f"run {tmp_path}"
    with pytest.raises(RuleSearchError) as refusal:
        search(POOL, digits, CONFIG, run=tmp_path)
    assert refusal.value.lines == (
        f"{where}: is not empty and holds no run (thesis.tex is there); choose another run; "
        "nothing was changed",
    )
    with pytest.raises(RuleSearchError) as refusal:
        search(POOL, digits, CONFIG, run=tmp_path / "thesis.tex")
    assert refusal.value.lines == (
        f"{where}/thesis.tex: {tmp_path}/thesis.tex is not a directory; choose another run; "
        "nothing was changed",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_begun_by_the_command_goes_on_from_python(tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    small_defaults(monkeypatch, EFFORT)
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, 5)
        assert main([*ARGUMENTS, "--quiet", "--out", "run"]) == 130
    assert search(POOL, digits, CONFIG, run="run") == Result.load("run")


# Accepted steps ----------------------------------------------------------------------------------

#: Measured against no training, and nothing may be given away: so there is a choice to refit.
CHOOSING = replace(CONFIG, parsimony=0.0, meta_steps=3, meta_batch=2)
OTHERS = Pool(A="y_post*y_pre", B="-e_post*e_pre", C="-W")


def stopped_again_and_again(data, run, moments):
    """A search that is stopped at every so many-th stage or step that it comes to, to its end.

    Returns:
        How often it was stopped, and the labels at which it was.
    """
    stops = []
    while True:
        left = [moments]

        def come_to(told, left=left):
            label = told if isinstance(told, str) else told.label
            if label != COMPILING:
                left[0] -= 1
                if left[0] < 0:
                    stops.append(label)
                    raise KeyboardInterrupt

        try:
            search(OTHERS, data, CHOOSING, run=run, on_stage=come_to, on_step=come_to)
        except KeyboardInterrupt:
            continue
        return stops


def go_on_as_if_nothing_had_been(data, folder, moments):
    told = []
    search(OTHERS, data, CHOOSING, run=folder / "whole", on_stage=told.append)
    labels = stage_labels(reading(folder / "whole"))
    stops = stopped_again_and_again(data, folder / "broken", moments)
    assert content(folder / "broken") == content(folder / "whole")
    # Rules that are tried side by side are stages of their own, and told as one.
    return labels, [label for label in told if label != COMPILING], stops


def test_accepted_steps_go_on_from_stages_and_steps_to_the_same_bits(tmp_path, digits):
    labels, _, stops = go_on_as_if_nothing_had_been(digits, tmp_path, 14)
    kinds = {"trial", "leaving", "common", "settling", "evaluation", "units"}
    assert {kind for kind in kinds if any(label.startswith(kind) for label in labels)} == kinds
    assert len(stops) > 2


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [False, True])
def test_accepted_steps_stopped_at_every_stage_and_step(rounds, tmp_path, digits, monkeypatch):
    if rounds:
        monkeypatch.setattr(pursuing, "ROOM", 1)
    labels, told, stops = go_on_as_if_nothing_had_been(digits, tmp_path, 1)
    assert len(told) > 20
    assert {*told} <= {*stops, told[0]}
    assert any(label.startswith("round ") for label in labels) == rounds


# Memory ------------------------------------------------------------------------------------------


def test_networks_larger_than_the_machine_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--term", "-e_post*y_pre", "--layers", "100000,100000", "--quiet"]) == 2
    line = capsys.readouterr().err
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    assert line.startswith("--layers 100000,100000: needs about ")
    assert line.endswith(f" GB, this machine has {there:,.0f}; give smaller layers\n")
    assert float(line.split("about ")[1].split(" GB")[0].replace(",", "")) > there
    assert list(tmp_path.iterdir()) == []


def test_the_papers_network_fits_into_little():
    config = Config(dataset="emnist").resolved()
    sizes = config.sizes(784, 47)
    weights = 8 * 32 * 178_670  # of the measured terms alone, in float64
    assert weights < memory_needed(config, sizes, 32) < 10 * weights < memory_there()


def test_trials_one_after_the_other_need_the_memory_of_one():
    def needed(protocol, trials):
        config = Config(layers=(1000, 1000), protocol=protocol, trials=trials).resolved()
        return memory_needed(config, (784, 1000, 1000, 47), 32)

    assert needed("accepted", 100) == needed("accepted", 1)
    assert needed("robust", 100) > needed("robust", 1)


@pytest.mark.parametrize(
    ("protocol", "way"), [("robust", ", or fewer --meta-batch or --trials"), ("accepted", "")]
)
def test_where_fewer_lifetimes_would_fit_that_is_said(protocol, way):
    config = Config(layers=(20000, 20000), protocol=protocol, trials=200).resolved()
    with pytest.raises(RuleSearchError, match=f"give smaller layers{way}$"):
        enough_memory(config, (784, 20000, 20000, 47), 32)
