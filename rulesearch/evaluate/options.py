"""What an evaluation is asked for: the options, and the scenarios that they say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args

from rulesearch.choices import (
    ActivationName,
    Device,
    DType,
    FeedbackLaw,
    KernelName,
    Law,
    LossName,
    PathwayName,
    RatesFrom,
    RivalName,
)
from rulesearch.errors import RuleSearchError
from rulesearch.records.plain import Count, Record, Within

if TYPE_CHECKING:  # what computes is imported where it is used
    from rulesearch.conditions import Conditions
    from rulesearch.rule import Network, Rule
    from rulesearch.search.config import Config

Size: TypeAlias = Annotated[int, Within(1, 10**6)]
#: Of one class there is nothing to learn.
Ways: TypeAlias = Annotated[int, Within(2, 10**6)]
Several: TypeAlias = Annotated[int, Within(2, 10**6)]
Strength: TypeAlias = Annotated[float, Within(0, math.inf, most_too=False)]
Share: TypeAlias = Annotated[float, Within(0, 1)]

#: The options that may have several values, in the order of the grid.
AXES = (
    "dataset",
    "layers",
    "pathway",
    "activation",
    "loss",
    "feedback_init",
    "weights_init",
    "noise",
    "feedback_noise",
    "label_noise",
    "image_noise",
    "ways",
    "shots",
    "queries",
)


@dataclass(frozen=True, kw_only=True)
class Scenario(Record):
    """A world and what tasks and networks are like there: one place of a grid.

    Attributes:
        dataset: name or file.
        layers: hidden sizes, or all sizes.
        pathway: that errors travel on; None: a rule's own. Likewise
        activation: of hidden neurons,
        loss: what errors are the derivative of,
        feedback_init: what feedback begins as,
        noise: in potentials.
        weights_init: law of the weights.
        feedback_noise: see `rulesearch.conditions.Conditions`,
        label_noise: likewise,
        image_noise: likewise.
        ways: classes of a task, at least 2,
        shots: training examples of each; of a stream, of all it has,
        queries: and query examples.
        points: numbers of steps after which the query is asked, ascending; empty: after the last.
    """

    dataset: str
    layers: tuple[Size, ...]
    pathway: PathwayName | None = None
    activation: ActivationName | None = None
    loss: LossName | None = None
    feedback_init: FeedbackLaw | None = None
    weights_init: Law = "uniform"
    noise: Strength | None = None
    feedback_noise: Strength = 0.0
    label_noise: Share = 0.0
    image_noise: Strength = 0.0
    ways: Ways
    shots: Size
    queries: Size
    points: tuple[Size, ...] = ()

    def network(self, own: Network) -> Network:
        """The network that is asked for, or else a rule's own."""
        names = ("pathway", "activation", "loss", "noise")
        asked = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.feedback_init in get_args(Law):
            asked["feedback_init"] = self.feedback_init
        return replace(own, **asked)

    def config(self, network: Network, **more: Any) -> Config:
        """The options of a search in this world, with this network."""
        from rulesearch.search.config import Config

        asked = {entry.name: getattr(network, entry.name) for entry in fields(network)}
        return Config(
            dataset=self.dataset,
            layers=self.layers,
            ways=self.ways,
            shots=self.shots,
            queries=self.queries,
            **asked,
            **more,
        )

    def conditions(self, steps: int | None = None) -> Conditions:
        """What is otherwise than in a search, after so many steps."""
        from rulesearch.conditions import Conditions

        return Conditions(
            steps=None if steps == self.ways * self.shots else steps,
            label_noise=self.label_noise,
            image_noise=self.image_noise,
            weights_init=self.weights_init,
            transposed=self.feedback_init == "transposed",
            feedback_noise=self.feedback_noise,
        )

    @property
    def asked_at(self) -> tuple[int, ...]:
        """Numbers of steps after which the query is asked; at least one."""
        return self.points or (self.ways * self.shots,)


#: Where a rule is tried of which nobody knows where it was searched for.
USUAL = Scenario(dataset="digits", layers=(170, 130, 100, 70), ways=5, shots=50, queries=10)


