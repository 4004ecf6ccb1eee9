"""Where every vector of a lifetime lies in one flat array.

A table gives offsets: a row for each layer of neurons (and for the weights that leave it), a
column for each value. Columns that every plan has come first and have fixed numbers, so that
code which no plan changes can use them. Offsets are of four kinds: absolute; from the beginning of
a step's *frame*, the tape; and from the beginning of one of two *scratch* blocks, used in turn, so
that the vectors of the step before stay readable.

Matrices are stored with a row for each pre-neuron: pixels that are zero are then rows to skip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.kernels.fused.vectors import lanes
from rulesearch.lowering.output import output_of
from rulesearch.model import PAPER, Model
from rulesearch.operators import POST, PRE, Index, Parameter

#: Rows of a matrix come in multiples of this, as many as a pass may take at a time.
ROW_BLOCK = 4
#: Query examples come in multiples of this.
QUERY_BLOCK = 8

FIXED = (
    # numbers of a layer: neurons, neurons as terms see them, padded row of a matrix that ends
    # here, padded rows of the matrix that begins here, and the layer that its error comes from
    *("SIZE", "FAN", "WIDTH", "ROWS", "SOURCE"),
    # lists of rows: those lit, those lit now or in the step before (after, going backward), and
    # those not lit
    *("LIT", "LIT_END", "TOUCHED", "TOUCHED_END", "DARK", "DARK_END"),
    # in a frame: activity, σ', error, potential, error before σ', and once the loss
    *("Y", "SLOPE", "E", "Z", "R", "L"),
    # in scratch: adjoints of those, and of what a feedback matrix multiplies
    *("A_Y", "A_E", "A_Z", "A_L", "C"),
    # absolute, of a layer
    *("ONES", "W", "LAMBDA", "B", "THETA", "A_THETA", "Q_Y", "Q_SLOPE", "Q_A"),
    # in row 0 only: blocks and their sizes; what is learned stands before what else is kept
    *(
        "FRAMES",
        "FRAME",
        "SCRATCH",
        "BLOCK",
        "ADJOINTS",
        "LEARNED",
        "WEIGHTS",
        "CHECKPOINTS",
    ),
    *("ZEROS", "SKIPS"),
    # whether the step is the first of a lifetime, and how many lie before those of a call
    *("FIRST_STEP", "BEGUN"),
    # Λ of feedback that terms change, and in row 0 where Λ of what no query depends on begins
    *("LAMBDA_B", "UNASKED"),
    # whether an update lies behind, so that what has bounds is within them
    *("BOUNDED",),
)
# fmt: off
(
    SIZE, FAN, WIDTH, ROWS, SOURCE,
    LIT, LIT_END, TOUCHED, TOUCHED_END, DARK, DARK_END,
    Y, SLOPE, E, Z, R, L,
    A_Y, A_E, A_Z, A_L, C,
    ONES, W, LAMBDA, B, THETA, A_THETA, Q_Y, Q_SLOPE, Q_A,
    FRAMES, FRAME, SCRATCH, BLOCK, ADJOINTS, LEARNED, WEIGHTS, CHECKPOINTS,
    ZEROS, SKIPS,
    FIRST_STEP, BEGUN,
    LAMBDA_B, UNASKED,
    BOUNDED,
) = range(len(FIXED))
# fmt: on


def columns(schedule: Schedule) -> dict[str, int]:
    """Name of a column that this plan adds -> its number."""
    kinds = (_taped, _scratch, _adjoints, _kept)
    own = model_columns(schedule.plan.model)
    names = [name.upper() for kind in kinds for each in schedule.all for name, _ in kind(each)]
    matrices = [name for name in unasked(schedule) if name != "B"]
    names += [*matrices, *(f"LAM_{name}" for name in matrices)]
    return own | {name: len(FIXED) + len(own) + i for i, name in enumerate(names)}


def unasked(schedule: Schedule) -> list[str]:
    """Columns of the matrices, beside the weights, that steps change and no query depends on."""
    traces = [f"{each.prefix}{t.before}".upper() for each in schedule.all for t in each.matrices]
    return [*traces, *(["B"] if schedule.back else [])]


def model_columns(model: Model) -> dict[str, int]:
    """Name of a column that a model adds, before those of a plan -> its number."""
    names = ["OUT"] if room_for_output(model) else []
    # Absolute, biases and Λ of them, behind the weights; in a frame, and as an adjoint in scratch,
    # biases before the step, and the noise.
    names += ["BIAS", "A_BIAS", "B_POST", "A_B_POST"] if model.bias else []
    names += ["XI_POST", "A_XI_POST"] if model.noise else []
    return {name: len(FIXED) + i for i, name in enumerate(names)}


def room_for_output(model: Model) -> int:
    """Vectors that the values of the output layer and their adjoints need, beside the frame's."""
    return 0 if model.loss == PAPER.loss else 1 + 2 * len(output_of(model).plan.nodes)


