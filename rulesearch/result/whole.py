"""What a search answers, and its strict JSON. Computes nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rulesearch.errors import RuleSearchError
from rulesearch.records.documents import layout, read_document, sealed, unsealed
from rulesearch.records.plain import SCHEMA_VERSION, Count, Interval, Number, Record
from rulesearch.result.equation import equation
from rulesearch.result.records import (
    EliminationRecord,
    EvaluationRecord,
    GrowingRecord,
    HallRecord,
    JoiningRecord,
    PoolEntry,
    TrialRecord,
    WorldRecord,
    best_of_each_size,
    looked_at,
)
from rulesearch.words import in_words, interval_text, significant

if TYPE_CHECKING:
    from rulesearch.rule import Rule

#: In a run directory: the result of a search that a time limit stopped, until it is finished.
SO_FAR = "result_so_far.json"

NO_RULE = "no rule: what was selected does not learn"


@dataclass(frozen=True, kw_only=True)
class Result(Record):
    """The answer of a search with its evidence: what `result.json` holds.

    Attributes:
        pool: every term searched, in the grammar's order.
        definitions: what its terms call and read of the grammar's own, what bounds it and how it
            starts: the tables `operators`, `quantities`, `traces`, `bounds` and `start` of
            `pool_to_plain`.
        support: the terms of the final rule.
        theta: name -> raw coefficient of the final rule, 0.0 outside the support.
        theta_interval: name -> 95 % interval over refits, or over lifetimes drawn anew; conditional
            on the support.
        frequency: name -> share of the trials that kept it.
        trials: the searches with all terms at once.
        elimination: every try of the elimination, in order.
        joining: the candidates of a large pool that were tested, in their order.
        growing: the candidates that small rules were tried to grow by, in their order.
        hall: the best rules of each size, of a search that looks for them.
        evaluation: names of `EVALUATED`, and `BEGUN` -> its record; of several worlds together,
            with losses as shares of their untrained losses.
        worlds: name -> each by itself, of a search in several worlds.
        fails: name -> layer and step, from 1, of terms that stayed at zero because their update
            is not finite there; 0 and 0 where only its derivative is not.
        message: what a reader must know first, such as that nothing beats the reference; or "".
        images: which images served for what.
        config: the options of the request.
        versions: name -> version of what the numbers depend on, at its end.
        earlier: the versions and kernels of other sessions of the same run, where they differed.
        stopped: whether a time limit ended the search before it was done: the rule is the best so
            far, its coefficients are not settled and have no intervals.
        command: the words of the command line that began it; empty from Python.
        machine: processor, cores that it may use, threads; at its end.
        checksums: `pool`, of `pool_to_plain`, and `data NAME` of each data set (`Data.digest`),
            SHA-256 in hexadecimal.
        lifetimes: run by the search: `gradient`, with derivatives, and `forward`, without.
        seconds: wall time of the search, over all sessions; work that a crash undid is not in it.
        schema_version: of this layout.
    """

    schema_version: Count = SCHEMA_VERSION
    pool: tuple[PoolEntry, ...]
    definitions: dict[str, Any] = field(default_factory=dict)
    support: tuple[str, ...]
    theta: dict[str, Number]
    theta_interval: dict[str, Interval]
    frequency: dict[str, Number]
    trials: tuple[TrialRecord, ...]
    elimination: tuple[EliminationRecord, ...]
    evaluation: dict[str, EvaluationRecord]
    worlds: dict[str, WorldRecord] = field(default_factory=dict)
    joining: tuple[JoiningRecord, ...] = ()
    growing: tuple[GrowingRecord, ...] = ()
    hall: tuple[HallRecord, ...] = ()
    fails: dict[str, tuple[Count, Count]] = field(default_factory=dict)
    message: str = ""
    images: dict[str, str]
    config: dict[str, Any]
    versions: dict[str, str]
    earlier: tuple[dict[str, str], ...] = ()
    stopped: bool = False
    command: tuple[str, ...] = ()
    machine: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    lifetimes: dict[str, Count] = field(default_factory=dict)
    seconds: Number

    @property
    def learns(self) -> bool:
        """Whether the rule learns, on the images set aside; a rule that does not is not found."""
        return "rule" not in self.evaluation or self.evaluation["rule"].learns

    @property
    def unit(self) -> str:
        """What losses of the search are in; "" for a loss that is no cross-entropy."""
        if self.worlds:
            return "shares of the untrained loss"
        return "nats" if self.config.get("loss") in (None, "cross-entropy") else ""

    def with_terms(self, wanted: int | Collection[str]) -> Result:
        """The same with another rule of the hall of fame in the place of the one chosen.

        Its coefficients are those that the search compared, so they have no intervals; the
        evaluation is its own, if it has one, with intervals that hold for all rules looked at.

        Args:
            wanted: how many terms, for the best rule of that size; or the names of the terms, also
                as text with commas.

        Raises:
            RuleSearchError: there is no such rule, or no hall of fame.
        """
        entry = _of_the_hall(self.hall, wanted)
        if {*entry.support} == {*self.support}:
            return self
        own = {} if entry.evaluation is None else {"rule": entry.evaluation}
        beaten = "one that asks no more beats it, so it was not looked at on images set aside"
        looks = looked_at(self.hall)
        wider = f"{_WIDER}{looks} rules looked at" if own and looks > 1 else ""
        unseen = "" if own else beaten
        chosen = next((", ".join(each.support) for each in self.hall if each.chosen), "none")
        said = f"{', '.join(entry.support)} {_OUT}; {_CHOSE}{chosen}" if not entry.chosen else ""
        known = {"": entry.evaluation} if not entry.worlds else entry.worlds
        verdicts = [
            unlearned("rule", of, name and f" on {name}")
            for name, of in known.items()
            if of is not None and not of.learns
        ]
        # What was said of another rule does not hold for this one.
        others = [
            part
            for part in self.message.split("; ")
            if not part.startswith((_CHOSE, _WIDER, unlearned("rule")))
            and not part.endswith(_OUT)
            and part != beaten
        ]
        return replace(
            self,
            support=entry.support,
            theta={each.name: entry.theta.get(each.name, 0.0) for each in self.pool},
            theta_interval={},
            evaluation={**own, **_rivals(self.evaluation)},
            worlds={
                name: replace(
                    world,
                    evaluation={
                        **({"rule": entry.worlds[name]} if name in entry.worlds else {}),
                        **_rivals(world.evaluation),
                    },
                )
                for name, world in self.worlds.items()
            },
            message="; ".join(filter(None, (said, wider, unseen, *verdicts, *others))),
        )

    def rule(self, wanted: int | Collection[str] | None = None, name: str = "rule") -> Rule:
        """Terms and coefficients by themselves, to be evaluated, exported, begun from.

        Args:
            wanted: another rule of the hall of fame, see `with_terms`; None for the one chosen.
            name: what the rule is to be called.

        Raises:
            RuleSearchError: there is no such rule, or it has no term.
        """
        # Here, because a result is also read, shown and printed without SymPy.
        from rulesearch.rule.recorded import pool_of, rule_of

        if wanted is not None:
            return self.with_terms(wanted).rule(name=name)
        pool = pool_of(self.pool, self.definitions)
        kept = {term: value for term, value in self.theta.items() if term in self.support}
        source = f"a search on {self.config['dataset']}, seed {self.config['seed']}"
        if any(each.chosen and {*each.support} != {*self.support} for each in self.hall):
            source += f", {len(self.support)} terms of its hall of fame, not settled"
        return rule_of(pool, kept, self.theta_interval, self.config, name, source)

    def to_json(self) -> str:
        """The text of `result.json`: strict JSON, null where a number is not finite."""
        return layout(sealed(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """The result of such a text; `Result.from_json(r.to_json()) == r`.

        Raises:
            RuleSearchError: not JSON, another schema, or a field that is missing or wrong.
        """
        return unsealed(cls, text)

    @classmethod
    def load(cls, run_directory: str | os.PathLike[str]) -> Result:
        """The result of a finished run, or of one that a time limit has stopped.

        Args:
            run_directory: of the run; or its `result.json`, wherever that has gone.

        Raises:
            RuleSearchError: no finished run there, or a broken file.
        """
        run = Path(run_directory)
        if run.suffix == ".json" and run.is_file():
            return read_document(
                cls, run, "give the result.json of a finished run, or a rule as JSON"
            )
        if run.is_file():
            raise RuleSearchError(f"{run}: a file; give the directory of a finished run")
        if run.suffix == ".json" and not run.exists():
            raise RuleSearchError(f"{run}: no such file; give the directory of a finished run")
        so_far = run / SO_FAR
        if so_far.is_file() and not (run / "result.json").exists():
            return read_document(cls, so_far, f"delete it, and go on by --resume {run}")
        if (run / "config.json").exists() and not (run / "result.json").exists():
            raise RuleSearchError(
                f"{run}: has no result.json, the run is not finished; "
                f"go on with it by --resume {run}"
            )
        path = run / "result.json"
        try:
            return read_document(cls, path, f"delete it, and write it again by --resume {run}")
        except FileNotFoundError:
            raise RuleSearchError(
                f"{path}: no such file; give the directory of a finished run"
            ) from None

    def __str__(self) -> str:
        """The rule as an equation, then its evidence in a line or two."""
        lines = [equation(self.pool, self.theta) if self.learns else NO_RULE]
        shown = [
            f"{in_words(name)} {significant(entry.accuracy)} "
            f"{interval_text(entry.accuracy_interval)}"
            for name, entry in self.evaluation.items()
        ]
        if shown:
            lines.append("accuracy with 95 % interval over tasks: " + "; ".join(shown))
        lines.append(f"{len(self.support)} of {len(self.pool)} terms, {len(self.trials)} trials")
        return "\n".join([*lines, self.message] if self.message else lines)


def unlearned(name: str, entry: EvaluationRecord | None = None, where: str = "") -> str:
    """What is said of a rule or a rival that does not learn; without an entry, how it begins."""
    said = f"{in_words(name)} does not learn{where}"
    if entry is None:
        return said
    return (
        f"{said}: accuracy {significant(entry.accuracy)}, {entry.diverged} of {entry.lifetimes} "
        "lifetimes diverged"
    )


#: What is said of a rule that is another one of the hall of fame.
_OUT, _CHOSE = "out of the hall of fame", "the search chose "
#: And of its evaluation.
_WIDER = "the rule's intervals are wider, for they hold at 95 % for all "


def _rivals(evaluation: Mapping[str, EvaluationRecord]) -> dict[str, EvaluationRecord]:
    """What stands beside a rule, without what was measured against another one."""
    return {
        name: replace(entry, gained=None, gained_interval=(None, None))
        for name, entry in evaluation.items()
        if name != "rule"
    }


def _of_the_hall(hall: Sequence[HallRecord], wanted: int | Collection[str]) -> HallRecord:
    if not hall:
        raise RuleSearchError(
            "no hall of fame in this run; only a search by --protocol accepted has one"
        )
    if isinstance(wanted, Integral) and not isinstance(wanted, bool):
        sizes = best_of_each_size(hall)
        if int(wanted) in sizes:
            return sizes[int(wanted)]
        there = ", ".join(map(str, sizes))
        many = "terms" if [*sizes] != [1] else "term"
        raise RuleSearchError(
            f"no rule of that size in the hall of fame; there are rules of {there} {many}"
        )
    if isinstance(wanted, bool) or not isinstance(wanted, Collection):
        raise RuleSearchError(f"{wanted!r}: give a number of terms, or their names")
    each = wanted.split(",") if isinstance(wanted, str) else wanted
    names = {name.strip() for name in map(str, each)}
    for entry in hall:
        if set(entry.support) == names:
            return entry
    met = {name for entry in hall for name in entry.support}
    there = ", ".join(map(str, best_of_each_size(hall)))
    if strange := sorted(names - met):
        raise RuleSearchError(
            f"no rule of the hall of fame has {strange[0]}; give a number of terms ({there}), or "
            "names of terms with commas"
        )
    alike = "; ".join(",".join(e.support) for e in hall if len(e.support) == len(names))
    others = f"of as many terms there are {alike}" if alike else f"there are rules of {there} terms"
    raise RuleSearchError(f"no such rule in the hall of fame; {others}")
