"""The run directory: plain data to and from files. Computes nothing.

    runs/bio/
      config.json          the request: the pool as text, options, versions
      history.jsonl        one meta-step a line
      stages/LABEL.json    what a finished stage gave
      checkpoints/         the same names: how far a stage under way is
      result.json          the answer, a `rulesearch.result.Result`

`config.json` is written first and claims the directory; a file that is replaced is replaced at
once. A crash at any moment leaves a directory that `--resume` can go on with. One process writes
a run; stages and checkpoints hold whatever JSON their caller gives, and there NaN and Infinity
are kept (Python's own extension of JSON), so that a resumed search sees the numbers of an
unbroken one to the bit.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from rulesearch.errors import RuleSearchError
from rulesearch.result import SCHEMA_VERSION, Json, Record, Result, layout, plain, read_record

PACKAGES = ("rulesearch", "torch", "sympy", "numpy", "scipy", "numba")  # what numbers depend on
LONGEST_NAME = 120  # of a stage's file, well below the 255 bytes of common file systems


@dataclass(frozen=True, kw_only=True)
class RunConfig(Record):
    """The request, complete: a run goes on from this alone, without its grammar file.

    Attributes:
        pool: the pool as text, all that the notation needs to build it again.
        options: name -> value of every option, the seed among them.
        versions: name -> version at the start of the run.
        schema_version: of this layout.
    """

    schema_version: int = SCHEMA_VERSION
    pool: dict[str, Any]
    options: dict[str, Any]
    versions: dict[str, str]


def versions() -> dict[str, str]:
    """What the numbers depend on: Python, the platform, and the packages that compute.

    Nothing is imported for it: the versions are those of the installed distributions.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"  # such as rulesearch, run from its source folder
    return found


# Creating and opening ----------------------------------------------------------------------------


def default_directory(stem: str, dataset: str, seed: int, parent: Path = Path("runs")) -> Path:
    """The first `parent/STEM-DATASET-seedSEED-K` that is free, K from 1; creates nothing.

    Args:
        stem: of the grammar file, or a word for a pool given as text.
        dataset: name of the data set, or a file, whose stem is taken.
        seed: of the run.
        parent: where runs are kept.
    """
    base, k = f"{stem}-{Path(dataset).stem}-seed{seed}", 1
    while (parent / f"{base}-{k}").exists():
        k += 1
    return parent / f"{base}-{k}"


def look_at(directory: Path) -> None:
    """Refuse a directory that no run can have; creates nothing.

    A run that is there already is left to `create_run`, which says how it differs.

    Raises:
        RuleSearchError: a file is in the way, other files are there, or it cannot be written.
    """
    where = f"--out {directory}"
    there = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise RuleSearchError(
            f"{where}: {there} is not a directory; choose another --out; nothing was changed"
        )
    listed = os.R_OK if there == directory else 0
    if not os.access(there, os.W_OK | os.X_OK | listed):
        raise RuleSearchError(
            f"{where}: cannot be written ({os.strerror(errno.EACCES)}); choose another --out"
        )
    found = sorted(path.name for path in directory.iterdir()) if listed else []
    if found and "config.json" not in found:
        raise RuleSearchError(
            f"{where}: is not empty and holds no run ({found[0]} is there); "
            "choose another --out; nothing was changed"
        )


def create_run(directory: Path, config: RunConfig) -> None:
    """Claim a directory that is new or empty, and write the request there.

    Of two processes that ask for the same directory one has it, the other gets the refusal. The
    request must be known to be valid: this is the first thing that a search writes.

    Raises:
        RuleSearchError: it holds a run or other files, is a file, or cannot be written.
    """
    where = f"--out {directory}"
    look_at(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "config.json").open("x", encoding="utf-8") as file:  # the claim
            file.write(layout(plain(config)))
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise RuleSearchError(
            f"{where}: already holds a run ({_what_is_there(directory, config)}); go on with it "
            f"by --resume {directory}, or choose another --out; nothing was changed"
        ) from None
    except OSError as error:
        raise RuleSearchError(
            f"{where}: cannot be written ({error.strerror}); choose another --out"
        ) from None


def _what_is_there(directory: Path, asked: RunConfig) -> str:
    """In words: how the run that is there differs from the one asked for, and how far it is."""
    try:
        there = open_run(directory)
        history = read_history(directory)
    except RuleSearchError:
        return "just begun, or damaged"
    if there.pool != asked.pool:
        difference = "another pool"
    elif there.options != asked.options:
        difference = "other options"
    else:
        difference = "the same request"
    if (directory / "result.json").exists():
        return f"{difference}, finished"
    if not history:
        return f"{difference}, not a meta-step made"
    return f"{difference}, {history[-1].get('step')} of {history[-1].get('of')} meta-steps"


