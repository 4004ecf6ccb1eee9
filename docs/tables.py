"""What the pages take from the code when they are built: tables, options, the Python interface.

A page says `<!-- generated: NAME -->` on a line of its own, and `filled` puts there what the row
NAME of `GENERATED` makes. Nothing here knows Sphinx.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from unittest import mock

from sympy import Symbol

from rulesearch.__main__ import SUBCOMMANDS
from rulesearch.meta import PROTOCOLS
from rulesearch.observables import OBSERVABLES
from rulesearch.operators import (
    COMMON,
    OPERATORS,
    POST,
    PRE,
    QUANTITIES,
    SCALAR,
    SYNAPSE,
    Operator,
    operator_of,
)
from rulesearch.operators.activations import ACTIVATIONS
from rulesearch.operators.losses import LOSSES
from rulesearch.pathways import CARRIERS
from rulesearch.records.plain import Within
from rulesearch.search.config import EASIER, LEVELS, QUICKER, TRIALS, Config
from rulesearch.selection.effort import Effort

MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)

PLACES = {SCALAR: "the layer", PRE: "pre", POST: "post", SYNAPSE: "synapse"}

#: Rooms whose public names are the Python interface, beside those of the root.
ROOMS = (
    "rulesearch.notation",
    "rulesearch.locality",
    "rulesearch.rule",
    "rulesearch.given_rule",
    "rulesearch.data",
    "rulesearch.lifetime",
    "rulesearch.model",
    "rulesearch.pathways",
    "rulesearch.observables",
    "rulesearch.statistics",
    "rulesearch.result",
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, every line ended."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


# --- of a step -----------------------------------------------------------------------------------


def quantities() -> str:
    """What a term may read."""
    rows = [(f"`{q.name}`", PLACES[q.index], q.meaning, q.need) for q in QUANTITIES.values()]
    return table(["quantity", "of", "meaning", "needs"], rows)


def activations() -> str:
    """What hidden neurons may be."""
    rows = [
        (f"`{a.name}`", f"`{a.value}`", f"`{a.slope}`", "yes" if a.closed_at_zero else "no")
        for a in ACTIVATIONS.values()
    ]
    return table(["activation", "y", "slope", "closed at a dark pixel"], rows)


def losses() -> str:
    """What errors are derivatives of."""
    rows = [
        (f"`{row.name}`", f"`{row.value}`", f"`{row.output}`", f"`{row.error}`")
        for row in LOSSES.values()
    ]
    return table(["loss", "of an example", "y of the output", "its error"], rows)


def carriers() -> str:
    """What errors travel through."""
    rows = [(f"`{name}`", f"`{expression}`") for name, expression in CARRIERS.items()]
    return table(["what carries errors back", "matrix"], rows)


def step() -> str:
    """All that a step consists of, as the design page has it."""
    return "\n".join([quantities(), activations(), losses(), carriers()])


def operators() -> str:
    """What a term may call."""
    rows = [_operator_row(row) for row in OPERATORS.values()]
    for name, function in COMMON.items():
        made = operator_of(function)
        assert made is not None
        rows.append((*_operator_row(made)[:2], f"that of `{_defined(name, made)}`", "no"))
    return table(["operator", "arguments", "derivative by each", "jumps"], rows)


def _operator_row(row: Operator) -> tuple[str, ...]:
    fewest, most = row.arity
    count = f"{fewest} or more" if most is None else str(most)
    if row.drops:
        (axis,) = row.drops
        return f"`{row.name}`", count, f"its sum over {axis}-neurons, at each of them", "no"
    x = [Symbol(name, real=True) for name in ("x", "y", "z")[:fewest]]
    slopes = ", ".join(f"`{slope}`" for slope in row.partials(*x))
    return f"`{row.name}`", count, slopes, "no" if row.smooth else "yes"


def _defined(name: str, row: Operator) -> str:
    assert row.definition is not None
    return str(row.definition(*(Symbol(x, real=True) for x in ("x", "y")[: row.arity[0]])))


def observables() -> str:
    """What can be watched during a lifetime."""
    rows = [(f"`{name}`", _first_line(function)) for name, function in OBSERVABLES.items()]
    return table(["observable", "it is"], rows)


def _first_line(value: object) -> str:
    return (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")


# --- of a search ---------------------------------------------------------------------------------


def protocols() -> str:
    """The numbers of every protocol: a line for each that at least one has."""
    names = dict.fromkeys(f.name for p in PROTOCOLS.values() for f in fields(p))
    rows = [
        (f"`{name}`", *(_number(getattr(p, name, "")) for p in PROTOCOLS.values()))
        for name in names
    ]
    rows.append(("trials", *(str(count) for count in TRIALS.values())))
    return table(["number", *(f"`{name}`" for name in PROTOCOLS)], rows)


def efforts() -> str:
    """How much is run: `Effort` for each kind of search, and what the levels multiply it by."""
    kinds = {"accepted": QUICKER, **{f"others, on {n}": e for n, (_, e) in EASIER.items()}}
    kinds["others"] = Effort()
    rows = [
        (f"`{f.name}`", *(_number(getattr(effort, f.name)) for effort in kinds.values()))
        for f in fields(Effort)
    ]
    levels = ", ".join(f"`{level}` {_number(factor)}" for level, factor in LEVELS.items())
    return table(["count", *kinds], rows) + f"\nTimes, by `--effort`: {levels}.\n"


def _number(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- options -------------------------------------------------------------------------------------


def parser_of(subcommand: str) -> argparse.ArgumentParser:
    """The parser that answers `rulesearch SUBCOMMAND --help`, wherever the command keeps it."""
    found: list[argparse.ArgumentParser] = []

    def caught(parser: argparse.ArgumentParser, file: object = None) -> None:
        found.append(parser)

    command = import_module(SUBCOMMANDS[subcommand].module).main
    with mock.patch.object(argparse.ArgumentParser, "print_help", caught), suppress(SystemExit):
        command(["--help"], f"rulesearch {subcommand}")
    return found[0]


def options() -> str:
    """Every option of every subcommand."""
    return "\n".join(_options_of(name) for name in SUBCOMMANDS)


def _options_of(subcommand: str) -> str:
    parser = parser_of(subcommand)
    hidden = (argparse.SUPPRESS, "show this help message and exit")
    shown = (action for action in parser._actions if action.help not in hidden)
    rows = [_option_row(action, parser.prog) for action in shown]
    head = f"## rulesearch {subcommand}\n\n{_sentence(SUBCOMMANDS[subcommand].help)}\n\n"
    return head + table(["option", "what it says", "range"], rows)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _option_row(action: argparse.Action, prog: str) -> tuple[str, str, str]:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        shown = f"`{value}`"
    elif action.nargs == 0:
        shown = f"`{', '.join(action.option_strings)}`"
    else:
        shown = f"`{', '.join(action.option_strings)} {value}`"
    said = (action.help or "") % {"prog": prog, "default": action.default}
    return shown, _escaped(said), _range_of(action)


def _escaped(text: str) -> str:
    """Text that Markdown leaves as it is, but for options, which are code."""
    plain = re.sub(r"([\\|*_<>`\[\]])", r"\\\1", text)
    return re.sub(r"(?<!\S)(--[\w-]+)", r"`\1`", plain)


def _range_of(action: argparse.Action) -> str:
    """The range of an option, or its choices where the help has not said them."""
    choices = [*(action.choices or ()), *_choices(_hints().get(action.dest))]
    if choices and not all(str(choice) in (action.help or "") for choice in choices):
        return ", ".join(f"`{choice}`" for choice in choices)
    return ", ".join(dict.fromkeys(_ranges(_hints().get(action.dest))))


@cache
def _hints() -> Mapping[str, Any]:
    return get_type_hints(Config, include_extras=True)


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _ranges(hint: Any) -> Iterator[str]:
    if get_origin(hint) is Annotated:
        yield from (_range(m) for m in get_args(hint)[1:] if isinstance(m, Within))
    elif get_origin(hint) is not Literal:
        for inside in get_args(hint):
            yield from _ranges(inside)


def _range(within: Within) -> str:
    """A range in words.

    Example:
        >>> _range(Within(0, 1, most_too=False)), _range(Within(1, 10**6))
        ('0 to below 1', '1 to 1,000,000')
    """
    least = f"{'' if within.least_too else 'above '}{within.least:,}"
    if within.most == float("inf"):
        return f"at least {least}" if within.least_too else least
    return f"{least} to {'' if within.most_too else 'below '}{within.most:,}"


# --- pages ---------------------------------------------------------------------------------------


def further(here: Path = Path(__file__).parent) -> str:
    """The pages of a folder that its contents do not name."""
    named = set(re.findall(r"^(?:.*<)?(\w+)>?$", (here / "index.md").read_text(), re.MULTILINE))
    return "\n".join(sorted({page.stem for page in here.glob("*.md")} - named - {"index"}))


# --- the Python interface ------------------------------------------------------------------------


def public(room: str) -> dict[str, Any]:
    """The functions and classes that a room offers: name → value, in order."""
    module = import_module(room)
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    return {name: value for name in names if _ours(value := getattr(module, name), room)}


def _ours(value: object, room: str) -> bool:
    """Whether a value is a function or class of the room, or of its parts."""
    if inspect.ismodule(value):
        return callable(value)
    home = getattr(value, "__module__", "") or ""
    within = home == room or home.startswith(f"{room}.")
    return within and (inspect.isclass(value) or inspect.isfunction(value))


def interface() -> str:
    """What the root offers, then the rest of each room, for autodoc; each name once."""
    seen: set[int] = set()
    own = (row.module.removesuffix(".__main__") for row in SUBCOMMANDS.values())
    rooms = dict.fromkeys(("rulesearch", *ROOMS, *own))
    return "\n".join(_section(room, seen) for room in rooms)


def _section(room: str, seen: set[int]) -> str:
    said = _first_line(import_module(room)).removeprefix(f"{room}: ")
    lines = [f"## `{room}`", "", _sentence(said), ""]
    lines += ["```{eval-rst}"]
    for value in public(room).values():
        if inspect.ismodule(value):  # a package that is called, as `rulesearch.search`
            value = getattr(value, value.__name__.rpartition(".")[2])
        if id(value) not in seen:
            seen.add(id(value))
            lines += _directive(value)
    return "\n".join([*lines, "```", ""])


def _directive(value: Any) -> list[str]:
    path = f"{value.__module__}.{value.__qualname__}"
    if not inspect.isclass(value):
        return [f".. autofunction:: {path}", ""]
    return [f".. autoclass:: {path}", "   :members:", "   :member-order: bysource", ""]


GENERATED: Mapping[str, Callable[[], str]] = {
    "options": options,
    "operators": operators,
    "quantities": quantities,
    "activations": activations,
    "losses": losses,
    "carriers": carriers,
    "observables": observables,
    "protocols": protocols,
    "efforts": efforts,
    "further": further,
    "interface": interface,
}


def filled(text: str) -> str:
    """The text of a page, with what it takes from the code."""
    return MARK.sub(lambda mark: GENERATED[mark[1]](), text)