@dataclass(frozen=True, kw_only=True)
class Asked(Record):
    """The options of an evaluation; of an axis, empty means what the first rule was searched on.

    Attributes:
        dataset: and the other axes: see `Scenario`; every combination is a scenario.
        layers: of each network.
        pathway: and so on.
        steps: lengths of streams, in place of `shots`; of several the longest is run, and the
            others are points of it.
        rivals: what the rules are tried beside, on the same tasks.
        rates: where the rivals' rates are found: `here`, on images for the search in the same
            scenario; `own`, where the rule was searched for; or `both`, a row for each.
        lifetimes: of each, on images set aside.
        tuning_tasks: on which a rate is found.
        data_root: folder in torchvision's layout.
        scale: whether inputs are mapped to [0, 1].
        seed: of the lifetimes.
        kernel: `auto`, `einsum`, `fused`.
        device: `cpu` or `cuda`.
        dtype: `float32` or `float64`.
    """

    dataset: tuple[str, ...] = ()
    layers: tuple[tuple[Size, ...], ...] = ()
    pathway: tuple[PathwayName, ...] = ()
    activation: tuple[ActivationName, ...] = ()
    loss: tuple[LossName, ...] = ()
    feedback_init: tuple[FeedbackLaw, ...] = ()
    weights_init: tuple[Law, ...] = ()
    noise: tuple[Strength, ...] = ()
    feedback_noise: tuple[Strength, ...] = ()
    label_noise: tuple[Share, ...] = ()
    image_noise: tuple[Strength, ...] = ()
    ways: tuple[Ways, ...] = ()
    shots: tuple[Size, ...] = ()
    queries: tuple[Size, ...] = ()
    steps: tuple[Size, ...] = ()
    rivals: tuple[RivalName, ...] = get_args(RivalName)
    rates: RatesFrom = "here"
    lifetimes: Several = 100
    tuning_tasks: Several = 24
    data_root: str | None = None
    scale: bool = False
    seed: Count = 0
    kernel: KernelName = "auto"
    device: Device = "cpu"
    dtype: DType = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        faults = [
            f"{name} {value}: given twice; give it once"
            for name in (*AXES, "steps", "rivals")
            for value in dict.fromkeys(getattr(self, name))
            if getattr(self, name).count(value) > 1
        ]
        if self.steps and self.shots:
            faults.append("steps: beside shots, which say how many there are; give one of them")
        if faults:
            raise RuleSearchError(*faults)


def asked_for(options: Mapping[str, Any]) -> Asked:
    """The options from what a person gives: one value of an axis will do in place of several.

    Raises:
        RuleSearchError: a line for each option that cannot be.

    Example:
        >>> asked_for({"dataset": "mnist", "layers": (130, 70), "shots": [10, 50]}).layers
        ((130, 70),)
    """
    from rulesearch.records.plain import from_plain, to_plain

    given: dict[str, Any] = {}
    for name, value in options.items():
        kept = value
        if name in (*AXES, "steps", "rivals") and not isinstance(value, list | tuple):
            kept = (value,)
        if name == "layers" and kept and not isinstance(kept[0], list | tuple):
            kept = (kept,)
        given[name] = str(value) if name == "data_root" and value is not None else kept
    try:
        plain = to_plain(given)
    except TypeError as error:
        raise RuleSearchError(str(error)) from None
    return from_plain(Asked, plain, by_value=True)


def own_scenario(rule: Rule) -> Scenario:
    """Where a rule was searched for; of several worlds the first, and digits where nobody knows."""
    if (sought := rule.sought) is None:
        return USUAL
    return Scenario(
        dataset=sought.datasets[0],
        layers=sought.layers[0],
        ways=sought.ways,
        shots=sought.shots,
        queries=sought.queries,
    )


def scenarios(asked: Asked, own: Scenario) -> tuple[Scenario, ...]:
    """Every combination of the values of all axes; of one that was not given, the value of `own`.

    Example:
        >>> own = Scenario(dataset="digits", layers=(20,), ways=2, shots=5, queries=5)
        >>> grid = scenarios(Asked(shots=(5, 10), ways=(2, 3)), own)
        >>> [(each.ways, each.shots) for each in grid]
        [(2, 5), (2, 10), (3, 5), (3, 10)]
    """
    values = {name: getattr(asked, name) or (getattr(own, name),) for name in AXES}
    made = []
    for row in itertools.product(*values.values()):
        scenario = replace(own, **dict(zip(values, row, strict=True)))
        if asked.steps:
            points = tuple(sorted(asked.steps))
            shots = -(-points[-1] // scenario.ways)
            scenario = replace(scenario, shots=shots, points=points)
        made.append(scenario)
    return tuple(made)


def varied(asked: Asked) -> tuple[str, ...]:
    """The axes that have several values, `steps` last."""
    return tuple(name for name in (*AXES, "steps") if len(getattr(asked, name)) > 1)
