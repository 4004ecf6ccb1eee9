"""A rule without each of its terms, and with others: `ablate("paper")`.

The package can be called, and is the function of its name; `rulesearch ablate` is the command
around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rulesearch.lazily import callable_as, lazily

if TYPE_CHECKING:
    from rulesearch.ablate.table import Ablated as Ablated
    from rulesearch.ablate.whole import ablate as ablate

_HOMES = {
    "Ablated": "rulesearch.ablate.table",
    "ablate": "rulesearch.ablate.whole",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
callable_as(__name__, "rulesearch.ablate.whole")
