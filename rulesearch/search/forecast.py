"""How far a search is: which of its stages is under way, and how long the rest may take."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rulesearch.meta import Accepted, StepRecord
from rulesearch.search.request import Request

#: Meta-steps whose pace the estimate goes on with.
RECENT = 100


@dataclass(frozen=True)
class Phase:
    """A part of every search.

    Attributes:
        name: in a word.
        labels: how the labels of what it runs begin.
        steps: its meta-steps; how many an elimination needs is not known before, so for that as
            many as it has if every term goes, after one refit each.
        per_term: of these, those that go with each term that is left.
    """

    name: str
    labels: tuple[str, ...]
    steps: int
    per_term: int = 0


def phases(request: Request) -> tuple[Phase, ...]:
    """The phases of a search, in their order."""
    config, effort = request.config, request.setting.effort
    trials = Phase("trials", ("trial ",), (config.trials or 1) * (config.meta_steps or 0))
    selection: tuple[Phase, ...] = ()
    protocol = request.setting.protocol
    if isinstance(protocol, Accepted):
        terms = sum(scale > 0 for scale in request.setting.scales)
        selection = (
            Phase(
                "elimination",
                ("leaving/", "common/", "units", "reference"),
                effort.refit_steps * (terms - 1),
                per_term=effort.refit_steps,
            ),
            Phase("final refits", ("final refit ",), effort.final_refits * effort.final_steps),
        )
    elif protocol.eliminates:
        tries = effort.candidates * effort.refit_steps
        whole = effort.baseline_steps + effort.full_rounds * effort.full_steps
        terms = sum(scale > 0 for scale in request.setting.scales)
        refit = effort.final_refits * (effort.final_steps + effort.mean_steps)
        selection = (
            Phase(
                "elimination",
                ("reference/", "elimination/"),
                whole + tries * (terms - 1),
                per_term=tries,
            ),
            Phase("final refits", ("final refit ",), refit),
        )
    baselines = Phase("baselines", ("backprop by ", "feedback alignment/"), 0)
    return (baselines, trials, *selection, Phase("evaluation", ("evaluation/",), 0))


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
        self._reached: dict[str, int] = {}  # label -> meta-steps made, in this phase
        self._times: deque[float] = deque(maxlen=RECENT)  # of the last meta-steps

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
            self._most, self._reached, begins = phase.steps, {}, phase.name
        phase = self._phases[self._number]
        if terms := re.match(r"(?:elimination|leaving)/(\d+) terms", label):
            # So many are left, so many tries; what was made before is part of no estimate.
            most = phase.per_term * (int(terms[1]) - 1)
            if most < self._most:
                self._most, self._reached = most, {}
        if isinstance(told, StepRecord):
            self._times.append(self._clock())
            self._reached[label] = told.step
        return begins

    @property
    def place(self) -> str:
        """Which phase of how many is under way: `2/5`."""
        return f"{max(self._number, 0) + 1}/{len(self._phases)}"

    @property
    def left(self) -> str:
        """How long the rest may take, in words; "" before anything is known.

        It supposes that a meta-step, with what is measured between them, takes as long as the last
        ones did, and that every term goes, after one refit.
        """
        if len(self._times) < 2:
            return ""
        here = max(0, self._most - sum(self._reached.values()))
        later = sum(phase.steps for phase in self._phases[self._number + 1 :])
        pace = (self._clock() - self._times[0]) / (len(self._times) - 1)
        seconds = (here + later) * pace
        return f"likely under {duration(seconds)} left"


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
