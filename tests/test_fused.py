"""The fused kernel: the same lifetimes as `einsum`, whatever it leaves out, whoever runs it."""

import ast
import dataclasses
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import hypothesis
import numpy as np
import oracle
import pytest
import strategies
import sympy
import torch
from numba import njit

from rulesearch.kernels import Batch, Unsupported
from rulesearch.kernels.einsum import build as build_einsum
from rulesearch.kernels.fused import build, kernel, steps
from rulesearch.kernels.fused.layout import layout_of
from rulesearch.kernels.fused.savings import drops_columns, needed, vanishing
from rulesearch.lowering import lower
from rulesearch.notation import Pool, load_pool, together
from rulesearch.pathways import pathway

SIZES = (21, 9, 17, 4)
PAPER = load_pool("grammar/paper_pool.py")
# Every kind of node: sums over either side, with W, with another value on synapses and without;
# sums of sums; scalars; groups with and without a matrix; every quantity.
EVERYTHING = Pool(
    A="-e_post*y_pre",
    B="-y_post*e_pre*sum_post(y_post*sum_pre(W*e_pre))",
    C="-tanh(W*y_pre)*L",
    D="-e_post*y_pre*sum_pre(W**2*y_pre)",
    E="y_post*sum_post(Abs(W)*z_post)/n_pre",
    F="Max(z_pre, e_pre)*Heaviside(z_post)*sqrt(y_post)/n_post",
    G="-W*y_post**2",
    H="sum_pre(y_pre**2)*sign(e_post)*Min(y_pre, y_post)",
    I="cos(y_pre)*erf(z_post)*sum_pre(exp(e_pre))",
    J="atan(sum_post(W*y_post))*sum_pre(W)",
)
# Nothing of it survives where a pixel is dark, so that its passes take the lit rows alone.
SPARSE = Pool(
    F0="-e_post*y_pre", F6="-y_post*e_pre*sum_post(y_post*sum_pre(W*e_pre))", G="e_post*tanh(e_pre)"
)
# Scales the weights by neuron, so that an update cannot be undone.
SCALING = Pool(F0="-e_post*y_pre", oja="y_post*y_pre - y_post**2*W", F3="-W")


def batch_of(pool, path="random", *, count=3, steps=12, scale=1e-2, dtype=torch.float64, seed=0):
    """Some lifetimes of the small network; θ differs by lifetime and layer."""
    nets = [strategies.network(seed + i, SIZES, path, steps, queries=5) for i in range(count)]
    rng = np.random.default_rng(seed)
    theta = scale * rng.normal(size=(count, len(SIZES) - 1, len(pool.terms)))

    def stacked(name):
        layers = zip(*(getattr(net, name) for net in nets), strict=True)
        return [torch.tensor(np.stack(layer), dtype=dtype) for layer in layers]

    def together(name):
        return np.stack([getattr(net, name) for net in nets])

    x, query_x = together("x"), together("query_x")
    # Some pixels are dark throughout, another number of them in every lifetime.
    for i in range(count):
        x[i, :, : 2 * i + 1] = query_x[i, :, : 2 * i + 1] = 0
    return Batch(
        theta=torch.tensor(theta, dtype=dtype),
        weights=stacked("weights"),
        feedback=None if path == "symmetric" else stacked("feedback"),
        x=torch.tensor(x, dtype=dtype),
        labels=torch.tensor(together("labels")),
        query_x=torch.tensor(query_x, dtype=dtype),
        query_labels=torch.tensor(together("query_labels")),
    )


def to(batch, dtype):
    """The batch in another dtype."""
    return Batch(
        batch.theta.to(dtype),
        [w.to(dtype) for w in batch.weights],
        None if batch.feedback is None else [b.to(dtype) for b in batch.feedback],
        batch.x.to(dtype),
        batch.labels,
        batch.query_x.to(dtype),
        batch.query_labels,
    )


def only(batch, i):
    """Lifetime i of the batch, alone."""
    return Batch(
        batch.theta[i : i + 1],
        [w[i : i + 1] for w in batch.weights],
        None if batch.feedback is None else [b[i : i + 1] for b in batch.feedback],
        batch.x[i : i + 1],
        batch.labels[i : i + 1],
        batch.query_x[i : i + 1],
        batch.query_labels[i : i + 1],
    )


def kernels(pool, path="random"):
    plan, way = lower(pool), pathway(path, len(SIZES) - 1)
    return build(plan, SIZES, way), build_einsum(plan, SIZES, way)


