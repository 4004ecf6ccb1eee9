"""What carries out independent pieces of work: processes here, or dask's workers anywhere.

Whoever has pieces gets answers, and alone writes. Workers read no folder and hold no claim: a piece
whose worker died runs again whole, on another worker.
"""

from rulesearch.executors.by_name import named as named
from rulesearch.executors.by_name import started as started
from rulesearch.executors.pieces import Executor as Executor
from rulesearch.executors.pieces import GivenUp as GivenUp
from rulesearch.executors.pieces import Packed as Packed
from rulesearch.executors.pieces import Piece as Piece
from rulesearch.executors.pieces import unpacked as unpacked
