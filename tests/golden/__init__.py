"""Texts kept in files, whose changes are read in a diff: `python -m tests.golden` rewrites them.

Each entry of TEXTS is a file of this folder and the function that makes what should stand there.
"""

from functools import partial
from pathlib import Path

from rulesearch.locality import classify
from rulesearch.lowering import lower
from rulesearch.notation import load_pool

FOLDER = Path(__file__).parent
GRAMMAR = FOLDER.parents[1] / "grammar"


def explained(grammar):
    """A grammar file's terms, what they need, how they lower, the plan, and what a step costs."""
    pool = load_pool(grammar)
    plan = lower(pool)
    lines = []
    for position, term in enumerate(pool):
        needs = ", ".join(sorted(classify(term).needs)) or "synaptic"
        lines += [f"{term.name} = {term.text}", f"    {needs}; {plan.how(position)}"]
    cost = plan.multiply_adds(170, 784)
    lines += ["", str(plan), "", f"{cost:,} multiply-adds a step in a layer of 170 x 784"]
    return "\n".join(lines) + "\n"


TEXTS = {
    f"plan_{path.stem}_{path.suffix[1:]}.txt": partial(explained, path)
    for path in sorted(GRAMMAR.iterdir())
    # The plan of a thousand terms is nothing to read.
    if path.suffix in (".py", ".toml") and path.stem != "space"
}
