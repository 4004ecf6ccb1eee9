"""Pool to plan: what a step computes, shared across terms, and placed by index set.

A plan knows no shapes, no coefficients and no tensors (design, section 5). It turns the rule into

    ΔW = Σ_g  matrix_g ⊙ (post_g ⊗ v_g),      v_g = Σ θ_term · coefficient · scalar · pre

with one group for each distinct post-side factor. `matrix_g` is absent for what separates into
post times pre, so that a pool of any number of terms over the same factors costs hardly more than
a few outer products. Other parameters that terms change have a plan of their own beside that of W.

`plan` is the data, `sharing` finds what is computed once, `terms` lowers a pool, `output` the loss.
"""

from rulesearch.lowering.output import Output as Output
from rulesearch.lowering.output import output_of as output_of
from rulesearch.lowering.plan import Carried as Carried
from rulesearch.lowering.plan import Elementwise as Elementwise
from rulesearch.lowering.plan import Group as Group
from rulesearch.lowering.plan import Node as Node
from rulesearch.lowering.plan import Part as Part
from rulesearch.lowering.plan import Plan as Plan
from rulesearch.lowering.plan import Sum as Sum
from rulesearch.lowering.terms import lower as lower
from rulesearch.lowering.terms import lower_terms as lower_terms
