"""The search from Python, `search(pool, data, config)`, and the command line around it."""

import sys
from types import ModuleType
from typing import Any

from rulesearch.result import Result
from rulesearch.search.config import Config as Config
from rulesearch.search.engine import carry_out as carry_out
from rulesearch.search.engine import search as search
from rulesearch.search.request import Request as Request
from rulesearch.search.request import prepare as prepare
from rulesearch.search.stages import Stages as Stages


class _Callable(ModuleType):
    # `from rulesearch import search` finds this package once anything has imported it; calling
    # it is then the same as calling the function of its name.
    def __call__(self, *arguments: Any, **options: Any) -> Result:
        return search(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
