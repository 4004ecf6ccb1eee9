"""One meta-learning run: plan, state, record, and the loop over meta-steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from rulesearch.errors import RuleSearchError
from rulesearch.lifetime import Lifetimes
from rulesearch.meta.optimiser import adam, soft_threshold, unit_votes
from rulesearch.meta.protocols import MetaProtocol

PATIENCE = 20
"""Meta-steps in a row without one usable lifetime after which a fit is given up."""

_Record = TypeVar("_Record")


class Population(Protocol):
    """Lifetimes as a function of the coefficients: all that meta-learning sees of a network."""

    @property
    def names(self) -> tuple[str, ...]:
        """The terms of the pool, in the order of the coefficients."""
        ...

    def __call__(
        self,
        theta: Tensor,
        seeds: Sequence[int],
        *,
        gradient: Sequence[int] = (),
        observe: Sequence[str] = (),
    ) -> Lifetimes:
        """Run one lifetime for each seed.

        Args:
            theta: raw coefficients, float64, [terms] or [lifetimes, terms].
            seeds: one integer a lifetime; it alone determines task, initial weights and feedback.
            gradient: indices of the terms to differentiate; the gradient of the others is zero.
            observe: names of the observables wanted.
        """
        ...


@dataclass(frozen=True)
class FitPlan:
    """One meta-learning run; its result depends on this and on the population alone.

    Attributes:
        label: unique within a search; part of what the lifetimes' seeds are derived from.
        support: indices of the terms that may move; the others stay at zero.
        scales: `theta = scales * phi`, [terms].
        start: the first phi, [terms]; read within the support only.
        seed: of this run, not negative.
        protocol: see `MetaProtocol`.
        meta_steps: steps of the protocol.
        l1: its penalty.
        mean_steps: steps after those, on the plain mean of the gradients, without penalty, with
            a rate that falls over the whole stage.
        observe: observables wanted in the records.
    """

    label: str
    support: tuple[int, ...]
    scales: tuple[float, ...]
    start: tuple[float, ...]
    seed: int
    protocol: MetaProtocol
    meta_steps: int
    l1: float = 0.0
    mean_steps: int = 0
    observe: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.support or any(self.scales[term] <= 0 for term in self.support):
            raise ValueError("a fit needs a support, of terms with a scale above zero")

    @property
    def steps(self) -> int:
        """Both stages together."""
        return self.meta_steps + self.mean_steps


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
        silent: meta-steps in a row in which every lifetime was left out.
        safe: the last phi at which no lifetime diverged, or None.
        retreats: how often the coefficients went back there.
    """

    phi: tuple[float, ...]
    m: tuple[float, ...]
    v: tuple[float, ...]
    updates: int = 0
    step: int = 0
    lifetimes: int = 0
    left_out: int = 0
    diverged: int = 0
    silent: int = 0
    safe: tuple[float, ...] | None = None
    retreats: int = 0


