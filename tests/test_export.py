"""A rule in other programs: every export is the kernel's rule, and one that is not is refused."""

import ast
import builtins
import json
import random
import shutil
import subprocess
import tomllib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy
import pytest
import strategies
import torch
from commands import python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sympy import Abs

import rulesearch
from rulesearch import Pool, RuleSearchError, load_pool
from rulesearch.export import export, whole
from rulesearch.export.__main__ import main
from rulesearch.export.in_arrays import in_arrays
from rulesearch.export.in_torch import in_torch
from rulesearch.export.layers import TAKEN
from rulesearch.export.proof import deviation, names_of, trial_of
from rulesearch.export.running import trained
from rulesearch.export.whole import check
from rulesearch.export.written import written
from rulesearch.given_rule import load_rule, pool_around
from rulesearch.model import Model
from rulesearch.notation import (
    L,
    W,
    e_post,
    e_pre,
    quantity,
    seen_from_pre,
    sqrt,
    sum_post,
    together,
    trace,
    y_post,
    y_pre,
    z_post,
)
from rulesearch.operators import QUANTITIES, operator
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.operators.losses import LOSSES
from rulesearch.rule import Network, Rule, rule_from_plain, rule_to_plain

GRAMMAR = sorted((Path(__file__).parent.parent / "grammar").glob("*.*"))
#: Quick ones of the grammar files, and of the rules below; the others are slow, together.
QUICK = ("feedback.py", "normalised.py", "per_layer.py", "memory", "plastic, direct")


def drawn(path):
    """A rule of a grammar file: ten of its terms where it has more, coefficients of either sign."""
    draw = random.Random(path.name)
    pool = load_pool(path)
    if len(pool) > 30:
        pool = pool.only(*draw.sample(pool.names, 10))
    theta = tuple(draw.choice((-1, 1)) * draw.uniform(0.001, 0.02) for _ in pool)
    noise = 0.1 if "three_factor" in path.name else 0.0
    return Rule(path.stem, pool, theta, Network(noise=noise))


WITH_JAX = pytest.mark.skipif(find_spec("jax") is None, reason="needs JAX: pip install jax")


def some(names):
    """Each with each library of arrays; JAX compiles, which takes its time."""
    return [
        pytest.param(
            name,
            library,
            marks=[
                *([pytest.mark.slow] if library == "jax" or name not in QUICK else []),
                *([WITH_JAX] if library == "jax" else []),
            ],
            id=f"{name}-{library}",
        )
        for name in names
        for library in ("numpy", "torch", "jax")
    ]


@pytest.mark.parametrize(("name", "library"), some(path.name for path in GRAMMAR))
def test_a_rule_of_each_grammar_file(name, library):
    rule = drawn(GRAMMAR[0].parent / name)
    assert len(trial_of(written(rule)).kernel) == 20
    assert export(rule, library)


# --- everything that a rule may have -------------------------------------------------------------

bent = operator("bent", lambda x: x / (1 + Abs(x)))


def remembering():
    size = trace("size_post", e_post**2, decay=0.9, initial="first")
    slow = trace("slow_post", y_post, decay=0.95, initial=0.3)
    hat = quantity("hat_post", e_post / (sqrt(size) + 0.1))
    eligible = trace("now", y_post * y_pre, decay=0.8)  # a name that the code has itself
    expected = trace("L_mean", L, decay=0.9, initial="first")
    total = quantity("e", sum_post(y_post * bent(e_post)))
    kept = trace("kept", W, decay=0.5)
    return Pool(
        hat=-hat * seen_from_pre(hat),
        bcm=y_post * (y_post - slow) * y_pre,
        third=(expected - L) * eligible,
        global_=-total * y_pre,
        heavy=-kept,
    )


def plastic(traced):
    follow = trace("f_post", e_post, decay=0.7, initial="first")
    feedback = Pool(kp="-e_post*y_pre", decay="-B", n="-B/n_post", follow=-follow * e_pre, of="B")
    bias = Pool(b0="-e_post", own="-b_post", size="sum_pre(y_pre)/n_pre", of="b")
    own = Pool(kp="-e_post*y_pre", forget="-W/sqrt(n_pre)", seen=-bent(z_post) * y_pre)
    return together(own, feedback, bias) if traced else together(own, bias)


