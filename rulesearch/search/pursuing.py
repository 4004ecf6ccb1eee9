"""A search by accepted steps: from the reference to a hall of fame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from rulesearch.errors import RuleSearchError
from rulesearch.locality import classify
from rulesearch.meta import Accepted, Descended, Descent, lifetime_seeds, units
from rulesearch.mixture import Worlds, each_world
from rulesearch.notation import Pool
from rulesearch.pursuit import (
    Aims,
    Departure,
    Descend,
    Entry,
    Grown,
    Means,
    Opening,
    Place,
    Pursuit,
    Ranked,
    gain_of,
    hall_of_fame,
    pursue,
)
from rulesearch.pursuit.course import ROOM
from rulesearch.pursuit.hall import choice, front, with_chosen
from rulesearch.pursuit.place import Needs
from rulesearch.result import (
    EliminationRecord,
    GrowingRecord,
    HallRecord,
    JoiningRecord,
    TrialRecord,
)
from rulesearch.search.beginning import Begun, without_unit
from rulesearch.search.failing import fails_of
from rulesearch.search.record import Found, pool_entries
from rulesearch.search.reference import best_reference, best_start
from rulesearch.search.request import Request
from rulesearch.search.stages import Stages, TimeIsUpError
from rulesearch.selection import Rate, Setting, common_seeds
from rulesearch.statistics import Difference, Scores, t_interval

#: Lifetimes of the reference along which the size of every term is measured,
UNIT_TASKS = 4
#: and points of each at which it is.
UNIT_POINTS = 8
#: Lifetimes along which candidates are differentiated.
SCREENING_TASKS = 64
#: Steps between two looks at the angles of a descent.
OBSERVE_EVERY = 2


def by_pursuit(
    request: Request, stages: Stages, main: Worlds, final: Worlds, alignment: Rate | None
) -> Found:
    """The hall of fame of a pursuit, and its choice.

    Args:
        request: of the search.
        stages: run what is expensive.
        main: networks that learn the search's images,
        final: and those set aside.
        alignment: feedback alignment at its best rate; None where there is one in each world.
    """
    config, protocol = request.config, request.setting.protocol
    assert isinstance(protocol, Accepted)
    assert config.trials is not None  # resolved
    reference = best_reference(request, stages, main, alignment)
    start = reference or best_start(request, stages, main)
    setting = _in_units(request, stages, main, start)
    entries: list[Entry] = []
    unlimited, stages = stages, stages.limited(lambda: bool(entries))
    differentiate = stages.differentiator(main, request.setting.seed, SCREENING_TASKS)

    def covering(means: Means, terms: tuple[int, ...]) -> Means:
        population = each_world(main, lambda w: replace(w, compile_for=tuple(sorted(terms))))
        population.compile_ahead(sorted(terms), forward=False)
        return replace(
            means,
            descend=_watched(stages.descender(population)),
            measure=stages.measurer(population),
            differentiate=stages.differentiator(population, setting.seed, SCREENING_TASKS),
        )

    phi = tuple(x / s if s else 0.0 for x, s in zip(start.theta, setting.scales, strict=True))
    needs = _needs(request)
    effort = setting.effort
    means = Means(
        setting=setting,
        protocol=protocol,
        pace=max(map(abs, phi)),
        gain=0.0,
        descend=_watched(stages.descender(main)),
        measure=stages.measurer(main),
        differentiate=differentiate,
        covering=covering,
        tests=lifetime_seeds(setting.seed, "tries", 0, effort.ranking_tasks, setting.worlds),
        common=common_seeds(setting),
        needs=needs,
        on_compared=_board(
            request, stages, setting, needs, entries, against_reference=reference is not None
        ),
    )
    terms = tuple(t for t, scale in enumerate(setting.scales) if scale)
    begin = Place(means.in_order([t for t, x in enumerate(phi) if x]), phi)
    opening = Opening(begin, terms, simplest(request.pool, terms))
    aims = Aims(
        starts=config.trials,
        steps=config.meta_steps or 0,
        l1=config.l1 or 0.0,
        parsimony=config.parsimony,
        against_reference=reference is not None,
    )
    if request.begun is not None:
        opening = replace(opening, begun=_place_of(request.begun, means))
    try:
        found = pursue(means, aims, opening)
    except TimeIsUpError:
        return _so_far(means, aims, entries)
    starts = [start for each in found.rounds for start in each.starts]
    departures = [departure for each in found.rounds for departure in each.departures]
    lost = [each for start in starts for each in start.lost]
    return Found(
        support=pool_order(setting, found.chosen.place.support),
        theta=found.coefficients.theta,
        intervals=found.coefficients.intervals,
        trials=tuple(_trial_record(setting, start) for start in starts),
        frequencies={
            name: sum(term in start.support for start in starts) / max(1, len(starts))
            for term, name in enumerate(setting.names)
        },
        elimination=tuple(_elimination_record(setting, found, each) for each in departures),
        joining=tuple(
            JoiningRecord(
                round=number,
                term=setting.names[each.term],
                agreement=each.agreement,
                step=each.size,
                gain=each.gain,
                chance=each.chance,
                joins=each.joins,
            )
            for number, one in enumerate(found.rounds, start=1)
            for each in one.tested
        ),
        growing=tuple(record for each in found.grown for record in _growing_records(setting, each)),
        hall=_hall_records(
            setting, needs, found.hall, _told(found.gain), found.chosen, found.coefficients.theta
        ),
        fails=fails_of(request, unlimited, main, lost),
        messages=(found.message,),
    )


def _told(gain: Difference) -> float:
    """A gain that shares of it are told by; 0, for none, where it is not clear that there is."""
    return gain.mean if gain.interval[0] > 0 else 0.0


def _so_far(means: Means, aims: Aims, entries: Sequence[Entry]) -> Found:
    """The choice among the rules that were compared before the time was up; nothing is settled."""
    setting, rival = means.setting, entries[0] if aims.against_reference else None
    hall = hall_of_fame(entries, means.needs)
    chosen = choice(front(hall), rival, aims.parsimony)
    best = min(front(hall), key=lambda entry: entry.loss)
    theta = chosen.theta
    gain = _told(gain_of(best, rival))
    compared = f"{len(entries)} rule{'s' * (len(entries) > 1)} had been compared"
    return Found(
        support=pool_order(setting, chosen.place.support),
        theta=theta,
        intervals=None,
        trials=(),
        frequencies={},
        hall=_hall_records(setting, means.needs, with_chosen(hall, chosen), gain, chosen, theta),
        messages=(f"stopped by the time limit when {compared}: this is the best so far",),
        stopped=True,
    )


def _place_of(begun: Begun, means: Means) -> Place:
    """The rule that a search begins at.

    Raises:
        RuleSearchError: a term of it has no unit, since it does nothing where the reference learns.
    """
    setting = means.setting
    if faults := [*without_unit(begun, setting.names, setting.scales)]:
        raise RuleSearchError(*faults)
    phi = tuple(x / s if s else 0.0 for x, s in zip(begun.theta, setting.scales, strict=True))
    return Place(means.in_order(begun.support), phi)


def simplest(pool: Pool, terms: Sequence[int]) -> tuple[int, ...]:
    """The terms of fewest operations, at most `ROOM`: all of those with as many, or none.

    Args:
        pool: the terms.
        terms: indices of those that are looked at.

    Example:
        >>> pool = Pool(a="-e_post*y_pre", b="-W", c="y_post*y_pre")
        >>> simplest(pool, [0, 1, 2])
        (0, 1, 2)
    """
    sizes = {term: int(pool.terms[term].expression.count_ops()) for term in terms}
    allowed = [size for size in sizes.values() if sum(s <= size for s in sizes.values()) <= ROOM]
    return tuple(term for term in terms if sizes[term] <= max(allowed, default=0))


def _watched(descend: Descend) -> Descend:
    """The same, with a look at the angles of trials, which changes no number."""

    def run(plan: Descent) -> Descended:
        if not re.search(r"(^|/)trial \d+(, on \d+)?$", plan.label):
            return descend(plan)
        return descend(replace(plan, observe=("angle",), observe_every=OBSERVE_EVERY))

    return run


def pool_order(setting: Setting, support: Sequence[int]) -> tuple[str, ...]:
    """Names of the terms of a support, in the pool's order."""
    return setting.tell(sorted(support))


