"""`rulesearch export RULE --to TARGET`, also `python -m rulesearch.export`: a rule leaves.

The arguments are read before anything heavy is imported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rulesearch.console import process
from rulesearch.errors import RuleSearchError, closest
from rulesearch.export.targets import TARGETS
from rulesearch.flags import Given, Parser, rule_of
from rulesearch.known_rules import look_for_rule

CALLED = "python -m rulesearch.export"
DONE, REFUSED = 0, 2


@dataclass(frozen=True)
class Command:
    """What the command line asked for.

    Attributes:
        rule: as `load_rule` takes it.
        to: a target.
        terms: of a run, another rule of its hall of fame: a number of terms, or their names.
        out: the file to write; None for standard output.
        asked: all of it as it was given, by flags or in a file.
    """

    rule: str
    to: str
    terms: int | tuple[str, ...] | None
    out: Path | None
    asked: Given


def parser(called: str = CALLED) -> Parser:
    """The parser of the command line."""
    rows = "\n".join(f"  {name:<7} {meaning}" for name, meaning in TARGETS.items())
    made = Parser(
        called,
        "Write a rule for another program. Code is run beside the kernel first, and not written "
        "unless it agrees to 1e-10 over 20 steps.",
        epilog=f"targets:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        type=rule_of,
        metavar="N",
        help="of a run, the best rule of N terms in its hall of fame, or that of TERM,TERM,...",
    )
    made.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the file to write, replaced whole (standard output)",
    )
    made.add_config()
    return made


def read(arguments: Sequence[str], called: str = CALLED) -> Command:
    """The command that some arguments say.

    Raises:
        RuleSearchError: unknown or missing ones.
    """
    asked = parser(called).given(arguments)
    values = asked.values
    if "rule" not in values:
        raise RuleSearchError("no rule; give a run directory or a rule.toml")
    if "to" not in values:
        *most, last = TARGETS
        raise RuleSearchError(f"no target; give --to {', '.join(most)} or {last}")
    if values["to"] not in TARGETS:
        raise asked.named(RuleSearchError(_no_target(values["to"])))
    return Command(values["rule"], values["to"], values.get("terms"), values.get("out"), asked)


def _no_target(given: str) -> str:
    hint = closest(given, TARGETS) or "; give one of them"
    return f"--to {given}: no target{hint} ({', '.join(TARGETS)})"


def main(arguments: Sequence[str] | None = None, called: str = CALLED) -> int:
    """Run the command; returns its exit code: 0 done, 2 refused, and nothing was written.

    Args:
        arguments: of the command line; None for those of the process.
        called: what the command was called as, for its help.
    """
    asked = Given({})
    try:
        command = read(sys.argv[1:] if arguments is None else arguments, called)
        asked = command.asked
        carry_out(command)
    except RuleSearchError as error:
        for line in asked.named(error).lines:
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
    from rulesearch.runs import refuse_own

    if command.out is not None:
        refuse_own(command.out)
    text = export(command.rule, command.to, command.terms)  # type: ignore[arg-type]
    if command.out is None:
        print(text, end="")
        return
    replace_file(command.out, text, "choose another --out")
    print(f"{command.out}: {TARGETS[command.to]}")  # type: ignore[index]


if __name__ == "__main__":
    process(main)
