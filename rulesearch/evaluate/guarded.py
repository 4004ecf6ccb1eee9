"""What is around the commands that try rules: reading, refusals in lines, interruptions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from rulesearch.console import NOTHING_WRITTEN, code_of
from rulesearch.errors import RuleSearchError
from rulesearch.evaluate.arguments import Command, look

DONE, REFUSED = 0, 2


def guarded(reading: Callable[[], Command], work: Callable[[Command], None]) -> int:
    """Read a command and do its work; what a person can mend is told in lines."""
    command = None
    try:
        command = reading()
        look(command)
        work(command)
    except RuleSearchError as error:
        for line in (command.asked.named(error) if command else error).lines:
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
