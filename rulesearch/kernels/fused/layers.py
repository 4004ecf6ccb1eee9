"""Source of what a step does in one layer, as calls of row passes; and of the adjoints.

Each function here writes one function of the generated module, and adds the passes that it calls
to a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rulesearch.kernels.fused.models import before_potentials, curvature
from rulesearch.kernels.fused.names import (
    adjoint,
    at_work,
    function,
    local,
    multiplied,
    offsets,
    or_ones,
)
from rulesearch.kernels.fused.rows import RowPass
from rulesearch.kernels.fused.savings import group_is_dark, sum_is_dark
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.pathways import Carrier


def _call(
    rows: RowPass,
    operands: Sequence[str],
    *,
    which: str = "all",
    matrix: str = "w",
    width: str = "width",
) -> list[str]:
    """A call of a pass over rows of a layer, one group of operands to a line."""
    listed = {
        "all": "0, rows",
        "lit": "lit, lit_end",
        "touched": "touched, touched_end",
    }[which]
    head = f"{rows.name}(order, {listed}, {width}, {matrix}"
    if not operands:
        return [head + ")"]
    return [
        head + ",",
        *("    " + o + "," for o in operands[:-1]),
        f"    {operands[-1]})",
    ]


def _pending(schedule: Schedule, prefix: str = "") -> tuple[int, tuple[bool, ...], list[str]]:
    """The update by outer products and scalings: numbers of operands, and their names."""
    operands = [
        f"{prefix}v{g}, {_post(schedule, g) or or_ones(x.post, 'post')}"
        for g, x in enumerate(schedule.outer)
    ]
    for g in range(len(schedule.outer), len(schedule.outer) + len(schedule.scalings)):
        vector, post = f"{prefix}v{g}", _post(schedule, g)
        operands.append(f"{vector}, {post}" if post else vector)
    return len(schedule.outer), tuple(g.post is not None for g in schedule.scalings), operands


def _post(schedule: Schedule, g: int) -> str:
    """The local of a group's post-side vector as an update has it; "" where there is none."""
    post = schedule.groups[g].post
    if not post:
        return ""
    return local(post) if schedule.plan.bounded(post) else f"u{g}"


def _idle(schedule: Schedule, name: Callable[[str], str] = local) -> list[str]:
    """Lines that put zeros in the place of post-side vectors that no coefficient asks for.

    An update multiplies them by a v of zeros, and they may be infinite or no numbers.
    """
    return [
        f"{name(f'u{g}')} = {name(local(group.post))} if {at_work(group.parts)} else zeros"
        for g, group in enumerate(schedule.outer + schedule.scalings)
        if group.post and not schedule.plan.bounded(group.post)
    ]


def _limits(schedule: Schedule, where: str = "") -> list[str]:
    """Lines that say between which numbers the matrix is kept, if `where` holds."""
    if schedule.limits is None:
        return []
    low, high = (f"F({limit!r})" for limit in schedule.limits)
    if where:
        low, high = f"{low} if {where} else F(-math.inf)", f"{high} if {where} else F(math.inf)"
    return [f"low = {low}", f"high = {high}"]


def _between(schedule: Schedule) -> list[str]:
    return [] if schedule.limits is None else ["low, high"]


def _update_is_dark(schedule: Schedule) -> bool:
    # What has a bound is brought back to it everywhere.
    return schedule.limits is None and all(
        group_is_dark(schedule.plan, g) for g in schedule.outer + schedule.scalings
    )


def _undo_vectors(schedule: Schedule) -> list[str]:
    """Lines that put zeros in the place of the vectors where there is nothing to undo."""
    count = len(schedule.outer) + len(schedule.scalings)
    return [f"undo_v{g} = zeros if exact else v{g}" for g in range(count)]


