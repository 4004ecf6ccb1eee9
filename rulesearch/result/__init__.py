"""The result of a search as frozen records, its text, and its strict JSON."""

from rulesearch.result.definitions import definition_lines as definition_lines
from rulesearch.result.equation import PARAMETERS as PARAMETERS
from rulesearch.result.equation import equation as equation
from rulesearch.result.equation import layers_text as layers_text
from rulesearch.result.equation import signed_terms as signed_terms
from rulesearch.result.records import EliminationRecord as EliminationRecord
from rulesearch.result.records import EvaluationRecord as EvaluationRecord
from rulesearch.result.records import GrowingRecord as GrowingRecord
from rulesearch.result.records import HallRecord as HallRecord
from rulesearch.result.records import JoiningRecord as JoiningRecord
from rulesearch.result.records import PoolEntry as PoolEntry
from rulesearch.result.records import TrialRecord as TrialRecord
from rulesearch.result.records import WorldRecord as WorldRecord
from rulesearch.result.records import best_of_each_size as best_of_each_size
from rulesearch.result.records import looked_at as looked_at
from rulesearch.result.whole import NO_RULE as NO_RULE
from rulesearch.result.whole import SO_FAR as SO_FAR
from rulesearch.result.whole import Result as Result
