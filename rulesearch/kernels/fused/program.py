"""The source of a whole kernel: a module with two compiled functions, `forward` and `adjoint`.

Weights are not taped. The vectors that a step's update was made of are, or can be made again from
what is taped, so the adjoint gets the weights before a step back from those after it: by
subtracting the same outer products again where that is possible (`Schedule.undoes`), else by
repeating the updates of a segment from its checkpoint. Undoing starts afresh from every
checkpoint too, so that rounding errors cannot grow over more than a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rulesearch.kernels.fused import synapses, values
from rulesearch.kernels.fused.layout import columns
from rulesearch.kernels.fused.names import adjoint, function, local, offsets, or_ones
from rulesearch.kernels.fused.rows import RowPass
from rulesearch.kernels.fused.savings import group_is_dark, sum_is_dark
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.network import BETA

_HEAD = '''\
"""{plan}"""

import math

import numpy
from numba import njit

from rulesearch.kernels.fused.layout import *
from rulesearch.kernels.fused.steps import *
from rulesearch.kernels.fused.vectors import add, fma, load, mul, splat, store, total, zero

F = numpy.{dtype}
LANES = {lanes}
BETA = F({beta!r})
'''

_FORWARD = '''\
@njit(cache=True, **FLAGS)
def forward(s, at, order, x, labels, query_labels, keep, segment, out):
    """The online pass and the query loss; out[:] = loss, accuracy, loss before the first step."""
    depth = len(at) - 1
    steps = len(x)
    clear(s, at[0, SCRATCH] + at[0, BLOCK], at[0, BLOCK])
    clear(s, at[0, FRAMES], at[0, FRAME])
    out[2] = query(s, at, query_labels, BETA, False)[0]
    for t in range(steps):
        before = frame(at, t - 1, keep)
        f = frame(at, t, keep)
        b = at[0, SCRATCH] + (t & 1) * at[0, BLOCK]
        b_before = at[0, SCRATCH] + (1 - (t & 1)) * at[0, BLOCK]
        pixels(s, at, order, f, before, x, t, BETA)
        for l in range(depth):
            drive(s, at, l, before, b_before, f, order)
            if l < depth - 1:
                hidden(s, at, l + 1, f, BETA)
        if keep and t % segment == 0:
            checkpoint = at[0, CHECKPOINTS] + t // segment * at[0, WEIGHTS]
            copy(s, at[0, W], checkpoint, at[0, WEIGHTS])
        output(s, at, f, labels[t])
        for l in range(depth - 1, -1, -1):
            error(s, at, l, f, b, order)
{step}
    f = frame(at, steps - 1, keep)
    b = at[0, SCRATCH] + ((steps - 1) & 1) * at[0, BLOCK]
    for l in range(depth):
        change(s, at, l, f, b, order)
    loss, accuracy = query(s, at, query_labels, BETA, keep)
    out[0] = loss
    out[1] = accuracy
'''

_ADJOINT = '''\
@njit(cache=True, **FLAGS)
def adjoint(s, at, order, x, labels, queries, segment):
    """The gradient of the query loss with respect to θ, after a `forward` that kept its tape."""
    depth = len(at) - 1
    steps = len(x)
    home = at[0, W]
    query_adjoint(s, at, queries)
    clear(s, at[0, A_THETA], at[0, A_THETA] - at[0, THETA])
    # There is no step after the last: its vectors are zero.
    clear(s, at[0, SCRATCH] + (steps & 1) * at[0, BLOCK], at[0, BLOCK])
    for t in range(steps - 1, -1, -1):
        f = frame(at, t, True)
        after = frame(at, t + 1, True) if t < steps - 1 else f
        b = at[0, SCRATCH] + (t & 1) * at[0, BLOCK]
        b_after = at[0, SCRATCH] + (1 - (t & 1)) * at[0, BLOCK]
{recover}
        list_rows(s, at, order, f, after)
        clear(s, b + at[0, ADJOINTS], at[0, BLOCK] - at[0, ADJOINTS])
        for l in range(depth):
{step}
            error_adjoint(s, at, l, f, b, order)
        output_adjoint(s, at, f, b, labels[t])
        for l in range(depth - 1, 0, -1):
            drive_adjoint(s, at, l, f, b, order)
            hidden_adjoint(s, at, l, f, b)
    use_weights(at, home)
'''

_UNDO = """\
        exact = t % segment == 0
        if exact:
            checkpoint = at[0, CHECKPOINTS] + t // segment * at[0, WEIGHTS]
            copy(s, checkpoint, at[0, W], at[0, WEIGHTS])
