"""A user's own file: what it may hold, and how far a damaged or a lying one gets."""

import contextlib
import io
import tempfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from npz_files import TINY, message, npz, numbered

from rulesearch.data import load_data
from rulesearch.data.npz import LARGEST, read_npz
from rulesearch.errors import RuleSearchError

X, Y = numbered([6, 6])


@pytest.mark.parametrize(
    ("arrays", "faults"),
    [
        ({"X": X, "y": Y}, ["has no x (it has X, y); name them so"]),
        ({"x": X}, ["has no y (it has x); name them so"]),
        ({"a": X}, ["has no x and no y (it has a); name them so"]),
        ({}, ["has no x and no y (it has nothing); name them so"]),
        ({"x": X, "y": Y, "x_test": X}, ["has x_test but no y_test; give both or neither"]),
        ({"x": X, "y": Y, "y_test": Y}, ["has y_test but no x_test; give both or neither"]),
        (
            {"x": X, "y": Y, "x_test": np.hstack([X, X]), "y_test": Y},
            ["x_test has 2 inputs, x has 1; they must agree"],
        ),
        (
            {"x": X.reshape(12, 1, 1), "y": Y},
            ["x has shape [12, 1, 1]; give [examples, inputs], images flattened"],
        ),
        ({"x": X, "y": Y[:-1]}, ["y has shape [11], x [12, 1]; give one label an example"]),
        (
            {"x": X, "y": np.eye(2, dtype=int)[Y]},
            ["y has shape [12, 2], x [12, 1]; give one label an example"],
        ),
        ({"x": X, "y": Y / 1}, ["y is of type float64; give integers from 0"]),
        ({"x": X, "y": Y - 1}, ["y has a label -1; number classes from 0"]),
        (
            {"x": X, "y": Y.astype(np.uint64) + np.uint64(2**64 - 2)},
            ["y has a label 18446744073709551614; number classes from 0"],
        ),
        ({"x": X, "y": Y + 11}, ["a label is 12, of 12 examples; number classes from 0"]),
        ({"x": X + 1j, "y": Y}, ["x is of type complex128; give real numbers"]),
        ({"x": X.astype(str), "y": Y}, ["x is of type <U32; give real numbers"]),
        (
            {"x": np.where(X == 5, np.nan, X), "y": Y},
            ["x[5] is not finite in float32; mend or drop it"],
        ),
        (
            {"x": np.where(X == 7, 1e39, X), "y": Y},
            ["x[7] is not finite in float32; mend it, or give --scale"],
        ),
        ({"x": X[:0], "y": Y[:0]}, ["x has shape [0, 1]; there is nothing to learn from"]),
        ({"x": X[:, :0], "y": Y}, ["x has shape [12, 0]; there is nothing to learn from"]),
        (
            {"x": X, "y": Y, "x_test": X[:0], "y_test": Y[:0]},
            ["x_test has shape [0, 1]; there is nothing to learn from"],
        ),
        (
            {"x": X.astype(object), "y": Y.astype(object)},
            ["x is of type object; give real numbers", "y is of type object; give integers from 0"],
        ),
        ({"x": X, "y": Y.astype(complex)}, ["y is of type complex128; give integers from 0"]),
        (
            {"x": X, "y": Y, "x_test": np.array(["a"]), "y_test": Y},
            [
                "x_test is of type <U1; give real numbers",
                "x_test has shape [1]; give [examples, inputs], images flattened",
            ],
        ),
    ],
)
def test_a_users_file_that_will_not_do(arrays, faults):
    with npz(**arrays) as path:
        assert message(path).splitlines() == [f"--dataset {path}: {fault}" for fault in faults]


def test_a_users_file_that_is_none(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for path in (tmp_path / "nowhere.npz", tmp_path / "folder.npz"):
        assert message(path) == (
            f"--dataset {path}: no such file; give a file that numpy.savez wrote"
        )
    too_long = tmp_path / ("a" * 300 + ".npz")
    assert message(too_long) == f"--dataset {too_long}: cannot be read (File name too long)"
    path = tmp_path / "mine.npz"
    path.write_bytes(b"")
    assert message(path) == (
        f"--dataset {path}: is not a whole .npz file; write it by numpy.savez again"
    )
    with path.open("wb") as file:
        np.save(file, X)
    assert message(path) == (
        f"--dataset {path}: holds one array without a name; write x and y by numpy.savez"
    )


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_users_file_never_ends_in_a_traceback(data):
    with npz(x=X, y=Y) as path:
        content = bytearray(Path(path).read_bytes())
        where = data.draw(st.integers(0, len(content) - 1), "where")
        content[where] ^= data.draw(st.integers(1, 255), "bits flipped")
        end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))), "end")
        Path(path).write_bytes(content[:end])
        # Some bytes do not matter (the date of a member); then the file is read as it was.
        with contextlib.suppress(RuleSearchError):
            read = load_data(path, shape=TINY)
            assert sorted(np.concatenate([read.search.rows, read.held_out.rows])) == list(range(12))


# --- what the archive and its headers say ---


def array_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header_of(text, version=b"\1\0"):
    """The bytes before an array, which say whatever is wanted."""
    text = text.encode() + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


@contextlib.contextmanager
def archive(tmp_path, *members, compression=zipfile.ZIP_STORED):
    """An archive with these (name, bytes), names more than once too."""
    path = tmp_path / "mine.npz"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as file:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            file.writestr(name, content)
    yield path


