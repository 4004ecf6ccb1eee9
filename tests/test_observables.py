import math
from dataclasses import replace

import batches
import numpy as np
import pytest
import torch
import unrolled

from rulesearch.data import TaskShape, load_data
from rulesearch.errors import RuleSearchError
from rulesearch.kernels import KERNELS
from rulesearch.lifetime import run_lifetimes
from rulesearch.notation import Pool
from rulesearch.observables import (
    OBSERVABLES,
    Stand,
    alignment_angles_each,
    alignment_angles_each_pre,
)
from rulesearch.pathways import pathway
from rulesearch.population import CHUNK, Population

BIO = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", F9="y_post*y_pre - y_post*sum_post(y_post*W)")
THETA = torch.tensor([0.2, -0.1, 0.1], dtype=torch.float64)
LIFETIMES, LAYERS, STEPS = 2, 3, 5
START = batches.given(1, (5, 4, 3, 3), lifetimes=LIFETIMES, steps=STEPS, queries=4)


# --- one lifetime, example by example, neuron by neuron ------------------------------------------


def layers_at(weights, feedback, x, labels, path):
    """Of each example, what each weight layer has there: name -> numbers."""
    return [
        [
            {name: layer[name].flatten().tolist() for name in layer if name != "W"}
            for layer in unrolled.states(weights, feedback, image, label, path)
        ]
        for image, label in zip(x.split(1), labels.split(1), strict=True)
    ]


def degrees_between(a, b):
    inner, aa, bb = (
        math.fsum(p * q for p, q in zip(u, v, strict=True)) for u, v in ((a, b), (a, a), (b, b))
    )
    return math.degrees(math.acos(max(-1.0, min(1.0, inner / math.sqrt(aa * bb)))))


def sums(rows):
    return [math.fsum(column) for column in zip(*rows, strict=True)]


def direct_angles(quantity, weights, feedback, x, labels, path):
    """Between the sums of the errors: as large an angle as between their means."""
    ours, true = (layers_at(weights, feedback, x, labels, p) for p in (path, "symmetric"))
    return [
        degrees_between(*(sums([one[depth][quantity] for one in way]) for way in (ours, true)))
        for depth in range(len(weights))
    ]


def direct_mean_angles(quantity, weights, feedback, x, labels, path):
    ours, true = (layers_at(weights, feedback, x, labels, p) for p in (path, "symmetric"))
    means = []
    for depth in range(len(weights)):
        pairs = [(a[depth][quantity], b[depth][quantity]) for a, b in zip(ours, true, strict=True)]
        angles = [degrees_between(a, b) for a, b in pairs if any(a) and any(b)]
        means.append(math.fsum(angles) / len(angles))
    return means


def direct_orthonormality(weights, feedback, x, labels, path):
    """Eq. 10, with loops for its products."""
    errors = [0.0] * len(weights)
    for one in layers_at(weights, feedback, x, labels, path):
        for depth, weight in enumerate(weights):
            rows, z, y = weight[0].tolist(), one[depth]["z_post"], one[depth]["y_post"]
            back = [sum(row[k] * y[j] for j, row in enumerate(rows)) for k in range(len(rows[0]))]
            for j, row in enumerate(rows):
                errors[depth] += (z[j] - sum(w * b for w, b in zip(row, back, strict=True))) ** 2
    return errors


def direct_norms(weights, feedback, x, labels, path):
    return [math.sqrt(sum(w * w for row in layer[0].tolist() for w in row)) for layer in weights]


def direct_loss(weights, feedback, x, labels, path):
    return [np.mean([one[-1]["L"][0] for one in layers_at(weights, feedback, x, labels, path)])]


def direct_accuracy(weights, feedback, x, labels, path):
    outputs = [one[-1]["y_post"] for one in layers_at(weights, feedback, x, labels, path)]
    right = [y.index(max(y)) == label for y, label in zip(outputs, labels.tolist(), strict=True)]
    return [sum(right) / len(right)]


