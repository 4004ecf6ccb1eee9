"""The loop over meta-steps, for one fit or for several that share a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rulesearch.lifetime import Lifetimes
from rulesearch.lifetime.modes import plain
from rulesearch.meta.optimiser import adam, soft_threshold, unit_votes
from rulesearch.meta.records import Fit, FitPlan, Lost, MetaState, StepRecord
from rulesearch.scoring import diverged, scored

PATIENCE = 20
"""Meta-steps in a row without one usable lifetime after which a fit is given up."""


class RunsLifetimes(Protocol):
    """Lifetimes as a function of the coefficients: all that meta-learning sees of a network."""

    @property
    def names(self) -> tuple[str, ...]:
        """The terms of the pool, in the order of the coefficients."""
        ...

    @property
    def outputs(self) -> int | None:
        """Units of the output layer, which fix what chance is; of several worlds None."""
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


def lifetime_seeds(
    seed: int, label: str, step: int, count: int, worlds: int = 1
) -> tuple[int, ...]:
    """Seeds of one meta-step's lifetimes, 0 to 2**63 - 1, from these values alone.

    Of several worlds they take turns, through all steps: the remainder by their number says which
    world a lifetime belongs to (`rulesearch.mixture`). So all have as many, but for one.

    Example:
        >>> lifetime_seeds(0, "trial 1", 5, 2) == lifetime_seeds(0, "trial 1", 5, 3)[:2]
        True
        >>> [seed % 3 for seed in lifetime_seeds(0, "trial 1", 5, 4, worlds=3)]
        [2, 0, 1, 2]
    """
    name = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big")
    words = np.random.SeedSequence([seed, name, step]).generate_state(count, np.uint64)
    seeds = [int(word) >> 1 for word in words]
    turns = range(step * count, (step + 1) * count)
    return tuple(s - s % worlds + turn % worlds for turn, s in zip(turns, seeds, strict=True))


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


# --- one meta-step -------------------------------------------------------------------------------


def meta_step(
    population: RunsLifetimes, plan: FitPlan, state: MetaState
) -> tuple[StepRecord, MetaState]:
    """One update of the coefficients; without a usable lifetime they stay and the step counts.

    Where the protocol retreats and at least half of the lifetimes diverge, the coefficients go
    back to the last at which none did, and Adam's momentum is gone: lifetimes that do not end have
    no vote, so momentum alone would carry them on over the cliff.
    """
    return _step_together(population, [(plan, state)], plan.support)[0]


def _step_together(
    population: RunsLifetimes, stands: Sequence[tuple[FitPlan, MetaState]], terms: Sequence[int]
) -> list[tuple[StepRecord, MetaState]]:
    """One meta-step of each plan from its own state, in one call of the population.

    `terms` are differentiated: those of all supports, and maybe others.
    """
    asked = [_asked(plan, state) for plan, state in stands]
    lived = population(
        torch.cat([theta for theta, _ in asked]),
        [seed for _, seeds in asked for seed in seeds],
        gradient=terms,
        observe=max((plan.observed_at(state.step) for plan, state in stands), key=len),
    )
    shares = _shares(lived, [len(seeds) for _, seeds in asked])
    return [
        _after(plan, state, population, seeds, share)
        for (plan, state), (_, seeds), share in zip(stands, asked, shares, strict=True)
    ]


def _asked(plan: FitPlan, state: MetaState) -> tuple[Tensor, tuple[int, ...]]:
    """The lifetimes that a meta-step needs: raw coefficients [lifetimes, terms], and seeds."""
    draws = plan.draws or plan.label
    batch = plan.protocol.meta_batch
    seeds = lifetime_seeds(plan.seed, draws, state.step, batch, plan.worlds)
    theta = torch.tensor(_theta(plan, state), dtype=torch.float64)
    return theta.expand(len(seeds), len(theta)), seeds


def _shares(lived: Lifetimes, counts: Sequence[int]) -> Iterator[Lifetimes]:
    """The answer to a common call, divided again: so many lifetimes for each plan."""
    if lived.gradient is None:
        raise ValueError("the population gave no gradient although one was asked for")
    begin = 0
    for count in counts:
        own = slice(begin, begin + count)
        yield Lifetimes(
            loss=lived.loss[own],
            accuracy=lived.accuracy[own],
            initial_loss=lived.initial_loss[own],
            gradient=lived.gradient[own],
            observed={name: values[own] for name, values in lived.observed.items()},
            chance=lived.chance,
        )
        begin += count


def _after(
    plan: FitPlan,
    state: MetaState,
    population: RunsLifetimes,
    seeds: Sequence[int],
    lived: Lifetimes,
) -> tuple[StepRecord, MetaState]:
    """What a plan makes of the lifetimes that it asked for in this state."""
    assert lived.gradient is not None
    before, protocol = state, plan.protocol
    if state.step == plan.meta_steps:
        # Means of unit votes say nothing about the size of raw gradients: Adam starts anew.
        zero = (0.0,) * len(state.phi)
        state = replace(state, m=zero, v=zero, updates=0)
    loss = _plain(lived.loss)
    finite = torch.isfinite(loss)
    gradients, lost = _without_lost(plan, state, seeds, finite, _plain(lived.gradient))
    # The norm, not the entries: one whose square overflows would silence Adam for good.
    usable = finite & torch.isfinite(torch.linalg.vector_norm(gradients, dim=1))
    left_out = len(loss) - int(usable.sum())
    accuracy, initial = _plain(lived.accuracy), _plain(lived.initial_loss)
    bad = int(diverged(loss, initial).sum())
    refuge = state.safe if protocol.retreats and 2 * bad >= len(loss) else None
    if refuge is not None:
        state = replace(state, phi=refuge, m=(0.0,) * len(refuge))
    elif usable.any():
        state = _updated(plan, state, gradients[usable])
    state = _kept_at_zero(state, lost)
    losses, accuracies = scored(loss, accuracy, initial, population.outputs, lived.chance)
    record = StepRecord(
        label=plan.label,
        step=before.step + 1,
        steps=plan.steps,
        loss=float(losses.mean()),
        accuracy=float(accuracies.mean()),
        theta=dict(zip(population.names, _theta(plan, before), strict=True)),
        diverged=bad,
        left_out=left_out,
        observed={
            name: tuple(np.atleast_1d(_plain(lived.observed[name])[finite].mean(0)).tolist())
            for name in plan.observed_at(before.step)
            if finite.any() and name in lived.observed
        },
    )
    return record, replace(
        state,
        step=before.step + 1,
        lifetimes=before.lifetimes + len(loss),
        left_out=before.left_out + left_out,
        diverged=before.diverged + bad,
        silent=0 if usable.any() else before.silent + 1,
        finite=0 if usable.any() else before.finite + bool(finite.any()),
        safe=before.phi if bad == 0 else before.safe,
        retreats=before.retreats + (refuge is not None),
        lost=lost,
    )


def _without_lost(
    plan: FitPlan, state: MetaState, seeds: Sequence[int], finite: Tensor, slopes: Tensor
) -> tuple[Tensor, tuple[Lost, ...]]:
    """Gradients in units, [lifetimes, terms], zero for the terms that are lost; and which are.

    A term at zero changes no lifetime, but its own derivative may be infinite, or not a number:
    then it stays at zero, and the others have their say. Where the derivative of a term that is
    in use is not finite either, it is the lifetime that is beyond use.
    """
    # Plans that share a batch may have asked for other terms than this one's.
    own = torch.zeros(len(plan.scales), dtype=torch.bool)
    own[list(plan.support)] = True
    gradients = torch.where(own, slopes * torch.tensor(plan.scales, dtype=torch.float64), 0.0)
    unknown = ~torch.isfinite(gradients)
    idle = torch.tensor(state.phi, dtype=torch.float64) == 0
    sound = finite & ~(unknown & ~idle).any(1)
    theta, known = _theta(plan, state), {each.term for each in state.lost}
    lost = list(state.lost)
    for term in (unknown[sound] & idle).any(0).nonzero()[:, 0].tolist():
        if term not in known:
            first = int((sound & unknown[:, term]).nonzero()[0, 0])
            lost.append(Lost(term, seeds[first], theta))
    gone = [each.term for each in lost]
    gradients[:, gone] = 0.0
    return gradients, tuple(lost)


def _kept_at_zero(state: MetaState, lost: Sequence[Lost]) -> MetaState:
    """The state with the lost terms where they were."""
    gone = {each.term for each in lost}

    def zeroed(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(0.0 if term in gone else x for term, x in enumerate(values))

    return replace(state, phi=zeroed(state.phi), m=zeroed(state.m)) if gone else state


def _updated(plan: FitPlan, state: MetaState, gradients: Tensor) -> MetaState:
    """Adam's step by the gradients of the usable lifetimes, [lifetimes, terms]; phi, m and v."""
    protocol = plan.protocol
    phi, m, v = (torch.tensor(x, dtype=torch.float64) for x in (state.phi, state.m, state.v))
    searching = state.step < plan.meta_steps
    votes = unit_votes(gradients) if protocol.normalise and searching else gradients
    gradient = votes.mean(0)
    if searching:
        gradient = gradient + 2 * plan.l2 * phi
    if searching and protocol.penalty == "subgradient":
        gradient = gradient + plan.l1 * torch.sign(phi)
    m, v, direction, metric = adam(m, v, state.updates, gradient, protocol.betas, protocol.eps)
    rate = rate_at(plan, state.step)
    phi = phi - rate * direction
    if searching and protocol.penalty == "proximal":
        phi = soft_threshold(phi, rate * plan.l1 / metric)
    return replace(
        state,
        phi=tuple(phi.tolist()),
        m=tuple(m.tolist()),
        v=tuple(v.tolist()),
        updates=state.updates + 1,
    )


