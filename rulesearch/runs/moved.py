"""A run directory as its files, to be taken to another machine and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rulesearch.records.documents import is_temporary, replace_file, writing
from rulesearch.runs.lock import LOCK, alone

#: The first and the last file of a run: what claims the directory, and what finishes it.
FIRST, LAST = "config.json", "result.json"
ANOTHER = "give permission, or choose another directory"


def files_of(directory: Path) -> dict[str, bytes]:
    """Its files, by their paths in it; empty where there is no such directory.

    Raises:
        RuleSearchError: one cannot be read, or another process works on it.
    """
    if not directory.is_dir():
        return {}
    with alone(directory, str(directory)), writing(directory, ANOTHER):
        return {
            path.relative_to(directory).as_posix(): path.read_bytes() for path in _files(directory)
        }


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Make a directory hold these files, of one run, and no others.

    The result is written last, so that a run that was not written to its end is not finished, and
    can go on.

    Raises:
        RuleSearchError: one cannot be written, or another process works on it.
    """
    if not files:
        return
    with writing(directory, ANOTHER):
        directory.mkdir(parents=True, exist_ok=True)
    order = sorted(files, key=lambda name: (name == LAST, name != FIRST, name))
    with alone(directory, str(directory)):
        for name in order:
            path = directory / name
            with writing(path, ANOTHER):
                path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, files[name], ANOTHER)
        with writing(directory, ANOTHER):
            for path in _files(directory):
                if path.relative_to(directory).as_posix() not in files:
                    path.unlink()


def _files(directory: Path) -> list[Path]:
    return [
        path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != LOCK and not is_temporary(path)
    ]