"""

_REPLAY = """\
        slot = t % segment
        if slot == segment - 1 or t == steps - 1:
            checkpoint = at[0, CHECKPOINTS] + t // segment * at[0, WEIGHTS]
            copy(s, checkpoint, at[0, SLOTS], at[0, WEIGHTS])
            for i in range(slot):
                here = at[0, SLOTS] + (i + 1) * at[0, WEIGHTS]
                copy(s, here - at[0, WEIGHTS], here, at[0, WEIGHTS])
                use_weights(at, here)
                f_i = frame(at, t - slot + i, True)
                list_rows(s, at, order, f_i, f_i)
                for l in range(depth):
{replay}
                    change(s, at, l, f_i, b, order)
        use_weights(at, at[0, SLOTS] + slot * at[0, WEIGHTS])
"""


def source(order: Schedule, *, tied: bool, dtype: str, lanes: int) -> str:
    """The module's source.

    Args:
        order: the schedule.
        tied: whether errors travel through the transposed weights.
        dtype: float32 or float64.
        lanes: values in a vector of that dtype.
    """
    passes: list[RowPass] = []
    layers = [
        _drive(order, passes),
        _change(order, passes),
        _error(order, tied, passes),
        _error_adjoint(order, tied, passes),
        _drive_adjoint(order, passes),
        _groups_adjoint(order, tied, passes),
        values.vectors_source(order),
        values.vectors_adjoint_source(order),
    ]
    if order.undoes and order.undone_in == "alone":
        layers.append(_undo(order, passes))
    if order.rest:
        layers += [synapses.rest_source(order), synapses.rest_adjoint_source(order)]
    for i, level in enumerate(order.levels):
        if level.values:
            layers += [values.values_source(order, i), values.values_adjoint_source(order, i)]
        if level.weight_sums:
            layers += [_sums(order, i, passes), _sums_adjoint(order, i, passes)]
        if level.synapse_sums:
            layers += [synapses.sums_source(order, i), synapses.sums_adjoint_source(order, i)]
    head = _HEAD.format(plan=order.plan, dtype=dtype, lanes=lanes, beta=BETA)
    head += "".join(f"{name} = {number}\n" for name, number in columns(order).items())
    functions = [*(p.source() for p in dict.fromkeys(passes)), *layers]
    text = [head, *("\n".join(lines) + "\n" for lines in functions)]
    text += [_forward(order), _adjoint(order, tied)]
    return "\n\n".join(text)


def _forward(order: Schedule) -> str:
    calls = _refresh(order, with_sums=True)
    if order.rest:
        calls.append("rest(s, at, l, f, b)")
    return _FORWARD.format(step=_lines(calls, 3))


def _adjoint(order: Schedule, tied: bool) -> str:
    calls = _refresh(order, with_sums=False)
    if order.undoes:
        recover = _UNDO
        if order.undone_in == "alone" and (_reads_input_weights(order, tied)):
            calls.append("undo(s, at, l, f, b, exact, order)")
        elif order.undone_in == "alone":
            calls += ["if l > 0:", "    undo(s, at, l, f, b, exact, order)"]
    else:
        replay = [c.replace("l, f, b", "l, f_i, b") for c in _refresh(order, with_sums=False)]
        if order.rest:
            replay.append("rest(s, at, l, f_i, b)")
        recover = _REPLAY.format(replay=_lines(replay, 5))
    exact = "exact, " if order.undoes else ""
    groups = exact if order.undone_in == "groups" else ""
    calls.append(f"groups_adjoint(s, at, l, f, b, after, b_after, {groups}order)")
    if order.rest:
        calls.append("rest_adjoint(s, at, l, f, b)")
    calls.append("vectors_adjoint(s, at, l, f, b)")
    for i, level in reversed(list(enumerate(order.levels))):
        if level.synapse_sums:
            calls.append(f"synapses_{i}_adjoint(s, at, l, f, b)")
        if level.weight_sums:
            sums = exact if order.undone_in == "sums" and i == order.last_sums else ""
            calls.append(f"sums_{i}_adjoint(s, at, l, f, b, {sums}order)")
        if level.values:
            calls.append(f"values_{i}_adjoint(s, at, l, f, b)")
    return _ADJOINT.format(recover=recover.rstrip("\n"), step=_lines(calls, 3))


def _reads_input_weights(order: Schedule, tied: bool) -> bool:
    """Whether the adjoint reads the weights of the first layer, from which nothing goes on."""
    return tied or bool(order.synapse) or order.last_sums is not None


def _refresh(order: Schedule, *, with_sums: bool) -> list[str]:
    """Calls that compute a layer's values and vectors; sums over synapses may be on the tape."""
    calls = []
    for i, level in enumerate(order.levels):
        if level.values:
            calls.append(f"values_{i}(s, at, l, f, b)")
        if level.weight_sums and with_sums:
            calls.append(f"sums_{i}(s, at, l, f, b, order)")
        if level.synapse_sums and with_sums:
            calls.append(f"synapses_{i}(s, at, l, f, b)")
    return [*calls, "vectors(s, at, l, f, b)"]


