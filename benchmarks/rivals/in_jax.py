"""Rivals in JAX: jit, scan over the steps, checkpoint of each, grad; with vmap or in processes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.rivals.by_hand import logits, step
from benchmarks.work import Work


def no_jax() -> str:
    """Why JAX cannot be had, or nothing."""
    found = importlib.util.find_spec("jax")
    return "" if found else "JAX: left out, it is not installed; pip install 'rulesearch[bench]'"


def by_jax(given: Work, gradient: bool, *, together: bool) -> Callable[[], Tensor]:
    """All lifetimes at once by vmap, or one after the other."""
    import jax
    from jax import numpy as jnp

    names = given.pool.names

    def loss(theta: Any, weights: Any, feedback: Any, x: Any, onehot: Any, xq: Any, lq: Any) -> Any:
        def one(weights: Any, example: Any) -> tuple[Any, None]:
            return step(jnp, names, theta, weights, feedback, *example), None

        # The step is computed anew on the way back: only the weights before it are kept.
        weights, _ = jax.lax.scan(jax.checkpoint(one), weights, (x, onehot))
        likelihood = jax.nn.log_softmax(logits(jnp, weights, xq))
        return -jnp.take_along_axis(likelihood, lq[:, None], axis=1).mean()

    def array(tensor: Tensor) -> Any:
        return jnp.asarray(tensor.numpy())

    onehot = torch.nn.functional.one_hot(given.train[1], given.weights[-1].shape[1])
    batched: tuple[Any, ...] = (
        [array(w) for w in given.weights],
        [array(b) for b in given.feedback],
        array(given.train[0]),
        array(onehot.to(given.theta)),
        array(given.query[0]),
        array(given.query[1].int()),
    )
    wanted = jax.grad(loss) if gradient else loss
    theta = array(given.theta)
    if together:
        function = jax.vmap(wanted, in_axes=(None, *(0 for _ in batched)))
        calls = [batched]
    else:
        function = wanted
        calls = [jax.tree.map(itemgetter(i), batched) for i in range(len(given))]
    compiled = jax.jit(function).lower(theta, *calls[0]).compile()

    def answer() -> Tensor:
        found = [torch.from_numpy(np.array(compiled(theta, *call))) for call in calls]
        return found[0] if together else torch.stack(found)

    return answer
