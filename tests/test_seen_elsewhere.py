"""What a search has seen and where its networks were stays known, through maps, files and pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from test_evaluate import DELTA

from rulesearch.data import TaskShape, load_data
from rulesearch.data.apart import Searched, _digests, load_apart, seen_before
from rulesearch.report.page import without_source
from rulesearch.rule import Sought, rule_to_plain
from rulesearch.search.config import Config
from rulesearch.search.worlds import worlds_for

SHAPE = TaskShape(5, 50, 10)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The digits in another order, from 0 to 16 and from 0 to 1."""
    folder = tmp_path_factory.mktemp("files")
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    for name, most in (("sixteen", 1), ("unit", 16)):
        np.savez(folder / f"{name}.npz", x=(x[order] / most).astype("f4"), y=y[order])
    return folder


def learned_from(aside, data):
    seen = set(_digests(data.search.x))
    return sum(digest in seen for digest in _digests(aside.held_out.x))


@pytest.mark.parametrize(("name", "scale"), [("sixteen", True), ("unit", False)])
def test_a_map_between_two_data_sets_hides_no_image(files, name, scale):
    """The whole of one is the other, so that nothing is left."""
    file = str(files / f"{name}.npz")
    data = load_data(file, shape=SHAPE, scale=scale)
    searched = Searched((file,), SHAPE, 0, (data.scale,) if data.scale else ())
    with pytest.raises(Exception, match="no image is left that no search used"):
        load_apart("digits", None, TaskShape(5, 1, 10), [searched])
    before = Searched(("digits",), SHAPE)
    with pytest.raises(Exception, match="no image is left that no search used"):
        load_apart(file, None, TaskShape(5, 1, 10), [before], scale=scale)


def test_half_of_the_images_are_known_again_by_their_map(files):
    x, y = (np.load(files / "sixteen.npz")[name] for name in "xy")
    file = files / "half.npz"
    np.savez(file, x=x[:900], y=y[:900])
    data = load_data(str(file), shape=TaskShape(5, 5, 5), scale=True)
    searched = Searched((str(file),), TaskShape(5, 5, 5), 0, (data.scale,))
    here = load_apart("digits", None, TaskShape(5, 1, 10), [searched])
    assert learned_from(here, data) == 0
    assert any("images left out that a search's data have too" in note for note in here.notes)
    seen, _ = seen_before(load_data("digits", shape=SHAPE), None, [searched])
    assert seen > 100


def test_what_is_mapped_for_an_evaluation_is_looked_at_and_told(tmp_path):
    draw, y = np.random.default_rng(0), np.repeat([0, 1, 2, 5], 10)
    file = tmp_path / "clipped.npz"
    np.savez(file, x=draw.random((40, 3)), y=y, x_test=3 * draw.random((40, 3)), y_test=y)
    data = load_apart(str(file), None, TaskShape(2, 2, 2), scale=True)
    assert len(np.unique(data.held_out.x, axis=0)) == len(data.held_out.x) == 27
    left, mapped = data.notes
    assert left == "left out: 13 images that are others' once they are mapped"
    assert "inputs of the images set aside lay beyond, and became 0 or 1" in mapped


def test_a_network_given_with_its_ends_has_the_hidden_layers_elsewhere():
    digits = load_data("digits", shape=SHAPE)
    config, _ = worlds_for(Config(layers=(64, 6, 10)), [digits])
    assert config.networks == ((6,),)
    config, _ = worlds_for(Config(layers=((64, 6, 10), (20, 10))), [digits])
    assert config.networks == ((6,), (20, 10))
    for sizes in ((64, 64, 30, 10, 10), (64, 10)):
        config, (world,) = worlds_for(Config(layers=sizes), [digits])
        assert world.sizes == Config(layers=sizes).sizes(64, 10)
        again, _ = worlds_for(config, [digits])
        assert again == config


def test_a_rule_without_its_source_says_what_it_has_seen():
    before = Sought(dataset="/a/b/mine.npz", layers=((6,),), ways=2, shots=3, queries=2)
    sought = replace(before, dataset="digits", begun=before)
    plain = without_source(rule_to_plain(replace(DELTA, sought=sought, source="/home/me/run")))
    assert "source" not in plain
    assert plain["sought"]["dataset"] == "digits"
    assert plain["sought"]["begun"]["dataset"] == "mine.npz"
