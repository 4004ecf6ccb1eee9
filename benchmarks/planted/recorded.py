"""Students who see a teacher's weights along the way, and regress their changes on what terms do.

What each term alone would change is computed at the weights that were recorded, which are the
teacher's with noise, and with the feedback that the student has. Where that is not the teacher's,
errors below the output are not either, and the output layer alone is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from benchmarks.planted.lessons import others, weights_along
from benchmarks.planted.world import STEPS
from rulesearch.data import draw_tasks
from rulesearch.lifetime import run_lifetimes
from rulesearch.population import Population

NOISES = (0.0, 0.01, 0.1, 1.0)
#: Lifetimes recorded.
LIFETIMES = 32
#: A term stays if leaving it out costs more by a one-sided test at this level, over all terms,
LEVEL = 0.01
#: and more than so small a share of all changes, which rounding or a lag may explain.
FLOOR = 1e-4
#: Share of the changes that all terms leave unexplained, above which a record counts as noisy: the
#: noise of a weight is in the change from it and in what terms do with it, as if it decayed.
NOISY = 0.1
#: STLSQ: coefficients below so much of the largest, in units, are zero.
THRESHOLD = 0.1
ROUNDS = 20
OURS = "paired elimination"

Matrix = Float[np.ndarray, "terms terms"]


@dataclass(frozen=True, eq=False)
class Recording:
    """Changes y of weights and what terms would change, X; sums over synapses and steps.

    Columns of X are of size one on the mean, and layers count by the size of their changes.

    Attributes:
        square: X·X of each lifetime, [lifetimes, terms, terms].
        product: X·y, [lifetimes, terms].
        size: y·y, [lifetimes].
        scales: what a coefficient of the columns is multiplied by for a raw one, [terms].
    """

    square: Float[np.ndarray, "lifetimes terms terms"]
    product: Float[np.ndarray, "lifetimes terms"]
    size: Float[np.ndarray, " lifetimes"]
    scales: Float[np.ndarray, " terms"]

    def fit(self, terms: Sequence[int], lifetimes: slice = slice(None)) -> np.ndarray:
        """Least squares on some terms, [all terms]."""
        found = np.zeros(len(self.scales))
        square = self.square[lifetimes].sum(0)[np.ix_(terms, terms)]
        product = self.product[lifetimes].sum(0)[list(terms)]
        found[list(terms)] = np.linalg.lstsq(square, product, rcond=1e-12)[0]
        return found

    def errors(self, phi: np.ndarray, lifetimes: slice = slice(None)) -> np.ndarray:
        """The squared error of each lifetime."""
        square, product = self.square[lifetimes], self.product[lifetimes]
        return np.asarray(
            self.size[lifetimes] - 2 * product @ phi + np.einsum("s,lst,t->l", phi, square, phi)
        )


def record(
    population: Population,
    truth: Sequence[float],
    seeds: Sequence[int],
    *,
    noise: float,
    known: bool,
    lag: int = 0,
) -> Recording:
    """Lifetimes of a teacher, recorded.

    Args:
        population: of its networks.
        truth: its raw coefficients, [terms].
        seeds: one a lifetime; the noise is drawn from them as well.
        noise: of a recorded weight, as a share of the rms of its layer's changes in a step.
        known: whether the student has the teacher's feedback.
        lag: how many steps before a change what terms do is computed; the noise in a change is
            that of the weights recorded just before it too.
    """
    theta = torch.tensor(truth, dtype=torch.float64)
    stands = weights_along(population, theta, seeds, range(STEPS + 1))
    clean = [torch.stack(layer, dim=1) for layer in zip(*stands, strict=True)]
    draw = np.random.default_rng([seeds[0], 3])
    seen = []
    for weights in clean:  # [lifetimes, steps + 1, post, pre]
        size = float(weights.diff(dim=1).square().mean().sqrt())
        seen.append(weights + noise * size * torch.from_numpy(draw.normal(size=weights.shape)))
    tasks = draw_tasks(population.images, population.shape, seeds)
    _, feedback = population.networks(seeds if known else others(seeds))
    assert not isinstance(feedback, str)
    first = 0 if known else len(seen) - 1
    changes = [weights.diff(dim=1)[:, lag:] for weights in seen]
    loud = [1 / float(change.square().mean().sqrt()) for change in changes]
    before = [weights[:, : STEPS - lag] for weights in seen]
    columns = []
    for term in range(len(truth)):
        alone = _update(population, term, before, feedback, tasks.x[:, lag:], tasks.labels[:, lag:])
        parts = [loud[i] * alone[i].flatten(2) for i in range(first, len(alone))]
        columns.append(torch.cat(parts, dim=2).flatten(1))
    y = torch.cat([loud[i] * changes[i].flatten(2) for i in range(first, len(changes))], 2)
    X, flat = torch.stack(columns, dim=2).numpy(), y.flatten(1).numpy()
    size = np.sqrt(np.square(X).mean((0, 1)))
    scales = 1 / np.where(size > 0, size, 1.0)
    X = X * scales
    square = np.einsum("lns,lnt->lst", X, X, optimize=True)
    return Recording(square, np.einsum("lns,ln->ls", X, flat), np.square(flat).sum(1), scales)


def _update(
    population: Population,
    term: int,
    weights: Sequence[Tensor],
    feedback: Sequence[Tensor],
    x: Tensor,
    labels: Tensor,
) -> list[Tensor]:
    """What a term alone changes at each step, list over layers of [lifetimes, steps, post, pre].

    Every step is a lifetime of its own.
    """
    count, steps = labels.shape
    one = torch.zeros(len(population.names), dtype=torch.float64)
    one[term] = 1.0
    begin = [w.flatten(0, 1) for w in weights]
    back = [b[:, None].expand(-1, steps, -1, -1).flatten(0, 1) for b in feedback]
    example = x.to(population.dtype).flatten(0, 1)[:, None], labels.flatten()[:, None]
    lived = run_lifetimes(
        population.pool,
        one,
        begin,
        back,
        train=example,
        query=example,
        kernel="einsum",
        pathway=population.pathway,
    )
    assert lived.weights is not None
    return [
        (after - w).view(count, steps, *w.shape[1:])
        for after, w in zip(lived.weights, begin, strict=True)
    ]


def stlsq(recording: Recording) -> np.ndarray:
    """Sequentially thresholded least squares (Brunton, Proctor & Kutz 2016), columns of size one.

    Returns:
        Raw coefficients, [terms].
    """
    terms = list(range(len(recording.scales)))
    phi = recording.fit(terms)
    for _ in range(ROUNDS):
        left = [term for term in terms if abs(phi[term]) >= THRESHOLD * np.abs(phi).max()]
        if left == terms:
            break
        terms, phi = left, recording.fit(left)
    return np.asarray(phi * recording.scales)


def eliminated(recording: Recording) -> np.ndarray:
    """Terms leave while that costs nothing on lifetimes held out, by paired tests.

    Fitted on one half of the lifetimes; each term is left out, the others fitted anew, and the
    squared errors of the other half compared lifetime by lifetime. The one that costs least goes,
    if that is not clearly more than nothing. In the end all lifetimes fit what is left.

    Returns:
        Raw coefficients, [terms].
    """
    half = len(recording.size) // 2
    train, held_out = slice(0, half), slice(half, None)
    terms = list(range(len(recording.scales)))
    level = LEVEL / len(terms)
    floor = FLOOR * recording.size[held_out].mean()
    while len(terms) > 1:
        now = recording.errors(recording.fit(terms, train), held_out)
        costs = []
        for term in terms:
            left = [other for other in terms if other != term]
            costs.append(recording.errors(recording.fit(left, train), held_out) - now)
        least = int(np.argmin([cost.mean() for cost in costs]))
        cost = costs[least]
        surely = stats.ttest_1samp(cost, 0.0, alternative="greater").pvalue < level
        if surely and cost.mean() > floor:
            break
        del terms[least]
    return np.asarray(recording.fit(terms) * recording.scales)


def answer(method: str, seen: Callable[[int], Recording]) -> np.ndarray:
    """What a method makes of a record: raw coefficients, [terms].

    Args:
        method: by name.
        seen: gives the record by its lag; see `record`.
    """
    now = seen(0)
    return METHODS[method](seen(1) if method == OURS and noisy(now) else now)


def noisy(recording: Recording) -> bool:
    """Whether all terms together leave more of the changes unexplained than little noise does."""
    left = recording.errors(recording.fit(range(len(recording.scales)))).sum()
    return bool(left > NOISY * recording.size.sum())


METHODS: Mapping[str, Callable[[Recording], np.ndarray]] = {
    OURS: eliminated,
    "the same, no lag": eliminated,
    "STLSQ": stlsq,
}
"""By name; ours first, which takes what terms do a step before where the record is noisy."""
