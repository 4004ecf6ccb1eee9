"""The two tables, operators and local quantities, and what follows from them.

Everything that knows an operator or a quantity reads it here: the parser, the index rule, the
derivative, the printers of every target, and the strategies of the property tests. A row is data;
a grammar file adds its own operator with `operator`.
"""

from rulesearch.operators.calculus import derivative as derivative
from rulesearch.operators.calculus import index_of as index_of
from rulesearch.operators.calculus import range_of as range_of
from rulesearch.operators.calculus import stranger as stranger
from rulesearch.operators.calculus import without_definitions as without_definitions
from rulesearch.operators.calculus import written_size as written_size
from rulesearch.operators.definition import COMMON as COMMON
from rulesearch.operators.definition import check_name as check_name
from rulesearch.operators.definition import defined as defined
from rulesearch.operators.definition import definitions_of as definitions_of
from rulesearch.operators.definition import operator as operator
from rulesearch.operators.intervals import ANYTHING as ANYTHING
from rulesearch.operators.intervals import NEURONS as NEURONS
from rulesearch.operators.intervals import Interval as Interval
from rulesearch.operators.quantities import PARAMETERS as PARAMETERS
from rulesearch.operators.quantities import POST as POST
from rulesearch.operators.quantities import PRE as PRE
from rulesearch.operators.quantities import QUANTITIES as QUANTITIES
from rulesearch.operators.quantities import SCALAR as SCALAR
from rulesearch.operators.quantities import SYNAPSE as SYNAPSE
from rulesearch.operators.quantities import Axis as Axis
from rulesearch.operators.quantities import Index as Index
from rulesearch.operators.quantities import LocalQuantity as LocalQuantity
from rulesearch.operators.quantities import Memory as Memory
from rulesearch.operators.quantities import OwnSymbol as OwnSymbol
from rulesearch.operators.quantities import Parameter as Parameter
from rulesearch.operators.quantities import definition_of as definition_of
from rulesearch.operators.quantities import row_of as row_of
from rulesearch.operators.spelling import TargetPrinter as TargetPrinter
from rulesearch.operators.spelling import spell as spell
from rulesearch.operators.table import OPERATORS as OPERATORS
from rulesearch.operators.table import NeuronSum as NeuronSum
from rulesearch.operators.table import Operator as Operator
from rulesearch.operators.table import Target as Target
from rulesearch.operators.table import operator_of as operator_of
from rulesearch.operators.table import sum_post as sum_post
from rulesearch.operators.table import sum_pre as sum_pre
