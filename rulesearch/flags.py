"""The flags of a command as plain data, and a TOML file in their place.

What a file says is read as its flags would be, so there is one way to be right and one to be wrong:

    grammar = "grammar/paper_pool.py"
    dataset = ["emnist", "mnist"]     # as --dataset emnist,mnist
    layers = [[170, 130], [130]]      # as --layers 170,130/130
    where = {F2 = [2, 3]}             # as --where F2=2,3
    quiet = true
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rulesearch.console import version
from rulesearch.errors import RuleSearchError, closest

T = TypeVar("T", int, float)

#: Flags whose value may begin with a minus, as a flag does.
_SIGNED = ("--term", "--feedback-term", "--bias-term", "--theta", "--time-limit")
#: What no file says.
_OF_THE_LINE = ("help", "version", "config")


@dataclass(frozen=True)
class Given:
    """What was given to a command.

    Attributes:
        values: by name, only what was given.
        file: that of `--config`, or None.
        in_file: what stands there and is not said by the command line, by its flag's name.
    """

    values: dict[str, Any]
    file: Path | None = None
    in_file: Collection[str] = field(default=())

    def named(self, error: RuleSearchError) -> RuleSearchError:
        """The same faults, with the file in front of those of what stands there.

        A fault begins with the flag, with what was given as in `RUN: is not finished`, or, of a
        term without a name, with the one that it was given.
        """
        begins = {*map(flag, self.in_file)}
        begins |= {text for n in self.in_file if isinstance(text := self.values.get(n), str)}
        terms = any(name.endswith("term") for name in self.in_file)

        def label(line: str) -> str:
            first, _, rest = line.partition(" ")
            known = {first.rstrip(":"), first.rstrip(":").partition("[")[0]} & begins
            unnamed = terms and first == "term" and re.match(r"T\d+\b", rest)
            return f"--config {self.file}: {line}" if known or unnamed else line

        return RuleSearchError(*map(label, error.lines))


class _Named(argparse._AppendAction):
    """Of a flag that stands for several: NAME=NUMBERS, a name once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep a name's numbers beside those of others."""
        (name, numbers), said = values, getattr(namespace, self.dest, {})
        if name in said:
            raise RuleSearchError(
                f"{option_string} {name}: given more than once; give all of it in one"
            )
        setattr(namespace, self.dest, {**said, name: numbers})


