"""The choices of a network that its step hangs on, beside the terms: one frozen record."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rulesearch.notation import Pool
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
        bounds: of parameters, (lowest, highest), kept after every step; the derivative is 0 where
            a value is held back.

    Example:
        >>> Model().activation.name, Model().loss.name
        ('softplus', 'cross-entropy')
    """

    activation: Activation = ACTIVATIONS["softplus"]
    loss: Loss = LOSSES["cross-entropy"]
    bias: bool = False
    noise: float = 0.0
    bounds: tuple[tuple[Parameter, float, float], ...] = ()

    def limits(self, parameter: Parameter) -> tuple[float, float] | None:
        """Between which numbers the values of a parameter are kept."""
        return next(((low, high) for p, low, high in self.bounds if p == parameter), None)

    @property
    def activities(self) -> Interval:
        """Between which numbers activities stay, in hidden layers and at the output."""
        low = min(self.activation.range.low, self.loss.range.low)
        return Interval(low, max(self.activation.range.high, self.loss.range.high))


PAPER = Model()


def bounded(model: Model, pool: Pool) -> Model:
    """The model with the bounds of a pool, where it has none of its own for a parameter."""
    own = [row for row in pool.bounds if model.limits(row[0]) is None]
    return replace(model, bounds=(*model.bounds, *own)) if own else model
