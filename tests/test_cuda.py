"""The fused kernel for CUDA without a GPU: what is written, and what it does in the simulator."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import batches
import pytest
import steps
import torch

from rulesearch import Config, load_data, search
from rulesearch.kernels import Unsupported, fused
from rulesearch.kernels.fused import FusedKernel, build
from rulesearch.kernels.fused.cuda.threads import rewritten
from rulesearch.lifetime.working import choose_kernel
from rulesearch.lowering import lower, lower_terms
from rulesearch.notation import load_pool
from rulesearch.pathways import pathway

ROOT = Path(__file__).parents[1]
#: Lifetimes of some 1e4 operations on values of order one, and a factor for what grows in a few
#: steps: 2e-16 * 1e4.
TOLERANCE = 2e-12
CASES = (
    *("direct", "symmetric", "hebbian", "plastic feedback", "normalised", "bounds", "traces"),
    *("own activation and loss", "probabilities", "biases", "noise", "wild", "random"),
)


def process(*arguments, **variables):
    """A Python of its own, in the tests' folder; what it prints."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths} | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def simulated(*names):
    """What `simulated.py` finds, case by case."""
    printed = process("tests/simulated.py", *names, NUMBA_ENABLE_CUDASIM="1")
    found = [json.loads(line) for line in printed.splitlines()]
    assert found
    return found


# --- what is written ------------------------------------------------------------------------------

LOOPS = {
    "a thread an element": (
        "for k in range(size_pre):\n    v0[k] = c * y_pre[k]",
        "for k in range(tid, size_pre, threads):\n    st(s, v0 + k, c * ld(s, y_pre + k))\nsync()",
    ),
    "in vectors": (
        "for j in range(0, width, LANES):\n    store(z, j, fma(splat(c), load(x, j), load(b, j)))",
        "for j in range(tid, width, threads):\n    st(s, z + j, c * ld(s, x + j) + ld(s, b + j))\n"
        "sync()",
    ),
    "the thread of a place is the same in every loop": (
        "for j in range(n, m):\n    y[j] = 0",
        "for j in range(tid, m, threads):\n    if j >= n:\n        st(s, y + j, 0)\nsync()",
    ),
    "two loops over the same neurons need not wait": (
        "for k in range(n):\n    a[k] = c\nfor k in range(n):\n    b[k] += a[k]",
        "for k in range(tid, n, threads):\n    st(s, a + k, c)\n"
        "for k in range(tid, n, threads):\n    st(s, b + k, ld(s, b + k) + ld(s, a + k))\nsync()",
    ),
    "a sum": (
        "t = F(0.0)\nfor j in range(n):\n    t += y[j]\nx[0] = t",
        "t = F(0.0)\nfor j in range(tid, n, threads):\n    t += ld(s, y + j)\nt = lane_sum(t)\n"
        "if lane == 0:\n    st(sh, 0 * warps + warp, t)\nsync()\nt = over_warps(sh, 0, 1, 0)\n"
        "sync()\nif tid == 0: st(s, x, t)\nsync()",
    ),
    "what one thread writes and all read": (
        "x[0] = c\nd = x[0]",
        "if tid == 0: st(s, x, c)\nsync()\nd = ld(s, x)\nsync()",
    ),
    "what is read may not be written too soon": (
        "d = x[0]\nx[0] = c",
        "d = ld(s, x)\nsync()\nif tid == 0: st(s, x, c)\nsync()",
    ),
    "all threads find the largest": (
        "best = 0\nfor j in range(n):\n    if z[j] > z[best]:\n        best = j",
        "best = 0\nfor j in range(n):\n    if ld(s, z + j) > ld(s, z + best):\n        best = j\n"
        "sync()",
    ),
    "the table": ("at[0, L] = c", "sync()\nif tid == 0: at[0, L] = c\nsync()"),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_shared_out(name):
    given, expected = LOOPS[name]
    indented = given.replace("\n", "\n    ")
    text, _, _ = rewritten(f"def f(s, at, c, n, m):\n    {indented}\n")
    body = [line[4:] for line in text.splitlines()[4:]]
    assert "\n".join(body) == expected


def test_rows_are_shared_out_to_warps():
    text, sums, gathers = rewritten(
        """\
def f(s, at, order):
    for i in range(lit, lit_end):
        k = order[i]
        if k >= size:
            continue
        row = pointer(w, k * width)
        total_a = zero(w)
        for j in range(0, width, LANES):
            w_ = load(row, j)
            total_a = add(total_a, w_)
            store(q, j, add(load(q, j), kept(w_, one_j)))
        a[k] = total(total_a)
"""
    )
    assert (sums, gathers) == (0, 1)
    assert text.splitlines()[4:] == [
        "    for j in range(lane, width, WARP):",
        "        st(sh, (0 * warps + warp) * width + j, F(0.0))",
        "    for k in range(warp, lit_end, warps):",
        "        if left_out(order, lit, k):",
        "            continue",
        "        if k >= size:",
        "            continue",
        "        row = w + k * width",
        "        total_a = F(0.0)",
        "        for j in range(lane, width, WARP):",
        "            w_ = ld(s, row + j)",
        "            total_a = total_a + w_",
        "            at_j = (0 * warps + warp) * width + j",
        "            st(sh, at_j, ld(sh, at_j) + kept(w_, one_j))",
        "        total_a = lane_sum(total_a)",
        "        if lane == 0:",
        "            st(s, a + k, total_a)",
        "    sync()",
        "    for j in range(tid, width, threads):",
        "        st(s, q + j, ld(s, q + j) + over_warps(sh, 0, width, j))",
        "    sync()",
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "while c:\n        c = 0",
        # Every thread has another d when the loop has ended.
        "for k in range(n):\n        d = y[k]\n        x[k] = d\n    z[0] = d",
    ],
)
def test_what_is_of_no_known_kind_is_refused(statement):
    with pytest.raises(Unsupported, match=r" in f, on a GPU$"):
        rewritten(f"def f(s, at, c, n):\n    {statement}\n")


