"""Terms with their coefficients, and the networks that they are for, as one frozen record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from rulesearch.choices import ActivationName, Law, LossName, PathwayName
from rulesearch.data.files import names_in
from rulesearch.errors import RuleSearchError
from rulesearch.model import Model, model_of
from rulesearch.notation import Pool
from rulesearch.records.plain import Count, Finite, Record, Within

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Sought(Record):
    """Where a rule was searched for: no image that served there tells how good it is.

    Attributes:
        dataset: of the search; several with commas.
        layers: hidden sizes, of each of its networks.
        ways: classes of a task,
        shots: training images of each,
        queries: and query images.
        held_out_classes: so many classes the search had no image of.
        scale_ranges: of each data set the values that were mapped to 0 and 1, or `()` where inputs
            were as they are; none where all were.
        seed: of the search.
        begun: where the rule that it began with was searched for, if it began with one.
    """

    dataset: str
    layers: tuple[tuple[Count, ...], ...]
    ways: Count
    shots: Count
    queries: Count
    held_out_classes: Count = 0
    scale_ranges: tuple[tuple[Finite, ...], ...] = ()
    seed: Count = 0
    begun: Sought | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        ranges, names = self.scale_ranges, self.datasets
        if ranges and (
            len(ranges) != len(names) or any(len(ends) not in (0, 2) for ends in ranges)
        ):
            raise RuleSearchError(
                f"scale_ranges {ranges}: give for each of {', '.join(names)} the two values that "
                "became 0 and 1, or () where inputs are as they were"
            )

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets."""
        return names_in(self.dataset)

    @property
    def all(self) -> tuple[Sought, ...]:
        """This search, and those before it that a rule came from."""
        return (self, *(self.begun.all if self.begun else ()))


@dataclass(frozen=True, kw_only=True)
class Network(Record):
    """The networks that a rule is for, whatever their size.

    Attributes:
        activation: of the hidden neurons.
        loss: what the errors are the derivative of.
        bias: whether neurons have biases; where a term changes them, they do anyway.
        noise: in potentials while an example is learned.
        pathway: that errors travel on.
        feedback_init: law of the feedback's matrices.
    """

    activation: ActivationName = "softplus"
    loss: LossName = "cross-entropy"
    bias: bool = False
    noise: Annotated[float, Within(0, math.inf, most_too=False)] = 0.0
    pathway: PathwayName = "random"
    feedback_init: Law = "uniform"


