"""Rivals in torch: the loop by hand under autograd, its batched and compiled form, our kernels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from benchmarks.rivals.by_hand import by_term, logits, step
from benchmarks.work import Work
from rulesearch import run_lifetimes
from rulesearch.choices import KernelName

Answer = Callable[[], Tensor]


def with_kernel(kernel: KernelName, given: Work, gradient: bool) -> Tensor:
    """All lifetimes at once by one of the project's kernels."""
    out = run_lifetimes(
        given.pool,
        given.theta,
        given.weights,
        given.feedback,
        train=given.train,
        query=given.query,
        kernel=kernel,
        gradient=gradient,
        keep_weights=False,
    )
    assert not out.note, out.note
    return out.loss if out.gradient is None else out.gradient


def by_kernel(kernel: KernelName, given: Work, gradient: bool) -> Answer:
    """One of the project's kernels, compiled."""
    with_kernel(kernel, given.lifetimes(slice(1)).steps(2), gradient)
    return partial(with_kernel, kernel, given, gradient)


def by_autograd(given: Work, gradient: bool) -> Answer:
    """One lifetime after the other, the whole graph kept where there is a gradient."""
    outputs = given.weights[-1].shape[1]
    onehot = one_hot(given.train[1], outputs).to(given.theta)

    def one_lifetime(i: int) -> Tensor:
        theta = given.theta.clone().requires_grad_(gradient)
        weights = [w[i] for w in given.weights]
        feedback = [b[i] for b in given.feedback]
        for x, target in zip(given.train[0][i], onehot[i], strict=True):
            weights = step(torch, by_term, given.pool.names, theta, weights, feedback, x, target)
        loss = cross_entropy(logits(torch, weights, given.query[0][i]), given.query[1][i])
        return torch.autograd.grad(loss, theta)[0] if gradient else loss

    return lambda: torch.stack([one_lifetime(i) for i in range(len(given))])


@lru_cache
def _compiled_step(names: tuple[str, ...]) -> Callable[..., list[Tensor]]:
    # theta is the lifetimes' own, so that the gradient of the sum of their losses is theirs.
    return torch.compile(torch.vmap(partial(step, torch, by_term, names)), dynamic=False)


def by_compile(given: Work, gradient: bool) -> Answer:
    """The step by hand, batched by vmap and compiled; autograd through the loop over steps."""
    outputs = given.weights[-1].shape[1]
    one_step = _compiled_step(given.pool.names)
    forward = torch.vmap(partial(logits, torch))

    def answer(given: Work = given) -> Tensor:
        onehot = one_hot(given.train[1], outputs).to(given.theta)
        theta = given.theta.expand(len(given), -1).clone().requires_grad_(gradient)
        weights = given.weights
        for t in range(given.train[0].shape[1]):
            # Contiguous: the strides, which a compiled step hangs on, would tell the steps' number.
            x, target = given.train[0][:, t].contiguous(), onehot[:, t].contiguous()
            weights = one_step(theta, weights, given.feedback, x, target)
        guesses = forward(weights, given.query[0]).transpose(1, 2)
        loss = cross_entropy(guesses, given.query[1], reduction="none").mean(1)
        return torch.autograd.grad(loss.sum(), theta)[0] if gradient else loss

    answer(given.steps(2))  # compiles
    return answer


def no_compiler() -> str:
    """Why torch.compile cannot be had, or nothing."""
    found = any(shutil.which(name) for name in ("g++", "gcc", "clang++", "clang"))
    return "" if found else "torch.compile: left out, it needs a C++ compiler on the path"
