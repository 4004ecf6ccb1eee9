"""`rulesearch evaluate RULE ...`, also `python -m rulesearch.evaluate`: rules beside rivals.

The options are read, and paths are looked at, before anything heavy is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from rulesearch.console import NOTHING_WRITTEN, code_of, interruptible, process
from rulesearch.errors import RuleSearchError
from rulesearch.evaluate import arguments as given
from rulesearch.evaluate.arguments import Command, look

DONE, REFUSED = 0, 2
CALLED = "rulesearch evaluate"
DESCRIPTION = "Try learning rules, unchanged, beside rivals on images that no search used."


def main(arguments: Sequence[str] | None = None, called: str = CALLED) -> int:
    """Run the command; returns its exit code: 0 done, 2 refused, 130 or 143 stopped."""
    return guarded(lambda: read(own(arguments), called), _work)


def read(arguments: Sequence[str], called: str = CALLED) -> Command:
    """The command that some arguments say.

    Raises:
        RuleSearchError: unknown or contradicting arguments.
    """
    return given.read(arguments, called, DESCRIPTION)


def _work(command: Command) -> None:
    from rich.console import Console

    from rulesearch.evaluate.command import asked_of, rules_of, watched, write
    from rulesearch.evaluate.engine import carry_out

    rules, asked = rules_of(command), asked_of(command)
    interruptible()
    with watched(command.quiet) as watch:
        found = carry_out(rules, asked, command.out, watch)
    Console().print(found)
    if command.out is not None:
        from rulesearch.evaluate.figure import draw

        write(found, command.out, "evaluation")
        draw(found, command.out)


def guarded(reading: Callable[[], Command], work: Callable[[Command], None]) -> int:
    """Read a command and do its work; what a person can mend is told in lines."""
    command = None
    try:
        command = reading()
        look(command)
        work(command)
    except RuleSearchError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt as stop:
        begun = command is not None and command.out is not None and command.out.is_dir()
        out = command.out if command else None
        said = f"stopped; the same command goes on with {out}" if begun else NOTHING_WRITTEN
        print(said, file=sys.stderr)
        return code_of(stop)
    return DONE


def own(arguments: Sequence[str] | None) -> Sequence[str]:
    """The arguments given, or those of the process."""
    return sys.argv[1:] if arguments is None else arguments


if __name__ == "__main__":
    process(lambda: main(called="python -m rulesearch.evaluate"))
