"""A result in words: equation, tables, LaTeX, and the line that shows progress.

Everything here takes plain data and gives text; nothing runs a lifetime. The figures are in
`rulesearch.figures`.
"""

from rulesearch.report.hall import hall_csv as hall_csv
from rulesearch.report.latex import latex as latex
from rulesearch.report.progress import history_row as history_row
from rulesearch.report.progress import progress as progress
from rulesearch.report.progress import progress_line as progress_line
from rulesearch.report.progress import trial_means as trial_means
from rulesearch.report.tables import Expression as Expression
from rulesearch.report.tables import Sheet as Sheet
from rulesearch.report.text import gap_closed as gap_closed
from rulesearch.report.text import locality_table as locality_table
from rulesearch.report.text import pool_table as pool_table
from rulesearch.report.text import print_pool as print_pool
from rulesearch.report.text import result_text as result_text
