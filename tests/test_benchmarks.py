"""What the benchmark of speed compares, and what it says; never how fast anything is."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from benchmarks import speed
from benchmarks.machine import bandwidth, cores, peak_mb_of, ratios
from benchmarks.rivals import RIVALS, Cell
from benchmarks.rivals.by_hand import terms_by_hand
from benchmarks.speed import CELLS, QUICK, bytes_moved, disagreement, milliseconds
from benchmarks.work import PRODUCTS, Setting, pool_of, work
from rulesearch import TaskShape

SMALL = Setting(sizes=(20, 6, 5, 4), shape=TaskShape(ways=2, shots=3, queries=2))
JAX_MISSING = RIVALS["JAX"].missing()


def literal_value(expression, values):
    """A term's matrix, every sum written out as NumPy over [post, pre]."""

    def summed(axis):
        return lambda x: np.broadcast_to(x, values["W"].shape).sum(axis, keepdims=True)

    spaces = {**values, "sum_post": summed(0), "sum_pre": summed(1)}
    return np.broadcast_to(eval(str(expression), {}, spaces), values["W"].shape)


def test_terms_by_hand_are_those_of_the_pool():
    rng = np.random.default_rng(0)
    post, pre = 4, 3
    W, y_pre, e_pre = rng.normal(size=(post, pre)), rng.random(pre), rng.normal(size=pre)
    y_post, e_post = rng.random(post), rng.normal(size=post)
    pool = pool_of(100)
    given = [torch.from_numpy(a) for a in (W, y_pre, e_pre, y_post, e_post)]
    by_hand = terms_by_hand(torch, pool.names, *given)
    values = {"W": W, "y_pre": y_pre[None], "e_pre": e_pre[None]}
    values |= {"y_post": y_post[:, None], "e_post": e_post[:, None]}
    values |= {"z_post": (W @ y_pre)[:, None]}
    for term, found in zip(pool.terms, by_hand, strict=True):
        # float64; some hundred operations on numbers of order one.
        expected = literal_value(term.expression, values)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("terms", speed.TERMS)
def test_pools_have_as_many_terms_as_they_say(terms):
    assert len(pool_of(terms)) == terms


def test_work_is_the_same_each_time_and_its_lifetimes_differ():
    one, two = work(SMALL, 3, 2), work(SMALL, 3, 2)
    for a, b in zip(one.weights, two.weights, strict=True):
        assert a.data_ptr() != b.data_ptr()
        assert torch.equal(a, b)
        assert not torch.equal(a[0], a[1])


@pytest.mark.parametrize("gradient", [True, False])
def test_rivals_in_this_process_agree(gradient):
    if JAX_MISSING:
        pytest.skip(JAX_MISSING)
    cell = Cell(3, 1, gradient)
    expected = RIVALS["autograd"].prepare(SMALL, cell, 1)()
    for name in ("einsum", "JAX"):
        # float32 over six steps; a term left out or of another sign would be off by about one.
        assert disagreement(RIVALS[name].prepare(SMALL, cell, 1)(), expected) < 1e-4


def test_rivals_that_disagree_are_not_timed(monkeypatch):
    broken = dataclasses.replace(
        RIVALS["autograd"],
        prepare=lambda *given: lambda: 1.1 * RIVALS["autograd"].prepare(*given)(),
    )
    monkeypatch.setattr(speed, "RIVALS", {"einsum": RIVALS["einsum"], "autograd": broken})
    with pytest.raises(SystemExit, match=r"autograd and einsum differ by 1\.0e-01 at"):
        speed.measure(SMALL, [Cell(3, 1, gradient=True)], ["einsum", "autograd"], rounds=1)


def test_disagreement_is_in_units_of_the_largest_derivative_of_a_term():
    right = torch.tensor([[1.0, 100.0], [-2.0, 50.0]])
    wrong = right + torch.tensor([[0.0, 10.0], [0.5, 0.0]])
    assert disagreement(wrong, right) == pytest.approx(0.25)
    assert disagreement(wrong[:1], right) == pytest.approx(0.1)
    assert math.isnan(disagreement(right * torch.nan, right))


def test_bytes_of_a_dense_lifetime():
    given = work(SMALL, 10, 1)
    dense = dataclasses.replace(given, train=(torch.ones_like(given.train[0]), given.train[1]))
    steps, weights = 6, 20 * 6 + 6 * 5 + 5 * 4
    # W read and written; and going back W and its adjoint. B is read each way, for all errors.
    assert bytes_moved(dense, gradient=False) == 4 * steps * weights * 3
    assert bytes_moved(dense, gradient=True) == 4 * steps * weights * 8


def test_bytes_leave_out_pixels_that_are_dark():
    given = work(SMALL, 1, 1)
    x = torch.zeros_like(given.train[0])
    x[..., :7] = 1
    sparse = dataclasses.replace(given, train=(x, given.train[1]))
    # F0 alone: dark rows do not change, and no term reads the error of the pixels.
    expected = 4 * 6 * (2 * (7 * 6 + 6 * 5 + 5 * 4) + (6 * 5 + 5 * 4))
    assert bytes_moved(sparse, gradient=False) == expected


def test_every_cell_has_the_kernels_and_some_cell_every_rival():
    for cell in CELLS:
        assert RIVALS["fused"].takes(cell)
        assert RIVALS["einsum"].takes(cell)
    for name, rival in RIVALS.items():
        assert any(rival.takes(cell) for cell in CELLS), name


def test_ratios_are_taken_within_rounds():
    assert ratios([1.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize(("seconds", "text"), [(2.0468, "2050"), (0.01996, "20"), (1e-5, "0.01")])
def test_milliseconds_have_three_figures(seconds, text):
    assert milliseconds(seconds) == text


def test_memory_of_a_call_is_what_it_touches():
    # Freed at once; a large array is mapped anew, so no page of it is there before.
    taken = peak_mb_of(lambda: np.ones(2**23).sum())
    assert 60 < taken < 80


def test_bandwidth_is_a_rate():
    # Between a slow disk and a wafer of caches: a mistaken unit would lie outside.
    assert 1e8 < bandwidth(1, times=20) < 1e14
    assert cores() >= 1


def test_products_are_named_in_order_and_differ():
    assert next(iter(PRODUCTS)) == "T10"
    assert len(set(PRODUCTS.values())) == len(PRODUCTS)


@pytest.mark.slow  # starts processes and compiles
def test_quick_run_prints_its_tables_and_writes_json(tmp_path, capsys):
    speed.main(["--quick", "--json", str(tmp_path / "speed.json")])
    said = capsys.readouterr().out
    record = json.loads((tmp_path / "speed.json").read_text())
    measured = {(m["rival"], m["cell"]["terms"]) for m in record["measured"]}
    assert {("fused", n) for n in (1, 3, 10)} <= measured
    assert str(QUICK) in said
    for heading in ("With meta-gradient, batch 2", "Forward only, batch 1", "fraction reached"):
        assert heading in said