def drive_source(schedule: Schedule, passes: list[RowPass]) -> list[str]:
    """The function `drive`: the pending update, and the potentials of a step."""
    updates, scalings, operands = _pending(schedule)
    rows = RowPass(updates, scalings, gathers=1, clips=schedule.limits is not None)
    passes.append(rows)
    which = "touched" if _update_is_dark(schedule) else "all"
    begin, own = before_potentials(schedule.plan.model)
    body = [
        *begin,
        *_idle(schedule),
        *_limits(schedule, "at[0, BOUNDED]"),
        *_call(rows, [*operands, "y_now, z_now", *_between(schedule)], which=which),
    ]
    where = offsets(schedule) | {
        "y_now": "f_now + at[l, Y]",
        "z_now": "f_now + at[l + 1, Z]",
        **own,
    }
    doc = "The update of the step before, and z = W y of this one, in one pass."
    return function(schedule, "drive", doc, body, where, ", f_now, order")


def change_source(schedule: Schedule, passes: list[RowPass]) -> list[str]:
    """The function `change`: an update alone."""
    updates, scalings, operands = _pending(schedule)
    rows = RowPass(updates, scalings, clips=schedule.limits is not None)
    doc = "The update by outer products and scalings alone."
    if not rows.changes:
        return function(schedule, "change", doc, [], offsets(schedule), ", order")
    passes.append(rows)
    operands += _between(schedule)
    body = _call(rows, operands, which="lit" if _update_is_dark(schedule) else "all")
    body = [*_idle(schedule), *_limits(schedule), *body]
    return function(schedule, "change", doc, body, offsets(schedule), ", order")


def undo_source(schedule: Schedule, passes: list[RowPass]) -> list[str]:
    """The function `undo`: an update taken back alone."""
    updates, scalings, operands = _pending(schedule, "undo_")
    rows = RowPass(updates, scalings, undo=True)
    doc = "From the weights after the step to those before it, unless these are at hand."
    if not rows.changes:
        return function(schedule, "undo", doc, [], offsets(schedule), ", exact, order")
    passes.append(rows)
    body = _call(rows, operands, which="lit" if _update_is_dark(schedule) else "all")
    body = [*_undo_vectors(schedule), *_idle(schedule), *body]
    return function(schedule, "undo", doc, body, offsets(schedule), ", exact, order")


def _call_carrier(schedule: Schedule, rows: RowPass, carrier: Carrier, operands: str) -> list[str]:
    """A call over the rows of B: of W, of the edge's own matrix, or of both together."""
    return _call(
        rows,
        ["back", operands] if carrier == "signs" else [operands],
        # Where the slope at a pixel of 0 is not 0, dark pixels have errors.
        which="lit" if schedule.plan.model.activation.closed_at_zero else "all",
        matrix="back" if carrier == "fixed" else "w",
        width="source_width",
    )


def error_source(schedule: Schedule, carrier: Carrier, passes: list[RowPass]) -> list[str]:
    """The function `error`: errors of the layer below."""
    both = RowPass(partner_dots=(True,), partner_signed=True)
    rows = both if carrier == "signs" else RowPass(dots=(False,))
    passes.append(rows)
    body = [
        "clear(r, rows)",
        *_call_carrier(schedule, rows, carrier, "e_source, r"),
        "for k in range(size_pre):",
        "    e_pre[k] = r[k] * slope[k]",
    ]
    doc = "Eq. 3: e = (B e_source) ⊙ σ'."
    return function(schedule, "error", doc, body, offsets(schedule), ", order")


def error_adjoint_source(schedule: Schedule, carrier: Carrier, passes: list[RowPass]) -> list[str]:
    """The function `error_adjoint`.

    Where signs carry errors, a weight that undoing brings back to the other side of zero, as
    rounding may, has the wrong sign here. In float32, over 250 steps, gradients are no closer to
    float64's with a checkpoint at every step.
    """
    both = RowPass(partner_gathers=1, partner_signed=True)
    rows = both if carrier == "signs" else RowPass(gathers=1)
    passes.append(rows)
    steep = bool(schedule.plan.steep)
    gated = multiplied("a_e_pre[k]", "slope[k]", delicate=steep)
    bends = curvature(schedule.plan.model.activation)
    through = {
        name: multiplied("a_e_pre[k]", f"r[k] * {bend}", delicate=steep)
        for name, bend in bends.items()
    }
    body = [
        "one = F(1.0)",
        "for k in range(size_pre):",
        f"    c[k] = {gated}",
        *(f"    {adjoint(name)}[k] += {share}" for name, share in through.items()),
        *_call_carrier(schedule, rows, carrier, "c, a_e_source"),
    ]
    return function(
        schedule, "error_adjoint", "Adjoint of `error`.", body, offsets(schedule), ", order"
    )


