"""Searches in several worlds: options, what is refused, what is reported, and going on."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commands import SMALL, TINY
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from small_runs import sketch

from rulesearch.data import load_data
from rulesearch.data.files import KNOWN_ENDS, names_in
from rulesearch.errors import RuleSearchError
from rulesearch.meta import lifetime_seeds
from rulesearch.mixture import untrained_loss
from rulesearch.notation import Pool
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.result import Result
from rulesearch.runs import default_directory
from rulesearch.search import Config, prepare, search
from rulesearch.search import config as config_module
from rulesearch.search.__main__ import main
from rulesearch.search.arguments import read
from rulesearch.search.engine import UNTRAINED_TASKS
from rulesearch.search.evaluating import evaluation_of
from rulesearch.statistics import Scores
from rulesearch.words import EVALUATED

POOL = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", F3="-W")
FLAGS = [
    *("--term", "-e_post*y_pre", "--term", "-e_post*e_pre", "--term=-W", "--kernel", "einsum"),
    *("--ways", "2", "--shots", "3", "--queries", "2", "--meta-steps", "2", "--meta-batch", "4"),
]
COMPARED = {*EVALUATED} - {"begun"}  # this one begins at the reference alone
SEVERAL = replace(SMALL, layers=((6,), (5, 4)), meta_batch=4)


def clouds(path, inputs, classes, spread=0.15):
    """A file of images around a point of each class."""
    rng = np.random.default_rng(inputs)
    y = np.repeat(np.arange(classes), 14)
    centres = rng.uniform(0, 1, (classes, inputs))
    x = np.clip(centres[y] + spread * rng.normal(size=(len(y), inputs)), 0, 1)
    np.savez(path, x=x.astype(np.float32), y=y)
    return str(path)


@pytest.fixture(autouse=True, scope="module")
def figures_are_not_drawn():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", sketch)
        yield


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_module, "QUICKER", TINY)
    return [clouds(tmp_path / "a.npz", 6, 3), clouds(tmp_path / "b.npz", 9, 4)]


@pytest.fixture
def data(files):
    return [load_data(path, shape=SMALL.shape) for path in files]


# --- options --------------------------------------------------------------------------------------


@given(
    st.lists(
        st.sampled_from(sorted(KNOWN_ENDS)) | st.from_regex(r"[a-z/,]{1,8}\.npz", fullmatch=True),
        min_size=1,
        max_size=4,
    )
)
def test_names_are_told_apart_whatever_commas_files_have(names):
    names = [name for name in names if not name.startswith((",", *(f"{k}," for k in KNOWN_ENDS)))]
    assert names_in(",".join(names or ["digits"])) == tuple(names or ["digits"])


@pytest.mark.parametrize("text", ["", "mnst", "mnst,emnist", "emnist,", "emnist,pool.txt"])
def test_what_is_no_name_is_left_to_be_refused(text):
    assert ",".join(names_in(text)) == text


def test_every_data_set_with_every_network_is_a_world():
    config = Config(dataset=("emnist", "mnist"), layers=([170, 130], [20]))
    assert (config.dataset, config.layers) == ("emnist,mnist", ((170, 130), (20,)))
    assert {name: (w.dataset, w.layers) for name, w in config.worlds.items()} == {
        "emnist 170-130": ("emnist", (170, 130)),
        "emnist 20": ("emnist", (20,)),
        "mnist 170-130": ("mnist", (170, 130)),
        "mnist 20": ("mnist", (20,)),
    }
    assert from_plain(Config, json.loads(json.dumps(to_plain(config)))) == config
    flags = ["--term", "W", "--dataset", "emnist,mnist", "--layers", "170,130/20"]
    assert read(flags).config == config


@pytest.mark.parametrize("layers", [(170, 130), [170, 130], ((170, 130),), [[170, 130]]])
def test_one_world_is_the_options_themselves(layers):
    config = Config(layers=layers)
    assert config == Config(layers=(170, 130))
    assert config.worlds == {"digits": config}


def test_a_run_in_several_worlds_is_named_after_all_data(tmp_path):
    found = default_directory("paper_pool", "emnist,my/cells.npz", 3, parent=tmp_path)
    assert found.name == "paper_pool-emnist+cells-seed3-1"


BAD = {
    "an unknown one": (
        "--dataset digits,mnst",
        "--dataset mnst: unknown data set; did you mean mnist? (digits, emnist, mnist, "
        "fashion-mnist, or a file FILE.npz)",
    ),
    "several missing": (
        "--dataset digits,no.npz,none.npz",
        "--dataset no.npz: no such file; give a file that numpy.savez wrote",
        "--dataset none.npz: no such file; give a file that numpy.savez wrote",
    ),
    "the same twice": (
        "--dataset a.npz,a.npz --layers 6",
        "--dataset a.npz,a.npz, --layers 6: two worlds have one name; give each data set and each "
        "network once, and files names of their own",
    ),
    "the same network twice": (
        "--dataset a.npz --layers 6/5/6",
        "--dataset a.npz, --layers 6/5/6: two worlds have one name; give each data set and each "
        "network once, and files names of their own",
    ),
    "no size": (
        "--layers 6/0",
        "--layers 6/0: must be at least 1; give sizes as in 170,130,100,70",
    ),
    "no sizes at all": (
        "--layers 6/",
        "argument --layers: 6/: give sizes with commas, as in 170,130; "
        "python -m rulesearch.search --help lists the options",
    ),
    "a task too large for one": (
        "--dataset a.npz,b.npz --layers 6 --ways 4",
        "--ways 4: a.npz has 3 classes; at most 3",
    ),
    "layers of their own at several depths": (
        "--dataset a.npz --layers 6/5,4 --where T2=-1",
        "term T2: acts in layers of its own, and networks have 2 to 3; give networks of one depth, "
        "or let it act everywhere",
    ),
    "copies by layer at several depths": (
        "--dataset a.npz --layers 6/5,4 --per-layer",
        "--per-layer: networks have 2 to 3 layers; give networks of one depth, or leave "
        "--per-layer out",
    ),
    "too large for the machine": (
        "--dataset a.npz --layers 6/900000,900000",
        "a 900000-900000: --layers 900000,900000: needs about",
    ),
}


@pytest.mark.parametrize("given_as", BAD)
def test_what_is_refused_says_which(given_as, files, capsys):
    flags, *lines = BAD[given_as]
    assert main([*FLAGS, *flags.split(), "--quiet"]) == 2
    found = capsys.readouterr().err.splitlines()
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        assert line.startswith(expected)


def test_data_and_names_are_in_one_order(data):
    for config, fault in (
        (replace(SEVERAL, dataset="a.npz"), "dataset='a.npz': 1 data sets, and the data are 2; "),
        (replace(SEVERAL, dataset="b.npz,a.npz"), "a.npz: dataset='b.npz': the data are "),
    ):
        with pytest.raises(RuleSearchError) as raised:
            prepare(POOL, [*map(renamed, data, ("a.npz", "b.npz"))], config)
        assert raised.value.lines[0].startswith(fault)


def renamed(data, name):
    return replace(data, name=name)


@pytest.mark.parametrize("given_as", [[], "digits", ["digits"], None])
def test_data_of_another_kind_are_refused(given_as):
    with pytest.raises(RuleSearchError, match=r"^data: a \w+; give Data, as load_data"):
        prepare(POOL, given_as, SMALL)


def test_what_holds_in_one_world_alone_says_which(data):
    wide = replace(data[1], search=replace(data[1].search, x=data[1].search.x + 1.5))
    pool = Pool(F0="-e_post*y_pre", F3="-W")
    one = prepare(pool, wide, SMALL).messages
    assert len([line for line in one if line.startswith("inputs range from")]) == 1
    several = prepare(pool, [data[0], wide], SMALL).messages
    assert [line for line in several if "inputs range from" in line] == [
        f"b: {line}" for line in one if "inputs range from" in line
    ]


def test_units_are_those_of_all_worlds(data):
    scales = [prepare(POOL, each, SMALL).setting.scales for each in data]
    together = prepare(POOL, data, SMALL).setting.scales
    for term, scale in enumerate(together):
        assert min(s[term] for s in scales) <= scale <= max(s[term] for s in scales)


def test_a_pool_and_its_networks_are_explained(files, capsys):
    assert main([*FLAGS, "--dataset", "a.npz,b.npz", "--layers", "6/5,4", "--explain"]) == 0
    lines = [
        line for line in capsys.readouterr().out.splitlines() if "multiply-adds a step" in line
    ]
    assert [line.split(":")[0] for line in lines] == ["a 6", "a 5-4", "b 6", "b 5-4"]
    assert [line.split()[-3].rstrip(",") for line in lines] == [
        "6-6-3", "6-5-4-3", "9-6-4", "9-5-4-4",
    ]  # fmt: skip


# --- searches -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["robust", pytest.param("accepted", marks=pytest.mark.slow)])
def found(request, tmp_path_factory):
    """A finished run in four worlds, and its result."""
    folder = tmp_path_factory.mktemp("found")
    paths = [clouds(folder / "a.npz", 6, 3), clouds(folder / "b.npz", 9, 4)]
    data = [load_data(path, shape=SMALL.shape) for path in paths]
    config = replace(SEVERAL, protocol=request.param)
    return folder / "run", search(POOL, data, config, run=folder / "run"), data, config


WORLDS = ("a 6", "a 5-4", "b 6", "b 5-4")


def test_each_world_is_reported_apart(found):
    run, result, _, config = found
    assert Result.load(run) == result
    assert tuple(result.worlds) == WORLDS
    assert [w.sizes for w in result.worlds.values()] == [
        (6, 6, 3), (6, 5, 4, 3), (9, 6, 4), (9, 5, 4, 4),
    ]  # fmt: skip
    for world in result.worlds.values():
        assert set(world.evaluation) == COMPARED
        assert all(r.lifetimes == TINY.evaluation_tasks for r in world.evaluation.values())
    rates = {name: {w.evaluation[name].rate for w in result.worlds.values()} for name in COMPARED}
    assert rates.pop("rule") == {None}
    assert all(len(own) > 1 for own in rates.values())  # each its own
    for name, record in result.evaluation.items():
        apart = [(w.untrained, w.evaluation[name]) for w in result.worlds.values()]
        assert record.accuracy == pytest.approx(np.mean([r.accuracy for _, r in apart]))
        assert record.loss == pytest.approx(np.mean([r.loss / u for u, r in apart]))
        assert record.diverged == sum(r.diverged for _, r in apart)
        assert record.learns == all(r.learns for _, r in apart)
        assert record.rate is None
    for entry in result.hall:
        assert tuple(entry.worlds) == WORLDS
        assert entry.evaluation.lifetimes == len(WORLDS) * TINY.evaluation_tasks
        if entry.chosen:
            for name, own in entry.worlds.items():
                assert own.loss == result.worlds[name].evaluation["rule"].loss
    assert bool(result.hall) == (config.protocol == "accepted")


def test_losses_are_shares_of_the_untrained_loss_of_the_search_s_images(found):
    _, result, data, config = found
    seeds = lifetime_seeds(config.seed, "untrained", 0, UNTRAINED_TASKS)
    for world in prepare(POOL, data, config).worlds:
        assert result.worlds[world.name].untrained == untrained_loss(world.population(POOL), seeds)


def test_the_report_has_a_table_for_each_world(found, capsys):
    run, *_ = found
    capsys.readouterr()
    assert main(["--show", str(run)]) == 0
    text = capsys.readouterr().out
    titles = [line.strip() for line in text.splitlines() if line.startswith("Evaluation")]
    assert titles == [f"Evaluation: {name}" for name in (*WORLDS, "all worlds")]
    assert "Layers 9-5-4-4; untrained, the loss is" in " ".join(text.split())
    images = [line.split(": ")[0] for line in text.splitlines() if line.startswith("images for")]
    assert len(images) == 4
    assert len({*images}) == 4


@pytest.mark.parametrize(
    "share", [0.8, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.0, 0.1, 0.5))]
)
def test_a_run_in_several_worlds_goes_on_to_the_same_bits(found, tmp_path, share):
    """Wherever it stopped: what came after one stage is done again."""
    run, result, data, config = found
    again, files = tmp_path / "again", stage_files(run)
    shutil.copytree(run, again)
    (again / "result.json").unlink()
    for path in files[round(share * len(files)) :]:
        (again / "stages" / path).unlink()
    resumed = search(POOL, data, config, run=again)
    assert replace(resumed, seconds=0.0) == replace(result, seconds=0.0)


def stage_files(run):
    """The files of its stages, in their order."""
    paths = (run / "stages").glob("*.json")
    return [path.name for path in sorted(paths, key=lambda p: json.loads(p.read_text())["order"])]


@pytest.mark.slow
def test_workers_change_nothing(found):
    _, result, data, config = found
    shared = search(POOL, data, replace(config, workers=2))
    assert (shared.worlds, shared.theta) == (result.worlds, result.theta)


def test_other_data_are_named(found, tmp_path):
    run, _, data, config = found
    other = load_data(clouds(tmp_path / "b.npz", 9, 4, spread=0.1), shape=SMALL.shape)
    with pytest.raises(RuleSearchError) as raised:
        search(POOL, [data[0], other], config, run=run)
    (line,) = raised.value.lines
    assert line.startswith(f"run {run}: {other.name} holds other data than it began with (")
    with pytest.raises(RuleSearchError, match=r"began with --layers 6/5,4, not 6; go on"):
        search(POOL, data, replace(config, layers=(6,)), run=run)


@pytest.mark.slow
def test_the_command_searches_in_several_worlds(files, capsys):
    flags = [*FLAGS, "--dataset", "a.npz,b.npz", "--layers", "6"]
    quick = ["--effort", "quick", "--protocol", "accepted"]
    assert main([*flags, *quick]) == 0
    said = capsys.readouterr().out
    assert "searching 3 terms on a.npz,b.npz" in said
    assert "2 worlds: a (6-6-3), b (9-6-4), " in said
    (run,) = Path("runs").iterdir()
    assert run.name == "terms-a+b-seed0-1"
    result = Result.load(run)
    assert tuple(result.worlds) == ("a", "b")
    assert len(result.hall) > 1
    for entry in result.hall:
        apart = result.with_terms(entry.support).worlds
        shown = {w: e.evaluation["rule"] for w, e in apart.items() if "rule" in e.evaluation}
        assert {w: e.loss for w, e in shown.items()} == {w: e.loss for w, e in entry.worlds.items()}
    assert any(entry.worlds for entry in result.hall)
    (run / "result.json").unlink()
    assert main(["--resume", str(run), "--quiet"]) == 0
    assert replace(Result.load(run), seconds=0.0) == replace(result, seconds=0.0)


@pytest.mark.slow
def test_one_world_has_no_mixture_and_no_world_in_its_labels(files, data, tmp_path):
    result = search(POOL, data[:1], SMALL, run=tmp_path / "run")
    assert result.worlds == {}
    labels = [path.split(".json")[0] for path in stage_files(tmp_path / "run")]
    assert not [label for label in labels if label.startswith("untrained")]
    assert "evaluation%2Frule" in labels
    assert [entry.worlds for entry in result.hall] == [{}] * len(result.hall)
    assert search(POOL, data[0], SMALL).theta == result.theta


# --- images and intervals -------------------------------------------------------------------------


def test_no_world_sets_aside_what_another_learns_from(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 5)), np.repeat([0, 1, 2], 20)
    order = rng.permutation(60)
    np.savez(tmp_path / "one.npz", x=x, y=y)
    np.savez(tmp_path / "two.npz", x=x[order], y=y[order])
    data = [load_data(str(tmp_path / f"{n}.npz"), shape=SMALL.shape) for n in ("one", "two")]
    with pytest.raises(RuleSearchError) as refused:
        prepare(POOL, data, SMALL)
    assert [line.partition(": ")[0] for line in refused.value.lines] == [
        f"--dataset {tmp_path / name}.npz" for name in ("two", "one")
    ]
    assert "of its images that are set aside are in" in str(refused.value)


def test_a_seed_s_lifetimes_of_several_worlds_tell_one_thing():
    """They have the same task, so intervals are over seeds, and counts over lifetimes."""
    losses = np.random.default_rng(0).normal(1, 0.1, 40)
    scores = Scores(
        seeds=tuple(range(40)),
        loss=tuple(losses.tolist()),
        accuracy=(0.5,) * 40,
        initial_loss=(2.0,) * 40,
        diverged=(True,) + (False,) * 39,
    )

    @dataclass(frozen=True)
    class Scene:
        world: Any
        untrained: float = 2.0

    scene = Scene(SimpleNamespace(config=SMALL))
    alone = evaluation_of([scores], [scene], None)
    both = evaluation_of([scores, scores], [scene, scene], None)
    assert (both.lifetimes, both.diverged) == (80, 2)
    assert both.loss == pytest.approx(alone.loss / 2)
    assert both.loss_interval == pytest.approx(tuple(end / 2 for end in alone.loss_interval))
