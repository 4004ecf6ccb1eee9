"""Where a search begins at a rule: its terms among those of the pool, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from rulesearch.data import Data
from rulesearch.data.apart import same_set, seen_before
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool, Term, pool_from_plain, pool_to_plain, together
from rulesearch.notation.layers import in_network
from rulesearch.result import EvaluationRecord
from rulesearch.rule import Network, Rule, rule_from_plain
from rulesearch.rule.seen import searches_of
from rulesearch.search.config import Config, flag, shown_rule
from rulesearch.words import BEGUN, interval_text, significant


@dataclass(frozen=True)
class Begun:
    """The rule that a search begins at, in the search's pool.

    Attributes:
        rule: as it was given.
        theta: its raw coefficients, [terms] of the pool.
    """

    rule: Rule
    theta: tuple[float, ...]

    @property
    def support(self) -> tuple[int, ...]:
        """Indices of its terms in the pool, in the pool's order."""
        return tuple(term for term, value in enumerate(self.theta) if value)


def begun_at(config: Config, pool: Pool, depths: Collection[int]) -> Begun | None:
    """Where a search begins, or None at the reference alone.

    Args:
        config: the options.
        pool: of the search, with layers counted from 1.
        depths: layers of weights of its networks.

    Raises:
        RuleSearchError: a rule that is none, or one with terms that the pool lacks; a line each.
    """
    if config.begin is None:
        return None
    try:
        rule = rule_from_plain(config.begin)
    except RuleSearchError as error:
        raise error.located(f"{flag('begin')} {shown_rule(config.begin)}") from None
    if len(depths) > 1 and rule.pool.where:
        raise RuleSearchError(
            f"{flag('begin')} {rule.name}: its term {next(iter(rule.pool.where))} acts in layers "
            f"of its own, and networks have {min(depths)} to {max(depths)}; give networks of one "
            "depth"
        )
    return Begun(rule, theta_in(pool, rule, min(depths)))


def theta_in(pool: Pool, rule: Rule, depth: int) -> tuple[float, ...]:
    """The coefficients with which the terms of a pool are a rule, [terms].

    A term is found by its expression, up to a constant factor, whatever its name; where the pool
    has it in several layers apart, each of those gets the rule's coefficient.

    Args:
        pool: of the search, with layers counted from 1.
        rule: to be found in it.
        depth: layers of weights.

    Raises:
        RuleSearchError: terms that the pool lacks, or has in other layers; a line each.

    Example:
        >>> pool = Pool(hebb="y_post*y_pre", double="2*e_post*y_pre")
        >>> theta_in(pool, Rule("delta", Pool(F0="-e_post*y_pre"), (0.01,)), depth=3)
        (0.0, -0.005)
    """
    label = f"{flag('begin')} {rule.name}"
    try:
        mine = rule.pool.in_network(depth)
    except RuleSearchError as error:
        raise error.located(label) from None
    theta = [0.0] * len(pool)
    faults: list[str] = []
    for term, value in zip(mine, rule.theta, strict=True):
        wanted = _layers(mine, term, depth)
        same = {n: t for n, t in enumerate(pool) if t.key == term.key}
        taken = {n: t for n, t in same.items() if _layers(pool, t, depth) <= wanted}
        if not same:
            faults.append(
                f"{label}: the pool lacks its term {term.name}, {term.shown}; put it into the "
                "grammar, or leave the grammar out"
            )
        elif wanted != frozenset().union(*(_layers(pool, t, depth) for t in taken.values())):
            other = next(iter(same.values())).name
            faults.append(
                f"{label}: its term {term.name} acts in layers {_said(wanted)}, and {other} of the "
                "pool, which is the same, in others; give them the same layers"
            )
        for number, found in taken.items():
            theta[number] = value * float(term.factor / found.factor)
    if faults:
        raise RuleSearchError(*faults)
    return tuple(theta)


def _layers(pool: Pool, term: Term, depth: int) -> frozenset[int]:
    everywhere = range(1, depth + 1)
    return frozenset(in_network(pool.where.get(term.name, everywhere), depth))


def _said(layers: Collection[int]) -> str:
    return ", ".join(map(str, sorted(layers)))