# --- what it does in the simulator ----------------------------------------------------------------


def test_the_paper_s_pool_equals_einsum_and_words_are_what_they_say():
    """One process: it imports for longer than it runs."""
    paper, stand_ins = simulated("quick", "paper", "stand-ins")
    assert paper["apart"] < TOLERANCE
    assert stand_ins["apart"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_equals_einsum(name):
    # Random pools may take differences of what is nearly the same.
    most = batches.TOLERANCE if name == "random" else TOLERANCE
    assert [one for one in simulated(name) if not one["apart"] < most] == []


@pytest.mark.slow
def test_updates_are_not_undone_where_weights_have_grown():
    """As on the CPU: they would come back with what rounding has left in the large ones."""
    (found,) = simulated("diverged")
    assert found["apart"] < 2e-6
    (undone,) = simulated("undone", "diverged")
    assert undone["apart"] > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper", "own activation and loss", "traces", "wild"])
def test_no_accesses_race(name):
    (found,) = simulated("races", name)
    assert found["apart"] < TOLERANCE
    assert found["races"] == 0


@pytest.mark.slow
def test_a_race_is_found():
    (found,) = simulated("races", "broken", "paper")
    assert found["races"] > 0


# --- where it is chosen ---------------------------------------------------------------------------


def test_idle_terms_are_refused_on_a_gpu():
    """`run_lifetimes` then says so and goes on with einsum."""
    pool = load_pool(ROOT / "grammar" / "paper_pool.py")
    kernel = build(lower(pool), (6, 3), pathway("random", 1))
    batch = SimpleNamespace(theta=SimpleNamespace(device=torch.device("cuda")), asked=())
    with pytest.raises(Unsupported, match=r"^terms that are zero beside those at work, on a GPU$"):
        kernel(batch, idle=lower(pool))


# --- where there is a GPU -------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU here")
@pytest.mark.parametrize("path", ["random", "symmetric", "direct", "sign-symmetric"])
@pytest.mark.parametrize("name", ["paper_pool", "hebbian", "feedback", "quadratic"])
def test_a_gpu_equals_the_cpu(name, path):
    pool = load_pool(ROOT / "grammar" / f"{name}.py")
    if name == "feedback" and path not in ("random", "direct"):
        pytest.skip("feedback that terms change is carried by its own matrices")
    given = batches.given(0, (21, 40, 17, 4), path, lifetimes=3, steps=60, queries=5)
    theta = steps.case(pool.terms, start=given).theta * 0.04
    there = dataclasses.replace(
        given,
        weights=[w.cuda() for w in given.weights],
        feedback=given.feedback and [b.cuda() for b in given.feedback],
        train=tuple(t.cuda() for t in given.train),
        query=tuple(t.cuda() for t in given.query),
    )
    here = batches.run(pool, theta, given, kernel="fused")
    found = batches.run(pool, theta.cuda(), there, kernel="fused")
    assert found.note == ""
    for name in ("loss", "accuracy", "gradient"):
        a, b = getattr(found, name).cpu(), getattr(here, name)
        assert (a - b).abs().max() < 1e-9 * b.abs().max()
    again = batches.run(pool, theta.cuda(), there, kernel="fused")
    assert torch.equal(again.gradient, found.gradient)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU here")
def test_a_search_on_a_gpu_ends_with_the_same_terms():
    pool = load_pool(ROOT / "grammar" / "paper_pool.py")
    data = load_data("digits")
    found = [
        search(pool, data, Config(device=device, effort="quick", layers=(40, 20)))
        for device in ("cpu", "cuda")
    ]
    assert found[0].support == found[1].support
    assert "einsum" not in found[1].message


@pytest.mark.parametrize("name", ["auto", "fused"])
def test_a_gpu_gets_the_fused_kernel_where_its_code_can_be_had(name, monkeypatch):
    plan, path = lower_terms(load_pool(ROOT / "grammar" / "bcm.py").distinct), pathway("random", 2)
    chosen, note = choose_kernel(name, plan, (5, 4, 3), path, on_cpu=False)
    assert isinstance(chosen, FusedKernel)
    assert note == ""

    def missing():
        raise Unsupported("tensors on cuda: No module named numba_cuda")

    monkeypatch.setattr(fused, "gpu_code", missing)
    chosen, note = choose_kernel(name, plan, (5, 4, 3), path, on_cpu=False)
    assert not isinstance(chosen, FusedKernel)
    assert note == ("fused cannot take tensors on cuda: No module named numba_cuda; using einsum")
    assert choose_kernel("einsum", plan, (5, 4, 3), path, on_cpu=False)[1] == ""


@pytest.mark.slow
def test_a_pool_assembles():
    """For compute capability 8.0 and 9.0, where NVIDIA's wheels are installed."""
    for module in ("numba_cuda", "nvidia"):
        pytest.importorskip(module, reason="pip install 'rulesearch[cuda-check]'")
    printed = process("-m", "benchmarks.cuda_code", "grammar/bcm.py")
    rows = [line.split("|") for line in printed.splitlines() if line.startswith("| bcm")]
    assert [row[2].strip() for row in rows] == ["lifetimes", "gradients"] * 2
    assert all(int(row[4]) <= 128 for row in rows)
