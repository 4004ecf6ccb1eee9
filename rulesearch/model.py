"""The choices of a network that its step hangs on, beside the terms: one frozen record."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Real

from rulesearch.choices import ActivationName, LossName
from rulesearch.errors import RuleSearchError
from rulesearch.notation import Pool
from rulesearch.notation.options import Bounds, bounds_faults
from rulesearch.operators import Interval, Parameter
from rulesearch.operators.activations import ACTIVATIONS, Activation
from rulesearch.operators.losses import LOSSES, Loss


@dataclass(frozen=True)
class Model:
    """What a step of a network does beside its terms.

    Attributes:
        activation: of the hidden neurons.
        loss: of the output layer, which the errors come from.
        bias: whether z = W y + b; biases begin at 0, and stay there but for terms that change b.
        noise: size of the noise in the potential of a training example, z + noise·ξ.
        bounds: of parameters, (parameter, lowest, highest), kept after every step; the derivative
            is 0 where a value is held back.

    Raises:
        RuleSearchError: an activation or a loss that is no row, a noise below 0, or bounds that
            cannot be; one line each.

    Example:
        >>> Model().activation.name, Model().loss.name
        ('softplus', 'cross-entropy')
    """

    activation: Activation = ACTIVATIONS["softplus"]
    loss: Loss = LOSSES["cross-entropy"]
    bias: bool = False
    noise: float = 0.0
    bounds: Bounds = ()

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise RuleSearchError(*(f"model: {line}" for line in faults))
        # Kernels write these numbers into their code, whatever they were given as.
        object.__setattr__(self, "noise", float(self.noise))
        bounds = tuple((name, float(low), float(high)) for name, low, high in self.bounds)
        object.__setattr__(self, "bounds", bounds)

    def limits(self, parameter: Parameter) -> tuple[float, float] | None:
        """Between which numbers the values of a parameter are kept."""
        return next(((low, high) for p, low, high in self.bounds if p == parameter), None)

    @property
    def activities(self) -> Interval:
        """Between which numbers activities stay, in hidden layers and at the output."""
        low = min(self.activation.range.low, self.loss.range.low)
        return Interval(low, max(self.activation.range.high, self.loss.range.high))


def _faults(model: Model) -> Iterator[str]:
    """What is wrong with the values of a model, a line each."""
    if not isinstance(model.activation, Activation):
        yield f'activation {model.activation!r}; give a row, as ACTIVATIONS["tanh"]'
    if not isinstance(model.loss, Loss):
        yield f'loss {model.loss!r}; give a row, as LOSSES["squared"]'
    noise = model.noise
    if not isinstance(noise, Real) or isinstance(noise, bool) or not 0 <= noise < math.inf:
        yield f"noise {noise!r}; give its size, at least 0"
    if not isinstance(model.bounds, tuple) or any(len(row) != 3 for row in model.bounds):
        yield f'bounds {model.bounds!r}; give rows, as (("W", -1.0, 1.0),)'
    else:
        yield from bounds_faults({parameter: ends for parameter, *ends in model.bounds})


PAPER = Model()


def bounded(model: Model, pool: Pool, *, tied: bool) -> Model:
    """The model with the bounds of a pool, where it has none of its own for a parameter.

    Args:
        model: of the network.
        pool: the terms.
        tied: whether the network has no matrices of feedback; then, as without biases, there is
            nothing that their bounds would hold.
    """
    own = [row for row in pool.bounds if model.limits(row[0]) is None]
    has = {"W": True, "B": not tied, "b": model.bias}
    every = tuple(row for row in (*model.bounds, *own) if has[row[0]])
    return model if every == model.bounds else replace(model, bounds=every)


def model_of(
    pool: Pool,
    activation: ActivationName = "softplus",
    loss: LossName = "cross-entropy",
    *,
    bias: bool = False,
    noise: float = 0.0,
) -> Model:
    """The model that options and a pool say: bounds are the pool's.

    Args:
        pool: the terms; where one changes the biases, there are some.
        activation: by name.
        loss: by name.
        bias: whether there are biases in any case.
        noise: its size.

    Example:
        >>> from rulesearch.notation import Pool
        >>> model_of(Pool(F0="-e_post*y_pre", bounds={"W": (-1, 1)}), "tanh").bounds
        (('W', -1.0, 1.0),)
    """
    for name, table in ((activation, ACTIVATIONS), (loss, LOSSES)):
        if name not in table:
            raise RuleSearchError(f"model: {name!r} is unknown; give one of {', '.join(table)}")
    biased = any(changed == "b" for term in pool for changed, _ in term.updates)
    return Model(ACTIVATIONS[activation], LOSSES[loss], bias or biased, noise, pool.bounds)
