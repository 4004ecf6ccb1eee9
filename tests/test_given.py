"""What `run_lifetimes` takes, and what it refuses, in the caller's words."""

from pathlib import Path

import batches
import numpy as np
import pytest
import torch
from torch import nn

from rulesearch.data import load_data
from rulesearch.errors import RuleSearchError
from rulesearch.kernels import KERNELS
from rulesearch.lifetime import run_lifetimes
from rulesearch.notation import Pool
from rulesearch.search import Config, search

POOL = Pool(F0="-e_post*y_pre", F3="-W")
START = batches.given(1, (5, 4, 3, 3), lifetimes=2)
X, LABELS = START.train
THETA = torch.tensor([0.01, 0.001], dtype=torch.float64)


def call(pool=POOL, **change):
    given = {
        "theta": THETA,
        "weights": START.weights,
        "feedback": START.feedback,
        "train": START.train,
        "query": START.query,
        "kernel": "einsum",
        "gradient": True,
        **change,
    }
    return run_lifetimes(pool, **given)


def same(one, two):
    return torch.equal(one.loss, two.loss) and torch.equal(one.gradient, two.gradient)


# --- taken ----------------------------------------------------------------------------------------


def test_theta_is_a_tensor_an_array_or_a_list():
    expected = call()
    for theta in ([0.01, 0.001], (0.01, 0.001), np.array([0.01, 0.001])):
        assert same(call(theta=theta), expected)
    layers = call(theta=[[0.01, 0.001]] * 3)
    assert torch.equal(layers.loss, expected.loss)
    whole = call(theta=[1, 0])
    assert same(whole, call(theta=torch.tensor([1.0, 0.0], dtype=torch.float64)))


@pytest.mark.filterwarnings("error")
def test_arrays_are_tensors():
    x, labels = X.numpy().copy(), LABELS.numpy()
    x.setflags(write=False)
    arrays = call(
        weights=[w.numpy() for w in START.weights],
        # As a view that is read backward.
        feedback=tuple(b.flip(-1).numpy()[..., ::-1] for b in START.feedback),
        train=(x, labels.astype(np.int16)),
        query=[t.numpy() for t in START.query],
    )
    assert same(arrays, call())
    # An axis of one that is read backward is contiguous, NumPy says.
    alone = {"weights": [w[:1] for w in START.weights], "train": (X[:1], LABELS[:1])}
    alone |= {"query": [t[:1] for t in START.query], "feedback": [b[:1] for b in START.feedback]}
    backward = [b.numpy()[::-1] for b in alone["feedback"]]
    assert same(call(**{**alone, "feedback": backward}), call(**alone))


def test_a_pathway_without_matrices_needs_no_feedback():
    by_name = call(feedback="symmetric")
    assert same(call(feedback=None, pathway="symmetric"), by_name)
    assert same(call(pathway="symmetric"), by_name)


@pytest.mark.parametrize("kernel", KERNELS)
def test_without_a_step_nothing_is_learned(kernel):
    out = call(train=(X[:, :0], LABELS[:, :0]), kernel=kernel, observe=["accuracy"], observe_at=[0])
    assert torch.equal(out.loss, out.initial_loss)
    assert not out.gradient.any()
    assert all(map(torch.equal, out.weights, START.weights))
    assert out.observed["accuracy"].shape == (2, 1)


def test_a_sum_that_overflows_is_no_fault():
    huge = torch.full_like(X.float(), 3e38)
    single = START.to(torch.float32)
    given = {"train": (huge, LABELS), "query": single.query, "kernel": "einsum"}
    assert run_lifetimes(POOL, THETA, single.weights, single.feedback, **given).loss.shape == (2,)


# --- refused --------------------------------------------------------------------------------------


def spoiled(tensor, place, value):
    other = tensor.clone()
    other[place] = value
    return other


ONE_HOT = torch.nn.functional.one_hot(LABELS, 3)
POOLS = {
    "a path": (
        Path("grammar/mine.py"),
        "pool: 'grammar/mine.py', a PosixPath; give a Pool, as "
        'load_pool("grammar/paper_pool.py") or Pool(F0="-e_post*y_pre")',
    ),
    "a term": (
        "-e_post*y_pre",
        "pool: '-e_post*y_pre', a str; give a Pool, as "
        'load_pool("grammar/paper_pool.py") or Pool(F0="-e_post*y_pre")',
    ),
    "a list of terms": (
        list(POOL.terms),
        "pool: a list; give a Pool, as "
        'load_pool("grammar/paper_pool.py") or Pool(F0="-e_post*y_pre")',
    ),
}


