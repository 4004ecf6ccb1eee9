"""What the command does, once its paths are known to be there: all that is heavy is used here."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from rulesearch.data import input_and_output
from rulesearch.errors import RuleSearchError
from rulesearch.given_rule import load_rule, pool_around
from rulesearch.lifetime.reads import check_reads
from rulesearch.locality import classify, parse_needs, terms_allowed, terms_by_needs, within
from rulesearch.lowering import lower_terms
from rulesearch.meta import StepRecord
from rulesearch.notation import (
    Pool,
    beside_text,
    load_pool,
    pool_from_plain,
    pool_from_text,
    with_biases,
)
from rulesearch.pathways import pathway
from rulesearch.records.plain import from_plain
from rulesearch.report import locality_table, print_pool, progress, result_text, trial_means
from rulesearch.report.events import events
from rulesearch.report.reproduced import differences, reproduced_text
from rulesearch.result import Result, definition_lines
from rulesearch.rule import rule_to_plain
from rulesearch.runs import at_work
from rulesearch.runs.kept import Run, history
from rulesearch.search.arguments import Command
from rulesearch.search.beginning import begun_at, joined
from rulesearch.search.config import Config, check
from rulesearch.search.forecast import Forecast, phases
from rulesearch.search.paths import unfinished
from rulesearch.search.record import definitions
from rulesearch.search.reproducing import asked_again, other_checksums
from rulesearch.search.request import Request, prepare, refuse_layers_of_some
from rulesearch.search.whole import Watch, beginning, compared, keep, made_with, refuse_limit
from rulesearch.search.worlds import data_of


def asked(command: Command) -> tuple[Pool, Config]:
    """Pool and configuration.

    Raises:
        RuleSearchError: a pool or options that no search can have.
    """
    if command.resume:
        pool, config = _kept(command.resume, command.given)
    elif command.reproduce:
        pool, config = _asked_again(command.reproduce, command.given)
    else:
        pool, config = _pool_and_config(command)
    check(config)
    if config.bias:
        pool = with_biases(pool)
    if command.per_layer:
        depths = {len(sizes) - 1 for sizes in _sizes(config).values()}
        if len(depths) > 1:
            raise RuleSearchError(
                f"--per-layer: networks have {min(depths)} to {max(depths)} layers; give networks "
                "of one depth, or leave --per-layer out"
            )
        pool = pool.per_layer(*depths)
    return pool, config


def prepared(command: Command, pool: Pool, config: Config) -> Request:
    """The search with its data; nothing is written yet.

    Raises:
        RuleSearchError: it cannot be met.
    """
    try:
        data = data_of(config)
    except RuleSearchError as error:
        if not command.resume:
            raise
        way = "; where the data have moved to, --dataset or --data-root beside --resume may say"
        raise RuleSearchError(*(f"{line}{way}" for line in error.lines)) from None
    request = prepare(pool, data, config)
    refuse_limit(request, command.seconds, "--time-limit")
    if command.reproduce:
        then = Result.load(command.reproduce)
        return replace(request, told=(*request.told, *other_checksums(then, request)))
    if command.resume:
        request = compared(request, unfinished(command.resume), f"--resume {command.resume}")
    return request


def opened(command: Command, request: Request, place: Path) -> AbstractContextManager[Run]:
    """The run directory of a search that can be met, at its place, for this process alone.

    Raises:
        RuleSearchError: it holds a run, cannot be written, or another process works on it.
    """
    if command.resume:
        return at_work(place, made_with(request), f"--resume {place}")
    return beginning(request, place, command=command.words)


def carry_through(request: Request, run: Run, command: Command) -> bool:
    """Search, show meta-steps as they are made, and print and keep the result.

    Returns:
        Whether it is as it is to be: False for a search run again that gave something else.

    Raises:
        RuleSearchError: the search cannot go on, or the run directory cannot be written.
    """
    console, quiet = Console(), command.quiet
    if not quiet:
        for line in (_outline(request, run.path), *request.told, *request.messages):
            _say(console, line)
    forecast = Forecast(phases(request))
    log = events(run.path) if command.log else nullcontext(_unlogged)
    with log as written, progress(console, quiet, whereabouts=forecast) as update:

        def tell(told: StepRecord | str) -> None:
            written(told)
            update(told)

        watch = Watch(tell, tell, forecast.compared, command.seconds)
        result = keep(request, run, watch)
    console.print(result_text(result, run.path))
    if request.config.protocol == "paper" and (line := trial_means(history(run))):
        _say(console, line)
    if result.stopped:
        _say(console, f"stopped by --time-limit; go on with --resume {run.path}")
    if command.reproduce is None or result.stopped:
        return True
    then = Result.load(command.reproduce)
    _say(console, reproduced_text(str(command.reproduce), then, result))
    return not differences(then, result)


def _unlogged(_: object) -> None:
    return None


def _outline(request: Request, run: Path) -> str:
    """What is going to be done, in a line, and where it is kept."""
    config = request.config
    networks = ["-".join(map(str, world.sizes)) for world in request.worlds]
    learning = f"network {networks[0]}"
    if len(networks) > 1:
        of_each = (f"{w.name} ({sizes})" for w, sizes in zip(request.worlds, networks, strict=True))
        learning = f"{len(networks)} worlds: {', '.join(of_each)}"
    terms, trials = len(request.pool), config.trials or 1
    needs = terms_by_needs(request.pool, config.neurons)
    which = ", ".join(f"{number:,} {need}" for need, number in needs.items())
    return (
        f"{terms:,} term{'s' * (terms > 1)} ({which}), {learning}, "
        f"{trials} trial{'s' * (trials > 1)} of {config.meta_steps} meta-steps; kept in {run}"
    )


def _kept(run: Path, given: Mapping[str, Any]) -> tuple[Pool, Config]:
    kept = unfinished(run)
    try:
        return pool_from_plain(kept.pool), replace(from_plain(Config, kept.options), **given)
    except RuleSearchError as error:
        raise RuleSearchError(
            *(f"{run / 'config.json'}: {line}; begin a new run" for line in error.lines)
        ) from None


def _asked_again(given: Path, options: Mapping[str, Any]) -> tuple[Pool, Config]:
    try:
        return asked_again(Result.load(given), options)
    except RuleSearchError as error:
        raise RuleSearchError(*(f"--reproduce {given}: {line}" for line in error.lines)) from None


def _pool_and_config(command: Command) -> tuple[Pool, Config]:
    """The pool and options that are to begin with, at a rule if one is given."""
    if command.begin is None:
        return _pool(command), command.config
    try:
        rule = load_rule(command.begin, command.shown)
        around = pool_around(command.begin, rule)
    except RuleSearchError as error:
        raise RuleSearchError(*(f"--from {line}" for line in error.lines)) from None
    config = replace(command.config, begin=rule_to_plain(rule))
    if command.grammar:
        return _pool(command), config
    if command.terms:
        return joined(_pool(command, reads=rule.pool), rule), config
    return _pool(command, around), config


def _pool(command: Command, pool: Pool | None = None, reads: Pool | None = None) -> Pool:
    """The pool of the grammar file or of the terms, with what else the command line says of it.

    Args:
        command: the command line.
        pool: in place of the grammar file's.
        reads: one whose quantities and operators terms as text may have.
    """
    pool = load_pool(command.grammar) if command.grammar else pool
    beside: Any = {
        "feedback": command.feedback,
        "bias": command.bias,
        "traces": command.traces,
        "bounds": command.bounds,
    }
    try:
        if pool is None:
            return pool_from_text(command.terms, command.where, reads=reads, **beside)
        return beside_text(pool, {}, command.where, **beside)
    except RuleSearchError as error:
        # What the pool calls where is here an option.
        options = ("where ", "trace ", "bounds ")
        lines = (f"--{line}" if line.startswith(options) else line for line in error.lines)
        raise RuleSearchError(*lines) from None


def _sizes(config: Config) -> dict[str, tuple[int, ...]]:
    """The sizes of all layers in each world, known before the data are read."""
    return {
        name: world.sizes(*input_and_output(world.dataset)) for name, world in config.worlds.items()
    }


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


def explain(pool: Pool, config: Config, command: Command) -> None:
    """Print the pool as a table, its plan, and what a step costs; runs nothing.

    With a kernel named, its generated source too.
    """
    console = Console()
    within(pool, parse_needs(config.locality), config.neurons)
    worlds = _sizes(config)
    refuse_layers_of_some(pool, [len(sizes) - 1 for sizes in worlds.values()])
    sizes = next(iter(worlds.values()))
    depth = len(sizes) - 1
    pool = pool.in_network(depth)
    begun_at(config, pool, [len(each) - 1 for each in worlds.values()])
    for each in worlds.values():
        check_reads(pool, pathway(config.pathway, len(each) - 1), config.model(pool))
    plan = lower_terms(pool.distinct, config.model(pool))
    print_pool(
        console,
        [
            (term.name, term.shown, str(classify(term, config.neurons)), plan.how(column))
            for term, column in zip(pool, pool.columns, strict=True)
        ],
        pool.where,
    )
    if own := definition_lines(definitions(pool), (term.shown for term in pool)):
        console.print()
    for line in own:
        _say(console, line)
    console.print()
    console.print(locality_table(terms_allowed(pool, config.neurons)))
    if pool.notes:
        console.print()
    for note in pool.notes:
        _say(console, note)
    console.print()
    _say(console, str(plan))
    console.print()
    for name, network in worlds.items():
        label = f"{name}: " if len(worlds) > 1 else ""
        adds = [plan.multiply_adds(post, pre) for pre, post in pairwise(network)]
        synapses = sum(pre * post for pre, post in pairwise(network))
        _say(
            console,
            f"{label}about {sum(adds):,} multiply-adds a step for the "
            f"update of {'-'.join(map(str, network))}, {synapses:,} synapses",
        )
    if "kernel" in command.given and config.kernel != "auto":
        from rulesearch.lifetime import choose_kernel

        path = pathway(config.pathway, depth)
        kernel, note = choose_kernel(config.kernel, plan, sizes, path, on_cpu=True)
        console.print()
        if note:
            _say(console, note)
        console.print(Text(kernel.source), soft_wrap=True)
