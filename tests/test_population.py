import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from golden import GRAMMAR
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesearch.data import ImageSet, TaskShape, draw_tasks
from rulesearch.executors import started
from rulesearch.kernels import KERNELS, Unsupported
from rulesearch.lifetime import Lifetimes, run_lifetimes
from rulesearch.notation import Pool, load_pool
from rulesearch.pathways import PATHWAYS
from rulesearch.population import CHUNK, Population
from rulesearch.updates import norms

PAPER = load_pool(GRAMMAR / "paper_pool.py")
SHAPE = TaskShape(ways=2, shots=3, queries=2)
SIZES = (6, 5, 4, 3)
SEEDS = (3, 1, 4, 15, 9, 2)
THETA = torch.full((len(PAPER),), 0.01, dtype=torch.float64)


def images(per_class=8, classes=3, inputs=6):
    rng = np.random.default_rng(0)
    count = per_class * classes
    x = rng.uniform(0, 1, (count, inputs)) * (rng.uniform(size=(count, inputs)) > 0.3)
    return ImageSet(
        name="made up",
        source="made up",
        classes=classes,
        x=x.astype(np.float32),
        labels=np.repeat(np.arange(classes), per_class),
        rows=np.arange(count),
        starts=np.arange(classes + 1) * per_class,
    )


def population(**more):
    made = Population(PAPER, images(), SHAPE, SIZES, kernel="einsum")
    return replace(made, **more)


def test_networks_do_not_depend_on_threads():
    some, seeds = population(), range(7)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 3, 16):
            torch.set_num_threads(threads)
            found.append(some.networks(seeds))
    finally:
        torch.set_num_threads(before)
    for weights, feedback in found[1:]:
        assert all(map(torch.equal, weights, found[0][0]))
        assert all(map(torch.equal, feedback, found[0][1]))
    alone, _ = some.networks([5])
    assert all(torch.equal(w[0], every[5]) for w, every in zip(alone, found[0][0], strict=True))


def test_names_and_outputs():
    assert population().names == PAPER.names
    assert population().outputs == 3


def same(one, two):
    """Two answers of a population, to the bit."""
    pairs = [(getattr(one, n), getattr(two, n)) for n in ("loss", "accuracy", "initial_loss")]
    pairs += [(one.observed[name], values) for name, values in two.observed.items()]
    if one.gradient is not None or two.gradient is not None:
        pairs.append((one.gradient, two.gradient))
    return all(torch.equal(a, b) for a, b in pairs)


def only(lived, places):
    """Some lifetimes of an answer."""
    places = list(places)
    return Lifetimes(
        lived.loss[places],
        lived.accuracy[places],
        lived.initial_loss[places],
        None if lived.gradient is None else lived.gradient[places],
        observed={name: values[places] for name, values in lived.observed.items()},
    )


def each_own(count):
    """Coefficients of so many lifetimes, of which F3, the decay, is now large and now small."""
    theta = THETA * torch.linspace(0.2, 1.0, count, dtype=torch.float64)[:, None]
    theta[:, 3] = torch.tensor([0.001, 0.2, 0.06], dtype=torch.float64).repeat(count)[:count]
    return theta


@pytest.mark.parametrize("pathway", PATHWAYS)
def test_a_seed_is_a_lifetime_whatever_the_batch(pathway):
    some, asked = population(pathway=pathway), {"observe": ("angle",)}
    every, theta = tuple(range(len(PAPER))), each_own(len(SEEDS))
    together = some(theta, SEEDS, gradient=every, **asked)
    for i, seed in enumerate(SEEDS):
        alone = some(theta[i : i + 1], [seed], gradient=every, **asked)
        assert same(alone, only(together, [i]))


# Layers of odd sizes, so that no vector of torch's ends where a row does; and of so many queries
# that torch divides their activities among threads.
ODD = {"sizes": (64, 87, 33, 7, 3), "shape": TaskShape(ways=2, shots=6, queries=60)}


