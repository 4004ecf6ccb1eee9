"""`rulesearch compare A B ...`, also `python -m rulesearch.compare`: rules on common tasks."""

from __future__ import annotations

from collections.abc import Sequence

from rulesearch.console import interruptible, process
from rulesearch.evaluate import arguments as given
from rulesearch.evaluate.arguments import Command
from rulesearch.evaluate.guarded import guarded, own

CALLED = "rulesearch compare"
DESCRIPTION = "Compare learning rules, pair by pair, on common tasks of images that no search used."


def main(arguments: Sequence[str] | None = None, called: str = CALLED) -> int:
    """Run the command; returns its exit code, as that of `rulesearch evaluate`."""
    return guarded(lambda: read(own(arguments), called), _work)


def read(arguments: Sequence[str], called: str = CALLED) -> Command:
    """The command that some arguments say.

    Raises:
        RuleSearchError: unknown or contradicting arguments.
    """
    return given.read(arguments, called, DESCRIPTION)


def _work(command: Command) -> None:
    from rich.console import Console

    from rulesearch.compare.whole import compared
    from rulesearch.evaluate.command import asked_of, rules_of, watched

    rules, asked = rules_of(command), asked_of(command, rivals=())
    interruptible()
    with watched(command.quiet) as watch:
        found = compared(rules, asked, command.out, watch)
    Console().print(found)
    if command.out is not None:
        from rulesearch.evaluate.figure import draw

        found.write(command.out, "comparison")
        found.terms.write(command.out, "terms")
        draw(found.evaluated, command.out)


if __name__ == "__main__":
    process(lambda: main(called="python -m rulesearch.compare"))
