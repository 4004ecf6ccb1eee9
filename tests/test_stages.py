"""Stages of a search: what runs side by side gives what each gives alone, and is kept by label."""

import pytest
from test_population import SEEDS, population

from rulesearch.executors.pieces import Executor, Shared
from rulesearch.mixture import Mixture, SideBySide
from rulesearch.population import BY_WORKERS, ON_GPU
from rulesearch.search.stages import Stages
from rulesearch.statistics import measure, measure_each

#: Rules of the paper's pool: the first and the last have the same terms at work.
RULES = {
    "first": (0.02,) + (0.0,) * 9,
    "second": (0.02, 0.0, -0.01) + (0.0,) * 7,
    "third": (0.03,) + (0.0,) * 9,
}


def stages(told):
    return Stages(None, lambda record: None, told.append)


@pytest.mark.parametrize("kernel", ["einsum", "fused"])
@pytest.mark.parametrize("batch", [4, 100])
def test_rules_side_by_side_are_as_alone(kernel, batch):
    networks = population(kernel=kernel, compile_for=tuple(range(10)))
    found = measure_each(networks, [*RULES.values()], SEEDS, 3, batch=batch)
    assert found == [measure(networks, theta, SEEDS, 3) for theta in RULES.values()]
    assert measure_each(networks, [], SEEDS, 3) == []


@pytest.mark.parametrize("kernel", ["einsum", "fused"])
def test_only_rules_of_the_same_terms_share_a_call(kernel):
    """Which terms are at work is decided for a whole call, and others would change the rounding."""
    networks = population(kernel=kernel)
    told = []
    found = stages(told).measurer(networks)(RULES, SEEDS)
    assert told == ["first and third", "second"]
    alone = stages([]).measurer(networks)
    assert found == [alone({label: theta}, SEEDS)[0] for label, theta in RULES.items()]
    told.clear()
    stages(told).measurer(population(kernel=kernel, compile_for=(2,)))(RULES, SEEDS)
    assert told == ["first to third"]


def test_kept_rules_are_not_measured_again(tmp_path):
    class Remembering(Stages):
        kept = {}

        def _done(self, label, kind):
            return self.kept.get(label)

        def _keep(self, label, value):
            self.kept[label] = value

    told = []
    live = Remembering(None, lambda record: None, told.append).measurer(population())
    (second,) = live({"second": RULES["second"]}, SEEDS)
    told.clear()
    assert live(RULES, SEEDS)[1] is second
    assert told == ["first and third"]


def test_as_many_lifetimes_are_asked_for_as_what_runs_them_has_under_way():
    here = population()
    assert here.at_once < BY_WORKERS
    assert population(device="cuda").at_once == ON_GPU
    wide = population(device="cuda", sizes=(6, 3000, 3000, 3))
    assert population(sizes=(6, 3000, 3000, 3)).at_once <= wide.at_once < ON_GPU
    assert Mixture((here, here), (1.0, 1.0)).at_once == here.at_once
    workers = SideBySide(here, Executor(Shared(())))
    assert workers.at_once == BY_WORKERS