@dataclass(frozen=True)
class Rule:
    """A learning rule: the change of W is the sum of the terms, each times its coefficient.

    Attributes:
        name: what tables call it.
        pool: its terms, those of feedback and biases included.
        theta: raw coefficients, in the order of the terms.
        network: that it is for.
        intervals: name -> 95 % interval of the coefficient, where it is known.
        sought: where it was searched for; None for a rule of one's own.
        source: where it comes from, in words.

    Raises:
        RuleSearchError: coefficients that do not fit the terms, or are not finite.

    Example:
        >>> rule = Rule("delta", Pool(F0="-e_post*y_pre"), (0.01,))
        >>> print(rule)
        delta: 0.0100*(-e_post*y_pre)
    """

    name: str
    pool: Pool
    theta: tuple[float, ...]
    network: Network = field(default_factory=Network)
    intervals: Mapping[str, Interval] = field(default_factory=dict, hash=False)
    sought: Sought | None = None
    source: str = ""

    def __post_init__(self) -> None:
        whose = f"rule {self.name}" if _is_name(self.name) else "rule"
        wrong = f"theta {self.theta!r}; give a number for each term"
        try:
            theta = tuple(float(x) for x in self.theta if not isinstance(x, str))
            if len(theta) < len(self.theta):
                raise TypeError
            wrong = f"intervals {self.intervals!r}; give two numbers for each name"
            known = {n: (float(low), float(high)) for n, (low, high) in self.intervals.items()}
        except (TypeError, ValueError, AttributeError):
            raise RuleSearchError(f"{whose}: {wrong}") from None
        # Whatever kind of numbers they are given as, exports write them down.
        object.__setattr__(self, "theta", theta)
        object.__setattr__(self, "intervals", known)
        if faults := [*_faults(self)]:
            raise RuleSearchError(*(f"{whose}: {fault}" for fault in faults))

    @property
    def coefficients(self) -> dict[str, float]:
        """Name -> raw coefficient."""
        return dict(zip(self.pool.names, self.theta, strict=True))

    @property
    def model(self) -> Model:
        """What a step does beside the terms."""
        of = self.network
        return model_of(self.pool, of.activation, of.loss, bias=of.bias, noise=of.noise)

    def times(self, factor: float) -> Rule:
        """The same terms, all coefficients times a number; intervals go along."""
        low_high = {
            name: (min(ends), max(ends))
            for name, (low, high) in self.intervals.items()
            if (ends := (factor * low, factor * high))
        }
        return replace(self, theta=tuple(factor * x for x in self.theta), intervals=low_high)

    def only(self, *names: str) -> Rule:
        """Some of its terms with their coefficients, nothing fitted again.

        Raises:
            RuleSearchError: a name that is none of its terms', or none at all.
        """
        there = ", ".join(self.pool.names)
        if not names:
            raise RuleSearchError(f"rule {self.name}: none of its terms; give some of {there}")
        if strange := [name for name in names if name not in self.pool.names]:
            raise RuleSearchError(f"rule {self.name}: no term {strange[0]}; it has {there}")
        pool, own = self.pool.only(*names), self.coefficients
        known = {name: ends for name, ends in self.intervals.items() if name in pool.names}
        theta = tuple(own[name] for name in pool.names)
        return replace(self, pool=pool, theta=theta, intervals=known)

    def __str__(self) -> str:
        """The rule as an equation, in significant figures."""
        parts: list[str] = []
        for term, value in zip(self.pool, self.theta, strict=True):
            sign = "-" if value < 0 else "+" if parts else ""
            spaced = f"{sign} " if parts else sign
            shown = f"({term.shown})" if len(term.updates) == 1 else f"[{term.shown}]"
            layers = ", ".join(map(str, self.pool.where.get(term.name, ())))
            where = f" [layers {layers}]" if layers else ""
            parts.append(f"{spaced}{abs(value):#.3g}*{shown}{where}")
        return f"{self.name}: {' '.join(parts)}"


def _is_name(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()


def _faults(rule: Rule) -> Iterator[str]:
    """What is wrong with a rule."""
    if not isinstance(rule.network, Network):
        yield f"network {rule.network!r}; give a Network"
    if not _is_name(rule.name):
        yield f"its name is {rule.name!r}; give one line of text"
    if len(rule.theta) != len(rule.pool):
        yield f"{len(rule.theta)} coefficients, and {len(rule.pool)} terms; give one for each"
    else:
        for name, value in zip(rule.pool.names, rule.theta, strict=True):
            if not math.isfinite(value):
                yield f"the coefficient of {name} is {value}; give a finite number"


def made(
    pool: Pool,
    theta: Mapping[str, float] | Sequence[float],
    **more: Any,
) -> Rule:
    """The rule of a pool with these coefficients, without the terms that are zero.

    Args:
        pool: the terms.
        theta: coefficients by name, or in the order of the terms.
        more: name, network, intervals, sought, source, as of `Rule`.

    Raises:
        RuleSearchError: as of `Rule`; no coefficient, or one of no term.

    Example:
        >>> made(Pool(F0="-e_post*y_pre", F2="-e_post*e_pre"), {"F2": 0.1}, name="short").theta
        (0.1,)
    """
    if isinstance(theta, Mapping):
        own = dict(theta)
    elif len(theta) == len(pool):
        own = dict(zip(pool.names, theta, strict=True))
    else:
        raise RuleSearchError(
            f"theta: {len(theta)} coefficients, and {len(pool)} terms "
            f"({', '.join(pool.names)}); give one for each"
        )
    if strange := [name for name in own if name not in pool.names]:
        raise RuleSearchError(
            f"theta {strange[0]}: no term of the rule; give one of {', '.join(pool.names)}"
        )
    kept = [name for name in pool.names if own.get(name)]
    if not kept:
        raise RuleSearchError("theta: every coefficient is zero; a rule needs one that is not")
    settled = {"name": "rule", **more}
    return Rule(pool=pool.only(*kept), theta=tuple(own[name] for name in kept), **settled)
