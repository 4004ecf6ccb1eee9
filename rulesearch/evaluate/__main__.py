"""`rulesearch evaluate RULE ...`, also `python -m rulesearch.evaluate`: rules beside rivals.

The options are read, and paths are looked at, before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Sequence

from rulesearch.console import interruptible, process
from rulesearch.evaluate import arguments as given
from rulesearch.evaluate.arguments import Command
from rulesearch.evaluate.guarded import guarded, own

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

    from rulesearch.evaluate.command import asked_of, rules_of, watched
    from rulesearch.evaluate.engine import carry_out

    rules, asked = rules_of(command), asked_of(command)
    interruptible()
    with watched(command.quiet) as watch:
        found = carry_out(rules, asked, command.out, watch)
    Console().print(found)
    if command.out is not None:
        from rulesearch.evaluate.figure import draw

        found.write(command.out, "evaluation")
        draw(found, command.out)


if __name__ == "__main__":
    process(lambda: main(called="python -m rulesearch.evaluate"))
