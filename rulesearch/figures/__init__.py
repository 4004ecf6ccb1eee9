"""The figures of a run, and the look that all figures have."""

from rulesearch.figures.look import style as style
from rulesearch.figures.look import write as write
from rulesearch.figures.run import drawn as drawn
from rulesearch.figures.run import figures as figures
