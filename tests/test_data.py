"""Data sets, their division, and tasks: every image is accounted for, every mistake named."""

import os
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from npz_files import TINY, message, npz, numbered

from rulesearch.data import TaskShape, draw_task, draw_tasks, load_data
from rulesearch.data.read import _torchvision_datasets
from rulesearch.errors import RuleSearchError

REAL = Path(
    os.environ.get("RULESEARCH_DATA_ROOT", Path(__file__).parents[2] / "shared" / "data")
).resolve()
DEFAULT = TaskShape()
NO_FILES = "use --dataset digits, which needs no files"

needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(),
    reason=f"no folder {REAL}; RULESEARCH_DATA_ROOT may name one in torchvision's layout",
)


# --- a user's own file; the pixel of an image is its row, so that any image can be recognised ---


@st.composite
def divisible(draw):
    """Class sizes, some of them 0, and a task shape that fits them."""
    shape = TaskShape(
        ways=draw(st.integers(1, 3)), shots=draw(st.integers(1, 4)), queries=draw(st.integers(1, 3))
    )
    enough = st.integers(2 * shape.per_class, 8 * shape.per_class)
    present = draw(st.lists(enough, min_size=shape.ways, max_size=6))
    gaps = draw(st.lists(st.integers(0, len(present)), max_size=2))
    for gap in gaps:
        present.insert(gap, 0)
    return present, shape