@dataclass(frozen=True)
class StepRecord:
    """What one meta-step saw.

    Attributes:
        label: of the fit.
        step: meta-steps done, this one included.
        steps: of how many.
        loss: mean query loss of the lifetimes with a finite one; None if there was none.
        accuracy: mean query accuracy of the same lifetimes.
        theta: raw coefficients with which they ran (before the update), by name of term.
        diverged: lifetimes of this step that diverged.
        left_out: lifetimes of this step whose loss or gradient was not finite.
        observed: mean over the same lifetimes of each observable asked for, by layer.
    """

    label: str
    step: int
    steps: int
    loss: float | None
    accuracy: float | None
    theta: Mapping[str, float]
    diverged: int
    left_out: int
    observed: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


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
    """

    label: str
    seed: int
    support: tuple[int, ...]
    theta: tuple[float, ...]
    phi: tuple[float, ...]
    meta_steps: int
    lifetimes: int
    left_out: int
    diverged: int
    failed: str | None = None
    retreats: int = 0


def diverged(loss: Tensor, initial_loss: Tensor) -> Tensor:
    """Which lifetimes are worse than no training, or not finite; all three are [lifetimes]."""
    return ~torch.isfinite(loss) | (loss > initial_loss)


def lifetime_seeds(seed: int, label: str, step: int, count: int) -> tuple[int, ...]:
    """Seeds of one meta-step's lifetimes, 0 to 2**63 - 1, from these four values alone.

    Example:
        >>> lifetime_seeds(0, "trial 1", 5, 2) == lifetime_seeds(0, "trial 1", 5, 3)[:2]
        True
    """
    name = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big")
    words = np.random.SeedSequence([seed, name, step]).generate_state(count, np.uint64)
    return tuple(int(word) >> 1 for word in words)


def rate_at(plan: FitPlan, step: int) -> float:
    """The rate of a meta-step, counted from 0; the last step of each stage has the lowest.

    In the stage on the mean loss the rate falls to 5 % over the whole stage, so that it settles.
    """
    protocol = plan.protocol
    if step < plan.meta_steps:
        place, length = step + 1, plan.meta_steps
        share, lowest = protocol.decay_share, protocol.decay_to
    else:
        place, length = step + 1 - plan.meta_steps, plan.mean_steps
        share, lowest = 1.0, 0.05
    fall = share * length
    gone = max(0.0, (place - (length - fall)) / fall) if fall else 0.0
    return protocol.rate * (1 - (1 - lowest) * gone)


def initial_state(plan: FitPlan) -> MetaState:
    """The state before the first meta-step: the start within the support, zero elsewhere."""
    support = set(plan.support)
    phi = tuple(value if term in support else 0.0 for term, value in enumerate(plan.start))
    zero = (0.0,) * len(phi)
    return MetaState(phi=phi, m=zero, v=zero)


def meta_step(
    population: Population, plan: FitPlan, state: MetaState
) -> tuple[StepRecord, MetaState]:
    """One update of the coefficients; without a usable lifetime they stay and the step counts.

    Where the protocol retreats and at least half of the lifetimes diverge, the coefficients go
    back to the last at which none did, and Adam's momentum is gone: lifetimes that do not end have
    no vote, so momentum alone would carry them on over the cliff.
    """
    if state.step == plan.meta_steps:
        # Means of unit votes say nothing about the size of raw gradients: Adam starts anew.
        zero = (0.0,) * len(state.phi)
        state = replace(state, m=zero, v=zero, updates=0)
    protocol = plan.protocol
    seeds = lifetime_seeds(plan.seed, plan.label, state.step, protocol.meta_batch)
    phi, m, v, scales = (
        torch.tensor(values, dtype=torch.float64)
        for values in (state.phi, state.m, state.v, plan.scales)
    )
    theta = scales * phi
    lived = population(theta, seeds, gradient=plan.support, observe=plan.observe)
    if lived.gradient is None:
        raise ValueError("the population gave no gradient although one was asked for")
    loss = _plain(lived.loss)
    gradients = _plain(lived.gradient) * scales
    # The norm, not the entries: one whose square overflows would silence Adam for good.
    usable = torch.isfinite(loss) & torch.isfinite(torch.linalg.vector_norm(gradients, dim=1))
    left_out = len(seeds) - int(usable.sum())
    bad = int(diverged(loss, _plain(lived.initial_loss)).sum())
    updates = state.updates
    retreat = protocol.retreats and state.safe is not None and 2 * bad >= len(seeds)
    if retreat:
        phi, m = torch.tensor(state.safe, dtype=torch.float64), torch.zeros_like(m)
    elif usable.any():
        phi, m, v = _update(plan, state, phi, m, v, gradients[usable])
        updates += 1
    finite = torch.isfinite(loss)
    record = StepRecord(
        label=plan.label,
        step=state.step + 1,
        steps=plan.steps,
        loss=float(loss[finite].mean()) if finite.any() else None,
        accuracy=float(_plain(lived.accuracy)[finite].mean()) if finite.any() else None,
        theta=dict(zip(population.names, theta.tolist(), strict=True)),
        diverged=bad,
        left_out=left_out,
        observed={
            name: tuple(np.atleast_1d(_plain(lived.observed[name])[finite].mean(0)).tolist())
            for name in plan.observe
            if finite.any()
        },
    )
    return record, MetaState(
        phi=tuple(phi.tolist()),
        m=tuple(m.tolist()),
        v=tuple(v.tolist()),
        updates=updates,
        step=state.step + 1,
        lifetimes=state.lifetimes + len(seeds),
        left_out=state.left_out + left_out,
        diverged=state.diverged + bad,
        silent=0 if usable.any() else state.silent + 1,
        safe=state.phi if bad == 0 else state.safe,
        retreats=state.retreats + retreat,
    )


def _update(
    plan: FitPlan, state: MetaState, phi: Tensor, m: Tensor, v: Tensor, gradients: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The new phi, m and v from the gradients of the usable lifetimes, [lifetimes, terms]."""
    protocol = plan.protocol
    searching = state.step < plan.meta_steps
    votes = unit_votes(gradients) if protocol.normalise and searching else gradients
    gradient = votes.mean(0)
    if searching and protocol.penalty == "subgradient":
        gradient = gradient + plan.l1 * torch.sign(phi)
    m, v, direction, metric = adam(m, v, state.updates, gradient, protocol.betas, protocol.eps)
    rate = rate_at(plan, state.step)
    phi = phi - rate * direction
    if searching and protocol.penalty == "proximal":
        phi = soft_threshold(phi, rate * plan.l1 / metric)
    return phi, m, v


