"""JSON documents on disk: laid out for people, sealed by a digest, replaced whole.

The seal is a digest of the content, kept in the field `digest` beside it. It is there to find what
was changed by accident, by an editor or by a disk; whoever means to can write another.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from rulesearch.errors import RuleSearchError
from rulesearch.records.plain import SCHEMA_VERSION, Json, from_plain, to_plain

RecordType = TypeVar("RecordType")

_TEMPORARY = ".*.tmp"


# Text --------------------------------------------------------------------------------------------


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


def digest_of(value: Json) -> str:
    """A digest of plain data that does not hang on their layout, 64 hexadecimal digits."""
    text = json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(record: object) -> dict[str, Any]:
    """A record as plain data with its digest, as a document holds it."""
    value = to_plain(record)
    return {**value, "digest": digest_of(value)}


def unsealed(kind: type[RecordType], text: str) -> RecordType:
    """The record in a document's text.

    Raises:
        RuleSearchError: not JSON, another schema, a field that is missing or wrong, or a content
            that does not fit its digest.
    """
    value = _parsed(text)
    if not isinstance(value, dict):
        raise RuleSearchError("not a JSON object")
    schema = value.get("schema_version")
    if schema != SCHEMA_VERSION or isinstance(schema, bool):
        shown = json.dumps(schema)
        shown = shown if len(shown) <= 20 else "something else"
        raise RuleSearchError(
            f"schema_version is {shown}, and this rulesearch reads {SCHEMA_VERSION}"
        )
    digest = value.pop("digest", None)
    record = from_plain(kind, value)
    try:
        fits = digest == digest_of(value)
    except ValueError:  # 1e999 is read as infinity
        fits = False
    if not fits:
        raise RuleSearchError("its content does not fit its digest, so it was changed or damaged")
    return record


def _parsed(text: str) -> Json:
    def refused(constant: str) -> None:
        raise RuleSearchError(f"{constant} is not strict JSON")

    try:
        return json.loads(text, parse_constant=refused)
    except json.JSONDecodeError as error:
        raise RuleSearchError(f"not JSON at line {error.lineno} ({error.msg})") from None
    except (ValueError, RecursionError):  # an integer of thousands of digits; lists in lists
        raise RuleSearchError("no JSON of ours (a number or a nesting without end)") from None


# Files -------------------------------------------------------------------------------------------


def read_document(kind: type[RecordType], path: Path, way_out: str) -> RecordType:
    """The record of type `kind` that a file holds; its messages end with `way_out`.

    Raises:
        RuleSearchError: no such file, or none that `unsealed` takes.
        FileNotFoundError: there is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RuleSearchError(f"{path}: cannot be read ({error.strerror}); {way_out}") from None
    except UnicodeDecodeError:
        raise RuleSearchError(f"{path}: not a text file; {way_out}") from None
    try:
        return unsealed(kind, text)
    except RuleSearchError as error:
        raise RuleSearchError(*(f"{path}: {line}; {way_out}" for line in error.lines)) from None


def replace_file(path: Path, content: str | bytes, way_out: str) -> None:
    """Write a file, text or bytes, so that a crash leaves either the old content or the new, whole.

    Raises:
        RuleSearchError: it cannot be written; what was there before is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    with writing(path, way_out):
        if path.exists() and not (path.is_file() or path.is_dir()):
            with path.open("wb") as file:  # a pipe or a device is written to, and stays one
                file.write(data)
            return
        path = path.resolve()  # what a link leads to is replaced, and not the link
        # Named after the process too: two that write one file do not write into each other's.
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:  # an interrupt too leaves no litter
            with suppress(OSError):
                temporary.unlink()
            raise


def remove_temporaries(folder: Path) -> None:
    """Remove what processes that were killed within `replace_file` have left in a folder."""
    for path in folder.glob(_TEMPORARY):
        path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a file is one that `replace_file` had under way."""
    return path.match(_TEMPORARY)


@contextmanager
def writing(path: Path, way_out: str) -> Iterator[None]:
    """Turns what the file system refuses into a message that names the file.

    Raises:
        RuleSearchError: in place of every OSError.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # pathlib calls a link to itself the latter
        reason = getattr(error, "strerror", None) or error
        raise RuleSearchError(f"{path}: cannot be written ({reason}); {way_out}") from None


def as_line(value: Mapping[str, Any]) -> str:
    """Plain data as one line of strict JSON."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False) + "\n"
