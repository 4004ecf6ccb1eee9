"""Flags of `evaluate`, `compare` and `ablate`, or a file in their place, as plain data."""

from __future__ import annotations

import argparse
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from rulesearch.choices import RivalName
from rulesearch.data.files import look_for, names_in
from rulesearch.errors import RuleSearchError
from rulesearch.evaluate.options import Asked
from rulesearch.flags import Given, Parser, flag, rule_of
from rulesearch.known_rules import known, look_for_rule
from rulesearch.search.arguments import add_places_and_ends, networks_of

HELP = {
    "dataset": "digits, emnist, mnist, fashion-mnist, or FILE.npz",
    "layers": "hidden sizes with commas; all sizes if the ends are those of the data; several "
    "networks with slashes",
    "pathway": "how errors travel backward: random, symmetric, direct, sign-symmetric",
    "activation": "of hidden neurons",
    "loss": "what errors are the derivative of",
    "feedback_init": "what feedback begins as: uniform, normal, or transposed weights",
    "weights_init": "law of the weights: uniform, normal",
    "noise": "size of the noise in potentials",
    "feedback_noise": "S, for feedback B + S R with R random",
    "label_noise": "share of the training labels that are wrong",
    "image_noise": "standard deviation of the noise in training images",
    "ways": "classes of a task",
    "shots": "training examples of each class; images come again where there are too few",
    "queries": "query examples of each class",
    "steps": "length of a stream, in place of --shots; of several the longest is run, the others "
    "are points of it",
    "rivals": f"what the rules are tried beside: {', '.join(get_args(RivalName))}; or none",
    "rates": "where rivals' rates are found: here, own (where the rule was searched for), both",
    "lifetimes": "of each, on images that no search used",
    "tuning_tasks": "on which a rate is found",
    "data_root": "folder in torchvision's layout; without it the sets are downloaded",
    "scale": "map inputs to [0, 1] by the range of the search's images",
    "seed": "of the lifetimes",
    "kernel": "auto, einsum, fused",
    "device": "cpu or cuda",
    "dtype": "float32 or float64",
}

#: What says a rule by its terms, as flags of a search do.
TEXTS = ("term", "feedback_term", "bias_term", "trace", "bounds", "where")


@dataclass(frozen=True)
class Command:
    """What the command line or a file asked for.

    Attributes:
        rules: as `load_rule` takes them.
        wanted: of run directories, another rule of the hall of fame.
        text: a rule by its terms: `term`, `theta`, and what else `rule_from_text` takes.
        options: of the evaluation, by name.
        more: options of this command alone.
        out: a folder for what is measured, or None.
        quiet: print the tables only.
        asked: all of it as it was given, by flags or in a file.
    """

    rules: tuple[str, ...]
    wanted: int | tuple[str, ...] | None
    text: dict[str, Any]
    options: dict[str, Any]
    more: dict[str, Any]
    out: Path | None
    quiet: bool
    asked: Given


@dataclass(frozen=True)
class Further:
    """An option of one command alone.

    Attributes:
        help: in a line.
        kind: of its value; None for one that is there or not.
        default: as it is where nothing says so.
    """

    help: str
    kind: Callable[[str], Any] | None
    default: Any = None


def parser(
    called: str, description: str, more: Mapping[str, Further], without: Sequence[str] = ()
) -> Parser:
    """A parser of these options; none of them has a default there."""
    made = Parser(called, description)
    made.add_argument(
        "rules",
        nargs="*",
        metavar="RULE",
        help=f"a run directory, a rule.toml, or a rule that comes along ({', '.join(known())})",
    )
    made.add_argument(
        "--terms",
        type=rule_of,
        metavar="N",
        help="of a run directory the best rule of N terms in its hall of fame, or that of "
        "TERM,TERM,...",
    )
    made.add_argument("--term", action="append", metavar="TEXT", help="a term, in place of RULE")
    made.add_argument(
        "--theta", type=numbers, metavar="A,B,...", help="coefficients, in the terms' order"
    )
    made.add_argument(
        "--feedback-term", action="append", metavar="TEXT", help="of B, beside --term"
    )
    made.add_argument("--bias-term", action="append", metavar="TEXT", help="of b, beside --term")
    made.add_argument("--trace", action="append", metavar="TEXT", help="that terms may read")
    add_places_and_ends(made, "where it acts", "of values")
    made.add_config()
    hints, usual = get_type_hints(Asked, include_extras=True), Asked()
    for entry in fields(Asked):
        if entry.name in without:
            continue
        value = getattr(usual, entry.name)
        if hints[entry.name] is bool:
            made.add_argument(flag(entry.name), action="store_true", help=HELP[entry.name])
            continue
        several = isinstance(value, tuple)
        default = f" ({value})" if value and not several else ""
        made.add_argument(
            flag(entry.name),
            type=_kind(entry.name, hints[entry.name]),
            metavar=f"{entry.name.upper()}{',...' if several and entry.name != 'layers' else ''}",
            help=HELP[entry.name] + default,
        )
    for name, further in more.items():
        how: dict[str, Any] = {"help": further.help}
        how |= {"action": "store_true"} if further.kind is None else {"type": further.kind}
        made.add_argument(flag(name), **how)
    made.add_argument(
        "--out",
        type=Path,
        help="folder for tables, figures and what is measured; one that was stopped goes on there",
    )
    made.add_argument("--quiet", action="store_true", help="print the tables only")
    made.add_version()
    return made


