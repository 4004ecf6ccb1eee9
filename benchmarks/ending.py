"""How a benchmark ends where it cannot go on: in a line, not in a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from rulesearch.console import INTERRUPTED
from rulesearch.errors import RuleSearchError


def end_with(main: Callable[[], int | None]) -> NoReturn:
    """Run the main function of a benchmark, and end the process.

    Exit code 2 for what a person can mend, 130 where it was interrupted.
    """
    try:
        sys.exit(main())
    except RuleSearchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
