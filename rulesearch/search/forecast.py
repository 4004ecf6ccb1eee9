"""How far a search is: which of its stages is under way, and how long the rest may take."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rulesearch.meta import Accepted, StepRecord
from rulesearch.pursuit import growing
from rulesearch.pursuit.course import MOST, ROOM, ROUNDS
from rulesearch.pursuit.joining import TESTED
from rulesearch.pursuit.leaving import FEW, MANY, RIVALS
from rulesearch.result import HallRecord
from rulesearch.search.request import Request
from rulesearch.words import significant

#: Meta-steps whose pace the estimate goes on with.
RECENT = 100


@dataclass(frozen=True)
class Phase:
    """A part of every search.

    Attributes:
        name: in a word.
        labels: how the labels of what it runs begin.
        steps: its meta-steps, at most: how many an elimination needs is not known before, so for
            that as many as it has if every term goes, after one refit each.
        with_terms: of these, those that are left when so many terms are; None if it has none.
    """

    name: str
    labels: tuple[str, ...]
    steps: int
    with_terms: Callable[[int], int] | None = None


def phases(request: Request) -> tuple[Phase, ...]:
    """The phases of a search, in their order."""
    config, effort = request.config, request.setting.effort
    rivals = (
        "untrained/",
        *(
            f"{request.label(world)}{rival}"
            for world in request.worlds
            for rival in ("backprop by ", "feedback alignment/")
        ),
    )
    trials = Phase(
        "trials",
        ("spans", "trial ", "common/start "),
        (config.trials or 1) * (config.meta_steps or 0),
    )
    evaluation = Phase("evaluation", ("evaluation/",), 0)
    terms = sum(scale > 0 for scale in request.setting.scales)
    protocol = request.setting.protocol
    if isinstance(protocol, Accepted):
        known = ("reference/", "units", "common/reference", "common/begun with")
        return (
            Phase("baselines", (*rivals, *known), 0),
            *_pursuit(terms, trials, effort.refit_steps, config.meta_steps or 0),
            Phase("settling", ("settling/",), 0),
            evaluation,
        )
    baselines = Phase("baselines", rivals, 0)
    if not protocol.eliminates:
        return (baselines, trials, evaluation)
    tries = effort.candidates * effort.refit_steps
    first = effort.baseline_steps + effort.full_rounds * effort.full_steps
    refit = effort.final_refits * (effort.final_steps + effort.mean_steps)
    return (
        baselines,
        trials,
        Phase(
            "elimination",
            ("reference/", "elimination/"),
            first + tries * (terms - 1),
            with_terms=lambda left: tries * (left - 1),
        ),
        Phase("final refits", ("final refit ",), refit),
        evaluation,
    )


def _pursuit(terms: int, trials: Phase, refit: int, most: int) -> tuple[Phase, ...]:
    """The phases in which terms join and leave.

    Args:
        terms: of the pool.
        trials: of all terms together,
        refit: and the steps of those that are left, each time that terms leave,
        most: and of a descent of all.
    """

    def left(there: int) -> int:
        return refit * descents(there)

    most_grown = (growing.GROWN - 1) * growing.RIVALS * (1 + growing.FURTHER)
    last = Phase("growing", ("growing/",), most_grown * refit)
    if terms <= ROOM:
        leaving = Phase("elimination", ("leaving/", "common/"), left(terms), with_terms=left)
        return (trials, leaving, last)
    # How many join is not known before: as many as are tested, if all of them do.
    first = trials.steps + left(ROOM)
    later = most + left(TESTED + MOST)
    rounds = tuple(
        Phase(f"round {n + 1}", (f"round {n}/",), later if n else first, with_terms=left)
        for n in range(1 + ROUNDS)
    )
    return (*rounds, last)


def descents(terms: int) -> int:
    """How many descents it takes until one term is left, in the length of one.

    A third of the terms leaves at once while they are many (`rulesearch.pursuit.leaving`).

    Example:
        >>> descents(2), descents(8), descents(33)
        (3, 20, 22)
    """
    found = 0
    while terms > 1:
        found += RIVALS if terms <= MANY + 1 else 1
        terms -= terms // 3 if terms > MANY else 1
        found += terms <= FEW
    return found


class Forecast:
    """Follows what a search says it does, and tells where that is.

    Args:
        phases: of the search.
        clock: gives seconds.
    """

    def __init__(
        self, phases: tuple[Phase, ...], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._phases, self._clock = phases, clock
        self._number = -1
        self._most = 0
        self._reached: dict[str, StepRecord] = {}  # label -> its last meta-step, in this phase
        self._ended = 0  # meta-steps of what has ended in this phase, with those not needed
        self._times: deque[float] = deque(maxlen=RECENT)  # of the last meta-steps
        self._best = ""

    def follow(self, told: StepRecord | str) -> str:
        """Take note of a meta-step, or of a label; returns what begins by it, or "".

        That is the name of a phase, or a label that belongs to none.
        """
        label = told if isinstance(told, str) else told.label
        numbers = [n for n, phase in enumerate(self._phases) if label.startswith(phase.labels)]
        if not numbers:
            return label
        begins = ""
        if numbers[0] != self._number:
            self._number, phase = numbers[0], self._phases[numbers[0]]
            self._most, self._reached, self._ended, begins = phase.steps, {}, 0, phase.name
        phase = self._phases[self._number]
        if isinstance(told, StepRecord):
            self._times.append(self._clock())
            self._reached[label] = told
            return begins
        # What was under way has ended, be it before its last meta-step.
        self._ended += sum(record.steps for record in self._reached.values())
        self._reached = {}
        terms = re.search(r"(?:elimination|leaving)/(\d+) terms", label)
        if terms and phase.with_terms:
            # So many are left, so many tries; what was made before is part of no estimate. A
            # descent of these terms is part of the departure of one more.
            leaving = re.search(r"leaving/\d+ terms(, way|, on|$)", label)
            most = phase.with_terms(int(terms[1]) + bool(leaving))
            if most < self._most:
                self._most, self._ended = most, 0
        return begins

    @property
    def place(self) -> str:
        """Which phase of how many is under way: `2/5`."""
        return f"{max(self._number, 0) + 1}/{len(self._phases)}"

    def compared(self, hall: Sequence[HallRecord]) -> None:
        """Take note of the hall of fame as it is now."""
        best = min(hall, key=lambda each: math.inf if each.loss is None else each.loss)
        self._best = f"best so far {', '.join(best.support)}, loss {significant(best.loss)}"

    @property
    def best(self) -> str:
        """The rule of least loss that was compared; "" before there is one."""
        return self._best

    @property
    def done(self) -> str:
        """Which share of all meta-steps is behind, at least: `34 %`; "" before the first."""
        total = sum(phase.steps for phase in self._phases)
        if not total or not self._times:
            return ""
        return f"{100 * (1 - min(1.0, self._ahead / total)):.0f} %"

    @property
    def _ahead(self) -> int:
        """Meta-steps that are still to be made, at most."""
        made = self._ended + sum(record.step for record in self._reached.values())
        later = sum(phase.steps for phase in self._phases[self._number + 1 :])
        return max(0, self._most - made) + later

    @property
    def left(self) -> str:
        """How long the rest may take, in words; "" before anything is known.

        It supposes that a meta-step, with what is measured between them, takes as long as the last
        ones did, and that every term goes, after one refit.
        """
        if len(self._times) < 2:
            return ""
        pace = (self._clock() - self._times[0]) / (len(self._times) - 1)
        return f"likely under {duration(self._ahead * pace)} left"


def duration(seconds: float) -> str:
    """A length of time, rounded up: tens of seconds, minutes, or hours.

    Example:
        >>> duration(31), duration(95), duration(5400)
        ('40 s', '2 min', '2 h')
    """
    if seconds <= 90:
        return f"{max(1, math.ceil(seconds / 10)) * 10} s"
    if seconds < 5400:
        return f"{math.ceil(seconds / 60)} min"
    return f"{math.ceil(seconds / 3600)} h"
