"""The run directory: plain data to and from files. Computes nothing.

    runs/bio/
      config.json          the request: the pool as text, options, a digest of the data, versions
      stages/LABEL.json    what a finished stage gave, with its history
      checkpoints/         the same names: how far a stage under way is
      history.jsonl        all history, one meta-step a line, to look at while it grows
      hall_of_fame.csv     the best rules of each size, likewise, where the protocol looks for them
      tensorboard/         likewise, for TensorBoard, where it was asked for
      report.html          all of it as one page
      result.json          the answer, a `rulesearch.result.Result`, by which a run is finished
      result_so_far.json   the same of a search that a time limit stopped, until it is finished

`config.json` is written first and claims the directory; a file that is replaced is replaced at
once. A crash at any moment leaves a directory that `--resume` can go on with, to the same result
and the same history: a stage's rows are in one file with the state that they led to, and
`history.jsonl` is written anew from those. Every file but that one carries a digest of its content,
stages and checkpoints also that of the request they belong to. One process at a time works on a
run; it holds a lock that ends with it.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rulesearch.data.files import names_in
from rulesearch.errors import RuleSearchError
from rulesearch.records.documents import (
    digest_of,
    is_temporary,
    layout,
    read_document,
    remove_temporaries,
    replace_file,
    sealed,
    writing,
)
from rulesearch.records.plain import SCHEMA_VERSION, Count, Record, to_plain
from rulesearch.result import SO_FAR, Result
from rulesearch.runs.kept import Run, all_kept, go_on, history, write_history
from rulesearch.runs.lock import LOCK, alone

#: Files of a run that are not figures.
OWN = (
    *("config.json", "history.jsonl", "hall_of_fame.csv", "report.html", "rule.tex"),
    *("result.json", SO_FAR, LOCK),
)
PACKAGES = ("rulesearch", "torch", "sympy", "numpy", "scipy", "numba")  # what numbers depend on


@dataclass(frozen=True, kw_only=True)
class RunConfig(Record):
    """The request, complete: a run goes on from this alone, without its grammar file.

    Attributes:
        pool: the pool as text, all that the notation needs to build it again.
        options: name -> value of every option, defaults filled in, paths absolute.
        data: digest of the images, see `Data.digest`; "" if they are not known.
        versions: name -> version of what the numbers depend on, and the kernel, at its start.
        command: the words of the command line that began it, as they were given; empty from Python.
            It is told, and hangs on nothing: two runs of one request may differ in it.
        schema_version: of this layout.
    """

    schema_version: Count = SCHEMA_VERSION
    pool: dict[str, Any]
    options: dict[str, Any]
    data: str = ""
    versions: dict[str, str]
    command: tuple[str, ...] = ()


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
        dataset: name of the data set, or a file, whose stem is taken; several have a + between.
        seed: of the run.
        parent: where runs are kept.
    """
    data = "+".join(Path(name).stem for name in names_in(dataset))
    base, k = f"{stem}-{data}-seed{seed}", 1
    while (parent / f"{base}-{k}").exists():
        k += 1
    return parent / f"{base}-{k}"


def look_at(directory: Path, option: str = "--out") -> None:
    """Refuse a directory that no run can have; creates nothing.

    A run that is there already is left to `create_run`, which says how it differs.

    Args:
        directory: that was asked for.
        option: by which it was: the command's, or the name of an argument.

    Raises:
        RuleSearchError: a file is in the way, other files are there, or it cannot be written.
    """
    label = f"{option} {directory}"
    there = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise RuleSearchError(
            f"{label}: {there} is not a directory; choose another {option}; nothing was changed"
        )
    listed = os.R_OK if there == directory else 0
    if not os.access(there, os.W_OK | os.X_OK | listed):
        raise RuleSearchError(
            f"{label}: cannot be written ({os.strerror(errno.EACCES)}); choose another {option}"
        )
    found = sorted(
        path.name
        for path in (directory.iterdir() if listed else ())
        if path.name != LOCK and not is_temporary(path)  # of one that was killed at its beginning
    )
    if found and "config.json" not in found:
        raise RuleSearchError(
            f"{label}: is not empty and holds no run ({found[0]} is there); "
            f"choose another {option}; nothing was changed"
        )


def create_run(directory: Path, config: RunConfig, option: str = "--out") -> None:
    """Claim a directory that is new or empty, and write the request there.

    Of two processes that ask for the same directory one has it, the other gets the refusal. The
    request must be known to be valid: this is the first thing that a search writes.

    Args:
        directory: see `look_at`.
        config: the request.
        option: see `look_at`.

    Raises:
        RuleSearchError: it holds a run or other files, is a file, or cannot be written.
    """
    label, another = f"{option} {directory}", f"choose another {option}"
    look_at(directory, option)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuleSearchError(f"{label}: cannot be written ({error.strerror}); {another}") from None
    _refuse_run(directory, config, option)
    with alone(directory, label):
        _refuse_run(directory, config, option)  # another process may have been quicker
        remove_temporaries(directory)
        replace_file(directory / "config.json", layout(sealed(config)), another)


