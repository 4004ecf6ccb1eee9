"""Accepted steps: from coefficients to better ones, by steps that lower the loss of fresh tasks.

The lifetimes at a place vote for a direction. The next ones, which had no vote, decide: a step is
taken if their mean penalised loss falls by it, a diverged lifetime scored as everywhere. So the
cliff beyond which lifetimes diverge is seen and not fallen over, and no tasks are learned by heart.
Where no size is taken their votes are added to those at the place, so the direction is known the
better the harder it is to find; where a step is taken they are the first to vote at the new one.

A cliff that few lifetimes fall over is not seen by a step's own. Where more diverge at a place than
did at the start, the course goes back to the last place where as many lifetimes again did not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats

from rulesearch.lifetime.modes import plain
from rulesearch.meta.fitting import RunsLifetimes, lifetime_seeds
from rulesearch.meta.metric import Gradients, local_model, moment, norms, proximal, votes
from rulesearch.meta.protocols import Accepted
from rulesearch.meta.records import Lost, StepRecord
from rulesearch.records.plain import Count, Finite
from rulesearch.scoring import diverged, scored

#: One-sided, of the limit below which the last steps' gain must lie to end a descent.
CERTAIN = 0.95

Matrix = tuple[tuple[Finite, ...], ...]


@dataclass(frozen=True)
class Descent:
    """One descent; its result depends on this and on the population alone.

    Attributes:
        label: unique within a search; the lifetimes' seeds are derived from `draws`, or from it.
        support: indices of the terms that may move, in an order that does not hang on the pool's:
            sums are rounded by it. The others stay at zero.
        scales: `theta = scales * phi`, [terms].
        start: the first phi, [terms]; read within the support only.
        seed: of the search, not negative.
        protocol: its numbers.
        pace: the size of the reference's best coefficient, in those learned, above 0.
        steps: at most, taken or not.
        l1: nats for each `pace` of |phi|.
        gain: nats that the search is about, which say what is worth a step; this descent's own
            gain where it is more.
        size: of the first step, in phi; the protocol's if None.
        second: the votes' second moment so far, [support, support]; of the first votes if empty.
        observe: observables wanted in the records,
        observe_every: so many steps apart, from the first on: they cost time.
        draws: what the lifetimes' seeds are derived from, beside `seed`; the label if empty.
        worlds: that take turns in the lifetimes.
    """

    label: str
    support: tuple[int, ...]
    scales: tuple[float, ...]
    start: tuple[float, ...]
    seed: Count
    protocol: Accepted
    pace: float
    steps: int
    l1: float = 0.0
    gain: float = 0.0
    size: float | None = None
    second: Matrix = ()
    observe: tuple[str, ...] = ()
    observe_every: int = 1
    draws: str = ""
    worlds: int = 1

    def __post_init__(self) -> None:
        if not self.support or any(self.scales[term] <= 0 for term in self.support):
            raise ValueError("a descent needs a support, of terms with a scale above zero")
        if not self.pace > 0:
            raise ValueError("a descent needs a pace above zero")


@dataclass(frozen=True)
class DescentState:
    """All that a descent carries from one step to the next, as plain numbers.

    Attributes:
        phi: the coefficients learned, [terms].
        size: with which the next direction is tried first, in phi.
        second: the votes' second moment, [support, support].
        total: sum of the votes at phi, [support],
        count: of so many lifetimes.
        steep: typical size of a lifetime's gradient, nats for a unit of phi.
        step: steps made, taken or not,
        taken: of these, the ones taken.
        gains: mean and variance of what each of the last steps gained, penalty included.
        gained: by all steps taken, nats.
        lifetimes: run with gradient,
        forward: and without.
        left_out: lifetimes without a finite loss and gradient, which have no vote.
        diverged: lifetimes that diverged, at places that were taken.
        lost: terms that stay at zero, because their derivative was not finite there.
        allowed: lifetimes of a batch that may diverge: as many as did at the start.
        safe: the last place where no more did of those that came after it was taken, [terms]; empty
            where there is none.
    """

    phi: tuple[Finite, ...]
    size: float
    second: Matrix
    total: tuple[Finite, ...]
    count: Count
    steep: float
    step: Count = 0
    taken: Count = 0
    gains: tuple[tuple[Finite, Finite], ...] = ()
    gained: float = 0.0
    lifetimes: Count = 0
    forward: Count = 0
    left_out: Count = 0
    diverged: Count = 0
    lost: tuple[Lost, ...] = ()
    allowed: Count = 0
    safe: tuple[Finite, ...] = ()


@dataclass(frozen=True)
class Descended:
    """Where a descent led.

    Attributes:
        label: of its plan.
        seed: of its plan.
        support: indices of the terms whose coefficient is not zero, in the plan's order.
        theta: raw coefficients, [terms].
        phi: the same in the coefficients learned.
        size: that another step would begin with.
        second: the votes' second moment, [support, support] of the terms in `support`.
        gained: nats, by the steps taken.
        steps: made,
        taken: of these, the ones taken.
        lifetimes: run with gradient,
        forward: and without.
        left_out: lifetimes that had no vote.
        diverged: lifetimes that diverged, at places that were taken.
        lost: terms that stayed at zero, because their derivative was not finite there.
    """

    label: str
    seed: Count
    support: tuple[Count, ...]
    theta: tuple[Finite, ...]
    phi: tuple[Finite, ...]
    size: float
    second: Matrix
    gained: float
    steps: Count
    taken: Count
    lifetimes: Count
    forward: Count
    left_out: Count
    diverged: Count
    lost: tuple[Lost, ...] = ()


@plain()
def descend(
    population: RunsLifetimes,
    plan: Descent,
    state: DescentState | None = None,
    on_step: Callable[[StepRecord, DescentState], None] | None = None,
) -> Descended:
    """Take accepted steps until they gain next to nothing, or as many as the plan allows.

    Args:
        population: what the coefficients do.
        plan: of this descent.
        state: where an interrupted one of the same plan stood; None begins it.
        on_step: called after each step, for progress, history and checkpoints.
    """
    state = _begun(population, plan) if state is None else state
    while state.step < plan.steps and not ended(plan, state):
        record, state = descent_step(population, plan, state)
        if on_step is not None:
            on_step(record, state)
    kept = [place for place, term in enumerate(plan.support) if state.phi[term]]
    return Descended(
        label=plan.label,
        seed=plan.seed,
        support=tuple(plan.support[place] for place in kept),
        theta=_theta(plan, state.phi),
        phi=state.phi,
        size=state.size,
        second=tuple(tuple(state.second[i][j] for j in kept) for i in kept),
        gained=state.gained,
        steps=state.step,
        taken=state.taken,
        lifetimes=state.lifetimes,
        forward=state.forward,
        left_out=state.left_out,
        diverged=state.diverged,
        lost=state.lost,
    )


def ended(plan: Descent, state: DescentState) -> bool:
    """Whether more steps would gain next to nothing.

    So it is where many lifetimes have voted at one place and a step from there was refused, or
    where the upper limit of what the last steps have gained lies below their worth.
    """
    protocol = plan.protocol
    if state.count >= protocol.most and state.count > protocol.meta_batch:
        return True
    if len(state.gains) < protocol.over:
        return False
    mean = sum(gain for gain, _ in state.gains)
    margin = stats.norm.ppf(CERTAIN) * sum(variance for _, variance in state.gains) ** 0.5
    return bool(mean + margin < protocol.worth * max(plan.gain, state.gained))


@dataclass(frozen=True, eq=False)
class _Lived:
    """Lifetimes at a place; arrays are [lifetimes] and [lifetimes, support]."""

    phi: Float[np.ndarray, " terms"]
    loss: Float[np.ndarray, " lifetimes"]
    accuracy: Float[np.ndarray, " lifetimes"]
    bad: Bool[np.ndarray, " lifetimes"]
    gradients: Gradients | None
    usable: Bool[np.ndarray, " lifetimes"]
    lost: tuple[Lost, ...]
    observed: dict[str, tuple[float, ...]] = field(default_factory=dict)


def _live(
    population: RunsLifetimes,
    plan: Descent,
    phi: Float[np.ndarray, " terms"],
    seeds: Sequence[int],
    *,
    gradient: bool,
    observe: tuple[str, ...] = (),
) -> _Lived:
    theta = torch.tensor(_theta(plan, phi.tolist()), dtype=torch.float64)
    support = list(plan.support)
    lived = population(theta, seeds, gradient=support if gradient else (), observe=observe)
    loss, accuracy, initial = (
        getattr(lived, name).detach().to("cpu", torch.float64)
        for name in ("loss", "accuracy", "initial_loss")
    )
    bad = diverged(loss, initial)
    found = scored(loss, accuracy, initial, population.outputs, lived.chance)
    losses, accuracies = (x.numpy() for x in found)
    finite = torch.isfinite(loss)
    gradients, usable = None, finite.numpy()
    lost: tuple[Lost, ...] = ()
    if gradient:
        assert lived.gradient is not None
        slopes = lived.gradient.detach().to("cpu", torch.float64).numpy()[:, support]
        slopes = slopes * np.array(plan.scales)[support]
        idle = phi[support] == 0
        unknown = ~np.isfinite(slopes)
        # A term at zero changes no lifetime, whatever its own derivative is; what is not finite
        # of a term in use leaves the lifetime without a vote.
        usable = usable & ~bad.numpy() & ~(unknown & ~idle).any(1)
        gone = (unknown & idle & usable[:, None]).any(0).nonzero()[0]
        lost = tuple(
            Lost(
                support[place],
                seeds[int((usable & unknown[:, place]).argmax())],
                tuple(theta.tolist()),
            )
            for place in gone
        )
        gradients = np.where(unknown | ~usable[:, None], 0.0, slopes)
    observed = {
        name: tuple(np.atleast_1d(values[finite].mean(0).to("cpu", torch.float64)).tolist())
        for name, values in lived.observed.items()
        if finite.any()
    }
    return _Lived(phi, losses, accuracies, bad.numpy(), gradients, usable, lost, observed)


def _begun(population: RunsLifetimes, plan: Descent) -> DescentState:
    """The votes at the start."""
    phi = np.zeros(len(plan.scales))
    support = list(plan.support)
    phi[support] = np.array(plan.start)[support]
    size = plan.protocol.first * plan.pace if plan.size is None else plan.size
    state = DescentState(tuple(phi.tolist()), size, plan.second, (), 0, 0.0)
    here = _live(population, plan, phi, _seeds(plan, 0), gradient=True)
    return replace(_voted(plan, state, here), allowed=int(here.bad.sum()))


def _seeds(plan: Descent, step: int) -> tuple[int, ...]:
    draws = plan.draws or plan.label
    return lifetime_seeds(plan.seed, draws, step, plan.protocol.meta_batch, plan.worlds)


def _voted(plan: Descent, state: DescentState, lived: _Lived) -> DescentState:
    """The state with more votes at its place, or with the first ones at a new place."""
    assert lived.gradients is not None
    known = {lost.term for lost in state.lost}
    lost = (*state.lost, *(each for each in lived.lost if each.term not in known))
    gone = [place for place, term in enumerate(plan.support) if term in {x.term for x in lost}]
    gradients = lived.gradients
    gradients[:, gone] = 0.0
    cast = votes(gradients)
    second = moment(cast)
    if state.second:
        memory = plan.protocol.memory
        second = memory * np.array(state.second) + (1 - memory) * second
    stays = tuple(lived.phi.tolist()) == state.phi and state.count
    total = cast.sum(0) + (np.array(state.total) if stays else 0.0)
    sizes = norms(gradients)[lived.usable]
    return replace(
        state,
        phi=tuple(lived.phi.tolist()),
        second=tuple(map(tuple, second.tolist())),
        total=tuple(total.tolist()),
        count=len(cast) + (state.count if stays else 0),
        steep=float(np.median(sizes)) if sizes.size else state.steep,
        lifetimes=state.lifetimes + len(cast),
        left_out=state.left_out + int((~lived.usable & ~lived.bad).sum()),
        diverged=state.diverged + int(lived.bad.sum()),
        lost=lost,
    )


def descent_step(
    population: RunsLifetimes, plan: Descent, state: DescentState
) -> tuple[StepRecord, DescentState]:
    """One direction, in a few sizes, on tasks that had no vote; see `rulesearch.meta.descent`."""
    protocol, phi = plan.protocol, np.array(state.phi)
    seeds = _seeds(plan, state.step + 1)
    observe = plan.observe if state.step % plan.observe_every == 0 else ()
    model = local_model(np.array(state.total), state.count, np.array(state.second))
    price, support = plan.l1 / plan.pace, list(plan.support)
    threshold = price / state.steep if state.steep else 0.0  # none has voted: no step is tried
    base = _live(population, plan, phi, seeds, gradient=False)
    forward, lifetimes = len(seeds), 0
    size, taken, there = state.size, None, base
    gain = np.zeros(len(seeds))
    unsafe = int(base.bad.sum()) > state.allowed
    back = unsafe and state.safe not in ((), state.phi)
    if back:
        phi = np.array(state.safe)
    elif not unsafe:
        state = replace(state, safe=state.phi)
    for number in range(protocol.tries if model.slope.any() and not back else 0):
        new = phi.copy()
        new[support] = proximal(model, phi[support], size, threshold, protocol.furthest * plan.pace)
        # Where the last step was taken so is this one, most often: then its gradient is wanted.
        hopeful = number == 0 and state.count == len(seeds)
        there = _live(population, plan, new, seeds, gradient=hopeful, observe=observe)
        forward, lifetimes = forward + len(seeds) * (not hopeful), lifetimes + len(seeds) * hopeful
        saved = price * float(np.abs(phi[support]).sum() - np.abs(new[support]).sum())
        gain = base.loss - there.loss + saved
        if gain.mean() > 0 and (new != phi).any():
            taken = there
            break
        size *= protocol.shrink
    if taken is None:
        voters = _live(population, plan, phi, seeds, gradient=True, observe=observe)
        # Of the sizes tried the last but one; back at a safe place, a smaller one than led off it.
        begun = size * protocol.shrink if back else size / protocol.shrink**2
    elif taken.gradients is None:
        voters = _live(population, plan, taken.phi, seeds, gradient=True, observe=observe)
        begun = size * protocol.grow
    else:
        voters, begun = taken, size * protocol.grow
        lifetimes -= len(seeds)  # `_voted` counts them
    after = _voted(plan, state, voters)
    gained = float(gain.mean()) if taken is not None else 0.0
    variance = float(gain.var(ddof=1)) / len(gain) if taken is not None and len(gain) > 1 else 0.0
    after = replace(
        after,
        size=float(np.clip(begun, protocol.smallest * plan.pace, protocol.largest * plan.pace)),
        step=state.step + 1,
        taken=state.taken + (taken is not None),
        gains=(*state.gains, (gained, variance))[-protocol.over :],
        gained=state.gained + gained,
        lifetimes=after.lifetimes + lifetimes,
        forward=after.forward + forward,
    )
    record = StepRecord(
        label=plan.label,
        step=after.step,
        steps=plan.steps,
        loss=float(voters.loss.mean()),
        accuracy=float(voters.accuracy.mean()),
        theta=dict(zip(population.names, _theta(plan, after.phi), strict=True)),
        diverged=int(voters.bad.sum()),
        left_out=int((~voters.usable & ~voters.bad).sum()),
        observed=voters.observed,
        taken=taken is not None,
        voted=after.count,
        size=after.size,
    )
    return record, after


def _theta(plan: Descent, phi: Sequence[float]) -> tuple[float, ...]:
    return tuple(s * x for s, x in zip(plan.scales, phi, strict=True))
