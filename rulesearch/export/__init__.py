"""Rules for other programs, each export proven equal: `export(rule, to)`, and the command line.

The package can be called: `from rulesearch import export` gives it, and calling it is calling the
function of its name.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rulesearch.lazily import lazily

if TYPE_CHECKING:
    from rulesearch.export.targets import TARGETS as TARGETS
    from rulesearch.export.whole import export as export

_HOMES = {
    "TARGETS": "rulesearch.export.targets",
    "export": "rulesearch.export.whole",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> str:
        from rulesearch.export.whole import export

        return export(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