def _lines(calls: Sequence[str], levels: int) -> str:
    return "\n".join("    " * levels + call for call in calls)


# --- functions of a layer: calls of row passes ---------------------------------------------------


def _call(
    rows: RowPass,
    operands: Sequence[str],
    *,
    which: str = "all",
    matrix: str = "w",
    width: str = "width",
) -> list[str]:
    """A call of a pass over rows of a layer, one group of operands to a line."""
    listed = {"all": "0, rows", "lit": "lit, lit_end", "touched": "touched, touched_end"}[which]
    head = f"{rows.name}(s, order, {listed}, {width}, {matrix}"
    if not operands:
        return [head + ")"]
    return [head + ",", *("    " + o + "," for o in operands[:-1]), f"    {operands[-1]})"]


def _pending(order: Schedule, prefix: str = "") -> tuple[int, tuple[bool, ...], list[str]]:
    """The update by outer products and scalings: numbers of operands, and their names."""
    operands = [f"{prefix}v{g}, {or_ones(x.post, 'post')}" for g, x in enumerate(order.outer)]
    for g, group in enumerate(order.scalings, len(order.outer)):
        vector = f"{prefix}v{g}"
        operands.append(f"{vector}, {local(group.post)}" if group.post else vector)
    return len(order.outer), tuple(g.post is not None for g in order.scalings), operands


def _update_is_dark(order: Schedule) -> bool:
    return all(group_is_dark(order.plan, g) for g in order.outer + order.scalings)


def _undo_vectors(order: Schedule) -> list[str]:
    """Lines that put zeros in the place of the vectors where there is nothing to undo."""
    count = len(order.outer) + len(order.scalings)
    return [f"undo_v{g} = zeros if exact else v{g}" for g in range(count)]


def _drive(order: Schedule, passes: list[RowPass]) -> list[str]:
    updates, scalings, operands = _pending(order)
    rows = RowPass(updates, scalings, gathers=1)
    passes.append(rows)
    which = "touched" if _update_is_dark(order) else "all"
    body = ["clear(s, z_now, width)", *_call(rows, [*operands, "y_now, z_now"], which=which)]
    where = offsets(order) | {"y_now": "f_now + at[l, Y]", "z_now": "f_now + at[l + 1, Z]"}
    doc = "The update of the step before, and z = W y of this one, in one pass."
    return function("drive", doc, body, where, ", f_now, order")