@pytest.fixture(scope="module")
def lives():
    """By kernel, a population and what each of its lifetimes gives alone, by one thread."""
    every, theta = tuple(range(len(PAPER))), each_own(len(SEEDS))
    found = {}
    for kernel in KERNELS:
        some = population(images=images(per_class=80, inputs=64), kernel=kernel, **ODD)
        found[kernel] = (
            some,
            [some(theta[[i]], [seed], gradient=every) for i, seed in enumerate(SEEDS)],
        )
    return found


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=3)
@given(
    company=st.lists(st.sampled_from(range(len(SEEDS))), min_size=1, max_size=7),
    threads=st.sampled_from([1, 2, 5]),
)
def test_a_lifetime_s_bits_hang_on_nothing_else(lives, kernel, company, threads):
    some, alone = lives[kernel]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = some(
            each_own(len(SEEDS))[company],
            [SEEDS[i] for i in company],
            gradient=tuple(range(len(PAPER))),
        )
    finally:
        torch.set_num_threads(before)
    for place, i in enumerate(company):
        assert same(only(together, [place]), alone[i])


def test_powers_hang_on_no_place_in_a_batch():
    pool = Pool(A="-e_post*y_pre", B="-W**5", C="e_post*Abs(e_pre)**(3/2)", D="y_pre*y_post**(1/3)")
    some = population(pool=pool, sizes=(6, 11, 5, 3))
    theta = torch.tensor([0.02, 0.01, 0.01, 0.001], dtype=torch.float64)
    together = some(theta, SEEDS, gradient=range(4))
    for i, seed in enumerate(SEEDS):
        assert same(some(theta, [seed], gradient=range(4)), only(together, [i]))


def test_a_substitute_s_chunks_are_whole_too(monkeypatch):
    def refuse(plan, sizes, path):
        raise Unsupported("term A (digamma)")

    monkeypatch.setitem(KERNELS, "fused", refuse)
    # A network of other sizes, so that no kernel is kept for it.
    some = population(kernel="auto", sizes=(6, 5, 7, 3))
    together = some(THETA, SEEDS, gradient=(0,))
    assert together.note
    assert together.loss.shape == (len(SEEDS),)
    for i, seed in enumerate(SEEDS):
        assert same(some(THETA, [seed], gradient=(0,)), only(together, [i]))


# --- side by side in threads ----------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_populations_in_threads_give_what_they_give_alone(kernel):
    """Two of the same shape, which would draw their networks into the same memory."""

    def ask(first):
        some, every = population(kernel=kernel), tuple(range(len(PAPER)))
        return [
            some(THETA, range(first + 5 * i, first + 5 * i + 5), gradient=every) for i in range(3)
        ]

    alone = [ask(0), ask(10_000)]
    with ThreadPoolExecutor(2) as executor:
        together = list(executor.map(ask, (0, 10_000)))
    for one, two in zip(alone, together, strict=True):
        assert all(map(same, one, two))


def test_networks_that_are_kept_stay_as_they_are():
    some = population()
    weights, feedback = some.networks(SEEDS)
    copies = [t.clone() for t in (*weights, *feedback)]
    with ThreadPoolExecutor(1) as executor:
        executor.submit(some, THETA, range(50, 56)).result()
    some.networks(range(50, 56))
    some(THETA, range(50, 56))
    assert all(map(torch.equal, (*weights, *feedback), copies))


def test_terms_compiled_for_change_nothing_but_the_rounding():
    plain, wide = (
        population(dtype=torch.float64, compile_for=terms) for terms in ((), tuple(range(10)))
    )
    theta = torch.zeros_like(THETA)
    theta[0], theta[9] = 0.02, 0.01
    a, b = (some(theta, SEEDS, gradient=(0, 9)) for some in (plain, wide))
    torch.testing.assert_close(a.loss, b.loss, rtol=1e-13, atol=0)
    torch.testing.assert_close(a.gradient, b.gradient, rtol=1e-11, atol=1e-14)
    assert not b.gradient[:, 1:9].any()


