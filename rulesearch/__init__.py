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

import os
from typing import TYPE_CHECKING

from rulesearch.lazily import lazily

# torch's products of matrices must give the same bits in any batch and with any number of threads;
# without this MKL does not on every processor (seen on an AMD EPYC). It is read at the first one.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

if TYPE_CHECKING:
    from rulesearch.ablate import ablate as ablate
    from rulesearch.compare import compare as compare
    from rulesearch.data import TaskShape as TaskShape
    from rulesearch.data import draw_tasks as draw_tasks
    from rulesearch.data import load_data as load_data
    from rulesearch.errors import RuleSearchError as RuleSearchError
    from rulesearch.evaluate import evaluate as evaluate
    from rulesearch.export import export as export
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
    from rulesearch.sweep import sweep as sweep

_HOMES = {
    "Config": "rulesearch.search.config",
    "Lifetimes": "rulesearch.lifetime",
    "Pool": "rulesearch.notation",
    "Result": "rulesearch.result",
    "RuleSearchError": "rulesearch.errors",
    "TaskShape": "rulesearch.data",
    "Term": "rulesearch.notation",
    "ablate": "rulesearch.ablate",  # packages that can be called, as `search` is
    "classify": "rulesearch.locality",
    "compare": "rulesearch.compare",
    "draw_tasks": "rulesearch.data",
    "evaluate": "rulesearch.evaluate",
    "export": "rulesearch.export",  # a package that can be called, as `search` is
    "load_data": "rulesearch.data",
    "load_pool": "rulesearch.notation",
    "lower": "rulesearch.lowering",
    "run_lifetimes": "rulesearch.lifetime",
    # The package, which can be called: it is what this name stands for as soon as anything has
    # imported it, so it must be that from the start.
    "search": "rulesearch.search",
    "sweep": "rulesearch.sweep",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
