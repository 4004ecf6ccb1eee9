"""The command line as data: flags to a configuration, and back to words where it is refused."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from rulesearch.choices import ActivationName, LogName, LossName
from rulesearch.errors import RuleSearchError
from rulesearch.flags import Given, Parser, rule_of
from rulesearch.search.config import FREE, Config, flag, layers_shown

CALLED = "python -m rulesearch.search"

_HELP = {
    "dataset": "digits, emnist, mnist, fashion-mnist, or FILE.npz; several with commas",
    "data_root": "folder in torchvision's layout; without it the sets are downloaded",
    "scale": "map inputs to [0, 1] by the range of the search's images",
    "pathway": "how errors travel backward: random, symmetric, direct, sign-symmetric",
    "feedback_init": "law of the Xavier feedback: uniform, normal",
    "layers": "hidden sizes with commas; all sizes if the ends are those of the data; several "
    "networks with slashes",
    "activation": f"of hidden neurons: {', '.join(get_args(ActivationName))}",
    "loss": f"what errors are the derivative of: {', '.join(get_args(LossName))}",
    "bias": "neurons have biases; where no term changes them, -e_post does",
    "noise": "size of the noise in potentials while an example is learned; a term reads xi_post",
    "held_out_classes": "classes that no search sees; the final evaluation is of these alone",
    "ways": "classes of a task",
    "shots": "training examples of each class",
    "queries": "query examples of each class",
    "protocol": "accepted; robust; or paper: as published",
    "l1": "strength of the L1 penalty (the protocol's)",
    "l2": "strength of an L2 penalty, beside the other; not of accepted",
    "largest_scale": "cap of a term's unit, the reference's size over its own (the protocol's)",
    "meta_steps": "of a trial (the protocol's; of robust fewer for digits)",
    "meta_batch": "lifetimes of a meta-step (the protocol's)",
    "trials": "independent searches with all terms (the protocol's)",
    "parsimony": "share of the gain that may be given away for fewer terms",
    "locality": "needs that terms may have, with commas: dendritic, retrograde, transport, global, "
    "foreign; synaptic for none; all",
    "neurons": "shared, or separate populations for activities and errors",
    "kernel": "auto, einsum, fused",
    "device": "cpu or cuda",
    "dtype": "float32 or float64",
    "executor": "what lifetimes are carried out by: processes; dask, or dask:tcp://HOST:PORT of a "
    "scheduler; jobs of Slurm, slurm or slurm:FILE.toml",
    "workers": "of the executor, so many at a time; they share the cores",
    "threads": "that this machine computes with (one a core)",
    "seed": "of everything drawn",
    "effort": "how much is run in trials, elimination, evaluation: quick, normal, thorough",
}


@dataclass(frozen=True)
class Command:
    """What the command line asked for.

    Attributes:
        grammar: the grammar file, or None.
        terms: text terms, in its place.
        feedback: text terms that change the feedback B,
        bias: and biases b.
        traces: that text terms may read, a line each.
        bounds: parameter -> between which numbers its values are kept.
        where: name of a term -> the layers it is to act in.
        per_layer: a coefficient of its own for each term in each layer.
        given: the options of `Config` that were given, by name; beside `resume` only those that
            may change.
        out: where the run is to be kept, or None for a name of its own.
        resume: the run to go on with, or None.
        show: the finished run to show again, or None,
        shown: the rule of its hall of fame to show, or to begin at: a number of terms, their
            names, or None for the one chosen,
        latex: and whether as LaTeX only.
        explain: show the pool and its plan, and run nothing.
        quiet: print the result only.
        clear_cache: delete the compiled kernels that are kept, and do nothing else.
        begin: the rule to begin at, as `load_rule` takes it, or None.
        words: the whole command line, as it was given.
        reproduce: the result whose search is to be run again, or None.
        seconds: after which the search is to stop, or None.
        log: whose files meta-steps are written to as well, or None.
        asked: all of it as it was given, by flags or in a file.
    """

    grammar: str | None
    terms: tuple[str, ...]
    feedback: tuple[str, ...]
    bias: tuple[str, ...]
    traces: tuple[str, ...]
    bounds: dict[str, tuple[float, ...]]
    where: dict[str, tuple[int, ...]]
    per_layer: bool
    given: dict[str, Any]
    out: Path | None
    resume: Path | None
    show: Path | None
    shown: int | tuple[str, ...] | None
    latex: bool
    explain: bool
    quiet: bool
    clear_cache: bool
    begin: str | None
    words: tuple[str, ...]
    reproduce: Path | None
    seconds: float | None
    log: LogName | None
    asked: Given

    @property
    def config(self) -> Config:
        """The configuration asked for."""
        return Config(**self.given)

    @property
    def outline(self) -> str:
        """What is to be searched, in a line, as far as the command line says it."""
        if self.resume:
            return f"going on with {self.resume}"
        if self.reproduce:
            return f"running the search of {self.reproduce} again"
        config = self.config
        pool = self.grammar or f"{len(self.terms)} term{'s' * (len(self.terms) > 1)}"
        if self.begin:
            beside = f" in {pool}" if self.grammar else f" with {pool}" if self.terms else ""
            pool = f"from {self.begin}{beside}"
        return (
            f"searching {pool} on {config.dataset}, pathway {config.pathway}, "
            f"protocol {config.protocol}, seed {config.seed}"
        )


def networks_of(text: str) -> tuple[tuple[int, ...], ...]:
    """Sizes of networks, with slashes between them."""
    try:
        return tuple(tuple(int(word) for word in sizes.split(",")) for sizes in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: give sizes with commas, as in 170,130") from None


def add_places_and_ends(parser: Parser, places: str, ends: str) -> None:
    """`--where` and `--bounds`, with what help says of them."""
    parser.add_named(
        "--bounds",
        float,
        "a parameter and two numbers, as in W=-1,1",
        count=2,
        metavar="PARAMETER=LOW,HIGH",
        help=ends,
    )
    parser.add_named(
        "--where",
        int,
        "a term and layers, as in F2=2,3 or F2=-1",
        metavar="TERM=LAYERS",
        help=places,
    )


def _seconds(text: str) -> float:
    """A length of time as seconds: `90`, `90s`, `10m`, `1.5h`."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: give a time above 0, as in 90s, 10m or 1.5h")
    return seconds


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _flags(names: Sequence[str]) -> str:
    return ", ".join(name if name == "grammar" else flag(name) for name in names)