def open_run(directory: Path) -> RunConfig:
    """The request of a run that is to go on.

    Raises:
        RuleSearchError: no run there, or its `config.json` is broken.
    """
    if not (directory / "config.json").is_file():
        problem = "holds no run (no config.json)" if directory.is_dir() else "no such directory"
        raise RuleSearchError(
            f"--resume {directory}: {problem}; give the directory that --out named"
        )
    way_out = "it cannot go on; start the search anew"
    return read_record(RunConfig, directory / "config.json", way_out)


# History -----------------------------------------------------------------------------------------


def append_history(run: Path, row: Mapping[str, object]) -> None:
    """Add one meta-step (strict JSON: null where a number is not finite).

    Args:
        run: the directory.
        row: what is to be kept; `stage` and `step` (counted from 1) say which meta-step it is.

    Raises:
        RuleSearchError: the file cannot be written.
    """
    path = run / "history.jsonl"
    line = json.dumps(plain(row), allow_nan=False, ensure_ascii=False) + "\n"
    with _writing(path, run), path.open("a+b") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
        if file.read(1) not in (b"", b"\n"):  # a crash tore the last line: that one is made again
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode())


def read_history(run: Path) -> list[dict[str, Any]]:
    """The meta-steps so far, in the order first made.

    A last line torn by a crash is left out. A run that goes on from a checkpoint makes a few
    meta-steps again: the later row of the same `stage` and `step` takes the place of the earlier.

    Raises:
        RuleSearchError: a line in the middle that is no JSON object.
    """
    path = run / "history.jsonl"
    if not path.exists():
        return []
    *lines, _torn_or_empty = path.read_bytes().split(b"\n")
    rows: dict[object, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:  # neither JSON nor UTF-8
            row = None
        if not isinstance(row, dict):
            raise RuleSearchError(
                f"{path}, line {number}: not a JSON object; delete that line to go on"
            )
        key = (row["stage"], row["step"]) if {"stage", "step"} <= row.keys() else number
        rows[key] = row
    return list(rows.values())


# Stages ------------------------------------------------------------------------------------------


def write_stage(run: Path, label: str, value: Json) -> None:
    """Keep what a finished stage gave; its checkpoint is no longer needed and goes.

    Args:
        run: the directory.
        label: unique in the run; two labels never share a file.
        value: anything JSON, NaN and Infinity included.

    Raises:
        RuleSearchError: the file cannot be written; what was there before is untouched.
    """
    _write_labelled(run, _stage_path(run, label), label, value)
    with _writing(_checkpoint_path(run, label), run):
        _checkpoint_path(run, label).unlink(missing_ok=True)


def read_stage(run: Path, label: str) -> Json:
    """What the stage of this label gave, or None if it is not finished.

    Raises:
        RuleSearchError: its file is broken.
    """
    return _read_labelled(_stage_path(run, label), label)


def write_checkpoint(run: Path, label: str, value: Json) -> None:
    """Keep the state of a stage under way, in place of its last checkpoint.

    Raises:
        RuleSearchError: the file cannot be written; the last checkpoint is untouched.
    """
    _write_labelled(run, _checkpoint_path(run, label), label, value)


def read_checkpoint(run: Path, label: str) -> Json:
    """The last state kept of a stage under way, or None.

    Raises:
        RuleSearchError: its file is broken.
    """
    return _read_labelled(_checkpoint_path(run, label), label)


def write_result(run: Path, result: Result) -> None:
    """Write `result.json`.

    Raises:
        RuleSearchError: the file cannot be written.
    """
    _replace(run, run / "result.json", result.to_json())


def _file_stem(label: str) -> str:
    name = quote_plus(label)
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 17]}-{hashlib.sha256(label.encode()).hexdigest()[:16]}"
    return name


def _stage_path(run: Path, label: str) -> Path:
    return run / "stages" / f"{_file_stem(label)}.json"


def _checkpoint_path(run: Path, label: str) -> Path:
    return run / "checkpoints" / f"{_file_stem(label)}.json"


def _write_labelled(run: Path, path: Path, label: str, value: Json) -> None:
    with _writing(path, run):
        path.parent.mkdir(exist_ok=True)
    _replace(run, path, json.dumps({"label": label, "value": value}, ensure_ascii=False) + "\n")


def _read_labelled(path: Path, label: str) -> Json:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        # Where a file system takes f0 and F0 for one name, the label inside decides.
        return held["value"] if held["label"] == label else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):
        raise RuleSearchError(
            f"{path}: cannot be read; delete it to make that stage anew"
        ) from None


# Writing -----------------------------------------------------------------------------------------


def _replace(run: Path, path: Path, text: str) -> None:
    """Write a file so that a crash leaves either the old content or the new, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _writing(path, run):
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:  # an interrupt too leaves no litter
            with suppress(OSError):
                temporary.unlink()
            raise


@contextmanager
def _writing(path: Path, run: Path) -> Iterator[None]:
    """Turns what the file system refuses into a message that names the file."""
    try:
        yield
    except OSError as error:
        raise RuleSearchError(
            f"{path}: cannot be written ({error.strerror}); make room or give permission, "
            f"then go on by --resume {run}"
        ) from None