def _refuse_run(directory: Path, config: RunConfig, option: str) -> None:
    if holds_run(directory):
        there = _what_is_there(directory, config)
        raise RuleSearchError(
            f"{option} {directory}: already holds a run ({there}); go on with it "
            f"by --resume {directory}, or choose another {option}; nothing was changed"
        )


def _what_is_there(directory: Path, asked: RunConfig) -> str:
    """In words: how the run that is there differs from the one asked for, and how far it is."""
    try:
        there = open_run(directory)
        history = read_history(directory)
    except RuleSearchError:
        return "damaged, or of another version"
    if there.pool != asked.pool:
        difference = "another pool"
    elif there.options != asked.options:
        difference = "other options"
    else:
        difference = "the same request"
    if is_finished(directory):
        return f"{difference}, finished"
    if not history:
        return f"{difference}, not a meta-step made"
    return f"{difference}, {history[-1]['step']} of {history[-1]['of']} meta-steps"


def holds_run(directory: Path) -> bool:
    """Whether there is a run, whatever its state."""
    return (directory / "config.json").is_file()


def refuse_own(path: Path, but: str = "") -> None:
    """Refuse to write over what a run keeps.

    Args:
        path: of a file that is to be written.
        but: the name of one that may be.

    Raises:
        RuleSearchError: a run's own file, or one beside its stages.
    """
    if path.name != but and path.name in OWN and holds_run(path.parent):
        raise RuleSearchError(f"--out {path}: what the run keeps; give another name")


def is_finished(directory: Path) -> bool:
    """Whether the run has its result, which is the last that is written."""
    return (directory / "result.json").exists()


def open_run(directory: Path) -> RunConfig:
    """The request of a run that is to go on.

    Raises:
        RuleSearchError: no run there, or its `config.json` is broken.
    """
    try:
        return read_document(
            RunConfig,
            directory / "config.json",
            "it cannot go on; begin a new run in another directory",
        )
    except FileNotFoundError:
        problem = "holds no run (no config.json)" if directory.is_dir() else "no such directory"
        raise RuleSearchError(
            f"{directory}: {problem}; give the directory that --out named"
        ) from None


# One process at a time ---------------------------------------------------------------------------


@contextmanager
def at_work(directory: Path, made_with: Mapping[str, str], label: str) -> Iterator[Run]:
    """A run that this process has to itself, tidied of what a killed one left.

    Args:
        directory: of a run.
        made_with: see `Kept`.
        label: what the run is called, in the words of whoever asked.

    Raises:
        RuleSearchError: no run there, another process works on it, or a file of it is damaged.
    """
    digest = _digest(open_run(directory))
    with alone(directory, label):
        _tidy(directory)
        run = Run(directory, digest, dict(made_with))
        kept = all_kept(run)
        if kept and not is_finished(directory):
            write_history(run)
        yield replace(run, before=max((k.seconds or 0.0 for k in kept), default=0.0))


def _tidy(directory: Path) -> None:
    """Remove what a process left that was killed; only for who holds the lock."""
    stages, checkpoints = directory / "stages", directory / "checkpoints"
    with writing(directory, go_on(directory)):
        for folder in (directory, stages, checkpoints):
            remove_temporaries(folder)
        for path in checkpoints.glob("*.json"):
            if (stages / path.name).exists():  # killed between a stage's end and this removal
                path.unlink()


def tidy(directory: Path) -> None:
    """Remove what a process left that was killed, unless one is at work there."""
    with suppress(RuleSearchError), alone(directory, ""):
        _tidy(directory)


def _digest(config: RunConfig) -> str:
    plain = to_plain(config)
    del plain["command"]
    return digest_of(plain)


def reading(directory: Path) -> Run:
    """A run to be read only.

    Raises:
        RuleSearchError: no run there, or its `config.json` is broken.
    """
    return Run(directory, _digest(open_run(directory)), {})


# Reading and finishing ---------------------------------------------------------------------------


def read_history(directory: Path) -> list[dict[str, Any]]:
    """The meta-steps of a run so far, see `rulesearch.runs.kept.history`.

    Raises:
        RuleSearchError: no run there, or a file of it is damaged.
    """
    return history(reading(directory))


def write_hall(run: Path, table: str) -> None:
    """Write `hall_of_fame.csv`, in place of what was known before.

    Raises:
        RuleSearchError: the file cannot be written.
    """
    replace_file(run / "hall_of_fame.csv", table, go_on(run))


def write_rule(run: Path, latex: str) -> None:
    """Write `rule.tex`.

    Raises:
        RuleSearchError: the file cannot be written.
    """
    replace_file(run / "rule.tex", latex, go_on(run))


def write_report(run: Path, page: str) -> None:
    """Write `report.html`.

    Raises:
        RuleSearchError: the file cannot be written.
    """
    replace_file(run / "report.html", page, go_on(run))


def write_result(run: Path, result: Result) -> None:
    """Write `result.json`, or `result_so_far.json` where a time limit has stopped the search.

    A run is finished where it has a `result.json`; one that has not can go on.

    Raises:
        RuleSearchError: the file cannot be written.
    """
    so_far = run / SO_FAR
    if result.stopped:
        replace_file(so_far, result.to_json(), go_on(run))
        return
    with writing(so_far, go_on(run)):
        so_far.unlink(missing_ok=True)
    replace_file(run / "result.json", result.to_json(), go_on(run))
