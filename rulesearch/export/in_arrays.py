"""A rule as one function of arrays: NumPy, or JAX, which can compile it."""

from __future__ import annotations

from collections.abc import Iterator

from rulesearch.export.heading import docstring, heading
from rulesearch.export.layers import Code, Places, errors_back, indented
from rulesearch.export.spelling import WORDS, Library
from rulesearch.export.written import Written

_PLACES = Places(
    row="[None, :]",
    column="[:, None]",
    weights="weights[{layer}]",
    feedback="feedback[{layer}].T",
    biases='state["biases"][{layer}]',
    count="{matrix}.dtype.type({n})",
)

_IMPORTS = {"numpy": ["import numpy"], "jax": ["import jax", "import jax.numpy as jnp"]}


def in_arrays(step: Written, library: Library) -> str:
    """The code of a step of one example, in NumPy or JAX.

    It has `begin(weights, feedback)`, which gives the state of a new lifetime, `step(weights,
    feedback, x, label, state)`, which gives weights, feedback and state after an example, and
    `potentials(weights, x, state)`, what a network answers.
    """
    code = Code(step, WORDS[library], _PLACES)
    body = [*_begin(code), "", "", *_step(code), "", "", *_potentials(code)]
    functions = [*code.definitions()]
    if any("reciprocal(" in line for line in (*body, *functions)):
        functions = [*code.reciprocal(), *functions]
    lines = [*functions, "", "", *body]
    imports = list(_IMPORTS[library])
    if any("math." in line for line in lines):
        imports.insert(0, "import math")
    if library == "jax" and not any("jax.scipy" in line for line in lines):
        imports.remove("import jax")
    if any("jax.scipy" in line for line in lines):
        imports[0] = "import jax.scipy.special"
    return "\n".join([*docstring(heading(step)), "", *imports, *lines, ""])


def _begin(code: Code) -> Iterator[str]:
    given = "weights, feedback" if any(v.at_output and v.traces for v in code.step.views) else ""
    yield f"def begin({given or 'weights, feedback=None'}):"
    yield '    """What is carried from step to step beside weights and feedback, at first."""'
    yield "    return {"
    yield '        "steps": 0,'
    if code.step.model.bias:
        yield f'        "biases": [{code.words.of}.zeros_like(W[:, 0]) for W in weights],'
    for view, name in zip(code.step.views, _traces(code), strict=True):
        if view.traces:
            matrix, own = ("R.T", "R in feedback") if view.at_output else ("W", "W in weights")
            yield f'        "{name}": ['
            yield "            {"
            yield from indented(list(code.begun(view, matrix)), 4)
            yield "            }"
            yield f"            for {own}"
            yield "        ],"
    yield "    }"


def _traces(code: Code) -> list[str]:
    """Where the state has the traces of each view."""
    return ["feedback_traces" if view.at_output else "traces" for view in code.step.views]


