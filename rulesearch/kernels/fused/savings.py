"""What may be left out exactly: the rows of pixels that are zero.

A pixel that is zero in an image is *dark*: y_pre and z_pre are exactly 0 there, and e_pre where
σ'(0) is 0, as 1 - exp(0) is. SymPy says what of a plan vanishes with them. Where nothing of a pass
survives, the pass takes the lit rows alone; where no sum over pre-neurons has a summand that
survives, a pixel that is zero throughout a task has no influence on anything but its own weights.
"""

from __future__ import annotations

from functools import lru_cache

from sympy import Integer

from rulesearch.kernels.fused.spelling import symbol
from rulesearch.lowering import Elementwise, Group, Plan, Sum
from rulesearch.operators import PRE


@lru_cache(maxsize=256)
def vanishing(plan: Plan) -> frozenset[str]:
    """Names of the values that are zero at every synapse of a dark pixel.

    Example:
        >>> from rulesearch.notation import Pool
        >>> from rulesearch.lowering import lower
        >>> sorted(vanishing(lower(Pool(A="-e_post*tanh(y_pre*W)", B="y_post*cos(y_pre)"))))
        ['e_pre', 'm0', 'y_pre', 'z_pre']
    """
    names = {"y_pre", "z_pre"}
    if plan.model.activation.closed_at_zero:
        names.add("e_pre")
    for node in plan.nodes:
        if isinstance(node, Elementwise):
            dark = {symbol(name): Integer(0) for name in names}
            # 0/0 and 0·∞ stay what they are, and so do not vanish; SymPy takes 0·x for 0.
            gone = "pre" in node.index and node.expression.xreplace(dark) == 0
            gone = gone and plan.bounded(node.name)
        else:
            gone = node.axis == "post" and node.matrix in names and plan.bounded(node.vector)
        if gone:
            names.add(node.name)
    return frozenset(names)


@lru_cache(maxsize=256)
def needed(plan: Plan) -> frozenset[str]:
    """Names of the values on the pre side that are used even where a pixel is dark."""
    gone = vanishing(plan)
    wanted = {
        part.pre
        for group in plan.groups
        if not group_is_dark(plan, group)
        for part in group.parts
        if part.pre not in gone
    }
    for node in reversed(plan.nodes):
        if isinstance(node, Sum):
            if node.axis == "pre" and not _sum_vanishes(plan, node):
                wanted.update(node.reads)
        elif "pre" not in node.index or (node.name not in gone):
            wanted.update(node.reads)
    return frozenset(n for n in wanted if n and plan.index[n] == PRE and n not in gone)


def group_is_dark(plan: Plan, group: Group) -> bool:
    """Whether a group changes no weight of a dark pixel.

    What it takes from the post side, and its scalars, may be infinite: a lit pixel of the same
    image then has a weight that is no number, and the lifetime has diverged all the same. Without
    a lit pixel in an image, nothing is left out there (`FusedKernel`).
    """
    gone = vanishing(plan)
    pre = [part.pre for part in group.parts]
    if group.matrix in gone:
        return plan.bounded(*pre)
    return all(name in gone for name in pre) and plan.bounded(group.matrix)


def sum_is_dark(plan: Plan, node: Sum) -> bool:
    """Whether a sum over synapses needs no row of a dark pixel."""
    if node.axis == "pre":
        return _sum_vanishes(plan, node)
    return node.name not in needed(plan)


def _sum_vanishes(plan: Plan, node: Sum) -> bool:
    """Whether the summand of a sum over pre-neurons is zero where a pixel is dark."""
    return bool(vanishing(plan) & set(node.reads)) and plan.bounded(*node.reads)


def drops_columns(plan: Plan) -> bool:
    """Whether pixels that are zero throughout a task can be left out.

    Their weights may change then, as nothing reads them; but not to what is no number.
    """
    sums = [n for n in plan.nodes if isinstance(n, Sum) and n.axis == "pre"]
    return all(_sum_vanishes(plan, node) for node in sums) and all(
        group_is_dark(plan, group)
        or plan.bounded(
            group.matrix, group.post, *(n for p in group.parts for n in (p.pre, p.scalar))
        )
        for group in plan.groups
    )
