"""Data sets, and the tasks drawn from them.

A data set becomes two sets of images that have none in common: one for the search, and one that
only the final evaluation sees. Tasks are drawn from either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rulesearch.lazily import lazily

if TYPE_CHECKING:
    from rulesearch.data.load import Data as Data
    from rulesearch.data.load import load_data as load_data
    from rulesearch.data.read import input_and_output as input_and_output
    from rulesearch.data.tasks import ImageSet as ImageSet
    from rulesearch.data.tasks import Task as Task
    from rulesearch.data.tasks import TaskShape as TaskShape
    from rulesearch.data.tasks import draw_task as draw_task
    from rulesearch.data.tasks import draw_tasks as draw_tasks

_HOMES = {
    "Data": "rulesearch.data.load",
    "ImageSet": "rulesearch.data.tasks",
    "Task": "rulesearch.data.tasks",
    "TaskShape": "rulesearch.data.tasks",
    "draw_task": "rulesearch.data.tasks",
    "draw_tasks": "rulesearch.data.tasks",
    "input_and_output": "rulesearch.data.read",
    "load_data": "rulesearch.data.load",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