@pytest.mark.parametrize(("pool", "message"), POOLS.values(), ids=POOLS)
def test_what_is_no_pool(pool, message):
    with pytest.raises(RuleSearchError) as refused:
        call(pool)
    assert refused.value.lines == (message,)


ERRORS = {
    "no theta": (
        {"theta": None},
        "theta: None; give a tensor or an array [terms], [layers, terms] or "
        "[lifetimes, layers, terms]",
    ),
    "theta by name": (
        {"theta": ["F0", "F3"]},
        "theta: ['F0', 'F3'] is not all numbers; give [terms], [layers, terms] or "
        "[lifetimes, layers, terms]",
    ),
    "a ragged theta": (
        {"theta": [[0.1, 0.2], [0.1]]},
        "theta: [[0.1, 0.2], [0.1]] is not all numbers; give [terms], [layers, terms] or "
        "[lifetimes, layers, terms]",
    ),
    "complex theta": (
        {"theta": THETA + 1j},
        "theta: dtype torch.complex128; give real numbers",
    ),
    "theta that is not finite": (
        {"theta": [0.1, float("inf")]},
        "theta: 1 of 2 numbers not finite, the first inf at [1]; give finite numbers",
    ),
    "theta nowhere": (
        {"theta": THETA.to("meta")},
        "theta: on meta, where there are no numbers; give some",
    ),
    "a module for weights": (
        {"weights": nn.Sequential(nn.Linear(5, 4))},
        "weights: a Sequential; give a list with one tensor [lifetimes, post, pre] for each layer",
    ),
    "one tensor for weights": (
        {"weights": START.weights[0]},
        "weights: a Tensor; give a list with one tensor [lifetimes, post, pre] for each layer",
    ),
    "modules for weights": (
        {"weights": [nn.Linear(5, 4)]},
        "weights[0]: a Linear; give a tensor or an array [lifetimes, post, pre]",
    ),
    "an array of objects": (
        {"weights": [np.array([None])]},
        "weights[0]: an array of object; give numbers",
    ),
    "sparse weights": (
        {"weights": [w.to_sparse() for w in START.weights]},
        "weights[0]: a sparse tensor; give weights[0].to_dense()",
    ),
    "weights nowhere": (
        {"weights": [w.to("meta") for w in START.weights]},
        "weights[0]: on meta, where there are no numbers; give some",
    ),
    "no lifetimes": (
        {"weights": [w[:0] for w in START.weights]},
        "weights[0]: shape [0, 4, 5]; give at least one lifetime, and one neuron in each layer",
    ),
    "a layer without neurons": (
        {"weights": [START.weights[0][:, :0], *START.weights[1:]]},
        "weights[0]: shape [2, 0, 5]; give at least one lifetime, and one neuron in each layer",
    ),
    "weights that are not finite": (
        {
            "weights": [
                START.weights[0],
                spoiled(START.weights[1], (1, 2, 0), float("nan")),
                START.weights[2],
            ]
        },
        "weights[1]: 1 of 24 numbers not finite, the first nan at [1, 2, 0]; give finite numbers",
    ),
    "no feedback": (
        {"feedback": None},
        "feedback: None; the random pathway has matrices of its own; give a list of them, or use "
        "symmetric",
    ),
    "one tensor for feedback": (
        {"feedback": START.feedback[0]},
        "feedback: a Tensor; give a list with one tensor [lifetimes, pre, post] for each layer",
    ),
    "feedback that is not finite": (
        # No term reads the error of the input layer, and with it the first of the matrices.
        {
            "feedback": [
                START.feedback[0],
                spoiled(START.feedback[1], (0, 1, 2), -float("inf")),
                START.feedback[2],
            ]
        },
        "feedback[1]: 1 of 24 numbers not finite, the first -inf at [0, 1, 2]; give finite numbers",
    ),
    "images without labels": (
        {"train": X},
        "train: a Tensor; give two tensors, x [lifetimes, examples, inputs] and labels "
        "[lifetimes, examples]",
    ),
    "images that are not finite": (
        {"train": (spoiled(X, (slice(None), 2), float("nan")), LABELS)},
        "train x: 10 of 30 numbers not finite, the first nan at [0, 2, 0]; give finite numbers",
    ),
    "no queries": (
        {"query": (X[:, :0], LABELS[:, :0])},
        "query x: no examples; give at least one",
    ),
    "nothing to observe on": (
        {"probe": (X[:, :0], LABELS[:, :0])},
        "probe x: no examples; give at least one",
    ),
    "labels in a one-hot code": (
        {"train": (X, ONE_HOT)},
        "train labels: shape [2, 3, 3], as of a one-hot code; give class numbers [2, 3], "
        "labels.argmax(-1)",
    ),
    "labels that are true or false": (
        {"query": (START.query[0], START.query[1] > 0)},
        "query labels: dtype torch.bool; give integers, class numbers",
    ),
    "one name of a term": (
        {"gradient": "F0"},
        "gradient: 'F0'; give a list of names, as [\"F0\"]",
    ),
    "a mask for names": (
        {"gradient": [True, False]},
        "gradient True: no such term; the terms are F0, F3",
    ),
    "another term to compile for": (
        {"compile_for": ["F9"]},
        "compile_for F9: no such term; the terms are F0, F3",
    ),
    "one observable": (
        {"observe": "angle"},
        "observe: 'angle'; give a list of names, as [\"angle\"]",
    ),
    "half a step": (
        {"observe": ["angle"], "observe_at": [0.5]},
        "observe_at 0.5: not a number of steps; give numbers of steps from 0 to 3, ascending",
    ),
    "one point": (
        {"observe": ["angle"], "observe_at": 2},
        "observe_at: 2; give numbers of steps from 0 to 3, ascending, in a list",
    ),
}