@given(divisible())
@settings(max_examples=60, deadline=None)
def test_a_third_of_each_class_is_set_aside_and_every_image_serves_once(case):
    counts, shape = case
    x, y = numbered(counts)
    with npz(x=x, y=y) as path:
        data = load_data(path, shape=shape)
    for part in (data.search, data.held_out):
        rows = part.x[:, 0].astype(int)
        assert part.rows.tolist() == rows.tolist()
        assert part.labels.tolist() == y[rows].tolist() == sorted(y[rows])
    used = np.concatenate([data.search.rows, data.held_out.rows])
    assert sorted(used) == list(range(len(y)))
    aside = np.bincount(data.held_out.labels, minlength=len(counts))
    assert aside.tolist() == [max(n // 3, shape.per_class) if n else 0 for n in counts]


@given(divisible(), st.integers(0, 2**63), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_task_has_distinct_classes_and_images(case, seed, held_out):
    counts, shape = case
    x, y = numbered(counts)
    with npz(x=x, y=y) as path:
        data = load_data(path, shape=shape)
    images = data.held_out if held_out else data.search
    task = draw_task(images, shape, seed)
    train, query = task.x[:, 0].long().tolist(), task.query_x[:, 0].long().tolist()
    assert len({*train, *query}) == shape.ways * shape.per_class == len(train) + len(query)
    assert {*train, *query} <= {*images.rows.tolist()}
    assert task.labels.tolist() == y[train].tolist()
    assert task.query_labels.tolist() == y[query].tolist()
    for labels, each in ((task.labels, shape.shots), (task.query_labels, shape.queries)):
        assert labels.unique(return_counts=True)[1].tolist() == [each] * shape.ways
    assert {*task.labels.tolist()} == {*task.query_labels.tolist()}


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_a_batch_stacks_the_tasks_of_its_seeds(seeds):
    images = load_data("digits", shape=DEFAULT).search
    batch = draw_tasks(images, DEFAULT, seeds)
    assert batch.x.shape == (len(seeds), 250, 64)
    assert batch.query_x.shape == (len(seeds), 50, 64)
    assert (batch.x.dtype, batch.labels.dtype) == (torch.float32, torch.int64)
    for i, seed in enumerate(seeds):
        task = draw_task(images, DEFAULT, seed)
        for name in ("x", "labels", "query_x", "query_labels"):
            assert torch.equal(getattr(batch, name)[i], getattr(task, name))


def test_seeds_reach_every_class_and_mix_the_order_of_training():
    images = load_data("digits", shape=DEFAULT).search
    # A class is left out of a task with probability 1/2, so of all 100 with 2^-100. Were training
    # class by class, labels would change 4 times in 250 steps; in random order about 200 times.
    tasks = draw_tasks(images, DEFAULT, range(100))
    assert tasks.labels.unique().tolist() == list(range(10))
    assert (tasks.labels.diff(dim=1) != 0).sum(dim=1).min() > 100
    assert not torch.equal(tasks.labels[0], tasks.labels[1])


def test_drawing_leaves_the_images_and_numpys_global_state_alone():
    images = load_data("digits", shape=DEFAULT).search
    before, state = images.x.copy(), np.random.get_state()[1].copy()
    task = draw_task(images, DEFAULT, 0)
    task.x.fill_(7)  # a task's tensors are its own
    assert np.array_equal(images.x, before)
    assert np.array_equal(np.random.get_state()[1], state)


def test_a_task_larger_than_its_images_is_refused():
    images = load_data("digits", shape=DEFAULT).held_out
    with pytest.raises(ValueError, match="larger sample than population"):
        draw_task(images, TaskShape(shots=80), 0)


# --- tasks as the authors draw them ---


@given(divisible(), st.integers(0, 2**63))
@settings(max_examples=60, deadline=None)
def test_a_published_task_has_the_first_images_of_each_class(case, seed):
    counts, shape = case
    x, y = numbered(counts)
    with npz(x=x, y=y) as path:
        images = load_data(path, shape=shape).search
    task = draw_task(images, shape, seed, "published")
    drawn = task.query_labels.tolist()[:: shape.queries]  # class by class
    assert len(drawn) == shape.ways
    assert {*drawn} <= {*y.tolist()}
    served = {c: [row for row in sorted(images.rows.tolist()) if y[row] == c] for c in drawn}
    first, then = shape.shots, shape.shots + shape.queries
    expected = [row for c in drawn for row in served[c][:first]]
    train, query = task.x[:, 0].long().tolist(), task.query_x[:, 0].long().tolist()
    assert sorted(train) == sorted(expected)
    assert query == [row for c in drawn for row in served[c][first:then]]
    assert task.labels.tolist() == y[train].tolist()
    assert task.query_labels.tolist() == np.repeat(drawn, shape.queries).tolist()


def test_published_classes_are_drawn_with_replacement():
    images = load_data("digits", shape=DEFAULT).search
    tasks = draw_tasks(images, DEFAULT, range(500), "published")
    distinct = torch.tensor([len(row.unique()) for row in tasks.query_labels])
    # 5 of 10 all differ with probability 10·9·8·7·6/10^5 = 0.3024; five standard errors.
    share = float((distinct == 5).double().mean())
    assert abs(share - 0.3024) <= 5 * np.sqrt(0.3024 * 0.6976 / 500)
    # Every class as likely as another: 2500 draws, five standard errors.
    drawn = tasks.query_labels[:, :: DEFAULT.queries].flatten()
    expected, error = 250, np.sqrt(2500 * 0.1 * 0.9)
    assert (torch.bincount(drawn, minlength=10) - expected).abs().max() <= 5 * error


def test_a_class_drawn_twice_has_its_images_twice():
    x, y = numbered([6])
    shape = TaskShape(ways=1, shots=2, queries=1)
    with npz(x=x, y=y) as path:
        images = load_data(path, shape=shape).search
    task = draw_task(images, TaskShape(ways=2, shots=2, queries=1), 0, "published")
    first, second, third = sorted(images.rows.tolist())[:3]
    assert sorted(task.x[:, 0].tolist()) == [first, first, second, second]
    assert task.query_x[:, 0].tolist() == [third, third]


def test_published_training_is_in_random_order():
    images = load_data("digits", shape=DEFAULT).search
    tasks = draw_tasks(images, DEFAULT, range(100), "published")
    several = torch.tensor([len(row.unique()) > 1 for row in tasks.query_labels])
    # Class by class, labels would change 4 times at most; in random order, with two classes at
    # the least, of which one has 50 of 250 examples, some 80 times, give or take 8.
    assert (tasks.labels[several].diff(dim=1) != 0).sum(dim=1).min() > 40


def test_drawing_afresh_is_the_default_and_as_it_was():
    images = load_data("digits", shape=DEFAULT).search
    plain, afresh = draw_task(images, DEFAULT, 3), draw_task(images, DEFAULT, 3, "afresh")
    assert torch.equal(plain.x, afresh.x)
    # Recorded: seeds of runs that are kept stand for these images.
    assert plain.labels[:12].tolist() == [2, 1, 1, 0, 9, 0, 0, 9, 4, 1, 0, 9]
    ink = (plain.x[:6] * 16).sum(1).tolist()
    assert ink == [257, 321, 302, 281, 265, 310]


def test_a_published_task_larger_than_its_images_is_refused():
    images = load_data("digits", shape=DEFAULT).held_out
    with pytest.raises(ValueError, match="a task takes 90 images of each class, and one has"):
        draw_task(images, TaskShape(shots=80), 0, "published")


# --- division ---


def test_what_is_set_aside_of_a_class_depends_on_that_class_alone():
    x, y = numbered([30, 24, 18])
    with npz(x=x, y=y) as whole, npz(x=x[y != 1], y=y[y != 1]) as without_class_1:
        one, other = (load_data(p, shape=TINY).held_out for p in (whole, without_class_1))
    for c in (0, 2):
        assert one.x[one.labels == c].tolist() == other.x[other.labels == c].tolist()


def test_larger_tasks_set_more_aside_and_the_same_images_first():
    few, many = (load_data("digits", shape=TaskShape(shots=s)).held_out for s in (50, 70))
    assert (len(few.rows), len(many.rows)) == (601, 800)
    assert {*few.rows} < {*many.rows}


def test_a_test_split_that_is_large_enough_serves_the_evaluation():
    x, y = numbered([6, 6])
    x_test, y_test = numbered([3, 4], first_pixel=100)
    with npz(x=x, y=y, x_test=x_test, y_test=y_test) as path:
        data = load_data(path, shape=TINY)
    assert data.search.source == "all 12 images of the training split"
    assert data.held_out.source == "all 7 images of the test split"
    assert sorted(data.search.x[:, 0]) == list(range(12))
    assert sorted(data.held_out.x[:, 0]) == list(range(100, 107))


@pytest.mark.parametrize("test_counts", [[3, 2], [3]], ids=["few images", "few classes"])
def test_a_test_split_that_is_too_small_is_left_unused(test_counts):
    x, y = numbered([9, 9])
    x_test, y_test = numbered(test_counts, first_pixel=100)
    with npz(x=x, y=y, x_test=x_test, y_test=y_test) as path:
        data = load_data(path, shape=TINY)
    unused = "; the test split is too small for these tasks, and unused"
    assert data.search.source == f"12 of the 18 images of the training split{unused}"
    assert data.held_out.source == (
        f"6 of the 18 images of the training split, set aside at random within each class{unused}"
    )
    assert max(data.held_out.x[:, 0]) < 100


def test_a_users_values_are_taken_as_they_are_and_classes_counted_over_both_splits():
    x, y = numbered([6, 6], first_pixel=-3)
    x_test, y_test = numbered([0, 0, 0, 5, 5])
    with npz(x=x, y=y.astype(np.uint8), x_test=x_test, y_test=y_test) as path:
        data = load_data(path, shape=TINY)
    assert (data.classes, data.inputs) == (5, 1)
    assert data.held_out.classes == 5
    assert data.search.x.min() == -3


def test_the_digest_is_of_the_images_and_not_of_their_place():
    x, y = numbered([6, 6])
    changed = x.copy()
    changed[3] = 100
    with npz(x=x, y=y) as here, npz(x=x, y=y) as there:
        first, again = (load_data(path, shape=TINY) for path in (here, there))
    assert first.name != again.name
    assert first.digest == again.digest
    assert len(first.digest) == 64
    others = [{"x": changed, "y": y}, {"x": x, "y": y[::-1].copy()}, {"x": x, "y": y + 1}]
    digests = {first.digest}
    for arrays in others:
        with npz(**arrays) as path:
            digests.add(load_data(path, shape=TINY).digest)
    assert len(digests) == 4


def test_the_digest_sees_the_images_set_aside():
    x, y = numbered([6, 6])
    x_test, y_test = numbered([4, 4], first_pixel=100)
    digests = set()
    for test in (x_test, x_test + 1):
        with npz(x=x, y=y, x_test=test, y_test=y_test) as path:
            digests.add(load_data(path, shape=TINY).digest)
    assert len(digests) == 2


# --- the sets with names ---


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    data = load_data("digits", shape=DEFAULT)
    expected, labels = load_digits(return_X_y=True)
    assert (data.name, data.classes, data.inputs) == ("digits", 10, 64)
    assert data.search.source == "1,196 of the 1,797 images"
    for part in (data.search, data.held_out):
        assert part.x.dtype == np.float32
        # Sixteenths are exact in binary.
        assert np.array_equal(part.x * 16, expected[part.rows])
        assert np.array_equal(part.labels, labels[part.rows])


@needs_real_data
@pytest.mark.parametrize(
    ("name", "folder", "splits", "classes", "sizes"),
    [
        ("emnist", "EMNIST", ("emnist-balanced-train", "emnist-balanced-train"), 47, None),
        ("mnist", "MNIST", ("train", "t10k"), 10, (8000, 2000)),
        ("fashion-mnist", "FashionMNIST", ("train", "t10k"), 10, (8000, 2000)),
    ],
)
def test_real_images_arrive_as_their_files_have_them(name, folder, splits, classes, sizes):
    data = load_data(name, REAL, shape=DEFAULT)
    assert (data.name, data.classes, data.inputs) == (name, classes, 784)
    for part, split in zip((data.search, data.held_out), splits, strict=True):
        raw = REAL / folder / "raw"
        pixels = np.fromfile(raw / f"{split}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 784)
        labels = np.fromfile(raw / f"{split}-labels-idx1-ubyte", np.uint8)[8:]
        # A whole number over 255 is rounded once: within half a unit in the last place.
        np.testing.assert_allclose(part.x, pixels[part.rows] / 255, rtol=2**-24)
        assert np.array_equal(part.labels, labels[part.rows])
        assert len(np.unique(part.labels)) == classes
    if sizes is not None:
        assert (len(data.search.rows), len(data.held_out.rows)) == sizes
    else:  # the test split has 2 to 12 images of a class: the training split is divided
        used = np.concatenate([data.search.rows, data.held_out.rows])
        assert sorted(used) == list(range(9120))
        counts = np.bincount(labels)
        assert np.bincount(data.held_out.labels).tolist() == [max(n // 3, 60) for n in counts]


@needs_real_data
def test_emnists_own_test_split_serves_small_tasks():
    data = load_data("emnist", REAL, shape=TaskShape(shots=1, queries=1))
    assert data.search.source == "all 9,120 images of the training split"
    assert data.held_out.source == "all 304 images of the test split"


def test_torchvision_is_imported_where_its_operators_are_missing_and_where_they_are_not():
    first = _torchvision_datasets()
    assert hasattr(torch.ops.torchvision, "nms")  # its own, or declared by us
    _torchvision_datasets.cache_clear()
    assert _torchvision_datasets() is first


# --- files that are missing or damaged ---


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A folder in torchvision's layout: ten classes, 12 training and 6 test images of each."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, each, first_pixel in (("train", 12, 0), ("t10k", 6, 120)):
        labels = np.repeat(np.arange(10, dtype=np.uint8), each)
        images = np.zeros((len(labels), 2, 3), np.uint8) + labels[:, None, None]
        images[:, 0, 0] = first_pixel + np.arange(len(labels))  # no two are the same
        (raw / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_a_folder_in_torchvisions_layout_is_read(mnist):
    data = load_data("mnist", mnist, shape=TINY)
    assert (data.classes, data.inputs) == (10, 6)
    assert len(data.search.rows) == 120
    assert np.array_equal(data.held_out.x[:, 5], np.float32(data.held_out.labels) / np.float32(255))


@pytest.mark.parametrize("missing", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_missing_file_is_named(mnist, missing):
    (mnist / "MNIST" / "raw" / missing).unlink()
    assert message("mnist", mnist) == (
        f"--dataset mnist: no MNIST/raw/{missing} under --data-root {mnist}; "
        "point it at a folder in torchvision's layout, leave it out to have the files "
        f"downloaded, or {NO_FILES}"
    )


def test_the_split_of_emnist_is_named(tmp_path):
    assert message("emnist", tmp_path) == (
        "--dataset emnist: no EMNIST/raw/emnist-balanced-train-images-idx3-ubyte under "
        f"--data-root {tmp_path}; point it at a folder in torchvision's layout, leave it out to "
        f"have the files downloaded, or {NO_FILES}"
    )


def test_a_root_that_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for root in (tmp_path / "nowhere", tmp_path / "file"):
        assert message("fashion-mnist", root) == (
            f"--dataset fashion-mnist: --data-root {root} is not a folder; "
            f"point it at one in torchvision's layout, or {NO_FILES}"
        )


@pytest.mark.parametrize("file", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0",
        b"\0\0\x08\x03",
        struct.pack(">4B3I", 0, 0, 8, 3, 60, 2, 3),
        struct.pack(">4B3I", 0, 0, 8, 3, 60, 2, 3) + bytes(359),
        struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + bytes(6),
        struct.pack(">4B3I", 0, 0, 10, 3, 60, 2, 3) + bytes(360),
        struct.pack(">4B2I", 0, 0, 8, 2, 60, 6) + bytes(360),
        struct.pack(">4B3I", 0, 0, 13, 3, 60, 2, 3) + bytes(1440),
        b"<!DOCTYPE html><html><head><title>404</title></head></html>",
    ],
    ids=["empty", "2 bytes", "magic", "header", "short", "huge", "type", "dims", "float", "html"],
)
def test_a_damaged_file_is_named(mnist, file, content):
    (mnist / "MNIST" / "raw" / file).write_bytes(content)
    assert message("mnist", mnist) == (
        f"--dataset mnist: MNIST/raw/t10k-* under --data-root {mnist} are not whole IDX files; "
        f"replace them, or {NO_FILES}"
    )


@pytest.mark.parametrize(
    ("split", "images", "labels", "fault"),
    [
        ("train", np.zeros((9, 2, 3)), np.zeros(8), "hold 9 images but 8 labels"),
        ("train", np.zeros((2, 2, 3)), [3, 10], "hold a label 10, but MNIST has classes 0 to 9"),
        ("t10k", np.zeros((1, 2, 2)), [0], "hold images of 4 pixels, the training images 6"),
    ],
)
def test_files_that_do_not_fit_together(mnist, split, images, labels, fault):
    raw = mnist / "MNIST" / "raw"
    (raw / f"{split}-images-idx3-ubyte").write_bytes(idx(np.asarray(images, np.uint8)))
    (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(np.asarray(labels, np.uint8)))
    assert message("mnist", mnist) == (
        f"--dataset mnist: MNIST/raw/{split}-* under --data-root {mnist} {fault}; "
        f"replace them, or {NO_FILES}"
    )


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """Every download fails as it does offline; downloads would be kept under `tmp_path`."""

    def refuse(*_, **__):
        raise URLError("name resolution failed")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mnist_module = _torchvision_datasets().mnist
    monkeypatch.setattr(mnist_module, "download_and_extract_archive", refuse)
    return tmp_path


@pytest.mark.parametrize("name", ["emnist", "mnist", "fashion-mnist"])
def test_without_network_the_way_out_is_given(no_network, name):
    assert message(name) == (
        f"--dataset {name}: could not be downloaded to {no_network / 'rulesearch'}; check the "
        "network connection, point --data-root at a folder in torchvision's layout, "
        f"or {NO_FILES}"
    )


def test_what_is_in_the_cache_folder_needs_no_network(no_network, mnist):
    (mnist / "rulesearch").mkdir()
    (mnist / "MNIST").rename(no_network / "rulesearch" / "MNIST")
    assert load_data("mnist", shape=TINY).inputs == 6
    (no_network / "rulesearch" / "MNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(b"")
    assert message("mnist") == (
        f"--dataset mnist: MNIST/raw/train-* in {no_network / 'rulesearch'} are not whole IDX "
        f"files; replace them, or {NO_FILES}"
    )


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("emnst", "did you mean emnist? (CHOICES)"),
        ("MNIST", "did you mean mnist? (CHOICES)"),
        ("fashion_mnist", "did you mean fashion-mnist? (CHOICES)"),
        ("cifar", "choose CHOICES"),
        ("", "choose CHOICES"),
        ("mine.npy", "choose CHOICES"),
    ],
)
def test_an_unknown_name(name, advice):
    choices = "digits, emnist, mnist, fashion-mnist, or a file FILE.npz"
    expected = f"--dataset {name}: unknown data set; {advice.replace('CHOICES', choices)}"
    assert message(name) == expected


# --- tasks larger than the data ---


def test_sizes_below_one_are_named_all_at_once():
    with pytest.raises(RuleSearchError) as caught:
        TaskShape(ways=0, shots=5, queries=-2)
    assert caught.value.lines == (
        "--ways 0: a task needs at least 1",
        "--queries -2: a task needs at least 1",
    )


TOO_LARGE = (
    "a task takes {} images of each class, others for the evaluation than for the search, and "
    "digits has 174 of class 8; "
)


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        (TaskShape(ways=11), "--ways 11: digits has 10 classes; at most 10"),
        (
            TaskShape(shots=500),
            "--shots 500: " + TOO_LARGE.format(510) + "at most 77 with --queries 10",
        ),
        (
            TaskShape(shots=78),
            "--shots 78: " + TOO_LARGE.format(88) + "at most 77 with --queries 10",
        ),
        (
            TaskShape(queries=500),
            "--queries 500: " + TOO_LARGE.format(550) + "at most 37 with --shots 50",
        ),
        (
            TaskShape(shots=90, queries=90),
            "--shots 90 --queries 90: " + TOO_LARGE.format(180) + "at most 87 together",
        ),
    ],
)
def test_the_largest_size_that_works_is_given(shape, fault):
    assert message("digits", shape=shape) == fault


@pytest.mark.parametrize(
    "shape", [TaskShape(ways=10), TaskShape(shots=77), TaskShape(queries=37), TaskShape(10, 1, 86)]
)
def test_the_largest_size_works(shape):
    data = load_data("digits", shape=shape)
    for part in (data.search, data.held_out):
        assert len(draw_task(part, shape, 0).query_x) == shape.ways * shape.queries


@pytest.mark.parametrize(
    ("test_counts", "most", "limit"),
    [
        ([20, 9], 8, "9 of class 1 of the test split"),
        ([20, 16], 13, "14 of class 1 of the training split"),
        ([20, 6], 6, "14 of class 1"),  # dividing the training split allows more
    ],
)
def test_the_split_that_limits_a_task_is_named(test_counts, most, limit):
    x, y = numbered([15, 14])
    x_test, y_test = numbered(test_counts, first_pixel=100)
    with npz(x=x, y=y, x_test=x_test, y_test=y_test) as path:
        assert message(path, shape=TaskShape(ways=2, shots=most + 1, queries=1)) == (
            f"--shots {most + 1}: a task takes {most + 2} images of each class, others for the "
            f"evaluation than for the search, and {path} has {limit}; at most {most} with "
            "--queries 1"
        )
        images = load_data(path, shape=TaskShape(ways=2, shots=most, queries=1)).held_out
    assert ("test split is too small" in images.source) == (limit == "14 of class 1")


def test_a_class_too_small_for_any_task():
    x, y = numbered([6, 3])
    with npz(x=x, y=y) as path:
        assert message(path, shape=TaskShape(ways=1, shots=1, queries=1)) == (
            f"--dataset {path}: a task takes 2 images of each class, others for the evaluation "
            f"than for the search, and {path} has 3 of class 1; give every class at least 4, or "
            "leave it out"
        )


def test_the_number_of_classes_is_that_of_the_images():
    x, y = numbered([6, 0, 6])
    with npz(x=x, y=y) as path:
        expected = f"--ways 3: {path} has 2 classes; at most 2"
        assert message(path, shape=TaskShape(ways=3, shots=2, queries=1)) == expected
    x, y = numbered([6])
    with npz(x=x, y=y) as path:
        expected = f"--dataset {path}: has one class; a task needs two at least"
        assert message(path, shape=TaskShape(ways=3, shots=2, queries=1)) == expected
