"""What a figure or table of the paper is to the command line: a name and a function.

A module of this package has `TARGETS`, a mapping of names to `Target`s. A target is given a
`Setting` and answers with `Produced`: what it wrote, and what it found of the paper's claims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.paper.claims import Judged

#: Below it there is no interval over trials.
LEAST_TRIALS = 2


@dataclass(frozen=True, eq=False)
class Setting:
    """What is asked for on the command line.

    Attributes:
        out: where `figures/`, `tables/`, `verdicts/`, `runs/` and `RESULTS.md` go.
        data_root: folder in torchvision's layout; None downloads.
        trials: of every experiment that has 20 in the paper.
        meta_steps: of every experiment that has 600 in the paper; the others in proportion.
        seed: of everything.
        console: where progress goes.
    """

    out: Path
    data_root: Path | None = None
    trials: int = 20
    meta_steps: int = 600
    seed: int = 0
    console: Console = field(default_factory=lambda: Console(stderr=True))

    @property
    def runs(self) -> Path:
        """Folder of what was computed, read back by later calls; ignored by git."""
        return self.out / "runs"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.out / "figures"

    @property
    def tables(self) -> Path:
        """Folder of the numbers, as CSV."""
        return self.out / "tables"

    def steps(self, published: int) -> int:
        """Meta-steps in place of so many at full size, in proportion to `meta_steps`.

        Example:
            >>> Setting(Path(), meta_steps=6).steps(500), Setting(Path(), meta_steps=600).steps(500)
            (5, 500)
        """
        return max(1, round(published * self.meta_steps / 600))


@dataclass(frozen=True)
class Produced:
    """What came of a target.

    Attributes:
        caption: what was run: data, trials, meta-steps, seed, intervals.
        figures: files written.
        tables: files written.
        judged: claims, with what was found.
        seconds: that all of it took, also where parts were read back from an earlier call.
        skipped: why nothing was run, or None.
    """

    caption: str
    figures: tuple[Path, ...] = ()
    tables: tuple[Path, ...] = ()
    judged: tuple[Judged, ...] = ()
    seconds: float = 0.0
    skipped: str | None = None


@dataclass(frozen=True)
class Target:
    """A figure or table of the paper.

    Attributes:
        name: on the command line, such as fig3.
        title: in words.
        run: makes it.
    """

    name: str
    title: str
    run: Callable[[Setting], Produced]