# --- whole fits ----------------------------------------------------------------------------------


def fit(
    population: RunsLifetimes,
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
    return fit_together(population, [plan], [state], on_step)[0]


@plain()
def fit_together(
    population: RunsLifetimes,
    plans: Sequence[FitPlan],
    states: Sequence[MetaState | None] | None = None,
    on_step: Callable[[StepRecord, MetaState], None] | None = None,
) -> list[Fit]:
    """Fits in lock-step: at every meta-step the lifetimes of all plans are one batch.

    Each plan sees its own lifetimes only, so it ends where `fit` alone would end: to the bit if
    the population computes each lifetime the same way in any company. Small meta-batches thereby
    fill all cores, and what a call costs beside its lifetimes is paid once for all plans.

    Args:
        population: what the coefficients do.
        plans: of the fits; they may differ in everything but `observe` and the number of terms.
            Different labels tell their records apart.
        states: where each stood when it was interrupted, at whatever step; None begins it.
        on_step: called after each meta-step of each plan, in their order.

    Returns:
        The fits, in the order of the plans. One that has ended or is given up takes no more part.

    Raises:
        ValueError: plans that differ in `observe`.
    """
    if len({plan.observe for plan in plans}) > 1:
        raise ValueError("plans that share a batch ask for the same observables")
    begun = [None] * len(plans) if states is None else states
    reached = [
        initial_state(plan) if state is None else state
        for plan, state in zip(plans, begun, strict=True)
    ]
    # Of all plans to the end, ended ones too: with fewer terms a kernel would be compiled anew.
    terms = sorted({term for plan in plans for term in plan.support})
    while going := [i for i, plan in enumerate(plans) if _goes_on(plan, reached[i])]:
        steps = _step_together(population, [(plans[i], reached[i]) for i in going], terms)
        for i, (record, state) in zip(going, steps, strict=True):
            reached[i] = state
            if on_step is not None:
                on_step(record, state)
    return [_outcome(plan, state) for plan, state in zip(plans, reached, strict=True)]


def _goes_on(plan: FitPlan, state: MetaState) -> bool:
    return state.step < plan.steps and not _given_up(plan, state)


def _given_up(plan: FitPlan, state: MetaState) -> bool:
    return state.silent >= max(1, min(PATIENCE, plan.steps))


def _outcome(plan: FitPlan, state: MetaState) -> Fit:
    """The fit that ends in this state."""
    failed = None
    if _given_up(plan, state):
        what = "gradient" if state.finite else "loss"
        failed = (
            f"no lifetime had a finite {what} in {state.silent} meta-steps, up to step {state.step}"
        )
        if state.finite:
            failed += f", though losses were finite in {state.finite} of them"
    return Fit(
        label=plan.label,
        seed=plan.seed,
        support=tuple(t for t in plan.support if abs(state.phi[t]) > plan.protocol.zero_below),
        theta=_theta(plan, state),
        phi=state.phi,
        meta_steps=state.step,
        lifetimes=state.lifetimes,
        left_out=state.left_out,
        diverged=state.diverged,
        failed=failed,
        retreats=state.retreats,
        lost=state.lost,
    )


def _theta(plan: FitPlan, state: MetaState) -> tuple[float, ...]:
    """The raw coefficients of a state, [terms]."""
    return tuple(s * phi for s, phi in zip(plan.scales, state.phi, strict=True))


def _plain(values: Tensor) -> Tensor:
    """Off the device, in the precision of the optimiser."""
    return values.detach().to("cpu", torch.float64)
