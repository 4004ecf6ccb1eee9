"""The fused kernel in networks that are not the paper's: activations, losses, biases, noise."""

import dataclasses
import itertools

import batches
import numpy as np
import pytest
import steps
import strategies
import sympy
import test_fused_precision as precision
import torch
from steps import batch_of

from rulesearch.kernels import Unsupported
from rulesearch.kernels.einsum import build as build_einsum
from rulesearch.kernels.fused import build
from rulesearch.kernels.fused.cache import load
from rulesearch.kernels.fused.lifetimes import signatures
from rulesearch.kernels.fused.models import pixel_slopes
from rulesearch.kernels.fused.savings import vanishing
from rulesearch.lifetime import Carried
from rulesearch.lowering import lower, lower_terms
from rulesearch.model import PAPER, Model
from rulesearch.network import gate
from rulesearch.notation import Pool, Term, load_pool, trace
from rulesearch.operators import Interval, sum_post
from rulesearch.operators.activations import ACTIVATIONS, activation
from rulesearch.operators.losses import LOSSES, TARGET, TOP, Loss
from rulesearch.operators.quantities import QUANTITIES
from rulesearch.pathways import pathway

SIZES = (21, 9, 17, 4)
Z, T = QUANTITIES["z_post"].symbol, TARGET.symbol

#: What the package has not heard of: a slope that reads the potential alone, is not 0 at a pixel
#: of 0, and bends; a loss that reads everything a loss may, with an output that is not z.
BENT = activation("bent", lambda z: sympy.atan(z) + z / 3)
ODD = Loss(
    "odd",
    sympy.log(1 + sum_post((sympy.tanh(Z) - T) ** 2)) + sum_post(sympy.exp(Z - TOP.symbol)) / 7,
    sympy.tanh(Z) / sum_post(sympy.exp(Z - TOP.symbol)),
    Interval(-1.0, 1.0),
    lambda ways: 1.0,
    real=True,
)

PAPER_TERMS = batches.PAPER.terms
SOME_TERMS = batches.PAPER.only("F0", "F2", "F3", "F9").terms
WILD_TERMS = batches.WILD.terms
#: Terms of biases: with sums of both sides, with a scalar, of no neuron; one shares a coefficient.
BIAS_TERMS = (
    Term.of("decay", "-b_post", changes="b"),
    Term.of("gated", "tanh(z_post)*L", changes="b"),
    Term.of("all", "-sum_post(e_post**2)", changes="b"),
    Term.of("sums", "tanh(sum_pre(W*y_pre))*sum_post(y_post)", changes="b"),
    Term(
        "both",
        Term.of("F", "-e_post*y_pre").expression,
        "W",
        (("b", -QUANTITIES["e_post"].symbol),),
    ),
)
#: Terms of weights that read biases and noise, in a value on synapses too.
READING = (
    Term.of("A", "-e_post*xi_post*y_pre"),
    Term.of("B", "b_post*y_pre*e_post"),
    Term.of("C", "tanh(W*y_pre + b_post)*xi_post"),
    Term.of("D", "-xi_post*e_post", changes="b"),
)


def case(terms, model, path="random", answers="labels", seed=0, count=12):
    """Lifetimes of the small network, some pixels dark throughout; no term does much in a step."""
    start = batches.given(seed, SIZES, path, lifetimes=2, steps=count, queries=5)
    for x in (start.train[0], start.query[0]):
        x[..., :3] = 0
    made = steps.case(terms, model, start, seed, answers)
    return dataclasses.replace(made, theta=0.04 * made.theta)


def kernels(case):
    plan = lower_terms(case.terms, case.model)
    path = pathway(case.start.pathway, len(SIZES) - 1)
    return build(plan, SIZES, path), build_einsum(plan, SIZES, path)


def given_batch(case):
    """The case as a batch, its biases not zero."""
    batch = batch_of(case)
    if not case.model.bias:
        return batch
    rng = np.random.default_rng(1)
    biases = [torch.from_numpy(0.3 * rng.normal(size=w.shape[:2])) for w in batch.weights]
    return dataclasses.replace(batch, biases=biases)


def relative(found, expected):
    """The largest error of each term or layer, relative to its largest value."""
    scale = expected.abs().max()
    assert scale > 0
    return float((found - expected).abs().max() / scale)


def distance(found, expected):
    """How far an outcome is from another, every term and every layer by itself."""
    pairs = [(getattr(found, n), getattr(expected, n)) for n in ("loss", "initial_loss")]
    for name in ("gradient", "idle"):
        a, b = getattr(found, name), getattr(expected, name)
        if b is not None:
            pairs += zip(a.unbind(-1), b.unbind(-1), strict=True)
    for name in ("weights", "biases"):
        layers = getattr(found, name) or [], getattr(expected, name) or []
        pairs += zip(*layers, strict=True)
    assert torch.allclose(found.accuracy, expected.accuracy, atol=1e-12)
    return max(relative(a, b) for a, b in pairs)


