"""Several worlds as one population: whose a lifetime is, and what it counts as."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_population import PAPER, SEEDS, SHAPE, SIZES, THETA, each_own, images

from rulesearch.executors import started
from rulesearch.kernels import KERNELS
from rulesearch.lifetime import Lifetimes, choose_kernel
from rulesearch.lowering import lower_terms
from rulesearch.meta import ROBUST, FitPlan, fit, lifetime_seeds
from rulesearch.meta.descent import Descent, descend
from rulesearch.meta.protocols import ACCEPTED
from rulesearch.mixture import Mixture, SideBySide, each_world, mixed, untrained_loss, worlds_of
from rulesearch.model import Model
from rulesearch.notation import Pool
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.operators.losses import LOSSES
from rulesearch.pathways import pathway
from rulesearch.population import Population
from rulesearch.scoring import diverged, scored
from rulesearch.statistics import measure
from rulesearch.updates import first_failure, norms, overlaps

EVERY = tuple(range(len(PAPER)))
WORLDS = (
    Population(PAPER, images(), SHAPE, SIZES, kernel="einsum"),
    Population(PAPER, images(classes=5, inputs=4), SHAPE, (4, 7, 5), kernel="einsum"),
    Population(PAPER, images(classes=2, per_class=9), SHAPE, (6, 3, 3, 2), kernel="einsum"),
)
UNTRAINED = (1.25, 1.75, 0.75)
#: Some of these lifetimes learn and some diverge; see `each_own`.
STEEP = 40.0


def equal(one, two):
    """The same numbers, to the bit; what is no number in both is the same."""
    return torch.allclose(one, two, rtol=0, atol=0, equal_nan=True)


def same(one, two):
    """Two answers, to the bit."""
    pairs = [(getattr(one, n), getattr(two, n)) for n in ("loss", "accuracy", "initial_loss")]
    if one.gradient is not None or two.gradient is not None:
        pairs.append((one.gradient, two.gradient))
    return all(equal(a, b) for a, b in pairs)


@settings(max_examples=5)
@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=6),
    steep=st.sampled_from([1.0, STEEP]),
    number=st.sampled_from(range(len(WORLDS))),
)
def test_a_mixture_of_one_world_is_that_world_to_the_bit(seeds, steep, number):
    world = WORLDS[number]
    assert mixed([world], [UNTRAINED[number]]) is world  # in nats
    mixture, theta = Mixture((world,), (1.0,)), steep * THETA
    assert measure(mixture, theta, seeds, mixture.outputs) == replace(
        measure(world, theta, seeds, world.outputs),
        initial_loss=measure(mixture, theta, seeds, mixture.outputs).initial_loss,
    )
    ours, theirs = (p(theta, seeds, gradient=EVERY) for p in (mixture, world))
    assert equal(ours.gradient, theirs.gradient.double())
    learned = ~diverged(theirs.loss, theirs.initial_loss)
    assert torch.equal(ours.initial_loss[learned], theirs.initial_loss.double()[learned])


@settings(max_examples=4)
@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=8),
    steep=st.sampled_from([1.0, STEEP]),
)
def test_losses_are_those_of_the_worlds_as_shares_of_untrained(seeds, steep):
    mixture, theta = Mixture(WORLDS, UNTRAINED), steep * THETA
    together = measure(mixture, theta, seeds, mixture.outputs)
    gradient = mixture(theta, seeds, gradient=EVERY).gradient
    for place, seed in enumerate(seeds):
        number = seed % len(WORLDS)
        world, untrained = WORLDS[number], UNTRAINED[number]
        alone = measure(world, theta, [seed], world.outputs)
        assert together.loss[place] == alone.loss[0] / untrained
        assert together.accuracy[place] == alone.accuracy[0]
        assert together.diverged[place] == alone.diverged[0]
        own = world(theta, [seed], gradient=EVERY).gradient[0].double() / untrained
        assert equal(gradient[place], own)


def test_of_these_lifetimes_some_diverge_and_some_learn():
    found = [
        measure(Mixture(WORLDS, UNTRAINED), steep * THETA, range(12), None).diverged
        for steep in (1.0, STEEP)
    ]
    assert not all(found[0])
    assert any(found[1])


@dataclass(frozen=True)
class Told:
    """A world whose lifetimes come out as told."""

    loss: tuple[float, ...]
    initial: tuple[float, ...]
    outputs: int
    names = ("F",)
    shape = SHAPE
    sizes = (1, 2)

    def __call__(self, theta, seeds, *, gradient=(), observe=(), executor=None):
        places = [seed // 2 for seed in seeds]
        return Lifetimes(
            loss=torch.tensor([self.loss[i] for i in places]),
            accuracy=torch.full((len(seeds),), 0.75),
            initial_loss=torch.tensor([self.initial[i] for i in places]),
        )


@given(
    loss=st.lists(
        st.floats(0, 10, width=32) | st.sampled_from([math.inf, math.nan]), min_size=3, max_size=3
    ),
    initial=st.lists(st.floats(0, 5, width=32) | st.just(math.nan), min_size=3, max_size=3),
    untrained=st.floats(0.1, 9),
)
def test_what_diverged_counts_as_is_said_by_its_own_world(loss, initial, untrained):
    """Whatever comes out: also where a lifetime ends between its untrained loss and chance."""
    others = Told((0.5,) * 3, (1.0,) * 3, outputs=47)
    mixture = Mixture((Told(tuple(loss), tuple(initial), outputs=4), others), (untrained, 1.0))
    found = measure(mixture, (0.0,), (0, 2, 4, 1), mixture.outputs)
    ended, began = torch.tensor(loss).double(), torch.tensor(initial).double()
    expected, accuracy = scored(ended, torch.full((3,), 0.75).double(), began, outputs=4)
    assert found.loss[:3] == tuple((expected / untrained).tolist())
    assert found.accuracy[:3] == tuple(accuracy.tolist())
    assert found.diverged[:3] == tuple(diverged(ended, began).tolist())
    assert (found.loss[3], found.accuracy[3], found.diverged[3]) == (0.5, 0.75, False)


@settings(max_examples=4)
@given(
    company=st.lists(st.sampled_from(range(len(SEEDS))), min_size=1, max_size=9),
    threads=st.sampled_from([1, 3]),
)
def test_a_lifetime_hangs_on_its_seed_alone(company, threads):
    mixture, before = Mixture(WORLDS, UNTRAINED), torch.get_num_threads()
    alone = [mixture(each_own(6)[[i]], [SEEDS[i]], gradient=EVERY) for i in company]
    try:
        torch.set_num_threads(threads)
        together = mixture(each_own(6)[company], [SEEDS[i] for i in company], gradient=EVERY)
    finally:
        torch.set_num_threads(before)
    for place, found in enumerate(alone):
        part = Lifetimes(
            *(getattr(together, n)[[place]] for n in ("loss", "accuracy", "initial_loss")),
            together.gradient[[place]],
        )
        assert same(part, found)


@pytest.mark.slow
def test_workers_change_nothing():
    mixture, seeds = Mixture(WORLDS, UNTRAINED), range(11)
    here = mixture(THETA, seeds, gradient=EVERY)
    with started("processes", 2, [world.images for world in WORLDS]) as executor:
        there = SideBySide(mixture, executor)(THETA, seeds, gradient=EVERY)
    assert same(here, there)


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 5))
def test_worlds_take_turns(worlds, count, step):
    seeds = lifetime_seeds(7, "trial 0", step, count, worlds)
    turns = range(step * count, (step + 1) * count)
    assert [seed % worlds for seed in seeds] == [turn % worlds for turn in turns]
    alone = lifetime_seeds(7, "trial 0", step, count, 1)
    assert alone == lifetime_seeds(7, "trial 0", step, count)
    assert alone[: count // 2] == lifetime_seeds(7, "trial 0", step, count // 2)
    assert all(
        0 <= one - seed < worlds or seed >= one for one, seed in zip(alone, seeds, strict=True)
    )


@pytest.mark.parametrize(("worlds", "count"), [(2, 1), (6, 4), (6, 8), (3, 32)])
def test_no_world_is_passed_over_however_few_lifetimes_a_step_has(worlds, count):
    of = [s % worlds for n in range(300) for s in lifetime_seeds(0, "trial 0", n, count, worlds)]
    times = [of.count(world) for world in range(worlds)]
    assert max(times) - min(times) <= 1


def test_an_untrained_loss_is_the_mean_over_lifetimes():
    seeds = tuple(range(40))  # more than one batch
    for world in WORLDS:
        initial = world(torch.zeros(len(PAPER)).double(), seeds).initial_loss.double()
        assert untrained_loss(world, seeds) == pytest.approx(float(initial.mean()), rel=1e-3)


@pytest.mark.parametrize(
    "model",
    [
        Model(loss=LOSSES["squared"]),
        Model(activation=ACTIVATIONS["tanh"]),
        Model(noise=0.3),
        Model(bias=True),
    ],
)
def test_an_untrained_loss_is_that_of_the_networks_model(model):
    pool = Pool(F0="-e_post*y_pre", A="b_post*y_pre" if model.bias else "-W")
    world = replace(WORLDS[0], pool=pool, model=model)
    initial = world(torch.zeros(2).double(), SEEDS).initial_loss.double()
    assert untrained_loss(world, SEEDS) == pytest.approx(float(initial.mean()), rel=1e-3)


def test_sizes_and_overlaps_of_terms_are_means_over_the_worlds():
    mixture, theta = Mixture(WORLDS[:2], UNTRAINED[:2]), tuple(THETA.tolist())
    sizes = torch.tensor([norms(world, SEEDS, theta, (0, 3)) for world in WORLDS[:2]])
    torch.testing.assert_close(torch.tensor(norms(mixture, SEEDS, theta, (0, 3))), sizes.mean(0))
    products = torch.tensor([overlaps(world, theta, SEEDS, (0, 3)) for world in WORLDS[:2]])
    found = torch.tensor(overlaps(mixture, theta, SEEDS, (0, 3)))
    torch.testing.assert_close(found, products.mean(0))


def test_where_a_term_fails_is_looked_for_in_the_lifetime_s_own_world():
    asked = []

    class Asked(Population):
        def networks(self, seeds, *more):
            asked.append(self.sizes)
            return super().networks(seeds, *more)

    worlds = tuple(Asked(w.pool, w.images, w.shape, w.sizes, kernel="einsum") for w in WORLDS)
    assert first_failure(Mixture(worlds, UNTRAINED), THETA.tolist(), 4, 0) is None
    assert asked == [WORLDS[1].sizes]


def test_compiled_code_serves_networks_of_any_sizes():
    """So that one compilation is enough for all worlds."""
    plan = lower_terms(PAPER.distinct)
    kernels = [
        choose_kernel("fused", plan, sizes, pathway("random", len(sizes) - 1), on_cpu=True)[0]
        for sizes in ((784, 170, 130, 100, 70, 47), (64, 20, 10))
    ]
    assert kernels[0].source == kernels[1].source


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_changed_is_changed_in_all_worlds(kernel):
    worlds = [replace(world, kernel=kernel) for world in WORLDS]
    for population in (mixed(worlds, UNTRAINED), worlds[0]):
        changed = each_world(population, lambda world: replace(world, compile_for=(0, 2)))
        assert {(w.compile_for, w.kernel) for w in worlds_of(changed)} == {((0, 2), kernel)}


def test_observables_are_given_where_layers_are_the_same():
    shallow = replace(WORLDS[2], sizes=(6, 5, 4, 2))
    alike = Mixture((WORLDS[0], shallow), (1.0, 1.0))
    found = alike(THETA, (0, 1, 2), observe=("angle",)).observed["angle"]
    own = [WORLDS[0](THETA, (0, 2), observe=("angle",)), shallow(THETA, (1,), observe=("angle",))]
    assert torch.equal(found[[0, 2]], own[0].observed["angle"])
    assert torch.equal(found[[1]], own[1].observed["angle"])
    assert not Mixture(WORLDS, UNTRAINED)(THETA, (0, 1, 2), observe=("angle",)).observed


def plans(**more):
    terms = len(PAPER)
    shared = {
        "label": "test",
        "support": EVERY,
        "scales": (1.0,) * terms,
        "start": (0.01,) + (0.0,) * (terms - 1),
        "seed": 0,
    }
    return shared | more


def test_meta_learning_needs_not_know_of_worlds():
    mixture = Mixture(WORLDS, UNTRAINED)
    plan = Descent(**plans(protocol=replace(ACCEPTED, meta_batch=6), pace=0.01, steps=2))
    states = []
    descended = descend(mixture, plan, on_step=lambda _, state: states.append(state))
    assert descended == descend(mixture, plan, state=states[0])
    robust = replace(ROBUST, meta_batch=6)
    plan = FitPlan(**plans(protocol=robust, meta_steps=3, worlds=3), observe=("angle",))
    states = []
    fitted = fit(mixture, plan, on_step=lambda _, state: states.append(state))
    assert fitted == fit(mixture, plan, state=states[0])
    assert fitted.lifetimes == 18


def test_worlds_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="same terms"):
        Mixture((WORLDS[0], replace(WORLDS[1], shape=replace(SHAPE, ways=1))), (1.0, 1.0))
    with pytest.raises(ValueError, match="untrained loss of each"):
        Mixture(WORLDS, (1.0,))
    with pytest.raises(ValueError, match="above 0"):
        Mixture(WORLDS, (1.0, 0.0, 1.0))
