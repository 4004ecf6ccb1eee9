"""Rules for other programs, each export proven equal: `export(rule, to)`, and the command line.

The package can be called: `from rulesearch import export` gives it, and calling it is calling the
function of its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rulesearch.lazily import callable_as, lazily

if TYPE_CHECKING:
    from rulesearch.export.targets import TARGETS as TARGETS
    from rulesearch.export.whole import export as export

_HOMES = {
    "TARGETS": "rulesearch.export.targets",
    "export": "rulesearch.export.whole",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
callable_as(__name__, "rulesearch.export.whole")
