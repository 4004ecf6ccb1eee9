"""benchmarks/paper: experiments that go on, figures 3 and 4, verdicts, files, the command line."""

import csv
import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from benchmarks.paper import __main__ as command
from benchmarks.paper import experiments, fig3, fig4, measures, report, style
from benchmarks.paper.claims import Claim, Finding, above, all_of, below, count, judged, near
from benchmarks.paper.experiments import Experiment, Records, digest, records, sized
from benchmarks.paper.protocols import POOL, POOL_TERMS, pool_experiment
from benchmarks.paper.tables import over_meta_steps, write_csv
from benchmarks.paper.targets import Produced, Setting, Target
from rulesearch.errors import RuleSearchError

F0 = ("F0", "-e_post*y_pre")
F2 = ("F2", "-e_post*e_pre")
TINY = Experiment(
    "tiny",
    (F0, F2),
    dataset="digits",
    hidden=(7, 6),
    meta_steps=7,
    trials=3,
    ways=2,
    shots=3,
    queries=2,
    observe=("angle", "weight_norm", "accuracy"),
)


@pytest.fixture
def setting(tmp_path):
    return setting_in(tmp_path / "out")


def setting_in(out, **options):
    return Setting(out, console=Console(file=io.StringIO()), **options)


class Killed(BaseException):
    """As when the process ends: nothing in the program answers to it."""


# --- experiments ---------------------------------------------------------------------------------


def arrays(found):
    plain = (found.loss, found.accuracy, found.theta, found.diverged)
    return (*plain, *(found.observed[name] for name in sorted(found.observed)))


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["paper", "robust"])
def test_courses_have_their_shapes_and_begin_at_the_start(setting, protocol):
    found = records(replace(TINY, protocol=protocol, start=(("F0", 0.002),)), setting)
    assert found.loss.shape == found.accuracy.shape == found.diverged.shape == (3, 7)
    assert found.theta.shape == (3, 7, 2)
    assert found.observed["angle"].shape == found.observed["weight_norm"].shape == (3, 7, 3)
    assert found.observed["accuracy"].shape == (3, 7, 1)
    np.testing.assert_array_equal(found.theta[:, 0], [[0.002, 0.0]] * 3)
    # An observable and the lifetimes' own answer are the same measurement on the same images; a
    # mean over eight lifetimes, each a quarter, half, ..., is exact. What diverged is scored.
    well = found.diverged == 0
    assert well.any()
    np.testing.assert_array_equal(found.observed["accuracy"][well, 0], found.accuracy[well])
    assert (found.theta[:, 1:] != found.theta[:, :-1]).any(axis=(1, 2)).all()


@pytest.mark.parametrize("error", [KeyboardInterrupt, Killed])
@pytest.mark.parametrize("calls", [2, 7, 11, 20])  # between meta-steps of 3 trials, and within
def test_a_resumed_experiment_equals_an_uninterrupted_one_to_the_bit(
    tmp_path, monkeypatch, calls, error
):
    whole = records(TINY, setting_in(tmp_path / "whole"))
    monkeypatch.setattr(experiments, "CHECKPOINT_EVERY", 2)
    note, noted = experiments._note, []

    def interrupted(found, row, record):
        note(found, row, record)
        noted.append(record)
        if len(noted) == calls:
            raise error

    again = setting_in(tmp_path / "again")
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "_note", interrupted)
        with pytest.raises(error):
            records(TINY, again)
    resumed = records(TINY, again)
    for a, b in zip(arrays(whole), arrays(resumed), strict=True):
        assert a.tobytes() == b.tobytes()


def test_an_interrupted_experiment_keeps_what_it_did(setting, monkeypatch):
    note, noted = experiments._note, []

    def interrupted(found, row, record):
        note(found, row, record)
        noted.append(record.step)
        if len(noted) == 11:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiments, "_note", interrupted)
        with pytest.raises(KeyboardInterrupt):
            records(TINY, setting)
    before = len(noted)
    monkeypatch.setattr(experiments, "_note", lambda *given: (noted.append(0), note(*given)))
    records(TINY, setting)
    assert len(noted) - before == 3 * (7 - 3)  # the fourth meta-step was not over


