"""The run directory: plain data to and from files. Computes nothing.

`directory` claims one, reads it and ends it; `kept` has the stages and their history; `lock` sees
to it that one process at a time works on a run.
"""

from rulesearch.runs.directory import RunConfig as RunConfig
from rulesearch.runs.directory import at_work as at_work
from rulesearch.runs.directory import create_run as create_run
from rulesearch.runs.directory import default_directory as default_directory
from rulesearch.runs.directory import holds_run as holds_run
from rulesearch.runs.directory import is_finished as is_finished
from rulesearch.runs.directory import look_at as look_at
from rulesearch.runs.directory import open_run as open_run
from rulesearch.runs.directory import read_history as read_history
from rulesearch.runs.directory import reading as reading
from rulesearch.runs.directory import refuse_own as refuse_own
from rulesearch.runs.directory import tidy as tidy
from rulesearch.runs.directory import versions as versions
from rulesearch.runs.directory import write_hall as write_hall
from rulesearch.runs.directory import write_report as write_report
from rulesearch.runs.directory import write_result as write_result
from rulesearch.runs.directory import write_rule as write_rule
