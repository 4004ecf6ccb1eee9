"""One online pass and its meta-gradient: the kernels' public face."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.choices import KernelName
from rulesearch.errors import RuleSearchError
from rulesearch.kernels import KERNELS, Batch, Kernel, Outcome, Unsupported
from rulesearch.lowering import Plan, lower_terms
from rulesearch.notation import Pool
from rulesearch.observables import OBSERVABLES
from rulesearch.pathways import Pathway, feedback_shapes
from rulesearch.pathways import pathway as pathway_of

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)

PathwayName = str


@dataclass(frozen=True)
class Lifetimes:
    """What a batch of lifetimes gave.

    Attributes:
        loss: mean query cross-entropy after the last step, [lifetimes].
        accuracy: share of the query examples classified correctly, [lifetimes], 0 to 1.
        initial_loss: mean query cross-entropy before the first step, [lifetimes].
        gradient: derivative of each lifetime's loss with respect to its own coefficients,
            [lifetimes, *theta.shape] ([lifetimes, layers, terms] where theta has the lifetimes
            itself), or None.
        weights: the final weights, list over layers of [lifetimes, post, pre], or None.
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


def run_lifetimes(
    pool: Pool,
    theta: Tensor,
    weights: Sequence[Tensor],
    feedback: Sequence[Tensor] | str,
    *,
    train: tuple[Tensor, Tensor],
    query: tuple[Tensor, Tensor],
    kernel: KernelName = "auto",
    gradient: bool | Sequence[str] = False,
    pathway: PathwayName | None = None,
    observe: Sequence[str] = (),
    at: Sequence[int] = (),
    probe: tuple[Tensor, Tensor] | None = None,
    keep_weights: bool = True,
    compile_for: Sequence[str] = (),
) -> Lifetimes:
    """Run lifetimes of online learning, with the gradient of each with respect to theta.

    Args:
        pool: the terms, and where they act: elsewhere a coefficient is taken for zero.
        theta: raw coefficients, [terms], [layers, terms] or [lifetimes, layers, terms].
        weights: initial weights, list over layers of [lifetimes, post, pre].
        feedback: list over layers of [lifetimes, pre, post] (`e_{l-1} = B e_l ⊙ σ'`; the first is
            for the synthetic error of the input layer), for a direct pathway
            [lifetimes, pre, outputs]; or the name of a pathway that needs none, "symmetric". Not
            read where `pathway` is one that needs none.
        train: x [lifetimes, steps, inputs] and labels [lifetimes, steps], integers.
        query: x [lifetimes, queries, inputs] and labels [lifetimes, queries].
        kernel: `einsum`, `fused`, or `auto`: fused on a CPU where it can.
        gradient: all terms, none, or the names of some (zero for the rest, and in layers where a
            term does not act).
        pathway: name of the feedback graph; "random" where matrices are given.
        observe: names of observables, see `OBSERVABLES`.
        at: numbers of steps after which to observe, ascending, 0 for before the first; with none,
            after the last. The price is one more forward pass, up to the last point; the weights
            of one point are held at a time.
        probe: x and labels of the examples to observe on, like `query`, which it is by default.
        keep_weights: whether the final weights are wanted; some work is saved without.
        compile_for: terms that the kernel covers beside those it needs, at the price of their
            share of the time; one kernel then serves many rules and is compiled once.

    Returns:
        Losses, accuracies, gradients, final weights and observables. Nothing given is changed.

    Raises:
        RuleSearchError: shapes, dtypes, devices or names that do not fit; the line says which.

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
    if not weights:
        raise RuleSearchError("weights: empty; give one tensor for each layer")
    name = feedback if isinstance(feedback, str) else (pathway or "random")
    path = pathway_of(name, len(weights))
    if isinstance(feedback, str) and pathway not in (None, feedback):
        raise RuleSearchError(f"pathway {pathway}: but feedback names {feedback}; give one of them")
    if isinstance(feedback, str) and not path.tied:
        raise RuleSearchError(
            f"feedback {feedback}: this pathway has matrices of its own; give a list of them, "
            "or use symmetric"
        )
    matrices = None if isinstance(feedback, str) or path.tied else list(feedback)
    if unknown := [n for n in observe if n not in OBSERVABLES]:
        raise RuleSearchError(
            f"observe {unknown[0]}: unknown observable; give any of {', '.join(OBSERVABLES)}"
        )
    wanted = _wanted(pool, gradient)
    sets = {"train": train, "query": query} | ({} if probe is None else {"probe": probe})
    sizes = _check(pool, theta, weights, matrices, path, sets)
    _check_points(at, train[0].shape[1])
    acts = torch.tensor(pool.mask(len(weights)), device=weights[0].device)
    everywhere = _spread(theta, weights[0].shape[0], len(weights)).to(weights[0])
    everywhere = torch.where(acts, everywhere, 0.0)

    needed = {*wanted, *_wanted(pool, compile_for), *_nonzero(everywhere)}
    active = _active(pool, needed)
    batch = Batch(
        _by_expression(everywhere, pool)[..., active],
        list(weights),
        matrices,
        train[0],
        train[1].long(),
        query[0],
        query[1].long(),
    )
    asked = sorted({active.index(pool.places[i]) for i in wanted})
    plan = _plan(pool, active)
    keep = keep_weights or (bool(observe) and not at)
    outcome, note = _run(kernel, plan, sizes, path, batch, asked, keep)
    observed: dict[str, Tensor] = {}
    if observe:
        x, labels = query if probe is None else probe
        run = partial(_run, kernel, plan, sizes, path)
        stands = _weights_at(at, batch, run) if at else [_known(outcome.weights)]
        observed = _observed(observe, stands, path, matrices, (x, labels.long()))
        if not at:
            observed = {name: values[:, 0] for name, values in observed.items()}
    slopes = None
    if outcome.gradient is not None:
        slopes = everywhere.new_zeros(everywhere.shape)
        columns = [active.index(pool.places[i]) for i in wanted]
        slopes[..., wanted] = outcome.gradient[..., columns]
        slopes = torch.where(acts, slopes, 0.0)
        slopes = slopes.sum(1) if theta.ndim == 1 else slopes
    return Lifetimes(
        outcome.loss,
        outcome.accuracy,
        outcome.initial_loss,
        slopes,
        outcome.weights if keep_weights else None,
        observed,
        note,
    )


def compiling(
    pool: Pool,
    sizes: tuple[int, ...],
    *,
    gradient: bool | Sequence[str] = True,
    kernel: KernelName = "auto",
    pathway: PathwayName = "random",
    dtype: torch.dtype = torch.float32,
    on_cpu: bool = True,
) -> AbstractContextManager[bool]:
    """A context in which what `run_lifetimes` will need is compiled, beside what is done there.

    Args:
        pool: the terms.
        sizes: of the layers, input first.
        gradient: see `run_lifetimes`, with coefficients of zero for all other terms.
        kernel: see `run_lifetimes`.
        pathway: name of the feedback graph.
        dtype: of the lifetimes.
        on_cpu: whether that is where they will run.

    Returns:
        The context, which gives whether there is anything to compile. Its end waits for it.
    """
    path = pathway_of(pathway, len(sizes) - 1)
    plan = _plan(pool, _active(pool, _wanted(pool, gradient)))
    return choose_kernel(kernel, plan, sizes, path, on_cpu=on_cpu)[0].compiling(dtype)


def _active(pool: Pool, needed: Iterable[int]) -> list[int]:
    """The expressions of these terms, by their places; one at least."""
    return sorted({pool.places[i] for i in needed}) or [0]


def _plan(pool: Pool, active: Sequence[int]) -> Plan:
    """The plan of some expressions of a pool."""
    return lower_terms(tuple(pool.distinct[place] for place in active))


def _wanted(pool: Pool, gradient: bool | Sequence[str]) -> list[int]:
    if isinstance(gradient, bool):
        return list(range(len(pool))) if gradient else []
    if unknown := [n for n in gradient if n not in pool.names]:
        raise RuleSearchError(
            f"gradient {unknown[0]}: no such term; the terms are {', '.join(pool.names)}"
        )
    return sorted(pool.names.index(n) for n in gradient)


def _nonzero(theta: Tensor) -> list[int]:
    return [int(i) for i in (theta != 0).flatten(0, 1).any(0).nonzero()[:, 0]]


def _spread(theta: Tensor, lifetimes: int, layers: int) -> Tensor:
    """Theta as [lifetimes, layers, terms]."""
    while theta.ndim < 3:
        theta = theta[None]
    return theta.expand(lifetimes, layers, theta.shape[-1])


def _by_expression(theta: Tensor, pool: Pool) -> Tensor:
    """Theta [..., terms] as [..., expressions]: what a kernel computes once under several names."""
    places = torch.tensor(pool.places, device=theta.device)
    gathered = theta.new_zeros(*theta.shape[:-1], len(pool.distinct))
    return gathered.index_add(-1, places, theta)  # in a layer one of them at most is not zero


def _known(matrices: Sequence[Tensor] | None) -> Sequence[Tensor]:
    assert matrices is not None
    return matrices


def choose_kernel(
    name: KernelName, plan: Plan, sizes: tuple[int, ...], path: Pathway, *, on_cpu: bool
) -> tuple[Kernel, str]:
    """The kernel that will run a plan, not yet compiled, and what to say where it is another.

    Raises:
        RuleSearchError: an unknown name.
    """
    if name not in ("auto", *KERNELS):
        raise RuleSearchError(
            f"--kernel {name}: unknown kernel; give auto or one of {', '.join(KERNELS)}"
        )
    first = ("fused" if on_cpu else "einsum") if name == "auto" else name
    try:
        return compiled(first, plan, sizes, path), ""
    except Unsupported as reason:
        return compiled("einsum", plan, sizes, path), _instead_of(first, reason)


def _instead_of(name: str, reason: Unsupported) -> str:
    return f"{name} cannot take {reason}; using einsum"


def _run(
    name: KernelName,
    plan: Plan,
    sizes: tuple[int, ...],
    path: Pathway,
    batch: Batch,
    gradient: Sequence[int],
    keep_weights: bool,
) -> tuple[Outcome, str]:
    """What the kernel gives, and what to say where it is not the one asked for."""
    on_cpu = batch.x.device.type == "cpu"
    kernel, note = choose_kernel(name, plan, sizes, path, on_cpu=on_cpu)
    try:
        return kernel(batch, gradient=gradient, keep_weights=keep_weights), note
    except Unsupported as reason:
        # The plan would do, but not these tensors.
        kernel = compiled("einsum", plan, sizes, path)
        outcome = kernel(batch, gradient=gradient, keep_weights=keep_weights)
        return outcome, _instead_of("fused" if name == "auto" else name, reason)


def _weights_at(
    at: Sequence[int],
    batch: Batch,
    run: Callable[[Batch, Sequence[int], bool], tuple[Outcome, str]],
) -> Iterator[Sequence[Tensor]]:
    """The weights after each of these numbers of steps.

    A forward pass in stretches. Nothing but the weights goes from one step to the next, and a
    kernel's stretches give the weights of its one pass to the bit.
    """
    weights = batch.weights
    for begin, end in itertools.pairwise((0, *at)):
        if end > begin:
            stretch = replace(
                batch,
                weights=weights,
                x=batch.x[:, begin:end],
                labels=batch.labels[:, begin:end],
                # Nobody reads its loss, so the least that there is.
                query_x=batch.query_x[:, :1],
                query_labels=batch.query_labels[:, :1],
            )
            outcome, _ = run(stretch, (), True)
            weights = _known(outcome.weights)
        yield weights


@torch.no_grad()
def _observed(
    names: Sequence[str],
    stands: Iterable[Sequence[Tensor]],
    path: Pathway,
    feedback: Sequence[Tensor] | None,
    examples: tuple[Tensor, Tensor],
) -> dict[str, Tensor]:
    """Observables by name, [lifetimes, points, ...], where the weights stand at each point."""
    values: dict[str, list[Tensor]] = {name: [] for name in names}
    for weights in stands:
        for name, seen in values.items():
            seen.append(OBSERVABLES[name](weights, path, feedback, examples))
    return {name: torch.stack(seen, dim=1) for name, seen in values.items()}


@lru_cache(maxsize=256)
def compiled(name: str, plan: Plan, sizes: tuple[int, ...], path: Pathway) -> Kernel:
    """A kernel for a plan, made once a process."""
    return KERNELS[name](plan, sizes, path)


def _check(
    pool: Pool,
    theta: Tensor,
    weights: Sequence[Tensor],
    feedback: Sequence[Tensor] | None,
    path: Pathway,
    sets: Mapping[str, tuple[Tensor, Tensor]],
) -> tuple[int, ...]:
    """The layer sizes, once every shape, dtype and device fits; `sets` of examples by name."""
    first = weights[0]
    if first.dtype not in (torch.float32, torch.float64):
        raise RuleSearchError(f"weights[0]: dtype {first.dtype}; give float32 or float64")
    for i, w in enumerate(weights):
        if w.ndim != 3:
            raise RuleSearchError(
                f"weights[{i}]: shape {list(w.shape)}; give [lifetimes, post, pre]"
            )
    n = first.shape[0]
    sizes = (first.shape[-1], *(w.shape[-2] for w in weights))
    expected: list[tuple[str, Tensor, tuple[int | None, ...], bool]] = [
        (f"weights[{i}]", w, (n, sizes[i + 1], sizes[i]), True) for i, w in enumerate(weights)
    ]
    if feedback is not None:
        shapes = feedback_shapes(path, sizes)
        if len(feedback) != len(shapes):
            raise RuleSearchError(
                f"feedback: {len(feedback)} matrices; the {path.name} pathway has {len(shapes)}"
            )
        expected += [
            (f"feedback[{i}]", b, (n, *shape), True)
            for i, (b, shape) in enumerate(zip(feedback, shapes, strict=True))
        ]
    for label, (x, labels) in sets.items():
        expected.append((f"{label} x", x, (n, None, sizes[0]), True))
        expected.append((f"{label} labels", labels, tuple(x.shape[:2]), False))
    for label, tensor, shape, floating in expected:
        fits = tensor.ndim == len(shape) and all(
            b is None or a == b for a, b in zip(tensor.shape, shape, strict=True)
        )
        if not fits:
            shown = ", ".join("any" if s is None else str(s) for s in shape)
            raise RuleSearchError(f"{label}: shape {list(tensor.shape)}; give [{shown}]")
        if floating and tensor.dtype != first.dtype:
            raise RuleSearchError(f"{label}: dtype {tensor.dtype}; give {first.dtype} throughout")
        if not floating and tensor.dtype not in _INTEGERS:
            raise RuleSearchError(f"{label}: dtype {tensor.dtype}; give integers, class numbers")
        if tensor.device != first.device:
            raise RuleSearchError(f"{label}: on {tensor.device}; weights[0] is on {first.device}")
    for label, (_, labels) in sets.items():
        if labels.numel() and not (int(labels.min()) >= 0 and int(labels.max()) < sizes[-1]):
            raise RuleSearchError(f"{label} labels: outside 0 to {sizes[-1] - 1}, the output units")
    allowed = [(len(pool),), (len(weights), len(pool)), (n, len(weights), len(pool))]
    if tuple(theta.shape) not in allowed:
        raise RuleSearchError(
            f"theta: shape {list(theta.shape)}; give one of "
            + ", ".join(str(list(shape)) for shape in allowed)
        )
    return sizes


def _check_points(at: Sequence[int], steps: int) -> None:
    way_out = f"give numbers of steps from 0 to {steps}, ascending"
    if outside := [point for point in at if not 0 <= point <= steps]:
        raise RuleSearchError(f"at {outside[0]}: outside the lifetime; {way_out}")
    for before, after in itertools.pairwise(at):
        if before >= after:
            raise RuleSearchError(f"at {before}, {after}: not ascending; {way_out}")
