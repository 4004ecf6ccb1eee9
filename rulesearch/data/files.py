"""Whether a data set can be had: its name, and its files, before anything that reads them."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from rulesearch.errors import RuleSearchError

NO_FILES_NEEDED = "use --dataset digits, which needs no files"


@dataclass(frozen=True)
class TorchvisionSet:
    """A data set that torchvision reads: its class there, and how its files begin."""

    dataset: str
    classes: int
    train: str
    test: str
    options: tuple[tuple[str, str], ...] = ()

    def files(self) -> list[str]:
        """The files it needs, relative to the root; without one of them it is not complete."""
        return [
            f"{self.dataset}/raw/{split}-{kind}-ubyte"
            for split in (self.train, self.test)
            for kind in ("images-idx3", "labels-idx1")
        ]

    def first_missing(self, folder: Path) -> str | None:
        """The first of its files that is not in a folder, or None."""
        return next((file for file in self.files() if not (folder / file).is_file()), None)


TORCHVISION = {
    "emnist": TorchvisionSet(
        "EMNIST", 47, "emnist-balanced-train", "emnist-balanced-test", (("split", "balanced"),)
    ),
    "mnist": TorchvisionSet("MNIST", 10, "train", "t10k"),
    "fashion-mnist": TorchvisionSet("FashionMNIST", 10, "train", "t10k"),
}

#: Inputs and classes of the data sets with names.
KNOWN_ENDS = {"digits": (64, 10), **{name: (784, row.classes) for name, row in TORCHVISION.items()}}


def names_in(text: str) -> tuple[str, ...]:
    """The data sets that a text with commas names; a file's own name may have some.

    Example:
        >>> names_in("emnist,mnist"), names_in("digits,data/a,b.npz")
        (('emnist', 'mnist'), ('digits', 'data/a,b.npz'))
    """
    names: list[str] = []
    pieces: list[str] = []
    for piece in text.split(","):
        pieces.append(piece if pieces else piece.lstrip())
        name = ",".join(pieces).rstrip()
        if name in KNOWN_ENDS or name.lower().endswith(".npz"):
            names.append(name)
            pieces = []
    return (*names, *pieces)


def look_for(name: str, root: str | Path | None) -> None:
    """Refuse a data set that is not known, or whose files are not where they are said to be.

    What can be downloaded need not be there. See `rulesearch.data.load_data` for both arguments.

    Raises:
        RuleSearchError: unknown name, or a missing file or folder.
    """
    if row := TORCHVISION.get(name):
        if root is not None:
            _look_in(row, Path(root))
    elif Path(name).suffix.lower() == ".npz":
        if not _is_file(Path(name)):
            raise RuleSearchError("no such file; give a file that numpy.savez wrote")
    elif name != "digits":
        names = ["digits", *TORCHVISION]
        choices = f"{', '.join(names)}, or a file FILE.npz"
        close = difflib.get_close_matches(name.lower(), names, n=1)
        if close:
            raise RuleSearchError(f"unknown data set; did you mean {close[0]}? ({choices})")
        raise RuleSearchError(f"unknown data set; choose {choices}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a name too long for any file, a folder closed to the user
        raise RuleSearchError(f"cannot be read ({error.strerror})") from error


def _look_in(row: TorchvisionSet, root: Path) -> None:
    if not root.is_dir():
        raise RuleSearchError(
            f"--data-root {root} is not a folder; point it at one in torchvision's layout, or "
            f"{NO_FILES_NEEDED}"
        )
    if missing := row.first_missing(root):
        raise RuleSearchError(
            f"no {missing} under --data-root {root}; point it at a folder in torchvision's layout, "
            f"leave it out to have the files downloaded, or {NO_FILES_NEEDED}"
        )


def download_folder() -> Path:
    """Where downloads are kept: `rulesearch` in $XDG_CACHE_HOME, by default ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "rulesearch"
