"""`rulesearch export RULE --to TARGET`, also `python -m rulesearch.export`: a rule leaves.

The arguments are read before anything heavy is imported.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rulesearch.console import process
from rulesearch.errors import RuleSearchError
from rulesearch.export.targets import TARGETS
from rulesearch.known_rules import look_for_rule

CALLED = "python -m rulesearch.export"
DONE, REFUSED = 0, 2

_OPTIONS = ("rule", "to", "terms", "out")


@dataclass(frozen=True)
class Command:
    """What the command line asked for.

    Attributes:
        rule: as `load_rule` takes it.
        to: a target.
        terms: of a run, another rule of its hall of fame: a number of terms, or their names.
        out: the file to write; None for standard output.
    """

    rule: str
    to: str
    terms: int | tuple[str, ...] | None
    out: Path | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RuleSearchError(f"{message}; {self.prog} --help lists the options")


def parser(called: str = CALLED) -> argparse.ArgumentParser:
    """The parser of the command line."""
    rows = "\n".join(f"  {name:<7} {meaning}" for name, meaning in TARGETS.items())
    made = _Parser(
        prog=called,
        description="Write a rule for another program. Code is run beside the kernel first, and "
        "not written unless it agrees to 1e-10 over 20 steps.",
        epilog=f"targets:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "rule",
        nargs="?",
        metavar="RULE",
        help="a run directory, a rule.toml, or a rule that comes along, such as paper",
    )
    made.add_argument("--to", metavar="TARGET", help=", ".join(TARGETS))
    made.add_argument(
        "--terms",
        metavar="N",
        help="of a run, the best rule of N terms in its hall of fame, or that of TERM,TERM,...",
    )
    made.add_argument(
        "--out",
        metavar="FILE",
        help="the file to write, replaced whole (standard output)",
    )
    made.add_argument(
        "--config", metavar="FILE.toml", help="the same in a file: rule, to, terms, out"
    )
    return made


def read(arguments: Sequence[str], called: str = CALLED) -> Command:
    """The command that some arguments say.

    Raises:
        RuleSearchError: unknown or missing ones.
    """
    given = vars(parser(called).parse_args(list(arguments)))
    config = given.pop("config")
    values = {} if config is None else _file(config)
    values |= {name: value for name, value in given.items() if value is not None}
    if "rule" not in values:
        raise RuleSearchError("no rule; give a run directory or a rule.toml")
    if "to" not in values:
        *most, last = TARGETS
        raise RuleSearchError(f"no target; give --to {', '.join(most)} or {last}")
    if values["to"] not in TARGETS:
        raise RuleSearchError(_no_target(values["to"]))
    out = values.get("out")
    return Command(values["rule"], values["to"], _terms(values), None if out is None else Path(out))


def _no_target(given: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(given, TARGETS, n=1)
    hint = f"did you mean {near[0]}?" if near else "give one of them"
    return f"--to {given}: no target; {hint} ({', '.join(TARGETS)})"


def _terms(values: dict[str, Any]) -> int | tuple[str, ...] | None:
    terms = values.get("terms")
    if terms is None or isinstance(terms, int):
        return terms
    text = str(terms)
    return int(text) if text.isdecimal() else tuple(text.split(","))


def _file(path: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise RuleSearchError(f"--config {path}: cannot be read ({said})") from None
    for name, value in values.items():
        if name not in _OPTIONS:
            raise RuleSearchError(f"--config {path}, {name}: no option; give {', '.join(_OPTIONS)}")
        if not isinstance(value, str) and not (name == "terms" and type(value) is int):
            raise RuleSearchError(f"--config {path}, {name}: {value!r}; give text")
    return values


def main(arguments: Sequence[str] | None = None, called: str = CALLED) -> int:
    """Run the command; returns its exit code: 0 done, 2 refused, and nothing was written.

    Args:
        arguments: of the command line; None for those of the process.
        called: what the command was called as, for its help.
    """
    try:
        carry_out(read(sys.argv[1:] if arguments is None else arguments, called))
    except RuleSearchError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        return REFUSED
    return DONE


def carry_out(command: Command) -> None:
    """Export a rule, to a file or to standard output.

    Raises:
        RuleSearchError: see `rulesearch.export.whole.export`; the file cannot be written.
    """
    if command.out is not None and (command.out.is_dir() or not command.out.parent.is_dir()):
        fault = "is a directory" if command.out.is_dir() else "its folder is not there"
        raise RuleSearchError(f"--out {command.out}: {fault}; give a file")
    look_for_rule(command.rule)
    from rulesearch.export.whole import export
    from rulesearch.records.documents import replace_file

    text = export(command.rule, command.to, command.terms)  # type: ignore[arg-type]
    if command.out is None:
        print(text, end="")
        return
    replace_file(command.out, text, "choose another --out")
    print(f"{command.out}: {TARGETS[command.to]}")  # type: ignore[index]


if __name__ == "__main__":
    process(main)