def relative(found, expected):
    """The largest error, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def assert_close(found, expected, tolerance):
    """Two outcomes, term by term and layer by layer."""
    assert relative(found.loss, expected.loss) < tolerance
    assert relative(found.initial_loss, expected.initial_loss) < tolerance
    assert float((found.accuracy - expected.accuracy).abs().max()) < tolerance
    for term in range(expected.gradient.shape[-1]):
        assert relative(found.gradient[..., term], expected.gradient[..., term]) < tolerance
    for mine, other in zip(found.weights or [], expected.weights or [], strict=True):
        assert relative(mine, other) < tolerance


def assert_equal(found, expected):
    """Two outcomes, to the bit."""
    for name in ("loss", "accuracy", "initial_loss", "gradient"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


# --- the same results as einsum -----------------------------------------------------------------


# 60 steps reach over a checkpoint, which comes after 50.
@pytest.mark.parametrize("path", ["random", "direct"])
@pytest.mark.parametrize(
    ("pool", "steps", "scale"),
    [(PAPER, 60, 1e-2), (EVERYTHING, 12, 1e-3)],
    ids=["paper", "all"],
)
def test_equals_einsum(pool, steps, scale, path):
    fused, einsum = kernels(pool, path)
    batch, terms = batch_of(pool, path, steps=steps, scale=scale), range(len(pool.terms))
    expected = einsum(batch, gradient=terms, keep_weights=True)
    assert_close(fused(batch, gradient=terms, keep_weights=True), expected, 1e-10)
    # Pixels are left out where the weights are not wanted.
    without = fused(batch, gradient=terms)
    assert without.weights is None
    assert_close(without, dataclasses.replace(expected, weights=None), 1e-10)
    forward_only = fused(batch)
    assert forward_only.gradient is None
    assert torch.equal(forward_only.loss, without.loss)


@pytest.mark.slow
@pytest.mark.parametrize("path", strategies.PATHWAYS)
@pytest.mark.parametrize(
    "pool",
    [PAPER, EVERYTHING, SPARSE, SCALING, load_pool("grammar/hebbian.py")],
    ids=["paper", "all", "sparse", "scaling", "hebbian"],
)
@pytest.mark.parametrize("count", [1, 3])
def test_equals_einsum_everywhere(pool, path, count):
    fused, einsum = kernels(pool, path)
    batch, terms = batch_of(pool, path, count=count, scale=1e-3), range(len(pool.terms))
    expected = einsum(batch, gradient=terms, keep_weights=True)
    assert_close(fused(batch, gradient=terms, keep_weights=True), expected, 1e-10)


# Each example compiles for ten seconds, and shrinking would take a hundred of them.
@pytest.mark.slow
@hypothesis.settings(
    max_examples=8,
    derandomize=True,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=[hypothesis.HealthCheck.filter_too_much, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(strategies.pools(most=3, smooth=True), strategies.seeds)
def test_random_pools_equal_einsum(pool, seed):
    fused, einsum = kernels(pool)
    batch, terms = batch_of(pool, seed=seed, steps=3, scale=1e-3), range(len(pool.terms))
    expected = einsum(batch, gradient=terms, keep_weights=True)
    hypothesis.assume(bool(torch.isfinite(expected.gradient).all()))
    # Beyond, the softmax is saturated, and its gradient is what cancellation has left.
    hypothesis.assume(max(float(w.abs().max()) for w in expected.weights) < 10)
    found = fused(batch, gradient=terms, keep_weights=True)
    # A gradient may be zero but for rounding: errors are measured against at least 1e-3.
    size = expected.gradient.abs().amax((0, 1)).clamp(min=1e-3)
    assert float(((found.gradient - expected.gradient).abs() / size).max()) < 1e-10
    assert relative(found.loss, expected.loss) < 1e-10
    for mine, other in zip(found.weights, expected.weights, strict=True):
        assert relative(mine, other) < 1e-10


def test_weights_are_those_of_the_oracle():
    fused, _ = kernels(PAPER)
    batch = batch_of(PAPER, count=1, steps=3)
    literal = oracle.lifetime(
        [term.expression for term in PAPER.terms],
        batch.theta[0].numpy(),
        [w[0].numpy() for w in batch.weights],
        [b[0].numpy() for b in batch.feedback],
        batch.x[0].numpy(),
        batch.labels[0].numpy(),
        "random",
    )
    found = fused(batch, keep_weights=True)
    for mine, other in zip(found.weights, literal, strict=True):
        assert relative(mine[0], torch.tensor(other)) < 1e-12
    loss = oracle.query_loss(literal, batch.query_x[0].numpy(), batch.query_labels[0].numpy())
    assert float(found.loss) == pytest.approx(loss, rel=1e-12)


def test_terms_not_asked_for_have_no_gradient():
    fused, _ = kernels(PAPER)
    batch = batch_of(PAPER)
    every = fused(batch, gradient=range(10)).gradient
    some = fused(batch, gradient=[0, 7]).gradient
    assert torch.equal(some[..., [0, 7]], every[..., [0, 7]])
    assert not some[..., [1, 2, 3, 4, 5, 6, 8, 9]].any()


@pytest.mark.parametrize("decay", [0.05, 0.5, 1.0])
def test_decay_is_undone_as_exactly_as_it_can_be(decay):
    # 1 - θ is divided out; at θ = 1 nothing of the weights is left to undo from.
    fused, einsum = kernels(PAPER)
    batch = batch_of(PAPER, steps=60)
    batch.theta[..., 3] = decay
    expected = einsum(batch, gradient=range(10))
    assert_close(fused(batch, gradient=range(10)), expected, 1e-10)


# --- exact savings ------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [PAPER, SPARSE], ids=["paper", "sparse"])
def test_leaving_out_dark_pixels_changes_nothing(pool):
    fused, einsum = kernels(pool)
    batch, terms = batch_of(pool, steps=60), range(len(pool.terms))
    full = dataclasses.replace(fused, skips=False)
    expected = full(batch, gradient=terms, keep_weights=True)
    assert_close(fused(batch, gradient=terms, keep_weights=True), expected, 1e-12)
    assert_close(expected, einsum(batch, gradient=terms, keep_weights=True), 1e-10)
    nothing_kept = dataclasses.replace(expected, weights=None)
    assert_close(fused(batch, gradient=terms), nothing_kept, 1e-12)


@pytest.mark.parametrize(
    ("term", "drops", "dark"),
    [
        ("-e_post*y_pre", True, True),
        ("e_post*tanh(z_pre*W)", True, True),
        ("-y_post*sum_post(y_post*W)", True, False),
        ("-e_post*y_pre*sum_pre(W*y_pre**2)", True, True),
        ("-e_post*y_pre*sum_pre(W)", False, True),
        ("e_post*cos(y_pre)", True, False),
        ("y_post*y_pre*sum_pre(exp(e_pre))", False, True),
        ("-W", True, False),
        ("-W*e_pre**2", True, True),
    ],
)
def test_what_vanishes_with_a_pixel(term, drops, dark):
    plan = lower(Pool(T=term))
    assert drops_columns(plan) is drops
    gone = vanishing(plan)
    assert all(g.matrix in gone or all(p.pre in gone for p in g.parts) for g in plan.groups) is dark


def test_a_sum_is_needed_at_dark_pixels_only_where_it_is_used_there():
    used = lower(Pool(T="y_post*sum_post(W*y_post)"))
    gated = lower(Pool(T="y_post*y_pre*sum_post(W*y_post)"))
    assert needed(used) == {"p0"}
    assert needed(gated) == set()


# --- one lifetime, whoever runs it --------------------------------------------------------------


def test_result_does_not_depend_on_threads_or_company():
    fused, _ = kernels(PAPER)
    batch = batch_of(PAPER, count=5)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = fused(batch, gradient=range(10))
        torch.set_num_threads(3)
        together = fused(batch, gradient=range(10))
    finally:
        torch.set_num_threads(threads)
    assert_equal(together, alone)
    for i in range(5):
        single = fused(only(batch, i), gradient=range(10))
        assert torch.equal(single.loss, together.loss[i : i + 1])
        assert torch.equal(single.gradient, together.gradient[i : i + 1])


def test_a_decay_that_needs_checkpoints_gives_none_to_its_company():
    fused, _ = kernels(PAPER)
    batch = batch_of(PAPER, steps=60, dtype=torch.float32)
    for i, decay in enumerate((0.001, 0.3, 0.05)):
        batch.theta[i, :, 3] = decay
    starts, slots = fused.checkpoints(batch.theta.numpy(), 60)
    assert [len(own) for own in starts] == [2, 12, 2]
    assert slots == 12
    together = fused(batch, gradient=range(10))
    for i in range(3):
        single = fused(only(batch, i), gradient=range(10))
        assert torch.equal(single.loss, together.loss[i : i + 1])
        assert torch.equal(single.gradient, together.gradient[i : i + 1])


#: Terms that change the feedback too.
PLASTIC = together(PAPER.only("F0", "F3"), Pool(F0="-e_post*y_pre", grow="B", of="B"))


@pytest.mark.parametrize("keep", [True, False], ids=["all pixels", "lit pixels"])
@pytest.mark.parametrize("pool", [PAPER, PLASTIC], ids=["W", "W and B"])
def test_a_diverged_lifetime_ends_and_harms_no_other(pool, keep):
    fused, einsum = kernels(pool)
    batch, every = batch_of(pool, count=3, steps=60), range(len(pool.terms))
    batch.theta[1] = 1e30
    # Fewer rows of weights than the lifetime before has left without numbers.
    batch.x[2, :, :14] = batch.query_x[2, :, :14] = 0
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        out = fused(batch, gradient=every, keep_weights=keep)
        forward = fused(batch, keep_weights=keep)  # leaves the weights as they ended
    finally:
        torch.set_num_threads(threads)
    assert not out.loss[1].isfinite()
    assert not einsum(batch).loss[1].isfinite()
    # One thread has run all three, in the same array; this is run in one of its own.
    with ThreadPoolExecutor(1) as other:
        run = partial(fused, only(batch, 2), gradient=every, keep_weights=keep)
        again = other.submit(run).result()
    assert again.loss.isfinite().all()
    assert torch.equal(again.loss, out.loss[2:])
    assert torch.equal(again.loss, forward.loss[2:])
    assert torch.equal(again.gradient, out.gradient[2:])


def test_nothing_given_is_changed():
    fused, _ = kernels(PAPER)
    batch = batch_of(PAPER)
    before = to(batch, torch.float64)
    copies = [t.clone() for t in (before.theta, before.x, *before.weights, *before.feedback)]
    fused(batch, gradient=range(10), keep_weights=True)
    after = (batch.theta, batch.x, *batch.weights, *batch.feedback)
    assert all(torch.equal(a, b) for a, b in zip(after, copies, strict=True))


@pytest.mark.parametrize(
    ("steps", "most"), [(250, 32e6), (10_000, 1e9)], ids=["paper", "long lifetime"]
)
@pytest.mark.parametrize(
    "pool", [PAPER, SCALING, EVERYTHING], ids=["undone", "replayed", "all replayed"]
)
def test_memory_of_the_paper_s_network(pool, steps, most):
    sizes = (784, 170, 130, 100, 70, 47)
    fused = build(lower(pool), sizes, pathway("random", 5))
    _, slots = fused.checkpoints(np.full((1, 5, len(pool.terms)), 1e-3), steps)
    place = layout_of(
        fused.schedule,
        sizes,
        range(1, 6),
        fans=sizes,
        itemsize=4,
        steps=steps,
        queries=50,
        slots=slots,
    )
    assert 4 * place.length < most


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7])
def test_lifetimes_of_few_steps_are_replayed_too(steps):
    # A segment's weights lie where later checkpoints were; at first there may be none.
    fused, einsum = kernels(SCALING)
    batch, terms = batch_of(SCALING, steps=steps), range(len(SCALING.terms))
    expected = einsum(batch, gradient=terms, keep_weights=True)
    found = fused(batch, gradient=terms, keep_weights=True)
    assert torch.allclose(found.gradient, expected.gradient, rtol=1e-10, atol=1e-14)
    for mine, other in zip(found.weights, expected.weights, strict=True):
        assert relative(mine, other) < 1e-10


@pytest.mark.parametrize("starts", [range(12), range(0, 12, 5), [0], [0, 11], [0, 1, 7]])
def test_any_checkpoints_give_the_same_gradient(starts, monkeypatch):
    fused, _ = kernels(SCALING)
    batch, terms = batch_of(SCALING, steps=12), range(len(SCALING.terms))
    expected = fused(batch, gradient=terms)
    chosen = [np.array(starts)] * 3, 12
    monkeypatch.setattr(kernel.FusedKernel, "checkpoints", lambda *_, **__: chosen)
    assert_equal(fused(batch, gradient=terms), expected)


# --- what it cannot take ------------------------------------------------------------------------


def test_refuses_other_dtypes():
    fused, _ = kernels(PAPER)
    with pytest.raises(Unsupported, match=r"dtype torch\.float16"):
        fused(to(batch_of(PAPER), torch.float16))


def test_refuses_an_operator_without_spelling(monkeypatch):
    plan = lower(Pool(T="tanh(y_post)*y_pre"))
    spelling = {"torch": "torch.tanh({0})", "numpy": "numpy.tanh({0})"}
    row = kernel.operator_of(sympy.tanh)
    without = dataclasses.replace(row, spelling=spelling)
    monkeypatch.setattr(kernel, "operator_of", lambda call: without)
    with pytest.raises(Unsupported, match=r"^operator tanh, which has no Numba spelling$"):
        build(plan, SIZES, pathway("random", 3))


# --- generated source ---------------------------------------------------------------------------


def test_source_is_python_that_names_its_terms():
    fused, _ = kernels(PAPER)
    tree = ast.parse(fused.source)
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {"forward", "adjoint", "drive", "groups_adjoint"} <= functions
    for term in PAPER.terms:
        assert f"# {term.name}\n" in fused.source


def test_loops_stay_in_the_working_dtype():
    # A number without F(…) is float64 to Numba, and would take float32 with it.
    fused, _ = kernels(EVERYTHING)
    compiled = [n for n in ast.parse(fused.source).body if isinstance(n, ast.FunctionDef)]
    cast = {
        id(argument)
        for function in compiled
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "F"
        for argument in ast.walk(call)
    }
    bare = [
        node.value
        for function in compiled
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and id(node) not in cast
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("function", "other"),
    [
        (steps.maximum, torch.maximum),
        (steps.minimum, torch.minimum),
    ],
)
def test_binary_functions_are_torch_s(function, other):
    call = njit(lambda a, b: function(a, b))
    values = [-1.0, 0.0, 2.0, float("nan"), float("inf")]
    for a in values:
        for b in values:
            expected = other(torch.tensor(a), torch.tensor(b)).item()
            np.testing.assert_equal(call(a, b), expected)


def test_jumps_are_as_stated():
    sign, heaviside = njit(lambda a: steps.sign(a)), njit(lambda a: steps.heaviside(a))
    for value in (-3.0, -0.0, 0.0, 0.5, float("inf")):
        assert sign(value) == torch.sign(torch.tensor(value)).item()
        assert heaviside(value) == 0.5 * (1 + torch.sign(torch.tensor(value)).item())


# --- compiled elsewhere -------------------------------------------------------------------------


@pytest.mark.slow
def test_wherever_it_was_compiled_a_kernel_gives_the_same_bits(tmp_path):
    # Numba runs the copy that a kept module's own object has of every function, but may run
    # another of what it has just compiled, unless all of them are inlined.
    script = textwrap.dedent("""
        import sys
        import torch
        import test_fused as t
        from rulesearch.kernels.fused import cache, kernel
        pool = t.PAPER.only("F0", "F2", "F9")
        t.SIZES = 64, 40, 33, 10
        fused, _ = t.kernels(pool)
        torch.set_num_threads(2)
        if "ahead" in sys.argv:
            assert fused.compile_ahead(torch.float32)
        found = fused(t.batch_of(pool, dtype=torch.float32), gradient=[0, 1, 2])
        module = cache.load(kernel._source(fused.schedule, "fixed", "float32"))
        print(*(sum(f.stats.cache_hits.values()) for f in (module.forward, module.adjoint)))
        print(*(v.hex() for t in (found.loss, found.gradient) for v in t.flatten().tolist()))
        assert not fused.compile_ahead(torch.float32)
    """)

    def run(folder, *way):
        return subprocess.run(
            [sys.executable, "-c", script, *way],
            env=os.environ | {"RULESEARCH_CACHE": str(tmp_path / folder), "PYTHONPATH": "tests:."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()

    here, kept, ahead = run("first"), run("first"), run("second", "ahead")
    assert [here[0], kept[0], ahead[0]] == ["0 0", "1 1", "1 1"]
    assert here[1] == kept[1] == ahead[1]


@pytest.mark.slow
def test_no_c_compiler_is_needed(tmp_path):
    script = textwrap.dedent("""
        import os, shutil
        import test_fused as t
        pool = t.Pool(F0="-e_post*y_pre")
        fused, einsum = t.kernels(pool)
        batch = t.batch_of(pool)
        expected = einsum(batch, gradient=[0], keep_weights=True)
        t.assert_close(fused(batch, gradient=[0], keep_weights=True), expected, 1e-10)
        assert not any(map(shutil.which, ("cc", "gcc", "clang"))) and "CC" not in os.environ
    """)
    # Nothing of this process's environment, and nothing kept from an earlier compilation.
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "", "RULESEARCH_CACHE": str(tmp_path), "PYTHONPATH": "tests:."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("kernel_*.nbc"))) == 2