def _step(code: Code) -> Iterator[str]:
    step = code.step
    noise = ", noise" if step.model.noise else ""
    yield f"def step(weights, feedback, x, label, state{noise}):"
    yield from indented(docstring(_of_step(step)), 1)
    yield "    depth = len(weights)"
    if any(t.initial is None for view in step.views for t in view.traces):
        yield '    first = state["steps"] == 0'
    yield from indented(list(_forward(code)), 1)
    if step.errors:
        yield from indented(list(errors_back(code)), 1)
    made = [("W", "weights"), ("B", "feedback"), ("b", "biases")]
    changed = [name for p, name in made if p in step.changes]
    places = [n for view, n in zip(step.views, _traces(code), strict=True) if view.traces]
    empty = ", ".join(f'"{name}": []' for name in (*changed, *places))
    yield f"    new = {{{empty}}}"
    yield "    for layer in range(depth):"
    for view, name in zip(step.views, _traces(code), strict=True):
        yield from indented(list(code.reads(view)), 2)
        if view.traces:
            yield f'        new["{name}"].append({{}})'
        kept = f'new["{name}"][layer]["{{key}}"] = {{called}}'
        yield from indented(list(code.values(view, f'state["{name}"][layer]', kept)), 2)
        yield from indented(list(code.changes(view)), 2)
    if "W" in step.changes:
        yield f'        new["weights"].append({code.changed("W", "W")})'
    if "B" in step.changes:
        yield f'        new["feedback"].append(({code.changed("B", "B")}).T)'
    if "b" in step.changes:
        yield f'        new["biases"].append(({code.changed("b", "b_post")})[:, 0])'
    later = ['"steps": state["steps"] + 1']
    if step.model.bias:
        learned = "b" in step.changes
        later.append('"biases": ' + ('new["biases"]' if learned else 'state["biases"]'))
    later += [f'"{name}": new["{name}"]' for name in places]
    given = [f'new["{n}"]' if n in changed else n for n in ("weights", "feedback")]
    yield f"    return {given[0]}, {given[1]}, {{{', '.join(later)}}}"


def _of_step(step: Written) -> list[str]:
    tied = step.path.tied
    source = "outputs" if step.direct else "post"
    feedback = "None: errors return by W" if tied else f"list over layers of [pre, {source}]"
    lines = [
        "One example: weights, feedback and state after it. Nothing given is changed.",
        "",
        "Args:",
        "    weights: list over layers of [post, pre], the first is of the input.",
        f"    feedback: {feedback}.",
        "    x: the example, [inputs].",
        "    label: its class number; or what the outputs should answer, [outputs].",
        "    state: of `begin`, or of the step before.",
    ]
    if step.model.noise:
        lines.append("    noise: list over layers of [post], standard normal.")
    return lines


def _forward(code: Code) -> Iterator[str]:
    step, of = code.step, code.words.of
    yield "# The example on its way through the network: potentials z, activities y."
    yield "y, z = [x], [x]"
    yield "for layer in range(depth):"
    bias = ' + state["biases"][layer]' if step.model.bias else ""
    noise = f" + {step.model.noise!r}*noise[layer]" if step.model.noise else ""
    yield f"    z.append(weights[layer] @ y[layer]{bias}{noise})"
    yield "    if layer + 1 < depth:"
    yield f"        y.append({code.of_activation('value', 'y[-1]', 'z[-1]')})"
    loss = step.model.loss
    lines = [f"y.append({code.at_output(loss.output)})"]
    lines += [f"error = {code.at_output(loss.error)}"] if step.errors else []
    lines += [f"loss = {code.at_output(loss.value)}"] if "L" in step.reads else []
    if step.errors or "L" in step.reads:
        yield "# What the outputs should answer, of a class number a 1 at the class."
        yield f"if {of}.shape(label) not in ((), z[-1].shape):"
        yield '    raise ValueError("label: give a class number, or a number for each output")'
        if of == "numpy":  # of JAX's, numbers are not known yet
            yield "if numpy.ndim(label) == 0 and label not in range(z[-1].shape[0]):"
            yield '    raise ValueError(f"label {label}: no class; they begin at 0")'
        yield f"t = label if {of}.ndim(label) else {of}.arange(z[-1].shape[0]) == label"
        yield f"t = {of}.asarray(t, dtype=z[-1].dtype)"
    if any("top" in line for line in lines):
        yield "top = z[-1].max()"
    yield from lines


def _potentials(code: Code) -> Iterator[str]:
    step = code.step
    yield "def potentials(weights, x, state):"
    yield '    """Of the outputs, [examples, outputs], from x [examples, inputs]; without noise."""'
    yield "    y = x"
    yield "    for layer, W in enumerate(weights):"
    bias = ' + state["biases"][layer]' if step.model.bias else ""
    yield f"        z = y @ W.T{bias}"
    yield f"        y = {code.of_activation('value', 'y', 'z')}"
    yield "    return z"
