"""The result of a search as frozen records, and their strict JSON. Computes nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rulesearch.errors import RuleSearchError
from rulesearch.records.documents import layout, read_document, sealed, unsealed
from rulesearch.records.plain import SCHEMA_VERSION, Count, Interval, Number, Record
from rulesearch.words import in_words, interval_text, significant

if TYPE_CHECKING:
    from rulesearch.rule import Rule

#: In the order in which a rule says what it changes; as the pool's own, which needs SymPy.
PARAMETERS = ("W", "B", "b")

#: In a run directory: the result of a search that a time limit stopped, until it is finished.
SO_FAR = "result_so_far.json"

NO_RULE = "no rule: what was selected does not learn"


@dataclass(frozen=True, kw_only=True)
class PoolEntry(Record):
    """A term of the pool.

    Attributes:
        name: its name in the grammar.
        expression: its canonical text.
        latex: the same for LaTeX's math mode.
        needs: what it needs beyond its own synapse; empty for a synaptic term.
        evidence: need -> the smallest sub-expression that has it and what that reads.
        layers: those that it acts in, from 1; empty for all.
        changes: parameter -> the text of its change, of a term that changes others than W, or W
            and others by one coefficient; empty for one that changes W alone.
        changes_latex: the same for LaTeX.
    """

    name: str
    expression: str
    latex: str
    needs: tuple[str, ...]
    evidence: dict[str, str]
    layers: tuple[Count, ...] = ()
    changes: dict[str, str] = field(default_factory=dict)
    changes_latex: dict[str, str] = field(default_factory=dict)

    @property
    def updates(self) -> dict[str, str]:
        """Parameter -> the text of its change."""
        return self.changes or {"W": self.expression}

    @property
    def shown(self) -> str:
        """The expression as a table has it: which parameter it changes, where that is not W."""
        return ", ".join(f"d{p} = {text}" for p, text in self.changes.items()) or self.expression


@dataclass(frozen=True, kw_only=True)
class TrialRecord(Record):
    """One trial: a search with all terms at once, which screens them or is where they leave from.

    Attributes:
        seed: the trial's own.
        support: the terms with a coefficient that is not zero at its end.
        theta: name -> raw coefficient at its end.
        diverged_lifetimes: how many of all its lifetimes diverged.
        meta_steps: how many it made; of a descent, taken or not.
        retreats: how often it went back from where half of the lifetimes diverged.
        failed: why it was given up; it then keeps no term. Empty for a trial that ended.
    """

    seed: Count
    support: tuple[str, ...]
    theta: dict[str, Number]
    diverged_lifetimes: Count
    meta_steps: Count
    retreats: Count = 0
    failed: str = ""


@dataclass(frozen=True, kw_only=True)
class EliminationRecord(Record):
    """One try to do without a term, or without several at once.

    Attributes:
        dropped: the term tried; of accepted steps, all that left together, with commas.
        support: what is left without it.
        loss: mean query loss of what is left, after its refit if there was one, nats.
        cost: that loss minus the one of the full refitted support (cumulative), nats; of accepted
            steps, minus that of the best rule found so far.
        cost_interval: 95 % interval of the cost, from paired tasks.
        share_of_gain: cost as a share of the gain over the reference of what it is measured by.
        kept: whether the term was dropped in the end (the step was kept).
        refitted: False where the drop was clearly cheap before any refit.
        arrived: False where no refit has arrived, so that the cost is an upper bound at best.
    """

    dropped: str
    support: tuple[str, ...]
    loss: Number
    cost: Number
    cost_interval: Interval
    share_of_gain: Number
    kept: bool
    refitted: bool = True
    arrived: bool = True


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord(Record):
    """A rule on the final evaluation's tasks; what diverged is scored, see `rulesearch.scoring`.

    Attributes:
        accuracy: mean share of query images classified correctly, 0 to 1.
        accuracy_interval: its 95 % interval over tasks.
        loss: mean query loss, nats.
        lifetimes: how many were run.
        diverged: how many of them diverged.
        rate: for a baseline, its coefficient of -e_post*y_pre, or Adam's rate; None for the rule.
        loss_interval: the 95 % interval of the loss over tasks.
        learns: whether it is better than no training and than chance, by these intervals.
        gained: by how much the search's rule has less loss on the same lifetimes, nats; for the
            rule itself, than no training,
        gained_interval: and the 95 % interval of that, from paired lifetimes.
    """

    accuracy: Number
    accuracy_interval: Interval
    loss: Number
    lifetimes: Count
    diverged: Count
    rate: Number = None
    loss_interval: Interval = (None, None)
    learns: bool = True
    gained: Number = None
    gained_interval: Interval = (None, None)


@dataclass(frozen=True, kw_only=True)
class WorldRecord(Record):
    """One of several worlds of a search: a data set and a network.

    Attributes:
        sizes: of the layers, input first.
        untrained: mean query loss of untrained networks, nats: what losses are shares of.
        evaluation: as `Result.evaluation`, of this world alone, in nats.
    """

    sizes: tuple[Count, ...]
    untrained: Number
    evaluation: dict[str, EvaluationRecord]


@dataclass(frozen=True, kw_only=True)
class JoiningRecord(Record):
    """A candidate of a large pool that was tested.

    Attributes:
        round: in which, from 1.
        term: the candidate.
        agreement: of lifetimes in the sign of what only it can do, in standard errors.
        step: size of the step tested, a share of the reference's best coefficient.
        gain: of that step on fresh lifetimes, nats.
        chance: the probability of as large a gain by chance.
        joins: whether that is small enough, for so many candidates, for it to join.
    """

    round: Count
    term: str
    agreement: Number
    step: Number
    gain: Number
    chance: Number
    joins: bool


@dataclass(frozen=True, kw_only=True)
class HallRecord(Record):
    """A rule of the hall of fame: the best of its number of terms, or one that does as well.

    Attributes:
        support: its terms.
        theta: name -> raw coefficient.
        needs: what its terms need beyond their own synapse, together.
        loss: mean query loss on the search's images, nats; of the answer, before it settled.
        loss_interval: its 95 % interval over tasks.
        lifetimes: how many these were,
        diverged: and how many of them diverged.
        behind: its loss there minus that of the best rule of its size; 0 for that one.
        behind_interval: of that, 95 %, from paired tasks.
        given_away: share of the gain of the best rule of all that it gives away; None where
            there is no gain.
        chosen: whether it is the answer.
        evaluation: on images set aside, of the front; its intervals hold for all looked at.
        worlds: the same in each of several worlds, by name, losses in nats.
    """

    support: tuple[str, ...]
    theta: dict[str, Number]
    needs: tuple[str, ...]
    loss: Number
    loss_interval: Interval
    lifetimes: Count
    diverged: Count
    behind: Number
    behind_interval: Interval
    given_away: Number = None
    chosen: bool = False
    evaluation: EvaluationRecord | None = None
    worlds: dict[str, EvaluationRecord] = field(default_factory=dict)


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
        if entry.chosen:
            return self
        own = {} if entry.evaluation is None else {"rule": entry.evaluation}
        unseen = (
            "" if own else "a shorter rule beats it, so it was not looked at on images set aside"
        )
        said = (
            f"{', '.join(entry.support)} out of the hall of fame; the search chose "
            f"{', '.join(self.support)}"
        )
        return replace(
            self,
            support=entry.support,
            theta={each.name: entry.theta.get(each.name, 0.0) for each in self.pool},
            theta_interval={},
            evaluation={**own, **{k: v for k, v in self.evaluation.items() if k != "rule"}},
            worlds={
                name: replace(
                    world,
                    evaluation={
                        **{k: v for k, v in world.evaluation.items() if k != "rule"},
                        **({"rule": entry.worlds[name]} if name in entry.worlds else {}),
                    },
                )
                for name, world in self.worlds.items()
            },
            message="; ".join(filter(None, (said, unseen, self.message))),
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
            return read_document(cls, run, "give the result.json of a finished run")
        if run.is_file():
            raise RuleSearchError(f"{run}: a file; give the directory of a finished run")
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
        lines = [equation(self) if self.learns else NO_RULE]
        shown = [
            f"{in_words(name)} {significant(entry.accuracy)} "
            f"{interval_text(entry.accuracy_interval)}"
            for name, entry in self.evaluation.items()
        ]
        if shown:
            lines.append("accuracy with 95 % interval over tasks: " + "; ".join(shown))
        lines.append(f"{len(self.support)} of {len(self.pool)} terms, {len(self.trials)} trials")
        return "\n".join([*lines, self.message] if self.message else lines)


def best_of_each_size(hall: Iterable[HallRecord]) -> dict[int, HallRecord]:
    """The best rule of each number of terms, which comes first among those of its size."""
    found: dict[int, HallRecord] = {}
    for entry in hall:
        found.setdefault(len(entry.support), entry)
    return found


def looked_at(hall: Iterable[HallRecord]) -> int:
    """How many rules were looked at on images set aside."""
    return sum(entry.evaluation is not None for entry in hall)


def _of_the_hall(hall: Sequence[HallRecord], wanted: int | Collection[str]) -> HallRecord:
    if not hall:
        raise RuleSearchError(
            "no hall of fame in this run; only a search by --protocol accepted has one"
        )
    if isinstance(wanted, int):
        sizes = best_of_each_size(hall)
        if wanted in sizes:
            return sizes[wanted]
        there = ", ".join(map(str, sizes))
        raise RuleSearchError(
            f"no rule of that size in the hall of fame; there are rules of {there} terms"
        )
    names = set(wanted.split(",") if isinstance(wanted, str) else wanted)
    for entry in hall:
        if set(entry.support) == names:
            return entry
    there = "; ".join(",".join(entry.support) for entry in hall)
    raise RuleSearchError(f"no such rule in the hall of fame; give one of {there}")


def signed_terms(
    pool: Iterable[PoolEntry], theta: Mapping[str, Number]
) -> list[tuple[str, str, PoolEntry]]:
    """A rule, term by term: sign ("+" or "-"), size in significant figures, pool entry."""
    terms = []
    for entry in pool:
        value = theta.get(entry.name, 0.0)
        if value != 0:
            text = significant(value)
            terms.append(("-" if text[0] == "-" else "+", text.removeprefix("-"), entry))
    return terms


def equation(result: Result, break_with: str = " ") -> str:
    """The rule as one line of the notation; `break_with` stands before each further term.

    For F0 and F2 this reads `dW = 0.0112*(-e_post*y_pre) - 0.0510*(-e_post*e_pre)`; a term that
    acts in some layers only has them behind it, as in `[layers 2, 3]`. Each parameter has an
    equation of its own.
    """
    return equation_of(result.pool, result.theta, break_with)


def equation_of(
    pool: Iterable[PoolEntry], theta: Mapping[str, Number], break_with: str = " "
) -> str:
    """`equation` of the rule that has these coefficients, by name."""
    terms = signed_terms(pool, theta)
    changed = [p for p in PARAMETERS if any(p in entry.updates for *_, entry in terms)]
    lines = []
    for parameter in changed or ["W"]:
        parts = [
            (sign, f"{size}*({entry.updates[parameter]}){_layers_behind(entry)}")
            for sign, size, entry in terms
            if parameter in entry.updates
        ]
        line = f"d{parameter} = " + ("0" if not parts else "-" * (parts[0][0] == "-"))
        lines.append(line + f"{break_with}".join(_signed(parts)))
    return ("; " if break_with == " " else "\n").join(lines)


def _signed(parts: Sequence[tuple[str, str]]) -> list[str]:
    """The parts of a sum, all but the first with their sign in front."""
    return [text if i == 0 else f"{sign} {text}" for i, (sign, text) in enumerate(parts)]


def layers_text(layers: Sequence[int]) -> str:
    """Layers as text: `2, 3`, or `all` where none is named.

    Example:
        >>> layers_text((2, 3)), layers_text(())
        ('2, 3', 'all')
    """
    return ", ".join(map(str, layers)) or "all"


def _layers_behind(entry: PoolEntry) -> str:
    if not entry.layers:
        return ""
    return f" [layer{'s' if len(entry.layers) > 1 else ''} {layers_text(entry.layers)}]"
