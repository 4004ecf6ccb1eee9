"""One step's way through the network and back: potentials, activities, errors, and their adjoints.

Rows are [lifetimes, 1, neurons]. What a row of a table says of activation, loss and carrier is
compiled from its expressions, and so are the derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from rulesearch.kernels.einsum.state import State
from rulesearch.lowering import output_of
from rulesearch.lowering.in_torch import Pairs, Values, compiled_source, in_torch
from rulesearch.lowering.zeros import product
from rulesearch.model import Model
from rulesearch.network import gate, outputs_of
from rulesearch.operators import QUANTITIES, Parameter, derivative, spell
from rulesearch.pathways import CARRIERS, Carrier, Edge, Pathway

#: Adjoints of rows by layer; None where there is none.
Rows = list[Tensor | None]


@dataclass(frozen=True)
class Passed:
    """What a step computed in the network.

    Attributes:
        y: activities of layers 0 … L.
        z: potentials; those of a pixel are the pixel.
        e: errors; absent where nothing reads them.
        back: errors before they are gated, by target layer.
        output: the values of the output layer by name.
        loss: of the step, [lifetimes, 1, 1].
    """

    y: list[Tensor]
    z: list[Tensor]
    e: Rows
    back: Rows
    output: Values
    loss: Tensor


@dataclass(frozen=True)
class Arriving:
    """Adjoints of what a step computed in the network, as its terms leave them.

    Attributes:
        y: of activities, by layer.
        z: of potentials.
        e: of errors.
        b: of biases, by layer of neurons.
        loss: of the loss.
        full: of parameters, by layer: as matrices,
        pairs: and as outer products (post row, pre row).
    """

    y: Rows
    z: Rows
    e: Rows
    b: Rows
    loss: list[Tensor | None]
    full: dict[Parameter, list[Tensor | None]]
    pairs: list[Pairs]


@dataclass(frozen=True)
class Carry:
    """A carrier in torch, as functions of W and B of the synapse, [lifetimes, post, pre].

    Attributes:
        value: the matrix that multiplies errors.
        slopes: its derivatives by each of the two that it hangs on.
    """

    value: Callable[[Tensor, Tensor], Tensor]
    slopes: dict[Parameter, Callable[[Tensor, Tensor], Tensor] | None]


@lru_cache(maxsize=16)
def carry(name: Carrier) -> Carry:
    """The functions of a carrier's expression; None where a derivative is 1."""
    expression = CARRIERS[name]

    def function(text: str) -> Callable[[Tensor, Tensor], Tensor]:
        made: Callable[[Tensor, Tensor], Tensor] = compiled_source(
            f"def carried(W, B):\n    return {text}\n"
        )["carried"]
        return made

    slopes: dict[Parameter, Callable[[Tensor, Tensor], Tensor] | None] = {}
    names: tuple[Parameter, ...] = ("W", "B")
    for parameter in names:
        partial = derivative(expression, QUANTITIES[parameter].symbol)
        if partial != 0:
            slopes[parameter] = None if partial == 1 else function(spell(partial, "torch"))
    return Carry(function(spell(expression, "torch")), slopes)


def carried(edge: Edge, state: State) -> Tensor:
    """The matrix that carries errors along an edge, [lifetimes, source, target]."""
    W, B = _two(edge, state)
    return carry(edge.carrier).value(W, B)


def _two(edge: Edge, state: State) -> tuple[Tensor, Tensor]:
    W, B = state.W[edge.target], state.parameters.get("B")
    return W, W if B is None else B[edge.target]


