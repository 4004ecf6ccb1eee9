"""Passes over rows, as `fused.rows` describes them, for the threads of a block.

A row belongs to a warp and an element of it to a lane, throughout: no two threads share one. What
a pass reads of vectors along a row stays in registers, and so does what it gathers, until the
warps' shares are added up in their order, through shared memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rulesearch.kernels.fused.names import indented
from rulesearch.kernels.fused.rows import RowPass

#: Lines that every function which tells threads apart begins with.
THREADS = (
    "tid, threads = thread(), block()",
    "lane, warp, warps = tid % WARP, tid // WARP, threads // WARP",
)


@dataclass(frozen=True)
class Chunks:
    """How the columns of a row lie in a lane's registers.

    Attributes:
        most: values of the widest row that a lane has.
        full: how many of them every row of every layer has for every lane.
    """

    most: int
    full: int

    def there(self, chunk: int, line: str, otherwise: str = "") -> str:
        """A line, or an expression with another, where the lane has a column in a chunk."""
        if chunk < self.full:
            return line
        has = f"j{chunk} < width"
        return f"{line} if {has} else {otherwise}" if otherwise else f"if {has}: {line}"


def source(rows: RowPass, chunks: Chunks) -> list[str]:
    """The function of a pass, line by line.

    Its rows are those before `last` of which `order` says what `first` asks for.
    """
    return [
        "@device",
        f"def {rows.name}(s, sh, {', '.join(rows.arguments)}):",
        *indented(
            [
                *THREADS,
                *(["one = F(1.0)"] if rows.scalings or rows.partner_undo else []),
                *(f"j{c} = lane + {c} * WARP" for c in range(chunks.most)),
                *_columns(rows, chunks),
                "for k in range(warp, last, warps):",
                *indented(_row(rows, chunks)),
                *_gathered(rows, chunks),
            ]
        ),
    ]


def _columns(rows: RowPass, chunks: Chunks) -> Iterable[str]:
    """Lines that read the vectors along a row, and clear what is gathered."""
    count, scaled = rows.masks or (0, ())
    names = [f"u{i}" for i in range(rows.updates)]
    names += [f"h{i}" for i, has in enumerate(rows.scalings) if has]
    names += [f"d{i}" for i in range(len(rows.dots))]
    names += [f"pd{i}" for i, has in enumerate(rows.partner_dots) if has]
    names += [f"mu{i}" for i in range(count)]
    names += [f"mh{i}" for i, has in enumerate(scaled) if has]
    for c in range(chunks.most):
        for name in names:
            yield f"{name}_{c} = " + chunks.there(c, f"ld(s, {name} + j{c})", "F(0.0)")
        for name in _gathers(rows):
            yield f"{name}_{c} = F(0.0)"


def _gathers(rows: RowPass) -> list[str]:
    own = [f"t{i}" for i in range(rows.gathers)]
    return own + [f"pt{i}" for i in range(rows.partner_gathers)]


def _row(rows: RowPass, chunks: Chunks) -> Iterable[str]:
    """Lines for one row, k."""
    yield "if left_out(order, first, k):"
    yield "    continue"
    yield "at_a = a + k * width"
    if rows.partner:
        yield "at_b = b + k * width"
    count, scaled = rows.masks or (0, ())
    sign = "-" if rows.undo else ""
    for i in range(rows.updates):
        yield f"v{i}_k = {sign}ld(s, v{i} + k)"
    if rows.scalings:
        plain = [f"ld(s, f{i} + k)" for i, has in enumerate(rows.scalings) if not has]
        factor = " + ".join(plain) or "F(0.0)"
        yield f"f_k = {f'one / (one + {factor})' if rows.undo else factor}"
    names = [f"f{i}" for i, has in enumerate(rows.scalings) if has]
    names += [f"g{i}" for i in range(rows.gathers)]
    names += [f"pg{i}" for i in range(rows.partner_gathers)]
    names += [*(f"mv{i}" for i in range(count)), *(f"mf{i}" for i in range(len(scaled)))]
    undone = range(len(rows.dots) if rows.partner_undo is not None else 0)
    names += [f"n{i}" for i in undone]
    for name in names:
        yield f"{name}_k = ld(s, {name} + k)"
    if rows.partner_undo:
        total = " + ".join(["one", *(f"ld(s, m{i} + k)" for i in range(rows.partner_undo))])
        yield f"m_k = one / ({total})"
    dots = [f"d{i}" for i in range(len(rows.dots))]
    dots += [f"pd{i}" for i in range(len(rows.partner_dots))]
    for name in dots:
        yield f"{name}_k = F(0.0)"
    for c in range(chunks.most):
        yield from _change(rows, chunks, c)
        yield from _take(rows, chunks, c)
    for name in dots:
        yield f"{name}_k = lane_sum({name}_k)"
    if dots:
        yield "if lane == 0:"
    for i, adds in enumerate(rows.dots):
        yield f"    st(s, o{i} + k, {f'ld(s, o{i} + k) + ' if adds else ''}d{i}_k)"
    for i in range(len(rows.partner_dots)):
        yield f"    st(s, po{i} + k, pd{i}_k)"


def _change(rows: RowPass, chunks: Chunks, c: int) -> Iterable[str]:
    yield "row = " + chunks.there(c, f"ld(s, at_a + j{c})", "F(0.0)")
    if rows.partner:
        yield "other = " + chunks.there(c, f"ld(s, at_b + j{c})", "F(0.0)")
    factor = "f_k"
    for i, has in enumerate(rows.scalings):
        factor += f" + f{i}_k * h{i}_{c}" if has else ""
    scaled = ["row = row * f_k" if rows.undo else f"row += row * ({factor})"]
    scaled = scaled if rows.scalings else []
    added = [f"row += v{i}_k * u{i}_{c}" for i in range(rows.updates)]
    yield from added + scaled if rows.undo else scaled + added
    if rows.clips:
        yield "row = clipped(row, low, high)"
    if rows.masks is not None:
        yield "raw = other"
        for i, has in enumerate(rows.masks[1]):
            yield f"raw += other * (mf{i}_k{f' * mh{i}_{c}' if has else ''})"
        for i in range(rows.masks[0]):
            yield f"raw += mv{i}_k * mu{i}_{c}"
        yield "row = within(row, raw, low, high)"
    if rows.changes or rows.masks is not None:
        yield chunks.there(c, f"st(s, at_a + j{c}, row)")


def _take(rows: RowPass, chunks: Chunks, c: int) -> Iterable[str]:
    for i in range(len(rows.dots)):
        yield f"d{i}_k += row * d{i}_{c}"
        if rows.partner_undo is not None:
            yield f"other -= n{i}_k * d{i}_{c}"
    for i in range(rows.gathers):
        yield f"t{i}_{c} += g{i}_k * row"
    if rows.partner_undo:
        yield "other *= m_k"
    if rows.partner_undo is not None:
        yield chunks.there(c, f"st(s, at_b + j{c}, other)")
    if rows.partner_dots or rows.partner_gathers:
        yield "pair = signed(other, row)" if rows.partner_signed else "pair = row * other"
    for i, has in enumerate(rows.partner_dots):
        yield f"pd{i}_k += pair * pd{i}_{c}" if has else f"pd{i}_k += pair"
    for i in range(rows.partner_gathers):
        yield f"pt{i}_{c} += pg{i}_k * pair"


def _gathered(rows: RowPass, chunks: Chunks) -> Iterable[str]:
    """Lines that add what the warps have gathered."""
    names = _gathers(rows)
    for g, name in enumerate(names):
        for c in range(chunks.most):
            yield chunks.there(c, f"st(sh, ({g} * warps + warp) * width + j{c}, {name}_{c})")
    yield "sync()"
    if names:
        yield "for j in range(tid, width, threads):"
    for g, name in enumerate(names):
        yield f"    st(s, {name} + j, ld(s, {name} + j) + over_warps(sh, {g}, width, j))"
    if names:
        yield "sync()"