def parser(called: str = CALLED) -> Parser:
    """The command line's parser; `called` is what the command was called as."""
    made = Parser(called, "Search a pool of candidate terms for a short, local learning rule.")
    made.add_argument("grammar", nargs="?", metavar="GRAMMAR", help="a .py or .toml file")
    made.add_argument("--term", action="append", metavar="TEXT", help="a term, in place of GRAMMAR")
    made.add_argument(
        "--feedback-term",
        action="append",
        metavar="TEXT",
        help="a term that changes the feedback B, named B0, B1, ...; beside GRAMMAR or --term",
    )
    made.add_argument(
        "--bias-term",
        action="append",
        metavar="TEXT",
        help="a term that changes the biases b, named b0, b1, ...; beside GRAMMAR or --term",
    )
    made.add_argument(
        "--trace",
        action="append",
        metavar="TEXT",
        help="a trace that terms may read, 'theta_post = y_post**2 @ 0.95', its decay a step after "
        "@; '@ 0.95, first' begins at the first value, '@ 0.95, 0.5' at 0.5",
    )
    add_places_and_ends(
        made,
        "a term acts in these layers only, with commas, from 1, or from -1 at the last",
        "keep weights W, feedback B or biases b within bounds, as in W=-1,1",
    )
    made.add_argument(
        "--per-layer",
        action="store_true",
        help="a coefficient of its own for each term in each layer, named F0_1, F0_2, ...",
    )
    hints = get_type_hints(Config)
    for entry in fields(Config):
        if entry.name not in _HELP:
            continue
        if hints[entry.name] is bool:
            made.add_argument(
                flag(entry.name),
                action="store_true",
                help=_HELP[entry.name],
            )
            continue
        wanted = (hints[entry.name], *get_args(hints[entry.name]))
        number = next((kind for kind in (int, float) if kind in wanted), str)
        kind = networks_of if entry.name == "layers" else number
        fallback = getattr(Config(), entry.name)
        shown = layers_shown(fallback) if entry.name == "layers" else fallback
        default = "" if shown is None else f" ({shown})"
        made.add_argument(
            flag(entry.name),
            type=kind,
            metavar=entry.name.upper(),
            help=(_HELP[entry.name] + default).replace("%", "%%"),
        )
    made.add_argument(
        "--from",
        dest="begin",
        metavar="RULE",
        help="begin at a rule: a run, a rule.toml, or one that comes along; without GRAMMAR and "
        "--term in its own pool, of a run all of that",
    )
    made.add_argument("--out", type=Path, help="run directory (runs/GRAMMAR-DATASET-seedN-K)")
    made.add_argument(
        "--time-limit",
        dest="seconds",
        type=_seconds,
        metavar="TIME",
        help="stop after so long, as in 90s, 10m or 1.5h, with the best rule so far; --resume goes "
        "on",
    )
    made.add_argument(
        "--log",
        choices=get_args(LogName),
        help="write meta-steps to RUN/tensorboard as well; tensorboard --logdir RUN shows them",
    )
    made.add_argument("--resume", type=Path, metavar="RUN", help="go on with an interrupted run")
    made.add_argument(
        "--reproduce",
        type=Path,
        metavar="RESULT",
        help="run the search of a finished run, or of its result.json, again, and say what differs",
    )
    made.add_argument(
        "--show", type=Path, metavar="RUN", help="print the result of a finished run again"
    )
    made.add_argument(
        "--terms",
        type=rule_of,
        metavar="N",
        help="with --show or --from, the best rule of N terms in the run's hall of fame, or that "
        "of TERM,TERM,...",
    )
    made.add_argument("--latex", action="store_true", help="with --show, the rule as LaTeX only")
    made.add_argument(
        "--explain", action="store_true", help="show the pool and how it is computed; run nothing"
    )
    made.add_argument("--quiet", action="store_true", help="print the result only")
    made.add_argument(
        "--clear-cache", action="store_true", help="delete the compiled kernels that are kept"
    )
    made.add_config()
    made.add_version()
    return made


