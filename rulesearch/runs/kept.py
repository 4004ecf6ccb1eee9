"""What stages leave in a run directory: their values, how far they are, and their history.

A stage's file holds its value and the meta-steps that led to it, its checkpoint a state and the
meta-steps so far: a row and what it led to are written together, so that a run that was killed
never has a row too many or too few. `history.jsonl` is made from these.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_plus

from rulesearch.errors import RuleSearchError
from rulesearch.records.documents import as_line, read_document, replace_file, sealed, writing
from rulesearch.records.plain import SCHEMA_VERSION, Count, Number, Record, from_plain, to_plain

LONGEST_NAME = 120  # of a stage's file, well below the 255 bytes of common file systems

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class HistoryRow(Record):
    """One meta-step.

    Attributes:
        stage: label of the fit.
        step: which, from 1.
        of: how many there are.
        loss: mean query loss, nats.
        accuracy: mean query accuracy, 0 to 1.
        theta: name -> raw coefficient it ran with.
        diverged: lifetimes that diverged.
        left_out: lifetimes without a finite loss and gradient.
        angles: degrees between the feedback's errors and backprop's, by layer, where looked at.
        taken: of a descent, whether the step was accepted,
        voted: and the lifetimes that have voted at the place where it is now.
    """

    stage: str
    step: Count
    of: Count
    loss: Number = None
    accuracy: Number = None
    theta: dict[str, Number] = field(default_factory=dict)
    diverged: Count = 0
    left_out: Count = 0
    angles: tuple[Number, ...] = ()
    taken: bool | None = None
    voted: Count = 0


@dataclass(frozen=True, kw_only=True)
class Kept(Record):
    """What the file of a stage, finished or under way, holds.

    Attributes:
        schema_version: of this layout.
        label: unique in the run.
        order: stages that a search comes to before this one.
        run: digest of the request, as `config.json` has it.
        made_with: versions, and the kernel, by which the numbers came about.
        seconds: that the run had taken when this was written.
        value: what the stage gave, or its state.
        history: its meta-steps so far.
    """

    schema_version: int = SCHEMA_VERSION
    label: str
    order: Count = 0
    run: str
    made_with: dict[str, str]
    seconds: Number
    value: Any
    history: tuple[HistoryRow, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run directory, as it is read and written.

    Attributes:
        path: of the directory.
        digest: of its request.
        made_with: versions, and the kernel, of this process; kept with what it writes.
        before: seconds that earlier processes worked on it.
        began: when this one began, on the monotonic clock.
    """

    path: Path
    digest: str
    made_with: Mapping[str, str]
    before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long the run has taken so far, over all processes."""
        return self.before + time.monotonic() - self.began


# Stages ------------------------------------------------------------------------------------------


def write_stage(
    run: Run, label: str, value: object, history: Sequence[HistoryRow] = (), order: int = 0
) -> None:
    """Keep what a finished stage gave; its checkpoint is no longer needed and goes.

    Args:
        run: the run.
        label: unique in the run; two labels never share a file.
        value: a record, or plain data.
        history: the meta-steps that led to it.
        order: stages before it.

    Raises:
        RuleSearchError: the file cannot be written; what was there before is untouched.
    """
    _write_kept(run, _path(run, "stages", label), label, value, history, order)
    checkpoint = _path(run, "checkpoints", label)
    with writing(checkpoint, go_on(run.path)):
        checkpoint.unlink(missing_ok=True)


def read_stage(run: Run, label: str, kind: type[Kind]) -> Kind | None:
    """What the stage of this label gave, or None if it is not finished.

    Raises:
        RuleSearchError: its file is damaged.
    """
    kept = _read_kept(run, _path(run, "stages", label), label)
    return None if kept is None else _value(run, "stages", kept, kind)


def write_checkpoint(
    run: Run, label: str, value: object, history: Sequence[HistoryRow] = (), order: int = 0
) -> None:
    """Keep the state of a stage under way, and its history, in place of its last checkpoint.

    Raises:
        RuleSearchError: the file cannot be written; the last checkpoint is untouched.
    """
    _write_kept(run, _path(run, "checkpoints", label), label, value, history, order)


def read_checkpoint(
    run: Run, label: str, kind: type[Kind]
) -> tuple[Kind, tuple[HistoryRow, ...]] | None:
    """The last state kept of a stage under way with the meta-steps that led to it, or None.

    Raises:
        RuleSearchError: its file is damaged.
    """
    kept = _read_kept(run, _path(run, "checkpoints", label), label)
    return None if kept is None else (_value(run, "checkpoints", kept, kind), kept.history)


def stage_labels(run: Run) -> list[str]:
    """Labels of the finished stages, in the order of the search."""
    return [kept.label for kept in all_kept(run, ("stages",))]


def makers(run: Run) -> list[dict[str, str]]:
    """With which versions and kernels the stages were made; each once, in order."""
    found: list[dict[str, str]] = []
    for kept in all_kept(run):
        if kept.made_with not in found:
            found.append(kept.made_with)
    return found


def _value(run: Run, folder: str, kept: Kept, kind: type[Kind]) -> Kind:
    try:
        return from_plain(kind, kept.value)
    except RuleSearchError as error:
        path = _path(run, folder, kept.label)
        raise RuleSearchError(*(f"{path}: {line}; {_DELETE}" for line in error.lines)) from None


_DELETE = "delete it to make that stage anew"


def file_stem(label: str) -> str:
    """A label as the name of a file, without its ending; two labels never share one."""
    name = quote_plus(label)
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 17]}-{hashlib.sha256(label.encode()).hexdigest()[:16]}"
    return name


def _path(run: Run, folder: str, label: str) -> Path:
    return run.path / folder / f"{file_stem(label)}.json"


def _write_kept(
    run: Run, path: Path, label: str, value: object, history: Sequence[HistoryRow], order: int
) -> None:
    kept = Kept(
        label=label,
        order=order,
        run=run.digest,
        made_with=dict(run.made_with),
        seconds=run.seconds,
        value=to_plain(value),
        history=tuple(history),
    )
    with writing(path, go_on(run.path)):
        path.parent.mkdir(exist_ok=True)
    replace_file(path, as_line(sealed(kept)), go_on(run.path))


def _read_kept(run: Run, path: Path, label: str | None = None) -> Kept | None:
    """What a file of a stage holds; None where there is none of this label."""
    try:
        kept = read_document(Kept, path, _DELETE)
    except FileNotFoundError:
        return None
    if kept.run != run.digest:
        raise RuleSearchError(f"{path}: belongs to another run; {_DELETE}")
    # Where a file system takes f0 and F0 for one name, the label inside decides.
    return kept if label in (None, kept.label) else None


def all_kept(run: Run, folders: Sequence[str] = ("stages", "checkpoints")) -> list[Kept]:
    """Everything kept, in the order of the search.

    Raises:
        RuleSearchError: a file is damaged.
    """
    paths = (path for folder in folders for path in (run.path / folder).glob("*.json"))
    found = (_read_kept(run, path) for path in sorted(paths))
    return sorted((kept for kept in found if kept), key=lambda kept: (kept.order, kept.label))


def go_on(directory: Path) -> str:
    """The way out where a run's files cannot be written."""
    return f"make room or give permission, then go on by --resume {directory}"


# History ----------------------------------------------------------------------------------------


def history(run: Run) -> list[dict[str, Any]]:
    """The meta-steps so far as plain data, stage by stage; of a stage under way to its checkpoint.

    Raises:
        RuleSearchError: a file is damaged.
    """
    # A stage that has ended stands behind its last checkpoint, and takes its place.
    done = {kept.label: kept for kept in all_kept(run)}
    return [to_plain(row) for kept in done.values() for row in kept.history]


def append_history(run: Run, row: HistoryRow) -> None:
    """Add one meta-step to `history.jsonl`, for those who watch.

    Raises:
        RuleSearchError: the file cannot be written.
    """
    path = run.path / "history.jsonl"
    with writing(path, go_on(run.path)), path.open("a", encoding="utf-8") as file:
        file.write(as_line(to_plain(row)))


def write_history(run: Run) -> None:
    """Write `history.jsonl` anew, from the stages.

    Raises:
        RuleSearchError: a stage is damaged, or the file cannot be written.
    """
    text = "".join(as_line(row) for row in history(run))
    replace_file(run.path / "history.jsonl", text, go_on(run.path))
