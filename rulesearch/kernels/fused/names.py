"""Names in generated source: which local stands for which value, and where its offset is from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.lowering import Part
from rulesearch.lowering.plan import NUMBERS
from rulesearch.operators import POST, PRE, QUANTITIES, SYNAPSE, Index
from rulesearch.operators.losses import TARGET, TOP

_LOCAL = {"L": "loss", "W": "w"}
_COUNTS: Mapping[str, str] = {
    "n_pre": "F(at[l, FAN])",
    "n_post": "F(at[l + 1, FAN])",
    "first": "F(at[0, FIRST_STEP])",
    "size_pre": "at[l, SIZE]",
    "size_post": "at[l + 1, SIZE]",
    "rows": "at[l, ROWS]",
    "width": "at[l + 1, WIDTH]",
    "lit": "at[l, LIT]",
    "lit_end": "at[l, LIT_END]",
    "touched": "at[l, TOUCHED]",
    "touched_end": "at[l, TOUCHED_END]",
    "dark": "at[l, DARK]",
    "dark_end": "at[l, DARK_END]",
    "source_width": "at[at[l, SOURCE], WIDTH]",
}
_PLACES: Mapping[str, str] = {
    "zeros": "at[0, ZEROS]",
    "back": "at[l, B]",
    "w": "at[l, W]",
    "lam": "at[l, LAMBDA]",
    "theta": "at[l, THETA]",
    "a_theta": "at[l, A_THETA]",
    "bias": "at[l + 1, BIAS]",
    "a_bias": "at[l + 1, A_BIAS]",
    "ones_pre": "at[l, ONES]",
    "ones_post": "at[l + 1, ONES]",
}


def local(name: str) -> str:
    """The local variable of a quantity or node: a pointer to it, or its value for sizes."""
    return _LOCAL.get(name, name)


def adjoint(name: str) -> str:
    """The local variable of its adjoint."""
    return f"a_{local(name)}"


def is_number(name: str) -> bool:
    """Whether it is a local of its own: sizes of a layer, whether a step is the first."""
    return name in NUMBERS and name not in (TARGET.name, TOP.name)


def or_ones(name: str | None, side: str) -> str:
    """The local of a vector on a side; the vector of ones where there is none."""
    return local(name) if name else f"ones_{side}"


def read(name: str, index: Index) -> str:
    """The source that reads a value in the loops k over pre, j over post.

    Scalars and sizes are locals bound before the loop.
    """
    if is_number(name):
        return name
    if index == PRE:
        return f"{local(name)}[k]"
    if index == POST:
        return f"{local(name)}[j]"
    return f"{local(name)}_"


def at_work(parts: Iterable[Part]) -> str:
    """The source of whether any of these parts has a coefficient that is not zero.

    What has none is left out, by zeros in its place, where it may be infinite or no number.
    """
    terms = dict.fromkeys(part.term for part in parts)
    return "(" + " or ".join(f"theta[{term}] != 0" for term in terms) + ")"


def multiplied(adjoint: str, factor: str, *, delicate: bool) -> str:
    """The source of a product in an adjoint; `delicate` where it may be 0·∞, which is 0 there."""
    return f"product({adjoint}, {factor})" if delicate else f"{adjoint} * ({factor})"


def reads(schedule: Schedule, names: Iterable[str]) -> dict[str, str]:
    """Name -> the source that reads it, for the printer."""
    return {name: read(name, schedule.plan.index[name]) for name in names}


def bind_scalars(schedule: Schedule, names: Iterable[str]) -> list[str]:
    """Lines that read layer-wide values into locals."""
    index = schedule.plan.index
    return [
        f"{local(n)}_ = {local(n)}[0]"
        for n in dict.fromkeys(names)
        if not index[n] and not is_number(n)
    ]


def _quantity(name: str, base: str, stem: str, post: str) -> str:
    if name == "L":
        return f"{base} + at[0, {stem}L]"
    letter, _, side = name.partition("_")
    # The columns of these have their whole names: others have the letters.
    column = name if letter in ("b", "xi") else letter
    return f"{base} + at[{'l' if side == 'pre' else post}, {stem}{column.upper()}]"


def offsets(schedule: Schedule, frame: str = "f", scratch: str = "b") -> dict[str, str]:
    """Local -> the source of its offset, for one layer `l`.

    What a trace was before the step is where its value is in the frame of the step before,
    `f_before`; its adjoint stays in one place, from one step back to the next.

    Args:
        schedule: the schedule.
        frame: the local that holds the beginning of the step's frame.
        scratch: the one of the step's scratch block.
    """
    post, p = schedule.post, schedule.prefix.upper()
    where = {name: text.replace("l + 1", post) for name, text in _PLACES.items()}
    if schedule.plan.changes == "B":
        where |= {"w": "at[l, B]", "lam": "at[l, LAMBDA_B]", "other": "at[l, W]"}
        where["lam_other"] = "at[l, LAMBDA]"
    elif "B" in schedule.plan.quantities:
        where["other"] = "at[l, B]"  # fixed: what changes it is refused beside terms that read it
    befores = {trace.before for trace in schedule.plan.carried}
    taped = {s.name for s in schedule.sums} | schedule.remembered
    for name, index in schedule.plan.index.items():
        if is_number(name) or index == SYNAPSE:
            continue
        if name in QUANTITIES:
            where[local(name)] = _quantity(name, frame, "", post)
            where[adjoint(name)] = _quantity(name, scratch, "A_", post)
            continue
        if name in befores:
            continue
        base = frame if name in taped else scratch
        where[name] = f"{base} + at[l, {p}{name.upper()}]"
        where[adjoint(name)] = f"{scratch} + at[l, A_{p}{name.upper()}]"
    for trace in schedule.matrices:
        where[trace.before] = f"at[l, {p}{trace.before.upper()}]"
        where[f"lam_{trace.before}"] = f"at[l, LAM_{p}{trace.before.upper()}]"
    for trace in schedule.traces:
        here = where[local(trace.value)]
        where[trace.before] = "f_before" + here.removeprefix(frame)
        where[adjoint(trace.before)] = f"at[l, A_{p}{trace.before.upper()}]"
        where[f"start_{trace.before}"] = f"at[l, START_{p}{trace.before.upper()}]"
    for g in range(len(schedule.groups)):
        where[f"v{g}"] = f"{scratch} + at[l, {p}V{g}]"
        where[f"a_v{g}"] = f"{scratch} + at[l, A_{p}V{g}]"
    where["c"] = f"{scratch} + at[l, C]"
    where["r"] = f"{frame} + at[l, R]"
    where["slope"] = f"{frame} + at[l, SLOPE]"
    where["e_source"] = f"{frame} + at[at[l, SOURCE], E]"
    where["a_e_source"] = f"{scratch} + at[at[l, SOURCE], A_E]"
    return where


def unpack(body: Sequence[str], where: Mapping[str, str], post: str = "l + 1") -> list[str]:
    """Lines that define those locals that the body uses.

    Args:
        body: the lines.
        where: local -> the source of its offset.
        post: the source of the layer of the post-neurons.
    """
    used = set(re.findall(r"[A-Za-z_]\w*", "\n".join(body)))
    counts = [
        f"{name} = {text.replace('l + 1', post)}" for name, text in _COUNTS.items() if name in used
    ]
    places = [f"{name} = pointer(s, {text})" for name, text in where.items() if name in used]
    return counts + places


def function(
    schedule: Schedule,
    name: str,
    doc: str,
    body: Sequence[str],
    where: Mapping[str, str],
    arguments: str = "",
) -> list[str]:
    """A compiled function over one layer, its locals unpacked from the table."""
    lines = [*unpack(body, where, schedule.post), *body] or ["pass"]
    return [
        "@compiled",
        f"def {schedule.prefix}{name}(s, at, l, f, b{arguments}):",
        f'    """{doc}"""',
        *("    " + line for line in lines),
    ]


def indented(lines: Iterable[str], levels: int = 1) -> list[str]:
    """Lines moved to the right."""
    return ["    " * levels + line for line in lines]
