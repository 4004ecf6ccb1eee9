"""One online pass and its meta-gradient: the kernels' public face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.choices import KernelName
from rulesearch.errors import RuleSearchError
from rulesearch.kernels import Batch
from rulesearch.lifetime.asked import observables_named, points_numbered, terms_named
from rulesearch.lifetime.autograd import watched
from rulesearch.lifetime.carried import Carried, carried_on, check_carried, left, of_its_own
from rulesearch.lifetime.given import Given, given
from rulesearch.lifetime.modes import plain
from rulesearch.lifetime.numbers import check_coefficients, check_constants, check_numbers
from rulesearch.lifetime.observing import observed, stands_at
from rulesearch.lifetime.tensors import Numbers
from rulesearch.lifetime.working import choose_kernel, holding, plan_of, run_by, working
from rulesearch.model import PAPER, Model, bounded
from rulesearch.notation import Pool
from rulesearch.observables import Stand
from rulesearch.operators import Parameter
from rulesearch.pathways import pathway as pathway_of

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Lifetimes:
    """What a batch of lifetimes gave.

    Attributes:
        loss: mean query cross-entropy after the last step, [lifetimes]; the mean over the steps
            after which the query is asked, where it is asked at some.
        accuracy: share of the query examples classified correctly, [lifetimes], 0 to 1, likewise.
        initial_loss: mean query cross-entropy before the first step, [lifetimes]; the mean over
            what the answers should be at the steps asked, so that what learns nothing ends there.
        gradient: derivative of each lifetime's loss with respect to its own coefficients,
            [lifetimes, *theta.shape] ([lifetimes, layers, terms] where theta has the lifetimes
            itself), or None.
        weights: the final weights, list over layers of [lifetimes, post, pre], or None.
        carried: what else goes on from there, or None.
        chance: the loss of the best answer that knows nothing; None: ln of the outputs.
        observed: observables by name, e.g. "angle" in degrees, [lifetimes, layers]; with points in
            time, [lifetimes, points, layers].
        note: what was done other than asked for, such as another kernel; "" if nothing.
    """

    loss: Float[Tensor, " lifetimes"]
    accuracy: Float[Tensor, " lifetimes"]
    initial_loss: Float[Tensor, " lifetimes"]
    gradient: Tensor | None = None
    weights: list[Float[Tensor, "lifetimes _post _pre"]] | None = None
    observed: Mapping[str, Tensor] = field(default_factory=dict)
    note: str = ""
    carried: Carried | None = None
    chance: float | None = None


def run_lifetimes(
    pool: Pool,
    theta: Numbers | Sequence[Any],
    weights: Sequence[Numbers],
    feedback: Sequence[Numbers] | str | None,
    *,
    train: tuple[Numbers, Numbers],
    query: tuple[Numbers, Numbers],
    kernel: KernelName = "auto",
    gradient: bool | Sequence[str] = False,
    pathway: str | None = None,
    observe: Sequence[str] = (),
    observe_at: Sequence[int] = (),
    probe: tuple[Numbers, Numbers] | None = None,
    keep_weights: bool = True,
    ask_at: Sequence[int] = (),
    compile_for: Sequence[str] = (),
    model: Model = PAPER,
    carried: Carried | None = None,
    noise: Sequence[Numbers] | None = None,
) -> Lifetimes:
    """Run lifetimes of online learning, with the gradient of each with respect to theta.

    Wherever a tensor is asked for, a NumPy array will do. Torch's modes (`inference_mode`,
    `autocast`, default dtype and device) and NumPy's `errstate` change no number.

    If theta requires grad, and grad mode is on, so does `loss`: its way back is the kernel's
    adjoint, and gives what `gradient=True` gives. Everything else is plain numbers, and only first
    derivatives are there.

    Args:
        pool: the terms, and where they act: elsewhere a coefficient is taken for zero.
        theta: raw coefficients, [terms], [layers, terms] or [lifetimes, layers, terms]; a list of
            numbers, or of lists, will do.
        weights: initial weights, list over layers of [lifetimes, post, pre].
        feedback: list over layers of [lifetimes, pre, post] (`e_{l-1} = B e_l ⊙ σ'`; the first is
            for the synthetic error of the input layer), for a direct pathway
            [lifetimes, pre, outputs]; or the name of a pathway that needs none, "symmetric". Not
            read, and may be None, where `pathway` is one that needs none.
        train: x [lifetimes, steps, inputs] and labels [lifetimes, steps], integers; or what the
            outputs should answer, [lifetimes, steps, outputs], probabilities, or with a squared
            loss any numbers. Without a step nothing is learned.
        query: x [lifetimes, queries, inputs] and labels [lifetimes, queries], at least one. In the
            place of labels there may be probabilities, [lifetimes, queries, outputs], or
            [lifetimes, asked, queries, outputs] where they differ with the steps of `ask_at`: the
            accuracy is then the share whose likeliest class is right.
        kernel: `einsum`, `fused`, or `auto`: fused where it can. For tensors on CUDA
            it needs `pip install 'rulesearch[cuda]'`.
        gradient: all terms, none, or the names of some (zero for the rest, and in layers where a
            term does not act).
        pathway: name of the feedback graph; "random" where matrices are given.
        observe: names of observables, see `OBSERVABLES`.
        observe_at: numbers of steps after which to observe, ascending, 0 for before the first; with
            none, after the last. The price is one more forward pass, up to the last point; the
            weights of one point are held at a time.
        probe: x and labels of the examples to observe on, like `query`, which it is by default,
            with what the outputs should answer there the last time that it is asked.
        keep_weights: whether the final weights are wanted; some work is saved without.
        ask_at: numbers of steps after which the query is asked, ascending, 0 for before the first;
            the loss is the mean over these. With none, it is asked after the last.
        compile_for: terms that the kernel covers beside those that are not zero, at the price of
            their share of the time; one kernel then serves many rules and is compiled once. Other
            terms that are zero everywhere in the call, and differentiated, cost what their products
            with the adjoint of the weights cost, and hang on a kernel of their own.
        model: activation, loss and what else a step does beside the terms.
        carried: what earlier steps of these lifetimes have left beside the weights, as
            `Lifetimes.carried` has it; without it biases are zero and traces begin. Feedback that
            terms have changed is there too, and goes before `feedback`.
        noise: where the model has it, list over layers of [lifetimes, steps, post], standard
            normal.

    Returns:
        Losses, accuracies, gradients, final weights and observables. Nothing given is changed.

    Raises:
        RuleSearchError: shapes, dtypes, devices, numbers or names that do not fit; the line says
            which. A second derivative, when it is asked for.

    Example:
        >>> import torch
        >>> from rulesearch.notation import Pool
        >>> pool = Pool(F0="-e_post*y_pre")
        >>> weights = [0.1 * torch.ones(1, 3, 2), 0.1 * torch.ones(1, 2, 3)]
        >>> x, labels = torch.ones(1, 4, 2), torch.tensor([[0, 1, 0, 0]])
        >>> out = run_lifetimes(pool, torch.tensor([0.1]), weights, "symmetric", gradient=True,
        ...                     train=(x, labels), query=(x, labels), kernel="einsum")
        >>> out.gradient.shape
        torch.Size([1, 1])
    """
    _check_kinds(model, carried)
    behind = carried or Carried()
    found = given(
        pool,
        theta,
        weights,
        feedback if behind.feedback is None else behind.feedback,
        train=train,
        query=query,
        probe=probe,
        pathway=pathway,
        ask_at=ask_at,
        model=model,
        biases=behind.biases,
        noise=noise,
    )
    seen = observables_named(observe)
    seen_at = points_numbered("observe_at", observe_at, found.train[0].shape[1])
    wanted, more = (
        terms_named("gradient", pool, gradient),
        terms_named("compile_for", pool, compile_for),
    )

    def live(theta: Tensor, wanted: Sequence[int]) -> Lifetimes:
        start = replace(found, theta=theta)
        with plain(found.weights[0].device.type):
            return _live(pool, start, behind, kernel, wanted, more, seen, seen_at, keep_weights)

    if not (torch.is_grad_enabled() and found.theta.requires_grad):
        return live(found.theta, wanted)
    lived: list[Lifetimes] = []
    more = list(range(len(pool)))  # one kernel, whichever of them come to be zero

    def losses(theta: Tensor) -> tuple[Tensor, Tensor]:
        lived.append(live(theta, range(len(pool))))
        return lived[0].loss, _known(lived[0].gradient)

    loss = watched(found.theta, losses)
    slopes = _known(lived[0].gradient).detach() if wanted else None
    if slopes is not None:
        own = torch.zeros(len(pool), dtype=torch.bool, device=slopes.device)
        own[wanted] = True
        slopes = torch.where(own, slopes, 0.0)
    return replace(lived[0], loss=loss, gradient=slopes)


def _live(
    pool: Pool,
    found: Given,
    behind: Carried,
    kernel: KernelName,
    wanted: Sequence[int],
    compile_for: Sequence[int],
    observe: Sequence[str],
    observe_at: Sequence[int],
    keep_weights: bool,
) -> Lifetimes:
    """Lifetimes from what fits together; `wanted` terms have a derivative."""
    weights, theta, path = found.weights, found.theta, found.path
    theta = theta.to(weights[0].device)
    acts = torch.tensor(pool.mask(len(weights)), device=weights[0].device)
    # What stands where a term does not act counts for nothing, whatever it is.
    theta = torch.where(acts, theta, 0.0) if theta.ndim > 1 else theta
    check_coefficients(replace(found, theta=theta))
    everywhere = _spread(theta, weights[0].shape[0], len(weights)).to(weights[0])
    everywhere = torch.where(acts, everywhere, 0.0)

    on_cpu = weights[0].device.type == "cpu"
    needed = {*compile_for, *_nonzero(everywhere)}
    work = working(pool, wanted, needed, kernel, on_cpu=on_cpu)
    active, idle = [*work.active], [*work.idle]
    check_constants((pool.distinct[column] for column in (*active, *idle)), weights[0].dtype)
    batch = Batch(
        _by_expression(everywhere, pool)[..., active],
        weights,
        found.feedback,
        *found.train,
        *found.query,
        found.targets,
        found.asked,
        found.biases,
        found.noise,
        behind.memories,
        behind.steps,
    )
    differentiated = {pool.columns[i] for i in wanted}
    asked = [i for i, column in enumerate(active) if column in differentiated]
    values: dict[Parameter, Sequence[Tensor]] = {"W": weights, "B": found.feedback or ()}
    if found.biases is not None:
        values["b"] = found.biases
    model = holding(found.model, pool, work, values)
    plan = plan_of(pool, active, model)
    if behind.steps:
        check_carried(plan, found, behind.memories)
    beside = plan_of(pool, idle, model) if idle else None
    keep = keep_weights or (bool(observe) and not observe_at)
    run = partial(run_by, kernel, plan, found.sizes, path)
    outcome, note = run(batch, asked, keep, idle=beside)
    if not batch.x.shape[1]:
        outcome = of_its_own(outcome)
    if not outcome.loss.isfinite().all():
        check_numbers(found)
    seen: dict[str, Tensor] = {}
    if observe:
        stands = stands_at(observe_at, batch, run) if observe_at else [left(batch, outcome)]
        networks = (Stand(s.weights, s.feedback, s.biases, found.model) for s in stands)
        seen = observed(observe, networks, path, found.probe)
        if not observe_at:
            seen = {name: values[:, 0] for name, values in seen.items()}
    slopes = None
    if outcome.gradient is not None:
        slopes = everywhere.new_zeros(everywhere.shape)
        derivatives = outcome.gradient
        if outcome.idle is not None:
            derivatives = torch.cat([derivatives, outcome.idle], dim=-1)
        computed = [(*active, *idle).index(pool.columns[i]) for i in wanted]
        slopes[..., wanted] = derivatives[..., computed]
        slopes = torch.where(acts, slopes, 0.0)
        slopes = slopes.sum(1) if theta.ndim == 1 else slopes
    return Lifetimes(
        outcome.loss,
        outcome.accuracy,
        outcome.initial_loss,
        slopes,
        outcome.weights if keep_weights else None,
        seen,
        note,
        carried_on(behind, batch, outcome) if keep_weights else None,
        found.model.loss.chance(found.sizes[-1]),
    )


def compile_ahead(
    pool: Pool,
    sizes: tuple[int, ...],
    *,
    gradient: bool | Sequence[str] = True,
    compile_for: Sequence[str] = (),
    kernel: KernelName = "auto",
    pathway: str = "random",
    dtype: torch.dtype = torch.float32,
    on_cpu: bool = True,
    model: Model = PAPER,
    forward: bool = True,
) -> bool:
    """Have another process compile what `run_lifetimes` will need.

    Args:
        pool: the terms.
        sizes: of the layers, input first.
        gradient: see `run_lifetimes`.
        compile_for: likewise; other terms are zero. With none, no term that is differentiated is.
        kernel: see `run_lifetimes`.
        pathway: name of the feedback graph.
        dtype: of the lifetimes.
        on_cpu: whether that is where they will run.
        model: see `run_lifetimes`.
        forward: whether the forward pass is wanted too, see `rulesearch.kernels.Kernel`.

    Returns:
        Whether there was anything to compile.
    """
    if not on_cpu:
        return False  # a GPU's kernel is compiled when it is called
    path = pathway_of(pathway, len(sizes) - 1)
    wanted = terms_named("gradient", pool, gradient)
    model = bounded(model, pool, tied=path.tied)
    named = terms_named("compile_for", pool, compile_for) or wanted
    work = working(pool, wanted, named, kernel, on_cpu=True)
    model = holding(model, pool, work)
    plan = plan_of(pool, work.active, model)
    chosen, _ = choose_kernel(kernel, plan, sizes, path, on_cpu=True)
    idle = plan_of(pool, work.idle, model) if work.idle else None
    return chosen.compile_ahead(dtype, idle, forward=forward)


def _nonzero(theta: Tensor) -> list[int]:
    return [int(i) for i in (theta != 0).flatten(0, 1).any(0).nonzero()[:, 0]]


def _spread(theta: Tensor, lifetimes: int, layers: int) -> Tensor:
    """Theta as [lifetimes, layers, terms]."""
    while theta.ndim < 3:
        theta = theta[None]
    return theta.expand(lifetimes, layers, theta.shape[-1])


def _by_expression(theta: Tensor, pool: Pool) -> Tensor:
    """Theta [..., terms] as [..., expressions]: what a kernel computes once under several names."""
    columns = torch.tensor(pool.columns, device=theta.device)
    gathered = theta.new_zeros(*theta.shape[:-1], len(pool.distinct))
    return gathered.index_add(-1, columns, theta)  # in a layer one of them at most is not zero


def _known(value: T | None) -> T:
    assert value is not None
    return value


def _check_kinds(model: object, carried: object) -> None:
    """Refuse what is none of our records."""
    if not isinstance(model, Model):
        raise RuleSearchError(f'model: {model!r}; give a Model, as model_of(pool, "tanh")')
    if carried is None:
        return
    if not isinstance(carried, Carried):
        raise RuleSearchError(f"carried: {carried!r}; give what Lifetimes.carried has")
    if not isinstance(carried.steps, int) or carried.steps < 0:
        raise RuleSearchError(f"carried: steps {carried.steps!r}; give a number from 0 on")
