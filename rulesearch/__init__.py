"""rulesearch: search for short, interpretable, local learning rules.

Terms are SymPy expressions of what one synapse can see; a pool of them is compiled to kernels that
run whole lifetimes of online learning and differentiate through them; the search returns a short
rule with its evidence.

    from rulesearch import Config, load_data, load_pool, search
    config = Config(dataset="digits")
    data = load_data(config.dataset, shape=config.shape)
    print(search(load_pool("grammar/paper_pool.py"), data, config))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rulesearch.data import TaskShape as TaskShape
    from rulesearch.data import draw_tasks as draw_tasks
    from rulesearch.data import load_data as load_data
    from rulesearch.errors import RuleSearchError as RuleSearchError
    from rulesearch.lifetime import Lifetimes as Lifetimes
    from rulesearch.lifetime import run_lifetimes as run_lifetimes
    from rulesearch.locality import classify as classify
    from rulesearch.lowering import lower as lower
    from rulesearch.notation import Pool as Pool
    from rulesearch.notation import Term as Term
    from rulesearch.notation import load_pool as load_pool
    from rulesearch.result import Result as Result
    from rulesearch.search import Config as Config
    from rulesearch.search import search as search

# Name -> module, imported when the name is first used: reading a pool needs no torch.
_HOME = {
    "Config": "rulesearch.search.config",
    "Lifetimes": "rulesearch.lifetime",
    "Pool": "rulesearch.notation",
    "Result": "rulesearch.result",
    "RuleSearchError": "rulesearch.errors",
    "TaskShape": "rulesearch.data",
    "Term": "rulesearch.notation",
    "classify": "rulesearch.locality",
    "draw_tasks": "rulesearch.data",
    "load_data": "rulesearch.data",
    "load_pool": "rulesearch.notation",
    "lower": "rulesearch.lowering",
    "run_lifetimes": "rulesearch.lifetime",
    "search": "rulesearch.search.engine",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rulesearch' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
