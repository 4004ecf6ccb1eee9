"""What a search takes for granted: said, or refused with the way out, before anything runs."""

from dataclasses import replace

import numpy as np
import pytest
from commands import SMALL_FLAGS
from npz_files import npz

from rulesearch.data import Data, ImageSet, TaskShape, load_data
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool, e_pre, operator, tanh, y_pre
from rulesearch.search import Config, prepare
from rulesearch.search.__main__ import main
from rulesearch.search.premises import for_data, premises
from rulesearch.selection.effort import Effort

SHAPE = TaskShape(ways=2, shots=3, queries=2)
CONFIG = Config(
    layers=(6,), ways=2, shots=3, queries=2, meta_steps=3, meta_batch=2, kernel="einsum"
)
ERROR = "-e_post*y_pre"
POOL = Pool(F0=ERROR)


def data_of(low=0.0, high=1.0, labels=(0, 1), **options):
    """Twelve images of four pixels for each label, between two numbers that are both there."""
    rng = np.random.default_rng(0)
    y = np.repeat(labels, 12)
    x = rng.uniform(low, high, (len(y), 4))
    x[::2, 0], x[::2, 1] = low, high  # in both parts
    with npz(x=x, y=y) as path:
        return replace(load_data(path, shape=SHAPE, **options), name="mine.npz")


def notes(pool=POOL, data=None, config=CONFIG):
    data = data or data_of()
    depth = len(config.sizes(data.inputs, data.classes)) - 1
    return premises(pool.in_network(depth), data, config)


def refusal(pool, data, config=CONFIG):
    with pytest.raises(RuleSearchError) as caught:
        notes(pool, data, config)
    return str(caught.value)


# --- the range of the inputs ---

WAY_OUT = "map them to [0, 1] by --scale, in Python load_data(..., scale=True)"


def test_nothing_is_said_of_what_is_as_it_should_be():
    assert notes() == ()
    assert notes(data=data_of(-1e-6, 1 + 1e-6)) == ()


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 255), (-2e-6, 1), (0, 1.001), (0, 1e30)])
def test_inputs_outside_0_to_1_are_warned_of_where_no_term_reads_their_slope(low, high):
    data = data_of(low, high)
    found = f"inputs range from {low:g} to {high:g}, and the network is made for [0, 1]; {WAY_OUT}"
    assert notes(data=data) == (found,)


GATED = operator("gated", lambda x, y: x * tanh(y))


@pytest.mark.parametrize(
    ("pool", "named"),
    [
        (Pool(F0=ERROR, F2="-e_post*e_pre"), "F2 reads"),
        (Pool(F0=ERROR, F2="-e_post*e_pre", where={"F2": (1,)}), "F2 reads"),
        (Pool(F0=ERROR, F4="-e_pre", S="-y_post*sum_pre(e_pre)"), "F4, S read"),
        (Pool(F0=ERROR, S="-y_post*sum_pre(W*e_pre)", where={"S": (-2,)}), "S reads"),
        (Pool(F0=ERROR, own=GATED(y_pre, e_pre)), "own reads"),
    ],
)
@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 255)])
def test_a_term_that_reads_their_error_is_refused(pool, named, low, high):
    assert refusal(pool, data_of(low, high)) == (
        f"mine.npz: inputs range from {low:g} to {high:g}, and the error of the input layer, "
        f"which {named}, is defined for [0, 1], by the slope 1 - exp(-10*x); {WAY_OUT}"
    )
    assert notes(pool, data_of(low, high, scale=True)) == (
        f"inputs mapped from [{low:g}, {high:g}] to [0, 1]",
    )