def rules():
    memory, both = remembering(), plastic(traced=True)
    where = {"hat": (1, -1), "heavy": (-2,)}
    yield "memory", memory.acting(where), Network(noise=0.2)
    yield "memory, direct", memory, Network(pathway="direct", activation="tanh", loss="squared")
    yield "plastic", both.bounded({"W": (-0.6, 0.6), "B": (-0.4, 0.4), "b": (0, 0.1)}), Network()
    yield "plastic, direct", both, Network(pathway="direct", activation="sigmoid", noise=0.1)
    yield "plastic, signs", both, Network(pathway="sign-symmetric", activation="relu")
    yield "biases", plastic(traced=False), Network(pathway="symmetric", activation="identity")
    functions = Pool(
        a="-erf(e_post)*Max(y_pre, e_pre, 0)",
        b="-Min(W, 1/2)*Heaviside(z_post - y_pre)",
        c="tanh(W*y_pre)*sum_post(exp(-y_post)*W)/(2 + cos(e_post))",
        d="-atan(1/(W - W**2*y_post)) + sqrt(2)*W**3",
        e="-sign(e_post)*sigmoid(e_pre)*sum_pre(sum_post(W*e_post)*y_pre)",
        f="-log(1 + y_post**(3/2))*sin(z_pre)/n_post**2",
        g="-softplus(z_post)*relu(-e_pre)**pi",
        h="-tanh(1/(3*(e_post**2 + 1)))*y_pre/2",
    )
    yield "functions", functions, Network(feedback_init="normal")
    # Dark pixels have errors of -0.0, whose inverse is infinite and not minus that.
    yield "zeros", Pool(a="-e_post*atan(1/e_pre)"), Network()
    yield "no errors", Pool(a="tanh(y_post)*y_pre - W"), Network()
    yield "a number", Pool(a="1", b="-L*xi_post*y_pre"), Network(noise=0.5)


