"""Source of what a plan computes on neurons and layers, and of its adjoint."""

from __future__ import annotations

from collections.abc import Sequence

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
    read,
    reads,
)
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.kernels.fused.spelling import number, spell
from rulesearch.lowering import Elementwise, Group, Node, Part
from rulesearch.lowering.plan import NUMBERS
from rulesearch.operators import POST, PRE, SCALAR, Index

_LOOP: dict[Index, str] = {
    PRE: "for k in range(size_pre):",
    POST: "for j in range(size_post):",
}


def values_source(order: Schedule, level: int) -> list[str]:
    """The function `values_<level>`: elementwise values and plain sums of a level."""
    nodes = order.levels[level].values
    body = [line for node in nodes for line in value_lines(order, node)]
    doc = "; ".join(str(node) for node in nodes)
    return function(order, f"values_{level}", doc, body, offsets(order), _with_before(order))


def values_adjoint_source(order: Schedule, level: int) -> list[str]:
    """The function `values_<level>_adjoint`."""
    nodes = order.levels[level].values
    body = [line for node in reversed(nodes) for line in adjoint_lines(order, node)]
    doc = "Adjoint of " + "; ".join(str(node) for node in nodes)
    return function(
        order, f"values_{level}_adjoint", doc, body, offsets(order), _with_before(order)
    )


def begin_source(order: Schedule) -> list[str]:
    """The function `begin_traces`: what traces are at first, put where the step before would be."""
    where = offsets(order, "f_before")
    body = []
    for trace in order.traces:
        body += [_each(trace.index, f"{local(trace.value)}[{{}}] = start_{trace.name}[{{}}]")]
    return function(order, "begin_traces", "Traces as they begin.", body, where, ", f_before")


def remember_source(order: Schedule) -> list[str]:
    """The function `remember`: the adjoints of traces that the step after has left."""
    body = []
    for trace in order.traces:
        old = adjoint(trace.before)
        body += [
            _each(trace.index, f"{adjoint(trace.value)}[{{}}] += {old}[{{}}]"),
            _each(trace.index, f"{old}[{{}}] = F(0.0)"),
        ]
    return function(order, "remember", "What the step after reads of traces.", body, offsets(order))


def forget_source(order: Schedule) -> list[str]:
    """The function `forget`: no step after the last reads a trace."""
    body = [_each(trace.index, f"{adjoint(trace.before)}[{{}}] = F(0.0)") for trace in order.traces]
    return function(order, "forget", "Nothing is left of a step after.", body, offsets(order))


def _each(index: Index, line: str) -> str:
    """A line at every neuron, or once for the layer."""
    if index == SCALAR:
        return line.replace("{}", "0")
    place = "k" if index == PRE else "j"
    return f"{_LOOP[index]} {line.replace('{}', place)}"


def _with_before(order: Schedule) -> str:
    return ", f_before" if order.traces else ""


def value_lines(order: Schedule, node: Node) -> list[str]:
    """Lines that compute a value on neurons or of a layer."""
    if not isinstance(node, Elementwise):
        assert node.vector, "a sum over nothing is a number"
        index = order.plan.index[node.vector]
        term = read(node.vector, index)
        return [
            "total_ = F(0.0)",
            _LOOP[index],
            f"    total_ += {term}",
            f"{node.name}[0] = total_",
        ]
    text = spell(node.expression, reads(order, node.reads), order.plan.spelled_by)
    scalars = bind_scalars(order, node.reads)
    if node.index == SCALAR:
        return [*scalars, f"{node.name}[0] = {text}"]
    return [*scalars, _LOOP[node.index], f"    {read(node.name, node.index)} = {text}"]


def adjoint_lines(order: Schedule, node: Node) -> list[str]:
    """Lines from the adjoint of a value to those of what it reads."""
    index = order.plan.index
    if not isinstance(node, Elementwise):
        assert node.vector, "a sum over nothing is a number"
        return [
            f"d = {adjoint(node.name)}[0]",
            _LOOP[index[node.vector]],
            f"    {_adjoint_at(node.vector, index[node.vector])} += d",
        ]
    partials = {n: p for n, p in node.partials.items() if p != 0 and n not in NUMBERS}
    if not partials:
        return []
    names = [*node.reads, node.name]
    rename = reads(order, names)
    before = bind_scalars(order, names)
    inside, after = [f"d = {_adjoint_at(node.name, node.index)}"], []
    for name, partial in partials.items():
        factor = spell(partial, rename, order.plan.spelled_by, slope=True)
        share = multiplied("d", factor, delicate=order.plan.delicate(node, partial))
        if index[name] == SCALAR != node.index:
            before.append(f"sum_{local(name)} = F(0.0)")
            inside.append(f"sum_{local(name)} += {share}")
            after.append(f"{adjoint(name)}[0] += sum_{local(name)}")
        else:
            inside.append(f"{_adjoint_at(name, index[name])} += {share}")
    if node.index == SCALAR:
        return [*before, *inside]
    return [*before, _LOOP[node.index], *indented(inside), *after]