# Some 100 roundings of values below 10; acos near 1 loses half the digits, in degrees.
EXACT, DEGREES = 1e-12, 1e-5
DIRECT = {
    "angle": (lambda *given: direct_angles("e_post", *given), DEGREES),
    "angle_pre": (lambda *given: direct_angles("e_pre", *given), DEGREES),
    "angle_each": (lambda *given: direct_mean_angles("e_post", *given), DEGREES),
    "angle_each_pre": (lambda *given: direct_mean_angles("e_pre", *given), DEGREES),
    "orthonormality": (direct_orthonormality, EXACT),
    "weight_norm": (direct_norms, EXACT),
    "loss": (direct_loss, EXACT),
    "accuracy": (direct_accuracy, 0),
}


def one_lifetime(tensors, i):
    return tensors and [t[[i]] for t in tensors]


def assert_direct(observed, weights, start, examples):
    """Of every observable and lifetime, the value is that of the loops."""
    for name, (direct, tolerance) in DIRECT.items():
        for i in range(LIFETIMES):
            expected = direct(
                one_lifetime(weights, i),
                one_lifetime(start.feedback, i),
                examples[0][i],
                examples[1][i],
                start.pathway,
            )
            got = np.atleast_1d(observed[name][i].numpy())
            assert got.tolist() == pytest.approx(expected, rel=0, abs=tolerance), name


def test_every_observable_has_a_direct_computation():
    assert DIRECT.keys() == OBSERVABLES.keys()


@batches.pathways
def test_observables_are_the_direct_computation(path):
    start = batches.given(1, (5, 4, 3, 3), path, LIFETIMES, queries=4)
    out = batches.run(BIO, THETA, start, kernel="einsum", observe=tuple(DIRECT))
    layers = {"angle", "angle_pre", "angle_each", "angle_each_pre", "orthonormality", "weight_norm"}
    for name, values in out.observed.items():
        assert values.shape == ((LIFETIMES, LAYERS) if name in layers else (LIFETIMES,))
    assert_direct(out.observed, out.weights, start, start.query)


def test_a_probe_stands_in_for_the_query():
    other = batches.given(7, (5, 4, 3, 3), lifetimes=LIFETIMES, queries=6)
    x, labels = other.query
    given = {"kernel": "einsum", "observe": tuple(DIRECT), "probe": (x, labels.to(torch.int32))}
    out = batches.run(BIO, THETA, START, **given)
    assert_direct(out.observed, out.weights, START, other.query)
    plain = batches.run(BIO, THETA, START, kernel="einsum")
    assert torch.equal(out.loss, plain.loss)
    along = batches.run(BIO, THETA, START, observe_at=(STEPS,), **given)
    for name, values in along.observed.items():
        assert torch.equal(values[:, 0], out.observed[name])


@pytest.mark.parametrize("name", ["angle", "angle_pre", "angle_each", "angle_each_pre"])
def test_angles_of_a_symmetric_pathway_are_zero(name):
    start = batches.given(1, pathway="symmetric")
    out = batches.run(BIO, THETA, start, kernel="einsum", observe=(name,))
    assert float(out.observed[name].abs().max()) < 1e-10


def test_a_dark_image_has_no_synthetic_error_and_is_left_out_there_alone():
    x, labels = START.query[0].clone(), START.query[1]
    x[:, 1] = 0
    given = Stand(START.weights, START.feedback), pathway("random", LAYERS)
    rest = torch.tensor([0, 2, 3])
    with_it, without = (
        alignment_angles_each_pre(*given, (x[:, of], labels[:, of])) for of in (slice(None), rest)
    )
    assert torch.equal(with_it[:, 0], without[:, 0])
    assert (with_it[:, 1:] != without[:, 1:]).all()
    dark = alignment_angles_each_pre(*given, (torch.zeros_like(x), labels))
    assert dark[:, 0].isnan().all()
    assert dark[:, 1:].isfinite().all()


def test_a_diverged_lifetime_is_not_overlooked():
    weights = [w.clone() for w in START.weights]
    weights[1][1, 0, 0] = math.inf
    given = Stand(weights, START.feedback), pathway("random", LAYERS), START.query
    for name, observable in OBSERVABLES.items():
        values = observable(*given)
        assert values[0].isfinite().all(), name
        # Where it reaches; accuracy has it as never right, and the angle of equal errors is zero.
        assert float(values[1]) == 0 if name == "accuracy" else not values[1].isfinite().all(), name
    assert alignment_angles_each(*given)[1].isnan().all()
    x, labels = START.query[0].clone(), START.query[1]
    x[:, 2] = math.nan
    given = Stand(START.weights, START.feedback), pathway("random", LAYERS), (x, labels)
    assert alignment_angles_each(*given).isnan().all()


