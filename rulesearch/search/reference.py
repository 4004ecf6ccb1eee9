"""What a search's rule is measured against: one term at its best coefficient."""

from __future__ import annotations

from dataclasses import replace

from rulesearch.meta import Accepted
from rulesearch.mixture import Worlds, each_world
from rulesearch.notation import Pool
from rulesearch.notation.term import PSEUDO_GRADIENT
from rulesearch.search import compared
from rulesearch.search.request import Request
from rulesearch.search.stages import Stages
from rulesearch.selection import Rate, Setting, best_rate, fit_rate


def best_reference(
    request: Request, stages: Stages, main: Worlds, alignment: Rate | None
) -> Rate | None:
    """The reference alone, at its best; None where the gain is measured against no training.

    Args:
        request: of the search.
        stages: run what is expensive.
        main: networks that learn the search's images.
        alignment: feedback alignment at its best rate; None where there is one in each world.
    """
    pool, setting = request.pool, request.setting
    depth = request.depth
    expression = pool.terms[setting.reference].expression
    # In some layers only it is not feedback alignment; by several names in all of them it is.
    pseudo_gradient = pool.throughout(PSEUDO_GRADIENT, depth)
    shared = pool.throughout(expression, depth)
    if not pseudo_gradient:
        return None
    # Baselines learn their biases too, by the same rate.
    biased = request.config.model(pool).bias
    known = request.config.pathway == "random" and alignment is not None and not biased
    if known and list(shared) == list(pseudo_gradient):
        # Feedback alignment is the same rule on the same tasks, but for a factor: known already.
        assert alignment is not None
        rate, shared = alignment, pseudo_gradient
    elif len(shared) > 1:
        single = Pool(F=expression)
        alone = each_world(main, lambda world: replace(world, pool=single, compile_for=()))
        only = compared.one_term(request, alone, setting.protocol.start)
        rate = _of_any_sign(request, only, stages, alone)
    else:
        return _of_any_sign(request, setting, stages, main)
    theta = tuple(rate.rate * shared.get(name, 0.0) for name in pool.names)
    return replace(rate, term=pool.reference, theta=theta)


def best_start(request: Request, stages: Stages, main: Worlds) -> Rate:
    """The reference term alone at its best, for pools that are measured against no training."""
    return _by_loss(request.setting, stages, main)


def _of_any_sign(request: Request, setting: Setting, stages: Stages, population: Worlds) -> Rate:
    if isinstance(request.setting.protocol, Accepted):
        return _by_loss(setting, stages, population)
    return fit_rate(setting, "reference", stages.fitter(population), stages.measurer(population))


def _by_loss(setting: Setting, stages: Stages, population: Worlds) -> Rate:
    """The better of two searches along the mean loss, one for each sign of the coefficient."""
    first = setting.start[setting.reference] or setting.protocol.start
    found = []
    for label, sign in (("reference/as it starts", 1.0), ("reference/turned around", -1.0)):
        start = tuple(
            sign * first if term == setting.reference else 0.0 for term in range(len(setting.names))
        )
        found.append(best_rate(replace(setting, start=start), label, stages.measurer(population)))
    return min(found, key=lambda rate: rate.loss)
