"""The ablation of a rule: leave one out, refitted and not, and add one in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rulesearch.ablate.refitting import Refits, seeds_for
from rulesearch.ablate.table import Ablated, Change, Row
from rulesearch.errors import RuleSearchError
from rulesearch.evaluate.engine import Images, Watch, refuse_device, unwatched
from rulesearch.evaluate.kept import Kept, keeping
from rulesearch.evaluate.options import Asked, asked_for, own_scenario, scenarios, varied
from rulesearch.evaluate.rivals import Contestant, Site, of_rule, units_of
from rulesearch.given_rule import Given, load_rule
from rulesearch.lifetime.modes import plain
from rulesearch.locality import classify
from rulesearch.meta import lifetime_seeds
from rulesearch.notation import Pool, Term, load_pool
from rulesearch.rule import Rule
from rulesearch.search.beginning import joined
from rulesearch.statistics import Scores, measure

#: Accepted steps of a refit, unless another number is asked for.
STEPS = 12


def ablate(
    rule: Given,
    *,
    pool: Pool | str | os.PathLike[str] | None = None,
    refit_steps: int = STEPS,
    out: str | os.PathLike[str] | None = None,
    watch: Watch = unwatched,
    **options: Any,
) -> Ablated:
    """A rule without each of its terms, as it stands and refitted, and with each of a pool's.

    Args:
        rule: what `load_rule` takes.
        pool: of candidates that are added one by one, with a refit; or its grammar file.
        refit_steps: accepted steps of a refit at most; 0 for no refits.
        out: a folder that keeps what is measured.
        watch: told of the progress.
        **options: of the scenario, as of `rulesearch.evaluate`; one value each.

    Raises:
        RuleSearchError: options, data or terms that do not fit; several scenarios.
    """
    found = load_rule(rule)
    candidates = pool if isinstance(pool, Pool) or pool is None else load_pool(Path(pool))
    place = None if out is None else Path(out)
    return ablated(found, asked_for(options), candidates, refit_steps, place, watch)


@plain()
def ablated(
    rule: Rule,
    asked: Asked,
    pool: Pool | None = None,
    steps: int = STEPS,
    out: Path | None = None,
    watch: Watch = unwatched,
) -> Ablated:
    """The ablation of a rule; see `ablate`."""
    if several := varied(asked):
        raise RuleSearchError(f"{several[0]}: several values; an ablation is in one scenario")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise RuleSearchError(f"refit_steps {steps!r}: give a whole number, at least 0")
    if pool is not None and not steps:
        raise RuleSearchError(
            "refit_steps 0: a term that is added has no coefficient without a refit; leave the "
            "pool out, or give steps"
        )
    refuse_device(asked)
    (scenario,) = scenarios(asked, own_scenario(rule))
    site = Site(scenario, Images([rule], asked).of(scenario), asked)
    notes = [*site.notes(rule)]
    whole = of_rule(site, rule).searching.pool
    there = pool and pool.in_network(len(of_rule(site, rule).searching.sizes) - 1)
    both, theta, names, said = with_candidates(whole, rule, there, site.notes)
    added = replace(rule, pool=both, theta=theta, intervals={})
    with keeping(out) as kept:
        study = _Study(site, of_rule(site, added), steps, kept)
        rows: list[Row] = []
        todo = [*study.todo(whole.names, names)]
        for number, (change, term, refit) in enumerate(todo):
            watch(f"{change} {'' if term is None else both.names[term]}", number / len(todo))
            rows.append(study.row(change, term, refit=refit))
        watch("", 1.0)
    return Ablated(rule, scenario, asked, steps, tuple(rows), (*notes, *said))


def with_candidates(
    whole: Pool,
    rule: Rule,
    pool: Pool | None,
    look: Callable[[Rule], object] = lambda rule: None,
) -> tuple[Pool, tuple[float, ...], tuple[str, ...], tuple[str, ...]]:
    """A rule's pool with candidates of another, for as far as they add something.

    Args:
        whole: the rule's pool.
        rule: the rule.
        pool: of the candidates.
        look: refuses a rule that cannot be there.

    Returns:
        The pool, the rule's coefficients in it, the candidates' names, and what is said of others.
    """
    both, names, said = whole, [], []
    for term in pool or ():
        layers = pool.where.get(term.name, ()) if pool else ()
        same = [own.name for own in both if own.key == term.key]
        if any(layers == both.where.get(name, ()) for name in same):
            continue
        if same:
            said.append(
                f"{term.name} of the pool is left out: {same[0]} is the same in other layers"
            )
            continue
        name = term.name if term.name not in both.names else f"pool_{term.name}"
        one = Pool.checked((replace(term, name=name),), {}, {}, ())
        where = {name: pool.where[term.name]} if pool and term.name in pool.where else {}
        try:
            alone = replace(rule, pool=one.acting(where), theta=(1.0,), intervals={})
            look(alone)
            # The rule's terms come first and keep their names.
            both = joined(both, alone)
        except RuleSearchError as error:
            said.append(f"{term.name} of the pool is left out: {error.lines[0]}")
            continue
        names.append(name)
    own = dict(zip(whole.names, rule.theta, strict=True))
    return both, tuple(own.get(name, 0.0) for name in both.names), tuple(names), tuple(said)


@dataclass(frozen=True, eq=False)
class _Study:
    """The rules of one ablation, all of one pool.

    Attributes:
        site: where they are tried.
        rule: the whole rule, candidates at zero.
        steps: of a refit at most.
        kept: what is known already.
    """

    site: Site
    rule: Contestant
    steps: int
    kept: Kept

    @property
    def pool(self) -> Pool:
        """All terms."""
        return self.rule.searching.pool

    @property
    def theta(self) -> tuple[float, ...]:
        """Of the whole rule, candidates at zero."""
        return tuple(float(x) for x in self.rule.theta(1.0, ()))

    @cached_property
    def units(self) -> tuple[float, ...]:
        """Of each term, see `units_of`."""
        return units_of(self.rule.searching, self.site.asked.seed)

    @cached_property
    def refits(self) -> Refits:
        """How coefficients are fitted again."""
        asked = self.site.asked
        covered = tuple(range(len(self.pool)))
        networks = replace(self.rule.searching, compile_for=covered)
        seeds = seeds_for(asked.seed, asked.tuning_tasks)
        return Refits(networks, self.theta, seeds, self.steps, asked.seed)

    def todo(
        self, own: Sequence[str], names: Sequence[str]
    ) -> Iterator[tuple[Change, int | None, bool]]:
        """What is to be done: the change, the term, and whether with a refit."""
        ways = (False, True) if self.steps else (False,)
        yield from (("whole", None, refit) for refit in ways)
        place = self.pool.names.index
        if len(own) > 1:
            yield from (("without", place(name), refit) for name in own for refit in ways)
        yield from (("with", place(name), True) for name in names)

    def row(self, change: Change, term: int | None, *, refit: bool) -> Row:
        """A changed rule, fitted again or not, on images set aside."""
        theta = self._fitted(change, term) if refit else self._plainly(term)
        scores = self._asked({"theta": theta}, Scores, lambda: self._scores(theta))
        of = None if term is None else self.pool.terms[term]
        values = zip(self.pool.names, theta, strict=True)
        return Row(
            change=change,
            term="" if of is None else of.name,
            shown="" if of is None else of.shown,
            needs=() if of is None else _needs(of),
            refitted=refit,
            theta={name: value for name, value in values if value},
            scores=scores,
        )

    def _plainly(self, term: int | None) -> tuple[float, ...]:
        return tuple(0.0 if n == term else x for n, x in enumerate(self.theta))

    def _fitted(self, change: Change, term: int | None) -> tuple[float, ...]:
        asked = {"change": change, "of": term, "steps": self.steps}
        theta: tuple[float, ...] = self._asked(
            asked, tuple[float, ...], lambda: self._refit(change, term)
        )
        return theta

    def _refit(self, change: Change, term: int | None) -> tuple[float, ...]:
        refits = self.refits
        if term is None:
            return refits.refitted("ablate/whole", [self.theta])
        name = self.pool.terms[term].key
        if change == "without":
            return refits.refitted(f"ablate/without {name}", refits.without(term))
        scales = self.units
        reference = self.pool.names.index(self.pool.reference)
        size = abs(self.theta[reference]) / scales[reference] or 1e-3
        unit = refits.unit(term, scales[term] * size) if scales[term] else 0.0
        return refits.refitted(f"ablate/with {name}", [self.theta], {term: unit})

    def _scores(self, theta: Sequence[float]) -> Scores:
        networks, asked = self.rule.set_aside, self.site.asked
        seeds = lifetime_seeds(asked.seed, "evaluate", 0, asked.lifetimes)
        covered = tuple(n for n, x in enumerate(self.theta) if x)
        networks = replace(networks, compile_for=covered)
        return measure(networks, theta, seeds, networks.outputs)

    def _asked(self, what: dict[str, Any], kind: Any, find: Callable[[], Any]) -> Any:
        asked = self.site.asked
        question = {
            "ablation": self.rule.says,
            "scenario": replace(self.site.scenario, dataset=""),
            "data": self.site.data.digest,
            "numbers": (asked.seed, asked.lifetimes, asked.tuning_tasks, asked.dtype),
            **what,
        }
        if (known := self.kept.get(question, kind)) is not None:
            return known
        found = find()
        self.kept.put(question, found)
        return found


def _needs(term: Term) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.need for each in classify(term).evidence))