def forward_pass(
    model: Model,
    path: Pathway,
    state: State,
    x: Tensor,
    target: Tensor,
    noise: list[Tensor] | None,
    needed: set[int],
) -> Passed:
    """The way of an example through the network and of its errors back.

    Args:
        model: of the network.
        path: of the errors.
        state: before the step.
        x: the image.
        target: what the outputs should answer.
        noise: by layer of weights, standard normal; None where there is none.
        needed: the layers whose errors are read.
    """
    sigma = gate(model.activation)
    biases = state.parameters.get("b")
    y, z = [x], [x]
    for layer, weight in enumerate(state.W):
        potential = torch.bmm(y[-1], weight.mT)
        if biases is not None:
            potential = potential + biases[layer].mT
        if noise is not None:
            potential = potential + model.noise * noise[layer]
        z.append(potential)
        if layer + 1 < len(state.W):
            y.append(sigma.value(potential))
    output, values = output_of(model), outputs_of(z[-1], target, model)
    y.append(values[output.activity])
    e: Rows = [None] * len(y)
    back: Rows = [None] * len(y)
    e[-1] = values[output.error]
    for edge in path.edges:
        source = e[edge.source]
        if edge.target in needed and source is not None:
            back[edge.target] = torch.bmm(source, carried(edge, state))
            slope = sigma.slope(y[edge.target], z[edge.target])
            e[edge.target] = back[edge.target] * slope  # type: ignore[operator]
    return Passed(y, z, e, back, values, values[output.loss])


def backward_pass(
    model: Model,
    path: Pathway,
    state: State,
    passed: Passed,
    bar: Arriving,
    *,
    steep: bool,
    plastic: bool,
) -> None:
    """From the adjoints of what a step computed to those of the parameters, added to `bar`.

    Args:
        model: of the network.
        path: of the errors.
        state: before the step.
        passed: what the step computed.
        bar: the adjoints that terms left; completed.
        steep: whether an adjoint that arrives may be infinite.
        plastic: whether anything asks for the derivative by B.
    """
    times = product if steep else torch.mul
    sigma = gate(model.activation)
    depth = len(state.W)
    for edge in reversed(path.edges):
        source, target = edge.source, edge.target
        error, back = bar.e[target], passed.back[target]
        if error is None or back is None:
            continue
        y, z = passed.y[target], passed.z[target]
        if sigma.by_y is not None:
            bar.y[target] = plus(bar.y[target], times(error, back * sigma.by_y(y, z)))
        if sigma.by_z is not None:
            bar.z[target] = plus(bar.z[target], times(error, back * sigma.by_z(y, z)))
        bar_back = times(error, sigma.slope(y, z))
        bar.e[source] = plus(bar.e[source], torch.bmm(bar_back, carried(edge, state).mT))
        for parameter, slope in carry(edge.carrier).slopes.items():
            if parameter == "B" and not plastic:
                continue
            if slope is None:
                bar.pairs[target][parameter].append((known(passed.e[source]), bar_back))
                continue
            outer = known(passed.e[source]).mT * bar_back
            layers = bar.full[parameter]
            layers[target] = plus(layers[target], times(outer, slope(*_two(edge, state))))

    potential = _through_output(model, passed, bar, steep=steep)
    for layer in reversed(range(depth)):
        if layer + 1 < depth:
            potential = bar.z[layer + 1]
            if bar.y[layer + 1] is not None:
                steepness = sigma.slope(passed.y[layer + 1], passed.z[layer + 1])
                potential = plus(potential, times(known(bar.y[layer + 1]), steepness))
        if potential is None:
            continue
        bar.pairs[layer]["W"].append((potential, passed.y[layer]))
        bar.b[layer + 1] = plus(bar.b[layer + 1], potential)
        if layer > 0:
            below = torch.bmm(potential, state.W[layer])
            bar.y[layer] = plus(bar.y[layer], below)


def _through_output(model: Model, passed: Passed, bar: Arriving, *, steep: bool) -> Tensor | None:
    """The adjoint of the output's potentials."""
    output = output_of(model, steep=steep)
    arriving: Values = {}
    for name, value in (
        (output.activity, bar.y[-1]),
        (output.error, bar.e[-1]),
        (output.loss, bar.loss[0]),
    ):
        if value is not None:
            arriving[name] = arriving[name] + value if name in arriving else value
    if not arriving:
        return bar.z[-1]
    pulled = in_torch(output.plan).pull(passed.output, arriving, {})
    return plus(bar.z[-1], pulled.get("z_post"))


def known(value: Tensor | None) -> Tensor:
    """A value that is there."""
    assert value is not None
    return value


def plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """The sum of what there is."""
    if a is None or b is None:
        return b if a is None else a
    return a + b