# --- points in time ------------------------------------------------------------------------------


def with_dark_pixels(start):
    (x, labels), (query_x, query_labels) = start.train, start.query
    lit = torch.arange(x.shape[-1]) % 3 != 0
    return replace(start, train=(x * lit, labels), query=(query_x * lit, query_labels))


AT = (0, 1, 2, STEPS)
#: The second is large enough for whole vectors and blocks.
NETWORKS = {
    "small": (START, THETA),
    "float32": (
        with_dark_pixels(batches.given(3, (40, 37, 20, 11), lifetimes=3, steps=STEPS)).to(
            torch.float32
        ),
        THETA / 20,
    ),
}
networks = pytest.mark.parametrize(("start", "theta"), NETWORKS.values(), ids=NETWORKS)


def shorter(start, steps):
    return replace(start, train=(start.train[0][:, :steps], start.train[1][:, :steps]))


@batches.kernels
@networks
def test_points_are_the_ends_of_shorter_lifetimes(kernel, start, theta, monkeypatch):
    for layer in range(LAYERS):
        monkeypatch.setitem(OBSERVABLES, f"W{layer}", lambda stand, *_, i=layer: stand.weights[i])
    given = {"kernel": kernel, "observe": tuple(OBSERVABLES)}
    along = batches.run(BIO, theta, start, observe_at=AT, **given)
    for layer, weight in enumerate(start.weights):
        assert torch.equal(along.observed[f"W{layer}"][:, 0], weight)
    for i, steps in enumerate(AT[1:], start=1):
        end = batches.run(BIO, theta, shorter(start, steps), **given)
        for layer, weight in enumerate(end.weights):
            assert torch.equal(along.observed[f"W{layer}"][:, i], weight)
        for name, values in end.observed.items():
            assert torch.equal(along.observed[name][:, i], values), name


@batches.kernels
def test_values_before_the_first_step_are_those_of_the_initial_weights(kernel):
    out = batches.run(BIO, THETA, START, kernel=kernel, observe=tuple(DIRECT), observe_at=(0, 3))
    first = {name: values[:, 0] for name, values in out.observed.items()}
    assert_direct(first, START.weights, START, START.query)


@batches.kernels
@networks
def test_observing_on_the_way_changes_no_bit(kernel, start, theta):
    given = {"kernel": kernel, "gradient": True, "keep_weights": False}
    plain = batches.run(BIO, theta, start, **given)
    out = batches.run(BIO, theta, start, observe=("loss", "angle"), observe_at=(1, 2), **given)
    assert out.weights is None
    assert torch.equal(out.loss, plain.loss)
    assert torch.equal(out.gradient, plain.gradient)


def test_observing_without_keeping_weights():
    given = {"kernel": "einsum", "observe": ("angle",)}
    out = batches.run(BIO, THETA, START, keep_weights=False, **given)
    assert out.weights is None
    kept = batches.run(BIO, THETA, START, **given)
    assert torch.equal(out.observed["angle"], kept.observed["angle"])


def test_what_autograd_watches_is_no_obstacle():
    watched = replace(START, feedback=[b.clone().requires_grad_() for b in START.feedback])
    with torch.no_grad():  # elsewhere it is refused: nothing is differentiated by feedback
        out = batches.run(
            BIO, THETA, watched, kernel="einsum", observe=("angle",), observe_at=(0, 2)
        )
    assert not out.observed["angle"].requires_grad


# --- what it costs -------------------------------------------------------------------------------