def assert_equals_einsum(case, tolerance=1e-10, **more):
    fused, einsum = kernels(case)
    batch, terms = given_batch(case), range(len(case.terms))
    expected = einsum(batch, gradient=terms, keep_weights=True, **more)
    found = fused(batch, gradient=terms, keep_weights=True, **more)
    assert distance(found, expected) < tolerance
    # Nothing hangs on what else is asked for, nor on dark pixels.
    assert torch.equal(fused(batch).loss, fused(batch, gradient=terms).loss)
    full = dataclasses.replace(fused, skips=False)(batch, gradient=terms, keep_weights=True, **more)
    assert distance(found, full) < 1e-11


# --- the same results as einsum -----------------------------------------------------------------

MODELS = {
    "own activation and loss": (
        (*SOME_TERMS, *BIAS_TERMS),
        Model(BENT, ODD, bias=True, noise=0.1),
        "symmetric",
        "given",
        60,
    ),
    "probabilities": (SOME_TERMS, PAPER, "direct", "given", 60),
    "softplus, biases, labels": (BIAS_TERMS, Model(bias=True), "random", "labels", 60),
    "tanh, squared, labels": (
        WILD_TERMS,
        Model(ACTIVATIONS["tanh"], LOSSES["squared"]),
        "sign-symmetric",
        "labels",
        12,
    ),
}


# 60 steps reach over a checkpoint, which comes after 50, where updates are undone.
@pytest.mark.parametrize(
    "name",
    [*list(MODELS)[:1], *(pytest.param(n, marks=pytest.mark.slow) for n in list(MODELS)[1:])],
)
def test_equals_einsum(name):
    terms, model, path, answers, count = MODELS[name]
    assert_equals_einsum(case(terms, model, path, answers, count=count))


@pytest.mark.slow  # compiles
def test_terms_that_idle_read_biases_and_noise():
    model = Model(ACTIVATIONS["sigmoid"], bias=True, noise=0.3)
    idle = lower_terms(
        (Term.of("I", "-e_post*y_pre*b_post"), Term.of("J", "xi_post*e_pre*W")), model
    )
    assert_equals_einsum(case(READING, model), idle=idle)


@pytest.mark.slow
def test_traces_of_biases():
    slow = trace("slow_post", "e_post*z_post", decay=0.5)
    bias = trace("bias_post", "b_post", decay=0.5, initial="first")
    known = {s.name: s for s in (slow, bias)}
    terms = (
        Term.of("A", "-slow_post*y_pre", quantities=known),
        Term.of("B", "-slow_post*bias_post", quantities=known, changes="b"),
    )
    # The query is asked after some steps, as of every loss but the paper's.
    assert_equals_einsum(case(terms, Model(ACTIVATIONS["tanh"], LOSSES["squared"], bias=True)))


@pytest.mark.slow
def test_what_begins_at_the_first_step_where_steps_are_repeated():
    """A trace of synapses has them repeated, and the first is the last of these."""
    known = {
        made.name: made
        for made in (
            trace("slow_pre", "y_pre", decay=0.7, initial="first"),
            trace("slow", "W*y_pre", decay=0.5),
        )
    }
    terms = (
        Term.of("A", "-e_post*slow_pre", quantities=known),
        Term.of("B", "-slow*e_post", quantities=known),
    )
    assert_equals_einsum(case(terms, PAPER))


@pytest.mark.slow  # compiles
def test_feedback_that_reads_weights_which_a_decay_scales():
    """What it adds to Λ of weights is of those after the step, which are scaled already."""
    assert_equals_einsum(case(load_pool("grammar/feedback.py").terms, PAPER))


