"""What may be otherwise when a rule is tried than when it was searched for, beside the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rulesearch.choices import Law
from rulesearch.data import Task
from rulesearch.network import as_matrices, draw_xavier, empty_rows
from rulesearch.pathways import Pathway

#: What is drawn here has a stream of a lifetime's seed for itself; potentials have the first.
_LABELS, _IMAGES, _FEEDBACK = 2, 3, 4


@dataclass(frozen=True)
class Conditions:
    """Conditions of lifetimes that no search varies.

    Attributes:
        steps: so many of a task's training examples are learned from, the first; None for all. So
            lifetimes of the same seed and shape are one stream, and these its points.
        label_noise: share of the training examples whose label is another class of the task.
        image_noise: standard deviation of the normal noise in the training images, which stay in
            [0, 1]; query images are as they are.
        weights_init: law of the initial weights.
        transposed: whether feedback begins as the transposed weights, W', of an edge from one layer
            to the one below; others have none.
        feedback_noise: S, for feedback B + S R, with R drawn by Xavier's normal law.

    Example:
        >>> Conditions() == AS_SEARCHED
        True
    """

    steps: int | None = None
    label_noise: float = 0.0
    image_noise: float = 0.0
    weights_init: Law = "uniform"
    transposed: bool = False
    feedback_noise: float = 0.0

    def of_task(self, task: Task, seeds: Sequence[int]) -> Task:
        """The tasks of some lifetimes as they are learned under these conditions."""
        if not (self.label_noise or self.image_noise or self.steps):
            return task
        x, labels = task.x, task.labels
        if self.label_noise:
            rows = [
                _mistaken(own.numpy(), self.label_noise, _generator(seed, _LABELS))
                for own, seed in zip(labels, seeds, strict=True)
            ]
            labels = torch.from_numpy(np.stack(rows))
        if self.image_noise:
            shape = tuple(x.shape[1:])
            drawn = [_generator(s, _IMAGES).standard_normal(shape, np.float32) for s in seeds]
            noisy = x + self.image_noise * torch.from_numpy(np.stack(drawn))
            # Within [0, 1], or the range that the images of a lifetime have beyond it.
            lowest = x.amin((1, 2), keepdim=True).clamp(max=0.0)
            highest = x.amax((1, 2), keepdim=True).clamp(min=1.0)
            x = torch.minimum(torch.maximum(noisy, lowest), highest)
        return replace(task, x=x[:, : self.steps], labels=labels[:, : self.steps])

    def of_feedback(
        self,
        feedback: Sequence[Float[Tensor, "lifetimes _pre _source"]],
        weights: Sequence[Float[Tensor, "lifetimes _post _pre"]],
        seeds: Sequence[int],
        path: Pathway,
    ) -> None:
        """Change feedback that was drawn, in place, to what it is under these conditions."""
        if self.transposed and feedback:
            for edge in path.edges:
                if edge.source == edge.target + 1:
                    feedback[edge.target].copy_(weights[edge.target].mT)
        if not self.feedback_noise or not feedback:
            return
        shapes = [(back.shape[1], back.shape[2]) for back in feedback]
        rows = empty_rows(len(seeds), shapes, feedback[0].dtype)
        words = [int(_generator(seed, _FEEDBACK).integers(2**63)) for seed in seeds]
        draw_xavier(rows, shapes, words, "normal")
        for back, noise in zip(feedback, as_matrices(rows, shapes), strict=True):
            back += self.feedback_noise * noise


AS_SEARCHED = Conditions()


def _mistaken(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Labels of which a share is wrong, each drawn from the other classes that are there."""
    classes = np.unique(labels)
    wrong = generator.random(len(labels)) < share
    shift = generator.integers(1, max(2, len(classes)), len(labels))
    place = np.searchsorted(classes, labels)
    mistaken: np.ndarray = np.where(wrong, classes[(place + shift) % len(classes)], labels)
    return mistaken


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(stream,))))