def _taped(schedule: Schedule) -> list[tuple[str, Index]]:
    remembered = [v for v in schedule.values if v.name in schedule.remembered]
    return [(f"{schedule.prefix}{n.name}", n.index) for n in (*schedule.sums, *remembered)]


def _scratch(schedule: Schedule) -> list[tuple[str, Index]]:
    p = schedule.prefix
    vectors = [(f"{p}v{g}", PRE) for g in range(len(schedule.groups))]
    fleeting = [v for v in schedule.values if v.name not in schedule.remembered]
    return [*((f"{p}{v.name}", v.index) for v in fleeting), *vectors]


def _adjoints(schedule: Schedule) -> list[tuple[str, Index]]:
    p = schedule.prefix
    nodes = [(f"a_{p}{n.name}", n.index) for n in (*schedule.sums, *schedule.values)]
    return [*nodes, *((f"a_{p}v{g}", PRE) for g in range(len(schedule.groups)))]


def _kept(schedule: Schedule) -> list[tuple[str, Index]]:
    """What stays in one place throughout: how traces begin, and the adjoints of what they were."""
    carried, p = schedule.traces, schedule.prefix
    starts = [(f"start_{p}{trace.before}", trace.index) for trace in carried]
    return [*starts, *((f"a_{p}{trace.before}", trace.index) for trace in carried)]


@dataclass(frozen=True)
class TracePlace:
    """Where a trace of a layer lies.

    Attributes:
        changes: the parameter whose terms read it.
        layer: of the weights.
        name: of the trace.
        neurons: the layer of its neurons; None where it is one for the layer.
        start: where it begins from.
        value: where in a frame it is; one of synapses has one place for all.
        width: of its rows where it is one of synapses, a row for each pre-neuron; else 0.
    """

    changes: Parameter
    layer: int
    name: str
    neurons: int | None
    start: int
    value: int
    width: int = 0

    @property
    def key(self) -> tuple[Parameter, int, str]:
        """What it is called by outside."""
        return self.changes, self.layer, self.name


@dataclass(frozen=True)
class Layout:
    """The table of offsets, and how long the array must be.

    Attributes:
        table: [layers of neurons, columns].
        length: values in the array.
        frames_end: where the last frame ends.
        taped: where in a frame the vectors of the input layer are.
        scratched: where in a scratch block they are.
        biases: where those of each layer are; none where the model has none.
        traces: where they lie.
    """

    table: NDArray[np.int64]
    length: int
    frames_end: int
    taped: tuple[int, ...]
    scratched: tuple[int, ...]
    biases: tuple[int, ...] = ()
    traces: tuple[TracePlace, ...] = ()


