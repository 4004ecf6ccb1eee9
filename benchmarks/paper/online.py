"""Learning online from one long stream of images, and the rates that suit it.

Each learner has two columns: the coefficients that meta-learning found on EMNIST, unchanged, and
the best of a one-dimensional search over multiples of them on this very stream. The paper does not
say which rates its Fig. 1 uses, and no learner, least of all a baseline, is to lose for a rate
that suits other data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.paper.store import fingerprint, kept
from benchmarks.paper.targets import Setting
from rulesearch.choices import Law
from rulesearch.data import Data, ImageSet, TaskShape
from rulesearch.lifetime import run_lifetimes
from rulesearch.meta import lifetime_seeds
from rulesearch.notation import Pool
from rulesearch.population import Population

SIZES = (784, 170, 130, 100, 70, 47)
#: Ten classes; only the images that `load_data` sets aside depend on the other two numbers.
SHAPE = TaskShape(ways=10, shots=50, queries=10)
STEPS = 5000
#: Training examples seen when the networks are looked at: close together where learning is fast.
POINTS = (0, 25, 50, 75, 100, 150, *range(200, 1000, 100), *range(1000, STEPS + 1, 200))
#: Where the search over rates looks.
SEARCH_POINTS = (0, 250, 500, 1000, 2000, 3000, 4000, STEPS)
#: Images of the training split that are in no stream: rates are chosen by them.
VALIDATION = 1000
FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: Images set aside on which networks are looked at: some of each class, which stand in order.
PROBE = 1000
#: Trials of the search over rates, other ones than those of the figure.
SEARCH_TRIALS = 4
#: Lifetimes run at once: a stream is 16 MB, the images set aside 6 MB a lifetime.
BATCH = 10
CHANCE = 0.1
#: The two columns: which coefficients a learner has.
META, BEST = "meta-learned", "best multiple"
COLUMNS = (META, BEST)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Learner:
    """A rule and the way its errors travel.

    Attributes:
        key: in files and tables.
        label: in the figure.
        pool: the terms.
        pathway: name of the feedback graph.
        feedback_init: law of the entries of its own matrices; learners that differ in it have
            other keys.
    """

    key: str
    label: str
    pool: Pool
    pathway: str
    feedback_init: Law = "uniform"


_F0 = Pool(F0="-e_post*y_pre")
_BIO = Pool(F0="-e_post*y_pre", F2="-e_post*e_pre", F9="y_post*y_pre - y_post*sum_post(y_post*W)")
BP = Learner("BP", "backprop", _F0, "symmetric")
FA = Learner("FA", "feedback alignment", _F0, "random")
BIO = Learner("bio", "bio", _BIO, "random")
DFA = Learner("DFA", "direct feedback alignment", _F0, "direct")
SIGNS = Learner("sign-symmetric", "sign-symmetric", _F0, "sign-symmetric")
LEARNERS = (BP, FA, BIO, DFA, SIGNS)


@dataclass(frozen=True, eq=False)
class Stream:
    """Training images in the order of learning, and images to choose rates by, for some trials.

    Attributes:
        x: [trials, steps, inputs].
        labels: [trials, steps].
        validation_x: [trials, images, inputs]; none of them is in the trial's stream.
        validation_labels: [trials, images].
    """

    x: Float[Tensor, "trials steps inputs"]
    labels: Tensor
    validation_x: Float[Tensor, "trials images inputs"]
    validation_labels: Tensor


def streams(images: ImageSet, seeds: Sequence[int], steps: int, validation: int) -> Stream:
    """An online stream of single images for each seed, in random order.

    Where `steps` is more than there are images, they are passed over in epochs, each with an
    order of its own.

    Args:
        images: of all classes.
        seeds: one a trial.
        steps: length of the stream.
        validation: images kept out of it, fewer than there are.
    """
    picked, kept = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(images.labels))
        rest, aside = np.split(order, [len(order) - validation])
        epochs = [rest, *(rng.permutation(rest) for _ in range((steps - 1) // len(rest)))]
        picked.append(np.concatenate(epochs)[:steps])
        kept.append(aside)
    rows, aside = np.stack(picked), np.stack(kept)
    return Stream(
        torch.from_numpy(images.x[rows]),
        torch.from_numpy(images.labels[rows]),
        torch.from_numpy(images.x[aside]),
        torch.from_numpy(images.labels[aside]),
    )


def curves(
    learner: Learner,
    theta: Sequence[float],
    images: ImageSet,
    probe: ImageSet | None,
    seeds: Sequence[int],
    points: Sequence[int] = POINTS,
    *,
    sizes: Sequence[int] = SIZES,
    validation: int = VALIDATION,
    observe: Sequence[str] = ("accuracy",),
) -> dict[str, Values]:
    """Networks that learn from a stream, looked at after these numbers of examples.

    Args:
        learner: rule and pathway.
        theta: its raw coefficients, in the order of its pool.
        images: what the streams are made of.
        probe: what the accuracy is measured on; None for each trial's validation images.
        seeds: one a trial; it determines stream, initial weights and feedback, so that learners
            are compared on the same ones.
        points: ascending; the last one is the length of the stream.
        sizes: of the layers.
        validation: images of a trial that are in no stream.
        observe: names of observables, see `rulesearch.observables`.

    Returns:
        Each observable, [trials, points, ...].
    """
    parts: list[dict[str, Values]] = []
    for first in range(0, len(seeds), BATCH):
        batch = tuple(seeds[first : first + BATCH])
        stream = streams(images, batch, points[-1], validation)
        probe_x, probe_labels = stream.validation_x, stream.validation_labels
        if probe is not None:
            every = max(1, len(probe.labels) // PROBE)
            probe_x = torch.tensor(probe.x[::every]).expand(len(batch), -1, -1)
            probe_labels = torch.tensor(probe.labels[::every]).expand(len(batch), -1)
        population = Population(
            learner.pool,
            images,
            SHAPE,
            tuple(sizes),
            learner.pathway,
            feedback_init=learner.feedback_init,
        )
        weights, feedback = population.networks(batch)
        lived = run_lifetimes(
            learner.pool,
            torch.tensor(tuple(theta), dtype=torch.float64),
            weights,
            feedback,
            train=(stream.x, stream.labels),
            query=(probe_x[:, :1], probe_labels[:, :1]),
            pathway=learner.pathway,
            observe=tuple(observe),
            observe_at=tuple(points),
            probe=(probe_x, probe_labels),
            keep_weights=False,
        )
        parts.append({name: lived.observed[name].double().numpy() for name in observe})
    return {name: np.concatenate([part[name] for part in parts]) for name in observe}


@dataclass(frozen=True, eq=False)
class RateSearch:
    """A search over multiples of a rule's coefficients.

    Attributes:
        factors: [factors].
        score: mean accuracy over the points, on validation images, [factors].
    """

    factors: tuple[float, ...]
    score: Values

    @property
    def best(self) -> float:
        """The factor with the highest score."""
        return self.factors[int(self.score.argmax())]

    @property
    def at_edge(self) -> bool:
        """Whether the best is the smallest or largest, so that a better one may lie beyond."""
        return self.best in (self.factors[0], self.factors[-1])


def rate_scores(
    learner: Learner,
    theta: Sequence[float],
    images: ImageSet,
    seeds: Sequence[int],
    points: Sequence[int] = SEARCH_POINTS,
    factors: Sequence[float] = FACTORS,
    *,
    sizes: Sequence[int] = SIZES,
    validation: int = VALIDATION,
) -> dict[str, Values]:
    """The `score` of each multiple of `theta` on this stream, see `curves` for the arguments.

    It is the mean accuracy over trials and the points after the first, so that it values fast
    learning; the images of the figure's accuracy have no part in it.
    """
    options: Mapping[str, Any] = {"sizes": sizes, "validation": validation}
    seen = [
        curves(learner, [f * value for value in theta], images, None, seeds, points, **options)
        for f in factors
    ]
    return {"score": np.array([s["accuracy"][:, 1:].mean() for s in seen])}


# --- all learners --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Courses:
    """Learners over the stream, with both kinds of coefficients.

    Attributes:
        points: examples seen.
        accuracy: column -> learner -> share of the images set aside, [trials, points].
        angle: of feedback alignment, column -> degrees, [trials, points, layers 1 … L].
        angle_each: the mean of the angles of single images, likewise.
        factor: learner -> its best multiple.
        at_edge: learners whose best multiple is the last one tried.
    """

    points: tuple[int, ...]
    accuracy: Mapping[str, Mapping[str, Values]]
    angle: Mapping[str, Values]
    angle_each: Mapping[str, Values]
    factor: Mapping[str, float]
    at_edge: tuple[str, ...]


def shortened(points: Sequence[int], steps: int) -> tuple[int, ...]:
    """The points of a stream that is this long.

    Example:
        >>> shortened((0, 25, 50, 100), 60)
        (0, 25, 50, 60)
    """
    return (*(point for point in points if point < steps), steps)


def courses(
    setting: Setting, learners: Sequence[Learner], theta: Mapping[str, Sequence[float]], data: Data
) -> Courses:
    """Learners over the stream, each read back where it was run before.

    Args:
        setting: `meta_steps` shortens the stream in proportion.
        learners: feedback alignment and backprop among them.
        theta: learner -> its meta-learned coefficients.
        data: the streams are made of its search images, the accuracy is that on the others.
    """
    points = shortened(POINTS, setting.steps(STEPS))
    seeds = lifetime_seeds(setting.seed, "online", 0, setting.trials)
    others = lifetime_seeds(setting.seed, "online, rates", 0, min(SEARCH_TRIALS, setting.trials))
    validation = min(VALIDATION, len(data.search.labels) // 4)
    sizes = (data.inputs, *SIZES[1:])
    known = (fingerprint(data.search, data.held_out), sizes, validation)
    accuracy: dict[str, dict[str, Values]] = {column: {} for column in COLUMNS}
    angles: dict[str, dict[str, Values]] = {}
    factor, at_edge = {}, []
    for learner in learners:
        raw = tuple(theta[learner.key])
        looked = shortened(SEARCH_POINTS, points[-1])
        options: Mapping[str, Any] = {"sizes": sizes, "validation": validation}
        search = partial(rate_scores, learner, raw, data.search, others, looked, **options)
        doing = f"{learner.label}: the best rate for this stream"
        key: tuple[object, ...] = ("rates", learner.key, raw, others, looked, FACTORS, *known)
        found = RateSearch(FACTORS, kept(setting, doing, key, search)["score"])
        factor[learner.key] = found.best
        at_edge += [learner.key] if found.at_edge else []
        observe = ("accuracy", "angle", "angle_each") if learner is FA else ("accuracy",)
        for column, multiple in ((META, 1.0), (BEST, found.best)):
            used = tuple(multiple * value for value in raw)
            run = partial(
                curves,
                learner,
                used,
                data.search,
                data.held_out,
                seeds,
                points,
                observe=observe,
                **options,
            )
            doing = f"{learner.label}: {points[-1]} examples, {column} coefficients"
            key = ("curves", learner.key, used, seeds, points, observe, *known)
            seen = kept(setting, doing, key, run)
            accuracy[column][learner.key] = seen["accuracy"]
            if learner is FA:
                angles[column] = seen
    return Courses(
        points,
        accuracy,
        {column: seen["angle"] for column, seen in angles.items()},
        {column: seen["angle_each"] for column, seen in angles.items()},
        factor,
        tuple(at_edge),
    )


# --- what the curves say -------------------------------------------------------------------------


def onset(accuracy: Values, points: Sequence[int], level: float = 2 * CHANCE) -> Values:
    """Examples until a trial begins to learn, [trials].

    It begins at the first of two points in a row with an accuracy of `level`, twice chance, or
    more. A trial that never does counts as the length of the stream, which is too little.

    Example:
        >>> onset(np.array([[0.1, 0.3, 0.1, 0.3, 0.4]]), (0, 1, 2, 3, 4))
        array([3.])
    """
    above = accuracy >= level
    both = above[:, :-1] & above[:, 1:]
    first = np.where(both.any(1), both.argmax(1), len(points) - 1)
    return np.asarray(points, dtype=np.float64)[first]


def at(values: Values, points: Sequence[int], examples: int) -> Values:
    """Of [trials, points, ...], the last point at or before so many examples."""
    return values[:, int(np.searchsorted(points, examples, side="right")) - 1]