def fit(
    population: Population,
    plan: FitPlan,
    state: MetaState | None = None,
    on_step: Callable[[StepRecord, MetaState], None] | None = None,
) -> Fit:
    """Meta-learn the coefficients of a support.

    Args:
        population: what the coefficients do.
        plan: of this run.
        state: where an interrupted run of the same plan stood; None begins it.
        on_step: called after each meta-step, for progress, history and checkpoints.

    Returns:
        The fit. A run in which no lifetime is usable for `PATIENCE` meta-steps in a row (or for
        all of them, where there are fewer) ends there with the reason in `failed`: a support can
        be one that explodes, and whoever tried it needs that answer.
    """
    state = initial_state(plan) if state is None else state
    patience = max(1, min(PATIENCE, plan.steps))
    while state.step < plan.steps and state.silent < patience:
        record, state = meta_step(population, plan, state)
        if on_step is not None:
            on_step(record, state)
    failed = None
    if state.silent >= patience:
        failed = f"no lifetime was finite in {state.silent} meta-steps, up to step {state.step}"
    return Fit(
        label=plan.label,
        seed=plan.seed,
        support=tuple(t for t in plan.support if abs(state.phi[t]) > plan.protocol.zero_below),
        theta=tuple(s * phi for s, phi in zip(plan.scales, state.phi, strict=True)),
        phi=state.phi,
        meta_steps=state.step,
        lifetimes=state.lifetimes,
        left_out=state.left_out,
        diverged=state.diverged,
        failed=failed,
        retreats=state.retreats,
    )


def to_json(record: Any) -> str:
    """A frozen record (numbers, text, tuples) as one line of JSON; floats come back exactly."""
    return json.dumps(asdict(record))


def from_json(kind: type[_Record], text: str) -> _Record:
    """The record that `to_json` wrote.

    Raises:
        RuleSearchError: the text is not such a record.

    Example:
        >>> state = MetaState(phi=(0.1,), m=(0.0,), v=(1e-300,))
        >>> from_json(MetaState, to_json(state)) == state
        True
    """
    try:
        return kind(**{name: _frozen(value) for name, value in json.loads(text).items()})
    except (ValueError, TypeError, AttributeError) as fault:
        raise RuleSearchError(
            f"damaged or of another version ({fault}); delete it, and its step is run again"
        ) from fault


def _frozen(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _plain(values: Tensor) -> Tensor:
    """Off the device, in the precision of the optimiser."""
    return values.detach().to("cpu", torch.float64)
