"""`python -m benchmarks.paper TARGET... --data-root DIR`: figures, tables, verdicts."""

from __future__ import annotations

import argparse
import difflib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from rich.console import Console
from rich.text import Text

from benchmarks.paper import (
    eqs2,
    fig1,
    fig3,
    fig4,
    fig6,
    fig8,
    figs4,
    figs5,
    figs6,
    figs7,
    further,
    rules,
    style,
    table1,
)
from benchmarks.paper.report import keep, tally, write_results
from benchmarks.paper.targets import LEAST_TRIALS, Setting, Target
from rulesearch.errors import RuleSearchError

DONE, REFUSED, INTERRUPTED = 0, 2, 130
_FOUND: Mapping[str, Target] = {
    **fig1.TARGETS, **fig3.TARGETS, **fig4.TARGETS, **rules.TARGETS, **fig6.TARGETS,
    **table1.TARGETS, **fig8.TARGETS, **figs4.TARGETS, **figs5.TARGETS, **figs6.TARGETS,
    **figs7.TARGETS, **eqs2.TARGETS, **further.TARGETS,
}  # fmt: skip
#: In the order of the paper; what has no number comes last.
ORDER = (
    *("fig1", "fig3", "fig4", "fig5", "fig6", "table1", "fig7", "fig8"),
    *("figS1", "figS2", "figS3", "eqS2", "figS4", "figS5", "figS6", "figS7"),
)
TARGETS: Mapping[str, Target] = {
    **{name: _FOUND[name] for name in ORDER},
    **_FOUND,
}


@dataclass(frozen=True, eq=False)
class Command:
    """What the command line asked for.

    Attributes:
        targets: in the order of the paper, each once.
        setting: how large, and where to.
        threads: of torch and of the kernels; None leaves both as they are.
    """

    targets: tuple[Target, ...]
    setting: Setting
    threads: int | None


def read(arguments: Sequence[str]) -> Command:
    """The command line as data.

    Raises:
        RuleSearchError: unknown targets or options, or values that cannot be.
    """
    parser = _Parser(
        prog="python -m benchmarks.paper",
        description="Figures and tables of the paper, with a verdict on each of its claims.",
        epilog="targets: " + "; ".join(f"{t.name}, {t.title}" for t in TARGETS.values()),
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="see below, or all")
    parser.add_argument("--data-root", type=Path, help="folder in torchvision's layout")
    parser.add_argument("--out", type=Path, default=KEPT)
    parser.add_argument("--trials", type=int, default=20, help="where the paper has 20 (20)")
    parser.add_argument("--meta-steps", type=int, default=600, help="where it has 600 (600)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (0)")
    parser.add_argument("--threads", type=int, help="of the kernels (all cores)")
    given = parser.parse_intermixed_args(arguments)
    least = {"trials": LEAST_TRIALS, "meta_steps": 1, "seed": 0, "threads": 1}
    faults = [
        f"--{name.replace('_', '-')} {value}: must be {limit} or more"
        for name, limit in least.items()
        if (value := getattr(given, name)) is not None and value < limit
    ]
    faults += [f"{name}: {_suggestion(name)}" for name in given.targets if name not in _NAMES]
    usual = Setting(given.out, given.data_root)
    small = (given.trials, given.meta_steps, given.seed) != (
        usual.trials,
        usual.meta_steps,
        usual.seed,
    )
    if small and given.out == KEPT:
        faults.append(f"--out {KEPT}: holds what was measured in full; give another folder")
    if faults:
        raise RuleSearchError(*faults)
    chosen = TARGETS if "all" in given.targets else given.targets
    setting = Setting(given.out, given.data_root, given.trials, given.meta_steps, given.seed)
    targets = tuple(target for name, target in TARGETS.items() if name in chosen)
    return Command(targets, setting, given.threads)


_NAMES = (*TARGETS, "all")
#: Where the results that the project shows are.
KEPT = Path("benchmarks/paper")


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), [n.lower() for n in _NAMES], n=1)
    if close:
        right = next(n for n in _NAMES if n.lower() == close[0])
        return f"no such target; did you mean {right}?"
    return f"no such target; choose from {', '.join(_NAMES)}"


class _Parser(argparse.ArgumentParser):
    """One line for a mistake instead of the usage and an exit."""

    def error(self, message: str) -> NoReturn:
        raise RuleSearchError(f"{message}; see --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run targets; returns the exit code.

    0 done, 2 the request cannot be met, 130 interrupted: the same command goes on.
    """
    errors = Console(stderr=True)
    try:
        command = read(sys.argv[1:] if arguments is None else arguments)
        if command.threads:
            torch.set_num_threads(command.threads)
        _claim(command.setting.out)
        for target in command.targets:
            _run(target, command.setting)
    except RuleSearchError as error:
        for line in error.lines:
            _say(errors, line)
        return REFUSED
    except KeyboardInterrupt:
        _say(errors, "interrupted; the same command goes on where it was")
        return INTERRUPTED
    return DONE


def _claim(out: Path) -> None:
    """Make the folder now rather than fail after hours."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuleSearchError(f"--out {out}: cannot be made ({error.strerror})") from None


def _run(target: Target, setting: Setting) -> None:
    begun = time.perf_counter()
    with style.look():
        produced = target.run(setting)
    keep(setting, target, produced, time.perf_counter() - begun)
    # After each target, so that an interrupted call leaves the results of those before.
    write_results(setting, tuple(TARGETS))
    told = f"skipped: {produced.skipped}" if produced.skipped else tally(produced.judged)
    _say(setting.console, f"{target.name}: {told}")


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
