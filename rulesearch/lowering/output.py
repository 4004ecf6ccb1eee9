"""The output layer of a step: activity, error and loss, from the row of a loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from rulesearch.lowering.plan import Plan
from rulesearch.lowering.sharing import Sums, name_sums, share
from rulesearch.model import Model
from rulesearch.operators.losses import TARGET, TOP


@dataclass(frozen=True)
class Output:
    """What the output layer computes from its potentials and what it should answer.

    Attributes:
        plan: nodes over z_post, t_post and top; without groups.
        activity: name of the value that y_post is there.
        error: of e_post.
        loss: of L.
    """

    plan: Plan
    activity: str
    error: str
    loss: str


@lru_cache(maxsize=64)
def output_of(model: Model, *, steep: bool = False) -> Output:
    """The output layer of a model.

    Args:
        model: of the network.
        steep: whether adjoints that arrive may be infinite.

    Example:
        >>> from rulesearch.operators.losses import LOSSES
        >>> print(output_of(Model(loss=LOSSES["squared"])).plan)
        q0 = -t_post + z_post
        q1 = q0**2
        s0 = sum_post(q1)
        s1 = s0/2
    """
    sums = Sums({}, {TARGET.name: TARGET.index, TOP.name: TOP.index})
    wanted = [name_sums(e, sums) for e in (model.loss.output, model.loss.error, model.loss.value)]
    nodes, names = share(wanted, sums)
    activity, error, loss = (names[e] for e in wanted)
    assert activity
    assert error
    assert loss
    return Output(Plan((), nodes, (), model=model, zeros=steep), activity, error, loss)
