"""The lines of code that change a layer, the same for every library of arrays."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from sympy import Expr

from rulesearch.export.spelling import ArrayPrinter, BatchPrinter, Words
from rulesearch.export.written import Part, Value, View, Written
from rulesearch.notation.layers import Layers
from rulesearch.notation.printing import text_of
from rulesearch.operators import (
    POST,
    PRE,
    QUANTITIES,
    SCALAR,
    SYNAPSE,
    Index,
    Interval,
    Parameter,
    definitions_of,
)
from rulesearch.operators.activations import Activation
from rulesearch.operators.intervals import MODERATE
from rulesearch.pathways import CARRIERS

#: What the code calls its own; a rule's names keep clear of these.
TAKEN = frozenset(
    word
    for line in (
        "B L R Rule W activations batch begin dB dW db depth digits dtype e error exact feedback",
        "first fitting initialised jax jnp kind label layer layers linear linears loss made math",
        "model new noise now number numpy outer post potentials pre reciprocal self shape size",
        "sizes softplus state step t top torch wanted weights x y z",
    )
    for word in line.split()
)

#: A part of a matrix with the shape of a value of this index set.
_SHAPED: Mapping[Index, str] = {SCALAR: "[:1, :1]", PRE: "[:1]", POST: "[:, :1]", SYNAPSE: ""}


@dataclass(frozen=True)
class Places:
    """Where the code has what a layer reads.

    Attributes:
        row: behind the values of pre-neurons, which makes a row of them.
        column: behind those of post-neurons, which makes a column of them.
        weights, feedback, biases: a layer's own, with `{layer}`.
        count: a size `{n}` of a `{matrix}` as a number of the library.
    """

    row: str
    column: str
    weights: str
    feedback: str
    biases: str
    count: str


@dataclass(frozen=True)
class Code:
    """A step as code of a library.

    Attributes:
        step: the step.
        words: of the library.
        places: where its values are.
        batch: whether examples come many at a time.
    """

    step: Written
    words: Words
    places: Places
    batch: bool = False

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The rule's own quantities, traces and operators -> how the code calls them."""
        own = [value.name for view in self.step.views for value in view.values]
        found: dict[str, str] = {}
        for name in dict.fromkeys([*own, *self.operators]):
            others = {*own, *self.operators, *found.values()} - {name}
            called = name
            while called in TAKEN or called in others or hasattr(builtins, called):
                called += "_"
            found[name] = called
        return found

    @property
    def expressions(self) -> list[Expr]:
        """All that is computed in a layer."""
        views = self.step.views
        found = [value.expression for view in views for value in view.values]
        return found + [p.expression for v in views for parts in v.changes.values() for p in parts]

    @cached_property
    def operators(self) -> Mapping[str, tuple[tuple[Expr, ...], Expr]]:
        """The rule's own operators, those that others call first: name -> arguments, body."""
        return dict(definitions_of(self.expressions))

    @cached_property
    def printer(self) -> ArrayPrinter:
        """Of what a layer computes."""
        more = self.words, self.names, self.step.ranges
        if self.batch:
            return BatchPrinter(*more, moves=self.step.after_an_example)
        return ArrayPrinter(*more)

    def at_output(self, expression: Expr) -> str:
        """A value of the output layer, from `z[-1]`, what it should be `t`, and `top`.

        Where it reads the activity of the output it is `y[-1]`.
        """
        loss = self.step.model.loss
        if expression != loss.output:
            expression = expression.xreplace({loss.output: QUANTITIES["y_post"].symbol})
        names = {"z_post": "z[-1]", "y_post": "y[-1]", "t_post": "t"}
        return str(ArrayPrinter(self.words, names, None, rows=True).doprint(expression))

    def of_activation(self, what: str, y: str, z: str) -> str:
        """The value or the slope of the activation."""
        activation: Activation = self.step.model.activation
        if what in activation.arrays:
            return activation.arrays[what].format(of=self.words.of, y=y, z=z)
        expression = activation.value if what == "value" else activation.slope
        return str(ArrayPrinter(self.words, {"y": y, "z": z}, None).doprint(expression))

    # --- lines ---------------------------------------------------------------------------------

    def definitions(self) -> Iterator[str]:
        """The rule's own operators as functions."""
        for name, (arguments, body) in self.operators.items():
            called = ", ".join(a.name for a in arguments)
            # As wide as any number that is one: what a divisor is there is all that matters.
            ranges = {a.name: Interval(-MODERATE, MODERATE) for a in arguments}
            text = ArrayPrinter(self.words, self.names, ranges).doprint(body)
            yield from ("", "", f"def {self.names[name]}({called}):", f"    return {text}")

    def reads(self, view: View) -> Iterator[str]:
        """A layer's own, and what is read of its neurons."""
        places, matrix = self.places, "B" if view.at_output else "W"
        post = "depth" if view.at_output else "layer + 1"
        own = "-1" if view.at_output else "layer"
        if not view.at_output:
            yield f"W = {places.weights.format(layer='layer')}"
        if "B" in view.reads or "B" in view.changes:
            yield f"B = {places.feedback.format(layer='layer')}"
        sizes = {"n_pre": f"{matrix}.shape[1]", "n_post": f"{matrix}.shape[0]"}
        texts = {
            **{f"{name}_pre": f"{name}[layer]{places.row}" for name in "yze"},
            **{f"{name}_post": f"{name}[{post}]{places.column}" for name in "yze"},
            "b_post": f"{places.biases.format(layer=own)}[:, None]",
            "xi_post": f"noise[{own}]{places.column}",
            **{name: places.count.format(n=size, matrix=matrix) for name, size in sizes.items()},
            "L": f"loss{places.column}",
        }
        needed = view.reads | ({"b_post"} if "b" in view.changes else set())
        yield from (f"{name} = {text}" for name, text in texts.items() if name in needed)

    def values(self, view: View, old: str, kept: str) -> Iterator[str]:
        """Quantities and traces.

        Args:
            view: whose.
            old: the traces of the layer before the step.
            kept: the line that puts a trace by, with its name `{key}` and the code's, `{called}`.
        """
        for value in view.values:
            name, text = self.names[value.name], self.printer.doprint(value.expression)
            if value.decay is None:
                yield f"{name} = {text}"
                continue
            moved = f'{value.decay!r}*{old}["{value.name}"] + {value.gain!r}*now'
            if value.initial is None:
                moved = f"{self.words.of}.where(first, now, {moved})"
            yield f"now = {text}"
            yield f"{name} = {moved}"
            yield kept.format(key=value.name, called=self._kept(name, value))

    def _kept(self, name: str, value: Value) -> str:
        """What a trace is after the step: the mean over a batch."""
        moves = self.batch and self.step.after_an_example(value.expression)
        return f"{name}.mean(0)" if moves else name

    def changes(self, view: View) -> Iterator[str]:
        """The sums of terms, dW, dB and db."""
        for parameter, parts in view.changes.items():
            yield f"d{parameter} = 0.0"
            for part in parts:
                yield from self._term(parameter, part)

    def _term(self, parameter: Parameter, part: Part) -> Iterator[str]:
        printer, expression = self.printer, part.expression
        if isinstance(printer, BatchPrinter):
            text = printer.mean(expression)
        else:
            text = printer.doprint(expression)
        sign = "-" if part.coefficient < 0 else "+"
        size = repr(abs(part.coefficient))
        total = f"d{parameter}"
        line = f"{total} = {total} {sign} {size} * ({text})  # {part.term}: {text_of(expression)}"
        if part.layers:
            yield f"if layer + 1 in {layers_as_code(part.layers)}:"
            line = "    " + line
        yield line

    def changed(self, parameter: Parameter, value: str) -> str:
        """The new value of a parameter, within its bounds."""
        new, limits = f"{value} + d{parameter}", self.step.model.limits(parameter)
        if limits is None:
            return new
        clip = "clamp" if self.words.library == "torch" else "clip"
        return f"{self.words.of}.{clip}({new}, {limits[0]!r}, {limits[1]!r})"

    def begun(self, view: View, matrix: str) -> Iterator[str]:
        """The traces of a layer before the first step, as lines of a dictionary.

        Args:
            view: whose.
            matrix: the parameter of the layer, [post, pre].
        """
        for t in view.traces:
            like = f"{matrix}{_SHAPED[t.index]}"
            yield f'"{t.name}": {self.words.of}.full_like({like}, {t.initial or 0.0!r}),'

    @property
    def carrier(self) -> str:
        """The matrix [post, pre] that carries errors back, from W and B."""
        text = str(ArrayPrinter(self.words, {}, None).doprint(CARRIERS[self.step.edge.carrier]))
        return text if text.isidentifier() else f"({text})"

    def reciprocal(self) -> Iterator[str]:
        """The function that the code calls where a divisor may be zero."""
        of = self.words.of
        yield from (
            "",
            "",
            "def reciprocal(x):",
            '    """1/x, and infinity where x is a zero of either sign."""',
            f'    return {of}.where(x == 0, float("inf"), 1/x)',
        )


