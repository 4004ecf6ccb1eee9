"""Source of what does not separate: values on synapses, computed a vector at a time where needed.

A value on synapses is never stored. Loops go over rows, one pre-neuron each, and along a row over
vectors of post-neurons. The padding of a row is masked: a function of zero need not be zero.
Where a pixel is dark, most of what does not separate vanishes, and only the rest is computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rulesearch.kernels.fused.names import (
    adjoint,
    at_work,
    function,
    indented,
    is_number,
    local,
    offsets,
)
from rulesearch.kernels.fused.savings import group_is_dark, sum_is_dark
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.kernels.fused.spelling import multiplied_up, spell_vector, summed
from rulesearch.lowering import Elementwise, Group, Sum
from rulesearch.operators import POST, PRE, SCALAR, SYNAPSE, Index

#: Which rows of a layer, as the bounds of a loop over the list `order`.
_ROWS = {"all": "0, size_pre", "lit": "lit, lit_end", "dark": "dark, dark_end"}
#: How a value is read where vectors of post-neurons stand in a loop over pre-neurons.
_SUFFIX: dict[Index, str] = {PRE: "_k", POST: "_j", SCALAR: "_s", SYNAPSE: "_"}

#: A group of the rest with its number among all groups.
_Numbered = tuple[int, Group]


def sums_source(schedule: Schedule, level: int) -> list[str]:
    """The function `synapses_<level>`: the sums over values on synapses of a level."""
    sums = schedule.levels[level].synapse_sums
    before, row, inside, after = [], [], [], []
    dark = all(sum_is_dark(schedule.plan, node) for node in sums)
    for node in sums:
        summand = _kept(_times(_at(node.matrix), _vector(node)))
        if node.axis == "post":
            before += [f"clear({node.name}, rows)"] if dark else []
            row.append(f"sum_{node.name} = zero(w)")
            inside.append(f"sum_{node.name} = add(sum_{node.name}, {summand})")
            after.append(f"{node.name}[k] = total(sum_{node.name})")
        else:
            before.append(f"clear({node.name}, width)")
            inside.append(_added(node.name, summand))
    matrices = [n.matrix for n in sums]
    body = _loops(schedule, matrices, "lit" if dark else "all", before, row, inside, after)
    doc = "; ".join(str(node) for node in sums)
    return function(schedule, f"synapses_{level}", doc, body, offsets(schedule), ", order")


def sums_adjoint_source(schedule: Schedule, level: int) -> list[str]:
    """The function `synapses_<level>_adjoint`."""
    sums = schedule.levels[level].synapse_sums
    shares: list[tuple[str, str]] = []
    for node in sums:
        assert node.matrix, "a sum over synapses"
        above = adjoint(node.name) + ("_k" if node.axis == "post" else "_j")
        vector = _vector(node)
        if vector:
            wild = schedule.plan.delicate(node, node.vector)
            shares.append((node.matrix, _product(above, vector, delicate=wild)))
            wild = schedule.plan.delicate(node, node.matrix)
            share = _product(above, _at(node.matrix), delicate=wild)
            shares.append((str(node.vector), share))
        else:
            shares.append((node.matrix, above))
    dark = all(sum_is_dark(schedule.plan, node) for node in sums)
    body = _adjoint_loops(schedule, [n.matrix for n in sums], "lit" if dark else "all", shares)
    doc = "Adjoint of " + "; ".join(str(node) for node in sums)
    return function(schedule, f"synapses_{level}_adjoint", doc, body, offsets(schedule), ", order")


def rest_source(schedule: Schedule) -> list[str]:
    """The function `rest`: the part of the update that needs values on synapses."""
    groups = _rest(schedule)
    body = [
        f"works{g} = {at_work(group.parts)}" for g, group in groups if _is_wild(schedule, group)
    ]
    for which, some in _by_rows(schedule, groups):
        terms = []
        for g, group in some:
            term = _times(multiplied_up([_at(group.matrix), f"v{g}_k"]), _post(group))
            wild = _is_wild(schedule, group)
            terms.append(f"({term} if works{g} else zero(w))" if wild else term)
        inside = [f"store(row, j, add(w_, {_kept(summed(terms))}))"] if terms else []
        # What traces were is read by all that changes weights, so they are kept in the same pass.
        inside += [f"store({t.before}_row, j, {_kept(f'{t.value}_')})" for t in schedule.matrices]
        read = [*(group.matrix for _, group in some), *(t.value for t in schedule.matrices)]
        body += _loops(schedule, read, which, [], [], inside, [])
    return function(
        schedule, "rest", "W += Σ matrix ⊙ (u ⊗ v).", body, offsets(schedule), ", order"
    )


def rest_adjoint_source(schedule: Schedule) -> list[str]:
    """The function `rest_adjoint`; changes Λ in place."""
    body = []
    for which, some in _by_rows(schedule, _rest(schedule)):
        shares: list[tuple[str, str]] = []
        row, inside, after = [], [], []
        for g, group in some:
            assert group.matrix, "a group of the rest has a matrix"
            value, post = _at(group.matrix), _post(group)
            # v is zero where no coefficient asks for what may be infinite or no number.
            lam = f"mul(lam_, v{g}_k)"
            wild = not schedule.plan.bounded(group.post)
            shares.append((group.matrix, _product(lam, post, delicate=wild) if post else lam))
            row.append(f"sum_v{g} = zero(w)")
            whole = _kept(_times(f"mul(lam_, {value})", post))
            inside.append(f"sum_v{g} = add(sum_v{g}, {whole})")
            after.append(f"a_v{g}[k] = total(sum_v{g})")
            if group.post:
                wild = not schedule.plan.bounded(group.matrix)
                shares.append((group.post, _product(lam, value, delicate=wild)))
        # Λ of weights and of traces are those after the step, until this pass has read them.
        shares += [(t.value, f"lam_{t.before}_") for t in schedule.matrices]
        matrices = [*(group.matrix for _, group in some), *(t.value for t in schedule.matrices)]
        body += _adjoint_loops(schedule, matrices, which, shares, inside, row, after, anew=True)
    return function(
        schedule, "rest_adjoint", "Adjoint of `rest`.", body, offsets(schedule), ", order"
    )


def _rest(schedule: Schedule) -> list[_Numbered]:
    return list(enumerate(schedule.rest, len(schedule.groups) - len(schedule.rest)))


def _by_rows(
    schedule: Schedule, groups: Sequence[_Numbered]
) -> Sequence[tuple[str, Sequence[_Numbered]]]:
    """Which rows, and the groups that change their weights."""
    alive = [(g, group) for g, group in groups if not group_is_dark(schedule.plan, group)]
    if len(alive) == len(groups) or schedule.matrices:
        return [("all", groups)]
    return [("lit", groups), *([("dark", alive)] if alive else [])]


def tells_rows_apart(schedule: Schedule) -> bool:
    """Whether some groups change the weights of dark pixels, and others do not."""
    return any(which == "dark" for which, _ in _by_rows(schedule, _rest(schedule)))


def _is_wild(schedule: Schedule, group: Group) -> bool:
    return not schedule.plan.bounded(group.matrix, group.post)


def _loops(
    schedule: Schedule,
    matrices: Iterable[str | None],
    which: str,
    before: Sequence[str],
    row: Sequence[str],
    inside: Sequence[str],
    after: Sequence[str],
) -> list[str]:
    """Loops over synapses in which every value that the matrices need is at hand."""
    values, _ = values_on_synapses(schedule, schedule.behind(matrices))
    lines = [*values, *inside]
    once, rows, columns = bindings(lines, [trace.before for trace in schedule.matrices])
    return [
        *once,
        *before,
        f"for i in range({_ROWS[which]}):",
        "    k = order[i]",
        "    if k >= size_pre:",
        "        continue",
        *indented(["row = pointer(w, k * width)", *rows, *row]),
        "    for j in range(0, width, LANES):",
        *indented(["w_ = load(row, j)", *columns, *lines], 2),
        *indented(after),
    ]


def bindings(
    lines: Iterable[str], matrices: Sequence[str] = ()
) -> tuple[list[str], list[str], list[str]]:
    """Lines that bind what loops over synapses read: once, for each row k, and at each place j.

    Args:
        lines: of the loop.
        matrices: names of matrices beside the weights that it may read, and Λ of which add to.
    """
    used = set(re.findall(r"[A-Za-z_]\w*", "\n".join(lines)))
    rows, columns, once = [], [], []
    for name in dict.fromkeys(re.sub("_[kjs]$", "", token) for token in sorted(used)):
        if f"{name}_k" in used:
            rows.append(f"{name}_k = splat({name}[k])")
        if f"{name}_j" in used:
            columns.append(f"{name}_j = load({name}, j)")
        if f"{name}_s" in used:
            once.append(f"{name}_s = splat({name if is_number(name) else f'{name}[0]'})")
    if "B_" in used:
        rows.append("other_row = pointer(other, k * width)")
        columns.append("B_ = load(other_row, j)")
    for name in (*matrices, *(f"lam_{matrix}" for matrix in (*matrices, "other"))):
        if used & {f"{name}_", f"{name}_row"}:
            rows.append(f"{name}_row = pointer({name}, k * width)")
            columns.append(f"{name}_ = load({name}_row, j)")
    if "lam_" in used:
        rows.append("lam_row = pointer(lam, k * width)")
        columns.append("lam_ = load(lam_row, j)")
    return once, rows, columns


def values_on_synapses(
    schedule: Schedule, nodes: Iterable[Elementwise]
) -> tuple[list[str], dict[str, str]]:
    """Lines that compute values on synapses, and the calls of functions among them."""
    lines: list[str] = []
    calls: dict[str, str] = {}
    for node in nodes:
        reads, ranges = _reads(schedule, node), schedule.plan.ranges
        before, text = spell_vector(node.expression, reads, ranges, calls=calls)
        lines += [*before, f"{node.name}_ = {text}"]
    return lines, calls


def _adjoint_loops(
    schedule: Schedule,
    matrices: Sequence[str | None],
    which: str,
    shares: Sequence[tuple[str, str]],
    inside: Sequence[str] = (),
    row: Sequence[str] = (),
    after: Sequence[str] = (),
    *,
    anew: bool = False,
) -> list[str]:
    """Loops that send shares (name, source) back through the values on synapses.

    `anew` if Λ of traces of synapses, which are among the shares, come to be those before the step.
    """
    index = schedule.plan.index
    nodes = schedule.behind(matrices)
    own = {node.name for node in nodes}
    pending: dict[str, list[str]] = {}
    for name, share in shares:
        pending.setdefault(name, []).append(share)
    chain: list[str] = []
    _, calls = values_on_synapses(schedule, nodes)
    for node in reversed(nodes):
        chain.append(f"{adjoint(node.name)}_ = {summed(pending.pop(node.name))}")
        for name, partial in node.partials.items():
            if partial != 0 and not is_number(name):
                reads = _reads(schedule, node)
                lines, factor = spell_vector(
                    partial, reads, schedule.plan.ranges, calls=calls, slope=True
                )
                chain += lines
                delicate = schedule.plan.delicate(node, partial)
                text = _product(f"{adjoint(node.name)}_", factor, delicate=delicate)
                pending.setdefault(name, []).append(text)
    assert not own & set(pending), "every value on synapses has been passed"
    before, rows, ends, last = [], list(row), list(after), []
    for name, texts in pending.items():
        share = _kept(summed(texts))
        total = f"sum_{local(name)}"
        if name == "B" and schedule.plan.changes != "B":
            continue  # nothing changes it
        if index[name] == SYNAPSE:
            of = {"W": "lam", "B": "lam_other"}.get(name, f"lam_{name}")
            fresh = anew and of.startswith("lam_") and of != "lam_other"
            sent = share if fresh else f"add({of}_, {share})"
            chain.append(f"store({of}_row, j, {sent})")
        elif index[name] == POST:
            chain.append(_added(adjoint(name), share))
        else:
            chain.append(f"{total} = add({total}, {share})")
            if index[name] == PRE:
                rows.append(f"{total} = zero(w)")
                ends.append(f"{adjoint(name)}[k] += total({total})")
            else:
                before.append(f"{total} = zero(w)")
                last.append(f"{adjoint(name)}[0] += total({total})")
    return [*_loops(schedule, matrices, which, before, rows, [*inside, *chain], ends), *last]


def _reads(schedule: Schedule, node: Elementwise) -> dict[str, str]:
    return {n: _read(schedule, n) for n in (*node.reads, node.name)}


def _read(schedule: Schedule, name: str) -> str:
    return local(name) + _SUFFIX[schedule.plan.index[name]]


def _at(matrix: str | None) -> str:
    return f"{local(matrix)}_" if matrix else "splat(F(1.0))"


def _post(group: Group) -> str | None:
    return f"{local(group.post)}_j" if group.post else None


def _vector(node: Sum) -> str | None:
    if node.vector is None:
        return None
    return local(node.vector) + ("_j" if node.axis == "post" else "_k")


def _times(value: str, other: str | None) -> str:
    return f"mul({value}, {other})" if other else value


def _product(above: str, factor: str, *, delicate: bool) -> str:
    """A product in an adjoint; `delicate` where it may be 0·∞, which is 0 there."""
    return f"vector_product({above}, {factor})" if delicate else f"mul({above}, {factor})"


def _kept(value: str) -> str:
    """A value without what stands in the padding of a row."""
    return f"kept({value}, ones_post_j)"


def _added(target: str, value: str) -> str:
    return f"store({target}, j, add(load({target}, j), {value}))"
