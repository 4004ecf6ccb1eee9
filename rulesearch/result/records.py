"""The parts of a result, as frozen records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rulesearch.records.plain import Count, Interval, Number, Record


@dataclass(frozen=True, kw_only=True)
class PoolEntry(Record):
    """A term of the pool.

    Attributes:
        name: its name in the grammar.
        expression: its canonical text.
        latex: the same for LaTeX's math mode.
        needs: what it needs beyond its own synapse; empty for a synaptic term.
        evidence: need -> the smallest sub-expression that has it and what that reads.
        layers: those that it acts in, from 1, or from -1 at the last; empty for all.
        changes: parameter -> the text of its change, of a term that changes others than W, or W
            and others by one coefficient; empty for one that changes W alone.
        changes_latex: the same for LaTeX.
    """

    name: str
    expression: str
    latex: str
    needs: tuple[str, ...]
    evidence: dict[str, str]
    layers: tuple[int, ...] = ()
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
        gained_interval: and the 95 % interval of that, from paired lifetimes; of a rule of the hall
            of fame one that holds for all looked at.
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
class GrowingRecord(Record):
    """A term that the best rule of its size might grow by.

    Attributes:
        base: terms of that rule.
        term: the candidate.
        agreement: of lifetimes in the sign of what only it can do, in standard errors.
        step: size of the step tested, a share of the reference's best coefficient.
        gain: of that step on fresh lifetimes, nats.
        loss: mean query loss on the search's images of the rule with it, nats, after its steps;
            None where it took none.
    """

    base: tuple[str, ...]
    term: str
    agreement: Number
    step: Number
    gain: Number
    loss: Number | None


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


def best_of_each_size(hall: Iterable[HallRecord]) -> dict[int, HallRecord]:
    """The best rule of each number of terms, which comes first among those of its size."""
    found: dict[int, HallRecord] = {}
    for entry in hall:
        found.setdefault(len(entry.support), entry)
    return found


def looked_at(hall: Iterable[HallRecord]) -> int:
    """How many rules were looked at on images set aside."""
    return sum(entry.evaluation is not None for entry in hall)
