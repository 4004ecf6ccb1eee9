"""The command line as data: flags to a configuration, and back to words where it is refused."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from rulesearch.errors import RuleSearchError
from rulesearch.search.config import Config, flag

_HELP = {
    "dataset": "digits, emnist, mnist, fashion-mnist, or FILE.npz",
    "data_root": "folder in torchvision's layout; without it the sets are downloaded",
    "pathway": "how errors travel backward: random, symmetric, direct",
    "layers": "hidden sizes with commas; all sizes if the ends are those of the data",
    "ways": "classes of a task",
    "shots": "training examples of each class",
    "queries": "query examples of each class",
    "protocol": "robust, or paper: as published",
    "l1": "strength of the penalty (the protocol's)",
    "largest_scale": "cap of a term's unit, the reference's size over its own (the protocol's)",
    "meta_steps": "of a trial (the protocol's; fewer for digits)",
    "meta_batch": "lifetimes of a meta-step (the protocol's)",
    "trials": "independent searches that screen the terms",
    "parsimony": "share of the gain that all terms dropped may cost together",
    "locality": "needs that terms may have, with commas: dendritic, retrograde, global, foreign; "
    "synaptic for none; all",
    "neurons": "shared, or separate populations for activities and errors",
    "kernel": "auto, einsum, fused",
    "device": "cpu or cuda",
    "dtype": "float32 or float64",
    "workers": "processes",
    "seed": "of everything drawn",
}


@dataclass(frozen=True)
class Command:
    """What the command line asked for.

    Attributes:
        grammar: the grammar file, or None.
        terms: text terms, in its place.
        given: the options of `Config` that were given, by name.
        out: where the run is to be kept, or None for a name of its own.
        resume: the run to go on with, or None.
        explain: show the pool and its plan, and run nothing.
        quiet: print the result only.
    """

    grammar: str | None
    terms: tuple[str, ...]
    given: dict[str, Any]
    out: Path | None
    resume: Path | None
    explain: bool
    quiet: bool

    @property
    def config(self) -> Config:
        """The configuration asked for."""
        return Config(**self.given)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RuleSearchError(f"{message}; python -m rulesearch.search --help lists the options")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: give sizes with commas, as in 170,130") from None


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--term TEXT` as `--term=TEXT`: a term may begin with a minus, as an option does."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--term":
            joined[-1] = f"--term={argument}"
        else:
            joined.append(argument)
    return joined


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    made = _Parser(
        prog="python -m rulesearch.search",
        description="Search a pool of candidate terms for a short, local learning rule.",
        allow_abbrev=False,
    )
    made.add_argument("grammar", nargs="?", metavar="GRAMMAR", help="a .py or .toml file")
    made.add_argument(
        "--term", action="append", default=[], metavar="TEXT", help="a term, in place of GRAMMAR"
    )
    kinds: dict[str, Any] = {"int": int, "float": float}
    for entry in fields(Config):
        if entry.name not in _HELP:
            continue
        kind = _sizes if entry.name == "layers" else kinds.get(str(entry.type).split(" ")[0], str)
        fallback = getattr(Config(), entry.name)
        shown = ",".join(map(str, fallback)) if entry.name == "layers" else fallback
        default = "" if shown is None else f" ({shown})"
        made.add_argument(
            flag(entry.name),
            type=kind,
            default=argparse.SUPPRESS,
            metavar=entry.name.upper(),
            help=(_HELP[entry.name] + default).replace("%", "%%"),
        )
    made.add_argument("--out", type=Path, help="run directory (runs/GRAMMAR-DATASET-seedN-K)")
    made.add_argument("--resume", type=Path, metavar="RUN", help="go on with an interrupted run")
    made.add_argument(
        "--explain", action="store_true", help="show the pool and how it is computed; run nothing"
    )
    made.add_argument("--quiet", action="store_true", help="print the result only")
    return made


def read(arguments: Sequence[str]) -> Command:
    """The command that some arguments say.

    Raises:
        RuleSearchError: unknown or contradicting arguments.
    """
    values = vars(parser().parse_args(_joined(arguments)))
    grammar, terms = values.pop("grammar"), tuple(values.pop("term"))
    out, resume = values.pop("out"), values.pop("resume")
    explain, quiet = values.pop("explain"), values.pop("quiet")
    command = Command(grammar, terms, values, out, resume, explain, quiet)
    sources = [s for s in (grammar, terms, resume) if s]
    if not sources:
        raise RuleSearchError(
            "no pool; give a grammar file such as grammar/paper_pool.py, or --term TEXT"
        )
    if grammar and terms:
        raise RuleSearchError(f"--term: beside {grammar}; give a grammar file or terms, not both")
    if resume:
        more = [n for n in ("grammar", "out", *values) if n in values or locals().get(n)]
        if terms:
            more.insert(0, "term")
        if more:
            raise RuleSearchError(
                f"--resume {resume}: goes on as it began; leave out "
                + ", ".join(n if n == "grammar" else flag(n) for n in more)
            )
    return command
