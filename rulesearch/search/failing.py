"""Where terms that could not be differentiated are not finite."""

from __future__ import annotations

from collections.abc import Sequence

from rulesearch.meta.records import Lost
from rulesearch.mixture import Worlds
from rulesearch.search.request import Request
from rulesearch.search.stages import Stages
from rulesearch.updates import first_failure


def fails_of(
    request: Request, stages: Stages, main: Worlds, lost: Sequence[Lost]
) -> dict[str, tuple[int, int]]:
    """Terms that could not be differentiated at zero: name -> layer and step, from 1.

    Zeros where the update itself is finite throughout, and only its derivative is not.
    """
    found: dict[str, tuple[int, int]] = {}
    for each in lost:
        name = request.pool.names[each.term]
        if name not in found:
            stages.on_stage(f"looking for where {name} is not finite")
            where = first_failure(main, each.theta, each.seed, each.term)
            found[name] = where or (0, 0)
    return found
