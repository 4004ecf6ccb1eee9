"""What rivals are given: lifetimes from fixed seeds, and pools of one to a hundred terms."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rulesearch import Pool, TaskShape, draw_tasks, load_data, load_pool
from rulesearch.data import ImageSet
from rulesearch.population import Population

#: The paper's tasks, section 4.1.
PAPER_SHAPE = TaskShape(ways=5, shots=50, queries=10)
GRAMMAR = Path(__file__).parents[1] / "grammar" / "paper_pool.py"


@dataclass(frozen=True)
class Setting:
    """Where lifetimes come from, and how large they are.

    Attributes:
        root: of EMNIST in torchvision's layout; None for random images as sparse as EMNIST's.
        sizes: neurons of each layer, input first.
        shape: of a task.
        dataset: `digits` needs no root.
    """

    root: Path | None = None
    sizes: tuple[int, ...] = (784, 170, 130, 100, 70, 47)
    shape: TaskShape = PAPER_SHAPE
    dataset: Literal["emnist", "digits"] = "emnist"

    def __str__(self) -> str:
        network, steps = "-".join(map(str, self.sizes)), self.shape.ways * self.shape.shots
        return f"{network}, {steps} steps, {self.images}"

    @property
    def images(self) -> str:
        """What the images are."""
        if self.dataset == "digits":
            return "scikit-learn's digits"
        return "EMNIST" if self.root else "random images as sparse as EMNIST's"


@dataclass(frozen=True, eq=False)
class Work:
    """Lifetimes as `run_lifetimes` takes them; with random feedback, in float32."""

    pool: Pool
    theta: Tensor
    weights: list[Tensor]
    feedback: list[Tensor]
    train: tuple[Tensor, Tensor]
    query: tuple[Tensor, Tensor]

    def __len__(self) -> int:
        return len(self.train[0])

    def lifetimes(self, which: slice | Tensor) -> Work:
        """Some of the lifetimes: a slice of them, or positions, which may come again."""
        return replace(
            self,
            weights=[w[which] for w in self.weights],
            feedback=[b[which] for b in self.feedback],
            train=(self.train[0][which], self.train[1][which]),
            query=(self.query[0][which], self.query[1][which]),
        )

    def steps(self, count: int) -> Work:
        """The beginning of every lifetime, to compile what does not hang on its length."""
        return replace(self, train=(self.train[0][:, :count], self.train[1][:, :count]))

    def on(self, device: str) -> Work:
        """The same on another device."""
        return replace(
            self,
            theta=self.theta.to(device),
            weights=[w.to(device) for w in self.weights],
            feedback=[b.to(device) for b in self.feedback],
            train=(self.train[0].to(device), self.train[1].to(device)),
            query=(self.query[0].to(device), self.query[1].to(device)),
        )


# --- pools ----------------------------------------------------------------------------------------


class Product(NamedTuple):
    """A term that separates, (post · scalar) ⊗ pre; the names are expressions of the notation."""

    post: str
    scalar: str
    pre: str

    def __str__(self) -> str:
        return "*".join(self)


#: The factors of the paper's ten terms, and products of two of them.
POST = ("e_post", "y_post", "1")
SCALARS = (
    "1",
    "sum_post(y_post)",
    "sum_post(y_post*sum_pre(W*e_pre))",
    "sum_post(e_post*sum_pre(W*y_pre))",
    "sum_post(e_post)",
)
PRE = ("y_pre", "e_pre", "sum_post(y_post*W)", "y_pre*e_pre", "y_pre**2", "e_pre**2", "y_pre**3")


#: What the pool has already; of F9, the second part.
_TAKEN = {
    Product("e_post", "1", "y_pre"),
    Product("y_post", "1", "e_pre"),
    Product("e_post", "1", "e_pre"),
    Product("1", "1", "e_pre"),
    Product("e_post", SCALARS[1], "y_pre"),
    Product("y_post", SCALARS[2], "e_pre"),
    Product("e_post", SCALARS[2], "y_pre"),
    Product("y_post", SCALARS[3], "e_pre"),
    Product("y_post", "1", "sum_post(y_post*W)"),
}
_LEFT = [
    product
    for s, v, u in itertools.product(SCALARS, PRE, POST)
    if (product := Product(u, s, v)) not in _TAKEN
]
#: Name -> term, for pools of more than the paper's ten.
PRODUCTS: dict[str, Product] = {f"T{i}": product for i, product in enumerate(_LEFT, 10)}
#: Terms of the smaller pools: the pseudo-gradient, and the rule that the paper ends with.
FEW = {1: ("F0",), 3: ("F0", "F2", "F9")}


@lru_cache
def pool_of(terms: int) -> Pool:
    """The benchmark's pool of so many terms: 1, 3, or 10 and more.

    Example:
        >>> pool_of(3).names
        ('F0', 'F2', 'F9')
    """
    paper = {t.name: t.expression for t in load_pool(GRAMMAR).terms}
    names = FEW.get(terms, tuple(paper))
    extra = dict(itertools.islice(PRODUCTS.items(), max(0, terms - len(paper))))
    every: dict[str, Any] = {n: paper[n] for n in names} | {n: str(p) for n, p in extra.items()}
    return Pool(**every)


# --- lifetimes ------------------------------------------------------------------------------------


def made_up_images(setting: Setting) -> ImageSet:
    """Random images as sparse as EMNIST's: 664 of 784 pixels are ever lit, 260 in one image."""
    rng = np.random.default_rng(0)
    inputs, classes, each = setting.sizes[0], setting.sizes[-1], setting.shape.per_class
    ever, lit = rng.permutation(inputs)[: inputs * 664 // 784], inputs * 260 // 784
    x = np.zeros((classes * each, inputs), dtype=np.float32)
    for image in x:
        image[rng.choice(ever, lit, replace=False)] = rng.uniform(0, 1, lit)
    labels = np.repeat(np.arange(classes), each)
    starts = np.arange(classes + 1) * each
    return ImageSet("random", "random", classes, x, labels, np.arange(len(x)), starts)


@lru_cache(maxsize=1)
def _images(setting: Setting) -> ImageSet:
    if setting.dataset == "emnist" and setting.root is None:
        return made_up_images(setting)
    return load_data(setting.dataset, setting.root, shape=setting.shape).search


def work(setting: Setting, terms: int = 10, lifetimes: int = 8) -> Work:
    """Tasks, weights and feedback from fixed seeds; coefficients that let nothing explode."""
    images, pool, seeds = _images(setting), pool_of(terms), tuple(range(lifetimes))
    # Small, but not zero: a forward pass leaves out what has no coefficient. Sums over a layer
    # make terms a hundred times as large as those of the paper.
    theta = torch.tensor([1e-5 if name.startswith("F") else 1e-8 for name in pool.names])
    theta[0] = 1e-3
    weights, feedback = Population(pool, images, setting.shape, setting.sizes).networks(seeds)
    assert not isinstance(feedback, str)
    weights, feedback = [w.clone() for w in weights], [b.clone() for b in feedback]
    tasks = draw_tasks(images, setting.shape, seeds)
    train, query = (tasks.x, tasks.labels), (tasks.query_x, tasks.query_labels)
    return Work(pool, theta, weights, feedback, train, query)
