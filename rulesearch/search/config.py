"""What a search is asked for: the options, their defaults, and what is refused before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, get_args

from rulesearch.choices import Device, DType, KernelName, Law, Neurons
from rulesearch.errors import RuleSearchError
from rulesearch.selection.effort import Effort

if TYPE_CHECKING:  # what computes is imported where it is used: the command's help needs none
    import torch

    from rulesearch.data import TaskShape
    from rulesearch.meta import MetaProtocol

HIDDEN = (170, 130, 100, 70)
"""Hidden layers of the paper's network (section 4.1)."""

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
        dataset: `digits`, `emnist`, `mnist`, `fashion-mnist`, or a file FILE.npz.
        data_root: folder in torchvision's layout.
        pathway: how errors travel: `random`, `symmetric`, `direct`, `sign-symmetric`.
        feedback_init: law of the Xavier feedback, `uniform` or `normal`.
        layers: hidden sizes, or all sizes if the first and last are those of the data.
        ways, shots, queries: classes of a task, training and query examples of each.
        protocol: `robust` or `paper` (design, section 8).
        l1: strength of the penalty on the sizes of the coefficients learned.
        l2: of one on their squares, beside it.
        largest_scale: what the unit of a term is capped at, above 0; a large number for no cap.
        meta_steps: of a trial.
        meta_batch: lifetimes of a meta-step.
        trials: independent L1 searches.
        parsimony: share of the gain that the terms dropped may cost together, 0 to below 1.
        locality: needs that terms may have, with commas; `all`, or `synaptic` for none.
        neurons: `shared` or `separate` populations for activities and errors.
        kernel: `auto`, `einsum`, `fused`.
        device: `cpu` or `cuda`.
        dtype: `float32` or `float64`.
        workers: processes.
        seed: of everything drawn, not negative.
    """

    dataset: str = "digits"
    data_root: str | None = None
    pathway: str = "random"
    feedback_init: Law = "uniform"
    layers: tuple[int, ...] = HIDDEN
    ways: int = 5
    shots: int = 50
    queries: int = 10
    protocol: str = "robust"
    l1: float | None = None
    l2: float = 0.0
    largest_scale: float | None = None
    meta_steps: int | None = None
    meta_batch: int | None = None
    trials: int = 2
    parsimony: float = 0.05
    locality: str = "all"
    neurons: Neurons = "shared"
    kernel: KernelName = "auto"
    device: Device = "cpu"
    dtype: DType = "float32"
    workers: int = 1
    seed: int = 0
    effort: Effort | None = None

    @property
    def shape(self) -> TaskShape:
        """The shape of a task."""
        from rulesearch.data import TaskShape

        return TaskShape(self.ways, self.shots, self.queries)

    def sizes(self, inputs: int, outputs: int) -> tuple[int, ...]:
        """Layer sizes for data with this many inputs and classes, both included."""
        given = self.layers
        if len(given) > 1 and (given[0], given[-1]) == (inputs, outputs):
            return given
        return (inputs, *given, outputs)

    def resolved(self) -> Config:
        """The same, with every default of protocol and data set filled in."""
        from rulesearch.meta import PROTOCOLS

        protocol = PROTOCOLS[self.protocol]
        steps, effort = EASIER.get(self.dataset, (protocol.meta_steps, Effort()))
        if self.protocol == "paper":
            steps = protocol.meta_steps
        return replace(
            self,
            l1=protocol.l1 if self.l1 is None else self.l1,
            largest_scale=(
                protocol.largest_scale if self.largest_scale is None else self.largest_scale
            ),
            meta_steps=steps if self.meta_steps is None else self.meta_steps,
            meta_batch=protocol.meta_batch if self.meta_batch is None else self.meta_batch,
            effort=effort if self.effort is None else self.effort,
        )

    def meta_protocol(self) -> MetaProtocol:
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

    def torch_dtype(self) -> torch.dtype:
        """The dtype of the lifetimes."""
        import torch

        return {"float32": torch.float32, "float64": torch.float64}[self.dtype]


def _choices() -> dict[str, tuple[str, ...]]:
    from rulesearch.meta import PROTOCOLS
    from rulesearch.pathways import PATHWAYS

    return {
        "pathway": tuple(PATHWAYS),
        "feedback_init": get_args(Law),
        "protocol": tuple(PROTOCOLS),
        "neurons": get_args(Neurons),
        "kernel": get_args(KernelName),
        "device": get_args(Device),
        "dtype": get_args(DType),
    }


_LEAST: Mapping[str, int] = {"meta_steps": 1, "meta_batch": 1, "trials": 1, "workers": 1, "seed": 0}


def check(config: Config) -> None:
    """Refuse options that no search can meet, all at once, before anything is read or written.

    Raises:
        RuleSearchError: one line for each.
    """
    import torch

    from rulesearch.locality import parse_needs

    faults = []
    for name, choices in _choices().items():
        if (value := getattr(config, name)) not in choices:
            faults.append(f"{flag(name)} {value}: unknown; give one of {', '.join(choices)}")
    for name, least in _LEAST.items():
        value = getattr(config, name)
        if value is not None and value < least:
            faults.append(f"{flag(name)} {value}: must be at least {least}")
    if not config.layers or min(config.layers) < 1:
        shown = ",".join(map(str, config.layers))
        faults.append(
            f"--layers {shown}: every layer needs at least 1 neuron, as in 170,130,100,70"
        )
    for name, value in (("l1", config.l1), ("l2", config.l2)):
        if value is not None and not 0 <= value < float("inf"):
            faults.append(f"{flag(name)} {value:g}: must be a finite number, 0 or more")
    if config.largest_scale is not None and not 0 < config.largest_scale < float("inf"):
        faults.append(
            f"--largest-scale {config.largest_scale:g}: must be a finite number above 0; "
            "1e9 is no cap at all"
        )
    if not 0 <= config.parsimony < 1:
        faults.append(f"--parsimony {config.parsimony:g}: must be at least 0 and below 1")
    if config.device == "cuda" and not torch.cuda.is_available():
        faults.append("--device cuda: torch finds none here; use --device cpu")
    if config.device == "cuda" and config.kernel == "fused":
        faults.append(
            "--kernel fused: runs on the CPU only; use --kernel einsum with --device cuda"
        )
    for part in (lambda: parse_needs(config.locality), lambda: config.shape):
        try:
            part()
        except RuleSearchError as error:
            faults.extend(error.lines)
    if faults:
        raise RuleSearchError(*faults)


def flag(name: str) -> str:
    """The command line's spelling of an option."""
    return "--" + name.replace("_", "-")


def to_options(config: Config) -> dict[str, Any]:
    """The configuration as plain values, for the run directory."""
    return asdict(config)


def from_options(options: Mapping[str, Any]) -> Config:
    """The configuration that `to_options` wrote.

    Raises:
        RuleSearchError: options of another version.
    """
    known = {field.name for field in fields(Config)}
    if strange := sorted(set(options) ^ known):
        raise RuleSearchError(f"option {strange[0]}: of another version of rulesearch")
    values = dict(options)
    values["layers"] = tuple(values["layers"])
    values["effort"] = Effort(**values["effort"]) if values["effort"] else None
    return Config(**values)