def test_nothing_is_computed_when_off(monkeypatch):
    def refuse(stand, path, examples):
        raise AssertionError("not asked for")

    for name in OBSERVABLES:
        if name != "loss":
            monkeypatch.setitem(OBSERVABLES, name, refuse)
    assert not batches.run(BIO, THETA, START, kernel="einsum").observed
    assert not batches.run(BIO, THETA, START, kernel="einsum", observe_at=(1, 2)).observed
    assert batches.run(BIO, THETA, START, kernel="einsum", observe=("loss",)).observed
    with pytest.raises(AssertionError, match="not asked for"):
        batches.run(BIO, THETA, START, kernel="einsum", observe=("loss", "angle"))


@pytest.mark.parametrize(
    ("more", "steps"),
    [
        ({}, [STEPS]),
        ({"observe_at": (1, 2)}, [STEPS]),
        ({"observe": ("loss",)}, [STEPS]),
        ({"observe": ("loss",), "observe_at": (0,)}, [STEPS]),
        ({"observe": ("loss", "angle"), "observe_at": (0, 1, 4)}, [STEPS, 1, 3]),
    ],
)
def test_a_point_costs_the_steps_that_lead_to_it(more, steps, monkeypatch):
    run = []

    def build(plan, sizes, path):
        kernel = KERNELS["einsum"](plan, sizes, path)

        def counted(batch, **how):
            run.append(batch.x.shape[1])
            return kernel(batch, **how)

        return counted

    monkeypatch.setitem(KERNELS, "counted", build)
    monkeypatch.setattr(
        "rulesearch.lifetime.working.compiled", lambda name, *of: KERNELS[name](*of)
    )
    batches.run(BIO, THETA, START, kernel="counted", **more)
    assert run == steps


# --- populations ---------------------------------------------------------------------------------


def test_a_population_passes_the_points_on():
    shape = TaskShape(ways=2, shots=3, queries=2)
    images = load_data("digits", shape=shape).search
    some = Population(BIO, images, shape, (64, 7, 10), kernel="einsum", dtype=torch.float64)
    seeds = range(CHUNK + 2)
    along = some(THETA / 10, seeds, observe=("loss", "angle"), observe_at=(0, 4, 6))
    assert along.observed["loss"].shape == (CHUNK + 2, 3)
    assert along.observed["angle"].shape == (CHUNK + 2, 3, 2)
    assert torch.equal(along.observed["loss"][:, 0], along.initial_loss)
    assert torch.equal(along.observed["loss"][:, 2], along.loss)
    after = some(THETA / 10, seeds, observe=("angle",))
    assert torch.equal(along.observed["angle"][:, 2], after.observed["angle"])


# --- what a person can mend ----------------------------------------------------------------------


WAY_OUT = "give numbers of steps from 0 to 5, ascending"
X, LABELS = START.query
ERRORS = {
    "unknown": (
        {"observe": ("loss", "angel")},
        "observe angel: unknown observable; give any of angle, angle_pre, angle_each, "
        "angle_each_pre, orthonormality, weight_norm, loss, accuracy",
    ),
    "beyond the last step": (
        {"observe_at": (0, 6)},
        f"observe_at 6: outside the lifetime; {WAY_OUT}",
    ),
    "before the first": (
        {"observe_at": (-1, 6)},
        f"observe_at -1: outside the lifetime; {WAY_OUT}",
    ),
    "descending": ({"observe_at": (1, 3, 2)}, f"observe_at 3, 2: not ascending; {WAY_OUT}"),
    "twice": ({"observe_at": (3, 3)}, f"observe_at 3, 3: not ascending; {WAY_OUT}"),
    "probe of another size": (
        {"probe": (X[..., 1:], LABELS)},
        "probe x: shape [2, 4, 4]; give [2, any, 5]",
    ),
    "probe without lifetimes": (
        {"probe": (X, LABELS[0])},
        "probe labels: shape [4]; give [2, 4]",
    ),
    "probe of other classes": (
        {"probe": (X, LABELS + 3)},
        "probe labels: outside 0 to 2, the output units",
    ),
}


@pytest.mark.parametrize(("change", "message"), ERRORS.values(), ids=ERRORS)
def test_bad_input(change, message):
    given = {"train": START.train, "query": START.query, "kernel": "einsum", **change}
    with pytest.raises(RuleSearchError) as caught:
        run_lifetimes(BIO, THETA, START.weights, START.feedback, **given)
    assert caught.value.lines == (message,)
