"""The one exception for what a person can mend.

Whatever else is raised is a fault of this package and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


class RuleSearchError(Exception):
    """A request that cannot be met: what is wrong, where, and the way out, in one line each.

    Args:
        message: one fault, or several; each becomes one line.

    Example:
        >>> str(RuleSearchError("unknown symbol y_psot").located("mine.py, term G3"))
        'mine.py, term G3: unknown symbol y_psot'
    """

    def __init__(self, *message: str) -> None:
        super().__init__("\n".join(message))
        self.lines: tuple[str, ...] = message

    def located(self, label: str) -> RuleSearchError:
        """The same faults, each with the file, term or option in front of it."""
        return RuleSearchError(*(f"{label}: {line}" for line in self.lines))


def closest(word: str, choices: Collection[str]) -> str:
    """The hint "; did you mean …?", or nothing where no choice is near.

    Example:
        >>> closest("y_psot", ["y_pre", "y_post"])
        '; did you mean y_post?'
    """
    near = get_close_matches(word, choices, n=1)
    return f"; did you mean {near[0]}?" if near else ""
