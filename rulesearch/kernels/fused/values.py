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


def values_source(schedule: Schedule, level: int) -> list[str]:
    """The function `values_<level>`: elementwise values and plain sums of a level."""
    nodes = schedule.levels[level].values
    body = [line for node in nodes for line in value_lines(schedule, node)]
    doc = "; ".join(str(node) for node in nodes)
    return function(
        schedule, f"values_{level}", doc, body, offsets(schedule), _with_before(schedule)
    )


def values_adjoint_source(schedule: Schedule, level: int) -> list[str]:
    """The function `values_<level>_adjoint`."""
    nodes = schedule.levels[level].values
    body = [line for node in reversed(nodes) for line in adjoint_lines(schedule, node)]
    doc = "Adjoint of " + "; ".join(str(node) for node in nodes)
    return function(
        schedule, f"values_{level}_adjoint", doc, body, offsets(schedule), _with_before(schedule)
    )


def begin_source(schedule: Schedule) -> list[str]:
    """The function `begin_traces`: what traces are at first, put where the step before would be."""
    where = offsets(schedule, "f_before")
    body = []
    for trace in schedule.traces:
        body += [_each(trace.index, f"{local(trace.value)}[{{}}] = start_{trace.before}[{{}}]")]
    return function(schedule, "begin_traces", "Traces as they begin.", body, where, ", f_before")


def remember_source(schedule: Schedule) -> list[str]:
    """The function `remember`: the adjoints of traces that the step after has left."""
    body = []
    for trace in schedule.traces:
        old = adjoint(trace.before)
        body += [
            _each(trace.index, f"{adjoint(trace.value)}[{{}}] += {old}[{{}}]"),
            _each(trace.index, f"{old}[{{}}] = F(0.0)"),
        ]
    return function(
        schedule, "remember", "What the step after reads of traces.", body, offsets(schedule)
    )


def forget_source(schedule: Schedule) -> list[str]:
    """The function `forget`: no step after the last reads a trace."""
    body = [
        _each(trace.index, f"{adjoint(trace.before)}[{{}}] = F(0.0)") for trace in schedule.traces
    ]
    return function(schedule, "forget", "Nothing is left of a step after.", body, offsets(schedule))


def _each(index: Index, line: str) -> str:
    """A line at every neuron, or once for the layer."""
    if index == SCALAR:
        return line.replace("{}", "0")
    place = "k" if index == PRE else "j"
    return f"{_LOOP[index]} {line.replace('{}', place)}"


def _with_before(schedule: Schedule) -> str:
    return ", f_before" if schedule.traces else ""


def value_lines(schedule: Schedule, node: Node) -> list[str]:
    """Lines that compute a value on neurons or of a layer."""
    if not isinstance(node, Elementwise):
        assert node.vector, "a sum over nothing is a number"
        index = schedule.plan.index[node.vector]
        term = read(node.vector, index)
        return [
            "total_ = F(0.0)",
            _LOOP[index],
            f"    total_ += {term}",
            f"{node.name}[0] = total_",
        ]
    text = spell(node.expression, reads(schedule, node.reads), schedule.plan.spelled_by)
    scalars = bind_scalars(schedule, node.reads)
    if node.index == SCALAR:
        return [*scalars, f"{node.name}[0] = {text}"]
    return [*scalars, _LOOP[node.index], f"    {read(node.name, node.index)} = {text}"]


def adjoint_lines(schedule: Schedule, node: Node) -> list[str]:
    """Lines from the adjoint of a value to those of what it reads."""
    index = schedule.plan.index
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
    rename = reads(schedule, names)
    before = bind_scalars(schedule, names)
    inside, after = [f"d = {_adjoint_at(node.name, node.index)}"], []
    for name, partial in partials.items():
        factor = spell(partial, rename, schedule.plan.spelled_by, slope=True)
        share = multiplied("d", factor, delicate=schedule.plan.delicate(node, partial))
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


def vectors_source(schedule: Schedule) -> list[str]:
    """The function `vectors`: the pre-side vector of every group."""
    body: list[str] = []
    for g, group in enumerate(schedule.groups):
        terms = []
        for i, (pre, parts) in enumerate(_by_pre(group)):
            body.append(f"c{g}_{i} = {' + '.join(part_share(schedule, p) for p in parts)}")
            if pre and not schedule.plan.bounded(pre):
                body.append(f"pre{g}_{i} = {local(pre)} if {at_work(parts)} else zeros")
                terms.append(f"c{g}_{i} * pre{g}_{i}[k]")
            else:
                terms.append(f"c{g}_{i} * {read(pre, PRE)}" if pre else f"c{g}_{i}")
        body += [_LOOP[PRE], f"    v{g}[k] = {' + '.join(terms)}"]
    body = [*bind_scalars(schedule, _scalars(schedule)), *body]
    doc = "The vectors v of ΔW = Σ matrix ⊙ (u ⊗ v)."
    return function(schedule, "vectors", doc, body, offsets(schedule))


def vectors_adjoint_source(schedule: Schedule) -> list[str]:
    """The function `vectors_adjoint`: from the adjoints of v to those of θ and of the parts."""
    body: list[str] = []
    for g, group in enumerate(schedule.groups):
        # The products of Λ that a group takes for its coefficients may be no numbers.
        wild = not schedule.plan.bounded(group.matrix, group.post)
        inside, after = [f"d = a_v{g}[k]"], []
        for i, (pre, parts) in enumerate(_by_pre(group)):
            body.append(f"i{g}_{i} = F(0.0)")
            inside.append(f"i{g}_{i} += d * {read(pre, PRE)}" if pre else f"i{g}_{i} += d")
            if pre:
                body.append(f"c{g}_{i} = {' + '.join(part_share(schedule, p) for p in parts)}")
                share = multiplied(f"c{g}_{i}", "d", delicate=wild)
                inside.append(f"{_adjoint_at(pre, PRE)} += {share}")
            for part in parts:
                c = number(part.coefficient)
                factor = f"{c} * {read(part.scalar, SCALAR)}" if part.scalar else c
                name = schedule.plan.terms[part.term].name
                after.append(f"a_theta[{part.term}] += {factor} * i{g}_{i}  # {name}")
                if part.scalar and not is_number(part.scalar):
                    share = multiplied(
                        f"theta[{part.term}] * {c}",
                        f"i{g}_{i}",
                        delicate=wild or not schedule.plan.bounded(pre),
                    )
                    after.append(f"{adjoint(part.scalar)}[0] += {share}")
        body += [_LOOP[PRE], *indented(inside), *after]
    body = [*bind_scalars(schedule, _scalars(schedule)), *body]
    doc = "Adjoint of `vectors`; adds to the gradient of θ."
    return function(schedule, "vectors_adjoint", doc, body, offsets(schedule))


def part_share(schedule: Schedule, part: Part) -> str:
    """The source of what a part multiplies its vector by; 0 where its coefficient is."""
    factors = [f"theta[{part.term}]", number(part.coefficient)]
    if part.scalar:
        factors.append(read(part.scalar, SCALAR))
    share = " * ".join(factors)
    return (
        share
        if schedule.plan.bounded(part.scalar)
        else f"({share} if {at_work([part])} else F(0.0))"
    )


def _scalars(schedule: Schedule) -> list[str]:
    return [p.scalar for g in schedule.groups for p in g.parts if p.scalar]


def _by_pre(group: Group) -> Sequence[tuple[str | None, list[Part]]]:
    sides: dict[str | None, list[Part]] = {}
    for part in group.parts:
        sides.setdefault(part.pre, []).append(part)
    return list(sides.items())
