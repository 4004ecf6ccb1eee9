"""Terms that are zero and only to be differentiated: the source of their derivatives.

A module with one function, `idle`, which the adjoint of any rule calls in each layer at each step,
where Λ and the weights are at hand. It computes the factors of the terms, passes over the rows, and
pairs up what the passes give (`products`). Its code hangs on the factors alone: which of them make
a term is a table of numbers. Nor does the rule's code change with what is idle beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rulesearch.kernels.fused.layout import ROW_BLOCK, SIZE, Layout, model_columns
from rulesearch.kernels.fused.names import indented, is_number, local, unpack
from rulesearch.kernels.fused.products import AT_ONCE, ONES, SPARE, Pass, Products, products_of
from rulesearch.kernels.fused.program import module
from rulesearch.kernels.fused.schedule import Schedule, schedule_of
from rulesearch.kernels.fused.spelling import spell, spell_vector
from rulesearch.kernels.fused.synapses import bindings, values_on_synapses
from rulesearch.kernels.fused.taking import (
    GRADIENT,
    HEAD,
    LISTS,
    OFFSETS,
    OPERANDS,
    PAIRS,
    PAIRS_END,
    PASSES,
)
from rulesearch.kernels.fused.vectors import lanes
from rulesearch.lowering import Elementwise, Node, Plan, Sum
from rulesearch.operators import POST, PRE, SCALAR, Index

_HEAD = '''\
"""{doc}"""

import math

import numpy
from numba import njit

{imports}
F = numpy.{dtype}
LANES = {lanes}


'''

_IDLE = '''\
@njit(**FLAGS)
def idle(s, at, order, t, l, f):
    """Add the derivatives by all idle terms, at the step of frame f in layer l."""
    operands = t[OFFSETS] + l * t[OPERANDS]
{locals}
    for n in range({count}):
{values}
        this = t[PASSES] + n * PASS
        first, dots, gathers = t[this + FIRST], t[this + DOTS], t[this + GATHERS]
        begin_pass(s, t, at, l, first, dots, gathers)
        begin, end = (lit, lit_end) if t[this + LIT_ONLY] else (0, rows)
        for i in range(begin, end, {block}):
            for r in range({block}):
                k = order[i + r]
                target = pointer(taken, r * width)
                if k >= size_pre:
                    clear(target, width)
                    continue
                row = pointer(w, k * width)
                lam_row = pointer(lam, k * width)
{rows}
            take(s, t, at, l, order, i, taken, first, dots, gathers)
    pair_up(s, t, at, l)
'''

#: Where a quantity stands, the frame of the step being f.
_COLUMN = {
    "y_pre": "f + at[l, Y]",
    "y_post": "f + at[l + 1, Y]",
    "e_pre": "f + at[l, E]",
    "e_post": "f + at[l + 1, E]",
    "z_pre": "f + at[l, Z]",
    "z_post": "f + at[l + 1, Z]",
    "b_post": "f + at[l + 1, B_POST]",
    "xi_post": "f + at[l + 1, XI_POST]",
    "L": "f + at[0, L]",
}
#: Of a loop over one side: its head, and its index.
_LOOP = {
    PRE: ("for k in range(0, size_pre + 1, LANES):", "k", ONES["pre"]),
    POST: ("for j in range(0, width, LANES):", "j", ONES["post"]),
}


@dataclass(frozen=True)
class Placed:
    """Idle terms in a lifetime's array.

    Attributes:
        products: theirs.
        table: what the compiled code reads, see `taking`.
        length: values in the array, with those before.
        ones: for each layer and side, where a vector of ones begins and how long it may be.
        gradients: for each layer, where the products of the pairs are added up.
    """

    products: Products
    table: NDArray[np.int64]
    length: int
    ones: tuple[tuple[tuple[int, int], tuple[int, int]], ...]
    gradients: tuple[int, ...]

    def clear(self, s: NDArray[Any], sizes: Sequence[int]) -> None:
        """Write what every lifetime begins with; `sizes` are the neurons of its layers."""
        for layer, vectors in enumerate(self.ones):
            for (begin, length), size in zip(vectors, sizes[layer : layer + 2], strict=True):
                s[begin : begin + length] = 0
                s[begin : begin + size] = 1
            begin = self.gradients[layer]
            s[begin : begin + len(self.products.pairs)] = 0

    def gradient(self, s: NDArray[Any]) -> NDArray[Any]:
        """The derivatives by the coefficients of the terms, [layers, terms]."""
        products = self.products
        terms, coefficients, pairs = (np.array(c) for c in zip(*products.parts, strict=True))
        found = np.zeros((len(self.gradients), len(products.schedule.plan.terms)), s.dtype)
        for row, begin in zip(found, self.gradients, strict=True):
            # Every part by itself, so that one that is not finite reaches its own term alone.
            np.add.at(row, terms, (coefficients * s[begin + pairs]).astype(s.dtype))
        return found


@lru_cache(maxsize=64)
def idle_products(plan: Plan) -> Products:
    """The products of a plan all of whose terms are idle."""
    return products_of(schedule_of(plan))


def placed(products: Products, layout: Layout, itemsize: int) -> Placed:
    """Lay out what idle terms need behind a lifetime's own vectors."""
    step = lanes(itemsize)
    sizes, end = layout.table[:, SIZE].tolist(), layout.length
    depth, operands = len(sizes) - 1, _operands(products)

    def take(length: int) -> int:
        nonlocal end
        begin, end = end, end - -length // step * step
        return begin

    lengths = [-(-(size + ROW_BLOCK) // step) * step for size in sizes]
    taken = take(ROW_BLOCK * max(lengths))
    offsets, ones = [], []
    for layer in range(depth):
        long = {PRE: lengths[layer], POST: lengths[layer + 1], SCALAR: step}
        places = {name: take(long[index]) for name, index in products.operands}
        offsets += [places.get(name, taken) for name in operands]
        pre, post = places[ONES["pre"]], places[ONES["post"]]
        ones.append(((pre, lengths[layer]), (post, lengths[layer + 1])))
    gradients = [take(len(products.pairs)) for _ in range(depth)]

    number = {name: i for i, name in enumerate(operands)}
    lists: list[int] = []
    passes: list[int] = []
    for one in products.passes:
        first = len(lists) // 2
        counts = []
        for named, side in ((one.dots, "post"), (one.gathers, "pre")):
            spare = (ONES[side], SPARE["pre" if side == "post" else "post"])
            filled = [*named, *[spare] * (-len(named) % AT_ONCE)]
            lists += [number[name] for pair in filled for name in pair]
            counts.append(len(filled))
        passes += [first, *counts, int(one.lit)]
    pairs = [
        i
        for pair in products.pairs
        for i in (
            number[pair.left],
            number[pair.right],
            number[pair.scalar or ONES["post"]],
            int(pair.side == "post"),
        )
    ]
    head = np.zeros(HEAD, dtype=np.int64)
    begin = HEAD
    head[OPERANDS] = len(operands)
    for place, part in (
        (OFFSETS, offsets),
        (LISTS, lists),
        (PASSES, passes),
        (PAIRS, pairs),
        (GRADIENT, gradients),
    ):
        head[place] = begin
        begin += len(part)
    head[PAIRS_END] = head[PAIRS] + len(pairs)
    table = np.concatenate([head, offsets, lists, passes, pairs, gradients]).astype(np.int64)
    return Placed(products, table, end, tuple(ones), tuple(gradients))


def _operands(products: Products) -> list[str]:
    """Names of the operands, in the order of the table; last the rows that a pass takes."""
    return [*(name for name, _ in products.operands), "taken"]


# --- source ---------------------------------------------------------------------------------------


def idle_source(plan: Plan, *, dtype: str, lanes: int) -> str:
    """The module's source.

    Args:
        plan: of the idle terms.
        dtype: float32 or float64.
        lanes: values in a vector of that dtype.
    """
    products = idle_products(plan)
    passes = products.passes
    begun, values, rows = -1, [], []
    for n, one in enumerate(passes):
        word = "elif" if n else "if"
        lines = [line for i in range(begun + 1, one.level + 1) for line in _level(products, i)]
        begun = max(begun, one.level)
        if lines:
            values += [f"if n == {n}:", *indented(lines)]
        rows += [f"{word} n == {n}:", *indented(_row(products.schedule, one))]
    where = {local(name): f"t[operands + {i}]" for i, name in enumerate(_operands(products))}
    where |= {f"at_{local(name)}": place for name, place in _COLUMN.items()}
    where |= {f"fan_{name}": where.pop(name) for name in ("n_pre", "n_post") if name in where}
    where |= {"w": "at[l, W]", "lam": "at[l, LAMBDA]"}
    body = [*values, *rows, "taken lit lit_end rows size_pre width w lam"]
    text = _IDLE.format(
        locals="\n".join(indented(unpack(body, where))),
        count=len(passes),
        values="\n".join(indented(values, 2)),
        rows="\n".join(indented(rows, 4)),
        block=ROW_BLOCK,
    )
    factors = f"{len(products.operands)} vectors, {len(products.pairs)} products"
    own, title = model_columns(plan.model), f"Idle terms: {factors}."
    return module(title, [text], own, dtype=dtype, lanes=lanes, model=plan.model)


def _row(schedule: Schedule, one: Pass) -> list[str]:
    """Lines that write a row of what a pass takes to `target`."""
    lines, _ = values_on_synapses(schedule, schedule.behind([one.matrix]))
    value = f"{local(one.matrix)}_" if one.matrix else "lam_"
    if one.by_lambda and one.matrix:
        value = f"mul(lam_, {value})"
    lines.append(f"store(target, j, kept({value}, {ONES['post']}_j))")
    once, rows, columns = bindings(lines)
    return [
        *once,
        *(line for line in rows if not line.startswith("lam_row")),
        "for j in range(0, width, LANES):",
        *indented(["w_ = load(row, j)", *columns, *lines]),
    ]


def _level(products: Products, level: int) -> list[str]:
    """Lines that compute the values of a level; those of the first begin with the quantities."""
    schedule = products.schedule
    waiting: list[Node | str] = list(schedule.levels[level].values)
    if level == 0:
        waiting = [*sorted(schedule.plan.quantities - {"W"}), *waiting]
    index = schedule.plan.index
    lines: list[str] = []
    while waiting:
        # As many as can go together: all of one side that wait for nothing on another.
        missing = {_name(node) for node in waiting}
        for kind in (SCALAR, PRE, POST):
            ready: list[Node | str] = []
            for node in waiting:
                alone = isinstance(node, Sum)
                within = set() if alone else {_name(r) for r in ready}
                if index[_name(node)] == kind and not (_needs(node) & (missing - within)):
                    ready.append(node)
            if ready:
                lines += _values(schedule, kind, ready)
                waiting = [node for node in waiting if node not in ready]
                break
        else:
            raise AssertionError("a plan is in topological order")
    return lines


def _name(node: Node | str) -> str:
    return node if isinstance(node, str) else node.name


def _needs(node: Node | str) -> set[str]:
    return set() if isinstance(node, str) else set(node.reads)


def _values(schedule: Schedule, kind: Index, nodes: Sequence[Node | str]) -> list[str]:
    if kind != SCALAR:
        return _side(schedule, kind, nodes)
    return [line for node in nodes for line in _scalar(schedule, node)]


def _scalar(schedule: Schedule, node: Node | str) -> Iterator[str]:
    """Lines that compute a layer-wide value, or read a quantity of the layer."""
    if isinstance(node, str):
        name = local(node)
        # The local of a size is its number.
        yield f"fan_{name}[0] = {name}" if is_number(node) else f"{name}[0] = at_{name}[0]"
    elif isinstance(node, Elementwise):
        reads = {n: n if is_number(n) else f"{local(n)}[0]" for n in node.reads}
        yield f"{node.name}[0] = {spell(node.expression, reads, schedule.plan.ranges)}"
    else:
        assert node.vector, "a sum over nothing is a number"
        head, i, _ = _LOOP[schedule.plan.index[node.vector]]
        yield f"sum_{node.name} = zero(w)"
        yield head
        yield f"    sum_{node.name} = add(sum_{node.name}, load({local(node.vector)}, {i}))"
        yield f"{node.name}[0] = total(sum_{node.name})"


def _side(schedule: Schedule, kind: Index, nodes: Sequence[Node | str]) -> list[str]:
    """One loop over the neurons of a side; behind the last, vectors are zero."""
    head, i, ones = _LOOP[kind]
    index, calls = schedule.plan.index, dict[str, str]()
    lines: list[str] = []
    for node in nodes:
        name = local(_name(node))
        if isinstance(node, str):
            text = f"load(at_{name}, {i})"
        else:
            assert isinstance(node, Elementwise)
            reads = {n: local(n) + ("_v" if index[n] == kind else "_s") for n in node.reads}
            before, text = spell_vector(node.expression, reads, schedule.plan.ranges, calls=calls)
            lines += before
        lines += [f"{name}_v = kept({text}, {ones}_v)", f"store({name}, {i}, {name}_v)"]
    used = set(re.findall(r"[A-Za-z_]\w*", "\n".join(lines)))
    made = {f"{local(_name(node))}_v" for node in nodes}
    once, _, _ = bindings(lines)
    loads = [f"{n} = load({n[:-2]}, {i})" for n in sorted(used - made) if n.endswith("_v")]
    return [*once, head, *indented([*loads, *lines])]