def test_what_is_done_is_read_back_and_leaves_no_checkpoint(setting, monkeypatch):
    first = records(TINY, setting)
    monkeypatch.setattr(experiments, "fit_together", None)  # a call of it would fail
    second = records(replace(TINY, name="by another name"), setting)
    for a, b in zip(arrays(first), arrays(second), strict=True):
        assert a.tobytes() == b.tobytes()
    assert [path.suffixes for path in setting.runs.iterdir()] == [[".npz"]]


def test_a_trial_does_not_depend_on_the_others(setting):
    three, two = (records(replace(TINY, trials=n, observe=()), setting) for n in (3, 2))
    for a, b in zip(arrays(three), arrays(two), strict=True):
        assert a[:2].tobytes() == b.tobytes()


def test_trials_that_are_given_up_count_as_diverged(setting):
    # Float32 overflows in the first lifetime, so each trial ends after 20 meta-steps.
    found = records(replace(TINY, start=(("F0", 1e30),), meta_steps=24, observe=()), setting)
    assert np.isfinite(found.loss[:, :20]).all()
    np.testing.assert_array_equal(found.accuracy[:, :20], 0.1)
    assert np.isnan(found.loss[:, 20:]).all()
    assert np.isnan(found.theta[:, 20:]).all()
    assert np.isfinite(found.theta[:, :20]).all()
    assert (found.diverged == 1).all()
    assert found.share_diverged == 1


@pytest.mark.parametrize(
    "change",
    [
        {"terms": (F0,)}, {"where": (("F2", (1,)),)}, {"pathway": "direct"}, {"hidden": (7, 5)},
        {"protocol": "robust"}, {"l1": 0.1}, {"l2": 0.1}, {"meta_steps": 8}, {"trials": 4},
        {"feedback_init": "normal"}, {"sampling": "published"}, {"weight_gain": 2.0}, {"seed": 1},
        {"observe": ()}, {"shots": 4}, {"start": (("F0", 0.01),)},
    ],
)  # fmt: skip
def test_whatever_changes_a_number_changes_the_digest(change):
    data = experiments.data_of(TINY, None)
    assert digest(replace(TINY, **change), data) != digest(TINY, data)
    assert digest(replace(TINY, name="other"), data) == digest(TINY, data)


def test_initial_weights_are_scaled_and_feedback_is_not():
    data = experiments.data_of(TINY, None)
    plain, scaled = (
        experiments.population_of(replace(TINY, weight_gain=gain), data) for gain in (1.0, 4.0)
    )
    weights, feedback = plain.networks((5, 6))
    more, same = scaled.networks((5, 6))
    for w, m in zip(weights, more, strict=True):
        assert (m == 4.0 * w).all()  # a power of two: exact
    for b, s in zip(feedback, same, strict=True):
        assert (b == s).all()


def test_a_damaged_file_is_named(setting):
    records(TINY, setting)
    (path,) = setting.runs.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RuleSearchError, match=r"damaged .*; delete it, and it is run again"):
        records(TINY, setting)


def test_sizes_follow_the_setting():
    small = Setting(None, trials=3, meta_steps=60, seed=5)
    plain = Experiment("x", (F0,))
    assert sized(plain, small) == replace(plain, trials=3, meta_steps=60, seed=5)
    assert sized(replace(plain, trials=2, meta_steps=500), small) == replace(
        plain, trials=2, meta_steps=50, seed=5
    )
    assert pool_experiment(Setting(None), "robust").trials == 6
    assert pool_experiment(Setting(None), "robust").meta_steps == 300


# --- verdicts ------------------------------------------------------------------------------------

ABOVE = {  # values of two trials -> verdict of "above 1"
    (2.0, 3.0): "holds",
    (0.0, 3.0): "holds in part",
    (0.0, 1.5): "does not hold",
    (np.nan, 3.0): "holds in part",  # a sample may have no value, so that there is no interval
    (np.nan, np.nan): "does not hold",
}


@pytest.mark.parametrize(("values", "verdict"), ABOVE.items())
def test_above_and_below_are_mirror_images(values, verdict):
    assert above("", np.array(values), 1.0).verdict == verdict
    assert below("", -np.array(values), -1.0).verdict == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.68, 0.72), "holds"),
        ((0.76, 0.76), "does not hold"),
        ((0.60, 0.98), "holds in part"),  # the mean is 0.79, and the interval reaches 0.60
        ((0.74, 0.96), "holds in part"),
        ((np.nan, np.nan), "does not hold"),
    ],
)
def test_near_a_published_number(values, verdict):
    assert near("", np.array(values), 0.70, 0.05).verdict == verdict


