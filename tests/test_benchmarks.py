"""What the benchmarks of speed compare, and what they say; never how fast anything is."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from benchmarks import cuda, pools, savings, speed, stability
from benchmarks.ending import end_with
from benchmarks.machine import bandwidth, cores, peak_mb_of, ratios
from benchmarks.rivals import RIVALS, Cell
from benchmarks.rivals.by_hand import terms_by_hand
from benchmarks.rivals.in_torch import with_kernel
from benchmarks.speed import CELLS, QUICK, bytes_moved, disagreement, milliseconds
from benchmarks.work import PRODUCTS, Setting, pool_of, work
from rulesearch import TaskShape
from rulesearch.kernels import KernelOutput
from rulesearch.network import weight_shapes
from rulesearch.runs import read_history
from rulesearch.selection import Effort

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


@pytest.mark.slow  # compiles
def test_pools_say_what_a_screening_needs(tmp_path, capsys):
    pools.main(["--quick", "--json", str(tmp_path / "pools.json")])
    said = " ".join(capsys.readouterr().out.split())
    record = json.loads((tmp_path / "pools.json").read_text())
    assert set(record["seconds"]) >= {"ten terms", "two functions", "hebbian", "screening"}
    bound = record["bound"]
    assert bound["terms"] >= 1000
    assert all(taken < bound["post"] + bound["pre"] for taken in bound["taken"])
    assert f"{bound['post']} factors on the post side" in said


# --- savings --------------------------------------------------------------------------------------


def outcome(loss, gradient):
    """One lifetime of one layer."""
    one = torch.ones(1)
    return KernelOutput(torch.tensor([loss]), one, one, torch.tensor([[gradient]]), None)


def test_ways_differ_by_what_only_one_of_them_gets_wrong():
    all_ten, three = savings.Way(savings.TEN, savings.TEN, savings.TEN), savings.THREE
    saving = savings.Saving("", all_ten, savings.Way(three, three, three))
    full = [float(i + 1) for i in range(10)]
    few = [full[savings.TEN.index(name)] for name in three]
    right = outcome(2.0, full)
    assert savings.difference(saving, right, outcome(2.0, few)) == 0
    assert savings.difference(saving, right, outcome(2.5, few)) == pytest.approx(0.25)
    wrong = outcome(2.0, [few[0], 1.5 * few[1], few[2]])
    assert savings.difference(saving, right, wrong) == pytest.approx(0.5)
    assert math.isnan(savings.difference(saving, right, outcome(2.0, [math.nan, *few[1:]])))


def test_a_saving_that_changes_numbers_is_not_timed(monkeypatch):
    def broken(way, given):
        found = outcome(2.0 if way.pixels == "all" else 3.0, [1.0] * len(way.plan))
        return lambda: found

    monkeypatch.setattr(savings, "prepared", broken)
    with pytest.raises(SystemExit, match=r"skipped: changes numbers by 5\.0e-01"):
        savings.measure_savings(SMALL, rounds=1, threads=1)


def test_a_glimmer_lights_every_pixel_of_a_task_and_changes_no_training_image():
    given = work(SMALL, 10, 2)
    lit = savings._batch(savings.Way(savings.TEN, savings.TEN, (), "lit"), given)
    fewest = savings._batch(savings.Way(savings.TEN, savings.TEN, ()), given)
    assert torch.equal(fewest.query_x, given.query[0])
    assert not (fewest.x.any(1) | fewest.query_x.any(1)).all()
    assert (lit.x.any(1) | lit.query_x.any(1)).all()
    assert torch.equal(lit.x, given.train[0])
    assert (lit.query_x - given.query[0]).abs().max() <= 1e-12


def test_a_rule_of_a_larger_plan_has_zeros_where_it_has_no_term():
    given = work(SMALL, 10, 2)
    batch = savings._batch(savings.Way(savings.TEN, savings.THREE, ()), given)
    assert batch.theta.shape == (2, 3, 10)
    kept = {n for n, c in zip(savings.TEN, batch.theta[0, 0].tolist(), strict=True) if c}
    assert kept == set(savings.THREE)


@pytest.mark.parametrize("factor", [2, 3])
def test_every_matrix_of_a_widened_network_is_so_many_times_as_large(factor):
    sizes = (784, 170, 130, 100, 70, 47)
    wide = savings.widened_sizes(sizes, factor)
    for one, other in zip(weight_shapes(sizes), weight_shapes(wide), strict=True):
        assert math.prod(other) == factor * math.prod(one)
    given = savings.widened(work(SMALL, 10, 2), factor)
    shapes = [(6 * factor, 20), (5, 6 * factor), (4 * factor, 5)]
    assert [tuple(w.shape[1:]) for w in given.weights] == shapes
    assert [b.shape for b in given.feedback] == [w.mT.shape for w in given.weights]


def test_long_lifetimes_have_the_steps_of_the_task_again_and_again():
    given = work(SMALL, 10, 1)
    long = savings.lengthened(given, 15)
    assert torch.equal(long.train[0][:, 6:12], given.train[0])
    assert torch.equal(long.train[1][:, 12:], given.train[1][:, :3])


def test_forward_mode_is_said_to_win_only_where_its_bound_is_below_the_adjoint():
    slower = savings.Modes(("F0",), 250, (1.0,), (1.9,), (2.0,))
    faster = savings.Modes(("F0",), 5000, (1.0,), (4.0,), (2.0,))
    assert savings.verdict([slower]).startswith("Forward mode: slower than the adjoint in every")
    said = savings.verdict([slower, faster])
    assert "F0 at 5000 steps (0.50 of" in said
    assert "250" not in said


@pytest.mark.slow  # starts processes and compiles
def test_quick_run_of_savings_prints_its_tables_and_writes_json(tmp_path, capsys):
    savings.main(["--quick", "--rounds", "2", "--json", str(tmp_path / "savings.json")])
    said = capsys.readouterr().out
    record = json.loads((tmp_path / "savings.json").read_text())
    for saving in savings.SAVINGS:
        assert saving.name in said
    assert [len(pairs) for pairs in record["savings"].values()] == [len(savings.SAVINGS)] * 2
    # Float32 and fewer than a hundred steps; the savings leave out zeros and reorder sums.
    assert all(apart < 1e-4 for apart in record["disagreement"].values())
    assert {(len(m["rule"]), m["steps"]) for m in record["modes"]} == {
        (n, steps) for n in (1, 2) for steps in savings.QUICK_STEPS
    }


# --- on a GPU -------------------------------------------------------------------------------------


def test_a_batch_that_does_not_fit_is_halved_until_it_does():
    tried = []

    def prepare(given, gradient):
        tried.append(len(given))
        if len(given) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lambda: given.theta

    given = work(SMALL, 3, 8)
    _, _, piece = cuda.fitted(prepare, given, gradient=True, device="cpu")
    assert (tried, piece) == ([8, 4, 2], 2)


@pytest.mark.parametrize(
    ("fault", "lifetimes"),
    [(RuntimeError("shapes do not match"), 8), (torch.OutOfMemoryError("too little"), 1)],
)
def test_other_faults_and_a_lifetime_that_does_not_fit_are_not_hidden(fault, lifetimes):
    def prepare(given, gradient):
        raise fault

    with pytest.raises(RuntimeError, match=str(fault)):
        cuda.fitted(prepare, work(SMALL, 3, lifetimes), gradient=True, device="cpu")


def test_the_time_of_a_batch_is_that_of_all_its_pieces():
    found = cuda.Measured("einsum", 8, True, 2, (0.5, 0.25, 1.0), None)
    assert found.whole == 2.0
    assert found.a_lifetime == (0.25, 0.125, 0.5)


def test_without_a_gpu_one_line_says_so_and_the_exit_code_is_2(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as left:
        end_with(lambda: cuda.main([]))
    assert left.value.code == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error == (
        "--device cuda: torch finds no CUDA GPU here; run this where there is one, or see it run "
        "on a small network with --device cpu --batches 2\n"
    )


@pytest.mark.parametrize("batches", ["0", "64,-1", "many", ""])
def test_batches_that_are_no_numbers_are_refused(batches, capsys):
    with pytest.raises(SystemExit) as left:
        cuda.main(["--batches", batches, "--device", "cpu"])
    assert left.value.code == 2
    assert "--batches" in capsys.readouterr().err


def test_ways_on_the_cpu_are_compared_and_written_down(tmp_path, capsys, monkeypatch):
    quick = {name: cuda.RIVALS[name] for name in ("einsum", "autograd")}
    monkeypatch.setattr(cuda, "RIVALS", quick)
    monkeypatch.setattr(cuda, "QUICK", SMALL)
    written = tmp_path / "cuda.json"
    arguments = ["--device", "cpu", "--batches", "2,4", "--rounds", "1", "--json", str(written)]
    assert cuda.main(arguments) == 0
    said = capsys.readouterr().out
    for heading in ("2 lifetimes, with gradient", "4 lifetimes, forward only", "einsum, again"):
        assert heading in said
    measured = json.loads(written.read_text())["measured"]
    assert len(measured) == 2 * 2 * 3
    assert {m["piece"] for m in measured if m["batch"] == 4} == {4}


def test_a_way_on_the_gpu_that_disagrees_is_not_reported(monkeypatch):
    def broken(given, gradient):
        return lambda: 1.1 * with_kernel("einsum", given, gradient)

    rivals = {"einsum": cuda.RIVALS["einsum"], "broken": cuda.Rival(broken)}
    monkeypatch.setattr(cuda, "RIVALS", rivals)
    with pytest.raises(SystemExit, match=r"broken and einsum differ by 1\.0e-01 at 2"):
        cuda.measure(SMALL, [2], ["einsum", "broken"], "cpu", rounds=1)


@pytest.mark.slow  # compiles
def test_every_way_at_hand_runs_on_the_cpu(capsys):
    assert cuda.main(["--device", "cpu", "--batches", "2", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    for name, rival in cuda.RIVALS.items():
        assert name in said or rival.missing("cpu")


@pytest.mark.slow
def test_stability_keeps_its_searches_and_shares_what_parsimony_leaves(
    tmp_path, capsys, monkeypatch
):
    small = Effort(
        common_tasks=8, ranking_tasks=4, full_steps=2, full_rounds=1, refit_steps=2,
        final_refits=2, final_steps=1, mean_steps=1, baseline_tasks=4, evaluation_tasks=4,
    )  # fmt: skip
    changed = {"dataset": "digits", "layers": (8,), "ways": 2, "shots": 5, "effort": small}
    variants = {stability.PLAIN: changed, "parsimony 90 %": {**changed, "parsimony": 0.9}}
    monkeypatch.setattr(stability, "VARIANTS", variants)
    grammar = tmp_path / "pool.toml"
    grammar.write_text('[terms]\nF0 = "-e_post*y_pre"\nF2 = "-e_post*e_pre"\n')
    command = [
        *("--data-root", str(tmp_path), "--grammar", str(grammar), "--out", str(tmp_path / "runs")),
        *("--seeds", "1", "--variants", "1", "--meta-steps", "4"),
    ]
    assert stability.main(command) == 0
    first = capsys.readouterr().out
    assert [line.split(" | ")[1] for line in first.splitlines()[2:]] == ["0", "0"]
    plain, other = (
        tmp_path / "runs" / f"{name}-seed0" for name in ("as-it-is", "parsimony-90-percent")
    )
    labels = [{row["stage"] for row in read_history(run)} for run in (plain, other)]
    assert {"trial 0", "trial 1"} <= labels[0]
    assert not any(label.startswith("trial") for label in labels[1])
    assert stability.main(command) == 0
    assert capsys.readouterr().out == first