@pytest.mark.parametrize(("change", "message"), ERRORS.values(), ids=ERRORS)
def test_what_is_refused(change, message):
    with pytest.raises(RuleSearchError) as refused:
        call(**change)
    assert refused.value.lines == (message,)


def test_numbers_that_the_dtype_does_not_have():
    single = START.to(torch.float32)
    given = {"train": single.train, "query": single.query, "kernel": "einsum"}

    def refused(pool, theta, **more):
        with pytest.raises(RuleSearchError) as caught:
            run_lifetimes(pool, theta, single.weights, single.feedback, **given, **more)
        return caught.value.lines

    assert refused(POOL, [1e39, 0.0]) == (
        "theta: 1e+39 is beyond float32, which ends at 3.4e+38; give float64 throughout",
    )
    limits = "is beyond float32, which goes from 1.18e-38 to 3.4e+38"
    way_out = "scale the term, or give float64 throughout"
    huge = Pool(A="-W", B="1e39*e_post*y_pre")
    assert refused(huge, [0.1, 0.1]) == (f"pool, term B: 1e+39 {limits}; {way_out}",)
    tiny = Pool(A="-W", B="tanh(1e-45*y_pre)*e_post")
    assert refused(tiny, [0.1, 0.0], gradient=True) == (f"pool, term B: 1e-45 {limits}; {way_out}",)
    # What takes no part is no fault, and float64 has them.
    assert run_lifetimes(huge, [0.1, 0.0], single.weights, single.feedback, **given).loss.shape
    assert call(huge, theta=[0.1, 1e-45]).loss.isfinite().all()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"pool": "mine.py"}, "pool: 'mine.py', a str; give a Pool, as "),
        ({"data": "digits"}, 'data: a str; give Data, as load_data("digits", shape=config.shape)'),
        ({"config": {"seed": 1}}, "config: a dict; give a Config, as Config(trials=2)"),
    ],
)
def test_a_search_says_what_it_cannot_take(change, line):
    given = {"pool": POOL, "data": load_data("digits", shape=Config().shape), "config": Config()}
    with pytest.raises(RuleSearchError) as refused:
        search(**(given | change))
    (said,) = refused.value.lines
    assert said.startswith(line)


def test_options_are_refused_by_their_names_in_python():
    data = load_data("digits", shape=Config().shape)
    with pytest.raises(RuleSearchError) as refused:
        search(POOL, data, Config(layers="170", seed=-1, dtype="float16"))
    assert refused.value.lines == (
        "Config.layers 170: a list is needed, not '170'; give sizes as in 170,130,100,70",
        "Config.dtype float16: unknown; give one of float32, float64",
        "Config.seed -1: must be at least 0",
    )


def test_layers_in_a_list_and_a_path_are_what_a_run_keeps():
    given = Config(layers=[64, 20, 10], data_root=Path("images"))
    assert given == Config(layers=(64, 20, 10), data_root="images")
    assert given.sizes(64, 10) == (64, 20, 10)