def test_counts_and_claims_of_several_parts():
    assert [count("", n, 4, needed=3, some=2).verdict for n in (3, 2, 1)] == [
        "holds", "holds in part", "does not hold",
    ]  # fmt: skip
    yes, no = above("", np.ones(2), 0), above("", np.ones(2), 2)
    assert all_of("", {"a": yes, "b": yes}).verdict == "holds"
    assert all_of("", {"a": yes, "b": no}).verdict == "holds in part"
    assert all_of("", {"a": no, "b": no}).verdict == "does not hold"


# --- made-up courses -----------------------------------------------------------------------------

STEPS, TRIALS = 600, 4


def course(accuracy=0.5, loss=1.0, theta=(0.01,), angle=(80.0,) * 4, trials=TRIALS):
    """Courses that stay where they are; the angle of the output layer is zero."""
    shape = trials, STEPS
    return Records(
        loss=np.broadcast_to(np.asarray(loss, float), shape).copy(),
        accuracy=np.broadcast_to(np.asarray(accuracy, float), shape).copy(),
        theta=np.broadcast_to(np.asarray(theta, float), (*shape, np.shape(theta)[-1])).copy(),
        diverged=np.zeros(shape, dtype=np.int64),
        observed={"angle": np.broadcast_to([*angle, 0.0], (*shape, 5)).copy()},
    )


def verdicts(claims, paper, robust):
    found = judged(claims, {"paper": paper, "robust": robust})
    return {claim.key: claim.finding.verdict for claim in found}


def test_figure_3_as_published_and_as_it_is_not():
    right = {
        "backprop": course(accuracy=0.70, loss=0.9),
        "feedback alignment": course(accuracy=0.25, loss=2.0),
    }
    wrong = {
        "backprop": course(accuracy=0.40, loss=1.9, theta=np.linspace(0, 1, STEPS)[:, None]),
        "feedback alignment": course(accuracy=0.35, loss=2.0, angle=(20.0,) * 4),
    }
    wrong["feedback alignment"].observed["angle"][..., 4] = 10.0
    found = verdicts(fig3.CLAIMS, right, wrong)
    robust = {key: verdict for key, verdict in found.items() if key.endswith("-robust")}
    assert len(found) == 2 * len(robust)
    assert set(found.values()) == {"holds", "does not hold", "holds in part"}
    assert {v for key, v in found.items() if key not in robust} == {"holds"}
    assert robust.pop("fig3-settled-robust") == "holds in part"  # one of the two rates is
    assert set(robust.values()) == {"does not hold"}


def published_pool():
    theta = np.zeros(10)
    theta[[0, 2, 9]] = 0.01, -0.005, 0.002
    pool = course(accuracy=0.68, loss=1.0, theta=theta, angle=(50.0,) * 4)
    pool.accuracy[:, :10], pool.loss[:, :10] = 0.25, 2.0
    return pool


def around(pool):
    return {
        "backprop": course(accuracy=0.70, loss=0.9),
        "feedback alignment": course(accuracy=0.25, loss=2.0),
        POOL: pool,
    }


def test_figure_4_as_published():
    found = verdicts(fig4.CLAIMS, around(published_pool()), around(published_pool()))
    assert len(found) == 18
    assert set(found.values()) == {"holds"}


def test_figure_4_with_trials_that_all_diverge():
    lost = course(accuracy=np.nan, loss=np.nan, theta=[np.nan] * 10, angle=(np.nan,) * 4)
    lost.diverged[:] = 1
    found = verdicts(fig4.CLAIMS, around(lost), around(lost))
    # Chance is 0.23 below feedback alignment's accuracy, and nothing approaches anything.
    assert set(found.values()) == {"does not hold"}


def test_coefficients_kept_at_the_end():
    theta = np.tile([0.01, 0.0005, -0.002], (2, STEPS, 1))
    theta[1, 300:] = np.nan
    run = replace(course(trials=2), theta=theta)
    # Within one step of Adam of zero is zero for a subgradient; for the robust protocol zero is.
    np.testing.assert_array_equal(fig4.kept(run, "paper"), [[1, 0, 1], [np.nan] * 3])
    np.testing.assert_array_equal(fig4.kept(run, "robust"), [[1, 1, 1], [np.nan] * 3])


