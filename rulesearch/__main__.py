"""The console command: `rulesearch SUBCOMMAND ...`, also `python -m rulesearch SUBCOMMAND ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn

from rulesearch.console import process, version


@dataclass(frozen=True)
class Subcommand:
    """What can be asked for by a word.

    Attributes:
        module: has `main(arguments, called) -> exit code`; imported when it is asked for.
        help: in a few words.
    """

    module: str
    help: str


SUBCOMMANDS = {
    "search": Subcommand(
        "rulesearch.search.__main__", "search a pool of candidate terms for a short, local rule"
    ),
    "sweep": Subcommand(
        "rulesearch.sweep.__main__", "search many pools in many worlds with many seeds"
    ),
    "evaluate": Subcommand(
        "rulesearch.evaluate.__main__", "try rules beside rivals, on other data, depths and tasks"
    ),
    "compare": Subcommand("rulesearch.compare.__main__", "compare rules on common tasks"),
    "ablate": Subcommand(
        "rulesearch.ablate.__main__", "a rule without each of its terms, and with others"
    ),
    "export": Subcommand(
        "rulesearch.export.__main__", "write a rule as torch, NumPy, JAX, LaTeX, SymPy, TOML, JSON"
    ),
    "report": Subcommand("rulesearch.run_report", "write the page of a finished run"),
}


def main(arguments: Sequence[str], called: str = "rulesearch") -> int:
    """Run the subcommand that the first argument names; returns its exit code."""
    match list(arguments):
        case [name, *rest] if name in SUBCOMMANDS:
            module = import_module(SUBCOMMANDS[name].module)
            return int(module.main(rest, f"{called} {name}"))
        case ["--version"]:
            print(f"rulesearch {version()}")
        case [] | ["-h" | "--help"]:
            print(_usage(called))
        case [name, *_]:
            print(_unknown(name, called), file=sys.stderr)
            return 2
    return 0


def _usage(called: str) -> str:
    rows = [f"  {name:<10} {row.help}" for name, row in SUBCOMMANDS.items()]
    return "\n".join(
        [
            f"usage: {called} SUBCOMMAND ...",
            f"       {called} --version",
            "",
            *rows,
            "",
            f"{called} SUBCOMMAND --help lists the options of one.",
        ]
    )


def _unknown(name: str, called: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, SUBCOMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(SUBCOMMANDS)}"
    return f"{name}: no subcommand; {hint} ({called} --help lists them)"


def console_command() -> NoReturn:
    """What `rulesearch` runs."""
    process(lambda: main(sys.argv[1:]))


if __name__ == "__main__":
    process(lambda: main(sys.argv[1:], "python -m rulesearch"))