def test_networks_are_those_of_their_seeds():
    weights, feedback = population().networks(SEEDS)
    assert [tuple(w.shape) for w in weights] == [(6, 5, 6), (6, 4, 5), (6, 3, 4)]
    assert [tuple(b.shape) for b in feedback] == [(6, 6, 5), (6, 5, 4), (6, 4, 3)]
    backward, _ = population().networks(SEEDS[::-1])
    assert all(torch.equal(a, b.flip(0)) for a, b in zip(weights, backward, strict=True))
    twice, _ = population().networks([3, 3])
    assert torch.equal(twice[0][0], twice[0][1])
    for w in weights:
        assert len({float(v) for v in w[:, 0, 0]}) == len(SEEDS)


def test_feedback_is_not_drawn_as_the_weights_are():
    weights, feedback = population().networks(SEEDS)
    for w, b in zip(weights, feedback, strict=True):
        assert not torch.isclose(w.flatten(1), b.flatten(1)).any()
        assert not torch.isclose(w, b.mT).any()


def test_a_symmetric_pathway_has_no_feedback():
    _, feedback = population(pathway="symmetric").networks(SEEDS)
    assert feedback == "symmetric"


def test_feedback_of_a_sign_symmetric_pathway_is_that_of_the_random_one():
    some, signs = (population(pathway=p).networks(SEEDS)[1] for p in ("random", "sign-symmetric"))
    assert all(torch.equal(a, b) for a, b in zip(some, signs, strict=True))


def test_normal_feedback_leaves_the_weights_alone():
    weights, uniform = population().networks(SEEDS)
    same, normal = population(feedback_init="normal").networks(SEEDS)
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    for u, b in zip(uniform, normal, strict=True):
        assert u.shape == b.shape
        assert not torch.isclose(u, b).any()
    wide = population(feedback_init="normal", sizes=(6, 170, 130, 3))
    _, (_, b, _) = wide.networks(SEEDS[:1])
    # None of 22,100 normal draws beyond √3 deviations, the uniform law's bound: 0.917^22100.
    assert float(b.abs().max()) > math.sqrt(6 / 300)


def test_published_tasks_reach_the_lifetimes_and_the_norms():
    some = population(dtype=torch.float64)
    published = replace(some, sampling="published")
    # 3 classes with replacement, so that a task of two may have one of them twice.
    tasks = draw_tasks(some.images, SHAPE, SEEDS, "published")
    weights, feedback = published.networks(SEEDS)
    lived = run_lifetimes(
        PAPER,
        THETA,
        weights,
        feedback,
        train=(tasks.x.double(), tasks.labels),
        query=(tasks.query_x.double(), tasks.query_labels),
        kernel="einsum",
    )
    # 6 steps of some 100 operations in float64.
    assert torch.allclose(published(THETA, SEEDS).loss, lived.loss, rtol=600 * 2.3e-16, atol=0)
    assert not torch.isclose(some(THETA, SEEDS).loss, lived.loss).any()
    assert norms(published, SEEDS)[0] != pytest.approx(norms(some, SEEDS)[0], rel=1e-6)


def test_precision_does_not_change_the_experiment():
    single, _ = population().networks(SEEDS)
    double, _ = population(dtype=torch.float64).networks(SEEDS)
    assert all(torch.equal(a, b.float()) for a, b in zip(single, double, strict=True))
    loss = population()(THETA, SEEDS).loss.double()
    exact = population(dtype=torch.float64)(THETA, SEEDS).loss
    # As above, 6 steps of some 30 operations.
    assert torch.allclose(loss, exact, rtol=6 * 30 * 1.2e-7, atol=0)


