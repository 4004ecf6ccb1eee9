"""Classes that no search sees: which they are, and that the evaluation is of them alone."""

from dataclasses import replace

import numpy as np
import pytest
from commands import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st
from npz_files import npz, numbered

from rulesearch.data import TaskShape, draw_tasks, load_data
from rulesearch.data.divide import classes_for_evaluation
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool
from rulesearch.search import prepare
from rulesearch.search.__main__ import main

SHAPE = TaskShape(ways=2, shots=2, queries=1)


@st.composite
def divisions(draw):
    """Images by class, some classes without any, and how many classes to keep."""
    counts = draw(st.lists(st.sampled_from([0, 6, 9]), min_size=4, max_size=8))
    present = sum(count > 0 for count in counts)
    kept = draw(st.integers(2, max(2, present - 2)))
    return ([9, 9, 9, 9], 2) if present < 4 else (counts, kept)


@given(divisions(), st.booleans(), st.booleans())
@settings(max_examples=40)
def test_the_search_has_no_image_of_the_classes_for_the_evaluation(case, own_split, scaled):
    counts, kept = case
    x, y = numbered(counts)
    # A second pixel tells images apart where the first lies beyond the range of the search's.
    test = np.hstack([x + len(y), (x + len(y)) / 9])
    more = {"x_test": test, "y_test": y} if own_split else {}
    with npz(x=np.hstack([x, x / 9]), y=y, **more) as path:
        whole = load_data(path, shape=SHAPE, scale=scaled)
        data = load_data(path, shape=SHAPE, scale=scaled, held_out_classes=kept)
    apart = {*data.held_out.labels.tolist()}
    assert len(apart) == kept
    assert apart.isdisjoint(data.search.labels.tolist())
    assert apart | {*data.search.labels.tolist()} == {*y.tolist()}
    # Of its classes each part has all that it has otherwise, and the network all outputs.
    for part, before in ((data.search, whole.search), (data.held_out, whole.held_out)):
        mine = np.isin(before.labels, [*apart]) == (part is data.held_out)
        assert part.rows.tolist() == before.rows[mine].tolist()
        assert part.classes == whole.classes == max(y) + 1
        assert f"{len(part.rows):,} of them" in part.source
    listed = ", ".join(map(str, sorted(apart)))
    assert data.held_out.source.endswith(f"of the classes {listed}") or scaled
    assert (data.held_out_classes, whole.held_out_classes) == (kept, 0)


def test_tasks_are_of_either_side_s_classes():
    data = load_data("digits", shape=TaskShape(), held_out_classes=5)
    apart = {*data.held_out.labels.tolist()}
    found = draw_tasks(data.held_out, TaskShape(), range(20))
    assert {*found.labels.flatten().tolist(), *found.query_labels.flatten().tolist()} == apart
    found = draw_tasks(data.search, TaskShape(), range(20))
    assert apart.isdisjoint(found.labels.flatten().tolist())


@given(st.integers(2, 50), st.data())
def test_fewer_classes_are_among_more(present, data):
    numbers = np.arange(present)
    more = data.draw(st.integers(1, present))
    fewer = data.draw(st.integers(0, more))
    chosen = classes_for_evaluation(numbers, more).tolist()
    assert {*classes_for_evaluation(numbers, fewer).tolist()} <= {*chosen}
    assert chosen == sorted({*chosen})


@pytest.mark.parametrize(
    ("ways", "kept", "way_out"),
    [
        (2, 1, "a task has 2 classes, others for the evaluation than for the search, and digits "
         "has 10; give 2 to 8"),
        (4, 7, "a task has 4 classes, others for the evaluation than for the search, and digits "
         "has 10; give 4 to 6"),
        (6, 5, "a task has 6 classes, others for the evaluation than for the search, and digits "
         "has 10; at most --ways 5 leaves enough for both"),
    ],
)  # fmt: skip
def test_too_few_classes_on_one_side(capsys, ways, kept, way_out):
    flags = [*("--term", "-e_post*y_pre", "--ways", str(ways), "--held-out-classes", str(kept))]
    assert main([*flags, "--quiet"]) == 2
    assert capsys.readouterr().err == f"--held-out-classes {kept}: {way_out}\n"


def test_options_and_data_say_the_same():
    pool = Pool(F0="-e_post*y_pre")
    data = load_data("digits", shape=SMALL.shape, held_out_classes=3)
    assert prepare(pool, data, SMALL).config.held_out_classes == 3
    with pytest.raises(RuleSearchError) as raised:
        prepare(pool, data, replace(SMALL, held_out_classes=4))
    assert raised.value.lines == (
        "held_out_classes=4: the data keep 3 from the search; load them by "
        "load_data(..., held_out_classes=4)",
    )
