"""The search from Python, `search(pool, data, config)`, and the command line around it.

The package can be called: `from rulesearch import search` gives it, and calling it is calling the
function of its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rulesearch.lazily import callable_as, lazily

if TYPE_CHECKING:
    from rulesearch.search.config import Config as Config
    from rulesearch.search.engine import carry_out as carry_out
    from rulesearch.search.request import Request as Request
    from rulesearch.search.request import prepare as prepare
    from rulesearch.search.stages import Stages as Stages
    from rulesearch.search.whole import search as search

_HOMES = {
    "Config": "rulesearch.search.config",
    "Request": "rulesearch.search.request",
    "Stages": "rulesearch.search.stages",
    "carry_out": "rulesearch.search.engine",
    "prepare": "rulesearch.search.request",
    "search": "rulesearch.search.whole",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
callable_as(__name__, "rulesearch.search.whole")