def joined(pool: Pool, rule: Rule) -> Pool:
    """A pool with the terms of a rule that it lacks; one whose name is taken is called begun_NAME.

    Raises:
        RuleSearchError: what a pool refuses, such as a term that adds nothing to the others.

    Example:
        >>> rule = Rule("delta", Pool(T0="-e_post*y_pre", T1="-W"), (0.01, 0.1))
        >>> print(*joined(Pool(T0="y_post*y_pre", T1="2*W"), rule).names)
        T0 T1 begun_T0
    """
    lacking = [term for term in rule.pool if not any(term.key == own.key for own in pool)]
    names = {t.name: f"begun_{t.name}" if t.name in pool.names else t.name for t in lacking}
    where = {names[n]: layers for n, layers in rule.pool.where.items() if n in names}
    more = tuple(replace(term, name=names[term.name]) for term in lacking)
    both = together(pool, Pool.checked(more, {}, where, rule.pool.bounds))
    if not lacking:
        return pool if both.bounds == pool.bounds else both
    return pool_from_plain(pool_to_plain(both))  # which looks at them all beside each other


def without_unit(begun: Begun, names: Sequence[str], scales: Sequence[float]) -> Iterator[str]:
    """What is said of terms of the rule that have no unit, as they do nothing on these data."""
    for number in begun.support:
        if not scales[number]:
            yield (
                f"{flag('begin')} {begun.rule.name}: its term {names[number]} is zero on "
                "these data, so no search can change it; take it out of the rule"
            )


def differences(begun: Begun, pool: Pool, config: Config, data: Sequence[Data]) -> Iterator[str]:
    """What a reader must know of a rule that was made for something else than this search.

    Args:
        begun: the rule.
        pool: of the search.
        config: of it, resolved.
        data: its data sets.
    """
    rule = begun.rule
    other = [
        f"{flag(f.name)} {theirs}"
        for f in fields(Network)
        if (theirs := getattr(rule.network, f.name)) != getattr(config, f.name)
    ]
    if rule.pool.bounds != pool.bounds:
        own = ", ".join(f"{p}={low:g},{high:g}" for p, low, high in rule.pool.bounds)
        other.append(f"{flag('bounds')} {own}" if own else "no bounds")
    if other:
        yield f"begun with {rule.name}, which is for {', '.join(other)}"
    for each in data:
        seen, notes = seen_before(each, config.data_root, searches_of(rule))
        yield from (f"begun with {rule.name}: {note}" for note in notes)
        if any(
            search.held_out_classes < each.held_out_classes
            and any(same_set(each.name, other) for other in search.datasets)
            for search in searches_of(rule)
        ):
            yield (
                f"begun with {rule.name}, whose search had images of the classes of {each.name} "
                "that are held out here"
            )
        if seen:
            yield (
                f"begun with {rule.name}, whose search used {seen:,} of the "
                f"{len(each.held_out.x):,} images of {each.name} that are set aside here: give the "
                "tasks and classes that it had, and these stay apart"
            )


def became(
    begun: Begun,
    support: Collection[str],
    names: Sequence[str],
    evaluation: Mapping[str, EvaluationRecord],
) -> str:
    """What became of the rule that a search began with, in a line.

    Args:
        begun: the rule.
        support: names of the terms of the one chosen.
        names: of the pool's terms, in order.
        evaluation: on images set aside, by the names of `Result.evaluation`; of several worlds
            together.
    """
    before = [names[number] for number in begun.support]
    added = [name for name in names if name in support and name not in before]
    gone = [name for name in before if name not in support]
    parts = [
        f"{', '.join(terms)} {word}" for terms, word in ((added, "joined"), (gone, "left")) if terms
    ]
    said = "; ".join(parts) or "no term joined or left"
    entry = evaluation[BEGUN]
    gained, now = significant(entry.gained), significant(evaluation["rule"].accuracy)
    return (
        f"begun with {begun.rule.name} ({', '.join(before)}): {said}; on images set aside that "
        f"gained {gained} {interval_text(entry.gained_interval)} of the loss, paired, and accuracy "
        f"went from {significant(entry.accuracy)} to {now}"
    )