def read(arguments: Sequence[str], called: str = CALLED) -> Command:
    """The command that some arguments say; `called` is what the command was called as.

    Raises:
        RuleSearchError: unknown or contradicting arguments.
    """
    given = parser(called).given(arguments)
    try:
        return _command(given, (*called.split(), *arguments))
    except RuleSearchError as error:
        raise given.named(error) from None


def _command(asked: Given, words: tuple[str, ...]) -> Command:
    values = dict(asked.values)

    def several(name: str) -> tuple[Any, ...]:
        return tuple(values.pop(name, ()))

    command = Command(
        grammar=values.pop("grammar", None),
        terms=several("term"),
        feedback=several("feedback_term"),
        bias=several("bias_term"),
        traces=several("trace"),
        bounds=values.pop("bounds", {}),
        where=values.pop("where", {}),
        per_layer=values.pop("per_layer", False),
        out=values.pop("out", None),
        resume=values.pop("resume", None),
        show=values.pop("show", None),
        shown=values.pop("terms", None),
        latex=values.pop("latex", False),
        explain=values.pop("explain", False),
        quiet=values.pop("quiet", False),
        clear_cache=values.pop("clear_cache", False),
        begin=values.pop("begin", None),
        reproduce=values.pop("reproduce", None),
        seconds=values.pop("seconds", None),
        log=values.pop("log", None),
        given=values,
        words=words,
        asked=asked,
    )
    grammar, terms, begin, show = command.grammar, command.terms, command.begin, command.show
    resume, again, clear = command.resume, command.reproduce, command.clear_cache
    own: dict[str, Any] = {"grammar": grammar, "term": terms, "feedback_term": command.feedback}
    own |= {"bias_term": command.bias, "trace": command.traces, "bounds": command.bounds}
    own |= {"where": command.where, "per_layer": command.per_layer}
    own |= {"out": command.out, "begin": begin}
    begins = [n for n, value in own.items() if value] + list(values)
    sources = [s for s in (grammar, terms, resume, show, clear, begin, again) if s]
    if not sources:
        raise RuleSearchError(
            "no pool; give a grammar file such as grammar/paper_pool.py, or --term TEXT"
        )
    if grammar and terms:
        raise RuleSearchError(f"--term: beside {grammar}; give a grammar file or terms, not both")
    fixed = [name for name in begins if name not in FREE]
    if resume and fixed:
        raise RuleSearchError(f"--resume {resume}: goes on as it began; leave out {_flags(fixed)}")
    others = [name for name in fixed if name != "out"] + ["resume"] * bool(resume)
    if again and others:
        raise RuleSearchError(
            f"--reproduce {again}: runs what was asked for then; leave out {_flags(others)}"
        )
    of_a_run = {"terms": command.shown is not None and not begin, "latex": command.latex}
    if not show and any(of_a_run.values()):
        given = " and ".join(flag(name) for name, there in of_a_run.items() if there)
        beside = "--show RUN only" if command.latex else "--show RUN or --from RUN"
        raise RuleSearchError(f"{given}: beside {beside}, of a finished run")
    running: dict[str, Any] = {"resume": resume, "explain": command.explain, "reproduce": again}
    running |= {"time_limit": command.seconds, "log": command.log}
    if show and (idle := begins + [n for n, value in running.items() if value]):
        raise RuleSearchError(f"--show {show}: runs nothing; leave out {_flags(idle)}")
    running["show"] = show
    if clear and (idle := begins + [n for n, value in running.items() if value]):
        raise RuleSearchError(f"--clear-cache: runs nothing; leave out {_flags(idle)}")
    return command
