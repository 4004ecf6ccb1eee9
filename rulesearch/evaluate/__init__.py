"""Rules where they were not searched for, beside rivals: `evaluate(rules, dataset="mnist")`.

The package can be called, and is the function of its name; `rulesearch evaluate` is the command
around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rulesearch.lazily import callable_as, lazily

if TYPE_CHECKING:
    from rulesearch.evaluate.options import Asked as Asked
    from rulesearch.evaluate.options import Scenario as Scenario
    from rulesearch.evaluate.table import Evaluated as Evaluated
    from rulesearch.evaluate.whole import evaluate as evaluate

_HOMES = {
    "Asked": "rulesearch.evaluate.options",
    "Evaluated": "rulesearch.evaluate.table",
    "Scenario": "rulesearch.evaluate.options",
    "evaluate": "rulesearch.evaluate.whole",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
callable_as(__name__, "rulesearch.evaluate.whole")