class Parser(argparse.ArgumentParser):
    """Of a command: nothing has a default, and what is wrong is raised.

    Args:
        called: what the command was called as.
        description: of it, for its help.
        **more: of argparse's parser.
    """

    def __init__(self, called: str, description: str, **more: Any) -> None:
        super().__init__(
            prog=called,
            description=description,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            **more,
        )

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            RuleSearchError: always.
        """
        raise RuleSearchError(f"{message}; {self.prog} --help lists the options")

    def add_named(
        self, option: str, kind: type[T], what: str, *, count: int | None = None, **more: Any
    ) -> None:
        """A flag `NAME=NUMBERS`, given once for each name.

        Args:
            option: the flag.
            kind: of the numbers.
            what: is given, and an example, for messages.
            count: of numbers; None: any.
            **more: of argparse's arguments.
        """

        def read(text: str) -> tuple[str, tuple[T, ...]]:
            name, equals, numbers = text.partition("=")
            try:
                found = tuple(kind(word) for word in numbers.split(",")) if name and equals else ()
                if found and count in (None, len(found)):
                    return name, found
            except ValueError:
                pass
            raise argparse.ArgumentTypeError(f"{text}: give {what}")

        self.add_argument(option, action=_Named, type=read, **more)

    def add_version(self) -> None:
        """`--version`."""
        self.add_argument("--version", action="version", version=f"rulesearch {version()}")

    def add_config(self) -> None:
        """`--config`."""
        self.add_argument(
            "--config",
            type=Path,
            metavar="FILE.toml",
            help="these options, where the command line says nothing: their flags without dashes",
        )

    def given(self, arguments: Sequence[str]) -> Given:
        """What some arguments say, and what the file of `--config` says where they do not.

        Raises:
            RuleSearchError: unknown or wrong ones, in the command line or the file; a line each.
        """
        if "" in arguments:
            before = arguments[: list(arguments).index("")]
            after = f"{before[-1]}: " if before and before[-1].startswith("-") else ""
            raise RuleSearchError(f"{after}an empty argument; leave it out, or say what it is")
        values = self._read(arguments)
        path = values.pop("config", None)
        if path is None:
            return Given(values)
        found = {
            name: said for name, said in self._file(path).items() if values.keys().isdisjoint(said)
        }
        for said in found.values():
            values |= said
        return Given(values, path, frozenset(found))

    def _read(self, arguments: Sequence[str]) -> dict[str, Any]:
        values = vars(self.parse_intermixed_args(_joined(arguments)))
        # What argparse makes of positional arguments that are not there, whatever their default.
        nothing: tuple[Any, ...] = ([], argparse.SUPPRESS, Path(argparse.SUPPRESS))
        return {name: value for name, value in values.items() if value not in nothing}

    def _file(self, path: Path) -> dict[str, dict[str, Any]]:
        """What each line of a file says, as the command line would have it."""
        label = f"--config {path}"
        said = toml_at(path, label)
        actions = {name: a for a in self._actions for name in _names(a) if name not in _OF_THE_LINE}
        faults = [*strange(said, actions, label)]
        found: dict[str, dict[str, Any]] = {}
        for name, value in said.items():
            if (action := actions.get(name)) is None:
                continue
            try:
                found[name] = self._read([*_words(action, value)])
            except RuleSearchError as error:
                option = action.option_strings[0] if action.option_strings else name
                known = f"argument {option}: "
                end = f"; {self.prog} --help lists the options"
                faults += [
                    f"{label}: {name}: {line.removeprefix(known).removesuffix(end)}"
                    for line in error.lines
                ]
        if faults:
            raise RuleSearchError(*faults)
        return found


def flag(name: str) -> str:
    """The command line's spelling of an option.

    Example:
        >>> flag("meta_steps")
        '--meta-steps'
    """
    return "--" + name.replace("_", "-")


def rule_of(text: str) -> int | tuple[str, ...]:
    """A rule of a hall of fame: a number of terms, or their names.

    Example:
        >>> rule_of("3"), rule_of("F0,F2")
        (3, ('F0', 'F2'))
    """
    return int(text) if text.isdecimal() else tuple(text.split(","))


def toml_at(path: Path, label: str, wanted: str = "") -> dict[str, Any]:
    """What a TOML file says, by names as Python spells them.

    Args:
        path: of the file.
        label: what messages begin with.
        wanted: what to give where there is no such file, or another.

    Raises:
        RuleSearchError: it cannot be read, or is not TOML.
    """
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        if wanted and isinstance(error, FileNotFoundError):
            raise RuleSearchError(f"{label}: no such file; {wanted}") from None
        raise RuleSearchError(f"{label}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = f"; {wanted}" if wanted else ""
        raise RuleSearchError(f"{label}: not TOML, {error}{hint}") from None
    except (ValueError, RecursionError):  # digits without end; tables in tables without end
        raise RuleSearchError(f"{label}: a number too long, or tables nested too deep") from None
    found: dict[str, Any] = {}
    for name, value in plain.items():
        if (spelled := name.replace("-", "_")) in found:
            raise RuleSearchError(f"{label}: {name}: given with - and with _; give it once")
        found[spelled] = value
    return found


def strange(said: Collection[str], names: Collection[str], label: str) -> Iterator[str]:
    """A line for each name that is none of these."""
    for name in said:
        if name not in names:
            hint = closest(name, names) or f"; give {', '.join(sorted(names))}"
            yield f"{label}: {name}: no option{hint}"


def _names(action: argparse.Action) -> list[str]:
    """What a file may call an argument: as its flag without dashes, or as help shows it."""
    if not action.option_strings:
        return [action.dest, str(action.metavar or action.dest).lower()]
    long = (option for option in action.option_strings if option.startswith("--"))
    return [option.removeprefix("--").replace("-", "_") for option in long]


def _words(action: argparse.Action, value: Any) -> Iterator[str]:
    """The command line's words for what a file says.

    Raises:
        RuleSearchError: a kind of value that none stand for.
    """
    option = action.option_strings[0] if action.option_strings else ""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise RuleSearchError(f"{value!r}; give true or false")
        yield from [option] * value
    elif not option:
        yield from map(_text, _several(value))
    elif isinstance(value, Mapping) and value and isinstance(action, _Named):
        yield from (f"{option}={name}={_text(each)}" for name, each in value.items())
    elif isinstance(action, argparse._AppendAction):
        yield from (f"{option}={_text(each)}" for each in _several(value))
    elif value == [] and action.dest != "rivals":
        raise RuleSearchError("[]; give at least one, or leave it out")
    else:
        yield f"{option}={_text(value) if value != [] else 'none'}"


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    """A value as the command line has it: lists with commas, those of lists with slashes."""
    if isinstance(value, list) and not any(isinstance(each, Mapping) for each in value):
        between = "/" if any(isinstance(each, list) for each in value) else ","
        return between.join(map(_text, value))
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise RuleSearchError(f"{value!r}; give text, a number, or a list of them")


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--term TEXT` as `--term=TEXT`: a term or a number may begin with a minus."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in _SIGNED:
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return joined