def _change(order: Schedule, passes: list[RowPass]) -> list[str]:
    updates, scalings, operands = _pending(order)
    rows = RowPass(updates, scalings)
    doc = "The update by outer products and scalings alone."
    if not rows.changes:
        return function("change", doc, [], offsets(order), ", order")
    passes.append(rows)
    body = _call(rows, operands, which="lit" if _update_is_dark(order) else "all")
    return function("change", doc, body, offsets(order), ", order")


def _undo(order: Schedule, passes: list[RowPass]) -> list[str]:
    updates, scalings, operands = _pending(order, "undo_")
    rows = RowPass(updates, scalings, undo=True)
    doc = "From the weights after the step to those before it, unless these are at hand."
    if not rows.changes:
        return function("undo", doc, [], offsets(order), ", exact, order")
    passes.append(rows)
    body = _call(rows, operands, which="lit" if _update_is_dark(order) else "all")
    body = [*_undo_vectors(order), *body]
    return function("undo", doc, body, offsets(order), ", exact, order")


def _error(order: Schedule, tied: bool, passes: list[RowPass]) -> list[str]:
    rows = RowPass(dots=(False,))
    passes.append(rows)
    matrix = "w" if tied else "back"
    body = [
        "clear(s, r, rows)",
        *_call(rows, ["e_source, r"], which="lit", matrix=matrix, width="source_width"),
        "for k in range(size_pre):",
        "    s[e_pre + k] = s[r + k] * s[slope + k]",
    ]
    where = offsets(order) | _back() | {"r": "f + at[l, R]", "slope": "f + at[l, SLOPE]"}
    doc = "Eq. 3: e = (B e_source) ⊙ σ'."
    return function("error", doc, body, where, ", order")


def _error_adjoint(order: Schedule, tied: bool, passes: list[RowPass]) -> list[str]:
    rows = RowPass(gathers=1)
    passes.append(rows)
    matrix = "w" if tied else "back"
    body = [
        "one = F(1.0)",
        "for k in range(size_pre):",
        "    s[c + k] = s[a_e_pre + k] * s[slope + k]",
        "    change_ = BETA * (one - s[slope + k])  # of σ' with y",
        "    s[a_y_pre + k] += s[a_e_pre + k] * s[r + k] * change_",
        *_call(rows, ["c, a_e_source"], which="lit", matrix=matrix, width="source_width"),
    ]
    where = offsets(order) | _back() | {"r": "f + at[l, R]", "slope": "f + at[l, SLOPE]"}
    where["a_e_source"] = "b + at[at[l, SOURCE], A_E]"
    return function("error_adjoint", "Adjoint of `error`.", body, where, ", order")


def _back() -> dict[str, str]:
    return {"back": "at[l, B]", "source_width": "at[at[l, SOURCE], WIDTH]"}


def _drive_adjoint(order: Schedule, passes: list[RowPass]) -> list[str]:
    rows = RowPass(dots=(True,))
    passes.append(rows)
    body = _call(rows, ["a_z_post, a_y_pre"])
    doc = "Adjoint of z = W y with respect to y."
    return function("drive_adjoint", doc, body, offsets(order), ", order")


def _sums(order: Schedule, level: int, passes: list[RowPass]) -> list[str]:
    sums = order.levels[level].weight_sums
    dots = [s for s in sums if s.axis == "post"]
    gathers = [s for s in sums if s.axis == "pre"]
    rows = RowPass(dots=(False,) * len(dots), gathers=len(gathers))
    passes.append(rows)
    dark = all(sum_is_dark(order.plan, s) for s in sums)
    body = [f"clear(s, {s.name}, rows)" for s in dots if dark]
    body += [f"clear(s, {s.name}, width)" for s in gathers]
    operands = [f"{or_ones(s.vector, 'post')}, {s.name}" for s in dots]
    operands += [f"{or_ones(s.vector, 'pre')}, {s.name}" for s in gathers]
    body += _call(rows, operands, which="lit" if dark else "all")
    doc = "; ".join(str(s) for s in sums)
    return function(f"sums_{level}", doc, body, offsets(order), ", order")


