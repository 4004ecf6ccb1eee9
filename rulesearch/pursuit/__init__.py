"""From a reference rule to a hall of fame: terms join, take accepted steps together, and leave.

Whatever is expensive goes through functions given by the caller: `descend` (a plan in, a
`Descended` out) and `measure` (label, coefficients, seeds in, `Scores` out). Every call has a
label that is unique within the search and depends on its arguments alone, so the caller may keep
what is done and answer from there when an interrupted search goes on.
"""

from rulesearch.pursuit.course import Departure as Departure
from rulesearch.pursuit.course import Opening as Opening
from rulesearch.pursuit.course import Pursuit as Pursuit
from rulesearch.pursuit.course import Round as Round
from rulesearch.pursuit.course import pursue as pursue
from rulesearch.pursuit.growing import Grown as Grown
from rulesearch.pursuit.hall import Entry as Entry
from rulesearch.pursuit.hall import Ranked as Ranked
from rulesearch.pursuit.hall import gain_of as gain_of
from rulesearch.pursuit.hall import hall_of_fame as hall_of_fame
from rulesearch.pursuit.joint import Aims as Aims
from rulesearch.pursuit.place import Descend as Descend
from rulesearch.pursuit.place import Means as Means
from rulesearch.pursuit.place import Place as Place
from rulesearch.pursuit.settling import Settled as Settled
from rulesearch.pursuit.settling import settle as settle
