"""Exported code at work on a trial: its stands after each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rulesearch.export.in_torch import MODULES
from rulesearch.export.proof import Stand, Trial, deviation, named, names_of, trace_name

Convert = Callable[[Tensor], Any]


def run_arrays(made: Mapping[str, Any], trial: Trial, convert: Convert) -> Iterator[Stand]:
    """The stands of a function of arrays.

    Args:
        made: the functions of the export, by name.
        trial: to run it on.
        convert: a tensor to an array of its library.
    """
    weights = [convert(w) for w in trial.weights]
    feedback = None if trial.feedback is None else [convert(b) for b in trial.feedback]
    state = made["begin"](weights, feedback)
    for t, (x, label) in enumerate(zip(trial.x, trial.labels, strict=True)):
        more = [] if trial.noise is None else [[convert(n[t]) for n in trial.noise]]
        weights, feedback, state = made["step"](
            weights, feedback, convert(x), convert(label), state, *more
        )
        yield _stand(trial, weights, feedback, state.get("biases"), state)


def run_numpy(source: str, trial: Trial) -> Iterator[Stand]:
    """Those of NumPy's."""
    with np.errstate(all="ignore"):
        yield from run_arrays(names_of(source, "exported"), trial, lambda tensor: tensor.numpy())


def run_jax(source: str, trial: Trial) -> Iterator[Stand]:
    """Those of JAX's, compiled, in double precision."""
    import jax

    made = names_of(source, "exported")
    with jax.enable_x64(True):
        made |= {"step": jax.jit(made["step"])}
        yield from run_arrays(made, trial, lambda tensor: jax.numpy.asarray(tensor.numpy()))


def run_torch(source: str, trial: Trial) -> Iterator[Stand]:
    """Those of torch's class, an example at a time."""
    rule, model = trained(source, trial)
    for t, (x, label) in enumerate(zip(trial.x, trial.labels, strict=True)):
        more = [] if trial.noise is None else [[n[t : t + 1] for n in trial.noise]]
        rule.step(x, label, *more)
        yield stand_of(trial, rule, model)


def trained(source: str, trial: Trial) -> tuple[Any, torch.nn.Sequential]:
    """The class of an export with a model of a trial's weights."""
    made, network = names_of(source, "exported"), trial.step.rule.network
    layers: list[torch.nn.Module] = []
    for weight in trial.weights:
        post, pre = weight.shape
        linear = torch.nn.Linear(pre, post, bias=trial.step.model.bias, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(weight)
            if linear.bias is not None:
                linear.bias.zero_()
        more = {"beta": 10, "threshold": 40} if network.activation == "softplus" else {}
        layers += [linear, getattr(torch.nn, MODULES[network.activation])(**more)]
    model = torch.nn.Sequential(*layers[:-1])
    feedback = [] if trial.feedback is None else [[b.clone() for b in trial.feedback]]
    return made["Rule"](model, *feedback), model


def batch_off(source: str, trial: Trial, batch: int = 4) -> float:
    """How far a step of torch's class on a batch is from the mean of steps on its examples.

    From where one step has led, so that there is something to remember; infinite where it is no
    number. Where bounds hold a value back the two are not meant to be the same, and 0 is given.
    """
    if trial.step.model.bounds:
        return 0.0

    def after(chosen: list[int]) -> Stand:
        rule, model = trained(source, trial)
        for examples in ([0], chosen):
            more = [] if trial.noise is None else [[n[examples] for n in trial.noise]]
            rule.step(trial.x[examples], trial.labels[examples], *more)
        return stand_of(trial, rule, model)

    alone = [after([number]).arrays for number in range(1, 1 + batch)]
    together = after([*range(1, 1 + batch)]).arrays
    means = {name: np.mean([arrays[name] for arrays in alone], axis=0) for name in together}
    return max(deviation(means[name], value) for name, value in together.items())


def stand_of(trial: Trial, rule: Any, model: torch.nn.Sequential) -> Stand:
    """What a rule and its model have now; copies."""
    linears = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    biases = [linear.bias.detach().clone() for linear in linears] if trial.step.model.bias else None
    state = {
        name: [{key: v.clone() for key, v in layer.items()} for layer in getattr(rule, name)]
        for name in ("traces", "feedback_traces")
        if hasattr(rule, name)
    }
    weights = [linear.weight.detach().clone() for linear in linears]
    feedback = [b.clone() for b in rule.feedback] if trial.feedback is not None else None
    return _stand(trial, weights, feedback, biases, state)


def _stand(trial: Trial, weights: Any, feedback: Any, biases: Any, state: Any) -> Stand:
    arrays = {**dict(named("W", weights)), **dict(named("B", feedback or []))}
    arrays |= dict(named("b", biases or []))
    for view in trial.step.views:
        for layer, kept in enumerate(
            state.get("feedback_traces" if view.at_output else "traces", ())
        ):
            for trace in view.traces:
                arrays[trace_name(trace.name, layer, view.at_output)] = np.asarray(
                    kept[trace.name]
                ).ravel()
    return Stand(arrays)