def read(
    arguments: Sequence[str],
    called: str,
    description: str,
    more: Mapping[str, Further] | None = None,
    without: Sequence[str] = (),
) -> Command:
    """The command that some arguments say, with those of `--config` where flags say nothing.

    Args:
        arguments: of the command line.
        called: what the command was called as.
        description: of it, for its help.
        more: options of this command alone.
        without: options of an evaluation that it does not have.

    Raises:
        RuleSearchError: unknown or contradicting options, no rule; a line each.
    """
    more = more or {}
    asked = parser(called, description, more, without).given(arguments)
    try:
        return _command(asked, more)
    except RuleSearchError as error:
        raise asked.named(error) from None


def _command(asked: Given, more: Mapping[str, Further]) -> Command:
    given = dict(asked.values)
    text = {name: given.pop(name) for name in (*TEXTS, "theta") if name in given}
    command = Command(
        rules=tuple(given.pop("rules", ())),
        wanted=given.pop("terms", None),
        text=text,
        out=given.pop("out", None),
        quiet=given.pop("quiet", False),
        more={name: given.pop(name, further.default) for name, further in more.items()},
        options=given,
        asked=asked,
    )
    _refuse(command)
    return command


def look(command: Command) -> None:
    """Refuse what is named and is not there, all at once, before anything heavy is imported.

    Raises:
        RuleSearchError: a line for each.
    """
    faults: list[str] = []
    for rule in command.rules:
        try:
            look_for_rule(rule)
        except RuleSearchError as error:
            faults += error.lines
    sets = command.options.get("dataset", ())
    for name in (sets,) if isinstance(sets, str) else sets:
        try:
            look_for(name, command.options.get("data_root"))
        except RuleSearchError as error:
            faults += error.located(f"--dataset {name}").lines
    if faults:
        raise RuleSearchError(*faults)


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text}: give numbers with commas, as in 0.01,-0.02"
        ) from None


def _refuse(command: Command) -> None:
    terms, theta = command.text.get("term", ()), command.text.get("theta", ())
    if not (command.rules or terms):
        raise RuleSearchError(
            "no rule; give a run directory, a rule.toml, a known rule such as paper, or --term "
            "TEXT with --theta"
        )
    if terms and not theta:
        raise RuleSearchError("--term: without coefficients; give one for each by --theta A,B,...")
    if command.text and not terms:
        given = flag(next(iter(command.text)))
        raise RuleSearchError(f"{given}: beside --term only; a RULE has its own")


def _kind(name: str, hint: Any) -> Callable[[str], Any]:
    """How the text of a flag is read; what a value may be is checked later, all at once."""
    if name == "layers":
        return networks_of
    if name == "dataset":
        return names_in
    several = get_origin(hint) is tuple
    inner = get_args(hint)[0] if several else hint
    while get_origin(inner) in (Union, types.UnionType):
        inner = get_args(inner)[0]
    base = getattr(inner, "__origin__", inner)
    number: Callable[[str], Any] = base if base in (int, float) else str

    def read(text: str) -> Any:
        if name == "rivals" and text == "none":
            return ()
        try:
            return tuple(map(number, text.split(","))) if several else number(text)
        except ValueError:
            wanted = "whole numbers" if number is int else "numbers"
            raise argparse.ArgumentTypeError(
                f"{text}: {wanted} are needed, with commas"
                if several
                else f"{text}: a number is needed"
            ) from None

    return read