@pytest.mark.parametrize(
    ("term", "value", "which", "three"),
    [
        (0, 0.0, "holds in part", "does not hold"),
        (1, 0.01, "holds in part", "does not hold"),
        (None, None, "holds", "holds"),
    ],
)
def test_which_terms_are_kept(term, value, which, three):
    run = published_pool()
    if term is not None:
        run.theta[..., term] = value
    assert fig4.published(run, "robust").verdict == which
    assert fig4.three_terms(run, "robust").verdict == three


def test_given_up_trials_count_against_the_published_terms():
    run = published_pool()
    run.theta[:2, 300:] = np.nan  # half of them
    assert fig4.published(run, "paper").verdict == "does not hold"
    run.theta[1] = run.theta[2]
    assert fig4.published(run, "paper").verdict == "holds"


@pytest.mark.parametrize("term", [0, 2, 9])
def test_a_wrong_sign_is_seen(term):
    run = published_pool()
    run.theta[..., term] *= -1
    assert fig4.signs(run).verdict == "holds in part"


def test_a_trial_that_was_given_up_has_the_loss_of_chance():
    run = course(loss=1.0, trials=1)
    run.loss[0, :2] = 3.9, np.nan
    np.testing.assert_allclose(measures.loss(run)[0, :3], [3.9, np.log(47), 1.0], rtol=1e-15)


# --- tables and figures --------------------------------------------------------------------------


def columns_of(path):
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    return {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}


def test_csv_holds_the_arrays_to_the_bit(setting):
    values = np.array([0.1, 1 / 3, -1e-300, np.nan, np.inf])
    numbers, words = np.arange(5), ["a", "b,c", 'd"e', "", "é"]
    given = {"x": values, "n": numbers, "word": words, "none": [None, np.float64(0.1), 1, 2, 3]}
    found = columns_of(write_csv(setting, "some", given))
    np.testing.assert_array_equal(np.array(found["x"], dtype=float), values)
    assert found["n"] == list("01234")
    assert found["word"] == words
    assert found["none"] == ["", "0.1", "1", "2", "3"]


def test_columns_of_different_length_are_refused(setting):
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        write_csv(setting, "ragged", {"x": [1, 2], "y": [1]})


