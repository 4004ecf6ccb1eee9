"""What meta-learning runs on and writes down: plan, state, record and outcome of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rulesearch.meta.protocols import MetaProtocol
from rulesearch.records.plain import Count, Finite


@dataclass(frozen=True)
class FitPlan:
    """One meta-learning run; its result depends on this and on the population alone.

    Attributes:
        label: unique within a search.
        support: indices of the terms that may move; the others stay at zero.
        scales: `theta = scales * phi`, [terms].
        start: the first phi, [terms]; read within the support only.
        seed: of this run, not negative.
        protocol: see `MetaProtocol`.
        meta_steps: steps of the protocol.
        l1: strength of the protocol's penalty on the sum of |phi|.
        l2: strength of a penalty on the sum of phi**2, beside it; its gradient, 2 * l2 * phi,
            is added to the mean gradient before Adam. Both are for the steps of the protocol.
        mean_steps: steps after those, on the plain mean of the gradients, without penalty, with
            a rate that falls over the whole stage.
        observe: observables wanted in the records,
        observe_every: so many meta-steps apart, from the first on: they cost time.
        draws: what the lifetimes' seeds are derived from, beside `seed`; the label where it is
            empty.
        worlds: in which the lifetimes take turns.
    """

    label: str
    support: tuple[int, ...]
    scales: tuple[float, ...]
    start: tuple[float, ...]
    seed: Count
    protocol: MetaProtocol
    meta_steps: int
    l1: float = 0.0
    l2: float = 0.0
    mean_steps: int = 0
    observe: tuple[str, ...] = ()
    observe_every: int = 1
    draws: str = ""
    worlds: int = 1

    def __post_init__(self) -> None:
        if not self.support or any(self.scales[term] <= 0 for term in self.support):
            raise ValueError("a fit needs a support, of terms with a scale above zero")

    def observed_at(self, step: int) -> tuple[str, ...]:
        """The observables wanted at a meta-step, counted from 0."""
        return self.observe if step % self.observe_every == 0 else ()

    @property
    def steps(self) -> int:
        """Both stages together."""
        return self.meta_steps + self.mean_steps


@dataclass(frozen=True)
class Lost:
    """A term at zero whose own derivative was not finite, where it was seen first.

    Attributes:
        term: its index.
        seed: of the lifetime.
        theta: raw coefficients of the rule that the lifetime lived by, [terms].
    """

    term: Count
    seed: Count
    theta: tuple[float, ...]


@dataclass(frozen=True)
class MetaState:
    """All that a fit carries from one meta-step to the next; plain numbers, [terms] each.

    Attributes:
        phi: the coefficients learned, raw ones divided by the scales.
        m: Adam's running mean of the gradient.
        v: Adam's running mean of its square.
        updates: Adam's count of steps taken, since the stage began.
        step: meta-steps done, with or without an update.
        lifetimes: lifetimes run.
        left_out: of these, the ones whose loss or gradient was not finite.
        diverged: of these, the ones that `diverged` names.
        silent: meta-steps in a row in which every lifetime was left out,
        finite: and of these, the ones in which a loss was finite.
        safe: the last phi at which no lifetime diverged, or None.
        retreats: how often the coefficients went back there.
        lost: terms that stay at zero from now on, because their derivative was not finite there.
    """

    phi: tuple[Finite, ...]
    m: tuple[Finite, ...]
    v: tuple[Finite, ...]
    updates: Count = 0
    step: Count = 0
    lifetimes: Count = 0
    left_out: Count = 0
    diverged: Count = 0
    silent: Count = 0
    finite: Count = 0
    safe: tuple[Finite, ...] | None = None
    retreats: Count = 0
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True)
class StepRecord:
    """What one meta-step saw.

    Attributes:
        label: of the fit.
        step: meta-steps done, this one included.
        steps: of how many.
        loss: mean query loss, a diverged lifetime scored as everywhere (`rulesearch.scoring`).
        accuracy: mean query accuracy, likewise.
        theta: raw coefficients with which they ran (before the update), by name of term.
        diverged: lifetimes of this step that diverged.
        left_out: lifetimes of this step whose loss or gradient was not finite.
        observed: mean over the lifetimes with a finite loss of each observable asked for, by layer.
        taken: of a descent, whether the step was accepted; None elsewhere.
        voted: of a descent, the lifetimes that have voted at the place where it is now,
        size: and with which size the next step is tried first, in units.
    """

    label: str
    step: Count
    steps: Count
    loss: float
    accuracy: float
    theta: Mapping[str, float]
    diverged: Count
    left_out: Count
    observed: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    taken: bool | None = None
    voted: Count = 0
    size: float = 0.0


@dataclass(frozen=True)
class Fit:
    """The outcome of one meta-learning run (of a trial, a refit, or a baseline).

    Attributes:
        label: of its plan.
        seed: of its plan.
        support: indices of the terms whose coefficient is not zero at the end.
        theta: raw coefficients, [terms].
        phi: the same in the coefficients learned, to start another fit from.
        meta_steps: steps done, both stages together.
        lifetimes: lifetimes run.
        left_out: lifetimes without a finite loss and gradient.
        diverged: lifetimes that diverged.
        failed: why the fit was given up, or None.
        retreats: how often its coefficients went back to the last at which none diverged.
        lost: terms that stayed at zero, because their derivative was not finite there.
    """

    label: str
    seed: Count
    support: tuple[Count, ...]
    theta: tuple[Finite, ...]
    phi: tuple[Finite, ...]
    meta_steps: Count
    lifetimes: Count
    left_out: Count
    diverged: Count
    failed: str | None = None
    retreats: Count = 0
    lost: tuple[Lost, ...] = ()