def drive_adjoint_source(schedule: Schedule, passes: list[RowPass]) -> list[str]:
    """The function `drive_adjoint`: to the activities below."""
    rows = RowPass(dots=(True,))
    passes.append(rows)
    body = _call(rows, ["a_z_post, a_y_pre"])
    doc = "Adjoint of z = W y with respect to y."
    return function(schedule, "drive_adjoint", doc, body, offsets(schedule), ", order")


def sums_source(schedule: Schedule, level: int, passes: list[RowPass]) -> list[str]:
    """The function `sums_<level>`: the sums over W of a level."""
    sums = schedule.levels[level].weight_sums
    dots = [s for s in sums if s.axis == "post"]
    gathers = [s for s in sums if s.axis == "pre"]
    rows = RowPass(dots=(False,) * len(dots), gathers=len(gathers))
    passes.append(rows)
    dark = all(sum_is_dark(schedule.plan, s) for s in sums)
    body = [f"clear({s.name}, rows)" for s in dots if dark]
    body += [f"clear({s.name}, width)" for s in gathers]
    operands = [f"{or_ones(s.vector, 'post')}, {s.name}" for s in dots]
    operands += [f"{or_ones(s.vector, 'pre')}, {s.name}" for s in gathers]
    body += _call(rows, operands, which="lit" if dark else "all")
    doc = "; ".join(str(s) for s in sums)
    return function(schedule, f"sums_{level}", doc, body, offsets(schedule), ", order")


def sums_adjoint_source(schedule: Schedule, level: int, passes: list[RowPass]) -> list[str]:
    """The function `sums_<level>_adjoint`; may take back the update on its way."""
    sums = schedule.levels[level].weight_sums
    dots = [s for s in sums if s.axis == "pre" and s.vector]
    gathers = [s for s in sums if s.axis == "post" and s.vector]
    undoes = schedule.undoes and schedule.undone_in == "sums" and level == schedule.last_sums
    dark = all(sum_is_dark(schedule.plan, s) for s in sums)
    rows = RowPass(dots=(True,) * len(dots), gathers=len(gathers))
    body: list[str] = []
    operands: list[str] = []
    if undoes:
        updates, _, operands = _pending(schedule, "undo_")
        rows = replace(rows, updates=updates, undo=True)
        body += [*_undo_vectors(schedule), *_idle(schedule)]
        dark = dark and _update_is_dark(schedule)
    if dots or gathers:
        passes.append(rows)
        operands += [f"{adjoint(s.name)}, {adjoint(s.vector)}" for s in dots + gathers if s.vector]
        body += _call(rows, operands, which="lit" if dark else "all")
    doc = "Adjoint, but for the weights' own, of " + "; ".join(str(s) for s in sums)
    arguments = ", exact, order" if undoes else ", order"
    return function(schedule, f"sums_{level}_adjoint", doc, body, offsets(schedule), arguments)


@dataclass(frozen=True)
class _Arriving:
    """What brings Λ from after a step to before it, as a pass over the rows has it.

    Attributes:
        body: lines that come first.
        outer: operands of the outer products that are added,
        scale: and of the factors, which come before.
        weighted: for each factor, whether it has a vector on the post side.
        where: local -> the source of its offset.
        dark: whether rows that are lit neither in the step nor in the one after stay as they are.
    """

    body: list[str]
    outer: list[str]
    scale: list[str]
    weighted: tuple[bool, ...]
    where: dict[str, str]
    dark: bool