def test_courses_as_columns():
    values = np.array([[1.0, 2.0, np.nan], [3.0, 2.0, 5.0]])  # one trial has no interval
    found = over_meta_steps({"loss": values})
    assert list(found) == ["meta_step", "loss", "loss_low", "loss_high"]
    np.testing.assert_array_equal(found["meta_step"], [1, 2, 3])
    np.testing.assert_array_equal(found["loss"], [2.0, 2.0, 5.0])
    # With two trials the 98 % interval of 500 samples goes from the one to the other.
    np.testing.assert_array_equal(found["loss_low"], [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(found["loss_high"], [3.0, 2.0, np.nan])


def test_coefficients_as_rows(setting):
    run = published_pool()
    run.theta[3, 300:] = np.nan
    found = fig4.coefficients({"paper": {POOL: run}})
    assert len(found["term"]) == TRIALS * len(POOL_TERMS)
    rows = list(zip(*found.values(), strict=True))
    assert rows[2][:3] == ("paper", 0, "F2")
    assert rows[2][3:] == (pytest.approx(-0.005, rel=1e-12), 1)  # the mean of 100 equal numbers
    assert rows[1][3:] == (0.0, 0)
    assert rows[-1] == ("paper", 3, "F9", None, None)


def test_figures_are_vectors_with_the_caption_and_the_same_at_every_run(tmp_path):
    written = []
    for folder in ("a", "b"):
        made, axes = style.figure(2, 3)
        assert axes.shape == (2, 3)
        style.band(axes[0, 0], np.array([[1.0, 2.0], [2.0, 4.0]]), "backprop")
        written.append(style.save(made, setting_in(tmp_path / folder), "some", "Seed-0 " * 30))
    assert [path.suffix for path in written[0]] == [".svg", ".pdf"]
    for a, b in zip(*written, strict=True):
        assert a.read_bytes() == b.read_bytes()
    text = written[0][0].read_text()
    assert text.count("Seed-0") == 30
    assert "<image" not in text


def test_a_band_is_the_mean_and_its_interval():
    _, axes = style.figure(1, 1)
    style.band(axes[0, 0], np.array([[1.0, 2.0], [3.0, 2.0]]), "label", "eHebb", [10, 20])
    (line,) = axes[0, 0].lines
    np.testing.assert_array_equal(line.get_xydata(), [[10.0, 2.0], [20.0, 2.0]])
    assert line.get_color() == style.colour_of("eHebb")
    corners = axes[0, 0].collections[0].get_paths()[0].vertices
    assert {(10.0, 1.0), (10.0, 3.0), (20.0, 2.0)} <= set(map(tuple, corners))


def test_rules_and_terms_can_be_told_apart():
    looks = [(style.colour_of(name), style.dashes_of(name)) for name in style.RULES]
    assert len(set(looks)) == len(looks)
    terms = [(style.colour_of(name), style.dashes_of(name)) for name in style.TERMS]
    assert len(set(terms)) == len(terms) == 10
    assert style.colour_of("#123456") == "#123456"


# --- verdicts on disk and RESULTS.md -------------------------------------------------------------


def made_up(setting):
    claims = [
        Claim("a", "2.1", "a | claim", lambda x: above("mean of x", x, 0.0, "nats")),
        Claim(
            "b",
            "2.2",
            "a claim of two parts",
            lambda x: all_of("x", {"one": above("", x, 0.0), "two": above("", x, 5.0)}),
        ),
        Claim("c", "3", "without a value", lambda x: Finding("nothing", "does not hold")),
    ]
    return Produced(
        "What was run.",
        figures=(setting.figures / "t.svg", setting.figures / "t.pdf"),
        tables=(setting.tables / "t.csv",),
        judged=judged(claims, np.array([1.0, 2.0])),
        seconds=12.0,
    )


def test_verdicts_come_back_and_make_the_table(setting):
    target = Target("t", "A target", made_up)
    kept = report.keep(setting, target, made_up(setting), 20.0)
    skipped = report.keep(
        setting, Target("s", "Another", made_up), Produced("", skipped="no images"), 0.0
    )
    text = report.write_results(setting, ("s", "t", "never run")).read_text()
    assert text == "\n".join(report.results([skipped, kept])) + "\n"
    assert "3 claims: 1 hold, 1 hold in part, 1 do not hold." in text
    assert "| a \\| claim | 2.1 | mean of x | 1.50 [1.00, 2.00] nats | **holds** | `t` |" in text
    assert "one: 1.50 [1.00, 2.00] (holds); two: 1.50 [1.00, 2.00] (does not hold)" in text
    assert "| no value |" in text
    assert "Skipped: no images" in text
    assert "![t](figures/t.svg)" in text
    assert "[t.csv](tables/t.csv)" in text
    assert str(setting.out) not in text


def test_a_later_call_that_reads_back_keeps_the_time(setting):
    target = Target("t", "A target", made_up)
    report.keep(setting, target, made_up(setting), 20.0)
    again = replace(made_up(setting), seconds=0.1)
    kept = report.keep(setting, target, again, 0.5)
    assert (kept.wall, kept.produced.seconds) == (20.0, 12.0)
    kept = report.keep(replace(setting, trials=3), target, again, 0.5)
    assert (kept.wall, kept.produced.seconds) == (0.5, 0.1)


def test_a_damaged_verdict_is_named(setting):
    target = Target("t", "A target", made_up)
    report.keep(setting, target, made_up(setting), 20.0)
    path = setting.out / "verdicts" / "t.json"
    plain = json.loads(path.read_text())
    del plain["title"]
    path.write_text(json.dumps(plain))
    with pytest.raises(RuleSearchError, match=r"t\.json: damaged .* run its target again"):
        report.write_results(setting, ("t",))


# --- the command line ----------------------------------------------------------------------------

NAMES = ", ".join([*command.TARGETS, "all"])
BAD = [
    (["fig33"], "fig33: no such target; did you mean fig3?"),
    (["FIGs2"], "FIGs2: no such target; did you mean figS2?"),
    (["xyz"], f"xyz: no such target; choose from {NAMES}"),
    ([], "the following arguments are required: TARGET; see --help"),
    (["fig3", "--trials", "1"], "--trials 1: must be 2 or more"),
    (["fig3", "--trials", "few"], "argument --trials: invalid int value: 'few'; see --help"),
    (["fig3", "--meta-steps", "0"], "--meta-steps 0: must be 1 or more"),
    (["fig3", "--seed", "-1"], "--seed -1: must be 0 or more"),
    (["fig3", "--threads", "0"], "--threads 0: must be 1 or more"),
    (["fig3", "--size", "3"], "unrecognized arguments: --size 3; see --help"),
]


@pytest.mark.parametrize(("arguments", "line"), BAD)
def test_bad_options_give_one_line_and_exit_code_2(capsys, tmp_path, arguments, line):
    assert command.main([*arguments, "--out", str(tmp_path / "out")]) == command.REFUSED
    assert capsys.readouterr().err == line + "\n"
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_refused(capsys, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert command.main(["fig6", "--out", str(out)]) == command.REFUSED
    assert capsys.readouterr().err == f"--out {out}: cannot be made (Not a directory)\n"


def test_an_interrupt_gives_130_and_keeps_the_targets_before(capsys, tmp_path, monkeypatch):
    def interrupted(setting):
        raise KeyboardInterrupt

    targets = {"t": Target("t", "A target", made_up), "u": Target("u", "", interrupted)}
    monkeypatch.setattr(command, "TARGETS", targets)
    assert command.main(["all", "--out", str(tmp_path)]) == command.INTERRUPTED
    told = capsys.readouterr().err
    assert "t: 1 hold, 1 hold in part, 1 do not hold" in told
    assert told.endswith("interrupted; the same command goes on where it was\n")
    assert "### t: A target" in (tmp_path / "RESULTS.md").read_text()


def test_targets_are_those_of_the_paper_in_its_order():
    asked = command.read(["figS5", "fig3", "all"]).targets
    assert tuple(t.name for t in asked) == tuple(command.TARGETS)
    assert tuple(t.name for t in command.read(["figS5", "fig3", "figS5"]).targets) == (
        "fig3", "figS5",
    )  # fmt: skip
    assert {"fig1", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8", "table1", "eqS2"} <= set(
        command.TARGETS
    )
    assert {f"figS{n}" for n in range(1, 8)} <= set(command.TARGETS)
    for name, target in command.TARGETS.items():
        assert target.name == name


# --- all of it, tiny -----------------------------------------------------------------------------


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """EMNIST, MNIST and FashionMNIST in torchvision's layout: noise around an image a class."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, stem, classes, each in (
        ("EMNIST", "emnist-balanced-", 47, {"train": 130, "test": 2}),
        ("MNIST", "", 10, {"train": 400, "t10k": 80}),
        ("FashionMNIST", "", 10, {"train": 400, "t10k": 80}),
    ):
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        kinds = (rng.random((classes, 28, 28)) < 0.2) * 200
        for split, count_of_each in each.items():
            labels = np.repeat(np.arange(classes), count_of_each).astype(np.uint8)
            noise = rng.integers(0, 56, (len(labels), 28, 28))
            pixels = np.where(kinds[labels] > 0, kinds[labels] + noise, 0).astype(np.uint8)
            (raw / f"{stem}{split}-images-idx3-ubyte").write_bytes(idx(pixels))
            (raw / f"{stem}{split}-labels-idx1-ubyte").write_bytes(idx(labels))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", command.TARGETS)
def test_every_target_runs_tiny(images, tmp_path_factory, name, capsys):
    out = tmp_path_factory.getbasetemp() / "tiny"  # shared: the targets share experiments
    options = ["--trials", "2", "--meta-steps", "3", "--out", str(out), "--data-root", str(images)]
    assert command.main([name, *options]) == command.DONE, capsys.readouterr().err
    kept = json.loads((out / "verdicts" / f"{name}.json").read_text())
    assert kept["produced"]["skipped"] is None
    assert kept["produced"]["caption"]
    written = [*kept["produced"]["figures"], *kept["produced"]["tables"]]
    assert written
    for path in written:
        assert (out / path).stat().st_size > 0
    text = (out / "RESULTS.md").read_text()
    for claim in kept["produced"]["judged"]:
        assert claim["text"].replace("|", "\\|") in text


@pytest.mark.slow
def test_claims_have_keys_of_their_own(images, tmp_path_factory):
    out = tmp_path_factory.getbasetemp() / "tiny"
    files = sorted((out / "verdicts").glob("*.json"))
    if len(files) < len(command.TARGETS):
        pytest.skip("needs all of test_every_target_runs_tiny in the same run")
    keys = [
        claim["key"]
        for path in files
        for claim in json.loads(path.read_text())["produced"]["judged"]
    ]
    assert len(keys) >= 25
    assert len(set(keys)) == len(keys)
