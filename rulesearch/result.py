"""The result of a search as frozen records, and their strict JSON. Computes nothing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from rulesearch.errors import RuleSearchError

SCHEMA_VERSION = 1

Json: TypeAlias = Any  # None, bool, int, float, str, or lists and string-keyed dicts of these
Number: TypeAlias = float | None  # None: not finite; strict JSON has no other spelling for it
Interval: TypeAlias = tuple[Number, Number]
RecordType = TypeVar("RecordType", bound="Record")


# Plain values ------------------------------------------------------------------------------------


def plain(value: object) -> Json:
    """A value as strict JSON holds it: tuples are lists, numbers that are not finite are None.

    Raises:
        TypeError: something that JSON has no form for (a caller's bug).

    Example:
        >>> plain({"layers": (170, 130), "loss": float("nan")})
        {'layers': [170, 130], 'loss': None}
    """
    match value:
        case None | bool() | str():
            return value
        case Integral():
            return int(value)
        case Real():
            return float(value) if math.isfinite(value) else None
        case Path():
            return str(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    if isinstance(value, Record):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _convert(hint: Any, value: object, where: str) -> Any:
    """`value` as the type `hint` wants it; `where` is the path of the field, for the message.

    Raises:
        ValueError: it cannot be had, with the path of the innermost field.
    """
    if hint is Any:
        return plain(value)
    if is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        entries = _expect(Mapping, value, where, "an object")
        hints = get_type_hints(hint)
        # A field that has a default may be newer than the record.
        needed = [
            entry.name
            for entry in fields(hint)
            if entry.default is MISSING and entry.default_factory is MISSING
        ]
        for name in needed:
            if name not in entries:
                raise ValueError(f"{_inside(where, name)}: is missing")
        return hint(
            **{
                name: _convert(kind, entries[name], _inside(where, name))
                for name, kind in hints.items()
                if name in entries
            }
        )
    if isinstance(hint, UnionType):  # the only union is Number
        if value is None or (isinstance(value, Real) and not math.isfinite(value)):
            return None
        return _convert(float, value, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is dict:
        entries = _expect(Mapping, value, where, "an object")
        return {
            str(key): _convert(arguments[1], item, _inside(where, str(key)))
            for key, item in entries.items()
        }
    if origin is tuple:
        items = _expect((list, tuple), value, where, "a list")
        kinds = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(items):
            raise ValueError(f"{where}: {len(kinds)} values are needed, not {len(items)}")
        return tuple(
            _convert(kind, item, f"{where}[{index}]")
            for index, (kind, item) in enumerate(zip(kinds, items, strict=True))
        )
    if hint in (bool, str):
        return _expect(hint, value, where, "text" if hint is str else "true or false")
    kind, wanted = (Integral, "a whole number") if hint is int else (Real, "a number")
    return hint(_expect(kind, None if isinstance(value, bool) else value, where, wanted))


def _expect(kind: Any, value: object, where: str, wanted: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{where}: {wanted} is needed, not {str(value)[:40]!r}")
    return value


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


@dataclass(frozen=True, kw_only=True)
class Record:
    """A frozen record that holds exactly what its JSON reads back as.

    Whatever a field is given (lists, NumPy numbers, a loss that is not finite) becomes the plain
    value of the field's type, so that a record equals its own copy from disk.

    Raises:
        ValueError: a field that does not have its type, with its name.
    """

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            object.__setattr__(self, name, _convert(hint, getattr(self, name), name))


# The result --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PoolEntry(Record):
    """A term of the pool.

    Attributes:
        name: its name in the grammar.
        expression: its canonical text.
        latex: the same for LaTeX's math mode.
        needs: what it needs beyond its own synapse; empty for a synaptic term.
        evidence: need -> the smallest sub-expression that has it and what that reads.
        layers: those that it acts in, from 1; empty for all.
    """

    name: str
    expression: str
    latex: str
    needs: tuple[str, ...]
    evidence: dict[str, str]
    layers: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrialRecord(Record):
    """One trial of the L1 search.

    Attributes:
        seed: the trial's own.
        support: the terms with a coefficient that is not zero at its end.
        theta: name -> raw coefficient at its end.
        diverged_lifetimes: how many of all its lifetimes diverged.
        meta_steps: how many it made.
        retreats: how often it went back from where half of the lifetimes diverged.
        failed: why it was given up; it then keeps no term. Empty for a trial that ended.
    """

    seed: int
    support: tuple[str, ...]
    theta: dict[str, Number]
    diverged_lifetimes: int
    meta_steps: int
    retreats: int = 0
    failed: str = ""


@dataclass(frozen=True, kw_only=True)
class EliminationRecord(Record):
    """One try to do without a term.

    Attributes:
        dropped: the term tried.
        support: what is left without it.
        loss: mean query loss of what is left, after its refit if there was one, nats.
        cost: that loss minus the one of the full refitted support (cumulative), nats.
        cost_interval: 95 % interval of the cost, from paired tasks.
        share_of_gain: cost as a share of the gain of the full support over the reference.
        kept: whether the term was dropped in the end (the step was kept).
        refitted: False where the drop was clearly cheap before any refit.
        arrived: False where no refit has arrived, so that the cost is an upper bound at best.
    """

    dropped: str
    support: tuple[str, ...]
    loss: Number
    cost: Number
    cost_interval: Interval
    share_of_gain: Number
    kept: bool
    refitted: bool = True
    arrived: bool = True


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord(Record):
    """A rule on the final evaluation's tasks; what diverged is scored, see `rulesearch.scoring`.

    Attributes:
        accuracy: mean share of query images classified correctly, 0 to 1.
        accuracy_interval: its 95 % interval over tasks.
        loss: mean query loss, nats.
        lifetimes: how many were run.
        diverged: how many of them diverged.
        rate: for a baseline, its coefficient of -e_post*y_pre; None for the rule.
        loss_interval: the 95 % interval of the loss over tasks.
        learns: whether it is better than no training and than chance, by these intervals.
    """

    accuracy: Number
    accuracy_interval: Interval
    loss: Number
    lifetimes: int
    diverged: int
    rate: Number = None
    loss_interval: Interval = (None, None)
    learns: bool = True


@dataclass(frozen=True, kw_only=True)
class Result(Record):
    """The answer of a search with its evidence: what `result.json` holds.

    Attributes:
        pool: every term searched, in the grammar's order.
        support: the terms of the final rule.
        theta: name -> raw coefficient of the final rule, 0.0 outside the support.
        theta_interval: name -> 95 % interval over refits, conditional on the support.
        frequency: name -> share of the trials that kept it.
        trials: the trials of the L1 search.
        elimination: every try of the elimination, in order.
        evaluation: `rule`, `backprop`, `feedback_alignment` -> its record.
        fails: name -> layer and step, from 1, of terms that stayed at zero because their update
            is not finite there; 0 and 0 where only its derivative is not.
        message: what a reader must know first, such as that nothing beats the reference; or "".
        images: which images served for what.
        config: the options of the request.
        versions: name -> version of what the numbers depend on.
        seconds: wall time of the search.
        schema_version: of this layout.
    """

    schema_version: int = SCHEMA_VERSION
    pool: tuple[PoolEntry, ...]
    support: tuple[str, ...]
    theta: dict[str, Number]
    theta_interval: dict[str, Interval]
    frequency: dict[str, Number]
    trials: tuple[TrialRecord, ...]
    elimination: tuple[EliminationRecord, ...]
    evaluation: dict[str, EvaluationRecord]
    fails: dict[str, tuple[int, int]] = field(default_factory=dict)
    message: str = ""
    images: dict[str, str]
    config: dict[str, Any]
    versions: dict[str, str]
    seconds: Number

    @property
    def learns(self) -> bool:
        """Whether the rule learns, on the images set aside; a rule that does not is not found."""
        return "rule" not in self.evaluation or self.evaluation["rule"].learns

    def to_json(self) -> str:
        """The text of `result.json`: strict JSON, null where a number is not finite."""
        return layout(plain(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """The result of such a text; `Result.from_json(r.to_json()) == r`.

        Raises:
            RuleSearchError: not JSON, another schema, or a field that is missing or wrong.
        """
        return _record(cls, text)

    @classmethod
    def load(cls, run_directory: str | os.PathLike[str]) -> Result:
        """The result of a finished run.

        Raises:
            RuleSearchError: no finished run there, or a broken file.
        """
        run = Path(run_directory)
        if (run / "config.json").exists() and not (run / "result.json").exists():
            raise RuleSearchError(
                f"{run}: has no result.json, the run is not finished; "
                f"go on with it by --resume {run}"
            )
        path = run / "result.json"
        return read_record(cls, path, f"write it again by --resume {run}")

    def __str__(self) -> str:
        """The rule as an equation, then its evidence in a line or two."""
        lines = [equation(self)]
        shown = [
            f"{name.replace('_', ' ')} {significant(entry.accuracy)} "
            f"{interval_text(entry.accuracy_interval)}"
            for name, entry in self.evaluation.items()
        ]
        if shown:
            lines.append("accuracy with 95 % interval over tasks: " + "; ".join(shown))
        lines.append(f"{len(self.support)} of {len(self.pool)} terms, {len(self.trials)} trials")
        return "\n".join([*lines, self.message] if self.message else lines)


def significant(value: Number, figures: int = 3) -> str:
    """A number with significant figures, so that small ones do not vanish.

    Example:
        >>> significant(0.0112345), significant(-0.051), significant(3.2e-7), significant(0.0)
        ('0.0112', '-0.0510', '3.20e-07', '0')
    """
    if value is None:
        return "nan"
    return f"{value:#.{figures}g}".removesuffix(".") if value else "0"


def interval_text(interval: Interval) -> str:
    """An interval as `[low, high]`, in significant figures."""
    return f"[{significant(interval[0])}, {significant(interval[1])}]"


def signed_terms(result: Result) -> list[tuple[str, str, PoolEntry]]:
    """The rule, term by term: sign ("+" or "-"), size in significant figures, pool entry."""
    terms = []
    for entry in result.pool:
        value = result.theta.get(entry.name, 0.0)
        if value != 0:
            text = significant(value)
            terms.append(("-" if text[0] == "-" else "+", text.removeprefix("-"), entry))
    return terms


def equation(result: Result, break_with: str = " ") -> str:
    """The rule as one line of the notation; `break_with` stands before each further term.

    For F0 and F2 this reads `dW = 0.0112*(-e_post*y_pre) - 0.0510*(-e_post*e_pre)`; a term that
    acts in some layers only has them behind it, as in `[layers 2, 3]`.
    """
    parts = [
        (sign, f"{size}*({entry.expression}){_layers_behind(entry)}")
        for sign, size, entry in signed_terms(result)
    ]
    if not parts:
        return "dW = 0"
    (sign, text), *others = parts
    start = f"dW = {'-' if sign == '-' else ''}{text}"
    return start + "".join(f"{break_with}{sign} {text}" for sign, text in others)


def layers_text(layers: Sequence[int]) -> str:
    """Layers as text: `2, 3`, or `all` where none is named.

    Example:
        >>> layers_text((2, 3)), layers_text(())
        ('2, 3', 'all')
    """
    return ", ".join(map(str, layers)) or "all"


def _layers_behind(entry: PoolEntry) -> str:
    if not entry.layers:
        return ""
    return f" [layer{'s' if len(entry.layers) > 1 else ''} {layers_text(entry.layers)}]"


def _record(kind: type[RecordType], text: str) -> RecordType:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise RuleSearchError(f"not JSON at line {error.lineno} ({error.msg})") from None
    schema = value.get("schema_version") if isinstance(value, dict) else None
    if schema != SCHEMA_VERSION:
        raise RuleSearchError(
            f"schema_version is {plain(schema)!r}, and this rulesearch reads {SCHEMA_VERSION}"
        )
    try:
        record: RecordType = _convert(kind, value, "")
    except ValueError as error:
        raise RuleSearchError(str(error)) from None
    return record


def read_record(kind: type[RecordType], path: Path, way_out: str) -> RecordType:
    """The record of type `kind` that a file holds; its messages end with `way_out`.

    Raises:
        RuleSearchError: no such file, not JSON, another schema, or a field missing or wrong.
    """
    try:
        return _record(kind, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RuleSearchError(
            f"{path}: cannot be read ({error.strerror}); give the directory of a run"
        ) from None
    except UnicodeDecodeError:
        raise RuleSearchError(f"{path}: not a text file; {way_out}") from None
    except RuleSearchError as error:
        raise RuleSearchError(f"{path}: {error}; {way_out}") from None


def layout(value: Json) -> str:
    """Strict JSON for people: what fits on one line is on one line.

    Example:
        >>> print(layout({"support": ["F0", "F2"]}), end="")
        {"support": ["F0", "F2"]}
    """
    return _lines(value, indent=0, lead=0) + "\n"


def _lines(value: Json, indent: int, lead: int, width: int = 100) -> str:
    """`value` laid out behind `indent` spaces and `lead` characters of its own key."""
    flat = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or indent + lead + len(flat) < width:
        return flat
    if isinstance(value, dict):
        items = [(json.dumps(key, ensure_ascii=False) + ": ", item) for key, item in value.items()]
    else:
        items = [("", item) for item in value]
    inner = " " * (indent + 2)
    lines = [inner + key + _lines(item, indent + 2, len(key)) for key, item in items]
    left, right = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return f"{left}\n" + ",\n".join(lines) + f"\n{' ' * indent}{right}"