GOOD_X, GOOD_Y = ("x.npy", array_bytes(X)), ("y.npy", array_bytes(Y))
HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1), }"


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        (
            [("x.npy", b"not an array"), GOOD_Y],
            "x is not an array; write it by numpy.savez",
        ),
        ([("x", b""), GOOD_Y], "x is not an array; write it by numpy.savez"),
        (
            [("x.npy", header_of(HUGE) + bytes(96)), GOOD_Y],
            "x is [1000000000000, 1] of float64 by its header, 8,000,000,000,000 bytes, and holds "
            "96; write it by numpy.savez again",
        ),
        (
            [("x.npy", array_bytes(X) + b"more"), GOOD_Y],
            "x is [12, 1] of float64 by its header, 96 bytes, and holds 100; "
            "write it by numpy.savez again",
        ),
        (
            [("x.npy", header_of(HUGE.replace("1000000000000", "-12"))), GOOD_Y],
            "x is [-12, 1] of float64 by its header, -96 bytes, and holds 0; "
            "write it by numpy.savez again",
        ),
        ([GOOD_X, GOOD_X, GOOD_Y], "has x 2 times; write it by numpy.savez, once"),
        (
            [GOOD_X, ("x", array_bytes(X)), GOOD_Y],
            "has x 2 times; write it by numpy.savez, once",
        ),
        ([("mine/x.npy", array_bytes(X)), GOOD_Y], "has no x (it has mine/x, y); name them so"),
        *(
            ([("x.npy", header), GOOD_Y], "is not a whole .npz file; write it by numpy.savez again")
            for header in (
                b"\x93NUMPY",
                header_of(HUGE, version=b"\7\0"),
                header_of("{"),
                header_of("(" * 5000),
                header_of("{'descr': (), 'fortran_order': False, 'shape': (1,), }"),
                header_of("{'descr': '<f8', 'fortran_order': False, 'shape': (2.0,), }"),
            )
        ),
    ],
)
def test_an_archive_that_is_not_what_it_says(tmp_path, members, fault):
    with archive(tmp_path, *members) as path:
        assert message(path) == f"--dataset {path}: {fault}"


def test_an_entry_that_nobody_asks_for_is_not_looked_at(tmp_path):
    with archive(tmp_path, GOOD_X, GOOD_Y, ("notes.txt", b"made by hand")) as path:
        assert load_data(path.as_posix(), shape=TINY).inputs == 1


def test_what_expands_beyond_the_bound_is_not_expanded(tmp_path):
    """A gigabyte of zeros in one megabyte."""
    path = tmp_path / "mine.npz"
    examples = LARGEST // 64 + 1
    header = header_of(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({examples}, 64), }}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("y.npy", array_bytes(Y))
        with file.open("x.npy", "w") as member:
            member.write(header)
            for _ in range(examples // 2**16 + 1):
                member.write(bytes(64) * min(2**16, examples))
                examples -= min(2**16, examples)
    with zipfile.ZipFile(path) as file:
        unpacked = sum(member.file_size for member in file.infolist())
    assert LARGEST < unpacked < 1.001 * LARGEST
    tracemalloc.start()
    said = message(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"--dataset {path}: unpacks to {unpacked:,} bytes, at most {LARGEST:,}" in said
    assert peak < 2**24  # NumPy and zlib tell tracemalloc of their memory


def test_bytes_that_the_file_does_not_have_are_not_believed(tmp_path):
    """Table of contents and header agree on four gigabytes that are not there."""
    said = 2**32 - 2**10  # the most that 32 bits hold, almost
    header = header_of(HUGE.replace("1000000000000", f"{said // 8}"))
    with archive(tmp_path, ("x.npy", header + bytes(96)), GOOD_Y) as path:
        content = path.read_bytes()
    sizes = [(len(header) + n).to_bytes(4, "little") * 2 for n in (96, said)]
    assert content.count(sizes[0]) == 2  # of the entry, and in the table of contents
    path.write_bytes(content.replace(*sizes))
    assert message(path).splitlines()[0] == (
        f"--dataset {path}: says that it holds more bytes than its {len(content):,}; "
        "write it by numpy.savez again"
    )


def test_an_encrypted_entry_is_named(tmp_path):
    with archive(tmp_path, GOOD_X, GOOD_Y) as path:
        content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(signature) + place] |= 1  # the flag that PKZIP's format has for it
    path.write_bytes(content)
    assert message(path) == (
        f"--dataset {path}: x is encrypted; write it by numpy.savez, without a password"
    )


def test_a_compression_that_numpy_does_not_write(tmp_path):
    with archive(tmp_path, GOOD_X, GOOD_Y, compression=zipfile.ZIP_BZIP2) as path:
        assert message(path).splitlines() == [
            f"--dataset {path}: {key} is compressed as NumPy never does; write it by numpy.savez"
            for key in ("x", "y")
        ]


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "?", "<f2", ">f4", ">i8", "g"])
def test_whatever_numpy_writes_of_a_real_type_is_read(tmp_path, write, order, dtype):
    x = np.asarray(np.arange(24).reshape(12, 2) % (2 if dtype == "?" else 24), dtype, order=order)
    path = tmp_path / "mine.npz"
    write(path, x=x, y=Y.astype(">u2"))
    read = read_npz(str(path)).train
    assert read.x.dtype == np.float32
    assert read.x.tolist() == x.tolist()
    assert read.y.tolist() == Y.tolist()


@given(st.data())
@settings(max_examples=150)
def test_a_damaged_header_in_a_sound_archive_never_ends_in_a_traceback(data):
    content = bytearray(array_bytes(X))
    for _ in range(data.draw(st.integers(1, 3), "bytes")):
        content[data.draw(st.integers(0, 127), "where")] = data.draw(st.integers(0, 255), "byte")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of headers that Python 2 wrote
        with (
            archive(Path(folder), ("x.npy", bytes(content)), GOOD_Y) as path,
            contextlib.suppress(RuleSearchError),
        ):
            load_data(str(path), shape=TINY)
