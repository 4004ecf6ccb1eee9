"""Rivals in JAX: jit, scan over the steps, grad; with vmap or in processes.

As one would write it first, each step is the paper's and is checkpointed. With care, terms share
their outer products, and only the weights before each of some √steps stretches are kept.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.rivals.by_hand import by_term, grouped, logits, step
from benchmarks.work import Work


def no_jax() -> str:
    """Why JAX cannot be had, or nothing."""
    found = importlib.util.find_spec("jax")
    return "" if found else "JAX: left out, it is not installed; pip install 'rulesearch[bench]'"


def stretch_of(steps: int) -> int:
    """The largest divisor of a number of steps that its square is not below.

    Example:
        >>> stretch_of(250)
        10
    """
    return next(n for n in range(math.isqrt(steps), 0, -1) if steps % n == 0)


def by_jax(
    given: Work, gradient: bool, *, together: bool, careful: bool = False
) -> Callable[[], Tensor]:
    """All lifetimes at once by vmap, or one after the other; written at once, or with care."""
    import jax
    from jax import numpy as jnp

    names = given.pool.names
    update = grouped if careful else by_term

    def loss(theta: Any, weights: Any, feedback: Any, x: Any, onehot: Any, xq: Any, lq: Any) -> Any:
        def one(weights: Any, example: Any) -> Any:
            return step(jnp, update, names, theta, weights, feedback, *example), None

        def some(weights: Any, examples: Any) -> Any:
            return jax.lax.scan(one, weights, examples)

        # What is checkpointed is computed anew on the way back: only the weights before it are
        # kept.
        if careful:
            examples = [a.reshape(-1, stretch_of(len(x)), a.shape[1]) for a in (x, onehot)]
            weights, _ = jax.lax.scan(jax.checkpoint(some), weights, tuple(examples))
        else:
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
