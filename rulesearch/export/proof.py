"""Exported code run beside the kernel: what does not agree is not written."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rulesearch.errors import RuleSearchError
from rulesearch.export.written import Written
from rulesearch.lifetime import run_lifetimes
from rulesearch.lifetime.carried import Carried
from rulesearch.network import initial_weights
from rulesearch.operators import Parameter
from rulesearch.pathways import initial_feedback, pathway

#: How far an export may be off, as a share of the largest number of its kind, or of 1.
AGREES = 1e-10
STEPS = 20
#: Beyond this size of a weight a rule is taken to diverge, and its digits are no longer its own.
LARGE = 1e3

_INPUTS, _HIDDEN, _OUTPUTS = 6, (5, 4, 5, 4, 5, 4), 3


@dataclass(frozen=True)
class Stand:
    """What a lifetime has after a step, in float64.

    Attributes:
        arrays: "W of layer 2" -> its values; weights, feedback, biases and traces.
    """

    arrays: Mapping[str, np.ndarray]

    @property
    def largest(self) -> float:
        """The largest size of any number; infinite where one is none."""
        sizes = [np.abs(a).max(initial=0.0) for a in self.arrays.values()]
        return max(size if np.isfinite(size) else np.inf for size in sizes)


@dataclass(frozen=True)
class Trial:
    """A drawn network with its examples, and what the kernel makes of them.

    Attributes:
        step: the rule's.
        seed: of what is drawn.
    """

    step: Written
    seed: int = 0

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Of the layers: as many as the rule names, three at least."""
        hidden = max(3, self.step.deepest) - 1
        return (_INPUTS, *itertools.islice(itertools.cycle(_HIDDEN), hidden), _OUTPUTS)

    @cached_property
    def weights(self) -> list[Tensor]:
        """List over layers of [post, pre]."""
        return self._some_beyond("W", initial_weights(self.sizes, self.seed, torch.float64))

    @cached_property
    def feedback(self) -> list[Tensor] | None:
        """List over layers of [pre, source]."""
        path = pathway(self.step.path.name, len(self.weights))
        drawn = initial_feedback(path, self.sizes, self.seed + 1, torch.float64)
        return None if drawn is None else self._some_beyond("B", drawn)

    def _some_beyond(self, parameter: Parameter, layers: list[Tensor]) -> list[Tensor]:
        """The same with a value on either side of a parameter's bounds, which a step brings in."""
        if (limits := self.step.model.limits(parameter)) is not None:
            low, high = limits
            for each in layers:
                each[0, 0], each[-1, -1] = low - 0.1, high + 0.1
        return layers

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        generator = np.random.default_rng(self.seed + 2)
        x = generator.random((STEPS, _INPUTS))
        x[generator.random(x.shape) < 0.2] = 0.0  # pixels that are dark
        labels = generator.integers(_OUTPUTS, size=STEPS)
        noise = [generator.standard_normal((STEPS, n)) for n in self.sizes[1:]]
        return torch.from_numpy(x), torch.from_numpy(labels), [torch.from_numpy(n) for n in noise]

    @property
    def x(self) -> Tensor:
        """[steps, inputs]."""
        return self._drawn[0]

    @property
    def labels(self) -> Tensor:
        """[steps]."""
        return self._drawn[1]

    @property
    def noise(self) -> list[Tensor] | None:
        """List over layers of [steps, post]; None where the rule's networks have none."""
        return self._drawn[2] if self.step.model.noise else None

    @cached_property
    def kernel(self) -> list[Stand]:
        """What the kernel has after each step, as far as its numbers stay of some size.

        Raises:
            RuleSearchError: they do not at the first step.
        """
        found = []
        rule = self.step.rule
        weights, feedback, carried = self.weights, self.feedback, Carried()
        for t in range(STEPS):
            now = slice(t, t + 1)
            out = run_lifetimes(
                rule.pool,
                rule.theta,
                [w[None] for w in weights],
                None if feedback is None else [b[None] for b in feedback],
                train=(self.x[None, now], self.labels[None, now]),
                query=(self.x[None, now], self.labels[None, now]),
                kernel="einsum",
                pathway=rule.network.pathway,
                model=self.step.model,
                carried=carried,
                noise=None if self.noise is None else [n[None, now] for n in self.noise],
            )
            assert out.weights is not None
            assert out.carried is not None
            carried, weights = out.carried, [w[0] for w in out.weights]
            if carried.feedback is not None:
                feedback = [b[0] for b in carried.feedback]
            stand = Stand(dict(self._named(weights, feedback, carried)))
            if stand.largest > LARGE:
                break
            found.append(stand)
        if not found:
            raise RuleSearchError(
                f"rule {rule.name}: its first step leaves weights beyond {LARGE:g}, so that no "
                "export can be checked; give smaller coefficients"
            )
        return found

    def _named(
        self, weights: list[Tensor], feedback: list[Tensor] | None, carried: Carried
    ) -> Iterator[tuple[str, np.ndarray]]:
        biases = carried.biases if self.step.model.bias else None
        yield from named("W", weights)
        yield from named("B", feedback or [])
        yield from named("b", [b[0] for b in biases or []])
        for view in self.step.views:
            for layer, trace in itertools.product(range(len(weights)), view.traces):
                # Each parameter has those that its own terms read.
                keys = ((changes, layer, trace.name) for changes in view.changes)
                value = next(carried.memories[key] for key in keys if key in carried.memories)
                yield trace_name(trace.name, layer, view.at_output), value[0].numpy().ravel()


@lru_cache(maxsize=4)
def trial_of(step: Written) -> Trial:
    """The trial that exports of a rule are run on; the kernel runs once for several of them."""
    return Trial(step)


def named(letter: str, layers: list[Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a parameter, by the name that messages have for them."""
    yield from ((f"{letter} of layer {i}", np.asarray(a)) for i, a in enumerate(layers, start=1))


def trace_name(name: str, layer: int, at_output: bool) -> str:
    """What messages call a trace; `layer` counts from 0."""
    return f"{name} of layer {layer + 1}" + (", as B sees it" if at_output else "")


def refuse_deviation(what: str, trial: Trial, stands: Iterator[Stand]) -> int:
    """Compare the stands of exported code with the kernel's.

    Args:
        what: the export, for the message.
        trial: what it was run on.
        stands: after each step.

    Returns:
        How many steps were compared.

    Raises:
        RuleSearchError: the first that is off, and by how much.
    """
    for step, (ours, theirs) in enumerate(zip(trial.kernel, stands), start=1):  # noqa: B905
        for name, wanted in ours.arrays.items():
            off = deviation(wanted, theirs.arrays[name])
            if not off <= AGREES:
                raise RuleSearchError(
                    f"{what}: not written, for it is not the kernel's: {name} is off by {off:.2g} "
                    f"after step {step} of {len(trial.kernel)}, and {AGREES:g} is allowed; this "
                    "is a fault of rulesearch, please report it with the rule"
                )
    return len(trial.kernel)


def deviation(wanted: np.ndarray, found: np.ndarray) -> float:
    """How far apart two arrays are, as a share of the largest number, or of 1; NaN is infinite."""
    if wanted.shape != found.shape:
        return np.inf
    off = np.abs(wanted - found).max(initial=0.0) / max(1.0, np.abs(wanted).max(initial=0.0))
    return float(off) if np.isfinite(off) else np.inf


def names_of(source: str, called: str) -> dict[str, Any]:
    """The names that exported code defines."""
    namespace: dict[str, Any] = {"__name__": called}
    exec(compile(source, f"<{called}>", "exec"), namespace)  # our own printer's text
    return namespace
