"""What terms ask of a network: that it has what they read and change."""

from __future__ import annotations

from typing import Any

from rulesearch.errors import RuleSearchError
from rulesearch.model import Model
from rulesearch.notation import Pool
from rulesearch.notation.own import names_read
from rulesearch.pathways import Pathway


def refuse_other_than_pool(pool: Any) -> None:
    """Refuse what is no `Pool`, such as the path of its file.

    Raises:
        RuleSearchError: it is none.

    Example:
        >>> refuse_other_than_pool("pool.py")
        Traceback (most recent call last):
        rulesearch.errors.RuleSearchError: pool: 'pool.py', a str; give a Pool, as
        load_pool("grammar/paper_pool.py") or Pool(F0="-e_post*y_pre")
    """
    if not isinstance(pool, Pool):
        shown = f"{str(pool)!r}, " if isinstance(pool, str) or hasattr(pool, "__fspath__") else ""
        raise RuleSearchError(
            f"pool: {shown}a {type(pool).__name__}; give a Pool, as "
            'load_pool("grammar/paper_pool.py") or Pool(F0="-e_post*y_pre")'
        )


def check_reads(pool: Pool, path: Pathway, model: Model) -> None:
    """Refuse terms that read or change what the network does not have, and bounds of that.

    Raises:
        RuleSearchError: for the first.

    Example:
        >>> from rulesearch.model import PAPER
        >>> from rulesearch.pathways import pathway
        >>> check_reads(Pool(A="-xi_post*y_pre"), pathway("random", 2), PAPER)
        Traceback (most recent call last):
        rulesearch.errors.RuleSearchError: term A: reads xi_post, and the network has no noise; give
        it a size, --noise
    """
    lacks: dict[str, str] = {}
    if not model.noise:
        lacks["xi_post"] = "the network has no noise; give it a size, --noise"
    if not model.bias:
        lacks["b_post"] = lacks["b"] = "the network has no biases; give it some, --bias"
    if path.tied:
        lacks["B"] = f"the {path.name} pathway has no matrices of its own; choose another"
    for parameter, _, _ in pool.bounds:
        if parameter in lacks:
            raise RuleSearchError(f"bounds {parameter}: {lacks[parameter]}")
    direct = any(e.source != e.target + 1 for e in path.edges)
    apart = f"the {path.name} pathway has them between other layers; choose another"
    for term in pool:
        for changes, expression in term.updates:
            if changes in lacks:
                raise RuleSearchError(f"term {term.name}: changes {changes}, and {lacks[changes]}")
            reads = names_read(expression)
            for name in sorted(reads & set(lacks)):
                raise RuleSearchError(f"term {term.name}: reads {name}, and {lacks[name]}")
            other = {"W": "B", "B": "W"}.get(changes, "B")
            if direct and other in reads:
                raise RuleSearchError(f"term {term.name}: reads {other}, and {apart}")