def _arriving(schedule: Schedule, carrier: Carrier) -> _Arriving:
    now, then = offsets(schedule), offsets(schedule, "f_after", "b_after")
    where = dict(now)

    def late(name: str) -> str:
        if name in then:
            where[f"after_{name}"] = then[name]
        return f"after_{name}"

    outer = [f"{late('y_pre')}, {late('a_z_post')}"]
    if schedule.plan.changes == "B":
        # What a matrix of feedback is there for: errors, r = B e_source.
        outer = [f"{late('c')}, {late('e_source')}"]
    elif carrier == "transpose":
        outer.append(f"{late('c')}, {late('e_source')}")
    sums = [s for level in schedule.levels for s in level.weight_sums]
    body = []
    for i, node in enumerate(sums):
        vector, other = late(or_ones(node.vector, node.axis)), late(adjoint(node.name))
        if schedule.plan.delicate(node, node.vector):
            # An infinite entry makes all sums infinite: either all of their adjoints are zero,
            # or the derivatives are not finite anyway.
            size = f"size_{'post' if node.axis == 'pre' else 'pre'}"
            body.append(f"vector{i} = {vector} if some({other}, {size}) else zeros")
            vector = f"vector{i}"
        outer.append(f"{vector}, {other}" if node.axis == "pre" else f"{other}, {vector}")
    body += _idle(schedule, late)
    scale = []
    for g, group in enumerate(schedule.scalings, len(schedule.outer)):
        factor = late(f"v{g}")
        scale.append(f"{factor}, {late(_post(schedule, g))}" if group.post else factor)
    weighted = tuple(g.post is not None for g in schedule.scalings)
    dark = _update_is_dark(schedule) and all(sum_is_dark(schedule.plan, s) for s in sums)
    # What an error of a dark pixel came through.
    if carrier == "transpose" and "e_pre" in schedule.quantities:
        dark = dark and schedule.plan.model.activation.closed_at_zero
    return _Arriving(body, outer, scale, weighted, where, dark)


def bring_source(schedule: Schedule, carrier: Carrier, passes: list[RowPass]) -> list[str]:
    """The function `bring`: Λ brought to this step, and nothing else."""
    arriving = _arriving(schedule, carrier)
    rows = RowPass(len(arriving.outer), arriving.weighted)
    passes.append(rows)
    which = "touched" if arriving.dark else "all"
    body = [
        *arriving.body,
        *_call(rows, [*arriving.outer, *arriving.scale], which=which, matrix="lam"),
    ]
    return function(
        schedule, "bring", "Λ of this step.", body, arriving.where, ", f_after, b_after, order"
    )


def groups_adjoint_source(schedule: Schedule, carrier: Carrier, passes: list[RowPass]) -> list[str]:
    """The function `groups_adjoint`: Λ brought to this step, and its products."""
    arriving = _arriving(schedule, carrier)
    body = [*arriving.body]
    dots, gathers, pairs, pair_gathers = [], [], [], []
    for g, group in enumerate(schedule.outer):
        dots.append(f"{or_ones(group.post, 'post')}, a_v{g}")
        if group.post:
            gathers.append(f"v{g}, {adjoint(group.post)}")
    for g, group in enumerate(schedule.scalings, len(schedule.outer)):
        if group.post:
            pairs.append(f"{local(group.post)}, a_v{g}")
            pair_gathers.append(f"v{g}, {adjoint(group.post)}")
        else:
            pairs.append(f"a_v{g}")
    weighted = arriving.weighted
    undoes = schedule.undoes and schedule.undone_in == "groups"
    updates, scalings, held_by = _pending(schedule)
    held = schedule.limits is not None
    rows = RowPass(
        len(arriving.outer),
        weighted,
        dots=(False,) * len(dots),
        gathers=len(gathers),
        partner_dots=weighted,
        partner_gathers=len(pair_gathers),
        partner_undo=len(weighted) if undoes else None,
        masks=(updates, scalings) if held else None,
    )
    passes.append(rows)
    operands = [*arriving.outer, *arriving.scale, *dots, *gathers]
    body += _undo_vectors(schedule) if undoes else []
    if rows.partner:
        operands += ["w", *pairs, *pair_gathers]
    if undoes:
        operands += [f"undo_v{g}" for g in range(len(schedule.groups))]
    if held:
        # Of what a bound holds back nothing goes on.
        operands += [*held_by, *_between(schedule)]
        body += [*_idle(schedule), *_limits(schedule)]
    body += _call(rows, operands, which="touched" if arriving.dark else "all", matrix="lam")
    doc = "Λ of this step, and its products with the vectors of every group."
    arguments = ", f_after, b_after, " + ("exact, " if undoes else "") + "order"
    return function(schedule, "groups_adjoint", doc, body, arriving.where, arguments)
