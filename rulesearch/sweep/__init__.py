"""Many searches: pools × worlds × seeds, `sweep(["mine.py"], worlds=["digits"], seeds=range(3))`.

The package can be called, and is the function of its name; `rulesearch sweep` is the command
around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rulesearch.lazily import callable_as, lazily

if TYPE_CHECKING:
    from rulesearch.sweep.planned import Planned as Planned
    from rulesearch.sweep.table import Row as Row
    from rulesearch.sweep.table import Swept as Swept
    from rulesearch.sweep.whole import sweep as sweep

_HOMES = {
    "Planned": "rulesearch.sweep.planned",
    "Row": "rulesearch.sweep.table",
    "Swept": "rulesearch.sweep.table",
    "sweep": "rulesearch.sweep.whole",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
callable_as(__name__, "rulesearch.sweep.whole")
