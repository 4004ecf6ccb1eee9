"""The tables of a step stand in `docs/design.md` as the code has them.

`python -m tests.test_design_page` rewrites them.
"""

from pathlib import Path

from rulesearch.operators import POST, PRE, QUANTITIES, SCALAR, SYNAPSE
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.operators.losses import LOSSES
from rulesearch.pathways import CARRIERS

PAGE = Path(__file__).parents[1] / "docs" / "design.md"
BEGIN, END = "<!-- tables of a step -->\n", "<!-- end of tables -->\n"

PLACES = {SCALAR: "the layer", PRE: "pre", POST: "post", SYNAPSE: "synapse"}


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def tables():
    quantities = [
        (f"`{q.name}`", PLACES[q.index], q.meaning, q.need or "") for q in QUANTITIES.values()
    ]
    activations = [
        (f"`{a.name}`", f"`{a.value}`", f"`{a.slope}`", "yes" if a.closed_at_zero else "no")
        for a in ACTIVATIONS.values()
    ]
    losses = [
        (f"`{row.name}`", f"`{row.value}`", f"`{row.output}`", f"`{row.error}`")
        for row in LOSSES.values()
    ]
    carriers = [(f"`{name}`", f"`{expression}`") for name, expression in CARRIERS.items()]
    return "\n".join(
        [
            table(["quantity", "of", "meaning", "needs"], quantities),
            table(["activation", "y", "slope", "closed at a dark pixel"], activations),
            table(["loss", "of an example", "y of the output", "its error"], losses),
            table(["what carries errors back", "matrix"], carriers),
        ]
    )


def test_the_page_has_the_tables():
    text = PAGE.read_text()
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == "\n" + tables() + "\n"


if __name__ == "__main__":
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(text[:begin] + "\n" + tables() + "\n" + text[end:])