def _adjoint_at(name: str, index: Index) -> str:
    place = {PRE: "k", POST: "j", SCALAR: "0"}[index]
    return f"{adjoint(name)}[{place}]"


def vectors_source(order: Schedule) -> list[str]:
    """The function `vectors`: the pre-side vector of every group."""
    body: list[str] = []
    for g, group in enumerate(order.groups):
        terms = []
        for i, (pre, parts) in enumerate(_by_pre(group)):
            body.append(f"c{g}_{i} = {' + '.join(part_share(order, p) for p in parts)}")
            if pre and not order.plan.bounded(pre):
                body.append(f"pre{g}_{i} = {local(pre)} if {at_work(parts)} else zeros")
                terms.append(f"c{g}_{i} * pre{g}_{i}[k]")
            else:
                terms.append(f"c{g}_{i} * {read(pre, PRE)}" if pre else f"c{g}_{i}")
        body += [_LOOP[PRE], f"    v{g}[k] = {' + '.join(terms)}"]
    body = [*bind_scalars(order, _scalars(order)), *body]
    doc = "The vectors v of ΔW = Σ matrix ⊙ (u ⊗ v)."
    return function(order, "vectors", doc, body, offsets(order))


def vectors_adjoint_source(order: Schedule) -> list[str]:
    """The function `vectors_adjoint`: from the adjoints of v to those of θ and of the parts."""
    body: list[str] = []
    for g, group in enumerate(order.groups):
        # The products of Λ that a group takes for its coefficients may be no numbers.
        wild = not order.plan.bounded(group.matrix, group.post)
        inside, after = [f"d = a_v{g}[k]"], []
        for i, (pre, parts) in enumerate(_by_pre(group)):
            body.append(f"i{g}_{i} = F(0.0)")
            inside.append(f"i{g}_{i} += d * {read(pre, PRE)}" if pre else f"i{g}_{i} += d")
            if pre:
                body.append(f"c{g}_{i} = {' + '.join(part_share(order, p) for p in parts)}")
                share = multiplied(f"c{g}_{i}", "d", delicate=wild)
                inside.append(f"{_adjoint_at(pre, PRE)} += {share}")
            for part in parts:
                c = number(part.coefficient)
                factor = f"{c} * {read(part.scalar, SCALAR)}" if part.scalar else c
                name = order.plan.terms[part.term].name
                after.append(f"a_theta[{part.term}] += {factor} * i{g}_{i}  # {name}")
                if part.scalar and not is_number(part.scalar):
                    share = multiplied(
                        f"theta[{part.term}] * {c}",
                        f"i{g}_{i}",
                        delicate=wild or not order.plan.bounded(pre),
                    )
                    after.append(f"{adjoint(part.scalar)}[0] += {share}")
        body += [_LOOP[PRE], *indented(inside), *after]
    body = [*bind_scalars(order, _scalars(order)), *body]
    doc = "Adjoint of `vectors`; adds to the gradient of θ."
    return function(order, "vectors_adjoint", doc, body, offsets(order))


def part_share(order: Schedule, part: Part) -> str:
    """The source of what a part multiplies its vector by; 0 where its coefficient is."""
    factors = [f"theta[{part.term}]", number(part.coefficient)]
    if part.scalar:
        factors.append(read(part.scalar, SCALAR))
    share = " * ".join(factors)
    return (
        share if order.plan.bounded(part.scalar) else f"({share} if {at_work([part])} else F(0.0))"
    )


def _scalars(order: Schedule) -> list[str]:
    return [p.scalar for g in order.groups for p in g.parts if p.scalar]


def _by_pre(group: Group) -> Sequence[tuple[str | None, list[Part]]]:
    sides: dict[str | None, list[Part]] = {}
    for part in group.parts:
        sides.setdefault(part.pre, []).append(part)
    return list(sides.items())
