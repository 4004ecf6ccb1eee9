"""The source of a whole kernel: a module with two compiled functions, `forward` and `adjoint`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rulesearch.kernels.fused import layers, models, synapses, values
from rulesearch.kernels.fused.layout import FIXED, columns, unasked
from rulesearch.kernels.fused.loops import adjoint_source, forward_source
from rulesearch.kernels.fused.rows import RowPass
from rulesearch.kernels.fused.schedule import Schedule
from rulesearch.model import PAPER, Model
from rulesearch.network import BETA
from rulesearch.pathways import Carrier

_HEAD = '''\
"""{title}"""

import math

import numpy
from numba import njit

{imports}
F = numpy.{dtype}
LANES = {lanes}
{beta}'''

#: Where a generated module has its names from: of each, those that it uses.
_IMPORTS = {
    "layout": FIXED,
    "taking": (
        "begin_pass",
        "call_idle",
        "pair_up",
        "take",
        *("DOTS", "FIRST", "GATHERS"),
        *("LISTS", "LIT_ONLY", "OFFSETS", "OPERANDS", "PASS", "PASSES"),
    ),
    "steps": (
        *("FLAGS", "all_finite", "clear", "compiled", "copy", "frame", "heaviside", "hidden"),
        *("hidden_adjoint", "list_dark", "list_rows", "maximum", "minimum", "output"),
        *("output_adjoint", "output_answers", "pixels", "product", "reciprocal", "sign", "some"),
        *("softplus", "use_weights"),
    ),
    "queries": (
        *("add_share", "query", "query_adjoint", "query_answers", "query_layer"),
        *("score", "score_answers"),
    ),
    "vectors": (
        *(
            "add",
            "clipped",
            "div",
            "fma",
            "kept",
            "load",
            "magnitude",
            "mul",
            "pointer",
            "root",
            "signed",
        ),
        *("splat", "store", "total", "within", "zero"),
    ),
    "elementary": (
        *("vector_atan", "vector_cos", "vector_erf", "vector_exp", "vector_heaviside"),
        *("vector_log", "vector_maximum", "vector_minimum", "vector_power", "vector_product"),
        *("vector_reciprocal", "vector_sign", "vector_sin", "vector_tanh"),
    ),
}


def source(
    schedule: Schedule,
    *,
    carrier: Carrier,
    dtype: str,
    lanes: int,
    asks: bool = False,
    numbers: bool = False,
) -> str:
    """The module's source.

    Args:
        schedule: the schedule.
        carrier: of every edge of the pathway.
        dtype: float32 or float64.
        lanes: values in a vector of that dtype.
        asks: whether the query is asked after some steps, with what the outputs should answer; else
            after the last, with labels.
        numbers: whether training examples have such answers too, and not labels. A loss other than
            the paper's takes nothing else, here and there.
    """
    made, passes = functions(schedule, carrier=carrier, asks=asks, numbers=numbers)
    body = [*("\n".join(p.source()) + "\n" for p in passes), *made]
    model = schedule.plan.model
    return module(
        str(schedule.plan), body, columns(schedule), dtype=dtype, lanes=lanes, model=model
    )


def functions(
    schedule: Schedule, *, carrier: Carrier, asks: bool, numbers: bool
) -> tuple[list[str], list[RowPass]]:
    """The text of each function that a module has of its own, and the passes that they call."""
    passes: list[RowPass] = []
    lines = [
        layers.drive_source(schedule, passes),
        layers.change_source(schedule, passes),
        layers.error_source(schedule, carrier, passes),
        layers.error_adjoint_source(schedule, carrier, passes),
        layers.drive_adjoint_source(schedule, passes),
        *(line for each in schedule.all for line in _of_plan(each, carrier, passes, asks=asks)),
    ]
    if schedule.back:
        lines.append(layers.change_source(schedule.back, passes))
    if columns_beside := unasked(schedule):
        lines.append(_use_matrices(columns_beside))
    made = texts(lines, ())
    made += models.functions(schedule)
    loops = [forward_source(schedule, asks, numbers)]
    loops.append(adjoint_source(schedule, carrier, asks, numbers))
    made += loops
    return made, list(dict.fromkeys(passes))


def _use_matrices(beside: Sequence[str]) -> list[str]:
    """The function that lets all that a checkpoint keeps be what begins at `start`."""
    return [
        "@compiled",
        "def use_matrices(at, start):",
        "    shift = start - at[0, W]",
        "    for l in range(len(at) - 1):",
        *(f"        at[l, {column}] += shift" for column in ("W", *beside)),
    ]


def _of_plan(
    schedule: Schedule, carrier: Carrier, passes: list[RowPass], *, asks: bool
) -> list[list[str]]:
    """The functions of the plan of a parameter."""
    functions = [
        layers.groups_adjoint_source(schedule, carrier, passes),
        values.vectors_source(schedule),
        values.vectors_adjoint_source(schedule),
    ]
    if schedule.undoes and schedule.undone_in == "alone":
        functions.append(layers.undo_source(schedule, passes))
    if schedule.passes_synapses:
        functions += [synapses.rest_source(schedule), synapses.rest_adjoint_source(schedule)]
    for i, level in enumerate(schedule.levels):
        if level.values:
            functions += [
                values.values_source(schedule, i),
                values.values_adjoint_source(schedule, i),
            ]
        if level.weight_sums:
            functions += [
                layers.sums_source(schedule, i, passes),
                layers.sums_adjoint_source(schedule, i, passes),
            ]
        if level.synapse_sums:
            functions += [
                synapses.sums_source(schedule, i),
                synapses.sums_adjoint_source(schedule, i),
            ]
    if asks:
        functions.append(layers.bring_source(schedule, carrier, passes))
    if schedule.traces:
        functions += [values.begin_source(schedule), values.remember_source(schedule)]
        functions.append(values.forget_source(schedule))
    return functions


def texts(functions: Sequence[Sequence[str]], passes: Sequence[RowPass]) -> list[str]:
    """The text of functions, given line by line, after that of the passes that they call."""
    listed = [*(p.source() for p in dict.fromkeys(passes)), *functions]
    return ["\n".join(lines) + "\n" for lines in listed]


def module(
    title: str,
    body: Sequence[str],
    constants: Mapping[str, int],
    *,
    dtype: str,
    lanes: int,
    model: Model = PAPER,
) -> str:
    """The source of a module.

    Args:
        title: what it computes.
        body: the text of each function.
        constants: name -> number, of columns and the like.
        dtype: float32 or float64.
        lanes: values in a vector of that dtype.
        model: whose lifetimes it runs.
    """
    text = "\n\n".join(body)
    beta = f"BETA = F({BETA!r})\n" if models.has_softplus(model) else ""
    head = _HEAD.format(title=title, imports=_imports(text), dtype=dtype, lanes=lanes, beta=beta)
    head += "".join(f"{name} = {number}\n" for name, number in constants.items())
    return f"{head}\n\n{text}"


def _imports(text: str) -> str:
    """The lines that import what a module's text uses and does not define."""
    used = set(re.findall(r"[A-Za-z_]\w*", text)) - set(re.findall(r"(?<=^def )\w+", text, re.M))
    lines = []
    for module, names in _IMPORTS.items():
        here = [f"    {name}," for name in names if name in used]
        if here:
            lines += [f"from rulesearch.kernels.fused.{module} import (", *here, ")"]
    return "\n".join(lines) + "\n"