# Each compiles for tens of seconds.
@pytest.mark.slow
@pytest.mark.parametrize("terms", ["paper", "wild"])
@pytest.mark.parametrize(
    ("number", "rows"),
    [*enumerate(itertools.product([*ACTIVATIONS.values(), BENT], [*LOSSES.values(), ODD]))],
    ids=lambda value: "" if isinstance(value, int) else "-".join(row.name for row in value),
)
def test_equals_einsum_everywhere(number, rows, terms):
    model = Model(*rows, bias=number % 2 == 0, noise=0.2 * (number % 3 == 0))
    own = PAPER_TERMS if terms == "paper" else WILD_TERMS
    more = BIAS_TERMS if model.bias and terms == "paper" else ()
    path = strategies.PATHWAYS[(number + (terms == "wild")) % 4]
    answers = "labels" if number % 2 else "given"
    assert_equals_einsum(case((*own, *more), model, path, answers))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(("tanh", "squared"), marks=pytest.mark.slow),
        pytest.param(("softplus", "cross-entropy"), marks=pytest.mark.slow),
        pytest.param(("sigmoid", "squared"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def test_float32_errs_as_float32_must(rows, monkeypatch):
    model = Model(ACTIVATIONS[rows[0]], LOSSES[rows[1]], bias=True, noise=0.1)
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(4, precision.STEPS, n, generator=generator) for n in SIZES[1:]]
    biases = [0.3 * torch.randn(4, n, generator=generator) for n in SIZES[1:]]
    run = batches.run

    def with_model(pool, theta, start, **more):
        dtype = start.weights[0].dtype
        carried = Carried(biases=[b.to(dtype) for b in biases])
        more |= {"carried": carried, "noise": [xi.to(dtype) for xi in noise]}
        return run(pool, theta, start, model=model, **more)

    monkeypatch.setattr(batches, "run", with_model)
    given = precision.lifetimes_of(batches.PAPER, "random")
    exact, bounds = precision.exact_and_bounds(given)
    assert precision.beyond(precision.results(given, "fused", torch.float32), exact, bounds) == []
    # And the bound can be broken.
    wrong = dataclasses.replace(given, theta=given.theta * float(precision.WRONG))
    assert precision.beyond(precision.results(wrong, "fused", torch.float32), exact, bounds)


# --- what hangs on a model ----------------------------------------------------------------------


def source(model, pool=batches.PAPER):
    return build(lower(pool, model), SIZES, pathway("random", 3)).source


def test_every_model_has_a_module_of_its_own():
    models = [
        PAPER,
        *(Model(row) for name, row in ACTIVATIONS.items() if name != "softplus"),
        Model(loss=LOSSES["squared"]),
        Model(bias=True),
        Model(noise=0.1),
        Model(noise=0.2),
    ]
    texts = [source(model) for model in models]
    assert len(set(texts)) == len(texts)
    assert ["BETA" in text for text in texts] == [m.activation.name == "softplus" for m in models]


def test_the_paper_s_pieces_are_not_made_again():
    text = source(PAPER)
    assert not any(f"def {name}(" in text for name in ("hidden", "output", "query", "activation"))
    # An activation of one's own that is the paper's is the paper's.
    same = dataclasses.replace(PAPER.activation, safe={})
    assert source(Model(same)) == text


def test_types_are_those_of_a_module_s_arguments():
    labels = signatures(load(source(PAPER)))
    numbers = signatures(load(source(Model(loss=LOSSES["squared"], noise=0.1))))
    assert [str(t) for t in labels["forward"][5:7]] == ["array(int64, 1d, C)"] * 2
    assert len(numbers["forward"]) == len(labels["forward"]) + 2
    assert str(numbers["forward"][7]) == "array(float32, 3d, C)"


@pytest.mark.parametrize("row", [*ACTIVATIONS.values(), BENT], ids=lambda row: row.name)
def test_slopes_of_pixels_are_those_of_the_network(row):
    x = torch.tensor([[0.0, 0.3], [1.0, 0.0]])
    found = pixel_slopes(row)(x.numpy())
    assert found.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(found), gate(row).slope(x, x))


def test_a_dark_pixel_has_an_error_where_the_slope_is_not_0_there():
    pool = Pool(A="-e_post*e_pre", B="-e_post*y_pre")
    for name, row in ACTIVATIONS.items():
        gone = vanishing(lower(pool, Model(row)))
        assert ("e_pre" in gone) is (name in ("softplus", "sigmoid", "relu"))


def test_refuses_an_activation_without_spelling(monkeypatch):
    from rulesearch.kernels.fused import kernel

    spelling = {"torch": "torch.atan({0})", "numpy": "numpy.arctan({0})"}
    real = kernel.operator_of

    def without(call):
        row = real(call)
        return dataclasses.replace(row, spelling=spelling) if call is sympy.atan else row

    monkeypatch.setattr(kernel, "operator_of", without)
    with pytest.raises(Unsupported, match=r"^operator atan, which has no Numba spelling$"):
        build(lower(Pool(A="-e_post*y_pre**3"), Model(BENT)), SIZES, pathway("random", 3))


@pytest.mark.slow
def test_a_batch_without_noise_has_none():
    model = Model(noise=0.2)
    made = case((Term.of("A", "-e_post*y_pre"),), model)
    fused, einsum = kernels(made)
    batch = dataclasses.replace(batch_of(made), noise=None)
    found, expected = (k(batch, gradient=[0], keep_weights=True) for k in (fused, einsum))
    assert distance(found, expected) < 1e-10
