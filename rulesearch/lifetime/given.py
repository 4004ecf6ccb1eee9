"""What lifetimes start from, as a caller gives it: taken or refused, in one line, in his words.

Tensors, NumPy arrays, and for `theta` lists of numbers too, become tensors of one dtype on one
device. Nothing here computes with them, or knows what a kernel does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rulesearch.errors import RuleSearchError
from rulesearch.lifetime.asked import points_numbered
from rulesearch.lifetime.reads import check_reads, refuse_other_than_pool
from rulesearch.lifetime.tensors import (
    INTEGERS,
    Examples,
    coefficients_of,
    pair_of,
    tensors_of,
)
from rulesearch.model import PAPER, Model, bounded
from rulesearch.notation import Pool
from rulesearch.pathways import Pathway, feedback_shapes
from rulesearch.pathways import pathway as pathway_of

#: How far the sum of probabilities may be off 1, as those of single precision are.
ROUNDED = 1e-5


@dataclass(frozen=True, eq=False)
class Given:
    """What some lifetimes start from, found to fit together.

    Attributes:
        theta: [terms], [layers, terms] or [lifetimes, layers, terms], float64.
        weights: list over layers of [lifetimes, post, pre].
        feedback: list over layers of [lifetimes, pre, source]; None where the pathway needs none.
        path: how errors travel.
        sizes: of the layers, input first.
        train: x [lifetimes, steps, inputs] and labels, int64.
        query: x [lifetimes, queries, inputs] and labels, int64; of probabilities, the likeliest
            classes the last time.
        probe: what is observed on, like `query`; with what the query's answers should be the last
            time, where these are no labels.
        targets: probabilities that the query's answers should have, [lifetimes, asked, queries,
            outputs], each time to a sum of 1; None where the labels, after the last step, do.
        asked: numbers of steps after which they should; none without targets.
        model: what a step does beside the terms.
        biases: list over layers of [lifetimes, post]; None where the model has none, or all are 0.
        noise: list over layers of [lifetimes, steps, post]; None where the model has none.
    """

    theta: Tensor
    weights: list[Tensor]
    feedback: list[Tensor] | None
    path: Pathway
    sizes: tuple[int, ...]
    train: Examples
    query: Examples
    probe: Examples
    targets: Tensor | None = None
    asked: tuple[int, ...] = ()
    model: Model = PAPER
    biases: list[Tensor] | None = None
    noise: list[Tensor] | None = None


def given(
    pool: Pool,
    theta: Any,
    weights: Any,
    feedback: Any,
    *,
    train: Any,
    query: Any,
    probe: Any,
    pathway: str | None,
    ask_at: Any = (),
    model: Model = PAPER,
    biases: Any = None,
    noise: Any = None,
) -> Given:
    """The arguments of `run_lifetimes` of these names as tensors that fit together.

    Raises:
        RuleSearchError: the first that does not; the line says which, and the way out.
    """
    refuse_other_than_pool(pool)
    matrices = tensors_of("weights", weights, "[lifetimes, post, pre]")
    if not matrices:
        raise RuleSearchError("weights: empty; give one tensor for each layer")
    path, own = _ways(feedback, pathway, len(matrices))
    check_reads(pool, path, model)
    model = bounded(model, pool, tied=path.tied)
    sets = {"train": pair_of("train", train), "query": pair_of("query", query)}
    sets["probe"] = sets["query"] if probe is None else pair_of("probe", probe)
    found = Given(
        coefficients_of(theta),
        matrices,
        own,
        path,
        # Axes that are missing are told of below.
        ((0, *matrices[0].shape)[-1], *(w.shape[-2] for w in matrices if w.ndim > 1)),
        sets["train"],
        sets["query"],
        sets["probe"],
        model=model,
        biases=_beside("biases", biases, "[lifetimes, post]", needed=False, has=model.bias),
        noise=_beside(
            "noise", noise, "[lifetimes, steps, post]", needed=True, has=model.noise != 0
        ),
    )
    _check_shapes(found, len(pool))
    _check_watched(found)
    steps = found.train[0].shape[1]
    asked = points_numbered("ask_at", ask_at, steps)
    targets = _targets(found, asked)
    train_set, query_set = _taught(found), _whole(found.query)
    probe_set = query_set
    if targets is not None:
        probe_set = found.query[0], targets[:, -1]
        query_set = found.query[0], targets[:, -1].argmax(-1)
    if found.probe is not found.query:
        probe_set = _whole(found.probe)
    found = replace(found, train=train_set, query=query_set, probe=probe_set)
    if targets is None and asked in ((), (steps,)):
        return found
    if targets is None:
        ones = one_hot(query_set[1], found.sizes[-1]).to(found.weights[0])
        targets = ones[:, None].expand(-1, len(asked), -1, -1)
    return replace(found, targets=targets, asked=asked or (steps,))


def _whole(examples: Examples) -> Examples:
    x, labels = examples
    return x, labels.long()


def _taught(found: Given) -> Examples:
    """The training examples, with class numbers or with what the outputs should answer."""
    x, answers = found.train
    if not _are_numbers(answers):
        return _whole(found.train)
    return x, _answers("train answers", answers, (*x.shape[:2], found.sizes[-1]), found)


def _beside(name: str, values: Any, shape: str, *, needed: bool, has: bool) -> list[Tensor] | None:
    """The tensors of what a model may have, by layer."""
    if not has:
        if values is not None:
            raise RuleSearchError(f"{name}: the model has none; leave {name} out")
        return None
    if values is None:
        if needed:
            raise RuleSearchError(f"{name}: the model has it; give a list of tensors {shape}")
        return None
    return tensors_of(name, values, shape)


def _ways(feedback: Any, pathway: str | None, depth: int) -> tuple[Pathway, list[Tensor] | None]:
    """The pathway, and its matrices where it has any of its own."""
    named = isinstance(feedback, str)
    path = pathway_of(feedback if named else (pathway or "random"), depth)
    if named and pathway not in (None, feedback):
        raise RuleSearchError(f"pathway {pathway}: but feedback names {feedback}; give one of them")
    if path.tied:
        return path, None
    if named or feedback is None:
        shown = f"feedback {feedback}: this" if named else f"feedback: None; the {path.name}"
        raise RuleSearchError(
            f"{shown} pathway has matrices of its own; give a list of them, or use symmetric"
        )
    return path, tensors_of("feedback", feedback, "[lifetimes, pre, post]")


# --- do they fit together ------------------------------------------------------------------------


def floating(found: Given) -> Iterator[tuple[str, Tensor]]:
    """All tensors but labels and theta, by name."""
    yield from ((f"weights[{i}]", w) for i, w in enumerate(found.weights))
    yield from ((f"feedback[{i}]", b) for i, b in enumerate(found.feedback or ()))
    yield from ((f"biases[{i}]", b) for i, b in enumerate(found.biases or ()))
    yield from ((f"noise[{i}]", xi) for i, xi in enumerate(found.noise or ()))
    yield from ((f"{name} x", x) for name, (x, _) in _sets(found).items())


def _differentiable(found: Given) -> Iterator[tuple[str, Tensor]]:
    yield from floating(found)
    for name, (_, answers) in _sets(found).items():
        if _are_numbers(answers):
            yield f"{name} answers", answers


def _sets(found: Given) -> Mapping[str, Examples]:
    sets = {"train": found.train, "query": found.query}
    return sets if found.probe is found.query else sets | {"probe": found.probe}


def _check_shapes(found: Given, terms: int) -> None:
    weights, sizes, depth = found.weights, found.sizes, len(found.weights)
    first = weights[0]
    if first.dtype not in (torch.float32, torch.float64):
        raise RuleSearchError(f"weights[0]: dtype {first.dtype}; give float32 or float64")
    for name, tensor in (("weights[0]", first), ("theta", found.theta)):
        if tensor.device.type == "meta":
            raise RuleSearchError(f"{name}: on meta, where there are no numbers; give some")
    for i, w in enumerate(weights):
        if w.ndim != 3:
            raise RuleSearchError(
                f"weights[{i}]: shape {list(w.shape)}; give [lifetimes, post, pre]"
            )
        if w.numel() == 0:
            raise RuleSearchError(
                f"weights[{i}]: shape {list(w.shape)}; give at least one lifetime, and one neuron "
                "in each layer"
            )
    n = len(first)
    shapes: dict[str, tuple[int | None, ...]] = {
        f"weights[{i}]": (n, sizes[i + 1], sizes[i]) for i in range(depth)
    }
    if found.feedback is not None:
        own = feedback_shapes(found.path, sizes)
        if len(found.feedback) != len(own):
            raise RuleSearchError(
                f"feedback: {len(found.feedback)} matrices; the {found.path.name} pathway has "
                f"{len(own)}"
            )
        shapes |= {f"feedback[{i}]": (n, *shape) for i, shape in enumerate(own)}
    for name, layers, axes in (
        ("biases", found.biases, (n,)),
        ("noise", found.noise, (n, (*found.train[0].shape, 0, 0)[1])),
    ):
        if layers is not None and len(layers) != depth:
            raise RuleSearchError(
                f"{name}: {len(layers)} tensors; give one for each of {depth} layers"
            )
        shapes |= {f"{name}[{i}]": (*axes, sizes[i + 1]) for i in range(depth)}
    shapes |= {f"{name} x": (n, None, sizes[0]) for name in _sets(found)}
    for name, tensor in floating(found):
        _check_tensor(name, tensor, shapes[name], first)
        if tensor.dtype != first.dtype:
            raise RuleSearchError(f"{name}: dtype {tensor.dtype}; give {first.dtype} throughout")
    for name, (x, labels) in _sets(found).items():
        if name != "train" and x.shape[1] == 0:
            raise RuleSearchError(f"{name} x: no examples; give at least one")
        if name == "probe" or not _are_numbers(labels):
            _check_labels(f"{name} labels", labels, x, sizes[-1])
    allowed = [(terms,), (depth, terms), (n, depth, terms)]
    if tuple(found.theta.shape) not in allowed:
        raise RuleSearchError(
            f"theta: shape {list(found.theta.shape)}; give one of "
            + ", ".join(str(list(shape)) for shape in allowed)
        )


def _check_tensor(name: str, tensor: Tensor, shape: tuple[int | None, ...], first: Tensor) -> None:
    fits = tensor.ndim == len(shape) and all(
        b is None or a == b for a, b in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        shown = ", ".join("any" if s is None else str(s) for s in shape)
        raise RuleSearchError(f"{name}: shape {list(tensor.shape)}; give [{shown}]")
    if tensor.device != first.device:
        raise RuleSearchError(f"{name}: on {tensor.device}; weights[0] is on {first.device}")


def _check_labels(name: str, labels: Tensor, x: Tensor, outputs: int) -> None:
    shape = tuple(x.shape[:2])
    if tuple(labels.shape) == (*shape, outputs):
        raise RuleSearchError(
            f"{name}: shape {list(labels.shape)}, as of a one-hot code; give class numbers "
            f"{list(shape)}, labels.argmax(-1)"
        )
    _check_tensor(name, labels, shape, x)
    if labels.dtype not in INTEGERS:
        raise RuleSearchError(f"{name}: dtype {labels.dtype}; give integers, class numbers")
    numbers = labels.long()
    if numbers.numel() and not (int(numbers.min()) >= 0 and int(numbers.max()) < outputs):
        raise RuleSearchError(f"{name}: outside 0 to {outputs - 1}, the output units")


def _are_numbers(answers: Tensor) -> bool:
    """Whether answers are what the outputs should say, and not class numbers."""
    return answers.is_floating_point() and answers.ndim > 2


def _targets(found: Given, asked: tuple[int, ...]) -> Tensor | None:
    """What the query has in the place of labels; None where it has labels."""
    x, answers = found.query
    if not _are_numbers(answers):
        return None
    name, each = "query probabilities", (*x.shape[:2], found.sizes[-1])
    if found.model.loss.real:
        name = "query answers"
    several = (each[0], max(1, len(asked)), *each[1:])
    targets = answers if answers.ndim == 4 else answers[:, None].expand(-1, several[1], -1, -1)
    if tuple(targets.shape) != several:
        also = f", or {list(several)}, for each time it is asked" if len(asked) > 1 else ""
        raise RuleSearchError(f"{name}: shape {list(answers.shape)}; give {list(each)}{also}")
    return _answers(name, targets, several, found)


def _answers(name: str, answers: Tensor, shape: tuple[int, ...], found: Given) -> Tensor:
    """Answers as the loss takes them: any numbers, or probabilities, each time to a sum of 1."""
    first = found.weights[0]
    _check_tensor(name, answers, shape, first)
    if answers.dtype != first.dtype:
        raise RuleSearchError(f"{name}: dtype {answers.dtype}; give {first.dtype} throughout")
    check_finite(name, answers)
    if found.model.loss.real:
        return answers
    if (answers < 0).any():
        raise RuleSearchError(f"{name}: {float(answers.min()):g} is below 0; give probabilities")
    sums = answers.double().sum(-1)
    wrong = (sums - 1).abs()
    if wrong.numel() and float(wrong.max()) > ROUNDED:
        raise RuleSearchError(
            f"{name}: one sums to {float(sums.flatten()[wrong.argmax()]):g}; give probabilities, "
            "which sum to 1"
        )
    return (answers.double() / sums[..., None]).to(first)


def _check_watched(found: Given) -> None:
    for name, tensor in _differentiable(found):
        if tensor.requires_grad and torch.is_grad_enabled():
            raise RuleSearchError(
                f"{name}: requires grad, but losses are differentiated with respect to theta only; "
                f"give {name}.detach()"
            )


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse numbers that are not finite.

    Raises:
        RuleSearchError: with the first, and where it is.
    """
    finite = tensor.isfinite()
    if not finite.all():
        place = (~finite).nonzero()[0].tolist()
        value, count = float(tensor[tuple(place)]), int((~finite).sum())
        raise RuleSearchError(
            f"{name}: {count} of {tensor.numel()} numbers not finite, the first {value:g} at "
            f"{place}; give finite numbers"
        )
