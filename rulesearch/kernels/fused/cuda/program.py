"""The source of a whole CUDA module: two kernels, each of which runs lifetimes, a block each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rulesearch.kernels.fused.cuda import rows
from rulesearch.kernels.fused.cuda.pieces import PIECES
from rulesearch.kernels.fused.cuda.queries import QUERY
from rulesearch.kernels.fused.cuda.rows import Chunks
from rulesearch.kernels.fused.cuda.threads import rewritten
from rulesearch.kernels.fused.layout import FIXED, columns
from rulesearch.kernels.fused.names import indented
from rulesearch.kernels.fused.program import functions
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.network import BETA
from rulesearch.pathways import Carrier

_HEAD = '''\
"""{title}"""

import numpy

from rulesearch.kernels.fused.layout import (
{columns}
)
from rulesearch.kernels.fused.cuda.words import (
    WARP,
    block,
    cuda,
    device,
    kernel,
    lane_max,
    lane_sum,
    ld,
    math,
    shared_type,
    st,
    sync,
    sync_lanes,
    thread,
)

F = numpy.{dtype}
SHARED = shared_type("{dtype}")
LANES = {lanes}
BETA = F({beta!r})
'''

#: What a kernel is given for each lifetime, in front of the arguments of `forward` and `adjoint`
#: that are the same for all.
_KERNEL = """\
@kernel
def {name}({taken}, OUT, lowest):
    i = cuda.blockIdx.x
    sh = cuda.shared.array(0, SHARED)
    s, at, order, starts = S[i], AT[i], ORDER[i], STARTS[i, : COUNTS[i]]
{calls}"""


@dataclass(frozen=True)
class Module:
    """A generated module.

    Attributes:
        text: its source.
        given: names of the arrays that its kernels take, one row a lifetime.
        sums: sums over threads that are taken at once, at most.
        gathers: rows that each warp adds up for itself at once, at most.
    """

    text: str
    given: tuple[str, ...]
    sums: int
    gathers: int

    def shared(self, warps: int, width: int) -> int:
        """Values of shared memory that a block of so many warps needs, for rows so wide."""
        return warps * max(2, self.sums, self.gathers * width)


@lru_cache(maxsize=64)
def source(
    schedule: Schedule,
    *,
    carrier: Carrier,
    dtype: str,
    lanes: int,
    chunks: Chunks,
    asks: bool,
    numbers: bool,
) -> Module:
    """The module of a schedule; see `fused.program.source`.

    Raises:
        Unsupported: something that is not taken on a GPU; see `rewritten`.
    """
    made, passes = functions(schedule, carrier=carrier, asks=asks, numbers=numbers)
    # What a model has in the place of a piece comes behind the pieces.
    texts = ["\n".join(rows.source(each, chunks)) + "\n" for each in passes]
    sums, gathers = 1, max((p.gathers + p.partner_gathers for p in passes), default=0)
    for text in made:
        mine, own_sums, own_gathers = rewritten(text)
        sums, gathers = max(sums, own_sums), max(gathers, own_gathers)
        texts.append(mine)
    given = _given(schedule, asks, numbers)
    body = "\n\n".join([PIECES, QUERY, *texts, *_kernels(given, asks, numbers)])
    used = set(re.findall(r"[A-Z]\w*", body))
    head = _HEAD.format(
        title=schedule.plan,
        columns="\n".join(f"    {name}," for name in FIXED if name in used),
        dtype=dtype,
        lanes=lanes,
        beta=BETA,
    )
    head += "".join(f"{name} = {number}\n" for name, number in columns(schedule).items())
    return Module(f"{head}\n\n{body}", given, sums, gathers)


def _given(schedule: Schedule, asks: bool, numbers: bool) -> tuple[str, ...]:
    names = ["x", "slopes", *(["noise"] if schedule.plan.model.noise else [])]
    names.append("answers" if numbers else "labels")
    return (*names, "targets" if asks else "query_labels")


def _kernels(given: Sequence[str], asks: bool, numbers: bool) -> list[str]:
    """The texts of the kernels: `lifetimes`, and `gradients`, which goes back as well."""
    arrays = ["S", "AT", "ORDER", *(name.upper() for name in given), "STARTS", "COUNTS"]
    taken = ", ".join([*arrays, *(["asked"] if asks else [])])
    each = ", ".join(f"{name.upper()}[i]" for name in given)
    each += ", asked" if asks else ""
    labels = "ANSWERS[i]" if numbers else "LABELS[i]"
    how = "asked" if asks else "len(QUERY_LABELS[i])"
    texts = []
    for name, keep in (("lifetimes", False), ("gradients", True)):
        calls = [f"forward(s, sh, at, order, {each}, {keep}, lowest, starts, OUT[i])"]
        if keep:
            calls.append(f"adjoint(s, sh, at, order, {labels}, {how}, starts, 0, starts)")
        lines = "\n".join(indented(calls)) + "\n"
        texts.append(_KERNEL.format(name=name, taken=taken, calls=lines))
    return texts
