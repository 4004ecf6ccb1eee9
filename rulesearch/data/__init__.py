"""Data sets, and the tasks drawn from them.

A data set becomes two sets of images that have none in common: one for the search, and one that
only the final evaluation sees. Tasks are drawn from either.
"""

from rulesearch.data.divide import Data as Data
from rulesearch.data.divide import load_data as load_data
from rulesearch.data.read import input_and_output as input_and_output
from rulesearch.data.tasks import ImageSet as ImageSet
from rulesearch.data.tasks import Task as Task
from rulesearch.data.tasks import TaskShape as TaskShape
from rulesearch.data.tasks import draw_task as draw_task
from rulesearch.data.tasks import draw_tasks as draw_tasks
