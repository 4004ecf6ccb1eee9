"""Generated source: the values of a plan's nodes, and their adjoint, in batched torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from rulesearch.lowering.plan import NUMBERS, Elementwise, Plan, Sum
from rulesearch.lowering.zeros import product, reciprocal
from rulesearch.operators import PARAMETERS, POST, PRE, SCALAR, SYNAPSE, Index, spell

#: Name of a quantity or node -> its value in one layer, for all lifetimes.
Values = dict[str, Tensor]
#: Outer products that reach a parameter, (post row, pre row) each, by its name.
Pairs = dict[str, list[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class InTorch:
    """The functions of a plan's values.

    Attributes:
        source: of both.
        values: adds the value of every node to the quantities of a layer.
        pull: (values, adjoints, pairs) -> from the adjoints of nodes to those of quantities.
    """

    source: str
    values: Callable[[Values], Values]
    pull: Callable[[Values, Values, Pairs], Values]


@lru_cache(maxsize=256)
def in_torch(plan: Plan) -> InTorch:
    """A plan's values and their adjoint, compiled."""
    source = f"{forward_source(plan)}\n\n\n{adjoint_source(plan)}\n"
    functions = compiled_source(source)
    return InTorch(source, functions["values"], functions["pull"])


def compiled_source(source: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The functions of generated source, by name."""
    namespace: dict[str, Any] = {
        "torch": torch,
        "math": math,
        "product": product,
        "reciprocal": reciprocal,
        **(more or {}),
    }
    exec(compile(source, "<in torch>", "exec"), namespace)  # our own printer's text
    return namespace


def _read(plan: Plan, name: str, loop: Index) -> str:
    """A value as it is read inside a loop: post-side rows stand as columns beside synapses."""
    return f"{name}.mT" if loop == SYNAPSE and plan.index[name] == POST else name


def _node_source(plan: Plan, node: Elementwise | Sum) -> str:
    if isinstance(node, Elementwise):
        rename = {r: _read(plan, r, node.index) for r in node.reads}
        return spell(node.expression, "torch", rename, plan.spelled_by)
    if node.matrix is None:
        return f"{node.vector}.sum(-1, keepdim=True)"
    if node.axis == "pre":
        if node.vector is None:
            return f"{node.matrix}.sum(-1)[:, None, :]"
        return f"torch.bmm({node.vector}, {node.matrix}.mT)"
    if node.vector is None:
        return f"{node.matrix}.sum(-2, keepdim=True)"
    return f"torch.bmm({node.vector}, {node.matrix})"


def _unpack(names: Sequence[str], source: str) -> list[str]:
    return [f"    {name} = {source}[{name!r}]" for name in names]


def forward_source(plan: Plan) -> str:
    """Source of `values(v)`: adds the value of every node to the quantities `v` of a layer."""
    quantities = sorted(plan.quantities)
    lines = ["def values(v):", *_unpack(quantities, "v")]
    lines += [f"    {node.name} = {_node_source(plan, node)}" for node in plan.nodes]
    lines += [f"    v[{node.name!r}] = {node.name}" for node in plan.nodes]
    return "\n".join([*lines, "    return v"])


_REDUCE: Mapping[tuple[Index, Index], str] = {
    (SYNAPSE, PRE): ".sum(-2, keepdim=True)",
    (SYNAPSE, POST): ".sum(-1)[:, None, :]",
    (SYNAPSE, SCALAR): ".sum((-1, -2), keepdim=True)",
    (PRE, SCALAR): ".sum(-1, keepdim=True)",
    (POST, SCALAR): ".sum(-1, keepdim=True)",
}


def _pull_elementwise(plan: Plan, node: Elementwise) -> Iterator[str]:
    for read, partial in node.partials.items():
        if read in NUMBERS or partial == 0:
            continue
        rename = {s.name: _read(plan, s.name, node.index) for s in partial.free_symbols}
        factor = spell(partial, "torch", rename, plan.spelled_by, slope=True)
        if not plan.delicate(node, partial):
            contribution = f"(bar_{node.name} * ({factor}))"
        elif partial.is_number:  # nor can a number be infinite
            contribution = f"(({factor}) * bar_{node.name})"
        else:
            contribution = f"product(bar_{node.name}, {factor})"
        contribution += _REDUCE.get((node.index, plan.index[read]), "")
        yield f"    add({read!r}, {contribution})"


def _pull_sum(plan: Plan, node: Sum) -> Iterator[str]:
    bar = f"bar_{node.name}"
    if node.matrix is None:
        yield f"    add({node.vector!r}, {bar}.expand_as({node.vector}))"
        return
    side = node.matrix + (".mT" if node.axis == "post" else "")
    vector = node.vector or f"torch.ones_like({side}[:, :1, :])"
    if node.vector and plan.delicate(node, node.matrix):
        # Each entry by itself: a product of matrices would let one infinite entry into a whole sum.
        yield f"    add({node.vector!r}, product({bar}.mT, {side}).sum(-2, keepdim=True))"
    elif node.vector:
        yield f"    add({node.vector!r}, torch.bmm({bar}, {side}))"
    post, pre = (bar, vector) if node.axis == "pre" else (vector, bar)
    if plan.delicate(node, node.vector):
        yield f"    add({node.matrix!r}, product({post}.mT, {pre}))"
    elif node.matrix in PARAMETERS:
        yield f"    pairs[{node.matrix!r}].append(({post}, {pre}))"
    else:
        yield f"    add({node.matrix!r}, {post}.mT * {pre})"


def adjoint_source(plan: Plan) -> str:
    """Source of `pull(v, bar, pairs)`: from the adjoints of nodes to those of quantities.

    `bar` maps names to adjoints and is completed; what reaches a parameter through a
    matrix-vector product is left as an outer product in `pairs`, a (post row, pre row) each.
    """
    names = [*sorted(plan.quantities), *(n.name for n in plan.nodes)]
    lines = [
        "def pull(v, bar, pairs):",
        *_unpack(names, "v"),
        "    def add(name, value):",
        "        bar[name] = bar[name] + value if name in bar else value",
    ]
    for node in reversed(plan.nodes):
        lines.append(f"    bar_{node.name} = bar.get({node.name!r})")
        body = list(
            _pull_elementwise(plan, node)
            if isinstance(node, Elementwise)
            else _pull_sum(plan, node)
        )
        if body:
            lines.append(f"    if bar_{node.name} is not None:")
            lines += ["    " + line for line in body]
    return "\n".join([*lines, "    return bar"])
