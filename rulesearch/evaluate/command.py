"""What the commands have in common once their paths are known to be there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rulesearch.errors import RuleSearchError
from rulesearch.evaluate.arguments import Command
from rulesearch.evaluate.engine import Watch
from rulesearch.evaluate.options import Asked, asked_for
from rulesearch.given_rule import load_rule, rule_from_text
from rulesearch.known_rules import names_run
from rulesearch.rule import Rule
from rulesearch.words import percent


def rules_of(command: Command) -> list[Rule]:
    """The rules that a command names.

    Raises:
        RuleSearchError: one that is none.
    """
    runs = [given for given in command.rules if names_run(given)]
    if command.wanted is not None and not runs:
        raise RuleSearchError("--terms: beside a run directory only, which has a hall of fame")
    found = [load_rule(each, command.wanted if each in runs else None) for each in command.rules]
    names = [rule.name for rule in found]
    # Runs are called by their folders, which may have one name in two places.
    found = [
        replace(rule, name=given) if given in runs and names.count(rule.name) > 1 else rule
        for given, rule in zip(command.rules, found, strict=True)
    ]
    if command.text:
        text = command.text
        beside = {
            "feedback": text.get("feedback_term", ()),
            "bias": text.get("bias_term", ()),
            "traces": text.get("trace", ()),
            "bounds": text.get("bounds", {}),
        }
        where = text.get("where", {})
        found.append(rule_from_text(text["term"], text["theta"], where=where, **beside))
    return found


def asked_of(command: Command, **usual: Any) -> Asked:
    """The options of a command, checked.

    Args:
        command: that was read.
        **usual: what stands where it says nothing.

    Raises:
        RuleSearchError: a line for each that cannot be, by the flag.
    """
    try:
        return asked_for({**usual, **command.options})
    except RuleSearchError as error:
        spelled = (f"--{_dashed(line)}" for line in error.lines)
        raise RuleSearchError(*spelled) from None


def _dashed(line: str) -> str:
    name = re.split("[ :]", line, maxsplit=1)[0]
    return name.replace("_", "-") + line.removeprefix(name)


@contextmanager
def watched(quiet: bool) -> Iterator[Watch]:
    """Shows what is under way, the share done and the time left, on the error stream.

    Where that is no terminal, a line for each scenario.
    """
    console = Console(stderr=True)
    columns = (
        BarColumn(20),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=1.0)

        told: list[str] = []

        def watch(doing: str, share: float) -> None:
            bar.update(task, completed=share, description=doing)
            scenario = doing.partition(" ")[0]
            if hidden and not quiet and scenario not in (*told, ""):
                told.append(scenario)
                print(f"{scenario}, {percent(share)} done", file=sys.stderr, flush=True)

        yield watch