def layers_as_code(layers: Layers) -> str:
    """Layers as a tuple, those from the last by the depth.

    Example:
        >>> layers_as_code((2, -1, -2))
        '(2, depth, depth - 1)'
    """
    texts = [str(n) if n > 0 else "depth" if n == -1 else f"depth - {-n - 1}" for n in layers]
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"


def indented(lines: Iterator[str] | list[str], by: int) -> list[str]:
    """Lines, so many levels in."""
    return [("    " * by + line) if line else "" for line in lines]


def errors_back(code: Code) -> Iterator[str]:
    """The lines that carry errors back from the output, layer by layer."""
    step = code.step
    first = "" if "e_pre" in step.reads else "1, "
    yield "# Their errors on their way back."
    yield "e = [None]*depth + [error]"
    yield f"for layer in reversed(range({first}depth)):"
    carrier = code.carrier
    for name, text in (("W", "weights"), ("B", "feedback")):
        if name in carrier:
            place = getattr(code.places, text)
            yield f"    {name} = {place.format(layer='layer')}"
    source = "e[depth]" if step.direct else "e[layer + 1]"
    slope = code.of_activation("slope", "y[layer]", "z[layer]")
    back = f"{source} @ {carrier}"
    yield f"    e[layer] = {back if slope == '1' else f'({back}) * ({slope})'}"
