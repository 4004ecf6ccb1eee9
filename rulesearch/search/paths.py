"""The paths on the command line, before anything heavy is imported to read what they name."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from rulesearch.data.files import look_for
from rulesearch.errors import RuleSearchError
from rulesearch.grammar_file import grammar_file
from rulesearch.known_rules import look_for_rule
from rulesearch.records.plain import from_plain
from rulesearch.result import Result
from rulesearch.runs import RunConfig, default_directory, is_finished, look_at, open_run, tidy
from rulesearch.search.arguments import Command
from rulesearch.search.config import Config


def look(command: Command) -> None:
    """Refuse what is named and is not there, or in the way, all at once.

    Raises:
        RuleSearchError: one line for each.
    """
    checks: list[Callable[[], object]] = []
    if command.resume:
        resume = command.resume
        checks.append(lambda: unfinished(resume))
    elif command.reproduce:
        checks.append(lambda: look_at(directory(command)))
    else:
        grammar = command.grammar
        if grammar:
            checks.append(lambda: grammar_file(grammar))
        if (begin := command.begin) is not None:
            checks.append(lambda: _look_for_rule(begin))
        checks.append(lambda: _look_for_data(command))
        if not command.explain:
            checks.append(lambda: look_at(directory(command)))
    checks.append(lambda: _look_for_log(command))
    faults: list[str] = []
    for check in checks:
        try:
            check()
        except RuleSearchError as error:
            faults.extend(error.lines)
    if faults:
        raise RuleSearchError(*faults)


def _look_for_log(command: Command) -> None:
    if command.log and find_spec("tensorboard") is None:
        raise RuleSearchError(
            "--log tensorboard: tensorboard is not installed; pip install tensorboard, or leave "
            "--log out"
        )


def _look_for_rule(begin: str) -> None:
    try:
        look_for_rule(begin)
    except RuleSearchError as error:
        raise RuleSearchError(*(f"--from {line}" for line in error.lines)) from None


def directory(command: Command) -> Path:
    """Where the run is to be kept: as asked, or the first name of its own that is free."""
    stem = Path(command.grammar).stem if command.grammar else "terms"
    if command.begin:
        stem = f"from_{Path(command.begin).resolve().stem}"
    config = command.config
    if command.reproduce:
        config = from_plain(Config, result_at(command.reproduce).config)
        given = command.reproduce.resolve()
        stem = f"again_{given.parent.name if given.name == 'result.json' else given.stem}"
    return command.out or default_directory(stem, config.dataset, config.seed)


def result_at(given: Path) -> Result:
    """The result to be run again.

    Raises:
        RuleSearchError: nothing of the kind there, or broken.
    """
    try:
        return Result.load(given)
    except RuleSearchError as error:
        raise RuleSearchError(*(f"--reproduce {line}" for line in error.lines)) from None


def unfinished(run: Path) -> RunConfig:
    """The request of a run that can go on.

    Raises:
        RuleSearchError: no run, a broken one, or one that is finished.
    """
    try:
        kept = open_run(run)
    except RuleSearchError as error:
        raise RuleSearchError(*(f"--resume {line}" for line in error.lines)) from None
    if is_finished(run):
        tidy(run)
        Result.load(run)  # one that is damaged is to be deleted, and then it can go on
        raise RuleSearchError(f"--resume {run}: is finished; print its result by --show {run}")
    return kept


def _look_for_data(command: Command) -> None:
    config = command.config
    # The size of a set that is known by name is known too: to explain, it need not be there.
    root = None if command.explain else config.data_root
    faults: list[str] = []
    for name in config.datasets:
        try:
            look_for(name, root)
        except RuleSearchError as error:
            faults += error.located(f"--dataset {name}").lines
    if faults:
        raise RuleSearchError(*faults)