def test_the_command_refuses_it_before_anything_is_written(tmp_path, capsys):
    x = np.random.default_rng(0).integers(0, 256, (24, 4), np.uint8)
    x[:2] = [[0], [255]]
    terms = ["--term", "-e_post*y_pre", "--term", "-e_post*e_pre"]
    with npz(x=x, y=np.repeat([0, 1], 12)) as path:
        assert main([*terms, *SMALL_FLAGS, "--dataset", path, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == (
        f"{path}: inputs range from 0 to 255, and the error of the input layer, which T1 reads, is "
        f"defined for [0, 1], by the slope 1 - exp(-10*x); {WAY_OUT}\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("layers", [(2,), (-1,)])
def test_errors_of_other_layers_are_fine_with_any_inputs(layers):
    pool = Pool(F0=ERROR, F2="-e_post*e_pre", where={"F2": layers})
    assert len(notes(pool, data_of(-1, 1))) == 1  # the warning


def test_images_set_aside_are_looked_at_too():
    data = data_of()
    held_out = replace(data.held_out, x=data.held_out.x * np.float32(3))
    assert "inputs range from 0 to 3" in notes(data=replace(data, held_out=held_out))[0]


# --- labels ---


@pytest.mark.parametrize("terms", [("y_post*y_pre", "-W"), ("y_post*y_pre - y_post**2*W",)])
def test_a_pool_that_reads_no_error_cannot_learn_what_labels_ask(terms):
    pool = Pool(**{f"T{i}": term for i, term in enumerate(terms)})
    assert notes(pool) == (
        "no term reads an error (e_post, e_pre) or the loss (L): nothing in this pool can learn "
        "what the labels ask",
    )


@pytest.mark.parametrize(
    "term", ["-L*y_post*y_pre", "y_pre*sum_post(e_post)", "-e_pre", GATED(y_pre, e_pre)]
)
def test_an_error_or_the_loss_anywhere_in_a_pool_is_enough(term):
    assert notes(Pool(T0="-W", T1=term)) == ()


def test_class_numbers_without_images_are_named():
    assert notes(data=data_of(labels=(1, 2))) == (
        "no image has the label 0: 3 output units for 2 classes; number the classes from 0, "
        "without a gap",
    )
    assert notes(data=data_of(labels=(0, 9))) == (
        "no image has the label 1, 2, 3, 4, 5 and 3 more: 10 output units for 2 classes; number "
        "the classes from 0, without a gap",
    )


def test_equal_images_are_said_in_the_messages_of_a_search():
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.uniform(0, 1, (24, 4)), 3, axis=0), np.repeat([0, 1], 36)
    with npz(x=x, y=y) as path:
        request = prepare(POOL, load_data(path, shape=SHAPE), CONFIG)
    assert request.messages == ("left out of the 72 images: 48 equal to another",)


# --- options that say otherwise than the data ---


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", shape=SHAPE)


def test_a_search_keeps_what_the_data_are():
    data = data_of(0, 255, scale=True)
    for config in (CONFIG, replace(CONFIG, scale=True), replace(CONFIG, dataset="mine.npz")):
        kept = prepare(POOL, data, config).config
        assert (kept.dataset, kept.scale, kept.scale_ranges) == ("mine.npz", True, ((0, 255),))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"dataset": "emnist"},
            "dataset='emnist': the data are 'digits'; load the other by load_data, or leave "
            "dataset out",
        ),
        (
            {"scale": True},
            "scale=True: the data are not mapped; load them by load_data(..., scale=True)",
        ),
        (
            {"scale_ranges": ((0, 255),)},
            "scale_ranges=((0, 255),): the data are not mapped; load them by load_data(..., "
            "scale=(0, 255))",
        ),
        ({"ways": 50}, "ways=50: the images for the search are of 10 classes; at most 10"),
        (
            {"shots": 50, "queries": 10},
            "shots=50: a task takes 60 images of each class, and the images set aside have 58 of "
            "class 8; load the data for these tasks by load_data(..., shape=); at most 48 with "
            "queries=10",
        ),
        (
            {"shots": 5, "queries": 80},
            "queries=80: a task takes 85 images of each class, and the images set aside have 58 "
            "of class 8; load the data for these tasks by load_data(..., shape=); at most 53 with "
            "shots=5",
        ),
    ],
)
def test_options_that_say_otherwise_are_refused_in_pythons_names(digits, change, fault):
    with pytest.raises(RuleSearchError) as caught:
        prepare(POOL, digits, replace(CONFIG, **change))
    assert str(caught.value) == fault


def test_all_that_does_not_fit_is_said_at_once(digits):
    with pytest.raises(RuleSearchError) as caught:
        for_data(replace(CONFIG, dataset="mnist", scale=True, ways=11, shots=99), digits)
    assert len(caught.value.lines) == 4


@pytest.mark.parametrize("change", [{"ways": 10}, {"shots": 48, "queries": 10}, {"queries": 55}])
def test_the_largest_size_that_is_named_works(digits, change):
    prepare(POOL, digits, replace(CONFIG, **change))


def test_defaults_are_those_of_the_data_that_are_there():
    robust = replace(CONFIG, protocol="robust")
    request = prepare(POOL, data_of(), robust)
    assert request.config.effort == Effort()
    assert robust.resolved().effort != Effort()  # of digits, the default


@pytest.mark.parametrize(
    ("layers", "network"),
    [
        ((784, 20, 47), "64-784-20-47-10"),
        ((64, 20), "64-64-20-10"),
    ],
)
def test_sizes_for_other_data_are_said_to_be_hidden(digits, layers, network):
    assert notes(POOL, digits, replace(CONFIG, layers=layers)) == (
        f"--layers {','.join(map(str, layers))}: all are hidden sizes, for the data have 64 inputs "
        f"and 10 output units; the network is {network}",
    )


def test_sizes_that_are_meant_are_not_remarked_on(digits):
    for layers in ((64, 20, 10), (30, 20), (20, 10), (10,)):
        assert notes(POOL, digits, replace(CONFIG, layers=layers)) == ()


# --- images put together by hand ---

X = np.linspace(0, 1, 12, dtype=np.float32).reshape(6, 2)
LABELS, ROWS = np.array([0, 0, 2, 2, 2, 3]), np.arange(6)


def by_hand(**change):
    parts = {"x": X, "labels": LABELS, "rows": ROWS, "starts": np.array([0, 2, 5, 6])}
    return ImageSet("made up", "by hand", 4, **{**parts, **change})


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (
            {"labels": LABELS[::-1].copy()},
            ["labels are not in ascending order; sort the images by class"],
        ),
        ({"labels": LABELS + 1}, ["labels go from 1 to 4, with 4 classes; number classes from 0"]),
        ({"labels": LABELS - 1}, ["labels go from -1 to 2, with 4 classes; number classes from 0"]),
        (
            {"starts": np.array([0, 2, 2, 5, 6])},
            ["starts are not where the classes begin; give [0, 2, 5, 6]"],
        ),
        (
            {"starts": np.array([0, 2, 5])},
            ["starts are not where the classes begin; give [0, 2, 5, 6]"],
        ),
        ({"x": np.where(X == 1, np.float32(np.nan), X)}, ["x[5] is not finite; mend or drop it"]),
    ],
)
def test_arrays_that_do_not_fit_together(change, faults):
    by_hand()
    with pytest.raises(RuleSearchError) as caught:
        by_hand(**change)
    assert list(caught.value.lines) == [f"images made up: {fault}" for fault in faults]


def test_parts_for_two_networks():
    other = ImageSet("made up", "by hand", 5, X, LABELS, ROWS, np.array([0, 2, 5, 6]))
    with pytest.raises(RuleSearchError) as caught:
        Data("made up", by_hand(), other)
    assert str(caught.value) == (
        "data made up: 2 inputs and 4 classes for the search, 2 and 5 set aside; "
        "both must be for one network"
    )
