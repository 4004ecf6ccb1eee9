"""Inputs mapped to [0, 1]: by whose range, what lies beyond it, and what is kept of the map."""

import json
import re
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from commands import SMALL
from hypothesis import given
from hypothesis import strategies as st
from npz_files import TINY, npz, numbered

from rulesearch.data import TaskShape, load_data
from rulesearch.data.apart import Searched, load_apart
from rulesearch.data.scale import mapped
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool
from rulesearch.result import Result
from rulesearch.rule import Rule, Sought, rule_from_plain, toml_of
from rulesearch.search import prepare, search
from rulesearch.search.__main__ import main

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def scaled(scale=True, shape=TINY, **arrays):
    with npz(**arrays) as path:
        return load_data(path, shape=shape, scale=scale)


def told_apart(counts, first_pixel=0):
    """Numbered images, and a second pixel that tells them apart where the first is at an end."""
    x, y = numbered(counts, first_pixel)
    return np.hstack([x, (x - first_pixel) / 7 + abs(first_pixel) / 100]), y


def test_integer_pixels_become_shares_of_their_range():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 30), np.uint8), numbered([20, 20])[1]
    x[0, 0], x[1, 1] = 0, 255
    with npz(x=x, y=y, x_test=x // 2 + 1, y_test=y) as path:
        data = load_data(path, shape=TINY, scale=True)
    # One rounding of an exact quotient: half a unit in the last place of float32.
    np.testing.assert_allclose(data.search.x, x[data.search.rows] / 255, rtol=2**-24)
    assert data.scale == (0, 255)
    assert data.search.source.endswith("; inputs mapped from [0, 255] to [0, 1]")
    assert data.notes == ("inputs mapped from [0, 255] to [0, 1]",)


def test_the_range_is_that_of_the_search_and_what_is_beyond_becomes_an_end():
    (x, y), (x_test, y_test) = told_apart([6, 6]), told_apart([4, 4], first_pixel=-3)
    data = scaled(x=x, y=y, x_test=x_test, y_test=y_test)
    assert data.scale == (0, 11)
    assert (data.search.x.min(), data.search.x.max()) == (0, 1)
    expected = np.clip(x_test[data.held_out.rows, 0], 0, 11) / 11
    np.testing.assert_allclose(data.held_out.x[:, 0], expected, rtol=2**-24)
    said = "inputs mapped from [0, 11] to [0, 1]"
    assert data.notes == (
        f"{said}; 3 inputs of the images set aside lay beyond, and became 0 or 1",
    )
    assert data.held_out.source == f"all 8 images of the test split; {said}"


def test_images_set_aside_have_no_say_in_the_range():
    x, y = told_apart([9, 9])
    with npz(x=x, y=y) as path:
        aside = load_data(path, shape=TINY).held_out.rows
    wide = x.copy()
    wide[aside[0], 0] = 1e6
    data, wider = scaled(x=x, y=y), scaled(x=wide, y=y)
    assert data.scale == wider.scale == (data.scale[0], data.scale[1])
    assert np.array_equal(data.search.x, wider.search.x)
    assert wider.held_out.x.max() == 1


def test_a_range_that_was_kept_is_used_again():
    x, y = told_apart([9, 9])
    once = scaled(x=x, y=y)
    moved = x + np.array([5, 0])
    other = scaled(x=moved, y=y, scale=once.scale)
    (least, most), theirs = once.scale, moved[other.search.rows]
    expected = (np.clip(theirs, least, most) - least) / (most - least)
    np.testing.assert_allclose(other.search.x, expected, rtol=2**-23)
    assert other.scale == once.scale
    beyond = int((theirs > most).sum())
    assert beyond > 0
    assert f"; {beyond} inputs of the images for the search lay beyond" in other.notes[0]
    assert scaled(x=x, y=y, scale=once.scale).digest == once.digest


@given(st.lists(FINITE, min_size=1, max_size=6), FINITE, FINITE)
def test_whatever_is_finite_is_mapped_into_0_to_1_in_order(values, least, most):
    if not least < most:
        return
    found, beyond = mapped(np.array([sorted(values)]), (least, most))
    assert found.min() >= 0
    assert found.max() <= 1
    assert (np.diff(found) >= 0).all()
    assert beyond == sum(value < least or value > most for value in values)


@pytest.mark.parametrize(
    "spread",
    [lambda x: x + 1e9, lambda x: x * 1e300, lambda x: (x - 9) * 1.9e307, lambda x: x * 1e-300],
    ids=["far from 0", "beyond float32", "a range beyond float64", "tiny"],
)
def test_inputs_are_mapped_before_they_are_rounded_to_float32(spread):
    x, y = numbered([9, 9])
    plain, spread_out = scaled(x=x, y=y), scaled(x=spread(x), y=y)
    assert np.array_equal(spread_out.search.rows, plain.search.rows)
    # A few operations of float64 before the one rounding to float32; 1e9 costs 30 of 53 bits.
    np.testing.assert_allclose(spread_out.search.x, plain.search.x, rtol=2**-23, atol=2**-22)


def test_what_float32_cannot_tell_apart_after_the_map_is_the_same():
    x, y = told_apart([9, 9])
    data = scaled(x=np.concatenate([x, x * (1 + 1e-12)]), y=np.concatenate([y, y]))
    said = r"left out: (\d+) images that are others' once they are mapped"
    (gone,) = filter(None, (re.fullmatch(said, note) for note in data.notes))
    assert len(data.search.x) + len(data.held_out.x) + int(gone[1]) == 35  # 0 is 0
    assert len({*map(bytes, data.search.x)}) == len(data.search.x)
    search, held_out = ({*map(bytes, part.x)} for part in (data.search, data.held_out))
    assert not search & held_out


def test_digits_that_are_scaled_already_stay_as_they_are():
    plain = load_data("digits", shape=TaskShape())
    again = load_data("digits", shape=TaskShape(), scale=True)
    assert again.digest == plain.digest
    assert again.scale == (0, 1)
    assert plain.scale is None


class StopHereError(Exception):
    """The end of a search, somewhere in the middle."""


POOL = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre")


@pytest.fixture
def stopped(tmp_path):
    """Mapped data, and the run directory of a search of them that was stopped in its midst."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 5), np.uint8), np.repeat([0, 1], 20)
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    data = load_data(str(tmp_path / "mine.npz"), shape=SMALL.shape, scale=True)
    steps = []

    def stop_at_the_fourth(step):
        steps.append(step)
        if len(steps) == 4:
            raise StopHereError

    with pytest.raises(StopHereError):
        search(POOL, data, SMALL, run=tmp_path / "run", on_step=stop_at_the_fourth)
    return data, tmp_path / "run"


def test_a_run_keeps_its_map(stopped):
    data, run = stopped
    kept = json.loads((run / "config.json").read_text())["options"]
    assert (kept["scale"], kept["scale_ranges"]) == (True, [[*data.scale]])


@pytest.mark.slow
def test_a_run_goes_on_with_its_map(stopped):
    data, run = stopped
    assert main(["--resume", str(run), "--quiet"]) == 0
    resumed, whole = Result.load(run), search(POOL, data, replace(SMALL, scale=True))
    assert (resumed.theta, resumed.evaluation) == (whole.theta, whole.evaluation)
    said = "inputs mapped from [{:g}, {:g}] to [0, 1]".format(*data.scale)
    assert resumed.images["search"].endswith(f"; {said}")
    assert said in resumed.message
    assert resumed.config["scale_ranges"] == [[*data.scale]]


@pytest.mark.parametrize("scale", [(5.0, 5.0), (1.0, 0.0), (0.0, np.inf), (np.nan, 1.0)])
def test_what_is_no_range_is_refused(scale):
    with pytest.raises(RuleSearchError) as caught:
        load_data("digits", shape=TINY, scale=scale)
    assert str(caught.value) == (
        f"scale ({scale[0]:g}, {scale[1]:g}): give two finite numbers, the smaller one first"
    )


# --- several data sets, and a rule that leaves its run ---


@pytest.fixture
def two_files(tmp_path):
    """Digits as bytes and as shares, each with a range of its own."""
    digits = load_data("digits", shape=SMALL.shape)
    x = np.concatenate([digits.search.x, digits.held_out.x])
    y = np.concatenate([digits.search.labels, digits.held_out.labels])
    paths = [str(tmp_path / name) for name in ("bytes.npz", "halves.npz")]
    np.savez(paths[0], x=x * 255, y=y)
    np.savez(paths[1], x=x / 2 + 0.001, y=y)
    return paths


def test_each_data_set_has_a_map_of_its_own(two_files):
    data = [load_data(path, shape=SMALL.shape, scale=True) for path in two_files]
    config = prepare(POOL, data, replace(SMALL, dataset="digits")).config
    assert config.scale_ranges == tuple(each.scale for each in data)
    assert config.scales == config.scale_ranges
    assert replace(config, scale_ranges=()).scales == (True, True)
    mixed = [data[0], load_data(two_files[1], shape=SMALL.shape)]
    config = prepare(POOL, mixed, replace(SMALL, dataset="digits")).config
    assert config.scales == (data[0].scale, False)  # going on maps the same, and no others


def test_a_rule_is_tried_by_the_map_of_its_search(two_files):
    ends = ((0.0, 255.0), (0.001, 0.501))
    before = Searched(tuple(two_files), SMALL.shape, scales=ends)
    for path, own in zip(two_files, ends, strict=True):
        data = load_apart(path, None, SMALL.shape, [before])
        assert data.scale == own
        assert 0 <= data.held_out.x.min() < data.held_out.x.max() <= 1


def test_searches_that_mapped_otherwise_are_not_tried_together(two_files):
    first, second = (Searched((two_files[0],), SMALL.shape, scales=s) for s in ((), ((0.0, 9.0),)))
    with pytest.raises(RuleSearchError) as caught:
        load_apart(two_files[0], None, SMALL.shape, [first, second])
    assert str(caught.value) == (
        f"--dataset {two_files[0]}: rules were sought with its inputs as they are and mapped from "
        "[0, 9]; try them one at a time"
    )


def test_a_rule_says_of_each_data_set_how_it_was_mapped():
    said = {"dataset": "a.npz,b.npz", "layers": ((4,),), "ways": 2, "shots": 1, "queries": 1}
    sought = Sought(**said, scale_ranges=((0, 255), ()))
    text = toml_of(Rule("F", POOL, (0.1,) * len(POOL), sought=sought))
    assert rule_from_plain(tomllib.loads(text)).sought == sought
    for wrong in (((0, 255),), ((0, 255), (1,))):
        with pytest.raises(RuleSearchError, match=r"give for each of a\.npz, b\.npz the two"):
            Sought(**said, scale_ranges=wrong)
