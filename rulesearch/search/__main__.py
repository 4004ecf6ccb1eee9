"""`rulesearch search GRAMMAR`, also `python -m rulesearch.search`: from a grammar file to a rule.

The request is read, and its paths are looked at, before anything heavy is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rulesearch.console import NOTHING_WRITTEN, code_of, interruptible, process
from rulesearch.errors import RuleSearchError
from rulesearch.flags import Given
from rulesearch.runs import holds_run
from rulesearch.search.arguments import CALLED, read
from rulesearch.search.paths import directory, look

DONE, FAILED, REFUSED, OTHERWISE = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None, called: str = CALLED) -> int:
    """Run the command; returns its exit code.

    0 done, 1 the run failed (its state is kept), 2 the request cannot be met (nothing was
    written), 3 a search that was run again gave something else, 130 interrupted, or 143 by SIGTERM
    (its state is kept).

    Args:
        arguments: of the command line; None for those of the process.
        called: what the command was called as, for its help.
    """
    grammar, asked, place, run = "", Given({}), None, None
    with ExitStack() as held:
        try:
            command = read(sys.argv[1:] if arguments is None else arguments, called)
            grammar, asked = command.grammar or "", command.asked
            if command.show:
                show(command.show, command.shown, as_latex=command.latex)
                return DONE
            if command.clear_cache:
                clear_cache()
                return DONE
            look(command)
            if not (command.quiet or command.explain):
                print(command.outline, flush=True)  # the imports below take seconds
            from rulesearch.search import command as work

            pool, config = work.asked(command)
            if command.explain:
                work.explain(pool, config, command)
                return DONE
            request = work.prepared(command, pool, config)
            place = command.resume or directory(command)
            interruptible()
            run = held.enter_context(work.opened(command, request, place))
            grammar = ""
            if not work.carry_through(request, run, command):
                return OTHERWISE
        except RuleSearchError as error:
            _complain(asked.named(error), grammar)
            return REFUSED if run is None else FAILED
        except KeyboardInterrupt as stop:
            begun = place is not None and holds_run(place)
            _say(f"interrupted; go on with --resume {place}" if begun else NOTHING_WRITTEN)
            return code_of(stop)
    return DONE


def clear_cache() -> None:
    """Delete the compiled kernels that are kept, and say how much that was.

    Raises:
        RuleSearchError: see `rulesearch.kernels.fused.cache.clear`.
    """
    from rulesearch.kernels.fused.cache import cache_folder, clear

    freed = clear() / 2**20
    print(f"{cache_folder()}: {freed:.1f} MB of compiled kernels deleted")


def show(run: Path, wanted: int | Sequence[str] | None = None, *, as_latex: bool = False) -> None:
    """Print the result of a finished run, from its `result.json` alone.

    Args:
        run: its directory.
        wanted: a rule of its hall of fame, see `Result.with_terms`; None for the one chosen.
        as_latex: whether to print the rule as LaTeX, and nothing else.

    Raises:
        RuleSearchError: no finished run, a broken one, or no such rule.
    """
    from rich.console import Console

    from rulesearch.report import latex, result_text
    from rulesearch.result import Result

    result = Result.load(run)
    if wanted is not None:
        try:
            result = result.with_terms(wanted)
        except RuleSearchError as error:
            which = wanted if isinstance(wanted, int) else ",".join(wanted)
            raise error.located(f"--show {run} --terms {which}") from None
    if as_latex:
        print(latex(result), end="")
    else:
        Console().print(result_text(result, run))


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _complain(error: RuleSearchError, grammar: str = "") -> None:
    for line in error.lines:
        # What is said of a term after the file was read: the file is named here.
        _say(f"{grammar}, {line}" if grammar and line.startswith("term ") else line)


if __name__ == "__main__":
    process(main)