def _in_units(request: Request, stages: Stages, main: Worlds, start: Rate) -> Setting:
    """The setting with units from where learning happens: along lifetimes of the reference.

    At initialisation errors are large and weights have no structure, so that what is small there
    may be large later, and the other way round.
    """
    setting, factors = request.setting, [float(term.factor) for term in request.pool]
    steps = main.shape.ways * main.shape.shots
    points = range(0, steps, -(-steps // UNIT_POINTS))
    seeds = lifetime_seeds(setting.seed, "units along", 0, UNIT_TASKS)
    measured = stages.sizer(main, seeds, points)("units", start.theta)
    assert request.config.largest_scale is not None
    cap = request.config.largest_scale
    scales, _ = units(measured, setting.reference, setting.names, cap, factors)
    # What `prepare` has left out stays so.
    scales = tuple(s if old else 0.0 for s, old in zip(scales, setting.scales, strict=True))
    return replace(setting, scales=scales)


def _trial_record(setting: Setting, start: Descended) -> TrialRecord:
    return TrialRecord(
        seed=start.seed,
        support=pool_order(setting, start.support),
        theta=dict(zip(setting.names, start.theta, strict=True)),
        diverged_lifetimes=start.diverged,
        meta_steps=start.steps,
    )


def _elimination_record(setting: Setting, found: Pursuit, each: Departure) -> EliminationRecord:
    return EliminationRecord(
        dropped=", ".join(pool_order(setting, each.gone)),
        support=pool_order(setting, each.entry.place.support),
        loss=each.entry.loss,
        cost=each.cost.mean,
        cost_interval=each.cost.interval,
        share_of_gain=each.share,
        kept={*found.chosen.place.support} <= {*each.entry.place.support},
    )


def _growing_records(setting: Setting, grown: Grown) -> Iterator[GrowingRecord]:
    """The candidates of a small rule, with what became of those that took their steps."""
    losses: dict[frozenset[int], float] = {}
    for entry in sorted(grown.entries, key=lambda entry: -entry.loss):
        losses[frozenset(entry.place.support)] = entry.loss
    base = grown.base.place.support
    for each in grown.tested:
        yield GrowingRecord(
            base=pool_order(setting, base),
            term=setting.names[each.term],
            agreement=each.agreement,
            step=each.size,
            gain=each.gain,
            loss=losses.get(frozenset({*base, each.term})),
        )


def _needs(request: Request) -> Needs:
    """What terms of the search's pool need; each is looked at once."""

    @cache
    def of(term: int) -> frozenset[str]:
        verdict = classify(request.pool.terms[term], request.config.neurons)
        return frozenset(evidence.need for evidence in verdict.evidence)

    return lambda terms: frozenset().union(*map(of, terms))


def _board(
    request: Request,
    stages: Stages,
    setting: Setting,
    needs: Needs,
    entries: list[Entry],
    *,
    against_reference: bool,
) -> Callable[[Place, tuple[float, ...], Scores], None]:
    """Keeps the hall of fame as it grows, with every rule that is compared; the reference first.

    Args:
        request: of the search.
        stages: that keep it.
        setting: of the search.
        needs: of terms.
        entries: all that were compared, filled here.
        against_reference: whether the gain is measured against the first.
    """
    pool = pool_entries(request.pool, request.config)

    def enter(place: Place, theta: tuple[float, ...], outcomes: Scores) -> None:
        entries.append(Entry(place, theta, outcomes))
        best = min(entries, key=lambda entry: entry.loss)
        gain = _told(gain_of(best, entries[0] if against_reference else None))
        hall = hall_of_fame(entries, needs)
        stages.keep_hall(pool, _hall_records(setting, needs, hall, gain))

    return enter


def _hall_records(
    setting: Setting,
    needs: Needs,
    hall: Sequence[Ranked],
    gain: float,
    chosen: Entry | None = None,
    theta: Sequence[float] = (),
) -> tuple[HallRecord, ...]:
    """The hall of fame as records.

    Args:
        setting: with the names of the terms.
        needs: of terms.
        hall: the rules.
        gain: of the best of them, nats.
        chosen: the answer, once that is known,
        theta: and its raw coefficients, [terms].
    """
    best = min(ranked.entry.loss for ranked in hall)
    records = []
    for ranked in hall:
        entry, place = ranked.entry, ranked.entry.place
        raw = theta if entry is chosen else entry.theta
        records.append(
            HallRecord(
                support=pool_order(setting, place.support),
                theta={setting.names[t]: raw[t] for t in sorted(place.support)},
                needs=tuple(sorted(needs(place.support))),
                loss=entry.loss,
                loss_interval=t_interval(entry.outcomes.loss),
                lifetimes=len(entry.outcomes.seeds),
                diverged=sum(entry.outcomes.diverged),
                behind=ranked.behind.mean,
                behind_interval=ranked.behind.interval,
                given_away=(entry.loss - best) / gain if gain > 0 else None,
                chosen=entry is chosen,
            )
        )
    return tuple(records)
