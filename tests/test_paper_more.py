"""Figures 1 and S1, 6 and S3, and equation S.2 of benchmarks/paper."""

import csv
import itertools

import numpy as np
import pytest
import torch

from benchmarks.paper import eqs2, expectation, fig1, fig6, flow, online, store
from benchmarks.paper.flow import B, W, e, y
from benchmarks.paper.targets import Setting
from rulesearch.data import TaskShape, load_data
from rulesearch.data.tasks import ImageSet
from rulesearch.notation import Pool

F0 = "-e_post*y_pre"
F2 = "-e_post*e_pre"
OJA = "y_post*y_pre - y_post*sum_post(y_post*W)"

# --- figures 6 and S3 ----------------------------------------------------------------------------

TWO_LAYERS = {
    (y(0), y(1)): "forward",
    (W(1), y(1)): "forward",
    (y(1), y(2)): "forward",
    (W(2), y(2)): "forward",
    (y(2), e(2)): "forward",
    (e(2), e(1)): "backward",
    (B(2, 1), e(1)): "backward",
    (y(1), e(1)): "gate",
    (y(0), W(1)): "activity",
    (e(1), W(1)): "error",
    (y(1), W(2)): "activity",
    (e(2), W(2)): "error",
}


def kinds(graph):
    return {(a, b): kind for a, b, kind in graph.edges(data="kind")}


def test_the_graph_of_two_layers_is_that_of_the_equations():
    assert kinds(flow.information_flow(Pool(F0=F0), 2)) == TWO_LAYERS


def test_ehebb_in_the_second_layer_adds_the_way_from_its_lower_error():
    graph = flow.information_flow(Pool(F0=F0, F2=F2, where={"F2": (2,)}), 2)
    assert kinds(graph) == {**TWO_LAYERS, (e(1), W(2)): "error"}
    assert graph.edges[e(1), W(2)]["terms"] == ("F2",)
    assert graph.edges[e(2), W(2)]["terms"] == ("F0", "F2")


def test_the_error_of_the_input_is_there_where_a_term_reads_it():
    first = flow.information_flow(Pool(F0=F0, F2=F2, where={"F2": (1,)}), 2)
    assert kinds(first) == {
        **TWO_LAYERS,
        (e(1), e(0)): "backward",
        (B(1, 0), e(0)): "backward",
        (y(0), e(0)): "gate",
        (e(0), W(1)): "error",
    }


def test_oja_reads_no_error():
    graph = flow.information_flow(Pool(F9=OJA), 1)
    assert kinds(graph) == {
        (y(0), y(1)): "forward",
        (W(1), y(1)): "forward",
        (y(0), W(1)): "activity",
        (y(1), W(1)): "activity",
    }


def test_backprop_has_the_weights_where_others_have_feedback():
    graph = flow.information_flow(Pool(F0=F0), 2, "symmetric")
    assert kinds(graph) == {
        **{edge: kind for edge, kind in TWO_LAYERS.items() if edge[0] != B(2, 1)},
        (W(2), e(1)): "backward",
    }


def test_direct_feedback_comes_from_the_output():
    graph = flow.information_flow(Pool(F0=F0), 3, "direct")
    assert {node for node in graph if node.letter == "B"} == {B(3, 1), B(3, 2)}
    assert not graph.has_edge(e(2), e(1))


