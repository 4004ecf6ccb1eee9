"""`rulesearch ablate RULE`, also `python -m rulesearch.ablate`: what each term is worth."""

from __future__ import annotations

from collections.abc import Sequence

from rulesearch.console import interruptible, process
from rulesearch.errors import RuleSearchError
from rulesearch.evaluate import arguments as given
from rulesearch.evaluate.arguments import Command, Further
from rulesearch.evaluate.guarded import guarded, own

CALLED = "rulesearch ablate"
DESCRIPTION = "A rule without each of its terms, refitted and not, and with each of a pool's."
MORE = {
    "pool": Further("grammar file whose terms are added one by one", str),
    "refit_steps": Further("accepted steps of a refit at most; 0 for no refits (12)", int, 12),
}
#: Of an evaluation, what an ablation has no use for.
WITHOUT = ("rivals", "rates")


def main(arguments: Sequence[str] | None = None, called: str = CALLED) -> int:
    """Run the command; returns its exit code, as that of `rulesearch evaluate`."""
    return guarded(lambda: read(own(arguments), called), _work)


def read(arguments: Sequence[str], called: str = CALLED) -> Command:
    """The command that some arguments say.

    Raises:
        RuleSearchError: unknown or contradicting arguments.
    """
    return given.read(arguments, called, DESCRIPTION, MORE, WITHOUT)


def _work(command: Command) -> None:
    from rulesearch.grammar_file import grammar_file

    grammar, steps = command.more["pool"], command.more["refit_steps"]
    if grammar is not None:
        grammar_file(grammar)
    if not isinstance(steps, int) or steps < 0:
        raise RuleSearchError(f"--refit-steps {steps}: must be at least 0")
    from rich.console import Console

    from rulesearch.ablate.whole import ablated
    from rulesearch.evaluate.command import asked_of, rules_of, watched
    from rulesearch.notation import load_pool

    rules, asked = rules_of(command), asked_of(command)
    if len(rules) > 1:
        raise RuleSearchError(f"{rules[1].name}: a second rule; an ablation is of one")
    pool = None if grammar is None else load_pool(grammar)
    interruptible()
    with watched(command.quiet) as watch:
        found = ablated(rules[0], asked, pool, steps, command.out, watch)
    Console().print(found)
    if command.out is not None:
        found.write(command.out, "ablation")


if __name__ == "__main__":
    process(lambda: main(called="python -m rulesearch.ablate"))
