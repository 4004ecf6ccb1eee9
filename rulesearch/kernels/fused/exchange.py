"""A batch as compiled code reads it, and what its lifetimes leave, as tensors again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rulesearch.kernels.batch import Batch, KernelOutput, Key, Unsupported, asked_for
from rulesearch.kernels.fused.lifetimes import Array, Arrays, Results
from rulesearch.lowering import Plan


def arrays(batch: Batch, memories: Mapping[Key, Array] | None = None) -> Arrays:
    """A batch as compiled code reads it.

    Args:
        batch: the batch.
        memories: what traces begin from, [lifetimes, neurons or 1].

    Raises:
        Unsupported: tensors that are not on the CPU, or neither float32 nor float64.
    """
    theta, feedback = batch.theta, batch.feedback
    if theta.device.type != "cpu":
        raise Unsupported(f"tensors on {theta.device.type}")
    if theta.dtype not in (torch.float32, torch.float64):
        raise Unsupported(f"dtype {theta.dtype}")
    return Arrays(
        theta.detach().numpy(),
        tuple(w.detach().numpy() for w in batch.weights),
        tuple(b.detach().numpy() for b in feedback or ()),
        batch.x.detach().numpy(),
        _labels(batch.labels, theta),
        batch.query_x.detach().numpy(),
        np.ascontiguousarray(batch.query_labels.numpy(), dtype=np.int64),
        None if batch.targets is None else batch.targets.detach().numpy(),
        tuple(b.detach().numpy() for b in batch.biases or ()),
        None if batch.noise is None else torch.cat([*batch.noise], dim=-1).detach().numpy(),
        memories or {},
        batch.begun,
    )


def _labels(labels: Tensor, like: Tensor) -> NDArray[Any]:
    """Class numbers as int64, or what the outputs should answer in the dtype of another tensor."""
    if labels.is_floating_point():
        return np.ascontiguousarray(labels.detach().to(like.dtype).numpy())
    return np.ascontiguousarray(labels.numpy(), dtype=np.int64)


def one_hot(data: Arrays, outputs: int) -> Arrays:
    """The batch with numbers in the place of labels; a 1 at the class."""
    ones = np.eye(outputs, dtype=data.theta.dtype)
    labels = data.labels if data.labels.ndim > 2 else ones[data.labels]
    targets = data.targets
    if targets is None:
        targets = ones[data.query_labels][:, None]
    return replace(data, labels=labels, targets=targets)


def empty_results(
    data: Arrays,
    gradient: bool,
    keep_weights: bool,
    idle: Plan | None = None,
    traces: Collection[Key] = (),
    *,
    plastic: bool = False,
) -> Results:
    """Memory for what the lifetimes of a batch write; `plastic` if feedback is changed.

    Of what terms of W and of b remember alike, `traces` has one: only that is written.
    """
    empty = partial(np.empty, dtype=data.theta.dtype)
    return Results(
        empty((len(data.theta), 3)),
        empty(data.theta.shape) if gradient else None,
        [empty(w.shape) for w in data.weights] if keep_weights else None,
        empty((*data.theta.shape[:2], len(idle.terms))) if idle else None,
        [empty(b.shape) for b in data.biases] if keep_weights and data.biases else None,
        {key: empty(value.shape) for key, value in data.memories.items() if key in traces},
        [empty(f.shape) for f in data.feedback] if keep_weights and plastic else None,
        np.zeros(len(data.theta), dtype=bool),
    )


def outcome(results: Results, gradient: Sequence[int]) -> KernelOutput:
    """What they wrote as tensors, the gradient for these terms."""
    loss, accuracy, initial_loss = torch.from_numpy(results.numbers).T.contiguous()
    derivative = None
    if results.gradient is not None:
        derivative = asked_for(torch.from_numpy(results.gradient), gradient, loss)
    beside = None
    if results.idle is not None:
        found = torch.from_numpy(results.idle)
        beside = asked_for(found, range(found.shape[-1]), loss)
    weights, biases, feedback = results.weights, results.biases, results.feedback
    return KernelOutput(
        loss=loss,
        accuracy=accuracy,
        initial_loss=initial_loss,
        gradient=derivative,
        idle=beside,
        weights=None if weights is None else [torch.from_numpy(w) for w in weights],
        biases=None if biases is None else [torch.from_numpy(b) for b in biases],
        memories={
            key: torch.from_numpy(found if found.ndim == 3 else found[:, None])
            for key, found in results.memories.items()
        },
        feedback=None if feedback is None else [torch.from_numpy(f) for f in feedback],
    )
