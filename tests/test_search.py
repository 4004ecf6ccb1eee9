"""The command and the search: exit codes, messages, what is written, and that runs repeat."""

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import PAPER, ROOT, SMALL, SMALL_FLAGS, TINY, small_defaults

import rulesearch
from rulesearch.data import load_data
from rulesearch.kernels.fused import cache
from rulesearch.kernels.fused import kernel as fused_kernel
from rulesearch.meta import ACCEPTED
from rulesearch.notation import Pool, load_pool
from rulesearch.operators import operator_of
from rulesearch.population import Population
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.result import Result
from rulesearch.runs import reading
from rulesearch.runs.kept import read_stage, stage_labels
from rulesearch.search import Config, prepare, search
from rulesearch.search import config as config_module
from rulesearch.search.__main__ import main
from rulesearch.selection import Effort
from rulesearch.statistics import Scores
from rulesearch.words import EVALUATED

POOL = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", F3="-W")
ROBUST = replace(SMALL, protocol="robust")


@pytest.fixture
def tiny(monkeypatch):
    """The command's own defaults for digits, made tiny."""
    small_defaults(monkeypatch, TINY)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", shape=SMALL.shape)


# --- bad input -----------------------------------------------------------------------------------

BAD = {
    "no pool": (
        "",
        "no pool; give a grammar file such as grammar/paper_pool.py, or --term TEXT",
    ),
    "unknown symbol": (
        "--term -e_post*y_psot",
        "term T0: unknown symbol y_psot in -e_post*y_psot; did you mean y_post? (a term may use "
        "y_pre, e_pre, y_post, e_post, W, B, b_post, xi_post, z_pre, z_post, n_pre, n_post, L, "
        "and what quantity(...) or trace(...) makes)",
    ),
    "syntax error": (
        "--term -e_post*",
        "term T0: syntax error in -e_post*; write one expression, such as -e_post*y_pre",
    ),
    "outside the table": (
        "--term gamma(y_pre)",
        'term T0: unknown operator gamma in gamma(y_pre); make it with gamma = operator("gamma", '
        'lambda x: ...) in a Python file, or in a TOML file with gamma = {arguments = ["x"], '
        'definition = "..."} under [operators] (a term may call tanh, sin, cos, erf, atan, exp, '
        "log, sqrt, Abs, sign, Heaviside, Max, Min, sum_pre, sum_post, sigmoid, relu, softplus)",
    ),
    "wrong arity": (
        "--term tanh(y_pre,W)",
        "term T0: tanh takes 1 argument, not 2, in tanh(y_pre,W)",
    ),
    "missing grammar file": (
        "nowhere.py",
        "nowhere.py: no such file; give a grammar file such as grammar/paper_pool.py",
    ),
    "not a grammar file": ("pool.txt", "pool.txt: not a grammar file; give a .py or a .toml file"),
    "zero": ("--term W-W", "term T0: W-W is zero; leave it out, or mend it"),
    "not real": (
        "--term sqrt(-1)*W",
        "term T0: sqrt(-1)*W is not real; use only what is real for real quantities",
    ),
    "not finite on the data": (
        "--term -e_post*y_pre --term 1/y_pre",
        "term T1, 1/y_pre: not finite at initialisation; rewrite it, or leave it out of the pool",
    ),
    "unknown data set": (
        f"{PAPER} --dataset mnst",
        "--dataset mnst: unknown data set; did you mean mnist? (digits, emnist, mnist, "
        "fashion-mnist, or a file FILE.npz)",
    ),
    "data root without it": (
        f"{PAPER} --dataset emnist --data-root .",
        "--dataset emnist: no EMNIST/raw/emnist-balanced-train-images-idx3-ubyte under "
        "--data-root .; point it at a folder in torchvision's layout, leave it out to have the "
        "files downloaded, or use --dataset digits, which needs no files",
    ),
    "more ways than classes": (
        f"{PAPER} --ways 11",
        "--ways 11: digits has 10 classes; at most 10",
    ),
    "locality excludes a term": (
        "--term -e_post*y_pre --term y_post*sum_post(y_post*W) --locality synaptic",
        "term T1: needs retrograde, not in --locality synaptic: sum_post(y_post*W) reads every "
        "outgoing synapse of the pre-cell; allow it with --locality retrograde or leave T1 out",
    ),
    "locality excludes all": (
        "--term sum_post(y_post*W) --locality synaptic",
        "term T0: needs retrograde, not in --locality synaptic: sum_post(y_post*W) reads every "
        "outgoing synapse of the pre-cell; allow it with --locality retrograde or leave T0 out",
        "--locality synaptic: excludes all 1 terms; allow more needs",
    ),
    "foreign": (
        "--term -e_post*y_pre --locality synaptic --neurons separate",
        "term T0: needs foreign, not in --locality synaptic: e_post reads a cell of another "
        "population; allow it with --locality foreign or leave T0 out",
        "--locality synaptic: excludes all 1 terms; allow more needs",
    ),
    "unknown need": (
        f"{PAPER} --locality dentritic",
        "--locality dentritic: unknown need dentritic; did you mean dendritic? (give synaptic for "
        "none, all, or any of dendritic, retrograde, transport, global, foreign, with commas)",
    ),
    "unknown effort": (
        f"{PAPER} --effort fast",
        "--effort fast: unknown; give one of quick, normal, thorough",
    ),
    "several options at once": (
        f"{PAPER} --pathway up --trials 0 --largest-scale inf --parsimony 2",
        "--pathway up: unknown; give one of random, symmetric, direct, sign-symmetric",
        "--largest-scale inf: must be finite; 1e9 is no cap at all",
        "--trials 0: must be at least 1",
        "--parsimony 2: must be below 1",
    ),
    "absurd sizes": (
        f"{PAPER} --meta-steps 1000000000000 --workers 9999 --layers 3,0",
        "--layers 3,0: must be at least 1; give sizes as in 170,130,100,70",
        "--meta-steps 1000000000000: must be at most 1,000,000",
        "--workers 9999: must be at most 1,024",
    ),
    "an option that the protocol has no use for": (
        f"{PAPER} --l2 0.1",
        "--l2 0.1: --protocol accepted has no use for it; leave it out, or take robust or paper",
    ),
    "another one": (
        f"{PAPER} --protocol paper --parsimony 0.2",
        "--parsimony 0.2: --protocol paper has no use for it; leave it out, or take accepted or "
        "robust",
    ),
    "a rule of no run": (
        f"{PAPER} --terms 3",
        "--terms: beside --show RUN or --from RUN, of a finished run",
    ),
    "unknown option": (
        f"{PAPER} --foo",
        "unrecognized arguments: --foo; python -m rulesearch.search --help lists the options",
    ),
    "layers": (
        f"{PAPER} --layers a,b",
        "argument --layers: a,b: give sizes with commas, as in 170,130; python -m "
        "rulesearch.search --help lists the options",
    ),
    "grammar and terms": (
        f"{PAPER} --term W",
        f"--term: beside {PAPER}; give a grammar file or terms, not both",
    ),
    "resume nothing": (
        "--resume nowhere",
        "--resume nowhere: no such directory; give the directory that --out named",
    ),
    "resume and options": (
        "--resume nowhere --seed 1 --workers 2 --layers 3",
        "--resume nowhere: goes on as it began; leave out --seed, --layers",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_each_and_writes_nothing(case, tmp_path, monkeypatch, capsys):
    arguments, *lines = BAD[case]
    monkeypatch.chdir(tmp_path)
    assert main([*arguments.split(), "--quiet"] if arguments else []) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", lines)
    assert not list(tmp_path.iterdir())


def test_more_shots_than_examples(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([PAPER, "--shots", "500"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--shots 500: ")
    assert "at most 77" in line  # of 174 images, half of them, less 10 queries
    assert not list(tmp_path.iterdir())


def test_a_refused_term_is_named_with_its_file(capsys):
    assert main([PAPER, "--locality", "dendritic,retrograde"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        f"{PAPER}, term {name}: needs global, not in --locality dendritic,retrograde: "
        "sum_post(y_post*sum_pre(W*e_pre)) reads every synapse of the layer; allow it with "
        f"--locality dendritic,retrograde,global or leave {name} out"
        for name in ("F6", "F7")
    ]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.py", "x = 1", "a.py: defines no pool; add pool = Pool(F0=-e_post*y_pre, ...)"),
        ("b.py", "pool = Pool(", "b.py, line 1: syntax error"),
        ("c.py", "1/0", "c.py, line 1: ZeroDivisionError, division by zero; mend the line"),
        ("d.toml", "[terms", "d.toml: not TOML"),
        ("e.toml", "[start]\nF0 = 1", "e.toml: no table [terms]"),
        ("f.toml", '[terms]\nF0 = "y_psot"', "f.toml, term F0: unknown symbol y_psot in y_psot"),
    ],
)
def test_broken_files(name, text, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    assert main([name]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(line)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_run_that_exists_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    assert main(["--term", "-e_post*y_pre", "--out", "run", *SMALL_FLAGS]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--out run: already holds a run")
    assert line.endswith("or choose another --out; nothing was changed")
    assert [(p.name, p.read_text()) for p in run.iterdir()] == [("config.json", "{}")]


def test_no_traceback_from_a_real_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rulesearch.search", "--term", "-e_post*"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


# --- effort --------------------------------------------------------------------------------------


DECIDED = {
    ("robust", "digits"): (200, config_module.EASIER["digits"][1]),
    ("robust", "emnist"): (300, Effort()),
    ("accepted", "digits"): (ACCEPTED.meta_steps, config_module.QUICKER),
    ("accepted", "emnist"): (ACCEPTED.meta_steps, config_module.QUICKER),
}


@pytest.mark.parametrize(("protocol", "dataset"), DECIDED)
@pytest.mark.parametrize(("level", "factor"), [("quick", 0.25), ("normal", 1), ("thorough", 2)])
def test_effort_multiplies_trials_elimination_and_evaluation_together(
    protocol, dataset, level, factor
):
    steps, effort = DECIDED[protocol, dataset]
    config = Config(dataset=dataset, protocol=protocol, effort=level).resolved()
    assert config.meta_steps == steps * factor
    for name, value in vars(effort).items():
        counted = name.endswith(("_tasks", "_steps"))
        expected = max(min(value, 2), round(value * factor)) if counted else value
        assert getattr(config.effort, name) == expected, name


def test_what_is_given_is_not_multiplied():
    config = Config(effort="quick", meta_steps=7).resolved()
    assert config.meta_steps == 7
    assert Config(effort=TINY).resolved().effort == TINY
    assert Config(effort="quick").resolved().resolved() == Config(effort="quick").resolved()


@pytest.mark.parametrize("effort", ["quick", TINY])
def test_effort_is_kept_as_it_was_asked_for(effort):
    config = Config(effort=effort)
    assert from_plain(Config, json.loads(json.dumps(to_plain(config)))) == config


# --- the whole road ------------------------------------------------------------------------------


def test_the_command_keeps_and_prints_a_run(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    terms = ["--term", "-e_post*y_pre", "--term", "-e_post*e_pre"]
    assert main([*terms, *SMALL_FLAGS]) == 0
    out = capsys.readouterr().out
    run = tmp_path / "runs" / "terms-digits-seed0-1"
    result = Result.load(run)
    # Six images are not enough to learn from, and the command says so.
    assert ("dW = " in out, "does not learn" in out) == (result.learns, not result.learns)
    assert "feedback alignment" in out
    assert "runs/terms-digits-seed0-1" in out
    names = {p.name for p in run.iterdir()}
    assert {"config.json", "history.jsonl", "result.json", "rule.tex"} <= names
    for figure in ("accuracy", "coefficients", "alignment"):
        assert any(n.startswith(figure) and n.endswith(".pdf") for n in names), (figure, names)
    assert set(result.evaluation) == {
        *("rule", "backprop_sgd", "backprop_adam", "feedback_alignment")
    }
    assert all(result.theta[n] == 0 for n in result.theta if n not in result.support)
    raw = json.loads((run / "result.json").read_text())
    contract = "schema_version pool support theta theta_interval trials elimination evaluation"
    assert set(f"{contract} config versions seconds".split()) <= set(raw)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_result(tiny, tmp_path, monkeypatch, capsys):
    """Interrupted after every so many meta-steps, the result is that of an unbroken run."""
    monkeypatch.chdir(tmp_path)
    terms = ["--term", "-e_post*y_pre", "--term", "-e_post*e_pre", "--term", "-W"]
    assert main([*terms, *SMALL_FLAGS, "--out", "whole", "--quiet"]) == 0

    from rulesearch.search import stages

    append, left = stages.append_history, [5]

    def interrupted(run, row):
        append(run, row)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(stages, "append_history", interrupted)
    monkeypatch.setattr(stages, "CHECKPOINT_EVERY", 1)
    code = main([*terms, *SMALL_FLAGS, "--out", "broken", "--quiet"])
    assert code == 130
    assert "interrupted; go on with --resume broken" in capsys.readouterr().err
    for _ in range(30):
        left[0] = 7
        code = main(["--resume", "broken", "--quiet"])
        if code == 0:
            break
        assert code == 130
    assert code == 0
    whole, broken = (json.loads(Path(n, "result.json").read_text()) for n in ("whole", "broken"))
    for result in (whole, broken):
        del result["seconds"], result["digest"], result["command"]
    assert whole == broken
    assert Path("whole/history.jsonl").read_text() == Path("broken/history.jsonl").read_text()


def test_the_stages_say_that_the_kernel_is_compiled_beside_them(digits, monkeypatch):
    labels = []
    monkeypatch.setattr(Population, "compile_ahead", lambda self, gradient: True)
    search(POOL, digits, ROBUST, on_stage=labels.append)
    end = labels.index("compiling the kernel")
    assert end > 0
    assert all(label.endswith(", compiling the kernel") for label in labels[:end])
    # Once more for the rule alone, beside its refits.
    beside = [label for label in labels[end:] if label != "compiling the kernel"]
    assert [label for label in beside if "compiling" in label] == [
        label for label in beside if label.startswith("final refit")
    ]
    assert "trial 0 and trial 1" in labels


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["fused", "einsum"])
def test_every_rival_has_a_rate_of_its_own_and_lives_the_lifetimes_of_the_rule(
    kernel, digits, tmp_path
):
    search(POOL, digits, replace(SMALL, kernel=kernel), run=tmp_path / "run")
    run = reading(tmp_path / "run")
    labels = stage_labels(run)
    rule = read_stage(run, "evaluation/rule", Scores)
    result = Result.load(tmp_path / "run")
    for name in result.evaluation:
        label = EVALUATED[name]
        outcomes = read_stage(run, f"evaluation/{label}", Scores)
        assert outcomes.seeds == rule.seeds
        # In single precision, by kernels that add in different orders.
        assert outcomes.initial_loss == pytest.approx(rule.initial_loss, rel=1e-5)
        assert result.evaluation[name].loss == pytest.approx(outcomes.mean_loss)
        rates = [each for each in labels if each.startswith(f"{label}/rate ")]
        assert bool(rates) == (name != "rule")
        if rates:
            assert any(str(result.evaluation[name].rate) in each for each in rates)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_result(digits):
    first, again, other = (
        search(POOL, digits, SMALL),
        search(POOL, digits, SMALL),
        search(POOL, digits, Config(**{**vars(SMALL), "seed": 1})),
    )
    assert (first.theta, first.elimination) == (again.theta, again.elimination)
    assert first.theta != other.theta


def test_search_prints_nothing_unless_asked(digits, capsys):
    steps = []
    result = search(POOL, digits, ROBUST, on_step=steps.append)
    assert capsys.readouterr() == ("", "")
    assert {s.label.split("/")[0].split(" ")[0] for s in steps} >= {"trial", "final"}
    assert str(result).startswith("dW = " if result.learns else "no rule")


@pytest.mark.parametrize(
    "pool",
    [
        Pool(only="-e_post*y_pre"),
        Pool(hebb="y_post*y_pre - y_post**2*W", decay="-W"),
        Pool(weird="tanh(W*y_pre)*L"),
    ],
    ids=["one term", "no pseudo-gradient", "one term that is not it"],
)
def test_any_pool_has_an_answer(pool, digits):
    result = search(pool, digits, SMALL)
    assert result.support
    assert set(result.support) <= set(pool.names)
    assert all(np.isfinite(v) for v in result.theta.values())


@pytest.mark.slow
@pytest.mark.parametrize("pathway", ["symmetric", "direct"])
def test_other_pathways(pathway, digits):
    result = search(POOL, digits, Config(**{**vars(SMALL), "pathway": pathway}))
    assert result.config["pathway"] == pathway
    first = {t.seed: t.theta for t in search(POOL, digits, SMALL).trials}
    assert all(t.theta != first[t.seed] for t in result.trials)  # other errors, other gradients


def test_the_paper_protocol_selects_by_the_penalty_alone(digits):
    options = {**vars(SMALL), "protocol": "paper", "meta_batch": None, "trials": 1}
    result = search(POOL, digits, Config(**options))
    assert result.elimination == ()
    assert result.config["meta_batch"] == 1
    (trial,) = result.trials
    assert result.theta == {n: v if n in trial.support else 0 for n, v in trial.theta.items()}


@pytest.mark.slow
def test_terms_are_never_known_by_their_names(digits):
    """The same expressions under other names, in the same order, give the same coefficients."""
    named = search(POOL, digits, SMALL)
    renamed = Pool(zeta="-e_post*y_pre", F0="-e_post*e_pre", F9="-W")
    result = search(renamed, digits, SMALL)
    assert list(named.theta.values()) == list(result.theta.values())


def test_a_trial_that_is_given_up_is_said(digits):
    """Raw coefficients of this size explode at once: no lifetime of either trial is finite."""
    pool = Pool(grow="W**3", start={"grow": 1e6})
    result = search(pool, digits, ROBUST)
    assert "trial 0 was given up: no lifetime had a finite loss" in result.message


def test_a_term_that_ends_every_lifetime_is_no_rule_whatever_the_protocol(digits):
    result = search(Pool(grow="W**3", start={"grow": 1e6}), digits, SMALL)
    assert not result.learns
    assert "rule does not learn" in result.message


def test_units_make_every_term_as_large_as_the_reference(digits):
    request = prepare(POOL, digits, SMALL)
    assert request.setting.scales[0] == 1.0
    assert all(s > 0 for s in request.setting.scales)
    capped = prepare(POOL, digits, ROBUST).setting.scales
    assert capped == tuple(min(1.0, s) for s in request.setting.scales)


@pytest.mark.parametrize("name", ["paper_pool.py", "paper_pool.toml", "hebbian.py"])
def test_every_grammar_file_can_be_searched(name, digits):
    pool = load_pool(ROOT / "grammar" / name)
    request = prepare(pool, digits, SMALL)
    assert request.messages == ()


def test_explain_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rulesearch.population.run_lifetimes", None)
    assert main([PAPER, "--explain"]) == 0
    out = capsys.readouterr().out
    assert "e_post ⊗ [F0·(-y_pre)" in out
    assert "multiply-adds a step" in out
    assert not list(tmp_path.iterdir())


def test_what_was_merely_measured_of_a_pool_is_said(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    terms = {"T0": "-e_post*y_pre", "T1": "-e_post*y_pre*Heaviside(2 + sin(y_post))"}
    line = "term T1: may add nothing to the pool; wherever tried, T1 = T0"
    assert line in prepare(Pool(**terms), digits, SMALL).messages
    flags = [part for text in terms.values() for part in ("--term", text)]
    assert main([*flags, "--explain"]) == 0
    assert line in capsys.readouterr().out.splitlines()


def test_explain_shows_the_fused_kernel_and_compiles_nothing(tmp_path, monkeypatch, capsys):
    def compiling(*arguments):
        raise AssertionError("it is shown, and not run")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "load", compiling)
    monkeypatch.setattr(cache, "cache_folder", compiling)
    assert main([PAPER, "--explain", "--kernel", "fused"]) == 0
    out = capsys.readouterr().out
    source = out[out.index('"""') :]
    functions = {node.name for node in ast.parse(source).body if hasattr(node, "name")}
    assert {"forward", "adjoint"} <= functions
    for name in load_pool(PAPER).names:
        assert f"  # {name}\n" in source
    assert not list(tmp_path.iterdir())


# --- the kernel ----------------------------------------------------------------------------------


def test_a_pool_that_fused_cannot_take_goes_to_einsum_and_says_why(
    tiny, tmp_path, monkeypatch, capsys
):
    def without_numba(call):
        row = operator_of(call)
        return row and replace(row, spelling={"torch": row.spelling.get("torch", "")})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fused_kernel, "operator_of", without_numba)
    terms = ["--term", "-e_post*y_pre", "--term", "atan(y_post)*y_pre"]
    assert main([*terms, *SMALL_FLAGS, "--kernel", "fused"]) == 0
    out, err = capsys.readouterr()
    line = "fused cannot take operator atan, which has no Numba spelling; using einsum"
    assert out.splitlines()[2] == line
    assert err == ""
    assert main([*terms, "--explain", "--kernel", "fused"]) == 0
    explained = capsys.readouterr().out.splitlines()
    assert line in explained
    assert any("torch." in row for row in explained)


def test_a_cache_folder_that_cannot_be_used_is_one_line(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    monkeypatch.setenv("RULESEARCH_CACHE", "file")
    arguments = ["--term", "-e_post*y_pre", *SMALL_FLAGS, "--kernel", "fused", "--quiet"]
    assert main(arguments) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert capsys.readouterr().err.splitlines() == [
        "RULESEARCH_CACHE file: cannot be written (File exists); name a folder that you alone can "
        "write to, or leave the variable unset"
    ]


# --- the public surface --------------------------------------------------------------------------


def test_the_root_exports_the_contract_and_the_notation():
    assert sorted(rulesearch.__all__) == rulesearch.__all__
    for name in rulesearch.__all__:
        assert getattr(rulesearch, name) is not None
    assert {"load_pool", "run_lifetimes", "search", "Result", "Config"} <= set(rulesearch.__all__)


def test_reading_a_pool_needs_no_torch():
    code = (
        "import sys, rulesearch; rulesearch.load_pool(sys.argv[1]); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, PAPER],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_search_is_callable_however_it_was_imported(digits):
    from rulesearch import search as from_root

    assert callable(from_root)
