"""What a search is asked for: the options, their defaults, and what is refused before it starts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from rulesearch import flags
from rulesearch.choices import (
    ActivationName,
    Device,
    DType,
    EffortLevel,
    KernelName,
    Law,
    LossName,
    Neurons,
    PathwayName,
    ProtocolName,
)
from rulesearch.data.files import names_in
from rulesearch.errors import RuleSearchError
from rulesearch.executors.by_name import USUAL, named
from rulesearch.records.plain import Count, Finite, Within, problems, to_plain
from rulesearch.selection.effort import Effort

if TYPE_CHECKING:  # what computes is imported where it is used: the command's help needs none
    import torch

    from rulesearch.data import TaskShape
    from rulesearch.data.scale import Range
    from rulesearch.meta import Accepted, MetaProtocol
    from rulesearch.model import Model
    from rulesearch.notation import Pool

Size: TypeAlias = Annotated[int, Within(1, 10**6)]
#: Of one class there is nothing to learn.
Ways: TypeAlias = Annotated[int, Within(2, 10**6)]
Strength: TypeAlias = Annotated[float, Within(0, math.inf, most_too=False)]
Cap: TypeAlias = Annotated[float, Within(0, math.inf, least_too=False, most_too=False)]

MOST_LAYERS = 100

FREE = ("dataset", "data_root", "executor", "workers", "threads", "kernel")
"""Options that may be given again when a run goes on: where its data lie, and how it computes."""

HIDDEN = (170, 130, 100, 70)
"""Hidden layers of the paper's network (section 4.1)."""

#: What the meta-steps of a trial, and the counts of an `Effort`, are multiplied by.
LEVELS: Mapping[EffortLevel, float] = {"quick": 0.25, "normal": 1.0, "thorough": 2.0}

#: Trials of a search by each protocol: accepted steps judge their terms afterwards.
TRIALS: Mapping[ProtocolName, int] = {"accepted": 1, "robust": 2, "paper": 2}

#: Options that a protocol has no use for.
UNUSED: Mapping[ProtocolName, tuple[str, ...]] = {
    "accepted": ("l2",),
    "robust": ("begin",),
    "paper": ("parsimony", "begin"),
}

#: What accepted steps need: a step is judged as it is taken.
QUICKER = Effort(
    common_tasks=200,
    ranking_tasks=64,
    refit_steps=4,
    baseline_tasks=100,
    evaluation_tasks=300,
)

#: Where fewer meta-steps and tasks than the protocol's decide as well; measured, see README.
EASIER: Mapping[str, tuple[int, Effort]] = {
    "digits": (
        200,
        Effort(
            common_tasks=200,
            ranking_tasks=50,
            full_steps=60,
            refit_steps=60,
            final_steps=20,
            mean_steps=20,
            baseline_tasks=100,
            evaluation_tasks=200,
        ),
    )
}


