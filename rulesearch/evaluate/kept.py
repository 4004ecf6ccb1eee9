"""What is measured is kept at once, a line each, so that a grid that was stopped can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rulesearch.errors import RuleSearchError
from rulesearch.records.documents import as_line, digest_of, writing
from rulesearch.records.plain import from_plain, to_plain
from rulesearch.runs.lock import LOCK, alone

CELLS = "cells.jsonl"
#: Of the meaning of a line; with another one nothing is read back.
LAYOUT = 4

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Kept:
    """Lines by what they hang on: the answer of a measurement behind the digest of its question.

    Attributes:
        path: of the file, or None to keep nothing on disk.
        lines: digest -> answer as plain data.
    """

    path: Path | None = None
    lines: dict[str, Any] = field(default_factory=dict)

    def get(self, question: object, kind: type[Kind]) -> Kind | None:
        """The answer, if it is known."""
        answer = self.lines.get(_key(question))
        return None if answer is None else from_plain(kind, answer)

    def put(self, question: object, answer: object) -> None:
        """Keep an answer, on disk before this returns.

        Raises:
            RuleSearchError: the file cannot be written.
        """
        key, plain = _key(question), to_plain(answer)
        self.lines[key] = plain
        if self.path is None:
            return
        with (
            writing(self.path, "give --out another folder"),
            self.path.open("a", encoding="utf-8") as file,
        ):
            line = {"key": key, "answer": plain}
            file.write(as_line({**line, "digest": digest_of(line)}))
            file.flush()
            os.fsync(file.fileno())


def _key(question: object) -> str:
    return digest_of({"layout": LAYOUT, "question": to_plain(question)})


@contextmanager
def keeping(folder: Path | None) -> Iterator[Kept]:
    """What a folder keeps, for this process alone; it is made if it is not there.

    A last line that was not written to its end is taken off.

    Raises:
        RuleSearchError: the folder holds something else, cannot be written, or is in use.
    """
    if folder is None:
        yield Kept()
        return
    look_at(folder)
    with writing(folder, "give --out another folder"):
        folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, f"--out {folder}"):
        path = folder / CELLS
        yield Kept(path, _read(path))


def look_at(folder: Path) -> None:
    """Refuse a folder that holds something else.

    Raises:
        RuleSearchError: it does, or is none.
    """
    if folder.exists() and not folder.is_dir():
        raise RuleSearchError(f"--out {folder}: not a folder; give another one")
    if folder.is_dir():
        there = [each.name for each in folder.iterdir() if each.name != LOCK]
        if there and CELLS not in there:
            raise RuleSearchError(
                f"--out {folder}: holds {sorted(there)[0]} and no {CELLS}; give another folder, or "
                "one of an evaluation that is to go on"
            )


def _read(path: Path) -> dict[str, Any]:
    lines: dict[str, Any] = {}
    if not path.exists():
        return lines
    whole = 0
    with writing(path, "give --out another folder"):
        content = path.read_bytes()
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            break  # a process was killed while it wrote this one
        try:
            row = json.loads(line)
            digest = row.pop("digest")
            lines[row["key"]] = row["answer"]
        except (ValueError, KeyError, TypeError, AttributeError):
            digest, row = None, None
        if row is None or digest != digest_of(row):
            raise RuleSearchError(
                f"{path}: line {number} is damaged, or of another version; take it out, or give "
                "another --out"
            )
        whole += len(line)
    if whole < len(content):
        with writing(path, "give --out another folder"), path.open("r+b") as file:
            file.truncate(whole)
    return lines