RULES = {
    name: Rule(name, pool, tuple(0.01 * (-1) ** (i // 2) for i in range(len(pool))), network)
    for name, pool, network in rules()
}


@pytest.mark.parametrize(("name", "library"), some(RULES))
def test_all_that_a_rule_may_have(name, library):
    assert len(trial_of(written(RULES[name])).kernel) == 20
    assert export(RULES[name], library)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("target", ["sympy", "toml", "json", "latex"])
def test_all_that_a_rule_may_have_as_text(name, target):
    assert export(RULES[name], target)


@st.composite
def drawn_rules(draw):
    """Rules of every kind: own quantities and traces, terms of all parameters, any network."""
    path = draw(st.sampled_from(strategies.PATHWAYS))
    network = Network(
        activation=draw(st.sampled_from([*ACTIVATIONS])),
        loss=draw(st.sampled_from([*LOSSES])),
        bias=draw(st.booleans()),
        noise=draw(st.sampled_from([0.0, 0.3])),
        pathway=path,
    )
    model = Model(bias=network.bias, noise=network.noise)
    terms = draw(strategies.step_terms(path, model, smooth=True))
    theta = tuple(draw(st.sampled_from([-0.02, -0.01, 0.01, 0.02])) for _ in terms)
    return Rule("drawn", Pool.checked(terms, {}, {}), theta, network)


@pytest.mark.parametrize("library", ["numpy", "torch", pytest.param("jax", marks=WITH_JAX)])
def test_fans_are_numbers_of_the_library(library):
    # A power of whole numbers has no end, and a function of NumPy's no use for one beyond 2**64.
    pool = Pool(F0="-e_post*y_pre", G0="tanh(2**(2**n_pre))*y_pre")
    assert export(Rule("mine", pool, (0.01, 0.001)), library)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn_rules(), st.sampled_from(["numpy", "torch", "sympy"]))
def test_rules_that_nobody_thought_of(rule, target):
    assert export(rule, target)


# --- what is not the rule is refused -------------------------------------------------------------


WRONG = {
    "numpy": ("0.0075", "0.00750001"),
    "torch": ("y_post.mT @ W", "y_post.mT @ W.abs()"),
    "sympy": ("-e_post*e_pre", "e_post*e_pre"),
}


def a_rule():
    pool = Pool(
        F0="-e_post*y_pre", F2="-e_post*e_pre", F9="y_post*y_pre - y_post*sum_post(y_post*W)"
    )
    return Rule("mine", pool, (0.0075, -0.04, 0.005))


@pytest.mark.parametrize("target", WRONG)
def test_an_export_that_is_wrong_is_refused(target, tmp_path, monkeypatch, capsys):
    right = whole._CODE[target]
    old, new = WRONG[target]
    assert old in right(written(a_rule()))
    monkeypatch.setitem(whole._CODE, target, lambda step: right(step).replace(old, new))
    (tmp_path / "rule.toml").write_text(export(a_rule(), "toml"))
    out = tmp_path / "rule.py"
    out.write_text("what was there")
    assert main([str(tmp_path / "rule.toml"), "--to", target, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mine to {target}: not written, for it is")
    assert said.count("\n") == 1
    assert out.read_text() == "what was there"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/ max(len(post), len(pre))", ""),  # a sum over the batch
        (
            "return post[:, :, 0].mT @",
            "return post[:1, :, 0].expand(len(post), -1).mT @",
        ),  # its first example
        ("kept.mean(0)", "kept[-1]"),
    ],
)
def test_a_batch_that_is_no_mean_is_refused(old, new):
    kept = trace("kept_post", e_post**2, decay=0.9)
    rule = Rule("kept", Pool(A="-e_post*y_pre", B=-kept * e_post * y_pre), (0.1, 0.1))
    text = in_torch(written(rule)).replace("kept_post.mean", "kept.mean")
    text = text.replace("kept_post = ", "kept = kept_post = ")
    assert old in text
    check(text, "torch", written(rule))
    with pytest.raises(RuleSearchError, match=r"mean of its examples: it is off by"):
        check(text.replace(old, new), "torch", written(rule))


def test_a_rule_that_leaves_every_number_is_not_checked():
    with pytest.raises(RuleSearchError, match="first step leaves weights beyond 1000"):
        export(Rule("huge", Pool(F0="-e_post*y_pre"), (1e9,)), "numpy")


# --- torch ---------------------------------------------------------------------------------------


def model(*layers):
    return torch.nn.Sequential(*layers)


def linear(pre, post, **more):
    return torch.nn.Linear(pre, post, **{"bias": False, "dtype": torch.float64, **more})


EXACT = torch.nn.Softplus(beta=10, threshold=40)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (model(linear(4, 3), torch.nn.Softplus(beta=10), linear(3, 2)), "threshold=40"),
        (model(linear(4, 3), torch.nn.Softplus(10, 800), linear(3, 2)), "threshold=40"),
        (model(linear(4, 3), torch.nn.Softplus(), linear(3, 2)), "the rule is for beta=10"),
        (model(linear(4, 3), torch.nn.ReLU(), linear(3, 2)), "Linear, Softplus, Linear"),
        (model(linear(4, 3), EXACT, linear(3, 2), torch.nn.Softmax(1)), "without a Softmax"),
        (model(linear(4, 3), EXACT, linear(3, 2, bias=True)), "give Linear layer 2 bias=False"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(made, said):
    rule = names_of(in_torch(written(a_rule())), "exported")["Rule"]
    with pytest.raises(ValueError, match=said):
        rule(made)


def test_feedback_that_does_not_fit_and_a_layer_that_is_not_there():
    made = names_of(in_torch(written(a_rule())), "exported")
    small = model(linear(4, 3), EXACT, linear(3, 2))
    with pytest.raises(ValueError, match=r"feedback\[0\]: shape \(3, 4\); give \(4, 3\)"):
        made["Rule"](small, [torch.zeros(3, 4), torch.zeros(3, 2)])
    deep = replace(a_rule(), pool=a_rule().pool.acting({"F2": (3,)}))
    with pytest.raises(ValueError, match="2 Linear layers; the rule names layer 3"):
        names_of(in_torch(written(deep)), "exported")["Rule"](small)


def test_single_precision_takes_the_softplus_of_torch_and_an_image_of_rows():
    made = names_of(in_torch(written(a_rule())), "exported")
    net = model(
        torch.nn.Flatten(), torch.nn.Linear(4, 3, bias=False), torch.nn.Softplus(beta=10),
        torch.nn.Linear(3, 2, bias=False),
    )  # fmt: skip
    rule = made["Rule"](made["initialised"](net))
    before = net[1].weight.detach().clone()
    loss = rule.step(torch.rand(5, 2, 2), torch.tensor([0, 1, 1, 0, 1]))
    assert loss.shape == ()
    assert not torch.equal(before, net[1].weight)
    x, answers = torch.rand(4), torch.tensor([0.25, 0.75])
    assert rule.step(x, answers) > 0


@pytest.mark.parametrize("name", ["memory", "plastic, direct"])
def test_everything_is_on_the_device_of_the_model(name):
    """On one where torch refuses to mix, and computes nothing: what is drawn is made there too."""
    step = written(RULES[name])
    _, small = trained(in_torch(step), trial_of(step))
    rule = names_of(in_torch(step), "exported")["Rule"](small.to("meta"))
    loss = rule.step(*(torch.empty(2, n, dtype=torch.float64, device="meta") for n in (6, 3)))
    kept = [*small.parameters(), *rule.feedback, loss]
    kept += [trace for layer in getattr(rule, "traces", []) for trace in layer.values()]
    assert {tensor.device.type for tensor in kept} == {"meta"}


# --- arrays --------------------------------------------------------------------------------------


def test_numpy_stays_in_single_precision():
    step = written(RULES["memory, direct"])
    made, trial = names_of(in_arrays(step, "numpy"), "exported"), trial_of(step)
    single = [w.float().numpy() for w in trial.weights], [b.float().numpy() for b in trial.feedback]
    x, state = trial.x[0].float().numpy(), made["begin"](*single)
    weights, _, state = made["step"](*single, x, 1, state)
    arrays = [*weights, *(trace for layer in state["traces"] for trace in layer.values())]
    assert {array.dtype.name for array in arrays} == {"float32"}


@pytest.mark.slow
def test_jax_takes_many_networks_at_once():
    jax = pytest.importorskip("jax")
    step = written(RULES["memory, direct"])
    made, trial = names_of(in_arrays(step, "jax"), "exported"), trial_of(step)
    with jax.enable_x64(True):
        weights, feedback = ([jax.numpy.stack([m, m]) for m in each] for each in single_of(trial))
        state = jax.vmap(made["begin"])(weights, feedback)
        x, labels = (
            jax.numpy.stack([v[:5]] * 2, 1) for v in (trial.x.numpy(), trial.labels.numpy())
        )

        def one(carried, example):
            return jax.vmap(made["step"])(*carried[:2], *example, carried[2]), None

        (weights, _, _), _ = jax.lax.scan(one, (weights, feedback, state), (x, labels))
        arrays = [numpy.asarray(w) for w in weights]
    for layer, found in enumerate(arrays, start=1):
        assert deviation(trial.kernel[4].arrays[f"W of layer {layer}"], found[1]) < 1e-10


def single_of(trial):
    return [w.numpy() for w in trial.weights], [b.numpy() for b in trial.feedback]


# --- the code itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [in_torch, lambda step: in_arrays(step, "numpy")])
def test_names_of_the_code_are_known(make):
    """A rule may call its own quantities as it likes; they keep clear of what the code has."""
    for name in ("plastic, direct", "memory, direct", "biases", "functions"):
        step = written(RULES[name])
        own = {value.name for view in step.views for value in view.values}
        own |= {f"{name}_" for name in own} | {"bent", "softplus", "sigmoid", "relu", "softplus_"}
        used = {node.id for node in ast.walk(ast.parse(make(step))) if isinstance(node, ast.Name)}
        strange = used - own - TAKEN - set(dir(builtins)) - set(QUANTITIES) - {"x0"}
        assert not strange


def test_a_name_and_a_source_that_would_end_the_docstring():
    rule = replace(a_rule(), name='a """ rule\\', source='"quoted"\n\\n"""; import os')
    for target in ("numpy", "torch", "sympy", "latex"):
        text = export(rule, target)
        if target != "latex":
            assert "import os" in ast.get_docstring(ast.parse(text))


def test_zero_coefficients_are_left_out():
    rule = replace(a_rule(), theta=(0.1, 0.0, 0.0))
    assert "e_pre" not in export(rule, "numpy")
    with pytest.raises(RuleSearchError, match="every coefficient is zero"):
        export(replace(a_rule(), theta=(0.0, 0.0, 0.0)), "numpy")


def test_toml_and_json_read_back():
    rule = RULES["plastic"]
    assert rule_to_plain(rule_from_plain(tomllib.loads(export(rule, "toml")))) == rule_to_plain(
        rule
    )
    assert json.loads(export(rule, "json")) == json.loads(json.dumps(rule_to_plain(rule)))


@pytest.mark.parametrize("target", ["toml", "json"])
def test_an_exported_document_names_the_rule_again(tmp_path, target):
    file = tmp_path / f"plastic.{target}"
    file.write_text(export(RULES["plastic"], target), encoding="utf-8")
    back = load_rule(file)
    assert rule_to_plain(back) == rule_to_plain(RULES["plastic"])
    assert pool_around(file, back) == back.pool


NO_RULES = {
    "no rule, and no run": ("{}", "schema_version is null, and this rulesearch reads"),
    "broken": ('{"terms": ', "not JSON at line 1"),
    "no coefficients": ('{"terms": {"F0": "-e_post*y_pre"}}', r"no table \[theta\]"),
    "no number": (
        '{"terms": {"F0": "-W"}, "theta": {"F0": NaN}}',
        r"theta\['F0'\]: must be finite",
    ),
    "a rule in UTF-16": ('{"terms": {}}'.encode("utf-16"), "not a text file"),
}


@pytest.mark.parametrize(("text", "says"), NO_RULES.values(), ids=NO_RULES)
def test_json_that_is_no_rule_is_refused_with_its_file(tmp_path, text, says):
    file = tmp_path / "rule.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RuleSearchError, match=says) as refused:
        load_rule(file)
    assert str(refused.value).startswith(str(file))


def test_jax_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(whole, "find_spec", lambda name: None)
    with pytest.raises(RuleSearchError, match=r"JAX is not installed.*pip install jax"):
        export(a_rule(), "jax")


# --- LaTeX ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_latex_compiles(tmp_path):
    engine = next((e for e in ("tectonic", "pdflatex") if shutil.which(e)), None)
    if engine is None:
        pytest.skip("neither tectonic nor pdflatex is installed")
    odd = replace(RULES["memory"], name="µ_50%", intervals={"hat": (-0.2, 1e-9)})
    body = "\n\n".join(export(rule, "latex") for rule in (*RULES.values(), odd))
    (tmp_path / "rules.tex").write_text(
        "\\documentclass{article}\n\\usepackage{amsmath}\n\\begin{document}\n"
        f"{body}\n\\end{{document}}\n"
    )
    done = subprocess.run(
        [engine, *(["-interaction=nonstopmode"] if engine == "pdflatex" else []), "rules.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (tmp_path / "rules.pdf").stat().st_size > 0


def test_latex_has_layers_and_intervals():
    rule = replace(a_rule(), intervals={"F0": (0.007, 0.008)})
    text = export(replace(rule, pool=rule.pool.acting({"F2": (2, -1)})), "latex")
    assert r"- 0.0400\, [l \in \{2, D\}] \left(- e_{j} e_{k}\right)" in text
    assert r"F0 & $0.00750$ & $[0.00700,\ 0.00800]$ \\" in text


# --- the command ---------------------------------------------------------------------------------


BAD = {
    "no rule": (["--to", "toml"], "no rule; give a run directory or a rule.toml"),
    "no target": (["paper"], "no target; give --to toml, torch, numpy, jax, latex, sympy or json"),
    "typo": (
        ["paper", "--to", "troch"],
        "--to troch: no target; did you mean torch? (toml, torch, numpy, jax, latex, sympy, json)",
    ),
    "option": (["paper", "--two", "toml"], "unrecognized arguments: --two"),
    "folder": (
        ["paper", "--to", "toml", "--out", "nowhere/rule.toml"],
        "--out nowhere/rule.toml: its folder is not there; give a file",
    ),
    "a folder": (["paper", "--to", "toml", "--out", "."], "--out .: is a directory; give a file"),
    "terms": (["paper", "--to", "toml", "--terms", "3"], "paper: no run directory, so there is no"),
    "file": (["--config", "none.toml"], "--config none.toml: cannot be read (No such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, said = BAD[case]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith(said)
    assert (out, err.count("\n")) == ("", 1)
    assert not [*tmp_path.iterdir()]


def test_a_file_in_place_of_flags(tmp_path, capsys):
    config = tmp_path / "export.toml"
    config.write_text(f'rule = "paper"\nto = "json"\nout = "{tmp_path}/paper.json"\n')
    assert main(["--config", str(config)]) == 0
    assert json.loads((tmp_path / "paper.json").read_text())["name"] == "paper"
    assert main(["--config", str(config), "kolen-pollack"]) == 0
    assert json.loads((tmp_path / "paper.json").read_text())["name"] == "kolen-pollack"
    capsys.readouterr()
    config.write_text('rule = "paper"\nfrom = "json"\n')
    assert main(["--config", str(config)]) == 2
    assert capsys.readouterr().err.startswith(
        f"--config {config}: from: no option; give out, rule,"
    )


def test_help_and_typos_import_nothing_heavy():
    code = "import sys, rulesearch.export.__main__ as m; m.main(['paper', '--to', 'x']); "
    done = python(
        "-c", code + "print(*(n for n in ('torch', 'sympy', 'numpy') if n in sys.modules))"
    )
    assert (done.stdout.strip(), done.returncode) == ("", 0)


def test_the_package_is_the_function():
    assert rulesearch.export("paper", "toml") == export("paper", "toml")