@dataclass(frozen=True)
class Config:
    """The options of a search; None means the protocol's or the data set's own default.

    Attributes:
        dataset: `digits`, `emnist`, `mnist`, `fashion-mnist`, or a file FILE.npz; or several, in
            a tuple or a text with commas. Each of them with each network is a world.
        data_root: folder in torchvision's layout.
        scale: whether inputs are mapped to [0, 1] by the range of the search's images.
        scale_ranges: of each data set the values that became 0 and 1, or `()` where inputs are as
            they were, once the images are known; none where all are.
        pathway: how errors travel: `random`, `symmetric`, `direct`, `sign-symmetric`.
        feedback_init: law of the Xavier feedback, `uniform` or `normal`.
        layers: hidden sizes, or all sizes if the first and last are those of the data; or several
            networks, as a tuple of such tuples.
        activation: of hidden neurons, `softplus`, `tanh`, `sigmoid`, `relu`, `identity`.
        loss: what errors are the derivative of, `cross-entropy` or `squared`.
        bias: whether neurons have biases; where no term of the pool changes them, -e_post does.
        noise: size of the noise in potentials while an example is learned, what `xi_post` is.
        held_out_classes: so many classes are kept from the search, and the final evaluation is of
            these alone; see `load_data`.
        ways: classes of a task, at least 2.
        shots: training examples of each.
        queries: query examples of each.
        protocol: `accepted`, `robust` or `paper`, see `rulesearch.meta.protocols`.
        l1: strength of the penalty on the sizes of the coefficients learned.
        l2: of one on their squares, beside it; not of accepted steps.
        largest_scale: what the unit of a term is capped at, above 0; a large number for no cap.
        meta_steps: of a trial; at most, where steps are accepted or not.
        meta_batch: lifetimes of a meta-step.
        trials: independent searches with all terms.
        parsimony: share of the gain that may be given away for fewer terms, 0 to below 1.
        locality: needs that terms may have, with commas; `all`, or `synaptic` for none.
        neurons: `shared` or `separate` populations for activities and errors.
        kernel: `auto`, `einsum`, `fused`.
        device: `cpu` or `cuda`.
        dtype: `float32` or `float64`.
        executor: what carries lifetimes out: `processes` of this machine, `dask`, workers of a
            scheduler that is there, `dask:ADDRESS`, or jobs of Slurm, `slurm` or `slurm:FILE.toml`.
        workers: of the executor; one of `processes` is this process alone.
        threads: that this machine computes with, shared out among workers; None for a thread a
            core, or what torch was told (`OMP_NUM_THREADS`).
        seed: of everything drawn, not negative.
        effort: how much is run, `quick` (a quarter), `normal` or `thorough` (twice), of trials,
            elimination and evaluation together; or the numbers themselves, an `Effort`.
        begin: the rule that accepted steps begin at, as `rulesearch.rule.rule_to_plain` says it;
            given a `Rule`, that is made of it. None to begin at the reference alone.
    """

    dataset: str = "digits"
    data_root: str | None = None
    scale: bool = False
    scale_ranges: tuple[tuple[Finite, ...], ...] = ()
    pathway: PathwayName = "random"
    feedback_init: Law = "uniform"
    layers: tuple[Size | tuple[Size, ...], ...] = HIDDEN
    activation: ActivationName = "softplus"
    loss: LossName = "cross-entropy"
    bias: bool = False
    noise: Strength = 0.0
    held_out_classes: Annotated[int, Within(0, 10**6)] = 0
    ways: Ways = 5
    shots: Size = 50
    queries: Size = 10
    protocol: ProtocolName = "accepted"
    l1: Strength | None = None
    l2: Strength = 0.0
    largest_scale: Cap | None = None
    meta_steps: Annotated[int, Within(1, 10**6)] | None = None
    meta_batch: Annotated[int, Within(1, 10**5)] | None = None
    trials: Annotated[int, Within(1, 1000)] | None = None
    parsimony: Annotated[float, Within(0, 1, most_too=False)] = 0.05
    locality: str = "all"
    neurons: Neurons = "shared"
    kernel: KernelName = "auto"
    device: Device = "cpu"
    dtype: DType = "float32"
    executor: str = USUAL
    workers: Annotated[int, Within(1, 1024)] = 1
    threads: Annotated[int, Within(1, 1024)] | None = None
    seed: Count = 0
    effort: Effort | EffortLevel = "normal"
    begin: dict[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        # As they are read back from a run, so that it can be gone on with.
        if isinstance(self.dataset, PurePath):
            object.__setattr__(self, "dataset", str(self.dataset))
        if isinstance(self.dataset, list | tuple):
            object.__setattr__(self, "dataset", ",".join(map(str, self.dataset)))
        given = _plain_sizes(self.layers)
        if isinstance(given, tuple):
            sizes: tuple[Any, ...] = given
            one = len(sizes) == 1 and isinstance(sizes[0], tuple)
            object.__setattr__(self, "layers", sizes[0] if one else sizes)
        if isinstance(self.data_root, PurePath):
            object.__setattr__(self, "data_root", str(self.data_root))
        if self.begin is not None and not isinstance(self.begin, Mapping):
            from rulesearch.rule import Rule, rule_to_plain

            if isinstance(self.begin, Rule):
                object.__setattr__(self, "begin", to_plain(rule_to_plain(self.begin)))

    @property
    def shape(self) -> TaskShape:
        """The shape of a task."""
        from rulesearch.data import TaskShape

        return TaskShape(self.ways, self.shots, self.queries)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets."""
        return names_in(self.dataset)

    @property
    def scales(self) -> tuple[Range | bool, ...]:
        """Of each data set, what `load_data` maps it by: its range, or whether by its own."""
        if not self.scale_ranges:
            return (self.scale,) * len(self.datasets)
        return tuple((ends[0], ends[1]) if ends else False for ends in self.scale_ranges)

    @property
    def networks(self) -> tuple[tuple[int, ...], ...]:
        """The layers of each network, as they were given."""
        several = tuple(sizes for sizes in self.layers if isinstance(sizes, tuple))
        return several or (tuple(size for size in self.layers if isinstance(size, int)),)

    @property
    def worlds(self) -> dict[str, Config]:
        """The options of each world by its name: every data set with every network."""
        return {
            f"{called(name)} {'-'.join(map(str, sizes))}"
            if len(self.networks) > 1
            else called(name): replace(self, dataset=name, layers=sizes)
            for name in self.datasets
            for sizes in self.networks
        }

    def sizes(self, inputs: int, outputs: int) -> tuple[int, ...]:
        """Layer sizes for data with this many inputs and classes, both included; of one network."""
        (given,) = self.networks
        if len(given) > 1 and (given[0], given[-1]) == (inputs, outputs):
            return given
        return (inputs, *given, outputs)

    def resolved(self) -> Config:
        """The same, with every default of protocol and data set filled in."""
        from rulesearch.meta import PROTOCOLS

        protocol = PROTOCOLS[self.protocol]
        steps, effort = EASIER.get(self.dataset, (protocol.meta_steps, Effort()))
        if self.protocol != "robust":
            steps = protocol.meta_steps
        if self.protocol == "accepted":
            effort = QUICKER
        factor = LEVELS[self.effort] if isinstance(self.effort, str) else 1.0
        steps = max(1, round(factor * steps))
        return replace(
            self,
            l1=protocol.l1 if self.l1 is None else self.l1,
            largest_scale=(
                protocol.largest_scale if self.largest_scale is None else self.largest_scale
            ),
            trials=TRIALS[self.protocol] if self.trials is None else self.trials,
            meta_steps=steps if self.meta_steps is None else self.meta_steps,
            meta_batch=protocol.meta_batch if self.meta_batch is None else self.meta_batch,
            effort=effort.times(factor) if isinstance(self.effort, str) else self.effort,
        )

    def meta_protocol(self) -> MetaProtocol | Accepted:
        """The numbers of the protocol, with this meta-batch and cap."""
        from rulesearch.meta import PROTOCOLS

        known = self.resolved()
        assert known.meta_batch is not None
        assert known.largest_scale is not None
        return replace(
            PROTOCOLS[self.protocol],
            meta_batch=known.meta_batch,
            largest_scale=known.largest_scale,
        )

    def model(self, pool: Pool) -> Model:
        """What a step does beside the terms of a pool, whose bounds are the model's."""
        from rulesearch.model import model_of

        return model_of(pool, self.activation, self.loss, bias=self.bias, noise=self.noise)

    def torch_dtype(self) -> torch.dtype:
        """The dtype of the lifetimes."""
        import torch

        return {"float32": torch.float32, "float64": torch.float64}[self.dtype]


def _plain_sizes(given: Any) -> Any:
    """Sizes as Python's own numbers in tuples, whatever they were given as."""
    if isinstance(given, Integral) and not isinstance(given, bool):
        return int(given)
    given = given.tolist() if hasattr(given, "tolist") else given
    return tuple(map(_plain_sizes, given)) if isinstance(given, list | tuple) else given


def called(dataset: str) -> str:
    """What a data set is called, wherever its file lies.

    Example:
        >>> called("emnist"), called("my/cells.npz")
        ('emnist', 'cells')
    """
    return PurePath(dataset).stem if dataset.lower().endswith(".npz") else dataset


def layers_shown(layers: object) -> str:
    """Layers as the command line has them: sizes with commas, networks with slashes.

    Example:
        >>> layers_shown((170, 130)), layers_shown(((170, 130), (20,)))
        ('170,130', '170,130/20')
    """
    if not isinstance(layers, list | tuple):
        return str(layers)
    nested = any(isinstance(sizes, list | tuple) for sizes in layers)
    return ("/" if nested else ",").join(map(layers_shown, layers))


def shown_rule(begin: Mapping[str, Any]) -> str:
    """What a rule that is plain data is called."""
    return str(begin.get("name", "rule"))


#: Of options whose range alone does not say what to give.
_WAYS_OUT: Mapping[str, str] = {
    "layers": "; give sizes as in 170,130,100,70",
    "largest_scale": "; 1e9 is no cap at all",
}


def flag(name: str) -> str:
    """The command line's spelling of an option."""
    return "--from" if name == "begin" else flags.flag(name)


def field_name(name: str) -> str:
    """Python's spelling of an option."""
    return f"Config.{name}"


def check(config: Config, spelled: Callable[[str], str] = flag) -> None:
    """Refuse options that no search can meet, all at once, before anything is read or written.

    Args:
        config: the options.
        spelled: the name of an option as whoever gave it knows it.

    Raises:
        RuleSearchError: one line for each.
    """
    import torch

    from rulesearch.locality import parse_needs

    faults = [_fault(config, path, problem, spelled) for path, problem in problems(config)]
    if faults:
        raise RuleSearchError(*faults)
    if len({isinstance(sizes, tuple) for sizes in config.layers}) > 1:
        faults.append(
            f"{spelled('layers')} {config.layers}: sizes and networks; give ((170, 130), (20,))"
        )
    for sizes in config.networks:
        if not 0 < len(sizes) <= MOST_LAYERS:
            faults.append(
                f"{spelled('layers')}: {len(sizes)} of them; give 1 to {MOST_LAYERS} sizes"
            )
    if len(config.worlds) < len(config.datasets) * len(config.networks):
        faults.append(
            f"{spelled('dataset')} {config.dataset}, {spelled('layers')} "
            f"{layers_shown(config.layers)}: two worlds have one name; give each data set and "
            "each network once, and files names of their own"
        )
    for name in UNUSED[config.protocol]:
        if (value := getattr(config, name)) != getattr(Config(), name):
            users = " or ".join(p for p, unused in UNUSED.items() if name not in unused)
            shown = f"{value:g}" if isinstance(value, float) else shown_rule(value)
            faults.append(
                f"{spelled(name)} {shown}: {spelled('protocol')} {config.protocol} has no use "
                f"for it; leave it out, or take {users}"
            )
    if config.device == "cuda" and not torch.cuda.is_available():
        faults.append(f"{spelled('device')} cuda: torch finds none here; use cpu")
    try:
        parse_needs(config.locality)
    except RuleSearchError as error:
        faults.extend(error.lines)
    try:
        named(config.executor)
    except RuleSearchError as error:
        faults.extend(f"{spelled('executor')} {line}" for line in error.lines)
    if faults:
        raise RuleSearchError(*faults)


def _fault(config: Config, path: str, problem: str, spelled: Callable[[str], str]) -> str:
    """A fault in the words of whoever gave the option; the path is that of its field."""
    name, *inside = re.split(r"[.\[]", path, maxsplit=1)
    if name == "effort" and inside:
        value = getattr(config.effort, inside[0])
        return f"{path} {value}: {problem}"
    value = getattr(config, name)
    shown = f"{value:g}" if isinstance(value, float) else layers_shown(value)
    return f"{spelled(name)} {shown}: {problem}{_WAYS_OUT.get(name, '')}"
