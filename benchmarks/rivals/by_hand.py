"""The learning rule as one would write it by hand, one lifetime at a time.

First as the paper has it, one matrix a term; then with care, terms of one factor together. Both are
for torch and for JAX: `xp` is the module `torch` or `jax.numpy`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.work import PRODUCTS

#: A tensor of torch or an array of JAX.
Array = Any
BETA = 10.0


def softplus(xp: Any, z: Array) -> Array:
    """Eq. 11."""
    return xp.logaddexp(BETA * z, xp.zeros_like(z)) / BETA


def terms_by_hand(
    xp: Any,
    names: Sequence[str],
    W: Array,
    y_pre: Array,
    e_pre: Array,
    y_post: Array,
    e_post: Array,
) -> list[Array]:
    """The terms of the paper's section 4.2, and the benchmark's products.

    Args:
        xp: `torch` or `jax.numpy`.
        names: F0 to F9, and keys of `PRODUCTS`.
        W: [post, pre].
        y_pre: [pre], as e_pre.
        e_pre: likewise.
        y_post: [post], as e_post.
        e_post: likewise.

    Returns:
        For each name, [post, pre].
    """
    outer, ones = xp.outer, xp.ones_like
    # What terms share, computed once, as one would.
    shares_feedback = {"F6", "F7"} & set(names) or set(PRODUCTS) & set(names)
    feedback = y_post @ (W @ e_pre) if shares_feedback else None
    paper = {
        "F0": lambda: -outer(e_post, y_pre),
        "F1": lambda: -outer(y_post, e_pre),
        "F2": lambda: -outer(e_post, e_pre),
        "F3": lambda: -W,
        "F4": lambda: -outer(ones(e_post), e_pre),
        "F5": lambda: -outer(e_post * y_post.sum(), y_pre),
        "F6": lambda: -outer(y_post * feedback, e_pre),
        "F7": lambda: -outer(e_post * feedback, y_pre),
        "F8": lambda: -outer(y_post * (y_pre @ (W.T @ e_post)), e_pre),
        "F9": lambda: outer(y_post, y_pre) - outer(y_post, y_post @ W),
    }
    if not set(PRODUCTS) & set(names):
        return [paper[name]() for name in names]
    factors = {
        "1": ones(e_post),
        "e_post": e_post,
        "y_post": y_post,
        "sum_post(y_post)": y_post.sum(),
        "sum_post(e_post)": e_post.sum(),
        "sum_post(y_post*sum_pre(W*e_pre))": feedback,
        "sum_post(e_post*sum_pre(W*y_pre))": e_post @ (W @ y_pre),
        "y_pre": y_pre,
        "e_pre": e_pre,
        "y_pre*e_pre": y_pre * e_pre,
        "y_pre**2": y_pre**2,
        "e_pre**2": e_pre**2,
        "y_pre**3": y_pre**3,
        "sum_post(y_post*W)": y_post @ W,
    }

    def product(name: str) -> Array:
        post, scalar, pre = PRODUCTS[name]
        left = factors[post] if scalar == "1" else factors[post] * factors[scalar]
        return outer(left, factors[pre])

    return [paper[name]() if name in paper else product(name) for name in names]


#: xp, names, theta, W, y_pre, e_pre, y_post, e_post -> ΔW [post, pre].
Update = Callable[..., Array]


def by_term(xp: Any, names: Sequence[str], theta: Array, W: Array, *neurons: Array) -> Array:
    """ΔW as a sum of one matrix a term."""
    # Summed before they are added: one by one, small ones are lost in the rounding of W.
    terms = terms_by_hand(xp, names, W, *neurons)
    return sum(theta[k] * term for k, term in enumerate(terms))


def grouped(
    xp: Any,
    names: Sequence[str],
    theta: Array,
    W: Array,
    y_pre: Array,
    e_pre: Array,
    y_post: Array,
    e_post: Array,
) -> Array:
    """The same ΔW with care: one outer product for all terms that e_post, or y_post, stands in.

    Args:
        xp: `torch` or `jax.numpy`.
        names: F0 to F9, of no other terms.
        theta: [terms].
        W: [post, pre].
        y_pre: [pre], as e_pre.
        e_pre: likewise.
        y_post: [post], as e_post.
        e_post: likewise.
    """
    told = dict(zip(names, theta, strict=True))
    shares_feedback = {"F6", "F7"} & set(names)
    feedback: Array = y_post @ (W @ e_pre) if shares_feedback else None
    # Name -> by which of the post side's rows, and the pre side's.
    rows: dict[str, tuple[str, Callable[[], Array]]] = {
        "F0": ("e_post", lambda: -y_pre),
        "F1": ("y_post", lambda: -e_pre),
        "F2": ("e_post", lambda: -e_pre),
        "F4": ("1", lambda: -e_pre),
        "F5": ("e_post", lambda: -y_post.sum() * y_pre),
        "F6": ("y_post", lambda: -feedback * e_pre),
        "F7": ("e_post", lambda: -feedback * y_pre),
        "F8": ("y_post", lambda: -(e_post @ (W @ y_pre)) * e_pre),
        "F9": ("y_post", lambda: y_pre - y_post @ W),
    }
    posts = {"e_post": e_post, "y_post": y_post, "1": xp.ones_like(e_post)}
    sums: dict[str, Array] = {}
    for name in (name for name in names if name in rows):
        post, row = rows[name]
        sums[post] = sums.get(post, 0) + told[name] * row()
    update = sum(posts[post][:, None] * row for post, row in sums.items())
    return update - told["F3"] * W if "F3" in told else update


def step(
    xp: Any,
    update: Update,
    names: Sequence[str],
    theta: Array,
    weights: Sequence[Array],
    feedback: Sequence[Array],
    x: Array,
    onehot: Array,
) -> list[Array]:
    """The weights after one example.

    Args:
        xp: `torch` or `jax.numpy`.
        update: `by_term` or `grouped`.
        names: of the terms.
        theta: [terms].
        weights: list over layers of [post, pre].
        feedback: list over layers of [pre, post].
        x: [inputs].
        onehot: the label, [outputs].
    """
    y = [x]
    for w in weights[:-1]:
        y.append(softplus(xp, w @ y[-1]))
    z = weights[-1] @ y[-1]
    mass = xp.exp(z - z.max())
    y.append(mass / mass.sum())
    e = [y[-1] - onehot]
    for b, activity in zip(reversed(feedback), reversed(y[:-1]), strict=True):
        e.insert(0, (b @ e[0]) * (1 - xp.exp(-BETA * activity)))
    return [
        w + update(xp, names, theta, w, y[i], e[i], y[i + 1], e[i + 1])
        for i, w in enumerate(weights)
    ]


def logits(xp: Any, weights: Sequence[Array], x: Array) -> Array:
    """Of query examples [queries, inputs]: [queries, outputs]."""
    for w in weights[:-1]:
        x = softplus(xp, x @ w.T)
    return x @ weights[-1].T
