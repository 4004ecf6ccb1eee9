"""Images that are there more than once count once, and never on both sides of the division."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from npz_files import TINY, message, npz, numbered

from rulesearch.data import TaskShape, load_data

REAL = Path(
    os.environ.get("RULESEARCH_DATA_ROOT", Path(__file__).parents[2] / "shared" / "data")
).resolve()
DEFAULT, SMALL = TaskShape(), TaskShape(ways=5, shots=1, queries=1)


def sides(path, shape=TINY):
    """The pixels of the images for the search, and of those set aside, as they were numbered."""
    data = load_data(path, shape=shape)
    return data, *(part.x[:, 0].astype(int).tolist() for part in (data.search, data.held_out))


@pytest.mark.parametrize("tiled", [False, True], ids=["each beside its copies", "set after set"])
def test_every_image_three_times_divides_as_if_it_were_there_once(tiled):
    x, y = numbered([9, 12])
    thrice = (lambda a: np.concatenate([a] * 3)) if tiled else (lambda a: np.repeat(a, 3, axis=0))
    with npz(x=x, y=y) as once, npz(x=thrice(x), y=thrice(y)) as path:
        data, *divided = sides(path)
        assert divided == [*sides(once)[1:]]
    said = "21 distinct images (left out: 42 equal to another)"
    assert data.search.source == f"14 of the {said}"
    assert data.held_out.source == f"7 of the {said}, set aside at random within each class"
    assert data.notes == ("left out of the 63 images: 42 equal to another",)


@st.composite
def with_copies(draw):
    """Images of two classes, copies of some of them, and other labels for some of the copies."""
    x, y = numbered([draw(st.integers(15, 20)), draw(st.integers(15, 20))])
    copied = draw(st.lists(st.integers(0, len(y) - 1), max_size=12))
    mislabelled = draw(st.lists(st.sampled_from(copied), max_size=4)) if copied else []
    rows = np.array([*range(len(y)), *copied, *mislabelled], int)
    labels = np.append(y[[*range(len(y)), *copied]], 1 - y[np.array(mislabelled, int)])
    order = draw(st.permutations(range(len(rows))))
    return x[rows][order], labels[order], {*mislabelled}


@given(with_copies())
@settings(max_examples=80)
def test_an_image_counts_once_and_only_with_one_label(case):
    x, y, mislabelled = case
    distinct = {*x[:, 0].astype(int).tolist()}
    with npz(x=x, y=y) as path:
        data, search, held_out = sides(path)
    assert sorted(search + held_out) == sorted(distinct - mislabelled)
    for part in (data.search, data.held_out):
        assert np.array_equal(part.x, x[part.rows])
        assert np.array_equal(part.labels, y[part.rows])
    disputed = sum(int(pixel) in mislabelled for pixel in x[:, 0])
    repeated = len(x) - disputed - len(distinct - mislabelled)
    counts = [(disputed, "there with several labels"), (repeated, "equal to another")]
    said = ", ".join(f"{count} {reason}" for count, reason in counts if count)
    assert data.notes == ((f"left out of the {len(x)} images: {said}",) if said else ())


def test_a_zero_with_a_sign_is_the_same_pixel():
    x, y = numbered([9, 9])
    x = np.hstack([x, np.zeros_like(x)])
    with npz(x=np.concatenate([x, x * [1, -1]]), y=np.concatenate([y, y])) as path:
        assert load_data(path, shape=TINY).notes == (
            "left out of the 36 images: 18 equal to another",
        )


def test_what_float32_cannot_tell_apart_is_the_same():
    x, y = numbered([9, 9], first_pixel=1)
    with npz(x=np.concatenate([x, x + 1e-12]), y=np.concatenate([y, y])) as path:
        _, search, held_out = sides(path)
    assert not {*search} & {*held_out}
    assert len(search + held_out) == 18


def test_images_of_the_training_split_are_not_tested():
    x, y = numbered([6, 6])
    new, y_new = numbered([4, 5], first_pixel=100)
    x_test, y_test = (
        np.concatenate([x[:5], new, new[:2]]),
        np.concatenate([y[:5], y_new, y_new[:2]]),
    )
    with npz(x=x, y=y, x_test=x_test, y_test=y_test) as path:
        data, search, held_out = sides(path)
    assert sorted(search) == list(range(12))
    assert sorted(held_out) == list(range(100, 109))
    left_out = "5 in the training split too, 2 equal to another"
    assert data.search.source == "all 12 images of the training split"
    assert data.held_out.source == (
        f"all 9 distinct images of the test split (left out: {left_out})"
    )
    assert data.notes == (f"left out of the 16 images of the test split: {left_out}",)


def test_a_test_split_that_is_the_training_split_serves_nothing():
    x, y = numbered([9, 9])
    with npz(x=x, y=y, x_test=x, y_test=y) as path:
        data, search, held_out = sides(path)
    assert sorted(search + held_out) == list(range(18))
    assert data.search.source == (
        "12 of the 18 images of the training split; the test split is too small for these tasks, "
        "and unused (left out: 18 in the training split too)"
    )


def test_too_few_distinct_images_are_refused_with_their_number():
    x, y = numbered([3, 9])
    with npz(x=np.repeat(x, 4, axis=0), y=np.repeat(y, 4)) as path:
        assert message(path) == (
            f"--dataset {path}: a task takes 3 images of each class, others for the evaluation "
            f"than for the search, and {path} has 3 of class 0 (left out: 36 equal to another); "
            "give every class at least 4, or leave it out"
        )


def test_images_that_are_all_the_same_are_refused():
    _, y = numbered([9, 9])
    with npz(x=np.ones((18, 5)), y=y) as path:
        assert message(path) == (
            f"--dataset {path}: every image is there with several labels; give each image one"
        )


# Recorded before images were compared: seeds of runs that are kept stand for these rows.
DIVISIONS = {
    ("digits", DEFAULT): ("51208e9119fb8d07", "c25a5bbcf71b5fab"),
    ("digits", SMALL): ("128a24771832f854", "5743779a3a2827fa"),
    ("emnist", DEFAULT): ("7cd14c4c3c1f84b6", "d90db80bfae1f5ff"),
    ("emnist", SMALL): ("0fb065cb1e51c002", "2d3b24bd2c6be268"),
    ("mnist", DEFAULT): ("ce9b882bf1f82d06", "af19d6f8a04bd676"),
    ("fashion-mnist", DEFAULT): ("39886e3fc7224541", "ffb7a3f07f5770f5"),
}


@pytest.mark.parametrize(("name", "shape"), DIVISIONS)
def test_the_sets_with_names_divide_as_ever(name, shape):
    root = None if name == "digits" else REAL
    if root and not root.is_dir():
        pytest.skip(f"no folder {root}; RULESEARCH_DATA_ROOT may name one in torchvision's layout")
    data = load_data(name, root, shape=shape)
    digests = (
        hashlib.sha256(part.rows.astype("<i8").tobytes()).hexdigest()[:16]
        for part in (data.search, data.held_out)
    )
    assert tuple(digests) == DIVISIONS[name, shape]
    assert data.notes == ()
