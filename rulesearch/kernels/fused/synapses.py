"""Source of what does not separate: values on synapses, computed in plain loops where needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rulesearch.kernels.fused.names import (
    adjoint,
    at_work,
    bind_scalars,
    function,
    indented,
    is_number,
    local,
    multiplied,
    offsets,
    or_ones,
    reads,
)
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.kernels.fused.spelling import spell
from rulesearch.lowering import Elementwise, Sum
from rulesearch.operators import POST, PRE, SYNAPSE


def sums_source(order: Schedule, level: int) -> list[str]:
    """The function `synapses_<level>`: the sums over values on synapses of a level."""
    sums = order.levels[level].synapse_sums
    before, row, inside, after = [], [], [], []
    for node in sums:
        value = _at(order, node.matrix)
        if node.axis == "post":
            row.append(f"sum_{node.name} = F(0.0)")
            inside.append(f"sum_{node.name} += {_times(value, _vector(node))}")
            after.append(f"{node.name}[k] = sum_{node.name}")
        else:
            before.append(f"clear({node.name}, width)")
            inside.append(f"{node.name}[j] += {_times(value, _vector(node))}")
    body = _loops(order, [n.matrix for n in sums], before, row, inside, after)
    doc = "; ".join(str(node) for node in sums)
    return function(f"synapses_{level}", doc, body, offsets(order))


def sums_adjoint_source(order: Schedule, level: int) -> list[str]:
    """The function `synapses_<level>_adjoint`."""
    sums = order.levels[level].synapse_sums
    shares: list[tuple[str, str]] = []
    for node in sums:
        assert node.matrix, "a sum over synapses"
        above = f"{adjoint(node.name)}[{'k' if node.axis == 'post' else 'j'}]"
        vector = _vector(node)
        if vector:
            wild = order.plan.delicate(node, node.vector)
            shares.append((node.matrix, multiplied(above, vector, delicate=wild)))
            wild = order.plan.delicate(node, node.matrix)
            share = multiplied(above, _at(order, node.matrix), delicate=wild)
            shares.append((str(node.vector), share))
        else:
            shares.append((node.matrix, above))
    body = _adjoint_loops(order, [n.matrix for n in sums], shares, [])
    doc = "Adjoint of " + "; ".join(str(node) for node in sums)
    return function(f"synapses_{level}_adjoint", doc, body, offsets(order))


def rest_source(order: Schedule) -> list[str]:
    """The function `rest`: the part of the update that needs values on synapses."""
    first = len(order.groups) - len(order.rest)
    before, terms = [], []
    for g, group in enumerate(order.rest, first):
        post = f"{or_ones(group.post, 'post')}[j]"
        term = f"{_at(order, group.matrix)} * v{g}[k] * {post}"
        if not order.plan.bounded(group.matrix, group.post):
            before.append(f"works{g} = {at_work(group.parts)}")
            term = f"({term} if works{g} else F(0.0))"
        terms.append(term)
    inside = [f"w[row + j] = w_ + {' + '.join(terms)}"]
    body = _loops(order, [g.matrix for g in order.rest], before, [], inside, [])
    return function("rest", "W += Σ matrix ⊙ (u ⊗ v).", body, offsets(order))


def rest_adjoint_source(order: Schedule) -> list[str]:
    """The function `rest_adjoint`; changes Λ in place."""
    first = len(order.groups) - len(order.rest)
    shares: list[tuple[str, str]] = []
    row, inside, after = [], ["lam_ = lam[row + j]"], []
    for g, group in enumerate(order.rest, first):
        assert group.matrix, "a group of the rest has a matrix"
        value, post = _at(order, group.matrix), f"{or_ones(group.post, 'post')}[j]"

        def share(factor: str, name: str | None, vector: str = f"v{g}[k]") -> str:
            # v is zero where no coefficient asks for what may be infinite or no number.
            wild = not order.plan.bounded(name)
            return multiplied(f"lam_ * {vector}", factor, delicate=wild)

        shares.append((group.matrix, share(post, group.post)))
        row.append(f"sum_v{g} = F(0.0)")
        inside.append(f"sum_v{g} += lam_ * {value} * {post}")
        after.append(f"a_v{g}[k] = sum_v{g}")
        if group.post:
            shares.append((group.post, share(value, group.matrix)))
    body = _adjoint_loops(order, [g.matrix for g in order.rest], shares, inside, row, after)
    return function("rest_adjoint", "Adjoint of `rest`.", body, offsets(order))


def _loops(
    order: Schedule,
    matrices: Iterable[str | None],
    before: Sequence[str],
    row: Sequence[str],
    inside: Sequence[str],
    after: Sequence[str],
) -> list[str]:
    """Loops over all synapses in which every value that the matrices need is at hand."""
    nodes = order.behind(matrices)
    scalars = bind_scalars(order, (n for node in nodes for n in node.reads if n != "W"))
    ranges = order.plan.ranges
    values = [
        f"{node.name}_ = {spell(node.expression, _reads(order, node), ranges)}" for node in nodes
    ]
    return [
        *scalars,
        *before,
        "for k in range(size_pre):",
        *indented(["row = k * width", *row]),
        "    for j in range(size_post):",
        *indented(["w_ = w[row + j]", *values, *inside], 2),
        *indented(after),
    ]


def _adjoint_loops(
    order: Schedule,
    matrices: Sequence[str | None],
    shares: Sequence[tuple[str, str]],
    inside: Sequence[str],
    row: Sequence[str] = (),
    after: Sequence[str] = (),
) -> list[str]:
    """Loops that send shares (name, source) back through the values on synapses."""
    index = order.plan.index
    nodes = order.behind(matrices)
    own = {node.name for node in nodes}
    pending: dict[str, list[str]] = {}
    for name, share in shares:
        pending.setdefault(name, []).append(share)
    chain: list[str] = []
    for node in reversed(nodes):
        chain.append(f"{adjoint(node.name)}_ = {' + '.join(pending.pop(node.name))}")
        for name, partial in node.partials.items():
            if partial != 0 and not is_number(name):
                factor = spell(partial, _reads(order, node), order.plan.ranges, slope=True)
                delicate = order.plan.delicate(node, partial)
                text = multiplied(f"{adjoint(node.name)}_", factor, delicate=delicate)
                pending.setdefault(name, []).append(text)
    assert not own & set(pending), "every value on synapses has been passed"
    before, rows, ends, last = [], list(row), list(after), []
    for name, texts in pending.items():
        share = " + ".join(texts)
        if index[name] == SYNAPSE:
            chain.append(f"lam[row + j] += {share}")
        elif index[name] == POST:
            chain.append(f"{adjoint(name)}[j] += {share}")
        elif index[name] == PRE:
            rows.append(f"sum_{local(name)} = F(0.0)")
            chain.append(f"sum_{local(name)} += {share}")
            ends.append(f"{adjoint(name)}[k] += sum_{local(name)}")
        else:
            before.append(f"sum_{local(name)} = F(0.0)")
            chain.append(f"sum_{local(name)} += {share}")
            last.append(f"{adjoint(name)}[0] += sum_{local(name)}")
    return [*_loops(order, matrices, before, rows, [*inside, *chain], ends), *last]


def _reads(order: Schedule, node: Elementwise) -> dict[str, str]:
    names = [*node.reads, node.name]
    on_synapses = {n: _at(order, n) for n in names if order.plan.index[n] == SYNAPSE}
    return {**reads(order, names), **on_synapses}


def _at(order: Schedule, name: str | None) -> str:
    return f"{local(name)}_" if name else "F(1.0)"


def _vector(node: Sum) -> str | None:
    if node.vector is None:
        return None
    return f"{local(node.vector)}[{'j' if node.axis == 'post' else 'k'}]"


def _times(value: str, other: str | None) -> str:
    return f"{value} * {other}" if other else value
