"""The command line and the file of a sweep as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rulesearch.data.files import look_for
from rulesearch.errors import RuleSearchError
from rulesearch.executors import named
from rulesearch.flags import Parser, strange, toml_at
from rulesearch.grammar_file import grammar_file
from rulesearch.runs import holds_run
from rulesearch.sweep.planned import OPTIONS, Planned, planned

#: What a file may say beside options of a search.
BESIDE = ("pools", "worlds", "seeds", "out", "executor", "workers", "quiet")


@dataclass(frozen=True)
class Command:
    """What the command line and the file asked for.

    Attributes:
        file: of the sweep.
        pools: grammar files by the names of the pools.
        plan: the searches.
        out: the folder for their run directories.
        executor: what carries them out,
        workers: and so many at a time.
        quiet: print the table only.
    """

    file: Path
    pools: dict[str, str]
    plan: tuple[Planned, ...]
    out: Path
    executor: str
    workers: int
    quiet: bool


def parser(called: str) -> Parser:
    """The command line's parser; `called` is what the command was called as."""
    made = Parser(
        called, "Search every pool in every world with every seed, and sum up what was found."
    )
    made.add_argument(
        "file",
        metavar="SWEEP.toml",
        help="pools (grammar files), worlds (data sets, or tables of options), seeds, and options "
        "of all searches as their flags without dashes; also what follows here",
    )
    made.add_argument(
        "--out",
        help="folder for the run directories and the table (runs/SWEEP); what is finished there is "
        "not run again",
    )
    made.add_argument(
        "--executor",
        metavar="EXECUTOR",
        help="what searches are carried out by: processes; dask, or dask:tcp://HOST:PORT of a "
        "scheduler; jobs of Slurm, slurm or slurm:FILE.toml (processes)",
    )
    made.add_argument(
        "--workers",
        type=int,
        metavar="WORKERS",
        help="searches at a time, which share the cores (1)",
    )
    made.add_argument("--quiet", action="store_true", help="print the table only")
    made.add_version()
    return made


def read(arguments: Sequence[str], called: str) -> Command:
    """The command that some arguments say, with the file's where flags say nothing.

    Raises:
        RuleSearchError: unknown or wrong options, a file that is none; a line each.
    """
    given = parser(called).given(arguments).values
    path = Path(given.pop("file"))
    found = _file(path)
    beside = {name: found.pop(name) for name in BESIDE if name in found} | given
    try:
        pools = _pools(beside.get("pools", ()))
        worlds, seeds = beside.get("worlds", []), beside.get("seeds", [0])
        plan = planned([name for name, _ in pools], worlds, seeds, found)
    except RuleSearchError as error:
        raise error.located(str(path)) from None
    return Command(
        file=path,
        pools=dict(pools),
        plan=plan,
        out=Path(beside.get("out", Path("runs") / path.stem)),
        executor=beside.get("executor", "processes"),
        workers=beside.get("workers", 1),
        quiet=beside.get("quiet", False),
    )


def look(command: Command) -> None:
    """Refuse what is named and is not there, all at once, before anything heavy is imported.

    Raises:
        RuleSearchError: a line for each.
    """
    faults: dict[str, None] = {}
    for file in command.pools.values():
        try:
            grammar_file(file)
        except RuleSearchError as error:
            faults |= dict.fromkeys(error.lines)
    roots = {(d, each.config.data_root) for each in command.plan for d in each.config.datasets}
    for name, root in sorted(roots, key=str):
        try:
            look_for(name, root)
        except RuleSearchError as error:
            faults |= dict.fromkeys(error.located(f"dataset {name}").lines)
    try:
        named(command.executor)
    except RuleSearchError as error:
        faults |= {f"--executor {line}": None for line in error.lines}
    if not 1 <= command.workers <= 1024:
        faults[f"--workers {command.workers}: must be at least 1 and at most 1,024"] = None
    if command.out.exists() and not command.out.is_dir():
        faults[f"--out {command.out}: not a folder; give another one"] = None
    if holds_run(command.out):
        faults[f"--out {command.out}: holds a run; give another folder"] = None
    if faults:
        raise RuleSearchError(*faults)


def _file(path: Path) -> dict[str, Any]:
    """What a file says, by names as Python spells them."""
    found = toml_at(path, str(path), "give a TOML file with pools, worlds and seeds")
    kinds: dict[str, tuple[type, str]] = {
        "worlds": (list, "a list of data sets, or tables [[worlds]]"),
        "seeds": (list, "a list of whole numbers"),
        "out": (str, "text"),
        "executor": (str, "text"),
        "workers": (int, "a whole number"),
        "quiet": (bool, "true or false"),
    }
    faults = [
        f"{path}: {name}: {found[name]!r}; give {wanted}"
        for name, (kind, wanted) in kinds.items()
        if name in found and type(found[name]) is not kind
    ]
    faults += strange(found, (*BESIDE, *OPTIONS, "from"), str(path))
    if faults:
        raise RuleSearchError(*faults)
    return found


def _pools(given: Any) -> list[tuple[str, str]]:
    """Names and grammar files, from a list of these or a table."""
    if isinstance(given, dict) and all(isinstance(file, str) for file in given.values()):
        return list(given.items())
    files = [given] if isinstance(given, str) else given
    if not isinstance(files, list | tuple) or not all(isinstance(file, str) for file in files):
        raise RuleSearchError(
            f"pools: {given!r}; give a list of grammar files, or a table of names and files"
        )
    return [(Path(file).stem, file) for file in files]