def test_gradient_of_some_terms_sums_over_layers():
    some = population(dtype=torch.float64)
    out = some(THETA, SEEDS, gradient=(0, 9))
    assert out.gradient.shape == (len(SEEDS), len(PAPER))
    assert not out.gradient[:, 1:9].any()
    # By central differences of the losses; the error is of order h², and rounding over h.
    h = 1e-5
    for term in (0, 9):
        shift = torch.zeros_like(THETA)
        shift[term] = h
        slope = (some(THETA + shift, SEEDS).loss - some(THETA - shift, SEEDS).loss) / (2 * h)
        assert torch.allclose(out.gradient[:, term], slope, rtol=1e-5, atol=1e-7)
    assert some(THETA, SEEDS).gradient is None


def test_theta_of_each_lifetime():
    some = population(dtype=torch.float64)
    each = THETA * torch.arange(1.0, 7.0, dtype=torch.float64)[:, None]
    losses = some(each, SEEDS).loss
    for i in range(len(SEEDS)):
        alone = some(each[i], SEEDS).loss
        # 6 steps of some 100 operations in float64.
        assert float(losses[i]) == pytest.approx(float(alone[i]), rel=600 * 2.3e-16)


@pytest.mark.parametrize("pathway", PATHWAYS)
def test_norms_are_the_oracles(pathway):
    some = population(pathway=pathway)
    seeds = SEEDS[:2]
    weights, feedback = replace(some, dtype=torch.float64).networks(seeds)
    tasks = draw_tasks(some.images, SHAPE, seeds)
    expected = np.zeros(len(PAPER))
    for i in range(len(seeds)):
        before = [w[i].numpy() for w in weights]
        for r, term in enumerate(PAPER):
            after = oracle.lifetime(
                [term.expression],
                [1.0],
                before,
                None if pathway == "symmetric" else [b[i].numpy() for b in feedback],
                tasks.x[i, :1].double().numpy(),
                tasks.labels[i, :1].numpy(),
                pathway,
            )
            changes = (np.linalg.norm(b - a) for a, b in zip(before, after, strict=True))
            expected[r] += sum(changes) / len(seeds)
    assert norms(some, seeds) == pytest.approx(expected.tolist(), rel=1e-12)


def test_one_worker_is_this_process():
    with started("processes", 1) as executor:
        assert executor is None


@pytest.mark.slow  # starts processes
def test_workers_change_no_bit_where_some_chunks_lack_a_term():
    """A term that is at work in one chunk alone is none that another only differentiates."""
    one = population(kernel="fused")
    theta = THETA.expand(len(SEEDS), -1).clone()
    theta[:-1, 1:] = 0.0  # the last lifetime has all terms, and is in the last chunk
    every = tuple(range(len(PAPER)))
    alone = one(theta, SEEDS, gradient=every)
    with started("processes", 2, [one.images]) as executor:
        together = one(theta, SEEDS, gradient=every, executor=executor)
    assert torch.equal(together.loss, alone.loss)
    assert torch.equal(together.gradient, alone.gradient)


@pytest.mark.slow
def test_workers_change_no_bit():
    """Two populations that differ in their images alone: neither may take the other's place."""
    # Layers large enough that torch rounds a batch of six and one of four differently.
    first = population(images=images(inputs=64), sizes=(64, 170, 130, 100, 70, 3))
    second = replace(first, images=images(per_class=9, inputs=64))
    assert len(SEEDS) > CHUNK
    every = tuple(range(len(PAPER)))
    alone = [p(THETA, SEEDS, gradient=every, observe=("angle",)) for p in (first, second)]
    assert not torch.equal(alone[0].loss, alone[1].loss)
    with started("processes", 2, [first.images, second.images]) as executor:
        together = [
            p(THETA, SEEDS, gradient=every, observe=("angle",), executor=executor)
            for p in (first, second)
        ]
    for one, two in zip(alone, together, strict=True):
        assert torch.equal(one.loss, two.loss)
        assert torch.equal(one.accuracy, two.accuracy)
        assert torch.equal(one.initial_loss, two.initial_loss)
        assert torch.equal(one.gradient, two.gradient)
        assert torch.equal(one.observed["angle"], two.observed["angle"])
