"""`rulesearch sweep SWEEP.toml`, also `python -m rulesearch.sweep`: many searches and their table.

The file is read, and paths are looked at, before anything heavy is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rulesearch.console import NOTHING_WRITTEN, code_of, interruptible, process
from rulesearch.errors import RuleSearchError
from rulesearch.sweep import arguments as given
from rulesearch.sweep.arguments import Command

if TYPE_CHECKING:
    from rulesearch.sweep.table import Row

DONE, FAILED, REFUSED = 0, 1, 2
CALLED = "rulesearch sweep"


def main(arguments: Sequence[str] | None = None, called: str = CALLED) -> int:
    """Run the command; returns its exit code.

    0 done, 1 one of the searches failed, 2 refused, 130 or 143 stopped: the same command goes on.
    """
    command = None
    try:
        command = given.read(sys.argv[1:] if arguments is None else arguments, called)
        given.look(command)
        return _work(command)
    except RuleSearchError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt as stop:
        begun = command is not None and command.out.is_dir()
        out = command.out if command else None
        said = f"stopped; the same command goes on with {out}" if begun else NOTHING_WRITTEN
        print(said, file=sys.stderr)
        return code_of(stop)


def _work(command: Command) -> int:
    from rich.console import Console

    from rulesearch.notation import load_pool
    from rulesearch.sweep.engine import carry_out, unwatched

    pools = {name: load_pool(file) for name, file in command.pools.items()}
    interruptible()
    watch = unwatched if command.quiet else _told
    found = carry_out(pools, command.plan, command.out, command.executor, command.workers, watch)
    Console().print(found)
    found.write(command.out, "sweep")
    return FAILED if found.failed else DONE


def _told(row: Row, done: int, of: int) -> None:
    """A line for each search that has ended."""
    from rulesearch.words import significant

    said = row.failed or f"{', '.join(row.support)}, accuracy {significant(row.accuracy)}"
    print(f"{done} of {of}: {row.pool} {row.world} {row.seed}: {said}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    process(lambda: main(called="python -m rulesearch.sweep"))