def layout_of(
    schedule: Schedule,
    sizes: Sequence[int],
    sources: Sequence[int],
    *,
    fans: Sequence[int],
    itemsize: int,
    steps: int,
    queries: int,
    slots: int,
) -> Layout:
    """Lay out a lifetime.

    Args:
        schedule: the schedule.
        sizes: neurons of each layer; of the input layer, the pixels that are kept.
        sources: for each target of a feedback edge, the layer where it comes from.
        fans: neurons of each layer as terms see them.
        itemsize: bytes of a value.
        steps: training examples.
        queries: query examples.
        slots: blocks of weights to keep beside those in use, for the adjoint; 0 for forward only.
    """
    depth = len(sizes) - 1
    step = lanes(itemsize)

    def padded(count: int, block: int) -> int:
        return -(-count // block) * block

    table = np.zeros((depth + 1, len(FIXED) + len(columns(schedule))), dtype=np.int64)
    # One row more than there are neurons is a row that lists may be filled up with.
    vector = [padded(n + ROW_BLOCK, step) for n in sizes]
    width = [padded(n, step) for n in sizes]
    rows = [padded(n + 1, ROW_BLOCK) for n in sizes]
    table[:, SIZE], table[:, FAN], table[:, WIDTH], table[:, ROWS] = (
        sizes,
        fans,
        width,
        rows,
    )
    table[:depth, SOURCE] = sources
    table[:, LIT_END] = table[:, TOUCHED_END] = rows
    # The list of all rows comes first, then those of the pixels, which change with every step.
    table[0, LIT] = max(rows)
    table[0, TOUCHED] = max(rows) + rows[0]
    table[0, DARK] = max(rows) + 2 * rows[0]
    column, model = columns(schedule), schedule.plan.model
    end = 0

    def place(name: str | int, layer: int, length: int) -> None:
        nonlocal end
        table[layer, column[name.upper()] if isinstance(name, str) else name] = end
        end += length

    def neurons(numbers: Sequence[int], first: int = 0) -> None:
        for number in numbers:
            for i in range(first, depth + 1):
                place(number, i, vector[i])

    def values(kind: Callable[[Schedule], list[tuple[str, Index]]]) -> None:
        for each in schedule.all:
            posts = sources if each is schedule.back else range(1, depth + 1)
            for name, index in kind(each):
                for i, post in enumerate(posts):
                    length = vector[i] if index == PRE else vector[post] if index == POST else step
                    place(name, i, length)

    def biases(name: str) -> None:
        for i in range(1, depth + 1 if model.bias else 1):
            place(name, i, width[i])

    neurons((Y, SLOPE, E, R))
    table[0, Z] = table[0, Y]  # a pixel is its own potential
    neurons((Z,), first=1)
    place(L, 0, step)
    own = [name for name, has in (("B_POST", model.bias), ("XI_POST", model.noise)) if has]
    neurons([column[name] for name in own], first=1)
    values(_taped)
    table[0, FRAME], end = end, 0

    values(_scratch)
    table[0, ADJOINTS] = end
    neurons((A_Y, A_E, A_Z, C))
    place(A_L, 0, step)
    neurons([column[f"A_{name}"] for name in own], first=1)
    values(_adjoints)
    table[0, BLOCK], end = end, 0

    weights = sum(rows[i] * width[i + 1] for i in range(depth))
    weights += sum(width[1:]) if model.bias else 0
    table[0, LEARNED] = weights
    # What is kept at checkpoints lies together.
    beside = unasked(schedule)
    of_b = [name for name in beside if name == "B" or name.startswith("BACK_")]
    weights += sum(
        rows[i] * width[sources[i] if name in of_b else i + 1]
        for name in beside
        for i in range(depth)
    )
    table[0, WEIGHTS] = weights
    table[0, CHECKPOINTS] = end
    end += slots * weights
    for i in range(depth):
        place(W, i, rows[i] * width[i + 1])
    biases("BIAS")

    def matrices(prefix: str) -> None:
        for name in beside:
            for i in range(depth):
                number = column[f"{prefix}{name}"] if name != "B" else LAMBDA_B if prefix else B
                place(number, i, rows[i] * width[sources[i] if name in of_b else i + 1])

    matrices("")
    if not schedule.back:
        for i in range(depth):
            place(B, i, rows[i] * width[sources[i]])
    neurons((ONES,))
    place(ZEROS, 0, max(vector))
    if room := room_for_output(model):
        place("OUT", 0, room * width[depth])
    values(_kept)
    terms = padded(max(1, len(schedule.plan.terms)), step)  # without a term, a rate
    for number in (THETA, A_THETA):
        for i in range(depth):
            place(number, i, terms)
    examples = padded(queries, QUERY_BLOCK)
    for i in range(depth + 1):
        place(Q_Y, i, examples * width[i])
    table[0, SCRATCH] = end
    end += 2 * int(table[0, BLOCK])
    table[0, FRAMES] = end
    end += (steps + 1 if slots else 2) * int(table[0, FRAME])
    frames_end = end
    if slots:
        for i in range(1, depth + 1):
            place(Q_SLOPE, i, examples * width[i])
            place(Q_A, i, examples * width[i])
        for i in range(depth):
            place(LAMBDA, i, rows[i] * width[i + 1])
        biases("A_BIAS")
        table[0, UNASKED] = end
        matrices("LAM_")
    else:
        table[:, Q_SLOPE] = end  # written by the query pass, never read
        end += examples * max(width)
    taped, scratched = [Y, SLOPE, E, R], [A_Y, A_E, A_Z, C]
    for each in schedule.all:
        taped += [column[n.upper()] for n, i in _taped(each) if i == PRE]
        named = [*_scratch(each), *_adjoints(each)]
        scratched += [column[n.upper()] for n, i in named if i == PRE]
    places = table[0].tolist()
    return Layout(
        table,
        end,
        frames_end,
        tuple(places[c] for c in taped),
        tuple(places[c] for c in scratched),
        tuple(table[1:, column["BIAS"]].tolist()) if model.bias else (),
        tuple(place for each in schedule.all for place in _traces(each, table, columns(schedule))),
    )


def _traces(
    schedule: Schedule, table: NDArray[np.int64], added: Mapping[str, int]
) -> Iterator[TracePlace]:
    column, p = {**{name: i for i, name in enumerate(FIXED)}, **added}, schedule.prefix.upper()
    nodes = {node.name for node in schedule.plan.nodes}
    for trace in schedule.traces:
        letter = trace.value.partition("_")[0]
        for layer in range(len(table) - 1):
            post = table[layer, SOURCE] if schedule.plan.changes == "B" else layer + 1
            neurons = layer if trace.index == PRE else post if trace.index == POST else None
            if trace.value in nodes:
                row, name = layer, p + trace.value
            else:  # a quantity, in a row of its neurons or once
                row, name = (0, "L") if trace.value == "L" else (neurons or 0, letter)
            yield TracePlace(
                schedule.plan.changes,
                layer,
                trace.name,
                neurons,
                int(table[layer, column[f"START_{p}{trace.before.upper()}"]]),
                int(table[row, column[name.upper()]]),
            )
    for trace in schedule.matrices:
        for layer in range(len(table) - 1):
            place = int(table[layer, column[f"{p}{trace.before.upper()}"]])
            width = int(table[table[layer, SOURCE] if p else layer + 1, WIDTH])
            yield TracePlace(schedule.plan.changes, layer, trace.name, None, place, place, width)
