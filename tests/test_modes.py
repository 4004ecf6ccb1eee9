"""The caller's modes change no number: torch's, NumPy's and Python's, in kernels and around."""

import contextlib
import dataclasses
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor

import batches
import numpy as np
import pytest
import torch
from small_runs import CONFIG
from test_population import population, same

from rulesearch.data import TaskShape, load_data
from rulesearch.kernels import KERNELS
from rulesearch.lifetime.modes import plain
from rulesearch.meta import fit
from rulesearch.meta.protocols import FITTED
from rulesearch.meta.records import FitPlan
from rulesearch.notation import Pool
from rulesearch.search import search

POOL = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", F3="-W")
#: The second lifetime diverges: something overflows.
START = batches.given(1, (5, 4, 3, 3), lifetimes=2).to(torch.float32)
THETA = torch.tensor([[[0.01, 0.02, 0.001]] * 3, [[1e30, 0.0, 0.0]] * 3], dtype=torch.float64)


@contextlib.contextmanager
def defaults(set_to, value, before):
    set_to(value)
    try:
        yield
    finally:
        set_to(before)


@contextlib.contextmanager
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


MODES = {
    "inference": torch.inference_mode,
    "no grad": torch.no_grad,
    "grad": torch.enable_grad,
    "grad off": lambda: torch.set_grad_enabled(False),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64": lambda: defaults(torch.set_default_dtype, torch.float64, torch.float32),
    "meta": lambda: torch.device("meta"),
    "meta set": lambda: defaults(torch.set_default_device, "meta", None),
    "deterministic": lambda: defaults(torch.use_deterministic_algorithms, True, False),
    "errstate": lambda: np.errstate(all="raise"),
    "warnings": warnings_are_errors,
}
modes = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


def equal(one, two):
    return torch.equal(torch.nan_to_num(one, nan=1e30), torch.nan_to_num(two, nan=1e30))


@modes
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_lifetime_is_the_same_in_every_mode(kernel, mode):
    def live():
        return batches.run(
            POOL,
            THETA,
            START,
            kernel=kernel,
            gradient=True,
            observe=("angle", "loss"),
            observe_at=(1, 3),
        )

    expected = live()
    assert not expected.loss[1].isfinite()
    with mode():
        found = live()
    for name in ("loss", "accuracy", "initial_loss", "gradient"):
        assert equal(getattr(found, name), getattr(expected, name)), name
    assert all(map(equal, found.weights, expected.weights))
    assert all(equal(found.observed[name], expected.observed[name]) for name in ("angle", "loss"))
    assert not found.loss.is_inference()


@modes
def test_a_kernel_first_built_in_a_mode_is_the_same(mode):
    """What is kept for later calls may have no trace of the mode that it was made in."""
    # Networks of sizes that no other test has, so that nothing is kept for them yet.
    sizes = (5, 4, 3 + list(MODES.values()).index(mode), 13, 3)
    start, theta = batches.given(2, sizes), torch.tensor([0.01, 0.0, 0.001], dtype=torch.float64)
    with mode():
        found = batches.run(POOL, theta, start, kernel="einsum", gradient=True)
    later = batches.run(POOL, theta, start, kernel="einsum", gradient=True)
    assert torch.equal(found.loss, later.loss)
    assert torch.equal(found.gradient, later.gradient)


@modes
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_population_is_the_same_in_every_mode(kernel, mode):
    some, theta = population(kernel=kernel), torch.full((10,), 0.01, dtype=torch.float64)
    expected = some(theta, (3, 1, 4), gradient=(0, 2), observe=("angle",))
    with mode():
        found = some(theta, (3, 1, 4), gradient=(0, 2), observe=("angle",))
    assert same(found, expected)


@modes
def test_a_fit_is_the_same_in_every_mode(mode):
    some = population(pool=POOL)
    plan = FitPlan(
        label="trial",
        seed=0,
        support=(0, 1, 2),
        start=(0.01, 0.0, 0.0),
        scales=(1.0, 0.5, 2.0),
        meta_steps=3,
        l1=0.1,
        protocol=dataclasses.replace(FITTED["robust"], meta_batch=3),
    )
    expected = fit(some, plan)
    with mode():
        assert fit(some, plan) == expected


def found(seed=0):
    """All numbers of a small search."""
    config = dataclasses.replace(CONFIG, ways=3, meta_steps=3, meta_batch=3, seed=seed)
    data = load_data("digits", shape=TaskShape(3, 2, 2))
    result = search(Pool(A="-e_post*y_pre", B="-W"), data, config)
    scores = {name: (e.accuracy, e.loss) for name, e in result.evaluation.items()}
    return scores, result.theta


@pytest.fixture(scope="module")
def expected():
    return [found(0), found(1)]


@pytest.mark.slow
@modes
def test_a_search_is_the_same_in_every_mode(expected, mode):
    with mode():
        assert found() == expected[0]


@pytest.mark.slow
def test_searches_in_threads_find_what_they_find_alone(expected):
    with ThreadPoolExecutor(2) as executor:
        assert list(executor.map(found, (0, 1))) == expected


@pytest.mark.slow
def test_nothing_warns_from_the_first_import_on():
    script = textwrap.dedent("""
        import test_modes as t
        print(*t.batches.run(t.POOL, t.THETA, t.START, kernel="fused").loss[:1].tolist())
    """)
    command = [sys.executable, "-W", "error::RuntimeWarning", "-W", "error::UserWarning"]
    done = subprocess.run(
        [*command, "-c", script],
        env={"PYTHONPATH": "tests:.", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_plain_is_a_decorator_and_ends_where_it_ends():
    @plain()
    def inside():
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.zeros(1).device

    with torch.device("meta"), torch.inference_mode():
        grad, inference, device = inside()
        assert torch.is_inference_mode_enabled()
        assert torch.zeros(1).device.type == "meta"
    assert (grad, inference, device.type) == (False, False, "cpu")
