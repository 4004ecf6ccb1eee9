"""What stands at the head of an export: the equation, what it reads, and where it comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rulesearch.console import version
from rulesearch.export.written import Written
from rulesearch.notation import pool_to_plain
from rulesearch.notation.own import own_symbols
from rulesearch.notation.printing import text_of
from rulesearch.operators import PARAMETERS, QUANTITIES, definition_of
from rulesearch.result import definition_lines


def heading(step: Written) -> list[str]:
    """The rule in the notation of a term, for a docstring; no line is longer than need be."""
    rule, net = step.rule, step.rule.network
    lines = [f"The learning rule {rule.name}, of every synapse from a pre- to a post-neuron.", ""]
    for parameter in PARAMETERS:
        lines += _equation(step, parameter)
    lines += ["", *_own(step)]
    facts = [f"{net.activation} neurons", net.loss, f"the {net.pathway} pathway"]
    facts += ["biases"] if step.model.bias else []
    facts += [f"noise of {step.model.noise:g} in potentials"] if step.model.noise else []
    lines += [f"Networks: {', '.join(facts)}."]
    if rule.source:
        lines += textwrap.wrap(f"Source: {rule.source}.", 96)
    return [*lines, f"Written by rulesearch {version()}."]


def _equation(step: Written, parameter: str) -> Iterator[str]:
    lead = f"    d{parameter} ="
    for term, value in zip(step.rule.pool, step.rule.theta, strict=True):
        for changed, expression in term.updates:
            if changed == parameter:
                layers = step.rule.pool.where.get(term.name, ())
                where = f"  in layers {', '.join(map(str, layers))}" if layers else ""
                sign = "-" if value < 0 else "+" if lead.isspace() else " "
                yield f"{lead} {sign} {abs(value)!r} * ({text_of(expression)}){where}"
                lead = " " * len(lead)


def _own(step: Written) -> Iterator[str]:
    """What is read, the table's and the rule's own."""
    expressions = [e for term in step.rule.pool for _, e in term.updates]
    every = [*expressions, *map(definition_of, own_symbols(expressions).values())]
    read = {s.name for e in every for s in e.free_symbols}
    for name, row in QUANTITIES.items():
        if name in read:
            yield f"    {name}: {row.meaning}"
    definitions = pool_to_plain(step.rule.pool)
    yield from (f"    {line}" for line in definition_lines(definitions, map(text_of, expressions)))
    yield ""


def docstring(lines: list[str]) -> list[str]:
    """Lines as a docstring, whatever they say."""
    safe = [line.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').rstrip() for line in lines]
    return ['"""' + " ".join(safe[0].split()), *(" ".join(s.splitlines()) for s in safe[1:]), '"""']