def _sums_adjoint(order: Schedule, level: int, passes: list[RowPass]) -> list[str]:
    sums = order.levels[level].weight_sums
    dots = [s for s in sums if s.axis == "pre" and s.vector]
    gathers = [s for s in sums if s.axis == "post" and s.vector]
    undoes = order.undoes and order.undone_in == "sums" and level == order.last_sums
    dark = all(sum_is_dark(order.plan, s) for s in sums)
    rows = RowPass(dots=(True,) * len(dots), gathers=len(gathers))
    body: list[str] = []
    operands: list[str] = []
    if undoes:
        updates, _, operands = _pending(order, "undo_")
        rows = replace(rows, updates=updates, undo=True)
        body += _undo_vectors(order)
        dark = dark and _update_is_dark(order)
    if dots or gathers:
        passes.append(rows)
        operands += [f"{adjoint(s.name)}, {adjoint(s.vector)}" for s in dots + gathers if s.vector]
        body += _call(rows, operands, which="lit" if dark else "all")
    doc = "Adjoint, but for the weights' own, of " + "; ".join(str(s) for s in sums)
    arguments = ", exact, order" if undoes else ", order"
    return function(f"sums_{level}_adjoint", doc, body, offsets(order), arguments)


def _groups_adjoint(order: Schedule, tied: bool, passes: list[RowPass]) -> list[str]:
    """Λ: brought from the step after to this one, then multiplied with all vectors."""
    now, then = offsets(order), offsets(order, "f_after", "b_after")
    where = dict(now)

    def late(name: str) -> str:
        where[f"after_{name}"] = then[name]
        return f"after_{name}"

    outer = [f"{late('y_pre')}, {late('a_z_post')}"]
    if tied:
        outer.append(f"{late('c')}, {late('e_source')}")
    sums = [s for level in order.levels for s in level.weight_sums]
    for node in sums:
        vector = or_ones(node.vector, "pre" if node.axis == "pre" else "post")
        pair = [late(vector), late(adjoint(node.name))]
        outer.append(", ".join(pair if node.axis == "pre" else reversed(pair)))
    scale, dots, gathers, pairs, pair_gathers = [], [], [], [], []
    for g, group in enumerate(order.outer):
        dots.append(f"{or_ones(group.post, 'post')}, a_v{g}")
        if group.post:
            gathers.append(f"v{g}, {adjoint(group.post)}")
    for g, group in enumerate(order.scalings, len(order.outer)):
        if group.post:
            scale.append(f"{late(f'v{g}')}, {late(local(group.post))}")
            pairs.append(f"{local(group.post)}, a_v{g}")
            pair_gathers.append(f"v{g}, {adjoint(group.post)}")
        else:
            scale.append(late(f"v{g}"))
            pairs.append(f"a_v{g}")
    weighted = tuple(g.post is not None for g in order.scalings)
    undoes = order.undoes and order.undone_in == "groups"
    rows = RowPass(
        len(outer),
        weighted,
        dots=(False,) * len(dots),
        gathers=len(gathers),
        partner_dots=weighted,
        partner_gathers=len(pair_gathers),
        partner_undo=len(weighted) if undoes else None,
    )
    passes.append(rows)
    operands = [*outer, *scale, *dots, *gathers]
    body = _undo_vectors(order) if undoes else []
    if rows.partner:
        operands += ["w", *pairs, *pair_gathers]
    if undoes:
        operands += [f"undo_v{g}" for g in range(len(order.groups))]
    dark = _update_is_dark(order) and all(sum_is_dark(order.plan, s) for s in sums)
    body += _call(rows, operands, which="touched" if dark else "all", matrix="lam")
    doc = "Λ of this step, and its products with the vectors of every group."
    arguments = ", f_after, b_after, " + ("exact, " if undoes else "") + "order"
    return function("groups_adjoint", doc, body, where, arguments)