# Counted by hand: an error that came through B is read in the same iteration, and what an earlier
# layer has learned in this way reaches the later ones in the next.
BY_HAND = {
    "6a": {(B(2, 1), W(1)): 1, (B(2, 1), W(2)): 2},
    "6b": {(B(2, 1), W(1)): 1, (B(2, 1), W(2)): 1},
    "S3a": {
        (B(2, 1), W(1)): 1, (B(2, 1), W(2)): 2, (B(2, 1), W(3)): 2,
        (B(3, 2), W(1)): 1, (B(3, 2), W(2)): 1, (B(3, 2), W(3)): 2,
    },
    "S3b": {
        (B(2, 1), W(1)): 1, (B(2, 1), W(2)): 2, (B(2, 1), W(3)): 2,
        (B(3, 2), W(1)): 1, (B(3, 2), W(2)): 1, (B(3, 2), W(3)): 1,
    },
    "S3c": {
        (B(2, 1), W(1)): 1, (B(2, 1), W(2)): 1, (B(2, 1), W(3)): 2,
        (B(3, 2), W(1)): 1, (B(3, 2), W(2)): 1, (B(3, 2), W(3)): 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("panel", [*fig6.FIG6, *fig6.FIGS3], ids=lambda panel: panel.key)
def test_iterations_are_those_counted_by_hand(panel):
    assert flow.reach(panel.graph) == BY_HAND[panel.key]


@pytest.mark.parametrize("panel", [*fig6.FIG6, *fig6.FIGS3], ids=lambda panel: panel.key)
def test_iterations_are_those_of_a_network_that_learns_with_another_matrix(panel):
    assert flow.measured_reach(panel.pool, panel.depth) == BY_HAND[panel.key]


@pytest.mark.parametrize("where", [(1,), (2,), (1, 3), (1, 2, 3)], ids=str)
def test_the_graph_foretells_what_depends_on_what_for_other_rules(where):
    pool = Pool(F0=F0, F2=F2, F9=OJA, where={"F0": (2, 3), "F2": where})
    measured = flow.measured_reach(pool, 3)
    graph = flow.information_flow(pool, 3)
    expected = {(b, w): flow.iterations(graph, b, w) if b in graph else None for b, w in measured}
    assert measured == expected


def test_what_never_arrives_takes_no_number_of_iterations():
    graph = flow.information_flow(Pool(F0=F0, F9=OJA, where={"F0": (2,)}), 2)
    assert B(2, 1) not in graph  # no weights read e_1
    assert flow.iterations(graph, e(2), W(1)) is None


def test_the_shortest_way_is_the_one_of_the_paper():
    a, b = fig6.FIG6
    assert flow.shortest_edges(a.graph, a.source, a.target) == {
        (B(2, 1), e(1)), (e(1), W(1)), (W(1), y(1)), (y(1), W(2)),
    }  # fmt: skip
    assert flow.shortest_edges(b.graph, b.source, b.target) == {(B(2, 1), e(1)), (e(1), W(2))}


def test_a_claim_on_iterations_holds_where_graph_and_network_are_as_published():
    published = fig6.PUBLISHED["6a"]
    slower = {**published, (B(2, 1), W(2)): 3}
    verdicts = [
        fig6.as_published("6a", {"6a": fig6.Routes(derived, measured)}).parts[1][1].verdict
        for derived, measured in ((published, published), (published, slower), (slower, slower))
    ]
    assert verdicts == ["holds", "holds in part", "does not hold"]


def test_arrivals_number_the_edges_of_the_rule():
    panel = fig6.FIG6[1]
    assert flow.arrivals(panel.graph, panel.source) == {
        (e(1), W(1)): 1,
        (e(1), W(2)): 1,
        (y(1), W(2)): 2,
        (e(2), W(2)): 2,  # y_2 has what W_{0,1} learned in the first iteration
    }


def test_figure_6_is_written_with_its_table_and_claims(tmp_path):
    produced = fig6.TARGETS["fig6"].run(Setting(tmp_path, trials=2))
    assert [path.name for path in produced.figures] == ["fig6.svg", "fig6.pdf"]
    with produced.tables[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [
        (row["panel"], row["to"], row["iterations by the graph"], row["iterations in a network"])
        for row in rows
    ] == [("6a", "W01", "1", "1"), ("6a", "W12", "2", "2"), ("6b", "W01", "1", "1"),
          ("6b", "W12", "1", "1")]  # fmt: skip
    assert [claim.finding.verdict for claim in produced.judged] == ["holds", "holds"]


# --- equation S.2 --------------------------------------------------------------------------------

SIZES = (40, 30, 20, 10)


def tangent2(cosine):
    return 1 / cosine**2 - 1


@pytest.mark.parametrize(("layer", "post", "source"), [(1, 30, 20), (2, 20, 10)])
def test_in_the_ideal_case_only_sampling_keeps_the_cosine_from_1(layer, post, source):
    samples = 4096
    found = [expectation.ideal_cosines(SIZES, layer, [samples], seed)[0] for seed in range(8)]
    # |E Bᵀ|² sums at least post (post + 1)/2 = 210 independent squares, each with a relative
    # standard deviation of about √2: 10 % for one seed, 3.5 % for the mean of eight. Four times
    # that, and terms of order post/samples, which the prediction leaves out.
    expected = tangent2(expectation.predicted_cosine(samples, post, source))
    assert np.mean([tangent2(c) for c in found]) == pytest.approx(expected, rel=0.14 + 0.01)


def test_the_prediction_is_that_of_the_moments_of_normal_errors():
    # By hand: n = 2, m = 2, κ = 2, N = 7: (n - 1)κ + 3κ - 1 = 7, so cos 45°.
    assert expectation.predicted_cosine(7, 2, 2) == pytest.approx(2**-0.5, rel=1e-15)


def random_network(images=50, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    return expectation.Backward(
        output=draw(images, SIZES[-1]) - 0.3,
        gates=[draw(images, n) for n in SIZES[:-1]],
        feedback=[draw(a, b) - 0.5 for a, b in itertools.pairwise(SIZES)],
    )


def test_cosines_of_a_network_equal_loops_over_images_and_neurons():
    network = random_network(images=3)
    for layer in range(1, 4):
        matrix = network.feedback[layer - 1].numpy()
        mean = np.zeros((SIZES[layer], SIZES[layer - 1]))
        for image in range(3):
            errors = {3: network.output[image].numpy()}
            for to in (2, 1, 0):
                errors[to] = np.zeros(SIZES[to])
                for k in range(SIZES[to]):
                    sent = sum(
                        float(network.feedback[to][k, j]) * errors[to + 1][j]
                        for j in range(SIZES[to + 1])
                    )
                    errors[to][k] = sent * float(network.gates[to][image, k])
            mean += np.outer(errors[layer], errors[layer - 1])
        expected = (mean * matrix.T).sum() / np.sqrt((mean**2).sum() * (matrix**2).sum())
        # Some thousand operations in float64, none of them a cancellation to below a hundredth.
        assert expectation.network_cosines(network)[layer - 1] == pytest.approx(expected, rel=1e-11)


def test_with_every_assumption_given_up_it_is_the_network():
    network = random_network()
    last = list(expectation.TOGETHER.values())[-1]
    found = [expectation.departure_cosine(network, layer, last, 50, seed=0) for layer in (1, 2)]
    assert found == pytest.approx(expectation.network_cosines(network)[:2], rel=1e-11)


def test_with_none_given_up_it_is_the_ideal_case():
    samples = 4096
    found = [
        expectation.departure_cosine(
            random_network(seed=s), 2, expectation.Departure(), samples, seed=s
        )
        for s in range(8)
    ]
    expected = tangent2(expectation.predicted_cosine(samples, 20, 10))
    assert np.mean([tangent2(c) for c in found]) == pytest.approx(expected, rel=0.14 + 0.01)


def test_one_fixed_matrix_above_leaves_the_cosine_of_its_spectrum():
    # For C = B Bᵀ, n x m with independent entries: tr C = nm, |C|² = nm(n + m + 1), so the cosine
    # of C Bᵀ with Bᵀ is √(m/(n + m + 1)), up to fluctuations of relative size about 1/√(nm) and
    # √(1/n pre) in the two norms: 3 % for the sizes here. Sampling takes 1 % more.
    n, m = 100, 50
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    network = expectation.Backward(
        draw(64, m), [torch.ones(64, 200), torch.ones(64, n)], [draw(200, n), draw(n, m)]
    )
    found = expectation.departure_cosine(
        network, 1, expectation.Departure(fixed=True), 8192, seed=2
    )
    assert found == pytest.approx((m / (n + m + 1)) ** 0.5, rel=0.04)


def test_each_of_the_four_departures_is_alone_once_and_together_at_the_end():
    fields = ("fixed", "correlated", "biased", "gated")
    alone = [tuple(getattr(d, f) for f in fields) for d in expectation.ALONE.values()]
    assert alone[:5] == [
        (False, False, False, False),
        *(tuple(f == g for g in fields) for f in fields),
    ]
    together = [sum(getattr(d, f) for f in fields) for d in expectation.TOGETHER.values()]
    assert together == [0, 1, 2, 3, 4]


def learns(images, theta, shape=TaskShape(3, 4, 2), seeds=(5, 6)):  # noqa: B008
    return expectation.networks_of(
        Pool(F0=F0), theta, images, shape, (images.x.shape[1], 8, 6, images.classes), seeds
    )


def test_networks_that_do_not_learn_are_as_before():
    found = learns(images(), [0.0])
    assert found["errors"].shape == found["weights"].shape == (2, 3)
    assert np.array_equal(found["errors"], found["errors before"])
    assert np.array_equal(found["weights"], found["weights before"])


def test_the_slope_is_that_of_the_logarithms():
    # tan² = 3/N for one layer and 5/√N for the other.
    samples = np.array(expectation.SAMPLES)
    tangents = np.stack([3 / samples, 5 / np.sqrt(samples)])[None]
    ideal = 1 / np.sqrt(1 + tangents)
    # Some ten operations; 1/cos² - 1 loses up to three digits where tan² is 3/4096.
    assert eqs2.slopes(ideal) == pytest.approx(np.array([[-1.0, -0.5]]), rel=1e-10)


def made_up_cosines(error, weights):
    layers = range(1, len(SIZES) - 1)
    ideal = np.array([
        [expectation.predicted_cosine(n, *SIZES[layer : layer + 2]) for n in expectation.SAMPLES]
        for layer in layers
    ])  # fmt: skip
    trials = np.ones((3, 1))
    names = [*expectation.ALONE, *expectation.TOGETHER]
    return eqs2.Cosines(
        SIZES,
        ideal=np.stack([ideal] * 3),
        errors=dict.fromkeys((eqs2.START, *eqs2.RULES), trials * error),
        weights={"feedback alignment": trials * [0, 0, 0], "eHebb": trials * weights},
        departures={name: trials * [0.5, 0.6] for name in names},
    )


def test_claims_on_equation_s2_are_judged_layer_by_layer():
    seen = made_up_cosines(error=[0.95, 0.2, -0.3], weights=[0.1, -0.1, 0.9])
    found = {claim.key: claim.judge(seen).verdict for claim in eqs2.CLAIMS}
    # tan² of the prediction is 1/N exactly, so the slope is -1; the output layer is not asked.
    assert found == {
        "eqS2-ideal": "holds",
        "eqS2-samples": "holds",
        "eqS2-networks": "holds",
        "eqS2-reasonable": "holds in part",
        "eqS2-weights": "holds in part",
    }


def test_equation_s2_is_drawn_and_tabulated(tmp_path):
    seen = made_up_cosines(error=[0.5, 0.2, 0.1], weights=[0.1, 0.1, 0.1])
    figure = eqs2.draw(seen)
    labels = [text.get_text() for axes in figure.axes for text in axes.get_xticklabels()]
    assert {*expectation.ALONE, *expectation.TOGETHER} <= set(labels)
    table = eqs2.columns(seen)
    row = list(zip(table["matrix"], table["case"], table["layer"], strict=True)).index(
        ("mean of errors", "bio", 2)
    )
    assert table["cosine with B transposed"][row] == pytest.approx(0.2, rel=1e-15)


# --- figures 1 and S1 ----------------------------------------------------------------------------


def images(count=40, inputs=12, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.permutation(np.arange(count) % classes)).astype(np.int64)
    x = rng.random((count, inputs), dtype=np.float32) * 0.3
    x[np.arange(count), labels] += 0.7  # a pixel of its own for each class
    starts = np.flatnonzero(np.diff(labels, prepend=-1, append=classes))
    return ImageSet("made up", "all", classes, x, labels, np.arange(count), starts)


def test_a_stream_passes_over_the_images_in_epochs_of_their_own_order():
    made = images()
    found = online.streams(made, [3, 4], steps=75, validation=10)
    assert found.x.shape == (2, 75, 12)
    where = {row.tobytes(): i for i, row in enumerate(made.x)}
    for trial in range(2):
        order = [where[row.numpy().tobytes()] for row in found.x[trial]]
        aside = [where[row.numpy().tobytes()] for row in found.validation_x[trial]]
        assert [int(made.labels[i]) for i in order] == found.labels[trial].tolist()
        rest = set(range(40)) - set(aside)
        assert len(aside) == 10
        assert set(order[:30]) == set(order[30:60]) == rest
        assert len(set(order[60:])) == 15
        assert order[:30] != order[30:60]


def test_learning_begins_where_two_points_in_a_row_are_above_twice_chance():
    accuracy = np.array(
        [[0.1, 0.25, 0.19, 0.3], [0.1, 0.2, 0.2, 0.1], [0.1, 0.1, 0.1, 0.9], [0.3, 0.4, 0.5, 0.6]]
    )
    assert online.onset(accuracy, (0, 10, 20, 30)).tolist() == [30, 10, 30, 0]


def test_the_value_at_a_number_of_examples_is_the_last_point_seen():
    values = np.array([[0.0, 1.0, 2.0]])
    assert [online.at(values, (0, 10, 20), n).item() for n in (0, 9, 10, 19, 20, 99)] == [
        0, 0, 1, 1, 2, 2,
    ]  # fmt: skip


def test_the_best_rate_says_when_it_is_the_last_of_the_grid():
    inner = online.RateSearch((0.5, 1.0, 2.0), np.array([0.1, 0.3, 0.2]))
    outer = online.RateSearch((0.5, 1.0, 2.0), np.array([0.1, 0.2, 0.3]))
    assert (inner.best, inner.at_edge, outer.best, outer.at_edge) == (1.0, False, 2.0, True)


POINTS = (0, 100, 500, 1000, 2000, 3000)


def made_up_courses(**accuracy):
    seen = {key: np.stack([np.array(row, dtype=float)] * 3) for key, row in accuracy.items()}
    angle = np.full((3, len(POINTS), 3), 80.0)
    angle[:, :, 1] = 50.0
    angles = dict.fromkeys(online.COLUMNS, angle)
    return online.Courses(
        POINTS, dict.fromkeys(online.COLUMNS, seen), angles, angles, dict.fromkeys(seen, 1.0), ()
    )


COURSES = {
    "BP": [0.0, 0.2, 0.6, 0.7, 0.8, 0.8],
    "FA": [0.0, 0.1, 0.1, 0.1, 0.2, 0.5],
    "bio": [0.0, 0.1, 0.5, 0.7, 0.8, 0.8],
    "DFA": [0.0, 0.1, 0.1, 0.3, 0.5, 0.7],
    "sign-symmetric": [0.0, 0.2, 0.6, 0.7, 0.8, 0.8],
}


def test_claims_on_figure_1_are_judged_from_the_courses():
    found = {
        claim.key: claim.judge(made_up_courses(**COURSES)).verdict
        for claims in fig1.CLAIMS.values()
        for claim in claims
    }
    # Backprop begins at 100, direct feedback at 1000, feedback alignment at 2000; signs alone
    # close the gap; the angle of one of the two layers is below 60 degrees.
    assert found == {
        "fig1-fa-begins": "holds",
        "fig1-bp-begins": "holds",
        "fig1-bp-sooner": "holds",
        "fig1-fa-slower": "holds",
        "fig1-angles": "holds in part",
        "fig1-bio": "holds",
        "figS1-dfa-above-fa": "holds",
        "figS1-dfa-begins": "holds",
        "figS1-dfa-below-bp": "holds",
        "figS1-bio-above-dfa": "holds",
        "figS1-signs": "does not hold",
    }


def test_the_mean_over_the_stream_is_that_of_straight_lines_between_points():
    # By hand: trapezes of 1 x 0.5 and 3 x 1.0, over 4 examples.
    assert fig1.throughout(np.array([[0.0, 1.0, 1.0]]), (0, 1, 4)) == pytest.approx([3.5 / 4])


def test_accuracy_after_the_onset_is_counted_from_each_trials_own():
    accuracy = np.array([[0.3, 0.4, 0.5, 0.6], [0.1, 0.1, 0.3, 0.7]])
    assert fig1.after_onset(accuracy, (0, 10, 20, 30), 10).tolist() == [0.4, 0.7]


@pytest.mark.parametrize("name", ["fig1", "figS1"])
def test_figure_1_shows_each_learner_and_its_table_has_each_point(name):
    seen = made_up_courses(**COURSES)
    learners = fig1.SHOWN[name]
    figure = fig1.draw(name, seen)
    shown = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {learner.label for learner in learners} <= shown
    table = fig1.accuracy_columns(learners, seen)
    assert len(table["accuracy"]) == 2 * len(learners) * len(POINTS)
    place = table["learner"].index("bio") + POINTS.index(500)
    assert (table["examples"][place], table["accuracy"][place]) == (500, 0.5)


def test_arrays_are_made_once_and_read_back_the_same(tmp_path):
    setting = Setting(tmp_path)
    made = {"a": np.array([0.1, np.nan]), "b": np.eye(2)}
    first = store.kept(setting, "making", ("key", 1.5), lambda: made)
    again = store.kept(setting, "making", ("key", 1.5), lambda: pytest.fail("made twice"))
    other = store.kept(setting, "making", ("key", 1.25), lambda: {"a": np.zeros(1)})
    for name, values in made.items():
        assert np.array_equal(first[name], values, equal_nan=True)
        assert np.array_equal(again[name], values, equal_nan=True)
    assert other["a"].tolist() == [0.0]


@pytest.mark.slow  # kernels are compiled for two pathways
def test_courses_of_learners_are_those_of_lifetimes_at_the_best_multiple(tmp_path, monkeypatch):
    monkeypatch.setattr(online, "SIZES", (64, 8, 10))
    data = load_data("digits", shape=online.SHAPE)
    setting = Setting(tmp_path, trials=2, meta_steps=12)
    theta = {"BP": (0.05,), "FA": (0.05,)}
    seen = online.courses(setting, (online.BP, online.FA), theta, data)
    assert seen.points == (0, 25, 50, 75, 100)
    assert seen.angle[online.META].shape == (2, 5, 2)
    # Before the first example no rule has done anything; the networks are the same.
    starts = [seen.accuracy[column][key][:, 0] for column in online.COLUMNS for key in theta]
    assert all(np.array_equal(start, starts[0]) for start in starts)
    assert seen.angle[online.META][:, :, -1].max() == 0  # the output's error is backprop's own
    monkeypatch.setattr(online, "run_lifetimes", lambda *_, **__: pytest.fail("run twice"))
    again = online.courses(setting, (online.BP, online.FA), theta, data)
    assert again.factor == seen.factor
    for column in online.COLUMNS:
        for key in theta:
            assert np.array_equal(again.accuracy[column][key], seen.accuracy[column][key])
