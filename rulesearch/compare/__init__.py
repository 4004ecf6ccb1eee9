"""Rules beside each other, on common tasks: `compare(["paper", "normalised"])`.

The package can be called, and is the function of its name; `rulesearch compare` is the command
around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rulesearch.lazily import callable_as, lazily

if TYPE_CHECKING:
    from rulesearch.compare.table import Compared as Compared
    from rulesearch.compare.whole import compare as compare

_HOMES = {
    "Compared": "rulesearch.compare.table",
    "compare": "rulesearch.compare.whole",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
callable_as(__name__, "rulesearch.compare.whole")
